"""The statistics of the study: pure functions of stored results.

A frame of errors has a row a seed and a column an arm (or a budget); its entries are positive, and smaller is better.
The arms share their seeds (trajectory, initial weights, order of the data), so every comparison is paired by seed,
and made in logarithms: the effect is a ratio.  Intervals are two-sided, of 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from ..checks import check_array, check_instance, check_integer, check_positive, check_real

CAP = 2.0
"""A diverged run's error, twice that of predicting the mean (in NRMSE); every error above counts as this, too."""

ALPHA = 0.05

MARGIN = 0.9
"""Two arms are equivalent where the ratio of their errors lies between this and its inverse."""

POWER = 0.8
"""Wanted: the chance that a difference is told."""

FLIPS, DRAWS = 100_000, 1_000
"""Sign flips of a permutation test, where all of them would be more; resamples of a bootstrap."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Two arms: `ratio` of the first's geometric mean error to the second's, its interval, and the test's `p`.

    `share` of the `seeds` on which the first is strictly better, with its interval; `p_equivalent`, of the test that
    they are not equivalent.
    """

    first: str
    second: str
    ratio: float
    low: float
    high: float
    p: float
    share: float
    share_low: float
    share_high: float
    p_equivalent: float
    seeds: int

    @property
    def estimate(self) -> Estimate:
        """The ratio and its interval."""
        return Estimate(self.ratio, self.low, self.high)


@dataclass(frozen=True)
class Verdict:
    """Who wins at a budget: the error's `ratio` to the runner-up's, with its interval and Holm-adjusted `p`.

    `state`: "separated" (p at most .05), else "equivalent" (within 10 %, adjusted, too), else "undecided".
    `tied`: the arms, best first, that the winner is not separated from.
    """

    budget: float
    winner: str
    runner_up: str
    ratio: float
    low: float
    high: float
    p: float
    state: str
    tied: tuple[str, ...]
    seeds: int


def log_errors(errors: pd.DataFrame) -> pd.DataFrame:
    """Logarithms of a frame of errors, each at most `CAP`; infinite ones may come, missing ones (NaN) may not."""
    check_instance("errors", errors, pd.DataFrame, "a frame, a row a seed")
    values = _positive("errors", errors)
    if len(values) < 2 or not errors.index.is_unique:
        raise ValueError(f"errors must have at least two seeds, each once; got {list(errors.index)}")
    return pd.DataFrame(np.log(np.minimum(values, CAP)), errors.index, errors.columns)


def _positive(name: str, frame: pd.DataFrame) -> np.ndarray:
    values = check_array(name, frame.to_numpy(), 2, finite=False)
    if not (values > 0).all():
        raise ValueError(f"{name} must be positive, and none missing; got {values[~(values > 0)][0]}")
    return values


def sign_flip(differences: np.ndarray, generator: np.random.Generator) -> float:
    """Two-sided p of the sign-flip test that paired differences are symmetric about 0 (Fisher 1935, par. 21).

    The share of all 2^n flips, where they are at most `FLIPS`, whose sum is as far from 0; else (b + 1)/(B + 1) of
    drawn ones.  scipy's `permutation_test` answers the same, several times slower.
    """
    seeds = len(differences)
    exact = 2**seeds <= FLIPS
    if exact:
        flipped = (np.arange(2**seeds)[:, None] >> np.arange(seeds)) & 1
    else:
        flipped = generator.integers(0, 2, (FLIPS, seeds))
    sums = np.abs(differences.sum() - 2 * (flipped @ differences))
    rounding = 1e-12 * np.abs(differences).sum()
    as_far = int((sums >= abs(differences.sum()) - rounding).sum())
    return as_far / len(sums) if exact else (as_far + 1) / (FLIPS + 1)


def paired(errors: pd.DataFrame, first: str, second: str, generator: np.random.Generator) -> Paired:
    """Compare two columns of a frame of errors by their log ratios.

    t interval of the mean, back-transformed; sign flips; Wilson interval (JASA 22, 209, 1927) of the share of seeds
    (Bouthillier et al., arXiv 2103.03098); equivalence by two one-sided t tests of level .05 (Schuirmann,
    J. Pharmacokinet. Biopharm. 15, 657, 1987), that is by a 90 % interval within the margins.
    """
    logs = log_errors(errors[[first, second]]).to_numpy()
    difference = logs[:, 0] - logs[:, 1]
    seeds = len(difference)
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(seeds)
    low, high = mean + error * stats.t.ppf([ALPHA / 2, 1 - ALPHA / 2], seeds - 1)
    with np.errstate(divide="ignore"):
        p_equivalent = float(stats.t.sf(np.divide(-np.log(MARGIN) - abs(mean), error), seeds - 1))
    ratio, low, high = np.exp([mean, low, high]).tolist()
    beats = wilson(int((difference < 0).sum()), seeds)
    p = sign_flip(difference, generator)
    return Paired(first, second, ratio, low, high, p, beats.value, beats.low, beats.high, p_equivalent, seeds)


def wilson(successes: int, trials: int) -> Estimate:
    """A share and its Wilson interval."""
    found = stats.binomtest(successes, trials).proportion_ci(1 - ALPHA, method="wilson")
    return Estimate(successes / trials, float(found.low), float(found.high))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values adjusted for their family by Holm's step-down procedure (Scand. J. Stat. 6, 65, 1979)."""
    p = check_array("p_values", p_values, 1)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


def against(errors: pd.DataFrame, arm: str, generator: np.random.Generator) -> pd.DataFrame:
    """`paired` of an arm and each other one, a row an arm, with `holm` and `holm_equivalent`: p adjusted for all."""
    others = [other for other in errors.columns if other != arm]
    table = pd.DataFrame([asdict(paired(errors, arm, other, generator)) for other in others], index=others)
    adjusted = [holm(table[name].to_numpy()) for name in ("p", "p_equivalent")]
    return table.assign(holm=adjusted[0], holm_equivalent=adjusted[1])


def ranking(errors: pd.DataFrame) -> list[str]:
    """The arms by their geometric mean errors, the best first."""
    return list(log_errors(errors).mean().sort_values(kind="stable").index)


def leave_one_out(errors: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """What is left of the verdict without each seed in turn (the jackknife's samples; a row a seed).

    `winner` without it; and for each other arm, whether its comparison with the winner of all seeds keeps both its
    sign and, Holm-adjusted at .05, its significance.
    """

    def signs(part: pd.DataFrame) -> pd.Series:
        table = against(part, arm, generator)
        return np.sign(np.log(table["ratio"])) * np.where(table["holm"] <= ALPHA, 2, 1)

    arm = ranking(errors)[0]
    whole = signs(errors)
    parts = {seed: errors.drop(index=seed) for seed in errors.index}
    kept = pd.DataFrame({seed: signs(part) == whole for seed, part in parts.items()}).T
    kept.insert(0, "winner", [ranking(part)[0] for part in parts.values()])
    return kept


def verdict(records: pd.DataFrame, budget: float, generator: np.random.Generator) -> Verdict:
    """The `Verdict` of records with columns arm, seed, budget and error, a row a run.

    The winner is chosen by the data.  A two-sided test against the runner-up alone still holds its level in exponential
    families (Hung and Fithian, arXiv 1610.03944); tests against all the others, adjusted by Holm, ask for more.
    Equivalence needs the adjustment: the runner-up is the nearest of all.
    """
    rows = records[records["budget"] == budget]
    errors = rows.pivot(index="seed", columns="arm", values="error")
    if errors.shape[1] < 2:
        raise ValueError(f"records must have at least two arms at budget {budget}; got {list(errors.columns)}")
    winner, *others = ranking(errors)
    table = against(errors, winner, generator).loc[others]
    nearest = table.iloc[0]
    alike = nearest["holm_equivalent"] <= ALPHA
    state = "separated" if nearest["holm"] <= ALPHA else "equivalent" if alike else "undecided"
    ratio, low, high, p = (float(nearest[name]) for name in ("ratio", "low", "high", "holm"))
    tied = tuple(table.index[table["holm"] > ALPHA])
    return Verdict(budget, winner, others[0], ratio, low, high, p, state, tied, len(errors))


def power(ratio: float, sd: float, seeds: int) -> float:
    """Chance that the paired t test of level .05 tells a true `ratio` of errors from 1 (Cohen 1988, ch. 2).

    T is noncentral t with n - 1 degrees and noncentrality sqrt(n) log(ratio)/sd, sd that of the paired log ratios; its
    square, noncentral F, holds both tails.
    """
    seeds = check_integer("seeds", seeds, 2)
    effect = np.log(check_positive("ratio", ratio)) / check_positive("sd", sd)
    return _power(abs(effect), seeds)


def _power(effect: float, seeds: int) -> float:
    critical = stats.t.ppf(1 - ALPHA / 2, seeds - 1)
    shift = max(seeds * effect**2, 1e-12)  # at 0 itself scipy's answer is wrong
    return float(stats.ncf.sf(critical**2, 1, seeds - 1, shift))


def smallest_ratio(sd: float, seeds: int) -> float:
    """The ratio, below 1 and nearest to it, that so many seeds detect with the power `POWER`."""
    seeds, sd = check_integer("seeds", seeds, 2), check_positive("sd", sd)
    effect = optimize.brentq(lambda effect: _power(effect, seeds) - POWER, 0.0, 100.0)
    return float(np.exp(-effect * sd))


def seeds_needed(ratio: float, sd: float) -> int:
    """The fewest seeds that detect a `ratio` with the power `POWER`."""
    if ratio == 1:
        raise ValueError("ratio must differ from 1; got 1")
    normal = ((stats.norm.isf(ALPHA / 2) + stats.norm.ppf(POWER)) * sd / np.log(ratio)) ** 2
    return next(seeds for seeds in count(max(2, int(normal))) if power(ratio, sd, seeds) >= POWER)


def cost_intervals(errors: pd.DataFrame, target: float) -> np.ndarray:
    """Where each seed's cost to reach `target` lies, (seeds, 2); the columns of `errors` are rising budgets.

    Every budget is a run of its own, so the cost is known up to a rung: (last budget that did not reach, first that
    did], from 0 where the first budget reaches, to infinity where the last does not.  Where a larger budget falls
    short again, the interval ends at the first budget from which on all reach.
    """
    budgets = check_array("errors.columns", errors.columns.to_numpy(), 1)
    if not (np.diff(budgets, prepend=0.0) > 0).all():
        raise ValueError(f"errors.columns must be positive rising budgets; got {list(errors.columns)}")
    if not 0 < target < CAP:
        raise ValueError(f"target must be positive and below {CAP:g}, what a diverged run counts as; got {target}")
    reached = (log_errors(errors) <= np.log(target)).to_numpy()
    before = np.where(reached.any(1), reached.argmax(1), len(budgets))
    after = len(budgets) + 1 - np.cumprod(reached[:, ::-1], axis=1).sum(1)
    edges = np.array([0.0, *budgets, np.inf])
    return np.stack([edges[before], edges[after]], axis=1)


def median_costs(intervals: np.ndarray, draws: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Median of costs that lie in `intervals`, and the bounds of the medians of resamples (`draws`, their indices).

    Where two rungs or more part the costs, that of a log-normal distribution by maximum likelihood,
    L = prod_i [F(upper_i) - F(lower_i)] (Turnbull, J. R. Stat. Soc. B 38, 290, 1976; Lawless 2003, ch. 5), the
    resamples with the spread of all.  Where fewer do, or off the ladder, no distribution can be told from another: the
    bounds are those of the rungs that hold the median, the value their geometric middle.
    """
    lower, upper = intervals.T
    low, high = (ends[0] for ends in _middle_rungs(intervals[None]))
    parting = np.unique(upper[upper <= lower.max()])
    if len(parting) >= 2 and low > 0 and np.isfinite(high):
        value, medians = _log_normal_medians(intervals, draws)
        return value, medians, medians
    return float(np.sqrt(low * high)), *_middle_rungs(intervals[draws])


def _middle_rungs(intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest medians of samples of intervals, (samples, seeds, 2)."""
    ends, middle = np.sort(intervals, axis=1), intervals.shape[1] // 2
    return ends[:, -middle - 1, 0], ends[:, middle, 1]


def _log_normal_medians(intervals: np.ndarray, draws: np.ndarray) -> tuple[float, np.ndarray]:
    """Maximum likelihood: of all by scipy, of resamples on a grid of means, a fiftieth of the spread apart."""
    with np.errstate(divide="ignore"):
        logs = np.log(intervals)
    known = np.isfinite(logs).any(axis=1)
    mean, spread = stats.norm.fit(stats.CensoredData(interval=logs[known]))
    grid = np.linspace(mean - 4 * spread, mean + 4 * spread, 401)
    below = special.ndtr((logs[:, :, None] - grid) / spread)
    likelihood = np.log(np.maximum(below[:, 1] - below[:, 0], np.finfo(float).tiny))
    times = (draws[:, :, None] == np.arange(len(intervals))).sum(axis=1)
    return float(np.exp(mean)), np.exp(grid[(times @ likelihood).argmax(axis=1)])


def cost_to_target(errors: pd.DataFrame, target: float, generator: np.random.Generator) -> Estimate:
    """Median cost to reach `target` (`cost_intervals`, `median_costs`), with a bootstrap over seeds.

    The value is 0 or infinite where the median is below or beyond the ladder; the interval keeps the bound it has.
    """
    intervals = cost_intervals(errors, target)
    return _estimate(*median_costs(intervals, _resamples(len(intervals), generator)))


def cost_ratio(first: pd.DataFrame, second: pd.DataFrame, target: float, generator: np.random.Generator) -> Estimate:
    """Median cost of the first arm over the second's, with a bootstrap over the seeds that they share.

    NaN, with an interval from 0 to infinity, where both are off the same end of the ladder.
    """
    _check_same(first, second)
    draws = _resamples(len(first), generator)
    one, low, high = median_costs(cost_intervals(first, target), draws)
    other, least, largest = median_costs(cost_intervals(second, target), draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _estimate(np.divide(one, other), low / largest, high / least)


def _resamples(size: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of bootstrap samples, (`DRAWS`, size) (Efron and Tibshirani 1993, ch. 13: percentile intervals)."""
    return generator.integers(size, size=(DRAWS, size))


def _estimate(value: float, lows: np.ndarray, highs: np.ndarray) -> Estimate:
    """The percentile interval of draws known between bounds; by order statistics, since they may be infinite."""
    low = np.quantile(lows, ALPHA / 2, method="inverted_cdf")
    high = np.quantile(highs, 1 - ALPHA / 2, method="inverted_cdf")
    return Estimate(float(value), float(low), float(high))


def _check_same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    if not (first.index.equals(second.index) and first.columns.equals(second.columns)):
        raise ValueError("second must have the seeds and budgets of first, in the same order")


def tuning_curve(scores: Sequence[float] | np.ndarray, generator: np.random.Generator) -> pd.DataFrame:
    """Expected best score after k of n random trials, k = 1...n a row, with a bootstrap over trials.

    sum_i C(n - i, k - 1)/C(n, k) s_(i), s_(1) the smallest: the mean over all choices of k trials (Dodge et al., arXiv
    1909.03004, made unbiased by Tang et al., arXiv 2004.13705).  Scores are capped as errors are.  Near k = n resamples
    repeat the best trial, and the band is too narrow.
    """
    found = np.minimum(check_array("scores", scores, 1, finite=False), CAP)
    size, tried = len(found), np.arange(1, len(found) + 1)
    weights = special.comb(size - tried, tried[:, None] - 1) / special.comb(size, tried)[:, None]
    draws = np.sort(found[_resamples(size, generator)]) @ weights.T
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    return pd.DataFrame({"expected": weights @ np.sort(found), "low": low, "high": high}, index=tried)


def performance_profile(costs: pd.DataFrame, factors: Sequence[float] | np.ndarray) -> pd.DataFrame:
    """Share of problems (columns) that each arm (row) solves within each factor of the best arm's cost.

    rho(tau) = share of problems with cost <= tau min cost (Dolan and More, Math. Program. 91, 201, 2002); a row a
    factor, a column an arm.  An infinite cost is never within.
    """
    ratios = _to_best(costs)
    within = {factor: (ratios <= factor).mean(axis=1) for factor in check_array("factors", factors, 1).tolist()}
    return pd.DataFrame(within).T


def profile_area(costs: pd.DataFrame, largest: float = 4.0) -> pd.Series:
    """Each arm's area under its performance profile from 1 to `largest`, 1 for the best everywhere (AlgoPerf,
    Dahl et al., arXiv 2306.07179)."""
    largest = check_real("largest", largest, 1.0, exclusive=True)
    return ((largest - _to_best(costs)) / (largest - 1)).clip(0.0, 1.0).mean(axis=1)


def _to_best(costs: pd.DataFrame) -> pd.DataFrame:
    values = _positive("costs", costs)
    best = values.min(axis=0)
    ratios = np.divide(values, best, out=np.full_like(values, np.inf), where=np.isfinite(best))
    return pd.DataFrame(ratios, costs.index, costs.columns)


def crossing(first: pd.DataFrame, second: pd.DataFrame, generator: np.random.Generator) -> Estimate | None:
    """The budget from which on the arm that leads at the largest one leads, with a bootstrap over seeds; or None.

    The mean log ratio of errors is interpolated linearly in the logarithm of the budget, and its last crossing of 0
    taken.  None where one arm leads throughout.  A resample with that leader throughout counts as 0, one with
    another leader at the end as infinite.
    """
    _check_same(first, second)
    budgets = np.log(check_array("first.columns", first.columns.to_numpy(), 1))
    difference = (log_errors(first) - log_errors(second)).to_numpy()
    leader = np.sign(difference.mean(axis=0)[-1])
    found = last_crossing(leader * difference.mean(axis=0), budgets)
    if found in (0.0, np.inf):
        return None
    draws = leader * difference[_resamples(len(first), generator)].mean(axis=1)
    crossings = np.array([last_crossing(draw, budgets) for draw in draws])
    return _estimate(found, crossings, crossings)


def last_crossing(lead: np.ndarray, budgets: np.ndarray) -> float:
    """Where a lead turns positive for good: 0 if it always is, infinite if it is not at the end."""
    behind = np.flatnonzero(lead <= 0)
    if not len(behind):
        return 0.0
    last = behind[-1]
    if last == len(lead) - 1:
        return np.inf
    part = lead[last] / (lead[last] - lead[last + 1])
    return float(np.exp(budgets[last] + part * (budgets[last + 1] - budgets[last])))
