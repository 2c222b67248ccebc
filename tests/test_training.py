"""`fit` and `Budget`: what is spent, what is never begun, what repeats."""

import math

import pytest
import torch

from qrnn_helpers import (
    GRU,
    QRNN,
    SPSA,
    Autograd,
    Budget,
    ExactBackend,
    ParameterShift,
    SamplerBackend,
    ShotBackend,
    SPSAOptimizer,
    fit,
    rotation_step,
)

TIME, CIRCUITS = 3, 1 + 3 * (6 * 2 * 2 + 4)  # of one sample's update by the shift rule at 1 + 1 qubits


def echo(count=24, seed=0):
    """Windows whose answer is the input of one step ago."""
    x = torch.randn(count, TIME, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, torch.cat([torch.zeros(count, 1, 1, dtype=torch.float64), x[:, :-1]], 1)


def model(**options):
    return QRNN(1, 1, rotation_step(1, 1), dtype=torch.float64, seed=1, **options)


def train(net, budget, data=None, *, optimizer=None, **options):
    options = {"batch_size": 4, "seed": 3, "progress": False} | options
    optimizer = optimizer or torch.optim.Adam(net.parameters(), lr=0.05)
    return fit(net, data or echo(), echo(seed=1), optimizer=optimizer, budget=budget, **options)


@pytest.mark.parametrize("gradient", [Autograd(), ParameterShift(), SPSA(seed=1)], ids=repr)
def test_the_loss_falls(gradient):
    curve = train(model(gradient=gradient), Budget(steps=60), washout=1)
    assert curve["train_loss"].tail(10).mean() < 0.8 * curve["train_loss"].head(10).mean()
    assert math.isfinite(curve["validation_nrmse"].iloc[-1])


@pytest.mark.parametrize("spare", [0, 1, 4 * CIRCUITS - 1])
def test_a_step_that_would_exceed_the_budget_is_not_begun(spare):
    net = model(gradient=ParameterShift())
    curve = train(net, Budget(circuits=3 * 4 * CIRCUITS + spare))
    assert curve["step"].tolist() == [1, 2, 3]
    assert curve["circuits"].tolist() == [4 * CIRCUITS * k for k in (1, 2, 3)]
    assert net.layer.cost.circuits == curve["circuits"].iloc[-1]  # validation is booked elsewhere
    assert net.layer.cost.scopes["validation"].circuits > 0


def test_a_budget_in_shots_and_the_tightest_limit_counts():
    net = model(backend=ShotBackend(10, seed=1), gradient=SPSA(directions=2, seed=1))
    curve = train(net, Budget(shots=5 * 4 * 5 * 10, steps=100))
    assert curve["shots"].tolist() == [4 * 5 * 10 * k for k in range(1, 6)]
    assert len(train(model(), Budget(steps=2, circuits=10**9))) == 2


def test_equal_seeds_give_equal_curves_and_others_do_not():
    curves = [train(model(gradient=SPSA(seed=5)), Budget(steps=5), seed=seed) for seed in (3, 3, 4)]
    same, again, other = (curve.drop(columns="seconds") for curve in curves)
    assert same.equals(again)
    assert not same["train_loss"].equals(other["train_loss"])


def test_the_rate_follows_the_schedule_and_is_handed_back():
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    curve = fit(net, echo(), echo(), optimizer=optimizer, batch_size=4, budget=Budget(steps=4), seed=0, progress=False)
    assert curve["rate"].tolist() == pytest.approx([0.2 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)])
    assert optimizer.param_groups[0]["lr"] == 0.2


def test_every_window_is_seen_once_an_epoch():
    x, y = echo(8)
    x[:] = torch.arange(8.0, dtype=torch.float64)[:, None, None]
    seen = []
    net = model()
    net.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0, 0].tolist()))
    fit(
        net, (x, y), echo(), optimizer=torch.optim.SGD(net.parameters(), lr=0.0), batch_size=4,
        budget=Budget(steps=4), seed=0, progress=False, validations=1,
    )  # fmt: skip
    batches = [batch for batch in seen if len(batch) == 4]
    assert sorted(batches[0] + batches[1]) == sorted(batches[2] + batches[3]) == list(range(8))


def test_a_model_without_circuits_trains_by_steps():
    net = GRU(1, 1, 3, dtype=torch.float64, seed=0)
    assert train(net, Budget(steps=3))["circuits"].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="budget must be in steps"):
        train(net, Budget(circuits=10))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    train(model(gradient=SPSA(seed=1)), Budget(steps=2))
    GRU(1, 1, 3, seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_a_dataset_is_as_good_as_a_pair():
    data = torch.utils.data.TensorDataset(*echo())
    a, b = (train(model(), Budget(steps=2), data=d).drop(columns="seconds") for d in (data, echo()))
    assert a.equals(b)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"washout": TIME}, "washout must be at most 2; got 3"),
        ({"batch_size": 25}, "batch_size must be at most 24; got 25"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"data": echo()[:1]}, "train must be a pair"),
        ({"data": (echo()[0][:, :, 0], echo()[1])}, "train x must have shape"),
        ({"data": (echo()[0], echo()[1] * math.nan)}, "train y must be finite"),
        ({"budget": Budget(circuits=3)}, "budget must allow one step"),
        ({"budget": Budget(shots=5)}, "budget must not be in shots"),
    ],
    ids=str,
)
def test_bad_input_is_named(options, words):
    options = {"budget": Budget(steps=1)} | options
    with pytest.raises(ValueError, match=words):
        train(model(), **options)


def test_a_budget_has_limits():
    with pytest.raises(ValueError, match="must limit"):
        Budget()
    with pytest.raises(ValueError, match="circuits must be at least 1; got 0"):
        Budget(circuits=0)
    with pytest.raises(TypeError, match="steps must be an integer"):
        Budget(steps=1.5)


def test_backends_are_billed_alike():
    from qiskit_aer.primitives import SamplerV2

    backends = [ExactBackend(), ShotBackend(20, seed=1), SamplerBackend(SamplerV2(seed=1), 20)]
    nets = [model(backend=backend, gradient=SPSA(seed=1)) for backend in backends]
    curves = [train(net, Budget(steps=1), validations=1) for net in nets]
    assert {int(c["circuits"].iloc[-1]) for c in curves} == {12}
    assert [int(c["shots"].iloc[-1]) for c in curves] == [0, 240, 240]


# ---------------------------------------------------------------- Spall's algorithm on the weights


def spall(net, **options):
    return SPSAOptimizer(net.parameters(), **{"lr": 0.05, "c": 0.1, "alpha": 0.0, "seed": 4} | options)


@pytest.mark.parametrize("directions", [1, 3])
@pytest.mark.parametrize("spare", [0, -1])
def test_with_losses_alone_the_ledger_is_as_predicted_and_never_over_the_budget(directions, spare):
    net = model(backend=ShotBackend(10, seed=1))
    optimizer = spall(net, directions=directions)
    each = 4 * 2 * directions
    budget = Budget(circuits=6 * each + spare, shots=10 * (6 * each + spare))
    curve = train(net, budget, optimizer=optimizer)
    steps = 6 if spare == 0 else 5
    assert curve["circuits"].tolist() == [each * k for k in range(1, steps + 1)]
    assert net.layer.cost.circuits == each * steps <= budget.circuits
    assert net.layer.cost.shots == 10 * each * steps <= budget.shots


def test_with_losses_alone_the_loss_falls_and_equal_seeds_repeat():
    curves = []
    for seed in (1, 1, 2):
        net = model(backend=ShotBackend(200, seed=1), skip=True)
        optimizer = spall(net, directions=4, seed=seed)
        curves.append(train(net, Budget(steps=60), optimizer=optimizer, washout=1).drop(columns="seconds"))
    same, again, other = curves
    assert same["train_loss"].tail(10).mean() < 0.8 * same["train_loss"].head(10).mean()
    assert same.equals(again) and not same.equals(other)
    assert optimizer.param_groups[0]["lr"] == 0.05  # the schedule has given it back


def test_a_model_without_circuits_trains_by_losses_alone():
    net = GRU(1, 1, 3, dtype=torch.float64, seed=0)
    assert len(train(net, Budget(steps=3), optimizer=spall(net))) == 3


def test_frozen_encoder_runs_no_gradient_circuits_and_stays_within_the_budget():
    net = model(gradient=ParameterShift())
    net.encoder.requires_grad_(False)
    before = net.encoder.weight.clone()
    curve = train(net, Budget(circuits=4 * CIRCUITS + 7))
    # an update is reckoned with its gradient circuits, as if nothing were frozen: at most, never more
    assert curve["circuits"].tolist() == [4, 8]
    assert torch.equal(net.encoder.weight, before) and net.decoder.weight.grad is not None
