"""The Kuramoto-Sivashinsky equation in two space dimensions, in its integral form.

    u_t = -1/2 |grad u|^2 - lap u - lap lap u,        (x, y) periodic in [0, length)^2

The height u of a flame front falls forever, as |grad u|^2 has one sign; its shape
v = u - mean(u) comes to a statistically steady state, and the equation of v is the same but for
the mean of the quadratic term. Where nothing depends on y, v_x is a solution of `ks1d`.
Sources: G. I. Sivashinsky (1977); A. Kalogirou, E. E. Keaveny and D. T. Papageorgiou (2015) for
its dynamics; numerical method in `qrnn_helpers.dynamics.etdrk4`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.fft
import xarray as xr

from .etdrk import Etdrk4, etdrk4
from .spectral import PeriodicFlow

MOST_POINTS = 1024  # along a side: a step of one field then takes about a second


def ks2d(
    length: float = 22.0,
    points: int = 48,
    *,
    dt: float = 0.25,
    steps: int = 400,
    transient: float = 200.0,
    trajectories: int = 1,
    step: float = 0.05,
    seed: int | np.random.Generator | None = 0,
    initial: np.ndarray | None = None,
) -> xr.DataArray:
    """Trajectories of v = u - mean(u), u_t = -1/2 |grad u|^2 - lap u - lap lap u, periodic in x and y.

    Parameters
    ----------
    length : side of the square; it is the only parameter of the equation.
    points : number of grid points along a side, even, from 16 to `MOST_POINTS`, no further apart
        than 0.8. Where they are 0.65 apart or less, the energy spectrum falls by more than six
        decades.
    dt, steps, transient, trajectories, step, seed : as in `ks1d`.
    initial : starts to use instead, (trajectories, points, points) along trajectory, y, x; the
        mean of each is taken off.

    Returns
    -------
    DataArray, float64, dims ("trajectory", "time", "y", "x"); time counts from the first sample.
    The coordinate `mean_drift` on ("trajectory", "time") is d/dt mean(u) = -<|grad v|^2> / 2, with
    the gradient of the waves that dealiasing keeps. All quantities are dimensionless. `.attrs` holds
    what is needed to make it again; given starts are kept in the coordinate `start`.

    Raises
    ------
    TypeError, ValueError : an argument is of the wrong kind, out of bounds, or asks for more than
        `DATA_LIMIT` bytes, `STEP_LIMIT` integrator steps or `WORK_LIMIT` of grid points times
        steps (all in `qrnn_helpers.dynamics.flow`).
    FloatingPointError : the integration blew up, most likely because `step` is too large.
    """
    return KS2D(length, points, step).trajectories(
        dt=dt, steps=steps, transient=transient, trajectories=trajectories, seed=seed, initial=initial
    )


class KS2D(PeriodicFlow):
    """The flow of `ks2d` and its linearisation on one square and grid.

    w_t = -(grad v . grad w - its mean) - lap w - lap lap w: states and tangent vectors have zero
    mean. The mean of u drives nothing, so that keeping it would add one exponent 0.

    The spectra are those of `rfft2`: half of all waves, (ky, kx) with kx >= 0. In the columns
    kx = 0 and kx = Nyquist both of a conjugate pair are stored, c(-ky) = conj(c(ky)). What breaks
    this symmetry is invisible on the grid, so that the nonlinear term cannot hold it down, yet long
    waves of it grow: from rounding error to overflow within t = 400. So it is removed every step.
    """

    maker = "ks2d"
    name = long_name = "v"
    equation = "v = u - mean(u), u_t = -1/2 |grad u|^2 - lap u - lap lap u, periodic"
    dims = ("y", "x")
    most_points = MOST_POINTS

    def __init__(self, length: float = 22.0, points: int = 48, step: float = 0.05):
        super().__init__(length, points, step)

    @cached_property
    def indices(self) -> tuple[np.ndarray, np.ndarray]:
        """nx (1, points // 2 + 1) and ny (points, 1) of the waves in `rfft2`."""
        n = np.rint(scipy.fft.fftfreq(self.points, 1 / self.points)).astype(int)
        return np.abs(n[None, : self.points // 2 + 1]), n[:, None]

    @cached_property
    def kept(self) -> np.ndarray:
        """The waves that move: not the mean, and both indices within the 2/3 rule (see `ks`)."""
        nx, ny = self.indices
        return (3 * np.maximum(nx, np.abs(ny)) < self.points) & (nx**2 + ny**2 > 0)

    @cached_property
    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        """The symbols of d/dx and d/dy behind the 2/3 rule."""
        symbol = 2j * np.pi / self.length
        nx, ny = self.indices
        return np.where(self.kept, symbol * nx, 0), np.where(self.kept, symbol * ny, 0)

    @cached_property
    def scheme(self) -> Etdrk4:
        """Many waves share nx^2 + ny^2, and with it their coefficients."""
        nx, ny = self.indices
        squares, place = np.unique(nx**2 + ny**2, return_inverse=True)
        k_squared = (2 * np.pi / self.length) ** 2 * squares
        return Etdrk4(*(c[place] for c in etdrk4(k_squared - k_squared**2, self.step)))

    @property
    def dimension(self) -> int:
        """Kept waves, each a sine and a cosine, but of the column kx = 0 only one of each pair."""
        return 2 * int(self.kept.sum()) - int(self.kept[:, 0].sum())

    def random_starts(self, trajectories: int, seed: int) -> np.ndarray:
        """Random sums of the waves that grow, at least the longest four, of variance about 1.

        Neither their number nor their values depend on `points`: a finer grid sees the same field.
        """
        waves = self._growing_waves()
        columns, rows = waves.T
        size = np.where(columns == 0, 2, 1) * self.points**2 / np.sqrt(4 * len(waves))
        spectra = np.zeros((trajectories, *self.kept.shape), complex)
        for spectrum, stream in zip(spectra, np.random.SeedSequence(seed).spawn(trajectories)):
            cosines, sines = np.random.default_rng(stream).standard_normal((2, len(waves)))
            spectrum[rows, columns] = size * (cosines - 1j * sines)
        return self.decode(symmetrised(spectra))

    def _growing_waves(self) -> np.ndarray:
        """(nx, ny) of half of the waves that grow, (waves, 2).

        They stand in the order of their indices, not of their places in the grid's spectrum.
        """
        nx, ny = self.indices
        most = max(2, (self.length / (2 * np.pi)) ** 2)
        half = [(x, y) for x in nx.ravel() for y in ny.ravel() if (x, y) > (0, 0)]
        return np.array(sorted(wave for wave in half if wave[0] ** 2 + wave[1] ** 2 <= most))

    def encode(self, pack: np.ndarray) -> np.ndarray:
        return scipy.fft.rfft2(pack)

    def decode(self, pack: np.ndarray) -> np.ndarray:
        return scipy.fft.irfft2(pack, self.shape)

    def admitted(self, start: np.ndarray) -> np.ndarray:
        return start - start.mean(axis=(1, 2), keepdims=True)

    def diagnostics(self, samples: np.ndarray) -> dict[str, tuple]:
        drift = np.array([[self.mean_drift(v) for v in run] for run in samples])
        return {"mean_drift": (("trajectory", "time"), drift)}

    def bytes_for(self, trajectories: int, steps: int) -> int:
        """Samples, some fields to work with, coefficients."""
        return 8 * self.points**2 * (trajectories * (steps + 5) + 60)

    def one_step(self, pack: np.ndarray) -> np.ndarray:
        return symmetrised(self.scheme.step(pack, self._nonlinear))

    @np.errstate(all="ignore")
    def mean_drift(self, fields: np.ndarray) -> np.ndarray:
        """-<|grad v|^2> / 2 of fields (..., y, x)."""
        spectra = self.encode(fields)
        return -0.5 * sum((self.decode(d * spectra) ** 2).mean(axis=(-2, -1)) for d in self.gradient)

    def _nonlinear(self, pack: np.ndarray) -> np.ndarray:
        """-|grad v|^2 / 2 for the state, -grad v . grad w for vectors, both less their mean."""
        v_x, v_y = (self.decode(derivative * pack) for derivative in self.gradient)
        product = v_x[:, :1] * v_x + v_y[:, :1] * v_y
        product[:, 1:] *= 2
        return -0.5 * self.kept * self.encode(product)


def symmetrised(pack: np.ndarray) -> np.ndarray:
    """Spectra of `rfft2` (..., ky, kx), in place: what no real field has is taken off the self-conjugate columns."""
    for column in (0, -1):
        c = pack[..., column]
        pack[..., column] = (c + np.roll(c[..., ::-1], 1, axis=-1).conj()) / 2
    return pack
