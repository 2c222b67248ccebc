"""Observers of the Kuramoto–Sivashinsky field (chapter 14): what remembers, and what it is worth.

Every kind of model gets the same windows, seen cell by cell (`in_cells`), and three settings to choose from
by the validation part; the test part is scored once, by five seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from torch import nn

from ..backends import ExactBackend
from ..baselines import echo_state, linear, nvar, untrained
from ..circuits import exchange_step, rotation_step, without_entanglers
from ..dynamics import ks2d22, ks22_long
from ..models import GRU, QRNN, RNN
from ..tasks import PARTS, CellObserver, Fitted, Task, in_cells, observer, score
from ..training import Budget, cosine, fit
from .jobs import Job, state_from, state_to

TUNING_SEED = 100

UPDATES, BATCH = {"1d-8": 500, "1d-4": 500, "2d-36": 500}, 16

MOST_LAGGED = 32
"""Lagged inputs whose products the quadratic autoregression takes: some 560 features."""

TASKS = {
    "1d-8": (ks22_long, 8, None, (256, 64, 128)),
    "1d-4": (ks22_long, 4, None, (512, 128, 256)),
    "2d-36": (ks2d22, 6, 4, (64, 16, 32)),
}
"""Data, sensors along a side, those that a cell sees (None: all), and windows of the whole field."""

CIRCUITS = ("circuit", "circuit, no entanglers", "exchanging circuit")


@cache
def cells(name: str) -> CellObserver:
    """One of `TASKS`: windows of 30 samples, dt = 0.5, the first 10 of them neither trained on nor scored."""
    data, sensors, near, windows = TASKS[name]
    fields = (data(part, dt=0.5) for part in PARTS)
    return in_cells(observer(*fields, sensors=sensors, windows=windows), near)


def network(kind: str, inputs: int, outputs: int, seed: int = 0) -> nn.Module:
    """A network of `KINDS`, single precision, as drawn: recurrent ones have about twice the circuit's weights."""
    if kind in CIRCUITS:
        step = exchange_step() if kind.startswith("exchanging") else rotation_step(3, 3)
        step = without_entanglers(step) if kind.endswith("no entanglers") else step
        exact = ExactBackend(torch.complex64)
        return QRNN(inputs, outputs, step, backend=exact, skip=True, dtype=torch.float32, seed=seed)
    module, hidden = {"RNN": (RNN, 20), "GRU": (GRU, 12)}[kind]
    return module(inputs, outputs, hidden, dtype=torch.float32, seed=seed)


def start_linear(model: QRNN, task: Task) -> None:
    """The path around the circuit becomes the linear observer, so that the circuit learns what is left."""
    answer = linear(task, lags=1, penalty=1e-6).predict
    units = torch.eye(task.train[0].shape[2], dtype=torch.float64, device="cpu")
    offset, *slopes = answer(torch.cat([torch.zeros_like(units[:1]), units])[:, None])[:, 0]
    with torch.no_grad():
        model.skip.weight.copy_((torch.stack(slopes) - offset).T)
        model.skip.bias.copy_(offset)
        model.decoder.weight.mul_(0.1)
        model.decoder.bias.zero_()


def train(task: Task, seed: int, *, kind: str, rate: float, updates: int) -> nn.Module:
    """A network after ``updates`` of Adam, the rate falling along half a cosine to 0."""
    model = network(kind, task.train[0].shape[2], task.train[1].shape[2], seed)
    if isinstance(model, QRNN):
        start_linear(model, task)
    data, few = (tuple(part.float() for part in pair) for pair in (task.train, task.validation))
    fit(
        model, data, tuple(part[:BATCH] for part in few), optimizer=torch.optim.Adam(model.parameters(), lr=rate),
        batch_size=BATCH, budget=Budget(steps=updates), washout=task.washout, seed=seed, schedule=cosine,
        validations=1, progress=False,
    )  # fmt: skip
    return model


def answering(model: nn.Module, task: Task) -> Fitted:
    """A network's answers, a few windows at a time, in double precision."""

    @torch.no_grad()
    def predict(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([model(piece)[0] for piece in x.float().split(128)]).double()

    return Fitted(predict, sum(w.numel() for w in model.parameters()), f"{task.sees}, all steps so far")


def errors(task: Task, predict: Callable, part: str = "test") -> torch.Tensor:
    """NRMSE at every step of a window: how the observer spins up from knowing nothing."""
    x, y = getattr(task, part)
    truth = y[:, task.lags - 1 :]
    spread = (truth - truth.mean((0, 1))).square().mean()
    return ((predict(x) - y).square().mean((0, 2)) / spread).sqrt()


def compared(name: str, kind: str, updates: int, seeds: int) -> dict:
    """A row of the table: the setting that is best on the validation part, then the test part by every seed.

    Networks are tuned with a third of the updates.  Of networks the first seed's weights are kept.
    """
    task, (fit_, settings) = cells(name), KINDS[kind]
    more = {"updates": updates} if kind in NETWORKS else {}
    short = {"updates": updates // 3} if more else {}
    best, *others = settings(task)
    tried = [
        {"setting": own, "validation": score(task, fit_(task, TUNING_SEED, **own, **short).predict, "validation")}
        for own in (best, *others)
        if others
    ]
    if others:
        best = min(tried, key=lambda row: row["validation"])["setting"]
    found, kept = [], {}
    for seed in range(1 if kind in CERTAIN else seeds):
        if more:
            model = train(task, seed, kind=kind, **best, **more)
            kept = kept or state_to(model)
            fitted = answering(model, task)
        else:
            fitted = fit_(task, seed, **best)
        found.append({"test": score(task, fitted.predict), "steps": errors(task, fitted.predict).tolist()})
    return {
        "sees": fitted.sees, "parameters": fitted.parameters, "tried": tried, "setting": best,
        "test": [row["test"] for row in found], "steps": [row["steps"] for row in found], "weights": kept,
    }  # fmt: skip


def restored(name: str, kind: str) -> nn.Module:
    """The stored network of the first seed."""
    task = cells(name)
    model = network(kind, task.train[0].shape[2], task.train[1].shape[2])
    return state_from(model, job(name, kind).result["weights"])


def _trained(task: Task, seed: int, **setting) -> Fitted:
    return answering(train(task, seed, **setting), task)


def _lagged(task: Task, most: int | None = None) -> list[dict]:
    """Lags from a third of the longest to the longest: all that every scored step has seen."""
    longest = min(task.lags, (most or task.lags * 1000) // task.train[0].shape[2])
    return [{"lags": -(-longest * third // 3), "penalty": 1e-6} for third in (1, 2, 3)]


def _rates(*rates: float) -> Callable[[Task], list[dict]]:
    return lambda task: [{"rate": rate} for rate in rates]


def _of(*rows: dict) -> Callable[[Task], list[dict]]:
    return lambda task: list(rows)


_echo = {"units": 300, "leak": 1.0, "penalty": 1e-6}

_echoes = _of(*(_echo | {"gain": gain, "radius": radius} for gain, radius in ((0.1, 0.5), (0.1, 0.9), (0.4, 0.9))))

_drawn = partial(untrained, step=rotation_step(3, 3))

NETWORKS = ("RNN", "GRU", *CIRCUITS)

KINDS = {
    "linear": (linear, _of(*({"lags": 1, "penalty": penalty} for penalty in (1e-6, 1e-4, 1e-2)))),
    "linear, lags": (linear, _lagged),
    "quadratic, lags": (nvar, partial(_lagged, most=MOST_LAGGED)),
    "echo-state network": (echo_state, _echoes),
    "RNN": (partial(_trained, kind="RNN"), _rates(0.003, 0.01, 0.03)),
    "GRU": (partial(_trained, kind="GRU"), _rates(0.003, 0.01, 0.03)),
    "untrained circuit": (_drawn, _of(*({"gain": gain, "penalty": 1e-6} for gain in (0.5, 1.0, 2.0)))),
    **{name: (partial(_trained, kind=name), _rates(0.02, 0.05, 0.1)) for name in CIRCUITS},
}
"""For each kind of model: fit(task, seed, **setting), and the three settings to choose from."""

CERTAIN = ("linear", "linear, lags", "quadratic, lags")
"""Kinds without chance: one seed is enough."""


def job(name: str, kind: str) -> Job:
    """The stored row of a task's table, or what makes it."""
    updates = UPDATES[name]
    label = "".join(letter if letter.isalnum() else "-" for letter in f"{name} {kind} {updates}").lower()
    settings = {"name": name, "kind": kind, "updates": updates, "seeds": 5}
    return Job("observers", label.replace("--", "-"), compared, settings)


def jobs() -> list[Job]:
    return [job(name, kind) for name in TASKS for kind in KINDS]


def summary(job: Job) -> dict[str, float]:
    """The error on the test part, mean over seeds."""
    return {"test": float(np.mean(job.result["test"]))}
