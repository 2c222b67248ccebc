"""How time and memory grow with qubits, batch, steps and shots; and what a laptop can still do."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import Side, inputs, value_and_gradient

from qrnn_helpers import QuantumRecurrentLayer, ShotBackend, rotation_step

NOTE = "value and gradient, complex64"


def exact(qubits: int, batch: int, time_steps: int, dtype: torch.dtype = torch.complex64):
    step = rotation_step(qubits // 2, qubits // 2)
    return value_and_gradient(step, *inputs(step, batch, time_steps), dtype)


def bench_steps(in_turns):
    note = f"{NOTE}, 8 qubits, batch 16"
    in_turns({f"steps/{steps}": Side(exact(8, 16, steps), note=note) for steps in (10, 20, 40, 80)}, "call", seconds=3)


@pytest.mark.parametrize(
    "case, qubits, batch, steps, dtype",
    [
        # A large batch: what a small one takes is lost in how the system hands out memory.
        *((f"memory/steps{steps}", 8, 256, steps, "complex64") for steps in (10, 20, 40, 80)),
        *((f"memory/batch256-{dtype}", 8, 256, 20, dtype) for dtype in ("complex64", "complex128")),
    ],
)
def bench_memory(benchmark, case, qubits, batch, steps, dtype):
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, str(script), *map(str, (qubits, batch, steps)), dtype]
    found = benchmark.pedantic(lambda: int(subprocess.check_output(command)), rounds=1)
    benchmark.extra_info.update(case=case, bytes=found)


@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize("batch", [1, 4, 16, 64])
@pytest.mark.parametrize("qubits", [2, 4, 6, 8, 10])
def bench_law(measure, qubits, batch, steps):
    case = f"law/n{qubits}/batch{batch}/steps{steps}"
    measure(case, exact(qubits, batch, steps), "sequence", per=batch, note=NOTE, seconds=0.7)


@pytest.mark.parametrize("shots", [64, 256, 1024, 4096])
@pytest.mark.parametrize("qubits", [4, 6, 8])
def bench_law_of_shots(measure, qubits, shots):
    step = rotation_step(qubits // 2, qubits // 2)
    angles = inputs(step, 4, 20)[0].float()
    layer = QuantumRecurrentLayer(step, backend=ShotBackend(shots, 0, torch.complex64))
    case, note = f"law-shots/n{qubits}/shots{shots}", "forward, 20 steps, batch 4, complex64"
    measure(case, lambda: layer(angles), "sequence", per=4, note=note)


@pytest.mark.parametrize("qubits", [12, 14])
def bench_far(measure, qubits):
    call = exact(qubits, 1, 20)
    call()
    measure(f"far/n{qubits}", call, "sequence", note=f"{NOTE}, 20 steps, batch 1", rounds=3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("batch", [16, 256])
def bench_cuda(measure, batch):
    step = rotation_step(4, 4)
    angles, weights = inputs(step, batch, 20)
    wait, call = torch.cuda.synchronize, value_and_gradient(step, angles.cuda(), weights.cuda(), torch.complex64)
    case = "cuda/exact-complex64" if batch == 16 else f"cuda/batch{batch}/exact-complex64"
    measure(case, lambda: (call(), wait()), "sequence", per=batch, note=f"{NOTE}, {torch.cuda.get_device_name()}")
