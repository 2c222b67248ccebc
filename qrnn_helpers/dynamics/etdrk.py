"""Fourth-order exponential time differencing, for equations whose stiff part is diagonal.

Written for v' = c v + N(v) with one real c for each Fourier mode: the linear part is
solved exactly, the nonlinear part N by four Runge-Kutta stages (Cox & Matthews 2002).

Source: A.-K. Kassam and L. N. Trefethen, "Fourth-order time-stepping for stiff PDEs",
SIAM J. Sci. Comput. 26 (2005) 1214-1233, doi:10.1137/S1064827502410633.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CONTOUR_POINTS = 32


class Etdrk4(NamedTuple):
    """The coefficients of one step of size h; each has the shape of the symbol c."""

    whole: np.ndarray  # exp(h c)
    half: np.ndarray  # exp(h c / 2)
    stage: np.ndarray  # (exp(h c / 2) - 1) / c
    first: np.ndarray  # weight of N(v)
    middle: np.ndarray  # weight of N(a) + N(b)
    last: np.ndarray  # weight of N(c)

    def step(self, v: np.ndarray, nonlinear: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Advance `v` (..., *symbol.shape) by one step."""
        v_half = self.half * v
        n_v = nonlinear(v)
        a = v_half + self.stage * n_v
        n_a = nonlinear(a)
        n_b = nonlinear(v_half + self.stage * n_a)
        n_c = nonlinear(self.half * a + self.stage * (2 * n_b - n_v))
        return self.whole * v + self.first * n_v + self.middle * (n_a + n_b) + self.last * n_c


@np.errstate(all="ignore")  # the fastest waves decay to nothing
def etdrk4(symbol: np.ndarray, h: float) -> Etdrk4:
    """Coefficients for the linear symbol c (real, any shape) and the step h.

    Written out, the weights are differences of nearly equal numbers where h c is small:
    all digits are lost at c = 0. They are analytic, so each is taken instead as its mean
    over a circle of radius 1 around h c, where nothing cancels. For real c the lower half
    of the circle is the complex conjugate of the upper: its real part is enough.
    """
    angles = np.pi * (np.arange(CONTOUR_POINTS) + 0.5) / CONTOUR_POINTS
    z = h * np.asarray(symbol, dtype=float)[..., None] + np.exp(1j * angles)
    e = np.exp(z)

    def mean(values: np.ndarray) -> np.ndarray:
        return h * values.real.mean(axis=-1)

    return Etdrk4(
        whole=np.exp(h * symbol),
        half=np.exp(h * symbol / 2),
        stage=mean((np.exp(z / 2) - 1) / z),
        first=mean((-4 - z + e * (4 - 3 * z + z**2)) / z**3),
        middle=mean(2 * (2 + z + e * (z - 2)) / z**3),
        last=mean((-4 - 3 * z - z**2 + e * (4 - z)) / z**3),
    )
