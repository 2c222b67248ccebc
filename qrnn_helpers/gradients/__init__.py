"""How gradients are estimated: one file for each method."""

from .base import Autograd, GradientEstimator
from .dead_angles import live_angles
from .directional_shift import DirectionalShift
from .finite_difference import FiniteDifference
from .parameter_shift import ParameterShift, RandomCoordinate
from .spsa import SPSA

__all__ = [
    "Autograd",
    "DirectionalShift",
    "FiniteDifference",
    "GradientEstimator",
    "ParameterShift",
    "RandomCoordinate",
    "SPSA",
    "live_angles",
]
