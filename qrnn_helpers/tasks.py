"""Tasks: from fields to tensors, split by trajectory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from .checks import check_array, check_instance, check_integer, check_real, check_tensor, shown
from .limits import check_bytes

__all__ = ["PatchForecast", "patch_forecast", "rollout", "teacher_forced"]

SMALLEST = 1e-150
"""A scale must be larger, and smaller than its inverse, so that squares are numbers."""

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_integer("steps", self.steps, minimum=1))
        for name in ("field_std", "increment_std"):
            scale = check_real(name, getattr(self, name), minimum=0.0, exclusive=True)
            if not SMALLEST < scale < 1 / SMALLEST:
                raise ValueError(f"{name} must be from {SMALLEST:g} to {1 / SMALLEST:g}; got {scale:g}")
            object.__setattr__(self, name, scale)
        for offset in check_instance("offsets", self.offsets, tuple, "a tuple of integers"):
            check_integer("offsets", offset)
        if not self.offsets:
            raise ValueError("offsets must hold at least one place; got none")
        for name in ("train", "validation", "test"):
            _check_pair(name, getattr(self, name), self.steps, len(self.offsets))


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
    neighbours, spacing = (check_integer(k, v, 1) for k, v in {"neighbours": neighbours, "spacing": spacing}.items())
    if neighbours % 2 == 0:
        raise ValueError(f"neighbours must be odd, to have a middle; got {shown(neighbours)}")
    steps = check_integer("steps", steps, minimum=1)
    reach = spacing * (neighbours // 2)
    need = f"steps={shown(steps)}, neighbours={shown(neighbours)}, spacing={shown(spacing)}"
    fields = {"train": train, "validation": validation, "test": test}
    values = {name: _field(name, field, steps, 2 * reach + 1, need) for name, field in fields.items()}
    offsets = tuple(range(-reach, reach + 1, spacing))
    scales = _scales(values["train"])
    windows = _check_windows(windows, steps * neighbours)
    streams = map(np.random.default_rng, np.random.SeedSequence(check_integer("seed", seed, minimum=0)).spawn(3))
    pairs = [
        _windows(field, offsets, steps, count, scales, rng)
        for field, count, rng in zip(values.values(), windows, streams)
    ]
    return PatchForecast(*pairs, offsets, steps, *scales)


def _scales(field: np.ndarray) -> tuple[float, float]:
    """Standard deviations of a field and of its increments."""
    with np.errstate(over="ignore", invalid="ignore"):
        scales = float(field.std()), float(np.diff(field, axis=1).std())
    if not all(SMALLEST < scale < 1 / SMALLEST for scale in scales):
        words = f"standard deviations (of the field, of its increments) from {SMALLEST:g} to {1 / SMALLEST:g}"
        raise ValueError(f"train must have {words}; got {scales[0]:g}, {scales[1]:g}")
    return scales


def _check_windows(windows: tuple[int, int, int], entries: int) -> list[int]:
    """Three counts, of windows that fit the memory."""
    if len(check_instance("windows", windows, (tuple, list), "three integers")) != 3:
        raise ValueError(f"windows must be three integers; got {shown(windows)}")
    counts = [check_integer("windows", count, minimum=1) for count in windows]
    check_bytes("windows", 8 * max(counts) * entries, f"{shown(windows)} of {entries} numbers each")
    return counts


def _check_pair(name: str, pair: Pair, steps: int, neighbours: int) -> None:
    """Tensors x and y of windows, of shapes that fit."""
    if len(check_instance(name, pair, (tuple, list), "a pair (x, y)")) != 2:
        raise ValueError(f"{name} must be a pair (x, y); got {len(pair)} parts")
    shape = tuple(check_tensor(f"{name} x", pair[0], ("windows", "steps", "neighbours")).shape)
    if shape[1:] != (steps, neighbours):
        got = f"steps={shown(steps)}, {neighbours} offsets"
        raise ValueError(f"steps and offsets must be as many as {name} x has, of shape {shape}; got {got}")
    check_tensor(f"{name} y", pair[1], (len(pair[0]), steps, 1))


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
    check_forecast(forecast, task)
    check_array("field", field, ndim=2)
    field = np.asarray(field)  # with its own dtype
    if len(field) <= task.steps:
        raise ValueError(f"field must have more than {task.steps} times, the task's steps; got shape {field.shape}")
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
    check_forecast(forecast, task)
    history = check_array("history", history, ndim=2)
    if len(history) != task.steps:
        raise ValueError(f"history must have shape ({task.steps}, x); got {history.shape}")
    check_bytes("count", 8 * count * history.shape[1], f"{shown(count)} fields of {history.shape[1]} points")
    if modes is not None:
        check_integer("modes", modes, minimum=1)
    fields = list(history)
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
        increment = _increment(forecast(x), points)
    return history[-1] + task.increment_std * increment


def _increment(answer: torch.Tensor, points: int) -> np.ndarray:
    """What a forecast answered, if it is one real number a point (infinite ones are a blow-up, and kept)."""
    allowed = f"a function to a real tensor ({points},)"
    check_instance("forecast", answer, torch.Tensor, allowed)
    if answer.numel() != points or answer.is_complex():
        raise ValueError(f"forecast must be {allowed}; got one of {answer.dtype} {tuple(answer.shape)}")
    return answer.reshape(points).numpy()


def _low_pass(field: np.ndarray, modes: int) -> np.ndarray:
    spectrum = np.fft.rfft(field)
    spectrum[0] = 0
    spectrum[modes + 1 :] = 0
    return np.fft.irfft(spectrum, len(field))


def check_task(task: PatchForecast) -> None:
    check_instance("task", task, PatchForecast, "a PatchForecast")


def check_forecast(forecast: Forecast, task: PatchForecast) -> None:
    check_instance("forecast", forecast, Callable, "a function of windows")
    check_task(task)


def _field(name: str, field: xr.DataArray, steps: int, width: int, need: str) -> np.ndarray:
    check_instance(name, field, xr.DataArray, "an xarray.DataArray of dims (trajectory, time, x)")
    if field.dims != ("trajectory", "time", "x"):
        raise ValueError(f"{name} must have dims ('trajectory', 'time', 'x'); got {field.dims}")
    if field.sizes["time"] <= steps or field.sizes["x"] < width or not field.sizes["trajectory"]:
        words = f"{name} must have more than {shown(steps)} times and {shown(width)} points"
        raise ValueError(f"{words}; got {dict(field.sizes)} for {need}")
    check_array(name, field)
    return field.values
