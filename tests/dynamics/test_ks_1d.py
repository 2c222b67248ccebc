"""The Kuramoto-Sivashinsky integrator, as a numerical analyst would try it."""

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

from qrnn_helpers import ks2d, lorenz, lyapunov_exponents
from qrnn_helpers.dynamics import KS1D, etdrk4, ks1d
from qrnn_helpers.dynamics.flow import DATA_LIMIT
from qrnn_helpers.dynamics.spectral import wavenumbers

L, N = 22.0, 64
X = np.arange(N) * L / N
K = wavenumbers(L, N)


def derivative(u: np.ndarray, order: int = 1) -> np.ndarray:
    return np.fft.irfft((1j * K) ** order * np.fft.rfft(u), u.shape[-1])


def shifted(u: np.ndarray, distance: float) -> np.ndarray:
    """u(x - distance), for fields without a Nyquist wave."""
    return np.fft.irfft(np.exp(-1j * K * distance) * np.fft.rfft(u), N)


def flow(u: np.ndarray, time: float, step: float = 0.05) -> np.ndarray:
    """The fields `u` (trajectory, x) after `time`."""
    made = ks1d(L, N, initial=u, trajectories=len(u), transient=0, dt=time, steps=2, step=step, seed=None)
    return made.values[:, 1]


@pytest.fixture(scope="module")
def starts() -> np.ndarray:
    """Eight fields on the attractor."""
    return ks1d(L, N, transient=200, steps=1, trajectories=8, seed=5).values[:, 0]


@pytest.fixture(scope="module")
def climate() -> xr.DataArray:
    """A long sample of the attractor: 32 trajectories of 800 time units."""
    return ks1d(L, N, dt=1, steps=800, transient=300, trajectories=32, seed=11)


# --- accuracy ---------------------------------------------------------------------------


def test_fourth_order_for_steps_up_to_a_sixteenth(starts):
    steps = [2.0**-n for n in range(4, 8)]
    reference = flow(starts, 20, 2.0**-10)
    errors = [np.sqrt(np.mean((flow(starts, 20, h) - reference) ** 2)) for h in steps]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(orders > 3.6) and np.all(orders < 4.2)
    assert orders[-1] == pytest.approx(4, abs=0.1)
    assert errors[0] < 1e-4


def test_agrees_with_another_method(starts):
    """u u_x in place of (u^2)_x / 2, no dealiasing, an implicit solver with its own steps."""

    def rhs(_: float, u: np.ndarray) -> np.ndarray:
        return -u * derivative(u) - derivative(u, 2) - derivative(u, 4)

    other = solve_ivp(rhs, (0, 2), starts[0], method="Radau", rtol=1e-9, atol=1e-10).y[:, -1]
    assert np.abs(other - flow(starts[:1], 2, 1 / 64)[0]).max() < 1e-6


def test_resolution_is_ample():
    coarse = ks1d(L, 64, transient=0, dt=10, steps=2, seed=3).values[0]
    fine = ks1d(L, 128, transient=0, dt=10, steps=2, seed=3).values[0, :, ::2]
    assert np.abs(coarse[0] - fine[0]).max() < 1e-14  # the same start on any grid
    assert np.abs(coarse[1] - fine[1]).max() < 1e-6  # set by the waves that dealiasing drops


def test_coefficients_at_small_and_large_symbols():
    c = np.array([0.0, -1e-9, 0.25, -20.0, -1e5])
    scheme = etdrk4(c, 0.5)
    assert scheme.stage[0] == pytest.approx(0.25, abs=1e-15)  # its limit h / 2
    weights = scheme.first + 2 * scheme.middle + scheme.last
    # They sum to (exp(h c) - 1) / c, so that a constant nonlinearity is integrated exactly.
    exact = np.array([0.5, *(np.expm1(0.5 * c[1:]) / c[1:])])
    assert weights == pytest.approx(exact, rel=1e-12)


# --- what the equation says ---------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 0.7])
def test_mean_is_conserved(starts, mean):
    field = ks1d(L, N, initial=starts + mean, trajectories=8, transient=0, dt=5, steps=100)
    assert np.abs(field.mean("x").values - (starts.mean(1) + mean)[:, None]).max() < 1e-12


def test_energy_balance(starts):
    """d/dt <u^2>/2 = <u_x^2> - <u_xx^2>, integrated over 10 time units by Simpson's rule."""
    u = ks1d(L, N, initial=starts, trajectories=8, transient=0, dt=0.05, steps=201, seed=None).values
    rate = (derivative(u) ** 2 - derivative(u, 2) ** 2).mean(-1)
    simpson = np.r_[1, np.tile([4, 2], 99), 4, 1] * 0.05 / 3
    gain = (u[:, -1] ** 2 - u[:, 0] ** 2).mean(-1) / 2
    assert np.abs(gain).max() > 0.01
    assert rate @ simpson == pytest.approx(gain, abs=1e-5)


def test_symmetries(starts):
    after = flow(starts, 10)
    reflected = -np.roll(starts[:, ::-1], 1, axis=1)
    assert flow(shifted(starts, 3.21), 10) == pytest.approx(shifted(after, 3.21), abs=1e-10)
    assert flow(reflected, 10) == pytest.approx(-np.roll(after[:, ::-1], 1, axis=1), abs=1e-10)


def test_galilean_boost(starts):
    """u(x - c t, t) + c is a solution, too. (The scheme knows only up to its own error.)"""
    c, time = 0.3, 4.0
    boosted = flow(starts + c, time, 1 / 128)
    assert boosted == pytest.approx(shifted(flow(starts, time, 1 / 128), c * time) + c, abs=1e-7)


@pytest.mark.parametrize("n", range(1, 7))
def test_small_waves_grow_by_the_linear_rate(n):
    k = 2 * np.pi * n / L
    start = 1e-8 * np.cos(k * X)[None]
    rate = np.log(np.abs(np.fft.rfft(flow(start, 1.0))[0, n]) / (N / 2 * 1e-8))
    assert rate == pytest.approx(k**2 - k**4, abs=1e-6)


def test_short_domain_comes_to_rest():
    assert np.abs(ks1d(6.0, 32, transient=300, steps=1, seed=1)).max() < 1e-12


@pytest.mark.parametrize(("cells", "energy"), [(1, 0.2609), (2, 0.4382), (3, 1.5876)])
def test_equilibria_stay(cells, energy):
    """E1, E2, E3 of Cvitanovic, Davidchack & Siminos (2010), found by another method."""
    k = K[1:22]  # the waves that 2/3 dealiasing keeps
    sines, cosines = np.sin(np.outer(k, X)), np.cos(np.outer(k, X))

    def residual(b: np.ndarray) -> np.ndarray:
        advection = 2 / N * sines @ ((b @ sines) * ((b * k) @ cosines))
        return ((k**2 - k**4) * b - advection) / (1 + k**4)

    b = fsolve(residual, 2.0 * (np.arange(21) == cells - 1), xtol=1e-13)
    assert np.sum(b**2) / 4 == pytest.approx(energy, abs=1e-4)
    assert flow((b @ sines)[None], 5)[0] == pytest.approx(b @ sines, abs=1e-9)


# --- climate at length 22 -----------------------------------------------------------------


def ratio_of_means(top: np.ndarray, bottom: np.ndarray) -> tuple[float, float]:
    """sum(top) / sum(bottom) over independent trajectories, and its standard error."""
    ratio = top.sum() / bottom.sum()
    scatter = (top - ratio * bottom).std(ddof=1) / bottom.mean()
    return ratio, scatter / np.sqrt(len(top))


def test_climate_statistics(climate):
    """Within 4 standard errors of the reference values, which are known to 3 digits."""
    u = climate.values
    one = np.ones(len(u))
    modes = np.abs(np.fft.rfft(u)) ** 2
    share = modes[..., 1:].mean(1)
    expected = {
        "energy": ((u**2).mean((1, 2)) / 2, one, 0.700),
        "u_x": ((derivative(u) ** 2).mean((1, 2)), one, 0.913),
        "u_xx": ((derivative(u, 2) ** 2).mean((1, 2)), one, 0.913),
    }
    fractions = [0.057, 0.442, 0.319, 0.152, 0.022, 0.007]
    expected |= {n: (share[:, n], share.sum(1), f) for n, f in enumerate(fractions)}
    for name, (top, bottom, reference) in expected.items():
        value, error = ratio_of_means(top, bottom)
        assert abs(value - reference) < 4 * error + 5e-4, f"{name}: {value} +- {error}"
        assert error < 0.02 * reference + 0.001, f"{name} is not measured well enough: {error}"
    assert u.std() == pytest.approx(1.184, abs=0.01)


# --- the public call ------------------------------------------------------------------------


def test_shape_names_and_recipe():
    field = ks1d(dt=0.5, steps=7, transient=1, trajectories=3, seed=4)
    assert field.dims == ("trajectory", "time", "x") and field.shape == (3, 7, 64)
    assert field.dtype == np.float64
    assert field["time"].values == pytest.approx(np.arange(7) * 0.5)
    assert field["x"].values == pytest.approx(X)
    names = ["length", "points", "dt", "steps", "transient", "trajectories", "step", "seed"]
    again = ks1d(**{name: field.attrs[name] for name in names})
    assert again.identical(field)


def test_start_is_the_first_sample(starts):
    field = ks1d(initial=starts, trajectories=8, transient=0, steps=2)
    assert field.values[:, 0].tobytes() == starts.tobytes()
    assert field["start"].values.tobytes() == starts.tobytes()
    assert np.abs(ks1d(transient=0, steps=1, trajectories=5).mean("x")).max() < 1e-15


def test_trajectory_does_not_depend_on_the_others():
    many = ks1d(steps=3, transient=20, trajectories=7, seed=9)
    few = ks1d(steps=3, transient=20, trajectories=2, seed=9)
    assert many.values[:2].tobytes() == few.values.tobytes()
    assert np.abs(many.values[0] - many.values[1]).max() > 0.1


def test_sampling_does_not_change_the_flow():
    often = ks1d(steps=9, dt=0.25, transient=10)
    seldom = ks1d(steps=3, dt=1, transient=10)
    assert often.values[:, ::4].tobytes() == seldom.values.tobytes()


def test_seeds():
    def make(seed):
        return ks1d(steps=2, transient=1, seed=seed)

    assert make(3).identical(make(3))
    assert not make(3).equals(make(4))
    assert make(np.random.default_rng(1)).identical(make(np.random.default_rng(1)))
    generator = np.random.default_rng(1)
    assert not make(generator).equals(make(generator))
    unseeded = make(None)
    assert make(unseeded.attrs["seed"]).identical(unseeded)
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the one that must stay untouched
    make(5)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(("length", "points"), [(2 * np.pi * 5, 64), (100.0, 192), (22, 28)])
def test_other_lengths(length, points):
    field = ks1d(length, points, transient=100, steps=5)
    assert field.shape == (1, 5, points) and 0.5 < field.std() < 2


def test_dt_forgives_rounding():
    assert ks1d(dt=0.1 * 3, step=0.1, steps=2, transient=0).attrs["dt"] == 0.1 * 3


BAD = [
    ({"length": float("nan")}, ValueError, "length"),
    ({"length": -1.0}, ValueError, "length"),
    ({"length": 0}, ValueError, "length"),
    ({"length": "22"}, TypeError, "length"),
    ({"points": 63}, ValueError, "points"),
    ({"points": 4}, ValueError, "points"),
    ({"points": 64.0}, TypeError, "points"),
    ({"points": 64, "length": 200.0}, ValueError, "points"),
    ({"dt": 0.26}, ValueError, "dt"),
    ({"dt": 0.01}, ValueError, "dt"),
    ({"dt": 0.0}, ValueError, "dt"),
    ({"dt": float("inf")}, ValueError, "dt"),
    ({"steps": 0}, ValueError, "steps"),
    ({"steps": 2.5}, TypeError, "steps"),
    ({"steps": True}, TypeError, "steps"),
    ({"transient": -1}, ValueError, "transient"),
    ({"transient": None}, TypeError, "transient"),
    ({"trajectories": 0}, ValueError, "trajectories"),
    ({"step": 0}, ValueError, "step"),
    ({"step": float("nan")}, ValueError, "step"),
    ({"seed": -1}, ValueError, "seed"),
    ({"seed": "a"}, TypeError, "seed"),
    ({"seed": 1.5}, TypeError, "seed"),
    ({"initial": np.zeros(64)}, ValueError, "initial"),
    ({"initial": np.zeros((2, 64))}, ValueError, "initial"),
    ({"initial": np.full((1, 64), np.nan)}, ValueError, "initial"),
    ({"initial": np.zeros((1, 64), dtype=complex)}, TypeError, "initial"),
    ({"initial": "zero"}, TypeError, "initial"),
    ({"steps": 10**9}, ValueError, str(DATA_LIMIT)),
    ({"trajectories": 10**9}, ValueError, str(8 * 10**9 * 64 * 2020)),
]


@pytest.mark.parametrize(("arguments", "error", "named"), BAD)
def test_bad_arguments(arguments, error, named):
    with pytest.raises(error, match=named) as caught:
        ks1d(**arguments)
    assert len(str(caught.value)) > 20  # says what came and what is allowed


def test_blow_up_is_an_error():
    huge = 1e5 * np.sin(2 * np.pi * X / L)[None]
    with pytest.raises(FloatingPointError, match="step"):
        ks1d(initial=huge, transient=0, steps=100)


@pytest.mark.parametrize("setting", ["raise", "warn"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ks1d(steps=3, transient=20),
        lambda: ks1d(5.0, 16, steps=3, transient=300),  # at rest: what is left of it underflows
        lambda: ks2d(10.0, 16, steps=3, transient=20),
        lambda: lorenz(steps=3, transient=1),
        lambda: lyapunov_exponents(KS1D(), 2, trajectories=2, time=2, transient=20, settle=2, progress=False)["rates"],
    ],
    ids=["ks1d", "at rest", "ks2d", "lorenz", "exponents"],
)
def test_the_callers_errstate_changes_nothing(make, setting):
    """The fastest waves decay below the smallest number, step by step: no reason to raise."""
    wanted = make()
    with warnings.catch_warnings(), np.errstate(all=setting):
        warnings.simplefilter("error", RuntimeWarning)
        np.testing.assert_array_equal(make(), wanted)
        with pytest.raises(FloatingPointError, match="step"):  # what matters is told all the same
            ks1d(initial=1e5 * np.sin(2 * np.pi * X / L)[None], transient=0, steps=100)
