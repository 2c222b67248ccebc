"""The Kraus operators of steps, for all outcomes: one for each row of gate angles, or with gates replaced."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_bytes
from .program import StepProgram


def ground(program: StepProgram, batch: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """The memory's start |0...0><0...0|, (batch, 2**memory, 2**memory)."""
    size = 2**program.memory
    rho = torch.zeros(size, size, dtype=dtype, device=device)
    rho[0, 0] = 1
    return rho.expand(batch, size, size)


def replaced_operators(
    program: StepProgram, replaced: Tensor, dtype: torch.dtype, base: Tensor | None = None
) -> Tensor:
    """Kraus operators (K, batch, R, M, M) of one step for gate angles (K, batch, G); those that are as in ``base``
    (batch, G) may share work."""
    count = replaced.shape[:2].numel()
    check_bytes("angles", program.bytes(count, dtype), f"{count} variants")
    if base is None:
        return program.kraus(replaced.flatten(0, 1), dtype).unflatten(0, replaced.shape[:2])
    isometries = program.variants(base, replaced, dtype)
    return isometries.unflatten(0, (len(base), len(replaced))).transpose(0, 1).transpose(2, 3)


def kraus_operators(program: StepProgram, gate_angles: Tensor, dtype: torch.dtype) -> Tensor:
    """Kraus operators (batch, time, 2**readout, 2**memory, 2**memory) of every step."""
    batch, time_steps, _ = gate_angles.shape
    what = f"shape ({batch}, {time_steps}, ...) on {program.memory} + {program.readout} qubits"
    check_bytes("angles", program.bytes(batch * time_steps, dtype), what)
    kraus = program.kraus(gate_angles.flatten(0, 1), dtype)
    return kraus.expand(batch * time_steps, *kraus.shape[1:]).unflatten(0, (batch, time_steps))
