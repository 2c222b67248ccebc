"""What a training costs on a named machine, before it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import pandas as pd
from qiskit import QuantumCircuit
from torch import nn

from ..backends import Backend, charge, machines
from ..checks import check_bytes, check_instance, check_integer, check_one_of, said
from ..models import QuantumRecurrentLayer
from .circuit_time import count_gates, path_length
from .dry_run import booked

Range = tuple[float, float]
"""The least and the most."""


@dataclass(frozen=True)
class CostEstimate:
    """What `estimate` foresees.

    ``circuits``, ``shots`` and ``jobs`` are the ledger's after training; if not ``exact``, they are the most that it
    can hold, and seconds and money are for those.  ``depth`` and ``two_qubit_gates`` are of the largest circuit.

    ``seconds`` the machine would be at work, and ``money`` in its ``currency``; NaN is not known.  Their ranges hold
    the repetition delay that may be chosen, the durations of gates, and the spread of a price.  Not in them: a job's
    overhead other than the machine's usual one, waiting, swaps on a device that no pass manager has fitted.
    """

    machine: str
    currency: str
    circuits: int
    shots: int
    jobs: int
    exact: bool
    depth: int
    two_qubit_gates: int
    seconds: float
    seconds_range: Range
    money: float
    money_range: Range

    def __str__(self) -> str:
        most = "" if self.exact else "at most "
        unit, seconds = ("hours", 3600) if self.seconds >= 3600 else ("s", 1)
        low, high = self.seconds_range
        return (
            f"{self.machine}: {most}{self.circuits:,} circuits, {self.shots:,} shots, {self.jobs:,} jobs\n"
            f"  a circuit: depth {self.depth}, {self.two_qubit_gates} two-qubit gates\n"
            f"  time: {_told(self.seconds / seconds, (low / seconds, high / seconds), unit)}\n"
            f"  money: {_told(self.money, self.money_range, self.currency)}\n"
            "  ranges: repetition delay, durations of gates, spread of prices"
        )


def estimate(model: nn.Module, *, updates: int, batch_size: int, time_steps: int, machine: str) -> CostEstimate:
    """What ``updates`` of ``model``, each on ``batch_size`` windows of ``time_steps``, cost on one of `machines`.

    An update is one forward and one backward pass of every quantum layer in the model, as `fit` makes with
    ``Budget(steps=updates)`` and an optimiser that calls its closure once; validation comes on top.

    - circuits = updates * sum over layers of ``update_circuits(batch_size, time_steps)``: for estimators that draw
      what they run (`RandomCoordinate`) or treat samples differently (`GuidedSPSA`) the most, not ``exact``;
      those that change in training (`DecayingSPSA`) are followed.
    - shots = circuits * shots of the backend.  Jobs are counted in one update that runs nothing.
    - seconds = job_seconds * jobs + (repetition_delay + length) * shots; length is the longest path through the
      circuit with the machine's durations, in RZ, SX, X and CZ.  A job that holds more shots than the machine takes
      is reckoned as several.
    - money by `charge`, with the circuit's own gates.

    An exact backend has no shots: seconds and money are NaN.  Nothing runs, and no generator moves.
    """
    check_instance("model", model, nn.Module, "a torch module")
    layers = [module for module in model.modules() if isinstance(module, QuantumRecurrentLayer)]
    if not layers:
        raise ValueError(f"model must hold a quantum layer; got a {type(model).__name__} without one")
    updates = check_integer("updates", updates, 1, 2**63 - 1)
    batch_size = check_integer("batch_size", batch_size, 1, 2**63 - 1)
    time_steps = check_integer("time_steps", time_steps, 1, 2**63 - 1)
    table = machines()
    row = table.loc[check_one_of("machine", machine, tuple(table.index))]
    return _together([_of_layer(layer, updates, batch_size, time_steps, row) for layer in layers])


def _of_layer(layer: QuantumRecurrentLayer, updates: int, batch: int, time_steps: int, row: pd.Series) -> CostEstimate:
    program, backend = layer.program, layer.backend
    numbers = len(program.parameters) + len(program.occurrences) + 2**program.readout
    check_bytes("batch_size", 24 * batch * time_steps * numbers, f"{said(batch)} windows of {said(time_steps)} steps")
    circuit = backend.device_circuit(program, time_steps)
    run = partial(booked, layer, updates, batch, time_steps)
    ledger = run(backend.circuits_a_job(program, time_steps))
    most = _fewer(backend, row)
    jobs = max(ledger.jobs, run(most).jobs) if most else ledger.jobs
    bills = [_bill(circuit, row, end, ledger.circuits, backend.shots, jobs) for end in ("", "_low", "_high")]
    (seconds, *times), (money, *sums) = zip(*bills)
    return CostEstimate(
        machine=str(row.name),
        currency=row.currency,
        circuits=ledger.circuits,
        shots=ledger.circuits * backend.shots,
        jobs=ledger.jobs,
        exact=ledger.exact,
        depth=circuit.depth(),
        two_qubit_gates=count_gates(circuit).two_qubit,
        seconds=seconds,
        seconds_range=(times[0], times[1]),
        money=money,
        money_range=(sums[0] * (1 - row.price_spread), sums[1] * (1 + row.price_spread)),
    )


def _fewer(backend: Backend, row: pd.Series) -> int | None:
    """Circuits a job that the machine takes, if they are fewer than the backend hands on."""
    if not backend.shots or math.isnan(row.executions_a_job):
        return None
    most = max(1, int(row.executions_a_job // backend.shots))
    return None if backend.max_circuits and backend.max_circuits <= most else most


def _bill(
    circuit: QuantumCircuit, row: pd.Series, end: str, circuits: int, shots: int, jobs: int
) -> tuple[float, float]:
    """Seconds and money at one end of the ranges, "_low" or "_high", or in their middle, ""."""
    gates = count_gates(circuit)
    if not (gates.known and shots):
        return math.nan, math.nan
    found = charge(
        str(row.name),
        float(circuits),
        float(circuits * shots),
        float(jobs),
        gates=(gates.one_qubit, gates.two_qubit, gates.readings),
        length=path_length(circuit, row, end),
        repetition_delay=row[f"repetition_delay{end}"],
    )
    return float(found["seconds"]), float(found["money"])


def _together(parts: list[CostEstimate]) -> CostEstimate:
    """The bill of several layers: sums, and the largest circuit."""
    return CostEstimate(
        machine=parts[0].machine,
        currency=parts[0].currency,
        circuits=sum(part.circuits for part in parts),
        shots=sum(part.shots for part in parts),
        jobs=sum(part.jobs for part in parts),
        exact=all(part.exact for part in parts),
        depth=max(part.depth for part in parts),
        two_qubit_gates=max(part.two_qubit_gates for part in parts),
        seconds=sum(part.seconds for part in parts),
        seconds_range=_sum([part.seconds_range for part in parts]),
        money=sum(part.money for part in parts),
        money_range=_sum([part.money_range for part in parts]),
    )


def _sum(ranges: list[Range]) -> Range:
    return sum(low for low, _ in ranges), sum(high for _, high in ranges)


def _told(value: float, ends: Range, unit: str) -> str:
    """A figure with its range."""
    if math.isnan(value):
        return "not known"
    spread = "" if ends[0] == ends[1] else f" ({_rounded(ends[0])} to {_rounded(ends[1])})"
    return f"{_rounded(value)} {unit}{spread}"


def _rounded(value: float) -> str:
    """Three digits, written out."""
    return f"{float(f'{value:.3g}'):,.12g}"
