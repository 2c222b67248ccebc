"""Closed-loop forecasts at length 22 (chapter 13): every kind of model tuned by its closed loop."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

from ..baselines import echo_state, grid, in_pieces, linear, nvar, persistence, select
from ..circuits import rotation_step, without_entanglers
from ..dynamics import ks22_long
from ..models import GRU, QRNN, RNN
from ..tasks import (
    PARTS,
    Fitted,
    PatchForecast,
    Predict,
    SliceForecast,
    climate,
    closed_loop,
    next_field,
    nrmse_by_lead,
    patch_forecast,
    reduced_forecast,
    rollouts,
    slice_forecast,
    spectrum,
    starts,
    valid_prediction_time,
)
from ..training import ridge_readout, train_features, train_in_loop, whitening
from .exponents import stored_exponents
from .jobs import Job, state_from, state_to

DT = 0.25

MODES, UNITS = 12, 128
"""Fourier modes that are forecast, and features of every network."""

WINDOWS = (8192, 1024, 1024)

BATCH = 256

SHORT, LONG = 80, 400
"""Updates of a network while its setting is chosen, and for the comparison."""


@cache
def dynamics(part: str) -> xr.DataArray:
    """The stored fields of a part, a sample every DT."""
    return ks22_long(part, dt=DT)


@cache
def forecast(steps: int) -> SliceForecast:
    """The task: twelve modes over ``steps`` samples, on a slice; the same windows for every model."""
    fields = [dynamics(part) for part in PARTS]
    return slice_forecast(reduced_forecast(*fields, modes=MODES, steps=steps, washout=0, windows=WINDOWS))


def lyapunov_time() -> float:
    """1 / lambda_1 at length 22, from the stored exponents."""
    return 1 / float(stored_exponents("ks1d-22")["exponents"][0])


class Network(nn.Module):
    """A recurrent network of features and a linear readout of the features and the inputs: x -> (y, state)."""

    def __init__(self, body: QRNN | GRU | RNN):
        super().__init__()
        self.body = body
        self.readout = nn.utils.skip_init(nn.Linear, UNITS + MODES, MODES, dtype=torch.float64, device="cpu")
        nn.init.zeros_(self.readout.weight)  # to be fitted: nothing to draw
        nn.init.zeros_(self.readout.bias)

    def inner(self) -> list[Tensor]:
        """The weights in front of the features."""
        return [weight for name, weight in self.body.named_parameters() if "decoder" not in name]

    def features(self, x: Tensor) -> Tensor:
        return self.body.features(x)

    def read(self, x: Tensor) -> Tensor:
        """What the readout reads: features and inputs."""
        return torch.cat([self.features(x), x], dim=-1)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.readout(self.read(x)), None


def network(kind: str, gain: float = 1.0, seed: int = 0) -> Network:
    """A network of UNITS features as drawn; ``gain`` multiplies the weights of a circuit's encoder."""
    if kind in ("RNN", "GRU"):
        module = {"RNN": RNN, "GRU": GRU}[kind]
        return Network(module(MODES, MODES, UNITS, dtype=torch.float64, seed=seed))
    step = rotation_step(memory=1, readout=7)
    if kind == "circuit without entanglers":
        step = without_entanglers(step)
    model = QRNN(MODES, MODES, step, dtype=torch.float64, seed=seed)
    with torch.no_grad():
        model.encoder.weight.mul_(gain)
    return Network(model)


def trained(
    kind: str, task: SliceForecast, seed: int, updates: int, *, gain: float = 1.0, rate: float = 0.0
) -> Network:
    """Inner weights by exact gradients (none for ``updates`` 0), the readout by ridge regression."""
    model = network(kind, gain, seed)
    if updates:
        train_features(
            model.features, model.inner(), task, rate=rate, updates=updates, penalty=1e-7, batch=BATCH, seed=seed
        )
    x, y = task.train
    rows = in_pieces(model.read)(x)[:, -1]
    weight, bias = ridge_readout(rows, y[:, -1], 1e-8)
    with torch.no_grad():
        model.readout.weight.copy_(weight)
        model.readout.bias.copy_(bias)
    return model


REGRESSIONS = {
    "persistence": persistence,
    "linear": linear,
    "quadratic autoregression": nvar,
}
"""Kinds without chance."""

LAGS = grid(lags=[1, 2], penalty=[1e-8, 1e-5, 1e-2])

ECHOES = grid(steps=[1, 2], gain=[0.03, 0.1, 0.3], units=[300], radius=[0.1], leak=[1.0], penalty=[1e-8])

RECURRENT = grid(steps=[1, 2], rate=[0.001, 0.003, 0.01])

CIRCUIT = grid(steps=[1, 2], gain=[0.05, 0.1, 0.2], rate=[0.006])

KINDS = {
    "persistence": [{}],
    "linear": LAGS,
    "quadratic autoregression": LAGS,
    "echo-state network": ECHOES,
    "RNN": RECURRENT,
    "GRU": RECURRENT,
    "untrained circuit": grid(steps=[1, 2], gain=[0.03, 0.1, 0.3]),
    "circuit without entanglers": CIRCUIT,
    "circuit": CIRCUIT,
}
"""Every kind of model, and the settings that it chooses from by its closed loops on the validation part."""


def steps_of(setting: dict) -> int:
    """Samples that a model of this setting sees."""
    return setting.get("steps", setting.get("lags", 1))


def sees(steps: int) -> str:
    return f"{MODES} modes, {steps} step{'s' * (steps > 1)}"


def fitted(kind: str, seed: int, setting: dict, updates: int) -> tuple[Fitted, Network | None]:
    """A model of that kind, and its network if it is one."""
    steps = steps_of(setting)
    task = forecast(steps)
    if kind in REGRESSIONS:
        return REGRESSIONS[kind](task, seed, **setting), None
    options = {name: value for name, value in setting.items() if name != "steps"}
    if kind == "echo-state network":
        return echo_state(task, seed, **options), None
    model = trained(kind, task, seed, 0 if kind == "untrained circuit" else updates, **options)
    count = sum(weight.numel() for weight in [*model.inner(), *model.readout.parameters()])
    return Fitted(in_pieces(lambda x: model(x)[0]), count, sees(steps)), model


def one_step(predict: Predict, steps: int, part: str) -> float:
    """Root mean square error of one step, within the modes, over the field's root mean square."""
    task = forecast(steps)
    x, y = getattr(task, part)
    error = (predict(x) - y)[:, -1].square().sum(-1).mean().sqrt()
    size = task.reduce(dynamics(part).values[:, ::40])
    return float(error * task.y_scaling.unit / np.sqrt((size**2).sum(-1).mean()))


def loops(predict: Predict, steps: int, part: str, count: int, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Closed loops from ``count`` starts over ``time``, and the truth: (count, time / DT, points)."""
    history, truth = starts(dynamics(part), 2, round(time / DT), count)
    return closed_loop(predict, history[:, -steps:], truth.shape[1], forecast(steps)), truth


def lengths(made: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """How long each loop is valid, in Lyapunov times, and which are censored or blow up."""
    return valid_prediction_time(made, truth, DT, 1 / lyapunov_time())


def skill(predict: Predict, steps: int, part: str, count: int, time: float) -> dict:
    """How long each loop is valid, in Lyapunov times, which blow up, and the error by lead time."""
    made, truth = loops(predict, steps, part, count, time)
    table = lengths(made, truth)
    every = round(1 / DT)
    lead = nrmse_by_lead(made, truth)[every - 1 :: every]
    return {
        "vpt": table["vpt"].round(4).tolist(),
        "lead": np.minimum(lead, 1e6).round(5).tolist(),
        "censored": np.flatnonzero(table["censored"]).tolist(),
        "blown_up": np.flatnonzero(table["blown_up"]).tolist(),
        "one_step": one_step(predict, steps, part),
    }


def long_run(predict: Predict, steps: int, count: int = 8, time: float = 400.0, skip: float = 100.0) -> dict:
    """Where loops live after ``skip``: the spectrum and climate of those that stay bounded."""
    made, truth = loops(predict, steps, "test", count, time)
    bounded = np.abs(np.nan_to_num(made, nan=np.inf)).max(axis=(1, 2)) < 10
    summary = {"bounded": int(bounded.sum()), "starts": count, "truth": spectrum(truth)[:9].tolist()}
    if not bounded.any():
        return summary
    kept = made[bounded][:, round(skip / DT) :: 4]
    return summary | {"spectrum": spectrum(kept)[:9].tolist(), "climate": climate(kept, truth[:, ::4]).to_dict()}


def compare_kind(
    kind: str,
    settings: list[dict],
    seeds: int,
    short: int,
    long: int,
    starts: tuple[int, int],
    times: tuple[float, float],
) -> dict:
    """Choose a setting by closed loops on the validation part, then read the test part once for every seed."""

    def trial(setting: dict, seed: int) -> dict:
        model, _ = fitted(kind, seed, setting, short)
        loops = skill(model.predict, steps_of(setting), "validation", starts[0], times[0])
        return {"setting": setting} | loops

    setting, tried = select(settings, trial, lambda outcome: -np.mean(outcome["vpt"]))
    steps = steps_of(setting)
    models = [fitted(kind, seed, setting, long) for seed in range(seeds)]
    runs = [skill(model.predict, steps, "test", starts[1], times[1]) for model, _ in models]
    first, net = models[0]
    return {
        "tried": tried,
        "setting": setting,
        "runs": runs,
        "parameters": first.parameters,
        "sees": sees(steps),
        "climate": long_run(first.predict, steps),
    } | ({"weights": state_to(net)} if kind == "circuit" else {})


def kind_job(kind: str) -> Job:
    """The stored comparison of one kind of model."""
    seeds = 1 if kind in REGRESSIONS else 5
    numbers = {"seeds": seeds, "short": SHORT, "long": LONG, "starts": [100, 120], "times": [80.0, 120.0]}
    settings = {"kind": kind, "settings": KINDS[kind]} | numbers
    return Job("forecasts", kind.replace(" ", "_"), compare_kind, settings)


def restored() -> Network:
    """The stored circuit of the comparison's first seed."""
    return state_from(network("circuit"), kind_job("circuit").result["weights"])


def further(model: Network, horizon: int, updates: int, rate: float, batch: int, seed: int) -> Predict:
    """The network after ``updates`` more, all weights by the errors of ``horizon`` steps in closed loop: its predict.

    The readout is trained in whitened features, where Adam makes headway; it starts as it is.
    """
    task = forecast(1)
    series = torch.from_numpy(task.x_scaling.features(task.reduce(dynamics("train").values)))
    unit = torch.from_numpy(task.x_scaling.unit / task.y_scaling.unit)
    readout = model.readout
    with torch.no_grad():
        rows = in_pieces(model.read)(task.train[0][:4000])[:, -1]
        white = whitening(rows, 1e-13)
        mean = rows.mean(0)
        weights = torch.linalg.solve(white, readout.weight.T)
        offset = readout.bias + readout.weight @ mean
    weights.requires_grad_()
    offset.requires_grad_()

    def predict(x: Tensor) -> Tensor:
        return (model.read(x) - mean) @ white @ weights + offset

    train_in_loop(
        partial(task.next_modes, predict), [*model.inner(), weights, offset], series, steps=1, horizon=horizon,
        rate=rate, updates=updates, batch=batch, unit=unit, seed=seed,
    )  # fmt: skip
    return in_pieces(predict)


def several_steps(setting: dict, seeds: int, first: int, horizons: list[int], **options) -> dict:
    """The circuit as `compare_kind` trains it, and after as many more updates in loops of each horizon: test part."""
    runs = []
    for seed in range(seeds):
        start, model = fitted("circuit", seed, setting, first)
        predicts = {"0": start.predict}
        predicts |= {str(horizon): further(deepcopy(model), horizon, seed=seed, **options) for horizon in horizons}
        runs.append({name: skill(predict, 1, "test", 120, 120.0) for name, predict in predicts.items()})
    return {"runs": runs}


def loop_job() -> Job:
    """What errors of several steps are worth to the circuit of the comparison."""
    setting = {"steps": 1, "gain": 0.1, "rate": 0.006}
    options = {"horizons": [1, 6], "updates": 200, "rate": 0.001, "batch": 64}
    return Job("forecasts", "several_steps", several_steps, {"setting": setting, "seeds": 3, "first": LONG} | options)


RECIPES: dict[str, dict[str, Any]] = {
    "one step": {"flux": False, "noise": 0.0, "horizon": 1},
    "flux": {"flux": True, "noise": 0.0, "horizon": 1},
    "flux, noise": {"flux": True, "noise": 0.02, "horizon": 1},
    "flux, 4 steps": {"flux": True, "noise": 0.0, "horizon": 4},
    "flux, noise, 4 steps": {"flux": True, "noise": 0.02, "horizon": 4},
}
"""How a patch model is trained; with more than one step the projection is part of the loop."""

KEPT = 8
"""Waves that the projection keeps."""


def coarse(part: str) -> xr.DataArray:
    """The fields at every second point: the waves that are left out hold nothing."""
    return dynamics(part)[..., ::2]


@cache
def patches() -> PatchForecast:
    """The patch forecast on every second point: nine neighbours, two samples."""
    fields = [coarse(part) for part in PARTS]
    return patch_forecast(*fields, neighbours=9, spacing=1, steps=2, windows=(4096, 64, 64))


def patch_network(kind: str, seed: int) -> nn.Module:
    """Four qubits with a linear path, or a gated recurrent unit of like size."""
    if kind == "GRU":
        return GRU(9, 1, 8, dtype=torch.float64, seed=seed)
    return QRNN(9, 1, rotation_step(2, 2), skip=True, dtype=torch.float64, seed=seed)


def patch_trained(kind: str, recipe: str, seed: int, **options) -> Callable[[Tensor], Tensor]:
    """A patch network after training by a recipe of `RECIPES`: its answer at the last step, (n,)."""
    task = patches()
    how = RECIPES[recipe]
    model = patch_network(kind, seed)

    def last(x: Tensor) -> Tensor:
        return model(x)[0][:, -1, 0]

    modes = KEPT if how["horizon"] > 1 else None
    train_in_loop(
        partial(next_field, last, task=task, modes=modes, flux=how["flux"]), list(model.parameters()),
        torch.from_numpy(coarse("train").values), steps=2, horizon=how["horizon"],
        noise=how["noise"] * task.field_std, unit=1 / task.increment_std, seed=seed, **options,
    )  # fmt: skip
    return last


def patch_scores(made: np.ndarray, truth: np.ndarray) -> dict:
    """Of closed loops: how long they are valid, how far the mean drifts over 5, the error of one step, and losses."""
    table = lengths(made, truth)
    means = np.nan_to_num(made, nan=1e6)[:, round(5 / DT)].mean(axis=-1)
    return {
        "vpt": table["vpt"].round(4).tolist(),
        "drift": np.abs(means).max(),
        "one_step": np.minimum(nrmse_by_lead(made, truth), 1e6)[0],
        "censored": float(table["censored"].mean()),
        "blown_up": float(table["blown_up"].mean()),
    }


def patch_run(
    kind: str, recipe: str, seeds: int, updates: int, batch: int, rate: float, count: int, time: float
) -> dict:
    """Train by a recipe of `RECIPES`; closed loops with and without projection."""
    task = patches()
    history, truth = starts(coarse("test"), 2, round(time / DT), count)
    runs = []
    for seed in range(seeds):
        last = patch_trained(kind, recipe, seed, updates=updates, batch=batch, rate=rate)
        close = partial(rollouts, last, history, truth.shape[1], task, flux=RECIPES[recipe]["flux"])
        loops = {"projected": close(modes=KEPT), "free": close(modes=None)}
        runs.append({name: patch_scores(made, truth) for name, made in loops.items()})
    return {"parameters": sum(weight.numel() for weight in patch_network(kind, 0).parameters()), "runs": runs}


def patch_job(kind: str, recipe: str, updates: int = 200) -> Job:
    """The stored ablation of one recipe."""
    name = f"patch_{kind}_{recipe}".replace(",", "").replace(" ", "_") + f"_{updates}" * (updates != 200)
    numbers = {"seeds": 3, "updates": updates, "batch": 8, "rate": 0.01, "count": 100, "time": 30.0}
    return Job("forecasts", name, patch_run, {"kind": kind, "recipe": recipe} | numbers)


def jobs() -> list[Job]:
    short = [patch_job(kind, recipe) for kind in ("GRU", "QRNN") for recipe in RECIPES]
    long = [patch_job("GRU", recipe, 2000) for recipe in RECIPES]
    return [*(kind_job(kind) for kind in KINDS), loop_job(), *short, *long]


def summary(job: Job) -> dict[str, float]:
    """How long the loops of the test part are valid, in Lyapunov times, mean over starts and seeds."""
    last = [run if "vpt" in run else list(run.values())[-1] for run in job.result["runs"]]
    return {"vpt": float(np.mean([run["vpt"] for run in last]))}
