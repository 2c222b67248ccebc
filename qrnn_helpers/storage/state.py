"""States of models and optimisers as safetensors files, without pickle."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ..checks import check_bytes, shown
from .files import AnyPath, damage_named, read_bytes, replace

STRUCTURE = "qrnn_helpers state"  # the name of a state's structure in the metadata of its file

SCALARS = (type(None), bool, int, float, str)  # what a state may hold beside tensors

Place = tuple[int | str, ...]  # the keys on the way to a part of a state


def save_state(state: object, path: AnyPath) -> None:
    """Write a state, such as ``{"model": model.state_dict(), "optimizer": optimizer.state_dict()}``, to `path`.

    A state is a tensor, number, string, bool or None, or a dict (keys: strings and ints), list or tuple of
    states; anything else raises TypeError naming its place.  No pickle: the file is a safetensors file, its
    tensors named by their places, the structure beside them as JSON, and a checksum over all.  One atomic
    move, as for all files here.
    """
    tensors: dict[str, Tensor] = {}
    try:
        structure = json.dumps(_structure(state, (), tensors))
    except RecursionError as error:
        raise ValueError("state must not hold itself, nor be nested hundreds deep") from error
    metadata = {STRUCTURE: json.dumps([structure, _digest(structure, tensors)])}
    try:
        content = to_safetensors(tensors, metadata)
    except (KeyError, SafetensorError) as error:
        raise TypeError(f"state must hold tensors of dtypes that safetensors knows; got {error}") from error
    replace(path, content)


def load_state(path: AnyPath) -> object:
    """Read what `save_state` wrote: equal values, dtypes and types, tuples as tuples, order of keys included.

    Tensors come to the CPU, each with memory of its own, without gradients; parameters as tensors; every
    kind of dict as a plain one.  Raises FileNotFoundError if there is no such file, ValueError naming it if
    it is damaged or not a state.
    """
    content = read_bytes(path)
    with damage_named(path, "no file of save_state"):
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        structure, digest = json.loads(header["__metadata__"][STRUCTURE])
        tensors = {name: tensor.clone() for name, tensor in from_safetensors(content).items()}
        if _digest(structure, tensors) != digest:
            raise ValueError("its content does not match its own checksum")
        return _assembled(json.loads(structure), tensors)


def _structure(value: object, place: Place, tensors: dict[str, Tensor]) -> object:
    """A state as JSON, with its tensors put into `tensors`: numbers and text are themselves, a list is a list.

    {"dict": [[key, value], ...]}, {"tuple": [...]}, {"tensor": name} and {"complex": name} are the rest.
    """
    if isinstance(value, Tensor):
        kind = "complex" if value.is_complex() else "tensor"
        return {kind: _put_tensor(value, place, tensors)}
    if isinstance(value, dict):
        return {"dict": [[_key(key, place), _structure(value[key], (*place, key), tensors)] for key in value]}
    if type(value) is tuple:
        return {"tuple": _structure([*value], place, tensors)}
    if type(value) is list:
        return [_structure(part, (*place, number), tensors) for number, part in enumerate(value)]
    return _scalar(value, place)


def _put_tensor(tensor: Tensor, place: Place, tensors: dict[str, Tensor]) -> str:
    """Add a tensor under a name made of its place, and tell the name."""
    _check_dense(tensor, place)
    name = "/".join(map(str, place)) or "state"
    while name in tensors or name == "__metadata__":  # 1 and "1", or "a/b" and b in a; the format's own word
        name += "'"
    plain = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    tensors[name] = torch.view_as_real(plain) if plain.is_complex() else plain  # safetensors lacks complex128
    return name


def _check_dense(tensor: Tensor, place: Place) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        got = f"{tensor.layout} on {tensor.device}"
        raise TypeError(f"{_words(place)} must be a dense tensor with values; got {got}")
    check_bytes(_words(place), tensor.nbytes, f"shape {tuple(tensor.shape)}")


def _key(key: object, place: Place) -> object:
    if type(key) not in (str, int):
        raise TypeError(f"{_words(place)} must have strings and ints as keys; got {shown(key)}")
    return key


def _scalar(value: object, place: Place) -> object:
    if type(value) not in SCALARS:
        allowed = "a tensor, number, string, bool or None, or a dict, list or tuple of these"
        raise TypeError(f"{_words(place)} must be {allowed}; got {shown(value)} ({type(value).__name__})")
    if type(value) is int and abs(value) >= 10**4000:
        raise ValueError(f"{_words(place)} must hold integers of less than 4,000 digits; got {shown(value)}")
    return value


def _words(place: Place) -> str:
    """state['model'][0] for a place."""
    return "state" + "".join(f"[{key!r}]" for key in place)


def _assembled(structure: object, tensors: dict[str, Tensor]) -> Any:
    """The state with this structure."""
    if isinstance(structure, list):
        return [_assembled(part, tensors) for part in structure]
    if not isinstance(structure, dict):
        return structure
    ((kind, content),) = structure.items()
    if kind in ("tensor", "complex"):
        return tensors[content] if kind == "tensor" else torch.view_as_complex(tensors[content])
    parts = [_assembled(part, tensors) for part in content]
    return tuple(parts) if kind == "tuple" else dict(parts)


def _digest(structure: str, tensors: dict[str, Tensor]) -> str:
    """sha256 of a state, whatever the order of its tensors in the file."""
    digest = hashlib.sha256(structure.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
