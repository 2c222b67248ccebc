"""A device through Qiskit's runtime: found by name, its limits checked before submission, its jobs found again."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from qiskit import QuantumCircuit
from qiskit.primitives import BaseSamplerV2
from qiskit.transpiler import PassManager
from torch import Tensor

from ..checks import check_bool, check_instance, check_integer, check_one_of, shown
from ..simulation import StepProgram
from ..storage import read_json, write_json
from .base import Answer
from .devices import device
from .fakes import FakeDevice
from .jobs import SamplerError, run_job
from .results import Request
from .sampler import SamplerBackend
from .transpiled import depth_and_two_qubit_gates, transpile

__all__ = ["DeviceBackend", "JobLimits", "device_sampler"]


INSTALL = "pip install 'qiskit-ibm-runtime>=0.51,<1' qiskit-aer"

CONTROL = {"rz": 1, "delay": 1, "sx": 2, "x": 2, "cx": 5, "cz": 5, "ecr": 5, "measure": 10, "reset": 17}
"""Instructions of the control system on each qubit of an operation, as the validation counts them; others: 5."""

CONTROL_START = 50
"""The same for the start of every circuit."""

SECRET = re.compile("TOKEN|API_?KEY|SECRET|PASSWORD", re.IGNORECASE)
"""Environment variables whose values are never told."""


class JobLimits(NamedTuple):
    """What one job may hold: ``executions`` (circuits times shots), control ``instructions`` on a qubit, all circuits
    together, and ``two_qubit_gates`` in one circuit with measurements before its end.

    The defaults are IBM's (https://quantum.cloud.ibm.com/docs/guides/job-limits, 2026)."""

    executions: int = 10_000_000
    instructions: int = 26_800_000
    two_qubit_gates: int = 100_000


def device_sampler(name: str, *, mode: str = "job", options: dict | None = None) -> BaseSamplerV2:
    """The runtime's ``SamplerV2`` on the device of this name: fake ("fake_torino"), for everyone, or real.

    Credentials of a real one come from the saved account (``QiskitRuntimeService.save_account``, once, outside any
    notebook) or the environment (QISKIT_IBM_TOKEN); there is no argument for them.  ``mode``: "job", "session" or
    "batch", opened here; end it with ``sampler.mode.close()``.  ``options``: the runtime's own, see `SamplerOptions`
    there.  A fake device gets a seed, so that its backend can give every job one.

    Raises ImportError, which says what to install, without qiskit-ibm-runtime.
    """
    check_instance("name", name, str, "a device's name such as 'fake_torino'")
    check_one_of("mode", mode, ("job", "session", "batch"))
    runtime = _runtime()
    fake = name.startswith("fake_")
    with untold(secrets(None)):
        found = _fake(name) if fake else runtime.QiskitRuntimeService().backend(name)
        place = {"job": lambda each: each, "session": runtime.Session, "batch": runtime.Batch}[mode](found)
        sampler = runtime.SamplerV2(mode=place, options=options)
    if fake and not isinstance(sampler.options.simulator.seed_simulator, int):
        sampler.options.simulator.seed_simulator = 1
    return sampler


def _runtime() -> Any:
    try:
        import qiskit_ibm_runtime
    except ImportError as error:
        raise ImportError(f"a device by its name needs qiskit-ibm-runtime: {INSTALL}") from error
    return qiskit_ibm_runtime


def _fake(name: str) -> Any:
    from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

    known = {each.name: each for each in FakeProviderForBackendV2().backends()}
    if name not in known:
        raise ValueError(f"name must be a fake device's, one of {', '.join(sorted(known))}; got {shown(name)}")
    return FakeDevice(known[name])


# ---------------------------------------------------------------- secrets


def service_of(sampler: BaseSamplerV2) -> Any:
    """The service that a sampler's jobs can be asked for again, or None: that of its device."""
    return getattr(device(sampler), "service", None)


def secrets(service: Any) -> list[str]:
    """Texts that nothing here may tell: the account's token, and what the environment hides."""
    account: dict = getattr(service, "active_account", dict)() or {}
    hidden = [value for name, value in os.environ.items() if SECRET.search(name)]
    try:
        import qiskit_ibm_runtime

        saved = [each.get("token") for each in qiskit_ibm_runtime.QiskitRuntimeService.saved_accounts().values()]
    except Exception:  # no runtime, no account, a damaged file: nothing to hide there
        saved = []
    return [text for text in {account.get("token"), *saved, *hidden} if text and len(text) >= 8]


@contextmanager
def untold(hidden: list[str]) -> Iterator[None]:
    """Errors from the block go on without these texts, and so do those that they come from."""
    try:
        yield
    except BaseException as error:
        _censor(error, hidden, set())
        raise


def _censor(error: BaseException | None, hidden: list[str], seen: set[int]) -> None:
    if error is None or id(error) in seen or not hidden:
        return
    seen.add(id(error))
    if isinstance(error, OSError):
        error.strerror = _without(error.strerror, hidden)
    error.args = tuple(_without(each, hidden) for each in error.args)
    for name, value in vars(error).items():
        vars(error)[name] = _without(value, hidden)
    for other in (error.__cause__, error.__context__):
        _censor(other, hidden, seen)


def _without(value: Any, hidden: list[str]) -> Any:
    """A text, or a list of them, with what is hidden blacked out; anything else that would tell it as a text."""
    if isinstance(value, list):
        return [_without(each, hidden) for each in value]
    text = value if isinstance(value, str) else shown(value, 10_000)
    if not any(secret in text for secret in hidden):
        return value
    for secret in hidden:
        text = text.replace(secret, "***")
    return text


# ---------------------------------------------------------------- jobs found again


class Journal:
    """Ids of submitted jobs in a JSON file, each with a digest of what was asked: no values, no credentials.

    The n-th equal request of a process takes the n-th job of that digest, if the file has one.  A file is one
    process's at a time.
    """

    def __init__(self, path: str | Path, retrieve: Callable[[str], Any]):
        self.path, self.retrieve = Path(path), retrieve
        self.taken: Counter[str] = Counter()

    def entries(self) -> list[dict]:
        if not self.path.exists():
            return []
        record = read_json(self.path)
        if not (isinstance(record, dict) and isinstance(record.get("jobs"), list)):
            raise ValueError(f"journal must be a file of this backend's, with a list of jobs; got {self.path}")
        return record["jobs"]

    def run(self, sampler: BaseSamplerV2, request: Request, name: str) -> tuple[Any, Any]:
        """The job and its result: picked up where it was submitted before, else submitted."""
        digest = digest_of(request, name)
        paid = [each["job"] for each in self.entries() if each["digest"] == digest]
        turn = self.taken[digest]
        if turn < len(paid):
            answer = self._finished(paid[turn], lambda: self._again(paid[turn]))
        else:
            answer = self._finished(None, lambda: self._submitted(sampler, request, digest, name))
        self.taken[digest] += 1
        return answer

    def _submitted(self, sampler: BaseSamplerV2, request: Request, digest: str, name: str) -> Any:
        job = sampler.run(request.pubs, shots=request.shots)
        rows = max(1, len(request.pubs)) if not request.shape else request.shape[0]
        entry = {"digest": digest, "job": job.job_id(), "device": name, "circuits": rows, "shots": request.shots}
        write_json({"jobs": [*self.entries(), entry]}, self.path)
        return job

    def _again(self, job_id: str) -> Any:
        try:
            return self.retrieve(job_id)
        except Exception as error:
            words = (
                f"job {job_id} was submitted before and cannot be had: {type(error).__name__}: {error}; to run it anew"
            )
            raise SamplerError(f"{words}, take it out of {self.path}", "unknown", job_id) from error

    def _finished(self, job_id: str | None, submit: Callable[[], Any]) -> tuple[Any, Any]:
        """What `run_job` answers; a job that has failed for good is struck off, so that another try submits anew."""
        try:
            return run_job(submit, keep=True)
        except SamplerError as error:
            if error.status.upper().startswith(("ERROR", "CANCEL", "FAIL")):
                left = [each for each in self.entries() if each["job"] != (error.job_id or job_id)]
                write_json({"jobs": left}, self.path)
            raise


def digest_of(request: Request, name: str) -> str:
    """sha256 of the device's name, the shots, the circuits' instructions and their values."""
    found = hashlib.sha256(repr((name, request.shots, request.shape)).encode())
    for circuit, *values in request.pubs:
        for each in circuit.data:
            places = [circuit.find_bit(bit).index for bit in (*each.qubits, *each.clbits)]
            found.update(repr((each.name, [*map(str, each.operation.params)], each.operation.label, places)).encode())
        for rows in values:
            found.update(rows.tobytes())
    return found.hexdigest()


# ---------------------------------------------------------------- the backend


class DeviceBackend(SamplerBackend):
    """A `SamplerBackend` for devices that are paid for: checked before submission, jobs as large as limits allow and
    found again after an interruption.

    ``sampler``: `device_sampler`, or any other vendor's ``BaseSamplerV2``; ``shots``, ``pass_manager``, ``seed`` and
    ``options`` (retries, retry_if, pause) as there.  A ValueError names what the device lacks, qubits, reset or
    measurement before the end, or which of ``limits`` one circuit is beyond.

    With ``one_job`` the forward pass takes the circuits of its gradient along: an update of one layer is one job unless
    a limit forces several, and `estimate` foresees them.  Whatever torch records for a backward pass then pays the
    gradient: predict under ``torch.no_grad()``.  Estimators whose circuits depend on outcomes (not ``draws_first``)
    and layers whose angles do, such as the second of a stack, have jobs of their own.

    ``journal``: a JSON file of job ids.  A call that is repeated with the same values, in a new process too, picks up
    the results of jobs submitted before instead of paying again: an interrupt does not cancel them, and the ledger
    books them as it would have.  ``retrieve(job_id)`` gives a job back; by default the device's service does.  Jobs of
    a fake device end with their process: there, without ``retrieve``, no journal is kept, and a UserWarning says so.
    """

    def __init__(
        self,
        sampler: BaseSamplerV2,
        shots: int,
        pass_manager: PassManager | None = None,
        seed: int | torch.Generator | None = None,
        *,
        journal: str | os.PathLike[str] | None = None,
        retrieve: Callable[[str], Any] | None = None,
        limits: JobLimits | None = None,
        one_job: bool = True,
        **options: Any,
    ):
        super().__init__(sampler, shots, pass_manager, seed, **options)
        self.limits = check_instance("limits", limits or JobLimits(), JobLimits, "JobLimits or None")
        check_integer("shots", shots, 1, self.limits.executions)
        self.one_job = check_bool("one_job", one_job)
        if "max_circuits" not in options:
            self.max_circuits = self.limits.executions // self.shots
        if journal is not None:
            check_instance("journal", journal, (str, os.PathLike), "a file's path or None")
        if retrieve is not None:
            check_instance("retrieve", retrieve, Callable, "a function of a job's id or None")
        retrieve = retrieve or getattr(service_of(sampler), "job", None)
        if journal is not None and retrieve is None:
            warnings.warn(
                f"journal is not kept: jobs of {self._name()} cannot be had again without retrieve", stacklevel=2
            )
        self.journal = Journal(Path(journal), retrieve) if journal is not None and retrieve else None

    def __repr__(self) -> str:
        return f"DeviceBackend({self._name()}, shots={self.shots})"

    def __getstate__(self) -> dict:
        if service_of(self.sampler) is not None:
            raise TypeError("sampler must not have credentials to be stored; make the backend anew, from the account")
        return super().__getstate__()

    def _name(self) -> str:
        return str(getattr(device(self.sampler), "name", type(self.sampler).__name__))

    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        allowed = self.circuits_a_job(program, gate_angles.shape[1])
        if len(gate_angles) > allowed:
            raise ValueError(f"gate_angles must hold at most {allowed} circuits, a job's limit; got {len(gate_angles)}")
        return super().run(program, gate_angles, state)

    def circuits_a_job(self, program: StepProgram, time_steps: int) -> int:
        """How many circuits of so many steps one job may hold; a ValueError where the device cannot run one."""
        self._check_device(program, time_steps)
        circuit = transpile(program, time_steps, self.pass_manager).circuit
        gates = depth_and_two_qubit_gates(circuit)[1]
        each = control_instructions(circuit)
        for words, most, got in (
            ("two-qubit gates a circuit", self.limits.two_qubit_gates, gates),
            ("control instructions a qubit", self.limits.instructions, each),
        ):
            if got > most:
                raise ValueError(f"time_steps must give at most {most} {words}; got {got} by {time_steps} steps")
        return min(self.max_circuits, self.limits.instructions // each)

    def _check_device(self, program: StepProgram, time_steps: int) -> None:
        target = getattr(device(self.sampler), "target", None)
        if target is None:
            return
        name, qubits = self._name(), program.memory + program.readout
        if target.num_qubits is not None and qubits > target.num_qubits:
            raise ValueError(f"step must have at most {target.num_qubits} qubits, all that {name} has; got {qubits}")
        lacking = [each for each in ("measure", "reset") if each not in target.operation_names]
        if lacking:
            raise ValueError(
                f"sampler's device must measure and reset; {name} lacks {', '.join(lacking)}, "
                f"it has {', '.join(sorted(target.operation_names))}"
            )
        configuration = getattr(device(self.sampler), "configuration", lambda: None)()
        if time_steps > 1 and getattr(configuration, "multi_meas_enabled", None) is False:
            raise ValueError(
                f"sampler's device must measure before a circuit's end, for more than 1 of time_steps; {name} does "
                f"not; got {time_steps}"
            )

    def _job(self, request: Request) -> tuple[Any, Any]:
        with untold(secrets(service_of(self.sampler))):  # before anything is logged
            if self.journal is None:
                return super()._job(request)
            return self.journal.run(self.sampler, request, self._name())


def control_instructions(circuit: QuantumCircuit) -> int:
    """Instructions of the control system on the busiest qubit, by the vendor's own rule."""
    counts = Counter[int]()
    for each in circuit.data:
        if each.name == "barrier":
            continue
        for qubit in each.qubits:
            counts[circuit.find_bit(qubit).index] += CONTROL.get(each.name, 5)
    return CONTROL_START + max(counts.values(), default=0)
