"""Spall's own algorithm: simultaneous perturbation of the weights, no gradients anywhere."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import check_bytes, check_integer, check_positive, check_real, shown, torch_generator

MOST = 10**6
"""Weights' tensors, and directions, for each of which the closure runs twice."""

KEPT = ("k", "directions", "generator")
"""What a copy and a state_dict keep beside torch's own."""


ALLOWED = "an iterable of weights, or of dicts of them, such as model.parameters()"


class _Weight(NamedTuple):
    """A weight that a step moves: its group and a copy of it as it was."""

    group: dict
    tensor: Tensor
    start: Tensor

    def move(self, by: Tensor) -> None:
        self.tensor.copy_(self.start + by)


class SPSAOptimizer(torch.optim.Optimizer):
    """Simultaneous perturbation stochastic approximation on the weights themselves (Spall 1992, 1998).

    Step k = 0, 1, ... moves the weights w, all groups at once, along random signs d = +-1:

        g = mean over ``directions`` d of [L(w + c_k d) - L(w - c_k d)] / (2 c_k) d,    w <- w - a_k g,
        a_k = lr ((1 + A) / (k + 1 + A))**alpha,    c_k = c / (k + 1)**gamma,    A = ``stability``.

    g is unbiased up to O(c_k**2), and exactly so where L is quadratic.  One pair of losses gives the slope
    of every weight, at the price of noise: m directions in n weights have, for c -> 0, the covariance
    (|G|^2 I + G G^T - 2 diag(G^2)) / m around the gradient G.

    ``lr`` (weights**2 / loss, the step a_0) and ``c`` (units of the weights), ``alpha``, ``gamma`` and
    ``stability`` (in steps; a tenth of those planned is usual) may differ between groups.  The defaults .602
    and .101 are Spall's; alpha=0 keeps the rate constant for an outer schedule such as that of `fit`.
    Groups of unlike c disturb each other: the noise of one grows with the other's c over its own.

    ``seed`` of the directions is an int, a torch generator or None.  Weights with ``requires_grad=False``
    stay as they are.  Raises TypeError for weights that are not real floating numbers.

    Spall, IEEE Trans. Automatic Control 37 (1992) 332; "Implementation of the simultaneous perturbation
    algorithm for stochastic optimization", IEEE Trans. Aerospace and Electronic Systems 34 (1998) 817.
    """

    def __init__(
        self,
        params: Iterable,
        *,
        lr: float,
        c: float,
        alpha: float = 0.602,
        gamma: float = 0.101,
        stability: float = 0.0,
        directions: int = 1,
        seed: int | torch.Generator | None = None,
    ):
        self.directions = check_integer("directions", directions, minimum=1, maximum=MOST)
        self.generator = torch_generator(seed)
        self.k = 0
        options = {"lr": lr, "c": c, "alpha": alpha, "gamma": gamma, "stability": stability}
        super().__init__(_listed(params), options)

    @property
    def evaluations(self) -> int:
        """How often one step calls its closure."""
        return 2 * self.directions

    def add_param_group(self, param_group: dict) -> None:
        """Add weights, as for every torch optimiser; options left out take the constructor's values."""
        try:
            with warnings.catch_warnings(action="error"):  # torch only warns of a weight that is there twice
                super().add_param_group(param_group)
        except (TypeError, ValueError, KeyError, UserWarning) as error:
            kind = TypeError if isinstance(error, (TypeError, KeyError)) else ValueError
            raise kind(f"params must be {ALLOWED}, each once: {error}") from error
        try:
            _check_group(self.param_groups[-1])
        except (TypeError, ValueError):
            self.param_groups.pop()  # an optimiser in use stays usable
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor | float]) -> Tensor:
        """One step; ``closure()`` returns the loss at the weights as they stand, and is called `evaluations` times.

        It runs under ``torch.no_grad()``.  One that is to serve other optimisers too calls ``backward`` only
        ``if torch.is_grad_enabled()``.  Returns, as a scalar tensor, the mean of the 2 m losses around the
        weights before the step (not the loss *at* them: it is about c**2 / 2 times the Hessian's trace higher).

        Whatever goes wrong, an error of the closure's own or a loss that is no finite number (ValueError),
        leaves weights, k and generator as they were, to the bit: the step can be made again.
        """
        if not callable(closure):
            raise TypeError(f"closure must be a function that returns the loss; got {shown(closure)}")
        weights = self._trainable()
        drawn = self.generator.get_state()
        try:
            gradients, loss = self._estimate(closure, weights)
            for weight, gradient in zip(weights, gradients):
                weight.move(-self._rate(weight.group) * gradient)
                _check_held(weight, loss)
        except BaseException:  # an interrupt from the keyboard, too
            for weight in weights:
                weight.tensor.copy_(weight.start)  # w + c - c need not be w
            self.generator.set_state(drawn)
            raise
        self.k += 1
        return torch.tensor(loss, dtype=torch.float64, device="cpu")

    def _trainable(self) -> list[_Weight]:
        """The weights that move, as they are before the step."""
        pairs = [(group, weight) for group in self.param_groups for weight in group["params"]]
        weights = [_Weight(group, weight, weight.clone()) for group, weight in pairs if weight.requires_grad]
        if not weights:
            raise ValueError("params must hold a weight with requires_grad=True; got none")
        return weights

    def _estimate(self, closure: Callable, weights: list[_Weight]) -> tuple[list[Tensor], float]:
        """The gradient of every weight, and the mean of the losses; leaves the weights displaced."""
        starts = [weight.start for weight in weights]
        offsets = [self._offset(weight) for weight in weights]
        gradients = [torch.zeros_like(start) for start in starts]
        losses = []
        for _ in range(self.directions):
            signs = self._signs(starts)
            ahead = _loss_at(closure, weights, [c * sign for c, sign in zip(offsets, signs)])
            behind = _loss_at(closure, weights, [-c * sign for c, sign in zip(offsets, signs)])
            for gradient, c, sign in zip(gradients, offsets, signs):
                gradient += (ahead - behind) / (2 * c * self.directions) * sign
            losses += [ahead, behind]
        return gradients, _mean(losses)

    def _signs(self, like: list[Tensor]) -> list[Tensor]:
        """A random sign for every weight: one row of draws, however the weights are grouped."""
        sizes = [weight.numel() for weight in like]
        bits = torch.randint(2, (sum(sizes),), generator=self.generator, device=self.generator.device)
        parts = (2 * bits - 1).split(sizes)
        return [part.view(weight.shape).to(weight) for part, weight in zip(parts, like)]

    def _rate(self, group: dict) -> float:
        """a_k of a group."""
        ahead = 1 + group["stability"]
        return group["lr"] * (ahead / (self.k + ahead)) ** group["alpha"]

    def _offset(self, weight: _Weight) -> float:
        """c_k, unless rounding swallows it at every weight: the gradient would be a silent zero."""
        c = weight.group["c"] / (self.k + 1) ** weight.group["gamma"]
        start = weight.start
        if start.numel() and bool((start + c == start).all()):
            largest = float(start.abs().max())
            words = f"large enough to move weights in {start.dtype} (or lr smaller: up to {largest:g} now)"
            raise ValueError(f"c must be {words}; got a move of {c:g}")
        return c

    def state_dict(self) -> dict:
        """torch's own, and under "spall" what the next step needs."""
        kept = {name: getattr(self, name) for name in KEPT}
        return super().state_dict() | {"spall": kept | {"generator": self.generator.get_state()}}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on where `state_dict` was taken, bit for bit; the options come from there, too."""
        kept = state_dict.get("spall") if isinstance(state_dict, dict) else None
        if not isinstance(kept, dict) or not kept.keys() >= {*KEPT}:
            raise ValueError(f"state_dict must come from an SPSAOptimizer; got one with spall {shown(kept)}")
        super().load_state_dict(state_dict)
        self.k = kept["k"]
        self.directions = kept["directions"]
        self.generator.set_state(kept["generator"].cpu())

    def __getstate__(self) -> dict:
        """For copies and pickles: torch's own would drop what the next step needs."""
        return super().__getstate__() | {name: getattr(self, name) for name in KEPT}

    def __repr__(self) -> str:
        options = f"directions={self.directions}, k={self.k}"
        return super().__repr__().replace("SPSAOptimizer (", f"SPSAOptimizer ({options}", 1)


def _listed(params: Iterable) -> list:
    """Weights or groups of them as lists, and not without end."""
    try:
        listed = list(islice(params, MOST))
    except Exception as error:  # not iterable, or not willing
        raise TypeError(f"params must be {ALLOWED}; got {shown(params)}") from error
    if isinstance(params, Tensor):
        raise TypeError(f"params must be {ALLOWED}; got a tensor alone")
    if not listed:
        raise ValueError(f"params must be {ALLOWED}; got an empty parameter list")
    return [_group(entry) if isinstance(entry, dict) else entry for entry in listed]


def _group(group: dict) -> dict:
    """A group whose weights are a list, where they are not a tensor: an iterator gives them only once."""
    weights = group.get("params")
    if isinstance(weights, (Tensor, set)) or not isinstance(weights, Iterable):
        return group
    return group | {"params": list(islice(weights, MOST))}


def _check_group(group: dict) -> None:
    """Refuse weights and options of a group that the algorithm cannot work with."""
    for weight in group["params"]:
        if not weight.is_floating_point() or weight.is_meta:
            raise TypeError(f"params must be real floating weights with values; got {weight.dtype} on {weight.device}")
        check_bytes("params", weight.numel() * weight.element_size(), f"a weight of shape {tuple(weight.shape)}")
    for name in ("lr", "alpha", "gamma", "stability"):
        group[name] = check_real(name, group[name], minimum=0.0)
        if name in ("alpha", "gamma") and group[name] > 10:
            raise ValueError(f"{name} must be at most 10; got {group[name]:g}")
    group["c"] = check_positive("c", group["c"])


def _check_held(weight: _Weight, loss: float) -> None:
    """Refuse a step to where no number is."""
    if not bool(torch.isfinite(weight.tensor).all()):
        words = (
            f"lead to weights that {weight.tensor.dtype} holds; got a loss of {loss:g} and lr {weight.group['lr']:g}"
        )
        raise ValueError(f"closure's losses must {words}: the weights are as before the step")


def _mean(losses: list[float]) -> float:
    """The mean, of huge losses as exact as of any: what is summed are their shares by a power of two."""
    share = 2.0 ** -len(losses).bit_length()
    return math.fsum(share * loss for loss in losses) / len(losses) / share


def _loss_at(closure: Callable, weights: list[_Weight], offsets: list[Tensor]) -> float:
    """The loss at weights displaced from where they started."""
    for weight, offset in zip(weights, offsets):
        weight.move(offset)
    return _loss(closure)


def _loss(closure: Callable) -> float:
    """One evaluation, as a finite number."""
    try:
        loss = closure()
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise RuntimeError(
            "closure must call backward only if torch.is_grad_enabled(): SPSAOptimizer asks for losses alone, "
            "under torch.no_grad()"
        ) from error
    if isinstance(loss, Tensor) and loss.numel() == 1 and not loss.is_complex():
        loss = loss.item()
    try:
        return check_real("closure's loss", loss)
    except ValueError as error:
        raise ValueError(
            f"closure must return a finite loss; got {shown(loss)}: the weights are as before the step"
        ) from error
