"""Any Qiskit sampler as a backend: Aer, Aer with noise, a fake device, a real one."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from qiskit.primitives import BaseSamplerV2
from qiskit.transpiler import PassManager
from torch import Tensor

from ..checks import check_bytes, check_instance, check_integer, shown, torch_generator
from ..simulation import StepProgram
from .base import Answer, Backend, check_no_state
from .devices import default_pass_manager, noise_model, unmet_noise
from .jobs import SamplerError, delay, log, may_retry, reseed, run_job
from .results import Request, frequencies, read_outcomes
from .transpiled import Transpiled, transpile

__all__ = ["SamplerBackend"]


MAX_CIRCUITS = 300
"""Circuits in a job unless said otherwise: what public devices have long taken in one job.  IBM now
limits circuits times shots, to 5 or 10 million: 300 circuits of 10,000 shots fit."""


class SamplerBackend(Backend):
    """Relative frequencies from any Qiskit ``BaseSamplerV2``: Aer, a fake device, a real one.

    Parameters: ``sampler``; ``shots`` of each circuit; ``pass_manager`` that makes the circuit fit the
    device; ``seed`` of the jobs' own seeds: a sampler that is seeded would repeat its draws in every job, so each
    job gets a fresh one where the sampler has a place for it; ``max_circuits`` in one job.

    What runs is `unroll` of the step, through ``pass_manager``: gates, barriers and delays as they were drawn, each
    angle of a gate with a Parameter of its own.  Noise that goes by a gate's name, as Aer's does, finds the same
    gates as in ``pass_manager.run(unroll(step, time_steps))``, but for two cases: a gate whose Parameter goes into
    several gates of its definition is opened, and passes that merge or cancel gates of the same Parameter find
    different ones.  (Qiskit's levels 1 to 3 drop identities, here as there.)  Passes may drop and reorder
    Parameters, but not rename them, and must leave what is measured in its registers.

    The default ``pass_manager`` is Qiskit's preset at level 1 for the sampler's device as it is now (its ``backend``,
    or Aer's ``_backend``): to its target, if that has a coupling map or lacks some usual gates; to the noise model's
    ``basis_gates``, if it is a simulator whose gates are noisy.  Otherwise it is None: level 1, to gates that every
    simulator knows.  A UserWarning tells where an Aer noise model's gates are not those of the circuit.

    A layer's circuits go in jobs of one PUB each, the transpiled circuit with up to ``max_circuits`` rows
    of values; a circuit is transpiled once for each step circuit and length.  Where passes leave controlled gates
    with a Parameter, whose values Aer mixes up (`open_controlled`), each row is a PUB of its own, with the values
    in the circuit.

    A job that fails or comes back incomplete raises `SamplerError`.  If ``retry_if(error)`` is true of the sampler's
    own error (by default `may_retry`; yours may know the errors of your provider), the job is submitted again, at
    most ``retries`` times, with a fresh seed, after ``error.retry_after`` seconds or 1, 2, 4, ... of them
    (``pause`` waits; the logger of this module warns).  A result that came back wrong (too few shots, a
    register missing) is never asked for again.  A wait that fails or is interrupted asks its job to cancel.

    A copy (`copy.deepcopy`) shares the sampler and has a generator of its own, in the same state.
    """

    def __init__(
        self,
        sampler: BaseSamplerV2,
        shots: int,
        pass_manager: PassManager | None = None,
        seed: int | torch.Generator | None = None,
        *,
        max_circuits: int = MAX_CIRCUITS,
        retries: int = 2,
        retry_if: Callable[[Exception], bool] = may_retry,
        pause: Callable[[float], None] = time.sleep,
    ):
        self.sampler = check_instance("sampler", sampler, BaseSamplerV2, "a qiskit BaseSamplerV2")
        self.shots = check_integer("shots", shots, minimum=1)
        if pass_manager is not None:
            check_instance("pass_manager", pass_manager, PassManager, "a qiskit PassManager or None")
        self._fitted = default_pass_manager(sampler) if pass_manager is None else None
        self.pass_manager = self._fitted if pass_manager is None else pass_manager
        self.generator = torch_generator(seed)
        self.max_circuits = check_integer("max_circuits", max_circuits, minimum=1)
        self.retries = check_integer("retries", retries, minimum=0)
        self.retry_if = check_instance("retry_if", retry_if, Callable, "a function of an error")
        self.pause = check_instance("pause", pause, Callable, "a function of seconds")

    def __repr__(self) -> str:
        return f"SamplerBackend({type(self.sampler).__name__}, shots={self.shots})"

    def __deepcopy__(self, memo: dict) -> SamplerBackend:
        twin = memo[id(self)] = object.__new__(type(self))
        vars(twin).update(vars(self))  # a device's session is not ours to copy
        twin.generator = copy.deepcopy(self.generator, memo)
        return twin

    def __getstate__(self) -> dict:
        # Qiskit's presets cannot be pickled: one that was made here is made again.
        made_here = self.pass_manager is self._fitted is not None
        return {**vars(self), "_fitted": None, "made_here": made_here} | ({"pass_manager": None} if made_here else {})

    def __setstate__(self, state: dict) -> None:
        made_here = state.pop("made_here")
        vars(self).update(state)
        if made_here:
            self.pass_manager = self._fitted = default_pass_manager(self.sampler)

    def run(self, program: StepProgram, gate_angles: Tensor, state: Tensor | None = None) -> Answer:
        """One job, however many circuits (a layer keeps to ``max_circuits`` a call)."""
        check_no_state(self, state)
        batch, time_steps, _ = gate_angles.shape
        # Of each shot: what the sampler keeps, outcomes as integers, a byte for each step and 8 qubits.
        needed = self.shots * batch * (16 + time_steps * (1 + program.readout // 8))
        check_bytes("shots", needed, f"{shown(self.shots)} of {batch} circuits with {time_steps} steps")
        circuit = transpile(program, time_steps, self.pass_manager)
        names = circuit.outputs
        self._warn_of_noise(circuit)
        request = self._request(circuit, gate_angles)
        job, result = self._submit(request)
        size = 2**program.readout
        steps = read_outcomes(job, result, request, names, size)
        drawn = [frequencies(outcomes.reshape(batch, self.shots), size) for outcomes in steps]
        return torch.from_numpy(np.stack(drawn, 1)).to(gate_angles), None

    def _warn_of_noise(self, transpiled: Transpiled) -> None:
        """Warn once of noise that a circuit's gates do not meet."""
        noise = noise_model(self.sampler)
        if noise is None or any(noise is other for other in transpiled.noise_checked):
            return
        transpiled.noise_checked.append(noise)
        if words := unmet_noise(noise, transpiled.circuit):
            warnings.warn(words, stacklevel=2)

    def _request(self, transpiled: Transpiled, gate_angles: Tensor) -> Request:
        """The circuit with the values of every sample."""
        circuit = transpiled.circuit
        batch = len(gate_angles)
        values = gate_angles.detach().reshape(batch, -1).double().cpu().numpy()[:, transpiled.columns]
        if not transpiled.columns:  # nothing to bind: Aer would run one circuit and leave zeros for the rest
            return Request([(circuit,)], (), batch * self.shots)
        if transpiled.controlled:
            return Request([(circuit.assign_parameters(row.tolist()),) for row in values], (), self.shots)
        return Request([(circuit, values)], (batch,), self.shots)

    def _submit(self, request: Request) -> tuple[Any, Any]:
        """The finished job and its result; submitted again, with another seed, as often as its errors allow."""
        attempt = 0
        while True:
            reseed(self.sampler, self._seed())
            try:
                return self._job(request)
            except SamplerError as error:
                cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
                if attempt == self.retries or not self._may_retry(cause):
                    raise
                seconds = delay(cause, attempt)
                log.warning("%s; retry %d of %d in %g s", error, attempt + 1, self.retries, seconds)
            self.pause(seconds)
            attempt += 1

    def _job(self, request: Request) -> tuple[Any, Any]:
        return run_job(lambda: self.sampler.run(request.pubs, shots=request.shots))

    def _seed(self) -> int:
        return int(torch.randint(2**31 - 1, (), generator=self.generator, device=self.generator.device))

    def _may_retry(self, cause: Exception) -> bool:
        """What ``retry_if`` says: anything else than a truth value would be taken for one, and a job be paid again."""
        answer = self.retry_if(cause)
        return bool(check_instance("retry_if's answer", answer, (bool, np.bool_), "True or False"))
