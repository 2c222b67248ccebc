"""The course project's Lorenz observer, done again: the trainings that take too long for its chapter.

    python -m qrnn_helpers.study.lorenz run [NAME ...]    do what is missing; stop and start again at will
    python -m qrnn_helpers.study.lorenz status            which jobs are stored

Eight qubits, windows of 20 steps, 1,024 shots, as E. Connerty and M. Stewart had them (*Benchmarking
Optimization Methods for Quantum Recurrent Neural Networks*, University of South Carolina, 2025).  Every
model has six to eight settings to choose from, on `TUNING_SEED` and by the validation part; the test part is
scored on the seeds of the comparison alone.  Training sees nothing but the training stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from torch import nn

from ..backends import ExactBackend
from ..baselines import TUNING_SEED, Rival, ridge, rivals
from ..circuits import rotation_step, two_way_step, without_entanglers
from ..dynamics import lorenz_series
from ..gradients import SPSA, FiniteDifference, GradientEstimator, ParameterShift
from ..models import GRU, QRNN, RNN
from ..simulation import OneStep, StepProgram, advance, ground, kraus_operators
from ..tasks import Fitted, LorenzObserver, Pair, Predict, lorenz_observer
from ..training import Budget, cosine, fit
from .jobs import Job, main, state_from, state_to

__all__ = [
    "Frequencies",
    "METHODS",
    "OneInput",
    "Simulated",
    "built",
    "finals",
    "loaded",
    "mean_squares",
    "method_model",
    "mixing",
    "nrmse_of",
    "rmse_of",
    "stretches",
    "train",
    "trial_score",
    "tuning",
    "variance",
    "windows",
]


FOLDER = "lorenz_case"

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
    with torch.no_grad():
        answers = torch.cat([predict(piece) for piece in x.split(64)])
    return (answers - y)[:, WASHOUT:].square().mean((0, 1)).tolist()


def rmse_of(squares: list[float]) -> float:
    """Root mean square error over y and z together: the project's measure."""
    return float(np.sqrt(np.mean(squares)))


def nrmse_of(squares: list[float], pair: Pair) -> float:
    """The same error over the spread of the truth around its means (`tasks.score`)."""
    truth = pair[1][:, WASHOUT:]
    spread = (truth - truth.mean((0, 1))).square().mean((0, 1))
    return float(np.sqrt(np.sum(squares) / float(spread.sum())))


# ---------------------------------------------------------------- a fast network of one input


class OneInput(nn.Module):
    """A `QRNN` with one input x in about [0, 1]: the same weights and outputs, several times faster.

    All angles are a + b x, so the Kraus operators K_r(x) are sums of waves in x with frequencies up to
    sum |b| / 2.  They are computed at ``nodes`` Chebyshev points and interpolated, by the barycentric formula
    (Berrut & Trefethen, SIAM Rev. 46 (2004) 501); the error falls faster than exponentially in ``nodes``.
    Only the chain of density matrices runs over all samples and steps.
    """

    def __init__(self, model: QRNN, nodes: int = 24, dtype: torch.dtype = torch.complex64):
        super().__init__()
        self.model, self.dtype = model, dtype
        phases = (2 * np.arange(nodes) + 1) * np.pi / (2 * nodes)
        self.nodes = torch.from_numpy(0.5 + 0.56 * np.cos(phases))
        self.barycentric = torch.from_numpy((-1.0) ** np.arange(nodes) * np.sin(phases))

    def kraus(self, x: torch.Tensor) -> torch.Tensor:
        """Kraus operators (batch, time, R, M, M) for x (batch, time, 1)."""
        program = self.model.layer.program
        angles = program.gate_angles(self.model.encoder(self.nodes[:, None]))
        known = program.isometries(angles, self.dtype)
        shares = self.barycentric / (x - self.nodes)
        shares = (shares / shares.sum(-1, keepdim=True)).to(self.dtype)
        return (shares @ known.flatten(1)).unflatten(-1, known.shape[1:])

    def outcomes(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities (batch, time, R) and the memory's last state."""
        rho = ground(self.model.layer.program, len(x), self.dtype, x.device) if state is None else state
        probabilities = []
        for step in self.kraus(x).unbind(1):
            outcome, rho = advance(step, rho)
            probabilities.append(outcome)
        return torch.stack(probabilities, 1).to(x.dtype), rho

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        probabilities, state = self.outcomes(x, state)
        y = self.model.decoder(probabilities)
        return (y if self.model.skip is None else y + self.model.skip(x)), state

    def finer(self) -> OneInput:
        """The same network with more nodes, for scores."""
        return OneInput(self.model, 32)


@torch.no_grad()
def mixing(network: OneInput, x: torch.Tensor) -> np.ndarray:
    """Purity tr(rho**2) of the memory after each step from the zero state, mean over windows; at least 2**-memory."""
    program = network.model.layer.program
    rho, purity = ground(program, len(x), network.dtype, x.device), []
    for step in network.kraus(x).unbind(1):
        rho = advance(step, rho)[1]
        purity.append(float((rho @ rho).diagonal(dim1=-2, dim2=-1).sum(-1).real.mean()))
    return np.array(purity)


def built(model: str, *, seed: int, hidden: int = 6, skip: bool = False) -> nn.Module:
    """The untrained network: "circuit" (4 + 4 qubits), "two-way", "bare" (without entangling gates), "gru", "rnn".

    Without entangling gates nothing leads from the memory to the readout: one memory qubit stands for four.
    """
    if model in ("gru", "rnn"):
        return {"gru": GRU, "rnn": RNN}[model](1, 2, hidden, dtype=torch.float64, seed=seed)
    step = {
        "circuit": rotation_step(4, 4), "bare": without_entanglers(rotation_step(1, 4)), "two-way": two_way_step(4, 4),
    }[model]  # fmt: skip
    return OneInput(QRNN(1, 2, step, skip=skip, dtype=torch.float64, seed=seed))


def predictor(model: nn.Module) -> Predict:
    """x -> y, as it is scored."""
    model = model.finer() if isinstance(model, OneInput) else model
    return lambda x: model(x)[0]


# ---------------------------------------------------------------- training by exact gradients

RECIPES = {"windows": (20, WASHOUT, BATCH), "long windows": (80, 20, BATCH // 4), "carried": (680, WASHOUT, BATCH)}
"""Steps, washout and batch; an update sees 160 samples in each."""

Batches = Iterator[tuple[torch.Tensor, torch.Tensor, int]]


def drawn(steps: int, washout: int, batch: int, generator: torch.Generator) -> Batches:
    """Windows at random, epoch by epoch, each from the zero state: x, y and the steps not to score."""
    x, y = lorenz_observer(lorenz_series(), steps=steps, washout=washout).train
    while True:
        for rows in torch.randperm(len(x), generator=generator, device="cpu").split(batch):
            if len(rows) == batch:
                yield x[rows], y[rows], washout


def carried(steps: int, washout: int, batch: int, generator: torch.Generator) -> Batches:
    """Streams side by side, 20 steps at a time; only where a stream begins is there a washout (else 0).

    Handing the state on without its gradient is truncated back-propagation through time.  A random number
    of samples is left out at the start, so that the cuts fall elsewhere in every epoch.
    """
    x, y = stretches(steps, washout).train
    while True:
        first = int(torch.randint(STEPS, (1,), generator=generator, device="cpu"))
        for start in range(first, steps - STEPS + 1, STEPS):
            piece = slice(start, start + STEPS)
            yield x[:batch, piece], y[:batch, piece], washout if start == first else 0


def train(
    model: nn.Module, *, recipe: str, rate: float, updates: int, seed: int, looks: tuple = (), stop: int | None = None
) -> list[dict]:
    """Adam on the mean squared error with a cosine schedule; returns the curve at the updates in ``looks``.

    ``stop`` ends it earlier, in the middle of the schedule.
    """
    source = carried if recipe == "carried" else drawn
    batches = source(*RECIPES[recipe], torch.Generator("cpu").manual_seed(seed))
    optimizer, state, curve = torch.optim.Adam(model.parameters(), lr=rate), None, []
    for update in range(updates + 1):
        if update in looks:
            curve.append({"update": update} | glimpse(model))
        if update == (updates if stop is None else stop):
            return curve
        optimizer.param_groups[0]["lr"] = rate * cosine(update / updates)
        x, y, washout = next(batches)
        answers, state = model(x, state.detach() if recipe == "carried" and not washout else None)
        optimizer.zero_grad()
        nn.functional.mse_loss(answers[:, washout:], y[:, washout:]).backward()
        optimizer.step()
    return curve


def glimpse(model: nn.Module) -> dict[str, list[float]]:
    """Mean squares on every fourth validation window and on the validation stretch as one run."""
    parts = scored_parts(test=False)
    parts["validation"] = tuple(part[::4] for part in parts["validation"])
    return {name: mean_squares(lambda x: model(x)[0], pair) for name, pair in parts.items()}


def training(model: str, recipe: str, rate: float, updates: int, seed: int, hidden: int = 6, skip: bool = False):
    """One training and its scores; the test part only on the seeds of the comparison."""
    network = built(model, seed=seed, hidden=hidden, skip=skip)
    looks = LOOKS if model == "circuit" and seed != TUNING_SEED else ()
    curve = train(network, recipe=recipe, rate=rate, updates=updates, seed=seed, looks=looks)
    parts = scored_parts(test=seed != TUNING_SEED)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "curve": curve,
        "scores": {name: mean_squares(predictor(network), pair) for name, pair in parts.items()},
        "weights": state_to(network),
    }


# ---------------------------------------------------------------- models without gradient descent

FITTED = {"linear": "linear, lags", "quadratic": "quadratic autoregression", "echo": "echo-state network"}


def untrained(task: LorenzObserver, seed: int, *, gain: float, penalty: float) -> Fitted:
    """The circuit and encoder as drawn, the encoder's weights times ``gain``, with a ridge readout."""
    network = built("circuit", seed=seed).finer()
    with torch.no_grad():
        network.model.encoder.weight.mul_(gain)

    @torch.no_grad()
    def features(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([network.outcomes(piece)[0] for piece in x.split(64)])

    return ridge(task, features, penalty, f"{task.sees}, all steps so far")


def rival_of(kind: str) -> Rival:
    """One of the book's rivals; the untrained circuit in its fast form."""
    if kind == "untrained":
        settings = [{"gain": gain, "penalty": penalty} for gain in (0.5, 1.0, 2.0, 4.0) for penalty in (1e-8, 1e-4)]
        return Rival(kind, untrained, lambda task: settings)
    return next(rival for rival in rivals(rotation_step(4, 4)) if rival.name == FITTED[kind])


def fitted(kind: str, data: str) -> dict:
    """Eight settings on the tuning seed, by validation windows or by the validation run; the best on all seeds.

    ``data``: "windows" are the project's; "long" gives the same samples in stretches of 340 with a washout
    of 40, and so 41 lags instead of 6.
    """
    rival = rival_of(kind)
    task, by = (windows(), "validation") if data == "windows" else (stretches(340, 40), "validation run")
    pair = scored_parts(test=False)[by]
    trials = []
    for setting in rival.settings(task):
        squares = mean_squares(rival.fit(task, TUNING_SEED, **setting).predict, pair)
        trials.append({"setting": setting, "squares": squares})
    best = min(trials, key=lambda trial: rmse_of(trial["squares"]))["setting"]
    models = [rival.fit(task, seed, **best) for seed in (SEEDS if rival.chance else SEEDS[:1])]
    scores = [{name: mean_squares(m.predict, pair) for name, pair in scored_parts(True).items()} for m in models]
    return {"trials": trials, "setting": best, "parameters": models[0].parameters, "scores": scores}


# ---------------------------------------------------------------- the methods, with shots

METHODS = {
    "spsa": SPSA(c=0.1, directions=8),
    "difference": FiniteDifference(h=0.1),
    "shift": ParameterShift(causal=False),
}

ATTENUATION = 0.81
"""How much of the gradient SPSA with c = 0.1 sees here, 1,100 angles moving at once; the chapter measures it."""


class Frequencies(ExactBackend):
    """Relative frequencies of ``shots`` runs, each step's drawn by itself from the exact probabilities.

    Means and variances are those of a device; correlations between the steps of a run are left out.
    """

    def __init__(self, shots: int, seed: int):
        super().__init__(torch.complex64)
        self.shots, self.generator = shots, torch.Generator("cpu").manual_seed(seed)

    def run(self, program, gate_angles, state=None):
        exact = super().run(program, gate_angles, state)[0]
        rows = torch.multinomial(
            exact.flatten(0, 1).clamp_min(0), self.shots, replacement=True, generator=self.generator
        )
        ones = torch.ones_like(rows, dtype=exact.dtype)
        counts = torch.zeros_like(exact.flatten(0, 1)).scatter_add_(1, rows, ones)
        return (counts / self.shots).reshape(exact.shape), None


class Simulated(GradientEstimator):
    """What ``method`` would deliver with ``shots`` runs of each circuit, drawn from its law and billed in full.

    The exact slopes g are made by autograd; sigma**2 is the exact `variance` of one run's weighted readout;
    each difference of two circuits has the variance 2 sigma**2 / shots, and the estimate is

        spsa        mean over Delta of (a g.Delta + sigma n / (c sqrt(2 shots))) Delta,  a = ATTENUATION
        difference  g + sigma n / (h sqrt(2 shots)),  its attenuation by about h**2 / 6 left out
        shift       g + sigma n sqrt(v / shots),  v = 1/2 for two terms, 3/8 for four

    with normal n.  The chapter holds this against circuits that are really run.
    """

    def __init__(self, method: GradientEstimator, shots: int, seed: int):
        self.method, self.shots, self.generator = method, shots, torch.Generator("cpu").manual_seed(seed)

    def circuits(self, program, time_steps):
        return self.method.circuits(program, time_steps)

    def estimate(self, circuits, angles, weights):
        program, exact = circuits.program, ExactBackend(torch.complex64)
        with torch.enable_grad():
            free = angles.detach().requires_grad_()
            outcomes = exact.run(program, program.gate_angles(free))[0]
            slopes = torch.autograd.grad((outcomes * weights).sum(), free)[0]
        noise = (variance(program, angles, weights).clamp_min(0) / self.shots).sqrt()[:, None, None]
        count = len(angles) * self.circuits(program, angles.shape[1])
        circuits.cost.record(count, count * self.shots, 1, 0.0)
        return self._drawn(program, slopes, noise)

    def _drawn(self, program, slopes, noise):
        if isinstance(self.method, SPSA):
            shape = (self.method.directions, *slopes.shape)
            signs = (2 * torch.randint(2, shape, generator=self.generator, device="cpu") - 1).to(slopes)
            along = ATTENUATION * (slopes * signs).sum((-2, -1), keepdim=True)
            return ((along + noise * self._normal(along) / (self.method.c * 2**0.5)) * signs).mean(0)
        if isinstance(self.method, FiniteDifference):
            return slopes + noise * self._normal(slopes) / (self.method.h * 2**0.5)
        gate, _, coefficient = program.shift_terms
        squares = slopes.new_zeros(slopes.shape[-1]).index_add_(0, gate, coefficient.square().to(slopes))
        return slopes + noise * squares.sqrt() * self._normal(slopes)

    def _normal(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype, device="cpu")


@torch.no_grad()
def variance(
    program: StepProgram, angles: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype = torch.complex64
) -> torch.Tensor:
    """Variance (batch,) of one run's weighted readout sum_t w_t(r_t), over the joint distribution of all steps.

    `OneStep` gives its moments, as of a circuit that differs from itself nowhere: the first step is put back as it is.
    """
    kraus = kraus_operators(program, program.gate_angles(angles), dtype)
    ends = OneStep(kraus, weights, ground(program, len(angles), dtype, angles.device), causal=True, second=True)
    mean, square = ends.moments(0, kraus[None, :, 0])
    return (square - mean.square())[0].to(angles.dtype)


def method_model(method: str, seed: int) -> QRNN:
    """The project's network with a method's simulated gradients and simulated shots."""
    weights, forward, backward = (int(s) for s in np.random.SeedSequence(seed).generate_state(3))
    gradient = Simulated(METHODS[method], SHOTS, backward)
    step = rotation_step(4, 4)
    return QRNN(1, 2, step, backend=Frequencies(SHOTS, forward), gradient=gradient, dtype=torch.float64, seed=weights)


def method(method: str, budget: int, batch: int, rate: float, seed: int) -> dict:
    """Training by one method for ``budget`` circuits of `SHOTS` shots, and its scores by exact probabilities."""
    model, task = method_model(method, seed), windows()
    few = tuple(part[:4] for part in task.validation)
    curve = fit(
        model, task.train, few, optimizer=torch.optim.Adam(model.parameters(), lr=rate), batch_size=batch,
        budget=Budget(circuits=budget), washout=WASHOUT, seed=seed, progress=False, validations=1,
    )  # fmt: skip
    parts = scored_parts(test=seed != TUNING_SEED)
    return {
        "updates": len(curve),
        "circuits": int(curve["circuits"].iloc[-1]),
        "shots": int(curve["shots"].iloc[-1]),
        "losses": curve["train_loss"].round(6).tolist(),
        "scores": {name: mean_squares(predictor(OneInput(model)), pair) for name, pair in parts.items()},
        "weights": state_to(model),
    }


# ---------------------------------------------------------------- the plan

BUDGETS = (5_100, 110_000)
"""Circuits: 150 updates of SPSA with 8 directions on batches of 2; and fifty or so of the costly methods."""


def job(work: Callable, **settings) -> Job:
    """A job that is named after its settings."""
    words = [work.__name__, *(str(value) if name in _WORDS else f"{name}{value}" for name, value in settings.items())]
    return Job(FOLDER, "-".join(words).replace(" ", "-").lower(), work, settings)


_WORDS = ("kind", "data", "model", "recipe", "method")


def fits() -> list[Job]:
    """Models without gradient descent, on windows and on long stretches."""
    cells = [(kind, data) for data in ("windows", "long") for kind in ("linear", "quadratic", "echo")]
    return [job(fitted, kind=kind, data=data) for kind, data in [*cells, ("untrained", "windows")]]


def trials(model: str, recipe: str = "windows", rates: tuple = RATES) -> list[Job]:
    """The six settings of a network: three rates, and two sizes, or for circuits with and without a linear path."""
    other = {"skip": (False, True)} if model in ("circuit", "bare", "two-way") else {"hidden": (6, 12)}
    ((name, values),) = other.items()
    common = {"model": model, "recipe": recipe, "updates": UPDATES, "seed": TUNING_SEED}
    return [job(training, **common, rate=rate, **{name: value}) for value in values for rate in rates]


def method_trials(method_name: str, budget: int) -> list[Job]:
    batch = 2 if method_name == "spsa" else 1
    common = {"method": method_name, "budget": budget, "batch": batch, "seed": TUNING_SEED}
    return [job(method, **common, rate=rate) for rate in RATES[1:]]


def comparisons() -> list[tuple[str, int]]:
    """Methods and budgets.  SPSA at the larger budget would be 3,200 updates, too long to simulate here."""
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


def seeds_of(chosen: Job, **changes) -> list[Job]:
    """The chosen setting on the seeds of the comparison."""
    return [job(chosen.work, **chosen.settings | changes | {"seed": seed}) for seed in SEEDS]


def plain() -> list[Job]:
    """The project's network, without a linear path: its trials by exact gradients."""
    return [trial for trial in trials("circuit") if not trial.settings["skip"]]


def ablation() -> list[Job]:
    """Other ways to train the circuit, and the two-way circuit, on the tuning seed and judged by the validation run."""
    others = trials("circuit", "long windows", RATES[2:]) + trials("two-way", "carried", RATES[1:])
    return trials("circuit", "carried", RATES[1:]) + [trial for trial in others if not trial.settings["skip"]]


def finals() -> dict[str, list[Job]]:
    """The seeds of every comparison, its trials being stored."""
    groups = {name: seeds_of(best(trials(name))) for name in ("rnn", "gru", "bare", "circuit")}
    groups["plain circuit"] = seeds_of(best(plain()))
    groups |= {f"{name} {budget}": seeds_of(best(method_trials(name, budget))) for name, budget in comparisons()}
    winner = best(ablation() + trials("circuit"), "validation run")
    groups["winner"] = seeds_of(winner)
    groups["gru carried"] = seeds_of(best(trials("gru", "carried"), "validation run"))
    return groups


def loaded(trained: Job) -> nn.Module:
    """The network of a stored training, ready to predict."""
    settings = trained.settings
    if trained.work is method:
        return OneInput(state_from(method_model(settings["method"], settings["seed"]), trained.result["weights"]))
    chosen = {name: settings[name] for name in ("seed", "hidden", "skip") if name in settings}
    return state_from(built(settings["model"], **chosen), trained.result["weights"])


if __name__ == "__main__":
    import qrnn_helpers.study.lorenz as case  # under its own name, so that worker processes can import it

    main(case.tuning(), "python -m qrnn_helpers.study.lorenz")
    if all(each.done for each in case.tuning()):
        main([each for group in case.finals().values() for each in group], "python -m qrnn_helpers.study.lorenz")
