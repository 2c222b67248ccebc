"""An update as one job: the same gradients, draws and circuits as in two passes, billed once."""

import pytest
import torch
from reference import random_angles

from qrnn_helpers import QRNN, estimate
from qrnn_helpers.backends import Backend, ExactBackend
from qrnn_helpers.circuits import rotation_step
from qrnn_helpers.gradients import (
    SPSA,
    Autograd,
    DecayingSPSA,
    DirectionalShift,
    FiniteDifference,
    GradientEstimator,
    GuidedSPSA,
    ImportantCoordinate,
    ParameterShift,
    RandomCoordinate,
    WeightSPSA,
)
from qrnn_helpers.models import QuantumRecurrentLayer

STEP = rotation_step(1, 1)
BATCH, TIME = 3, 2

ESTIMATORS = {
    "SPSA": lambda: SPSA(directions=3, seed=1),
    "causal, orthogonal": lambda: SPSA(directions=3, seed=1, causal=True, orthogonal=True),
    "decaying": lambda: DecayingSPSA(first=3, seed=1),
    "guided": lambda: GuidedSPSA(directions=(2, 4), seed=1),
    "directional shift": lambda: DirectionalShift(directions=2, seed=1),
    "shift": lambda: ParameterShift(),
    "shift, pruned": lambda: ParameterShift(prune=True),
    "coordinates": lambda: RandomCoordinate(3, seed=1),
    "important": lambda: ImportantCoordinate(3, seed=1),
    "differences": lambda: FiniteDifference(),
}


class Device(Backend):
    """Exact outcomes, so that gradients can be compared to rounding; keeps how many circuits each job had."""

    shots, one_job = 10, True

    def __init__(self, max_circuits=1000, one_job=True):
        self.max_circuits, self.one_job, self.jobs, self.fails = max_circuits, one_job, [], 0

    def run(self, program, gate_angles, state=None):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("gone")
        self.jobs.append(len(gate_angles))
        return ExactBackend().run(program, gate_angles)[0], None


def layer(gradient, **options) -> QuantumRecurrentLayer:
    return QuantumRecurrentLayer(STEP, backend=Device(**options), gradient=gradient)


def given(seed=1) -> torch.Tensor:
    return random_angles(STEP, BATCH, TIME, seed=seed).requires_grad_()


def update(quantum, angles):
    """The gradient of a loss that is not linear in the outcomes."""
    angles.grad = None
    quantum(angles)[0].square().sum().backward()
    return angles.grad


@pytest.mark.parametrize("most", [1000, 7])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_job_gives_the_gradients_of_two_passes(name, most):
    """Over several updates, so that what an estimator draws and learns goes on alike."""
    once, twice = layer(ESTIMATORS[name](), max_circuits=most), layer(ESTIMATORS[name](), one_job=False)
    for seed in range(3):
        torch.testing.assert_close(update(once, given(seed)), update(twice, given(seed)), rtol=0, atol=1e-12)
    assert sum(once.backend.jobs) == once.cost.circuits == sum(twice.backend.jobs)
    assert once.cost.jobs == len(once.backend.jobs) and once.cost.shots == 10 * once.cost.circuits
    assert most == 7 or len(once.backend.jobs) == 3 < len(twice.backend.jobs)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("most", [1000, 7])
def test_jobs_are_foreseen(name, most):
    quantum = layer(ESTIMATORS[name](), max_circuits=most)
    foreseen = estimate(quantum, updates=2, batch_size=BATCH, time_steps=TIME, machine="ibm_fez")
    assert not quantum.backend.jobs
    for done in range(2):
        quantum.gradient.progress(done / 2)
        update(quantum, given(done))
    booked = quantum.cost.circuits, quantum.cost.jobs
    if foreseen.exact:
        assert booked == (foreseen.circuits, foreseen.jobs)
    assert booked[0] <= foreseen.circuits and booked[1] <= foreseen.jobs
    assert most == 7 or foreseen.jobs == 2


def test_a_network_whose_encoder_is_perturbed():
    x = torch.linspace(-1, 1, BATCH * TIME * 2, dtype=torch.float64).view(BATCH, TIME, 2)
    networks = []
    for one_job in (True, False):
        options = {"gradient": WeightSPSA(directions=2, seed=1), "dtype": torch.float64, "seed": 0}
        networks.append(QRNN(2, 1, STEP, backend=Device(one_job=one_job), **options))
        networks[-1](x)[0].square().sum().backward()
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)
    assert [network.layer.backend.jobs for network in networks] == [[15], [3, 12]]


def test_without_a_gradient_the_forward_pass_runs_alone():
    quantum = layer(SPSA(seed=1))
    with torch.no_grad():
        quantum(given())
    quantum(given().detach())
    assert quantum.backend.jobs == [BATCH, BATCH]


def test_two_calls_before_either_is_differentiated():
    once, twice = layer(SPSA(directions=2, seed=1)), layer(SPSA(directions=2, seed=1), one_job=False)
    first, second = given(1), given(2)
    outputs = [once(angles)[0].square().sum() for angles in (first, second)]
    for output in reversed(outputs):
        output.backward()
    wanted = [update(twice, given(seed)) for seed in (1, 2)]
    torch.testing.assert_close([first.grad, second.grad], wanted, rtol=0, atol=1e-12)
    assert len(once.backend.jobs) == 2


def test_a_second_backward_pass_has_circuits_of_its_own():
    quantum = layer(ParameterShift())
    loss = quantum(given())[0].square().sum()
    loss.backward(retain_graph=True)
    assert quantum.cost.jobs == 1
    loss.backward()
    assert quantum.cost.circuits == sum(quantum.backend.jobs) and quantum.cost.jobs == len(quantum.backend.jobs) > 1


def test_a_failed_call_uses_up_no_draws():
    quantum, undisturbed = layer(SPSA(seed=1)), layer(SPSA(seed=1))
    quantum.backend.fails = 1
    with pytest.raises(ConnectionError):
        quantum(given())
    assert torch.equal(update(quantum, given()), update(undisturbed, given())) and quantum.cost.jobs == 1


class Second(GradientEstimator):
    """A wrong promise: its second circuits depend on what the first ones answered."""

    draws_first = True

    def circuits(self, program, time_steps):
        return 2

    def estimate(self, executor, angles, weights):
        first = executor.run(angles + 0.1)
        return executor.run(angles + first[..., :1])[..., :1] * torch.ones_like(angles)


def test_what_was_not_foreseen_is_run_and_billed():
    once, twice = layer(Second()), layer(Second(), one_job=False)
    torch.testing.assert_close(update(once, given()), update(twice, given()), rtol=0, atol=1e-12)
    assert once.backend.jobs == [3 * BATCH, BATCH] and once.cost.circuits == 4 * BATCH


def test_an_estimator_that_promises_nothing_has_jobs_of_its_own():
    class Plain(Second):
        draws_first = False

    quantum = layer(Plain())
    update(quantum, given())
    assert quantum.backend.jobs == [BATCH] * 3


def test_every_estimator_but_autograd_draws_first():
    assert all(make().draws_first for make in ESTIMATORS.values()) and not Autograd.draws_first
