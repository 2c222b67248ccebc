"""How much work one call may ask for: above it the call raises at once instead of filling the machine."""

from __future__ import annotations

__all__ = ["GATE_LIMIT", "MEMORY_LIMIT", "check_bytes", "check_gates"]

MEMORY_LIMIT = 8 * 2**30
"""Bytes that one call may need."""

GATE_LIMIT = 10**6
"""Gates, measurements and resets that one circuit may have: Qiskit builds tens of thousands a second."""


def check_bytes(name: str, needed: int, what: str) -> None:
    """Refuse the argument ``name`` if it needs more than MEMORY_LIMIT bytes; ``what`` tells what came."""
    if needed > MEMORY_LIMIT:
        raise ValueError(f"{name} must need at most {MEMORY_LIMIT} bytes; got {what}, which needs {said(needed)} bytes")


def check_gates(name: str, needed: int, what: str) -> None:
    """Refuse the argument ``name`` if it makes a circuit of more than GATE_LIMIT gates."""
    if needed > GATE_LIMIT:
        raise ValueError(f"{name} must need at most {GATE_LIMIT} gates; got {what}, which needs {said(needed)} gates")


def said(number: int) -> str:
    """A number in words short enough for a message; Python refuses to print thousands of digits."""
    return f"{number}" if number < 10**40 else "more than 10**40"
