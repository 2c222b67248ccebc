"""Fields and series as netCDF-4 files: what is saved comes back equal, and a file knows its own checksum."""

from __future__ import annotations

import ast
import io
import json
import math
import os
import re
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import xarray as xr

from ..checks import check_bytes, check_instance, shown
from .files import SEAL, checked_path, checked_target, listed_bytes, read_bytes, replace, seal_of, sha256_of

LITERAL = "python:"  # marks what is stored as the text of a Python literal

MOST_DIMENSIONS = 31  # of an array: HDF5 has 32, and complex numbers are pairs

ARRAY = "qrnn_helpers array"  # the attribute of a netCDF file that describes its array


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
    path = checked_target(path)
    check_bytes("array", sum(part.nbytes for part in (array, *array.coords.values())), f"shape {array.shape}")
    if array.ndim > MOST_DIMENSIONS:
        raise ValueError(f"array must have at most {MOST_DIMENSIONS} dimensions; got {array.ndim}")
    content = _to_netcdf(array)
    replace(path, content, seal_of(content))


def load(path: str | os.PathLike, *, sha256: str | None = None) -> xr.DataArray:
    """Read what `save` wrote, into memory; other netCDF-4 files with one variable load, too.

    With `sha256` the file itself must have that checksum. Raises FileNotFoundError if there
    is no such file, ValueError naming it if it is damaged, not what was expected, or if what it
    holds would take more than the memory limit.
    """
    path = checked_path(path)
    if sha256 is not None:
        check_instance("sha256", sha256, str, "64 hexadecimal digits or None")
    content = read_bytes(path)
    if sha256 is not None and sha256_of(content) != sha256:
        raise ValueError(f"path: {path} is damaged: sha256 {sha256_of(content)}, expected {sha256[:64]}")
    return _array(content, path)


def load_listed(path: str | os.PathLike) -> xr.DataArray:
    """`load` of a file that must be as the manifest of its folder says."""
    path = checked_path(path)
    return _array(listed_bytes(path), path)


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
    if mark and mark + digest != seal_of(own):  # before HDF5, which may hang on damage
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
