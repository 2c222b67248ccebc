"""Tasks: from fields to tensors, split by trajectory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from .checks import check_instance, check_integer

__all__ = ["PatchForecast", "patch_forecast", "rollout", "teacher_forced"]

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class PatchForecast:
    """The translation-equivariant patch forecast: a neighbourhood -> the next increment of its middle.

    ``train``, ``validation`` and ``test`` are pairs (x, y): x (windows, steps, neighbours) holds the
    field around a point, over ``field_std``; y (windows, steps, 1) the middle point's increment to the
    next sample, over ``increment_std``; both scales from the training trajectories alone (their means
    vanish by symmetry).  ``offsets`` are the neighbours' places in points.
    """

    train: Pair
    validation: Pair
    test: Pair
    offsets: tuple[int, ...]
    steps: int
    field_std: float
    increment_std: float


def patch_forecast(
    train: xr.DataArray,
    validation: xr.DataArray,
    test: xr.DataArray,
    *,
    neighbours: int = 9,
    spacing: int = 2,
    steps: int = 8,
    windows: tuple[int, int, int] = (4096, 1024, 4096),
    seed: int = 0,
) -> PatchForecast:
    """Draw windows at random places and times from fields of dims (trajectory, time, x).

    ``neighbours`` points (odd), ``spacing`` grid points apart, over ``steps`` samples; ``windows`` counts
    the windows of the three parts.  Each part draws from its own trajectories only.
    """
    if check_integer("neighbours", neighbours, minimum=1) % 2 == 0:
        raise ValueError(f"neighbours must be odd, to have a middle; got {neighbours}")
    check_integer("spacing", spacing, minimum=1)
    reach = spacing * (neighbours // 2)
    offsets = tuple(range(-reach, reach + 1, spacing))
    fields = {"train": train, "validation": validation, "test": test}
    values = {name: _field(name, field, steps, 2 * reach + 1) for name, field in fields.items()}
    scales = float(values["train"].std()), float(np.diff(values["train"], axis=1).std())
    streams = map(np.random.default_rng, np.random.SeedSequence(check_integer("seed", seed, minimum=0)).spawn(3))
    pairs = [
        _windows(field, offsets, steps, check_integer("windows", count, minimum=1), scales, rng)
        for field, count, rng in zip(values.values(), windows, streams)
    ]
    return PatchForecast(*pairs, offsets, steps, *scales)


def _windows(field: np.ndarray, offsets, steps: int, count: int, scales, rng: np.random.Generator) -> Pair:
    """Windows (count, steps, neighbours) and increments (count, steps, 1) at random places."""
    trajectories, times, points = field.shape
    trajectory = rng.integers(trajectories, size=(count, 1, 1))
    time = rng.integers(times - steps, size=(count, 1, 1)) + np.arange(steps)[:, None]
    middle = rng.integers(points, size=(count, 1, 1))
    x = field[trajectory, time, (middle + np.array(offsets)) % points] / scales[0]
    y = (field[trajectory, time + 1, middle] - field[trajectory, time, middle]) / scales[1]
    return torch.from_numpy(x), torch.from_numpy(y)


Forecast = Callable[[torch.Tensor], torch.Tensor]


def teacher_forced(forecast: Forecast, field: np.ndarray, task: PatchForecast) -> np.ndarray:
    """Each sample of ``field`` (time, x) from the true samples before it: (time - steps, x).

    ``forecast`` maps windows (n, steps, neighbours) to the increment of the last step (n,), scaled.
    """
    starts = range(len(field) - task.steps)
    return np.stack([_advance(forecast, field[s : s + task.steps], task) for s in starts])


def rollout(
    forecast: Forecast, history: np.ndarray, count: int, task: PatchForecast, *, modes: int | None = None
) -> np.ndarray:
    """``count`` further samples of the whole field in closed loop, from ``history`` (steps, x).

    Every point of the next field comes from the same forecast, fed with its own predictions.  ``modes``
    projects each new field on its first Fourier modes and on zero mean: a patch model knows nothing of
    the short waves that the equation damps, and grows them.
    """
    count = check_integer("count", count, minimum=1)
    if np.ndim(history) != 2 or len(history) != task.steps:
        raise ValueError(f"history must have shape ({task.steps}, x); got {np.shape(history)}")
    fields = list(np.asarray(history, dtype=float))
    for _ in range(count):
        new = _advance(forecast, np.stack(fields[-task.steps :]), task)
        fields.append(new if modes is None else _low_pass(new, modes))
    return np.stack(fields[task.steps :])


def _advance(forecast: Forecast, history: np.ndarray, task: PatchForecast) -> np.ndarray:
    """The next field (x,) from the last ``steps`` ones (steps, x)."""
    points = history.shape[1]
    around = (np.arange(points)[:, None] + np.array(task.offsets)) % points
    x = torch.from_numpy(history[:, around].transpose(1, 0, 2) / task.field_std)
    with torch.no_grad():
        increment = forecast(x).reshape(points).numpy()
    return history[-1] + task.increment_std * increment


def _low_pass(field: np.ndarray, modes: int) -> np.ndarray:
    spectrum = np.fft.rfft(field)
    spectrum[0] = 0
    spectrum[modes + 1 :] = 0
    return np.fft.irfft(spectrum, len(field))


def _field(name: str, field: xr.DataArray, steps: int, width: int) -> np.ndarray:
    check_instance(name, field, xr.DataArray, "an xarray.DataArray of dims (trajectory, time, x)")
    check_integer("steps", steps, minimum=1)
    if field.dims != ("trajectory", "time", "x"):
        raise ValueError(f"{name} must have dims ('trajectory', 'time', 'x'); got {field.dims}")
    if field.sizes["time"] <= steps or field.sizes["x"] < width or not field.sizes["trajectory"]:
        raise ValueError(f"{name} must have more than {steps} times and {width} points; got {dict(field.sizes)}")
    if not np.isfinite(field.values).all():
        raise ValueError(f"{name} must be finite; got NaN or infinite values")
    return field.values
