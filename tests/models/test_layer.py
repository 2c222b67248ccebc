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
from safetensors.torch import save
from torch.func import functional_call

from qrnn_helpers import ExactBackend, SamplerBackend, ShotBackend
from qrnn_helpers.circuits import reuploading_step, rotation_step
from qrnn_helpers.gradients import SPSA, Autograd, ParameterShift
from qrnn_helpers.models import GRU, QRNN, RNN, QuantumRecurrentLayer

STEP = rotation_step(1, 1)
GENERATORS = "layer._extra_state"
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


@pytest.mark.parametrize(
    "model", [network(skip=True), GRU(3, 2, 5, dtype=torch.float64), RNN(3, 2, 5, dtype=torch.float64)]
)
def test_features_are_what_the_decoder_reads(model):
    x = series()
    features = model.features(x)
    assert features.shape == (2, 4, model.decoder.in_features) and features.requires_grad
    y = model.decoder(features)
    if isinstance(model, QRNN):
        y = y + model.skip(x)
        torch.testing.assert_close(features.sum(-1), torch.ones(2, 4, dtype=torch.float64))
    assert torch.equal(y, model(x)[0])


@pytest.mark.parametrize("model", [network(), GRU(3, 2, 5, dtype=torch.float64)])
def test_features_refuse_what_forward_refuses(model):
    with pytest.raises(ValueError, match=r"x must have shape \(batch, time, 3\)"):
        model.features(series(size=4))
    with pytest.raises(TypeError, match="x must have the weights' dtype torch.float64; got torch.float32"):
        model.features(series().float())


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


def test_autograd_has_second_derivatives():
    layer = QuantumRecurrentLayer(STEP)
    angles = random_angles(STEP, 1, 2, seed=1)
    along = torch.linspace(-1, 1, angles.numel(), dtype=torch.float64).view_as(angles)
    far = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda s: layer(angles + s[0] * along + s[1] * along**2)[0], (far,))


@pytest.mark.parametrize("estimator", EXACT[:2], ids=["Autograd", "ParameterShift"])
def test_gradients_accumulate(estimator):
    """Two half batches are one batch."""
    whole, halves = network(gradient=estimator()), network(gradient=estimator())
    whole(series(4))[0].square().sum().backward()
    for half in series(4).split(2):
        halves(half)[0].square().sum().backward()
    for one, two in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


@pytest.mark.parametrize("estimator", EXACT, ids=["Autograd", "ParameterShift", "SPSA"])
def test_behind_a_frozen_encoder_no_gradient_circuits_run(estimator):
    model = network(gradient=estimator())
    model.encoder.requires_grad_(False)
    model(series())[0].square().sum().backward()
    assert model.layer.cost.circuits == 2  # the forward pass
    assert model.encoder.weight.grad is None and model.encoder.bias.grad is None
    assert model.decoder.weight.grad.abs().max() > 0


def test_every_backward_pass_estimates_anew():
    model = network(gradient=SPSA(seed=1))
    loss, slopes = model(series())[0].square().sum(), []
    for _ in range(2):
        model.zero_grad()
        loss.backward(retain_graph=True)
        slopes.append(model.encoder.weight.grad.clone())
    assert not torch.equal(*slopes)
    assert model.layer.cost.circuits == 2 + 2 * 2 * 2


@pytest.mark.parametrize("backend", BACKENDS, ids=["exact", "shots", "aer"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_pass_without_a_graph_leaves_training_possible(mode, backend):
    """What the first call leaves for later ones must not be tensors that autograd refuses."""
    model = network(backend=backend())
    with mode():
        y, _ = model(series())
        assert not model.layer(ANGLES.clone().requires_grad_())[0].requires_grad
    assert not y.requires_grad and model.layer.cost.circuits == 4
    model(series())[0].sum().backward()
    assert model.encoder.weight.grad.abs().max() > 0


def test_weights_may_be_given_from_outside():
    model = network(gradient=ParameterShift())
    weights = {name: (weight.detach() * 1.1).requires_grad_() for name, weight in model.named_parameters()}
    y, _ = functional_call(model, weights, (series(),))
    y.square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in weights.values())
    assert all(weight.grad is None for weight in model.parameters())
    assert not torch.equal(y, model(series())[0])


@pytest.mark.parametrize("backend", BACKENDS[:2], ids=["exact", "shots"])
@pytest.mark.parametrize("estimator", EXACT[1:], ids=["ParameterShift", "SPSA"])
def test_a_model_may_change_its_dtype_and_be_moved(backend, estimator):
    model = network(backend=backend(), gradient=estimator())
    for change, dtype in ((lambda m: m.float(), torch.float32), (lambda m: m.to(torch.float64), torch.float64)):
        assert change(model).to("cpu") is model
        y, _ = model(series().to(dtype))
        y.sum().backward()
        assert y.dtype == model.encoder.weight.grad.dtype == dtype
        model.zero_grad()


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
    assert "in_features=3, out_features=13" in text and "in_features=2, out_features=2" in text
    assert "0x" not in text  # no addresses: equal networks say the same


# ---------------------------------------------------------------- keeping, copying


def through_a_file(state: dict) -> dict:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def test_state_dict_holds_the_weights_and_the_generators_and_nothing_else():
    model = network(skip=True)
    weights = {f"{part}.{kind}" for part in ("encoder", "decoder", "skip") for kind in ("weight", "bias")}
    assert set(model.state_dict()) == weights | {GENERATORS}
    assert model.state_dict()[GENERATORS].shape == (0,)  # exact: there are no generators
    other = network(skip=True, seed=2)
    assert not torch.equal(other(series())[0], model(series())[0])
    other.load_state_dict(through_a_file(model.state_dict()))
    assert torch.equal(other(series())[0], model(series())[0])


class OwnBackend(ExactBackend):
    """A reader's: exact probabilities with noise of its own."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def run(self, program, gate_angles, state=None):
        probabilities, state = super().run(program, gate_angles, state)
        return probabilities + 1e-3 * torch.rand(probabilities.shape, generator=self.generator), state


DRAWING = [lambda s: ShotBackend(20, seed=s), lambda s: aer(seed=s), OwnBackend]


def update(model) -> bytes:
    """A forward and a backward pass: all that was drawn, as bytes."""
    model.zero_grad()
    y, _ = model(series())
    y.square().sum().backward()
    return y.detach().numpy().tobytes() + model.encoder.weight.grad.numpy().tobytes()


@pytest.mark.parametrize("backend", DRAWING, ids=["shots", "aer", "own"])
def test_generators_come_back_with_the_state_dict(backend):
    model = network(backend=backend(1), gradient=SPSA(seed=2))
    update(model)
    state = through_a_file(model.state_dict())
    wanted = [update(model), update(model)]
    other = network(backend=backend(8), gradient=SPSA(seed=9), seed=7)
    assert update(other) not in wanted
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert [update(other), update(other)] == wanted


def test_a_state_dict_is_a_snapshot():
    model = network(backend=ShotBackend(20, seed=1), gradient=SPSA(seed=2))
    state = model.state_dict()
    before = state[GENERATORS].clone()
    update(model)
    assert torch.equal(state[GENERATORS], before) and not torch.equal(model.state_dict()[GENERATORS], before)


def test_older_and_foreign_state_dicts_load_and_give_what_fits():
    """Strict, too: weights always, a generator's state only to the same class of backend or estimator."""
    source = network(backend=ShotBackend(20, seed=1), gradient=SPSA(seed=2))
    state = source.state_dict()
    old = {name: value for name, value in state.items() if name != GENERATORS}
    for given, taken in ((old, False), (state, True), ({n: v.double() for n, v in state.items()}, True)):
        model = network(backend=aer(seed=3), gradient=SPSA(seed=4), seed=5)
        shots = model.layer.backend.generator.get_state()
        model.load_state_dict(given, strict=True)
        assert torch.equal(model.encoder.weight, source.encoder.weight)
        assert torch.equal(model.layer.backend.generator.get_state(), shots)
        directions = [m.layer.gradient.generator.get_state() for m in (model, source)]
        assert torch.equal(*directions) == taken
    on_a_gpu = save({"gradient SPSA": torch.zeros(16, dtype=torch.uint8)})  # a generator of another kind
    model.load_state_dict({**state, GENERATORS: torch.frombuffer(bytearray(on_a_gpu), dtype=torch.uint8)})
    network(gradient=ParameterShift()).load_state_dict(state)
    source.load_state_dict(network().state_dict())
    assert len(old) == len(state) - 1  # what was given is as it was


def test_other_missing_and_unknown_keys_are_still_refused():
    state = network().state_dict()
    with pytest.raises(RuntimeError, match=r'Missing key.*"encoder.bias"'):
        network().load_state_dict({name: value for name, value in state.items() if name != "encoder.bias"})
    with pytest.raises(RuntimeError, match='Unexpected key.*"colour"'):
        network().load_state_dict({**state, "colour": state["encoder.bias"]})
    bare = QuantumRecurrentLayer(STEP, backend=ShotBackend(5, seed=1))
    assert list(bare.state_dict()) == ["_extra_state"]
    bare.load_state_dict({})


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ({"backend": 1}, TypeError, "_extra_state must be the tensor of get_extra_state; got.*dict"),
        (torch.ones(5, dtype=torch.uint8), ValueError, "_extra_state must be.*got a damaged one"),
    ],
)
def test_a_spoilt_extra_state_is_named(value, error, words):
    with pytest.raises(error, match=words):
        QuantumRecurrentLayer(STEP, gradient=SPSA()).load_state_dict({"_extra_state": value})


def test_layers_may_share_one_generator():
    def pair(seed):
        shared = torch.Generator().manual_seed(seed)
        return torch.nn.ModuleList(
            network(backend=ShotBackend(20, shared), gradient=SPSA(seed=shared), seed=n) for n in (1, 2)
        )

    one, other = pair(1), pair(2)
    update(one[0])
    other.load_state_dict(through_a_file(one.state_dict()))
    twin = copy.deepcopy(one)
    assert twin[0].layer.backend.generator is twin[1].layer.gradient.generator
    wanted = [update(one[1]), update(one[0])]
    for models in (other, twin):
        assert [update(models[1]), update(models[0])] == wanted


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
    assert twin.layer.backend.generator is not model.layer.backend.generator
    twin(series())  # a draw of the copy's own
    states = [m.layer.backend.generator.get_state() for m in (model, twin)]
    assert not torch.equal(*states)


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
