"""Value and gradient of a measured-and-reset circuit without keeping its isometries.

A step of the channel maps the memory's state rho to outcome probabilities and the next state,

    p(r) = tr K_r rho K_r^+,    rho' = sum_r K_r rho K_r^+ .

`recorded_channel` does so step after step and leaves the gradient to torch: the reference.  `evolve` makes the same
numbers in another way.  Forward, a few samples and steps at a time: isometries K_r are contracted from the unitaries
of the blocks, used and forgotten; what stays is the memory state before every step and the small matrices that they
are made from.  Backward they are made again.  With w_r = dL/dp(r) and A' the gradient along rho' (Hermitian), the
gradients in torch's sense, G along X if dL = Re tr G^+ dX, are

    G_r = 2 (w_r + A') K_r rho  along K_r,    A = sum_r K_r^+ (w_r + A') K_r  along rho :

five products of an isometry with a memory matrix, where recording every operation takes six and much memory traffic.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..torch_modes import settled
from .contraction import Contraction
from .unitaries import BlockUnitaries


def channel_step(kraus: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the channel: outcome probabilities (..., R) and the next rho (..., M, M).

    Kraus operators (..., R, M, M) and rho (..., M, M) broadcast over their leading dimensions.
    """
    isometry = kraus.transpose(-3, -2)  # [out, r, in], as isometries are stored
    shape = torch.broadcast_shapes(isometry.shape, (*rho.shape[:-2], 1, 1, 1))
    product = (isometry.flatten(-3, -2) @ rho).reshape(shape)  # K_r rho
    probabilities = (torch.view_as_real(product) * torch.view_as_real(isometry)).sum((-4, -2, -1))
    # sum over r and j of product[i, r, j] conj(isometry[k, r, j]), as one matrix product
    return probabilities, product.flatten(-2) @ isometry.flatten(-2).mH


def recorded_channel(kraus: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    """All steps, every operation recorded by torch: what `evolve` is measured against, and differentiated twice by.

    Kraus operators (batch, time, R, M, M) and rho (batch, M, M) -> probabilities (batch, time, R) and the last rho.
    """
    probabilities = []
    for step in kraus.unbind(1):
        outcome, rho = channel_step(step, rho)
        probabilities.append(outcome)
    return torch.stack(probabilities, 1), rho


def evolve(
    unitaries: BlockUnitaries, contraction: Contraction, gate_angles: Tensor, rho: Tensor
) -> tuple[Tensor, Tensor]:
    """Probabilities (batch, time, R) and the last memory state (batch, M, M) for gate angles (batch, time, G).

    ``rho`` (batch, M, M), or (batch, 1, 1) where isometries have one column: the start.  Differentiable twice.
    """
    if not torch.is_grad_enabled():
        gate_angles, rho = gate_angles.detach(), rho.detach()
    return _Channel.apply(unitaries, contraction, gate_angles, rho)


class _Channel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, unitaries: BlockUnitaries, contraction: Contraction, gate_angles: Tensor, rho: Tensor):
        blocks, ctx.blocks = unitaries.with_residuals(gate_angles.flatten(0, 1), rho.dtype)
        ctx.factors, ctx.residuals = contraction.factors(blocks)
        ctx.unitaries, ctx.contraction = unitaries, contraction
        probabilities, final, states = _forward(contraction, ctx.factors, gate_angles, rho, any(ctx.needs_input_grad))
        ctx.save_for_backward(gate_angles, rho, states)
        ctx.set_materialize_grads(False)
        return probabilities, final

    @staticmethod
    def backward(ctx, weights: Tensor | None, final: Tensor | None):
        gate_angles, rho, states = ctx.saved_tensors
        if weights is None and final is None:
            return None, None, None, None
        with settled(rho.device):
            if torch.is_grad_enabled():  # derivatives of the gradient are asked for
                return None, None, *_recorded_vjp(ctx, gate_angles, rho, weights, final)
            return None, None, *_vjp(ctx, gate_angles, states, weights, final)


def _forward(
    contraction: Contraction, factors: list[Tensor], gate_angles: Tensor, rho: Tensor, kept: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, the last states, and if ``kept`` the states (time, batch, M, M) before each step."""
    batch, time_steps, _ = gate_angles.shape
    size, outcomes, _ = contraction.shape
    states = rho.new_empty(time_steps * kept, *rho.shape)
    probabilities = rho.new_empty(batch, time_steps, outcomes, dtype=rho.real.dtype)
    final = rho.new_empty(batch, size, size)
    portions = _Portions(contraction, gate_angles.shape[:2], rho)
    for samples, spans in portions:
        state = rho[samples]
        for steps in spans:
            isometries, conjugates = portions.isometries(portions.of(factors, samples, steps), samples, steps)
            for t, isometry, conjugate in zip(steps, isometries, conjugates):
                if kept:
                    states[t, samples] = state
                probabilities[samples, t], state = portions.step(isometry, conjugate, state)
        final[samples] = state
    if rho.dtype == torch.complex64:
        _normalise(probabilities, states, final)
    return probabilities, final, states


def _normalise(probabilities: Tensor, states: Tensor, final: Tensor) -> None:
    """Give probabilities the sum and states the trace 1 again, and Hermitian states, in place.

    K_r that are isometries to within 1e-7 change the trace by as much in every step, always to the same side where the
    angles do not change.  As all is linear in the state, dividing at the end is the same as dividing in every step; and
    as exact steps change no trace, the divisors are constants, 1 but for rounding, in a derivative.
    """
    probabilities.div_(probabilities.sum(-1, keepdim=True))
    final.copy_((final + final.mH) / 2)
    for rho in (states, final):
        rho.div_(rho.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None])


def _vjp(
    ctx, gate_angles: Tensor, states: Tensor, weights: Tensor | None, final: Tensor | None
) -> tuple[Tensor | None, Tensor]:
    """Gradients along the gate angles and the start."""
    along_factors, start = _factors_vjp(ctx, gate_angles.shape[:2], states, weights, final)
    if not ctx.needs_input_grad[2]:
        return None, start
    along_blocks = ctx.contraction.factors_vjp(along_factors, ctx.residuals)
    del along_factors
    angles = gate_angles.flatten(0, 1)
    return ctx.unitaries.vjp(along_blocks, ctx.blocks, angles).view_as(gate_angles), start


def _factors_vjp(
    ctx, shape: torch.Size, states: Tensor, weights: Tensor | None, final: Tensor | None
) -> tuple[list[Tensor | None], Tensor]:
    """Gradients along the contraction's factors and the start.

    All are carried as complex conjugates, dL/dK and 2 A* = 2 A^T, so that only K* is formed, and only once.
    """
    contraction, factors = ctx.contraction, ctx.factors
    portions = _Portions(contraction, shape, states)
    wanted = [ctx.needs_input_grad[2] and len(factor) == portions.count for factor in factors]
    gradients = [torch.empty_like(factor) if want else None for factor, want in zip(factors, wanted)]
    start = torch.zeros_like(states[0])
    weights = None if weights is None else 2 * weights
    for samples, spans in portions:
        adjoint = None if final is None else final[samples].conj() + final[samples].mT
        for steps in reversed(spans):
            part = portions.of(factors, samples, steps)
            operands: list[Tensor] = []
            isometries, conjugates = portions.isometries(part, samples, steps, operands)
            for t, isometry, conjugate in reversed(list(zip(steps, isometries, conjugates))):
                along_outcomes = None if weights is None else weights[samples, t]
                adjoint = portions.step_vjp(isometry, conjugate, states[t, samples], along_outcomes, adjoint)
            portions.put(contraction.vjp(part, operands, isometries.flatten(0, 1), wanted), gradients, samples, steps)
        assert adjoint is not None  # there is a step, and a gradient after it
        start[samples] = adjoint.conj() / 2
    return gradients, start


def _recorded_vjp(ctx, gate_angles: Tensor, rho: Tensor, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
    """The same gradients, to be differentiated again: by the reference, every operation recorded."""
    angles = gate_angles.flatten(0, 1)
    isometries = ctx.contraction.in_portions(ctx.unitaries(angles, rho.dtype), len(angles))
    results = recorded_channel(isometries.transpose(1, 2).unflatten(0, gate_angles.shape[:2]), rho)
    outputs, given = zip(*((result, w) for result, w in zip(results, cotangents) if w is not None))
    wanted = [x for x in (gate_angles, rho) if x.requires_grad]
    gradients = iter(torch.autograd.grad(outputs, wanted, given, create_graph=True, allow_unused=True))
    return tuple(next(gradients) if x.requires_grad else None for x in (gate_angles, rho))


class _Portions:
    """Which samples and steps to work on at a time, and buffers for their isometries.

    They are made once, for large tensors are fetched anew from the operating system every time; and they are small
    and few, so that they stay in the processor's cache.
    """

    def __init__(self, contraction: Contraction, shape: torch.Size, like: Tensor):
        self.contraction = contraction
        self.shape = shape
        self.batch, self.time_steps = shape
        self.count = self.batch * self.time_steps
        together = contraction.portion(like)
        self.samples = max(1, min(self.batch, together))
        self.steps = max(1, min(self.time_steps, together // max(1, self.batch)))
        self.buffers = like.new_empty(2, self.samples * self.steps, *contraction.shape)
        self.product = like.new_empty(self.samples, *contraction.shape)

    def __iter__(self) -> Iterator[tuple[slice, list[range]]]:
        """Slices of the batch, each with ranges of steps in order."""
        firsts = range(0, self.time_steps, self.steps)
        spans = [range(t, min(t + self.steps, self.time_steps)) for t in firsts]
        for first in range(0, self.batch, self.samples):
            yield slice(first, min(first + self.samples, self.batch)), spans

    def of(self, factors: list[Tensor], samples: slice, steps: range) -> list[Tensor]:
        """Of factors (batch * time, ...) those of some samples and steps, time first; constant ones as they are."""
        if self.time_steps == 1 and self.samples == self.batch:
            return factors
        return [self._view(f, samples, steps).flatten(0, 1) if len(f) == self.count else f for f in factors]

    def put(self, parts: list[Tensor | None], whole: list[Tensor | None], samples: slice, steps: range) -> None:
        """The way back: ``parts`` to their place in the ``whole``."""
        for part, tensor in zip(parts, whole):
            if tensor is not None and part is not None:
                place = self._view(tensor, samples, steps)
                place.copy_(part.view(place.shape))

    def _view(self, x: Tensor, samples: slice, steps: range) -> Tensor:
        return x.unflatten(0, self.shape)[samples, steps.start : steps.stop].transpose(0, 1)

    def isometries(
        self, factors: list[Tensor], samples: slice, steps: range, operands: list | None = None
    ) -> tuple[Tensor, Tensor]:
        """Isometries (steps, samples, out, r, in) and their conjugates, which lie in the buffers."""
        shape = (len(steps), samples.stop - samples.start)
        isometries, conjugates = self.buffers[:, : shape[0] * shape[1]]
        self.contraction(factors, out=isometries, operands=operands)
        torch.conj_physical(isometries, out=conjugates)
        return isometries.unflatten(0, shape), conjugates.unflatten(0, shape)

    def step(self, isometry: Tensor, conjugate: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
        """`channel_step` for (samples, out, r, in); the conjugates are written over."""
        product = self.product[: len(rho)]
        torch.bmm(isometry.flatten(1, 2), rho, out=product.flatten(1, 2))
        after = torch.bmm(product.flatten(2), conjugate.flatten(2).mT)
        squares = torch.view_as_real(conjugate)
        torch.mul(torch.view_as_real(product), torch.view_as_real(isometry), out=squares)
        return squares.flatten(3).sum((1, 3)), after

    def step_vjp(
        self, isometry: Tensor, conjugate: Tensor, rho: Tensor, weights: Tensor | None, adjoint: Tensor | None
    ) -> Tensor:
        """2 A* before a step from 2 A'* after it and twice the ``weights``; its gradient stands in the place of K."""
        product = self.product[: len(rho)]
        if adjoint is None:
            product.zero_()
        else:
            torch.bmm(adjoint, conjugate.flatten(2), out=product.flatten(2))
        if weights is not None:
            torch.view_as_real(product).addcmul_(torch.view_as_real(conjugate), weights[:, None, :, None, None])
        before = torch.bmm(isometry.flatten(1, 2).mT, product.flatten(1, 2))
        torch.bmm(product.flatten(1, 2), rho.mT, out=isometry.flatten(1, 2))
        return before
