"""Recurrent networks of torch between the data and a linear readout: what a quantum network is measured against."""

from __future__ import annotations

import torch
from torch import nn

from ..checks import check_bytes, check_dtype, check_integer, check_tensor, shown, torch_generator, usable

__all__ = ["GRU", "RNN"]


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
        dtype = check_dtype(dtype)
        words = ", ".join(f"{name}={shown(size)}" for name, size in sizes.items())
        check_bytes("weights", 8 * hidden * (self.gates * (input_size + hidden + 2) + output_size), words)
        generator = torch_generator(seed)
        with torch.inference_mode(False):
            # Made without memory and then emptied: torch's own start would draw from the global generator.
            cell = self.kind(input_size, hidden, batch_first=True, dtype=dtype, device="meta").to_empty(device="cpu")
            self.add_module(self.kind.__name__.lower(), cell)
            self.decoder = nn.utils.skip_init(nn.Linear, hidden, output_size, dtype=dtype, device="cpu")
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
        hidden, state = cell(usable(x), None if state is None else usable(state))
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
