"""Measurement and reset in PennyLane, deferred to fresh wires: 2 + 2 qubits, 5 steps, 12 wires."""

import peers
import pytest
import torch
from cases import Side, agree, inputs, value_and_gradient

from qrnn_helpers import rotation_step


@pytest.mark.parametrize("batch", [1, 16])
def bench_reset(in_turns, batch):
    step = rotation_step(2, 2)
    angles, weights = inputs(step, batch, 5)
    calls = {
        "ours": value_and_gradient(step, angles, weights, torch.complex128),
        "pennylane": peers.measured_and_reset(step, angles, weights),
    }
    agree(calls["pennylane"](), calls["ours"]())
    group = "reset" if batch == 1 else f"reset/batch{batch}"
    sides = {f"{group}/{side}": Side(call, note="value and gradient, float64") for side, call in calls.items()}
    in_turns(sides, "call", seconds=2)
