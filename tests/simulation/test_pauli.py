"""Steps in the Pauli basis agree with the contraction of isometries, for any circuit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import by_hand, interleaved
from qiskit import QuantumCircuit
from reference import evolve, random_angles, random_state, registers, step_circuits

from qrnn_helpers import ExactBackend, MomentBackend, ShotBackend
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
    batch = program.pauli_steps(10**6).calls
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


def test_gates_on_many_qubits_go_the_other_way():
    step = QuantumCircuit(*registers(3, 1, True))
    step.mcx([0, 1, 2], 3)
    assert StepProgram(step).pauli_steps(10**6) is None
