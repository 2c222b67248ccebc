"""Bytes that value and gradient need beyond the imports: `python peak_memory.py QUBITS BATCH STEPS DTYPE`.

A process of its own, as its largest size so far is what the system tells.
"""

import os
import resource
import sys
from pathlib import Path

import torch
from cases import inputs, value_and_gradient

from qrnn_helpers import rotation_step


def peak() -> int:
    """Bytes of memory this process has held at most."""
    status = Path("/proc/self/status")
    found = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
    if found:  # ru_maxrss may be that of the parent, handed down
        return 1024 * int(found[0].split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def prepared(qubits: int, batch: int, time_steps: int, dtype: str):
    step = rotation_step(qubits // 2, qubits // 2)
    return value_and_gradient(step, *inputs(step, batch, time_steps), getattr(torch, dtype))


if __name__ == "__main__":
    qubits, batch, time_steps = map(int, sys.argv[1:4])
    torch.set_num_threads(os.cpu_count())
    prepared(2, 1, 2, sys.argv[4])()
    before = peak()
    prepared(qubits, batch, time_steps, sys.argv[4])()
    print(peak() - before)
