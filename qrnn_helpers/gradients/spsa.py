"""Simultaneous perturbation: g = mean over Delta of [f(theta + c Delta) - f(theta - c Delta)] / 2c Delta."""

from __future__ import annotations

import torch

from ..backends import Executor
from ..checks import check_bool, check_integer, check_positive
from ..simulation import drawn
from .base import check_perturbation, check_variants
from .directions import RandomDirections, hadamard_rows, random_signs


class SPSA(RandomDirections):
    """Simultaneous perturbation of all angles (Spall 1992), averaged over ``directions`` directions.

    g = mean over Delta of [f(theta + c Delta) - f(theta - c Delta)] / (2 c) Delta, with independent signs
    Delta = +-1, fresh for every sample, direction and call.  The bias is O(c**2): each slope is
    attenuated, not tilted at random.  ``causal`` estimates the slopes of step s from the outputs at
    t >= s alone.  ``seed`` is an int, a torch generator or None.

    With ``orthogonal`` the directions of a sample are rows of a Hadamard matrix of order n, the least power of two
    >= L = time * P, drawn without repetition, the signs of its columns drawn at random, and cut to L places.  Each
    direction by itself is what it is without, and so are mean and bias.  With exact probabilities and small c the
    squared error falls from (L - 1) / m |g|**2 to

        (L - 1) / m * (n - m) / (n - 1) |g|**2:

    little for m << L.  Where n > L the cut rows are only nearly orthogonal, and m = L leaves (L - 1) / (n - 1) *
    (n - L) / L |g|**2; all m = n rows, the most there are, leave nothing but the bias of c.
    """

    def __init__(
        self,
        c: float = 0.1,
        directions: int = 1,
        seed: int | torch.Generator | None = None,
        causal: bool = False,
        orthogonal: bool = False,
    ):
        self.c: float | torch.Tensor = check_positive("c", c)
        super().__init__(directions, seed, causal)
        self.orthogonal = check_bool("orthogonal", orthogonal)

    def estimate(self, executor: Executor, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        program = executor.program
        c = self.sizes(angles)
        check_perturbation("c", c, angles, executor)
        check_variants("directions", angles, 2 * self.directions, angles.shape[1], len(program.occurrences))
        signs = self.signs(angles)
        perturbed = torch.cat([angles + c * signs, angles - c * signs])
        difference = self.difference(executor, program.gate_angles(perturbed), weights)
        return (difference * signs).mean(0) / (2 * c)

    def signs(self, angles: torch.Tensor) -> torch.Tensor:
        return self.orthogonal_signs(angles) if self.orthogonal else super().signs(angles)

    def orthogonal_signs(self, angles: torch.Tensor) -> torch.Tensor:
        """Rows of a Hadamard matrix with the signs of its columns drawn at random, (m, batch, time, P)."""
        batch, places = len(angles), angles[0].numel()
        order = 2 ** (places - 1).bit_length() if places else 1
        check_integer("directions", self.directions, maximum=order)
        keys = drawn(torch.rand, (batch, order), self.generator, batch=batch)
        rows = hadamard_rows(keys.argsort(1)[:, : self.directions].T, places)
        columns = random_signs((batch, places), self.generator, batch)
        return (rows * columns).view(self.directions, *angles.shape).to(angles)

    def sizes(self, angles: torch.Tensor) -> torch.Tensor:
        """c for every sample, (batch, 1, 1): one number, or one for each of several runs that share the batch."""
        c = torch.as_tensor(self.c, dtype=angles.dtype, device=angles.device).reshape(-1)
        return c.repeat_interleave(len(angles) // len(c))[:, None, None]
