"""Training under a budget of steps, circuits or shots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset, default_collate
from tqdm.auto import tqdm

from ..backends import CostLedger
from ..checks import check_bytes, check_instance, check_integer, check_tensor, shown, torch_generator
from ..tasks import Pair, nrmse
from .budget import Budget, Spending, cosine
from .loop import Schedule, updates

__all__ = ["fit", "shuffled"]


BatchSource = Callable[[torch.Tensor, torch.Tensor, int, torch.Generator], Iterator]
"""x, y, batch size and generator -> batches, whatever the loss takes."""

Loss = Callable[[nn.Module, Any], torch.Tensor]
"""Model and batch -> a scalar tensor."""


def shuffled(x: torch.Tensor, y: torch.Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Pair]:
    """Batches (x, y) without replacement: one shuffled epoch after another, without end, joined without a gap."""
    device = generator.device
    waiting = torch.empty(0, dtype=torch.int64, device=device)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(len(x), generator=generator, device=device)])
        rows, waiting = waiting[:batch_size], waiting[batch_size:]
        yield x[rows.to(x.device)], y[rows.to(y.device)]


@torch.inference_mode(False)  # wherever it is called: updates need gradients
def fit(
    model: nn.Module,
    train: Dataset | Pair,
    validation: Dataset | Pair,
    *,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    budget: Budget,
    washout: int = 0,
    seed: int | torch.Generator | None = None,
    progress: bool = True,
    schedule: Schedule | None = cosine,
    scored_steps: int | None = None,
    validations: int = 20,
    batches: BatchSource = shuffled,
    loss: Loss | None = None,
) -> pd.DataFrame:
    """Train ``model`` on mean squared error after the first ``washout`` steps; returns the curve.

    ``train`` and ``validation`` are pairs (x, y) of shape (windows, time, features), or datasets of such
    pairs; ``model(x)`` returns (y, state).  What a batch needs goes to the device of the model's weights.  Each
    of the optimiser's learning rates is multiplied by ``schedule(spent fraction of the budget)``.  The validation
    NRMSE, over the last ``scored_steps`` outputs (default: all after the washout), is computed about
    ``validations`` times and after the last step, with the model's own backends; its circuits are booked on the
    ledgers' scope "validation".

    ``batches(x, y, batch_size, generator)`` iterates over batches, pairs (x, y) unless given; training ends with
    them.  ``loss(model, batch)`` is the scalar that is minimised instead of the mean squared error.

    Updates leave every module in the mode it comes in, so call ``model.train()`` for dropout and batch statistics;
    dropout draws from torch's global generator.  Scores are taken in eval mode; modes and buffers are then as before.

    An optimiser may call its closure several times a step (LBFGS).  A call that would exceed the budget is not made:
    the step, and training with it, ends there, on those weights of it whose loss was the smallest, the optimiser's
    state as before the step.  One that has ``evaluations`` (`SPSAOptimizer`) gets losses alone: it evaluates the
    model that often an update, which then takes batch_size * evaluations circuits of each layer.

    Columns, a row an update: ``step, circuits, shots, seconds, rate, train_loss, validation_nrmse`` (NaN
    where it was not computed); circuits, shots and seconds are sums over all quantum layers in the model;
    ``train_loss`` is what the optimiser's step returns, with gradients the loss before the update.  ``seed``
    draws the batches: without replacement, epoch by epoch.
    """
    _check_objects(model, optimizer, budget, progress, schedule, batches, loss)
    x, y = _pair("train", train)
    held_out = _pair("validation", validation)
    washout = check_integer("washout", washout, minimum=0, maximum=x.shape[1] - 1)
    scored_steps = x.shape[1] - washout if scored_steps is None else scored_steps
    scored = check_integer("scored_steps", scored_steps, minimum=1, maximum=x.shape[1])
    batch_size = check_integer("batch_size", batch_size, minimum=1, maximum=len(x))
    validations = min(check_integer("validations", validations, minimum=1), 10**9)
    source = batches(x, y, batch_size, torch_generator(seed))
    check_instance("batches' answer", source, Iterator, "an iterator over batches")
    spending = Spending(model, budget, getattr(optimizer, "evaluations", None))
    rows = []
    scores = 0
    with (
        closing(updates(optimizer, source, partial(_loss, model, loss, washout), spending, schedule)) as training,
        _bar(progress) as bar,
    ):
        for row in training:
            if not spending.fraction():
                raise ValueError(f"budget must be in steps for a model that runs no circuits in training; got {budget}")
            row["validation_nrmse"] = math.nan
            due = int(spending.fraction() * validations)
            if due > scores:
                scores = due
                row["validation_nrmse"] = _score(model, *held_out, scored, spending.ledgers)
                bar.set_postfix(loss=row["train_loss"], validation_nrmse=row["validation_nrmse"], refresh=False)
            rows.append(row)
            bar.update(spending.fraction() - bar.n)
    if not rows:
        raise _no_step(spending)
    if math.isnan(rows[-1]["validation_nrmse"]):
        rows[-1]["validation_nrmse"] = _score(model, *held_out, scored, spending.ledgers)
    return pd.DataFrame(rows)


def _no_step(spending: Spending) -> ValueError:
    if spending.allows_another():
        return ValueError("batches must give a batch for the first step; got none")
    words = f"one step, which takes {spending.step_circuits} circuits or more"
    return ValueError(f"budget must allow {words}; got {spending.budget}")


def _loss(model: nn.Module, loss: Loss | None, washout: int, batch: Any) -> torch.Tensor:
    """The loss of a batch, which depends on the weights."""
    value = _squared_error(model, batch, washout) if loss is None else loss(model, batch)
    scalar = isinstance(value, torch.Tensor) and value.numel() == 1 and value.is_floating_point() and not value.is_meta
    if not scalar:
        raise TypeError(f"loss must return a real tensor of one number; got {shown(value)}")
    if torch.is_grad_enabled() and not value.requires_grad:
        raise ValueError("model must return outputs that depend on its weights; got some that do not")
    return value


def _squared_error(model: nn.Module, batch: Pair, washout: int) -> torch.Tensor:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(f"batches must be pairs (x, y) without a loss of their own; got {shown(batch)}")
    x, y = batch
    outputs = _outputs(model, "train", x, y)
    return nn.functional.mse_loss(outputs[:, washout:], y[:, washout:].to(outputs.device))


def _check_objects(model, optimizer, budget, progress, schedule, batches, loss) -> None:
    """The arguments of `fit` that are no data and no counts; an optimiser of other weights would train nothing."""
    check_instance("model", model, nn.Module, "a torch module")
    check_instance("optimizer", optimizer, torch.optim.Optimizer, "a torch optimizer")
    check_instance("budget", budget, Budget, "a Budget")
    check_instance("progress", progress, bool, "True or False")
    if schedule is not None:
        check_instance("schedule", schedule, Callable, "a function of the spent fraction, or None")
    check_instance("batches", batches, Callable, "a function of x, y, batch size and generator")
    if loss is not None:
        check_instance("loss", loss, Callable, "a function of model and batch, or None")
    own = {id(weight) for weight in model.parameters() if weight.requires_grad}
    if not any(id(weight) in own for group in optimizer.param_groups for weight in group["params"]):
        raise ValueError(f"optimizer must hold a trainable weight of the model; got none of its {len(own)}")
    if any(weight.is_meta or weight.is_inference() for weight in model.parameters()):
        raise ValueError("model must hold weights with values, made outside inference mode; got others")
    if any("lr" not in group for group in optimizer.param_groups):
        raise ValueError('optimizer must have a learning rate "lr" in every group; got a group without')


def _bar(progress: bool) -> tqdm:
    """A bar that fills as the budget is spent."""
    return tqdm(total=1.0, disable=not progress, bar_format="{l_bar}{bar}| {postfix}")


def _outputs(model: nn.Module, name: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The model's outputs for the part of that name, if they have the shape of its y."""
    try:
        answer = model(x.to(next(model.parameters()).device))
    except (TypeError, ValueError, NotImplementedError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"model must take {name} x, here {x.dtype} of shape {tuple(x.shape)}: {error}") from error
    outputs = answer[0] if isinstance(answer, (tuple, list)) and answer else None
    numbers = isinstance(outputs, torch.Tensor) and not outputs.is_complex() and not outputs.is_meta
    if not numbers or outputs.shape != y.shape:
        got = f"{outputs.dtype} {tuple(outputs.shape)}" if isinstance(outputs, torch.Tensor) else shown(answer)
        raise ValueError(f"model must return (y, state), y real of the shape {tuple(y.shape)} of {name} y; got {got}")
    return outputs


@torch.no_grad()
def _score(model: nn.Module, x: torch.Tensor, y: torch.Tensor, scored: int, ledgers: list[CostLedger]) -> float:
    """NRMSE over the last outputs, in eval mode, booked apart from training."""
    with _as_it_was(model), ExitStack() as scopes:
        for ledger in ledgers:
            scopes.enter_context(ledger.scope("validation"))
        model.eval()
        outputs = _outputs(model, "validation", x, y)[:, -scored:]
    try:
        return nrmse(outputs.double(), y[:, -scored:].double())  # NumPy knows no bfloat16
    except ValueError as error:
        raise ValueError(f"validation must be scored against the model's outputs: {error}") from error


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Afterwards every module is in its own mode again, and every buffer holds what it held."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(module, *own, own[1].clone()) for module in modes for own in module.named_buffers(recurse=False)]
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for module, name, buffer, old in buffers:
            setattr(module, name, buffer.copy_(old))


def _collated(name: str, data: Dataset) -> list:
    """All items of a dataset, together."""
    try:
        first = sum(part.nbytes for part in map(torch.as_tensor, data[0]))
        check_bytes("length", 2 * len(data) * (8 + first), f"{len(data)} items of {first} bytes")  # alone and together
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
