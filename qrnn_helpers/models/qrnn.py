"""The hybrid network: encoder, quantum recurrent layer, decoder."""

from __future__ import annotations

import math

import torch
from qiskit import QuantumCircuit
from torch import nn

from ..backends import Backend
from ..checks import check_bool, check_bytes, check_count, check_dtype, shown, torch_generator
from ..gradients import GradientEstimator
from .base import check_input, linear
from .layer import QuantumRecurrentLayer


class QRNN(nn.Module):
    """Linear encoder to angles, quantum recurrent layer, linear decoder.

    ``forward(x, state=None) -> (y, state)``: x (batch, time, input_size), y (batch, time,
    output_size).  y_t = D p_t + d with p = layer(E x + e); with ``skip`` a linear path S x_t is added.
    The encoder's weights start uniform within +-sqrt(3 / input_size) / 2 (inputs of unit variance move
    an angle by about half a radian), its biases uniform on the circle, the decoder as torch's Linear.
    ``seed`` is an int, a torch generator or None; ``dtype`` torch's default unless given.
    ``features(x)`` are the probabilities p that the decoder reads, (batch, time, 2**readout).
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        step: QuantumCircuit,
        *,
        backend: Backend | None = None,
        gradient: GradientEstimator | None = None,
        skip: bool = False,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator | None = None,
    ):
        super().__init__()
        input_size = check_count("input_size", input_size)
        output_size = check_count("output_size", output_size)
        check_bool("skip", skip)
        self.layer = QuantumRecurrentLayer(step, backend=backend, gradient=gradient)
        dtype = check_dtype(dtype)
        angles = len(self.layer.program.parameters)
        outcomes = 2**self.layer.program.readout
        if not angles:
            raise ValueError("step must have at least one Parameter for the encoder to set; got none")
        weights = (input_size + 1) * angles + (outcomes + 1 + input_size) * output_size
        check_bytes("weights", 8 * weights, f"input_size={shown(input_size)}, output_size={shown(output_size)}")
        generator = torch_generator(seed)
        self.encoder = linear(input_size, angles, math.sqrt(3 / input_size) / 2, math.pi, dtype, generator)
        self.decoder = linear(outcomes, output_size, outcomes**-0.5, outcomes**-0.5, dtype, generator)
        self.skip = linear(input_size, output_size, 0.0, 0.0, dtype, generator) if skip else None

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        x = self._checked(x)
        weight, bias = self.encoder.weight[None], self.encoder.bias[None]
        probabilities, state = self.layer(self.encoder(x), state, encoder=(weight, bias, x))
        y = self.decoder(probabilities)
        if self.skip is not None:
            y = y + self.skip(x)
        return y, state

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the decoder reads, from |0...0>: each step's probabilities, (batch, time, 2**readout)."""
        return self.layer(self.encoder(self._checked(x)))[0]

    def _checked(self, x: torch.Tensor) -> torch.Tensor:
        return check_input("x", x, ("batch", "time", self.encoder.in_features), self.encoder.weight)
