"""Does the answer hold elsewhere: the rules of the protocol on made-up errors whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from qrnn_helpers.study import elsewhere, plan

SEEDS = range(14)


def dice() -> np.random.Generator:
    return np.random.default_rng(0)


def made(levels: dict[str, float], problem: str = "", budget: str = "1e7", noise: float = 0.01) -> pd.DataFrame:
    """Runs of arms around their levels, paired by seed."""
    generator = dice()
    common = np.exp(generator.normal(0, 0.2, len(SEEDS)))
    rows = []
    for arm, level in levels.items():
        errors = level * common * np.exp(noise * generator.normal(size=len(SEEDS)))
        rows.append(pd.DataFrame({"arm": arm, "seed": SEEDS, "exact": errors, "read": errors}))
    return pd.concat(rows, ignore_index=True).assign(problem=problem, budget=budget)


MAIN = {"shift": 0.8, "spsa": 0.65, "causal": 0.6, "weights": 0.62, "coordinates": 0.7}


def test_a_replication_keeps_the_claims_that_its_runs_bear_out():
    same = made(MAIN, "patch-2d")
    other = made(MAIN | {"weights": 0.5}, "two-way")
    turned = made(MAIN | {"shift": 0.55, "causal": 0.9}, "momentum")
    found = elsewhere.replications(
        made(MAIN), pd.concat([same, other, turned]), ["patch-2d", "two-way", "momentum"], dice()
    )
    assert list(found["keeps_shift"]) == [True, True, False]
    assert list(found["keeps_winner"]) == [True, False, False]
    text = elsewhere.replications_text(found)
    assert "holds in 2 of 3 replications (not: SGD with momentum for Adam)" in text
    assert "winner in 1 of 3 replications (not: the two-way step circuit and SGD" in text
    assert elsewhere.replications_table(found).shape == (len(plan.CORE) + 3, 3)
    beating = elsewhere.beating_text(found)
    assert "SPSA in weight space in 2 of 3" in beating and "random coordinates by importance in 2 of 3" in beating
    beaten = beating.split(", and beats ")[1]
    assert beaten.startswith("SPSA with fresh directions in 1") and beaten.endswith("by importance in 1")


def test_a_winner_that_is_tied_is_kept():
    tied = made(MAIN | {"weights": 0.6, "causal": 0.601}, "patch-2d", noise=0.05)
    found = elsewhere.replications(made(MAIN), tied, ["patch-2d"], dice())
    assert found["verdict"].iloc[0].winner in ("weights", "causal") and found["keeps_winner"].iloc[0]


def test_variants_stand_beside_the_arm_that_they_vary():
    """Ratios are those of the levels, and all eight comparisons are one family."""
    own = {"orthogonal": 0.65, "decaying": 0.5, "guided": 0.8, "uniform": 0.7 * 1.2}
    parts = [made(MAIN | own, budget=budget) for budget in plan.STAGES["C"]]
    found = elsewhere.variants(pd.concat(parts), dice())
    ratios = found["ratio"].map(lambda ratio: ratio.value).xs("1e7", level="budget")
    expected = [0.65 / 0.65, 0.5 / 0.65, 0.8 / 0.65, 1.2]
    np.testing.assert_allclose(ratios, expected, rtol=0.02)
    alone = found["p"].to_numpy()
    assert len(found) == 8 and (found["holm"].to_numpy() >= alone).all() and found["holm"].min() == 8 * alone.min()
    text = elsewhere.variants_text(found)
    assert text.startswith("better than the arm they vary: SPSA, ever fewer directions at 1e6 shots and")
    assert "worse: " in text and "orthogonal" not in text
    assert elsewhere.variants_table(found).loc[("1e7", "SPSA, orthogonal directions"), "equal within 10 %"] == "yes"


def test_ratios_over_the_cross_are_those_of_the_levels():
    cells = {"4qubits-2steps": 0.9, "4qubits-4steps": 0.7}
    runs = pd.concat([made(MAIN | {"spsa": 0.8 * part}, name) for name, part in cells.items()])
    found = elsewhere.over_shift(made(MAIN), runs, "1e7", dice())
    np.testing.assert_allclose(found["value"].xs("spsa", level="arm"), [0.65 / 0.8, 0.9, 0.7], rtol=0.02)
    assert (found["low"] < found["value"]).all() and (found["value"] < found["high"]).all()
    means = elsewhere.scaling(made(MAIN), runs, "1e7")
    assert list(means.index) == ["", "4qubits-2steps", "4qubits-4steps"]


def test_without_opened_windows_there_is_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("qrnn_helpers.study.jobs.DATA", tmp_path)
    assert elsewhere.results(["I"]).empty and not elsewhere.is_opened("I")


@pytest.mark.parametrize("stage", [stage for stage in plan.STAGES if elsewhere.is_opened(stage)])
def test_what_was_opened_is_read_whole(stage):
    runs = elsewhere.results([stage])
    assert set(runs["budget"]) - {"updates"} == set(plan.STAGES[stage])
    assert runs["exact"].gt(0).all() and not runs.duplicated(["problem", "arm", "budget", "seed"]).any()
