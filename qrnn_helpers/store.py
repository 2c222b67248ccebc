"""Files that can be trusted: fields as netCDF-4, records as JSON, states of training as safetensors.

Every write goes to a temporary file in the same folder and takes its final name in one
move: a reader, or a process that was killed, never meets half a file.
"""

import ast
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors

from .checks import check_instance, shown
from .limits import check_bytes

LITERAL = "python:"  # marks an attribute stored as the text of a Python literal
SEAL = b"\nsha256 of all bytes before this line: "  # readers of HDF5 pass over what follows the end
LONGEST = 255  # bytes of a file's name
MANIFEST = "CHECKSUMS.sha256"
STRUCTURE = "qrnn_helpers state"  # the name of a state's structure in the metadata of its file
PLAIN = (type(None), bool, int, float, str)  # what a state may hold beside tensors


def save(array: xr.DataArray, path: str | os.PathLike) -> None:
    """Write `array` to `path` as netCDF-4, attributes included, in one atomic move.

    Attributes may be anything that a Python literal can say (None, bools, numbers, text,
    and tuples, lists or dicts of them); another raises TypeError. The file ends with a
    checksum of its own, by which `load` sees damage.
    """
    if not isinstance(array, xr.DataArray):
        raise TypeError(f"array must be an xarray.DataArray; got {type(array).__name__}")
    path = _path(path)
    check_bytes("array", array.nbytes, f"shape {array.shape}")
    for part in (array, *array.coords.values()):
        if part.dtype.kind in "mM":
            raise TypeError(f"array must hold numbers or text, no dates or times; got {part.dtype}")
    stored = _map_attrs(array, _encode)
    packed = {"zlib": True, "shuffle": True} if array.size and array.dtype.kind in "iuf" else {}
    with _replacing(path) as temporary:
        name = array.name or "array"
        try:
            dataset = stored.rename(name).to_dataset()
            dataset.attrs["unnamed"] = int(array.name is None)
            dataset.to_netcdf(temporary, engine="h5netcdf", encoding={name: packed})
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(f"array must be one that netCDF-4 can hold, names and attributes too: {error}") from error
        content = temporary.read_bytes()
        temporary.write_bytes(content + _seal(content))


def load(path: str | os.PathLike, *, sha256: str | None = None) -> xr.DataArray:
    """Read what `save` wrote, into memory; the array and its attributes come back equal.

    With `sha256` the file itself must have that checksum. Raises FileNotFoundError if there
    is no such file, ValueError naming it if it is damaged or not what was expected.
    """
    path = _path(path)
    if sha256 is not None:
        check_instance("sha256", sha256, str, "64 hexadecimal digits or None")
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file; there is none at {path}")
    if sha256 is not None and checksum(path) != sha256:
        raise ValueError(f"path: {path} is damaged: sha256 {checksum(path)}, expected {sha256[:64]}")
    content, mark, digest = path.read_bytes().rpartition(SEAL)
    if mark and mark + digest != _seal(content):  # before HDF5, which may hang on damage
        raise ValueError(f"path: {path} is damaged: its content does not match its own checksum")
    try:
        return _read(path)
    except Exception as error:  # HDF5 reports damage in as many ways as there are bytes
        raise ValueError(f"path: {path} is damaged or not netCDF-4: {error}") from error


def write_json(record: object, path: str | os.PathLike) -> None:
    """Write `record` as JSON in one atomic move; NaN and infinities as Python writes them."""
    text = json.dumps(record, indent=1) + "\n"
    with _replacing(_path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike) -> object:
    """Read a record that `write_json` wrote; a damaged file raises ValueError naming it."""
    path = _path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file; there is none at {path}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"path: {path} is damaged or not JSON: {error}") from error


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
    with _replacing(_path(path)) as temporary:
        temporary.write_bytes(content)


def load_state(path: str | os.PathLike) -> object:
    """Read what `save_state` wrote: equal values, dtypes and types, tuples as tuples, order of keys included.

    Tensors come to the CPU, each with memory of its own, without gradients; parameters as tensors; every
    kind of dict as a plain one.  Raises FileNotFoundError if there is no such file, ValueError naming it if
    it is damaged or not a state.
    """
    path = _path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file; there is none at {path}")
    try:
        with safe_open(path, "pt") as file:
            structure, digest = json.loads((file.metadata() or {})[STRUCTURE])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if _digest(structure, tensors) != digest:
            raise ValueError("its content does not match its own checksum")
        return _assemble(json.loads(structure), tensors)
    except Exception as error:  # one flipped bit may be a shape, a dtype, a key or a number
        raise ValueError(f"path: {path} is damaged or no file of save_state: {error}") from error


def checksum(path: str | os.PathLike) -> str:
    """sha256 of a file, as `sha256sum` prints it."""
    with open(_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: str | os.PathLike) -> None:
    """Compare a file with the manifest `CHECKSUMS.sha256` in its folder; raise if they differ."""
    path = _path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file; there is none at {path}")
    expected = read_manifest(path.parent).get(path.name)
    if expected is None:
        raise ValueError(f"{path} is not listed in {path.parent / MANIFEST}")
    if checksum(path) != expected:
        raise ValueError(f"{path} is damaged: sha256 {checksum(path)}, {MANIFEST} has {expected}")


def read_manifest(folder: str | os.PathLike) -> dict[str, str]:
    """File name -> sha256, from the `CHECKSUMS.sha256` of a folder; empty if there is none."""
    manifest = _path(folder) / MANIFEST
    lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.is_file() else []
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def add_to_manifest(path: str | os.PathLike) -> None:
    """Record a file's checksum in its folder's manifest, readable by `sha256sum --check`."""
    path = _path(path)
    listed = read_manifest(path.parent) | {path.name: checksum(path)}
    with _replacing(path.parent / MANIFEST) as temporary:
        lines = [f"{listed[name]}  {name}\n" for name in sorted(listed)]
        temporary.write_text("".join(lines), encoding="utf-8")


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be text or a Path; got {type(path).__name__}")
    try:
        path = Path(path)
        parts = [part.encode() for part in path.parts]
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"path must be text that UTF-8 can hold, or a Path; got {shown(path)}") from error
    if any(b"\0" in part or len(part) > LONGEST for part in parts) or sum(map(len, parts)) > 4000:
        raise ValueError(f"path must have names of at most {LONGEST} bytes, none of them 0; got {shown(path)}")
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved over it when the block ends well."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must lie in an existing folder; there is no {path.parent}")
    if path.exists() and not path.is_file():
        raise ValueError(f"path must be a file, or no file yet; {path} is a folder or a device")
    temporary = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # the content is on disk before the name points to it
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> xr.DataArray:
    """The one array of a file, with its text coordinates and attributes as they were."""
    h5py.File(path, "r").close()  # on a damaged file h5netcdf would fail twice, once unseen
    with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as dataset:
        dataset.load()
    (name,) = dataset.data_vars
    array = dataset[name].rename(None if dataset.attrs.get("unnamed") else name)
    for key, coord in array.coords.items():
        if coord.dtype.kind in "OT":
            array = array.assign_coords({key: coord.astype(str)})
    array = _map_attrs(array, _decode)
    for part in (array, *array.coords.values()):
        part.encoding = {}
    return array


def _map_attrs(array: xr.DataArray, change) -> xr.DataArray:
    """A copy with `change` applied to every attribute of the array and its coordinates."""
    copy = array.copy()
    for part in (copy, *copy.coords.values()):
        part.attrs = {name: change(name, value) for name, value in part.attrs.items()}
    return copy


def _encode(name: str, value: object) -> object:
    """What netCDF can hold of one attribute: numbers and text as they are, the rest as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) or (type(value) is int and abs(value) < 2**63):
        return value
    if isinstance(value, str) and value and "\0" not in value and not value.startswith(LITERAL):
        return value
    try:
        text = repr(value)
        same = ast.literal_eval(text) == value
    except Exception:  # a repr or an == of its own, or no literal
        same = False
    if not same:
        raise TypeError(f"array's attribute {name} must be a Python literal; got {type(value).__name__}")
    return LITERAL + text


def _decode(name: str, value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and value.startswith(LITERAL):
        return ast.literal_eval(value.removeprefix(LITERAL))
    return value


def _seal(content: bytes) -> bytes:
    """The last line of a file with this content."""
    return SEAL + hashlib.sha256(content).hexdigest().encode() + b"\n"


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
