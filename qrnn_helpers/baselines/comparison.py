"""Every kind of model on every task: equal information, equal effort of tuning, one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import pandas as pd
from qiskit import QuantumCircuit

from ..checks import check_instance, check_integer, check_real, shown
from ..circuits import check_step, without_entanglers
from ..tasks import Fitted, Predict, Task, check_task, mean_interval, score
from .networks import circuit, gru, rnn, untrained
from .regression import linear, nvar, persistence
from .reservoir import echo_state

__all__ = ["CONFIGURATIONS", "Rival", "TUNING_SEED", "compare", "rivals", "tune"]


CONFIGURATIONS = 8
"""Settings that are tried for each kind of model (one where there is nothing to choose)."""

TUNING_SEED = 100
"""Settings are chosen with this seed, which is none of the comparison's."""

RATES = (0.003, 0.01, 0.03, 0.1)

MOST_LAGGED = 90
"""Lagged inputs whose products a nonlinear autoregression takes: some four thousand features."""

ECHOES = (
    *({"gain": gain, "radius": radius, "penalty": 1e-8} for gain in (0.1, 0.4) for radius in (0.1, 0.5, 0.9)),
    {"gain": 0.1, "radius": 0.1, "penalty": 1e-10},
    {"gain": 1.0, "radius": 0.9, "penalty": 1e-10},
)
"""Echo-state networks: weak or strong input, short or long memory; a small penalty at two of the corners."""


@dataclass(frozen=True)
class Rival:
    """A kind of model: ``fit(task, seed, **setting) -> Fitted``, and which ``settings(task)`` to choose from.

    ``chance``: the seed matters.
    """

    name: str
    fit: Callable[..., Fitted]
    settings: Callable[[Task], list[dict]]
    chance: bool = True

    def __post_init__(self) -> None:
        check_instance("name", self.name, str, "text")
        for name in ("fit", "settings"):
            check_instance(name, getattr(self, name), Callable, "a function")
        check_instance("chance", self.chance, bool, "True or False")


def rivals(step: QuantumCircuit, *, units: int = 300, hidden: tuple[int, int] = (6, 12), updates: int = 400) -> list:
    """All kinds of model, the simplest first, with `CONFIGURATIONS` settings each.

    ``step`` is the circuit; ``units`` the size of the echo-state network; ``hidden`` two sizes of the
    recurrent networks to choose from; ``updates`` the training of every network, circuits among them.
    """
    check_step(step)
    units, updates = check_integer("units", units, minimum=1), check_integer("updates", updates, minimum=1)
    if len(check_instance("hidden", hidden, (tuple, list), "two integers")) != 2:
        raise ValueError(f"hidden must be two integers; got {shown(hidden)}")
    hidden = [check_integer("hidden", size, minimum=1) for size in hidden]
    bare = without_entanglers(step)
    sizes = _grid(hidden=hidden, rate=RATES, updates=[updates])
    paths = _grid(skip=[False, True], rate=RATES, updates=[updates])
    drawn = _grid(gain=[0.5, 1.0, 2.0, 4.0], penalty=[1e-8, 1e-4])
    echoes = [{"leak": 1.0, "units": units} | setting for setting in ECHOES]
    return [
        Rival("persistence", persistence, lambda task: [{}], False),
        Rival("linear, lags", linear, _lag_settings, False),
        Rival("quadratic autoregression", nvar, partial(_lag_settings, most=MOST_LAGGED), False),
        Rival("echo-state network", echo_state, lambda task: echoes),
        Rival("RNN", rnn, lambda task: sizes),
        Rival("GRU", gru, lambda task: sizes),
        Rival("untrained circuit, ridge readout", partial(untrained, step=step), lambda task: drawn),
        Rival("circuit without entanglers", partial(circuit, step=bare), lambda task: paths),
        Rival("circuit", partial(circuit, step=step), lambda task: paths),
    ]


Measure = Callable[[Task, Predict, str], float]


def tune(task: Task, rival: Rival, *, seed: int = TUNING_SEED, measure: Measure = score) -> pd.DataFrame:
    """Fit every setting of ``rival`` once: columns setting and validation, the best first.

    ``measure(task, predict, "validation")``, NRMSE unless given, is smaller for a better model.  Settings
    that are best one step ahead may blow up in closed loop: choose by what will be compared.
    """
    check_task(task)
    check_instance("rival", rival, Rival, "a Rival")
    check_instance("measure", measure, Callable, "a function of task, predict and part")
    seed = check_integer("seed", seed, minimum=0, maximum=2**63 - 1)
    rows = [
        {"setting": setting, "validation": _measured(measure, task, _fitted(rival, task, seed, setting), "validation")}
        for setting in _settings(rival, task)
    ]
    return pd.DataFrame(rows).sort_values("validation", kind="stable", ignore_index=True)


def _settings(rival: Rival, task: Task) -> list[dict]:
    """What a rival's own function offers, if it is a list of settings."""
    words = f"rival {shown(rival.name)} of models must have settings"
    settings = _listed(f"{words}; they", rival.settings(task))
    if not settings or not all(isinstance(setting, dict) for setting in settings):
        raise ValueError(f"{words}, dicts of arguments of its fit; got {shown(settings)}")
    return settings


def _fitted(rival: Rival, task: Task, seed: int, setting: dict) -> Fitted:
    words = f"rival {shown(rival.name)} of models, its fit,"
    return check_instance(words, rival.fit(task, seed, **setting), Fitted, "a function to a Fitted")


def compare(
    task: Task, models: Iterable[Rival], *, seeds: Iterable[int] = range(5), measure: Measure = score
) -> pd.DataFrame:
    """One row a model: what it sees, its parameters, the settings tried and chosen, its score on the test part.

    Settings are chosen by the validation part with `TUNING_SEED` (`tune`); the test part is read once for
    every seed of the comparison.  ``measure(task, predict, part)``, NRMSE unless given, scores both.
    ``test`` is the mean over ``seeds`` and ``±`` the half width of its 95 % interval, NaN where chance plays
    no part.  Models that make no sense on a task are left out.
    """
    check_task(task)
    check_instance("measure", measure, Callable, "a function of task, predict and part")
    models = [check_instance("models", model, Rival, "Rivals") for model in _listed("models", models)]
    seeds = [check_integer("seeds", seed, minimum=0, maximum=2**63 - 1) for seed in _listed("seeds", seeds)]
    if len(seeds) < 2 or not models:
        raise ValueError(f"seeds must be two or more, models one; got {len(seeds)} and {len(models)}")
    sensible = [model for model in models if model.fit is not persistence or task.still is not None]
    return pd.DataFrame([_row(task, model, seeds, measure) for model in sensible]).set_index("model")


def _row(task: Task, rival: Rival, seeds: list[int], measure: Measure) -> dict:
    tuned = tune(task, rival, measure=measure)
    setting = tuned["setting"].iloc[0]
    fitted = [_fitted(rival, task, seed, setting) for seed in (seeds if rival.chance else seeds[:1])]
    scores = [_measured(measure, task, each, "test") for each in fitted]
    mean, half = mean_interval(scores) if rival.chance else (scores[0], math.nan)
    row = {"model": rival.name, "sees": fitted[0].sees, "parameters": fitted[0].parameters, "tried": len(tuned)}
    return row | {"setting": setting, "validation": tuned["validation"].iloc[0], "test": mean, "±": half}


def _measured(measure: Measure, task: Task, fitted: Fitted, part: str) -> float:
    return check_real("measure's answer", measure(task, fitted.predict, part))


def _lag_settings(task: Task, most: int | None = None) -> list[dict]:
    """Lags from one up to all that every scored step has seen, with penalties to make `CONFIGURATIONS`.

    Three numbers of lags with three penalties each would be one too many: a single lag goes without the smallest.
    """
    longest = task.lags if most is None else max(1, min(task.lags, most // task.train[0].shape[2]))
    lags = sorted({1, math.isqrt(longest - 1) + 1, longest})
    count = -(-CONFIGURATIONS // len(lags))
    return _grid(lags=lags, penalty=[10.0 ** (-10 + 8 * k / (count - 1)) for k in range(count)])[-CONFIGURATIONS:]


def _grid(**choices) -> list[dict]:
    """Every combination of the choices."""
    combined = [{}]
    for name, values in choices.items():
        combined = [setting | {name: value} for setting in combined for value in values]
    return combined


def _listed(name: str, values: Iterable) -> list:
    """A short list of what is iterated over."""
    check_instance(name, values, (list, tuple, range), "a list")
    if len(values) > 1000:
        raise ValueError(f"{name} must be at most 1000; got {len(values)}")
    return list(values)
