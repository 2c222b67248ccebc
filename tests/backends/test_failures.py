"""Samplers that fail: errors carry the job's status, and layer, ledger and sampler can be used again."""

import copy
import enum
import logging
import pickle

import numpy as np
import pytest
import torch
from qiskit.primitives import BaseSamplerV2, BitArray, DataBin, PrimitiveResult, SamplerPubResult, StatevectorSampler
from qiskit.providers import JobStatus
from qiskit_aer.primitives import SamplerV2
from reference import random_angles

from qrnn_helpers import QRNN, SamplerBackend
from qrnn_helpers.backends import SamplerError
from qrnn_helpers.backends.jobs import delay, may_retry
from qrnn_helpers.circuits import rotation_step
from qrnn_helpers.gradients import SPSA, ParameterShift
from qrnn_helpers.models import QuantumRecurrentLayer

STEP = rotation_step(1, 1)
SHOTS = 200


class Job:
    """A job of Aer's whose result, status and cancel a test may replace."""

    def __init__(self, inner, spoil=None, status=JobStatus.DONE):
        self.inner, self.spoil, self.answer, self.cancelled = inner, spoil, status, 0

    def result(self):
        result = self.inner.result()
        return self.spoil(result) if self.spoil else result

    def status(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def job_id(self):
        return "job-7"

    def cancel(self):
        self.cancelled += 1


class Flaky(BaseSamplerV2):
    """Aer, but job number k (from 1) goes through ``spoil[k]``, and says ``status`` of itself."""

    def __init__(self, spoil=None, status=JobStatus.ERROR, job=Job):
        self.inner, self.spoil, self.status, self.kind = SamplerV2(seed=1), dict(spoil or {}), status, job
        self.jobs, self.pubs, self.seeds = [], [], []

    @property
    def _seed(self):
        return self.inner._seed

    @_seed.setter
    def _seed(self, seed):
        self.seeds.append(seed)
        self.inner._seed = seed

    def run(self, pubs, *, shots=None):
        self.pubs.append(pubs)
        spoil = self.spoil.get(len(self.pubs))
        job = self.kind(self.inner.run(pubs, shots=shots), spoil, self.status if spoil else JobStatus.DONE)
        self.jobs.append(job)
        return job


def fails(error):
    """What a job does whose ``result`` raises."""

    def spoil(result):
        raise error

    return spoil


def backend(sampler, **options) -> SamplerBackend:
    return SamplerBackend(sampler, SHOTS, seed=1, **{"pause": fails(AssertionError("waited")), **options})


def layer(sampler, gradient=None, **options) -> QuantumRecurrentLayer:
    return QuantumRecurrentLayer(STEP, backend=backend(sampler, **options), gradient=gradient)


def angles(batch=2, time=2) -> torch.Tensor:
    return random_angles(STEP, batch, time, seed=1)


def figures(quantum: QuantumRecurrentLayer) -> tuple[int, int, int]:
    return quantum.cost.circuits, quantum.cost.shots, quantum.cost.jobs


def replace(result: PrimitiveResult, **registers) -> PrimitiveResult:
    """The same result with registers in another form; None takes one away."""
    data = {name: value for name, value in {**result[0].data, **registers}.items() if value is not None}
    return PrimitiveResult([SamplerPubResult(DataBin(**data, shape=result[0].data.shape))])


# ---------------------------------------------------------------- what came back wrong


def fewer_shots(result):
    return replace(result, t1=BitArray(result[0].data["t1"].array[:, :-1], 1))


def fewer_circuits(result):
    cut = {name: BitArray(bits.array[:-1], 1) for name, bits in result[0].data.items()}
    return PrimitiveResult([SamplerPubResult(DataBin(**cut, shape=(1,)))])


def outcome_too_large(result):
    return replace(result, t0=BitArray(result[0].data["t0"].array + 2, 2))


def nine_bytes(result):
    array = np.concatenate([np.full((2, SHOTS, 8), [1, *[0] * 7], np.uint8), result[0].data["t0"].array], -1)
    return replace(result, t0=BitArray(array, 72))


WRONG = {
    fewer_shots: rf"sampler must return \(2,\) circuits of {SHOTS} shots in register 't1'; got \(2,\) of {SHOTS - 1} ",
    fewer_circuits: rf"sampler must return \(2,\) circuits of {SHOTS} shots in register 't0'; got \(1,\) of {SHOTS} ",
    outcome_too_large: "sampler must return outcomes below 2; got 3",
    nine_bytes: "sampler must return outcomes below 2",
    lambda result: replace(
        result, t1=None
    ): r"sampler must return the registers \['t0', 't1'\]; got none named \['t1'\]",
    lambda result: replace(result, t0=np.zeros((2, SHOTS))): "must return a BitArray in register 't0'; got ndarray",
    lambda result: PrimitiveResult([]): "sampler must return the result of 1 PUB; got 0",
    lambda result: PrimitiveResult([*result, *result]): "sampler must return the result of 1 PUB; got 2",
    lambda result: None: "sampler must return the result of 1 PUB; got a NoneType",
}


@pytest.mark.parametrize("spoil, words", WRONG.items(), ids=range(len(WRONG)))
def test_a_wrong_result_is_an_error_and_never_zeros(spoil, words):
    """Nor is it asked for again, whatever the predicate says."""
    sampler = Flaky({1: spoil}, status=JobStatus.DONE)
    quantum = layer(sampler, retry_if=lambda error: True)
    with pytest.raises(SamplerError, match=words + ".*status DONE, job job-7") as caught:
        quantum(angles())
    assert (caught.value.status, caught.value.job_id) == ("DONE", "job-7")
    assert figures(quantum) == (0, 0, 0) and len(sampler.pubs) == 1
    quantum(angles())
    assert figures(quantum) == (2, 2 * SHOTS, 1)


# ---------------------------------------------------------------- jobs that fail


class Phase(enum.Enum):
    FAILED = 3


@pytest.mark.parametrize(
    "status, told",
    [
        (JobStatus.ERROR, "ERROR"),
        (Phase.FAILED, "FAILED"),
        ("Cancelled - reached the limit", "Cancelled - reached the limit"),
        (ConnectionError("gone"), r"unknown \(ConnectionError: gone\)"),
        (None, "None"),
    ],
)
def test_a_failed_job_is_raised_with_its_status(status, told):
    original = RuntimeError("calibration lost")
    with pytest.raises(SamplerError, match=f"RuntimeError: calibration lost.*status {told}, job job-7") as caught:
        layer(Flaky({1: fails(original)}, status))(angles())
    assert caught.value.__cause__ is original
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.status, again.job_id) == (str(caught.value), caught.value.status, "job-7")


def test_a_sampler_that_takes_no_job():
    class Closed(Flaky):
        def run(self, pubs, *, shots=None):
            raise PermissionError("session closed")

    with pytest.raises(SamplerError, match="PermissionError: session closed .status NOT SUBMITTED") as caught:
        layer(Closed())(angles())
    assert (caught.value.status, caught.value.job_id) == ("NOT SUBMITTED", None)


@pytest.mark.parametrize("status", [JobStatus.CANCELLED, "failed", JobStatus.ERROR])
def test_a_result_from_a_job_that_did_not_finish_is_not_believed(status):
    with pytest.raises(SamplerError, match="sampler must finish its job") as caught:
        layer(Flaky({1: lambda result: result}, status))(angles())
    assert caught.value.status == getattr(status, "name", status)


def test_a_status_that_cannot_be_had_harms_no_good_result():
    quantum = layer(Flaky({1: lambda result: result}, ConnectionError("status service down")))
    quantum(angles())
    assert figures(quantum) == (2, 2 * SHOTS, 1)


def test_a_sampler_without_mid_circuit_measurement_says_so():
    with pytest.raises(SamplerError, match="StatevectorSampler cannot handle mid-circuit measurements.*status ERROR"):
        layer(StatevectorSampler())(angles())


# ---------------------------------------------------------------- interrupts


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_wait_asks_the_job_to_cancel(interrupt):
    sampler = Flaky({2: fails(interrupt())}, status=RuntimeError("must not be asked"))
    quantum = layer(sampler, max_circuits=1)
    with pytest.raises(interrupt):
        quantum(angles())
    assert [job.cancelled for job in sampler.jobs] == [0, 1]
    assert figures(quantum) == (1, SHOTS, 1)


def test_a_job_that_cannot_be_cancelled_does_not_hide_the_interrupt():
    class Stubborn(Job):
        def cancel(self):
            raise ConnectionError("no route")

    with pytest.raises(KeyboardInterrupt) as caught:
        layer(Flaky({1: fails(KeyboardInterrupt())}, job=Stubborn))(angles())
    assert caught.value.__notes__ == ["job job-7 could not be cancelled: ConnectionError: no route"]


@pytest.mark.parametrize("status, cancelled", [(JobStatus.RUNNING, 1), (JobStatus.ERROR, 0), (ValueError(), 1)])
def test_a_job_is_cancelled_unless_it_has_ended(status, cancelled):
    """Without its result nobody waits for it any more."""
    sampler = Flaky({1: fails(RuntimeError("connection lost"))}, status)
    with pytest.raises(SamplerError):
        layer(sampler)(angles())
    assert sampler.jobs[0].cancelled == cancelled


# ---------------------------------------------------------------- once more


def busy(**attributes) -> Exception:
    error = RuntimeError("busy")
    vars(error).update(attributes)
    return error


@pytest.mark.parametrize(
    "error, wanted",
    [
        (RuntimeError("no"), False),
        (busy(retryable=True), True),
        (busy(retriable=True), True),
        (busy(retryable=False, retry_after=3), False),
        (busy(retry_after=3), True),
        (busy(retry_after=None), False),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (ValueError(), False),
    ],
)
def test_which_errors_may_be_tried_again(error, wanted):
    assert may_retry(error) is wanted


@pytest.mark.parametrize("after, seconds", [(5, 5.0), ("2.5", 2.5), (0, 0.0), ("Wed, 21 Oct", 4.0), (-1, 4.0)])
def test_how_long_to_wait(after, seconds):
    assert delay(busy(retry_after=after), 2) == seconds
    assert [delay(ConnectionError(), attempt) for attempt in range(3)] == [1.0, 2.0, 4.0]
    assert delay(busy(retry_after=float("inf")), 1) == 2.0


def test_a_transient_failure_is_tried_again_with_a_fresh_seed_and_billed_once(caplog):
    waits = []
    sampler = Flaky({1: fails(ConnectionError("reset")), 2: fails(busy(retry_after=7))})
    quantum = layer(sampler, pause=waits.append)
    with caplog.at_level(logging.WARNING, logger="qrnn_helpers.backends.jobs"):
        found, _ = quantum(angles())
    assert figures(quantum) == (2, 2 * SHOTS, 1)
    assert waits == [1.0, 7.0] and len(sampler.pubs) == 3 == len(set(sampler.seeds))
    ends = [record.getMessage().rpartition("; ")[2] for record in caplog.records]
    assert ends == ["retry 1 of 2 in 1 s", "retry 2 of 2 in 7 s"]
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 2, dtype=torch.float64))


def test_retries_run_out():
    waits, last = [], busy(retryable=True)
    sampler = Flaky({1: fails(ConnectionError()), 2: fails(ConnectionError()), 3: fails(last)})
    quantum = layer(sampler, pause=waits.append)
    with pytest.raises(SamplerError, match="busy") as caught:
        quantum(angles())
    assert caught.value.__cause__ is last and waits == [1.0, 2.0] and len(sampler.pubs) == 3
    assert figures(quantum) == (0, 0, 0)


def test_no_retries_and_a_rule_of_ones_own():
    sampler = Flaky({1: fails(ConnectionError())})
    with pytest.raises(SamplerError):
        layer(sampler, retries=0)(angles())
    asked, original = [], LookupError("queue full")

    def rule(error):
        asked.append(error)
        return isinstance(error, LookupError)

    layer(Flaky({1: fails(original)}), retry_if=rule, pause=lambda seconds: None)(angles())
    assert asked == [original]


def test_an_interrupted_pause_ends_the_call():
    quantum = layer(Flaky({1: fails(ConnectionError())}), pause=fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        quantum(angles())
    assert figures(quantum) == (0, 0, 0)


# ---------------------------------------------------------------- layer and ledger afterwards


@pytest.mark.parametrize("job", [1, 2, 3])
def test_a_forward_pass_that_fails_on_its_kth_job(job):
    """Three jobs of two circuits: those before the failure are billed, the call can be repeated."""
    sampler = Flaky({job: fails(RuntimeError("lost"))})
    quantum = layer(sampler, max_circuits=2)
    with pytest.raises(SamplerError):
        quantum(angles(batch=6))
    done = job - 1
    assert figures(quantum) == (2 * done, 2 * done * SHOTS, done)
    found, _ = quantum(angles(batch=6))
    assert figures(quantum) == (2 * done + 6, (2 * done + 6) * SHOTS, done + 3)
    exact, _ = QuantumRecurrentLayer(STEP)(angles(batch=6))
    assert (found - exact).abs().max() < 6 * 0.5 / SHOTS**0.5


@pytest.mark.parametrize(
    "gradient, jobs, circuits",
    [(ParameterShift(), 2 * 14, 2 * 2 * 28), (SPSA(c=0.5, directions=4, seed=1), 4, 2 * 8)],
    ids=["ParameterShift", "SPSA"],
)
@pytest.mark.parametrize("job", [1, 2, -1])
@pytest.mark.parametrize("error", [RuntimeError("lost"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_backward_pass_that_fails_on_its_kth_job(gradient, jobs, circuits, job, error):
    """Jobs of four circuits: 2 samples, 28 terms a step or 4 pairs of directions."""
    job = job % (jobs + 1)
    sampler = Flaky({1 + job: fails(error)})
    quantum = layer(sampler, gradient, max_circuits=4)
    given = angles().requires_grad_()
    forward, _ = quantum(given)
    with pytest.raises((SamplerError, KeyboardInterrupt)):
        forward[..., 1].sum().backward()
    done = 4 * (job - 1)
    assert figures(quantum) == (2 + done, (2 + done) * SHOTS, job)
    assert given.grad is None  # no half of a gradient
    quantum(given)[0][..., 1].sum().backward()
    assert figures(quantum) == (4 + done + circuits, (4 + done + circuits) * SHOTS, job + 1 + jobs)
    if isinstance(gradient, ParameterShift):
        exact = angles().requires_grad_()
        QuantumRecurrentLayer(STEP)(exact)[0][..., 1].sum().backward()
        assert (given.grad - exact.grad).abs().max() < 6 * 2 / SHOTS**0.5


def test_what_torch_has_accumulated_before_a_backward_pass_failed():
    """The decoder's gradient is there already: repeat from zero_grad and the forward pass, as `fit` does."""
    sampler = Flaky({2: fails(RuntimeError("lost"))})
    model = QRNN(1, 1, STEP, backend=backend(sampler), gradient=SPSA(seed=1), dtype=torch.float64, seed=1)
    x = torch.zeros(2, 2, 1, dtype=torch.float64)
    loss = model(x)[0].sum()
    with pytest.raises(SamplerError):
        loss.backward()
    assert model.encoder.weight.grad is None and model.decoder.bias.grad.item() == 4.0
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    model(x)[0].sum().backward()
    assert model.decoder.bias.grad.item() == 8.0  # twice: what must not happen
    model.zero_grad()
    model(x)[0].sum().backward()
    assert model.decoder.bias.grad.item() == 4.0


def test_a_failure_inside_a_scope_closes_it():
    quantum = layer(Flaky({2: fails(RuntimeError("lost"))}), max_circuits=1)
    with pytest.raises(SamplerError), quantum.cost.scope("validation"):
        quantum(angles())
    quantum(angles())
    assert figures(quantum) == (2, 2 * SHOTS, 2) and quantum.cost.scopes["validation"].jobs == 1


def test_a_copy_taken_after_a_failure_goes_on_alike():
    sampler = Flaky({1: fails(RuntimeError("lost"))})
    quantum = layer(sampler)
    with pytest.raises(SamplerError):
        quantum(angles())
    twin = copy.deepcopy(quantum)
    assert twin.backend.sampler is sampler
    assert torch.equal(quantum(angles())[0], twin(angles())[0])


@pytest.mark.parametrize("answer", [None, "no", 0, 1, [False], float("nan")], ids=repr)
def test_a_rule_must_say_yes_or_no(answer):
    """Even "no" is true in Python: a job would be paid for again."""
    sampler = Flaky({1: fails(ConnectionError())})
    with pytest.raises(TypeError, match="retry_if's answer must be True or False; got"):
        layer(sampler, retry_if=lambda error: answer, pause=lambda seconds: None)(angles())
    assert len(sampler.pubs) == 1
