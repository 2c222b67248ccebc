"""Fewer, larger matrices: neighbouring gates on the same one or two qubits become one block.

A product of gates on few qubits is again a short sum of waves,

    U_L(theta_L) ... U_1(theta_1) = sum_c exp(-i sum_l lambda[c, l] theta_l) P_c,

where c runs over one eigenvalue of each gate; products of projectors that vanish are left out.  A `Factor` is such
a sum, and a `Block` the product of a few factors, worked out once when a step circuit is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import zip_longest

import numpy as np

from ..circuits import Family, Op

WAVES = 16
"""Terms that a factor may have: three gates with two eigenvalues each have 8."""

Qubits = tuple[int, ...]


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


Piece = tuple[Factor | None, ...]
"""A part of a product: (factor,) on all qubits, or (high, low) for one on each of two; None is the identity."""


@dataclass(eq=False)
class Block:
    """Ops on few qubits in order, applied as one matrix."""

    qubits: Qubits
    ops: list[Op]

    @property
    def blocks(self) -> list[Block]:
        return [self]

    @cached_property
    def occurrences(self) -> list[int]:
        """The gates with an angle."""
        return [op.occurrence for op in self.ops if op.family is not None]

    @property
    def constant(self) -> bool:
        return not self.occurrences

    @cached_property
    def pieces(self) -> list[Piece]:
        """What the matrix is a product of, first to last."""
        if len(self.qubits) != 2:
            return [(factor,) for factor in _merged(factor_of(op, self.qubits) for op in self.ops)]
        pieces = _Pieces(self.qubits)
        for op in self.ops:
            pieces.add(op)
        pieces.flush()
        return pieces.done

    def placed_factors(self) -> Iterator[tuple[Qubits, Factor]]:
        """All factors, first to last, and the qubits that each is on."""
        single = [(q,) for q in self.qubits[::-1]]
        for piece in self.pieces:
            places = [self.qubits] if len(piece) == 1 else single
            yield from ((qubits, factor) for qubits, factor in zip(places, piece) if factor is not None)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The matrix of a block of constant gates, none of which waits for others on its qubit alone."""
        product = np.eye(2 ** len(self.qubits))
        for _, factor in self.placed_factors():
            product = factor.terms.sum(0) @ product
        return product


class _Pieces:
    """The product of a block on two qubits, put together op by op."""

    def __init__(self, qubits: Qubits):
        self.qubits = qubits
        self.done: list[Piece] = []
        self.waiting: dict[int, list[Factor]] = {q: [] for q in qubits}

    def add(self, op: Op) -> None:
        """A gate on one qubit waits for others there; constant ones go where both qubits are multiplied anyway."""
        qubit, *other = op.qubits
        if not other and (op.family is not None or self.waiting[qubit]):
            self.waiting[qubit].append(factor_of(op, op.qubits))
            return
        if other:
            self.flush()
        factors = [factor_of(op, self.qubits)]
        if self.done and len(self.done[-1]) == 1:
            factors[:0] = filter(None, self.done.pop())
        self.done += [(factor,) for factor in _merged(factors)]

    def flush(self) -> None:
        """What waits on each qubit, as pairs (high, low); nothing waits afterwards."""
        low, high = (_merged(self.waiting[q]) for q in self.qubits)
        self.done += zip_longest(high, low)
        self.waiting = {q: [] for q in self.qubits}


@dataclass(eq=False)
class Cluster:
    """Blocks in order on few qubits; a wider op makes one of its own."""

    qubits: Qubits
    blocks: list[Block]


def fuse(ops: list[Op]) -> list[Block]:
    """Merge neighbours into blocks of one or two qubits; the product stays the same."""
    runs = merge([(op.qubits, [op]) for op in ops], 1)
    return [Block(_as_reached(qubits, ops), ops) for qubits, ops in merge(runs, 2)]


def clusters(blocks: list[Block], width: int) -> list[Cluster]:
    """The same product as clusters on at most ``width`` qubits, to be multiplied out before they meet the rest."""
    return [Cluster(*group) for group in merge([(block.qubits, [block]) for block in blocks], width)]


def _as_reached(qubits: Qubits, ops: list[Op]) -> Qubits:
    """Two qubits in the order in which gates reach them: blocks along a chain then look alike."""
    reached = dict.fromkeys(q for op in ops for q in reversed(op.qubits))
    return tuple(reached) if len(qubits) == 2 else qubits


def merge(parts: list[tuple[Qubits, list]], width: int) -> list[tuple[Qubits, list]]:
    """Lists of things on qubits, in order, put together where ``width`` qubits are enough."""
    groups: dict[int, tuple[Qubits, list]] = {}  # in order; numbers only grow
    last: dict[int, int] = {}  # the last group on each qubit
    for number, (qubits, things) in enumerate(parts):
        touching = sorted({last[q] for q in qubits if q in last})
        joined = _movable(qubits, touching, groups, last, width)
        if not joined and touching and len({*qubits, *groups[touching[-1]][0]}) <= width:
            number = touching[-1]
            joined = [number]
        union = set(qubits).union(*(groups[i][0] for i in joined))
        # A group that stays where it is leaves its further qubits to others after it.
        last |= dict.fromkeys(qubits if number in joined else union, number)
        merged = [thing for i in joined for thing in groups.pop(i)[1]] + things
        groups[number] = (qubits if len(qubits) > width else tuple(sorted(union)), merged)
    return [groups[number] for number in sorted(groups)]


def _movable(qubits: Qubits, touching: list[int], groups: dict, last: dict[int, int], width: int) -> list[int]:
    """Groups that may move to the end and be joined there: each is the last on all its qubits.  Small ones first."""
    union = set(qubits)
    joined = []
    for number in sorted(touching, key=lambda number: len(groups[number][0])):
        theirs = groups[number][0]
        if all(last[q] == number for q in theirs) and len(union.union(theirs)) <= width:
            union.update(theirs)
            joined.append(number)
    return sorted(joined)


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


def factor_of(op: Op, qubits: Qubits) -> Factor:
    """One op as a sum on these qubits."""
    places = tuple(qubits.index(q) for q in op.qubits)
    if op.family is None:
        assert op.matrix is not None
        return Factor((), np.zeros((1, 0)), _spread(op.matrix[None], places, op.bits, len(qubits)))
    rates, terms = _wave(op.family, places, op.bits, len(qubits))
    return Factor((op.occurrence,), rates, terms)


@lru_cache(maxsize=4096)
def _wave(family: Family, places: Qubits, bits: tuple[int, ...], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates (C, 1) and terms (C, 2**width, 2**width) of a gate among ``width`` qubits; a control that is not met
    idles with the eigenvalue 0."""
    family = family.controlled if bits else family
    idle = family.eigenvalues.tolist().index(0.0) if bits else 0
    return family.eigenvalues[:, None], _spread(family.terms, places, bits, width, idle)


def _spread(terms: np.ndarray, places: Qubits, bits: tuple[int, ...], width: int, idle: int = 0) -> np.ndarray:
    """Matrices (C, d, d) on some of ``width`` qubits as matrices on all; term ``idle`` is the identity where the
    controls ``bits``, first of the ``places``, are not met."""
    targets = places[len(bits) :]
    offsets = [sum((k >> i & 1) << place for i, place in enumerate(targets)) for k in range(2 ** len(targets))]
    spread = np.zeros((len(terms), 2**width, 2**width), dtype=complex)
    for column in range(2**width):
        if any(column >> place & 1 != bit for place, bit in zip(places, bits)):
            spread[idle, column, column] = 1
            continue
        rows = [(column & ~offsets[-1]) + offset for offset in offsets]
        spread[:, rows, column] = terms[:, :, rows.index(column)]
    return spread
