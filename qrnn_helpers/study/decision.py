"""The decision page (chapter 27): what each method is expected to reach for a budget on a machine.

The page computes from `page_data` by itself; `offers` is the same computation here.  A **rung** is a training at a
budget of the plan, by an arm's chosen setting, on all seeds.  Every stage that is opened is read.

1. A front holds an arm's rungs in order of cost (money, seconds or shots), without those that a cheaper one undercuts.
2. Between two rungs of the ladder of budgets in shots each seed's log error, and the log of all that is spent, is
   interpolated linearly in log cost.  Below the first rung nothing is known; beyond the last its error is a bound.
3. A rung off the ladder (a budget in circuits) is never interpolated: it bounds the error from its own cost on.
4. Error: geometric mean over seeds with its t interval; ratio to the best: the same of paired ratios, not adjusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..backends import machines
from ..checks import check_one_of
from . import answer, opened
from . import tasks as contest
from .arms import ARMS, MAIN, STEPS, Problem
from .jobs import Job
from .plan import BUDGETS, FOLDER, REPLICATIONS, SCALING, STAGES
from .statistics import ALPHA, CAP

AXES = ("money", "seconds", "shots")
"""What a budget may be counted in."""

SETTING = ["rate", "batch", "shots_each", "size", "c", "beta"]

SPENT = ["updates", "circuits", "shots"]

PROBLEMS = {"": MAIN} | SCALING | REPLICATIONS

VARIANTS = {
    "1-D patch forecast": MAIN,
    "2-D patch forecast": REPLICATIONS["patch-2d"],
    "z of Lorenz from x": REPLICATIONS["lorenz"],
    "1-D patch, two-way step circuit": REPLICATIONS["two-way"],
    "1-D patch, SGD with momentum": REPLICATIONS["momentum"],
}
"""What is learnt, on which step circuit and by which optimiser; qubits and steps aside."""

QUBITS = range(2, 13, 2)

WITHOUT_CIRCUIT = {
    "quadratic regression": "quadratic",
    "GRU": "gru",
    "linear regression": "linear",
    "persistence": "persistence",
}

SAME = 1 + 1e-9
"""An amount that is a rung's own cost, up to rounding."""


def stages() -> list[str]:
    """Stages whose test windows are opened."""
    return [stage for stage in STAGES if Job(FOLDER, f"test-{stage}", opened.open_test, {"stage": stage}).done]


def results() -> pd.DataFrame:
    """What was opened of every stage so far."""
    return pd.concat([opened.results(stage) for stage in stages()], ignore_index=True)


def rungs(runs: pd.DataFrame) -> pd.DataFrame:
    """Trainings at budgets in shots or circuits, a row each: setting, what was spent, ``logs`` of the seeds' errors."""
    runs = runs[runs["budget"].isin(list(BUDGETS))].sort_values("seed", kind="stable")
    runs = runs.assign(logs=np.log(np.minimum(runs["exact"], CAP)))
    cells = runs.groupby(["problem", "arm", "budget"], sort=False)
    table = cells[[*SETTING, *SPENT]].first().join(cells["logs"].agg(np.array)).reset_index()
    return table.assign(ladder=[BUDGETS[name].shots is not None for name in table["budget"]])


def priced(table: pd.DataFrame, machine: str) -> pd.DataFrame:
    """Rungs with their money and seconds on a machine."""
    parts = [answer.billed(part, machine, PROBLEMS[str(name)]) for name, part in table.groupby("problem", sort=False)]
    return pd.concat(parts)


def front(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """An arm's rungs in order of cost, without those that a cheaper one undercuts."""
    ranked = table.sort_values(axis, kind="stable")
    means = ranked["logs"].map(np.mean)
    return ranked[means < means.cummin().shift(fill_value=np.inf)]


def bought(rungs_: pd.DataFrame, axis: str, amount: float) -> dict[str, Any] | None:
    """What an amount buys on a front: logs of the seeds' errors, what is spent, and whether the front ends below."""
    if rungs_.empty or amount * SAME < rungs_[axis].iloc[0]:
        return None
    places = np.log(rungs_[axis].to_numpy())
    weights = np.array([np.interp(np.log(amount), places, unit) for unit in np.eye(len(places))])
    spent = {name: float(np.exp(weights @ np.log(rungs_[name]))) for name in (*SPENT, "money", "seconds")}
    below = rungs_[rungs_[axis] <= amount * SAME].iloc[-1]
    logs = weights @ np.stack(rungs_["logs"].to_list())
    return below.to_dict() | spent | {"logs": logs, "ended": bool(amount > rungs_[axis].iloc[-1] * SAME)}


def offer(own: pd.DataFrame, axis: str, amount: float, shots: int = 0) -> dict[str, Any] | None:
    """The best of an arm for an amount; with ``shots``, from its trainings with so many shots a circuit alone."""
    if shots:
        return bought(front(own[own["shots_each"] == shots], axis), axis, amount)
    alone = own[~own["ladder"]]
    fronts = [front(own[own["ladder"]], axis), *(alone.iloc[[k]] for k in range(len(alone)))]
    found = [its for rungs_ in fronts if (its := bought(rungs_, axis, amount)) is not None]
    return min(found, key=lambda its: its["logs"].mean()) if found else None


def offers(table: pd.DataFrame, axis: str, amount: float, shots: int = 0) -> pd.DataFrame:
    """The arms for an amount, the best first, as the page shows them; ``table`` holds a problem's priced rungs.

    Of each its error and its ratio to the best with their intervals, what it spends, and the setting of the rung
    below.  An arm with no rung that cheap is not in the table."""
    check_one_of("axis", axis, AXES)
    table = table[table[axis].notna()]
    found = {arm: offer(table[table["arm"] == arm], axis, amount, shots) for arm in ARMS}
    rows = [its for its in found.values() if its is not None]
    rows = sorted(rows, key=lambda its: its["logs"].mean())
    for row in rows:
        row["error"] = estimate_text(row["logs"])
        row["times"] = estimate_text(row["logs"] - rows[0]["logs"])
    return pd.DataFrame(rows)


def estimate_text(logs: np.ndarray) -> str:
    """A geometric mean and its t interval, from logarithms."""
    half = quantile(len(logs)) * logs.std(ddof=1) / np.sqrt(len(logs))
    value, low, high = np.exp(logs.mean() + half * np.array([0, -1, 1])).tolist()
    return answer.estimate_text(answer.Estimate(value, low, high))


def quantile(seeds: int) -> float:
    """Half of a 95 % interval of a mean over so many seeds, in standard errors."""
    return float(stats.t.ppf(1 - ALPHA / 2, seeds - 1))


# --- a page's data ------------------------------------------------------------------------


def page_data(runs: pd.DataFrame) -> dict[str, Any]:
    """All that the page computes from, as JSON holds it."""
    table = rungs(runs)
    bills = [priced(table, machine) for machine in answer.priced_alike()]
    problems = {its: problem_data(its, [bill[bill["problem"] == its] for bill in bills]) for its in seen(table)}
    return {
        "names": {arm: name(arm) for arm in ARMS if arm in set(table["arm"])},
        "machines": [machine_data(names) for names in answer.priced_alike().values()],
        "shots": sorted({int(shots) for shots in table["shots_each"]}),
        "variants": {label: variant_data(like, problems) for label, like in VARIANTS.items()},
        "first": next(iter(VARIANTS)),
    }


def name(arm: str) -> str:
    """Of an arm, in a sentence or alone."""
    return answer.NAMES.get(arm, ARMS[arm]).removeprefix("the ")


def seen(table: pd.DataFrame) -> list[str]:
    """Names of the problems of a table, in the plan's order."""
    return [its for its in PROBLEMS if its in set(table["problem"])]


def variant_data(like: Problem, problems: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Measured problems of a variant, and the angles of a step by qubits."""
    kind = (like.task, like.circuit, like.optimizer)
    of_kind = [name for name, its in PROBLEMS.items() if (its.task, its.circuit, its.optimizer) == kind]
    each = {count: STEPS[like.circuit](count // 2, count // 2).num_parameters for count in QUBITS}
    return {"angles": each, "problems": [problems[name] for name in of_kind if name in problems]}


def problem_data(name: str, bills: list[pd.DataFrame]) -> dict[str, Any]:
    """A problem's rungs with their bills on every machine."""
    problem = PROBLEMS[name]
    seeds = len(bills[0]["logs"].iloc[0])
    return {
        "qubits": problem.memory + problem.readout,
        "steps": problem.steps,
        "quantile": quantile(seeds),
        "note": note(name, seeds),
        "others": without_circuit() if problem == MAIN else {},
        "rungs": [rung_data(bills, k) for k in range(len(bills[0]))],
    }


def note(name: str, seeds: int) -> str:
    """How a problem's settings were chosen, and on how many seeds it was trained."""
    chosen = "settings tuned for this problem" if name == "" else "settings of the main problem, unchanged"
    if name in SCALING or PROBLEMS[name].optimizer != MAIN.optimizer:
        chosen = "settings of the main problem, the rate alone tuned anew"
    return f"{seeds} seeds; {chosen}."


def rung_data(bills: list[pd.DataFrame], k: int) -> dict[str, Any]:
    """A training as the page has it."""
    row = bills[0].iloc[k]
    own = {key: _number(row[key]) for key in (*SETTING, *SPENT)}
    costs = {axis: [_number(bill[axis].iloc[k]) for bill in bills] for axis in ("money", "seconds")}
    name = answer.budget_text(row["budget"])
    errors = [_number(error, 8) for error in np.exp(row["logs"])]
    return {"arm": row["arm"], "name": name, "ladder": bool(row["ladder"]), "errors": errors} | own | costs


def _number(value: float, digits: int = 12) -> float | int | None:
    """None for what is not known."""
    rounded = float(f"{value:.{digits}g}")
    if np.isnan(rounded):
        return None
    return int(rounded) if rounded.is_integer() else rounded


def machine_data(names: Sequence[str]) -> dict[str, Any]:
    """Machines that charge alike: what they are called, where their prices come from, whether their times are known."""
    row = machines().loc[names[0]]
    date = row["date"] if isinstance(row["date"], str) else "a date that is not known"
    text = f"Prices of {date} ({row['source']}). Devices: {', '.join(names)}."
    return {"label": label(names), "text": text, "timed": bool(np.isfinite(row["repetition_delay"]))}


def label(names: Sequence[str]) -> str:
    """Vendor, device and where it is sold."""
    row = machines().loc[names[0]]
    device = row["device"] if isinstance(row["device"], str) else ""
    seller = {"braket": " (Amazon Braket)", "azure": " (Azure)"}.get(names[0].split("_")[0], "")
    devices = f", {len(names)} devices" if len(names) > 1 else f" {device}".rstrip()
    return f"{row['vendor']}{devices}{seller}"


def without_circuit() -> dict[str, float]:
    """Test errors of models that need no circuit, on the main problem's task (chapter 12)."""
    return {name: float(contest.result("patch-1d", kind)["test"]) for name, kind in WITHOUT_CIRCUIT.items()}


# --- a table for readers without JavaScript -----------------------------------------------


def sheet(runs: pd.DataFrame) -> pd.DataFrame:
    """The main problem's expected errors by method, for round sums on every machine and for the plan's rungs."""
    table = rungs(runs)
    table = table[table["problem"] == ""]
    rows = [row for names in answer.priced_alike().values() for row in machine_rows(priced(table, names[0]), names)]
    return pd.DataFrame(rows).set_index(["machine", "budget"])


def machine_rows(table: pd.DataFrame, names: Sequence[str]) -> list[dict[str, str]]:
    """A row for each round sum between the cheapest and the dearest training on a machine, and one for the latter."""
    most = math.ceil(table["money"].max())
    sums = {answer.sum_text(money): money for money in answer.round_sums(float(table["money"].min()), most)}
    sums[f"{most:,} USD"] = most
    return [{"machine": label(names), "budget": text} | sheet_row(table, money) for text, money in sums.items()]


def sheet_row(table: pd.DataFrame, money: float) -> dict[str, str]:
    """The best method for a sum of money, its shots a circuit and hours, and every method's error."""
    found = offers(table, "money", money).set_index("arm")
    texts = {arm: f"{'at most ' * row.ended}{row.error}" for arm, row in found.iterrows()}
    names = [arm for arm in ARMS if arm in set(table["arm"])]
    first = found.iloc[0]
    hours = "not known" if np.isnan(first["seconds"]) else f"{first['seconds'] / 3600:.2g}"
    best = {"best": str(first.name), "shots a circuit": f"{first['shots_each']:,.0f}", "hours": hours}
    return best | {arm: texts.get(arm, "not measured") for arm in names}
