"""The shift rule along random directions."""

from __future__ import annotations

import numpy as np
import torch

from ..checks import check_instance, check_integer, torch_generator
from .base import GradientEstimator, changes, check_copies, signs_of

__all__ = ["DirectionalShift"]


class DirectionalShift(GradientEstimator):
    """Slopes along random directions of all gate angles, by the shift rule: SPSA without its bias.

    Along a direction Delta of signs, s -> f(theta + s Delta) holds frequencies up to B, the sum of every
    gate's highest.  Riesz's interpolation formula gives its slope exactly,

        f'(0) = B / 2 sum_k P(k) (-1)**k [f(x_k) - f(-x_k)],  x_k = (2k + 1) pi / 2B,  P(k) = 8 / (pi (2k + 1))**2,

    and P sums to 1: one pair of circuits at a drawn k is an unbiased estimate, as when the terms of a
    shift rule are drawn (Sweke et al. 2020).  Then g = mean over Delta of f'(0) Delta, as in SPSA.  It
    works for gates that have no shift rule, too.

    The price: with N shots the variance of a slope is B**2 sigma**2 / 2N, where SPSA has
    sigma**2 / (2 N c**2); B is about the number of gate angles.  ``seed`` is an int, a torch generator
    or None; ``causal`` as in `SPSA`.
    """

    def __init__(self, directions: int = 1, seed: int | torch.Generator | None = None, causal: bool = False):
        self.directions = check_integer("directions", directions, minimum=1)
        self.generator = torch_generator(seed)
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"DirectionalShift(directions={self.directions}, causal={self.causal})"

    def circuits(self, program, time_steps):
        return 2 * self.directions

    def estimate(self, executor, angles, weights):
        program = executor.program
        gate_angles = program.gate_angles(angles)
        band = angles.shape[1] * sum(np.ptp(op.family.eigenvalues) for op in program.occurrences)
        if not band:  # no angle moves anything
            return torch.zeros_like(angles)
        check_copies("directions", gate_angles, 2 * self.directions, angles.shape[1])
        signs = signs_of((self.directions, *gate_angles.shape), self.generator, angles)
        node = _riesz_nodes(signs.shape[:2], self.generator).to(angles)[..., None, None]
        moves = (2 * node + 1) * torch.pi / (2 * band) * signs
        both = program.reduced(torch.cat([gate_angles + moves, gate_angles - moves]))
        forth, back = executor.values(both, weights).split(self.directions)
        change = changes(forth - back, self.causal) * (1 - 2 * (node % 2))
        return program.vjp(angles, (band / 2 * change * signs).mean(0))


def _riesz_nodes(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Whole numbers k >= 0 with probability 8 / (pi (2k + 1))**2.

    The tail P(k >= n) is 2 / pi**2 times the trigamma function at n + 1/2; a uniform number is looked
    up in it by bisection.
    """
    tail = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    low = torch.zeros_like(tail)
    high = torch.full_like(tail, 2.0**48)
    while (high - low).max() > 1:
        middle = ((low + high) / 2).floor()
        beyond = 2 / torch.pi**2 * torch.special.polygamma(1, middle + 0.5) > tail
        low, high = torch.where(beyond, middle, low), torch.where(beyond, high, middle)
    return low
