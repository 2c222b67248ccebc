"""Simultaneous perturbation (Spall 1992)."""

from __future__ import annotations

import torch

from ..checks import check_instance, check_integer, check_real, torch_generator
from .base import GradientEstimator, changes, check_copies, check_move, signs_of

__all__ = ["SPSA"]


class SPSA(GradientEstimator):
    """Simultaneous perturbation of all angles (Spall 1992), averaged over ``directions`` directions.

    g = mean over Delta of [f(theta + c Delta) - f(theta - c Delta)] / (2 c) Delta, with independent signs
    Delta = +-1, fresh for every sample, direction and call.  The bias is O(c**2): each slope is
    attenuated, not tilted at random.  ``causal`` estimates the slopes of step s from the outputs at
    t >= s alone.  ``seed`` is an int, a torch generator or None.
    """

    def __init__(
        self, c: float = 0.1, directions: int = 1, seed: int | torch.Generator | None = None, causal: bool = False
    ):
        self.c = check_real("c", c, minimum=0.0, exclusive=True)
        self.directions = check_integer("directions", directions, minimum=1)
        self.generator = torch_generator(seed)
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"SPSA(c={self.c}, directions={self.directions}, causal={self.causal})"

    def circuits(self, program, time_steps):
        return 2 * self.directions

    def estimate(self, executor, angles, weights):
        check_move("c", self.c, angles, executor)
        check_copies("directions", angles, 2 * self.directions, angles.shape[1], len(executor.program.occurrences))
        signs = signs_of((self.directions, *angles.shape), self.generator, angles)
        both = executor.program.gate_angles(torch.cat([angles + self.c * signs, angles - self.c * signs]))
        forth, back = executor.values(both, weights).split(self.directions)
        change = changes(forth - back, self.causal)
        return (change * signs).mean(0) / (2 * self.c)
