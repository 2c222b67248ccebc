"""Reading a circuit: every gate becomes a constant matrix or a family with one angle and a shift rule.

A gate that depends on one angle is read as U(theta) = sum_k exp(-i lambda_k theta) P_k; the eigenvalues
lambda_k and the matrices P_k are taken from the gate's own matrix, so that any gate that Qiskit can
evaluate is known here, with its parameter-shift rule.  Of a controlled gate only what it does to its
targets is read.  What is neither constant nor such a family is replaced by its definition.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
)
from qiskit.circuit.library import (
    GlobalPhaseGate,
    Initialize,
    PauliEvolutionGate,
    PermutationGate,
    PhaseGate,
    RYGate,
    UGate,
    UnitaryGate,
    get_standard_gate_name_mapping,
)
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator
from qiskit.synthesis import synth_permutation_basic
from scipy.linalg import schur

from ..checks import shown

__all__ = ["Family", "Op", "Placed", "ShiftRule", "read"]


LARGEST_COUNT = 64
"""Frequencies that a shift rule may have: it runs two circuits for each."""

WIDEST = 6
"""Qubits up to which a gate is taken as one dense matrix although it has a definition."""

SUB_CIRCUITS = (Gate, Instruction)
"""What `QuantumCircuit.to_gate` and `to_instruction` make: always opened."""

TAKEN_NAMES = {
    *get_standard_gate_name_mapping(),
    *("annotated", "barrier", "diagonal", "initialize", "kraus", "mcphase", "mcx", "multiplexer", "pauli", "unitary"),
    *("box", "break_loop", "continue_loop", "for_loop", "if_else", "store", "switch_case", "while_loop"),
    *("jump", "mark", "qerror_loc", "quantum_channel", "roerror", "superop"),
}
"""Names that Qiskit's passes and Aer take for gates and instructions of their own."""


@dataclass(frozen=True)
class ShiftRule:
    """f'(theta) = sum_k coefficients[k] * f(theta + shifts[k]), exact for every expectation f."""

    shifts: tuple[float, ...]
    coefficients: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Family:
    """U(theta) = sum_k exp(-i eigenvalues[k] theta) terms[k]; terms has shape (k, d, d)."""

    name: str
    eigenvalues: np.ndarray
    terms: np.ndarray

    @cached_property
    def controlled(self) -> Family:
        """The same on the targets of a controlled gate: what idles has the eigenvalue 0, with no term there."""
        if 0.0 in self.eigenvalues:
            return self
        nothing = np.zeros_like(self.terms[:1])
        return Family(self.name, np.append(self.eigenvalues, 0.0), np.concatenate([self.terms, nothing]))

    @cached_property
    def spectrum(self) -> tuple[float, int]:
        """The unit W and the count R: all differences of eigenvalues are whole multiples of W, up to R W.

        W is the largest such unit, so that R is the smallest count; R is 0 for a gate that its angle
        only multiplies by a phase.
        """
        gaps = np.abs(self.eigenvalues[:, None] - self.eigenvalues[None, :]).ravel()
        gaps = gaps[gaps > 1e-9]
        if not gaps.size:
            return 1.0, 0
        for parts in range(1, LARGEST_COUNT + 1):  # the smallest gap is a whole number of units, too
            unit = gaps.min() / parts
            multiples = gaps / unit
            if multiples.max() > LARGEST_COUNT + 0.5:
                break
            if np.allclose(multiples, np.round(multiples), rtol=0, atol=1e-7):
                return float(unit), round(multiples.max())
        raise ValueError(
            f"gate {self.name!r}: got frequencies {sorted(set(gaps.round(6).tolist()))}; a shift rule is known for "
            f"whole multiples of one frequency only, {LARGEST_COUNT} at most. Use DirectionalShift, SPSA or Autograd, "
            "or decompose the gate into others"
        )

    @cached_property
    def unit(self) -> float:
        """W, or NaN if the differences have no unit in common, to rounding: then the gate has no period.

        A shift rule may be off by 1e-7 of a unit; after so many turns that is an angle of its own.
        """
        try:
            unit = self.spectrum[0]
        except ValueError:
            return math.nan
        multiples = (self.eigenvalues - self.eigenvalues[0]) / unit
        return unit if np.allclose(multiples, np.round(multiples), rtol=0, atol=1e-12) else math.nan

    @cached_property
    def rule(self) -> ShiftRule:
        """The shift rule for R equidistant frequencies W, 2W, ..., RW (Wierichs et al. 2022, eq. 20).

        f' = sum_mu (-1)**(mu-1) W / (4 R sin(x_mu / 2)**2) f(theta + x_mu / W), x_mu = (2 mu - 1) pi / 2R:
        two terms for a Pauli rotation, four for a controlled one.
        """
        unit, count = self.spectrum
        points = (2 * np.arange(1, 2 * count + 1) - 1) * np.pi / (2 * max(count, 1))
        signs = (-1.0) ** np.arange(2 * count)
        coefficients = signs * unit / (4 * max(count, 1) * np.sin(points / 2) ** 2)
        return ShiftRule(tuple((points / unit).tolist()), tuple(coefficients.tolist()))


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
        gate = self.gate if self.family is None else _with_angle(self.gate, self.slot, angle)
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
        own = [angles[op.occurrence] for op in self.ops if op.family is not None]
        if self.operation is None:
            return self.ops[0].with_angle(own[0] if own else None)
        return _with_angles(self.operation, dict(zip(self.slots, own))) if own else self.operation


def read(circuit: QuantumCircuit) -> list[Placed]:
    """The circuit's instructions in order, the ops that have an angle numbered."""
    found, count = [], 0
    for placed in _flatten(circuit, range(circuit.num_qubits)):
        ops = []
        for op in placed.ops:
            ops.append(op if op.family is None else replace(op, occurrence=count))
            count += op.family is not None
        found.append(replace(placed, ops=tuple(ops)))
    return found


# In what follows the first len(bits) of ``qubits`` are controls that hold ``bits``.


def _flatten(circuit: QuantumCircuit, places: Iterable[int], controls: tuple = (), bits: tuple = ()) -> list[Placed]:
    """The instructions of a circuit that lies on ``places``."""
    places, found = tuple(places), []
    for instruction in circuit.data:
        operation = _by_class(_as_instruction(instruction.operation))
        _check_numbers(operation)
        qubits = tuple(places[circuit.find_bit(q).index] for q in instruction.qubits)
        parts = _read(operation, controls + qubits, bits)
        found += parts if bits else _as_drawn(operation, qubits, parts)
    if bits:  # a phase that is global in the circuit is none beside the controls
        found += _read(GlobalPhaseGate(circuit.global_phase), controls, bits)
    return found


def _as_instruction(operation: Operation) -> Operation:
    """An operation that has parameters, if only none: a Clifford is spelled out."""
    if hasattr(operation, "params"):
        return operation
    if not hasattr(operation, "to_instruction"):
        raise ValueError(f"step: got operation {operation.name!r} ({type(operation).__name__}); allowed are gates")
    return operation.to_instruction()


def _by_class(gate: Operation) -> Operation:
    """The gate, under a name of its own if it only bears that of another: passes and simulators go by the name."""
    made = type(gate) in (*SUB_CIRCUITS, ControlledGate) or not _home(gate).startswith("qiskit")
    return gate.copy(name=f"own {gate.name}") if made and gate.name in TAKEN_NAMES else gate


def _as_drawn(gate: Operation, qubits: tuple[int, ...], parts: list[Placed]) -> list[Placed]:
    """The gate itself in place of its parts, if it has one parameter for each angle of theirs."""
    base, slots = gate, _slots(gate)
    while isinstance(base, AnnotatedOperation) or (isinstance(base, ControlledGate) and not _is_standard(base)):
        base = base.base_op if isinstance(base, AnnotatedOperation) else base.base_gate
    if not parts:
        return parts
    if not slots:
        return [Placed(tuple(op for part in parts for op in part.ops), qubits, gate)]
    plain = len(slots) == 1 and not isinstance(gate, AnnotatedOperation)
    if plain or not _is_standard(base) or (isinstance(base, UGate) and len(base.params) > 3):  # controlled CU
        return parts
    # Which angle is which: ask the same gate with parameters that tell.
    marks = {Parameter(f"parameter {slot}"): slot for slot in slots}
    marked = _with_angles(gate, {slot: mark for mark, slot in marks.items()})
    ops = [op for part in _read(marked, qubits) for op in part.ops]
    order = [marks.get(op.expression) for op in ops if op.family is not None]
    if len(order) != len(slots) or set(order) != set(slots):
        return parts
    ops = [op if op.family is None else replace(op, expression=gate.params[marks[op.expression]]) for op in ops]
    return [Placed(tuple(ops), qubits, gate, tuple(order))]


def _check_numbers(gate: Operation) -> None:
    for number in gate.params:
        if isinstance(number, numbers.Number) and not np.isfinite(number):
            raise ValueError(f"step: got gate {gate.name!r} with the angle {number}; allowed are finite ones")


def _read(gate: Operation, qubits: tuple[int, ...], bits: tuple[int, ...] = ()) -> list[Placed]:
    """One gate, opened as far as its ops are not known."""
    if isinstance(gate, Delay) and (_slots(gate) or not isinstance(gate.duration, numbers.Real | ParameterExpression)):
        raise ValueError(f"step: got a delay of duration {shown(gate.duration)}; allowed are numbers")
    if isinstance(gate, Barrier | Delay):
        return [] if bits else [Placed((), qubits, gate)]
    if isinstance(gate, GlobalPhaseGate) and (not bits or gate.params == [0]):
        return []
    if isinstance(gate, AnnotatedOperation):
        gate, own = _spell_out(gate)
        bits += own
    if isinstance(gate, UGate) and _slots(gate):  # U(theta, phi, lam) = P(phi) RY(theta) P(lam), exactly
        theta, phi, lam = gate.params
        parts = PhaseGate(lam), RYGate(theta), PhaseGate(phi)
        return [placed for part in parts for placed in _read(part, qubits, bits)]
    op = None
    if not isinstance(gate, ControlledGate) or (len(qubits) <= 2 and not bits):
        op = _as_one(gate, qubits, bits)
    if op is None and isinstance(gate, ControlledGate):
        return _read_controlled(gate, qubits, bits)
    return _open(gate, qubits, bits) if op is None else [Placed((op,), qubits)]


def _read_controlled(gate: ControlledGate, qubits: tuple[int, ...], bits: tuple[int, ...]) -> list[Placed]:
    """What a controlled gate does to its targets, under its controls."""
    base, outer = gate.base_gate, bits
    bits += _bits(gate.num_ctrl_qubits, gate.ctrl_state)
    if base.num_qubits + gate.num_ctrl_qubits != gate.num_qubits:  # with ancillas
        return _open(gate, qubits, outer)
    if isinstance(base, UGate) and len(gate.params) == 4:  # CU: its fourth angle is a phase of its own
        theta, phi, lam, gamma = gate.params
        phase = _read(GlobalPhaseGate(gamma), qubits[: len(bits)], bits)
        return [*_read(UGate(theta, phi, lam), qubits, bits), *phase]
    if _is_standard(base):
        fresh = base.base_class(*base.params)  # Qiskit leaves the base's definition behind when it binds values
        return _read(fresh, qubits, bits)
    if type(base) in SUB_CIRCUITS:  # bound values reach its parameters, but not its definition either
        definition = _definition(base)
        up_to_date = definition is not None and list(base.params) == list(definition.parameters)
        return _open(base, qubits, bits) if up_to_date else _open(gate, qubits, outer)
    op = _as_one(base, qubits, bits)
    return _open(gate, qubits, outer) if op is None else [Placed((op,), qubits)]


def _as_one(gate: Operation, qubits: tuple[int, ...], bits: tuple[int, ...]) -> Op | None:
    """The gate as one op, or None if it has to be opened."""
    if type(gate) in SUB_CIRCUITS:
        return None
    if gate.num_qubits > WIDEST and not isinstance(gate, UnitaryGate) and _definition(gate) is not None:
        return None
    slots = _slots(gate)
    if not slots and _is_unitary(gate):
        return Op(gate, qubits, bits, matrix=_matrix(gate))
    family = _family(gate, slots[0]) if len(slots) == 1 else None
    if family is None:
        return None
    family = family.controlled if bits else family
    return Op(gate, qubits, bits, family=family, expression=gate.params[slots[0]], slot=slots[0])


def _open(gate: Operation, qubits: tuple[int, ...], bits: tuple[int, ...]) -> list[Placed]:
    """The instructions of a gate's definition."""
    definition = _definition(gate)
    if definition is None or definition.num_clbits or isinstance(gate, Initialize | ControlFlowOp):
        raise ValueError(
            f"step: got gate {gate.name!r} ({type(gate).__name__}); allowed are unitary gates with a matrix, "
            "a one-angle family or a definition (measurement and reset are added by the network itself)"
        )
    return _flatten(definition, qubits[len(bits) :], qubits[: len(bits)], bits)


def _spell_out(gate: AnnotatedOperation) -> tuple[Operation, tuple[int, ...]]:
    """An annotated gate without its annotations where Qiskit can write it so, and the bits of its controls."""
    base, modifiers, bits = gate.base_op, list(gate.modifiers), ()
    while isinstance(base, AnnotatedOperation):
        base, modifiers = base.base_op, [*base.modifiers, *modifiers]
    while modifiers and isinstance(modifiers[-1], ControlModifier):  # the last controls are the first qubits
        last = modifiers.pop()
        bits += _bits(last.num_ctrl_qubits, last.ctrl_state)
    try:
        plain = base
        for modifier in modifiers:
            plain = _modified(plain, modifier)
        return plain, bits
    except (QiskitError, TypeError):
        return AnnotatedOperation(base, modifiers), bits


def _modified(gate: Operation, modifier: object) -> Operation:
    """A gate controlled, inverted or raised to a power."""
    if isinstance(modifier, ControlModifier):
        return gate.control(modifier.num_ctrl_qubits, ctrl_state=modifier.ctrl_state, annotated=False)
    if isinstance(modifier, InverseModifier):
        return gate.inverse()
    power = modifier.power
    if power < 0:
        gate, power = gate.inverse(), -power
    if power >= 1 and float(power).is_integer() and not _is_standard(gate):
        return gate.repeat(int(power))
    return gate.power(power)


def _bits(count: int, state: int) -> tuple[int, ...]:
    return tuple((state >> k) & 1 for k in range(count))


def _slots(gate: Operation) -> list[int]:
    """Which of the gate's parameters hold a free Parameter."""
    return [i for i, p in enumerate(gate.params) if isinstance(p, ParameterExpression) and p.parameters]


def _definition(gate: Operation) -> QuantumCircuit | None:
    if isinstance(gate, PermutationGate):  # Qiskit leaves it to its transpiler
        return synth_permutation_basic(gate.pattern)
    try:
        return getattr(gate, "definition", None)
    except (QiskitError, TypeError):
        return None


def _is_standard(gate: Operation) -> bool:
    return _home(gate).startswith("qiskit.circuit.library.standard_gates")


def _home(gate: Operation) -> str:
    """The module that the gate's class is from."""
    return getattr(gate, "base_class", type(gate)).__module__  # gates without parameters are singletons of a class


def _is_unitary(gate: Operation) -> bool:
    if not isinstance(gate, Gate | AnnotatedOperation):
        return False
    try:
        return Operator(gate).is_unitary()
    except (QiskitError, TypeError):
        return False


def _matrix(gate: Operation) -> np.ndarray:
    """The gate's matrix; of a PauliEvolutionGate the product formula, which is what a device runs."""
    return Operator(gate.definition if isinstance(gate, PauliEvolutionGate) else gate).data


FAMILIES_KEPT = 4096
"""Families of standard gates that are kept for later circuits."""

_FAMILIES: dict = {}


def _family(gate: Operation, slot: int) -> Family | None:
    """The family of a gate in its one free angle, or None if its matrix is no such family."""
    key = _key(gate, slot) if _is_standard(gate) else None
    if key is not None and key in _FAMILIES:
        return _FAMILIES[key]
    # Eigenvalues are read modulo 2 pi / unit: a small unit finds large ones, a large unit is more precise.
    found = (_diagonalise(gate, slot, unit) for unit in (0.5, 0.03))
    family = next((family for family in found if family is not None), None)
    if key is not None:
        if len(_FAMILIES) >= FAMILIES_KEPT:  # other angles bound to ever new values
            _FAMILIES.clear()
        _FAMILIES[key] = family
    return family


def _key(gate: Operation, slot: int) -> tuple | None:
    """All that a standard gate's family depends on, its other angles by value; None if one of them has none."""
    try:  # `complex` knows expressions whose Parameters are all bound
        fixed = tuple(complex(p) for i, p in enumerate(gate.params) if i != slot)
    except (TypeError, ValueError):
        return None
    return type(gate), gate.name, gate.num_qubits, getattr(gate, "ctrl_state", None), slot, fixed


def _diagonalise(gate: Operation, slot: int, unit: float) -> Family | None:
    """Read U(theta) = sum_k exp(-i lambda_k theta) P_k off the gate's matrix; checked at other angles."""
    try:
        start = _matrix(_with_angle(gate, slot, 0.0))
        move = _matrix(_with_angle(gate, slot, unit)) @ start.conj().T
    except (QiskitError, TypeError):
        return None
    triangle, vectors = schur(move, output="complex")
    exact = -np.angle(np.diag(triangle)) / unit
    eigenvalues = np.round(exact, 10) + 0.0  # equal ones fall together; neat ones lose their last bit
    distinct = np.unique(eigenvalues)
    terms = np.stack([vectors[:, eigenvalues == e] @ vectors[:, eigenvalues == e].conj().T @ start for e in distinct])
    means = np.array([exact[eigenvalues == e].mean() for e in distinct])
    distinct = np.where(np.abs(means - distinct) < 1e-13, distinct, means)
    family = Family(gate.name, distinct, terms)
    for angle in (-2.1234, 0.9173, 4.3919):  # no round multiples of the unit, where other eigenvalues look alike
        guess = np.tensordot(np.exp(-1j * distinct * angle), terms, 1)
        if not np.allclose(guess, _matrix(_with_angle(gate, slot, angle)), atol=1e-9):
            return None
    return family


def _with_angle(gate: Operation, slot: int, angle: float | Parameter) -> Operation:
    return _with_angles(gate, {slot: angle})


def _with_angles(gate: Operation, angles: dict[int, float | Parameter]) -> Operation:
    """A copy of the gate with these parameters (slot: angle) in place of its own."""
    if isinstance(gate, AnnotatedOperation):
        return AnnotatedOperation(_with_angles(gate.base_op, angles), gate.modifiers)
    if type(gate) is ControlledGate:
        base = _with_angles(gate.base_gate, angles)
        return base.control(gate.num_ctrl_qubits, gate.label, gate.ctrl_state, annotated=False)
    fresh = gate.to_mutable()
    fresh.params = [angles.get(i, p) for i, p in enumerate(gate.params)]
    if _is_standard(gate):
        fresh.definition = None  # one that was made before holds the old parameters
    return fresh
