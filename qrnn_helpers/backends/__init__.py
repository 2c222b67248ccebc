"""Where circuits run, and what it costs."""

from .base import Answer, Backend
from .cost import CostLedger
from .exact import ExactBackend
from .executor import Executor
from .jobs import SamplerError
from .moments import MomentBackend
from .noise import SimpleNoise
from .noisy import NoisyBackend
from .price_lists import charge, machines
from .runtime import DeviceBackend, JobLimits, device_sampler
from .sampler import SamplerBackend
from .shots import ShotBackend

__all__ = [
    "Answer",
    "Backend",
    "CostLedger",
    "DeviceBackend",
    "ExactBackend",
    "Executor",
    "JobLimits",
    "MomentBackend",
    "NoisyBackend",
    "SamplerBackend",
    "SamplerError",
    "ShotBackend",
    "SimpleNoise",
    "charge",
    "device_sampler",
    "machines",
]
