"""What a quantum network is compared with, and how."""

from .comparison import TUNING_SEED, Baseline, Measure, assess, compare, grid, select, tune
from .networks import answers, in_pieces, trained, untrained
from .regression import lagged, linear, nvar, persistence, ridge
from .reservoir import echo_state
from .standard import CONFIGURATIONS, standard_baselines

__all__ = [
    "Baseline",
    "CONFIGURATIONS",
    "Measure",
    "TUNING_SEED",
    "answers",
    "assess",
    "compare",
    "echo_state",
    "grid",
    "in_pieces",
    "lagged",
    "linear",
    "nvar",
    "persistence",
    "ridge",
    "select",
    "standard_baselines",
    "trained",
    "tune",
    "untrained",
]
