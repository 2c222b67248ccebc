"""Long work is done once, stored whole, and told from other work."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from qrnn_helpers.storage import add_to_manifest, origins
from qrnn_helpers.study import __main__ as command
from qrnn_helpers.study import jobs as longruns
from qrnn_helpers.study import plan
from qrnn_helpers.study.jobs import DataFile, Job, state_from, state_to


def plain(value: float, sizes: tuple = ()) -> dict:
    return {"doubled": 2 * value}


def given() -> list[Job]:
    return [Job("jobs", f"job{i}", plain, {"value": float(i), "sizes": (1, 2)}) for i in range(3)]


class Study:
    """Three jobs of one kind; a fourth is known as soon as the first is done."""

    def jobs(self):
        yield from given()
        if given()[0].done:
            yield Job("jobs", "later", plain, {"value": given()[0].result["doubled"]})

    def summary(self, job):
        return job.result


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(longruns, "DATA", tmp_path)
    monkeypatch.setattr(command, "STUDIES", [Study()])
    return given()


def main(*arguments):
    command.main([*arguments, "jobs", "--workers", "1", "--dirty"])


def test_jobs_are_done_once_and_resumed(jobs, capsys):
    command.main(["run", "jobs/job1", "--workers", "1", "--dirty"])
    assert [job.done for job in jobs] == [False, True, False]
    first = jobs[1].path.read_bytes()
    main("run")
    assert jobs[1].path.read_bytes() == first
    assert [job.result["doubled"] for job in jobs] == [0.0, 2.0, 4.0]
    assert {"code", "versions", "machine"} <= jobs[0].record["apart"]["provenance"].keys()
    main("status")
    assert capsys.readouterr().out.split() == [
        *("stored", "jobs/job0", "stored", "jobs/job1", "stored", "jobs/job2", "stored", "jobs/later")
    ]
    main("table")
    assert capsys.readouterr().out.split()[-4:] == ["jobs/later", "0.0", "NaN", "1"]


def test_damaged_missing_and_foreign_results_are_refused(jobs):
    with pytest.raises(FileNotFoundError, match="job0.json is missing"):
        _ = jobs[0].result
    main("run")
    other = Job("jobs", "job0", plain, {"value": 7.0, "sizes": (1, 2)})
    with pytest.raises(ValueError, match="must hold settings"):
        _ = other.result
    content = json.loads(jobs[0].path.read_text())
    content["result"]["doubled"] = 1.0
    jobs[0].path.write_text(json.dumps(content))
    for word in ("run", "status", "table"):  # none vouches for the damage, on which the plan would go on
        with pytest.raises(SystemExit, match=r"job0\.json is damaged[\s\S]*Remove"):
            main(word)
    with pytest.raises(ValueError, match="is damaged"):
        _ = jobs[0].result


@pytest.mark.parametrize("content", ["", "{}", "[]", "[" * 10**5, '{"settings": []}', '{"settings": {"value": 0.0}}'])
def test_what_is_no_record_is_named_in_status_and_when_it_is_read(content, jobs, capsys):
    command.main(["run", "jobs/job1", "--workers", "1", "--dirty"])
    jobs[0].path.write_text(content)
    with pytest.raises(SystemExit, match=r"job0\.json"):
        command.main(["run", "jobs/job0", "--workers", "1", "--dirty"])  # leaves it as it is
    with pytest.raises(SystemExit, match=r"job0\.json"):
        main("status")
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["damaged", "stored", "missing"]
    assert jobs[0].path.read_text() == content
    for _ in range(2):  # first a stranger, then one that somebody listed
        with pytest.raises(ValueError, match=r"job0\.json"):
            _ = jobs[0].result
        add_to_manifest(jobs[0].path)


def test_a_job_is_whole_as_soon_as_it_is_done(jobs):
    """Each adds its own line, so that several commands at once, or one that is killed, leave nothing unlisted."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(Job.perform, jobs))
    assert [job.result["doubled"] for job in jobs] == [0.0, 2.0, 4.0]


def test_a_stored_result_does_not_make_the_tree_dirty():
    """A job adds its line to a manifest, which is no code."""
    inside = subprocess.run(["git", "ls-files", "--", *origins.CODE], cwd=longruns.DATA, capture_output=True, text=True)
    if inside.returncode:
        pytest.skip("no checkout")
    listed = inside.stdout.split()
    assert "CHECKSUMS.sha256" in listed and "../qrnn_helpers/storage/files.py" in listed
    assert not [name for name in listed if name.endswith("/CHECKSUMS.sha256") and not name.startswith("../book")]


def test_all_that_the_book_stores_is_there_and_nothing_else():
    """In a process of its own: data sets, exponents and every study."""
    done = subprocess.run([sys.executable, "-m", "qrnn_helpers.study", "status"], capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    growing = (
        "training/",
        "laws/",
        "noise/",
        "reservoir/",
    )  # a plan that is under way: what chapters read of it fails by itself if missing
    finished = {state for state, label in lines if not label.startswith(growing)}
    assert done.returncode == 0 and finished == {"stored"}, done.stdout + done.stderr
    assert "damaged" not in {state for state, _ in lines}, done.stdout
    labels = {label for state, label in lines if state == "stored"}
    assert {"data/ks22", "lyapunov/lorenz", "contest/reduced-gru", "lorenz_case/fitted-echo-long"} < labels
    files = {path.relative_to(longruns.DATA).with_suffix("") for path in longruns.DATA.glob("*/*.json")}
    found = {path.as_posix() for path in files if path.parts[0] != "bench"}
    openings = {f"training/test-{stage}" for stage in plan.STAGES}  # made by `open`, not by `run`
    assert {label for label in labels if not label.startswith("data/")} == found - openings


def test_the_package_is_imported_without_its_studies():
    program = "import sys, qrnn_helpers; print(sorted(n for n in sys.modules if n.startswith('qrnn_helpers.study.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "['qrnn_helpers.study.exponents', 'qrnn_helpers.study.jobs']", done.stderr


def test_every_job_is_found_by_other_processes():
    for job in command.known([]):
        module = sys.modules[job.work.__module__]
        assert getattr(module, job.work.__name__) is job.work and job.work.__module__ != "__main__"


def test_a_data_set_is_made_only_where_it_is_missing(tmp_path, monkeypatch):
    """And is damaged, too, if it does not solve its equation."""
    monkeypatch.setattr(longruns, "DATA", tmp_path)
    monkeypatch.setattr("qrnn_helpers.dynamics.datasets.FOLDER", tmp_path)
    file = DataFile("lorenz")
    assert file.status == "missing"
    command.main(["run", "data/lorenz", "--workers", "1", "--dirty"])
    assert file.status == "stored"
    content = file.path.read_bytes()
    file.path.write_bytes(content[:-1] + b"!")
    command.main(["run", "data/lorenz", "--workers", "1", "--dirty"])
    assert file.status == "damaged" and file.path.read_bytes() == content[:-1] + b"!"


def test_weights_go_through_json_bit_for_bit():
    model, other = (torch.nn.Linear(3, 2, dtype=torch.float64) for _ in range(2))
    state_from(other, json.loads(json.dumps(state_to(model))))
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)
    with pytest.raises(ValueError, match="weights must be those of"):
        state_from(other, {"weight": [[0.0]]})
    wrong = {"finite": [0.0, float("nan")], r"the model's shape \(2,\)": [0.0]}
    for words, bias in wrong.items():
        with pytest.raises(ValueError, match=f"weights bias must .*{words}"):
            state_from(other, state_to(model) | {"bias": bias})
    assert torch.equal(model.bias, other.bias)


def test_estimates_are_for_planning_and_are_not_stored(jobs):
    bare, known = given()[0], Job("jobs", "job0", plain, {"value": 0.0}, runs=28, cost_seconds=60, size_bytes=1000)
    known.perform()
    assert known.record.keys() == {"settings", "result", "apart"} and known.record["settings"] == {"value": 0.0}
    assert (bare.runs, bare.cost_seconds, bare.size_bytes) == (1, None, None)
    for wrong in ({"runs": 0}, {"cost_seconds": -1.0}, {"size_bytes": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least"):
            Job("jobs", "job0", plain, **wrong)
