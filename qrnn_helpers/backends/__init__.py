"""Where circuits run, and what it costs."""

from .base import Answer, Backend
from .cost import CostLedger
from .exact import ExactBackend
from .executor import Executor
from .jobs import SamplerError
from .moments import MomentBackend
from .noise import SimpleNoise
from .noisy import NoisyBackend
from .noisy_moments import NoisyMomentBackend
from .price_lists import charge, machines
from .readout_correction import ReadoutCorrection, calibrated_readout
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
    "NoisyMomentBackend",
    "ReadoutCorrection",
    "SamplerBackend",
    "SamplerError",
    "ShotBackend",
    "SimpleNoise",
    "calibrated_readout",
    "charge",
    "device_sampler",
    "machines",
]
