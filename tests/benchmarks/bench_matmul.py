"""How far the exact engine is from the matrix products that it cannot do without: 4 + 4 qubits, 20 steps, batch 32."""

import torch
from cases import Side, agree, inputs, value_and_gradient

from qrnn_helpers import rotation_step
from qrnn_helpers.simulation import StepProgram

BATCH, TIME, LARGE = 32, 20, 512
STEP = rotation_step(4, 4)


def multiply_adds() -> tuple[int, str]:
    """Complex multiply-adds of one call, value and gradient, as the program counts them, and what they are for."""
    parts = StepProgram(STEP).multiplications
    total = BATCH * TIME * sum(parts.values())
    named = " + ".join(f"{count} {name}" for name, count in parts.items())
    return total, f"{total} complex64 multiply-adds = {BATCH} samples * {TIME} steps * ({named})"


def ours() -> Side:
    angles, weights = inputs(STEP, BATCH, TIME)
    call = value_and_gradient(STEP, angles, weights, torch.complex64)
    agree(call(), value_and_gradient(STEP, angles, weights, torch.complex128)())
    return Side(call, note="value and gradient, complex64")


def products_of_the_same_shape() -> Side:
    total, count = multiply_adds()
    rows, states = (torch.randn(BATCH, size, 16, dtype=torch.complex64) for size in (256, 16))
    out, each = torch.empty_like(rows), BATCH * 256 * 16 * 16
    products = round(total / each)

    def call():
        for _ in range(products):
            torch.bmm(rows, states, out=out)

    note = f"{products} of ({BATCH}, 256, 16) @ ({BATCH}, 16, 16); {count}"
    return Side(call, products * each / total, note)


def large_products() -> Side:
    total, _ = multiply_adds()
    left, right = torch.randn(2, LARGE, LARGE, dtype=torch.complex64)
    out, products = torch.empty_like(left), max(1, round(total / LARGE**3))

    def call():
        for _ in range(products):
            torch.mm(left, right, out=out)

    note = f"{products} of ({LARGE}, {LARGE}) @ ({LARGE}, {LARGE}), scaled to as many multiply-adds"
    return Side(call, products * LARGE**3 / total, note)


def bench_matmul(in_turns):
    sides = {
        "matmul/ours": ours(),
        "matmul/torch": products_of_the_same_shape(),
        "matmul/torch-large": large_products(),
    }
    in_turns(sides, "call", seconds=6)
