"""Training what a linear readout by ridge regression is fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..checks import check_instance, check_integer, check_real, torch_generator
from ..tasks import Task
from .budget import cosine
from .ridge import ridge_from_moments
from .rollout import check_answer, check_finite, normal_like

__all__ = ["train_features", "whitening"]


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
        noisy = x[rows] + noise * normal_like(x[rows], generator)
        seen, target = _with_inputs(features, noisy)[:, task.lags - 1 :].flatten(0, 1), y[rows].flatten(0, 1)
        moments = _updated(moments, seen.detach(), target)
        if k < 0:
            continue
        optimizer.param_groups[0]["lr"] = rate * cosine(k / updates)
        loss = (seen @ ridge_from_moments(*moments, penalty) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(check_finite(loss))
    return losses


def whitening(features: torch.Tensor, penalty: float = 1e-9) -> torch.Tensor:
    """P (k, k) such that features P have unit covariance, rows (n, k) given: a start from which Adam makes headway.

    Directions whose variance is below ``penalty`` times the largest are damped instead of blown up.
    """
    values, vectors = torch.linalg.eigh(torch.cov(features.T))
    return vectors / (values.clamp_min(0) + penalty * values.max()).sqrt()


def _with_inputs(features: Callable, x: torch.Tensor) -> torch.Tensor:
    """Features, the inputs and 1: (n, steps, k + inputs + 1)."""
    found = check_answer("features", features(x), (*x.shape[:2], None))
    return torch.cat([found, x, torch.ones_like(x[..., :1])], dim=-1)


def _updated(moments: tuple | None, rows: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Running means of F^T F and F^T y."""
    new = rows.T @ rows / len(rows), rows.T @ target / len(rows)
    return new if moments is None else tuple(torch.lerp(old, each, FORGET) for old, each in zip(moments, new))
