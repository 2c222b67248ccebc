"""Forecasts that are fed back: predictors in closed loop, and the starts that they are tried from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import xarray as xr

from ..checks import check_array, check_bytes, check_count, check_instance, shown
from .modes import ReducedForecast
from .patches import Forecast, PatchForecast, next_field
from .windows import Predict, check_fields

LOST = 1e6
"""A loop is given up where a value is larger than this, in training standard deviations."""


def teacher_forced(forecast: Forecast, field: np.ndarray, task: PatchForecast) -> np.ndarray:
    """Each sample of ``field`` (time, x) or (time, y, x) from the true samples before it: (time - steps, ...).

    ``forecast`` maps windows (n, steps, neighbours) to the increment of the last step (n,), scaled.
    """
    check_forecast(forecast, task)
    field = check_array("field", field, ndim=1 + task.dimensions)
    if len(field) <= task.steps:
        raise ValueError(f"field must have more than {task.steps} times, the task's steps; got shape {field.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(field[:-1], task.steps, axis=0)
    histories = (torch.from_numpy(np.moveaxis(window, -1, 0).copy())[None] for window in windows)
    with torch.no_grad():
        return np.concatenate([next_field(forecast, history, task).numpy() for history in histories])


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

    ``flux`` as in `next_field`.  A start that is lost (`LOST`) holds NaN from there on.
    """
    count = check_count("count", count)
    check_forecast(forecast, task)
    history = check_array("history", history, ndim=2 + task.dimensions)
    if history.shape[1] != task.steps:
        raise ValueError(f"history must have shape ({task.steps}, x); got {history.shape[1:]}")
    check_bytes("count", 8 * count * history[:, 0].size, f"{shown(count)} fields of {history[0, 0].size} points each")
    check_bytes("history", 8 * history.size * len(task.offsets), f"shape {history.shape}")
    if modes is not None:
        check_count("modes", modes)
    step = partial(next_field, forecast, task=task, modes=modes, flux=flux)
    return _loop(step, torch.from_numpy(history.copy()), count, LOST * task.field_std)


def closed_loop(predict: Predict, history: np.ndarray, count: int, task: ReducedForecast) -> np.ndarray:
    """``count`` further samples from many starts, fed with its own predictions: (starts, count, *grid).

    ``history`` (starts, steps, *grid) are true fields, as many steps as the task's windows have; ``predict``
    maps windows x to y, such as a `Fitted`'s.  Every new sample comes from the last ``steps`` ones.  A loop
    that is lost (`LOST`) holds NaN from there on.
    """
    check_instance("predict", predict, Callable, "a function of windows")
    check_instance("task", task, ReducedForecast, "a ReducedForecast")
    count = check_count("count", count)
    steps = task.train[0].shape[1]
    history = check_array("history", history, ndim=2 + len(task.grid))
    if history.shape[1:] != (steps, *task.grid):
        raise ValueError(f"history must have shape (starts, {steps}, *{task.grid}); got {history.shape}")
    check_bytes("count", 8 * count * len(history) * history[0, 0].size, f"{shown(count)} fields of each start")
    features = torch.from_numpy(task.x_scaling.features(task.reduce(history)))
    samples = _loop(partial(task.next_modes, predict), features, count, LOST)
    return task.lift(task.x_scaling.values(samples))


@torch.no_grad()
def _loop(step: Callable[[torch.Tensor], torch.Tensor], windows: torch.Tensor, count: int, bound: float) -> np.ndarray:
    """``count`` samples (starts, count, ...) after windows (starts, steps, ...), each fed back into the next.

    A start goes on while all its values lie within the ``bound``; it holds NaN from there on.
    """
    samples = np.full((len(windows), count, *windows.shape[2:]), np.nan)
    alive = np.arange(len(windows))
    for k in range(count):
        sample = step(windows)
        within = sample.abs() < bound  # false for NaN, too
        if not within.all():
            kept = within.flatten(1).all(dim=1)
            alive = alive[kept.numpy()]
            windows = windows[kept]
            sample = sample[kept]
        if not len(alive):
            break
        samples[alive, k] = sample.numpy()
        windows = torch.cat([windows[:, 1:], sample[:, None]], dim=1)
    return samples


def check_forecast(forecast: Forecast, task: PatchForecast) -> None:
    check_instance("forecast", forecast, Callable, "a function of windows")
    check_instance("task", task, PatchForecast, "a PatchForecast")


def starts(fields: xr.DataArray, steps: int, ahead: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where closed loops begin, and what they should find: (count, steps, ...) and (count, ahead, ...) fields.

    ``count`` starts, equally spaced in time over all trajectories of ``fields``; each has ``steps``
    samples of history and the ``ahead`` samples that follow.
    """
    steps = check_count("steps", steps)
    ahead = check_count("ahead", ahead)
    count = check_count("count", count)
    need = f"steps={shown(steps)}, ahead={shown(ahead)}"
    values = check_fields({"fields": fields}, steps + ahead, 1, need)["fields"]
    check_bytes("count", 8 * count * (steps + ahead) * values[0, 0].size, shown(count))
    places = values.shape[1] - steps - ahead + 1  # in each trajectory
    trajectory, time = np.divmod(np.arange(count) * (len(values) * places) // count, places)
    pieces = values[trajectory[:, None], time[:, None] + np.arange(steps + ahead)]
    return pieces[:, :steps], pieces[:, steps:]
