"""Observers of the Kuramoto–Sivashinsky field (chapter 14): what remembers, and what it is worth.

Every kind of model gets the same windows, seen cell by cell (`in_cells`), and three settings to choose from
by the validation part; the test part is scored once, by five seeds.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from qiskit import QuantumCircuit
from torch import nn

from ..backends import ExactBackend
from ..baselines import echo_state, grid, in_pieces, linear, nvar, select, untrained
from ..circuits import exchange_step, rotation_step, without_entanglers
from ..dynamics import ks2d22, ks22_long
from ..models import GRU, QRNN, RNN
from ..tasks import PARTS, CellObserver, Fitted, Predict, Task, in_cells, observer, score
from ..training import Budget, fit
from .jobs import Job, state_from, state_to

UPDATES, BATCH = 500, 16

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


def step_of(kind: str) -> QuantumCircuit:
    """The step circuit of one of `CIRCUITS`."""
    if kind == "exchanging circuit":
        return exchange_step()
    step = rotation_step(3, 3)
    return without_entanglers(step) if kind == "circuit, no entanglers" else step


def network(kind: str, inputs: int, outputs: int, seed: int = 0) -> nn.Module:
    """A network of `NETWORKS`, single precision, as drawn: recurrent ones have about twice the circuit's weights."""
    if kind == "RNN":
        return RNN(inputs, outputs, 20, dtype=torch.float32, seed=seed)
    if kind == "GRU":
        return GRU(inputs, outputs, 12, dtype=torch.float32, seed=seed)
    backend = ExactBackend(torch.complex64)
    return QRNN(inputs, outputs, step_of(kind), backend=backend, skip=True, dtype=torch.float32, seed=seed)


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
    data = tuple(part.float() for part in task.train)
    few = tuple(part[:BATCH].float() for part in task.validation)
    fit(
        model, data, few, optimizer=torch.optim.Adam(model.parameters(), lr=rate), batch_size=BATCH,
        budget=Budget(steps=updates), washout=task.washout, seed=seed, validations=1, progress=False,
    )  # fmt: skip
    return model


def answering(model: nn.Module, task: Task) -> Fitted:
    """A network's answers, a few windows at a time, in double precision."""
    single = in_pieces(lambda x: model(x)[0], 128)
    return Fitted(
        lambda x: single(x.float()).double(),
        sum(w.numel() for w in model.parameters()),
        f"{task.sees}, all steps so far",
    )


def errors(task: Task, predict: Predict, part: str = "test") -> torch.Tensor:
    """NRMSE at every step of a window: how the observer spins up from knowing nothing."""
    x, y = getattr(task, part)
    truth = y[:, task.lags - 1 :]
    spread = (truth - truth.mean((0, 1))).square().mean()
    return ((predict(x) - y).square().mean((0, 2)) / spread).sqrt()


def compared(name: str, kind: str, updates: int, seeds: int) -> dict:
    """A row of the table: the setting that is best on the validation part, then the test part by every seed.

    Networks are tuned with a third of the updates.  Of networks the first seed's weights are kept.
    """
    task = cells(name)
    networks = {}

    def fitted(setting: dict, seed: int, updates: int) -> Fitted:
        if kind not in NETWORKS:
            return FITS[kind](task, seed, **setting)
        networks[seed] = train(task, seed, kind=kind, updates=updates, **setting)
        return answering(networks[seed], task)

    def trial(setting: dict, seed: int) -> dict:
        return {
            "setting": setting,
            "validation": score(task, fitted(setting, seed, updates // 3).predict, "validation"),
        }

    setting, tried = select(settings_of(kind, task), trial, lambda outcome: outcome["validation"])
    models = [fitted(setting, seed, updates) for seed in range(1 if kind in CERTAIN else seeds)]
    return {
        "sees": models[0].sees,
        "parameters": models[0].parameters,
        "tried": tried,
        "setting": setting,
        "test": [score(task, model.predict) for model in models],
        "steps": [errors(task, model.predict).tolist() for model in models],
        "weights": state_to(networks[0]) if networks else {},
    }


def restored(name: str, kind: str) -> nn.Module:
    """The stored network of the first seed."""
    task = cells(name)
    model = network(kind, task.train[0].shape[2], task.train[1].shape[2])
    return state_from(model, job(name, kind).result["weights"])


NETWORKS = ("RNN", "GRU", *CIRCUITS)

FITS = {
    "linear": linear,
    "linear, lags": linear,
    "quadratic, lags": nvar,
    "echo-state network": echo_state,
    "untrained circuit": partial(untrained, step=rotation_step(3, 3)),
}
"""Kinds without gradient descent: fit(task, seed, **setting)."""

CERTAIN = ("linear", "linear, lags", "quadratic, lags")
"""Kinds without chance: one seed is enough."""

KINDS = (
    "linear",
    "linear, lags",
    "quadratic, lags",
    "echo-state network",
    "RNN",
    "GRU",
    "untrained circuit",
    *CIRCUITS,
)
"""In the order of the tables."""

SETTINGS = {
    "linear": grid(lags=[1], penalty=[1e-6, 1e-4, 1e-2]),
    "echo-state network": [
        {"units": 300, "leak": 1.0, "penalty": 1e-6, "gain": gain, "radius": radius}
        for gain, radius in ((0.1, 0.5), (0.1, 0.9), (0.4, 0.9))
    ],
    "untrained circuit": grid(gain=[0.5, 1.0, 2.0], penalty=[1e-6]),
    **dict.fromkeys(("RNN", "GRU"), grid(rate=[0.003, 0.01, 0.03])),
    **dict.fromkeys(CIRCUITS, grid(rate=[0.02, 0.05, 0.1])),
}


def settings_of(kind: str, task: Task) -> list[dict]:
    """The three settings that a kind of model chooses from.

    With lags they go from a third of the longest to the longest: all that every scored step has seen, or fewer
    where their products would be too many.
    """
    if kind in SETTINGS:
        return SETTINGS[kind]
    longest = task.lags
    if kind == "quadratic, lags":
        longest = min(longest, MOST_LAGGED // task.train[0].shape[2])
    return [{"lags": -(-longest * third // 3), "penalty": 1e-6} for third in (1, 2, 3)]


def job(name: str, kind: str) -> Job:
    """The stored row of a task's table, or what makes it."""
    label = "".join(letter if letter.isalnum() else "-" for letter in f"{name} {kind} {UPDATES}").lower()
    settings = {"name": name, "kind": kind, "updates": UPDATES, "seeds": 5}
    return Job("observers", label.replace("--", "-"), compared, settings)


def jobs() -> list[Job]:
    return [job(name, kind) for name in TASKS for kind in KINDS]


def summary(job: Job) -> dict[str, float]:
    """The error on the test part, mean over seeds."""
    return {"test": float(np.mean(job.result["test"]))}
