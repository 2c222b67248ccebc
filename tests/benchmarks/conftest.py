"""What every benchmark shares: both cores, and a stopwatch that writes down what it timed.

pytest does not collect these files by itself (their names begin with bench_); `make bench` does.
"""

import os
import time
from collections.abc import Callable

import pytest
import torch

MOST = 1000
"""Rounds of a call, at most."""


def pytest_configure(config):
    config.addinivalue_line("markers", "aer: runs Qiskit Aer in this process")


def pytest_collection_modifyitems(items):
    """What runs Aer comes last.

    Its threads stay, and with torch's they outnumber the cores: from then on GNU's OpenMP lets threads sleep between
    calls instead of waiting awake, which slows all small parallel calls of the process (see bench_after_aer). Aer's
    own time does not depend on what ran before.
    """
    items.sort(key=lambda item: item.get_closest_marker("aer") is not None)


@pytest.fixture(scope="session", autouse=True)
def all_cores():
    torch.set_num_threads(os.cpu_count())


@pytest.fixture
def measure(benchmark) -> Callable[..., None]:
    """A function that times ``call`` and files it under the name ``case``.

    One call is ``per`` units of the kind ``unit`` (sequence, circuit, gradient, call).  It is run twice to warm up
    and then for about ``seconds``, three times at least; or ``rounds`` times with no warm-up, where one call takes
    many seconds and the check before has been the first.
    """

    def run(
        case: str,
        call: Callable[[], object],
        unit: str,
        *,
        per: float = 1,
        note: str = "",
        seconds: float = 1.0,
        rounds: int | None = None,
    ) -> None:
        if rounds is None:
            rounds = min(MOST, max(3, round(seconds / min(stopped(call), stopped(call)))))
        benchmark.group = case.rsplit("/", 1)[0]
        benchmark.extra_info.update(case=case, unit=unit, per=per, note=note)
        benchmark.pedantic(call, rounds=rounds)

    return run


def stopped(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
