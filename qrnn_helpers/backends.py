"""Where circuits run: exactly, by drawn shots, or through any Qiskit sampler.

A backend turns a compiled step circuit and the angles of its gates, (batch, time, G), into the
outcome probabilities of every step, (batch, time, 2**readout): exact ones or relative frequencies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import ControlledGate
from qiskit.primitives import BaseSamplerV2, BitArray
from qiskit.transpiler import PassManager

from .checks import check_instance, check_integer, check_one_of, torch_generator
from .circuits import unroll
from .program import StepProgram

__all__ = ["Backend", "ExactBackend", "ShotBackend", "SamplerBackend"]

MEMORY_LIMIT = 8 * 2**30
"""Bytes that one call may need for its isometries; above it the call raises."""

BASIS = [
    *("u", "p", "rx", "ry", "rz", "rxx", "ryy", "rzz", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx"),
    *("cx", "cy", "cz", "swap", "ccx"),
]
"""Gates that simulators know by name.  Controlled rotations are left out on purpose: see `open_controlled`."""


class Backend(ABC):
    """Runs circuits.  ``shots`` is the number of shots of each circuit, 0 if the result is exact."""

    shots: int = 0

    @abstractmethod
    def run(
        self, program: StepProgram, gate_angles: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Gate angles (batch, time, G) -> probabilities (batch, time, 2**readout), final memory state.

        The state is a density matrix (batch, 2**memory, 2**memory), or None if it cannot be seen.
        """

    def run_replaced(
        self,
        program: StepProgram,
        gate_angles: torch.Tensor,
        step: int,
        replaced: torch.Tensor,
        state: torch.Tensor | None = None,
        *,
        first: int = 0,
    ) -> torch.Tensor:
        """Probabilities (K, batch, time - first, R) of K variants that differ at one step.

        ``replaced`` (K, batch, G) takes the place of ``gate_angles[:, step]``; only the outputs from
        step ``first`` <= ``step`` on are asked for.  This is what the shift rule needs; backends that
        can share the other steps' work override it.
        """
        rows = gate_angles.repeat(len(replaced), 1, 1, 1)
        rows[:, :, step] = replaced
        repeated = None if state is None else state.repeat(len(replaced), 1, 1)
        probabilities = self.run(program, rows.flatten(0, 1), repeated)[0]
        return probabilities.unflatten(0, replaced.shape[:2])[:, :, first:]


class ExactBackend(Backend):
    """Exact probabilities by evolving the memory's density matrix; differentiable by torch.

    rho_t+1 = sum_r K_r rho_t K_r^dagger and p_t(r) = tr(K_r rho_t K_r^dagger), with the Kraus
    operators K_r of step t.  Time and memory grow linearly with the number of steps.
    """

    def __init__(self, dtype: torch.dtype = torch.complex128):
        self.dtype = check_one_of("dtype", dtype, (torch.complex128, torch.complex64))

    def __repr__(self) -> str:
        return f"ExactBackend(dtype={self.dtype})"

    def run(self, program, gate_angles, state=None):
        kraus = _kraus(program, gate_angles, self.dtype)
        rho = self._start(program, gate_angles, state)
        probabilities = []
        for step in kraus.unbind(1):
            outcome, rho = _advance(step, rho)
            probabilities.append(outcome)
        return torch.stack(probabilities, 1).to(gate_angles.dtype), rho

    def run_replaced(self, program, gate_angles, step, replaced, state=None, *, first=0):
        kraus = _kraus(program, gate_angles, self.dtype)
        variants = program.isometries(replaced.flatten(0, 1), self.dtype).unflatten(0, replaced.shape[:2])
        rho = self._start(program, gate_angles, state)
        probabilities = []
        for t, own in enumerate(kraus.unbind(1)):
            outcome, rho = _advance(variants if t == step else own, rho)
            probabilities.append(outcome.expand(*replaced.shape[:2], -1))
        return torch.stack(probabilities[first:], 2).to(gate_angles.dtype)

    def _start(self, program: StepProgram, gate_angles: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
        """The given state, or |0...0><0...0|, for every sample."""
        if state is not None:
            return state.to(self.dtype)
        return _ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)


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
        _no_state(self, state)
        return self._frequencies(_kraus(program, gate_angles, self.dtype), gate_angles.dtype), None

    def run_replaced(self, program, gate_angles, step, replaced, state=None, *, first=0):
        # The outcomes from ``first`` on start from the memory's exact state there, a mixture of its
        # eigenstates: the joint distribution is the true one, and the steps before need not be drawn.
        _no_state(self, state)
        kraus = _kraus(program, gate_angles, self.dtype)
        rho = _ground(program, gate_angles.shape[0], self.dtype, gate_angles.device)
        for own in kraus[:, :first].unbind(1):
            rho = _advance(own, rho)[1]
        variants = kraus[:, first:].repeat(len(replaced), 1, 1, 1, 1)
        variants[:, step - first] = program.isometries(replaced.flatten(0, 1), self.dtype)
        rho = rho.repeat(len(replaced), 1, 1)
        return self._frequencies(variants, gate_angles.dtype, rho).unflatten(0, replaced.shape[:2])

    def histories(self, program: StepProgram, gate_angles: torch.Tensor) -> torch.Tensor:
        """The outcomes of every single shot, (batch, shots, time), int64; sorted by history."""
        chunks = self._chunks(_kraus(program, gate_angles, self.dtype))
        return torch.cat([_histories(_branches(kraus, self.shots, self.generator), self.shots) for kraus in chunks])

    def _frequencies(self, kraus: torch.Tensor, dtype: torch.dtype, rho: torch.Tensor | None = None) -> torch.Tensor:
        """Relative frequencies (circuits, time, R) of the outcomes of each step."""
        chunks = self._chunks(kraus)
        starts = [None] * len(chunks) if rho is None else self._chunks(rho)
        parts = [
            torch.stack([counts.sum(1) for counts in _branches(chunk, self.shots, self.generator, start)], 1)
            for chunk, start in zip(chunks, starts)
        ]
        return torch.cat(parts).to(dtype) / self.shots

    def _chunks(self, kraus: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A few circuits at a time, so that their shots fit the processor's cache."""
        return kraus.split(max(1, 2**15 // self.shots))


class SamplerBackend(Backend):
    """Relative frequencies from any Qiskit ``BaseSamplerV2``: Aer, a fake device, a real one.

    Parameters: ``sampler``; ``shots`` of each circuit; ``pass_manager`` that makes the circuit fit the
    device (by default Qiskit's preset at level 1, to gates that every simulator knows); ``seed`` of the
    jobs' own seeds: a sampler that is seeded would repeat its draws in every job, so each job gets a
    fresh one where the sampler has a place for it.  Circuits are transpiled once for each step circuit and length.
    """

    def __init__(
        self,
        sampler: BaseSamplerV2,
        shots: int,
        pass_manager: PassManager | None = None,
        seed: int | torch.Generator | None = None,
    ):
        self.sampler = check_instance("sampler", sampler, BaseSamplerV2, "a qiskit BaseSamplerV2")
        self.shots = check_integer("shots", shots, minimum=1)
        if pass_manager is not None:
            check_instance("pass_manager", pass_manager, PassManager, "a qiskit PassManager or None")
        self.pass_manager = pass_manager
        self.generator = torch_generator(seed)
        self._circuits: dict = {}

    def __repr__(self) -> str:
        return f"SamplerBackend({type(self.sampler).__name__}, shots={self.shots})"

    def run(self, program, gate_angles, state=None):
        _no_state(self, state)
        batch, time_steps, _ = gate_angles.shape
        circuit = self._circuit(program, time_steps)
        values = gate_angles.detach().reshape(batch, -1).double().cpu().numpy()
        reseed(self.sampler, int(torch.randint(2**31 - 1, (), generator=self.generator)))
        data = self.sampler.run([(circuit, values)], shots=self.shots).result()[0].data
        steps = [_frequencies(data[f"t{t}"], batch, self.shots, 2**program.readout) for t in range(time_steps)]
        return torch.as_tensor(np.stack(steps, 1)).to(gate_angles), None

    def _circuit(self, program: StepProgram, time_steps: int):
        """The unrolled, transpiled circuit, one Parameter for each gate occurrence and step."""
        key = (program, time_steps)
        if key not in self._circuits:
            manager = self.pass_manager or generate_preset_pass_manager(1, basis_gates=BASIS, seed_transpiler=0)
            self._circuits[key] = manager.run(unroll(open_controlled(program.expanded), time_steps))
        return self._circuits[key]


def open_controlled(circuit: QuantumCircuit) -> QuantumCircuit:
    """The same circuit with every controlled gate that has a Parameter replaced by its definition.

    Aer 0.18 (its issues 2323, 2391, 2403) drops or mixes up the bindings of such gates when values
    come beside the circuit, and returns wrong counts without a word.
    """
    while names := {
        i.operation.name
        for i in circuit.data
        if isinstance(i.operation, ControlledGate) and any(getattr(p, "parameters", None) for p in i.operation.params)
    }:
        circuit = circuit.decompose(gates_to_decompose=list(names))
    return circuit


def reseed(sampler: BaseSamplerV2, seed: int) -> None:
    """Give the sampler's next job a seed of its own, wherever this sampler keeps it."""
    options = getattr(sampler, "options", None)
    if getattr(sampler, "_seed", None) is not None:  # Aer's and Qiskit's own samplers have no public setter
        sampler._seed = seed
    elif isinstance(getattr(options, "run_options", None), dict):  # Aer
        options.run_options["seed_simulator"] = seed
    elif hasattr(options, "seed_simulator"):  # BackendSamplerV2
        options.seed_simulator = seed


def _ground(program: StepProgram, batch: int, dtype: torch.dtype, device) -> torch.Tensor:
    """The memory's start |0...0><0...0|, (batch, 2**memory, 2**memory)."""
    size = 2**program.memory
    rho = torch.zeros(size, size, dtype=dtype, device=device)
    rho[0, 0] = 1
    return rho.expand(batch, size, size)


def _no_state(backend: Backend, state: torch.Tensor | None) -> None:
    if state is not None:
        name = type(backend).__name__
        raise ValueError(f"state must be None on {name}, which cannot show a memory state; got a tensor")


def _advance(kraus: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of the channel: outcome probabilities (..., R) and the next rho (..., M, M).

    Kraus operators (..., R, M, M) and rho (..., M, M) broadcast over their leading dimensions.
    """
    moved = kraus @ rho[..., None, :, :]
    probabilities = (moved * kraus.conj()).sum((-2, -1)).real
    # sum over r and j of moved[r, i, j] conj(kraus[r, k, j]), as one matrix product
    left, right = (part.transpose(-3, -2).flatten(-2) for part in (moved, kraus))
    return probabilities, left @ right.mH


def _kraus(program: StepProgram, gate_angles: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Kraus operators (batch, time, 2**readout, 2**memory, 2**memory) of every step."""
    batch, time_steps, _ = gate_angles.shape
    needed = batch * time_steps * 2 ** (program.readout + 2 * program.memory) * dtype.itemsize
    if needed > MEMORY_LIMIT:
        raise ValueError(
            f"angles must need at most {MEMORY_LIMIT} bytes for their isometries; got shape "
            f"({batch}, {time_steps}, ...) on {program.memory} + {program.readout} qubits, which needs {needed} bytes"
        )
    kraus = program.isometries(gate_angles.flatten(0, 1), dtype)
    return kraus.expand(batch * time_steps, *kraus.shape[1:]).unflatten(0, (batch, time_steps))


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
    for t in range(time_steps):
        moved = (states @ kraus[:, t].flatten(1, 2).mT).view(-1, outcomes, size)
        weights = torch.view_as_real(moved).square().sum((-2, -1))
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


def _frequencies(outcomes: BitArray, batch: int, shots: int, size: int) -> np.ndarray:
    """Relative frequencies (batch, size) of one classical register."""
    if outcomes.shape != (batch,) or outcomes.num_shots != shots:
        raise RuntimeError(
            f"sampler must return {batch} circuits of {shots} shots; got {outcomes.shape} of {outcomes.num_shots}"
        )
    weights = 256 ** np.arange(outcomes.array.shape[-1] - 1, -1, -1, dtype=np.int64)
    values = outcomes.array.astype(np.int64) @ weights
    return np.stack([np.bincount(row, minlength=size) for row in values]) / shots
