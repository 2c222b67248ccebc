"""Training for closed loops, and the loops of patch models from many starts."""

import numpy as np
import pytest
import torch

from qrnn_helpers import ks22, patch_forecast, rollout
from qrnn_helpers.tasks import Task, next_field, rollouts
from qrnn_helpers.tasks.patches import low_pass
from qrnn_helpers.training import ridge_readout, train_features, train_in_loop, whitening
from qrnn_helpers.training.rollout import loop_loss

DOUBLE = {"dtype": torch.float64}


def rotations(count=20, length=30, angle=0.3, seed=0):
    """Points that turn about 0: a linear map that no loop should lose."""
    phase = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed), **DOUBLE) * 6 + angle * torch.arange(
        length
    )
    return torch.stack([torch.cos(phase), torch.sin(phase)], dim=-1)


def test_ridge_readout_is_least_squares_and_shrinks():
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0), **DOUBLE)
    wanted = torch.arange(10, **DOUBLE).view(2, 5)
    weights, offset = ridge_readout(x, x @ wanted.T + 3, 1e-12)
    assert torch.allclose(weights, wanted, atol=1e-8) and torch.allclose(offset, torch.full((2,), 3.0, **DOUBLE))
    assert ridge_readout(x, x @ wanted.T, 10.0)[0].norm() < wanted.norm() / 5


def test_the_slope_with_the_readout_held_fixed_is_the_slope_of_the_best_loss():
    """Variable projection: d/dw min_W |F(w) W - y|^2, against differences of the minimum itself."""
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(100, 3, generator=g, **DOUBLE), torch.randn(100, 1, generator=g, **DOUBLE)
    w = torch.randn(3, 2, generator=g, **DOUBLE, requires_grad=True)

    def best(w):
        features = torch.tanh(x @ w)
        readout = torch.linalg.lstsq(features, y).solution
        return (features @ readout.detach() - y).square().mean()

    slope = torch.autograd.grad(best(w), w)[0]
    move = torch.zeros_like(w)
    move[1, 1] = 1e-5
    with torch.no_grad():
        difference = (best(w + move) - best(w - move)) / 2e-5
    assert float(slope[1, 1]) == pytest.approx(float(difference), rel=1e-5)


def test_features_learn_what_a_readout_alone_cannot():
    """y = sin(3 x . v): the direction and the frequency have to be found."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(600, 1, 3, generator=g, **DOUBLE)
    y = torch.sin(x @ torch.tensor([[1.0], [-1.0], [0.5]], **DOUBLE))
    task = Task(*[(x, y)] * 3)
    weight = (0.3 * torch.randn(3, 4, generator=g, **DOUBLE)).requires_grad_()
    losses = train_features(lambda x: torch.tanh(x @ weight), [weight], task, rate=0.03, updates=250, batch=200, seed=0)
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])


def test_noise_is_added_to_inputs_alone():
    x = torch.randn(300, 2, 2, generator=torch.Generator().manual_seed(0), **DOUBLE)
    seen, weight = [], torch.ones(2, 1, **DOUBLE, requires_grad=True)

    def features(x):
        seen.append(x.detach())
        return x @ weight

    train_features(features, [weight], Task(*[(x, x)] * 3), rate=1e-9, updates=3, noise=0.1, batch=300, seed=0)
    nearest = torch.cdist(seen[-1].flatten(1), x.flatten(1)).min(dim=1).values
    assert 0.1 < float(nearest.mean()) < 0.3


def test_a_loop_is_trained_by_all_of_its_steps():
    angle = torch.zeros(1, **DOUBLE, requires_grad=True)

    def turn(history):
        x, y = history[:, -1].unbind(-1)
        return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], dim=-1)

    train_in_loop(turn, [angle], rotations(), steps=1, horizon=5, rate=0.05, updates=150, noise=0.01, seed=0)
    assert float(angle.detach()) == pytest.approx(0.3, abs=0.02)
    pieces = rotations()
    exact = loop_loss(turn, pieces[:, :2], pieces[:, 2:7])
    with torch.no_grad():
        angle.fill_(0.3)
    assert float(loop_loss(turn, pieces[:, :2], pieces[:, 2:7])) < 1e-12 < float(exact.detach())


def turned(setting):
    """Losses of both kinds of training in that surrounding."""
    angle, weight = torch.zeros(1, **DOUBLE, requires_grad=True), torch.ones(2, **DOUBLE, requires_grad=True)
    data, x = rotations(), torch.ones(9, 4, 2, **DOUBLE).cumsum(1)
    task = Task((x, x[..., :1]), (x, x[..., :1]), (x, x[..., :1]), washout=0)

    def turn(history):
        x, y = history[:, -1].unbind(-1)
        return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], dim=-1)

    with setting:
        losses = train_in_loop(turn, [angle], data, steps=1, horizon=2, rate=0.05, updates=3, noise=0.01, seed=0)
        return losses + train_features(
            lambda x: (weight * x).sin(), [weight], task, rate=0.1, updates=3, batch=4, noise=0.1, seed=0
        )


AROUND = ["no_grad", "inference_mode", "device"]


@pytest.mark.parametrize("setting", [torch.no_grad(), torch.inference_mode(), torch.device("meta")], ids=AROUND)
def test_what_is_set_around_training_changes_nothing(setting):
    assert turned(setting) == turned(torch.enable_grad())


@pytest.mark.parametrize(
    "answer", [None, torch.ones(32, **DOUBLE), torch.ones(32, 1, **DOUBLE)], ids=["None", "(n,)", "(n, 1)"]
)
def test_wrong_answers_of_the_callers_functions_are_named(answer):
    """(n,) for (n, 2) would be spread over all pairs in silence."""
    weight = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match=r"advance must return a tensor of shape \(32, 2\); got"):
        train_in_loop(lambda _: answer, [weight], rotations(), steps=1, horizon=2, rate=0.1, updates=1)
    x = torch.ones(9, 4, 2, **DOUBLE)
    task = Task((x, x[..., :1]), (x, x[..., :1]), (x, x[..., :1]), washout=0)
    with pytest.raises(ValueError, match=r"features must return a tensor of shape \(256, 4, None\); got"):
        train_features(lambda _: answer, [weight], task, rate=0.1, updates=1)


def test_whitened_features_have_unit_covariance():
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), **DOUBLE) @ torch.diag(
        torch.tensor([1e3, 1, 1e-2, 1], **DOUBLE)
    )
    assert torch.allclose(torch.cov((x @ whitening(x, 1e-16)).T), torch.eye(4, **DOUBLE), atol=1e-3)


def test_bad_input_is_named():
    def stay(history):
        return history[:, -1]

    weight = torch.ones(1, requires_grad=True)
    wrong = {
        "horizon must be at least 1": {"horizon": 0},
        "noise must be at least 0": {"noise": -1.0},
        "rate must be greater than 0": {"rate": 0.0},
        "series must have 41 times": {"horizon": 40},
    }
    for words, change in wrong.items():
        with pytest.raises(ValueError, match=words):
            train_in_loop(stay, [weight], rotations(), **{"steps": 1, "horizon": 2, "rate": 0.1, "updates": 1} | change)


@pytest.fixture(scope="module")
def patches():
    return patch_forecast(*map(ks22, ("train", "validation", "test")), steps=2, windows=(64, 8, 8))


def some(x):
    """A smooth forecast that means nothing."""
    return torch.tanh(x[:, -1].sum(dim=-1) + x[:, 0, 2])


def test_many_starts_are_rolled_out_as_each_alone(patches):
    history = ks22("test").values[:, :2]
    together = rollouts(some, history, 6, patches, modes=8)
    alone = [rollout(some, each, 6, patches, modes=8) for each in history]
    assert np.allclose(together, alone, atol=1e-12)


def test_a_start_that_blows_up_is_given_up_alone(patches):
    history = ks22("test").values[:, :2].copy()
    history[1] *= 1e3

    def explode(x):
        return torch.where(x[:, -1, 4].abs() > 50, 1e9 * x[:, -1, 4] ** 3, 0.0)

    made = rollouts(explode, history, 8, patches)
    assert np.isnan(made[1, -1]).all() and np.isfinite(made[[0, 2, 3]]).all()
    network = torch.nn.Linear(9, 1, **DOUBLE)
    with torch.no_grad():
        network.weight.fill_(1e25)
        assert np.isnan(rollouts(lambda x: network(x[:, -1]), history, 9, patches)[:, -1]).all()


def test_the_flux_form_conserves_the_mean_whatever_the_model_says(patches):
    history = ks22("test").values[:, :2] + 0.3
    made = rollouts(some, history, 10, patches, flux=True)
    assert np.allclose(made.mean(axis=-1), history.mean(axis=-1)[:, -1:], atol=1e-12)
    assert np.ptp(rollouts(some, history, 10, patches).mean(axis=-1), axis=-1).min() > 1e-3


def test_low_pass_keeps_the_waves_asked_for():
    fields = torch.randn(3, 32, generator=torch.Generator().manual_seed(0), **DOUBLE)
    energy = torch.fft.rfft(low_pass(fields, 5)).abs()
    assert energy[:, [0, *range(6, 17)]].max() < 1e-12
    assert torch.allclose(energy[:, 1:6], torch.fft.rfft(fields).abs()[:, 1:6])


def test_slopes_go_through_a_step_of_the_whole_field(patches):
    fields = torch.from_numpy(ks22("test").values[:2, :2]).requires_grad_()
    next_field(some, fields, patches, modes=8, flux=True).square().sum().backward()
    assert fields.grad.abs().sum(dim=-1).min() > 0
