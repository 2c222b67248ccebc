"""What is stored is the same, whoever does it, however many do, and however often they are killed."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_study
from distributed import LocalCluster
from small_study import SmallStudy, fails

from qrnn_helpers.storage import dirt, origins, verify
from qrnn_helpers.study import __main__ as command
from qrnn_helpers.study.jobs import Job


@pytest.fixture
def run(monkeypatch):
    """Do what a small study below a folder lacks."""

    def run(study: SmallStudy, *arguments: str) -> None:
        monkeypatch.setattr(command, "STUDIES", (study,))
        command.main(["run", "small", "--dirty", *arguments])

    return run


def stored(root: Path) -> dict[str, dict]:
    """All that lies below a folder, files as their manifest says; of each what must not differ."""
    found = {path.name: json.loads(path.read_text()) for path in root.glob("small/*.json")}
    for name, record in found.items():
        verify(root / "small" / name)
        assert record.pop("apart").keys() == {"seconds", "core_seconds", "provenance"}
    assert {path.name for path in root.glob("small/*")} == {*found, "CHECKSUMS.sha256"}
    return {name: json.dumps(record) for name, record in found.items()}


@pytest.fixture
def alone(tmp_path, run):
    """What one worker stores, nobody disturbing it."""
    run(SmallStudy(tmp_path / "alone", 60), "--workers", "1")
    expected = stored(tmp_path / "alone")
    assert len(expected) == 61
    return expected


def begun_and_killed(root: Path) -> None:
    """Let two workers go on until one job of 60 is done, then kill them and who sent them."""
    tests = Path(small_study.__file__).parent
    words = [small_study.__file__, str(root), "60", "run", "small", "--dirty", "--workers", "2"]
    paths = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, start_new_session=True, env=paths)
    said = b""
    while not re.search(rb" [1-9]\d*/60", said):
        said += process.stderr.read(1) or pytest.fail(said.decode())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_two_workers_begin_and_are_killed_and_a_cluster_of_two_ends_what_one_worker_does(tmp_path, run, alone):
    begun_and_killed(tmp_path / "two")
    study = SmallStudy(tmp_path / "two", 60)
    assert 0 < sum(job.done for job in study.first) < 60
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        run(study, "--scheduler", cluster.scheduler_address)
        with pytest.raises(SystemExit, match="1 failed: small/job-2"):
            run(SmallStudy(tmp_path / "failing", work=fails), "--scheduler", cluster.scheduler_address)
    assert stored(tmp_path / "two") == alone
    assert len(stored(tmp_path / "failing")) == 4


def killed(study: SmallStudy, moment: int) -> bool:
    """Run a study in a process that dies when it turns to a file of the study's folder for the `moment`-th time."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = [moment]
    root = str(study.first[0].root)

    def count(event: str, arguments: tuple) -> None:
        if arguments and str(arguments[0]).startswith(root):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        command.STUDIES = (study,)
        command.main(["run", "small", "--dirty", "--workers", "1"])
    finally:
        os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_twenty_kills_lose_nothing_but_the_jobs_in_hand(tmp_path, run, alone):
    often = SmallStudy(tmp_path / "often", 60)
    done = 0
    for moment in np.random.default_rng(0).integers(1, 30, 20):
        assert killed(often, int(moment))
        kept = [job.path for job in often.first if job.done]
        for path in kept:
            verify(path)
        assert len(kept) >= done
        done = len(kept)
    assert 0 < done < 60
    run(often, "--workers", "1")
    assert stored(tmp_path / "often") == alone


def test_a_job_that_fails_is_named_and_takes_no_other_with_it(tmp_path, run, capsys):
    with pytest.raises(SystemExit, match="^1 failed: small/job-2$"):
        run(SmallStudy(tmp_path, work=fails), "--workers", "1")
    assert "RuntimeError: nothing comes of 2" in capsys.readouterr().err
    assert stored(tmp_path).keys() == {f"job-{i}.json" for i in (0, 1, 3, 4)}


def interrupts(seed: int) -> dict:
    if seed == 2:
        signal.raise_signal(signal.SIGINT)
    return {}


def test_a_run_that_is_stopped_goes_on_later(tmp_path, run):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
    try:
        with pytest.raises(SystemExit, match="Stopped"):
            run(SmallStudy(tmp_path, work=interrupts), "--workers", "1")
    finally:
        signal.signal(signal.SIGINT, before)
    assert stored(tmp_path).keys() == {"job-0.json", "job-1.json"}


def test_long_jobs_come_first_and_unknown_ones_before_them(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(Job, "perform", lambda job: order.append(job.name))
    costs = {"short": 1.0, "long": 100.0, "unknown": None, "none": 0.0}
    study = SmallStudy(tmp_path, 0)
    study.first = [small_study.SmallJob("small", n, fails, cost_seconds=c, root=tmp_path) for n, c in costs.items()]
    monkeypatch.setattr(command, "STUDIES", (study,))
    with pytest.raises(SystemExit, match="4 failed"):  # nothing is where it should be
        command.main(["run", "small", "--workers", "1", "--dirty"])
    assert order == ["unknown", "long", "short", "none"]


@pytest.mark.parametrize(
    "address, words", [("nowhere://here", "running Dask scheduler"), (None, "qrnn-helpers.cluster")]
)
def test_a_cluster_that_is_not_there_is_named(address, words, tmp_path, run, monkeypatch):
    if address is None:
        monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit, match=words):
        run(SmallStudy(tmp_path), "--scheduler", address or "tcp://127.0.0.1:8786")


def planned(capsys) -> dict[str, list[str]]:
    command.main(["plan", "small"])
    lines = [line.rsplit(maxsplit=4) for line in capsys.readouterr().out.replace(" + ", "+").splitlines()[1:]]
    return {name: numbers for name, *numbers in lines}


def test_a_plan_says_what_is_missing_and_what_is_unknown(tmp_path, monkeypatch, capsys):
    def job(name: str, **estimates) -> small_study.SmallJob:
        return small_study.SmallJob("small", name, small_study.draws, {"seed": 1}, root=tmp_path, **estimates)

    study = SmallStudy(tmp_path, 0)
    study.first = [
        *(job("told-0", runs=28, cost_seconds=7200, size_bytes=1_500_000), job("told-1", runs=28, cost_seconds=1800)),
        *(job("silent-0", runs=2), job("silent-1", runs=3)),
    ]
    monkeypatch.setattr(command, "STUDIES", (study,))
    assert planned(capsys) == {
        "small/told": ["0", "56", "2.50", "1.50+unknown"],
        "small/silent": ["0", "5", "0.00+unknown", "0.00+unknown"],
        "all known so far": ["0", "61", "2.50+unknown", "1.50+unknown"],
    }
    study.first[2].perform()
    monkeypatch.setattr(Job, "price", property(lambda job: (2400, 2_000_000) if job.done else (job.cost_seconds, None)))
    assert planned(capsys)["small/silent"] == ["2", "3", "1.00", "3.00"]  # as the two that are stored


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with this package's layout, all of it committed."""
    files = {"README.md", "qrnn_helpers/storage/origins.py", "data/ks22.nc", "data/study/a.json", "data/study/sums"}
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(origins, "PACKAGE", tmp_path / "qrnn_helpers")
    words = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    for line in (["init", "-q"], ["add", "."], [*words, "commit", "-qm", "All"]):
        subprocess.run(["git", *line], cwd=tmp_path, check=True)
    return tmp_path


def test_only_results_may_differ_from_the_commit(checkout, run):
    assert dirt() == []
    (checkout / "data/study/a.json").unlink()
    (checkout / "data/study/sums").write_text("other")
    (checkout / "data/study/b.json").write_text("new")
    (checkout / "notes.txt").write_text("nobody imports it")
    assert dirt() == []
    for name in ("README.md", "data/ks22.nc", "qrnn_helpers/new.py"):
        (checkout / name).write_text("other")
    assert dirt() == ["README.md", "data/ks22.nc", "qrnn_helpers/new.py"]
    with pytest.raises(SystemExit, match=r"dirty[\s\S]*README\.md[\s\S]*qrnn_helpers/new\.py"):
        command.main(["run", "small"])


def test_code_without_a_commit_is_not_clean(tmp_path, monkeypatch):
    monkeypatch.setattr(origins, "PACKAGE", tmp_path)
    assert len(dirt()) == 1 and "no commit" in dirt()[0]
