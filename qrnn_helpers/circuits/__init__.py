"""Step circuits as plain Qiskit: building, unrolling, and reading gates and angles."""

from .angles import AngleMap
from .families import Family, ShiftRule
from .gates import Op
from .reading import read
from .steps import exchange_step, reuploading_step, rotation_step, two_way_step, without_entanglers
from .unrolling import check_step, definitions_end, has_free_angle, open_controlled, unroll

__all__ = [
    "AngleMap",
    "Family",
    "Op",
    "ShiftRule",
    "check_step",
    "definitions_end",
    "exchange_step",
    "has_free_angle",
    "open_controlled",
    "read",
    "reuploading_step",
    "rotation_step",
    "two_way_step",
    "unroll",
    "without_entanglers",
]
