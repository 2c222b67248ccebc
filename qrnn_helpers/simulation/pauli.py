"""Steps in the Pauli basis, the batch as the last axis: many small circuits without their gradients.

A memory state is its expectation values c_P = tr rho P over Pauli strings P, real numbers.  A gate U takes them to

    c'_a = sum_b E_ab c_b,    E_ab = tr(P_a U P_b U^+) / 2^n    (its Pauli transfer matrix),

and most entries of E are 0 or 1.  Here every other entry is one multiplication of rows, one number for each sample; a
readout qubit joins the state when its first gate on two qubits comes, and of a coefficient that no outcome and no later
step sees nothing is worked out.  The transposed maps, in reverse, carry observables from the last step to the first
(Heisenberg picture), so that the mean and the second moment of a weighted readout take one pass.

Source for the transfer matrix: D. Greenbaum, arXiv 1509.02921 (2015).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ..circuits import Op
from ..torch_modes import constant
from .trajectories import picked
from .transfer import PAULIS, Element, element_of

WIDEST = 3
"""Qubits that a gate may have here: its transfer matrix has 16 to that power entries."""

PORTION = 2**21
"""Bytes of states that are worked on together: they stay in the processor's cache."""

ALL, DIAGONAL = (0, 1, 2, 3), (0, 3)

Letters = dict[int, tuple[int, ...]]
"""Qubit -> the letters of its axis."""


@dataclass(frozen=True)
class Entry:
    """A number of a transfer matrix: ``sign`` times coefficient ``number`` of its gate, or times 1 if that is None."""

    number: int | None
    sign: int


Rows = list[list[tuple[Entry, int]]]
"""Of each row of a matrix the entries, those with a plus first, and their columns; both are counted over the
product of the axes' letters."""


@dataclass(eq=False)
class Gate:
    """An op's transfer matrix, sum_w cos(w theta) A_w + sin(w theta) B_w: few different coefficients, many entries."""

    qubits: tuple[int, ...]
    occurrence: int
    frequencies: np.ndarray
    """(W,)"""
    coefficients: np.ndarray
    """(K, 1 + 2 W): of 1, the cosines and the sines"""
    entries: dict[tuple[tuple[int, ...], tuple[int, ...]], Entry]
    """(row, column) -> what stands there; both name a letter for each qubit"""

    def inputs(self, rows: Iterable[tuple[int, ...]]) -> set[tuple[int, ...]]:
        rows = set(rows)
        return {b for a, b in self.entries if a in rows}

    def outputs(self, columns: Iterable[tuple[int, ...]]) -> set[tuple[int, ...]]:
        columns = set(columns)
        return {a for a, b in self.entries if b in columns}


@dataclass(eq=False)
class Apply:
    """A gate on axes of the state, whose letters it may change from ``before`` to ``after``."""

    gate: Gate
    axes: list[int]
    before: list[tuple[int, ...]]
    after: list[tuple[int, ...]]

    @cached_property
    def forward(self) -> Rows:
        return self._rows(self.after, self.before, lambda a, b: (a, b))

    @cached_property
    def backward(self) -> Rows:
        """Of the transposed matrix."""
        return self._rows(self.before, self.after, lambda a, b: (b, a))

    def _rows(self, to: list[tuple[int, ...]], of: list[tuple[int, ...]], key) -> Rows:
        entries = self.gate.entries
        columns = list(enumerate(product(*of)))
        rows = [[(entries[key(a, b)], j) for j, b in columns if key(a, b) in entries] for a in product(*to)]
        return [sorted(row, key=lambda term: -term[0].sign) for row in rows]


@dataclass(eq=False)
class Open:
    """A readout qubit in |0>, after ``gates`` of its own, joins the state as its last axis."""

    gates: list[Apply]


class PauliSteps:
    """A step circuit, compiled; ``readout`` and ``memory`` are the qubits of its registers, each highest first."""

    def __init__(self, ops: Sequence[Op], readout: Sequence[int], memory: Sequence[int]):
        self.periodic = all(op.family is None or math.isfinite(op.family.unit) for op in ops)
        self._compile([_gate(op) for op in ops], readout, memory)

    def _compile(self, gates: list[Gate], readout: Sequence[int], memory: Sequence[int]) -> None:
        self.readout, self.memory = tuple(readout), tuple(memory)
        letters = self._letters(gates)
        parts = [(gate, *sets) for gate, sets in zip(gates, letters, strict=True) if not _idle(gate, *sets)]
        self.plan, places = self._planned(parts)
        self._seen_order = [places[qubit] - 1 - len(self.memory) for qubit in self.readout]
        self.peak, self.products = self._work()
        self.calls = sum(len(row) for move in self._applied() for row in move.forward)
        self._kept: dict = {}

    @staticmethod
    def fits(ops: Sequence[Op]) -> bool:
        return all(len(op.qubits) <= WIDEST for op in ops)

    def probabilities(
        self, gate_angles: Tensor, dtype: torch.dtype, rho: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gate angles (batch, time, G) -> p (batch, time, R) and the last memory state (batch, M, M).

        ``rho`` (batch, M, M): the start, |0...0><0...0| if None.  ``dtype`` is complex: its precision counts.
        """
        batch, time_steps, _ = gate_angles.shape
        state = self._start(batch, dtype, gate_angles.device, rho)
        outcomes = state.new_empty(time_steps, 2 ** len(self.readout), batch)
        for samples, by_step in self._portions(gate_angles, dtype):
            current = state[..., samples]
            for t, by_gate in enumerate(by_step):
                joint = self._forward(current, by_gate)
                current, outcomes[t, :, samples] = self._memory(joint), self._outcomes(joint)[0]
            state[..., samples] = current
        return outcomes.permute(2, 0, 1), self._density(state, dtype)

    def shot(self, gate_angles: Tensor, uniform: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """p (batch, time, R), and the outcomes (batch, time) of one shot of each circuit, from |0...0><0...0|.

        ``uniform`` (batch, time): what the outcomes are drawn by, in [0, 1).  The mean memory and that of the shot,
        which goes on as the outcome leaves it, take the gates together.
        """
        batch, time_steps, _ = gate_angles.shape
        start = self._start(batch, dtype, gate_angles.device, None)
        probabilities = start.new_empty(time_steps, 2 ** len(self.readout), batch)
        outcomes = torch.empty(time_steps, batch, dtype=torch.int64, device=start.device)
        draws = uniform.T.contiguous()
        for samples, by_step in self._portions(gate_angles, dtype):
            states = start[..., samples]  # one state until the first outcome, then two
            for t, by_gate in enumerate(by_step):
                joint = self._forward(states, by_gate)
                seen = self._outcomes(joint)
                outcome = picked(seen[-1], draws[t, samples])
                probabilities[t, :, samples], outcomes[t, samples] = seen[0], outcome
                states = self._parted(joint, outcome, seen[-1].gather(0, outcome[None])[0])
        return probabilities.permute(2, 0, 1), outcomes.T

    def moments(
        self,
        gate_angles: Tensor,
        weights: Tensor,
        dtype: torch.dtype,
        rho: Tensor | None = None,
        second: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Of one shot's X = sum_t w[t, r_t]: the mean E[X] and, if ``second``, E[X^2]; (batch,) each.

        With D_t = sum_r w_r |r><r| on the readout and O1 = O2 = 0 after the last step, a step takes O1 to the memory's
        part of O1 + D_t, and O2 to that of O2 + 2 O1 D_t + D_t^2, both seen through the step's gates.
        """
        state = self._start(len(gate_angles), dtype, gate_angles.device, rho)
        values = weights.permute(1, 2, 0).to(state.dtype)
        found = state.new_empty(1 + second, len(gate_angles))
        for samples, by_step in self._portions(gate_angles, dtype):
            seen = torch.zeros_like(state[..., samples]).repeat(1 + second, *[1] * (state.dim() - 1))
            for t, by_gate in reversed(list(enumerate(by_step))):
                seen = self._backward(self._valued(seen, values[t][:, samples]), by_gate)
            found[:, samples] = (seen * state[..., samples]).flatten(1, -2).sum(1)
        return found[0], found[1] if second else None

    def _forward(self, state: Tensor, by_gate: Tensor) -> Tensor:
        """Memory and readout after a step, (K, 4**memory, 2**readout, N): of what is read I and Z."""
        numbers = self._numbers(by_gate)
        for move in self.plan:
            if isinstance(move, Open):
                fresh = self._fresh(move, numbers, state)
                state = state[..., None, :] * fresh[:, *[None] * (state.dim() - 2)]
            else:
                state = _mapped(state, numbers[move.gate], move.forward, _sizes(move.after), move.axes)
        return state.flatten(1, len(self.memory)).flatten(2, -2)

    def _outcomes(self, joint: Tensor) -> Tensor:
        """The outcomes' probabilities (K, R, N)."""
        seen = joint[:, 0].unflatten(1, [2] * len(self.readout))
        seen = seen.permute(0, *(1 + k for k in self._seen_order), -1).flatten(1, -2)
        return self._signs(joint) @ seen

    def _memory(self, joint: Tensor) -> Tensor:
        """The memory after a step, whatever the outcome was."""
        return joint[:, :, 0].unflatten(1, [4] * len(self.memory))

    def _parted(self, joint: Tensor, outcome: Tensor, weight: Tensor) -> Tensor:
        """The mean memory of the first states, and that of the last after an outcome (N,) of probability ``weight``."""
        readout = len(self.readout)
        signs = self._signs(joint).T.unflatten(0, [2] * readout)
        signs = signs.permute(*(self._seen_order.index(k) for k in range(readout)), -1).flatten(0, -2)
        factors = signs[:, outcome] / weight
        parted = joint.new_empty(2, joint.shape[1], joint.shape[-1])
        parted[0] = joint[0, :, 0]
        torch.mul(joint[-1, :, 0], factors[0], out=parted[1])
        for part, factor in zip(joint[-1].unbind(1)[1:], factors[1:], strict=True):
            parted[1].addcmul_(part, factor)
        return parted.unflatten(1, [4] * len(self.memory))

    def _backward(self, seen: Tensor, by_gate: Tensor) -> Tensor:
        """Operators on memory and readout after a step as operators on the memory before it."""
        numbers = self._numbers(by_gate)
        for move in reversed(self.plan):
            if isinstance(move, Open):
                fresh = self._fresh(move, numbers, seen)[0]
                parts = seen.unbind(-2)
                seen = parts[0] * fresh[0]
                for part, number in zip(parts[1:], fresh[1:], strict=True):
                    seen.addcmul_(part, number)
            else:
                seen = _mapped(seen, numbers[move.gate], move.backward, _sizes(move.before), move.axes)
        return seen

    def _fresh(self, move: Open, numbers: dict, like: Tensor) -> Tensor:
        """The coefficients (1, letters, N) of a qubit that joins."""
        fresh = like.new_ones(1, 2, like.shape[-1])
        for each in move.gates:
            fresh = _mapped(fresh, numbers[each.gate], each.forward, _sizes(each.after), each.axes)
        return fresh

    def _valued(self, seen: Tensor, values: Tensor) -> Tensor:
        """O1 + D and O2 + 2 O1 D + D^2, with axes for the readout's I and Z, from O1 (and O2) on the memory."""
        memory, readout = len(self.memory), len(self.readout)
        powers = torch.stack([values, values.square()])[: len(seen)]
        weights = (self._signs(seen).T @ powers).unflatten(1, [2] * readout)
        weights = weights.permute(0, *(1 + self._seen_order.index(k) for k in range(readout)), -1).flatten(1, -2)
        seen = seen.flatten(1, memory)
        valued = seen.new_zeros(*seen.shape[:2], 2**readout, seen.shape[-1])
        if len(seen) > 1:
            valued[1] = 2 * seen[0, :, None] * weights[0]
        valued[:, :, 0] += seen
        valued[:, 0] += weights
        return valued.unflatten(2, [2] * readout).unflatten(1, [4] * memory)

    def _numbers(self, by_gate: Tensor) -> dict[Gate, tuple[Tensor, ...]]:
        """The coefficients (K, N) of every gate, for gate angles (G, N)."""
        found: dict[Gate, tuple[Tensor, ...]] = {}
        for gates, occurrences, frequencies, constants, waves in self._tensors(by_gate.dtype, by_gate.device):
            numbers = constants
            if frequencies.shape[1]:
                phases = by_gate[occurrences][:, None] * frequencies
                numbers = torch.baddbmm(constants, waves, torch.cat([phases.cos(), phases.sin()], 1))
            found |= {gate: own.unbind(0) for gate, own in zip(gates, numbers.unbind(0), strict=True)}
        return found

    def _tensors(self, dtype: torch.dtype, device: torch.device) -> list[tuple]:
        """Gates with equally many frequencies and coefficients, and what their coefficients are made from."""
        key = dtype, device
        if key not in self._kept:
            alike = defaultdict(list)
            for gate in (move.gate for move in self._applied()):
                alike[len(gate.frequencies), len(gate.coefficients)].append(gate)
            self._kept[key] = [_stacked(gates, dtype, device) for gates in alike.values()]
        return self._kept[key]

    def _applied(self) -> list[Apply]:
        """All gates of the plan, those before a qubit joins, too."""
        return [each for move in self.plan for each in (move.gates if isinstance(move, Open) else [move])]

    def bytes(self, batch: int, time_steps: int, dtype: torch.dtype, operators: int = 1) -> int:
        """Bytes that the circuits of a batch take at their peak: of a portion of them two states (of so many
        ``operators``) with the gates' numbers, and what is kept of every circuit."""
        portion = min(batch, self._together(dtype))
        numbers = sum(len(move.gate.coefficients) + 2 * len(move.gate.frequencies) for move in self._applied())
        gates = len({move.gate.occurrence for move in self._applied()})
        at_work = portion * (2 * operators * self.peak + numbers + time_steps * gates)
        kept = batch * (3 * time_steps * 2 ** len(self.readout) + 4 * 4 ** len(self.memory))
        return dtype.to_real().itemsize * (at_work + kept)

    def _together(self, dtype: torch.dtype) -> int:
        """Circuits that are worked on together."""
        return max(1, PORTION // (self.peak * dtype.to_real().itemsize))

    def _portions(self, gate_angles: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """A few samples at a time, with their gate angles (time, G, samples)."""
        real = dtype.to_real() if self.periodic else torch.float64
        together = self._together(dtype)
        for first in range(0, len(gate_angles), together):
            samples = slice(first, min(first + together, len(gate_angles)))
            turned = gate_angles[samples].permute(1, 2, 0)
            yield samples, turned.to(real, memory_format=torch.contiguous_format).contiguous()

    def _letters(self, gates: list[Gate]) -> list[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]]:
        """Before and after each gate, the letters of its qubits that can be there and that somebody will see."""
        present: Letters = dict.fromkeys(self.memory, ALL) | dict.fromkeys(self.readout, DIAGONAL)
        there = []
        for gate in gates:
            before = [present[q] for q in gate.qubits]
            present |= zip(gate.qubits, _by_axis(gate.outputs(product(*before)), len(before)), strict=True)
            there.append((before, [present[q] for q in gate.qubits]))
        wanted: Letters = dict.fromkeys(self.memory, ALL) | dict.fromkeys(self.readout, DIAGONAL)
        found = []
        for gate, (before, after) in zip(reversed(gates), reversed(there), strict=True):
            later = [wanted[q] for q in gate.qubits]
            wanted |= zip(gate.qubits, _by_axis(gate.inputs(product(*later)), len(later)), strict=True)
            earlier = [wanted[q] for q in gate.qubits]
            found.append((_common(before, earlier), _common(after, later)))
        return self._with_ends(gates, found[::-1])

    def _with_ends(self, gates: list[Gate], letters: list[tuple[list, list]]) -> list[tuple[list, list]]:
        """A memory comes with all letters; of a readout I and Z come and are seen."""
        pairs = list(zip(gates, letters, strict=True))
        for side, order in ((0, pairs), (1, pairs[::-1])):  # before the first gate of a qubit, after its last
            left = {*self.memory, *self.readout}
            for gate, sets in order:
                for k, qubit in enumerate(gate.qubits):
                    if qubit in left:
                        sets[side][k] = ALL if qubit in self.memory else DIAGONAL
                        left.discard(qubit)
        return letters

    def _work(self) -> tuple[int, int]:
        """Numbers in the largest state of a sample, and multiplications that a step of it takes."""
        sizes = [1] + [4] * len(self.memory)
        peak, products = math.prod(sizes), 0
        for move in self.plan:
            if isinstance(move, Open):
                sizes.append(len(move.gates[-1].after[0]) if move.gates else 2)
                products += math.prod(sizes)
            else:
                rest = math.prod(size for k, size in enumerate(sizes) if k not in move.axes)
                products += rest * sum(map(len, move.forward))
                for axis, letters in zip(move.axes, move.after, strict=True):
                    sizes[axis] = len(letters)
            peak = max(peak, math.prod(sizes))
        return peak, products

    def _start(self, batch: int, dtype: torch.dtype, device: torch.device, rho: Tensor | None) -> Tensor:
        """Memory states as expectation values of Pauli strings, (1, 4, ..., 4, batch)."""
        letters, memory = [4] * len(self.memory), len(self.memory)
        if rho is None:
            ground = torch.zeros(1, *letters, batch, dtype=dtype.to_real(), device=device)
            ground[np.ix_([0], *[DIAGONAL] * memory)] = 1
            return ground
        state = rho.to(dtype).unflatten(2, [2] * memory).unflatten(1, [2] * memory)
        paulis = constant(PAULIS, dtype, device)
        for left in range(memory, 0, -1):  # of the highest qubit left the row and the column meet each letter
            state = torch.tensordot(state, paulis, dims=([1, 1 + left], [2, 1]))
        return state.real.permute(*range(1, 1 + memory), 0)[None].contiguous()

    def _density(self, state: Tensor, dtype: torch.dtype) -> Tensor:
        """Density matrices (batch, M, M) of states (1, 4, ..., 4, batch)."""
        memory = len(self.memory)
        found = state[0].to(dtype)
        paulis = constant(PAULIS / 2, dtype, state.device)
        for _ in range(memory):
            found = torch.tensordot(found, paulis, dims=([0], [0]))
        rows = [1 + 2 * k for k in range(memory)]
        return found.permute(0, *rows, *(k + 1 for k in rows)).reshape(-1, 2**memory, 2**memory)

    def _signs(self, like: Tensor) -> Tensor:
        """(R, R): how outcomes' probabilities follow from expectation values of I and Z on the readout, a row each."""
        one = constant([[0.5, 0.5], [0.5, -0.5]], like.dtype, like.device)
        signs = one
        for _ in self.readout[1:]:
            signs = torch.kron(signs, one)
        return signs

    def _planned(self, parts: list[tuple]) -> tuple[list[Apply | Open], dict[int, int]]:
        """The gates as moves, in an order in which the state grows as late as it can."""
        axis = {qubit: 1 + k for k, qubit in enumerate(self.memory)}
        alone: dict[int, list[Apply]] = {qubit: [] for qubit in self.readout}
        plan: list[Apply | Open] = []

        def opened(qubits: Iterable[int]) -> None:
            for qubit in qubits:
                if qubit not in axis:
                    axis[qubit] = 1 + len(axis)
                    plan.append(Open(alone[qubit]))

        waiting = list(parts)
        while waiting:
            gate, before, after = chosen = min(_ready(waiting), key=lambda part: _growth(part, axis))
            waiting.remove(chosen)
            if len(gate.qubits) == 1 and gate.qubits[0] not in axis:
                alone[gate.qubits[0]].append(Apply(gate, [1], before, after))
                continue
            opened(gate.qubits)
            plan.append(Apply(gate, [axis[q] for q in gate.qubits], before, after))
        opened(self.readout)
        return plan, axis


def _mapped(state: Tensor, numbers: Sequence[Tensor], rows: Rows, sizes: list[int], axes: list[int]) -> Tensor:
    """A transfer matrix, or its transpose, on some axes of a state (K, ..., N)."""
    shape = list(state.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    new = state.new_empty(shape)
    old = _along(state, axes)
    for target, terms in zip(_along(new, axes), rows, strict=True):
        if not terms:
            target.zero_()
            continue
        (entry, column), *others = terms
        if entry.number is None:
            target.copy_(old[column])
        else:
            torch.mul(old[column], numbers[entry.number], out=target)
        if entry.sign < 0:
            target.neg_()
        for entry, column in others:
            if entry.number is None:
                target.add_(old[column], alpha=entry.sign)
            else:
                target.addcmul_(old[column], numbers[entry.number], value=entry.sign)
    return new


def _along(state: Tensor, axes: list[int]) -> list[Tensor]:
    """The parts of a state for all letters of some axes, counted over their product."""
    parts = [state]
    for k, axis in enumerate(axes):
        place = axis - sum(earlier < axis for earlier in axes[:k])
        parts = [part for each in parts for part in each.unbind(place)]
    return parts


def _gate(op: Op) -> Gate:
    """The transfer matrix of an op on its qubits."""
    return gate_of(element_of(op, op.occurrence))


def gate_of(element: Element) -> Gate:
    """The same of any linear map on few qubits."""
    qubits = element.qubits
    parts = np.stack([element.terms[0], *element.terms[1::2], *element.terms[2::2]])  # of 1, the cosines, the sines
    coefficients: dict[tuple, int] = {}
    entries = {}
    letters = list(product(range(4), repeat=len(qubits)))
    for i, j in zip(*np.nonzero(np.abs(parts).max(0) > 1e-12), strict=True):
        column = parts[:, i, j].round(14)
        sign = 1 if column[np.flatnonzero(column)[0]] > 0 else -1
        alone = abs(column[0]) == 1 and not column[1:].any()
        number = None if alone else coefficients.setdefault(tuple(sign * column), len(coefficients))
        entries[letters[i], letters[j]] = Entry(number, sign)
    rows = np.array(list(coefficients)).reshape(len(coefficients), len(parts))
    return Gate(qubits, element.angle, np.array(element.frequencies), rows, entries)


def _stacked(gates: list[Gate], dtype: torch.dtype, device: torch.device) -> tuple:
    """Gates alike, occurrences (S,), frequencies (S, W, 1), and of the coefficients the constants (S, K, 1) and waves
    (S, K, 2 W)."""
    rows = np.stack([gate.coefficients for gate in gates])
    occurrences = constant([max(gate.occurrence, 0) for gate in gates], torch.int64, device)
    frequencies = constant(np.stack([gate.frequencies for gate in gates])[..., None], dtype, device)
    return (
        gates,
        occurrences,
        frequencies,
        constant(rows[..., :1], dtype, device),
        constant(rows[..., 1:], dtype, device),
    )


def _ready(parts: list[tuple]) -> list[tuple]:
    """Those that no earlier one on one of their qubits waits before."""
    blocked: set[int] = set()
    found = []
    for part in parts:
        if not blocked & set(part[0].qubits):
            found.append(part)
        blocked |= set(part[0].qubits)
    return found


def _growth(part: tuple, axis: dict[int, int]) -> tuple[int, float]:
    """How many axes a move adds, and by how much it changes the size of the others."""
    gate, before, after = part
    return len(set(gate.qubits) - axis.keys()), math.prod(_sizes(after)) / math.prod(_sizes(before))


def _idle(gate: Gate, before: list[tuple[int, ...]], after: list[tuple[int, ...]]) -> bool:
    """Whether a gate leaves what is there and seen as it is."""
    if before != after:
        return False
    letters = list(product(*before))
    found = {(a, b): entry for (a, b), entry in gate.entries.items() if a in letters and b in letters}
    return found == {(a, a): Entry(None, 1) for a in letters}


def _by_axis(letters: set[tuple[int, ...]], axes: int) -> list[tuple[int, ...]]:
    return [tuple(sorted({each[k] for each in letters})) for k in range(axes)]


def _common(some: list[tuple[int, ...]], others: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [tuple(sorted(set(a) & set(b))) for a, b in zip(some, others, strict=True)]


def _sizes(letters: list[tuple[int, ...]]) -> list[int]:
    return [len(each) for each in letters]
