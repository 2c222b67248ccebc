"""The study: training runs too long for a chapter, each a pure function of its configuration.

    python -m qrnn_helpers.study run [--workers N]    do what is missing; stop and start again at will
    python -m qrnn_helpers.study status               how much of the plan is stored
    python -m qrnn_helpers.study table                the rates that were tried, and the final scores

Every run is one JSON file in ``data/study``: its configuration, its training curve, its weights and
scores, and apart from these its wall time, machine and code.  The plan: for every method, noise and
budget the same grid of learning rates and batch sizes on a seed apart; the best of them on validation
windows runs on the seeds of the comparison.  No choice sees the test windows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from .backends import ExactBackend, ShotBackend
from .baselines import GRU
from .circuits import rotation_step
from .data import ks22
from .estimators import SPSA, Autograd, ParameterShift
from .layer import QRNN
from .metrics import nrmse
from .provenance import provenance
from .store import read_json, write_json
from .tasks import PatchForecast, patch_forecast
from .training import Budget, fit

__all__ = ["Run", "build", "final_runs", "ks_task", "load_run", "plan", "stored", "train", "trials"]

FOLDER = Path(__file__).resolve().parents[1] / "data" / "study"
WASHOUT = 3
"""Outputs before step 4 stay out of the loss."""

RATES, BATCHES = (0.01, 0.03, 0.1), (2, 8)
"""The grid that every circuit method is tuned on: six trials each."""

TUNING_SEED, SEEDS = 100, (0, 1, 2)
BUDGETS = (20_000, 80_000, 320_000)
"""Circuits.  Every budget is a training of its own, with its own full cosine schedule."""

NOISES = (0, 64, 1024)
"""Shots of each circuit; 0 is noise-free."""

YARDSTICK_STEPS, YARDSTICK_BATCH = 2_000, 32

GLIMPSE = 256
"""Validation windows that are scored during training; the final score takes all of them."""


@dataclass(frozen=True)
class Run:
    """Configuration of one training run.

    ``method``: "shift" and "spsa" spend ``budget`` circuits; "exact" (the quantum network with exact
    gradients, the yardstick) and "gru" spend ``budget`` optimiser steps.
    """

    method: str
    shots: int
    budget: int
    batch: int
    rate: float
    seed: int
    directions: int = 8
    c: float = 0.1

    @property
    def name(self) -> str:
        return f"{self.method}-shots{self.shots}-budget{self.budget}-batch{self.batch}-rate{self.rate:g}-seed{self.seed}"


@cache
def ks_task() -> PatchForecast:
    """The patch forecast on the stored KS fields of length 22, with the windows of the study."""
    return patch_forecast(*(ks22(split) for split in ("train", "validation", "test")))


def plan() -> list[list[Run]]:
    """All trials of the tuning, a list for each comparison (method, noise, budget)."""
    cells = [(m, shots, budget) for shots in NOISES for budget in BUDGETS for m in ("shift", "spsa")]
    groups = [[Run(*cell, batch, rate, TUNING_SEED) for batch in BATCHES for rate in RATES] for cell in cells]
    yardsticks = [("exact", 0, YARDSTICK_STEPS), ("gru", 0, YARDSTICK_STEPS)]
    return groups + [[Run(*cell, YARDSTICK_BATCH, rate, TUNING_SEED) for rate in RATES] for cell in yardsticks]


def build(run: Run) -> tuple[torch.nn.Module, dict]:
    """The untrained model of a run, and what `fit` is called with beside the data."""
    weights, shots, directions, batches = (int(s) for s in np.random.SeedSequence(run.seed).generate_state(4))
    if run.method == "gru":
        model = GRU(9, 1, 6, dtype=torch.float64, seed=weights)
    else:
        backend = ShotBackend(run.shots, shots, torch.complex64) if run.shots else ExactBackend()
        gradient = {
            "spsa": SPSA(run.c, run.directions, directions),
            "shift": ParameterShift() if run.shots else Autograd(),  # noise-free, the rule is exact
            "exact": Autograd(),
        }[run.method]
        model = QRNN(9, 1, rotation_step(), backend=backend, gradient=gradient, dtype=torch.float64, seed=weights)
    budget = Budget(circuits=run.budget) if charged(run) else Budget(steps=run.budget)
    if run.method == "shift" and not run.shots:  # charged as if the rule had run its circuits
        budget = Budget(steps=max(1, run.budget // shift_circuits(model, run.batch)))
    optimizer = torch.optim.Adam(model.parameters(), lr=run.rate)
    return model, {"optimizer": optimizer, "batch_size": run.batch, "budget": budget, "seed": batches}


def charged(run: Run) -> bool:
    """Whether the run's budget counts circuits."""
    return run.method in ("shift", "spsa")


def shift_circuits(model: QRNN, batch: int) -> int:
    """Circuits of one update by the shift rule over windows of the task."""
    return batch * (1 + ks_task().steps * model.layer.program.shift_circuits)


def train(run: Run, *, progress: bool = False) -> tuple[torch.nn.Module, pd.DataFrame]:
    """Do one run on the study's data: the trained model and its curve."""
    model, arguments = build(run)
    task = ks_task()
    glimpse = tuple(part[:GLIMPSE] for part in task.validation)
    curve = fit(
        model, task.train, glimpse, washout=WASHOUT, scored_steps=1, validations=10, progress=progress, **arguments
    )
    if run.method == "shift" and not run.shots:
        curve["circuits"] = curve["step"] * shift_circuits(model, run.batch)
    return model, curve


def scores(model: torch.nn.Module, run: Run, part: tuple) -> dict[str, float]:
    """NRMSE of the last increment, by exact probabilities and by 1,024 shots of each circuit."""
    x, y = part
    with torch.no_grad():
        if not isinstance(model, QRNN):
            return {"exact": nrmse(model(x)[0][:, -1], y[:, -1])}
        angles = model.layer.program.gate_angles(model.encoder(x))
        backends = {"exact": ExactBackend(), "shots1024": ShotBackend(1024, run.seed, torch.complex64)}
        outputs = {name: backend.run(model.layer.program, angles)[0] for name, backend in backends.items()}
        return {name: nrmse(model.decoder(p[:, -1]), y[:, -1]) for name, p in outputs.items()}


def perform(run: Run, folder: Path = FOLDER) -> None:
    """Do one run, unless it is stored already, and store it."""
    path = folder / f"{run.name}.json"
    if path.exists():
        return
    torch.set_num_threads(1)
    start = time.time()
    model, curve = train(run)
    seconds = time.time() - start
    record = {
        "run": asdict(run),
        "curve": thin(curve.drop(columns="seconds")),
        "validation": scores(model, run, ks_task().validation),
        "weights": {name: value.tolist() for name, value in model.state_dict().items()},
        "apart": {"seconds": round(seconds, 1), "provenance": provenance()},
    }
    write_json(record, path)


def thin(curve: pd.DataFrame, points: int = 100) -> dict[str, list]:
    """At most about ``points`` rows of a curve, those with a validation score among them."""
    keep = curve["validation_nrmse"].notna()
    keep.iloc[:: max(1, len(curve) // points)] = True
    table = curve[keep].round(6).astype(object)
    return {name: values.tolist() for name, values in table.where(table.notna(), None).items()}


def stored(run: Run, folder: Path = FOLDER) -> bool:
    return (folder / f"{run.name}.json").exists()


def load_run(run: Run, folder: Path = FOLDER) -> tuple[torch.nn.Module, pd.DataFrame, dict]:
    """A stored run: its trained model, its curve and the whole record."""
    record = read_json(folder / f"{run.name}.json")
    model, _ = build(run)
    model.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in record["weights"].items()})
    return model, pd.DataFrame(record["curve"], dtype=float), record


def trials(group: list[Run], folder: Path = FOLDER) -> pd.DataFrame:
    """The tuning trials of one comparison with their validation scores."""
    rows = [{**asdict(run), **read_json(folder / f"{run.name}.json")["validation"]} for run in group]
    return pd.DataFrame(rows)


def best(group: list[Run], folder: Path = FOLDER) -> Run:
    """The trial with the lowest exact validation error."""
    return group[int(trials(group, folder)["exact"].argmin())]


def final_runs(group: list[Run], folder: Path = FOLDER) -> list[Run]:
    """The runs that are compared: the best trial's setting on every seed of the study."""
    return [replace(best(group, folder), seed=seed) for seed in SEEDS]


def _all(runs: list[Run], workers: int, words: str) -> None:
    """Do the runs side by side, the cheap ones first."""
    jobs = sorted((r for r in runs if not stored(r)), key=lambda r: (r.budget * max(r.shots, 32), r.name))
    done = Parallel(n_jobs=workers, return_as="generator_unordered")(delayed(perform)(r) for r in jobs)
    for _ in tqdm(done, total=len(jobs), desc=words):
        pass


def _finals() -> Iterator[Run]:
    for group in plan():
        if all(stored(r) for r in group):
            yield from final_runs(group)


def _table() -> pd.DataFrame:
    """Mean, spread and count of the final validation scores of every complete comparison."""
    runs = [r for r in _finals() if stored(r)]
    rows = [{**asdict(r), **read_json(FOLDER / f"{r.name}.json")["validation"]} for r in runs]
    keys = ["method", "shots", "budget", "batch", "rate"]
    return pd.DataFrame(rows).groupby(keys)["exact"].agg(["mean", "std", "count"]).round(3).reset_index()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m qrnn_helpers.study", description="The stored training runs.")
    parser.add_argument("command", choices=("run", "status", "table"))
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    chosen = parser.parse_args(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if chosen.command == "run":
        _all([r for group in plan() for r in group], chosen.workers, "tuning")
        _all(list(_finals()), chosen.workers, "final seeds")
    elif chosen.command == "status":
        tuning = [r for group in plan() for r in group]
        print(json.dumps({"tuning": [sum(map(stored, tuning)), len(tuning)], "final": sum(map(stored, _finals()))}))
    else:
        print(_table().to_string(index=False))


if __name__ == "__main__":
    from qrnn_helpers import study  # under its own name, so that worker processes can import it

    study.main()
