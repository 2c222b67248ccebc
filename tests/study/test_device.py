"""The recorded run: its ledger, its estimate and its journal say the same."""

import pytest
from qiskit.primitives import BackendSamplerV2
from qiskit.providers.fake_provider import GenericBackendV2

from qrnn_helpers.backends.fakes import FakeDevice
from qrnn_helpers.study import device


def test_a_short_run_books_what_was_foreseen(monkeypatch):
    gates = ["rz", "sx", "x", "cz", "reset", "measure", "delay"]
    fake = FakeDevice(GenericBackendV2(4, gates, coupling_map=[[0, 1], [1, 2], [2, 3]], seed=1))
    monkeypatch.setattr(device, "device_sampler", lambda name: BackendSamplerV2(backend=fake))
    given = device.SETTING | {"shots": 4, "updates": 2, "batch": 2, "directions": 1}
    found = device.training("any", **given)
    assert found["updates"][-1][1:] == found["foreseen"] == [12, 48, 2]
    assert [row[1:] for row in found["journal"]] == [[6, 4], [6, 4]] and found["qubits"] == 4
    assert found["two_qubit_gates"] >= 48


@pytest.mark.parametrize("job", list(device.jobs()), ids=lambda job: job.name)
def test_stored_runs_are_what_was_foreseen(job):
    if not job.done:
        pytest.skip("not stored yet")
    result, setting = job.result, device.SETTING
    each = setting["batch"] * (1 + 2 * setting["directions"])
    assert job.status == "stored" and result["updates"][-1][1:] == result["foreseen"]
    assert result["journal"] == [[job.name, each, setting["shots"]]] * setting["updates"]
