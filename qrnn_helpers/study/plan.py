"""The study's plan: which runs there are, in which order, and how settings are chosen.

Nothing here reads a test window: `opened` does, once for each stage.  Trials of an arm come first, with seeds of
their own; once all of a level are stored, the best setting by validation windows is what the arm is evaluated with.
Which runs are known therefore grows as they are done (`jobs`).  The protocol page says why each number is as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
from scipy.stats import gmean, qmc

from ..training import Budget
from .arms import BATCHES, CORE, MAIN, SIZES, YARDSTICKS, Problem, Setting, as_settings, train, tune, update_circuits
from .jobs import Job
from .laws import CELLS, cell

FOLDER = "training"

SECONDARY = ("orthogonal", "decaying", "guided", "uniform")
"""Variants of SPSA and of the coordinates, tuned as the core arms are.  An adaptive number of shots (arXiv 2302.04422)
is not among them: runs side by side share their number of shots."""

SCALING = {cell(problem): problem for problem in CELLS if problem != MAIN}
"""The scaling cross without its middle, the main problem; on its two rungs a target's cost is known or bounded.  An arm
takes the main problem's setting of the level, its rate times a factor that is tuned anew: the whole effort again in
every cell would be too dear."""

REPLICATIONS = {
    "patch-2d": Problem(task="patch-2d"),
    "lorenz": Problem(steps=20, task="lorenz"),
    "two-way": Problem(circuit="two_way"),
    "momentum": Problem(optimizer="momentum"),
}
"""With the main problem's settings unchanged; but with SGD a rate means something else, and is tuned as in the cross.
Lorenz has its usual windows of 20 steps.  Noise levels wait for a backend with noise that is fast enough."""

SEEDS = tuple(range(28))
"""Of the evaluation: trajectories, windows, weights and order of the data paired between arms."""

TUNING_SEEDS = (100, 101, 102)

TRIALS, SHAPES = 33, 11
"""Of an arm at a level: so many settings, of so many combinations of batch, size, shots and beta (fewer if there are
fewer), each with equally many rates and c."""

CARRIED = 6
"""Trials that are taken on to the next level."""

SPACE_SEED = 20261128
"""Of the quasi-random points, the same for every arm."""

RATES = (1e-3, 1e-1)

PERTURBATIONS = {"weights": (0.01, 0.3)} | dict.fromkeys(
    ("spsa", "causal", "orthogonal", "decaying", "guided"), (0.03, 1.0)
)

BETAS = (0.0, 0.9)

SHOTS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)

SHIFT_SHOTS = (1, 2, *SHOTS)
"""Its circuits are many and cheap to simulate; the others go below 4 if 4 turns out best (`moved`)."""

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of a setting's rate, where the rate alone is tuned anew (`retuning`, `Level.rate_alone`)."""

UPDATES = (20, 2000)
"""A trial at a level that is not carried makes so many updates at least and at most."""

FIXED_SHOTS = 1024
"""Of the budgets in circuits."""


@dataclass(frozen=True)
class Level:
    """A budget at which settings are chosen: from trials of its own, or from the best trials of the level below."""

    budget: Budget
    below: str | None
    serves: tuple[str, ...]
    """Budgets of the evaluation that take the setting chosen here."""

    rate_alone: bool = False
    """Whether the trials are the setting of the level below with its rate times `FACTORS`."""


BUDGETS = {
    "1e5": Budget(shots=10**5),
    "3e5": Budget(shots=3 * 10**5),
    "1e6": Budget(shots=10**6),
    "3e6": Budget(shots=3 * 10**6),
    "1e7": Budget(shots=10**7),
    "3e7": Budget(shots=3 * 10**7),
    "1e8": Budget(shots=10**8),
    "4e5 circuits": Budget(circuits=4 * 10**5),
}

LEVELS = {
    "1e5": Level(BUDGETS["1e5"], None, ("1e5", "3e5")),
    "1e6": Level(BUDGETS["1e6"], None, ("1e6", "3e6")),
    "1e7": Level(BUDGETS["1e7"], "1e6", ("1e7", "3e7")),
    "1e8": Level(BUDGETS["1e8"], "1e7", ("1e8",), rate_alone=True),
    "4e4 circuits": Level(Budget(circuits=4 * 10**4), None, ()),
    "4e5 circuits": Level(BUDGETS["4e5 circuits"], "4e4 circuits", ("4e5 circuits",)),
}

COPRIMARY = ("1e7", "1e8", "4e5 circuits")
"""Budgets at which arms are compared first."""

STAGES = {
    "A": ("1e5", "1e6", "1e7"),
    "B": ("4e5 circuits", "3e5", "3e6"),
    "C": ("1e6", "1e7"),
    "D": ("1e6", "1e7"),
    "E": ("1e7",),
    "F": ("3e7",),
    "G": ("1e7",),
    "H": ("1e6", "1e7"),
    "I": ("1e6", "1e7"),
    "J": ("1e8",),
}
"""Budgets whose test windows are opened together, when all runs at them are stored: A, B, F and J of the main problem
and the core arms, C of the secondary arms, the others of the problems in `ELSEWHERE`."""

ELSEWHERE = {
    "D": tuple(name for name in SCALING if name.startswith("4qubits")),
    "E": ("patch-2d", "two-way", "momentum"),
    "G": ("lorenz",),
    "H": ("6qubits-8steps",),
    "I": ("8qubits-8steps",),
}
"""Problems of the later stages: the scaling cross by qubits (D, H, I), and the replications (E, G)."""

REPLICATING = tuple(stage for stage, names in ELSEWHERE.items() if set(names) <= set(REPLICATIONS))
"""Stages of replications."""

LATER = ("C", *ELSEWHERE)
"""Their jobs have names of their own: ``run training/D-4qubits`` trains a stage, and ``run training/tune`` none."""

TOGETHER = {"3e7": 28, "1e8": 28}
"""Runs of one job, where they take long: side by side a run costs half of what it costs among 7.  14 elsewhere."""

MICROSECONDS = dict.fromkeys((*CORE, *SECONDARY), 30.0) | {"shift": 5.0, "coordinates": 25.0, "guided": 15.0}
"""Of a circuit, and those of an update beside its circuits: for `plan` alone."""

DEARER = {4: 1.0, 6: 5.0, 8: 30.0}
"""What a circuit of so many qubits takes, over one of four; it also takes the longer, the more steps it has."""

UPDATE_MICROSECONDS = 15_000.0


def of_budget(setting: Setting, budget: Budget, problem: Problem) -> float:
    """Updates that a budget allows."""
    circuits = budget.circuits if budget.shots is None else budget.shots / setting.shots
    assert circuits is not None
    return circuits / _circuits(problem, setting)


@cache
def _circuits_of(problem: Problem, arm: str, size: int) -> float:
    """Circuits of a sample's update; the mean over a budget where they change in training."""
    if arm == "guided":  # half of a batch each, directions as in the middle of the budget
        halves = _circuits_of(problem, "shift", 1), _circuits_of(problem, "spsa", (1 + size) // 2)
        return sum(halves) / 2
    if arm == "decaying":
        sizes = [round(size ** (1 - part)) for part in np.linspace(0, 1, 101)]
        return 1 / float(np.mean([1 / _circuits_of(problem, "spsa", each) for each in sizes]))
    return update_circuits(problem, Setting(arm, 0.01, 1, 1, size, 0.1))


def _circuits(problem: Problem, setting: Setting) -> float:
    return setting.batch * _circuits_of(problem, setting.arm, setting.size)


@cache
def trials(arm: str, level: str, problem: Problem) -> tuple[Setting, ...]:
    """The quasi-random settings of an arm at a level with trials of its own."""
    budget = LEVELS[level].budget
    shapes = (_shape(arm, point, budget) for point in _sobol(4, 4096))
    valid = [shape for shape in dict.fromkeys(shapes) if UPDATES[0] <= of_budget(shape, budget, problem) <= UPDATES[1]]
    shapes_taken = valid[:SHAPES]
    each = math.ceil(TRIALS / len(shapes_taken))
    points = iter(_sobol(2, 256))
    return tuple(_placed(shape, next(points)) for shape in shapes_taken for _ in range(each))


def _sobol(dimensions: int, count: int) -> np.ndarray:
    return qmc.Sobol(dimensions, scramble=True, rng=SPACE_SEED).random(count)


def _shape(arm: str, point: np.ndarray, budget: Budget) -> Setting:
    """Batch, size, shots and beta of a point of the unit cube."""
    shots = SHIFT_SHOTS if arm == "shift" else SHOTS
    batch, size, shots_of, beta = (
        _level(values, place) for values, place in zip((BATCHES, SIZES, shots, BETAS), point, strict=True)
    )
    fixed = FIXED_SHOTS if budget.shots is None else int(shots_of)
    return Setting(arm, 0.01, int(batch), fixed, 1 if arm == "shift" else int(size), 0.0, beta)


def _level(values: Sequence[float], place: float) -> float:
    return values[int(place * len(values))]


def _placed(shape: Setting, point: np.ndarray) -> Setting:
    """A shape with rate and c of a point of the unit square, three digits each."""
    rate = _between(RATES, point[0])
    c = _between(PERTURBATIONS[shape.arm], point[1]) if shape.arm in PERTURBATIONS else 0.0
    return replace(shape, rate=rate, c=c)


def _between(ends: tuple[float, float], place: float) -> float:
    return float(f"{ends[0] * (ends[1] / ends[0]) ** place:.3g}")


def at_edge(setting: Setting, level: str) -> list[str]:
    """What of a setting stands at an edge of its range that it could be moved beyond."""
    edges = []
    low, high = _place(RATES, setting.rate), 1 - _place(RATES, setting.rate)
    if min(low, high) < 0.1:
        edges.append("rate")
    if setting.arm in PERTURBATIONS and not 0.1 <= _place(PERTURBATIONS[setting.arm], setting.c) <= 0.9:
        edges.append("c")
    if setting.batch == BATCHES[-1]:
        edges.append("batch")
    if setting.arm != "shift" and setting.size == SIZES[-1]:
        edges.append("size")
    lowest = 0 if setting.arm == "shift" else SHOTS[0]  # the shift rule has all numbers from 1 on
    if LEVELS[level].budget.shots is not None and setting.shots in (lowest, SHOTS[-1]):
        edges.append("shots")
    return edges


def _place(ends: tuple[float, float], value: float) -> float:
    return math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def moved(setting: Setting, level: str) -> list[Setting]:
    """The setting with what stands at an edge moved by factors of 2 and 4 beyond it: once, for the best of a level."""
    found = []
    for name in at_edge(setting, level):
        value = getattr(setting, name)
        middle = {"rate": RATES, "c": PERTURBATIONS.get(setting.arm, RATES), "shots": (4, 1024)}.get(name, (1, 1))
        up = value > math.sqrt(middle[0] * middle[1])
        for factor in (2, 4):
            beyond = value * factor if up else value / factor
            found.append(replace(setting, **{name: type(value)(beyond)}))
    return found


def _named(kind: str, arm: str, level: str, part: str, problem: Problem) -> str:
    family = "C" if arm in SECONDARY else "D" if problem in SCALING.values() else "E"
    head = "" if arm not in SECONDARY and problem == MAIN else f"{family}-"
    its = name_of(problem)
    return f"{head}{its}{'-' if its else ''}{kind}-{arm}-{level.replace(' ', '-')}-{part}"


def name_of(problem: Problem) -> str:
    """Of a problem of a later stage; "" for the main one."""
    return next((name for name, its in (SCALING | REPLICATIONS).items() if its == problem), "")


def _trial_job(settings: Sequence[Setting], level: str, part: str, problem: Problem) -> Job:
    budget = LEVELS[level].budget
    name = _named("tune", settings[0].arm, level, part, problem)
    seconds = _seconds(settings[0], budget, problem, len(settings) * len(TUNING_SEEDS))
    own = {"settings": [asdict(setting) for setting in settings], "seeds": list(TUNING_SEEDS)}
    runs = len(settings) * len(TUNING_SEEDS)
    work = as_settings(problem, budget) | own
    return Job(FOLDER, name, tune, work, runs=runs, cost_seconds=seconds, size_bytes=900 * len(settings))


def _seconds(setting: Setting, budget: Budget, problem: Problem, runs: int) -> float:
    updates = of_budget(setting, budget, problem)
    circuits = runs * updates * _circuits(problem, setting)
    each = MICROSECONDS[setting.arm] * DEARER[problem.memory + problem.readout] * problem.steps / MAIN.steps
    return (circuits * each + updates * UPDATE_MICROSECONDS) / 1e6


@dataclass(frozen=True)
class Tuning:
    """The trials of an arm at a level, as far as they are known, and the setting they lead to."""

    arm: str
    level: str
    problem: Problem = MAIN

    def first(self) -> list[Job]:
        """Trials that depend on no other trial of the level; none before the level below is done."""
        below = LEVELS[self.level].below
        if below is None:
            return self._grouped(trials(self.arm, self.level, self.problem), "")
        lower = Tuning(self.arm, below, self.problem)
        return self._grouped(self._carried(lower) if lower.done else [], "")

    def _carried(self, lower: Tuning) -> list[Setting]:
        """What of the level below is tried here."""
        if LEVELS[self.level].rate_alone:
            return _at_rates(lower.chosen)
        return [setting for _, setting in lower.table()[:CARRIED]]

    def _grouped(self, settings: Sequence[Setting], name: str) -> list[Job]:
        """Jobs of settings that differ in rate and c alone."""
        alike: dict[Setting, list[Setting]] = {}
        for setting in settings:
            alike.setdefault(replace(setting, rate=0.0, c=0.0), []).append(setting)
        groups = enumerate(alike.values())
        return [_trial_job(group, self.level, f"{name}{k:02}", self.problem) for k, group in groups]

    def second(self) -> list[Job]:
        """Trials beyond the edges that the best of the first stands at."""
        if LEVELS[self.level].below is not None or not self._stored(self.first()):
            return []
        beyond = moved(self._scores(self.first())[0][1], self.level)
        return self._grouped(beyond, "moved")

    @property
    def jobs(self) -> list[Job]:
        return self.first() + self.second()

    @property
    def done(self) -> bool:
        return self._stored(self.first()) and self._stored(self.second(), nothing=True)

    def table(self) -> list[tuple[float, Setting]]:
        """Scores, geometric means of the validation NRMSE over the tuning seeds, and settings, the best first."""
        return self._scores(self.jobs)

    @property
    def chosen(self) -> Setting:
        return self.table()[0][1]

    @staticmethod
    def _stored(jobs: list[Job], nothing: bool = False) -> bool:
        return all(job.done for job in jobs) and (nothing or bool(jobs))

    @staticmethod
    def _scores(jobs: list[Job]) -> list[tuple[float, Setting]]:
        found = []
        for job in jobs:
            for setting, trial in zip(job.settings["settings"], job.result["trials"], strict=True):
                found.append((float(gmean(trial["validation"])), Setting(**setting)))
        return sorted(found, key=lambda pair: pair[0])


def tunings(arms: Sequence[str] = CORE) -> list[Tuning]:
    return [Tuning(arm, level) for level in LEVELS for arm in arms]


def level_of(budget: str) -> str:
    """The level whose setting a budget of the evaluation takes."""
    return next(name for name, level in LEVELS.items() if budget in level.serves)


def retuned(problem: Problem) -> bool:
    """Whether a rate's factor is tuned anew: in the scaling cross, and for SGD, whose rates mean something else."""
    return problem in SCALING.values() or problem.optimizer != "adam"


def retuning(arm: str, problem: Problem) -> list[Job]:
    """Trials at 1e6 shots of the main problem's setting with its rate times `FACTORS`, once, at an edge or not; none
    before that setting is known.  Trials at 1e7 would double the price: there the same factor is taken."""
    main = Tuning(arm, "1e6")
    if not (retuned(problem) and main.done):
        return []
    return [_trial_job(_at_rates(main.chosen), "1e6", "rates", problem)]


def _at_rates(setting: Setting) -> list[Setting]:
    return [replace(setting, rate=setting.rate * factor) for factor in FACTORS]


def setting_of(arm: str, level: str, problem: Problem = MAIN) -> Setting | None:
    """What an arm is evaluated with; None before it is known."""
    main = Tuning(arm, level)
    if not main.done:
        return None
    if not retuned(problem):
        return main.chosen
    trials_of = retuning(arm, problem)
    if not Tuning._stored(trials_of):
        return None
    rates = [setting["rate"] for setting in trials_of[0].settings["settings"]]
    factor = FACTORS[rates.index(Tuning._scores(trials_of)[0][1].rate)]
    setting = main.chosen
    return replace(setting, rate=setting.rate * factor)


def seeds_of(problem: Problem) -> tuple[tuple[int, ...], int]:
    """Of the evaluation, and how many make a job: all of the main problem, 14 elsewhere, 8 where 8 qubits are dear."""
    if problem.memory + problem.readout == 8:
        return SEEDS[:8], 4
    return SEEDS if problem == MAIN else SEEDS[:14], 14


def evaluation(arm: str, budget: str, problem: Problem = MAIN) -> list[Job]:
    """The runs of an arm at a budget, by the setting chosen for it; none before it is."""
    setting = setting_of(arm, level_of(budget), problem)
    if setting is None:
        return []
    seeds, size = seeds_of(problem)
    size = TOGETHER.get(budget, size)
    groups = [seeds[k : k + size] for k in range(0, len(seeds), size)]
    return [_run_job(setting, budget, group, k, problem) for k, group in enumerate(groups)]


def _run_job(setting: Setting, budget: str, seeds: Sequence[int], part: int, problem: Problem) -> Job:
    limits = BUDGETS[budget]
    own = {"setting": asdict(setting), "seeds": list(seeds), "keep": True}
    seconds = _seconds(setting, limits, problem, len(seeds))
    work = as_settings(problem, limits) | own
    name = _named("run", setting.arm, budget, f"{part}", problem)
    return Job(FOLDER, name, train, work, runs=len(seeds), cost_seconds=seconds, size_bytes=6000 * len(seeds))


def cells(stage: str) -> list[tuple[Problem, str, str]]:
    """Problems, arms and budgets of a stage, without the yardsticks of the first."""
    problems = [(SCALING | REPLICATIONS)[name] for name in ELSEWHERE[stage]] if stage in ELSEWHERE else [MAIN]
    arms = SECONDARY if stage == "C" else CORE
    return [(problem, arm, budget) for budget in STAGES[stage] for problem in problems for arm in arms]


EXACT_UPDATES, EXACT_BATCH = 3000, 32

EXACT_RATES = (0.003, 0.01, 0.03, 0.1)


def yardstick_trials(arm: str) -> list[Job]:
    """Trials of the rate of an arm with exact gradients; its budget is in updates."""
    settings = [Setting(arm, rate, EXACT_BATCH) for rate in EXACT_RATES]
    own = {"settings": [asdict(setting) for setting in settings], "seeds": list(TUNING_SEEDS)}
    work = as_settings(MAIN, Budget(steps=EXACT_UPDATES)) | own
    return [Job(FOLDER, f"tune-{arm}", tune, work, runs=12, cost_seconds=300, size_bytes=3000)]


def yardstick(arm: str) -> list[Job]:
    jobs = yardstick_trials(arm)
    if not all(job.done for job in jobs):
        return []
    setting = Tuning._scores(jobs)[0][1]
    own = {"setting": asdict(setting), "seeds": list(SEEDS), "keep": True}
    work = as_settings(MAIN, Budget(steps=EXACT_UPDATES)) | own
    return [Job(FOLDER, f"run-{arm}", train, work, runs=28, cost_seconds=900, size_bytes=170_000)]


def jobs() -> Iterator[Job]:
    """All runs known so far: trials first, then the evaluation, budget by budget."""
    for tuning in tunings():
        yield from tuning.jobs
    for arm in YARDSTICKS:
        yield from yardstick_trials(arm)
        yield from yardstick(arm)
    for budget in BUDGETS:
        for arm in CORE:
            yield from evaluation(arm, budget)
    for stage in LATER:
        for problem, arm, budget in cells(stage):
            yield from Tuning(arm, budget).jobs if stage == "C" else []
            yield from retuning(arm, problem) if budget == STAGES[stage][0] else []
            yield from evaluation(arm, budget, problem)


def summary(job: Job) -> dict[str, float]:
    """The error on validation windows: of runs the geometric mean over seeds, of trials the best setting's."""
    trials_of = job.result.get("trials", [job.result])
    return {"validation": min(float(gmean(trial["validation"])) for trial in trials_of)}
