"""Ridge regression: the linear solve behind every fitted readout.

The weights W of the readout y = F W minimise

    mean |F W - y|^2 + penalty |D W|^2,    D = diag(size of each feature),

so a penalty means the same for large features as for small ones.  With the moments G = <f f^T> and
R = <f y^T> the solution is W = D^-1 (D^-1 G D^-1 + penalty 1)^-1 D^-1 R.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEGLIGIBLE = 1e-12
"""A feature that varies less than this part of the largest is a constant, and keeps its size."""


def ridge_readout(features: Tensor, target: Tensor, penalty: float, *, correction: int = 1) -> tuple[Tensor, Tensor]:
    """Weights (outputs, k) and offsets (outputs,) of ridge regression on features (n, k), targets (n, outputs).

    The size of a feature is its standard deviation, from the sum of squares over n - ``correction``.
    The offset is free of the penalty.  Raises ValueError where the penalty is too small for the features.
    """
    mean = features.mean(0)
    size = features.std(0, correction=correction)
    size = torch.where(size > NEGLIGIBLE * features.abs().max(), size, 1.0)
    scaled = (features - mean) / size
    middle = target.mean(0)
    gram = scaled.T @ scaled / len(features)
    right = scaled.T @ (target - middle) / len(features)
    weights = _solved(gram, right, penalty) / size[:, None]
    return weights.T, middle - mean @ weights


def ridge_from_moments(gram: Tensor, right: Tensor, penalty: float) -> Tensor:
    """Weights (k, outputs) from the moments G (k, k) and R (k, outputs); a feature's size is its root mean square."""
    squares = gram.diagonal()
    size = squares.clamp_min(NEGLIGIBLE * squares.max()).sqrt()[:, None]
    return _solved(gram / size.T / size, right / size, penalty) / size


def _solved(gram: Tensor, right: Tensor, penalty: float) -> Tensor:
    """(G + penalty 1)^-1 R for features of unit size."""
    system = gram.clone()
    system.diagonal().add_(penalty)
    try:
        return torch.cholesky_solve(right, torch.linalg.cholesky(system))
    except torch.linalg.LinAlgError as error:
        raise ValueError(f"penalty must be larger for these features; got {penalty:g}: {error}") from error
