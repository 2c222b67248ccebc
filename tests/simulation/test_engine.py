"""The compiled engine: blocks, clusters, contraction and the way back, against Qiskit or torch's own recording."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator
from reference import random_angles, random_state, registers, step_circuits

from qrnn_helpers.backends import ExactBackend
from qrnn_helpers.circuits import reuploading_step, rotation_step, two_way_step
from qrnn_helpers.simulation import StepProgram, contraction, recorded_channel, replaced_operators
from qrnn_helpers.simulation.fusion import WAVES, clusters, fuse
from qrnn_helpers.simulation.unitaries import BlockUnitaries

SEEDS = st.integers(0, 2**20)
often = settings(max_examples=25, deadline=None)


def controlled() -> QuantumCircuit:
    """Controls that no matrix of two qubits holds, closed and open, with and without an angle."""
    step = QuantumCircuit(*registers(3, 2, True))
    step.ry(Parameter("a"), 4)
    inner = QuantumCircuit(1)
    inner.rx(Parameter("b"), 0)
    step.append(inner.to_gate().control(3, ctrl_state=0b010), [0, 4, 1, 3])
    step.ccx(2, 3, 0)
    step.crz(Parameter("c"), 1, 2)
    step.mcp(Parameter("d"), [0, 1, 2], 4)
    step.rx(Parameter("e"), 3)
    return step


def shuffled() -> QuantumCircuit:
    """The course project's step with its qubits numbered otherwise: no order of axes is the natural one."""
    return QuantumCircuit(*registers(4, 4, True)).compose(rotation_step(4, 4), [0, 3, 1, 2, 4, 7, 5, 6])


CIRCUITS = {
    "rotations": rotation_step(2, 2),
    "layers": rotation_step(3, 2, layers=2),
    "re-uploading": reuploading_step(2, 3, layers=2),
    "two ways": two_way_step(2, 2),
    "controlled": controlled(),
    "shuffled": shuffled(),
}
each_circuit = pytest.mark.parametrize("step", CIRCUITS.values(), ids=CIRCUITS)


def recorded(program: StepProgram, gates: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and final state with every operation recorded by torch."""
    kraus = program.kraus(gates.flatten(0, 1), rho.dtype)
    return recorded_channel(kraus.unflatten(0, gates.shape[:2]), rho)


@often
@given(step_circuits(), SEEDS)
def test_blocks_multiply_to_the_step(step, seed):
    """Little-endian products of the blocks' matrices, against Qiskit's operator of the bound circuit."""
    program, angles = StepProgram(step), random_angles(step, 1, 1, seed)
    matrices = program.unitaries(program.gate_angles(angles)[0], torch.complex128)
    whole = Operator(np.eye(2**step.num_qubits))
    for block, matrix in zip(program.blocks, matrices, strict=True):
        whole = whole.compose(Operator(matrix[0].numpy()), qargs=list(block.qubits))
    assert whole.equiv(Operator(step.assign_parameters(angles[0, 0].tolist())), rtol=0, atol=1e-11)  # up to a phase


@each_circuit
def test_every_width_of_cluster_makes_the_same(step):
    program = StepProgram(step)
    gates = program.gate_angles(random_angles(step, 3, 1, seed=1))[:, 0]
    wanted = program.isometries(gates, torch.complex128)
    for width in range(1, 7):
        parts = clusters(fuse(program.ops), width)
        blocks = BlockUnitaries([block for part in parts for block in part.blocks])(gates, torch.complex128)
        isometries, _ = program._contraction(parts).matrix(blocks)
        torch.testing.assert_close(isometries, wanted, rtol=0, atol=1e-13)


@each_circuit
def test_factors_are_short_and_products_counted(step):
    program = StepProgram(step)
    for block in program.blocks:
        for _, factor in block.placed_factors():
            assert len(factor.terms) == len(factor.rates) <= max(WAVES, len(factor.rates) * (len(factor.gates) == 1))
    assert program.multiplications["memory"] == 5 * 2 ** (program.readout + 3 * program.memory)


def test_steps_of_the_course_project():
    """Two clusters, and one product that makes the whole isometry: counted by hand."""
    program = StepProgram(rotation_step(4, 4))
    compiled = program.describe()
    assert [cluster.blocks for cluster in compiled.clusters] == [4, 3]
    assert compiled.sizes == (1, 2**8, 2**12)
    assert [cluster.sizes[-1] for cluster in compiled.clusters] == [2**8, 2**6]
    assert program.multiplications["isometry"] == 4 * 2 * 2**12  # one old qubit: two columns


@pytest.mark.parametrize("portion", [1, 2**12, 2**20])
@pytest.mark.parametrize(
    ("given_state", "time_steps"), [(False, 1), (False, 4), (True, 4)], ids=["one step", "ground", "given"]
)
@each_circuit
def test_slopes_are_those_of_a_recorded_computation(step, given_state, time_steps, portion, monkeypatch):
    """Values, slopes along angles and start, of outputs and of the final state, in portions of any size.

    One step from |0...0> alone goes a way of its own.
    """
    monkeypatch.setitem(contraction.PORTION, True, portion)
    program = StepProgram(step)
    gates = program.gate_angles(random_angles(step, 3, time_steps, seed=2)).requires_grad_()
    start = random_state(3, 2**program.memory, 1) if given_state else None
    ground = torch.zeros(3, 2**program.memory, 2**program.memory, dtype=torch.complex128)
    ground[:, 0, 0] = 1
    rho = (ground if start is None else start).clone().requires_grad_()
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(3, time_steps, 2**program.readout, generator=generator, dtype=torch.float64)
    seen = torch.randn(rho.shape, generator=generator, dtype=torch.complex128)
    found = []
    for probabilities, final in (
        ExactBackend().run(program, gates, rho if given_state else None),
        recorded(program, gates, rho),
    ):
        value = (probabilities * w).sum() + (final * (seen + seen.mH)).sum().real
        found.append((value, *torch.autograd.grad(value, [gates, rho][: 1 + given_state])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("time_steps", [1, 3])
@pytest.mark.parametrize("given_state", [False, True])
def test_a_step_without_free_angles_has_one_isometry_for_all(given_state, time_steps):
    free, start = rotation_step(2, 1), random_state(3, 4, 1) if given_state else None
    values = torch.arange(len(free.parameters)).double() * 0.3
    bound, rows = StepProgram(free.assign_parameters(values.tolist())), values.expand(3, time_steps, -1)
    found = ExactBackend().run(bound, rows[..., :0].clone().requires_grad_(), start)
    program = StepProgram(free)
    for one, other in zip(found, ExactBackend().run(program, program.gate_angles(rows), start), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("time_steps", [1, 2])
@pytest.mark.parametrize("name", ["rotations", "controlled"])
def test_slopes_of_slopes(name, time_steps):
    program = StepProgram(CIRCUITS[name])
    gates = program.gate_angles(random_angles(program.step, 1, time_steps, seed=4))
    gates = gates[..., :].detach().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda g: ExactBackend().run(program, g)[0], (gates,))


@each_circuit
def test_variants_are_what_each_alone_would_be(step):
    """Some that differ in one gate, some in all, some in none."""
    program = StepProgram(step)
    base = program.gate_angles(random_angles(step, 2, 1, seed=5))[:, 0]
    count = base.shape[-1]
    replaced = base.repeat(count + 2, 1, 1)
    replaced[torch.arange(count), :, torch.arange(count)] += 0.7
    replaced[-2] += 0.3
    found = replaced_operators(program, replaced, torch.complex128, base)
    torch.testing.assert_close(found, replaced_operators(program, replaced, torch.complex128), rtol=0, atol=1e-13)


@pytest.mark.parametrize("step", [rotation_step(4, 4), two_way_step(4, 4)], ids=["rotations", "two ways"])
def test_single_precision_at_eight_qubits(step):
    """Values and slopes of twenty steps within 1e-5 of those in double precision."""
    program, found = StepProgram(step), []
    gates = program.gate_angles(random_angles(step, 2, 20, seed=6))
    w = torch.rand(2, 20, 16, generator=torch.Generator().manual_seed(7))
    for dtype, real in ((torch.complex128, torch.float64), (torch.complex64, torch.float32)):
        leaf = gates.to(real).requires_grad_()
        probabilities = ExactBackend(dtype).run(program, leaf)[0]
        (slopes,) = torch.autograd.grad((probabilities * w.to(real)).sum(), leaf)
        found.append((probabilities.detach().double(), slopes.double()))
    for double, single in zip(*found, strict=True):
        torch.testing.assert_close(single, double, rtol=0, atol=1e-5)
