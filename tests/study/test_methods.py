"""The stored study: a fair plan, runs that repeat, stored runs that are what they say."""

import json
from dataclasses import replace
from threading import Event
from threading import enumerate as enumerate_threads

import pandas as pd
import pytest
import torch

from qrnn_helpers import nrmse
from qrnn_helpers.storage import add_to_manifest, write_record
from qrnn_helpers.study import jobs
from qrnn_helpers.study import methods as study
from qrnn_helpers.study.methods import RATES, SEEDS, TUNING_SEED, Run, build, finals, load_run, plan, probes, train
from qrnn_helpers.study.panel import TrainingPanel

TINY = [
    Run("spsa", 0, 300, 2, 0.03, 5),
    Run("spsa", 16, 300, 2, 0.03, 5),
    Run("shift", 16, 1000, 2, 0.03, 5),
    Run("shift", 0, 2000, 2, 0.03, 5),
    Run("gru", 0, 3, 4, 0.03, 5),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where runs are stored, and read from, in a test."""
    monkeypatch.setattr(jobs, "DATA", tmp_path)
    return tmp_path / "study"


@pytest.mark.parametrize("run", TINY, ids=lambda r: r.name)
def test_a_run_is_a_function_of_its_configuration(run, folder):
    records = []
    for _ in range(2):
        run.job.perform()
        records.append(run.job.record)
        run.job.path.unlink()
    first, again = records
    assert first.pop("apart")["provenance"]["versions"] == again.pop("apart")["provenance"]["versions"]
    assert first == again


def test_a_stored_run_is_left_alone_and_comes_back(folder):
    run = TINY[0]
    run.job.perform()
    before = run.job.path.read_bytes()
    run.job.perform()
    assert run.job.path.read_bytes() == before
    model, _, record = load_run(run)
    trained, curve = train(run)
    for stored, own in zip(model.parameters(), trained.parameters(), strict=True):
        assert torch.equal(stored, own)
    assert record["result"]["curve"]["circuits"][-1] == curve["circuits"].iloc[-1]


def test_only_a_runs_own_sound_record_is_read(folder):
    """What lies under a run's name, listed or not, is its own and whole, or is refused by name."""
    run, other = TINY[4], replace(TINY[4], seed=6)
    run.job.perform()
    path, strange = run.job.path, other.job.path
    sound = path.read_bytes()
    readers = (load_run, lambda each: study.trials([each]))
    with pytest.raises(FileNotFoundError, match="seed6.json is missing"):
        load_run(other)
    strange.write_bytes(sound)
    for words in ("seed6.json is not listed", "seed6.json must hold settings .*'seed': 6.*got .*'seed': 5"):
        for read in readers:
            with pytest.raises(ValueError, match=words):
                read(other)
        add_to_manifest(strange)
    record = json.loads(sound)

    def biased(value):
        weights = {**record["result"]["weights"], "decoder.bias": [value]}
        return {**record, "result": {**record["result"], "weights": weights}}

    for change in (0.5, float("nan"), None, [[1.0]]):
        path.write_text(json.dumps(biased(change)))
        for read in readers:
            with pytest.raises(ValueError, match="seed5.json is damaged"):
                read(run)
    for change in (float("nan"), None, [1.0, 2.0]):  # as if it had been stored so
        write_record(biased(change), path)
        with pytest.raises((ValueError, TypeError), match="weights decoder.bias must"):
            load_run(run)
    for content in ("{}", "[]", "3", "null", "[" * 10**5, '{"settings": []}', '{"settings": 1}', ""):
        path.write_text(content)
        add_to_manifest(path)
        for read in readers:
            with pytest.raises(ValueError, match=r"seed5\.json"):
                read(run)
    write_record(record, path)
    load_run(run)


@pytest.mark.parametrize("run", TINY, ids=lambda r: r.name)
def test_no_run_spends_more_than_its_budget(run):
    curve = train(run)[1]
    spent = curve["circuits"] if run.charged else curve["step"]
    assert spent.iloc[-1] <= run.budget
    if run.charged:  # and no less than what one more update would have taken
        assert spent.iloc[-1] + spent.iloc[0] > run.budget


def test_noise_free_shift_is_charged_as_the_rule_would_be():
    assert train(TINY[3])[1]["circuits"].tolist() == [962, 1924]


def test_methods_are_tuned_alike_and_apart_from_the_comparison():
    """Same trials for both methods in every screened cell; tuning seeds never compare."""
    cells = {}
    for group in study.screening():
        run = group[0]
        assert {r.seed for r in group} == {TUNING_SEED}
        cells.setdefault((run.shots, run.budget), {})[run.method] = {(r.batch, r.rate) for r in group}
    for trials in cells.values():
        assert len(set(map(frozenset, trials.values()))) == 1
    assert TUNING_SEED not in SEEDS


def test_both_methods_start_from_the_same_weights():
    a, b = (build(Run(method, 0, 1000, 8, 0.01, 3))[0] for method in ("shift", "spsa"))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_every_planned_run_is_stored():
    runs = [r for group in plan() for r in group] + finals() + [r for group in probes().values() for r in group]
    assert len({r.name for r in runs}) == len(set(runs))
    missing = [r.name for r in runs if not r.job.done]
    assert not missing


def test_each_comparison_has_all_its_seeds_and_one_setting():
    cells = {}
    for run in finals():
        cells.setdefault((run.method, run.shots, run.budget), []).append(run)
    assert len(cells) == 2 * 3 * 3 + 2
    for runs in cells.values():
        assert sorted(r.seed for r in runs) == sorted(SEEDS)
        assert len({(r.batch, r.rate) for r in runs}) == 1
        assert runs[0].rate in RATES


def test_results_score_exact_probabilities():
    """Twice the same number, also for runs that were trained with shots, and the stored validation error."""
    run = next(r for r in finals() if r.shots)
    model, _, record = load_run(run)
    x, y = study.ks_task().validation
    with torch.no_grad():
        again = [nrmse(model(x)[0][:, -1], y[:, -1]) for _ in range(2)]
    assert again[0] == again[1] == pytest.approx(record["result"]["validation"]["exact"], rel=1e-9)


def test_stored_runs_carry_their_provenance():
    for run in finals():
        record = load_run(run)[2]
        assert set(record["apart"]["provenance"]) >= {"code", "versions", "machine"}
        assert record["apart"]["provenance"]["versions"]["torch"].startswith("2.13.0")


@pytest.fixture
def moved(monkeypatch):
    """A function that moves knobs of a panel and waits for what that starts."""
    monkeypatch.setattr("qrnn_helpers.study.methods.GLIMPSE", 16)  # windows that are scored: most of the time otherwise

    def move(panel, **values):
        for name, value in values.items():
            panel.knobs[name].value = value
        panel.wait()

    return move


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_panel_trains_by_every_method_with_any_shots(dtype, moved):
    """Under torch's default type and the chapter's: every setting gives a curve of its own, or says why not."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        panel = TrainingPanel(circuits=4_000)
        seen = [panel.curve.value]
        for shots in panel.knobs["shots"].options:
            for method in panel.knobs["method"].options.values():
                moved(panel, shots=shots)
                moved(panel, method=method)
                assert panel.note.value == "" and panel.curves[-1][0].startswith(f"method {method}, shots {shots},")
                assert panel.curves[-1][1]["validation_nrmse"].notna().any()
                assert panel.bar.value == 1 and panel.stopper.disabled
                seen.append(panel.curve.value)
        assert len(set(seen[1:])) == 6
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_panel_shows_what_failed_and_no_old_curve(error, monkeypatch, moved):
    panel = TrainingPanel(circuits=600)
    curves = panel.curves

    def fail(run, watch):
        assert "training with method shift" in panel.note.value and not panel.stopper.disabled
        raise error("a lost <job>")

    with monkeypatch.context() as patched:
        patched.setattr("qrnn_helpers.study.panel.train", fail)
        moved(panel, method="shift")
    assert panel.curve.value == "" and panel.curves == curves
    assert 'role="alert"' in panel.note.value and f"{error.__name__}: a lost &lt;job&gt;" in panel.note.value
    moved(panel, method="spsa")
    assert panel.note.value == "" and "<img" in panel.curve.value


def test_a_picture_that_fails_leaves_no_old_curve(monkeypatch, moved):
    panel = TrainingPanel(circuits=600)
    monkeypatch.setattr(TrainingPanel, "_figure", lambda self, curves: 1 / 0)
    moved(panel, seed=1)
    assert panel.curve.value == "" and "ZeroDivisionError" in panel.note.value


def test_the_panel_trains_anew_when_a_knob_moves(moved):
    panel = TrainingPanel(circuits=600)
    first = panel.curve.value
    moved(panel, seed=1)
    second = panel.curve.value
    moved(panel, rate=0.1)
    assert len({first, second, panel.curve.value}) == 3
    assert "seed 1" in second
    assert len(panel.curves) == 3


def test_a_training_is_watched_stopped_and_followed_by_another(monkeypatch, moved):
    """While it waits for its second update the panel has the first; a stop ends it there, and so does a knob."""
    panel = TrainingPanel(circuits=600)
    arrived, go_on = Event(), Event()

    def slow(run, watch):
        for circuits in range(60, 601, 60):
            watch({"circuits": circuits, "validation_nrmse": 1.0})
            arrived.set()
            go_on.wait()
        return pd.DataFrame({"circuits": [600], "validation_nrmse": [0.5]})

    with monkeypatch.context() as patched:
        patched.setattr("qrnn_helpers.study.panel.train", lambda *given, **named: (None, slow(*given, **named)))
        panel.knobs["seed"].value = 1
        arrived.wait()
        assert panel.bar.value == 0.1 and "is at 1.000" in panel.curve.value and len(panel.curves) == 1
        panel.stopper.click()
        go_on.set()
        panel.wait()
        assert "Stopped</b> at 20%" in panel.note.value and panel.curves[-1][0].endswith("(stopped)")
        assert panel.stopper.disabled
    moved(panel, seed=2)
    panel.knobs["seed"].value = 3  # while this one trains the next is asked for
    moved(panel, seed=4)
    assert panel.note.value == "" and "seed 4" in panel.curves[-1][0]
    assert not any(thread is panel._thread for thread in enumerate_threads())
