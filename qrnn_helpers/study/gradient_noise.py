"""Covariances of gradient estimates along an encoder's weights, by formula, and the loss's Hessian, by differences.

A sample's gradient G = J'g, g its slopes along the angles W x_t (or the gates), J their Jacobian in the P F weights and
biases (angle by angle); an estimate of g with covariance C has J'C J.  Everything is exact, in double precision, but
for what `covariances` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..backends import ExactBackend
from ..gradients import live_angles
from ..models import QRNN
from ..simulation import HeisenbergPicture, StepProgram, ground, kraus_operators
from ..tasks import Pair
from .arms import Problem, Setting, network


@dataclass(frozen=True)
class Slopes:
    """Of windows: inputs x (batch, time, F), the last 1, and slopes g (batch, time, K) of their losses along angles or
    gates; ``weights`` (batch, time, R) = dL/dp, ``tails`` (batch, time, time, K): those of the outputs from step s on.
    """

    x: Tensor
    g: Tensor
    weights: Tensor
    loss: float
    tails: Tensor | None = None


def with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


def slopes(model: QRNN, part: Pair, washout: int, gates: bool = False, tails: bool = False) -> Slopes:
    """Exact, along the angles or the circuit's ``gates``, in complex128."""
    x, y = part
    program = model.layer.program
    angles = model.encoder(x).detach()
    free = (program.gate_angles(angles) if gates else angles).requires_grad_()
    p, _ = ExactBackend().run(program, free if gates else program.gate_angles(free))
    squares = (model.decoder(p) - y)[:, washout:].square()
    losses = squares.mean((1, 2))
    g, weights = torch.autograd.grad(losses.sum(), (free, p), retain_graph=True)
    weights = weights.detach()
    readouts = (p * weights).sum(-1).flip(1).cumsum(1).flip(1)
    rows = [torch.autograd.grad(each.sum(), free, retain_graph=True)[0] for each in readouts.unbind(1)] if tails else []
    return Slopes(with_ones(x), g, weights, losses.mean().item(), torch.stack(rows, 1) if tails else None)


def shot_variances(program: StepProgram, gate_angles: Tensor, weights: Tensor) -> Tensor:
    """s^2 of one shot's weighted readout from step s on, (batch, time)."""
    kraus = kraus_operators(program, gate_angles, torch.complex128)
    rho = ground(program, len(weights), torch.complex128, weights.device)
    variances = []
    for s in range(weights.shape[1]):
        read = weights.clone()
        read[:, :s] = 0
        mean, square = HeisenbergPicture(kraus, read, rho, causal=True, second=True).total()
        assert square is not None  # second moments were asked for
        variances.append((square - mean**2).clamp_min(0))
    return torch.stack(variances, 1)


def in_weights(diagonal: Tensor, x: Tensor, jacobian: Tensor) -> Tensor:
    """J' diag J, mean over samples, (P F, P F): diagonal (batch, time, K), jacobian (K, P) of the angles."""
    blocks = torch.einsum("btk,btf,bth->kfh", diagonal, x, x) / len(x)
    return torch.einsum("kp,kq,kfh->pfqh", jacobian, jacobian, blocks).flatten(2).flatten(0, 1)


def sample_gradients(found: Slopes, jacobian: Tensor) -> Tensor:
    """Of the encoder's weights and biases, (batch, P F)."""
    return torch.einsum("btk,kp,btf->bpf", found.g, jacobian, found.x).flatten(1)


def rademacher(moment: Tensor) -> Tensor:
    """Covariance of (g Delta) Delta for signs Delta and E gg' = moment, less that of g."""
    return moment.trace() * identity(moment) + moment - 2 * moment.diagonal().diag()


def spsa_directions(found: Slopes, jacobian: Tensor) -> Tensor:
    each = sample_gradients(found, jacobian)
    spread = found.g.square().sum((1, 2), keepdim=True) - 2 * found.g.square()
    return in_weights(spread, found.x, jacobian) + each.T @ each / len(each)


def causal_directions(found: Slopes, jacobian: Tensor) -> Tensor:
    """C_jk = delta_jk (|h_s|^2 - 2 g_j^2) + h_s,k h_s',j, h_s the slopes of the outputs from s on, j in s, k in s'."""
    h = found.tails
    assert h is not None  # asked for by whoever calls
    spread = h.square().sum((2, 3))[..., None] - 2 * found.g.square()
    total = in_weights(spread, found.x, jacobian)
    for x, own in zip(found.x, h, strict=True):
        left = torch.einsum("sf,stq->stqf", x, own).flatten(2).flatten(0, 1)  # x_s h_s,t
        right = torch.einsum("tg,tsp->stpg", x, own).flatten(2).flatten(0, 1)  # x_t h_t,s
        crossed = (left.T @ right).view(own.shape[2], x.shape[1], own.shape[2], x.shape[1])  # q f p g
        total += crossed.permute(2, 1, 0, 3).reshape(total.shape) / len(h)
    return total


def rule_squares(program: StepProgram) -> Tensor:
    """sum of c^2 over the terms of every gate's shift rule, (G,)."""
    gate, _, coefficient = program.shift_terms
    zeros = torch.zeros(len(program.occurrences), dtype=torch.float64, device="cpu")
    return zeros.index_add(0, gate, coefficient**2)


def shift_shots(found: Slopes, program: StepProgram, variances: Tensor, jacobian: Tensor) -> Tensor:
    """Shot noise of the pruned rule at N = 1: a live gate's noise moves every gate that repeats its slope."""
    steps = found.x.shape[1]
    plan = live_angles(program, steps)
    noise = (variances[..., None] * rule_squares(program)).flatten(1).sqrt()
    weights = jacobian.shape[1] * found.x.shape[2]
    total = torch.zeros(weights, weights, dtype=torch.float64, device="cpu")
    for x, size in zip(found.x, noise, strict=True):
        moves = torch.einsum("tf,gp->tgpf", x, jacobian).flatten(2).flatten(0, 1)
        live = torch.zeros_like(moves).index_add_(0, plan.source, plan.factor[:, None] * moves)
        live = size[:, None] * live
        total += live.T @ live / len(noise)
    return total


def covariances(problem: Problem, model: QRNN, part: Pair) -> tuple[dict[str, Tensor], int]:
    """Pieces of the covariance of a sample's estimate: directions, and shot noise at N = 1 (SPSA: times 2 c^2).

    To lowest order in c; a circuit with shifted angles is taken to be as noisy as the unshifted one.
    """
    plain = slopes(model, part, problem.washout, tails=True)
    program = model.layer.program
    angles = model.encoder(part[0]).detach()
    variances = shot_variances(program, program.gate_angles(angles), plain.weights)
    rewritten = opened(problem, model)
    gate = slopes(rewritten, part, problem.washout, gates=True)
    pieces = along_angles(plain, variances) | along_gates(gate, rewritten.layer.program, angles, variances)
    return pieces | {"weights shots": variances[:, 0].mean() * identity(pieces["spsa"])}, gate.g[0].numel()


def along_angles(plain: Slopes, variances: Tensor) -> dict[str, Tensor]:
    """Of SPSA, whose directions are along the angles."""
    one = identity(plain.g[0, 0])
    return {
        "spsa": spsa_directions(plain, one),
        "spsa shots": in_weights(variances[:, :1, None].expand_as(plain.g), plain.x, one),
        "causal": causal_directions(plain, one),
        "causal shots": in_weights(variances[..., None].expand_as(plain.g), plain.x, one),
    }


def along_gates(gate: Slopes, program: StepProgram, angles: Tensor, variances: Tensor) -> dict[str, Tensor]:
    """Of what shifts gates: random coordinates, and the rule for all."""
    gates = gate.g.shape[2]
    units = identity(gate.g[0, 0])[:, None]
    to_angles = program.vjp(angles[:1, :1].expand(gates, -1, -1), units)[:, 0]
    squares = variances[..., None] * rule_squares(program)
    each = sample_gradients(gate, to_angles)
    count = gate.g[0].numel()
    drawn = count * in_weights(gate.g.square(), gate.x, to_angles) - each.T @ each / len(each)
    return {
        "coordinates": drawn / (count - 1),
        "coordinates shots": count * in_weights(squares, gate.x, to_angles),
        "shift shots": shift_shots(gate, program, variances, to_angles),
    }


def identity(like: Tensor) -> Tensor:
    """With as many rows as ``like``."""
    return torch.eye(len(like), dtype=like.dtype, device=like.device)


def opened(problem: Problem, model: QRNN) -> QRNN:
    """The same network on the circuit that shift rules run, controlled rotations written out."""
    twin = network(problem, Setting("shift", 0.0, 1, 1), 0)
    twin.encoder.load_state_dict(model.encoder.state_dict())
    twin.decoder.load_state_dict(model.decoder.state_dict())
    return twin


def weight_gradients(model: QRNN, weights: Tensor, part: Pair, washout: int) -> Tensor:
    """Exact mean gradients (K, P F) at K encoders (K, P, F), in one batch."""
    x, y = part
    free = weights.detach().requires_grad_()
    angles = torch.einsum("kpf,btf->kbtp", free, with_ones(x)).flatten(0, 1)
    p, _ = ExactBackend().run(model.layer.program, model.layer.program.gate_angles(angles))
    errors = (model.decoder(p).unflatten(0, (len(weights), len(x))) - y)[:, :, washout:]
    (found,) = torch.autograd.grad(errors.square().mean((1, 2, 3)).sum(), free)
    return found.flatten(1)


def encoder_weights(model: QRNN) -> Tensor:
    return torch.cat([model.encoder.weight, model.encoder.bias[:, None]], 1).detach()


def hessian(model: QRNN, part: Pair, washout: int, h: float = 1e-3, together: int = 8) -> Tensor:
    """Of the loss in the encoder's weights, (P F, P F): central differences of exact gradients."""
    here = encoder_weights(model)
    moves = h * identity(here.flatten()).view(-1, *here.shape)
    ends = [
        weight_gradients(model, torch.cat([here + move, here - move]), part, washout) for move in moves.split(together)
    ]
    rows = torch.cat([(each[: len(each) // 2] - each[len(each) // 2 :]) / (2 * h) for each in ends])
    return (rows + rows.T) / 2


def first(part: Pair, count: int) -> Pair:
    """So many windows; they were drawn at random."""
    x, y = part
    return x[:count], y[:count]


def mean_and_covariance(model: QRNN, part: Pair, washout: int, portion: int = 256) -> tuple[Tensor, Tensor]:
    """Of the gradients of all windows, (P F,) and (P F, P F): what batches are drawn from."""
    one = torch.eye(model.encoder.out_features, dtype=torch.float64, device="cpu")
    portions = zip(part[0].split(portion), part[1].split(portion), strict=True)
    every = torch.cat([sample_gradients(slopes(model, (x, y), washout), one) for x, y in portions])
    return every.mean(0), torch.cov(every.T, correction=0)


def positive(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A symmetric matrix's positive part, and its eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0)) @ vectors.T, values
