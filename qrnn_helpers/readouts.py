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
        self.weights = weights.to(kraus.dtype)
        self.second = second
        self.future = self._futures(kraus)
        self.past = self._pasts(kraus, rho, 0 if causal else 1 + second)

    def moments(self, step: int, kraus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """E[X] and E[X^2] (or None), (K, batch), for operators (K, batch, R, M, M) at ``step``."""
        w, past, (mean, square) = self.weights[:, step, :, None, None], self.past[step], self.future[step + 1]
        moved = [kraus @ state[:, None] for state in past]
        seen = [kraus, w * kraus + mean[:, None] @ kraus]
        first = _overlap(moved[0], seen[1])
        if len(past) > 1:
            first = first + _overlap(moved[1], kraus)
        if not self.second:
            return first, None
        seen.append(2 * w * seen[1] - w**2 * kraus + square[:, None] @ kraus)
        second = _overlap(moved[0], seen[2])
        if len(past) > 1:
            second = second + 2 * _overlap(moved[1], seen[1]) + _overlap(moved[2], kraus)
        return first, second

    def _futures(self, kraus: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        """(A_t, C_t) for every t, and zeros beyond the last step."""
        zero = torch.zeros_like(kraus[:, 0, 0])
        futures = [(zero, zero if self.second else None)]
        for t in reversed(range(kraus.shape[1])):
            own, w, (mean, square) = kraus[:, t], self.weights[:, t, :, None, None], futures[-1]
            ahead = w * own + mean[:, None] @ own
            after = None
            if self.second:
                after = _contract(own, 2 * w * ahead - w**2 * own + square[:, None] @ own)
            futures.append((_contract(own, ahead), after))
        return futures[::-1]

    def _pasts(self, kraus: torch.Tensor, rho: torch.Tensor, order: int) -> list[list[torch.Tensor]]:
        """[R0, ..., R_order] before every step."""
        states = [rho] + [torch.zeros_like(rho)] * order
        pasts = []
        for t in range(kraus.shape[1]):
            pasts.append(states)
            own, w = kraus[:, t], self.weights[:, t, :, None, None]
            moved = [own @ state[:, None] for state in states]
            weighted = moved[:1]
            if order > 0:
                weighted.append(moved[1] + w * moved[0])
            if order > 1:
                weighted.append(moved[2] + 2 * w * moved[1] + w**2 * moved[0])
            states = [_advance(own, part) for part in weighted]
        return pasts


def joint_moments(kraus: torch.Tensor, weights: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means (batch, time) and covariances (batch, time, time) of one shot's values w[t, r_t] at all steps.

    The state that a value at step t has weighted goes on to every later step u: E[w_t w_u].
    """
    weights = weights.to(kraus.dtype)
    states, means, products = rho[:, None], [], []
    for t in range(kraus.shape[1]):
        own, w = kraus[:, t, None], weights[:, t, None, :, None, None]
        moved = own @ states[:, :, None]  # (batch, 1 + t, R, M, M): rho, then those weighted at each earlier step
        values = _overlap(moved, w * own)
        means.append(values[:, 0])
        products.append(torch.cat([values[:, 1:], _overlap(moved[:, 0], w[:, 0] ** 2 * own[:, 0])[:, None]], 1))
        states = torch.cat([_advance(own, moved), _advance(own, w * moved[:, :1])], 1)
    mean = torch.stack(means, 1)
    size = mean.shape[1]
    square = torch.stack([torch.nn.functional.pad(row, (0, size - row.shape[1])) for row in products], 1)
    square = square.tril() + square.tril(-1).mT
    return mean, square - mean[:, :, None] * mean[:, None, :]


def _overlap(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Re sum over outcomes and entries of left conj(right), (..., R, M, M) -> (...)."""
    pair = torch.view_as_real(left) * torch.view_as_real(right)
    return pair.flatten(-4).sum(-1)


def _contract(kraus: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """sum_r K_r^+ B_r, (..., R, M, M) -> (..., M, M), as one matrix product."""
    return kraus.flatten(-3, -2).mH @ seen.flatten(-3, -2)


def _advance(kraus: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """sum_r B_r K_r^+, (..., R, M, M) -> (..., M, M), as one matrix product."""
    left, right = (part.transpose(-3, -2).flatten(-2) for part in (moved, kraus))
    return left @ right.mH
