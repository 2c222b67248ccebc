"""Gates of a device's circuit, and how long it runs."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Barrier, ControlFlowOp, Delay, Operation
from qiskit.utils.units import apply_prefix

NATIVE = ["rz", "sx", "x", "cz"]
"""Gates of the machines whose durations are known; RZ is a change of frame and takes no time."""


class Gates(NamedTuple):
    """Of one circuit; readings are measurements and resets.  Not ``known`` where there are gates on three qubits and
    more, or branches, which only a pass manager of one's own leaves."""

    one_qubit: int
    two_qubit: int
    readings: int
    known: bool


def count_gates(circuit: QuantumCircuit) -> Gates:
    readings = one = two = 0
    known = True
    for each in circuit.data:
        operation, size = each.operation, len(each.qubits)
        if isinstance(operation, Barrier | Delay):
            continue
        readings += operation.name in ("measure", "reset")
        one += size == 1 and operation.name not in ("measure", "reset")
        two += size == 2
        known &= size <= 2 and not isinstance(operation, ControlFlowOp)
    return Gates(one, two, readings, known)


def path_length(circuit: QuantumCircuit, row: pd.Series, end: str) -> float:
    """Seconds of the longest path through a circuit written in NATIVE gates, all qubits starting together.

    ``end``: "_low" or "_high" durations of the machine in ``row``, or "", their means.  NaN if one is not known.
    """
    ends = [end] if end else ["_low", "_high"]
    one, two = (sum(row[f"{gate}{e}"] for e in ends) / len(ends) for gate in ("one_qubit_gate", "two_qubit_gate"))
    durations = {"measure": row.measure, "reset": row.reset, "sx": one, "x": one, "cz": two}
    if any(map(math.isnan, durations.values())):
        return math.nan
    native = generate_preset_pass_manager(1, basis_gates=NATIVE, seed_transpiler=0).run(circuit)
    clock = dict.fromkeys(native.qubits, 0.0)
    for each in native.data:
        done = max(clock[qubit] for qubit in each.qubits) + _seconds(each.operation, durations)
        clock.update(dict.fromkeys(each.qubits, done))
    length = max(clock.values())
    return length if math.isfinite(length) else math.nan


def _seconds(operation: Operation, durations: dict[str, float]) -> float:
    """Of one operation: 0 for a barrier and RZ, infinite (which a maximum keeps, unlike NaN) if not known."""
    if not isinstance(operation, Delay):
        return durations.get(operation.name, 0.0)
    known = operation.unit != "dt" and isinstance(operation.duration, int | float)  # dt: a device's own unit
    return float(apply_prefix(operation.duration, operation.unit)) if known else math.inf
