"""The slice forecast: modes of a field that one wave holds at its place, and what no linear step explains of each step.

The method of slices: an equation that does not know where x begins gives the same answer to a moved start, moved.
Every field is therefore moved along x until the phase of one Fourier mode is zero (the first-Fourier-mode slice, here
of any mode), so that a model has this symmetry for certain and need not learn it from data.
N. B. Budanur, P. Cvitanovic, R. L. Davidchack & E. Siminos, Phys. Rev. Lett. 114 (2015) 084102.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..checks import check_instance, check_integer
from .modes import ReducedForecast
from .windows import PARTS, Pair, Predict, Scaling, check_scale


@dataclass(frozen=True)
class SliceForecast(ReducedForecast):
    """Windows of Fourier coefficients, moved along x so that mode ``phase_mode`` is a pure cosine at the last step.

    ``frame`` scales the moved features (each over its own standard deviation) and ``linear`` (modes + 1, modes)
    is the best linear step from them; y (windows, steps, modes) is what it leaves of the next field, in the same
    frame and in one unit for all modes, so that an error in y is an error of the field.  Only the last step counts.
    """

    _: KW_ONLY
    phase_mode: int
    frame: Scaling[Tensor]
    linear: np.ndarray

    def to_slice(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Windows x as a model sees them, and by which angle (windows,) they stood off the slice."""
        on_slice, angle = _to_slice(x, self.phase_mode)
        return self.frame.features(on_slice), angle

    def next_modes(self, predict: Predict, x: Tensor) -> Tensor:
        features, angle = self.to_slice(x)
        remainder = self.answer(predict, features)[:, -1] * self.output_unit()
        return translated(_linear_step(features[:, -1], self.linear) + remainder, angle)


def slice_forecast(task: ReducedForecast, *, phase_mode: int = 2) -> SliceForecast:
    """The windows of a forecast of Fourier modes in one space dimension, on the slice of mode ``phase_mode``.

    Choose a mode that never vanishes, since the phase jumps where it does: at length 22 it is the second.
    A mode of index m leaves m places where the field may stand; all of them are in the data.
    """
    check_instance("task", task, ReducedForecast, "a ReducedForecast")
    if isinstance(task, SliceForecast) or len(task.grid) != 1 or np.any(task.mean):
        raise ValueError(f"task must be of Fourier modes in one space dimension, on no slice yet; got {task.name!r}")
    phase_mode = check_integer("phase_mode", phase_mode, minimum=1, maximum=len(task.modes) // 2)

    # Units that are the same for the cosine and the sine of a wave: moving a field turns one into the other.
    size = np.sqrt((np.reshape(task.x_scaling.unit, (-1, 2)) ** 2).mean(1)).repeat(2)
    isotropic = Scaling(task.x_scaling.shift * 0, size)
    pairs = [_pair_on_slice(getattr(task, part), task, isotropic, phase_mode) for part in PARTS]
    train_x, train_y = pairs[0]
    frame = _standard(train_x)
    linear = _best_step(frame.features(train_x[:, -1]).numpy(), train_y[:, -1].numpy())

    features = [frame.features(x) for x, _ in pairs]
    remainders = [(y - _linear_step(x, linear)) * torch.from_numpy(size) for x, (_, y) in zip(features, pairs)]
    unit = check_scale("task", float(remainders[0][:, -1].square().mean().sqrt()))
    changes = {
        "name": f"{task.name}, on the slice of mode {phase_mode}",
        "washout": task.train[0].shape[1] - 1,
        "scored": 1,
        "x_scaling": isotropic,
        "y_scaling": Scaling(0.0, unit),
        "still": partial(_same, frame, linear, size / unit),
    }
    parts = {part: (x, y / unit) for part, x, y in zip(PARTS, features, remainders)}
    return SliceForecast(**(vars(task) | parts | changes), phase_mode=phase_mode, frame=frame, linear=linear)


def translated(x: Tensor, angle: Tensor) -> Tensor:
    """Cosine and sine coefficients (..., modes) of the field moved by ``angle`` (of the first wave) along x."""
    waves = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    indices = torch.arange(1, waves.shape[-1] + 1, dtype=angle.dtype, device=angle.device)
    phases = indices * angle[..., None]
    return torch.view_as_real(waves * torch.polar(torch.ones_like(phases), phases)).flatten(-2)


def _to_slice(x: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    """Windows x (windows, steps, modes) moved so that ``mode`` is a pure cosine at the last step, and the angle."""
    cosine = x[:, -1, 2 * mode - 2]
    sine = x[:, -1, 2 * mode - 1]
    angle = torch.atan2(sine, cosine) / mode
    return translated(x, -angle[:, None]), angle


def _pair_on_slice(pair: Pair, task: ReducedForecast, isotropic: Scaling, mode: int) -> Pair:
    """Windows x, and the samples after them, on the slice of the last x: both in isotropic units."""
    scalings = (task.x_scaling, task.y_scaling)
    x, y = (torch.from_numpy(isotropic.features(scaling.values(part.numpy()))) for scaling, part in zip(scalings, pair))
    on_slice, angle = _to_slice(x, mode)
    return on_slice, translated(y, -angle[:, None])


def _standard(x: Tensor) -> Scaling[Tensor]:
    """Each mode of windows x less its mean and over its standard deviation."""
    rows = x.flatten(0, 1).numpy()
    std = rows.std(0)
    std = np.where(std > 1e-9, std, 1.0)  # a single step has no sine of the phase mode
    return Scaling(torch.from_numpy(rows.mean(0)), torch.from_numpy(std))


def _linear_step(x: Tensor, linear: np.ndarray) -> Tensor:
    """The linear step of features x (..., modes)."""
    return x @ torch.from_numpy(linear[:-1]) + torch.from_numpy(linear[-1])


def _best_step(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares of y (windows, modes) on x and 1; what does not vary in x gets no weight."""
    return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=1e-10)[0]


def _same(frame: Scaling[Tensor], linear: np.ndarray, unit: np.ndarray, x: Tensor) -> Tensor:
    """Persistence: what the linear step would have to leave for nothing to move."""
    return (frame.values(x) - _linear_step(x, linear)) * torch.from_numpy(unit)
