"""Observers: a few sensors of a field -> the field everywhere else, at the same time."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..checks import check_array, check_count, check_instance, check_integer, check_tensor, shown
from .windows import (
    PARTS,
    Pair,
    Scaling,
    Task,
    check_grid,
    check_washout,
    check_windows,
    draw_pairs,
    spread,
)


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

    def field(self, x: Tensor, y: Tensor) -> np.ndarray:
        """The whole field (windows, steps, *grid), in its own units, from sensors and (predicted) others."""
        check_tensor("x", x, ("windows", "steps", len(self.sensors)))
        check_tensor("y", y, ("windows", "steps", len(self.others)))
        if x.shape[:2] != y.shape[:2]:
            raise ValueError(f"x and y must have as many windows and steps; got {tuple(x.shape)} and {tuple(y.shape)}")
        values = np.empty((*x.shape[:2], len(self.sensors) + len(self.others)))
        values[..., self.sensors] = self.x_scaling.values(check_array("x", x))
        values[..., self.others] = self.y_scaling.values(check_array("y", y))
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
    sensors = check_count("sensors", sensors)
    steps = check_count("steps", steps)
    washout = check_washout(washout, steps)
    fields = {"train": train, "validation": validation, "test": test}
    values, grid = check_grid(fields, steps, sensors + 1, f"steps={shown(steps)}, sensors={shown(sensors)}")
    counts = check_windows(windows, steps * int(np.prod(grid)))
    is_sensor = _sensors(grid, sensors)
    scaling = Scaling(float(values["train"].mean()), spread("train", values["train"]))
    features = [scaling.features(v.reshape(*v.shape[:2], -1)) for v in values.values()]
    x = [v[..., is_sensor] for v in features]
    y = [v[..., ~is_sensor] for v in features]
    return Observer(
        *draw_pairs(x, y, steps, counts, seed),
        name=f"observer, {is_sensor.sum()} sensors",
        sees=f"{is_sensor.sum()} sensors",
        washout=washout,
        x_scaling=scaling,
        y_scaling=scaling,
        sensors=tuple(np.flatnonzero(is_sensor).tolist()),
        others=tuple(np.flatnonzero(~is_sensor).tolist()),
        grid=grid,
    )


@dataclass(frozen=True)
class CellObserver(Task):
    """The same question, asked once for all: sensors as seen from one of them -> the points of its cell.

    A cell is a sensor and the points up to the next one (along each axis).  The equation is the same
    everywhere, so one small model may answer for every cell from the sensors in the order in which that cell
    sees them: x (views, steps, sensors seen), y (views, steps, points of a cell less its sensor), where the
    views of the first cell stand first, all windows of it, then those of the next.  ``whole`` is the task in
    fields.
    """

    _: KW_ONLY
    whole: Observer

    def join(self, y: Tensor) -> Tensor:
        """Answers for all cells (views, steps, points) -> the whole task's y (windows, steps, others)."""
        check_tensor("y", y, ("views", "steps", self.train[1].shape[2]))
        windows = len(y) // len(self.whole.sensors)
        field = y.new_empty(windows, y.shape[1], int(np.prod(self.whole.grid)))
        for cell, answers in zip(_cells(self.whole, 1), y.split(windows)):
            field[..., cell.points] = answers
        return field[..., self.whole.others]


def in_cells(task: Observer, near: int | None = None) -> CellObserver:
    """The observer's windows, seen from every sensor in turn: as many views as sensors.

    With ``near``, an even number, a cell sees only so many sensors along each axis, those around it; by default
    all.  The field's symmetry under shifts by the distance of two sensors is built in, for every model alike.
    """
    check_instance("task", task, Observer, "an Observer")
    side = _side(task)
    near = side if near is None else check_integer("near", near, minimum=1, maximum=side)
    cells = _cells(task, near)
    return CellObserver(
        *(_views(task, cells, *getattr(task, part)) for part in PARTS),
        name=f"{task.name}, cell by cell",
        sees=task.sees if near == side else f"{near ** len(task.grid)} of {task.sees}",
        washout=task.washout,
        x_scaling=task.x_scaling,
        y_scaling=task.y_scaling,
        whole=task,
    )


class Cell(NamedTuple):
    """Places in the flattened field, in the order in which a cell's sensor sees them."""

    sensors: np.ndarray
    points: np.ndarray


def _side(task: Observer) -> int:
    """Sensors along each axis."""
    return round(len(task.sensors) ** (1 / len(task.grid)))


def _cells(task: Observer, near: int) -> list[Cell]:
    """For each sensor: the ``near`` sensors (along each axis) around its cell, and its cell's other points."""
    axes = range(len(task.grid))
    spacing = [points // _side(task) for points in task.grid]
    before = tuple((near - 1) // 2 * distance for distance in spacing)  # as many sensors before the cell as beyond it
    around = tuple(slice(0, near * distance, distance) for distance in spacing)
    cell = tuple(slice(0, distance) for distance in spacing)
    places = np.arange(np.prod(task.grid)).reshape(task.grid)
    cells = []
    for corner in zip(*np.unravel_index(task.sensors, task.grid)):
        view = np.roll(places, [-index for index in corner], axes)
        cells.append(Cell(np.roll(view, before, axes)[around].ravel(), view[cell].ravel()[1:]))
    return cells


def _views(task: Observer, cells: list[Cell], x: Tensor, y: Tensor) -> Pair:
    """A part's windows from every cell's view."""
    field = x.new_empty(*x.shape[:2], int(np.prod(task.grid)))
    field[..., task.sensors] = x
    field[..., task.others] = y
    return torch.cat([field[..., c.sensors] for c in cells]), torch.cat([field[..., c.points] for c in cells])


def _sensors(grid: tuple[int, ...], sensors: int) -> np.ndarray:
    """Where the sensors are: a mask of the flattened field."""
    lines = []
    for points in grid:
        if points % sensors:
            raise ValueError(f"sensors must divide the {points} points of a side, to lie equally; got {sensors}")
        lines.append(np.arange(points) % (points // sensors) == 0)
    return lines[0] if len(grid) == 1 else np.outer(*lines).ravel()
