"""Training under a budget of steps, circuits or shots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset, default_collate
from tqdm.auto import tqdm

from .checks import check_instance, check_integer, check_real, check_tensor, shown, torch_generator
from .cost import CostLedger
from .limits import check_bytes
from .metrics import nrmse

__all__ = ["Budget", "cosine", "fit"]


@dataclass(frozen=True)
class Budget:
    """What training may spend: optimiser steps, circuits, shots; None means no limit.

    A step that would exceed any limit is not begun.
    """

    steps: int | None = None
    circuits: int | None = None
    shots: int | None = None

    def __post_init__(self) -> None:
        limits = {name: value for name, value in vars(self).items() if value is not None}
        if not limits:
            raise ValueError("Budget must limit steps, circuits or shots; got none of them")
        for name, value in limits.items():
            object.__setattr__(self, name, check_integer(name, value, minimum=1))

    def fraction(self, steps: int, circuits: int, shots: int) -> float:
        """The spent part of the tightest limit."""
        spent = {"steps": steps, "circuits": circuits, "shots": shots}
        spent = {name: check_integer(name, used, 0, 2**63 - 1) for name, used in spent.items()}
        return max(spent[name] / limit for name, limit in vars(self).items() if limit is not None)


def cosine(fraction: float) -> float:
    """A factor for the learning rate that falls from 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


def fit(
    model: nn.Module,
    train: Dataset | tuple,
    validation: Dataset | tuple,
    *,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    budget: Budget,
    washout: int = 0,
    seed: int | torch.Generator | None = None,
    progress: bool = True,
    schedule: Callable[[float], float] | None = cosine,
    scored_steps: int | None = None,
    validations: int = 20,
) -> pd.DataFrame:
    """Train ``model`` on mean squared error after the first ``washout`` steps; returns the curve.

    ``train`` and ``validation`` are pairs (x, y) of shape (windows, time, features), or datasets of such
    pairs; ``model(x)`` returns (y, state).  Each of the optimiser's learning rates is multiplied by
    ``schedule(spent fraction of the budget)``.  The validation NRMSE, over the last ``scored_steps``
    outputs (default: all after the washout), is computed about ``validations`` times and after the last
    step, with the model's own backend; its circuits are booked on the ledger's scope "validation".

    An optimiser that has ``evaluations`` (`SPSAOptimizer`) gets losses alone: it evaluates the model that
    often an update, and an update then takes batch_size * evaluations circuits.

    Columns, a row an update: ``step, circuits, shots, seconds, rate, train_loss, validation_nrmse`` (NaN
    where it was not computed); ``train_loss`` is what the optimiser's step returns, with gradients the
    loss before the update.  ``seed`` draws the batches: without replacement, epoch by epoch.
    """
    _check_objects(model, optimizer, budget, progress, schedule)
    x, y = _pair("train", train)
    held_out = _pair("validation", validation)
    washout = check_integer("washout", washout, minimum=0, maximum=x.shape[1] - 1)
    scored_steps = x.shape[1] - washout if scored_steps is None else scored_steps
    scored = check_integer("scored_steps", scored_steps, minimum=1, maximum=x.shape[1])
    batch_size = check_integer("batch_size", batch_size, minimum=1, maximum=len(x))
    validations = min(check_integer("validations", validations, minimum=1), 10**9)
    spending = _Spending(model, budget, batch_size, x.shape[1], getattr(optimizer, "evaluations", None))
    batches = _batches(len(x), batch_size, torch_generator(seed))
    rows, scores = [], 0
    with _scheduled(optimizer, schedule) as set_rates, _bar(progress) as bar:
        while spending.allows_another():
            begun = spending.fraction()
            rate = set_rates(begun)
            batch = next(batches)
            loss = _update(model, optimizer, x[batch], y[batch], washout)
            spending.steps += 1
            score = math.nan
            if spending.fraction() * validations >= scores + 1 or not spending.allows_another():
                scores = int(spending.fraction() * validations)
                score = _score(model, *held_out, scored, spending.ledger)
                bar.set_postfix(loss=loss, validation_nrmse=score, refresh=False)
            rows.append({**spending.row(), "rate": rate, "train_loss": loss, "validation_nrmse": score})
            bar.update(spending.fraction() - begun)
    return pd.DataFrame(rows)


def _check_objects(model, optimizer, budget, progress, schedule) -> None:
    """The arguments of `fit` that are no data and no counts; an optimiser of other weights would train nothing."""
    check_instance("model", model, nn.Module, "a torch module")
    check_instance("optimizer", optimizer, torch.optim.Optimizer, "a torch optimizer")
    check_instance("budget", budget, Budget, "a Budget")
    check_instance("progress", progress, bool, "True or False")
    if schedule is not None:
        check_instance("schedule", schedule, Callable, "a function of the spent fraction, or None")
    own = {id(weight) for weight in model.parameters() if weight.requires_grad}
    if not any(id(weight) in own for group in optimizer.param_groups for weight in group["params"]):
        raise ValueError(f"optimizer must hold a trainable weight of the model; got none of its {len(own)}")


def _bar(progress: bool) -> tqdm:
    """A bar that fills as the budget is spent."""
    return tqdm(total=1.0, disable=not progress, bar_format="{l_bar}{bar}| {postfix}")


@contextmanager
def _scheduled(optimizer: torch.optim.Optimizer, schedule: Callable[[float], float] | None) -> Iterator[Callable]:
    """A function that sets the rates for a spent fraction; the rates are given back at the end."""
    rates = [group["lr"] for group in optimizer.param_groups]

    def set_rates(fraction: float) -> float:
        factor = 1.0 if schedule is None else check_real("schedule's factor", schedule(fraction), minimum=0.0)
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * factor
        return optimizer.param_groups[0]["lr"]

    try:
        yield set_rates
    finally:
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate


class _Spending:
    """What this training has spent so far, and whether another step fits the budget."""

    def __init__(self, model: nn.Module, budget: Budget, batch_size: int, time_steps: int, evaluations: int | None):
        layer = getattr(model, "layer", None)
        layer = layer if hasattr(layer, "update_circuits") else None
        self.ledger: CostLedger = getattr(layer, "cost", None) or CostLedger()
        self.budget, self.steps = budget, 0
        if layer is None:
            self.next_circuits = 0
        elif evaluations is None:
            self.next_circuits = layer.update_circuits(batch_size, time_steps)
        else:  # forward passes alone
            self.next_circuits = batch_size * evaluations
        self.shots_each = layer.backend.shots if layer is not None else 0
        if budget.circuits is not None and layer is None:
            raise ValueError(f"budget must be in steps for a model without a quantum layer; got {budget}")
        if budget.shots is not None and not self.shots_each:
            raise ValueError(f"budget must not be in shots on a backend that draws none; got {budget}")
        self.start = (self.ledger.circuits, self.ledger.shots, self.ledger.seconds)
        if not self.allows_another():
            raise ValueError(f"budget must allow one step, which takes {self.next_circuits} circuits; got {budget}")

    def row(self) -> dict:
        spent = (self.ledger.circuits, self.ledger.shots, self.ledger.seconds)
        circuits, shots, seconds = (now - start for now, start in zip(spent, self.start))
        return {"step": self.steps, "circuits": circuits, "shots": shots, "seconds": seconds}

    def fraction(self) -> float:
        row = self.row()
        return self.budget.fraction(self.steps, row["circuits"], row["shots"])

    def allows_another(self) -> bool:
        row = self.row()
        circuits = row["circuits"] + self.next_circuits
        shots = row["shots"] + self.next_circuits * self.shots_each
        return self.budget.fraction(self.steps + 1, circuits, shots) <= 1


def _update(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, washout: int
) -> float:
    """One optimiser step; returns the loss that it reports."""

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(_outputs(model, "train", x, y)[:, washout:], y[:, washout:])
        if torch.is_grad_enabled():  # torch's optimisers enable it; SPSAOptimizer asks for the loss alone
            if not loss.requires_grad:
                raise ValueError("model must return outputs that depend on its weights; got some that do not")
            loss.backward()
        return loss

    loss = float(optimizer.step(closure).detach())
    if not math.isfinite(loss):
        words = "train y is too large, the optimizer's rate too high, or the model diverges by itself"
        raise ValueError(f"train must lead to finite losses; got {loss}: {words}")
    return loss


def _outputs(model: nn.Module, name: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The model's outputs for the part of that name, if they have the shape of its y."""
    try:
        answer = model(x)
    except (TypeError, ValueError, NotImplementedError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"model must take {name} x, here {x.dtype} of shape {tuple(x.shape)}: {error}") from error
    outputs = answer[0] if isinstance(answer, (tuple, list)) and answer else None
    if not isinstance(outputs, torch.Tensor) or outputs.shape != y.shape:
        got = shown(answer) if outputs is None else getattr(outputs, "shape", type(outputs).__name__)
        raise ValueError(f"model must return (y, state), y of the shape {tuple(y.shape)} of {name} y; got {got}")
    return outputs


@torch.no_grad()
def _score(model: nn.Module, x: torch.Tensor, y: torch.Tensor, scored: int, ledger: CostLedger) -> float:
    """NRMSE over the last outputs, booked apart from training."""
    with ledger.scope("validation"):
        outputs = _outputs(model, "validation", x, y)[:, -scored:]
    try:
        return nrmse(outputs, y[:, -scored:])
    except ValueError as error:
        raise ValueError(f"validation must be scored against the model's outputs: {error}") from error


def _batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Endless batches of indices: one shuffled epoch after another, joined without a gap."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def _collated(name: str, data: Dataset) -> list:
    """All items of a dataset, together."""
    try:
        check_bytes("length", 8 * len(data), f"{len(data)} items")
        return default_collate([data[i] for i in range(len(data))])
    except Exception as error:  # no length, no items, items of unlike shapes, or whatever the dataset raises
        words = f"got a {type(data).__name__} that gives {type(error).__name__}: {error}"
        raise ValueError(
            f"{name} must be a torch Dataset with a length, of pairs (x, y) of one shape; {words}"
        ) from error


def _pair(name: str, data: Dataset | tuple) -> tuple[torch.Tensor, torch.Tensor]:
    """The tensors x and y of a pair or a dataset, checked."""
    if not isinstance(data, (tuple, list)):
        data = _collated(name, check_instance(name, data, Dataset, "a pair (x, y) or a torch Dataset of such pairs"))
    if len(data) != 2:
        raise ValueError(f"{name} must be a pair (x, y); got {len(data)} parts")
    x, y = data
    check_tensor(f"{name} x", x, ("windows", "time", "features"))
    check_tensor(f"{name} y", y, (x.shape[0], x.shape[1], "features"))
    return x, y
