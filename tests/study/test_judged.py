"""The laws judged: on a quadratic whose ratios are known by hand, on trained ratios that follow one law or none."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from qrnn_helpers.storage import write_record
from qrnn_helpers.study import jobs, judged, laws, plan
from qrnn_helpers.study.arms import MAIN
from qrnn_helpers.study.laws import ARMS, CELLS, LAWS, Checkpoint, cell, cheapest

SEEDS = range(12)
CLEAN = {"provenance": {"code": {"dirty": False}}}


def dice():
    return np.random.default_rng(0)


def quadratic():
    """H = diag(1, 0), G = (1, 1): samples differ along the steep weight alone, SPSA's directions along the flat one.

    Data: diag(2, 0), directions: diag(0, 2).  No shot noise; the coordinates are drawn without error.
    """
    steep, flat = (torch.tensor(each, dtype=torch.float64).diag() for each in ([2.0, 0.0], [0.0, 2.0]))
    zero = torch.zeros_like(steep)
    pieces = {f"{arm} shots": zero for arm in ARMS} | {"spsa": flat, "causal": 0.5 * flat, "coordinates": zero}
    one = torch.ones(2, dtype=torch.float64)
    return Checkpoint(one, steep, 0.5 * steep, pieces, 4, 1)


@pytest.fixture(scope="module")
def forms():
    return {law: {arm: cheapest(MAIN, quadratic(), law, arm, "shots") for arm in ARMS} for law in LAWS}


@pytest.fixture
def stored(tmp_path, monkeypatch, forms):
    """Every record of the main cell."""
    monkeypatch.setattr(jobs, "DATA", tmp_path)
    (tmp_path / laws.FOLDER).mkdir()
    own = [job for job in judged.predicting() if job.name.startswith(f"noise-{cell(MAIN)}-")]
    for job in own:
        write_record({"settings": job.settings, "result": {"cheapest": {"shots": forms}}, "apart": CLEAN}, job.path)
    return own


def test_ratios_of_a_quadratic_are_those_by_hand(stored):
    """Cheapest: batch 1, one direction, 4 shots; the shift rule 1.  Costs: circuits x shots x (1 + tr(H S)/G'HG).

    Error: shift 357 (1 + 2/2), SPSA 3 x 4 (1 + 4/2), causal 12 (1 + 3/2).  Curvature: 357 (1 + 2), 12 (1 + 2) twice.
    """
    table = judged.predictions(stored)
    assert len(stored) == 10 and len(table) == 10 * len(LAWS) * len(ARMS)
    for path in ("init", "exact", "spsa"):
        found = judged.predicted(table, path).loc[cell(MAIN)]
        shift = laws.circuits(MAIN, "shift", 1)
        assert found.loc["shift", "error"] == pytest.approx(2 * shift / 36)
        assert found.loc["causal", "error"] == pytest.approx(30 / 36)
        for law in ("curvature", "adam"):
            assert found.loc["shift", law] == pytest.approx(3 * shift / 36)
            assert found.loc["causal", law] == pytest.approx(1)


def test_a_cell_is_measured_once_all_its_checkpoints_are_stored(stored):
    assert judged.measured_cells() == [MAIN]
    stored[3].path.unlink()
    assert judged.measured_cells() == []
    nothing = judged.predicted(judged.predictions([]), "exact")
    assert nothing.empty and judged.judge(nothing, ratios()["error"]) is None


def test_records_of_no_clean_commit_are_refused(stored):
    dirty = {"provenance": {"code": {"dirty": True}}}
    write_record({"settings": stored[0].settings, "result": {}, "apart": dirty}, stored[0].path)
    with pytest.raises(ValueError, match="clean commit"):
        judged.predictions(judged.predicting()[:10])


def test_crossing_angles():
    """log ratio = log(angles/81): at 81 angles."""
    angles = [27, 54, 108, 216]
    assert judged.crossing_angles(pd.Series([a / 81 for a in angles], angles)) == pytest.approx(81)
    assert judged.crossing_angles(pd.Series([2.0, 3.0], [27, 54])) == 0
    assert judged.crossing_angles(pd.Series([3.0, 0.5], [27, 54])) == math.inf
    assert judged.angles(MAIN) == 216


def runs(costs, problems=(MAIN,), budgets=("1e5", "1e6", "1e7")):
    """Errors (shots / cost / 1e5)^-.1: an arm of cost 2 needs twice the shots for every error; paired seeds."""
    rows = []
    for problem, arm, budget, seed in product(problems, plan.CORE, budgets, SEEDS):
        value = (plan.BUDGETS[budget].shots / costs.get(arm, 1.0) / 1e5) ** -0.1 * math.exp(0.1 * math.sin(seed))
        rows.append({"problem": plan.name_of(problem), "arm": arm, "budget": budget, "seed": seed, "exact": value})
    return pd.DataFrame(rows)


COSTS = {"shift": 6.0, "causal": 0.5, "weights": 2.0}


def test_matched_finds_how_many_times_more_shots_an_arm_needs():
    found = judged.trained(runs(COSTS), judged.matched, dice())
    assert list(found.index) == [(cell(MAIN), arm) for arm in judged.OTHERS]
    for arm in judged.OTHERS:
        row = found.loc[(cell(MAIN), arm)]
        assert row.value == pytest.approx(COSTS.get(arm, 1.0)) == pytest.approx(row.low) == pytest.approx(row.high)


def test_cost_to_the_target_agrees_up_to_the_rungs():
    found = judged.trained(runs(COSTS), judged.to_target, dice()).loc[(cell(MAIN), "shift")]
    assert found.low <= 6 <= found.high


def test_cells_that_are_not_trained_lack():
    assert judged.trained(runs(COSTS).iloc[:0], judged.matched, dice()).empty
    cells = judged.trained(runs(COSTS, CELLS[:3], ("1e6", "1e7")), judged.matched, dice()).index.unique("cell")
    assert list(cells) == [cell(problem) for problem in CELLS[:3]]


def ratios():
    """Predictions that differ from law to law and cell to cell."""
    index = pd.MultiIndex.from_product([[cell(p) for p in CELLS], judged.OTHERS], names=["cell", "arm"])
    start = np.random.default_rng(1).lognormal(1, 1, len(index))
    return pd.DataFrame({law: start * 1.5**k for k, law in enumerate(LAWS)}, index)


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ("error", "the error law is nearest, and the curvature explanation is refuted (mean absolute log error 0.00"),
        ("curvature", "the curvature law is nearest, and the error law is refuted"),
        ("adam", "the curvature law with Adam's diagonal is nearest, and the error law is refuted"),
    ],
)
def test_the_law_that_trained_ratios_follow_is_named(law, words):
    found = judged.judge(ratios(), ratios()[law])
    assert found.errors[law] == pytest.approx(0) and (found.cells, found.ratios) == (7, 28)
    assert found.errors["adam gain" if law == "adam" else "adam"] == pytest.approx(
        abs(LAWS.index(law) - (3 if law == "adam" else 2)) * math.log(1.5)
    )
    assert judged.outcome_text(found).startswith(words)


def test_a_constant_may_refute_all():
    constant = pd.Series(3.0, ratios().index)
    found = judged.judge(ratios(), constant)
    assert found.errors["constant"] == 0
    assert "and every law is refuted" in judged.outcome_text(found)


def test_one_cell_has_no_constant_and_no_last_word():
    first = ratios()["error"].loc[[cell(MAIN)]]
    found = judged.judge(ratios(), first)
    assert np.isnan(found.errors["constant"])
    assert judged.outcome_text(found).startswith("so far, over 1 of 7 cells, the error law is nearest")
    assert "and the curvature explanation would be refuted" in judged.outcome_text(found)


def test_what_explains_the_costs_follows_the_judgements():
    found = {law: judged.judge(ratios(), ratios()[law]) for law in LAWS[:3]}
    assert "curvature is not needed" in judged.explained_text([found["error"], None])
    assert "weighted by curvature" in judged.explained_text([found["curvature"], found["adam"]])
    assert "depends on where" in judged.explained_text([found["error"], found["adam"]])
    assert judged.explained_text([None, None]).endswith("is not measured yet")
    constant = judged.judge(ratios(), pd.Series(3.0, ratios().index))
    assert judged.explained_text([constant]).startswith("none of the laws")
    part = judged.judge(ratios(), ratios()["error"].loc[[cell(MAIN)]])
    assert judged.explained_text([part, None]).startswith("so far, the squared error")


def test_where_methods_cross_is_said_of_the_cells_of_four_qubits():
    """log ratio = log(angles/81), whatever the cells of six and eight qubits have."""
    costs = pd.Series({(cell(p), "shift"): judged.angles(p) / 81 for p in CELLS if p.memory == 2})
    costs[cell(CELLS[1]), "shift"] = 1e-3
    assert list(judged.on_four_qubits(costs).index) == [27, 54, 108, 216, 432]
    assert judged.crossing_text(judged.on_four_qubits(costs)) == "81"
    assert judged.crossing_text(judged.on_four_qubits(100 * costs)) == "below 27"
    assert judged.crossing_text(judged.on_four_qubits(costs / 100)) == "beyond 432"
    assert judged.crossing_text(judged.on_four_qubits(costs.iloc[:1])) == "not measured yet"


def test_ratios_that_are_only_bounded_do_not_count():
    measured = ratios()["error"].copy()
    measured.iloc[:3] = [math.nan, math.inf, 0.0]
    assert judged.judge(ratios(), measured).ratios == 25
    assert judged.judge(ratios(), measured * math.nan) is None
    assert judged.outcome_text(None) == "not measured yet"


def noisy(levels, spread=0.02):
    """Errors of four kinds of noise at two rates; the second is worse."""
    generator = dice()
    table = {}
    for kind, level in levels.items():
        for rate, worse in ((0.01, 1.0), (0.03, 1.4)):
            table[kind, rate] = level * worse * np.exp(spread * generator.normal(size=8))
    return pd.DataFrame(table).rename_axis(columns=["kind", "rate"])


@pytest.mark.parametrize(
    ("levels", "spread", "outcome"),
    [
        ((0.5, 0.7, 0.9, 0.6), 0.02, "curvature"),
        ((0.5, 0.7, 0.7, 0.7), 0.02, "error"),
        ((0.5, 0.7, 0.6, 0.9), 0.02, "neither"),
        ((0.5, 0.7, 0.75, 0.72), 0.5, "undecided"),
    ],
)
def test_the_causal_test_names_what_it_shows(levels, spread, outcome):
    errors, rates = judged.at_best_rates(noisy(dict(zip(laws.KINDS, levels, strict=True)), spread))
    assert list(errors) == list(laws.KINDS)
    if spread < 0.1:
        assert set(rates.values()) == {0.01}
    table = judged.compared(errors, dice())
    assert len(table) == 3 and (table["holm"] >= table["p"]).all()
    assert judged.causal_outcome(table) == outcome
    assert judged.causal_text(table).startswith(judged.CAUSAL[outcome])


def test_injections_are_read_by_kind_and_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "DATA", tmp_path)
    (tmp_path / laws.FOLDER).mkdir()
    own = judged.injecting("momentum")
    for k, job in enumerate(own):
        write_record({"settings": job.settings, "result": {"validation": [1.0, float(k)]}, "apart": CLEAN}, job.path)
    table = judged.injected(own)
    assert table.shape == (8, 12) and table.loc[5, ("along", 0.03)] == next(
        k for k, job in enumerate(own) if job.name == "injection-momentum-along-rate0.03-seed5"
    )
