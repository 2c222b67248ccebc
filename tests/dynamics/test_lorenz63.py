"""The Lorenz integrator, as a numerical analyst would try it."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from qrnn_helpers.dynamics import Lorenz, lorenz
from qrnn_helpers.dynamics.flow import DATA_LIMIT, WORK_LIMIT
from qrnn_helpers.dynamics.lorenz63 import BETA, LONGEST_STEP, RHO, SIGMA


def flow(states: np.ndarray, time: float, step: float = LONGEST_STEP) -> np.ndarray:
    """The states (trajectory, 3) after `time`."""
    system = Lorenz(step)
    return system.decode(system.integrate(system.encode(states[:, None]), round(time / step)))[:, 0]


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    """Twenty states on the attractor."""
    return Lorenz().states(20, 2000, 0)


def test_eighth_order(states):
    steps = [1 / 20, 1 / 40, 1 / 80]
    reference = flow(states, 1, 1 / 640)
    errors = [np.abs(flow(states, 1, h) - reference).max() for h in steps]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(orders > 7.5) and np.all(orders < 9.5)
    assert np.abs(flow(states, 1) - reference).max() < 1e-9  # with the step that `lorenz` takes


def test_agrees_with_another_method(states):
    def rhs(_: float, s: np.ndarray) -> list[float]:
        x, y, z = s
        return [10 * (y - x), 28 * x - y - x * z, x * y - 8 / 3 * z]

    other = solve_ivp(rhs, (0, 2), states[0], method="Radau", rtol=1e-10, atol=1e-10).y[:, -1]
    assert flow(states[:1], 2)[0] == pytest.approx(other, abs=1e-5)


def test_half_turn_about_the_z_axis_to_the_bit(states):
    turn = np.array([-1, -1, 1])
    assert np.array_equal(flow(states * turn, 20), flow(states, 20) * turn)


def test_equilibria_stay_and_the_z_axis_decays():
    r = np.sqrt(BETA * (RHO - 1))
    rest = np.array([[0, 0, 0], [r, r, RHO - 1], [-r, -r, RHO - 1]])
    assert flow(rest, 5) == pytest.approx(rest, abs=1e-11)
    assert flow(np.array([[0, 0, 20.0]]), 3)[0] == pytest.approx([0, 0, 20 * np.exp(-BETA * 3)], rel=1e-11)


def test_climate_identities():
    """Means of d/dt x^2/2, d/dt z and d/dt (y^2 + z^2)/2 vanish; errors from independent trajectories."""
    x, y, z = lorenz(trajectories=64, steps=2000, dt=0.02, transient=20, seed=2).values.transpose(2, 0, 1)
    for rate in (SIGMA * (x * y - x**2), x * y - BETA * z, RHO * x * y - y**2 - BETA * z**2):
        means = rate.mean(1)
        assert abs(means.mean()) < 4 * means.std(ddof=1) / 8
        assert means.std(ddof=1) / 8 < 0.01 * np.abs(rate).mean()
    assert z.mean() == pytest.approx(23.55, abs=0.05)
    assert abs(x.mean()) < 4 * x.mean(1).std(ddof=1) / 8


# --- the public call ------------------------------------------------------------------------


def test_shape_names_and_recipe():
    field = lorenz(dt=0.05, steps=7, transient=1, trajectories=3, seed=4)
    assert field.dims == ("trajectory", "time", "component") and field.shape == (3, 7, 3)
    assert field.dtype == np.float64 and list(field["component"].values) == ["x", "y", "z"]
    assert field["time"].values == pytest.approx(np.arange(7) * 0.05)
    names = ["dt", "steps", "transient", "trajectories", "seed"]
    assert lorenz(**{name: field.attrs[name] for name in names}).identical(field)
    assert (field.attrs["sigma"], field.attrs["rho"], field.attrs["beta"]) == (10, 28, 8 / 3)


def test_defaults_are_those_of_the_api():
    field = lorenz()
    assert field.shape == (1, 10000, 3) and field.attrs["dt"] == 0.01 and field.attrs["transient"] == 50
    assert np.abs(field).max() < 60 and field.sel(component="z").min() > 0


def test_trajectory_does_not_depend_on_the_others():
    many = lorenz(steps=300, transient=20, trajectories=37, seed=9)
    few = lorenz(steps=300, transient=20, trajectories=1, seed=9)
    assert many.values[:1].tobytes() == few.values.tobytes()
    assert np.abs(many.values[0] - many.values[1]).max() > 1


def test_sampling_does_not_change_the_flow():
    often = lorenz(steps=41, dt=0.01, transient=2)
    seldom = lorenz(steps=11, dt=0.04, transient=2)
    assert seldom.attrs["step"] == 0.01
    assert often.values[:, ::4].tobytes() == seldom.values.tobytes()
    assert lorenz(dt=0.025, steps=2, transient=0).attrs["step"] == pytest.approx(0.025 / 3)
    assert lorenz(dt=0.001, steps=2, transient=0).attrs["step"] == 0.001


def test_seeds():
    def make(seed):
        return lorenz(steps=2, transient=1, seed=seed)

    assert make(3).identical(make(3))
    assert not make(3).equals(make(4))
    assert make(np.random.default_rng(1)).identical(make(np.random.default_rng(1)))
    unseeded = make(None)
    assert make(unseeded.attrs["seed"]).identical(unseeded)


BAD = [
    ({"dt": 0}, ValueError, "dt"),
    ({"dt": float("nan")}, ValueError, "dt"),
    ({"dt": "0.01"}, TypeError, "dt"),
    ({"dt": 1e300}, ValueError, "dt"),
    ({"dt": 1e-300}, ValueError, "dt"),
    ({"steps": 0}, ValueError, "steps"),
    ({"steps": 2.0}, TypeError, "steps"),
    ({"transient": -1}, ValueError, "transient"),
    ({"transient": 1e7}, ValueError, "integrator steps"),
    ({"trajectories": 0}, ValueError, "trajectories"),
    ({"trajectories": 10**6, "steps": 2, "transient": 9e5}, ValueError, str(WORK_LIMIT)),
    ({"seed": -1}, ValueError, "seed"),
    ({"seed": "a"}, TypeError, "seed"),
    ({"steps": 10**9}, ValueError, str(DATA_LIMIT)),
    ({"trajectories": 10**9}, ValueError, str(DATA_LIMIT)),
]


@pytest.mark.parametrize(("arguments", "error", "named"), BAD)
def test_bad_arguments(arguments, error, named):
    with pytest.raises(error, match=named) as caught:
        lorenz(**arguments)
    assert len(str(caught.value)) > 20  # says what came and what is allowed


def test_blow_up_is_an_error():
    with pytest.raises(FloatingPointError, match="step=0.5"):
        Lorenz(0.5).states(3, 200, 0)
