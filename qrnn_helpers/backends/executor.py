"""The circuits of one layer call: run in portions that fit, every run billed."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import shown
from ..simulation import StepProgram, Streams
from .base import Answer, Backend, Variants, one_step_at_a_time, with_step
from .cost import CostLedger
from .transpiled import depth_and_two_qubit_gates, figures_if_known

CHUNK_BYTES = 2**28
"""Bytes that the Kraus operators of one run of a simulator would take, at most; more circuits go in several runs."""


class Ran(NamedTuple):
    """Which circuit was run, and its figures if it was transpiled for that; else they wait until someone asks."""

    backend: Backend
    program: StepProgram
    time_steps: int
    known: tuple[int, int] | None

    def figures(self) -> tuple[int, int]:
        """Depth and number of two-qubit gates, as transpiled."""
        return self.known or depth_and_two_qubit_gates(self.backend.device_circuit(self.program, self.time_steps))


class Executor:
    """The circuits of one layer call, ready to be run at other angles.

    A backend with a ``max_circuits`` is handed so many circuits a run at most, whatever sample or variant
    they belong to: on a sampler one run is one job.  On the others a run holds whole batches, as many as
    fit CHUNK_BYTES.  Each finished run is billed at once: if a later one fails, its error goes on, the
    ledger shows what has run, and the call can be repeated from its start.
    """

    def __init__(
        self,
        program: StepProgram,
        backend: Backend,
        cost: CostLedger,
        state: Tensor | None,
        runs: Tensor | None = None,
    ):
        self.program = program
        self.backend = backend
        self.cost = cost
        self.state = state
        self.runs = runs
        """Of each sample, where the backend draws from `Streams`."""
        # torch runs the backward pass of a GPU in a thread of its own, which knows no scope.
        self.thread = threading.get_ident()
        self.innermost = cost.innermost()

    def forward(self, angles: Tensor) -> Answer:
        """Angles (batch, time, P) -> probabilities (batch, time, R) and the final memory state."""
        probabilities, states = zip(*self._answers(self.program.gate_angles(angles)))
        return torch.cat(probabilities), None if states[0] is None else torch.cat(states)

    def run(self, angles: Tensor) -> Tensor:
        """Angles (..., batch, time, P) -> probabilities (..., batch, time, R)."""
        return self.run_gates(self.program.gate_angles(angles))

    def run_gates(self, gate_angles: Tensor) -> Tensor:
        """The same from the angle of every gate, (..., batch, time, G)."""
        probabilities = torch.cat([part for part, _ in self._answers(gate_angles)])
        return probabilities.reshape(*gate_angles.shape[:-1], -1)

    def of_samples(self, samples: Tensor) -> Executor:
        """The same for a batch put together from these samples, (N,) numbers, repeated ones too."""
        twin = self.from_state(self._state_of(samples))
        twin.runs = None if self.runs is None else self.runs[samples.cpu()]
        return twin

    def from_state(self, state: Tensor | None) -> Executor:
        """The same from another memory state."""
        twin = copy.copy(self)
        twin.state = state
        return twin

    def values(self, gate_angles: Tensor, weights: Tensor) -> Tensor:
        """Weighted readouts (..., batch, time) of gate angles (..., batch, time, G); weights (batch, time, R)."""
        return self._weighted(self.backend.values, gate_angles, weights).reshape(gate_angles.shape[:-1])

    def sums(self, gate_angles: Tensor, weights: Tensor) -> Tensor:
        """The same summed over time, (..., batch)."""
        return self._weighted(self.backend.sums, gate_angles, weights).reshape(gate_angles.shape[:-2])

    def _weighted(self, ask: Callable[..., Tensor], gate_angles: Tensor, weights: Tensor) -> Tensor:
        """What a backend's ``values`` or ``sums`` answers, circuit after circuit."""
        parts = []
        for circuits, samples in self._portions(gate_angles):
            start = time.perf_counter()
            state = self._state_of(samples)
            self._draw_for(samples)
            parts.append(ask(self.program, circuits, weights[samples], state))
            self._bill(len(circuits), circuits.shape[1], start)
        return torch.cat(parts)

    def variants(self, gate_angles: Tensor, weights: Tensor, causal: bool) -> Variants:
        """A function (steps, replaced) -> weighted readouts (K, S * batch), summed over time (``causal``: from that
        step on), of circuits with the gate angles of one of the S steps replaced by (K, S * batch, G)."""
        if self.backend.max_circuits:  # nothing to share between variants: plain circuits, every job full
            return self._plain_variants(gate_angles, weights, causal)
        at = self.backend.variants(self.program, gate_angles, weights, self.state, causal=causal)
        return partial(self._billed_variants, at, gate_angles)

    def _billed_variants(self, at: Variants, gate_angles: Tensor, step: int | range, replaced: Tensor) -> Tensor:
        jobs = len(step) if isinstance(step, range) else 1
        parts = []
        for part in replaced.split(self._copies_that_fit(gate_angles)):
            start = time.perf_counter()
            self._draw_for(_samples(len(part) * len(gate_angles), len(gate_angles), part.device))
            parts.append(at(step, part))
            self._bill(part.shape[:-1].numel(), gate_angles.shape[1], start, jobs)
        return torch.cat(parts)

    def _plain_variants(self, gate_angles: Tensor, weights: Tensor, causal: bool) -> Variants:
        @one_step_at_a_time
        def at(step: int, replaced: Tensor) -> Tensor:
            values = self.values(with_step(gate_angles, step, replaced), weights)
            return values[..., step if causal else 0 :].sum(-1)

        return at

    def spans(self, gate_angles: Tensor, variants: int) -> Iterator[range]:
        """Ranges of steps whose variants, so many for each step, are run together: where isometries are small, calls
        take longer than the work.  (A portion of isometries at two numbers for one: measured to be about the best.)"""
        batch, time_steps = gate_angles.shape[:2]
        in_portion = self.program.contraction.portion(gate_angles) // max(1, batch * variants)
        in_chunk = self._copies_that_fit(gate_angles) // max(1, variants)
        together = max(1, min(in_portion, in_chunk))
        for first in range(0, time_steps, together):
            yield range(first, min(first + together, time_steps))

    def _copies_that_fit(self, gate_angles: Tensor) -> int:
        """How many copies of the batch fit CHUNK_BYTES of Kraus operators."""
        batch, time_steps = gate_angles.shape[-3:-1]
        kraus = 16 * batch * time_steps * 2 ** (self.program.readout + 2 * self.program.memory)
        return max(1, CHUNK_BYTES // kraus)

    def _portions(self, gate_angles: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Circuits (N, time, G) to be run together, and which sample of the batch (N,) each is a copy of."""
        batch = gate_angles.shape[-3]
        circuits = gate_angles.flatten(0, -3)
        samples = _samples(len(circuits), batch, circuits.device)
        size = self.backend.circuits_a_job(self.program, gate_angles.shape[-2]) or batch * self._copies_that_fit(
            gate_angles
        )
        return zip(circuits.split(size), samples.split(size))

    def _answers(self, gate_angles: Tensor) -> Iterator[Answer]:
        """What the backend answers to every portion."""
        for circuits, samples in self._portions(gate_angles):
            start = time.perf_counter()
            self._draw_for(samples)
            answer = self.backend.run(self.program, circuits, self._state_of(samples))
            self._bill(len(circuits), circuits.shape[1], start)
            yield _checked(answer, (*circuits.shape[:2], 2**self.program.readout))

    def _draw_for(self, samples: Tensor) -> None:
        """Say which runs' circuits the backend draws for next."""
        generator = getattr(self.backend, "generator", None)
        if self.runs is not None and isinstance(generator, Streams):
            generator.rows = self.runs[samples.cpu()]

    def _state_of(self, samples: Tensor) -> Tensor | None:
        return None if self.state is None else self.state[samples]

    def _bill(self, circuits: int, time_steps: int, start: float, jobs: int = 1) -> None:
        """Book a finished run: one that failed has cost nothing we know of."""
        seconds = time.perf_counter() - start
        known = figures_if_known(self.program, time_steps, self.backend.pass_manager)
        ran = Ran(self.backend, self.program, time_steps, known)
        cost = self.cost if threading.get_ident() == self.thread else self.innermost
        cost.record(circuits, circuits * self.backend.shots, jobs, seconds, ran)


def _samples(circuits: int, batch: int, device: torch.device) -> Tensor:
    """The sample that each of so many circuits is a copy of."""
    return torch.arange(circuits, dtype=torch.int64, device=device) % batch


def _checked(answer: object, shape: tuple[int, ...]) -> Answer:
    """What a backend has answered, if it is what `Backend.run` promises: a reader's own may answer anything."""
    words = f"backend must answer probabilities, a tensor of shape {shape}, and a state or None"
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], Tensor)):
        raise TypeError(f"{words}; got {shown(answer)}")
    probabilities, state = answer
    if probabilities.shape != shape or not probabilities.is_floating_point() or probabilities.isnan().any():
        got = f"{probabilities.dtype} of shape {tuple(probabilities.shape)}"
        raise ValueError(f"{words}, none NaN; got {got}")
    return probabilities, state
