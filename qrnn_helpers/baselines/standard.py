"""The kinds of model that `compare` knows, with as many settings each to choose from."""

from __future__ import annotations

import math
from functools import partial

from qiskit import QuantumCircuit

from ..checks import check_count, check_instance, shown
from ..circuits import check_step, without_entanglers
from ..models import GRU, RNN
from ..tasks import Task
from .comparison import Baseline, grid
from .networks import circuit, recurrent, untrained
from .regression import linear, nvar, persistence
from .reservoir import echo_state

CONFIGURATIONS = 8
"""Settings that are tried for each kind of model (one where there is nothing to choose)."""

RATES = (0.003, 0.01, 0.03, 0.1)

MOST_LAGGED = 90
"""Lagged inputs whose products a nonlinear autoregression takes: some four thousand features."""

RESERVOIRS = (
    *grid(gain=(0.1, 0.4), radius=(0.1, 0.5, 0.9), penalty=(1e-8,)),
    {"gain": 0.1, "radius": 0.1, "penalty": 1e-10},
    {"gain": 1.0, "radius": 0.9, "penalty": 1e-10},
)
"""Echo-state networks: weak or strong input, short or long memory; a small penalty at two of the corners."""


def standard_baselines(
    step: QuantumCircuit, *, units: int = 300, hidden: tuple[int, int] = (6, 12), updates: int = 400
) -> list[Baseline]:
    """All kinds of model, the simplest first, with `CONFIGURATIONS` settings each.

    ``step`` is the circuit; ``units`` the size of the echo-state network; ``hidden`` two sizes of the
    recurrent networks to choose from; ``updates`` the training of every network, circuits among them.
    """
    check_step(step)
    units = check_count("units", units)
    updates = check_count("updates", updates)
    if len(check_instance("hidden", hidden, (tuple, list), "two integers")) != 2:
        raise ValueError(f"hidden must be two integers; got {shown(hidden)}")
    sizes = [check_count("hidden", size) for size in hidden]
    trained = grid(hidden=sizes, rate=RATES, updates=[updates])
    paths = grid(skip=[False, True], rate=RATES, updates=[updates])
    drawn = grid(gain=[0.5, 1.0, 2.0, 4.0], penalty=[1e-8, 1e-4])
    reservoirs = [{"leak": 1.0, "units": units} | setting for setting in RESERVOIRS]
    separable = without_entanglers(step)
    return [
        Baseline("persistence", persistence, lambda task: [{}], chance=False),
        Baseline("linear, lags", linear, _lags, chance=False),
        Baseline("quadratic autoregression", nvar, partial(_lags, most=MOST_LAGGED), chance=False),
        Baseline("echo-state network", echo_state, lambda task: reservoirs),
        Baseline("RNN", partial(recurrent, kind=RNN), lambda task: trained),
        Baseline("GRU", partial(recurrent, kind=GRU), lambda task: trained),
        Baseline("untrained circuit, ridge readout", partial(untrained, step=step), lambda task: drawn),
        Baseline("circuit without entanglers", partial(circuit, step=separable), lambda task: paths),
        Baseline("circuit", partial(circuit, step=step), lambda task: paths),
    ]


def _lags(task: Task, most: int | None = None) -> list[dict]:
    """Lags from one up to all that every scored step has seen, with penalties to make `CONFIGURATIONS`.

    Three numbers of lags with three penalties each would be one too many: a single lag goes without the smallest.
    """
    longest = task.lags
    if most is not None:
        inputs = task.train[0].shape[2]
        longest = max(1, min(longest, most // inputs))
    lags = sorted({1, math.isqrt(longest - 1) + 1, longest})
    count = -(-CONFIGURATIONS // len(lags))
    penalties = [10.0 ** (-10 + 8 * k / (count - 1)) for k in range(count)]
    return grid(lags=lags, penalty=penalties)[-CONFIGURATIONS:]
