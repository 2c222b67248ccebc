"""The book's own stored runs: nothing imports them but chapters."""

from .exponents import stored_exponents
from .forecasts import (
    DT,
    KINDS,
    RECIPES,
    dynamics,
    forecast,
    kind_job,
    loop_job,
    loops,
    lyapunov_time,
    network,
    patch_job,
)
from .jobs import state_from
from .methods import (
    SEEDS,
    WASHOUT,
    final_runs,
    finals,
    ks_task,
    load_run,
    probes,
    results,
    screening,
    shift_circuits,
    train,
    trials,
)
from .observers import JOBS, answering, cells, job, restored
from .panel import TrainingPanel

__all__ = [
    "DT",
    "JOBS",
    "KINDS",
    "RECIPES",
    "SEEDS",
    "TrainingPanel",
    "WASHOUT",
    "answering",
    "cells",
    "dynamics",
    "final_runs",
    "finals",
    "forecast",
    "job",
    "kind_job",
    "ks_task",
    "load_run",
    "loop_job",
    "loops",
    "lyapunov_time",
    "network",
    "patch_job",
    "probes",
    "restored",
    "results",
    "screening",
    "shift_circuits",
    "state_from",
    "stored_exponents",
    "train",
    "trials",
]
