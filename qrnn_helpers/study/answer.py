"""The answer (chapter 18): tables and sentences from the opened runs of the study.

Nothing is typed that a record could contradict: with other records the sentences change.  ``runs`` is what
`opened.results` gives, a row a run; errors are test NRMSE, and budgets go by the plan's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from ..backends import charge, machines
from ..checks import check_one_of, listed
from ..circuits import open_controlled, unroll
from . import opened
from .arms import ARMS, MAIN, STEPS, Problem
from .jobs import Job
from .plan import BUDGETS, COPRIMARY, CORE, FIXED_SHOTS, LEVELS, STAGES, Tuning, at_edge, level_of
from .statistics import ALPHA, Estimate, Verdict, against, cost_intervals, log_errors, ranking, verdict

READ = ("A", "B", "F")
"""Stages whose test windows are opened, and read here."""

MEASURED = tuple(name for name in BUDGETS if any(name in STAGES[stage] for stage in READ))

RUNGS = {name: float(BUDGETS[name].shots or 0) for name in MEASURED if BUDGETS[name].shots}
"""Shots of the budgets that make the ladder."""

CIRCUITS = "4e5 circuits"

FIRST = tuple(name for name in COPRIMARY if name in MEASURED)
"""Measured budgets at which arms are compared first."""

NAMES = {
    "shift": "the parameter-shift rule",
    "spsa": "SPSA with fresh directions",
    "causal": "causal SPSA",
    "weights": "SPSA in weight space",
    "coordinates": "random coordinates by importance",
}
"""Of the core arms in sentences."""

STATES = {"separated": "ahead of", "equivalent": "equal within 10 % to", "undecided": "not told apart from"}

PRICED = ["price_job", "price_circuit", "price_shot", "price_second", "price_one_qubit_gate"]


def results() -> pd.DataFrame:
    """What was opened of every stage that is read (`opened.results`)."""
    return pd.concat([opened.results(stage) for stage in READ], ignore_index=True)


def tunings() -> list[Tuning]:
    """The trials that led to the settings at the measured budgets, those that were carried on among them."""
    levels = {level_of(name) for name in MEASURED}
    levels |= {below for level in levels if (below := LEVELS[level].below)}
    return [Tuning(arm, level) for level in LEVELS if level in levels for arm in CORE]


# --- frames -------------------------------------------------------------------------------


def errors_at(runs: pd.DataFrame, budget: str, column: str = "exact", arms: Sequence[str] = CORE) -> pd.DataFrame:
    """Errors at a budget, a row a seed, a column an arm; read ``exact`` or as ``read`` with an arm's own shots."""
    rows = runs[(runs["budget"] == budget) & runs["arm"].isin(arms)]
    return rows.pivot(index="seed", columns="arm", values=column)[list(arms)]


def ladder(runs: pd.DataFrame, arm: str, column: str = "exact") -> pd.DataFrame:
    """Errors of an arm, a row a seed, a column a budget in shots."""
    return pd.DataFrame({shots: errors_at(runs, name, column, [arm])[arm] for name, shots in RUNGS.items()})


def geometric_mean(errors: pd.Series) -> Estimate:
    """Geometric mean over seeds with its t interval; every error is capped as `statistics.log_errors` says."""
    logs = log_errors(errors.to_frame()).iloc[:, 0]
    half = stats.t.ppf(1 - ALPHA / 2, len(logs) - 1) * logs.sem()
    value, low, high = np.exp(logs.mean() + half * np.array([0, -1, 1])).tolist()
    return Estimate(value, low, high)


def verdict_of(errors: pd.DataFrame, generator: np.random.Generator) -> Verdict:
    """`statistics.verdict` of one frame of errors."""
    rows = errors.rename_axis("seed").reset_index().melt("seed", var_name="arm", value_name="error")
    return verdict(rows.assign(budget=0.0), 0.0, generator)


def comparison(runs: pd.DataFrame, budget: str, generator: np.random.Generator) -> pd.DataFrame:
    """The arms at a budget, the best first: errors, and how each stands against the best."""
    errors, read = errors_at(runs, budget), errors_at(runs, budget, "read")
    winner, *others = ranking(errors)
    rivals = against(errors, winner, generator).loc[others]
    table = pd.DataFrame(index=pd.Index([winner, *others], name="arm"))
    table["error"] = [estimate_text(geometric_mean(errors[arm])) for arm in table.index]
    table["read with its shots"] = [estimate_text(geometric_mean(read[arm])) for arm in table.index]
    ratios = [Estimate(1 / row.ratio, 1 / row.high, 1 / row.low) for row in rivals.itertuples()]
    shares = [Estimate(row.share, row.share_low, row.share_high) for row in rivals.itertuples()]
    table["times the best"] = ["1", *map(estimate_text, ratios)]
    table["p (Holm)"] = ["", *map(_bare_p, rivals["holm"])]
    table["seeds on which the best wins"] = ["", *map(share_text, shares)]
    table["equal within 10 %"] = ["", *("yes" if p <= ALPHA else "not shown" for p in rivals["holm_equivalent"])]
    return table.rename(index=ARMS)


def against_shift(runs: pd.DataFrame, budget: str, generator: np.random.Generator) -> pd.DataFrame:
    """Each arm's error over the shift rule's at a budget, with its Holm-adjusted p."""
    found = against(errors_at(runs, budget), "shift", generator)
    ratios = [Estimate(1 / row.ratio, 1 / row.high, 1 / row.low) for row in found.itertuples()]
    columns = {"times the shift rule": map(estimate_text, ratios), "p (Holm)": found["holm"].map(_bare_p)}
    return pd.DataFrame(columns, index=found.index).rename(index=ARMS)


def wins(runs: pd.DataFrame) -> pd.DataFrame:
    """Share of the seeds on which each arm is the best, a row a budget."""
    best = {name: errors_at(runs, name).idxmin(axis=1).value_counts(normalize=True) for name in MEASURED}
    return pd.DataFrame(best).T.reindex(columns=list(CORE)).fillna(0.0)


def target_costs(runs: pd.DataFrame, targets: Iterable[float]) -> pd.DataFrame:
    """Shots by which each arm (row) has reached each target on each seed (column): a rung of the ladder, or none."""
    parts = {arm: [cost_intervals(ladder(runs, arm), target)[:, 1] for target in targets] for arm in CORE}
    return pd.DataFrame({arm: np.concatenate(costs) for arm, costs in parts.items()}).T


# --- tuning -------------------------------------------------------------------------------


def setting_text(tuning: Tuning) -> dict[str, str]:
    """A chosen setting as a table shows it, a star at what stands at an edge of its range."""
    setting, edges = tuning.chosen, at_edge(tuning.chosen, tuning.level)
    names = ["rate", "batch", "shots", *(["size"] if setting.arm != "shift" else [])]
    names += ["c"] if setting.c else []
    text = {name: f"{getattr(setting, name):g}{'*' * (name in edges)}" for name in names}
    return text | {"beta": f"{setting.beta:g}"}


def tuning_row(tuning: Tuning) -> dict[str, object]:
    """What was chosen, its validation error, and what the trials took, all that was thrown away among it."""
    jobs = [opened.clean(job) for job in tuning.jobs]
    table = tuning.table()
    head = {"level": tuning.level, "arm": ARMS[tuning.arm], **setting_text(tuning)}
    return {**head, "validation": table[0][0], "trials": len(table), **spent(jobs)}


def spent(jobs: Iterable[Job]) -> dict[str, float]:
    """Circuits and shots of a device, and core-hours here, of trials on all their seeds."""
    circuits, shots, hours = 0.0, 0.0, 0.0
    for job in jobs:
        seeds = len(job.settings["seeds"])
        found = job.result.get("trials", [job.result])
        circuits += seeds * sum(trial["circuits"] for trial in found)
        shots += seeds * sum(trial["shots"] for trial in found)
        hours += job.record["apart"]["core_seconds"] / 3600
    return {"circuits": circuits, "shots spent": shots, "core-hours": hours}


# --- machines -----------------------------------------------------------------------------


@cache
def gates(problem: Problem = MAIN) -> tuple[int, int, int]:
    """One-qubit gates, two-qubit gates, and measurements and resets of a window's circuit, as a device runs it."""
    circuit = unroll(open_controlled(STEPS[problem.circuit](problem.memory, problem.readout)), problem.steps)
    names = [(instruction.operation.name, len(instruction.qubits)) for instruction in circuit.data]
    readings = sum(name in ("measure", "reset") for name, _ in names)
    two = sum(qubits == 2 for _, qubits in names)
    return len(names) - readings - two, two, readings


def priced_alike() -> dict[str, list[str]]:
    """Machines by the first of those that charge alike."""
    alike: dict[tuple, list[str]] = {}
    for name, row in machines().iterrows():
        alike.setdefault((row["vendor"], *row[PRICED], row["repetition_delay"]), []).append(str(name))
    return {names[0]: names for names in alike.values()}


def bills(runs: pd.DataFrame, machine: str) -> pd.DataFrame:
    """Money and seconds of one run of every arm and budget on a machine; an update is one job, more if it must be."""
    cells = runs[runs["arm"].isin(CORE)].groupby(["arm", "budget"])
    return billed(cells[["updates", "circuits", "shots", "shots_each", "size"]].first(), machine)


def billed(table: pd.DataFrame, machine: str, problem: Problem = MAIN) -> pd.DataFrame:
    """A table of runs with their money and seconds; a circuit is as long as it has steps, 50 microseconds for eight."""
    most = machines().loc[machine, "executions_a_job"]
    jobs = table["updates"] * np.fmax(np.ceil(table["shots"] / table["updates"] / most), 1)
    length = 50e-6 * problem.steps / MAIN.steps
    charged = charge(machine, table["circuits"], table["shots"], jobs, gates=gates(problem), length=length)
    return table.assign(money=charged["money"], seconds=charged["seconds"])


def front(runs: pd.DataFrame, priced: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Rungs of an arm's ladder in order of what they cost, without those that another undercuts at a smaller error."""
    rungs = priced.loc[arm].loc[list(RUNGS)]
    means = [geometric_mean(errors_at(runs, name, arms=[arm])[arm]).value for name in rungs.index]
    rungs = rungs.assign(error=means).sort_values("money", kind="stable")
    return rungs[rungs["error"] < rungs["error"].cummin().shift(fill_value=np.inf)]


def bought(runs: pd.DataFrame, rungs: pd.DataFrame, arm: str, money: float) -> pd.Series | None:
    """Errors of the seeds of an arm for so much money, interpolated between rungs in logarithms.

    None for less than the first rung costs; for more than the last one costs its errors, which are then a bound.
    """
    prices = np.log(rungs["money"].to_numpy())
    if np.log(money) < prices[0]:
        return None
    logs = pd.DataFrame({name: log_errors(errors_at(runs, str(name), arms=[arm]))[arm] for name in rungs.index})
    weights = [np.interp(np.log(money), prices, unit) for unit in np.eye(len(prices))]
    return np.exp(logs @ weights)


def round_sums(least: float, most: float) -> list[float]:
    """Powers of ten from ``least`` to ``most``."""
    return [10.0**k for k in range(int(np.ceil(np.log10(least))), int(np.floor(np.log10(most))) + 1)]


def decisions(runs: pd.DataFrame, machine: str, generator: np.random.Generator) -> pd.DataFrame:
    """What to do on a machine for round sums of money, and at the budget in circuits if it is measured.

    Arms are ranked at equal money, each by interpolation of its own ladder.  One whose first rung costs more is not
    measured; one whose last rung costs less keeps the error of that, more money could only help it.
    """
    priced = bills(runs, machine)
    fronts = {arm: front(runs, priced, arm) for arm in CORE}
    ends = [(rungs["money"].min(), rungs["money"].max()) for rungs in fronts.values()]
    sums = round_sums(min(low for low, _ in ends), max(high for _, high in ends))
    rows = [_decision(runs, fronts, money, generator) for money in sums]
    if CIRCUITS in MEASURED:
        rows.append(_at_circuits(runs, priced, generator))
    return pd.DataFrame([{"machine": machine} | row for row in rows])


def _decision(
    runs: pd.DataFrame, fronts: dict[str, pd.DataFrame], money: float, generator: np.random.Generator
) -> dict:
    """A row of `decisions` for a sum of money."""
    found = {arm: bought(runs, rungs, arm, money) for arm, rungs in fronts.items()}
    errors = pd.DataFrame({arm: values for arm, values in found.items() if values is not None})
    ended = {arm for arm, rungs in fronts.items() if rungs["money"].iloc[-1] < money}
    row = {"USD": count_text(money), "money": money, "not measured": _names(set(CORE) - set(errors))}
    row |= {"ladder ends below": _names(ended)}
    if errors.empty:
        return row | {"method": "not measured"}
    winner = ranking(errors)[0]
    rungs = fronts[winner]
    below = rungs[rungs["money"] <= money * (1 + 1e-9)].iloc[-1]
    logs = np.log(rungs[["money", "seconds", "shots"]].to_numpy()).T
    between = {name: np.exp(np.interp(np.log(money), logs[0], logs[k])) for k, name in ((1, "seconds"), (2, "shots"))}
    advice = _advice(errors, winner, below.to_dict() | between, generator)
    if winner in ended:
        advice["expected error"] = f"at most {advice['expected error']}"
    return row | advice


def _at_circuits(runs: pd.DataFrame, priced: pd.DataFrame, generator: np.random.Generator) -> dict:
    """A row of `decisions` at the budget in circuits, the same circuits and shots for every arm."""
    errors = errors_at(runs, CIRCUITS)
    winner = ranking(errors)[0]
    setting = priced.loc[(winner, CIRCUITS)].to_dict()
    row = {"USD": count_text(setting["money"]), "money": setting["money"], "not measured": "", "ladder ends below": ""}
    return row | _advice(errors, winner, setting, generator)


def _advice(errors: pd.DataFrame, winner: str, setting: dict[str, float], generator: np.random.Generator) -> dict:
    """Method, setting, expected error and certainty."""
    seconds = setting["seconds"]
    return {
        "method": winner,
        "shots": count_text(setting["shots"]),
        "shots a circuit": f"{setting['shots_each']:,.0f}",
        "directions": "all angles" if winner == "shift" else f"{setting['size']:.0f}",
        "expected error": estimate_text(geometric_mean(errors[winner])),
        "hours": "?" if np.isnan(seconds) else f"{seconds / 3600:.2g}",
        "beside the next": certainty_text(verdict_of(errors, generator)) if len(errors.columns) > 1 else "no rival",
    }


# --- words --------------------------------------------------------------------------------


def _names(arms: Iterable[str]) -> str:
    """Short names of arms in the order of the tables."""
    return ", ".join(sorted(arms, key=list(ARMS).index))


def estimate_text(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def share_text(share: Estimate) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def count_text(count: float) -> str:
    """A large number with two digits, in words from a million on."""
    rounded = float(f"{count:.2g}")
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if rounded >= size:
            return f"{rounded / size:g} {word}"
    return f"{rounded:,.0f}"


def budget_text(name: str) -> str:
    """A budget of the plan in words."""
    budget = BUDGETS[name]
    if budget.shots is not None:
        return f"{count_text(budget.shots)} shots"
    return f"{budget.circuits:,} circuits of {FIXED_SHOTS:,} shots"


def sum_text(money: float) -> str:
    return f"{count_text(money)} USD"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _bare_p(p: float) -> str:
    """`p_text` in a column that says p."""
    return p_text(p).removeprefix("p ").removeprefix("= ")


def verdict_text(found: Verdict) -> str:
    """A verdict as a clause that names the winner, the runner-up and the certainty."""
    winner, other = NAMES[found.winner], NAMES[found.runner_up]
    ratio = estimate_text(Estimate(found.ratio, found.low, found.high))
    sure = f"{p_text(found.p)} after Holm, {found.seeds} paired seeds"
    tied = listed([NAMES[arm] for arm in found.tied])
    if found.state == "equivalent":
        others = listed([NAMES[arm] for arm in found.tied if arm != found.runner_up])
        rest = f", and {winner} is not told apart from {others} either" if others else ""
        return f"{winner} and {other} have equal errors within 10 %, their ratio {ratio} ({sure}){rest}"
    if found.state == "undecided":
        first = f"no winner is proven: the smallest mean error, that of {winner}, is {ratio} times that of {other}"
        return f"{first}, and not told apart from {tied} ({sure})"
    rest = f", but not told apart from {tied}" if tied else ""
    return f"the smallest error is that of {winner}, {ratio} times that of the runner-up, {other} ({sure}){rest}"


def beside_shift_text(errors: pd.DataFrame, generator: np.random.Generator) -> str:
    """How many arms beat the shift rule, and which lose to it, adjusted by Holm."""
    table = against(errors, "shift", generator)
    sure = table["holm"] <= ALPHA
    text = f"{int((sure & (table['ratio'] > 1)).sum())} of {len(table)} methods beat {NAMES['shift']}"
    worse = [NAMES[arm] for arm in table.index[sure & (table["ratio"] < 1)]]
    return f"{text}, which beats {listed(worse)}" if worse else text


def waiting_text() -> str:
    """Co-primary budgets that are not measured yet."""
    return listed([budget_text(name) for name in COPRIMARY if name not in MEASURED]) or "none"


def short_text(name: str, errors: pd.DataFrame, generator: np.random.Generator) -> str:
    """Who is first at a budget, how far, and whether the test tells."""
    found = verdict_of(errors, generator)
    error = estimate_text(geometric_mean(errors[found.winner]))
    return f"for {budget_text(name)} {NAMES[found.winner]}, {error}, {STATES[found.state]} {NAMES[found.runner_up]}"


def certainty_text(found: Verdict) -> str:
    """A verdict in a cell of a table."""
    return f"{STATES[found.state]} {found.runner_up}, {found.ratio:.2f}, {p_text(found.p)}"


def stability_text(kept: pd.DataFrame, winner: str) -> str:
    """What leaving out any one seed does to a verdict (`statistics.leave_one_out`)."""
    seeds, same = len(kept), int((kept["winner"] == winner).sum())
    turned = [NAMES[arm] for arm in kept.columns[1:] if not kept[arm].all()]
    left = f"without one seed, the smallest error is still that of {NAMES[winner]} in {same} of {seeds} cases"
    if not turned:
        return f"{left}, and every comparison keeps its sign and its significance"
    return f"{left}; the comparison with {listed(turned)} hangs on single seeds"


def cost_text(cost: Estimate, unit: str = "shots") -> str:
    """A median cost to a target, or on which side of the ladder it lies."""
    least, most = min(RUNGS.values()), max(RUNGS.values())
    if cost.value == 0:
        return f"reached by {count_text(least)} {unit}"
    if np.isinf(cost.value):
        return f"not reached by {count_text(most)} {unit}"
    return f"{count_text(cost.value)} ({_span(cost)})"


def _span(cost: Estimate) -> str:
    """An interval of costs, open where the ladder ends."""
    low = "less" if cost.low == 0 else count_text(cost.low)
    return f"{low} to {'more' if np.isinf(cost.high) else count_text(cost.high)}"


def ratio_text(ratio: Estimate) -> str:
    """A ratio of costs; of one that leaves the ladder, the bound that is known."""
    if np.isfinite(ratio.value) and ratio.value > 0 and np.isfinite(ratio.high):
        return f"{ratio.value:.2g} ({ratio.low:.2g} to {ratio.high:.2g})"
    if ratio.low == 0 and np.isinf(ratio.high):
        return "not known"
    return f"below {ratio.high:.2g}" if np.isfinite(ratio.high) else f"above {ratio.low:.2g}"


def crossing_text(first: str, second: str, found: Estimate | None, leader: str) -> str:
    """From which budget on who leads (`statistics.crossing`)."""
    check_one_of("leader", leader, (first, second))
    other = second if leader == first else first
    if found is None:
        return f"{NAMES[leader]} ahead of {NAMES[other]} at every budget"
    return f"{NAMES[leader]} ahead of {NAMES[other]} from {count_text(found.value)} shots on ({_span(found)})"


def pays_text(best: Estimate, others: dict[str, float]) -> str:
    """Where the best quantum network stands beside models that need no circuit."""
    places = {"loses to": (0.0, best.low), "is level with": (best.low, best.high), "beats": (best.high, np.inf)}
    parts = []
    for words, (low, high) in places.items():
        names = [f"{name} ({error:.2f})" for name, error in others.items() if low <= error < high]
        parts += [f"{words} {listed(names)}"] if names else []
    return ", and ".join(parts)


def machines_text(table: pd.DataFrame) -> str:
    """How often each method is named in a decision table, and how often it is told apart."""
    measured = table[table["method"] != "not measured"]
    counts = measured["method"].value_counts()
    sure = int(measured["beside the next"].str.startswith("ahead of").sum())
    named = listed([f"{NAMES[arm]} in {count}" for arm, count in counts.items()])
    pairs = f"of {len(measured)} pairs of machine and budget the table names {named}"
    return f"{pairs}, told apart from the runner-up in {sure}"
