"""Stored files come back as they were, or not at all."""

import json
import os
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from qrnn_helpers import (
    KS1D,
    KS2D,
    QRNN,
    SPSA,
    ShotBackend,
    SPSAOptimizer,
    data,
    ks2d,
    ks2d22,
    ks22_long,
    rotation_step,
    store,
)
from qrnn_helpers.ks import ks1d
from qrnn_helpers.provenance import package_version, provenance
from qrnn_helpers.store import checksum, load, load_state, read_json, save, save_state, verify, write_json

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


# --- the committed data set ---------------------------------------------------------------


PARTED = {name: known for name, known in data.SETS.items() if known.split}


@pytest.mark.parametrize("name", PARTED)
def test_parts_of_a_data_set_do_not_overlap(name):
    split = PARTED[name].split
    parts = {part: set(data.stored(name, part)["trajectory"].values.tolist()) for part in split}
    assert {part: len(numbers) for part, numbers in parts.items()} == split
    assert len(set.union(*parts.values())) == sum(split.values()) == data.stored(name).sizes["trajectory"]
    with pytest.raises(ValueError, match="split must be one of train, validation, test"):
        data.stored(name, "training")


@pytest.mark.parametrize("name", data.SETS)
def test_a_data_set_solves_its_equation(name):
    """Each stored sample follows from the one before it, on any processor."""
    assert data.largest_residual(name, data.stored(name)) < data.SETS[name].tolerance


@pytest.mark.parametrize("name", data.SETS)
def test_a_data_set_is_made_by_its_recipe(name):
    """Chaos forbids equal bytes on another processor: attributes and statistics are compared."""
    fields, made = data.stored(name), data.labelled(name)
    assert made.attrs == fields.attrs
    assert made.shape == fields.shape and made.dtype == fields.dtype
    assert made.coords.keys() == fields.coords.keys()
    pieces = [f.values.reshape(4 if f.sizes["trajectory"] == 1 else len(f), -1) for f in (made, fields)]
    energy = [(piece.astype(float) ** 2).mean(axis=1) / 2 for piece in pieces]
    error = np.hypot(*(e.std(ddof=1) / np.sqrt(len(e)) for e in energy))
    assert abs(energy[0].mean() - energy[1].mean()) < 4 * error
    assert (data.FOLDER / f"{name}.nc").stat().st_size < 3e6


@pytest.mark.parametrize(("read", "flow", "dt"), [(ks22_long, KS1D(22.0, 64), 2.5), (ks2d22, KS2D(22.0, 36), 2.5)])
def test_what_lies_between_snapshots_is_the_solution(read, flow, dt):
    """Snapshots come back as stored; the others follow from the sample before, by the integrator's own steps."""
    name = read.__name__
    snapshots, fields = data.stored(name, "validation"), read("validation", dt=dt)
    every = round(snapshots.attrs["dt"] / dt)
    np.testing.assert_allclose(fields[:, ::every], snapshots, atol=1e-6)
    assert data.largest_residual(name, fields) < data.SETS[name].tolerance
    assert np.array_equal(fields["time"][::every], snapshots["time"]) and fields.attrs["dt"] == dt
    with pytest.raises(ValueError, match="dt must divide"):
        read("validation", dt=3.0)


def test_24_points_hold_what_36_have():
    fields = ks2d(22.0, 36, dt=1.0, steps=1, transient=200.0).values
    there = data._resampled(data._resampled(fields, (24, 24)), (36, 36))
    np.testing.assert_allclose(there, fields, atol=1e-9)


@pytest.mark.parametrize("name", data.SETS)
def test_a_damaged_data_set_is_refused(name, tmp_path, monkeypatch):
    for file in (f"{name}.nc", "CHECKSUMS.sha256"):
        (tmp_path / file).write_bytes((data.FOLDER / file).read_bytes())
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    data.stored(name)
    path = tmp_path / f"{name}.nc"
    content = path.read_bytes()
    path.write_bytes(flipped(content, len(content) // 2))
    with pytest.raises(ValueError, match=rf"{name}\.nc is damaged"):
        data.stored(name)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}\.nc is missing"):
        data.stored(name)
