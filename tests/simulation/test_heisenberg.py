"""Readouts from both ends of a circuit against sums over every history, and noise by moments against drawn shots."""

from itertools import product

import pytest
import torch

from qrnn_helpers import (
    SPSA,
    DirectionalShift,
    ExactBackend,
    FiniteDifference,
    MomentBackend,
    ParameterShift,
    QuantumRecurrentLayer,
    RandomCoordinate,
    ShotBackend,
    reuploading_step,
    rotation_step,
)
from qrnn_helpers.backends import Backend, Executor
from qrnn_helpers.simulation import (
    HeisenbergPicture,
    StepProgram,
    ground,
    joint_moments,
    kraus_operators,
    replaced_operators,
)

STEPS = [rotation_step(1, 1), rotation_step(2, 1), reuploading_step(1, 2)]
BATCH, TIME = 2, 3
each_step = pytest.mark.parametrize("step", STEPS, ids=lambda s: f"{s.num_qubits} qubits, {s.num_parameters} angles")


def case(step, seed=1):
    """A program, gate angles, weights, and variants of the gate angles of one step."""
    program, generator = StepProgram(step), torch.Generator().manual_seed(seed)
    real = {"dtype": torch.float64, "generator": generator}
    angles = program.gate_angles(torch.randn(BATCH, TIME, len(program.parameters), **real))
    weights = torch.randn(BATCH, TIME, 2**program.readout, **real)
    return program, angles, weights, torch.randn(4, BATCH, angles.shape[-1], **real)


def histories(program, gate_angles, weights):
    """Probabilities (batch, H) and values (batch, H, time) of every history of outcomes."""
    kraus = kraus_operators(program, gate_angles, torch.complex128)
    chances, values = [], []
    for history in product(range(2**program.readout), repeat=TIME):
        state = torch.eye(2**program.memory, 1, dtype=torch.complex128).expand(BATCH, -1, 1)
        for t, outcome in enumerate(history):
            state = kraus[:, t, outcome] @ state
        chances.append(state.abs().square().sum((1, 2)))
        values.append(torch.stack([weights[:, t, outcome] for t, outcome in enumerate(history)], -1))
    return torch.stack(chances, 1), torch.stack(values, 1)


@each_step
def test_joint_moments_are_those_of_all_histories(step):
    program, angles, weights, _ = case(step)
    chance, value = histories(program, angles, weights)
    mean = (chance[..., None] * value).sum(1)
    square = torch.einsum("bh,bht,bhu->btu", chance, value, value)
    kraus = kraus_operators(program, angles, torch.complex128)
    found = joint_moments(kraus, weights, ground(program, BATCH, torch.complex128, None))
    torch.testing.assert_close(found[0], mean, atol=1e-12, rtol=0)
    torch.testing.assert_close(found[1], square - mean[:, :, None] * mean[:, None], atol=1e-12, rtol=0)


@each_step
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("place", range(TIME))
def test_one_step_moments_are_those_of_all_histories(step, causal, place):
    program, angles, weights, replaced = case(step)
    kraus = kraus_operators(program, angles, torch.complex128)
    ends = HeisenbergPicture(kraus, weights, ground(program, BATCH, torch.complex128, None), causal, second=True)
    found = ends.moments(place, replaced_operators(program, replaced, torch.complex128))
    for variant, mean, square in zip(replaced, *found, strict=True):
        other = angles.clone()
        other[:, place] = variant
        chance, value = histories(program, other, weights)
        total = value[..., place if causal else 0 :].sum(-1)
        torch.testing.assert_close(mean, (chance * total).sum(1), atol=1e-12, rtol=0)
        torch.testing.assert_close(square, (chance * total**2).sum(1), atol=1e-12, rtol=0)


@each_step
@pytest.mark.parametrize("causal", [False, True])
def test_what_backends_share_is_what_plain_runs_give(step, causal):
    """`values` and `variants` of the exact backend against those that every backend inherits."""
    program, angles, weights, replaced = case(step)
    state = QuantumRecurrentLayer(step)(torch.ones(BATCH, 2, len(program.parameters), dtype=torch.float64))[1].detach()
    exact = ExactBackend()
    plain = Backend.variants(exact, program, angles, weights, state, causal=causal)
    shared = exact.variants(program, angles, weights, state, causal=causal)
    for place in range(TIME):
        torch.testing.assert_close(shared(place, replaced), plain(place, replaced), atol=1e-12, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("make", [ExactBackend, lambda: MomentBackend(20, seed=3), lambda: ShotBackend(20, seed=3)])
def test_steps_together_are_steps_one_by_one(make, causal):
    """Values and draws alike."""
    program, angles, weights, replaced = case(STEPS[1])
    together, single = (make().variants(program, angles, weights, causal=causal) for _ in range(2))
    found = together(range(TIME), replaced.repeat(1, TIME, 1))
    wanted = torch.cat([single(place, replaced) for place in range(TIME)], 1)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", [ShotBackend, MomentBackend])
@pytest.mark.parametrize("causal", [False, True])
def test_noise_has_the_mean_and_variance_of_shots(kind, causal):
    """Within 4.5 standard errors, for shots that are drawn and for those that are not."""
    program, angles, weights, replaced = case(STEPS[1])
    shots, draws, place = 20, 600, 1
    ends = HeisenbergPicture(
        kraus_operators(program, angles, torch.complex128), weights, ground(program, BATCH, torch.complex128, None),
        causal, second=True,
    )  # fmt: skip
    mean, square = ends.moments(place, replaced_operators(program, replaced, torch.complex128))
    at = kind(shots, seed=3).variants(program, angles, weights, causal=causal)
    found = torch.stack([at(place, replaced) for _ in range(draws)])
    variance = (square - mean**2) / shots
    assert ((found.mean(0) - mean).abs() < 4.5 * (variance / draws).sqrt()).all()
    assert ((found.var(0) / variance - 1).abs() < 4.5 * (3 / draws) ** 0.5).all()


def test_values_by_moments_vary_together_as_shots_do():
    program, angles, weights, _ = case(STEPS[1])
    shots, draws = 20, 2000
    kraus = kraus_operators(program, angles, torch.complex128)
    mean, covariance = joint_moments(kraus, weights, ground(program, BATCH, torch.complex128, None))
    backend = MomentBackend(shots, seed=4)
    found = backend.values(program, angles.repeat(draws, 1, 1), weights.repeat(draws, 1, 1)).unflatten(0, (draws, -1))
    off = found - mean
    sizes = covariance.diagonal(dim1=1, dim2=2) / shots
    error = ((sizes[:, :, None] * sizes[:, None] + (covariance / shots) ** 2) / draws).sqrt()
    assert (off.mean(0).abs() < 4.5 * (sizes / draws).sqrt()).all()
    assert ((torch.einsum("nbt,nbu->btu", off, off) / draws - covariance / shots).abs() < 4.5 * error).all()


@pytest.mark.parametrize(
    "gradient",
    [ParameterShift(), ParameterShift(causal=False, prune=True), FiniteDifference(0.5), SPSA(0.3, 4, seed=5),
     SPSA(0.3, 4, seed=5, causal=True), RandomCoordinate(5, seed=6), DirectionalShift(3, seed=7)],
    ids=repr,
)  # fmt: skip
def test_every_estimator_runs_on_moments_and_is_billed_alike(gradient):
    """With so many shots that noise is nothing, it finds what it finds by exact probabilities."""
    step, found = rotation_step(2, 2), {}
    for backend in (ExactBackend(), MomentBackend(10**9, seed=1)):
        if hasattr(gradient, "generator"):
            gradient.generator.manual_seed(8)
        layer = QuantumRecurrentLayer(step, backend=backend, gradient=gradient)
        angles = torch.full((2, 3, step.num_parameters), 0.7, dtype=torch.float64)
        executor = Executor(layer.program, backend, layer.cost, None)
        weights = torch.linspace(-1, 1, 2 * 3 * 4, dtype=torch.float64).reshape(2, 3, 4)
        found[type(backend)] = gradient.estimate(executor, angles, weights), layer.cost.circuits
    (exact, billed), (noisy, same) = found.values()
    assert billed == same > 0
    assert (noisy - exact).abs().max() < 5e-3


def test_forward_passes_still_draw_shots():
    layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=MomentBackend(7, seed=1))
    frequencies = layer(torch.ones(1, 4, 13, dtype=torch.float64))[0] * 7
    torch.testing.assert_close(frequencies, frequencies.round())
    assert "Moment" in repr(layer)
