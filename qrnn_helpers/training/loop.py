"""The one training loop: updates of an optimiser, batch after batch, while a budget lasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from numbers import Real
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..checks import check_real
from .budget import Budget, OverBudget, Spending, cosine

Batch = TypeVar("Batch")

Schedule = Callable[[float], float]
"""Spent fraction of the budget -> factor of the learning rate."""


def updates(
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    loss: Callable[[Batch], Tensor],
    spending: Spending,
    schedule: Schedule | None = cosine,
) -> Generator[dict[str, float], None, None]:
    """One update a batch, as long as the budget and the batches last; a row of the curve after each.

    Closing it, or an error in it, gives the optimiser its rates back.
    """
    with spending, _scheduled(optimizer, schedule) as set_rates:
        while spending.allows_another():
            rate = set_rates(spending.fraction())
            batch = next(batches, None)
            if batch is None:
                return
            value = _update(optimizer, partial(loss, batch), spending)
            if value is None:
                return
            spending.steps += 1
            yield {**spending.row(), "rate": rate, "train_loss": value}


def minimise(
    optimizer: torch.optim.Optimizer, batches: Iterator[Batch], loss: Callable[[Batch], Tensor], steps: int
) -> list[float]:
    """The losses of so many updates, the rate falling along a cosine, of weights that are no model's."""
    spending = Spending(nn.Module(), Budget(steps=steps), None)
    return [row["train_loss"] for row in updates(optimizer, batches, loss, spending)]


@contextmanager
def _scheduled(optimizer: torch.optim.Optimizer, schedule: Schedule | None) -> Iterator[Schedule]:
    """A function that sets the rates for a spent fraction; the rates are given back at the end."""
    groups = optimizer.param_groups
    rates = [group["lr"] for group in groups]

    def set_rates(fraction: float) -> float:
        factor = 1.0 if schedule is None else schedule(fraction)
        factor = check_real("schedule's factor", factor, minimum=0.0)
        for group, rate in zip(groups, rates):
            group["lr"] = rate * factor
        return float(groups[0]["lr"])

    try:
        yield set_rates
    finally:
        for group, rate in zip(groups, rates):
            group["lr"] = rate


def _update(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], spending: Spending) -> float | None:
    """One step of the optimiser; returns the loss that it reports, or None if the budget does not allow it."""
    step = _Step(optimizer, loss, spending)
    try:
        answer = optimizer.step(step.closure)
    except OverBudget:
        return step.cut_short()
    if not step.losses:
        raise ValueError(f"optimizer must call its closure; got a {type(optimizer).__name__} that did not")
    spending.calls = max(spending.calls, len(step.losses))
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.item()
    return float(answer) if isinstance(answer, Real) else step.losses[0]


class _Step:
    """The calls of the closure in one step: each is booked, and a step that is cut short can be taken back.

    Most optimisers call it once, for a gradient.  LBFGS and its like call it several times, `SPSAOptimizer`
    for losses alone.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], spending: Spending):
        self.optimizer = optimizer
        self.loss = loss
        self.spending = spending
        self.losses: list[float] = []
        self.start = self._weights() if spending.limited else []
        self.best: list[Tensor] = []
        # A step is only cut short between two calls: with one call a step there is nothing to give back.
        often = spending.limited and spending.evaluations is None and spending.calls != 1
        self.state = {weight: deepcopy(held) for weight, held in optimizer.state.items()} if often else None

    def closure(self) -> Tensor:
        """The loss, booked; with its gradient unless gradients are off, as `SPSAOptimizer` has them."""
        gradient = torch.is_grad_enabled()
        with self.spending.evaluation(len(self.losses)):
            self.optimizer.zero_grad()
            loss = self.loss()
            value = float(loss.detach())
            if not (gradient and self.losses):  # a line search may find its way back
                _check_finite(value)
            if gradient:
                loss.backward()
        if gradient and self.spending.limited and value < min(self.losses, default=math.inf):
            self.best = self._weights()
        self.losses.append(value)
        return loss

    def cut_short(self) -> float | None:
        """Back to the best weights seen, and the optimiser's state as before the step: its first loss, if any."""
        with torch.no_grad():
            for weight, value in zip(self._parameters(), self.best or self.start):
                weight.copy_(value)
        if self.state is not None:
            self.optimizer.state.clear()
            self.optimizer.state.update(self.state)
        return self.losses[0] if self.best else None

    def _parameters(self) -> list[Tensor]:
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]

    def _weights(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self._parameters()]


def _check_finite(loss: float) -> None:
    if not math.isfinite(loss):
        words = "train y is too large, the optimizer's rate too high, or the model diverges by itself"
        raise ValueError(f"train must lead to finite losses; got {loss}: {words}")
