"""Scores of predictions.

They do not depend on the caller's ``np.errstate``: what a float cannot hold is found and named.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t as student
from scipy.stats import wasserstein_distance

from ..checks import check_array, check_instance, check_integer, check_real, shown

__all__ = ["climate", "mean_interval", "nrmse", "nrmse_by_lead", "spectrum", "valid_prediction_time", "vpt_summary"]


BLOWN_UP = 10.0
"""A rollout has blown up where it is not finite, or larger than the largest truth by this factor."""


@np.errstate(all="ignore")
def nrmse(prediction, truth, *, scale: float | None = None) -> float:
    """Root mean square error over the standard deviation of the truth, or over ``scale``.

    NRMSE = sqrt(<(prediction - truth)**2>) / std(truth), averages over all entries; 1 is the error of
    predicting the mean.  Arrays or tensors of one shape.
    """
    prediction, truth = check_array("prediction", prediction), check_array("truth", truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction must have the truth's shape {truth.shape}; got {prediction.shape}")
    given = None if scale is None else check_real("scale", scale, minimum=0.0, exclusive=True)
    scale = float(truth.std()) if given is None else given
    if scale == 0:
        raise ValueError("truth must vary (its standard deviation is 0); give scale instead")
    score = float(np.sqrt(np.mean((prediction - truth) ** 2)) / scale)
    if not np.isfinite(score) or not np.isfinite(scale):
        words = f"values up to {np.abs(prediction).max():g} and {np.abs(truth).max():g}, scale {scale:g}"
        raise ValueError(f"prediction, truth and scale must have squares that a float holds; got {words}")
    return score


@np.errstate(all="ignore")
def mean_interval(values, confidence: float = 0.95) -> tuple[float, float]:
    """Mean of independent values and the half width of its Student-t confidence interval."""
    values = check_array("values", values).ravel()
    if values.size < 2:
        raise ValueError(f"values must be two or more, to have a spread; got {values.size}")
    confidence = check_real("confidence", confidence, minimum=0.0, exclusive=True)
    if confidence >= 1:
        raise ValueError(f"confidence must be less than 1; got {confidence}")
    quantile = student.ppf((1 + confidence) / 2, values.size - 1)
    mean, half = float(values.mean()), float(quantile * values.std(ddof=1) / np.sqrt(values.size))
    if not (np.isfinite(mean) and np.isfinite(half)):
        raise ValueError(f"values must have squares that a float holds; got values up to {np.abs(values).max():g}")
    return mean, half


@np.errstate(all="ignore")
def nrmse_by_lead(prediction, truth) -> np.ndarray:
    """The error of closed loops at each lead time, over all starts: (start, time, ...) -> (time,).

    NRMSE(t) = <|prediction - truth|_2^2>^(1/2) / <|truth|_2^2>^(1/2): |.|_2 over space, the numerator
    averaged over starts at lead time t, the denominator over all starts and times (one climatological
    scalar).  Infinite where a rollout is not finite.
    """
    return np.sqrt(np.mean(_errors(prediction, truth) ** 2, axis=0))


@np.errstate(all="ignore")
def valid_prediction_time(prediction, truth, dt: float, lyapunov: float, threshold: float = 0.4) -> pd.DataFrame:
    """How long each closed loop stays near the truth: (start, time, ...) fields -> a row for each start.

    ``vpt``: the time until NRMSE(t) = |prediction - truth|_2 / <|truth|_2^2>^(1/2) first exceeds
    ``threshold``, in Lyapunov times 1 / ``lyapunov``; samples lie ``dt`` apart, the first one ``dt``
    after the start, and the last one still within the threshold counts.  ``censored``: it never did, and
    ``vpt`` is the length of the loop.  ``blown_up``: somewhere the prediction is not finite, or larger
    than `BLOWN_UP` times the largest truth.  ``prediction`` may hold NaN and infinite values.
    Pathak et al., Phys. Rev. Lett. 120 (2018) 024102, use this measure for the same equation.
    """
    dt = check_real("dt", dt, minimum=0.0, exclusive=True)
    lyapunov = check_real("lyapunov", lyapunov, minimum=0.0, exclusive=True)
    threshold = check_real("threshold", threshold, minimum=0.0, exclusive=True)
    beyond = _errors(prediction, truth) > threshold
    censored = ~beyond.any(axis=1)
    count = np.where(censored, beyond.shape[1], beyond.argmax(axis=1))
    unit = np.float64(dt) * lyapunov
    if not np.isfinite(unit * beyond.shape[1]):
        raise ValueError(f"dt and lyapunov must have a product that a float holds; got {dt:g} and {lyapunov:g}")
    prediction, truth = np.asarray(check_array("prediction", prediction, finite=False)), check_array("truth", truth)
    largest = np.abs(prediction).reshape(len(prediction), -1).max(axis=1)  # NaN if any is
    blown_up = ~(largest / BLOWN_UP <= np.abs(truth).max())
    table = pd.DataFrame({"vpt": count * unit, "censored": censored, "blown_up": blown_up})
    return table.rename_axis("start")


@np.errstate(all="ignore")
def vpt_summary(table: pd.DataFrame, quantiles: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)) -> pd.Series:
    """Mean and ``quantiles`` of a table of `valid_prediction_time`, the fractions censored and blown up, the count."""
    check_instance("table", table, pd.DataFrame, "a table of valid_prediction_time")
    if not len(table) or not {"vpt", "censored", "blown_up"} <= set(map(str, table.columns)):
        raise ValueError(f"table must have rows and columns vpt, censored, blown_up; got {shown(list(table.columns))}")
    quantiles = check_array("quantiles", quantiles, ndim=1)
    if quantiles.min() < 0 or quantiles.max() > 1:
        raise ValueError(f"quantiles must lie from 0 to 1; got {shown(quantiles.tolist())}")
    vpt = check_array("table", table["vpt"], ndim=1)
    with np.errstate(over="ignore"):
        if not np.isfinite(vpt.sum()):
            raise ValueError(f"table must have a sum of vpt that a float holds; got values up to {vpt.max():g}")
    found = {"mean": vpt.mean()} | {f"{q:.0%}": np.quantile(vpt, q) for q in quantiles}
    fractions = {name: float(check_array("table", table[name], ndim=1).mean()) for name in ("censored", "blown_up")}
    return pd.Series(found | fractions | {"starts": len(vpt)}, dtype=float)


@np.errstate(all="ignore")
def spectrum(fields, dimensions: int = 1) -> np.ndarray:
    """Mean energy of the waves of index 0, 1, 2, ...: it sums up to <u^2>.

    ``fields`` are (..., x), or (..., y, x) with ``dimensions`` 2, where the index is that of
    sqrt(nx^2 + ny^2), rounded.  Averages over all other axes.
    """
    return _spectrum("fields", fields, check_integer("dimensions", dimensions, minimum=1, maximum=2))


@np.errstate(all="ignore")
def climate(prediction, truth, dimensions: int = 1) -> pd.Series:
    """Does a long rollout live in the truth's climate, when it can no longer follow it?

    ``std_ratio``: standard deviation over the truth's.  ``values``: Wasserstein distance of the
    distributions of all values, over the truth's standard deviation.  ``spectrum``: mean of
    |log10 E / E_truth| over the waves that hold a thousandth of the truth's energy or more.  A perfect
    climate is 1, 0, 0.  Shapes (..., x) or, with ``dimensions`` 2, (..., y, x); numbers of samples may differ.
    """
    dimensions = check_integer("dimensions", dimensions, minimum=1, maximum=2)
    ours, theirs = _spectrum("prediction", prediction, dimensions), _spectrum("truth", truth, dimensions)
    prediction, truth = check_array("prediction", prediction), check_array("truth", truth)
    if prediction.shape[-dimensions:] != truth.shape[-dimensions:]:
        raise ValueError(f"prediction must have the truth's points; got {prediction.shape} and {truth.shape}")
    spread, distance = truth.std(), wasserstein_distance(prediction.ravel(), truth.ravel())
    found = {"std_ratio": prediction.std() / spread, "values": distance / spread}
    if not np.isfinite([spread, *found.values()]).all():
        words = f"standard deviations {prediction.std():g} and {spread:g}"
        raise ValueError(f"truth must vary, and prediction and truth have squares that a float holds; got {words}")
    held = theirs >= 1e-3 * theirs.sum()
    smallest = np.finfo(float).tiny  # a wave that is missing is far off, not infinitely far
    logs = np.log10(np.maximum(ours[held], smallest) / np.maximum(theirs[held], smallest))
    return pd.Series(found | {"spectrum": np.abs(logs).mean()}, dtype=float)


def _spectrum(name: str, fields, dimensions: int) -> np.ndarray:
    """`spectrum` of the argument of that name."""
    fields = check_array(name, fields)
    if fields.ndim < dimensions:
        raise ValueError(f"{name} must have {dimensions} dimensions or more; got shape {fields.shape}")
    axes, sizes = tuple(range(-dimensions, 0)), fields.shape[-dimensions:]
    energy = np.abs(np.fft.fftn(fields, axes=axes, norm="forward")) ** 2
    energy = energy.reshape(-1, *sizes).mean(axis=0)
    if not np.isfinite(energy).all():
        raise ValueError(f"{name} must have squares that a float holds; got values up to {np.abs(fields).max():g}")
    squares = sum(np.ix_(*(np.fft.fftfreq(n, 1 / n) ** 2 for n in sizes)))
    return np.bincount(np.rint(np.sqrt(squares)).astype(int).ravel(), weights=energy.ravel())


def _errors(prediction, truth) -> np.ndarray:
    """NRMSE of each start and lead time (start, time), infinite where the prediction is not finite."""
    prediction, truth = check_array("prediction", prediction, finite=False), check_array("truth", truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction must have the truth's shape {truth.shape}; got {prediction.shape}")
    if truth.ndim < 2:
        raise ValueError(f"truth must have dimensions (start, time, ...); got shape {truth.shape}")
    flat = (*truth.shape[:2], -1)
    scale = np.sqrt(np.mean(np.sum(truth.reshape(flat) ** 2, axis=-1)))
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"truth must have a mean square above 0 that a float holds; got its root {scale:g}")
    errors = np.sqrt(np.sum((prediction - truth).reshape(flat) ** 2, axis=-1)) / scale
    return np.where(np.isfinite(errors), errors, np.inf)
