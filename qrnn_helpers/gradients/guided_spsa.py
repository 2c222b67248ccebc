"""Guided simultaneous perturbation: some samples by the shift rule, whose mean norm caps the others' estimates."""

from __future__ import annotations

import torch

from ..backends import Executor
from ..checks import check_count, check_positive
from ..simulation import StepProgram, count_runs
from ..torch_modes import indices_of
from .parameter_shift import ParameterShift
from .spsa import SPSA


class GuidedSPSA(SPSA):
    """The shift rule for a ``share`` of each batch, `SPSA` for the rest (Periyasamy et al. 2024, arXiv 2404.15751).

    Of B samples the first max(1, int(share B)) get the causal, pruned `ParameterShift`, the others g = SPSA with m
    directions, shortened where it is longer than the shift rule's gradients on average:

        g min(1, mean |g_shift| / |g|).

    m grows linearly with the spent fraction s of the budget, ``directions`` = (first, last); by default, as theirs,
    from max(1, .1 L) to L min(1, 1.5 - share), of L = time * P angles.

    The cap makes the estimate biased: while m << L a direction's length is about (L / m)**.5 |g|, and the capped
    estimate's mean is shorter than g by as much, (2 / pi L)**.5 g for m = 1 and samples of equal |g|.

    Theirs: share, cap (with a damping of 1), growth.  Changed: their angles are a model's parameters and the norm is
    that of an expectation's slopes; here angles belong to a sample and a step, L counts them all, and the norm is that
    of the loss along them, residuals included.  s is of the budget, not of the number of updates.  A batch of one
    sample, which their rule leaves without a guide, is the shift rule's.

    `circuits` says the most that one sample can take at present; a batch takes less, a share of each kind.
    """

    def __init__(
        self,
        c: float = 0.1,
        share: float = 0.5,
        directions: tuple[int, int] | None = None,
        seed: int | torch.Generator | None = None,
        causal: bool = False,
    ):
        self.share = check_positive("share", share)
        if self.share >= 1:
            raise ValueError(f"share must be less than 1; got {share}")
        self.first, self.last = _growth(directions)
        self.fraction = 0.0
        self.shift = ParameterShift(prune=True)
        super().__init__(c, 1, seed, causal)

    def progress(self, fraction: float) -> bool:
        before, self.fraction = self.fraction, min(1.0, fraction)
        return self.fraction != before

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        places = time_steps * len(program.parameters)
        return max(2 * self.present(places), self.shift.circuits(program, time_steps))

    def present(self, places: int) -> int:
        """The number of directions at the spent fraction, for so many angles."""
        first = max(1.0, 0.1 * places) if self.first is None else self.first
        last = max(first, places * min(1.0, 1.5 - self.share)) if self.last is None else self.last
        return int(first + self.fraction * (last - first))

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        self.directions = self.present(angles[0].numel())
        runs = count_runs(self.generator)
        samples = indices_of(angles).view(runs, -1)
        count = max(1, int(self.share * samples.shape[1]))
        exact, others = samples[:, :count].flatten(), samples[:, count:].flatten()
        gradient = torch.empty_like(angles)
        gradient[exact] = self.shift.estimate(executor.of_samples(exact), angles[exact], weights[exact])
        if len(others):
            guess = super().estimate(executor.of_samples(others), angles[others], weights[others])
            gradient[others] = _capped(guess, gradient[exact], runs)
        return gradient


def _growth(directions: tuple[int, int] | None) -> tuple[int | None, int | None]:
    """First and last number of directions, None for those that depend on the number of angles."""
    if directions is None:
        return None, None
    if not isinstance(directions, tuple) or len(directions) != 2:
        raise TypeError(f"directions must be a pair (first, last) or None; got {directions!r}")
    first, last = (check_count("directions", number) for number in directions)
    return first, last


def _capped(guess: torch.Tensor, exact: torch.Tensor, runs: int) -> torch.Tensor:
    """Gradients (runs * batch, time, P), none longer than the exact ones of its run on average."""
    most = _norms(exact, runs).mean(1, keepdim=True)
    norms = _norms(guess, runs)
    factor = torch.where(norms > most, most / norms, torch.ones_like(norms))
    return guess * factor.view(-1, 1, 1)


def _norms(gradient: torch.Tensor, runs: int) -> torch.Tensor:
    """Of each sample's gradient, (runs, batch)."""
    return gradient.flatten(1).norm(dim=1).view(runs, -1)
