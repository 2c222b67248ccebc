"""How gradients are estimated: strategies that a layer is given, small enough to read.

For the outputs p (probabilities) of a batch and the gradient ``weights`` = dL/dp that torch hands back,
an estimator returns dL/dangles for the weighted readout f(angles) = sum_t,r weights[t, r] p[t, r] of
every sample.  It may run circuits at other angles; each run is billed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch

from ..backends import Executor
from ..checks import check_bytes, shown
from ..simulation import StepProgram

__all__ = ["Autograd", "GradientEstimator"]


class GradientEstimator(ABC):
    """Base of all estimators: subclass it, say what it costs and how it estimates."""

    @abstractmethod
    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """dL/dangles (batch, time, P) for angles (batch, time, P) and weights (batch, time, R)."""

    @abstractmethod
    def circuits(self, program: StepProgram, time_steps: int) -> int:
        """Circuits that one sample's gradient takes."""


class Autograd(GradientEstimator):
    """Exact gradients by torch's own differentiation of the exact backend; no circuits of its own."""

    def estimate(self, executor, angles, weights):
        raise RuntimeError("Autograd is done by torch itself and never estimates")

    def circuits(self, program, time_steps):
        return 0

    def __repr__(self) -> str:
        return "Autograd()"


def check_copies(name: str, angles: torch.Tensor, count: int, time_steps: int, more: int = 0) -> None:
    """Refuse so many variants of some steps' angles (batch, ..., K) as do not fit, before they are made; ``more``:
    numbers of another kind beside the K of each step."""
    batch, numbers = len(angles), angles.shape[2] + more
    check_bytes(name, 24 * count * batch * time_steps * numbers, f"{shown(count)} variants of {batch} circuits")


def numbers_of(x: torch.Tensor) -> torch.Tensor:
    """0, 1, 2, ... for the first axis of ``x``, on its device."""
    return torch.arange(len(x), dtype=torch.int64, device=x.device)


def check_move(name: str, move: float, angles: torch.Tensor, executor: Executor) -> None:
    """Refuse a move that rounding swallows, or that swallows the angles: the difference would be a silent zero."""
    dtype = getattr(executor.backend, "dtype", angles.dtype)  # the backend's own, if it computes in another
    unit = torch.finfo(dtype).eps
    least = unit * max([1.0, *angles.detach().abs().amax((0, 1)).tolist()])
    if not least < move < 1 / unit:
        words = f"more than {least:.1g} (the spacing of numbers at the angles) and less than {1 / unit:.1g}"
        raise ValueError(f"{name} must be {words} in {dtype}; got {move:g}")


def signs_of(shape: tuple[int, ...], generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    """Independent signs +-1, for as many directions as the first size says."""
    check_bytes("directions", 40 * math.prod(shape), f"{shown(shape[0])} for angles of shape {shape[1:]}")
    whole = {"dtype": torch.int64, "device": generator.device}
    return (2 * torch.randint(2, shape, generator=generator, **whole) - 1).to(like)


def changes(change: torch.Tensor, causal: bool) -> torch.Tensor:
    """Changes (m, batch, time) of all outputs together or, at place s, of those from step s on:
    (m, batch, time or 1, 1)."""
    change = change.flip(-1).cumsum(-1).flip(-1) if causal else change.sum(-1, keepdim=True)
    return change[..., None]
