"""Runs side by side: each is what it is alone."""

import numpy as np
import pytest
import torch

from qrnn_helpers import (
    QRNN,
    SPSA,
    Budget,
    ExactBackend,
    MomentBackend,
    ParameterShift,
    RandomCoordinate,
    ShotBackend,
    fit,
    rotation_step,
)
from qrnn_helpers.gradients import DecayingSPSA, GuidedSPSA, ImportantCoordinate, WeightSPSA
from qrnn_helpers.models import StackedQRNN
from qrnn_helpers.training import fit_side_by_side

STEP, TIME_STEPS, BATCH = rotation_step(1, 1), 4, 3

BACKENDS = {
    "exact": lambda seed: ExactBackend(),
    "moments": lambda seed: MomentBackend(16, seed),
    "shots": lambda seed: ShotBackend(16, seed),
}
GRADIENTS = {
    "spsa": lambda seed: SPSA(0.1 + 0.02 * seed, 2, seed),
    "causal": lambda seed: SPSA(0.2, 2, seed, causal=True),
    "orthogonal": lambda seed: SPSA(0.1 + 0.02 * seed, 5, seed, orthogonal=True),
    "coordinates": lambda seed: RandomCoordinate(3, seed),
    "shift": lambda seed: ParameterShift(prune=True),
    "weights": lambda seed: WeightSPSA(0.05 + 0.01 * seed, 2, seed),
    "decaying": lambda seed: DecayingSPSA(0.1, 5, 1, seed),
    "important": lambda seed: ImportantCoordinate(3, seed),
    "guided": lambda seed: GuidedSPSA(0.1 + 0.02 * seed, 0.4, (2, 4), seed),
}


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(40, TIME_STEPS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x, x[..., :1].tanh() / 2


def model(backend: str, gradient: str, seed: int, skip: bool = False) -> QRNN:
    options = {"backend": BACKENDS[backend](seed), "gradient": GRADIENTS[gradient](seed)}
    return QRNN(2, 1, STEP, skip=skip, dtype=torch.float64, seed=seed, **options)


def together(models: list[QRNN], rates: list[float], seeds: list[int], **options) -> np.ndarray:
    chosen = {"budget": Budget(steps=12), "batch_size": BATCH, "washout": 1} | options
    stack = StackedQRNN(models)
    losses = fit_side_by_side(stack, data(), rates=rates, seeds=seeds, **chosen)
    assert stack.models() == models
    return losses


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_run_in_company_is_the_run_alone(backend, gradient):
    """Of 30 runs, whose circuits take other ways than those of one (Pauli basis), the curves are equal to rounding."""
    runs = 30
    rates = [0.01 * (1 + run % 5) for run in range(runs)]
    models = [model(backend, gradient, seed, skip=True) for seed in range(runs)]
    losses = together(models, rates, list(range(runs)), budget=Budget(steps=100))
    for run in (0, 17):
        alone = model(backend, gradient, run, skip=True)
        optimizer = torch.optim.Adam(alone.parameters(), lr=rates[run])
        options = {"batch_size": BATCH, "budget": Budget(steps=100), "washout": 1, "seed": run, "progress": False}
        curve = fit(alone, data(), data(), optimizer=optimizer, validations=1, **options)
        np.testing.assert_allclose(losses[:, run], curve["train_loss"], rtol=0, atol=1e-9)
        for mine, other in zip(alone.parameters(), models[run].parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-7)


def test_many_shots_are_drawn_in_portions_and_yet_as_alone():
    """What does not fit one portion of drawn shots is drawn run by run."""
    few = [model("shots", "spsa", seed) for seed in range(2)]
    for each in few:
        each.layer.backend.shots = 6000
    losses = together(few, [0.01, 0.02], [0, 1], budget=Budget(steps=3))
    alone = model("shots", "spsa", 1)
    alone.layer.backend.shots = 6000
    np.testing.assert_allclose(losses[:, 1:], together([alone], [0.02], [1], budget=Budget(steps=3)), atol=1e-12)


def test_company_does_not_matter():
    alone = together([model("moments", "spsa", 5)], [0.02], [5])
    first = together([model("moments", "spsa", seed) for seed in (5, 6)], [0.02, 0.1], [5, 6])
    last = together([model("moments", "spsa", seed) for seed in (7, 8, 5)], [0.1, 0.0, 0.02], [7, 8, 5])
    np.testing.assert_allclose(alone[:, 0], first[:, 0], atol=1e-12)
    np.testing.assert_allclose(alone[:, 0], last[:, 2], atol=1e-12)


@pytest.mark.parametrize("budget", [Budget(steps=7), Budget(circuits=7 * 15), Budget(shots=7 * 15 * 16)])
def test_the_budget_is_that_of_each_run(budget):
    models = [model("moments", "spsa", seed) for seed in range(4)]  # 3 samples of 1 + 4 circuits an update
    assert together(models, [0.01] * 4, [0] * 4, budget=budget).shape == (7, 4)
    assert models[0].layer.cost.circuits == 0  # a copy of its layer ran


def test_runs_may_have_windows_of_their_own():
    x, y = data()
    pairs = [(x[:20], y[:20]), (x[20:], y[20:])]
    models = [model("moments", "spsa", seed) for seed in range(2)]
    options = {"batch_size": BATCH, "budget": Budget(steps=5)}
    losses = fit_side_by_side(StackedQRNN(models), pairs, rates=[0.01] * 2, seeds=[0, 1], **options)
    alone = StackedQRNN([model("moments", "spsa", 1)])
    np.testing.assert_allclose(
        losses[:, 1:], fit_side_by_side(alone, pairs[1], rates=[0.01], seeds=[1], **options), atol=1e-12
    )
    with pytest.raises(ValueError, match="train must hold pairs of one shape"):
        unlike = [(x[:20], y[:20]), (x[:19], y[:19])]
        fit_side_by_side(StackedQRNN(models), unlike, rates=[0.01] * 2, seeds=[0, 1], **options)


def test_a_rate_of_zero_moves_nothing_and_momentum_is_scaled_too():
    models = [model("exact", "shift", seed) for seed in range(2)]
    before = [weight.detach().clone() for weight in models[0].parameters()]

    def momentum(weights, lr):
        return torch.optim.SGD(weights, lr, momentum=0.9)

    losses = together(models, [0.0, 0.05], [3, 3], optimizer=momentum)
    assert all(torch.equal(old, weight) for old, weight in zip(before, models[0].parameters(), strict=True))
    alone = model("exact", "shift", 1)
    optimizer = momentum(alone.parameters(), 0.05)
    options = {"batch_size": BATCH, "budget": Budget(steps=12), "washout": 1, "seed": 3, "progress": False}
    curve = fit(alone, data(), data(), optimizer=optimizer, **options)
    np.testing.assert_allclose(losses[:, 1], curve["train_loss"], atol=1e-9)


def test_models_that_are_not_alike_are_refused():
    with pytest.raises(ValueError, match="models must be alike"):
        StackedQRNN([model("exact", "spsa", 0), model("moments", "spsa", 0)])
    with pytest.raises(ValueError, match="models must be alike"):
        StackedQRNN([model("exact", "spsa", 0), model("exact", "shift", 0)])
    with pytest.raises(ValueError, match="models must be one QRNN or more"):
        StackedQRNN([])
    with pytest.raises(ValueError, match="rates must be as many as runs, 2; got 1"):
        together([model("exact", "spsa", seed) for seed in range(2)], [0.1], [0, 1])
    with pytest.raises(ValueError, match="x must hold as many windows for each of 2 runs; got 3"):
        StackedQRNN([model("exact", "spsa", seed) for seed in range(2)])(data()[0][:3])


def test_a_stack_answers_as_its_models():
    models = [model("exact", "shift", seed, skip=True) for seed in range(3)]
    x = data()[0][:6]
    stacked = StackedQRNN(models)(x)[0]
    each = torch.cat([one(part)[0] for one, part in zip(models, x.chunk(3), strict=True)])
    torch.testing.assert_close(stacked, each, rtol=0, atol=1e-13)


def test_a_watch_sees_every_update_and_may_end_the_training():
    """Rows are those of `fit`, with what each run spent; an error leaves the weights of the last update."""
    rows = []

    def enough(row):
        rows.append(row)
        if row["step"] == 3:
            raise StopIteration

    models = [model("moments", "spsa", seed) for seed in range(2)]
    with pytest.raises(StopIteration):
        together(models, [0.01] * 2, [0, 1], watch=enough)
    assert [row["circuits"] for row in rows] == [15, 30, 45] and rows[0]["shots"] == 15 * 16
    losses = together([model("moments", "spsa", seed) for seed in range(2)], [0.01] * 2, [0, 1])
    np.testing.assert_allclose([row["train_loss"] for row in rows], losses[:3].mean(1))


def test_fit_shows_a_watch_its_rows():
    rows = []
    alone = model("moments", "spsa", 0)
    optimizer = torch.optim.Adam(alone.parameters(), lr=0.01)
    options = {"batch_size": BATCH, "budget": Budget(steps=4), "validations": 2, "seed": 0, "progress": False}
    curve = fit(alone, data(), data(), optimizer=optimizer, watch=rows.append, **options)
    assert [row["train_loss"] for row in rows] == list(curve["train_loss"])
    assert [("validation_nrmse" in row) for row in rows] == list(curve["validation_nrmse"].notna())
