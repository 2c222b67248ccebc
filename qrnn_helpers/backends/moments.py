"""Shots by their moments: a fast path for gradients whose noise has the exact mean and variance of drawn shots."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_bytes
from ..simulation import HeisenbergPicture, StepProgram, as_range, drawn, ground, joint_moments, kraus_operators
from .base import Variants, check_no_state
from .exact import check_memory, overrides, pauli_steps, replaced_moments
from .shots import ShotBackend

__all__ = ["MomentBackend"]


PORTION = 2**26
"""Bytes that the circuits whose covariances are worked out together may take."""


class MomentBackend(ShotBackend):
    """`ShotBackend`, but weighted readouts are drawn from normal distributions instead of shot by shot.

    What an estimator asks for is the mean over N shots of one shot's value X = sum_t w[t, r_t].  Its mean
    E[X] and variance Var[X] / N are exact here; what is approximated is the distribution, which the sum of N
    shots approaches by the central limit theorem.  Nothing is drawn per shot, so that the cost does not depend
    on their number.  Forward passes still draw true shots, and the ledger counts the same circuits and shots:
    they are what a device would run.
    """

    def __repr__(self) -> str:
        return f"MomentBackend(shots={self.shots}, dtype={self.dtype})"

    def values(self, program: StepProgram, gate_angles: Tensor, weights: Tensor, state: Tensor | None = None) -> Tensor:
        check_no_state(self, state)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        batch, time_steps = kraus.shape[:2]
        each = moment_bytes(program, time_steps, self.dtype)
        together = max(1, PORTION // each)
        needed = kraus.nbytes + min(together, batch) * each
        check_bytes("angles", needed, f"shape ({batch}, {time_steps}, ...), for the covariance of all steps' outcomes")
        whole = (kraus, weights, self._ground(program, gate_angles), self._normal(weights[..., 0]))
        portions = zip(*(part.split(together) for part in whole))
        return torch.cat([self._drawn(*portion) for portion in portions]).to(gate_angles.dtype)

    def sums(self, program: StepProgram, gate_angles: Tensor, weights: Tensor, state: Tensor | None = None) -> Tensor:
        if overrides(self, MomentBackend, "run", "values"):
            return super().sums(program, gate_angles, weights, state)
        check_no_state(self, state)
        # What all outcomes of a step share has no variance, and would swallow the digits of what has.
        level = weights.mean(-1, keepdim=True)
        mean, square = self._sum_moments(program, gate_angles, weights - level)
        assert square is not None  # second moments were asked for
        spread = ((square - mean**2).clamp_min(0) / self.shots).sqrt()
        return (level.sum((1, 2)) + mean + spread * self._normal(mean)).to(gate_angles.dtype)

    def _sum_moments(self, program: StepProgram, gate_angles: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """E[X] and E[X^2], (batch,), of the sum of a shot's values at all steps."""
        pauli = pauli_steps(program, gate_angles, weights)
        if pauli is not None:
            check_memory(program, gate_angles, self.dtype, pauli, operators=2)
            return pauli.moments(program.reduced(gate_angles), weights, self.dtype, second=True)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        start = self._ground(program, gate_angles)
        return HeisenbergPicture(kraus, weights, start, causal=True, second=True).total()

    def _drawn(self, kraus: Tensor, weights: Tensor, rho: Tensor, normal: Tensor) -> Tensor:
        """Values (batch, time) of some circuits, from standard normal numbers."""
        mean, covariance = joint_moments(kraus, weights, rho)
        # A covariance may have eigenvalues 0, and slightly below by rounding: Cholesky would fail.
        variances, axes = torch.linalg.eigh(covariance.double() / self.shots)
        noise = axes @ (variances.clamp_min(0).sqrt() * normal)[..., None]
        return mean + noise[..., 0]

    def variants(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Variants:
        check_no_state(self, state)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        picture = HeisenbergPicture(kraus, weights, self._ground(program, gate_angles), causal, second=True)

        def at(step: int | range, replaced: Tensor) -> Tensor:
            steps = as_range(step)
            mean, square = replaced_moments(picture, program, gate_angles, steps, replaced, self.dtype)
            assert square is not None  # second moments were asked for
            spread = ((square - mean**2).clamp_min(0) / self.shots).sqrt()
            # Step by step, so that what is drawn does not depend on how many steps are taken together.
            noise = torch.cat([self._normal(part.flatten()).view_as(part) for part in mean.chunk(len(steps), 1)], 1)
            return (mean + spread * noise).to(gate_angles.dtype)

        return at

    def _ground(self, program: StepProgram, gate_angles: Tensor) -> Tensor:
        return ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)

    def _normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers in double precision, the first axis over circuits."""
        return drawn(torch.randn, like.shape, self.generator).to(like.device)


def moment_bytes(program: StepProgram, time_steps: int, dtype: torch.dtype) -> int:
    """Bytes that `joint_moments` and what is drawn from them take for one circuit at their peak.

    Towards the last step as many weighted states as there are steps meet an isometry, and (time, time) matrices
    stand beside each other: measured as five and six of them.
    """
    return time_steps * (5 * dtype.itemsize * program.size + 48 * time_steps)
