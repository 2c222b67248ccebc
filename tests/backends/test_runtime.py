"""Devices: limits said before submission, jobs found again, no secret told, the ledger is what was asked for."""

import copy
import json
import logging
import pickle
import subprocess
import sys
import traceback

import numpy as np
import pytest
import torch
from qiskit import generate_preset_pass_manager
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2, StatevectorSampler
from qiskit.providers import JobStatus
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer.primitives import SamplerV2
from reference import LEVEL, evolve, random_angles
from scipy.stats import binomtest

from qrnn_helpers import estimate
from qrnn_helpers.backends import DeviceBackend, JobLimits, SamplerError, device_sampler
from qrnn_helpers.backends.runtime import control_instructions, secrets
from qrnn_helpers.circuits import rotation_step
from qrnn_helpers.gradients import SPSA, ParameterShift
from qrnn_helpers.models import QuantumRecurrentLayer

STEP = rotation_step(1, 1)
TOKEN = "planted-token-0123456789"


class Service:
    """A provider that keeps jobs by id, beyond the life of who submitted them."""

    def __init__(self):
        self.jobs, self.asked = {}, []

    def job(self, job_id):
        return self.jobs[job_id]


class Job:
    def __init__(self, inner, name, fails=()):
        self.inner, self.name, self.fails, self.answer, self.cancelled = inner, name, list(fails), JobStatus.RUNNING, 0

    def job_id(self):
        return self.name

    def status(self):
        return self.answer

    def cancel(self):
        self.cancelled += 1

    def result(self):
        if self.fails:
            error, self.answer = self.fails.pop(0)
            raise error
        self.answer = JobStatus.DONE
        return self.inner.result()


class Spy(BaseSamplerV2):
    """Aer behind a service: keeps what it was asked for; job number k (from 1) fails as ``fails[k]`` says."""

    def __init__(self, service=None, fails=None):
        self.service, self.fails, self.inner = service or Service(), fails or {}, SamplerV2(seed=1)

    def run(self, pubs, *, shots=None):
        number = len(self.service.asked) + 1
        self.service.asked.append((sum(1 if len(pub) == 1 else len(pub[1]) for pub in pubs), shots))
        self.inner._seed = number
        job = Job(self.inner.run(pubs, shots=shots), f"job-{number}", self.fails.get(number, ()))
        return self.service.jobs.setdefault(job.name, job)


def layer(backend, gradient=None, step=STEP) -> QuantumRecurrentLayer:
    return QuantumRecurrentLayer(step, backend=backend, gradient=gradient)


def spied(spy, path=None, **options) -> DeviceBackend:
    return DeviceBackend(spy, 20, seed=1, journal=path, retrieve=spy.service.job, **options)


def angles(batch=3, time=2, step=STEP) -> torch.Tensor:
    return random_angles(step, batch, time, seed=1)


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("level", range(4))
def test_without_noise_it_is_the_exact_backend_at_every_optimisation_level(level):
    """Counts of every outcome of every step against the binomial law."""
    step, shots = rotation_step(1, 2), 4000
    target = GenericBackendV2(5, ["rz", "sx", "x", "cz"], coupling_map=[[0, 1], [1, 2], [2, 3], [3, 4]], seed=1).target
    manager = generate_preset_pass_manager(level, target=target, seed_transpiler=0)
    given = angles(1, 3, step)
    found, _ = layer(DeviceBackend(SamplerV2(seed=1), shots, manager, seed=level), step=step)(given)
    wanted = evolve(step, given[0].numpy())[0]
    counts = np.rint(found[0].numpy() * shots).astype(int)
    chances = [binomtest(n, shots, p).pvalue for n, p in zip(counts.ravel(), wanted.ravel().clip(0, 1), strict=True)]
    assert min(chances) > LEVEL / (4 * counts.size)


# ---------------------------------------------------------------- the ledger


@pytest.mark.parametrize("gradient", [ParameterShift(), SPSA(directions=3, seed=1)], ids=["shift", "SPSA"])
@pytest.mark.parametrize("executions, together", [(10_000_000, True), (100, False)])
def test_ledger_and_estimate_are_what_the_sampler_was_asked_for(gradient, executions, together):
    spy = Spy()
    quantum = layer(spied(spy, limits=JobLimits(executions=executions)), gradient)
    foreseen = estimate(quantum, updates=1, batch_size=3, time_steps=2, machine="ibm_fez")
    assert not spy.service.asked
    quantum(angles().requires_grad_())[0][..., 1].sum().backward()
    asked = spy.service.asked
    booked = quantum.cost.circuits, quantum.cost.shots, quantum.cost.jobs
    assert booked == (sum(n for n, _ in asked), sum(n * shots for n, shots in asked), len(asked))
    assert booked == (foreseen.circuits, foreseen.shots, foreseen.jobs)
    assert all(n * shots <= executions for n, shots in asked)
    assert (len(asked) == 1) == together


def test_control_instructions_split_a_pass_and_nothing_else_does():
    spy = Spy()
    backend = spied(spy)
    each = control_instructions(backend.device_circuit(layer(backend).program, 2))
    backend.limits = JobLimits(instructions=2 * each)
    layer(backend)(angles(5))
    assert [n for n, _ in spy.service.asked] == [2, 2, 1]


# ---------------------------------------------------------------- what a device lacks


@pytest.mark.parametrize(
    "limits, words",
    [
        ({"two_qubit_gates": 3}, "time_steps must give at most 3 two-qubit gates a circuit; got 4 by 2 steps"),
        ({"instructions": 100}, "time_steps must give at most 100 control instructions a qubit; got .* by 2 steps"),
        ({"executions": 19}, "shots must be at most 19; got 20"),
    ],
)
def test_a_circuit_beyond_a_limit_is_refused_before_submission(limits, words):
    spy = Spy()
    with pytest.raises(ValueError, match=words):
        layer(spied(spy, limits=JobLimits(**limits)))(angles())
    assert not spy.service.asked


def test_too_few_qubits_are_said():
    small = DeviceBackend(BackendSamplerV2(backend=GenericBackendV2(2, seed=1)), 10)
    step = rotation_step(1, 2)
    with pytest.raises(ValueError, match="step must have at most 2 qubits, all that generic_backend_2q has; got 3"):
        layer(small, step=step)(angles(step=step))


def test_a_sampler_without_mid_circuit_measurement_is_refused_by_name():
    with pytest.raises(SamplerError, match="StatevectorSampler cannot handle mid-circuit measurements"):
        layer(DeviceBackend(StatevectorSampler(), 10))(angles())


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: DeviceBackend(Spy(), 10, limits=3), TypeError, "limits must be JobLimits or None"),
        (lambda: DeviceBackend(Spy(), 10, journal=3), TypeError, "journal must be a file's path or None"),
        (lambda: DeviceBackend(Spy(), 10, retrieve=3), TypeError, "retrieve must be a function of a job's id or None"),
        (lambda: device_sampler(3), TypeError, "name must be a device's name"),
        (lambda: device_sampler("fake_torino", mode="queue"), ValueError, "mode must be one of 'job', 'session'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_without_the_runtime_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime", None)
    with pytest.raises(ImportError, match="pip install 'qiskit-ibm-runtime"):
        device_sampler("fake_torino")


ABSENT = """
import sys
sys.modules["qiskit_ibm_runtime"] = None
import torch
from qiskit_aer.primitives import SamplerV2
from qrnn_helpers import QRNN, SPSA, estimate, rotation_step
from qrnn_helpers.backends import DeviceBackend, device_sampler

model = QRNN(1, 1, rotation_step(1, 1), backend=DeviceBackend(SamplerV2(), 10, seed=1), gradient=SPSA(seed=1), seed=0)
print(estimate(model, updates=1, batch_size=2, time_steps=2, machine="ibm_fez").jobs)
model(torch.zeros(2, 2, 1))[0].sum().backward()
print(model.layer.cost.jobs)
try:
    device_sampler("fake_torino")
except ImportError as error:
    print(error)
"""


def test_without_the_runtime_everything_else_works():
    said = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, check=True).stdout.split("\n")
    assert said[:2] == ["1", "1"] and "pip install 'qiskit-ibm-runtime" in said[2]


# ---------------------------------------------------------------- jobs found again


@pytest.mark.parametrize("death", [KeyboardInterrupt(), ConnectionError("gone")], ids=["interrupt", "connection"])
def test_a_job_is_paid_once_whoever_dies_before_its_result(tmp_path, death):
    """The second process asks the same, gets the first one's job, and goes on as an undisturbed one."""
    path, service = tmp_path / "jobs.json", Service()
    first = layer(spied(Spy(service, {2: [(death, JobStatus.RUNNING)]}), path, retries=0))
    done, _ = first(angles())
    with pytest.raises((KeyboardInterrupt, SamplerError)):
        first(angles(2))
    assert service.jobs["job-2"].cancelled == 0
    again = layer(spied(Spy(service), path))
    assert torch.equal(again(angles())[0], done)
    again(angles(2))
    assert len(service.asked) == 2 and (again.cost.circuits, again.cost.jobs) == (5, 2)
    fresh, _ = again(angles())  # an equal request of the same process is another job
    assert len(service.asked) == 3 and not torch.equal(fresh, done)
    listed = json.loads(path.read_text())["jobs"]
    assert [(each["job"], each["circuits"], each["shots"]) for each in listed] == [
        ("job-1", 3, 20), ("job-2", 2, 20), ("job-3", 3, 20),
    ]  # fmt: skip


def test_a_lost_connection_is_mended_by_the_same_job(tmp_path):
    spy = Spy(fails={1: [(ConnectionError("gone"), JobStatus.RUNNING)]})
    layer(spied(spy, tmp_path / "jobs.json", pause=lambda seconds: None))(angles())
    assert len(spy.service.asked) == 1


def test_a_job_that_failed_for_good_is_submitted_anew(tmp_path):
    spy = Spy(fails={1: [(RuntimeError("calibration"), JobStatus.ERROR)]})
    quantum = layer(spied(spy, tmp_path / "jobs.json"))
    with pytest.raises(SamplerError, match="calibration"):
        quantum(angles())
    quantum(angles())
    assert len(spy.service.asked) == 2 and quantum.cost.jobs == 1


def test_a_paid_job_that_cannot_be_had_is_not_paid_again(tmp_path):
    path, service = tmp_path / "jobs.json", Service()
    layer(spied(Spy(service), path))(angles())
    service.jobs.clear()
    with pytest.raises(SamplerError, match="job-1 was submitted before and cannot be had.*take it out of"):
        layer(spied(Spy(service), path))(angles())
    assert len(service.asked) == 1


def test_another_request_is_another_job(tmp_path):
    path, service = tmp_path / "jobs.json", Service()
    layer(spied(Spy(service), path))(angles())
    layer(spied(Spy(service), path))(angles() + 1e-9)
    other = DeviceBackend(Spy(service), 21, journal=path, retrieve=service.job)
    layer(other)(angles())
    assert [shots for _, shots in service.asked] == [20, 20, 21]


def test_a_journal_that_cannot_be_kept_is_told(tmp_path):
    """Without a service and ``retrieve`` a paid job could not be had again."""
    with pytest.warns(UserWarning, match="journal is not kept"):
        backend = DeviceBackend(SamplerV2(), 10, journal=tmp_path / "jobs.json")
    assert backend.journal is None


def test_a_file_of_another_kind_is_no_journal(tmp_path):
    (tmp_path / "jobs.json").write_text("[]")
    with pytest.raises(ValueError, match="journal must be a file of this backend's"):
        layer(spied(Spy(), tmp_path / "jobs.json"))(angles())


# ---------------------------------------------------------------- secrets


def test_a_planted_token_is_told_nowhere(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    assert TOKEN in secrets(None)
    path = tmp_path / "jobs.json"
    told = ConnectionError(f"401 for Bearer {TOKEN}")
    told.__cause__ = OSError(111, f"header {TOKEN}")
    told.headers = {"Authorization": f"Bearer {TOKEN}"}
    spy = Spy(fails={1: [(told, JobStatus.RUNNING)] * 2})
    backend = spied(spy, path, retries=1, pause=lambda seconds: None)
    quantum = layer(backend)
    with caplog.at_level(logging.DEBUG), pytest.raises(SamplerError, match=r"401 for Bearer \*\*\*") as caught:
        quantum(angles())
    quantum(angles())
    print(quantum, backend, quantum.cost)
    stored = path.read_text() + repr(quantum.state_dict()) + str(vars(told))
    text = "".join(traceback.format_exception(caught.value)) + caplog.text + capsys.readouterr().out + stored
    assert "retry 1 of 1" in text and TOKEN not in text


def test_an_account_is_neither_told_nor_pickled():
    device = GenericBackendV2(2, seed=1)
    device.service = Service()
    device.service.active_account = lambda: {"token": TOKEN}
    backend = DeviceBackend(BackendSamplerV2(backend=device), 10)
    assert secrets(device.service) == [TOKEN, *secrets(None)] or TOKEN in secrets(device.service)
    with pytest.raises(TypeError, match="sampler must not have credentials"):
        pickle.dumps(backend)
    assert copy.deepcopy(backend).sampler is backend.sampler


# ---------------------------------------------------------------- fake devices


@pytest.fixture
def runtime():
    return pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")


@pytest.mark.parametrize("mode", ["job", "session", "batch"])
def test_a_fake_device_repeats_its_draws_for_a_seed(runtime, mode):
    given = angles(1, 1)
    draws = []
    sampler = device_sampler("fake_manila", mode=mode, options={"simulator": {"seed_simulator": 0}})
    for seed in (1, 1, 2):
        draws.append(layer(DeviceBackend(sampler, 200, seed=seed))(given)[0])
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    "name, words",
    [
        ("fake_berlin", "sampler's device must measure and reset; fake_berlin lacks reset, it has .*cz"),
        ("fake_vigo", "sampler's device must measure before a circuit's end.*fake_vigo does not; got 2"),
    ],
)
def test_a_fake_device_says_what_it_lacks(runtime, name, words):
    with pytest.raises(ValueError, match=words):
        layer(DeviceBackend(device_sampler(name), 10))(angles())


def test_a_fake_device_that_does_not_exist(runtime):
    with pytest.raises(ValueError, match="name must be a fake device's, one of fake_aachen.*; got 'fake_atlantis'"):
        device_sampler("fake_atlantis")


def test_a_failing_account_tells_no_token(runtime, monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)

    def refuse():
        raise PermissionError(f"{TOKEN} is not known")

    monkeypatch.setattr(runtime, "QiskitRuntimeService", refuse)
    with pytest.raises(PermissionError, match=r"\*\*\* is not known"):
        device_sampler("ibm_fez")


def test_a_named_real_device_comes_from_the_account(runtime, monkeypatch):
    class Account(Service):
        def backend(self, name):
            return {"ibm_fez": GenericBackendV2(3, seed=1)}[name]

    monkeypatch.setattr(runtime, "QiskitRuntimeService", Account)
    assert device_sampler("ibm_fez").backend().num_qubits == 3
