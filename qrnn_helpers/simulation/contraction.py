"""From the unitaries of blocks to isometries: a tensor network, contracted along one order.

Until a block touches it, a memory qubit is an identity and a readout qubit |0>, and neither need be multiplied: the
tensor starts with the first block alone and gains the axes of fresh qubits.  Which axes a block finds, and in which
order it leaves them, is worked out once; what remains is one matrix product a block, and a copy where its axes lie in
another order.

Gradients are carried as complex conjugates, dL/dx for real L: then no factor need be conjugated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from ..torch_modes import constant
from .fusion import Block, Cluster

PORTION = {True: 2**20, False: 2**27}
"""Bytes of a tensor that is worked on at one time, on a CPU (True) and elsewhere.

Twice as much, measured on two virtual cores (8 qubits, batch 32), is 1.06 times faster at most times and 1.3 times
slower at some: with several steps at a time a thread's samples are others' than in the products of one step, and
go from core to core."""

MOVE = 4
"""What it costs to write a number and read it again, in complex multiplications."""

Label = tuple[str, int]  # ("out" or "in", qubit): what an axis of two stands for


class AxisOrder:
    """An order of the axes of two that stand behind a tensor's first axis."""

    def __init__(self, axes: list[int]):
        self.axes = [1 + axis for axis in axes]
        self.back = [1 + axes.index(axis) for axis in range(len(axes))]
        self.trivial = axes == sorted(axes)

    def apply(self, x: Tensor) -> Tensor:
        return x if self.trivial else self._split(x).permute(0, *self.axes)

    def undo(self, x: Tensor) -> Tensor:
        return x if self.trivial else self._split(x).permute(0, *self.back)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *[2] * len(self.axes))


class Entries:
    """The entries of a block's unitary that are used, as a matrix: inputs that no column names are |0>."""

    blocks = 1
    multiplications = 0
    moves = 0

    def __init__(self, block: Block, rows: list[Label], columns: list[Label]):
        qubits = block.qubits[::-1]  # a unitary has its highest bit first
        axes = [(side, q) for side in ("out", "in") for q in qubits]
        used = [label for label in axes if label in rows + columns]
        entries = np.arange(4 ** len(qubits)).reshape([2] * len(axes))
        entries = entries[tuple(slice(None) if label in used else 0 for label in axes)]
        entries = entries.transpose([used.index(label) for label in rows + columns])
        self.entries = entries.reshape(-1, 2 ** len(columns))
        self.size = 2 ** len(qubits)
        self._index: dict = {}

    @property
    def numbers(self) -> int:
        """Complex numbers in the matrix."""
        return self.entries.size

    @property
    def sizes(self) -> list[int]:
        return [self.numbers]

    def index(self, device: torch.device) -> Tensor:
        if device not in self._index:
            self._index[device] = constant(self.entries.ravel(), torch.int64, device)
        return self._index[device]

    def matrix(self, unitaries: list[Tensor]) -> tuple[Tensor, None]:
        (unitary,) = unitaries
        used = unitary.flatten(1).index_select(1, self.index(unitary.device))
        return used.view(-1, *self.entries.shape), None

    def matrix_vjp(self, gradient: Tensor | None, residual: None) -> list[Tensor | None]:
        if gradient is None:
            return [None]
        whole = gradient.new_zeros(len(gradient), self.size**2)
        whole.index_copy_(1, self.index(gradient.device), gradient.flatten(1))
        return [whole.view(-1, self.size, self.size)]


class ContractionStep:
    """One matrix product: a factor meets the axes of the tensor that lie on its qubits.

    ``source`` makes the factor from blocks' unitaries, ``order`` puts the factor's axes first, ``multiplications``:
    complex ones for one tensor.
    """

    def __init__(self, source: Entries | Contraction, axes: list[int], multiplications: int):
        self.source = source
        self.order = AxisOrder(axes)
        self.multiplications = multiplications

    def operand(self, factor: Tensor, state: Tensor) -> Tensor:
        """The state as the factor's right-hand side."""
        return self.order.apply(state).reshape(len(state), factor.shape[-1], -1)

    def state_vjp(self, factor: Tensor, gradient: Tensor) -> Tensor:
        """From the gradient along the product to that along the state."""
        return self.order.undo(_product(factor.mT, gradient)).flatten(1)


class Contraction:
    """The product of blocks (or of clusters of them) as a tensor whose axes are put in a wanted order.

    ``inputs``: the qubits whose input is an axis; the others start in |0>.  ``order``: groups of labels, for each the
    axes that one axis of the result joins, outputs before inputs.  ``sizes``: numbers in the tensor after each step.
    """

    def __init__(self, parts: Sequence[Block | Cluster], inputs: Collection[int], order: list[list[Label]]):
        self.inputs = set(inputs)
        self.wanted = [label for group in order for label in group]
        self.shape = tuple(2 ** len(group) for group in order)
        self.steps: list[ContractionStep] = []
        self.sizes: list[int] = []
        labels: list[Label] = []
        for part, following in zip(parts, [*(part.qubits for part in parts[1:]), ()]):
            labels = self._add_step(part, labels, following)
        self.order = AxisOrder([labels.index(label) for label in self.wanted])

    def _add_step(self, part: Block | Cluster, labels: list[Label], following: tuple[int, ...]) -> list[Label]:
        """A step's outputs and the inputs of its fresh qubits come first, then the axes that it leaves alone."""
        touched = [("out", q) for q in part.qubits[::-1] if ("out", q) in labels]
        others = [label for label in labels if label not in touched]
        rows = self._rows(part, labels, following)
        source = _source(part, rows, [("in", q) for _, q in touched])
        multiplications = 2 ** len(rows + others + touched) if labels else 0
        axes = [labels.index(label) for label in touched + others]
        self.steps.append(ContractionStep(source, axes, multiplications))
        self.sizes.append(2 ** len(rows + others))
        return rows + others

    def _rows(self, part: Block | Cluster, labels: list[Label], following: tuple[int, ...]) -> list[Label]:
        """The next part's qubits stand first, where it needs them; the others in their final order, inputs last."""
        ahead = [("out", q) for q in following[::-1] if q in part.qubits]
        outputs = [("out", q) for q in part.qubits if q not in following]
        fresh = [("in", q) for q in part.qubits if q in self.inputs and ("out", q) not in labels]
        return ahead + sorted(outputs + fresh, key=self.wanted.index)

    @cached_property
    def blocks(self) -> int:
        return sum(step.source.blocks for step in self.steps)

    @cached_property
    def multiplications(self) -> int:
        """Complex multiplications for one tensor."""
        return sum(step.multiplications + step.source.multiplications for step in self.steps)

    @cached_property
    def moves(self) -> int:
        """Numbers written for one tensor."""
        return sum(step.source.moves for step in self.steps) + sum(self.sizes)

    @property
    def cost(self) -> int:
        """Work for one tensor, in complex multiplications."""
        return self.multiplications + MOVE * self.moves

    @cached_property
    def factor_numbers(self) -> int:
        """Complex numbers that one tensor takes in `factors`, with what `factors_vjp` needs."""
        return sum(step.source.numbers for step in self.steps)

    @property
    def numbers(self) -> int:
        """The same for `matrix`: the tensor after every step, and the result."""
        return self.factor_numbers + 1 + sum(self.sizes) + self.sizes[-1]

    def portion(self, like: Tensor) -> int:
        """How many tensors to work on at a time."""
        return max(1, PORTION[like.device.type == "cpu"] // (max(self.sizes) * like.dtype.itemsize))

    def factors(self, unitaries: list[Tensor]) -> tuple[list[Tensor], list]:
        """What the steps multiply by (N or 1, ...), from the blocks' unitaries, and what `factors_vjp` needs."""
        ends = list(accumulate((step.source.blocks for step in self.steps), initial=0))
        parts = (unitaries[first:last] for first, last in zip(ends, ends[1:]))
        pairs = [step.source.matrix(part) for step, part in zip(self.steps, parts)]
        return [factor for factor, _ in pairs], [residual for _, residual in pairs]

    def factors_vjp(self, gradients: list[Tensor | None], residuals: list) -> list[Tensor | None]:
        """Gradients along the factors -> gradients along the blocks' unitaries."""
        triples = zip(self.steps, gradients, residuals)
        return [part for step, *pair in triples for part in step.source.matrix_vjp(*pair)]

    def matrix(self, unitaries: list[Tensor]) -> tuple[Tensor, tuple]:
        """The tensors of blocks' unitaries in one go, and what `matrix_vjp` needs."""
        factors, residuals = self.factors(unitaries)
        operands: list[Tensor] = []
        return self(factors, operands=operands), (factors, residuals, operands)

    def matrix_vjp(self, gradient: Tensor | None, residual: tuple) -> list[Tensor | None]:
        if gradient is None:
            return [None] * self.blocks
        factors, residuals, operands = residual
        wanted = [len(factor) == len(gradient) for factor in factors]
        return self.factors_vjp(self.vjp(factors, operands, gradient, wanted), residuals)

    def __call__(self, factors: list[Tensor], out: Tensor | None = None, operands: list | None = None) -> Tensor:
        """The tensors (N or 1, ...).  ``out`` takes the result, ``operands`` what `vjp` will need."""
        state, *rest = factors
        last = self.steps[-1] if self.order.trivial else None  # whose product is the result
        for step, factor in zip(self.steps[1:], rest):
            operand = step.operand(factor, state)
            if operands is not None:
                operands.append(operand)
            state = _product(factor, operand, out if step is last else None)
        state = self.order.apply(state)
        if out is None or state.data_ptr() == out.data_ptr():
            return state.reshape(-1, *self.shape)
        return out.view(-1, *state.shape[1:]).copy_(state).view(-1, *self.shape)

    def in_portions(self, unitaries: list[Tensor], count: int) -> Tensor:
        """The tensors (count, ...), a few at a time, so that what they are made through fits the processor's cache."""
        factors, _ = self.factors(unitaries)
        portion = self.portion(factors[0])
        if count <= portion or any(factor.requires_grad for factor in factors):
            return self(factors).expand(count, *self.shape)
        tensors = factors[0].new_empty(count, *self.shape)
        for first in range(0, count, portion):
            here = slice(first, first + portion)
            self([factor[here] if len(factor) > 1 else factor for factor in factors], out=tensors[here])
        return tensors

    def vjp(
        self, factors: list[Tensor], operands: list[Tensor], gradient: Tensor, wanted: list[bool]
    ) -> list[Tensor | None]:
        """From the gradient along the tensors to those along the wanted factors."""
        gradients: list[Tensor | None] = [None] * len(factors)
        if not any(wanted):
            return gradients
        first = wanted.index(True)
        gradient = self.order.undo(gradient)
        for k in range(len(factors) - 1, max(0, first) - 1, -1):
            gradient = gradient.reshape(len(gradient), factors[k].shape[1], -1)
            if wanted[k]:
                gradients[k] = _product(gradient, operands[k - 1].mT) if k else gradient
            if k > first:
                gradient = self.steps[k].state_vjp(factors[k], gradient)
        return gradients


def _source(part: Block | Cluster, rows: list[Label], columns: list[Label]) -> Entries | Contraction:
    """A part's matrix: entries of a block's, or a cluster's blocks contracted."""
    if len(part.blocks) == 1:
        return Entries(part.blocks[0], rows, columns)
    return Contraction(part.blocks, [q for side, q in rows + columns if side == "in"], [rows, columns])


def _product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Products of matrices (N or 1, ...): `matmul` costs a few calls more, which small circuits feel.

    ``out`` is written to where it fits: a new large tensor is fetched from the operating system, which takes longer
    than the product.
    """
    if len(left) != len(right):
        return left @ right
    if out is None or len(out) != len(left):
        return torch.bmm(left, right)
    return torch.bmm(left, right, out=out.view(len(left), left.shape[1], -1))
