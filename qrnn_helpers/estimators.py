"""How gradients are estimated: strategies that a layer is given, small enough to read.

For the outputs p (probabilities) of a batch and the gradient ``weights`` = dL/dp that torch hands back,
an estimator returns dL/dangles for the weighted readout f(angles) = sum_t,r weights[t, r] p[t, r] of
every sample.  It may run circuits at other angles; each run is billed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch

from .checks import check_instance, check_integer, check_real, shown, torch_generator
from .limits import check_bytes
from .program import StepProgram
from .pruning import live_angles
from .readouts import along
from .runner import Circuits

__all__ = [
    "Autograd",
    "DirectionalShift",
    "FiniteDifference",
    "GradientEstimator",
    "ParameterShift",
    "RandomCoordinate",
    "SPSA",
]


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
    (Anselmetti et al. 2021).  A Parameter in several gates, or in an expression, sums over them.

    Noise around a gate is one more linear map and harms nothing.  Noise *inside* a gate that a device runs as
    several can add frequencies that the rule does not know: shift the gates that are run (`open_controlled`).

    ``causal`` drops the outputs before a gate's own step, which do not depend on it, from its estimate:
    nothing changes in the mean, and their shot noise is gone.  ``prune`` leaves out the circuits of
    angles that provably do nothing, and runs angles with equal slopes once (`live_angles`).

    Variance with N shots a circuit, sigma**2 that of one shot's weighted readout: sum_k c_k**2 sigma**2 / N,
    that is sigma**2 / 2N for two terms and 3 sigma**2 / 8N for four.
    """

    def __init__(self, causal: bool = True, prune: bool = False):
        self.causal = check_instance("causal", causal, bool, "True or False")
        self.prune = check_instance("prune", prune, bool, "True or False")

    def __repr__(self) -> str:
        return f"ParameterShift(causal={self.causal}{', prune=True' if self.prune else ''})"

    def circuits(self, program, time_steps):
        if not self.prune:
            return time_steps * program.shift_circuits
        return int(live_angles(program, time_steps).live[:, program.shift_terms[0]].sum())

    def estimate(self, circuits, angles, weights):
        program, time_steps, count = circuits.program, angles.shape[1], circuits.program.shift_circuits
        gate_angles = program.gate_angles(angles)
        plan = live_angles(program, time_steps, circuits.state is None) if self.prune else None
        readouts = circuits.variants(gate_angles, weights, self.causal)
        slopes = torch.zeros_like(gate_angles)
        spans = [range(t, t + 1) for t in range(time_steps)] if self.prune else circuits.spans(gate_angles, count)
        for steps in spans:
            gate, shift, coefficient = _terms(program, angles, plan.live[steps.start] if self.prune else None)
            if not len(gate):
                continue
            check_copies("angles", gate_angles, len(gate), len(steps))
            shifted = along(gate_angles, steps).repeat(len(gate), 1, 1)
            shifted[_numbers(gate), :, gate] += shift[:, None]
            value = (coefficient[:, None] * readouts(steps, shifted)).unflatten(1, (len(steps), -1))
            slopes[:, steps.start : steps.stop].index_add_(2, gate, value.permute(2, 1, 0))
        return program.pull_back(angles, plan.complete(slopes) if self.prune else slopes)


class RandomCoordinate(GradientEstimator):
    """The shift rule for a random few of all gate angles, scaled up: unbiased.

    Each sample draws ``coordinates`` of its M = time * G gate angles without repetition, takes their
    slopes by the shift rule and multiplies them by M / coordinates; the others get 0.  With exact
    probabilities the squared error is (M / coordinates - 1) |g|**2 on average.  One coordinate an update
    is random coordinate descent (Ding et al. 2024); all of them are `ParameterShift`.

    ``causal`` as there.  ``seed`` is an int, a torch generator or None.  The number of circuits depends
    on which gates are drawn: `circuits` says the most it can be.
    """

    def __init__(self, coordinates: int = 1, seed: int | torch.Generator | None = None, causal: bool = True):
        self.coordinates = check_integer("coordinates", coordinates, minimum=1)
        self.generator = torch_generator(seed)
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"RandomCoordinate(coordinates={self.coordinates}, causal={self.causal})"

    def circuits(self, program, time_steps):
        counts = torch.bincount(program.shift_terms[0], minlength=len(program.occurrences)).repeat(time_steps)
        return int(counts.sort(descending=True).values[: self.coordinates].sum())

    def estimate(self, circuits, angles, weights):
        program, (batch, time_steps, _) = circuits.program, angles.shape
        gate_angles, gates = program.gate_angles(angles), len(program.occurrences)
        if not gates:
            return torch.zeros_like(angles)
        check_copies("coordinates", gate_angles, self.circuits(program, time_steps), time_steps)
        drawn = self._draw(batch, time_steps * gates).to(angles.device)
        gate, shift, coefficient = _terms(program, angles)
        # One row for each term of each drawn gate: which sample, which draw, which term.
        sample, draw, term = (drawn[..., None] % gates == gate).nonzero(as_tuple=True)
        place = drawn[sample, draw]
        rows = gate_angles[sample]
        rows.flatten(1)[_numbers(place), place] += shift[term]
        first = place // gates if self.causal else torch.zeros_like(place)
        seen = _numbers(angles[0]) >= first[:, None]
        value = (circuits.of_samples(sample).values(rows, weights[sample]) * seen).sum(-1)
        slopes = torch.zeros_like(gate_angles)
        slopes.flatten(1).index_put_((sample, place), coefficient[term] * value, accumulate=True)
        return program.pull_back(angles, slopes * (time_steps * gates / self.coordinates))

    def _draw(self, batch: int, total: int) -> torch.Tensor:
        """Numbers of the drawn gate angles (batch, coordinates), none twice in a row."""
        check_integer("coordinates", self.coordinates, maximum=total)
        real = {"dtype": torch.float64, "device": self.generator.device}
        order = torch.rand(batch, total, generator=self.generator, **real).argsort(1)
        return order[:, : self.coordinates]


class FiniteDifference(GradientEstimator):
    """Central differences, angle by angle: g = [f(theta + h) - f(theta - h)] / 2h.

    Two circuits for each angle of each step, whatever gates it enters.  The bias is -h**2 / 6 times the
    third derivative, the variance with N shots sigma**2 / (2 N h**2): for Pauli rotations the error is
    least at h = (9 sigma**2 / (N g**2))**(1/6), of the order of a radian.  ``causal`` leaves the outputs
    before an angle's own step out of its estimate.
    """

    def __init__(self, h: float = 0.1, causal: bool = False):
        self.h = check_real("h", h, minimum=0.0, exclusive=True)
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"FiniteDifference(h={self.h}, causal={self.causal})"

    def circuits(self, program, time_steps):
        return 2 * time_steps * len(program.parameters)

    def estimate(self, circuits, angles, weights):
        program, count = circuits.program, angles.shape[2]
        gate_angles = program.gate_angles(angles)
        check_move("h", self.h, angles, circuits)
        moves = self.h * torch.eye(count, dtype=angles.dtype, device=angles.device)[:, None]
        readouts = circuits.variants(gate_angles, weights, self.causal)
        gradient = torch.zeros_like(angles)
        for steps in circuits.spans(gate_angles, 2 * count) if count else ():
            check_copies("angles", gate_angles, 2 * count, len(steps), count)
            here = along(angles, steps)
            replaced = program.gate_angles(torch.cat([here + moves, here - moves]))
            forth, back = readouts(steps, replaced).unflatten(1, (len(steps), -1)).split(count)
            gradient[:, steps.start : steps.stop] = (forth - back).permute(2, 1, 0) / (2 * self.h)
        return gradient


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
        check_move("c", self.c, angles, circuits)
        check_copies("directions", angles, 2 * self.directions, angles.shape[1], len(circuits.program.occurrences))
        signs = _signs((self.directions, *angles.shape), self.generator, angles)
        both = circuits.program.gate_angles(torch.cat([angles + self.c * signs, angles - self.c * signs]))
        forth, back = circuits.values(both, weights).split(self.directions)
        change = _changes(forth - back, self.causal)
        return (change * signs).mean(0) / (2 * self.c)


class DirectionalShift(GradientEstimator):
    """Slopes along random directions of all gate angles, by the shift rule: SPSA without its bias.

    Along a direction Delta of signs, s -> f(theta + s Delta) holds frequencies up to B, the sum of every
    gate's highest.  Riesz's interpolation formula gives its slope exactly,

        f'(0) = B / 2 sum_k P(k) (-1)**k [f(x_k) - f(-x_k)],  x_k = (2k + 1) pi / 2B,  P(k) = 8 / (pi (2k + 1))**2,

    and P sums to 1: one pair of circuits at a drawn k is an unbiased estimate, as when the terms of a
    shift rule are drawn (Sweke et al. 2020).  Then g = mean over Delta of f'(0) Delta, as in SPSA.  It
    works for gates that have no shift rule, too.

    The price: with N shots the variance of a slope is B**2 sigma**2 / 2N, where SPSA has
    sigma**2 / (2 N c**2); B is about the number of gate angles.  ``seed`` is an int, a torch generator
    or None; ``causal`` as in `SPSA`.
    """

    def __init__(self, directions: int = 1, seed: int | torch.Generator | None = None, causal: bool = False):
        self.directions = check_integer("directions", directions, minimum=1)
        self.generator = torch_generator(seed)
        self.causal = check_instance("causal", causal, bool, "True or False")

    def __repr__(self) -> str:
        return f"DirectionalShift(directions={self.directions}, causal={self.causal})"

    def circuits(self, program, time_steps):
        return 2 * self.directions

    def estimate(self, circuits, angles, weights):
        program = circuits.program
        gate_angles = program.gate_angles(angles)
        band = angles.shape[1] * sum(np.ptp(op.family.eigenvalues) for op in program.occurrences)
        if not band:  # no angle moves anything
            return torch.zeros_like(angles)
        check_copies("directions", gate_angles, 2 * self.directions, angles.shape[1])
        signs = _signs((self.directions, *gate_angles.shape), self.generator, angles)
        node = _riesz_nodes(signs.shape[:2], self.generator).to(angles)[..., None, None]
        moves = (2 * node + 1) * torch.pi / (2 * band) * signs
        both = program.reduced(torch.cat([gate_angles + moves, gate_angles - moves]))
        forth, back = circuits.values(both, weights).split(self.directions)
        change = _changes(forth - back, self.causal) * (1 - 2 * (node % 2))
        return program.pull_back(angles, (band / 2 * change * signs).mean(0))


def _terms(program: StepProgram, like: torch.Tensor, live: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
    """Gate, shift and coefficient of every term of the (live) gates' shift rules, on the device of ``like``."""
    gate, shift, coefficient = program.shift_terms
    chosen = slice(None) if live is None else live[gate]
    return gate[chosen].to(like.device), shift[chosen].to(like), coefficient[chosen].to(like)


def check_copies(name: str, angles: torch.Tensor, count: int, time_steps: int, more: int = 0) -> None:
    """Refuse so many variants of some steps' angles (batch, ..., K) as do not fit, before they are made; ``more``:
    numbers of another kind beside the K of each step."""
    batch, numbers = len(angles), angles.shape[2] + more
    check_bytes(name, 24 * count * batch * time_steps * numbers, f"{shown(count)} variants of {batch} circuits")


def _numbers(x: torch.Tensor) -> torch.Tensor:
    """0, 1, 2, ... for the first axis of ``x``, on its device."""
    return torch.arange(len(x), dtype=torch.int64, device=x.device)


def check_move(name: str, move: float, angles: torch.Tensor, circuits: Circuits) -> None:
    """Refuse a move that rounding swallows, or that swallows the angles: the difference would be a silent zero."""
    dtype = getattr(circuits.backend, "dtype", angles.dtype)  # the backend's own, if it computes in another
    unit = torch.finfo(dtype).eps
    least = unit * max([1.0, *angles.detach().abs().amax((0, 1)).tolist()])
    if not least < move < 1 / unit:
        words = f"more than {least:.1g} (the spacing of numbers at the angles) and less than {1 / unit:.1g}"
        raise ValueError(f"{name} must be {words} in {dtype}; got {move:g}")


def _signs(shape: tuple[int, ...], generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    """Independent signs +-1, for as many directions as the first size says."""
    check_bytes("directions", 40 * math.prod(shape), f"{shown(shape[0])} for angles of shape {shape[1:]}")
    whole = {"dtype": torch.int64, "device": generator.device}
    return (2 * torch.randint(2, shape, generator=generator, **whole) - 1).to(like)


def _changes(change: torch.Tensor, causal: bool) -> torch.Tensor:
    """Changes (m, batch, time) of all outputs together or, at place s, of those from step s on:
    (m, batch, time or 1, 1)."""
    change = change.flip(-1).cumsum(-1).flip(-1) if causal else change.sum(-1, keepdim=True)
    return change[..., None]


def _riesz_nodes(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Whole numbers k >= 0 with probability 8 / (pi (2k + 1))**2.

    The tail P(k >= n) is 2 / pi**2 times the trigamma function at n + 1/2; a uniform number is looked
    up in it by bisection.
    """
    tail = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    low = torch.zeros_like(tail)
    high = torch.full_like(tail, 2.0**48)
    while (high - low).max() > 1:
        middle = ((low + high) / 2).floor()
        beyond = 2 / torch.pi**2 * torch.special.polygamma(1, middle + 0.5) > tail
        low, high = torch.where(beyond, middle, low), torch.where(beyond, high, middle)
    return low
