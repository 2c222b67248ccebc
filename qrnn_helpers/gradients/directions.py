"""What methods share that move all angles at once, along random directions Delta of signs +-1."""

from __future__ import annotations

import math
from functools import partial

import torch

from ..backends import Executor
from ..checks import check_bool, check_bytes, check_count, shown, torch_generator
from ..simulation import StepProgram, Streams, drawn
from .base import GradientEstimator


class RandomDirections(GradientEstimator):
    """An estimator from one pair of circuits for each of its ``directions``, fresh for every sample and call."""

    draws_first = True

    def __init__(self, directions: int, seed: int | torch.Generator | None, causal: bool):
        self.directions = check_count("directions", directions)
        self.generator: torch.Generator | Streams = torch_generator(seed)
        self.causal = check_bool("causal", causal)

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        return 2 * self.directions

    def signs(self, angles: torch.Tensor) -> torch.Tensor:
        """Independent signs +-1, (directions, ...) for angles (...)."""
        shape = (self.directions, *angles.shape)
        check_bytes("directions", 40 * math.prod(shape), f"{shown(self.directions)} for angles of shape {shape[1:]}")
        copies = (self.directions * len(angles), *angles.shape[1:])
        return random_signs(copies, self.generator, len(angles)).view(shape).to(angles)

    def difference(self, executor: Executor, gate_angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """f(+) - f(-) of circuits (2 m, batch, time, G), the + ones first: (m, batch, 1, 1), over all outputs together.

        With ``causal`` (m, batch, time, 1), at place s over the outputs from step s on.
        """
        if not self.causal:
            plus, minus = executor.sums(gate_angles, weights).chunk(2)
            return (plus - minus)[..., None, None]
        plus, minus = executor.values(gate_angles, weights).chunk(2)
        return (plus - minus).flip(-1).cumsum(-1).flip(-1)[..., None]


def random_signs(shape: tuple[int, ...], generator: torch.Generator | Streams, batch: int) -> torch.Tensor:
    """Independent signs +-1 (int64), the first axis over copies of a batch of so many samples, or of runs."""
    return 2 * drawn(partial(torch.randint, 2), shape, generator, torch.int64, batch) - 1


def hadamard_rows(rows: torch.Tensor, length: int) -> torch.Tensor:
    """The first ``length`` entries +-1 of some rows (...) of Sylvester's Hadamard matrix, (..., length).

    Entry (i, j) is -1 to the number of bits that i and j share.
    """
    bits = rows[..., None] & torch.arange(length, dtype=torch.int64, device=rows.device)
    for half in (16, 8, 4, 2, 1):  # their parity
        bits = bits ^ (bits >> half)
    return 1 - 2 * (bits & 1)
