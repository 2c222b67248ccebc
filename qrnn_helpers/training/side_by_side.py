"""Many trainings of one shape as one batch: seeds, learning rates, perturbation sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np
import torch
from torch.utils.data import Dataset

from ..checks import check_count, check_instance, check_integer, check_real, torch_generator
from ..models import StackedQRNN
from ..tasks import Pair
from .batches import check_pair, shuffled
from .budget import Budget, Spending, cosine
from .loop import Schedule, updates
from .trainer import Watch

OptimizerMaker = Callable[..., torch.optim.Optimizer]
"""Parameters and lr -> an optimiser whose steps are proportional to its rate and act number by number."""


def fit_side_by_side(
    stack: StackedQRNN,
    train: Dataset | Pair | list[Pair],
    *,
    rates: Sequence[float],
    batch_size: int,
    budget: Budget,
    washout: int = 0,
    seeds: Sequence[int | torch.Generator],
    optimizer: OptimizerMaker = torch.optim.Adam,
    schedule: Schedule | None = cosine,
    stop: int | None = None,
    watch: Watch | None = None,
) -> np.ndarray:
    """Train every run of a stack as `fit` would train it alone; returns the losses, (updates, runs).

    Run r has the learning rate ``rates[r]``, its batches come from ``seeds[r]``, its shots and directions from its own
    generators: what it draws does not depend on what is trained beside it, and its weights only through rounding.
    ``train`` is one pair (x, y) or dataset, or a list of pairs, one for each run and of one shape.  ``budget`` is that
    of each run; ``stack.layer.cost`` counts the circuits of all.  ``stack.models()`` are trained.

    After ``stop`` updates it ends early, the schedule being that of the whole budget.  ``watch(row)`` is called after
    every update with the row of `fit`, circuits and shots being those of each run; what it raises ends the training.

    ``optimizer(parameters, lr=1.0)`` must act number by number, with steps proportional to its rate: Adam, SGD.
    """
    check_instance("stack", stack, StackedQRNN, "a StackedQRNN")
    runs = stack.runs
    pairs = _pairs(train, runs)
    x = pairs[0][0]
    check_instance("budget", budget, Budget, "a Budget")
    check_instance("watch", watch, Callable | None, "a function of a row, or None")
    stop = None if stop is None else check_count("stop", stop)
    washout = check_integer("washout", washout, minimum=0, maximum=x.shape[1] - 1)
    batch_size = check_integer("batch_size", batch_size, minimum=1, maximum=len(x))
    each_rate = [check_real("rates", rate, minimum=0.0) for rate in _as_many("rates", rates, runs)]
    generators = [torch_generator(seed, "seeds") for seed in _as_many("seeds", seeds, runs)]
    batches = _joined(
        [shuffled(*pair, batch_size, generator) for pair, generator in zip(pairs, generators, strict=True)]
    )
    losses: list[np.ndarray] = []

    def loss(batch: Pair) -> torch.Tensor:
        inputs, targets = batch
        errors = (stack(inputs)[0] - targets)[:, washout:].square()
        each = errors.view(runs, -1).mean(1)
        losses.append(each.detach().numpy())
        return each.sum()

    spending = Spending(stack, _of_all(budget, runs), None)
    chosen = _with_rates(optimizer(stack.parameters(), lr=1.0), each_rate)
    with closing(updates(chosen, islice(batches, stop), loss, spending, schedule)) as training:
        for row in training:
            if watch is not None:
                watch(row | {name: row[name] / runs for name in ("circuits", "shots", "train_loss")})
    return np.array(losses)


def _pairs(train: Dataset | Pair | list[Pair], runs: int) -> list[Pair]:
    """The training windows of every run."""
    if not isinstance(train, list) or isinstance(train[0], torch.Tensor):
        return [check_pair("train", train)] * runs
    pairs = [check_pair("train", pair) for pair in _as_many("train", train, runs)]
    shapes = {tuple(x.shape) for x, _ in pairs}
    if len(shapes) > 1:
        raise ValueError(f"train must hold pairs of one shape; got x of {sorted(shapes)}")
    return pairs


def _of_all(budget: Budget, runs: int) -> Budget:
    """What so many runs may spend together."""
    circuits, shots = (limit and limit * runs for limit in (budget.circuits, budget.shots))
    return Budget(budget.steps, circuits, shots)


def _as_many(name: str, values: Sequence, runs: int) -> Sequence:
    if len(values) != runs:
        raise ValueError(f"{name} must be as many as runs, {runs}; got {len(values)}")
    return values


def _joined(sources: list[Iterator[Pair]]) -> Iterator[Pair]:
    """The batches of all runs as one, run after run."""
    for batches in zip(*sources, strict=True):
        inputs, targets = zip(*batches)
        yield torch.cat(inputs), torch.cat(targets)


def _with_rates(optimizer: torch.optim.Optimizer, rates: list[float]) -> torch.optim.Optimizer:
    """Let an optimiser of stacked weights, at rate 1, move those of each run by the run's own rate."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    before: list[torch.Tensor] = []

    def remember(*_) -> None:
        before[:] = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def shorten(*_) -> None:
        for weight, old in zip(weights, before, strict=True):
            rate = torch.tensor(rates, dtype=weight.dtype, device=weight.device)
            weight.copy_(torch.lerp(old, weight, rate.view(-1, *[1] * (weight.dim() - 1))))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(shorten)
    return optimizer
