"""One way to compare: equal information, equal effort of tuning, one table.

Every setting of a kind of model is tried once, with `TUNING_SEED`, and judged on the validation part; the
best setting then runs with every seed of the comparison and is read on the test part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..checks import check_bool, check_instance, check_integer, check_real, shown
from ..tasks import Fitted, Predict, Task, check_task, mean_interval, score
from .regression import persistence

TUNING_SEED = 100
"""Settings are chosen with this seed, which is none of the comparison's."""

MOST = 1000
"""Models, seeds or settings in one comparison."""

Setting = TypeVar("Setting")
Outcome = TypeVar("Outcome")

Measure = Callable[[Task, Predict, str], float]
"""Task, predict and part -> a number that is smaller for a better model."""


@dataclass(frozen=True)
class Baseline:
    """A kind of model: ``fit(task, seed, **setting) -> Fitted``, and which ``settings(task)`` to choose from.

    ``chance``: the seed matters.
    """

    name: str
    fit: Callable[..., Fitted]
    settings: Callable[[Task], list[dict]]
    chance: bool = True

    def __post_init__(self) -> None:
        check_instance("name", self.name, str, "text")
        check_instance("fit", self.fit, Callable, "a function")
        check_instance("settings", self.settings, Callable, "a function")
        check_bool("chance", self.chance)


def grid(**choices: Iterable) -> list[dict]:
    """Every combination of the choices, the last one varying fastest."""
    return [dict(zip(choices, values)) for values in product(*choices.values())]


def select(
    settings: Sequence[Setting],
    trial: Callable[[Setting, int], Outcome],
    error: Callable[[Outcome], float] = float,
) -> tuple[Setting, list[Outcome]]:
    """The setting whose ``trial(setting, TUNING_SEED)`` has the smallest ``error``, and what all trials came to.

    Of equal ones the first is chosen, and none whose error is NaN.
    """
    outcomes = [trial(setting, TUNING_SEED) for setting in settings]
    errors = [error(outcome) for outcome in outcomes]
    return settings[int(np.nanargmin(errors))], outcomes


def tune(task: Task, baseline: Baseline, *, measure: Measure = score) -> pd.DataFrame:
    """Fit every setting of ``baseline`` once, with `TUNING_SEED`: columns setting and validation, the best first.

    ``measure(task, predict, "validation")``, NRMSE unless given, is smaller for a better model.  Settings
    that are best one step ahead may blow up in closed loop: choose by what will be compared.
    """
    check_task(task)
    check_instance("baseline", baseline, Baseline, "a Baseline")
    _check_measure(measure)
    settings = _settings(baseline, task)

    def trial(setting: dict, seed: int) -> float:
        return _measured(measure, task, _fitted(baseline, task, seed, setting), "validation")

    _, errors = select(settings, trial)
    trials = pd.DataFrame({"setting": settings, "validation": errors})
    return trials.sort_values("validation", kind="stable", ignore_index=True)


def assess(task: Task, baseline: Baseline, *, seeds: Sequence[int], measure: Measure = score) -> dict[str, Any]:
    """Choose a setting by the validation part (`tune`), then read the test part once for every seed.

    Of a kind of model without chance the first seed is enough.  Keys: sees, parameters, trials, setting,
    validation, tests.
    """
    trials = tune(task, baseline, measure=measure)
    setting = trials["setting"].iloc[0]
    models = [_fitted(baseline, task, seed, setting) for seed in (seeds if baseline.chance else seeds[:1])]
    return {
        "sees": models[0].sees,
        "parameters": models[0].parameters,
        "trials": trials,
        "setting": setting,
        "validation": trials["validation"].iloc[0],
        "tests": [_measured(measure, task, model, "test") for model in models],
    }


def compare(
    task: Task, models: Iterable[Baseline], *, seeds: Iterable[int] = range(5), measure: Measure = score
) -> pd.DataFrame:
    """One row a model: what it sees, its parameters, the settings tried and chosen, its score on the test part.

    Settings are chosen by the validation part with `TUNING_SEED` (`tune`); the test part is read once for
    every seed of the comparison.  ``measure(task, predict, part)``, NRMSE unless given, scores both.
    ``test`` is the mean over ``seeds`` and ``±`` the half width of its 95 % interval, NaN where chance plays
    no part.  Models that make no sense on a task are left out.
    """
    check_task(task)
    _check_measure(measure)
    models = [check_instance("models", model, Baseline, "Baselines") for model in _listed("models", models)]
    seeds = [check_integer("seeds", seed, minimum=0, maximum=2**63 - 1) for seed in _listed("seeds", seeds)]
    if len(seeds) < 2 or not models:
        raise ValueError(f"seeds must be two or more, models one; got {len(seeds)} and {len(models)}")
    sensible = [model for model in models if model.fit is not persistence or task.still is not None]
    rows = [{"model": model.name} | assess(task, model, seeds=seeds, measure=measure) for model in sensible]
    table = pd.DataFrame(rows).set_index("model")
    table["tried"] = table["trials"].map(len)
    table["test"] = table["tests"].map(np.mean)
    table["±"] = [mean_interval(tests)[1] if len(tests) > 1 else math.nan for tests in table["tests"]]
    return table[["sees", "parameters", "tried", "setting", "validation", "test", "±"]]


def _settings(baseline: Baseline, task: Task) -> list[dict]:
    """What a baseline's own function offers, if it is a list of settings."""
    words = f"baseline {shown(baseline.name)} of models must have settings"
    settings = _listed(f"{words}; they", baseline.settings(task))
    if not settings or not all(isinstance(setting, dict) for setting in settings):
        raise ValueError(f"{words}, dicts of arguments of its fit; got {shown(settings)}")
    return settings


def _fitted(baseline: Baseline, task: Task, seed: int, setting: dict) -> Fitted:
    words = f"baseline {shown(baseline.name)} of models, its fit,"
    return check_instance(words, baseline.fit(task, seed, **setting), Fitted, "a function to a Fitted")


def _measured(measure: Measure, task: Task, fitted: Fitted, part: str) -> float:
    return check_real("measure's answer", measure(task, fitted.predict, part))


def _check_measure(measure: Measure) -> None:
    check_instance("measure", measure, Callable, "a function of task, predict and part")


def _listed(name: str, values: Iterable) -> list:
    """A short list of what is iterated over."""
    check_instance(name, values, (list, tuple, range), "a list")
    if len(values) > MOST:
        raise ValueError(f"{name} must be at most {MOST}; got {len(values)}")
    return list(values)
