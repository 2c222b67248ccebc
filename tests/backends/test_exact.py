"""The exact backend against brute force on the full space: 1e-10 wherever nothing else is said."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from problems import by_hand, interleaved
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from reference import Peak, evolve, random_angles, random_state, registers, step_circuits

from qrnn_helpers import ShotBackend
from qrnn_helpers.backends import ExactBackend
from qrnn_helpers.circuits import reuploading_step, rotation_step
from qrnn_helpers.gradients import Autograd, ParameterShift
from qrnn_helpers.models import QuantumRecurrentLayer
from qrnn_helpers.simulation import StepProgram, replaced_operators

ATOL = 1e-10
SEEDS = st.integers(0, 2**20)
often = settings(max_examples=60, derandomize=True, deadline=None, database=None)
sometimes = settings(often, max_examples=20)


def agrees(step: QuantumCircuit, angles: torch.Tensor, state: torch.Tensor | None = None) -> None:
    """Assert that the layer's probabilities and last state are those of the reference."""
    probabilities, last = QuantumRecurrentLayer(step)(angles, state)
    for k, row in enumerate(angles):
        wanted, memory = evolve(step, row.numpy(), None if state is None else state[k].numpy())
        np.testing.assert_allclose(probabilities[k].numpy(), wanted, rtol=0, atol=ATOL)
        np.testing.assert_allclose(last[k].numpy(), memory, rtol=0, atol=ATOL)


@often
@given(step_circuits(), st.integers(1, 6), SEEDS)
@example(rotation_step(3, 3), 6, 1)
@example(reuploading_step(3, 2), 6, 2)
@example(rotation_step(1, 3, layers=2), 3, 3)
def test_equals_brute_force(step, time, seed):
    agrees(step, random_angles(step, 2, time, seed))


@sometimes
@given(step_circuits(), st.integers(1, 4), SEEDS)
def test_equals_brute_force_from_any_state(step, time, seed):
    size = 2 ** next(r.size for r in step.qregs if r.name == "memory")
    agrees(step, random_angles(step, 2, time, seed), random_state(2, size, seed + 1))


@sometimes
@given(step_circuits(), st.integers(1, 5), SEEDS)
def test_pieces_of_a_series_are_the_whole_series(step, cut, seed):
    layer, angles = QuantumRecurrentLayer(step), random_angles(step, 3, 6, seed)
    whole, end = layer(angles)
    first, state = layer(angles[:, :cut])
    second, state = layer(angles[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-13)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-13)


@sometimes
@given(step_circuits(), SEEDS)
def test_probabilities_and_states_are_such(step, seed):
    probabilities, state = QuantumRecurrentLayer(step)(random_angles(step, 2, 5, seed))
    assert probabilities.min() > -1e-14
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 5).double())
    torch.testing.assert_close(state, state.mH)
    assert torch.linalg.eigvalsh(state).min() > -1e-14


def test_one_rotation_by_hand():
    """RX(theta) on the readout: p(1) = sin(theta / 2)**2, whatever came before."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("theta"), 1)
    angles = torch.tensor([[[0.3], [2.0], [-1.1]]], dtype=torch.float64)
    probabilities, _ = QuantumRecurrentLayer(step)(angles)
    torch.testing.assert_close(probabilities[..., 1], torch.sin(angles[..., 0] / 2) ** 2)


def test_order_of_angles_is_by_name():
    """t1, t10, t2: angle k belongs to step.parameters[k], not to the k-th gate."""
    step = QuantumCircuit(*registers(1, 3, True))
    for qubit, name in enumerate(("t2", "t10", "t1"), start=1):
        step.rx(Parameter(name), qubit)
    turned = torch.tensor([[[0.0, torch.pi, 0.0]]], dtype=torch.float64)  # the second by name: t10
    probabilities, _ = QuantumRecurrentLayer(step)(turned)
    assert [p.name for p in step.parameters] == ["t1", "t10", "t2"]
    assert int(probabilities[0, 0].argmax()) == 0b010  # t10 turns readout qubit 1


@pytest.mark.parametrize("memory_first", [True, False])
def test_order_of_bits_is_little_endian(memory_first):
    """Readout qubit 1 alone excited reads 0b10, memory qubit 2 alone excited is row 0b100."""
    step = QuantumCircuit(*registers(3, 2, memory_first))
    step.rx(Parameter("a"), step.qubits.index(step.qregs[memory_first][1]))
    step.ry(Parameter("b"), step.qubits.index(step.qregs[not memory_first][2]))
    probabilities, state = QuantumRecurrentLayer(step)(torch.full((1, 1, 2), torch.pi).double())
    assert int(probabilities[0, 0].argmax()) == 0b10
    assert int(state[0].diagonal().real.argmax()) == 0b100


def test_registers_may_lie_anywhere_among_the_qubits():
    step = interleaved()
    for k in range(4):
        step.ry(Parameter(f"a{k}"), k)
        step.crx(Parameter(f"b{k}"), k, (k + 1) % 4)
    agrees(step, random_angles(step, 2, 3, 5), random_state(2, 4, 6))


def test_a_step_without_parameters():
    step = QuantumCircuit(*registers(1, 1, True))
    step.h(0)
    step.cx(0, 1)
    agrees(step, torch.zeros(2, 3, 0, dtype=torch.float64))


@pytest.mark.parametrize("dtype, atol", [(torch.float64, ATOL), (torch.float32, 1e-6)])
@pytest.mark.parametrize("inner", [torch.complex128, torch.complex64])
def test_probabilities_follow_the_angles_and_the_state_the_backend(dtype, atol, inner):
    step = rotation_step(2, 2)
    angles = random_angles(step, 2, 4, 3)
    layer = QuantumRecurrentLayer(step, backend=ExactBackend(inner))
    probabilities, state = layer(angles.to(dtype))
    assert probabilities.dtype == dtype and state.dtype == inner
    wanted, _ = evolve(step, angles[0].numpy())
    atol = atol if inner == torch.complex128 else 1e-6
    np.testing.assert_allclose(probabilities[0].double().numpy(), wanted, rtol=0, atol=atol)
    layer(angles.to(dtype), state)  # the state goes back in as it came out


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_come_back_short(dtype):
    probabilities, _ = QuantumRecurrentLayer(rotation_step(1, 1))(torch.zeros(1, 2, 13).to(dtype))
    assert probabilities.dtype == dtype


@pytest.mark.parametrize("step", [rotation_step(2, 2), by_hand()], ids=["rotations", "controlled"])
def test_work_stays_on_the_device_of_the_angles(step):
    """torch's meta device stands in for a GPU: a product with a tensor of the CPU would raise."""
    program, backend = StepProgram(step), ExactBackend()
    options = {"device": "meta", "dtype": torch.float64}
    gates = torch.zeros(2, 3, len(program.occurrences), requires_grad=True, **options)
    probabilities, state = backend.run(program, gates)
    (slopes,) = torch.autograd.grad(probabilities.sum(), gates)
    operators = replaced_operators(program, torch.zeros(5, 2, len(program.occurrences), **options), backend.dtype)
    assert {t.device.type for t in (probabilities, state, slopes, operators)} == {"meta"}
    if not program.angle_map.curved:
        angles = torch.zeros(2, 3, len(program.parameters), **options)
        assert program.gate_angles(angles).shape == gates.shape
        assert program.vjp(angles, gates).shape == angles.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "backend", [ExactBackend(), ExactBackend(torch.complex64), ShotBackend(2000, seed=1)], ids=repr
)
def test_a_gpu_finds_what_the_cpu_finds(backend):
    """Values, state and slopes; drawn shots within 4.5 standard errors."""
    step, found = rotation_step(2, 2), []
    angles = random_angles(step, 2, 5, seed=1)
    for device in ("cpu", "cuda"):
        leaf = angles.to(device).requires_grad_()
        estimator = Autograd() if isinstance(backend, ExactBackend) else ParameterShift()
        probabilities, state = QuantumRecurrentLayer(step, backend=backend, gradient=estimator)(leaf)
        probabilities[..., 0].sum().backward()
        assert probabilities.device == leaf.grad.device == leaf.device
        found.append((probabilities.detach().cpu(), leaf.grad.cpu(), state))
    atol = 1e-5 if backend.shots == 0 else 4.5 / backend.shots**0.5
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=atol)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0, atol=10 * atol)


def test_compiled_steps_travel():
    """Pickled and copied, as a pool of workers or torch's own copies need it."""
    program = StepProgram(by_hand())
    angles = random_angles(program.step, 1, 2, seed=1)
    for other in (pickle.loads(pickle.dumps(program)), copy.deepcopy(program)):
        found = [ExactBackend().run(p, p.gate_angles(angles))[0] for p in (program, other)]
        assert torch.equal(*found)


@pytest.mark.parametrize("dtype", [torch.float64, "complex128", None])
def test_unknown_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype must be one of torch\.complex128"):
        ExactBackend(dtype)


@sometimes
@given(step_circuits(largest=2), st.integers(1, 5), SEEDS)
def test_a_carried_state_carries_the_gradient(step, cut, seed):
    """In pieces with the state left attached: the whole series' slopes.  Detached: the same values, other slopes."""
    layer, angles = QuantumRecurrentLayer(step), random_angles(step, 2, 6, seed)

    def loss_and_slopes(*cuts, detach=False):
        leaf, state, parts = angles.clone().requires_grad_(), None, []
        for piece in leaf.tensor_split(cuts, 1):
            probabilities, state = layer(piece, state.detach() if detach and state is not None else state)
            parts.append(probabilities)
        loss = torch.cat(parts, 1)[..., 0].square().sum()
        loss.backward()
        return loss.detach(), leaf.grad

    whole, slopes = loss_and_slopes()
    for detach in (False, True):
        value, found = loss_and_slopes(cut, detach=detach)
        torch.testing.assert_close(value, whole, rtol=0, atol=1e-12)
        if not detach:
            torch.testing.assert_close(found, slopes, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[:, cut:], slopes[:, cut:], rtol=0, atol=1e-12)


def test_truncated_slopes_are_others():
    step = rotation_step(2, 1)
    layer, angles = QuantumRecurrentLayer(step), random_angles(step, 1, 4, seed=1).requires_grad_()
    state = layer(angles[:, :2])[1].detach()
    late = layer(angles[:, 2:], state)[0][..., 0].sum()
    (slopes,) = torch.autograd.grad(late, angles)
    assert (slopes[:, :2] == 0).all() and slopes[:, 2:].abs().max() > 1e-3


def peak_of_a_gradient(step: QuantumCircuit, time: int, dtype: torch.dtype) -> int:
    """Most bytes that tensors hold at one time in a forward and a backward pass."""
    layer, angles = QuantumRecurrentLayer(step, backend=ExactBackend(dtype)), random_angles(step, 2, time, seed=1)
    for _ in range(2):  # constants are made the first time
        with Peak() as peak:
            torch.autograd.grad(layer(angles.requires_grad_())[0][..., 0].sum(), angles)
    return peak.most


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
@pytest.mark.parametrize("step", [rotation_step(2, 2), rotation_step(1, 1), reuploading_step(3, 3)])
def test_memory_for_the_gradient_grows_linearly_and_is_foreseen(step, dtype):
    once, twice = (peak_of_a_gradient(step, time, dtype) for time in (16, 32))
    assert once < twice <= 2.2 * once
    foreseen = StepProgram(step).evolution_bytes(2 * 32, dtype, graph=True)
    assert 0.95 * twice <= foreseen <= 1.5 * twice


def test_single_precision_stays_close_at_eight_qubits():
    """4 + 4 qubits, 20 steps: within 1e-5 of double precision, probabilities and state."""
    step = rotation_step(4, 4)
    angles = random_angles(step, 2, 20, seed=1)
    found = [QuantumRecurrentLayer(step, backend=ExactBackend(d))(angles) for d in (torch.complex64, torch.complex128)]
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.to(double.dtype), double, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype, drift", [(torch.complex64, 3e-4), (torch.complex128, 3e-12)])
def test_a_state_carried_for_ten_thousand_steps_is_still_one(dtype, drift):
    """Nothing is normalised on the way; the trace drifts by 1e-8 a step in single precision."""
    step = rotation_step(2, 1)
    layer, state = QuantumRecurrentLayer(step, backend=ExactBackend(dtype)), None
    for seed in range(10):
        _, state = layer(random_angles(step, 1, 1000, seed), state)
    assert abs(state[0].trace() - 1) < drift
    assert (state - state.mH).abs().max() < drift
    assert torch.linalg.eigvalsh(state).min() > 0
    layer(random_angles(step, 1, 1, 0), state)


def mixed(*diagonal: float) -> torch.Tensor:
    return torch.diag(torch.tensor(diagonal, dtype=torch.complex128))[None]


@pytest.mark.parametrize(
    "state, words",
    [
        (2 * mixed(0.5, 0.5), r"a trace that differs from 1 by 1"),
        (mixed(1.2, -0.2), r"an eigenvalue below zero by 0\.2"),
        (mixed(0.5, 0.5) + torch.tensor([[0, 0.3], [0, 0]]), r"a part that is not Hermitian, of size 0\.3"),
        (mixed(0.5, 0.5) + torch.tensor([[0.2j, 0], [0, -0.2j]]), r"not Hermitian, of size 0\.4"),
    ],
)
def test_what_is_no_density_matrix_is_refused(state, words):
    program = StepProgram(rotation_step(1, 1))
    gates = torch.zeros(1, 2, 13, dtype=torch.float64)
    for call in (
        lambda: ExactBackend().run(program, gates, state),
        lambda: ExactBackend().variants(program, gates, torch.zeros(1, 2, 2).double(), state),
        lambda: QuantumRecurrentLayer(program.step)(gates, state),
    ):
        with pytest.raises(ValueError, match=f"state must hold density matrices.*{words}"):
            call()


def test_a_real_state_of_single_precision_will_do():
    state = torch.eye(2)[None] / 2
    assert QuantumRecurrentLayer(rotation_step(1, 1))(torch.zeros(1, 1, 13), state)[0].isfinite().all()


def test_the_callers_errstate_changes_nothing():
    """A step with tiny numbers in its gates compiles all the same."""
    step = QuantumCircuit(*registers(1, 1, True))
    step.rx(Parameter("a"), 0)
    step.u(1e-200, 1e-190, 3, 0)
    step.crx(1e-170, 0, 1)
    angles = torch.full((1, 2, 1), 0.3, dtype=torch.float64)
    wanted = QuantumRecurrentLayer(step)(angles)[0]
    with np.errstate(all="raise"):
        assert torch.equal(QuantumRecurrentLayer(step)(angles)[0], wanted)
