"""The shift rule along random directions: g = mean over Delta of f'(0; Delta) Delta, f' by Riesz's formula."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..backends import Executor
from ..simulation import Streams, drawn
from .base import check_variants
from .directions import RandomDirections


class DirectionalShift(RandomDirections):
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
        super().__init__(directions, seed, causal)

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        program = executor.program
        gate_angles = program.gate_angles(angles)
        band = angles.shape[1] * sum(np.ptp(op.family.eigenvalues) for op in program.occurrences if op.family)
        if not band:  # no angle moves anything
            return torch.zeros_like(angles)
        check_variants("directions", gate_angles, 2 * self.directions, angles.shape[1])
        signs = self.signs(gate_angles)
        node = _riesz_nodes(signs.shape[:2], self.generator).to(angles)[..., None, None]
        shift = (2 * node + 1) * torch.pi / (2 * band) * signs
        shifted = program.reduced(torch.cat([gate_angles + shift, gate_angles - shift]))
        difference = self.difference(executor, shifted, weights)
        slope = band / 2 * (difference * (1 - 2 * (node % 2)))
        return program.vjp(angles, (slope * signs).mean(0))


def _riesz_nodes(shape: tuple[int, ...], generator: torch.Generator | Streams) -> torch.Tensor:
    """Whole numbers k >= 0, the last axis over samples, with probability 8 / (pi (2k + 1))**2.

    The tail P(k >= n) is 2 / pi**2 times the trigamma function at n + 1/2; a uniform number is looked
    up in it by bisection.
    """
    uniform = drawn(torch.rand, (math.prod(shape),), generator, batch=shape[-1]).view(shape)
    low = torch.zeros_like(uniform)
    high = torch.full_like(uniform, 2.0**48)
    while (high - low).max() > 1:
        middle = ((low + high) / 2).floor()
        tail = 2 / torch.pi**2 * torch.special.polygamma(1, middle + 0.5)
        low = torch.where(tail > uniform, middle, low)
        high = torch.where(tail > uniform, high, middle)
    return low
