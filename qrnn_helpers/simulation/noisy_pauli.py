"""Steps with noise in the Pauli basis: the way of `PauliSteps`, for many small circuits without their gradient.

A map beside a gate is multiplied into the gate's transfer matrix.  A readout qubit comes from a reset as it leaves it;
what is read is A p, with A[m, r] = P(read m | is r) and p the outcomes of perfect detectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from ..circuits import Op
from ..torch_modes import constant
from .pauli import PauliSteps, gate_of
from .transfer import Element


class NoisyPauliSteps(PauliSteps):
    """A step with noise, compiled; all circuits start from |0...0>.

    ``elements``: the ``ops`` of one step and their noise, in order; an element's angle is that of an op's occurrence.
    ``readout`` and ``memory``, qubits, highest first.  ``reset``: of each readout qubit <Z> after a reset, before all
    steps but the first.  ``assignment`` A (R, R).
    """

    def __init__(
        self,
        ops: Sequence[Op],
        elements: Iterable[Element],
        readout: Sequence[int],
        memory: Sequence[int],
        reset: Sequence[float],
        assignment: np.ndarray,
    ):
        families = [op.family for op in ops if op.family is not None]
        self.periodic = all(math.isfinite(family.unit) for family in families)
        self.assignment = assignment
        resets = [gate_of(_reset(qubit, len(families), z)) for qubit, z in zip(readout, reset, strict=True)]
        self._compile(resets + [gate_of(each) for each in _merged(elements)], readout, memory)

    def _portions(self, gate_angles: torch.Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, torch.Tensor]]:
        """With one more angle, that of the resets: pi, but 0 at the first step, which nothing was reset before."""
        before = gate_angles.new_full((*gate_angles.shape[:2], 1), torch.pi)
        before[:, :1] = 0
        return super()._portions(torch.cat([gate_angles, before], 2), dtype)

    def _signs(self, like: torch.Tensor) -> torch.Tensor:
        return constant(self.assignment, like.dtype, like.device) @ super()._signs(like)


def _reset(qubit: int, angle: int, z: float) -> Element:
    """<Z> of a qubit in |0> becomes (1 + z) / 2 + (1 - z) / 2 cos theta: 1 at theta = 0, z at pi."""
    still = np.diag([1, *[(1 + z) / 2] * 3])
    wave = np.diag([0, *[(1 - z) / 2] * 3])
    return Element((qubit,), np.stack([still, wave, np.zeros((4, 4))]), (1.0,), angle)


def _merged(elements: Iterable[Element]) -> list[Element]:
    """A constant that follows an element on its qubits is multiplied into it."""
    merged: list[Element] = []
    for element in elements:
        if merged and not element.frequencies and set(element.qubits) <= set(merged[-1].qubits):
            merged[-1] = merged[-1].then(element)
        else:
            merged.append(element)
    return merged
