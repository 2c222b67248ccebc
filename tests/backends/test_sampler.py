"""Qiskit samplers as backends: Aer agrees with the exact joint distribution, and says so anew."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.circuit.library import RXXGate, RYGate
from qiskit.primitives import BackendSamplerV2, StatevectorSampler
from qiskit.transpiler import PassManager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError
from qiskit_aer.primitives import SamplerV2
from reference import LEVEL, chi_square, evolve, history_numbers, joint, random_angles, registers

from qrnn_helpers.backends import SamplerBackend
from qrnn_helpers.backends.jobs import reseed
from qrnn_helpers.circuits import open_controlled, reuploading_step, rotation_step, unroll
from qrnn_helpers.gradients import SPSA, ParameterShift
from qrnn_helpers.models import QuantumRecurrentLayer
from qrnn_helpers.simulation import StepProgram

SHOTS = 20_000


def aer(shots: int = SHOTS, seed: int | None = 1, **options) -> SamplerBackend:
    return SamplerBackend(SamplerV2(seed=7), shots, seed=seed, **options)


class Watched(SamplerV2):
    """Aer that keeps what it was asked for."""

    def run(self, pubs, *, shots=None):
        self.asked = [*getattr(self, "asked", []), (list(pubs), shots)]
        return super().run(pubs, shots=shots)


def controlled() -> QuantumCircuit:
    """CRX, CP, CU and their like, with values that come beside the circuit: Aer's pitfall."""
    step = QuantumCircuit(*registers(2, 1, False))
    a, b, c, d, e = (Parameter(name) for name in "abcde")
    for qubit in range(3):
        step.h(qubit)
    step.crx(a, 0, 1)
    step.cp(b, 1, 2)
    step.cu(c, d, e, a + 2 * b, 2, 0)
    step.append(RYGate(d).control(2, annotated=False), [0, 1, 2])
    step.append(RXXGate(e).control(1, annotated=True), [2, 1, 0])
    step.mcp(c, [0, 1], 2)
    for qubit in range(3):
        step.h(qubit)
    return step


def per_step(found: torch.Tensor, wanted: np.ndarray, shots: int) -> list[float]:
    """p-values of each step's counts against its own marginal."""
    rows = found.numpy().reshape(-1, found.shape[-1]) * shots
    return [chi_square(n, p) for n, p in zip(rows, wanted.reshape(rows.shape), strict=True)]


@pytest.mark.parametrize("step", [rotation_step(1, 2), reuploading_step(2, 1), controlled()])
def test_aer_has_the_exact_marginals(step):
    angles = random_angles(step, 3, 3, seed=2)
    found, state = QuantumRecurrentLayer(step, backend=aer())(angles)
    wanted = np.stack([evolve(step, row)[0] for row in angles.numpy()])
    assert state is None
    assert min(per_step(found, wanted, SHOTS)) > LEVEL / 9


@pytest.mark.parametrize("step", [rotation_step(1, 1), controlled()])
def test_unrolled_circuit_on_aer_has_the_exact_joint_distribution(step):
    """Values bound into the circuit: what a reader would run by hand."""
    angles = random_angles(step, 1, 4, seed=3)[0].numpy()
    circuit = unroll(open_controlled(step), 4)
    manager = generate_preset_pass_manager(1, backend=AerSimulator(), seed_transpiler=0)
    bound = manager.run(circuit.assign_parameters(dict(zip(circuit.parameters, angles.ravel(), strict=True))))
    data = SamplerV2(seed=4).run([bound], shots=SHOTS).result()[0].data
    outcomes = np.stack([data[f"t{t}"].array[:, 0] for t in range(4)], 1).astype(int)
    counts = np.bincount(history_numbers(outcomes, 2), minlength=16)
    assert chi_square(counts, joint(step, angles)) > LEVEL


def test_open_controlled_changes_nothing_but_the_gates():
    step = controlled()
    opened = open_controlled(step)
    values = np.random.default_rng(1).normal(size=5)
    bound = [c.assign_parameters(dict(zip(step.parameters, values, strict=True))) for c in (step, opened)]
    angles = np.zeros((1, 0))
    np.testing.assert_allclose(*(evolve(c, angles)[0] for c in bound), atol=1e-12)
    kept = {i.operation.name for i in opened.data if i.operation.params}
    assert not kept & {"crx", "cp", "cu", "ccry", "mcphase"}


def test_no_controlled_rotation_reaches_the_sampler():
    backend = aer(shots=10)
    program = StepProgram(controlled())
    names = set(backend.device_circuit(program, 2).count_ops())
    assert not names & {"crx", "cry", "crz", "cp", "cu", "cu1", "cu3", "mcphase", "annotated"}


def test_seeded_sampler_does_not_repeat_its_draws():
    """Aer with a seed gives the same shots in every job; the backend seeds each job anew."""
    step = rotation_step(1, 1)
    layer = QuantumRecurrentLayer(step, backend=aer(shots=200))
    angles = random_angles(step, 4, 3, seed=5)
    first, second = layer(angles)[0], layer(angles)[0]
    assert not torch.equal(first, second)
    again = QuantumRecurrentLayer(step, backend=aer(shots=200))
    assert torch.equal(first, again(angles)[0]) and torch.equal(second, again(angles)[0])
    other = QuantumRecurrentLayer(step, backend=aer(shots=200, seed=2))
    assert not torch.equal(first, other(angles)[0])


@pytest.mark.parametrize(
    "sampler",
    [lambda: SamplerV2(), lambda: BackendSamplerV2(backend=AerSimulator())],
    ids=["unseeded Aer", "BackendSamplerV2"],
)
def test_every_kind_of_sampler_is_seeded_by_the_backend(sampler):
    step = rotation_step(1, 1)
    angles = random_angles(step, 2, 2, seed=6)
    found = [QuantumRecurrentLayer(step, backend=SamplerBackend(sampler(), 300, seed=s))(angles)[0] for s in (1, 1, 2)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_seed_that_ibm_runtime_keeps_for_its_simulators_is_renewed():
    sampler = SimpleNamespace(options=SimpleNamespace(simulator=SimpleNamespace(seed_simulator=42)))
    reseed(sampler, 7)
    assert sampler.options.simulator.seed_simulator == 7
    sampler.options.simulator.seed_simulator = None  # not seeded: a device may refuse a seed
    reseed(sampler, 8)
    assert sampler.options.simulator.seed_simulator is None


def test_noise_reaches_the_probabilities():
    """A readout that flips 0 to 1 with probability 0.1 and never back."""
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.0, 1.0]]))
    sampler = SamplerV2(seed=1, options={"backend_options": {"noise_model": noise}})
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 0)
    layer = QuantumRecurrentLayer(step, backend=SamplerBackend(sampler, SHOTS, seed=1))
    found, _ = layer(torch.zeros(1, 2, 1, dtype=torch.float64))
    assert min(per_step(found, np.tile([0.9, 0.1], (2, 1)), SHOTS)) > LEVEL / 2


def test_pass_manager_fits_the_circuit_to_a_device():
    step = rotation_step(1, 2)
    manager = generate_preset_pass_manager(
        optimization_level=1,
        basis_gates=["rz", "sx", "x", "cx"],
        coupling_map=[[0, 1], [1, 0], [1, 2], [2, 1]],
        seed_transpiler=0,
    )
    backend = aer(pass_manager=manager)
    angles = random_angles(step, 1, 2, seed=8)
    found, _ = QuantumRecurrentLayer(step, backend=backend)(angles)
    wanted = evolve(step, angles[0].numpy())[0]
    assert min(per_step(found, wanted, SHOTS)) > LEVEL / 2
    used = set(backend.device_circuit(StepProgram(step), 2).count_ops())
    assert used <= {"rz", "sx", "x", "cx", "measure", "reset", "barrier"}


def test_more_than_eight_readout_qubits_come_in_two_bytes():
    step = QuantumCircuit(*registers(1, 9, True))
    step.rx(Parameter("a"), 1)
    step.rx(Parameter("b"), 9)
    layer = QuantumRecurrentLayer(step, backend=aer(shots=10))
    found, _ = layer(torch.full((1, 1, 2), torch.pi, dtype=torch.float64))
    assert int(found[0, 0].argmax()) == 0b100000001


def test_shift_rule_on_aer_estimates_the_exact_gradient():
    """Mean over the batch of 100 equal samples, within 4.5 of its own standard errors."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 0)
    step.crx(Parameter("b"), 0, 1)
    weights = torch.tensor([0.3, -1.0], dtype=torch.float64)
    row = random_angles(step, 1, 2, seed=9)

    def gradient(angles, **options):
        angles = angles.clone().requires_grad_()
        (QuantumRecurrentLayer(step, **options)(angles)[0] @ weights).sum().backward()
        return angles.grad

    exact = gradient(row)[0]
    found = gradient(row.repeat(100, 1, 1), backend=aer(shots=100), gradient=ParameterShift())
    error = found.std(0) / 10
    assert ((found.mean(0) - exact).abs() <= 4.5 * error + 1e-12).all()
    assert error.max() < 0.02


def counting(manager: PassManager) -> list:
    """The circuits that a pass manager has been given from now on."""
    seen, run = [], manager.run
    manager.run = lambda circuit, *others, **options: seen.append(circuit) or run(circuit, *others, **options)
    return seen


def test_one_transpilation_a_circuit_and_one_pub_a_job():
    step = rotation_step(1, 1)
    manager = generate_preset_pass_manager(1, backend=AerSimulator(basis_gates=["rz", "sx", "cx"]), seed_transpiler=0)
    seen = counting(manager)
    sampler = Watched(seed=1)
    layer = QuantumRecurrentLayer(step, backend=SamplerBackend(sampler, 5, manager, seed=1, max_circuits=40))
    for _ in range(2):
        layer(random_angles(step, 3, 2, seed=1).requires_grad_())[0].sum().backward()
    assert len(seen) == 1
    layer(random_angles(step, 3, 4, seed=1))
    assert len(seen) == 2
    assert layer.cost.depth > 0 and len(seen) == 2
    assert len(sampler.asked) == layer.cost.jobs == 2 * (1 + 2 * 3) + 1  # 3 * 28 shifted circuits a step
    assert all(len(pubs) == 1 and shots == 5 for pubs, shots in sampler.asked)
    sizes = [pubs[0][1].shape[0] for pubs, _ in sampler.asked]
    assert sizes[:7] == [3, 40, 40, 4, 40, 40, 4] and sum(sizes) == layer.cost.circuits
    assert len({id(pubs[0][0]) for pubs, _ in sampler.asked}) == 2


def test_an_empty_pass_manager_is_not_the_default_one():
    step = QuantumCircuit(*registers(1, 1, True))
    step.h(0)
    step.h(0)
    step.rx(Parameter("a"), 1)
    backend = aer(shots=10, pass_manager=PassManager())
    QuantumRecurrentLayer(step, backend=backend)(torch.zeros(1, 1, 1))
    assert backend.device_circuit(StepProgram(step), 1).count_ops()["h"] == 2


@pytest.mark.parametrize("sampler", [SamplerV2, lambda: BackendSamplerV2(backend=AerSimulator())])
def test_circuits_without_parameters_are_drawn_for_every_sample(sampler):
    """Aer runs one circuit where there is nothing to bind, and leaves zeros for the others."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.x(1)
    step.h(0)
    layer = QuantumRecurrentLayer(step, backend=SamplerBackend(sampler(), 10, seed=1))
    found, _ = layer(torch.zeros(3, 2, 0))
    assert torch.equal(found, torch.tensor([0.0, 1.0]).expand(3, 2, 2))
    assert (layer.cost.circuits, layer.cost.shots, layer.cost.jobs) == (3, 30, 1)
    step.h(1)
    found, _ = QuantumRecurrentLayer(step, backend=SamplerBackend(sampler(), 1000, seed=1))(torch.zeros(3, 2, 0))
    assert len({tuple(row.tolist()) for row in found[:, 0]}) > 1 and (found - 0.5).abs().max() < 0.1


def test_a_copy_shares_the_sampler_and_draws_by_itself():
    backend = aer(shots=100)
    step = rotation_step(1, 1)
    layer, angles = QuantumRecurrentLayer(step, backend=backend), random_angles(step, 2, 2, seed=1)
    layer(angles)
    twin = copy.deepcopy(layer)
    assert twin.backend.sampler is backend.sampler and twin.backend.generator is not backend.generator
    found = [layer(angles)[0], layer(angles)[0]]
    assert all(torch.equal(twin(angles)[0], each) for each in found)


def test_a_generator_that_two_parts_share_is_shared_by_their_copies():
    generator = torch.Generator().manual_seed(1)
    layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=aer(seed=generator), gradient=SPSA(seed=generator))
    twin = copy.deepcopy(layer)
    assert twin.backend.generator is twin.gradient.generator is not generator


def test_a_pickled_backend_goes_on_alike():
    step = rotation_step(1, 1)
    layer, angles = QuantumRecurrentLayer(step, backend=aer(shots=100)), random_angles(step, 2, 2, seed=1)
    layer(angles)
    twin = pickle.loads(pickle.dumps(layer))
    assert torch.equal(twin(angles)[0], layer(angles)[0])


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: SamplerBackend("aer", 10), TypeError, "sampler must be a qiskit BaseSamplerV2"),
        (lambda: SamplerBackend(SamplerV2(), 0), ValueError, "shots must be at least 1"),
        (lambda: SamplerBackend(SamplerV2(), 1.5), TypeError, "shots must be an integer"),
        (lambda: aer(pass_manager=1), TypeError, "pass_manager must be a qiskit PassManager"),
        (lambda: aer(seed=-2), ValueError, "seed must be at least 0"),
        (lambda: aer(max_circuits=0), ValueError, "max_circuits must be at least 1"),
        (lambda: aer(max_circuits=None), TypeError, "max_circuits must be an integer"),
        (lambda: aer(retries=-1), ValueError, "retries must be at least 0"),
        (lambda: aer(retry_if=ConnectionError()), TypeError, "retry_if must be a function of an error"),
        (lambda: aer(pause=1.0), TypeError, "pause must be a function of seconds"),
        (lambda: SamplerBackend(StatevectorSampler(), 10, seed=0.5), TypeError, "seed must be"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
