"""Does the answer hold elsewhere?  Variants of the arms (stage C), replications (E, G), the scaling cross (D, H, I).

Rules, fixed before any of these test windows was opened.  A *replication* at 1e7 shots keeps the main problem's claim
about the shift rule where every arm that beats the rule there beats it here, and its claim about the winner where the
main winner is first here, or not told apart from the first; both by tests adjusted by Holm within the problem.  A
*variant* is compared with the arm that it varies; p is adjusted by Holm over all variants and budgets.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from . import opened, plan
from .answer import NAMES, errors_at, estimate_text, geometric_mean, listed, p_text, verdict_of
from .arms import ARMS
from .jobs import Job
from .plan import CORE, FOLDER, SECONDARY, STAGES
from .statistics import ALPHA, against, holm, paired, ranking

VARIED = {"orthogonal": "spsa", "decaying": "spsa", "guided": "spsa", "uniform": "coordinates"}
"""The core arm that each secondary arm varies."""

BUDGET = "1e7"
"""At which the replications are made."""

REPLICATED = {
    "patch-2d": "patch forecast in two dimensions",
    "lorenz": "Lorenz z, 20 steps",
    "two-way": "the two-way step circuit",
    "momentum": "SGD with momentum for Adam",
}
"""Names of the replications in tables."""


def is_opened(stage: str) -> bool:
    """Whether a stage's test windows were opened."""
    return Job(FOLDER, f"test-{stage}", opened.open_test, {"stage": stage}).done


def results(stages: Iterable[str]) -> pd.DataFrame:
    """Opened runs (`opened.results`) of those of the stages whose windows were opened."""
    found = [opened.results(stage) for stage in stages if is_opened(stage)]
    columns = ["problem", "arm", "budget", "seed", "exact", "read"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def of_problem(runs: pd.DataFrame, problem: str) -> pd.DataFrame:
    """Rows of one problem, by its name in the plan."""
    return runs[runs["problem"] == problem]


# --- variants -----------------------------------------------------------------------------


def variants(runs: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Each secondary arm over the arm it varies, a row a budget and arm; ``runs`` holds both on shared seeds."""
    budgets = [budget for budget in STAGES["C"] if (runs["budget"] == budget).any()]
    rows = []
    for budget in budgets:
        errors = errors_at(runs, budget, arms=[*CORE, *SECONDARY])
        for arm, parent in VARIED.items():
            found = paired(errors, arm, parent, generator)
            error = geometric_mean(errors[arm])
            row = {"budget": budget, "arm": arm, "varies": parent, "error": error, "ratio": found.estimate}
            rows.append(row | {"p": found.p, "p_equivalent": found.p_equivalent})
    table = pd.DataFrame(rows).set_index(["budget", "arm"])
    return table.assign(holm=holm(table["p"]), holm_equivalent=holm(table["p_equivalent"]))


def variants_table(found: pd.DataFrame) -> pd.DataFrame:
    """`variants` as a page shows it."""
    table = pd.DataFrame(index=found.index)
    table["varies"] = found["varies"].map(ARMS)
    table["error"] = found["error"].map(estimate_text)
    table["times that arm"] = found["ratio"].map(estimate_text)
    table["p (Holm)"] = [p_text(p).removeprefix("p ").removeprefix("= ") for p in found["holm"]]
    table["equal within 10 %"] = ["yes" if p <= ALPHA else "not shown" for p in found["holm_equivalent"]]
    return table.rename(index=ARMS, level="arm")


def variants_text(found: pd.DataFrame) -> str:
    """Which variants beat the arm that they vary, and which lose to it."""
    sure = found["holm"] <= ALPHA
    ratios = found["ratio"].map(lambda ratio: ratio.value)
    better = [_variant_text(*row) for row in found[sure & (ratios < 1)].index]
    worse = [_variant_text(*row) for row in found[sure & (ratios > 1)].index]
    first = f"better than the arm they vary: {listed(better)}" if better else "no variant beats the arm that it varies"
    return f"{first}; worse: {listed(worse)}" if worse else first


def _variant_text(budget: str, arm: str) -> str:
    return f"{ARMS[arm]} at {budget} shots"


# --- replications -------------------------------------------------------------------------


def replications(
    main: pd.DataFrame, runs: pd.DataFrame, names: Iterable[str], generator: np.random.Generator
) -> pd.DataFrame:
    """A row a problem: errors of the core arms, the verdict, and which of the main problem's claims it keeps."""
    claims = errors_at(main, BUDGET)
    winner, (beating, _) = ranking(claims)[0], _beside_shift(claims, generator)
    rows = {}
    for name in names:
        errors = errors_at(of_problem(runs, name), BUDGET)
        found = verdict_of(errors, generator)
        means = {arm: geometric_mean(errors[arm]) for arm in CORE}
        better, worse = _beside_shift(errors, generator)
        kept = {"keeps_shift": beating <= better, "keeps_winner": winner in (found.winner, *found.tied)}
        rows[name] = means | {"verdict": found, "better": better, "worse": worse} | kept
    return pd.DataFrame(rows).T


def _beside_shift(errors: pd.DataFrame, generator: np.random.Generator) -> tuple[set[str], set[str]]:
    """Arms with smaller errors than the shift rule, and with larger ones, told apart."""
    table = against(errors, "shift", generator)
    table = table[table["holm"] <= ALPHA]
    return set(table.index[table["ratio"] > 1]), set(table.index[table["ratio"] < 1])


def replications_table(found: pd.DataFrame) -> pd.DataFrame:
    """`replications` as a page shows it."""
    table = found[list(CORE)].map(estimate_text).rename(columns=ARMS)
    table["first"] = [ARMS[verdict.winner] for verdict in found["verdict"]]
    for column, title in {"keeps_shift": "shift rule loses as before", "keeps_winner": "winner as before"}.items():
        table[title] = ["yes" if kept else "no" for kept in found[column]]
    return table.rename(index=REPLICATED).T


def replications_text(found: pd.DataFrame) -> str:
    """How many replications keep each claim, and which do not."""
    if found.empty:
        return "no replication is measured yet"
    return "; ".join(
        [
            f"what is said of {NAMES['shift']} holds in {_kept(found['keeps_shift'])}",
            f"what is said of the winner in {_kept(found['keeps_winner'])}",
        ]
    )


def beating_text(found: pd.DataFrame) -> str:
    """In how many replications each arm beats the shift rule, and which lose to it: what its claim hangs on."""
    better, worse = (_counted(found[column]) for column in ("better", "worse"))
    ranked = sorted(better.items(), key=lambda pair: -pair[1])
    text = listed([f"{NAMES[arm]} in {count} of {len(found)}" for arm, count in ranked])
    beaten = [f"{NAMES[arm]} in {count}" for arm, count in worse.items() if count]
    return f"{text}, and beats {listed(beaten)}" if beaten else text


def _counted(arms: pd.Series) -> dict[str, int]:
    """In how many sets each arm is."""
    return {arm: sum(arm in those for those in arms) for arm in CORE if arm != "shift"}


def _kept(kept: pd.Series) -> str:
    lost = [REPLICATED.get(str(name), str(name)) for name in kept.index[~kept.astype(bool)]]
    but = f" (not: {listed(lost)})" if lost else ""
    return f"{int(kept.sum())} of {len(kept)} replications{but}"


# --- scaling ------------------------------------------------------------------------------


def scaling(main: pd.DataFrame, runs: pd.DataFrame, budget: str) -> pd.DataFrame:
    """Geometric mean errors of the core arms at a budget, a row a problem of the cross, the main one as ""."""
    every = pd.concat([main, runs], ignore_index=True)
    names = [name for name in ["", *plan.SCALING] if (every["problem"] == name).any()]
    frames = {name: errors_at(of_problem(every, name), budget) for name in names}
    rows = {name: {arm: geometric_mean(errors[arm]) for arm in CORE} for name, errors in frames.items()}
    return pd.DataFrame(rows).T


def over_shift(main: pd.DataFrame, runs: pd.DataFrame, budget: str, generator: np.random.Generator) -> pd.DataFrame:
    """Each arm's error over the shift rule's, with interval and p (Holm in the problem): a row a problem and arm."""
    every = pd.concat([main, runs], ignore_index=True)
    parts = []
    for name in every["problem"].unique():
        found = against(errors_at(of_problem(every, str(name)), budget), "shift", generator)
        ratios = {"value": 1 / found["ratio"], "low": 1 / found["high"], "high": 1 / found["low"]}
        parts.append(pd.DataFrame(ratios | {"p": found["holm"]}).assign(problem=name, arm=found.index))
    return pd.concat(parts).set_index(["problem", "arm"])
