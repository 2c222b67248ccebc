"""Random coordinates of the shift rule, drawn where slopes have been large."""

from __future__ import annotations

import torch

from ..backends import Executor
from ..simulation import StepProgram, count_runs, drawn
from .dead_angles import plan_of
from .parameter_shift import RandomCoordinate

MEMORY = 0.99
"""What is left of an old update's squares after the next one."""


class ImportantCoordinate(RandomCoordinate):
    """`RandomCoordinate` that draws gate angle i with probability p_i and divides its slope by p_i: unbiased.

    Each sample draws its ``coordinates`` k with repetition, among the angles that `live_angles` leaves.  With S_i
    the mean square of slope i, shot noise included, and n_i the circuits of its rule, the squared error

        (sum_i S_i / p_i - |g|**2) / k    at    k sum_i n_i p_i circuits

    is least for p_i proportional to (S_i / n_i)**.5.  S_i is estimated from a run's own earlier draws, pooled over
    samples, with a memory of about 100 updates, and drawn towards the mean over all angles by one draw's weight, so
    that no angle is given up.  Few shots level S: there the gain is that of the live angles alone.  The first
    estimate takes all S as equal.  What has been learnt is no part of a ``state_dict``.

    ``causal`` and ``seed`` as there.
    """

    def __init__(self, coordinates: int = 1, seed: int | torch.Generator | None = None, causal: bool = True):
        super().__init__(coordinates, seed, causal)
        self.squares = torch.zeros(0, 0, dtype=torch.float64, device="cpu")
        """Sums of squared slopes (runs, time * G), fading."""
        self.counts = self.squares
        """How many they are of."""

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        return self.coordinates * int(torch.bincount(program.shift_terms[0], minlength=1).max())

    def _places(self, executor: Executor, gate_angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch, total = len(gate_angles), gate_angles[0].numel()
        runs = count_runs(self.generator)
        if self.squares.shape != (runs, total):
            self.squares = torch.zeros(runs, total, dtype=torch.float64, device=gate_angles.device)
            self.counts = self.squares
        shares = self._shares(executor, gate_angles.shape[1]).repeat_interleave(batch // runs, 0)
        sums = shares.cumsum(1)
        uniform = drawn(torch.rand, (batch, self.coordinates), self.generator, batch=batch).to(sums)
        places = torch.searchsorted(sums, uniform * sums[:, -1:], right=True).clamp(max=total - 1)
        return places, sums[:, -1:] / (self.coordinates * shares.gather(1, places))

    def _shares(self, executor: Executor, time_steps: int) -> torch.Tensor:
        """What the probabilities (runs, time * G) are proportional to."""
        program, plan = executor.program, plan_of(executor, time_steps)
        costs = torch.bincount(program.shift_terms[0], minlength=len(program.occurrences)).repeat(time_steps)
        repeated = torch.zeros_like(plan.factor).index_add(0, plan.source, plan.factor.square())
        mean = self.squares.sum(1, keepdim=True) / self.counts.sum(1, keepdim=True).clamp(min=1)
        squares = (self.squares + mean) / (self.counts + 1)
        squares = torch.where(mean > 0, squares, torch.ones_like(squares))
        return (squares * (plan.live.flatten() * repeated / costs.clamp(min=1)).to(squares)).sqrt()

    def _slopes(
        self, executor: Executor, gate_angles: torch.Tensor, weights: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        slopes = super()._slopes(executor, gate_angles, weights, places)
        runs = len(self.squares)
        where = places.view(runs, -1)
        squares = slopes.square().view(runs, -1).to(self.squares)
        self.squares = (MEMORY * self.squares).scatter_add(1, where, squares)
        self.counts = (MEMORY * self.counts).scatter_add(1, where, torch.ones_like(squares))
        return slopes

    def _complete(self, executor: Executor, gradient: torch.Tensor) -> torch.Tensor:
        return plan_of(executor, gradient.shape[1]).complete(gradient)
