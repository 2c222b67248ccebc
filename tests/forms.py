"""The same value in another form: what is a right answer for the one is a right answer for the other."""

from __future__ import annotations

import copy
import dataclasses
import enum
import fractions
import functools
import math
import numbers
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from qiskit import QuantumCircuit
from torch import nn


class Integer(int):
    """A subclass, such as a library's own kind of integer."""


class Real(float):
    """A subclass, such as a library's own kind of number."""


class Text(str):
    """A subclass, such as a library's own kind of text."""

    __slots__ = ()


class Array(np.ndarray):
    """A subclass, such as one with units."""


class Tensor(torch.Tensor):
    """A subclass, such as a model's own kind of tensor."""


class Circuit(QuantumCircuit):
    """A subclass, such as those of Qiskit's own library."""


@dataclasses.dataclass
class Pathlike:
    path: str

    def __fspath__(self) -> str:
        return self.path


def apart(value: torch.Tensor) -> torch.Tensor:
    """The same numbers, not next to each other in memory."""
    return torch.stack([value, value + 1], dim=-1)[..., 0]


def array_forms(value: np.ndarray) -> dict[str, Callable]:
    forms = {
        "nested list": lambda: value.tolist(),
        "tensor": lambda: torch.from_numpy(value.copy()),
        "DataArray": lambda: xr.DataArray(value.copy()),
        "Fortran's order": lambda: np.asfortranarray(value),
        "backwards in memory": lambda: np.flip(np.flip(value).copy()),
        "read-only": lambda: read_only(value),
        "big-endian": lambda: value.astype(value.dtype.newbyteorder(">")),
        "long double": lambda: value.astype(np.longdouble),
        "subclass": lambda: value.view(Array),
        "masked, none hidden": lambda: np.ma.masked_array(value, np.zeros(value.shape, bool)),
        "objects": lambda: value.astype(object),
        "complex without an imaginary part": lambda: value.astype(complex),
    }
    if value.ndim == 2:
        forms |= {"DataFrame": lambda: pd.DataFrame(value), "matrix": lambda: np.asmatrix(value)}
    if value.ndim == 1:
        forms |= {"Series": lambda: pd.Series(value), "tuple": lambda: tuple(value.tolist())}
    if (value == value.astype(np.float32)).all():
        forms["float32"] = lambda: value.astype(np.float32)
    return forms


def read_only(value: np.ndarray) -> np.ndarray:
    value = value.copy()
    value.flags.writeable = False
    return value


def tensor_forms(value: torch.Tensor) -> dict[str, Callable]:
    if not value.is_floating_point():
        return {"a part of a larger one": lambda: apart(value), "array": lambda: value.numpy()}
    return {
        "a part of a larger one": lambda: apart(value.detach()),
        "with a gradient": lambda: value.detach().clone().requires_grad_(),
        "a result of weights": lambda: value.detach().clone().requires_grad_() * 1,
        "a Parameter": lambda: nn.Parameter(value.detach().clone()),
        "subclass": lambda: value.detach().clone().as_subclass(Tensor),
        "made in inference mode": lambda: torch.inference_mode()(lambda: value.detach().clone())(),
        "negated in name": lambda: torch._neg_view(-value.detach()),
        "transposed twice": lambda: value.detach().transpose(0, -1).contiguous().transpose(0, -1),
        "array": lambda: value.detach().numpy(),
        "nested list": lambda: value.detach().tolist(),
        "sparse": lambda: value.detach().to_sparse(),
        "of dtype complex128": lambda: value.detach().to(torch.complex128),
    }


def field_forms(value: xr.DataArray) -> dict[str, Callable]:
    return {
        "with coordinates": lambda: value.assign_coords({d: np.arange(n) * 0.5 for d, n in value.sizes.items()}),
        "with a name and attributes": lambda: value.rename("u").assign_attrs(units="1"),
        "Fortran's order": lambda: value.copy(data=np.asfortranarray(value.values)),
        "read-only": lambda: value.copy(data=read_only(value.values)),
        "big-endian": lambda: value.astype(value.dtype.newbyteorder(">")),
        "backwards": lambda: value[..., ::-1].copy()[..., ::-1],
        "other order of dims": lambda: value.transpose(*reversed(value.dims)),
        "Dataset": lambda: value.to_dataset(name="u"),
        "Variable": lambda: value.variable,
        "long double": lambda: value.astype(np.longdouble),
    }


def forms(value: object, folder: Path) -> dict[str, Callable]:
    """How to make the same value in other forms; none where there is only one."""
    if isinstance(value, bool):
        return {"numpy's": lambda: np.bool_(value), "number": lambda: int(value)}
    if isinstance(value, enum.Enum) or value is None:
        return {}
    if isinstance(value, int):
        kinds = {"int64": np.int64, "uint16": np.uint16, "subclass": Integer, "float": float}
        kinds |= {"Fraction": fractions.Fraction, "array without a dimension": np.array}
        kinds |= {"tensor without a dimension": torch.tensor, "text": str}
        return {label: functools.partial(kind, value) for label, kind in kinds.items()}
    if isinstance(value, float):
        kinds = {"float64": np.float64, "longdouble": np.longdouble, "subclass": Real, "Fraction": fractions.Fraction}
        kinds |= {"array without a dimension": np.array, "text": str}
        if value == float(np.float16(value)):
            kinds |= {"float16": np.float16, "float32": np.float32}
        if value == int(value):
            kinds |= {"int": int}
        kinds["tensor without a dimension"] = functools.partial(torch.tensor, dtype=torch.float64)
        return {label: functools.partial(kind, value) for label, kind in kinds.items()}
    if isinstance(value, str):
        return {label: functools.partial(kind, value) for label, kind in (("subclass", Text), ("numpy's", np.str_))}
    if isinstance(value, Path):
        kinds = {"text": str, "path-like": lambda p: Pathlike(str(p)), "relative": lambda p: Path(p.name)}
        kinds |= {"bytes": bytes}
        return {label: functools.partial(kind, value) for label, kind in kinds.items()}
    if isinstance(value, np.ndarray):
        return array_forms(value)
    if isinstance(value, torch.Tensor):
        return tensor_forms(value)
    if isinstance(value, xr.DataArray):
        return field_forms(value)
    if isinstance(value, pd.DataFrame):
        return {
            "columns in another order": lambda: value[value.columns[::-1]],
            "with one column more": lambda: value.assign(more=1.0),
            "of objects": lambda: value.astype(object),
            "with another index": lambda: value.set_index(np.arange(len(value)) * 0.5),
        }
    if isinstance(value, QuantumCircuit):
        return {
            "copy": value.copy,
            "subclass": lambda: as_subclass(value),
            "with metadata": lambda: with_metadata(value),
            "after a barrier": lambda: with_barrier(value),
        }
    if isinstance(value, (list, tuple, range)):
        kinds = {"list": list, "tuple": tuple, "iterator": iter}
        kinds |= {"array": np.array} if all(isinstance(entry, (int, float)) for entry in value) else {}
        return {label: functools.partial(kind, value) for label, kind in kinds.items()}
    if isinstance(value, nn.Module):
        return {"deep copy": lambda: copy.deepcopy(value), "in evaluation mode": lambda: copy.deepcopy(value).eval()}
    if callable(value) and not isinstance(value, type):
        return {"partial": lambda: functools.partial(value)}
    return {}


def as_subclass(step: QuantumCircuit) -> QuantumCircuit:
    made = Circuit(*step.qregs, global_phase=step.global_phase)
    return made.compose(step)


def with_metadata(step: QuantumCircuit) -> QuantumCircuit:
    step = step.copy("a name\nof two lines")
    step.metadata = {"a": [1]}
    return step


def with_barrier(step: QuantumCircuit) -> QuantumCircuit:
    made = step.copy_empty_like()
    made.barrier()
    return made.compose(step)


# ---------------------------------------------------------------- sameness


def same(one: object, other: object, rtol: float = 1e-9) -> bool:
    """Whether two answers agree: numbers up to rounding, wall times not at all."""
    if isinstance(one, QuantumCircuit) or isinstance(other, QuantumCircuit):
        return isinstance(one, QuantumCircuit) and isinstance(other, QuantumCircuit) and alike(one, other)
    if isinstance(one, (pd.DataFrame, pd.Series)):
        keep = set(one.keys()) - {"seconds"}
        return (
            type(one) is type(other)
            and list(one.keys()) == list(other.keys())
            and all(same(column(one, key), column(other, key), rtol) for key in keep)
        )
    if isinstance(one, torch.Tensor):
        if not isinstance(other, torch.Tensor) or one.dtype != other.dtype:
            return False
        one, other = one.detach().numpy(), other.detach().numpy()
    if isinstance(one, xr.Dataset):
        return isinstance(other, xr.Dataset) and same(dict(one.variables), dict(other.variables), rtol)
    if isinstance(one, xr.DataArray):
        if set(getattr(other, "dims", ())) != set(one.dims):
            return False
        other = other.transpose(*one.dims)
    if callable(one) and callable(other):
        return True
    other = float(other) if isinstance(one, float) and isinstance(other, numbers.Real) else other
    if isinstance(one, (np.ndarray, np.generic, xr.DataArray, xr.Variable, float)):
        one, other = np.asarray(one), np.asarray(other)
        if one.shape != other.shape:
            return False
        if one.dtype.kind not in "fc":
            return bool((one == other).all()) if one.dtype != object else same(one.tolist(), other.tolist(), rtol)
        scale = np.abs(one[np.isfinite(one)]).max(initial=0)
        return np.allclose(one, other, rtol=rtol, atol=rtol * scale, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], rtol) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b, rtol) for a, b in zip(one, other))
    if dataclasses.is_dataclass(one) or type(one).__module__.startswith("qrnn_helpers"):
        return type(one) is type(other) and same(state(one), state(other), rtol)
    if isinstance(one, (int, str, type(None))):
        return one == other
    return type(one) is type(other)


def column(table: pd.DataFrame | pd.Series, key) -> object:
    return table[key].tolist() if isinstance(table, pd.DataFrame) else table[key]


def state(value: object) -> dict:
    return {name: part for name, part in vars(value).items() if "seconds" not in name}


def alike(one: QuantumCircuit, other: QuantumCircuit) -> bool:
    """Equal gates on equal wires with equal parameters, barriers aside."""
    names = [[(i.name, [str(p) for p in i.params], [c.find_bit(b).index for b in i.qubits])
              for i in c.data if i.name != "barrier"] for c in (one, other)]  # fmt: skip
    return names[0] == names[1] and math.isclose(abs(one.global_phase - other.global_phase), 0, abs_tol=1e-12)
