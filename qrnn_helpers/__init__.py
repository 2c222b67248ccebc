"""Hybrid quantum recurrent networks: exact simulation, gradient estimators, training and data."""

from .backends import Backend, ExactBackend
from .baselines import GRU, Baseline, linear_baseline, persistence, untrained_circuit
from .circuits import reuploading_step, rotation_step, unroll
from .cost import CostLedger
from .data import ks22
from .estimators import (
    SPSA,
    Autograd,
    DirectionalShift,
    FiniteDifference,
    GradientEstimator,
    ParameterShift,
    RandomCoordinate,
)
from .ks import KS1D, ks1d
from .ks2d import KS2D, ks2d
from .layer import QRNN, QuantumRecurrentLayer
from .lorenz import Lorenz, lorenz
from .lyapunov import kaplan_yorke, lyapunov_exponents, stored_exponents
from .metrics import nrmse
from .patches import PatchForecast, patch_forecast, rollout, teacher_forced
from .samplers import SamplerBackend, SamplerError
from .shots import ShotBackend
from .spall import SPSAOptimizer
from .store import load, load_state, save, save_state
from .training import Budget, fit

__version__ = "0.1.0"

__all__ = [
    "Autograd",
    "Backend",
    "Baseline",
    "Budget",
    "CostLedger",
    "DirectionalShift",
    "ExactBackend",
    "FiniteDifference",
    "GRU",
    "GradientEstimator",
    "KS1D",
    "KS2D",
    "Lorenz",
    "ParameterShift",
    "PatchForecast",
    "QRNN",
    "QuantumRecurrentLayer",
    "RandomCoordinate",
    "SPSA",
    "SPSAOptimizer",
    "SamplerBackend",
    "SamplerError",
    "ShotBackend",
    "fit",
    "kaplan_yorke",
    "ks1d",
    "ks22",
    "ks2d",
    "linear_baseline",
    "load",
    "load_state",
    "lorenz",
    "lyapunov_exponents",
    "nrmse",
    "patch_forecast",
    "persistence",
    "reuploading_step",
    "rollout",
    "rotation_step",
    "save",
    "save_state",
    "stored_exponents",
    "teacher_forced",
    "unroll",
    "untrained_circuit",
]
