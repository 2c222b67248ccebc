"""Gradient methods at equal budgets (chapters 8, 11 and 16): training runs too long for a chapter.

Every run is a job in ``data/study``: its training curve, its weights and scores.  The plan, the same for every
method and budget, on a seed apart: a noise-free trial of every learning rate and batch size; with shots, a trial
of the three settings that did best without; and then the best trial's setting on the seeds of the
comparison.  Choices are made by validation windows; none sees the test windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import torch

from ..backends import Backend, ExactBackend, ShotBackend
from ..baselines import TUNING_SEED, in_pieces, select
from ..checks import check_bool, check_instance, check_integer, check_one_of, check_positive
from ..circuits import rotation_step
from ..dynamics import ks22
from ..gradients import SPSA, Autograd, ParameterShift
from ..models import GRU, QRNN
from ..tasks import PatchForecast, nrmse, patch_forecast
from ..training import Budget, fit
from .jobs import Job, state_from, state_to

WASHOUT = 3
"""Outputs before step 4 stay out of the loss."""

RATES, BATCHES, RETRIED = (0.003, 0.01, 0.03, 0.1), (2, 8, 32), 3
"""Every circuit method has twelve noise-free trials at a budget, and three more at each number of shots."""

SEEDS = (0, 1, 2, 3, 4)

BUDGETS = (20_000, 80_000, 320_000)
"""Circuits.  Every budget is a training of its own, with its own full cosine schedule."""

NOISES = (0, 64, 1024)
"""Shots of each circuit; 0 is noise-free."""

WINDOWS = (4096, 1024, 2048)
"""Windows for training, validation and test, each from trajectories of its own."""

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
    causal: bool = False

    def __post_init__(self) -> None:
        check_one_of("method", self.method, ("shift", "spsa", "exact", "gru"))
        for name, least in {"shots": 0, "budget": 1, "batch": 1, "seed": 0, "directions": 1}.items():
            check_integer(name, getattr(self, name), minimum=least)
        for name in ("rate", "c"):
            check_positive(name, getattr(self, name))
        check_bool("causal", self.causal)

    @property
    def name(self) -> str:
        spent = f"shots{self.shots}-budget{self.budget}-batch{self.batch}-rate{self.rate:g}-seed{self.seed}"
        return f"{self.method}{'-causal' * self.causal}-{spent}"

    @property
    def job(self) -> Job:
        return Job("study", self.name, training, asdict(self))

    @property
    def charged(self) -> bool:
        """Whether the budget counts circuits."""
        return self.method in ("shift", "spsa")


@cache
def ks_task() -> PatchForecast:
    """The patch forecast on the stored KS fields of length 22, with the windows of the study."""
    return patch_forecast(*map(ks22, ("train", "validation", "test")), windows=WINDOWS)


def screening() -> list[list[Run]]:
    """The noise-free trials, a list for each method and budget, and those of the yardsticks."""
    cells = [(method, 0, budget) for budget in BUDGETS for method in ("shift", "spsa")]
    groups = [[Run(*cell, batch, rate, TUNING_SEED) for batch in BATCHES for rate in RATES] for cell in cells]
    yardsticks = [("exact", 0, YARDSTICK_STEPS), ("gru", 0, YARDSTICK_STEPS)]
    return groups + [[Run(*cell, YARDSTICK_BATCH, rate, TUNING_SEED) for rate in RATES] for cell in yardsticks]


def stored(group: list[Run]) -> bool:
    """Whether all runs of a group have a file."""
    return all(run.job.done for run in group)


def retrials(group: list[Run]) -> list[list[Run]]:
    """The trials with shots that a screened group leads to: its three best settings at each noise."""
    if not group[0].charged:
        return []
    order = trials(group)["exact"].argsort()
    return [[replace(group[i], shots=shots) for i in order[:RETRIED]] for shots in NOISES if shots]


def plan() -> list[list[Run]]:
    """All comparisons known so far: the trials of each (method, noise, budget)."""
    screened = [group for group in screening() if stored(group)]
    return screening() + [retried for group in screened for retried in retrials(group)]


def finals() -> list[Run]:
    """The final runs of every comparison whose trials are all stored."""
    return [run for group in plan() if stored(group) for run in final_runs(group)]


def jobs() -> Iterator[Job]:
    """All runs known so far."""
    yield from (run.job for group in plan() for run in group)
    yield from (run.job for run in finals())
    if all(stored(group) for group in screening()):
        yield from (run.job for runs in probes().values() for run in runs)


def network(run: Run) -> tuple[torch.nn.Module, int]:
    """The untrained model of a run, and the seed of its batches."""
    weights, shots, directions, batches = (int(word) for word in np.random.SeedSequence(run.seed).generate_state(4))
    if run.method == "gru":
        return GRU(9, 1, 6, dtype=torch.float64, seed=weights), batches
    backend = ShotBackend(run.shots, shots, torch.complex64) if run.shots else ExactBackend()
    if run.method == "spsa":
        gradient = SPSA(run.c, run.directions, directions, run.causal)
    elif run.method == "shift" and run.shots:
        gradient = ParameterShift()
    else:
        gradient = Autograd()  # noise-free, the rule is exact
    model = QRNN(9, 1, rotation_step(), backend=backend, gradient=gradient, dtype=torch.float64, seed=weights)
    return model, batches


def build(run: Run) -> tuple[torch.nn.Module, dict]:
    """The untrained model of a run, and what `fit` is called with beside the data."""
    check_instance("run", run, Run, "a Run")
    model, batches = network(run)
    if run.method == "shift" and not run.shots:  # charged as if the rule had run its circuits
        budget = Budget(steps=max(1, run.budget // shift_circuits(model, run.batch)))
    else:
        budget = Budget(circuits=run.budget) if run.charged else Budget(steps=run.budget)
    optimizer = torch.optim.Adam(model.parameters(), lr=run.rate)
    return model, {"optimizer": optimizer, "batch_size": run.batch, "budget": budget, "seed": batches}


def shift_circuits(model: QRNN, batch: int) -> int:
    """Circuits of one update by the shift rule over windows of the task."""
    return batch * (1 + ks_task().steps * model.layer.program.shift_circuits)


def train(
    run: Run, *, progress: bool = False, watch: Callable[[dict[str, float]], object] | None = None
) -> tuple[torch.nn.Module, pd.DataFrame]:
    """Do one run on the study's data: the trained model and its curve; ``watch(row)`` as in `fit`."""
    model, arguments = build(run)
    task = ks_task()
    glimpse = tuple(part[:GLIMPSE] for part in task.validation)
    arguments |= {"washout": WASHOUT, "scored_steps": 1, "validations": 10, "progress": progress}
    charge = shift_circuits(model, run.batch) if run.method == "shift" and not run.shots else None

    def charged(row: dict[str, float]) -> None:
        if charge:
            row["circuits"] = row["step"] * charge
        if watch is not None:
            watch(row)

    curve = fit(model, task.train, glimpse, watch=charged, **arguments)
    return model, curve


def scores(model: torch.nn.Module, run: Run, part: tuple) -> dict[str, float]:
    """NRMSE of the last increment, by exact probabilities and by 1,024 shots of each circuit."""
    x, y = part
    target = y[:, -1]
    with torch.no_grad():
        if not isinstance(model, QRNN):
            return {"exact": nrmse(model(x)[0][:, -1], target)}
        angles = model.layer.program.gate_angles(model.encoder(x))

        def error(backend: Backend) -> float:
            probabilities, _ = backend.run(model.layer.program, angles)
            return nrmse(model.decoder(probabilities[:, -1]), target)

        shots = ShotBackend(1024, run.seed, torch.complex64)
        return {"exact": error(ExactBackend()), "shots1024": error(shots)}


def training(**settings) -> dict:
    """The run of these settings, as it is stored."""
    run = Run(**settings)
    model, curve = train(run)
    validation = scores(model, run, ks_task().validation)
    return {"curve": thin(curve.drop(columns="seconds")), "validation": validation, "weights": state_to(model)}


def thin(curve: pd.DataFrame, points: int = 100) -> dict[str, list]:
    """At most about ``points`` rows of a curve, those with a validation score among them."""
    keep = curve["validation_nrmse"].notna()
    keep.iloc[:: max(1, len(curve) // points)] = True
    table = curve[keep].round(6).astype(object)
    return {name: values.tolist() for name, values in table.where(table.notna(), None).items()}


def load_run(run: Run) -> tuple[torch.nn.Module, pd.DataFrame, dict]:
    """A stored run: its trained model *with exact probabilities*, its curve and the whole record."""
    check_instance("run", run, Run, "a Run")
    record = run.job.record
    model, _ = build(replace(run, shots=0))
    state_from(model, record["result"]["weights"])
    return model, pd.DataFrame(record["result"]["curve"], dtype=float), record


def trials(group: list[Run]) -> pd.DataFrame:
    """The tuning trials of one comparison with their validation scores."""
    return pd.DataFrame([{**asdict(run), **run.job.result["validation"]} for run in group])


def final_runs(group: list[Run]) -> list[Run]:
    """The runs that are compared: the setting of the trial with the lowest exact error, on every seed of the study."""
    chosen, _ = select(group, lambda run, seed: run.job.result["validation"]["exact"])
    return [replace(chosen, seed=seed) for seed in SEEDS]


def probes() -> dict[str, list[Run]]:
    """Runs outside the comparison that ask whether another choice would have changed it.

    "batch 1": would parameter-shift, whose best batch is the smallest of the grid, gain by a smaller one?
    "causal": what does the causal cut, which the shift rule has, do for SPSA at its best setting?
    """
    group = next(g for g in screening() if (g[0].method, g[0].budget) == ("spsa", BUDGETS[-1]))
    return {
        "batch 1": [Run("shift", 0, BUDGETS[-1], 1, rate, TUNING_SEED) for rate in RATES],
        "causal": [replace(run, causal=True) for run in final_runs(group)],
    }


def results() -> pd.DataFrame:
    """The stored final runs, a row each: configuration and NRMSE on validation and on *test* windows.

    The test error is computed here and now, from the stored weights and exact probabilities.
    """
    x, y = ks_task().test
    rows = []
    for run in (run for run in finals() if run.job.done):
        model, curve, record = load_run(run)
        test = nrmse(in_pieces(lambda windows, model=model: model(windows)[0][:, -1])(x), y[:, -1])
        spent = {"circuits": curve["circuits"].iloc[-1], "shots_spent": curve["shots"].iloc[-1]}
        validation = record["result"]["validation"]["exact"]
        rows.append({**asdict(run), **spent, "validation": validation, "test": test})
    return pd.DataFrame(rows)


def summary(job: Job) -> dict[str, float]:
    """The error on validation windows."""
    return {"validation": job.result["validation"]["exact"]}
