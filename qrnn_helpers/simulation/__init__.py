"""From a compiled step circuit to numbers: unitaries, contraction, channel, trajectories."""

from .channel import channel_step, evolve
from .contraction import MOVE
from .fusion import clusters, fuse
from .heisenberg import HeisenbergPicture, along, joint_moments
from .operators import ground, kraus_operators, replaced_operators
from .program import StepProgram
from .trajectories import outcomes

__all__ = [
    "MOVE",
    "HeisenbergPicture",
    "StepProgram",
    "channel_step",
    "along",
    "clusters",
    "evolve",
    "fuse",
    "ground",
    "joint_moments",
    "kraus_operators",
    "outcomes",
    "replaced_operators",
]
