"""Step circuits: the plain Qiskit blocks that a recurrent network repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter, ParameterVector, Qubit

from ..checks import check_count, check_gates, listed, shown
from .unrolling import check_step


def rotation_step(memory: int = 2, readout: int = 2, layers: int = 1) -> QuantumCircuit:
    """RZ RX RZ on every qubit, an open chain of CRX, RZ RX RZ on every qubit; ``layers`` times.

    The qubits q run m0 r0 m1 r1 ... until the shorter register ends, then the rest; each CRX is
    controlled by q_i and acts on q_i+1.  A layer has 7n - 1 angles for n qubits, numbered in gate
    order, and every layer has angles of its own.

    One layer is *unital* on the memory: with the Kraus operators K_r = <r| U |0>, taken between states of the
    readout, it sends 1 to sum_r K_r K_r^+ = 1, for any angles.  A readout qubit then reaches the memory only as
    the control of a rotation, on a qubit that it has not heard of; the maximally mixed memory stays as it is, and
    no step makes a memory purer.  `two_way_step`, `exchange_step` and two layers are not bound by this.
    """
    sizes = {"memory": memory, "readout": readout, "layers": layers}
    step, qubits, angles = _blank(sizes, lambda m, r, layers: layers * (7 * (m + r) - 1))
    for _ in range(layers):
        _euler(step, qubits, angles)
        _apply([step.crx], zip(qubits, qubits[1:]), angles)
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
    sizes = {"memory": memory, "readout": readout, "layers": layers}
    step, qubits, angles = _blank(sizes, lambda m, r, layers: layers * (5 * (m + r) if m + r > 2 else 7))
    ring = list(zip(qubits, qubits[1:]))
    if len(qubits) > 2:
        ring.append((qubits[-1], qubits[0]))
    for _ in range(layers):
        _apply([step.ry, step.rz], zip(qubits), angles)
        _apply([step.crx, step.cry, step.crz], ring, angles)
    return step


def two_way_step(memory: int, readout: int) -> QuantumCircuit:
    """`rotation_step` with a chain of CRY backwards behind its chain of CRX: 8n - 2 angles for n qubits.

    After the CRX from q_i to q_i+1, i = 0, 1, ..., come the CRY from q_i+1 to q_i in the same order; angles are
    numbered in gate order.  So a readout qubit acts on the memory qubit that it has heard of, and the step is not
    unital: CRX by a and CRY by b between one memory and one readout qubit send 1 to

        sum_r K_r K_r^+ = 1 + sin^2(a/2) sin(b/2) (sin(b/2) Z - cos(b/2) X),

    so that the reset can take a memory qubit's entropy away.
    """
    step, qubits, angles = _blank({"memory": memory, "readout": readout}, lambda m, r: 8 * (m + r) - 2)
    _euler(step, qubits, angles)
    _apply([step.crx], zip(qubits, qubits[1:]), angles)
    _apply([step.cry], zip(qubits[1:], qubits), angles)
    _euler(step, qubits, angles)
    return step


def exchange_step(memory: int = 3, readout: int = 3) -> QuantumCircuit:
    """A step whose memory takes up fresh qubits, by partial swaps with the readout: 4m + 7r - 2 angles.

    In order, with angles numbered so: RX RZ and a chain of CRX on the readout; a partial swap
    exp(-i theta (XX + YY) / 2) of readout qubit k and memory qubit k mod m; RZ RX RZ and a chain of CRX on the
    memory; CRX from memory qubit k + 1 mod m to readout qubit k; RZ RX on the readout.  A swap hands over part of
    a readout qubit's state.  While that is |0>, a lone swap is amplitude damping and sends 1 to

        sum_r K_r K_r^+ = 1 + sin^2(theta) Z,

    where one layer of `rotation_step` has 1; at theta = pi/2 nothing of the memory qubit stays.
    """
    sizes = {"memory": memory, "readout": readout}
    step, _, angles = _blank(sizes, lambda m, r: 4 * m + 7 * r - 2, gates=lambda m, r: 4 * m + 8 * r - 2)
    m, r = step.qregs
    partners = [m[k % memory] for k in range(readout)]
    neighbours = [m[(k + 1) % memory] for k in range(readout)]
    _apply([step.rx, step.rz], zip(r), angles)
    _apply([step.crx], zip(r, r[1:]), angles)
    for qubits, angle in zip(zip(partners, r), angles):
        step.rxx(angle, *qubits)
        step.ryy(angle, *qubits)
    _euler(step, m, angles)
    _apply([step.crx], zip(m, m[1:]), angles)
    _apply([step.crx], zip(neighbours, r), angles)
    _apply([step.rz, step.rx], zip(r), angles)
    return step


Angles = Iterator[Parameter]


def _blank(
    sizes: dict[str, int], angles: Callable[..., int], gates: Callable[..., int] | None = None
) -> tuple[QuantumCircuit, list[Qubit], Angles]:
    """An empty step circuit, its qubits in the order m0 r0 m1 r1 ..., and its Parameters.

    ``sizes``: memory, readout and perhaps layers; ``angles(*sizes)`` and ``gates(*sizes)``, which are as many if not
    said, are to follow.
    """
    numbers = [check_count(name, size) for name, size in sizes.items()]
    check_gates(listed(sizes), (gates or angles)(*numbers), listed(map(shown, numbers)))
    memory = QuantumRegister(numbers[0], "memory")
    readout = QuantumRegister(numbers[1], "readout")
    qubits = [q for pair in zip_longest(memory, readout) for q in pair if q is not None]
    return QuantumCircuit(memory, readout), qubits, iter(ParameterVector("angle", angles(*numbers)))


def _apply(gates: Sequence[Callable], places: Iterable[tuple[Qubit, ...]], angles: Angles) -> None:
    """All ``gates`` on one place after the other, each with an angle of its own."""
    for qubits in places:
        for gate in gates:
            gate(next(angles), *qubits)


def _euler(step: QuantumCircuit, qubits: Iterable[Qubit], angles: Angles) -> None:
    """RZ RX RZ on each qubit: any rotation of the Bloch sphere."""
    _apply([step.rz, step.rx, step.rz], zip(qubits), angles)


def without_entanglers(step: QuantumCircuit) -> QuantumCircuit:
    """``step`` with every gate on two or more qubits dropped, and with it the Parameters that are only there.

    What stays acts on each qubit alone.  As the readout is reset after every step, nothing then passes
    from one step to the next: what such a network can do needs neither entanglement nor memory.
    """
    check_step(step)
    bare = step.copy_empty_like()
    for instruction in step.data:
        if len(instruction.qubits) == 1:
            bare.append(instruction)
    if not bare.parameters:
        raise ValueError("step must have a Parameter in a gate on a single qubit; got none")
    return bare
