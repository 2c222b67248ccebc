"""SPSA whose number of directions follows the budget."""

import pytest
import torch
from problems import gradient, problem

from qrnn_helpers import QRNN, SPSA, Budget, MomentBackend, fit, rotation_step
from qrnn_helpers.gradients import DecayingSPSA, ParameterShift


def network(estimator) -> QRNN:
    options = {"backend": MomentBackend(16, 1), "gradient": estimator}
    return QRNN(2, 1, rotation_step(1, 1), dtype=torch.float64, seed=0, **options)


def curve(model: QRNN, budget: Budget):
    x = torch.randn(20, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    data = x, x[..., :1].tanh()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    options = {"batch_size": 2, "seed": 3, "progress": False, "validations": 1}
    return fit(model, data, data, optimizer=optimizer, budget=budget, **options)


def test_the_number_of_directions_is_geometric_in_the_spent_fraction():
    estimator = DecayingSPSA(first=16, last=1)
    found = []
    for fraction in (0.0, 0.25, 0.5, 0.75, 1.0):
        estimator.progress(fraction)
        found.append(estimator.directions)
    assert found == [16, 8, 4, 2, 1]
    assert not estimator.progress(1.0) and estimator.progress(0.0)
    assert not ParameterShift().progress(0.5)


@pytest.mark.parametrize("fraction, directions", [(0.0, 4), (0.5, 2), (1.0, 1)])
def test_an_estimate_is_that_of_spsa(fraction, directions):
    step, angles, weights = problem(rotation_step(1, 1), 3, 2)
    estimator = DecayingSPSA(0.1, 4, 1, seed=5)
    estimator.progress(fraction)
    found = gradient(step, angles, weights, gradient=estimator)
    assert torch.equal(found, gradient(step, angles, weights, gradient=SPSA(0.1, directions, 5)))


@pytest.mark.parametrize("first, last", [(8, 1), (1, 8)])
@pytest.mark.parametrize("budget", [Budget(circuits=1000), Budget(shots=16_000)])
def test_a_training_keeps_its_budget_and_uses_it_up(first, last, budget):
    """2 samples of 1 + 2 m circuits an update; what is left would not have paid for another."""
    model = network(DecayingSPSA(0.1, first, last, seed=1))
    spent = curve(model, budget)["circuits"].to_numpy()
    updates = [spent[0], *(spent[1:] - spent[:-1])]
    assert updates == sorted(updates, reverse=first > last)
    assert updates[0] == 2 * (1 + 2 * first)
    assert 1000 - 2 * (1 + 2 * model.layer.gradient.directions) < spent[-1] <= 1000
    assert abs(model.layer.gradient.directions - last) <= 1


def test_a_second_training_begins_with_the_first_number():
    model = network(DecayingSPSA(0.1, 8, 1, seed=1))
    for _ in range(2):
        assert curve(model, Budget(steps=3))["circuits"].iloc[0] == 2 * (1 + 2 * 8)


@pytest.mark.parametrize("name", ["first", "last"])
def test_bad_settings_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        DecayingSPSA(**{name: 0})
