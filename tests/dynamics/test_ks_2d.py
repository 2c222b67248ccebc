"""The Kuramoto-Sivashinsky integrator in two space dimensions, as a numerical analyst would try it."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from qrnn_helpers.dynamics import KS2D, ks1d, ks2d
from qrnn_helpers.dynamics.flow import DATA_LIMIT, WORK_LIMIT

L, N = 22.0, 48
INDEX = np.rint(np.fft.fftfreq(N, 1 / N))
KX, KY = 2 * np.pi / L * INDEX, 2 * np.pi / L * INDEX[:, None]
K2 = KX**2 + KY**2


def apply(symbol: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A differential operator by the full complex transform, not by `rfft2` as in the code."""
    return np.fft.ifft2(symbol * np.fft.fft2(v)).real


def slope_squared(v: np.ndarray) -> np.ndarray:
    return apply(1j * KX, v) ** 2 + apply(1j * KY, v) ** 2


def shifted(v: np.ndarray, x: float, y: float) -> np.ndarray:
    """v(x' - x, y' - y), for fields without Nyquist waves."""
    return apply(np.exp(-1j * (KX * x + KY * y)), v)


def turned(v: np.ndarray) -> np.ndarray:
    """v rotated by 90 degrees about the origin, which is a grid point."""
    return np.roll(v.swapaxes(-1, -2)[..., ::-1, :], 1, axis=-2)


def flow(v: np.ndarray, time: float, step: float = 0.05) -> np.ndarray:
    """The fields `v` (trajectory, y, x) after `time`."""
    made = ks2d(L, v.shape[-1], initial=v, trajectories=len(v), transient=0, dt=time, steps=2, step=step)
    return made.values[:, 1]


@pytest.fixture(scope="module")
def starts() -> np.ndarray:
    """Four fields on the attractor."""
    return ks2d(L, N, transient=60, steps=1, trajectories=4, seed=5).values[:, 0]


# --- accuracy ---------------------------------------------------------------------------


def test_fourth_order(starts):
    """Approached from below: 3.5 at h = 1/16, where slopes are as steep as here."""
    steps = [2.0**-n for n in range(4, 9)]
    reference = flow(starts, 1, 2.0**-10)
    errors = [np.sqrt(np.mean((flow(starts, 1, h) - reference) ** 2)) for h in steps]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.diff(orders) > 0) and orders[0] > 3.3 and 3.85 < orders[-1] < 4.1
    assert errors[0] < 1e-4


def test_error_falls_exponentially_with_the_points():
    """The same start on grids whose every n-th point is a point of all of them."""

    def coarse(points: int) -> np.ndarray:
        v = ks2d(L, points, transient=0, dt=10, steps=2, seed=3).values[0]
        return v[:, :: points // 16, :: points // 16]

    reference = coarse(96)
    errors = [np.abs(coarse(points) - reference) for points in (32, 48, 64)]
    assert max(error[0].max() for error in errors) < 1e-14  # the same start on any grid
    first, second, third = (error[1].max() for error in errors)
    assert first < 0.05 and second < first / 100 and third < second / 100


def test_agrees_with_another_method(starts):
    """u itself with its mean, products without dealiasing, an explicit solver with its own steps."""

    def rhs(_: float, u: np.ndarray) -> np.ndarray:
        u = u.reshape(N, N)
        return (-slope_squared(u) / 2 + apply(K2 - K2**2, u)).ravel()

    v = starts[0]
    solution = solve_ivp(rhs, (0, 0.25), v.ravel(), method="RK45", rtol=1e-8, atol=1e-8, t_eval=[0.25])
    u = solution.y.reshape(N, N)
    made = ks2d(L, N, initial=v[None], transient=0, dt=1 / 128, steps=33, step=1 / 128)
    # As far as the waves that dealiasing drops:
    assert np.abs(u - u.mean() - made.values[0, -1]).max() < 1e-5 * np.abs(v).max()
    simpson = np.r_[1, np.tile([4, 2], 15), 4, 1] / 128 / 3
    assert u.mean() == pytest.approx(made["mean_drift"].values[0] @ simpson, abs=1e-6)


# --- what the equation says ---------------------------------------------------------------


def test_energy_balance(starts):
    """d/dt <v^2>/2 = -<v |grad v|^2>/2 + <|grad v|^2> - <(lap v)^2>, by Simpson's rule over 2 time units."""
    v = ks2d(L, N, initial=starts, trajectories=4, transient=0, dt=0.05, steps=41).values
    slope = slope_squared(v)
    rate = (-v * slope / 2 + slope - apply(-K2, v) ** 2).mean((-1, -2))
    simpson = np.r_[1, np.tile([4, 2], 19), 4, 1] * 0.05 / 3
    gain = (v[:, -1] ** 2 - v[:, 0] ** 2).mean((-1, -2)) / 2
    assert np.abs(gain).max() > 0.1
    assert rate @ simpson == pytest.approx(gain, abs=1e-4)


def test_mean_stays_zero_and_its_drift_is_kept_apart(starts):
    field = ks2d(L, N, initial=starts + 3.0, trajectories=4, transient=0, dt=1, steps=5)
    assert np.abs(field.mean(("y", "x"))).max() < 1e-14
    assert field["mean_drift"].dims == ("trajectory", "time")
    assert field["mean_drift"].values == pytest.approx(-slope_squared(field.values).mean((-1, -2)) / 2, rel=1e-9)


@pytest.mark.parametrize(
    "move",
    [
        lambda v: shifted(v, 3.21, -1.7),
        lambda v: np.roll(v[..., ::-1], 1, axis=-1),
        lambda v: np.roll(v[..., ::-1, :], 1, axis=-2),
        lambda v: v.swapaxes(-1, -2),
        turned,
    ],
    ids=["shift", "reflection of x", "reflection of y", "exchange of axes", "quarter turn"],
)
def test_symmetries(starts, move):
    assert flow(move(starts), 3) == pytest.approx(move(flow(starts, 3)), abs=1e-9)
    assert np.abs(move(starts) - starts).max() > 1


def test_quarter_turn_is_one(starts):
    assert np.array_equal(turned(turned(turned(turned(starts)))), starts)
    assert turned(starts)[0, 3, 5] == starts[0, 5, -3]


@pytest.mark.parametrize(("nx", "ny"), [(1, 0), (0, 1), (0, 3), (2, 1), (2, -2), (3, 2), (-1, 4)])
def test_small_waves_grow_by_the_linear_rate(nx, ny):
    x = np.arange(N) * 2 * np.pi / N
    start = 1e-8 * np.cos(nx * x + ny * x[:, None] + 0.3)[None]
    k2 = (2 * np.pi / L) ** 2 * (nx**2 + ny**2)
    growth = flow(start, 1.0).ravel() @ start.ravel() / np.sum(start**2)
    assert np.log(growth) == pytest.approx(k2 - k2**2, abs=1e-6)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_fields_of_one_coordinate_are_those_of_ks1d(axis):
    """Its slope is the 1-D solution: the sum of waves of u, integrated over x, is the start."""
    u = ks1d(L, N, transient=100, dt=2, steps=6, trajectories=2, seed=1)
    k = 2 * np.pi / L * np.arange(N // 2)
    spectrum = np.fft.rfft(u.values[:, 0])[:, :-1]
    primitive = np.fft.irfft(np.r_[0, 1 / (1j * k[1:])] * spectrum, N)
    v = np.broadcast_to(primitive[:, None] if axis == "x" else primitive[:, :, None], (2, N, N))
    field = ks2d(L, N, initial=v, trajectories=2, transient=0, dt=2, steps=6)
    wave = 1j * KX if axis == "x" else 1j * KY
    line = apply(np.where(np.abs(INDEX if axis == "x" else INDEX[:, None]) < N / 2, wave, 0), field.values)
    along = line[..., 0, :] if axis == "x" else line[..., :, 0]
    assert along == pytest.approx(u.values, abs=1e-9)
    assert np.ptp(line, axis=-2 if axis == "x" else -1).max() < 1e-9


def test_small_square_comes_to_rest():
    assert np.abs(ks2d(5.0, 16, transient=40, steps=1, seed=1)).max() < 1e-12


# --- the trap of rfft2 ----------------------------------------------------------------------


class Trapped(KS2D):
    """The same flow for whoever forgets to symmetrise."""

    def one_step(self, pack):
        return self.scheme.step(pack, self._nonlinear)


def broken(system: KS2D, size: float) -> tuple[np.ndarray, np.ndarray]:
    """An encoded state, and the same with waves in the column kx = 0 that no real field has."""
    pack = system.encode(system.states(1, 400, 0)[:, None])
    noise = np.random.default_rng(0).standard_normal(system.points) * size
    noise[0] = 0
    spoilt = pack.copy()
    spoilt[..., 0] += noise + 1j * noise[(-np.arange(system.points)) % system.points]
    spoilt[..., 0] -= KS2D.encode(system, system.decode(spoilt - pack))[..., 0]  # its Hermitian part
    return pack, spoilt


def test_what_breaks_the_symmetry_is_invisible_yet_grows():
    pack, spoilt = broken(Trapped(L, 36), 1e-3)
    difference = (spoilt - pack)[0, 0, :, 0]
    assert np.abs(difference).max() > 1e-4
    system = Trapped(L, 36)
    assert np.abs(system.decode(spoilt) - system.decode(pack)).max() < 1e-14
    after = system.integrate(spoilt, 200)[0, 0, :, 0] - system.integrate(pack, 200)[0, 0, :, 0]
    k = 2 * np.pi / L * np.arange(1, 4)
    assert np.log(np.abs(after / difference)[1:4]) / 10 == pytest.approx(k**2 - k**4, abs=1e-3)
    kept = KS2D(L, 36)
    healed = kept.one_step(spoilt) - kept.one_step(pack)
    assert np.abs(healed).max() < 1e-9


def test_without_symmetrising_rounding_error_overflows():
    with pytest.raises(FloatingPointError, match="blew up before t = 400"):
        Trapped(L, 36, step=0.1).states(1, 4000, 0)


def test_stays_finite_and_bounded_to_2000():
    field = ks2d(L, 36, transient=0, dt=40, steps=51, step=0.1)
    assert field["time"].values[-1] == 2000
    assert np.abs(field).max() < 25 and field[0, 1:].std(("y", "x")).min() > 1
    assert np.abs(field.mean(("y", "x"))).max() < 1e-13


# --- climate at side 22 ---------------------------------------------------------------------


def test_climate_statistics():
    """<|grad v|^2> = 5.10, and the mean falls at half of it; errors from independent trajectories."""
    field = ks2d(L, 36, dt=2, steps=50, transient=60, trajectories=16, step=0.1, seed=11)
    k = 2 * np.pi / L * np.rint(np.fft.fftfreq(36, 1 / 36))
    spectrum = np.abs(np.fft.fft2(field.values)) ** 2 / 36**4
    slope = (spectrum * (k**2 + k[:, None] ** 2)).sum((-1, -2)).mean(1)
    drift = field["mean_drift"].values.mean(1)
    for values, reference in ((slope, 5.10), (drift, -2.55)):
        error = values.std(ddof=1) / 4
        assert abs(values.mean() - reference) < 4 * error + 0.005, f"{values.mean()} +- {error}"
        assert error < 0.02 * abs(reference)
    across = (spectrum * k**2).sum((-1, -2)).mean(1) - (spectrum * k[:, None] ** 2).sum((-1, -2)).mean(1)
    assert abs(across.mean()) < across.std(ddof=1)  # 4 standard errors: no axis is preferred


# --- the public call ------------------------------------------------------------------------


def test_shape_names_and_recipe():
    field = ks2d(points=36, dt=0.5, steps=7, transient=1, trajectories=3, seed=4)
    assert field.dims == ("trajectory", "time", "y", "x") and field.shape == (3, 7, 36, 36)
    assert field.dtype == np.float64
    assert field["time"].values == pytest.approx(np.arange(7) * 0.5)
    assert field["x"].values == pytest.approx(np.arange(36) * 22 / 36)
    names = ["length", "points", "dt", "steps", "transient", "trajectories", "step", "seed"]
    again = ks2d(**{name: field.attrs[name] for name in names})
    assert again.identical(field)


def test_defaults_are_those_of_the_api():
    field = ks2d(transient=0.05, steps=1)
    recipe = {"length": 22.0, "points": 48, "dt": 0.25, "step": 0.05, "trajectories": 1, "seed": 0}
    assert recipe.items() <= field.attrs.items() and field.shape == (1, 1, 48, 48)


def test_start_is_the_first_sample(starts):
    given = starts + 0.7
    field = ks2d(initial=given, trajectories=4, transient=0, steps=2)
    assert field.values[:, 0] == pytest.approx(starts, abs=1e-14)
    assert field["start"].values.tobytes() == given.tobytes()
    assert ks2d(transient=0, steps=1, trajectories=99, points=36).values.var() == pytest.approx(1, abs=0.1)


def test_trajectory_does_not_depend_on_the_others():
    many = ks2d(points=36, steps=3, transient=5, trajectories=60, seed=9)  # more than one group
    few = ks2d(points=36, steps=3, transient=5, trajectories=2, seed=9)
    assert many.values[:2].tobytes() == few.values.tobytes()
    assert np.abs(many.values[0] - many.values[1]).max() > 0.1


def test_sampling_does_not_change_the_flow():
    often = ks2d(points=36, steps=9, dt=0.25, transient=5)
    seldom = ks2d(points=36, steps=3, dt=1, transient=5)
    assert often.values[:, ::4].tobytes() == seldom.values.tobytes()
    xr.testing.assert_identical(often["mean_drift"][:, ::4].drop_vars("time"), seldom["mean_drift"].drop_vars("time"))


def test_seeds():
    def make(seed):
        return ks2d(points=36, steps=2, transient=1, seed=seed)

    assert make(3).identical(make(3))
    assert not make(3).equals(make(4))
    assert make(np.random.default_rng(1)).identical(make(np.random.default_rng(1)))
    unseeded = make(None)
    assert make(unseeded.attrs["seed"]).identical(unseeded)


@pytest.mark.parametrize(("length", "points"), [(2 * np.pi * 2, 16), (15.0, 30), (40.0, 64)])
def test_other_lengths(length, points):
    field = ks2d(length, points, transient=40, steps=2)
    assert field.shape == (1, 2, points, points) and 0.3 < field.std() < 20


def test_number_of_moving_waves():
    system = KS2D(L, 28)
    waves = np.eye(784).reshape(1, 784, 28, 28)
    assert np.linalg.matrix_rank(system.project(waves).reshape(784, 784)) == system.dimension == 19**2 - 1


BAD = [
    ({"length": float("nan")}, ValueError, "length"),
    ({"length": 0}, ValueError, "length"),
    ({"length": "22"}, TypeError, "length"),
    ({"points": 47}, ValueError, "points"),
    ({"points": 4}, ValueError, "points"),
    ({"points": 2000}, ValueError, "points must be at most 1024"),
    ({"points": 48.0}, TypeError, "points"),
    ({"length": 200.0}, ValueError, "points must be at least 250"),
    ({"dt": 0.26}, ValueError, "dt"),
    ({"dt": float("inf")}, ValueError, "dt"),
    ({"steps": 0}, ValueError, "steps"),
    ({"steps": True}, TypeError, "steps"),
    ({"transient": -1}, ValueError, "transient"),
    ({"trajectories": 0}, ValueError, "trajectories"),
    ({"step": 0}, ValueError, "step"),
    ({"seed": -1}, ValueError, "seed"),
    ({"seed": 1.5}, TypeError, "seed"),
    ({"initial": np.zeros((48, 48))}, ValueError, r"initial must have shape .* = \(1, 48, 48\); got \(48, 48\)"),
    ({"initial": np.full((1, 48, 48), np.nan)}, ValueError, "initial"),
    ({"initial": np.zeros((1, 48, 48), dtype=complex)}, TypeError, "initial"),
    ({"steps": 10**9}, ValueError, str(DATA_LIMIT)),
    ({"trajectories": 10**7}, ValueError, str(DATA_LIMIT)),
    ({"transient": 1e8}, ValueError, "integrator steps"),
    ({"transient": 4e6, "trajectories": 100}, ValueError, str(WORK_LIMIT)),
]


@pytest.mark.parametrize(("arguments", "error", "named"), BAD)
def test_bad_arguments(arguments, error, named):
    with pytest.raises(error, match=named) as caught:
        ks2d(**arguments)
    assert len(str(caught.value)) > 20  # says what came and what is allowed


def test_blow_up_is_an_error():
    huge = 1e6 * np.sin(2 * np.pi * np.arange(36) / 36) * np.ones((1, 36, 1))
    with pytest.raises(FloatingPointError, match="step"):
        ks2d(points=36, initial=huge, transient=0, steps=100)
