"""Many circuits in one process: none sees another's gates, whatever came before it, and angles of any size."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter
from qiskit.circuit import library as lib
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator
from reference import evolve, registers, slopes_agree

from qrnn_helpers import (
    SPSA,
    ExactBackend,
    ParameterShift,
    QuantumRecurrentLayer,
    RandomCoordinate,
    ShotBackend,
    rotation_step,
)
from qrnn_helpers.circuits import gates
from qrnn_helpers.simulation import StepProgram

A, B = Parameter("a"), Parameter("b")
MAKERS = [
    *(
        (gate.base_class, len(gate.params))
        for gate in get_standard_gate_name_mapping().values()
        if len(gate.params) > 1
    ),
    (lambda *angles: lib.UGate(*angles).control(1, ctrl_state=0), 3),
    (lambda *angles: lib.RGate(*angles).control(1), 2),
    (lambda *angles: lib.XXPlusYYGate(*angles).control(1), 2),
]
"""Gates of several angles, and how many they take."""

ANGLE = torch.float64


def slot_values(rng: random.Random) -> list:
    """What may stand for an angle: a number, free, bound, half-bound and in expressions."""
    x, y = rng.uniform(-3, 3), rng.uniform(-3, 3)
    return [
        x,
        A,
        (2 * B).bind({B: x / 2}),
        (A * B).bind({B: y}),
        (A + B).bind({A: x, B: y}),
        2 * A + 0.3,
        A * B,
        (A + 1.5) ** 2,
        B.sin() - x,
        np.float64(y),
    ]


def variants(count: int, seed: int) -> list[QuantumCircuit]:
    """Steps with one gate of several angles each, in random order."""
    rng, steps = random.Random(seed), []
    for make, angles in MAKERS:
        values = [slot_values(rng) for _ in range(angles)]
        for _ in range(count):
            gate = make(*(rng.choice(options) for options in values))
            step = QuantumCircuit(*registers(1, max(1, gate.num_qubits - 1), True))
            for qubit in range(step.num_qubits):
                step.u(0.4 + qubit, 0.3, -0.7, qubit)
            step.append(gate, rng.sample(range(step.num_qubits), gate.num_qubits))
            for qubit in range(step.num_qubits):
                step.ry(0.9 - qubit, qubit)
            steps.append(step)
    rng.shuffle(steps)
    return steps


def isometry(step: QuantumCircuit, angles: np.ndarray) -> np.ndarray:
    """Qiskit's operator, its columns with the readout in |0>, memory being the first qubits: [r, out, in]."""
    bound = step.assign_parameters(dict(zip(step.parameters, map(float, angles), strict=True)))
    size = 2 ** step.qregs[0].size
    return Operator(bound).data[:, :size].reshape(-1, size, size)


def test_gates_of_several_angles_whatever_was_compiled_before():
    rng = np.random.default_rng(0)
    for step in variants(14, seed=1):
        program = StepProgram(step)
        angles = rng.uniform(-3, 3, len(step.parameters))
        gates = program.gate_angles(torch.tensor(angles, dtype=ANGLE)[None])
        found = program.kraus(gates, torch.complex128)[0].numpy()
        wanted = isometry(step, angles)
        overlap = np.vdot(found, wanted)  # a global phase is nobody's
        np.testing.assert_allclose(found * overlap / abs(overlap), wanted, rtol=0, atol=1e-10, err_msg=str(step))


@pytest.mark.parametrize("step", variants(1, seed=2), ids=lambda step: step.data[step.num_qubits].operation.name)
def test_their_slopes(step):
    if step.parameters:
        angles = torch.rand(1, 2, len(step.parameters), generator=torch.Generator().manual_seed(3), dtype=ANGLE)
        slopes_agree(step, angles)


def test_a_bound_expression_is_its_value():
    """Two steps that differ in a bound expression alone: each as Qiskit has it, whichever comes first."""
    steps = []
    for beta in (0.3, 1.5):
        step = QuantumCircuit(*registers(1, 1, True))
        step.rx(1.0, 1)
        step.append(lib.RGate(A, (2 * B).bind({B: beta / 2})), [1])
        steps.append(step)
    angles = torch.full((1, 2, 1), 0.7, dtype=ANGLE)
    for step in (*steps, *steps[::-1]):
        wanted, _ = evolve(step, angles[0].numpy())
        np.testing.assert_allclose(QuantumRecurrentLayer(step)(angles)[0][0], wanted, rtol=0, atol=1e-12)


class Turn(Gate):
    """A gate of the reader's own, with a matrix that it works out from parameters that anyone may change."""

    def __init__(self, theta, factor):
        super().__init__("turn", 1, [theta, factor])

    def __array__(self, dtype=None, copy=None):
        theta, factor = map(float, self.params)
        return np.diag(np.exp(np.array([-0.5j, 0.5j]) * theta * factor))


def test_a_step_that_is_changed_afterwards_changes_nothing():
    step = QuantumCircuit(*registers(1, 1, True))
    step.h(1)
    step.append(gate := Turn(A, 1.0), [1])
    step.rx(B, 1)
    step.cx(1, 0)
    layer = QuantumRecurrentLayer(step, gradient=ParameterShift())
    bound = [0.3, -0.8]
    before = Operator(layer.program.expanded.assign_parameters(bound))
    angles = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=ANGLE, requires_grad=True)
    first, _ = layer(angles)
    step.x(1)
    step.data[1].operation.params[1] = gate.params[1] = 3.0
    step.assign_parameters({B: 0.2}, inplace=True)
    again, _ = layer(angles)
    assert torch.equal(first, again)
    assert Operator(StepProgram.expanded.func(layer.program).assign_parameters(bound)) == before
    assert layer.program.step.num_parameters == 2
    slopes = torch.autograd.grad(again.square().sum(), angles)[0]
    wanted = torch.autograd.grad(first.square().sum(), angles)[0]
    assert torch.equal(slopes, wanted) and slopes.abs().max() > 0.01


def test_parts_that_are_changed_afterwards_change_nothing():
    """What a caller still holds: a matrix, a gate in two circuits, the circuit inside a gate."""
    inner = QuantumCircuit(2, name="inner")
    inner.cry(A, 0, 1)
    held, matrix, shared = inner.to_gate(), np.diag([1, 1j]), lib.CRXGate(B)

    def drawn() -> QuantumCircuit:
        step = QuantumCircuit(*registers(1, 1, True))
        step.h([0, 1])
        step.append(lib.UnitaryGate(matrix), [0], copy=False)
        for gate in (held, shared, held.control(1).base_gate):
            step.append(gate, [1, 0], copy=False)
        return step

    step = drawn()
    bound, program = [0.3, -0.8, 0.4], StepProgram(step)
    before = Operator(StepProgram(drawn()).expanded.assign_parameters(bound))
    other = drawn()
    for circuit in (step, other):
        for instruction in circuit.data:
            gate = instruction.operation
            for k, value in enumerate(gate.params):
                if isinstance(value, np.ndarray):
                    value[:] = np.eye(2)
                else:
                    gate.params[k] = 2.0
            if gate.name == "inner":
                gate.definition.x(0)
    inner.x(1)
    matrix[:] = np.eye(2)
    step.x(0)
    assert Operator(program.expanded.assign_parameters(bound)) == before
    wanted, _ = evolve(program.step, np.array([[0.3, -0.8]]))
    found = QuantumRecurrentLayer(program.step)(torch.tensor([[[0.3, -0.8]]], dtype=ANGLE))[0][0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_gates_that_are_kept_do_not_pile_up(monkeypatch):
    """A circuit with ever new values bound beside its free angle, as in a loop over data."""
    monkeypatch.setattr(gates, "_FAMILIES", {})
    monkeypatch.setattr(gates, "FAMILIES_KEPT", 3)
    for value in range(7):
        step = QuantumCircuit(*registers(1, 1, True))
        step.append(lib.RGate(A, 0.1 * value), [1])
        wanted, _ = evolve(step, np.array([[0.7]]))
        found = QuantumRecurrentLayer(step)(torch.full((1, 1, 1), 0.7, dtype=ANGLE))[0][0]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
        assert len(gates._FAMILIES) <= 3


# ---------------------------------------------------------------- angles of any size

PI = Fraction(  # 60 digits; a float of size 1e30 times 2 pi needs 50
    314159265358979323846264338327950288419716939937510582097494, 10**59
)
SIZES = (65.0, 1e3, 1e6, 1e9, 1e15, 1e22, 1e30)


def within_a_period(angle: float, turns: int) -> float:
    """The angle modulo ``turns`` times 2 pi, by exact arithmetic."""
    period = 2 * PI * turns
    return float(Fraction(angle) - round(Fraction(angle) / period) * period)


@pytest.mark.parametrize("size", SIZES)
def test_large_angles_count_modulo_their_period(size):
    step = rotation_step(1, 2)
    angles = size * (torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(1), dtype=ANGLE) + 1)
    small = angles.clone().apply_(lambda angle: within_a_period(angle, 2))  # of a controlled rotation: 4 pi
    for dtype, tolerance in ((torch.complex128, 1e-12), (torch.complex64, 1e-5)):
        results = []
        for point in (angles, small):
            point = point.clone().requires_grad_()
            p, rho = QuantumRecurrentLayer(step, backend=ExactBackend(dtype))(point)
            p[..., 0].square().sum().backward()
            results.append((p, rho, point.grad))
        for large, usual in zip(*results):
            torch.testing.assert_close(large, usual, rtol=0, atol=tolerance)


@pytest.mark.parametrize("estimator", [ParameterShift(), RandomCoordinate(60, seed=0)])
def test_shifts_of_large_angles_are_not_rounded_away(estimator):
    angles = 1e17 * torch.rand(1, 3, 20, generator=torch.Generator().manual_seed(1), dtype=ANGLE)
    slopes = []
    for gradient in (None, estimator):
        point = angles.clone().requires_grad_()
        p, _ = QuantumRecurrentLayer(rotation_step(1, 2), gradient=gradient)(point)
        p[..., 0].square().sum().backward()
        slopes.append(point.grad)
    torch.testing.assert_close(slopes[1], slopes[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_probabilities_are_probabilities_at_any_angle(dtype):
    generator = torch.Generator().manual_seed(0)
    layer = QuantumRecurrentLayer(rotation_step(2, 2), backend=ExactBackend(dtype))
    for exponent in itertools.chain(range(0, 300, 20), [306]):
        signs = torch.randint(2, (2, 3, 27), generator=generator) * 2 - 1
        angles = signs * torch.rand(2, 3, 27, generator=generator, dtype=ANGLE) * 10.0**exponent
        p, _ = layer(angles)
        assert p.min() > -1e-6 and (p.sum(-1) - 1).abs().max() < (1e-12 if dtype == torch.complex128 else 1e-5)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_large_angles_without_a_period(dtype):
    """Right up to a bound, refused beyond, in single precision too."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.h([0, 1])
    step.append(Irrational(A), [0, 1])
    step.h(1)
    layer = QuantumRecurrentLayer(step, backend=ExactBackend(dtype), gradient=SPSA(seed=0))
    for size in (30.0, 70.0, 1e6):
        angles = torch.tensor([[[size], [-size - 0.3]]], dtype=ANGLE)
        wanted, _ = evolve(step, angles[0].numpy())
        np.testing.assert_allclose(layer(angles)[0][0], wanted, rtol=0, atol=1e-9 if dtype.itemsize == 16 else 1e-6)
    with pytest.raises(ValueError, match="angles must be finite, and within .* got a gate angle of size 1e\\+07"):
        layer(torch.full((1, 1, 1), 1e7, dtype=ANGLE))


@pytest.mark.parametrize("size", [70.0, 1e4])
def test_slopes_at_large_angles_of_every_kind(size):
    """By torch, once and twice, and by differences; beside a gate without a period, and in curved expressions."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.h([0, 1])
    step.append(Irrational(A), [0, 1])
    step.ry(2 * B - A / 3, 1)
    step.crx(A * B / size, 1, 0)
    layer = QuantumRecurrentLayer(step)
    angles = size * torch.tensor([[[1.0, -0.7], [0.003, 0.9]]], dtype=ANGLE).requires_grad_()

    def readout(at: torch.Tensor) -> torch.Tensor:
        return (layer(at)[0] ** 2).sum()

    (slopes,) = torch.autograd.grad(readout(angles), angles, create_graph=True)
    (curvature,) = torch.autograd.grad(slopes.sum(), angles)
    moves = 1e-3 * torch.eye(4, dtype=ANGLE).view(4, 1, 2, 2)
    forth, back, wide_forth, wide_back = (
        torch.stack([readout(angles.detach() + k * move) for move in moves]) for k in (1, -1, 2, -2)
    )
    wanted = (8 * (forth - back) - (wide_forth - wide_back)) / 12e-3
    torch.testing.assert_close(slopes.flatten(), wanted, rtol=0, atol=1e-7)
    assert slopes.abs().min() > 1e-3
    ahead, behind = (
        torch.autograd.grad(readout(at := (angles.detach() + k * 1e-5).requires_grad_()), at)[0] for k in (1, -1)
    )
    torch.testing.assert_close(curvature, (ahead - behind) / 2e-5, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gap", [1e-7, 3e-9])
def test_frequencies_that_almost_have_a_unit_are_not_reduced_by_it(gap):
    """A shift rule takes them for 1 and 2; after 1e5 turns the difference is seen."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.h([0, 1])
    step.append(lib.HamiltonianGate(np.diag([0, 1, 2 + gap, 0]), A), [0, 1])
    step.h([0, 1])
    angles = torch.tensor([[[1e6], [-9e5]]], dtype=ANGLE)
    wanted, _ = evolve(step, angles[0].numpy())
    np.testing.assert_allclose(QuantumRecurrentLayer(step)(angles)[0][0], wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype, size", [(torch.complex64, 1e6), (torch.complex128, 1e15)])
def test_backends_that_are_run_at_large_gate_angles(dtype, size):
    """By hand, without a layer: the same, and for variants of a step."""
    program = StepProgram(rotation_step(1, 2))
    gates = size * (torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(1), dtype=ANGLE) + 1)
    small, weights = gates.clone().apply_(lambda angle: within_a_period(angle, 2)), torch.eye(4)[1:3].double()
    backend, tolerance = ExactBackend(dtype), 1e-12 if dtype == torch.complex128 else 1e-5
    for run in (
        lambda at: backend.run(program, at)[0],
        lambda at: backend.values(program, at, weights[:, None].expand(2, 3, 4)),
        lambda at: backend.variants(program, at, weights[:, None].expand(2, 3, 4))(1, at[None, :, 2]),
        lambda at: ShotBackend(50, seed=0, dtype=dtype).run(program, at)[0],
    ):
        torch.testing.assert_close(run(gates), run(small), rtol=0, atol=tolerance)


class Hidden(Gate):
    """A definition with a Parameter that the gate itself does not tell of."""

    def __init__(self):
        super().__init__("hidden", 1, [])

    def _define(self):
        self.definition = QuantumCircuit(1)
        self.definition.rx(A, 0)


@pytest.mark.parametrize("gate", [Hidden(), lib.QuadraticFormGate(1, [[A]], [0.5], 1)], ids=["own", "of the library"])
def test_a_parameter_that_a_gate_hides_is_named(gate):
    step = QuantumCircuit(*registers(1, gate.num_qubits, True))
    step.append(gate, range(gate.num_qubits))
    with pytest.raises(ValueError, match=r"step: got Parameters \['a'\] in a gate's definition"):
        StepProgram(step)


def test_angles_that_overflow_are_refused():
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(2 * A, 1)
    with pytest.raises(ValueError, match="angles must be finite"):
        QuantumRecurrentLayer(step)(torch.full((1, 1, 1), 1.7e308, dtype=ANGLE))


class Irrational(Gate):
    """Three frequencies without a common unit: 1, sqrt(2) and their difference."""

    def __init__(self, theta):
        super().__init__("irrational", 2, [theta])

    def __array__(self, dtype=None, copy=None):
        return np.diag(np.exp(-1j * np.array([0, 1, math.sqrt(2), 0]) * float(self.params[0])))
