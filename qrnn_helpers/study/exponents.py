"""The stored Lyapunov exponents: how each set was made, and how to read it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import xarray as xr

from ..checks import shown
from ..dynamics import KS1D, KS2D, Flow, Lorenz, as_dataset, kaplan_yorke, lyapunov_exponents
from ..storage import DATA, provenance, read_record, write_record

FOLDER = DATA / "lyapunov"

COMMAND = "python -m qrnn_helpers.lyapunov"

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
    if not (isinstance(name, str) and name in RECIPES):
        raise ValueError(f"name must be one of {', '.join(RECIPES)}; got {shown(name)}")
    path = FOLDER / f"{name}.json"
    record, (make, arguments) = read_record(path), RECIPES[name]
    wanted = {"system": repr(make())} | {key: value for key, value in arguments.items() if key != "progress"}
    found = record.get("recipe")
    if not isinstance(found, dict) or not wanted.items() <= found.items():
        raise ValueError(f"{path} must hold the exponents of {shown(wanted)}; got {shown(found)}")
    return as_dataset(np.array(record["rates"]), record["recipe"])


def write(name: str) -> None:
    """Compute the exponents of one system in `RECIPES` and store them."""
    make, arguments = RECIPES[name]
    result = lyapunov_exponents(make(), **arguments)
    facts = provenance()
    record = {"command": f"{COMMAND} --write {name}", "recipe": result.attrs, "rates": result["rates"].values.tolist()}
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_record(record | facts, FOLDER / f"{name}.json")


def main(arguments: list[str] | None = None) -> None:
    """Print the stored exponents, or compute some anew."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The stored Lyapunov exponents.")
    parser.add_argument("--write", choices=list(RECIPES), help="compute those of one system anew")
    name = parser.parse_args(arguments).write
    if name:
        write(name)
    for each in [name] if name else RECIPES:
        result = stored_exponents(each)
        print(f"{result.attrs['system']}, {result.attrs['subspace']}, {result.attrs['trajectories']} trajectories")
        for value, error in zip(result["exponents"].values, result["standard_errors"].values):
            print(f"  {value:9.4f} +- {error:.4f}")
        if result["exponents"].sum() < 0:
            print("  Kaplan-Yorke dimension {:.3f} +- {:.3f}".format(*kaplan_yorke(result)))


if __name__ == "__main__":
    main()
