"""The patch forecast: one shared model takes every point of a field, from its neighbourhood, one step on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import product
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..checks import check_count, check_instance, check_integer, check_positive, shown
from .metrics import squared_indices
from .windows import SMALLEST, Pair, Scaling, Task, check_answer, check_fields, check_windows, divides, spread, streams


@dataclass(frozen=True)
class PatchForecast(Task):
    """The translation-equivariant patch forecast: a neighbourhood -> the next increment of its middle.

    ``train``, ``validation`` and ``test`` are pairs (x, y): x (windows, steps, neighbours) holds the
    field around a point, over ``field_std``; y (windows, steps, 1) the middle point's increment to the
    next sample, over ``increment_std``; both scales from the training trajectories alone (their means
    vanish by symmetry).  ``offsets`` are the neighbours' places in points: integers in one space
    dimension, pairs (dy, dx) in two.  The last step is scored.
    """

    columns: ClassVar = ("neighbours", 1)

    offsets: tuple[int, ...] | tuple[tuple[int, int], ...]
    steps: int
    field_std: float
    increment_std: float
    _: KW_ONLY
    name: str = "patch forecast"
    scored: int | None = 1

    def __post_init__(self) -> None:
        self._set("steps", check_count("steps", self.steps))
        for name in ("field_std", "increment_std"):
            self._set(name, _check_std(name, getattr(self, name)))
        _check_offsets(self.offsets)
        super().__post_init__()
        shape = tuple(self.train[0].shape)
        if shape[1:] != (self.steps, len(self.offsets)):
            got = f"steps={shown(self.steps)}, {len(self.offsets)} offsets"
            raise ValueError(f"steps and offsets must be as many as train x has, of shape {shape}; got {got}")
        self._set("sees", self.sees or f"{len(self.offsets)} points")
        self._set("x_scaling", Scaling(0.0, self.field_std))
        self._set("y_scaling", Scaling(0.0, self.increment_std))
        if self.still is None and self.steps > 1:
            ratio = self.field_std / self.increment_std
            self._set("still", partial(_last_increment, len(self.offsets) // 2, ratio))

    @property
    def dimensions(self) -> int:
        """Of space: 1 or 2."""
        return 1 if isinstance(self.offsets[0], int) else 2


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
    """Draw windows at random places and times from fields of dims (trajectory, time, x) or (..., y, x).

    ``neighbours`` points along each side (odd; in two dimensions their square), ``spacing`` grid points
    apart, over ``steps`` samples; ``windows`` counts the windows of the three parts.  Each part draws
    from its own trajectories only.
    """
    neighbours = check_count("neighbours", neighbours)
    spacing = check_count("spacing", spacing)
    if neighbours % 2 == 0:
        raise ValueError(f"neighbours must be odd, to have a middle; got {shown(neighbours)}")
    steps = check_count("steps", steps)
    reach = spacing * (neighbours // 2)
    need = f"steps={shown(steps)}, neighbours={shown(neighbours)}, spacing={shown(spacing)}"
    fields = {"train": train, "validation": validation, "test": test}
    values = check_fields(fields, steps + 1, 2 * reach + 1, need)
    dimensions = values["train"].ndim - 2
    counts = check_windows(windows, steps * neighbours**dimensions)
    line = range(-reach, reach + 1, spacing)
    offsets = tuple(line) if dimensions == 1 else tuple(product(line, line))
    with np.errstate(all="ignore"):
        increments = np.diff(values["train"], axis=1)
    field_std = spread("train", values["train"])
    increment_std = spread("increments of train", increments)
    train_pair, validation_pair, test_pair = (
        _windows(field, offsets, steps, count, (field_std, increment_std), rng)
        for field, count, rng in zip(values.values(), counts, streams(seed))
    )
    return PatchForecast(
        train_pair, validation_pair, test_pair, offsets, steps, field_std, increment_std, washout=min(3, steps - 1)
    )


def _check_std(name: str, scale: float) -> float:
    """A standard deviation that can be divided by."""
    scale = check_positive(name, scale)
    if not divides(scale):
        raise ValueError(f"{name} must be from {SMALLEST:g} to {1 / SMALLEST:g}; got {scale:g}")
    return scale


def _check_offsets(offsets: tuple) -> None:
    """Integers, or pairs of integers."""
    check_instance("offsets", offsets, tuple, "a tuple of integers, or of pairs of them")
    pairs = bool(offsets) and isinstance(offsets[0], tuple)
    for offset in offsets:
        is_pair = pairs and isinstance(offset, tuple) and len(offset) == 2
        for place in offset if is_pair else (offset,):
            check_integer("offsets", place)
    if not offsets or any(isinstance(offset, tuple) != pairs for offset in offsets):
        raise ValueError(f"offsets must hold at least one place, all of one kind; got {shown(offsets)}")


def _windows(
    field: np.ndarray, offsets: tuple, steps: int, count: int, scales: tuple[float, float], rng: np.random.Generator
) -> Pair:
    """Windows (count, steps, neighbours) and increments (count, steps, 1) at random places."""
    trajectories, times, *sizes = field.shape
    trajectory = rng.integers(trajectories, size=(count, 1, 1))
    time = rng.integers(times - steps, size=(count, 1, 1)) + np.arange(steps)[:, None]
    middle = tuple(rng.integers(points, size=(count, 1, 1)) for points in sizes)
    moves = np.array(offsets).reshape(len(offsets), -1).T
    around = tuple((place + move) % points for place, move, points in zip(middle, moves, sizes))
    now = field[(trajectory, time, *middle)]
    later = field[(trajectory, time + 1, *middle)]
    x = field[(trajectory, time, *around)] / scales[0]
    y = (later - now) / scales[1]
    return torch.from_numpy(x), torch.from_numpy(y)


def _last_increment(middle: int, ratio: float, x: Tensor) -> Tensor:
    """The persistence of the increment: y(t) = u(t) - u(t - 1) of the middle point, 0 at the first step."""
    return torch.diff(x[..., middle, None], dim=1, prepend=x[:, :1, middle, None]) * ratio


Forecast = Callable[[Tensor], Tensor]


def next_field(
    forecast: Forecast, fields: Tensor, task: PatchForecast, *, modes: int | None = None, flux: bool = False
) -> Tensor:
    """The next fields (starts, ...) from the last ``steps`` ones (starts, steps, ...), in torch: gradients go through.

    With ``flux`` (in one dimension) the answer q of a point is what flows in between it and its left neighbour, and
    u_i grows by q_i - q_i+1: whatever the model says, the mean of u stays.  ``modes`` as in `rollout`.
    """
    sizes = tuple(fields.shape[2:])
    patches = fields.flatten(2)[:, :, _around(sizes, task.offsets)] / task.field_std
    x = patches.transpose(1, 2).flatten(0, 1)  # (starts * points, steps, neighbours)
    increment = check_answer("forecast", forecast(x), (len(x),), (len(x), 1)).reshape(-1, *sizes)
    if flux:
        increment = increment - torch.roll(increment, -1, dims=-1)
    sample = fields[:, -1] + task.increment_std * increment
    return sample if modes is None else low_pass(sample, modes)


def low_pass(fields: Tensor, modes: int) -> Tensor:
    """Of fields (n, x) or (n, y, x) the waves of an index of 1 to ``modes``."""
    axes = tuple(range(1, fields.dim()))
    sizes = fields.shape[1:]
    squares = squared_indices(sizes)[..., : sizes[-1] // 2 + 1]
    kept = torch.from_numpy((squares > 0) & (squares <= min(modes, 2**31) ** 2))
    spectrum = torch.where(kept, torch.fft.rfftn(fields, dim=axes), 0.0)
    return torch.fft.irfftn(spectrum, sizes, dim=axes)


def _around(sizes: tuple[int, ...], offsets: tuple) -> np.ndarray:
    """Which points lie around each point, (points, neighbours), on a periodic grid counted row by row."""
    places = np.indices(sizes).reshape(len(sizes), -1, 1)
    moves = np.array(offsets).reshape(len(offsets), -1).T[:, None]
    return np.ravel_multi_index(tuple(places + moves), sizes, mode="wrap")
