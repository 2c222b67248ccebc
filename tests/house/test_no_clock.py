"""No test watches a clock: what passes on an idle machine passes on a busy one."""

import ast

import pytest
from book_pages import PATIENCE, ROOT
from hypothesis import HealthCheck, settings

TESTS = sorted({ROOT / "conftest.py", *(ROOT / "tests").rglob("*.py")} - {*(ROOT / "tests" / "benchmarks").glob("*")})
CLOCKS = {"perf_counter", "monotonic", "process_time", "thread_time", "getrusage"}
CLOCKS |= {"alarm", "setitimer", "wait_for_timeout", "dump_traceback_later"}
WHOLE = {"time.time", "time.time_ns", "time.sleep", "sleep", "datetime.now", "datetime.datetime.now", "os.times"}
ALLOWED = {
    ("test_browser.py", "wait_for"): "waits for a server, as long as PATIENCE",
    ("test_random_input.py", "guarded"): "ends what never ends: a hundred times what the slowest case takes",
}
"""Functions that may, with the reason: nothing that is only slow fails there."""


def reads(tree: ast.AST) -> list[str]:
    """Places that read a clock, wait for a fixed time, or set a time limit that is not PATIENCE."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            value = ast.unparse(node.value)
            if node.arg in {"timeout", "deadline"} and value not in {"None", "PATIENCE"}:
                found.append(f"line {node.value.lineno}: {node.arg}={value}")
        elif isinstance(node, ast.ImportFrom) and node.module in {"time", "timeit"}:
            found.append(f"line {node.lineno}: from {node.module}")
        elif isinstance(node, (ast.Attribute, ast.Name)):
            name = ast.unparse(node)
            if name in WHOLE or name.split(".")[-1].removesuffix("_ns") in CLOCKS:
                found.append(f"line {node.lineno}: {name}")
    return found


def unexplained(path) -> list[str]:
    """What `reads` finds outside the functions that may."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {name for file, name in ALLOWED if file == path.name}
    tree.body = [part for part in tree.body if getattr(part, "name", None) not in names]
    return reads(tree)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_no_test_watches_a_clock(path):
    assert not unexplained(path)


def test_the_guard_sees():
    bad = ["time.perf_counter()", "from time import monotonic", "time.time()", "sleep(1)", "run(x, timeout=5)",
           "settings(deadline=200)", "page.wait_for_timeout(3)", "signal.alarm(1)", "datetime.now()"]  # fmt: skip
    assert [line for line in bad if not reads(ast.parse(line))] == []
    assert not reads(ast.parse("run(x, timeout=PATIENCE)\nsettings(deadline=None)\ntime_steps = 3\nperiod.time"))


def test_what_is_allowed_is_needed():
    for file, name in ALLOWED:
        (path,) = [path for path in TESTS if path.name == file]
        assert any(getattr(part, "name", None) == name and reads(part) for part in ast.parse(path.read_text()).body)


def test_hypothesis_sets_no_deadline_and_notebooks_have_time(request):
    assert settings().deadline is None and HealthCheck.too_slow in settings().suppress_health_check
    assert PATIENCE >= 300 and request.config.option.nbval_kernel_startup_timeout == PATIENCE
