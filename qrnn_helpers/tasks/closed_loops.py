"""Forecasts that are fed back: predictors in closed loop, and the starts that they are tried from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr

from ..checks import check_array, check_bytes, check_instance, check_integer, shown
from .modes import LOST, ReducedForecast
from .patches import OVERFLOW, Forecast, PatchForecast, advance
from .windows import Predict, check_fields

__all__ = ["closed_loop", "rollout", "rollouts", "starts", "teacher_forced"]


def teacher_forced(forecast: Forecast, field: np.ndarray, task: PatchForecast) -> np.ndarray:
    """Each sample of ``field`` (time, x) or (time, y, x) from the true samples before it: (time - steps, ...).

    ``forecast`` maps windows (n, steps, neighbours) to the increment of the last step (n,), scaled.
    """
    check_forecast(forecast, task)
    field = check_array("field", field, ndim=1 + task.dimensions)
    if len(field) <= task.steps:
        raise ValueError(f"field must have more than {task.steps} times, the task's steps; got shape {field.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(field[:-1], task.steps, axis=0)
    with torch.no_grad():
        starts = (torch.from_numpy(np.moveaxis(each, -1, 0).copy())[None] for each in windows)
        return np.concatenate([advance(forecast, start, task).numpy() for start in starts])


def rollout(
    forecast: Forecast, history: np.ndarray, count: int, task: PatchForecast, *, modes: int | None = None
) -> np.ndarray:
    """``count`` further samples of the whole field in closed loop, from ``history`` (steps, x) or (steps, y, x).

    Every point of the next field comes from the same forecast, fed with its own predictions.  ``modes``
    projects each new field on its first Fourier modes (in two dimensions those with nx^2 + ny^2 <=
    modes^2) and on zero mean: a patch model knows nothing of the short waves that the equation damps,
    and grows them.
    """
    check_forecast(forecast, task)
    history = check_array("history", history, ndim=1 + task.dimensions)
    return rollouts(forecast, history[None], count, task, modes=modes)[0]


def rollouts(
    forecast: Forecast,
    history: np.ndarray,
    count: int,
    task: PatchForecast,
    *,
    modes: int | None = None,
    flux: bool = False,
) -> np.ndarray:
    """`rollout` from many starts at once: history (starts, steps, x) or (starts, steps, y, x) -> (starts, count, ...).

    ``flux`` as in `advance`.  A start that leaves all bounds is given up: it holds NaN from there on.
    """
    count = check_integer("count", count, minimum=1)
    check_forecast(forecast, task)
    history = check_array("history", history, ndim=2 + task.dimensions)
    if history.shape[1] != task.steps:
        raise ValueError(f"history must have shape ({task.steps}, x); got {history.shape[1:]}")
    check_bytes("count", 8 * count * history[:, 0].size, f"{shown(count)} fields of {history[0, 0].size} points each")
    check_bytes("history", 8 * history.size * len(task.offsets), f"shape {history.shape}")
    if modes is not None:
        check_integer("modes", modes, minimum=1)
    made, alive = np.full((len(history), count, *history.shape[2:]), np.nan), np.arange(len(history))
    fields = torch.from_numpy(history.copy())
    for k in range(count):
        with torch.no_grad():
            new = advance(forecast, fields, task, modes=modes, flux=flux)
        kept = (new.abs() < OVERFLOW * task.field_std).flatten(1).all(dim=1)  # false for NaN, too
        alive, fields, new = alive[kept.numpy()], fields[kept], new[kept]
        if not len(alive):
            break
        made[alive, k] = new.numpy()
        fields = torch.cat([fields[:, 1:], new[:, None]], dim=1)
    return made


def check_patches(task: PatchForecast) -> None:
    check_instance("task", task, PatchForecast, "a PatchForecast")


def check_forecast(forecast: Forecast, task: PatchForecast) -> None:
    check_instance("forecast", forecast, Callable, "a function of windows")
    check_patches(task)


def closed_loop(predict: Predict, history: np.ndarray, count: int, task: ReducedForecast) -> np.ndarray:
    """``count`` further samples from many starts, fed with its own predictions: (starts, count, *grid).

    ``history`` (starts, steps, *grid) are true fields, as many steps as the task's windows have; ``predict``
    maps windows x to y, such as a `Fitted`'s.  Every new sample comes from the last ``steps`` ones.  A loop
    whose coefficients leave all bounds is given up: it holds NaN from there on.
    """
    check_instance("predict", predict, Callable, "a function of windows")
    check_instance("task", task, ReducedForecast, "a ReducedForecast")
    count, steps = check_integer("count", count, minimum=1), task.train[0].shape[1]
    history = check_array("history", history, ndim=2 + len(task.grid))
    if history.shape[1:] != (steps, *task.grid):
        raise ValueError(f"history must have shape (starts, {steps}, *{task.grid}); got {history.shape}")
    check_bytes("count", 8 * count * len(history) * history[0, 0].size, f"{shown(count)} fields of each start")
    x = task.x_scaling.features(task.reduce(history))
    made = np.full((len(x), count, len(task.modes)), np.nan)
    alive = np.arange(len(x))
    for k in range(count):
        with torch.no_grad():
            new = task.advance(predict, torch.from_numpy(x)).numpy()
        kept = (np.abs(new) < LOST).all(axis=-1)  # false for NaN, too
        alive, x, new = alive[kept], x[kept], new[kept]
        if not len(alive):
            break
        made[alive, k] = task.x_scaling.values(new)
        x = np.concatenate([x[:, 1:], new[:, None]], axis=1)
    return task.lift(made)


def starts(fields: xr.DataArray, steps: int, ahead: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where closed loops begin, and what they should find: (count, steps, ...) and (count, ahead, ...) fields.

    ``count`` starts, equally spaced in time over all trajectories of ``fields``; each has ``steps``
    samples of history and the ``ahead`` samples that follow.
    """
    numbers = {"steps": steps, "ahead": ahead, "count": count}
    steps, ahead, count = (check_integer(name, value, minimum=1) for name, value in numbers.items())
    need = f"steps={shown(steps)}, ahead={shown(ahead)}"
    values = check_fields({"fields": fields}, steps + ahead, 1, need)["fields"]
    check_bytes("count", 8 * count * (steps + ahead) * values[0, 0].size, shown(count))
    room = values.shape[1] - steps - ahead + 1
    trajectory, time = np.divmod(np.arange(count) * (len(values) * room) // count, room)
    pieces = values[trajectory[:, None], time[:, None] + np.arange(steps + ahead)]
    return pieces[:, :steps], pieces[:, steps:]
