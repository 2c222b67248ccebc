"""What a device runs: the circuit that `unroll` draws, whatever passes make of it, with the noise it meets."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest
import torch
from library_circuits import CIRCUITS, laid, made
from qiskit import ClassicalRegister, QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit import library as lib
from qiskit.circuit.classical import expr
from qiskit.converters import circuit_to_dag, dag_to_circuit
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2, StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import CouplingMap, PassManager, TransformationPass
from qiskit.transpiler.exceptions import TranspilerError
from qiskit.transpiler.passes import (
    RemoveBarriers,
    RemoveDiagonalGatesBeforeMeasure,
    RemoveFinalMeasurements,
    RemoveFinalReset,
    ResetAfterMeasureSimplification,
)
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, thermal_relaxation_error
from qiskit_aer.primitives import SamplerV2
from reference import LEVEL, chi_square, evolve, random_angles, registers
from scipy.stats import chi2_contingency

from qrnn_helpers import ExactBackend, QuantumRecurrentLayer, SamplerBackend, reuploading_step, rotation_step, unroll
from qrnn_helpers.simulation import StepProgram

A, B, C, D = (Parameter(name) for name in "abcd")
SHOTS = 20_000
IBM = ["rz", "sx", "x", "cx"]
LINE = GenericBackendV2(7, basis_gates=IBM, coupling_map=CouplingMap.from_line(7), seed=1)
DEVICES = {
    "cx": {"basis_gates": IBM},
    "ecr": {"basis_gates": ["rz", "sx", "x", "ecr"]},
    "u": {"basis_gates": ["u", "cx"]},
    "line": {"backend": LINE},
}


def blank(memory: int = 1, readout: int = 1) -> QuantumCircuit:
    return QuantumCircuit(*registers(memory, readout, True))


def preset(level: int = 1, **options) -> PassManager:
    return generate_preset_pass_manager(level, seed_transpiler=0, **options or {"basis_gates": IBM})


def noise_on(error, *names: str) -> NoiseModel:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(error, list(names))
    return noise


def aer(noise=None, **options) -> SamplerV2:
    return SamplerV2(seed=7, options={"backend_options": {"noise_model": noise, **options}})


def sampled(step, angles, sampler=None, manager=None, shots=SHOTS) -> tuple[np.ndarray, QuantumRecurrentLayer]:
    """Counts (batch, time, outcomes) of a layer, and the layer."""
    layer = QuantumRecurrentLayer(step, backend=SamplerBackend(sampler or aer(), shots, manager, seed=1))
    return (layer(angles)[0] * shots).round().numpy(), layer


def by_hand(step, angles, sampler, manager, shots=SHOTS) -> np.ndarray:
    """Counts (time, outcomes) of what `unroll` draws, with the angles (time, P) assigned."""
    circuit = manager.run(unroll(step, len(angles)))
    vector = unroll(step, len(angles)).parameters
    values = dict(zip([p.name for p in vector], angles.flatten().tolist(), strict=True))
    bound = circuit.assign_parameters([values[p.name] for p in circuit.parameters])
    data = sampler.run([bound], shots=shots).result()[0].data
    size = 2 ** next(r.size for r in step.qregs if r.name == "readout")
    return np.stack([np.bincount(data[f"t{t}"].array[:, 0], minlength=size) for t in range(len(angles))])


def written(circuit: QuantumCircuit) -> list[tuple]:
    """Names and places, in order."""
    return [(i.name, tuple(circuit.find_bit(q).index for q in i.qubits)) for i in circuit.data]


def angles_of(*values: float) -> torch.Tensor:
    return torch.tensor([[values]], dtype=torch.float64)


# ---------------------------------------------------------------- barriers, delays, identities


def flipped() -> QuantumCircuit:
    step = blank()
    step.rx(A, 1)
    return step


def with_barriers() -> QuantumCircuit:
    step = flipped()
    for _ in range(5):
        step.cx(0, 1)
        step.barrier()
        step.cx(0, 1)
        step.barrier(label="here")
    return step


def with_delay() -> QuantumCircuit:
    step = flipped()
    step.delay(50, 1, unit="us")
    return step


def with_identities() -> QuantumCircuit:
    step = flipped()
    for _ in range(10):
        step.id(1)
    return step


IDENTITY = {"basis_gates": [*IBM, "id"]}
NOISY = {  # ten depolarising gates leave .95**10 of the polarisation, one lifetime 1/e of the excitation
    "barriers": (with_barriers, noise_on(depolarizing_error(0.05, 2), "cx"), {}, range(4), (1 + 0.95**10) / 2),
    "delay": (with_delay, noise_on(thermal_relaxation_error(5e-5, 5e-5, 5e-5), "delay"), {}, range(4), np.exp(-1)),
    "identities": (with_identities, noise_on(depolarizing_error(0.05, 1), "id"), IDENTITY, [0], (1 + 0.95**10) / 2),
}


@pytest.mark.parametrize("kind", NOISY)
def test_noise_meets_what_was_drawn(kind):
    """p(1) of a qubit flipped by RX(pi), known by hand; the same circuit by hand; two-qubit gates as they ran."""
    make, noise, options, levels, wanted = NOISY[kind]
    step, angles = make(), angles_of(np.pi)
    managers = [preset(level, **options) for level in levels] + [None] * (kind != "identities")
    for manager in managers:
        found, layer = sampled(step, angles, aer(noise), manager, 4_000)
        assert chi_square(found[0, 0], np.array([1 - wanted, wanted])) > LEVEL / 10
        assert layer.cost.two_qubit_gates == step.count_ops().get("cx", 0)
    assert (
        chi_square(by_hand(step, angles[0], aer(noise), managers[0], 4_000)[0], np.array([1 - wanted, wanted])) > LEVEL
    )
    np.testing.assert_allclose(QuantumRecurrentLayer(step)(angles)[0][0, 0], [0, 1], atol=1e-12)  # no noise, no effect


def test_barriers_and_delays_stand_where_they_were_drawn():
    inner = QuantumCircuit(2)
    inner.delay(3, 0, unit="ns")
    inner.barrier(0, 1)
    inner.ry(B, 1)
    step = blank()
    step.barrier(0, label="first")
    step.rx(A, 1)
    step.delay(7, [0, 1], unit="dt")
    step.append(inner.to_instruction(), [1, 0])
    step.id(0)
    step.barrier(1)
    found = StepProgram(step).expanded
    wanted = [("barrier", (0,)), ("rx", (1,)), ("delay", (0,)), ("delay", (1,)), ("delay", (1,)), ("barrier", (1, 0))]
    assert written(found) == [*wanted, ("ry", (0,)), ("id", (0,)), ("barrier", (1,))]
    assert found.data[0].operation.label == "first"
    assert [i.operation.params for i in found.data if i.name == "delay"] == [[7], [7], [3]]
    assert [i.operation.unit for i in found.data if i.name == "delay"] == ["dt", "dt", "ns"]
    assert found.num_parameters == 2


@pytest.mark.parametrize("unit", ["dt", "ns", "us", "ms", "s"])
def test_delays_of_any_unit_run(unit):
    step = flipped()
    step.delay(2, 1, unit=unit)
    found, layer = sampled(step, angles_of(np.pi), shots=10)
    assert found[0, 0].tolist() == [0, 10] and layer.cost.depth == 4  # RX, delay, measure, reset


def variables() -> QuantumCircuit:
    step = flipped()
    step.add_var("v", expr.lift(True))
    return step


def stretched() -> QuantumCircuit:
    step = flipped()
    step.delay(step.add_stretch("s"), 0)
    return step


def delayed() -> QuantumCircuit:
    step = flipped()
    step.delay(B, 0, unit="s")
    return step


def boxed() -> QuantumCircuit:
    step = flipped()
    with step.box():
        step.x(0)
    return step


def looped() -> QuantumCircuit:
    step = flipped()
    with step.for_loop(range(2)):
        step.x(0)
    return step


@pytest.mark.parametrize(
    "make, words",
    [
        (variables, "run-time variables"),
        (stretched, "run-time variables"),
        (delayed, r"a delay of duration Parameter\(b\)"),
        (boxed, "'box'"),
        (looped, "'for_loop'"),
    ],
)
def test_what_is_no_gate_is_named(make, words):
    with pytest.raises(ValueError, match=f"^step: got .*{words}") as caught:
        StepProgram(make())
    assert len(str(caught.value)) < 600


# ---------------------------------------------------------------- the gates of the step


def several(gate) -> QuantumCircuit:
    step = blank(2, 1)
    step.h([0, 1, 2])
    step.append(gate, range(gate.num_qubits)[::-1])
    return step


WHOLE = [
    lib.UGate(A, B, A),
    lib.UGate(2 * A, 0.3, A + B),
    lib.U2Gate(B, A),
    lib.U3Gate(C, B, A),
    lib.CUGate(A, B, C, D),
    lib.CUGate(A, A, 0.2, A, ctrl_state=0),
    lib.CU3Gate(C, A, B),
    lib.RXGate(A, label="mine"),
    lib.CRXGate(A, label="mine"),
    lib.UGate(A, B, C).control(2, annotated=False),
    lib.RYGate(A).control(2, annotated=True),
    lib.UGate(A, B, C).control(1, annotated=True),
    lib.CCXGate(),
    lib.MCXGate(2, ctrl_state=1),
    lib.SwapGate().control(1, annotated=True),
    lib.quantum_volume(3, 1, seed=1).to_gate(),
]


@pytest.mark.parametrize("gate", WHOLE, ids=lambda gate: gate.name)
def test_gates_stay_as_they_were_drawn(gate):
    """Several angles in one gate, labels, annotations, constant gates: each one gate, and the same circuit."""
    step = several(gate)
    program, angles = StepProgram(step), random_angles(step, 1, 1, seed=1)
    assert written(program.expanded) == written(step)
    assert getattr(program.expanded.data[3].operation, "label", None) == getattr(gate, "label", None)
    assert type(program.expanded.data[3].operation) is type(step.data[3].operation)
    values = program.gate_angles(angles)[0, 0].tolist()
    bound = program.expanded.assign_parameters(dict(zip(program.expanded.parameters, values, strict=True)))
    wanted = evolve(step, angles[0].numpy())[0]
    np.testing.assert_allclose(evolve(bound, np.zeros((1, 0)))[0], wanted, atol=1e-12)
    np.testing.assert_allclose(QuantumRecurrentLayer(step)(angles)[0][0], wanted, atol=1e-12)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("name", CIRCUITS)
def test_library_circuits_run_as_drawn_at_every_level(name):
    """The transpiled circuit is the one by hand, gate by gate, and draws the exact probabilities."""
    step = laid(made(CIRCUITS[name]))
    program, angles, shots = StepProgram(step), random_angles(step, 1, 1, seed=1), 2_000
    if name == "HamiltonianGate":  # no passes can write it out before its angle is known
        with pytest.raises(TranspilerError, match="hamiltonian"):
            sampled(step, angles, manager=preset())
        return
    exact = ExactBackend().run(program, program.gate_angles(angles))[0][0, 0].numpy()
    for level in range(4):
        manager = preset(level, **DEVICES[list(DEVICES)[(level + list(CIRCUITS).index(name)) % 4]])
        found, layer = sampled(step, angles, manager=manager, shots=shots)
        assert chi_square(found[0, 0], exact) > LEVEL / 4 / len(CIRCUITS)
        circuit = layer.backend.device_circuit(layer.program, 1)
        if level < 2:  # higher ones merge gates of the same Parameter
            assert written(circuit) == written(manager.run(unroll(step, 1)))


def around_noise() -> QuantumCircuit:
    """Gates of many kinds, a barrier and a delay between them."""
    step = blank(2, 1)
    step.u(A, B, 2 * A, 2)
    step.cu(A, B, C, D, 2, 0)
    step.barrier()
    step.crx(C, 0, 1)
    step.append(lib.RYGate(D).control(2, annotated=True), [0, 1, 2])
    step.delay(100, 2, unit="ns")
    step.ccx(1, 2, 0)
    step.cx(0, 2)
    step.cx(0, 2)
    return step


def by_name() -> NoiseModel:
    noise = noise_on(depolarizing_error(0.05, 2), "cx", "crx", "ecr")
    noise.add_all_qubit_quantum_error(depolarizing_error(0.02, 1), ["u", "sx", "x"])
    noise.add_all_qubit_quantum_error(thermal_relaxation_error(1e-6, 1e-6, 1e-7), ["delay"])
    noise.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.06, 0.94]]))
    return noise


MANAGERS = {
    **{f"{name} {level}": (level, DEVICES[name]) for level, name in enumerate(DEVICES)},
    "cx 3": (3, DEVICES["cx"]),
    "crx": (1, {"basis_gates": ["rz", "sx", "x", "cx", "crx"]}),
    "everything": (1, {"backend": AerSimulator()}),
}


@pytest.mark.filterwarnings("ignore:The sampler's noise model", "ignore:Duration is rounded")
@pytest.mark.parametrize("name", MANAGERS)
def test_under_noise_as_by_hand(name):
    """Counts of three steps beside those of the circuit by hand: a test of homogeneity for each step."""
    level, options = MANAGERS[name]
    manager, step, shots = preset(level, **options), around_noise(), 2_000
    angles = random_angles(step, 1, 2, seed=1)
    found, _ = sampled(step, angles, aer(by_name()), manager, shots)
    wanted = by_hand(step, angles[0], aer(by_name()), manager, shots)
    for counts in zip(found[0], wanted, strict=True):
        assert chi2_contingency(np.array(counts)).pvalue > LEVEL / len(MANAGERS) / 2


def test_noise_on_a_controlled_rotation():
    """Depolarising noise that goes by the name of CRX; its value, which Aer would mix up, is in the circuit."""
    step = blank()
    step.x(0)
    step.crx(A, 0, 1)
    noise = noise_on(depolarizing_error(0.5, 2), "crx")
    for manager in (None, preset(basis_gates=noise.basis_gates), preset(backend=AerSimulator())):
        found, layer = sampled(step, angles_of(np.pi).repeat(3, 1, 1), aer(noise), manager, 1_000)
        assert all(chi_square(counts, np.array([0.25, 0.75])) > LEVEL / 9 for counts in found[:, 0])
        assert (layer.cost.jobs, layer.cost.circuits, layer.cost.two_qubit_gates) == (1, 3, 1)


# ---------------------------------------------------------------- Parameters and registers


class Edited(TransformationPass):
    """A pass that gives the circuit's DAG to a function."""

    def __init__(self, edit):
        super().__init__()
        self.edit = edit

    def run(self, dag):
        return self.edit(dag)


def edited(change) -> PassManager:
    """A pass manager that ends with ``change`` of the circuit."""
    manager = preset(1)
    manager.post_optimization = PassManager([Edited(lambda dag: circuit_to_dag(change(dag_to_circuit(dag))))])
    return manager


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("level", range(4))
def test_presets_drop_parameters_and_the_others_keep_their_values(level, name):
    """Levels 2 and 3 drop the RZ before a measurement; each sample of a batch has angles of its own."""
    step = rotation_step(1, 2)
    angles = random_angles(step, 2, 2, seed=level)
    manager = preset(level, **DEVICES[name])
    found, layer = sampled(step, angles, manager=manager, shots=4_000)
    if level > 1:
        assert layer.backend.device_circuit(layer.program, 2).num_parameters < angles[0].numel()
    for counts, row in zip(found, angles, strict=True):
        for n, p in zip(counts, evolve(step, row.numpy())[0], strict=True):
            assert chi_square(n, p) > LEVEL / 4 / 16


def renamed(circuit: QuantumCircuit) -> QuantumCircuit:
    """Names that sort the other way round."""
    count = circuit.num_parameters
    return circuit.assign_parameters({p: Parameter(f"p{count - k:05}") for k, p in enumerate(circuit.parameters)})


def namesakes(circuit: QuantumCircuit) -> QuantumCircuit:
    return circuit.assign_parameters(dict(zip(circuit.parameters, ParameterVector("angles", circuit.num_parameters))))


@pytest.mark.parametrize("change, name", [(renamed, "p0"), (namesakes, "angles[0]")])
def test_renamed_parameters_are_refused(change, name):
    with pytest.raises(ValueError, match="pass_manager must keep or drop the Parameters") as caught:
        sampled(reuploading_step(2, 2, 3), torch.zeros(1, 3, 60, dtype=torch.float64), manager=edited(change))
    assert name in str(caught.value) and len(str(caught.value)) < 600


def test_parameters_that_change_places_keep_their_values():
    """A pass may put Parameters in each other's place; a Parameter's value goes where it is found."""

    def swapped(circuit: QuantumCircuit) -> QuantumCircuit:
        first, second = circuit.parameters
        return circuit.assign_parameters({first: second + 0.1, second: 2 * first})

    step = blank()
    step.rx(A, 1)
    step.rx(B, 0)
    step.cx(0, 1)
    other = blank()
    other.rx(B + 0.1, 1)
    other.rx(2 * A, 0)
    other.cx(0, 1)
    angles = random_angles(step, 3, 1, seed=1)
    found, _ = sampled(step, angles, manager=edited(swapped))
    for counts, row in zip(found[:, 0], angles, strict=True):
        assert chi_square(counts, evolve(other, row.numpy())[0][0]) > LEVEL / 3


def test_nothing_left_to_bind():
    step = blank()
    step.h(1)
    step.rz(A, 1)
    found, layer = sampled(step, random_angles(step, 3, 1, seed=1), manager=preset(2))
    assert layer.backend.device_circuit(layer.program, 1).num_parameters == 0
    assert min(chi_square(counts, np.array([0.5, 0.5])) for counts in found[:, 0]) > LEVEL / 3
    assert len({tuple(counts) for counts in found[:, 0]}) > 1 and layer.cost.circuits == 3


def test_parameters_left_in_the_global_phase_alone():
    step = blank()
    step.h(1)
    step.rz(A, 1)
    found, _ = sampled(step, random_angles(step, 3, 1, seed=1), manager=preset(2, basis_gates=["u", "cx"]))
    assert min(chi_square(counts, np.array([0.5, 0.5])) for counts in found[:, 0]) > LEVEL / 3


def other_registers(circuit: QuantumCircuit) -> QuantumCircuit:
    fresh = QuantumCircuit(circuit.qubits, *[ClassicalRegister(r.size, f"c{r.name}") for r in circuit.cregs])
    for instruction in circuit.data:
        clbits = [fresh.clbits[circuit.find_bit(bit).index] for bit in instruction.clbits]
        fresh.append(instruction.operation, instruction.qubits, clbits)
    return fresh


def without_measurements(circuit: QuantumCircuit) -> QuantumCircuit:
    fresh = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.name != "measure":
            fresh.append(instruction)
    return fresh


@pytest.mark.parametrize(
    "manager, words",
    [
        (PassManager([RemoveFinalReset(), RemoveFinalMeasurements()]), r"got 0 measured of 0 in t1.*\['t0'\]"),
        (edited(other_registers), r"got 0 measured of 0 in t0.*\['ct0', 'ct1'\]"),
        (edited(without_measurements), "got 0 measured of 1 in t0"),
    ],
    ids=["final measurements", "names", "measurements"],
)
def test_what_is_measured_must_stay(manager, words):
    with pytest.raises(ValueError, match=f"pass_manager must keep what is measured, 1 bits.*{words}") as caught:
        sampled(flipped(), torch.zeros(1, 2, 1, dtype=torch.float64), manager=manager)
    assert len(str(caught.value)) < 600


def test_a_pass_manager_that_returns_no_circuit():
    class Lost(PassManager):
        def run(self, *arguments, **options):
            return [super().run(*arguments, **options)]

    with pytest.raises(TypeError, match="pass_manager must return a QuantumCircuit; got list"):
        sampled(flipped(), angles_of(0.0), manager=Lost())


@pytest.mark.parametrize(
    "passes",
    [
        [RemoveFinalReset()],
        [RemoveDiagonalGatesBeforeMeasure()],
        [ResetAfterMeasureSimplification()],
        [RemoveBarriers()],
    ],
    ids=lambda passes: type(passes[0]).__name__,
)
def test_passes_on_measurement_and_reset_keep_the_results(passes):
    step = rotation_step(1, 1)
    step.barrier()
    manager = preset()
    manager.post_optimization = PassManager(passes)
    angles = random_angles(step, 1, 3, seed=1)
    found, _ = sampled(step, angles, manager=manager)
    for n, p in zip(found[0], evolve(step, angles[0].numpy())[0], strict=True):
        assert chi_square(n, p) > LEVEL / 12


# ---------------------------------------------------------------- the default pass manager


class Runtime(BaseSamplerV2):
    """A sampler whose ``backend`` is a method, as IBM's."""

    def __init__(self, backend):
        self.inner = BackendSamplerV2(backend=backend)
        self.backend = lambda: backend

    def run(self, pubs, *, shots=None):
        return self.inner.run(pubs, shots=shots)


def run_time_noise() -> SamplerV2:
    return SamplerV2(options={"run_options": {"noise_model": NoiseModel.from_backend(LINE)}})


@pytest.mark.parametrize(
    "make, on_line",
    [
        (lambda: SamplerV2.from_backend(LINE), True),
        (lambda: BackendSamplerV2(backend=LINE), True),
        (lambda: BackendSamplerV2(backend=AerSimulator.from_backend(LINE)), True),
        (lambda: Runtime(LINE), True),
        (lambda: aer(NoiseModel.from_backend(LINE)), False),
        (lambda: BackendSamplerV2(backend=AerSimulator(noise_model=NoiseModel.from_backend(LINE))), False),
        (run_time_noise, False),
        (lambda: BackendSamplerV2(backend=AerSimulator(basis_gates=IBM)), False),
    ],
)
def test_by_default_circuits_fit_the_device(make, on_line):
    """Its gates, and on a device its pairs of qubits; the exact probabilities but for its noise; no warning."""
    step = reuploading_step(1, 2)  # a ring, which is no line
    angles = random_angles(step, 1, 1, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found, layer = sampled(step, angles, make(), shots=200)
    circuit = layer.backend.device_circuit(layer.program, 1)
    assert set(circuit.count_ops()) <= {*IBM, "measure", "reset"}
    pairs = {pair for name, pair in written(circuit) if name == "cx"}
    assert pairs and (not on_line or pairs <= set(LINE.coupling_map.get_edges()))
    assert np.abs(found[0, 0] / 200 - evolve(step, angles[0].numpy())[0][0]).sum() < 0.5
    assert layer.cost.two_qubit_gates == circuit.count_ops()["cx"]


def test_a_copy_shares_the_fitted_passes_and_a_pickle_makes_them_again():
    step = rotation_step(1, 1)
    angles = random_angles(step, 2, 1, seed=1)
    _, layer = sampled(step, angles, SamplerV2.from_backend(LINE), shots=50)
    copied, pickled = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    assert copied.backend.pass_manager is layer.backend.pass_manager
    found = layer(angles)[0]
    for twin in (copied, pickled):
        assert torch.equal(twin(angles)[0], found)
        assert (twin.cost.depth, twin.cost.two_qubit_gates) == (layer.cost.depth, layer.cost.two_qubit_gates)
    layer.backend.pass_manager = None  # the usual gates
    assert pickle.loads(pickle.dumps(layer)).backend.pass_manager is None


@pytest.mark.parametrize(
    "make",
    [
        SamplerV2,
        lambda: BackendSamplerV2(backend=AerSimulator()),
        lambda: aer(method="density_matrix"),
        lambda: aer(NoiseModel()),
        lambda: aer(noise_on(depolarizing_error(0.1, 1), "reset")),
        StatevectorSampler,
    ],
)
def test_a_simulator_without_noise_runs_the_usual_gates(make):
    assert SamplerBackend(make(), 10).pass_manager is None


def noisy_pairs(pairs) -> NoiseModel:
    noise = NoiseModel()
    for pair in pairs:
        noise.add_quantum_error(depolarizing_error(0.1, 2), ["cx"], pair)
    return noise


@pytest.mark.parametrize(
    "noise, options, words",
    [
        (NoiseModel.from_backend(LINE), {"basis_gates": ["rx", "rz", "cx"]}, r"\['sx', 'x'\].*runs \['cx', 'rx'"),
        (noise_on(depolarizing_error(0.1, 2), "crx"), {"basis_gates": IBM}, r"on \['crx'\]"),
        (noise_on(depolarizing_error(0.1, 2), "cx"), {"basis_gates": ["rz", "sx", "ecr"]}, r"on \['cx'\]"),
        (noisy_pairs([(3, 4)]), {"basis_gates": IBM}, r"on \['cx'\].*noisy of these \[\]"),
        (NoiseModel.from_backend(LINE), {"basis_gates": IBM}, ""),
        (noise_on(depolarizing_error(0.1, 2), "cx"), {"basis_gates": IBM}, ""),
        (noisy_pairs([(0, 1), (3, 4)]), {"basis_gates": IBM}, ""),
        (NoiseModel(), {"basis_gates": ["rx", "rz", "cx"]}, ""),
    ],
)
def test_noise_that_never_happens_is_told_once(noise, options, words):
    step = rotation_step(1, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, layer = sampled(step, torch.zeros(1, 1, 13, dtype=torch.float64), aer(noise), preset(**options), 10)
        layer(torch.zeros(2, 1, 13, dtype=torch.float64))
    told = [str(each.message) for each in caught if "noise model" in str(each.message)]
    assert len(told) == bool(words) and all(len(text) < 600 for text in told)
    assert not words or re.search(words, told[0])


# ---------------------------------------------------------------- names that are another's


def named(name: str) -> Gate:
    circuit = QuantumCircuit(1, name=name)
    circuit.x(0)
    return circuit.to_gate()


class Impostor(Gate):
    """An X by definition."""

    def __init__(self, name: str):
        super().__init__(name, 1, [])

    def _define(self):
        self.definition = QuantumCircuit(1)
        self.definition.x(0)


class Turn(Gate):
    """An RY by definition, under the name of RX or another."""

    def __init__(self, angle, name: str = "rx"):
        super().__init__(name, 1, [angle])

    def _define(self):
        self.definition = QuantumCircuit(1)
        self.definition.ry(self.params[0], 0)


NAMES = ["barrier", "delay", "global_phase", "measure", "reset", "id", "h", "unitary", "annotated", "if_else"]


@pytest.mark.parametrize("make", [named, Impostor])
@pytest.mark.parametrize("name", NAMES)
def test_a_gate_is_what_its_class_says(name, make):
    """An X under another's name: once, so that the readout is 1, exactly and on Aer, at the default and at level 0."""
    step = flipped()
    step.append(make(name), [1])
    angles = angles_of(0.0)
    np.testing.assert_allclose(QuantumRecurrentLayer(step)(angles)[0][0, 0], [0, 1], atol=1e-12)
    for manager in (None, preset(0)):
        assert sampled(step, angles, manager=manager, shots=20)[0].tolist() == [[[0, 20]]]


def test_a_family_is_what_its_class_says():
    step = blank()
    step.h(1)
    step.append(Turn(A), [1])
    step.append(Turn(B, "p").control(1, annotated=False), [0, 1])
    angles = random_angles(step, 1, 1, seed=3)
    wanted = evolve(step, angles[0].numpy())[0]
    np.testing.assert_allclose(QuantumRecurrentLayer(step)(angles)[0][0], wanted, atol=1e-12)
    assert abs(wanted[0, 0] - 0.5) > 0.1
    for manager in (None, preset(0)):
        assert chi_square(sampled(step, angles, manager=manager)[0][0, 0], wanted[0]) > LEVEL / 2


def test_a_gate_on_two_qubits_counts_whatever_its_name():
    pair = QuantumCircuit(2, name="barrier")
    pair.cx(0, 1)
    step = flipped()
    step.append(pair.to_gate(), [0, 1])
    step.barrier()
    layer = QuantumRecurrentLayer(step)
    layer(angles_of(0.0))
    assert layer.cost.two_qubit_gates == 1


# ---------------------------------------------------------------- the ledger


def test_the_ledger_knows_the_circuit_that_ran():
    """A pass manager that makes another circuit each time; one put in its place later; many lengths."""
    made_so_far = []

    def longer(circuit: QuantumCircuit) -> QuantumCircuit:
        fresh = circuit.copy_empty_like()
        for _ in range(7 - len(made_so_far)):
            fresh.cx(0, 1)
            fresh.barrier()
        made_so_far.append(fresh)
        return fresh.compose(circuit)

    step, angles = flipped(), angles_of(0.0)
    backend = SamplerBackend(aer(), 10, edited(longer), seed=1)
    layer = QuantumRecurrentLayer(step, backend=backend)
    layer(angles)
    layer(angles)
    backend.pass_manager = preset()
    assert (layer.cost.two_qubit_gates, len(made_so_far)) == (7, 1)
    for time in range(2, 40):
        layer(angles.expand(1, time, 1))
    assert layer.cost.two_qubit_gates == 7 and layer.cost.total().two_qubit_gates == 7


def test_depth_counts_delays_and_waits_at_barriers():
    step = blank()
    step.rx(A, 1)
    step.delay(10, 1, unit="ns")
    step.barrier()
    step.rx(B, 0)
    for backend in (ExactBackend(), SamplerBackend(aer(), 10, seed=1)):
        layer = QuantumRecurrentLayer(step, backend=backend)
        layer(torch.zeros(1, 2, 2, dtype=torch.float64))
        assert (layer.cost.depth, layer.cost.two_qubit_gates) == (8, 0)  # RX, delay, measure, reset, twice


# ---------------------------------------------------------------- unroll


@pytest.mark.parametrize(
    "parameters",
    [
        [Parameter("angles[0]"), Parameter("angles[3]"), Parameter("z")],
        [*ParameterVector("angles", 3)][::-1],
        [Parameter("gate_angle[0]"), Parameter("gate_angle[1]"), Parameter("angles")],
        [*ParameterVector("gate_angle", 3)][::-1],
    ],
)
def test_parameters_may_bear_the_names_that_are_given_here(parameters):
    step = blank()
    step.rx(parameters[0], 0)
    step.ry(2 * parameters[1], 1)
    step.crx(parameters[2], 0, 1)
    angles = random_angles(step, 1, 2, seed=1)
    drawn = unroll(step, 2)
    bound = drawn.assign_parameters(dict(zip(drawn.parameters, angles.flatten().tolist(), strict=True)))
    turns = [float(i.operation.params[0]) for i in bound.data if i.name in ("rx", "ry", "crx")]
    order = [list(step.parameters).index(p) for p in parameters]
    np.testing.assert_allclose(turns, (angles[0][:, order] * torch.tensor([1.0, 2.0, 1.0])).flatten())
    wanted = evolve(step, angles[0].numpy())[0]
    found, _ = sampled(step, angles)
    assert min(chi_square(n, p) for n, p in zip(found[0], wanted, strict=True)) > LEVEL / 8


def test_unroll_keeps_labels_delays_and_phase_and_leaves_the_step_alone():
    step = with_delay()
    step.barrier(label="end")
    step.append(lib.XGate(label="mine"), [0])
    step.global_phase = 0.3 + A
    before = step.copy()
    drawn = unroll(step, 2)
    assert [i.operation.label for i in drawn.data if i.name in ("barrier", "x")] == ["end", "mine"] * 2
    assert [(i.operation.duration, i.operation.unit) for i in drawn.data if i.name == "delay"] == [(50, "us")] * 2
    assert drawn.global_phase == 0.6 + drawn.parameters[0] + drawn.parameters[1]
    for instruction in drawn.data:
        if instruction.name == "barrier":
            instruction.operation.label = "other"
    drawn.x(0)
    assert step == before and step.data[2].operation.label == "end"
    step.x(0)
    assert unroll(before, 2).count_ops()["x"] == 2 and drawn.count_ops()["x"] == 3
