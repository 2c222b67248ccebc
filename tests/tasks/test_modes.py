"""The reduced forecast: orthonormal modes, the field from them, closed loops from many starts."""

import numpy as np
import pytest
import torch

from qrnn_helpers import (
    closed_loop,
    ks1d,
    ks22,
    reduced_forecast,
    score,
    spectrum,
    starts,
    valid_prediction_time,
    vpt_summary,
)
from qrnn_helpers.baselines import linear, persistence
from qrnn_helpers.tasks import fourier_modes
from qrnn_helpers.tasks.modes import pod_modes

FIELDS = {split: ks22(split) for split in ("train", "validation", "test")}
LYAPUNOV = 0.048  # at length 22; Cvitanovic, Davidchack & Siminos (2010)


@pytest.fixture(scope="module", params=["fourier", "pod"])
def task(request):
    return reduced_forecast(**FIELDS, basis=request.param)


@pytest.mark.parametrize("grid, modes", [((16,), 14), ((6, 8), 10), ((15, 15), 48)])
def test_fourier_modes_are_orthonormal_and_the_longest_waves(grid, modes):
    functions, mean = fourier_modes(grid, modes)
    assert np.allclose(functions @ functions.T, np.eye(modes)) and not mean.any()
    assert np.allclose(functions.sum(axis=1), 0)
    index = [spectrum(f.reshape(grid), len(grid)).argmax() for f in functions]
    assert index == sorted(index) and index[0] == 1


def test_in_one_dimension_fourier_is_the_low_pass():
    task = reduced_forecast(**FIELDS, modes=8)
    fields = FIELDS["test"].values
    spectra = np.fft.rfft(fields)
    spectra[..., 0] = spectra[..., 5:] = 0
    assert np.allclose(task.lift(task.reduce(fields)), np.fft.irfft(spectra, 64), atol=1e-12)


def test_six_waves_hold_nearly_all_the_energy_and_pod_no_less(task):
    """Energy fractions of modes 1-6 at length 22: .057 .442 .319 .152 .022 .007."""
    fields = FIELDS["train"].values
    held = (task.lift(task.reduce(fields)) ** 2).sum() / (fields**2).sum()
    assert held == pytest.approx(0.999, abs=0.001)
    pod, _ = pod_modes(fields, 12)
    fourier, _ = fourier_modes((64,), 12)
    flat = fields.reshape(-1, 64)
    assert ((flat @ pod.T) ** 2).sum() >= ((flat @ fourier.T) ** 2).sum() * (1 - 1e-12)


def test_windows_are_a_step_apart_and_scaled_by_training(task):
    x, y = task.train
    ours, next_ones = task.x_scaling.values(x.numpy()), task.y_scaling.values(y.numpy())
    assert np.allclose(ours[:, 1:], next_ones[:, :-1])
    coefficients = task.reduce(FIELDS["train"].values)
    assert np.allclose(task.x_scaling.features(coefficients).std(axis=(0, 1)), 1)
    assert task.y_scaling.features(coefficients).var(axis=(0, 1)).mean() == pytest.approx(1)


def test_a_rotating_wave_is_followed_for_ever_by_a_linear_loop():
    """u = cos(x - t) + cos(2x + t): linear in its modes; the loop from each start is the truth."""
    x, t = 2 * np.pi * np.arange(16) / 16, 0.3 * np.arange(60)[:, None]
    runs = [[np.cos(x - t - p) + np.cos(2 * x + t + q) for p, q in np.random.default_rng(s).random((3, 2))]
            for s in range(3)]  # fmt: skip
    runs = [FIELDS["train"][:3, :60, :16].copy(data=np.array(run)) for run in runs]
    task = reduced_forecast(*runs, modes=4, steps=3, washout=1, windows=(200, 10, 10))
    history, truth = starts(runs[2], 3, 40, 6)
    loop = closed_loop(linear(task, lags=1, penalty=1e-13).predict, history, 40, task)
    assert np.allclose(loop, truth, atol=1e-6)
    assert valid_prediction_time(loop, truth, 0.3, 1.0)["censored"].all()


def test_skill_on_ks_is_what_others_found(task):
    """dt = 1: persistence .207; linear with three lags .067 in one step, .22 Lyapunov times in closed loop."""
    assert score(task, persistence(task).predict) == pytest.approx(0.207, rel=0.1)
    model = linear(task, lags=3, penalty=1e-6)
    assert score(task, model.predict) == pytest.approx(0.067, rel=0.1)
    history, truth = starts(FIELDS["test"], 12, 30, 100)
    loop = closed_loop(model.predict, history, 30, task)
    found = vpt_summary(valid_prediction_time(loop, truth, 1.0, LYAPUNOV))
    assert found["mean"] == pytest.approx(0.22, abs=0.04) and found["blown_up"] == 0


def test_a_loop_that_leaves_all_bounds_is_given_up_alone(task):
    """Some starts grow without bound, the others go on."""
    history, truth = starts(FIELDS["test"], 12, 20, 8)

    def predict(x):
        return torch.where(x[:, :1, :1] > 0, 1e3 * x, 0.1 * x)

    loop = closed_loop(predict, history, 20, task)
    grows = task.x_scaling.features(task.reduce(history))[:, 0, 0] > 0
    assert np.isfinite(loop[:, 0]).all()
    table = valid_prediction_time(loop, truth, 1.0, LYAPUNOV)
    assert table["blown_up"][grows].all() and np.isnan(loop[grows][:, -1]).all()


def test_starts_are_spread_over_all_trajectories():
    history, truth = starts(FIELDS["test"], 5, 7, 40)
    assert history.shape == (40, 5, 64) and truth.shape == (40, 7, 64)
    whole = np.concatenate([history, truth], axis=1)
    for k, run in enumerate(FIELDS["test"].values):
        pieces = np.lib.stride_tricks.sliding_window_view(run, 12, axis=0)[..., 0, :]
        assert sum((pieces == piece[0, 0]).any() for piece in whole) >= 9, k


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modes": 5}, "modes must be even"),
        ({"modes": 64}, "modes must be at most 62"),
        ({"modes": 65, "basis": "pod"}, "modes must be at most 64"),
        ({"basis": "wavelets"}, "basis must be one of"),
        ({"test": FIELDS["test"][..., :32]}, "test must have the points of train"),
        ({"steps": 300}, "train must have more than 300 times"),
    ],
    ids=str,
)
def test_bad_input_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        reduced_forecast(**FIELDS | change)


def test_with_finer_samples_persistence_is_better_and_the_linear_model_much_better():
    """dt = 0.25: persistence .0525 and linear with three lags .0015, in one step (with 80 times the data)."""
    fields = ks1d(22.0, 64, dt=0.25, steps=500, transient=150.0, trajectories=6, seed=1)
    task = reduced_forecast(fields[:3], fields[3:4], fields[4:], modes=20)
    assert score(task, persistence(task).predict) == pytest.approx(0.0525, rel=0.1)
    assert score(task, linear(task, lags=3, penalty=1e-12).predict) == pytest.approx(0.0015, abs=0.001)
