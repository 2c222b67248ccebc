"""Hybrid quantum recurrent networks: exact simulation, gradient estimators, training and data."""

from .backends import Backend, ExactBackend
from .circuits import exchange_step, reuploading_step, rotation_step, two_way_step, unroll
from .cost import CostLedger
from .data import ks2d22, ks22, ks22_long, lorenz_series
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
from .lorenz_observer import lorenz_observer
from .lyapunov import kaplan_yorke, lyapunov_exponents, stored_exponents
from .metrics import climate, nrmse, nrmse_by_lead, spectrum, valid_prediction_time, vpt_summary
from .moments import MomentBackend
from .networks import without_entanglers
from .observers import observer
from .patches import PatchForecast, patch_forecast, rollout, teacher_forced
from .recurrent import GRU, RNN
from .reduced import closed_loop, reduced_forecast
from .rivals import Rival, compare, rivals, tune
from .samplers import SamplerBackend, SamplerError
from .shots import ShotBackend
from .spall import SPSAOptimizer
from .store import load, load_state, save, save_state
from .tasks import Task, score, starts
from .training import Budget, fit

__version__ = "0.1.0"

__all__ = [
    "Autograd",
    "Backend",
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
    "MomentBackend",
    "ParameterShift",
    "PatchForecast",
    "QRNN",
    "QuantumRecurrentLayer",
    "RNN",
    "RandomCoordinate",
    "Rival",
    "SPSA",
    "SPSAOptimizer",
    "SamplerBackend",
    "SamplerError",
    "ShotBackend",
    "Task",
    "climate",
    "closed_loop",
    "compare",
    "exchange_step",
    "fit",
    "kaplan_yorke",
    "ks1d",
    "ks22",
    "ks22_long",
    "ks2d",
    "ks2d22",
    "load",
    "load_state",
    "lorenz",
    "lorenz_observer",
    "lorenz_series",
    "lyapunov_exponents",
    "nrmse",
    "nrmse_by_lead",
    "observer",
    "patch_forecast",
    "reduced_forecast",
    "reuploading_step",
    "rivals",
    "rollout",
    "rotation_step",
    "save",
    "save_state",
    "score",
    "spectrum",
    "starts",
    "stored_exponents",
    "teacher_forced",
    "tune",
    "two_way_step",
    "unroll",
    "valid_prediction_time",
    "vpt_summary",
    "without_entanglers",
]
