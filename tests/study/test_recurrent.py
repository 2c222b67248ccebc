"""Truncation and clipping against what they are made of; slopes by lag and memory against plain loops."""

import pytest
import torch

from qrnn_helpers.backends import CostLedger, ExactBackend, Executor
from qrnn_helpers.circuits import rotation_step, two_way_step
from qrnn_helpers.gradients import SPSA
from qrnn_helpers.models import QRNN
from qrnn_helpers.simulation import StepProgram
from qrnn_helpers.study import recurrent
from qrnn_helpers.study.arms import Problem, network
from qrnn_helpers.study.recurrent import EXACT, TruncatedExact, TruncatedSPSA, angles_of, clipping, memory, read

TIME = 4


@pytest.fixture(scope="module")
def circuits():
    """An executor, angles (2, TIME, P) and weights (2, TIME, R)."""
    program = StepProgram(two_way_step(1, 1))
    generator = torch.Generator().manual_seed(0)
    angles = torch.randn(2, TIME, len(program.parameters), generator=generator, dtype=torch.float64)
    weights = torch.randn(2, TIME, 2, generator=generator, dtype=torch.float64)
    return Executor(program, ExactBackend(), CostLedger(), None), angles, weights


def test_a_reach_of_all_steps_truncates_nothing(circuits):
    executor, angles, weights = circuits
    torch.testing.assert_close(
        TruncatedSPSA(0.1, 3, 7, TIME - 1).estimate(*circuits), SPSA(0.1, 3, 7, causal=True).estimate(*circuits)
    )
    free = angles.clone().requires_grad_()
    (whole,) = torch.autograd.grad((executor.forward(free)[0] * weights).sum(), free)
    torch.testing.assert_close(TruncatedExact(TIME - 1).estimate(*circuits), whole)


@pytest.mark.parametrize("reach", [0, 2])
def test_truncated_slopes_are_those_of_the_outputs_within_reach(circuits, reach):
    """Step by step: the outputs s ... s + reach alone carry weights."""
    executor, angles, weights = circuits
    found = TruncatedExact(reach).estimate(*circuits)
    for s in range(TIME):
        within = torch.zeros_like(weights)
        within[:, s : s + reach + 1] = weights[:, s : s + reach + 1]
        free = angles.clone().requires_grad_()
        (g,) = torch.autograd.grad((executor.forward(free)[0] * within).sum(), free)
        torch.testing.assert_close(found[:, s], g[:, s])


def test_truncated_spsa_is_unbiased_for_the_truncated_slopes(circuits):
    many = torch.stack([TruncatedSPSA(1e-3, 50, seed, 1).estimate(*circuits) for seed in range(40)])
    error = (many.mean(0) - TruncatedExact(1).estimate(*circuits)) / (many.std(0) / 40**0.5)
    assert error.square().mean() < 1.6


def test_clipping_cuts_each_run_by_itself():
    weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(2, 1))]
    norms = []
    optimizer = clipping(torch.optim.SGD(weights, lr=1.0), 1.0, norms)
    weights[0].grad = torch.tensor([[3.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    weights[1].grad = torch.tensor([[4.0], [0.4]])
    optimizer.step()
    torch.testing.assert_close(norms[0], torch.tensor([5.0, 0.5]))
    torch.testing.assert_close(
        -torch.cat([w.detach() for w in weights], 1)[:, ::3], torch.tensor([[0.6, 0.8], [0.3, 0.4]])
    )


def test_slopes_by_lag_are_those_of_each_network_by_itself():
    problem = Problem(1, 1, 3)
    found = recurrent.gradients({"memory": 1, "readout": 1, "steps": 3}, 2, 2)
    x, y = recurrent.first(recurrent.task_of(problem, 0).train, 2)
    model = QRNN(x.shape[2], 1, rotation_step(1, 1), dtype=torch.float64, seed=1)
    for centred in (False, True):
        if centred:
            torch.nn.init.zeros_(model.encoder.bias)
        angles = model.encoder(x).detach().requires_grad_()
        p = model.layer(angles)[0][:, -1]
        for name, value in {
            "loss": (model.decoder(p) - y[:, -1]).square().sum(),
            "one": (p[:, 0] - p[:, 1]).sum(),
        }.items():
            (g,) = torch.autograd.grad(value, angles, retain_graph=True)
            squares = g.square().mean((0, 2)).flip(0).tolist()
            assert found["centred" if centred else "book"][name][1] == pytest.approx(squares, rel=1e-4)


def test_random_angles_are_anew_at_each_step():
    models = [QRNN(2, 1, rotation_step(1, 1), dtype=torch.float64, seed=0)]
    angles = angles_of("random", models, torch.zeros(1, 50, 2, dtype=torch.float64), torch.Generator().manual_seed(0))
    assert angles.abs().max() <= torch.pi
    assert angles.std(2).min() > 1
    p = torch.tensor([[[0.5, 0.125, 0.25, 0.125]]], dtype=torch.float64)
    assert read("one", models, p, p).item() == 0.25
    assert read("all", models, p, p).item() == 0.5


def test_memory_of_a_step_without_coupling_is_kept_and_a_unital_one_shrinks():
    generator = torch.Generator().manual_seed(0)
    program = StepProgram(rotation_step(1, 1))
    angles = torch.randn(3, 5, len(program.parameters), generator=generator, dtype=torch.float64)
    left = memory(program, angles, generator)
    assert (left.diff(dim=1) < 1e-12).all()
    assert left[:, -1].max() < 1
    angles[..., 6] = 0.0  # the CRX behind two RZ RX RZ
    torch.testing.assert_close(memory(program, angles, generator), torch.ones(3, 6, dtype=torch.float64))


def test_jobs_have_names_of_their_own_and_trainings_do_not_depend_on_their_company():
    every = list(recurrent.jobs())
    assert len({job.label for job in every}) == len(every)
    job = recurrent.lorenz(0)
    given = job.settings | {"budget": {"steps": 3}, "problem": {"memory": 1, "readout": 1, "steps": 3}}
    both = recurrent.train(**given | {"seeds": [200, 201]})
    alone = recurrent.train(**given | {"seeds": [201]})
    assert both["updates"] == alone["updates"] == 3
    assert both["validation"][0][1] == pytest.approx(alone["validation"][0][0], rel=1e-5)
    assert recurrent.built(Problem(1, 1, 3), EXACT, None, 0).layer.gradient.circuits(None, 3) == 0
    start, centred = (recurrent.built(Problem(1, 1, 3), EXACT, None, 0, flag) for flag in (False, True))
    assert torch.equal(start.encoder.weight, centred.encoder.weight)
    assert centred.encoder.bias.abs().max() == 0 < start.encoder.bias.abs().min()
    assert network(Problem(1, 1, 3), EXACT, 0).layer.backend.dtype == torch.complex64
