"""Hybrid networks of one shape side by side: one batch of circuits for all."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from ..checks import check_instance, check_tensor
from ..simulation import Streams
from .encoded import linear_maps
from .qrnn import QRNN


class StackedQRNN(nn.Module):
    """R networks of one shape as one: x (R * batch, time, input) -> y (R * batch, time, output), run after run.

    Every run has its own weights, (R, ...) here, and its own generators for shots and directions: what it draws is
    what it would draw alone.  The circuits of all runs are one batch, on one ledger.  ``models`` may differ in their
    weights, their seeds and the ``c`` of their estimator; they are copied, and `models` gives them back as trained.
    """

    def __init__(self, models: Sequence[QRNN]):
        super().__init__()
        self._models = [check_instance("models", model, QRNN, "QRNNs") for model in models]
        if not self._models:
            raise ValueError("models must be one QRNN or more; got none")
        for model in self._models[1:]:
            _check_alike(self._models[0], model)
        self.layer = copy.deepcopy(self._models[0].layer)
        layers = [model.layer for model in self._models]
        _share(self.layer.backend, [layer.backend for layer in layers])
        _share(self.layer.gradient, [layer.gradient for layer in layers])
        self.weights = nn.ParameterDict({_key(name): nn.Parameter(value) for name, value in _stacked(self._models)})

    @property
    def runs(self) -> int:
        return len(self._models)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        check_tensor("x", x, ("runs * batch", "time", self._models[0].encoder.in_features))
        if len(x) % self.runs:
            raise ValueError(f"x must hold as many windows for each of {self.runs} runs; got {len(x)}")
        encoder = self.weights["encoder_weight"], self.weights["encoder_bias"], x
        probabilities, state = self.layer(linear_maps(*encoder), state, encoder=encoder)
        y = self._linear("decoder", probabilities)
        if self._models[0].skip is not None:
            y = y + self._linear("skip", x)
        return y, state

    def models(self) -> list[QRNN]:
        """The networks, one for each run, with the weights as they are now."""
        for name, parameters in _parameters(self._models).items():
            for parameter, value in zip(parameters, self.weights[_key(name)], strict=True):
                parameter.data.copy_(value.detach())
        return self._models

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """A linear map of each run's rows by the run's own weights."""
        weight, bias = self.weights[f"{name}_weight"], self.weights[f"{name}_bias"]
        return linear_maps(weight, bias, x)


def _key(name: str) -> str:
    return name.replace(".", "_")


def _parameters(models: Sequence[QRNN]) -> dict[str, list[nn.Parameter]]:
    """Of every parameter those of all models."""
    each = [dict(model.named_parameters()) for model in models]
    return {name: [own[name] for own in each] for name in each[0]}


def _stacked(models: Sequence[QRNN]) -> list[tuple[str, torch.Tensor]]:
    return [(name, torch.stack([p.detach() for p in own])) for name, own in _parameters(models).items()]


def _share(owner: object, owners: Sequence[object]) -> None:
    """Let the copy of a backend or an estimator draw from all runs' generators, each with its own c."""
    if hasattr(owner, "generator"):
        owner.generator = Streams([each.generator for each in owners])  # type: ignore[attr-defined]
    if hasattr(owner, "c"):
        owner.c = torch.tensor([each.c for each in owners], dtype=torch.float64, device="cpu")  # type: ignore[attr-defined]


def _check_alike(first: QRNN, other: QRNN) -> None:
    """Refuse a model whose circuits are not those of the first, or are not run or differentiated in the same way."""
    described = [
        {
            "step": model.layer.program.step,
            "backend": repr(model.layer.backend),
            "gradient": _without_c(model),
            "weights": [(name, p.shape, p.dtype) for name, p in model.named_parameters()],
        }
        for model in (first, other)
    ]
    for name, wanted in described[0].items():
        if described[1][name] != wanted:
            raise ValueError(
                f"models must be alike but for seeds and c, and of one step circuit; "
                f"got {name} {described[1][name]} and {wanted}"
            )


def _without_c(model: QRNN) -> tuple:
    options = {name: value for name, value in vars(model.layer.gradient).items() if isinstance(value, int | float)}
    options.pop("c", None)
    return type(model.layer.gradient).__name__, options
