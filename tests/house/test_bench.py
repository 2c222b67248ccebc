"""The stored speeds hold what the book reads, and `make bench` is no part of `make test`."""

import math
import subprocess
import sys

import pytest
from book_pages import ROOT

from qrnn_helpers.storage import read_json, verify

sys.path.insert(0, str(ROOT / "tools"))
import bench_table

FOLDER = ROOT / "tests" / "benchmarks"
SIDES = ("ours-complex64", "ours-complex128", "pennylane-backprop", "pennylane-adjoint", "pennylane-adjoint-default")
SHIFTED = ("shift-shots", "shift-moments", "shift-exact")
CASES = {
    *(f"course/{name}" for name in ("exact-complex64", "exact-complex128", "shots")),
    *(f"after-aer/exact-complex{bits}" for bits in (64, 128)),
    *(
        f"{size}/{name}"
        for size in bench_table.SIZES
        for name in ("aer", "shift-shots", "shift-moments", "shift-exact")
    ),
    *(f"step/n{n}/batch{b}/{side}" for n in (4, 8, 10) for b in (1, 32, 256) for side in SIDES),
    *(f"{case}/{side}" for case in ("reset", "reset/batch16") for side in ("ours", "pennylane")),
    *(f"matmul/{name}" for name in ("ours", "torch", "torch-large")),
    *(f"steps/{steps}" for steps in (10, 20, 40, 80)),
    *(f"law/n{n}/batch{b}/steps{t}" for n in (2, 4, 6, 8, 10) for b in (1, 4, 16, 64) for t in (5, 20)),
    *(f"law-shots/n{n}/shots{shots}" for n in (4, 6, 8) for shots in (64, 256, 1024, 4096)),
    *(f"far/n{n}" for n in (12, 14)),
    *(f"torchconnector/{name}" for name in ("ours", "ours-spsa", "spsa", "shift")),
}
MEMORY = {*(f"steps{steps}" for steps in (10, 20, 40, 80)), "batch256-complex64", "batch256-complex128"}


@pytest.fixture(scope="module")
def speed():
    verify(bench_table.STORED)
    return read_json(bench_table.STORED)


def test_every_case_is_there(speed):
    assert not CASES - set(speed["cases"])
    assert set(speed["memory"]) == {f"memory/{name}" for name in MEMORY}
    assert "cuda/exact-complex64" in speed["cases"].keys() | speed["absent"].keys()


def test_times_are_medians_with_quartiles(speed):
    for name, case in speed["cases"].items():
        assert set(case) == {"seconds", "low", "high", "rounds", "unit", "note"}, name
        assert 0 < case["low"] <= case["seconds"] <= case["high"] < math.inf, name
        assert case["rounds"] >= 1 and case["unit"] in ("sequence", "circuit", "gradient", "call"), name
    assert all(isinstance(size, int) and size > 0 for size in speed["memory"].values())


def test_the_record_says_where_it_comes_from(speed):
    assert set(speed) == {"provenance", "machine", "versions", "cases", "memory", "absent"}
    assert set(speed["provenance"]) == {"code", "versions", "machine"}
    assert set(speed["machine"]) == {"cpu", "cores", "memory", "python"}
    assert "not installed" not in speed["versions"].values()


def test_the_table_has_a_line_for_every_goal(speed):
    lines = bench_table.table(speed).splitlines()
    assert len([line for line in lines if " goal " in line]) == len(bench_table.ratios(speed)) == 40


def test_times_are_divided_by_units():
    stats = {"median": 8.0, "q1": 6.0, "q3": 10.0, "rounds": 3}
    case = bench_table.timed({"per": 16, "unit": "sequence", "note": ""}, stats)
    assert (case["seconds"], case["low"], case["high"], case["rounds"]) == (0.5, 0.375, 0.625, 3)


def test_sides_timed_in_turns_are_recorded_one_by_one():
    facts = {"unit": "call", "note": ""}
    beside = [{"case": "b", "per": 0.5, "times": [3.0, 1.0, 2.0], **facts}]
    stats = {"median": 8.0, "q1": 6.0, "q3": 10.0, "rounds": 3}
    entry = {"extra_info": {"case": "a", "per": 2, **facts, "beside": beside}, "stats": stats}
    cases = bench_table.record({"benchmarks": [entry]})["cases"]
    assert {name: (case["low"], case["seconds"], case["high"], case["rounds"]) for name, case in cases.items()} == {
        "a": (3.0, 4.0, 5.0, 3),
        "b": (3.0, 4.0, 5.0, 3),
    }


def collected(*options: str, block: str = "()") -> str:
    """What pytest finds in the folder of benchmarks, with some modules made impossible to import."""
    words = ["--collect-only", "-q", "-rs", *options, str(FOLDER)]
    code = f"import sys; sys.modules.update(dict.fromkeys({block})); import pytest; sys.exit(pytest.main({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 5), done.stdout + done.stderr  # 5: no tests
    return done.stdout


def test_make_test_leaves_the_benchmarks_alone():
    assert "no tests" in collected()


def test_without_the_extra_the_benchmarks_are_skipped():
    options = ["-o", "python_files=bench_*.py", "-o", "python_functions=bench_*"]
    said = collected(*options, block="('pennylane', 'qiskit_machine_learning')")
    assert "bench_growing.py::" in said and "bench_one_step.py::" not in said and "could not import 'pennylane'" in said
