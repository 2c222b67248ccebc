"""Simultaneous perturbation of the encoder's weights, for any optimiser."""

from __future__ import annotations

import math

import torch

from ..backends import Executor
from ..checks import check_bytes, check_positive, shown
from .base import check_perturbation, check_variants
from .directions import RandomDirections, random_signs


class WeightSPSA(RandomDirections):
    """SPSA of the encoder's weights and biases W instead of the angles W x_t.

    g = mean over Delta of sum over samples of [f(W + c Delta) - f(W - c Delta)] / (2 c) Delta, with independent signs
    Delta = +-1 for every weight: one direction is shared by all samples and steps of a batch, where `SPSA` gives each
    its own.  f is the weighted readout with the weights dL/dp of the forward pass, as everywhere here, so that the
    estimate goes into any optimiser (Spall's own is `SPSAOptimizer`).  A `QRNN` takes it; a layer alone, which has no
    encoder, does not.  ``seed`` is an int, a torch generator or None.
    """

    def __init__(self, c: float = 0.1, directions: int = 1, seed: int | torch.Generator | None = None):
        self.c: float | torch.Tensor = check_positive("c", c)
        super().__init__(directions, seed, causal=False)

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        raise TypeError("gradient must estimate from angles alone in a layer without encoder; got WeightSPSA")

    def estimate_weights(
        self, executor: Executor, inputs: torch.Tensor, angles: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """The gradient (R, P, input) along the weights of R encoders, for inputs (R, batch * time, input), the last of
        which is 1 for the biases, angles (R * batch, time, P) and weights (R * batch, time, outcomes)."""
        runs = len(inputs)
        check_variants("directions", angles, 2 * self.directions, angles.shape[1], len(executor.program.occurrences))
        signs = self.weight_signs(runs, angles.shape[2], inputs)
        c = torch.as_tensor(self.c, dtype=angles.dtype, device=angles.device).reshape(-1, 1, 1)
        check_perturbation("c", c, angles, executor)
        moves = (c * (inputs @ signs.mT)).view(self.directions, *angles.shape)
        perturbed = executor.program.gate_angles(torch.cat([angles + moves, angles - moves]))
        difference = self.difference(executor, perturbed, weights).view(self.directions, runs, -1).sum(-1)
        return (difference[..., None, None] * signs).mean(0) / (2 * c)

    def weight_signs(self, runs: int, angles: int, inputs: torch.Tensor) -> torch.Tensor:
        """Independent signs +-1, (directions, R, P, input)."""
        shape = (self.directions, runs, angles, inputs.shape[-1])
        check_bytes("directions", 40 * math.prod(shape), f"{shown(self.directions)} for weights of shape {shape[1:]}")
        return random_signs((shape[0] * runs, *shape[2:]), self.generator, runs).view(shape).to(inputs)
