"""Training in closed loop over several steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ..checks import check_instance, check_integer, check_real, check_tensor, shown, torch_generator
from .budget import cosine

__all__ = ["loop_loss", "train_in_loop"]


@torch.inference_mode(False)
@torch.enable_grad()
def train_in_loop(
    advance: Callable[[torch.Tensor], torch.Tensor], weights: Sequence[torch.Tensor], series: torch.Tensor, *,
    steps: int, horizon: int, rate: float, updates: int, noise: float = 0.0, batch: int = 32,
    unit: torch.Tensor | float = 1.0, seed: int | torch.Generator | None = None,
) -> list[float]:  # fmt: skip
    """Adam on the mean squared error of ``horizon`` steps in closed loop, by exact slopes through all of them.

    ``advance`` maps histories (n, steps, ...) to the next sample (n, ...), ``series`` (trajectory, time, ...) are
    true samples; errors are multiplied by ``unit``.  ``noise`` is the standard deviation of what is added to
    the history alone, so that the loop learns to come back to the truth.  One step without noise is ordinary
    training.  The rate falls along a cosine.  Returns the losses.
    """
    check_instance("advance", advance, Callable, "a function of histories")
    steps, horizon, updates, batch = (
        check_integer(name, value, minimum=1)
        for name, value in {"steps": steps, "horizon": horizon, "updates": updates, "batch": batch}.items()
    )
    noise, length = check_real("noise", noise, minimum=0.0), steps + horizon
    if check_instance("series", series, torch.Tensor, "a tensor (trajectory, time, ...)").shape[1] < length:
        raise ValueError(f"series must have {length} times or more; got shape {tuple(series.shape)}")
    optimizer, generator = torch.optim.Adam(weights, lr=check_real("rate", rate, 0.0, True)), torch_generator(seed)
    losses = []
    for k in range(updates):
        optimizer.param_groups[0]["lr"] = rate * cosine(k / updates)
        place = {"generator": generator, "device": generator.device}
        trajectory = torch.randint(len(series), (batch, 1), **place)
        time = torch.randint(series.shape[1] - length + 1, (batch, 1), **place)
        time = time + torch.arange(length, dtype=time.dtype, device=time.device)
        pieces = series[trajectory.to(series.device), time.to(series.device)]
        kick = noise * normal_like(pieces[:, :steps], generator)
        loss = loop_loss(advance, pieces[:, :steps] + kick, pieces[:, steps:], unit)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(check_finite(loss))
    return losses


def loop_loss(
    advance: Callable[[torch.Tensor], torch.Tensor], history: torch.Tensor, truth: torch.Tensor, unit=1.0
) -> torch.Tensor:
    """Mean squared error of a closed loop from ``history`` (n, steps, ...) over ``truth`` (n, horizon, ...)."""
    check_tensor("history", history, ("n", "steps", *history.shape[2:]))
    total = 0.0
    for k in range(truth.shape[1]):
        new = check_answer("advance", advance(history), truth[:, k].shape)
        total = total + ((new - truth[:, k]) * unit).square().mean()
        history = torch.cat([history[:, 1:], new[:, None]], dim=1)
    return total / truth.shape[1]


def check_answer(name: str, answer: torch.Tensor, shape: tuple) -> torch.Tensor:
    """What a caller's function returned, if it is a tensor of that shape (None: any size)."""
    came = tuple(answer.shape) if isinstance(answer, torch.Tensor) else shown(answer)
    fits = isinstance(came, tuple) and len(came) == len(shape)
    if not fits or any(want not in (None, got) for got, want in zip(came, shape)):
        raise ValueError(f"{name} must return a tensor of shape {tuple(shape)}; got {came}")
    return answer


def normal_like(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers of the shape, dtype and device of ``like``."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return drawn.to(like.device)


def check_finite(loss: torch.Tensor) -> float:
    if not math.isfinite(value := loss.item()):
        raise ValueError(f"rate must lead to finite losses; got {value}: it is too high, or the loop diverges")
    return value
