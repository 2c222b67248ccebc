"""Lyapunov exponents, by carrying tangent vectors along and making them orthogonal again and again.

Vectors carried by the linearised flow all turn towards the direction that grows fastest. Split off
by QR after every `interval`, W = Q R, the first keeps that direction, the second the fastest
growing one orthogonal to it, and so on; ln R_jj adds up to the growth of the j-th.

Source: G. Benettin, L. Galgani, A. Giorgilli and J.-M. Strelcyn, Meccanica 15 (1980) 9-30. The
dimension: J. L. Kaplan and J. A. Yorke, Lecture Notes in Mathematics 730 (1979) 204-227.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ..checks import check_array, check_bool, check_instance, check_integer, check_positive, check_real, shown
from ..storage import package_version
from .flow import Flow, check_memory, check_work, groups, plain_seed, steps_to_skip, whole_multiple

MOST_DECAY = 20.0  # of ln R_11 - ln R_jj in one interval: rounding then takes 8 of 16 digits


@np.errstate(all="ignore")
def lyapunov_exponents(
    system: Flow,
    count: int,
    *,
    trajectories: int = 8,
    time: float = 500.0,
    transient: float = 200.0,
    settle: float = 50.0,
    interval: float = 1.0,
    seed: int | np.random.Generator | None = 0,
    progress: bool = True,
) -> xr.Dataset:
    """The largest `count` Lyapunov exponents of a system, with standard errors.

    lambda_j = <ln R_jj> / interval, averaged over `time` on each of several independent trajectories;
    the estimate is the mean of these, its standard error their standard deviation over
    sqrt(trajectories). Vectors are carried by the exact derivative of the integrator's own step.
    QR puts first what grew most on this trajectory: exponents that differ by less than their spread
    over `time` come out too far apart. A longer `time` mends it, more trajectories do not.

    Parameters
    ----------
    system : `KS1D`, `KS2D` or `Lorenz`, or another `Flow`; `system.subspace` says which tangent
        vectors take part (fields of zero mean for Kuramoto-Sivashinsky).
    count : how many exponents, at most `system.dimension`.
    trajectories : two or more, for the error; each has random streams of its own.
    time : over which growth is measured on each, rounded up to whole intervals.
    transient : from the random start to the attractor, without vectors.
    settle : for which the vectors, random at first, turn into their directions before growth counts.
        Two directions part over 1 / (difference of their exponents).
    interval : between orthogonalisations, a whole multiple of `system.step`. With
        (lambda_1 - lambda_count) interval > 20 rounding would reach the last exponent.
    progress : show a bar.

    Returns
    -------
    Dataset with `exponents` and `standard_errors` on ("index",), in falling order but for noise, and
    `rates` on ("trajectory", "index"), all per unit time; `.attrs` holds what is needed to make it again.

    Raises
    ------
    TypeError, ValueError : an argument is of the wrong kind or out of bounds, `interval` is too long,
        or the work is beyond the limits of `qrnn_helpers.dynamics.flow`.
    """
    check_instance("system", system, Flow, "a KS1D, KS2D, Lorenz or another Flow")
    check_bool("progress", progress)
    count = check_integer("count", count, 1, system.dimension)
    trajectories = check_integer("trajectories", trajectories, minimum=2)
    time = check_positive("time", time)
    transient = check_real("transient", transient, minimum=0)
    settle = check_real("settle", settle, minimum=0)
    interval = check_positive("interval", interval)
    stride = whole_multiple("interval", interval, system.step)
    schedule = Schedule(
        skip=steps_to_skip(transient, system.step),
        stride=stride,
        settling=steps_to_skip(settle, stride * system.step),
        counted=max(1, steps_to_skip(time, stride * system.step)),
    )
    size = trajectories * (1 + count) * int(np.prod(system.shape))
    check_memory(8 * size * 20, f"trajectories={shown(trajectories)} and {count=}")
    words = f"{transient=:g}, {settle=:g}, {time=:g} and {interval=:g} with step={system.step:g}"
    check_work(schedule.skip + schedule.rounds * stride, size, words)
    seed = plain_seed(seed)
    rates = _rates(system, count, trajectories, schedule, seed, progress)
    facts = {"system": repr(system), "subspace": system.subspace, "step": system.step}
    recipe = {"count": count, "trajectories": trajectories, "time": time, "transient": transient, "settle": settle}
    recipe |= {"interval": interval, "seed": seed}
    return as_dataset(rates, facts | recipe | {"version": package_version()})


class Schedule(NamedTuple):
    """Steps of the integrator, and rounds between orthogonalisations."""

    skip: int
    """Steps before there are vectors."""
    stride: int
    """Steps in a round."""
    settling: int
    """Rounds before growth counts."""
    counted: int
    """Rounds whose growth counts."""

    @property
    def rounds(self) -> int:
        return self.settling + self.counted


@np.errstate(all="ignore")
def kaplan_yorke(exponents: xr.Dataset | np.ndarray) -> tuple[float, float]:
    """The Kaplan-Yorke dimension of an attractor, and its standard error.

    D = k + (lambda_1 + ... + lambda_k) / |lambda_{k+1}|, k the largest number of exponents whose sum
    is not negative: the dimension of a ball that the flow neither blows up nor shrinks. 0 if there is
    none.

    Parameters
    ----------
    exponents : what `lyapunov_exponents` returns, or an array of exponents, (index,), or of those of
        independent trajectories, (trajectory, index). Enough of them for a negative sum.

    Returns
    -------
    D of the mean exponents, and its standard error by leaving out one trajectory at a time
    (jackknife; nan from a single one).
    """
    if isinstance(exponents, xr.Dataset) and "rates" not in exponents:
        raise ValueError(f"exponents must hold rates; got a Dataset of {shown(list(exponents))}")
    given = exponents["rates"] if isinstance(exponents, xr.Dataset) else exponents
    rates = np.atleast_2d(check_array("exponents", given))
    if rates.ndim > 2:
        raise ValueError(f"exponents must be (index,) or (trajectory, index); got shape {rates.shape}")
    n = len(rates)
    dimension = _dimension(rates.mean(axis=0))
    if n == 1:
        return dimension, float("nan")
    without_one = [_dimension(mean) for mean in (rates.sum(axis=0) - rates) / (n - 1)]
    return dimension, float(np.sqrt(n - 1) * np.std(without_one))


def _rates(system: Flow, count: int, trajectories: int, schedule: Schedule, seed: int, progress: bool) -> np.ndarray:
    """Growth rates (trajectory, count), group by group of trajectories."""
    states = system.states(trajectories, schedule.skip, seed)
    vectors = _random_vectors(system, count, trajectories, seed)
    parts = list(groups(system, trajectories, count))
    growth = np.zeros((trajectories, count))
    with tqdm(total=len(parts) * schedule.rounds, disable=not progress, desc=str(system)) as bar:
        for part in parts:
            u, w = states[part], vectors[part]
            for i in range(schedule.rounds):
                u, w, logarithms = _round(system, u, w, schedule.stride)
                growth[part] += logarithms * (i >= schedule.settling)
                bar.update()
    return growth / (schedule.counted * schedule.stride * system.step)


def _round(system: Flow, states: np.ndarray, vectors: np.ndarray, stride: int) -> tuple[np.ndarray, ...]:
    """States and orthonormal vectors one interval later, and ln R_jj (trajectory, count)."""
    states, vectors = system.tangent(states, vectors, stride)
    columns = vectors.reshape(*vectors.shape[:2], -1).swapaxes(1, 2)
    q, r = np.linalg.qr(columns)
    logarithms = np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    worst = float((logarithms.max(axis=1) - logarithms.min(axis=1)).max())
    if worst > MOST_DECAY:
        raise ValueError(
            f"interval must be short enough that directions grow apart by less than exp({MOST_DECAY:g}); "
            f"got {stride * system.step:g}, in which they grew apart by exp({worst:.1f})"
        )
    return states, q.swapaxes(1, 2).reshape(vectors.shape), logarithms


def _random_vectors(system: Flow, count: int, trajectories: int, seed: int) -> np.ndarray:
    """Orthonormal vectors (trajectories, count, *shape); streams apart from those of the starts."""
    streams = np.random.SeedSequence([seed, 1]).spawn(trajectories)
    vectors = np.stack([np.random.default_rng(s).standard_normal((count, *system.shape)) for s in streams])
    return _round(system, np.zeros((trajectories, *system.shape)), vectors, 0)[1]


def _dimension(exponents: np.ndarray) -> float:
    falling = np.sort(exponents)[::-1]
    sums = np.cumsum(falling)
    if sums[-1] >= 0:
        raise ValueError(
            f"exponents must have a negative sum, or the dimension is larger than their number; got {sums[-1]:g}"
        )
    k = int(np.argmax(sums < 0))
    return k + float(sums[k - 1] / -falling[k]) if k else 0.0


def as_dataset(rates: np.ndarray, attrs: dict) -> xr.Dataset:
    """Rates (trajectory, index) with their mean and its standard error."""
    error = rates.std(axis=0, ddof=1) / np.sqrt(len(rates))
    columns = {
        "exponents": ("index", rates.mean(axis=0)),
        "standard_errors": ("index", error),
        "rates": (("trajectory", "index"), rates),
    }
    coords = {"index": np.arange(1, rates.shape[1] + 1), "trajectory": np.arange(len(rates))}
    return xr.Dataset(columns, coords, attrs)
