"""dL/dangles by torch's own differentiation: exact, and no circuits beside those of the forward pass."""

from __future__ import annotations

from typing import NoReturn

import torch

from ..backends import Executor
from ..simulation import StepProgram
from .base import GradientEstimator


class Autograd(GradientEstimator):
    """Exact gradients by torch's own differentiation of the exact backend; no circuits of its own."""

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> NoReturn:
        raise RuntimeError("Autograd is done by torch itself and never estimates")

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        return 0
