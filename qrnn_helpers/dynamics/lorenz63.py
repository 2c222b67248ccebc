"""The Lorenz system: three modes of convection, the best-known chaos there is.

    x' = sigma (y - x),   y' = x (rho - z) - y,   z' = x y - beta z,   sigma = 10, rho = 28, beta = 8/3

Source: E. N. Lorenz, "Deterministic nonperiodic flow", J. Atmos. Sci. 20 (1963) 130-141.
Integrated by the Runge-Kutta formula of order 8 of Dormand and Prince (its tableau is that of
SciPy's DOP853) with a fixed step. An adaptive step would be a function of the last bit, which
chaos amplifies; and the sums below are elementwise, in one order, so that a trajectory is the same
to the byte whatever else steps beside it. Hairer, Norsett and Wanner, "Solving Ordinary
Differential Equations I", 2nd ed., section II.5.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.integrate import DOP853

from ..checks import check_positive
from .flow import Flow, digits, steps_to_skip

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3

LONGEST_STEP = 0.01  # the error of a step is then near 1e-11 of the attractor's size

STAGES = [np.array(row[:i]).reshape(-1, 1, 1, 1) for i, row in enumerate(DOP853.A)]

WEIGHTS = np.array(DOP853.B).reshape(-1, 1, 1, 1)


def lorenz(
    *,
    dt: float = 0.01,
    steps: int = 10000,
    transient: float = 50.0,
    trajectories: int = 1,
    seed: int | np.random.Generator | None = 0,
) -> xr.DataArray:
    """Trajectories of the Lorenz system at sigma = 10, rho = 28, beta = 8/3.

    Parameters
    ----------
    dt : time between samples; the integrator takes the fewest equal steps of at most `LONGEST_STEP`.
    steps : number of samples in each trajectory.
    transient : time to pass before the first sample, rounded up to whole integrator steps.
    trajectories : how many; each has a random stream of its own, so that trajectory i does not
        depend on how many are made.
    seed : int, NumPy generator or None, for the random starts: normal around (0, 0, rho - 1) with
        standard deviation 5.

    Returns
    -------
    DataArray, float64, dims ("trajectory", "time", "component") with components x, y, z; time counts
    from the first sample. All quantities are dimensionless. `.attrs` holds what is needed to make it
    again.

    Raises
    ------
    TypeError, ValueError : an argument is of the wrong kind, out of bounds, or asks for more than
        `DATA_LIMIT` bytes, `STEP_LIMIT` integrator steps or `WORK_LIMIT` of numbers times steps
        (all in `qrnn_helpers.dynamics.flow`).
    """
    dt = check_positive("dt", dt)
    flow = Lorenz(dt / steps_to_skip(dt, LONGEST_STEP))
    series = flow.trajectories(dt=dt, steps=steps, transient=transient, trajectories=trajectories, seed=seed)
    del series.attrs["initial"]  # always random
    return series


class Lorenz(Flow):
    """The flow of `lorenz` and its variational equation, in steps of a fixed size."""

    shape = (3,)
    dimension = 3
    subspace = "all three components"
    maker = name = "lorenz"
    long_name = "Lorenz system"
    equation = "x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z"
    method = "Runge-Kutta of order 8 (DOP853), fixed step"
    dims = ("component",)

    def __init__(self, step: float = LONGEST_STEP):
        self.step = check_positive("step", step)

    def __repr__(self) -> str:
        return f"Lorenz(step={digits(self.step)})"

    @property
    def coordinates(self) -> dict[str, list[str]]:
        return {"component": ["x", "y", "z"]}

    @property
    def parameters(self) -> dict[str, float]:
        return {"sigma": SIGMA, "rho": RHO, "beta": BETA}

    def random_starts(self, trajectories: int, seed: int) -> np.ndarray:
        streams = np.random.SeedSequence(seed).spawn(trajectories)
        return np.array([[0, 0, RHO - 1] + 5 * np.random.default_rng(s).standard_normal(3) for s in streams])

    def encode(self, pack: np.ndarray) -> np.ndarray:
        """(component, trajectory, 1 + vectors)."""
        return np.moveaxis(pack, -1, 0).copy()

    def decode(self, pack: np.ndarray) -> np.ndarray:
        return np.moveaxis(pack, 0, -1)

    def one_step(self, pack: np.ndarray) -> np.ndarray:
        slopes = np.empty((len(STAGES), *pack.shape))
        for i, row in enumerate(STAGES):
            _slope(pack + self.step * (row * slopes[:i]).sum(axis=0), slopes[i])
        return pack + self.step * (WEIGHTS * slopes).sum(axis=0)


def _slope(pack: np.ndarray, out: np.ndarray) -> None:
    """The right-hand side of states, and its derivative there applied to vectors, written to `out`."""
    x, y, z = pack
    state = pack[..., :1]
    # Bilinear: x y for a state, x dy + y dx for a vector; the state, being its own vector, counts twice.
    products = state[0] * pack[1:] + x * state[1:]
    products[..., 0] /= 2
    out[0] = SIGMA * (y - x)
    out[1] = RHO * x - y - products[1]
    out[2] = products[0] - BETA * z
