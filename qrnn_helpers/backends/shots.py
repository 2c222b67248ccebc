"""Drawn shots: relative frequencies from the true joint distribution over all time steps."""

from __future__ import annotations

import torch

from ..checks import check_bytes, check_integer, check_one_of, check_tensor, shown, torch_generator
from ..simulation import StepProgram, channel_step, ground, kraus_operators, outcomes, replaced_operators
from ..torch_modes import settled
from .base import Backend, each_step, refuse_state

__all__ = ["ShotBackend"]


CACHE = 2**23
"""Bytes that the branches of all shots of the circuits drawn together may take."""


class ShotBackend(Backend):
    """Relative frequencies of ``shots`` runs of each circuit, drawn from the true joint distribution.

    Each run is followed as a pure memory state from step to step, so that outcomes at different times
    are correlated as on a device (see `trajectories`).  ``seed`` is an int, a torch generator or None; the
    generator moves on from call to call.
    """

    def __init__(self, shots: int, seed: int | torch.Generator | None = None, dtype: torch.dtype = torch.complex128):
        self.shots = check_integer("shots", shots, minimum=1)
        self.generator = torch_generator(seed)
        self.dtype = check_one_of("dtype", dtype, (torch.complex128, torch.complex64))

    def __repr__(self) -> str:
        return f"ShotBackend(shots={self.shots}, dtype={self.dtype})"

    def run(self, program, gate_angles, state=None):
        refuse_state(self, state)
        self._check_room(program, *gate_angles.shape[:2])
        return self._frequencies(kraus_operators(program, gate_angles, self.dtype), gate_angles.dtype), None

    def variants(self, program, gate_angles, weights, state=None, *, causal=False):
        refuse_state(self, state)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        rho = [ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)]
        for own in kraus.unbind(1) if causal else ():
            rho.append(channel_step(own, rho[-1])[1])

        @each_step
        def at(step: int, replaced: torch.Tensor) -> torch.Tensor:
            first, circuits = step if causal else 0, replaced.shape[:2].numel()
            kept = circuits * (kraus.shape[1] - first) * program.size * self.dtype.itemsize
            self._check_room(program, circuits, kraus.shape[1] - first, kept)
            own = replaced_operators(program, replaced, self.dtype, gate_angles[:, step])
            frequencies = self._replaced(kraus[:, first:], step - first, own, rho[first], gate_angles.dtype)
            return (frequencies * weights[:, first:]).sum((-2, -1))

        return at

    def _replaced(
        self, kraus: torch.Tensor, step: int, variants: torch.Tensor, rho: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        """Frequencies (K, batch, time, R) of circuits (batch, time, ...) that start from ``rho``, with variants
        (K, batch, ...) of one step."""
        rows = kraus.repeat(len(variants), 1, 1, 1, 1)
        rows[:, step] = variants.flatten(0, 1)
        start = rho.repeat(len(variants), 1, 1)
        return self._frequencies(rows, dtype, start).unflatten(0, variants.shape[:2])

    def histories(self, program: StepProgram, gate_angles: torch.Tensor) -> torch.Tensor:
        """The outcomes of every single shot, (batch, shots, time), int64; sorted by history."""
        check_tensor("gate_angles", gate_angles, ("batch", "time", len(program.occurrences)))
        batch, time_steps, _ = gate_angles.shape
        self._check_room(program, batch, time_steps, 24 * batch * time_steps * self.shots)
        with settled(gate_angles.device):
            chunks = self._chunks(kraus_operators(program, gate_angles.double(), self.dtype))
            return torch.cat([self._histories(chunk) for chunk in chunks])

    def _histories(self, kraus: torch.Tensor) -> torch.Tensor:
        """Outcomes (circuits, shots, time) of every shot, those of a circuit in lexicographic order."""
        found = torch.empty(len(kraus) * self.shots, 0, dtype=torch.int64, device=kraus.device)
        for outcome, branch in outcomes(kraus, self.shots, self.generator):
            found = torch.cat([found, outcome[:, None]], 1)[branch.argsort(stable=True)]
        found = found.view(len(kraus), self.shots, -1)
        for t in reversed(range(found.shape[2])):  # sorted by the last step first, so that the first one rules
            order = found[:, :, t].argsort(dim=1, stable=True)
            found = found.gather(1, order[:, :, None].expand_as(found))
        return found

    def _check_room(self, program: StepProgram, circuits: int, time_steps: int, kept: int = 0) -> None:
        """Refuse more shots than there is memory for; ``kept``: bytes needed beside the drawing itself."""
        outcomes, size = 2**program.readout, 2**program.memory
        together = min(circuits, self._together(outcomes * size))
        nodes = min(self.shots, outcomes ** min(time_steps - 1, 64) * size)
        # Eight numbers a shot; states before and after, their squares, and five numbers for each branch.
        branch = 2 * size * self.dtype.itemsize + 5 * 8
        needed = together * (64 * self.shots + nodes * (outcomes * branch + size * self.dtype.itemsize))
        check_bytes("shots", needed + kept, f"{shown(self.shots)} of {circuits} circuits with {time_steps} steps")

    def _frequencies(self, kraus: torch.Tensor, dtype: torch.dtype, rho: torch.Tensor | None = None) -> torch.Tensor:
        """Relative frequencies (circuits, time, R) of the outcomes of each step."""
        chunks = self._chunks(kraus)
        starts = [None] * len(chunks) if rho is None else rho.split(len(chunks[0]))
        return torch.cat([self._counted(*pair) for pair in zip(chunks, starts)]).to(dtype) / self.shots

    def _counted(self, kraus: torch.Tensor, rho: torch.Tensor | None) -> torch.Tensor:
        """How many shots of each circuit had which outcome, (circuits, time, R)."""
        circuits, _, many = kraus.shape[:3]
        first = torch.arange(circuits, dtype=torch.int64, device=kraus.device).repeat_interleave(self.shots) * many
        counts = [
            torch.bincount(first + outcome, minlength=circuits * many).view(circuits, -1)
            for outcome, _ in outcomes(kraus, self.shots, self.generator, rho)
        ]
        return torch.stack(counts, 1)

    def _chunks(self, kraus: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A few circuits at a time, so that their shots fit the processor's cache."""
        return kraus.split(self._together(kraus.shape[2] * kraus.shape[3]))

    def _together(self, branches: int) -> int:
        return max(1, min(2**15, CACHE // (branches * self.dtype.itemsize)) // self.shots)
