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

__all__ = ["OneStep", "joint_moments"]


class OneStep:
    """Mean and second moment of the readouts of circuits that differ from a given one at a single step.

    ``kraus`` (batch, time, R, M, M), ``weights`` (batch, time, R), ``rho`` (batch, M, M) the start.
    ``causal`` leaves the outputs before that step out of X; ``second`` asks for second moments, too.
    """

    def __init__(
        self, kraus: torch.Tensor, weights: torch.Tensor, rho: torch.Tensor, causal: bool, second: bool = False
    ):
        self.weights = weights.to(kraus.dtype)[:, :, None, :, None]
        self.second = second
        rows = _rows(kraus)
        self.future = self._futures(rows)
        self.past = self._pasts(rows, rho, 0 if causal else 1 + second)

    def moments(self, step: int, kraus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """E[X] and E[X^2] (or None), (K, batch), for operators (K, batch, R, M, M) at ``step``."""
        rows, past = _rows(kraus), self.past[step]
        moved = [_right(rows, state) for state in past]
        ahead, square = self._seen(step, rows)
        mean = _overlap(moved[0], ahead)
        if len(past) > 1:
            mean = mean + _overlap(moved[1], rows)
        if not self.second:
            return mean, None
        second = _overlap(moved[0], square)
        if len(past) > 1:
            second = second + 2 * _overlap(moved[1], ahead) + _overlap(moved[2], rows)
        return mean, second

    def _seen(self, step: int, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(w + A) K and (w^2 + 2 w A + C) K, with A and C of the step behind."""
        w, (mean, square) = self.weights[:, step], self.future[step + 1]
        beyond = _left(mean, rows)
        ahead = w * rows + beyond
        return ahead, w * (ahead + beyond) + _left(square, rows) if self.second else None

    def _futures(self, rows: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        """(A_t, C_t) for every t, and zeros beyond the last step."""
        zero = torch.zeros_like(rows[:, 0, :, 0])
        self.future = [(zero, zero)] * (rows.shape[1] + 1)
        for t in reversed(range(rows.shape[1])):
            own, (ahead, square) = rows[:, t].flatten(-3, -2).mH, self._seen(t, rows[:, t])
            self.future[t] = own @ ahead.flatten(-3, -2), own @ square.flatten(-3, -2) if self.second else None
        return self.future

    def _pasts(self, rows: torch.Tensor, rho: torch.Tensor, order: int) -> list[list[torch.Tensor]]:
        """[R0, ..., R_order] before every step."""
        states = [rho] + [torch.zeros_like(rho)] * order
        pasts = []
        for t in range(rows.shape[1]):
            pasts.append(states)
            own, w = rows[:, t], self.weights[:, t]
            moved = [_right(own, state) for state in states]
            if order > 1:
                moved[2] = moved[2] + w * (2 * moved[1] + w * moved[0])
            if order > 0:
                moved[1] = moved[1] + w * moved[0]
            states = [part.flatten(-2) @ own.flatten(-2).mH for part in moved]
        return pasts


def joint_moments(kraus: torch.Tensor, weights: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means (batch, time) and covariances (batch, time, time) of one shot's values w[t, r_t] at all steps.

    The state that a value at step t has weighted goes on to every later step u: E[w_t w_u].
    """
    rows, weights = _rows(kraus), weights.to(kraus.dtype)[:, :, None, None, :, None]
    states, means, products = rho[:, None], [], []
    for t in range(rows.shape[1]):
        own, w = rows[:, t, None], weights[:, t]
        moved = _right(own, states)  # (batch, 1 + t, M, R, M): rho, then those weighted at each earlier step
        values, valued = _overlap(moved, w * own), w * moved[:, :1]
        means.append(values[:, 0])
        products.append(torch.cat([values[:, 1:], _overlap(valued, w * own)], 1))
        states = torch.cat([moved, valued], 1).flatten(-2) @ own.flatten(-2).mH
    mean = torch.stack(means, 1)
    size = mean.shape[1]
    square = torch.stack([torch.nn.functional.pad(row, (0, size - row.shape[1])) for row in products], 1)
    square = square.tril() + square.tril(-1).mT
    return mean, square - mean[:, :, None] * mean[:, None, :]


def _rows(kraus: torch.Tensor) -> torch.Tensor:
    """Operators [r, out, in] as [out, r, in], the order they are stored in: products then need no copies."""
    return kraus.transpose(-3, -2)


def _right(rows: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """K_r R for every outcome, (..., M, R, M)."""
    product = rows.flatten(-3, -2) @ state
    return product.unflatten(-2, rows.shape[-3:-1])


def _left(matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """A K_r for every outcome, (..., M, R, M)."""
    return (matrix @ rows.flatten(-2)).unflatten(-1, rows.shape[-2:])


def _overlap(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Re sum over outcomes and entries of left conj(right), (..., M, R, M) -> (...)."""
    return (torch.view_as_real(left) * torch.view_as_real(right)).flatten(-4).sum(-1)
