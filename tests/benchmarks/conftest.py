"""What every benchmark shares: both cores, and a stopwatch that writes down what it timed.

pytest does not collect these files by itself (their names begin with bench_); `make bench` does.
"""

import os
import time
from collections.abc import Callable

import pytest
import torch
from cases import Side

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
        rounds = rounds or fitting(call, seconds)
        benchmark.group = case.rsplit("/", 1)[0]
        benchmark.extra_info.update(case=case, unit=unit, per=per, note=note)
        benchmark.pedantic(call, rounds=rounds)

    return run


@pytest.fixture
def in_turns(benchmark) -> Callable[..., None]:
    """A function that times the sides of one comparison, by case, in turns: whatever slows the machine for a while
    slows them all.

    Each gets its own number of rounds, as many as fill about ``seconds``, spread evenly over the time that all
    take.  pytest-benchmark shows the first; the times of the others go to its extra_info.
    """

    def run(sides: dict[str, Side], unit: str, seconds: float = 1.0) -> None:
        own, *others = sides
        rounds = {case: fitting(side.call, seconds) for case, side in sides.items()}
        turns = iter(sorted(((k + 0.5) / count, case) for case, count in rounds.items() for k in range(count)))
        times: dict[str, list[float]] = {case: [] for case in others}

        def until_own_turn() -> None:
            for _, case in turns:
                if case == own:
                    return
                times[case].append(stopped(sides[case].call))

        benchmark.group = own.rsplit("/", 1)[0]
        benchmark.pedantic(sides[own].call, setup=until_own_turn, rounds=rounds[own])
        until_own_turn()
        facts = {case: {"case": case, "unit": unit, "per": side.per, "note": side.note} for case, side in sides.items()}
        benchmark.extra_info.update(facts[own], beside=[facts[case] | {"times": times[case]} for case in others])

    return run


def fitting(call: Callable[[], object], seconds: float) -> int:
    """Rounds that fill so many seconds, three at least; the call is warm afterwards."""
    return min(MOST, max(3, round(seconds / min(stopped(call), stopped(call)))))


def stopped(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
