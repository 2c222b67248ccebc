"""Exact simulation: the memory's density matrix, step by step."""

from __future__ import annotations

import torch

from ..checks import check_bytes, check_one_of, check_tensor
from ..simulation import HeisenbergPicture, StepProgram, along, evolve, ground, kraus_operators, replaced_operators
from .base import Backend

__all__ = ["ExactBackend", "check_state"]


STATE_TOLERANCE = 1e-3
"""How far a state may be from Hermitian, of trace 1, and without negative eigenvalues: half precision is off by 5e-4.
A state that a layer carries stays closer: in complex128 its trace drifts by 2e-12 in 10,000 steps (4 + 4 qubits), in
complex64 it is put right in every call (`evolution`)."""


class ExactBackend(Backend):
    """Exact probabilities by evolving the memory's density matrix; differentiable by torch.

    rho_t+1 = sum_r K_r rho_t K_r^dagger and p_t(r) = tr(K_r rho_t K_r^dagger), with the Kraus
    operators K_r of step t.  Time and memory grow linearly with the number of steps.
    """

    def __init__(self, dtype: torch.dtype = torch.complex128):
        self.dtype = check_one_of("dtype", dtype, (torch.complex128, torch.complex64))

    def __repr__(self) -> str:
        return f"ExactBackend(dtype={self.dtype})"

    def run(self, program, gate_angles, state=None):
        batch, time_steps, _ = gate_angles.shape
        check_room(program, gate_angles, self.dtype)
        # From |0...0> one column of an isometry will do; in a longer run its own way there costs more than it saves.
        if state is None and time_steps == 1:
            growth, rho = (
                program.ground_contraction,
                torch.ones(batch, 1, 1, dtype=self.dtype, device=gate_angles.device),
            )
        else:
            growth, rho = program.contraction, self._start(program, gate_angles, state)
        probabilities, rho = evolve(program.unitaries, growth, program.reduced(gate_angles), rho)
        if not program.occurrences:  # slopes of 0 along the angles, as from every estimator
            nothing = gate_angles.sum((1, 2))[:, None, None]
            probabilities, rho = probabilities + nothing, rho + nothing.to(self.dtype)
        return probabilities.to(gate_angles.dtype), rho

    def variants(self, program, gate_angles, weights, state=None, *, causal=False):
        kraus = kraus_operators(program, gate_angles, self.dtype)
        ends = HeisenbergPicture(kraus, weights, self._start(program, gate_angles, state), causal)

        def at(step: int | range, replaced: torch.Tensor) -> torch.Tensor:
            base = along(gate_angles, step) if isinstance(step, range) else gate_angles[:, step]
            own = replaced_operators(program, replaced, self.dtype, base)
            return ends.moments(step, own)[0].to(gate_angles.dtype)

        return at

    def _start(self, program: StepProgram, gate_angles: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
        """The given state, or |0...0><0...0|, for every sample."""
        if state is not None:
            return check_state("state", state, gate_angles.shape[0], 2**program.memory).to(self.dtype)
        return ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)


def check_state(name: str, state: torch.Tensor, batch: int, size: int) -> torch.Tensor:
    """Return ``state`` itself if it is a batch of density matrices (batch, size, size), up to STATE_TOLERANCE."""
    rho = check_tensor(name, state, (batch, size, size), complex_too=True).detach().to(torch.complex128)
    traces = rho.diagonal(dim1=-2, dim2=-1).sum(-1)
    found = {
        "a part that is not Hermitian, of size": (rho - rho.mH).abs().max(),
        "a trace that differs from 1 by": (traces - 1).abs().max(),
        "an eigenvalue below zero by": -torch.linalg.eigvalsh(rho).min(),
    }
    for words, size in found.items():
        if size > STATE_TOLERANCE:
            raise ValueError(
                f"{name} must hold density matrices (Hermitian, trace 1, no negative eigenvalue, within "
                f"{STATE_TOLERANCE}); got {words} {float(size):.3g}"
            )
    return state


def check_room(program: StepProgram, gate_angles: torch.Tensor, dtype: torch.dtype) -> None:
    """Refuse circuits whose value and gradient would need more than the memory limit."""
    graph = torch.is_grad_enabled() and gate_angles.requires_grad
    what = f"shape ({gate_angles.shape[0]}, {gate_angles.shape[1]}, ...) on {program.memory} + {program.readout} qubits"
    needed = program.evolution_bytes(gate_angles.shape[:2].numel(), dtype, graph, len(gate_angles))
    check_bytes("angles", needed, what + " with what the gradient needs" * graph)
