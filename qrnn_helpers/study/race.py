"""Methods at the same number of shots, a few seeds side by side, watched while they train (chapter 21)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import pandas as pd
from scipy.stats import gmean

from ..checks import check_count
from ..models import StackedQRNN
from ..training import Budget
from . import plan
from .arms import MAIN, Setting, begun, error, rounded, task_of, update_circuits
from .jobs import Job

ENTRANTS = ("shift", "spsa", "causal", "coordinates")
"""Arms that race."""

SEEDS = (0, 1, 2, 3)

GLIMPSE = 256
"""Validation windows of each seed that are scored during training."""

RECORDED = "1e6"
"""Level of the stored race: its shots, and the settings chosen there."""

Watch = Callable[[dict[str, float]], object]


def entrant(arm: str, level: str = "1e5", **changes) -> Setting:
    """The setting that the study chose for an arm at a level, but for what is changed."""
    return replace(plan.Tuning(arm, level).chosen, **changes)


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


def raced(setting: dict, shots: int, seeds: list[int], scores: int) -> dict:
    """The curve of a race, to be stored."""
    curve = race(Setting(**setting), shots, seeds, scores)
    return {"curve": {name: rounded(curve[name]) for name in curve}}


def job(arm: str) -> Job:
    """The stored race of an arm at a million shots."""
    shots = plan.BUDGETS[RECORDED].shots
    settings = {"setting": asdict(entrant(arm, RECORDED)), "shots": shots, "seeds": list(SEEDS), "scores": 40}
    return Job("race", f"{RECORDED}-{arm}", raced, settings, runs=len(SEEDS), cost_seconds=60.0, size_bytes=8000)


def recorded(arm: str) -> pd.DataFrame:
    """The stored curve of an arm."""
    return pd.DataFrame(job(arm).result["curve"])


def jobs() -> list[Job]:
    return [job(arm) for arm in ENTRANTS if plan.Tuning(arm, RECORDED).done]


def summary(job: Job) -> dict[str, float]:
    """The error on validation windows at the end."""
    return {"validation": job.result["curve"]["validation_nrmse"][-1]}
