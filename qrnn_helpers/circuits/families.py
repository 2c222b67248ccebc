"""Gates of one angle, U(theta) = sum_k exp(-i lambda_k theta) P_k, and the shift rules that follow.

The eigenvalues lambda_k and the matrices P_k are taken from the gate's own matrices, so that every gate that
Qiskit can evaluate is known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import schur

LARGEST_COUNT = 64
"""Frequencies that a shift rule may have: it runs two circuits for each."""

STEPS = 0.5, 0.03
"""Angles at which eigenvalues are read, modulo 2 pi / step: a large step is precise, a small one finds large ones."""

CHECKED_AT = -2.1234, 0.9173, 4.3919
"""Angles at which a family must be the gate: no round multiples of a step, where other eigenvalues look alike."""


@dataclass(frozen=True)
class ShiftRule:
    """f'(theta) = sum_k coefficients[k] * f(theta + shifts[k]), exact for every expectation f."""

    shifts: tuple[float, ...]
    coefficients: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Family:
    """U(theta) = sum_k exp(-i eigenvalues[k] theta) terms[k]; terms has shape (k, d, d)."""

    name: str
    eigenvalues: np.ndarray
    terms: np.ndarray

    def matrix(self, angle: float) -> np.ndarray:
        return np.tensordot(np.exp(-1j * self.eigenvalues * angle), self.terms, 1)

    @cached_property
    def controlled(self) -> Family:
        """The same on the targets of a controlled gate: what idles has the eigenvalue 0, with no term there."""
        if 0.0 in self.eigenvalues:
            return self
        nothing = np.zeros_like(self.terms[:1])
        return Family(self.name, np.append(self.eigenvalues, 0.0), np.concatenate([self.terms, nothing]))

    @cached_property
    def spectrum(self) -> tuple[float, int]:
        """The unit W and the count R: all differences of eigenvalues are whole multiples of W, up to R W.

        W is the largest such unit, so that R is the smallest count; R is 0 for a gate that its angle
        only multiplies by a phase.
        """
        gaps = np.abs(self.eigenvalues[:, None] - self.eigenvalues[None, :]).ravel()
        gaps = gaps[gaps > 1e-9]
        if not gaps.size:
            return 1.0, 0
        for parts in range(1, LARGEST_COUNT + 1):  # the smallest gap is a whole number of units, too
            unit = gaps.min() / parts
            multiples = gaps / unit
            if multiples.max() > LARGEST_COUNT + 0.5:
                break
            if _are_whole(multiples, 1e-7):
                return float(unit), round(multiples.max())
        raise ValueError(
            f"gate {self.name!r}: got frequencies {sorted(set(gaps.round(6).tolist()))}; a shift rule is known for "
            f"whole multiples of one frequency only, {LARGEST_COUNT} at most. Use DirectionalShift, SPSA or Autograd, "
            "or decompose the gate into others"
        )

    @cached_property
    def unit(self) -> float:
        """W, or NaN if the differences have no unit in common, to rounding: then the gate has no period.

        A shift rule may be off by 1e-7 of a unit; after so many turns that is an angle of its own.
        """
        try:
            unit, _ = self.spectrum
        except ValueError:
            return math.nan
        multiples = (self.eigenvalues - self.eigenvalues[0]) / unit
        return unit if _are_whole(multiples, 1e-12) else math.nan

    @cached_property
    def rule(self) -> ShiftRule:
        """The shift rule for R equidistant frequencies W, 2W, ..., RW (Wierichs et al. 2022, eq. 20).

        f' = sum_mu (-1)**(mu-1) W / (4 R sin(x_mu / 2)**2) f(theta + x_mu / W), x_mu = (2 mu - 1) pi / 2R:
        two terms for a Pauli rotation, four for a controlled one.
        """
        unit, count = self.spectrum
        if not count:
            return ShiftRule((), ())
        points = (2 * np.arange(1, 2 * count + 1) - 1) * np.pi / (2 * count)
        signs = (-1.0) ** np.arange(2 * count)
        coefficients = signs * unit / (4 * count * np.sin(points / 2) ** 2)
        return ShiftRule(tuple((points / unit).tolist()), tuple(coefficients.tolist()))


def fit_family(name: str, unitary: Callable[[float], np.ndarray]) -> Family | None:
    """The family whose matrices are ``unitary(theta)``, or None if they are of no such form."""
    for step in STEPS:
        family = _diagonalise(name, unitary, step)
        if all(np.allclose(family.matrix(angle), unitary(angle), atol=1e-9) for angle in CHECKED_AT):
            return family
    return None


def _diagonalise(name: str, unitary: Callable[[float], np.ndarray], step: float) -> Family:
    """Eigenvalues and terms such that the matrices at 0 and at ``step`` are right."""
    start = unitary(0.0)
    triangle, vectors = schur(unitary(step) @ start.conj().T, output="complex")
    exact = -np.angle(np.diag(triangle)) / step
    rounded = np.round(exact, 10) + 0.0  # equal ones fall together; neat ones lose their last bit
    eigenvalues, terms = [], []
    for value in np.unique(rounded):
        alike = rounded == value
        mean = exact[alike].mean()
        eigenvalues.append(value if abs(mean - value) < 1e-13 else mean)
        terms.append(vectors[:, alike] @ vectors[:, alike].conj().T @ start)
    return Family(name, np.array(eigenvalues), np.stack(terms))


def _are_whole(multiples: np.ndarray, tolerance: float) -> bool:
    return np.allclose(multiples, np.round(multiples), rtol=0, atol=tolerance)
