"""The chaotic systems: equations, solvers, exponents and the stored data sets.

A system is a file of its own: a subclass of `Flow` (of `PeriodicFlow` in `spectral` for fields on a periodic grid) that
answers `random_starts`, `one_step` and its names; a function that calls its `trajectories` hands on the samples.
`sample`, `lyapunov_exponents` and the stored data sets then take it as they take the others.
"""

from .datasets import (
    DATASETS,
    check_dataset,
    ks2d22,
    ks22,
    ks22_long,
    lorenz_series,
    make_dataset,
    write_dataset,
)
from .etdrk import etdrk4
from .flow import Flow, sample
from .ks_1d import KS1D, ks1d
from .ks_2d import KS2D, ks2d, symmetrised
from .lorenz63 import Lorenz, lorenz
from .lyapunov import as_dataset, kaplan_yorke, lyapunov_exponents

__all__ = [
    "DATASETS",
    "Flow",
    "KS1D",
    "KS2D",
    "Lorenz",
    "as_dataset",
    "check_dataset",
    "etdrk4",
    "kaplan_yorke",
    "ks1d",
    "ks22",
    "ks22_long",
    "ks2d",
    "ks2d22",
    "lorenz",
    "lorenz_series",
    "lyapunov_exponents",
    "make_dataset",
    "sample",
    "symmetrised",
    "write_dataset",
]
