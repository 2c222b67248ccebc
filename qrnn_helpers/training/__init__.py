"""Training under a budget."""

from .batches import shuffled
from .budget import Budget, cosine
from .ridge import ridge_readout
from .rollout import train_in_loop
from .spsa_optimizer import SPSAOptimizer
from .trainer import fit
from .variable_projection import train_features, whitening

__all__ = [
    "Budget",
    "SPSAOptimizer",
    "cosine",
    "fit",
    "ridge_readout",
    "shuffled",
    "train_features",
    "train_in_loop",
    "whitening",
]
