"""The ledger: what a device would have had to run, counted twice and independently."""

import pytest
import torch
from qiskit_aer.primitives import SamplerV2
from reference import random_angles

from qrnn_helpers import Backend, ExactBackend, SamplerBackend, ShotBackend
from qrnn_helpers.circuits import reuploading_step, rotation_step
from qrnn_helpers.cost import CostLedger
from qrnn_helpers.estimators import SPSA, Autograd, ParameterShift
from qrnn_helpers.layer import QRNN, QuantumRecurrentLayer


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
    monkeypatch.setattr("qrnn_helpers.runner.CHUNK_BYTES", 4000)
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
    with pytest.raises(RuntimeError), ledger.scope("outer"):
        with ledger.scope("other"):
            ledger.record(1, 0, 1, 0.0)
        ledger.record(2, 0, 1, 0.0)
        raise RuntimeError
    ledger.record(4, 0, 1, 0.0)
    assert ledger.circuits == 4
    assert {name: scope.circuits for name, scope in ledger.scopes.items()} == {
        "outer": 2,
        "other": 1,
    }


def test_reset_forgets_everything():
    ledger = CostLedger()
    ledger.record(5, 50, 1, 0.5)
    with ledger.scope("validation"):
        ledger.record(2, 20, 1, 0.1)
    ledger.reset()
    assert (ledger.circuits, ledger.shots, ledger.jobs, ledger.seconds) == (0, 0, 0, 0.0)
    assert ledger.scopes == {}
