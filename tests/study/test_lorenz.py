"""The Lorenz case: its networks, trainings and budgets, and stored runs that hold what they say."""

import numpy as np
import pytest
import torch

from qrnn_helpers import QRNN, rotation_step, without_entanglers
from qrnn_helpers.baselines import TUNING_SEED
from qrnn_helpers.dynamics import lorenz_series
from qrnn_helpers.study import lorenz as case


def test_without_entanglers_one_memory_qubit_stands_for_four():
    """Outcomes depend on the angles of the readout's own gates alone."""
    bare = QRNN(1, 2, case.step_of("bare"), dtype=torch.float64, seed=0)
    other = QRNN(1, 2, without_entanglers(rotation_step(4, 4)), dtype=torch.float64, seed=0)
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


def test_a_method_spends_its_budget():
    """Two updates of SPSA: a forward circuit and two for each direction; the test part stays unread."""
    result = case.method("spsa", budget=2 * 17 + 16, batch=1, rate=0.03, seed=TUNING_SEED)
    assert (result["updates"], result["circuits"], result["shots"]) == (2, 34, 34 * 1024)
    assert set(result["scores"]) == {"validation", "validation run"}


def test_streams_go_on_where_they_stopped():
    batches = case.streams(*case.stretches(680).train, case.BATCH, torch.Generator().manual_seed(0))
    (x0, _, fresh), (x1, _, later) = next(batches), next(batches)
    assert (fresh, later) == (True, False)
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
