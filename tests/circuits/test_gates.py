"""Every gate of Qiskit's standard library in a step, against Qiskit's own operators: values and slopes."""

import re

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import AnnotatedOperation, Clbit, ControlModifier, Gate, InverseModifier, Parameter, PowerModifier
from qiskit.circuit import library as lib
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector, random_unitary
from reference import evolve, random_angles, registers, slopes_agree

from qrnn_helpers.circuits import Family
from qrnn_helpers.gradients import Autograd, ParameterShift
from qrnn_helpers.models import QuantumRecurrentLayer
from qrnn_helpers.simulation import StepProgram

pytestmark = pytest.mark.filterwarnings("ignore:.*CSC:scipy.sparse.SparseEfficiencyWarning")

A, B, C, D = (Parameter(name) for name in "abcd")
NOT_UNITARY = ("measure", "reset", "delay")
STANDARD = {n: g for n, g in get_standard_gate_name_mapping().items() if n not in NOT_UNITARY}


def standard(name: str) -> Gate:
    """The gate with Parameters a, b, c, d for its angles."""
    gate = STANDARD[name]
    return gate.base_class(*[A, B, C, D][: len(gate.params)]) if gate.params else gate


def sub_circuit(phase=A, name: str = "sub") -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=name, global_phase=phase)
    circuit.rx(B, 0)
    circuit.crz(A * C + 0.3, 1, 0)
    return circuit


def nested() -> QuantumCircuit:
    """Sub-circuits in sub-circuits, each with a phase that its control makes matter."""
    circuit = QuantumCircuit(3, global_phase=B - 0.4)
    circuit.append(sub_circuit(2 * A).to_gate().control(1, ctrl_state=0, annotated=False), [2, 0, 1])
    circuit.append(sub_circuit(0.8).to_gate(), [1, 2])
    return circuit


def instructions() -> QuantumCircuit:
    """What is an instruction and no gate for Qiskit."""
    circuit = QuantumCircuit(3, global_phase=C)
    circuit.barrier()
    circuit.append(nested().to_instruction(), [2, 1, 0])
    circuit.delay(10, 0)
    return circuit


def annotated(base: Gate, *modifiers) -> AnnotatedOperation:
    return AnnotatedOperation(base, list(modifiers))


def bound_later() -> QuantumCircuit:
    """A sub-circuit under a control, some of its Parameters bound or renamed afterwards."""
    circuit = QuantumCircuit(3)
    circuit.append(sub_circuit().to_gate().control(1, annotated=False), [0, 1, 2])
    return circuit.assign_parameters({A: 0.7, B: C, C: B}).to_gate()


def of_controlled(base: Gate, *, open_controls: bool = False) -> list:
    """All ways to control a gate by two qubits."""
    state = 1 if open_controls else None
    return [base.control(2, ctrl_state=state, annotated=kind) for kind in (False, True)]


UNITARY = lib.UnitaryGate(random_unitary(4, seed=1))
COMMUTING = SparsePauliOp(["XX", "YY", "ZZ"], [1.0, 1.0, 0.5])
GATES = {
    "mcx": lib.MCXGate(3),
    "mcx open": lib.MCXGate(3, ctrl_state=2),
    "mcx v-chain": lib.MCXGate(3).inverse(),
    "mcp": lib.MCPhaseGate(A, 3),
    "mcrx": lib.RXGate(A).control(3, annotated=False),
    "mcry open": lib.RYGate(A * B).control(3, ctrl_state=5, annotated=False),
    "mcrz": lib.RZGate(A).control(3, annotated=True),
    "mcu": lib.UGate(A, B, C).control(2, annotated=False),
    "ccu": lib.CUGate(A, B, C, D).control(1, annotated=False),
    "ccu annotated": lib.CUGate(A, B, C, D).control(1, annotated=True),
    "cu3 open": lib.CU3Gate(A, B, C, ctrl_state=0),
    "crzx": lib.RZXGate(A).control(2, annotated=False),
    "cxx_plus_yy": lib.XXPlusYYGate(A, B).control(1, annotated=False),
    "c-u2": lib.U2Gate(A, B).control(1, annotated=False),
    "global phase": lib.GlobalPhaseGate(A),
    "c-global phase": lib.GlobalPhaseGate(A).control(1, annotated=False),
    "ccc-global phase": lib.GlobalPhaseGate(A).control(3, ctrl_state=3, annotated=True),
    "evolution": lib.PauliEvolutionGate(COMMUTING, A),
    "evolution, fast": lib.PauliEvolutionGate(SparsePauliOp(["XZ"], [9.0]), A),
    "c-evolution": lib.PauliEvolutionGate(COMMUTING, A).control(1, annotated=False),
    "c-evolution annotated": lib.PauliEvolutionGate(COMMUTING, A).control(1, annotated=True),
    "pauli": lib.PauliGate("XYZ"),
    "permutation": lib.PermutationGate([2, 0, 3, 1]),
    "c-permutation": lib.PermutationGate([2, 0, 1]).control(1, annotated=True),
    "diagonal": lib.DiagonalGate(np.exp(1j * np.arange(8.0))),
    "c-diagonal": lib.DiagonalGate(np.exp(1j * np.arange(4.0))).control(1, annotated=False),
    "unitary": UNITARY,
    "c-unitary": UNITARY.control(2, annotated=False),
    "c-unitary annotated": UNITARY.control(2, annotated=True),
    "isometry": lib.Isometry(random_unitary(8, seed=2).data[:, :4], 0, 0),
    "qft": lib.QFTGate(4),
    "c-qft": lib.QFTGate(2).control(1, annotated=True),
    "uniformly controlled": lib.UCRXGate([0.1, 0.2, 0.3, 0.4]),
    "multiplexer": lib.UCGate([np.eye(2), random_unitary(2, seed=3).data]),
    "hamiltonian": lib.HamiltonianGate(np.diag([1.0, 3.0]), A),
    "ms": lib.MSGate(3, A),
    "mcmt": lib.MCMTGate(lib.RYGate(A), 2, 1),
    "ansatz": lib.efficient_su2(2, reps=1).to_instruction(),
    "sub-circuit": sub_circuit().to_gate(),
    "instruction": sub_circuit().to_instruction(),
    "nested": nested().to_gate(),
    "instructions": instructions().to_instruction(),
    "c-sub-circuit": sub_circuit().to_gate().control(1, annotated=False),
    "c-sub-circuit open": sub_circuit().to_gate().control(2, ctrl_state=1, annotated=False),
    "c-sub-circuit annotated": sub_circuit().to_gate().control(2, ctrl_state=1, annotated=True),
    "bound later": bound_later(),
    "inverse": sub_circuit().to_gate().inverse(),
    "inverse annotated": sub_circuit().to_gate().inverse(annotated=True),
    "repeated": sub_circuit().to_gate().repeat(2),
    "power": lib.RXXGate(A).power(0.5),
    "power of a constant": lib.XGate().power(0.3),
    "power annotated": annotated(sub_circuit().to_gate(), PowerModifier(2)),
    "negative power": annotated(lib.RXXGate(A), PowerModifier(-2), ControlModifier(1, 0)),
    "inverse of a control": annotated(lib.RYGate(A), ControlModifier(2, 1), InverseModifier()),
    "power of a control": annotated(lib.RXGate(A), ControlModifier(1, 0), PowerModifier(3)),
    "control of a control": annotated(lib.RXGate(A), ControlModifier(1, 0), ControlModifier(2, 1)),
    "annotated annotated": annotated(annotated(lib.TGate(), ControlModifier(1, 0)), ControlModifier(2, 1)),
    "control of an inverse": annotated(nested().to_gate(), InverseModifier(), ControlModifier(1)),
    "s power of s": annotated(lib.SGate(), PowerModifier(0.5), InverseModifier(), ControlModifier(2)),
    "power nought": annotated(UNITARY, PowerModifier(0)),
}


def around(gate, qubits: int = 4) -> QuantumCircuit:
    """The gate (its qubits backwards) between layers that turn its angles into probabilities."""
    step = QuantumCircuit(*registers(2, qubits - 2, False))
    for qubit in range(qubits):
        step.ry(0.4 + 0.3 * qubit, qubit)
        step.rz(0.9 - 0.5 * qubit, qubit)
    step.append(gate, range(gate.num_qubits)[::-1])
    for qubit in range(qubits):
        step.rx(0.8 - 0.2 * qubit, qubit)
    return step


def agrees(step: QuantumCircuit, seed: int = 1) -> None:
    """Probabilities as the reference's, and the shift rule's slopes as torch's."""
    angles = random_angles(step, 1, 2, seed)
    probabilities, last = QuantumRecurrentLayer(step)(angles)
    wanted, memory = evolve(step, angles[0].numpy())
    np.testing.assert_allclose(probabilities[0].numpy(), wanted, rtol=0, atol=1e-10)
    np.testing.assert_allclose(last[0].numpy(), memory, rtol=0, atol=1e-10)
    slopes_agree(step, angles)


@pytest.mark.parametrize("name", STANDARD)
def test_every_standard_gate(name):
    agrees(around(standard(name)))


@pytest.mark.parametrize("name", GATES)
def test_gates_of_any_make(name):
    agrees(around(GATES[name]))


@pytest.mark.parametrize("name", GATES)
def test_the_sampler_runs_the_same_circuit(name):
    """`expanded` at the gate angles is the step at the angles, up to a phase of all."""
    step = around(GATES[name])
    program, angles = StepProgram(step), random_angles(step, 1, 1, seed=2)[0, 0]
    values = program.gate_angles(angles).tolist()
    found = program.expanded.assign_parameters(dict(zip(program.expanded.parameters, values, strict=True)))
    wanted = step.assign_parameters(dict(zip(step.parameters, angles.tolist(), strict=True)))
    assert Operator(found).equiv(Operator(wanted), atol=1e-9)


def test_an_evolution_that_does_not_commute_is_its_product_formula():
    """What a device runs, while Qiskit's operator is the exponential that the formula approaches."""
    exponential = lib.PauliEvolutionGate(SparsePauliOp(["XI", "ZZ"], [1.0, 0.7]), A)
    formula = exponential.definition.to_gate()
    for controls in ([], [ControlModifier(1)]):
        step, wanted = (around(annotated(gate, *controls)) for gate in (exponential, formula))
        angles = random_angles(step, 1, 2, seed=1)
        found = QuantumRecurrentLayer(step)(angles)[0][0]
        np.testing.assert_allclose(found, evolve(wanted, angles[0].numpy())[0], rtol=0, atol=1e-10)
        assert not np.allclose(found, evolve(step, angles[0].numpy())[0], atol=1e-3)
        slopes_agree(step, angles)


@pytest.mark.parametrize(
    "gate, most",
    [
        (lib.QFTGate(9), 100),
        (lib.MCXGate(8), 1),
        (lib.RXGate(A).control(8, annotated=True), 1),
        (lib.PermutationGate([3, 1, 2, 0, 4, 5, 8, 7, 6]), 20),
        (lib.PauliEvolutionGate(SparsePauliOp(["ZZZZZZZZZ", "XXIIIIIII"]), A), 60),
    ],
    ids=lambda gate: getattr(gate, "name", ""),
)
def test_wide_gates_are_opened_or_held_by_their_targets(gate, most):
    """Nine qubits: no gate is read as a matrix of 512 x 512, and the values are the same."""
    step = around(gate, 9)
    program, angles = StepProgram(step), random_angles(step, 1, 1, seed=1)
    assert len([op for op in program.ops if len(op.qubits) > 1 or op.family is not None]) <= most
    assert max(op.matrix.size for op in program.ops if op.matrix is not None) <= 64**2
    values = dict(zip(step.parameters, angles.flatten().tolist(), strict=True))
    qubits = [step.find_bit(q).index for q in [*step.qregs[1], *step.qregs[0]]]  # memory first, then readout
    state = Statevector(step.assign_parameters(values)).probabilities(qubits[2:])
    np.testing.assert_allclose(QuantumRecurrentLayer(step)(angles)[0][0, 0].numpy(), state, rtol=0, atol=1e-10)


BASES = [lib.RXGate(A), lib.RZZGate(A), lib.PhaseGate(A), lib.UGate(A, B, C), lib.CRYGate(A), sub_circuit().to_gate()]


@pytest.mark.parametrize("base", BASES, ids=lambda gate: gate.name)
def test_a_control_costs_the_same_however_it_is_written(base):
    plain, annotation = (StepProgram(around(gate)).shift_circuits for gate in of_controlled(base))
    assert plain == annotation


def test_multi_controlled_rotation_takes_four_circuits():
    for controls in (1, 2, 5):
        step = around(lib.RXGate(A).control(controls, annotated=False), controls + 1 if controls > 2 else 4)
        assert StepProgram(step).shift_circuits == 4


@pytest.mark.parametrize(
    "eigenvalues, unit, count",
    [
        ([0.0, 2.0, 5.0], 1.0, 5),
        ([0.0, 0.2, 0.5], 0.1, 5),
        ([-0.5, 0.5], 1.0, 1),
        ([-0.5, 0.0, 0.5], 0.5, 2),
        ([1.0, 4.0, 10.0], 3.0, 3),
        ([0.0, np.sqrt(2), 2.5 * np.sqrt(2)], np.sqrt(2) / 2, 5),
        ([0.3, 0.3], 1.0, 0),
        ([0.0, 1.0, 64.0], 1.0, 64),
    ],
)
def test_spectrum_has_the_largest_unit(eigenvalues, unit, count):
    found = Family("gate", np.array(eigenvalues), np.empty(0)).spectrum
    assert found == (pytest.approx(unit), count)


@pytest.mark.parametrize("eigenvalues", [[0.0, 1.0, np.sqrt(2)], [0.0, 1.0, 65.0], [0.0, 31 / 32, 65 / 32]])
def test_spectrum_that_is_too_wide_is_refused(eigenvalues):
    with pytest.raises(ValueError, match=r"'gate'.*whole multiples of one frequency only, 64 at most"):
        _ = Family("gate", np.array(eigenvalues), np.empty(0)).spectrum


@pytest.mark.parametrize("eigenvalues", [[0, 2, 5, 5], [0, 0.2, 0.5, 0.2], [-7.5, 0, 7.5, 3], [0, 64, 1, 2]])
def test_rule_is_exact_for_gaps_with_a_common_unit(eigenvalues):
    """Also where the smallest gap is not the unit, and where eigenvalues are large."""
    vectors = random_unitary(4, seed=5).data
    gate = lib.HamiltonianGate(vectors @ np.diag(eigenvalues) @ vectors.conj().T, A)
    slopes_agree(around(gate), torch.tensor([[[0.4]]]).double())


# ---------------------------------------------------------------- angles of any kind


EXPRESSIONS = {
    "product": A * B,
    "sine": A.sin(),
    "square": A**2 / 3,
    "power": (A * A + 1.2) ** 0.5,
    "quotient": A / (B * B + 0.5),
    "nested": ((A * B).cos() * 2 + C).exp().log() - (A / 9).arctan(),
    "inverse": (A / 40).arcsin() + (B / 40).arccos() + (A / 40).tan(),
    "absolute": A.abs() * B,
    "sign": (A + 0.1).sign() * B,
    "conjugate": (A * B).conjugate() * 0.5,
    "to the power of": (A * A + 0.5) ** B,
    "constant after all": A / A * 0.7 + (A - A) * B,
    "linear after all": (A * B + A) / (B + 1),
    "rational": A * B / 3 + 2 * A,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_angles_of_any_kind(name):
    step = around(lib.RXGate(EXPRESSIONS[name]))
    step.append(lib.RYGate(EXPRESSIONS[name] * 2).control(2, annotated=True), [0, 1, 3])
    step.rz(A - 0.5 * B + 0.1, 2)  # linear rows stand beside
    step.rx(A, 2)
    agrees(step)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_vjp_is_the_transposed_jacobian(name):
    program = StepProgram(around(lib.RXGate(EXPRESSIONS[name])))
    angles = random_angles(program.step, 2, 3, seed=4)
    forth = torch.autograd.functional.jvp(program.gate_angles, angles, u := torch.randn_like(angles))[1]
    g = torch.randn_like(program.gate_angles(angles))
    torch.testing.assert_close((forth * g).sum(), (program.vjp(angles, g) * u).sum())


def test_linear_angles_are_a_matrix_still():
    program = StepProgram(around(lib.RXGate(2 * A - B / 3 + 0.25)))
    assert not program.angle_map.curved
    np.testing.assert_allclose(program.weights, [[2, -1 / 3]])
    np.testing.assert_allclose(program.offsets, [0.25])


@pytest.mark.parametrize("expression, value", [(A.log(), -1.0), (A**0.5, -0.1), (1 / A, 0.0), (A.arcsin(), 1.5)])
@pytest.mark.parametrize("estimator", [Autograd(), ParameterShift()], ids=repr)
def test_an_angle_without_a_value_is_named(expression, value, estimator):
    layer = QuantumRecurrentLayer(around(lib.RXGate(expression)), gradient=estimator)
    angles = torch.tensor([[[0.5], [value]]], dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"angles must keep .*'{re.escape(str(expression))}' a finite real number"):
        layer(angles)


@pytest.mark.parametrize("estimator", [Autograd(), ParameterShift()], ids=repr)
def test_an_angle_without_a_slope_is_named(estimator):
    """The square root has a value at 0, and an infinite slope."""
    layer = QuantumRecurrentLayer(around(lib.RXGate(A**0.5 + B)), gradient=estimator)
    probabilities, _ = layer(torch.zeros(1, 2, 2, dtype=torch.float64, requires_grad=True))
    with pytest.raises(ValueError, match="angles must keep the slopes of the step's .* finite"):
        probabilities[..., 0].sum().backward()


def test_a_complex_angle_is_refused():
    for expression in (1j * A, A * B + 1j):
        gate = lib.RXGate(A)
        gate.params = [expression]
        with pytest.raises(ValueError, match=r"step: got angle .* with I; allowed are real expressions"):
            StepProgram(around(gate))


# ---------------------------------------------------------------- what is refused


def initialised() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.initialize([0, 1], 0)
    return circuit


def looped() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    with circuit.for_loop(range(2)):
        circuit.h(0)
    return circuit


def resetting() -> QuantumCircuit:
    circuit = QuantumCircuit(2, name="inner")
    circuit.h(0)
    circuit.reset(0)
    return circuit


def measuring() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: initialised().data[0].operation, "initialize"),
        (lambda: looped().data[0].operation, "for_loop"),
        (lambda: resetting().data[1].operation, "reset"),
        (lambda: resetting().to_instruction(), "reset"),
        (lambda: lib.RVGate(A, 0.1, 0.2), "rv"),
    ],
)
def test_what_is_no_unitary_gate_is_named(make, name):
    with pytest.raises(ValueError, match=f"step: got gate '{name}'.*allowed are unitary gates"):
        StepProgram(around(make()))


@pytest.mark.parametrize("inner", [measuring(), measuring().to_instruction()], ids=["circuit", "instruction"])
def test_a_measurement_needs_classical_bits_and_those_are_refused(inner):
    step = around(lib.XGate())
    step.add_bits([Clbit()])
    step.append(inner, [0, 1], [0])
    with pytest.raises(ValueError, match="step: got 1 classical bits"):
        StepProgram(step)
