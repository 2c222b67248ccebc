"""Rivals without gradient descent: fixed features of the inputs so far, and a ridge readout.

One signature for all: fit(task, seed, **setting) -> `Fitted`.  Each is fitted to the scored steps of the
training windows alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import check_bytes
from ..tasks import Fitted, Task
from ..training import ridge_readout

Features = Callable[[Tensor], Tensor]


def persistence(task: Task, seed: int = 0) -> Fitted:
    """The output before, again, as far as the inputs show it: the task's own ``still``."""
    if task.still is None:
        raise ValueError(f"task must have a persistence; got {task.name!r}, whose outputs are never seen")
    return Fitted(task.still, 0, f"{task.sees}, the output before")


def linear(task: Task, seed: int = 0, *, lags: int, penalty: float) -> Fitted:
    """y_t = W [x_t, x_t-1, ..., x_t-lags+1] + w."""
    return ridge(task, lambda x: lagged(x, lags), penalty, _span(task, lags))


def nvar(task: Task, seed: int = 0, *, lags: int, penalty: float) -> Fitted:
    """Nonlinear vector autoregression: a linear readout of the lagged inputs and of all their products.

    Gauthier, Bollt, Griffith & Barbosa, Nat. Commun. 12 (2021) 5564, of second order.
    """
    return ridge(task, lambda x: quadratic(lagged(x, lags)), penalty, _span(task, lags))


def ridge(task: Task, features: Features, penalty: float, sees: str) -> Fitted:
    """The readout y = W f(x) + w that minimises mean |error|^2 + penalty |W|^2, features of unit variance."""
    x, y = task.train
    count = features(x[:1]).shape[-1]
    check_bytes("task", 8 * len(x) * x.shape[1] * count, f"{len(x)} training windows")
    scored = slice(task.lags - 1, None)
    rows = features(x)[:, scored].flatten(0, 1)
    target = y[:, scored].flatten(0, 1)
    weights, offset = ridge_readout(rows, target, penalty, correction=0)

    def predict(x: Tensor) -> Tensor:
        return features(x) @ weights.T + offset

    return Fitted(predict, weights.numel() + offset.numel(), sees)


def lagged(x: Tensor, lags: int) -> Tensor:
    """The last ``lags`` inputs at each step, (windows, steps, lags * features), newest first.

    Before a window begins, its first input stands in.
    """
    padded = torch.cat([x[:, :1].expand(-1, lags - 1, -1), x], dim=1)
    return torch.cat([padded[:, lags - 1 - k : padded.shape[1] - k] for k in range(lags)], dim=-1)


def quadratic(features: Tensor) -> Tensor:
    """Features and their products with themselves and each other, each once."""
    count = features.shape[-1]
    i, j = torch.triu_indices(count, count, dtype=torch.int64, device=features.device)
    return torch.cat([features, features[..., i] * features[..., j]], dim=-1)


def _span(task: Task, lags: int) -> str:
    """What a model with so many lags sees, in words."""
    return f"{task.sees}, {lags} step{'s' * (lags > 1)}"
