"""A recorded run on fake devices (chapter 25): a few updates of SPSA, with the ledger, the estimate and the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from qiskit.primitives import BaseSamplerV2

from ..backends import DeviceBackend, device_sampler
from ..circuits import rotation_step
from ..dynamics import ks22
from ..gradients import SPSA
from ..models import QRNN
from ..storage import read_json
from ..tasks import patch_forecast
from ..training import estimate
from .jobs import Job

FOLDER = "device"

DEVICES = ("fake_manila", "fake_torino", "fake_fez")
"""Of three generations, with 5, 133 and 156 qubits."""

STEPS = 8

SETTING = {"shots": 64, "updates": 5, "batch": 8, "directions": 2, "c": 0.3, "rate": 0.03, "seed": 0}


class KeptJobs(BaseSamplerV2):
    """A sampler behind a counter: every job that was handed in can be had again by its id, as long as this one lives.

    Any vendor's sampler is wrapped so; the services of real devices do it themselves.
    """

    def __init__(self, sampler: BaseSamplerV2):
        self.sampler = sampler
        self.jobs: dict[str, Any] = {}

    @property
    def options(self) -> Any:
        return self.sampler.options

    def backend(self) -> Any:
        """The device, for those samplers that tell it."""
        told = getattr(self.sampler, "backend", None)
        return told() if callable(told) else told

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:
        job = self.sampler.run(pubs, shots=shots)
        self.jobs[job.job_id()] = job
        return job


def training(device: str, updates: int, batch: int, rate: float, **given: Any) -> dict:
    """Losses and the ledger after every update of a small network; what was foreseen; what the journal holds."""
    counter = KeptJobs(device_sampler(device))
    with TemporaryDirectory() as folder:
        journal = Path(folder) / "jobs.json"
        model = network(counter, journal, **given)
        foreseen = estimate(model, updates=updates, batch_size=batch, time_steps=STEPS, machine="ibm_fez")
        rows = list(train(model, updates, batch, rate))
        record: Any = read_json(journal)
    cost = model.layer.cost
    return {
        "updates": rows,
        "foreseen": [foreseen.circuits, foreseen.shots, foreseen.jobs],
        "journal": [[each["device"], each["circuits"], each["shots"]] for each in record["jobs"]],
        "qubits": counter.backend().target.num_qubits,
        "depth": cost.depth,
        "two_qubit_gates": cost.two_qubit_gates,
    }


def network(counter: KeptJobs, journal: Path, shots: int, directions: int, c: float, seed: int) -> QRNN:
    """The book's network for the patch forecast, on a device."""
    backend = DeviceBackend(counter, shots, seed=seed, journal=journal, retrieve=counter.jobs.__getitem__)
    gradient = SPSA(c, directions, seed=seed)
    return QRNN(9, 1, rotation_step(2, 2), backend=backend, gradient=gradient, dtype=torch.float64, seed=seed)


def train(model: QRNN, updates: int, batch: int, rate: float) -> Iterator[list]:
    """Updates by Adam, each on windows of its own: the loss, and circuits, shots and jobs so far."""
    parts = [ks22(part) for part in ("train", "validation", "test")]
    pairs = patch_forecast(*parts, windows=(updates * batch, 1, 1), steps=STEPS).train
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for x, y in zip(*(each.split(batch) for each in pairs), strict=True):
        optimizer.zero_grad()
        loss = (model(x)[0] - y).square().mean()
        loss.backward()
        optimizer.step()
        cost = model.layer.cost
        yield [round(loss.item(), 6), cost.circuits, cost.shots, cost.jobs]


def device_job(device: str) -> Job:
    return Job(FOLDER, device, training, {"device": device, **SETTING}, cost_seconds=60)


def jobs() -> Iterator[Job]:
    yield from map(device_job, DEVICES)


def summary(job: Job) -> dict[str, float]:
    """The last loss of a job."""
    return {"loss": job.result["updates"][-1][0]}
