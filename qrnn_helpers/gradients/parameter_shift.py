"""The parameter-shift rule for all gate angles, or for a random few of them."""

from __future__ import annotations

import torch

from ..checks import check_instance, check_integer, torch_generator
from ..simulation import StepProgram, along
from .base import GradientEstimator, check_copies, numbers_of
from .dead_angles import live_angles

__all__ = ["ParameterShift", "RandomCoordinate"]


class ParameterShift(GradientEstimator):
    """The parameter-shift rule, gate occurrence by gate occurrence, through measurement and reset.

    An angle enters its circuit through one gate, between linear maps of the density matrix (gates,
    measurement with all outcomes kept, reset).  Every probability is therefore the same short
    trigonometric polynomial in it as without them, and f'(theta) = sum_k c_k f(theta + s_k) is exact:
    two terms for a Pauli rotation (Mitarai et al. 2018; Schuld et al. 2019), four for a controlled one
    (Anselmetti et al. 2021).  A Parameter in several gates, or in an expression, sums over them.

    Noise around a gate is one more linear map and harms nothing.  Noise *inside* a gate that a device runs as
    several can add frequencies that the rule does not know: shift the gates that are run (`open_controlled`).

    ``causal`` drops the outputs before a gate's own step, which do not depend on it, from its estimate:
    nothing changes in the mean, and their shot noise is gone.  ``prune`` leaves out the circuits of
    angles that provably do nothing, and runs angles with equal slopes once (`live_angles`).

    Variance with N shots a circuit, sigma**2 that of one shot's weighted readout: sum_k c_k**2 sigma**2 / N,
    that is sigma**2 / 2N for two terms and 3 sigma**2 / 8N for four.
    """

    def __init__(self, causal: bool = True, prune: bool = False):
        self.causal = check_instance("causal", causal, bool, "True or False")
        self.prune = check_instance("prune", prune, bool, "True or False")

    def __repr__(self) -> str:
        return f"ParameterShift(causal={self.causal}{', prune=True' if self.prune else ''})"

    def circuits(self, program, time_steps):
        if not self.prune:
            return time_steps * program.shift_circuits
        return int(live_angles(program, time_steps).live[:, program.shift_terms[0]].sum())

    def estimate(self, executor, angles, weights):
        program, time_steps, count = executor.program, angles.shape[1], executor.program.shift_circuits
        gate_angles = program.gate_angles(angles)
        plan = live_angles(program, time_steps, executor.state is None) if self.prune else None
        readouts = executor.variants(gate_angles, weights, self.causal)
        slopes = torch.zeros_like(gate_angles)
        spans = [range(t, t + 1) for t in range(time_steps)] if self.prune else executor.spans(gate_angles, count)
        for steps in spans:
            gate, shift, coefficient = _terms(program, angles, plan.live[steps.start] if self.prune else None)
            if not len(gate):
                continue
            check_copies("angles", gate_angles, len(gate), len(steps))
            shifted = along(gate_angles, steps).repeat(len(gate), 1, 1)
            shifted[numbers_of(gate), :, gate] += shift[:, None]
            value = (coefficient[:, None] * readouts(steps, shifted)).unflatten(1, (len(steps), -1))
            slopes[:, steps.start : steps.stop].index_add_(2, gate, value.permute(2, 1, 0))
        return program.vjp(angles, plan.complete(slopes) if self.prune else slopes)


class RandomCoordinate(GradientEstimator):
    """The shift rule for a random few of all gate angles, scaled up: unbiased.

    Each sample draws ``coordinates`` of its M = time * G gate angles without repetition, takes their
    slopes by the shift rule and multiplies them by M / coordinates; the others get 0.  With exact
    probabilities the squared error is (M / coordinates - 1) |g|**2 on average.  One coordinate an update
    is random coordinate descent (Ding et al. 2024); all of them are `ParameterShift`.

    ``causal`` as there.  ``seed`` is an int, a torch generator or None.  The number of circuits depends
    on which gates are drawn: `circuits` says the most it can be.
    """

    def __init__(self, coordinates: int = 1, seed: int | torch.Generator | None = None, causal: bool = True):
        self.coordinates = check_integer("coordinates", coordinates, minimum=1)
        self.generator = torch_generator(seed)
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"RandomCoordinate(coordinates={self.coordinates}, causal={self.causal})"

    def circuits(self, program, time_steps):
        counts = torch.bincount(program.shift_terms[0], minlength=len(program.occurrences)).repeat(time_steps)
        return int(counts.sort(descending=True).values[: self.coordinates].sum())

    def estimate(self, executor, angles, weights):
        program, (batch, time_steps, _) = executor.program, angles.shape
        gate_angles, gates = program.gate_angles(angles), len(program.occurrences)
        if not gates:
            return torch.zeros_like(angles)
        check_copies("coordinates", gate_angles, self.circuits(program, time_steps), time_steps)
        drawn = self._draw(batch, time_steps * gates).to(angles.device)
        gate, shift, coefficient = _terms(program, angles)
        # One row for each term of each drawn gate: which sample, which draw, which term.
        sample, draw, term = (drawn[..., None] % gates == gate).nonzero(as_tuple=True)
        place = drawn[sample, draw]
        rows = gate_angles[sample]
        rows.flatten(1)[numbers_of(place), place] += shift[term]
        first = place // gates if self.causal else torch.zeros_like(place)
        seen = numbers_of(angles[0]) >= first[:, None]
        value = (executor.of_samples(sample).values(rows, weights[sample]) * seen).sum(-1)
        slopes = torch.zeros_like(gate_angles)
        slopes.flatten(1).index_put_((sample, place), coefficient[term] * value, accumulate=True)
        return program.vjp(angles, slopes * (time_steps * gates / self.coordinates))

    def _draw(self, batch: int, total: int) -> torch.Tensor:
        """Numbers of the drawn gate angles (batch, coordinates), none twice in a row."""
        check_integer("coordinates", self.coordinates, maximum=total)
        real = {"dtype": torch.float64, "device": self.generator.device}
        order = torch.rand(batch, total, generator=self.generator, **real).argsort(1)
        return order[:, : self.coordinates]


def _terms(program: StepProgram, like: torch.Tensor, live: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
    """Gate, shift and coefficient of every term of the (live) gates' shift rules, on the device of ``like``."""
    gate, shift, coefficient = program.shift_terms
    chosen = slice(None) if live is None else live[gate]
    return gate[chosen].to(like.device), shift[chosen].to(like), coefficient[chosen].to(like)
