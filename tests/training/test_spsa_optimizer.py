"""Spall's algorithm on the weights: its statistics, its gains, and that nothing is ever lost."""

import copy
import io
import itertools
import pickle

import numpy as np
import pytest
import torch
from reference import LEVEL, random_angles
from scipy.stats import chi2, norm

from qrnn_helpers import QRNN, SPSA, QuantumRecurrentLayer, ShotBackend, SPSAOptimizer, rotation_step

CONSTANT = {"alpha": 0.0, "gamma": 0.0}
NAN, INF = float("nan"), float("inf")


class Quadratic:
    """L(w) = (w - b)^T H (w - b) / 2, w in two tensors of unlike shape; counts its calls."""

    def __init__(self, dtype=torch.float64):
        generator = torch.Generator().manual_seed(5)
        raw, self.bottom, start = (torch.randn(s, generator=generator, dtype=dtype) for s in ((4, 4), 4, 4))
        self.hessian, self.calls = raw @ raw.T + 0.5 * torch.eye(4, dtype=dtype), 0
        self.weights = [torch.nn.Parameter(start[:3].clone()), torch.nn.Parameter(start[3:].reshape(1, 1).clone())]

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        off = self.point() - self.bottom
        return off @ self.hessian @ off / 2

    def point(self) -> torch.Tensor:
        return torch.cat([w.detach().flatten() for w in self.weights])

    def gradient(self) -> torch.Tensor:
        return self.hessian @ (self.point() - self.bottom)


def content(weights) -> list[bytes]:
    return [w.detach().numpy().tobytes() for w in weights]


def estimates(loss: Quadratic, count: int, **options) -> torch.Tensor:
    """Many estimates of the gradient at one point: what a step of rate 1 takes off the weights."""
    optimizer = SPSAOptimizer(loss.weights, lr=1.0, **CONSTANT, **options)
    start, found = [w.detach().clone() for w in loss.weights], []
    before = loss.point()
    for _ in range(count):
        optimizer.step(loss)
        found.append(before - loss.point())
        for weight, old in zip(loss.weights, start, strict=True):
            weight.data.copy_(old)
    return torch.stack(found)


# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize(("c", "directions"), [(1e-3, 1), (0.3, 1), (20.0, 1), (0.3, 3)])
def test_on_a_quadratic_the_estimate_is_unbiased_with_the_covariance_of_theory_for_any_c(c, directions):
    """Mean: N (mean - G)^T S^-1 (mean - G) is chi-square with 4 degrees of freedom, S the covariance of theory.
    Covariance: a z-test of the mean of every product of deviations, Bonferroni over the ten.  Level 1e-3."""
    loss, count = Quadratic(), 3000
    slope = loss.gradient()
    found = estimates(loss, count, c=c, directions=directions, seed=1)
    theory = slope.square().sum() * torch.eye(4) + torch.outer(slope, slope) - 2 * torch.diag(slope.square())
    theory = theory / directions
    off = found.mean(0) - slope
    assert chi2.sf(float(count * off @ torch.linalg.solve(theory, off)), 4) > LEVEL
    deviations = found - slope
    for i, j in itertools.combinations_with_replacement(range(4), 2):
        product = deviations[:, i] * deviations[:, j]
        error = float(product.std()) / count**0.5
        z = float(product.mean() - theory[i, j]) / max(error, 1e-9)
        assert 2 * norm.sf(abs(z)) > LEVEL / 10, (i, j)


def test_it_converges_on_a_noisy_quadratic():
    """Spall's gains: the distance to the bottom falls to a few per cent, noise and all."""
    loss, noise = Quadratic(), torch.Generator().manual_seed(2)
    optimizer = SPSAOptimizer(loss.weights, lr=0.05, c=0.1, stability=50, directions=2, seed=1)
    far = float((loss.point() - loss.bottom).norm())
    for _ in range(1500):
        optimizer.step(lambda: loss() + 0.05 * torch.randn((), generator=noise))
    assert float((loss.point() - loss.bottom).norm()) < 0.1 * far


@pytest.mark.parametrize("directions", [1, 3])
def test_it_is_spsa_the_estimator_where_the_weights_are_the_angles(directions):
    """Equal seeds draw equal signs: the estimates are equal one by one, so their distributions are."""
    step = rotation_step(1, 1)
    weights = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for seed in range(5):
        angles = torch.nn.Parameter(random_angles(step, 1, 3, seed=4))
        before = angles.detach().clone()
        estimated = QuantumRecurrentLayer(step, gradient=SPSA(0.2, directions, seed=seed))
        (estimated(angles)[0] * weights).sum().backward()
        optimizer = SPSAOptimizer([angles], lr=1.0, c=0.2, directions=directions, seed=seed, **CONSTANT)
        layer = QuantumRecurrentLayer(step)
        optimizer.step(lambda layer=layer, angles=angles: (layer(angles)[0] * weights).sum())
        torch.testing.assert_close(before - angles.detach(), angles.grad)
        assert layer.cost.circuits == estimated.cost.circuits - 1 == 2 * directions


def test_signs_are_fair_and_independent_of_the_grouping():
    loss = Quadratic()
    one = SPSAOptimizer(loss.weights, lr=0.1, c=0.1, seed=1)
    two = SPSAOptimizer([{"params": [w]} for w in loss.weights], lr=0.1, c=0.1, seed=1)
    draws = []
    for _ in range(2000):
        a, b = one._signs(loss.weights), two._signs(loss.weights)
        assert all(map(torch.equal, a, b))
        draws.append(torch.cat([part.flatten() for part in a]))
    signs = torch.stack(draws)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    moments = (signs.T @ signs / 2000)[*torch.triu_indices(4, 4, 1)].tolist() + signs.mean(0).tolist()
    assert max(map(abs, moments)) < norm.isf(LEVEL / 20) / 2000**0.5


# ---------------------------------------------------------------- gains, groups, what a step says


@pytest.mark.parametrize("options", [{}, {"stability": 7.0}, {"alpha": 1.0, "gamma": 1 / 6}, CONSTANT], ids=str)
def test_gains(options):
    """On a slope of 3 every estimate is 3: the weight moves by 3 a_k, and the losses were taken c_k away."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SPSAOptimizer([weight], lr=0.2, c=0.5, seed=1, **options)
    alpha, gamma = options.get("alpha", 0.602), options.get("gamma", 0.101)
    A = options.get("stability", 0)
    for k in range(6):
        start, seen = weight.item(), []

        def closure(seen=seen):
            seen.append(weight.item())
            return 3 * weight

        optimizer.step(closure)
        away = 0.5 / (k + 1) ** gamma
        assert sorted(seen) == pytest.approx([start - away, start + away])
        assert start - weight.item() == pytest.approx(3 * 0.2 * ((1 + A) / (k + 1 + A)) ** alpha)
    assert optimizer.k == 6


def test_groups_have_rates_and_steps_of_their_own_and_share_each_pair_of_losses():
    loss = Quadratic()
    first, second = loss.weights
    optimizer = SPSAOptimizer([{"params": [first]}, {"params": [second], "lr": 0.0, "c": 2.0}], lr=0.1, c=0.5, seed=1)
    before, kept, seen = first.detach().clone(), content([second]), []
    optimizer.step(lambda: (seen.append([first.detach() - before, second.detach().clone()]), loss())[1])
    assert loss.calls == optimizer.evaluations == 2
    assert all(torch.allclose(moved.abs(), torch.full((3,), 0.5).double()) for moved, _ in seen)
    assert abs(seen[0][1] - seen[1][1]).item() == pytest.approx(4.0)
    assert content([second]) == kept and not torch.equal(first, before)


def test_groups_of_unlike_c_stay_unbiased():
    loss, count = Quadratic(), 3000
    slope, before = loss.gradient(), loss.point()
    groups = [{"params": [loss.weights[0]]}, {"params": [loss.weights[1]], "c": 0.2}]
    optimizer, found = SPSAOptimizer(groups, lr=1.0, c=0.1, seed=1, **CONSTANT), []
    start = [w.detach().clone() for w in loss.weights]
    for _ in range(count):
        optimizer.step(loss)
        found.append(before - loss.point())
        for weight, old in zip(loss.weights, start, strict=True):
            weight.data.copy_(old)
    found = torch.stack(found)
    z = (found.mean(0) - slope) / (found.std(0) / count**0.5)
    assert (2 * norm.sf(z.abs().numpy()) > LEVEL / 4).all()


def test_a_step_returns_the_mean_of_its_losses():
    loss, seen = Quadratic(), []
    optimizer = SPSAOptimizer(loss.weights, lr=0.1, c=0.3, directions=3, seed=1)
    said = optimizer.step(lambda: (seen.append(float(loss())), seen[-1])[1])  # a plain float will do
    assert len(seen) == optimizer.evaluations == 6
    assert said.shape == () and said.item() == pytest.approx(np.mean(seen), rel=1e-14)


def test_a_schedule_of_torch_drives_the_rate():
    loss = Quadratic()
    optimizer = SPSAOptimizer(loss.weights, lr=0.1, c=0.3, seed=1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.step(loss)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_frozen_weights_are_left_alone():
    loss = Quadratic()
    loss.weights[1].requires_grad_(False)
    kept, seen = content(loss.weights[1:]), []
    optimizer = SPSAOptimizer(loss.weights, lr=0.1, c=0.3, seed=1)
    optimizer.step(lambda: (seen.append(content(loss.weights[1:])), loss())[1])
    assert seen == [kept, kept] and content(loss.weights[1:]) == kept
    loss.weights[0].requires_grad_(False)
    with pytest.raises(ValueError, match="params must hold a weight with requires_grad=True; got none"):
        optimizer.step(loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_keep_their_dtype(dtype):
    weight = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = SPSAOptimizer([weight], lr=0.1, c=0.25, seed=1)
    for _ in range(20):
        optimizer.step(lambda: weight.float().square().sum())
    assert weight.dtype == dtype and weight.abs().max() < 0.8


# ---------------------------------------------------------------- nothing is lost


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("trouble", [NAN, INF, -INF, RuntimeError("job lost"), KeyboardInterrupt("stop")], ids=repr)
def test_a_failed_step_leaves_everything_as_it_was(trouble, call):
    """To the bit, at any call, in single precision, where w + c - c is not w; the step can then be made again."""
    loss, calm = Quadratic(torch.float32), Quadratic(torch.float32)
    options = {"lr": 1e-7, "c": 1e3, "directions": 2, "seed": 1}
    optimizer, other = (SPSAOptimizer(part.weights, **options) for part in (loss, calm))
    calls = itertools.count()

    def closure():
        if next(calls) != call:
            return loss()
        if isinstance(trouble, BaseException):
            raise trouble
        return torch.tensor(trouble)

    before, drawn = content(loss.weights), optimizer.generator.get_state()
    words = str(trouble) if isinstance(trouble, BaseException) else "finite loss"
    with pytest.raises(type(trouble) if words != "finite loss" else ValueError, match=words):
        optimizer.step(closure)
    assert content(loss.weights) == before and optimizer.k == 0
    assert torch.equal(optimizer.generator.get_state(), drawn)
    assert torch.equal(optimizer.step(closure), other.step(calm))
    assert content(loss.weights) == content(calm.weights) != before


def test_a_rate_of_zero_leaves_the_weights_to_the_bit():
    loss = Quadratic(torch.float32)
    optimizer = SPSAOptimizer(loss.weights, lr=0.0, c=1e8, seed=1)
    before = content(loss.weights)
    optimizer.step(loss)
    assert content(loss.weights) == before


@pytest.mark.parametrize(
    ("answer", "came"), [(None, "NoneType"), ("0.1", "str"), (torch.ones(2), "Tensor"), (1j, "complex"), (True, "bool")]
)
def test_a_closure_must_return_its_loss(answer, came):
    loss = Quadratic()
    before = content(loss.weights)
    with pytest.raises(TypeError, match=f"closure's loss must be a real number.*{came}"):
        SPSAOptimizer(loss.weights, lr=0.1, c=0.1).step(lambda: answer)
    assert content(loss.weights) == before


def test_a_closure_that_always_calls_backward_is_told_and_runs_no_gradient_circuits():
    model = QRNN(1, 1, rotation_step(1, 1), backend=ShotBackend(10, seed=1), seed=1, dtype=torch.float64)
    x = torch.ones(2, 3, 1, dtype=torch.float64)
    optimizer = SPSAOptimizer(model.parameters(), lr=0.1, c=0.1, seed=1)
    before = content(model.parameters())

    def closure():
        loss = model(x)[0].square().mean()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match=r"closure must call backward only if torch.is_grad_enabled\(\)"):
        optimizer.step(closure)
    assert model.layer.cost.circuits == 2  # one forward pass
    assert content(model.parameters()) == before and optimizer.k == 0
    assert all(weight.grad is None for weight in model.parameters())


# ---------------------------------------------------------------- keeping, copying, saying


def by_torch(state: dict) -> dict:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def test_training_goes_on_from_a_state_dict_bit_for_bit():
    whole, half, rest = Quadratic(), Quadratic(), Quadratic()
    options = {"lr": 0.1, "c": 0.1, "directions": 2}
    optimizer, first = (SPSAOptimizer(loss.weights, seed=1, **options) for loss in (whole, half))
    for _ in range(10):
        optimizer.step(whole)
    for _ in range(4):
        first.step(half)
    second = SPSAOptimizer(rest.weights, lr=9.0, c=9.0, seed=9)
    second.load_state_dict(by_torch(first.state_dict()))
    for weight, old in zip(rest.weights, half.weights, strict=True):
        weight.data.copy_(old.data)
    for _ in range(6):
        second.step(rest)
    assert content(rest.weights) == content(whole.weights)
    assert repr(second) == repr(optimizer)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_by_themselves(again):
    loss = Quadratic()
    optimizer = SPSAOptimizer(loss.weights, lr=0.1, c=0.1, directions=2, seed=1)
    optimizer.step(loss)
    twin, other = again((loss, optimizer))
    assert other.generator is not optimizer.generator
    for _ in range(3):
        assert torch.equal(optimizer.step(loss), other.step(twin))
    assert content(loss.weights) == content(twin.weights)
    optimizer.step(loss)
    assert content(loss.weights) != content(twin.weights)


def test_groups_may_be_generators_as_for_every_torch_optimiser():
    loss, other = Quadratic(), Quadratic()
    module = torch.nn.ParameterList(other.weights)
    groups = [{"params": [loss.weights[0]], "c": 0.3}, {"params": [loss.weights[1]]}]
    given = [{"params": (w for w in module[:1]), "c": 0.3}, {"params": (w for w in module[1:])}]
    for each, parts in ((loss, groups), (other, given)):
        optimizer = SPSAOptimizer(parts, lr=0.1, c=0.1, seed=1)
        assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]
        optimizer.step(each)
    assert content(loss.weights) == content(other.weights) != content(Quadratic().weights)


def test_a_state_of_another_optimiser_is_refused():
    loss = Quadratic()
    with pytest.raises(ValueError, match="state_dict must come from an SPSAOptimizer; got one with"):
        SPSAOptimizer(loss.weights, lr=0.1, c=0.1).load_state_dict(torch.optim.SGD(loss.weights).state_dict())


def test_repr_says_what_it_does():
    text = repr(SPSAOptimizer(Quadratic().weights, lr=0.1, c=0.2, directions=3))
    for part in ("SPSAOptimizer", "directions=3, k=0", "lr: 0.1", "c: 0.2", "alpha: 0.602"):
        assert part in text


def test_the_global_generator_is_neither_read_nor_set():
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before, loss = torch.get_rng_state(), Quadratic()
        SPSAOptimizer(loss.weights, lr=0.1, c=0.1, seed=3).step(loss)
        assert torch.equal(before, torch.get_rng_state())
        ends.append(content(loss.weights))
    assert ends[0] == ends[1]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"lr": -1.0}, ValueError, "lr must be at least 0; got -1"),
        ({"lr": "0.1"}, TypeError, "lr must be a real number; got '0.1'"),
        ({"lr": NAN}, ValueError, "lr must be finite"),
        ({"c": 0.0}, ValueError, "c must be greater than 0"),
        ({"c": INF}, ValueError, "c must be finite"),
        ({"alpha": -0.1}, ValueError, "alpha must be at least 0"),
        ({"gamma": None}, TypeError, "gamma must be a real number"),
        ({"stability": -1}, ValueError, "stability must be at least 0"),
        ({"directions": 0}, ValueError, "directions must be at least 1; got 0"),
        ({"directions": 1.5}, TypeError, "directions must be an integer"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"params": [torch.zeros(2, dtype=torch.cfloat)]}, TypeError, r"params must be real.*torch\.complex64"),
        ({"params": [torch.zeros(2, dtype=torch.int64)]}, TypeError, r"params must be real.*torch\.int64"),
        ({"params": []}, ValueError, "empty parameter list"),
        ({"colour": "red"}, TypeError, "colour"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        SPSAOptimizer(**{"params": Quadratic().weights, "lr": 0.1, "c": 0.1} | options)


def test_a_wrong_group_or_closure_leaves_the_optimiser_usable():
    loss = Quadratic()
    optimizer = SPSAOptimizer(loss.weights, lr=0.1, c=0.1, seed=1)
    with pytest.raises(ValueError, match="c must be greater than 0"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "c": 0.0})
    for nothing in (None, 3):
        with pytest.raises(TypeError, match="closure must be a function that returns the loss"):
            optimizer.step(nothing)
    optimizer.step(loss)
    assert len(optimizer.param_groups) == 1 and optimizer.k == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize(
    "losses",
    [(INF, 0), (0, -INF), (NAN, 0), (10**400, 0), (1e308, -1e308), (1e300, 0)],
    ids=["inf", "-inf", "nan", "no float", "far apart", "steep"],
)
def test_losses_that_no_step_can_follow_are_named_before_a_weight_moves(losses, dtype):
    """Infinite ones, and finite ones whose difference, or slope, or step is not."""
    weight = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer, answers = SPSAOptimizer([weight], lr=1e9, c=0.1, seed=1), iter([*losses, 1.0, 2.0])
    with pytest.raises(ValueError, match="closure.*: the weights are as before the step"):
        optimizer.step(lambda: next(answers))
    assert weight.tolist() == [1, 1, 1] and optimizer.k == 0
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step(lambda: next(answers))
    twin = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    again = iter([1.0, 2.0])
    SPSAOptimizer([twin], lr=0.1, c=0.1, seed=1).step(lambda: next(again))
    assert torch.equal(weight, twin) and weight.tolist() != [1, 1, 1]


def test_the_mean_of_huge_losses_is_what_it_is():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = SPSAOptimizer([weight], lr=0.1, c=0.1, seed=1, directions=3)
    assert optimizer.step(lambda: 1.5e308).item() == 1.5e308


def test_default_dtype_and_device_change_nothing():
    found = []
    for device, dtype in (("cpu", torch.float32), ("meta", torch.float16)):
        weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        optimizer, losses = SPSAOptimizer([weight], lr=0.1, c=0.1, seed=1, directions=2), iter([1.0, 2.0, 4.0, 3.0])
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                loss = optimizer.step(lambda given=losses: next(given))
        finally:
            torch.set_default_dtype(torch.float32)
        found.append([loss.item(), *weight.tolist()])
    assert found[0] == found[1]
