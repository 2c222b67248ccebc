"""Training in closed loop over several steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..checks import check_count, check_instance, check_positive, check_real, check_tensor, shown, torch_generator
from .loop import minimise


class ClippedAdam(torch.optim.Adam):
    """Adam on a gradient whose norm, over all weights together, is cut to 1."""

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]  # never without
        with torch.enable_grad():
            loss = closure()
        weights = [weight for group in self.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, 1.0)
        super().step()
        return loss


@torch.inference_mode(False)
@torch.enable_grad()
def train_in_loop(
    advance: Callable[[Tensor], Tensor], weights: Sequence[Tensor], series: Tensor, *,
    steps: int, horizon: int, rate: float, updates: int, noise: float = 0.0, batch: int = 32,
    unit: Tensor | float = 1.0, seed: int | torch.Generator | None = None,
) -> list[float]:  # fmt: skip
    """Adam on the mean squared error of ``horizon`` steps in closed loop, by exact slopes through all of them.

    ``advance`` maps histories (n, steps, ...) to the next sample (n, ...), ``series`` (trajectory, time, ...) are
    true samples; errors are multiplied by ``unit``.  ``noise`` is the standard deviation of what is added to
    the history alone, so that the loop learns to come back to the truth.  One step without noise is ordinary
    training.  The rate falls along a cosine.  Returns the losses.
    """
    check_instance("advance", advance, Callable, "a function of histories")
    steps, horizon, updates, batch = check_counts(steps=steps, horizon=horizon, updates=updates, batch=batch)
    noise = check_real("noise", noise, minimum=0.0)
    length = steps + horizon
    if check_instance("series", series, Tensor, "a tensor (trajectory, time, ...)").shape[1] < length:
        raise ValueError(f"series must have {length} times or more; got shape {tuple(series.shape)}")
    optimizer = ClippedAdam(weights, lr=check_positive("rate", rate))
    generator = torch_generator(seed)

    def loss(piece: Tensor) -> Tensor:
        history, truth = piece[:, :steps], piece[:, steps:]
        kick = noise * normal_like(history, generator)
        return check_finite(loop_loss(advance, history + kick, truth, unit))

    return minimise(optimizer, _pieces(series, length, batch, generator), loss, updates)


def loop_loss(
    advance: Callable[[Tensor], Tensor],
    history: Tensor,
    truth: Tensor,
    unit: Tensor | float = 1.0,
) -> Tensor:
    """Mean squared error of a closed loop from ``history`` (n, steps, ...) over ``truth`` (n, horizon, ...)."""
    check_tensor("history", history, ("n", "steps", *history.shape[2:]))
    errors = []
    for wanted in truth.unbind(1):
        new = check_answer("advance", advance(history), wanted.shape)
        errors.append(((new - wanted) * unit).square().mean())
        history = torch.cat([history[:, 1:], new[:, None]], dim=1)
    return sum(errors[1:], errors[0]) / len(errors)


def _pieces(series: Tensor, length: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Stretches (count, length, ...) of the series, from random trajectories and times."""
    draw = partial(torch.randint, size=(count, 1), generator=generator, device=generator.device)
    while True:
        trajectory = draw(len(series))
        start = draw(series.shape[1] - length + 1)
        time = start + torch.arange(length, dtype=start.dtype, device=start.device)
        yield series[trajectory.to(series.device), time.to(series.device)]


def check_counts(**counts: int) -> list[int]:
    """Integers of 1 or more, named by their arguments."""
    return [check_count(name, count) for name, count in counts.items()]


def check_answer(name: str, answer: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """What a caller's function returned, if it is a tensor of that shape (None: any size)."""
    came = tuple(answer.shape) if isinstance(answer, Tensor) else shown(answer)
    fits = isinstance(came, tuple) and len(came) == len(shape)
    if not fits or any(want not in (None, got) for got, want in zip(came, shape)):
        raise ValueError(f"{name} must return a tensor of shape {tuple(shape)}; got {came}")
    return answer


def check_finite(loss: Tensor) -> Tensor:
    """The loss itself, if it is a finite number."""
    if not torch.isfinite(loss):
        raise ValueError(f"rate must lead to finite losses; got {loss.item()}: too high, or the model diverges")
    return loss


def normal_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of ``like``."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return drawn.to(like.device)
