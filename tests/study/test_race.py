"""Races at a number of shots: the study's own runs, watched."""

import numpy as np
import pytest

from qrnn_helpers.study import plan, race
from qrnn_helpers.study.panel import RacePanel


@pytest.fixture(autouse=True)
def few_windows(monkeypatch):
    monkeypatch.setattr(race, "GLIMPSE", 16)


def test_a_race_spends_its_shots_and_is_the_same_in_other_company():
    setting = race.entrant("spsa")
    rows = []
    pair = race.race(setting, 4_000, [0, 3], scores=3, watch=rows.append)
    alone = race.race(setting, 4_000, [3], scores=3)
    np.testing.assert_allclose(pair["seed 3"], alone["seed 3"], rtol=1e-6)
    np.testing.assert_allclose(pair["validation_nrmse"] ** 2, pair["seed 0"] * pair["seed 3"])
    price = 32 * 5 * 4  # circuits of a batch: forward, and two directions with two each; four shots
    assert [row["shots"] for row in rows] == [price * k for k in range(1, 7)]
    assert list(pair["shots"]) == [row["shots"] for row in rows if "validation_nrmse" in row]
    assert pair["shots"].iloc[-1] == 6 * price and len(pair) >= 3


def test_the_entrants_are_the_studys_own_settings():
    for arm in race.ENTRANTS:
        assert race.entrant(arm) == plan.Tuning(arm, "1e5").chosen
        assert race.entrant(arm, shots=9, rate=0.5).batch == plan.Tuning(arm, "1e5").chosen.batch


def test_a_budget_below_one_update_is_refused():
    with pytest.raises(ValueError, match="shots must allow one update, which takes 91,392; got 30,000"):
        race.race(race.entrant("shift", shots=256), 30_000)


def test_the_recorded_race_spends_the_budget_and_starts_where_all_start():
    """Its last point is the stored runs' spending; before the first update all arms have the same networks."""
    curves = {arm: race.recorded(arm, "1e7") for arm in race.ENTRANTS}
    for arm, curve in curves.items():
        (first, *_) = plan.evaluation(arm, "1e7")
        assert curve.index[-1] == pytest.approx(first.result["shots"]) and curve.index.is_monotonic_increasing
        assert curve.iloc[0] == pytest.approx(1, abs=0.2) and curve.iloc[-1] < curve.iloc[0]


def test_the_panel_races_and_says_why_it_cannot():
    panel = RacePanel([0])
    assert panel.bar.value == 1 and len(panel.curves) == 1
    panel.knobs["method"].value = "shift"
    panel.stop()
    panel.wait()
    panel.knobs["shots"].value = 256
    panel.wait()
    assert "takes 91,392; got 30,000" in panel.note.value and panel.curve.value == ""
