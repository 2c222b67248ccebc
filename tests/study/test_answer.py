"""The answer: its sentences follow the records, and its tables their definitions."""

import math

import numpy as np
import pandas as pd
import pytest

from qrnn_helpers import machines
from qrnn_helpers.backends import charge
from qrnn_helpers.storage import write_record
from qrnn_helpers.study import answer, opened, plan
from qrnn_helpers.study.arms import MAIN, Setting
from qrnn_helpers.study.jobs import Job
from qrnn_helpers.study.statistics import Estimate, Verdict, leave_one_out

SEEDS = range(12)


def dice() -> np.random.Generator:
    return np.random.default_rng(0)


def frame(levels: dict[str, float], noise: float = 0.05) -> pd.DataFrame:
    """Errors of arms around their levels, paired by seed."""
    generator = dice()
    common = generator.normal(0, 0.2, len(SEEDS))
    own = {arm: level * np.exp(common + noise * generator.normal(size=len(SEEDS))) for arm, level in levels.items()}
    return pd.DataFrame(own, index=list(SEEDS))


def runs(slopes: dict[str, float], shots_each: int = 16) -> pd.DataFrame:
    """Runs of every arm and budget: errors fall as (shots/1e5)^-slope from 1."""
    rows = []
    for arm in plan.CORE:
        for budget, its in plan.BUDGETS.items():
            each = shots_each if its.shots else plan.FIXED_SHOTS
            shots = float(its.shots or its.circuits * each)
            spent = {
                "updates": shots / each / 10,
                "circuits": shots / each,
                "shots": shots,
                "shots_each": each,
                "size": 2,
            }
            for seed in SEEDS:
                value = (shots / 1e5) ** -slopes.get(arm, 0.01) * math.exp(0.01 * math.sin(seed + len(arm)))
                errors = {"exact": value, "read": 1.1 * value}
                rows.append({"arm": arm, "budget": budget, "seed": seed} | errors | spent)
    return pd.DataFrame(rows)


SLOPES = {"causal": 0.2, "spsa": 0.15, "weights": 0.1, "coordinates": 0.05}


def test_geometric_mean_is_scipys():
    from scipy import stats

    errors = frame({"spsa": 0.6})["spsa"]
    found = answer.geometric_mean(errors)
    low, high = stats.t.interval(0.95, len(errors) - 1, np.log(errors).mean(), stats.sem(np.log(errors)))
    np.testing.assert_allclose([found.value, found.low, found.high], [stats.gmean(errors), *np.exp([low, high])])


@pytest.mark.parametrize(
    ("levels", "noise", "state", "word"),
    [
        (
            {"spsa": 0.5, "shift": 0.9, "weights": 0.7},
            0.02,
            "separated",
            "the smallest error is that of SPSA with fresh",
        ),
        ({"spsa": 0.7, "shift": 0.7, "weights": 0.7}, 0.01, "equivalent", "have equal errors within 10 %"),
        ({"spsa": 0.6, "shift": 0.63, "weights": 0.7}, 0.3, "undecided", "no winner is proven"),
    ],
)
def test_the_sentence_follows_the_records(levels, noise, state, word):
    """With other records another sentence; the winner it names is the one of the smallest geometric mean."""
    errors = frame(levels, noise)
    found = answer.verdict_of(errors, dice())
    assert found.state == state and word in answer.verdict_text(found)
    best = np.log(errors).mean().idxmin()
    assert found.winner == best and answer.NAMES[best] in answer.verdict_text(found)
    swapped = errors.rename(columns={"spsa": "shift", "shift": "spsa"})
    assert answer.verdict_text(answer.verdict_of(swapped, dice())) != answer.verdict_text(found)


def test_a_winner_beyond_the_runner_up_is_named_with_whom_it_is_tied():
    found = Verdict(0.0, "causal", "spsa", 0.9, 0.85, 0.95, 0.01, "separated", ("shift",), 28)
    assert answer.verdict_text(found).endswith("but not told apart from the parameter-shift rule")


def test_equals_name_who_else_is_tied():
    found = Verdict(0.0, "causal", "spsa", 0.98, 0.95, 1.01, 0.4, "equivalent", ("spsa", "weights"), 28)
    assert answer.verdict_text(found).endswith("and causal SPSA is not told apart from SPSA in weight space either")
    alone = Verdict(0.0, "causal", "spsa", 0.98, 0.95, 1.01, 0.4, "equivalent", ("spsa",), 28)
    assert answer.verdict_text(alone).endswith("paired seeds)")


def test_who_beats_the_shift_rule_is_counted():
    errors = frame({"spsa": 0.5, "shift": 0.7, "weights": 0.7, "causal": 0.9})
    text = answer.beside_shift_text(errors, dice())
    assert text == "1 of 3 methods beat the parameter-shift rule, which beats causal SPSA"
    assert answer.beside_shift_text(errors[["spsa", "shift"]], dice()).startswith("1 of 1 methods beat")


def test_comparison_and_shift_rule_beside():
    table = answer.comparison(runs(SLOPES), "1e7", dice())
    assert list(table.index)[:2] == ["SPSA, causal", "SPSA, fresh directions"]
    assert table["times the best"].iloc[0] == "1" and table["times the best"].iloc[1].startswith("1.26")
    assert table["read with its shots"].iloc[0].startswith(f"{1.1 * 100**-0.2:.2f}")
    beside = answer.against_shift(runs(SLOPES), "1e7", dice())
    assert beside.loc["SPSA, causal", "times the shift rule"].startswith(f"{100**-0.19:.2f}")


def test_what_leaving_out_a_seed_does_is_said():
    sure = leave_one_out(frame({"spsa": 0.5, "shift": 0.9}), dice())
    text = answer.stability_text(sure, "spsa")
    assert "12 of 12 cases" in text and text.endswith("every comparison keeps its sign and its significance")
    sure.loc[3, ["winner", "shift"]] = ["shift", False]
    text = answer.stability_text(sure, "spsa")
    assert "11 of 12" in text and text.endswith("the parameter-shift rule hangs on single seeds")


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Estimate(1.84e6, 1.5e6, 2.3e6), "1.8 million (1.5 million to 2.3 million)"),
        (Estimate(8e6, 5e6, math.inf), "8 million (5 million to more)"),
        (Estimate(math.inf, 5e6, math.inf), f"not reached by {answer.count_text(max(answer.RUNGS.values()))} shots"),
        (Estimate(0.0, 0.0, 1e5), "reached by 100,000 shots"),
    ],
)
def test_costs_in_words(cost, text):
    assert answer.cost_text(cost) == text


def test_ratios_of_costs_in_words():
    assert answer.ratio_text(Estimate(4.2, 3.1, 6.0)) == "4.2 (3.1 to 6)"
    assert answer.ratio_text(Estimate(math.inf, 3.1, math.inf)) == "above 3.1"
    assert answer.ratio_text(Estimate(0.0, 0.0, 0.5)) == "below 0.5"
    assert answer.ratio_text(Estimate(math.nan, 0.0, math.inf)) == "not known"


def test_crossings_in_words():
    text = answer.crossing_text("shift", "spsa", Estimate(3e5, 0.0, 1e6), "spsa")
    assert (
        text == "SPSA with fresh directions ahead of the parameter-shift rule from 300,000 shots on (less to 1 million)"
    )
    assert answer.crossing_text("shift", "spsa", None, "shift").endswith("SPSA with fresh directions at every budget")


def test_whom_the_best_network_beats():
    others = {"a GRU": 0.2, "persistence": 0.53, "a linear regression": 0.6}
    text = answer.pays_text(Estimate(0.52, 0.5, 0.55), others)
    assert text == "loses to a GRU (0.20), and is level with persistence (0.53), and beats a linear regression (0.60)"
    assert answer.pays_text(Estimate(0.1, 0.09, 0.11), others).startswith("beats a GRU (0.20), persistence")


def test_numbers_in_words():
    assert [answer.count_text(count) for count in (123, 45_678, 1e6, 1.84e7, 9.96e5, 4.1e9)] == [
        "120", "46,000", "1 million", "18 million", "1 million", "4.1 billion",
    ]  # fmt: skip
    assert answer.budget_text("1e7") == "10 million shots"
    assert answer.budget_text("4e5 circuits") == "400,000 circuits of 1,024 shots"
    assert answer.p_text(4e-5) == "p < 0.001" and answer.p_text(0.0312) == "p = 0.031"


def test_shares_of_seeds_sum_to_one_and_costs_are_rungs():
    found = runs(SLOPES)
    shares = answer.wins(found)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.loc["1e7", "causal"] == 1
    costs = answer.target_costs(found, (0.85, 0.5))
    assert set(costs.to_numpy().ravel()) <= {*answer.RUNGS.values(), math.inf}
    first = min(shots for shots in answer.RUNGS.values() if (shots / 1e5) ** -SLOPES["causal"] < 0.84)
    assert (costs.loc["causal", :11] == first).all() and np.isinf(costs.loc["shift"]).all()


def test_bills_are_those_of_the_price_list():
    """An update is a job, more where it has more executions than a job may have."""
    found = answer.bills(runs(SLOPES), "ibm_fez").loc[("spsa", "1e7")]
    expected = 2.0 * found["updates"] + (250e-6 + 50e-6) * 1e7
    assert math.isclose(found["seconds"], expected) and math.isclose(found["money"], 1.6 * expected)
    large = runs(SLOPES).assign(updates=2)
    assert math.isclose(answer.bills(large, "ibm_fez").loc[("spsa", "1e8"), "seconds"], 2.0 * 10 + 300e-6 * 1e8)


def test_machines_that_charge_alike_stand_together():
    alike = answer.priced_alike()
    assert sorted(name for names in alike.values() for name in names) == sorted(machines().index)
    for first, names in alike.items():
        bills = [charge(name, 7.0, 1000.0, 2.0)["money"] for name in names]
        np.testing.assert_allclose(bills, charge(first, 7.0, 1000.0, 2.0)["money"])


def test_money_is_interpolated_within_the_ladder_and_ends_with_it():
    """Errors that fall as a power of the shots do so between rungs, too, where money goes by shots."""
    found = runs({"causal": 0.2})
    priced = answer.bills(found, "braket_forte")
    rungs = answer.front(found, priced, "causal")
    price = priced.loc[("causal", "1e6"), "money"] / 1e6
    for shots in (1e5, 1.7e5, 4e6, 1e7):
        errors = answer.bought(found, rungs, "causal", shots * price)
        np.testing.assert_allclose(np.log(errors).mean(), -0.2 * np.log(shots / 1e5), atol=0.01)
    assert answer.bought(found, rungs, "causal", 0.9e5 * price) is None
    most = max(answer.RUNGS.values())
    beyond = answer.bought(found, rungs, "causal", 3 * most * price)
    np.testing.assert_allclose(beyond, answer.bought(found, rungs, "causal", most * price))


def test_a_rung_that_is_undercut_at_a_smaller_error_is_left_out():
    found = runs({"causal": 0.2})
    worse = (found["arm"] == "causal") & (found["budget"] == "1e6")
    found.loc[worse, "exact"] = 1.2
    rungs = answer.front(found, answer.bills(found, "braket_forte"), "causal")
    assert list(rungs.index) == [name for name in answer.RUNGS if name != "1e6"]


def test_round_sums():
    assert answer.round_sums(150.0, 20_000.0) == [1000.0, 10_000.0]
    assert answer.round_sums(100.0, 100.0) == [100.0] and answer.round_sums(150.0, 900.0) == []


def test_decisions_name_who_is_first_at_equal_money():
    table = answer.decisions(runs(SLOPES), "braket_garnet", dice())
    assert set(table["method"]) == {"causal"} and table["USD"].iloc[0] == "10,000"
    assert (table["hours"] == "?").all() and table["directions"].iloc[0] == "2"
    assert set(table["shots a circuit"]) <= {"16", "1,024"}
    other = answer.decisions(runs({"shift": 0.3} | SLOPES), "ibm_fez", dice())
    assert set(other["method"]) == {"shift"} and other["directions"].iloc[0] == "all angles"
    text = answer.machines_text(pd.concat([table, other]))
    assert f"causal SPSA in {len(table)}" in text and f"the parameter-shift rule in {len(other)}" in text


@pytest.mark.parametrize("measured", [True, False])
def test_the_budget_in_circuits_has_a_row_once_it_is_measured(monkeypatch, measured):
    names = [name for name in plan.BUDGETS if measured or name != answer.CIRCUITS]
    monkeypatch.setattr(answer, "MEASURED", names)
    table = answer.decisions(runs(SLOPES), "braket_forte", dice())
    assert (table["shots"].iloc[-1] == "410 million") == measured
    assert (answer.waiting_text() == "none") == measured
    levels = {tuning.level for tuning in answer.tunings()}
    assert {"1e5", "1e6", "1e7"} <= levels and ("4e4 circuits" in levels) == measured


def test_who_is_first_at_a_budget_in_short():
    errors = frame({"spsa": 0.5, "shift": 0.9, "weights": 0.7}, 0.02)
    assert "for 1 million shots SPSA with fresh directions, 0.5" in answer.short_text("1e6", errors, dice())
    assert answer.short_text("1e6", errors, dice()).endswith("ahead of SPSA in weight space")


def test_an_arm_off_its_ladder_is_not_measured():
    """Sixteen times fewer shots a circuit cost sixteen times more circuits: the arm's ladder starts at more money."""
    found = runs(SLOPES)
    dear = found["arm"] == "shift"
    found.loc[dear, "circuits"] *= 16
    first = answer.decisions(found, "braket_ankaa", dice()).iloc[0]
    assert first["not measured"] == "shift" and first["method"] == "causal"


def test_an_arm_whose_ladder_ends_below_a_sum_keeps_its_last_error():
    """The shift rule's ladder ends at sixteen times the money, at an error above that of the others' last rungs."""
    found = runs(SLOPES)
    found.loc[found["arm"] == "shift", ["circuits", "shots"]] *= 16
    last = answer.decisions(found, "braket_forte", dice()).query("`ladder ends below` != ''").iloc[-1]
    assert last["method"] == "causal" and last["expected error"].startswith("at most ")
    assert last["ladder ends below"] == "spsa, causal, weights, coordinates"


def test_a_circuits_gates_are_those_of_the_unrolled_circuit():
    one, two, readings = answer.gates()
    assert two == 2 * 3 * 8 and readings == 2 * 2 * 8 and one >= 8 * (6 * 4)


@pytest.fixture
def records(tmp_path, monkeypatch):
    from qrnn_helpers.study import jobs

    monkeypatch.setattr(jobs, "DATA", tmp_path)
    (tmp_path / plan.FOLDER).mkdir()


def stored(job: Job, result: dict, dirty: bool | None = False) -> None:
    apart = {"core_seconds": 36.0, "provenance": {"code": {"commit": "0" * 40, "dirty": dirty}}}
    write_record({"settings": job.settings, "result": result, "apart": apart}, job.path)


def tuned(dirty: bool | None = False) -> plan.Tuning:
    """A level of trials, stored: the rate alone decides."""
    tuning = plan.Tuning("spsa", "1e6")
    for part in (tuning.first, tuning.second):
        for job in part():
            rates = [Setting(**setting).rate for setting in job.settings["settings"]]
            trials = [
                {"validation": [1 + abs(math.log(rate / 0.01))] * 3, "circuits": 10, "shots": 40} for rate in rates
            ]
            stored(job, {"trials": trials}, dirty)
    return tuning


def test_what_tuning_took(records):
    tuning = tuned()
    row = answer.tuning_row(tuning)
    assert row["trials"] == len(tuning.table()) >= plan.TRIALS and row["circuits"] == 30 * row["trials"]
    assert row["shots spent"] == 4 * row["circuits"]
    assert math.isclose(row["core-hours"], 0.01 * len(tuning.jobs))
    for name, value in answer.setting_text(tuning).items():
        assert value.endswith("*") == (name in plan.at_edge(tuning.chosen, "1e6"))


@pytest.mark.parametrize("dirty", [True, None])
def test_trials_of_no_clean_commit_are_refused(records, dirty):
    with pytest.raises(ValueError, match=r"must be made from a clean commit; .* dirty: (True|None)"):
        answer.tuning_row(tuned(dirty))


def work() -> dict:
    return {}


@pytest.mark.parametrize("which", [None, "run", "test"])
def test_results_of_no_clean_commit_are_refused(records, monkeypatch, which):
    """One dirty record among a stage's, of a run or of the opening, is enough."""
    setting = {"arm": "spsa", "rate": 0.01, "batch": 1, "shots": 4}
    run = Job(plan.FOLDER, "run", work, {"setting": setting, "seeds": [5]})
    test = Job(plan.FOLDER, "test", work, {"stage": "A"})
    stored(run, {"validation": [0.7], "updates": 3, "circuits": 9, "shots": 36}, dirty=which == "run")
    stored(test, {"rows": [{"job": "run", "seed": 5, "exact": 0.6, "read": 0.65}]}, dirty=which == "test")
    monkeypatch.setattr(opened, "cells", lambda stage: {(MAIN, "spsa", "1e5"): [run]})
    monkeypatch.setattr(opened, "opening", lambda stage: test)
    if which is None:
        (row,) = opened.results("A").to_dict("records")
        assert (row["exact"], row["read"], row["validation"], row["shots_each"]) == (0.6, 0.65, 0.7, 4)
        return
    with pytest.raises(ValueError, match=f"{which}.json must be made from a clean commit"):
        opened.results("A")
