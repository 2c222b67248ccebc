"""Drawn shots: relative frequencies from the true joint distribution over all time steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .backends import Backend, advance, ground, kraus_operators, refuse_state, replaced_operators
from .checks import check_integer, check_one_of, check_tensor, shown, torch_generator
from .limits import check_bytes
from .program import StepProgram

__all__ = ["ShotBackend"]

CACHE = 2**23
"""Bytes that the branches of all shots of the circuits drawn together may take."""


class ShotBackend(Backend):
    """Relative frequencies of ``shots`` runs of each circuit, drawn from the true joint distribution.

    Each run is followed as a pure memory state from step to step, so that outcomes at different times
    are correlated as on a device.  Runs with the same history so far share one state.  ``seed`` is an
    int, a torch generator or None; the generator moves on from call to call.
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

    def run_replaced(self, program, gate_angles, step, replaced, state=None, *, first=0):
        # The outcomes from ``first`` on start from the memory's exact state there, a mixture of its
        # eigenstates: the joint distribution is the true one, and the steps before need not be drawn.
        refuse_state(self, state)
        circuits, time_steps = replaced.shape[:2].numel(), gate_angles.shape[1] - first
        self._check_room(program, circuits, time_steps, circuits * time_steps * program.size * self.dtype.itemsize)
        kraus = kraus_operators(program, gate_angles, self.dtype, more=circuits)
        rho = ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)
        for own in kraus[:, :first].unbind(1):
            rho = advance(own, rho)[1]
        variants = replaced_operators(program, replaced, self.dtype)
        return self._replaced(kraus[:, first:], step - first, variants, rho, gate_angles.dtype)

    def variants(self, program, gate_angles, weights, state=None, *, causal=False):
        refuse_state(self, state)
        kraus = kraus_operators(program, gate_angles, self.dtype)
        rho = [ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)]
        for own in kraus.unbind(1) if causal else ():
            rho.append(advance(own, rho[-1])[1])

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
        chunks = self._chunks(kraus_operators(program, gate_angles, self.dtype))
        return torch.cat([_histories(_branches(kraus, self.shots, self.generator), self.shots) for kraus in chunks])

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
        parts = [
            torch.stack([counts.sum(1) for counts in _branches(chunk, self.shots, self.generator, start)], 1)
            for chunk, start in zip(chunks, starts)
        ]
        return torch.cat(parts).to(dtype) / self.shots

    def _chunks(self, kraus: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A few circuits at a time, so that their shots fit the processor's cache."""
        return kraus.split(self._together(kraus.shape[2] * kraus.shape[3]))

    def _together(self, branches: int) -> int:
        return max(1, min(2**15, CACHE // (branches * self.dtype.itemsize)) // self.shots)


@torch.no_grad()
def _branches(
    kraus: torch.Tensor, shots: int, generator: torch.Generator, rho: torch.Tensor | None = None
) -> Iterator[torch.Tensor]:
    """For each time step, how many shots took each branch: counts (circuits, nodes, outcomes).

    A node is a history that occurred so far; ``states`` (circuits, nodes, 2**memory) holds its pure
    memory state (zero rows fill up) and ``node`` says on which node each shot sits.  The nodes of the
    next step are the branches with a count, in order.  The start is |0...0>, or a mixed state ``rho``
    (circuits, 2**memory, 2**memory): each shot then starts from one of its eigenstates.
    """
    circuits, time_steps, outcomes, size, _ = kraus.shape
    circuit = torch.arange(circuits, device=kraus.device).repeat_interleave(shots)
    if rho is None:
        states = torch.eye(1, size, dtype=kraus.dtype, device=kraus.device).expand(circuits, 1, size)
        node = circuit
    else:
        weights, vectors = torch.linalg.eigh(rho)
        drawn = circuit * size + _pick(weights.clamp_min(0), circuit, generator)
        counts = torch.bincount(drawn, minlength=circuits * size).view(circuits, size)
        states, node = _grow(vectors.mT, torch.ones_like(weights), counts)
    space = kraus.new_empty(0)  # taken once: large tensors are fetched anew from the operating system every time
    for t in range(time_steps):
        needed = states.shape[:2].numel() * outcomes * size
        space = space if len(space) >= needed else kraus.new_empty(needed)
        moved = space[:needed].view(*states.shape[:2], outcomes * size)
        moved = torch.bmm(states, kraus[:, t].flatten(1, 2).mT, out=moved).view(-1, outcomes, size)
        weights = torch.linalg.vector_norm(torch.view_as_real(moved).flatten(-2), dim=-1).square()
        branch = node * outcomes + _pick(weights, node, generator)
        counts = torch.bincount(branch, minlength=weights.numel()).view(circuits, -1)
        yield counts.view(circuits, -1, outcomes)
        if t + 1 < time_steps:
            states, node = _grow(moved.view(circuits, -1, size), weights.view(circuits, -1), counts)


def _pick(weights: torch.Tensor, node: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An outcome for every shot, with probability proportional to the weights (nodes, outcomes) of its node."""
    edges = weights.cumsum(1)
    edges = (edges / edges[:, -1:])[:, :-1]
    draws = torch.rand(node.numel(), generator=generator, dtype=weights.dtype, device=generator.device)
    draws = draws.to(weights.device)
    outcome = torch.zeros_like(node)
    for edge in edges.unbind(1):  # a loop over outcomes reads less memory than one gather of all edges
        outcome += draws >= edge[node]
    return outcome


def _grow(moved: torch.Tensor, weights: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States of the branches that occurred, normalised and closed up, and the node of every shot."""
    alive = counts > 0
    rank = alive.cumsum(1) - 1
    width = int(rank[:, -1].max()) + 1
    circuit, branch = alive.nonzero(as_tuple=True)
    place = rank[circuit, branch]
    states = moved.new_zeros(counts.shape[0], width, moved.shape[-1])
    states[circuit, place] = moved[circuit, branch] / weights[circuit, branch].sqrt()[:, None]
    return states, (circuit * width + place).repeat_interleave(counts[circuit, branch])


def _histories(branches: Iterator[torch.Tensor], shots: int) -> torch.Tensor:
    """Outcomes (circuits, shots, time) of every shot from the counts of all branches."""
    paths, starts = None, None
    for counts in branches:
        circuit, node, outcome = counts.nonzero(as_tuple=True)
        paths = outcome[:, None] if paths is None else torch.cat([paths[starts[circuit] + node], outcome[:, None]], 1)
        alive = (counts > 0).sum((1, 2))
        starts = alive.cumsum(0) - alive
        last = counts[circuit, node, outcome]
    return paths.repeat_interleave(last, 0).view(-1, shots, paths.shape[1])
