"""Training under noise (chapter 23): how the methods degrade, and where to train: in simulation, or on the device.

Protocol, fixed before any of these runs was made.

1. Problem, windows, initial weights, order of the data, and settings (rate, batch, shots, c, size) are those of the
   training study, unchanged: each method's setting at 1e6 (one cell at 1e7) shots, the exact gradients' rate and batch.
   Seeds 0 to 7, paired with the study's own noise-free runs, which are not made again.
2. All devices are simulated: `SimpleNoise`; where gates have noise, on the circuit with its controlled rotations
   written out as a device runs them, for every method.  ``readings``: a wrong bit and a failed reset, each with
   probability p.  ``gates``: depolarizing noise p on two qubits, p / 10 on one.  ``device x``: readings of 2 x %,
   gates of x %.
3. Scores are of test windows, NRMSE of the last step by the device's exact probabilities.  Each run reads them once,
   after its training; no setting is chosen here, and every run of the list is reported.
4. Compared are geometric means over the seeds by paired log ratios: t intervals, sign-flip p (at least 2/256).
   Noise *costs* a method something where the interval of its error over the noise-free error of the same seeds is above
   1; training *pays* on a device where the error is below that of the untrained circuit, its decoder fitted by ridge to
   the device's exact probabilities of all training windows, again by the interval.
5. Where to train: networks trained by exact gradients (300 updates) on models of 0, .5, 1, 2 times the device's noise
   are read on devices of 0, .5, 1, 2, 4 times it; beside them the one trained on the device of 1 with shots.  Read as
   they are; with readout errors undone by the exact assignment matrices; with the decoder fitted anew by ridge.
6. Readout correction with shots: the assignment matrices measured by 2 circuits of 32 times the shots of a reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.stats import gmean

from ..backends import (
    Backend,
    ExactBackend,
    NoisyBackend,
    NoisyMomentBackend,
    ReadoutCorrection,
    SimpleNoise,
    calibrated_readout,
)
from ..baselines import in_pieces
from ..circuits import open_controlled
from ..models import QRNN, QuantumRecurrentLayer
from ..tasks import Task, nrmse
from ..training import Budget, ridge_readout
from . import plan
from .arms import (
    MAIN,
    Problem,
    Setting,
    as_settings,
    begun,
    described,
    error,
    network,
    rounded,
    step_circuit,
    task_of,
    trained,
    weights_of,
)
from .jobs import Job
from .opened import clean

FOLDER = "noise"

SEEDS = tuple(range(8))

EXACT_UPDATES = 300

PENALTY = 1e-6
"""Of the ridge regression of a decoder, relative to the features' sizes."""

CALIBRATION = 32
"""How many times the shots of a reading each circuit of a calibration has."""

PIECE = 2048
"""Windows that are run together."""

READ_SHOTS = (16, 64, 1024)

RATES = {"0.5 %": 0.005, "2 %": 0.02, "5 %": 0.05}

FACTORS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Of the device's noise."""

MODELS = FACTORS[:-1]


def readings(rate: float) -> dict[str, float]:
    return {"readout": rate, "reset": rate}


def gates(rate: float) -> dict[str, float]:
    return {"one_qubit": rate / 10, "two_qubit": rate}


def device(factor: float) -> dict[str, float]:
    """The device's noise times a factor; none at all for 0."""
    return {name: factor * rate for name, rate in (readings(0.02) | gates(0.01)).items() if factor}


LEVELS = {f"readings {name}": readings(rate) for name, rate in RATES.items()}
LEVELS |= {f"gates {name}": gates(rate) for name, rate in RATES.items()}

DEVICES = {f"device {factor:g}": device(factor) for factor in FACTORS}

ALL = ("spsa", "causal", "coordinates", "shift")

METHODS = {level: ALL if level.endswith(" 5 %") else ALL[:1] for level in LEVELS}
"""SPSA at every level, all at the highest."""


def exact_process(noise: dict[str, float]) -> ExactBackend:
    return NoisyBackend(SimpleNoise(**noise), torch.complex64) if noise else ExactBackend(torch.complex64)


def noisy_network(problem: Problem, setting: Setting, seed: int, noise: dict[str, float]) -> QRNN:
    """The untrained network of a run of the study on a noisy device: its own weights, shots and directions."""
    model = network(problem, setting, seed)
    backend: Backend = exact_process(noise)
    if setting.shots:
        generator = model.layer.backend.generator
        backend = NoisyMomentBackend(SimpleNoise(**noise), setting.shots, generator, torch.complex64)
    has_gates = any(name.endswith("qubit") for name in noise)
    step = step_circuit(problem, "shift" if has_gates else setting.arm)  # "shift": controlled rotations written out
    model.layer = QuantumRecurrentLayer(step, backend=backend, gradient=model.layer.gradient)
    return model


def on_device(model: QRNN) -> QRNN:
    """The network as a device runs it: controlled rotations written out, where its gates have noise."""
    model.layer = QuantumRecurrentLayer(open_controlled(model.layer.program.step))
    return model


def train(
    problem: dict,
    setting: dict,
    budget: dict,
    seeds: list[int],
    noise: dict[str, float],
    devices: dict[str, dict[str, float]],
    shots: dict[str, list[int]],
) -> dict:
    """Runs side by side on a noisy device; their scores on ``devices``, on some also as read with so many ``shots``."""
    given, chosen = Problem(**problem), Setting(**setting)
    made = partial(noisy_network, noise=noise)
    stack, losses = begun(given, Budget(**budget), [(chosen, seed) for seed in seeds], made=made)
    models = list(zip(map(on_device, stack.models()), seeds, strict=True))
    circuits = stack.layer.cost.circuits / len(seeds)
    found: dict = {"updates": len(losses), "circuits": circuits, "shots": circuits * chosen.shots}
    found["weights"] = [weights_of(model) for model, _ in models]
    found["scores"] = {name: scored(models, given, its) for name, its in devices.items()}
    found["read"] = {name: read(models, given, devices[name], counts) for name, counts in shots.items()}
    return found


def untrained(problem: dict, seeds: list[int], devices: dict[str, dict[str, float]]) -> dict:
    """Scores of the study's initial weights; of interest with the decoder fitted."""
    given = Problem(**problem)
    models = [(on_device(network(given, Setting("exact", 0.0, 1), seed)), seed) for seed in seeds]
    return {"scores": {name: scored(models, given, its) for name, its in devices.items()}}


def scored(models: Iterable[tuple[QRNN, int]], problem: Problem, noise: dict[str, float]) -> dict[str, list[float]]:
    """`scores` on a device, a list over seeds each."""
    rows = [scores(model, task_of(problem, seed), noise) for model, seed in models]
    return {name: rounded([row[name] for row in rows]) for name in rows[0]}


def scores(model: QRNN, task: Task, noise: dict[str, float]) -> dict[str, float]:
    """Test NRMSE on a device: as it is, with readings corrected, with the decoder fitted anew; and the mean variance of
    one shot's prediction, as it is and corrected."""
    backend = exact_process(noise)
    train, test = (last_outcomes(model, part[0], backend) for part in (task.train, task.test))
    inverse = np.linalg.inv(assignment(model, noise))
    weights, offset = model.decoder.weight.detach(), model.decoder.bias.detach()
    corrected = weights @ torch.from_numpy(inverse)
    fitted = ridge_readout(train, task.train[1][:, -1], PENALTY)
    y = task.test[1][:, -1]
    return {
        "plain": nrmse(test @ weights.T + offset, y),
        "corrected": nrmse(test @ corrected.T + offset, y),
        "refitted": nrmse(test @ fitted[0].T + fitted[1], y),
        "variance": shot_variance(test, weights),
        "variance corrected": shot_variance(test, corrected),
    }


def last_outcomes(model: QRNN, x: torch.Tensor, backend: Backend) -> torch.Tensor:
    """The outcomes' probabilities at the last step, (N, R)."""
    program = model.layer.program

    def last(windows: torch.Tensor) -> torch.Tensor:
        return backend.run(program, program.gate_angles(model.encoder(windows)))[0][:, -1]

    return in_pieces(last, PIECE)(x)


def assignment(model: QRNN, noise: dict[str, float]) -> np.ndarray:
    """A[m, r] of whole outcomes, (R, R)."""
    bits = SimpleNoise(**noise).assignments
    whole = np.ones((1, 1))
    for _ in range(model.layer.program.readout):
        whole = np.kron(whole, bits)
    return whole


def shot_variance(outcomes: torch.Tensor, weights: torch.Tensor) -> float:
    """Of the weighted readout of one shot, mean over windows; weights (1, R)."""
    return (outcomes @ weights[0].square() - (outcomes @ weights[0]).square()).mean().item()


def read(
    models: Iterable[tuple[QRNN, int]], problem: Problem, noise: dict[str, float], shots: list[int]
) -> dict[str, list[list[float]]]:
    """Test NRMSE by frequencies of so many shots, as they are and corrected by a measured matrix: (shots, seeds)."""
    pairs = list(models)
    rows = [[read_once(model, task_of(problem, seed), noise, count, seed) for model, seed in pairs] for count in shots]
    plain, corrected = np.moveaxis(np.array(rows), -1, 0)
    return {"plain": [rounded(row) for row in plain], "corrected": [rounded(row) for row in corrected]}


def read_once(model: QRNN, task: Task, noise: dict[str, float], shots: int, seed: int) -> tuple[float, float]:
    backend = NoisyMomentBackend(SimpleNoise(**noise), shots, seed, torch.complex64)
    matrices = calibrated_readout(backend, model.layer.program.readout, CALIBRATION)
    return error(model, task.test, backend), error(model, task.test, ReadoutCorrection(backend, matrices))


def job(
    name: str, setting: Setting, budget: Budget, noise: dict, devices: dict, seconds: float, shots: dict | None = None
) -> Job:
    own = {"setting": asdict(setting), "seeds": SEEDS, "noise": noise, "devices": devices, "shots": shots or {}}
    work = as_settings(MAIN, budget) | own
    return Job(FOLDER, name, train, work, runs=len(SEEDS), cost_seconds=seconds, size_bytes=60_000)


SECONDS = {"spsa": 70, "causal": 55, "coordinates": 100, "shift": 95}
"""Of eight runs at 1e6 shots, for planning."""


def with_shots(arm: str, budget: str, level: str, noise: dict) -> Iterator[Job]:
    """Training on a device, read there and without noise; nothing before the study's setting is known."""
    setting = plan.setting_of(arm, plan.level_of(budget))
    if setting is not None:
        devices = {level: noise, "device 0": {}}
        seconds = SECONDS[arm] * (6 if budget == "1e7" else 1)
        yield job(f"train-{arm}-{budget}-{slug(level)}", setting, plan.BUDGETS[budget], noise, devices, seconds)


def on_model(factor: float) -> Iterator[Job]:
    """Training by exact gradients on a model of the device."""
    for known in plan.yardstick("exact"):
        setting, budget = Setting(**known.settings["setting"]), Budget(steps=EXACT_UPDATES)
        shots = {} if factor else {"device 1": list(READ_SHOTS), "device 4": list(READ_SHOTS)}
        seconds = 90 if factor else 30
        yield job(f"exact-{factor:g}", setting, budget, device(factor), DEVICES, seconds, shots)


def slug(level: str) -> str:
    return level.replace(" %", "").replace(" ", "-")


def jobs() -> Iterator[Job]:
    given = {"problem": described(MAIN), "seeds": SEEDS, "devices": LEVELS | DEVICES}
    yield Job(FOLDER, "untrained", untrained, given, runs=len(SEEDS), cost_seconds=30, size_bytes=6000)
    for factor in MODELS:
        yield from on_model(factor)
    for level, arms in METHODS.items():
        for arm in arms:
            yield from with_shots(arm, "1e6", level, LEVELS[level])
    for budget in ("1e6", "1e7"):
        yield from with_shots("spsa", budget, "device 1", DEVICES["device 1"])


def deployed(job: Job) -> list[tuple[QRNN, int]]:
    """Networks of a stored run of the study, its first seeds, ready for a device."""
    setting = Setting(**job.settings["setting"])
    runs = zip(job.settings["seeds"], job.result["weights"], strict=True)
    return [(on_device(trained(MAIN, setting, seed, weights)), seed) for seed, weights in runs if seed in SEEDS]


def results() -> pd.DataFrame:
    """What is stored: a row a training, device and seed, its scores; only records from a clean commit count."""
    rows = []
    for job in map(clean, (job for job in jobs() if job.done)):
        for device_name, scores_of in job.result["scores"].items():
            columns = pd.DataFrame(scores_of).assign(seed=job.settings["seeds"])
            rows.append(columns.assign(training=job.name, device=device_name))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["training", "device", "seed", "plain"])


def summary(job: Job) -> dict[str, float]:
    """Geometric mean over seeds of the test error on each device, as it is; with the decoder fitted if untrained."""
    kind = "refitted" if job.work is untrained else "plain"
    return {name: float(gmean(of_device[kind])) for name, of_device in job.result["scores"].items()}
