"""What an estimator of gradients must answer, and what several of them need.

For the outputs p (probabilities) of a batch and the gradient ``weights`` = dL/dp that torch hands back,
an estimator returns dL/dangles for the weighted readout f(angles) = sum_t,r weights[t, r] p[t, r] of
every sample.  It may run circuits at other angles; each run is billed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from ..backends import Executor
from ..checks import check_bytes, shown
from ..simulation import StepProgram


class GradientEstimator(ABC):
    """Base of all estimators: subclass it, say what it costs and how it estimates.

    A torch.Generator that an estimator draws from is its attribute ``generator``: the layer keeps its state.

    ``draws_first`` says that all circuits of an estimate, each as long as the forward pass's, are known from the angles
    and the draws alone, neither from ``weights`` nor from what other circuits answered: then they may go in the
    forward pass's job.
    """

    draws_first: bool = False

    @abstractmethod
    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """dL/dangles (batch, time, P) for angles (batch, time, P) and weights (batch, time, R)."""

    @abstractmethod
    def circuits(self, program: StepProgram, time_steps: int) -> int:
        """Circuits that one sample's gradient takes, at most."""

    def progress(self, fraction: float) -> bool:
        """Told before every update of a training: the spent fraction of its budget, 0 to 1.

        Answers whether an update takes another number of circuits from now on.
        """
        return False

    def __repr__(self) -> str:
        options = [f"{name}={value}" for name, value in vars(self).items() if isinstance(value, int | float)]
        return f"{type(self).__name__}({', '.join(options)})"


def check_variants(name: str, angles: torch.Tensor, count: int, time_steps: int, extra: int = 0) -> None:
    """Refuse so many variants of some steps' angles (batch, ..., K) as do not fit, before they are made.

    ``extra``: numbers of another kind beside the K of each step.
    """
    batch = len(angles)
    needed = 24 * count * batch * time_steps * (angles.shape[2] + extra)
    check_bytes(name, needed, f"{shown(count)} variants of {batch} circuits")


def check_perturbation(name: str, sizes: float | torch.Tensor, angles: torch.Tensor, executor: Executor) -> None:
    """Refuse sizes that rounding swallows, or that swallow the angles: the difference would be a silent zero."""
    dtype = getattr(executor.backend, "dtype", angles.dtype)  # the backend's own, if it computes in another
    unit = torch.finfo(dtype).eps
    least = unit * max([1.0, *angles.detach().abs().amax((0, 1)).tolist()])
    for size in torch.as_tensor(sizes, dtype=torch.float64, device="cpu").unique().tolist():
        if least < size < 1 / unit:
            continue
        allowed = f"more than {least:.1g} (the spacing of numbers at the angles) and less than {1 / unit:.1g}"
        raise ValueError(f"{name} must be {allowed} in {dtype}; got {size:g}")
