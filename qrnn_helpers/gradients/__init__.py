"""How gradients are estimated: one file for each method, beside what several share.

A method is a subclass of `GradientEstimator` that answers two questions:
``estimate(executor, angles, weights)``: dL/dangles, (batch, time, P), from circuits run by ``executor``;
``circuits(program, time_steps)``: how many of them, at most, it runs for one sample.
One that changes while training goes on hears of it in ``progress(fraction)``.  ``draws_first`` lets a device run its
circuits in the forward pass's job.
"""

from .autograd import Autograd
from .base import GradientEstimator
from .dead_angles import live_angles
from .decaying_spsa import DecayingSPSA
from .directional_shift import DirectionalShift
from .finite_difference import FiniteDifference
from .guided_spsa import GuidedSPSA
from .important_coordinate import ImportantCoordinate
from .parameter_shift import ParameterShift, RandomCoordinate
from .passes import Ask, Passes, in_one_job
from .spsa import SPSA
from .weight_spsa import WeightSPSA

__all__ = [
    "Ask",
    "Autograd",
    "DecayingSPSA",
    "DirectionalShift",
    "FiniteDifference",
    "GradientEstimator",
    "GuidedSPSA",
    "ImportantCoordinate",
    "ParameterShift",
    "Passes",
    "RandomCoordinate",
    "SPSA",
    "WeightSPSA",
    "in_one_job",
    "live_angles",
]
