"""A linear encoder and a quantum layer together, so that estimators can move the encoder's weights."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from ..gradients import Ask, Passes
from ..torch_modes import settled


def linear_maps(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """W x + b of R linear maps, (R * batch, time, P): weight (R, P, input), bias (R, P), x (R * batch, time, input),
    run after run."""
    rows = x.reshape(len(weight), -1, x.shape[-1])
    return torch.baddbmm(bias[:, None], rows, weight.mT).view(*x.shape[:-1], -1)


class EncoderEstimated(torch.autograd.Function):
    """Forward: run the circuits.  Backward: the estimator's gradient along the encoders' weights and biases."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: torch.Tensor,
        bias: torch.Tensor,
        x: torch.Tensor,
        angles: torch.Tensor,
        passes: Passes,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, angles)
        ctx.passes = passes
        ctx.runs = len(weight)
        return passes.forward(angles, _of_weights(x, angles, ctx.runs))[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, angles = ctx.saved_tensors
        with settled(angles.device):
            gradient = ctx.passes.backward(weights, _of_weights(x, angles, ctx.runs)).to(x.dtype)
        return gradient[..., :-1], gradient[..., -1], None, None, None


def _of_weights(x: torch.Tensor, angles: torch.Tensor, runs: int) -> Ask:
    """How the gradient along the weights of so many encoders is asked for."""
    rows = x.reshape(runs, -1, x.shape[-1])
    inputs = torch.cat([rows, torch.ones_like(rows[..., :1])], -1).to(angles.dtype)
    return lambda gradient, executor, weights: gradient.estimate_weights(executor, inputs, angles, weights)
