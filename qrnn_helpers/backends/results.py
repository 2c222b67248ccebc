"""What a Qiskit sampler hands back, read and checked: whole registers, every shot an integer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from qiskit.primitives import BitArray

from .jobs import failed


class Request(NamedTuple):
    """What a job is asked for: PUBs, each an array of circuits of this ``shape``, with so many ``shots`` of each."""

    pubs: list[tuple]
    shape: tuple[int, ...]
    shots: int


def read_outcomes(job: Any, result: Any, request: Request, names: list[str], size: int) -> list[np.ndarray]:
    """For each named register the outcomes of all shots of all circuits, integers below ``size``."""
    count = len(result) if hasattr(result, "__len__") else f"a {type(result).__name__}"
    if count != len(request.pubs):
        raise failed(f"sampler must return the result of {len(request.pubs)} PUB; got {count}", job)
    data = [part.data for part in result]
    for registers in data:
        _check_registers(job, registers, request, names)
    return [np.concatenate([_integers(job, each[name], size).ravel() for each in data]) for name in names]


def _check_registers(job: Any, registers: Any, request: Request, names: list[str]) -> None:
    if missing := [name for name in names if name not in registers]:
        raise failed(f"sampler must return the registers {names}; got none named {missing}", job)
    for name in names:
        bits = registers[name]
        if not isinstance(bits, BitArray):
            raise failed(f"sampler must return a BitArray in register {name!r}; got {type(bits).__name__}", job)
        if (bits.shape, bits.num_shots) != (request.shape, request.shots):
            wanted = f"{request.shape} circuits of {request.shots} shots"
            got = f"{bits.shape} of {bits.num_shots}"
            raise failed(f"sampler must return {wanted} in register {name!r}; got {got}", job)


def _integers(job: Any, bits: BitArray, size: int) -> np.ndarray:
    """The outcome of every shot as an integer, (..., shots), each below ``size``."""
    high = bits.array[..., :-7]
    low = bits.array[..., -7:].astype(np.int64)  # 7 bytes and no more fit an int64
    values = low @ 256 ** np.arange(low.shape[-1] - 1, -1, -1, dtype=np.int64)
    if high.any() or values.max() >= size:
        raise failed(f"sampler must return outcomes below {size}; got {values.max()} or more", job)
    return values


def frequencies(values: np.ndarray, size: int) -> np.ndarray:
    """Relative frequencies (batch, size) of outcomes (batch, shots)."""
    return np.stack([np.bincount(row, minlength=size) for row in values]) / values.shape[1]
