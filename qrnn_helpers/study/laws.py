"""Laws registered before they are tested: what a method should cost, from the gradient noise at frozen checkpoints.

1. A step -eta D g, D diagonal, g a batch's estimate of G with covariance S(B), moves the loss, to second order, by
2. -eta G'DG + eta^2/2 [G'DHDG + tr(DHD S(B))]; with the best eta the gain is
3. (G'DG)^2 / 2 [G'DHDG + tr(DHD S(B))] = gain without noise / (1 + tr(DHD S(B)) / G'DHDG).
4. If S(B) = S/B, that is 1/(1 + B_noise/B) with B_noise = tr(DHD S)/(G'DHDG) (McCandlish et al., arXiv 1812.06162).
5. Progress costs, in circuits or shots of a sample, times B, times (1 + tr(DHD S(B))/G'DHDG): an arm is taken at its
   cheapest batch, size and shots of the stated lists, and a predicted ratio is one arm's cost over SPSA's.
6. "error": D = H = 1, the gradient's squared error.  "curvature": D = 1, H the Hessian's positive part.
7. "adam": the same H, D = diag(E g^2)^(-1/2), of the arm at that batch.  "adam gain": also (G'DG)^2, which D moves.
8. S is the covariance of single samples' gradients plus that of an arm's estimate of them; to angles (or gates) a
   that is C, to weights J'CJ.  SPSA: C = [|g|^2 + gg' - 2 diag(g^2) + s^2/(2Nc^2)]/m, s^2 the variance of one shot's
   weighted readout.  In weight space one direction serves a batch: that part does not fall with B.
9. Random k of M: C = (M-k)/(k(M-1)) [M diag(g^2) - gg'] + M/k V.  Shift rule: C = V = sum c^2 s^2/N.
10. To lowest order in c; s^2 is the unshifted circuit's, over the outputs that an estimate reads; the forward pass is
    taken as exact.  With S(B) = S/B progress costs B + B_noise: the smallest batch is cheapest by the first two laws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..checks import check_one_of
from ..models import QRNN
from ..tasks import Pair
from ..training import Budget, fit
from .arms import (
    BATCHES,
    MAIN,
    SIZES,
    Problem,
    Setting,
    described,
    error,
    estimator,
    network,
    optimizer_of,
    rounded,
    task_of,
    update_circuits,
)
from .arms import CORE as ARMS
from .gradient_noise import covariances, first, hessian, identity, mean_and_covariance, positive, rademacher, slopes
from .jobs import Job

FOLDER = "laws"

LAWS = ("error", "curvature", "adam", "adam gain")

COSTS = {"circuits": (1024,), "shots": (4, 16, 64, 256, 1024)}
"""Currencies, and the shots a circuit that an arm may choose; as in the plan, only the shift rule may take 1."""

PERTURBATION = {"circuits": 0.1, "shots": 0.3}
"""c; in weight space so much less that the angles move as far."""

CELLS = (*(Problem(n, n) for n in (2, 3, 4)), *(Problem(steps=steps) for steps in (1, 2, 4, 16)))

PATHS = {"init": Setting("exact", 0.01, 16), "exact": Setting("exact", 0.01, 16)}
PATHS["spsa"] = Setting("spsa", 0.01, 8, size=8, c=0.1)
"""SPSA from exact probabilities: with drawn shots an update of eight qubits takes ten times as long."""

POINTS = (("init", 0), ("exact", 100), ("exact", 400), ("spsa", 200), ("spsa", 800))
"""Checkpoints: a path, and updates along it at a constant rate."""

WINDOWS = {4: (256, 256), 6: (96, 128), 8: (48, 64)}
"""By qubits: of the Hessian and of the arms' covariances.  Mean and covariance of gradients are of all windows."""

SECONDS = {4: 45, 6: 120, 8: 220}
"""Of a checkpoint's job by qubits, roughly, for planning; injections take about 20."""

KINDS = ("none", "isotropic", "along", "against")

OPTIMIZERS = {"adam": (0.003, 0.01, 0.03), "momentum": (0.01, 0.03, 0.1)}
"""And rates."""


@dataclass(frozen=True)
class Checkpoint:
    """Mean gradient G, covariance of samples' gradients, Hessian's positive part, pieces of the arms' covariances."""

    gradient: Tensor
    data: Tensor
    hessian: Tensor
    pieces: dict[str, Tensor]
    gates: int
    inputs: int


def noise(point: Checkpoint, arm: str, size: int, shots: int, c: float) -> tuple[Tensor, Tensor]:
    """(fixed, each): an arm's batch estimate has covariance fixed + each / B.  ``shots`` 0: none."""
    check_one_of("arm", arm, ARMS)
    part = 1 / shots if shots else 0.0
    fixed, each = torch.zeros_like(point.data), point.data.clone()
    if arm == "shift":
        return fixed, each + part * point.pieces["shift shots"]
    if arm == "coordinates":
        own = (point.gates - size) * point.pieces[arm] + part * point.pieces["coordinates shots"]
        return fixed, each + own / size
    read = part / (2 * c**2) * point.pieces[f"{arm} shots"]
    if arm == "weights":
        fixed = rademacher(torch.outer(point.gradient, point.gradient)) / size
        return fixed, each + (rademacher(point.data) + read) / size
    return fixed, each + (point.pieces[arm] + read) / size


def progress(law: str, point: Checkpoint, covariance: Tensor) -> tuple[float, float]:
    """Noise over signal tr(DHD S)/(G'DHDG) of a batch of covariance S, and the gain (up to what arms share)."""
    check_one_of("law", law, LAWS)
    g = point.gradient
    d = (g.square() + covariance.diagonal()).rsqrt() if law.startswith("adam") else torch.ones_like(g)
    metric = identity(g) if law == "error" else d[:, None] * point.hessian * d
    signal = g @ metric @ g
    ratio = ((metric * covariance).sum() / signal).item()
    best = ((g * d * g).sum().square() / signal).item() if law == "adam gain" else 1.0
    return ratio, best / (1 + ratio)


@cache
def circuits(problem: Problem, arm: str, size: int) -> int:
    """Of one sample's forward pass and estimate."""
    return update_circuits(problem, Setting(arm, 0.0, 1, 1, size, 0.1))


def cheapest(problem: Problem, point: Checkpoint, law: str, arm: str, currency: str) -> dict[str, float]:
    """An arm's best form on the lists: what progress costs (up to what arms share), and its batch, size and shots."""
    c = PERTURBATION[currency] / (point.inputs**0.5 if arm == "weights" else 1)
    sizes = [size for size in ((1,) if arm == "shift" else SIZES) if arm != "coordinates" or size <= point.gates]
    forms = []
    lowest = (1,) if (arm, currency) == ("shift", "shots") else ()
    for size, shots in product(sizes, (*lowest, *COSTS[currency])):
        fixed, each = noise(point, arm, size, shots, c)
        price = circuits(problem, arm, size) * (shots if currency == "shots" else 1)
        for batch in BATCHES:
            gain = progress(law, point, fixed + each / batch)[1]
            forms.append({"cost": price * batch / gain, "batch": batch, "size": size, "shots": shots})
    best = min(forms, key=lambda form: form["cost"])
    return best | {"cost": rounded([best["cost"]])[0]}


def trained_to(problem: Problem, path: str, updates: int, seed: int) -> QRNN:
    """The network of a checkpoint."""
    setting = PATHS[path]
    model, task = network(problem, PATHS["exact"], seed), task_of(problem, seed)
    model.layer.gradient = estimator(setting, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=setting.rate)
    if updates:
        advance(model, optimizer, task.train, problem, setting.batch, updates, seed)
    return model


def advance(
    model: QRNN, optimizer: torch.optim.Optimizer, train: Pair, problem: Problem, batch: int, updates: int, seed: int
) -> None:
    """So many updates at a constant rate."""
    fit(
        model,
        train,
        first(train, 8),  # the score is not used
        optimizer=optimizer,
        batch_size=batch,
        budget=Budget(steps=updates),
        washout=problem.washout,
        seed=seed,
        progress=False,
        schedule=None,
        validations=1,
    )


def frozen(problem: Problem, model: QRNN, train: Pair, windows: tuple[int, int]) -> tuple[Checkpoint, Tensor]:
    """All that the laws ask of a network, and the eigenvalues of the Hessian."""
    curved, noisy = (first(train, count) for count in windows)
    mean, data = mean_and_covariance(model, train, problem.washout)
    convex, values = positive(hessian(model, curved, problem.washout))
    pieces, gates = covariances(problem, model, noisy)
    return Checkpoint(mean, data, convex, pieces, gates, train[0].shape[2] + 1), values


def predict(problem: dict, path: str, updates: int, seed: int, windows: tuple[int, int]) -> dict:
    """Noise scales of data and arms (size 1, no shots, batch 1) and cheapest forms by every law, at a checkpoint."""
    given = Problem(**problem)
    model, train = trained_to(given, path, updates, seed), task_of(given, seed).train
    point, values = frozen(given, model, train, windows)
    plain = {arm: torch.stack(noise(point, arm, 1, 0, 1.0)).sum(0) for arm in ARMS}
    scales = {law: {arm: rounded([progress(law, point, plain[arm])[0]])[0] for arm in ARMS} for law in LAWS[:3]}
    forms = {
        currency: {law: {arm: cheapest(given, point, law, arm, currency) for arm in ARMS} for law in LAWS}
        for currency in COSTS
    }
    return {"scales": scales, "cheapest": forms} | facts(given, model, train, point, values)


def facts(problem: Problem, model: QRNN, train: Pair, point: Checkpoint, values: Tensor) -> dict[str, float]:
    """Loss, |G|^2, shot variance, and the spectrum of H: effective rank, participation ratio, negative part."""
    convex, concave = values.clamp_min(0), -values.clamp_max(0)
    shots = point.pieces["weights shots"][0, 0]
    numbers = {
        "loss": slopes(model, first(train, 512), problem.washout).loss,
        "square": point.gradient.square().sum().item(),
        "data": point.data.trace().item(),
        "shot variance": shots.item(),
        "trace": convex.sum().item(),
        "largest": convex.max().item(),
        "rank": (convex.sum() / convex.max()).item(),
        "participation": (convex.sum().square() / convex.square().sum()).item(),
        "negative": (concave.sum() / convex.sum()).item(),
    }
    return dict(zip(numbers, rounded(list(numbers.values())), strict=True))


def noise_root(kind: str, convex: Tensor) -> Tensor:
    """R with tr RR' = 1: RR' ~ 1 (isotropic), H+ (along), (H+ + its mean eigenvalue)^-1 (against); 0 for none."""
    check_one_of("kind", kind, KINDS)
    values, vectors = torch.linalg.eigh(convex)
    values = values.clamp_min(0)
    one = torch.ones_like(values)
    spectra = {"none": 0 * one, "isotropic": one, "along": values, "against": 1 / (values + values.mean())}
    spectrum = spectra[kind]
    return vectors * (spectrum / spectrum.sum().clamp_min(1e-300)).sqrt()


def inject(
    optimizer: torch.optim.Optimizer, model: QRNN, root: Tensor, ratio: float, generator: torch.Generator
) -> RemovableHandle:
    """Before every step add noise |g| sqrt(ratio) R z, z normal, to the encoder's g: its mean square is ratio |g|^2."""

    @torch.no_grad()
    def add() -> None:
        weight, bias = model.encoder.weight.grad, model.encoder.bias.grad
        assert weight is not None and bias is not None  # after a backward pass
        size = (ratio * (weight.square().sum() + bias.square().sum())).sqrt()
        normal = torch.randn(len(root), generator=generator, dtype=root.dtype, device=root.device)
        moved = size * (root @ normal).view(len(bias), -1)
        weight += moved[:, :-1]
        bias += moved[:, -1]

    return behind_backward(optimizer, add)


def behind_backward(optimizer: torch.optim.Optimizer, change: Callable[[], None]) -> RemovableHandle:
    """Call ``change`` between a step's gradient and the step: behind the closure, which makes the gradient, if any."""

    def before(_: torch.optim.Optimizer, given: tuple, options: dict) -> tuple[tuple, dict] | None:
        own, *closures = given
        if not closures:
            change()
            return None

        def changed() -> Tensor:
            loss = closures[0]()
            change()
            return loss

        return (own, changed), options

    return optimizer.register_step_pre_hook(before)


def injection(optimizer: str, kind: str, rate: float, seed: int, ratio: float, updates: int, refresh: int) -> dict:
    """The causal test: exact gradients with noise of one kind, H anew every ``refresh`` updates; validation errors.

    It starts after 100 updates without noise; batches of 64 windows, H of 32.
    """
    model, task = trained_to(MAIN, "exact", 100, seed), task_of(MAIN, seed)
    chosen = optimizer_of(optimizer, model.parameters(), rate)
    generator = torch.Generator("cpu").manual_seed(seed)
    errors = [error(model, task.validation)]
    for part in range(updates // refresh):
        convex, _ = positive(hessian(model, first(task.train, 32), MAIN.washout))
        handle = inject(chosen, model, noise_root(kind, convex), ratio, generator)
        advance(model, chosen, task.train, MAIN, 64, refresh, 1000 * seed + part)
        handle.remove()
        errors.append(error(model, task.validation))
    return {"validation": rounded(errors)}


def cell(problem: Problem) -> str:
    return f"{problem.memory + problem.readout}qubits-{problem.steps}steps"


def jobs() -> Iterator[Job]:
    for problem, (path, updates), seed in product(CELLS, POINTS, (0, 1)):
        windows = WINDOWS[problem.memory + problem.readout]
        given = {"problem": described(problem), "path": path, "updates": updates, "seed": seed, "windows": windows}
        yield Job(
            FOLDER,
            f"noise-{cell(problem)}-{path}{updates}-seed{seed}",
            predict,
            given,
            cost_seconds=SECONDS[problem.memory + problem.readout],
        )
    for name, kind, seed in product(OPTIMIZERS, KINDS, range(8)):
        for rate in OPTIMIZERS[name]:
            given = {"optimizer": name, "kind": kind, "rate": rate, "seed": seed, "ratio": 30.0}
            label = f"injection-{name}-{kind}-rate{rate:g}-seed{seed}"
            yield Job(FOLDER, label, injection, given | {"updates": 400, "refresh": 100}, cost_seconds=20)


def summary(job: Job) -> dict[str, float]:
    """The shift rule's cost over SPSA's by each law; or the validation error at the end."""
    result = job.result
    if job.work is injection:
        return {"validation": result["validation"][-1]}
    forms = result["cheapest"]["circuits"]
    return {law: forms[law]["shift"]["cost"] / forms[law]["spsa"]["cost"] for law in LAWS}
