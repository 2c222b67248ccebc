"""Scores of predictions.

They do not depend on the caller's ``np.errstate``: what a float cannot hold is found and named.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student
from scipy.stats import wasserstein_distance

from ..checks import check_array, check_instance, check_integer, check_positive, shown

BLOWN_UP = 10.0
"""A rollout has blown up where it is not finite, or larger than the largest truth by this factor."""


@np.errstate(all="ignore")
def nrmse(prediction: ArrayLike, truth: ArrayLike, *, scale: float | None = None) -> float:
    """Root mean square error over the standard deviation of the truth, or over ``scale``.

    NRMSE = sqrt(<(prediction - truth)**2>) / std(truth), averages over all entries; 1 is the error of
    predicting the mean.  Arrays or tensors of one shape.
    """
    prediction, truth = _alike(prediction, truth)
    scale = float(truth.std()) if scale is None else check_positive("scale", scale)
    if scale == 0:
        raise ValueError("truth must vary (its standard deviation is 0); give scale instead")
    score = float(np.sqrt(np.mean((prediction - truth) ** 2)) / scale)
    if not np.isfinite([score, scale]).all():
        words = f"values up to {np.abs(prediction).max():g} and {np.abs(truth).max():g}, scale {scale:g}"
        raise ValueError(f"prediction, truth and scale must have squares that a float holds; got {words}")
    return score


@np.errstate(all="ignore")
def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Mean of independent values and the half width of its 95 % confidence interval (Student's t)."""
    values = check_array("values", values).ravel()
    if values.size < 2:
        raise ValueError(f"values must be two or more, to have a spread; got {values.size}")
    quantile = student.ppf(0.975, values.size - 1)
    mean = float(values.mean())
    half = float(quantile * values.std(ddof=1) / np.sqrt(values.size))
    if not np.isfinite([mean, half]).all():
        raise ValueError(f"values must have squares that a float holds; got values up to {np.abs(values).max():g}")
    return mean, half


@np.errstate(all="ignore")
def nrmse_by_lead(prediction: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """The error of closed loops at each lead time, over all starts: (start, time, ...) -> (time,).

    NRMSE(t) = <|prediction - truth|_2^2>^(1/2) / <|truth|_2^2>^(1/2): |.|_2 over space, the numerator
    averaged over starts at lead time t, the denominator over all starts and times (one climatological
    scalar).  Infinite where a rollout is not finite.
    """
    return np.sqrt(np.mean(_errors(prediction, truth) ** 2, axis=0))


@np.errstate(all="ignore")
def valid_prediction_time(
    prediction: ArrayLike, truth: ArrayLike, dt: float, lyapunov: float, threshold: float = 0.4
) -> pd.DataFrame:
    """How long each closed loop stays near the truth: (start, time, ...) fields -> a row for each start.

    ``vpt``: the time until NRMSE(t) = |prediction - truth|_2 / <|truth|_2^2>^(1/2) first exceeds
    ``threshold``, in Lyapunov times 1 / ``lyapunov``; samples lie ``dt`` apart, the first one ``dt``
    after the start, and the last one still within the threshold counts.  ``censored``: it never did, and
    ``vpt`` is the length of the loop.  ``blown_up``: somewhere the prediction is not finite, or larger
    than `BLOWN_UP` times the largest truth.  ``prediction`` may hold NaN and infinite values.
    Pathak et al., Phys. Rev. Lett. 120 (2018) 024102, use this measure for the same equation.
    """
    dt = check_positive("dt", dt)
    lyapunov = check_positive("lyapunov", lyapunov)
    threshold = check_positive("threshold", threshold)
    beyond = _errors(prediction, truth) > threshold
    count = beyond.shape[1]
    censored = ~beyond.any(axis=1)
    unit = np.float64(dt) * lyapunov
    if not np.isfinite(unit * count):
        raise ValueError(f"dt and lyapunov must have a product that a float holds; got {dt:g} and {lyapunov:g}")
    vpt = np.where(censored, count, beyond.argmax(axis=1)) * unit
    table = pd.DataFrame({"vpt": vpt, "censored": censored, "blown_up": _blown_up(prediction, truth)})
    return table.rename_axis("start")


@np.errstate(all="ignore")
def vpt_summary(table: pd.DataFrame) -> pd.Series:
    """Mean and quantiles of a table of `valid_prediction_time`, the fractions censored and blown up, the count."""
    vpt, fractions = _columns(table)
    if not np.isfinite(vpt.sum()):
        raise ValueError(f"table must have a sum of vpt that a float holds; got values up to {vpt.max():g}")
    shares = {f"{q:.0%}": np.quantile(vpt, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)}
    return pd.Series({"mean": vpt.mean()} | shares | fractions | {"starts": len(vpt)}, dtype=float)


@np.errstate(all="ignore")
def spectrum(fields: ArrayLike, dimensions: int = 1) -> np.ndarray:
    """Mean energy of the waves of index 0, 1, 2, ...: it sums up to <u^2>.

    ``fields`` are (..., x), or (..., y, x) with ``dimensions`` 2, where the index is that of
    sqrt(nx^2 + ny^2), rounded.  Averages over all other axes.
    """
    return _spectrum("fields", fields, check_integer("dimensions", dimensions, minimum=1, maximum=2))


@np.errstate(all="ignore")
def climate(prediction: ArrayLike, truth: ArrayLike, dimensions: int = 1) -> pd.Series:
    """Does a long rollout live in the truth's climate, when it can no longer follow it?

    ``std_ratio``: standard deviation over the truth's.  ``values``: Wasserstein distance of the
    distributions of all values, over the truth's standard deviation.  ``spectrum``: mean of
    |log10 E / E_truth| over the waves that hold a thousandth of the truth's energy or more.  A perfect
    climate is 1, 0, 0.  Shapes (..., x) or, with ``dimensions`` 2, (..., y, x); numbers of samples may differ.
    """
    dimensions = check_integer("dimensions", dimensions, minimum=1, maximum=2)
    energy = _spectrum("prediction", prediction, dimensions)
    true_energy = _spectrum("truth", truth, dimensions)
    prediction = check_array("prediction", prediction)
    truth = check_array("truth", truth)
    if prediction.shape[-dimensions:] != truth.shape[-dimensions:]:
        raise ValueError(f"prediction must have the truth's points; got {prediction.shape} and {truth.shape}")
    std = truth.std()
    distance = wasserstein_distance(prediction.ravel(), truth.ravel())
    scores = {"std_ratio": prediction.std() / std, "values": distance / std}
    if not np.isfinite([std, *scores.values()]).all():
        words = f"standard deviations {prediction.std():g} and {std:g}"
        raise ValueError(f"truth must vary, and prediction and truth have squares that a float holds; got {words}")
    return pd.Series(scores | {"spectrum": _spectral_distance(energy, true_energy)}, dtype=float)


def squared_indices(sizes: tuple[int, ...]) -> np.ndarray:
    """nx^2 (+ ny^2) of the waves on a periodic grid, in the order of `numpy.fft.fftn`."""
    return sum(np.ix_(*(np.fft.fftfreq(n, 1 / n) ** 2 for n in sizes)), np.zeros(()))


def _spectrum(name: str, fields: ArrayLike, dimensions: int) -> np.ndarray:
    """`spectrum` of the argument of that name."""
    fields = check_array(name, fields)
    if fields.ndim < dimensions:
        raise ValueError(f"{name} must have {dimensions} dimensions or more; got shape {fields.shape}")
    sizes = fields.shape[-dimensions:]
    waves = np.fft.fftn(fields, axes=tuple(range(-dimensions, 0)), norm="forward")
    energy = (np.abs(waves) ** 2).reshape(-1, *sizes).mean(axis=0)
    if not np.isfinite(energy).all():
        raise ValueError(f"{name} must have squares that a float holds; got values up to {np.abs(fields).max():g}")
    index = np.rint(np.sqrt(squared_indices(sizes))).astype(int)
    return np.bincount(index.ravel(), weights=energy.ravel())


def _spectral_distance(energy: np.ndarray, truth: np.ndarray) -> float:
    """Mean of |log10 E / E_truth| over the waves that hold a thousandth of the truth's energy or more."""
    strong = truth >= 1e-3 * truth.sum()
    smallest = np.finfo(float).tiny  # a wave that is missing is far off, not infinitely far
    logarithms = np.log10(np.maximum(energy[strong], smallest) / np.maximum(truth[strong], smallest))
    return np.abs(logarithms).mean()


def _alike(prediction: ArrayLike, truth: ArrayLike, finite: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of one shape; ``finite``: of the prediction."""
    prediction = check_array("prediction", prediction, finite=finite)
    truth = check_array("truth", truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction must have the truth's shape {truth.shape}; got {prediction.shape}")
    return prediction, truth


def _errors(prediction: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """NRMSE of each start and lead time (start, time), infinite where the prediction is not finite."""
    prediction, truth = _alike(prediction, truth, finite=False)
    if truth.ndim < 2:
        raise ValueError(f"truth must have dimensions (start, time, ...); got shape {truth.shape}")
    flat = (*truth.shape[:2], -1)
    scale = np.sqrt(np.mean(np.sum(truth.reshape(flat) ** 2, axis=-1)))
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"truth must have a mean square above 0 that a float holds; got its root {scale:g}")
    errors = np.sqrt(np.sum((prediction - truth).reshape(flat) ** 2, axis=-1)) / scale
    return np.where(np.isfinite(errors), errors, np.inf)


def _blown_up(prediction: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """Whether each start's prediction is somewhere not finite, or `BLOWN_UP` times larger than any truth: (start,)."""
    prediction, truth = _alike(prediction, truth, finite=False)
    largest = np.abs(prediction).reshape(len(prediction), -1).max(axis=1)  # NaN if any is
    return ~(largest / BLOWN_UP <= np.abs(truth).max())


def _columns(table: pd.DataFrame) -> tuple[np.ndarray, dict[str, float]]:
    """vpt of a table of `valid_prediction_time`, and the means of its flags."""
    check_instance("table", table, pd.DataFrame, "a table of valid_prediction_time")
    if not len(table) or not {"vpt", "censored", "blown_up"} <= set(map(str, table.columns)):
        raise ValueError(f"table must have rows and columns vpt, censored, blown_up; got {shown(list(table.columns))}")
    vpt, *flags = (check_array("table", table[name], ndim=1) for name in ("vpt", "censored", "blown_up"))
    return vpt, {name: float(flag.mean()) for name, flag in zip(("censored", "blown_up"), flags)}
