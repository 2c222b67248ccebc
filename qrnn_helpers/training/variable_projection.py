"""Training what a linear readout by ridge regression is fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..checks import check_instance, check_positive, check_real, torch_generator
from ..tasks import Pair, Task
from .loop import minimise
from .ridge import ridge_from_moments
from .rollout import check_answer, check_counts, check_finite, normal_like

Features = Callable[[Tensor], Tensor]

FIRST = 5
"""Batches that fill the moments before the first update."""

FORGET = 0.02
"""Weight of a new batch in the running moments."""


@torch.inference_mode(False)
@torch.enable_grad()
def train_features(
    features: Features, weights: Sequence[Tensor], task: Task, *,
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
    updates, batch = check_counts(updates=updates, batch=batch)
    noise = check_real("noise", noise, minimum=0.0)
    optimizer = torch.optim.Adam(weights, lr=check_positive("rate", rate))
    windows = _noisy_windows(task, batch, noise, torch_generator(seed))
    gram = _RunningMean()
    right = _RunningMean()

    def scored(window: Pair) -> Pair:
        """Features and targets of the scored steps, (n, k) and (n, outputs), counted in the moments."""
        x, y = window
        rows = _with_inputs(features, x)[:, task.lags - 1 :].flatten(0, 1)
        target = y.flatten(0, 1)
        known = rows.detach()
        gram.update(known.T @ known / len(known))
        right.update(known.T @ target / len(known))
        return rows, target

    def loss(window: Pair) -> Tensor:
        rows, target = scored(window)
        readout = ridge_from_moments(gram.value, right.value, penalty)
        return check_finite((rows @ readout - target).square().mean())

    for _ in range(FIRST):
        scored(next(windows))
    return minimise(optimizer, windows, loss, updates)


def whitening(features: Tensor, penalty: float = 1e-9) -> Tensor:
    """P (k, k) such that features P have unit covariance, rows (n, k) given: a start from which Adam makes headway.

    Directions whose variance is below ``penalty`` times the largest are damped instead of blown up.
    """
    values, vectors = torch.linalg.eigh(torch.cov(features.T))
    return vectors / (values.clamp_min(0) + penalty * values.max()).sqrt()


class _RunningMean:
    """Of tensors, one a batch."""

    value: Tensor | None = None

    def update(self, new: Tensor) -> None:
        self.value = new if self.value is None else torch.lerp(self.value, new, FORGET)


def _noisy_windows(task: Task, count: int, noise: float, generator: torch.Generator) -> Iterator[Pair]:
    """Training windows drawn with replacement: noisy inputs, and the targets of the scored steps."""
    x, y = task.train
    while True:
        rows = torch.randint(len(x), (count,), generator=generator, device=generator.device).to(x.device)
        inputs = x[rows]
        yield inputs + noise * normal_like(inputs, generator), y[rows, task.lags - 1 :]


def _with_inputs(features: Features, x: Tensor) -> Tensor:
    """Features, the inputs and 1: (n, steps, k + inputs + 1)."""
    answer = check_answer("features", features(x), (*x.shape[:2], None))
    return torch.cat([answer, x, torch.ones_like(x[..., :1])], dim=-1)
