"""The circuit of a device: unrolled, transpiled once for each length and pass manager, its figures counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Barrier, ControlFlowOp, ControlledGate, Parameter
from qiskit.transpiler import PassManager

from ..checks import shown
from ..circuits import has_free_angle, open_controlled, unroll
from ..simulation import StepProgram

BASIS = [
    *("u", "p", "rx", "ry", "rz", "rxx", "ryy", "rzz", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx"),
    *("cx", "cy", "cz", "swap"),
]
"""Gates that simulators know by name, on two qubits at most so that their number says something.
Controlled rotations are left out on purpose: see `open_controlled`."""

CIRCUITS_KEPT = 32
"""Transpiled circuits kept for each step circuit: lengths and pass managers beyond that are made anew."""

Key = tuple[PassManager | None, int]

KEPT: WeakKeyDictionary[StepProgram, dict[Key, Transpiled]] = WeakKeyDictionary()
"""Circuits by program, pass manager and number of steps; a program that dies takes its circuits along."""


@dataclass(eq=False)
class Transpiled:
    """A transpiled ``circuit``, with the ``parameters`` (in the order of the gate angles (time, G), flat) and the
    classical ``registers`` (name: bits) of the one it was made from."""

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    registers: dict[str, int]
    noise_checked: list[object] = field(default_factory=list)

    @cached_property
    def figures(self) -> tuple[int, int]:
        return depth_and_two_qubit_gates(self.circuit)

    @cached_property
    def columns(self) -> list[int]:
        """Whose values go with the circuit's Parameters, in its own order; passes may drop and reorder them."""
        places = {parameter: place for place, parameter in enumerate(self.parameters)}
        if unknown := [parameter.name for parameter in self.circuit.parameters if parameter not in places]:
            raise ValueError(
                f"pass_manager must keep or drop the Parameters that it is given, angles[0] to "
                f"angles[{len(places) - 1}]; got {len(unknown)} that it was not, {shown(unknown)}"
            )
        return [places[parameter] for parameter in self.circuit.parameters]

    @cached_property
    def controlled(self) -> bool:
        """Whether a controlled gate has a Parameter."""
        operations = [instruction.operation for instruction in self.circuit.data]
        return any(isinstance(gate, ControlledGate) and has_free_angle(gate) for gate in operations)

    @cached_property
    def outputs(self) -> list[str]:
        """The registers that hold the outcomes, every bit of them measured."""
        plain = [each for each in self.circuit.data if not isinstance(each.operation, ControlFlowOp)]
        measured = {bit for each in plain for bit in each.clbits}
        bits = {register.name: list(register) for register in self.circuit.cregs}
        for name, size in self.registers.items():
            count = len(measured.intersection(bits.get(name, [])))
            if not count == len(bits.get(name, [])) == size:
                raise ValueError(
                    f"pass_manager must keep what is measured, {size} bits in each of t0 to t{len(self.registers) - 1};"
                    f" got {count} measured of {len(bits.get(name, []))} in {name}, in a circuit with registers "
                    f"{shown([*bits])}"
                )
        return [*self.registers]


def transpile(program: StepProgram, time_steps: int, pass_manager: PassManager | None) -> Transpiled:
    """The unrolled step through ``pass_manager``, made once; None is Qiskit's preset at level 1 to `BASIS`, with
    controlled gates that have a Parameter written out first."""
    circuits = KEPT.setdefault(program, {})
    key = (pass_manager, time_steps)
    if key not in circuits:
        fresh = _made(program, time_steps, pass_manager)
        if len(circuits) >= CIRCUITS_KEPT:
            del circuits[next(iter(circuits))]
        circuits[key] = fresh
    return circuits[key]


def _made(program: StepProgram, time_steps: int, pass_manager: PassManager | None) -> Transpiled:
    step = program.expanded
    if pass_manager is None:  # not `or`: an empty pass manager is false
        pass_manager = generate_preset_pass_manager(1, basis_gates=BASIS, seed_transpiler=0)
        step = open_controlled(step)
    drawn = unroll(step, time_steps)
    circuit = pass_manager.run(drawn)
    if not isinstance(circuit, QuantumCircuit):
        raise TypeError(f"pass_manager must return a QuantumCircuit; got {type(circuit).__name__}")
    registers = {register.name: register.size for register in drawn.cregs}
    return Transpiled(circuit, tuple(drawn.parameters), registers)


def figures_if_known(program: StepProgram, time_steps: int, pass_manager: PassManager | None) -> tuple[int, int] | None:
    """Depth and two-qubit gates of the circuit, None if nothing was transpiled yet."""
    circuit = KEPT.get(program, {}).get((pass_manager, time_steps))
    return None if circuit is None else circuit.figures


def depth_and_two_qubit_gates(circuit: QuantumCircuit) -> tuple[int, int]:
    """Depth as Qiskit counts it (a delay is one, a barrier none) and the number of gates on two qubits."""
    pairs = [each for each in circuit.data if len(each.qubits) == 2 and not isinstance(each.operation, Barrier)]
    return circuit.depth(), len(pairs)
