"""Stored files come back as they were, or not at all."""

import ast
import errno
import json
import math
import os
import signal
import subprocess
import sys
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from qrnn_helpers import QRNN, SPSA, ShotBackend, SPSAOptimizer, rotation_step
from qrnn_helpers.dynamics import ks1d
from qrnn_helpers.storage import fields as storage_fields
from qrnn_helpers.storage import files as storage_files
from qrnn_helpers.storage import (
    load,
    load_state,
    origins,
    package_version,
    provenance,
    read_json,
    read_record,
    save,
    save_state,
    verify,
    write_record,
)
from qrnn_helpers.storage.files import checksum, write_json

ATTRIBUTES = {
    "none": None,
    "flag": True,
    "pair": (1, (2.5, None)),
    "single": (1,),
    "list": [1, "a"],
    "mapping": {"a": 1},
    "large": 2**80,
    "empty": "",
    "greek": "λ",
    "quoted": "python:1",
    "zero_byte": "a\0b",
    "infinite": float("inf"),
    "tiny": -1.5e-300,
    "count": 3,
}


@pytest.fixture
def field() -> xr.DataArray:
    field = ks1d(steps=5, transient=0, trajectories=3)
    field = field.assign_coords(split=("trajectory", ["train", "validation", "test"]))
    field.attrs |= ATTRIBUTES
    field["x"].attrs = {"units": "1", "exact": False}
    field["time"].attrs = {"units": "days since 2000-01-01"}  # must not become dates
    return field


def test_round_trip(field, tmp_path):
    save(field, tmp_path / "a.nc")
    back = load(tmp_path / "a.nc")
    xr.testing.assert_identical(back, field)
    assert back.dtype == field.dtype and back["split"].dtype == field["split"].dtype
    for name, value in ATTRIBUTES.items():
        assert repr(back.attrs[name]) == repr(value)
    assert back["x"].attrs == field["x"].attrs


@pytest.mark.parametrize(
    "array",
    [
        xr.DataArray(np.arange(3)),
        xr.DataArray(np.array([True, False])),
        xr.DataArray(1.5),
        xr.DataArray(np.zeros((0, 3)), dims=("a", "b")),
        xr.DataArray(np.array([1, np.nan, np.inf], np.float32), dims="q", name="z"),
    ],
)
def test_round_trip_of_other_arrays(array, tmp_path):
    save(array, str(tmp_path / "a.nc"))
    xr.testing.assert_identical(load(str(tmp_path / "a.nc")), array)


def test_same_content_same_bytes(field, tmp_path):
    save(field, tmp_path / "a.nc")
    save(field, tmp_path / "b.nc")
    assert checksum(tmp_path / "a.nc") == checksum(tmp_path / "b.nc")


def test_damage_is_refused_by_name(field, tmp_path):
    path = tmp_path / "a.nc"
    save(field, path)
    whole = path.read_bytes()
    middle = whole.index(field["x"].values[5:15].tobytes())
    for damaged in (b"", b"not a file", whole[: len(whole) // 2], flipped(whole, middle)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.nc is damaged"):
            load(path)


def test_no_flipped_byte_goes_unseen(field, tmp_path):
    path = tmp_path / "a.nc"
    save(field, path)
    whole = path.read_bytes()
    content = len(whole.rpartition(storage_fields.SEAL)[0])
    for place in range(0, content, content // 100):
        path.write_bytes(flipped(whole, place))
        with pytest.raises(ValueError, match=r"a\.nc is damaged"):
            load(path)


def test_files_of_other_tools_load_too(field, tmp_path):
    plain = field.drop_attrs()
    plain.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    xr.testing.assert_identical(load(tmp_path / "a.nc"), plain)
    save(field, tmp_path / "b.nc")
    with xr.open_dataarray(tmp_path / "b.nc", engine="h5netcdf", decode_times=False) as other:
        assert np.array_equal(other.values, field.values)


# What netCDF's conventions, xarray, h5netcdf or HDF5 would act upon, and what no format can name.
CONVENTIONS = {
    **{"scale_factor": 2.0, "add_offset": 1.0, "missing_value": 1.0, "_FillValue": 2.0, "valid_range": (0, 1)},
    **{"dtype": "bool", "_Unsigned": "true", "_Encoding": "ascii", "coordinates": "x q", "grid_mapping": "x"},
    **{"units": "days since 2000-01-01", "calendar": "noleap", "cell_methods": "x: mean", "bounds": "x"},
    **{"CLASS": "DIMENSION_SCALE", "NAME": "x", "DIMENSION_LIST": "x", "REFERENCE_LIST": 3, "DIMENSION_LABELS": "x"},
    **{"_Netcdf4Dimid": 9, "_NCProperties": "x", "_nc3_strict": 1, "_Netcdf4Coordinates": "1"},
    **{storage_fields.ARRAY: "x"},
    **{
        "": 1,
        "a/b": 2,
        ".": 3,
        7: 4,
        (1, None): 5,
        "\ud800": "\ud800",
        "long": "x" * 10**5,
        "bytes": b"\0",
        "complex": 1j,
    },
}
NAMES = [None, "", "x", "array", "coord", "parts", "a/b", "λ", "x y", ".", "_x", "a\nb", 3, ("a", 1), "x" * 300]


def comes_back(array: xr.DataArray, path) -> None:
    """Equal in every value, name, attribute and dtype, and without encoding."""
    save(array, path)
    back = load(path)
    assert back.identical(array) and repr(back.name) == repr(array.name)
    for one, two in ((back, array), *zip(back.coords.values(), array.coords.values(), strict=True)):
        assert one.dtype == two.dtype and repr(one.attrs) == repr(two.attrs) and not one.encoding
        assert one.values.tobytes() == two.values.tobytes() or one.dtype == object


@pytest.mark.parametrize("name", CONVENTIONS, ids=ascii)
def test_no_attribute_changes_a_value(name, tmp_path):
    for coords in ({}, {"x": [0.5, 1.5, 3.0], "q": ("x", [1, 2, 3])}):
        array = xr.DataArray([1.0, 2.0, 3.0], coords, dims="x")
        for part in (array, *array.coords.values()):
            part.attrs = {name: CONVENTIONS[name]}
        comes_back(array, tmp_path / "a.nc")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_comes_back(name, tmp_path):
    comes_back(xr.DataArray([1.0, 2.0], {"coord": 1.0, "array": 2.0}, dims="x", name=name), tmp_path / "a.nc")
    comes_back(xr.DataArray(np.eye(2) * 1j, {"x": ["a", "b"]}, dims=["x", "parts"], name=name), tmp_path / "a.nc")
    if name is not None:
        comes_back(xr.DataArray([1.0, 2.0], dims=[name], name="q"), tmp_path / "a.nc")
    if name not in (None, "x"):
        comes_back(xr.DataArray([1.0], {name: 5.0, "coord": 1}, dims="x"), tmp_path / "a.nc")


def test_encodings_indexes_and_shapes_of_coordinates(tmp_path):
    packed = xr.DataArray([1.25, 2.5, 3.0], {"x": [1.4, 2.6, 3.0]}, dims="x")
    packed.encoding = {"dtype": "int8", "_FillValue": 2, "zlib": True}
    packed["x"].encoding = {"dtype": "int16", "scale_factor": 10.0}
    plane = {"z": (("x", "y"), np.eye(2)), "s": "text", "b": True, "h": ("y", np.array([1, 2], np.float16))}
    for array in (
        packed,
        packed.drop_indexes("x"),
        packed.assign_coords(q=("x", [1, 2, 3])).set_xindex("q"),
        xr.DataArray(np.eye(2)[::-1, ::-1], plane, dims=("x", "y")),
        xr.DataArray([1, 2], {"x": np.array(["a", "b"], dtype=object)}, dims="x"),
    ):
        comes_back(array, tmp_path / "a.nc")


TYPES = ["?", "i1", "u2", ">i4", "u8", "f2", "f4", ">f8", "f8", "c8", ">c16", "g", "S3", "U2", "O"]
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False),
    lambda part: st.lists(part, max_size=2) | st.tuples(part, part) | st.dictionaries(st.text(max_size=2), part),
    max_leaves=4,
)
ATTRS = st.dictionaries(st.sampled_from([*CONVENTIONS]) | st.text(max_size=3), LITERALS | st.floats(), max_size=3)


@st.composite
def arrays(draw):
    sizes = draw(st.dictionaries(st.sampled_from(["x", "y", "array", "λ"]), st.integers(0, 3), max_size=3))

    def part(dims):
        shape, dtype = [sizes[dim] for dim in dims], np.dtype(draw(st.sampled_from(TYPES)))
        if dtype.kind in "UO":
            words = draw(st.lists(WORDS, min_size=math.prod(shape), max_size=math.prod(shape)))
            values = np.array(words, dtype=object).reshape(shape).astype(dtype)
        else:
            noise = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape)
            special = np.where(noise > 1.5, np.nan, np.where(noise < -1.5, -0.0, 40 * noise))
            values = (special if dtype.kind in "fc" else np.abs(40 * noise)).astype(dtype)
        return xr.Variable(dims, values, draw(ATTRS))

    coords = {dim: part([dim]) for dim in sizes if draw(st.booleans())}
    for name in draw(st.lists(st.sampled_from(["array", "q", "a b", "coordinates"]), max_size=2)):
        if name not in sizes:
            coords[name] = part(draw(st.lists(st.sampled_from([*sizes]), unique=True)) if sizes else [])
    return xr.DataArray(part([*sizes]), coords, name=draw(st.none() | st.sampled_from([*sizes, *coords, "q", "a/b"])))


def test_empty_arrays_beside_a_coordinate_in_parts_come_back(tmp_path):
    """Complex numbers are pairs, on a dimension of their own: a way through h5netcdf of its own for nothing."""
    coords = {"x": np.zeros(0, np.complex64), "array": ("x", np.zeros(0, bool))}
    for dtype in (bool, np.float32, complex, "U3", "S2"):
        array = xr.DataArray(np.zeros((0, 0), dtype), dims=("x", "y"), coords=coords)
        comes_back(array, tmp_path / "empty.nc")
        comes_back(array["array"], tmp_path / "empty.nc")


@pytest.mark.filterwarnings("ignore:`pandas.Index` does not support the `float16` dtype")
@settings(max_examples=100, deadline=None)
@given(arrays())
def test_any_array_comes_back_as_it_was(tmp_path_factory, array):
    comes_back(array, tmp_path_factory.getbasetemp() / "any.nc")


def with_coord(values) -> xr.DataArray:
    return xr.DataArray([1, 2, 3], {"q": ("x", values)}, dims="x")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (xr.DataArray([1, 2], {"x": pd.MultiIndex.from_tuples([(1, 2), (3, 4)])}, dims="x"), "PandasMultiIndex at 'x'"),
        (with_coord(np.array([1, "a", None], dtype=object)), "must hold numbers.*got object"),
        (with_coord(pd.Categorical(["a", "b", "a"])), "must hold numbers.*got category"),
        (with_coord(pd.date_range("2000", periods=3)), "no dates or times; got datetime64"),
        (with_coord(["a\0b", "c", "d"]), "text without zero bytes"),
        (with_coord(["\ud800", "c", "d"]), "text that UTF-8 can hold"),
        (xr.DataArray(np.zeros((1,) * 32)), "at most 31 dimensions; got 32"),
        (xr.DataArray([1], dims="x", attrs={"a": [float("nan")]}), "attribute a must be a Python literal; got list"),
        (xr.DataArray([1], dims="x", attrs={len: 1}), "attribute name must be a Python literal; got builtin"),
        (xr.DataArray([1], dims="x", name=len), "name must be a Python literal; got builtin"),
        (
            xr.DataArray([1], {3: ("x", [1])}, dims="x").set_xindex([3]),
            "coordinates with an index must have names of text",
        ),
    ],
    ids=range(11),
)
def test_what_no_file_can_hold_is_refused_by_name(array, words, tmp_path):
    with pytest.raises((TypeError, ValueError), match=f"array.*{words}"):
        save(array, tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_a_small_file_of_large_arrays_is_refused(tmp_path):
    """Packed zeros, or nothing at all: a few kilobytes that would fill the memory."""
    path = tmp_path / "a.nc"
    for options in ({"shape": (10**5, 10**5)}, {"shape": (1,), "maxshape": (None,), "chunks": (2**29,)}):
        with h5py.File(path, "w") as file:
            for name in "abc":
                file.create_dataset(name, dtype="f8", compression="gzip", **options)
        assert path.stat().st_size < 10**4
        with pytest.raises(ValueError, match=r"path must need at most \d+ bytes; got .*a\.nc, which needs \d+ bytes"):
            load(path)


def test_files_larger_than_the_memory_limit_are_not_read(field, tmp_path, monkeypatch):
    save(field, tmp_path / "a.nc")
    save_state({"w": torch.zeros(1000)}, tmp_path / "a.safetensors")
    write_json(list(range(1000)), tmp_path / "a.json")
    monkeypatch.setattr("qrnn_helpers.checks.MEMORY_LIMIT", 1000)
    for read, name in ((load, "a.nc"), (load_state, "a.safetensors"), (read_json, "a.json")):
        with pytest.raises(ValueError, match=f"path must need at most 1000 bytes; got .*{name}"):
            read(tmp_path / name)


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0x55
    return bytes(changed)


def test_missing_file_and_wrong_checksum(field, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.nc"):
        load(tmp_path / "none.nc")
    save(field, tmp_path / "a.nc")
    load(tmp_path / "a.nc", sha256=checksum(tmp_path / "a.nc"))
    with pytest.raises(ValueError, match="expected 00"):
        load(tmp_path / "a.nc", sha256="00")


def test_bad_arguments(field, tmp_path):
    with pytest.raises(TypeError, match="array must be"):
        save(field.values, tmp_path / "a.nc")
    with pytest.raises(TypeError, match="path must be"):
        save(field, 3)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save(field, tmp_path / "nowhere" / "a.nc")
    field.attrs["array"] = np.arange(3)
    with pytest.raises(TypeError, match="attribute array"):
        save(field, tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(field, tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json({"a": 1}, path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_json({"a": 2}, path)
    assert read_json(path) == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_json(tmp_path):
    record = {"loss": [0.1, 1 / 3, float("inf")], "name": "λ", "none": None}
    write_json(record, tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == record
    (tmp_path / "a.json").write_text('{"loss": [0.1,')
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"b\.json"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "1" * 5000, "\xff"])
def test_odd_json_is_refused_by_name(text, tmp_path):
    (tmp_path / "a.json").write_text(text, encoding="latin1")
    with pytest.raises(ValueError, match=r"a\.json is damaged or not JSON"):
        read_json(tmp_path / "a.json")


def test_a_record_is_read_only_as_its_manifest_says(tmp_path):
    path = tmp_path / "a.json"
    write_record({"a": 1}, path)
    assert read_record(path) == {"a": 1}
    write_json({"a": 2}, path)
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        read_record(path)
    write_record([1], path)
    with pytest.raises(ValueError, match=r"a\.json must hold a record, a JSON object; got \[1\]"):
        read_record(path)


def test_manifests_as_other_programs_write_them(tmp_path):
    for name in ("a b.json", " c.json"):
        write_record({}, tmp_path / name)
    manifest = tmp_path / storage_files.MANIFEST
    listed = storage_files.read_manifest(tmp_path)
    text = manifest.read_text()
    for other in (
        text.replace("\n", "\r\n"),
        "\n" + text + " \n",
        text + text,
        text.replace("  ", " *", 1),
        text.strip(),
    ):
        manifest.write_bytes(other.encode())
        assert storage_files.read_manifest(tmp_path) == listed
        verify(tmp_path / "a b.json")
    zeros = "0" * 64
    for wrong, words in (
        ("nonsense\n", "line 3 is 'nonsense'"),
        (zeros + "\n", "line 3 is '000"),
        (f"{zeros}  a b.json\n", "one checksum a file; line 3 is another for a b.json"),
        ("\xff", "damaged.*decode"),
    ):
        manifest.write_bytes(text.encode() + wrong.encode("latin1"))
        with pytest.raises(ValueError, match=f"{storage_files.MANIFEST} .*{words}"):
            verify(tmp_path / "a b.json")
    manifest.write_text(text)
    for name in ("a\nb", "a\\b"):
        with pytest.raises(ValueError, match="path must have a name without backslash or line break"):
            write_record({}, tmp_path / name)


def test_manifest(tmp_path):
    for name in ("b.json", "a.json"):
        write_json({"name": name}, tmp_path / name)
        storage_files.add_to_manifest(tmp_path / name)
    verify(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        verify(tmp_path / "a.json")
    verify(tmp_path / "b.json")
    write_json({}, tmp_path / "c.json")
    with pytest.raises(ValueError, match=r"c\.json is not listed"):
        verify(tmp_path / "c.json")


def test_provenance_can_be_stored():
    facts = provenance()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["code"]["package"] == package_version() != "not installed"
    assert facts["versions"]["numpy"] == np.__version__
    assert set(facts) == {"code", "versions", "machine"}
    assert package_version("no-such-package") == "not installed"


def test_a_checkout_that_is_not_installed_knows_its_version(monkeypatch):
    def absent(name):
        raise origins.PackageNotFoundError(name)

    installed = package_version()
    monkeypatch.setattr(origins, "version", absent)
    assert package_version() == installed and package_version("numpy") == "not installed"


# --- others at work in the folder -----------------------------------------------------------

WRITES = {
    "save": "save(xr.DataArray(np.random.default_rng(1).random(9999)), PATH)",
    "write_json": "write_json(list(range(99999)), PATH)",
    "write_record": "write_record({'a': list(range(99999))}, PATH)",
    "save_state": "save_state({'a': torch.rand(9999)}, PATH)",
    "add_to_manifest": "add_to_manifest(PATH)",
}


def run_apart(lines: list[str], folder) -> subprocess.CompletedProcess:
    """Run lines of Python in a process of their own."""
    imports = ["import os, resource, signal", "import numpy as np, torch, xarray as xr"]
    names = "from qrnn_helpers.storage import add_to_manifest, save, save_state, write_record"
    inner = "from qrnn_helpers.storage.files import write_json"
    program = "\n".join([*imports, names, inner, f"folder = {str(folder)!r}", *lines])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path):
    """A process may write no more than so many bytes to a file: what it meets is what a full disk gives."""
    lines = ["full = []"]
    cases = [(name, 20) for name in WRITES] + [(name, 20_000) for name in WRITES if name != "add_to_manifest"]
    for name, room in cases:
        (tmp_path / name).write_text("old")
        lines += [
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))",
            "try:",
            f"    {WRITES[name].replace('PATH', f'os.path.join(folder, {name!r})')}",
            "except OSError as error:",
            "    full.append(error.errno)",
            "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)",
        ]
    done = run_apart([*lines, "print(full)"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout) == [errno.EFBIG] * len(cases)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(WRITES, "old")


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "a.json"
    write_record({"a": 1}, path)
    kill = "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    assert (
        run_apart([kill, "write_json({'a': 2}, os.path.join(folder, 'a.json'))"], tmp_path).returncode
        == -signal.SIGKILL
    )
    assert len(list(tmp_path.iterdir())) == 3 and read_record(path) == {"a": 1}
    (tmp_path / ".mine.tmp").touch()  # no name of ours
    write_json({}, tmp_path / "b.json")
    assert {each.name for each in tmp_path.iterdir()} == {"a.json", "b.json", storage_files.MANIFEST, ".mine.tmp"}


def at_once(*works) -> None:
    """Run functions in threads of their own; errors go on."""
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


@pytest.mark.parametrize("kind", ["array", "state", "record", "json"])
def test_a_reader_beside_a_writer_meets_whole_files(kind, tmp_path):
    """Every read finds one of the writer's values, never an error; the writer goes on until the reader is done."""
    path, values = tmp_path / "a", [[float(n)] * 2000 for n in range(3)]
    write, read = {
        "array": (lambda v: save(xr.DataArray(v), path), lambda: load(path).values.tolist()),
        "state": (lambda v: save_state({"v": torch.tensor(v)}, path), lambda: load_state(path)["v"].tolist()),
        "record": (lambda v: write_record({"v": v}, path), lambda: read_record(path)["v"]),
        "json": (lambda v: write_json(v, path), lambda: read_json(path)),
    }[kind]
    write(values[0])
    writer = os.fork()
    while not writer:  # until it is killed
        for value in values:
            write(value)
    try:
        for _ in range(300):
            assert read() in values
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)


def test_writers_at_once_lose_no_line_of_a_manifest(tmp_path):
    def writer(first):
        for number in range(first, first + 10):
            write_record({"number": number}, tmp_path / f"{number}.json")

    at_once(*(partial(writer, first) for first in range(0, 40, 10)))
    assert set(storage_files.read_manifest(tmp_path)) == {f"{number}.json" for number in range(40)}
    assert [read_record(tmp_path / f"{number}.json")["number"] for number in range(40)] == list(range(40))


# --- states of training -------------------------------------------------------------------


def same(one: object, two: object) -> bool:
    """Equal in type, structure, order, dtype and every bit."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        raw = [
            part.detach().clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)
            for part in (one, two)
        ]
        return one.dtype == two.dtype and one.shape == two.shape and torch.equal(*raw)
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        pairs = zip(one.items(), two.items(), strict=True)
        return len(one) == len(two) and all(same(a, c) and same(b, d) for (a, b), (c, d) in pairs)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return repr(one) == repr(two)


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex128, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    made = 50 * torch.randn(shape, generator=generator, dtype=torch.complex128)
    dtype = draw(st.sampled_from(DTYPES))
    made = made if dtype.is_complex else made.real
    return made.to(dtype).transpose(0, -1) if made.dim() > 1 else made.to(dtype)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | tensors()
KEYS = st.integers(0, 3) | st.text(st.sampled_from("a/1'_"), max_size=3) | st.just("__metadata__")
STATES = st.recursive(
    PLAIN,
    lambda part: st.lists(part, max_size=3) | st.lists(part, max_size=3).map(tuple) | st.dictionaries(KEYS, part),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(STATES)
def test_any_state_comes_back_as_it_was(tmp_path_factory, state):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_state(state, path)
    assert same(load_state(path), state)


def test_places_that_would_share_a_name_are_kept_apart(tmp_path):
    one, two, three = torch.ones(1), torch.zeros(1), torch.full((1,), 2.0)
    for state in ({1: one, "1": two, "1'": three}, {"a/b": one, "a": {"b": two}}, {"__metadata__": one}, {"": one}):
        save_state(state, tmp_path / "a.safetensors")
        assert same(load_state(tmp_path / "a.safetensors"), state)


def test_tensors_come_back_bare_with_memory_of_their_own(tmp_path):
    path, weight = tmp_path / "a.safetensors", torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    state = OrderedDict(
        weight=weight, tied=weight, view=weight.T, row=weight[0], conjugate=torch.tensor([1 + 2j]).conj()
    )
    save_state(state, path)
    back = load_state(path)
    assert type(back) is dict and list(back) == list(state)
    for name, tensor in state.items():
        assert type(back[name]) is torch.Tensor and not back[name].requires_grad
        assert torch.equal(back[name], tensor.detach())
    back["weight"].fill_(9.0)
    assert torch.equal(back["tied"], weight.detach()) and same(load_state(path)["weight"], weight.detach())


def test_a_state_is_a_plain_safetensors_file_with_named_entries(tmp_path):
    path, state = (
        tmp_path / "a.safetensors",
        {"model": {"encoder.weight": torch.ones(2, 3)}, "optimizer": [torch.zeros(1)]},
    )
    save_state(state, path)
    entries = load_file(path)
    assert set(entries) == {"model/encoder.weight", "optimizer/0"}
    assert torch.equal(entries["model/encoder.weight"], torch.ones(2, 3))
    save_state(state, tmp_path / "b.safetensors")
    assert checksum(path) == checksum(tmp_path / "b.safetensors")


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"model": {"a": object()}}, r"state\['model'\]\['a'\] must be a tensor, number.*got <object.*\(object\)"),
        ([1, (2, np.float64(0.1))], r"state\[1\]\[1\] must be a tensor.*float64"),
        (np.ones(2), "state must be a tensor.*ndarray"),
        ({1j: 1}, "state must have strings and ints as keys; got 1j"),
        ({"a": {True: 1}}, r"state\['a'\] must have strings and ints as keys; got True"),
        ({"a": {1, 2}}, "must be a tensor.*set"),
        (Pair(1, 2), "must be a tensor.*Pair"),
        (1j, "must be a tensor.*complex"),
        (b"a", "must be a tensor.*bytes"),
        (torch.float64, "must be a tensor.*dtype"),
        (torch.eye(2).to_sparse(), "state must be a dense tensor with values; got torch.sparse_coo on cpu"),
        ([torch.empty(2, device="meta")], r"state\[0\] must be a dense tensor with values; got torch.strided on meta"),
        (torch.empty(2, dtype=torch.bits8), "state must hold tensors of dtypes that safetensors knows; got.*bits8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # not every state can be shown
)
def test_what_no_state_can_hold_is_named_by_its_place(state, words, tmp_path):
    with pytest.raises(TypeError, match=words):
        save_state(state, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_damage_to_a_state_is_seen(tmp_path):
    path = tmp_path / "a.safetensors"
    state = {"w": torch.randn(20, generator=torch.Generator().manual_seed(1)), "k": 3, "name": "λ", "rate": 0.1}
    save_state(state, path)
    whole = path.read_bytes()
    spoilt = [flipped(whole, place) for place in range(0, len(whole), 3)]
    for damaged in (b"", b"not a file", whole[: len(whole) // 2], whole[:-1], whole + b"\0", *spoilt):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.safetensors is damaged or no file of save_state"):
            load_state(path)
    save_file({"w": torch.ones(1)}, path)
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged or no file of save_state"):
        load_state(path)
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        load_state(tmp_path / "none.safetensors")
    with pytest.raises(TypeError, match="path must be"):
        save_state(state, 3)


def test_a_failed_write_leaves_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_state({"k": 1}, path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_state({"k": 2}, path)
    assert load_state(path) == {"k": 1} and len(list(tmp_path.iterdir())) == 1


def session(method: str, seed: int) -> tuple[QRNN, torch.optim.Optimizer]:
    """A network with shots and its optimiser, all of whose seeds are made from one."""
    backend, gradient = ShotBackend(30, seed=seed), SPSA(directions=2, seed=seed + 1) if method == "Adam" else None
    model = QRNN(1, 1, rotation_step(1, 1), backend=backend, gradient=gradient, seed=seed + 2)
    if method == "Adam":
        return model, torch.optim.Adam(model.parameters(), lr=0.05, betas=(0.8, 0.99))
    return model, SPSAOptimizer(model.parameters(), lr=0.1, c=0.2, directions=2, seed=seed + 3)


def go_on(model: QRNN, optimizer: torch.optim.Optimizer, updates: int) -> list[bytes]:
    """So many updates; the losses and the weights afterwards, as bytes."""
    x = torch.linspace(-1, 1, 12).view(4, 3, 1)

    def closure():
        optimizer.zero_grad()
        loss = (model(x)[0] - x).square().mean()
        if torch.is_grad_enabled():
            loss.backward()
        return loss

    losses = [optimizer.step(closure).detach() for _ in range(updates)]
    return [part.numpy().tobytes() for part in (*losses, *(weight.detach() for weight in model.parameters()))]


@pytest.mark.parametrize("method", ["Adam", "SPSAOptimizer"])
def test_interrupted_training_ends_as_if_it_had_not_been(method, tmp_path):
    """Saved after four updates, everything made anew from other seeds, loaded: equal bytes six updates later."""
    whole, first, second = session(method, 1), session(method, 1), session(method, 70)
    go_on(*whole, 4)
    go_on(*first, 4)
    parts = {"model": first[0].state_dict(), "optimizer": first[1].state_dict()}
    save_state(parts, tmp_path / "a.safetensors")
    state = load_state(tmp_path / "a.safetensors")
    assert same({name: dict(part) for name, part in parts.items()}, state)
    for part, own in zip(second, state.values(), strict=True):
        part.load_state_dict(own)
    wanted = go_on(*whole, 6)
    assert go_on(*second, 6) == wanted
    assert go_on(*session(method, 70), 6) != wanted
