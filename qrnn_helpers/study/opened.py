"""Test windows, opened once for each stage of the study, when all runs of the stage are stored.

No setting is chosen and no arm dropped afterwards: what is opened is every arm at every budget of the stage.
"""

from __future__ import annotations

import pandas as pd
import torch

from ..backends import ShotBackend
from ..checks import check_one_of
from . import plan
from .arms import ARMS, MAIN, YARDSTICKS, Problem, Setting, error, rounded, task_of, trained
from .jobs import Job
from .plan import FOLDER, STAGES, evaluation, yardstick


def cells(stage: str) -> dict[tuple[Problem, str, str], list[Job]]:
    """The runs of every problem, arm and budget of a stage; those of the yardsticks belong to the first."""
    check_one_of("stage", stage, tuple(STAGES))
    found = {(problem, arm, budget): evaluation(arm, budget, problem) for problem, arm, budget in plan.cells(stage)}
    if stage == next(iter(STAGES)):
        found |= {(MAIN, arm, "updates"): yardstick(arm) for arm in YARDSTICKS}
    return found


def opening(stage: str) -> Job:
    """The job that reads a stage's test windows; refused while a run of the stage is missing."""
    missing = [
        " ".join(filter(None, [plan.name_of(problem), arm, "at", budget]))
        for (problem, arm, budget), jobs in cells(stage).items()
        if not _complete(jobs)
    ]
    if missing:
        raise ValueError(f"stage {stage} must be complete before its test windows are opened; missing: {missing}")
    return Job(FOLDER, f"test-{stage}", open_test, {"stage": stage})


def _complete(jobs: list[Job]) -> bool:
    return bool(jobs) and all(job.done for job in jobs)


def open_test(stage: str) -> dict:
    """Test NRMSE of every run of a stage, by exact probabilities and by the shots it was trained with."""
    return {"rows": [row for jobs in cells(stage).values() for job in jobs for row in _rows(job)]}


def _rows(job: Job) -> list[dict]:
    problem, setting = Problem(**job.settings["problem"]), Setting(**job.settings["setting"])
    scores = []
    for seed, weights in zip(job.settings["seeds"], job.result["weights"], strict=True):
        model = trained(problem, setting, seed, weights)
        test = task_of(problem, seed).test
        read = error(model, test, ShotBackend(setting.shots, seed, torch.complex64)) if setting.shots else None
        exact, shown = rounded([error(model, test), error(model, test) if read is None else read])
        scores.append({"job": job.name, "seed": seed, "exact": exact, "read": shown})
    return scores


def clean(job: Job) -> Job:
    """The job, if its record comes from a commit and not from files that differed from it."""
    dirty = job.record["apart"]["provenance"]["code"]["dirty"]
    if dirty is not False:
        raise ValueError(f"{job.path} must be made from a clean commit; its record says dirty: {dirty}")
    return job


def results(stage: str) -> pd.DataFrame:
    """What was opened: a row each run with problem, arm, budget, seed, setting, validation and test errors, cost.

    ``problem`` is its name in the plan, "" for the main one.

    A record that is missing, damaged, of other settings or from no clean commit is refused."""
    by_job = {job.name: (*cell, clean(job)) for cell, jobs in cells(stage).items() for job in jobs}
    rows = []
    for row in clean(opening(stage)).result["rows"]:
        problem, arm, budget, job = by_job[row["job"]]
        place = job.settings["seeds"].index(row["seed"])
        spent = {name: job.result[name] for name in ("updates", "circuits", "shots")}
        named = {"problem": plan.name_of(problem), "arm": arm, "name": ARMS[arm], "budget": budget}
        own = {"validation": job.result["validation"][place], "shots_each": job.settings["setting"]["shots"]}
        rows.append(job.settings["setting"] | named | row | spent | own)
    return pd.DataFrame(rows)
