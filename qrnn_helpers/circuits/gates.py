"""What a single gate of Qiskit's is: its free angles, its matrix or family, its definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import AnnotatedOperation, ControlledGate, Gate, Operation, Parameter, ParameterExpression
from qiskit.circuit.library import PauliEvolutionGate, PermutationGate
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator
from qiskit.synthesis import synth_permutation_basic

from .families import Family, fit_family

FAMILIES_KEPT = 4096
"""Families of standard gates that are kept for later circuits."""

_FAMILIES: dict[tuple, Family | None] = {}


@dataclass(frozen=True, eq=False)
class Op:
    """One gate: a constant ``matrix``, or occurrence number ``occurrence`` of ``family``.

    The first ``len(bits)`` of its ``qubits`` control it: where they hold ``bits``, ``gate`` acts on the others.
    """

    gate: Operation
    qubits: tuple[int, ...]
    bits: tuple[int, ...] = ()
    matrix: np.ndarray | None = None
    family: Family | None = None
    expression: ParameterExpression | None = None
    slot: int = 0
    occurrence: int = -1

    def with_angle(self, angle: float | Parameter | None) -> Operation:
        """The Qiskit gate on all of ``qubits``, its angle replaced (None: the gate has none)."""
        gate = self.gate if angle is None else with_angles(self.gate, {self.slot: angle})
        if not self.bits:
            return gate
        state = sum(bit << k for k, bit in enumerate(self.bits))
        # Qiskit cannot write out the control of every constant gate, but its transpiler can.
        return gate.control(len(self.bits), ctrl_state=state, annotated=self.family is None)


@dataclass(frozen=True, eq=False)
class Placed:
    """An instruction as a device runs it, and the ``ops`` that it comes to: three for U(a, b, c), none for a barrier.

    ``operation`` acts on ``qubits``, and the angles of the ops stand in its parameters ``slots``, in the order of the
    ops; without an ``operation`` there is one op, which writes itself out.
    """

    ops: tuple[Op, ...]
    qubits: tuple[int, ...]
    operation: Operation | None = None
    slots: tuple[int, ...] = ()

    def with_angles(self, angles: Sequence[Parameter]) -> Operation:
        """The Qiskit instruction, each of its angles replaced by that of the op's occurrence."""
        angles = [angles[op.occurrence] for op in self.ops if op.family is not None]
        if self.operation is None:
            return self.ops[0].with_angle(angles[0] if angles else None)
        return with_angles(self.operation, dict(zip(self.slots, angles))) if angles else self.operation


def free_slots(gate: Operation) -> list[int]:
    """Which of the gate's parameters hold a free Parameter."""
    return [i for i, p in enumerate(gate.params) if isinstance(p, ParameterExpression) and p.parameters]


def home_of(gate: Operation) -> str:
    """The module that the gate's class is from."""
    return getattr(gate, "base_class", type(gate)).__module__  # gates without parameters are singletons of a class


def is_standard(gate: Operation) -> bool:
    return home_of(gate).startswith("qiskit.circuit.library.standard_gates")


def definition_of(gate: Operation) -> QuantumCircuit | None:
    if isinstance(gate, PermutationGate):  # Qiskit leaves it to its transpiler
        return synth_permutation_basic(gate.pattern)
    try:
        return getattr(gate, "definition", None)
    except (QiskitError, TypeError):
        return None


def with_angles(gate: Operation, angles: Mapping[int, float | Parameter]) -> Operation:
    """A copy of the gate with these parameters (slot: angle) in place of its own."""
    if isinstance(gate, AnnotatedOperation):
        return AnnotatedOperation(with_angles(gate.base_op, angles), gate.modifiers)
    if type(gate) is ControlledGate:
        base = with_angles(gate.base_gate, angles)
        return base.control(gate.num_ctrl_qubits, gate.label, gate.ctrl_state, annotated=False)
    copy = gate.to_mutable()
    copy.params = [angles.get(i, p) for i, p in enumerate(gate.params)]
    if is_standard(gate):
        copy.definition = None  # one that was made before holds the old parameters
    return copy


def constant_matrix(gate: Operation) -> np.ndarray | None:
    """The matrix of a gate without free angles, or None if it has none that is unitary."""
    if not isinstance(gate, Gate | AnnotatedOperation):
        return None
    try:
        operator = _operator(gate)
    except (QiskitError, TypeError):
        return None
    return operator.data if operator.is_unitary() else None


def family_of(gate: Operation, slot: int) -> Family | None:
    """The family of a gate in its one free angle, or None if its matrix is no such family."""
    key = _value(gate, slot) if is_standard(gate) else None
    if key is None:
        return _fit(gate, slot)
    if key not in _FAMILIES:
        if len(_FAMILIES) >= FAMILIES_KEPT:  # other angles bound to ever new values
            _FAMILIES.clear()
        _FAMILIES[key] = _fit(gate, slot)
    return _FAMILIES[key]


def _value(gate: Operation, slot: int) -> tuple | None:
    """All that a standard gate's family depends on, its other angles by value; None if one of them has none."""
    try:  # `complex` knows expressions whose Parameters are all bound
        others = tuple(complex(p) for i, p in enumerate(gate.params) if i != slot)
    except (TypeError, ValueError):
        return None
    return type(gate), gate.name, gate.num_qubits, getattr(gate, "ctrl_state", None), slot, others


def _fit(gate: Operation, slot: int) -> Family | None:
    try:
        return fit_family(gate.name, lambda angle: _operator(with_angles(gate, {slot: angle})).data)
    except (QiskitError, TypeError):
        return None


def _operator(gate: Operation) -> Operator:
    """Of a PauliEvolutionGate the product formula, which is what a device runs."""
    return Operator(gate.definition if isinstance(gate, PauliEvolutionGate) else gate)
