"""Drawn shots: relative frequencies from the true joint distribution over all time steps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ..checks import check_bytes, check_count, check_one_of, check_tensor, shown, torch_generator
from ..simulation import (
    StepProgram,
    Streams,
    channel_step,
    ground,
    kraus_operators,
    outcomes,
    replaced_operators,
)
from ..torch_modes import indices_of, settled
from .base import Answer, Backend, Variants, check_no_state, one_step_at_a_time, with_step

CACHE = 2**23
"""Bytes that the branches of all shots of the circuits drawn together may take."""


class ShotBackend(Backend):
    """Relative frequencies of ``shots`` runs of each circuit, drawn from the true joint distribution.

    Each run is followed as a pure memory state from step to step, so that outcomes at different times
    are correlated as on a device (see `trajectories`).  ``seed`` is an int, a torch generator or None; the
    generator moves on from call to call.
    """

    def __init__(self, shots: int, seed: int | torch.Generator | None = None, dtype: torch.dtype = torch.complex128):
        self.shots = check_count("shots", shots)
        self.generator: torch.Generator | Streams = torch_generator(seed)
        self.dtype = check_one_of("dtype", dtype, (torch.complex128, torch.complex64))

    def __repr__(self) -> str:
        return f"ShotBackend(shots={self.shots}, dtype={self.dtype})"

    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        check_no_state(self, state)
        batch, time_steps, _ = gate_angles.shape
        self._check_memory(program, batch, time_steps)
        return self._frequencies(kraus_operators(program, gate_angles, self.dtype), gate_angles.dtype), None

    def variants(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Variants:
        check_no_state(self, state)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        start = ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)
        starts = states_before_steps(kraus, start) if causal else [start]

        @one_step_at_a_time
        def at(step: int, replaced: Tensor) -> Tensor:
            first = step if causal else 0
            self._check_copies(program, replaced.shape[:2].numel(), kraus.shape[1] - first)
            operators = replaced_operators(program, replaced, self.dtype, gate_angles[:, step])
            copies = with_step(kraus[:, first:], step - first, operators).flatten(0, 1)
            rho = starts[first].repeat(len(replaced), 1, 1)
            frequencies = self._frequencies(copies, gate_angles.dtype, rho).unflatten(0, replaced.shape[:2])
            return (frequencies * weights[:, first:]).sum((-2, -1))

        return at

    def histories(self, program: StepProgram, gate_angles: Tensor) -> Tensor:
        """The outcomes of every single shot, (batch, shots, time), int64; sorted by history."""
        check_tensor("gate_angles", gate_angles, ("batch", "time", len(program.occurrences)))
        batch, time_steps, _ = gate_angles.shape
        self._check_memory(program, batch, time_steps, 24 * batch * time_steps * self.shots)
        with settled(gate_angles.device):
            chunks = self._chunks(kraus_operators(program, gate_angles.double(), self.dtype))
            return torch.cat([self._histories(chunk) for chunk in chunks])

    def _histories(self, kraus: Tensor) -> Tensor:
        """Outcomes (circuits, shots, time) of every shot, those of a circuit in lexicographic order."""
        flat = torch.empty(len(kraus) * self.shots, 0, dtype=torch.int64, device=kraus.device)
        for outcome, branch in outcomes(kraus, self.shots, self.generator):
            flat = torch.cat([flat, outcome[:, None]], 1)[branch.argsort(stable=True)]
        return in_order(flat.view(len(kraus), self.shots, -1))

    def _check_copies(self, program: StepProgram, circuits: int, time_steps: int) -> None:
        """`_check_memory` for circuits whose Kraus operators are copied."""
        copies = circuits * time_steps * program.size * self.dtype.itemsize
        self._check_memory(program, circuits, time_steps, copies)

    def _check_memory(self, program: StepProgram, circuits: int, time_steps: int, beside: int = 0) -> None:
        """Refuse more shots than there is memory for; ``beside``: bytes needed beside the drawing itself."""
        outcomes = 2**program.readout
        size = 2**program.memory
        together = min(circuits, self._together(outcomes * size))
        nodes = min(self.shots, outcomes ** min(time_steps - 1, 64) * size)
        # Eight numbers a shot; states before and after, their squares, and five numbers for each branch.
        state = size * self.dtype.itemsize
        branches = outcomes * (2 * state + 5 * 8)
        needed = together * (64 * self.shots + nodes * (branches + state))
        check_bytes("shots", needed + beside, f"{shown(self.shots)} of {circuits} circuits with {time_steps} steps")

    def _frequencies(self, kraus: Tensor, dtype: torch.dtype, rho: Tensor | None = None) -> Tensor:
        """Relative frequencies (circuits, time, R) of the outcomes of each step."""
        streams = self.generator
        if isinstance(streams, Streams) and len(kraus) > self._together(kraus.shape[2] * kraus.shape[3]):
            return self._run_by_run(streams, kraus, dtype, rho)
        chunks = self._chunks(kraus)
        starts = [None] * len(chunks) if rho is None else rho.split(len(chunks[0]))
        counts = [self._counts(chunk, start) for chunk, start in zip(chunks, starts)]
        return torch.cat(counts).to(dtype) / self.shots

    def _run_by_run(self, streams: Streams, kraus: Tensor, dtype: torch.dtype, rho: Tensor | None) -> Tensor:
        """The same for several runs, each as if it were alone: what is drawn depends on which circuits are together."""
        frequencies = torch.empty(*kraus.shape[:3], dtype=dtype, device=kraus.device)
        for generator, members in streams.members():
            alone = copy.copy(self)
            alone.generator = generator
            start = None if rho is None else rho[members]
            frequencies[members] = alone._frequencies(kraus[members], dtype, start)
        return frequencies

    def _counts(self, kraus: Tensor, rho: Tensor | None) -> Tensor:
        """How many shots of each circuit had which outcome, (circuits, time, R)."""
        circuits, _, size, _, _ = kraus.shape
        first = size * indices_of(kraus).repeat_interleave(self.shots)
        counts = [
            torch.bincount(first + outcome, minlength=circuits * size).view(circuits, size)
            for outcome, _ in outcomes(kraus, self.shots, self.generator, rho)
        ]
        return torch.stack(counts, 1)

    def _chunks(self, kraus: Tensor) -> tuple[Tensor, ...]:
        """A few circuits at a time, so that their shots fit the processor's cache."""
        return kraus.split(self._together(kraus.shape[2] * kraus.shape[3]))

    def _together(self, branches: int) -> int:
        """How many circuits' shots, each with so many branches, are drawn together."""
        return max(1, min(2**15, CACHE // (branches * self.dtype.itemsize)) // self.shots)


def states_before_steps(kraus: Tensor, rho: Tensor) -> list[Tensor]:
    """Memory states (batch, M, M) before every step, and after the last, of circuits that start from ``rho``."""
    states = [rho]
    for operators in kraus.unbind(1):
        states.append(channel_step(operators, states[-1])[1])
    return states


def in_order(histories: Tensor) -> Tensor:
    """Histories (circuits, shots, time), each circuit's in lexicographic order."""
    for t in reversed(range(histories.shape[2])):  # by the last step first, so that the first one rules
        order = histories[:, :, t].argsort(dim=1, stable=True)
        histories = histories.gather(1, order[:, :, None].expand_as(histories))
    return histories
