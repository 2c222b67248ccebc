"""What the simulators share: counts of steps, random starts, sampling, tangent vectors.

A flow takes a state u(0) to u(t); a small difference w travels along by the linearised flow,
w(t) = Du(t)/Du(0) w(0). Both go through one integrator, packed as an array
(trajectory, 1 + vectors, ...): the state first, its tangent vectors behind it. A step combines
states and right-hand sides linearly; so where the right-hand side of each vector is
Df(u) w, taken at the state of the same stage, the step of the vector is the exact derivative
of the step of the state, not an approximation to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from ..checks import check_array, check_count, check_integer, check_positive, check_real, listed, shown
from ..storage import package_version

DATA_LIMIT = 2 * 2**30  # bytes of one call's arrays; a reader's laptop or a Binder session holds this

STEP_LIMIT = 10**8  # integrator steps, some hours on a laptop

WORK_LIMIT = 10**12  # numbers stepped once, a day on a laptop

CACHE = 2**15  # numbers that step together: more would not fit into a processor's cache


class Flow(ABC):
    """An autonomous system that steps by `step`, with its linearisation.

    A subclass says what a state is and how a pack of states and vectors steps once; `sample`,
    `trajectories` and `lyapunov_exponents` take any.
    """

    step: float
    """Time step of the integrator."""
    shape: tuple[int, ...]
    """Of one state."""
    subspace: str
    """The space of tangent vectors in words."""

    # What `trajectories` writes beside the numbers:
    maker: str
    """The function of the package that hands them on."""
    name: str
    """The variable."""
    long_name: str
    """The variable in words."""
    equation: str
    """In plain letters."""
    method: str
    """Of integration."""
    dims: tuple[str, ...]
    """Names of a state's axes."""
    resolution: str = ""
    """How finely space is cut, for error messages."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Of the space of tangent vectors: the number of Lyapunov exponents."""

    @property
    def coordinates(self) -> Mapping[str, np.ndarray | list[str]]:
        """Of a state's axes."""
        return {}

    @property
    def parameters(self) -> Mapping[str, float]:
        """Of the equation and its grid."""
        return {}

    @abstractmethod
    def random_starts(self, trajectories: int, seed: int) -> np.ndarray:
        """States (trajectories, *shape), each from a stream of its own, not yet on the attractor."""

    @abstractmethod
    def one_step(self, pack: np.ndarray) -> np.ndarray:
        """States and vectors, as `encode` gives them, a step later."""

    def encode(self, pack: np.ndarray) -> np.ndarray:
        """From (trajectory, 1 + vectors, *shape) to what the integrator works with."""
        return pack

    def decode(self, pack: np.ndarray) -> np.ndarray:
        """Back again."""
        return pack

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Tangent vectors (trajectory, vectors, *shape), put back into the subspace."""
        return vectors

    @np.errstate(all="ignore")  # what is infinite is found below, and fast waves decay to nothing
    def integrate(self, pack: np.ndarray, count: int, done: int = 0) -> np.ndarray:
        """`count` steps of an encoded pack, `done` steps after its start; raises if it becomes infinite."""
        for _ in range(count):
            pack = self.one_step(pack)
        if not np.isfinite(pack).all():
            raise FloatingPointError(
                f"the integration blew up before t = {(done + count) * self.step:g} with step={self.step:g}: "
                "take a smaller step (the default is safe), or a smaller initial field"
            )
        return pack

    def admitted(self, start: np.ndarray) -> np.ndarray:
        """Given starts (trajectories, *shape), put onto the space of states."""
        return start

    def diagnostics(self, samples: np.ndarray) -> dict[str, tuple]:
        """Further coordinates of samples (trajectory, time, *shape)."""
        return {}

    def bytes_for(self, trajectories: int, steps: int) -> int:
        """What `trajectories` needs: the samples, and about 20 states to work with."""
        return 8 * trajectories * int(np.prod(self.shape)) * (steps + 20)

    @np.errstate(all="ignore")
    def trajectories(
        self,
        *,
        dt: float,
        steps: int,
        transient: float,
        trajectories: int = 1,
        seed: int | np.random.Generator | None = 0,
        initial: np.ndarray | None = None,
    ) -> xr.DataArray:
        """Samples (trajectory, time, *dims) with coordinates; `.attrs` holds what is needed to make them again.

        dt : time between samples, a whole multiple of `step`.
        steps : number of samples in each trajectory; their time counts from the first.
        transient : time to pass before the first sample, rounded up to whole steps.
        trajectories : how many; each has a random stream of its own, so that trajectory i does not
            depend on how many are made.
        seed : int, NumPy generator or None, for the random starts.
        initial : starts to use instead, (trajectories, *shape); they are kept in the coordinate `start`.

        Raises TypeError or ValueError where an argument is of the wrong kind, out of bounds, or asks for
        more than `DATA_LIMIT` bytes, `STEP_LIMIT` integrator steps or `WORK_LIMIT` of numbers times steps;
        FloatingPointError if the integration blows up.
        """
        steps = check_count("steps", steps)
        trajectories = check_count("trajectories", trajectories)
        dt = check_positive("dt", dt)
        transient = check_real("transient", transient, minimum=0)
        stride = whole_multiple("dt", dt, self.step)
        skip = steps_to_skip(transient, self.step)

        sizes = [f"trajectories={shown(trajectories)}", f"steps={shown(steps)}"]
        check_memory(self.bytes_for(trajectories, steps), listed([*sizes, self.resolution]))
        words = f"transient={transient:g}, dt={dt:g} and steps={steps} with step={self.step:g}"
        check_work(skip + stride * (steps - 1), trajectories * int(np.prod(self.shape)), words)

        if initial is None:
            seed = plain_seed(seed)
            start = self.random_starts(trajectories, seed)
        else:
            seed = None
            initial = given_starts(initial, trajectories, self.shape)
            start = self.admitted(initial)
        samples = sample(self, start, skip, stride, steps)
        recipe = {"dt": dt, "steps": steps, "transient": transient, "trajectories": trajectories}
        return self._labelled(samples, recipe | {"step": self.step, "seed": seed}, initial)

    def _labelled(self, samples: np.ndarray, recipe: dict, initial: np.ndarray | None) -> xr.DataArray:
        """The samples with coordinates and with the recipe in `.attrs`."""
        coords = {
            "trajectory": np.arange(recipe["trajectories"]),
            "time": np.arange(recipe["steps"]) * recipe["dt"],
        }
        coords |= {**self.coordinates, **self.diagnostics(samples)}
        if initial is not None:
            coords["start"] = (("trajectory", *self.dims), initial)
        attrs: dict[str, object] = {
            "long_name": self.long_name,
            "made_by": f"qrnn_helpers.{self.maker}",
            "equation": self.equation,
        }
        attrs |= dict(self.parameters) | recipe
        attrs |= {"initial": "random" if initial is None else "given", "version": package_version()}
        attrs["method"] = self.method
        return xr.DataArray(samples, coords, ("trajectory", "time", *self.dims), self.name, attrs)

    def states(self, trajectories: int, count: int, seed: int) -> np.ndarray:
        """States (trajectories, *shape), `count` steps after random starts."""
        return sample(self, self.random_starts(trajectories, seed), count, 1, 1)[:, 0]

    def tangent(self, states: np.ndarray, vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """States (trajectory, *shape) and vectors (trajectory, vectors, *shape), `count` steps later.

        The vectors are taken by the derivative of those `count` steps at the states.
        """
        pack = np.concatenate([states[:, None], self.project(vectors)], axis=1)
        pack = self.decode(self.integrate(self.encode(pack), count))
        return pack[:, 0], pack[:, 1:]


def sample(flow: Flow, start: np.ndarray, skip: int, stride: int, steps: int) -> np.ndarray:
    """Samples (trajectory, steps, *shape): skip `skip` steps, then keep one in `stride`."""
    samples = np.empty((len(start), steps, *flow.shape))
    for part in groups(flow, len(start)):
        pack = flow.integrate(flow.encode(start[part, None]), skip)
        samples[part, 0] = start[part] if skip == 0 else flow.decode(pack)[:, 0]
        for i in range(1, steps):
            pack = flow.integrate(pack, stride, skip + (i - 1) * stride)
            samples[part, i] = flow.decode(pack)[:, 0]
    return samples


def groups(flow: Flow, trajectories: int, vectors: int = 0) -> Iterator[slice]:
    """Trajectories that step together because they fit into the cache; results do not depend on it."""
    size = max(1, CACHE // ((1 + vectors) * int(np.prod(flow.shape))))
    return (slice(first, first + size) for first in range(0, trajectories, size))


def whole_multiple(name: str, time: float, step: float) -> int:
    """time / step, which must be a whole number but for rounding."""
    ratio = time / step
    count = round(ratio) if np.isfinite(ratio) else 0
    if count < 1 or abs(ratio - count) > 1e-9 * count:
        raise ValueError(f"{name} must be a whole multiple of step={step:g}; got {time:g}")
    return count


def steps_to_skip(transient: float, step: float) -> int:
    """Whole steps that cover `transient`, forgiving the rounding of the division."""
    ratio = transient / step
    return int(np.ceil(ratio * (1 - 1e-12))) if np.isfinite(ratio) else STEP_LIMIT + 1


def digits(number: float) -> str:
    """The shortest text for exactly this number: 22 for 22.0."""
    return repr(number).removesuffix(".0")


def plain_seed(seed: int | np.random.Generator | None) -> int:
    """An integer that makes the same starts again; a generator moves on by one draw."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63 - 1))
    if seed is None:
        return int(np.random.default_rng().integers(2**63 - 1))
    return check_integer("seed", seed, 0, 2**63 - 1, ", a numpy.random.Generator or None")


def given_starts(initial: object, trajectories: int, shape: tuple[int, ...]) -> np.ndarray:
    """`initial` as finite float64 (trajectories, *shape)."""
    start = check_array("initial", initial)
    if start.shape != (trajectories, *shape):
        names = ", ".join(["trajectories", *["points"] * len(shape)])
        raise ValueError(f"initial must have shape ({names}) = {(trajectories, *shape)}; got {start.shape}")
    return np.array(start)  # `initial` may change later


def check_memory(needed: int, words: str) -> None:
    """Refuse before allocating `needed` bytes; `words` say for what."""
    if needed > DATA_LIMIT:
        raise ValueError(f"{words} would need {shown(needed)} bytes; at most {DATA_LIMIT} are allowed: ask for fewer")


def check_work(count: int, size: int, words: str) -> None:
    """Refuse what would run for days: `count` steps of `size` numbers."""
    if count > STEP_LIMIT:
        raise ValueError(
            f"{words} would need at least {shown(count)} integrator steps; at most {STEP_LIMIT} are allowed"
        )
    if count * size > WORK_LIMIT:
        raise ValueError(
            f"{words} would need {shown(count)} integrator steps of {size} numbers; "
            f"at most {WORK_LIMIT} of their product are allowed"
        )
