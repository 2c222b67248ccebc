"""Measurement and reset in PennyLane, deferred to fresh wires: 2 + 2 qubits, 5 steps, 12 wires."""

import peers
import pytest
import torch
from cases import agree, inputs, value_and_gradient

from qrnn_helpers import rotation_step


@pytest.mark.parametrize("side", ["ours", "pennylane"])
@pytest.mark.parametrize("batch", [1, 16])
def bench_reset(measure, batch, side):
    step = rotation_step(2, 2)
    angles, weights = inputs(step, batch, 5)
    exact = value_and_gradient(step, angles, weights, torch.complex128)
    call = exact if side == "ours" else peers.measured_and_reset(step, angles, weights)
    agree(call(), exact())
    case = f"reset/{side}" if batch == 1 else f"reset/batch{batch}/{side}"
    measure(case, call, "call", note="value and gradient, float64", seconds=2)
