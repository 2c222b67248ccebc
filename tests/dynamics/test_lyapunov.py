"""Tangent dynamics and Lyapunov exponents, as a numerical analyst would try them."""

import json
import shutil

import numpy as np
import pytest

from qrnn_helpers.dynamics import KS1D, KS2D, Lorenz, kaplan_yorke, ks2d, lyapunov_exponents
from qrnn_helpers.dynamics.flow import WORK_LIMIT
from qrnn_helpers.dynamics.lorenz63 import BETA, RHO, SIGMA
from qrnn_helpers.storage import add_to_manifest
from qrnn_helpers.study import jobs
from qrnn_helpers.study.exponents import RECIPES, job, stored_exponents

SYSTEMS = [KS1D(), KS2D(22.0, 36), Lorenz()]


def exponents(system, count, **arguments):
    return lyapunov_exponents(system, count, **arguments, progress=False)


def near(result, reference, digits: float = 0.0) -> bool:
    """Within 4 of the result's own standard errors, and half a unit of the reference's last digit."""
    n = len(reference)
    return bool(np.all(np.abs(result["exponents"][:n] - reference) < 4 * result["standard_errors"][:n] + digits))


# --- tangent dynamics -----------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS, ids=repr)
def test_vectors_follow_the_derivative_of_the_steps(system):
    """Central differences of the nonlinear flow: their error falls fourfold, down to rounding."""
    u = system.states(3, 1000, 0)
    w = system.project(np.random.default_rng(0).standard_normal((3, 2, *system.shape)))
    after, tangent = system.tangent(u, w, 20)
    assert np.array_equal(after, system.tangent(u, w[:, :0], 20)[0])

    def difference(size: float) -> np.ndarray:
        sides = [system.tangent(u + sign * size * w[:, 1], w[:, :0], 20)[0] for sign in (1, -1)]
        return (sides[0] - sides[1]) / (2 * size)

    errors = [np.abs(difference(size) - tangent[:, 1]).max() / np.abs(tangent).max() for size in (1e-2, 5e-3, 1e-5)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[2] < 1e-7


@pytest.mark.parametrize("system", SYSTEMS, ids=repr)
def test_vectors_add_and_scale(system):
    u = system.states(1, 200, 0)
    w = np.random.default_rng(0).standard_normal((1, 2, *system.shape))
    both = np.concatenate([w, 3 * w[:, :1] - 1e-6 * w[:, 1:]], axis=1)
    one, two, mixed = system.tangent(u, both, 20)[1][0]
    assert mixed == pytest.approx(3 * one - 1e-6 * two, abs=1e-10 * np.abs(mixed).max())


@pytest.mark.parametrize("system", SYSTEMS[:2], ids=repr)
def test_derivative_along_x_is_carried_into_itself(system):
    """Translation is a symmetry: u_x at one time becomes u_x at the other."""
    k = 2 * np.pi / 22 * np.fft.rfftfreq(system.points, 1 / system.points)

    def slope(u: np.ndarray) -> np.ndarray:
        return np.fft.irfft(1j * np.where(k < k[-1], k, 0) * np.fft.rfft(u), system.points)

    u = system.states(2, 1000, 0)
    after, w = system.tangent(u, slope(u)[:, None], 100)
    assert w[:, 0] == pytest.approx(slope(after), abs=1e-8)


# --- exponents known exactly ----------------------------------------------------------------


class AtRest(Lorenz):
    """Starts in the fixed point C+, where exponents are the real parts of eigenvalues."""

    def random_starts(self, trajectories, seed):
        r = np.sqrt(BETA * (RHO - 1))
        return np.tile([r, r, RHO - 1], (trajectories, 1))


def test_exponents_of_a_fixed_point():
    x = np.sqrt(BETA * (RHO - 1))
    jacobian = [[-SIGMA, SIGMA, 0], [1, -1, -x], [x, x, -BETA]]
    result = exponents(AtRest(), 3, trajectories=2, time=80, transient=0, settle=5, interval=0.5)
    expected = np.sort(np.linalg.eigvals(jacobian).real)[::-1]
    assert result["exponents"].values == pytest.approx(expected, abs=0.01)  # the pair turns: error 1 / time
    assert expected[0] == expected[1] > 0


def test_exponents_of_fields_at_rest():
    """Small domains come to rest; there the exponents are the growth rates k^2 - k^4."""
    k2 = (2 * np.pi / 5) ** 2
    one, two = k2 - k2**2, 2 * k2 - 4 * k2**2  # of n^2 = 1 and 2
    line = exponents(KS1D(5.0, 16), 4, trajectories=2, time=10, transient=50, settle=5, interval=0.1)
    assert line["exponents"].values == pytest.approx([one] * 2 + [4 * k2 - 16 * k2**2] * 2, abs=1e-6)
    plane = exponents(KS2D(5.0, 16), 8, trajectories=2, time=10, transient=50, settle=5, interval=0.5)
    assert plane["exponents"].values == pytest.approx([one] * 4 + [two] * 4, abs=1e-6)
    assert kaplan_yorke(plane) == (0.0, 0.0)


def test_sum_of_all_exponents_of_lorenz():
    """The divergence is -(sigma + 1 + beta) everywhere."""
    result = exponents(Lorenz(), 3, trajectories=2, time=20, transient=5, settle=5, interval=0.5)
    assert result["rates"].sum("index").values == pytest.approx(-(SIGMA + 1 + BETA), abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "domain", "waves"),
    [
        (KS1D, (22.0, 28), [(n, 0) for n in range(1, 10)]),
        (KS2D, (10.0, 16), [(x, y) for x in range(6) for y in range(-5, 6) if (x, y) > (0, 0)]),
    ],
    ids=["ks1d", "ks2d"],
)
def test_sum_of_all_exponents_of_ks(kind, domain, waves):
    """The nonlinear term is free of divergence: twice the sum of k^2 - k^4, to the error of the step."""
    k2 = (2 * np.pi / domain[0]) ** 2 * np.array([x**2 + y**2 for x, y in waves])
    errors = []
    for h in (2**-6, 2**-7):
        system = kind(*domain, h)
        assert system.dimension == 2 * len(waves)
        few = {"trajectories": 2, "time": 0.5, "transient": 10, "settle": 0.25, "interval": 2**-5}
        rates = exponents(system, system.dimension, **few)["rates"]
        errors.append(float(np.abs(rates.sum("index") / (2 * np.sum(k2 - k2**2)) - 1).max()))
    assert errors[1] < 2e-5 and errors[0] > 12 * errors[1]  # 16 for the order 4


# --- exponents known from the literature ------------------------------------------------------


def test_stored_lorenz():
    """Sprott, Chaos and Time-Series Analysis (2003): 0.9056, 0, -14.5723."""
    result = stored_exponents("lorenz")
    assert near(result, [0.9056, 0, -14.5723], 5e-5)
    assert result["standard_errors"][0] < 0.002
    dimension, error = kaplan_yorke(result)
    assert abs(dimension - 2.062) < 4 * error + 5e-4


def test_stored_ks_at_22():
    """Cvitanovic, Davidchack & Siminos (2010), table for L = 22."""
    result = stored_exponents("ks1d-22")
    assert near(result, [0.048, 0, 0, -0.003, -0.189, -0.256, -0.290, -0.310, -1.963], 5e-4)
    assert near(result, [0.0478], 0.0007)
    dimension, error = kaplan_yorke(result)
    assert abs(dimension - 4.24) < 4 * error + 0.005 and error < 0.02


def test_stored_ks_at_100():
    result = stored_exponents("ks1d-100")
    assert near(result, [0.092], 0.002)
    dimension, error = kaplan_yorke(result)
    assert abs(dimension - 21.5) < 4 * error + 0.05
    assert (result["exponents"][:11] > 4 * result["standard_errors"][:11]).all()  # 11 positive ones,
    assert np.abs(result["exponents"][11:13]).max() < 0.003  # two 0 for shifts in space and time,
    assert (result["exponents"][13:] < -4 * result["standard_errors"][13:]).all()  # and negative ones


def test_stored_ks_in_two_dimensions():
    """Two other codes gave .186 +- .003; for our value see also `test_twins_in_two_dimensions`."""
    result = stored_exponents("ks2d-22")
    value, error = float(result["exponents"][0]), float(result["standard_errors"][0])
    assert abs(value - 0.186) < 4 * np.hypot(error, 0.003) and error < 0.002


def test_twins_in_two_dimensions():
    """Without tangent vectors, by `ks2d` alone on a finer grid: how fast small differences grow."""
    n, size, interval = 14, 1e-7, 10.0
    v = ks2d(transient=50, dt=1, steps=1, trajectories=n, step=0.1, seed=7).values[:, 0]
    delta = np.random.default_rng(2).standard_normal(v.shape)
    rates = []
    for _ in range(8):
        delta *= size / np.sqrt(np.mean(delta**2, axis=(1, 2), keepdims=True))
        pairs = {"initial": np.concatenate([v, v + delta]), "trajectories": 2 * n, "transient": 0}
        both = ks2d(**pairs, dt=interval, steps=2, step=0.1).values[:, 1]
        v, delta = both[:n], both[n:] - both[:n]
        rates.append(np.log(np.sqrt(np.mean(delta**2, axis=(1, 2))) / size) / interval)
    rates = np.mean(rates[2:], axis=0)
    error = rates.std(ddof=1) / np.sqrt(n)
    stored = stored_exponents("ks2d-22")
    assert abs(rates.mean() - stored["exponents"][0]) < 4 * np.hypot(error, stored["standard_errors"][0])
    assert error < 0.02


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lorenz", {"trajectories": 40, "time": 40, "transient": 20, "settle": 10}),
        ("ks1d-22", {"count": 1, "trajectories": 40, "time": 200, "transient": 100, "settle": 30}),
        ("ks2d-22", {"trajectories": 12, "time": 40, "transient": 50, "settle": 20}),
    ],
)
def test_short_runs_agree_with_the_stored_ones(name, arguments):
    make, recipe = RECIPES[name]
    short = exponents(make(), **(recipe | arguments | {"seed": 1}))
    stored = stored_exponents(name).isel(index=slice(0, short.sizes["index"]))
    error = np.hypot(short["standard_errors"], stored["standard_errors"])
    assert np.all(np.abs(short["exponents"] - stored["exponents"]) < 4 * error + 1e-2 / arguments["time"])


def test_stored_files_belong_to_their_recipes():
    for name, (make, recipe) in RECIPES.items():
        attrs = stored_exponents(name).attrs
        assert attrs["system"] == repr(make()) and recipe.items() <= attrs.items()


def test_damage_is_refused_by_name(tmp_path, monkeypatch):
    shutil.copytree(jobs.DATA / "lyapunov", tmp_path / "lyapunov")
    monkeypatch.setattr(jobs, "DATA", tmp_path)
    path = job("lorenz").path
    record = json.loads(path.read_text())
    record["result"]["rates"][0][0] += 1e-9
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"lorenz\.json is damaged"):
        stored_exponents("lorenz")
    path.write_bytes(job("ks1d-22").path.read_bytes())
    add_to_manifest(path)
    with pytest.raises(ValueError, match=r"lorenz\.json must hold settings .*lorenz.*got .*ks1d-22"):
        stored_exponents("lorenz")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lorenz\.json"):
        stored_exponents("lorenz")
    with pytest.raises(ValueError, match="name must be one of 'lorenz', 'ks1d-22'"):
        stored_exponents("Lorenz")


def test_stored_exponents_are_remade_by_their_job(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "DATA", tmp_path)
    small = {"count": 3, "trajectories": 2, "time": 1.0, "transient": 1.0, "interval": 0.5, "progress": False}
    monkeypatch.setitem(RECIPES, "lorenz", (Lorenz, small))
    job("lorenz").perform()
    made = lyapunov_exponents(Lorenz(), **small)
    assert stored_exponents("lorenz").identical(made)


# --- the public calls -------------------------------------------------------------------------


def test_result_and_its_recipe():
    result = exponents(Lorenz(), 2, trajectories=3, time=2, transient=1, settle=1, interval=0.5, seed=4)
    assert result["rates"].dims == ("trajectory", "index") and result["rates"].shape == (3, 2)
    assert list(result["index"].values) == [1, 2]
    assert result["exponents"].values == pytest.approx(result["rates"].mean("trajectory").values)
    spread = result["rates"].std("trajectory", ddof=1).values / np.sqrt(3)
    assert result["standard_errors"].values == pytest.approx(spread)
    names = ["count", "trajectories", "time", "transient", "settle", "interval", "seed"]
    again = exponents(Lorenz(), **{name: result.attrs[name] for name in names})
    assert again.identical(result)
    assert result.attrs["subspace"] == "all three components"
    assert exponents(KS1D(), 1, trajectories=2, time=1, transient=0).attrs["subspace"] == "fields of zero mean"


def test_a_system_says_how_to_make_it_again():
    for system in (KS1D(), KS1D(2 * np.pi * 5, 40, 1 / 3), KS2D(9.87, 20), Lorenz(1 / 300)):
        again = eval(repr(system))
        assert vars(again) == vars(system) and repr(again) == repr(system)
    assert repr(KS1D()) == "KS1D(length=22, points=64, step=0.05)"


def test_rates_do_not_depend_on_the_other_trajectories():
    arguments = {"count": 20, "time": 1, "transient": 5, "settle": 1, "interval": 0.05, "seed": 3}
    many, few = (exponents(KS1D(), **arguments, trajectories=n) for n in (40, 2))  # in two groups, in one
    assert np.array_equal(many["rates"][:2], few["rates"])


def test_progress_is_shown(capsys):
    lyapunov_exponents(Lorenz(), 1, trajectories=2, time=1, transient=0, settle=0)
    assert "Lorenz(step=0.01): 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "dimension"),
    [
        ([0.9056, 0, -14.5723], 2 + 0.9056 / 14.5723),
        ([-14.5723, 0, 0.9056], 2 + 0.9056 / 14.5723),
        ([-0.1, -1], 0.0),
        ([0.0, -1.0], 1.0),
        ([1.0, -0.5, -0.5, -1], 3.0),
    ],
)
def test_dimension_of_given_exponents(values, dimension):
    found, error = kaplan_yorke(values)
    assert found == pytest.approx(dimension) and np.isnan(error)


def test_error_of_the_dimension():
    """Jackknife against the linear propagation of errors, D = 2 + (a + b) / |c|."""
    rng = np.random.default_rng(0)
    rates = np.array([0.9, 0, -14.5]) + rng.standard_normal((50, 3)) * [0.03, 0.01, 0.05]
    dimension, error = kaplan_yorke(rates)
    a, b, c = rates.mean(0)
    linear = (rates[:, 0] + rates[:, 1]) / -c + rates[:, 2] * (a + b) / c**2
    assert dimension == pytest.approx(2 + (a + b) / -c)
    assert error == pytest.approx(linear.std(ddof=1) / np.sqrt(50), rel=0.01)


BAD = [
    ({"system": "lorenz"}, TypeError, "system must be a KS1D, KS2D, Lorenz or another Flow; got 'lorenz'"),
    ({"count": 0}, ValueError, "count"),
    ({"count": 4}, ValueError, "count must be at most 3; got 4"),
    ({"count": 1.0}, TypeError, "count"),
    ({"trajectories": 1}, ValueError, "trajectories must be at least 2"),
    ({"time": 0}, ValueError, "time"),
    ({"time": 1e9}, ValueError, "time=.* integrator steps"),
    ({"time": 1e5, "trajectories": 10**5}, ValueError, str(WORK_LIMIT)),
    ({"trajectories": 10**12}, ValueError, "trajectories"),
    ({"transient": -1}, ValueError, "transient"),
    ({"settle": float("nan")}, ValueError, "settle"),
    ({"interval": 0}, ValueError, "interval"),
    ({"interval": 0.015}, ValueError, "interval must be a whole multiple of step=0.01"),
    ({"interval": 2.0}, ValueError, "interval must be short enough .* got 2, in which"),
    ({"seed": -1}, ValueError, "seed"),
]


@pytest.mark.parametrize(("arguments", "error", "named"), BAD)
def test_bad_arguments(arguments, error, named):
    small = {"system": Lorenz(), "count": 3, "trajectories": 2, "time": 10, "transient": 1, "settle": 1}
    with pytest.raises(error, match=named):
        lyapunov_exponents(**(small | arguments), progress=False)


@pytest.mark.parametrize(
    ("values", "error", "named"),
    [
        ([0.1, 0.0], ValueError, "exponents must have a negative sum"),
        (np.zeros((2, 2, 2)), ValueError, "exponents must be"),
        ([[0.1], [float("nan")]], ValueError, "exponents must be finite"),
        ("0.9", TypeError, "exponents must be an array"),
        ([], ValueError, "exponents"),
    ],
)
def test_bad_exponents(values, error, named):
    with pytest.raises(error, match=named):
        kaplan_yorke(values)
