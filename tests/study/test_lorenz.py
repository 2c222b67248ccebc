"""The Lorenz case: fast networks and drawn gradients are what they stand for, and stored runs hold what they say."""

import numpy as np
import pytest
import torch
from reference import shot_variance

from qrnn_helpers import QRNN, ExactBackend, QuantumRecurrentLayer, ShotBackend, rotation_step
from qrnn_helpers.baselines import TUNING_SEED
from qrnn_helpers.dynamics import lorenz_series
from qrnn_helpers.gradients import FiniteDifference, ParameterShift
from qrnn_helpers.study import lorenz as case


def small(seed=0, steps=3, batch=1):
    """A small network, angles of some windows and weights of their readout."""
    model = QRNN(1, 2, rotation_step(1, 1), dtype=torch.float64, seed=seed)
    x = case.windows().train[0][:batch, :steps]
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(batch, steps, 2, generator=generator, dtype=torch.float64)
    return model.layer.program, model.encoder(x).detach(), weights


@pytest.mark.parametrize("sizes", [(2, 2), (4, 4)])
def test_interpolated_network_is_the_network(sizes):
    model = QRNN(1, 2, rotation_step(*sizes), skip=True, dtype=torch.float64, seed=3)
    fast = case.OneInput(model, 32, torch.complex128)
    x, y = (part[5:7, :6] for part in case.windows().train)
    gradients = []
    for network in (model, fast):
        first, state = network(x[:, :3])
        answers = torch.cat([first, network(x[:, 3:], state)[0]], 1)
        (answers - y).square().sum().backward()
        gradients.append([answers.detach()] + [weight.grad.clone() for weight in model.parameters()])
        model.zero_grad()
    for plain, interpolated in zip(*gradients, strict=True):
        assert torch.allclose(plain, interpolated, atol=1e-10, rtol=1e-8)


def test_without_entanglers_one_memory_qubit_stands_for_four():
    """Outcomes depend on the angles of the readout's own gates alone."""
    bare = case.built("bare", seed=0).model
    other = QRNN(1, 2, case.without_entanglers(rotation_step(4, 4)), dtype=torch.float64, seed=0)
    places = []
    for network in (bare, other):
        program = network.layer.program
        places.append([k for k, op in enumerate(program.occurrences) if op.qubits[0] >= program.memory])
    with torch.no_grad():
        other.encoder.weight[places[1]], other.encoder.bias[places[1]] = 0.7, 0.3
        bare.encoder.weight[places[0]], bare.encoder.bias[places[0]] = 0.7, 0.3
        x = case.windows().train[0][:2, :4]
        outcomes = [network.layer(network.encoder(x))[0] for network in (bare, other)]
    assert torch.allclose(*outcomes, atol=1e-12)


def test_purity_of_the_memory():
    network = case.built("circuit", seed=0)
    x = case.windows().run[0][:, :80]
    purity = case.mixing(network, x)
    assert purity[0] > 0.2 and purity[-1] == pytest.approx(1 / 16, rel=0.05)


def test_variance_against_all_histories():
    program, angles, weights = small()
    wanted = shot_variance(rotation_step(1, 1), angles[0].numpy(), weights[0].numpy())
    for dtype, tolerance in ((torch.complex128, 1e-12), (torch.complex64, 1e-4)):
        assert float(case.variance(program, angles, weights, dtype)) == pytest.approx(wanted, rel=tolerance)


@pytest.mark.parametrize("method", [FiniteDifference(0.1), ParameterShift(causal=False)])
def test_drawn_gradients_are_distributed_like_those_of_circuits(method):
    """The same mean, and the same variance of each angle's slope, on the whole."""
    _, angles, weights = small(seed=1)
    clouds = []
    for copies, backend, estimator in (
        (400, ShotBackend(256, seed=1), method),
        (2000, ExactBackend(), case.Simulated(method, 256, seed=2)),
    ):
        rows = angles.repeat(copies, 1, 1).requires_grad_()
        layer = QuantumRecurrentLayer(rotation_step(1, 1), backend=backend, gradient=estimator)
        (layer(rows)[0] * weights).sum().backward()
        assert layer.cost.circuits == layer.update_circuits(copies, 3)
        clouds.append(rows.grad)
    (real, drawn), noise = (cloud.mean(0) for cloud in clouds), clouds[0].var(0).mean().sqrt()
    assert (real - drawn).abs().max() < 5 * noise * 400**-0.5 + 0.005
    assert float(clouds[1].var(0).mean() / clouds[0].var(0).mean()) == pytest.approx(1, abs=0.12)


def test_drawn_spsa_is_attenuated_and_as_wrong_as_its_law():
    program, angles, weights = small(seed=2)
    free = angles.clone().requires_grad_()
    outcomes = ExactBackend().run(program, program.gate_angles(free))[0]
    exact = torch.autograd.grad((outcomes * weights).sum(), free)[0]
    rows = angles.repeat(4000, 1, 1).requires_grad_()
    estimator = case.Simulated(case.METHODS["spsa"], 1024, seed=0)
    layer = QuantumRecurrentLayer(rotation_step(1, 1), gradient=estimator)
    (layer(rows)[0] * weights).sum().backward()
    assert torch.allclose(rows.grad.mean(0), case.ATTENUATION * exact[0], atol=0.05 * float(exact.norm()))
    count, spread = exact.numel(), float(case.variance(program, angles, weights)) / 1024 / (2 * 0.1**2)
    law = ((count - 1) * case.ATTENUATION**2 * float(exact.square().sum()) + count * spread) / 8
    assert float((rows.grad - case.ATTENUATION * exact).square().sum((1, 2)).mean()) == pytest.approx(law, rel=0.1)


def test_drawn_frequencies():
    program, angles, _ = small(batch=2)
    rows = program.gate_angles(angles)
    exact = ExactBackend().run(program, rows)[0]
    drawn = case.Frequencies(100_000, seed=0).run(program, rows)[0]
    assert torch.allclose(drawn.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    assert torch.allclose(drawn, exact, atol=0.01)


def test_streams_go_on_where_they_stopped():
    batches = case.carried(*case.RECIPES["carried"], torch.Generator().manual_seed(0))
    (x0, _, washout), (x1, _, later) = next(batches), next(batches)
    assert (washout, later) == (case.WASHOUT, 0)
    whole = torch.cat([x0, x1], 1)
    values = torch.from_numpy(lorenz_series().values[0])
    low, high = values[:5445, 0].min(), values[:5445, 0].max()
    scaled = (values[:, 0] - low) / (high - low)
    for row in whole[..., 0]:
        start = int((scaled - row[0]).abs().argmin())
        assert start + 40 < 5445
        assert torch.allclose(scaled[start : start + 40], row)


@pytest.mark.parametrize("recipe", list(case.RECIPES))
def test_training_sees_nothing_of_validation_and_test(recipe, monkeypatch):
    def trained():
        network = case.built("gru", seed=0)
        case.train(network, recipe=recipe, rate=0.1, updates=3, seed=0)
        return torch.cat([weight.detach().flatten() for weight in network.parameters()])

    before, series = trained(), lorenz_series().copy(deep=True)
    series.values[:, 5445:] = np.random.default_rng(0).normal(size=series.values[:, 5445:].shape)
    monkeypatch.setattr(case, "lorenz_series", lambda: series)
    for kept in (case.windows, case.stretches):
        kept.cache_clear()
    try:
        assert torch.equal(trained(), before)
    finally:
        for kept in (case.windows, case.stretches):
            kept.cache_clear()


def test_every_job_is_stored_whole_and_the_test_part_is_scored_on_the_seeds_alone():
    for job in case.tuning():
        if job.work is not case.fitted:
            assert set(job.result["scores"]) == {"validation", "validation run"}
            assert job.settings["seed"] == TUNING_SEED
    for group in case.finals().values():
        assert [job.settings["seed"] for job in group] == list(case.SEEDS)
        assert all("test run" in job.result["scores"] for job in group)


@pytest.mark.parametrize("group", ["plain circuit", "winner", "gru", "bare", "shift 110000"])
def test_stored_scores_come_from_the_stored_weights(group):
    job = case.finals()[group][1]
    predict = case.predictor(case.loaded(job))
    x, y = case.windows().test
    pairs = {"validation run": case.stretches(1484).validation}
    for name, pair in pairs.items():
        assert np.allclose(case.mean_squares(predict, pair), job.result["scores"][name], rtol=1e-3)
    some = case.mean_squares(predict, (x[::8], y[::8]))
    assert case.rmse_of(some) == pytest.approx(case.rmse_of(job.result["scores"]["test"]), rel=0.25)


@pytest.mark.parametrize("group", ["plain circuit", "winner"])
def test_interpolation_holds_after_training(group):
    """Weights grow in training, and with them the frequencies that the nodes must resolve."""
    fast = case.loaded(case.finals()[group][0]).finer()
    x = case.windows().test[0][::150]
    with torch.no_grad():
        assert (fast(x)[0] - fast.model(x)[0]).abs().max() < 1e-3


def test_the_run_parts_from_the_windows():
    """The project's observation, and its reason: both errors are of the same networks on the same stretch of time."""
    curves = {
        part: np.array(
            [[case.rmse_of(look[part]) for look in job.result["curve"]] for job in case.finals()["plain circuit"]]
        )
        for part in ("validation", "validation run")
    }
    windows, run = curves["validation"], curves["validation run"]
    assert (run[:, -1] > 1.3 * windows[:, -1]).all()
    assert np.allclose(run[:, :3], windows[:, :3], rtol=0.1)  # at first there is no difference
    assert windows.mean(0)[-1] == windows.mean(0).min()
    assert run.mean(0)[-1] > 1.1 * run.mean(0).min()


def test_a_stored_training_begins_again_as_it_was():
    job = case.finals()["gru"][0]
    network = case.built("gru", seed=0, hidden=job.settings["hidden"])
    settings = {name: job.settings[name] for name in ("recipe", "rate", "updates", "seed")}
    case.train(network, **settings)
    scores = case.mean_squares(case.predictor(network), case.windows().test)
    assert case.rmse_of(scores) == pytest.approx(case.rmse_of(job.result["scores"]["test"]), rel=0.05)
