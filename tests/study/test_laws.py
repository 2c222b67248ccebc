"""The laws' covariances against the estimators themselves, the Hessian against torch's, a quadratic by hand."""

import pytest
import torch

from qrnn_helpers.backends import CostLedger, ExactBackend, Executor, MomentBackend
from qrnn_helpers.gradients import SPSA, ParameterShift, RandomCoordinate, WeightSPSA
from qrnn_helpers.study import laws
from qrnn_helpers.study.arms import Problem, Setting, network, task_of
from qrnn_helpers.study.gradient_noise import (
    covariances,
    encoder_weights,
    first,
    hessian,
    mean_and_covariance,
    opened,
    positive,
    rademacher,
    sample_gradients,
    slopes,
    weight_gradients,
)
from qrnn_helpers.study.laws import KINDS, Checkpoint, inject, noise, noise_root, progress

PROBLEM = Problem(1, 1, 3)
WASHOUT = PROBLEM.washout
DRAWS = 2000
SHOTS, C = 8, 0.01


@pytest.fixture(scope="module")
def model():
    return network(PROBLEM, Setting("exact", 0.0, 1), 3)


@pytest.fixture(scope="module")
def train():
    return task_of(PROBLEM, 3).train


@pytest.fixture(scope="module")
def point(model, train):
    """That of a single window: no covariance of data."""
    window = first(train, 1)
    mean, data = mean_and_covariance(model, window, WASHOUT)
    pieces, gates = covariances(PROBLEM, model, window)
    convex, _ = positive(hessian(model, window, WASHOUT))
    return Checkpoint(mean, data, convex, pieces, gates, window[0].shape[2] + 1)


def estimates(arm, model, window, shots):
    """Encoder gradients of one window, (DRAWS, P F), by the estimator itself."""
    found = slopes(model, window, WASHOUT)
    runner = opened(PROBLEM, model) if arm in ("shift", "coordinates") else model
    backend = MomentBackend(shots, 1) if shots else ExactBackend()
    executor = Executor(runner.layer.program, backend, CostLedger(), None)
    angles = model.encoder(window[0]).detach().expand(DRAWS, -1, -1)
    weights = found.weights.expand(DRAWS, -1, -1)
    if arm == "weights":
        x = found.x.expand(DRAWS, -1, -1)
        return WeightSPSA(C, 1, 2).estimate_weights(executor, x, angles, weights).flatten(1)
    makers = {
        "spsa": SPSA(C, 2, 2),
        "causal": SPSA(C, 2, 2, causal=True),
        "coordinates": RandomCoordinate(2, 2),
        "shift": ParameterShift(prune=True),
    }
    g = makers[arm].estimate(executor, angles, weights)
    return torch.einsum("btp,btf->bpf", g, found.x.expand(DRAWS, -1, -1)).flatten(1)


SIZE = {"weights": 1}


def assert_covariance(drawn, expected):
    """Within what sampling leaves: E |sample covariance - C|^2 = (E |g - G|^4 - |C|^2) / draws, and the trace's own."""
    squares = (drawn - drawn.mean(0)).square().sum(1)
    error = (torch.cov(drawn.T) - expected).norm()
    assert error < 1.3 * ((squares.square().mean() - expected.square().sum()).clamp_min(0) / DRAWS).sqrt()
    assert (squares.mean() - expected.trace()).abs() < 4 * squares.std() / DRAWS**0.5


@pytest.mark.parametrize("arm", laws.ARMS[1:])
def test_direction_covariance_is_that_of_the_estimator(arm, model, train, point):
    drawn = estimates(arm, model, first(train, 1), 0)
    expected = sum(noise(point, arm, SIZE.get(arm, 2), 0, C))
    torch.testing.assert_close(drawn.mean(0), point.gradient, rtol=0, atol=4 * (expected.trace() / DRAWS).sqrt().item())
    assert_covariance(drawn, expected)


@pytest.mark.parametrize("arm", ["spsa", "causal", "weights"])
def test_shot_noise_of_spsa_is_that_of_the_estimator(arm, model, train, point):
    """c is small: shots are most of it."""
    drawn = estimates(arm, model, first(train, 1), SHOTS)
    expected = sum(noise(point, arm, SIZE.get(arm, 2), SHOTS, C))
    assert expected.trace() > 10 * sum(noise(point, arm, SIZE.get(arm, 2), 0, C)).trace()
    assert_covariance(drawn, expected)


def shifted_variances(model, train):
    """The shift rule's noise, circuit by circuit, by finite samples of its estimator."""
    return torch.cov(estimates("shift", model, first(train, 1), SHOTS).T)


def test_shot_noise_of_the_shift_rule_is_near_that_of_unshifted_circuits(model, train, point):
    """The formula puts s^2 of the unshifted circuit for that of the shifted ones: right on average over angles."""
    drawn, expected = shifted_variances(model, train), sum(noise(point, "shift", 1, SHOTS, C))
    assert 0.5 < (drawn.trace() / expected.trace()).item() < 2


def test_all_coordinates_are_the_shift_rule(point):
    """At k = M nothing is drawn; what is left is shot noise, there of unpruned circuits."""
    left = sum(noise(point, "coordinates", point.gates, 0, C))
    assert left.norm() < 1e-12 * point.pieces["coordinates"].norm()


def test_gates_and_angles_have_equal_gradients(model, train):
    part = first(train, 5)
    twin = opened(PROBLEM, model)
    one = torch.eye(model.encoder.out_features, dtype=torch.float64)
    own, other = slopes(model, part, WASHOUT), slopes(twin, part, WASHOUT)
    torch.testing.assert_close(own.g, other.g)
    mean = sample_gradients(own, one).mean(0)
    again = weight_gradients(model, encoder_weights(model)[None], part, WASHOUT)[0]
    torch.testing.assert_close(mean, again)
    y, _ = model.double()(part[0])
    loss = (y - part[1])[:, WASHOUT:].square().mean()
    weight, bias = torch.autograd.grad(loss, list(model.encoder.parameters()))
    torch.testing.assert_close(mean, torch.cat([weight, bias[:, None]], 1).flatten(), rtol=1e-4, atol=1e-6)


def test_data_covariance_is_that_of_batches_of_one(model, train):
    part = first(train, 30)
    mean, data = mean_and_covariance(model, part, WASHOUT, portion=7)
    each = torch.stack([mean_and_covariance(model, (x[None], y[None]), WASHOUT)[0] for x, y in zip(*part, strict=True)])
    torch.testing.assert_close(mean, each.mean(0))
    torch.testing.assert_close(data, (each - mean).T @ (each - mean) / 30)


def test_hessian_is_that_of_second_differences_of_the_loss(model, train):
    part = first(train, 4)
    here, h = encoder_weights(model), 1e-3
    direction = torch.randn(here.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction /= direction.norm()

    @torch.no_grad()
    def loss(size):
        moved = here + size * direction
        angles = part[0] @ moved[:, :-1].T + moved[:, -1]
        program = model.layer.program
        p, _ = ExactBackend().run(program, program.gate_angles(angles))
        return (model.decoder(p) - part[1])[:, WASHOUT:].square().mean().item()

    found = hessian(model, part, WASHOUT)
    assert torch.equal(found, found.T)
    curvature = (direction.flatten() @ found @ direction.flatten()).item()
    assert curvature == pytest.approx((loss(h) - 2 * loss(0) + loss(-h)) / h**2, rel=1e-4)


def test_positive_part():
    matrix = torch.tensor([[0.0, 2.0], [2.0, 0.0]], dtype=torch.float64)
    convex, values = positive(matrix)
    torch.testing.assert_close(convex, torch.ones(2, 2, dtype=torch.float64))
    torch.testing.assert_close(values, torch.tensor([-2.0, 2.0], dtype=torch.float64))


def quadratic(hessian_diagonal, gradient):
    h = torch.tensor(hessian_diagonal, dtype=torch.float64).diag()
    g = torch.tensor(gradient, dtype=torch.float64)
    return Checkpoint(g, torch.zeros_like(h), h, {}, 1, 1)


def test_laws_agree_where_curvature_is_isotropic():
    """H = 2, |G|^2 = 25, S = 1: tr S / |G|^2 = 2/25 by both laws."""
    point = quadratic([2.0, 2.0], [3.0, 4.0])
    one = torch.eye(2, dtype=torch.float64)
    for law in ("error", "curvature"):
        ratio, gain = progress(law, point, one)
        assert (ratio, gain) == (pytest.approx(2 / 25), pytest.approx(1 / (1 + 2 / 25)))


def test_curvature_law_counts_noise_by_curvature():
    """H = diag(1, 0): noise along the second weight costs nothing; Adam's diagonal by hand."""
    point = quadratic([1.0, 0.0], [1.0, 1.0])
    flat, steep = (torch.tensor(each, dtype=torch.float64).diag() for each in ([0.0, 3.0], [3.0, 0.0]))
    assert progress("curvature", point, flat)[0] == 0 and progress("curvature", point, steep)[0] == pytest.approx(3)
    assert progress("error", point, flat)[0] == progress("error", point, steep)[0] == pytest.approx(1.5)
    assert progress("adam", point, steep)[0] == pytest.approx(3)  # one weight alone: D cancels
    d = (1 + 3) ** -0.5
    assert progress("adam gain", point, steep)[1] == pytest.approx((d + 1) ** 2 / d**2 / (1 + 3))


def test_the_best_step_gains_what_the_law_says():
    """On a quadratic, against the mean loss after the best step, over a grid of rates."""
    point = quadratic([1.0, 0.2], [1.0, 2.0])
    covariance = torch.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=torch.float64)
    d = (point.gradient.square() + covariance.diagonal()).rsqrt()
    rates = torch.linspace(0, 20, 200_001, dtype=torch.float64)
    second = point.gradient.outer(point.gradient) + covariance
    falls = (
        rates * (d * point.gradient.square()).sum() - rates**2 / 2 * (second * (d[:, None] * point.hessian * d)).sum()
    )
    assert progress("adam gain", point, covariance)[1] / 2 == pytest.approx(falls.max().item(), rel=1e-6)


def test_rademacher_by_all_signs():
    g = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    every = (signs @ g)[:, None] * signs
    torch.testing.assert_close(rademacher(g.outer(g)), torch.cov(every.T, correction=0))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_synthetic_noises_have_equal_squared_error(kind, model):
    """Trace 1, and the hook adds ratio |g|^2 on average; ``along`` has the most curvature, ``against`` the least."""
    root = torch.randn(40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = torch.logspace(-3, 0, 40, dtype=torch.float64)
    convex = (lambda q: (q * values) @ q.T)(torch.linalg.qr(root)[0])
    felt = {}
    for each in KINDS[1:]:
        r = noise_root(each, convex)
        assert (r @ r.T).trace().item() == pytest.approx(1)
        felt[each] = (convex * (r @ r.T)).sum().item()
    assert felt["along"] > 2 * felt["isotropic"] > 4 * felt["against"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_hook_adds_noise_of_the_stated_size(kind):
    model = network(PROBLEM, Setting("exact", 0.0, 1), 3)
    size = encoder_weights(model).numel()
    convex = torch.linspace(0, 1, size, dtype=torch.float64).diag()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    inject(optimizer, model, noise_root(kind, convex), 5.0, torch.Generator().manual_seed(2))
    squares = []
    for _ in range(300):
        for parameter in model.encoder.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        squares.append(sum((p.grad - 1).square().sum().item() for p in model.encoder.parameters()) / size)
    assert sum(squares) / 300 == pytest.approx(0.0 if kind == "none" else 5.0, rel=0.05)


def test_noise_reaches_the_steps_of_a_training(train):
    """`fit` works the gradient out in a closure: with SGD at rate 1 the noise is what one update moves beside it."""
    ends = []
    for kind in ("none", "isotropic"):
        model = network(PROBLEM, Setting("exact", 0.0, 1), 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        start = encoder_weights(model)
        root = noise_root(kind, torch.eye(start.numel(), dtype=start.dtype))
        inject(optimizer, model, root, 5.0, torch.Generator().manual_seed(2))
        laws.advance(model, optimizer, train, PROBLEM, 8, 1, 0)
        ends.append(encoder_weights(model) - start)
    step, moved = ends[0].square().sum(), (ends[1] - ends[0]).square().sum()
    assert (moved / step).item() == pytest.approx(5.0, rel=0.4)  # one draw of 130 numbers


def test_jobs_have_names_of_their_own_and_work_that_takes_their_settings(monkeypatch):
    every = list(laws.jobs())
    assert len({job.label for job in every}) == len(every)
    monkeypatch.setattr(laws, "SIZES", (1, 2))
    monkeypatch.setattr(laws, "BATCHES", (1, 8))
    small = {"memory": 1, "readout": 1, "steps": 2}
    result = laws.predict(small, "spsa", 2, 0, (4, 4))
    assert set(result["cheapest"]["shots"]["curvature"]) == set(laws.ARMS)
    assert all(form["cost"] > 0 for form in result["cheapest"]["circuits"]["error"].values())
    assert result["scales"]["error"]["spsa"] > result["scales"]["error"]["shift"]
