"""Training under a budget of steps, circuits or shots."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..backends import CostLedger
from ..checks import check_bool, check_count, check_instance, check_integer, shown, torch_generator
from ..tasks import Pair, nrmse
from .batches import check_pair, shuffled
from .budget import Budget, Spending, cosine
from .loop import Schedule, updates

BatchSource = Callable[[torch.Tensor, torch.Tensor, int, torch.Generator], Iterator]
"""x, y, batch size and generator -> batches, whatever the loss takes."""

Loss = Callable[[nn.Module, Any], torch.Tensor]
"""Model and batch -> a scalar tensor."""

Watch = Callable[[dict[str, float]], object]
"""Row of the curve -> nothing that is used; an error that it raises ends the training."""

COLUMNS = ["step", "circuits", "shots", "seconds", "rate", "train_loss", "validation_nrmse"]


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
    watch: Watch | None = None,
) -> pd.DataFrame:
    """Train ``model`` on mean squared error after the first ``washout`` steps; returns the curve.

    ``train`` and ``validation`` are pairs (x, y) of shape (windows, time, features), or datasets of such
    pairs; ``model(x)`` returns (y, state).  What a batch needs goes to the device of the model's weights.  Each
    of the optimiser's learning rates is multiplied by ``schedule(spent fraction of the budget)``.  The validation
    NRMSE, over the last ``scored_steps`` outputs (default: all after the washout), is computed about
    ``validations`` times and after the last step, with the model's own backends; its circuits are booked on the
    ledgers' scope "validation".

    ``watch(row)`` is called after every update; what it raises ends the training.

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
    _check_model(model)
    _check_optimizer(optimizer, model)
    check_instance("budget", budget, Budget, "a Budget")
    check_bool("progress", progress)
    check_instance("schedule", schedule, Callable | None, "a function of the spent fraction, or None")
    check_instance("batches", batches, Callable, "a function of x, y, batch size and generator")
    check_instance("loss", loss, Callable | None, "a function of model and batch, or None")
    check_instance("watch", watch, Callable | None, "a function of a row of the curve, or None")
    x, y = check_pair("train", train)
    held_out = check_pair("validation", validation)
    washout = check_integer("washout", washout, minimum=0, maximum=x.shape[1] - 1)
    scored_steps = x.shape[1] - washout if scored_steps is None else scored_steps
    scored_steps = check_integer("scored_steps", scored_steps, minimum=1, maximum=x.shape[1])
    batch_size = check_integer("batch_size", batch_size, minimum=1, maximum=len(x))
    validations = min(check_count("validations", validations), 10**9)
    source = batches(x, y, batch_size, torch_generator(seed))
    check_instance("batches' answer", source, Iterator, "an iterator over batches")
    spending = Spending(model, budget, getattr(optimizer, "evaluations", None))
    score = partial(_score, model, *held_out, scored_steps, spending.ledgers)
    loss_of = partial(_checked_loss, loss or partial(_squared_error, washout=washout), model)
    training = updates(optimizer, source, loss_of, spending, schedule)
    curve = _curve(training, spending, score, validations, progress, watch)
    if not curve:
        raise _no_step(spending)
    if "validation_nrmse" not in curve[-1]:
        curve[-1]["validation_nrmse"] = score()
    return pd.DataFrame(curve, columns=COLUMNS)


def _curve(
    training: Generator[dict[str, float], None, None],
    spending: Spending,
    score: Callable[[], float],
    validations: int,
    progress: bool,
    watch: Watch | None,
) -> list[dict]:
    """The rows of all updates, every so often with a score."""
    curve = []
    scores = 0
    with closing(training), tqdm(total=1.0, disable=not progress, bar_format="{l_bar}{bar}| {postfix}") as bar:
        for row in training:
            fraction = spending.fraction()
            if not fraction:
                words = "budget must be in steps for a model that runs no circuits in training"
                raise ValueError(f"{words}; got {spending.budget}")
            if int(fraction * validations) > scores:
                scores = int(fraction * validations)
                row["validation_nrmse"] = score()
                bar.set_postfix(loss=row["train_loss"], validation_nrmse=row["validation_nrmse"], refresh=False)
            curve.append(row)
            if watch is not None:
                watch(row)
            bar.update(fraction - bar.n)
    return curve


def _no_step(spending: Spending) -> ValueError:
    if spending.allows_another():
        return ValueError("batches must give a batch for the first step; got none")
    words = f"one step, which takes {spending.step_circuits} circuits or more"
    return ValueError(f"budget must allow {words}; got {spending.budget}")


def _check_model(model: nn.Module) -> None:
    check_instance("model", model, nn.Module, "a torch module")
    if any(weight.is_meta or weight.is_inference() for weight in model.parameters()):
        raise ValueError("model must hold weights with values, made outside inference mode; got others")


def _check_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """One of other weights would train nothing."""
    check_instance("optimizer", optimizer, torch.optim.Optimizer, "a torch optimizer")
    groups = optimizer.param_groups
    trainable = {id(weight) for weight in model.parameters() if weight.requires_grad}
    if trainable.isdisjoint(id(weight) for group in groups for weight in group["params"]):
        raise ValueError(f"optimizer must hold a trainable weight of the model; got none of its {len(trainable)}")
    if any("lr" not in group for group in groups):
        raise ValueError('optimizer must have a learning rate "lr" in every group; got a group without')


def _checked_loss(loss: Loss, model: nn.Module, batch: Any) -> torch.Tensor:
    """The loss of a batch, which depends on the weights."""
    value = loss(model, batch)
    if not _is_real(value) or value.numel() != 1:
        raise TypeError(f"loss must return a real tensor of one number; got {shown(value)}")
    if torch.is_grad_enabled() and not value.requires_grad:
        raise ValueError("model must return outputs that depend on its weights; got some that do not")
    return value


def _squared_error(model: nn.Module, batch: Pair, washout: int) -> torch.Tensor:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(f"batches must be pairs (x, y) without a loss of their own; got {shown(batch)}")
    outputs = _outputs(model, "train", *batch)
    return nn.functional.mse_loss(outputs[:, washout:], batch[1][:, washout:].to(outputs.device))


def _outputs(model: nn.Module, name: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The model's outputs for the part of that name, if they have the shape of its y."""
    try:
        answer = model(x.to(next(model.parameters()).device))
    except (TypeError, ValueError, NotImplementedError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"model must take {name} x, here {x.dtype} of shape {tuple(x.shape)}: {error}") from error
    outputs = answer[0] if isinstance(answer, (tuple, list)) and answer else None
    if not _is_real(outputs) or outputs.shape != y.shape:
        got = f"{outputs.dtype} {tuple(outputs.shape)}" if isinstance(outputs, torch.Tensor) else shown(answer)
        raise ValueError(f"model must return (y, state), y real of the shape {tuple(y.shape)} of {name} y; got {got}")
    return outputs


def _is_real(value: object) -> bool:
    return isinstance(value, torch.Tensor) and not value.is_complex() and not value.is_meta


@torch.no_grad()
def _score(model: nn.Module, x: torch.Tensor, y: torch.Tensor, scored: int, ledgers: list[CostLedger]) -> float:
    """NRMSE over the last outputs, in eval mode, booked apart from training."""
    with _unchanged(model), ExitStack() as scopes:
        for ledger in ledgers:
            scopes.enter_context(ledger.scope("validation"))
        model.eval()
        outputs = _outputs(model, "validation", x, y)[:, -scored:]
    try:
        return nrmse(outputs.double(), y[:, -scored:].double())  # NumPy knows no bfloat16
    except ValueError as error:
        raise ValueError(f"validation must be scored against the model's outputs: {error}") from error


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Afterwards every module is in its own mode again, and every buffer holds what it held."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(module, *named, named[1].clone()) for module in modes for named in module.named_buffers(recurse=False)]
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for module, name, buffer, values in buffers:
            setattr(module, name, buffer.copy_(values))
