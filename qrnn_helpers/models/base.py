"""What all networks here share: checked inputs, and linear layers drawn from a generator of their own."""

from __future__ import annotations

import torch
from torch import nn

from ..checks import check_tensor, usable


def check_input(name: str, value: torch.Tensor, shape: tuple[int | str, ...], weight: torch.Tensor) -> torch.Tensor:
    """``value``, if its shape is right and its dtype that of the weights, ready to be differentiated."""
    check_tensor(name, value, shape)
    if value.dtype != weight.dtype:
        raise TypeError(f"{name} must have the weights' dtype {weight.dtype}; got {value.dtype}")
    return usable(value)


def linear(
    inputs: int, outputs: int, weight: float, bias: float, dtype: torch.dtype, generator: torch.Generator
) -> nn.Linear:
    """A linear layer, uniform within +-weight and +-bias, that leaves torch's global generator alone."""
    with torch.inference_mode(False):  # weights of a model that is made in that mode may be trained, too
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=dtype, device="cpu")
        nn.init.uniform_(layer.weight, -weight, weight, generator=generator)
        nn.init.uniform_(layer.bias, -bias, bias, generator=generator)
    return layer
