"""Shots under noise by moments: beside histories by hand, beside Aer's shots, and without noise; readings corrected."""

import copy
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.quantum_info import DensityMatrix, Kraus, Operator
from qiskit.transpiler import PassManager
from qiskit.transpiler.basepasses import TransformationPass
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, pauli_error
from reference import places, random_angles, registers

from qrnn_helpers import (
    SPSA,
    ExactBackend,
    MomentBackend,
    ParameterShift,
    QuantumRecurrentLayer,
    RandomCoordinate,
    ShotBackend,
    rotation_step,
    two_way_step,
)
from qrnn_helpers.backends import NoisyBackend, NoisyMomentBackend, ReadoutCorrection, SimpleNoise, calibrated_readout
from qrnn_helpers.backends.noisy import noisy_steps
from qrnn_helpers.circuits import open_controlled, unroll
from qrnn_helpers.gradients import ImportantCoordinate
from qrnn_helpers.simulation import StepProgram

MATRICES = [[[0.95, 0.1], [0.05, 0.9]], [[0.98, 0.04], [0.02, 0.96]]]
NOISE = SimpleNoise(0.02, 0.07, MATRICES, 0.06, t1=90.0, t2=70.0, measure_time=8.0, reset_time=5.0)
PLAIN = SimpleNoise(0.03, 0.08, 0.05, 0.1)
TIME = 2


def case(step, batch=1, time=TIME):
    program = StepProgram(step)
    gates = program.gate_angles(random_angles(step, batch, time, seed=3))
    generator = torch.Generator().manual_seed(5)
    return program, gates, torch.randn(batch, time, 2**program.readout, generator=generator, dtype=torch.float64)


# ---------------------------------------------------------------- by hand, history by history


def damping(time: float) -> Kraus:
    kept, coherent = np.exp(-time / 90), np.exp(-time / 70)
    decay = [np.diag([1, np.sqrt(kept)]), np.array([[0, np.sqrt(1 - kept)], [0, 0]])]
    still = coherent / np.sqrt(kept)
    dephasing = [np.sqrt((1 + still) / 2) * np.eye(2), np.sqrt((1 - still) / 2) * np.diag([1, -1])]
    return Kraus([a @ b for a in dephasing for b in decay])


def joint_by_hand(step: QuantumCircuit, angles: np.ndarray) -> dict[tuple[int, ...], float]:
    """Probabilities of all histories of a step with two readout qubits under `NOISE`; angles (time, P)."""
    readout = places(step, "readout")
    states = {(): DensityMatrix.from_label("0" * step.num_qubits)}
    for row in angles:
        bound = step.assign_parameters(dict(zip(step.parameters, row, strict=True)))
        states = {
            (*history, m): after
            for history, rho in states.items()
            for m, after in enumerate(read_by_hand(driven(bound, rho), readout))
        }
    return {history: rho.trace().real for history, rho in states.items()}


def driven(step: QuantumCircuit, rho: DensityMatrix) -> DensityMatrix:
    for each in step.data:
        qubits = [step.find_bit(q).index for q in each.qubits]
        noise = depolarizing_error(0.02 if len(qubits) == 1 else 0.07, len(qubits)).to_quantumchannel()
        rho = rho.evolve(Operator(each.operation), qubits).evolve(Kraus(noise), qubits)
    where = places(step, "readout")
    for q in range(step.num_qubits):
        rho = rho.evolve(damping(8.0 if q in where else 13.0), [q])
    return rho


def read_by_hand(rho: DensityMatrix, readout: list[int]) -> list[DensityMatrix]:
    """Unnormalised states behind each reading, the readout reset."""
    flip = Kraus([np.sqrt(0.94) * np.eye(2), np.sqrt(0.06) * np.array([[0, 1], [1, 0]])])
    reset = Kraus([np.array([[1, 0], [0, 0]]), np.array([[0, 1], [0, 0]])])
    found = [0 * rho for _ in range(4)]
    for bits in product((0, 1), repeat=2):
        branch = rho
        for q, bit in zip(readout, bits, strict=True):
            branch = branch.evolve(Operator(np.diag([1 - bit, bit])), [q]).evolve(reset, [q]).evolve(flip, [q])
        for read in product((0, 1), repeat=2):
            share = MATRICES[0][read[0]][bits[0]] * MATRICES[1][read[1]][bits[1]]
            found[read[0] + 2 * read[1]] += share * branch
    return found


@pytest.mark.parametrize("step", [rotation_step(1, 2), two_way_step(1, 2)], ids=["rotations", "two ways"])
def test_moments_and_histories_are_those_by_hand(step):
    program, gates, weights = case(step)
    chances = joint_by_hand(step, random_angles(step, 1, TIME, seed=3)[0].numpy())
    values = {history: sum(weights[0, t, r].item() for t, r in enumerate(history)) for history in chances}
    mean = sum(p * values[history] for history, p in chances.items())
    square = sum(p * values[history] ** 2 for history, p in chances.items())
    moments = noisy_steps(program, NOISE).moments(gates, weights, torch.complex128, second=True)
    np.testing.assert_allclose([moment.item() for moment in moments], [mean, square], rtol=0, atol=1e-10)
    shots = 20_000
    drawn = NoisyMomentBackend(NOISE, shots, seed=1).histories(program, gates)[0].numpy()
    for history, p in chances.items():
        found = (drawn == history).all(-1).mean()
        assert abs(found - p) < 5 * np.sqrt(p * (1 - p) / shots) + 1e-12


def test_sums_and_values_have_these_moments():
    program, gates, weights = case(rotation_step(1, 2))
    mean, square = noisy_steps(program, NOISE).moments(gates, weights, torch.complex128, second=True)
    copies, shots = 20_000, 7
    backend = NoisyMomentBackend(NOISE, shots, seed=2)
    many, weighted = gates.repeat(copies, 1, 1), weights.repeat(copies, 1, 1)
    variance = (square - mean**2).item() / shots
    for found in (backend.sums(program, many, weighted), backend.values(program, many, weighted).sum(1)):
        assert abs(found.mean().item() - mean.item()) < 5 * (variance / copies) ** 0.5
        assert found.var().item() == pytest.approx(variance, rel=0.08)
    wanted = NoisyBackend(NOISE).run(program, gates)[0][0]
    frequencies = backend.run(program, many)[0]
    spread = (wanted * (1 - wanted) / shots / copies).sqrt()
    assert ((frequencies.mean(0) - wanted).abs() < 5 * spread + 1e-12).all()


# ---------------------------------------------------------------- beside Aer's shots


ONE_QUBIT = ["rx", "ry", "rz", "s", "sdg"]


def aer_noise(noise: SimpleNoise) -> NoiseModel:
    model = NoiseModel(basis_gates=[*ONE_QUBIT, "cz", "cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(noise.one_qubit, 1), ONE_QUBIT)
    model.add_all_qubit_quantum_error(depolarizing_error(noise.two_qubit, 2), ["cz", "cx"])
    model.add_all_qubit_quantum_error(pauli_error([("X", noise.reset), ("I", 1 - noise.reset)]), ["reset"])
    wrong = noise.readout
    model.add_all_qubit_readout_error(ReadoutError([[1 - wrong, wrong], [wrong, 1 - wrong]]))
    return model


def test_mean_and_variance_are_those_of_aers_shots():
    """Of weighted readouts summed over all steps, shot by shot."""
    step = open_controlled(rotation_step(2, 2))
    program, gates, weights = case(step, time=3)
    circuit = unroll(program.expanded, 3)
    names = {each.operation.name for each in circuit.data} - {"measure", "reset", "barrier"}
    assert names <= {*ONE_QUBIT, "cz", "cx"}
    flat = gates.flatten().tolist()
    bound = circuit.assign_parameters([flat[parameter.index] for parameter in circuit.parameters])
    shots = 6_000
    simulator = AerSimulator(noise_model=aer_noise(PLAIN), seed_simulator=7)
    counts = simulator.run(transpile(bound, simulator, optimization_level=0), shots=shots).result().get_counts()
    order = [register.name for register in bound.cregs][::-1]
    values, times = [], []
    for key, count in counts.items():
        outcomes = dict(zip(order, key.split(), strict=True))
        values.append(sum(weights[0, t, int(outcomes[f"t{t}"], 2)].item() for t in range(3)))
        times.append(count)
    drawn = np.repeat(values, times)
    mean, square = (x.item() for x in noisy_steps(program, PLAIN).moments(gates, weights, torch.complex128, None, True))
    variance = square - mean**2
    assert abs(drawn.mean() - mean) < 5 * np.sqrt(variance / shots)
    fourth = ((drawn - drawn.mean()) ** 4).mean()
    assert abs(drawn.var() - variance) < 5 * np.sqrt((fourth - variance**2) / shots)


# ---------------------------------------------------------------- without noise, in company, copied


def test_without_noise_it_is_the_moment_backend():
    program, gates, weights = case(rotation_step(2, 2), batch=300, time=3)
    still = NoisyMomentBackend(SimpleNoise(), 16, seed=4)
    plain = MomentBackend(16, seed=4, true_forward=False)
    for ask in (lambda each: each.sums(program, gates, weights), lambda each: each.run(program, gates)[0]):
        torch.testing.assert_close(ask(still), ask(plain), rtol=0, atol=1e-10)


def test_many_circuits_without_slopes_are_the_same_as_few():
    """The exact backend takes the Pauli basis for many."""
    program, gates, _ = case(rotation_step(2, 2), batch=900)
    backend = NoisyBackend(NOISE)
    found, state = backend.run(program, gates)
    few, last = backend.run(program, gates[:3])
    torch.testing.assert_close(found[:3], few, rtol=0, atol=1e-12)
    torch.testing.assert_close(state[:3], last, rtol=0, atol=1e-12)


def test_variants_are_whole_circuits_and_copies_draw_the_same():
    program, gates, weights = case(rotation_step(1, 2), batch=2, time=3)
    backend = NoisyMomentBackend(NOISE, 10**14, seed=1)
    assert backend.exact.noise is backend.noise is NOISE
    others = case(rotation_step(1, 2), batch=8)[1][:, 0].view(4, 2, -1)
    for causal in (False, True):
        found = backend.variants(program, gates, weights, causal=causal)
        wanted = NoisyBackend(NOISE).variants(program, gates, weights, causal=causal)
        for t in range(3):
            torch.testing.assert_close(found(t, others), wanted(t, others), rtol=0, atol=1e-5)
    backend = NoisyMomentBackend(NOISE, 5, seed=1)
    twins = copy.deepcopy(backend), pickle.loads(pickle.dumps(backend))
    for twin in twins:
        assert twin.sums(program, gates, weights).equal(
            NoisyMomentBackend(NOISE, 5, seed=1).sums(program, gates, weights)
        )


# ---------------------------------------------------------------- gradients: the rule, pruned, and where it fails


def slopes(step, backend, angles, estimator=None):
    layer, leaf = QuantumRecurrentLayer(step, backend=backend, gradient=estimator), angles.clone().requires_grad_()
    found, _ = layer(leaf)
    weights = torch.arange(found.numel(), dtype=torch.float64).mul(1.3).cos().view_as(found)
    (found * weights).sum().backward()
    return leaf.grad, layer.cost.circuits


@pytest.mark.parametrize("noise", [PLAIN, NOISE], ids=["depolarizing", "relaxation, too"])
def test_the_pruned_rule_is_exact_where_noise_leaves_its_angles_alone(noise):
    """Depolarizing noise and relaxation commute with the RZ gates that are left out."""
    step = open_controlled(rotation_step(1, 2))
    angles = random_angles(step, 2, 3, seed=4)
    wanted, _ = slopes(step, NoisyBackend(noise), angles)
    found, pruned = slopes(step, NoisyBackend(noise), angles, ParameterShift(prune=True))
    _, whole = slopes(step, NoisyBackend(noise), angles, ParameterShift())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert pruned < whole


def two_rotations() -> QuantumCircuit:
    """The memory's last RX and the next step's first are one rotation, unless it relaxes between."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 0)
    step.ry(Parameter("b"), 0)
    step.cx(0, 1)
    step.rx(Parameter("c"), 0)
    return step


@pytest.mark.parametrize(
    "estimator", [ParameterShift(prune=True), ImportantCoordinate(4, seed=1)], ids=["rule", "coordinates"]
)
def test_pruning_is_refused_where_noise_wakes_angles(estimator):
    step, angles = two_rotations(), random_angles(two_rotations(), 2, 3, seed=4)
    damped = SimpleNoise(t1=20.0, measure_time=8.0)
    plan = ParameterShift(prune=True)
    torch.testing.assert_close(slopes(step, ExactBackend(), angles, plan)[0], slopes(step, ExactBackend(), angles)[0])
    for backend in (NoisyBackend(damped), NoisyMomentBackend(damped, 4, seed=1)):
        for each in (backend, ReadoutCorrection(backend, 0.01)):
            with pytest.raises(ValueError, match="prune must be False"):
                slopes(step, each, angles, estimator)
    slopes(step, NoisyBackend(SimpleNoise(0.01, 0.02, 0.03, 0.04)), angles, estimator)  # depolarizing commutes


class OverRotation(TransformationPass):
    """Every RX turns by a factor too far."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def run(self, dag):
        for node in dag.op_nodes():
            if node.op.name == "rx":
                dag.substitute_node(node, type(node.op)(self.factor * node.op.params[0]), inplace=True)
        return dag


def test_the_shift_rule_is_wrong_where_the_error_depends_on_the_angle():
    """A cos(a x) has the slope -a A sin(a x); the rule's [f(x + pi/2) - f(x + 3 pi/2)] / 2 is A sin(a x + a pi)
    sin(a pi/2), which is the same for a = 1 alone; differences see the slope."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 1)
    factor = 1.1
    backend = NoisyBackend(SimpleNoise(0.01, readout=0.02), pass_manager=PassManager([OverRotation(factor)]))
    angles = random_angles(step, 3, 1, seed=1)
    exact, _ = slopes(step, backend, angles)
    rule, _ = slopes(step, backend, angles, ParameterShift())
    phase = factor * angles
    wanted = -exact * (phase + factor * np.pi).sin() / phase.sin() * np.sin(factor * np.pi / 2) / factor
    torch.testing.assert_close(rule, wanted, rtol=0, atol=1e-10)
    assert (rule / exact - 1).abs().max() > 0.1
    differences, _ = slopes(step, backend, angles, SPSA(c=1e-4, directions=1, seed=1))
    torch.testing.assert_close(differences, exact, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- readings corrected


def test_corrected_readings_are_those_of_perfect_detectors():
    program, gates, weights = case(rotation_step(1, 2), batch=2, time=3)
    noisy = NoisyBackend(SimpleNoise(0.01, 0.02, MATRICES, 0.05))
    corrected = ReadoutCorrection(noisy, MATRICES)
    perfect = NoisyBackend(SimpleNoise(0.01, 0.02, 0.0, 0.05))
    torch.testing.assert_close(corrected.run(program, gates)[0], perfect.run(program, gates)[0], rtol=0, atol=1e-12)
    for name in ("values", "sums"):
        found, wanted = (getattr(each, name)(program, gates, weights) for each in (corrected, perfect))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    others = case(rotation_step(1, 2), batch=8)[1][:, 0].view(4, 2, -1)
    at, by = (each.variants(program, gates, weights, causal=True) for each in (corrected, perfect))
    torch.testing.assert_close(at(1, others), by(1, others), rtol=0, atol=1e-12)


def test_the_price_of_a_correction_is_variance():
    """With symmetric errors q of one bit the variance of a corrected +-1 readout is (1 - (1-2q)^2 z^2) / (1-2q)^2."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 1)
    program, wrong, copies = StepProgram(step), 0.1, 40_000
    gates = torch.full((copies, 1, 1), 0.7, dtype=torch.float64)
    weights = torch.tensor([[1.0, -1.0]], dtype=torch.float64).expand(copies, 1, 2)
    backend = ReadoutCorrection(NoisyMomentBackend(SimpleNoise(readout=wrong), 1, seed=3), wrong)
    found = backend.sums(program, gates, weights)
    shrunk, z = 1 - 2 * wrong, np.cos(0.7)
    variance = (1 - shrunk**2 * z**2) / shrunk**2
    assert abs(found.mean().item() - z) < 5 * np.sqrt(variance / copies)
    assert found.var().item() == pytest.approx(variance, rel=0.04)


def test_a_calibration_finds_the_matrices():
    exact = calibrated_readout(NoisyBackend(SimpleNoise(readout=MATRICES)), 2, 1)
    np.testing.assert_allclose(exact, MATRICES, rtol=0, atol=1e-12)
    drawn = calibrated_readout(NoisyMomentBackend(SimpleNoise(readout=MATRICES), 64, seed=1), 2, 300)
    np.testing.assert_allclose(drawn, MATRICES, rtol=0, atol=5 * np.sqrt(0.09 / 64 / 300))
    shots = ReadoutCorrection(ShotBackend(9, seed=1), 0.1)
    assert shots.shots == 9 and shots.generator is shots.backend.generator


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: NoisyMomentBackend(0.1, 4), "noise must be a SimpleNoise"),
        (lambda: NoisyMomentBackend(NOISE, 0), "shots must be"),
        (lambda: ReadoutCorrection("x", 0.1), "backend must be a Backend"),
        (lambda: ReadoutCorrection(ExactBackend(), 0.5), "assignment must have an inverse"),
        (lambda: ReadoutCorrection(ExactBackend(), np.ones((2, 2))), "assignment must hold probabilities"),
        (lambda: calibrated_readout(ExactBackend(), 0), "readout must be"),
        (lambda: NoisyMomentBackend(NOISE, 4).run(*case(rotation_step(1, 1))[:2]), "one assignment matrix for each"),
        (
            lambda: NoisyMomentBackend(PLAIN, 4).run(*case(rotation_step(1, 1))[:2], state=torch.zeros(1, 2, 2)),
            "state must be None",
        ),
    ],
)
def test_what_is_wrong_is_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_random_coordinates_run_on_it():
    step = rotation_step(1, 1)
    found, circuits = slopes(
        step, NoisyMomentBackend(PLAIN, 8, seed=1), random_angles(step, 2, 2, 1), RandomCoordinate(3, seed=2)
    )
    assert found.abs().max() > 0 and circuits > 2
