"""From a Qiskit step circuit to batched tensors.

With the readout reset at every step, a step is a linear map on the memory alone: its Kraus
operators K_r are the blocks of the step's isometry (2**n x 2**memory), one for each outcome r.
This module compiles a step circuit once and then builds the isometries of any number of samples
and time steps in one batch.  Every gate that depends on a Parameter is an *occurrence* with one angle
of its own: `gates` reads it, `angles` computes its angle from those of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from .angles import AngleMap
from .circuits import check_step
from .gates import Op, ShiftRule, read
from .limits import check_bytes

__all__ = ["ShiftRule", "StepProgram"]


@dataclass(eq=False)
class Block:
    """Neighbouring ops (or smaller blocks) on the same few qubits, applied as one matrix."""

    qubits: tuple[int, ...]
    parts: list = field(default_factory=list)
    bits: tuple[int, ...] = ()


class StepProgram:
    """A step circuit, compiled: P angles -> G gate angles -> isometries.

    Attributes: ``memory``, ``readout`` (numbers of qubits), ``parameters`` (the P free Parameters in
    Qiskit's order), ``angle_map`` (angles to gate angles; its linear part is ``weights`` (G, P) and ``offsets``
    (G,)), ``rules`` (one `ShiftRule` for each occurrence, made when asked for), ``expanded`` (the step
    circuit with an independent Parameter for each occurrence: what a sampler runs).
    """

    def __init__(self, step: QuantumCircuit):
        memory, readout = check_step(step)
        self.step = step
        self.memory, self.readout = len(memory), len(readout)
        check_bytes("step", 16 * self.size, f"one isometry on {self.memory} + {self.readout} qubits")
        self.parameters = tuple(step.parameters)
        # Axis of a qubit in the state tensor: readout first, each register's highest bit first.
        order = readout[::-1] + memory[::-1]
        self._axis = {place: axis for axis, place in enumerate(order)}
        self.ops = read(step)
        self.occurrences = tuple(op for op in self.ops if op.family is not None)
        self.angle_map = AngleMap([op.expression for op in self.occurrences], self.parameters)
        self.weights, self.offsets = self.angle_map.weights, self.angle_map.offsets
        self._blocks = _fuse(_fuse(self.ops, 1), 2)
        self._constants: dict = {}

    @property
    def size(self) -> int:
        """Numbers in one isometry."""
        return 2 ** (self.readout + 2 * self.memory)

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
            circuit.append(op.with_angle(None if op.family is None else angles[op.occurrence]), op.qubits)
        return circuit

    def gate_angles(self, angles: torch.Tensor) -> torch.Tensor:
        """Angles (..., P) -> the angle of every occurrence (..., G)."""
        return self.angle_map(angles)

    def pull_back(self, angles: torch.Tensor, gate_gradient: torch.Tensor) -> torch.Tensor:
        """Slopes along the gate angles (batch, time, G) -> slopes along the angles (batch, time, P).

        The chain rule, J^T g with J = d gate_angles / d angles, taken at ``angles`` (batch, time, P).
        """
        return self.angle_map.pull_back(angles, gate_gradient)

    def isometries(self, gate_angles: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Gate angles (N, G) -> Kraus operators (N, 2**readout, 2**memory, 2**memory): [r, out, in].

        The tensor grows as blocks reach new qubits: until then a memory qubit is an identity and a readout
        qubit |0>, and need not be multiplied.
        """
        matrices = self._matrices(gate_angles, dtype)
        state = torch.ones(1, 1, dtype=dtype, device=gate_angles.device)
        labels: list[tuple[str, int]] = []  # of the axes of two behind the first
        for block in self._blocks:
            state, labels = self._grow(block, state.reshape(len(state), *[2] * len(labels)), labels, matrices)
        order = sorted(self._axis, key=self._axis.get)
        memory = order[self.readout :]
        labels, state = self._opened(order, state.reshape(len(state), *[2] * len(labels)), labels)
        wanted = [("out", q) for q in memory + order[: self.readout]] + [("in", q) for q in memory]
        state = state.permute(0, *[1 + labels.index(label) for label in wanted])
        state = state.expand(gate_angles.shape[0], *state.shape[1:])
        # Stored as [out, r, in]: products with a memory matrix on either side then need no copies.
        return state.reshape(-1, 2**self.memory, 2**self.readout, 2**self.memory).transpose(1, 2)

    def _grow(self, block: Op | Block, state: torch.Tensor, labels: list, matrices: dict) -> tuple:
        """Apply a block to a tensor whose axes are labelled: (tensor, labels), its outputs first."""
        if block.bits:
            labels, state = self._opened(block.qubits, state, labels)
            return self._act(block, lambda q: labels.index(("out", q)), state, matrices), labels
        qubits = block.qubits[::-1]  # a matrix has its highest bit first
        matrix = self._part_matrix(block, matrices, state.dtype, state.device)
        matrix = matrix.reshape(len(matrix), *[2] * 2 * len(qubits))
        old = [q for q in qubits if ("out", q) in labels]
        new = [q for q in qubits if q not in old and self._is_memory(q)]
        axes = {q: 1 + len(qubits) + i for i, q in enumerate(qubits)}
        inner = [axes[q] for q in new] + [axes[q] for q in old]
        for q in qubits:  # fresh readout: the input is |0>
            if q not in old and q not in new:
                matrix = matrix.narrow(axes[q], 0, 1)
        rest = [axis for axis in axes.values() if axis not in inner]
        matrix = matrix.permute(0, *range(1, 1 + len(qubits)), *inner, *rest)
        matrix = matrix.reshape(len(matrix), 2 ** (len(qubits) + len(new)), 2 ** len(old))
        others = sorted((label for label in labels if label not in [("out", q) for q in old]), key=self._place)
        moved = state.permute(0, *[1 + labels.index(label) for label in [("out", q) for q in old] + others])
        state = matrix @ moved.reshape(len(state), 2 ** len(old), -1)
        return state, [("out", q) for q in qubits] + [("in", q) for q in new] + others

    def _opened(self, qubits: Iterable[int], state: torch.Tensor, labels: list) -> tuple[list, torch.Tensor]:
        """Labels and a tensor of which these qubits are axes: those that no block has touched are added."""
        labels = list(labels)
        for q in qubits:
            if ("out", q) not in labels:
                fresh = torch.eye(2, 2 if self._is_memory(q) else 1, dtype=state.dtype, device=state.device)
                state = torch.tensordot(state, fresh if self._is_memory(q) else fresh[:, 0], dims=0)
                labels += [("out", q)] + [("in", q)] * self._is_memory(q)
        return labels, state

    def _place(self, label: tuple[str, int]) -> tuple[bool, int]:
        """Outputs first, then inputs in their final order: rows that are copied whole."""
        return label[0] == "in", self._axis[label[1]]

    def _is_memory(self, qubit: int) -> bool:
        return self._axis[qubit] >= self.readout

    def bytes(self, rows: int, dtype: torch.dtype, graph: bool = False) -> int:
        """Bytes that the isometries of ``rows`` steps take at their peak, or with ``graph`` what torch keeps of
        them and of the evolution for the backward pass: 1 to 1.4 times what was measured."""
        states = sum(self._sizes) + 3 * self.size if graph else 3 * self.size
        matrices = sum(map(_numbers, self._blocks if graph else self.occurrences))
        return rows * dtype.itemsize * (states + matrices)

    @cached_property
    def _sizes(self) -> list[int]:
        """Numbers in the growing tensor before each block."""
        touched, sizes = set(), []
        for block in self._blocks:
            sizes.append(2 ** (len(touched) + sum(map(self._is_memory, touched))))
            touched |= set(block.qubits)
        return sizes

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

    def _act(self, part: Op | Block, axis: Callable, state: torch.Tensor, matrices: dict) -> torch.Tensor:
        """Apply an op or a block to states (N or 1, 2, ..., 2, columns); ``axis`` says where a qubit stands."""
        matrix = self._part_matrix(part, matrices, state.dtype, state.device)
        return _apply(matrix, [axis(q) for q in part.qubits], state, part.bits)

    def _part_matrix(self, part: Op | Block, matrices: dict, dtype: torch.dtype, device) -> torch.Tensor:
        """The matrix of an op (on its targets) or a block, (N, d, d), or (1, d, d) if constant."""
        if isinstance(part, Op):
            return self._constant(part, dtype, device) if part.family is None else matrices[part.occurrence]
        count = len(part.qubits)
        state = torch.eye(2**count, dtype=dtype, device=device).reshape(1, *[2] * count, 2**count)
        for inner in part.parts:
            state = self._act(inner, lambda q: count - 1 - part.qubits.index(q), state, matrices)
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
            self._constants[key] = (*self.angle_map.tensors(real, device), stacks)
        return self._constants[key]


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


def _numbers(part: Op | Block) -> int:
    """Numbers in the matrices, for each row, that lead to the matrix of an op or a block."""
    if isinstance(part, Op):
        return 0 if part.family is None else part.family.terms[0].size + 3 * len(part.family.eigenvalues)
    return sum(map(_numbers, part.parts)) + (len(part.parts) + 1) * 4 ** len(part.qubits)


def _apply(matrix: torch.Tensor, axes: list[int], state: torch.Tensor, bits: tuple[int, ...] = ()) -> torch.Tensor:
    """Apply matrices (N or 1, d, d), little-endian in ``axes``, to states (N or 1, 2, ..., 2, columns).

    The first ``len(bits)`` axes control it: only the part of the state where they hold ``bits`` is touched.
    """
    if bits:
        held = [slice(None)] * state.dim()
        for axis, bit in zip(axes, bits):
            held[1 + axis] = slice(bit, bit + 1)
        part = _apply(matrix, axes[len(bits) :], state[tuple(held)])
        whole = state.expand(part.shape[0], *state.shape[1:]).clone()
        whole[tuple(held)] = part
        return whole
    front = [1 + axis for axis in reversed(axes)]
    rest = [d for d in range(1, state.dim()) if d not in front]
    order = [0, *front, *rest]
    moved = state.permute(order)
    flat = matrix @ moved.reshape(moved.shape[0], matrix.shape[-1], -1)
    back = [order.index(d) for d in range(state.dim())]
    return flat.reshape(flat.shape[0], *moved.shape[1:]).permute(back)
