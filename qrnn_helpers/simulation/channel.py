"""Value and gradient of a measured-and-reset circuit without keeping its isometries.

Forward, a few samples and steps at a time: isometries K_r grow from the matrices of the blocks, are used for

    p(r) = tr K_r rho K_r^+,    rho' = sum_r K_r rho K_r^+,

and are forgotten; what stays is the memory state before every step and the small matrices they grow from.  Backward
they grow again.  With w_r = dL/dp(r) and A' the slope along rho' (Hermitian), the slopes in torch's sense, G along X if
dL = Re tr G^+ dX, are

    G_r = 2 (w_r + A') K_r rho  along K_r,    A = sum_r K_r^+ (w_r + A') K_r  along rho :

five products of an isometry with a memory matrix, where recording every operation takes six and much memory traffic.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..torch_modes import settled
from .contraction import Contraction
from .unitaries import BlockUnitaries

__all__ = ["channel_step", "evolve", "prepare"]


def evolve(
    matrices: BlockUnitaries, growth: Contraction, gate_angles: torch.Tensor, rho: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (batch, time, R) and the last memory state (batch, M, M) for gate angles (batch, time, G).

    ``rho`` (batch, M, M), or (batch, 1, 1) where isometries have one column: the start.  Differentiable twice.
    """
    prepared = prepare(matrices, growth, gate_angles.flatten(0, 1), rho.dtype)
    return _Evolve.apply(growth, gate_angles.shape[:2], rho, *prepared)


def prepare(
    matrices: BlockUnitaries, growth: Contraction, gate_angles: torch.Tensor, dtype: torch.dtype
) -> list[torch.Tensor]:
    """What isometries grow from, for gate angles (N, G): matrices (N or 1, ...), differentiable twice."""
    if torch.is_grad_enabled() and gate_angles.requires_grad:
        return list(_Prepare.apply(matrices, growth, gate_angles, dtype))
    return growth.prepare(matrices(gate_angles, dtype), torch.ones((), dtype=dtype, device=gate_angles.device))


def channel_step(kraus: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of the channel: outcome probabilities (..., R) and the next rho (..., M, M).

    Kraus operators (..., R, M, M) and rho (..., M, M) broadcast over their leading dimensions.
    """
    rows = kraus.transpose(-3, -2)  # [out, r, in], as isometries are stored
    moved = (rows.flatten(-3, -2) @ rho).reshape(torch.broadcast_shapes(rows.shape, (*rho.shape[:-2], 1, 1, 1)))
    probabilities = (torch.view_as_real(moved) * torch.view_as_real(rows)).sum((-4, -2, -1))
    # sum over r and j of moved[i, r, j] conj(rows[k, r, j]), as one matrix product
    return probabilities, moved.flatten(-2) @ rows.flatten(-2).mH


class _Prepare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrices, growth, gate_angles, dtype):
        ctx.matrices, ctx.growth, ctx.dtype, ctx.tapes = matrices, growth, dtype, ([], [])
        ctx.save_for_backward(gate_angles)
        one = torch.ones((), dtype=dtype, device=gate_angles.device)
        blocks = matrices(gate_angles, dtype, ctx.tapes[0])
        prepared = growth.prepare(blocks, one, ctx.tapes[1])
        ctx.mark_non_differentiable(*(part for part in prepared if part.shape[0] != gate_angles.shape[0]))
        ctx.set_materialize_grads(False)
        return tuple(prepared)

    @staticmethod
    def backward(ctx, *slopes):
        (gate_angles,) = ctx.saved_tensors
        with settled(gate_angles.device):
            return None, None, _Prepare.along_angles(ctx, gate_angles, slopes), None

    @staticmethod
    def along_angles(ctx, gate_angles: torch.Tensor, slopes: tuple) -> torch.Tensor | None:
        if all(slope is None for slope in slopes):
            return None
        if torch.is_grad_enabled():  # slopes of slopes are asked for: record every operation
            one = torch.ones((), dtype=ctx.dtype, device=gate_angles.device)
            prepared = ctx.growth.prepare(ctx.matrices(gate_angles, ctx.dtype), one)
            pairs = [(part, slope) for part, slope in zip(prepared, slopes) if slope is not None]
            parts, slopes = zip(*pairs)
            return torch.autograd.grad(parts, gate_angles, slopes, create_graph=True)[0]
        turned = [slope if slope is None else slope.conj().resolve_conj() for slope in slopes]
        found = ctx.growth.unprepare(turned, ctx.tapes[1])
        return ctx.matrices.vjp(found, ctx.tapes[0], gate_angles)


class _Evolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, growth, shape, rho, *prepared):
        wanted = any(ctx.needs_input_grad)
        states = rho.new_empty(shape[1] * wanted, *rho.shape)  # before every step, for the way back
        out, outcomes, _ = growth.shape
        probabilities = rho.new_empty(*shape, outcomes, dtype=rho.real.dtype)
        final = rho.new_empty(shape[0], out, out)
        work = _space(growth, shape, rho)
        for samples, spans in _portions(growth, shape, rho):
            state = rho[samples]
            for steps in spans:
                parts = _part(prepared, shape, samples, steps)
                rows, turned, moved = _grown(growth, parts, state, len(steps), work)
                for i, t in enumerate(steps):
                    if wanted:
                        states[t, samples] = state
                    probabilities[samples, t], state = _advance(rows[i], turned[i], state, moved)
            final[samples] = state
        if rho.dtype == torch.complex64:
            _restore(probabilities, states, final)
        ctx.save_for_backward(rho, states, *prepared)
        ctx.growth, ctx.shape = growth, shape
        ctx.set_materialize_grads(False)
        return probabilities, final

    @staticmethod
    def backward(ctx, slopes, final):
        rho, states, *prepared = ctx.saved_tensors
        if torch.is_grad_enabled():  # slopes of slopes are asked for: record every operation
            return None, None, *_recorded_slopes(ctx, rho, prepared, slopes, final)
        growth, shape = ctx.growth, ctx.shape
        found = [torch.empty_like(m) if wanted else None for m, wanted in zip(prepared, ctx.needs_input_grad[3:])]
        start, work = torch.empty_like(rho), _space(growth, shape, rho)
        for samples, spans in _portions(growth, shape, rho):
            ahead = None if final is None else final[samples].conj() + final[samples].mT
            for steps in reversed(spans):
                own = None if slopes is None else 2 * slopes[samples, steps.start : steps.stop]
                before = states[steps.start : steps.stop, samples]
                parts = _part(prepared, shape, samples, steps)
                places = _part(found, shape, samples, steps, views=True)
                ahead = _back(growth, parts, before, own, ahead, places, work)
            start[samples] = 0 if ahead is None else ahead.conj() / 2
        return None, None, start, *(slope if slope is None else slope.conj() for slope in found)


def _restore(probabilities: torch.Tensor, states: torch.Tensor, final: torch.Tensor) -> None:
    """Give probabilities the sum and states the trace 1 again, and Hermitian states, in place.

    K_r that are isometries to within 1e-7 change the trace by as much in every step, always to the same side where the
    angles do not change.  As all is linear in the state, dividing at the end is the same as dividing in every step; and
    as exact steps change no trace, the divisors are constants, 1 but for rounding, in a derivative.
    """
    probabilities.div_(probabilities.sum(-1, keepdim=True))
    final.copy_((final + final.mH) / 2)
    for rho in (states, final):
        rho.div_(rho.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None])


def _advance(rows, turned, rho, moved) -> tuple[torch.Tensor, torch.Tensor]:
    """`channel_step` for operators (batch, out, r, in) and their conjugates, which are written over, with room for
    K_r rho in ``moved``: the fewer places, the more stays in the processor's cache."""
    torch.bmm(rows.flatten(1, 2), rho, out=moved.flatten(1, 2))
    # sum over outcomes r and inputs j of moved[i, r, j] conj(rows[k, r, j]), as one matrix product
    after = torch.bmm(moved.flatten(2), turned.flatten(2).mT)
    product = torch.view_as_real(turned)
    torch.mul(torch.view_as_real(moved), torch.view_as_real(rows), out=product)
    return product.flatten(3).sum((1, 3)), after


def _back(growth, parts, states, slopes, ahead, found, work) -> torch.Tensor | None:
    """Put the slopes along the matrices of some steps in ``found``; return 2 A before them, given 2 A after and twice
    the ``slopes`` along the outcomes.

    Everything is carried as its complex conjugate, A* = A^T and dL/dK, so that only K* is formed, and only once.
    """
    tape: list = []
    rows, turned, beyond = _grown(growth, parts, states[0], len(states), work, tape)
    for t in reversed(range(len(rows))):
        if ahead is None:
            beyond.zero_()
        else:
            torch.bmm(ahead, turned[t].flatten(2), out=beyond.flatten(2))
        if slopes is not None:
            torch.view_as_real(beyond).addcmul_(torch.view_as_real(turned[t]), slopes[:, t, None, :, None, None])
        ahead = torch.bmm(rows[t].flatten(1, 2).mT, beyond.flatten(1, 2))
        torch.bmm(beyond.flatten(1, 2), states[t].mT, out=rows[t].flatten(1, 2))  # the slopes in the place of K
    wanted = [place is not None for place in found]
    for place, slope in zip(found, growth.vjp(parts, tape, rows.flatten(0, 1), wanted)):
        if place is not None:
            place.copy_(slope.view(place.shape))
    return ahead


def _recorded_slopes(ctx, rho, prepared, slopes, final) -> tuple[torch.Tensor | None, ...]:
    """Slopes that can be differentiated again."""
    batch, time_steps = ctx.shape
    parts = _part(prepared, ctx.shape, slice(0, batch), range(time_steps))
    rows = _rows(ctx.growth, parts, rho, time_steps)
    state, probabilities = rho, []
    for own in rows.unbind(0):
        outcome, state = channel_step(own.transpose(1, 2), state)
        probabilities.append(outcome)
    results = [torch.stack(probabilities, 1), state]
    given = [(result, slope) for result, slope in zip(results, (slopes, final)) if slope is not None]
    inputs = [(i, x) for i, x in enumerate([rho, *prepared]) if x.requires_grad]
    outputs, weights = zip(*given)
    found = torch.autograd.grad(outputs, [x for _, x in inputs], weights, create_graph=True, allow_unused=True)
    places = dict(zip((i for i, _ in inputs), found))
    return tuple(places.get(i) for i in range(1 + len(prepared)))


def _portions(growth: Contraction, shape: tuple[int, int], like: torch.Tensor) -> Iterator[tuple[slice, list[range]]]:
    """Which samples and steps to work on at a time: slices of the batch, each with ranges of steps in order."""
    (batch, time_steps), together = shape, growth.portion(like)
    width, length = min(batch, together), max(1, together // max(1, batch))
    spans = [range(t, min(t + length, time_steps)) for t in range(0, time_steps, length)]
    for first in range(0, batch, max(1, width)):
        yield slice(first, min(first + width, batch)), spans


def _space(growth: Contraction, shape: tuple[int, int], like: torch.Tensor) -> torch.Tensor:
    """Room for two portions and a step more: taken once, for large tensors are fetched anew from the operating
    system every time."""
    batch, together = shape[0], growth.portion(like)
    width, length = min(batch, together), max(1, together // batch)
    return like.new_empty(width * (2 * min(length, shape[1]) + 1), *growth.shape)


def _part(matrices, shape, samples: slice, steps: range, views: bool = False) -> list[torch.Tensor | None]:
    """Of matrices (batch * time, ...) those of some samples and steps, time first; constant ones as they are."""
    if shape[1] == 1 and samples.stop - samples.start == shape[0]:
        return list(matrices)
    count, parts = shape[0] * shape[1], []
    for matrix in matrices:
        if matrix is not None and matrix.shape[0] == count:
            matrix = matrix.unflatten(0, shape)[samples, steps.start : steps.stop].transpose(0, 1)
            matrix = matrix if views else matrix.flatten(0, 1)
        parts.append(matrix)
    return parts


def _grown(
    growth: Contraction,
    parts: list[torch.Tensor],
    rho: torch.Tensor,
    steps: int,
    work: torch.Tensor,
    tape: list | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Isometries (steps, batch, out, r, in) for a batch of memory states and their conjugates, in
    ``work``, and room for one step there."""
    count, shape = steps * rho.shape[0], (steps, rho.shape[0], *growth.shape)
    rows = growth(parts, rho.new_ones(()), out=work[:count], tape=tape)
    turned = torch.conj_physical(rows, out=work[count : 2 * count])
    return rows.view(shape), turned.view(shape), work[2 * count :][: rho.shape[0]]


def _rows(growth: Contraction, parts: list[torch.Tensor], rho: torch.Tensor, steps: int) -> torch.Tensor:
    """The isometries alone, recorded by torch."""
    rows, batch = growth(parts, rho.new_ones(())), rho.shape[0]
    return rows.expand(steps * batch, *growth.shape).view(steps, batch, *growth.shape)
