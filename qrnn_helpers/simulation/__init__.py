"""From a compiled step circuit to numbers: contraction, channel, Heisenberg picture, trajectories, Pauli basis."""

from .channel import channel_step, evolve, recorded_channel
from .contraction import MOVE
from .description import StepDescription
from .heisenberg import HeisenbergPicture, along, joint_moments
from .operators import ground, kraus_operators, replaced_operators
from .pauli import PauliSteps
from .program import StepProgram
from .trajectories import outcomes

__all__ = [
    "MOVE",
    "HeisenbergPicture",
    "PauliSteps",
    "StepDescription",
    "StepProgram",
    "channel_step",
    "along",
    "evolve",
    "ground",
    "joint_moments",
    "kraus_operators",
    "outcomes",
    "recorded_channel",
    "replaced_operators",
]
