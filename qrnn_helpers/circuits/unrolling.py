"""From a step circuit to the circuit that a device runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import ControlledGate, Parameter, ParameterExpression, ParameterVector

from ..checks import check_count, check_gates, shown
from .angles import linear


def open_controlled(circuit: QuantumCircuit) -> QuantumCircuit:
    """The same circuit with every controlled gate that has a Parameter replaced by its definition.

    Aer 0.18 (its issues 2323, 2391, 2403) drops or mixes up the bindings of such gates when values
    come beside the circuit, and returns wrong counts without a word.
    """
    while names := {
        i.operation.name
        for i in circuit.data
        if isinstance(i.operation, ControlledGate) and has_free_angle(i.operation)
    }:
        circuit = circuit.decompose(gates_to_decompose=list(names))
    return circuit


def has_free_angle(gate: ControlledGate) -> bool:
    """Whether the gate has a free Parameter; its own `is_parameterized` does not say."""
    return any(getattr(p, "parameters", None) for p in gate.params)


@contextmanager
def definitions_end() -> Iterator[None]:
    """Qiskit follows a gate's definition until its stack is full."""
    try:
        yield
    except RecursionError as error:
        raise ValueError("step must hold gates whose definitions end; got one that contains itself") from error


@definitions_end()
def unroll(step: QuantumCircuit, time_steps: int) -> QuantumCircuit:
    """The circuit that a device runs for ``time_steps`` repetitions of ``step``.

    Each repetition applies the block, measures ``readout`` into a classical register of its own
    (``t0``, ``t1``, ...) and resets it.  The Parameters are one vector of ``time_steps * P``
    elements: for angles of shape (time_steps, P), ``.parameters`` in order is ``angles.reshape(-1)``.
    """
    check_step(step)
    time_steps = check_count("time_steps", time_steps)
    readout = next(register for register in step.qregs if register.name == "readout")
    check_gates("time_steps", time_steps * (len(step.data) + 2 * readout.size), shown(time_steps))
    parameters = list(step.parameters)
    angles = ParameterVector("angles", time_steps * len(parameters))
    circuit = QuantumCircuit(step.qubits, *step.qregs)  # registers may be laid over loose qubits
    phase: ParameterExpression | float = 0.0
    for t in range(time_steps):
        step_angles = dict(zip(parameters, angles[t * len(parameters) : (t + 1) * len(parameters)]))
        for instruction in step.assign_parameters(step_angles).data:  # not `compose`: it grows with the time's square
            circuit.append(instruction, copy=False)
        phase = _added(phase, step.global_phase, step_angles)
        outcome = ClassicalRegister(readout.size, f"t{t}")
        circuit.add_register(outcome)
        circuit.measure(readout, outcome)
        circuit.reset(readout)
    circuit.global_phase = phase
    return circuit


def _added(
    total: ParameterExpression | float, phase: ParameterExpression | float, angles: dict[Parameter, Parameter]
) -> ParameterExpression | float:
    """A step's phase with its ``angles``, added to those before, term by term where it can be.

    Qiskit takes minutes to add a sum of eight terms to the sum of those of seven steps before.
    """
    if not isinstance(phase, ParameterExpression):
        return total + phase
    line = linear(phase)
    if line is None:
        return total + phase.subs({p: angle for p, angle in angles.items() if p in phase.parameters})
    offset, slopes = line
    return sum((slope * angles[p] for p, slope in slopes.items()), total + offset)


def check_step(step: QuantumCircuit) -> tuple[list[int], list[int]]:
    """Positions of the memory and readout qubits in ``step.qubits``, or an error that says what is wrong."""
    if not isinstance(step, QuantumCircuit):
        raise TypeError(f"step: got {type(step).__name__}; allowed is a qiskit.QuantumCircuit")
    names = [register.name for register in step.qregs]
    if sorted(names) != ["memory", "readout"]:
        raise ValueError(f"step: got quantum registers {names}; allowed are exactly 'memory' and 'readout'")
    if step.num_clbits or step.cregs:
        raise ValueError(f"step: got {step.num_clbits} classical bits; a step circuit has none (unroll measures)")
    if variables := [v.name for v in (*step.iter_vars(), *step.iter_stretches())]:
        raise ValueError(f"step: got the run-time variables {shown(variables)}; a step circuit has Parameters only")
    memory, readout = ([step.find_bit(q).index for q in r] for r in sorted(step.qregs, key=lambda r: r.name))
    if not all((memory, readout)):
        raise ValueError("step: got an empty register; memory and readout need one qubit each at least")
    if sorted(memory + readout) != list(range(step.num_qubits)):
        raise ValueError("step: registers overlap or leave qubits out; every qubit belongs to exactly one of them")
    return memory, readout
