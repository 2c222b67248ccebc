"""Long work done once and stored: pure functions of a name and of settings, a JSON file each.

A chapter that needs what no notebook can compute in a minute lists its `Job`s in a module of its own
and ends it with ``main(JOBS, "python -m ...")``, after importing itself under its own
name, so that other processes find the work:

    ... run [NAME ...]    do what is missing; stop and start again at will
    ... status            which jobs are stored, missing or damaged

Every file holds the job's settings, its result, and apart from these its wall time, machine and code.
Its checksum stands in the folder's manifest: what is not as it says there is damaged, and is left as it is
until somebody removes it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from ..checks import check_array, check_instance, shown
from ..storage import DATA, provenance, read_record, verify, write_record

__all__ = ["Job", "main", "state_from", "state_to", "status", "stored_record"]


@dataclass(frozen=True)
class Job:
    """``work(**settings)`` returns what JSON can hold; it is stored as ``data/<folder>/<name>.json``.

    ``work`` is a function of a module, so that other processes find it, and depends on nothing else.
    """

    folder: str
    name: str
    work: Callable[..., dict]
    settings: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("folder", "name"):
            check_instance(name, getattr(self, name), str, "text")
        check_instance("work", self.work, Callable, "a function of a module")
        check_instance("settings", self.settings, dict, "the arguments of work")

    @property
    def path(self) -> Path:
        return DATA / self.folder / f"{self.name}.json"

    @property
    def done(self) -> bool:
        return self.path.is_file()

    @cached_property
    def record(self) -> dict:
        """What is stored: settings, result, apart.  A file that is damaged, or of other settings, is refused."""
        return stored_record(self.path, "settings", self.settings)

    @property
    def result(self) -> dict:
        return self.record["result"]

    def perform(self) -> None:
        """Do the work, unless it is stored already, and store it.  One thread: sums keep their order."""
        if self.done:
            return
        torch.set_num_threads(1)
        start = time.time()
        result = self.work(**self.settings)
        apart = {"seconds": round(time.time() - start, 1), "provenance": provenance()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_record({"settings": self.settings, "result": result, "apart": apart}, self.path)


def stored_record(path: Path, key: str, settings: dict, **defaults: object) -> dict:
    """A record whose file is as its folder's manifest says and whose ``key`` holds these settings.

    ``defaults``: settings that older records do not name.  Whatever is not so raises an error naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it comes with a clone of the book")
    record = read_record(path)
    found, wanted = record.get(key), json.loads(json.dumps(settings))  # JSON has no tuples
    if not isinstance(found, dict) or defaults | found != wanted:
        raise ValueError(f"{path} must hold {key} {shown(wanted)}; got {shown(found)}")
    return record


def status(path: Path) -> str:
    """Whether a record is "stored", "missing", or "damaged": not what the manifest of its folder says."""
    if not path.is_file():
        return "missing"
    try:
        verify(path)
    except ValueError:
        return "damaged"
    return "stored"


def state_to(model: torch.nn.Module) -> dict:
    """A model's weights as lists, for a job's result."""
    return {name: value.tolist() for name, value in model.named_parameters()}


def state_from(model: torch.nn.Module, weights: dict) -> torch.nn.Module:
    """``model`` with the weights of a job's result."""
    own = dict(model.named_parameters())
    if own.keys() != weights.keys():
        raise ValueError(f"weights must be those of {sorted(own)}; got {sorted(weights)}")
    given = {name: check_array(f"weights {name}", value) for name, value in weights.items()}
    if wrong := [name for name, value in own.items() if value.shape != given[name].shape]:
        words = f"{tuple(own[wrong[0]].shape)}; got {given[wrong[0]].shape}"
        raise ValueError(f"weights {wrong[0]} must have the model's shape {words}")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(torch.from_numpy(given[name]))
    return model


def main(jobs: Iterable[Job], program: str, arguments: list[str] | None = None) -> None:
    """The command line of a module with jobs."""
    jobs = list(jobs)
    if any(getattr(job.work, "func", job.work).__module__ == "__main__" for job in jobs):
        raise ValueError("jobs must come from an imported module; got work that other processes cannot find")
    parser = argparse.ArgumentParser(prog=program, description="Long work, done once and stored.")
    parser.add_argument("command", choices=("run", "status"))
    parser.add_argument("names", nargs="*", help="jobs whose names begin with one of these (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    chosen = parser.parse_args(arguments)
    jobs = [job for job in jobs if job.name.startswith(tuple(chosen.names) or "")]
    if chosen.command == "run":
        missing = [job for job in jobs if not job.done]
        running = Parallel(n_jobs=chosen.workers, return_as="generator_unordered")
        for _ in tqdm(running(delayed(Job.perform)(job) for job in missing), total=len(missing)):
            pass
    for job in jobs:
        print(f"{status(job.path):<7} {job.path.relative_to(DATA)}")
