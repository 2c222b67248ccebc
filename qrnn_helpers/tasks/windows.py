"""What all tasks share: windows of tensors, split by trajectory, scaled by training data alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..checks import check_array, check_bytes, check_count, check_instance, check_integer, check_parts, shown
from .metrics import nrmse

PARTS = ("train", "validation", "test")

DIMS = (("trajectory", "time", "x"), ("trajectory", "time", "y", "x"))
"""Fields in one and in two space dimensions."""

SMALLEST = 1e-150
"""A scale must be larger, and smaller than its inverse, so that squares are numbers."""

Pair = tuple[Tensor, Tensor]

Predict = Callable[[Tensor], Tensor]


Numbers = TypeVar("Numbers", np.ndarray, Tensor)


@dataclass(frozen=True)
class Scaling(Generic[Numbers]):
    """Physical values to what a model sees, and back: feature = (value - shift) / unit.

    ``shift`` and ``unit``: one number for all features, or an array (features,).
    """

    shift: float | Numbers = 0.0
    unit: float | Numbers = 1.0

    def features(self, values: Numbers) -> Numbers:
        return (values - self.shift) / self.unit

    def values(self, features: Numbers) -> Numbers:
        return features * self.unit + self.shift


@dataclass(frozen=True)
class Task:
    """Windows to learn from, the same for every model: sequence x -> sequence y.

    ``train``, ``validation`` and ``test`` are pairs (x, y) of tensors (windows, steps, features) from
    trajectories (or stretches of time) of their own.  y at step t may be answered from x up to step t.
    Steps before ``washout`` stay out of a network's loss; a prediction is scored on its last ``scored``
    steps (default: all after the washout).  ``sees`` says in words what a model is shown, ``x_scaling``
    and ``y_scaling`` what a unit of x and y is; ``still`` maps x to the y of persistence, where that
    means something.  A wrong part raises TypeError or ValueError with its name.
    """

    columns: ClassVar[tuple[str | int, str | int]] = ("features", "features")
    """What the last axes of x and y are, or their sizes."""

    train: Pair
    validation: Pair
    test: Pair
    _: KW_ONLY
    name: str = "task"
    sees: str = ""
    washout: int = 0
    scored: int | None = None
    x_scaling: Scaling[np.ndarray] = Scaling()
    y_scaling: Scaling[np.ndarray] = Scaling()
    still: Predict | None = None

    def __post_init__(self) -> None:
        for name in ("name", "sees"):
            check_instance(name, getattr(self, name), str, "text")
        for name in ("x_scaling", "y_scaling"):
            check_instance(name, getattr(self, name), Scaling, "a Scaling")
        if self.still is not None:
            check_instance("still", self.still, Callable, "a function of windows, or None")
        sizes = {name: _sizes(name, getattr(self, name), self.columns) for name in PARTS}
        for name, size in sizes.items():
            if size != sizes["train"]:
                words = f"(steps, features of x, features of y, dtype) {sizes['train']}, as train has"
                raise ValueError(f"{name} must have {words}; got {size}")
        for name in PARTS:  # data are constants, whatever made them
            self._set(name, tuple(part.detach().resolve_neg() for part in getattr(self, name)))
        steps = sizes["train"][0]
        self._set("washout", check_washout(self.washout, steps))
        scored = steps - self.washout if self.scored is None else self.scored
        self._set("scored", check_integer("scored", scored, minimum=1, maximum=steps))

    def _set(self, name: str, value: object) -> None:
        """An attribute of a frozen task, while it is made."""
        object.__setattr__(self, name, value)

    @property
    def lags(self) -> int:
        """How many steps, the present one included, every scored step has seen."""
        assert self.scored is not None  # __post_init__ has set it
        return self.train[0].shape[1] - self.scored + 1


@dataclass(frozen=True)
class Fitted:
    """A model fitted to a task: ``predict`` maps x (windows, steps, features) to y; ``sees`` says what it uses."""

    predict: Predict
    parameters: int
    sees: str

    def __post_init__(self) -> None:
        check_instance("predict", self.predict, Callable, "a function of windows")
        check_integer("parameters", self.parameters, minimum=0)
        check_instance("sees", self.sees, str, "text")

    def last(self, x: Tensor) -> Tensor:
        """The answer at the last step alone, (windows, features): what `rollout` asks for."""
        return self.predict(x)[:, -1]


def score(task: Task, predict: Predict, part: str = "test") -> float:
    """NRMSE of ``predict`` (x -> y) over the scored steps of ``part`` ("run", too, where a task has one).

    The error's root mean square over that of the truth around each output's own mean: 1 is the error of
    answering with the means.
    """
    check_task(task)
    check_instance("predict", predict, Callable, "a function of windows")
    parts = (*PARTS, "run") if hasattr(task, "run") else PARTS
    if not (isinstance(part, str) and part in parts):
        raise ValueError(f"part must be one of {', '.join(parts)}; got {shown(part)}")
    x, y = getattr(task, part)
    answer = check_answer("predict", predict(x), tuple(y.shape))
    if not torch.isfinite(answer).all():
        raise ValueError("predict must answer finite numbers; got NaN or infinite ones")
    truth = y[:, task.lags - 1 :]
    deviation = float((truth - truth.mean((0, 1))).square().mean().sqrt())
    if not divides(deviation):
        raise ValueError(f"task must have a {part} y that varies; got a standard deviation of {deviation:g}")
    return nrmse(answer[:, task.lags - 1 :], truth, scale=deviation)


def check_answer(name: str, answer: Tensor, *shapes: tuple[int, ...]) -> Tensor:
    """What a function of windows has answered, if it is a dense real tensor of one of these shapes."""
    allowed = f"a function to a dense real tensor of shape {' or '.join(map(str, shapes))}"
    check_instance(name, answer, Tensor, allowed)
    dense = answer.layout == torch.strided and not answer.is_meta
    if answer.shape not in shapes or answer.is_complex() or not dense:
        got = f"{answer.dtype} {answer.layout} of shape {tuple(answer.shape)} on {answer.device}"
        raise ValueError(f"{name} must be {allowed}; got {got}")
    return answer


def check_task(task: Task) -> None:
    check_instance("task", task, Task, "a Task such as those of observer() or patch_forecast()")


Fields = dict[str, xr.DataArray]

Values = dict[str, np.ndarray]


def check_fields(fields: Fields, times: int, points: int, need: str) -> Values:
    """The values of the fields of each part, of like dims, with enough times, and points along each side."""
    allowed: tuple[tuple, ...] = DIMS
    for name, field in fields.items():
        check_instance(name, field, xr.DataArray, "an xarray.DataArray of dims (trajectory, time, x)")
        if field.dims not in allowed:
            raise ValueError(f"{name} must have dims {' or '.join(map(str, allowed))}; got {field.dims}")
        if field.sizes["time"] < times or min(field.shape[2:]) < points or not field.sizes["trajectory"]:
            words = f"{name} must have more than {shown(times - 1)} times and {shown(points)} points"
            raise ValueError(f"{words}; got {dict(field.sizes)} for {need}")
        allowed = (field.dims,)
    return {name: check_array(name, field) for name, field in fields.items()}


def check_grid(fields: Fields, times: int, points: int, need: str) -> tuple[Values, tuple[int, ...]]:
    """`check_fields` of parts that all have the points of train, and these: the grid."""
    values = check_fields(fields, times, points, need)
    grid = values["train"].shape[2:]
    for name, field in values.items():
        if field.shape[2:] != grid:
            raise ValueError(f"{name} must have the points of train, {grid}; got {field.shape[2:]}")
    return values, grid


def check_washout(washout: int, steps: int) -> int:
    """The first steps of a window, which are not scored: at least one is left."""
    washout = check_integer("washout", washout, minimum=0)
    if washout >= steps:
        raise ValueError(f"washout must be at most {shown(steps - 1)} for steps={shown(steps)}; got {shown(washout)}")
    return washout


def check_windows(windows: tuple[int, int, int], entries: int) -> list[int]:
    """Three counts, of windows of so many ``entries`` that fit the memory."""
    if len(check_instance("windows", windows, (tuple, list), "three integers")) != 3:
        raise ValueError(f"windows must be three integers; got {shown(windows)}")
    counts = [check_count("windows", count) for count in windows]
    check_bytes("windows", 8 * max(counts) * entries, f"{shown(windows)} of {entries} numbers each")
    return counts


def streams(seed: int) -> list[np.random.Generator]:
    """A generator for each part, so that none depends on how much another draws."""
    seed = check_integer("seed", seed, minimum=0)
    return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(PARTS))]


def draw_pairs(x: list[np.ndarray], y: list[np.ndarray], steps: int, counts: list[int], seed: int) -> list[Pair]:
    """Windows of each part: `draw_windows` from x and y of that part."""
    return [draw_windows(*part, steps, count, rng) for part, count, rng in zip(zip(x, y), counts, streams(seed))]


def draw_windows(x: np.ndarray, y: np.ndarray, steps: int, count: int, rng: np.random.Generator) -> Pair:
    """``count`` windows at random trajectories and times of x and y, both (trajectory, time, features)."""
    trajectory = rng.integers(len(x), size=(count, 1))
    time = rng.integers(x.shape[1] - steps + 1, size=(count, 1)) + np.arange(steps)
    return torch.from_numpy(x[trajectory, time]), torch.from_numpy(y[trajectory, time])


def divides(scale: float) -> bool:
    """Whether squares of what is divided by this scale are numbers."""
    return SMALLEST < scale < 1 / SMALLEST


def check_scale(name: str, scale: float) -> float:
    """A standard deviation that can be divided by."""
    if not divides(scale):
        raise ValueError(f"{name} must have a standard deviation from {SMALLEST:g} to {1 / SMALLEST:g}; got {scale:g}")
    return scale


def spread(name: str, values: np.ndarray) -> float:
    """The standard deviation of ``values``, checked."""
    with np.errstate(all="ignore"):
        return check_scale(name, float(values.std()))


def _sizes(name: str, pair: Pair, columns: tuple[str | int, str | int]) -> tuple[int, int, int, torch.dtype]:
    """Steps, the features of x and y, and the dtype of a pair of tensors that belong together."""
    x, y = check_parts(name, pair, ("windows", "steps", columns[0]), columns[1])
    if x.dtype != y.dtype:
        raise TypeError(f"{name} must have x and y of one dtype; got {x.dtype} and {y.dtype}")
    largest = max(float(part.detach().abs().max()) for part in (x, y))
    if largest > torch.finfo(x.dtype).max ** 0.5:
        raise ValueError(f"{name} must have squares that {x.dtype} holds; got values up to {largest:g}")
    return x.shape[1], x.shape[2], y.shape[2], x.dtype
