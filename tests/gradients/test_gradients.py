"""Every way to estimate a gradient on problems whose gradient is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import A, B, Exponential, gradient, problem, sandwiched
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter
from qiskit.circuit.library import PhaseGate, RXGate, RXXGate, RYGate
from reference import random_state, registers, step_circuits

from qrnn_helpers import ExactBackend, ShotBackend
from qrnn_helpers.circuits import reuploading_step, rotation_step
from qrnn_helpers.gradients import SPSA, Autograd, ParameterShift
from qrnn_helpers.models import QuantumRecurrentLayer
from qrnn_helpers.simulation import StepProgram

ATOL = 1e-9


def shift_is_exact(step, batch=2, time=3, seed=0, state=None) -> None:
    step, angles, weights = problem(step, batch, time, seed)
    exact = gradient(step, angles, weights, state=state, gradient=Autograd())
    for causal in (True, False):
        found = gradient(step, angles, weights, state=state, gradient=ParameterShift(causal))
        torch.testing.assert_close(found, exact, rtol=0, atol=ATOL)


# ---------------------------------------------------------------- parameter-shift


@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(step_circuits(largest=2), st.integers(1, 3), st.integers(0, 2**20))
def test_shift_rule_is_exact_for_random_steps(step, time, seed):
    shift_is_exact(step, time=time, seed=seed)


@pytest.mark.parametrize("step", [rotation_step(2, 2), reuploading_step(2, 1, layers=2)])
def test_shift_rule_is_exact_for_the_books_steps(step):
    shift_is_exact(step, time=4)


def test_shift_rule_is_exact_from_a_given_state():
    shift_is_exact(rotation_step(2, 1), state=random_state(2, 4, seed=3))


def test_autograd_itself_agrees_with_differences():
    step, angles, weights = problem(rotation_step(2, 1), 1, 3)
    layer, h = QuantumRecurrentLayer(step), 1e-5
    found = gradient(step, angles, weights)
    for t, k in [(0, 0), (1, 6), (2, 12), (0, 19)]:
        values = []
        for sign in (1, -1):
            moved = angles.clone()
            moved[0, t, k] += sign * h
            values.append((layer(moved)[0] * weights).sum())
        assert abs((values[0] - values[1]) / (2 * h) - found[0, t, k]) < 1e-8


def test_one_parameter_in_many_gates_and_expressions():
    a, b = Parameter("a"), Parameter("b")
    step = QuantumCircuit(*registers(2, 1, True))
    step.rx(a, 0)
    step.ry(2 * a + b, 2)
    step.crz(-0.5 * b + 0.2, 0, 2)
    step.rx(a, 2)
    step.rxx(a - b, 1, 2)
    step.u(a, 2 * b, a + b, 1)
    shift_is_exact(step)


def test_slopes_by_hand():
    """p(1) = sin((2a + b) / 2)**2: slopes sin(2a + b) and sin(2a + b) / 2."""
    a, b = Parameter("a"), Parameter("b")
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(2 * a + b, 1)
    angles = torch.tensor([[[0.4, -0.9]]], dtype=torch.float64)
    one = torch.tensor([0.0, 1.0], dtype=torch.float64)
    slope = torch.sin(2 * angles[..., :1] + angles[..., 1:])
    for estimator in (Autograd(), ParameterShift()):
        found = gradient(step, angles, one, gradient=estimator)
        torch.testing.assert_close(found, torch.cat([slope, slope / 2], -1))


def sub_circuit(a: Parameter, b: Parameter) -> Gate:
    inner = QuantumCircuit(2, name="inner")
    inner.rx(a, 0)
    inner.crz(2 * a + b, 0, 1)
    outer = QuantumCircuit(2, name="outer")
    outer.append(inner.to_gate(), [1, 0])
    outer.ry(b, 0)
    return outer.to_gate()


@pytest.mark.parametrize(
    "gates",
    [
        [RXGate(A).control(1), PhaseGate(B).control(1)],
        [RYGate(A).control(2, annotated=False), PhaseGate(B).control(2, annotated=False)],
        [RXXGate(A).control(1, annotated=True), RYGate(B).control(2, annotated=True)],
        [RXGate(A).control(1, ctrl_state=0), RYGate(B).control(2, ctrl_state=1, annotated=False)],
        [sub_circuit(A, B)],
        [sub_circuit(A, B).control(1, annotated=False)],
        [Exponential(A, [0, 1, 2, 3]), Exponential(B, [-1.5, 0.5])],
        [Exponential(A, [0, np.sqrt(2), 2 * np.sqrt(2), 0])],
    ],
    ids=["controlled", "twice controlled", "annotated", "open controls", "sub-circuit",
         "controlled sub-circuit", "custom", "custom irrational"],
)  # fmt: skip
def test_shift_rule_is_exact_for_gates_of_any_make(gates):
    shift_is_exact(sandwiched(*gates))


@pytest.mark.parametrize(
    "gate, terms",
    [(RXGate(A), 2), (RXXGate(A), 2), (PhaseGate(A), 2), (RXGate(A).control(1), 4)],
)
def test_terms_of_the_known_rules(gate, terms):
    assert StepProgram(sandwiched(gate)).shift_circuits == terms


def test_four_term_rule_has_the_known_coefficients():
    """(sqrt 2 +- 1) / (4 sqrt 2) at shifts of pi/2 and 3 pi/2 (Anselmetti et al. 2021)."""
    (rule,) = StepProgram(sandwiched(RXGate(A).control(1))).rules
    wrapped = [(s + 2 * np.pi) % (4 * np.pi) - 2 * np.pi for s in rule.shifts]
    plus, minus = (np.sqrt(2) + np.array([1, -1])) / (4 * np.sqrt(2))
    quarter = np.pi / 2
    wanted = {quarter: plus, 3 * quarter: -minus, -3 * quarter: minus, -quarter: -plus}
    for shift, coefficient in zip(wrapped, rule.coefficients, strict=True):
        (key,) = [k for k in wanted if abs(k - shift) < 1e-12]
        assert abs(coefficient - wanted.pop(key)) < 1e-12


def test_gate_without_a_rule_is_named_and_left_to_others():
    step = sandwiched(Exponential(A, [0, 1, np.sqrt(2), np.pi], name="awkward"))
    with pytest.raises(ValueError, match=r"'awkward'.*whole multiples.*SPSA or Autograd"):
        QuantumRecurrentLayer(step, gradient=ParameterShift())
    with pytest.raises(ValueError, match="'awkward'"):
        QuantumRecurrentLayer(step, backend=ShotBackend(10))  # its default is the shift rule
    step, angles, weights = problem(step, 1, 2)
    exact = gradient(step, angles, weights)
    spsa = gradient(step, angles, weights, gradient=SPSA(c=1e-4, directions=64, seed=1))
    assert torch.isfinite(exact).all() and torch.isfinite(spsa).all()


class Opaque(Gate):
    """Neither matrix nor definition."""

    def __init__(self, *angles):
        super().__init__("opaque", 1, list(angles))


@pytest.mark.parametrize("gate", [Opaque(A), Opaque(A, B), Opaque(), Opaque(0.3)])
def test_gate_without_matrix_or_definition_is_named(gate):
    with pytest.raises(ValueError, match=r"step: got gate 'opaque' \(Opaque\); allowed are"):
        QuantumRecurrentLayer(sandwiched(gate))


def test_shifted_shots_estimate_the_exact_gradient_with_and_without_causality():
    """Means over 400 equal samples, within 4.5 of their standard errors; causality lowers those."""
    step, angles, _ = problem(rotation_step(1, 1), 1, 3, seed=4)
    weights = torch.tensor([0.0, 1.0]).double()  # every step's outcome counts alike
    exact = gradient(step, angles, weights)[0]
    errors = {}
    for causal in (True, False):
        options = {"backend": ShotBackend(50, seed=5), "gradient": ParameterShift(causal)}
        found = gradient(step, angles.expand(400, -1, -1), weights, **options)
        errors[causal] = found.std(0) / 20
        assert ((found.mean(0) - exact).abs() < 4.5 * errors[causal] + 1e-12).all()
    assert errors[True][0].norm().item() == pytest.approx(errors[False][0].norm().item(), rel=0.1)
    assert errors[True][2].norm() < 0.9 * errors[False][2].norm()


# ---------------------------------------------------------------- SPSA


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("directions", [1, 5])
def test_mean_of_spsa_is_the_gradient(causal, directions):
    """4,000 equal samples, each with directions of its own; z-scores of 26 slopes below 4."""
    step, angles, weights = problem(rotation_step(1, 1), 1, 2, seed=6)
    exact = gradient(step, angles, weights)[0]
    spsa = SPSA(c=1e-3, directions=directions, seed=7, causal=causal)
    found = gradient(step, angles.expand(4000, -1, -1), weights, gradient=spsa)
    standard_error = found.std(0) / np.sqrt(4000)
    assert ((found.mean(0) - exact).abs() < 4 * standard_error).all()
    assert standard_error.max() < 0.1 * exact.abs().max() / np.sqrt(directions)


def test_spsa_is_unbiased_under_shots_too():
    step, angles, weights = problem(rotation_step(1, 1), 1, 2, seed=6)
    exact = gradient(step, angles, weights)[0]
    options = {"backend": ShotBackend(100, seed=8), "gradient": SPSA(c=0.05, seed=9)}
    found = gradient(step, angles.expand(4000, -1, -1), weights, **options)
    assert ((found.mean(0) - exact).abs() < 4 * found.std(0) / np.sqrt(4000)).all()


def test_spsa_attenuates_each_slope_by_its_finite_step():
    """One angle: [f(+c) - f(-c)] / 2c of sin is cos times sin(c) / c, for any sign."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 1)
    angles, one = torch.tensor([[[0.7]]]).double(), torch.tensor([0.0, 1.0]).double()
    exact = gradient(step, angles, one)
    for c in (0.1, 0.5):
        found = gradient(step, angles, one, gradient=SPSA(c=c, seed=1))
        torch.testing.assert_close(found, exact * np.sin(c) / c)


def test_causal_directions_do_less_harm():
    step, angles, weights = problem(rotation_step(2, 1), 1, 5, seed=2)
    exact, many = gradient(step, angles, weights), angles.expand(1000, -1, -1)
    error = {
        causal: (gradient(step, many, weights, gradient=SPSA(1e-3, seed=3, causal=causal)) - exact).square().mean()
        for causal in (False, True)
    }
    assert error[True] < 0.9 * error[False]


def test_directions_are_fresh_in_every_call_sample_and_repeat_with_the_seed():
    step, angles, weights = problem(rotation_step(1, 1), 1, 2)
    both = angles.expand(2, -1, -1)
    one, two = (QuantumRecurrentLayer(step, gradient=SPSA(seed=3)) for _ in range(2))

    def ask(layer):
        leaf = both.detach().clone().requires_grad_()
        (layer(leaf)[0] * weights).sum().backward()
        return leaf.grad

    first, second = ask(one), ask(one)
    assert not torch.equal(first.sign(), second.sign())  # two consecutive calls
    assert not torch.equal(first[0].sign(), first[1].sign())  # two samples
    assert torch.equal(first, ask(two)) and torch.equal(second, ask(two))  # equal seeds
    assert not torch.equal(first, ask(QuantumRecurrentLayer(step, gradient=SPSA(seed=4))))
    assert np.linalg.matrix_rank(torch.cat([ask(one) for _ in range(8)]).flatten(1).numpy()) == 16


def test_an_estimator_may_be_shared_and_still_never_repeats():
    step, angles, weights = problem(rotation_step(1, 1), 1, 2)
    spsa = SPSA(seed=3)
    found = [gradient(step, angles, weights, gradient=spsa).sign() for _ in range(2)]
    assert not torch.equal(*found)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: SPSA(c=0), ValueError, "c must be greater than 0"),
        (lambda: SPSA(c=-0.1), ValueError, "c must be greater than 0"),
        (lambda: SPSA(c=float("nan")), ValueError, "c must be finite"),
        (lambda: SPSA(c="small"), TypeError, "c must be a real number"),
        (lambda: SPSA(directions=0), ValueError, "directions must be at least 1"),
        (lambda: SPSA(directions=2.0), TypeError, "directions must be an integer"),
        (lambda: SPSA(seed=-1), ValueError, "seed must be at least 0"),
        (lambda: SPSA(seed=2**64), ValueError, "seed must be at most"),
        (lambda: SPSA(causal="yes"), TypeError, "causal must be True or False"),
        (lambda: ParameterShift(causal=1), TypeError, "causal must be True or False"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("estimator", [Autograd(), ParameterShift(), SPSA(seed=1)], ids=repr)
def test_gradients_follow_the_angles_dtype(dtype, estimator):
    step, angles, weights = problem(rotation_step(1, 1), 1, 2)
    backend = ExactBackend(torch.complex64)
    found = gradient(step, angles.to(dtype), weights, backend=backend, gradient=estimator)
    assert found.dtype == dtype
