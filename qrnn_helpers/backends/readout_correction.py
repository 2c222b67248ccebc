"""Readout errors undone: the outcome frequencies of every register times the inverse of its assignment matrix."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit, QuantumRegister
from torch import Tensor

from ..checks import check_count, check_instance
from ..simulation import StepProgram
from ..torch_modes import constant
from .base import Answer, Backend, Variants
from .noise import assignment_matrices


class ReadoutCorrection(Backend):
    """Another backend, its readout errors undone.

    A register that is read wrong bit by bit shows A p instead of p, A the tensor product of its bits' assignment
    matrices A[m, r] = P(read m | is r) (Bravyi et al., PRA 103, 042605, 2021).  A circuit is read register by register,
    at every step anew, so that A^-1 acts on each step's frequencies alone: outcomes of different steps need not be
    corrected together.  A weighted readout w.p becomes (A^-T w).(A p): unbiased, of greater variance.

    ``assignment``: a probability, a matrix (2, 2), or one for each readout qubit, (readout, 2, 2), as `SimpleNoise`
    has it; `calibrated_readout` measures it.  What a wrong bit does *after* it was read, such as a reset that goes by
    it, is not undone.
    """

    def __init__(self, backend: Backend, assignment: Any):
        self.backend = check_instance("backend", backend, Backend, "a Backend such as SamplerBackend(...)")
        self.assignments = assignment_matrices("assignment", assignment)
        if np.abs(np.linalg.det(self.assignments)).min() < SINGULAR:
            raise ValueError(f"assignment must have an inverse; got {self.assignments.tolist()}")
        self.shots, self.max_circuits = backend.shots, backend.max_circuits
        self.pass_manager = backend.pass_manager

    def __repr__(self) -> str:
        return f"ReadoutCorrection({self.backend!r}, {self.assignments.round(6).tolist()})"

    @property
    def exact(self) -> Any:
        """The noisy process that is corrected, if the backend knows it."""
        return getattr(self.backend, "exact", self.backend)

    @property
    def generator(self) -> Any:
        return getattr(self.backend, "generator", None)

    @generator.setter
    def generator(self, generator: Any) -> None:
        self.backend.generator = generator

    def circuits_a_job(self, program: StepProgram, time_steps: int) -> int | None:
        return self.backend.circuits_a_job(program, time_steps)

    def device_circuit(self, program: StepProgram, time_steps: int) -> QuantumCircuit:
        return self.backend.device_circuit(program, time_steps)

    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        probabilities, final = self.backend.run(program, gate_angles, state)
        return probabilities @ self._inverse(program, probabilities).T, final

    def values(self, program: StepProgram, gate_angles: Tensor, weights: Tensor, state: Tensor | None = None) -> Tensor:
        return self.backend.values(program, gate_angles, weights @ self._inverse(program, weights), state)

    def sums(self, program: StepProgram, gate_angles: Tensor, weights: Tensor, state: Tensor | None = None) -> Tensor:
        return self.backend.sums(program, gate_angles, weights @ self._inverse(program, weights), state)

    def variants(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Variants:
        read = weights @ self._inverse(program, weights)
        return self.backend.variants(program, gate_angles, read, state, causal=causal)

    def _inverse(self, program: StepProgram, like: Tensor) -> Tensor:
        """A^-1 (R, R)."""
        bits = np.linalg.inv(np.broadcast_to(self.assignments, (program.readout, 2, 2)))
        return constant(reduce(np.kron, bits[::-1]), like.dtype, like.device)  # the highest bit leads


SINGULAR = 1e-6
"""A determinant of an assignment matrix below which what is read says nothing of what was there."""


def calibrated_readout(backend: Backend, readout: int, circuits: int = 32) -> np.ndarray:
    """Assignment matrices (readout, 2, 2) as a backend shows them, from 2 * ``circuits`` circuits of ``backend.shots``:
    all readout qubits in |0>, or in |1> by an X gate, and measured.

    Bits are taken as independent.  An error of the X gate counts as one of the reading.
    """
    readout = check_count("readout", readout)
    circuits = check_count("circuits", circuits)
    columns = [_ones(backend, _prepared(readout, flipped), circuits) for flipped in (False, True)]
    return np.stack([np.stack([1 - one, one], -1) for one in columns], -1)


def _prepared(readout: int, flipped: bool) -> StepProgram:
    step = QuantumCircuit(QuantumRegister(1, "memory"), QuantumRegister(readout, "readout"))
    if flipped:
        step.x(step.qregs[1])
    return StepProgram(step)


def _ones(backend: Backend, program: StepProgram, circuits: int) -> np.ndarray:
    """How often each bit is read as 1, (readout,)."""
    angles = torch.zeros(circuits, 1, 0, dtype=torch.float64, device="cpu")
    frequencies = backend.run(program, angles)[0].double().mean((0, 1)).reshape([2] * program.readout).numpy()
    axes = range(program.readout)
    ones = [frequencies.sum(tuple(other for other in axes if other != axis))[1] for axis in axes]
    return np.clip(ones[::-1], 0, 1)  # the highest bit leads
