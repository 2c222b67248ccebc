"""The study's statistics against hand-made cases, brute force, scipy, and simulated seeds."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qrnn_helpers.study import statistics as st


def generator(seed=0):
    return np.random.default_rng(seed)


def drawn(seeds, ratio=1.0, sd=0.1, seed=0, arms=("a", "b")):
    """Errors whose log ratio a/b is normal about log(ratio), with much more noise that the seeds share."""
    noise = generator(seed)
    shared = noise.normal(-0.5, 0.1, seeds)
    apart = noise.normal(0, sd, seeds)
    return pd.DataFrame(np.exp([shared + np.log(ratio) + apart, shared]).T, columns=list(arms))


def ladder(rows, budgets=(1.0, 4.0, 16.0)):
    return pd.DataFrame(rows, columns=list(budgets))


def likely(successes, trials, share):
    """Not a surprise of one in a thousand."""
    return stats.binomtest(successes, trials, share).pvalue > 1e-3


# --- paired comparisons ---


def equivalent(found):
    """The 90 % interval lies within the margins."""
    return found.p_equivalent <= st.ALPHA


def test_paired_by_hand():
    errors = pd.DataFrame({"a": [0.1, 0.4, 0.2], "b": [0.2, 0.5, 0.8]})
    found = st.paired(errors, "a", "b", generator())
    assert found.ratio == pytest.approx((0.5 * 0.8 * 0.25) ** (1 / 3))
    assert found.p == pytest.approx(2 / 8)  # all three agree: two of eight flips are as far out
    assert (found.share, found.seeds, equivalent(found)) == (1.0, 3, False)


def test_paired_interval_is_scipys_and_swaps():
    errors = drawn(28, 0.93)
    one, other = (st.paired(errors, *arms, generator()) for arms in (("a", "b"), ("b", "a")))
    interval = stats.ttest_rel(*np.log(errors[["a", "b"]].to_numpy()).T).confidence_interval(0.95)
    assert np.log([one.low, one.high]) == pytest.approx(list(interval))
    logs, margin = np.log(errors["a"] / errors["b"]), -np.log(0.9)
    sides = stats.ttest_1samp(logs, margin, alternative="less"), stats.ttest_1samp(logs, -margin, alternative="greater")
    assert one.p_equivalent == pytest.approx(max(side.pvalue for side in sides))
    inner = np.abs(stats.ttest_1samp(logs, 0).confidence_interval(0.9)).max()
    assert equivalent(one) == (inner < margin)
    assert [one.ratio, one.low, one.high] == pytest.approx([1 / other.ratio, 1 / other.high, 1 / other.low])
    assert one.p == other.p and equivalent(one) == equivalent(other)
    assert one.share == pytest.approx(1 - other.share)


@pytest.mark.parametrize("seeds", [2, 9, 16])
def test_all_flips_are_scipys(seeds):
    differences = generator(seeds).normal(0.03, 0.1, seeds).round(2)  # with ties
    test = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=2**seeds)
    assert st.sign_flip(differences, generator()) == pytest.approx(test.pvalue)


def test_drawn_flips_agree_with_all_flips(monkeypatch):
    differences = generator(3).normal(0.03, 0.1, 20)
    found = st.sign_flip(differences, generator())
    assert found == st.sign_flip(-differences, generator()) != st.sign_flip(differences, generator(1))
    monkeypatch.setattr(st, "FLIPS", 2**20)
    exact = st.sign_flip(differences, generator())
    assert 0.01 < exact < 0.9 and found == pytest.approx(exact, abs=4 * np.sqrt(exact / 100_000))


def test_intervals_cover_and_tests_hold_their_size():
    """400 sets of 8 seeds: the ratio's interval, the sign flips, and equivalence on its margin, its worst case."""
    found = [st.paired(drawn(8, 0.9, 0.04, seed), "a", "b", generator()) for seed in range(400)]
    assert likely(sum(f.low < 0.9 < f.high for f in found), 400, 0.95)
    assert likely(sum(equivalent(f) for f in found), 400, 0.05)
    null = [st.paired(drawn(8, 1.0, 0.04, seed), "a", "b", generator()) for seed in range(400)]
    assert likely(sum(f.p <= 12 / 256 for f in null), 400, 12 / 256)
    assert sum(equivalent(f) for f in null) > 380


def test_a_diverged_run_counts_as_the_cap():
    errors = drawn(6)
    errors.loc[2, "a"] = np.inf
    capped = errors.assign(a=errors["a"].where(np.isfinite(errors["a"]), st.CAP))
    assert st.paired(errors, "a", "b", generator()) == st.paired(capped, "a", "b", generator())


def test_equal_arms_are_equivalent():
    errors = drawn(6).assign(b=lambda e: e["a"])
    found = st.paired(errors, "a", "b", generator())
    assert (found.ratio, found.low, found.high, found.p, found.share) == (1, 1, 1, 1, 0) and equivalent(found)


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0])
def test_errors_are_positive_and_all_there(bad):
    errors = drawn(4)
    errors.loc[1, "b"] = bad
    with pytest.raises(ValueError, match="errors must be positive"):
        st.paired(errors, "a", "b", generator())


def test_seeds_are_several_and_apart():
    for errors in (drawn(1), drawn(3).set_axis([0, 1, 1])):
        with pytest.raises(ValueError, match="at least two seeds"):
            st.paired(errors, "a", "b", generator())


def test_wilson_and_holm_as_published():
    found = st.wilson(8, 10)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert st.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert st.holm([0.6, 0.7]).tolist() == [1, 1]


# --- the verdict ---


def records(**arms):
    """Errors of arms, a list a seed, as records at budget 100; and another budget, where all is the other way."""
    rows = [(arm, seed, 100, error) for arm, errors in arms.items() for seed, error in enumerate(errors)]
    rows += [(arm, seed, 200, 1 / error) for arm, seed, _, error in rows]
    return pd.DataFrame(rows, columns=["arm", "seed", "budget", "error"]).sample(frac=1, random_state=0)


def test_the_verdict_follows_the_records():
    noise = generator(1).normal(0, 0.05, (3, 12))
    a, b, c = np.exp(np.log([[0.5], [0.6], [0.9]]) + noise)
    one = st.verdict(records(a=a, b=b, c=c), 100, generator())
    assert (one.winner, one.runner_up, one.state, one.tied, one.seeds) == ("a", "b", "separated", (), 12)
    assert one.ratio == pytest.approx(np.exp(np.log(a / b).mean())) and one.low < one.ratio < one.high < 1
    raw = [st.sign_flip(np.log(a / other), generator()) for other in (b, c)]
    assert one.p == pytest.approx(max(2 * min(raw), raw[0]))

    assert st.verdict(records(a=c, b=b, c=a), 100, generator()).winner == "c"
    assert st.verdict(records(a=a, b=b, c=c), 200, generator()).winner == "c"
    same = st.verdict(records(a=a, b=a * np.exp(noise[1] / 5), c=c), 100, generator())
    assert same.state == "equivalent" and same.tied == (same.runner_up,) and same.winner != "c"
    wide = st.verdict(records(a=a, b=a * np.exp(noise[1] * 10), c=c), 100, generator())
    assert wide.state == "undecided" and wide.winner != "c"


@pytest.mark.parametrize(("ratio", "wrong"), [(1.0, "separated"), (0.9, "equivalent")])
def test_wrong_verdicts_are_rare(ratio, wrong):
    """The winner and the runner-up are picked after the fact, and yet: 200 sets of five arms, at level .05 or below."""
    level = np.log([[ratio], [1], [1], [1], [1]]) - 0.5
    sets = np.exp(level + generator(9).normal(0, 0.04, (200, 5, 8)))
    found = [st.verdict(records(**dict(zip("abcde", arms))), 100, generator()).state for arms in sets]
    assert found.count(wrong) <= stats.binom.ppf(0.999, 200, 0.05)


def test_a_verdict_needs_every_run():
    whole = records(a=[0.1, 0.2], b=[0.2, 0.3])
    with pytest.raises(ValueError, match="none missing"):
        st.verdict(whole.drop(index=0), 100, generator())
    with pytest.raises(ValueError, match="at least two arms at budget 7"):
        st.verdict(whole, 7, generator())


def test_leaving_out_a_seed():
    """b wins by its last seed alone; c is far from both."""
    steps = np.linspace(-0.01, 0.01, 8)
    a, c = np.exp(-0.7 + steps), np.exp(steps)
    b = a * np.exp([0.05] * 7 + [-1.0])
    errors = pd.DataFrame({"a": a, "b": b, "c": c})
    assert st.ranking(errors) == ["b", "a", "c"]
    left = st.leave_one_out(errors, generator())
    assert left["winner"].tolist() == ["b"] * 7 + ["a"]
    assert left["a"].tolist() == [True] * 7 + [False] and left["c"].all()


def test_a_seed_that_turns_a_tie_into_a_loss():
    """Of b and a, b leads by one seed, insignificantly; without it a leads in every seed, significantly."""
    a = np.exp(-0.7 + np.linspace(-0.01, 0.01, 8))
    errors = pd.DataFrame({"a": a, "b": a * np.exp([0.05] * 7 + [-1.0])})
    parts = st.against(errors, "b", generator()), st.against(errors.drop(index=7), "b", generator())
    assert [bool(part.loc["a", "ratio"] < 1) for part in parts] == [True, False]
    assert [bool(part.loc["a", "holm"] <= st.ALPHA) for part in parts] == [False, True]
    assert st.leave_one_out(errors, generator())["a"].tolist() == [True] * 7 + [False]


# --- power ---


def test_seeds_needed_are_the_tables():
    """Effects of .5 and .8 at power .8: 34 and 15 pairs (Cohen's tables, G*Power)."""
    assert [st.seeds_needed(np.exp(-effect), 1.0) for effect in (0.5, 0.8)] == [34, 15]
    assert st.seeds_needed(np.exp(0.5), 1.0) == 34


def test_power_is_what_simulated_tests_have():
    samples = generator().normal(np.log(0.9), 0.15, (4000, 28))
    assert likely(int((stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).sum()), 4000, st.power(0.9, 0.15, 28))
    assert st.power(1.0, 0.15, 28) == pytest.approx(0.05)


@pytest.mark.parametrize(("sd", "seeds"), [(0.1, 28), (0.3, 5), (0.05, 2)])
def test_the_smallest_ratio_is_just_detected(sd, seeds):
    ratio = st.smallest_ratio(sd, seeds)
    assert 0 < ratio < 1 and st.power(ratio, sd, seeds) == pytest.approx(0.8)
    assert st.seeds_needed(ratio * (1 - 1e-9), sd) == seeds


# --- cost to a target ---


def test_where_costs_lie():
    inf = np.inf
    rows = {
        (0, 1): [0.4, 0.3, 0.2],
        (1, 4): [0.9, 0.5, 0.2],  # on the target: reached
        (4, 16): [inf, 0.8, 0.2],
        (16, inf): [0.9, 0.8, 0.7],
        (0, 16): [0.4, 0.8, 0.2],  # goes back: known up to both
        (1, inf): [0.9, 0.4, 0.7],
    }
    found = st.cost_intervals(ladder(list(rows.values())), 0.5)
    assert list(map(tuple, found.tolist())) == list(rows)


def test_targets_and_budgets_make_sense():
    with pytest.raises(ValueError, match="target must be"):
        st.cost_intervals(ladder([[0.4, 0.3, 0.2]] * 2), st.CAP)
    with pytest.raises(ValueError, match="rising budgets"):
        st.cost_intervals(ladder([[0.4, 0.3, 0.2]] * 2, (4.0, 1.0, 16.0)), 0.5)


def on_ladder(costs, edges):
    """Intervals of a ladder's edges that costs lie in."""
    above = np.searchsorted(edges, costs)
    edges = np.array([0.0, *edges, np.inf])
    return np.stack([edges[above], edges[above + 1]], axis=1)


def median(intervals):
    """The median, which the bounds of the one resample that is the sample itself agree with."""
    value, low, high = st.median_costs(np.array(intervals, dtype=float), np.arange(len(intervals))[None])
    assert low[0] <= value * 1.02 and value / 1.02 <= high[0]
    return value


def test_the_fit_is_the_likelihoods_maximum():
    costs = np.exp(generator(2).normal(np.log(20), 0.9, 28))
    intervals = on_ladder(costs, [5.0, 10.0, 20.0, 40.0])
    assert len(np.unique(intervals, axis=0)) == 5
    with np.errstate(divide="ignore"):
        low, high = np.log(intervals).T
    mean, spread = np.meshgrid(np.linspace(1, 5, 401), np.linspace(0.2, 3, 281))
    mass = stats.norm.cdf((high[:, None, None] - mean) / spread) - stats.norm.cdf((low[:, None, None] - mean) / spread)
    best = np.unravel_index(mass.prod(0).argmax(), mean.shape)
    assert np.log(median(intervals)) == pytest.approx(mean[best], abs=0.01)


def test_many_seeds_find_the_median_again():
    costs = np.exp(generator(4).normal(np.log(20), 0.7, 2000))
    assert median(on_ladder(costs, [4.0, 16.0, 64.0])) == pytest.approx(20, rel=0.08)


@pytest.mark.parametrize(
    ("intervals", "bounds"),
    [
        (((4, np.inf),) * 3 + ((1, 4),), (4, np.inf)),
        (((0, 1),) * 3 + ((1, 4),), (0, 1)),
        (((1, 4),) * 5, (1, 4)),
        (((1, 4),) * 2 + ((4, 16),) * 2, (1, 16)),
        (((1, 4),) * 2 + ((4, 16),) * 3, (4, 16)),
        (((1, 4),) * 3 + ((1, 16),) * 2, (1, 4)),
    ],
)
def test_medians_that_the_ladder_does_not_resolve(intervals, bounds):
    value, low, high = st.median_costs(np.array(intervals, dtype=float), np.arange(len(intervals))[None])
    assert (low[0], high[0]) == bounds and value == np.sqrt(np.prod(bounds))


def test_a_seed_that_tells_nothing_changes_nothing():
    known = ((1.0, 4.0),) * 5 + ((4.0, 16.0),) * 4 + ((16.0, 64.0),)
    assert median((*known, (0, np.inf))) == pytest.approx(median(known), rel=1e-3)


@pytest.mark.parametrize("sd", [0.1, 0.4, 1.0])
def test_costs_are_covered_whatever_the_rungs_resolve(sd, monkeypatch):
    """Simulated seeds whose costs spread over less than a rung, or over several; 40 chances for each sd."""
    monkeypatch.setattr(st, "DRAWS", 200)
    budgets = np.array([1.0, 4.0, 16.0, 64.0])
    covered = []
    for seed in range(20):
        noise = generator(seed).normal(0, sd, (2, 20))
        costs = np.exp(np.log([[5.0], [10.0]]) + noise)
        one, other = (ladder(np.where(cost[:, None] <= budgets, 0.4, 0.9), budgets) for cost in costs)
        cost, ratio = st.cost_to_target(one, 0.5, generator()), st.cost_ratio(one, other, 0.5, generator())
        covered += [cost.low <= 5 <= cost.high, ratio.low <= 0.5 <= ratio.high]
    assert sum(covered) >= 34


def test_a_rung_earlier_is_a_quarter_of_the_cost():
    late = [[0.9] * 4 + [0.4]] + [[0.9] * 3 + [0.4] * 2] * 4 + [[0.9] * 2 + [0.4] * 3] * 2
    early = [[*row[1:], 0.4] for row in late]
    late, early = (ladder(rows, 4.0 ** np.arange(5)) for rows in (late, early))
    found = st.cost_ratio(early, late, 0.5, generator())
    assert found.value == pytest.approx(0.25, rel=1e-3)
    assert [found.low, found.high] == pytest.approx([0.25] * 2, rel=0.05)  # both arms have the same resamples
    cost = st.cost_to_target(late, 0.5, generator())
    assert 4 <= cost.low < cost.value < cost.high <= 256
    assert st.cost_to_target(late, 0.5, generator()) == cost


def test_costs_of_arms_that_never_or_always_reach():
    inf = np.inf
    some = ladder([[0.9, 0.4, 0.4]] * 4)
    never, always = ladder([[0.9] * 3] * 4), ladder([[0.4] * 3] * 4)
    assert st.cost_to_target(some, 0.5, generator()) == st.Estimate(2, 1, 4)
    assert st.cost_to_target(never, 0.5, generator()) == st.Estimate(inf, 16, inf)
    assert st.cost_to_target(always, 0.5, generator()) == st.Estimate(0, 0, 1)
    assert st.cost_ratio(some, never, 0.5, generator()) == st.Estimate(0, 0, 4 / 16)
    assert st.cost_ratio(some, always, 0.5, generator()) == st.Estimate(inf, 1, inf)
    unknown = st.cost_ratio(never, never, 0.5, generator())
    assert np.isnan(unknown.value) and (unknown.low, unknown.high) == (0, inf)


# --- curves ---


def test_the_tuning_curve_is_the_mean_over_all_choices():
    scores = generator(5).uniform(0.3, 0.9, 7)
    curve = st.tuning_curve(scores, generator())
    for k in range(1, 8):
        assert curve.loc[k, "expected"] == pytest.approx(np.mean([min(c) for c in combinations(scores, k)]))
    assert (curve["low"] <= curve["expected"]).all() and curve["expected"].is_monotonic_decreasing
    assert st.tuning_curve([0.5, np.inf], generator())["expected"].tolist() == [(0.5 + st.CAP) / 2, 0.5]


def test_the_tuning_curve_is_unbiased(monkeypatch):
    """The least of k uniform numbers is 1/(k + 1) on average."""
    monkeypatch.setattr(st, "DRAWS", 2)
    curves = [st.tuning_curve(scores, generator())["expected"] for scores in generator(6).uniform(size=(1000, 6))]
    errors = np.mean(curves, axis=0) - 1 / np.arange(2, 8)
    assert (np.abs(errors) < 4 * np.std(curves, axis=0) / np.sqrt(1000)).all()


def test_profiles_by_hand():
    costs = pd.DataFrame([[1.0, 4.0, np.inf, 2.0], [2.0, 2.0, np.inf, np.inf]], index=["a", "b"])
    profile = st.performance_profile(costs, [1.0, 2.0, 1e9])
    assert profile["a"].tolist() == [0.5, 0.75, 0.75] and profile["b"].tolist() == [0.25, 0.5, 0.5]
    assert st.profile_area(costs, 3.0).tolist() == pytest.approx([(1 + 0.5 + 1) / 4, (0.5 + 1) / 4])


def test_the_area_is_the_profiles_integral():
    costs = pd.DataFrame(np.exp(generator(7).normal(size=(3, 5))), index=list("abc"))
    factors = np.linspace(1, 4, 1_001)
    assert st.performance_profile(costs, factors).mean().to_numpy() == pytest.approx(st.profile_area(costs), abs=2e-3)


def crossed(lead, spread=(0.0,) * 5):
    """Two arms on a ladder of tens: a seed's log ratio of errors is `lead`, moved by its `spread`."""
    budgets = 10.0 ** np.arange(1, len(lead) + 1)
    level = generator(8).normal(-1, 0.2, (len(spread), 1)) + np.zeros(len(lead))
    return [ladder(np.exp(each), budgets) for each in (level + lead + np.array(spread)[:, None], level)]


def test_where_curves_cross():
    first, second = crossed([0.1, 0.05, -0.05])
    found = st.crossing(first, second, generator())
    assert [found.value, found.low, found.high] == pytest.approx([10**2.5] * 3)
    assert st.crossing(second, first, generator()) == found
    assert st.crossing(*crossed([-0.1, 0.1, -0.3]), generator()).value == pytest.approx(10**2.25)  # the last one
    assert st.crossing(*crossed([0.1, 0.2, 0.3]), generator()) is None
    assert st.crossing(first, first, generator()) is None


def test_a_crossing_that_seeds_do_not_agree_on():
    found = st.crossing(*crossed([0.1, 0.05, -0.05], (-0.3, 0.3, -0.3, 0.3)), generator())
    assert (found.low, found.high) == (0, np.inf)  # half of the seeds see the one lead throughout, half the other
    with pytest.raises(ValueError, match="second must have the seeds"):
        st.crossing(ladder([[1, 1, 1]] * 2), ladder([[1, 1, 1]] * 3), generator())
