"""Files that can be trusted: fields as netCDF-4, records as JSON, states of training as safetensors.

Every write is made in memory, goes to a temporary file in the same folder and takes its final name in one
move; every read takes all bytes through one open file and checks these.  So a reader never meets half a file,
nor half of one and half of the next.  Writers in a folder wait for each other (`_locked`), and remove what one
that was killed left there.
"""

import ast
import hashlib
import io
import json
import math
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from .checks import check_instance, shown
from .limits import check_bytes

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

DATA = Path(__file__).resolve().parents[1] / "data"  # data sets and stored results, in the checkout
LITERAL = "python:"  # marks what is stored as the text of a Python literal
SEAL = b"\nsha256 of all bytes before this line: "  # readers of HDF5 pass over what follows the end
LONGEST = 255  # bytes of a file's name
MOST_DIMENSIONS = 31  # of an array: HDF5 has 32, and complex numbers are pairs
MANIFEST = "CHECKSUMS.sha256"
LISTED = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")  # a line of a manifest, as `sha256sum` writes it
LEFT = re.compile(r"\..*\.[0-9a-f]{32}\.tmp", re.DOTALL)  # the name of a temporary file
ARRAY = "qrnn_helpers array"  # the attribute of a netCDF file that describes its array
STRUCTURE = "qrnn_helpers state"  # the name of a state's structure in the metadata of its file
PLAIN = (type(None), bool, int, float, str)  # what a state may hold beside tensors
JSON_GROWTH = 32  # bytes of memory that a byte of JSON may take: "[]," is a list and a place in one


def save(array: xr.DataArray, path: str | os.PathLike) -> None:
    """Write `array` to `path` as netCDF-4 in one atomic move: `load` returns one that is `identical`.

    It holds real or complex numbers, bools, text or bytes, and so do its coordinates.  Names of dimensions,
    coordinates and attributes, and the attributes themselves, may be anything that a Python literal can say
    (None, bools, numbers, text, and tuples, lists or dicts of them), also words that netCDF's conventions know;
    anything else raises TypeError.  `encoding` is of no effect.  The file ends with a checksum of its own, by
    which `load` sees damage.
    """
    if not isinstance(array, xr.DataArray):
        raise TypeError(f"array must be an xarray.DataArray; got {type(array).__name__}")
    path = _target(path)
    check_bytes("array", sum(part.nbytes for part in (array, *array.coords.values())), f"shape {array.shape}")
    if array.ndim > MOST_DIMENSIONS:
        raise ValueError(f"array must have at most {MOST_DIMENSIONS} dimensions; got {array.ndim}")
    content = _to_netcdf(array)
    _replace(path, content, _seal(content))


def load(path: str | os.PathLike, *, sha256: str | None = None) -> xr.DataArray:
    """Read what `save` wrote, into memory; other netCDF-4 files with one variable load, too.

    With `sha256` the file itself must have that checksum. Raises FileNotFoundError if there
    is no such file, ValueError naming it if it is damaged, not what was expected, or if what it
    holds would take more than the memory limit.
    """
    path = _path(path)
    if sha256 is not None:
        check_instance("sha256", sha256, str, "64 hexadecimal digits or None")
    content = _bytes(path)
    if sha256 is not None and _sha256(content) != sha256:
        raise ValueError(f"path: {path} is damaged: sha256 {_sha256(content)}, expected {sha256[:64]}")
    return _array(content, path)


def load_listed(path: str | os.PathLike) -> xr.DataArray:
    """`load` of a file that must be as the manifest of its folder says."""
    path = _path(path)
    return _array(_listed_bytes(path), path)


def write_json(record: object, path: str | os.PathLike) -> None:
    """Write `record` as JSON in one atomic move; NaN and infinities as Python writes them."""
    _replace(_target(path), _to_json(record))


def read_json(path: str | os.PathLike) -> object:
    """Read a record that `write_json` wrote; a damaged file raises ValueError naming it."""
    path = _path(path)
    return _from_json(_bytes(path, JSON_GROWTH), path)


def write_record(record: dict, path: str | os.PathLike) -> None:
    """Write `record` as JSON, and its checksum into its folder's manifest, as one step for all who `read_record`."""
    path, content = _target(path), _to_json(record)
    with _locked(path.parent):
        _put(path, content, first=lambda: _list(path, _sha256(content)))


def read_record(path: str | os.PathLike) -> dict:
    """Read a record whose file is as the manifest of its folder says; anything else raises ValueError naming it."""
    path = _path(path)
    record = _from_json(_listed_bytes(path, JSON_GROWTH), path)
    if not isinstance(record, dict):
        raise ValueError(f"path: {path} must hold a record, a JSON object; got {shown(record)}")
    return record


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
    _replace(_target(path), content)


def load_state(path: str | os.PathLike) -> object:
    """Read what `save_state` wrote: equal values, dtypes and types, tuples as tuples, order of keys included.

    Tensors come to the CPU, each with memory of its own, without gradients; parameters as tensors; every
    kind of dict as a plain one.  Raises FileNotFoundError if there is no such file, ValueError naming it if
    it is damaged or not a state.
    """
    path = _path(path)
    content = _bytes(path)
    try:
        length = int.from_bytes(content[:8], "little")
        structure, digest = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][STRUCTURE])
        tensors = {name: tensor.clone() for name, tensor in from_safetensors(content).items()}
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
    _listed_bytes(_path(path))


def read_manifest(folder: str | os.PathLike) -> dict[str, str]:
    """File name -> sha256, from the `CHECKSUMS.sha256` of a folder; empty if there is none."""
    manifest, found = _path(folder) / MANIFEST, {}
    try:
        text = _bytes(manifest, JSON_GROWTH).decode() if manifest.is_file() else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"{manifest} is damaged: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        if not (match := LISTED.fullmatch(line)):
            raise ValueError(f"{manifest} must hold lines of sha256, two spaces, name; line {number} is {line!r:.200}")
        digest, name = match[1].lower(), match[2]
        if found.setdefault(name, digest) != digest:
            raise ValueError(f"{manifest} must have one checksum a file; line {number} is another for {name:.200}")
    return found


def add_to_manifest(path: str | os.PathLike) -> None:
    """Record a file's checksum in its folder's manifest, readable by `sha256sum --check`."""
    path = _path(path)
    with _locked(path.parent):
        _list(path, checksum(path))


def _list(path: Path, digest: str) -> None:
    """Put a file's line into its folder's manifest; the folder is locked."""
    if not LISTED.fullmatch(f"{digest}  {path.name}") or set(path.name) & set("\\\r\n"):
        raise ValueError(f"path must have a name without backslash or line break to be listed; got {shown(path.name)}")
    listed = read_manifest(path.parent) | {path.name: digest}
    lines = [f"{listed[name]}  {name}\n" for name in sorted(listed)]
    _put(path.parent / MANIFEST, "".join(lines).encode())


def _listed_bytes(path: Path, growth: int = 1) -> bytes:
    """All bytes of a file that are those the manifest of its folder lists."""
    for pause in (nullcontext(), _locked(path.parent)):  # a writer may be between the line and the file: then wait
        with pause:
            content, expected = _bytes(path, growth), read_manifest(path.parent).get(path.name)
        digest = _sha256(content)
        if digest == expected:
            return content
    if expected is None:
        raise ValueError(f"{path} is not listed in {path.parent / MANIFEST}")
    raise ValueError(f"{path} is damaged: sha256 {digest}, {MANIFEST} has {expected}")


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


def _target(path: object) -> Path:
    """A path that can be written to."""
    path = _path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must lie in an existing folder; there is no {path.parent}")
    if path.exists() and not path.is_file():
        raise ValueError(f"path must be a file, or no file yet; {path} is a folder or a device")
    return path


def _bytes(path: Path, growth: int = 1) -> bytes:
    """All of a file, through one descriptor; `growth`: bytes of memory that one of its bytes may take."""
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file; there is none at {path}")
    with open(path, "rb") as file:
        check_bytes("path", growth * os.fstat(file.fileno()).st_size, str(path))
        return file.read()


def _replace(path: Path, *parts: bytes) -> None:
    """Make `path` a file of these parts in one move."""
    with _locked(path.parent):
        _put(path, *parts)


def _put(path: Path, *parts: bytes, first: Callable[[], None] = lambda: None) -> None:
    """`_replace` in a folder that is locked; ``first`` is done when the content is on the disk, before the move.

    So a full disk finds neither file changed, and who is killed in between leaves a line without a new record,
    which is missing, and not a record that nobody vouches for.
    """
    temporary = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())  # the content is on disk before the name points to it
        first()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """No other writer is at work in `folder` meanwhile, and what killed ones left is gone.

    The lock is the folder's own: it leaves no file behind and ends with the process, however that ends.
    On Windows, and where a file system has no such locks (some networks' have none), nothing is locked or removed.
    """
    descriptor = None
    try:
        with suppress(OSError, AttributeError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in folder.iterdir():
                if LEFT.fullmatch(left.name):  # who wrote it would hold the lock
                    left.unlink()
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):  # said in words: a process forked meanwhile has the descriptor, too
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _to_json(record: object) -> bytes:
    try:
        return (json.dumps(record, indent=1) + "\n").encode()
    except RecursionError as error:
        raise ValueError("record must not hold itself, nor be nested hundreds deep") from error


def _from_json(content: bytes, path: Path) -> object:
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path: {path} is damaged or not JSON: {error}") from error


# --- arrays -------------------------------------------------------------------------------


def _to_netcdf(array: xr.DataArray) -> memoryview:
    """A netCDF-4 file of an array.  What the array *is*, one attribute tells that no convention touches.

    Variables and dimensions bear their names where these are plain words, so that other programs read them, too.
    """
    try:
        indexes = array.xindexes
    except TypeError as error:  # xarray's own rule
        raise TypeError(f"array's coordinates with an index must have names of text; {error}") from error
    for key, index in indexes.items():
        if type(index) is not xr.indexes.PandasIndex:
            words = f"a {type(index).__name__} at {shown(key)}; `reset_index` and `drop_indexes` take it away"
            raise TypeError(f"array must have no indexes but plain ones; got {words}")
    taken: set[str] = set()
    dims = {dim: _free_name(dim, "dim", taken) for dim in array.dims}
    sizes = dict(zip(dims.values(), array.shape))
    variables, description = {}, []
    for key, part in [(array.name, array), *array.coords.items()]:
        own = part is not array and part.dims == (key,)  # a dimension's own coordinate
        name = dims[key] if own else _free_name(key, "array" if part is array else "coord", taken)
        variables[name] = [dims[dim] for dim in part.dims], _plain(part)
        names = _encode("name", key), [_encode("dimension", dim) for dim in part.dims]
        attrs = [[_encode("attribute name", k), _encode(f"attribute {k}", v)] for k, v in part.attrs.items()]
        description.append([name, *names, part.dtype.str, attrs, part is not array and key in indexes])
    stream, (first, *others) = io.BytesIO(), variables
    with h5netcdf.File(stream, "w") as file:
        file.dimensions = sizes
        for name, (along, values) in variables.items():
            for size in values.shape[len(along) :]:  # the parts of complex numbers, the bytes of bytes
                along.append(_free_name("parts", "parts", taken))
                file.dimensions[along[-1]] = size
            packed = name == first and values.size and values.ndim and values.dtype.kind in "iuf"
            options = {"compression": "gzip", "shuffle": True} if packed else {}
            if not values.size:  # h5netcdf's own chunks would be larger than nothing
                options = {"chunking_heuristic": "h5py"}
            dtype = h5py.string_dtype() if values.dtype.kind == "O" else values.dtype
            file.create_variable(name, tuple(along), dtype, data=values, **options)
        if outside := [name for name in others if name not in sizes]:
            file.variables[first].attrs["coordinates"] = " ".join(outside)  # for other programs
        file.attrs[ARRAY] = json.dumps(description)
    return stream.getbuffer()


def _array(content: bytes, path: Path) -> xr.DataArray:
    """The array of a netCDF-4 file with these bytes."""
    own, mark, digest = content.rpartition(SEAL)
    if mark and mark + digest != _seal(own):  # before HDF5, which may hang on damage
        raise ValueError(f"path: {path} is damaged: its content does not match its own checksum")
    stream = io.BytesIO(own or content)
    try:
        needed, ours = _survey(stream)
        if ours and not mark:
            raise ValueError("its own checksum is gone")
    except Exception as error:  # HDF5 reports damage in as many ways as there are bytes
        raise ValueError(f"path: {path} is damaged or not netCDF-4: {error}") from error
    check_bytes("path", needed, str(path))
    try:
        return _from_netcdf(stream) if ours else _from_other(stream)
    except Exception as error:
        raise ValueError(f"path: {path} is damaged or not netCDF-4: {error}") from error


def _survey(stream: io.BytesIO) -> tuple[int, bool]:
    """Bytes that reading a netCDF file takes, which packing hides, and whether `save` described it."""
    needed = 0

    def add(_: str, part: object) -> None:
        nonlocal needed
        if isinstance(part, h5py.Dataset):
            each = 100 if part.dtype.hasobject else part.dtype.itemsize
            needed += each * max(part.size or 0, math.prod(part.chunks or (0,)))

    with h5py.File(stream, "r") as file:
        file.visititems(add)
        return needed, ARRAY in file.attrs


def _from_netcdf(stream: io.BytesIO) -> xr.DataArray:
    """The array of `_to_netcdf`."""
    parts, indexed = [], []
    with h5py.File(stream, "r") as file:
        for stored, name, dims, dtype, attrs, has_index in json.loads(file.attrs[ARRAY]):
            values = _unplain(file[stored][...], dtype)
            attrs = {_decode(key): _decode(value) for key, value in attrs}
            parts.append((_decode(name), xr.Variable(map(_decode, dims), values, attrs)))
            indexed += [_decode(name)] * has_index
    (name, array), *coords = parts
    array = xr.DataArray(array, xr.Coordinates(dict(coords), indexes={}), name=name)
    for key in indexed:
        array = array.set_xindex([key])
    return array


def _from_other(stream: io.BytesIO) -> xr.DataArray:
    """The one array of a file without description: another program's, or from before there were any."""
    with xr.open_dataset(stream, engine="h5netcdf", decode_times=False) as dataset:
        dataset.load()
    (name,) = dataset.data_vars
    array = dataset[name].rename(None if dataset.attrs.get("unnamed") else name)
    for key, coord in array.coords.items():
        if coord.dtype.kind in "OT":
            array = array.assign_coords({key: coord.astype(str)})
    for part in (array, *array.coords.values()):
        part.attrs = {name: _decode(value) for name, value in part.attrs.items()}
        part.encoding = {}
    return array


def _plain(part: xr.DataArray) -> np.ndarray:
    """Values as netCDF-4 has a type for: complex numbers as pairs of real ones, bytes as numbers."""
    values, kind = part.values, part.dtype.kind if isinstance(part.dtype, np.dtype) else "pandas"
    if kind in "iuf":
        return values
    if kind == "b":
        return values.view(np.int8)
    if kind in "cS":
        unit = values.real.dtype if kind == "c" else np.dtype("u1")
        pieces = np.ascontiguousarray(values).view(unit)
        return pieces.reshape(*part.shape, part.dtype.itemsize // unit.itemsize)
    if kind not in "OUT" or not all(isinstance(text, str) for text in values.flat):
        raise TypeError(f"array must hold numbers, bools, text or bytes, no dates or times; got {part.dtype} values")
    try:
        texts = [text.encode() for text in values.flat]
    except UnicodeEncodeError as error:
        raise ValueError(f"array must hold text that UTF-8 can hold; {error}") from error
    if any(b"\0" in text for text in texts):
        raise ValueError("array must hold text without zero bytes, which HDF5 cannot hold")
    return np.array(texts, dtype=object).reshape(part.shape)


def _unplain(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values of this dtype that `_plain` took apart."""
    if values.dtype.kind == "O":
        texts = np.array([text.decode() for text in values.flat], dtype=object).reshape(values.shape)
        return texts.astype(np.dtypes.StringDType() if dtype.startswith("StringDType") else dtype)
    dtype = np.dtype(dtype)
    if dtype.kind in "cS":
        return np.ascontiguousarray(values).view(dtype).reshape(values.shape[:-1])
    return values.view(dtype)


def _free_name(name: object, other: str, taken: set[str]) -> str:
    """``name`` itself if it is a plain word, or ``other``; with a line at its end if it is taken already."""
    free = name if isinstance(name, str) and re.fullmatch(r"[^\W\d_]\w{0,99}", name) else other
    while free in taken:
        free += "_"
    taken.add(free)
    return free


def _encode(what: str, value: object) -> object:
    """What JSON can hold of a name or attribute: numbers and text as they are, the rest as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) or (type(value) is int and abs(value) < 2**63):
        return value
    if isinstance(value, str) and not value.startswith(LITERAL):
        return value
    try:
        text = repr(value)
        same = ast.literal_eval(text) == value
    except Exception:  # a repr or an == of its own, or no literal
        same = False
    if not same:
        raise TypeError(f"array's {what} must be a Python literal; got {type(value).__name__}")
    return LITERAL + text


def _decode(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and value.startswith(LITERAL):
        return ast.literal_eval(value.removeprefix(LITERAL))
    return value


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(content: bytes) -> bytes:
    """The last line of a file with this content."""
    return SEAL + _sha256(content).encode() + b"\n"


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
