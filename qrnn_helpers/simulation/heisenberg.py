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

__all__ = ["HeisenbergPicture", "along", "joint_moments"]


class HeisenbergPicture:
    """Mean and second moment of the readouts of circuits that differ from a given one at a single step.

    ``kraus`` (batch, time, R, M, M), ``weights`` (batch, time, R), ``rho`` (batch, M, M) the start.
    ``causal`` leaves the outputs before that step out of X; ``second`` asks for second moments, too.
    """

    def __init__(
        self, kraus: torch.Tensor, weights: torch.Tensor, rho: torch.Tensor, causal: bool, second: bool = False
    ):
        rows = _rows(kraus)
        self.weights, self.order = weights.to(rows.real.dtype), 1 + second
        self.future = [torch.stack(parts) for parts in zip(*self._futures(rows))]  # (time + 1, batch, M, M) each
        self.past = [torch.stack(parts) for parts in zip(*self._pasts(rows, rho, 0 if causal else self.order))]

    def moments(self, step: int | range, kraus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """E[X] and E[X^2] (or None), (K, batch), for operators (K, batch, R, M, M) at ``step``; for a range of S
        steps (K, S * batch) and (K, S * batch, R, M, M): circuits that differ at the first step, the next, ...

        The past taken one step on, R_j', meets the future behind it: tr A R0' + tr R1', and
        tr C R0' + 2 tr A R1' + tr R2'.  Of the last R_j' only the trace is formed.
        """
        rows = _rows(kraus).transpose(0, 1)  # sample by sample: all variants meet a state in one product
        first, last = (step.start, step.stop) if isinstance(step, range) else (step, step + 1)
        past = [part[first:last].flatten(0, 1) for part in self.past]
        mean, *square = (part[1 + first : 1 + last].flatten(0, 1) for part in self.future)
        weights = along(self.weights, range(first, last))
        turned, sums = rows.conj().resolve_conj().flatten(-2).mT, _weighted(rows, past, weights, self.order)
        onward = [part.flatten(-2) @ turned for part in sums[:-1]]
        highest = _overlap(sums[-1], rows).T
        if self.order == 1:
            return _trace(mean, onward[0]) + highest, None
        value = onward[1].diagonal(dim1=-2, dim2=-1).real.sum(-1).T
        return _trace(mean, onward[0]) + value, _trace(*square, onward[0]) + 2 * _trace(mean, onward[1]) + highest

    def _futures(self, rows: torch.Tensor) -> list[list[torch.Tensor]]:
        """[A_t, C_t] (order 1: [A_t]) for every t, and zeros beyond the last step."""
        zero = torch.zeros_like(rows[:, 0, :, 0])
        future = [[zero] * self.order] * (rows.shape[1] + 1)
        for t in reversed(range(rows.shape[1])):
            own, (mean, *square) = rows[:, t], future[t + 1]
            w, beyond, turned = _spread(self.weights[:, t], own), _left(mean, own), own.flatten(-3, -2).mH
            ahead = _times(w, own) + beyond
            both = [_times(w, ahead + beyond) + _left(square[0], own)] if square else []
            future[t] = [turned @ part.flatten(-3, -2) for part in (ahead, *both)]
        return future

    def _pasts(self, rows: torch.Tensor, rho: torch.Tensor, order: int) -> list[list[torch.Tensor]]:
        """[R0, ..., R_order] before every step."""
        states = [rho] + [torch.zeros_like(rho)] * order
        pasts = []
        for t in range(rows.shape[1]):
            pasts.append(states)
            own = rows[:, t]
            sums = _weighted(own, states, self.weights[:, t], self.order)[: 1 + order]
            states = [part.flatten(-2) @ own.flatten(-2).mH for part in sums]
        return pasts


def joint_moments(kraus: torch.Tensor, weights: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means (batch, time) and covariances (batch, time, time) of one shot's values w[t, r_t] at all steps.

    The state that a value at step t has weighted goes on to every later step u: E[w_t w_u].
    """
    rows, weights = _rows(kraus), weights.to(kraus.dtype)[:, :, None, None, :, None]
    states, means, products = rho[:, None], [], []
    for t in range(rows.shape[1]):
        own, w = rows[:, t, None], weights[:, t]
        # (batch, 1 + t, M, R, M): rho, then those weighted at each earlier step
        moved = (own.flatten(-3, -2) @ states).unflatten(-2, own.shape[-3:-1])
        values, valued = _overlap(moved, w * own), w * moved[:, :1]
        means.append(values[:, 0])
        products.append(torch.cat([values[:, 1:], _overlap(valued, w * own)], 1))
        states = torch.cat([moved, valued], 1).flatten(-2) @ own.flatten(-2).mH
    mean = torch.stack(means, 1)
    size = mean.shape[1]
    square = torch.stack([torch.nn.functional.pad(row, (0, size - row.shape[1])) for row in products], 1)
    square = square.tril() + square.tril(-1).mT
    return mean, square - mean[:, :, None] * mean[:, None, :]


def along(x: torch.Tensor, steps: range) -> torch.Tensor:
    """Of (batch, time, ...) some steps one after another, (S * batch, ...)."""
    return x[:, steps.start : steps.stop].transpose(0, 1).flatten(0, 1)


def _weighted(rows: torch.Tensor, past: list[torch.Tensor], weights: torch.Tensor, order: int) -> list[torch.Tensor]:
    """K_r R0, K_r (R1 + w_r R0), ... up to the order asked for; a causal past has R0 alone."""
    w = _spread(weights, rows)
    moved = _right(rows, torch.cat(past, -1)).split(rows.shape[-1], -1)
    sums = [moved[0], _times(w, moved[0])]
    if order > 1:
        before = sums[1] if len(moved) == 1 else sums[1] + 2 * moved[1]
        sums.append(_times(w, before) if len(moved) == 1 else _times(w, before) + moved[2])
    if len(moved) > 1:
        sums[1] = sums[1] + moved[1]
    return sums


def _spread(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The weights w_r, (batch, R), beside every real number of [out, r, in]: products then run through memory."""
    w = weights[:, None, :, None, None].expand(-1, *rows.shape[-3:], 2).contiguous()
    return w if rows.dim() == 4 else w[:, None]


def _rows(kraus: torch.Tensor) -> torch.Tensor:
    """Operators [r, out, in] as [out, r, in], the order they are stored in: products then need no copies."""
    return kraus.transpose(-3, -2)


def _right(rows: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """K_r R for every outcome: (batch, ..., M, R, M) and (batch, M, N) -> (batch, ..., M, R, N)."""
    return (rows.flatten(1, -2) @ state).unflatten(1, rows.shape[1:-1])


def _left(matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """A K_r for every outcome, (..., M, R, M)."""
    return (matrix @ rows.flatten(-2)).unflatten(-1, rows.shape[-2:])


def _times(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Real weights (..., M, R, M, 2) times complex numbers (..., M, R, M)."""
    return torch.view_as_complex(torch.view_as_real(rows) * weights)


def _trace(seen: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Re tr of products of Hermitian matrices (batch, M, M) and (batch, K, M, M), as (K, batch)."""
    seen, states = (torch.view_as_real(part).flatten(-3) for part in (seen, states))
    return (states @ seen[..., None])[..., 0].T


def _overlap(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Re sum over outcomes and entries of left conj(right), (..., M, R, M) -> (...)."""
    left, right = (torch.view_as_real(part).flatten(-4) for part in (left, right))
    return (left[..., None, :] @ right[..., None])[..., 0, 0]
