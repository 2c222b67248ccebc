"""The aligned forecast: modes in a frame that moves with one wave, and of each step what no linear step explains."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
import torch

from ..checks import check_instance, check_integer
from .modes import ReducedForecast
from .windows import PARTS, Predict, Scaling, check_scale

__all__ = ["AlignedForecast", "aligned_forecast", "shifted"]


@dataclass(frozen=True)
class AlignedForecast(ReducedForecast):
    """Windows of Fourier coefficients, moved along x so that a reference wave is a pure cosine at the last step.

    An equation that does not know where x begins gives the same answer to a moved start, moved.  A model that
    only sees fields moved to one place has this symmetry for certain, and need not learn it from data.
    ``frame`` scales the moved features (each over its own standard deviation) and ``linear`` (modes + 1, modes)
    is the best linear step from them; y (windows, steps, modes) is what it leaves of the next field, in the same
    frame and in one unit for all modes, so that an error in y is an error of the field.  Only the last step counts.
    N. B. Budanur, P. Cvitanovic, R. L. Davidchack & E. Siminos, Phys. Rev. Lett. 114 (2015) 084102.
    """

    _: KW_ONLY
    wave: int
    frame: Scaling
    linear: np.ndarray

    def align(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows x as a model sees them, and by which angle (windows,) they were moved."""
        moved, angle = moved_to(x, self.wave)
        return self.frame.features(moved), angle

    def advance(self, predict: Predict, x: torch.Tensor) -> torch.Tensor:
        seen, angle = self.align(x)
        unit = torch.from_numpy(np.asarray(self.y_scaling.unit / self.x_scaling.unit))
        return shifted(stepped(seen[:, -1], self.linear) + self.answer(predict, seen)[:, -1] * unit, angle)


def aligned_forecast(task: ReducedForecast, *, wave: int = 2) -> AlignedForecast:
    """The windows of a forecast of Fourier modes in one space dimension, aligned by wave number ``wave``.

    Choose a wave that never vanishes, since the frame jumps where it does: at length 22 it is the second.
    A wave of index m leaves m places where the field may stand; all of them are in the data.
    """
    check_instance("task", task, ReducedForecast, "a ReducedForecast")
    if isinstance(task, AlignedForecast) or len(task.grid) != 1 or np.any(task.mean):
        raise ValueError(f"task must be of Fourier modes in one space dimension, not aligned yet; got {task.name!r}")
    wave = check_integer("wave", wave, minimum=1, maximum=len(task.modes) // 2)
    lab = Scaling(task.x_scaling.shift * 0, np.sqrt((task.x_scaling.unit.reshape(-1, 2) ** 2).mean(1)).repeat(2))
    pairs = [_moved(getattr(task, part), task, lab, wave) for part in PARTS]
    rows = pairs[0][0].flatten(0, 1).numpy()
    spread = np.where(rows.std(0) > 1e-9, rows.std(0), 1.0)  # a single step has no sine of the wave
    frame = Scaling(torch.from_numpy(rows.mean(0)), torch.from_numpy(spread))
    linear = _best_step(frame.features(pairs[0][0][:, -1]).numpy(), pairs[0][1][:, -1].numpy())
    seen = [frame.features(x) for x, _ in pairs]
    left = [(y - stepped(x, linear)) * torch.from_numpy(lab.unit) for x, (_, y) in zip(seen, pairs)]
    unit = check_scale("task", float(left[0][:, -1].square().mean().sqrt()))
    parts = dict(zip(PARTS, [(x, y / unit) for x, y in zip(seen, left)]))
    return AlignedForecast(
        **parts, name=f"{task.name}, aligned", sees=task.sees, washout=task.train[0].shape[1] - 1, scored=1,
        x_scaling=lab, y_scaling=Scaling(0.0, unit), still=partial(_same, frame, linear, lab.unit / unit),
        modes=task.modes, mean=task.mean, grid=task.grid, wave=wave, frame=frame, linear=linear,
    )  # fmt: skip


def shifted(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Cosine and sine coefficients (..., modes) of the field moved by ``angle`` (of the first wave) along x."""
    waves = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    numbers = torch.arange(1, waves.shape[-1] + 1, dtype=angle.dtype, device=angle.device)
    turns = numbers * angle[..., None]
    return torch.view_as_real(waves * torch.polar(torch.ones_like(turns), turns)).flatten(-2)


def moved_to(x: torch.Tensor, wave: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows x (windows, steps, modes) moved so that ``wave`` is a pure cosine at the last step, and the angle."""
    angle = torch.atan2(x[:, -1, 2 * wave - 1], x[:, -1, 2 * wave - 2]) / wave
    return shifted(x, -angle[:, None]), angle


def stepped(x: torch.Tensor, linear: np.ndarray) -> torch.Tensor:
    """The linear step of features x (..., modes)."""
    return x @ torch.from_numpy(linear[:-1]) + torch.from_numpy(linear[-1])


def _moved(pair: tuple, task: ReducedForecast, lab: Scaling, wave: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows x, and the samples after them, in the frame of the last x: both in isotropic units."""
    x, y = (torch.from_numpy(lab.features(s.values(v.numpy()))) for s, v in zip((task.x_scaling, task.y_scaling), pair))
    moved, angle = moved_to(x, wave)
    return moved, shifted(y, -angle[:, None])


def _best_step(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares of y (windows, modes) on x and 1; what does not vary in x gets no weight."""
    return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=1e-10)[0]


def _same(frame: Scaling, linear: np.ndarray, unit: np.ndarray, x: torch.Tensor) -> torch.Tensor:
    """Persistence: what the linear step would have to leave for nothing to move."""
    return (frame.values(x) - stepped(x, linear)) * torch.from_numpy(unit)
