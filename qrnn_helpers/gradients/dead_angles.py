"""Which gate angles need no circuits of their own, because they do nothing or repeat another's slope.

In an unrolled circuit some angles provably move no output: an RZ on a qubit that has just been reset
or is about to be measured, a rotation of the memory after the last readout.  Others always have the
same slope as a neighbour: the memory's last RZ of a step and the first of the next are one rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ..backends import Backend, ExactBackend, Executor, NoisyBackend
from ..simulation import StepProgram
from ..torch_modes import indices_of

TRIALS = 8
"""Random circuits on which slopes are compared."""

DEAD = 1e-9
"""A slope below this part of the largest one is zero: double precision leaves about 1e-15."""

PARALLEL = 1e-6
"""Unit vectors of slopes closer than this are the same slope."""

MIXING = 8
"""Steps after which the angles of random circuits have to be smaller.  Large ones mix the memory within tens of steps:
slopes that are not zero would then fall below rounding, and be taken for zero."""

PAIRS = 2**17
"""Pairs of slopes that are compared at a time: they fit the processor's cache."""


@dataclass(frozen=True, eq=False)
class LiveAngles:
    """Slopes g (time * G,) of a circuit from those of its live gates: g = factor * g[source].

    ``live`` (time, G) marks the gates whose shift rule has to be run.
    """

    live: torch.Tensor
    source: torch.Tensor
    factor: torch.Tensor

    def complete(self, slopes: torch.Tensor) -> torch.Tensor:
        """Slopes (batch, time, G), right for live gates -> right for all."""
        sources = slopes.flatten(1)[:, self.source.to(slopes.device)]
        return (sources * self.factor.to(slopes)).view_as(slopes)


@lru_cache(maxsize=32)
def live_angles(program: StepProgram, time_steps: int, fresh: bool = True) -> LiveAngles:
    """Find dead and repeated gate angles of ``time_steps`` steps, from |0...0> (``fresh``) or any state.

    A slope is an analytic function of all angles and linear in the readout's weights.  It vanishes
    everywhere, or on a set of measure zero only; so slopes that vanish, or are proportional with one
    factor, at `TRIALS` random circuits do so at all, with probability one.  Gates are taken as
    independent: what a shared Parameter would add is not looked for.
    """
    slopes = _random_slopes(program, time_steps, fresh)
    norms = slopes.norm(dim=0)
    alive = norms > DEAD * norms.max() if len(norms) else norms > 0
    directions = slopes.T / norms.where(alive, 1.0)[:, None]
    order = indices_of(norms)
    portions = order.split(max(1, PAIRS // max(1, len(norms))))
    source = torch.cat([_last_parallel(directions, rows) for rows in portions])
    sign = (directions * directions[source]).sum(1).sign()
    factor = (sign * norms / norms[source].where(alive, 1.0)).where(alive, 0.0)
    live = alive & (source == order)
    return LiveAngles(live.view(time_steps, -1), source, factor)


def plan_of(executor: Executor, time_steps: int) -> LiveAngles:
    """`live_angles` of the circuits to be run; refused under a noise in which they are others."""
    fresh = executor.state is None
    noisy = _with_noise(executor.backend)
    if noisy is not None and not _holds(executor.program, time_steps, fresh, noisy):
        raise ValueError(
            "prune must be False, and the gradient none that always prunes, under noise in which angles count that "
            f"do nothing, or repeat others, without it; got {noisy!r}"
        )
    return live_angles(executor.program, time_steps, fresh)


def _with_noise(backend: Backend) -> NoisyBackend | None:
    """The noisy process, as far as a backend knows it."""
    found = backend if isinstance(backend, NoisyBackend) else getattr(backend, "exact", None)
    return found if isinstance(found, NoisyBackend) else None


@lru_cache(maxsize=32)
def _holds(program: StepProgram, time_steps: int, fresh: bool, noisy: NoisyBackend) -> bool:
    """Whether the slopes of live angles give all others under noise, too, on the same random circuits."""
    plan = live_angles(program, time_steps, fresh)
    slopes = _random_slopes(program, time_steps, fresh, noisy)
    off = plan.complete(slopes.view(TRIALS, time_steps, -1)).flatten(1) - slopes
    largest = DEAD if noisy.dtype == torch.complex128 else DEAD**0.5
    return bool(off.norm() <= largest * slopes.norm())


def _last_parallel(directions: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """For some rows of unit vectors (N, TRIALS) the last row that is the same up to its sign, else themselves.

    Of equal slopes the last one is run: the causal cut leaves it the fewest outputs.  All N**2 pairs are looked
    at, but only a few rows' at a time.
    """
    overlap = directions[rows] @ directions.T
    one, other = (overlap.abs() > 1 - PARALLEL).nonzero(as_tuple=True)
    sign = overlap[one, other].sign()[:, None]
    distance = (directions[rows[one]] - sign * directions[other]).norm(dim=1)
    parallel = distance < PARALLEL
    return rows.scatter_reduce(0, one[parallel], other[parallel], "amax")


@torch.inference_mode(False)
@torch.enable_grad()  # an estimator asks during a backward pass, where torch records nothing
def _random_slopes(
    program: StepProgram, time_steps: int, fresh: bool, backend: ExactBackend | None = None
) -> torch.Tensor:
    """Exact slopes (TRIALS, time * G) of random weighted readouts at random gate angles."""
    gates = len(program.occurrences)
    if not gates:
        return torch.zeros(TRIALS, 0, dtype=torch.float64, device="cpu")
    generator = torch.Generator("cpu").manual_seed(0)
    uniform = torch.rand(TRIALS, time_steps, gates, generator=generator, dtype=torch.float64, device="cpu")
    outcomes = 2**program.readout
    weights = torch.randn(TRIALS, time_steps, outcomes, generator=generator, dtype=torch.float64, device="cpu")
    # From circuits of full angles to such of angles so small that the memory outlives all steps.
    shrink = torch.arange(TRIALS, dtype=torch.float64, device="cpu") / (TRIALS - 1)
    angles = 2 * torch.pi * uniform
    angles *= ((1 + time_steps / MIXING) ** -shrink)[:, None, None]
    angles.requires_grad_()
    state = None if fresh else _random_state(program, generator)
    probabilities, _ = (backend or ExactBackend()).run(program, angles, state)
    (slopes,) = torch.autograd.grad((weights * probabilities).sum(), angles)
    return slopes.flatten(1)


def _random_state(program: StepProgram, generator: torch.Generator) -> torch.Tensor:
    """Density matrices (TRIALS, 2**memory, 2**memory) of full rank."""
    size = 2**program.memory
    factor = torch.randn(TRIALS, size, size, generator=generator, dtype=torch.complex128, device="cpu")
    rho = factor @ factor.mH
    return rho / rho.diagonal(dim1=-2, dim2=-1).sum(-1).real[:, None, None]
