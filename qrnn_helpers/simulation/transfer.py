"""Gates and noise as real matrices in the Pauli basis, and the circuits that are made of them.

A state of n qubits is the vector of its expectations c[P] = tr P rho, a linear map E of states the matrix

    R[P, Q] = tr(P E(Q)) / 2**n .

That of a gate exp(-i theta H) is a short Fourier series in theta, R = A_0 + sum_w cos(w theta) A_w + sin(w theta) B_w;
noise behind a gate is one more matrix, multiplied into A and B once.  A trace is the entry of the identity.

The first of several qubits leads: an index is p_0 p_1 ... in base 4, with I, X, Y, Z for the digits 0 to 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import numpy as np

from ..circuits import Family, Op
from .fusion import Factor, factor_of

__all__ = [
    "Block",
    "Element",
    "Event",
    "Measure",
    "Read",
    "Reset",
    "arranged",
    "element_of",
    "pauli_matrices",
    "transfer_matrix",
]


Qubits = tuple[int, ...]

PAULIS = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])

ROUNDING = 1e-9
"""Frequencies that differ by less are the same."""


@dataclass(frozen=True, eq=False)
class Element:
    """A linear map on few qubits: sum_f wave_f(theta) terms[f] with the waves 1, cos w_1 theta, sin w_1 theta, ...

    ``angle`` is the number of theta among the circuit's gate angles, -1 where there is none; ``terms``
    (1 + 2 W, 4**k, 4**k).
    """

    qubits: Qubits
    terms: np.ndarray
    frequencies: tuple[float, ...] = ()
    angle: int = -1

    def then(self, other: Element) -> Element:
        """A constant ``other``, on some of the same qubits, after this one."""
        return replace(self, terms=spread(other, self.qubits)[0] @ self.terms)


@dataclass(eq=False)
class Block:
    """Elements in order that are multiplied with each other before they meet the state."""

    qubits: Qubits
    elements: list[Element]

    def add(self, element: Element) -> None:
        """Append an element; a constant is multiplied into the last one on its qubits, if that has them all."""
        places = set(element.qubits)
        touching = [k for k, each in enumerate(self.elements) if places & set(each.qubits)]
        if not element.frequencies and touching and places <= set(self.elements[touching[-1]].qubits):
            self.elements[touching[-1]] = self.elements[touching[-1]].then(element)
        else:
            self.elements.append(element)


@dataclass(frozen=True, eq=False)
class Measure:
    """Bit ``bit`` of time step ``step`` from a ``qubit``: ``maps`` (2, 4, 4), one map of the qubit for each value."""

    qubit: int
    step: int
    bit: int
    maps: np.ndarray


@dataclass(frozen=True, eq=False)
class Reset:
    """The qubit is in the state ``vector`` (4,) afterwards, whatever it was in."""

    qubit: int
    vector: np.ndarray


@dataclass(frozen=True)
class Read:
    """All bits of a time step are measured: its outcomes are known, and forgotten."""

    step: int


Event = Block | Measure | Reset | Read


def arranged(parts: Iterable[Element | Measure | Reset | Read]) -> list[Event]:
    """The same in fewer pieces: neighbouring elements on one or two qubits become blocks."""
    arrangement = _Arrangement()
    for part in parts:
        arrangement.add(part)
    for qubit in list(arrangement.waiting):
        arrangement.flush(qubit)
    return arrangement.events


class _Arrangement:
    """Events in order; elements on single qubits wait for a block of two that they can join."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.open: dict[int, Block] = {}  # the last block on each qubit, unless something else came behind it
        self.waiting: dict[int, Block] = {}

    def add(self, part: Element | Measure | Reset | Read) -> None:
        if isinstance(part, Element):
            self.add_element(part)
            return
        if not isinstance(part, Read):
            self.flush(part.qubit)
            self.open.pop(part.qubit, None)
        self.events.append(part)

    def add_element(self, element: Element) -> None:
        last = [self.open.get(qubit) for qubit in element.qubits]
        if last[0] is None and len(last) == 1:
            self.waiting.setdefault(element.qubits[0], Block(element.qubits, [])).add(element)
            return
        if last[0] is None or any(each is not last[0] for each in last):
            self.begin(element.qubits)
        self.open[element.qubits[0]].add(element)

    def begin(self, qubits: Qubits) -> None:
        """A new block, with what has waited on its qubits."""
        waited = [self.waiting.pop(qubit).elements for qubit in qubits if qubit in self.waiting]
        block = Block(qubits, [element for elements in waited for element in elements])
        self.open |= dict.fromkeys(qubits, block)
        self.events.append(block)

    def flush(self, qubit: int) -> None:
        """What waits on a qubit becomes a block of its own."""
        if qubit in self.waiting:
            self.events.append(self.waiting.pop(qubit))


@lru_cache
def pauli_matrices(qubits: int) -> np.ndarray:
    """All Pauli strings, (4**n, 2**n, 2**n); the first qubit is the lowest bit of a row, as in Qiskit."""
    return reduce(_beside, [PAULIS] * qubits, np.ones((1, 1, 1)))


def _beside(strings: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Strings with one more qubit behind them: its digit is the lowest, its bit the highest."""
    products = np.einsum("pij,qkl->pqkilj", strings, last)
    size = strings.shape[-1] * last.shape[-1]
    return products.reshape(-1, size, size)


def transfer_matrix(kraus: np.ndarray) -> np.ndarray:
    """(4**k, 4**k) of a map with Kraus operators (K, 2**k, 2**k)."""
    qubits = kraus.shape[-1].bit_length() - 1
    paulis = pauli_matrices(qubits)
    images = np.einsum("kij,qjl,kml->qim", kraus, paulis, kraus.conj(), optimize=True)
    return np.einsum("pmi,qim->pq", paulis, images).real / 2**qubits


def element_of(op: Op, number: int) -> Element:
    """A gate with or without an angle; ``number`` is what the circuit counts the angle by."""
    if op.family is None:
        matrix = factor_of(op, op.qubits).terms.sum(0)
        return Element(op.qubits, transfer_matrix(matrix[None])[None])
    frequencies, terms = _series(op.family, op.bits, len(op.qubits))
    return Element(op.qubits, terms, frequencies, number)


@lru_cache(maxsize=1024)
def _series(family: Family, bits: tuple[int, ...], width: int) -> tuple[tuple[float, ...], np.ndarray]:
    """Frequencies and terms of a gate's matrix."""
    qubits = tuple(range(width))
    return _fourier(factor_of(Op(None, qubits, bits, family=family), qubits), width)


def _fourier(factor: Factor, width: int) -> tuple[tuple[float, ...], np.ndarray]:
    """U = sum_c exp(-i lambda_c theta) T_c makes U Q U^+ = sum_cd exp(-i (lambda_c - lambda_d) theta) T_c Q T_d^+."""
    paulis = pauli_matrices(width)
    images = np.einsum("cij,qjl,dml->cdqim", factor.terms, paulis, factor.terms.conj(), optimize=True)
    products = np.einsum("pmi,cdqim->cdpq", paulis, images, optimize=True) / 2**width
    differences = factor.rates - factor.rates.T
    still = np.abs(differences) < ROUNDING
    positive = np.sort(differences[differences > ROUNDING])
    frequencies = positive[np.diff(positive, prepend=0.0) > ROUNDING].tolist()
    terms = [products[still].sum(0).real]
    for w in frequencies:
        part = 2 * products[np.abs(differences - w) < ROUNDING].sum(0)
        terms += [part.real, part.imag]
    return tuple(frequencies), np.stack(terms)


def spread(element: Element, qubits: Qubits) -> np.ndarray:
    """The terms of an element as matrices on ``qubits``, which hold its own."""
    own, rest = list(element.qubits), [qubit for qubit in qubits if qubit not in element.qubits]
    order = [(own + rest).index(qubit) for qubit in qubits]
    whole = np.einsum("fpq,rs->fprqs", element.terms, np.eye(4 ** len(rest)))
    axes = whole.reshape(len(element.terms), *[4] * (2 * len(qubits)))
    axes = axes.transpose(0, *(1 + k for k in order), *(1 + len(qubits) + k for k in order))
    return axes.reshape(len(element.terms), 4 ** len(qubits), 4 ** len(qubits))
