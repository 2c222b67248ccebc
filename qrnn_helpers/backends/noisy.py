"""Exact simulation under noise: the density matrix of a whole circuit, every gate and its noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, reduce
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Barrier, CircuitInstruction, Delay, Parameter, ParameterExpression
from qiskit.circuit import Measure as QiskitMeasure
from qiskit.circuit import Reset as QiskitReset
from qiskit.providers import BackendV2
from qiskit.quantum_info import Kraus
from qiskit.transpiler import PassManager
from torch import Tensor

from ..checks import check_bytes, check_instance, shown
from ..circuits import AngleMap, check_step, read, unroll
from ..simulation import (
    GROUND,
    AngleTable,
    Element,
    Measure,
    NoisyCircuit,
    NoisyPauliSteps,
    NoisyPicture,
    Read,
    Reset,
    Running,
    StepProgram,
    arranged,
    element_of,
    transfer_matrix,
)
from .base import Answer, Variants, check_no_state, one_step_at_a_time
from .devices import fitting_pass_manager, unmet_noise
from .exact import ExactBackend, check_state, is_recorded
from .noise import AerNoise, CircuitNoise, SimpleNoise
from .transpiled import Transpiled, transpile

__all__ = ["NoisyBackend"]


CHANNELS = "kraus", "superop", "quantum_channel"
"""Instructions that are maps themselves, by Qiskit's names and Aer's."""

Part = Element | Measure | Reset | Read


class NoisyBackend(ExactBackend):
    """Exact probabilities of circuits with noise; differentiable by torch.

    ``noise`` is a `SimpleNoise`, a ``NoiseModel`` of qiskit-aer, or a simulator with one: for the noise of a device,
    as far as its target tells, ``AerSimulator.from_backend(device)``.

    What is simulated is the whole circuit, `unroll` of the step through ``pass_manager``, with each instruction's
    noise: the same circuit that `SamplerBackend` runs.  By default a simple model has its noise at the gates as they
    stand in the step circuit; for a device circuits go through Qiskit's preset at level 1 to its target, for a noise
    model to its basis gates, as there.  A UserWarning tells of noise that the circuit never meets.

    A simple model shows the memory's state, and starts from one, unless it has a ``pass_manager``.  Noise between
    gates leaves the shift rule exact.  Noise inside a gate that is run as several need not: see `ParameterShift`.
    """

    def __init__(self, noise: Any, dtype: torch.dtype = torch.complex128, *, pass_manager: PassManager | None = None):
        super().__init__(dtype)
        if pass_manager is not None:
            check_instance("pass_manager", pass_manager, PassManager, "a qiskit PassManager or None")
        self.noise = noise
        self._given = pass_manager
        self._model = model_of(noise)
        if pass_manager is not None and self._model.idle() is not None:
            raise ValueError(
                "pass_manager must be None for a noise with lifetimes t1 or t2, which is known for the step "
                f"as it is drawn; got {shown(pass_manager)} with {noise}"
            )
        self._as_drawn = pass_manager is None and isinstance(noise, SimpleNoise)
        self.pass_manager = fitting(noise, self._model) if pass_manager is None else pass_manager
        self._circuits: WeakKeyDictionary[StepProgram, dict[int, NoisyCircuit]] = WeakKeyDictionary()

    def __repr__(self) -> str:
        noise = self.noise if isinstance(self.noise, SimpleNoise) else type(self.noise).__name__
        return f"NoisyBackend({noise}, dtype={self.dtype})"

    def __getstate__(self) -> dict:
        # Qiskit's presets cannot be pickled, nor circuits that are kept only as long as their programs.
        return {"noise": self.noise, "dtype": self.dtype, "pass_manager": self._given}

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        if self._is_many(program, gate_angles, state):
            assert isinstance(self.noise, SimpleNoise)  # as drawn
            steps = noisy_steps(program, self.noise)
            outcomes, rho = steps.probabilities(program.reduced(gate_angles), self.dtype)
            return outcomes.to(gate_angles.dtype).contiguous(), rho
        circuit = self._circuit(program, gate_angles.shape[1])
        start = self._begun(circuit, gate_angles, state)
        if is_recorded(gate_angles, state):
            self._check_graph(circuit, gate_angles)
            parts = [(gate_angles, start)]
        else:
            size = circuit.together(self.dtype.to_real())
            parts = [(gate_angles[k : k + size], start[k : k + size]) for k in range(0, len(gate_angles), size)]
        ends = [circuit.advance(begun, angles) for angles, begun in parts]
        # Slopes of 0 where no gate has an angle, as from every estimator.
        nothing = 0 if program.occurrences else gate_angles.sum((1, 2))[:, None, None]
        outcomes = torch.cat([circuit.outcomes(end) for end in ends]) + nothing
        if not self._as_drawn:
            return outcomes.to(gate_angles.dtype), None
        rho = torch.cat([circuit.memory_of(end, self.dtype) for end in ends])
        return outcomes.to(gate_angles.dtype), rho + nothing

    def _is_many(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None) -> bool:
        """Whether these are many small circuits, for which the Pauli basis without slopes is faster."""
        if not self._as_drawn or state is not None or is_recorded(gate_angles):
            return False
        return program.pauli_steps(len(gate_angles)) is not None and all(len(op.qubits) <= 2 for op in program.ops)

    def variants(
        self,
        program: StepProgram,
        gate_angles: Tensor,
        weights: Tensor,
        state: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Variants:
        circuit = self._circuit(program, gate_angles.shape[1])
        self._check_graph(circuit, gate_angles)
        start = self._begun(circuit, gate_angles, state)
        picture = NoisyPicture(circuit, gate_angles.detach(), weights, start, causal)
        return one_step_at_a_time(picture.at)

    def _circuit(self, program: StepProgram, time_steps: int) -> NoisyCircuit:
        """Compiled once for each program and length."""
        circuits = self._circuits.setdefault(program, {})
        if time_steps not in circuits:
            self._model.check_readout(program.readout)
            transpiled = self._written(program, time_steps)
            if isinstance(self._model, AerNoise) and (words := unmet_noise(self._model.model, transpiled.circuit)):
                warnings.warn(words, stacklevel=2)
            circuits[time_steps] = compiled(program, transpiled, self._model)
        return circuits[time_steps]

    def _written(self, program: StepProgram, time_steps: int) -> Transpiled:
        """The circuit in the gates that have the noise; passes would change the order of what is drawn."""
        return as_drawn(program, time_steps) if self._as_drawn else transpile(program, time_steps, self.pass_manager)

    def _begun(self, circuit: NoisyCircuit, gate_angles: Tensor, state: Tensor | None) -> Running:
        if state is None:
            return circuit.ground(len(gate_angles), self.dtype.to_real(), gate_angles.device)
        if not self._as_drawn:
            check_no_state(self, state)
        size = 2 ** len(circuit.memory)
        return circuit.carried(check_state("state", state, len(gate_angles), size).to(self.dtype))

    def _check_graph(self, circuit: NoisyCircuit, gate_angles: Tensor) -> None:
        needed = 3 * len(gate_angles) * circuit.bytes(self.dtype.to_real())
        check_bytes("angles", needed, f"shape {tuple(gate_angles.shape)} with what the gradient needs")


def model_of(noise: Any) -> CircuitNoise:
    if isinstance(noise, SimpleNoise):
        return noise
    model = getattr(noise.options, "noise_model", None) if isinstance(noise, BackendV2) else noise
    if hasattr(model, "noise_instructions") and hasattr(model, "basis_gates"):
        return AerNoise(model)
    allowed = (
        "a SimpleNoise, a NoiseModel of qiskit-aer, or a simulator that has one: AerSimulator.from_backend(device) is "
        "that of a device"
    )
    raise TypeError(f"noise must be {allowed}; got {shown(noise)} ({type(noise).__name__})")


def fitting(noise: Any, model: CircuitNoise) -> PassManager | None:
    """Passes that write a circuit in the gates that have the noise: none at all for a simple model."""
    if not isinstance(model, AerNoise):
        return PassManager()
    return fitting_pass_manager(noise.target if isinstance(noise, BackendV2) else None, model.model)


def as_drawn(program: StepProgram, time_steps: int) -> Transpiled:
    """The unrolled step, gate by gate as it is drawn."""
    drawn = unroll(program.expanded, time_steps)
    return Transpiled(drawn, tuple(drawn.parameters), {register.name: register.size for register in drawn.cregs})


def compiled(program: StepProgram, transpiled: Transpiled, noise: CircuitNoise) -> NoisyCircuit:
    """A transpiled circuit with its noise."""
    reader = CircuitReader(noise.prepared(transpiled.circuit), transpiled.outputs, noise)
    parts = list(reader.parts())
    memory = tuple(check_step(program.step)[0])
    prepared = {qubit: reader.after_reset(qubit) for qubit in range(reader.circuit.num_qubits) if qubit not in memory}
    return NoisyCircuit(arranged(parts), angle_table(reader.expressions, transpiled), memory, prepared)


class CircuitReader:
    """Reads a circuit from front to back; ``expressions`` are the angles of its elements, in order."""

    def __init__(self, circuit: QuantumCircuit, registers: list[str], noise: CircuitNoise):
        self.circuit = circuit
        self.noise = noise
        self.expressions: list[ParameterExpression] = []
        sizes = {register.name: register.size for register in circuit.cregs}
        self.steps = {name: step for step, name in enumerate(registers)}
        self.left = {step: sizes[name] for name, step in self.steps.items()}  # bits that are not measured yet
        self.begun: set[int] = set()
        self.measured: dict[int, set[int]] = {step: set() for step in self.left}
        for instruction in circuit.data:
            if isinstance(instruction.operation, QiskitMeasure):
                self.measured[self.bit(instruction)[0]].update(self.qubits(instruction))

    def qubits(self, instruction: CircuitInstruction) -> tuple[int, ...]:
        return tuple(self.circuit.find_bit(qubit).index for qubit in instruction.qubits)

    def bit(self, instruction: CircuitInstruction) -> tuple[int, int]:
        """The time step and the number of a measured bit."""
        register, number = self.circuit.find_bit(instruction.clbits[0]).registers[0]
        return self.steps[register.name], number

    def after_reset(self, qubit: int) -> np.ndarray:
        vector = GROUND
        for matrix in self.noise.beside("reset", (qubit,)):
            vector = matrix @ vector
        return vector

    def parts(self) -> Iterator[Part]:
        for instruction in self.circuit.data:
            operation = instruction.operation
            if isinstance(operation, Barrier):
                continue
            if isinstance(operation, QiskitMeasure):
                yield from self._measurement(instruction)
            elif isinstance(operation, QiskitReset):
                (qubit,) = self.qubits(instruction)
                yield Reset(qubit, self.after_reset(qubit))
            else:
                yield from self._gate(instruction)

    def _measurement(self, instruction: CircuitInstruction) -> Iterator[Part]:
        (qubit,) = self.qubits(instruction)
        step, bit = self.bit(instruction)
        if step not in self.begun:
            self.begun.add(step)
            yield from self._idle(step)
        yield from self._beside("measure", (qubit,))
        yield Measure(qubit, step, bit, measurement(self.noise.assignment(qubit, bit)))
        self.left[step] -= 1
        if not self.left[step]:
            yield Read(step)

    def _idle(self, step: int) -> Iterator[Element]:
        matrix = self.noise.idle()
        if matrix is not None:
            others = [qubit for qubit in range(self.circuit.num_qubits) if qubit not in self.measured[step]]
            yield from (Element((qubit,), matrix[None]) for qubit in others)

    def _gate(self, instruction: CircuitInstruction) -> Iterator[Element]:
        qubits = self.qubits(instruction)
        operation = instruction.operation
        if len(qubits) > 2:
            raise ValueError(
                f"step must have gates on one or two qubits where they are noisy; got {operation.name!r} on "
                f"{len(qubits)} (a pass_manager can write it out)"
            )
        if operation.name in CHANNELS:
            yield Element(qubits, transfer_matrix(np.array(Kraus(operation).data))[None])
            return
        if not isinstance(operation, Delay):
            yield from self._elements(instruction, qubits)
        yield from self._beside(instruction.label or instruction.name, qubits)

    def _elements(self, instruction: CircuitInstruction, qubits: tuple[int, ...]) -> Iterator[Element]:
        """A gate's ops; those on no qubit but a phase are none."""
        alone = QuantumCircuit(len(qubits))
        alone.append(instruction.operation, range(len(qubits)))
        for placed in read(alone):
            for op in placed.ops:
                element = element_of(op, len(self.expressions))
                if op.expression is not None:
                    self.expressions.append(op.expression)
                yield replace(element, qubits=tuple(qubits[place] for place in element.qubits))

    def _beside(self, name: str, qubits: tuple[int, ...]) -> Iterator[Element]:
        for matrix in self.noise.beside(name, qubits):
            yield Element(qubits, matrix[None])


@lru_cache(maxsize=32)
def noisy_steps(program: StepProgram, noise: SimpleNoise) -> NoisyPauliSteps:
    """The step as it is drawn, with its noise, in the Pauli basis."""
    noise.check_readout(program.readout)
    drawn = as_drawn(program, 1)
    reader = CircuitReader(drawn.circuit, drawn.outputs, noise)
    elements = [part for part in reader.parts() if isinstance(part, Element)]
    angles = angle_table(reader.expressions, drawn).columns[:, 0]
    elements = [replace(each, angle=int(angles[each.angle])) if each.frequencies else each for each in elements]
    memory, readout = (qubits[::-1] for qubits in check_step(program.step))
    bits = range(len(readout))[::-1]
    assignment = reduce(np.kron, [noise.assignment(qubit, bit) for qubit, bit in zip(readout, bits, strict=True)])
    reset = [reader.after_reset(qubit)[3] for qubit in readout]
    return NoisyPauliSteps(program.ops, elements, readout, memory, reset, assignment)


def measurement(assignment: np.ndarray) -> np.ndarray:
    """Maps (2, 4, 4) of a qubit that is projected and read as 0 or 1."""
    zero = np.zeros((4, 4))
    zero[np.ix_([0, 3], [0, 3])] = 0.5
    one = zero * np.outer([1, 1, 1, -1], [1, 1, 1, -1])
    return np.tensordot(assignment, np.stack([zero, one]), 1)


def angle_table(expressions: list[ParameterExpression], transpiled: Transpiled) -> AngleTable:
    """The circuit's angles from the gate angles, each of which is a Parameter there."""
    places = {parameter: place for place, parameter in enumerate(transpiled.parameters)}
    lines = [line_of(expression) for expression in expressions]
    longest = max([1, *(len(slopes) for _, slopes in lines)])
    table = AngleTable(
        np.array([offset for offset, _ in lines]),
        np.zeros((len(lines), longest)),
        np.zeros((len(lines), longest), dtype=int),
    )
    for row, (_, slopes) in enumerate(lines):
        table.slopes[row, : len(slopes)] = list(slopes.values())
        table.columns[row, : len(slopes)] = [places[parameter] for parameter in slopes]
    return table


def line_of(expression: ParameterExpression) -> tuple[float, dict[Parameter, float]]:
    """Offset and slopes of a linear expression."""
    if isinstance(expression, Parameter):
        return 0.0, {expression: 1.0}
    line = AngleMap([expression], tuple(expression.parameters))
    if line.curved:
        raise ValueError(f"pass_manager must leave angles linear in those of the gates; got {shown(expression)}")
    return float(line.offsets[0]), dict(zip(line.parameters, line.weights[0]))
