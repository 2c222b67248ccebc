"""The circuits of one layer call: run in portions that fit, every run billed."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch

from ..checks import shown
from ..simulation import StepProgram
from .base import Backend, each_step, figures
from .cost import CostLedger

__all__ = ["Executor"]


CHUNK_BYTES = 2**28
"""Bytes of Kraus operators that one run of a simulator may hold; more circuits go in several runs."""


class Ran(NamedTuple):
    """Which circuit was run, and its figures if it was transpiled for that; else they wait until someone asks."""

    backend: Backend
    program: StepProgram
    time_steps: int
    known: tuple[int, int] | None

    def figures(self) -> tuple[int, int]:
        """Depth and number of two-qubit gates, as transpiled."""
        return self.known or figures(self.backend.device_circuit(self.program, self.time_steps))


class Executor:
    """The circuits of one layer call, ready to be run at other angles.

    A backend with a ``max_circuits`` is handed so many circuits a run at most, whatever sample or variant
    they belong to: on a sampler one run is one job.  On the others a run holds whole batches, as many as
    fit CHUNK_BYTES.  Each finished run is billed at once: if a later one fails, its error goes on, the
    ledger shows what has run, and the call can be repeated from its start.
    """

    def __init__(self, program: StepProgram, backend: Backend, cost: CostLedger, state: torch.Tensor | None):
        self.program, self.backend, self.cost, self.state = program, backend, cost, state
        # torch runs the backward pass of a GPU in a thread of its own, which knows no scope.
        self.thread, self.innermost = threading.get_ident(), cost.innermost()

    def forward(self, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Angles (batch, time, P) -> probabilities (batch, time, R) and the final memory state."""
        rows = self.program.gate_angles(angles)
        probabilities, states = zip(*self._portions(rows, self.backend.max_circuits or len(rows)))
        return torch.cat(probabilities), None if states[0] is None else torch.cat(states)

    def run(self, angles: torch.Tensor) -> torch.Tensor:
        """Angles (..., batch, time, P) -> probabilities (..., batch, time, R)."""
        return self.run_gates(self.program.gate_angles(angles))

    def run_gates(self, gate_angles: torch.Tensor) -> torch.Tensor:
        """The same from the angle of every gate, (..., batch, time, G)."""
        rows, batch = gate_angles.flatten(0, -3), gate_angles.shape[-3]
        size = self.backend.max_circuits or batch * self._variants(gate_angles)
        probabilities = torch.cat([part for part, _ in self._portions(rows, size)])
        return probabilities.reshape(*gate_angles.shape[:-1], -1)

    def of_samples(self, samples: torch.Tensor) -> Executor:
        """The same for a batch put together from these samples, (N,) numbers, repeated ones too."""
        return self.from_state(None if self.state is None else self.state[samples])

    def from_state(self, state: torch.Tensor | None) -> Executor:
        """The same from another memory state."""
        twin = copy.copy(self)
        twin.state = state
        return twin

    def values(self, gate_angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted readouts (..., batch, time) of gate angles (..., batch, time, G); weights (batch, time, R)."""
        rows, batch = gate_angles.flatten(0, -3), gate_angles.shape[-3]
        size = self.backend.max_circuits or batch * self._variants(gate_angles)
        states = self.state
        parts = []
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            place = torch.arange(first, first + len(part), dtype=torch.int64, device=rows.device) % batch
            state = None if states is None else states[place]
            start = time.perf_counter()
            parts.append(self.backend.values(self.program, part, weights[place], state))
            self._record(*part.shape[:2], start)
        return torch.cat(parts).reshape(gate_angles.shape[:-1])

    def variants(
        self, gate_angles: torch.Tensor, weights: torch.Tensor, causal: bool
    ) -> Callable[[range, torch.Tensor], torch.Tensor]:
        """A function (steps, replaced) -> weighted readouts (K, S * batch), summed over time (``causal``: from that
        step on), of circuits with the gate angles of one of the S steps replaced by (K, S * batch, G)."""
        if self.backend.max_circuits:  # nothing to share between variants: plain circuits, every job full
            return each_step(partial(self._plain_variants, gate_angles, weights, causal))
        at = self.backend.variants(self.program, gate_angles, weights, self.state, causal=causal)
        return partial(self._billed_variants, at, gate_angles)

    def _plain_variants(self, gate_angles, weights, causal, step, replaced) -> torch.Tensor:
        rows, first = gate_angles.repeat(len(replaced), 1, 1, 1), step if causal else 0
        rows[:, :, step] = replaced
        return self.values(rows, weights)[..., first:].sum(-1)

    def _billed_variants(self, at, gate_angles, steps, replaced) -> torch.Tensor:
        parts = []
        for part in replaced.split(self._variants(gate_angles)):
            start = time.perf_counter()
            parts.append(at(steps, part))
            self._record(part.shape[:-1].numel(), gate_angles.shape[1], start, jobs=len(steps))
        return torch.cat(parts)

    def spans(self, gate_angles: torch.Tensor, variants: int) -> Iterator[range]:
        """Ranges of steps whose variants, so many for each step, are run together: where isometries are small, calls
        take longer than the work.  (A portion of isometries at two numbers for one: measured to be about the best.)"""
        batch, time_steps = gate_angles.shape[:2]
        fit = self.program.contraction.portion(gate_angles) // max(1, batch * variants)
        together = max(1, min(fit, self._variants(gate_angles) // max(1, variants)))
        for first in range(0, time_steps, together):
            yield range(first, min(first + together, time_steps))

    def _variants(self, gate_angles: torch.Tensor) -> int:
        """How many variants of the batch fit CHUNK_BYTES of Kraus operators."""
        batch, time_steps = gate_angles.shape[-3:-1]
        kraus = 16 * batch * time_steps * 2 ** (self.program.readout + 2 * self.program.memory)
        return max(1, CHUNK_BYTES // kraus)

    def _portions(self, rows: torch.Tensor, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """Run circuits (N, time, G), variant by variant of the batch, ``size`` at a time; bill each portion."""
        size = min(size, len(rows))
        parts = rows.split(size)
        states = [None] * len(parts)
        if self.state is not None:
            states = self.state.repeat(len(rows) // len(self.state), 1, 1).split(size)
        for part, state in zip(parts, states):
            start = time.perf_counter()
            result = self.backend.run(self.program, part, state)
            self._record(*part.shape[:2], start)
            yield _checked(result, (*part.shape[:2], 2**self.program.readout))

    def _record(self, circuits: int, time_steps: int, start: float, jobs: int = 1) -> None:
        """Book a finished run: one that failed has cost nothing we know of."""
        seconds, known = time.perf_counter() - start, self.backend.figures_ran(self.program, time_steps)
        ran = Ran(self.backend, self.program, time_steps, known)
        cost = self.cost if threading.get_ident() == self.thread else self.innermost
        cost.record(circuits, circuits * self.backend.shots, jobs, seconds, ran)


def _checked(result: tuple, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What a backend has answered, if it is what `Backend.run` promises: a reader's own may answer anything."""
    words = f"backend must answer probabilities, a tensor of shape {shape}, and a state or None"
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], torch.Tensor)):
        raise TypeError(f"{words}; got {shown(result)}")
    probabilities = result[0]
    if probabilities.shape != shape or not probabilities.is_floating_point() or probabilities.isnan().any():
        got = f"{probabilities.dtype} of shape {tuple(probabilities.shape)}"
        raise ValueError(f"{words}, none NaN; got {got}")
    return result
