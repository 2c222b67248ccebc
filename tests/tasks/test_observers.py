"""Observers of KS fields and of the Lorenz system: what they are shown, and what it is worth."""

from functools import cache

import numpy as np
import pytest
import torch

from qrnn_helpers import ks22, lorenz_observer, observer, score
from qrnn_helpers.baselines import linear, nvar
from qrnn_helpers.dynamics import lorenz

PARTS = ("train", "validation", "test")


def field(split):
    return ks22(split)


@cache
def series():
    return lorenz(steps=5000)


@pytest.fixture(scope="module")
def course():
    return lorenz_observer(series())


def test_sensors_and_others_make_the_field():
    task = observer(*map(field, PARTS), sensors=4, windows=(4, 4, 4))
    assert task.sensors == (0, 16, 32, 48)
    assert sorted(task.sensors + task.others) == list(range(64))
    whole = task.field(*task.test)
    assert whole.shape == (4, 30, 64)
    runs = field("test").values
    starts = [np.argwhere((np.abs(runs - window[0]) < 1e-12).all(-1))[0] for window in whole]
    for (run, time), window in zip(starts, whole):
        assert np.allclose(runs[run, time : time + 30], window, atol=1e-12)


def test_in_two_dimensions_sensors_stand_on_a_square():
    rng = np.random.default_rng(0)
    square = field("train")[:, :40, :8].expand_dims(y=6, axis=2)
    square = square + 0.1 * rng.standard_normal(square.shape)
    task = observer(square, square, square, sensors=2, steps=5, washout=1, windows=(6, 2, 2))
    assert task.sensors == (0, 4, 24, 28) and task.grid == (6, 8)
    assert task.train[0].shape == (6, 5, 4) and task.train[1].shape == (6, 5, 44)
    assert task.field(*task.test).shape == (2, 5, 6, 8)


def test_scales_are_those_of_training():
    task = observer(*map(field, PARTS), windows=(4, 4, 4))
    assert task.x_scaling.unit == pytest.approx(field("train").values.std())
    with pytest.raises(ValueError, match="sensors must divide the 64 points"):
        observer(*map(field, PARTS), sensors=3)


@pytest.mark.parametrize(("sensors", "error"), [(8, 0.394), (4, 0.678), (2, 0.823)])
def test_linear_observers_are_as_good_as_others_found_and_lags_give_them_nothing(sensors, error):
    """The published numbers rest on much longer fields: with 2,400 samples the error is up to a tenth larger."""
    task = observer(*map(field, PARTS), sensors=sensors, windows=(512, 64, 128))
    now = score(task, linear(task, lags=1, penalty=1e-6).predict)
    assert now == pytest.approx(error, rel=0.12)
    assert score(task, linear(task, lags=9, penalty=1e-3).predict) > 0.98 * now
    assert score(task, nvar(task, lags=1, penalty=1e-3).predict) < now


def test_the_lorenz_stretches_follow_each_other_and_never_overlap(course):
    assert [len(pair[0]) for pair in (course.train, course.validation, course.test)] == [683, 183, 370]
    x, y = course.run
    assert x.shape == (1, 1499, 1) and y.shape == (1, 1499, 2)
    assert np.allclose(course.x_scaling.values(x[0].numpy()), series().values[0, 3500:-1, :1])
    assert np.allclose(course.y_scaling.values(y[0].numpy()), series().values[0, 3501:, 1:])
    assert torch.equal(course.test[0][0], x[0, :20]) and torch.equal(course.test[1][-1], y[0, 1476:1496])


def test_only_training_is_scaled_to_0_and_1_exactly(course):
    both = torch.cat([course.train[0].flatten(), course.train[1].flatten()])
    assert both.min() >= 0 and both.max() <= 1
    train = series().values[0, :2750]
    assert np.allclose(course.y_scaling.shift, train.min(0)[1:])
    assert np.allclose(course.y_scaling.values(np.ones(2)), train.max(0)[1:])


def test_y_is_given_by_x_and_its_slope_and_z_is_not(course):
    """Two lags tell y, as y = x + x' / 10; z takes products: the quadratic model is twice as good in all."""
    x, y = course.run
    two = (linear(course, lags=2, penalty=1e-9).predict(x) - y)[0, 5:].square().mean(0).sqrt()
    assert two[0] == pytest.approx(0.0135, rel=0.15)
    assert two[1] > 0.15
    assert score(course, nvar(course, lags=3, penalty=1e-8).predict, "run") < 0.5 * score(
        course, linear(course, lags=3, penalty=1e-9).predict, "run"
    )


def test_a_series_that_is_too_short_or_no_series_is_named():
    with pytest.raises(ValueError, match="series must have more than 20 samples in its validation part"):
        lorenz_observer(lorenz(steps=100))
    with pytest.raises(ValueError, match="series must have dims"):
        lorenz_observer(field("train"))
