"""Shots under noise by their moments: `MomentBackend` of circuits with a `SimpleNoise`."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_bytes, check_instance, check_tensor
from ..simulation import NoisyPauliSteps, StepProgram
from ..torch_modes import settled
from .base import Variants, one_step_at_a_time, with_step
from .moments import MomentBackend
from .noise import SimpleNoise
from .noisy import NoisyBackend, noisy_steps


class NoisyMomentBackend(MomentBackend):
    """Shots of the noisy process that `NoisyBackend` gives the probabilities of, as `MomentBackend` has them.

    Sums are normal with the exact mean and variance E[X^2] - E[X]^2 over ``shots``, all gates' noise, failed resets
    and wrong readings included; values and forward passes follow one drawn shot.  A shot keeps its memory from step to
    step, so that outcomes at different times, and the bits of a step, are correlated as on such a device.

    ``noise`` has its rates at the gates as they stand in the step circuit, which have one or two qubits; ``exact`` is
    the `NoisyBackend` of the same process.
    """

    def __init__(
        self,
        noise: SimpleNoise,
        shots: int,
        seed: int | torch.Generator | None = None,
        dtype: torch.dtype = torch.complex128,
    ):
        super().__init__(shots, seed, dtype, true_forward=False)
        self.noise = check_instance("noise", noise, SimpleNoise, "a SimpleNoise")
        self.exact = NoisyBackend(noise)

    def __repr__(self) -> str:
        return f"NoisyMomentBackend({self.noise}, shots={self.shots}, dtype={self.dtype})"

    def variants(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Variants:
        @one_step_at_a_time
        def at(step: int, replaced: Tensor) -> Tensor:
            read = weights.clone()
            read[:, : step if causal else 0] = 0
            circuits = with_step(gate_angles, step, replaced).flatten(0, 1)
            sums = self.sums(program, circuits, read.repeat(len(replaced), 1, 1), state)
            return sums.view(replaced.shape[:2])

        return at

    def histories(self, program: StepProgram, gate_angles: Tensor) -> Tensor:
        """The outcomes of every single shot, (batch, shots, time), int64, in the order in which they are drawn."""
        check_tensor("gate_angles", gate_angles, ("batch", "time", len(program.occurrences)))
        with settled(gate_angles.device):
            copies = gate_angles.double().repeat_interleave(self.shots, 0)
            return self._mean_and_shot(program, copies)[1].unflatten(0, (len(gate_angles), self.shots))

    def _mean_and_shot(self, program: StepProgram, gate_angles: Tensor) -> tuple[Tensor, Tensor]:
        steps = self._steps(program, gate_angles)
        return steps.shot(program.reduced(gate_angles), self._uniform(gate_angles), self.dtype)

    def _sum_moments(self, program: StepProgram, gate_angles: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        steps = self._steps(program, gate_angles)
        return steps.moments(program.reduced(gate_angles), weights, self.dtype, second=True)

    def _steps(self, program: StepProgram, gate_angles: Tensor) -> NoisyPauliSteps:
        """The compiled step, if there is memory for these circuits."""
        steps = noisy_steps(program, self.noise)
        batch, time_steps, _ = gate_angles.shape
        needed = steps.bytes(batch, time_steps, self.dtype, 2) + 8 * batch * time_steps * (2**program.readout + 4)
        check_bytes("angles", needed, f"shape ({batch}, {time_steps}, ...)")
        return steps
