"""From a Qiskit step circuit to batched tensors.

With the readout reset at every step, a step is a linear map on the memory alone: its Kraus
operators K_r are the blocks of the step's isometry (2**n x 2**memory), one for each outcome r.
This module compiles a step circuit once and then builds the isometries of any number of samples
and time steps in one batch.

Every gate that depends on a Parameter is an *occurrence* with one angle of its own,
U(theta) = sum_k exp(-i lambda_k theta) P_k.  The eigenvalues lambda_k and the matrices P_k are read
off the gate's own matrix, so that any gate that Qiskit can evaluate is known here, with its
parameter-shift rule; a gate that is no such family is replaced by its definition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import AnnotatedOperation, Gate, Operation, Parameter, ParameterExpression, ParameterVector
from qiskit.circuit.library import PhaseGate, RYGate, UGate
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator
from scipy.linalg import schur

from .circuits import check_step

__all__ = ["StepProgram", "ShiftRule"]

_NOT_GATES = ("barrier", "delay", "global_phase")

LARGEST_COUNT = 64
"""Frequencies that a shift rule may have: it runs two circuits for each."""


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
            f"whole multiples of one frequency only, {LARGEST_COUNT} at most. Use SPSA or Autograd, or give the "
            "gate a definition"
        )

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
    """One gate: a constant ``matrix``, or occurrence number ``occurrence`` of ``family``."""

    gate: Operation
    qubits: tuple[int, ...]
    matrix: np.ndarray | None = None
    family: Family | None = None
    expression: ParameterExpression | None = None
    slot: int = 0
    occurrence: int = -1


@dataclass(eq=False)
class Block:
    """Neighbouring ops (or smaller blocks) on the same few qubits, applied as one matrix."""

    qubits: tuple[int, ...]
    parts: list = field(default_factory=list)


class StepProgram:
    """A step circuit, compiled: P angles -> G gate angles -> isometries.

    Attributes: ``memory``, ``readout`` (numbers of qubits), ``parameters`` (the P free Parameters in
    Qiskit's order), ``weights`` (G, P) and ``offsets`` (G,) of the linear map from angles to gate
    angles, ``rules`` (one `ShiftRule` for each occurrence, made when asked for), ``expanded`` (the step
    circuit with an independent Parameter for each occurrence: what a sampler runs).
    """

    def __init__(self, step: QuantumCircuit):
        memory, readout = check_step(step)
        self.step = step
        self.memory, self.readout = len(memory), len(readout)
        self.parameters = tuple(step.parameters)
        # Axis of a qubit in the state tensor: readout first, each register's highest bit first.
        order = readout[::-1] + memory[::-1]
        self._axis = {place: axis for axis, place in enumerate(order)}
        self.ops = _number(_flatten(step, range(step.num_qubits)))
        self.occurrences = tuple(op for op in self.ops if op.family is not None)
        self.weights, self.offsets = _linear_map(self.occurrences, self.parameters)
        self._blocks = _fuse(_fuse(self.ops, 1), 2)
        self._constants: dict = {}

    @cached_property
    def rules(self) -> tuple[ShiftRule, ...]:
        return tuple(op.family.rule for op in self.occurrences)

    @cached_property
    def shift_terms(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All terms of all rules in a row: occurrence, shift and coefficient, (K,) each."""
        terms = [(g, s, c) for g, rule in enumerate(self.rules) for s, c in zip(rule.shifts, rule.coefficients)]
        gates, shifts, coefficients = zip(*terms) if terms else ((), (), ())
        real = {"dtype": torch.float64}
        return torch.tensor(gates, dtype=torch.int64), torch.tensor(shifts, **real), torch.tensor(coefficients, **real)

    @property
    def shift_circuits(self) -> int:
        """Circuits that the shift rule runs for one time step of one sample."""
        return len(self.shift_terms[0])

    @cached_property
    def expanded(self) -> QuantumCircuit:
        circuit = QuantumCircuit(self.step.qubits, *self.step.qregs)
        angles = ParameterVector("gate_angle", len(self.occurrences))
        for op in self.ops:
            gate = op.gate if op.family is None else _with_angle(op.gate, op.slot, angles[op.occurrence])
            circuit.append(gate, op.qubits)
        return circuit

    def gate_angles(self, angles: torch.Tensor) -> torch.Tensor:
        """Angles (..., P) -> the angle of every occurrence (..., G)."""
        weights, offsets = self.tensors(angles.dtype, angles.device)[:2]
        return angles @ weights.T + offsets

    def pull_back(self, angles: torch.Tensor, gate_gradient: torch.Tensor) -> torch.Tensor:
        """Slopes along the gate angles (batch, time, G) -> slopes along the angles (batch, time, P).

        The chain rule, J^T g with J = d gate_angles / d angles, taken at ``angles`` (batch, time, P).
        """
        return gate_gradient @ self.tensors(angles.dtype, angles.device)[0]

    def isometries(self, gate_angles: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Gate angles (N, G) -> Kraus operators (N, 2**readout, 2**memory, 2**memory): [r, out, in]."""
        size, columns = 2 ** (self.memory + self.readout), 2**self.memory
        matrices = self._matrices(gate_angles, dtype)
        state = torch.eye(size, columns, dtype=dtype, device=gate_angles.device)
        state = state.reshape(1, *[2] * (self.memory + self.readout), columns)
        for block in self._blocks:
            axes = [self._axis[q] for q in block.qubits]
            state = _apply(self._block_matrix(block, matrices, dtype, gate_angles.device), axes, state)
        state = state.expand(gate_angles.shape[0], *state.shape[1:])
        return state.reshape(-1, 2**self.readout, columns, columns)

    def _matrices(self, gate_angles: torch.Tensor, dtype: torch.dtype) -> dict[int, torch.Tensor]:
        """The matrices (N, d, d) of all occurrences, family by family."""
        matrices = {}
        for places, eigenvalues, terms in self.tensors(dtype, gate_angles.device)[2]:
            phases = gate_angles[:, places, None].to(eigenvalues.dtype) * eigenvalues
            waves = torch.complex(torch.cos(phases), -torch.sin(phases))
            dimension = terms.shape[-1]
            stack = (waves @ terms.flatten(1)).unflatten(-1, (dimension, dimension))
            matrices.update(zip(places, stack.unbind(1)))
        return matrices

    def _block_matrix(self, block: Block, matrices: dict, dtype: torch.dtype, device) -> torch.Tensor:
        """The matrix of a block, little-endian in ``block.qubits``; (N, d, d), or (1, d, d) if constant."""
        if isinstance(block, Op):
            if block.family is not None:
                return matrices[block.occurrence]
            return self._constant(block, dtype, device)
        if len(block.parts) == 1 and block.parts[0].qubits == block.qubits:
            return self._block_matrix(block.parts[0], matrices, dtype, device)
        count = len(block.qubits)
        state = torch.eye(2**count, dtype=dtype, device=device).reshape(1, *[2] * count, 2**count)
        for part in block.parts:
            axes = [count - 1 - block.qubits.index(q) for q in part.qubits]
            state = _apply(self._block_matrix(part, matrices, dtype, device), axes, state)
        return state.reshape(-1, 2**count, 2**count)

    def _constant(self, op: Op, dtype: torch.dtype, device) -> torch.Tensor:
        key = (op, dtype, device)
        if key not in self._constants:
            self._constants[key] = torch.tensor(op.matrix, dtype=dtype, device=device)[None]
        return self._constants[key]

    def tensors(self, dtype: torch.dtype, device) -> tuple:
        """Weights and offsets, and for each family (occurrences, eigenvalues, terms), as tensors."""
        key = (dtype, device)
        if key not in self._constants:
            real = torch.empty((), dtype=dtype).real.dtype if dtype.is_complex else dtype
            families: dict = {}
            for op in self.occurrences:
                families.setdefault(op.family, []).append(op.occurrence)
            stacks = [
                (
                    places,
                    torch.tensor(family.eigenvalues, dtype=real, device=device),
                    torch.tensor(family.terms, dtype=dtype, device=device) if dtype.is_complex else None,
                )
                for family, places in families.items()
            ]
            linear = [torch.tensor(array, dtype=real, device=device) for array in (self.weights, self.offsets)]
            self._constants[key] = (*linear, stacks)
        return self._constants[key]


# ---------------------------------------------------------------- reading a circuit


def _flatten(circuit: QuantumCircuit, places: Iterable[int]) -> list[Op]:
    """The circuit's gates as constants and one-angle families, definitions opened where needed."""
    places, ops = list(places), []
    for instruction in circuit.data:
        qubits = tuple(places[circuit.find_bit(q).index] for q in instruction.qubits)
        ops += _read(instruction.operation, qubits)
    return ops


def _read(gate: Operation, qubits: tuple[int, ...]) -> list[Op]:
    if gate.name in _NOT_GATES:
        return []
    slots = [i for i, p in enumerate(gate.params) if isinstance(p, ParameterExpression) and p.parameters]
    if isinstance(gate, UGate) and slots:  # U(theta, phi, lam) = P(phi) RY(theta) P(lam), exactly
        theta, phi, lam = gate.params
        return [op for part in (PhaseGate(lam), RYGate(theta), PhaseGate(phi)) for op in _read(part, qubits)]
    if not slots and _is_unitary(gate):
        return [Op(gate, qubits, matrix=Operator(gate).data)]
    family = _family(gate, slots[0]) if len(slots) == 1 else None
    if family is not None:
        return [Op(gate, qubits, family=family, expression=gate.params[slots[0]], slot=slots[0])]
    if isinstance(gate, Gate) and gate.definition is not None:
        return _flatten(gate.definition, qubits)
    raise ValueError(
        f"step: got gate {gate.name!r} ({type(gate).__name__}); allowed are unitary gates with a matrix, "
        "a one-angle family or a definition (measurement and reset are added by the network itself)"
    )


def _is_unitary(gate: Operation) -> bool:
    if not isinstance(gate, Gate) and gate.name not in ("unitary", "annotated"):
        return False
    try:
        return Operator(gate).is_unitary()
    except (QiskitError, TypeError):
        return False


_FAMILIES: dict = {}


def _family(gate: Operation, slot: int) -> Family | None:
    """The family of a gate in its one free angle, or None if its matrix is no such family."""
    fixed = tuple(complex(p) for i, p in enumerate(gate.params) if i != slot and np.isscalar(p))
    key = (type(gate), gate.name, gate.num_qubits, getattr(gate, "ctrl_state", None), slot, fixed)
    standard = type(gate).__module__.startswith("qiskit.circuit.library.standard_gates")
    if standard and key in _FAMILIES:
        return _FAMILIES[key]
    family = _diagonalise(gate, slot)
    if standard:
        _FAMILIES[key] = family
    return family


def _diagonalise(gate: Operation, slot: int, unit: float = 0.5) -> Family | None:
    """Read U(theta) = sum_k exp(-i lambda_k theta) P_k off the gate's matrix; checked at other angles."""
    try:
        start = Operator(_with_angle(gate, slot, 0.0)).data
        move = Operator(_with_angle(gate, slot, unit)).data @ start.conj().T
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
    for angle in (-2.1, 0.9, 4.4):
        guess = np.tensordot(np.exp(-1j * distinct * angle), terms, 1)
        if not np.allclose(guess, Operator(_with_angle(gate, slot, angle)).data, atol=1e-9):
            return None
    return family


def _with_angle(gate: Operation, slot: int, angle: float | Parameter) -> Operation:
    fresh = gate.copy() if isinstance(gate, AnnotatedOperation) else gate.to_mutable()
    fresh.params = [angle if i == slot else p for i, p in enumerate(gate.params)]
    return fresh


def _number(ops: list[Op]) -> list[Op]:
    """Give the parameterised ops their occurrence numbers, in circuit order."""
    numbered, count = [], 0
    for op in ops:
        if op.family is not None:
            op = Op(op.gate, op.qubits, None, op.family, op.expression, op.slot, count)
            count += 1
        numbered.append(op)
    return numbered


def _linear_map(occurrences: tuple[Op, ...], parameters: tuple[Parameter, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of gate angles = weights @ angles + offsets; an error for any other expression."""
    weights = np.zeros((len(occurrences), len(parameters)))
    offsets = np.zeros(len(occurrences))
    column = {parameter: k for k, parameter in enumerate(parameters)}
    for row, op in enumerate(occurrences):
        slopes = {p: op.expression.gradient(p) for p in op.expression.parameters}
        if not all(map(_is_real_constant, slopes.values())):
            raise ValueError(
                f"step: got angle '{op.expression}' in gate {op.gate.name!r}; "
                "allowed are linear expressions of Parameters"
            )
        for parameter, slope in slopes.items():
            weights[row, column[parameter]] = float(slope)
        offsets[row] = float(op.expression.bind({p: 0.0 for p in op.expression.parameters}))
    return weights, offsets


def _is_real_constant(slope: float | complex | ParameterExpression) -> bool:
    if isinstance(slope, ParameterExpression):
        return not slope.parameters
    return not isinstance(slope, complex)


# ---------------------------------------------------------------- fusing and applying


def _fuse(parts: list, width: int) -> list:
    """Merge neighbours into blocks of at most ``width`` qubits; the product of all stays the same."""
    blocks: list[Block] = []
    for part in parts:
        last = {q: i for i, block in enumerate(blocks) for q in block.qubits}
        touching = sorted({last[q] for q in part.qubits if q in last})
        # A block that is the last on all its qubits may move to the end and merge there.
        union, merged = set(part.qubits), []
        for i in sorted(touching, key=lambda i: len(blocks[i].qubits)):
            free = all(last[q] == i for q in blocks[i].qubits)
            if free and len(union | set(blocks[i].qubits)) <= width:
                union |= set(blocks[i].qubits)
                merged.append(i)
        if not merged and touching and len(union | set(blocks[touching[-1]].qubits)) <= width:
            block = blocks[touching[-1]]
            block.qubits = tuple(sorted(union | set(block.qubits)))
            block.parts.append(part)
            continue
        inner = [p for i in sorted(merged) for p in blocks[i].parts]
        blocks = [block for i, block in enumerate(blocks) if i not in merged]
        wide = len(part.qubits) > width  # too wide to merge: keep the op's own order of qubits
        blocks.append(Block(part.qubits if wide else tuple(sorted(union)), [*inner, part]))
    return [block.parts[0] if len(block.parts) == 1 else block for block in blocks]


def _apply(matrix: torch.Tensor, axes: list[int], state: torch.Tensor) -> torch.Tensor:
    """Apply matrices (N or 1, d, d), little-endian in ``axes``, to states (N or 1, 2, ..., 2, columns)."""
    front = [1 + axis for axis in reversed(axes)]
    rest = [d for d in range(1, state.dim()) if d not in front]
    order = [0, *front, *rest]
    moved = state.permute(order)
    flat = matrix @ moved.reshape(moved.shape[0], matrix.shape[-1], -1)
    back = [order.index(d) for d in range(state.dim())]
    return flat.reshape(flat.shape[0], *moved.shape[1:]).permute(back)
