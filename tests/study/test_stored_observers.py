"""Observers cell by cell, and the stored runs: nothing lost, nothing seen that should not be."""

import numpy as np
import pytest
import torch

from qrnn_helpers import ks22, observer, score
from qrnn_helpers.baselines import linear
from qrnn_helpers.study.observers import CIRCUITS, KINDS, errors, jobs, network, start_linear
from qrnn_helpers.tasks import in_cells

PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def task():
    return in_cells(observer(*map(ks22, PARTS), sensors=4, windows=(64, 4, 8)))


def plane(near=None):
    rng = np.random.default_rng(0)
    fields = ks22("train")[:2, :40, :12].expand_dims(y=12, axis=2)
    fields = fields + rng.standard_normal(fields.shape)
    return in_cells(observer(fields, fields, fields, sensors=6, steps=5, washout=1, windows=(6, 2, 2)), near)


def test_every_view_shows_the_sensors_from_the_one_before_the_cell_on(task):
    field = torch.empty(8, 30, 64, dtype=torch.float64)
    field[..., task.whole.sensors], field[..., task.whole.others] = task.whole.test
    x, y = task.test
    for k in range(4):
        turned = field.roll(-16 * k, -1)
        assert torch.equal(x[8 * k : 8 * k + 8], turned.roll(16, -1)[..., ::16])
        assert torch.equal(y[8 * k : 8 * k + 8], turned[..., 1:16])


def test_cells_join_to_the_whole_field(task):
    assert torch.equal(task.join(task.test[1]), task.whole.test[1])
    square = plane()
    assert square.test[0].shape == (72, 5, 36) and square.test[1].shape == (72, 5, 3)
    assert torch.equal(square.join(square.test[1]), square.whole.test[1])


def test_near_sensors_surround_the_cell():
    square, all_of_them = plane(near=4), plane()
    assert square.test[0].shape == (72, 5, 16) and square.sees == "16 of 36 sensors"
    assert torch.equal(square.test[1], all_of_them.test[1])
    grid = all_of_them.test[0].unflatten(-1, (6, 6))[..., 1:5, 1:5]
    assert torch.equal(square.test[0], grid.flatten(-2))
    with pytest.raises(ValueError, match="near must be"):
        plane(near=7)
    with pytest.raises(TypeError, match="an Observer"):
        in_cells(square)


def test_sharing_one_linear_observer_loses_nothing(task):
    """The best linear map is the same in every gap: sharing asks less of the data."""
    shared = task.join(linear(task, lags=1, penalty=1e-6).predict(task.test[0]))
    assert score(task.whole, lambda x: shared) < 1.02 * score(
        task.whole, linear(task.whole, lags=1, penalty=1e-6).predict
    )


@pytest.mark.parametrize("kind", CIRCUITS)
def test_circuits_start_as_the_linear_observer(task, kind):
    model = network(kind, 4, 15)
    start_linear(model, task)
    with torch.no_grad():
        model.decoder.weight.zero_()
        answer = model(task.test[0][:3].float())[0]
    assert torch.allclose(answer.double(), linear(task, lags=1, penalty=1e-6).predict(task.test[0][:3]), atol=1e-4)


def test_without_entanglers_nothing_is_remembered(task):
    model, x = network("circuit, no entanglers", 4, 15, seed=1), task.test[0].float()
    other = torch.cat([x.roll(1, 0)[:, :-1], x[:, -1:]], dim=1)
    with torch.no_grad():
        assert torch.allclose(model(x)[0][:, -1], model(other)[0][:, -1], atol=1e-5)


def test_error_by_step_averages_to_the_score(task):
    predict = linear(task, lags=1, penalty=1e-6).predict
    by_step = errors(task, predict)[task.lags - 1 :]
    assert by_step.square().mean().sqrt().item() == pytest.approx(score(task, predict), rel=1e-9)


def test_stored_rows_are_whole():
    assert {job.settings["kind"] for job in jobs()} == set(KINDS)
    for job in jobs():
        found = job.result
        if "exchanging" not in job.settings["kind"]:
            best = min(found["tried"], key=lambda row: row["validation"])
            assert len(found["tried"]) == 3 and best["setting"] == found["setting"]
        assert len(found["steps"][0]) == 30
        for test, steps in zip(found["test"], found["steps"]):
            assert np.sqrt(np.mean(np.square(steps[10:]))) == pytest.approx(test, rel=1e-6)
