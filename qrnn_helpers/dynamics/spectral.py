"""Periodic grids: their points and wavenumbers."""

from __future__ import annotations

import numpy as np

from ..checks import check_integer

FINEST = 1e50  # points for each unit of length: fourth powers of wavenumbers stay finite

COARSEST = 0.8  # grid spacing: the energy at length 22 is right at 0.79, 3 % off at 0.92


def wavenumbers(length: float, points: int) -> np.ndarray:
    """Angular wavenumbers k = 2 pi n / length of `numpy.fft.rfft`, (points // 2 + 1,)."""
    return 2 * np.pi / length * np.arange(points // 2 + 1)


def check_points(points: object, length: float, most: int) -> int:
    """An even number of points along a side, fine enough that some waves are damped."""
    number = check_integer("points", points, minimum=16, maximum=most)
    if number % 2:
        raise ValueError(f"points must be even; got {number}")
    if length / number > COARSEST:
        raise ValueError(
            f"points must be at least {np.ceil(length / COARSEST):g} for length={length:g}: "
            f"a spacing of at most {COARSEST:g}, or the damped waves are missing; got {number}"
        )
    if number / length > FINEST:
        raise ValueError(f"length must be at least {number / FINEST:g} for points={number}; got {length:g}")
    return number
