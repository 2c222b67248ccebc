"""Why recurrent training is hard (chapter 19): gradients through time and qubits; truncation and clipping.

1. Of a readout f of the last step, T, the slopes along the angles of step s = T - k, k the lag (`gradients`).  Pascanu
   et al. (2013) ask how they fall with k; McClean et al. (2018) how they fall with the number of qubits.
2. What is left of the difference of two memory states after so many steps of one input (`memory`).
3. Truncation in time: of an angle at step s, only the outputs s, ..., s + reach are asked.  Less noise, and a bias.
4. Clipping: a gradient longer than a bound is cut to it (Pascanu et al. 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..backends import ExactBackend, Executor
from ..checks import check_integer
from ..gradients import SPSA, GradientEstimator
from ..models import QRNN, StackedQRNN
from ..simulation import StepProgram, channel_step
from ..training import Budget, fit_side_by_side
from .arms import (
    MAIN,
    STEPS,
    Problem,
    Setting,
    as_settings,
    described,
    network,
    optimizer_of,
    rounded,
    task_of,
    validation_errors,
)
from .gradient_noise import first
from .jobs import Job
from .laws import behind_backward

FOLDER = "recurrent"

SIZES = (*(Problem(n, n) for n in (1, 2, 3, 4, 5)), *(Problem(steps=t) for t in (2, 4, 16, 32)), Problem(5, 5, 32))

CELLS = (*SIZES, *(Problem(p.memory, p.readout, p.steps, circuit="two_way") for p in SIZES[:-1]))

STARTS, WINDOWS = 32, 4

READOUTS = ("loss", "one", "all")
"""Squared error of the untrained decoder; <Z> of one readout qubit; probability that all readout qubits are 0."""

ENSEMBLES = ("book", "centred", "random")
"""Angles of an untrained `QRNN`; the same with its encoder's biases at 0; uniform on the circle, anew at each step."""

QUANTILES = (0.05, 0.5, 0.95, 1.0)
"""Of gradients' norms."""

EXACT = Setting("exact", 0.03, 8)

NOISY = Setting("causal", 0.016, 2, 16, 16, 0.38, 0.0)
"""What the study's trials chose for causal SPSA at a million shots, rounded."""

FACTORS = (0.5, 1.0, 2.0)
"""Of the rate of `NOISY`; exact gradients take theirs as it is."""

SEEDS, CHOOSING = tuple(range(200, 212)), 4
"""Of the trainings; the first few choose the rate, the others tell."""

BUDGETS = {"exact": Budget(steps=1000), "causal": Budget(shots=1_000_000)}

REACHES = (0, 1, 3)

CLIP = 1.0
"""Bound of the gradient's norm: below its median."""


def angles_of(ensemble: str, models: list[QRNN], x: Tensor, generator: torch.Generator) -> Tensor:
    """Angles of every start and window, (starts, windows, time, P)."""
    found = torch.stack([model.encoder(x) for model in models]).detach()
    if ensemble == "book":
        return found
    if ensemble == "centred":
        return found - torch.stack([model.encoder.bias for model in models]).detach()[:, None, None]
    return torch.pi * (2 * torch.rand(found.shape, generator=generator, dtype=found.dtype, device=found.device) - 1)


def readout_weights(name: str, outcomes: int) -> Tensor:
    """f = weights . p of a step's outcomes."""
    weights = torch.zeros(outcomes, dtype=torch.float64, device="cpu")
    if name == "one":
        weights[: outcomes // 2], weights[outcomes // 2 :] = 1, -1
    else:
        weights[0] = 1
    return weights


def read(name: str, models: list[QRNN], p: Tensor, y: Tensor) -> Tensor:
    """A readout of the last step's p (starts, windows, R), targets y (windows, 1): (starts, windows)."""
    if name != "loss":
        return p @ readout_weights(name, p.shape[-1])
    forecast = torch.stack([model.decoder(each) for model, each in zip(models, p, strict=True)])
    return (forecast - y).square().mean(-1)


def gradients(problem: dict, starts: int, windows: int) -> dict:
    """Mean square slope along an angle, by readout and ensemble: for every start a list by lag, 0 first.

    ``left``: of the difference of two random pure memory states, by steps; 1 first.  Inputs are training windows.
    """
    given = Problem(**problem)
    x, y = first(task_of(given, 0).train, windows)
    step = STEPS[given.circuit](given.memory, given.readout)
    models = [QRNN(x.shape[2], 1, step, dtype=torch.float64, seed=seed) for seed in range(starts)]
    generator = torch.Generator("cpu").manual_seed(0)
    drawn = {name: angles_of(name, models, x, generator) for name in ENSEMBLES}
    program = models[0].layer.program
    found: dict = {name: slopes_by_lag(program, angles, models, y[:, -1]) for name, angles in drawn.items()}
    return found | {"left": shortened(memory(program, drawn["book"][:, 0], generator))}


def slopes_by_lag(program: StepProgram, angles: Tensor, models: list[QRNN], y: Tensor) -> dict[str, list]:
    free = angles.flatten(0, 1).requires_grad_()
    p, _ = ExactBackend().run(program, program.gate_angles(free))
    last = p[:, -1].unflatten(0, angles.shape[:2])
    found = {}
    for name in READOUTS:
        (g,) = torch.autograd.grad(read(name, models, last, y).sum(), free, retain_graph=True)
        found[name] = shortened(g.view_as(angles).square().mean((1, 3)).flip(1))
    return found


def shortened(values: Tensor) -> list[list[float]]:
    return [[float(f"{value:.5g}") for value in row] for row in values.tolist()]


def memory(program: StepProgram, angles: Tensor, generator: torch.Generator) -> Tensor:
    """|difference after k steps| / |difference before| (Hilbert-Schmidt norm) of two random states, (starts, time + 1).

    Angles (starts, time, P).
    """
    size = 2**program.memory
    shape = (2, len(angles), size, 1)
    vectors = torch.randn(shape, generator=generator, dtype=torch.complex128, device="cpu")
    vectors = vectors / vectors.norm(dim=2, keepdim=True)
    states = vectors @ vectors.mH
    difference = states[0] - states[1]
    norms = [difference.norm(dim=(1, 2))]
    for now in program.gate_angles(angles).unbind(1):
        _, difference = channel_step(program.kraus(now, torch.complex128), difference)
        norms.append(difference.norm(dim=(1, 2)))
    return torch.stack(norms, 1) / norms[0][:, None]


class TruncatedSPSA(SPSA):
    """Causal SPSA that asks, for the angles of step s, the outputs s, ..., s + reach alone."""

    def __init__(self, c: float, directions: int, seed: int, reach: int):
        super().__init__(c, directions, seed, causal=True)
        self.reach = check_integer("reach", reach, minimum=0)

    def difference(self, executor: Executor, gate_angles: Tensor, weights: Tensor) -> Tensor:
        onwards = super().difference(executor, gate_angles, weights)
        beyond = onwards[:, :, self.reach + 1 :]
        return onwards - pad(beyond, (0, 0, 0, onwards.shape[2] - beyond.shape[2]))


class TruncatedExact(GradientEstimator):
    """Exact slopes of the outputs s, ..., s + reach along the angles of step s."""

    def __init__(self, reach: int):
        self.reach = check_integer("reach", reach, minimum=0)

    def circuits(self, program: StepProgram, time_steps: int) -> int:
        return 1

    def estimate(self, executor: Executor, angles: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros_like(angles)
        with torch.enable_grad():
            free = angles.detach().requires_grad_()
            outputs = (executor.forward(free)[0] * weights).sum((0, 2))
            for t, output in enumerate(outputs):
                (g,) = torch.autograd.grad(output, free, retain_graph=True)
                kept = slice(max(0, t - self.reach), t + 1)
                total[:, kept] += g[:, kept]
        return total


def built(problem: Problem, setting: Setting, reach: int | None, seed: int, centred: bool = False) -> QRNN:
    """An untrained network whose gradients reach so many steps back (None: all); ``centred``: from biases at 0."""
    model = network(problem, setting, seed)
    if centred:
        torch.nn.init.zeros_(model.encoder.bias)
    if reach is None:
        return model
    exact = setting.arm == "exact"
    model.layer.gradient = (
        TruncatedExact(reach) if exact else TruncatedSPSA(setting.c, setting.size, 1_000_000 + seed, reach)
    )
    return model


def clipping(optimizer: torch.optim.Optimizer, bound: float | None, norms: list[Tensor]) -> torch.optim.Optimizer:
    """An optimiser of stacked weights that cuts each run's gradient to ``bound``; ``norms`` takes those before."""
    weights = optimizer.param_groups[0]["params"]

    @torch.no_grad()
    def cut() -> None:
        slopes = [weight.grad for weight in weights]
        norm = torch.cat([slope.flatten(1) for slope in slopes], 1).norm(dim=1)
        norms.append(norm)
        if bound is not None:
            for slope in slopes:
                slope *= (bound / norm).clamp_max(1.0).view(-1, *[1] * (slope.dim() - 1))

    behind_backward(optimizer, cut)
    return optimizer


def train(
    problem: dict,
    setting: dict,
    budget: dict,
    rates: list[float],
    seeds: list[int],
    reach: int | None,
    clip: float | None,
    centred: bool = False,
) -> dict:
    """Validation NRMSE, by rate and seed, of runs side by side; quantiles of the norms of their gradients, by rate."""
    given, chosen = Problem(**problem), Setting(**setting)
    runs = list(product(rates, seeds))
    stack = StackedQRNN([built(given, chosen, reach, seed, centred) for _, seed in runs])
    norms: list[Tensor] = []
    fit_side_by_side(
        stack,
        [task_of(given, seed).train for _, seed in runs],
        rates=[rate for rate, _ in runs],
        batch_size=chosen.batch,
        budget=Budget(**budget),
        washout=given.washout,
        seeds=[seed for _, seed in runs],
        optimizer=lambda weights, lr: clipping(optimizer_of(given.optimizer, weights, lr, chosen.beta), clip, norms),
    )
    errors = validation_errors(given, stack, [seed for _, seed in runs])
    by_rate = torch.stack(norms).double().view(len(norms), len(rates), -1).transpose(0, 1).flatten(1)
    return {
        "validation": [rounded(row) for row in np.reshape(errors, (len(rates), -1))],
        "norms": [rounded(np.quantile(row, QUANTILES)) for row in by_rate.numpy()],
        "updates": len(norms),
    }


def training(problem: Problem, arm: str, reach: int | None = None, clip: float | None = None) -> Job:
    """Runs of all seeds and rates; clipped ones at the middle rate alone."""
    setting = EXACT if arm == "exact" else NOISY
    rates = [factor * setting.rate for factor in ((1.0,) if arm == "exact" or clip else FACTORS)]
    given = as_settings(problem, BUDGETS[arm]) | {"setting": asdict(setting), "rates": rates, "seeds": SEEDS}
    name = f"train-{problem.task}-{problem.circuit}-{problem.optimizer}-{arm}-reach{reach}-clip{clip}"
    count = len(rates) * len(SEEDS)
    return Job(FOLDER, name, train, given | {"reach": reach, "clip": clip}, runs=count, cost_seconds=70)


def centred() -> Job:
    """Exact gradients from biases at 0."""
    job = training(MAIN, "exact")
    return replace(job, name="train-centred-exact", settings=job.settings | {"centred": True})


def lorenz(reach: int | None) -> Job:
    """A shorter training of fewer seeds on a task that asks for memory."""
    job = training(Problem(task="lorenz"), "exact", reach)
    given = job.settings | {"budget": {"steps": 400}, "seeds": SEEDS[CHOOSING:]}
    return replace(job, name=f"train-lorenz-exact-reach{reach}", settings=given, runs=len(given["seeds"]))


def trainings() -> list[Job]:
    cut = [training(MAIN, arm, reach) for arm in ("exact", "causal") for reach in (None, *REACHES)]
    clips = [training(MAIN, arm, None, CLIP) for arm in ("exact", "causal")]
    return [*cut, *clips, centred(), lorenz(None), lorenz(0)]


def gradient_job(problem: Problem) -> Job:
    qubits = problem.memory + problem.readout
    given = {"problem": described(problem), "starts": STARTS, "windows": WINDOWS}
    name = f"gradients-{problem.circuit}-{qubits}qubits-{problem.steps}steps"
    return Job(FOLDER, name, gradients, given, cost_seconds=60 if qubits * problem.steps > 100 else 5)


def jobs() -> Iterator[Job]:
    yield from map(gradient_job, CELLS)
    yield from trainings()


def told(job: Job) -> np.ndarray:
    """Validation errors of the seeds that tell, at the rate that the others chose."""
    errors = np.array(job.result["validation"])
    if len(errors) == 1:
        return errors[0, -len(SEEDS[CHOOSING:]) :]
    rate = np.log(errors[:, :CHOOSING]).mean(1).argmin()
    return errors[rate, CHOOSING:]


def summary(job: Job) -> dict[str, float]:
    """A number or two of a job's result."""
    if job.work is gradients:
        return {name: float(np.mean(job.result["book"][name], 0)[0]) for name in READOUTS}
    return {"validation": float(told(job).mean())}
