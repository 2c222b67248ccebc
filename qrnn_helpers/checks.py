"""Checks of arguments: each names the argument, what came and what is allowed."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch


def check_integer(name: str, value: object, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return `value` as a plain int, or say why it is not one within the bounds."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer; got {value!r} ({type(value).__name__})")
    number = int(value)
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {number}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{name} must be at most {maximum}; got {number}")
    return number


def check_real(name: str, value: object, minimum: float | None = None, exclusive: bool = False) -> float:
    """Return `value` as a plain finite float, or say why it is not one within the bound."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number; got {value!r} ({type(value).__name__})")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite; got {number}")
    if minimum is not None and (number < minimum or (exclusive and number == minimum)):
        bound = "greater than" if exclusive else "at least"
        raise ValueError(f"{name} must be {bound} {minimum:g}; got {number}")
    return number


def check_instance(name: str, value: Any, kind: type | tuple[type, ...], allowed: str) -> Any:
    """Return `value` itself if it is a `kind`; `allowed` says in words what may come."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {allowed}; got {value!r} ({type(value).__name__})")
    return value


def check_one_of(name: str, value: Any, allowed: tuple) -> Any:
    """Return `value` itself if it is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}")
    return value


def check_tensor(name: str, value: Any, shape: tuple[int | str, ...], complex_too: bool = False) -> torch.Tensor:
    """Return `value` itself if it is a finite floating tensor whose shape fits.

    An entry of `shape` is an exact size, or the name of a free (but non-zero) one.
    """
    words = "(" + ", ".join(map(str, shape)) + ")"
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a torch tensor {words}; got {type(value).__name__}")
    if not (value.is_floating_point() or (complex_too and value.is_complex())):
        raise TypeError(f"{name} must have a floating dtype; got {value.dtype}")
    fits = value.dim() == len(shape) and all(
        got == want if isinstance(want, int) else got > 0 for got, want in zip(value.shape, shape)
    )
    if not fits:
        raise ValueError(f"{name} must have shape {words}, none empty; got {tuple(value.shape)}")
    if not bool(torch.isfinite(value.detach()).all()):
        raise ValueError(f"{name} must be finite; got NaN or infinite values")
    return value


def torch_generator(seed: int | torch.Generator | None, name: str = "seed") -> torch.Generator:
    """A torch generator: `seed` itself, one seeded by an int, or one from the system's entropy."""
    if isinstance(seed, torch.Generator):
        return seed
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator().manual_seed(check_integer(name, seed, minimum=0, maximum=2**63 - 1))
