"""The stored closed-loop forecasts: chosen by validation alone, whole, and of the network that the pages speak of."""

import numpy as np
import pytest
import torch

from qrnn_helpers import QRNN, rotation_step
from qrnn_helpers.study.forecasts import KINDS, jobs, kind_job, network, patch_network, restored


def test_every_job_is_stored_whole():
    assert all(job.record["result"] for job in jobs())  # checksum and settings are compared on reading


@pytest.mark.parametrize("kind", KINDS)
def test_the_setting_is_the_best_on_validation_and_all_had_equal_effort(kind):
    result = kind_job(kind).result
    tried = [np.mean(each["vpt"]) for each in result["tried"]]
    assert result["setting"] == result["tried"][int(np.argmax(tried))]["setting"]
    assert [each["setting"] for each in result["tried"]] == KINDS[kind]
    assert len(tried) == (1 if kind == "persistence" else 6)
    assert all(len(run["vpt"]) == 120 for run in result["runs"])


def test_the_stored_circuit_is_a_qrnn_with_a_linear_path():
    model = restored()
    same = QRNN(12, 12, rotation_step(memory=1, readout=7), skip=True, dtype=torch.float64)
    same.encoder.load_state_dict(model.body.encoder.state_dict())
    with torch.no_grad():
        same.decoder.weight.copy_(model.readout.weight[:, :128])
        same.skip.weight.copy_(model.readout.weight[:, 128:])
        same.decoder.bias.copy_(model.readout.bias)
        same.skip.bias.zero_()
        x = torch.randn(5, 2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        assert torch.allclose(model(x)[0], same(x)[0], atol=1e-5)  # weights of a million that cancel


@pytest.mark.parametrize("kind", ["RNN", "GRU", "circuit", "circuit without entanglers"])
def test_networks_have_equally_many_features_and_learn_what_is_in_front_of_them(kind):
    model = network(kind, seed=1)
    x = torch.randn(3, 2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert model.features(x).shape == (3, 2, 128) and model(x)[0].shape == x.shape
    model.features(x).square().sum().backward()
    assert all(weight.grad is not None for weight in model.inner())
    assert model.readout.weight.grad is None


def test_patch_networks_are_of_like_size():
    sizes = [sum(w.numel() for w in patch_network(kind, 0).parameters()) for kind in ("GRU", "QRNN")]
    assert max(sizes) < 2 * min(sizes)
