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
from reference import random_angles, random_state

from qrnn_helpers import QRNN, ExactBackend, ParameterShift, QuantumRecurrentLayer, rotation_step
from qrnn_helpers.estimators import SPSA, Autograd, FiniteDifference
from qrnn_helpers.recurrent import GRU

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
        layer.program.isometries(torch.zeros(1, 6, dtype=f64, device="cpu"), torch.complex128)
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


@pytest.mark.parametrize(("gradient", "compiler"), [(Autograd, "aot_eager"), (ParameterShift, "eager")])
def test_a_compiled_network_is_the_same(gradient, compiler):
    x = random_angles(rotation_step(1, 1), 2, 3, seed=1)[..., :3].requires_grad_()
    results = []
    for compiled in (False, True):
        model = QRNN(3, 2, rotation_step(1, 1), gradient=gradient(), dtype=f64, seed=1, skip=True)
        torch.compiler.reset()
        call = torch.compile(model, backend=compiler) if compiled else model
        y, state = call(x)
        slopes = torch.autograd.grad(y.square().sum(), [x, *model.parameters()])
        results.append((y.detach(), state, *slopes))
        assert model.layer.cost.circuits == 2 * (1 + model.layer.gradient.circuits(model.layer.program, 3))
    torch.testing.assert_close(*results, rtol=1e-13, atol=1e-13)
