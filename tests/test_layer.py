"""The layer and the network as torch modules: shapes, states, gradients, seeds, refusals."""

import copy
import io
import pickle
import random

import numpy as np
import pytest
import torch
from qiskit_aer.primitives import SamplerV2
from reference import random_angles, random_state
from torch.func import functional_call

from qrnn_helpers import ExactBackend, SamplerBackend, ShotBackend
from qrnn_helpers.circuits import reuploading_step, rotation_step
from qrnn_helpers.estimators import SPSA, Autograd, ParameterShift
from qrnn_helpers.layer import QRNN, QuantumRecurrentLayer

STEP = rotation_step(1, 1)
NAN, INF = float("nan"), float("inf")


def network(step=STEP, **options) -> QRNN:
    return QRNN(3, 2, step, **{"dtype": torch.float64, "seed": 1, **options})


def series(batch=2, time=4, size=3, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, time, size), generator=generator, dtype=torch.float64)


def aer(shots=20, seed=1) -> SamplerBackend:
    return SamplerBackend(SamplerV2(), shots, seed=seed)


EXACT = [Autograd, ParameterShift, lambda: SPSA(seed=1)]
BACKENDS = [ExactBackend, lambda: ShotBackend(20, seed=1), aer]

# ---------------------------------------------------------------- shapes, states, gradients


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("backend", BACKENDS, ids=["exact", "shots", "aer"])
def test_shapes(backend, skip):
    model = network(rotation_step(2, 1), backend=backend(), skip=skip)
    y, state = model(series())
    assert y.shape == (2, 4, 2) and y.dtype == torch.float64
    if model.layer.backend.shots:
        assert state is None
    else:
        assert state.shape == (2, 4, 4) and state.dtype == torch.complex128


@pytest.mark.parametrize("estimator", EXACT[:2], ids=["Autograd", "ParameterShift"])
@pytest.mark.parametrize("step", [rotation_step(1, 1), reuploading_step(1, 1)])
def test_gradcheck_for_weights_and_inputs(step, estimator):
    model = network(step, gradient=estimator(), skip=True)
    names, weights = zip(*model.named_parameters(), strict=True)
    assert len(names) == 6

    def run(x, *values):
        return functional_call(model, dict(zip(names, values, strict=True)), (x,))[0]

    x = series(2, 2).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *weights))


def test_gradcheck_through_the_state():
    model = network(rotation_step(1, 1))
    angles = random_angles(STEP, 1, 3, seed=1)[0, :, 0, None, None]
    shift = torch.full((13,), 0.1).double() * angles
    shift.requires_grad_()
    rho = random_state(3, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, s: model.layer(a, s)[0], (shift, rho))


def test_a_loss_on_the_last_state_reaches_the_angles():
    angles = random_angles(STEP, 2, 3, seed=1).requires_grad_()
    _, state = QuantumRecurrentLayer(STEP)(angles)
    (state @ state).diagonal(dim1=-2, dim2=-1).sum().real.backward()
    assert angles.grad.abs().max() > 1e-3


@pytest.mark.parametrize("estimator", EXACT[1:], ids=["ParameterShift", "SPSA"])
def test_only_autograd_differentiates_through_a_state(estimator):
    layer = QuantumRecurrentLayer(STEP, gradient=estimator())
    angles = random_angles(STEP, 2, 3, seed=1).requires_grad_()
    probabilities, state = layer(angles)
    assert probabilities.requires_grad and not state.requires_grad
    given = random_state(2, 2, seed=1).requires_grad_()
    layer(angles, given)[0].sum().backward()
    assert given.grad is None


@pytest.mark.parametrize("estimator", EXACT, ids=["Autograd", "ParameterShift", "SPSA"])
def test_a_series_may_be_fed_in_pieces(estimator):
    model, x = network(gradient=estimator()), series(2, 6)
    whole, end = model(x)
    first, state = model(x[:, :2])
    second, state = model(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(state, end)


def test_no_gradient_where_none_is_asked():
    model = network(gradient=ParameterShift())
    with torch.no_grad():
        y, _ = model(series())
    assert not y.requires_grad and model.layer.cost.circuits == 2


def test_estimators_refuse_second_derivatives():
    """Silence would be wrong: a second derivative of an estimate is not an estimate of one."""
    angles = random_angles(STEP, 1, 2, seed=1).requires_grad_()
    probabilities, _ = QuantumRecurrentLayer(STEP, gradient=ParameterShift())(angles)
    (slope,) = torch.autograd.grad(probabilities[..., 1].sum(), angles, create_graph=True)
    with pytest.raises(RuntimeError):
        slope.sum().backward()


@pytest.mark.parametrize("backend", BACKENDS, ids=["exact", "shots", "aer"])
@pytest.mark.parametrize("estimator", EXACT[1:], ids=["ParameterShift", "SPSA"])
def test_every_strategy_trains_on_every_backend(backend, estimator):
    """A grid of methods and backends: finite gradients for every weight, and the loss moves."""
    model = network(backend=backend(), gradient=estimator())
    loss = model(series())[0].square().mean()
    loss.backward()
    for name, weight in model.named_parameters():
        assert torch.isfinite(weight.grad).all() and weight.grad.abs().max() > 0, name


def test_defaults():
    assert isinstance(QuantumRecurrentLayer(STEP).backend, ExactBackend)
    assert isinstance(QuantumRecurrentLayer(STEP).gradient, Autograd)
    assert isinstance(QuantumRecurrentLayer(STEP, backend=ShotBackend(5)).gradient, ParameterShift)
    assert QRNN(1, 1, STEP).encoder.weight.dtype == torch.get_default_dtype()


def test_repr_says_what_runs():
    text = repr(network(backend=ShotBackend(20), gradient=SPSA(c=0.2, directions=3)))
    for part in ("memory=1", "readout=1", "angles=13", "shots=20", "c=0.2, directions=3"):
        assert part in text


# ---------------------------------------------------------------- keeping, copying


def test_state_dict_holds_the_weights_and_nothing_else():
    model = network(skip=True)
    wanted = {f"{part}.{kind}" for part in ("encoder", "decoder", "skip") for kind in ("weight", "bias")}
    assert set(model.state_dict()) == wanted
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    other = network(skip=True, seed=2)
    assert not torch.equal(other(series())[0], model(series())[0])
    other.load_state_dict(torch.load(stream))
    assert torch.equal(other(series())[0], model(series())[0])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_model_may_be_copied_and_pickled(again):
    model = network(backend=ShotBackend(30, seed=1), gradient=SPSA(seed=2))
    model(series())  # caches are filled
    twin = again(model)
    for _ in range(2):
        y, z = model(series())[0], twin(series())[0]
        assert torch.equal(y, z)
        y.sum().backward()
        z.sum().backward()
    assert torch.equal(model.encoder.weight.grad, twin.encoder.weight.grad)


def test_the_step_may_change_later_without_harm():
    step = rotation_step(1, 1)
    layer = QuantumRecurrentLayer(step)
    angles = random_angles(step, 1, 2, seed=1)
    before = layer(angles)[0]
    step.x(1)
    assert torch.equal(layer(angles)[0], before)


# ---------------------------------------------------------------- seeds


def training(seed: int) -> list[torch.Tensor]:
    """Three updates with shots and random directions; all weights afterwards."""
    options = {"backend": ShotBackend(50, seed=seed + 1), "gradient": SPSA(seed=seed + 2)}
    model = network(seed=seed, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(series())[0].square().mean().backward()
        optimizer.step()
    return [weight.detach() for weight in model.parameters()]


def test_equal_seeds_give_equal_bytes():
    one, two, other = training(1), training(1), training(2)
    assert all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(one, two, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def global_generators() -> list[bytes]:
    numpy = pickle.dumps(np.random.get_state())  # noqa: NPY002
    return [torch.get_rng_state().numpy().tobytes(), numpy, pickle.dumps(random.getstate())]


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    "backend",
    [ExactBackend, lambda s: ShotBackend(20, seed=s), lambda s: aer(seed=s)],
    ids=["exact", "shots", "aer"],
)
@pytest.mark.parametrize("estimator", [lambda s: ParameterShift(), lambda s: SPSA(seed=s)])
def test_global_generators_are_neither_read_nor_set(backend, estimator, seed):
    def run() -> bytes:
        made = backend() if backend is ExactBackend else backend(seed)
        model = network(backend=made, gradient=estimator(seed), seed=seed)
        y, _ = model(series())
        y.sum().backward()
        return y.detach().numpy().tobytes() + model.encoder.weight.grad.numpy().tobytes()

    found = []
    for number in (1, 1, 2):
        torch.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002
        random.seed(number)
        before = global_generators()
        found.append(run())
        assert global_generators() == before
    if seed is None:  # equal global seeds must not make equal models
        assert len(set(found)) == 3
    else:  # different global seeds must not make different ones
        assert len(set(found)) == 1


# ---------------------------------------------------------------- what is refused


def with_value(tensor: torch.Tensor, value: float) -> torch.Tensor:
    spoilt = tensor.clone()
    spoilt.flatten()[3] = value
    return spoilt


ANGLES = random_angles(STEP, 2, 3, seed=1)
STATE = random_state(2, 2, seed=1)


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ([with_value(ANGLES, NAN)], ValueError, "angles must be finite"),
        ([with_value(ANGLES, INF)], ValueError, "angles must be finite"),
        ([with_value(ANGLES, -INF)], ValueError, "angles must be finite"),
        ([ANGLES[0]], ValueError, r"angles must have shape \(batch, time, 13\).*\(3, 13\)"),
        ([ANGLES[..., :12]], ValueError, r"angles must have shape.*13.*\(2, 3, 12\)"),
        ([ANGLES[:0]], ValueError, r"angles must have shape.*none empty"),
        ([ANGLES[:, :0]], ValueError, r"angles must have shape.*none empty"),
        ([ANGLES.numpy()], TypeError, "angles must be a torch tensor.*ndarray"),
        ([ANGLES.long()], TypeError, r"angles must have a floating dtype.*torch\.int64"),
        ([ANGLES.cfloat()], TypeError, r"angles must have a floating dtype.*torch\.complex64"),
        ([ANGLES, STATE[:1]], ValueError, r"state must have shape \(2, 2, 2\).*\(1, 2, 2\)"),
        ([ANGLES, STATE[0]], ValueError, "state must have shape"),
        ([ANGLES, with_value(STATE, NAN)], ValueError, "state must be finite"),
        ([ANGLES, STATE.numpy()], TypeError, "state must be a torch tensor"),
        ([ANGLES, STATE.real.long()], TypeError, "state must have a floating dtype"),
    ],
)
@pytest.mark.parametrize("estimator", EXACT[:2], ids=["Autograd", "ParameterShift"])
def test_wrong_tensors_are_refused_by_name(estimator, arguments, error, words):
    with pytest.raises(error, match=words):
        QuantumRecurrentLayer(STEP, gradient=estimator())(*arguments)


@pytest.mark.parametrize("backend", [ShotBackend(10), aer(10)], ids=repr)
@pytest.mark.parametrize("estimator", EXACT[1:], ids=["ParameterShift", "SPSA"])
def test_a_state_where_none_can_be_seen_is_refused(backend, estimator):
    layer = QuantumRecurrentLayer(STEP, backend=backend, gradient=estimator())
    with pytest.raises(ValueError, match="state must be None on S"):
        layer(ANGLES, STATE)
    with pytest.raises(ValueError, match="state must be None on S"):
        network(backend=backend, gradient=estimator())(series(), STATE)
    assert layer.cost.circuits == 0  # nothing ran, nothing is billed


@pytest.mark.parametrize("backend", [ShotBackend(10), aer(10)], ids=repr)
def test_autograd_off_the_exact_backend_is_refused(backend):
    for make in (QuantumRecurrentLayer, lambda step, **o: QRNN(1, 1, step, **o)):
        with pytest.raises(ValueError, match=r"gradient must not be Autograd\(\).*got backend S"):
            make(STEP, backend=backend, gradient=Autograd())


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"backend": "aer"}, TypeError, "backend must be a Backend.*'aer'"),
        ({"backend": ShotBackend}, TypeError, "backend must be a Backend"),
        ({"gradient": "spsa"}, TypeError, "gradient must be a GradientEstimator.*'spsa'"),
        ({"gradient": SPSA}, TypeError, "gradient must be a GradientEstimator"),
        ({"gradient": 0}, TypeError, "gradient must be a GradientEstimator"),
        ({"backend": ""}, TypeError, "backend must be a Backend"),
        ({"input_size": 0}, ValueError, "input_size must be at least 1"),
        ({"input_size": 1.0}, TypeError, "input_size must be an integer"),
        ({"output_size": -1}, ValueError, "output_size must be at least 1"),
        ({"skip": 1}, TypeError, "skip must be True or False"),
        ({"dtype": torch.int64}, TypeError, "dtype must be a floating torch dtype"),
        ({"dtype": "float64"}, TypeError, "dtype must be a floating torch dtype"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 1.5}, TypeError, "seed must be an integer"),
        ({"step": None}, TypeError, "step: got NoneType"),
        ({"colour": "red"}, TypeError, "colour"),
    ],
)
def test_wrong_arguments_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        QRNN(**{"input_size": 3, "output_size": 2, "step": STEP, **options})


@pytest.mark.parametrize(
    "x, error, words",
    [
        (with_value(series(), NAN), ValueError, "x must be finite"),
        (with_value(series(), INF), ValueError, "x must be finite"),
        (series(size=4), ValueError, r"x must have shape \(batch, time, 3\).*\(2, 4, 4\)"),
        (series()[0], ValueError, "x must have shape"),
        (series().numpy(), TypeError, "x must be a torch tensor"),
        (series().long(), TypeError, "x must have a floating dtype"),
        (series().float(), TypeError, r"x must have the weights' dtype torch\.float64"),
    ],
)
def test_wrong_inputs_are_refused_by_name(x, error, words):
    with pytest.raises(error, match=words):
        network()(x)


def test_a_step_that_an_encoder_cannot_reach_is_refused():
    bound = STEP.assign_parameters([0.1] * 13)
    with pytest.raises(ValueError, match="step must have at least one Parameter"):
        QRNN(1, 1, bound)


def test_diverged_weights_are_named_and_not_passed_on():
    model = network()
    with torch.no_grad():
        model.encoder.weight.fill_(NAN)
    with pytest.raises(ValueError, match="angles must be finite"):
        model(series())
