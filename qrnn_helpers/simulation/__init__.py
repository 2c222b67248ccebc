"""From a compiled step circuit to numbers: contraction, channel, Heisenberg picture, trajectories, Pauli basis."""

from .channel import channel_step, evolve, recorded_channel
from .contraction import MOVE
from .description import StepDescription
from .heisenberg import HeisenbergPicture, along, as_range, joint_moments
from .noisy import GROUND, AngleTable, NoisyCircuit, NoisyPicture, Running
from .noisy_pauli import NoisyPauliSteps
from .operators import ground, kraus_operators, replaced_operators
from .pauli import PauliSteps
from .program import PAULI_PRODUCTS, StepProgram
from .streams import Streams, count_runs, drawn
from .trajectories import mean_and_shot, outcomes
from .transfer import Element, Event, Measure, Read, Reset, arranged, element_of, transfer_matrix

__all__ = [
    "GROUND",
    "MOVE",
    "PAULI_PRODUCTS",
    "AngleTable",
    "Element",
    "Event",
    "HeisenbergPicture",
    "Measure",
    "NoisyCircuit",
    "NoisyPauliSteps",
    "NoisyPicture",
    "PauliSteps",
    "Read",
    "Reset",
    "Running",
    "StepDescription",
    "StepProgram",
    "Streams",
    "channel_step",
    "along",
    "arranged",
    "as_range",
    "count_runs",
    "drawn",
    "element_of",
    "evolve",
    "ground",
    "joint_moments",
    "kraus_operators",
    "mean_and_shot",
    "outcomes",
    "recorded_channel",
    "replaced_operators",
    "transfer_matrix",
]
