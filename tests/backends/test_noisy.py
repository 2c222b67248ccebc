"""Circuits with noise, exactly: beside Aer's density matrices, Kraus operators by hand, and the exact backend."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Barrier, Measure, Parameter
from qiskit.circuit import library as lib
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import DensityMatrix, Kraus, Operator, SparsePauliOp
from qiskit.transpiler import CouplingMap, PassManager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    depolarizing_error,
    kraus_error,
    phase_amplitude_damping_error,
    reset_error,
    thermal_relaxation_error,
)
from qiskit_aer.primitives import SamplerV2
from reference import (
    LEVEL,
    ONE,
    TWO,
    chi_square,
    full_state,
    memory_state,
    places,
    random_angles,
    random_state,
    registers,
    step_circuits,
)

from qrnn_helpers import (
    SPSA,
    ExactBackend,
    FiniteDifference,
    ParameterShift,
    QuantumRecurrentLayer,
    RandomCoordinate,
    SamplerBackend,
    reuploading_step,
    rotation_step,
)
from qrnn_helpers.backends import NoisyBackend, SimpleNoise
from qrnn_helpers.simulation import StepProgram

ATOL = 1e-10
STEP = rotation_step(1, 1)
SEEDS = st.integers(0, 2**20)
sometimes = settings(max_examples=8, derandomize=True, deadline=None, database=None)
LINE = GenericBackendV2(6, basis_gates=["rz", "sx", "x", "cx"], coupling_map=CouplingMap.from_line(6), seed=1)
RATES = SimpleNoise(0.02, 0.07, 0.04, reset=0.03, t1=90.0, t2=70.0, measure_time=8.0, reset_time=5.0)


def probabilities(step, backend, angles, state=None):
    program = StepProgram(step)
    return backend.run(program, program.gate_angles(angles), state)


# ---------------------------------------------------------------- by hand, with Kraus operators on the full space


def depolarizing(rate: float, qubits: int) -> Kraus:
    return Kraus(depolarizing_error(rate, qubits).to_quantumchannel())


def damping(time: float) -> Kraus:
    """Relaxation of one qubit under `RATES`, written down by hand."""
    kept, coherent = np.exp(-time / RATES.t1), np.exp(-time / RATES.t2)
    flipless = coherent / np.sqrt(kept)  # the coherence that decay alone would not take
    decay = [np.diag([1, np.sqrt(kept)]), np.array([[0, np.sqrt(1 - kept)], [0, 0]])]
    dephasing = [np.sqrt((1 + flipless) / 2) * np.eye(2), np.sqrt((1 - flipless) / 2) * np.diag([1, -1])]
    return Kraus([a @ b for a in dephasing for b in decay])


def simple_by_hand(step: QuantumCircuit, angles: np.ndarray, memory=None) -> tuple[np.ndarray, np.ndarray]:
    """Angles (time, P) -> probabilities and the last memory state of a step under `RATES`."""
    rho, rows, where = full_state(step, memory), [], places(step, "readout")
    flip = Kraus([np.sqrt(1 - RATES.reset) * np.eye(2), np.sqrt(RATES.reset) * np.array([[0, 1], [1, 0]])])
    if memory is not None:  # a step before has reset the readout
        for q in where:
            rho = rho.evolve(flip, [q])
    for row in angles:
        for each in step.assign_parameters(dict(zip(step.parameters, row, strict=True))).data:
            qubits = [step.find_bit(q).index for q in each.qubits]
            if not isinstance(each.operation, Barrier):
                rho = rho.evolve(Operator(each.operation), qubits)
                rate = RATES.one_qubit if len(qubits) == 1 else RATES.two_qubit
                rho = rho.evolve(depolarizing(rate, len(qubits)), qubits)
        for q in range(step.num_qubits):
            rho = rho.evolve(damping(8.0 if q in where else 13.0), [q])
        rows.append(confused(np.array(rho.probabilities(where)), [[[0.96, 0.04], [0.04, 0.96]]] * len(where)))
        for q in where:
            rho = reset_exactly(rho, q).evolve(flip, [q])
    return np.array(rows), memory_marginal(step, rho)


def confused(row: np.ndarray, matrices) -> np.ndarray:
    """Probabilities (R,) after readout errors A[m, r], bit by bit from the lowest."""
    shaped = row.reshape([2] * len(matrices))
    for k, matrix in enumerate(matrices[::-1]):
        shaped = np.moveaxis(np.tensordot(np.array(matrix), shaped, (1, k)), 0, k)
    return shaped.ravel()


def reset_exactly(rho: DensityMatrix, qubit: int) -> DensityMatrix:
    return rho.evolve(Kraus([np.array([[1, 0], [0, 0]]), np.array([[0, 1], [0, 0]])]), [qubit])


def memory_marginal(step: QuantumCircuit, rho: DensityMatrix) -> np.ndarray:
    for q in places(step, "readout"):
        rho = reset_exactly(rho, q)
    return memory_state(step, rho)


@sometimes
@given(step_circuits(largest=2), st.integers(1, 3), SEEDS, st.booleans())
def test_a_simple_model_is_its_kraus_operators(step, time, seed, carried):
    step, angles = narrow(step), random_angles(step, 1, time, seed)
    size = 2 ** len(places(step, "memory"))
    state = random_state(1, size, seed) if carried else None
    found, last = probabilities(step, NoisyBackend(RATES), angles, state)
    wanted, memory = simple_by_hand(step, angles[0].numpy(), None if state is None else state[0].numpy())
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=ATOL)
    np.testing.assert_allclose(last[0], memory, rtol=0, atol=ATOL)


def narrow(step: QuantumCircuit) -> QuantumCircuit:
    """Only the gates of a random step that a simple model has a rate for, as they are drawn, and all its angles."""
    bare = step.copy_empty_like()
    for each in step.data:
        gate = each.operation
        if len(each.qubits) <= 2 and gate.name in (*ONE, *TWO):
            bare.append(each)
    for parameter in sorted(set(step.parameters) - set(bare.parameters), key=lambda p: p.name):
        bare.rx(parameter, 0)
    return bare


# ---------------------------------------------------------------- beside Aer's density matrices


def aer_by_hand(backend, step, angles, noise, before_measure=None) -> np.ndarray:
    """Probabilities (time, R) before readout errors, by Aer's density matrices, of the circuit that a device runs.

    A measured bit of the step that is asked for is copied to a qubit of its own that no noise meets; other measurements
    are followed by resets, and have no effect beside that.
    """
    program = StepProgram(step)
    values = program.gate_angles(angles).flatten().tolist()
    circuit = backend.device_circuit(program, len(angles))
    circuit = circuit.assign_parameters([values[p.index] for p in circuit.parameters])
    simulator = AerSimulator(method="density_matrix", noise_model=noise)
    copies = [copied(circuit, t, program.readout, before_measure) for t in range(len(angles))]
    result = simulator.run(copies).result()
    return np.array([result.data(k)["probabilities"] for k in range(len(angles))])


def copied(circuit: QuantumCircuit, step: int, bits: int, before_measure) -> QuantumCircuit:
    used = sorted({circuit.find_bit(q).index for each in circuit.data for q in each.qubits})
    twin = QuantumCircuit(circuit.num_qubits if len(used) > 4 else max(used) + 1, name="c")
    spare = len(twin.qubits)
    twin.add_bits(QuantumCircuit(bits).qubits)
    for each in circuit.data:
        qubits = [circuit.find_bit(q).index for q in each.qubits]
        if not isinstance(each.operation, Measure):
            twin.append(each.operation, qubits)
            continue
        if before_measure is not None:
            twin.append(before_measure.to_instruction(), qubits)
        register, bit = circuit.find_bit(each.clbits[0]).registers[0]
        if register.name == f"t{step}":
            twin.append(lib.UnitaryGate(Operator(lib.CXGate())), [*qubits, spare + bit])
    twin.save_probabilities(range(spare, spare + bits))
    return twin


def by_name() -> NoiseModel:
    """Errors of many kinds: on all qubits, on some, Kraus operators, after resets and delays, in the readout."""
    noise = NoiseModel(basis_gates=["rz", "sx", "x", "cx"])
    noise.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), ["cx", "rxx"])
    noise.add_quantum_error(kraus_error(Kraus(Operator(np.diag([1, 1, 1, 1j]))).data), ["cx"], [1, 0])
    noise.add_all_qubit_quantum_error(phase_amplitude_damping_error(0.03, 0.02), ["sx"])
    noise.add_quantum_error(amplitude_damping_error(0.2, 0.1), ["sx"], [2])
    noise.add_all_qubit_quantum_error(depolarizing_error(0.02, 1), ["x", "mine"])
    noise.add_all_qubit_quantum_error(thermal_relaxation_error(50, 60, 9), ["measure", "delay"])
    noise.add_all_qubit_quantum_error(reset_error(0.1, 0.2), ["reset"])
    noise.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.06, 0.94]]))
    noise.add_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]), [2])
    return noise


def many_kinds() -> QuantumCircuit:
    a, b = Parameter("a"), Parameter("b")
    step = QuantumCircuit(*registers(1, 2, True))
    for q in range(3):
        step.ry(Parameter(f"q{q}"), q)
    step.rxx(b, 0, 1)
    step.u(a, b, a, 0)
    step.barrier()
    step.append(lib.SXGate(label="mine"), [1])
    step.cx(1, 0)
    step.cx(0, 1)
    step.delay(100, 2, unit="ns")
    step.append(lib.UnitaryGate(Operator(lib.XXPlusYYGate(0.7))), [2, 0])
    return step


MANAGERS = {"as drawn": PassManager(), "its basis": None}


@pytest.mark.filterwarnings("ignore:The sampler's noise model")
@pytest.mark.parametrize("name", MANAGERS)
def test_an_aer_model_as_aer_has_it(name):
    noise, step = by_name(), many_kinds()
    backend = NoisyBackend(noise, pass_manager=MANAGERS[name])
    angles = random_angles(step, 1, 3, seed=1)
    wanted = aer_by_hand(backend, step, angles[0], noise, thermal_relaxation_error(50, 60, 9))
    errors = [[[0.97, 0.06], [0.03, 0.94]]] * 2
    errors[1] = [[0.9, 0.2], [0.1, 0.8]]
    found, state = probabilities(step, backend, angles)
    np.testing.assert_allclose(found[0], [confused(row, errors) for row in wanted], rtol=0, atol=ATOL)
    assert state is None


def with_delays(memory: int, readout: int) -> QuantumCircuit:
    step = rotation_step(memory, readout)
    step.delay(700, 0, unit="ns")
    step.delay(1000, 1, unit="dt")
    return step


@pytest.mark.parametrize("step", [with_delays(2, 1), rotation_step(2, 2)], ids=["delays", "rotations"])
def test_a_device_as_aer_has_it(step):
    """Routed, its measurements and resets in an order of the passes' own, delays by the device's lifetimes."""
    noise, backend = NoiseModel.from_backend(LINE), NoisyBackend(AerSimulator.from_backend(LINE))
    angles = random_angles(step, 1, 2, seed=2)
    wanted = aer_by_hand(backend, step, angles[0], noise)
    circuit = backend.device_circuit(StepProgram(step), 2)
    found, _ = probabilities(step, backend, angles)
    for t, row in enumerate(found[0].numpy()):
        places = {}
        for each in circuit.data:
            if isinstance(each.operation, Measure):
                register, bit = circuit.find_bit(each.clbits[0]).registers[0]
                places.setdefault(register.name, {})[bit] = circuit.find_bit(each.qubits[0]).index
        errors = [np.array(readout_of(LINE, places[f"t{t}"][bit])) for bit in range(len(places["t0"]))]
        np.testing.assert_allclose(row, confused(wanted[t], errors), rtol=0, atol=ATOL)


def readout_of(device, qubit: int):
    """GenericBackendV2 has one error rate of a measurement, for both outcomes."""
    rate = device.target["measure"][(qubit,)].error
    return [[1 - rate, rate], [rate, 1 - rate]]


# ---------------------------------------------------------------- limits, and the sampler


@sometimes
@given(step_circuits(largest=2), st.integers(1, 3), SEEDS)
def test_without_noise_the_exact_backend(step, time, seed):
    step, angles = narrow(step), random_angles(step, 2, time, seed)
    state = random_state(2, 2 ** len(places(step, "memory")), seed)
    for start in (None, state):
        for found, wanted in zip(
            probabilities(step, NoisyBackend(SimpleNoise()), angles, start),
            probabilities(step, ExactBackend(), angles, start),
            strict=True,
        ):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_all_noise_is_uniform():
    step = rotation_step(2, 2)
    angles = random_angles(step, 2, 3, seed=1)
    for noise in (SimpleNoise(1.0, 1.0), SimpleNoise(readout=0.5)):
        found, _ = probabilities(step, NoisyBackend(noise), angles)
        torch.testing.assert_close(found, torch.full_like(found, 0.25), rtol=0, atol=1e-12)
    still = NoisyBackend(RATES.scaled(0))
    torch.testing.assert_close(probabilities(step, still, angles), probabilities(step, ExactBackend(), angles))


def test_pieces_of_a_series_are_the_whole_series():
    """A reset that fails is remembered between two calls."""
    step = reuploading_step(2, 1)
    layer = QuantumRecurrentLayer(step, backend=NoisyBackend(RATES))
    angles = random_angles(step, 2, 5, seed=1)
    whole, end = layer(angles)
    first, state = layer(angles[:, :2])
    second, state = layer(angles[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-13)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-13)


def test_readout_errors_of_each_qubit_and_portions(monkeypatch):
    matrices = [[[0.9, 0.3], [0.1, 0.7]], [[1.0, 0.05], [0.0, 0.95]]]
    step, backend = rotation_step(1, 2), NoisyBackend(SimpleNoise(readout=matrices))
    angles = random_angles(step, 5, 2, seed=1)
    found, state = probabilities(step, backend, angles)
    plain = probabilities(step, ExactBackend(), angles)[0].numpy()
    wanted = [[confused(row, matrices) for row in sample] for sample in plain]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    monkeypatch.setattr("qrnn_helpers.simulation.noisy.PORTION", 1)  # one circuit at a time
    again, last = probabilities(step, backend, angles)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-14)
    torch.testing.assert_close(last, state, rtol=0, atol=1e-14)


def test_single_precision_and_copies():
    step = rotation_step(2, 2)
    angles = random_angles(step, 2, 10, seed=1)
    double = probabilities(step, NoisyBackend(RATES), angles)
    single = NoisyBackend(RATES, torch.complex64)
    for backend in (single, copy.deepcopy(single), pickle.loads(pickle.dumps(single))):
        found = probabilities(step, backend, angles)
        assert found[1].dtype == torch.complex64
        torch.testing.assert_close(found[0], double[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1].to(torch.complex128), double[1], rtol=0, atol=1e-5)


def test_a_sampler_of_the_device_draws_these_probabilities():
    device, step, shots = AerSimulator.from_backend(LINE), rotation_step(1, 2), 20_000
    sampler = SamplerV2.from_backend(LINE, seed=7)
    angles = random_angles(step, 1, 2, seed=3)
    layers = [
        QuantumRecurrentLayer(step, backend=backend)
        for backend in (NoisyBackend(device), SamplerBackend(sampler, shots, seed=1))
    ]
    exact, drawn = (layer(angles)[0][0].detach().numpy() for layer in layers)
    assert min(chi_square(shots * row, chances) for row, chances in zip(drawn, exact)) > LEVEL
    figures = [(layer.cost.circuits, layer.cost.depth, layer.cost.two_qubit_gates) for layer in layers]
    assert figures[0] == figures[1] and layers[0].cost.shots == 0


# ---------------------------------------------------------------- gradients


def slopes(step, backend, angles, estimator=None) -> torch.Tensor:
    layer, leaf = QuantumRecurrentLayer(step, backend=backend, gradient=estimator), angles.clone().requires_grad_()
    found, _ = layer(leaf)
    weights = torch.arange(found.numel(), dtype=torch.float64).mul(1.3).cos().view_as(found)
    (found * weights).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def test_slopes_are_differences():
    step = rotation_step(1, 1)
    program, backend = StepProgram(step), NoisyBackend(RATES)
    angles, state = random_angles(step, 1, 2, seed=1).requires_grad_(), random_state(1, 2, 1)
    assert torch.autograd.gradcheck(lambda x: backend.run(program, program.gate_angles(x), state), angles)


EXCHANGE = QuantumCircuit(*registers(1, 1, True))
for place, name in enumerate("ab"):
    EXCHANGE.ry(Parameter(name), place)
EXCHANGE.append(lib.PauliEvolutionGate(SparsePauliOp(["XX", "YY", "ZZ"]), Parameter("t")), [0, 1])


def noisy_basis() -> NoisyBackend:
    noise = NoiseModel(basis_gates=["rz", "sx", "x", "cx"])
    noise.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), ["cx"])
    noise.add_all_qubit_quantum_error(amplitude_damping_error(0.03), ["sx"])
    return NoisyBackend(noise)


CASES = {
    "simple": (rotation_step(2, 1), NoisyBackend(RATES)),
    "device": (rotation_step(2, 1), NoisyBackend(AerSimulator.from_backend(LINE))),
    "basis gates": (reuploading_step(1, 1), noisy_basis()),
    "exchange, noise behind it": (EXCHANGE, NoisyBackend(RATES)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_shift_rule_is_exact_under_noise_between_gates(name):
    """A controlled rotation is run as gates with noise between, but of no frequency that its rule does not know."""
    step, backend = CASES[name]
    angles = random_angles(step, 2, 3, seed=4)
    wanted = slopes(step, backend, angles)
    for estimator in (ParameterShift(), ParameterShift(causal=False), RandomCoordinate(10**3, seed=1)):
        if isinstance(estimator, RandomCoordinate):
            estimator = RandomCoordinate(3 * len(StepProgram(step).occurrences), seed=1)
        torch.testing.assert_close(slopes(step, backend, angles, estimator), wanted, rtol=0, atol=1e-10)
    found = slopes(step, backend, angles, FiniteDifference(1e-4))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_the_shift_rule_is_not_exact_under_noise_inside_a_gate():
    """exp(-it (XX + YY + ZZ)) has the one frequency 4; run as RXX, RYY and RZZ with noise between, 2 and 6, too."""
    backend, angles = noisy_basis(), random_angles(EXCHANGE, 2, 3, seed=4)
    exact, rule = (slopes(EXCHANGE, backend, angles, estimator) for estimator in (None, ParameterShift()))
    torch.testing.assert_close(rule[..., :2], exact[..., :2], rtol=0, atol=1e-10)
    assert (rule - exact)[..., 2].abs().min() > 5e-4
    opened = EXCHANGE.decompose()
    torch.testing.assert_close(
        slopes(opened, backend, angles, ParameterShift()), slopes(opened, backend, angles), rtol=0, atol=1e-10
    )


def test_variants_are_whole_circuits():
    """Also of steps whose gates the passes have moved behind the next step's."""
    step, backend = rotation_step(1, 2), NoisyBackend(AerSimulator.from_backend(LINE))
    program, angles = StepProgram(step), random_angles(step, 2, 3, seed=5)
    weights = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    others = random_angles(step, 8, 1, seed=6).view(4, 2, -1)
    for causal in (False, True):
        at = backend.variants(program, angles, weights, causal=causal)
        for t in range(3):
            copies = angles.repeat(4, 1, 1, 1)
            copies[:, :, t] = others
            found = backend.run(program, copies.flatten(0, 1))[0].unflatten(0, (4, 2)) * weights
            wanted = found[:, :, t if causal else 0 :].sum((2, 3))
            torch.testing.assert_close(at(t, others), wanted, rtol=0, atol=1e-12)


def test_spsa_comes_near_the_slopes():
    step, backend = rotation_step(1, 1), NoisyBackend(RATES)
    angles = random_angles(step, 2, 3, seed=1)
    mean = torch.stack([slopes(step, backend, angles, SPSA(0.05, 200, seed=k)) for k in range(10)]).mean(0)
    wanted = slopes(step, backend, angles)
    assert (mean - wanted).norm() < 0.4 * wanted.norm()


# ---------------------------------------------------------------- what is refused


def wide() -> QuantumCircuit:
    step = rotation_step(2, 1)
    step.ccx(0, 1, 2)
    return step


def three() -> NoiseModel:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.1, 3), ["ccx"])
    return noise


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: SimpleNoise(1.2), "one_qubit must be a probability, at most 1; got 1.2"),
        (lambda: SimpleNoise(two_qubit=-0.1), "two_qubit must be at least 0"),
        (lambda: SimpleNoise(t1=10.0, t2=21.0), "t2 must be at most 2 t1 = 20; got 21"),
        (lambda: SimpleNoise(t1=0.0), "t1 must be greater than 0"),
        (lambda: SimpleNoise(readout=[[0.9, 0.2], [0.2, 0.8]]), "readout must hold probabilities whose columns sum"),
        (lambda: SimpleNoise(readout=[0.1, 0.2]), r"readout must be a probability or have shape \(2, 2\)"),
        (lambda: SimpleNoise(0.1).scaled(11), "factor must leave probabilities"),
        (lambda: NoisyBackend(LINE), r"noise must be .*AerSimulator.from_backend\(device\)"),
        (lambda: NoisyBackend(0.1), "noise must be a SimpleNoise.*got 0.1"),
        (lambda: NoisyBackend(three()), r"noise must consist of .*got an error on 3 qubits \(ccx\)"),
        (lambda: NoisyBackend(RATES, pass_manager=PassManager()), "pass_manager must be None"),
        (lambda: NoisyBackend(RATES, torch.float64), "dtype must be one of"),
        (
            lambda: slopes(wide(), NoisyBackend(RATES), torch.zeros(1, 1, 20).double()),
            "step must have gates on one or two qubits where they are noisy; got 'ccx' on 3",
        ),
        (
            lambda: slopes(STEP, NoisyBackend(SimpleNoise(readout=[np.eye(2)] * 2)), torch.zeros(1, 1, 13).double()),
            "noise must have one assignment matrix for each of the 1 readout qubits.*got 2",
        ),
        (
            lambda: QuantumRecurrentLayer(STEP, backend=noisy_basis())(torch.zeros(1, 1, 13), random_state(1, 2, 1)),
            "state must be None on NoisyBackend",
        ),
    ],
)
def test_what_is_wrong_is_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_noise_that_is_never_met_warns():
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["h"])
    with pytest.warns(UserWarning, match="noise on .'h'. that the circuit never meets"):
        probabilities(STEP, NoisyBackend(noise, pass_manager=PassManager()), torch.zeros(1, 1, 13).double())
