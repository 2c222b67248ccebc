"""From the angles of a step to the angles of its gates, and slopes back again."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
import torch
from qiskit.circuit import Parameter, ParameterExpression
from torch import Tensor

from ..torch_modes import constant

# Qiskit hands its expressions over as SymPy's; these are all the functions it knows, by SymPy's names.
_FUNCTIONS = {
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *factors: math.prod(factors),
    "Pow": pow,
    "Abs": torch.abs,
    "conjugate": lambda angle: angle,  # angles are real
    **{name: getattr(torch, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "exp", "log", "sign")},
}


class AngleMap:
    """A differentiable map: angles (..., P) -> gate angles (..., G), one expression for each gate.

    Linear expressions, the usual case, are the rows of ``weights`` (G, P) and ``offsets`` (G,); the rows of
    all others are zero there and are computed by torch, expression by expression.
    """

    def __init__(self, expressions: list[ParameterExpression], parameters: tuple[Parameter, ...]):
        self.parameters = parameters
        self.weights = np.zeros((len(expressions), len(parameters)))
        self.offsets = np.zeros(len(expressions))
        self.curved: dict[int, Any] = {}
        column = {parameter: k for k, parameter in enumerate(parameters)}
        for row, expression in enumerate(expressions):
            line = linear(expression)
            if line is None:
                self.curved[row] = _readable(expression)
                continue
            self.offsets[row], slopes = line
            for parameter, slope in slopes.items():
                self.weights[row, column[parameter]] = slope
        self._tensors: dict[tuple, tuple[Tensor, Tensor]] = {}

    def _line(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """``weights`` and ``offsets`` as tensors of the dtype and on the device of ``like``."""
        key = like.dtype, like.device
        if key not in self._tensors:
            self._tensors[key] = constant(self.weights, *key), constant(self.offsets, *key)
        return self._tensors[key]

    def __call__(self, angles: Tensor) -> Tensor:
        weights, offsets = self._line(angles)
        gate_angles = angles @ weights.T + offsets
        if not self.curved:
            return gate_angles
        rows = torch.tensor(list(self.curved), dtype=torch.int64, device=angles.device)
        return gate_angles.index_copy(-1, rows, self._curved(angles))

    def vjp(self, angles: Tensor, gradient: Tensor) -> Tensor:
        """J^T g: slopes along the gate angles (..., G) -> slopes along the angles (..., P), at ``angles``."""
        weights, _ = self._line(angles)
        slopes = gradient @ weights
        if not self.curved:
            return slopes
        with torch.enable_grad():
            leaf = angles.detach().requires_grad_()
            values = self._curved(leaf)
        return slopes + torch.autograd.grad(values, leaf, gradient[..., list(self.curved)])[0]

    def _curved(self, angles: Tensor) -> Tensor:
        """The values (..., rows) of all expressions that are not linear."""
        if angles.requires_grad and torch.is_grad_enabled():
            angles = angles.view_as(angles)
            angles.register_hook(self._check_slopes)
        by_name = {p.name: angle for p, angle in zip(self.parameters, angles.unbind(-1))}
        zero = 0 * angles[..., 0]  # an expression may turn out to be a constant
        values = torch.stack([zero + _evaluate(tree, by_name) for tree in self.curved.values()], -1)
        if not bool(values.isfinite().all()):
            self._refuse(values)
        return values

    def _refuse(self, values: Tensor) -> NoReturn:
        """Name the first expression that has no value."""
        finite = values.isfinite().flatten(0, -2).all(0).tolist()
        expression = list(self.curved.values())[finite.index(False)]
        raise ValueError(
            f"angles must keep the step's angle '{expression}' a finite real number; got angles where it is not"
        )

    def _check_slopes(self, slopes: Tensor) -> None:
        """a**0.5 has a value at 0, but no slope there."""
        if not bool(slopes.isfinite().all()):
            words = ", ".join(f"'{expression}'" for expression in self.curved.values())
            raise ValueError(f"angles must keep the slopes of the step's {words} finite; got angles where one is not")


def linear(expression: ParameterExpression) -> tuple[float, dict[Parameter, float]] | None:
    """Offset and slopes of a linear expression, None for any other."""
    try:
        slopes = {
            p: float(expression.gradient(p)) for p in expression.parameters
        }  # `float` refuses what has Parameters
        offset = float(expression.bind(dict.fromkeys(slopes, 0.0)))
    except (RuntimeError, TypeError, ZeroDivisionError):  # sign(a) has no slope for Qiskit, a**2/a no value at 0
        return None
    return offset, slopes


def _readable(expression: ParameterExpression) -> Any:
    """The expression as SymPy's tree; refused if it is complex or holds a function that nobody knows."""
    tree = expression.sympify()
    if unknown := _unknown(tree):
        raise ValueError(
            f"step: got angle '{expression}' with {', '.join(sorted(unknown))}; allowed are real expressions with "
            f"{', '.join(_FUNCTIONS)}"
        )
    return tree


def _unknown(tree: Any) -> set[str]:
    """Functions that torch does not get; a complex number counts as one of the name 'I'."""
    if not tree.free_symbols:
        return {"I"} if complex(tree).imag else set()
    name = type(tree).__name__
    here = {name} if tree.args and name not in _FUNCTIONS else set()
    return here.union(*map(_unknown, tree.args))


def _evaluate(tree: Any, by_name: dict[str, Tensor]) -> Tensor | float:
    if not tree.free_symbols:
        return float(tree)
    if tree.is_Symbol:
        return by_name[tree.name]
    return _FUNCTIONS[type(tree).__name__](*(_evaluate(part, by_name) for part in tree.args))
