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
from collections.abc import Iterator

import numpy as np

from ..checks import check_array, check_integer, shown

MEMORY_LIMIT = 2 * 2**30  # bytes; a reader's laptop or a Binder session holds this

STEP_LIMIT = 10**8  # integrator steps, some hours on a laptop

WORK_LIMIT = 10**12  # numbers stepped once, a day on a laptop

CACHE = 2**15  # numbers that step together: more would not fit into a processor's cache


class Flow(ABC):
    """An autonomous system that steps by `step`, with its linearisation.

    A subclass says what a state is and how a pack of states and vectors steps once;
    `sample` and `lyapunov_exponents` take any.
    """

    step: float
    """Time step of the integrator."""
    shape: tuple[int, ...]
    """Of one state."""
    dimension: int
    """Of the space of tangent vectors: the number of Lyapunov exponents."""
    subspace: str
    """That space in words."""

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
    def advance(self, pack: np.ndarray, count: int, done: int = 0) -> np.ndarray:
        """`count` steps of an encoded pack, `done` steps after its start; raises if it becomes infinite."""
        for _ in range(count):
            pack = self.one_step(pack)
        if not np.isfinite(pack).all():
            raise FloatingPointError(
                f"the integration blew up before t = {(done + count) * self.step:g} with step={self.step:g}: "
                "take a smaller step (the default is safe), or a smaller initial field"
            )
        return pack

    def states(self, trajectories: int, count: int, seed: int) -> np.ndarray:
        """States (trajectories, *shape), `count` steps after random starts."""
        return sample(self, self.random_starts(trajectories, seed), count, 1, 1)[:, 0]

    def tangent(self, states: np.ndarray, vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """States (trajectory, *shape) and vectors (trajectory, vectors, *shape), `count` steps later.

        The vectors are taken by the derivative of those `count` steps at the states.
        """
        pack = np.concatenate([states[:, None], self.project(vectors)], axis=1)
        pack = self.decode(self.advance(self.encode(pack), count))
        return pack[:, 0], pack[:, 1:]


def sample(flow: Flow, start: np.ndarray, skip: int, stride: int, steps: int) -> np.ndarray:
    """Samples (trajectory, steps, *shape): skip `skip` steps, then keep one in `stride`."""
    samples = np.empty((len(start), steps, *flow.shape))
    for part in groups(flow, len(start)):
        pack = flow.advance(flow.encode(start[part, None]), skip)
        samples[part, 0] = start[part] if skip == 0 else flow.decode(pack)[:, 0]
        for i in range(1, steps):
            pack = flow.advance(pack, stride, skip + (i - 1) * stride)
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


def given_starts(initial: object, trajectories: int, shape: tuple[int, ...], names: str) -> np.ndarray:
    """`initial` as finite float64 (trajectories, *shape); `names` says what these sizes are."""
    start = check_array("initial", initial)
    if start.shape != (trajectories, *shape):
        raise ValueError(f"initial must have shape ({names}) = {(trajectories, *shape)}; got {start.shape}")
    return np.array(start)  # `initial` may change later


def check_memory(needed: int, words: str) -> None:
    """Refuse before allocating `needed` bytes; `words` say for what."""
    if needed > MEMORY_LIMIT:
        raise ValueError(f"{words} would need {shown(needed)} bytes; at most {MEMORY_LIMIT} are allowed: ask for fewer")


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
