"""What a quantum network is compared with, and how."""

from .comparison import TUNING_SEED, Rival, compare, rivals, tune
from .networks import PIECE, answers, trained, untrained
from .regression import lagged, linear, nvar, persistence, ridge
from .reservoir import echo_state

__all__ = [
    "PIECE",
    "Rival",
    "TUNING_SEED",
    "answers",
    "compare",
    "echo_state",
    "lagged",
    "linear",
    "nvar",
    "persistence",
    "ridge",
    "rivals",
    "trained",
    "tune",
    "untrained",
]
