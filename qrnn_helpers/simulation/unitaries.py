"""The unitaries of all blocks for all vectors of angles: blocks of one shape are worked out together.

For N vectors of gate angles a factor is sum_c exp(-i phase[c, N]) terms[c]: two small matrix products and one sine and
cosine for all factors that have equally many terms.  Blocks whose products run alike are then multiplied together,
so that the number of calls does not grow with the number of qubits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain

import numpy as np
import torch
from torch import Tensor

from ..torch_modes import constant
from .fusion import Block, Factor

Kind = tuple[int, int]
"""Of a factor: the size d of its matrix, and how many terms C it has."""

Place = list[tuple[int, Factor]]
"""Of the blocks of one shape: their numbers, and the factor that each has at one place of the product."""


class FactorGroup:
    """Factors of one kind, S of them, as tensors: waves go through their terms together."""

    def __init__(self, places: list[Place], real: torch.dtype, dtype: torch.dtype, device: torch.device):
        numbers, factors = zip(*chain.from_iterable(places))
        longest = max(1, *(len(factor.gates) for factor in factors))
        gates = [_padded(np.array(factor.gates, int), longest) for factor in factors]
        rates = [_padded(-factor.rates, longest) for factor in factors]
        terms = [factor.terms.reshape(len(factor.terms), -1).T for factor in factors]
        self.sizes = [len(place) for place in places]
        self.owners = constant(np.repeat(numbers, longest), torch.int64, device)
        self.gates = constant(np.concatenate(gates), torch.int64, device)
        self.rates = constant(np.stack(rates), real, device)  # (S, C, gates)
        self.terms = constant(np.stack(terms), dtype, device)  # (S, d * d, C)

    def waves(self, angles: Tensor) -> Tensor:
        """exp(-i phase) for the angles of all gates (G, N), or (blocks, G, N), as (S, C, N)."""
        angles = angles[self.gates] if angles.dim() == 2 else angles[self.owners, self.gates]
        phases = torch.bmm(self.rates, angles.view(len(self.rates), -1, angles.shape[-1]))
        return torch.complex(phases.cos(), phases.sin()).to(self.terms.dtype)

    def sums(self, waves: Tensor) -> Iterator[Tensor]:
        """The factors, place after place: (S', d * d, N) each."""
        return iter(torch.bmm(self.terms, waves).split(self.sizes))

    def add_vjp(self, gradient: Tensor, waves: Tensor, gates_gradient: Tensor) -> None:
        """Add to the gradient along the angles (G, N) what goes through these factors, ``gradient`` (S, d * d, N)."""
        phases = -torch.bmm(self.terms.mT, gradient).mul_(waves).imag
        angles = torch.bmm(self.rates.mT.to(phases.dtype), phases).flatten(0, 1)
        gates_gradient.index_add_(0, self.gates, angles.to(gates_gradient.dtype))


class BlockProducts:
    """The unitaries of the blocks of one shape and what they are products of: all (S, d, d, N)."""

    def __init__(self, pieces: list[list[Tensor]]):
        self.pieces = pieces  # (both,) or (high, low), factors (S, d * d, N)
        self.matrices = [_square(piece[0]) if len(piece) == 1 else _kron(*piece) for piece in pieces]
        self.partial = list(accumulate(self.matrices, lambda product, matrix: _times(matrix, product)))

    def unitaries(self) -> tuple[Tensor, ...]:
        """(N, d, d) for each block."""
        return self.partial[-1].permute(0, 3, 1, 2).contiguous().unbind(0)

    def vjp(self, gradients: list[Tensor | None]) -> Iterator[Tensor]:
        """Gradients along the unitaries (N, d, d) -> along the factors, place after place."""
        for piece, gradient in zip(self.pieces, self._along_matrices(self._stacked(gradients))):
            yield from [gradient.flatten(1, 2)] if len(piece) == 1 else _kron_vjp(gradient, *piece)

    def _stacked(self, gradients: list[Tensor | None]) -> Tensor:
        """Gradients of each block, None for 0, as (S, d, d, N)."""
        like = self.partial[-1][0].permute(2, 0, 1)
        whole = [torch.zeros_like(like) if gradient is None else gradient for gradient in gradients]
        return torch.stack(whole).permute(0, 2, 3, 1).contiguous()

    def _along_matrices(self, gradient: Tensor) -> list[Tensor]:
        gradients = []
        for matrix, before in zip(self.matrices[:0:-1], self.partial[-2::-1]):
            gradients.append(_times(gradient, before.transpose(1, 2)))
            gradient = _times(matrix.transpose(1, 2), gradient)
        return [gradient, *reversed(gradients)]


@dataclass(eq=False)
class Residuals:
    """What the way back needs: the waves of each kind of factor, and the products of each shape of block."""

    waves: dict[Kind, Tensor]
    products: list[BlockProducts]


class BlockUnitaries:
    """Compiled: gate angles (N, G) -> a list of the blocks' unitaries (N, d, d), or (1, d, d) if constant."""

    def __init__(self, blocks: list[Block]):
        self.blocks = blocks
        self.varying = [block for block in blocks if not block.constant]
        self.shapes: dict[tuple, list[int]] = {}  # kinds of factors, piece by piece, and the blocks that have them
        for number, block in enumerate(blocks):
            if not block.constant:
                kinds = tuple(tuple(map(_kind, piece)) for piece in _filled(block))
                self.shapes.setdefault(kinds, []).append(number)
        self.places: dict[Kind, list[Place]] = {}
        for numbers in self.shapes.values():
            for place in zip(*(_placed(number, blocks[number]) for number in numbers)):
                self.places.setdefault(_kind(place[0][1]), []).append(list(place))
        self._tensors: dict = {}

    def __call__(self, gate_angles: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Gate angles (blocks, N, G) differ from block to block."""
        return self.with_residuals(gate_angles, dtype)[0]

    def with_residuals(self, gate_angles: Tensor, dtype: torch.dtype) -> tuple[list[Tensor], Residuals]:
        """The same, and what `vjp` needs."""
        constants, groups = self._on(dtype, gate_angles.device)
        angles = gate_angles.mT.to(self._real(dtype)).contiguous()
        waves = {kind: group.waves(angles) for kind, group in groups.items()}
        sums = {kind: group.sums(waves[kind]) for kind, group in groups.items()}
        products = [BlockProducts([[next(sums[k]) for k in kinds] for kinds in shape]) for shape in self.shapes]
        unitaries = list(constants)
        for numbers, product in zip(self.shapes.values(), products):
            for number, unitary in zip(numbers, product.unitaries()):
                unitaries[number] = unitary
        return unitaries, Residuals(waves, products)

    def vjp(self, gradients: list[Tensor | None], residuals: Residuals, gate_angles: Tensor) -> Tensor:
        """Gradients along the unitaries (as complex conjugates) -> along the gate angles (N, G)."""
        parts: dict[Kind, list[Tensor]] = {kind: [] for kind in residuals.waves}
        for (shape, numbers), product in zip(self.shapes.items(), residuals.products):
            along = product.vjp([gradients[number] for number in numbers])
            for kind, part in zip(chain.from_iterable(shape), along):
                parts[kind].append(part)
        gates_gradient = torch.zeros_like(gate_angles.T)
        for kind, waves in residuals.waves.items():
            group = self._on(waves.dtype, waves.device)[1][kind]
            group.add_vjp(torch.cat(parts.pop(kind)), waves, gates_gradient)
        return gates_gradient.T

    @cached_property
    def numbers(self) -> int:
        """Complex numbers that one vector takes, with what `vjp` needs."""
        factors = sum(count * (size**2 + 3 * terms) for (size, terms), count in self._counts())
        return factors + sum((2 * len(block.pieces) - 1) * 4 ** len(block.qubits) for block in self.varying)

    @cached_property
    def multiplications(self) -> int:
        """Complex multiplications for one vector, without phases, sines and cosines."""
        sums = sum(count * size**2 * terms for (size, terms), count in self._counts())
        return sums + sum(_multiplications(block) for block in self.varying)

    def _counts(self) -> list[tuple[Kind, int]]:
        return [(kind, sum(map(len, places))) for kind, places in self.places.items()]

    @cached_property
    def _periodic(self) -> bool:
        families = {op.family for block in self.varying for op in block.ops if op.family is not None}
        return all(math.isfinite(family.unit) for family in families)

    def _real(self, dtype: torch.dtype) -> torch.dtype:
        """The type of phases: double where a gate has no period, so that its angle may be large."""
        return dtype.to_real() if self._periodic else torch.float64

    def _on(self, dtype: torch.dtype, device: torch.device) -> tuple[list, dict[Kind, FactorGroup]]:
        """Constant blocks' unitaries and groups of factors, as tensors."""
        if (dtype, device) not in self._tensors:
            constants = [constant(b.matrix[None], dtype, device) if b.constant else None for b in self.blocks]
            groups = {k: FactorGroup(places, self._real(dtype), dtype, device) for k, places in self.places.items()}
            self._tensors[dtype, device] = constants, groups
        return self._tensors[dtype, device]


def _padded(x: np.ndarray, length: int) -> np.ndarray:
    """Zeros behind the last axis."""
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, length - x.shape[-1])])


def _placed(number: int, block: Block) -> Place:
    """A block's factors in order, each with the block's number."""
    return [(number, factor) for piece in _filled(block) for factor in piece]


def _filled(block: Block) -> list[tuple[Factor, ...]]:
    """An identity where one of two qubits has no gate, as many terms as the other has: one shape for both cases."""
    return [tuple(factor or _idle(piece[0] or piece[1]) for factor in piece) for piece in block.pieces]


def _idle(like: Factor | None) -> Factor:
    assert like is not None
    terms = np.zeros_like(like.terms)
    terms[0] = np.eye(2)
    return Factor((), np.zeros((len(terms), 0)), terms)


def _kind(factor: Factor) -> Kind:
    return factor.terms.shape[1], len(factor.rates)


def _multiplications(block: Block) -> int:
    """Of a block's factors with each other: Kronecker products, and products of matrices."""
    numbers = 4 ** len(block.qubits)
    pairs = sum(len(piece) == 2 for piece in block.pieces)
    return numbers * pairs + (len(block.pieces) - 1) * round(numbers**1.5)


def _square(entries: Tensor) -> Tensor:
    """(S, d * d, N) -> (S, d, d, N)."""
    size = math.isqrt(entries.shape[1])
    return entries.unflatten(1, (size, size))


def _times(left: Tensor, right: Tensor) -> Tensor:
    """Products of matrices (S, d, d, N), all N at a time: for 4 x 4 several times faster than one after another."""
    columns = left.unsqueeze(3).unbind(2)
    rows = right.unsqueeze(1).unbind(2)
    product = columns[0] * rows[0]
    for column, row in zip(columns[1:], rows[1:]):
        product.addcmul_(column, row)
    return product


def _kron(high: Tensor, low: Tensor) -> Tensor:
    """Kronecker products of 2 x 2 matrices (S, 4, N), as (S, 4, 4, N)."""
    return (_beside_low(high) * _beside_high(low)).flatten(3, 4).flatten(1, 2)


def _kron_vjp(gradient: Tensor, high: Tensor, low: Tensor) -> list[Tensor]:
    """Gradients along the factors (S, 4, N) of a Kronecker product, from that along the product (S, 4, 4, N)."""
    split = gradient.unflatten(2, (2, 2)).unflatten(1, (2, 2))  # (S, high, low, high, low, N)
    along_high = _sum_pair(_sum_pair(split * _beside_high(low), 2), 3)
    along_low = _sum_pair(_sum_pair(split * _beside_low(high), 1), 2)
    return [along_high.flatten(1, 2), along_low.flatten(1, 2)]


def _beside_low(high: Tensor) -> Tensor:
    return _square(high)[:, :, None, :, None]


def _beside_high(low: Tensor) -> Tensor:
    return _square(low)[:, None, :, None, :]


def _sum_pair(x: Tensor, dim: int) -> Tensor:
    """The sum over an axis of two, a tenth of the time that `sum` takes."""
    return torch.add(*x.unbind(dim))
