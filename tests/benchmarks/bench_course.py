"""Whole sequences of measured and reset steps: exact, in shots, and by the shift rule, against Aer.

course: 4 + 4 qubits, 20 steps; small: 2 + 2 qubits, 8 steps.
"""

from functools import cache

import peers
import pytest
import torch
from cases import SHIFTED, SHOTS, agree, agree_in_shots, agree_in_slopes, inputs, slopes_by_shifts, value_and_gradient

from qrnn_helpers import ParameterShift, QuantumRecurrentLayer, ShotBackend, rotation_step
from qrnn_helpers.simulation import StepProgram

COURSE, SMALL = (rotation_step(4, 4), 20), (rotation_step(2, 2), 8)
SIZES = {"course": COURSE, "small": SMALL}
SHIFTED_BATCH = {"course": 1, "small": 16}


@cache
def draws(size: str) -> torch.Tensor:
    """Independent estimates of the slopes, of which the standard errors are read off."""
    step, time_steps = SIZES[size]
    call = slopes_by_shifts(step, *inputs(step, SHIFTED_BATCH[size], time_steps), "moments")
    return torch.stack([call() for _ in range(32)])


@pytest.mark.parametrize("precision", [64, 128])
def bench_exact(measure, precision):
    step, time_steps = COURSE
    angles, weights = inputs(step, 16, time_steps)
    exact = value_and_gradient(step, angles, weights, torch.complex128)
    call = value_and_gradient(step, angles, weights, getattr(torch, f"complex{precision}"))
    agree(call(), exact())
    measure(f"course/exact-complex{precision}", call, "sequence", per=16, note="value and gradient", seconds=3)


def bench_shots(measure):
    step, time_steps = COURSE
    angles, _ = inputs(step, 16, time_steps)
    layer = QuantumRecurrentLayer(step, backend=ShotBackend(SHOTS, 0, torch.complex64))
    agree_in_shots(layer(angles.float())[0], QuantumRecurrentLayer(step)(angles)[0])
    call = lambda: layer(angles.float())  # noqa: E731
    measure("course/shots", call, "sequence", per=16, note=f"forward, {SHOTS} shots", seconds=3)


@pytest.mark.aer
@pytest.mark.parametrize("size", SIZES)
def bench_aer(measure, size):
    step, time_steps = SIZES[size]
    angles, _ = inputs(step, 20, time_steps)
    call = peers.aer(step, angles)
    agree_in_shots(call(), QuantumRecurrentLayer(step)(angles)[0])
    note = f"forward, {SHOTS} shots, one PUB with 20 bindings, transpiled once at level 1"
    measure(f"{size}/aer", call, "circuit", per=20, note=note, rounds=3)


@pytest.mark.aer
@pytest.mark.parametrize("precision", [64, 128])
def bench_after_aer(measure, precision):
    """The same call as in `bench_exact` once Aer's threads are there."""
    step, time_steps = COURSE
    angles, weights = inputs(step, 16, time_steps)
    peers.aer(SMALL[0], inputs(SMALL[0], 1, SMALL[1])[0])()
    call = value_and_gradient(step, angles, weights, getattr(torch, f"complex{precision}"))
    note = "value and gradient, after Aer in one process"
    measure(f"after-aer/exact-complex{precision}", call, "sequence", per=16, note=note, seconds=3)


@pytest.mark.parametrize("kind", SHIFTED)
@pytest.mark.parametrize("size", SIZES)
def bench_shift_rule(measure, size, kind):
    (step, time_steps), batch = SIZES[size], SHIFTED_BATCH[size]
    angles, weights = inputs(step, batch, time_steps)
    call = slopes_by_shifts(step, angles, weights, kind)
    slopes, (_, exact) = call(), value_and_gradient(step, angles, weights, torch.complex128)()
    if kind == "exact":
        agree([slopes], [exact])
    else:
        agree_in_slopes(slopes, exact, draws(size))
    circuits = ParameterShift().circuits(StepProgram(step), time_steps)
    note = f"slopes alone, batch {batch}: {circuits} circuits a sequence" + f" of {SHOTS} shots" * (kind != "exact")
    rounds = {("course", "shots"): 2, ("small", "shots"): 3}.get((size, kind))
    measure(f"{size}/shift-{kind}", call, "gradient", per=batch, note=note, rounds=rounds)
