"""Our side of every comparison: inputs, value and gradient, and what it means that two sides agree."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from qiskit import QuantumCircuit

from qrnn_helpers import ExactBackend, MomentBackend, QuantumRecurrentLayer, ShotBackend
from qrnn_helpers.backends import Backend
from qrnn_helpers.gradients import GradientEstimator, ParameterShift

SHOTS = 1024
REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
SHIFTED = {
    "shots": lambda: ShotBackend(SHOTS, 0, torch.complex64),
    "moments": lambda: MomentBackend(SHOTS, 0, torch.complex64),
    "exact": lambda: ExactBackend(torch.complex64),
}
"""Backends whose circuits the shift rule reads."""


class Side(NamedTuple):
    """One side of a comparison: its call, how many units one call is, and a note."""

    call: Callable[[], object]
    per: float = 1
    note: str = ""


def inputs(step: QuantumCircuit, batch: int, time_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles (batch, time, P) uniform on the circle, weights (time, R) of the readout probabilities."""
    readout = next(register.size for register in step.qregs if register.name == "readout")
    generator = torch.Generator().manual_seed(0)
    double = {"generator": generator, "dtype": torch.float64}
    angles = 2 * torch.pi * torch.rand(batch, time_steps, len(step.parameters), **double)
    return angles, torch.randn(time_steps, 2**readout, **double)


def value_and_gradient(
    step: QuantumCircuit,
    angles: torch.Tensor,
    weights: torch.Tensor,
    dtype: torch.dtype,
    backend: Backend | None = None,
    gradient: GradientEstimator | None = None,
) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
    """A call that gives sum w p and its slopes along the angles, by a layer as a reader would make it."""
    layer = QuantumRecurrentLayer(step, backend=backend or ExactBackend(dtype), gradient=gradient)
    angles, weights = angles.to(REAL[dtype]).clone().requires_grad_(), weights.to(REAL[dtype])

    def call():
        value = (layer(angles)[0] * weights).sum()
        return value.detach(), torch.autograd.grad(value, angles)[0]

    return call


def slopes_by_shifts(
    step: QuantumCircuit, angles: torch.Tensor, weights: torch.Tensor, kind: str
) -> Callable[[], torch.Tensor]:
    """A call that gives the slopes alone by the shift rule on one of the `SHIFTED` backends, in complex64: the
    rule's circuits, after a forward pass that is not counted."""
    layer = QuantumRecurrentLayer(step, backend=SHIFTED[kind](), gradient=ParameterShift())
    angles = angles.float().requires_grad_()
    value = (layer(angles)[0] * weights.float()).sum()
    return lambda: torch.autograd.grad(value, angles, retain_graph=True)[0]


def agree(found: tuple, wanted: tuple) -> None:
    """Both sides computed the same numbers, 1e-5 apart at most (of numbers above 1: as a fraction)."""
    for own, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(own.detach()), np.asarray(other.detach()), rtol=1e-5, atol=1e-5)


def agree_in_shots(frequencies: torch.Tensor, probabilities: torch.Tensor) -> None:
    """Each frequency lies within five standard errors (and a shot) of its probability."""
    p = probabilities.double().clamp(0, 1)
    tolerance = 5 * (p * (1 - p) / SHOTS).sqrt() + 1 / SHOTS
    assert ((frequencies.double() - p).abs() <= tolerance).all()


def agree_in_slopes(slopes: torch.Tensor, exact: torch.Tensor, draws: torch.Tensor) -> None:
    """Each slope lies within five standard errors of the exact one; the errors are read off independent ``draws``."""
    assert ((slopes - exact).abs() <= 5 * draws.std(0) + 1e-5).all()
