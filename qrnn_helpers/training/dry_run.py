"""What training will book on a layer's ledger, found by updates that run nothing."""

from __future__ import annotations

import copy
from functools import partial
from typing import NamedTuple

import torch

from ..backends import Backend, CostLedger, Executor
from ..gradients import Autograd, GradientEstimator, GuidedSPSA, Passes, RandomCoordinate, WeightSPSA, in_one_job
from ..models import QuantumRecurrentLayer
from ..simulation import StepProgram, count_runs
from ..torch_modes import settled


class Booked(NamedTuple):
    """Circuits and jobs; ``exact`` if they are what will be booked, not the most that can be."""

    circuits: int
    jobs: int
    exact: bool


class Silent(Backend):
    """Answers uniform probabilities at once, to as many circuits a run as another backend takes."""

    def __init__(self, max_circuits: int | None, one_job: bool):
        self.max_circuits = max_circuits
        self.one_job = one_job

    def run(self, program: StepProgram, gate_angles: torch.Tensor, state: torch.Tensor | None = None):
        outcomes = 2**program.readout
        return gate_angles.new_full((*gate_angles.shape[:2], outcomes), 1 / outcomes), None

    def variants(self, *_, **__):
        return lambda step, replaced: replaced.new_zeros(replaced.shape[:-1])


def booked(layer: QuantumRecurrentLayer, updates: int, batch: int, time_steps: int, max_circuits: int | None) -> Booked:
    """What so many updates book on a layer, each one forward and one backward pass over a batch, with at most
    ``max_circuits`` a job (None: as many as a simulator takes).

    Circuits are those that the estimator promises, at most; jobs are counted by an update with another backend.
    """
    circuits = jobs = 0
    exact = True
    silent = Silent(max_circuits, layer.backend.one_job)
    for gradient, count in _stages(layer, updates, time_steps):
        dry = _dry_update(layer.program, gradient, silent, batch, time_steps)
        most = batch * (1 + gradient.circuits(layer.program, time_steps))
        beyond = most - dry.circuits  # what this draw has not taken may fill jobs of its own
        circuits += count * most
        if in_one_job(silent, gradient):
            jobs += count * _jobs(most, max_circuits)
        else:
            jobs += count * (dry.jobs + (_jobs(beyond, max_circuits) if max_circuits else 0))
        exact &= not beyond and not isinstance(gradient, RandomCoordinate | GuidedSPSA)
    return Booked(circuits, jobs, exact)


def _jobs(circuits: int, max_circuits: int | None) -> int:
    """Jobs that hold so many circuits."""
    return -(-circuits // max_circuits) if max_circuits else 1


def _stages(layer: QuantumRecurrentLayer, updates: int, time_steps: int) -> list[tuple[GradientEstimator, int]]:
    """The estimator as it is in the course of so many updates, whenever its circuits change, with its updates."""
    gradient = copy.deepcopy(layer.gradient)
    if type(gradient).progress is GradientEstimator.progress:
        return [(gradient, updates)]
    kinds: dict[int, GradientEstimator] = {}
    counts: dict[int, int] = {}
    for done in range(updates):
        if gradient.progress(done / updates) or not done:
            most = gradient.circuits(layer.program, time_steps)
        if most not in kinds:
            kinds[most] = copy.deepcopy(gradient)
        counts[most] = counts.get(most, 0) + 1
    return [(kinds[most], count) for most, count in counts.items()]


@torch.no_grad()
def _dry_update(
    program: StepProgram, gradient: GradientEstimator, backend: Backend, batch: int, time_steps: int
) -> CostLedger:
    """The ledger of one forward and one backward pass."""
    ledger = CostLedger()
    executor = Executor(program, backend, ledger, None)
    shape = (batch, time_steps)
    angles = torch.zeros(*shape, len(program.parameters), dtype=torch.float64, device="cpu")
    weights = torch.zeros(*shape, 2**program.readout, dtype=torch.float64, device="cpu")
    passes = Passes(executor, gradient, in_one_job(backend, gradient))
    ask = partial(_estimate, angles)
    with settled(angles.device):
        passes.forward(angles, ask)
        passes.backward(weights, ask)
    return ledger


def _estimate(
    angles: torch.Tensor, gradient: GradientEstimator, executor: Executor, weights: torch.Tensor
) -> torch.Tensor:
    if isinstance(gradient, Autograd):
        return weights
    if isinstance(gradient, WeightSPSA):
        return gradient.estimate_weights(executor, _inputs(gradient, angles), angles, weights)
    return gradient.estimate(executor, angles, weights)


def _inputs(gradient: WeightSPSA, angles: torch.Tensor) -> torch.Tensor:
    """Inputs (R, batch * time, 1) of the encoders of R runs: how many there are of each does not count."""
    runs = count_runs(gradient.generator)
    return angles.new_ones(runs, angles.shape[0] * angles.shape[1] // runs, 1)
