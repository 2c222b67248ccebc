"""Models that a quantum network has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import nn

from .checks import check_instance, check_integer, check_tensor, shown, torch_generator
from .layer import QRNN
from .limits import check_bytes
from .patches import PatchForecast, check_patches

__all__ = ["Baseline", "GRU", "RNN", "linear_baseline", "persistence", "untrained_circuit"]

PENALTIES = 10.0 ** np.arange(-6, 4)
"""Ridge penalties that cross-validation on the training windows chooses from."""


@dataclass(frozen=True)
class Baseline:
    """``forecast`` maps windows (n, steps, neighbours) to the last step's increment (n,)."""

    name: str
    sees: str
    parameters: int
    forecast: Callable[[torch.Tensor], torch.Tensor]

    def __post_init__(self) -> None:
        for name in ("name", "sees"):
            check_instance(name, getattr(self, name), str, "text")
        check_integer("parameters", self.parameters, minimum=0)
        check_instance("forecast", self.forecast, Callable, "a function of windows")


def persistence(task: PatchForecast) -> Baseline:
    """The last increment again: y(t) = u(t) - u(t - 1) of the middle point."""
    check_patches(task)
    if task.steps < 2:
        raise ValueError(f"task must have at least 2 steps, to have an increment; got {task.steps}")
    middle, ratio = len(task.offsets) // 2, task.field_std / task.increment_std

    def forecast(x: torch.Tensor) -> torch.Tensor:
        check_tensor("x", x, ("windows", task.steps, len(task.offsets)))
        return (x[:, -1, middle] - x[:, -2, middle]) * ratio

    return Baseline("persistence of the increment", "1 point, 2 steps", 0, forecast)


def linear_baseline(task: PatchForecast, steps: int) -> Baseline:
    """Ridge regression on the neighbourhood over the last ``steps`` samples."""
    check_patches(task)
    check_integer("steps", steps, minimum=1, maximum=task.steps)
    ridge, parameters = _ridge(task, lambda x: x[:, -steps:].flatten(1))
    words = "1 step" if steps == 1 else f"{steps} steps"
    return Baseline(f"linear, {words}", f"{len(task.offsets)} points, {words}", parameters, ridge)


def untrained_circuit(task: PatchForecast, model: QRNN) -> Baseline:
    """The same circuit and encoder as drawn, with a ridge readout of the last step's probabilities."""
    check_patches(task)
    weight = check_instance("model", model, QRNN, "a QRNN").encoder.weight
    if (weight.shape[1], weight.dtype) != (len(task.offsets), task.train[0].dtype):
        words = f"{len(task.offsets)} inputs in {task.train[0].dtype}, as the task has"
        raise ValueError(f"model must take {words}; got {weight.shape[1]} in {weight.dtype}")

    def features(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.layer(model.encoder(x))[0][:, -1]

    ridge, parameters = _ridge(task, features)
    sees = f"{len(task.offsets)} points, {task.steps} steps"
    return Baseline("untrained circuit, ridge readout", sees, parameters, ridge)


class _Recurrent(nn.Module):
    """A recurrent network of torch between the data and a linear readout, weights from a generator of its own."""

    kind: type[nn.RNNBase]
    gates: int
    """Blocks of ``hidden`` rows in the weights."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden: int,
        *,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator | None = None,
    ):
        super().__init__()
        sizes = {"input_size": input_size, "output_size": output_size, "hidden": hidden}
        input_size, output_size, hidden = (check_integer(name, size, minimum=1) for name, size in sizes.items())
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(f"dtype must be a floating torch dtype or None; got {shown(dtype)}")
        words = ", ".join(f"{name}={shown(size)}" for name, size in sizes.items())
        check_bytes("weights", 8 * hidden * (self.gates * (input_size + hidden + 2) + output_size), words)
        dtype = dtype or torch.get_default_dtype()
        # Made without memory and then emptied: torch's own start would draw from the global generator.
        cell = self.kind(input_size, hidden, batch_first=True, dtype=dtype, device="meta").to_empty(device="cpu")
        self.add_module(self.kind.__name__.lower(), cell)
        self.decoder = nn.utils.skip_init(nn.Linear, hidden, output_size, dtype=dtype)
        generator = torch_generator(seed)
        for weight in self.parameters():
            nn.init.uniform_(weight, -(hidden**-0.5), hidden**-0.5, generator=generator)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        cell = self.get_submodule(self.kind.__name__.lower())
        check_tensor("x", x, ("batch", "time", cell.input_size))
        if state is not None:
            check_tensor("state", state, (1, len(x), cell.hidden_size))
        for name, value in {"x": x, "state": x if state is None else state}.items():
            if value.dtype != self.decoder.weight.dtype:
                raise TypeError(f"{name} must have the weights' dtype {self.decoder.weight.dtype}; got {value.dtype}")
        hidden, state = cell(x, state)
        return self.decoder(hidden), state


class GRU(_Recurrent):
    """A gated recurrent unit between the data and a linear readout: ``forward(x, state=None) -> (y, state)``.

    Shapes as for `QRNN`.  All weights start uniform within +-1/sqrt(hidden), torch's own rule, from a
    generator of their own.
    """

    kind, gates = nn.GRU, 3


class RNN(_Recurrent):
    """A plain recurrent network, h_t = tanh(W h_t-1 + V x_t + b), otherwise as `GRU`."""

    kind, gates = nn.RNN, 1


def _ridge(task: PatchForecast, features: Callable[[torch.Tensor], torch.Tensor]):
    """A ridge forecast of the last step's increment from ``features`` of the window, and its parameter count."""
    x, y = task.train
    ridge = RidgeCV(PENALTIES).fit(features(x).numpy(), y[:, -1, 0].numpy())

    def forecast(x: torch.Tensor) -> torch.Tensor:
        check_tensor("x", x, ("windows", task.steps, len(task.offsets)))
        return torch.from_numpy(ridge.predict(features(x).numpy()))

    return forecast, ridge.n_features_in_ + 1
