"""The laws judged (chapter 20): predicted cost ratios beside trained ones, and the causal test.

Registered on the protocol page: ratios are of an arm's cost over SPSA's, each arm in its cheapest form; a law is judged
by the mean absolute log error of its ratios over the cells; in the causal test each kind of noise has its best rate.
Left open there, and fixed here before any noise was stored: the currency is shots; a cell's prediction is the geometric
mean over checkpoints and seeds of a path, and the paths of exact gradients and of SPSA are judged apart; the trained
ratio is that of the shots at which two arms reach an equal error (`matched`).  The cost to a fixed target (`to_target`)
stands beside it: with rungs a factor of ten apart it is known to a factor of ten either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from ..circuits import rotation_step
from . import elsewhere, laws, opened, plan
from .answer import estimate_text, listed, p_text
from .arms import Problem
from .jobs import Job
from .laws import KINDS, LAWS, cell
from .statistics import (
    ALPHA,
    DRAWS,
    Estimate,
    cost_ratio,
    holm,
    last_crossing,
    log_errors,
    paired,
)

BASE = "spsa"

OTHERS = ("shift", "causal", "weights", "coordinates")
"""Arms whose costs are taken over SPSA's."""

JUDGED = LAWS[:3]
"""The registered laws; the fourth is a variant of the third."""

CURRENCY = "shots"

TARGET = 0.8
"""The easiest of the protocol's targets: small cells may reach no other."""

FORM = ("batch", "size", "shots", "cost")

NOISES = KINDS[1:]

Measure = Callable[[pd.DataFrame, pd.DataFrame, np.random.Generator], Estimate]
"""Of two ladders, the first's cost over the second's."""

NAMES = {
    "error": "the error law",
    "curvature": "the curvature law",
    "adam": "the curvature law with Adam's diagonal",
    "adam gain": "its variant that counts the gain",
    "constant": "a constant for each arm",
}


# --- predictions --------------------------------------------------------------------------


def angles(problem: Problem) -> int:
    """That a window's circuit takes."""
    return problem.steps * rotation_step(problem.memory, problem.readout).num_parameters


def measured_cells() -> list[Problem]:
    """Cells of the cross whose noise is stored at every checkpoint and seed."""
    missing = {Problem(**job.settings["problem"]) for job in predicting() if not job.done}
    return [problem for problem in laws.CELLS if problem not in missing]


def predicting() -> list[Job]:
    return [job for job in laws.jobs() if job.work is laws.predict]


def predictions(jobs: Iterable[Job]) -> pd.DataFrame:
    """A row for each checkpoint, law and arm: its cheapest form in shots, and the ratio of its cost to SPSA's."""
    rows = []
    for job in jobs:
        problem = Problem(**job.settings["problem"])
        place = {"cell": cell(problem), "angles": angles(problem)}
        place |= {name: job.settings[name] for name in ("path", "updates", "seed")}
        for law, forms in opened.clean(job).result["cheapest"][CURRENCY].items():
            base = forms[BASE]["cost"]
            rows += [
                place | {"law": law, "arm": arm} | form | {"ratio": form["cost"] / base} for arm, form in forms.items()
            ]
    return pd.DataFrame(rows, columns=["cell", "angles", "path", "updates", "seed", "law", "arm", *FORM, "ratio"])


def predicted(table: pd.DataFrame, path: str) -> pd.DataFrame:
    """Geometric means of the ratios over a path's checkpoints and seeds: a row a cell and arm, a column a law."""
    rows = table[(table["path"] == path) & table["arm"].isin(OTHERS)]
    logs = np.log(rows["ratio"]).groupby([rows["cell"], rows["arm"], rows["law"]], sort=False).mean()
    return np.exp(logs).unstack("law").reindex(columns=list(LAWS))


def crossing_angles(ratios: pd.Series) -> float:
    """Angles, the index, from which on a rising ratio stays above 1: 0 if it always is, infinite if not at the end.

    Its logarithm is interpolated in that of the angles.
    """
    rising = ratios.sort_index()
    return last_crossing(np.log(rising.to_numpy()), np.log(rising.index.to_numpy(dtype=float)))


def on_four_qubits(ratios: pd.Series, arm: str = "shift") -> pd.Series:
    """An arm's ratios in the cells of four qubits, by angles: those that differ in steps alone."""
    found = {angles(problem): ratios.get((cell(problem), arm), np.nan) for problem in laws.CELLS if problem.memory == 2}
    return pd.Series(found, dtype=float).sort_index().dropna()


def crossing_text(ratios: pd.Series) -> str:
    """`crossing_angles` in words."""
    if len(ratios) < 2:
        return "not measured yet"
    found = crossing_angles(ratios)
    if found == 0:
        return f"below {ratios.index.min()}"
    return f"beyond {ratios.index.max()}" if np.isinf(found) else f"{found:.0f}"


# --- trained ------------------------------------------------------------------------------


def trained_runs() -> pd.DataFrame:
    """Opened runs, without variants and replications: the main problem's and the cross."""
    return elsewhere.results(stage for stage in plan.STAGES if stage not in ("C", *plan.REPLICATING))


def ladder(runs: pd.DataFrame, problem: Problem, arm: str) -> pd.DataFrame:
    """Test errors of an arm in a cell, a row a seed, a column a budget in shots."""
    shots = {name: float(budget.shots) for name, budget in plan.BUDGETS.items() if budget.shots}
    rows = runs[(runs["problem"] == plan.name_of(problem)) & (runs["arm"] == arm) & runs["budget"].isin(list(shots))]
    return rows.assign(spent=rows["budget"].map(shots)).pivot(index="seed", columns="spent", values="exact")


def to_target(first: pd.DataFrame, second: pd.DataFrame, generator: np.random.Generator) -> Estimate:
    """The ratio of the costs to `TARGET`, up to the rungs of the ladder."""
    return cost_ratio(first, second, TARGET, generator)


def matched(first: pd.DataFrame, second: pd.DataFrame, generator: np.random.Generator) -> Estimate:
    """The ratio of the shots at which two arms reach the larger of their last errors.

    Geometric mean errors, interpolated in logarithms; percentile bootstrap over seeds.  Where the better arm's first
    rung is below that error the ratio is a bound.
    """
    logs = np.stack([log_errors(frame).to_numpy() for frame in (first, second)])
    rungs = np.log(first.columns.to_numpy(dtype=float))
    draws = generator.integers(logs.shape[1], size=(DRAWS, logs.shape[1]))
    ratios = [_matched(logs[:, draw].mean(axis=1), rungs) for draw in draws]
    low, high = np.quantile(ratios, [ALPHA / 2, 1 - ALPHA / 2])
    return Estimate(_matched(logs.mean(axis=1), rungs), float(low), float(high))


def _matched(curves: np.ndarray, rungs: np.ndarray) -> float:
    """Of two curves of log errors."""
    falling = np.minimum.accumulate(curves, axis=1)
    level = falling[:, -1].max()
    first, second = (np.interp(-level, -curve, rungs) for curve in falling)
    return float(np.exp(first - second))


def trained(runs: pd.DataFrame, measure: Measure, generator: np.random.Generator) -> pd.DataFrame:
    """Trained ratios to SPSA's cost, value, low and high: a row a cell and arm, without cells that are not trained."""
    rows = []
    for problem in laws.CELLS:
        base = ladder(runs, problem, BASE)
        for arm in OTHERS if len(base) else ():
            found = measure(ladder(runs, problem, arm), base, generator)
            rows.append({"cell": cell(problem), "arm": arm} | asdict(found))
    return pd.DataFrame(rows, columns=["cell", "arm", "value", "low", "high"]).set_index(["cell", "arm"])


# --- judgement ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Judgement:
    """Mean absolute log ``errors`` of the laws, and of a constant for each arm, over so many ``cells`` and ``ratios``.

    The constant is the median over the cells, the best there is; NaN where fewer than two cells are known.
    """

    errors: pd.Series
    cells: int
    ratios: int


def judge(ratios: pd.DataFrame, measured: pd.Series) -> Judgement | None:
    """Predicted ratios (`predicted`) against trained ones, where these are numbers; None if there are none."""
    known = measured[np.isfinite(measured) & (measured > 0)]
    both = np.log(ratios.join(known.rename("known"), how="inner"))
    cells = both.index.unique("cell")
    if both.empty:
        return None
    middle = both["known"].groupby("arm").transform("median") if len(cells) > 1 else np.nan
    errors = both[list(LAWS)].assign(constant=middle).sub(both["known"], axis=0).abs().mean()
    return Judgement(errors, len(cells), len(both))


def outcome_text(found: Judgement | None) -> str:
    """What the protocol's table says of a judgement."""
    if found is None:
        return "not measured yet"
    best = nearest(found)
    named = listed([f"{found.errors[law]:.2f} for {NAMES[law]}" for law in JUDGED])
    done = found.cells == len(laws.CELLS)
    sure = "" if done else f"so far, over {found.cells} of {len(laws.CELLS)} cells, "
    verb = "is" if done else "would be"
    if best == "constant":
        verdict = f"no law follows the trained ratios better than {NAMES[best]}, and every law {verb} refuted"
    elif best == "error":
        verdict = f"the error law is nearest, and the curvature explanation {verb} refuted"
    else:
        verdict = f"{NAMES[best]} is nearest, and the error law {verb} refuted"
    return f"{sure}{verdict} (mean absolute log error {named})"


def nearest(found: Judgement) -> str:
    """The registered law of the smallest log error, or "constant" where none is below the constant's."""
    best = str(found.errors[list(JUDGED)].idxmin())
    return "constant" if found.errors["constant"] <= found.errors[best] else best


def explained_text(judgements: Iterable[Judgement | None]) -> str:
    """What the judgements say of why the cheap guess costs what it does."""
    known = [each for each in judgements if each is not None]
    found = {nearest(each) for each in known}
    if not found:
        return "why the methods' costs differ is not measured yet"
    done = all(each.cells == len(laws.CELLS) for each in known)
    return f"{'' if done else 'so far, '}{_explanation(found)}"


def _explanation(found: set[str]) -> str:
    """By the nearest laws of all judgements."""
    if found == {"constant"}:
        return "none of the laws explains the ratios of the methods' costs"
    if found == {"error"}:
        return (
            "the squared error alone tells the ratios of the methods' costs best, and curvature is not needed for them"
        )
    if found <= {"curvature", "adam"}:
        return "the ratios of the methods' costs are nearest to those of noise weighted by curvature"
    return "which law is nearest to the ratios of the methods' costs depends on where the noise is measured"


# --- causal test --------------------------------------------------------------------------


def injecting(optimizer: str) -> list[Job]:
    return [job for job in laws.jobs() if job.work is laws.injection and job.settings["optimizer"] == optimizer]


def injected(jobs: Iterable[Job]) -> pd.DataFrame:
    """Validation errors at the end: a row a seed, a column a kind of noise and a rate."""
    rows = [job.settings | {"error": opened.clean(job).result["validation"][-1]} for job in jobs]
    return pd.DataFrame(rows).pivot(index="seed", columns=["kind", "rate"], values="error")[list(KINDS)]


def at_best_rates(errors: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Errors of each kind, a column, at the rate of its smallest geometric mean, and these rates."""
    rates = {kind: float(log_errors(errors[kind]).mean().idxmin()) for kind in errors.columns.unique("kind")}
    return pd.DataFrame({kind: errors[kind][rate] for kind, rate in rates.items()}), rates


def compared(errors: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """`statistics.paired` of every two noises, with p adjusted by Holm for the three."""
    table = pd.DataFrame([asdict(paired(errors, *pair, generator)) for pair in combinations(NOISES, 2)])
    return table.assign(holm=holm(table["p"]), holm_equivalent=holm(table["p_equivalent"]))


def causal_outcome(table: pd.DataFrame) -> str:
    """ "curvature": noise along the curvature is worse than both others; "error": all train alike within 10 %;
    "neither": it is shown to be better than one of them; else "undecided"."""
    along = table[(table["first"] == "along") | (table["second"] == "along")]
    effects = np.where(along["first"] == "along", 1, -1) * np.log(along["ratio"])
    sure = along["holm"] <= ALPHA
    if (sure & (effects > 0)).all():
        return "curvature"
    if (table["holm_equivalent"] <= ALPHA).all():
        return "error"
    return "neither" if (sure & (effects < 0)).any() else "undecided"


CAUSAL = {
    "curvature": "noise along the curvature trains worse than equal noise of both others: the error law is refuted",
    "error": "equal noise of all three shapes trains alike within 10 %, and the curvature laws are refuted",
    "neither": "noise along the curvature is not the worst, against the curvature laws",
    "undecided": "the seeds do not tell whether the shape of equal noise matters",
}
"""Outcomes of the causal test in words."""


def causal_text(table: pd.DataFrame) -> str:
    """The outcome, and how the noises stand to each other."""
    ratios = [
        f"{row.first} over {row.second} {estimate_text(Estimate(row.ratio, row.low, row.high))}, {p_text(row.holm)}"
        for row in table.itertuples()
    ]
    return f"{CAUSAL[causal_outcome(table)]} (ratios of errors: {'; '.join(ratios)})"
