"""The ledger: what a device would have had to run, counted twice and independently."""

import asyncio
import copy
import gc
import pickle
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit_aer.primitives import SamplerV2
from reference import random_angles, registers

from qrnn_helpers import Backend, ExactBackend, SamplerBackend, ShotBackend
from qrnn_helpers.backends import CostLedger, transpiled
from qrnn_helpers.circuits import reuploading_step, rotation_step
from qrnn_helpers.gradients import SPSA, Autograd, ParameterShift
from qrnn_helpers.models import QRNN, QuantumRecurrentLayer


class CountingBackend(Backend):
    """Counts the circuits it is handed and answers that every outcome is equally likely."""

    def __init__(self, shots: int = 0):
        self.shots, self.seen, self.jobs = shots, 0, 0

    def run(self, program, gate_angles, state=None):
        batch, time_steps, _ = gate_angles.shape
        self.seen += batch
        self.jobs += 1
        outcomes = 2**program.readout
        return gate_angles.new_full((batch, time_steps, outcomes), 1 / outcomes), None


def update(layer: QuantumRecurrentLayer, batch: int, time: int) -> tuple[int, int]:
    """Circuits on the ledger for one forward and one backward pass."""
    angles = random_angles(layer.program.step, batch, time, seed=1).requires_grad_()
    probabilities, _ = layer(angles)
    forward = layer.cost.circuits
    probabilities.sum().backward()
    return forward, layer.cost.circuits - forward


def test_course_project_size():
    """8 qubits, 20 steps: 1 circuit forward, 20 (48 * 2 + 7 * 4) = 2,480 for the shift gradient."""
    layer = QuantumRecurrentLayer(rotation_step(4, 4), backend=CountingBackend())
    assert update(layer, 1, 20) == (1, 2480)
    assert layer.backend.seen == layer.cost.circuits == layer.update_circuits(1, 20) == 2481
    assert layer.backend.jobs == layer.cost.jobs
    assert layer.cost.shots == 0


def test_course_project_size_exactly():
    """The same from the exact backend itself, at a length that takes a second."""
    options = {"backend": ExactBackend(torch.complex64), "gradient": ParameterShift()}
    layer = QuantumRecurrentLayer(rotation_step(4, 4), **options)
    assert update(layer, 1, 4) == (1, 4 * 124)
    assert layer.cost.shots == 0


@pytest.mark.parametrize("directions", [1, 3])
@pytest.mark.parametrize("causal", [False, True])
def test_spsa_takes_two_circuits_a_direction_and_sample(directions, causal):
    spsa = SPSA(directions=directions, seed=1, causal=causal)
    for backend in (CountingBackend(), ExactBackend(), ShotBackend(10, seed=1)):
        layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=backend, gradient=spsa)
        assert update(layer, 5, 3) == (5, 5 * 2 * directions)
        assert layer.cost.circuits == layer.update_circuits(5, 3)


@pytest.mark.parametrize("step, terms", [(rotation_step(1, 1), 28), (reuploading_step(2, 2), 64)])
@pytest.mark.parametrize("causal", [False, True])
def test_shift_rule_takes_its_terms(step, terms, causal):
    backend = CountingBackend(shots=7)
    layer = QuantumRecurrentLayer(step, backend=backend, gradient=ParameterShift(causal))
    assert update(layer, 2, 3) == (2, 2 * 3 * terms)
    assert layer.cost.shots == 7 * layer.cost.circuits == 7 * backend.seen


def test_autograd_adds_no_circuits():
    layer = QuantumRecurrentLayer(rotation_step(1, 1), gradient=Autograd())
    assert update(layer, 5, 3) == (5, 0)


def test_large_batches_in_several_runs_are_billed_once(monkeypatch):
    monkeypatch.setattr("qrnn_helpers.backends.executor.CHUNK_BYTES", 4000)
    for estimator, circuits in ((ParameterShift(), 3 * 28), (SPSA(directions=4, seed=1), 8)):
        layer = QuantumRecurrentLayer(rotation_step(1, 1), gradient=estimator)
        assert update(layer, 2, 3) == (2, 2 * circuits)
        assert layer.cost.jobs > 10 or circuits == 8


def test_shots_on_a_sampler():
    backend = SamplerBackend(SamplerV2(), 25, seed=1)
    layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=backend, gradient=SPSA(seed=1))
    assert update(layer, 3, 2) == (3, 6)
    assert (layer.cost.shots, layer.cost.jobs) == (25 * 9, 2)
    assert layer.cost.seconds > 0


def test_a_sampler_gets_full_jobs_and_no_larger_ones():
    """5 samples in jobs of 3; 2 x 28 shifted circuits a step in jobs of 3, over sample and term alike."""

    class Device(CountingBackend):
        max_circuits, sizes = 3, ()

        def run(self, program, gate_angles, state=None):
            self.sizes += (len(gate_angles),)
            return super().run(program, gate_angles, state)

    for gradient, circuits in ((ParameterShift(), 5 * 28 * 2), (SPSA(directions=2, seed=1), 5 * 4)):
        layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=Device(shots=2), gradient=gradient)
        assert update(layer, 5, 2) == (5, circuits)
        assert max(layer.backend.sizes) == 3 and sum(layer.backend.sizes) == 5 + circuits
        assert len(layer.backend.sizes) == layer.cost.jobs
    assert layer.cost.jobs == 2 + 7  # SPSA: 20 circuits in one go


def test_a_network_bills_on_its_layer():
    model = QRNN(1, 1, rotation_step(1, 1), gradient=SPSA(directions=2, seed=1), seed=1)
    model(torch.zeros(4, 3, 1))[0].sum().backward()
    assert model.layer.cost.circuits == 4 * (1 + 4)


def test_what_failed_is_not_billed():
    class Broken(CountingBackend):
        def run(self, program, gate_angles, state=None):
            raise RuntimeError("queue closed")

    layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=Broken())
    with pytest.raises(RuntimeError, match="queue closed"):
        layer(torch.zeros(1, 1, 13))
    assert layer.cost.circuits == 0


def test_scopes_keep_validation_outside():
    ledger = CostLedger()
    ledger.record(5, 50, 1, 0.5)
    with ledger.scope("validation") as inner:
        ledger.record(2, 20, 1, 0.1)
        assert inner.circuits == 2
    with ledger.scope("validation"):
        ledger.record(3, 30, 1, 0.1)
    ledger.record(1, 10, 1, 0.5)
    assert (ledger.circuits, ledger.shots, ledger.jobs, ledger.seconds) == (6, 60, 2, 1.0)
    assert ledger.scopes["validation"].circuits == 5
    assert "circuits=6" in repr(ledger) and "validation=CostLedger(circuits=5" in repr(ledger)


def test_scopes_nest_and_close_after_errors():
    ledger = CostLedger()
    with pytest.raises(RuntimeError), ledger.scope("outer") as outer:
        with ledger.scope("inner") as inner:
            ledger.record(1, 0, 1, 0.0)
        ledger.record(2, 0, 1, 0.0)
        with ledger.scope("outer"):
            ledger.record(8, 0, 1, 0.0)
        raise RuntimeError
    ledger.record(4, 0, 1, 0.0)
    assert ledger.circuits == 4 and list(ledger.scopes) == ["outer"]
    assert ledger.scopes["outer"] is outer and outer.circuits == 2
    assert outer.scopes["inner"] is inner and inner.circuits == 1 and not inner.scopes
    assert outer.scopes["outer"].circuits == 8


def test_scopes_open_anew_after_an_error_inside():
    ledger = CostLedger()
    with ledger.scope("outer"):
        with pytest.raises(RuntimeError), ledger.scope("inner"):
            raise RuntimeError
        ledger.record(1, 0, 1, 0.0)
        with ledger.scope("inner"):
            ledger.record(2, 0, 1, 0.0)
    assert repr(ledger) == (
        "CostLedger(circuits=0, shots=0, jobs=0, seconds=0.00, outer=CostLedger(circuits=1, shots=0, jobs=1, "
        "seconds=0.00, inner=CostLedger(circuits=2, shots=0, jobs=1, seconds=0.00)))"
    )


def test_total_adds_everything_up():
    ledger = CostLedger()
    ledger.record(1, 10, 1, 0.5, Known(5, 2))
    with ledger.scope("outer"):
        ledger.record(2, 20, 2, 0.25, Known(3, 7))
        with ledger.scope("inner"):
            ledger.record(4, 40, 4, 0.25, Known(9, 1))
    total = ledger.total()
    assert (total.circuits, total.shots, total.jobs, total.seconds, total.scopes) == (7, 70, 7, 1.0, {})
    assert (total.depth, total.two_qubit_gates) == (9, 7)
    assert (ledger.depth, ledger.two_qubit_gates) == (5, 2)
    assert (ledger.total().depth, ledger.total().two_qubit_gates) == (9, 7)  # also when parts were read
    total.record(1, 1, 1, 1.0)
    assert ledger.circuits == 1


def apart(work) -> object:
    """What a function returns when another thread runs it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_a_scope_is_open_only_in_its_own_thread():
    """Bookings of another thread pass it by, and its scopes are not this one's."""
    ledger = CostLedger()

    def other():
        ledger.record(1, 0, 1, 0.0)
        with ledger.scope("theirs"):
            ledger.record(2, 0, 1, 0.0)
        ledger.reset()  # what is open elsewhere stays so
        ledger.record(4, 0, 1, 0.0)

    with ledger.scope("ours") as ours:
        ledger.record(8, 0, 1, 0.0)
        apart(other)
        ledger.record(16, 0, 1, 0.0)
    assert (ledger.circuits, ours.circuits) == (4, 16) and ledger.scopes == {"ours": ours}


def test_threads_lose_no_booking():
    ledger, interval = CostLedger(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: [ledger.record(1, 2, 1, 0.5, Known(n, n)) for n in range(500)], range(4)))
            list(pool.map(lambda _: ledger.depth, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert (ledger.circuits, ledger.shots, ledger.jobs, ledger.seconds) == (2000, 4000, 2000, 1000.0)
    assert (ledger.depth, ledger.two_qubit_gates, ledger._unread) == (499, 499, [])


def test_a_scope_is_open_only_in_its_own_task():
    ledger = CostLedger()

    async def task(name, circuits):
        with ledger.scope(name):
            await asyncio.sleep(0)  # the others go on meanwhile
            ledger.record(circuits, 0, 1, 0.0)
            await asyncio.sleep(0)

    async def all_tasks():
        await asyncio.gather(*(task(str(n), n) for n in range(4)), asyncio.to_thread(ledger.record, 9, 0, 1, 0.0))
        ledger.record(5, 0, 1, 0.0)

    asyncio.run(all_tasks())
    assert {name: scope.circuits for name, scope in ledger.scopes.items()} == {str(n): n for n in range(4)}
    assert ledger.circuits == 9 + 5


def test_a_backward_pass_in_a_thread_of_torchs_own_is_booked_with_its_forward_pass():
    """As torch runs it for a GPU; in the same thread it is booked where it is asked for."""
    layer = QuantumRecurrentLayer(rotation_step(1, 1), gradient=SPSA(seed=1))
    angles = torch.zeros(3, 2, 13, requires_grad=True)
    with layer.cost.scope("first") as first:
        loss, later = layer(angles)[0].sum(), layer(angles)[0].sum()
        apart(loss.backward)
    assert (first.circuits, layer.cost.circuits) == (3 + 3 + 3 * 2, 0)
    later.backward()
    assert (first.circuits, layer.cost.circuits) == (12, 3 * 2)


def test_reset_forgets_everything():
    ledger = CostLedger()
    ledger.record(5, 50, 1, 0.5, Known(5, 2))
    with ledger.scope("validation"):
        ledger.record(2, 20, 1, 0.1)
    ledger.reset()
    assert (ledger.circuits, ledger.shots, ledger.jobs, ledger.seconds) == (0, 0, 0, 0.0)
    assert (ledger.depth, ledger.two_qubit_gates, ledger.scopes) == (0, 0, {})


def test_reset_inside_a_scope_keeps_what_comes_later():
    ledger = CostLedger()
    with ledger.scope("gone"):
        ledger.record(1, 0, 1, 0.0)
    with ledger.scope("outer") as outer, ledger.scope("inner") as inner:
        ledger.record(2, 0, 1, 0.0)
        ledger.reset()
        assert (outer.circuits, inner.circuits) == (0, 0)
        ledger.record(4, 0, 1, 0.0)
    ledger.record(8, 0, 1, 0.0)
    assert ledger.circuits == 8 and ledger.scopes == {"outer": outer}
    assert outer.scopes["inner"] is inner and inner.circuits == 4


@pytest.mark.parametrize("again", [copy.deepcopy, lambda ledger: pickle.loads(pickle.dumps(ledger))])
def test_a_copy_stands_outside_all_scopes(again):
    """Nobody would ever close them for it."""
    ledger = CostLedger()
    with ledger.scope("outer"), ledger.scope("inner"):
        ledger.record(1, 0, 1, 0.0)
        twin = again(ledger)
        twin.record(2, 0, 1, 0.0)
    assert twin.circuits == 2 and twin.scopes["outer"].scopes["inner"].circuits == 1
    assert ledger.circuits == 0 and ledger.total().circuits == 1


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ((-1, 0, 0, 0.0), ValueError, "circuits must be at least 0; got -1"),
        ((1.5, 0, 0, 0.0), TypeError, "circuits must be an integer"),
        ((1, "many", 0, 0.0), TypeError, "shots must be an integer.*'many'"),
        ((1, 0, True, 0.0), TypeError, "jobs must be an integer"),
        ((1, 0, 1, -0.5), ValueError, "seconds must be at least 0"),
        ((1, 0, 1, float("nan")), ValueError, "seconds must be finite"),
        ((1, 0, 1, 0.0, 17), TypeError, r"ran must have a method figures\(\) or be None; got 17"),
    ],
)
def test_wrong_bookings_are_refused_and_leave_no_trace(arguments, error, words):
    ledger = CostLedger()
    with pytest.raises(error, match=words):
        ledger.record(*arguments)
    assert repr(ledger) == repr(CostLedger()) and ledger.depth == 0


def test_wrong_scopes_are_refused():
    with pytest.raises(TypeError, match="name must be a string; got 3"):
        CostLedger().scope(3)


# ---------------------------------------------------------------- depth and two-qubit gates


@dataclass
class Known:
    """A run whose figures are known."""

    depth: int
    pairs: int

    def figures(self) -> tuple[int, int]:
        return self.depth, self.pairs


def by_hand() -> QuantumCircuit:
    """A step whose every gate waits for the one before."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 0)
    step.cx(0, 1)
    step.barrier()
    step.ry(Parameter("b"), 1)
    return step


def everywhere() -> list[Backend]:
    return [ExactBackend(), ShotBackend(10, seed=1), SamplerBackend(SamplerV2(), 10, seed=1)]


def test_depth_and_two_qubit_gates_by_hand():
    """RX, CX, RY, measure, reset; a later step's RX acts on the memory meanwhile and adds no depth."""
    for backend in everywhere():
        layer = QuantumRecurrentLayer(by_hand(), backend=backend)
        assert (layer.cost.depth, layer.cost.two_qubit_gates) == (0, 0)
        layer(torch.zeros(2, 1, 2))
        assert (layer.cost.depth, layer.cost.two_qubit_gates) == (5, 1)
        layer(torch.zeros(2, 3, 2))
        layer(torch.zeros(2, 2, 2))
        assert (layer.cost.depth, layer.cost.two_qubit_gates) == (13, 3)


@pytest.mark.parametrize("step", [rotation_step(2, 1), reuploading_step(1, 2)])
def test_all_backends_agree_on_depth(step):
    found = []
    for backend in everywhere():
        layer = QuantumRecurrentLayer(step, backend=backend, gradient=SPSA(seed=1))
        update(layer, 1, 2)
        found.append((layer.cost.depth, layer.cost.two_qubit_gates))
    assert len(set(found)) == 1 and min(found[0]) > 0


def test_depth_is_of_the_circuit_as_transpiled():
    """A ring of controlled rotations on a line of three qubits takes more two-qubit gates."""
    line = {"coupling_map": [[0, 1], [1, 0], [1, 2], [2, 1]], "basis_gates": ["rz", "sx", "x", "cx"]}
    manager = generate_preset_pass_manager(optimization_level=1, seed_transpiler=0, **line)
    step = reuploading_step(1, 2)  # a ring
    backend = SamplerBackend(SamplerV2(), 10, manager, seed=1)
    layer, plain = (QuantumRecurrentLayer(step, backend=b) for b in (backend, ExactBackend()))
    for each in (layer, plain):
        each(random_angles(step, 1, 2, seed=1))
    circuit = backend.device_circuit(layer.program, 2)
    assert layer.cost.two_qubit_gates == circuit.count_ops()["cx"] > plain.cost.two_qubit_gates
    assert layer.cost.depth == circuit.depth() > plain.cost.depth


def test_figures_are_worked_out_when_read_and_not_before(monkeypatch):
    asked = []
    monkeypatch.setattr(ExactBackend, "device_circuit", lambda self, *key: asked.append(key) or QuantumCircuit(1))
    layer = QuantumRecurrentLayer(rotation_step(1, 1), gradient=ParameterShift())
    update(layer, 2, 3)
    repr(layer.cost), repr(layer), copy.deepcopy(layer), pickle.dumps(layer), layer.cost.total()
    assert not asked
    assert layer.cost.depth == layer.cost.two_qubit_gates == 0
    assert asked == [(layer.program, 3)]


def test_figures_that_cannot_be_had_are_asked_for_again():
    class Moody(Known):
        def figures(self):
            self.depth += 1
            if self.depth < 2:
                raise RuntimeError("no pass manager today")
            return super().figures()

    ledger = CostLedger()
    ledger.record(1, 0, 1, 0.0, Moody(0, 3))
    with pytest.raises(RuntimeError, match="today"):
        ledger.depth  # noqa: B018
    assert (ledger.depth, ledger.two_qubit_gates) == (2, 3)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("number", range(3), ids=["exact", "shots", "aer"])
def test_a_copied_layer_knows_its_depth(again, number):
    layer = QuantumRecurrentLayer(by_hand(), backend=everywhere()[number])
    layer(torch.zeros(2, 3, 2))
    twin = again(layer)
    assert (twin.cost.depth, twin.cost.two_qubit_gates, twin.cost.circuits) == (13, 3, 2)
    assert twin.cost._unread == [] and layer.cost.depth == 13


def test_a_layer_that_is_gone_takes_its_circuits_along():
    backend = SamplerBackend(SamplerV2(), 10, seed=1)  # lives on
    layer = QuantumRecurrentLayer(by_hand(), backend=backend)
    layer(torch.zeros(1, 2, 2))
    program = weakref.ref(layer.program)
    assert program() in transpiled.KEPT
    del layer
    gc.collect()
    assert program() is None


def test_lengths_without_end_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(transpiled, "CIRCUITS_KEPT", 3)
    layer = QuantumRecurrentLayer(by_hand())
    for steps in (1, 2, 3, 4, 5, 1):
        layer(torch.zeros(1, steps, 2))
    assert layer.cost.depth == 21 and len(transpiled.KEPT[layer.program]) == 3
