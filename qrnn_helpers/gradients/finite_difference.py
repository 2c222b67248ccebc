"""Central differences, angle by angle: g = [f(theta + h) - f(theta - h)] / 2h."""

from __future__ import annotations

import torch

from ..backends import Executor
from ..checks import check_bool, check_positive
from ..simulation import StepProgram, along
from .base import GradientEstimator, check_perturbation, check_variants


class FiniteDifference(GradientEstimator):
    """Central differences, angle by angle: g = [f(theta + h) - f(theta - h)] / 2h.

    Two circuits for each angle of each step, whatever gates it enters.  The bias is -h**2 / 6 times the
    third derivative, the variance with N shots sigma**2 / (2 N h**2): for Pauli rotations the error is
    least at h = (9 sigma**2 / (N g**2))**(1/6), of the order of a radian.  ``causal`` leaves the outputs
    before an angle's own step out of its estimate.
    """

    draws_first = True

    def __init__(self, h: float = 0.1, causal: bool = False):
        self.h = check_positive("h", h)
        self.causal = check_bool("causal", causal)

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        return 2 * time_steps * len(program.parameters)

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        program = executor.program
        count = angles.shape[2]
        gate_angles = program.gate_angles(angles)
        check_perturbation("h", self.h, angles, executor)
        readouts = executor.variants(gate_angles, weights, self.causal)
        gradient = torch.zeros_like(angles)
        if not count:
            return gradient
        perturbations = self.h * torch.eye(count, dtype=angles.dtype, device=angles.device)[:, None]
        for steps in executor.spans(gate_angles, 2 * count):
            check_variants("angles", gate_angles, 2 * count, len(steps), count)
            here = along(angles, steps)
            perturbed = program.gate_angles(torch.cat([here + perturbations, here - perturbations]))
            plus, minus = readouts(steps, perturbed).unflatten(1, (len(steps), -1)).chunk(2)
            gradient[:, steps.start : steps.stop] = (plus - minus).permute(2, 1, 0) / (2 * self.h)
        return gradient
