"""Gradients of many small circuits at once, as when many trainings run side by side: 28 runs of 8 samples.

2 + 2 qubits, 8 steps, one thread: SPSA with 8 directions, plain and causal, and 8 random coordinates; exact, by
moments, and in shots.
"""

from collections.abc import Iterator

import pytest
import torch
from cases import inputs

from qrnn_helpers import (
    SPSA,
    CostLedger,
    ExactBackend,
    MomentBackend,
    ParameterShift,
    RandomCoordinate,
    ShotBackend,
    rotation_step,
)
from qrnn_helpers.backends import Executor
from qrnn_helpers.simulation import StepProgram

STEP, TIME_STEPS, ROWS, SHOTS = rotation_step(2, 2), 8, 28 * 8, 16

BACKENDS = {
    "exact": lambda: ExactBackend(torch.complex64),
    "moments": lambda: MomentBackend(SHOTS, 0, torch.complex64),
    "shots": lambda: ShotBackend(SHOTS, 0, torch.complex64),
}
ESTIMATORS = {
    "spsa": lambda: SPSA(directions=8, seed=0),
    "causal": lambda: SPSA(directions=8, seed=0, causal=True),
    "coordinates": lambda: RandomCoordinate(8, seed=0),
}


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("method", ESTIMATORS)
def bench_many(measure, one_thread, method, kind):
    angles, weights = inputs(STEP, ROWS, TIME_STEPS)
    ledger = CostLedger()
    executor = Executor(StepProgram(STEP), BACKENDS[kind](), ledger, None)
    estimator = ESTIMATORS[method]()
    weights = weights.expand(ROWS, -1, -1)
    with torch.no_grad():
        call = lambda: estimator.estimate(executor, angles, weights)  # noqa: E731
        found = torch.stack([call() for _ in range(12)])
        exact = ParameterShift().estimate(Executor(executor.program, ExactBackend(), ledger, None), angles, weights)
        along = (found * exact).sum((1, 2, 3)) / exact.square().sum()  # 1 on average, but for the bias of a finite c
        assert abs(along.mean() - 1) < 0.1 + 4 * along.std() / 12**0.5
        before = ledger.circuits
        call()
        circuits = ledger.circuits - before
        note = f"slopes alone, {ROWS} sequences, {circuits} circuits" + f" of {SHOTS} shots" * (kind != "exact")
        measure(f"many/{method}-{kind}", call, "circuit", per=circuits, note=note + ", one thread")
