"""Long work done once and stored: pure functions of their settings, a JSON file each.

A study lists its `Job`s; ``python -m qrnn_helpers.study`` does what is missing.  Every file holds the job's
settings, its result, and apart from these its times, machine and code.  Its checksum stands in the
folder's manifest: what is not as it says there is damaged, and is left as it is until somebody removes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from ..checks import check_array, check_count, check_instance, check_real, shown
from ..dynamics import check_dataset, write_dataset
from ..storage import DATA, provenance, read_record, verify, write_record

Model = TypeVar("Model", bound=torch.nn.Module)


@dataclass(frozen=True)
class Job:
    """``work(**settings)`` returns what JSON can hold; it is stored as ``data/<folder>/<name>.json``.

    ``work`` is a function of a module, so that other processes find it, and depends on nothing else.  The runs
    it trains side by side and the core-seconds and bytes foreseen are for planning: they are not stored.
    """

    folder: str
    name: str
    work: Callable[..., dict]
    settings: dict = field(default_factory=dict)
    runs: int = field(default=1, kw_only=True, compare=False)
    cost_seconds: float | None = field(default=None, kw_only=True, compare=False)
    size_bytes: int | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        for name in ("folder", "name"):
            check_instance(name, getattr(self, name), str, "text")
        check_instance("work", self.work, Callable, "a function of a module")
        check_instance("settings", self.settings, dict, "the arguments of work")
        check_count("runs", self.runs)
        for name in ("cost_seconds", "size_bytes"):
            check_real(name, getattr(self, name) or 0, minimum=0)

    @property
    def label(self) -> str:
        """What the command line calls it."""
        return f"{self.folder}/{self.name}"

    @property
    def path(self) -> Path:
        return DATA / self.folder / f"{self.name}.json"

    @property
    def done(self) -> bool:
        """Whether there is a file; whether that is sound shows when it is read."""
        return self.path.is_file()

    def check(self) -> None:
        """Raise ValueError if the file is not what the manifest of its folder says."""
        verify(self.path)

    @property
    def status(self) -> str:
        """ "stored", "missing" or "damaged"."""
        if not self.done:
            return "missing"
        try:
            self.check()
        except ValueError:
            return "damaged"
        return "stored"

    @cached_property
    def record(self) -> dict:
        """What is stored: settings, result, apart.  A file that is damaged, or of other settings, is refused."""
        if not self.done:
            raise FileNotFoundError(f"{self.path} is missing: it comes with a clone of the book")
        record = read_record(self.path)
        stored = record.get("settings")
        expected = json.loads(json.dumps(self.settings))  # JSON has no tuples
        if stored != expected:
            raise ValueError(f"{self.path} must hold settings {shown(expected)}; got {shown(stored)}")
        return record

    @property
    def result(self) -> dict:
        return self.record["result"]

    @property
    def price(self) -> tuple[float | None, int | None]:
        """Core-seconds and bytes: as measured once it is stored, till then as foreseen."""
        if not self.done:
            return self.cost_seconds, self.size_bytes
        apart = self.record["apart"]
        return apart.get("core_seconds", apart.get("seconds")), self.path.stat().st_size

    def perform(self) -> None:
        """Do the work, unless it is stored already, and store it.  One thread: sums keep their order."""
        if self.done:
            return
        origin = provenance()  # of the code as it was read, whatever becomes of the files meanwhile
        torch.set_num_threads(1)
        start, spent = time.time(), time.process_time()
        with threadpool_limits(1):
            result = self.work(**self.settings)
        times = {"seconds": time.time() - start, "core_seconds": time.process_time() - spent}
        apart = {name: round(value, 1) for name, value in times.items()} | {"provenance": origin}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_record({"settings": self.settings, "result": result, "apart": apart}, self.path)


class DataFile(Job):
    """One of the committed data sets: a netCDF file, whole if its samples also solve their equation."""

    def __init__(self, name: str):
        super().__init__("data", name, write_dataset, {"name": name})

    @property
    def path(self) -> Path:
        return DATA / f"{self.name}.nc"

    @property
    def price(self) -> tuple[None, int | None]:
        return None, self.path.stat().st_size if self.done else None

    def check(self) -> None:
        check_dataset(self.name)

    def perform(self) -> None:
        if not self.done:
            self.work(**self.settings)


def state_to(model: torch.nn.Module) -> dict:
    """A model's weights as lists, for a job's result."""
    return {name: value.tolist() for name, value in model.named_parameters()}


def state_from(model: Model, weights: dict) -> Model:
    """``model`` with the weights of a job's result."""
    parameters = dict(model.named_parameters())
    if parameters.keys() != weights.keys():
        raise ValueError(f"weights must be those of {sorted(parameters)}; got {sorted(weights)}")
    given = {name: check_array(f"weights {name}", value) for name, value in weights.items()}
    for name, parameter in parameters.items():
        if parameter.shape != given[name].shape:
            words = f"{tuple(parameter.shape)}; got {given[name].shape}"
            raise ValueError(f"weights {name} must have the model's shape {words}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(given[name]))
    return model
