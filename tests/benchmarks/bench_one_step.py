"""One step without recurrence: what a general simulator is made for."""

import peers
import pytest
import torch
from cases import Side, agree, inputs, value_and_gradient

from qrnn_helpers import rotation_step

SIDES = ["ours-complex64", "ours-complex128", "pennylane-backprop", *peers.ADJOINT]
MOST = 32
"""Samples of a batch that the adjoint method is timed on: it takes them one by one."""


def side_of(name: str, qubits: int, batch: int) -> Side:
    """One side, once its numbers have been found to be right."""
    step, timed, note = rotation_step(qubits // 2, qubits // 2), batch, "value and gradient of weighted probabilities"
    if name in peers.ADJOINT and batch > MOST:
        timed, note = MOST, f"value and gradient of a diagonal observable; {MOST} samples timed, scaled to {batch}"
    angles, weights = inputs(step, timed, 1)
    if name.startswith("ours"):
        call = value_and_gradient(step, angles, weights, getattr(torch, name.removeprefix("ours-")))
    elif name == "pennylane-backprop":
        call = peers.backprop(step, angles, weights)
    else:
        call = peers.adjoint(step, angles, weights, peers.ADJOINT[name])
    agree(call(), value_and_gradient(step, angles, weights, torch.complex128)())
    return Side(call, timed / batch, note)


@pytest.mark.parametrize("batch", [1, 32, 256])
@pytest.mark.parametrize("qubits", [4, 8, 10])
def bench_step(in_turns, qubits, batch):
    in_turns({f"step/n{qubits}/batch{batch}/{name}": side_of(name, qubits, batch) for name in SIDES}, "call")
