"""Random coordinates drawn where slopes have been large."""

import pytest
import torch
from problems import gradient, problem
from reference import random_state

from qrnn_helpers import QRNN, Budget, ExactBackend, MomentBackend, QuantumRecurrentLayer, fit, rotation_step
from qrnn_helpers.gradients import ImportantCoordinate, live_angles
from qrnn_helpers.simulation import StepProgram

STEP = rotation_step(1, 1)
LIVE = live_angles(StepProgram(STEP), 2).live.flatten()


class Frozen(ImportantCoordinate):
    """Draws with probabilities that are given, and learns nothing."""

    given = torch.where(LIVE, 0.5 + torch.arange(26, dtype=torch.float64) % 4, 0.0)

    def _shares(self, executor, time_steps):
        return self.given[None]


def z_scores(found: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    return (found.mean(0) - exact).abs() / (found.std(0) / len(found) ** 0.5 + 1e-12)


@pytest.mark.parametrize("backend", [ExactBackend(), MomentBackend(20, 2)], ids=repr)
def test_estimates_have_the_right_mean_before_and_after_learning(backend):
    step, angles, weights = problem(STEP, 1, 2, seed=5)
    exact = gradient(step, angles, weights)[0]
    estimator = ImportantCoordinate(4, seed=1)
    for _ in range(2):
        found = gradient(step, angles.expand(3000, -1, -1), weights, backend=backend, gradient=estimator)
        assert (z_scores(found, exact) < 4.5).all()


def test_the_squared_error_is_that_of_sampling_with_repetition():
    """(sum_i g_i**2 / p_i - |g|**2) / k over live angles, each with the angles that repeat its slope."""
    step, angles, weights = problem(STEP, 1, 2, seed=5)
    exact = gradient(step, angles, weights)
    plan = live_angles(StepProgram(STEP), 2)
    slopes = exact.flatten()
    repeated = torch.stack([(slopes[plan.source == i]).square().sum() for i in range(26)])
    p = Frozen.given / Frozen.given.sum()
    for k in (1, 5):
        found = gradient(step, angles.expand(4000, -1, -1), weights, gradient=Frozen(k, seed=2))
        errors = (found - exact).square().sum((1, 2))
        wanted = ((repeated[LIVE] / p[LIVE]).sum() - slopes.square().sum()) / k
        assert abs(errors.mean() - wanted) < 4.5 * errors.std() / 4000**0.5


def test_learning_lowers_the_error_at_equal_circuits():
    """The least sum of S_i / p_i at sum of n_i p_i is (sum_i (S_i n_i)**.5)**2: learnt shares come near it."""
    step, angles, weights = problem(STEP, 1, 2, seed=5)
    exact = gradient(step, angles, weights)
    layer = QuantumRecurrentLayer(step, gradient=ImportantCoordinate(4, seed=1))
    cost = []
    for _ in range(6):
        before = layer.cost.circuits
        leaf = angles.expand(1000, -1, -1).clone().requires_grad_()
        (layer(leaf)[0] * weights).sum().backward()
        error = (leaf.grad - exact).square().sum((1, 2)).mean() + exact.square().sum() / 4
        cost.append(float(error) * (layer.cost.circuits - before - 1000))
    plan = live_angles(StepProgram(STEP), 2)
    counts = torch.bincount(layer.program.shift_terms[0]).repeat(2)
    sizes = torch.stack([(exact.flatten()[plan.source == i]).norm() for i in range(26)])
    least = 1000 * float((sizes * counts.sqrt())[LIVE].sum()) ** 2
    assert least * 0.9 < cost[-1] < 1.1 * least < 0.9 * cost[0]


def test_each_sample_starts_from_its_own_state():
    step, angles, weights = problem(rotation_step(2, 1), 1, 2, seed=3)
    state = random_state(1, 4, seed=4)
    exact = gradient(step, angles, weights, state=state)[0]
    many = (angles.expand(3000, -1, -1), weights)
    options = {"state": state.expand(3000, -1, -1), "gradient": ImportantCoordinate(4, seed=1)}
    assert (z_scores(gradient(step, *many, **options), exact) < 4.5).all()


def test_no_slope_at_all_is_no_error():
    step, angles, weights = problem(STEP, 2, 2)
    estimator = ImportantCoordinate(3, seed=1)
    for _ in range(2):
        assert not gradient(step, angles, 0 * weights, gradient=estimator).any()
    assert torch.isfinite(gradient(step, angles, weights, gradient=estimator)).all()
    empty = STEP.assign_parameters([0.1] * 13)
    assert gradient(empty, torch.zeros(2, 3, 0).double(), weights[:, :1], gradient=estimator).shape == (2, 3, 0)


def test_a_training_keeps_its_budget():
    estimator = ImportantCoordinate(3, seed=1)
    model = QRNN(2, 1, STEP, backend=MomentBackend(16, 1), gradient=estimator, dtype=torch.float64, seed=0)
    x = torch.randn(20, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    options = {"batch_size": 4, "seed": 3, "progress": False, "validations": 1, "budget": Budget(circuits=1000)}
    spent = fit(model, (x, x[..., :1]), (x, x[..., :1]), optimizer=optimizer, **options)["circuits"].to_numpy()
    most = 4 * (1 + 3 * 4)
    assert estimator.circuits(model.layer.program, 3) == 3 * 4
    assert 1000 - most < spent[-1] <= 1000 and max(spent[1:] - spent[:-1]) <= most


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="coordinates must be at least 1"):
        ImportantCoordinate(0)
    with pytest.raises(TypeError, match="causal must be True or False"):
        ImportantCoordinate(causal=1)
