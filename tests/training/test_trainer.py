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
    QuantumRecurrentLayer,
    SamplerBackend,
    ShotBackend,
    SPSAOptimizer,
    fit,
    nrmse,
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


def test_a_dataset_that_would_fill_the_memory_is_refused_by_its_first_item():
    class Endless(torch.utils.data.Dataset):
        seen = 0

        def __len__(self):
            return 10**6

        def __getitem__(self, place):
            self.seen += 1
            return torch.zeros(1000, 10), torch.zeros(1000, 1)

    data = Endless()
    with pytest.raises(ValueError, match="train must be .*1000000 items of 44000 bytes"):
        train(model(), Budget(steps=1), data=data)
    assert data.seen == 1


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


# ---------------------------------------------------------------- modes, buffers, interrupts


class Wrapped(torch.nn.Module):
    """Batch statistics and dropout before a network: what training and scoring must treat differently."""

    def __init__(self, inner, drop=0.0):
        super().__init__()
        self.norm, self.drop = torch.nn.BatchNorm1d(1, dtype=torch.float64), torch.nn.Dropout(drop)
        self.inner, self.seen = inner, []

    def forward(self, x):
        self.seen.append(self.training)
        return self.inner(self.drop(self.norm(x.mT).mT))


def statistics(net):
    return [buffer.clone() for buffer in net.buffers()]


def gru():
    return GRU(1, 1, 3, dtype=torch.float64, seed=0)


def test_scores_are_those_of_eval_mode_and_leave_no_trace():
    net = Wrapped(gru(), drop=0.5)
    validation = echo(seed=1)[0] + 100, echo(seed=1)[1]
    options = {"batch_size": 24, "progress": False, "budget": Budget(steps=1), "seed": 0}
    curve = fit(net, echo(), validation, optimizer=torch.optim.SGD(net.parameters(), lr=0.1), **options)
    assert net.seen == [True, False] and net.training
    assert net.norm.running_mean.abs() < 0.1  # a tenth of the training mean, and nothing of the validation's 100
    with torch.no_grad():
        wanted = nrmse(net.eval()(validation[0])[0], validation[1])
    assert curve["validation_nrmse"].iloc[-1] == wanted


@pytest.mark.parametrize("training", [True, False])
def test_every_module_gets_its_own_mode_back_also_after_errors(training):
    net = Wrapped(gru()).train(training)
    net.norm.train(not training)
    modes = [module.training for module in net.modules()]
    train(net, Budget(steps=2))
    assert [module.training for module in net.modules()] == modes and net.seen[0] is training
    constant = torch.ones(4, TIME, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="validation must be scored"):
        fit(
            net, echo(), (constant, constant), optimizer=torch.optim.SGD(net.parameters(), lr=0.1), batch_size=4,
            budget=Budget(steps=2), progress=False,
        )  # fmt: skip
    assert [module.training for module in net.modules()] == modes


class Counting(torch.nn.Module):
    """A model with a buffer that moves at every call, whatever the mode; in place or anew."""

    def __init__(self, anew):
        super().__init__()
        self.inner, self.anew = gru(), anew
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls = self.calls + 1 if self.anew else self.calls.add_(1)
        return self.inner(x)


@pytest.mark.parametrize("anew", [True, False])
def test_scoring_changes_no_buffer(anew):
    net = Counting(anew)
    train(net, Budget(steps=5), validations=5)
    assert net.calls == 5


def test_how_often_it_is_scored_does_not_change_training():
    found = []
    for validations in (1, 7):
        torch.manual_seed(0)  # dropout draws from the global generator
        net = Wrapped(gru(), drop=0.3)
        found.append(train(net, Budget(steps=7), validations=validations)["train_loss"])
    assert found[0].equals(found[1])


@pytest.mark.parametrize("where", [3, 4])
def test_an_interrupt_leaves_rates_modes_hooks_and_ledgers_as_they_should_be(where):
    """In an update and in a score; afterwards training goes on as ever."""
    net = model(gradient=SPSA(seed=1))
    optimizer, calls = torch.optim.Adam(net.parameters(), lr=0.05), []

    def interrupt(*_):
        calls.append(1)
        if len(calls) == where:
            raise KeyboardInterrupt

    hook = net.decoder.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(net, Budget(steps=4), optimizer=optimizer, validations=2)
    hook.remove()
    assert optimizer.param_groups[0]["lr"] == 0.05 and net.training and not net.layer._forward_pre_hooks
    before = net.layer.cost.circuits
    curve = train(net, Budget(circuits=24), optimizer=optimizer)
    assert net.layer.cost.circuits - before == curve["circuits"].iloc[-1] == 24


# ---------------------------------------------------------------- optimisers that evaluate often


def test_the_budget_holds_for_an_optimiser_that_evaluates_often():
    net = model(gradient=ParameterShift())
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5)
    curve = train(net, Budget(circuits=30 * 4 * CIRCUITS + 5), optimizer=optimizer, batch_size=4, schedule=None)
    assert net.layer.cost.circuits == curve["circuits"].iloc[-1] <= 30 * 4 * CIRCUITS + 5
    assert curve["circuits"].iloc[-1] > 29 * 4 * CIRCUITS and curve["step"].tolist() == [1, 2]
    assert math.isfinite(curve["validation_nrmse"].iloc[-1])
    optimizer.step(lambda: torch.nn.functional.mse_loss(net(echo()[0])[0], echo()[1]).requires_grad_())  # as ever


@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_a_step_that_is_cut_short_keeps_the_best_weights_it_has_seen(evaluations):
    """By full batches, so that losses compare; with one evaluation there is nothing but the start."""
    net = model(gradient=ParameterShift())
    start, seen = [weight.detach().clone() for weight in net.parameters()], []

    class Wild(torch.optim.SGD):
        def step(self, closure):
            for _ in range(9):
                with torch.enable_grad():
                    loss = closure()
                seen.append((float(loss.detach()), [weight.detach().clone() for weight in net.parameters()]))
                super().step()
                self.state[start_weight]["moved"] = True
            return loss

    optimizer = Wild(net.parameters(), lr=0.7)
    start_weight = optimizer.param_groups[0]["params"][0]
    budget = Budget(circuits=(evaluations * 24 + 23) * CIRCUITS)
    curve = train(net, budget, optimizer=optimizer, batch_size=24, schedule=None)
    assert len(seen) == evaluations and len(curve) == 1 and curve["train_loss"].iloc[0] == seen[0][0]
    best = min(seen, key=lambda pair: pair[0])[1]
    assert all(torch.equal(weight, old) for weight, old in zip(net.parameters(), best))
    assert evaluations > 1 or all(torch.equal(weight, old) for weight, old in zip(net.parameters(), start))
    assert "moved" not in optimizer.state[start_weight]


class Ascent(torch.optim.SGD):
    """Sharpness-aware: the slopes are those at weights displaced uphill (Foret et al. 2021)."""

    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        weights = [weight for group in self.param_groups for weight in group["params"]]
        start = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight in weights:
                weight.add_(0.05 * weight.grad)
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            for weight, old in zip(weights, start):
                weight.copy_(old)
        super().step()
        return float(loss.detach())  # a number is as good as a tensor


def test_two_evaluations_a_step_are_booked_and_never_left_half_done():
    net = model(gradient=ParameterShift())
    curve = train(net, Budget(circuits=5 * 4 * CIRCUITS), optimizer=Ascent(net.parameters(), lr=0.1))
    assert curve["circuits"].tolist() == [8 * CIRCUITS, 16 * CIRCUITS, 20 * CIRCUITS]
    twin = model(gradient=ParameterShift())
    train(twin, Budget(steps=2), optimizer=Ascent(twin.parameters(), lr=0.1), schedule=None)
    net = model(gradient=ParameterShift())
    train(net, Budget(circuits=5 * 4 * CIRCUITS), optimizer=Ascent(net.parameters(), lr=0.1), schedule=None)
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), twin.parameters()))


def test_an_infinite_loss_stops_training_before_the_weights_are_touched():
    net = gru()
    before = [weight.detach().clone() for weight in net.parameters()]
    x, y = echo()
    with pytest.raises(ValueError, match="train must lead to finite losses; got inf"):
        train(net, Budget(steps=3), (x, y * 1e200), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    assert all(torch.equal(weight, old) for weight, old in zip(net.parameters(), before))


# ---------------------------------------------------------------- every quantum layer


class Pair(torch.nn.Module):
    """Two networks one after the other, the second called as often as asked."""

    def __init__(self, *networks, times=1):
        super().__init__()
        self.networks, self.times = torch.nn.ModuleList(networks), times

    def forward(self, x):
        for network in self.networks:
            for _ in range(self.times):
                x, state = network(x)
        return x, state


def shift(**options):
    return model(gradient=ParameterShift(), **options)


def one_ledger(*networks):
    for network in networks[1:]:
        network.layer.cost = networks[0].layer.cost
    return Pair(*networks)


MODELS = {
    "wrapped": (lambda: Wrapped(shift()), 1),
    "two": (lambda: Pair(shift(), shift()), 2),
    "shared": (lambda: Pair(*[shift()] * 2), 2),
    "one ledger": (lambda: one_ledger(shift(), shift()), 2),
    "twice": (lambda: Pair(shift(), times=2), 2),
}


@pytest.mark.parametrize("spare", [0, 4 * CIRCUITS - 1])
@pytest.mark.parametrize("make, calls", MODELS.values(), ids=MODELS)
def test_every_quantum_layer_is_booked_and_the_budget_holds(make, calls, spare):
    net = make()
    layers = [module for module in net.modules() if isinstance(module, QuantumRecurrentLayer)]
    curve = train(net, Budget(circuits=2 * 4 * calls * CIRCUITS + spare))
    assert curve["circuits"].tolist() == [4 * calls * CIRCUITS * k for k in (1, 2)]
    ledgers = {id(layer.cost): layer.cost for layer in layers}.values()
    assert sum(ledger.circuits for ledger in ledgers) == curve["circuits"].iloc[-1]
    assert sum(ledger.seconds for ledger in ledgers) == pytest.approx(curve["seconds"].iloc[-1])
    assert sum(ledger.scopes["validation"].circuits for ledger in ledgers) % (calls * 24) == 0
    with pytest.raises(ValueError, match="budget must allow one step"):
        train(make(), Budget(circuits=4 * calls * CIRCUITS - 1))


def test_shots_are_those_of_the_layers_that_draw_some():
    net = Pair(model(gradient=SPSA(seed=1)), model(backend=ShotBackend(10, seed=1), gradient=SPSA(seed=1)))
    curve = train(net, Budget(shots=3 * 4 * 3 * 10, circuits=10**6))
    assert curve["shots"].tolist() == [120, 240, 360] and curve["circuits"].tolist() == [24, 48, 72]


def test_a_model_that_calls_its_layer_ever_more_often_stays_within_the_budget():
    net = Pair(model(gradient=SPSA(seed=1)))
    net.register_forward_pre_hook(lambda net, _: setattr(net, "times", net.times + 1))
    curve = train(net, Budget(circuits=400), validations=1)
    assert len(curve) and net.networks[0].layer.cost.circuits <= 400


def test_what_the_caller_books_elsewhere_is_counted_all_the_same():
    net = shift()
    with net.layer.cost.scope("pretraining"):
        curve = train(net, Budget(circuits=2 * 4 * CIRCUITS))
    assert curve["circuits"].tolist() == [4 * CIRCUITS, 8 * CIRCUITS]


def test_a_layer_that_is_never_called_makes_no_endless_training():
    net = gru()
    net.unused = QuantumRecurrentLayer(rotation_step(1, 1))
    with pytest.raises(ValueError, match="budget must be in steps for a model that runs no circuits"):
        train(net, Budget(circuits=10))


# ---------------------------------------------------------------- hidden state, wrong answers


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_grad_modes_around_it_change_nothing(around):
    plain = train(shift(), Budget(steps=3)).drop(columns="seconds")
    net = shift()
    with around():
        data = tuple(part.clone() for part in echo())  # in inference mode these are tensors of its own kind
        assert train(net, Budget(steps=3), data).drop(columns="seconds").equals(plain)


def test_default_dtype_and_device_change_nothing():
    plain = train(gru(), Budget(steps=3)).drop(columns="seconds")
    net = gru()
    optimizer, data, validation = torch.optim.Adam(net.parameters(), lr=0.05), echo(), echo(seed=1)
    torch.set_default_dtype(torch.float16)
    try:
        with torch.device("meta"):
            found = fit(
                net, data, validation, optimizer=optimizer, batch_size=4, budget=Budget(steps=3), seed=3,
                progress=False,
            )  # fmt: skip
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.drop(columns="seconds").equals(plain)


def test_devices_without_values_are_refused_by_name():
    with pytest.raises(ValueError, match="model must hold weights with values"):
        train(gru().to("meta"), Budget(steps=1))
    with pytest.raises(TypeError, match="train x must be a dense tensor that holds values; got .* on meta"):
        train(gru(), Budget(steps=1), tuple(part.to("meta") for part in echo()))


@pytest.mark.parametrize("answer", [None, "1", math.nan, 1j, torch.ones(1), -1.0, True])
def test_a_schedules_wrong_answer_is_named_and_the_rates_are_given_back(answer):
    net = gru()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    with pytest.raises((TypeError, ValueError), match="schedule's factor must be"):
        train(net, Budget(steps=2), optimizer=optimizer, schedule=lambda _: answer)
    assert optimizer.param_groups[0]["lr"] == 0.2


class Lazy(torch.optim.SGD):
    def step(self, closure=None):
        return None


class Silent(torch.optim.SGD):
    def step(self, closure):
        with torch.enable_grad():
            closure()
        super().step()


def test_an_optimiser_may_return_nothing_but_must_ask_for_the_loss():
    net = gru()
    assert train(net, Budget(steps=2), optimizer=Silent(net.parameters(), lr=0.1))["train_loss"].notna().all()
    with pytest.raises(ValueError, match="optimizer must call its closure; got a Lazy that did not"):
        train(net, Budget(steps=2), optimizer=Lazy(net.parameters(), lr=0.1))


# ---------------------------------------------------------------- batches and losses of one's own


def absolute(net, batch):
    x, y = batch
    return (net(x)[0] - y).abs().mean()


def test_a_loss_of_ones_own_is_what_falls():
    net = gru()
    curve = train(net, Budget(steps=40), loss=absolute, batch_size=24)
    x, y = echo()
    assert curve["train_loss"].iloc[0] == pytest.approx(float(absolute(gru(), (x, y)).detach()))
    assert float(absolute(net, (x, y)).detach()) < 0.9 * curve["train_loss"].iloc[0]


def test_batches_of_ones_own_may_carry_a_state_and_end_training():
    x, y = echo()
    seen = []

    def streams(x, y, batch_size, generator):
        yield from ((x[:batch_size, k : k + 1], y[:batch_size, k : k + 1], k) for k in range(TIME))

    class Carried:
        state = None

        def __call__(self, net, batch):
            x, y, place = batch
            answers, state = net(x, self.state if place else None)
            self.state = state.detach()
            seen.append((place, len(x)))
            return (answers - y).square().mean()

    curve = train(model(), Budget(steps=10), (x, y), batches=streams, loss=Carried())
    assert seen == [(0, 4), (1, 4), (2, 4)] and curve["step"].tolist() == [1, 2, 3]
    assert math.isfinite(curve["validation_nrmse"].iloc[-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batches": 3}, "batches must be a function"),
        ({"batches": lambda *_: 3}, "batches' answer must be an iterator over batches; got 3"),
        ({"batches": lambda *_: iter([])}, "batches must give a batch for the first step; got none"),
        ({"batches": lambda *_: iter([3])}, "batches must be pairs"),
        ({"loss": 3}, "loss must be a function"),
        ({"loss": lambda *_: 3.0}, "loss must return a real tensor of one number; got 3.0"),
        ({"loss": lambda net, batch: batch[0]}, "loss must return a real tensor of one number"),
        ({"loss": lambda net, batch: batch[0].sum()}, "model must return outputs that depend on its weights"),
    ],
)
def test_what_batches_and_losses_of_ones_own_must_be(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        train(gru(), Budget(steps=2), **options)
