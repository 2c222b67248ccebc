"""The exact backend against brute force on the full space: 1e-10 wherever nothing else is said."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from reference import evolve, random_angles, random_state, registers, step_circuits
from test_circuits import interleaved

from qrnn_helpers.backends import ExactBackend
from qrnn_helpers.circuits import reuploading_step, rotation_step
from qrnn_helpers.layer import QuantumRecurrentLayer

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


def test_work_above_the_memory_limit_is_refused_in_bytes():
    step = QuantumCircuit(*registers(5, 1, True))
    step.rx(Parameter("a"), 0)
    angles = torch.zeros(1, 1, 1).expand(300_000, 2, 1)
    with pytest.raises(ValueError, match=rf"angles.*{300_000 * 2 * 2**11 * 16} bytes"):
        QuantumRecurrentLayer(step)(angles)


@pytest.mark.parametrize("dtype", [torch.float64, "complex128", None])
def test_unknown_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype must be one of torch\.complex128"):
        ExactBackend(dtype)
