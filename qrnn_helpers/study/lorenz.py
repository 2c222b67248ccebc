"""The course project's Lorenz observer, done again (chapter 15).

Eight qubits, windows of 20 steps, 1,024 shots, as E. Connerty and M. Stewart had them (*Benchmarking
Optimization Methods for Quantum Recurrent Neural Networks*, University of South Carolina, 2025).  Every
model has several settings to choose from (two rates, if it is trained by shots), on `TUNING_SEED` and by the
validation part; the test part is scored on the seeds of the comparison alone.  Training sees
nothing but the training stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from qiskit import QuantumCircuit
from torch import Tensor, nn

from ..backends import ExactBackend, MomentBackend
from ..baselines import TUNING_SEED, grid, in_pieces, standard_baselines, tune
from ..circuits import rotation_step, two_way_step, without_entanglers
from ..dynamics import lorenz_series
from ..gradients import SPSA, FiniteDifference, ParameterShift
from ..models import GRU, QRNN, RNN
from ..tasks import LorenzObserver, Pair, Predict, lorenz_observer
from ..training import Budget, fit
from .jobs import Job, state_from, state_to

SEEDS = (0, 1, 2, 3, 4)

RATES = (0.01, 0.03, 0.1)

STEPS, WASHOUT, SHOTS, BATCH, UPDATES = 20, 5, 1024, 8, 300

LOOKS = (0, 5, 10, 20, 40, 70, 100, 150, 200, 250, 300)
"""Updates before which windows and run of the validation part are scored."""


# ---------------------------------------------------------------- data


@cache
def windows() -> LorenzObserver:
    """The task as in the project: windows of 20 steps, every fourth sample; and the test stretch as one run."""
    return lorenz_observer(lorenz_series(), steps=STEPS, washout=WASHOUT)


@cache
def stretches(steps: int, washout: int = WASHOUT) -> LorenzObserver:
    """The same stretches of time, cut end to end into long windows: 16 of 340 steps for training."""
    return lorenz_observer(lorenz_series(), steps=steps, washout=washout, stride=steps)


def scored_parts(test: bool) -> dict[str, Pair]:
    """Windows, and the whole stretch as one run, of the validation part; with ``test`` of the test part, too."""
    parts = {"validation": windows().validation, "validation run": stretches(1484).validation}
    return parts | ({"test": windows().test, "test run": windows().run} if test else {})


def mean_squares(predict: Predict, pair: Pair) -> list[float]:
    """Mean squared error of y and of z after the washout, for data scaled to [0, 1]."""
    x, y = pair
    return (in_pieces(predict, 64)(x) - y)[:, WASHOUT:].square().mean((0, 1)).tolist()


def scores_of(predict: Predict, test: bool) -> dict[str, list[float]]:
    """`mean_squares` on all scored parts, the test part only where asked for."""
    return {name: mean_squares(predict, pair) for name, pair in scored_parts(test).items()}


def rmse_of(squares: list[float]) -> float:
    """Root mean square error over y and z together: the project's measure."""
    return float(np.sqrt(np.mean(squares)))


def nrmse_of(squares: list[float], pair: Pair) -> float:
    """The same error over the spread of the truth around its means (`tasks.score`)."""
    truth = pair[1][:, WASHOUT:]
    spread = (truth - truth.mean((0, 1))).square().mean((0, 1))
    return float(np.sqrt(np.sum(squares) / float(spread.sum())))


# ---------------------------------------------------------------- networks


def step_of(model: str) -> QuantumCircuit:
    """The step circuit of "circuit" (4 + 4 qubits), "two-way", or "bare" (without entangling gates).

    Without entangling gates nothing leads from the memory to the readout: one memory qubit stands for four.
    """
    if model == "bare":
        return without_entanglers(rotation_step(1, 4))
    return two_way_step(4, 4) if model == "two-way" else rotation_step(4, 4)


def built(model: str, *, seed: int, hidden: int = 6, skip: bool = False) -> nn.Module:
    """The untrained network with exact probabilities: a circuit of `step_of`, "gru" or "rnn"."""
    if model in ("gru", "rnn"):
        network = {"gru": GRU, "rnn": RNN}[model]
        return network(1, 2, hidden, dtype=torch.float64, seed=seed)
    backend = ExactBackend(torch.complex64)
    return QRNN(1, 2, step_of(model), backend=backend, skip=skip, dtype=torch.float64, seed=seed)


def predictor(model: nn.Module) -> Predict:
    """x -> y, as it is scored."""
    return lambda x: model(x)[0]


@torch.no_grad()
def mixing(network: QRNN, x: Tensor) -> np.ndarray:
    """Purity tr(rho**2) of the memory after each step from the zero state, mean over windows; at least 2**-memory."""
    state = None
    purity = []
    for sample in x.split(1, dim=1):
        _, state = network(sample, state)
        purity.append(float(state.abs().square().sum((-2, -1)).mean()))
    return np.array(purity)


# ---------------------------------------------------------------- training by exact gradients

RECIPES = {"windows": (20, WASHOUT, BATCH), "long windows": (80, 20, BATCH // 4), "carried": (680, WASHOUT, BATCH)}
"""Steps, washout and batch; an update sees 160 samples in each."""

Batch = tuple[Tensor, Tensor, bool]
"""x, y, and whether they begin anew, from the zero state: then the washout is not scored."""


def separate(x: Tensor, y: Tensor, count: int, generator: torch.Generator) -> Iterator[Batch]:
    """Windows at random, each from the zero state: whole batches, epoch by epoch."""
    while True:
        order = torch.randperm(len(x), generator=generator, device="cpu")
        for rows in order[: len(x) // count * count].split(count):
            yield x[rows], y[rows], True


def streams(x: Tensor, y: Tensor, count: int, generator: torch.Generator) -> Iterator[Batch]:
    """Stretches side by side, `STEPS` steps at a time, each going on where the one before it stopped.

    A random number of samples is left out at the start, so that the cuts fall elsewhere in every epoch.
    """
    while True:
        first = int(torch.randint(STEPS, (1,), generator=generator, device="cpu"))
        for start in range(first, x.shape[1] - STEPS + 1, STEPS):
            piece = slice(start, start + STEPS)
            yield x[:count, piece], y[:count, piece], start == first


class CarriedLoss:
    """Mean squared error with the state handed on, but not its gradient: truncated back-propagation through time."""

    def __init__(self, washout: int):
        self.washout = washout
        self.state: Tensor | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        x, y, fresh = batch
        state = None if fresh or self.state is None else self.state.detach()
        outputs, self.state = model(x, state)
        washout = self.washout if fresh else 0
        return nn.functional.mse_loss(outputs[:, washout:], y[:, washout:])


def train(
    model: nn.Module, *, recipe: str, rate: float, updates: int, seed: int, looks: tuple = (), stop: int | None = None
) -> list[dict]:
    """Adam on the mean squared error with a cosine schedule; returns the curve at the updates in ``looks``.

    ``stop`` ends it earlier, in the middle of the schedule.
    """
    steps, washout, count = RECIPES[recipe]
    source = streams if recipe == "carried" else separate
    stride = steps if recipe == "carried" else 4
    data = lorenz_observer(lorenz_series(), steps=steps, washout=washout, stride=stride).train
    curve = []

    def look(update: int) -> None:
        if update in looks:
            curve.append({"update": update} | glimpse(model))

    def looked_at(*arguments) -> Iterator[Batch]:
        for update, batch in enumerate(source(*arguments)):
            look(update)
            if update == stop:
                return
            yield batch

    fit(
        model, data, tuple(part[:1] for part in windows().validation), batches=looked_at, loss=CarriedLoss(washout),
        optimizer=torch.optim.Adam(model.parameters(), lr=rate), batch_size=count, budget=Budget(steps=updates),
        seed=seed, validations=1, progress=False,
    )  # fmt: skip
    if stop is None:
        look(updates)
    return curve


def glimpse(model: nn.Module) -> dict[str, list[float]]:
    """Mean squares on every fourth validation window and on the validation stretch as one run."""
    parts = scored_parts(test=False)
    x, y = parts["validation"]
    parts["validation"] = (x[::4], y[::4])
    return {name: mean_squares(predictor(model), pair) for name, pair in parts.items()}


def training(
    model: str, recipe: str, rate: float, updates: int, seed: int, hidden: int = 6, skip: bool = False
) -> dict:
    """One training and its scores; the test part only on the seeds of the comparison."""
    network = built(model, seed=seed, hidden=hidden, skip=skip)
    looks = LOOKS if model == "circuit" and seed != TUNING_SEED else ()
    curve = train(network, recipe=recipe, rate=rate, updates=updates, seed=seed, looks=looks)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "curve": curve,
        "scores": scores_of(predictor(network), test=seed != TUNING_SEED),
        "weights": state_to(network),
    }


# ---------------------------------------------------------------- models without gradient descent

FITTED = {
    "linear": "linear, lags",
    "quadratic": "quadratic autoregression",
    "echo": "echo-state network",
    "untrained": "untrained circuit, ridge readout",
}
"""Kinds of model by the name of their files, and among the book's `standard_baselines`."""


def fitted(kind: str, data: str) -> dict:
    """Eight settings on the tuning seed, by validation windows or by the validation run; the best on all seeds.

    ``data``: "windows" are the project's; "long" gives the same samples in stretches of 340 with a washout
    of 40, and so 41 lags instead of 6.
    """
    baseline = next(each for each in standard_baselines(step_of("circuit")) if each.name == FITTED[kind])
    task, part = (windows(), "validation") if data == "windows" else (stretches(340, 40), "validation run")
    pair = scored_parts(test=False)[part]
    trials = tune(task, baseline, measure=lambda _, predict, __: rmse_of(mean_squares(predict, pair)))
    setting = trials["setting"].iloc[0]
    models = [baseline.fit(task, seed, **setting) for seed in (SEEDS if baseline.chance else SEEDS[:1])]
    return {
        "trials": trials.to_dict("list"),
        "setting": setting,
        "parameters": models[0].parameters,
        "scores": [scores_of(model.predict, test=True) for model in models],
    }


# ---------------------------------------------------------------- the methods, with shots


def method_model(method: str, seed: int) -> QRNN:
    """The project's network with gradients by "spsa", "difference" or "shift", all circuits with `SHOTS` shots.

    Forward passes draw true shots; the readouts that gradients ask for have their exact mean and variance
    (`MomentBackend`).
    """
    weights, shots, directions = (int(word) for word in np.random.SeedSequence(seed).generate_state(3))
    gradient = {
        "spsa": SPSA(c=0.1, directions=8, seed=directions),
        "difference": FiniteDifference(h=0.1),
        "shift": ParameterShift(causal=False),
    }[method]
    backend = MomentBackend(SHOTS, shots, torch.complex64)
    return QRNN(1, 2, step_of("circuit"), backend=backend, gradient=gradient, dtype=torch.float64, seed=weights)


def method(method: str, budget: int, batch: int, rate: float, seed: int) -> dict:
    """Training by one method for ``budget`` circuits of `SHOTS` shots, and its scores by exact probabilities."""
    model, task = method_model(method, seed), windows()
    few = tuple(part[:4] for part in task.validation)
    curve = fit(
        model, task.train, few, optimizer=torch.optim.Adam(model.parameters(), lr=rate), batch_size=batch,
        budget=Budget(circuits=budget), washout=WASHOUT, seed=seed, progress=False, validations=1,
    )  # fmt: skip
    exact = state_from(built("circuit", seed=seed), state_to(model))
    return {
        "updates": len(curve),
        "circuits": int(curve["circuits"].iloc[-1]),
        "shots": int(curve["shots"].iloc[-1]),
        "losses": curve["train_loss"].round(6).tolist(),
        "scores": scores_of(predictor(exact), test=seed != TUNING_SEED),
        "weights": state_to(model),
    }


# ---------------------------------------------------------------- the plan

BUDGETS = (5_100, 110_000)
"""Circuits: 150 updates of SPSA with 8 directions on batches of 2; and fifty or so of the costly methods."""


def job(work: Callable, **settings) -> Job:
    """A job that is named after its settings."""
    plain = ("kind", "data", "model", "recipe", "method")
    words = [str(value) if name in plain else f"{name}{value}" for name, value in settings.items()]
    return Job("lorenz_case", "-".join([work.__name__, *words]).replace(" ", "-").lower(), work, settings)


def fits() -> list[Job]:
    """Models without gradient descent, on windows and on long stretches."""
    cells = [(kind, data) for data in ("windows", "long") for kind in ("linear", "quadratic", "echo")]
    return [job(fitted, kind=kind, data=data) for kind, data in [*cells, ("untrained", "windows")]]


def trials(model: str, recipe: str = "windows", rates: tuple = RATES) -> list[Job]:
    """The settings of a network: every rate with two sizes, or for circuits with and without a linear path."""
    kinds = grid(hidden=(6, 12)) if model in ("gru", "rnn") else grid(skip=(False, True))
    common = {"model": model, "recipe": recipe, "updates": UPDATES, "seed": TUNING_SEED}
    return [job(training, **common, rate=rate, **kind) for kind in kinds for rate in rates]


def method_trials(method_name: str, budget: int) -> list[Job]:
    batch = 2 if method_name == "spsa" else 1
    common = {"method": method_name, "budget": budget, "batch": batch, "seed": TUNING_SEED}
    return [job(method, **common, rate=rate) for rate in RATES[1:]]


def comparisons() -> list[tuple[str, int]]:
    """Methods and budgets.  SPSA at the larger budget would be 3,200 updates: half an hour for each of seven."""
    return [("spsa", BUDGETS[0])] + [(name, budget) for budget in BUDGETS for name in ("difference", "shift")]


def tuning() -> list[Job]:
    """All that needs no other job's result."""
    found = fits() + [each for name in ("rnn", "gru", "bare", "circuit") for each in trials(name)]
    found += trials("gru", "carried")
    found += [each for cell in comparisons() for each in method_trials(*cell)]
    return found + ablation()


def trial_score(trial: Job, part: str = "validation") -> float:
    return rmse_of(trial.result["scores"][part])


def best(group: list[Job], part: str = "validation") -> Job:
    """The trial of the least error on a validation part."""
    return min(group, key=lambda trial: trial_score(trial, part))


def seeds_of(chosen: Job) -> list[Job]:
    """The chosen setting on the seeds of the comparison."""
    return [job(chosen.work, **chosen.settings | {"seed": seed}) for seed in SEEDS]


def plain(group: list[Job]) -> list[Job]:
    """Those of circuits without a linear path."""
    return [trial for trial in group if not trial.settings["skip"]]


def ablation() -> list[Job]:
    """Other ways to train the circuit, and the two-way circuit, on the tuning seed and judged by the validation run."""
    others = trials("circuit", "long windows", RATES[2:]) + trials("two-way", "carried", RATES[1:])
    return trials("circuit", "carried", RATES[1:]) + plain(others)


def finals() -> dict[str, list[Job]]:
    """The seeds of every comparison, its trials being stored."""
    groups = {name: seeds_of(best(trials(name))) for name in ("rnn", "gru", "bare", "circuit")}
    groups["plain circuit"] = seeds_of(best(plain(trials("circuit"))))
    groups |= {f"{name} {budget}": seeds_of(best(method_trials(name, budget))) for name, budget in comparisons()}
    winner = best(ablation() + trials("circuit"), "validation run")
    groups["winner"] = seeds_of(winner)
    groups["gru carried"] = seeds_of(best(trials("gru", "carried"), "validation run"))
    return groups


def jobs() -> Iterator[Job]:
    """All trials, and where these are stored the seeds of every comparison."""
    yield from tuning()
    if all(trial.done for trial in tuning()):
        yield from {each.name: each for group in finals().values() for each in group}.values()


def summary(job: Job) -> dict[str, float]:
    """Root mean square errors on windows and on the run, of the test part where it is scored, and of the validation."""
    scores = job.result["scores"]
    parts = scores if isinstance(scores, list) else [scores]
    return {part: float(np.mean([rmse_of(each[part]) for each in parts])) for part in parts[0]}


def loaded(trained: Job) -> nn.Module:
    """The network of a stored training, with exact probabilities, ready to predict."""
    settings = {"model": "circuit"} | trained.settings
    chosen = {name: settings[name] for name in ("seed", "hidden", "skip") if name in settings}
    return state_from(built(settings["model"], **chosen), trained.result["weights"])
