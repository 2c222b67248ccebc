"""Fewer, larger matrices: neighbouring gates on the same one or two qubits become one block.

A product of gates on few qubits is again a short sum of waves,

    U_L(theta_L) ... U_1(theta_1) = sum_c exp(-i sum_l lambda[c, l] theta_l) P_c,

where c runs over one eigenvalue of each gate; products of projectors that vanish are left out.  A `Factor` is such
a sum, and a `Block` the product of a few factors, worked out once when a step circuit is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import zip_longest

import numpy as np

from ..circuits import Family, Op

__all__ = ["Block", "Cluster", "Factor", "clusters", "fuse"]


WAVES = 16
"""Terms that a factor may have: three gates with two eigenvalues each have 8."""


@dataclass(eq=False)
class Factor:
    """sum_c exp(-i sum_l rates[c, l] theta[gates[l]]) terms[c] with rates (C, L) and terms (C, d, d)."""

    gates: tuple[int, ...]
    rates: np.ndarray
    terms: np.ndarray

    def then(self, other: Factor) -> Factor:
        """``other`` after this one, as one sum; pairs whose matrices multiply to zero are left out."""
        products = np.einsum("kij,cjm->ckim", other.terms, self.terms)
        c, k = np.nonzero(np.abs(products).max((2, 3)) > 1e-12)
        rates = np.hstack([self.rates[c], other.rates[k]])
        return Factor(self.gates + other.gates, rates, products[c, k])


@dataclass(eq=False)
class Block:
    """Ops on few qubits in order, applied as one matrix."""

    qubits: tuple[int, ...]
    ops: list[Op]

    @property
    def constant(self) -> bool:
        return all(op.family is None for op in self.ops)

    @cached_property
    def pieces(self) -> list[tuple[Factor | None, ...]]:
        """What the matrix is a product of, first to last: (factor,) on all qubits, or (high, low) for one on each."""
        if len(self.qubits) != 2:
            return [(factor,) for factor in _merged(_factor(op, self.qubits) for op in self.ops)]
        pieces: list[tuple[Factor | None, ...]] = []
        waiting: dict[int, list[Factor]] = {q: [] for q in self.qubits}
        for op in self.ops:
            if len(op.qubits) == 1 and (op.family is not None or waiting[op.qubits[0]]):
                waiting[op.qubits[0]].append(_factor(op, op.qubits))
                continue
            pieces += _pairs(waiting, self.qubits) if len(op.qubits) == 2 else []
            before = [piece[0] for piece in pieces[-1:] if len(piece) == 1]
            pieces = pieces[: len(pieces) - len(before)]
            pieces += [(factor,) for factor in _merged([*before, _factor(op, self.qubits)])]
        return pieces + _pairs(waiting, self.qubits)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The matrix of a block of constant gates."""
        assert self.constant
        product = np.eye(1)
        for piece in self.pieces:
            ones = [np.eye(2) if factor is None else factor.terms.sum(0) for factor in piece]
            whole = ones[0] if len(ones) == 1 else np.kron(*ones)
            product = whole @ product if product.shape == whole.shape else whole
        return product


@dataclass(eq=False)
class Cluster:
    """Blocks in order on few qubits; a wider op makes one of its own."""

    qubits: tuple[int, ...]
    blocks: list[Block]


def fuse(ops: list[Op]) -> list[Block]:
    """Merge neighbours into blocks of one or two qubits; the product stays the same."""
    runs = merge([(op.qubits, [op]) for op in ops], 1)
    return [Block(_first_met(qubits, inner), inner) for qubits, inner in merge(runs, 2)]


def clusters(blocks: list[Block], width: int) -> list[Cluster]:
    """The same product as clusters on at most ``width`` qubits, to be multiplied out before they meet the rest."""
    return [Cluster(qubits, inner) for qubits, inner in merge([(block.qubits, [block]) for block in blocks], width)]


def _first_met(qubits: tuple[int, ...], ops: list[Op]) -> tuple[int, ...]:
    """Two qubits in the order in which gates reach them: blocks along a chain then look alike."""
    met = dict.fromkeys(q for op in ops for q in reversed(op.qubits))
    return tuple(met) if len(qubits) == 2 else qubits


def merge(parts: list[tuple[tuple[int, ...], list]], width: int) -> list[tuple[tuple[int, ...], list]]:
    """Lists of things on qubits, in order, put together where ``width`` qubits are enough."""
    groups: dict[int, tuple[tuple[int, ...], list]] = {}  # in order; numbers only grow
    last: dict[int, int] = {}  # the last group on each qubit
    for number, (qubits, things) in enumerate(parts):
        touching = sorted({last[q] for q in qubits if q in last})
        # A group that is the last on all its qubits may move to the end and join there.
        union, joined = set(qubits), []
        for i in sorted(touching, key=lambda i: len(groups[i][0])):
            free = all(last[q] == i for q in groups[i][0])
            if free and len(union | set(groups[i][0])) <= width:
                union |= set(groups[i][0])
                joined.append(i)
        if not joined and touching and len(union | set(groups[touching[-1]][0])) <= width:
            number, joined = touching[-1], touching[-1:]
            union |= set(groups[number][0])
            last |= dict.fromkeys(qubits, number)
        else:
            last |= dict.fromkeys(union, number)
        inner = [thing for i in sorted(joined) for thing in groups.pop(i)[1]] + things
        groups[number] = (qubits if len(qubits) > width else tuple(sorted(union)), inner)
    return [groups[number] for number in sorted(groups)]


def _merged(factors: Iterable[Factor]) -> list[Factor]:
    """As few factors as WAVES allows, their product the same."""
    merged: list[Factor] = []
    for factor in factors:
        both = merged[-1].then(factor) if merged else None
        if both is not None and len(both.rates) <= WAVES:
            merged[-1] = both
        else:
            merged.append(factor)
    return merged


def _pairs(waiting: dict[int, list[Factor]], qubits: tuple[int, ...]) -> list[tuple[Factor | None, ...]]:
    """What waits on each of two qubits, as pairs (high, low); nothing waits afterwards."""
    low, high = (_merged(waiting[q]) for q in qubits)
    waiting.update({q: [] for q in qubits})
    return list(zip_longest(high, low))


def _factor(op: Op, qubits: tuple[int, ...]) -> Factor:
    """One op as a sum on these qubits."""
    places = tuple(qubits.index(q) for q in op.qubits)
    if op.family is None:
        return Factor((), np.zeros((1, 0)), _spread(op.matrix[None], places, op.bits, len(qubits), None))
    rates, terms = _wave(op.family, places, op.bits, len(qubits))
    return Factor((op.occurrence,), rates, terms)


@lru_cache(maxsize=4096)
def _wave(family: Family, places: tuple[int, ...], bits: tuple[int, ...], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates (C, 1) and terms (C, 2**width, 2**width) of a gate among ``width`` qubits; a control that is not met
    idles with the eigenvalue 0."""
    family = family.controlled if bits else family
    idle = family.eigenvalues.tolist().index(0.0) if bits else None
    return family.eigenvalues[:, None], _spread(family.terms, places, bits, width, idle)


def _spread(terms: np.ndarray, places: tuple[int, ...], bits: tuple[int, ...], width: int, idle: int | None):
    """BlockUnitaries (C, d, d) on some of ``width`` qubits as matrices on all; term ``idle`` (all, if None) is the
    identity where the controls ``bits``, first of the ``places``, are not met."""
    size, targets = 2**width, places[len(bits) :]
    found = np.zeros((len(terms), size, size), dtype=complex)
    for column in range(size):
        if any((column >> place & 1) != bit for place, bit in zip(places, bits)):
            found[slice(None) if idle is None else idle, column, column] = 1
            continue
        rest = column & ~sum(1 << place for place in targets)
        source = sum((column >> place & 1) << k for k, place in enumerate(targets))
        for row in range(2 ** len(targets)):
            found[:, rest | sum((row >> k & 1) << place for k, place in enumerate(targets)), column] = terms[
                :, row, source
            ]
    return found
