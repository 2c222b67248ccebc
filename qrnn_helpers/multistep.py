"""Training for closed loops: readouts solved while the rest learns, noise on the inputs, errors of several steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from .checks import check_instance, check_integer, check_real, check_tensor, shown, torch_generator
from .tasks import Task
from .training import cosine

__all__ = ["loop_loss", "ridge_readout", "train_features", "train_in_loop", "whitening"]

FORGET = 0.02
"""Weight of a new batch in the running moments from which `train_features` solves the readout."""

FIRST = 5
"""Batches that fill the moments before the first update."""


@torch.inference_mode(False)
@torch.enable_grad()
def train_features(
    features: Callable[[torch.Tensor], torch.Tensor], weights: Sequence[torch.Tensor], task: Task, *,
    rate: float, updates: int, penalty: float = 1e-7, noise: float = 0.0, batch: int = 256,
    seed: int | torch.Generator | None = None,
) -> list[float]:  # fmt: skip
    """Adam on the ``weights`` behind ``features``, whose linear readout is solved anew at every update.

    ``features`` maps windows (n, steps, inputs) to (n, steps, k).  For given features the best readout W is
    ridge regression, so the loss is a function of the weights alone; where W is optimal it does not add to
    the slope, and W may be held fixed in the backward pass (variable projection: G. H. Golub & V. Pereyra,
    SIAM J. Numer. Anal. 10 (1973) 413).  The moments that W is solved from are running means over
    batches.  ``noise``: standard deviation of what is added to the inputs, not to y.  The rate falls along a
    cosine.  Returns the losses on the scored steps; the last readout is the caller's to fit.
    """
    check_instance("task", task, Task, "a Task")
    updates, batch = (check_integer(k, v, minimum=1) for k, v in {"updates": updates, "batch": batch}.items())
    noise = check_real("noise", noise, minimum=0.0)
    optimizer, generator = torch.optim.Adam(weights, lr=check_real("rate", rate, 0.0, True)), torch_generator(seed)
    x, y = task.train[0], task.train[1][:, task.lags - 1 :]
    moments, losses = None, []
    for k in range(-FIRST, updates):
        rows = torch.randint(len(x), (batch,), generator=generator, device=generator.device).to(x.device)
        noisy = x[rows] + noise * _normal(x[rows], generator)
        seen, target = _with_inputs(features, noisy)[:, task.lags - 1 :].flatten(0, 1), y[rows].flatten(0, 1)
        moments = _updated(moments, seen.detach(), target)
        if k < 0:
            continue
        optimizer.param_groups[0]["lr"] = rate * cosine(k / updates)
        loss = (seen @ _readout(*moments, penalty) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(_finite(loss))
    return losses


@torch.inference_mode(False)
@torch.enable_grad()
def train_in_loop(
    advance: Callable[[torch.Tensor], torch.Tensor], weights: Sequence[torch.Tensor], series: torch.Tensor, *,
    steps: int, horizon: int, rate: float, updates: int, noise: float = 0.0, batch: int = 32,
    unit: torch.Tensor | float = 1.0, seed: int | torch.Generator | None = None,
) -> list[float]:  # fmt: skip
    """Adam on the mean squared error of ``horizon`` steps in closed loop, by exact slopes through all of them.

    ``advance`` maps histories (n, steps, ...) to the next sample (n, ...), ``series`` (trajectory, time, ...) are
    true samples; errors are multiplied by ``unit``.  ``noise`` is the standard deviation of what is added to
    the history alone, so that the loop learns to come back to the truth.  One step without noise is ordinary
    training.  The rate falls along a cosine.  Returns the losses.
    """
    check_instance("advance", advance, Callable, "a function of histories")
    steps, horizon, updates, batch = (
        check_integer(name, value, minimum=1)
        for name, value in {"steps": steps, "horizon": horizon, "updates": updates, "batch": batch}.items()
    )
    noise, length = check_real("noise", noise, minimum=0.0), steps + horizon
    if check_instance("series", series, torch.Tensor, "a tensor (trajectory, time, ...)").shape[1] < length:
        raise ValueError(f"series must have {length} times or more; got shape {tuple(series.shape)}")
    optimizer, generator = torch.optim.Adam(weights, lr=check_real("rate", rate, 0.0, True)), torch_generator(seed)
    losses = []
    for k in range(updates):
        optimizer.param_groups[0]["lr"] = rate * cosine(k / updates)
        place = {"generator": generator, "device": generator.device}
        trajectory = torch.randint(len(series), (batch, 1), **place)
        time = torch.randint(series.shape[1] - length + 1, (batch, 1), **place)
        time = time + torch.arange(length, dtype=time.dtype, device=time.device)
        pieces = series[trajectory.to(series.device), time.to(series.device)]
        kick = noise * _normal(pieces[:, :steps], generator)
        loss = loop_loss(advance, pieces[:, :steps] + kick, pieces[:, steps:], unit)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(_finite(loss))
    return losses


def loop_loss(
    advance: Callable[[torch.Tensor], torch.Tensor], history: torch.Tensor, truth: torch.Tensor, unit=1.0
) -> torch.Tensor:
    """Mean squared error of a closed loop from ``history`` (n, steps, ...) over ``truth`` (n, horizon, ...)."""
    check_tensor("history", history, ("n", "steps", *history.shape[2:]))
    total = 0.0
    for k in range(truth.shape[1]):
        new = _shaped("advance", advance(history), truth[:, k].shape)
        total = total + ((new - truth[:, k]) * unit).square().mean()
        history = torch.cat([history[:, 1:], new[:, None]], dim=1)
    return total / truth.shape[1]


def ridge_readout(rows: torch.Tensor, target: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (outputs, k) and offsets (outputs,) of ridge regression on features (n, k) brought to unit variance."""
    mean, size = rows.mean(0), rows.std(0)
    size = torch.where(size > 1e-12 * rows.abs().max(), size, 1.0)
    scaled, middle = (rows - mean) / size, target.mean(0)
    gram = scaled.T @ scaled / len(rows) + penalty * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    weights = torch.linalg.solve(gram, scaled.T @ (target - middle) / len(rows)) / size[:, None]
    return weights.T, middle - mean @ weights


def whitening(features: torch.Tensor, penalty: float = 1e-9) -> torch.Tensor:
    """P (k, k) such that features P have unit covariance, rows (n, k) given: a start from which Adam makes headway.

    Directions whose variance is below ``penalty`` times the largest are damped instead of blown up.
    """
    values, vectors = torch.linalg.eigh(torch.cov(features.T))
    return vectors / (values.clamp_min(0) + penalty * values.max()).sqrt()


def _with_inputs(features: Callable, x: torch.Tensor) -> torch.Tensor:
    """Features, the inputs and 1: (n, steps, k + inputs + 1)."""
    found = _shaped("features", features(x), (*x.shape[:2], None))
    return torch.cat([found, x, torch.ones_like(x[..., :1])], dim=-1)


def _shaped(name: str, answer: torch.Tensor, shape: tuple) -> torch.Tensor:
    """What a caller's function returned, if it is a tensor of that shape (None: any size)."""
    came = tuple(answer.shape) if isinstance(answer, torch.Tensor) else shown(answer)
    fits = isinstance(came, tuple) and len(came) == len(shape)
    if not fits or any(want not in (None, got) for got, want in zip(came, shape)):
        raise ValueError(f"{name} must return a tensor of shape {tuple(shape)}; got {came}")
    return answer


def _normal(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers of the shape, dtype and device of ``like``."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return drawn.to(like.device)


def _updated(moments: tuple | None, rows: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Running means of F^T F and F^T y."""
    new = rows.T @ rows / len(rows), rows.T @ target / len(rows)
    return new if moments is None else tuple(torch.lerp(old, each, FORGET) for old, each in zip(moments, new))


def _readout(gram: torch.Tensor, right: torch.Tensor, penalty: float) -> torch.Tensor:
    """Ridge regression for features of unit mean square."""
    size = gram.diagonal().clamp_min(1e-12 * gram.diagonal().max()).sqrt()
    scaled = gram / size / size[:, None] + penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(scaled, right / size[:, None]) / size[:, None]


def _finite(loss: torch.Tensor) -> float:
    if not math.isfinite(value := loss.item()):
        raise ValueError(f"rate must lead to finite losses; got {value}: it is too high, or the loop diverges")
    return value
