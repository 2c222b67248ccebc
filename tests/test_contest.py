"""The stored comparisons: what they were made of, and that they are what they say."""

import numpy as np
import pytest
import torch

from qrnn_helpers import contest, score
from qrnn_helpers.contest import JOBS, KINDS, TASKS, UPDATES, network, paired, result, side_by_side, step_of, table
from qrnn_helpers.networks import answers, circuit
from qrnn_helpers.regressions import linear, persistence
from qrnn_helpers.rivals import CONFIGURATIONS, rivals


def test_side_by_side_is_what_each_network_would_have_learnt_alone():
    task, step = contest.task("patch-2d"), step_of("bare")
    settings = [{"skip": False, "rate": 0.03}, {"skip": True, "rate": 0.1}]
    models = side_by_side(task, step, [3, 4], settings, 4)
    for seed, setting, model in zip((3, 4), settings, models):
        alone = circuit(task, seed, step=step, updates=4, **setting)
        x = task.validation[0][:50]
        assert torch.allclose(answers(task, model).predict(x), alone.predict(x), atol=1e-10)


@pytest.mark.parametrize("name", TASKS)
def test_every_kind_of_model_had_the_same_effort(name):
    found = table(name)
    settings = {rival.name: rival.settings(contest.task(name)) for rival in rivals(step_of("circuit"), updates=UPDATES)}
    expected = [KINDS[kind] for kind in KINDS if (name, kind) != ("lorenz", "persistence")]
    assert list(found.index) == expected
    for model, row in found.iterrows():
        assert row["setting"] in settings[model]
        assert row["tried"] == (1 if model == "persistence" else CONFIGURATIONS) == len(settings[model])
        assert row["test"] == pytest.approx(np.mean(row["tests"]), rel=1e-12)
        assert len(row["tests"]) == (1 if np.isnan(row["±"]) else 5)
    for job in (job for job in JOBS if job.settings["task_name"] == name):
        trials = job.result["trials"]
        assert trials["validation"] == sorted(trials["validation"])
        assert trials["setting"][0] == job.result["setting"]


@pytest.mark.parametrize("name", TASKS)
def test_stored_scores_come_out_again(name):
    """Of the linear model, fitted anew, and of a stored network; to the last digits that another processor gives."""
    task, row = contest.task(name), result(name, "linear")
    assert score(task, linear(task, **row["setting"]).predict) == pytest.approx(row["test"], rel=1e-6)
    for kind in ("bare", "circuit"):
        found = score(task, answers(task, network(name, kind)).predict)
        assert found == pytest.approx(result(name, kind)["tests"][0], rel=1e-9)
    if name != "lorenz":
        assert score(task, persistence(task).predict) == pytest.approx(result(name, "persistence")["test"], rel=1e-12)


def test_pairs_are_of_equal_seeds():
    mean, half = paired("patch-1d", "bare", "circuit")
    bare, full = (result("patch-1d", kind)["tests"] for kind in ("bare", "circuit"))
    assert mean == pytest.approx(np.mean(bare) - np.mean(full)) and half > 0
    assert paired("patch-1d", "gru", "gru") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: contest.task("ks"), "name must be one of"),
        (lambda: result("patch-1d", "lstm"), "kind must be one of"),
        (lambda: network("patch-1d", "gru"), "kind must be one of 'bare', 'circuit'"),
        (lambda: table("ks"), "name must be one of"),
    ],
)
def test_unknown_names_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
