"""The Kuramoto-Sivashinsky equation in one periodic space dimension.

    u_t = -u u_x - u_xx - u_xxxx,        x in [0, length)

u_xx with this sign feeds long waves (k < 1), u_xxxx damps short ones, and u u_x carries
energy from the first to the second; from length of about 13 on the result can be chaotic.
Sources: Y. Kuramoto & T. Tsuzuki (1976), G. I. Sivashinsky (1977); numerical method in
`qrnn_helpers.etdrk4`.
"""

import numpy as np
import xarray as xr

from qrnn_helpers.checks import check_array, check_integer, check_real, shown
from qrnn_helpers.etdrk4 import Etdrk4, etdrk4
from qrnn_helpers.provenance import package_version

MEMORY_LIMIT = 2 * 2**30  # bytes; a reader's laptop or a Binder session holds this
STEP_LIMIT = 10**8  # integrator steps, some hours on a laptop
FINEST = 1e50  # points for each unit of length: fourth powers of wavenumbers stay finite
COARSEST = 0.8  # grid spacing: the energy at length 22 is right at 0.79, 3 % off at 0.92


def ks1d(
    length: float = 22.0,
    points: int = 64,
    *,
    dt: float = 0.25,
    steps: int = 2000,
    transient: float = 500.0,
    trajectories: int = 1,
    step: float = 0.05,
    seed: int | np.random.Generator | None = 0,
    initial: np.ndarray | None = None,
) -> xr.DataArray:
    """Trajectories of u_t = -u u_x - u_xx - u_xxxx, periodic in x.

    Parameters
    ----------
    length : size of the domain; it is the only parameter of the equation.
    points : number of grid points, even, at least 16, no further apart than `COARSEST`.
    dt : time between samples, a whole multiple of `step`.
    steps : number of samples in each trajectory.
    transient : time to pass before the first sample, rounded up to whole steps.
    trajectories : how many; each has a random stream of its own, so that trajectory i
        does not depend on how many are made.
    step : time step of the integrator; the error is of fourth order for step <= 1/16.
    seed : int, NumPy generator or None, for the random starts of zero mean.
    initial : starts to use instead, (trajectories, points), each keeping its own mean.

    Returns
    -------
    DataArray, float64, dims ("trajectory", "time", "x"); time counts from the first sample.
    All quantities are dimensionless. `.attrs` holds what is needed to make it again;
    given starts are kept in the coordinate `start`.

    Raises
    ------
    TypeError, ValueError : an argument is of the wrong kind, out of bounds, or asks for
        more than `MEMORY_LIMIT` bytes or `STEP_LIMIT` integrator steps.
    FloatingPointError : the integration blew up, most likely because `step` is too large.
    """
    length = check_real("length", length, minimum=0, exclusive=True)
    points = _check_points(points, length)
    steps = check_integer("steps", steps, minimum=1)
    trajectories = check_integer("trajectories", trajectories, minimum=1)
    step = check_real("step", step, minimum=0, exclusive=True)
    dt = check_real("dt", dt, minimum=0, exclusive=True)
    transient = check_real("transient", transient, minimum=0)
    stride, skip = _whole_multiple(dt, step), _steps_to_skip(transient, step)
    _check_memory(trajectories, steps, points)
    _check_work(skip, stride, steps, f"transient={transient:g}, dt={dt:g} and steps={steps} with step={step:g}")
    if initial is None:
        seed = _plain_seed(seed)
        start = _random_starts(length, points, trajectories, seed)
    else:
        seed = None
        start = _given_starts(initial, trajectories, points)
    samples = _integrate(start, length, step, skip, stride, steps)
    recipe = {"length": length, "points": points, "dt": dt, "steps": steps}
    recipe |= {"transient": transient, "trajectories": trajectories, "step": step, "seed": seed}
    return _labelled(samples, recipe, None if initial is None else start)


def wavenumbers(length: float, points: int) -> np.ndarray:
    """Angular wavenumbers k = 2 pi n / length of `numpy.fft.rfft`, (points // 2 + 1,)."""
    return 2 * np.pi / length * np.arange(points // 2 + 1)


def _flux(length: float, points: int) -> np.ndarray:
    """The symbol of -1/2 d/dx behind the 2/3 rule.

    The product u * u of waves up to index n reaches index 2n; what lies beyond the grid
    folds back as an error. Keeping n < points / 3 lets it fold onto dropped waves only.
    The rule drops the Nyquist wave too, whose odd derivative has no value on the grid.
    """
    k = wavenumbers(length, points)
    kept = 3 * np.arange(k.size) < points
    return np.where(kept, -0.5j * k, 0)


def _integrate(start: np.ndarray, length: float, step: float, skip: int, stride: int, steps: int) -> np.ndarray:
    """Samples (trajectory, steps, points): skip `skip` steps, then keep one in `stride`."""
    points = start.shape[1]
    k = wavenumbers(length, points)
    flux, scheme = _flux(length, points), etdrk4(k**2 - k**4, step)
    samples = np.empty((start.shape[0], steps, points))
    with np.errstate(over="ignore", invalid="ignore"):
        v = _advance(np.fft.rfft(start), scheme, flux, skip, 0, step)
        samples[:, 0] = start if skip == 0 else np.fft.irfft(v, points)
        for i in range(1, steps):
            v = _advance(v, scheme, flux, stride, skip + (i - 1) * stride, step)
            samples[:, i] = np.fft.irfft(v, points)
    return samples


def _advance(v: np.ndarray, scheme: Etdrk4, flux: np.ndarray, count: int, done: int, step: float) -> np.ndarray:
    """`count` steps from the spectrum `v`; raises if the field has become infinite."""
    points = 2 * (v.shape[1] - 1)

    def nonlinear(spectrum: np.ndarray) -> np.ndarray:
        return flux * np.fft.rfft(np.fft.irfft(spectrum, points) ** 2)

    for _ in range(count):
        v = scheme.step(v, nonlinear)
    if not np.isfinite(v).all():
        raise FloatingPointError(
            f"the integration blew up before t = {(done + count) * step:g} with step={step:g}: "
            "take a smaller step (0.05 is usual), or a smaller initial field"
        )
    return v


def _random_starts(length: float, points: int, trajectories: int, seed: int) -> np.ndarray:
    """Random sums of the waves that grow, at least four, of zero mean and variance about 1.

    Their number does not depend on `points`: a finer grid sees the same field.
    """
    waves = max(4, int(length / (2 * np.pi)))
    phase = 2 * np.pi / points * np.outer(np.arange(1, waves + 1), np.arange(points))
    basis = np.concatenate([np.cos(phase), np.sin(phase)]) / np.sqrt(waves)
    streams = np.random.SeedSequence(seed).spawn(trajectories)
    # One product for each trajectory: a joint one may round differently with their number.
    return np.stack([np.random.default_rng(s).standard_normal(2 * waves) @ basis for s in streams])


def _plain_seed(seed: int | np.random.Generator | None) -> int:
    """An integer that makes the same starts again; a generator moves on by one draw."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63 - 1))
    if seed is None:
        return int(np.random.default_rng().integers(2**63 - 1))
    return check_integer("seed", seed, 0, 2**63 - 1, ", a numpy.random.Generator or None")


def _given_starts(initial: object, trajectories: int, points: int) -> np.ndarray:
    """`initial` as finite float64 (trajectories, points)."""
    start = check_array("initial", initial)
    if start.shape != (trajectories, points):
        raise ValueError(
            f"initial must have shape (trajectories, points) = {(trajectories, points)}; got {start.shape}"
        )
    return np.array(start)  # `initial` may change later


def _check_points(points: object, length: float) -> int:
    """An even number of points, fine enough that some waves are damped."""
    number = check_integer("points", points, minimum=16, maximum=MEMORY_LIMIT // 8)
    if number % 2:
        raise ValueError(f"points must be even; got {number}")
    if length / number > COARSEST:
        raise ValueError(
            f"points must be at least {int(np.ceil(length / COARSEST))} for length={length:g}: "
            f"a spacing of at most {COARSEST:g}, or the damped waves are missing; got {number}"
        )
    if number / length > FINEST:
        raise ValueError(f"length must be at least {number / FINEST:g} for points={number}; got {length:g}")
    return number


def _whole_multiple(dt: float, step: float) -> int:
    """dt / step, which must be a whole number but for rounding."""
    ratio = dt / step
    stride = round(ratio) if np.isfinite(ratio) else 0
    if stride < 1 or abs(ratio - stride) > 1e-9 * stride:
        raise ValueError(f"dt must be a whole multiple of step={step:g}; got {dt:g}")
    return stride


def _steps_to_skip(transient: float, step: float) -> int:
    """Whole steps that cover `transient`, forgiving the rounding of the division."""
    ratio = transient / step
    return int(np.ceil(ratio * (1 - 1e-12))) if np.isfinite(ratio) else STEP_LIMIT + 1


def _check_memory(trajectories: int, steps: int, points: int) -> None:
    """Refuse before allocating: the samples, and about 20 fields to work with."""
    needed = 8 * trajectories * points * (steps + 20)
    if needed > MEMORY_LIMIT:
        raise ValueError(
            f"trajectories={shown(trajectories)}, steps={shown(steps)} and points={shown(points)} would need "
            f"{shown(needed)} bytes; at most {MEMORY_LIMIT} are allowed: ask for fewer"
        )


def _check_work(skip: int, stride: int, steps: int, words: str) -> None:
    """Refuse what would run for days."""
    needed = skip + stride * (steps - 1)
    if needed > STEP_LIMIT:
        raise ValueError(f"{words} would need at least {needed} integrator steps; at most {STEP_LIMIT} are allowed")


def _labelled(samples: np.ndarray, recipe: dict, start: np.ndarray | None) -> xr.DataArray:
    """The samples with coordinates and with the recipe in `.attrs`."""
    coords = {
        "trajectory": np.arange(recipe["trajectories"]),
        "time": np.arange(recipe["steps"]) * recipe["dt"],
        "x": np.arange(recipe["points"]) * (recipe["length"] / recipe["points"]),
    }
    if start is not None:
        coords["start"] = (("trajectory", "x"), start)
    equation = "u_t = -u u_x - u_xx - u_xxxx, periodic"
    attrs = {"long_name": "u", "made_by": "qrnn_helpers.ks1d", "equation": equation} | recipe
    attrs |= {"initial": "random" if start is None else "given", "version": package_version()}
    attrs["method"] = "ETDRK4, 2/3 dealiasing"
    return xr.DataArray(samples, coords, ("trajectory", "time", "x"), name="u", attrs=attrs)
