"""From the matrices of blocks to isometries: a tensor that grows as blocks reach new qubits.

Until a block touches it, a memory qubit is an identity and a readout qubit |0>, and neither need be multiplied.
Which axes a block finds, and in which order it leaves them, is worked out once; what remains is one matrix product a
block, and a copy where its axes lie in another order.  A *tape* is a list that a call fills with what its way back
needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import torch

from ..torch_modes import constant
from .fusion import Block, Cluster

__all__ = ["Contraction", "ContractionStep"]


PORTION = {True: 2**20, False: 2**27}
"""Bytes of a tensor that is worked on at one time, on a CPU (True) and elsewhere.

Twice as much, measured on two virtual cores (8 qubits, batch 32), is 1.06 times faster at most times and 1.3 times
slower at some: with several steps at a time a thread's rows are other samples' than in the products of one step, and
go from core to core."""

MOVE = 4
"""What it costs to write a number and read it again, in complex multiplications."""

Label = tuple[str, int]  # ("out" or "in", qubit): what an axis of two stands for


class Contraction:
    """A product of blocks (or of clusters of them) as a tensor whose axes are put in a wanted order.

    ``inputs``: the qubits whose input is an axis; the others start in |0>.  ``order``: groups of labels, for each
    the axes that one axis of the result joins.
    """

    def __init__(self, parts: list[Block] | list[Cluster], inputs: Collection[int], order: list[list[Label]]):
        self.inputs, labels = set(inputs), []
        wanted = [label for group in order for label in group]
        self.steps, self.sizes = [], [1]  # numbers in the tensor before each stage, and after all
        self.products = self.moves = 0  # of a row: complex multiplications, numbers written
        for part, following in zip(parts, [*parts[1:], None]):
            stage, labels = self._stage(part, labels, following.qubits if following else (), wanted)
            self.steps.append(stage)
            self.sizes.append(2 ** len(labels))
            self.products += stage.products
            self.moves += stage.moves + self.sizes[-1]
        self._last, labels = self._opening([q for side, q in wanted if side == "out"], labels)
        self._order = [1 + labels.index(label) for label in wanted]
        self._in_order = self._order == sorted(self._order)
        self._axes = [2] * len(wanted)
        self._back = [0, *(1 + wanted.index(label) for label in labels)]
        self.shape = tuple(2 ** len(group) for group in order)
        self.sizes.append(2 ** len(wanted))
        self.blocks = sum(stage.blocks for stage in self.steps)

    @property
    def cost(self) -> int:
        """Work for a row, in complex multiplications."""
        return self.products + MOVE * self.moves

    def prepare(self, matrices: list[torch.Tensor], one: torch.Tensor, tape: list | None = None) -> list[torch.Tensor]:
        """What the stages multiply by: of the blocks' matrices (N or 1, d, d) no columns of qubits that are |0>."""
        rest, tapes = iter(matrices), [None if tape is None else [] for _ in self.steps]
        if tape is not None:
            tape += tapes
        return [stage.prepare(list(islice(rest, stage.blocks)), one, met) for stage, met in zip(self.steps, tapes)]

    def unprepare(self, slopes: list[torch.Tensor | None], tape: list) -> list[torch.Tensor | None]:
        """Slopes along what `prepare` made (as complex conjugates) -> along the blocks' matrices."""
        pairs = zip(self.steps, slopes, tape)
        return [own for stage, slope, met in pairs for own in stage.unprepare(slope, met)]

    def __call__(
        self,
        prepared: list[torch.Tensor],
        one: torch.Tensor,
        out: torch.Tensor | None = None,
        tape: list | None = None,
    ) -> torch.Tensor:
        """The tensors (N or 1, ...).  ``one`` is a 1 of the type and on the device wanted; ``out`` takes the result,
        ``tape`` what `vjp` will need."""
        direct = self.steps and self._in_order and not self._last.inputs  # the last product is the result
        state, last = one.reshape(1, 1), self.steps[-1] if direct else None
        for stage, matrix in zip(self.steps, prepared):
            state, met = stage(state, matrix, out if stage is last else None)
            if tape is not None:
                tape.append(met)
        state = self._last(state)
        if not self._in_order:
            state = state.reshape(-1, *self._axes).permute(0, *self._order)
        if out is None or state.data_ptr() == out.data_ptr():
            return state.reshape(-1, *self.shape)
        return out.view(-1, *state.shape[1:]).copy_(state).view(-1, *self.shape)

    def vjp(
        self, prepared: list[torch.Tensor], tape: list, slope: torch.Tensor, wanted: list[bool]
    ) -> list[torch.Tensor | None]:
        """From the slope along the tensors to those along ``prepared`` (all as complex conjugates, dL/dx for real L:
        then no factor need be conjugated)."""
        found: list[torch.Tensor | None] = [None] * len(prepared)
        if not self._in_order:
            slope = slope.reshape(-1, *self._axes).permute(self._back)
        slope = slope.flatten(1)
        slope = self._last.vjp(slope)
        for k in reversed(range(len(prepared))):
            if not any(wanted[: k + 1]):
                break
            found[k], slope = self.steps[k].vjp(slope, prepared[k], tape[k], wanted[k], any(wanted[:k]))
        return found

    @cached_property
    def numbers(self) -> int:
        """Complex numbers that one row takes in `prepare`, with what `unprepare` needs."""
        return sum(stage.numbers for stage in self.steps)

    def portion(self, one: torch.Tensor) -> int:
        """How many rows to work on at a time."""
        return max(1, PORTION[one.device.type == "cpu"] // (max(self.sizes) * one.dtype.itemsize))

    def _stage(
        self, part: Block | Cluster, labels: list[Label], following, wanted
    ) -> tuple[ContractionStep, list[Label]]:
        """One matrix product: its outputs and the inputs that it opens come first, then the rest."""
        places = {label: k for k, label in enumerate(wanted)}
        old = [q for q in part.qubits[::-1] if ("out", q) in labels]
        new = [q for q in part.qubits if q not in old and q in self.inputs]
        # The next part's qubits stand first, where it needs them; inputs last, in their final order.
        met = [("out", q) for q in following[::-1] if q in part.qubits]
        added = [("out", q) for q in part.qubits] + [("in", q) for q in new]
        added = met + sorted(set(added) - set(met), key=lambda label: (label[0] == "in", places.get(label, 0)))
        taken = [("out", q) for q in old]
        alone = _alone(part)
        inner = _grown if isinstance(alone, Cluster) else _entries
        others = [label for label in labels if label not in taken]
        axes = [1 + labels.index(label) for label in taken + others]
        matrix, labels = inner(alone, added, [("in", q) for q in old]), added + others
        products = 2 ** len(labels + old) if axes else 0
        return ContractionStep(matrix, axes, 2 ** len(part.qubits), products), labels

    def _opening(self, qubits: Iterable[int], labels: list[Label]) -> tuple[FreshQubits, list[Label]]:
        fresh = [q for q in qubits if ("out", q) not in labels]
        added = [[("out", q)] + [("in", q)] * (q in self.inputs) for q in fresh]
        return FreshQubits([q in self.inputs for q in fresh]), [*labels, *(label for pair in added for label in pair)]


def _alone(part: Block | Cluster) -> Block | Cluster:
    """The block of a cluster of one."""
    return part.blocks[0] if isinstance(part, Cluster) and len(part.blocks) == 1 else part


def _entries(block: Block, rows: list[Label], columns: list[Label]) -> np.ndarray:
    """Which entries of a block's matrix are used, and in which order: inputs that are not named are |0>."""
    qubits = block.qubits[::-1]  # a matrix has its highest bit first
    axes = [(side, q) for side in ("out", "in") for q in qubits]
    entries = np.arange(4 ** len(qubits)).reshape([2] * len(axes))
    entries = entries[tuple(slice(None) if label in rows + columns else 0 for label in axes)]
    left = [label for label in axes if label in rows + columns]
    return entries.transpose([left.index(label) for label in rows + columns]).reshape(-1, 2 ** len(columns))


def _grown(cluster: Cluster, rows: list[Label], columns: list[Label]) -> Contraction:
    """A cluster's matrix, to be grown from its blocks."""
    return Contraction(cluster.blocks, [q for side, q in rows + columns if side == "in"], [rows, columns])


@dataclass
class ContractionStep:
    """A matrix, from the entries of a block's or grown from a cluster's blocks, meets the state's axes of two.

    ``axes``: those axes, the part's own first; ``size``: 2**qubits of the part; ``own_products``: complex
    multiplications for a row in this meeting alone.
    """

    inner: np.ndarray | Contraction
    axes: list[int]
    size: int
    own_products: int
    _kept: dict = field(default_factory=dict)

    @cached_property
    def _in_order(self) -> bool:
        return self.axes == sorted(self.axes)

    @property
    def blocks(self) -> int:
        return self.inner.blocks if isinstance(self.inner, Contraction) else 1

    @property
    def products(self) -> int:
        return self.own_products + (self.inner.products if isinstance(self.inner, Contraction) else 0)

    @property
    def moves(self) -> int:
        return self.inner.moves if isinstance(self.inner, Contraction) else 0

    @property
    def numbers(self) -> int:
        return self.inner.numbers + sum(self.inner.sizes) if isinstance(self.inner, Contraction) else self.inner.size

    def prepare(self, matrices: list[torch.Tensor], one: torch.Tensor, tape: list | None) -> torch.Tensor:
        if not isinstance(self.inner, Contraction):
            entries = self._entries(one.device)
            return matrices[0].flatten(-2).index_select(1, entries).view(-1, *self.inner.shape)
        inner_tape, grown_tape = (None, None) if tape is None else ([], [])
        prepared = self.inner.prepare(matrices, one, inner_tape)
        if tape is not None:
            tape += [prepared, inner_tape, grown_tape]
        return self.inner(prepared, one, tape=grown_tape)

    def _entries(self, device) -> torch.Tensor:
        if device not in self._kept:
            self._kept[device] = constant(self.inner.ravel(), torch.int64, device)
        return self._kept[device]

    def unprepare(self, slope: torch.Tensor | None, tape: list) -> list[torch.Tensor | None]:
        if slope is None:
            return [None] * self.blocks
        if isinstance(self.inner, Contraction):
            prepared, inner_tape, grown_tape = tape
            wanted = [matrix.shape[0] == slope.shape[0] for matrix in prepared]
            return self.inner.unprepare(self.inner.vjp(prepared, grown_tape, slope, wanted), inner_tape)
        entries = self._entries(slope.device)
        whole = slope.new_zeros(slope.shape[0], self.size**2).index_copy_(1, entries, slope.flatten(1))
        return [whole.view(-1, self.size, self.size)]

    def __call__(
        self, state: torch.Tensor, matrix: torch.Tensor, out: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows, moved = state.shape[0], state
        if not self._in_order:
            moved = state.reshape(rows, *[2] * len(self.axes)).permute(0, *self.axes)
        moved = moved.reshape(rows, matrix.shape[-1], -1)
        if self.axes and out is not None and len(out) == rows == matrix.shape[0]:
            # A new tensor of this size is fetched from the operating system, which takes longer than the product.
            return torch.bmm(matrix, moved, out=out.view(rows, matrix.shape[1], -1)), moved
        return (_product(matrix, moved) if self.axes else matrix), moved

    def vjp(self, slope, matrix, moved, wanted: bool, further: bool) -> tuple:
        rows = slope.shape[0]
        slope = slope.reshape(rows, matrix.shape[1], -1)
        own = _product(slope, moved.mT) if wanted else None
        if not further:
            return own, None
        slope = _product(matrix.mT, slope)
        if self._in_order:
            return own, slope.flatten(1)
        slope = slope.reshape(rows, *[2] * len(self.axes))
        back = [self.axes.index(d) + 1 for d in range(1, len(self.axes) + 1)]
        return own, slope.permute(0, *back).flatten(1)


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Products of matrices (N or 1, ...): `matmul` costs a few calls more, which small circuits feel."""
    return torch.bmm(left, right) if left.shape[0] == right.shape[0] else left @ right


@dataclass
class FreshQubits:
    """Qubits that no block has touched join the state: an identity (True) or |0> (False) each."""

    inputs: list[bool]

    def __call__(self, state: torch.Tensor) -> torch.Tensor:
        for has_input in self.inputs:
            state = (state.flatten(1)[..., None] * _fresh(has_input, state)).flatten(1)
        return state

    def vjp(self, slope: torch.Tensor) -> torch.Tensor:
        for has_input in reversed(self.inputs):
            fresh = _fresh(has_input, slope)
            slope = slope.unflatten(-1, (-1, len(fresh))) @ fresh
        return slope


def _fresh(has_input: bool, like: torch.Tensor) -> torch.Tensor:
    return torch.eye(2, 2 if has_input else 1, dtype=like.dtype, device=like.device).flatten()
