"""The committed data sets: as made, whole, and solutions of their equations."""

import numpy as np
import pytest

from qrnn_helpers import KS1D, KS2D, ks2d, ks2d22, ks22_long, load
from qrnn_helpers.dynamics import check_dataset, write_dataset
from qrnn_helpers.dynamics import datasets as data

PARTED = {name: known for name, known in data.DATASETS.items() if known.split}


@pytest.mark.parametrize("name", PARTED)
def test_parts_of_a_data_set_do_not_overlap(name):
    split = PARTED[name].split
    parts = {part: set(data.stored(name, part)["trajectory"].values.tolist()) for part in split}
    assert {part: len(numbers) for part, numbers in parts.items()} == split
    assert len(set.union(*parts.values())) == sum(split.values()) == data.stored(name).sizes["trajectory"]
    with pytest.raises(ValueError, match="split must be one of train, validation, test"):
        data.stored(name, "training")


@pytest.mark.parametrize("name", data.DATASETS)
def test_a_data_set_solves_its_equation(name):
    """Each stored sample follows from the one before it, on any processor."""
    assert check_dataset(name) < data.DATASETS[name].tolerance


@pytest.mark.parametrize("name", data.DATASETS)
def test_a_data_set_is_made_by_its_recipe(name):
    """Chaos forbids equal bytes on another processor: attributes and statistics are compared."""
    fields, made = data.stored(name), data.make_dataset(name)
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
    assert data.largest_residual(name, fields) < data.DATASETS[name].tolerance
    assert np.array_equal(fields["time"][::every], snapshots["time"]) and fields.attrs["dt"] == dt
    with pytest.raises(ValueError, match="dt must divide"):
        read("validation", dt=3.0)


def test_24_points_hold_what_36_have():
    fields = ks2d(22.0, 36, dt=1.0, steps=1, transient=200.0).values
    there = data._resampled(data._resampled(fields, (24, 24)), (36, 36))
    np.testing.assert_allclose(there, fields, atol=1e-9)


@pytest.mark.parametrize("name", data.DATASETS)
def test_a_damaged_data_set_is_refused(name, tmp_path, monkeypatch):
    for file in (f"{name}.nc", "CHECKSUMS.sha256"):
        (tmp_path / file).write_bytes((data.FOLDER / file).read_bytes())
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    data.stored(name)
    path = tmp_path / f"{name}.nc"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(ValueError, match=rf"{name}\.nc is damaged"):
        data.stored(name)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}\.nc is missing"):
        data.stored(name)


def test_a_data_set_is_written_and_checked(tmp_path, monkeypatch):
    """What is made anew is listed and reads back; one that does not solve its equation is refused."""
    monkeypatch.setattr(data, "FOLDER", tmp_path / "data")
    write_dataset("lorenz")
    assert check_dataset("lorenz") < 1e-9
    assert load(tmp_path / "data" / "lorenz.nc").attrs == data.stored("lorenz").attrs
    spoilt = data.make_dataset("lorenz")
    spoilt[0, 100] += 0.01
    monkeypatch.setattr(data, "make_dataset", lambda name: spoilt)
    write_dataset("lorenz")
    with pytest.raises(ValueError, match=r"lorenz\.nc must solve its equation to 1.0e-09; got a residual of"):
        check_dataset("lorenz")
