"""Every kind of model on every task: no leak, equal effort, known answers."""

import dataclasses

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from reservoirpy import mat_gen
from reservoirpy.nodes import Reservoir

from qrnn_helpers import (
    QRNN,
    Task,
    closed_loop,
    compare,
    ks22,
    lorenz_observer,
    observer,
    patch_forecast,
    reduced_forecast,
    rotation_step,
    score,
    standard_baselines,
    starts,
    tune,
    valid_prediction_time,
    without_entanglers,
)
from qrnn_helpers.baselines import (
    TUNING_SEED,
    assess,
    echo_state,
    grid,
    lagged,
    linear,
    nvar,
    persistence,
    select,
)
from qrnn_helpers.baselines.regression import quadratic
from qrnn_helpers.baselines.standard import CONFIGURATIONS
from qrnn_helpers.dynamics import ks2d, lorenz

FIELDS = {split: ks22(split) for split in ("train", "validation", "test")}
SQUARE = dict(zip(FIELDS, (ks2d(12.0, 16, dt=0.5, steps=30, transient=50.0, seed=s) for s in range(3))))
SMALL = standard_baselines(rotation_step(1, 1), units=20, hidden=(2, 3), updates=2)


def altered_series():
    """A Lorenz series whose test stretch is another."""
    series = lorenz(steps=2000)
    series.values[:, 1400:] = 3 * lorenz(steps=2000, seed=1).values[:, 1400:] + 1
    return series


def tasks(altered: bool):
    """Each task, small; with ``altered`` on other test trajectories."""
    fields, square = ({**f, "test": 3 * f["train"] + 1} if altered else f for f in (FIELDS, SQUARE))
    return {
        "patch forecast": patch_forecast(**fields, steps=6, windows=(32, 16, 16)),
        "observer": observer(**fields, sensors=4, steps=6, washout=2, windows=(32, 16, 16)),
        "reduced forecast": reduced_forecast(**fields, modes=4, steps=6, washout=2, windows=(32, 16, 16)),
        "reduced forecast, POD": reduced_forecast(**fields, modes=3, basis="pod", windows=(32, 16, 16)),
        "patch forecast 2-D": patch_forecast(**square, neighbours=3, steps=4, windows=(64, 32, 32)),
        "observer 2-D": observer(**square, sensors=2, steps=6, washout=2, windows=(32, 16, 16)),
        "Lorenz observer": lorenz_observer(altered_series() if altered else lorenz(steps=2000), stride=60),
    }


TASKS, ALTERED = tasks(False), tasks(True)


@pytest.mark.parametrize("name", TASKS)
def test_no_test_trajectory_touches_training_scaling_or_tuning(name):
    """With other test trajectories all that is fitted or chosen stays the same to the bit."""
    task, other = TASKS[name], ALTERED[name]
    assert not torch.equal(task.test[0], other.test[0])
    for part in ("train", "validation"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(task, part), getattr(other, part), strict=True))
    if name.startswith("reduced"):
        assert np.array_equal(task.modes, other.modes) and np.array_equal(task.mean, other.mean)
    for scaling in ("x_scaling", "y_scaling"):
        ours, theirs = (dataclasses.astuple(getattr(t, scaling)) for t in (task, other))
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs))
    probe = torch.randn(5, *task.train[0].shape[1:], dtype=torch.float64)
    for baseline in SMALL:
        if baseline.name == "persistence" and task.still is None:
            continue
        ours, theirs = (tune(t, baseline) for t in (task, other))
        assert ours.equals(theirs), baseline.name
        setting = ours["setting"].iloc[0]
        assert torch.equal(*(baseline.fit(t, 1, **setting).predict(probe) for t in (task, other))), baseline.name


@pytest.mark.parametrize("name", TASKS)
def test_one_table_a_task_with_equal_effort(name):
    task = TASKS[name]
    table = compare(task, SMALL, seeds=(0, 1))
    chosen = table.drop(index="persistence", errors="ignore")
    assert ("persistence" in table.index) == (task.still is not None)
    assert (chosen["tried"] == CONFIGURATIONS).all() and (chosen["parameters"] > 0).all()
    assert np.isfinite(table["test"]).all() and table["sees"].str.startswith(task.sees).all()
    certain = {"persistence", "linear, lags", "quadratic autoregression"}
    assert set(table.index[table["±"].isna()]) == certain & set(table.index)


@pytest.mark.parametrize("baseline", SMALL, ids=lambda baseline: baseline.name)
def test_no_model_sees_the_future(baseline):
    """An answer at step t does not change with inputs after t."""
    task = TASKS["patch forecast"]
    predict = baseline.fit(task, 0, **baseline.settings(task)[0]).predict
    x = task.test[0].clone()
    before = predict(x)
    x[:, 5:] += 1
    after = predict(x)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-9)
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("baseline", [r for r in SMALL if r.chance], ids=lambda baseline: baseline.name)
def test_equal_seeds_give_equal_models(baseline):
    task = TASKS["observer"]
    setting = baseline.settings(task)[0]
    a, b, c = (baseline.fit(task, seed, **setting).predict(task.test[0]) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def recurrence(rule, features=2, windows=40, steps=12):
    """A task whose y is a known function of the last inputs."""
    x = torch.randn(windows, steps, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = [(part, rule(part)) for part in x.split(windows // 4)]
    return Task(*pairs[:3], name="known", sees="all", washout=3)


def test_linear_and_quadratic_models_find_their_own_rules():
    def line(x):
        return 1 + x[..., :1] - 2 * torch.roll(x, 2, 1)[..., 1:]

    task = recurrence(line)
    assert score(task, linear(task, lags=3, penalty=1e-12).predict) < 1e-9
    assert score(task, linear(task, lags=2, penalty=1e-12).predict) > 0.5
    task = recurrence(lambda x: x[..., :1] * torch.roll(x, 1, 1)[..., 1:], windows=160)
    assert score(task, nvar(task, lags=2, penalty=1e-12).predict) < 1e-9
    assert score(task, linear(task, lags=2, penalty=1e-12).predict) > 0.5


def test_features_are_what_they_say():
    x = torch.arange(6.0).reshape(1, 3, 2)
    assert lagged(x, 2).tolist() == [[[0, 1, 0, 1], [2, 3, 0, 1], [4, 5, 2, 3]]]
    assert quadratic(x[:, 1]).tolist() == [[2, 3, 4, 6, 9]]


def test_the_echo_state_network_is_that_of_reservoirpy(monkeypatch):
    """All windows at once gives the states that reservoirpy finds one window after the other."""
    seen = {}
    monkeypatch.setattr("qrnn_helpers.baselines.reservoir.ridge", lambda task, features, *_: seen.update(f=features))
    task = TASKS["observer"]
    echo_state(task, 3, units=15, radius=0.8, leak=0.6, gain=0.3, penalty=1e-6)
    x = task.train[0][:4]
    dense = {"Win": mat_gen.uniform, "input_connectivity": 1.0, "bias": mat_gen.uniform}
    states = Reservoir(15, sr=0.8, lr=0.6, input_scaling=0.3, seed=3, input_dim=4, **dense).run(x.numpy())
    found = seen["f"](x)
    assert np.allclose(found[..., :15], states, atol=1e-13) and torch.equal(found[..., 15:], x)


def test_persistence_means_something_or_is_refused():
    task = TASKS["patch forecast"]
    x, y = task.test
    assert torch.allclose(persistence(task).predict(x)[:, 1:], y[:, :-1], atol=1e-12)
    with pytest.raises(ValueError, match="task must have a persistence"):
        persistence(TASKS["observer"])


def test_without_entanglers_nothing_passes_from_step_to_step():
    step = rotation_step(2, 2)
    separable = without_entanglers(step)
    assert {len(i.qubits) for i in separable.data} == {1} and len(step.data) == 27
    assert set(separable.parameters) < set(step.parameters) and len(separable.parameters) == 24
    x = torch.randn(3, 4, 2, dtype=torch.float64)
    for circuit, passes in ((step, True), (separable, False)):
        net = QRNN(2, 1, circuit, dtype=torch.float64, seed=0)
        changed = torch.cat([x[:, :2] + 1, x[:, 2:]], dim=1)
        assert torch.allclose(net(x)[0][:, 2:], net(changed)[0][:, 2:]) != passes
    with pytest.raises(ValueError, match="step must have a Parameter in a gate on a single qubit"):
        without_entanglers(QuantumCircuit(*step.qregs))


def test_tuning_chooses_the_best_and_its_seed_is_none_of_the_comparison():
    table = tune(TASKS["observer"], SMALL[1])
    assert table["validation"].is_monotonic_increasing and len(table) == CONFIGURATIONS
    assert TUNING_SEED not in range(5)


def test_tuning_and_comparing_by_a_measure_of_ones_own():
    """Here the length of the closed loop that stays near the truth, on fields of the same part."""
    task, seen = TASKS["reduced forecast"], []

    def shortness(task, predict, part):
        seen.append(part)
        history, truth = starts(FIELDS[part], 6, 10, 5)
        return -valid_prediction_time(closed_loop(predict, history, 10, task), truth, 1.0, 0.048)["vpt"].mean()

    table = compare(task, SMALL[:2], seeds=(0, 1), measure=shortness)
    assert (table["test"] <= 0).all()
    assert seen == ["validation", "test"] + CONFIGURATIONS * ["validation"] + ["test"]


def test_anything_can_be_chosen_by_the_least_error_with_the_tuning_seed():
    settings = grid(rate=[0.1, 0.2, 0.3], skip=[False, True])
    assert [tuple(each.values()) for each in settings[:3]] == [(0.1, False), (0.1, True), (0.2, False)]
    errors, seen = iter([3.0, float("nan"), 1.0, 2.0, 1.0, 4.0]), []

    def trial(setting, seed):
        seen.append(seed)
        return {"error": next(errors)}

    chosen, outcomes = select(settings, trial, lambda outcome: outcome["error"])
    assert chosen is settings[2] and len(outcomes) == 6 and outcomes[2] == {"error": 1.0}
    assert set(seen) == {TUNING_SEED}


def test_an_assessment_is_a_row_of_the_table():
    task, models = TASKS["observer"], SMALL[1:4:2]
    table = compare(task, models, seeds=(0, 1))
    for model, tests in zip(models, (1, 2)):
        found = assess(task, model, seeds=(0, 1))
        row = table.loc[model.name]
        assert len(found["tests"]) == tests and np.mean(found["tests"]) == pytest.approx(row["test"], rel=1e-12)
        assert all(found[name] == row[name] for name in ("sees", "parameters", "setting", "validation"))
        assert found["trials"].equals(tune(task, model))


def test_a_task_refuses_parts_that_do_not_belong_together():
    x, y = TASKS["observer"].train
    for bad, words in (
        (((x, y), (x[:, 1:], y[:, 1:]), (x, y)), "validation must have"),
        (((x, y[:, :3]), (x, y), (x, y)), "train y must have shape"),
        (((x, y.float()), (x, y), (x, y)), "train must have x and y of one dtype"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            Task(*bad)
    with pytest.raises(ValueError, match="washout must be at most 5"):
        Task((x, y), (x, y), (x, y), washout=6)
