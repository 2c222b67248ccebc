"""Steps in the Pauli basis agree with the contraction of isometries, for any circuit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Exponential, by_hand, interleaved
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from reference import evolve, random_angles, random_state, registers, step_circuits

from qrnn_helpers import ExactBackend, MomentBackend, ShotBackend
from qrnn_helpers.backends import exact
from qrnn_helpers.circuits import exchange_step, reuploading_step, rotation_step, two_way_step
from qrnn_helpers.simulation import HeisenbergPicture, PauliSteps, StepProgram, kraus_operators

STEPS = [rotation_step(1, 1), rotation_step(2, 2), rotation_step(1, 3, layers=2), reuploading_step(2, 1, layers=2)]
STEPS += [two_way_step(2, 2), exchange_step(2, 2), by_hand(), interleaved()]


def compiled(program: StepProgram) -> PauliSteps:
    order = program._order
    return PauliSteps(program.ops, order[: program.readout], order[program.readout :])


def agrees(step: QuantumCircuit, batch: int, time_steps: int, seed: int, dtype=torch.complex128, atol=1e-12) -> None:
    """Probabilities and states by the independent reference, moments by the Heisenberg picture of isometries."""
    program = StepProgram(step)
    pauli = compiled(program)
    gates = program.gate_angles(random_angles(step, batch, time_steps, seed))
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(batch, time_steps, 2**program.readout, generator=generator, dtype=torch.float64)
    start = random_state(batch, 2**program.memory, seed)
    found, rho = pauli.probabilities(gates, dtype, start)
    kraus = kraus_operators(program, gates, torch.complex128)
    state = start.to(torch.complex128)
    for t in range(time_steps):
        branches = kraus[:, t] @ state[:, None] @ kraus[:, t].mH
        exact = branches.diagonal(dim1=-2, dim2=-1).real.sum(-1)
        torch.testing.assert_close(found[:, t].double(), exact, rtol=0, atol=atol)
        state = branches.sum(1)
    torch.testing.assert_close(rho.to(torch.complex128), state, rtol=0, atol=atol)
    for given_start in (start, None):
        rho = kraus.new_zeros(state.shape) if given_start is None else start.to(torch.complex128)
        if given_start is None:
            rho[:, 0, 0] = 1
        wanted = HeisenbergPicture(kraus, weights, rho, causal=True, second=True).total()
        moments = pauli.moments(gates, weights, dtype, given_start, second=True)
        for own, exact in zip(moments, wanted, strict=True):
            torch.testing.assert_close(own.double(), exact, rtol=0, atol=20 * time_steps**2 * atol)
        assert pauli.moments(gates, weights, dtype, given_start)[0].equal(moments[0])


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(step_circuits(largest=2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**20))
def test_random_steps(step, batch, time_steps, seed):
    if PauliSteps.fits(StepProgram(step).ops):
        agrees(step, batch, time_steps, seed)


@pytest.mark.parametrize("dtype, atol", [(torch.complex128, 1e-12), (torch.complex64, 1e-5)])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.num_qubits} qubits, {step.num_parameters} angles")
def test_the_books_steps(step, dtype, atol):
    if PauliSteps.fits(StepProgram(step).ops):
        agrees(step, 5, 4, 3, dtype, atol)


def test_an_independent_density_matrix_says_the_same():
    step = rotation_step(2, 2)
    program = StepProgram(step)
    angles = random_angles(step, 1, 3, seed=1)
    found = compiled(program).probabilities(program.gate_angles(angles), torch.complex128)[0]
    torch.testing.assert_close(found[0], torch.as_tensor(evolve(step, angles[0].numpy())[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("dtype, atol", [(torch.complex128, 1e-12), (torch.complex64, 1e-5)])
def test_many_circuits_take_this_way_and_few_the_other_with_one_result(dtype, atol, state):
    step = rotation_step(2, 2)
    program = StepProgram(step)
    batch = 4 * program.pauli_steps(10**6).calls
    gates = program.gate_angles(random_angles(step, batch, 3, seed=1))
    weights = torch.rand(batch, 3, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    start = random_state(batch, 4, 2) if state else None
    backend = ExactBackend(dtype)
    assert program.pauli_steps(batch) is not None and program.pauli_steps(batch - 1) is None
    with torch.no_grad():
        many, rho = backend.run(program, gates, start)
        sums = backend.sums(program, gates, weights, start)
    recorded, other = backend.run(program, gates.requires_grad_(), start)
    torch.testing.assert_close(many, recorded.detach(), rtol=0, atol=atol)
    torch.testing.assert_close(rho, other.detach(), rtol=0, atol=atol)
    torch.testing.assert_close(sums, (recorded.detach() * weights).sum((1, 2)), rtol=0, atol=20 * atol)


@pytest.mark.parametrize("batch", [3, 400])
def test_sums_of_drawn_shots_have_the_moments(batch):
    """By true shots: mean and variance of X, over many repetitions of the same circuits."""
    step, shots, times = rotation_step(1, 1), 4, 3_000 // batch + 8
    program = StepProgram(step)
    gates = program.gate_angles(random_angles(step, 1, 3, seed=1)).expand(batch, -1, -1)
    weights = torch.tensor([[0.3, -1.0], [2.0, 0.4], [-0.7, 1.1]], dtype=torch.float64).expand(batch, -1, -1)
    drawn = {}
    for backend in (ShotBackend(shots, seed=1), MomentBackend(shots, seed=2)):
        drawn[backend] = torch.cat([backend.sums(program, gates, weights) for _ in range(times)])
    true, normal = drawn.values()
    count = len(true)
    spread = (true.var() / count + normal.var() / count).sqrt()
    assert abs(true.mean() - normal.mean()) < 4 * spread
    assert true.var() == pytest.approx(normal.var().item(), rel=4 * (4 / count) ** 0.5)


def test_what_nobody_sees_is_not_worked_out():
    """A rotation about z of a readout qubit before its measurement, or of |0>, has no move."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rz(0.3, 1)
    step.ry(0.5, 1)
    step.cx(1, 0)
    step.rz(0.7, 1)
    gates = [move.gate for move in compiled(StepProgram(step))._applied()]
    assert [gate.qubits for gate in gates] == [(1,), (1, 0)]


@pytest.mark.parametrize("kind", [ExactBackend, lambda: MomentBackend(10**9, seed=1)], ids=["exact", "moments"])
def test_what_a_reader_derives_is_not_passed_by(kind):
    """A backend whose ``run`` or ``values`` is its own answers by it, for few circuits and for many."""
    program = StepProgram(rotation_step(1, 1))
    base = type(kind())

    class Halved(base):
        def values(self, *arguments):
            return super().values(*arguments) / 2

    for batch in (3, 1000):
        gates = program.gate_angles(random_angles(program.step, batch, 2, seed=1))
        weights = torch.ones(batch, 2, 2, dtype=torch.float64)
        own = Halved() if base is ExactBackend else Halved(10**9, seed=1)
        torch.testing.assert_close(own.sums(program, gates, weights), torch.ones(batch).double(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("frequencies", [[0, 1, 2**0.5, np.pi], [0, 1 / 3, 14.14, 0.1], [0, 1e-5, 3e-5, 2e-5]])
def test_large_angles_keep_their_digits(frequencies):
    step = QuantumCircuit(*registers(1, 1, True))
    step.h([0, 1])
    step.append(Exponential(Parameter("a"), frequencies), [0, 1])
    step.h([0, 1])
    program = StepProgram(step)
    angles = 2.0**20 * (2 * torch.rand(50, 3, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1)
    gates = program.gate_angles(angles)
    found = compiled(program).probabilities(program.reduced(gates), torch.complex128)[0]
    exact = ExactBackend().run(program, gates)[0]
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)


def test_a_level_of_the_weights_takes_no_digits_from_the_noise():
    """Single precision: outcomes worth 10.1 and 10 scatter as such worth .1 and 0."""
    program = StepProgram(rotation_step(1, 1))
    gates = program.gate_angles(random_angles(program.step, 1, 300, seed=1)).expand(2000, -1, -1)
    weights = torch.tensor([0.1, 0.0], dtype=torch.float64).expand(2000, 300, -1)
    spreads = [
        MomentBackend(10, seed=1, dtype=torch.complex64).sums(program, gates, weights + level).std()
        for level in (0, 10)
    ]
    assert spreads[1] == pytest.approx(spreads[0].item(), rel=1e-3) and spreads[0] > 0.1


def test_a_recorded_state_is_foreseen_as_recorded(monkeypatch):
    program = StepProgram(rotation_step(2, 2))
    gates = program.gate_angles(random_angles(program.step, 1000, 4, seed=1))
    state = random_state(1000, 4, 2).requires_grad_()
    foreseen = []
    monkeypatch.setattr(exact, "check_bytes", lambda name, needed, what: foreseen.append(needed))
    ExactBackend().run(program, gates, state)
    ExactBackend().run(program, gates, state.detach())
    assert foreseen[0] == program.evolution_bytes(4000, torch.complex128, True, 1000) > 2 * foreseen[1]


def test_few_circuits_compile_nothing():
    program = StepProgram(rotation_step(2, 2))
    ExactBackend().run(program, program.gate_angles(random_angles(program.step, 3, 2, seed=1)))
    assert "_pauli" not in vars(program)
    deep = StepProgram(rotation_step(2, 2, layers=30))
    assert deep.pauli_steps(10**6) is None


def test_gates_on_many_qubits_go_the_other_way():
    step = QuantumCircuit(*registers(3, 1, True))
    step.mcx([0, 1, 2], 3)
    assert StepProgram(step).pauli_steps(10**6) is None
