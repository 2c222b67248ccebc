"""Models of noise: a simple one of a few rates, and those of Qiskit Aer."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import Kraus

from ..checks import check_array, check_real, shown
from ..simulation import transfer_matrix

__all__ = ["AerNoise", "CircuitNoise", "SimpleNoise"]


Qubits = tuple[int, ...]

ROUNDING = 1e-9
"""By how much the columns of an assignment matrix may miss the sum 1."""


class CircuitNoise(ABC):
    """What noise a circuit meets: maps beside its instructions, as matrices in the Pauli basis (`transfer_matrix`)."""

    def check_readout(self, readout: int) -> None:  # noqa: B027
        """Refuse a circuit of so many readout qubits, if the model is for another number."""

    def prepared(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The circuit with all noise put in that does not go by an instruction's name and qubits."""
        return circuit

    @abstractmethod
    def beside(self, name: str, qubits: Qubits) -> list[np.ndarray]:
        """Noise on an instruction's qubits: after a gate, a reset or a delay, before a measurement."""

    def idle(self) -> np.ndarray | None:
        """Noise on each qubit that is not measured in a time step, while others are measured and reset."""
        return None

    @abstractmethod
    def assignment(self, qubit: int, bit: int) -> np.ndarray:
        """A[m, r]: the probability to read m where a qubit, bit number ``bit`` of its step, is in r."""


@dataclass(frozen=True, eq=False)
class SimpleNoise(CircuitNoise):
    """A few rates for all qubits; all are 0 unless said otherwise.

    ``one_qubit``, ``two_qubit``: depolarizing noise after every gate, rho -> (1 - p) rho + p 1 / 2**k on its k qubits.
    ``readout``: the probability to read a bit wrong, or an assignment matrix A (2, 2), A[m, r] = P(read m | is r), or
    one for each readout qubit, (readout, 2, 2).  ``reset``: the probability of |1> after a reset.

    ``t1``, ``t2``: relaxation of all qubits during a measurement of length ``measure_time`` and a reset of length
    ``reset_time``, in the same unit of time: in t, <X> and <Y> shrink by exp(-t / t2), 1 - <Z> by exp(-t / t1).
    Without ``t2`` it is 2 ``t1``, the most that it can be.
    Readout qubits relax before they are projected; after a reset they have nothing to lose.
    """

    one_qubit: float = 0.0
    two_qubit: float = 0.0
    readout: Any = 0.0
    reset: float = 0.0
    t1: float = math.inf
    t2: float | None = None
    measure_time: float = 0.0
    reset_time: float = 0.0

    def __post_init__(self) -> None:
        plain = {name: check_probability(name, getattr(self, name)) for name in ("one_qubit", "two_qubit", "reset")}
        plain |= {name: check_real(name, getattr(self, name), 0.0) for name in ("measure_time", "reset_time")}
        plain["t1"] = check_lifetime("t1", self.t1)
        if self.t2 is not None:
            plain["t2"] = check_lifetime("t2", self.t2)
            if plain["t2"] > 2 * plain["t1"]:
                raise ValueError(f"t2 must be at most 2 t1 = {2 * plain['t1']:g}; got {plain['t2']:g}")
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        assert self.assignments.size  # made here, so that a wrong one is refused here

    @cached_property
    def assignments(self) -> np.ndarray:
        """(2, 2), or (readout, 2, 2)."""
        return assignment_matrices("readout", self.readout)

    def scaled(self, factor: float) -> SimpleNoise:
        """All rates times a factor, one knob for the strength of the noise; 1 / t1 and 1 / t2 are rates, too."""
        factor = check_real("factor", factor, minimum=0.0)
        rates: dict[str, Any] = {name: factor * getattr(self, name) for name in ("one_qubit", "two_qubit", "reset")}
        rates |= {"t1": slower(self.t1, factor), "t2": slower(self.t2, factor)}
        readout = np.eye(2) + factor * (self.assignments - np.eye(2))
        try:
            return replace(self, **rates, readout=readout)
        except ValueError as error:
            raise ValueError(f"factor must leave probabilities within 0 and 1; got {factor:g}: {error}") from error

    def check_readout(self, readout: int) -> None:
        """Refuse assignment matrices that are not one for each readout qubit."""
        if self.assignments.ndim == 3 and len(self.assignments) != readout:
            raise ValueError(
                f"noise must have one assignment matrix for each of the {readout} readout qubits, or one for all; "
                f"got {len(self.assignments)}"
            )

    def beside(self, name: str, qubits: Qubits) -> list[np.ndarray]:
        if name == "measure":
            return [self.relaxed(self.measure_time)]
        if name == "reset":
            return [np.diag([1, 1, 1 - 2 * self.reset, 1 - 2 * self.reset])]
        if name == "delay":
            return []
        rate = self.one_qubit if len(qubits) == 1 else self.two_qubit
        return [np.diag([1.0] + [1 - rate] * (4 ** len(qubits) - 1))]

    def idle(self) -> np.ndarray | None:
        if self.t1 == math.inf and self.t2 in (None, math.inf):
            return None
        return self.relaxed(self.measure_time + self.reset_time)

    def relaxed(self, time: float) -> np.ndarray:
        """Relaxation of one qubit, (4, 4)."""
        kept = math.exp(-time / self.t1)
        coherent = math.exp(-time / (2 * self.t1 if self.t2 is None else self.t2))
        matrix = np.diag([1, coherent, coherent, kept])
        matrix[3, 0] = 1 - kept
        return matrix

    def assignment(self, qubit: int, bit: int) -> np.ndarray:
        return self.assignments[bit] if self.assignments.ndim == 3 else self.assignments


class AerNoise(CircuitNoise):
    """What a ``qiskit_aer.noise.NoiseModel`` has on gates, measurements, resets and delays."""

    def __init__(self, model: Any):
        self.model = model
        self.local = model._local_quantum_errors
        self.default = model._default_quantum_errors
        self.readouts = model._local_readout_errors
        self._maps: dict[int, np.ndarray] = {}
        self._check()

    def _check(self) -> None:
        for name, error in self._named():
            if error.num_qubits > 2:
                refuse(f"an error on {error.num_qubits} qubits ({name})")
        for qubits in self.readouts:
            if len(qubits) > 1:
                refuse(f"a readout error on the qubits {qubits} together")
        if self.model._default_readout_error is not None and self.model._default_readout_error.number_of_qubits > 1:
            refuse("a readout error on several qubits together")

    def _named(self) -> Iterator[tuple[str, Any]]:
        yield from self.default.items()
        for name, errors in self.local.items():
            yield from ((name, error) for error in errors.values())

    def prepared(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """With what the model's own passes put in: relaxation during delays."""
        passes = self.model._pass_manager()
        return circuit if passes is None else passes.run(circuit)

    def beside(self, name: str, qubits: Qubits) -> list[np.ndarray]:
        error = self.local.get(name, {}).get(qubits, self.default.get(name))
        if error is None:
            return []
        if error.num_qubits != len(qubits):
            refuse(f"an error on {error.num_qubits} qubits after {name} on {len(qubits)}")
        if id(error) not in self._maps:
            self._maps[id(error)] = transfer_matrix(np.array(Kraus(error.to_quantumchannel()).data))
        return [self._maps[id(error)]]

    def assignment(self, qubit: int, bit: int) -> np.ndarray:
        error = self.readouts.get((qubit,), self.model._default_readout_error)
        return np.eye(2) if error is None else np.array(error.probabilities).T


def refuse(what: str) -> NoReturn:
    raise ValueError(
        f"noise must consist of errors on one or two qubits that go with a gate, a measurement, a reset or a delay, "
        f"and of readout errors bit by bit; got {what}"
    )


def slower(lifetime: float | None, factor: float) -> float | None:
    if lifetime is None:
        return None
    return lifetime / factor if factor else math.inf


def check_probability(name: str, value: Any) -> float:
    number = check_real(name, value, minimum=0.0)
    if number > 1:
        raise ValueError(f"{name} must be a probability, at most 1; got {number:g}")
    return number


def check_lifetime(name: str, value: Any) -> float:
    """A positive number, or infinity."""
    if isinstance(value, float) and value == math.inf:
        return math.inf
    return check_real(name, value, minimum=0.0, exclusive=True)


def assignment_matrices(name: str, value: Any) -> np.ndarray:
    """(2, 2) or (readout, 2, 2), every column the probabilities of what is read."""
    if isinstance(value, numbers.Real):
        wrong = check_probability(name, value)
        return np.array([[1 - wrong, wrong], [wrong, 1 - wrong]])
    matrices = check_array(name, value)
    if matrices.ndim not in (2, 3) or matrices.shape[-2:] != (2, 2):
        raise ValueError(f"{name} must be a probability or have shape (2, 2) or (readout, 2, 2); got {matrices.shape}")
    if (matrices < 0).any() or np.abs(matrices.sum(-2) - 1).max() > ROUNDING:
        raise ValueError(f"{name} must hold probabilities whose columns sum to 1; got {shown(matrices.tolist())}")
    return matrices
