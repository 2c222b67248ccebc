"""No result and no error depends on the state of the process: torch's modes, threads, locale, what the caller changes.

`every_pair` runs each backend with each estimator.
"""

import ast
import copy
import json
import os
import pickle
import re
import subprocess
import sys
from functools import cache

import pytest
import torch
from book_pages import ROOT
from every_pair import MODES, backends, digest, estimators, leaf, pairs, run, step, weights
from reference import evolve, random_angles, random_state

from qrnn_helpers import QRNN, ExactBackend, ParameterShift, QuantumRecurrentLayer, rotation_step
from qrnn_helpers.backends import ShotBackend
from qrnn_helpers.gradients import SPSA, Autograd, FiniteDifference
from qrnn_helpers.models import GRU
from qrnn_helpers.simulation import StepProgram

f64 = torch.float64
PACKAGE = sorted((ROOT / "qrnn_helpers").rglob("*.py"))
EXACT = [Autograd, ParameterShift, lambda: SPSA(seed=1), FiniteDifference]
EXACT_NAMES = ["Autograd", "ParameterShift", "SPSA", "FiniteDifference"]


@cache
def plain(backend: str, estimator: str, dtype=torch.float32) -> str:
    results = run(backend, estimator, dtype)
    assert results[1].abs().max() > 0.01
    return digest(results)


# ---------------------------------------------------------------- modes of torch


@pytest.mark.parametrize("name", [name for name in MODES if name not in ("plain", "float16 by default")])
def test_modes_change_no_byte(name):
    """Around all; and around the backward pass alone, which torch runs where the caller asks for it."""
    mode = MODES[name]
    for k, pair in enumerate(pairs()):
        dtype = [torch.float32, f64][k % 2]
        assert digest(run(*pair, dtype, mode, mode)) == plain(*pair, dtype), (pair, dtype)
        if "sampler" not in pair:
            assert digest(run(*pair, torch.float32, backward=mode)) == plain(*pair), pair


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_values_alone_are_the_same(mode):
    for backend, estimator in pairs():
        wanted, _ = run(backend, estimator)
        with mode():
            angles = leaf()  # in inference mode: a tensor that torch would not keep for a backward pass
            found, _ = QuantumRecurrentLayer(step(), backend=backends()[backend](), gradient=estimators()[estimator]())(
                angles
            )
        assert torch.equal(found, wanted), (backend, estimator)


def test_what_inference_mode_made_can_be_trained():
    with torch.inference_mode():
        x, rho = random_angles(rotation_step(1, 1), 2, 3, seed=1)[..., :3].clone(), random_state(2, 2, seed=1).clone()
        models = [(QRNN(3, 1, rotation_step(1, 1), gradient=gradient(), dtype=f64, seed=1), rho) for gradient in EXACT]
        models.append((GRU(3, 1, 2, dtype=f64, seed=1), torch.zeros(1, 2, 2, dtype=f64)))
        states = [model(x, state)[1] for model, state in models]
    for (model, state), carried in zip(models, states):
        plainly = copy.deepcopy(model)
        model(x, state)[0].sum().backward()
        model(x, carried)[0].sum().backward()
        plainly(x.clone(), state.clone())[0].sum().backward()
        plainly(x.clone(), carried.clone())[0].sum().backward()
        for one, two in zip(model.parameters(), plainly.parameters(), strict=True):
            assert torch.equal(one.grad, two.grad) and one.grad.abs().max() > 0


def test_a_first_call_in_inference_mode_leaves_nothing_for_later():
    """Constants that are made once must not be inference tensors: second derivatives keep them."""
    layer = QuantumRecurrentLayer(step())
    with torch.inference_mode():
        layer(leaf())
        layer.program.kraus(torch.zeros(1, 6, dtype=f64, device="cpu"), torch.complex128)
    angles = leaf()
    (slope,) = torch.autograd.grad(layer(angles)[0], angles, weights(), create_graph=True)
    slope.square().sum().backward()
    assert angles.grad.abs().max() > 0


@pytest.mark.parametrize("backend", ["exact", "exact in complex64", "shots", "moments", "sampler"])
def test_threads_change_no_more_than_rounding(backend):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        wanted = run(backend, "shift")
        torch.set_num_threads(3)
        found = run(backend, "shift")
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12 if backend != "exact in complex64" else 1e-6)


# ---------------------------------------------------------------- other processes


def test_another_process_finds_the_same(tmp_path):
    """With hash seed, locale and working directory of its own, and modes that are on before the import."""
    env = {**os.environ, "PYTHONHASHSEED": "1", "LC_ALL": "tr_TR.UTF-8", "PYTHONPATH": str(ROOT)}
    modes = ["float16 by default", "meta by default", "autocast", "deterministic"]
    command = [sys.executable, str(ROOT / "tests" / "every_pair.py"), *modes]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
    assert json.loads(done.stdout) == {" with ".join(pair): plain(*pair) for pair in pairs()}


# ---------------------------------------------------------------- what the caller changes in between


def changed(circuit):
    """The caller goes on building: another gate, other angles, a gate's definition emptied."""
    definition = circuit.data[0].operation.definition
    circuit.x(1)
    circuit.assign_parameters(dict.fromkeys(circuit.parameters, 0.1), inplace=True)
    definition.data.clear()
    circuit.global_phase = 1.0
    return circuit


@pytest.mark.parametrize("backend", ["exact", "shots", "sampler"])
@pytest.mark.parametrize("twin", [lambda x: x, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_circuit_changed_after_the_layer_was_made(backend, twin):
    if backend == "sampler" and twin(0) is not None and twin is not copy.deepcopy:
        twin = copy.copy  # a device's session is no thing to pickle
    circuit, wrapped = step(), rotation_step(1, 1).copy_empty_like()
    wrapped.append(circuit.to_instruction(), [0, 1])
    layers = [
        QuantumRecurrentLayer(wrapped, backend=backends()[backend](), gradient=ParameterShift()) for _ in range(2)
    ]
    results = []
    for layer in layers:
        if layer is layers[1]:
            changed(wrapped)
            layer = twin(layer)
        angles = leaf()
        probabilities, _ = layer(angles)
        probabilities.backward(weights())
        results.append((probabilities.detach(), angles.grad))
    assert digest(results[0]) == digest(results[1])


@pytest.mark.parametrize("gradient", EXACT, ids=EXACT_NAMES)
@pytest.mark.parametrize("curved", [False, True], ids=["linear", "curved"])
def test_angles_and_state_changed_before_the_backward_pass(gradient, curved):
    """torch's own error, or the right slopes: never those of other angles or of another state."""
    circuit = step() if curved else rotation_step(1, 1)
    given, rho = random_angles(circuit, 2, 3, seed=1), random_state(2, 2, seed=1)

    def slopes(change=lambda angles, state, results: None):
        layer = QuantumRecurrentLayer(circuit, gradient=gradient())
        leaf, state = given.clone().requires_grad_(), rho.clone()
        angles = leaf.clone()
        probabilities, _ = results = layer(angles, state)
        loss = (probabilities * weights()).sum()
        change(angles.detach(), state, [part.detach() for part in results])
        loss.backward()
        return leaf.grad

    right = slopes()
    assert right.abs().max() > 0.1
    changes = {
        "the state": lambda angles, state, results: state.copy_(results[1]),
        "a view of the state": lambda angles, state, results: state[0].zero_(),
        "the angles": lambda angles, state, results: angles.zero_(),
        "the new state": lambda angles, state, results: results[1].zero_(),
    }
    for name, change in changes.items():
        try:
            torch.testing.assert_close(slopes(change), right, msg=name)
        except RuntimeError as error:
            assert re.search("modified.*inplace", str(error)), name
            assert name != "the new state"


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_second_slopes_of_what_was_changed(dtype):
    layer, given = QuantumRecurrentLayer(step(), backend=ExactBackend(dtype)), leaf()

    def slopes(change=lambda angles, state: None):
        leaf, state = given.detach().clone().requires_grad_(), random_state(2, 2, seed=1)
        angles = leaf.clone()
        (slope,) = torch.autograd.grad(layer(angles, state)[0], leaf, weights(), create_graph=True)
        change(angles.detach(), state)
        slope.square().sum().backward()
        return leaf.grad

    right = slopes()
    for change in (lambda angles, state: state.zero_(), lambda angles, state: angles.zero_()):
        try:
            torch.testing.assert_close(slopes(change), right)
        except RuntimeError as error:
            assert re.search("modified.*inplace", str(error))


# ---------------------------------------------------------------- narrow dtypes and autocast


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gradient", EXACT, ids=EXACT_NAMES)
def test_narrow_angles_are_computed_in_double_precision(gradient, dtype):
    """The same angles in float64 give the same numbers, which are then rounded once."""
    circuit, results = rotation_step(2, 1), []
    narrow = random_angles(circuit, 2, 3, seed=3).to(dtype)
    for angles in (narrow, narrow.double()):
        angles.requires_grad_()
        probabilities, _ = QuantumRecurrentLayer(circuit, gradient=gradient())(angles)
        probabilities.backward(weights().to(probabilities.dtype).sign())
        results.append((probabilities.detach(), angles.grad))
    for found, wanted in zip(*results):
        assert found.dtype == dtype
        assert torch.equal(found, wanted.to(dtype))


def test_histories_are_the_same_under_autocast():
    shots = [ShotBackend(200, seed=1, dtype=torch.complex64) for _ in range(2)]
    program, found = StepProgram(step()), []
    gate_angles = program.gate_angles(leaf().detach())
    for backend, mode in zip(shots, (MODES["plain"], MODES["autocast"])):
        with mode():
            found.append(backend.histories(program, gate_angles.float()))
    assert torch.equal(*found)


@pytest.mark.parametrize("gradient", EXACT, ids=EXACT_NAMES)
def test_a_network_under_autocast(gradient):
    """Its linear layers round to bfloat16, as everywhere under autocast; the circuits between them do not."""
    model = QRNN(3, 1, rotation_step(1, 1), gradient=gradient(), dtype=torch.float32, seed=1)
    x = random_angles(rotation_step(1, 1), 2, 3, seed=1)[..., :3].float()
    with torch.autocast("cpu", torch.bfloat16):
        angles = model.encoder(x)
        y, state = model(x)
        y.float().square().sum().backward()
    assert angles.dtype == y.dtype == torch.bfloat16 and state.dtype == torch.complex128
    wanted = model.layer(angles.detach().double())[0].to(torch.bfloat16)
    assert torch.equal(model.layer(angles.detach())[0], wanted)
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_differences_are_held_to_the_precision_that_circuits_run_in():
    angles = leaf(torch.bfloat16)
    QuantumRecurrentLayer(step(), gradient=FiniteDifference(1e-6))(angles)[0].backward(weights(torch.bfloat16))
    wanted = run("exact", "Autograd", torch.bfloat16)[1]
    torch.testing.assert_close(angles.grad, wanted)
    layer = QuantumRecurrentLayer(step(), backend=ExactBackend(torch.complex64), gradient=FiniteDifference(1e-8))
    with pytest.raises(ValueError, match="h must be more than .* in torch.complex64"):
        layer(leaf())[0].sum().backward()


# ---------------------------------------------------------------- the static guard

BOTH = {"dtype", "device"}
MUST_NAME = {
    **dict.fromkeys(["arange", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randn", "zeros"], BOTH),
    **dict.fromkeys(["empty_strided", "scalar_tensor", "tensor"], BOTH),
    **{name: {"device"} for name in ("randint", "randperm", "tril_indices", "triu_indices")},  # whole numbers always
}
"""torch's functions that make a tensor of the default dtype or on the default device unless both are named."""


def unnamed(tree: ast.AST) -> list[str]:
    """Calls that leave the dtype or the device of what they make to the process."""
    must = {f"torch.{name}": names for name, names in MUST_NAME.items()}
    must |= {"torch.as_tensor": {"device"}, "torch.asarray": {"device"}}  # move arrays; torch.from_numpy does not
    must |= {name: BOTH for name in ("nn.Linear", "torch.nn.Linear", "nn.utils.skip_init")}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = []
    for call in calls:
        name, named = ast.unparse(call.func), {keyword.arg for keyword in call.keywords}
        if name == "torch.Generator" and not call.args + call.keywords:
            found.append(f"line {call.lineno}: {name} must name its device")
        if None not in named and not must.get(name, set()) <= named:  # **options are taken to hold what is missing
            found.append(f"line {call.lineno}: {name} must name {must[name]}")
    return found


def test_the_guard_sees():
    code = "torch.zeros(2)\ntorch.eye(2, dtype=d)\ntorch.rand(1, device=e)\ntorch.as_tensor(x)\ntorch.Generator()"
    assert len(unnamed(ast.parse(code))) == 5
    assert not unnamed(ast.parse("torch.zeros(2, dtype=d, device=e)\nx.new_zeros(2)\ntorch.zeros_like(x)"))


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.stem)
def test_every_new_tensor_names_its_dtype_and_device(path):
    assert not unnamed(ast.parse(path.read_text()))


# ---------------------------------------------------------------- compilers


@pytest.mark.parametrize("gradient", EXACT[:2], ids=EXACT_NAMES[:2])
def test_a_compiled_network_is_the_same(gradient):
    x = random_angles(rotation_step(1, 1), 2, 3, seed=1)[..., :3].requires_grad_()
    results = []
    for compiled in (False, True):
        model = QRNN(3, 2, rotation_step(1, 1), gradient=gradient(), dtype=f64, seed=1, skip=True)
        torch.compiler.reset()
        call = torch.compile(model, backend="eager") if compiled else model
        y, state = call(x)
        slopes = torch.autograd.grad(y.square().sum(), [x, *model.parameters()])
        results.append((y.detach(), state, *slopes))
        assert model.layer.cost.circuits == 2 * (1 + model.layer.gradient.circuits(model.layer.program, 3))
    torch.testing.assert_close(*results, rtol=1e-13, atol=1e-13)


# ---------------------------------------------------------------- steps without a free gate angle


def without_gates(free_phase: bool):
    """A step of constant gates; with a Parameter that no gate sees, if asked for."""
    from qiskit.circuit import Parameter

    circuit = rotation_step(2, 1)
    circuit = circuit.assign_parameters([0.3 + 0.1 * k for k in range(len(circuit.parameters))])
    if free_phase:
        circuit.global_phase = Parameter("phase")
    return circuit


@pytest.mark.parametrize("pair", pairs(), ids=" with ".join)
@pytest.mark.parametrize("free_phase", [False, True])
def test_a_step_without_gate_angles(pair, free_phase):
    """Right probabilities, within 4.5 standard errors where they are drawn, and slopes of 0."""
    circuit = without_gates(free_phase)
    layer = QuantumRecurrentLayer(circuit, backend=backends()[pair[0]](), gradient=estimators()[pair[1]]())
    wanted = torch.from_numpy(evolve(circuit, [[0.7] * free_phase] * 3)[0])
    for time in (1, 3):
        angles = torch.full((2, time, int(free_phase)), 0.7, dtype=f64, requires_grad=True)
        probabilities, _ = layer(angles)
        probabilities.backward(torch.ones_like(probabilities))
        assert angles.grad.shape == angles.shape
        if "moments" not in pair[0]:  # whose noise has the variance 0 to within rounding
            assert not angles.grad.any()
        shots = layer.backend.shots
        atol = 4.5 * 0.5 / shots**0.5 if shots else 1e-6 if "complex64" in pair[0] else 1e-12
        torch.testing.assert_close(probabilities.detach(), wanted[:time].expand(2, -1, -1), rtol=0, atol=atol)


def test_a_state_goes_through_a_step_without_gate_angles():
    circuit, rho = without_gates(False), random_state(2, 4, seed=1)
    angles = torch.zeros(2, 3, 0, dtype=f64)
    layer = QuantumRecurrentLayer(circuit)
    for k in range(2):
        wanted, end = evolve(circuit, [[]] * 3, rho[k].numpy())
        probabilities, state = layer(angles, rho)
        torch.testing.assert_close(probabilities[k], torch.from_numpy(wanted))
        torch.testing.assert_close(state[k], torch.from_numpy(end))
    leaf = rho.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda state: layer(angles, state)[0], leaf)


# ---------------------------------------------------------------- states that are carried for long


@pytest.mark.parametrize(("memory", "seed"), [(1, 1), (3, 2)])
def test_a_state_of_single_precision_is_carried_for_long(memory, seed):
    """3,000 steps of the same angles: one call, then many, against double precision.  Steps that are isometries to
    within 1e-7 would by themselves change the trace to the same side every time: to .999 and 1.001 by the end."""
    circuit = rotation_step(memory, 2 if memory == 3 else 1)
    angles = random_angles(circuit, 1, 1, seed=seed).expand(1, 3000, -1)
    single = QuantumRecurrentLayer(circuit, backend=ExactBackend(torch.complex64))
    with torch.no_grad():
        wanted, wanted_state = QuantumRecurrentLayer(circuit)(angles)
        whole, end = single(angles)
        state, parts = None, []
        for piece in angles.split([1000, 1, 999, *[1] * 100, 900], dim=1):
            part, state = single(piece, state)
            parts.append(part)
    for found, last in ((whole, end), (torch.cat(parts, 1), state)):
        assert (found.sum(-1) - 1).abs().max() < 1e-6
        assert (last.diagonal(dim1=-2, dim2=-1).sum(-1) - 1).abs().max() < 1e-6
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(last.to(torch.complex128), wanted_state, rtol=0, atol=1e-5)


def test_slopes_of_single_precision_stay_those_of_double(time=60):
    circuit, results = rotation_step(2, 1), []
    given = random_angles(circuit, 1, 1, seed=3).expand(1, time, -1)
    for dtype in (torch.complex64, torch.complex128):
        angles = given.clone().requires_grad_()
        rho = random_state(1, 4, seed=1).to(dtype).requires_grad_()
        probabilities, state = QuantumRecurrentLayer(circuit, backend=ExactBackend(dtype))(angles, rho)
        (probabilities[..., 0].sum() + state[:, 0, 0].real.sum()).backward()
        results.append((angles.grad, rho.grad.to(torch.complex128)))
    for single, double in zip(*results):
        torch.testing.assert_close(single, double, rtol=0, atol=1e-4 * float(double.abs().max()))


# ---------------------------------------------------------------- tensors of every kind

TENSORS = {
    "float8": (lambda x: x.to(torch.float8_e4m3fn), "a floating dtype of 16 bits or more; got torch.float8_e4m3fn"),
    "nested": (lambda x: torch.nested.nested_tensor(list(x)), "a dense tensor that holds values; got nested"),
    "jagged": (
        lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged),
        "a dense tensor that holds values; got nested",
    ),
    "sparse": (lambda x: x.to_sparse(), "a dense tensor that holds values; got torch.sparse_coo"),
    "masked": (lambda x: torch.masked.masked_tensor(x, x > 0), "a dense tensor that holds values; got a masked one"),
    "empty": (lambda x: x[:0], r"shape \(batch, time, 3\), none empty; got \(0, 3, 3\)"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of")
@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("gradient", EXACT[:2], ids=EXACT_NAMES[:2])
def test_tensors_without_plain_values_are_refused(gradient, name):
    make, words = TENSORS[name]
    with pytest.raises((TypeError, ValueError), match=f"angles must have {words}|angles must be {words}") as caught:
        QuantumRecurrentLayer(step(), gradient=gradient())(make(leaf().detach()))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("gradient", EXACT[:2], ids=EXACT_NAMES[:2])
def test_transforms_of_torch_func_are_refused(gradient):
    layer, angles = QuantumRecurrentLayer(step(), gradient=gradient()), leaf().detach()
    calls = [
        lambda: torch.func.vmap(lambda a: layer(a)[0])(angles[None]),
        lambda: torch.func.grad(lambda a: layer(a)[0][..., 0].sum())(angles),
        lambda: torch.func.jvp(lambda a: layer(a)[0], (angles,), (angles,)),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="angles must be .* inside a transform of torch.func"):
            call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex32, torch.complex64])
def test_states_of_narrow_dtypes(dtype):
    """What a state's own rounding changes is all that changes."""
    rho = torch.diag_embed(torch.tensor([[0.25, 0.75], [0.5, 0.5]], dtype=f64))  # held exactly by all of them
    for gradient in EXACT[:2]:
        layer = QuantumRecurrentLayer(step(), gradient=gradient())
        assert torch.equal(layer(leaf(), rho.to(dtype))[0], layer(leaf(), rho)[0])


@pytest.mark.parametrize("gradient", EXACT, ids=EXACT_NAMES)
def test_views_of_angles_have_the_slopes_of_copies(gradient):
    """Expanded, transposed, strided and flipped angles, and a leaf that stands in several places at once."""
    views = {
        "expanded": lambda x: x[:1, :1].expand(2, 3, -1),
        "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
        "strided": lambda x: x.repeat_interleave(2, 2)[..., ::2],
        "flipped": lambda x: x.flip(1),
        "one column": lambda x: x[..., :1].expand(-1, -1, 3),
    }
    for name, view in views.items():
        results = []
        for copied in (False, True):
            x = leaf()
            angles = view(x).clone(memory_format=torch.contiguous_format) if copied else view(x)
            probabilities, _ = QuantumRecurrentLayer(step(), gradient=gradient())(angles)
            (probabilities * weights()).sum().backward()
            results.append((probabilities.detach(), x.grad))
        torch.testing.assert_close(*results, rtol=1e-13, atol=1e-13, msg=name)
