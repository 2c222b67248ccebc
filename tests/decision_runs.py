"""Runs of a small made-up study, whose errors fall as a power of the shots."""

import math

import pandas as pd

from qrnn_helpers.study import answer, plan

SEEDS = range(12)

SLOPES = {"causal": 0.2, "spsa": 0.15, "weights": 0.1, "coordinates": 0.05, "shift": 0.01}


def runs() -> pd.DataFrame:
    """Every core arm at every budget that the answer reads: (shots/1e5)^-slope, a few per cent apart between seeds."""
    rows = [
        spent(budget) | {"arm": arm, "budget": budget, "seed": seed, "exact": error(arm, budget, seed)}
        for arm in plan.CORE
        for budget in answer.MEASURED
        for seed in SEEDS
    ]
    return pd.DataFrame(rows).assign(problem="")


def spent(budget: str) -> dict[str, float]:
    """Setting and what it spends; an update takes ten circuits."""
    its = plan.BUDGETS[budget]
    each = 16 if its.shots else plan.FIXED_SHOTS
    shots = float(its.shots or its.circuits * each)
    setting = {"rate": 0.02, "batch": 2, "shots_each": each, "size": 2, "c": 0.1, "beta": 0.0}
    return setting | {"updates": shots / each / 10, "circuits": shots / each, "shots": shots}


def error(arm: str, budget: str, seed: int) -> float:
    return (spent(budget)["shots"] / 1e5) ** -SLOPES[arm] * math.exp(0.03 * math.sin(seed + len(arm)))
