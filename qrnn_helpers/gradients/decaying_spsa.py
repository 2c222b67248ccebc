"""Simultaneous perturbation with fewer directions as training goes on, m = first (last / first)**fraction."""

from __future__ import annotations

import torch

from ..checks import check_count
from .spsa import SPSA


class DecayingSPSA(SPSA):
    """`SPSA` whose number of directions goes geometrically from ``first`` to ``last`` over the budget.

    m = first (last / first)**s, rounded, at the spent fraction s of the budget of `fit` or `fit_side_by_side`;
    outside a training m stays as it is.  A ``last`` greater than ``first`` lets it grow.  Every estimate is that of
    `SPSA` with m directions: its bias, its variance, its 2 m circuits.

    After Coyle et al. 2026 (arXiv 2606.09734), where a number of directions V that decays beats fixed ones.  They
    keep the shots of an update, 2 V M, fixed, so that each circuit gets more shots M as V falls; here the shots of
    a circuit stay and an update becomes cheaper.  The geometric law is this book's choice.
    """

    def __init__(
        self,
        c: float = 0.1,
        first: int = 8,
        last: int = 1,
        seed: int | torch.Generator | None = None,
        causal: bool = False,
    ):
        self.first = check_count("first", first)
        self.last = check_count("last", last)
        super().__init__(c, self.first, seed, causal)

    def progress(self, fraction: float) -> bool:
        before = self.directions
        self.directions = round(self.first * (self.last / self.first) ** min(1.0, fraction))
        return self.directions != before
