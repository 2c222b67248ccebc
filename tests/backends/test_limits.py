"""Work that does not fit is refused at once, with the bytes or gates that it would need."""

import re
import tracemalloc
from contextlib import contextmanager

import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from reference import Peak, random_angles, registers

from qrnn_helpers import (
    SPSA,
    CostLedger,
    DirectionalShift,
    ExactBackend,
    FiniteDifference,
    ParameterShift,
    RandomCoordinate,
    ShotBackend,
    checks,
)
from qrnn_helpers.backends import Executor, MomentBackend, exact, moments, shots
from qrnn_helpers.checks import GATE_LIMIT, MEMORY_LIMIT
from qrnn_helpers.circuits import exchange_step, reuploading_step, rotation_step, two_way_step, unroll
from qrnn_helpers.gradients import base, live_angles
from qrnn_helpers.models import QuantumRecurrentLayer
from qrnn_helpers.simulation import StepProgram, operators


def wide(memory: int, readout: int, gates: int = 1) -> QuantumCircuit:
    step, a = QuantumCircuit(*registers(memory, readout, True)), Parameter("a")
    for _ in range(gates):
        step.rx(a, 0)
    return step


def rows(batch: int, time_steps: int) -> torch.Tensor:
    """Angles of any size that take no memory themselves."""
    return torch.zeros(1, 1, 1, dtype=torch.float64).expand(batch, time_steps, 1)


WIDE, WIDER, SHORT = wide(15, 15), wide(1, 29), rotation_step(1, 1)
SMALL, LAYER = StepProgram(wide(1, 1)), QuantumRecurrentLayer(wide(5, 1))
MANY = QuantumRecurrentLayer(wide(1, 1, gates=2000))
with Peak():
    torch.zeros(1)  # torch loads its compiler for the first tensor that is watched


@contextmanager
def nothing_made(monkeypatch):
    """What is refused is refused before the work: no gate goes into a circuit, and no large list is made."""
    gates, append = [], QuantumCircuit._append
    monkeypatch.setattr(QuantumCircuit, "_append", lambda *args, **kwargs: gates.append(1) or append(*args, **kwargs))
    tracemalloc.start()
    try:
        with Peak() as peak:
            yield peak
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert not gates


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: StepProgram(WIDE), f"step .*15 [+] 15 qubits.* {16 * 2**45} bytes"),
        (lambda: QuantumRecurrentLayer(WIDER), f"step .*1 [+] 29 qubits.* {16 * 2**31} bytes"),
        (lambda: LAYER(rows(10**7, 2)), r"angles .*\(10{7}, 2, \.\.\.\).*bytes"),
        (lambda: ExactBackend().run(SMALL, rows(10**5, 10**4)), "angles .*bytes"),
        (lambda: ExactBackend(torch.complex64).run(SMALL, rows(10**5, 10**4)), "angles .*bytes"),
        (
            lambda: ExactBackend().variants(SMALL, rows(2, 3), torch.ones(2, 3, 2))(0, rows(10**5, 10**4)),
            "angles .*10{9} variants.*bytes",
        ),
        (lambda: ShotBackend(10**12).run(SMALL, rows(1, 3)), "shots .*10{12} of 1 circuits with 3 steps.*bytes"),
        (
            lambda: ShotBackend(10**12).variants(SMALL, rows(1, 3), torch.ones(1, 3, 2))(0, rows(1, 1)),
            "shots .*10{12} of.*bytes",
        ),
        (lambda: ShotBackend(10**7).histories(SMALL, rows(1, 200)), "shots .*10{7} of.*200 steps.*bytes"),
        (lambda: ShotBackend(10).run(SMALL, rows(10**5, 10**4)), "angles .*bytes"),
        (lambda: MANY(rows(10**6, 2)), r"angles .*\(10{6}, 2, 1\) .* 2000 gates .*bytes"),
    ],
)
def test_memory_is_refused_in_bytes(call, words, monkeypatch):
    with nothing_made(monkeypatch) as peak, pytest.raises(ValueError, match=words) as error:
        call()
    assert f"at most {MEMORY_LIMIT} bytes" in str(error.value)
    needed = int(re.findall(r"(\d+) bytes", str(error.value))[-1])
    assert needed > MEMORY_LIMIT and peak.most < needed / 100


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: rotation_step(10**6, 1), "memory, readout and layers .* got 1000000, 1 and 1, .* 7000006 gates"),
        (lambda: rotation_step(1, 10**12), "memory, readout and layers .*gates"),
        (lambda: reuploading_step(2, 2, layers=10**9), "memory, readout and layers .* 20000000000 gates"),
        (lambda: two_way_step(10**6, 1), "memory and readout .* got 1000000 and 1, .* 8000006 gates"),
        (lambda: exchange_step(1, 10**6), "memory and readout .* 8000002 gates"),
        (lambda: unroll(SHORT, 10**9), "time_steps .* got 1000000000, which needs 15000000000 gates"),
    ],
)
def test_gates_are_refused_by_number(call, words, monkeypatch):
    with nothing_made(monkeypatch), pytest.raises(ValueError, match=words) as error:
        call()
    assert f"at most {GATE_LIMIT} gates" in str(error.value)


def test_the_gradient_counts():
    """What fits without a gradient may not fit with one."""
    program = StepProgram(rotation_step(4, 4))
    fits = MEMORY_LIMIT // (program.evolution_bytes(10**6, torch.complex128) // 10**6)
    assert program.evolution_bytes(fits, torch.complex128, graph=True) > MEMORY_LIMIT
    angles = torch.zeros(1, 1, 55, dtype=torch.float64, requires_grad=True).expand(fits, 1, -1)
    with pytest.raises(ValueError, match="angles .* with what the gradient needs"):
        ExactBackend().run(program, angles)


@pytest.mark.parametrize("graph", [False, True], ids=["value", "gradient"])
@pytest.mark.parametrize(
    "step, batch, time_steps",
    [(wide(1, 1), 100, 20), (wide(5, 1), 50, 20), (rotation_step(1, 8), 400, 10), (rotation_step(5, 1), 400, 1)],
    ids=["small", "memory", "readout", "one-step"],
)
def test_exact_peaks_are_foreseen(step, batch, time_steps, graph, monkeypatch):
    """Whatever dominates: memory states, outcomes, small matrices."""
    foreseen, program = [], StepProgram(step)
    monkeypatch.setattr(exact, "check_bytes", lambda name, needed, what: foreseen.append(needed))
    angles = random_angles(step, batch, time_steps, seed=1).requires_grad_(graph)
    with Peak() as peak:
        probabilities = ExactBackend().run(program, program.gate_angles(angles))[0]
        if graph:
            torch.autograd.grad(probabilities.square().sum(), angles)
    assert peak.most <= foreseen[0] <= 3 * peak.most


@pytest.mark.parametrize("shape", [(3, 13), (1, 3, 12), (1, 0, 13)])
def test_histories_check_their_angles(shape):
    program = StepProgram(rotation_step(1, 1))
    with pytest.raises(ValueError, match=r"gate_angles must have shape \(batch, time, 13\)"):
        ShotBackend(10).histories(program, torch.zeros(shape).double())


def peaks(backend, time_steps: int) -> list[int]:
    """Peaks of `run` and of `variants`, eight of them."""
    program = StepProgram(rotation_step(2, 2))
    gates = program.gate_angles(random_angles(program.step, 4, time_steps, seed=1))
    replaced, weights, found = gates[:, 1].repeat(8, 1, 1), torch.ones(4, time_steps, 4), []
    for call in (backend.run, lambda *args: backend.variants(*args, weights)(1, replaced)):
        with torch.no_grad(), Peak() as peak:
            call(program, gates)
        found.append(peak.most)
    return found


@pytest.mark.parametrize("backend", [ExactBackend(), ExactBackend(torch.complex64), ShotBackend(50, seed=1)], ids=repr)
def test_peaks_grow_no_faster_than_the_time_and_are_foreseen(backend, monkeypatch):
    foreseen = []
    for module in (exact, operators, shots):
        monkeypatch.setattr(module, "check_bytes", lambda name, needed, what: foreseen.append((name, needed)))
    once, twice = peaks(backend, 12), peaks(backend, 24)
    assert all(two <= 2.2 * one for one, two in zip(once, twice, strict=True))
    total = [sum(needed for name, needed in foreseen if name == kind) for kind in ("angles", "shots")]
    assert sum(once + twice) <= sum(total) <= 3 * sum(once + twice)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
@pytest.mark.parametrize(
    "qubits, batch, time_steps",
    [((3, 3), 8, 12), ((1, 1), 6, 200), ((4, 1), 8, 30), ((1, 1), 3000, 10), ((2, 2), 2000, 8)],
)
def test_the_noise_of_all_steps_together_is_foreseen(qubits, batch, time_steps, dtype, monkeypatch):
    """Few circuits, by isometries, and many, in the Pauli basis."""
    program = StepProgram(rotation_step(*qubits))
    gates = program.gate_angles(random_angles(program.step, batch, time_steps, seed=1))
    weights = torch.ones(batch, time_steps, 2**program.readout, dtype=torch.float64)
    foreseen = []
    for module in (exact, operators, moments):
        monkeypatch.setattr(module, "check_bytes", lambda name, needed, what: foreseen.append(needed))
    program.pauli_steps(batch)  # compiled before
    with torch.no_grad(), Peak() as peak:
        MomentBackend(50, seed=1, dtype=dtype).values(program, gates, weights)
    most = peak.most - gates.nbytes - weights.nbytes  # what was there before is seen, too
    assert most <= max(foreseen) <= 3 * most


def test_angles_that_need_no_circuits_are_found_in_memory_linear_in_time():
    found = []
    for time_steps in (150, 300):
        with Peak() as peak:
            live_angles(StepProgram(rotation_step(1, 1)), time_steps)
        found.append(peak.most)
    assert found[1] <= 2.2 * found[0]


@pytest.mark.parametrize(
    "estimator, batch, time_steps",
    [
        (ParameterShift(), 1500, 1), (ParameterShift(prune=True), 2500, 1), (FiniteDifference(), 1500, 1),
        (RandomCoordinate(200, seed=1), 2, 40), (SPSA(directions=1000, seed=1), 2, 10),
        (DirectionalShift(directions=1000, seed=1), 2, 10),
    ],
    ids=repr,
)  # fmt: skip
def test_an_estimator_refuses_its_circuits_before_it_makes_them(estimator, batch, time_steps, monkeypatch):
    most = 3 * 2**20
    monkeypatch.setattr(checks, "MEMORY_LIMIT", most)
    program = StepProgram(rotation_step(1, 1))
    angles = random_angles(program.step, batch, time_steps, seed=1)
    with torch.no_grad(), Peak() as peak, pytest.raises(ValueError, match=f"must need at most {most} bytes"):
        executor = Executor(program, ExactBackend(), CostLedger(), None)
        estimator.estimate(executor, angles, torch.ones(batch, time_steps, 2, dtype=torch.float64))
    assert peak.most <= most


@pytest.mark.parametrize(
    "estimator, batch, time_steps",
    [
        (ParameterShift(), 300, 1), (FiniteDifference(), 300, 1), (RandomCoordinate(20, seed=1), 2, 40),
        (SPSA(directions=100, seed=1), 2, 10), (DirectionalShift(directions=100, seed=1), 2, 10),
    ],
    ids=repr,
)  # fmt: skip
def test_the_peak_of_an_estimate_is_foreseen(estimator, batch, time_steps, monkeypatch):
    foreseen = []
    for module in (exact, operators, base):
        monkeypatch.setattr(module, "check_bytes", lambda name, needed, what: foreseen.append(needed))
    program = StepProgram(rotation_step(1, 1))
    angles = random_angles(program.step, batch, time_steps, seed=1)
    executor = Executor(program, ExactBackend(), CostLedger(), None)
    with torch.no_grad(), Peak() as peak:
        estimator.estimate(executor, angles, torch.ones(batch, time_steps, 2, dtype=torch.float64))
    assert peak.most <= sum(foreseen) <= 3 * peak.most, (peak.most, foreseen)
