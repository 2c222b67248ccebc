"""The stored comparisons: what they were made of, and that they are what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from qrnn_helpers import QRNN, score
from qrnn_helpers.baselines import answers, linear, persistence, standard_baselines
from qrnn_helpers.baselines.networks import circuit
from qrnn_helpers.baselines.standard import CONFIGURATIONS
from qrnn_helpers.study import tasks as contest
from qrnn_helpers.study.jobs import state_from
from qrnn_helpers.study.tasks import KINDS, TASKS, UPDATES, jobs, network, paired, result, step_of, table
from qrnn_helpers.tasks import PARTS


def test_what_a_job_stores_is_what_the_table_compares(monkeypatch):
    """A whole job, small: score and weights of the first seed are those of the circuit trained alone."""
    parts = [tuple(array[:40] for array in getattr(contest.task("patch-2d"), part)) for part in PARTS]
    task = replace(contest.task("patch-2d"), **dict(zip(PARTS, parts, strict=True)))
    monkeypatch.setattr(contest, "task", lambda name: task)
    found = contest.contest("patch-2d", "bare", 2, (3, 4))
    alone = circuit(task, 3, step=step_of("bare"), **found["setting"])
    assert len(found["tests"]) == 2 and found["test"] == np.mean(found["tests"])
    assert len(found["trials"]["setting"]) == CONFIGURATIONS and found["trials"]["setting"][0] == found["setting"]
    assert found["tests"][0] == score(task, alone.predict)
    x, y = task.train
    model = QRNN(x.shape[2], y.shape[2], step_of("bare"), skip=found["setting"]["skip"], dtype=x.dtype, seed=0)
    again = answers(task, state_from(model, found["weights"]))
    assert torch.equal(again.predict(task.test[0]), alone.predict(task.test[0]))


@pytest.mark.parametrize("name", TASKS)
def test_every_kind_of_model_had_the_same_effort(name):
    found = table(name)
    settings = {
        baseline.name: baseline.settings(contest.task(name))
        for baseline in standard_baselines(step_of("circuit"), updates=UPDATES)
    }
    expected = [KINDS[kind] for kind in KINDS if (name, kind) != ("lorenz", "persistence")]
    assert list(found.index) == expected
    for model, row in found.iterrows():
        assert row["setting"] in settings[model]
        assert row["tried"] == (1 if model == "persistence" else CONFIGURATIONS) == len(settings[model])
        assert row["test"] == pytest.approx(np.mean(row["tests"]), rel=1e-12)
        assert len(row["tests"]) == (1 if np.isnan(row["±"]) else 5)
    for job in (job for job in jobs() if job.settings["task_name"] == name):
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
