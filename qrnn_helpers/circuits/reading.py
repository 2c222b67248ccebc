"""Reading a circuit: every gate becomes a constant matrix or a family with one angle and a shift rule.

Of a controlled gate only what it does to its targets is read.  What is neither constant nor a family of one
angle is replaced by its definition.

In what follows the first len(bits) of ``qubits`` are controls that hold ``bits``.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    Barrier,
    ControlFlowOp,
    ControlledGate,
    ControlModifier,
    Delay,
    Gate,
    Instruction,
    InverseModifier,
    Operation,
    Parameter,
    ParameterExpression,
    PowerModifier,
)
from qiskit.circuit.library import (
    GlobalPhaseGate,
    Initialize,
    PhaseGate,
    RYGate,
    UGate,
    UnitaryGate,
    get_standard_gate_name_mapping,
)
from qiskit.exceptions import QiskitError

from ..checks import shown
from .gates import Op, Placed, constant_matrix, definition_of, family_of, free_slots, home_of, is_standard, with_angles

WIDEST = 6
"""Qubits up to which a gate is taken as one dense matrix although it has a definition."""

SUB_CIRCUITS = (Gate, Instruction)
"""What `QuantumCircuit.to_gate` and `to_instruction` make: always opened."""

RESERVED_NAMES = {
    *get_standard_gate_name_mapping(),
    *("annotated", "barrier", "diagonal", "initialize", "kraus", "mcphase", "mcx", "multiplexer", "pauli", "unitary"),
    *("box", "break_loop", "continue_loop", "for_loop", "if_else", "store", "switch_case", "while_loop"),
    *("jump", "mark", "qerror_loc", "quantum_channel", "roerror", "superop"),
}
"""Names that Qiskit's passes and Aer take for gates and instructions of their own."""

Qubits = tuple[int, ...]
Bits = tuple[int, ...]


def read(circuit: QuantumCircuit) -> list[Placed]:
    """The circuit's instructions in order, the ops that have an angle numbered."""
    instructions = []
    count = 0
    for placed in _read_circuit(circuit, range(circuit.num_qubits)):
        ops = []
        for op in placed.ops:
            if op.family is not None:
                op = replace(op, occurrence=count)
                count += 1
            ops.append(op)
        instructions.append(replace(placed, ops=tuple(ops)))
    return instructions


def _read_circuit(
    circuit: QuantumCircuit, places: Iterable[int], controls: Qubits = (), bits: Bits = ()
) -> list[Placed]:
    """The instructions of a circuit that lies on ``places``."""
    places = tuple(places)
    instructions: list[Placed] = []
    for instruction in circuit.data:
        gate = _by_class(_as_instruction(instruction.operation))
        _check_finite(gate)
        qubits = tuple(places[circuit.find_bit(q).index] for q in instruction.qubits)
        parts = _read(gate, controls + qubits, bits)
        instructions += parts if bits else _as_drawn(gate, qubits, parts)
    if bits:  # a phase that is global in the circuit is none beside the controls
        instructions += _read(GlobalPhaseGate(circuit.global_phase), controls, bits)
    return instructions


def _as_instruction(operation: Operation) -> Operation:
    """An operation that has parameters, if only none: a Clifford is spelled out."""
    if hasattr(operation, "params"):
        return operation
    if not hasattr(operation, "to_instruction"):
        raise ValueError(f"step: got operation {operation.name!r} ({type(operation).__name__}); allowed are gates")
    return operation.to_instruction()


def _check_finite(gate: Operation) -> None:
    for number in gate.params:
        if isinstance(number, numbers.Complex) and not np.isfinite(complex(number)):
            raise ValueError(f"step: got gate {gate.name!r} with the angle {number}; allowed are finite ones")


def _by_class(gate: Operation) -> Operation:
    """The gate, under a name of its own if it only bears that of another: passes and simulators go by the name."""
    made = type(gate) in (*SUB_CIRCUITS, ControlledGate) or not home_of(gate).startswith("qiskit")
    return gate.copy(name=f"own {gate.name}") if made and gate.name in RESERVED_NAMES else gate


def _read(gate: Operation, qubits: Qubits, bits: Bits = ()) -> list[Placed]:
    """One operation, opened as far as its ops are not known."""
    if isinstance(gate, Barrier | Delay):
        _check_duration(gate)
        return [] if bits else [Placed((), qubits, gate)]
    if isinstance(gate, GlobalPhaseGate) and (not bits or gate.params == [0]):
        return []
    gate, inner = _spell_out(gate)
    return _read_plain(gate, qubits, bits + inner)


def _read_plain(gate: Operation, qubits: Qubits, bits: Bits) -> list[Placed]:
    """A gate without annotations as far as Qiskit can write it so."""
    if isinstance(gate, UGate) and free_slots(gate):  # U(theta, phi, lam) = P(phi) RY(theta) P(lam), exactly
        theta, phi, lam = gate.params
        parts = PhaseGate(lam), RYGate(theta), PhaseGate(phi)
        return [placed for part in parts for placed in _read(part, qubits, bits)]
    if isinstance(gate, ControlledGate) and (bits or len(qubits) > 2):
        return _read_controlled(gate, qubits, bits)
    op = _as_one(gate, qubits, bits)
    if op is not None:
        return [Placed((op,), qubits)]
    if isinstance(gate, ControlledGate):
        return _read_controlled(gate, qubits, bits)
    return _open(gate, qubits, bits)


def _check_duration(gate: Operation) -> None:
    if not isinstance(gate, Delay):
        return
    if free_slots(gate) or not isinstance(gate.duration, numbers.Real | ParameterExpression):
        raise ValueError(f"step: got a delay of duration {shown(gate.duration)}; allowed are numbers")


def _read_controlled(gate: ControlledGate, qubits: Qubits, outer: Bits) -> list[Placed]:
    """What a controlled gate does to its targets, under its controls and the ``outer`` ones."""
    base = gate.base_gate
    bits = outer + _bits(gate)
    if base.num_qubits + gate.num_ctrl_qubits != gate.num_qubits:  # with ancillas
        return _open(gate, qubits, outer)
    if _is_cu(gate):
        theta, phi, lam, gamma = gate.params
        phase = _read(GlobalPhaseGate(gamma), qubits[: len(bits)], bits)
        return _read(UGate(theta, phi, lam), qubits, bits) + phase
    if is_standard(base):
        # Qiskit leaves the base's definition behind when it binds values.
        return _read(base.base_class(*base.params), qubits, bits)
    if type(base) in SUB_CIRCUITS:
        return _open(base, qubits, bits) if _is_up_to_date(base) else _open(gate, qubits, outer)
    op = _as_one(base, qubits, bits)
    return _open(gate, qubits, outer) if op is None else [Placed((op,), qubits)]


def _is_cu(gate: ControlledGate) -> bool:
    """Whether a fourth angle is a phase of the controls' own."""
    return isinstance(gate.base_gate, UGate) and len(gate.params) == 4


def _is_up_to_date(sub_circuit: Operation) -> bool:
    """Whether the definition has the gate's parameters: below a control, bound values do not reach it."""
    definition = definition_of(sub_circuit)
    return definition is not None and list(sub_circuit.params) == list(definition.parameters)


def _as_one(gate: Operation, qubits: Qubits, bits: Bits) -> Op | None:
    """The gate as one op, or None if it has to be opened."""
    if type(gate) in SUB_CIRCUITS:
        return None
    if gate.num_qubits > WIDEST and not isinstance(gate, UnitaryGate) and definition_of(gate) is not None:
        return None
    slots = free_slots(gate)
    if not slots:
        matrix = constant_matrix(gate)
        return None if matrix is None else Op(gate, qubits, bits, matrix=matrix)
    family = family_of(gate, slots[0]) if len(slots) == 1 else None
    if family is None:
        return None
    family = family.controlled if bits else family
    return Op(gate, qubits, bits, family=family, expression=gate.params[slots[0]], slot=slots[0])


def _open(gate: Operation, qubits: Qubits, bits: Bits) -> list[Placed]:
    """The instructions of a gate's definition."""
    definition = definition_of(gate)
    if definition is None or definition.num_clbits or isinstance(gate, Initialize | ControlFlowOp):
        raise ValueError(
            f"step: got gate {gate.name!r} ({type(gate).__name__}); allowed are unitary gates with a matrix, "
            "a one-angle family or a definition (measurement and reset are added by the network itself)"
        )
    return _read_circuit(definition, qubits[len(bits) :], qubits[: len(bits)], bits)


def _as_drawn(gate: Operation, qubits: Qubits, parts: list[Placed]) -> list[Placed]:
    """The gate itself in place of its parts, if it has one parameter for each angle of theirs."""
    if not parts:
        return parts
    slots = free_slots(gate)
    if len(slots) == 1 and not isinstance(gate, AnnotatedOperation):  # writes itself out
        return parts
    if len(slots) > 1 and type(gate) is ControlledGate and _is_cu(gate):  # Qiskit cannot replace its angles
        return parts
    order = _order(gate, qubits, slots)
    if sorted(order) != slots:
        return parts
    return [Placed(tuple(_ops(parts)), qubits, gate, tuple(order))]


def _order(gate: Operation, qubits: Qubits, slots: list[int]) -> list[int]:
    """The slot of every op's angle, -1 if it is none as it stands: read off the same gate with marks in its slots."""
    if not slots:
        return []
    marks = {Parameter(f"parameter {slot}"): slot for slot in slots}
    marked = with_angles(gate, {slot: mark for mark, slot in marks.items()})
    return [marks.get(op.expression, -1) for op in _ops(_read(marked, qubits)) if op.family is not None]


def _ops(parts: list[Placed]) -> list[Op]:
    return [op for part in parts for op in part.ops]


def _spell_out(gate: Operation) -> tuple[Operation, Bits]:
    """The gate without annotations as far as Qiskit can write it so, and the bits of its controls.

    An inverse or a power of a controlled gate is the controlled inverse or power.
    """
    if not isinstance(gate, AnnotatedOperation):
        return gate, ()
    base, bits = _spell_out(gate.base_op)
    others = []
    for modifier in gate.modifiers:
        if isinstance(modifier, ControlModifier):
            bits = _bits(modifier) + bits  # the last controls are the first qubits
        else:
            others.append(modifier)
    try:
        return reduce(_modified, others, base), bits
    except (QiskitError, TypeError):
        return AnnotatedOperation(base, others), bits


def _modified(gate: Operation, modifier: InverseModifier | PowerModifier) -> Operation:
    """A gate inverted or raised to a power."""
    if isinstance(modifier, InverseModifier):
        return gate.inverse()
    power = modifier.power
    if power < 0:
        gate = gate.inverse()
        power = -power
    if power >= 1 and float(power).is_integer() and not is_standard(gate):
        return gate.repeat(int(power))
    return gate.power(power)


def _bits(control: ControlledGate | ControlModifier) -> Bits:
    """The control qubits' bits, lowest first."""
    return tuple((control.ctrl_state >> k) & 1 for k in range(control.num_ctrl_qubits))
