"""Scores of predictions."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import t as student

from .checks import check_real

__all__ = ["mean_interval", "nrmse"]


def nrmse(prediction, truth, *, scale: float | None = None) -> float:
    """Root mean square error over the standard deviation of the truth, or over ``scale``.

    NRMSE = sqrt(<(prediction - truth)**2>) / std(truth), averages over all entries; 1 is the error of
    predicting the mean.  Arrays or tensors of one shape.
    """
    prediction, truth = _finite("prediction", prediction), _finite("truth", truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction must have the truth's shape {truth.shape}; got {prediction.shape}")
    scale = float(truth.std()) if scale is None else check_real("scale", scale, minimum=0.0, exclusive=True)
    if scale == 0:
        raise ValueError("truth must vary (its standard deviation is 0); give scale instead")
    return float(np.sqrt(np.mean((prediction - truth) ** 2)) / scale)


def mean_interval(values, confidence: float = 0.95) -> tuple[float, float]:
    """Mean of independent values and the half width of its Student-t confidence interval."""
    values = _finite("values", values).ravel()
    if values.size < 2:
        raise ValueError(f"values must be two or more, to have a spread; got {values.size}")
    quantile = student.ppf((1 + check_real("confidence", confidence, minimum=0.0, exclusive=True)) / 2, values.size - 1)
    return float(values.mean()), float(quantile * values.std(ddof=1) / np.sqrt(values.size))


def _finite(name: str, values) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, dtype=float)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite and not empty; got shape {array.shape} with NaN or infinite values")
    return array
