"""Bad values for arguments: a pool for each topic, every value made afresh by a function of a folder.

Two bad values of three come from the argument's own topic (near misses), the third from any topic.
"""

import collections
import decimal
import fractions
import io
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorSampler
from qiskit.transpiler import PassManager
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import qrnn_helpers as q
from qrnn_helpers import show

NAN, INF = float("nan"), float("inf")


def refuse(*_):
    raise RuntimeError("this object refuses")


class Unprintable:
    __repr__ = __str__ = refuse


class Incomparable:
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = refuse
    __hash__ = None


class Boolless:
    __bool__ = __len__ = __iter__ = __float__ = __index__ = refuse


class LyingPath:
    def __fspath__(self):
        return 3


class ByteShape:
    """Says that it is an array of a shape no machine can hold."""

    shape, dtype, ndim = (10**12, 10**12), np.dtype(float), 2

    def __len__(self):
        return 10**12


def infinite():
    while True:
        yield 0.5


# ---------------------------------------------------------------- circuits


def circuit(memory: int = 1, readout: int = 1, names=("memory", "readout"), *more) -> QuantumCircuit:
    step = QuantumCircuit(QuantumRegister(memory, names[0]), QuantumRegister(readout, names[1]), *more)
    step.rx(Parameter("a"), 0)
    step.crx(Parameter("b"), 0, 1)
    return step


def overlapping() -> QuantumCircuit:
    step = QuantumCircuit(2)
    step.add_register(
        QuantumRegister(bits=step.qubits, name="memory"), QuantumRegister(bits=step.qubits[:1], name="readout")
    )
    return step


def changed(change) -> QuantumCircuit:
    step = circuit()
    change(step)
    return step


def measured(step: QuantumCircuit) -> None:
    step.measure_all()


def branching(step: QuantumCircuit) -> None:
    with step.for_loop(range(3)):
        step.x(0)


# ---------------------------------------------------------------- data sets and models


class Items(Dataset):
    """A data set of given items, with a length that may be a lie."""

    def __init__(self, items, length=None):
        self.items, self.length = items, len(items) if length is None else length

    def __len__(self):
        return refuse() if self.length == "refuse" else self.length

    def __getitem__(self, i):
        return self.items[i]


class Stream(IterableDataset):
    def __iter__(self):
        return infinite()


def series(windows=4, time=3, features=2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(windows + 10 * time + 100 * features)
    return torch.randn((windows, time, features), generator=generator, dtype=torch.float64)


def pair(x=(4, 3, 2), y=(4, 3, 1)) -> tuple[torch.Tensor, torch.Tensor]:
    return series(*x), series(*y)


class Answers(nn.Module):
    """A model with one weight whose answer is made by a function of x and the weight."""

    def __init__(self, answer):
        super().__init__()
        self.weight, self.answer = nn.Parameter(torch.ones((), dtype=torch.float64)), answer

    def forward(self, x, state=None):
        return self.answer(x, self.weight)


def odd_layer() -> Answers:
    model = Answers(lambda x, weight: (x[..., :1] * weight, None))
    model.layer = nn.Linear(1, 1)
    return model


def qrnn(inputs=2, outputs=1, **options) -> q.QRNN:
    return q.QRNN(inputs, outputs, q.rotation_step(1, 1), **{"dtype": torch.float64, "seed": 1, **options})


def field(trajectories=2, times=12, points=8, value=None, dims=("trajectory", "time", "x")) -> xr.DataArray:
    values = np.random.default_rng(1).standard_normal((trajectories, times, points))
    return xr.DataArray(values if value is None else np.full_like(values, value), dims=dims)


def endless() -> xr.DataArray:
    """Eight terabytes and more by its shape, eight bytes by its content."""
    return xr.DataArray(np.broadcast_to(0.5, (2, 10**6, 10**6)), dims=("trajectory", "time", "x"))


def file(folder: Path, content: bytes) -> Path:
    path = folder / "file.nc"
    path.write_bytes(content)
    return path


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3)).save(buffer, format="PNG")
    return buffer.getvalue()


PNG = png()

# ---------------------------------------------------------------- the pools


def fixed(*values) -> dict:
    return {repr(value): lambda _, value=value: value for value in values}


TOPICS: dict[str, dict] = {
    "number": fixed(0, -1, 1, 2, 3, 7, 40, 2**31, 2**63, 10**12, -(10**12), 10**30, -(10**30), 0.0, -0.0, 0.25, 0.5)
    | fixed(1.0, 2.0, -1.5, NAN, INF, -INF, 1e300, -1e300, 1e-320, 1e-9, 1j, complex(NAN, 1), 2**62)
    | fixed(np.int64(2), np.uint8(3), np.int64(-1), np.float32(0.5), np.float64(NAN), np.complex64(1), np.bool_(True))
    | fixed(fractions.Fraction(1, 2), decimal.Decimal("0.5"), np.float64(1e300), np.datetime64("2020-01-01"))
    | {
        "10**5000": lambda _: 10**5000,
        "-10**5000": lambda _: -(10**5000),
        "1/10**400": lambda _: fractions.Fraction(1, 10**400),
    },
    "odd": fixed(None, True, False, "", "junk", "3", "nan", "x" * 3, b"junk", b"", (), Ellipsis, NotImplemented, (1, 2))
    | {
        "[]": lambda _: [],
        "{}": lambda _: {},
        "set()": lambda _: set(),
        "[1, 2]": lambda _: [1, 2],
        "[None]": lambda _: [None],
        "{'a': 1}": lambda _: {"a": 1},
        "a million letters": lambda _: "x" * 10**6,
        "bytearray": lambda _: bytearray(b"abc"),
        "object()": lambda _: object(),
        "an object whose repr raises": lambda _: Unprintable(),
        "an object whose == raises": lambda _: Incomparable(),
        "an object whose bool and len raise": lambda _: Boolless(),
        "an object that lies about its shape": lambda _: ByteShape(),
        "an empty generator": lambda _: (x for x in ()),
        "an endless generator": lambda _: infinite(),
        "range(10**12)": lambda _: range(10**12),
        "a list within itself": lambda _: (nested := [], nested.append(nested))[0],
        "a module": lambda _: np,
        "type": lambda _: type,
        "a deque": lambda _: collections.deque([1]),
        "a Series": lambda _: pd.Series([1.0, 2.0]),
        "a DataFrame": lambda _: pd.DataFrame({"a": [1.0]}),
    },
    "text": fixed("", " ", "train", "validation", "test", "Train", "\0", "\udc80", "ü", "a/b", np.str_("train"), b"a"),
    "bool": fixed(0, 1, "True", np.bool_(False), 0.0, True, False),
    "array": {
        "float": lambda _: np.ones(3),
        "no dimension": lambda _: np.array(1.0),
        "empty": lambda _: np.empty((0, 3)),
        "of ints": lambda _: np.arange(6).reshape(2, 3),
        "of bools": lambda _: np.ones((2, 3), bool),
        "of objects": lambda _: np.array([None, "a", object()]),
        "of text": lambda _: np.array(["1", "2"]),
        "complex": lambda _: np.ones(3, complex),
        "NaN": lambda _: np.full((2, 8), NAN),
        "inf": lambda _: np.full((2, 8), INF),
        "1e300": lambda _: np.array([[1e300, -1e300]] * 2),
        "1e-320": lambda _: np.array([1e-320, 0.0, 3e-320]),
        "structured": lambda _: np.zeros(2, [("a", float), ("b", int)]),
        "dates": lambda _: np.array(["2020-01-01"], "datetime64[D]"),
        "masked": lambda _: np.ma.masked_invalid([1.0, NAN]),
        "ragged": lambda _: [[1.0, 2.0], [3.0]],
        "nested list": lambda _: [[1.0, 2.0], [3.0, 5.0]],
        "list of text": lambda _: ["1", "2"],
        "five dimensions": lambda _: np.ones((1, 2, 1, 2, 1)),
        "a view of eight terabytes": lambda _: np.broadcast_to(0.5, (10**6, 10**6)),
        "a history": lambda _: np.ones((2, 8)),
        "a history of other points": lambda _: np.ones((2, 3)),
        "a history without points": lambda _: np.ones((2, 0)),
        "a history of text": lambda _: np.full((2, 8), "1"),
        "a history of 1e300": lambda _: np.full((2, 8), 1e300),
        "starts": lambda _: np.ones((2, 16)),
        "starts of a square": lambda _: np.sin(np.arange(256.0)).reshape(1, 16, 16),
        "starts of 1e300": lambda _: np.full((1, 16), 1e300) * np.sin(np.arange(16)),
    },
    "field": {
        "NaN": lambda _: field(value=NAN),
        "zero": lambda _: field(value=0.0),
        "1e300": lambda _: field(value=1e300),
        "large and growing": lambda _: field() * 1e300,
        "tiny": lambda _: field() * 1e-320,
        "constant": lambda _: field(value=3.0),
        "integers": lambda _: field().astype(int),
        "complex": lambda _: field() * 1j,
        "objects": lambda _: field().astype(object),
        "texts": lambda _: field().astype(str),
        "other dims": lambda _: field(dims=("time", "trajectory", "x")),
        "two dims": lambda _: field()[0],
        "no trajectories": lambda _: field(0),
        "one time": lambda _: field(times=1),
        "few points": lambda _: field(points=2),
        "a Dataset": lambda _: field().to_dataset(name="u"),
        "eight terabytes": lambda _: endless(),
        "its values": lambda _: field().values,
        "good": lambda _: field(),
        "attrs": lambda _: field().assign_attrs(bad=object()),
        "attrs within themselves": lambda _: field().assign_attrs(bad=(a := [], a.append(a))[0]),
        "unprintable attrs": lambda _: field().assign_attrs(bad=Unprintable()),
        "odd attr name": lambda _: field().assign_attrs({3: 1}),
        "odd name": lambda _: field().rename(("a", 1)),
        "name with slash": lambda _: field().rename("a/b"),
        "complex numbers": lambda _: xr.DataArray(np.ones(2, complex)),
        "dates": lambda _: xr.DataArray(np.array(["2020-01-01"], "datetime64[ns]"), dims="t"),
        "object entries": lambda _: xr.DataArray(np.array([None, {}, 1], object)),
        "multi-index": lambda _: field().assign_coords(time=range(12), x=range(8)).stack(c=("time", "x")),
    },
    "tensor": {
        "no dimension": lambda _: torch.tensor(1.0),
        "empty": lambda _: torch.empty(0, 3, 13),
        "good angles": lambda _: 0.3 * torch.ones(2, 3, 13),
        "half": lambda _: torch.ones(2, 3, 13, dtype=torch.float16),
        "bfloat16": lambda _: torch.ones(2, 3, 13, dtype=torch.bfloat16),
        "1e300": lambda _: torch.full((2, 3, 13), 1e300, dtype=torch.float64),
        "1e30": lambda _: torch.full((2, 3, 13), 1e30),
        "1e-320": lambda _: torch.full((2, 3, 13), 1e-320, dtype=torch.float64),
        "NaN": lambda _: torch.full((2, 3, 13), NAN),
        "inf": lambda _: torch.full((2, 3, 13), -INF),
        "of ints": lambda _: torch.ones(2, 3, 13, dtype=torch.int64),
        "of bools": lambda _: torch.ones(2, 3, 13, dtype=torch.bool),
        "complex": lambda _: torch.ones(2, 3, 13, dtype=torch.complex64),
        "other last size": lambda _: torch.ones(2, 3, 12),
        "two dimensions": lambda _: torch.ones(3, 13),
        "four dimensions": lambda _: torch.ones(1, 2, 3, 13),
        "no memory behind": lambda _: torch.empty(2, 3, 13, device="meta"),
        "sparse": lambda _: torch.ones(2, 3, 13).to_sparse(),
        "too large": lambda _: torch.tensor(0.3).expand(10**6, 10**6, 13),
        "long": lambda _: torch.tensor(0.3).expand(1, 10**9, 13),
        "wide": lambda _: torch.tensor(0.3, dtype=torch.float64).expand(2, 3, 10**12),
        "good input": lambda _: series(2, 3, 2),
        "input float": lambda _: series(2, 3, 2).float(),
        "input NaN": lambda _: series(2, 3, 2) * NAN,
        "input 1e300": lambda _: series(2, 3, 2) * 1e300,
        "input too large": lambda _: torch.tensor(0.3, dtype=torch.float64).expand(10**6, 10**6, 2),
        "state": lambda _: torch.eye(2, dtype=torch.complex128).expand(2, 2, 2) / 2,
        "state of trace 2": lambda _: torch.eye(2, dtype=torch.complex128).expand(2, 2, 2),
        "state 0": lambda _: torch.zeros(2, 2, 2, dtype=torch.complex128),
        "state not Hermitian": lambda _: torch.ones(2, 2, 2, dtype=torch.complex128).triu(),
        "state negative": lambda _: torch.diag(torch.tensor([2.0, -1.0])).to(torch.complex128).expand(2, 2, 2),
        "state NaN": lambda _: torch.full((2, 2, 2), NAN, dtype=torch.complex128),
        "state of one": lambda _: torch.eye(2, dtype=torch.complex128)[None] / 2,
        "state 1e300": lambda _: torch.eye(2, dtype=torch.complex128).expand(2, 2, 2) * 1e300,
        "a parameter": lambda _: nn.Parameter(torch.ones(2, 3, 13)),
    },
    "circuit": {
        "no registers": lambda _: QuantumCircuit(2),
        "empty": lambda _: QuantumCircuit(),
        "good": lambda _: circuit(),
        "good, wide": lambda _: circuit(2, 1),
        "other names": lambda _: circuit(names=("memory", "output")),
        "a third register": lambda _: circuit(1, 1, ("memory", "readout"), QuantumRegister(1, "more")),
        "classical bits": lambda _: circuit(1, 1, ("memory", "readout"), ClassicalRegister(1, "c")),
        "empty readout": lambda _: QuantumCircuit(QuantumRegister(2, "memory"), QuantumRegister(0, "readout")),
        "overlapping": lambda _: overlapping(),
        "measured": lambda _: changed(measured),
        "reset": lambda _: changed(lambda s: s.reset(0)),
        "branching": lambda _: changed(branching),
        "initialised": lambda _: changed(lambda s: s.initialize([1, 0], 0)),
        "not linear": lambda _: changed(lambda s: s.rx(Parameter("c").sin(), 0)),
        "product": lambda _: changed(lambda s: s.rx(Parameter("c") * Parameter("d"), 0)),
        "NaN angle": lambda _: changed(lambda s: s.rx(NAN, 0)),
        "infinite angle": lambda _: changed(lambda s: s.rx(INF, 0)),
        "huge factor": lambda _: changed(lambda s: s.rx(1e300 * Parameter("c") + 1e300, 0)),
        "no parameters": lambda _: q.rotation_step(1, 1).assign_parameters([0.1] * 13),
        "parameters without a gate": lambda _: QuantumCircuit(*circuit().qregs),
        "complex factor": lambda _: changed(lambda s: s.rx(1j * Parameter("c"), 0)),
        "global phase": lambda _: changed(lambda s: setattr(s, "global_phase", Parameter("g"))),
        "24 qubits": lambda _: circuit(12, 12),
        "40 qubits": lambda _: circuit(39, 1),
        "800 qubits": lambda _: circuit(400, 400),
        "60 readout qubits": lambda _: circuit(1, 60),
        "the class": lambda _: QuantumCircuit,
        "a gate": lambda _: circuit().to_gate(),
        "its function": lambda _: q.rotation_step,
    },
    "model": {
        "good": lambda _: qrnn(),
        "the class": lambda _: q.QRNN,
        "a layer": lambda _: q.QuantumRecurrentLayer(q.rotation_step(1, 1)),
        "other inputs": lambda _: qrnn(3),
        "other outputs": lambda _: qrnn(2, 2),
        "float32": lambda _: qrnn(dtype=torch.float32),
        "Linear": lambda _: nn.Linear(2, 1, dtype=torch.float64),
        "Module": lambda _: nn.Module(),
        "without weights": lambda _: nn.Identity(),
        "answers None": lambda _: Answers(lambda x, w: None),
        "answers numbers": lambda _: Answers(lambda x, w: (3, None)),
        "answers a tensor alone": lambda _: Answers(lambda x, w: x[..., :1] * w),
        "answers NaN": lambda _: Answers(lambda x, w: (x[..., :1] * w * NAN, None)),
        "answers another shape": lambda _: Answers(lambda x, w: (x * w, None)),
        "answers fewer windows": lambda _: Answers(lambda x, w: (x[:1, :, :1] * w, None)),
        "does not use its weight": lambda _: Answers(lambda x, w: (x[..., :1], None)),
        "raises": lambda _: Answers(lambda x, w: refuse()),
        "frozen": lambda _: qrnn().requires_grad_(False),
        "with a layer of another kind": lambda _: odd_layer(),
        "with NaN weights": lambda _: (m := qrnn(), [nn.init.constant_(p, NAN) for p in m.parameters()])[0],
        "on a device without memory": lambda _: nn.Linear(2, 1, device="meta"),
    },
    "data": {
        "one tensor": lambda _: series(),
        "one part": lambda _: (series(),),
        "three parts": lambda _: (*pair(), series()),
        "no parts": lambda _: (),
        "good": lambda _: pair(),
        "a list": lambda _: list(pair()),
        "arrays": lambda _: tuple(part.numpy() for part in pair()),
        "floats": lambda _: tuple(part.float() for part in pair()),
        "ints": lambda _: tuple(part.long() for part in pair()),
        "NaN": lambda _: (series() * NAN, series(features=1)),
        "NaN targets": lambda _: (series(), series(features=1) * NAN),
        "constant targets": lambda _: (series(), torch.ones(4, 3, 1).double()),
        "1e300": lambda _: (series(), series(features=1) * 1e300),
        "other windows": lambda _: pair((4, 3, 2), (3, 3, 1)),
        "other times": lambda _: pair((4, 3, 2), (4, 2, 1)),
        "shorter": lambda _: pair((4, 2, 2), (4, 2, 1)),
        "other features": lambda _: pair((4, 3, 5), (4, 3, 1)),
        "two targets": lambda _: pair((4, 3, 2), (4, 3, 2)),
        "no windows": lambda _: pair((0, 3, 2), (0, 3, 1)),
        "too large": lambda _: tuple(torch.tensor(0.5).double().expand(10**6, 10**6, f) for f in (2, 1)),
        "a TensorDataset": lambda _: TensorDataset(*pair()),
        "a TensorDataset of one": lambda _: TensorDataset(series()),
        "a pair of None": lambda _: (None, None),
        "a stream": lambda _: Stream(),
        "no items": lambda _: Items([]),
        "items of text": lambda _: Items(["a", "b"]),
        "ragged items": lambda _: Items([(series()[0], series()[0]), (series(time=2)[0], series()[0])]),
        "items of objects": lambda _: Items([(object(), object())] * 4),
        "an endless length": lambda _: Items([1], 10**12),
        "a negative length": lambda _: Items([1], -1),
        "a length that raises": lambda _: Items([1], "refuse"),
        "more items promised": lambda _: Items([(series()[0], series()[0])], 9),
        "a bare Dataset": lambda _: Dataset(),
        "a DataLoader": lambda _: torch.utils.data.DataLoader(TensorDataset(*pair())),
        "a dict": lambda _: {"x": series(), "y": series()},
    },
    "optimizer": {
        "the class": lambda _: torch.optim.Adam,
        "of other weights": lambda _: torch.optim.Adam(nn.Linear(1, 1).parameters()),
        "of some weights": lambda _: torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1),
        "a schedule": lambda _: torch.optim.lr_scheduler.StepLR(torch.optim.SGD(nn.Linear(1, 1).parameters()), 1),
        "its name": lambda _: "adam",
        "a ledger": lambda _: q.CostLedger(),
    },
    "object": {
        "a Budget": lambda _: q.Budget(steps=2),
        "a Budget of circuits": lambda _: q.Budget(circuits=100),
        "a Budget of few circuits": lambda _: q.Budget(circuits=1),
        "a Budget of shots": lambda _: q.Budget(shots=100),
        "Budget": lambda _: q.Budget,
        "an exact backend": lambda _: q.ExactBackend(),
        "shots": lambda _: q.ShotBackend(5, seed=1),
        "10**12 shots": lambda _: q.ShotBackend(10**12, seed=1),
        "ExactBackend": lambda _: q.ExactBackend,
        "Autograd": lambda _: q.Autograd,
        "autograd": lambda _: q.Autograd(),
        "shifts": lambda _: q.ParameterShift(),
        "directions": lambda _: q.SPSA(seed=1),
        "10**12 directions": lambda _: q.SPSA(directions=10**12),
        "a ledger": lambda _: q.CostLedger(),
        "a sampler": lambda _: StatevectorSampler(),
        "StatevectorSampler": lambda _: StatevectorSampler,
        "a pass manager": lambda _: PassManager(),
        "torch.float32": lambda _: torch.float32,
        "torch.float64": lambda _: torch.float64,
        "torch.float16": lambda _: torch.float16,
        "torch.int64": lambda _: torch.int64,
        "torch.complex64": lambda _: torch.complex64,
        "torch.complex128": lambda _: torch.complex128,
        "np.float64": lambda _: np.float64,
        "np.dtype": lambda _: np.dtype(float),
        "a torch generator": lambda _: torch.Generator().manual_seed(1),
        "a numpy generator": lambda _: np.random.default_rng(1),
        "a seed sequence": lambda _: np.random.SeedSequence(1),
        "random.Random": lambda _: random.Random(1),
    },
    "function": {
        "len": lambda _: len,
        "print": lambda _: lambda *_: None,
        "identity": lambda _: lambda *a: a[0],
        "raises": lambda _: refuse,
        "takes nothing": lambda _: lambda: 1.0,
        "last increment": lambda _: lambda x: x[:, -1, 0],
        "answers None": lambda _: lambda x: None,
        "answers a number": lambda _: lambda x: 0.5,
        "answers an array": lambda _: lambda x: x[:, -1, 0].numpy(),
        "answers a list": lambda _: lambda x: [0.0] * len(x),
        "answers NaN": lambda _: lambda x: x[:, -1, 0] * NAN,
        "answers 1e308": lambda _: lambda x: torch.full((len(x),), 1e308, dtype=torch.float64),
        "answers one": lambda _: lambda x: x[:1, -1, 0],
        "answers windows": lambda _: lambda x: x,
        "answers ints": lambda _: lambda x: torch.ones(len(x), dtype=torch.int64),
        "answers text": lambda _: lambda *_: "0.5",
        "a class": lambda _: object,
        "a GRU": lambda _: q.GRU(3, 1, 2, dtype=torch.float64, seed=1),
        "a torch function": lambda _: torch.sin,
    },
    "picture": {
        "no bytes": lambda _: b"",
        "only a PNG's start": lambda _: show.PNG_START,
        "a damaged PNG": lambda _: PNG[:40] + b"x" * 20,
        "half a PNG": lambda _: PNG[: len(PNG) // 2],
        "a GIF": lambda _: b"GIF89a" + bytes(20),
        "a PNG": lambda _: PNG,
        "a list of PNGs": lambda _: [PNG, PNG],
        "a list of text": lambda _: ["a", "b"],
        "no list": lambda _: [],
        "a Figure": lambda _: Figure(),
        "the class": lambda _: Figure,
        "text": lambda _: "{label}",
        "blank": lambda _: [" ", " "],
        "an axis": lambda _: Figure().subplots(),
    },
    "path": {
        "a folder": lambda folder: folder,
        "a folder's text": lambda folder: str(folder),
        "a file in no folder": lambda folder: folder / "none" / "a.nc",
        "no file": lambda folder: folder / "none.nc",
        "a file as a folder": lambda folder: file(folder, b"x") / "a.nc",
        "an empty file": lambda folder: file(folder, b""),
        "a text file": lambda folder: file(folder, b"text"),
        "almost HDF5": lambda folder: file(folder, b"\x89HDF\r\n\x1a\n" + b"\0" * 64),
        "almost a pickle": lambda folder: file(folder, b"\x80\x02cposix\nsystem\n."),
        "almost a zip": lambda folder: file(folder, b"PK\x03\x04" + b"\0" * 64),
        "empty text": lambda _: "",
        "a dot": lambda _: ".",
        "a zero byte": lambda folder: f"{folder}/a\0b.nc",
        "a lone surrogate": lambda folder: f"{folder}/\ud800.nc",
        "a name too long": lambda folder: folder / ("a" * 5000),
        "a pipe": lambda folder: (p := folder / "pipe", os.mkfifo(p))[0],
        "bytes": lambda folder: bytes(folder / "a.nc"),
        "a lying path": lambda _: LyingPath(),
        "an open file": lambda folder: open(file(folder, b"x"), "rb"),  # noqa: SIM115
        "the class": lambda _: Path,
    },
}  # fmt: skip

EVERYTHING = {(topic, label): make for topic, pool in TOPICS.items() for label, make in pool.items()}


def draw(rng: random.Random, topic: str) -> tuple[tuple[str, str], object]:
    """A bad value's name and how to make it: from its own topic, or from any."""
    if rng.random() < 2 / 3:
        label = rng.choice(list(TOPICS[topic]))
        return (topic, label), TOPICS[topic][label]
    return rng.choice(list(EVERYTHING.items()))
