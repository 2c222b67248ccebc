"""Machines with dated price lists, and what circuits, shots and jobs cost on them."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import numpy as np
import pandas as pd

from ..checks import check_array, check_one_of, check_real

TEXT = ["vendor", "device", "currency", "date", "source"]


def machines() -> pd.DataFrame:
    """Named machines, a row each, with the date and source of each price; NaN or None is not known.

    Prices are a job, a circuit (task), a shot, a second, and a shot's one-qubit gate, two-qubit gate and
    reading (measurement or reset), and how far they may be off, as a part of them (``price_spread``).  Times are in
    seconds: ``repetition_delay`` is the default, what ends with ``_low`` and ``_high`` the bounds of a range.
    """
    text = files(__package__).joinpath("prices.json").read_text(encoding="utf-8")
    table = pd.DataFrame.from_dict(json.loads(text), orient="index")
    numbers = [name for name in table if name not in TEXT]
    return table.astype(dict.fromkeys(numbers, float)).rename_axis("machine")


def charge(
    machine: str,
    circuits: np.ndarray | float,
    shots: np.ndarray | float,
    jobs: np.ndarray | float = 1,
    *,
    gates: tuple[float, float, float] = (0, 0, 0),
    length: float = 50e-6,
    repetition_delay: float | None = None,
) -> dict[str, np.ndarray | float]:
    """What so many circuits, shots (of all circuits) and jobs cost: ``kappa, cost, seconds, money``; arrays broadcast.

    seconds = job_seconds jobs + (repetition_delay + length) shots; money is the sum of each price times its
    count; kappa = price of a circuit / price of a shot, and cost = shots + kappa circuits.
    ``gates``: one-qubit gates, two-qubit gates and readings of one circuit, for prices by the gate;
    ``length``: seconds that one circuit runs; ``repetition_delay``: seconds between two shots, the machine's own
    default if None.  Either may be NaN, not known.
    """
    table = machines()
    row = table.loc[check_one_of("machine", machine, tuple(table.index))]
    circuits, shots, jobs = map(_counted, ("circuits", "shots", "jobs"), (circuits, shots, jobs))
    counts = _counted("gates", gates)
    if counts.shape != (3,):
        raise ValueError(f"gates must be three numbers (one-qubit, two-qubit, readings); got shape {counts.shape}")
    delay = row.repetition_delay if repetition_delay is None else _duration("repetition_delay", repetition_delay)
    # Where nothing is paid by the second, times that are not known leave the money known.
    seconds = row.job_seconds * jobs + (delay + _duration("length", length)) * shots
    timed = row.price_second * seconds if row.price_second else 0.0
    by_gate = row.price_one_qubit_gate, row.price_two_qubit_gate, row.price_reading
    shot = row.price_shot + np.dot(by_gate, counts)
    money = row.price_job * jobs + row.price_circuit * circuits + shot * shots
    kappa = row.price_circuit / shot if shot else 0.0 if row.price_circuit == 0 else np.nan
    return {
        "kappa": kappa,
        "cost": shots + kappa * circuits,
        "seconds": seconds,
        "money": money + timed,
    }


def _counted(name: str, value: np.ndarray | float | tuple) -> np.ndarray:
    array = check_array(name, value)
    if (array < 0).any():
        raise ValueError(f"{name} must be at least 0; got {array.min():g}")
    return array


def _duration(name: str, value: float) -> float:
    """A number of seconds, or NaN."""
    unknown = isinstance(value, float) and math.isnan(value)
    return math.nan if unknown else check_real(name, value, minimum=0.0)
