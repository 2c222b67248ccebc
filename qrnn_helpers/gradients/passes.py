"""Forward and backward pass of one call, as one job where the gradient's circuits are known before any outcome."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..backends import Answer, Backend, CostLedger, Executor
from ..simulation import StepProgram, Streams
from .base import GradientEstimator

Ask = Callable[[Any, Executor, torch.Tensor], torch.Tensor]
"""(estimator, executor, weights) -> the estimator's gradient."""


def in_one_job(backend: Backend, gradient: GradientEstimator) -> bool:
    """Whether the circuits of a gradient go in the forward pass's job."""
    several_runs = isinstance(getattr(gradient, "generator", None), Streams)
    return backend.one_job and gradient.draws_first and not several_runs


class Passes:
    """The circuits of one call: those of its forward pass, and those that its gradient is estimated from.

    Apart, the estimator runs its circuits in the backward pass.  ``together``, the forward pass asks the estimator
    for them beforehand, with draws that are made there, and runs them in the same jobs.  The backward pass makes the
    same draws and the same requests, and gets the outcomes that lie ready; weights dL/dp, which only it knows, are
    applied to them classically.  A request that was not foreseen is run then, and billed.

    Of a forward pass that fails nothing is left, and no draw is used up: the same call asks for the same circuits.
    """

    def __init__(self, executor: Executor, gradient: GradientEstimator, together: bool):
        self.executor, self.gradient, self.together = executor, gradient, together

    def forward(self, angles: torch.Tensor, ask: Ask) -> Answer:
        """Angles (batch, time, P) -> what `Executor.forward` answers."""
        if not self.together:
            return self.executor.forward(angles)
        program = self.executor.program
        twin = copy.deepcopy(self.gradient)
        circuits = _asked(twin, program, angles, ask)
        self.start = _state_of(self.gradient)
        with _drawn_as(self.gradient, self.start, _state_of(twin)):
            found = self.executor.run_gates(torch.cat([program.gate_angles(angles), circuits]))
        self.ready = Ready(self.executor, circuits, found[len(angles) :])
        return found[: len(angles)], None

    def backward(self, weights: torch.Tensor, ask: Ask, state: torch.Tensor | None = None) -> torch.Tensor:
        """The gradient for weights dL/dp (batch, time, 2**readout), from the memory state of the forward pass."""
        if not self.together:
            return ask(self.gradient, self.executor.from_state(state), weights)
        now = _state_of(self.gradient)
        _set_state(self.gradient, self.start)
        try:
            return ask(self.gradient, _executor(self.executor.program, self.ready), weights)
        finally:
            _set_state(self.gradient, now)


class Asked(Backend):
    """Keeps the circuits that it is asked for; its answers mean nothing."""

    max_circuits = 2**62  # circuits one by one, as on a device, and never split

    def __init__(self) -> None:
        self.circuits: list[torch.Tensor] = []

    def run(self, program: StepProgram, gate_angles: torch.Tensor, state: torch.Tensor | None = None) -> Answer:
        self.circuits.append(gate_angles)
        outcomes = 2**program.readout
        return gate_angles.new_full((*gate_angles.shape[:2], outcomes), 1 / outcomes), None


class Ready(Backend):
    """Answers the circuits whose outcomes lie ready, in their order and once; runs all others."""

    max_circuits = Asked.max_circuits

    def __init__(self, executor: Executor, circuits: torch.Tensor, outcomes: torch.Tensor):
        self.executor, self.circuits, self.outcomes = executor, circuits, outcomes

    def run(self, program: StepProgram, gate_angles: torch.Tensor, state: torch.Tensor | None = None) -> Answer:
        count = len(gate_angles)
        if not torch.equal(self.circuits[:count], gate_angles):
            return self.executor.run_gates(gate_angles), None
        found, self.outcomes = self.outcomes[:count], self.outcomes[count:]
        self.circuits = self.circuits[count:]
        return found, None


def _asked(gradient: GradientEstimator, program: StepProgram, angles: torch.Tensor, ask: Ask) -> torch.Tensor:
    """The gate angles (N, time, G) of the circuits that an estimator asks for, whatever the weights."""
    asked = Asked()
    weights = angles.new_ones(*angles.shape[:2], 2**program.readout)
    ask(gradient, _executor(program, asked), weights)
    return torch.cat([program.gate_angles(angles[:0]), *asked.circuits])


def _executor(program: StepProgram, backend: Backend) -> Executor:
    """One whose circuits are billed elsewhere."""
    return Executor(program, backend, CostLedger(), None)


@contextmanager
def _drawn_as(gradient: GradientEstimator, before: torch.Tensor | None, after: torch.Tensor | None) -> Iterator[None]:
    """Count some draws as made, unless the block fails."""
    _set_state(gradient, after)
    try:
        yield
    except BaseException:
        _set_state(gradient, before)
        raise


def _state_of(gradient: GradientEstimator) -> torch.Tensor | None:
    generator = getattr(gradient, "generator", None)
    return generator.get_state() if isinstance(generator, torch.Generator) else None


def _set_state(gradient: GradientEstimator, state: torch.Tensor | None) -> None:
    if state is not None:
        gradient.generator.set_state(state)  # type: ignore[attr-defined]
