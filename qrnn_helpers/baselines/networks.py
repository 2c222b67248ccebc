"""Baselines trained by gradient descent, and the circuit without training: fit(task, seed, **setting) -> `Fitted`.

Every network is trained alike: the same loss (after the task's washout), batches, optimiser and number of
updates; exact gradients for circuits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from qiskit import QuantumCircuit
from torch import Tensor, nn

from ..models import GRU, QRNN, RNN
from ..tasks import Fitted, Task
from ..training import Budget, fit
from .regression import ridge

BATCH = 32

PIECE = 256
"""Windows that a network answers at once: more would not fit the processor's cache."""


def recurrent(
    task: Task, seed: int = 0, *, kind: type[GRU] | type[RNN], hidden: int, rate: float, updates: int
) -> Fitted:
    """A gated recurrent unit, or a plain network h_t = tanh(W h_t-1 + V x_t + b), trained."""
    model = kind(*_sizes(task), hidden, dtype=task.train[0].dtype, seed=seed)
    return trained(task, model, seed, rate, updates)


def circuit(task: Task, seed: int = 0, *, step: QuantumCircuit, skip: bool, rate: float, updates: int) -> Fitted:
    """A `QRNN`, trained by exact gradients; with ``skip`` a linear path leads around it."""
    model = QRNN(*_sizes(task), step, skip=skip, dtype=task.train[0].dtype, seed=seed)
    return trained(task, model, seed, rate, updates)


def untrained(task: Task, seed: int = 0, *, step: QuantumCircuit, gain: float, penalty: float) -> Fitted:
    """The circuit and encoder as drawn, the encoder's weights times ``gain``, with a ridge readout."""
    model = QRNN(*_sizes(task), step, dtype=task.train[0].dtype, seed=seed)
    with torch.no_grad():
        model.encoder.weight.mul_(gain)
    return ridge(task, in_pieces(model.features), penalty, _sees(task))


def trained(task: Task, model: nn.Module, seed: int, rate: float, updates: int) -> Fitted:
    """``model`` after ``updates`` steps of Adam on the training windows."""
    few = tuple(part[:BATCH] for part in task.validation)  # for the curve alone: nothing is chosen by it
    fit(
        model,
        task.train,
        few,
        optimizer=torch.optim.Adam(model.parameters(), lr=rate),
        batch_size=min(BATCH, len(task.train[0])),
        budget=Budget(steps=updates),
        washout=task.washout,
        seed=seed,
        progress=False,
        validations=1,
    )
    return answers(task, model)


def answers(task: Task, model: nn.Module) -> Fitted:
    """A network (x -> y, state) as it stands."""
    parameters = sum(weight.numel() for weight in model.parameters())
    return Fitted(in_pieces(lambda x: model(x)[0]), parameters, _sees(task))


def in_pieces(function: Callable[[Tensor], Tensor], size: int = PIECE) -> Callable:
    """The same function of windows, without gradients and for ``size`` windows at a time."""

    @torch.no_grad()
    def joined(x: Tensor) -> Tensor:
        return torch.cat([function(piece) for piece in x.split(size)])

    return joined


def _sizes(task: Task) -> tuple[int, int]:
    return task.train[0].shape[2], task.train[1].shape[2]


def _sees(task: Task) -> str:
    return f"{task.sees}, all steps so far"
