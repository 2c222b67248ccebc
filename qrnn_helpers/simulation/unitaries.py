"""The unitaries of all blocks for all rows of angles: blocks of one shape are worked out together.

For N rows of gate angles a factor is sum_c exp(-i phase[c, N]) terms[c]: two small matrix products and one sine and
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

__all__ = ["BlockUnitaries"]

Kind = tuple[int, int]  # of a factor: the size of its matrix, and how many terms it has
Piece = tuple[Factor, ...]


class FactorGroup:
    """Factors of one kind, S of them with C terms and at most L gates each.

    ``members``: for each place in a shape of block, in order, the numbers of the blocks and their factors there.
    ``sizes``: how many factors each of these places has.
    """

    def __init__(self, members: list[list[tuple[int, Factor]]]):
        numbers, factors = zip(*(pair for place in members for pair in place))
        longest = max(1, *(len(factor.gates) for factor in factors))
        spare = [longest - len(factor.gates) for factor in factors]
        self.sizes = [len(place) for place in members]
        self.owners = np.repeat(numbers, longest)
        self.gates = np.concatenate([np.pad(np.array(f.gates, int), (0, n)) for f, n in zip(factors, spare)])
        self.rates = np.stack([np.pad(-f.rates, ((0, 0), (0, n))) for f, n in zip(factors, spare)])  # (S, C, L)
        self.terms = np.stack([f.terms.reshape(len(f.terms), -1).T for f in factors])  # (S, d * d, C)

    @property
    def numbers(self) -> int:
        """Complex numbers that one row takes."""
        return len(self.terms) * (self.terms.shape[1] + 3 * self.terms.shape[2])

    def tensors(self, real: torch.dtype, dtype: torch.dtype, device: torch.device) -> GroupTensors:
        return GroupTensors(
            constant(self.owners, torch.int64, device),
            constant(self.gates, torch.int64, device),
            constant(self.rates, real, device),
            constant(self.terms, dtype, device),
        )


@dataclass(eq=False)
class GroupTensors:
    """A `FactorGroup` as tensors of one type on one device."""

    owners: Tensor
    gates: Tensor
    rates: Tensor
    terms: Tensor

    def waves(self, angles: Tensor) -> Tensor:
        """exp(-i phase) for the angles of all gates (G, N), or (blocks, G, N), as (S, C, N)."""
        angles = angles[self.gates] if angles.dim() == 2 else angles[self.owners, self.gates]
        phases = torch.bmm(self.rates, angles.view(len(self.rates), -1, angles.shape[-1]))
        return torch.complex(phases.cos(), phases.sin()).to(self.terms.dtype)

    def add_vjp(self, gradient: Tensor, waves: Tensor, gates_gradient: Tensor) -> None:
        """Add to the gradient along the angles (G, N) what goes through these factors, ``gradient`` (S, d * d, N)."""
        phases = -torch.bmm(self.terms.mT, gradient).mul_(waves).imag
        along_angles = torch.bmm(self.rates.mT.to(phases.dtype), phases).flatten(0, 1)
        gates_gradient.index_add_(0, self.gates, along_angles.to(gates_gradient.dtype))


@dataclass(eq=False)
class BlockGroup:
    """Blocks whose unitaries are products of one shape: ``kinds`` of factors, (both,) or (high, low) for each piece."""

    kinds: list[tuple[Kind, ...]]
    numbers: list[int]
    pieces: list[list[Piece]]

    def places(self) -> Iterator[tuple[Kind, list[tuple[int, Factor]]]]:
        """For each place of a factor its kind, and each block's number and factor there."""
        for k, kinds in enumerate(self.kinds):
            for side, kind in enumerate(kinds):
                yield kind, [(number, pieces[k][side]) for number, pieces in zip(self.numbers, self.pieces)]

    def products(self, sums: dict[Kind, Iterator[Tensor]]) -> Products:
        """Their unitaries, from the next of the sums of every kind, (S, d * d, N)."""
        factors = [[next(sums[kind]) for kind in kinds] for kinds in self.kinds]
        matrices = [_square(piece[0]) if len(piece) == 1 else _kron(*piece) for piece in factors]
        return Products(factors, matrices, list(accumulate(matrices, lambda product, matrix: _times(matrix, product))))


@dataclass(eq=False)
class Products:
    """The unitaries of a `BlockGroup` and what they are products of: all (S, d, d, N), factors (S, d * d, N)."""

    factors: list[list[Tensor]]
    matrices: list[Tensor]
    partial: list[Tensor]

    def unitaries(self) -> tuple[Tensor, ...]:
        """(N, d, d) for each block."""
        return self.partial[-1].permute(0, 3, 1, 2).contiguous().unbind(0)

    def vjp(self, gradients: list[Tensor | None]) -> Iterator[Tensor]:
        """Gradients along the unitaries (N, d, d) -> along the factors, place after place."""
        for factors, gradient in zip(self.factors, self._along_matrices(self._stacked(gradients))):
            yield from [gradient.flatten(1, 2)] if len(factors) == 1 else _kron_vjp(gradient, *factors)

    def _stacked(self, gradients: list[Tensor | None]) -> Tensor:
        """Gradients (N, d, d) of each block, or None for 0, as (S, d, d, N)."""
        like = self.partial[-1][0].permute(2, 0, 1)
        whole = [torch.zeros_like(like) if gradient is None else gradient for gradient in gradients]
        return torch.stack(whole).permute(0, 2, 3, 1).contiguous()

    def _along_matrices(self, gradient: Tensor) -> list[Tensor]:
        gradients = []
        for matrix, before in zip(self.matrices[:0:-1], self.partial[-2::-1]):
            gradients.append(_times(gradient, before.transpose(1, 2)))
            gradient = _times(matrix.transpose(1, 2), gradient)
        return [gradient, *reversed(gradients)]


class BlockUnitaries:
    """Compiled: gate angles (N, G) -> a list of the blocks' unitaries (N, d, d), or (1, d, d) if constant."""

    def __init__(self, blocks: list[Block]):
        self.blocks = blocks
        self.groups = _block_groups(blocks)
        places: dict[Kind, list[list[tuple[int, Factor]]]] = {}
        for group in self.groups:
            for kind, members in group.places():
                places.setdefault(kind, []).append(members)
        self.factor_groups = {kind: FactorGroup(members) for kind, members in places.items()}
        self._tensors: dict = {}

    def __call__(self, gate_angles: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Gate angles (blocks, N, G) differ from block to block."""
        return self.with_residuals(gate_angles, dtype)[0]

    def with_residuals(self, gate_angles: Tensor, dtype: torch.dtype) -> tuple[list[Tensor], Residuals]:
        """The same, and what `vjp` needs."""
        constants, groups = self._on(dtype, gate_angles.device)
        angles = gate_angles.mT.to(self._real(dtype)).contiguous()
        waves = {kind: group.waves(angles) for kind, group in groups.items()}
        sums = {
            kind: iter(torch.bmm(group.terms, waves[kind]).split(self.factor_groups[kind].sizes))
            for kind, group in groups.items()
        }
        unitaries = list(constants)
        products = [group.products(sums) for group in self.groups]
        for group, product in zip(self.groups, products):
            for number, unitary in zip(group.numbers, product.unitaries()):
                unitaries[number] = unitary
        return unitaries, Residuals(waves, products)

    def vjp(self, gradients: list[Tensor | None], residuals: Residuals, gate_angles: Tensor) -> Tensor:
        """Gradients along the unitaries (as complex conjugates) -> along the gate angles (N, G)."""
        parts: dict[Kind, list[Tensor]] = {kind: [] for kind in residuals.waves}
        for group, product in zip(self.groups, residuals.products):
            along = product.vjp([gradients[number] for number in group.numbers])
            for kind, part in zip(chain.from_iterable(group.kinds), along):
                parts[kind].append(part)
        gates_gradient = torch.zeros_like(gate_angles.T)
        for kind, waves in residuals.waves.items():
            group = self._on(waves.dtype, waves.device)[1][kind]
            group.add_vjp(torch.cat(parts.pop(kind)), waves, gates_gradient)
        return gates_gradient.T

    @cached_property
    def numbers(self) -> int:
        """Complex numbers that one row takes, with what `vjp` needs."""
        sums = sum(group.numbers for group in self.factor_groups.values())
        return sums + sum((2 * len(b.pieces) - 1) * 4 ** len(b.qubits) for b in self.blocks if not b.constant)

    @cached_property
    def multiplications(self) -> int:
        """Complex multiplications for one row, without phases, sines and cosines."""
        sums = sum(group.terms.size for group in self.factor_groups.values())
        return sums + sum(_multiplications(block) for block in self.blocks if not block.constant)

    @cached_property
    def _periodic(self) -> bool:
        families = {op.family for block in self.blocks for op in block.ops if op.family is not None}
        return all(math.isfinite(family.unit) for family in families)

    def _real(self, dtype: torch.dtype) -> torch.dtype:
        """The type of phases: double where a gate has no period, so that its angle may be large."""
        return dtype.to_real() if self._periodic else torch.float64

    def _on(self, dtype: torch.dtype, device: torch.device) -> tuple[list, dict[Kind, GroupTensors]]:
        """Constant blocks' unitaries and groups of factors, as tensors."""
        if (dtype, device) not in self._tensors:
            constants = [constant(b.matrix[None], dtype, device) if b.constant else None for b in self.blocks]
            groups = {k: g.tensors(self._real(dtype), dtype, device) for k, g in self.factor_groups.items()}
            self._tensors[dtype, device] = constants, groups
        return self._tensors[dtype, device]


@dataclass(eq=False)
class Residuals:
    """What the way back needs: the waves of each kind of factor, and the products of each group of blocks."""

    waves: dict[Kind, Tensor]
    products: list[Products]


def _block_groups(blocks: list[Block]) -> list[BlockGroup]:
    groups: dict[tuple, BlockGroup] = {}
    for number, block in enumerate(blocks):
        if not block.constant:
            pieces = [_filled(piece) for piece in block.pieces]
            kinds = [tuple(map(_kind, piece)) for piece in pieces]
            group = groups.setdefault(tuple(kinds), BlockGroup(kinds, [], []))
            group.numbers.append(number)
            group.pieces.append(pieces)
    return list(groups.values())


def _filled(piece: tuple[Factor | None, ...]) -> Piece:
    """An identity where one of two qubits has no gate, as many terms as the other has: one shape for both cases."""
    given = piece[0] or piece[-1]
    assert given is not None
    idle = Factor((), np.zeros((len(given.rates), 0)), np.zeros_like(given.terms))
    idle.terms[0] = np.eye(idle.terms.shape[1])
    return tuple(factor or idle for factor in piece)


def _kind(factor: Factor) -> Kind:
    return factor.terms.shape[1], len(factor.rates)


def _multiplications(block: Block) -> int:
    """Of a block's factors with each other: Kronecker products, and products of matrices."""
    numbers = 4 ** len(block.qubits)
    pairs = sum(len(piece) == 2 for piece in block.pieces)
    return numbers * pairs + (len(block.pieces) - 1) * round(numbers**1.5)


def _square(entries: Tensor) -> Tensor:
    """(S, d * d, N) -> (S, d, d, N)."""
    size = round(entries.shape[1] ** 0.5)
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
    product = _square(high)[:, :, None, :, None] * _square(low)[:, None, :, None, :]
    return product.flatten(3, 4).flatten(1, 2)


def _kron_vjp(gradient: Tensor, high: Tensor, low: Tensor) -> list[Tensor]:
    """Gradients along the factors (S, 4, N) of a Kronecker product, from that along the product (S, 4, 4, N)."""
    split = gradient.unflatten(2, (2, 2)).unflatten(1, (2, 2))  # (S, high, low, high, low, N)
    along_high = _sum_pair(_sum_pair(split * _square(low)[:, None, :, None, :], 2), 3)
    along_low = _sum_pair(_sum_pair(split * _square(high)[:, :, None, :, None], 1), 2)
    return [along_high.flatten(1, 2), along_low.flatten(1, 2)]


def _sum_pair(x: Tensor, dim: int) -> Tensor:
    """The sum over an axis of two, a tenth of the time that `sum` takes."""
    return torch.add(*x.unbind(dim))
