"""Drawn shots against the exact joint distribution, by chi-square at the level of reference.LEVEL.

Every seed below is fixed: what passes today passes tomorrow.  That the test can fail at all is
tested, too.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.circuit.library import RXGate
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2
from reference import (
    LEVEL,
    chi_square,
    evolve,
    history_numbers,
    joint,
    random_angles,
    registers,
    step_circuits,
)
from scipy.stats import chi2_contingency, norm

from qrnn_helpers import ExactBackend, ShotBackend
from qrnn_helpers.circuits import open_controlled, reuploading_step, rotation_step, unroll
from qrnn_helpers.simulation import StepProgram, trajectories


def drawn(step: QuantumCircuit, angles: torch.Tensor, shots: int, seed: int) -> np.ndarray:
    """Every shot's history (batch, shots, time)."""
    program = StepProgram(step)
    return ShotBackend(shots, seed=seed).histories(program, program.gate_angles(angles)).numpy()


def counts(step: QuantumCircuit, histories: np.ndarray) -> np.ndarray:
    """How often each history (of one circuit) occurred."""
    size = 2 ** next(r.size for r in step.qregs if r.name == "readout")
    numbers = history_numbers(histories, size)
    return np.bincount(numbers, minlength=size ** histories.shape[-1])


@pytest.mark.parametrize(
    "step, time",
    [(rotation_step(1, 1), 6), (rotation_step(2, 2), 4), (reuploading_step(1, 2, layers=2), 3)],
)
def test_histories_have_the_exact_joint_distribution(step, time):
    angles = random_angles(step, 2, time, seed=1)
    histories = drawn(step, angles, 20_000, seed=2)
    for row, shots in zip(angles.numpy(), histories, strict=True):
        assert chi_square(counts(step, shots), joint(step, row)) > LEVEL


@settings(max_examples=15, derandomize=True, deadline=None, database=None)
@given(step_circuits(largest=2), st.integers(1, 3), st.integers(0, 2**20))
def test_histories_of_random_steps_have_the_exact_joint_distribution(step, time, seed):
    angles = random_angles(step, 1, time, seed)
    histories = drawn(step, angles, 5_000, seed)[0]
    assert chi_square(counts(step, histories), joint(step, angles[0].numpy())) > LEVEL / 15


@pytest.fixture
def singly(monkeypatch):
    """Every shot with a state of its own, which small circuits would not take."""
    monkeypatch.setattr(trajectories, "_by_history", trajectories._each_alone)


@pytest.mark.parametrize(
    "step, time",
    [
        (rotation_step(1, 1), 6),
        (rotation_step(2, 2), 4),
        (rotation_step(2, 3), 3),
        (reuploading_step(1, 2, layers=2), 3),
    ],
)
def test_histories_of_shots_on_their_own_have_the_exact_joint_distribution(step, time, singly):
    test_histories_have_the_exact_joint_distribution(step, time)


@settings(max_examples=15, derandomize=True, deadline=None, database=None)
@given(step_circuits(largest=2), st.integers(1, 3), st.integers(0, 2**20))
def test_histories_of_random_steps_and_shots_on_their_own(step, time, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trajectories, "_by_history", trajectories._each_alone)
        angles = random_angles(step, 1, time, seed)
        histories = drawn(step, angles, 5_000, seed)[0]
    assert chi_square(counts(step, histories), joint(step, angles[0].numpy())) > LEVEL / 15


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_what_rounding_cannot_tell_from_the_impossible_is_never_drawn(dtype, draw, singly, monkeypatch):
    """Four readout qubits copy two memory qubits, which a rotation turns by pi: 0 0 0 0 and 1 1 1 1 take turns."""
    monkeypatch.setattr(
        trajectories, "_draws", lambda kraus, count, _: torch.full((count,), draw, dtype=kraus.real.dtype)
    )
    step = QuantumCircuit(*registers(2, 4, True))
    turn = Parameter("turn")
    for qubit in range(4):
        step.cx(qubit % 2, 2 + qubit)
    step.rx(turn, 0)
    step.rx(turn, 1)
    angles = torch.full((3, 40, 1), torch.pi, dtype=torch.float64)
    program = StepProgram(step)
    histories = ShotBackend(2000, seed=0, dtype=dtype).histories(program, program.gate_angles(angles))
    assert (histories == torch.tensor([0, 15] * 20)).all()


def test_the_chi_square_test_sees_correlations_between_steps():
    """Steps drawn independently from the right marginals do not pass."""
    step = rotation_step(1, 1)
    angles = random_angles(step, 1, 4, seed=1)
    histories = drawn(step, angles, 20_000, seed=2)[0]
    random = np.random.default_rng(3)
    shuffled = np.stack([random.permutation(column) for column in histories.T], 1)
    assert chi_square(counts(step, shuffled), joint(step, angles[0].numpy())) < 1e-12


# ---------------------------------------------------------------- against Aer


def aer_histories(step: QuantumCircuit, angles: torch.Tensor, shots: int, seed: int) -> np.ndarray:
    """Every shot's history (shots, time) of one circuit on Aer, values bound, controlled rotations opened."""
    time = angles.shape[1]
    circuit = unroll(open_controlled(step), time)
    values = dict(zip(circuit.parameters, angles.flatten().tolist(), strict=True))
    manager = generate_preset_pass_manager(1, backend=AerSimulator(), seed_transpiler=0)
    job = SamplerV2(seed=seed).run([manager.run(circuit.assign_parameters(values))], shots=shots)
    data = job.result()[0].data
    return np.stack([data[f"t{t}"].array[:, -1] for t in range(time)], 1).astype(int)


def controlled_by_hand() -> QuantumCircuit:
    """2 + 2 qubits, rotations under one and two controls, each with a Parameter."""
    a, b, c, d = (Parameter(name) for name in "abcd")
    step = QuantumCircuit(*registers(2, 2, True))
    for qubit in range(4):
        step.ry(0.5 + 0.4 * qubit, qubit)
    step.crx(a, 0, 2)
    step.cry(b, 2, 1)
    step.append(RXGate(c).control(2, ctrl_state=2, annotated=False), [0, 1, 3])
    step.cp(d, 1, 3)
    step.rx(a - d, 3)
    return step


def two_sample_chi_square(one: np.ndarray, two: np.ndarray) -> float:
    """p-value that two rows of counts have one distribution; cells seen fewer than ten times go together."""
    both = np.stack([one, two])
    rare = both.sum(0) < 10
    table = np.column_stack([both[:, ~rare], both[:, rare].sum(1)])
    return float(chi2_contingency(table[:, table.sum(0) > 0]).pvalue)


@pytest.mark.parametrize("step", [rotation_step(2, 2), controlled_by_hand()], ids=["rotations", "controlled"])
def test_joint_counts_agree_with_aers(step):
    """All 64 histories of 3 steps on 4 qubits, 20,000 shots each, by a two-sample chi-square test at LEVEL."""
    angles = random_angles(step, 1, 3, seed=1)
    ours, aers = drawn(step, angles, 20_000, seed=2)[0], aer_histories(step, angles, 20_000, seed=3)
    assert two_sample_chi_square(counts(step, ours), counts(step, aers)) > LEVEL
    other = drawn(step, angles + 0.4, 20_000, seed=2)[0]  # the test can fail
    assert two_sample_chi_square(counts(step, other), counts(step, aers)) < 1e-12


def sign(outcomes: np.ndarray) -> np.ndarray:
    """Pauli Z of readout qubit 0."""
    return 1.0 - 2.0 * (outcomes & 1)


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means at all steps and covariances between all pairs of steps of values (shots, time), and their variances."""
    centred = values - values.mean(0)
    first, second = np.triu_indices(values.shape[1], 1)
    samples = np.concatenate([values, centred[:, first] * centred[:, second]], 1)
    return samples.mean(0), samples.var(0) / len(values)


def test_means_and_covariances_across_steps_agree_with_aers():
    """Z of one readout qubit at 4 + 4 qubits and 20 steps: 20 means and 190 covariances.

    Largest of the 210 z-scores of the differences, at LEVEL by Bonferroni; and 20 exact means the same way.
    """
    step = rotation_step(4, 4)
    angles = 0.6 * random_angles(step, 1, 1, seed=1).expand(1, 20, -1)
    ours, our_variance = moments(sign(drawn(step, angles, 20_000, seed=2)[0]))
    aers, aer_variance = moments(sign(aer_histories(step, angles, 2000, seed=3)))
    bound = norm.isf(LEVEL / 2 / len(ours))
    assert (np.abs(ours - aers) < bound * np.sqrt(our_variance + aer_variance)).all()
    assert (np.abs(aers[20:]) > bound * np.sqrt(aer_variance[20:])).sum() > 20  # there are correlations to see
    program = StepProgram(step)
    exact = ExactBackend().run(program, program.gate_angles(angles))[0][0].numpy() @ sign(np.arange(16))
    assert (np.abs(ours[:20] - exact) < norm.isf(LEVEL / 2 / 20) * np.sqrt(our_variance[:20])).all()


# ---------------------------------------------------------------- frequencies, seeds, arguments


@pytest.mark.parametrize("shots", [1, 7, 1024, 40_000])
def test_frequencies_are_those_of_the_histories(shots):
    """Equal seeds draw the same shots, whether they are counted or listed; in chunks, too."""
    program = StepProgram(step := rotation_step(2, 2))
    angles = random_angles(step, 40 if shots < 1e4 else 2, 5, seed=4)
    gates = program.gate_angles(angles)
    frequencies, state = ShotBackend(shots, seed=5).run(program, gates)
    histories = ShotBackend(shots, seed=5).histories(program, gates)
    assert histories.shape == (len(angles), shots, 5) and histories.dtype == torch.int64
    listed = torch.nn.functional.one_hot(histories, 4).double().mean(1)
    torch.testing.assert_close(frequencies, listed, rtol=0, atol=1e-14)
    assert state is None


def test_frequencies_spread_as_shots_do():
    """Mean and variance over many equal circuits: p and p(1 - p)/N, within 4.5 standard errors."""
    program = StepProgram(step := rotation_step(2, 1))
    row = random_angles(step, 1, 3, seed=6)
    many = program.gate_angles(row.expand(4000, -1, -1))
    frequencies = ShotBackend(50, seed=7).run(program, many)[0]
    wanted = torch.as_tensor(evolve(step, row[0].numpy())[0])
    variance = wanted * (1 - wanted) / 50
    error = (frequencies.mean(0) - wanted).abs() / (variance / 4000).sqrt()
    assert error.max() < 4.5
    assert ((frequencies.var(0) / variance - 1).abs() < 4.5 * (2 / 4000) ** 0.5 * 1.2).all()


@pytest.mark.parametrize("backend", [ExactBackend(), ShotBackend(200_000, seed=8)])
def test_one_replaced_step_is_a_whole_run_with_that_step(backend):
    program = StepProgram(step := rotation_step(1, 1))
    gates = program.gate_angles(random_angles(step, 2, 3, seed=9))
    replaced = program.gate_angles(random_angles(step, 2, 4, seed=10)).transpose(0, 1)
    weights = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    found = backend.variants(program, gates, weights)(1, replaced)
    assert found.shape == (4, 2)
    for variant, rows in zip(found, replaced, strict=True):
        whole = gates.clone()
        whole[:, 1] = rows
        exact = (ExactBackend().run(program, whole)[0] * weights).sum((1, 2))
        tolerance = 1e-13 if backend.shots == 0 else 4.5 * 0.5 * 3 / backend.shots**0.5  # three steps, at most 1 each
        torch.testing.assert_close(variant, exact, rtol=0, atol=tolerance)


def test_certain_outcomes_are_certain():
    """No shot falls on an outcome of probability zero, also where rounding leaves 1e-17."""
    step = QuantumCircuit(*registers(1, 2, True))
    step.x(0)
    step.cx(0, 2)
    step.h(0)
    step.h(0)
    found = drawn(step, torch.zeros(1, 4, 0).double(), 2000, seed=1)
    assert (found == np.array([2, 0, 2, 0])).all()


def test_equal_seeds_equal_bytes_and_each_call_new_shots():
    program = StepProgram(step := rotation_step(2, 2))
    gates = program.gate_angles(random_angles(step, 3, 4, seed=1))
    one, two = ShotBackend(100, seed=3), ShotBackend(100, seed=3)
    first = one.run(program, gates)[0]
    assert torch.equal(first, two.run(program, gates)[0])
    second = one.run(program, gates)[0]
    assert not torch.equal(first, second)
    assert torch.equal(second, two.run(program, gates)[0])
    assert not torch.equal(first, ShotBackend(100, seed=4).run(program, gates)[0])


def test_a_generator_of_ones_own_is_used_and_moved_on():
    program = StepProgram(step := rotation_step(1, 1))
    gates = program.gate_angles(random_angles(step, 1, 2, seed=1))
    generator = torch.Generator().manual_seed(11)
    drawn = ShotBackend(100, seed=generator).run(program, gates)[0]
    assert torch.equal(drawn, ShotBackend(100, seed=11).run(program, gates)[0])
    assert not torch.equal(generator.get_state(), torch.Generator().manual_seed(11).get_state())


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"shots": 0}, ValueError, "shots must be at least 1"),
        ({"shots": -5}, ValueError, "shots must be at least 1"),
        ({"shots": 10.0}, TypeError, "shots must be an integer"),
        ({"shots": True}, TypeError, "shots must be an integer"),
        ({"shots": 10, "seed": -1}, ValueError, "seed must be at least 0"),
        ({"shots": 10, "seed": "a"}, TypeError, "seed must be an integer"),
        ({"shots": 10, "dtype": torch.float32}, ValueError, "dtype must be one of"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        ShotBackend(**arguments)
