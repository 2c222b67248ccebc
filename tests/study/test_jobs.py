"""Long work is done once, stored whole, and told from other work."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from qrnn_helpers.storage import add_to_manifest, origins
from qrnn_helpers.study import jobs as longruns
from qrnn_helpers.study import state_from
from qrnn_helpers.study.jobs import Job, main, state_to


def plain(value: float, sizes: tuple = ()) -> dict:
    return {"doubled": 2 * value}


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(longruns, "DATA", tmp_path)
    return [Job("jobs", f"job{i}", plain, {"value": float(i), "sizes": (1, 2)}) for i in range(3)]


def test_jobs_are_done_once_and_resumed(jobs, capsys):
    main(jobs, "x", ["run", "job1", "--workers", "1"])
    first = jobs[1].path.read_bytes()
    main(jobs, "x", ["run", "--workers", "1"])
    assert jobs[1].path.read_bytes() == first
    assert [job.result["doubled"] for job in jobs] == [0.0, 2.0, 4.0]
    assert {"code", "versions", "machine"} <= jobs[0].record["apart"]["provenance"].keys()
    main(jobs, "x", ["status"])
    assert capsys.readouterr().out.count("stored") >= 3


def test_damaged_missing_and_foreign_results_are_refused(jobs):
    with pytest.raises(FileNotFoundError, match="job0.json is missing"):
        _ = jobs[0].result
    main(jobs, "x", ["run", "--workers", "1"])
    other = Job("jobs", "job0", plain, {"value": 7.0, "sizes": (1, 2)})
    with pytest.raises(ValueError, match="must hold settings"):
        _ = other.result
    content = json.loads(jobs[0].path.read_text())
    content["result"]["doubled"] = 1.0
    jobs[0].path.write_text(json.dumps(content))
    main(jobs, "x", ["run", "--workers", "1"])  # does not vouch for the damage
    with pytest.raises(ValueError, match="is damaged"):
        _ = jobs[0].result


@pytest.mark.parametrize("content", ["", "{}", "[]", "[" * 10**5, '{"settings": []}', '{"settings": {"value": 0.0}}'])
def test_what_is_no_record_is_named_in_status_and_when_it_is_read(content, jobs, capsys):
    main(jobs, "x", ["run", "job1", "--workers", "1"])
    jobs[0].path.write_text(content)
    main(jobs[:1], "x", ["run", "--workers", "1"])  # leaves it as it is
    main(jobs, "x", ["status"])
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words[-3:] == ["damaged", "stored", "missing"]
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


@pytest.mark.parametrize("module", ["tasks", "forecasts", "lorenz", "observers"])
def test_every_command_line_has_work_that_other_processes_find(module):
    done = subprocess.run(
        [sys.executable, "-m", f"qrnn_helpers.study.{module}", "status"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "missing" not in done.stdout, done.stdout + done.stderr


def test_work_that_other_processes_cannot_find_is_refused(jobs):
    def lost(value: float) -> dict:
        return {}

    lost.__module__ = "__main__"
    with pytest.raises(ValueError, match="jobs must come from an imported module"):
        main([Job("jobs", "lost", lost, {"value": 1.0})], "x", ["status"])


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
