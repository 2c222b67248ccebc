"""From pytest-benchmark's JSON to data/bench/speed.json, and a table of ratios to read: `make bench`.

    python tools/bench_table.py TIMES.json    store the times, print the table
    python tools/bench_table.py               print the table of what is stored

A time is the median of its rounds, for one unit (sequence, circuit, gradient or call), with its quartiles.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from pathlib import Path

from qrnn_helpers import ParameterShift, rotation_step
from qrnn_helpers.simulation import StepProgram
from qrnn_helpers.storage import files as store
from qrnn_helpers.storage import package_version, provenance

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "data" / "bench" / "speed.json"
LIBRARIES = ("torch", "numpy", "qiskit", "qiskit-aer", "qiskit-machine-learning")
LIBRARIES += ("pennylane", "pennylane-lightning", "pytest-benchmark")
SIZES = {"course": (4, 4, 20), "small": (2, 2, 8)}  # memory, readout, steps


def record(times: dict) -> dict:
    """What is stored, from what pytest-benchmark wrote."""
    found = [(entry["extra_info"], entry["stats"]) for entry in times["benchmarks"]]
    made, cases = provenance(), {info["case"]: timed(info, stats) for info, stats in found if "unit" in info}
    beside = [side for info, _ in found for side in info.get("beside", ())]  # timed in turns with the first
    cases |= {side["case"]: timed(side, spread(side["times"])) for side in beside}
    absent = {} if "cuda/exact-complex64" in cases else {"cuda/exact-complex64": "no CUDA device"}
    return {
        "provenance": made,
        "machine": {
            "cpu": made["machine"]["processor"],
            "cores": os.cpu_count(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "python": platform.python_version(),
        },
        "versions": {name: package_version(name) for name in LIBRARIES},
        "cases": cases,
        "memory": {info["case"]: info["bytes"] for info, _ in found if "bytes" in info},
        "absent": absent,
    }


def timed(info: dict, stats: dict) -> dict:
    """Seconds of one unit."""
    names = {"seconds": "median", "low": "q1", "high": "q3"}
    seconds = {name: stats[key] / info["per"] for name, key in names.items()}
    return seconds | {"rounds": stats["rounds"], "unit": info["unit"], "note": info["note"]}


def spread(times: list[float]) -> dict:
    """What pytest-benchmark says of the times it measured itself."""
    q1, median, q3 = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3, "rounds": len(times)}


def ratios(speed: dict) -> list[tuple[str, float, float, bool]]:
    """(what, ratio, goal, whether the ratio should be above it): how much faster, slower or larger."""
    seconds, memory = {name: case["seconds"] for name, case in speed["cases"].items()}, speed["memory"]
    aer, rows = seconds["course/aer"], []
    for name, goal in {"exact-complex64": 100, "exact-complex128": 60, "shots": 30}.items():
        rows.append((f"course/{name}: faster than Aer's forward", aer / seconds[f"course/{name}"], goal, True))
    for size, goal in {"course": 60, "small": 100}.items():
        circuits = shift_circuits(*SIZES[size])
        ratio = circuits * seconds[f"{size}/aer"] / seconds[f"{size}/shift-shots"]
        rows.append((f"{size}/shift-shots: faster than {circuits} of Aer's circuits", ratio, goal, True))
    for size in SIZES:
        ratio = seconds[f"{size}/shift-shots"] / seconds[f"{size}/shift-moments"]
        rows.append((f"{size}/shift-moments: faster than true shots", ratio, 50, True))
    for name in (f"{method}-{kind}" for method in ("spsa", "coordinates") for kind in ("exact", "moments", "shots")):
        ratio = seconds["small/aer"] / seconds[f"many/{name}"]
        rows.append((f"many/{name}: faster than Aer's circuit, one thread", ratio, 3000, True))
    for qubits in (4, 8, 10):
        for batch in (1, 32, 256):
            case = f"step/n{qubits}/batch{batch}"
            peer = min(value for name, value in seconds.items() if name.startswith(f"{case}/pennylane"))
            for bits in (64, 128):
                ratio = peer / seconds[f"{case}/ours-complex{bits}"]
                rows.append((f"{case}/ours-complex{bits}: faster than PennyLane's best", ratio, 3, True))
    for case in ("reset", "reset/batch16"):
        ratio = seconds[f"{case}/pennylane"] / seconds[f"{case}/ours"]
        rows.append((f"{case}: faster than PennyLane", ratio, 20, True))
    rows.append(("matmul: slower than torch.matmul", seconds["matmul/ours"] / seconds["matmul/torch"], 4, False))
    for few in (10, 20, 40):
        for what, found, name in (("time", seconds, "steps/"), ("memory", memory, "memory/steps")):
            ratio = found[f"{name}{2 * few}"] / found[f"{name}{few}"]
            rows.append((f"steps {few} -> {2 * few}: {what} grows by", ratio, 2.2, False))
    return rows


def shift_circuits(memory: int, readout: int, steps: int) -> int:
    return ParameterShift().circuits(StepProgram(rotation_step(memory, readout)), steps)


def table(speed: dict) -> str:
    """Ratios beside their goals, in plain text."""
    machine, lines = speed["machine"], []
    lines.append(f"{machine['cpu']}, {machine['cores']} cores, {machine['memory'] / 2**30:.0f} GiB")
    for what, ratio, goal, above in ratios(speed):
        met = "" if (ratio >= goal) == above else "   missed"
        lines.append(f"{what:<62} {ratio:9.3g}   goal {'>=' if above else '<='} {goal:g}{met}")
    lines += [f"{name}: absent, {why}" for name, why in speed["absent"].items()]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    if arguments:
        speed = record(store.read_json(arguments[0]))
        STORED.parent.mkdir(parents=True, exist_ok=True)
        store.write_record(speed, STORED)
    print(table(store.read_record(STORED)))


if __name__ == "__main__":
    main(sys.argv[1:])
