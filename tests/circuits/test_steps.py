"""Step circuits as readers meet them: their gates, their angles, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
from problems import interleaved
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter, Qubit
from qiskit.quantum_info import Operator
from reference import evolve, places, registers

from qrnn_helpers.circuits import exchange_step, reuploading_step, rotation_step, two_way_step, unroll
from qrnn_helpers.models import QuantumRecurrentLayer


def names(circuit: QuantumCircuit) -> list[str]:
    """Each gate with its qubits, such as 'crx m0 r0'."""
    place = {q: f"{r.name[0]}{i}" for r in circuit.qregs for i, q in enumerate(r)}
    return [" ".join([i.operation.name, *(place[q] for q in i.qubits)]) for i in circuit.data]


@pytest.mark.parametrize(
    "memory, readout, order",
    [
        (1, 1, "m0 r0"),
        (2, 2, "m0 r0 m1 r1"),
        (3, 1, "m0 r0 m1 m2"),
        (1, 3, "m0 r0 r1 r2"),
        (4, 4, "m0 r0 m1 r1 m2 r2 m3 r3"),
    ],
)
def test_rotation_step_alternates_memory_and_readout(memory, readout, order):
    qubits = order.split()
    euler = [f"{gate} {q}" for q in qubits for gate in ("rz", "rx", "rz")]
    chain = [f"crx {a} {b}" for a, b in pairwise(qubits)]
    step = rotation_step(memory, readout, layers=2)
    assert names(step) == 2 * (euler + chain + euler)
    assert len(step.parameters) == 2 * (7 * len(qubits) - 1)


@pytest.mark.parametrize(
    "step", [rotation_step(2, 2, layers=2), reuploading_step(2, 2, layers=2), two_way_step(2, 2), exchange_step(2, 2)]
)
def test_angles_are_numbered_in_gate_order(step):
    """More than ten, so that order by name alone would scramble them."""
    assert list(dict.fromkeys(i.operation.params[0] for i in step.data)) == list(step.parameters)


@pytest.mark.parametrize("qubits, angles", [((1, 1), 7), ((2, 1), 15), ((2, 2), 20)])
def test_reuploading_step_has_all_three_axes(qubits, angles):
    step = reuploading_step(*qubits)
    assert len(step.parameters) == angles
    counts = step.count_ops()
    assert counts["crx"] == counts["cry"] == counts["crz"]


def test_reuploading_ring_closes():
    assert names(reuploading_step(2, 1))[-3:] == ["crx m1 m0", "cry m1 m0", "crz m1 m0"]


def test_two_way_step_leads_back():
    assert names(two_way_step(2, 1))[9:13] == ["crx m0 r0", "crx r0 m1", "cry r0 m0", "cry m1 r0"]


def test_exchange_step_swaps_partly():
    """What lies between the readings, taken up by the readout, and its last rotations."""
    taken, given = ["rx r0", "rz r0", "rx r1", "rz r1", "crx r0 r1"], ["rz r0", "rx r0", "rz r1", "rx r1"]
    swaps = ["rxx m0 r0", "ryy m0 r0", "rxx m1 r1", "ryy m1 r1"]
    memory = [f"{gate} {q}" for q in ("m0", "m1") for gate in ("rz", "rx", "rz")]
    assert names(exchange_step(2, 2)) == taken + swaps + memory + ["crx m0 m1", "crx m1 r0", "crx m0 r1"] + given


def sent(step: QuantumCircuit, angles: np.ndarray) -> np.ndarray:
    """What a step makes of the identity on the memory: sum_r K_r K_r^+, which is 1 if the step is unital."""
    size = 2 ** len(places(step, "memory"))
    return size * evolve(step, angles[None], np.eye(size) / size)[1]


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (3, 1), (2, 2), (3, 2)])
def test_one_layer_of_rotation_step_is_unital(sizes):
    """Two layers are not, nor the steps that act back on the memory: the reason why there are such steps."""
    rng = np.random.default_rng(0)
    for step, unital in (
        (rotation_step(*sizes), True),
        (rotation_step(*sizes, layers=2), False),
        (two_way_step(*sizes), False),
        (exchange_step(*sizes), False),
    ):
        moved = np.abs(sent(step, rng.uniform(0, 2 * np.pi, len(step.parameters))) - np.eye(2 ** sizes[0])).max()
        assert moved < 1e-12 if unital else moved > 1e-3


def test_one_layer_of_reuploading_step_is_unital_with_as_many_memory_qubits():
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 30)
    np.testing.assert_allclose(sent(reuploading_step(3, 3), angles), np.eye(8), atol=1e-12)


X, Z = np.array([[0, 1], [1, 0]]), np.diag([1, -1])


@pytest.mark.parametrize("a, b", [(0.7, 0.4), (2.3, -1.1)])
def test_formula_of_the_way_back(a, b):
    angles = np.zeros(14)
    angles[6:8] = a, b
    half = np.sin(a / 2) ** 2 * np.sin(b / 2)
    wanted = np.eye(2) + half * (np.sin(b / 2) * Z - np.cos(b / 2) * X)
    np.testing.assert_allclose(sent(two_way_step(1, 1), angles), wanted, atol=1e-12)


@pytest.mark.parametrize("theta", [0.3, np.pi / 2])
def test_a_lone_swap_is_amplitude_damping(theta):
    angles = np.zeros(9)
    angles[2] = theta
    np.testing.assert_allclose(sent(exchange_step(1, 1), angles), np.eye(2) + np.sin(theta) ** 2 * Z, atol=1e-12)


@pytest.mark.parametrize("memory_first", [True, False])
def test_unroll_measures_and_resets_after_every_step(memory_first):
    step = QuantumCircuit(*registers(1, 2, memory_first))
    step.rx(Parameter("b"), 0)
    step.ry(Parameter("a"), 2)
    circuit = unroll(step, 3)
    assert [(r.name, r.size) for r in circuit.cregs] == [("t0", 2), ("t1", 2), ("t2", 2)]
    block = [*names(step), "measure r0", "measure r1", "reset r0", "reset r1"]
    assert names(circuit) == 3 * block


def test_unrolled_parameters_are_the_angles_flattened():
    """Twelve Parameters over eleven steps: neither index is sorted as text."""
    step = rotation_step(1, 1)
    angles = np.random.default_rng(1).normal(size=(11, 13))
    circuit = unroll(step, 11)
    bound = circuit.assign_parameters(dict(zip(circuit.parameters, angles.ravel(), strict=True)))
    rotations = [i.operation.params[0] for i in bound.data if i.operation.params]
    np.testing.assert_allclose(rotations, angles.ravel())


def test_unroll_keeps_the_order_of_qubits():
    """Registers may be aliases laid over loose qubits; the block must land on the same ones."""
    step = interleaved()
    step.crx(0.3, 0, 3)
    step.ry(Parameter("a"), 1)
    circuit = unroll(step, 1)
    assert names(circuit)[:2] == names(step) == ["crx r0 m0", "ry m1"]
    once = circuit.remove_final_measurements(inplace=False)
    once.data = [i for i in once.data if i.operation.name not in ("reset", "measure")]
    values = {p: 0.4 for p in once.parameters}
    same = Operator(once.assign_parameters(values)).equiv(step.assign_parameters([0.4]))
    assert same


def test_unrolled_global_phase_keeps_its_parameters():
    """It does nothing, but the order of angles counts it."""
    step = QuantumCircuit(*registers(1, 1, True), global_phase=Parameter("a") + 0.3)
    step.rx(Parameter("b"), 1)
    circuit = unroll(step, 3)
    assert len(circuit.parameters) == 6
    bound = circuit.assign_parameters(dict(zip(circuit.parameters, [1, 2, 3, 4, 5, 6], strict=True)))
    assert [i.operation.params for i in bound.data if i.operation.params] == [[2], [4], [6]]
    assert bound.global_phase == pytest.approx(9.9 - 2 * np.pi)


def test_a_long_unrolled_phase_is_that_of_its_steps():
    """Qiskit takes hours to add forty sums of eight terms to each other."""
    step = rotation_step(1, 1).decompose()
    circuit, values = unroll(step, 40), np.random.default_rng(1).uniform(-3, 3, (40, 13))
    found = circuit.assign_parameters(values.ravel()).global_phase
    wanted = sum(step.assign_parameters(row).global_phase for row in values)
    assert np.exp(1j * found) == pytest.approx(np.exp(1j * wanted))


# ---------------------------------------------------------------- what is refused


def wrong_names() -> QuantumCircuit:
    return QuantumCircuit(QuantumRegister(1, "memory"), QuantumRegister(1, "output"))


def no_readout() -> QuantumCircuit:
    return QuantumCircuit(QuantumRegister(2, "memory"))


def third_register() -> QuantumCircuit:
    return QuantumCircuit(*(QuantumRegister(1, n) for n in ("memory", "readout", "ancilla")))


def overlapping() -> QuantumCircuit:
    q = [Qubit() for _ in range(3)]
    memory = QuantumRegister(bits=q[:2], name="memory")
    return QuantumCircuit(q, memory, QuantumRegister(bits=q[1:], name="readout"))


def qubit_outside() -> QuantumCircuit:
    return QuantumCircuit([Qubit()], QuantumRegister(1, "memory"), QuantumRegister(1, "readout"))


def empty_register() -> QuantumCircuit:
    return QuantumCircuit(QuantumRegister(2, "memory"), QuantumRegister(0, "readout"))


def classical_bits() -> QuantumCircuit:
    return QuantumCircuit(*registers(1, 1, True), ClassicalRegister(1, "c"))


REFUSED = [
    (wrong_names, "memory.*output"),
    (no_readout, "readout"),
    (third_register, "ancilla"),
    (overlapping, "overlap"),
    (qubit_outside, "leave qubits out"),
    (empty_register, "empty register"),
    (classical_bits, "classical bits"),
]


@pytest.mark.parametrize("make, words", REFUSED, ids=lambda x: getattr(x, "__name__", ""))
@pytest.mark.parametrize("call", [lambda s: unroll(s, 2), QuantumRecurrentLayer])
def test_what_is_no_step_circuit_is_refused(make, words, call):
    with pytest.raises(ValueError, match=f"(?s)step.*{words}"):
        call(make())


@pytest.mark.parametrize("call", [lambda s: unroll(s, 2), QuantumRecurrentLayer])
def test_what_is_no_circuit_is_refused(call):
    with pytest.raises(TypeError, match=r"step.*str.*QuantumCircuit"):
        call("circuit")


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: rotation_step(0, 1), ValueError, "memory"),
        (lambda: rotation_step(1, -1), ValueError, "readout"),
        (lambda: reuploading_step(1, 1, layers=0), ValueError, "layers"),
        (lambda: two_way_step(0, 1), ValueError, "memory"),
        (lambda: exchange_step(1, 0), ValueError, "readout"),
        (lambda: rotation_step(1.5, 1), TypeError, "memory"),
        (lambda: reuploading_step(1, True), TypeError, "readout"),
        (lambda: unroll(rotation_step(1, 1), 0), ValueError, "time_steps"),
        (lambda: unroll(rotation_step(1, 1), "3"), TypeError, "time_steps"),
    ],
)
def test_wrong_numbers_are_refused_by_name(call, error, name):
    with pytest.raises(error, match=f"{name} must be"):
        call()


def resetting(step):
    step.reset(0)


def initialising(step):
    step.initialize([0, 1], 0)


@pytest.mark.parametrize(
    "add, words",
    [
        (resetting, "'reset'"),
        (initialising, "'initialize'"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_what_the_network_cannot_differentiate_is_refused(add, words):
    step = QuantumCircuit(*registers(1, 1, True))
    add(step)
    with pytest.raises(ValueError, match=f"step.*{words}"):
        QuantumRecurrentLayer(step)
