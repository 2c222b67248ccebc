"""The hybrid network: encoder, quantum recurrent layer, decoder."""

from __future__ import annotations

import math

import torch
from qiskit import QuantumCircuit
from torch import nn

from ..backends import Backend
from ..checks import (
    check_bytes,
    check_dtype,
    check_instance,
    check_integer,
    check_tensor,
    shown,
    torch_generator,
    usable,
)
from ..gradients import GradientEstimator
from .layer import QuantumRecurrentLayer

__all__ = ["QRNN"]


class QRNN(nn.Module):
    """Linear encoder to angles, quantum recurrent layer, linear decoder.

    ``forward(x, state=None) -> (y, state)``: x (batch, time, input_size), y (batch, time,
    output_size).  y_t = D p_t + d with p = layer(E x + e); with ``skip`` a linear path S x_t is added.
    The encoder's weights start uniform within +-sqrt(3 / input_size) / 2 (inputs of unit variance move
    an angle by about half a radian), its biases uniform on the circle, the decoder as torch's Linear.
    ``seed`` is an int, a torch generator or None; ``dtype`` torch's default unless given.
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
        input_size = check_integer("input_size", input_size, minimum=1)
        output_size = check_integer("output_size", output_size, minimum=1)
        check_instance("skip", skip, bool, "True or False")
        self.layer = QuantumRecurrentLayer(step, backend=backend, gradient=gradient)
        dtype = check_dtype(dtype)
        program = self.layer.program
        if not program.parameters:
            raise ValueError("step must have at least one Parameter for the encoder to set; got none")
        weights = (input_size + 1) * len(program.parameters) + (2**program.readout + 1 + input_size) * output_size
        check_bytes("weights", 8 * weights, f"input_size={shown(input_size)}, output_size={shown(output_size)}")
        generator = torch_generator(seed)
        reach = math.sqrt(3 / input_size) / 2
        self.encoder = linear(input_size, len(program.parameters), reach, math.pi, dtype, generator)
        bound = 2 ** (-program.readout / 2)
        self.decoder = linear(2**program.readout, output_size, bound, bound, dtype, generator)
        self.skip = linear(input_size, output_size, 0.0, 0.0, dtype, generator) if skip else None

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        check_tensor("x", x, ("batch", "time", self.encoder.in_features))
        if x.dtype != self.encoder.weight.dtype:
            raise TypeError(f"x must have the weights' dtype {self.encoder.weight.dtype}; got {x.dtype}")
        x = usable(x)
        probabilities, state = self.layer(self.encoder(x), state)
        y = self.decoder(probabilities)
        return (y if self.skip is None else y + self.skip(x)), state


def linear(
    inputs: int, outputs: int, weight: float, bias: float, dtype: torch.dtype, generator: torch.Generator
) -> nn.Linear:
    """A linear layer, uniform within +-weight and +-bias, that leaves torch's global generator alone."""
    with torch.inference_mode(False):  # weights of a model that is made in that mode may be trained, too
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=dtype, device="cpu")
        nn.init.uniform_(layer.weight, -weight, weight, generator=generator)
        nn.init.uniform_(layer.bias, -bias, bias, generator=generator)
    return layer
