"""Rivals trained by gradient descent, and the circuit without training: fit(task, seed, **setting) -> `Fitted`.

Every network is trained alike: the same loss (after the task's washout), batches, optimiser and number of
updates; exact gradients for circuits.
"""

from __future__ import annotations

import torch
from qiskit import QuantumCircuit
from torch import nn

from ..models import GRU, QRNN, RNN
from ..tasks import Fitted, Task
from ..training import Budget, fit
from .regression import ridge

__all__ = ["answers", "circuit", "gru", "rnn", "trained", "untrained"]


BATCH = 32

PIECE = 256
"""Windows that a network answers at once: more would not fit the processor's cache."""


def gru(task: Task, seed: int = 0, *, hidden: int, rate: float, updates: int) -> Fitted:
    """A gated recurrent unit, trained."""
    return trained(task, GRU(*_sizes(task), hidden, dtype=_dtype(task), seed=seed), seed, rate, updates)


def rnn(task: Task, seed: int = 0, *, hidden: int, rate: float, updates: int) -> Fitted:
    """A plain recurrent network h_t = tanh(W h_t-1 + V x_t + b), trained."""
    return trained(task, RNN(*_sizes(task), hidden, dtype=_dtype(task), seed=seed), seed, rate, updates)


def circuit(task: Task, seed: int = 0, *, step: QuantumCircuit, skip: bool, rate: float, updates: int) -> Fitted:
    """A `QRNN`, trained by exact gradients; with ``skip`` a linear path leads around it."""
    model = QRNN(*_sizes(task), step, skip=skip, dtype=_dtype(task), seed=seed)
    return trained(task, model, seed, rate, updates)


def untrained(task: Task, seed: int = 0, *, step: QuantumCircuit, gain: float, penalty: float) -> Fitted:
    """The circuit and encoder as drawn, the encoder's weights times ``gain``, with a ridge readout."""
    model = QRNN(*_sizes(task), step, dtype=_dtype(task), seed=seed)
    with torch.no_grad():
        model.encoder.weight.mul_(gain)

    @torch.no_grad()
    def features(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([model.layer(model.encoder(piece))[0] for piece in x.split(PIECE)])

    return ridge(task, features, penalty, f"{task.sees}, all steps so far")


def trained(task: Task, model: nn.Module, seed: int, rate: float, updates: int) -> Fitted:
    """``model`` after ``updates`` steps of Adam on the training windows."""
    few = tuple(part[:BATCH] for part in task.validation)  # for the curve alone: nothing is chosen by it
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    fit(
        model, task.train, few, optimizer=optimizer, batch_size=min(BATCH, len(task.train[0])),
        budget=Budget(steps=updates), washout=task.washout, seed=seed, progress=False, validations=1,
    )  # fmt: skip
    return answers(task, model)


def answers(task: Task, model: nn.Module) -> Fitted:
    """A network (x -> y, state) as it stands."""

    @torch.no_grad()
    def predict(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([model(piece)[0] for piece in x.split(PIECE)])

    return Fitted(predict, sum(p.numel() for p in model.parameters()), f"{task.sees}, all steps so far")


def _sizes(task: Task) -> tuple[int, int]:
    return task.train[0].shape[2], task.train[1].shape[2]


def _dtype(task: Task) -> torch.dtype:
    return task.train[0].dtype
