"""From the angles of a step to the angles of its gates, and slopes back again."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import numpy as np
import torch
from qiskit.circuit import Parameter, ParameterExpression

from ..torch_modes import constant

__all__ = ["AngleMap"]


# Qiskit hands its expressions over as SymPy's; these are all the functions it knows, by SymPy's names.
_FUNCTIONS = {
    "Add": lambda *parts: reduce(operator.add, parts),
    "Mul": lambda *parts: reduce(operator.mul, parts),
    "Pow": operator.pow,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "exp": torch.exp,
    "log": torch.log,
    "Abs": torch.abs,
    "sign": torch.sign,
    "conjugate": lambda value: value,  # angles are real
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
            read = linear(expression)
            if read is None:
                self.curved[row] = _readable(expression)
                continue
            self.offsets[row], slopes = read
            for parameter, slope in slopes.items():
                self.weights[row, column[parameter]] = slope
        self._tensors: dict = {}

    def tensors(self, dtype: torch.dtype, device) -> list[torch.Tensor]:
        """``weights`` and ``offsets`` as tensors."""
        key = (dtype, device)
        if key not in self._tensors:
            self._tensors[key] = [constant(a, dtype, device) for a in (self.weights, self.offsets)]
        return self._tensors[key]

    def __call__(self, angles: torch.Tensor) -> torch.Tensor:
        weights, offsets = self.tensors(angles.dtype, angles.device)
        linear = angles @ weights.T + offsets
        if not self.curved:
            return linear
        rows = torch.tensor(list(self.curved), dtype=torch.int64, device=angles.device)
        return linear.index_copy(-1, rows, self._curved(angles))

    def vjp(self, angles: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """J^T g: slopes along the gate angles (..., G) -> slopes along the angles (..., P), at ``angles``."""
        slopes = gradient @ self.tensors(angles.dtype, angles.device)[0]
        if not self.curved:
            return slopes
        with torch.enable_grad():
            leaf = angles.detach().requires_grad_()
            values = self._curved(leaf)
        return slopes + torch.autograd.grad(values, leaf, gradient[..., list(self.curved)])[0]

    def _curved(self, angles: torch.Tensor) -> torch.Tensor:
        """The values (..., rows) of all expressions that are not linear."""
        if angles.requires_grad and torch.is_grad_enabled():
            angles = angles.view_as(angles)
            angles.register_hook(self._check_slopes)
        values = {parameter.name: angle for parameter, angle in zip(self.parameters, angles.unbind(-1))}
        nought = 0 * angles[..., 0]  # an expression may turn out to be a constant
        found = torch.stack([nought + _evaluate(e, values) for e in self.curved.values()], -1)
        finite = found.isfinite().reshape(-1, len(self.curved)).all(0).tolist()
        for expression, good in zip(self.curved.values(), finite):
            if not good:
                raise ValueError(
                    f"angles must keep the step's angle '{expression}' a finite real number; got angles where it is not"
                )
        return found

    def _check_slopes(self, slopes: torch.Tensor) -> None:
        """a**0.5 has a value at 0, but no slope there."""
        if not bool(slopes.isfinite().all()):
            words = ", ".join(f"'{expression}'" for expression in self.curved.values())
            raise ValueError(f"angles must keep the slopes of the step's {words} finite; got angles where one is not")


def linear(expression: ParameterExpression) -> tuple[float, dict[Parameter, float]] | None:
    """Offset and slopes of a linear expression, None for any other."""
    try:
        slopes = {p: expression.gradient(p) for p in expression.parameters}
        if not all(map(_is_real_constant, slopes.values())):
            return None
        offset = float(expression.bind({p: 0.0 for p in expression.parameters}))
    except (RuntimeError, TypeError, ZeroDivisionError):  # sign(a) has no slope for Qiskit, a**2/a no value at 0
        return None
    return offset, {p: float(slope) for p, slope in slopes.items()}


def _is_real_constant(slope: float | complex | ParameterExpression) -> bool:
    if isinstance(slope, ParameterExpression):
        return not slope.parameters
    return not isinstance(slope, complex)


def _readable(expression: ParameterExpression) -> Any:
    """The expression as SymPy's tree; refused if it is complex or holds a function that nobody knows."""
    tree = expression.sympify()
    unknown = {name for name in _names(tree) if name not in _FUNCTIONS}
    if unknown:
        raise ValueError(
            f"step: got angle '{expression}' with {', '.join(sorted(unknown))}; allowed are real expressions with "
            f"{', '.join(_FUNCTIONS)}"
        )
    return tree


def _names(tree: Any) -> set[str]:
    """The functions in an expression; a complex number counts as one of the name 'I'."""
    if not tree.free_symbols:
        return set() if complex(tree).imag == 0 else {"I"}
    own = {type(tree).__name__} if tree.args else set()
    return own.union(*map(_names, tree.args))


def _evaluate(tree: Any, values: dict[str, torch.Tensor]) -> torch.Tensor | float:
    if not tree.free_symbols:
        return float(tree)
    if tree.is_Symbol:
        return values[tree.name]
    return _FUNCTIONS[type(tree).__name__](*(_evaluate(part, values) for part in tree.args))
