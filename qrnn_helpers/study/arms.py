"""The arms of the study: training methods with their settings, and runs of one setting side by side.

A run is a pure function of problem, setting, budget and seed.  The seed gives the trajectory and the windows, the
initial weights and the order of the batches, the same for every arm; shots and directions are each arm's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache, partial

import numpy as np
import torch
import xarray as xr
from qiskit import QuantumCircuit

from ..backends import Backend, ExactBackend, MomentBackend
from ..baselines import in_pieces
from ..checks import check_integer, check_one_of, check_real
from ..circuits import open_controlled, rotation_step, two_way_step, without_entanglers
from ..dynamics import ks2d22, ks22, lorenz_series
from ..gradients import (
    SPSA,
    Autograd,
    DecayingSPSA,
    GradientEstimator,
    GuidedSPSA,
    ImportantCoordinate,
    ParameterShift,
    RandomCoordinate,
    WeightSPSA,
)
from ..models import QRNN, StackedQRNN
from ..tasks import PARTS, Task, lorenz_observer, nrmse, patch_forecast
from ..training import Budget, fit_side_by_side
from .jobs import state_from

ARMS = {
    "shift": "parameter-shift rule",
    "spsa": "SPSA, fresh directions",
    "causal": "SPSA, causal",
    "weights": "SPSA in weight space",
    "coordinates": "random coordinates, by importance",
    "exact": "exact gradients",
    "bare": "exact gradients, no entanglers",
    "orthogonal": "SPSA, orthogonal directions",
    "decaying": "SPSA, ever fewer directions",
    "guided": "Guided-SPSA",
    "uniform": "random coordinates, uniform",
}
"""Names in the order of the tables: an arm's place gives the seeds of its shots, so new ones come last."""

YARDSTICKS = ("exact", "bare")
"""No device has them: their budgets are in updates."""

OPENED = ("shift", "coordinates", "guided", "uniform")
"""Arms that shift the gates a device runs: controlled rotations written out take as many circuits, with less noise."""

WINDOWS = (4096, 1024, 2048)
"""Windows for training, validation and test."""

KEPT = 60
"""Losses that are kept of a run, at updates in equal ratios."""

DIGITS = 9
"""Of every stored number."""


STEPS = {"rotation": rotation_step, "two_way": two_way_step}
"""Step circuits by name."""

OPTIMIZERS = ("adam", "momentum")
"""Adam, and SGD with a momentum of .9."""

CORE = ("shift", "spsa", "causal", "weights", "coordinates")
"""Arms of the primary comparison."""

BATCHES, SIZES = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16, 32)
"""What arms choose from."""


@dataclass(frozen=True)
class Setting:
    """What is tuned: ``shots`` a circuit, ``size`` directions or coordinates, Adam's ``beta`` of the first moment."""

    arm: str
    rate: float
    batch: int
    shots: int = 0
    size: int = 1
    c: float = 0.0
    beta: float = 0.9

    def __post_init__(self) -> None:
        check_one_of("arm", self.arm, tuple(ARMS))
        for name, least in {"batch": 1, "shots": 0, "size": 1}.items():
            check_integer(name, getattr(self, name), minimum=least)
        for name in ("rate", "c", "beta"):
            check_real(name, getattr(self, name), minimum=0.0)


@dataclass(frozen=True)
class Problem:
    """What is learnt, by which step circuit, with which of `OPTIMIZERS`."""

    memory: int = 2
    readout: int = 2
    steps: int = 8
    task: str = "patch-1d"
    circuit: str = "rotation"
    optimizer: str = "adam"

    def __post_init__(self) -> None:
        check_one_of("task", self.task, ("patch-1d", "patch-2d", "lorenz"))
        check_one_of("circuit", self.circuit, tuple(STEPS))
        check_one_of("optimizer", self.optimizer, OPTIMIZERS)

    @property
    def washout(self) -> int:
        """Outputs that stay out of the loss."""
        return min(5 if self.task == "lorenz" else 3, self.steps - 1)


MAIN = Problem()
"""That of the primary comparison: the patch forecast of 1-D fields on 2 + 2 qubits over 8 steps."""


@cache
def step_circuit(problem: Problem, arm: str) -> QuantumCircuit:
    step = STEPS[problem.circuit](problem.memory, problem.readout)
    if arm == "bare":
        return without_entanglers(step)
    return open_controlled(step) if arm in OPENED else step


@cache
def task_of(problem: Problem, seed: int) -> Task:
    """The task of a seed: training windows from one of the stored trajectories, all windows its own."""
    if problem.task == "lorenz":
        return lorenz_z(problem, seed)
    train, validation, test = fields_of(problem.task)
    chosen = train.isel(trajectory=[seed % train.sizes["trajectory"]])
    points = 9 if problem.task == "patch-1d" else 3  # along each side: nine in all
    return patch_forecast(chosen, validation, test, neighbours=points, windows=WINDOWS, steps=problem.steps, seed=seed)


@cache
def fields_of(task: str) -> tuple[xr.DataArray, ...]:
    """Training, validation and test fields of a patch forecast, a sample each unit of time."""
    return tuple(ks22(part) if task == "patch-1d" else ks2d22(part, dt=1.0) for part in PARTS)


def lorenz_z(problem: Problem, seed: int) -> Task:
    """x -> z one step on, as `lorenz_observer` scales them; a seed draws its windows from all that there are.

    There is one trajectory: seeds share it, and its three stretches."""
    every = lorenz_observer(lorenz_series(), steps=problem.steps, washout=problem.washout, stride=1)
    rng = np.random.default_rng(seed)
    parts = zip((every.train, every.validation, every.test), WINDOWS, strict=True)
    drawn = [(x, y, torch.from_numpy(rng.choice(len(x), count, replace=False))) for (x, y), count in parts]
    pairs = [(x[chosen], y[chosen, :, 1:]) for x, y, chosen in drawn]
    return Task(*pairs, name="Lorenz z", sees="x", washout=problem.washout)


def network(problem: Problem, setting: Setting, seed: int) -> QRNN:
    """The untrained network of a run."""
    weights, _ = _paired_seeds(seed)
    shots, directions = _own_seeds(setting.arm, seed)
    exact = setting.arm in YARDSTICKS
    backend: Backend = (
        ExactBackend(torch.complex64) if exact else MomentBackend(setting.shots, shots, torch.complex64, False)
    )
    step = step_circuit(problem, setting.arm)
    gradient = estimator(setting, directions)
    inputs = task_of(problem, seed).train[0].shape[2]
    return QRNN(inputs, 1, step, backend=backend, gradient=gradient, dtype=torch.float64, seed=weights)


def estimator(setting: Setting, seed: int) -> GradientEstimator:
    """Guided-SPSA's directions grow tenfold, as its authors' do, to ``size``; its cap shortens the estimates of all
    samples but those of the shift rule, the more the fewer directions, and a batch of 1 is the shift rule's alone."""
    growth = (max(1, setting.size // 10), setting.size)
    makers: dict[str, Callable[[], GradientEstimator]] = {
        "shift": partial(ParameterShift, prune=True),
        "spsa": partial(SPSA, setting.c, setting.size, seed),
        "causal": partial(SPSA, setting.c, setting.size, seed, causal=True),
        "weights": partial(WeightSPSA, setting.c, setting.size, seed),
        "coordinates": partial(ImportantCoordinate, setting.size, seed),
        "exact": Autograd,
        "bare": Autograd,
        "orthogonal": partial(SPSA, setting.c, setting.size, seed, orthogonal=True),
        "decaying": partial(DecayingSPSA, setting.c, setting.size, 1, seed),
        "guided": partial(GuidedSPSA, setting.c, directions=growth, seed=seed),
        "uniform": partial(RandomCoordinate, setting.size, seed),
    }
    return makers[setting.arm]()


def _paired_seeds(seed: int) -> tuple[int, int]:
    """Of the initial weights and of the batches: the same for every arm."""
    first, second = np.random.SeedSequence(seed).generate_state(2)
    return int(first), int(second)


def _own_seeds(arm: str, seed: int) -> tuple[int, int]:
    """Of the shots and of the directions."""
    first, second = np.random.SeedSequence([seed, 1 + list(ARMS).index(arm)]).generate_state(2)
    return int(first), int(second)


def update_circuits(problem: Problem, setting: Setting) -> int:
    """Circuits of one update."""
    return network(problem, setting, 0).layer.update_circuits(setting.batch, problem.steps)


def train(problem: dict, setting: dict, budget: dict, seeds: list[int], keep: bool) -> dict:
    """Runs of one setting, one for each seed, side by side: their scores on validation windows by exact
    probabilities, what each spent, and, to ``keep``, losses and weights."""
    runs = [(Setting(**setting), seed) for seed in seeds]
    stack, losses = begun(Problem(**problem), Budget(**budget), runs)
    result = _scores(Problem(**problem), stack, losses, runs)
    if keep:
        result["losses"] = {str(update): rounded(losses[update]) for update in kept_updates(len(losses))}
        result["weights"] = [weights_of(model) for model in stack.models()]
    return result


def tune(problem: dict, settings: list[dict], budget: dict, seeds: list[int]) -> dict:
    """Trials of settings that differ in rate and c alone, all side by side: for each what `train` says of scores."""
    runs = [(Setting(**setting), seed) for setting in settings for seed in seeds]
    stack, losses = begun(Problem(**problem), Budget(**budget), runs)
    result = _scores(Problem(**problem), stack, losses, runs)
    scores = [result["validation"][k : k + len(seeds)] for k in range(0, len(runs), len(seeds))]
    return {"trials": [result | {"validation": of_setting} for of_setting in scores]}


def begun(
    problem: Problem,
    budget: Budget,
    runs: list[tuple[Setting, int]],
    stop: int | None = None,
    watch: Callable[[StackedQRNN, dict[str, float]], object] | None = None,
    made: Callable[[Problem, Setting, int], QRNN] = network,
) -> tuple[StackedQRNN, np.ndarray]:
    """Runs, (setting, seed) each, trained to the end or only for the first updates, and their losses (updates, runs).

    Their settings may differ in rate and c.  ``watch`` sees the stack and a row after every update; ``made`` makes the
    untrained network of a run."""
    stack = StackedQRNN([made(problem, *run) for run in runs])
    losses = fit_side_by_side(
        stack,
        [task_of(problem, seed).train for _, seed in runs],
        rates=[setting.rate for setting, _ in runs],
        batch_size=runs[0][0].batch,
        budget=budget,
        washout=problem.washout,
        seeds=[_paired_seeds(seed)[1] for _, seed in runs],
        optimizer=partial(optimizer_of, problem.optimizer, beta=runs[0][0].beta),
        stop=stop,
        watch=watch and partial(watch, stack),
    )
    return stack, losses


def optimizer_of(name: str, weights: Iterable[torch.Tensor], lr: float, beta: float = 0.9) -> torch.optim.Optimizer:
    if check_one_of("optimizer", name, OPTIMIZERS) == "adam":
        return torch.optim.Adam(weights, lr=lr, betas=(beta, 0.999))
    return torch.optim.SGD(weights, lr=lr, momentum=0.9)


def _scores(problem: Problem, stack: StackedQRNN, losses: np.ndarray, runs: list[tuple[Setting, int]]) -> dict:
    """Validation errors, and what each run has spent."""
    errors = validation_errors(problem, stack, [seed for _, seed in runs])
    circuits = stack.layer.cost.circuits / len(runs)
    shots = circuits * runs[0][0].shots
    return {"validation": rounded(errors), "updates": len(losses), "circuits": circuits, "shots": shots}


def validation_errors(problem: Problem, stack: StackedQRNN, seeds: Iterable[int]) -> list[float]:
    pairs = zip(stack.models(), seeds, strict=True)
    return [error(model, task_of(problem, seed).validation) for model, seed in pairs]


def kept_updates(count: int) -> list[int]:
    """Numbers of updates in equal ratios, the first and the last among them."""
    return np.unique(np.geomspace(1, count, KEPT).round().astype(int) - 1).tolist()


def error(model: QRNN, part: tuple[torch.Tensor, torch.Tensor], backend: Backend | None = None) -> float:
    """NRMSE of the last step, by exact probabilities or by another backend."""
    x, y = part
    program = model.layer.program
    run = (backend or ExactBackend()).run

    def last(windows: torch.Tensor) -> torch.Tensor:
        probabilities, _ = run(program, program.gate_angles(model.encoder(windows)))
        return model.decoder(probabilities[:, -1])

    return nrmse(in_pieces(last)(x), y[:, -1])


def rounded(values: list[float] | np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def weights_of(model: QRNN) -> dict[str, list[float]]:
    """Every weight of a model in one list for each parameter."""
    return {name: rounded(value.detach().flatten().tolist()) for name, value in model.named_parameters()}


def trained(problem: Problem, setting: Setting, seed: int, weights: dict[str, list[float]]) -> QRNN:
    """A stored run's network."""
    model = network(problem, setting, seed)
    shapes = {name: value.shape for name, value in model.named_parameters()}
    return state_from(model, {name: np.reshape(values, shapes[name]) for name, values in weights.items()})


def described(problem: Problem) -> dict:
    """A problem in a job's settings: later fields only where they differ from what older records took for granted."""
    taken = {name: getattr(MAIN, name) for name in ("task", "circuit", "optimizer")}
    return {name: value for name, value in asdict(problem).items() if taken.get(name) != value}


def as_settings(problem: Problem, budget: Budget) -> dict:
    """What problem and budget are in a job's settings."""
    limits = {name: value for name, value in asdict(budget).items() if value is not None}
    return {"problem": described(problem), "budget": limits}
