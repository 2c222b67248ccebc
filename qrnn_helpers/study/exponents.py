"""The stored Lyapunov exponents (chapters 2 and 3): how each set was made, and how to read it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from ..checks import check_one_of
from ..dynamics import KS1D, KS2D, Flow, Lorenz, as_dataset, kaplan_yorke, lyapunov_exponents
from .jobs import Job

RECIPES: dict[str, tuple[Callable[[], Flow], dict]] = {
    "lorenz": (Lorenz, {"count": 3, "trajectories": 400, "time": 1000.0, "transient": 50.0, "interval": 0.5}),
    "ks1d-22": (KS1D, {"count": 12, "trajectories": 24, "time": 16000.0, "settle": 2000.0}),
    "ks1d-100": (lambda: KS1D(100.0, 192), {"count": 26, "trajectories": 32, "time": 1000.0, "settle": 100.0}),
    "ks2d-22": (lambda: KS2D(22.0, 36), {"count": 1, "trajectories": 64, "time": 1000.0}),
}
"""Systems with stored exponents, and the arguments of `lyapunov_exponents` that made them."""


@np.errstate(all="ignore")
def stored_exponents(name: str) -> xr.Dataset:
    """The committed exponents of a system in `RECIPES`, as `lyapunov_exponents` returned them.

    A missing file raises FileNotFoundError, one that is damaged or another system's ValueError.
    """
    check_one_of("name", name, tuple(RECIPES))
    result = job(name).result
    return as_dataset(np.array(result["rates"]), result["recipe"])


def exponents(system: str, **arguments) -> dict:
    """The rates of a system in `RECIPES`, and what `lyapunov_exponents` says of how they were made."""
    make, _ = RECIPES[system]
    found = lyapunov_exponents(make(), **arguments)
    return {"recipe": found.attrs, "rates": found["rates"].values.tolist()}


def job(name: str) -> Job:
    return Job("lyapunov", name, exponents, {"system": name} | RECIPES[name][1])


def jobs() -> list[Job]:
    return [job(name) for name in RECIPES]


def summary(job: Job) -> dict[str, float]:
    """The largest exponent, and the dimension where enough exponents are known."""
    found = stored_exponents(job.name)
    dimension = kaplan_yorke(found)[0] if found["exponents"].sum() < 0 else np.nan
    return {"largest": float(found["exponents"][0]), "dimension": float(dimension)}
