"""Methods at the same number of shots, a few seeds side by side, watched while they train (chapter 21)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd
from scipy.stats import gmean

from ..checks import check_count
from ..models import StackedQRNN
from ..training import Budget
from . import plan
from .arms import MAIN, Setting, begun, error, task_of, update_circuits
from .jobs import Job

ENTRANTS = ("shift", "spsa", "causal", "coordinates")
"""Arms that race."""

SEEDS = (0, 1, 2, 3)

GLIMPSE = 256
"""Validation windows of each seed that are scored during training."""

Watch = Callable[[dict[str, float]], object]


def entrant(arm: str, **changes) -> Setting:
    """The setting that the study chose for an arm at 1e5 shots, but for what is changed."""
    return replace(plan.Tuning(arm, "1e5").chosen, **changes)


def race(
    setting: Setting, shots: int, seeds: Sequence[int] = SEEDS, scores: int = 12, watch: Watch | None = None
) -> pd.DataFrame:
    """Train one run for each seed side by side, ``shots`` each; the curve, a row for each of ``scores``.

    Columns: shots spent by a run; validation_nrmse, the geometric mean over the seeds, by exact probabilities; and
    each seed's own.  ``watch`` sees a row after every update, with the score where one was taken; what it raises ends
    the training.  Raises ValueError if the budget does not allow one update.
    """
    shots = check_count("shots", shots)
    price = setting.shots * update_circuits(MAIN, setting)
    if price > shots:
        raise ValueError(f"shots must allow one update, which takes {price:,}; got {shots:,}")
    curve: list[dict[str, float]] = []

    def after_update(stack: StackedQRNN, row: dict[str, float]) -> None:
        seen = {"shots": row["shots"]}
        if len(curve) < int(scores * row["shots"] / shots) or row["shots"] + price > shots:
            seen |= scored(stack, seeds)
            curve.append(seen)
        if watch is not None:
            watch(seen)

    begun(MAIN, Budget(shots=shots), [(setting, seed) for seed in seeds], watch=after_update)
    return pd.DataFrame(curve)


def scored(stack: StackedQRNN, seeds: Sequence[int]) -> dict[str, float]:
    """Validation errors of the networks as they are now: their geometric mean, and each seed's."""
    parts = (task_of(MAIN, seed).validation for seed in seeds)
    pairs = zip(stack.models(), parts, strict=True)
    errors = [error(model, (x[:GLIMPSE], y[:GLIMPSE])) for model, (x, y) in pairs]
    return {"validation_nrmse": float(gmean(errors))} | {f"seed {k}": e for k, e in zip(seeds, errors, strict=True)}


def recorded(arm: str, budget: str) -> pd.Series:
    """Root mean training loss of the study's stored runs of an arm, by the shots that each had spent.

    Losses are those of single batches, stored at updates in equal ratios: the mean is over all seeds and seven
    neighbouring updates.
    """
    losses = pd.concat([_losses(job) for job in plan.evaluation(arm, budget)], axis=1)
    return losses.mean(axis=1).rolling(7, center=True, min_periods=1).mean() ** 0.5


def _losses(job: Job) -> pd.DataFrame:
    """Stored losses, a column for each seed, by shots spent."""
    result = job.result
    price = result["shots"] / result["updates"]
    losses = {price * (1 + int(update)): values for update, values in result["losses"].items()}
    return pd.DataFrame(losses, index=job.settings["seeds"]).T.sort_index()
