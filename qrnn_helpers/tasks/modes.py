"""The reduced forecast: a few modes of a field -> the same modes one step on, and the field from them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
import torch
import xarray as xr
from scipy.linalg import eigh
from torch import Tensor

from ..checks import check_array, check_bytes, check_count, check_integer, check_one_of, shown
from .windows import (
    Predict,
    Scaling,
    Task,
    check_answer,
    check_grid,
    check_scale,
    check_washout,
    check_windows,
    draw_pairs,
)


@dataclass(frozen=True)
class ReducedForecast(Task):
    """Coefficients of ``modes`` -> the coefficients at the next sample.

    a_k = sum over points of modes_k (u - mean): ``modes`` (modes, points) are orthonormal, ``mean``
    (points,) is the training fields' where the modes are theirs (POD), else 0.  x (windows, steps, modes)
    has every coefficient over its own training standard deviation; y (windows, steps, modes), a step later,
    has one unit for all, so that an error in y is an error of the field.
    """

    _: KW_ONLY
    modes: np.ndarray
    mean: np.ndarray
    grid: tuple[int, ...]

    def reduce(self, fields: np.ndarray) -> np.ndarray:
        """Coefficients (..., modes) of fields (..., *grid)."""
        fields = check_array("fields", fields)
        if fields.shape[-len(self.grid) :] != self.grid:
            raise ValueError(f"fields must have shape (..., {', '.join(map(str, self.grid))}); got {fields.shape}")
        flat = fields.reshape(*fields.shape[: -len(self.grid)], -1)
        return (flat - self.mean) @ self.modes.T

    def lift(self, coefficients: np.ndarray) -> np.ndarray:
        """The fields (..., *grid) that coefficients (..., modes) stand for."""
        coefficients = check_array("coefficients", coefficients, finite=False)
        if coefficients.shape[-1:] != (len(self.modes),):
            raise ValueError(f"coefficients must have shape (..., {len(self.modes)}); got {coefficients.shape}")
        return (coefficients @ self.modes + self.mean).reshape(*coefficients.shape[:-1], *self.grid)

    def next_modes(self, predict: Predict, x: Tensor) -> Tensor:
        """Features (windows, modes) of the sample after windows x (windows, steps, modes), by a model of this task.

        In torch, so that the error of a loop can be traced back to the model.
        """
        return self.answer(predict, x)[:, -1] * self.output_unit()

    def output_unit(self) -> Tensor:
        """A unit of y in units of x."""
        return torch.from_numpy(np.asarray(self.y_scaling.unit / self.x_scaling.unit))

    def answer(self, predict: Predict, x: Tensor) -> Tensor:
        """What a model says to windows x, if it has the right shape."""
        return check_answer("predict", predict(x.to(self.train[0].dtype)), tuple(x.shape)).double()


def reduced_forecast(
    train: xr.DataArray,
    validation: xr.DataArray,
    test: xr.DataArray,
    *,
    modes: int = 12,
    basis: str = "fourier",
    steps: int = 12,
    washout: int = 4,
    windows: tuple[int, int, int] = (2048, 512, 1024),
    seed: int = 0,
) -> ReducedForecast:
    """Draw windows at random times from fields of dims (trajectory, time, x) or (trajectory, time, y, x).

    ``basis`` "fourier" takes the longest waves, a cosine and a sine each (``modes`` is even); "pod" the
    directions of largest variance in the *training* trajectories (proper orthogonal decomposition).  The
    first ``washout`` of ``steps`` samples are neither trained on nor scored; ``windows`` counts the
    windows of the three parts.  Each part draws from its own trajectories only.
    """
    modes = check_count("modes", modes)
    steps = check_count("steps", steps)
    check_one_of("basis", basis, ("fourier", "pod"))
    washout = check_washout(washout, steps)
    fields = {"train": train, "validation": validation, "test": test}
    values, grid = check_grid(fields, steps + 1, 2, f"steps={shown(steps)}")
    check_integer("modes", modes, maximum=int(np.prod(grid)))
    counts = check_windows(windows, steps * modes)
    functions, mean = fourier_modes(grid, modes) if basis == "fourier" else pod_modes(values["train"], modes)
    coefficients = [(v.reshape(*v.shape[:2], -1) - mean) @ functions.T for v in values.values()]
    x_scaling, y_scaling = _scalings(coefficients[0])
    x = [x_scaling.features(a[:, :-1]) for a in coefficients]
    y = [y_scaling.features(a[:, 1:]) for a in coefficients]
    return ReducedForecast(
        *draw_pairs(x, y, steps, counts, seed),
        name=f"reduced forecast, {modes} {basis} modes",
        sees=f"{modes} modes",
        washout=washout,
        x_scaling=x_scaling,
        y_scaling=y_scaling,
        still=partial(_same, x_scaling, y_scaling),
        modes=functions,
        mean=mean,
        grid=grid,
    )


def fourier_modes(grid: tuple[int, ...], modes: int) -> tuple[np.ndarray, np.ndarray]:
    """The longest waves on a periodic grid, cosine and sine in turn, orthonormal: (modes, points); their mean, 0.

    Waves are ordered by nx^2 + ny^2, each of a pair (n, -n) once; the constant is left out.
    """
    points = int(np.prod(grid))
    most = 2 * int(np.prod([(size - 1) // 2 for size in grid]))
    modes = check_integer("modes", modes, minimum=2, maximum=most)
    if modes % 2:
        raise ValueError(f"modes must be even for basis 'fourier', a cosine and a sine of each wave; got {modes}")
    check_bytes("modes", 8 * modes * points, f"{modes} modes of {points} points")
    first = _longest_waves(grid, modes // 2)
    places = np.indices(grid).reshape(len(grid), -1) / np.array(grid)[:, None]
    phase = 2 * np.pi * first @ places
    functions = np.stack([np.cos(phase), np.sin(phase)], axis=1).reshape(modes, points)
    return functions * np.sqrt(2 / points), np.zeros(points)


def _longest_waves(grid: tuple[int, ...], count: int) -> np.ndarray:
    """Indices (count, dimensions) of the longest waves, each of a pair (n, -n) once, the constant left out."""
    lines = [np.arange(-((size - 1) // 2), (size - 1) // 2 + 1) for size in grid]
    waves = np.stack(np.meshgrid(*lines, indexing="ij")).reshape(len(grid), -1).T
    half = waves[len(waves) // 2 + 1 :]  # beyond the constant; those before it are the others' mirrors
    return half[np.argsort((half**2).sum(axis=1), kind="stable")[:count]]


def pod_modes(train: np.ndarray, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``modes`` orthonormal directions (modes, points) of largest variance, and the mean field (points,).

    Eigenvectors of the covariance of training fields (trajectory, time, ...), each with the sign that
    makes its largest entry positive.  L. Sirovich, Quart. Appl. Math. 45 (1987) 561.
    """
    flat = train.reshape(train.shape[0] * train.shape[1], -1)
    points = flat.shape[1]
    modes = check_integer("modes", modes, minimum=1, maximum=points)
    check_bytes("train", 8 * points * (points + len(flat)), f"fields of {points} points, for their covariance")
    mean = flat.mean(axis=0)
    vectors = eigh(np.cov(flat, rowvar=False), subset_by_index=(points - modes, points - 1))[1].T[::-1]
    largest = vectors[np.arange(modes), np.abs(vectors).argmax(axis=1)]
    return vectors * np.sign(largest)[:, None], mean


def _scalings(train: np.ndarray) -> tuple[Scaling, Scaling]:
    """Of inputs, each mode by its own training standard deviation, and of outputs, all by one."""
    flat = train.reshape(-1, train.shape[-1])
    with np.errstate(all="ignore"):
        mean, std = flat.mean(axis=0), flat.std(axis=0)
        together = float(np.sqrt(np.mean(std**2)))
    check_scale("train", together)
    if not std.min() > 1e-10 * std.max():
        raise ValueError(f"modes must all vary in train; got standard deviations from {std.min():g} to {std.max():g}")
    return Scaling(mean, std), Scaling(mean, together)


def _same(x_scaling: Scaling, y_scaling: Scaling, x: Tensor) -> Tensor:
    """Persistence: the next coefficients are the present ones."""
    return torch.from_numpy(y_scaling.features(x_scaling.values(x.numpy())))
