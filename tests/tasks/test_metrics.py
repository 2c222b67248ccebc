"""Scores of rollouts: known errors have known valid times, known waves known spectra."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qrnn_helpers import climate, nrmse, nrmse_by_lead, spectrum, valid_prediction_time, vpt_summary
from qrnn_helpers.tasks import mean_interval
from qrnn_helpers.tasks.metrics import BLOWN_UP


def waves(starts=3, times=50, points=16):
    """Fields of mean square 1/2 at every time, so that the climatological norm is sqrt(points / 2)."""
    x = 2 * np.pi * np.arange(points) / points
    phase = np.random.default_rng(0).uniform(0, 6, (starts, times, 1))
    return np.sin(x + phase)


@given(st.integers(0, 50), st.floats(0.1, 0.9), st.floats(0.01, 2), st.floats(0.01, 2))
@settings(deadline=None, max_examples=40)
def test_an_error_that_sets_in_at_a_known_time_is_found_there(count, threshold, dt, lyapunov):
    """Errors just below and, from sample ``count`` on, just above the threshold, in units of the climate."""
    truth = waves()
    size = np.where(np.arange(50) < count, 0.99, 1.01) * threshold * np.sqrt(0.5)
    table = valid_prediction_time(truth + size[:, None], truth, dt, lyapunov, threshold)
    assert np.allclose(table["vpt"], count * dt * lyapunov)
    assert (table["censored"] == (count == 50)).all()
    assert not table["blown_up"].any()


def test_each_start_has_a_row_and_a_first_crossing_that_counts():
    truth = waves(starts=4)
    prediction = truth.copy()
    prediction[1, 10] += 3  # comes back afterwards: the first crossing counts
    prediction[2, 20:] = np.nan
    prediction[3, 30:] = 1e200
    table = valid_prediction_time(prediction, truth, dt=0.5, lyapunov=0.1)
    assert table["vpt"].tolist() == pytest.approx([50 * 0.05, 10 * 0.05, 20 * 0.05, 30 * 0.05])
    assert table["censored"].tolist() == [True, False, False, False]
    assert table["blown_up"].tolist() == [False, False, True, True]
    summary = vpt_summary(table)
    assert (summary["censored"], summary["blown_up"], summary["starts"]) == (0.25, 0.5, 4)
    assert summary["50%"] == pytest.approx(25 * 0.05)


def test_what_is_large_has_blown_up_only_beyond_the_bound():
    truth = waves()
    for factor, blown in ((0.99, False), (1.01, True)):
        prediction = truth * 0 + factor * BLOWN_UP * np.abs(truth).max()
        assert (valid_prediction_time(prediction, truth, 1.0, 1.0)["blown_up"] == blown).all()


def test_units_do_not_matter_and_two_dimensions_are_as_good_as_one():
    truth, rng = waves(points=36), np.random.default_rng(1)
    prediction = truth + np.cumsum(0.05 * rng.standard_normal(truth.shape), axis=1)
    table = valid_prediction_time(prediction, truth, 0.25, 0.05)
    assert not table["censored"].any()
    square = [field.reshape(3, 50, 6, 6) * 1e-3 for field in (prediction, truth)]
    pd.testing.assert_frame_equal(table, valid_prediction_time(*square, 0.25, 0.05))


def test_the_error_by_lead_time_is_the_root_of_the_mean_square_over_starts():
    truth = waves()
    error = nrmse_by_lead(truth * np.array([1.0, 1.5, 2.0])[:, None, None], truth)
    assert np.allclose(error, np.sqrt((0.5**2 + 1**2) / 3))
    prediction = truth.copy()
    prediction[0, 7, 0] = np.inf
    assert np.isinf(nrmse_by_lead(prediction, truth)[7]) and nrmse_by_lead(prediction, truth)[6] == 0


def test_spectra_of_known_waves_sum_to_the_mean_square():
    x = 2 * np.pi * np.arange(16) / 16
    field = 1 + np.sin(x) + 2 * np.cos(3 * x)
    assert np.allclose(spectrum(field), np.isin(np.arange(9), (0, 1, 3)) * [1, 0.5, 0, 2, 0, 0, 0, 0, 0])
    square = np.sin(3 * x)[:, None] + np.cos(4 * x) * np.ones((16, 1)) + np.sin(3 * x[:, None] + 4 * x)
    found = spectrum(np.stack([square, square]), dimensions=2)
    assert np.allclose(found[[3, 4, 5]], 0.5)
    noise = np.random.default_rng(0).standard_normal((5, 16, 16))
    for dimensions in (1, 2):
        assert spectrum(noise, dimensions).sum() == pytest.approx((noise**2).mean())


def test_the_climate_of_the_truth_is_perfect_and_half_its_size_is_seen():
    truth = waves()
    assert np.allclose(climate(truth, truth), [1, 0, 0])
    half = climate(truth / 2, truth)
    assert (half["std_ratio"], half["spectrum"]) == pytest.approx((0.5, np.log10(4)))
    assert half["values"] > 0.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prediction": waves()[:2]}, "prediction must have the truth's shape"),
        ({"truth": waves() * np.nan}, "truth must be finite"),
        ({"truth": waves() * 0}, "truth must have a mean square above 0"),
        ({"dt": 0}, "dt must be greater than 0"),
        ({"lyapunov": -1.0}, "lyapunov must be greater than 0"),
        ({"threshold": 0.0}, "threshold must be greater than 0"),
        ({"prediction": np.ones(3), "truth": np.ones(3)}, "truth must have dimensions"),
    ],
    ids=str,
)
def test_bad_input_is_named(change, words):
    arguments = {"prediction": waves(), "truth": waves(), "dt": 0.25, "lyapunov": 0.05} | change
    with pytest.raises(ValueError, match=words):
        valid_prediction_time(**arguments)


@pytest.mark.parametrize("setting", ["raise", "warn"])
def test_scores_do_not_depend_on_the_callers_errstate(setting):
    """Squares that underflow, rollouts that blew up: the same numbers, and nothing raised or warned of inside."""
    truth = waves()
    small, wild = 1e-160 * truth, truth.copy()
    wild[0, 5], wild[1, 3], wild[2, 20:] = np.inf, np.nan, 1e200

    def scores():
        table = valid_prediction_time(wild, truth, 0.5, 1e-310)
        found = [nrmse(small, 2 * small, scale=1e-3), *mean_interval(small), *nrmse_by_lead(wild, truth).ravel()]
        return np.array([*found, *table["vpt"], *spectrum(small), *climate(truth, 2 * truth), *vpt_summary(table)])

    wanted = scores()
    with warnings.catch_warnings(), np.errstate(all=setting):
        warnings.simplefilter("error", RuntimeWarning)
        np.testing.assert_array_equal(scores(), wanted)


@pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")
def test_masked_entries_are_refused_and_masks_without_any_are_not():
    """An entry that is masked has no value: no score can be computed from what lies behind it."""
    truth = waves()
    plain, hidden = (np.ma.array(truth + 1, mask=np.zeros(truth.shape, dtype=bool)) for _ in range(2))
    hidden.mask[0, 3, 2] = True
    for score in (nrmse, nrmse_by_lead, climate, partial(valid_prediction_time, dt=1, lyapunov=1)):
        assert np.all(score(plain, truth) == score(truth + 1, truth))
        for masked in (hidden, list(hidden), [list(part) for part in hidden]):
            with pytest.raises(ValueError, match="prediction must have no masked entries .*; got 1"):
                score(masked, truth)
        with pytest.raises(ValueError, match="truth must have no masked entries .*; got 1"):
            score(truth, hidden)
    with pytest.raises(ValueError, match="fields must have no masked entries"):
        spectrum(hidden)
    with pytest.raises(ValueError, match="values must have no masked entries"):
        mean_interval([1.0, np.ma.masked, 2.0])
