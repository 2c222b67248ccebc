"""States of models and optimisers as safetensors files, without pickle."""

from __future__ import annotations

import hashlib
import json
import os

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from ..checks import check_bytes, shown
from .files import checked_path, checked_target, read_bytes, replace

STRUCTURE = "qrnn_helpers state"  # the name of a state's structure in the metadata of its file

PLAIN = (type(None), bool, int, float, str)  # what a state may hold beside tensors


def save_state(state: object, path: str | os.PathLike) -> None:
    """Write a state, such as ``{"model": model.state_dict(), "optimizer": optimizer.state_dict()}``, to `path`.

    A state is a tensor, number, string, bool or None, or a dict (keys: strings and ints), list or tuple of
    states; anything else raises TypeError naming its place.  No pickle: the file is a safetensors file, its
    tensors named by their places, the structure beside them as JSON, and a checksum over all.  One atomic
    move, as for all files here.
    """
    tensors: dict[str, torch.Tensor] = {}
    try:
        structure = json.dumps(_disassemble(state, (), tensors))
    except RecursionError as error:
        raise ValueError("state must not hold itself, nor be nested hundreds deep") from error
    metadata = {STRUCTURE: json.dumps([structure, _digest(structure, tensors)])}
    try:
        content = to_safetensors(tensors, metadata)
    except (KeyError, SafetensorError) as error:
        raise TypeError(f"state must hold tensors of dtypes that safetensors knows; got {error}") from error
    replace(checked_target(path), content)


def load_state(path: str | os.PathLike) -> object:
    """Read what `save_state` wrote: equal values, dtypes and types, tuples as tuples, order of keys included.

    Tensors come to the CPU, each with memory of its own, without gradients; parameters as tensors; every
    kind of dict as a plain one.  Raises FileNotFoundError if there is no such file, ValueError naming it if
    it is damaged or not a state.
    """
    path = checked_path(path)
    content = read_bytes(path)
    try:
        length = int.from_bytes(content[:8], "little")
        structure, digest = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][STRUCTURE])
        tensors = {name: tensor.clone() for name, tensor in from_safetensors(content).items()}
        if _digest(structure, tensors) != digest:
            raise ValueError("its content does not match its own checksum")
        return _assemble(json.loads(structure), tensors)
    except Exception as error:  # one flipped bit may be a shape, a dtype, a key or a number
        raise ValueError(f"path: {path} is damaged or no file of save_state: {error}") from error


def _disassemble(value: object, place: tuple, tensors: dict[str, torch.Tensor]) -> object:
    """A state as JSON, with its tensors put into `tensors`: numbers and text are themselves, a list is a list.

    {"dict": [[key, value], ...]}, {"tuple": [...]}, {"tensor": name} and {"complex": name} are the rest.
    """
    if isinstance(value, torch.Tensor):
        return _put_tensor(value, place, tensors)
    if type(value) in PLAIN:
        if type(value) is int and abs(value) >= 10**4000:
            raise ValueError(f"state{_words(place)} must hold integers of less than 4,000 digits; got {shown(value)}")
        return value
    if isinstance(value, dict):
        if strange := [key for key in value if type(key) not in (str, int)]:
            raise TypeError(f"state{_words(place)} must have strings and ints as keys; got {shown(strange[0])}")
        return {"dict": [[key, _disassemble(part, (*place, key), tensors)] for key, part in value.items()]}
    if type(value) in (list, tuple):
        parts = [_disassemble(part, (*place, number), tensors) for number, part in enumerate(value)]
        return parts if type(value) is list else {"tuple": parts}
    raise TypeError(
        f"state{_words(place)} must be a tensor, number, string, bool or None, or a dict, list or tuple of these; "
        f"got {shown(value)} ({type(value).__name__})"
    )


def _put_tensor(value: torch.Tensor, place: tuple, tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """Add a tensor under a name made of its place, and say which."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise TypeError(
            f"state{_words(place)} must be a dense tensor with values; got {value.layout} on {value.device}"
        )
    check_bytes(f"state{_words(place)}", value.numel() * value.element_size(), f"shape {tuple(value.shape)}")
    name = "/".join(map(str, place)) or "state"
    while name in tensors or name == "__metadata__":  # 1 and "1", or "a/b" and b in a; the format's own word
        name += "'"
    plain = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    tensors[name] = torch.view_as_real(plain) if plain.is_complex() else plain  # safetensors lacks complex128
    return {"complex" if plain.is_complex() else "tensor": name}


def _assemble(value: object, tensors: dict[str, torch.Tensor]) -> object:
    """The state that `_disassemble` took apart."""
    if isinstance(value, list):
        return [_assemble(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _assemble(part, tensors) for key, part in content}
    if kind == "tuple":
        return tuple(_assemble(part, tensors) for part in content)
    return tensors[content] if kind == "tensor" else torch.view_as_complex(tensors[content])


def _digest(structure: str, tensors: dict[str, torch.Tensor]) -> str:
    """sha256 of a state, whatever the order of its tensors in the file."""
    digest = hashlib.sha256(structure.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _words(place: tuple) -> str:
    """['model'][0] for a place."""
    return "".join(f"[{key!r}]" for key in place)
