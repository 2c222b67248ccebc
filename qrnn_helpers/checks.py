"""Checks of arguments: each names the argument, what came and what is allowed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def shown(value: object, most: int = 200) -> str:
    """`repr(value)` for a message: shortened, and never failing."""
    try:
        text = repr(value)
    except Exception:  # a repr of the caller's own, or an integer of thousands of digits
        return f"a value of type {type(value).__name__} that cannot be printed"
    return text if len(text) <= most else f"{text[:most]}..."


def listed(words: Iterable[str]) -> str:
    """ "a, b and c"; empty words are left out."""
    kept = list(filter(None, words))
    return " and ".join(filter(None, [", ".join(kept[:-1]), *kept[-1:]]))


def check_integer(
    name: str, value: object, minimum: int | None = None, maximum: int | None = None, also: str = ""
) -> int:
    """Return `value` as a plain int, or say why it is not one within the bounds; `also` names what else may come."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer{also}; got {shown(value)} ({type(value).__name__})")
    number = int(value)
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {shown(number)}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{name} must be at most {maximum}; got {shown(number)}")
    return number


def check_real(name: str, value: object, minimum: float | None = None, exclusive: bool = False) -> float:
    """Return `value` as a plain finite float, or say why it is not one within the bound."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number; got {shown(value)} ({type(value).__name__})")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite; got {shown(value)}")
    if minimum is not None and (number < minimum or (exclusive and number == minimum)):
        bound = "greater than" if exclusive else "at least"
        raise ValueError(f"{name} must be {bound} {minimum:g}; got {number}")
    return number


def check_positive(name: str, value: object) -> float:
    return check_real(name, value, minimum=0.0, exclusive=True)


def check_count(name: str, value: object) -> int:
    """An integer of 1 or more."""
    return check_integer(name, value, minimum=1)


def check_bool(name: str, value: Any) -> bool:
    return check_instance(name, value, bool, "True or False")


def check_instance(name: str, value: Any, kind: Any, allowed: str) -> Any:
    """Return `value` itself if it is a `kind`, whatever `isinstance` takes; `allowed` says in words what may come."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {allowed}; got {shown(value)} ({type(value).__name__})")
    return value


def check_one_of(name: str, value: Any, allowed: tuple) -> Any:
    """Return `value` itself if it is one of `allowed`."""
    if not isinstance(value, tuple({type(each) for each in allowed})) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {shown(value)}")
    return value


def check_array(name: str, value: Any, ndim: int | None = None, finite: bool = True) -> np.ndarray:
    """Return `value` (an array, a tensor, a list of numbers) as a finite array of floats, none of its sizes 0.

    Where `finite` is False, NaN and infinite values may come, too.  Masked entries have no value: they are refused.
    """
    array = _numpy(name, value)
    if masked := _masked(value):
        raise ValueError(f"{name} must have no masked entries (leave them out, or fill them in); got {masked}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of real numbers; got {array.dtype} values")
    if not array.size or ndim not in (None, array.ndim):
        words = "" if ndim is None else f"{ndim} dimensions, "
        raise ValueError(f"{name} must have {words}none empty; got shape {array.shape}")
    check_bytes(name, 8 * array.size, f"shape {array.shape}")
    with np.errstate(over="ignore"):  # a long double may be infinite as a float
        array = np.asarray(array, dtype=float)
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinite values")
    return array


def _masked(value: Any) -> int:
    """Number of masked entries in an array, or in the arrays of a list."""
    if isinstance(value, np.ma.MaskedArray):
        return int(np.ma.count_masked(value))
    nested = (list, tuple, np.ma.MaskedArray)
    if isinstance(value, (list, tuple)) and any(issubclass(kind, nested) for kind in set(map(type, value))):
        return sum(map(_masked, value))
    return 0


def _numpy(name: str, value: Any) -> np.ndarray:
    """`value` as NumPy sees it, if it is of numbers at all: anything else could be endless."""
    if isinstance(value, (list, tuple, numbers.Number)) or hasattr(value, "__array__"):
        try:
            return np.asarray(value.detach().cpu().resolve_neg() if isinstance(value, Tensor) else value)
        except Exception as error:  # ragged lists, tensors without values, arrays of the caller's own making
            raise TypeError(f"{name} must be an array of real numbers; got {shown(value)}: {error}") from error
    raise TypeError(f"{name} must be an array of real numbers; got {shown(value)} ({type(value).__name__})")


def check_tensor(name: str, value: Any, shape: tuple[int | str, ...], complex_too: bool = False) -> Tensor:
    """Return `value` itself if it is a finite floating tensor whose shape fits.

    An entry of `shape` is an exact size, or the name of a free (but non-zero) one.
    """
    words = "(" + ", ".join(map(str, shape)) + ")"
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch tensor {words}; got {type(value).__name__}")
    if found := _valueless(value):
        raise TypeError(f"{name} must be a dense tensor that holds values; got {found}")
    floating = value.is_floating_point() and value.dtype.itemsize > 1
    if not (floating or (complex_too and value.is_complex())):
        raise TypeError(f"{name} must have a floating dtype of 16 bits or more; got {value.dtype}")
    fits = value.dim() == len(shape) and all(
        got == want if isinstance(want, int) else got > 0 for got, want in zip(value.shape, shape)
    )
    if not fits:
        raise ValueError(f"{name} must have shape {words}, none empty; got {tuple(value.shape)}")
    check_bytes(name, value.numel() * value.element_size(), f"shape {tuple(value.shape)}")
    if not bool(torch.isfinite(value.detach()).all()):
        raise ValueError(f"{name} must be finite; got NaN or infinite values")
    return value


def check_parts(name: str, pair: Any, shape: tuple[int | str, ...], targets: int | str) -> tuple[Tensor, Tensor]:
    """Windows x of that shape, and y as many and as long, with so many ``targets``, as `check_tensor` names sizes."""
    if len(check_instance(name, pair, (tuple, list), "a pair (x, y)")) != 2:
        raise ValueError(f"{name} must be a pair (x, y); got {len(pair)} parts")
    x = check_tensor(f"{name} x", pair[0], shape)
    return x, check_tensor(f"{name} y", pair[1], (*x.shape[:2], targets))


def check_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """Return `dtype`, torch's default for None, if weights and sums can be of it."""
    if dtype is None:
        return torch.get_default_dtype()
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1):
        raise TypeError(f"dtype must be a floating torch dtype of 16 bits or more, or None; got {shown(dtype)}")
    return dtype


def usable(value: Tensor) -> Tensor:
    """`value`, copied where gradients are recorded and it was made in inference mode, which torch refuses to save."""
    return value.clone() if value.is_inference() and torch.is_grad_enabled() else value


def _valueless(value: Tensor) -> str | None:
    """What keeps the values of a tensor from being read as they stand, if anything does."""
    if value.is_nested or value.layout != torch.strided or value.device.type == "meta":
        return f"{'nested, ' * value.is_nested}{value.layout} on {value.device}"
    if isinstance(value, torch.masked.MaskedTensor):
        return "a masked one"
    if not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(value):
        return "one inside a transform of torch.func (use torch.autograd)"
    return None


def torch_generator(seed: int | torch.Generator | None, name: str = "seed") -> torch.Generator:
    """A torch generator: `seed` itself, one seeded by an int, or one from the system's entropy."""
    if isinstance(seed, torch.Generator):
        return seed
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator("cpu").manual_seed(check_integer(name, seed, 0, 2**63 - 1, ", a torch.Generator or None"))


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
