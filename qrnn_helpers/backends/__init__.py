"""Where circuits run, and what it costs."""

from .base import Backend
from .cost import CostLedger
from .exact import ExactBackend
from .executor import Executor
from .jobs import SamplerError
from .moments import MomentBackend
from .noise import SimpleNoise
from .noisy import NoisyBackend
from .price_lists import charge, machines
from .sampler import SamplerBackend
from .shots import ShotBackend

__all__ = [
    "Backend",
    "CostLedger",
    "ExactBackend",
    "Executor",
    "MomentBackend",
    "NoisyBackend",
    "SamplerBackend",
    "SamplerError",
    "ShotBackend",
    "SimpleNoise",
    "charge",
    "machines",
]
