"""Memory capacity and fading memory against cases that are known by hand; the readouts against plain least squares."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SuperOp

from qrnn_helpers.backends import ExactBackend, NoisyBackend, SimpleNoise
from qrnn_helpers.circuits import rotation_step, two_way_step, without_entanglers
from qrnn_helpers.models import QRNN
from qrnn_helpers.simulation import StepProgram
from qrnn_helpers.study import reservoir
from qrnn_helpers.study.arms import MAIN, task_of
from qrnn_helpers.study.reservoir import (
    capacity,
    channels,
    decay,
    drawn_inputs,
    driven,
    linear_targets,
    quadratic_targets,
    second_eigenvalues,
    shot_noise,
)

DOUBLE = {"dtype": torch.float64, "device": "cpu"}


def test_a_delay_line_has_its_length_as_capacity_and_nothing_else():
    u = drawn_inputs(500, 9, 0)
    line = u[:, -4:]  # the present input and three earlier ones
    found = capacity(line, linear_targets(u))
    torch.testing.assert_close(found[:4], torch.ones(4, **DOUBLE))
    assert found[4:].abs().max() < 0.05
    assert abs(float(capacity(line, quadratic_targets(u)).sum())) < 0.3  # 45 targets, by chance 4 * 45 / 500 = .36


def test_capacity_without_knowledge_is_0_in_the_mean():
    """Plain R^2 would be 5 / 99 of each target."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(100, 40, generator=generator, **DOUBLE) for _ in range(50)]
    found = torch.stack([capacity(draw[:, :5], draw[:, 5:]) for draw in draws])
    error = found.std() / found.numel() ** 0.5
    assert found.mean().abs() < 4 * error < 0.01


def test_capacity_is_the_adjusted_r_squared():
    generator = torch.Generator().manual_seed(1)
    features, noise = (torch.randn(60, 3, generator=generator, **DOUBLE) for _ in range(2))
    targets = features @ torch.randn(3, 3, generator=generator, **DOUBLE) + noise
    rows = np.column_stack([np.ones(60), features.numpy()])
    residuals = targets.numpy() - rows @ np.linalg.lstsq(rows, targets.numpy(), rcond=None)[0]
    share = 1 - residuals.var(0) / targets.numpy().var(0)
    np.testing.assert_allclose(capacity(features, targets), 1 - (1 - share) * 59 / 56)


def test_all_capacities_together_stay_below_the_number_of_features():
    model = QRNN(1, 1, two_way_step(2, 2), seed=0, **{"dtype": torch.float64})
    u = drawn_inputs(1000, 6, 3)
    with torch.no_grad():
        p = model.features(u[..., None])[:, -1, :-1]
    both = torch.cat([linear_targets(u), quadratic_targets(u)], 1)
    assert 1 < capacity(p, both).sum() < 3


def test_a_circuit_without_entanglers_remembers_nothing():
    model = QRNN(1, 1, without_entanglers(rotation_step(2, 2)), seed=0, dtype=torch.float64)
    u = drawn_inputs(2000, 5, 1)
    with torch.no_grad():
        p = model.features(u[..., None])[:, -1, :-1]
    found = capacity(p, linear_targets(u))
    assert found[0] > 0.3
    assert found[1:].abs().max() < 0.01


def test_shots_in_closed_form_are_those_that_are_drawn():
    generator = np.random.default_rng(0)
    u = drawn_inputs(200_000, 1, 2)
    p = torch.softmax(torch.cat([u, u.square(), -u, 0 * u], 1), 1)
    read = torch.from_numpy(generator.multinomial(20, p.numpy()) / 20)
    drawn = capacity(read[:, :-1], u)
    torch.testing.assert_close(capacity(p[:, :-1], u, shot_noise(p, 20)[:-1, :-1]), drawn, atol=0.01, rtol=0)
    assert drawn < capacity(p[:, :-1], u) - 0.1


def test_quadratic_targets_are_orthogonal_to_each_other_and_to_the_linear_ones():
    u = drawn_inputs(100_000, 3, 0)
    targets = torch.cat([torch.ones_like(u[:, :1]), linear_targets(u), quadratic_targets(u)], 1)
    gram = targets.T @ targets / len(u)
    assert (gram - torch.diag(gram.diagonal())).abs().max() < 0.02


def looking_step() -> QuantumCircuit:
    """The memory qubit turns a fresh readout qubit by a."""
    step = QuantumCircuit(QuantumRegister(1, "memory"), QuantumRegister(1, "readout"))
    step.crx(ParameterVector("a", 1)[0], 0, 1)
    return step


@pytest.mark.parametrize("a", [0.5, 1.5, 2.5])
def test_channel_of_one_look_by_hand(a):
    """Populations stay; coherences shrink by <0| R_X(a) |0> = cos(a / 2)."""
    found = channels(ExactBackend(), StepProgram(looking_step()), torch.tensor([[a]], **DOUBLE))
    expected = torch.diag(torch.tensor([1, np.cos(a / 2), np.cos(a / 2), 1], dtype=torch.complex128))
    torch.testing.assert_close(found[0], expected)
    # 1 is double here: <Z> of the memory never fades.
    torch.testing.assert_close(second_eigenvalues(found), torch.ones(1, **DOUBLE))


def test_second_eigenvalue_of_a_swap_and_of_relaxation_by_hand():
    """A full swap forgets at once; a memory that only relaxes keeps exp(-1 / (2 T1)) of its coherence."""
    swap = QuantumCircuit(QuantumRegister(1, "memory"), QuantumRegister(1, "readout"))
    swap.rz(ParameterVector("a", 1)[0], 0)
    kept = swap.copy()
    swap.swap(0, 1)
    angles = torch.zeros(1, 1, **DOUBLE)
    assert second_eigenvalues(channels(ExactBackend(), StepProgram(swap), angles)) < 1e-6
    noisy = NoisyBackend(SimpleNoise(t1=2.0, measure_time=1.0))
    found = second_eigenvalues(channels(noisy, StepProgram(kept), angles))
    torch.testing.assert_close(found, torch.full((1,), np.exp(-1 / 4), **DOUBLE))


def test_channel_is_that_of_qiskit():
    step = two_way_step(1, 1)
    values = np.random.default_rng(0).uniform(-3, 3, step.num_parameters)
    bound = step.assign_parameters(values)
    whole = SuperOp(bound)
    reset = QuantumCircuit(1)
    reset.reset(0)
    memory = [bound.find_bit(qubit).index for qubit in bound.qregs[0]] if bound.qregs[0].name == "memory" else [1]
    (place,) = memory
    whole = whole.compose(SuperOp(reset), [1 - place])
    rho = np.array([[0.7, 0.2 - 0.1j], [0.2 + 0.1j, 0.3]])
    ground = np.diag([1.0, 0.0])
    joint = np.kron(ground, rho) if place == 0 else np.kron(rho, ground)
    after = (whole.data @ joint.flatten(order="F")).reshape(4, 4, order="F").reshape(2, 2, 2, 2)
    expected = np.einsum("aiaj->ij", after) if place == 0 else np.einsum("iaja->ij", after)
    matrix = channels(ExactBackend(), StepProgram(step), torch.from_numpy(values)[None])[0]
    np.testing.assert_allclose((matrix @ torch.from_numpy(rho).flatten()).view(2, 2), expected, atol=1e-12)


def test_driven_steps_are_those_of_the_layer():
    model = QRNN(1, 1, rotation_step(2, 2), seed=0, dtype=torch.float64)
    u = drawn_inputs(3, 5, 0)[..., None]
    with torch.no_grad():
        p, state = model.layer(model.encoder(u))
        steps = list(driven(ExactBackend(), model.layer.program, model.encoder(u)))
    torch.testing.assert_close(torch.stack([each for each, _ in steps], 1), p)
    torch.testing.assert_close(steps[-1][1], state)


def test_memory_fades_as_the_second_eigenvalue_says_under_one_input():
    found = reservoir.fading("two_way", 1, {}, range(6), 120)["constant"]
    rates = [decay(row) for row in found["distance"]]
    np.testing.assert_allclose(rates, np.array(found["eigenvalue"])[:, 0], rtol=0.02)
    distances = np.array(found["distance"])
    assert (np.diff(distances) <= 1e-12).all()  # no channel tells states apart better than they are
    assert (np.array(found["readout"]) <= distances[:, :-1] + 1e-12).all()


def test_decay_of_a_geometric_series_is_its_factor():
    assert decay(0.8 ** np.arange(50)) == pytest.approx(0.8)
    assert decay(0.01 ** np.arange(50)) == pytest.approx(0.01)  # lost after five steps


def test_a_unital_circuit_forgets_its_inputs_unless_it_relaxes():
    """rotation_step leaves a mixed memory mixed: what it knew at first is gone later.  Relaxation cures that."""
    plain, relaxed = (
        reservoir.capacities("rotation", 2, noise, (0,), 500, 16) for noise in ({}, reservoir.NOISES["relaxation-0.3"])
    )
    past = [[np.mean([rows[k][0][1] for rows in found["linear"]]) for k in (0, -1)] for found in (plain, relaxed)]
    assert abs(past[0][1]) < 0.01
    assert past[1][1] > 0.03
    assert np.mean(plain["purity"], 0)[-1] < np.mean(relaxed["purity"], 0)[-1]


def test_shots_are_shared_among_all_windows_or_as_many_as_there_are_shots():
    assert reservoir.shared(1000) == (1000, 1)
    assert reservoir.shared(10**6) == (4096, 244)
    assert reservoir.shared(None) == (4096, None)


def test_readout_of_the_last_step_is_least_squares():
    """numpy's lstsq on the same outcomes, the penalty next to nothing."""
    p = {part: reservoir.forecast_read(MAIN, 100, 1.0, part).exact[:, -1].numpy() for part in ("train", "validation")}
    task = task_of(MAIN, 100)
    target, truth = (getattr(task, part)[1][:, -1, 0].numpy() for part in p)
    fit = np.linalg.lstsq(p["train"], target, rcond=None)[0]
    expected = np.sqrt(np.mean((p["validation"] @ fit - truth) ** 2)) / truth.std()
    found = reservoir.forecast_errors(MAIN, 100, None, "last", {"gain": 1.0, "penalty": 1e-9}, "validation")
    assert found[0] == found[1] == pytest.approx(expected, rel=1e-5)


def test_shots_of_a_window_have_the_spread_of_a_multinomial():
    read = reservoir.forecast_read(MAIN, 100, 1.0, "validation")
    p, noisy = read.exact[:, -1], read.by(25)[:, -1]
    torch.testing.assert_close(noisy.sum(1), torch.ones(len(p), **DOUBLE), atol=1e-5, rtol=0)
    spread = (noisy - p).T @ (noisy - p) / len(p)
    torch.testing.assert_close(spread, shot_noise(p, 25), atol=1e-3, rtol=0)


def test_jobs_have_names_of_their_own_and_fit_the_budget():
    jobs = list(reservoir.jobs())
    assert len({job.label for job in jobs}) == len(jobs)
    assert sum(job.cost_seconds or 0 for job in jobs) < 1200
    assert len(reservoir.GAINS) * len(reservoir.PENALTIES) <= 33
