"""Stored files come back as they were, or not at all."""

import json
import os

import numpy as np
import pytest
import xarray as xr

from qrnn_helpers import data, store
from qrnn_helpers.data import SPLIT, ks22, largest_residual
from qrnn_helpers.ks import ks1d
from qrnn_helpers.provenance import package_version, provenance
from qrnn_helpers.store import checksum, load, read_json, save, verify, write_json

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
    content = len(whole.rpartition(store.SEAL)[0])
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


def test_manifest(tmp_path):
    for name in ("b.json", "a.json"):
        write_json({"name": name}, tmp_path / name)
        store.add_to_manifest(tmp_path / name)
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


# --- the committed data set ---------------------------------------------------------------


def test_ks22_parts_do_not_overlap():
    parts = {name: set(ks22(name)["trajectory"].values.tolist()) for name in SPLIT}
    assert {name: len(part) for name, part in parts.items()} == SPLIT
    assert len(set.union(*parts.values())) == sum(SPLIT.values()) == ks22().sizes["trajectory"]
    with pytest.raises(ValueError, match="split must be one of train, validation, test"):
        ks22("training")


def test_ks22_solves_the_equation():
    """Each stored sample follows from the one before it, on any processor."""
    assert largest_residual(ks22()) < 1e-9


def test_ks22_is_made_by_its_recipe():
    """Chaos forbids equal bytes on another processor: attributes and statistics are compared."""
    fields = ks22()
    made = data.make_ks22()
    assert made.attrs == fields.attrs and made.shape == fields.shape
    assert list(made["split"].values) == list(fields["split"].values)
    energy = [(f.values**2).mean((1, 2)) / 2 for f in (made, fields)]
    error = np.hypot(*(e.std(ddof=1) / np.sqrt(len(e)) for e in energy))
    assert abs(energy[0].mean() - energy[1].mean()) < 4 * error
    assert data.KS22.stat().st_size < 3e6


def test_damaged_ks22_is_refused(tmp_path, monkeypatch):
    for name in ("ks22.nc", "CHECKSUMS.sha256"):
        (tmp_path / name).write_bytes((data.FOLDER / name).read_bytes())
    monkeypatch.setattr(data, "KS22", tmp_path / "ks22.nc")
    ks22("test")
    content = (tmp_path / "ks22.nc").read_bytes()
    (tmp_path / "ks22.nc").write_bytes(flipped(content, len(content) // 2))
    with pytest.raises(ValueError, match=r"ks22\.nc is damaged"):
        ks22()
    (tmp_path / "ks22.nc").unlink()
    with pytest.raises(FileNotFoundError, match=r"ks22\.nc is missing"):
        ks22()
