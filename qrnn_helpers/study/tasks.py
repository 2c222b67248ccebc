"""Every kind of model on four tasks (chapter 12).

One job is one kind of model on one task, `compare` with the settings of `standard_baselines`; its file in
``data/contest`` holds the table's row, every trial, the test score of every seed, and for circuits the
trained weights of the first seed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import torch
from qiskit import QuantumCircuit

from ..baselines import assess, standard_baselines, trained
from ..checks import check_one_of
from ..circuits import rotation_step, without_entanglers
from ..dynamics import ks2d22, ks22_long, lorenz_series
from ..models import QRNN
from ..tasks import PARTS, Fitted, Task, lorenz_observer, mean_interval, patch_forecast, reduced_forecast
from .jobs import Job, state_from, state_to
from .methods import ks_task

UPDATES = 500
"""Steps of Adam for every network, the rate falling to zero along half a cosine."""

SEEDS = (0, 1, 2, 3, 4)

TASKS = ("patch-1d", "patch-2d", "reduced", "lorenz")

KINDS = {
    "persistence": "persistence",
    "linear": "linear, lags",
    "quadratic": "quadratic autoregression",
    "echo": "echo-state network",
    "rnn": "RNN",
    "gru": "GRU",
    "untrained": "untrained circuit, ridge readout",
    "bare": "circuit without entanglers",
    "circuit": "circuit",
}
"""Kinds of model, by the name of their files, in the order of the tables."""

CIRCUITS = ("bare", "circuit")


@cache
def task(name: str) -> Task:
    """One of the tasks: the study's own, the same on a square, twelve Fourier modes, Lorenz."""
    check_one_of("name", name, TASKS)
    if name == "patch-1d":
        return ks_task()
    if name == "patch-2d":
        fields = (ks2d22(part, dt=1.0) for part in PARTS)
        return patch_forecast(*fields, neighbours=3, windows=(4096, 1024, 2048))
    if name == "reduced":
        return reduced_forecast(*(ks22_long(part, dt=1.0) for part in PARTS))
    return lorenz_observer(lorenz_series())


def step_of(kind: str) -> QuantumCircuit:
    """The step circuit of a kind: four qubits, and for "bare" without its controlled gates."""
    step = rotation_step(2, 2)
    return without_entanglers(step) if kind == "bare" else step


def contest(task_name: str, kind: str, updates: int, seeds: tuple[int, ...]) -> dict:
    """One row of a task's table, with every trial and the test score of every seed."""
    baselines = standard_baselines(step_of("circuit"), updates=updates)
    baseline = next(each for each in baselines if each.name == KINDS[kind])
    networks = {}

    def fit(task: Task, seed: int, *, skip: bool, rate: float, updates: int) -> Fitted:
        x, y = task.train
        networks[seed] = QRNN(x.shape[2], y.shape[2], step_of(kind), skip=skip, dtype=x.dtype, seed=seed)
        return trained(task, networks[seed], seed, rate, updates)

    if kind in CIRCUITS:  # their weights are stored, too
        baseline = replace(baseline, fit=fit)
    row = assess(task(task_name), baseline, seeds=seeds)
    weights = {"weights": state_to(networks[seeds[0]])} if networks else {}
    return row | {"trials": row["trials"].to_dict("list"), "test": float(np.mean(row["tests"]))} | weights


def job(name: str, kind: str) -> Job:
    """The stored comparison of one kind of model on one task."""
    check_one_of("name", name, TASKS)
    check_one_of("kind", kind, tuple(KINDS))
    settings = {"task_name": name, "kind": kind, "updates": UPDATES, "seeds": SEEDS}
    return Job("contest", f"{name}-{kind}", contest, settings)


def kinds(name: str) -> list[str]:
    """The kinds of model that make sense on a task: the outputs of the Lorenz observer are never seen."""
    check_one_of("name", name, TASKS)
    return [kind for kind in KINDS if (name, kind) != ("lorenz", "persistence")]


def jobs() -> list[Job]:
    return [job(name, kind) for name in TASKS for kind in kinds(name)]


def summary(job: Job) -> dict[str, float]:
    """The error on the test part, mean over seeds."""
    return {"test": job.result["test"]}


def result(name: str, kind: str) -> dict:
    """What is stored of one kind of model on one task."""
    return job(name, kind).result


def table(name: str) -> pd.DataFrame:
    """The stored rows of a task, as `compare` would give them, and ``tests``, the score of every seed."""
    rows = []
    for kind in kinds(name):
        row = result(name, kind)
        rows.append({"model": KINDS[kind], **row, "tried": len(row["trials"]["setting"]), "±": _half(row["tests"])})
    columns = ["sees", "parameters", "tried", "setting", "validation", "test", "±", "tests"]
    return pd.DataFrame(rows).set_index("model")[columns]


def _half(tests: list[float]) -> float:
    return mean_interval(tests)[1] if len(tests) > 1 else float("nan")


def paired(name: str, kind: str, other: str) -> tuple[float, float]:
    """Mean over seeds of (error of ``kind`` - error of ``other``), and the half width of its 95 % interval."""
    ours, theirs = (np.array(result(name, each)["tests"]) for each in (kind, other))
    return mean_interval(ours - theirs)


def network(name: str, kind: str = "circuit") -> QRNN:
    """The stored network of the first seed."""
    check_one_of("kind", kind, CIRCUITS)
    stored = result(name, kind)
    weights = stored["weights"]
    inputs, outputs = len(weights["encoder.weight"][0]), len(weights["decoder.weight"])
    model = QRNN(inputs, outputs, step_of(kind), skip=stored["setting"]["skip"], dtype=torch.float64, seed=0)
    return state_from(model, weights)
