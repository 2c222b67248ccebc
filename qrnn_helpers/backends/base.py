"""Where circuits run: what a backend must answer.

A new kind of device is one file with one class, a `Backend`.  Its questions, in the order in which they come up:

1. ``run``: the outcome probabilities of a batch of circuits.  This is all that it has to answer.
2. ``shots``, ``max_circuits``, ``one_job``, ``pass_manager``, ``generator``: what it is asked beside, where it is
   not exact and without bounds.
3. ``values`` and ``variants``: weighted readouts, where they can be had for less than by ``run``.

The circuits themselves, `device_circuit`, and the bill are made here and in the executor.  A device that has a Qiskit
sampler needs no file: `SamplerBackend` takes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from qiskit import QuantumCircuit
from qiskit.transpiler import PassManager
from torch import Tensor

from ..simulation import StepProgram
from .transpiled import transpile

Answer = tuple[Tensor, Tensor | None]
"""Probabilities (batch, time, 2**readout) and the final memory state (batch, 2**memory, 2**memory), a density matrix,
or None if it cannot be seen."""

Variants = Callable[[int | range, Tensor], Tensor]
"""(step, replaced) -> weighted readouts of circuits that differ at one step, see `Backend.variants`."""


class Backend(ABC):
    """Runs circuits.  ``shots`` is the number of shots of each circuit, 0 if the result is exact;
    ``max_circuits`` how many of them one run may hold, None for no limit but memory; ``one_job`` whether a forward
    pass takes the circuits of its gradient along; ``pass_manager`` what fits circuits to the
    device, None for Qiskit's preset at level 1 with gates that every simulator knows.
    A torch.Generator in the attribute ``generator`` goes into a layer's state_dict: a backend that wraps
    another one hands it on.
    """

    shots: int = 0
    max_circuits: int | None = None
    one_job: bool = False
    pass_manager: PassManager | None = None

    @abstractmethod
    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        """Gate angles (batch, time, G) -> probabilities (batch, time, 2**readout), final memory state.

        The state is a density matrix (batch, 2**memory, 2**memory), or None if it cannot be seen.
        """

    def values(self, program: StepProgram, gate_angles: Tensor, weights: Tensor, state: Tensor | None = None) -> Tensor:
        """The weighted readout sum_r w[t, r] p[t, r] of every step, (batch, time), for weights w (batch, time, R)."""
        return (self.run(program, gate_angles, state)[0] * weights).sum(-1)

    def sums(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
    ) -> Tensor:
        """The same summed over time, (batch,): what most estimators ask for."""
        return self.values(program, gate_angles, weights, state).sum(-1)

    def variants(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Variants:
        """A function (step, replaced) -> (K, batch): weighted readouts, summed over time, of K variants of the
        circuits, with the gate angles of one step replaced by (K, batch, G).

        ``step`` may be a range of S steps: then (K, S * batch) for (K, S * batch, G), circuits that differ at the
        first step, then such that differ at the next, ...  ``causal`` leaves the outputs before that step out.
        This is what the shift rule asks for; backends that can share work between steps override it.
        """

        @one_step_at_a_time
        def at(step: int, replaced: Tensor) -> Tensor:
            first = step if causal else 0
            circuits = with_step(gate_angles, step, replaced).flatten(0, 1)
            starts = None if state is None else state.repeat(len(replaced), 1, 1)
            outcomes = self.run(program, circuits, starts)[0].unflatten(0, replaced.shape[:2])
            return (outcomes * weights)[:, :, first:].sum((-2, -1))

        return at

    def circuits_a_job(self, program: StepProgram, time_steps: int) -> int | None:
        """How many circuits of so many steps one run may hold, None for no limit but memory."""
        return self.max_circuits

    def device_circuit(self, program: StepProgram, time_steps: int) -> QuantumCircuit:
        """What a device runs, or would run: `unroll` of the step, one Parameter for each gate occurrence and step,
        through ``pass_manager``.  Made once for each program, length and pass manager.

        Without a pass manager, controlled gates that have a Parameter are written out first (`open_controlled`)."""
        return transpile(program, time_steps, self.pass_manager).circuit


def with_step(whole: Tensor, step: int, replaced: Tensor) -> Tensor:
    """K copies (K, batch, time, ...) of (batch, time, ...), one step of them replaced by (K, batch, ...)."""
    copies = whole.repeat(len(replaced), *[1] * whole.dim())
    copies[:, :, step] = replaced
    return copies


def one_step_at_a_time(at: Callable[[int, Tensor], Tensor]) -> Variants:
    """What `Backend.variants` gives, of a function that knows single steps only."""

    def spanned(step: int | range, replaced: Tensor) -> Tensor:
        if not isinstance(step, range):
            return at(step, replaced)
        each = zip(step, replaced.chunk(len(step), 1), strict=True)
        return torch.cat([at(t, variants) for t, variants in each], 1)

    return spanned


def check_no_state(backend: Backend, state: Tensor | None) -> None:
    """Refuse a memory state that the backend could not start from."""
    if state is not None:
        name = type(backend).__name__
        raise ValueError(f"state must be None on {name}, which cannot show a memory state; got a tensor")
