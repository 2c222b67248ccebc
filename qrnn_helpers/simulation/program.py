"""From a Qiskit step circuit to batched tensors.

With the readout reset at every step, a step is a linear map on the memory alone: its Kraus
operators K_r are the blocks of the step's isometry (2**n x 2**memory), one for each outcome r.
This module compiles a step circuit once and then builds the isometries of any number of samples
and time steps in one batch.  Every gate that depends on a Parameter is an *occurrence* with one angle
of its own: `read` finds it in the circuit, `AngleMap` computes its angle from those of the step.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterExpression, ParameterVector
from torch import Tensor

from ..checks import check_bytes, shown
from ..circuits import AngleMap, ShiftRule, check_step, definitions_end, read
from ..torch_modes import constant
from .contraction import Contraction
from .description import StepDescription, described
from .fusion import Block, Cluster, clusters, fuse
from .pauli import PauliSteps
from .unitaries import BlockUnitaries

LARGE = 64.0
"""Radians beyond which an angle is reduced by its gate's period: a sum of many such angles, or one in single
precision, would lose the digits that count."""

LARGEST = 2.0**20
"""Radians that a gate without a period may have: in double precision its phases keep ten digits."""

PAULI_PRODUCTS = 10_000
"""Real products of a step up to which the Pauli basis is faster: on 3 + 3 qubits, at 16,000, it is not."""

PAULI_CALLS = 4
"""Circuits for each call from which on the Pauli basis is faster (measured at 2 + 2 qubits: 3 to 5)."""

WIDTHS = 2, 3, 4, 5, 6
"""Qubits on which blocks may be multiplied with each other first: the width with the least work is taken."""


class StepProgram:
    """A step circuit, compiled: P angles -> G gate angles -> isometries.

    Attributes: ``memory``, ``readout`` (numbers of qubits), ``parameters`` (the P free Parameters in
    Qiskit's order), ``angle_map`` (angles to gate angles; its linear part is ``weights`` (G, P) and ``offsets``
    (G,)), ``rules`` (one `ShiftRule` for each occurrence, made when asked for), ``expanded`` (the step
    circuit with an independent Parameter for each occurrence, in the gates, barriers and delays that it was drawn
    with: what a sampler runs.  A gate is opened only where one of its parameters goes into several occurrences).
    """

    @definitions_end()
    @np.errstate(all="ignore")  # the caller's setting is not for Qiskit's products of small matrix entries
    def __init__(self, step: QuantumCircuit):
        memory, readout = check_step(step)
        self.step = step = step.copy()  # what the caller does to theirs afterwards changes nothing here
        self.memory, self.readout = len(memory), len(readout)
        check_bytes("step", 16 * self.size, f"one isometry on {self.memory} + {self.readout} qubits")
        self.parameters = tuple(step.parameters)
        self._order = readout[::-1] + memory[::-1]  # as axes of a tensor: each register's highest bit first
        self._placed = read(step)
        self.ops = [op for placed in self._placed for op in placed.ops]
        self.occurrences = tuple(op for op in self.ops if op.family is not None)
        self._families = [op.family for op in self.ops if op.family is not None]
        expressions = [op.expression for op in self.occurrences if op.expression is not None]
        self._check_hidden(expressions)
        self.angle_map = AngleMap(expressions, self.parameters)
        self.weights, self.offsets = self.angle_map.weights, self.angle_map.offsets
        self._fused = fuse(self.ops) + self._idle()
        choices = [clusters(self._fused, width) for width in WIDTHS]
        self.clusters = min(choices, key=lambda choice: self._contraction(choice).cost)
        self.blocks = [block for cluster in self.clusters for block in cluster.blocks]

    def _check_hidden(self, expressions: list[ParameterExpression]) -> None:
        used = set().union(*(expression.parameters for expression in expressions))
        hidden = sorted(parameter.name for parameter in used.difference(self.parameters))
        if hidden:
            raise ValueError(
                f"step: got Parameters {shown(hidden)} in a gate's definition that are not among the gate's own; "
                "allowed are gates whose params name all of theirs, as those of QuantumCircuit.to_gate() do"
            )

    def _idle(self) -> list[Block]:
        """Qubits that no gate touches, as blocks without gates."""
        touched = {q for op in self.ops for q in op.qubits}
        return [Block((q,), []) for q in self._order if q not in touched]

    @property
    def size(self) -> int:
        """Numbers in one isometry."""
        return 2 ** (self.readout + 2 * self.memory)

    @cached_property
    def rules(self) -> tuple[ShiftRule, ...]:
        return tuple(family.rule for family in self._families)

    @cached_property
    def shift_terms(self) -> tuple[Tensor, Tensor, Tensor]:
        """All terms of all rules in a row: occurrence, shift and coefficient, (K,) each."""
        terms = [(g, s, c) for g, rule in enumerate(self.rules) for s, c in zip(rule.shifts, rule.coefficients)]
        columns = zip(*terms) if terms else ((), (), ())
        gates, shifts, coefficients = map(list, columns)
        return constant(gates, torch.int64), constant(shifts, torch.float64), constant(coefficients, torch.float64)

    @property
    def shift_circuits(self) -> int:
        """Circuits that the shift rule runs for one time step of one sample."""
        return len(self.shift_terms[0])

    @cached_property
    def expanded(self) -> QuantumCircuit:
        circuit = QuantumCircuit(self.step.qubits, *self.step.qregs)
        angles = ParameterVector("gate_angle", len(self.occurrences))
        for placed in self._placed:
            circuit.append(placed.with_angles(angles), placed.qubits)
        return circuit

    def gate_angles(self, angles: Tensor) -> Tensor:
        """Angles (..., P) -> the angle of every occurrence (..., G), large ones reduced by the gate's period."""
        gates = len(self.occurrences)
        needed = 8 * gates * angles.shape[:-1].numel()
        check_bytes("angles", needed, f"shape {tuple(angles.shape)} for {gates} gates each")
        return self.reduced(self.angle_map(angles))

    def reduced(self, gate_angles: Tensor) -> Tensor:
        """The same circuits, no angle larger than LARGE or half its gate's period, whichever is more.

        The differences of a gate's eigenvalues are whole multiples of a unit W, so that its angle counts modulo
        2 pi / W only.  The sine and cosine of W theta are right for numbers of any size; a remainder by 2 pi,
        itself rounded, would not be.
        """
        values = gate_angles.detach()
        if not values.numel() or values.is_meta:
            return gate_angles
        least, most = values.aminmax()  # no copy: this is asked in every call
        if max(-float(least), float(most)) <= LARGE:
            return gate_angles
        sizes = values.abs()
        units = self._units.to(gate_angles.device)
        phases = values.double() * units
        if not bool((phases.isfinite() | (sizes <= LARGEST)).all()):
            raise ValueError(
                f"angles must be finite, and within +-{LARGEST:g} where a gate's frequencies have no common unit; "
                f"got a gate angle of size {float(sizes.amax()):.3g}"
            )
        reduced = torch.atan2(phases.sin(), phases.cos()) / units
        values = torch.where((sizes > LARGE) & units.isfinite(), reduced.to(values.dtype), values)
        return values + (gate_angles - gate_angles.detach())  # whole turns are constants: all derivatives are 1

    @cached_property
    def _units(self) -> Tensor:
        """The unit W of every occurrence's frequencies (G,); NaN where they have none in common."""
        return constant([family.unit for family in self._families], torch.float64)

    def vjp(self, angles: Tensor, gate_gradient: Tensor) -> Tensor:
        """Gradient along the gate angles (batch, time, G) -> along the angles (batch, time, P).

        The chain rule, J^T g with J = d gate_angles / d angles, taken at ``angles`` (batch, time, P).
        """
        return self.angle_map.vjp(angles, gate_gradient)

    def kraus(self, gate_angles: Tensor, dtype: torch.dtype) -> Tensor:
        """Gate angles (N, G) -> Kraus operators (N, 2**readout, 2**memory, 2**memory): [r, out, in]."""
        return self.isometries(gate_angles, dtype).transpose(1, 2)

    def isometries(self, gate_angles: Tensor, dtype: torch.dtype) -> Tensor:
        """The same as isometries (N, 2**memory, 2**readout, 2**memory): [out, r, in], the order they are stored in."""
        unitaries = self.unitaries(self.reduced(gate_angles), dtype)
        return self.contraction.in_portions(unitaries, len(gate_angles))

    def variants(self, base: Tensor, replaced: Tensor, dtype: torch.dtype) -> Tensor:
        """`isometries` (batch * K, out, r, in) for gate angles (K, batch, G), most of which are those of ``base``
        (batch, G): a block's unitaries are worked out for the variants that differ in it, and once for all others."""
        place, few = self._differing(base, replaced)
        angles = self.reduced(torch.cat([base[None], replaced]))[few].transpose(1, 2)
        unitaries = [
            unitary if block.constant else unitary.unflatten(0, angles.shape[1:3])[:, where].flatten(0, 1)
            for block, unitary, where in zip(self.blocks, self.unitaries(angles.flatten(1, 2), dtype), place.T)
        ]
        return self.contraction.in_portions(unitaries, replaced.shape[:2].numel())

    def _differing(self, base: Tensor, replaced: Tensor) -> tuple[Tensor, Tensor]:
        """For each block the variants that differ in it: where a variant's unitary stands among these, 0 if it is as in
        ``base`` (K, blocks), and of which variant, counted from 1, each of these is (blocks, places)."""
        differ = (replaced != base).any(1).to(torch.float32) @ self._gates_in_blocks.to(base.device) > 0
        place = differ.cumsum(0) * differ
        variant, block = differ.nonzero(as_tuple=True)
        few = torch.zeros(len(self.blocks), 1 + int(place.max()), dtype=torch.int64, device=base.device)
        few[block, place[variant, block]] = 1 + variant
        return place, few

    @cached_property
    def _gates_in_blocks(self) -> Tensor:
        """1 where an occurrence belongs to a block, (G, blocks)."""
        owners = [number for number, block in enumerate(self.blocks) for _ in block.occurrences]
        member = np.zeros((len(self.occurrences), len(self.blocks)))
        member[[occurrence for block in self.blocks for occurrence in block.occurrences], owners] = 1
        return constant(member, torch.float32)

    def describe(self, width: int | None = None) -> StepDescription:
        """The compiled step in numbers; as it would be with clusters on at most ``width`` qubits, if that is given."""
        parts = self.clusters if width is None else clusters(self._fused, width)
        return described(parts, self.unitaries, self._contraction(parts))

    @cached_property
    def unitaries(self) -> BlockUnitaries:
        """Gate angles (N, G) -> the matrices of all blocks."""
        return BlockUnitaries(self.blocks)

    @cached_property
    def contraction(self) -> Contraction:
        """From the blocks' matrices to isometries (N, out, r, in)."""
        return self._contraction(self.clusters)

    @cached_property
    def ground_contraction(self) -> Contraction:
        """The same for a memory in |0...0>: isometries of one column, (N, out, r, 1)."""
        return self._contraction(self.clusters, ground=True)

    def _contraction(self, parts: list[Cluster], ground: bool = False) -> Contraction:
        readout, memory = self._order[: self.readout], self._order[self.readout :]
        inputs = [] if ground else memory
        groups = ("out", memory), ("out", readout), ("in", inputs)
        return Contraction(parts, inputs, [[(side, q) for q in qubits] for side, qubits in groups])

    @cached_property
    def _pauli(self) -> PauliSteps | None:
        """Its steps in the Pauli basis, unless a gate is too wide or their products too many."""
        # An op takes at least two products for each number of a memory state: known before anything is compiled.
        if not PauliSteps.fits(self.ops) or 2 * len(self.ops) * 4**self.memory > PAULI_PRODUCTS:
            return None
        steps = PauliSteps(self.ops, self._order[: self.readout], self._order[self.readout :])
        return steps if steps.products <= PAULI_PRODUCTS else None

    def pauli_steps(self, circuits: int) -> PauliSteps | None:
        """Its steps in the Pauli basis where that is the faster way to run so many circuits without their gradient:
        a call there is for all circuits, and there are many calls."""
        if circuits < PAULI_CALLS * max(1, len(self.ops)) or self._pauli is None:
            return None
        return self._pauli if circuits >= PAULI_CALLS * self._pauli.calls else None

    @property
    def multiplications(self) -> dict[str, int]:
        """Complex multiplications that value and gradient take for one step of one sample, part by part.

        Unitaries and clusters go forward once and back twice; the isometry is made a second time on the way
        back; the memory takes two products of the isometry's size forward and three back."""
        outer = sum(step.multiplications for step in self.contraction.steps)
        small = self.unitaries.multiplications + self.contraction.multiplications - outer
        return {"matrices": 3 * small, "isometry": 4 * outer, "memory": 5 * self.size * 2**self.memory}

    @property
    def _small_numbers(self) -> int:
        """Complex numbers in the small matrices of one step of one sample."""
        return self.unitaries.numbers + self.contraction.factor_numbers

    def bytes(self, steps: int, dtype: torch.dtype) -> int:
        """Bytes that the isometries of so many steps take at their peak: 1 to 1.4 times what was measured."""
        return steps * dtype.itemsize * (3 * self.size + self._small_numbers)

    def evolution_bytes(self, steps: int, dtype: torch.dtype, graph: bool = False, batch: int = 1) -> int:
        """Bytes that the outcome probabilities of so many steps of ``batch`` samples take at their peak, ``graph``:
        with their gradient.

        Isometries are made a portion at a time, so that a step keeps its small matrices, its outcomes (twice, and as
        often their gradient) and, for the gradient, one memory state."""
        portion = min(steps, self.contraction.portion(torch.ones((), dtype=dtype, device="cpu")))
        kept = self._small_numbers + (1 + graph) * 2**self.readout
        kept += graph * (4**self.memory + 4 * len(self.occurrences))
        isometries = 3 * portion + 2 * min(batch, portion)
        return dtype.itemsize * (steps * kept + batch * 4 * 4**self.memory + isometries * self.size)
