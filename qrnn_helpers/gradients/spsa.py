"""Simultaneous perturbation: g = mean over Delta of [f(theta + c Delta) - f(theta - c Delta)] / 2c Delta."""

from __future__ import annotations

import torch

from ..backends import Executor
from ..checks import check_real
from .base import check_perturbation, check_variants
from .directions import RandomDirections

__all__ = ["SPSA"]


class SPSA(RandomDirections):
    """Simultaneous perturbation of all angles (Spall 1992), averaged over ``directions`` directions.

    g = mean over Delta of [f(theta + c Delta) - f(theta - c Delta)] / (2 c) Delta, with independent signs
    Delta = +-1, fresh for every sample, direction and call.  The bias is O(c**2): each slope is
    attenuated, not tilted at random.  ``causal`` estimates the slopes of step s from the outputs at
    t >= s alone.  ``seed`` is an int, a torch generator or None.
    """

    def __init__(
        self, c: float = 0.1, directions: int = 1, seed: int | torch.Generator | None = None, causal: bool = False
    ):
        self.c: float | torch.Tensor = check_real("c", c, minimum=0.0, exclusive=True)
        super().__init__(directions, seed, causal)

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        program = executor.program
        c = self.sizes(angles)
        for size in (c.min(), c.max()):
            check_perturbation("c", float(size), angles, executor)
        check_variants("directions", angles, 2 * self.directions, angles.shape[1], len(program.occurrences))
        signs = self.signs(angles)
        perturbed = torch.cat([angles + c * signs, angles - c * signs])
        difference = self.difference(executor, program.gate_angles(perturbed), weights)
        return (difference * signs).mean(0) / (2 * c)

    def sizes(self, angles: torch.Tensor) -> torch.Tensor:
        """c for every sample, (batch, 1, 1): one number, or one for each of several runs that share the batch."""
        c = torch.as_tensor(self.c, dtype=angles.dtype, device=angles.device).reshape(-1)
        return c.repeat_interleave(len(angles) // len(c))[:, None, None]
