"""The parameter-shift rule, f'(theta) = sum_k c_k f(theta + s_k), for all gate angles or for a random few of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from ..backends import Executor
from ..checks import check_bool, check_count, check_integer, torch_generator
from ..simulation import StepProgram, Streams, along, drawn
from ..torch_modes import indices_of
from .base import GradientEstimator, check_variants
from .dead_angles import live_angles, plan_of


class Terms(NamedTuple):
    """Gate, shift s and coefficient c of every term of some gates' shift rules, (K,) each."""

    gate: torch.Tensor
    shift: torch.Tensor
    coefficient: torch.Tensor


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
    angles that provably do nothing, and runs angles with equal slopes once (`live_angles`): without noise, and under
    noise, as far as a backend knows it, in which this is so, too (depolarizing, relaxation around RZ); else refused.

    Variance with N shots a circuit, sigma**2 that of one shot's weighted readout: sum_k c_k**2 sigma**2 / N,
    that is sigma**2 / 2N for two terms and 3 sigma**2 / 8N for four.
    """

    draws_first = True

    def __init__(self, causal: bool = True, prune: bool = False):
        self.causal = check_bool("causal", causal)
        self.prune = check_bool("prune", prune)

    def __repr__(self) -> str:
        return f"ParameterShift(causal={self.causal}{', prune=True' if self.prune else ''})"

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        if not self.prune:
            return time_steps * program.shift_circuits
        return int(live_angles(program, time_steps).live[:, program.shift_terms[0]].sum())

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        program = executor.program
        gate_angles = program.gate_angles(angles)
        readouts = executor.variants(gate_angles, weights, self.causal)
        gradient = torch.zeros_like(gate_angles)
        terms = _terms(program, angles)
        if not self.prune:
            for steps in executor.spans(gate_angles, len(terms.gate)):
                _shift_rule(readouts, gate_angles, steps, terms, gradient)
            return program.vjp(angles, gradient)
        plan = plan_of(executor, angles.shape[1])
        for t, live in enumerate(plan.live.to(angles.device)):
            live_terms = Terms(*(each[live[terms.gate]] for each in terms))
            _shift_rule(readouts, gate_angles, range(t, t + 1), live_terms, gradient)
        return program.vjp(angles, plan.complete(gradient))


class RandomCoordinate(GradientEstimator):
    """The shift rule for a random few of all gate angles, scaled up: unbiased.

    Each sample draws ``coordinates`` of its M = time * G gate angles without repetition, takes their
    slopes by the shift rule and multiplies them by M / coordinates; the others get 0.  With exact
    probabilities the squared error is (M / coordinates - 1) |g|**2 on average.  One coordinate an update
    is random coordinate descent (Ding et al. 2024); all of them are `ParameterShift`.

    ``causal`` as there.  ``seed`` is an int, a torch generator or None.  The number of circuits depends
    on which gates are drawn: `circuits` says the most it can be.
    """

    draws_first = True

    def __init__(self, coordinates: int = 1, seed: int | torch.Generator | None = None, causal: bool = True):
        self.coordinates = check_count("coordinates", coordinates)
        self.generator: torch.Generator | Streams = torch_generator(seed)
        self.causal = check_bool("causal", causal)

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        counts = torch.bincount(program.shift_terms[0], minlength=len(program.occurrences)).repeat(time_steps)
        return int(counts.sort(descending=True).values[: self.coordinates].sum())

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        program = executor.program
        gate_angles = program.gate_angles(angles)
        time_steps, gates = gate_angles.shape[1:]
        if not gates:
            return torch.zeros_like(angles)
        check_variants("coordinates", gate_angles, self.circuits(program, time_steps), time_steps)
        places, factors = self._places(executor, gate_angles)
        slopes = self._slopes(executor, gate_angles, weights, places)
        gradient = torch.zeros_like(gate_angles).flatten(1).scatter_add(1, places, factors * slopes)
        return program.vjp(angles, self._complete(executor, gradient.view_as(gate_angles)))

    def _places(self, executor: Executor, gate_angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of the drawn gate angles, and what their slopes are multiplied by, (batch, coordinates) each."""
        total = gate_angles[0].numel()
        places = self._draw(len(gate_angles), total).to(gate_angles.device)
        return places, torch.full_like(places, total, dtype=gate_angles.dtype) / self.coordinates

    def _slopes(
        self, executor: Executor, gate_angles: torch.Tensor, weights: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        """The slopes (batch, coordinates) at these places by the shift rule."""
        gates = gate_angles.shape[2]
        terms = _terms(executor.program, gate_angles)
        # One circuit for each term of each drawn gate: which sample, which draw, which term.
        sample, draw, term = (places[..., None] % gates == terms.gate).nonzero(as_tuple=True)
        place = places[sample, draw]
        shifted = gate_angles[sample]
        shifted.flatten(1)[indices_of(place), place] += terms.shift[term]
        weights = weights[sample]
        if self.causal:
            weights = weights * (indices_of(gate_angles[0]) >= (place // gates)[:, None])[..., None]
        values = executor.of_samples(sample).sums(shifted, weights)
        slopes = torch.zeros_like(places, dtype=gate_angles.dtype)
        return slopes.index_put_((sample, draw), terms.coefficient[term] * values, accumulate=True)

    def _complete(self, executor: Executor, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient (batch, time, G) from that along the gate angles which can be drawn: here all."""
        return gradient

    def _draw(self, batch: int, total: int) -> torch.Tensor:
        """Numbers of the drawn gate angles (batch, coordinates), none twice in a row."""
        check_integer("coordinates", self.coordinates, maximum=total)
        keys = drawn(torch.rand, (batch, total), self.generator, batch=batch)
        return keys.argsort(1)[:, : self.coordinates]


def _terms(program: StepProgram, like: torch.Tensor) -> Terms:
    """Of all gates, on the device of ``like``."""
    gate, shift, coefficient = program.shift_terms
    return Terms(gate.to(like.device), shift.to(like), coefficient.to(like))


def _shift_rule(
    readouts: Callable[[range, torch.Tensor], torch.Tensor],
    gate_angles: torch.Tensor,
    steps: range,
    terms: Terms,
    gradient: torch.Tensor,
) -> None:
    """Add the terms of some steps to the ``gradient`` (batch, time, G) along their gate angles."""
    count = len(terms.gate)
    if not count:
        return
    check_variants("angles", gate_angles, count, len(steps))
    shifted = along(gate_angles, steps).repeat(count, 1, 1)
    shifted[indices_of(terms.gate), :, terms.gate] += terms.shift[:, None]
    values = terms.coefficient[:, None] * readouts(steps, shifted)
    by_step = values.unflatten(1, (len(steps), -1)).permute(2, 1, 0)
    gradient[:, steps.start : steps.stop].index_add_(2, terms.gate, by_step)
