"""The Kuramoto-Sivashinsky equation in one periodic space dimension.

    u_t = -u u_x - u_xx - u_xxxx,        x in [0, length)

u_xx with this sign feeds long waves (k < 1), u_xxxx damps short ones, and u u_x carries
energy from the first to the second; from length of about 13 on the result can be chaotic.
Sources: Y. Kuramoto & T. Tsuzuki (1976), G. I. Sivashinsky (1977); numerical method in
`qrnn_helpers.dynamics.etdrk4`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr

from .etdrk import Etdrk4, etdrk4
from .spectral import PeriodicFlow, wavenumbers

MOST_POINTS = 2**20  # the coefficients of the scheme then take about 1.5 GiB to make


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
        more than `DATA_LIMIT` bytes, `STEP_LIMIT` integrator steps or `WORK_LIMIT` of grid points
        times steps (all in `qrnn_helpers.dynamics.flow`).
    FloatingPointError : the integration blew up, most likely because `step` is too large.
    """
    return KS1D(length, points, step).trajectories(
        dt=dt, steps=steps, transient=transient, trajectories=trajectories, seed=seed, initial=initial
    )


class KS1D(PeriodicFlow):
    """The flow of `ks1d` and its linearisation, w_t = -(u w)_x - w_xx - w_xxxx, for one domain and grid.

    Tangent vectors have zero mean: the mean of u never changes, and shifting it changes the
    frame of reference only. Keeping it would add one exponent 0.
    """

    maker = "ks1d"
    name = long_name = "u"
    equation = "u_t = -u u_x - u_xx - u_xxxx, periodic"
    dims = ("x",)
    most_points = MOST_POINTS

    def __init__(self, length: float = 22.0, points: int = 64, step: float = 0.05):
        super().__init__(length, points, step)

    @cached_property
    def scheme(self) -> Etdrk4:
        k = wavenumbers(self.length, self.points)
        return etdrk4(k**2 - k**4, self.step)

    @cached_property
    def flux(self) -> np.ndarray:
        """The symbol of -1/2 d/dx behind the 2/3 rule.

        The product u * u of waves up to index n reaches index 2n; what lies beyond the grid
        folds back as an error. Keeping n < points / 3 lets it fold onto dropped waves only.
        The rule drops the Nyquist wave too, whose odd derivative has no value on the grid.
        """
        k = wavenumbers(self.length, self.points)
        return np.where(3 * np.arange(k.size) < self.points, -0.5j * k, 0)

    @property
    def kept(self) -> np.ndarray:
        return self.flux != 0

    @property
    def dimension(self) -> int:
        return 2 * int(np.count_nonzero(self.flux))

    def random_starts(self, trajectories: int, seed: int) -> np.ndarray:
        """Random sums of the waves that grow, at least four, of zero mean and variance about 1.

        Their number does not depend on `points`: a finer grid sees the same field.
        """
        waves = max(4, int(self.length / (2 * np.pi)))
        phase = 2 * np.pi / self.points * np.outer(np.arange(1, waves + 1), np.arange(self.points))
        basis = np.concatenate([np.cos(phase), np.sin(phase)]) / np.sqrt(waves)
        streams = np.random.SeedSequence(seed).spawn(trajectories)
        # One product for each trajectory: a joint one may round differently with their number.
        return np.stack([np.random.default_rng(s).standard_normal(2 * waves) @ basis for s in streams])

    def encode(self, pack: np.ndarray) -> np.ndarray:
        return np.fft.rfft(pack)

    def decode(self, pack: np.ndarray) -> np.ndarray:
        return np.fft.irfft(pack, self.points)

    def one_step(self, pack: np.ndarray) -> np.ndarray:
        return self.scheme.step(pack, self._nonlinear)

    def _nonlinear(self, pack: np.ndarray) -> np.ndarray:
        """-(u^2)_x / 2 for the state, -(u w)_x for vectors."""
        u = self.decode(pack)
        product = u[:, :1] * u
        product[:, 1:] *= 2
        return self.flux * self.encode(product)
