"""Is training worth its cost? (chapter 26): the circuits as drawn, with a fitted readout and nothing else.

1. What a step's outcomes know of earlier inputs (`capacities`): Jaeger's short-term memory (GMD Report 152, 2001) and
   its quadratic part (Dambre et al., Sci. Rep. 2 (2012) 514), by memory qubits, noise, shots and steps since the start.
2. How two memory states become one (`fading`), beside the second eigenvalue of the channel of a step.
3. The patch forecast (`forecasts`) and the observer (`observed`) by untrained circuits and a ridge readout.

The rule of comparison for 3, fixed before there were records:

- A reservoir of a seed has the encoder, the windows and the circuit that the trained network of the seed starts with.
- It may spend B shots: one pass over min(4096, B) training windows, equally many shots each.  Its readout sees the
  outcomes of the last step, as a trained network's decoder does (``last``).  Encoder gain and penalty are chosen by the
  validation windows of the study's tuning seeds with exact probabilities, as the settings of the trained arms were;
  neither side is charged for that, and the reservoir has no more trials (30) than an arm has (33).
- Primary: test NRMSE by exact probabilities beside SPSA with fresh directions at the same total of shots, paired over
  the study's 28 seeds, for each rung of its ladder.  SPSA is better at a rung where the 95 % t interval of the mean log
  ratio lies below 0, the reservoir where it lies above.  Training pays from the first rung on from which SPSA is better
  at it and all later ones; the crossing in between is `statistics.crossing`.
- Beside it, without a say in the verdict: the other arms; the reservoir as drawn (gain 1); readouts of all steps
  (``all``), which a trained network does not get; more qubits; the other circuit; reading with shots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

import numpy as np
import torch
from scipy.stats import gmean
from torch import Tensor

from ..backends import Backend, ExactBackend, MomentBackend, NoisyBackend, SimpleNoise
from ..baselines import grid, in_pieces
from ..models import QRNN
from ..simulation import StepProgram
from ..tasks import PARTS, nrmse, score
from ..training import ridge_readout
from . import observers
from .arms import MAIN, STEPS, WINDOWS, Problem, Setting, described, network, rounded, task_of
from .jobs import Job
from .plan import SEEDS, TUNING_SEEDS

FOLDER = "reservoir"

CIRCUITS = ("rotation", "two_way")

MEMORIES, READOUT = (1, 2, 3, 4), 2

NOISES: dict[str, dict[str, float]] = {
    **{f"depolarising-{p:g}": {"two_qubit": p} for p in (0.03, 0.1)},
    **{f"readout-{p:g}": {"readout": p} for p in (0.1,)},
    **{f"reset-{p:g}": {"reset": p} for p in (0.1,)},
    **{f"relaxation-{r:g}": {"t1": 1 / r, "measure_time": 1.0} for r in (0.03, 0.1, 0.3)},
}
"""Rates of a `SimpleNoise`; relaxation: of the memory while the readout is measured, 1 / T1 in units of that time."""

DRIVEN_SEEDS, DRIVEN_WINDOWS, DRIVEN_STEPS = tuple(range(8)), 800, 16

READ_AT = (4, 8, 16)
"""Steps since the start whose outcomes are asked for earlier inputs."""

READ_SHOTS = (None, 10_000, 1_000, 100)
"""Shots of a window; None: exact probabilities."""

FADING_SEEDS, FADING_STEPS = tuple(range(16)), 80

FADING_MOST = 3
"""Memory qubits whose channels, 4**m on a side, have their eigenvalues taken at every step."""

FADING_NOISES = ("depolarising-0.1", "reset-0.1", "relaxation-0.1")

LEAST = 1e-10
"""Trace distances below this are rounding."""

GAINS, PENALTIES = (0.1, 0.25, 0.5, 1.0, 2.0), (1e-8, 1e-6, 1e-4, 1e-2, 1e-1, 1.0)

LADDER = (10**3, 10**4, 10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7, 409_600_000, None)
"""Shots in all; the last number is the study's 400,000 circuits of 1,024 shots; None: exact probabilities."""

READOUTS = ("last", "all", "drawn")
"""Outcomes of the last step; of all steps; of the last step, the encoder's gain 1."""

SIZES = {
    MAIN: (SEEDS, LADDER),
    Problem(circuit="two_way"): (SEEDS[:12], (10**5, 10**6, 10**7, None)),
    Problem(3, 3): (SEEDS[:12], (10**5, 10**6, 10**7, None)),
    Problem(4, 4): (SEEDS[:8], (None,)),
}
"""Patch forecasts: their seeds and totals of shots."""

OBSERVING = ("circuit", "exchanging circuit")

OBSERVER_SEEDS, OBSERVER_SHOTS = tuple(range(8)), (16, 256, None)
"""Shots of a window."""


# --- memory capacity ----------------------------------------------------------------------


def capacity(features: Tensor, targets: Tensor, noise: Tensor | None = None) -> Tensor:
    """Share of each target's variance that the best linear readout of the features explains, without bias.

    Features (n, F) and targets (n, K) of n independent samples; ``noise`` (F, F) is the covariance of what comes on top
    of the features and knows nothing of the targets, such as shots.  With the covariances G of the features and c with
    a target, A = G + noise, the explained share is c^T A^-1 c / var.  Features that know nothing would have
    b = tr(A^-1 G) / (n - 1) of it by chance: (share - b) / (1 - b), the adjusted R^2, is 0 for them in the mean.
    All targets that are orthogonal to each other have at most the capacity F together (Dambre et al. 2012).
    """
    count = len(features)
    spread = features - features.mean(0)
    wanted = targets - targets.mean(0)
    gram = spread.T @ spread / count
    right = spread.T @ wanted / count
    inverse = torch.linalg.pinv(gram if noise is None else gram + noise, rtol=1e-10, hermitian=True)
    share = (right * (inverse @ right)).sum(0) / wanted.square().mean(0)
    chance = (inverse * gram).sum() / (count - 1)
    return (share - chance) / (1 - chance)


def shot_noise(p: Tensor, shots: int | None) -> Tensor | None:
    """Covariance that frequencies of so many shots add to outcomes p (n, R): <diag(p) - p p^T> / shots."""
    if shots is None:
        return None
    return (torch.diag(p.mean(0)) - p.T @ p / len(p)) / shots


def linear_targets(u: Tensor) -> Tensor:
    """u_t, u_t-1, ... of inputs (n, t): the present one first."""
    return u.flip(1)


def quadratic_targets(u: Tensor) -> Tensor:
    """Legendre's P_2 of each input, the present one first, and the products of any two.

    They are orthogonal for inputs uniform within +-sqrt(3)."""
    squares = (linear_targets(u).square() - 1) / 2
    pairs = [u[:, i] * u[:, j] for i, j in combinations(range(u.shape[1]), 2)]
    return torch.cat([squares, torch.stack(pairs, 1)], 1)


def backend_of(noise: dict) -> ExactBackend:
    return NoisyBackend(SimpleNoise(**noise)) if noise else ExactBackend()


def driven(backend: Backend, program: StepProgram, angles: Tensor, state: Tensor | None = None) -> Iterator[tuple]:
    """Outcomes (n, R) and memory states (n, M, M) of each step, for angles (n, time, P)."""
    for now in program.gate_angles(angles).split(1, dim=1):
        p, state = backend.run(program, now, state)
        yield p[:, 0], state


def drawn_inputs(count: int, steps: int, seed: int) -> Tensor:
    """Independent inputs (count, steps) of unit variance, uniform."""
    generator = torch.Generator("cpu").manual_seed(seed)
    uniform = torch.rand(count, steps, generator=generator, dtype=torch.float64, device="cpu")
    return 3**0.5 * (2 * uniform - 1)


def untrained(circuit: str, memory: int, seed: int) -> QRNN:
    """An untrained network of one input."""
    return QRNN(1, 1, STEPS[circuit](memory, READOUT), dtype=torch.float64, seed=seed)


@torch.no_grad()
def capacities(circuit: str, memory: int, noise: dict, seeds: Sequence[int], windows: int, steps: int) -> dict:
    """Of every reservoir: capacities (seeds, steps asked, shots, ...) and the purity of the memory (seeds, steps)."""
    found: dict[str, list] = {"linear": [], "quadratic": [], "purity": []}
    for seed in seeds:
        model = untrained(circuit, memory, seed)
        u = drawn_inputs(windows, steps, 1000 + seed)
        runs = driven(backend_of(noise), model.layer.program, model.encoder(u[..., None]))
        each, purity = [], []
        for t, (p, rho) in enumerate(runs, 1):
            purity.append(float(rho.abs().square().sum((1, 2)).mean()))
            if t in READ_AT:
                each.append([known(p[:, :-1], u[:, :t], shots) for shots in READ_SHOTS])
        for place, name in enumerate(("linear", "quadratic")):
            found[name].append([[rounded(values[place]) for values in row] for row in each])
        found["purity"].append(rounded(purity))
    return found


def known(p: Tensor, u: Tensor, shots: int | None) -> tuple[list[float], list[float]]:
    """Linear capacities by delay, 0 first; quadratic ones of the present input alone, and all others together."""
    noise = shot_noise(p, shots)
    linear, quadratic = (capacity(p, targets(u), noise) for targets in (linear_targets, quadratic_targets))
    return linear.tolist(), [float(quadratic[0]), float(quadratic[1:].sum())]


# --- fading memory ------------------------------------------------------------------------


def spanning_states(size: int) -> Tensor:
    """size**2 pure states, density matrices (size**2, size, size), of which every Hermitian matrix is a sum."""
    basis = torch.eye(size, dtype=torch.complex128, device="cpu")
    pairs = list(combinations(range(size), 2))
    vectors = [*basis, *(basis[i] + basis[j] for i, j in pairs), *(basis[i] + 1j * basis[j] for i, j in pairs)]
    states = torch.stack([torch.outer(v, v.conj()) for v in vectors])
    return states / states.diagonal(dim1=1, dim2=2).sum(1).real[:, None, None]


@torch.no_grad()
def channels(backend: Backend, program: StepProgram, angles: Tensor) -> Tensor:
    """Matrices (n, M**2, M**2) of the channel of a step on row-wise vectors of rho, for angles (n, P)."""
    states = spanning_states(2**program.memory)
    count = len(states)
    gate_angles = program.gate_angles(angles.repeat_interleave(count, 0)[:, None])
    _, after = backend.run(program, gate_angles, states.repeat(len(angles), 1, 1))
    assert after is not None
    images = after.flatten(1).unflatten(0, (len(angles), count))  # rows are images of rows
    return torch.linalg.solve(states.flatten(1), images).mT


def second_eigenvalues(matrices: Tensor) -> Tensor:
    """The largest |eigenvalue| beside the 1 that belongs to the trace, of each channel."""
    return torch.linalg.eigvals(matrices).abs().sort(descending=True)[0][..., 1]


def starting_pairs(count: int, size: int, seed: int) -> Tensor:
    """Pairs of random pure states, (2, count, size, size)."""
    generator = torch.Generator("cpu").manual_seed(seed)
    vectors = torch.randn(2, count, size, 1, generator=generator, dtype=torch.complex128, device="cpu")
    vectors = vectors / vectors.norm(dim=2, keepdim=True)
    return vectors @ vectors.mH


@torch.no_grad()
def fading(circuit: str, memory: int, noise: dict, seeds: Sequence[int], steps: int) -> dict:
    """Of every reservoir, driven by one input alone and by drawn ones: the trace distance of two memories that begin
    apart and the total variation of their outcomes, by steps, and the second eigenvalues of the steps."""
    models = [untrained(circuit, memory, seed) for seed in seeds]
    program, backend = models[0].layer.program, backend_of(noise)
    inputs = {"constant": torch.zeros(len(seeds), steps, dtype=torch.float64, device="cpu")}
    inputs["drawn"] = drawn_inputs(len(seeds), steps, 0)
    found = {}
    for name, u in inputs.items():
        angles = torch.stack([model.encoder(row[:, None]) for model, row in zip(models, u, strict=True)])
        pairs = starting_pairs(len(seeds), 2**program.memory, 1)
        distances, readouts = [trace_distance(pairs)], []
        for p, states in driven(backend, program, angles.repeat(2, 1, 1), pairs.flatten(0, 1)):
            distances.append(trace_distance(states.unflatten(0, (2, -1))))
            readouts.append((p[: len(seeds)] - p[len(seeds) :]).abs().sum(1) / 2)
        each = angles[:, :1] if name == "constant" else angles
        eigen = torch.stack([second_eigenvalues(channels(backend, program, now)) for now in each.unbind(1)], 1)
        columns = {"distance": torch.stack(distances, 1), "readout": torch.stack(readouts, 1), "eigenvalue": eigen}
        found[name] = {key: [rounded(row) for row in values.tolist()] for key, values in columns.items()}
    return found


def trace_distance(pair: Tensor) -> Tensor:
    """Half the trace norm of the difference of states (2, n, M, M)."""
    return torch.linalg.eigvalsh(pair[0] - pair[1]).abs().sum(1) / 2


def decay(distances: Sequence[float]) -> float:
    """The factor of a step, from the second half of the steps before a distance is lost in rounding."""
    last = int(np.argmax(np.append(distances, 0.0) < LEAST)) - 1
    first = last // 2
    return float((distances[last] / distances[first]) ** (1 / (last - first)))


# --- tasks --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """Outcomes of windows: probabilities (windows, steps, R), and those of one drawn shot of every window."""

    exact: Tensor
    shot: Tensor

    def by(self, shots: int | None, windows: int | None = None) -> Tensor:
        """What so many shots of each of the first windows read: mean and covariance over all steps are exact.

        As in `MomentBackend`, which says what is not.  All numbers of shots follow the same drawn shot.
        """
        exact, shot = self.exact[:windows], self.shot[:windows]
        return exact if shots is None else exact + (shot - exact) / shots**0.5


def outcomes(model: QRNN, x: Tensor, seed: int) -> Read:
    program = model.layer.program

    def through(backend: Backend) -> Tensor:
        read = in_pieces(lambda windows: backend.run(program, program.gate_angles(model.encoder(windows)))[0])
        return read(x).double()

    one = MomentBackend(1, seed, torch.complex64, true_forward=False)
    return Read(through(ExactBackend(torch.complex64)), through(one))


def amplified(model: QRNN, gain: float) -> QRNN:
    """A network whose encoder's weights are ``gain`` times as large."""
    with torch.no_grad():
        model.encoder.weight.mul_(gain)
    return model


@cache
def forecast_read(problem: Problem, seed: int, gain: float, part: str) -> Read:
    """Outcomes of the network that training with this seed begins with, its encoder amplified."""
    model = amplified(network(problem, Setting("exact", 0.03, 1), seed), gain)
    x, _ = getattr(task_of(problem, seed), part)
    return outcomes(model, x, shot_seed(seed, PARTS.index(part)))


def shot_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def shared(total: int | None) -> tuple[int, int | None]:
    """Training windows, and shots of each, of a total."""
    windows = WINDOWS[0] if total is None else min(WINDOWS[0], total)
    return windows, None if total is None else total // windows


def seen(p: Tensor, readout: str) -> Tensor:
    """What a readout of `READOUTS` sees of outcomes (windows, steps, R)."""
    return p.flatten(1) if readout == "all" else p[:, -1]


def forecast_errors(problem: Problem, seed: int, total: int | None, readout: str, setting: dict, part: str) -> list:
    """NRMSE of the last step of a part, by exact probabilities and as read with the shots of a training window."""
    gain, (windows, shots) = setting["gain"], shared(total)
    task = task_of(problem, seed)
    rows = seen(forecast_read(problem, seed, gain, "train").by(shots, windows), readout)
    weights, offset = ridge_readout(rows, task.train[1][:windows, -1], setting["penalty"], correction=0)
    truth = getattr(task, part)[1][:, -1]
    read = forecast_read(problem, seed, gain, part)
    return [nrmse(seen(read.by(n), readout) @ weights.T + offset, truth) for n in (None, shots)]


def chosen(problem: Problem, total: int | None, readout: str, seeds: Sequence[int]) -> dict:
    """The gain and penalty with the smallest validation error, geometric mean over the tuning seeds."""
    settings = grid(gain=(1.0,) if readout == "drawn" else GAINS, penalty=PENALTIES)

    def trial(setting: dict, seed: int) -> float:
        return forecast_errors(problem, seed, total, readout, setting, "validation")[0]

    errors = [float(gmean([trial(setting, seed) for seed in seeds])) for setting in settings]
    best = int(np.argmin(errors))
    return settings[best] | {"validation": errors[best]}


@torch.no_grad()
def forecasts(problem: dict, totals: Sequence[int | None], seeds: Sequence[int], tuning: Sequence[int]) -> dict:
    """For every readout and total of shots: the setting, and test NRMSE by seed, by exact probabilities and as read
    with the shots of a training window."""
    given = Problem(**problem)
    found: dict[str, list[dict]] = {readout: [] for readout in READOUTS}
    for readout, total in product(READOUTS, totals):
        setting = chosen(given, total, readout, tuning)
        errors = [forecast_errors(given, seed, total, readout, setting, "test") for seed in seeds]
        exact, read = (rounded(list(column)) for column in zip(*errors, strict=True))
        windows, shots = shared(total)
        cost = {"total": total, "windows": windows, "shots": shots}
        found[readout].append(cost | {"setting": setting, "exact": exact, "read": read})
    return found


@cache
def observer_read(kind: str, seed: int, gain: float, part: str) -> Read:
    x, y = getattr(observers.cells("1d-4"), part)
    model = QRNN(x.shape[2], y.shape[2], observers.step_of(kind), dtype=torch.float64, seed=seed)
    return outcomes(amplified(model, gain), x, shot_seed(seed, PARTS.index(part)))


def observer_error(kind: str, seed: int, shots: int | None, setting: dict, part: str) -> float:
    """NRMSE of a part by exact probabilities; the readout sees outcomes, by so many shots of each training window, and
    inputs, as a trained circuit and its linear path do."""
    task = observers.cells("1d-4")
    learnt = slice(task.lags - 1, None)
    x, y = task.train
    rows = torch.cat([observer_read(kind, seed, setting["gain"], "train").by(shots), x], -1)[:, learnt].flatten(0, 1)
    weights, offset = ridge_readout(rows, y[:, learnt].flatten(0, 1), setting["penalty"], correction=0)
    read = observer_read(kind, seed, setting["gain"], part).exact
    return score(task, lambda x: torch.cat([read, x], -1) @ weights.T + offset, part)


@torch.no_grad()
def observed(kind: str, shots: Sequence[int | None], seeds: Sequence[int], tuning: int) -> dict:
    """The 1-D observer of chapter 14 with four sensors: the setting that is best on the validation part, test NRMSE."""
    windows = len(observers.cells("1d-4").train[0])
    settings = grid(gain=GAINS, penalty=PENALTIES)
    rows = []
    for each in shots:
        errors = [observer_error(kind, tuning, each, setting, "validation") for setting in settings]
        best = int(np.argmin(errors))
        test = [observer_error(kind, seed, each, settings[best], "test") for seed in seeds]
        row = {"shots": each, "total": each and each * windows, "setting": settings[best], "validation": errors[best]}
        rows.append(row | {"test": rounded(test)})
    return {"windows": windows, "rows": rows}


# --- jobs ---------------------------------------------------------------------------------


def capacity_job(circuit: str, memory: int = 2, noise: str = "none") -> Job:
    given = {"circuit": circuit, "memory": memory, "noise": NOISES.get(noise, {}), "seeds": DRIVEN_SEEDS}
    given |= {"windows": DRIVEN_WINDOWS, "steps": DRIVEN_STEPS}
    name = f"capacity-{circuit}-{memory}-{noise}"
    return Job(FOLDER, name, capacities, given, cost_seconds=6 if given["noise"] else 2)


def fading_job(circuit: str, memory: int = 2, noise: str = "none") -> Job:
    given = {"circuit": circuit, "memory": memory, "noise": NOISES.get(noise, {}), "seeds": FADING_SEEDS}
    given |= {"steps": FADING_STEPS}
    return Job(FOLDER, f"fading-{circuit}-{memory}-{noise}", fading, given, cost_seconds=4)


def forecast_job(problem: Problem) -> Job:
    seeds, totals = SIZES[problem]
    given = {"problem": described(problem), "totals": totals, "seeds": seeds, "tuning": TUNING_SEEDS}
    name = f"forecast-{problem.circuit}-{problem.memory + problem.readout}qubits"
    return Job(FOLDER, name, forecasts, given, cost_seconds={2: 40, 3: 30, 4: 150}[problem.memory])


def observer_job(kind: str) -> Job:
    given = {"kind": kind, "shots": OBSERVER_SHOTS, "seeds": OBSERVER_SEEDS, "tuning": 100}
    return Job(FOLDER, f"observer-{kind.replace(' ', '-')}", observed, given, cost_seconds=60)


def jobs() -> Iterator[Job]:
    cells = [(circuit, memory, "none") for circuit in CIRCUITS for memory in MEMORIES]
    cells += [(circuit, 2, noise) for circuit in CIRCUITS for noise in NOISES]
    yield from (capacity_job(*cell) for cell in cells)
    yield from (fading_job(*cell) for cell in cells if cell[1] <= FADING_MOST and cell[2] in ("none", *FADING_NOISES))
    yield from map(forecast_job, SIZES)
    yield from map(observer_job, OBSERVING)


def summary(job: Job) -> dict[str, float]:
    """A number or two of a job's result."""
    if job.work is capacities:
        return {"memory": float(np.mean([rows[-1][0][1:] for rows in job.result["linear"]], 0).sum())}
    if job.work is fading:
        return {"decay": float(np.median([decay(row) for row in job.result["constant"]["distance"]]))}
    if job.work is forecasts:
        return {"test": float(gmean(job.result["last"][-1]["exact"]))}
    return {"test": float(np.mean(job.result["rows"][-1]["test"]))}
