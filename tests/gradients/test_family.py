"""The estimators between SPSA and the shift rule: exact where they claim it, unbiased, and as noisy as theory says.

Statistical tests compare a mean over equal samples with the exact value, or a variance with the law,
and allow 4.5 standard errors; seeds are fixed, so that they pass always or never.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import A, Exponential, gradient, problem, sandwiched
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from reference import chi_square, random_angles, random_state, registers, shot_variance, step_circuits

from qrnn_helpers import (
    SPSA,
    Autograd,
    DirectionalShift,
    ExactBackend,
    FiniteDifference,
    ParameterShift,
    QuantumRecurrentLayer,
    RandomCoordinate,
    ShotBackend,
    reuploading_step,
    rotation_step,
)
from qrnn_helpers.gradients import live_angles
from qrnn_helpers.gradients.directional_shift import _riesz_nodes
from qrnn_helpers.simulation import StepProgram

often = settings(max_examples=20, derandomize=True, deadline=None, database=None)
CASES = (step_circuits(largest=2), st.integers(1, 3), st.integers(0, 2**20))


class EveryPlace(RandomCoordinate):
    """Sample b draws gate angle b: a batch of all of them is the estimator's exact distribution."""

    def _draw(self, batch, total):
        return torch.arange(batch)[:, None]


def all_draws(step, angles, weights, **options) -> torch.Tensor:
    """The estimates of one sample for every single coordinate, (time * G, time, P)."""
    count = angles.shape[1] * len(StepProgram(step).occurrences)
    return gradient(step, angles.repeat(count, 1, 1), weights, gradient=EveryPlace(), **options)


def variance_agrees(found: torch.Tensor, wanted: float) -> None:
    """Sample variance of (n,) estimates within 4.5 of its standard error, from its own fourth moment."""
    centred = found - found.mean()
    error = (centred**2).std() / len(found) ** 0.5
    assert abs(found.var() - wanted) < 4.5 * error, (float(found.var()), wanted, float(error))


# ---------------------------------------------------------------- random coordinates


@often
@given(*CASES)
def test_mean_over_all_coordinates_is_the_gradient(step, time, seed):
    step, angles, weights = problem(step, 1, time, seed)
    exact = gradient(step, angles, weights)
    found = all_draws(step, angles, weights)
    torch.testing.assert_close(found.mean(0, keepdim=True), exact, rtol=0, atol=1e-9)


@often
@given(*CASES)
def test_all_coordinates_are_the_shift_rule(step, time, seed):
    step, angles, weights = problem(step, 2, time, seed)
    every = RandomCoordinate(time * len(StepProgram(step).occurrences), seed=seed)
    found = gradient(step, angles, weights, gradient=every)
    torch.testing.assert_close(found, gradient(step, angles, weights), rtol=0, atol=1e-9)


def test_error_of_a_few_coordinates_is_the_law():
    """(M / k - 1) |g|**2 for k of M gate angles, here one angle a gate."""
    step, angles, weights = problem(rotation_step(1, 1), 1, 3, seed=1)
    exact = gradient(step, angles, weights)
    wanted = exact.square().sum() * (39 / 1 - 1)
    found = (all_draws(step, angles, weights) - exact).square().sum((1, 2)).mean()
    torch.testing.assert_close(found, wanted)
    many = angles.expand(2000, -1, -1)
    errors = (gradient(step, many, weights, gradient=RandomCoordinate(10, seed=2)) - exact).square().sum((1, 2))
    assert abs(errors.mean() - exact.square().sum() * (39 / 10 - 1)) < 4.5 * errors.std() / 2000**0.5


def test_coordinates_start_from_each_samples_own_state():
    step, angles, weights = problem(rotation_step(2, 1), 3, 2, seed=3)
    state = random_state(3, 4, seed=4)
    exact = gradient(step, angles, weights, state=state)
    found = gradient(step, angles, weights, state=state, gradient=RandomCoordinate(2 * 20, seed=1))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)


def test_more_coordinates_than_gate_angles_are_refused():
    step, angles, weights = problem(rotation_step(1, 1), 1, 2)
    with pytest.raises(ValueError, match="coordinates must be at most 26; got 27"):
        gradient(step, angles, weights, gradient=RandomCoordinate(27, seed=1))


def test_coordinates_cost_at_most_what_they_say():
    """12 two-term gates and one four-term gate a step: 4 + 2 + 2 at most."""
    step, angles, _ = problem(rotation_step(1, 1), 40, 2)
    layer = QuantumRecurrentLayer(step, gradient=RandomCoordinate(3, seed=1))
    layer(angles.requires_grad_())[0].sum().backward()
    assert layer.gradient.circuits(layer.program, 1) == 4 + 2 + 2
    assert 40 * (1 + 3 * 2) < layer.cost.circuits < layer.update_circuits(40, 2) == 40 * (1 + 4 + 4 + 2)
    every = RandomCoordinate(26)
    assert every.circuits(layer.program, 2) == ParameterShift().circuits(layer.program, 2)


# ---------------------------------------------------------------- finite differences


@often
@given(*CASES)
@pytest.mark.parametrize("causal", [False, True])
def test_small_differences_are_the_gradient(causal, step, time, seed):
    step, angles, weights = problem(step, 2, time, seed)
    found = gradient(step, angles, weights, gradient=FiniteDifference(1e-4, causal))
    torch.testing.assert_close(found, gradient(step, angles, weights), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("h", [0.1, 1.1, np.pi / 2])
def test_differences_attenuate_rotations_by_their_step(h):
    """[f(+h) - f(-h)] / 2h of a sinusoid is its slope times sin(h) / h, through reset and all."""
    step = QuantumCircuit(*registers(1, 1, True))
    for k, gate in enumerate((step.rx, step.ry, step.rx)):
        gate(Parameter(f"a{k}"), k % 2)
        step.cx(0, 1)
    step, angles, weights = problem(step, 2, 4)
    found = gradient(step, angles, weights, gradient=FiniteDifference(h))
    torch.testing.assert_close(found, gradient(step, angles, weights) * np.sin(h) / h)


# ---------------------------------------------------------------- directions


def test_nodes_have_riesz_probabilities():
    drawn = _riesz_nodes((200_000,), torch.Generator().manual_seed(1)).numpy()
    law = 8 / (np.pi * (2 * np.arange(200) + 1)) ** 2
    counts = np.bincount(drawn[drawn < 200].astype(int), minlength=200)
    chances = np.append(law, 1 - law.sum())
    assert chi_square(np.append(counts, len(drawn) - counts.sum()), chances) > 1e-3


@pytest.mark.parametrize("gates", [[0, 1, np.sqrt(2), np.pi], [0, 1, 2, 3]])
def test_riesz_formula_is_exact_along_any_direction(gates):
    """Its first 20,000 terms leave at most their tail, 2 / pi**2 / 20,000 of B (max - min) / 2."""
    step = sandwiched(Exponential(A, gates))
    step.ry(Parameter("b"), 1)
    step.crz(Parameter("c"), 2, 0)
    step.h(0)
    step, angles, weights = problem(step, 1, 1, seed=3)
    band, signs = np.ptp(gates) + 1 + 1, torch.tensor([1.0, -1.0, 1.0]).double()
    node = torch.arange(20_000)[:, None, None].double()
    moves = (2 * node + 1) * np.pi / (2 * band) * signs
    layer = QuantumRecurrentLayer(step)
    forth, back = ((layer(angles + sign * moves)[0] * weights).sum((1, 2)) for sign in (1, -1))
    node = node.flatten()
    found = band / 2 * (8 / (np.pi * (2 * node + 1)) ** 2 * (-1) ** node * (forth - back)).sum()
    wanted = (gradient(step, angles, weights) * signs).sum()
    reach = 2 * (weights.amax() - weights.amin())
    assert abs(found - wanted) < band / 2 * reach * 2 / np.pi**2 / 20_000 + 1e-10


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("directions", [1, 4])
def test_mean_of_directional_shifts_is_the_gradient(causal, directions):
    """z-scores of all slopes below 4.5, at angles and c where SPSA's mean is far off."""
    step = QuantumCircuit(*registers(1, 1, True))
    for k, gate in enumerate((step.rx, step.ry, step.rx)):
        gate(Parameter(f"a{k}"), k % 2)
        step.cx(0, 1)
    step, angles, weights = problem(step, 1, 2, seed=6)
    exact, many = gradient(step, angles, weights), angles.expand(20_000, -1, -1)

    def z_scores(estimator):
        found = gradient(step, many, weights, gradient=estimator)
        return ((found.mean(0) - exact[0]) / (found.std(0) / 20_000**0.5 + 1e-12)).abs()

    assert z_scores(DirectionalShift(directions, seed=7, causal=causal)).max() < 4.5
    assert z_scores(SPSA(1.0, directions, seed=7, causal=causal)).max() > 10


def test_directional_shifts_work_where_no_shift_rule_does():
    step = sandwiched(Exponential(A, [0, 1, np.sqrt(2), np.pi], name="awkward"))
    step, angles, weights = problem(step, 1, 1)
    exact = gradient(step, angles, weights)
    found = gradient(step, angles.expand(20_000, -1, -1), weights, gradient=DirectionalShift(seed=1))
    assert abs(found.mean() - exact) < 4.5 * found.std() / 20_000**0.5


# ---------------------------------------------------------------- laws under shots

NOISY = rotation_step(1, 1)
SHOTS, REPEATS = 20, 3000


def noisy(estimator, angles, weights) -> torch.Tensor:
    """REPEATS estimates (REPEATS, time, P) under shots."""
    many = angles.expand(REPEATS, -1, -1)
    return gradient(NOISY, many, weights, backend=ShotBackend(SHOTS, seed=11), gradient=estimator)


def moved(angles, step, k, by) -> np.ndarray:
    found = angles[0].numpy().copy()
    found[step, k] += by
    return found


@pytest.mark.parametrize("causal", [False, True])
def test_variance_of_the_shift_rule(causal):
    """sum_k c_k**2 sigma_k**2 / N, each term with the variance of its own shifted circuit."""
    _, angles, weights = problem(NOISY, 1, 2, seed=5)
    found, w = noisy(ParameterShift(causal), angles, weights), weights[0].numpy()
    for step, k in ((0, 1), (1, 4), (0, 6), (1, 6)):  # two RX, the CRX at both steps
        first = step if causal else 0
        rule = StepProgram(NOISY).rules[k]
        wanted = sum(
            c**2 * shot_variance(NOISY, moved(angles, step, k, s), w, first) / SHOTS
            for s, c in zip(rule.shifts, rule.coefficients, strict=True)
        )
        variance_agrees(found[:, step, k], wanted)


@pytest.mark.parametrize("h", [0.1, 1.0])
def test_variance_of_finite_differences(h):
    """(sigma_+**2 + sigma_-**2) / (4 N h**2): a hundred times the shift rule's at h = 0.1."""
    _, angles, weights = problem(NOISY, 1, 2, seed=5)
    found, w = noisy(FiniteDifference(h), angles, weights), weights[0].numpy()
    for step, k in ((0, 1), (1, 6)):
        both = (shot_variance(NOISY, moved(angles, step, k, s * h), w) for s in (1, -1))
        variance_agrees(found[:, step, k], sum(both) / (4 * SHOTS * h**2))


def test_variance_of_spsa():
    """Of one slope: sum of the other slopes' squares (the signs) + sigma**2 / (2 N c**2) (the shots)."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 1)
    step.ry(Parameter("b"), 0)
    step.cx(0, 1)
    step, angles, weights = problem(step, 1, 2, seed=5)
    c, exact = 0.02, gradient(step, angles, weights)[0]
    many = angles.expand(20_000, -1, -1)
    found = gradient(step, many, weights, backend=ShotBackend(SHOTS, seed=11), gradient=SPSA(c, seed=12))
    sigma = shot_variance(step, angles[0].numpy(), weights[0].numpy())
    for place in ((0, 0), (0, 1), (1, 0)):
        wanted = exact.square().sum() - exact[place] ** 2 + sigma / (2 * SHOTS * c**2)
        assert abs(found[:, *place].var() / wanted - 1) < 4.5 * (2 / 20_000) ** 0.5 + 2 * c


def test_variance_of_directional_shifts():
    """With shots few enough to drown the signs: B**2 sigma**2 / 2N, at nodes that reach around the circle."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 1)
    step, angles, weights = problem(step, 1, 1, seed=5)
    # One angle, B = 1: nodes fall on +-pi/2 and the formula is the two-term rule itself.
    many = angles.expand(REPEATS, -1, -1)
    found = gradient(step, many, weights, backend=ShotBackend(SHOTS, seed=11), gradient=DirectionalShift(seed=1))
    w = weights[0].numpy()
    sigma = sum(shot_variance(step, angles[0].numpy() + s * np.pi / 2, w) for s in (1, -1)) / 2
    variance_agrees(found.flatten(), sigma / (2 * SHOTS))


@pytest.mark.parametrize(
    "estimator",
    [
        ParameterShift(prune=True),
        RandomCoordinate(8, seed=1),
        FiniteDifference(0.05, causal=True),
        FiniteDifference(0.05),
    ],
    ids=repr,
)
def test_estimates_from_shots_have_the_right_mean(estimator):
    """z-scores of 26 slopes; the differences' bias, h**2 / 6 of a slope, is below the noise."""
    _, angles, weights = problem(NOISY, 1, 2, seed=5)
    exact = gradient(NOISY, angles, weights)[0]
    found = noisy(estimator, angles, weights)
    error = found.std(0) / REPEATS**0.5
    assert ((found.mean(0) - exact).abs() < 4.5 * error + 1e-12).all()


# ---------------------------------------------------------------- angles that need no circuits


@often
@given(*CASES)
def test_pruned_rule_is_exact(step, time, seed):
    step, angles, weights = problem(step, 2, time, seed)
    layer = QuantumRecurrentLayer(step, gradient=ParameterShift(prune=True))
    found = angles.clone().requires_grad_()
    (layer(found)[0] * weights).sum().backward()
    torch.testing.assert_close(found.grad, gradient(step, angles, weights), rtol=0, atol=1e-9)
    assert layer.cost.circuits == layer.update_circuits(2, time)
    assert layer.cost.circuits <= 2 * (1 + time * layer.program.shift_circuits)


def test_pruned_rule_is_exact_over_many_steps():
    """Small angles, so that the last steps still know of the first: nothing may be dead for being far away."""
    step, _, weights = problem(rotation_step(1, 1), 1, 90, seed=3)
    angles = 0.1 * random_angles(step, 1, 90, seed=4)
    found = gradient(step, angles, weights, gradient=ParameterShift(prune=True))
    torch.testing.assert_close(found, gradient(step, angles, weights), rtol=0, atol=1e-9)


def test_pruned_rule_is_exact_from_a_given_state():
    """The memory's first RZ does nothing on |0>, but turns a coherent state."""
    step, angles, weights = problem(rotation_step(2, 2), 3, 3, seed=2)
    state = random_state(3, 4, seed=1)
    exact = gradient(step, angles, weights, state=state)
    found = gradient(step, angles, weights, state=state, gradient=ParameterShift(prune=True))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)
    assert exact[:, 0, 0].abs().min() > 1e-6


@pytest.mark.parametrize(
    "memory, readout, time, all_circuits, needed",
    [(2, 2, 8, 480, 356), (4, 4, 20, 2480, 1936), (1, 1, 150, 4200, 2994), (2, 2, 150, 9000, 6888)],
)
def test_circuits_that_suffice(memory, readout, time, all_circuits, needed):
    """By hand, for RZ RX RZ, CRX chain, RZ RX RZ.  Each step, both outer RZ of every readout qubit and the
    memory's last RZ; the RZ before and after m0's control are one; once, the memory's first RZ; at the end
    the memory's last RX and RZ, and both RZ around m0's control."""
    program = StepProgram(rotation_step(memory, readout))
    assert ParameterShift().circuits(program, time) == all_circuits
    spared = time * (2 * readout + memory + 1) + memory + 2 * memory + 1 - 1
    assert all_circuits - 2 * spared == needed
    assert ParameterShift(prune=True).circuits(program, time) == needed


def test_dead_angles_by_name():
    """rotation_step(1, 1), two steps; q0 is memory, q1 readout; 13 gates a step in gate order."""
    plan = live_angles(StepProgram(rotation_step(1, 1)), 2)
    dead = (plan.factor == 0).view(2, 13)
    # RZ RX RZ on q0, RZ RX RZ on q1, CRX, RZ RX RZ on q0, RZ RX RZ on q1
    assert dead[0].nonzero().flatten().tolist() == [0, 3, 12]
    assert dead[1].nonzero().flatten().tolist() == [2, 3, 7, 8, 9, 12]
    source = plan.source.view(2, 13)
    assert source[0, 2] == 7 and source[0, 9] == 13  # both RZ at the control; the last RZ and the next step's first


def test_nothing_is_pruned_that_does_something():
    """A weakly coupled gate stays.  In reuploading_step, by hand: at the last step the three gates that turn
    m0, the last gate of each of the other three pairs, and the RZ before m0's control."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 0)
    step.crx(1e-3, 0, 1)
    assert live_angles(StepProgram(step), 3).live.all()
    plan = live_angles(StepProgram(reuploading_step(2, 2)), 4)
    assert (plan.factor == 0).view(4, 20).sum(1).tolist() == [0, 0, 0, 7]


def test_a_step_without_parameters_has_nothing_to_estimate():
    step = QuantumCircuit(*registers(1, 1, True))
    step.h(0)
    step.cx(0, 1)
    assert live_angles(StepProgram(step), 2).live.shape == (2, 0)
    for estimator in (ParameterShift(prune=True), FiniteDifference(), SPSA(seed=1), DirectionalShift(seed=1)):
        layer = QuantumRecurrentLayer(step, gradient=estimator)
        angles = torch.zeros(2, 3, 0, dtype=torch.float64, requires_grad=True)
        layer(angles)[0].sum().backward()
        assert angles.grad.shape == (2, 3, 0)


# ---------------------------------------------------------------- habits


@pytest.mark.parametrize("make", [lambda s: RandomCoordinate(3, seed=s), lambda s: DirectionalShift(seed=s)])
def test_draws_are_fresh_and_repeat_with_the_seed(make):
    step, angles, weights = problem(rotation_step(1, 1), 1, 2)
    both = angles.expand(2, -1, -1)
    one, two, other = make(3), make(3), make(4)
    first, second = (gradient(step, both, weights, gradient=one) for _ in range(2))
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert torch.equal(first, gradient(step, both, weights, gradient=two))
    assert torch.equal(second, gradient(step, both, weights, gradient=two))
    assert not torch.equal(first, gradient(step, both, weights, gradient=other))


@pytest.mark.parametrize("backend", [ExactBackend(torch.complex64), ShotBackend(10, seed=1)], ids=repr)
@pytest.mark.parametrize(
    "estimator",
    [RandomCoordinate(3, seed=1), FiniteDifference(), DirectionalShift(seed=1), ParameterShift(prune=True)],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_follow_the_angles_dtype(dtype, estimator, backend):
    step, angles, weights = problem(rotation_step(1, 1), 2, 2)
    found = gradient(step, angles.to(dtype), weights, backend=backend, gradient=estimator)
    assert found.dtype == dtype and torch.isfinite(found).all()


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: RandomCoordinate(0), ValueError, "coordinates must be at least 1"),
        (lambda: RandomCoordinate(1.5), TypeError, "coordinates must be an integer"),
        (lambda: RandomCoordinate(seed="x"), TypeError, "seed must be an integer"),
        (lambda: RandomCoordinate(causal=0), TypeError, "causal must be True or False"),
        (lambda: FiniteDifference(0), ValueError, "h must be greater than 0"),
        (lambda: FiniteDifference(float("inf")), ValueError, "h must be finite"),
        (lambda: FiniteDifference(causal=None), TypeError, "causal must be True or False"),
        (lambda: DirectionalShift(0), ValueError, "directions must be at least 1"),
        (lambda: DirectionalShift(causal="no"), TypeError, "causal must be True or False"),
        (lambda: ParameterShift(prune=1), TypeError, "prune must be True or False"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_gradients_agree_with_autograd_on_the_books_step():
    step, angles, weights = problem(reuploading_step(2, 2), 2, 3)
    exact = gradient(step, angles, weights, gradient=Autograd())
    found = gradient(step, random_angles(step, 2, 3, 0), weights, gradient=ParameterShift(prune=True))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)
