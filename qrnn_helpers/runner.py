"""The circuits of one layer call: run in portions that fit, every run billed."""

from __future__ import annotations

import time

import torch

from .backends import Backend
from .cost import CostLedger
from .program import StepProgram

__all__ = ["Circuits"]

CHUNK_BYTES = 2**28
"""Bytes of Kraus operators that one run of the backend may hold; more circuits go in several runs."""


class Circuits:
    """The circuits of one layer call, ready to be run at other angles."""

    def __init__(self, program: StepProgram, backend: Backend, cost: CostLedger, state: torch.Tensor | None):
        self.program, self.backend, self.cost, self.state = program, backend, cost, state

    def forward(self, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Angles (batch, time, P) -> probabilities (batch, time, R) and the final memory state."""
        return self._bill(self.program.gate_angles(angles), self.state)

    def run(self, angles: torch.Tensor) -> torch.Tensor:
        """Angles (..., batch, time, P) -> probabilities (..., batch, time, R)."""
        return self.run_gates(self.program.gate_angles(angles))

    def run_gates(self, gate_angles: torch.Tensor) -> torch.Tensor:
        """The same from the angle of every gate, (..., batch, time, G)."""
        rows = gate_angles.flatten(0, -4) if gate_angles.dim() > 3 else gate_angles[None]
        chunks = rows.split(self._chunk(rows))
        states = [None if self.state is None else self.state.repeat(len(part), 1, 1) for part in chunks]
        parts = [self._bill(part.flatten(0, 1), state)[0] for part, state in zip(chunks, states)]
        return torch.cat(parts).reshape(*gate_angles.shape[:-1], -1)

    def of_samples(self, samples: torch.Tensor) -> Circuits:
        """The same for a batch put together from these samples, (N,) numbers, repeated ones too."""
        state = None if self.state is None else self.state[samples]
        return Circuits(self.program, self.backend, self.cost, state)

    def run_replaced(
        self, gate_angles: torch.Tensor, step: int, replaced: torch.Tensor, first: int = 0
    ) -> torch.Tensor:
        """Probabilities (K, batch, time - first, R) of the outputs from ``first`` on, with the gate angles
        of one step replaced by (K, batch, G)."""
        parts = []
        for part in replaced.split(self._chunk(gate_angles[None])):
            start = time.perf_counter()
            parts.append(self.backend.run_replaced(self.program, gate_angles, step, part, self.state, first=first))
            self._record(part[..., 0].numel(), start)
        return torch.cat(parts)

    def _chunk(self, rows: torch.Tensor) -> int:
        """How many variants of the batch fit CHUNK_BYTES of Kraus operators."""
        kraus = 16 * rows.shape[1] * rows.shape[2] * 2 ** (self.program.readout + 2 * self.program.memory)
        return max(1, CHUNK_BYTES // kraus)

    def _bill(self, gate_angles: torch.Tensor, state: torch.Tensor | None):
        start = time.perf_counter()
        result = self.backend.run(self.program, gate_angles, state)
        self._record(gate_angles.shape[0], start)
        return result

    def _record(self, circuits: int, start: float) -> None:
        """Book a finished run: one that failed has cost nothing we know of."""
        self.cost.record(circuits, circuits * self.backend.shots, 1, time.perf_counter() - start)
