"""Observers: a few sensors of a field -> the field everywhere else, at the same time."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
import xarray as xr

from .checks import check_integer, check_tensor, shown
from .tasks import (
    Scaling,
    Task,
    check_fields,
    check_same_grid,
    check_windows,
    draw_windows,
    spread,
    streams,
)

__all__ = ["Observer", "observer"]


@dataclass(frozen=True)
class Observer(Task):
    """Sensors -> the other points, at each step of a window.

    x (windows, steps, sensors) and y (windows, steps, others) are the field's values, less the training
    trajectories' mean and over their standard deviation.  ``sensors`` and ``others`` are the places, as
    positions in the flattened field of shape ``grid``.
    """

    _: KW_ONLY
    sensors: tuple[int, ...]
    others: tuple[int, ...]
    grid: tuple[int, ...]

    def field(self, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        """The whole field (windows, steps, *grid), in its own units, from sensors and (predicted) others."""
        check_tensor("x", x, ("windows", "steps", len(self.sensors)))
        check_tensor("y", y, (*x.shape[:2], len(self.others)))
        values = np.empty((*x.shape[:2], len(self.sensors) + len(self.others)))
        values[..., self.sensors] = self.x_scaling.values(x.detach().numpy())
        values[..., self.others] = self.y_scaling.values(y.detach().numpy())
        return values.reshape(*x.shape[:2], *self.grid)


def observer(
    train: xr.DataArray,
    validation: xr.DataArray,
    test: xr.DataArray,
    *,
    sensors: int = 8,
    steps: int = 30,
    washout: int = 10,
    windows: tuple[int, int, int] = (512, 128, 256),
    seed: int = 0,
) -> Observer:
    """Draw windows at random times from fields of dims (trajectory, time, x) or (trajectory, time, y, x).

    ``sensors`` equally spaced points along each side (in two dimensions their square), which must divide
    the number of points; the first ``washout`` of ``steps`` samples are neither trained on nor scored;
    ``windows`` counts the windows of the three parts.  Each part draws from its own trajectories only.
    """
    sensors, steps = check_integer("sensors", sensors, minimum=1), check_integer("steps", steps, minimum=1)
    washout = check_integer("washout", washout, minimum=0, maximum=steps - 1)
    need = f"steps={shown(steps)}, sensors={shown(sensors)}"
    fields = {"train": train, "validation": validation, "test": test}
    values = check_fields(fields, steps, sensors + 1, need)
    check_same_grid(values)
    grid = values["train"].shape[2:]
    counts = check_windows(windows, steps * int(np.prod(grid)))
    there = _sensors(grid, sensors)
    scaling = Scaling(float(values["train"].mean()), spread("train", values["train"]))
    flat = [scaling.features(v.reshape(*v.shape[:2], -1)) for v in values.values()]
    pairs = [
        draw_windows(v[..., there], v[..., ~there], steps, n, rng) for v, n, rng in zip(flat, counts, streams(seed))
    ]
    places = {"sensors": np.flatnonzero(there), "others": np.flatnonzero(~there)}
    return Observer(
        *pairs, name=f"observer, {there.sum()} sensors", sees=f"{there.sum()} sensors", washout=washout,
        x_scaling=scaling, y_scaling=scaling, grid=grid, **{k: tuple(v.tolist()) for k, v in places.items()},
    )  # fmt: skip


def _sensors(grid: tuple[int, ...], sensors: int) -> np.ndarray:
    """Where the sensors are: a mask of the flattened field."""
    lines = []
    for points in grid:
        if points % sensors:
            raise ValueError(f"sensors must divide the {points} points of a side, to lie equally; got {sensors}")
        lines.append(np.arange(points) % (points // sensors) == 0)
    return lines[0] if len(grid) == 1 else np.outer(*lines).ravel()
