"""The study's plan: which trials there are, how a setting is chosen, what is paired."""

import hashlib
import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from qrnn_helpers.study import arms, laws, opened, plan
from qrnn_helpers.study.arms import ARMS, MAIN, Problem, Setting, kept_updates, network, task_of, train, trained
from qrnn_helpers.study.plan import CORE, LEVELS, SECONDARY, Tuning, at_edge, moved, of_budget, trials

OWN = [level for level, its in LEVELS.items() if its.below is None]
TUNED = [(arm, level) for level in OWN for arm in CORE] + [(arm, "1e6") for arm in SECONDARY]
SETTING = Setting("spsa", 0.02, 2, 16, 2, 0.2, 0.0)


@pytest.mark.parametrize(("arm", "level"), TUNED)
def test_every_arm_has_as_many_trials_within_the_same_limits(arm, level):
    settings = trials(arm, level, MAIN)
    assert plan.TRIALS <= len(settings) <= plan.TRIALS + 3
    assert len(set(settings)) == len(settings)
    budget = LEVELS[level].budget
    assert all(plan.UPDATES[0] <= of_budget(setting, budget, MAIN) <= plan.UPDATES[1] for setting in settings)
    assert budget.shots or {setting.shots for setting in settings} == {1024}
    shapes = Counter((setting.batch, setting.size, setting.shots, setting.beta) for setting in settings)
    assert len(set(shapes.values())) == 1


@pytest.mark.parametrize("level", OWN)
def test_arms_with_equal_circuits_have_equal_trials(level):
    """SPSA, causal or not, and in weight space: the same points, but for the range of c in weight space."""
    spsa, causal, weights = (trials(arm, level, MAIN) for arm in ("spsa", "causal", "weights"))
    assert [(s.rate, s.batch, s.size, s.shots, s.c) for s in spsa] == [
        (s.rate, s.batch, s.size, s.shots, s.c) for s in causal
    ]
    assert [(s.rate, s.batch, s.size, s.shots) for s in spsa] == [(s.rate, s.batch, s.size, s.shots) for s in weights]


def test_updates_of_a_budget():
    assert of_budget(SETTING, plan.BUDGETS["1e6"], MAIN) == 1e6 / (16 * 2 * (1 + 4))
    assert of_budget(SETTING, plan.BUDGETS["4e5 circuits"], MAIN) == 4e5 / (2 * (1 + 4))


def test_edges_are_moved_beyond_by_two_and_four():
    inner = Setting("spsa", 0.01, 8, 64, 8, 0.2)
    assert at_edge(inner, "1e6") == [] and moved(inner, "1e6") == []
    edges = Setting("spsa", 0.001, 64, 4, 32, 0.9)
    assert at_edge(edges, "1e6") == ["rate", "c", "batch", "size", "shots"]
    beyond = {(s.rate, s.c, s.batch, s.size, s.shots) for s in moved(edges, "1e6")}
    assert {(0.0005, 0.9, 64, 32, 4), (0.001, 3.6, 64, 32, 4), (0.001, 0.9, 256, 32, 4)} <= beyond
    assert {(0.001, 0.9, 64, 128, 4), (0.001, 0.9, 64, 32, 1)} <= beyond and len(beyond) == 10
    assert "shots" not in at_edge(Setting("spsa", 0.01, 8, 1024, 8, 0.2), "4e4 circuits")


def test_seeds_pair_data_and_weights_and_nothing_else():
    """Equal seeds: equal windows and initial weights for every arm; other shots."""
    models = {arm: network(MAIN, Setting(arm, 0.01, 2, 16, 2, 0.2), 3) for arm in ARMS if arm != "bare"}
    first = models["spsa"]
    for model in models.values():
        assert torch.equal(model.encoder.weight, first.encoder.weight)
        assert torch.equal(model.decoder.weight, first.decoder.weight)
    shots = [models[arm].layer.backend.generator.initial_seed() for arm in CORE]
    assert len(set(shots)) == len(shots)
    assert torch.equal(task_of(MAIN, 3).train[0], task_of(MAIN, 3).train[0])
    assert not torch.equal(task_of(MAIN, 3).train[0], task_of(MAIN, 4).train[0])
    other = network(MAIN, SETTING, 4)
    assert not torch.equal(other.encoder.weight, first.encoder.weight)


@pytest.mark.parametrize("problem", [Problem(steps=20, task="lorenz"), Problem(2, 2, 3, "patch-2d")])
def test_seeds_of_other_tasks_draw_windows_of_their_own(problem, monkeypatch):
    field = torch.randn(3, 6, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fields = xr.DataArray(field.numpy(), dims=("trajectory", "time", "y", "x"))
    monkeypatch.setattr(arms, "fields_of", lambda task: (fields, fields, fields))
    monkeypatch.setattr(arms, "task_of", arms.task_of.__wrapped__)
    task, again, other = (arms.task_of(problem, seed) for seed in (3, 3, 4))
    features = 1 if problem.task == "lorenz" else 9
    assert [len(x) for x, _ in (task.train, task.validation, task.test)] == list(arms.WINDOWS)
    assert task.train[0].shape[1:] == (problem.steps, features) and task.train[1].shape[1:] == (problem.steps, 1)
    assert task.washout == problem.washout
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(task, part)[0], getattr(again, part)[0])
        assert not torch.equal(getattr(task, part)[0], getattr(other, part)[0])


def test_lorenz_windows_hold_z_of_the_next_sample():
    """Rows of a seed are windows of the stored trajectory, all different."""
    series = arms.lorenz_series().values[0][:5445]
    x, z = (series[:, k] - series[:, k].min() for k in (0, 2))
    x, z = x / x.max(), z / z.max()
    windows = task_of(Problem(steps=20, task="lorenz"), 3).train
    starts = [int(np.flatnonzero(np.isclose(x, row[0].item(), rtol=0, atol=1e-12))[0]) for row in windows[0][:20]]
    assert len(set(starts)) == 20
    for row, start in enumerate(starts):
        np.testing.assert_allclose(windows[1][row, :, 0], z[start + 1 : start + 21], atol=1e-12)


@pytest.mark.parametrize("problem", [Problem(circuit="two_way"), Problem(optimizer="momentum")])
def test_replications_share_data_and_seeds_with_the_main_problem(problem):
    main, other = (network(each, SETTING, 3) for each in (MAIN, problem))
    assert torch.equal(task_of(problem, 3).train[0], task_of(MAIN, 3).train[0])
    assert main.layer.backend.generator.initial_seed() == other.layer.backend.generator.initial_seed()
    assert other.layer.program.step.num_parameters == (30 if problem.circuit == "two_way" else 27)


def test_momentum_is_that_of_sgd():
    """After one update without noise in the weights' own direction: rate times the gradient, larger rates further."""
    runs = [(Setting("exact", rate, 4), 3) for rate in (0.1, 0.2)]
    start = network(MAIN, runs[0][0], 3)
    stack, _ = arms.begun(Problem(optimizer="momentum"), plan.Budget(steps=9), runs, stop=1)
    moves = [(model.encoder.weight - start.encoder.weight).detach() for model in stack.models()]
    torch.testing.assert_close(moves[1], 2 * moves[0])
    assert moves[0].abs().std() > 0.1 * moves[0].abs().mean()  # Adam's first moves would all be equal


@pytest.mark.parametrize("arm", SECONDARY)
def test_secondary_arms_train_as_many_updates_as_foreseen(arm):
    setting = Setting(arm, 0.02, 4, 4, 6, 0.0 if arm == "uniform" else 0.3, 0.0)
    budget = plan.Budget(shots=round(4 * 30 * plan._circuits(MAIN, setting)))
    stack, losses = arms.begun(MAIN, budget, [(setting, 100)])
    assert 0.9 * of_budget(setting, budget, MAIN) <= len(losses) <= 1.05 * of_budget(setting, budget, MAIN)
    assert np.isfinite(losses).all() and stack.layer.cost.circuits * 4 <= budget.shots


def run(seeds: list[int], keep: bool = True) -> dict:
    work = {"problem": {}, "setting": vars(SETTING), "budget": {"shots": 3200}, "seeds": seeds, "keep": keep}
    return train(**work)


def test_a_run_does_not_depend_on_its_company():
    both, one = run([0, 1]), run([1])
    assert both["updates"] == one["updates"] == 20
    assert both["circuits"] == 200 and both["shots"] == 3200
    np.testing.assert_allclose(both["validation"][1], one["validation"][0], rtol=1e-4)
    losses = [[losses[which] for losses in result["losses"].values()] for result, which in ((both, 1), (one, 0))]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_stored_weights_give_the_network_back():
    result = run([5])
    model = trained(MAIN, SETTING, 5, result["weights"][0])
    from qrnn_helpers.study.arms import error

    assert math.isclose(error(model, task_of(MAIN, 5).validation), result["validation"][0], rel_tol=1e-6)


def test_kept_updates_have_equal_ratios_and_both_ends():
    kept = kept_updates(5000)
    assert kept[0] == 0 and kept[-1] == 4999 and len(kept) <= 60 and kept == sorted(set(kept))
    assert kept_updates(1) == [0]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder of its own for records."""
    from qrnn_helpers.study import jobs

    monkeypatch.setattr(jobs, "DATA", tmp_path)
    return tmp_path


def store(job, score) -> None:
    """Write what a tuning job would, with scores by a function of the setting."""
    from qrnn_helpers.storage import write_record

    trials_of = [{"validation": [score(Setting(**setting))] * 3} for setting in job.settings["settings"]]
    job.path.parent.mkdir(exist_ok=True)
    write_record({"settings": job.settings, "result": {"trials": trials_of}, "apart": {}}, job.path)


def test_a_level_leads_to_the_next_and_to_the_evaluation(empty):
    """The best of a level's trials by validation is evaluated; its best are tried at the level above."""

    def score(setting):
        return 1 + abs(math.log(setting.rate / 0.012)) + abs(math.log2(setting.shots / 64)) / 100

    low, high = Tuning("spsa", "1e6"), Tuning("spsa", "1e7")
    assert not low.done and not high.done and high.jobs == [] and plan.evaluation("spsa", "1e6") == []
    for job in low.first():
        store(job, score)
    for job in low.second():
        store(job, score)
    assert low.done and not high.done
    best = min(trials("spsa", "1e6", MAIN), key=score)
    assert low.chosen == best
    carried = [setting for job in high.first() for setting in job.settings["settings"]]
    assert carried[0] == vars(best) and high.second() == []
    ordered = sorted([*trials("spsa", "1e6", MAIN), *moved(best, "1e6")], key=score)
    assert {Setting(**setting) for setting in carried} == set(ordered[: plan.CARRIED])
    for job in high.first():
        store(job, score)
    (job,) = Tuning("spsa", "1e8").jobs
    assert job.settings["settings"] == [vars(replace(best, rate=best.rate * factor)) for factor in plan.FACTORS]
    store(job, score)
    (run,) = plan.evaluation("spsa", "1e8")
    assert run.settings["seeds"] == list(plan.SEEDS)
    runs = plan.evaluation("spsa", "3e6")
    assert [job.settings["setting"] for job in runs] == [vars(best)] * 2
    assert [seed for job in runs for seed in job.settings["seeds"]] == list(plan.SEEDS)
    labels = {job.label for job in plan.jobs()}
    assert {job.label for job in [*low.jobs, *high.jobs, *runs]} <= labels


def test_every_budget_has_one_level_and_one_stage():
    assert [plan.level_of(budget) for budget in plan.BUDGETS] == ["1e5", "1e5", "1e6", "1e6", "1e7", "1e7", "1e8"] + [
        "4e5 circuits"
    ]
    first = [budget for stage in ("A", "B", "F", "J") for budget in plan.STAGES[stage]]
    assert sorted(first) == sorted(plan.BUDGETS)


def test_older_jobs_keep_their_names_and_settings(empty):
    """Checksums of commit 9af6a28, whose records are taken for the study."""

    def checksum(jobs):
        return hashlib.sha256(json.dumps([[job.label, job.settings] for job in jobs]).encode()).hexdigest()

    older = [job for job in plan.jobs() if job.name.startswith("tune-")]
    assert checksum(older) == "20b8a820869c295a3b6f729bf8a0b4eae066c56b0d196b283fd2140b16257cfa"
    assert checksum(laws.jobs()) == "dd675bc5e97636a763284b358e9add3b182a248715db35796998f1495b26ffe6"


def test_later_stages_take_over_settings_and_keep_apart(empty):
    """Rates in the cross follow the factor that is best there; a replication waits for nothing but the main setting."""
    cell, two_way = plan.SCALING["6qubits-8steps"], plan.REPLICATIONS["two-way"]
    for level in ("1e6", "1e7"):
        for job in Tuning("spsa", level).first():
            store(job, lambda setting: setting.rate)
        for job in Tuning("spsa", level).second():
            store(job, lambda setting: setting.rate)
    main = Tuning("spsa", "1e7").chosen
    assert plan.setting_of("spsa", "1e7", two_way) == main and plan.setting_of("spsa", "1e7", cell) is None
    (rates,) = plan.retuning("spsa", cell)
    store(rates, lambda setting: 1 + abs(math.log(setting.rate / Tuning("spsa", "1e6").chosen.rate / 2)))
    assert plan.setting_of("spsa", "1e7", cell) == Setting(**(vars(main) | {"rate": 2 * main.rate}))
    (job,) = plan.evaluation("spsa", "1e7", cell)
    assert job.label == "training/D-6qubits-8steps-run-spsa-1e7-0" and job.settings["seeds"] == list(range(14))
    assert job.settings["problem"] == {"memory": 3, "readout": 3, "steps": 8}
    names = [job.name for job in plan.jobs()]
    later = [name for name in names if name.startswith(("C-", "D-", "E-"))]
    assert len(set(names)) == len(names) and {name[0] for name in later} == {"C", "D", "E"}
    assert all(name.startswith(("tune-", "run-")) for name in set(names) - set(later))
    replicated = plan.evaluation("spsa", "1e7", two_way)
    assert [job.settings["problem"]["circuit"] for job in replicated] == ["two_way"]
    assert set(replicated[0].settings["problem"]) == {"memory", "readout", "steps", "circuit"}


def test_stages_hold_their_problems_and_arms():
    sizes = {stage: len(plan.cells(stage)) for stage in plan.STAGES}
    assert sizes == {"A": 3 * 5, "B": 3 * 5, "C": 2 * 4, "F": 5, "J": 5} | {
        "D": 2 * 4 * 5,
        "E": 3 * 5,
        "G": 5,
        "H": 2 * 5,
        "I": 2 * 5,
    }
    elsewhere = [name for names in plan.ELSEWHERE.values() for name in names]
    assert sorted(elsewhere) == sorted(plan.SCALING | plan.REPLICATIONS)


def test_seeds_of_trials_are_not_those_of_the_evaluation():
    assert len(plan.SEEDS) == 28 and not set(plan.SEEDS) & set(plan.TUNING_SEEDS)


def test_test_windows_stay_closed_while_a_run_is_missing(empty):
    with pytest.raises(ValueError, match="stage A must be complete before its test windows are opened"):
        opened.opening("A")
    with pytest.raises(ValueError, match="stage must be"):
        opened.opening("K")
    with pytest.raises(ValueError, match="missing: .*'6qubits-8steps spsa at 1e6'"):
        opened.opening("H")
