"""Fake devices, simulated with the noise of the few qubits that circuits use."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from qiskit import QuantumCircuit
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target

SMALL = 6
"""Qubits up to which a density matrix is quicker than a state drawn anew at every noisy gate."""


class FakeDevice(BackendV2):
    """A fake device of the runtime's, its circuits run by Aer with the noise that its target tells.

    The noise is that of ``AerSimulator.from_backend(device)``.  But only that of qubits that are used is made, kept and
    handed on: of 133 qubits it takes seconds a job.  Up to SMALL qubits a density matrix goes through merged gates.
    """

    def __init__(self, fake: Any):
        super().__init__(name=fake.name, backend_version=fake.backend_version)
        self.fake = fake
        self._simulators: dict[tuple[int, ...], Any] = {}

    @property
    def target(self) -> Target:
        return self.fake.target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def configuration(self) -> Any:
        return getattr(self.fake, "configuration", lambda: None)()

    def run(self, run_input: QuantumCircuit | list[QuantumCircuit], **options: Any) -> Any:
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else run_input
        return self._simulator(used_qubits(circuits)).run(circuits, **options)

    def _simulator(self, qubits: tuple[int, ...]) -> Any:
        if qubits not in self._simulators:
            self._simulators[qubits] = _simulator_of(self.fake, qubits)
        return self._simulators[qubits]


def used_qubits(circuits: Iterable[QuantumCircuit]) -> tuple[int, ...]:
    """Those on which anything but a barrier acts."""
    places = {
        circuit.find_bit(qubit).index
        for circuit in circuits
        for each in circuit.data
        if each.name != "barrier"
        for qubit in each.qubits
    }
    return tuple(sorted(places))


def part_of(target: Target, qubits: Iterable[int]) -> Target:
    """The target without the properties of other qubits, all keeping their numbers."""
    kept = set(qubits)
    part = Target(num_qubits=target.num_qubits, dt=target.dt, qubit_properties=target.qubit_properties)
    for name in target.operation_names:
        places = target[name]
        if None not in places:
            here = {place: known for place, known in places.items() if kept.issuperset(place)}
            part.add_instruction(target.operation_from_name(name), here, name=name)
    return part


def _simulator_of(fake: Any, qubits: tuple[int, ...]) -> Any:
    from qiskit_aer import AerSimulator
    from qiskit_aer.noise import NoiseModel

    part = part_of(fake.target, qubits)
    names = list(part.operation_names)
    known = SimpleNamespace(version=2, target=part, operation_names=names, dt=part.dt)
    options = {"method": "density_matrix", "fusion_threshold": 1, "fusion_max_qubit": 2} if len(qubits) <= SMALL else {}
    return AerSimulator(noise_model=NoiseModel.from_backend(known), **options)
