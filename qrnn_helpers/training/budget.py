"""What training may spend, and what it has spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ..checks import check_count, check_integer
from ..models import QuantumRecurrentLayer


@dataclass(frozen=True)
class Budget:
    """What training may spend: optimiser steps, circuits, shots; None means no limit.

    A step that would exceed any limit is not begun.  Circuits and shots are those of all quantum layers inside the
    model, as their ledgers book them.
    """

    steps: int | None = None
    circuits: int | None = None
    shots: int | None = None

    def __post_init__(self) -> None:
        limits = {name: value for name, value in vars(self).items() if value is not None}
        if not limits:
            raise ValueError("Budget must limit steps, circuits or shots; got none of them")
        for name, value in limits.items():
            object.__setattr__(self, name, check_count(name, value))

    def fraction(self, steps: int, circuits: int, shots: int) -> float:
        """The spent part of the tightest limit."""
        spent = {"steps": steps, "circuits": circuits, "shots": shots}
        spent = {name: check_integer(name, used, 0, 2**63 - 1) for name, used in spent.items()}
        return max(spent[name] / limit for name, limit in vars(self).items() if limit is not None)


def cosine(fraction: float) -> float:
    """A factor for the learning rate that falls from 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


class OverBudget(Exception):
    """Circuits that the budget does not allow were about to be run."""


class Spending:
    """What training has spent so far on all quantum layers of a model, and whether more fits the budget.

    Every call of a layer says, before it runs, what it and its gradient will take at most: however often a model
    calls its layers, and with whatever batches, nothing is begun that would exceed the budget.  What was spent is
    read off the ledgers, each counted once.
    """

    def __init__(self, model: nn.Module, budget: Budget, evaluations: int | None):
        self.layers = [module for module in model.modules() if isinstance(module, QuantumRecurrentLayer)]
        self.ledgers = list({id(layer.cost): layer.cost for layer in self.layers}.values())
        self.budget = budget
        self.evaluations = evaluations
        """Calls of the closure in a step, where the optimiser says how many."""
        self.limited = budget.circuits is not None or budget.shots is not None
        self.steps = 0
        self.spent = [0, 0]
        """Circuits and shots."""
        self.seconds = 0.0
        self.calls = 0
        """The most calls of the closure in a step so far."""
        self.each = [0, 0]
        """The most circuits and shots of one call."""
        self.planned: list[int] | None = None
        """Those of the call that is under way."""
        _check_budget(budget, self.layers)

    def __enter__(self) -> Spending:
        self.hooks = [layer.register_forward_pre_hook(self._plan, with_kwargs=True) for layer in self.layers]
        return self

    def __exit__(self, *error) -> None:
        for hook in self.hooks:
            hook.remove()

    def row(self) -> dict[str, float]:
        circuits, shots = self.spent
        return {"step": self.steps, "circuits": circuits, "shots": shots, "seconds": self.seconds}

    def fraction(self) -> float:
        return self.budget.fraction(self.steps, *self.spent)

    def allows_another(self) -> bool:
        """Whether another step may be begun; the estimators learn how far training is."""
        fraction = self.fraction()
        if any([layer.gradient.progress(fraction) for layer in self.layers]):
            self.each = [0, 0]  # not known any more: each layer says before it runs what it takes
        return self._allows(self.each, 0)

    @property
    def step_circuits(self) -> int:
        """Circuits of a step, as far as they are known."""
        return self.each[0] * (self.evaluations or 1)

    @contextmanager
    def evaluation(self, number: int) -> Iterator[None]:
        """One call of the closure, the ``number``-th of its step from 0 on."""
        if not self._allows(self.each, number):
            raise OverBudget
        self.planned = [0, 0]
        self.number = number
        before, started = self._booked()
        try:
            yield
        finally:
            after, ended = self._booked()
            booked = [now - then for now, then in zip(after, before)]
            self.seconds += ended - started
            self.spent = [sum(pair) for pair in zip(self.spent, booked)]
            self.each = [max(three) for three in zip(self.each, self.planned, booked)]
            self.planned = None

    def _plan(self, layer: QuantumRecurrentLayer, args: tuple, kwargs: dict) -> None:
        """What a call of a layer will take, its gradient included; what is no angles the layer refuses itself."""
        angles = args[0] if args else kwargs.get("angles")
        if self.planned is None or not isinstance(angles, torch.Tensor) or angles.dim() != 3 or not angles.numel():
            return
        circuits = len(angles)
        if torch.is_grad_enabled():
            circuits = layer.update_circuits(circuits, angles.shape[1])
        self.planned[0] += circuits
        self.planned[1] += circuits * layer.backend.shots
        if not self._allows(self.planned, self.number):
            raise OverBudget

    def _allows(self, each: list[int], number: int) -> bool:
        """Whether the rest of a step fits, from call ``number`` of the closure on, if each call takes as much."""
        calls = max(1, (self.evaluations or 1) - number)
        circuits, shots = (spent + calls * most for spent, most in zip(self.spent, each))
        return self.budget.fraction(self.steps + 1, circuits, shots) <= 1

    def _booked(self) -> tuple[list[int], float]:
        """Circuits and shots, and seconds, on all ledgers, in whatever scope."""
        totals = [ledger.total() for ledger in self.ledgers]
        counts = [sum(total.circuits for total in totals), sum(total.shots for total in totals)]
        return counts, sum(total.seconds for total in totals)


def _check_budget(budget: Budget, layers: list[QuantumRecurrentLayer]) -> None:
    """Refuse limits on what these layers never spend."""
    if budget.circuits is not None and not layers:
        raise ValueError(f"budget must be in steps for a model without a quantum layer; got {budget}")
    if budget.shots is not None and not any(layer.backend.shots for layer in layers):
        raise ValueError(f"budget must not be in shots on a backend that draws none; got {budget}")
