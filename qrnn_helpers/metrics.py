"""Scores of predictions."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from .checks import check_array, check_real

__all__ = ["mean_interval", "nrmse"]


def nrmse(prediction, truth, *, scale: float | None = None) -> float:
    """Root mean square error over the standard deviation of the truth, or over ``scale``.

    NRMSE = sqrt(<(prediction - truth)**2>) / std(truth), averages over all entries; 1 is the error of
    predicting the mean.  Arrays or tensors of one shape.
    """
    prediction, truth = check_array("prediction", prediction), check_array("truth", truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction must have the truth's shape {truth.shape}; got {prediction.shape}")
    given = None if scale is None else check_real("scale", scale, minimum=0.0, exclusive=True)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = float(truth.std()) if given is None else given
        if scale == 0:
            raise ValueError("truth must vary (its standard deviation is 0); give scale instead")
        score = float(np.sqrt(np.mean((prediction - truth) ** 2)) / scale)
    if not np.isfinite(score) or not np.isfinite(scale):
        words = f"values up to {np.abs(prediction).max():g} and {np.abs(truth).max():g}, scale {scale:g}"
        raise ValueError(f"prediction, truth and scale must have squares that a float holds; got {words}")
    return score


def mean_interval(values, confidence: float = 0.95) -> tuple[float, float]:
    """Mean of independent values and the half width of its Student-t confidence interval."""
    values = check_array("values", values).ravel()
    if values.size < 2:
        raise ValueError(f"values must be two or more, to have a spread; got {values.size}")
    confidence = check_real("confidence", confidence, minimum=0.0, exclusive=True)
    if confidence >= 1:
        raise ValueError(f"confidence must be less than 1; got {confidence}")
    quantile = student.ppf((1 + confidence) / 2, values.size - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, half = float(values.mean()), float(quantile * values.std(ddof=1) / np.sqrt(values.size))
    if not (np.isfinite(mean) and np.isfinite(half)):
        raise ValueError(f"values must have squares that a float holds; got values up to {np.abs(values).max():g}")
    return mean, half
