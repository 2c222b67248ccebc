"""Closed-loop forecasts at length 22 (chapter 13): every kind of model tuned by its closed loop."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial

import numpy as np
import torch
import xarray as xr
from torch import nn

from ..baselines import PIECE, echo_state, linear, nvar, persistence
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

DT, MODES, WINDOWS, UNITS = 0.25, 12, (8192, 1024, 1024), 128

BATCH, PENALTY = 256, 1e-8

TUNING_SEED = 100

SHORT, LONG = 80, 400
"""Updates of a network while its setting is chosen, and for the comparison."""

QUBITS = {"memory": 1, "readout": 7}


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

    def __init__(self, body: QRNN | GRU | RNN, features: int, inputs: int):
        super().__init__()
        real = {"dtype": torch.float64, "device": "cpu"}
        self.body, self.readout = body, nn.utils.skip_init(nn.Linear, features + inputs, inputs, **real)
        nn.init.zeros_(self.readout.weight), nn.init.zeros_(self.readout.bias)  # to be fitted: nothing to draw

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.body.features(x)

    def inner(self) -> list[torch.Tensor]:
        """The weights in front of the features."""
        return [weight for name, weight in self.body.named_parameters() if "decoder" not in name]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.readout(torch.cat([self.features(x), x], dim=-1)), None


def network(kind: str, gain: float = 1.0, seed: int = 0) -> Network:
    """A network of UNITS features as drawn; ``gain`` multiplies the weights of a circuit's encoder."""
    sizes = {"dtype": torch.float64, "seed": seed}
    if kind in ("RNN", "GRU"):
        return Network({"RNN": RNN, "GRU": GRU}[kind](MODES, MODES, UNITS, **sizes), UNITS, MODES)
    step = rotation_step(**QUBITS)
    step = without_entanglers(step) if kind == "circuit without entanglers" else step
    model = QRNN(MODES, MODES, step, **sizes)
    with torch.no_grad():
        model.encoder.weight.mul_(gain)
    return Network(model, UNITS, MODES)


def fit_network(
    kind: str, steps: int, seed: int, *, gain: float = 1.0, rate: float = 0.01, noise: float = 0.0, updates: int = 0
) -> tuple[Fitted, Network]:
    """Inner weights by exact gradients (none for ``updates`` 0), the readout by ridge regression."""
    task, model = forecast(steps), network(kind, gain, seed)
    if updates:
        options = {"penalty": 1e-7, "noise": noise, "batch": BATCH, "seed": seed}
        train_features(model.features, model.inner(), task, rate=rate, updates=updates, **options)
    x, y = task.train
    rows = torch.cat([_in_pieces(model.features, x)[:, -1], x[:, -1]], dim=-1)
    with torch.no_grad():
        for weight, found in zip(model.readout.parameters(), ridge_readout(rows, y[:, -1], PENALTY)):
            weight.copy_(found)
    count = sum(w.numel() for w in [*model.inner(), *model.readout.parameters()])
    return Fitted(lambda x: _in_pieces(lambda piece: model(piece)[0], x), count, _sees(steps)), model


def _sees(steps: int) -> str:
    return f"{MODES} modes, {steps} step{'s' * (steps > 1)}"


@torch.no_grad()
def _in_pieces(features: Callable, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([features(piece) for piece in x.split(PIECE)])


def _grid(**choices) -> list[dict]:
    """Every combination of the choices."""
    combined = [{}]
    for name, values in choices.items():
        combined = [setting | {name: value} for setting in combined for value in values]
    return combined


STEPS = [1, 2]

REGRESSIONS = {"linear": linear, "quadratic autoregression": nvar}

CIRCUIT = _grid(steps=STEPS, gain=[0.05, 0.1, 0.2], rate=[0.006])

RECURRENT = _grid(steps=STEPS, rate=[0.001, 0.003, 0.01])

ECHOES = {"units": [300], "radius": [0.1], "leak": [1.0], "penalty": [1e-8]}

KINDS = {
    "persistence": [{}],
    "linear": _grid(lags=STEPS, penalty=[1e-8, 1e-5, 1e-2]),
    "quadratic autoregression": _grid(lags=STEPS, penalty=[1e-8, 1e-5, 1e-2]),
    "echo-state network": _grid(steps=STEPS, gain=[0.03, 0.1, 0.3], **ECHOES),
    "RNN": RECURRENT,
    "GRU": RECURRENT,
    "untrained circuit": _grid(steps=STEPS, gain=[0.03, 0.1, 0.3]),
    "circuit without entanglers": CIRCUIT,
    "circuit": CIRCUIT,
}
"""Every kind of model, and the settings that it chooses from by its closed loops on the validation part."""


def fitted(kind: str, seed: int, setting: dict, updates: int) -> tuple[Fitted, int, Network | None]:
    """A model of that kind, how many steps its windows have, and the network if it is one."""
    setting = dict(setting)
    steps = setting.pop("steps", setting.get("lags", 1))
    if kind == "persistence":
        return persistence(forecast(steps)), steps, None
    if kind in REGRESSIONS:
        return REGRESSIONS[kind](forecast(steps), seed, **setting), steps, None
    if kind == "echo-state network":
        return echo_state(forecast(steps), seed, **setting), steps, None
    updates = 0 if kind == "untrained circuit" else updates
    model, net = fit_network(kind, steps, seed, updates=updates, **setting)
    return model, steps, net


def one_step(predict: Predict, steps: int, part: str) -> float:
    """Root mean square error of one step, within the modes, over the field's root mean square."""
    task = forecast(steps)
    x, y = getattr(task, part)
    error = (predict(x) - y)[:, -1].square().sum(-1).mean().sqrt()
    size = task.reduce(dynamics(part).values[:, ::40])
    return float(error * task.y_scaling.unit / np.sqrt((size**2).sum(-1).mean()))


def loops(predict: Predict, steps: int, part: str, count: int, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Closed loops from ``count`` starts over ``time``, and the truth: (count, time / DT, points)."""
    history, truth = starts(dynamics(part), max(STEPS), round(time / DT), count)
    return closed_loop(predict, history[:, -steps:], truth.shape[1], forecast(steps)), truth


def skill(predict: Predict, steps: int, part: str, count: int, time: float) -> dict:
    """How long each loop is valid, in Lyapunov times, which blow up, and the error by lead time."""
    made, truth = loops(predict, steps, part, count, time)
    table = valid_prediction_time(made, truth, DT, 1 / lyapunov_time())
    lead = nrmse_by_lead(made, truth)[round(1 / DT) - 1 :: round(1 / DT)]
    found = {"vpt": table["vpt"].round(4).tolist(), "lead": np.minimum(lead, 1e6).round(5).tolist()}
    flags = {name: np.flatnonzero(table[name]).tolist() for name in ("censored", "blown_up")}
    return found | flags | {"one_step": one_step(predict, steps, part)}


def long_run(predict: Predict, steps: int, count: int = 8, time: float = 400.0, skip: float = 100.0) -> dict:
    """Where loops live after ``skip``: the spectrum and climate of those that stay bounded."""
    made, truth = loops(predict, steps, "test", count, time)
    bounded = np.abs(np.nan_to_num(made, nan=np.inf)).max(axis=(1, 2)) < 10
    kept = made[bounded][:, round(skip / DT) :: 4]
    found = {"bounded": int(bounded.sum()), "starts": count, "truth": spectrum(truth)[:9].tolist()}
    if not bounded.any():
        return found
    return found | {"spectrum": spectrum(kept)[:9].tolist(), "climate": climate(kept, truth[:, ::4]).to_dict()}


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
    tried = []
    for setting in settings:
        model, steps, _ = fitted(kind, TUNING_SEED, setting, short)
        tried.append({"setting": setting} | skill(model.predict, steps, "validation", starts[0], times[0]))
    best = max(tried, key=lambda each: np.mean(each["vpt"]))["setting"]
    runs = []
    for seed in range(seeds):
        model, steps, net = fitted(kind, seed, best, long)
        runs.append(skill(model.predict, steps, "test", starts[1], times[1]))
        if seed == 0:
            first = {"parameters": model.parameters, "sees": _sees(steps), "climate": long_run(model.predict, steps)}
            first |= {"weights": state_to(net)} if kind == "circuit" else {}
    return {"tried": tried, "setting": best, "runs": runs} | first


def further(model: Network, horizon: int, updates: int, rate: float, batch: int, seed: int) -> Callable:
    """The network after ``updates`` more, all weights by the errors of ``horizon`` steps in closed loop: its predict.

    The readout is trained in whitened features, where Adam makes headway; it starts as it is.
    """
    task, unit = forecast(1), forecast(1).x_scaling.unit / forecast(1).y_scaling.unit
    series = torch.from_numpy(task.x_scaling.features(task.reduce(dynamics("train").values)))
    rows, readout = task.train[0][:4000], model.readout
    with torch.no_grad():
        seen = torch.cat([_in_pieces(model.features, rows), rows], dim=-1)[:, -1]
        white, mean = whitening(seen, 1e-13), seen.mean(0)
        weights = torch.linalg.solve(white, readout.weight.T)
        offset = readout.bias + readout.weight @ mean
    weights.requires_grad_(), offset.requires_grad_()

    def predict(x: torch.Tensor) -> torch.Tensor:
        return (torch.cat([model.features(x), x], dim=-1) - mean) @ white @ weights + offset

    options = {"horizon": horizon, "rate": rate, "updates": updates, "batch": batch, "seed": seed}
    step, learning = partial(task.next_modes, predict), [*model.inner(), weights, offset]
    train_in_loop(step, learning, series, steps=1, unit=torch.from_numpy(unit), **options)
    return lambda x: _in_pieces(predict, x)


def several_steps(setting: dict, seeds: int, first: int, horizons: list[int], **options) -> dict:
    """The circuit as `compare_kind` trains it, and after as many more updates in loops of each horizon: test part."""
    runs = []
    for seed in range(seeds):
        start, _, model = fitted("circuit", seed, setting, first)
        run = {"0": skill(start.predict, 1, "test", 120, 120.0)}
        for horizon in horizons:
            predict = further(deepcopy(model), horizon, seed=seed, **options)
            run[str(horizon)] = skill(predict, 1, "test", 120, 120.0)
        runs.append(run)
    return {"runs": runs}


def restored() -> Network:
    """The stored circuit of the comparison's first seed."""
    return state_from(network("circuit"), kind_job("circuit").result["weights"])


def loop_job() -> Job:
    """What errors of several steps are worth to the circuit of the comparison."""
    setting = {"steps": 1, "gain": 0.1, "rate": 0.006}
    options = {"horizons": [1, 6], "updates": 200, "rate": 0.001, "batch": 64}
    return Job("forecasts", "several_steps", several_steps, {"setting": setting, "seeds": 3, "first": LONG} | options)


RECIPES = {
    "one step": {"flux": False, "noise": 0.0, "horizon": 1},
    "flux": {"flux": True, "noise": 0.0, "horizon": 1},
    "flux, noise": {"flux": True, "noise": 0.02, "horizon": 1},
    "flux, 4 steps": {"flux": True, "noise": 0.0, "horizon": 4},
    "flux, noise, 4 steps": {"flux": True, "noise": 0.02, "horizon": 4},
}
"""How a patch model is trained; with more than one step the projection is part of the loop."""

KEPT = 8
"""Waves that the projection keeps."""


@cache
def patches() -> PatchForecast:
    """The patch forecast on every second point: nine neighbours, two samples."""
    return patch_forecast(*(coarse(part) for part in PARTS), neighbours=9, spacing=1, steps=2, windows=(4096, 64, 64))


def coarse(part: str) -> xr.DataArray:
    """The fields at every second point: the waves that are left out hold nothing."""
    return dynamics(part)[..., ::2]


def patch_network(kind: str, seed: int) -> nn.Module:
    """Four qubits with a linear path, or a gated recurrent unit of like size."""
    if kind == "GRU":
        return GRU(9, 1, 8, dtype=torch.float64, seed=seed)
    return QRNN(9, 1, rotation_step(2, 2), skip=True, dtype=torch.float64, seed=seed)


def last(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """A network's answer at the last step alone, (n,)."""
    return lambda x: model(x)[0][:, -1, 0]


def patch_run(
    kind: str, recipe: str, seeds: int, updates: int, batch: int, rate: float, count: int, time: float
) -> dict:
    """Train by a recipe of `RECIPES`; closed loops with and without projection, and the drift of the mean."""
    task, how = patches(), RECIPES[recipe]
    series, (history, truth) = (
        torch.from_numpy(coarse("train").values),
        starts(coarse("test"), 2, round(time / DT), count),
    )
    runs = []
    for seed in range(seeds):
        model = patch_network(kind, seed)
        modes = KEPT if how["horizon"] > 1 else None
        step = partial(next_field, last(model), task=task, modes=modes, flux=how["flux"])
        options = {"noise": how["noise"] * task.field_std, "unit": 1 / task.increment_std, "seed": seed}
        train_in_loop(
            step, list(model.parameters()), series, steps=2, horizon=how["horizon"], rate=rate, updates=updates,
            batch=batch, **options,
        )  # fmt: skip
        run = {}
        for name, kept in (("projected", KEPT), ("free", None)):
            made = rollouts(last(model), history, truth.shape[1], task, modes=kept, flux=how["flux"])
            table = valid_prediction_time(made, truth, DT, 1 / lyapunov_time())
            drift = np.abs(np.nan_to_num(made, nan=1e6)[:, round(5 / DT)].mean(axis=-1)).max()
            flags = {each: float(table[each].mean()) for each in ("censored", "blown_up")}
            lead = np.minimum(nrmse_by_lead(made, truth), 1e6)
            run[name] = {"vpt": table["vpt"].round(4).tolist(), "drift": drift, "one_step": lead[0]} | flags
        runs.append(run)
    return {"parameters": sum(w.numel() for w in model.parameters()), "runs": runs}


def patch_job(kind: str, recipe: str, updates: int = 200) -> Job:
    """The stored ablation of one recipe."""
    name = f"patch_{kind}_{recipe}".replace(",", "").replace(" ", "_") + f"_{updates}" * (updates != 200)
    numbers = {"seeds": 3, "updates": updates, "batch": 8, "rate": 0.01, "count": 100, "time": 30.0}
    return Job("forecasts", name, patch_run, {"kind": kind, "recipe": recipe} | numbers)


def kind_job(kind: str) -> Job:
    """The stored comparison of one kind of model."""
    chance = 5 if kind not in ("persistence", *REGRESSIONS) else 1
    numbers = {"seeds": chance, "short": SHORT, "long": LONG, "starts": [100, 120], "times": [80.0, 120.0]}
    return Job("forecasts", kind.replace(" ", "_"), compare_kind, {"kind": kind, "settings": KINDS[kind]} | numbers)


def jobs() -> list[Job]:
    short = [patch_job(kind, recipe) for kind in ("GRU", "QRNN") for recipe in RECIPES]
    long = [patch_job("GRU", recipe, 2000) for recipe in RECIPES]
    return [*(kind_job(kind) for kind in KINDS), loop_job(), *short, *long]


def summary(job: Job) -> dict[str, float]:
    """How long the loops of the test part are valid, in Lyapunov times, mean over starts and seeds."""
    last = [run if "vpt" in run else list(run.values())[-1] for run in job.result["runs"]]
    return {"vpt": float(np.mean([run["vpt"] for run in last]))}
