"""Recurrent networks of torch between the data and a linear readout: what a quantum network is measured against."""

from __future__ import annotations

import torch
from torch import nn

from ..checks import check_bytes, check_count, check_dtype, shown, torch_generator
from .base import check_input


class _Recurrent(nn.Module):
    """A recurrent network of torch between the data and a linear readout, weights from a generator of its own."""

    cell_type: type[nn.GRU] | type[nn.RNN]
    cell_name: str
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
        input_size = check_count("input_size", input_size)
        output_size = check_count("output_size", output_size)
        hidden = check_count("hidden", hidden)
        dtype = check_dtype(dtype)
        self._check_size(input_size, output_size, hidden)
        self.input_size = input_size
        generator = torch_generator(seed)
        with torch.inference_mode(False):
            self.add_module(self.cell_name, self._empty_cell(input_size, hidden, dtype))
            self.decoder = nn.utils.skip_init(nn.Linear, hidden, output_size, dtype=dtype, device="cpu")
            for weight in self.parameters():
                nn.init.uniform_(weight, -(hidden**-0.5), hidden**-0.5, generator=generator)

    def _check_size(self, input_size: int, output_size: int, hidden: int) -> None:
        cell = self.gates * (input_size + hidden + 2)
        words = f"input_size={shown(input_size)}, output_size={shown(output_size)}, hidden={shown(hidden)}"
        check_bytes("weights", 8 * hidden * (cell + output_size), words)

    def _empty_cell(self, input_size: int, hidden: int, dtype: torch.dtype) -> nn.Module:
        """Made without memory and then emptied: torch's own start would draw from the global generator."""
        cell = self.cell_type(input_size, hidden, batch_first=True, dtype=dtype, device="meta")
        return cell.to_empty(device="cpu")

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        features, state = self._run(x, state)
        return self.decoder(features), state

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the decoder reads, from a state of zeros: h_t at every step, (batch, time, hidden)."""
        return self._run(x, None)[0]

    def _run(self, x: torch.Tensor, state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        weight = self.decoder.weight
        x = check_input("x", x, ("batch", "time", self.input_size), weight)
        if state is not None:
            state = check_input("state", state, (1, len(x), self.decoder.in_features), weight)
        return self.get_submodule(self.cell_name)(x, state)


class GRU(_Recurrent):
    """A gated recurrent unit between the data and a linear readout: ``forward(x, state=None) -> (y, state)``.

    Shapes as for `QRNN`.  All weights start uniform within +-1/sqrt(hidden), torch's own rule, from a
    generator of their own.  ``features(x)`` are what the readout reads, (batch, time, hidden).
    """

    cell_type = nn.GRU
    cell_name = "gru"
    gates = 3


class RNN(_Recurrent):
    """A plain recurrent network, h_t = tanh(W h_t-1 + V x_t + b), otherwise as `GRU`."""

    cell_type = nn.RNN
    cell_name = "rnn"
    gates = 1
