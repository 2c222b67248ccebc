"""A whole circuit with noise, exactly: every gate, measurement and reset in the order in which they are run.

The state is a real vector over the qubits that are in use (`transfer`), with one more axis of two for every bit that
was measured but not read yet.  A qubit joins when its first gate comes and leaves when it is reset.  The matrices of
all blocks that look alike are made together, for all samples and steps; the state then meets them one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ..torch_modes import constant
from .transfer import Block, Element, Event, Measure, Read, Reset, pauli_matrices

__all__ = ["GROUND", "AngleTable", "NoisyCircuit", "NoisyPicture", "Running", "matrix_of", "vector_of"]


PORTION = 2**26
"""Bytes of matrices that are made together where no gradient keeps them all."""

GROUND = np.array([1.0, 0.0, 0.0, 1.0])
"""|0><0| in the Pauli basis."""

Label = tuple[str, int, int]  # ("qubit", q, 0) or ("bit", step, bit)
Kind = tuple[int, int]  # size of an element's matrix, and how many waves it has
Shape = tuple[tuple[tuple[int, ...], Kind], ...]  # of a block: where its elements act, and of which kind they are


@dataclass(frozen=True, eq=False)
class AngleTable:
    """The angles of elements, (K,): offsets + sum_j slopes[:, j] * gate_angles[columns[:, j]]."""

    offsets: np.ndarray
    slopes: np.ndarray
    columns: np.ndarray

    def __call__(self, gate_angles: Tensor) -> Tensor:
        """Gate angles (N, time, G) -> (N, K) in double precision."""
        flat = gate_angles.flatten(1).double()
        offsets, slopes = (constant(part, torch.float64, flat.device) for part in (self.offsets, self.slopes))
        columns = constant(self.columns, torch.int64, flat.device)
        return offsets + (flat[:, columns] * slopes).sum(-1)


class ElementGroup:
    """Elements of one kind: their waves and matrices are made together."""

    def __init__(self, elements: list[Element]):
        self.angles = np.array([max(0, each.angle) for each in elements])
        self.frequencies = np.array([each.frequencies for each in elements])  # (K, W)
        self.terms = np.stack([each.terms.reshape(len(each.terms), -1) for each in elements])  # (K, F, d * d)

    def __call__(self, angles: Tensor, dtype: torch.dtype) -> Tensor:
        """Angles (N, all) -> matrices (K, N, d * d), or (K, 1, d * d) where they have none."""
        terms = constant(self.terms, dtype, angles.device)
        if not self.frequencies.shape[1]:
            return terms
        own = angles.T[constant(self.angles, torch.int64, angles.device)]
        phases = own[:, :, None] * constant(self.frequencies, torch.float64, angles.device)[:, None]
        waves = torch.stack([phases.cos(), phases.sin()], -1).flatten(2)
        waves = torch.cat([torch.ones_like(waves[..., :1]), waves], -1)
        return torch.bmm(waves.to(dtype), terms)


class BlockMatrices:
    """The matrices of all blocks of a circuit, or of a part of it."""

    def __init__(self, blocks: Sequence[Block]):
        self.count = len(blocks)
        self.shapes: dict[Shape, list[int]] = {}
        for number, block in enumerate(blocks):
            self.shapes.setdefault(_shape(block), []).append(number)
        members: dict[Kind, list[Element]] = {}
        self.places: dict[Shape, list[list[int]]] = {}  # of every place in a block, where its elements are
        for shape, numbers in self.shapes.items():
            self.places[shape] = []
            for place, (_, kind) in enumerate(shape):
                group = members.setdefault(kind, [])
                self.places[shape].append(list(range(len(group), len(group) + len(numbers))))
                group += [blocks[number].elements[place] for number in numbers]
        self.groups = {kind: ElementGroup(elements) for kind, elements in members.items()}

    def __call__(self, angles: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Angles (N, all) -> for every block (N, d, d), or (1, d, d) if it is constant."""
        tables = {kind: group(angles, dtype) for kind, group in self.groups.items()}
        found: list[Tensor] = [angles] * self.count
        for shape, numbers in self.shapes.items():
            parts = [tables[kind][rows[0] : rows[-1] + 1] for (_, kind), rows in zip(shape, self.places[shape])]
            for number, matrix in zip(numbers, _product([places for places, _ in shape], parts).unbind(0)):
                found[number] = matrix
        return found

    def numbers(self) -> int:
        """Real numbers that one sample takes, with what is on the way to them."""
        waves = sum(group.terms[..., 0].size for group in self.groups.values())
        return waves + sum(len(numbers) * _numbers(shape) for shape, numbers in self.shapes.items())


def _shape(block: Block) -> Shape:
    places = [tuple(block.qubits.index(qubit) for qubit in each.qubits) for each in block.elements]
    kinds = [(each.terms.shape[1], len(each.frequencies)) for each in block.elements]
    return tuple(zip(places, kinds))


def _numbers(shape: Shape) -> int:
    largest = max(size for _, (size, _) in shape)
    width = 1 + max(chain.from_iterable(places for places, _ in shape))
    return sum(size**2 for _, (size, _) in shape) + len(shape) * max(largest, 4**width) ** 2


def _product(places: list[tuple[int, ...]], matrices: list[Tensor]) -> Tensor:
    """Matrices (S, N, d * d) that act at these places, the first one first, as one (S, N, D, D)."""
    if all(len(place) == 1 for place in places) and len(set(places)) == 1:
        return _chain(matrices)
    product = None
    for place, flat in zip(places, matrices):
        matrix = _square(flat)
        if product is None:
            identity = torch.eye(16, dtype=flat.dtype, device=flat.device).expand(*flat.shape[:2], 16, 16)
            product = identity
        product = _act(place, matrix, product)
    assert product is not None  # a block has elements
    return product


def _chain(matrices: list[Tensor]) -> Tensor:
    product = _square(matrices[0])
    for flat in matrices[1:]:
        product = _square(flat) @ product
    return product


def _square(flat: Tensor) -> Tensor:
    size = round(flat.shape[-1] ** 0.5)
    return flat.unflatten(-1, (size, size))


def _act(place: tuple[int, ...], matrix: Tensor, product: Tensor) -> Tensor:
    """A matrix (S, N, d, d) on one or two of two qubits, times (S, N, 16, 16)."""
    if place == (0, 1):
        return matrix @ product
    if place == (0,):
        return (matrix @ product.reshape(*product.shape[:2], 4, 64)).flatten(-2).unflatten(-1, (16, 16))
    if place == (1,):
        return (matrix[:, :, None] @ product.unflatten(-2, (4, 4))).flatten(2, 3)
    swapped = product.unflatten(-2, (4, 4)).transpose(2, 3).flatten(2, 3)
    return (matrix @ swapped).unflatten(-2, (4, 4)).transpose(2, 3).flatten(2, 3)


@dataclass(frozen=True, eq=False)
class Running:
    """A state on the way: ``values`` (N, ...) with the ``axes`` behind the first, ``fresh`` the vectors (4,) of qubits
    that no gate has touched since they were prepared, and what was read so far, (N, R) by time step."""

    values: Tensor
    axes: tuple[Label, ...]
    fresh: dict[int, np.ndarray]
    read: dict[int, Tensor]

    def __getitem__(self, samples: slice) -> Running:
        return replace(self, values=self.values[samples])

    def vector(self, qubit: int) -> Tensor:
        return constant(self.fresh[qubit], self.values.dtype, self.values.device)

    def without(self, *qubits: int) -> dict[int, np.ndarray]:
        return {qubit: vector for qubit, vector in self.fresh.items() if qubit not in qubits}

    def traced(self) -> Tensor:
        """Without the axes of qubits, each at its identity: (N, 2, 2, ...) over the bits that are left."""
        return self.values[(slice(None), *(0 if kind == "qubit" else slice(None) for kind, *_ in self.axes))]


class NoisyCircuit:
    """Compiled: gate angles (N, time, G) -> outcome probabilities (N, time, R).

    ``events`` in order; ``angles`` of their elements; ``memory``: its qubits, the lowest bit first; ``prepared``: of
    each other qubit the state (4,) that a step finds it in, after the first.
    """

    def __init__(
        self, events: list[Event], angles: AngleTable, memory: tuple[int, ...], prepared: dict[int, np.ndarray]
    ):
        self.events = events
        self.angles = angles
        self.memory = memory
        self.prepared = prepared
        self.steps = sum(isinstance(event, Read) for event in events)
        self._parts: dict[tuple[int, int], BlockMatrices] = {}

    def part(self, first: int, last: int) -> BlockMatrices:
        """The matrices of the blocks among events first, ..., last - 1."""
        if (first, last) not in self._parts:
            blocks = [event for event in self.events[first:last] if isinstance(event, Block)]
            self._parts[first, last] = BlockMatrices(blocks)
        return self._parts[first, last]

    def ground(self, count: int, dtype: torch.dtype, device: torch.device) -> Running:
        """All qubits in |0>."""
        fresh = dict.fromkeys((*self.memory, *self.prepared), GROUND)
        return Running(torch.ones(count, dtype=dtype, device=device), (), fresh, {})

    def carried(self, rho: Tensor) -> Running:
        """The memory in the states rho (N, 2**m, 2**m), the other qubits as they are between steps."""
        axes: tuple[Label, ...] = tuple(("qubit", qubit, 0) for qubit in self.memory)
        return Running(vector_of(rho), axes, self.prepared, {})

    def memory_of(self, state: Running, dtype: torch.dtype) -> Tensor:
        """The memory's density matrix (N, 2**m, 2**m)."""
        identity = torch.eye(4, dtype=state.values.dtype, device=state.values.device)[None]
        for qubit in self.memory:
            if qubit in state.fresh:
                state = _applied(state, (qubit,), identity)
        values, _ = _with_first(state, list(self.memory))
        return matrix_of(values.unflatten(1, (4,) * len(self.memory)).flatten(1 + len(self.memory))[..., 0], dtype)

    def advance(
        self,
        state: Running,
        gate_angles: Tensor,
        span: tuple[int, int] | None = None,
        kept: dict[int, Running] | None = None,
    ) -> Running:
        """Through events first, ..., last - 1 of a ``span``; the states before the events that are keys of ``kept``
        are put there."""
        first, last = (0, len(self.events)) if span is None else span
        matrices = iter(self.part(first, last)(self.angles(gate_angles), state.values.dtype))
        for number in range(first, last):
            if kept is not None and number in kept:
                kept[number] = state
            state = _met(state, self.events[number], matrices)
        if kept is not None and last in kept:
            kept[last] = state
        return state

    def outcomes(self, state: Running) -> Tensor:
        """What was read, (N, time, R)."""
        return torch.stack([state.read[step] for step in range(self.steps)], 1)

    def bytes(self, dtype: torch.dtype, span: tuple[int, int] | None = None) -> int:
        """Bytes that one circuit takes."""
        return dtype.itemsize * self.part(*(span or (0, len(self.events)))).numbers()

    def together(self, dtype: torch.dtype, span: tuple[int, int] | None = None) -> int:
        """How many circuits to run together where no gradient is kept."""
        return max(1, PORTION // max(1, self.bytes(dtype, span)))

    def span(self, step: int, gates: int) -> tuple[int, int]:
        """Of which events some depend on the ``gates`` angles of a step: first, ..., last - 1."""
        low, high = step * gates, (step + 1) * gates
        own = ((self.angles.columns >= low) & (self.angles.columns < high) & (self.angles.slopes != 0)).any(1)
        events = [number for number, event in enumerate(self.events) if _has_angle(event, own)]
        return (events[0], events[-1] + 1) if events else (0, 0)


def _has_angle(event: Event, chosen: np.ndarray) -> bool:
    return isinstance(event, Block) and any(each.angle >= 0 and chosen[each.angle] for each in event.elements)


def _met(state: Running, event: Event, matrices: Iterator[Tensor]) -> Running:
    if isinstance(event, Block):
        return _applied(state, event.qubits, next(matrices))
    if isinstance(event, Measure):
        return _measured(state, event)
    if isinstance(event, Reset):
        return _reset(state, event)
    return _read(state, event.step)


def _applied(state: Running, qubits: tuple[int, ...], matrix: Tensor) -> Running:
    """A block's matrix (N, d, d) on its qubits; a fresh one is put in first."""
    inputs = matrix.unflatten(-1, (4,) * len(qubits))
    for place in reversed(range(len(qubits))):
        if qubits[place] in state.fresh:
            inputs = inputs.movedim(2 + place, -1) @ state.vector(qubits[place])
    present = [qubit for qubit in qubits if qubit not in state.fresh]
    values, rest = _with_first(state, present)
    result = torch.matmul(inputs.flatten(2) if present else inputs[..., None], values)
    axes = (*(("qubit", qubit, 0) for qubit in qubits), *rest)
    return Running(_shaped(result, axes), axes, state.without(*qubits), state.read)


def _with_first(state: Running, qubits: list[int]) -> tuple[Tensor, list[Label]]:
    """The values as (N, 4**k, others) with these qubits first, and the other axes."""
    labels: list[Label] = [("qubit", qubit, 0) for qubit in qubits]
    rest = [label for label in state.axes if label not in labels]
    order = [1 + state.axes.index(label) for label in (*labels, *rest)]
    values = state.values.permute(0, *order)
    return values.reshape(len(values), 4 ** len(qubits), -1), rest


def _shaped(values: Tensor, axes: Sequence[Label]) -> Tensor:
    return values.reshape(len(values), *(4 if kind == "qubit" else 2 for kind, *_ in axes))


def _measured(state: Running, event: Measure) -> Running:
    label: Label = ("bit", event.step, event.bit)
    if event.qubit in state.fresh:
        identity = torch.eye(4, dtype=state.values.dtype, device=state.values.device)[None]
        state = _applied(state, (event.qubit,), identity)
    values, rest = _with_first(state, [event.qubit])
    maps = constant(event.maps.reshape(8, 4), values.dtype, values.device)
    axes = (label, ("qubit", event.qubit, 0), *rest)
    return Running(_shaped(maps @ values, axes), axes, state.fresh, state.read)


def _reset(state: Running, event: Reset) -> Running:
    fresh = {**state.fresh, event.qubit: event.vector}
    label: Label = ("qubit", event.qubit, 0)
    if label not in state.axes:
        return Running(state.values, state.axes, fresh, state.read)
    place = state.axes.index(label)
    axes = state.axes[:place] + state.axes[place + 1 :]
    return Running(state.values.select(1 + place, 0), axes, fresh, state.read)


def _read(state: Running, step: int) -> Running:
    """The outcomes of a step, its highest bit first; its bits are forgotten."""
    bits = [label for label in state.axes if label[0] == "bit"]
    own = sorted((label for label in bits if label[1] == step), key=lambda label: -label[2])
    others = [label for label in bits if label[1] != step]
    chances = state.traced().permute(0, *(1 + bits.index(label) for label in (*own, *others)))
    chances = chances.reshape(len(chances), 2 ** len(own), -1).sum(-1)
    values = state.values.sum([1 + state.axes.index(label) for label in own])
    axes = tuple(label for label in state.axes if label not in own)
    return Running(values, axes, state.fresh, {**state.read, step: chances})


def vector_of(rho: Tensor) -> Tensor:
    """Density matrices (N, 2**m, 2**m) -> vectors (N, 4, ..., 4), the lowest bit's qubit first."""
    qubits = rho.shape[-1].bit_length() - 1
    paulis = constant(pauli_matrices(qubits), rho.dtype, rho.device)
    return torch.einsum("pij,nji->np", paulis, rho).real.unflatten(1, (4,) * qubits)


def matrix_of(vector: Tensor, dtype: torch.dtype) -> Tensor:
    """The way back."""
    qubits = vector.dim() - 1
    paulis = constant(pauli_matrices(qubits), dtype, vector.device)
    return torch.einsum("pij,np->nij", paulis, vector.flatten(1).to(dtype)) / 2**qubits


class NoisyPicture:
    """Weighted readouts of circuits that differ from a given one at a single time step, from both ends.

    What has been, up to the first event that depends on the step's angles, is the state there; what is to come, after
    the last one, is linear in the state there: its slopes, the readout in Heisenberg's picture.
    """

    def __init__(self, circuit: NoisyCircuit, gate_angles: Tensor, weights: Tensor, start: Running, causal: bool):
        self.circuit = circuit
        self.gate_angles = gate_angles
        self.weights = weights.detach().to(start.values.dtype)
        self.causal = causal
        self.spans = [circuit.span(step, gate_angles.shape[2]) for step in range(circuit.steps)]
        self.kept = {number: start for number in {number for span in self.spans for number in span}}
        with torch.enable_grad():
            leaf = replace(start, values=start.values.detach().requires_grad_())
            end = circuit.advance(leaf, gate_angles, kept=self.kept)
            self.values = (circuit.outcomes(end) * self.weights).sum(-1)  # (N, time)
            ends = [self.kept[last].values for _, last in self.spans]
            slopes = torch.autograd.grad(self.values.sum(), ends, allow_unused=True)
        self.values = self.values.detach()
        self.slopes = [torch.zeros_like(end) if part is None else part for end, part in zip(ends, slopes)]

    def at(self, step: int, replaced: Tensor) -> Tensor:
        """(K, N) for the step's gate angles (K, N, G); ``causal``: without the outputs before that step."""
        size = max(1, self.circuit.together(self.weights.dtype, self.spans[step]) // replaced.shape[1])
        values = torch.cat([self._at(step, part) for part in replaced.split(size)])
        return values - self.values[:, :step].sum(1) if self.causal else values

    def _at(self, step: int, replaced: Tensor) -> Tensor:
        count, batch = replaced.shape[:2]
        first, last = self.spans[step]
        if first == last:  # no gate has an angle
            return self.values.sum(1).expand(count, batch)
        angles = self.gate_angles.repeat(count, 1, 1, 1)
        angles[:, :, step] = replaced
        before = self.kept[first]
        copies = before.values.detach().repeat(count, *[1] * (before.values.dim() - 1))
        after = self.circuit.advance(replace(before, values=copies, read={}), angles.flatten(0, 1), (first, last))
        value = (after.values.unflatten(0, (count, batch)) * self.slopes[step]).flatten(2).sum(2)
        for read, chances in after.read.items():
            value = value + (chances.unflatten(0, (count, batch)) * self.weights[:, read]).sum(-1)
        return value + self.values[:, list(before.read)].sum(1)
