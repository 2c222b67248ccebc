"""Values of every step by moments: one drawn shot, shrunk, against sums over all histories and true shots."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import by_hand, interleaved
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from reference import random_angles, registers, step_circuits

from qrnn_helpers import SPSA, CostLedger, ExactBackend, MomentBackend, ShotBackend
from qrnn_helpers.backends import Executor
from qrnn_helpers.circuits import exchange_step, reuploading_step, rotation_step, two_way_step
from qrnn_helpers.simulation import PauliSteps, StepProgram, kraus_operators, mean_and_shot, pauli
from qrnn_helpers.simulation.trajectories import picked

READOUT, TIME, COPIES, KINDS = 2, 3, 8000, 3
STEPS = [rotation_step(1, 1), rotation_step(2, 2), rotation_step(1, 3, layers=2), reuploading_step(2, 1, layers=2)]
STEPS += [two_way_step(2, 2), exchange_step(2, 2), by_hand(), interleaved()]
DOUBLE, SINGLE = torch.complex128, torch.complex64


def compiled(program: StepProgram) -> PauliSteps:
    order = program._order
    return PauliSteps(program.ops, order[: program.readout], order[program.readout :])


def uniform(batch: int, time_steps: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, time_steps, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def both_ways(step: QuantumCircuit, batch: int, time_steps: int, seed: int) -> None:
    """By pure states and isometries, and in the Pauli basis: the same numbers, the same outcomes."""
    program = StepProgram(step)
    gates = program.gate_angles(random_angles(step, batch, time_steps, seed))
    draws = uniform(batch, time_steps, seed)
    found, outcomes = compiled(program).shot(gates, draws, DOUBLE)
    wanted, same = mean_and_shot(kraus_operators(program, gates, DOUBLE), draws)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)
    torch.testing.assert_close(found, ExactBackend().run(program, gates)[0], rtol=0, atol=1e-11)
    assert outcomes.equal(same)


@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(step_circuits(largest=2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**20))
def test_random_steps(step, batch, time_steps, seed):
    if PauliSteps.fits(StepProgram(step).ops):
        both_ways(step, batch, time_steps, seed)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.num_qubits} qubits, {step.num_parameters} angles")
def test_the_books_steps(step):
    if PauliSteps.fits(StepProgram(step).ops):
        both_ways(step, 50, 6, 3)


@cache
def case() -> tuple[StepProgram, torch.Tensor, torch.Tensor]:
    """Gate angles (KINDS, time, G) and weights (KINDS, time, R) on 2 + 1 qubits."""
    program = StepProgram(rotation_step(1, READOUT))
    gates = program.gate_angles(random_angles(program.step, KINDS, TIME, seed=4))
    generator = torch.Generator().manual_seed(5)
    return program, gates, torch.randn(KINDS, TIME, 2**READOUT, generator=generator, dtype=torch.float64)


@cache
def chances() -> tuple[np.ndarray, np.ndarray]:
    """All histories (H, time), and their probabilities (KINDS, H), by products of Kraus operators."""
    program, gates, _ = case()
    kraus = kraus_operators(program, gates, DOUBLE).numpy()
    histories = np.array(list(product(range(2**READOUT), repeat=TIME)))
    found = np.empty((KINDS, len(histories)))
    for kind, number in np.ndindex(found.shape):
        state = np.array([1, 0])
        for t, outcome in enumerate(histories[number]):
            state = kraus[kind, t, outcome] @ state
        found[kind, number] = np.linalg.norm(state) ** 2
    return histories, found


def in_the_pauli_basis(program, gates):
    return compiled(program).shot(gates.repeat(COPIES, 1, 1), uniform(COPIES * KINDS, TIME), SINGLE)[1]


def by_isometries(program, gates):
    return mean_and_shot(kraus_operators(program, gates.repeat(COPIES, 1, 1), SINGLE), uniform(COPIES * KINDS, TIME))[1]


def by_drawn_shots(program, gates):
    return ShotBackend(COPIES, seed=1).histories(program, gates).transpose(0, 1).flatten(0, 1)


@pytest.mark.parametrize("draw", [in_the_pauli_basis, by_isometries, by_drawn_shots])
def test_every_history_is_as_frequent_as_it_should_be(draw):
    histories, exact = chances()
    outcomes = draw(*case()[:2]).unflatten(0, (COPIES, KINDS)).numpy()
    found = (outcomes[:, :, None] == histories).all(-1).mean(0)
    assert (np.abs(found - exact) < 5 * np.sqrt(exact * (1 - exact) / COPIES) + 1e-12).all()


@pytest.mark.parametrize("forward", [False, True], ids=["values", "a forward pass"])
@pytest.mark.parametrize("copies", [COPIES, 100], ids=["many circuits", "few circuits at a time"])
@pytest.mark.parametrize("shots", [1, 50])
def test_values_have_the_mean_and_the_covariance_of_shots(shots, copies, forward):
    """Within 5 standard errors; at one shot they are that shot."""
    program, gates, weights = case()
    histories, exact = chances()
    values = weights.numpy()[:, np.arange(TIME), histories]  # (KINDS, H, time)
    mean = np.einsum("kh,kht->kt", exact, values)
    off = values - mean[:, None]
    covariance = np.einsum("kh,kht,khu->ktu", exact, off, off)
    fourth = np.einsum("kh,kht,khu->ktu", exact, off**2, off**2)
    backend = MomentBackend(shots, seed=3, true_forward=not forward)
    circuits, weighted = gates.repeat(copies, 1, 1), weights.repeat(copies, 1, 1)

    def ask() -> torch.Tensor:
        if not forward:
            return backend.values(program, circuits, weighted)
        return (backend.run(program, circuits)[0] * weighted).sum(-1)

    found = torch.cat([ask() for _ in range(COPIES // copies)]).unflatten(0, (COPIES, KINDS)).numpy() - mean
    spread = np.sqrt(np.einsum("ktt->kt", covariance) / shots / COPIES)
    assert (np.abs(found.mean(0)) < 5 * spread).all()
    error = np.sqrt((fourth - covariance**2) / COPIES) / shots
    assert (np.abs(np.einsum("nkt,nku->ktu", found, found) / COPIES - covariance / shots) < 5 * error).all()


def test_causal_spsa_is_unbiased_and_scatters_as_by_drawn_shots():
    program, shots, copies = StepProgram(rotation_step(1, 1)), 4, 2000
    angles = random_angles(program.step, 1, TIME, seed=2).expand(copies, -1, -1)
    weights = torch.tensor([[0.3, -1.0], [2.0, 0.4], [-0.7, 1.1]], dtype=torch.float64).expand(copies, -1, -1)

    def estimates(backend):
        executor = Executor(program, backend, CostLedger(), None)
        return SPSA(0.3, 2, seed=8, causal=True).estimate(executor, angles, weights)

    with torch.no_grad():
        exact = estimates(ExactBackend())  # with the same directions
        by_moments, by_shots = (estimates(kind(shots, seed=1)) - exact for kind in (MomentBackend, ShotBackend))
    assert (by_moments.mean(0).abs() < 5 * by_moments.std(0) / copies**0.5).all()
    own, drawn = by_moments.square(), by_shots.square()
    error = ((own.var(0) + drawn.var(0)) / copies).sqrt()
    assert ((own.mean(0) - drawn.mean(0)).abs() < 5 * error).all()


def test_the_way_and_the_portions_change_no_draw(monkeypatch):
    """Circuits one by one by isometries, and together in the Pauli basis, in portions of any size."""
    program, gates, weights = case()
    gates, weights = gates.repeat(1000, 1, 1), weights.repeat(1000, 1, 1)
    assert program.pauli_steps(len(gates)) is not None and program.pauli_steps(30) is None
    together = MomentBackend(7, seed=1).values(program, gates, weights)
    backend = MomentBackend(7, seed=1)
    parts = zip(gates.split(30), weights.split(30), strict=True)
    alone = torch.cat([backend.values(program, *part) for part in parts])
    monkeypatch.setattr(pauli, "PORTION", 5000)
    cut = MomentBackend(7, seed=1).values(program, gates, weights)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(together, cut, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [(0, 1, 0, 0), (0.5, 0, 0.5, 0), (0, 0, 1, -1e-17), (1e-17, 0.3, 0.7, 0)])
def test_no_number_picks_what_cannot_be(weights, dtype):
    numbers = torch.cat([uniform(1000, 1)[:, 0], torch.tensor([0, 0.3, 0.5, 1 - 2.0**-53], dtype=torch.float64)])
    chances = torch.tensor(weights, dtype=dtype)[:, None].expand(-1, len(numbers))
    assert (chances.gather(0, picked(chances, numbers)[None]) > 1e-10).all()


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_a_readout_that_always_copies_the_memory_repeats_itself(dtype):
    """The first outcome decides all others, which are certain but for rounding."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.ry(Parameter("a"), 0)
    step.cx(0, 1)
    for angle in (0.7, 1.1, -1.8):  # nothing, but for rounding
        step.ry(angle, 0)
    program, time_steps = StepProgram(step), 300
    gates = torch.zeros(2000, time_steps, 1, dtype=torch.float64)
    gates[:, 0] = 1.2
    for _, outcomes in (
        compiled(program).shot(gates, uniform(2000, time_steps), dtype),
        mean_and_shot(kraus_operators(program, gates, dtype), uniform(2000, time_steps)),
    ):
        assert (outcomes == outcomes[:, :1]).all() and 500 < outcomes[:, 0].sum() < 800  # 2000 sin(0.6)**2 = 638


def test_single_precision_does_not_drift():
    """By the same numbers in [0, 1) nearly all circuits have the outcomes of double precision, to the last step."""
    program, time_steps, batch = StepProgram(rotation_step(2, 2)), 150, 300
    gates = program.gate_angles(random_angles(program.step, batch, time_steps, seed=1))
    draws = uniform(batch, time_steps)
    exact, outcomes = compiled(program).shot(gates, draws, DOUBLE)
    found, same = compiled(program).shot(gates, draws, SINGLE)
    assert (outcomes == same).all(1).double().mean() > 0.98
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [3, 1000])
def test_a_run_of_ones_own_is_not_passed_by(batch):
    class Fixed(MomentBackend):
        def run(self, program, gate_angles, state=None):
            return torch.full((*gate_angles.shape[:2], 2), 0.25, dtype=torch.float64), None

    program = StepProgram(rotation_step(1, 1))
    gates = program.gate_angles(random_angles(program.step, batch, 2, seed=1))
    found = Fixed(5, seed=1).values(program, gates, torch.ones(batch, 2, 2, dtype=torch.float64))
    assert (found == 0.5).all()


def test_a_forward_pass_by_one_shot_is_asked_for_by_name():
    with pytest.raises(TypeError, match="true_forward must be True or False"):
        MomentBackend(4, true_forward=0)
    assert "true_forward=False" in repr(MomentBackend(4, true_forward=False))
    assert "forward" not in repr(MomentBackend(4))
