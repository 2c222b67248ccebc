"""How gradients are estimated: strategies that a layer is given, small enough to read.

For the outputs p (probabilities) of a batch and the gradient ``weights`` = dL/dp that torch hands back,
an estimator returns dL/dangles for the weighted readout f(angles) = sum_t,r weights[t, r] p[t, r] of
every sample.  It may run circuits at other angles; each run is billed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from .checks import check_instance, check_integer, check_real, torch_generator
from .program import StepProgram
from .runner import Circuits

__all__ = ["Autograd", "GradientEstimator", "ParameterShift", "SPSA"]


class GradientEstimator(ABC):
    """Base of all estimators: subclass it, say what it costs and how it estimates."""

    @abstractmethod
    def estimate(self, circuits: Circuits, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """dL/dangles (batch, time, P) for angles (batch, time, P) and weights (batch, time, R)."""

    @abstractmethod
    def circuits(self, program: StepProgram, time_steps: int) -> int:
        """Circuits that one sample's gradient takes."""


class Autograd(GradientEstimator):
    """Exact gradients by torch's own differentiation of the exact backend; no circuits of its own."""

    def estimate(self, circuits, angles, weights):
        raise RuntimeError("Autograd is done by torch itself and never estimates")

    def circuits(self, program, time_steps):
        return 0

    def __repr__(self) -> str:
        return "Autograd()"


class ParameterShift(GradientEstimator):
    """The parameter-shift rule, gate occurrence by gate occurrence, through measurement and reset.

    An angle enters its circuit through one gate, between linear maps of the density matrix (gates,
    measurement with all outcomes kept, reset).  Every probability is therefore the same short
    trigonometric polynomial in it as without them, and f'(theta) = sum_k c_k f(theta + s_k) is exact:
    two terms for a Pauli rotation (Mitarai et al. 2018; Schuld et al. 2019), four for a controlled one
    (Anselmetti et al. 2021).  A Parameter in several gates, or in a linear expression, sums over them.

    ``causal`` drops the outputs before a gate's own step, which do not depend on it, from its estimate:
    nothing changes in the mean, and their shot noise is gone.
    """

    def __init__(self, causal: bool = True):
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"ParameterShift(causal={self.causal})"

    def circuits(self, program, time_steps):
        return time_steps * program.shift_circuits

    def estimate(self, circuits, angles, weights):
        program = circuits.program
        gate_angles = program.gate_angles(angles)
        gate, shift, coefficient = (part.to(angles.device) for part in program.shift_terms)
        shift, coefficient = shift.to(angles.dtype), coefficient.to(angles.dtype)
        gradient = torch.zeros_like(gate_angles)
        for step in range(angles.shape[1] if len(gate) else 0):
            shifted = gate_angles[:, step].repeat(len(gate), 1, 1)
            shifted[torch.arange(len(gate)), :, gate] += shift[:, None]
            first = step if self.causal else 0
            outcomes = circuits.run_replaced(gate_angles, step, shifted, first)
            value = (outcomes * weights[:, first:]).sum((-2, -1))
            gradient[:, step].index_add_(1, gate, (coefficient[:, None] * value).T)
        return gradient @ program.tensors(angles.dtype, angles.device)[0]


class SPSA(GradientEstimator):
    """Simultaneous perturbation of all angles (Spall 1992), averaged over ``directions`` directions.

    g = mean over Delta of [f(theta + c Delta) - f(theta - c Delta)] / (2 c) Delta, with independent signs
    Delta = +-1, fresh for every sample, direction and call.  The bias is O(c**2): each slope is
    attenuated, not tilted at random.  ``causal`` estimates the slopes of step s from the outputs at
    t >= s alone.  ``seed`` is an int, a torch generator or None.
    """

    def __init__(
        self, c: float = 0.1, directions: int = 1, seed: int | torch.Generator | None = None, causal: bool = False
    ):
        self.c = check_real("c", c, minimum=0.0, exclusive=True)
        self.directions = check_integer("directions", directions, minimum=1)
        self.generator = torch_generator(seed)
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"SPSA(c={self.c}, directions={self.directions}, causal={self.causal})"

    def circuits(self, program, time_steps):
        return 2 * self.directions

    def estimate(self, circuits, angles, weights):
        shape = (self.directions, *angles.shape)
        signs = 2 * torch.randint(2, shape, generator=self.generator, device=self.generator.device) - 1
        signs = signs.to(angles)
        both = circuits.run(torch.cat([angles + self.c * signs, angles - self.c * signs]))
        forth, back = both.split(self.directions)
        change = ((forth - back) * weights).sum(-1)
        # change[s]: of all outputs, or of those from step s on
        change = change.flip(-1).cumsum(-1).flip(-1) if self.causal else change.sum(-1, keepdim=True)
        return (change[..., None] * signs).mean(0) / (2 * self.c)
