"""Training under a budget."""

from .batches import shuffled
from .budget import Budget, cosine
from .foresight import CostEstimate, estimate
from .ridge import ridge_readout
from .rollout import train_in_loop
from .side_by_side import fit_side_by_side
from .spsa_optimizer import SPSAOptimizer
from .trainer import fit
from .variable_projection import train_features, whitening

__all__ = [
    "Budget",
    "CostEstimate",
    "SPSAOptimizer",
    "cosine",
    "estimate",
    "fit",
    "fit_side_by_side",
    "ridge_readout",
    "shuffled",
    "train_features",
    "train_in_loop",
    "whitening",
]
