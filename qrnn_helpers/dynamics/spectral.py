"""Periodic grids: their points and wavenumbers, and flows of fields on them."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ..checks import check_integer, check_positive
from .flow import Flow, digits

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


class PeriodicFlow(Flow):
    """Fields of zero mean on a periodic grid of `points` along each side of `length`, in Fourier space."""

    subspace = "fields of zero mean"
    method = "ETDRK4, 2/3 dealiasing"
    most_points: int
    """Along a side."""

    def __init__(self, length: float, points: int, step: float):
        self.length = check_positive("length", length)
        self.points = check_points(points, self.length, self.most_points)
        self.step = check_positive("step", step)
        self.shape = (self.points,) * len(self.dims)
        self.resolution = f"points={self.points}"

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(length={digits(self.length)}, points={self.points}, step={digits(self.step)})"

    @property
    @abstractmethod
    def kept(self) -> np.ndarray:
        """Which waves of `encode` move: not the mean, and none beyond the 2/3 rule."""

    @property
    def parameters(self) -> dict[str, float]:
        return {"length": self.length, "points": self.points}

    @property
    def coordinates(self) -> dict[str, np.ndarray]:
        side = np.arange(self.points) * (self.length / self.points)
        return {name: side for name in self.dims}

    def project(self, vectors: np.ndarray) -> np.ndarray:
        return self.decode(np.where(self.kept, self.encode(vectors), 0))
