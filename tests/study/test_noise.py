"""Training under noise: its jobs, and a small run of each kind."""

import json

import numpy as np
import pytest
import torch

from qrnn_helpers.backends import NoisyBackend, SimpleNoise
from qrnn_helpers.study import noise
from qrnn_helpers.study.arms import MAIN, Problem, Setting, network

SMALL = {"memory": 1, "readout": 1, "steps": 2}


def test_jobs_are_of_the_studys_settings():
    jobs = list(noise.jobs())
    assert len({job.name for job in jobs}) == len(jobs) and {job.folder for job in jobs} == {"noise"}
    for job in jobs:
        assert json.loads(json.dumps(job.settings))
        if "setting" in job.settings and job.settings["setting"]["shots"]:
            arm, budget = job.name.split("-")[1:3]
            chosen = noise.plan.setting_of(arm, budget)
            assert Setting(**job.settings["setting"]) == chosen


def test_a_network_differs_from_the_studys_in_its_backend_alone():
    setting = Setting("spsa", 0.01, 2, 16, 2, 0.1)
    for level in (noise.readings(0.02), noise.gates(0.02)):
        own, plain = noise.noisy_network(MAIN, setting, 3, level), network(MAIN, setting, 3)
        for mine, theirs in zip(own.parameters(), plain.parameters(), strict=True):
            assert mine.equal(theirs)
        assert own.layer.backend.shots == 16 and repr(own.layer.backend.noise) == repr(SimpleNoise(**level))
        backends = own.layer.backend, plain.layer.backend
        assert backends[0].generator.get_state().equal(backends[1].generator.get_state())
    steps = [noise.noisy_network(MAIN, setting, 3, level).layer.program.step for level in (level, noise.readings(0.1))]
    assert len(steps[0].data) > len(steps[1].data)


@pytest.mark.parametrize("arm", ["exact", "spsa"])
def test_a_small_run(arm):
    device = {"device 1": noise.device(1.0), "device 0": {}}
    setting = {"arm": arm, "rate": 0.01, "batch": 2, "shots": 0 if arm == "exact" else 4, "size": 2, "c": 0.3}
    found = noise.train(SMALL, setting, {"steps": 2}, [0, 1], device["device 1"], device, {"device 1": [16]})
    assert found["updates"] == 2 and len(found["weights"]) == 2
    bare = found["scores"]["device 0"]
    assert bare["plain"] == bare["corrected"] and bare["variance"] == bare["variance corrected"]
    noisy = found["scores"]["device 1"]
    assert all(np.array(noisy["variance corrected"]) > noisy["variance"])
    assert np.shape(found["read"]["device 1"]["plain"]) == (1, 2)


def test_networks_are_read_as_a_device_runs_them():
    """Two gates of two qubits for each controlled rotation, whatever they were trained on."""
    plain = network(MAIN, Setting("exact", 0.01, 1), 1)
    drawn = plain.layer.program.step
    written = noise.on_device(plain).layer.program.step
    pairs = [sum(len(each.qubits) == 2 for each in step.data) for step in (drawn, written)]
    assert pairs[1] == 2 * pairs[0] > 0
    assert written.parameters == drawn.parameters


def test_errors_on_a_device_are_those_of_its_probabilities():
    """The same by the backend itself; corrected: by perfect detectors."""
    problem, level = Problem(**SMALL), noise.readings(0.1)
    model = noise.noisy_network(problem, Setting("exact", 0.01, 1), 0, {})
    task = noise.task_of(problem, 0)
    found = noise.scores(model, task, level)
    by_backend = noise.error(model, task.test, NoisyBackend(SimpleNoise(**level)))
    perfect = noise.error(model, task.test, NoisyBackend(SimpleNoise(reset=0.1)))
    np.testing.assert_allclose([found["plain"], found["corrected"]], [by_backend, perfect], rtol=1e-5)
    assert found["refitted"] < found["plain"]
    outcomes = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    weights = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert noise.shot_variance(outcomes, weights) == pytest.approx(4 * 0.3 * 0.7)
