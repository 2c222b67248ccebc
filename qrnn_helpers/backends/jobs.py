"""Jobs of a Qiskit sampler: submitted, waited for, tried again, cancelled."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from enum import Enum
from typing import Any

from qiskit.primitives import BaseSamplerV2

log = logging.getLogger(__name__)


class SamplerError(RuntimeError):
    """A sampler's job failed, was cancelled, or came back with something else than was asked for.

    ``status``: what the job says of itself, as text ("NOT SUBMITTED" if the sampler gave no job, "unknown"
    and why if the job cannot say); ``job_id``: its id, or None.  The sampler's own error is the cause.
    """

    def __init__(self, message: str, status: str = "unknown", job_id: str | None = None):
        super().__init__(message)
        self.status, self.job_id = status, job_id


def may_retry(error: Exception) -> bool:
    """Whether an error says that the same job may be tried again.

    Its attribute ``retryable`` or ``retriable``, if it has one, decides; else one with ``retry_after``
    (seconds) may be, and so may Python's own ConnectionError and TimeoutError.  Nothing else is tried again.
    """
    for name in ("retryable", "retriable"):
        if isinstance(getattr(error, name, None), bool):
            return getattr(error, name)
    return getattr(error, "retry_after", None) is not None or isinstance(error, (ConnectionError, TimeoutError))


# ---------------------------------------------------------------- jobs

FAILED = ("ERROR", "CANCEL", "FAIL")
"""How the names of a failed job's states begin, in Qiskit (`JobStatus`) and elsewhere."""


def run_job(submit: Callable[[], Any], keep: bool = False) -> tuple[Any, Any]:
    """Submit and wait: the job and its result, or a `SamplerError`.

    Whatever ends the wait early, an interrupt too, asks the job to cancel and goes on; a job to ``keep`` is left alone.
    """
    job = None
    try:
        job = submit()
        result = job.result()
    except SamplerError:  # of a job that could not be had
        raise
    except Exception as error:
        failure = failed(f"sampler failed with {type(error).__name__}: {error}", job)
        if not keep and not failure.status.upper().startswith(("DONE", *FAILED)):
            cancel(job, error)
        raise failure from error
    except BaseException as interrupt:
        if not keep:
            cancel(job, interrupt)
        raise
    if ask(job, "status").upper().startswith(FAILED):
        raise failed("sampler must finish its job; got a result from one that did not", job)
    return job, result


def cancel(job: Any, reason: BaseException) -> None:
    """Ask a job, if there is one, to cancel; if it refuses, the reason, which goes on, takes a note of it."""
    if job is None:
        return
    try:
        job.cancel()
    except Exception as error:
        reason.add_note(f"job {ask(job, 'job_id')} could not be cancelled: {type(error).__name__}: {error}")


def failed(words: str, job: Any) -> SamplerError:
    """The error that tells what happened, with the job's status and id."""
    if job is None:
        return SamplerError(f"{words} (status NOT SUBMITTED)", "NOT SUBMITTED")
    status, job_id = ask(job, "status"), ask(job, "job_id")
    return SamplerError(f"{words} (status {status}, job {job_id})", status, job_id)


def ask(job: Any, name: str) -> str:
    """A job's answer as text: the name of an enum, a string, or why it could not say."""
    try:
        answer = getattr(job, name)
        answer = answer() if callable(answer) else answer
    except Exception as error:
        return f"unknown ({type(error).__name__}: {error})"
    return answer.name if isinstance(answer, Enum) else str(answer)


def delay(error: Exception, attempt: int) -> float:
    """Seconds before attempt number ``attempt`` + 1: what the error asks for, or 1, 2, 4, ..."""
    try:
        seconds = float(getattr(error, "retry_after", math.nan))
    except (TypeError, ValueError):  # HTTP knows dates here too
        seconds = math.nan
    return seconds if 0 <= seconds < math.inf else 2.0**attempt


def reseed(sampler: BaseSamplerV2, seed: int) -> None:
    """Give the sampler's next job a seed of its own, wherever this sampler keeps it."""
    options: Any = getattr(sampler, "options", None)
    simulator: Any = getattr(options, "simulator", None)
    if getattr(sampler, "_seed", None) is not None:  # Aer's and Qiskit's own samplers have no public setter
        sampler._seed = seed
    elif isinstance(getattr(options, "run_options", None), dict):  # Aer
        options.run_options["seed_simulator"] = seed
    elif hasattr(options, "seed_simulator"):  # BackendSamplerV2
        options.seed_simulator = seed
    elif isinstance(getattr(simulator, "seed_simulator", None), int):  # IBM's, if seeded; 0 would be none there
        simulator.seed_simulator = seed or 1
