"""Spall's own algorithm: simultaneous perturbation of the weights, no gradients anywhere."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import torch

from ..checks import check_bytes, check_instance, check_integer, check_real, shown, torch_generator

__all__ = ["SPSAOptimizer"]


MOST = 10**6
"""Weights' tensors, and directions, for each of which the closure runs twice."""

KEPT = ("k", "directions")
"""What a copy and a state_dict keep beside torch's own and the generator."""


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
        super().__init__(_listed(params), {"lr": lr, "c": c, "alpha": alpha, "gamma": gamma, "stability": stability})

    @property
    def evaluations(self) -> int:
        """How often one step calls its closure."""
        return 2 * self.directions

    def add_param_group(self, param_group: dict) -> None:
        """Add weights, as for every torch optimiser; options left out take the constructor's values."""
        super().add_param_group(param_group)
        try:
            _check_group(self.param_groups[-1])
        except (TypeError, ValueError):
            self.param_groups.pop()  # an optimiser in use stays usable
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], torch.Tensor | float]) -> torch.Tensor:
        """One step; ``closure()`` returns the loss at the weights as they stand, and is called `evaluations` times.

        It runs under ``torch.no_grad()``.  One that is to serve other optimisers too calls ``backward`` only
        ``if torch.is_grad_enabled()``.  Returns, as a scalar tensor, the mean of the 2 m losses around the
        weights before the step (not the loss *at* them: it is about c**2 / 2 times the Hessian's trace higher).

        Whatever goes wrong, an error of the closure's own or a loss that is no finite number (ValueError),
        leaves weights, k and generator as they were, to the bit: the step can be made again.
        """
        with self._nothing_lost(closure) as (weights, start):
            slopes, loss = self._estimate(closure, weights, start)
            for (group, weight), old, slope in zip(weights, start, slopes):
                weight.copy_(old - self._gains(group)[0] * slope)
                if not bool(torch.isfinite(weight).all()):
                    words = f"lead to weights that {weight.dtype} holds; got a loss of {loss:g} and lr {group['lr']:g}"
                    raise ValueError(f"closure's losses must {words}: the weights are as before the step")
        self.k += 1
        return torch.tensor(loss, dtype=torch.float64, device="cpu")

    def _estimate(self, closure: Callable, weights: list, start: list) -> tuple[list[torch.Tensor], float]:
        """The slope of every weight, and the mean of the losses; leaves the weights displaced."""
        slopes, losses = [torch.zeros_like(old) for old in start], []
        for _ in range(self.directions):
            signs = self._signs(start)
            self._check_moves(weights, start)
            pair = []
            for side in (1, -1):
                for (group, weight), old, sign in zip(weights, start, signs):
                    weight.copy_(old + side * self._gains(group)[1] * sign)
                pair.append(_loss(closure))
            for (group, _), slope, sign in zip(weights, slopes, signs):
                slope += (pair[0] - pair[1]) / (2 * self._gains(group)[1] * self.directions) * sign
            losses += pair
        share = 2.0 ** -len(losses).bit_length()  # a power of two: the sum of huge losses is as exact as any
        return slopes, math.fsum(share * loss for loss in losses) / len(losses) / share

    def _check_moves(self, weights: list, start: list) -> None:
        """Refuse a c_k that rounding swallows at every weight of its group: the slope would be a silent zero."""
        for (group, _), old in zip(weights, start):
            move = self._gains(group)[1]
            if old.numel() and bool((old + move == old).all()):
                words = (
                    f"large enough to move weights in {old.dtype} (or lr smaller: up to {float(old.abs().max()):g} now)"
                )
                raise ValueError(f"c must be {words}; got a move of {move:g}")

    def _signs(self, like: list[torch.Tensor]) -> list[torch.Tensor]:
        """A random sign for every weight: one row of draws, however the weights are grouped."""
        sizes = [weight.numel() for weight in like]
        signs = 2 * torch.randint(2, (sum(sizes),), generator=self.generator, device=self.generator.device) - 1
        return [part.view(weight.shape).to(weight) for part, weight in zip(signs.split(sizes), like)]

    def _gains(self, group: dict) -> tuple[float, float]:
        """a_k and c_k of a group."""
        ahead = 1 + group["stability"]
        rate = group["lr"] * (ahead / (self.k + ahead)) ** group["alpha"]
        return rate, group["c"] / (self.k + 1) ** group["gamma"]

    @contextmanager
    def _nothing_lost(self, closure: Callable) -> Iterator[tuple[list, list]]:
        """The trainable weights, with their groups, and copies of them: an error inside puts all back."""
        if not callable(closure):
            raise TypeError(f"closure must be a function that returns the loss; got {shown(closure)}")
        weights = [(group, w) for group in self.param_groups for w in group["params"] if w.requires_grad]
        if not weights:
            raise ValueError("params must hold a weight with requires_grad=True; got none")
        start, drawn = [weight.clone() for _, weight in weights], self.generator.get_state()
        try:
            yield weights, start
        except BaseException:  # an interrupt from the keyboard, too
            _put_back(weights, start)
            self.generator.set_state(drawn)
            raise

    def state_dict(self) -> dict:
        """torch's own, and under "spall" what the next step needs: k and the generator."""
        own = {name: getattr(self, name) for name in KEPT}
        return super().state_dict() | {"spall": own | {"generator": self.generator.get_state()}}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on where `state_dict` was taken, bit for bit; the options come from there, too."""
        own = state_dict.get("spall") if isinstance(state_dict, dict) else None
        if not isinstance(own, dict) or not {*KEPT, "generator"} <= own.keys():
            raise ValueError(f"state_dict must come from an SPSAOptimizer; got one with spall {shown(own)}")
        super().load_state_dict(state_dict)
        self.generator.set_state(own["generator"].cpu())
        for name in KEPT:
            setattr(self, name, own[name])

    def __getstate__(self) -> dict:
        """For copies and pickles: torch's own would drop k and the generator."""
        return super().__getstate__() | {name: getattr(self, name) for name in (*KEPT, "generator")}

    def __repr__(self) -> str:
        options = f"directions={self.directions}, k={self.k}"
        return super().__repr__().replace("SPSAOptimizer (", f"SPSAOptimizer ({options}", 1)


def _listed(params: Iterable) -> list:
    """What torch takes as weights: tensors, (name, tensor) pairs or groups, and not without end."""
    allowed = "an iterable of weights, or of dicts of them, such as model.parameters()"
    try:
        listed = [params] if isinstance(params, torch.Tensor) else list(islice(params, MOST))
    except Exception as error:  # not iterable, or not willing
        raise TypeError(f"params must be {allowed}; got {shown(params)}") from error
    if isinstance(params, torch.Tensor):
        raise TypeError(f"params must be {allowed}; got a tensor alone")
    if not listed:
        raise ValueError(f"params must be {allowed}; got an empty parameter list")
    weights: set[int] = set()
    for place, entry in enumerate(listed):
        inner = entry.get("params") if isinstance(entry, dict) else [entry]
        if isinstance(inner, Iterator):  # it gives its weights only once, and torch wants them, too
            inner = list(islice(inner, MOST))
            listed[place] = entry | {"params": inner}
        for weight in (
            [inner] if isinstance(inner, torch.Tensor) else check_instance("params", inner, Iterable, allowed)
        ):
            weight = weight[1] if isinstance(weight, tuple) and len(weight) == 2 else weight
            if id(check_instance("params", weight, torch.Tensor, allowed)) in weights:
                raise ValueError("params must hold every weight once: it is moved as often as it is there")
            if not weight.is_leaf:
                raise ValueError("params must hold weights themselves; got a tensor that is computed from others")
            weights.add(id(weight))
    return listed


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
    group["c"] = check_real("c", group["c"], minimum=0.0, exclusive=True)


def _put_back(weights: list, start: list) -> None:
    """The weights as they were, from copies: w + c - c need not be w."""
    for (_, weight), old in zip(weights, start):
        weight.copy_(old)


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
    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and not loss.is_complex():
        loss = loss.item()
    check_instance("closure's loss", loss, numbers.Real, "a real number or a tensor that holds one")
    try:
        return check_real("closure's loss", loss)
    except ValueError as error:
        raise ValueError(
            f"closure must return a finite loss; got {shown(loss)}: the weights are as before the step"
        ) from error
