"""Any Qiskit sampler as a backend: Aer, Aer with noise, a fake device, a real one."""

from __future__ import annotations

import numpy as np
import torch
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import ControlledGate
from qiskit.primitives import BaseSamplerV2, BitArray
from qiskit.transpiler import PassManager

from .backends import Backend, refuse_state
from .checks import check_instance, check_integer, torch_generator
from .circuits import unroll
from .program import StepProgram

__all__ = ["SamplerBackend", "open_controlled"]

BASIS = [
    *("u", "p", "rx", "ry", "rz", "rxx", "ryy", "rzz", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx"),
    *("cx", "cy", "cz", "swap", "ccx"),
]
"""Gates that simulators know by name.  Controlled rotations are left out on purpose: see `open_controlled`."""


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
        refuse_state(self, state)
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


def _frequencies(outcomes: BitArray, batch: int, shots: int, size: int) -> np.ndarray:
    """Relative frequencies (batch, size) of one classical register."""
    if outcomes.shape != (batch,) or outcomes.num_shots != shots:
        raise RuntimeError(
            f"sampler must return {batch} circuits of {shots} shots; got {outcomes.shape} of {outcomes.num_shots}"
        )
    weights = 256 ** np.arange(outcomes.array.shape[-1] - 1, -1, -1, dtype=np.int64)
    values = outcomes.array.astype(np.int64) @ weights
    return np.stack([np.bincount(row, minlength=size) for row in values]) / shots
