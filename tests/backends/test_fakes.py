"""Fake devices: only the noise of used qubits is made, and it is the device's."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.primitives import BackendSamplerV2
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from reference import LEVEL, random_angles
from scipy.stats import binomtest

from qrnn_helpers.backends import DeviceBackend, NoisyBackend
from qrnn_helpers.backends.fakes import FakeDevice, used_qubits
from qrnn_helpers.circuits import rotation_step
from qrnn_helpers.models import QuantumRecurrentLayer

LINE = [[i, j] for i in range(5) for j in (i - 1, i + 1) if 0 <= j < 5]


def device() -> GenericBackendV2:
    return GenericBackendV2(5, ["rz", "sx", "x", "cz", "reset", "measure", "delay"], coupling_map=LINE, seed=3)


def test_noise_of_used_qubits_is_the_devices():
    fake = FakeDevice(device())
    circuit = QuantumCircuit(5, 1)
    circuit.barrier()
    circuit.cz(1, 2)
    circuit.delay(40, 3)
    circuit.measure(1, 0)
    assert used_qubits([circuit]) == (1, 2, 3)
    fake.run(circuit, shots=1).result()
    ((_qubits, simulator),) = fake._simulators.items()
    part, whole = simulator.options.noise_model.to_dict(), NoiseModel.from_backend(fake.fake).to_dict()
    kept = [each for each in whole["errors"] if {1, 2, 3}.issuperset(each["gate_qubits"][0])]

    def told(errors):
        for each in errors:
            each.pop("id", None)
        return sorted(map(repr, errors))

    assert told(part["errors"]) == told(kept) and len(kept) < len(whole["errors"])


def test_a_sampler_on_it_agrees_with_exact_noise():
    """Counts of every outcome of every step against the binomial law of the noisy channel; delays come along."""
    step, shots = rotation_step(1, 1), 4000
    step.delay(2000, step.qubits[0], unit="ns")
    sampler = BackendSamplerV2(backend=FakeDevice(device()))
    backend = DeviceBackend(sampler, shots, seed=1)
    angles = random_angles(step, 1, 3, seed=1)
    found, _ = QuantumRecurrentLayer(step, backend=backend)(angles)
    exact = NoisyBackend(AerSimulator.from_backend(device()), pass_manager=backend.pass_manager)
    wanted = QuantumRecurrentLayer(step, backend=exact)(angles)[0].detach().numpy()
    counts = np.rint(found.numpy() * shots).astype(int)
    chances = [binomtest(n, shots, p).pvalue for n, p in zip(counts.ravel(), wanted.ravel(), strict=True)]
    assert min(chances) > LEVEL / (2 * counts.size)
    ideal = QuantumRecurrentLayer(step)(angles)[0]
    assert not torch.allclose(ideal, torch.from_numpy(wanted), atol=1e-3)


@pytest.mark.parametrize("qubits, method", [(2, "density_matrix"), (7, "automatic")])
def test_large_circuits_keep_the_simulators_choice(qubits, method):
    circuit = QuantumCircuit(qubits, 1)
    circuit.x(range(qubits))
    circuit.measure(0, 0)
    fake = FakeDevice(GenericBackendV2(qubits, seed=1))
    fake.run(circuit, shots=1).result()
    assert next(iter(fake._simulators.values())).options.method == method
