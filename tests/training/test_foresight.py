"""What is foreseen is what the ledger holds after training; times and money by hand and by Qiskit."""

import copy
import math

import numpy as np
import pytest
import torch
from problems import by_hand
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Measure, Parameter, Reset
from qiskit.circuit.library import CZGate, RZGate, SXGate, XGate
from qiskit.transpiler import InstructionProperties, Target
from qiskit_aer.primitives import SamplerV2
from torch import nn

from qrnn_helpers import (
    QRNN,
    SPSA,
    Autograd,
    Budget,
    ExactBackend,
    MomentBackend,
    ParameterShift,
    RandomCoordinate,
    SamplerBackend,
    ShotBackend,
    estimate,
    fit,
    machines,
    rotation_step,
)
from qrnn_helpers.backends import charge, executor
from qrnn_helpers.gradients import DecayingSPSA, GuidedSPSA, WeightSPSA
from qrnn_helpers.training.circuit_time import NATIVE, count_gates, path_length

STEP = rotation_step(1, 1)
UPDATES, BATCH, TIME = 3, 4, 3

BACKENDS = {
    "Aer": lambda: SamplerBackend(SamplerV2(), 5, seed=1),
    "Aer, small jobs": lambda: SamplerBackend(SamplerV2(), 5, seed=1, max_circuits=7),
    "shots": lambda: ShotBackend(5, seed=1),
    "moments": lambda: MomentBackend(5, seed=1),
    "exact": lambda: ExactBackend(),
}
GRADIENTS = {
    "SPSA": lambda: SPSA(directions=3, seed=2),
    "SPSA, weights": lambda: WeightSPSA(directions=3, seed=2),
    "SPSA, decaying": lambda: DecayingSPSA(first=4, last=1, seed=2),
    "shift": lambda: ParameterShift(prune=True),
    "shift, all": lambda: ParameterShift(),
}
DRAWN = {
    "coordinates": lambda: RandomCoordinate(4, seed=2),
    "guided": lambda: GuidedSPSA(directions=(1, 3), seed=2),
}


def network(backend, gradient) -> QRNN:
    return QRNN(2, 1, STEP, backend=backend, gradient=gradient, dtype=torch.float64, seed=0)


def foreseen(model, machine="ibm_fez", updates=UPDATES, time_steps=TIME):
    return estimate(model, updates=updates, batch_size=BATCH, time_steps=time_steps, machine=machine)


def trained(model):
    """The ledger after so many updates, with validations in between."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(8, TIME, 2, generator=generator, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    pair = (x, x[..., :1])
    options = {"batch_size": BATCH, "budget": Budget(steps=UPDATES), "seed": 4, "progress": False}
    fit(model, pair, pair, optimizer=optimizer, **options)
    return next(module.cost for module in model.modules() if hasattr(module, "cost"))


def both(model):
    """What is foreseen of a model's training, and then its ledger."""
    return foreseen(model), trained(model)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_ledger_holds_what_was_foreseen(backend, gradient):
    found, ledger = both(network(BACKENDS[backend](), GRADIENTS[gradient]()))
    assert found.exact and "at most" not in str(found)
    assert (found.circuits, found.shots, found.jobs) == (ledger.circuits, ledger.shots, ledger.jobs)
    assert (found.depth, found.two_qubit_gates) == (ledger.depth, ledger.two_qubit_gates)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_runs_that_a_simulator_splits_are_foreseen(gradient, monkeypatch):
    monkeypatch.setattr(executor, "CHUNK_BYTES", 8000)  # five copies of the batch
    model = network(MomentBackend(5, seed=1), GRADIENTS[gradient]())
    found = foreseen(model)
    assert found.jobs == trained(model).jobs > 2 * UPDATES


@pytest.mark.parametrize("gradient", DRAWN)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_drawn_is_foreseen_at_most(backend, gradient):
    found, ledger = both(network(BACKENDS[backend](), DRAWN[gradient]()))
    assert not found.exact and "at most" in str(found)
    assert found.circuits / 2 < ledger.circuits <= found.circuits
    assert ledger.shots <= found.shots and found.jobs / 2 < ledger.jobs <= found.jobs


def test_autograd_books_forward_passes_alone():
    found = foreseen(network(ExactBackend(), Autograd()))
    assert (found.circuits, found.shots, found.jobs) == (UPDATES * BATCH, 0, UPDATES)
    assert math.isnan(found.seconds) and math.isnan(found.money) and str(found).count("not known") == 2


class Two(nn.Module):
    """Two networks in one model."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(network(ShotBackend(n, seed=n), SPSA(directions=n, seed=n)) for n in (2, 5))


def test_layers_add_up():
    model = Two()
    whole, parts = foreseen(model), [foreseen(part) for part in model.parts]
    for name in ("circuits", "shots", "jobs", "seconds", "money", "seconds_range", "money_range"):
        np.testing.assert_allclose(getattr(whole, name), np.sum([getattr(part, name) for part in parts], 0))


def test_nothing_runs_and_no_generator_moves():
    model = network(ShotBackend(5, seed=1), DecayingSPSA(seed=2))
    before = copy.deepcopy(model.state_dict())
    foreseen(model)
    assert model.layer.cost.total().circuits == 0 and model.layer.gradient.directions == 8
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_seconds_and_money_are_those_of_charge():
    model = network(ShotBackend(50, seed=1), SPSA(seed=2))
    found, row = foreseen(model), machines().loc["ibm_fez"]
    length = path_length(model.layer.backend.device_circuit(model.layer.program, TIME), row, "")
    bill = charge("ibm_fez", found.circuits, found.shots, found.jobs, length=length)
    assert found.seconds == pytest.approx(bill["seconds"]) and found.money == pytest.approx(bill["money"])
    assert found.seconds == pytest.approx(2 * found.jobs + (250e-6 + length) * found.shots)
    low, high = found.seconds_range
    assert 2 * found.jobs < low < found.seconds < high < 2 * found.jobs + (500e-6 + 2 * length) * found.shots
    np.testing.assert_allclose(found.money_range, [1.6 * low, 1.6 * high])


def test_unknown_times_stay_unknown():
    found = foreseen(network(ShotBackend(50, seed=1), SPSA(seed=2)), "braket_aria")
    assert math.isnan(found.seconds) and all(map(math.isnan, found.seconds_range))
    assert found.money == pytest.approx(0.3 * found.circuits + 0.03 * found.shots)
    assert found.money_range == (found.money, found.money)


def test_a_price_by_the_gate_takes_the_circuits_own():
    model = network(ShotBackend(50, seed=1), SPSA(seed=2))
    found = foreseen(model, "azure_quantinuum")
    one, two, readings, _ = count_gates(model.layer.backend.device_circuit(model.layer.program, TIME))
    credits = 5 * found.circuits + found.shots * (one + 10 * two + 5 * readings) / 5000
    assert found.money == pytest.approx(13 * credits)
    np.testing.assert_allclose(found.money_range, [12.5 * credits, 13.5 * credits])


def test_jobs_that_a_machine_would_not_take_are_reckoned_as_several():
    """Of four million shots ten million executions hold two circuits: 2 and 4 jobs for 4 circuits and 8."""
    model = network(ShotBackend(4_000_000, seed=1), SPSA(directions=1, seed=2))
    found, row = foreseen(model), machines().loc["ibm_fez"]
    length = path_length(model.layer.backend.device_circuit(model.layer.program, TIME), row, "")
    assert found.jobs == 2 * UPDATES
    assert found.seconds - (250e-6 + length) * found.shots == pytest.approx(2 * 6 * UPDATES, abs=1e-3)


def test_a_model_without_a_quantum_layer_is_refused():
    with pytest.raises(ValueError, match="model must hold a quantum layer; got a Linear"):
        foreseen(nn.Linear(1, 1))


# ---------------------------------------------------------------- circuits


def qiskits_target(row, end: str, qubits: int) -> Target:
    """A device with the machine's durations."""
    one = InstructionProperties(row[f"one_qubit_gate{end}"])
    target = Target(num_qubits=qubits)
    pairs = [(a, b) for a in range(qubits) for b in range(qubits) if a != b]
    target.add_instruction(CZGate(), {pair: InstructionProperties(row[f"two_qubit_gate{end}"]) for pair in pairs})
    gates = [(SXGate(), one), (XGate(), one), (RZGate(Parameter("a")), InstructionProperties(0.0))]
    gates += [(Measure(), InstructionProperties(row.measure)), (Reset(), InstructionProperties(row.reset))]
    for gate, properties in gates:
        target.add_instruction(gate, {(qubit,): properties for qubit in range(qubits)})
    return target


@pytest.mark.parametrize("end", ["_low", "_high"])
@pytest.mark.parametrize("step", [STEP, rotation_step(), by_hand()], ids=["small", "book", "by hand"])
def test_length_is_the_longest_path_as_qiskit_finds_it(step, end):
    layer = network(ShotBackend(1), SPSA()).layer if step is STEP else QRNN(1, 1, step).layer
    circuit, row = layer.backend.device_circuit(layer.program, 2), machines().loc["ibm_fez"]
    native = generate_preset_pass_manager(1, basis_gates=NATIVE, seed_transpiler=0).run(circuit)
    wanted = native.estimate_duration(qiskits_target(row, end, native.num_qubits), "s")
    assert path_length(circuit, row, end) == pytest.approx(wanted, rel=1e-12)


def test_delays_take_their_time_and_a_device_s_own_unit_is_not_known():
    row = machines().loc["ibm_fez"]
    circuit = QuantumCircuit(2)
    circuit.delay(3, 0, "us")
    circuit.barrier()
    circuit.x(1)
    assert path_length(circuit, row, "_low") == pytest.approx(3e-6 + 24e-9)
    unknown = QuantumCircuit(1)
    unknown.delay(1, 0, "dt")
    assert math.isnan(path_length(unknown, row, "_low"))


def test_gates_on_three_qubits_and_branches_are_not_known():
    circuit = QuantumCircuit(3, 1)
    circuit.ccx(0, 1, 2)
    assert count_gates(circuit) == (0, 0, 0, False)
    branch = QuantumCircuit(1, 1)
    with branch.if_test((branch.clbits[0], 1)):
        branch.x(0)
    assert not count_gates(branch).known


def test_the_book_s_circuit_of_eight_steps():
    """A CRX is two CX, two RY, S and its inverse; a device also measures and resets two qubits a step."""
    layer = QRNN(1, 1, rotation_step()).layer
    found = count_gates(layer.backend.device_circuit(layer.program, 8))
    rotations, controlled = 8 * 24, 8 * 3
    assert found == (rotations + 4 * controlled, 2 * controlled, 8 * (2 + 2), True)
    kappas = [charge(name, 1, 1, gates=found[:3])["kappa"] for name in ("azure_ionq", "azure_quantinuum")]
    np.testing.assert_allclose(kappas, [12.42 / (288 * 0.00022 + 48 * 0.000975), 25_000 / (288 + 480 + 160)])
    np.testing.assert_allclose(kappas, [113, 27], rtol=0.01)
    # Rotations alone, and preparing four qubits counted as readings: the figures often told, 140 and 29.
    told = [charge(name, 1, 1, gates=(192, 48, 36))["kappa"] for name in ("azure_ionq", "azure_quantinuum")]
    np.testing.assert_allclose(told, [140, 29], rtol=0.02)
