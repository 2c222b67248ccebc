"""The slice forecast: nothing depends on where x begins, and nothing of a step is lost."""

import numpy as np
import pytest
import torch

from qrnn_helpers import closed_loop, ks22, reduced_forecast, starts, valid_prediction_time
from qrnn_helpers.baselines import nvar, persistence
from qrnn_helpers.tasks import slice_forecast
from qrnn_helpers.tasks.slices import translated

FIELDS = {split: ks22(split) for split in ("train", "validation", "test")}
LYAPUNOV = 0.048


@pytest.fixture(scope="module", params=[1, 2])
def task(request):
    return slice_forecast(reduced_forecast(**FIELDS, steps=request.param, washout=0, windows=(512, 64, 64)))


def coefficients(task, fields):
    return torch.from_numpy(task.x_scaling.features(task.reduce(fields)))


def test_shifting_coefficients_moves_the_field(task):
    fields = FIELDS["test"].values[:, 0]
    moved = translated(coefficients(task, fields), torch.full((4,), 2 * np.pi * 5 / 64, dtype=torch.float64))
    low = task.lift(task.reduce(fields))
    assert np.allclose(task.lift(task.x_scaling.values(moved.numpy())), np.roll(low, 5, axis=1), atol=1e-10)


def test_a_model_sees_the_same_wherever_the_field_stands(task):
    steps = task.train[0].shape[1]
    x = coefficients(task, FIELDS["test"].values[:, :steps])
    moved = coefficients(task, np.roll(FIELDS["test"].values[:, :steps], 9, axis=-1))
    (one, first), (two, second) = task.to_slice(x), task.to_slice(moved)
    turned = torch.remainder(second - first - 2 * np.pi * 9 / 64 + 0.1, 2 * np.pi) - 0.1
    same = turned.abs() < 1e-6  # wave 2 leaves two places to stand; where both took the same one:
    assert torch.allclose(one[same], two[same], atol=1e-8)
    loop = closed_loop(persistence(task).predict, FIELDS["test"].values[:, :steps], 2, task)
    assert np.allclose(loop[:, 1], task.lift(task.reduce(FIELDS["test"].values[:, steps - 1])), atol=1e-8)


def test_the_true_answer_gives_the_next_sample(task):
    """next_modes() with the y of a window is the truth: slice, linear part and units undo each other."""
    steps = task.train[0].shape[1]
    base = reduced_forecast(**FIELDS, steps=steps, washout=0, windows=(512, 64, 64))
    x = torch.from_numpy(task.x_scaling.features(base.x_scaling.values(base.test[0].numpy())))
    y = task.x_scaling.features(base.y_scaling.values(base.test[1].numpy()))[:, -1]
    assert np.allclose(task.to_slice(x)[0], task.test[0], atol=1e-9)
    assert np.allclose(task.next_modes(lambda seen: task.test[1], x), y, atol=1e-9)


def test_what_is_left_is_orthogonal_to_the_inputs(task):
    x, y = task.train[0][:, -1], task.train[1][:, -1]
    assert torch.allclose(x.T @ y / len(x), torch.zeros(12, 12).double(), atol=1e-8)
    assert float(y.square().mean()) == pytest.approx(1)


def test_the_slice_lengthens_the_closed_loops_of_a_quadratic_model():
    plain = reduced_forecast(**FIELDS, steps=1, washout=0, windows=(1500, 8, 8))
    history, truth = starts(FIELDS["test"], 1, 40, 40)
    found = []
    for task in (plain, slice_forecast(plain)):
        loop = closed_loop(nvar(task, lags=1, penalty=1e-6).predict, history, 40, task)
        found.append(valid_prediction_time(loop, truth, 1.0, LYAPUNOV)["vpt"].mean())
    assert found[1] > found[0]


def test_bad_input_is_named(task):
    with pytest.raises(ValueError, match="on no slice yet"):
        slice_forecast(task)
    pod = reduced_forecast(**FIELDS, basis="pod", windows=(64, 8, 8))
    with pytest.raises(ValueError, match="Fourier modes in one space dimension"):
        slice_forecast(pod)
    with pytest.raises(ValueError, match="phase_mode must be at most 6"):
        slice_forecast(reduced_forecast(**FIELDS, windows=(64, 8, 8)), phase_mode=7)
    with pytest.raises(TypeError, match="a ReducedForecast"):
        slice_forecast("task")
