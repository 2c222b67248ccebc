"""Where circuits run: what every backend offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Barrier, ControlFlowOp, ControlledGate, Parameter
from qiskit.transpiler import PassManager

from ..checks import shown
from ..circuits import has_free_angle, open_controlled, unroll
from ..simulation import StepProgram

__all__ = ["Backend"]


BASIS = [
    *("u", "p", "rx", "ry", "rz", "rxx", "ryy", "rzz", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx"),
    *("cx", "cy", "cz", "swap"),
]
"""Gates that simulators know by name, on two qubits at most so that their number says something.
Controlled rotations are left out on purpose: see `open_controlled`."""

CIRCUITS_KEPT = 32
"""Transpiled circuits kept for each step circuit: lengths and pass managers beyond that are made anew."""

_kept: WeakKeyDictionary[StepProgram, dict] = WeakKeyDictionary()  # a program that dies takes its circuits along


class Backend(ABC):
    """Runs circuits.  ``shots`` is the number of shots of each circuit, 0 if the result is exact;
    ``max_circuits`` how many of them one run may hold, None for no limit but memory; ``pass_manager``
    what fits circuits to the device, None for Qiskit's preset at level 1 with gates that every simulator knows.
    A torch.Generator in the attribute ``generator`` goes into a layer's state_dict: a backend that wraps
    another one hands it on.
    """

    shots: int = 0
    max_circuits: int | None = None
    pass_manager: PassManager | None = None

    @abstractmethod
    def run(
        self, program: StepProgram, gate_angles: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Gate angles (batch, time, G) -> probabilities (batch, time, 2**readout), final memory state.

        The state is a density matrix (batch, 2**memory, 2**memory), or None if it cannot be seen.
        """

    def values(
        self,
        program: StepProgram,
        gate_angles: torch.Tensor,
        weights: torch.Tensor,
        state: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The weighted readout sum_r w[t, r] p[t, r] of every step, (batch, time), for weights w (batch, time, R)."""
        return (self.run(program, gate_angles, state)[0] * weights).sum(-1)

    def variants(
        self,
        program: StepProgram,
        gate_angles: torch.Tensor,
        weights: torch.Tensor,
        state: torch.Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Callable[[int | range, torch.Tensor], torch.Tensor]:
        """A function (step, replaced) -> (K, batch): weighted readouts, summed over time, of K variants of the
        circuits, with the gate angles of one step replaced by (K, batch, G).

        ``step`` may be a range of S steps: then (K, S * batch) for (K, S * batch, G), circuits that differ at the
        first step, then such that differ at the next, ...  ``causal`` leaves the outputs before that step out.
        This is what the shift rule asks for; backends that can share work between steps override it.
        """

        @each_step
        def at(step: int, replaced: torch.Tensor) -> torch.Tensor:
            rows, first = gate_angles.repeat(len(replaced), 1, 1, 1), step if causal else 0
            rows[:, :, step] = replaced
            repeated = None if state is None else state.repeat(len(replaced), 1, 1)
            outcomes = self.run(program, rows.flatten(0, 1), repeated)[0].unflatten(0, replaced.shape[:2])
            return (outcomes * weights)[:, :, first:].sum((-2, -1))

        return at

    def device_circuit(self, program: StepProgram, time_steps: int) -> QuantumCircuit:
        """What a device runs, or would run: `unroll` of the step, one Parameter for each gate occurrence and step,
        through ``pass_manager``.  Made once for each program, length and pass manager.

        Without a pass manager, controlled gates that have a Parameter are written out first (`open_controlled`)."""
        return self._transpiled(program, time_steps).circuit

    def _transpiled(self, program: StepProgram, time_steps: int) -> Transpiled:
        kept, key = _kept.setdefault(program, {}), (self.pass_manager, time_steps)
        if key not in kept:
            manager, step = self.pass_manager, program.expanded
            if manager is None:  # not `or`: an empty pass manager is false
                manager = generate_preset_pass_manager(1, basis_gates=BASIS, seed_transpiler=0)
                step = open_controlled(step)
            drawn = unroll(step, time_steps)
            circuit = manager.run(drawn)
            if not isinstance(circuit, QuantumCircuit):
                raise TypeError(f"pass_manager must return a QuantumCircuit; got {type(circuit).__name__}")
            if len(kept) >= CIRCUITS_KEPT:
                del kept[next(iter(kept))]
            registers = {register.name: register.size for register in drawn.cregs}
            kept[key] = Transpiled(circuit, tuple(drawn.parameters), registers)
        return kept[key]

    def figures_ran(self, program: StepProgram, time_steps: int) -> tuple[int, int] | None:
        """Depth and two-qubit gates of the circuit that ran, None if nothing was transpiled yet."""
        kept = _kept.get(program, {}).get((self.pass_manager, time_steps))
        return None if kept is None else kept.figures


@dataclass(eq=False)
class Transpiled:
    """A transpiled ``circuit``, with the ``parameters`` (in the order of the gate angles (time, G), flat) and the
    classical ``registers`` (name: bits) of the one it was made from."""

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    registers: dict[str, int]
    noise_checked: list = field(default_factory=list)

    @cached_property
    def figures(self) -> tuple[int, int]:
        return figures(self.circuit)

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
        return any(isinstance(i.operation, ControlledGate) and has_free_angle(i.operation) for i in self.circuit.data)

    @cached_property
    def outputs(self) -> list[str]:
        """The registers that hold the outcomes, every bit of them measured."""
        measured = {bit for i in self.circuit.data if not isinstance(i.operation, ControlFlowOp) for bit in i.clbits}
        found = {register.name: list(register) for register in self.circuit.cregs}
        for name, size in self.registers.items():
            bits = found.get(name, [])
            if len(bits) != size or not measured.issuperset(bits):
                count = sum(bit in measured for bit in bits)
                raise ValueError(
                    f"pass_manager must keep what is measured, {size} bits in each of t0 to t{len(self.registers) - 1};"
                    f" got {count} measured of {len(bits)} in {name}, in a circuit with registers {shown([*found])}"
                )
        return [*self.registers]


def figures(circuit: QuantumCircuit) -> tuple[int, int]:
    """Depth as Qiskit counts it (a delay is one, a barrier none) and the number of gates on two qubits."""
    pairs = [i for i in circuit.data if len(i.qubits) == 2 and not isinstance(i.operation, Barrier)]
    return circuit.depth(), len(pairs)


def each_step(at: Callable[[int, torch.Tensor], torch.Tensor]) -> Callable[[int | range, torch.Tensor], torch.Tensor]:
    """What `variants` gives, of a function that knows single steps only."""

    def spanned(step: int | range, replaced: torch.Tensor) -> torch.Tensor:
        if not isinstance(step, range):
            return at(step, replaced)
        return torch.cat([at(t, own) for t, own in zip(step, replaced.chunk(len(step), 1), strict=True)], 1)

    return spanned


def refuse_state(backend: Backend, state: torch.Tensor | None) -> None:
    if state is not None:
        name = type(backend).__name__
        raise ValueError(f"state must be None on {name}, which cannot show a memory state; got a tensor")
