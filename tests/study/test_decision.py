"""The decision page's table: laws that the interpolation keeps, and the answer's own table as a second reckoning."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from decision_runs import SEEDS, SLOPES, runs
from scipy import stats

from qrnn_helpers.study import answer, decision, plan


def table(machine: str = "braket_forte", **given) -> pd.DataFrame:
    return decision.priced(decision.rungs(runs(**given)), machine)


def errors(found: pd.DataFrame) -> dict[str, float]:
    return {arm: math.exp(logs.mean()) for arm, logs in zip(found["arm"], found["logs"], strict=True)}


@pytest.mark.parametrize("machine", ["ibm_fez", "braket_garnet", "azure_quantinuum"])
def test_the_best_for_a_sum_is_the_answers(machine):
    """Wherever the money does not reach the budget in circuits, which the answer's rows of round sums leave out."""
    rows = answer.decisions(runs(), machine, np.random.default_rng(0))
    priced = table(machine)
    dear = priced.loc[~priced["ladder"], "money"].min()
    rows = rows[rows["money"] < dear]
    assert len(rows) >= 1
    for row in rows.to_dict("records"):
        best = decision.offers(priced, "money", row["money"]).iloc[0]
        assert best["arm"] == row["method"] and answer.count_text(best["shots"]) == row["shots"]
        assert f"{'at most ' * bool(best['ended'])}{best['error']}" == row["expected error"]
        hours = "?" if np.isnan(best["seconds"]) else f"{best['seconds'] / 3600:.2g}"
        assert hours == row["hours"] and f"{best['shots_each']:,}" == row["shots a circuit"]


@pytest.mark.parametrize("axis", decision.AXES)
def test_errors_that_fall_as_a_power_do_so_between_trainings(axis):
    """Money and seconds go by shots here, up to IBM's jobs, which are in proportion too."""
    priced = table("ibm_fez")
    own = priced[(priced["arm"] == "causal") & (priced["budget"] == "1e6")].iloc[0]
    for part in (0.1, 0.17, 3.3, 10.0):
        found = errors(decision.offers(priced, axis, part * own[axis]))
        assert math.isclose(found["causal"], (10 * part) ** -SLOPES["causal"], rel_tol=0.01)


def test_what_is_spent_is_interpolated_with_the_error():
    priced = table("ibm_fez")
    price = priced.loc[(priced["arm"] == "spsa") & (priced["budget"] == "1e6"), "money"].iloc[0] / 1e6
    row = decision.offers(priced, "money", 2e6 * price).set_index("arm").loc["spsa"]
    for name, expected in {"shots": 2e6, "circuits": 2e6 / 16, "money": 2e6 * price}.items():
        assert math.isclose(row[name], expected, rel_tol=1e-9)
    assert row["budget"] == "1e6" and not row["ended"]


def test_below_the_first_training_nothing_is_said_and_beyond_the_last_a_bound():
    priced = table()
    least, most = priced["shots"].min(), priced.loc[priced["ladder"], "shots"].max()
    assert decision.offers(priced, "shots", 0.99 * least).empty
    assert not decision.offers(priced, "shots", least)["ended"].any()
    assert not decision.offers(priced, "shots", most)["ended"].any()
    assert decision.offers(priced, "shots", 1.1 * most)["ended"].all()


def test_a_training_off_the_ladder_counts_from_its_own_cost_on():
    """However good: no line leads to it."""
    given = runs()
    fixed = given["budget"] == answer.CIRCUITS
    given.loc[fixed, "exact"] = 0.01
    priced = decision.priced(decision.rungs(given), "braket_forte")
    cost = priced.loc[~priced["ladder"], "money"].min()
    assert min(errors(decision.offers(priced, "money", 0.99 * cost)).values()) > 0.1
    found = decision.offers(priced, "money", cost)
    assert math.isclose(errors(found)["spsa"], 0.01) and set(found["shots_each"]) == {plan.FIXED_SHOTS}


def test_with_a_number_of_shots_only_trainings_that_used_it_count():
    priced = table()
    assert decision.offers(priced, "shots", 1e7, shots=32).empty
    assert decision.offers(priced, "shots", 1e7, shots=1024).empty
    assert set(decision.offers(priced, "shots", 1e9, shots=1024)["shots_each"]) == {1024}
    assert set(decision.offers(priced, "shots", 1e9, shots=16)["shots_each"]) == {16}


def test_where_times_are_not_known_no_hours_are_sold():
    assert decision.offers(table("braket_forte"), "seconds", 1e9).empty
    with pytest.raises(ValueError, match="axis must be one of .*; got 'hours'|axis .*hours"):
        decision.offers(table(), "hours", 1.0)


def test_the_interval_is_students():
    logs = np.log(np.random.default_rng(0).uniform(0.5, 1, 14))
    low, high = stats.t.interval(0.95, 13, logs.mean(), stats.sem(logs))
    middle, low, high = np.exp([logs.mean(), low, high])
    assert decision.estimate_text(logs) == f"{middle:.2f} ({low:.2f} to {high:.2f})"


def test_a_diverged_run_counts_as_elsewhere():
    given = runs()
    given.loc[given["arm"] == "spsa", "exact"] = np.inf
    found = errors(decision.offers(decision.priced(decision.rungs(given), "ibm_fez"), "shots", 1e6))
    assert math.isclose(found["spsa"], 2.0)


def test_the_page_has_every_training_once_and_no_number_that_json_lacks():
    given = runs()
    data = json.loads(json.dumps(decision.page_data(given), allow_nan=False))
    (problem,) = data["variants"][data["first"]]["problems"]
    assert (problem["qubits"], problem["steps"]) == (4, 8)
    assert data["variants"][data["first"]]["angles"]["4"] == 27
    assert len(problem["rungs"]) == len(plan.CORE) * len(answer.MEASURED)
    assert {len(rung["errors"]) for rung in problem["rungs"]} == {len(SEEDS)}
    assert math.isclose(problem["quantile"], stats.t.ppf(0.975, len(SEEDS) - 1))
    assert [machine["timed"] for machine in data["machines"]] == [True] + [False] * (len(data["machines"]) - 1)
    assert all(len(rung["money"]) == len(data["machines"]) for rung in problem["rungs"])


def test_a_later_stages_problems_appear_with_their_notes():
    """Records of the scaling cross and of a replication stand where their qubits, steps and task put them."""
    more = [runs().assign(problem=name).query("budget == '1e6'") for name in ("4qubits-2steps", "two-way")]
    data = decision.page_data(pd.concat([runs(), *more], ignore_index=True))
    main = data["variants"][data["first"]]["problems"]
    assert [(its["qubits"], its["steps"]) for its in main] == [(4, 8), (4, 2)]
    assert "rate alone" in main[1]["note"] and not main[1]["others"]
    (other,) = data["variants"]["1-D patch, two-way step circuit"]["problems"]
    assert "unchanged" in other["note"] and len(other["rungs"]) == len(plan.CORE)
    assert not data["variants"]["z of Lorenz from x"]["problems"]


def test_fewer_steps_are_shorter_circuits():
    """A shot of two steps takes 12.5 microseconds beside the delay, and a job its two seconds."""
    short = decision.priced(decision.rungs(runs().assign(problem="4qubits-2steps")), "ibm_fez").iloc[0]
    assert math.isclose(short["seconds"], 2.0 * short["updates"] + (250e-6 + 12.5e-6) * short["shots"])


def test_the_sheet_says_the_same_in_words():
    sheet = decision.sheet(runs())
    for (machine, budget), row in sheet.iterrows():
        assert row["best"] in plan.CORE and "not measured" not in row[row["best"]], (machine, budget)
    row = sheet.loc[("IBM, 6 devices", "10,000 USD")]
    found = decision.offers(table("ibm_fez"), "money", 1e4).set_index("arm")
    assert row["causal"].removeprefix("at most ") == found.loc["causal", "error"] and row["best"] == "causal"
