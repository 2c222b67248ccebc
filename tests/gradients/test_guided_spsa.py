"""Guided simultaneous perturbation."""

import numpy as np
import pytest
import torch
from problems import gradient, problem

from qrnn_helpers import QRNN, SPSA, Budget, ExactBackend, MomentBackend, QuantumRecurrentLayer, fit, rotation_step
from qrnn_helpers.gradients import GuidedSPSA, ParameterShift

STEP = rotation_step(1, 1)


@pytest.mark.parametrize("share, guides", [(0.1, 1), (0.5, 3), (0.9, 6)])
@pytest.mark.parametrize("directions", [2, 500])
def test_guides_are_exact_and_the_others_capped_by_their_mean_norm(share, guides, directions):
    step, angles, weights = problem(STEP, 7, 2, seed=1)
    exact = gradient(step, angles, weights)
    found = gradient(step, angles, weights, gradient=GuidedSPSA(0.1, share, (directions, directions), 5))
    torch.testing.assert_close(found[:guides], exact[:guides], rtol=0, atol=1e-12)
    most = np.linalg.norm(exact[:guides].flatten(1).numpy(), axis=1).mean()
    spsa = gradient(step, angles[guides:], weights[guides:], gradient=SPSA(0.1, directions, 5))
    for guess, other in zip(spsa.numpy(), found[guides:].numpy(), strict=True):
        np.testing.assert_allclose(other, guess * min(1, most / np.linalg.norm(guess)), atol=1e-12)


def test_a_lone_sample_has_the_shift_rule():
    step, angles, weights = problem(STEP, 1, 2)
    found = gradient(step, angles, weights, gradient=GuidedSPSA(seed=1))
    torch.testing.assert_close(found, gradient(step, angles, weights), rtol=0, atol=1e-12)


def test_the_cap_shortens_the_mean_by_the_law():
    """2,000 equal samples and a direction each: (2 / pi L)**.5 g, up to the central limit theorem's error at L = 26."""
    step, angles, weights = problem(STEP, 1, 2, seed=6)
    exact = gradient(step, angles, weights)[0]
    many = angles.expand(2001, -1, -1)
    found = gradient(step, many, weights, gradient=GuidedSPSA(1e-4, 1e-6, (1, 1), 7))[1:]
    along = (found * exact).sum((1, 2)) / exact.square().sum()
    law = (2 / (np.pi * 26)) ** 0.5
    assert abs(along.mean() / law - 1) < 4 * along.std() / 2000**0.5 / law + 0.1


def test_directions_grow_as_in_the_paper():
    for share, last in ((0.5, 26), (0.8, 18)):
        estimator = GuidedSPSA(share=share)
        found = []
        for fraction in (0.0, 0.5, 1.0):
            estimator.progress(fraction)
            found.append(estimator.present(26))
        assert found == [2, int((2.6 + last) / 2), last]
    assert GuidedSPSA().present(3) == 1


def test_circuits_are_a_share_of_each_kind():
    step, angles, _ = problem(STEP, 5, 3)
    layer = QuantumRecurrentLayer(step, gradient=GuidedSPSA(0.1, 0.4, (4, 9), 1))
    layer(angles.requires_grad_())[0][:, -1, 0].sum().backward()
    shift = ParameterShift(prune=True).circuits(layer.program, 3)
    assert layer.cost.circuits == 5 + 2 * shift + 3 * 2 * 4
    assert layer.gradient.circuits(layer.program, 3) == shift > 8
    layer.gradient.progress(1.0)
    assert GuidedSPSA(0.1, 0.4, (200, 200)).circuits(layer.program, 3) == 400


@pytest.mark.parametrize("backend", [ExactBackend(), MomentBackend(16, 1)], ids=repr)
def test_a_training_keeps_its_budget(backend):
    estimator = GuidedSPSA(0.1, 0.5, None, seed=1)
    model = QRNN(2, 1, STEP, backend=backend, gradient=estimator, dtype=torch.float64, seed=0)
    x = torch.randn(20, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    data = x, x[..., :1].tanh()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    options = {"batch_size": 4, "seed": 3, "progress": False, "validations": 1, "budget": Budget(circuits=3000)}
    spent = fit(model, data, data, optimizer=optimizer, **options)["circuits"].to_numpy()
    updates = np.diff(spent, prepend=0)
    assert (np.diff(updates) >= 0).all() and updates[-1] > 1.5 * updates[0]
    most = 4 * (1 + model.layer.gradient.circuits(model.layer.program, 3))
    assert 3000 - most < spent[-1] <= 3000


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: GuidedSPSA(share=0), ValueError, "share must be greater than 0"),
        (lambda: GuidedSPSA(share=1.0), ValueError, "share must be less than 1"),
        (lambda: GuidedSPSA(directions=3), TypeError, "directions must be a pair"),
        (lambda: GuidedSPSA(directions=(0, 3)), ValueError, "directions must be at least 1"),
        (lambda: GuidedSPSA(c=0), ValueError, "c must be greater than 0"),
    ],
)
def test_bad_settings_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
