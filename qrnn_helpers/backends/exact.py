"""Exact simulation: the memory's density matrix, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_bytes, check_one_of, check_tensor
from ..simulation import (
    HeisenbergPicture,
    PauliSteps,
    StepProgram,
    along,
    as_range,
    evolve,
    ground,
    kraus_operators,
    replaced_operators,
)
from .base import Answer, Backend, Variants

STATE_TOLERANCE = 1e-3
"""How far a state may be from Hermitian, of trace 1, and without negative eigenvalues: half precision is off by 5e-4.
A state that a layer carries stays closer: in complex128 its trace drifts by 2e-12 in 10,000 steps (4 + 4 qubits), in
complex64 it is put right in every call (`evolve`)."""


class ExactBackend(Backend):
    """Exact probabilities by evolving the memory's density matrix; differentiable by torch.

    rho_t+1 = sum_r K_r rho_t K_r^dagger and p_t(r) = tr(K_r rho_t K_r^dagger), with the Kraus
    operators K_r of step t.  Time and memory grow linearly with the number of steps.  Many small circuits
    without slopes are run in the Pauli basis (`PauliSteps`): the same numbers up to rounding.
    """

    def __init__(self, dtype: torch.dtype = torch.complex128):
        self.dtype = check_one_of("dtype", dtype, (torch.complex128, torch.complex64))

    def __repr__(self) -> str:
        return f"ExactBackend(dtype={self.dtype})"

    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        batch, time_steps, _ = gate_angles.shape
        # From |0...0> a single step has a way of its own, below.
        pauli = None if state is None and time_steps == 1 else pauli_steps(program, gate_angles, state)
        check_memory(program, gate_angles, self.dtype, pauli, state)
        if pauli is not None:
            start = None if state is None else self._start(program, gate_angles, state)
            outcomes, rho = pauli.probabilities(program.reduced(gate_angles), self.dtype, start)
            return outcomes.to(gate_angles.dtype).contiguous(), rho
        # From |0...0> one column of an isometry will do; in a longer run its own way there costs more than it saves.
        if state is None and time_steps == 1:
            contraction = program.ground_contraction
            start = torch.ones(batch, 1, 1, dtype=self.dtype, device=gate_angles.device)
        else:
            contraction = program.contraction
            start = self._start(program, gate_angles, state)
        probabilities, rho = evolve(program.unitaries, contraction, program.reduced(gate_angles), start)
        if not program.occurrences:  # slopes of 0 along the angles, as from every estimator
            nothing = gate_angles.sum((1, 2))[:, None, None]
            return (probabilities + nothing).to(gate_angles.dtype), rho + nothing.to(self.dtype)
        return probabilities.to(gate_angles.dtype), rho

    def sums(self, program: StepProgram, gate_angles: Tensor, weights: Tensor, state: Tensor | None = None) -> Tensor:
        pauli = pauli_steps(program, gate_angles, state, weights)
        if pauli is None or overrides(self, ExactBackend, "run", "values"):
            return super().sums(program, gate_angles, weights, state)
        check_memory(program, gate_angles, self.dtype, pauli)
        start = None if state is None else self._start(program, gate_angles, state)
        return pauli.moments(program.reduced(gate_angles), weights, self.dtype, start)[0].to(gate_angles.dtype)

    def variants(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Variants:
        kraus = kraus_operators(program, gate_angles, self.dtype)
        picture = HeisenbergPicture(kraus, weights, self._start(program, gate_angles, state), causal)

        def at(step: int | range, replaced: Tensor) -> Tensor:
            mean, _ = replaced_moments(picture, program, gate_angles, as_range(step), replaced, self.dtype)
            return mean.to(gate_angles.dtype)

        return at

    def _start(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None) -> Tensor:
        """The given state, or |0...0><0...0|, for every sample."""
        if state is not None:
            return check_state("state", state, gate_angles.shape[0], 2**program.memory).to(self.dtype)
        return ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)


def overrides(backend: Backend, kind: type[Backend], *methods: str) -> bool:
    """Whether a backend derived from ``kind`` answers by methods of its own, which no short cut may pass by."""
    return any(getattr(type(backend), name) is not getattr(kind, name) for name in methods)


def is_recorded(*inputs: Tensor | None) -> bool:
    """Whether torch records what becomes of the inputs."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)


def pauli_steps(
    program: StepProgram, gate_angles: Tensor, *others: Tensor | None, moments: int = 1
) -> PauliSteps | None:
    """The way in the Pauli basis, where it is the faster one and nobody asks for slopes.

    Second ``moments`` cost by matrices twice what means do, and hardly more in the Pauli basis: half the circuits do.
    """
    return None if is_recorded(gate_angles, *others) else program.pauli_steps(moments * len(gate_angles))


def replaced_moments(
    picture: HeisenbergPicture,
    program: StepProgram,
    gate_angles: Tensor,
    steps: range,
    replaced: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor | None]:
    """Moments of the weighted readouts of circuits with one of the steps' gate angles replaced, (K, S * batch)."""
    kraus = replaced_operators(program, replaced, dtype, along(gate_angles, steps))
    return picture.moments(steps, kraus)


def check_state(name: str, state: Tensor, batch: int, size: int) -> Tensor:
    """Return ``state`` itself if it is a batch of density matrices (batch, size, size), up to STATE_TOLERANCE."""
    rho = check_tensor(name, state, (batch, size, size), complex_too=True).detach().to(torch.complex128)
    traces = rho.diagonal(dim1=-2, dim2=-1).sum(-1)
    deviations = {
        "a part that is not Hermitian, of size": (rho - rho.mH).abs().max(),
        "a trace that differs from 1 by": (traces - 1).abs().max(),
        "an eigenvalue below zero by": -torch.linalg.eigvalsh(rho).min(),
    }
    for words, deviation in deviations.items():
        if deviation > STATE_TOLERANCE:
            raise ValueError(
                f"{name} must hold density matrices (Hermitian, trace 1, no negative eigenvalue, within "
                f"{STATE_TOLERANCE}); got {words} {float(deviation):.3g}"
            )
    return state


def check_memory(
    program: StepProgram,
    gate_angles: Tensor,
    dtype: torch.dtype,
    pauli: PauliSteps | None,
    state: Tensor | None = None,
    operators: int = 1,
) -> None:
    """Refuse circuits whose value and gradient would need more than the memory limit, on the way that they take."""
    batch, time_steps, _ = gate_angles.shape
    graph = is_recorded(gate_angles, state)
    if pauli is not None:
        needed = pauli.bytes(batch, time_steps, dtype, operators)
    else:
        needed = program.evolution_bytes(batch * time_steps, dtype, graph, batch)
    what = f"shape ({batch}, {time_steps}, ...) on {program.memory} + {program.readout} qubits"
    check_bytes("angles", needed, what + " with what the gradient needs" * graph)
