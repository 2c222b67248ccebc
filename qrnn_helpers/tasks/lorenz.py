"""The Lorenz observer: x alone -> y and z one step on.

The task of E. Connerty and M. Stewart, *Benchmarking Optimization Methods for Quantum Recurrent Neural
Networks*, University of South Carolina, 2025, with a validation part of its own.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
import xarray as xr

from ..checks import check_array, check_bytes, check_count, check_instance, check_parts, shown
from .windows import Pair, Scaling, Task, check_scale, check_washout

TRAIN, TRAIN_AND_VALIDATION = 0.55, 0.70
"""Where the stretches of time end; the last one, of 30 %, is for the test."""


@dataclass(frozen=True)
class LorenzObserver(Task):
    """x(t) -> y and z at the next sample, all scaled to [0, 1] by the training stretch.

    ``train``, ``validation`` and ``test`` hold short windows that start from nothing; ``run`` is the same
    test stretch as one long window (1, samples, features): a model that was trained on short windows may
    not last on it.  y is nearly given by x and its slope; z is the test.
    """

    _: KW_ONLY
    run: Pair

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parts("run", self.run, (1, "steps", self.train[0].shape[2]), self.train[1].shape[2])


def lorenz_observer(series: xr.DataArray, *, steps: int = 20, washout: int = 5, stride: int = 4) -> LorenzObserver:
    """Cut one trajectory of `lorenz`, dims (trajectory, time, component), into stretches of time.

    The first 55 % are for training, the next 15 % for validation (together 70 %), the last 30 % for the
    test.  Windows of ``steps`` samples begin every ``stride`` samples; the first ``washout`` steps are
    neither trained on nor scored.  The course project has dt = 0.01 and windows of 20 steps.
    """
    steps = check_count("steps", steps)
    washout = check_washout(washout, steps)
    stride = check_count("stride", stride)
    values = _series(series, steps)
    check_bytes("steps", 8 * 3 * steps * (len(values) // stride), f"steps={shown(steps)}, stride={shown(stride)}")
    stretches = np.split(values, [round(len(values) * end) for end in (TRAIN, TRAIN_AND_VALIDATION)])
    x_scaling, y_scaling = _unit_interval(stretches[0])
    pairs = [(x_scaling.features(s[:-1, :1]), y_scaling.features(s[1:, 1:])) for s in stretches]
    train, validation, test = ((_cut(x, steps, stride), _cut(y, steps, stride)) for x, y in pairs)
    x, y = pairs[-1]
    return LorenzObserver(
        train,
        validation,
        test,
        name="Lorenz observer",
        sees="x",
        washout=washout,
        x_scaling=x_scaling,
        y_scaling=y_scaling,
        run=(_cut(x, len(x), 1), _cut(y, len(y), 1)),
    )


def _unit_interval(train: np.ndarray) -> tuple[Scaling, Scaling]:
    """What takes x, and y and z, of the training samples (time, 3) to [0, 1]."""
    low = train.min(axis=0)
    size = train.max(axis=0) - low
    for each in size:
        check_scale("series", float(each))
    return Scaling(low[:1], size[:1]), Scaling(low[1:], size[1:])


def _cut(values: np.ndarray, steps: int, stride: int) -> torch.Tensor:
    """(windows, steps, features) from (samples, features)."""
    views = np.lib.stride_tricks.sliding_window_view(values, steps, axis=0)[::stride]
    return torch.from_numpy(views.transpose(0, 2, 1).copy())


def _series(series: xr.DataArray, steps: int) -> np.ndarray:
    """The one trajectory's samples (time, 3), long enough for a window in each part."""
    check_instance("series", series, xr.DataArray, "an xarray.DataArray of dims (trajectory, time, component)")
    if series.dims != ("trajectory", "time", "component") or (series.shape[0], series.shape[2]) != (1, 3):
        allowed = "dims ('trajectory', 'time', 'component') of 1 trajectory and 3 components"
        raise ValueError(f"series must have {allowed}; got {shown(dict(series.sizes))}")
    shortest = round(series.shape[1] * TRAIN_AND_VALIDATION) - round(series.shape[1] * TRAIN)
    if shortest < steps + 1:
        words = f"series must have more than {shown(steps)} samples in its validation part, for steps={shown(steps)}"
        raise ValueError(f"{words}; got {shortest} of {series.shape[1]}")
    return check_array("series", series)[0]
