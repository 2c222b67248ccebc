"""Weighted readouts of measured-and-reset circuits, from both ends: their mean and their noise, exactly.

A shot that reads r_1, r_2, ... has the value X = sum_t w[t, r_t].  With the Kraus operators K_r of each
step, what is to come is seen from a memory state rho_t through two matrices (Heisenberg's picture),

    A_t = sum_r K_r^+ (w_r + A_t+1) K_r                          E[X_t  | rho_t] = tr A_t rho_t
    C_t = sum_r K_r^+ (w_r^2 + 2 w_r A_t+1 + C_t+1) K_r          E[X_t^2 | rho_t] = tr C_t rho_t

where X_t sums from step t on, and what has been is carried along by three (R0 = rho),

    R1_t+1 = sum_r K_r (R1 + w_r R0) K_r^+           R2_t+1 = sum_r K_r (R2 + 2 w_r R1 + w_r^2 R0) K_r^+.

A circuit that differs at one step is then known from that step alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


class HeisenbergPicture:
    """Mean and second moment of the readouts of circuits that differ from a given one at a single step.

    ``kraus`` (batch, time, R, M, M), ``weights`` (batch, time, R), ``rho`` (batch, M, M) the start.
    ``causal`` leaves the outputs before that step out of X; ``second`` asks for second moments, too.
    """

    def __init__(self, kraus: Tensor, weights: Tensor, rho: Tensor, causal: bool, second: bool = False):
        isometries = _isometries(kraus)
        self.weights = weights.to(isometries.real.dtype)
        self.order = 1 + second
        # (time + 1, batch, M, M) each
        self.future = [torch.stack(parts) for parts in zip(*self._futures(isometries))]
        self.past = [torch.stack(parts) for parts in zip(*self._pasts(isometries, rho, 0 if causal else self.order))]

    def moments(self, step: int | range, kraus: Tensor) -> tuple[Tensor, Tensor | None]:
        """E[X] and E[X^2] (or None), (K, batch), for operators (K, batch, R, M, M) at ``step``; for a range of S
        steps (K, S * batch) and (K, S * batch, R, M, M): circuits that differ at the first step, the next, ...

        The past taken one step on, R_j', meets the future behind it: tr A R0' + tr R1', and
        tr C R0' + 2 tr A R1' + tr R2'.  Of the last R_j' only the trace is formed.
        """
        steps = as_range(step)
        past = [part[steps.start : steps.stop].flatten(0, 1) for part in self.past]
        onward, last = self._onward(_isometries(kraus).transpose(0, 1), past, along(self.weights, steps))
        mean, *square = (part[1 + steps.start : 1 + steps.stop].flatten(0, 1) for part in self.future)
        if not square:
            return _trace(mean, onward[0]) + last, None
        value = onward[1].diagonal(dim1=-2, dim2=-1).real.sum(-1).T
        return _trace(mean, onward[0]) + value, _trace(square[0], onward[0]) + 2 * _trace(mean, onward[1]) + last

    def _onward(self, isometries: Tensor, past: list[Tensor], weights: Tensor) -> tuple[list[Tensor], Tensor]:
        """R_j' but for the last, (batch, K, M, M), and the trace of that, (K, batch); isometries (batch, K, ...): all
        variants meet a state in one product."""
        products = _weighted(isometries, past, weights, self.order)
        conjugate = isometries.conj().resolve_conj().flatten(-2).mT
        return [product.flatten(-2) @ conjugate for product in products[:-1]], _overlap(products[-1], isometries).T

    def total(self) -> tuple[Tensor, Tensor | None]:
        """E[X] and E[X^2] (or None), (batch,), of the given circuit itself: tr A_0 rho and tr C_0 rho."""
        start = self.past[0][0][:, None]
        mean, *square = (_trace(part[0], start)[0] for part in self.future)
        return mean, square[0] if square else None

    def _futures(self, isometries: Tensor) -> list[list[Tensor]]:
        """[A_t, C_t] (order 1: [A_t]) for every t, and zeros beyond the last step."""
        future = [[torch.zeros_like(isometries[:, 0, :, 0])] * self.order]
        for isometry, weights in reversed(list(zip(isometries.unbind(1), self.weights.unbind(1)))):
            future.append(self._before(isometry, weights, *future[-1]))
        return future[::-1]

    def _before(self, isometry: Tensor, weights: Tensor, mean: Tensor, *square: Tensor) -> list[Tensor]:
        """A_t and C_t before a step, from those after it."""
        w = _spread(weights, isometry)
        adjoint = isometry.flatten(-3, -2).mH
        beyond = _left(mean, isometry)
        sums = [_times(w, isometry) + beyond]
        if square:
            sums.append(_times(w, sums[0] + beyond) + _left(square[0], isometry))
        return [adjoint @ part.flatten(-3, -2) for part in sums]

    def _pasts(self, isometries: Tensor, rho: Tensor, order: int) -> list[list[Tensor]]:
        """[R0, ..., R_order] before every step."""
        states = [rho] + [torch.zeros_like(rho)] * order
        pasts = []
        for isometry, weights in zip(isometries.unbind(1), self.weights.unbind(1)):
            pasts.append(states)
            products = _weighted(isometry, states, weights, self.order)[: 1 + order]
            states = [product.flatten(-2) @ isometry.flatten(-2).mH for product in products]
        return pasts


def joint_moments(kraus: Tensor, weights: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    """Means (batch, time) and covariances (batch, time, time) of one shot's values w[t, r_t] at all steps.

    The state that a value at step t has weighted goes on to every later step u: E[w_t w_u].
    """
    weights = weights.to(kraus.dtype)[:, :, None, None, :, None]
    states = rho[:, None]  # (batch, 1 + t, M, M): rho, then those weighted at each earlier step
    means = []
    products = []
    for isometry, w in zip(_isometries(kraus)[:, :, None].unbind(1), weights.unbind(1)):
        ahead = (isometry.flatten(-3, -2) @ states).unflatten(-2, isometry.shape[-3:-1])
        weighted = w * ahead[:, :1]
        values = _overlap(ahead, w * isometry)
        means.append(values[:, 0])
        products.append(torch.cat([values[:, 1:], _overlap(weighted, w * isometry)], 1))
        states = torch.cat([ahead, weighted], 1).flatten(-2) @ isometry.flatten(-2).mH
    mean = torch.stack(means, 1)
    return mean, _symmetric(products) - mean[:, :, None] * mean[:, None, :]


def _symmetric(rows: list[Tensor]) -> Tensor:
    """Rows (batch, 1), (batch, 2), ... of a lower triangle -> (batch, size, size)."""
    lower = torch.stack([pad(row, (0, len(rows) - row.shape[1])) for row in rows], 1)
    return lower.tril() + lower.tril(-1).mT


def as_range(step: int | range) -> range:
    return step if isinstance(step, range) else range(step, step + 1)


def along(x: Tensor, steps: range) -> Tensor:
    """Of (batch, time, ...) some steps one after another, (S * batch, ...)."""
    return x[:, steps.start : steps.stop].transpose(0, 1).flatten(0, 1)


def _weighted(isometries: Tensor, past: list[Tensor], weights: Tensor, order: int) -> list[Tensor]:
    """K_r R0, K_r (R1 + w_r R0), ... up to the order asked for; a causal past has R0 alone."""
    w = _spread(weights, isometries)
    zeroth, *higher = _right(isometries, torch.cat(past, -1)).split(isometries.shape[-1], -1)
    weighted = _times(w, zeroth)
    products = [zeroth, weighted + higher[0] if higher else weighted]
    if order > 1 and higher:
        products.append(_times(w, weighted + 2 * higher[0]) + higher[1])
    elif order > 1:
        products.append(_times(w, weighted))
    return products


def _spread(weights: Tensor, isometries: Tensor) -> Tensor:
    """The weights w_r, (batch, R), beside every real number of [out, r, in]: products then run through memory."""
    w = weights[:, None, :, None, None].expand(-1, *isometries.shape[-3:], 2).contiguous()
    return w if isometries.dim() == 4 else w[:, None]


def _isometries(kraus: Tensor) -> Tensor:
    """Operators [r, out, in] as [out, r, in], the order they are stored in: products then need no copies."""
    return kraus.transpose(-3, -2)


def _right(isometries: Tensor, state: Tensor) -> Tensor:
    """K_r R for every outcome: (batch, ..., M, R, M) and (batch, M, N) -> (batch, ..., M, R, N)."""
    return (isometries.flatten(1, -2) @ state).unflatten(1, isometries.shape[1:-1])


def _left(matrix: Tensor, isometries: Tensor) -> Tensor:
    """A K_r for every outcome, (..., M, R, M)."""
    return (matrix @ isometries.flatten(-2)).unflatten(-1, isometries.shape[-2:])


def _times(weights: Tensor, isometries: Tensor) -> Tensor:
    """Real weights (..., M, R, M, 2) times complex numbers (..., M, R, M)."""
    return torch.view_as_complex(torch.view_as_real(isometries) * weights)


def _trace(observable: Tensor, states: Tensor) -> Tensor:
    """Re tr of products of Hermitian matrices (batch, M, M) and (batch, K, M, M), as (K, batch)."""
    return (_reals(states, 2) @ _reals(observable, 2)[..., None])[..., 0].T


def _overlap(left: Tensor, right: Tensor) -> Tensor:
    """Re sum over outcomes and entries of left conj(right), (..., M, R, M) -> (...)."""
    return (_reals(left, 3)[..., None, :] @ _reals(right, 3)[..., None])[..., 0, 0]


def _reals(x: Tensor, axes: int) -> Tensor:
    """The last axes as one, of real and imaginary parts."""
    return torch.view_as_real(x).flatten(-1 - axes)
