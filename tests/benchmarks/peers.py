"""The same circuits, written for PennyLane, Aer and Qiskit Machine Learning, each as its own manual advises."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases import SHOTS
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit_aer.primitives import SamplerV2

from qrnn_helpers import unroll
from qrnn_helpers.backends.transpiled import BASIS

qml = pytest.importorskip("pennylane")

Call = Callable[[], tuple[torch.Tensor, torch.Tensor]]
GATES = {"rx": qml.RX, "rz": qml.RZ, "crx": qml.CRX}
ADJOINT = {"pennylane-adjoint": "lightning.qubit", "pennylane-adjoint-default": "default.qubit"}


def play(step: QuantumCircuit, angles: torch.Tensor) -> None:
    """Queue a step circuit's gates for angles (..., P); leading axes broadcast."""
    places = {parameter: k for k, parameter in enumerate(step.parameters)}
    for gate in step.data:
        wires = [step.find_bit(qubit).index for qubit in gate.qubits]
        GATES[gate.operation.name](angles[..., places[gate.operation.params[0]]], wires=wires)


def readout_wires(step: QuantumCircuit) -> list[int]:
    """Highest bit first, as PennyLane counts."""
    register = next(register for register in step.qregs if register.name == "readout")
    return [step.find_bit(qubit).index for qubit in register][::-1]


def sliced(angles: torch.Tensor) -> torch.Tensor:
    """A batch of one needs no broadcasting."""
    return angles[0] if len(angles) == 1 else angles


def backprop(step: QuantumCircuit, angles: torch.Tensor, weights: torch.Tensor) -> Call:
    """Value and gradient of one step, angles (batch, 1, P), in one broadcast circuit on default.qubit."""
    wires = readout_wires(step)

    @qml.qnode(qml.device("default.qubit", wires=step.num_qubits), interface="torch", diff_method="backprop")
    def probabilities(own):
        play(step, own)
        return qml.probs(wires=wires)

    angles = angles.clone().requires_grad_()

    def call():
        value = (probabilities(sliced(angles)[..., 0, :]) * weights[0]).sum()
        return value.detach(), torch.autograd.grad(value, angles)[0]

    return call


def adjoint(step: QuantumCircuit, angles: torch.Tensor, weights: torch.Tensor, device: str) -> Call:
    """The same by the adjoint method, which wants an expectation value: that of diag(w) on the readout wires.

    PennyLane makes a circuit for each sample of the batch: faster than a loop in Python around the QNode.
    """
    observable = qml.Hermitian(np.diag(weights[0].numpy()), wires=readout_wires(step))

    @qml.qnode(qml.device(device, wires=step.num_qubits), interface="torch", diff_method="adjoint")
    def expectation(own):
        play(step, own)
        return qml.expval(observable)

    angles = angles.clone().requires_grad_()

    def call():
        value = expectation(sliced(angles)[..., 0, :]).sum()
        return value.detach(), torch.autograd.grad(value, angles)[0]

    return call


def measured_and_reset(step: QuantumCircuit, angles: torch.Tensor, weights: torch.Tensor) -> Call:
    """Value and gradient over several steps: measurements deferred to fresh wires, one broadcast circuit."""
    wires = readout_wires(step)

    @qml.qnode(qml.device("default.qubit"), interface="torch", diff_method="backprop", mcm_method="deferred")
    def probabilities(own):
        outcomes = []
        for t in range(own.shape[-2]):
            play(step, own[..., t, :])
            outcomes.append([qml.measure(wire, reset=True) for wire in wires])
        return [qml.probs(op=outcome) for outcome in outcomes]

    angles = angles.clone().requires_grad_()

    def call():
        value = (torch.stack(tuple(probabilities(sliced(angles))), -2) * weights).sum()
        return value.detach(), torch.autograd.grad(value, angles)[0]

    return call


def aer(step: QuantumCircuit, angles: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Relative frequencies (batch, time, R) from Aer's sampler: one PUB, a binding for each sequence.

    Transpiled once, to gates without parametrised controls: Aer 0.18 mixes up the bindings of those.
    """
    (batch, time_steps, _), size = angles.shape, 2 ** len(readout_wires(step))
    circuit = generate_preset_pass_manager(1, basis_gates=BASIS).run(unroll(step, time_steps))
    sampler, rows = SamplerV2(), angles.reshape(batch, -1).numpy()

    def call():
        data = sampler.run([(circuit, rows)], shots=SHOTS).result()[0].data
        steps = [data[f"t{t}"].array[..., 0] for t in range(time_steps)]  # up to 8 qubits: a byte
        counts = [[np.bincount(row, minlength=size) for row in outcomes] for outcomes in steps]
        return torch.as_tensor(np.array(counts)).transpose(0, 1) / SHOTS

    return call


def torch_connector(step: QuantumCircuit, x: torch.Tensor, own: torch.Tensor, weights: torch.Tensor, rule: str):
    """Frequencies and slopes of one step: inputs x (batch, X) in its first angles, trained weights in the rest.

    SamplerQNN on Aer behind a TorchConnector; ``rule``: "shift" or "spsa" (one direction, c = 0.1).
    """
    from qiskit_machine_learning import gradients
    from qiskit_machine_learning.connectors import TorchConnector
    from qiskit_machine_learning.neural_networks import SamplerQNN

    sampler, angles, wires = SamplerV2(default_shots=SHOTS), list(step.parameters), readout_wires(step)[::-1]
    spsa = {"epsilon": 0.1, "batch_size": 1, "seed": 0}
    name, options = {"shift": ("ParamShift", {}), "spsa": ("SPSA", spsa)}[rule]
    circuit = generate_preset_pass_manager(1, basis_gates=BASIS).run(step.measure_all(inplace=False))
    network = SamplerQNN(
        circuit=circuit,
        sampler=sampler,
        input_params=angles[: x.shape[1]],
        weight_params=angles[x.shape[1] :],
        interpret=lambda bits: sum((bits >> wire & 1) << k for k, wire in enumerate(wires)),
        output_shape=2 ** len(wires),
        gradient=getattr(gradients, f"{name}SamplerGradient")(sampler, **options),
        input_gradients=True,
    )
    module, x = TorchConnector(network, initial_weights=own.numpy()), x.clone().requires_grad_()

    def call():
        frequencies = module(x)
        slopes = torch.autograd.grad((frequencies * weights).sum(), (x, module.weight))
        return frequencies.detach(), *slopes

    return call
