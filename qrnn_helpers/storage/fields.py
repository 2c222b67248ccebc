"""Fields and series as netCDF-4 files: what is saved comes back equal, and a file knows its own checksum.

A file holds plain variables, which other programs read, and one attribute with a JSON text that says what the array
*is*: its names, dtypes, attributes and indexes, which no convention touches.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import sys
from collections.abc import Hashable

import h5netcdf
import h5py
import numpy as np
import xarray as xr

from ..checks import check_bytes, check_instance, shown
from .files import AnyPath, damage_named, listed_bytes, read_bytes, replace, sha256_of

SEAL = b"\nsha256 of all bytes before this line: "  # begins the last line of a file; readers of HDF5 pass over it

LITERAL = "python:"  # marks what is stored as the text of a Python literal

MOST_DIMENSIONS = 31  # of an array: HDF5 has 32, and complex numbers are pairs

ARRAY = "qrnn_helpers array"  # the attribute of a netCDF file that describes its array

UNITS = {"b": np.dtype("i1"), "S": np.dtype("u1")}  # what bools and bytes are stored as

PLAIN_WORD = re.compile(r"[^\W\d_]\w{0,99}")  # a name that every program can read


def save(array: xr.DataArray, path: AnyPath) -> None:
    """Write `array` to `path` as netCDF-4 in one atomic move: `load` returns one that is `identical`.

    It holds real or complex numbers, bools, text or bytes, and so do its coordinates.  Names of dimensions,
    coordinates and attributes, and the attributes themselves, may be anything that a Python literal can say
    (None, bools, numbers, text, and tuples, lists or dicts of them), also words that netCDF's conventions know;
    anything else raises TypeError.  `encoding` is of no effect.  The file ends with a checksum of its own, by
    which `load` sees damage.
    """
    check_instance("array", array, xr.DataArray, "an xarray.DataArray")
    check_bytes("array", sum(part.nbytes for part in (array, *array.coords.values())), f"shape {array.shape}")
    if array.ndim > MOST_DIMENSIONS:
        raise ValueError(f"array must have at most {MOST_DIMENSIONS} dimensions; got {array.ndim}")
    content = _to_netcdf(array)
    replace(path, content, _seal(content))


def load(path: AnyPath, *, sha256: str | None = None) -> xr.DataArray:
    """Read what `save` wrote, into memory; other netCDF-4 files with one variable load, too.

    With `sha256` the file itself must have that checksum. Raises FileNotFoundError if there
    is no such file, ValueError naming it if it is damaged, not what was expected, or if what it
    holds would take more than the memory limit.
    """
    content = read_bytes(path)
    if sha256 is not None:
        expected = check_instance("sha256", sha256, str, "64 hexadecimal digits or None")
        if sha256_of(content) != expected:
            raise ValueError(f"path: {path} is damaged: sha256 {sha256_of(content)}, expected {expected[:64]}")
    return _array(content, path)


def load_listed(path: AnyPath) -> xr.DataArray:
    """`load` of a file that must be as the manifest of its folder says."""
    return _array(listed_bytes(path), path)


def _seal(content: bytes | memoryview) -> bytes:
    """The last line of a file with this content."""
    return SEAL + sha256_of(content).encode() + b"\n"


# --- writing ------------------------------------------------------------------------------


def _to_netcdf(array: xr.DataArray) -> memoryview:
    """A netCDF-4 file of an array, with a row of facts on it and on each coordinate."""
    indexed = _plain_indexes(array)
    stream = io.BytesIO()
    with h5netcdf.File(stream, "w") as file:
        variables = _Variables(file, array)
        rows = [[*variables.add(array.name, array), False]]
        rows += [[*variables.add(key, part), key in indexed] for key, part in array.coords.items()]
        file.attrs[ARRAY] = json.dumps(rows)
        first, *others = (row[0] for row in rows)
        if outside := [name for name in others if name not in file.dimensions]:
            file.variables[first].attrs["coordinates"] = " ".join(outside)  # for other programs
    return stream.getbuffer()


def _plain_indexes(array: xr.DataArray) -> set[Hashable]:
    """Names of the coordinates with an index, each of the kind that a file can hold."""
    try:
        indexes = array.xindexes
    except TypeError as error:  # xarray's own rule
        raise TypeError(f"array's coordinates with an index must have names of text; {error}") from error
    for key, index in indexes.items():
        if type(index) is not xr.indexes.PandasIndex:
            words = f"a {type(index).__name__} at {shown(key)}; `reset_index` and `drop_indexes` take it away"
            raise TypeError(f"array must have no indexes but plain ones; got {words}")
    return set(indexes)


class _Variables:
    """Puts an array and then its coordinates into a file, under their names where these are plain words."""

    def __init__(self, file: h5netcdf.File, array: xr.DataArray) -> None:
        self.file = file
        self.names: set[str] = set()
        self.dims = {dim: self._free_name(dim) for dim in array.dims}
        file.dimensions = dict(zip(self.dims.values(), array.shape))

    def add(self, key: Hashable, part: xr.DataArray) -> list:
        """Store values; give their name in the file and what they do not say: name, dimensions, dtype, attributes."""
        is_array = not self.file.variables
        name = self.dims[key] if part.dims == (key,) and not is_array else self._free_name(key)
        self._store(name, [self.dims[dim] for dim in part.dims], _encoded(part), packed=is_array)
        dims = [_literal("dimension", dim) for dim in part.dims]
        attrs = [[_literal("attribute name", k), _literal(f"attribute {k}", v)] for k, v in part.attrs.items()]
        return [name, _literal("name", key), dims, part.dtype.str, attrs]

    def _store(self, name: str, dims: list[str], values: np.ndarray, packed: bool) -> None:
        while len(dims) < values.ndim:  # the parts of complex numbers, the bytes of bytes
            dims.append(self._free_name("parts"))
        options: dict[str, object] = {
            "chunking_heuristic": "h5py"
        }  # h5netcdf's own chunks of nothing are larger than nothing
        if packed and values.size and values.ndim:
            options |= {"compression": "gzip", "shuffle": True}
        dtype = h5py.string_dtype() if values.dtype.kind == "O" else values.dtype
        self.file.create_variable(name, tuple(dims), dtype, data=values, **options)

    def _free_name(self, name: Hashable) -> str:
        """The name if it is a plain word, or another; with a line at its end if it is borne already."""
        free = name if isinstance(name, str) and PLAIN_WORD.fullmatch(name) else "unnamed"
        while free in self.names:
            free += "_"
        self.names.add(free)
        return free


def _encoded(part: xr.DataArray) -> np.ndarray:
    """Values as netCDF-4 has a type for: bools as bytes, complex numbers as pairs, bytes as numbers, text as UTF-8."""
    values = part.values
    kind = part.dtype.kind if isinstance(part.dtype, np.dtype) else "pandas"
    if kind in "OUT" and all(isinstance(text, str) for text in values.flat):
        return _utf8(values)
    if kind not in "biufcS":
        raise TypeError(f"array must hold numbers, bools, text or bytes, no dates or times; got {part.dtype} values")
    unit = values.real.dtype if kind == "c" else UNITS.get(kind, part.dtype)
    pieces = np.ascontiguousarray(values).reshape((*part.shape, 1)).view(unit)
    return pieces if kind in "cS" else pieces[..., 0]


def _utf8(values: np.ndarray) -> np.ndarray:
    try:
        texts = [text.encode() for text in values.flat]
    except UnicodeEncodeError as error:
        raise ValueError(f"array must hold text that UTF-8 can hold; {error}") from error
    if any(b"\0" in text for text in texts):
        raise ValueError("array must hold text without zero bytes, which HDF5 cannot hold")
    return np.array(texts, dtype=object).reshape(values.shape)


def _literal(what: str, value: object) -> float | str:
    """A name or attribute as JSON: text and floats as they are, the rest as the text of a literal."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) or (isinstance(value, str) and not value.startswith(LITERAL)):
        return value
    text = shown(value, sys.maxsize)
    try:
        same = ast.literal_eval(text) == value
    except Exception:  # no literal, or an == of its own
        same = False
    if not same:
        raise TypeError(f"array's {what} must be a Python literal; got {type(value).__name__}")
    return LITERAL + text


# --- reading ------------------------------------------------------------------------------


def _array(content: bytes, path: AnyPath) -> xr.DataArray:
    """The array of a netCDF-4 file with these bytes."""
    before, seal, digest = content.rpartition(SEAL)
    if seal and seal + digest != _seal(before):  # before HDF5, which may hang on damage
        raise ValueError(f"path: {path} is damaged: its content does not match its own checksum")
    stream = io.BytesIO(before if seal else content)
    with damage_named(path, "not netCDF-4"), h5py.File(stream, "r") as file:
        needed = _bytes_of(file)
        described = ARRAY in file.attrs
        if described and not seal:
            raise ValueError("its own checksum is gone")
    check_bytes("path", needed, str(path))
    with damage_named(path, "not netCDF-4"):
        return _from_netcdf(stream) if described else _from_other(stream)


def _bytes_of(file: h5py.File) -> int:
    """Bytes that reading a file takes, which packing hides."""
    sizes = []

    def add(_: str, part: object) -> None:
        if isinstance(part, h5py.Dataset):
            each = 100 if part.dtype.hasobject else part.dtype.itemsize
            sizes.append(each * max(part.size or 0, math.prod(part.chunks or (0,))))

    file.visititems(add)
    return sum(sizes)


def _from_netcdf(stream: io.BytesIO) -> xr.DataArray:
    """The array of `_to_netcdf`."""
    with h5py.File(stream, "r") as file:
        (name, array, _), *coords = [_part(file, *row) for row in json.loads(file.attrs[ARRAY])]
    without_indexes = xr.Coordinates({key: coord for key, coord, _ in coords}, indexes={})
    result = xr.DataArray(array, without_indexes, name=name)
    for key, _, indexed in coords:
        result = result.set_xindex([key]) if indexed else result
    return result


def _part(file: h5py.File, stored: str, key: object, dims: list, dtype: str, attrs: list, indexed: bool) -> tuple:
    """What `_Variables.add` stored: name, variable, and whether it is an index."""
    values = _decoded(file[stored], dtype, len(dims))
    attributes = {_from_literal(name): _from_literal(value) for name, value in attrs}
    return _from_literal(key), xr.Variable([*map(_from_literal, dims)], values, attributes), indexed


def _decoded(stored: h5py.Dataset, dtype: str, ndim: int) -> np.ndarray:
    """The values of this dtype and so many dimensions that `_encoded` took apart."""
    if h5py.check_string_dtype(stored.dtype):
        return stored.asstr()[...].astype(np.dtypes.StringDType() if dtype.startswith("StringDType") else dtype)
    return np.ascontiguousarray(stored[...]).view(dtype).reshape(stored.shape[:ndim])


def _from_literal(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and value.startswith(LITERAL):
        return ast.literal_eval(value.removeprefix(LITERAL))
    return value


def _from_other(stream: io.BytesIO) -> xr.DataArray:
    """The one array of a file without description: another program's, or from before there were any."""
    with xr.open_dataset(stream, engine="h5netcdf", decode_times=False) as dataset:
        dataset.load()
    (name,) = dataset.data_vars
    texts = {key: coord.astype(str) for key, coord in dataset.coords.items() if coord.dtype.kind in "OT"}
    array = dataset[name].assign_coords(texts)
    for part in (array, *array.coords.values()):
        part.attrs = {key: _from_literal(value) for key, value in part.attrs.items()}
        part.encoding = {}
    return array.rename(None) if dataset.attrs.get("unnamed") else array
