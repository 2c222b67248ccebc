"""Shots by their moments: a fast path for gradients whose noise has the exact mean and variance of drawn shots."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_bool, check_bytes
from ..simulation import HeisenbergPicture, StepProgram, as_range, drawn, ground, kraus_operators, mean_and_shot
from .base import Answer, Variants, check_no_state
from .exact import check_memory, overrides, pauli_steps, replaced_moments
from .shots import ShotBackend


class MomentBackend(ShotBackend):
    """`ShotBackend`, but the noise of weighted readouts is drawn from its moments instead of shot by shot.

    What an estimator asks for is the mean over N shots of one shot's value.  Its mean and its variance are exact
    here; what is approximated is the distribution.  The cost does not depend on the number of shots.

    - *Sums* X = sum_t w[t, r_t], and `variants`, are drawn from a normal distribution with mean E[X] and variance
      Var[X] / N, which the mean of N shots approaches by the central limit theorem.
    - *Values* v_t = w[t, r_t] of every step follow one drawn shot: E[v_t] + (v_t - E[v_t]) / sqrt(N) has the mean
      of N shots, and their covariance Cov[v_t, v_u] / N, at all steps together.  The shape is that of one shot:
      cumulants of order k > 2 are N**(k/2 - 1) times those of N shots, and fade as an estimator adds circuits up.

    Forward passes draw true shots, unless ``true_forward`` is False: then frequencies follow one drawn shot, as values
    do, and some may be negative.  The ledger counts the same circuits and shots: they are what a device would run.
    """

    def __init__(
        self,
        shots: int,
        seed: int | torch.Generator | None = None,
        dtype: torch.dtype = torch.complex128,
        true_forward: bool = True,
    ):
        super().__init__(shots, seed, dtype)
        self.true_forward = check_bool("true_forward", true_forward)

    def __repr__(self) -> str:
        forward = "" if self.true_forward else ", true_forward=False"
        return f"MomentBackend(shots={self.shots}, dtype={self.dtype}{forward})"

    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        if self.true_forward:
            return super().run(program, gate_angles, state)
        check_no_state(self, state)
        mean, outcomes = self._mean_and_shot(program, gate_angles)
        shot = torch.nn.functional.one_hot(outcomes, mean.shape[-1])
        return (mean + (shot - mean) / self.shots**0.5).to(gate_angles.dtype), None

    def values(self, program: StepProgram, gate_angles: Tensor, weights: Tensor, state: Tensor | None = None) -> Tensor:
        if overrides(self, MomentBackend, "run"):
            return super().values(program, gate_angles, weights, state)
        check_no_state(self, state)
        probabilities, outcomes = self._mean_and_shot(program, gate_angles)
        mean = (probabilities * weights).sum(-1)
        shot = weights.gather(-1, outcomes[..., None])[..., 0]
        return (mean + (shot - mean) / self.shots**0.5).to(gate_angles.dtype)

    def _mean_and_shot(self, program: StepProgram, gate_angles: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (batch, time, R), and the outcomes (batch, time) of one shot of each circuit."""
        batch, time_steps, _ = gate_angles.shape
        pauli = pauli_steps(program, gate_angles, moments=2)
        what = f"shape ({batch}, {time_steps}, ...), for the outcomes of one shot of each"
        kept = 8 * batch * time_steps * (2**program.readout + 4)
        if pauli is not None:
            check_bytes("angles", pauli.bytes(batch, time_steps, self.dtype, 2) + kept, what)
            return pauli.shot(program.reduced(gate_angles), self._uniform(gate_angles), self.dtype)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        at_work = 3 * batch * self.dtype.itemsize * program.size  # of a step products and what is made of them
        check_bytes("angles", kraus.nbytes + at_work + kept, what)
        return mean_and_shot(kraus, self._uniform(gate_angles))

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
        pauli = pauli_steps(program, gate_angles, weights, moments=2)
        if pauli is not None:
            check_memory(program, gate_angles, self.dtype, pauli, operators=2)
            return pauli.moments(program.reduced(gate_angles), weights, self.dtype, second=True)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        start = self._ground(program, gate_angles)
        return HeisenbergPicture(kraus, weights, start, causal=True, second=True).total()

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

    def _uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1) for every circuit and step, in double precision, the first axis over circuits."""
        return drawn(torch.rand, tuple(like.shape[:2]), self.generator).to(like.device)
