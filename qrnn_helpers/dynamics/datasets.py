"""The committed data sets: what the chapters and stored runs are computed from.

Chaos makes the last bit of a sum visible: the same recipe gives other trajectories on another
processor. Every number that is to be compared therefore rests on a stored file, read only if its
checksum is the committed one.

Long trajectories are stored as snapshots in single precision, so far apart in time as chaos lets
rounding stay small; what lies between two of them is integrated anew from the first. Where the
next one takes over, the field jumps by about 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.signal import resample

from ..checks import check_positive, shown
from ..storage import DATA, add_to_manifest, load_listed, save
from .flow import Flow, sample, whole_multiple
from .ks_1d import KS1D, ks1d
from .ks_2d import KS2D, ks2d
from .lorenz63 import Lorenz, lorenz

FOLDER = DATA


@dataclass(frozen=True)
class DataSet:
    """How a stored file is made, and what holds for it."""

    fields: Callable[[], xr.DataArray]
    flow: Callable[[], Flow]
    tolerance: float
    """How far a sample may be from where the equation takes the one before it."""
    split: dict[str, int] | None = None
    """How many trajectories go to each part."""


def ks22(split: str | None = None) -> xr.DataArray:
    """The stored trajectories at length 22: 64 points, 300 samples with dt = 1.

    dims ("trajectory", "time", "x"), float64. The coordinate `split` says to which part a
    trajectory belongs; with `split` ("train", "validation" or "test": 8, 2 and 4
    trajectories) only that part is returned. A missing file raises FileNotFoundError, a
    damaged one ValueError.
    """
    return stored("ks22", split)


def ks22_long(split: str | None = None, *, dt: float = 0.25) -> xr.DataArray:
    """Long trajectories at length 22: 64 points, 2,000 units of time, a sample every `dt`.

    As `ks22`, with 8, 3 and 6 trajectories for training, validation and test. Snapshots are stored
    10 apart, half a Lyapunov time; `dt` divides 10 and is a whole multiple of the step, 0.05.
    """
    return between(stored("ks22_long", split), dt, KS1D(22.0, 64))


def ks2d22(split: str | None = None, *, dt: float = 0.5) -> xr.DataArray:
    """Trajectories of `ks2d` on the square of side 22: 24 x 24 points, 300 units of time.

    dims ("trajectory", "time", "y", "x"), float64; 6, 2 and 4 trajectories for training, validation
    and test. 24 points hold all waves that dealiasing keeps on the 36 points of the integration.
    Snapshots are stored 5 apart, a Lyapunov time; `dt` divides 5 and is a whole multiple of 0.05.
    """
    return between(stored("ks2d22", split), dt, KS2D(22.0, 36))


def lorenz_series() -> xr.DataArray:
    """The stored trajectory of `lorenz`: 9,900 samples with dt = 0.01, the size of the course project's."""
    return stored("lorenz")


def stored(name: str, split: str | None = None) -> xr.DataArray:
    """A stored file's content, or a part of its trajectories, if its checksum is the committed one."""
    parts = DATASETS[name].split or {}
    if split is not None and not (isinstance(split, str) and split in parts):
        raise ValueError(f"split must be one of {', '.join(parts)} or None; got {shown(split)}")
    path = _path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it comes with a clone of the book")
    fields = load_listed(path)
    fields.attrs.pop("recipe", None)  # older files name a command that is gone
    return fields if split is None else fields[fields["split"].values == split]


def make_dataset(name: str) -> xr.DataArray:
    """A data set made anew: whole trajectories go to each part, never pieces of one."""
    dataset = DATASETS[name]
    fields = dataset.fields()
    if dataset.split is None:
        return fields
    parts = np.repeat(list(dataset.split), list(dataset.split.values()))
    return fields.assign_coords(split=("trajectory", parts))


def write_dataset(name: str) -> None:
    """Make a data set anew and store it; other stored results then lose the data that they rest on."""
    FOLDER.mkdir(exist_ok=True)
    save(make_dataset(name), _path(name))
    add_to_manifest(_path(name))


def check_dataset(name: str) -> float:
    """How far a stored file is from its equation (`largest_residual`); beyond its tolerance raises ValueError."""
    residual = largest_residual(name, stored(name))
    tolerance = DATASETS[name].tolerance
    if residual > tolerance:
        raise ValueError(f"{_path(name)} must solve its equation to {tolerance:.1e}; got a residual of {residual:.1e}")
    return residual


def between(snapshots: xr.DataArray, dt: float, flow: Flow) -> xr.DataArray:
    """Snapshots, and every `dt` what the equation makes of each until the next: dims as theirs."""
    apart = snapshots.attrs["dt"]
    dt = check_positive("dt", dt)
    stride = whole_multiple("dt", dt, flow.step)
    count = round(apart / dt)
    if count < 1 or abs(apart / dt - count) > 1e-9 * count:
        raise ValueError(f"dt must divide {apart:g}, the time between stored snapshots; got {dt:g}")
    given = snapshots.values.astype(float)
    made = _integrated(flow, given[:, :-1], 0, stride, count)
    values = np.concatenate([made.reshape(len(given), -1, *given.shape[2:]), given[:, -1:]], axis=1)
    coords = {name: c for name, c in snapshots.coords.items() if "time" not in c.dims}
    coords["time"] = np.arange(values.shape[1]) * dt
    return xr.DataArray(values, coords, snapshots.dims, snapshots.name, snapshots.attrs | {"dt": dt})


def largest_residual(name: str, fields: xr.DataArray) -> float:
    """How far any sample is from where the equation takes the sample before it.

    A sampling interval is too short for chaos to matter: on any processor this is rounding error
    if the fields solve the equation, and O(1) if not.
    """
    flow = DATASETS[name].flow()
    values = fields.values.astype(float)
    stride = whole_multiple("dt", fields.attrs["dt"], flow.step)
    made = _integrated(flow, values[:, :-1], stride, 1, 1)[:, 0]
    return float(np.abs(made - values[:, 1:].reshape(made.shape)).max())


def _integrated(flow: Flow, samples: np.ndarray, skip: int, stride: int, steps: int) -> np.ndarray:
    """What the flow makes of each of the samples (trajectory, time, ...): `sample`, (trajectory * time, steps, ...)."""
    grid = samples.shape[2:]
    starts = _resampled(samples.reshape(-1, *grid), flow.shape)
    return _resampled(sample(flow, starts, skip, stride, steps), grid)


def _snapshots_ks2d22() -> xr.DataArray:
    """Snapshots on 24 x 24 points: all waves that dealiasing keeps of 36 x 36."""
    fields = ks2d(22.0, 36, dt=5.0, steps=61, transient=200.0, trajectories=12, seed=23)
    coarse = fields[:, :, :24, :24].drop_vars("mean_drift")
    sides = np.arange(24) * (22.0 / 24)
    values = _resampled(fields.values, (24, 24)).astype(np.float32)
    return coarse.copy(data=values).assign_coords(x=sides, y=sides)


def _resampled(fields: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The same waves on a grid of another ``shape`` (..., *shape)."""
    for axis, points in zip(range(-len(shape), 0), shape):
        if fields.shape[axis] != points:
            fields = resample(fields, points, axis=axis)
    return fields


def _path(name: str) -> Path:
    return FOLDER / f"{name}.nc"


DATASETS = {
    "ks22": DataSet(
        lambda: ks1d(22.0, 64, dt=1.0, steps=300, transient=500.0, trajectories=14, seed=22),
        lambda: KS1D(22.0, 64),
        tolerance=1e-9,
        split={"train": 8, "validation": 2, "test": 4},
    ),
    "ks22_long": DataSet(
        lambda: ks1d(22.0, 64, dt=10.0, steps=201, transient=500.0, trajectories=17, seed=24).astype(np.float32),
        lambda: KS1D(22.0, 64),
        tolerance=1e-4,
        split={"train": 8, "validation": 3, "test": 6},
    ),
    "ks2d22": DataSet(
        _snapshots_ks2d22,
        lambda: KS2D(22.0, 36),
        tolerance=1e-4,
        split={"train": 6, "validation": 2, "test": 4},
    ),
    "lorenz": DataSet(
        lambda: lorenz(dt=0.01, steps=9900, transient=50.0, seed=1),
        Lorenz,
        tolerance=1e-9,
    ),
}
"""The stored files by name."""
