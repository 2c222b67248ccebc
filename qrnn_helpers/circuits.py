"""Step circuits: the plain Qiskit blocks that a recurrent network repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import ParameterVector, Qubit

from .checks import check_integer, shown
from .limits import check_gates

__all__ = ["check_step", "rotation_step", "reuploading_step", "unroll"]


def rotation_step(memory: int = 2, readout: int = 2, layers: int = 1) -> QuantumCircuit:
    """RZ RX RZ on every qubit, an open chain of CRX, RZ RX RZ on every qubit; ``layers`` times.

    The qubits q run m0 r0 m1 r1 ... until the shorter register ends, then the rest; each CRX is
    controlled by q_i and acts on q_i+1.  A layer has 7n - 1 angles for n qubits, numbered in gate
    order, and every layer has angles of its own.
    """
    step, qubits, angles = _blank(memory, readout, layers, lambda n: 7 * n - 1)
    for _ in range(layers):
        _euler(step, qubits, angles)
        for control, target in zip(qubits, qubits[1:]):
            step.crx(next(angles), control, target)
        _euler(step, qubits, angles)
    return step


def reuploading_step(memory: int = 2, readout: int = 2, layers: int = 1) -> QuantumCircuit:
    """A richer block: two rotations on every qubit, then a ring of CRX, CRY and CRZ, ``layers`` times.

    For three qubits a layer is (every gate with an angle of its own, numbered in gate order)::

        q0: ─RY─RZ──■───■───■─────────────────RX──RY──RZ─
        q1: ─RY─RZ──RX──RY──RZ──■───■───■─────│───│───│──
        q2: ─RY─RZ──────────────RX──RY──RZ────■───■───■──

    The qubits run as in `rotation_step`.  For n > 2 the chain closes to a ring, so that a layer has
    5n angles; for n = 2 it stays open (7 angles).  Where an encoder feeds every layer, the data
    enter the circuit once a layer ("re-uploading"; Pérez-Salinas et al. 2020).
    """
    step, qubits, angles = _blank(memory, readout, layers, lambda n: 5 * n if n > 2 else 7)
    pairs = list(zip(qubits, qubits[1:])) + ([(qubits[-1], qubits[0])] if len(qubits) > 2 else [])
    for _ in range(layers):
        for qubit in qubits:
            step.ry(next(angles), qubit)
            step.rz(next(angles), qubit)
        for control, target in pairs:
            for rotation in (step.crx, step.cry, step.crz):
                rotation(next(angles), control, target)
    return step


def unroll(step: QuantumCircuit, time_steps: int) -> QuantumCircuit:
    """The circuit that a device runs for ``time_steps`` repetitions of ``step``.

    Each repetition applies the block, measures ``readout`` into a classical register of its own
    (``t0``, ``t1``, ...) and resets it.  The Parameters are one vector of ``time_steps * P``
    elements: for angles of shape (time_steps, P), ``.parameters`` in order is ``angles.reshape(-1)``.
    """
    check_step(step)
    time_steps = check_integer("time_steps", time_steps, minimum=1)
    readout = next(register for register in step.qregs if register.name == "readout")
    check_gates("time_steps", time_steps * (len(step.data) + 2 * readout.size), shown(time_steps))
    parameters = list(step.parameters)
    angles = ParameterVector("angles", time_steps * len(parameters))
    circuit = QuantumCircuit(step.qubits, *step.qregs)  # registers may be laid over loose qubits
    for t in range(time_steps):
        own = angles[t * len(parameters) : (t + 1) * len(parameters)]
        block = step.assign_parameters(dict(zip(parameters, own)))
        for instruction in block.data:  # not `compose`: it grows with the square of the time
            circuit.append(instruction, copy=False)
        circuit.global_phase += block.global_phase
        outcome = ClassicalRegister(readout.size, f"t{t}")
        circuit.add_register(outcome)
        circuit.measure(readout, outcome)
        circuit.reset(readout)
    return circuit


def check_step(step: QuantumCircuit) -> tuple[list[int], list[int]]:
    """Positions of the memory and readout qubits in ``step.qubits``, or an error that says what is wrong."""
    if not isinstance(step, QuantumCircuit):
        raise TypeError(f"step: got {type(step).__name__}; allowed is a qiskit.QuantumCircuit")
    names = [register.name for register in step.qregs]
    if sorted(names) != ["memory", "readout"]:
        raise ValueError(f"step: got quantum registers {names}; allowed are exactly 'memory' and 'readout'")
    if step.num_clbits or step.cregs:
        raise ValueError(f"step: got {step.num_clbits} classical bits; a step circuit has none (unroll measures)")
    places = [[step.find_bit(q).index for q in r] for r in sorted(step.qregs, key=lambda r: r.name)]
    if not all(places):
        raise ValueError("step: got an empty register; memory and readout need one qubit each at least")
    if sorted(places[0] + places[1]) != list(range(step.num_qubits)):
        raise ValueError("step: registers overlap or leave qubits out; every qubit belongs to exactly one of them")
    return places[0], places[1]


def _blank(
    memory: int, readout: int, layers: int, angles: Callable[[int], int]
) -> tuple[QuantumCircuit, list[Qubit], Iterator]:
    """An empty step circuit, its qubits in the order m0 r0 m1 r1 ..., and its Parameters.

    ``angles(n)``: angles, and gates, that a layer has on n qubits.
    """
    memory = check_integer("memory", memory, minimum=1)
    readout = check_integer("readout", readout, minimum=1)
    layers = check_integer("layers", layers, minimum=1)
    count = layers * angles(memory + readout)
    check_gates("memory, readout and layers", count, f"{shown(memory)}, {shown(readout)} and {shown(layers)}")
    registers = (QuantumRegister(memory, "memory"), QuantumRegister(readout, "readout"))
    qubits = [q for pair in zip_longest(*registers) for q in pair if q is not None]
    return QuantumCircuit(*registers), qubits, iter(ParameterVector("angle", count))


def _euler(step: QuantumCircuit, qubits: list[Qubit], angles: Iterator) -> None:
    """RZ RX RZ on each qubit: any rotation of the Bloch sphere."""
    for qubit in qubits:
        for rotation in (step.rz, step.rx, step.rz):
            rotation(next(angles), qubit)
