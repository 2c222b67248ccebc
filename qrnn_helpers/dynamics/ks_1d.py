"""The Kuramoto-Sivashinsky equation in one periodic space dimension.

    u_t = -u u_x - u_xx - u_xxxx,        x in [0, length)

u_xx with this sign feeds long waves (k < 1), u_xxxx damps short ones, and u u_x carries
energy from the first to the second; from length of about 13 on the result can be chaotic.
Sources: Y. Kuramoto & T. Tsuzuki (1976), G. I. Sivashinsky (1977); numerical method in
`qrnn_helpers.etdrk4`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr

from ..checks import check_integer, check_real, shown
from ..storage import package_version
from .etdrk import Etdrk4, etdrk4
from .flow import (
    Flow,
    check_memory,
    check_work,
    digits,
    given_starts,
    plain_seed,
    sample,
    steps_to_skip,
    whole_multiple,
)
from .spectral import check_points, wavenumbers

MOST_POINTS = 2**20  # the coefficients of the scheme then take about 1.5 GiB to make


@np.errstate(all="ignore")
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
        more than `MEMORY_LIMIT` bytes, `STEP_LIMIT` integrator steps or `WORK_LIMIT` of grid points
        times steps (all in `qrnn_helpers.flow`).
    FloatingPointError : the integration blew up, most likely because `step` is too large.
    """
    flow = KS1D(length, points, step)
    steps = check_integer("steps", steps, minimum=1)
    trajectories = check_integer("trajectories", trajectories, minimum=1)
    dt = check_real("dt", dt, minimum=0, exclusive=True)
    transient = check_real("transient", transient, minimum=0)
    stride, skip = whole_multiple("dt", dt, flow.step), steps_to_skip(transient, flow.step)
    _check_size(flow, trajectories, steps, skip + stride * (steps - 1), transient, dt)
    if initial is None:
        seed = plain_seed(seed)
        start = flow.random_starts(trajectories, seed)
    else:
        seed = None
        start = given_starts(initial, trajectories, flow.shape, "trajectories, points")
    samples = sample(flow, start, skip, stride, steps)
    recipe = {"length": flow.length, "points": flow.points, "dt": dt, "steps": steps}
    recipe |= {"transient": transient, "trajectories": trajectories, "step": flow.step, "seed": seed}
    return _labelled(samples, recipe, None if initial is None else start)


class KS1D(Flow):
    """The flow of `ks1d` and its linearisation, w_t = -(u w)_x - w_xx - w_xxxx, for one domain and grid.

    Tangent vectors have zero mean: the mean of u never changes, and shifting it changes the
    frame of reference only. Keeping it would add one exponent 0.
    """

    subspace = "fields of zero mean"

    def __init__(self, length: float = 22.0, points: int = 64, step: float = 0.05):
        self.length = check_real("length", length, minimum=0, exclusive=True)
        self.points = check_points(points, self.length, MOST_POINTS)
        self.step = check_real("step", step, minimum=0, exclusive=True)
        self.shape = (self.points,)

    def __repr__(self) -> str:
        return f"KS1D(length={digits(self.length)}, points={self.points}, step={digits(self.step)})"

    @cached_property
    def scheme(self) -> Etdrk4:
        k = wavenumbers(self.length, self.points)
        return etdrk4(k**2 - k**4, self.step)

    @cached_property
    def flux(self) -> np.ndarray:
        return _flux(self.length, self.points)

    @property
    def dimension(self) -> int:
        return 2 * np.count_nonzero(self.flux)

    def random_starts(self, trajectories: int, seed: int) -> np.ndarray:
        return _random_starts(self.length, self.points, trajectories, seed)

    def encode(self, pack: np.ndarray) -> np.ndarray:
        return np.fft.rfft(pack)

    def decode(self, pack: np.ndarray) -> np.ndarray:
        return np.fft.irfft(pack, self.points)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        return self.decode(np.where(self.flux != 0, self.encode(vectors), 0))

    def one_step(self, pack: np.ndarray) -> np.ndarray:
        return self.scheme.step(pack, self._nonlinear)

    def _nonlinear(self, pack: np.ndarray) -> np.ndarray:
        """-(u^2)_x / 2 for the state, -(u w)_x for vectors."""
        u = self.decode(pack)
        product = u[:, :1] * u
        product[:, 1:] *= 2
        return self.flux * self.encode(product)


def _flux(length: float, points: int) -> np.ndarray:
    """The symbol of -1/2 d/dx behind the 2/3 rule.

    The product u * u of waves up to index n reaches index 2n; what lies beyond the grid
    folds back as an error. Keeping n < points / 3 lets it fold onto dropped waves only.
    The rule drops the Nyquist wave too, whose odd derivative has no value on the grid.
    """
    k = wavenumbers(length, points)
    kept = 3 * np.arange(k.size) < points
    return np.where(kept, -0.5j * k, 0)


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


def _check_size(flow: KS1D, trajectories: int, steps: int, count: int, transient: float, dt: float) -> None:
    """Refuse before allocating: the samples and about 20 fields to work with; and what would run for days."""
    words = f"trajectories={shown(trajectories)}, steps={shown(steps)} and points={flow.points}"
    check_memory(8 * trajectories * flow.points * (steps + 20), words)
    words = f"transient={transient:g}, dt={dt:g} and steps={steps} with step={flow.step:g}"
    check_work(count, trajectories * flow.points, words)


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
