"""Circuits and problems with known answers that several tests share."""

import numpy as np
import torch
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Gate, Parameter, Qubit
from qiskit.circuit.library import PauliEvolutionGate, RXGate, RYGate
from qiskit.quantum_info import SparsePauliOp
from reference import random_angles, registers

from qrnn_helpers.models import QuantumRecurrentLayer

A, B = Parameter("a"), Parameter("b")


def by_hand() -> QuantumCircuit:
    """Two memory and two readout qubits, seven Parameters."""
    a, b, c, d, e, f, g = (Parameter(name) for name in "abcdefg")
    kick = QuantumCircuit(2, name="kick", global_phase=d)
    kick.ry(c, 0)
    kick.cp(d * 0.5, 0, 1)
    step = QuantumCircuit(*registers(2, 2, True))
    for qubit in range(4):
        step.ry(0.6 + 0.4 * qubit, qubit)
    step.cry(a, 0, 2)
    step.append(RXGate(b).control(2, ctrl_state=1, annotated=False), [2, 1, 3])
    step.append(kick.to_gate().control(1, annotated=False), [3, 0, 2])
    step.append(RYGate(e * f).control(3, annotated=True), [0, 1, 3, 2])
    step.barrier()
    step.append(PauliEvolutionGate(SparsePauliOp(["XX", "YY"]), g).control(1, annotated=True), [2, 0, 3])
    step.mcp(a - g, [0, 2], 1)
    for qubit in range(4):
        step.rx(0.5 - 0.3 * qubit, qubit)
    return step


def interleaved() -> QuantumCircuit:
    """Four loose qubits; memory is numbers 3 and 1, readout 0 and 2."""
    q = [Qubit() for _ in range(4)]
    memory = QuantumRegister(bits=[q[3], q[1]], name="memory")
    return QuantumCircuit(q, memory, QuantumRegister(bits=[q[0], q[2]], name="readout"))


def gradient(step, angles, weights, *, state=None, **options) -> torch.Tensor:
    """d/d angles of sum(weights * probabilities)."""
    angles = angles.detach().clone().requires_grad_()
    probabilities, _ = QuantumRecurrentLayer(step, **options)(angles, state)
    (probabilities * weights).sum().backward()
    return angles.grad


def random_weights(step, batch, time, seed=0) -> torch.Tensor:
    """A random linear readout (batch, time, 2**readout)."""
    size = 2 ** next(r.size for r in step.qregs if r.name == "readout")
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, time, size), generator=generator, dtype=torch.float64)


def problem(step, batch, time, seed=0):
    return step, random_angles(step, batch, time, seed), random_weights(step, batch, time, seed + 1)


class Exponential(Gate):
    """exp(-i theta diag(frequencies)), known to Qiskit by its matrix alone."""

    def __init__(self, theta, frequencies, name="exponential"):
        super().__init__(name, int(np.log2(len(frequencies))), [theta])
        self.frequencies = np.array(frequencies)

    def __array__(self, dtype=None, copy=None):
        return np.diag(np.exp(-1j * float(self.params[0]) * self.frequencies)).astype(complex)


def sandwiched(*gates: Gate) -> QuantumCircuit:
    """Each gate on its first qubits, between Hadamards, with something to measure."""
    step = QuantumCircuit(*registers(2, 1, False))
    for gate in gates:
        step.h(range(3))
        step.append(gate, range(gate.num_qubits))
    step.h(range(3))
    return step
