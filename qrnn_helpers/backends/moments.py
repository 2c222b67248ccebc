"""Shots by their moments: a fast path for gradients whose noise has the exact mean and variance of drawn shots."""

from __future__ import annotations

import torch

from ..checks import check_bytes
from ..simulation import (
    HeisenbergPicture,
    StepProgram,
    along,
    ground,
    joint_moments,
    kraus_operators,
    replaced_operators,
)
from .base import refuse_state
from .shots import ShotBackend

__all__ = ["MomentBackend"]


PORTION = 2**26
"""Bytes that the circuits whose covariances are worked out together may take."""


class MomentBackend(ShotBackend):
    """`ShotBackend`, but weighted readouts are drawn from normal distributions instead of shot by shot.

    What an estimator asks for is the mean over N shots of one shot's value X = sum_t w[t, r_t].  Its mean
    E[X] and variance Var[X] / N are exact here (`readouts`); what is approximated is the distribution, which
    the sum of N shots approaches by the central limit theorem.  Nothing is drawn per shot, so that the cost
    does not depend on their number.  Forward passes still draw true shots, and the ledger counts the same
    circuits and shots: they are what a device would run.
    """

    def __repr__(self) -> str:
        return f"MomentBackend(shots={self.shots}, dtype={self.dtype})"

    def values(self, program, gate_angles, weights, state=None):
        refuse_state(self, state)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        batch, time_steps = kraus.shape[:2]
        each = moment_bytes(program, time_steps, self.dtype)
        few = max(1, PORTION // each)
        needed = kraus.numel() * kraus.element_size() + min(few, batch) * each
        check_bytes("angles", needed, f"shape ({batch}, {time_steps}, ...), for the covariance of all steps' outcomes")
        parts = (kraus, weights, self._start(program, gate_angles), self._normal(weights[..., 0]))
        drawn = [self._drawn(*part) for part in zip(*(part.split(few) for part in parts))]
        return torch.cat(drawn).to(gate_angles.dtype)

    def _drawn(self, kraus, weights, rho, normal) -> torch.Tensor:
        """Values (batch, time) of some circuits, from standard normal numbers."""
        mean, covariance = joint_moments(kraus, weights, rho)
        # A covariance may have eigenvalues 0, and slightly below by rounding: Cholesky would fail.
        variances, axes = torch.linalg.eigh(covariance.double() / self.shots)
        noise = axes @ (variances.clamp_min(0).sqrt() * normal)[..., None]
        return mean + noise[..., 0]

    def variants(self, program, gate_angles, weights, state=None, *, causal=False):
        refuse_state(self, state)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        ends = HeisenbergPicture(kraus, weights, self._start(program, gate_angles), causal, second=True)

        def at(step: int | range, replaced: torch.Tensor) -> torch.Tensor:
            steps = step if isinstance(step, range) else range(step, step + 1)
            own = replaced_operators(program, replaced, self.dtype, along(gate_angles, steps))
            mean, square = ends.moments(steps, own)
            spread = ((square - mean**2).clamp_min(0) / self.shots).sqrt()
            # Step by step, so that what is drawn does not depend on how many steps are taken together.
            noise = torch.cat([self._normal(part) for part in mean.chunk(len(steps), 1)], 1)
            return (mean + spread * noise).to(gate_angles.dtype)

        return at

    def _start(self, program, gate_angles) -> torch.Tensor:
        return ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)

    def _normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers in double precision."""
        drawn = torch.randn(like.shape, generator=self.generator, dtype=torch.float64, device=self.generator.device)
        return drawn.to(like.device)


def moment_bytes(program: StepProgram, time_steps: int, dtype: torch.dtype) -> int:
    """Bytes that `joint_moments` and what is drawn from them take for one circuit at their peak.

    Towards the last step as many weighted states as there are steps meet an isometry, and (time, time) matrices
    stand beside each other: measured as five and six of them.
    """
    return time_steps * (5 * dtype.itemsize * program.size + 48 * time_steps)
