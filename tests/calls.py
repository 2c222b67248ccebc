"""Every public call: good arguments, what each argument admits, and what a right answer is.

`test_random_input.py` spoils the arguments.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import junk
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from qiskit import QuantumCircuit
from qiskit.primitives import BaseSamplerV2
from qiskit.providers import BackendV2
from qiskit.transpiler import PassManager
from qiskit_aer.noise import NoiseModel
from qiskit_aer.primitives import SamplerV2
from torch import nn

import qrnn_helpers as q
from qrnn_helpers.dynamics import Flow, Lorenz, ks2d, lorenz, lyapunov_exponents
from qrnn_helpers.dynamics import datasets as data
from qrnn_helpers.show import frame_player as show_frame_player
from qrnn_helpers.show import page_widget as show_page_widget
from qrnn_helpers.show import style as show_style
from qrnn_helpers.study import methods as study
from qrnn_helpers.study.exponents import RECIPES
from qrnn_helpers.tasks import metrics
from qrnn_helpers.training import shuffled

STEP = q.rotation_step(1, 1)
ANGLES = 0.3 * torch.ones(2, 3, 13, dtype=torch.float64)

# ---------------------------------------------------------------- what an argument admits


class Kind(NamedTuple):
    """The pool that near misses come from, and which values a call may answer."""

    topic: str
    admits: Callable[[object], bool]


def integer(low=None, high=None) -> Kind:
    def admits(value):
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return whole and (low is None or value >= low) and (high is None or value <= high)

    return Kind("number", admits)


def real(low=None, exclusive=False) -> Kind:
    def admits(value):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        try:
            if not math.isfinite(value):
                return False
        except OverflowError:
            return False
        return low is None or value > low or (value == low and not exclusive)

    return Kind("number", admits)


def a(topic: str, *kinds: type) -> Kind:
    return Kind(topic, lambda value: isinstance(value, kinds))


def one_of(topic: str, *values) -> Kind:
    return Kind(topic, lambda value: any(value is v or (isinstance(value, str) and value == v) for v in values))


def optional(kind: Kind) -> Kind:
    return Kind(kind.topic, lambda value: value is None or kind.admits(value))


def either(*kinds: Kind) -> Kind:
    return Kind(kinds[0].topic, lambda value: any(kind.admits(value) for kind in kinds))


def tensor(*shape, complex_too=False) -> Kind:
    """Finite dense floating tensors in memory; None in the shape is any size but 0."""

    def admits(value):
        if not isinstance(value, torch.Tensor) or value.device.type != "cpu" or value.layout != torch.strided:
            return False
        if not (value.is_floating_point() or (complex_too and value.is_complex())) or value.dim() != len(shape):
            return False
        fits = all(got == want or (want is None and got) for got, want in zip(value.shape, shape))
        return fits and value.numel() < 10**6 and bool(torch.isfinite(value).all())

    return Kind("tensor", admits)


def numeric(topic="array", *, ndim=None, also_infinite=False) -> Kind:
    """What NumPy reads as real, finite (or not), not empty."""

    def admits(value):
        if isinstance(value, (str, bytes, junk.ByteShape)):
            return False
        if not isinstance(value, (list, tuple, numbers.Real)) and not hasattr(value, "__array__"):
            return False
        array = value.detach().numpy() if isinstance(value, torch.Tensor) and value.device.type == "cpu" else value
        try:
            array = np.asarray(array)
        except (ValueError, TypeError, RuntimeError):
            return False
        if array.dtype.kind not in "biuf" or not 0 < array.size < 10**6 or ndim not in (None, array.ndim):
            return False
        return also_infinite or bool(np.isfinite(array).all())

    return Kind(topic, admits)


BOOL, TEXT, ANY = a("bool", bool), a("text", str), Kind("odd", lambda value: True)
FUNCTION = Kind("function", callable)
SEED = optional(either(Kind("object", lambda v: isinstance(v, torch.Generator)), integer(0, 2**63 - 1)))
NUMPY_SEED = optional(either(Kind("object", lambda v: isinstance(v, np.random.Generator)), integer(0, 2**63 - 1)))
COMPLEX = one_of("object", torch.complex64, torch.complex128)
FLOATING = optional(Kind("object", lambda v: isinstance(v, torch.dtype) and v.is_floating_point))
CIRCUIT, PATH = a("circuit", QuantumCircuit), a("path", str, Path)
BACKEND, GRADIENT = optional(a("object", q.Backend)), optional(a("object", q.GradientEstimator))
FIELD = a("field", xr.DataArray)
PROBABILITY = Kind("number", lambda value: real(0).admits(value) and value <= 1)
LIFETIME = either(real(0, exclusive=True), Kind("number", lambda v: isinstance(v, float) and v == math.inf))
RAN = Kind("object", lambda value: value is None or callable(getattr(value, "figures", None)))

# ---------------------------------------------------------------- what a right answer is


def finite(_, answer) -> None:
    answer = answer.double() if isinstance(answer, torch.Tensor) else answer
    assert np.isfinite(np.asarray(answer, dtype=float)).all()


def anything(_, answer) -> None:
    """An object whose making is all there is to see."""


def unchanged(given: dict, answer) -> None:
    for name, value in given.items():
        assert getattr(answer, name) is value or getattr(answer, name) == value, name


def distributions(given: dict, answer) -> None:
    """Probabilities of every step and sample, and a density matrix or none."""
    probabilities, state = answer
    assert torch.isfinite(probabilities).all() and probabilities.min() >= -1e-6
    tolerance = 0.05 if probabilities.dtype.itemsize < 4 else 1e-4
    assert torch.allclose(probabilities.sum(-1).double(), torch.ones(()).double(), atol=tolerance)
    if "angles" in given:
        assert probabilities.shape[:2] == given["angles"].shape[:2] and probabilities.dtype == given["angles"].dtype
    assert state is None or torch.isfinite(torch.view_as_real(state)).all()


def steps_of(angles: Callable[..., int]):
    def right(given, step):
        memory, readout, *layers = (int(given[name]) for name in SIZES if name in given)
        assert [register.size for register in step.qregs] == [memory, readout]
        assert len(step.parameters) == angles(memory, readout, *layers)

    return right


def unrolled(given, circuit) -> None:
    assert len(circuit.parameters) == given["time_steps"] * len(given["step"].parameters)
    assert [r.name for r in circuit.cregs] == [f"t{t}" for t in range(given["time_steps"])]


def outputs_and_gradient(given, answer) -> None:
    outputs, gradient = answer
    distributions({}, (outputs, None))
    assert gradient is None or torch.isfinite(gradient).all()


def a_gradient(given, answer) -> None:
    """With exact probabilities and many angles: zero would be a silent one."""
    outputs_and_gradient(given, answer)
    assert answer[1].abs().max() > 0


def outputs_of(inputs="x"):
    def right(given, answer):
        y, _ = answer
        assert torch.isfinite(y).all() and y.shape[:2] == given[inputs].shape[:2]

    return right


def scored(given, answer) -> None:
    prediction, truth = (np.asarray(given[k].detach() if isinstance(given[k], torch.Tensor) else given[k], dtype=float)
                         for k in ("prediction", "truth"))  # fmt: skip
    scale = truth.std() if given["scale"] is None else float(given["scale"])
    assert answer == pytest.approx(np.sqrt(np.mean(((prediction - truth) / scale) ** 2)), rel=1e-9)


def booked(given, ledger) -> None:
    assert (ledger.circuits, ledger.shots, ledger.jobs) == tuple(given[k] for k in ("circuits", "shots", "jobs"))
    assert ledger.seconds == float(given["seconds"]) and ledger.total().circuits == ledger.circuits


def sampled(*dims: str):
    """Finite samples of the dims and sizes that were asked for."""

    def right(given, field):
        assert field.dims == ("trajectory", "time", *dims) and np.isfinite(field.values).all()
        assert field.shape[:2] == (given["trajectories"], given["steps"])
        assert set(field.shape[2:]) == {given.get("points", 3)}
        assert np.allclose(np.diff(field["time"]), float(given["dt"]))

    return right


def part(given, field) -> None:
    sizes = {None: 14, "train": 8, "validation": 2, "test": 4}
    assert field.sizes["trajectory"] == sizes[given["split"]]


def fine_part(name: str) -> Callable:
    """The check of a part of a data set of snapshots, with what lies between them."""

    def check(given, field) -> None:
        sizes = data.DATASETS[name].split
        trajectories = sum(sizes.values()) if given["split"] is None else sizes[given["split"]]
        assert field.sizes["trajectory"] == trajectories and field.attrs["dt"] == float(given["dt"])
        assert np.isfinite(field).all()

    return check


def divides(apart: float) -> Kind:
    """A multiple of 0.05 that divides what snapshots are apart."""

    def admits(value):
        if not real(0, True).admits(value) or not 0.04 < value <= apart:
            return False
        return all(abs(ratio - round(ratio)) < 1e-9 for ratio in (float(value) / 0.05, apart / float(value)))

    return Kind("number", admits)


def kept(given, back) -> None:
    xr.testing.assert_identical(back, given["array"])


def windows_of(given, task) -> None:
    for (x, y), count in zip((task.train, task.validation, task.test), given["windows"]):
        assert x.shape == (count, given["steps"], given["neighbours"]) and y.shape == (count, given["steps"], 1)
        assert torch.isfinite(x).all() and torch.isfinite(y).all()


def rolled_out(given, fields) -> None:
    assert fields.shape == (given["count"], np.shape(given["history"])[1])
    lost = given["forecast"] is not upwind or np.abs(np.asarray(given["history"], dtype=float)).max() > 1e20
    assert lost or np.isfinite(fields).all()  # what blows up is shown as it is


def forced(given, fields) -> None:
    times, points = np.shape(given["field"])
    assert fields.shape == (times - given["task"].steps, points)
    assert np.isfinite(fields).all() or given["forecast"] is not upwind


def trained(given, answer) -> None:
    """Every update is in the curve, and has moved the weights: no silent standstill."""
    curve, before, after = answer
    assert len(curve) >= 1 and np.isfinite(curve["train_loss"]).all()
    assert np.isfinite(curve["validation_nrmse"].iloc[-1])
    assert len(curve) == (given["budget"].steps or len(curve))
    assert any(not torch.equal(a, b) for a, b in zip(before, after))


# ---------------------------------------------------------------- calls that need a line or two


def layer_of(step=STEP, **options):
    return q.QuantumRecurrentLayer(step, **options)


def there_and_back(backend=None, gradient=None, step=STEP):
    """Outputs and gradient of a small layer."""
    layer = q.QuantumRecurrentLayer(step, backend=backend, gradient=gradient)
    angles = torch.full((1, 2, max(1, len(layer.program.parameters))), 0.3, dtype=torch.float64)
    if not layer.program.parameters:
        return layer(angles[..., :0])[0], None
    outputs = layer(angles.requires_grad_())[0]
    outputs[..., -1].sum().backward()
    return outputs.detach(), angles.grad


def with_backend(make):
    return lambda **given: there_and_back(make(**given), gradient_for_noise())


def gradient_for_noise():
    return q.SPSA(seed=1)


def with_gradient(make):
    return lambda **given: there_and_back(None, make(**given))


def record(**given):
    ledger = q.CostLedger()
    ledger.record(**given)
    return ledger


def scope(name):
    ledger = q.CostLedger()
    with ledger.scope(name) as inner:
        ledger.record(1, 2, 3, 4.0)
    assert ledger.scopes[name] is inner and ledger.circuits == 0
    return inner.circuits


OPTIMIZERS = {
    "gradient descent": lambda weights: torch.optim.SGD(weights, lr=0.1),
    "Adam": lambda weights: torch.optim.Adam(weights, lr=0.1),
    "L-BFGS": lambda weights: torch.optim.LBFGS(weights, lr=0.1, max_iter=2),
    "SPSA": lambda weights: spsa_of(weights),
}
"""Made from the model when `fit` is called."""


def fit(model, optimizer, **given):
    if type(optimizer) is str and optimizer in OPTIMIZERS:
        weights = [*model.parameters()] if isinstance(model, nn.Module) else []
        optimizer = OPTIMIZERS[optimizer](weights or [nn.Parameter(torch.ones(1))])
    before = [p.detach().clone() for p in model.parameters()] if isinstance(model, nn.Module) else []
    curve = q.fit(model, optimizer=optimizer, **given)
    return curve, before, [p.detach() for p in model.parameters()]


def used(kind):
    """A network made and run on a short input."""

    def run(**given):
        model = kind(**given)
        return model(torch.ones(1, 2, int(given["input_size"]), dtype=given["dtype"]))

    return run


def save_and_load(array, path):
    q.save(array, path)
    return q.load(path)


def save_and_load_state(state, path):
    q.save_state(state, path)
    return q.load_state(path)


def is_state(value) -> bool:
    if isinstance(value, torch.Tensor):
        return value.layout == torch.strided and not value.is_meta and value.numel() < 10**6
    if type(value) in (dict, list, tuple):
        return not value or all(map(is_state, value if type(value) is not dict else [*value, *value.values()]))
    return type(value) in (bool, int, float, str, type(None))


def same_state(back, state) -> None:
    if isinstance(state, torch.Tensor):
        assert back.dtype == state.dtype and back.shape == state.shape
        assert torch.equal(*(each.detach().to(torch.complex128).nan_to_num() for each in (back, state)))
    elif isinstance(state, dict):
        assert list(back) == list(state)
        for key, value in state.items():
            same_state(back[key], value)
    elif isinstance(state, (list, tuple)):
        assert type(back) is type(state) and len(back) == len(state)
        for pair in zip(back, state):
            same_state(*pair)
    else:
        assert repr(back) == repr(state)


STATE_OF_TRAINING = {"model": {"weight": torch.ones(2), 0: (1, 2.5, None)}, "words": ["a", True]}


def spsa_of(params, **options) -> torch.optim.Optimizer:
    return q.SPSAOptimizer(params, **{"lr": 0.1, "c": 0.1, "seed": 1, **options})


def spsa_state() -> dict:
    return spsa_of([nn.Parameter(torch.ones(3))]).state_dict()


def one_spsa_step(params, **options):
    optimizer = q.SPSAOptimizer(params, **options)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    before = [weight.detach().clone() for weight in weights]
    loss = max(optimizer.step(lambda: sum(weight.sum() for weight in weights)) for _ in range(2))
    return float(loss), before, [weight.detach() for weight in weights]


def moved(given, answer) -> None:
    loss, before, after = answer
    assert math.isfinite(loss) and all(torch.isfinite(weight).all() for weight in after)
    still = float(given["lr"]) < 1e-200  # a rate of 0 is allowed: it means to stand still
    assert still or any(not torch.equal(a, b) for a, b in zip(before, after))


def task_of_fields() -> q.PatchForecast:
    field = junk.field()
    return q.patch_forecast(field, field, field, neighbours=3, spacing=1, steps=2, windows=(12, 4, 4))


def reduced_task():
    field = junk.field()
    return q.reduced_forecast(field, field, field, modes=2, steps=3, washout=1, windows=(4, 2, 2))


def an_observer():
    field = junk.field()
    return q.observer(field, field, field, sensors=2, steps=3, washout=1, windows=(4, 2, 2))


def a_series() -> xr.DataArray:
    values = np.random.default_rng(0).standard_normal((1, 60, 3))
    return xr.DataArray(values, dims=("trajectory", "time", "component"))


def task_used(**given):
    """One step from waves of no height: finite in any unit."""
    task = q.PatchForecast(**given)
    return q.rollout(upwind, np.zeros((task.steps, 8)), 2, task)


def upwind(x):
    return 0.1 * x[:, -1, 0]


def fit_arguments(_) -> dict:
    return {
        "model": junk.qrnn(), "train": junk.pair(), "validation": junk.pair(),
        "optimizer": "gradient descent", "batch_size": 2, "budget": q.Budget(steps=2),
        "washout": 0, "seed": 1, "progress": False, "schedule": None, "scored_steps": None, "validations": 2,
        "batches": shuffled, "loss": None, "watch": None,
    }  # fmt: skip


class Call(NamedTuple):
    run: Callable
    given: Callable[[Path], dict]
    kinds: dict[str, Kind]
    right: Callable[[dict, object], None] = anything


def has_a_layer(value) -> bool:
    return isinstance(value, nn.Module) and any(isinstance(m, q.QuantumRecurrentLayer) for m in value.modules())


def foreseen(given, answer) -> None:
    layers = [m for m in given["model"].modules() if isinstance(m, q.QuantumRecurrentLayer)]
    size = int(given["batch_size"]), int(given["time_steps"])
    assert answer.circuits == int(given["updates"]) * sum(layer.update_circuits(*size) for layer in layers)
    assert answer.jobs >= int(given["updates"])


def is_extra_state(value) -> bool:
    dense = isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta
    return dense and (not value.numel() or torch.equal(value, layer_of(gradient=q.SPSA(seed=2)).get_extra_state()))


def backward(gradient: Callable) -> Call:
    """Outputs, state and slopes of a layer with such an estimator."""

    def run(angles, state):
        small = isinstance(angles, torch.Tensor) and angles.is_floating_point() and angles.numel() < 10**6
        leaf = angles.detach().clone().requires_grad_() if small else angles
        outputs, new = layer_of(gradient=gradient())(leaf, state)
        outputs[..., -1].sum().backward()
        return outputs.detach(), new, leaf.grad

    def right(given, answer):
        distributions(given, answer[:2])
        assert answer[2].shape == given["angles"].shape and torch.isfinite(answer[2]).all()

    return Call(
        run,
        lambda _: {"angles": ANGLES, "state": torch.eye(2).expand(2, 2, 2) / 2},
        {"angles": tensor(None, None, 13), "state": STATE},
        right,
    )


SIZES = {"memory": integer(1), "readout": integer(1), "layers": integer(1)}
MODEL = {"input_size": integer(1), "output_size": integer(1)}
TASK, ANY_TASK = a("model", q.PatchForecast), a("model", q.Task)
STATE = optional(tensor(2, 2, 2, complex_too=True))

TABLE = {
    "rotation_step": Call(
        q.rotation_step,
        lambda _: {"memory": 2, "readout": 1, "layers": 1},
        SIZES,
        steps_of(lambda m, r, layers: layers * (7 * (m + r) - 1)),
    ),
    "reuploading_step": Call(
        q.reuploading_step,
        lambda _: {"memory": 2, "readout": 1, "layers": 1},
        SIZES,
        steps_of(lambda m, r, layers: layers * (5 * (m + r) if m + r > 2 else 7)),
    ),
    "two_way_step": Call(
        q.two_way_step,
        lambda _: {"memory": 2, "readout": 1},
        {name: SIZES[name] for name in ("memory", "readout")},
        steps_of(lambda m, r: 8 * (m + r) - 2),
    ),
    "exchange_step": Call(
        q.exchange_step,
        lambda _: {"memory": 2, "readout": 1},
        {name: SIZES[name] for name in ("memory", "readout")},
        steps_of(lambda m, r: 4 * m + 7 * r - 2),
    ),
    "unroll": Call(
        q.unroll,
        lambda _: {"step": STEP, "time_steps": 2},
        {"step": CIRCUIT, "time_steps": integer(1)},
        unrolled,
    ),
    "without_entanglers": Call(
        q.without_entanglers,
        lambda _: {"step": STEP},
        {"step": CIRCUIT},
        lambda given, bare: None if all(len(i.qubits) == 1 for i in bare.data) and bare.parameters else 1 / 0,
    ),
    "Backend": Call(
        there_and_back,
        lambda _: {"backend": q.ExactBackend(), "gradient": gradient_for_noise()},
        {"backend": BACKEND, "gradient": GRADIENT},
        outputs_and_gradient,
    ),
    "ExactBackend": Call(
        with_backend(q.ExactBackend),
        lambda _: {"dtype": torch.complex128},
        {"dtype": COMPLEX},
        outputs_and_gradient,
    ),
    "ShotBackend": Call(
        with_backend(q.ShotBackend),
        lambda _: {"shots": 5, "seed": 1, "dtype": torch.complex128},
        {"shots": integer(1), "seed": SEED, "dtype": COMPLEX},
        outputs_and_gradient,
    ),
    "MomentBackend": Call(
        with_backend(q.MomentBackend),
        lambda _: {"shots": 5, "seed": 1, "dtype": torch.complex128},
        {"shots": integer(1), "seed": SEED, "dtype": COMPLEX},
        outputs_and_gradient,
    ),
    "NoisyBackend": Call(
        with_backend(q.NoisyBackend),
        lambda _: {"noise": q.SimpleNoise(0.01, 0.02), "dtype": torch.complex128, "pass_manager": None},
        {
            "noise": a("object", q.SimpleNoise, NoiseModel, BackendV2), "dtype": COMPLEX,
            "pass_manager": optional(a("object", PassManager)),
        },
        outputs_and_gradient,
    ),
    "SimpleNoise": Call(
        lambda **given: there_and_back(q.NoisyBackend(q.SimpleNoise(**given)), gradient_for_noise()),
        lambda _: {
            "one_qubit": 0.01, "two_qubit": 0.02, "readout": 0.03, "reset": 0.04, "t1": 50.0, "t2": 60.0,
            "measure_time": 2.0, "reset_time": 1.0,
        },
        {name: PROBABILITY for name in ("one_qubit", "two_qubit", "reset")}
        | {"t1": LIFETIME, "t2": optional(LIFETIME), "measure_time": real(0), "reset_time": real(0)}
        | {"readout": either(PROBABILITY, numeric())},
        outputs_and_gradient,
    ),
    "SimpleNoise.scaled": Call(
        lambda factor: q.SimpleNoise(0.01, 0.02, 0.03).scaled(factor),
        lambda _: {"factor": 2.0},
        {"factor": real(0)},
        anything,
    ),
    "SamplerBackend": Call(
        with_backend(q.SamplerBackend),
        lambda _: {
            "sampler": SamplerV2(), "shots": 5, "pass_manager": None, "seed": 1, "max_circuits": 300, "retries": 0,
            "retry_if": lambda error: False, "pause": lambda seconds: None,
        },
        {
            "sampler": a("object", BaseSamplerV2), "shots": integer(1),
            "pass_manager": optional(a("object", PassManager)), "seed": SEED, "max_circuits": integer(1),
            "retries": integer(0), "retry_if": FUNCTION, "pause": FUNCTION,
        },
        outputs_and_gradient,
    ),
    "GradientEstimator": Call(
        there_and_back,
        lambda _: {"backend": None, "gradient": q.ParameterShift()},
        {"backend": BACKEND, "gradient": GRADIENT},
        outputs_and_gradient,
    ),
    "Autograd": Call(with_gradient(lambda: q.Autograd()), lambda _: {}, {}, a_gradient),
    "ParameterShift": Call(
        with_gradient(q.ParameterShift),
        lambda _: {"causal": True, "prune": False},
        {"causal": BOOL, "prune": BOOL},
        a_gradient,
    ),
    "FiniteDifference": Call(
        with_gradient(q.FiniteDifference),
        lambda _: {"h": 0.1, "causal": False},
        {"h": real(0, exclusive=True), "causal": BOOL},
        a_gradient,
    ),
    "RandomCoordinate": Call(
        with_gradient(q.RandomCoordinate),
        lambda _: {"coordinates": 2, "seed": 1, "causal": True},
        {"coordinates": integer(1), "seed": SEED, "causal": BOOL},
        outputs_and_gradient,
    ),
    "DirectionalShift": Call(
        with_gradient(q.DirectionalShift),
        lambda _: {"directions": 1, "seed": 1, "causal": False},
        {"directions": integer(1), "seed": SEED, "causal": BOOL},
        a_gradient,
    ),
    "SPSA": Call(
        with_gradient(q.SPSA),
        lambda _: {"c": 0.1, "directions": 1, "seed": 1, "causal": False, "orthogonal": False},
        {"c": real(0, exclusive=True), "directions": integer(1), "seed": SEED, "causal": BOOL, "orthogonal": BOOL},
        a_gradient,
    ),
    "QuantumRecurrentLayer": Call(
        there_and_back,
        lambda _: {"step": STEP, "backend": None, "gradient": None},
        {"step": CIRCUIT, "backend": BACKEND, "gradient": GRADIENT},
        outputs_and_gradient,
    ),
    "QuantumRecurrentLayer.forward": Call(
        lambda **given: layer_of()(**given),
        lambda _: {"angles": ANGLES, "state": None},
        {"angles": tensor(None, None, 13), "state": STATE},
        distributions,
    ),
    "QuantumRecurrentLayer.forward by shifts": Call(
        lambda **given: layer_of(gradient=q.ParameterShift())(**given),
        lambda _: {"angles": ANGLES, "state": torch.eye(2).expand(2, 2, 2) / 2},
        {"angles": tensor(None, None, 13), "state": STATE},
        distributions,
    ),
    "QuantumRecurrentLayer.forward with shots": Call(
        lambda **given: layer_of(backend=q.ShotBackend(5, seed=1))(**given),
        lambda _: {"angles": ANGLES, "state": None},
        {"angles": tensor(None, None, 13), "state": Kind("tensor", lambda v: v is None)},
        distributions,
    ),
    "QuantumRecurrentLayer.backward by differentiation": backward(q.Autograd),
    "QuantumRecurrentLayer.backward by shifts": backward(q.ParameterShift),
    "QuantumRecurrentLayer.backward by pruned shifts": backward(lambda: q.ParameterShift(prune=True)),
    "QuantumRecurrentLayer.backward by differences": backward(q.FiniteDifference),
    "QuantumRecurrentLayer.backward by coordinates": backward(lambda: q.RandomCoordinate(30, seed=1)),
    "QuantumRecurrentLayer.backward by directions": backward(lambda: q.DirectionalShift(seed=1)),
    "QuantumRecurrentLayer.backward by SPSA": backward(lambda: q.SPSA(seed=1)),
    "QuantumRecurrentLayer.load_state_dict": Call(
        lambda **given: layer_of(gradient=q.SPSA(seed=1)).load_state_dict(given),
        lambda _: {"_extra_state": layer_of(gradient=q.SPSA(seed=2)).get_extra_state()},
        {"_extra_state": Kind("tensor", is_extra_state)},
    ),
    "QuantumRecurrentLayer.update_circuits": Call(
        layer_of(gradient=q.ParameterShift()).update_circuits,
        lambda _: {"batch": 2, "time_steps": 3},
        {"batch": integer(1), "time_steps": integer(1)},
        lambda given, answer: None if answer == int(given["batch"]) * (1 + 28 * int(given["time_steps"])) else 1 / 0,
    ),
    "QRNN": Call(
        used(q.QRNN),
        lambda _: {
            "input_size": 2, "output_size": 1, "step": STEP, "backend": None, "gradient": None, "skip": False,
            "dtype": torch.float64, "seed": 1,
        },
        MODEL
        | {"step": CIRCUIT, "backend": BACKEND, "gradient": GRADIENT, "skip": BOOL, "dtype": FLOATING, "seed": SEED},
        lambda given, answer: finite(given, answer[0].detach()),
    ),
    "QRNN.forward": Call(
        lambda **given: junk.qrnn()(**given),
        lambda _: {"x": junk.series(2, 3, 2), "state": None},
        {"x": tensor(None, None, 2), "state": STATE},
        outputs_of(),
    ),
    "GRU": Call(
        used(q.GRU),
        lambda _: {"input_size": 2, "output_size": 1, "hidden": 3, "dtype": torch.float64, "seed": 1},
        MODEL | {"hidden": integer(1), "dtype": FLOATING, "seed": SEED},
        lambda given, answer: finite(given, answer[0].detach()),
    ),
    "RNN": Call(
        used(q.RNN),
        lambda _: {"input_size": 2, "output_size": 1, "hidden": 3, "dtype": torch.float64, "seed": 1},
        MODEL | {"hidden": integer(1), "dtype": FLOATING, "seed": SEED},
        lambda given, answer: finite(given, answer[0].detach()),
    ),
    "RNN.forward": Call(
        lambda **given: q.RNN(2, 1, 2, dtype=torch.float64, seed=1)(**given),
        lambda _: {"x": junk.series(2, 3, 2), "state": torch.zeros(1, 2, 2).double()},
        {"x": tensor(None, None, 2), "state": optional(tensor(1, 2, 2))},
        outputs_of(),
    ),
    "GRU.forward": Call(
        lambda **given: q.GRU(2, 1, 2, dtype=torch.float64, seed=1)(**given),
        lambda _: {"x": junk.series(2, 3, 2), "state": None},
        {"x": tensor(None, None, 2), "state": optional(tensor(1, 2, 2))},
        outputs_of(),
    ),
    "CostLedger.record": Call(
        record,
        lambda _: {"circuits": 1, "shots": 2, "jobs": 3, "seconds": 4.0, "ran": None},
        {"circuits": integer(0), "shots": integer(0), "jobs": integer(0), "seconds": real(0), "ran": RAN},
        booked,
    ),
    "CostLedger.scope": Call(scope, lambda _: {"name": "validation"}, {"name": TEXT}, finite),
    "CostLedger": Call(lambda: repr(q.CostLedger().total()), lambda _: {}, {}),
    "machines": Call(q.machines, lambda _: {}, {}),
    "Budget": Call(
        lambda **given: q.Budget(**given),
        lambda _: {"steps": 1, "circuits": None, "shots": None},
        {name: optional(integer(1)) for name in ("steps", "circuits", "shots")},
        unchanged,
    ),
    "Budget.fraction": Call(
        q.Budget(steps=4).fraction,
        lambda _: {"steps": 1, "circuits": 2, "shots": 0},
        {name: integer(0) for name in ("steps", "circuits", "shots")},
        lambda given, answer: finite(given, answer),
    ),
    "fit": Call(
        fit,
        fit_arguments,
        {
            "model": a("model", nn.Module), "train": a("data", tuple, list, torch.utils.data.Dataset),
            "validation": a("data", tuple, list, torch.utils.data.Dataset),
            "optimizer": either(a("optimizer", torch.optim.Optimizer), one_of("odd", *OPTIMIZERS)),
            "batch_size": integer(1, 4),
            "budget": a("object", q.Budget), "washout": integer(0, 2), "seed": SEED, "progress": BOOL,
            "schedule": optional(FUNCTION), "scored_steps": optional(integer(1, 3)), "validations": integer(1),
            "batches": FUNCTION, "loss": optional(FUNCTION), "watch": optional(FUNCTION),
        },
        trained,
    ),
    "ks1d": Call(
        q.ks1d,
        lambda _: {
            "length": 10.0, "points": 16, "dt": 0.25, "steps": 3, "transient": 1.0, "trajectories": 1,
            "step": 0.05, "seed": 0, "initial": None,
        },
        {
            "length": real(0, exclusive=True), "points": integer(16), "dt": real(0, exclusive=True),
            "steps": integer(1), "transient": real(0), "trajectories": integer(1), "step": real(0, exclusive=True),
            "seed": NUMPY_SEED, "initial": optional(numeric(ndim=2)),
        },
        sampled("x"),
    ),
    "ks2d": Call(
        ks2d,
        lambda _: {
            "length": 10.0, "points": 16, "dt": 0.25, "steps": 3, "transient": 1.0, "trajectories": 1,
            "step": 0.05, "seed": 0, "initial": None,
        },
        {
            "length": real(0, exclusive=True), "points": integer(1), "dt": real(0, exclusive=True),
            "steps": integer(1), "transient": real(0), "trajectories": integer(1), "step": real(0, exclusive=True),
            "seed": NUMPY_SEED, "initial": optional(numeric(ndim=3)),
        },
        sampled("y", "x"),
    ),
    "lorenz": Call(
        lorenz,
        lambda _: {"dt": 0.01, "steps": 3, "transient": 1.0, "trajectories": 2, "seed": 0},
        {
            "dt": real(0, exclusive=True), "steps": integer(1), "transient": real(0), "trajectories": integer(1),
            "seed": NUMPY_SEED,
        },
        sampled("component"),
    ),
    "KS1D": Call(
        q.KS1D,
        lambda _: {"length": 10.0, "points": 16, "step": 0.05},
        {"length": real(0, exclusive=True), "points": integer(16), "step": real(0, exclusive=True)},
        lambda given, flow: finite(given, [flow.length, flow.points, flow.step]),
    ),
    "KS2D": Call(
        q.KS2D,
        lambda _: {"length": 10.0, "points": 16, "step": 0.05},
        {"length": real(0, exclusive=True), "points": integer(16), "step": real(0, exclusive=True)},
        lambda given, flow: finite(given, [flow.length, flow.points, flow.step]),
    ),
    "Lorenz": Call(
        q.Lorenz,
        lambda _: {"step": 0.01},
        {"step": real(0, exclusive=True)},
        lambda given, flow: finite(given, flow.step),
    ),
    "kaplan_yorke": Call(
        q.kaplan_yorke,
        lambda _: {"exponents": [[0.9, 0.0, -14.6], [0.8, 0.1, -14.4]]},
        {"exponents": either(numeric(), a("object", xr.Dataset))},
        lambda given, answer: finite(given, answer[0]),
    ),
    "stored_exponents": Call(
        q.stored_exponents,
        lambda _: {"name": "lorenz"},
        {"name": one_of("text", *RECIPES)},
        lambda given, found: finite(given, found["exponents"]),
    ),
    "lyapunov_exponents": Call(
        lyapunov_exponents,
        lambda _: {
            "system": Lorenz(), "count": 1, "trajectories": 2, "time": 1.0, "transient": 1.0, "settle": 0.5,
            "interval": 0.5, "seed": 0, "progress": False,
        },
        {
            "system": a("object", Flow), "count": integer(1, 3), "trajectories": integer(2), "time": real(0, True),
            "transient": real(0), "settle": real(0), "interval": real(0, True), "seed": NUMPY_SEED, "progress": BOOL,
        },
        lambda given, found: finite(given, found["exponents"]),
    ),
    "ks22": Call(
        q.ks22,
        lambda _: {"split": "test"},
        {"split": one_of("text", None, "train", "validation", "test")},
        part,
    ),
    "ks22_long": Call(
        q.ks22_long,
        lambda _: {"split": "validation", "dt": 5.0},
        {"split": one_of("text", None, "train", "validation", "test"), "dt": divides(10)},
        fine_part("ks22_long"),
    ),
    "ks2d22": Call(
        q.ks2d22,
        lambda _: {"split": "validation", "dt": 5.0},
        {"split": one_of("text", None, "train", "validation", "test"), "dt": divides(5)},
        fine_part("ks2d22"),
    ),
    "save": Call(
        save_and_load,
        lambda folder: {"array": junk.field(), "path": folder / "a.nc"},
        {"array": FIELD, "path": PATH},
        kept,
    ),
    "load": Call(
        q.load,
        lambda folder: {"path": saved(folder), "sha256": None},
        {"path": PATH, "sha256": optional(TEXT)},
        lambda given, back: kept({"array": junk.field() if back.name is None else back}, back),
    ),
    "save_state": Call(
        save_and_load_state,
        lambda folder: {"state": STATE_OF_TRAINING, "path": folder / "a.safetensors"},
        {"state": Kind("odd", is_state), "path": PATH},
        lambda given, back: same_state(back, given["state"]),
    ),
    "load_state": Call(
        lambda path: q.load_state(path),
        lambda folder: {"path": saved_state(folder)},
        {"path": PATH},
        lambda given, back: same_state(back, STATE_OF_TRAINING),
    ),
    "estimate": Call(
        q.estimate,
        lambda _: {
            "model": layer_of(backend=q.ShotBackend(4, seed=1)), "updates": 3, "batch_size": 2, "time_steps": 2,
            "machine": "ibm_fez",
        },
        {
            "model": Kind("model", has_a_layer), "updates": integer(1, 2**63 - 1), "batch_size": integer(1),
            "time_steps": integer(1), "machine": one_of("text", *q.machines().index),
        },
        foreseen,
    ),
    "CostEstimate": Call(
        lambda **given: q.CostEstimate(**given),
        lambda _: {
            "machine": "a", "currency": "USD", "circuits": 1, "shots": 2, "jobs": 3, "exact": True, "depth": 4,
            "two_qubit_gates": 5, "seconds": 1.0, "seconds_range": (1.0, 2.0), "money": 1.0, "money_range": (1.0, 2.0),
        },
        {},
        unchanged,
    ),
    "SPSAOptimizer": Call(
        one_spsa_step,
        lambda _: {
            "params": [nn.Parameter(torch.ones(3, dtype=torch.float64))], "lr": 0.1, "c": 0.1, "alpha": 0.602,
            "gamma": 0.101, "stability": 0.0, "directions": 1, "seed": 1,
        },
        {
            "params": a("data", list, tuple), "lr": real(0), "c": real(0, True), "alpha": real(0), "gamma": real(0),
            "stability": real(0), "directions": integer(1), "seed": SEED,
        },
        moved,
    ),
    "SPSAOptimizer.step": Call(
        lambda closure: spsa_of([nn.Parameter(torch.ones(3))]).step(closure),
        lambda _: {"closure": lambda: 0.5},
        {"closure": FUNCTION},
        finite,
    ),
    "SPSAOptimizer.load_state_dict": Call(
        lambda spall: spsa_of([nn.Parameter(torch.ones(3))]).load_state_dict(spsa_state() | {"spall": spall}),
        lambda _: {"spall": spsa_state()["spall"]},
        {"spall": Kind("odd", lambda value: isinstance(value, dict) and "generator" in value)},
    ),
    "nrmse": Call(
        q.nrmse,
        lambda _: {"prediction": np.zeros((2, 8)), "truth": np.arange(16.0).reshape(2, 8), "scale": None},
        {"prediction": numeric(), "truth": numeric(), "scale": optional(real(0, exclusive=True))},
        scored,
    ),
    "valid_prediction_time": Call(
        q.valid_prediction_time,
        lambda _: {
            "prediction": np.zeros((2, 3, 8)), "truth": np.arange(48.0).reshape(2, 3, 8), "dt": 0.25,
            "lyapunov": 0.05, "threshold": 0.4,
        },
        {
            "prediction": numeric(also_infinite=True), "truth": numeric(), "dt": real(0, True),
            "lyapunov": real(0, True), "threshold": real(0, True),
        },
        lambda given, table: finite(given, table.astype(float)),
    ),
    "nrmse_by_lead": Call(
        q.nrmse_by_lead,
        lambda _: {"prediction": np.zeros((2, 3, 8)), "truth": np.arange(48.0).reshape(2, 3, 8)},
        {"prediction": numeric(also_infinite=True), "truth": numeric()},
        lambda given, errors: None if (errors >= 0).all() else 1 / 0,
    ),
    "vpt_summary": Call(
        q.vpt_summary,
        lambda _: {
            "table": pd.DataFrame({"vpt": [1.0, 2.0], "censored": [True, False], "blown_up": [False, False]}),
        },
        {"table": a("array", pd.DataFrame)},
        finite,
    ),
    "spectrum": Call(
        q.spectrum,
        lambda _: {"fields": np.arange(16.0).reshape(2, 8), "dimensions": 1},
        {"fields": numeric(), "dimensions": integer(1, 2)},
        finite,
    ),
    "climate": Call(
        q.climate,
        lambda _: {
            "prediction": np.ones((2, 8)), "truth": np.arange(16.0).reshape(2, 8), "dimensions": 1,
        },
        {"prediction": numeric(), "truth": numeric(), "dimensions": integer(1, 2)},
        finite,
    ),
    "observer": Call(
        q.observer,
        lambda _: {
            "train": junk.field(), "validation": junk.field(), "test": junk.field(), "sensors": 2, "steps": 3,
            "washout": 1, "windows": (4, 2, 2), "seed": 0,
        },
        {
            "train": FIELD, "validation": FIELD, "test": FIELD, "sensors": integer(1), "steps": integer(1),
            "washout": integer(0), "windows": a("number", tuple, list), "seed": integer(0),
        },
        lambda given, task: finite(given, task.field(*task.test)),
    ),
    "reduced_forecast": Call(
        q.reduced_forecast,
        lambda _: {
            "train": junk.field(), "validation": junk.field(), "test": junk.field(), "modes": 2, "basis": "fourier",
            "steps": 3, "washout": 1, "windows": (4, 2, 2), "seed": 0,
        },
        {
            "train": FIELD, "validation": FIELD, "test": FIELD, "modes": integer(1, 8),
            "basis": one_of("text", "fourier", "pod"), "steps": integer(1), "washout": integer(0),
            "windows": a("number", tuple, list), "seed": integer(0),
        },
        lambda given, task: finite(given, task.still(task.test[0])),
    ),
    "Observer.field": Call(
        lambda **given: an_observer().field(**given),
        lambda _: dict(zip("xy", an_observer().test)),
        {"x": tensor(None, None, 2), "y": tensor(None, None, 6)},
        finite,
    ),
    "ReducedForecast.reduce": Call(
        lambda fields: reduced_task().reduce(fields),
        lambda _: {"fields": np.arange(16.0).reshape(2, 8)},
        {"fields": numeric()},
        finite,
    ),
    "ReducedForecast.lift": Call(
        lambda coefficients: reduced_task().lift(coefficients),
        lambda _: {"coefficients": np.arange(4.0).reshape(2, 2)},
        {"coefficients": numeric(also_infinite=True)},
    ),
    "closed_loop": Call(
        q.closed_loop,
        lambda _: {"predict": lambda x: 0.5 * x, "history": np.ones((2, 3, 8)), "count": 4, "task": reduced_task()},
        {
            "predict": FUNCTION, "history": numeric(ndim=3), "count": integer(1),
            "task": Kind("model", lambda value: type(value).__name__ == "ReducedForecast"),
        },
        lambda given, fields: None if fields.shape == (2, given["count"], 8) else 1 / 0,
    ),
    "starts": Call(
        q.starts,
        lambda _: {"fields": junk.field(), "steps": 3, "ahead": 4, "count": 5},
        {"fields": FIELD, "steps": integer(1), "ahead": integer(1), "count": integer(1)},
        lambda given, pair: finite(given, pair[1]),
    ),
    "lorenz_observer": Call(
        q.lorenz_observer,
        lambda _: {"series": a_series(), "steps": 4, "washout": 1, "stride": 2},
        {"series": FIELD, "steps": integer(1), "washout": integer(0), "stride": integer(1)},
        lambda given, task: finite(given, task.run[1]),
    ),
    "Task": Call(
        lambda **given: q.score(q.Task(**given), lambda x: torch.zeros(*x.shape[:2], 1)),
        lambda _: {"train": junk.pair(), "validation": junk.pair(), "test": junk.pair(), "name": "a", "sees": "b",
                   "washout": 0, "scored": None, "still": None},
        {name: a("data", tuple, list) for name in ("train", "validation", "test")}
        | {
            "name": TEXT, "sees": TEXT, "washout": integer(0, 2), "scored": optional(integer(1, 3)),
            "still": optional(FUNCTION),
        },
        finite,
    ),
    "Baseline, tuned": Call(
        lambda **given: q.tune(task_of_fields(), q.Baseline(**given)),
        lambda _: vars(q.standard_baselines(STEP, units=5)[1]),
        {"name": TEXT, "fit": FUNCTION, "settings": FUNCTION, "chance": BOOL},
        lambda given, table: finite(given, table["validation"]),
    ),
    "Task, tuned": Call(
        lambda **given: q.tune(q.Task(**given), q.standard_baselines(STEP, units=5)[1]),
        lambda _: {"train": junk.pair(), "validation": junk.pair(), "test": junk.pair()},
        {name: a("data", tuple, list) for name in ("train", "validation", "test")},
        lambda given, table: finite(given, table["validation"]),
    ),
    "score": Call(
        q.score,
        lambda _: {"task": task_of_fields(), "predict": lambda x: x[..., :1], "part": "test"},
        {"task": ANY_TASK, "predict": FUNCTION, "part": one_of("text", "train", "validation", "test")},
        finite,
    ),
    "Baseline": Call(
        q.Baseline,
        lambda _: {"name": "a", "fit": len, "settings": len, "chance": False},
        {"name": TEXT, "fit": FUNCTION, "settings": FUNCTION, "chance": BOOL},
        unchanged,
    ),
    "standard_baselines": Call(
        q.standard_baselines,
        lambda _: {"step": STEP, "units": 5, "hidden": (2, 3), "updates": 2},
        {"step": CIRCUIT, "units": integer(1), "hidden": a("number", tuple, list), "updates": integer(1)},
        lambda given, models: None if len({model.name for model in models}) == 9 else 1 / 0,
    ),
    "tune": Call(
        q.tune,
        lambda _: {
            "task": task_of_fields(), "baseline": q.standard_baselines(STEP, units=5)[3], "measure": q.score,
        },
        {"task": ANY_TASK, "baseline": a("object", q.Baseline), "measure": FUNCTION},
        lambda given, table: finite(given, table["validation"]),
    ),
    "compare": Call(
        q.compare,
        lambda _: {
            "task": task_of_fields(), "models": q.standard_baselines(STEP, units=5)[:4], "seeds": (0, 1),
            "measure": q.score,
        },
        {
            "task": ANY_TASK, "models": a("data", list, tuple), "seeds": a("number", list, tuple, range),
            "measure": FUNCTION,
        },
        lambda given, table: finite(given, table["test"]),
    ),
    "patch_forecast": Call(
        q.patch_forecast,
        lambda _: {
            "train": junk.field(), "validation": junk.field(), "test": junk.field(), "neighbours": 3, "spacing": 1,
            "steps": 2, "windows": (4, 2, 2), "seed": 0,
        },
        {
            "train": FIELD, "validation": FIELD, "test": FIELD, "neighbours": integer(1), "spacing": integer(1),
            "steps": integer(1), "windows": a("number", tuple, list), "seed": integer(0),
        },
        windows_of,
    ),
    "PatchForecast": Call(
        task_used,
        lambda _: vars(task_of_fields()),
        {name: a("data", tuple, list) for name in ("train", "validation", "test")}
        | {
            "offsets": a("number", tuple), "steps": integer(1), "field_std": real(0, exclusive=True),
            "increment_std": real(0, exclusive=True),
        },
        finite,
    ),
    "rollout": Call(
        q.rollout,
        lambda _: {"forecast": upwind, "history": np.ones((2, 8)), "count": 3, "task": task_of_fields(), "modes": None},
        {
            "forecast": FUNCTION, "history": numeric(ndim=2), "count": integer(1), "task": TASK,
            "modes": optional(integer(1)),
        },
        rolled_out,
    ),
    "teacher_forced": Call(
        q.teacher_forced,
        lambda _: {"forecast": upwind, "field": np.ones((5, 8)), "task": task_of_fields()},
        {"forecast": FUNCTION, "field": numeric(ndim=2), "task": TASK},
        forced,
    ),
    "metrics.mean_interval": Call(
        metrics.mean_interval,
        lambda _: {"values": [1.0, 2.0, 4.0]},
        {"values": numeric()},
        finite,
    ),
    "show_frame_player.picture": Call(
        show_frame_player.picture,
        lambda _: {"figure": junk.PNG, "alt": "a", "dpi": 90, "colours": 4},
        {
            "figure": a("picture", Figure, bytes), "alt": TEXT, "dpi": integer(1, 600), "colours": integer(2, 256),
        },
        lambda given, page: None if page.startswith("<img src=") else 1 / 0,
    ),
    "show_frame_player.player": Call(
        show_frame_player.player,
        lambda _: {
            "frames": [junk.PNG, junk.PNG], "labels": ["a", "b"], "alt": "{label}", "caption": "c",
            "slider_label": "s", "seconds": 0.2, "dpi": 90, "colours": 4, "max_bytes": 10_000,
        },
        {name: a("picture", list, tuple) for name in ("frames", "labels")}
        | {
            "alt": a("picture", str, list, tuple), "caption": TEXT, "slider_label": TEXT, "dpi": integer(1, 600),
            "colours": integer(2, 256), "seconds": real(0.05), "max_bytes": integer(1),
        },
        lambda given, player: None if "<figure" in player._repr_html_() else 1 / 0,
    ),
    "show.page_widget": Call(
        show_page_widget,
        lambda _: {"kind": "decision", "data": {"rungs": [1.0, None]}},
        {"kind": one_of("text", "decision", "plane", "wave"), "data": a("odd", dict)},
        lambda given, widget: None if "data-widget" in widget._repr_html_() else 1 / 0,
    ),
    "study.Run": Call(
        study.Run,
        lambda _: {
            "method": "spsa", "shots": 0, "budget": 20, "batch": 2, "rate": 0.1, "seed": 0, "directions": 8,
            "c": 0.1, "causal": False,
        },
        {
            "method": one_of("text", "shift", "spsa", "exact", "gru"), "shots": integer(0), "budget": integer(1),
            "batch": integer(1), "rate": real(0, True), "seed": integer(0), "directions": integer(1),
            "c": real(0, True), "causal": BOOL,
        },
        unchanged,
    ),
    "show_style.line_style": Call(
        show_style.line_style,
        lambda _: {"role": "spsa"},
        {"role": either(one_of("text", *show_style.ROLES), integer())},
        lambda given, style: None if set(style) == {"color", "linestyle", "marker"} else 1 / 0,
    ),
}  # fmt: skip


def saved_state(folder: Path) -> Path:
    q.save_state(STATE_OF_TRAINING, folder / "a.safetensors")
    return folder / "a.safetensors"


def saved(folder: Path) -> Path:
    q.save(junk.field(), folder / "a.nc")
    return folder / "a.nc"
