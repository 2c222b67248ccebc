"""Any Qiskit sampler as a backend: Aer, Aer with noise, a fake device, a real one."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Barrier, Delay, Measure, Reset
from qiskit.primitives import BaseSamplerV2, BitArray
from qiskit.providers import BackendV2
from qiskit.transpiler import PassManager

from ..checks import check_bytes, check_instance, check_integer, shown, torch_generator
from .base import BASIS, Backend, Transpiled, refuse_state
from .jobs import SamplerError, delay, failed, log, may_retry, reseed, run_job

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

    def run(self, program, gate_angles, state=None):
        """One job, however many circuits (a layer keeps to ``max_circuits`` a call)."""
        refuse_state(self, state)
        batch, time_steps, _ = gate_angles.shape
        # Of each shot: what the sampler keeps, outcomes as integers, a byte for each step and 8 qubits.
        needed = self.shots * batch * (16 + time_steps * (1 + program.readout // 8))
        check_bytes("shots", needed, f"{shown(self.shots)} of {batch} circuits with {time_steps} steps")
        transpiled = self._transpiled(program, time_steps)
        names, circuit, shape, shots = transpiled.outputs, transpiled.circuit, (), self.shots
        self._check_noise(transpiled)
        values = gate_angles.detach().reshape(batch, -1).double().cpu().numpy()[:, transpiled.columns]
        if not transpiled.columns:  # nothing to bind: Aer would run one circuit and leave zeros for the rest
            pubs, shots = [(circuit,)], batch * self.shots
        elif transpiled.controlled:
            pubs = [(circuit.assign_parameters(row.tolist()),) for row in values]
        else:
            pubs, shape = [(circuit, values)], (batch,)
        job, result = self._submit(pubs, shots)
        registers, size = read_registers(job, result, names, len(pubs), shape, shots), 2**program.readout
        drawn = [np.concatenate([outcomes(job, bits, size).ravel() for bits in register]) for register in registers]
        steps = [frequencies(values.reshape(batch, self.shots), size) for values in drawn]
        return torch.from_numpy(np.stack(steps, 1)).to(gate_angles), None

    def _check_noise(self, transpiled: Transpiled) -> None:
        """Warn once of noise that a circuit's gates do not meet."""
        noise = noise_model(self.sampler)
        if noise is not None and not any(noise is other for other in transpiled.noise_checked):
            transpiled.noise_checked.append(noise)
            if words := unmet_noise(noise, transpiled.circuit):
                warnings.warn(words, stacklevel=2)

    def _submit(self, pubs: list[tuple], shots: int) -> tuple[Any, Any]:
        """The finished job and its result; submitted again, with another seed, as often as its errors allow."""
        for attempt in count():
            where = self.generator.device
            reseed(self.sampler, int(torch.randint(2**31 - 1, (), generator=self.generator, device=where)))
            try:
                return run_job(self.sampler, pubs, shots)
            except SamplerError as error:
                cause = error.__cause__ or error
                if attempt == self.retries or not _answer(self.retry_if(cause)):
                    raise
                seconds = delay(cause, attempt)
                log.warning("%s; retry %d of %d in %g s", error, attempt + 1, self.retries, seconds)
            self.pause(seconds)


# ---------------------------------------------------------------- devices


def device(sampler: BaseSamplerV2) -> Any:
    """The Qiskit backend that a sampler runs on, or None if it does not say: ``backend`` of `BackendSamplerV2`,
    ``backend()`` of IBM's runtime, ``_backend`` of Aer."""
    for name in ("backend", "_backend"):
        found = getattr(sampler, name, None)
        found = found() if callable(found) else found
        if isinstance(found, BackendV2):
            return found
    return None


def noise_model(sampler: BaseSamplerV2) -> Any:
    """Aer's noise model, of the run or of the simulator, or None."""
    options = getattr(getattr(sampler, "options", None), "run_options", None) or {}
    simulator = getattr(device(sampler), "options", None)
    return options.get("noise_model") or getattr(simulator, "noise_model", None)


def noisy_gates(noise: Any) -> set[str]:
    """Names and labels of the gates that a noise model is about."""
    return set(noise.noise_instructions) - {"measure", "reset", "delay"}


def default_pass_manager(sampler: BaseSamplerV2) -> PassManager | None:
    """Qiskit's preset at level 1 for the sampler's device or noise; None for a simulator that runs everything."""
    target, noise = getattr(device(sampler), "target", None), noise_model(sampler)
    options = {}
    if target is not None and target.build_coupling_map() is not None:
        options = {"target": target}
    elif noise is not None:
        options = {"basis_gates": noise.basis_gates} if noisy_gates(noise) else {}
    elif target is not None and not target.operation_names >= set(BASIS):
        options = {"target": target}
    return generate_preset_pass_manager(1, seed_transpiler=0, **options) if options else None


def unmet_noise(noise: Any, circuit: QuantumCircuit) -> str:
    """What to say of noisy gates that the circuit does not have, or not where they are noisy; "" if nothing.

    A circuit need not have every noisy gate.  But it should have one of them, none at places without noise alone, and
    no gate that the noise model does not know while other noisy gates are missing: there it is written otherwise.
    """
    noisy, placed = noisy_gates(noise), {}
    for error in noise.to_dict()["errors"]:
        for name in error["operations"]:
            placed.setdefault(name, []).extend(map(tuple, error.get("gate_qubits", [()])))
    gates = {
        (i.label or i.name, tuple(circuit.find_bit(q).index for q in i.qubits))
        for i in circuit.data
        if not isinstance(i.operation, Barrier | Delay | Measure | Reset)
    }
    names = {name for name, _ in gates}
    met = {name for name, qubits in gates for place in placed.get(name, []) if place in ((), qubits)}
    missing, foreign = noisy - met, names - set(noise.basis_gates) - met
    if not missing or not names or (met and not foreign and not names & missing):
        return ""
    return (
        f"The sampler's noise model has noise on {shown(sorted(missing))} that the circuit never meets: it runs "
        f"{shown(sorted(names))}, noisy of these {shown(sorted(met))}. Aer goes by a gate's name and qubits; a "
        "pass_manager to the noise model's basis_gates helps"
    )


def _answer(retry: object) -> bool:
    """What ``retry_if`` said: anything else than a truth value would be taken for one, and a job be paid again."""
    return bool(check_instance("retry_if's answer", retry, (bool, np.bool_), "True or False"))


# ---------------------------------------------------------------- results


def read_registers(
    job: Any, result: Any, names: list[str], count: int, shape: tuple[int, ...], shots: int
) -> list[list[BitArray]]:
    """For each named register what it holds of every PUB, ``shape`` circuits and ``shots`` of each."""
    found = len(result) if hasattr(result, "__len__") else f"a {type(result).__name__}"
    if found != count:
        raise failed(f"sampler must return the result of {count} PUB; got {found}", job)
    for data in (part.data for part in result):
        if missing := [name for name in names if name not in data]:
            raise failed(f"sampler must return the registers {names}; got none named {missing}", job)
        for name in names:
            bits = data[name]
            if not isinstance(bits, BitArray):
                raise failed(f"sampler must return a BitArray in register {name!r}; got {type(bits).__name__}", job)
            if bits.shape != shape or bits.num_shots != shots:
                wanted, got = f"{shape} circuits of {shots} shots", f"{bits.shape} of {bits.num_shots}"
                raise failed(f"sampler must return {wanted} in register {name!r}; got {got}", job)
    return [[part.data[name] for part in result] for name in names]


def outcomes(job: Any, bits: BitArray, size: int) -> np.ndarray:
    """The outcome of every shot as an integer, (..., shots), each below ``size``."""
    high, low = bits.array[..., :-7], bits.array[..., -7:].astype(np.int64)  # 7 bytes and no more fit an int64
    values = low @ 256 ** np.arange(low.shape[-1] - 1, -1, -1, dtype=np.int64)
    if high.any() or values.max() >= size:
        raise failed(f"sampler must return outcomes below {size}; got {values.max()} or more", job)
    return values


def frequencies(values: np.ndarray, size: int) -> np.ndarray:
    """Relative frequencies (batch, size) of outcomes (batch, shots)."""
    return np.stack([np.bincount(row, minlength=size) for row in values]) / values.shape[1]
