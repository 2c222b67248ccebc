"""The committed data sets: what the chapters and stored runs are computed from.

Chaos makes the last bit of a sum visible: the same recipe gives other trajectories on
another processor. Every number that is to be compared therefore rests on a stored file,
read only if its checksum is the committed one.

    python -m qrnn_helpers.data            check the stored file against the equation
    python -m qrnn_helpers.data --write    make it anew (other stored results then lose
                                           the data that they rest on)
"""

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

from qrnn_helpers.checks import shown
from qrnn_helpers.ks import ks1d
from qrnn_helpers.store import add_to_manifest, load, save, verify

FOLDER = Path(__file__).resolve().parents[1] / "data"
KS22 = FOLDER / "ks22.nc"
SPLIT = {"train": 8, "validation": 2, "test": 4}
COMMAND = "python -m qrnn_helpers.data"


def ks22(split: str | None = None) -> xr.DataArray:
    """The stored trajectories at length 22: 64 points, 300 samples with dt = 1.

    dims ("trajectory", "time", "x"), float64. The coordinate `split` says to which part a
    trajectory belongs; with `split` ("train", "validation" or "test": 8, 2 and 4
    trajectories) only that part is returned. A missing file raises FileNotFoundError, a
    damaged one ValueError.
    """
    if split is not None and not (isinstance(split, str) and split in SPLIT):
        raise ValueError(f"split must be one of {', '.join(SPLIT)} or None; got {shown(split)}")
    if not KS22.is_file():
        raise FileNotFoundError(f"{KS22} is missing: it comes with a clone of the book; `{COMMAND} --write` makes one")
    verify(KS22)
    fields = load(KS22)
    return fields if split is None else fields[fields["split"].values == split]


def make_ks22() -> xr.DataArray:
    """The recipe of `ks22`: whole trajectories go to each part, never pieces of one."""
    fields = ks1d(22.0, 64, dt=1.0, steps=300, transient=500.0, trajectories=14, seed=22)
    names = np.repeat(list(SPLIT), list(SPLIT.values()))
    fields.attrs["recipe"] = f"{COMMAND} --write"
    return fields.assign_coords(split=("trajectory", names))


def largest_residual(fields: xr.DataArray) -> float:
    """How far any sample is from where the equation takes the sample before it.

    One sampling interval is too short for chaos to matter: on any processor this is
    rounding error if the fields solve the equation with their recipe, and O(1) if not.
    """
    before = fields.values[:, :-1].reshape(-1, fields.sizes["x"])
    recipe = {name: fields.attrs[name] for name in ("length", "points", "dt", "step")}
    made = ks1d(**recipe, steps=2, transient=0, trajectories=len(before), initial=before, seed=None)
    return float(np.abs(made.values[:, 1] - fields.values[:, 1:].reshape(before.shape)).max())


def main(arguments: list[str] | None = None) -> None:
    """Check the stored data set, or make it anew."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The stored data sets.")
    parser.add_argument("--write", action="store_true", help="make data/ks22.nc anew")
    if parser.parse_args(arguments).write:
        FOLDER.mkdir(exist_ok=True)
        save(make_ks22(), KS22)
        add_to_manifest(KS22)
    residual = largest_residual(ks22())
    print(f"{KS22}: checksum as committed, largest residual {residual:.1e}")
    if residual > 1e-9:
        raise SystemExit(f"{KS22} does not solve the equation with its recipe")


if __name__ == "__main__":
    main()
