"""The matrices of all blocks for all rows of angles: blocks of one shape are worked out together.

For N rows of gate angles a factor is sum_c exp(-i phase[c, N]) terms[c]: two small matrix products and one sine and
cosine for all factors that have equally many terms.  Blocks whose products run alike are then multiplied together,
so that the number of calls does not grow with the number of qubits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch

from ..torch_modes import constant
from .fusion import Block, Factor

__all__ = ["BlockUnitaries"]


@dataclass(eq=False)
class FactorGroup:
    """Factors with matrices of one size and equally many terms, S of them."""

    owners: np.ndarray
    """(S, L): the number of the block that each is part of"""
    gates: np.ndarray
    """(S, L): the occurrences in each, filled up with 0 where the rates are 0"""
    rates: np.ndarray
    """(S, C, L), with the sign of exp(-i ...)"""
    terms: np.ndarray
    """(S, d * d, C)"""
    sizes: list[int]
    """How many of them are used at one place of one shape of block, in order"""


class BlockUnitaries:
    """Compiled: gate angles (N, G) -> a list of the blocks' matrices (N, d, d), or (1, d, d) if constant."""

    def __init__(self, blocks: list[Block]):
        self.blocks, shapes = blocks, {}
        for number, block in enumerate(blocks):
            if not block.constant:
                pieces = [_filled(piece) for piece in block.pieces]
                shapes.setdefault(tuple(tuple(map(_kind, piece)) for piece in pieces), []).append((number, pieces))
        self._shapes = {shape: [number for number, _ in members] for shape, members in shapes.items()}
        factors: dict[tuple[int, int], list[list[tuple[int, Factor]]]] = {}
        for shape, members in shapes.items():
            for k, kinds in enumerate(shape):
                for side, kind in enumerate(kinds):
                    factors.setdefault(kind, []).append([(number, pieces[k][side]) for number, pieces in members])
        self._alike = {kind: _alike(lists) for kind, lists in factors.items()}
        families = {op.family for block in blocks for op in block.ops if op.family is not None}
        self._periodic = all(math.isfinite(family.unit) for family in families)
        self._kept: dict = {}

    def __call__(self, gate_angles: torch.Tensor, dtype: torch.dtype, tape: list | None = None) -> list[torch.Tensor]:
        """Gate angles (blocks, N, G) differ from block to block; ``tape`` takes what `vjp` will need."""
        constants, alike = self._tensors(dtype, gate_angles.device)
        by_gate = gate_angles.mT.to(self._real(dtype)).contiguous()
        waves = {
            kind: _waves(by_gate[gates] if by_gate.dim() == 2 else by_gate[owners, gates], rates).to(dtype)
            for kind, (owners, gates, rates, _) in alike.items()
        }
        sums = {kind: torch.bmm(alike[kind][3], wave).split(self._alike[kind].sizes) for kind, wave in waves.items()}
        found, rest, met = list(constants), {kind: iter(parts) for kind, parts in sums.items()}, []
        for shape, numbers in self._shapes.items():
            pieces = [[next(rest[kind]) for kind in kinds] for kinds in shape]
            matrices = [_square(piece[0]) if len(piece) == 1 else _kron(*piece) for piece in pieces]
            products = list(accumulate(matrices, lambda product, matrix: _times(matrix, product)))
            met.append((pieces, matrices, products))
            for number, matrix in zip(numbers, products[-1].permute(0, 3, 1, 2).contiguous().unbind(0)):
                found[number] = matrix
        if tape is not None:
            tape += [waves, met]
        return found

    def vjp(self, slopes: list[torch.Tensor | None], tape: list, gate_angles: torch.Tensor) -> torch.Tensor:
        """Slopes along the blocks' matrices (as complex conjugates) -> slopes along the gate angles (N, G)."""
        waves, met = tape
        by_kind: dict[tuple[int, int], list[torch.Tensor]] = {kind: [] for kind in waves}
        for (shape, numbers), (pieces, matrices, products) in zip(self._shapes.items(), met):
            given, like = [slopes[number] for number in numbers], products[-1][0].permute(2, 0, 1)
            slope = torch.stack([torch.zeros_like(like) if one is None else one for one in given])
            slope, found = slope.permute(0, 2, 3, 1).contiguous(), []
            for matrix, before in zip(reversed(matrices), [*products[-2::-1], None]):
                found.append(slope if before is None else _times(slope, before.transpose(1, 2)))
                slope = None if before is None else _times(matrix.transpose(1, 2), slope)
            for kinds, piece, own in zip(shape, pieces, reversed(found)):
                parts = [own.flatten(1, 2)] if len(kinds) == 1 else _kron_slopes(own, *piece)
                for kind, part in zip(kinds, parts):
                    by_kind[kind].append(part)
        found = torch.zeros_like(gate_angles.T)
        for kind, wave in waves.items():
            _, places, rates, terms = self._tensors(wave.dtype, wave.device)[1][kind]
            phases = -(torch.bmm(terms.mT, torch.cat(by_kind[kind])) * wave).imag
            found.index_add_(0, places, torch.bmm(rates.mT.to(phases.dtype), phases).flatten(0, 1).to(found.dtype))
        return found.T

    @cached_property
    def numbers(self) -> int:
        """Complex numbers that one row takes, with what `vjp` needs."""
        sums = sum(len(a.terms) * (a.terms.shape[1] + 3 * a.terms.shape[2]) for a in self._alike.values())
        products = sum((2 * len(b.pieces) - 1) * 4 ** len(b.qubits) for b in self.blocks if not b.constant)
        return sums + products

    @cached_property
    def products(self) -> int:
        """Complex multiplications for one row, without phases, sines and cosines."""
        sums = sum(a.terms.size for a in self._alike.values())
        pieces = [(4 ** len(b.qubits), [len(piece) for piece in b.pieces]) for b in self.blocks if not b.constant]
        return sums + sum(size * lengths.count(2) + (len(lengths) - 1) * round(size**1.5) for size, lengths in pieces)

    def _real(self, dtype: torch.dtype) -> torch.dtype:
        """The type of phases: double where a gate has no period, so that its angle may be large."""
        return dtype.to_real() if self._periodic else torch.float64

    def _tensors(self, dtype: torch.dtype, device) -> tuple[list, dict]:
        """Constant blocks and kinds of factors, as tensors."""
        key = (dtype, device)
        if key not in self._kept:
            real = self._real(dtype)
            constants = [b.constant and constant(b.matrix[None], dtype, device) for b in self.blocks]
            alike = {
                kind: (
                    constant(a.owners.ravel(), torch.int64, device),
                    constant(a.gates.ravel(), torch.int64, device),
                    constant(a.rates, real, device),
                    constant(a.terms, dtype, device),
                )
                for kind, a in self._alike.items()
            }
            self._kept[key] = constants, alike
        return self._kept[key]


def _filled(piece: tuple[Factor | None, ...]) -> tuple[Factor, ...]:
    """An identity where one of two qubits has no gate, as many terms as the other has: one shape for both cases."""
    if None not in piece:
        return piece
    given = piece[0] or piece[1]
    idle = Factor((), np.zeros((len(given.rates), 0)), np.zeros_like(given.terms))
    idle.terms[0] = np.eye(2)
    return tuple(factor or idle for factor in piece)


def _kind(factor: Factor) -> tuple[int, int]:
    return factor.terms.shape[1], len(factor.rates)


def _alike(lists: list[list[tuple[int, Factor]]]) -> FactorGroup:
    """All factors of a kind with the numbers of their blocks, list after list."""
    numbers, factors = zip(*(pair for members in lists for pair in members))
    longest = max(1, *(len(f.gates) for f in factors))
    gates = np.array([[*f.gates, *[0] * (longest - len(f.gates))] for f in factors])
    owners = np.repeat(numbers, longest).reshape(gates.shape)
    rates = np.stack([np.pad(-f.rates, ((0, 0), (0, longest - len(f.gates)))) for f in factors])
    terms = np.stack([f.terms.reshape(len(f.terms), -1).T for f in factors])
    return FactorGroup(owners, gates, rates, terms, [len(members) for members in lists])


def _waves(angles: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
    """exp(i rates[c] theta) for angles (S * L, N), as (S, C, N)."""
    phases = torch.bmm(rates, angles.view(rates.shape[0], -1, angles.shape[-1]))
    return torch.complex(phases.cos(), phases.sin())


def _square(entries: torch.Tensor) -> torch.Tensor:
    """(S, d * d, N) -> (S, d, d, N)."""
    size = round(entries.shape[1] ** 0.5)
    return entries.unflatten(1, (size, size))


def _times(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Products of matrices (S, d, d, N), all N at a time: for 4 x 4 several times faster than one after another."""
    columns, rows = left.unsqueeze(3).unbind(2), right.unsqueeze(1).unbind(2)
    product = columns[0] * rows[0]
    for column, row in zip(columns[1:], rows[1:]):
        product.addcmul_(column, row)
    return product


def _kron(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Kronecker products of 2 x 2 matrices (S, 4, N), as (S, 4, 4, N)."""
    high, low = (_square(matrix) for matrix in (high, low))
    return (high[:, :, None, :, None] * low[:, None, :, None, :]).flatten(3, 4).flatten(1, 2)


def _kron_slopes(slope: torch.Tensor, high: torch.Tensor, low: torch.Tensor) -> list[torch.Tensor]:
    """Slopes along the factors (S, 4, N) of a Kronecker product, from that along the product (S, 4, 4, N)."""
    split = slope.unflatten(2, (2, 2)).unflatten(1, (2, 2))  # (S, high, low, high, low, N)
    along_high = _both(_both(split * _square(low)[:, None, :, None, :], 2), 3)
    along_low = _both(_both(split * _square(high)[:, :, None, :, None], 1), 2)
    return [along_high.flatten(1, 2), along_low.flatten(1, 2)]


def _both(x: torch.Tensor, dim: int) -> torch.Tensor:
    """The sum over an axis of two, a tenth of the time that `sum` takes."""
    return torch.add(*x.unbind(dim))
