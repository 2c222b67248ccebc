"""The patch forecast and its simplest rivals: no leak, the right increments, known answers."""

import numpy as np
import pytest
import torch
import xarray as xr

from qrnn_helpers import (
    QRNN,
    ks22,
    nrmse,
    patch_forecast,
    rollout,
    rotation_step,
    score,
    teacher_forced,
)
from qrnn_helpers.baselines import linear, persistence, untrained


def fields(split):
    return ks22(split)


@pytest.fixture(scope="module")
def task():
    return patch_forecast(*map(fields, ("train", "validation", "test")), windows=(512, 128, 256))


def travelling(trajectories, seed):
    """u(x, t) = a sin(k(x - t) + phase): each field is the last one, moved by one point."""
    rng = np.random.default_rng(seed)
    k, phase = 2 * np.pi * 2 / 32, rng.uniform(0, 6, (trajectories, 1, 1))
    u = np.sin(k * (np.arange(32) - np.arange(40)[:, None]) + phase)
    return xr.DataArray(u, dims=("trajectory", "time", "x"))


def test_windows_are_what_they_say(task):
    x, y = task.train
    assert x.shape == (512, 8, 9)
    assert y.shape == (512, 8, 1)
    assert task.offsets == (-8, -6, -4, -2, 0, 2, 4, 6, 8)
    middle = x[:, :, 4] * task.field_std
    assert torch.allclose(middle[:, 1:] - middle[:, :-1], y[:, :-1, 0] * task.increment_std, atol=1e-12)


def test_no_test_trajectory_touches_training_scaling_or_tuning(task):
    """Other test and validation fields change nothing but their own parts."""
    other = patch_forecast(fields("train"), fields("test"), fields("validation"), windows=(512, 128, 256))
    assert torch.equal(task.train[0], other.train[0])
    assert (task.field_std, task.increment_std) == (other.field_std, other.increment_std)
    parts = [set(map(bytes, fields(s).values[:, 0])) for s in ("train", "validation", "test")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_equal_seeds_draw_equal_windows():
    parts = [fields(s) for s in ("train", "validation", "test")]
    a, b, c = (patch_forecast(*parts, windows=(16, 4, 4), seed=s) for s in (1, 1, 2))
    assert torch.equal(a.test[0], b.test[0])
    assert not torch.equal(a.test[0], c.test[0])


def test_a_travelling_wave_is_rolled_out_by_its_own_rule():
    """A forecast that knows the wave makes the field: windows, scales and closed loop fit together."""
    wave = [travelling(2, s) for s in range(3)]
    task = patch_forecast(*wave, neighbours=3, spacing=1, steps=4, windows=(8, 8, 8))

    def upwind(x):
        return (x[:, -1, 0] - x[:, -1, 1]) * task.field_std / task.increment_std

    truth = wave[2].values[0]
    assert nrmse(upwind(task.test[0]), task.test[1][:, -1, 0]) < 1e-12
    assert np.allclose(rollout(upwind, truth[:4], 30, task), truth[4:34], atol=1e-10)
    assert np.allclose(rollout(upwind, truth[:4], 30, task, modes=3), truth[4:34], atol=1e-10)
    assert np.allclose(teacher_forced(upwind, truth, task), truth[4:], atol=1e-12)


def test_linear_is_exact_on_a_linear_wave_and_persistence_is_what_it_says():
    task = patch_forecast(*(travelling(2, s) for s in range(3)), neighbours=3, spacing=1, steps=4, windows=(64, 8, 8))
    x, y = task.test
    assert nrmse(linear(task, lags=1, penalty=1e-12).last(x), y[:, -1]) < 1e-5
    assert torch.allclose(persistence(task).last(x), y[:, -2], atol=1e-12)


def test_baselines_on_ks_are_in_the_order_that_others_found(task):
    models = [persistence(task), *(linear(task, lags=lags, penalty=1e-3) for lags in (1, 2, 8))]
    still, one, two, eight = (score(task, model.predict) for model in models)
    assert eight < two < still < one
    assert (one, two) == pytest.approx((0.995, 0.45), rel=0.1)
    assert [model.parameters for model in models] == [0, 10, 19, 73]


def test_the_untrained_circuit_is_the_best_linear_readout_of_the_circuit_as_drawn(task):
    """Least squares on the last step's probabilities finds the same."""
    fitted = untrained(task, 0, step=rotation_step(), gain=1.0, penalty=1e-12)
    net = QRNN(9, 1, rotation_step(), dtype=torch.float64, seed=0)

    def features(x):
        with torch.no_grad():
            p = net.layer(net.encoder(x))[0][:, -1]
        return torch.cat([p[:, :-1], torch.ones(len(p), 1, dtype=p.dtype)], dim=1)  # the last one is 1 - the others

    x, y = task.train
    weights = torch.linalg.lstsq(features(x), y[:, -1]).solution
    assert torch.allclose(features(task.test[0]) @ weights, fitted.last(task.test[0]), atol=1e-6)
    assert fitted.parameters == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"neighbours": 4}, "neighbours must be odd"),
        ({"spacing": 0}, "spacing must be at least 1"),
        ({"steps": 300}, "train must have more than 300 times"),
        ({"spacing": 9}, "train must have more than 8 times and 73 points"),
        ({"windows": (0, 1, 1)}, "windows must be at least 1"),
        ({"train": np.zeros((1, 20, 64))}, "train must be an xarray.DataArray"),
        ({"test": xr.DataArray(np.full((1, 20, 64), np.nan), dims=("trajectory", "time", "x"))}, "test must be finite"),
        ({"test": xr.DataArray(np.zeros((20, 64)), dims=("time", "x"))}, "test must have dims"),
    ],
    ids=str,
)
def test_bad_input_is_named(change, words):
    options = {s: fields(s) for s in ("train", "validation", "test")} | change
    with pytest.raises((ValueError, TypeError), match=words):
        patch_forecast(**options)


def test_nrmse():
    truth = np.array([1.0, 2.0, 3.0, 6.0])
    assert nrmse(np.full(4, truth.mean()), truth) == pytest.approx(1)
    assert nrmse(truth + 2, truth, scale=4.0) == pytest.approx(0.5)
    assert nrmse(torch.tensor(truth), torch.tensor(truth)) == 0
    for bad in ((truth[:3], truth), (truth * np.nan, truth), (truth, np.ones(4)), ([], [])):
        with pytest.raises(ValueError, match="prediction|truth"):
            nrmse(*bad)


# ---------------------------------------------------------------- two space dimensions


def slanted(trajectories, seed, times=30):
    """u(y, x, t) moves by one point a step along the diagonal."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(12), np.arange(12), indexing="ij")
    t = np.arange(times)[:, None, None]
    waves = [(1, 0), (0, 1), (1, 2)]
    shift = rng.uniform(0, 12, (trajectories, len(waves), 1, 1, 1))
    u = sum(np.sin(2 * np.pi / 12 * (n * (y - t) + m * (x - t) + shift[:, k])) for k, (n, m) in enumerate(waves))
    return xr.DataArray(u, dims=("trajectory", "time", "y", "x"))


def test_in_two_dimensions_a_neighbourhood_is_a_square():
    fields = [slanted(2, s) for s in range(3)]
    task = patch_forecast(*fields, neighbours=3, spacing=2, steps=4, windows=(64, 8, 8))
    assert task.offsets == tuple((dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2)) and task.dimensions == 2
    assert task.train[0].shape == (64, 4, 9) and task.train[1].shape == (64, 4, 1)
    x, y = task.train
    middle = x[:, :, 4] * task.field_std
    assert torch.allclose(middle[:, 1:] - middle[:, :-1], y[:, :-1, 0] * task.increment_std, atol=1e-12)
    # waves that move along the diagonal: the neighbour at (-2, -2) now is the middle two steps on
    assert torch.allclose(x[:, :-2, 0], x[:, 2:, 4], atol=1e-12)


def test_in_two_dimensions_a_known_rule_rolls_out_the_whole_field():
    fields = [slanted(2, s) for s in range(3)]
    task = patch_forecast(*fields, neighbours=3, spacing=1, steps=3, windows=(64, 8, 8))

    def upwind(x):
        return (x[:, -1, 0] - x[:, -1, 4]) * task.field_std / task.increment_std

    truth = fields[2].values[0]
    assert nrmse(upwind(task.test[0]), task.test[1][:, -1, 0]) < 1e-12
    for modes in (None, 3):
        assert np.allclose(rollout(upwind, truth[:3], 20, task, modes=modes), truth[3:23], atol=1e-10)
    assert np.allclose(teacher_forced(upwind, truth, task), truth[3:], atol=1e-12)


def test_a_projected_loop_keeps_its_mean_and_has_no_short_waves():
    """Whatever the model answers: in one and in two dimensions."""
    rng = np.random.default_rng(0)
    for fields, axes in ((travelling(2, 0), (1,)), (slanted(2, 0), (1, 2))):
        task = patch_forecast(fields, fields, fields, neighbours=3, spacing=1, steps=3, windows=(64, 8, 8))
        path = rollout(lambda x: torch.from_numpy(rng.standard_normal(len(x))), fields.values[0, :3], 5, task, modes=2)
        assert np.allclose(path.mean(axis=axes), 0, atol=1e-12)
        index = sum(np.ix_(*(np.fft.fftfreq(n, 1 / n) ** 2 for n in path.shape[1:])))
        assert np.allclose(np.fft.fftn(path, axes=axes)[:, index > 4], 0, atol=1e-9)
        assert path.std() > 0.1


def test_a_field_that_does_not_depend_on_y_is_forecast_as_in_one_dimension():
    line = travelling(2, 0)
    square = line.expand_dims(y=8, axis=2)
    flat = patch_forecast(line, line, line, neighbours=3, spacing=1, steps=3, windows=(64, 8, 8))
    deep = patch_forecast(square, square, square, neighbours=3, spacing=1, steps=3, windows=(64, 8, 8))
    net = torch.nn.Linear(3, 1, dtype=torch.float64).requires_grad_(False)
    one = rollout(lambda x: net(x[:, -1]), line.values[0, :3], 4, flat)
    two = rollout(lambda x: net(x[:, -1, 3:6]), square.values[0, :3], 4, deep)
    assert np.allclose(one[:, None], two, atol=1e-10)


def test_ridge_with_all_windows_is_what_others_found():
    """Ridge on one step .995, on two .45, on eight .24."""
    task = patch_forecast(*map(fields, ("train", "validation", "test")))
    for steps, error in ((1, 0.995), (2, 0.45), (8, 0.24)):
        found = score(task, linear(task, lags=steps, penalty=1e-8).predict)
        assert found == pytest.approx(error, rel=0.08)
    y = task.test[1]
    assert score(task, task.still) == pytest.approx(nrmse(y[:, -2], y[:, -1]), rel=1e-12)
