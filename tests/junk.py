"""Bad values for arguments: a pool for each topic, every value made afresh by a function of a folder.

Two bad values of three come from the argument's own topic (near misses), the third from any topic.
"""

import collections
import datetime
import decimal
import enum
import fractions
import io
import os
import random
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse
import sympy
import torch
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image
from qiskit import AncillaRegister, ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import AnnotatedOperation, Gate, InverseModifier, Parameter, PowerModifier
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import PauliEvolutionGate, PermutationGate, RXGate, UnitaryGate, XGate
from qiskit.primitives import StatevectorSampler
from qiskit.quantum_info import Clifford, SparsePauliOp
from qiskit.transpiler import PassManager
from qiskit_aer.primitives import SamplerV2
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import qrnn_helpers as q
from qrnn_helpers.show import frame_player as show

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


class Indexed:
    """Has an __index__, and is none of the numbers."""

    def __index__(self):
        return 2


class LyingArray:
    """Promises an array, and gives something else."""

    def __init__(self, given):
        self.given = given

    def __array__(self, dtype=None, copy=None):
        return refuse() if self.given is None else self.given


class Level(enum.IntEnum):
    TWO = 2


class OddTensor(torch.Tensor):
    """A tensor that refuses every function of torch."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return refuse()


class OddBackend(q.Backend):
    """A reader's own backend whose answer is made by a function of batch, time and outcomes."""

    shots, answer = 0, None

    def __init__(self, answer):
        self.answer = answer

    def run(self, program, gate_angles, state=None):
        return self.answer(*gate_angles.shape[:2], 2**program.readout)


class OddEstimator(q.GradientEstimator):
    """A reader's own estimator whose slopes are made by a function of the angles."""

    def __init__(self, answer, count=1):
        self.answer, self.count = answer, count

    def circuits(self, program, time_steps):
        return self.count

    def estimate(self, executor, angles, weights):
        return self.answer(angles)


def deep(levels: int) -> list:
    nested = [1.0]
    for _ in range(levels):
        nested = [nested]
    return nested


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


def conditional(step: QuantumCircuit) -> None:
    with step.if_test(step.add_input("flag", types.Bool())):
        step.x(0)


def boxed(step: QuantumCircuit) -> None:
    with step.box():
        step.x(0)


def wrapped(angle) -> Gate:
    """A gate of a gate of a gate."""
    gate = RXGate(angle)
    for level in range(3):
        inside = QuantumCircuit(1, name=f"level {level}")
        inside.append(gate, [0])
        gate = inside.to_gate()
    return gate


def itself() -> Gate:
    """A gate that is defined by itself."""
    gate, inside = Gate("itself", 1, []), QuantumCircuit(1)
    gate.definition = inside
    inside.append(gate, [0])
    return gate


def swapped() -> QuantumCircuit:
    """The registers in the other order."""
    step = QuantumCircuit(QuantumRegister(1, "readout"), QuantumRegister(1, "memory"))
    step.rx(Parameter("a"), 0)
    step.crx(Parameter("b"), 0, 1)
    return step


def ancillas() -> QuantumCircuit:
    step = QuantumCircuit(AncillaRegister(1, "memory"), QuantumRegister(1, "readout"))
    step.crx(Parameter("b"), 0, 1)
    return step


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


def odd_state() -> dict[str, torch.Tensor]:
    whole = torch.arange(6.0).reshape(2, 3)
    return {
        "negated": torch._neg_view(whole), "conjugated": (whole * 1j).conj(), "transposed": whole.T,
        "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3), "bfloat16": whole.bfloat16(),
        "float8": whole.to(torch.float8_e4m3fn), "one for all": torch.ones(1).expand(3), "weight": nn.Parameter(whole),
    }  # fmt: skip


def lazily(folder: Path) -> xr.DataArray:
    """A field whose values are still in a file."""
    q.save(field(), folder / "lazy.nc")
    return xr.open_dataarray(folder / "lazy.nc", engine="h5netcdf")


def endless() -> xr.DataArray:
    """Eight terabytes and more by its shape, eight bytes by its content."""
    return xr.DataArray(np.broadcast_to(0.5, (2, 10**6, 10**6)), dims=("trajectory", "time", "x"))


def file(folder: Path, content: bytes) -> Path:
    path = folder / "file.nc"
    path.write_bytes(content)
    return path


def hdf5(folder: Path, write) -> Path:
    with h5py.File(folder / "file.nc", "w") as opened:
        write(opened)
    return folder / "file.nc"


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
    | fixed(np.float16(0.5), np.longdouble(2), np.longdouble("1e4000"), np.int8(-128), np.uint64(2**63), Level.TWO)
    | fixed(sympy.Integer(2), sympy.Rational(1, 2), sympy.pi, sympy.oo, sympy.nan, sympy.Float(0.5), sympy.Symbol("x"))
    | fixed(2**53 + 1, 1.7976931348623157e308, 5e-324, datetime.timedelta(1), Parameter("p"), 1 + 1e-12, 0.1 + 0.2)
    | {
        "array without a dimension": lambda _: np.array(2),
        "tensor without a dimension": lambda _: torch.tensor(0.5),
        "one-element array": lambda _: np.array([2]),
        "a tensor with a gradient": lambda _: torch.tensor(0.5, requires_grad=True),
        "an index": lambda _: Indexed(),
        "a Parameter of torch": lambda _: nn.Parameter(torch.ones(1)),
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
        "ten thousand lists in lists": lambda _: deep(10_000),
        "sixty lists in lists": lambda _: deep(60),
        "an array that refuses": lambda _: LyingArray(None),
        "an array that is text": lambda _: LyingArray("text"),
        "an array of text": lambda _: LyingArray(np.array(["a"])),
        "an array of ones": lambda _: LyingArray(np.ones((2, 8))),
        "a state of odd tensors": lambda _: odd_state(),
        "a state of views": lambda _: {"a": (w := torch.ones(4)), "b": w[::2], "c": w},
        "a state with an object": lambda _: {"a": torch.ones(2), "b": object()},
        "a state with an array": lambda _: {"a": np.ones(2)},
        "a state within itself": lambda _: (own := {}, own.update(a=own))[0],
        "a state on no device": lambda _: {"a": torch.ones(2, device="meta")},
        "a state with odd names": lambda _: {"": torch.ones(1), "a.b": torch.ones(2), "\0": 1, ("a", 1): 2},
        "a frozen set": lambda _: frozenset([1, 2]),
        "a memory view": lambda _: memoryview(b"abcdefgh"),
        "a mapping's keys": lambda _: {"a": 1}.keys(),
        "an exception": lambda _: ValueError("x" * 2000),
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
        "float16": lambda _: np.ones((2, 8), np.float16) * np.arange(8),
        "long double": lambda _: np.ones((2, 8), np.longdouble) * np.arange(8),
        "long double of 1e4000": lambda _: np.full((2, 8), np.longdouble("1e4000")),
        "of large ints": lambda _: np.array([[10**400, 1], [2, 3]], object),
        "of large unsigned ints": lambda _: np.full((2, 8), 2**64 - 1, np.uint64),
        "timedeltas": lambda _: np.ones((2, 8), "timedelta64[s]"),
        "void": lambda _: np.zeros((2, 8), "V8"),
        "matrix": lambda _: np.asmatrix(np.arange(16.0).reshape(2, 8)),
        "sparse": lambda _: scipy.sparse.eye_array(8),
        "all masked": lambda _: np.ma.masked_all((2, 8)),
        "list of tensors": lambda _: [torch.ones(8), torch.zeros(8)],
        "list of tensors with gradients": lambda _: [torch.ones(8, requires_grad=True)] * 2,
        "list of None": lambda _: [None, 1.0],
        "list of DataArrays": lambda _: [field()[0], field()[1]],
        "list of large ints": lambda _: [[10**400, 1], [2, 3]],
        "64 dimensions": lambda _: np.ones((1,) * 64),
        "texts in a DataFrame": lambda _: pd.DataFrame({"a": ["x", "y"], "b": [1.0, 2.0]}),
        "a Series with gaps": lambda _: pd.Series([1, None, 3], dtype="Int64"),
        "a Series of categories": lambda _: pd.Series(["a", "b"], dtype="category"),
        "a table of other types": lambda _: pd.DataFrame({"vpt": ["1"], "censored": [None], "blown_up": ["no"]}),
        "a table with a column twice": lambda _: pd.DataFrame(
            np.ones((2, 4)), columns=["vpt", "vpt", "censored", "blown_up"]
        ),
        "a table of NaN": lambda _: pd.DataFrame(np.full((2, 3), NAN), columns=["vpt", "censored", "blown_up"]),
        "a table of 1e308": lambda _: pd.DataFrame(np.full((9, 3), 1e308), columns=["vpt", "censored", "blown_up"]),
        "a table of nothing": lambda _: pd.DataFrame(columns=["vpt", "censored", "blown_up"]),
        "an index of names": lambda _: pd.DataFrame({0: [1.0], "0": [2.0]}),
        "a Dataset": lambda _: xr.Dataset({"exponents": ("k", [0.9, 0.0, -14.0])}),
        "a Dataset of text": lambda _: xr.Dataset({"exponents": ("k", ["a"])}),
        "a Variable": lambda _: xr.Variable("x", np.ones(8)),
        "a memory map": lambda folder: np.memmap(folder / "map", float, "w+", shape=(2, 8)),
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
        "float16": lambda _: field().astype(np.float16),
        "float32": lambda _: field().astype(np.float32),
        "bools": lambda _: field() > 0,
        "unsigned": lambda _: (field() * 100).astype(np.uint8),
        "long double of 1e4000": lambda _: field().astype(np.longdouble) * np.longdouble("1e4000"),
        "unequal points": lambda _: field(points=12),
        "two space dimensions": lambda _: field().expand_dims("y", axis=2),
        "dates for times": lambda _: field().assign_coords(time=pd.date_range("2020", periods=12)),
        "times twice": lambda _: field().assign_coords(time=[0.0] * 12),
        "coordinates of objects": lambda _: field().assign_coords(time=[object()] * 12),
        "read lazily": lambda folder: lazily(folder),
        "read from a closed file": lambda folder: (lazy := lazily(folder), lazy.close())[0],
        "one value NaN": lambda _: field().where(field() != field()[0, 0, 0]),
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
        "sparse rows": lambda _: torch.ones(3, 13).to_sparse_csr(),
        "quantized": lambda _: torch.quantize_per_tensor(torch.ones(2, 3, 13), 0.1, 0, torch.qint8),
        "complex of half precision": lambda _: torch.ones(2, 3, 13, dtype=torch.complex32),
        "one value NaN": lambda _: torch.ones(2, 3, 13).index_fill(1, torch.tensor([1]), NAN),
        "1e15": lambda _: torch.full((2, 3, 13), 1e15, dtype=torch.float64),
        "1e6 in float32": lambda _: torch.full((2, 3, 13), 1e6),
        "no time": lambda _: torch.ones(2, 0, 13),
        "no angles": lambda _: torch.ones(2, 3, 0),
        "thirty dimensions": lambda _: torch.ones((1,) * 30),
        "refusing": lambda _: torch.ones(2, 3, 13).as_subclass(OddTensor),
        "with a gradient": lambda _: torch.ones(2, 3, 13, dtype=torch.float64, requires_grad=True),
        "one tensor for all": lambda _: torch.tensor(0.3).expand(2, 3, 13),
        "an array": lambda _: np.ones((2, 3, 13)),
        "nested list": lambda _: np.ones((2, 3, 13)).tolist(),
        "input with a gradient": lambda _: series(2, 3, 2).requires_grad_(),
        "input half": lambda _: series(2, 3, 2).half(),
        "input bfloat16": lambda _: series(2, 3, 2).bfloat16(),
        "input complex": lambda _: series(2, 3, 2).to(torch.complex128),
        "input on no device": lambda _: series(2, 3, 2).to("meta"),
        "state complex64": lambda _: torch.eye(2, dtype=torch.complex64).expand(2, 2, 2) / 2,
        "state half": lambda _: torch.eye(2, dtype=torch.float16).expand(2, 2, 2) / 2,
        "state of ints": lambda _: torch.eye(2, dtype=torch.int64).expand(2, 2, 2),
        "state real": lambda _: torch.eye(2).expand(2, 2, 2) / 2,
        "state with a gradient": lambda _: (torch.eye(2).expand(2, 2, 2) / 2).clone().requires_grad_(),
        "state conjugated": lambda _: (torch.eye(2, dtype=torch.complex128).expand(2, 2, 2) / 2).conj(),
        "state of two qubits": lambda _: torch.eye(4, dtype=torch.complex128).expand(2, 4, 4) / 4,
        "state on no device": lambda _: torch.empty(2, 2, 2, dtype=torch.complex128, device="meta"),
        "state sparse": lambda _: torch.eye(2).expand(2, 2, 2).to_sparse(),
        "state of nothing": lambda _: torch.empty(0, 2, 2, dtype=torch.complex128),
        "hidden": lambda _: torch.ones(1, 2, 2).double(),
        "hidden of others": lambda _: torch.ones(1, 3, 2).double(),
        "hidden NaN": lambda _: torch.full((1, 2, 2), NAN).double(),
        "hidden 1e300": lambda _: torch.full((1, 2, 2), 1e300, dtype=torch.float64),
        "hidden float32": lambda _: torch.ones(1, 2, 2),
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
        "swapped registers": lambda _: swapped(),
        "ancillas": lambda _: ancillas(),
        "a branch on an input": lambda _: changed(conditional),
        "a variable": lambda _: changed(lambda s: s.add_var("v", expr.lift(True))),
        "a barrier": lambda _: changed(lambda s: s.barrier()),
        "a delay": lambda _: changed(lambda s: s.delay(100, 0)),
        "a gate in a gate": lambda _: changed(lambda s: s.append(wrapped(Parameter("c")), [0])),
        "a gate of nothing": lambda _: changed(lambda s: s.append(Gate("opaque", 1, []), [0])),
        "a gate of nothing with an angle": lambda _: changed(
            lambda s: s.append(Gate("opaque", 1, [Parameter("c")]), [0])
        ),
        "a gate of itself": lambda _: changed(lambda s: s.append(itself(), [0])),
        "a gate called barrier": lambda _: changed(lambda s: s.append(Gate("barrier", 1, []), [0])),
        "no unitary": lambda _: changed(lambda s: s.append(UnitaryGate(2 * np.eye(2), check_input=False), [0])),
        "a unitary": lambda _: changed(lambda s: s.unitary(np.array([[0, 1j], [1j, 0]]), 0)),
        "an operation that is no gate": lambda _: changed(lambda s: s.append(Clifford(XGate()), [0])),
        "a modified gate": lambda _: changed(
            lambda s: s.append(AnnotatedOperation(RXGate(Parameter("c")), [InverseModifier(), PowerModifier(2)]), [0])
        ),
        "a gate to a power": lambda _: changed(lambda s: s.append(RXGate(0.3).power(1e300), [0])),
        "rx without an angle": lambda _: changed(lambda s: s.append(Gate("rx", 1, []), [0])),
        "rx of two qubits": lambda _: changed(lambda s: s.append(Gate("rx", 2, [0.1]), [0, 1])),
        "a large angle": lambda _: changed(lambda s: s.rx(1e15, 0)),
        "a large phase": lambda _: changed(lambda s: setattr(s, "global_phase", 1e15)),
        "a large number times": lambda _: changed(lambda s: s.rx(1e15 * Parameter("c"), 0)),
        "no number times": lambda _: changed(lambda s: s.rx(0 * Parameter("c"), 0)),
        "names of parameters": lambda _: changed(lambda s: s.rx(Parameter("ü [0]\n") + Parameter("\u03c0"), 0)),
        "an evolution": lambda _: changed(
            lambda s: s.append(PauliEvolutionGate(SparsePauliOp("XZ"), Parameter("t")), s.qubits)
        ),
        "a permutation": lambda _: changed(lambda s: s.append(PermutationGate([1, 0]), s.qubits)),
        "routed": lambda _: transpile(circuit(), basis_gates=["rz", "sx", "cx"], initial_layout=[1, 0]),
        "a box": lambda _: changed(boxed),
        "a library circuit": lambda _: q.rotation_step(1, 1).decompose(),
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
        "answers integers": lambda _: Answers(lambda x, w: ((x[..., :1] * w).long(), None)),
        "answers complex numbers": lambda _: Answers(lambda x, w: (x[..., :1] * w * 1j, None)),
        "answers float32": lambda _: Answers(lambda x, w: ((x[..., :1] * w).float(), None)),
        "answers on no device": lambda _: Answers(lambda x, w: ((x[..., :1] * w).to("meta"), None)),
        "answers without a gradient": lambda _: Answers(lambda x, w: ((x[..., :1] * w).detach(), None)),
        "answers 1e300": lambda _: Answers(lambda x, w: (x[..., :1] * w * 1e300, None)),
        "answers a dict": lambda _: Answers(lambda x, w: {"y": x}),
        "answers nothing": lambda _: Answers(lambda x, w: ()),
        "with integer weights": lambda _: nn.Embedding(2, 1),
        "a Sequential": lambda _: nn.Sequential(nn.Linear(2, 1, dtype=torch.float64), nn.Dropout()),
        "a GRU": lambda _: q.GRU(2, 1, 2, dtype=torch.float64, seed=1),
        "a QRNN by shifts": lambda _: qrnn(gradient=q.ParameterShift()),
        "a QRNN with shots": lambda _: qrnn(backend=q.ShotBackend(5, seed=1)),
        "a QRNN with 10**12 shots": lambda _: qrnn(backend=q.ShotBackend(10**12, seed=1)),
        "an odd backend": lambda _: qrnn(backend=OddBackend(lambda *n: None), gradient=q.SPSA(seed=1)),
        "two QRNNs": lambda _: nn.Sequential(qrnn(), qrnn(1, 1)),
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
        "half": lambda _: tuple(part.half() for part in pair()),
        "complex": lambda _: tuple(part * 1j for part in pair()),
        "one float32": lambda _: (pair()[0], pair()[1].float()),
        "with gradients": lambda _: tuple(part.requires_grad_() for part in pair()),
        "parts of larger ones": lambda _: tuple(torch.stack([part, part], -1)[..., 0] for part in pair()),
        "sparse": lambda _: tuple(part.to_sparse() for part in pair()),
        "on no device": lambda _: tuple(part.to("meta") for part in pair()),
        "two dimensions": lambda _: tuple(part[0] for part in pair()),
        "inf": lambda _: (series() * INF, series(features=1)),
        "zeros": lambda _: (series() * 0, series(features=1) * 0),
        "tiny": lambda _: tuple(part * 1e-320 for part in pair()),
        "large": lambda _: tuple(part * 1e160 for part in pair()),
        "lists": lambda _: tuple(part.tolist() for part in pair()),
        "DataArrays": lambda _: tuple(xr.DataArray(part.numpy()) for part in pair()),
        "a pair of refusing tensors": lambda _: tuple(part.as_subclass(OddTensor) for part in pair()),
        "a Subset": lambda _: torch.utils.data.Subset(TensorDataset(*pair()), [0, 1, 9]),
        "a Subset of none": lambda _: torch.utils.data.Subset(TensorDataset(*pair()), []),
        "weights": lambda _: [nn.Parameter(torch.ones(2))],
        "weights in groups": lambda _: [{"params": [nn.Parameter(torch.ones(2))], "lr": 0.5}],
        "weights in groups of nothing": lambda _: [{"params": []}],
        "weights without their group": lambda _: [{"lr": 0.5}],
        "weights in a group with NaN": lambda _: [{"params": [nn.Parameter(torch.ones(2))], "lr": NAN}],
        "weights in a group of text": lambda _: [{"params": "text", "c": "text"}],
        "weights twice": lambda _: [nn.Parameter(torch.ones(2))] * 2,
        "weights with names": lambda _: [("w", nn.Parameter(torch.ones(2)))],
        "complex weights": lambda _: [nn.Parameter(torch.ones(2, dtype=torch.complex64))],
        "no numbers in weights": lambda _: [nn.Parameter(torch.ones(0))],
        "weights without a gradient": lambda _: [torch.ones(2)],
        "weights half": lambda _: [nn.Parameter(torch.ones(2, dtype=torch.float16))],
        "weights NaN": lambda _: [nn.Parameter(torch.full((2,), NAN))],
        "weights 1e308": lambda _: [nn.Parameter(torch.full((2,), 1e308, dtype=torch.float64))],
        "weights on no device": lambda _: [nn.Parameter(torch.ones(2, device="meta"))],
        "no leaves": lambda _: [torch.ones(2, requires_grad=True) * 2],
        "baselines": lambda _: q.standard_baselines(circuit(), units=5)[:2],
        "a baseline that raises": lambda _: [q.Baseline("a", refuse, lambda task: [{}])],
        "a baseline that answers None": lambda _: [q.Baseline("a", lambda *_, **__: None, lambda task: [{}])],
        "a baseline without settings": lambda _: [q.Baseline("a", len, lambda task: [])],
        "a baseline whose settings are text": lambda _: [q.Baseline("a", len, lambda task: "ab")],
        "a baseline whose settings are None": lambda _: [q.Baseline("a", len, lambda task: None)],
        "a baseline of other settings": lambda _: [q.Baseline("a", lambda task, seed: None, lambda task: [{"z": 1}])],
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
        "Adam": lambda _: "Adam",
        "L-BFGS": lambda _: "L-BFGS",
        "SPSA": lambda _: "SPSA",
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
        "a Budget of one step and circuits": lambda _: q.Budget(steps=1, circuits=10**9),
        "moments": lambda _: q.MomentBackend(5, seed=1),
        "complex64": lambda _: q.ExactBackend(torch.complex64),
        "a sampler's backend": lambda _: q.SamplerBackend(StatevectorSampler(), 5, seed=1),
        "an Aer sampler's backend": lambda _: q.SamplerBackend(SamplerV2(), 5, seed=1),
        "a backend that answers None": lambda _: OddBackend(lambda *n: None),
        "a backend that answers a tensor": lambda _: OddBackend(lambda *n: torch.ones(*n) / n[-1]),
        "a backend that answers a pair of None": lambda _: OddBackend(lambda *n: (None, None)),
        "a backend that answers text": lambda _: OddBackend(lambda *n: "ab"),
        "a backend that answers NaN": lambda _: OddBackend(lambda *n: (torch.full(n, NAN).double(), None)),
        "a backend that answers too little": lambda _: OddBackend(lambda b, t, o: (torch.ones(b, t, 1).double(), None)),
        "a backend that answers integers": lambda _: OddBackend(lambda *n: (torch.ones(n).long(), None)),
        "a backend that answers complex numbers": lambda _: OddBackend(lambda *n: (torch.ones(n) * 1j, None)),
        "a backend that answers arrays": lambda _: OddBackend(lambda *n: (np.ones(n) / n[-1], None)),
        "an estimator that answers None": lambda _: OddEstimator(lambda a: None),
        "an estimator that answers a number": lambda _: OddEstimator(lambda a: 0.5),
        "an estimator that answers too little": lambda _: OddEstimator(lambda a: a[:, :1, :1]),
        "an estimator that answers complex numbers": lambda _: OddEstimator(lambda a: a * 1j),
        "an estimator that answers an array": lambda _: OddEstimator(lambda a: a.detach().numpy()),
        "an estimator that counts text": lambda _: OddEstimator(lambda a: a, "text"),
        "an estimator that counts down": lambda _: OddEstimator(lambda a: a, -1),
        "an estimator that counts halves": lambda _: OddEstimator(lambda a: a, 0.5),
        "a legacy generator": lambda _: np.random.RandomState(1),
        "a bit generator": lambda _: np.random.PCG64(1),
        "a Lorenz flow": lambda _: q.Lorenz(),
        "a KS flow": lambda _: q.KS1D(10.0, 16),
        "Lorenz": lambda _: q.Lorenz,
        "a baseline": lambda _: q.standard_baselines(circuit(), units=5)[0],
        "torch.float8_e4m3fn": lambda _: torch.float8_e4m3fn,
        "torch.bfloat16": lambda _: torch.bfloat16,
        "torch.complex32": lambda _: torch.complex32,
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
        "answers inf": lambda _: lambda *_: INF,
        "answers True": lambda _: lambda *_: True,
        "answers -1": lambda _: lambda *_: -1.0,
        "answers 10**400": lambda _: lambda *_: 10**400,
        "answers a complex number": lambda _: lambda *_: 1j,
        "answers a complex tensor": lambda _: lambda x, *_: x * 1j,
        "answers float32": lambda _: lambda x, *_: x.float(),
        "answers a tensor on no device": lambda _: lambda x, *_: x.to("meta"),
        "answers a sparse tensor": lambda _: lambda x, *_: x.to_sparse(),
        "answers with a gradient": lambda _: lambda x, *_: x.clone().requires_grad_() * 1,
        "answers an empty tensor": lambda _: lambda *_: torch.empty(0),
        "answers a tensor of NaN": lambda _: lambda *_: torch.tensor(NAN),
        "answers an object that refuses": lambda _: lambda *_: Boolless(),
        "answers itself": lambda _: lambda *_: refuse,
        "writes into its argument": lambda _: lambda x, *_: x.zero_(),
        "an iterator's step": lambda _: iter([0.5]).__next__,
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
        "a link to itself": lambda folder: (p := folder / "link", p.symlink_to(p))[0],
        "a link to nowhere": lambda folder: (p := folder / "link", p.symlink_to(folder / "none"))[0],
        "no device": lambda _: "/dev/null",
        "a full device": lambda _: "/dev/full",
        "a home": lambda _: "~/none/a.nc",
        "an address": lambda _: "https://localhost:1/a.nc",
        "a number": lambda _: 3,
        "other ending": lambda folder: folder / "a.txt",
        "no ending": lambda folder: folder / "a",
        "spaces": lambda folder: folder / " a b .nc",
        "a group of HDF5": lambda folder: hdf5(folder, lambda h: h.create_group("a")),
        "a number of HDF5": lambda folder: hdf5(folder, lambda h: h.create_dataset("a", data=3.0)),
        "texts of HDF5": lambda folder: hdf5(folder, lambda h: h.create_dataset("a", data=["x", "y"])),
        "tensors of another kind": lambda folder: (p := folder / "a.st", save_file({"a": torch.ones(2)}, p))[0],
        "two arrays": lambda folder: hdf5(folder, lambda h: [h.create_dataset(name, data=[1.0]) for name in "ab"]),
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
