"""Random numbers of circuits: from one generator, or from one for each of several runs that share a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor


class Streams:
    """Generators of runs whose samples share a batch, run after run: each draws the numbers of its own circuits.

    What a run draws does not depend on which others are beside it.  ``rows`` says of which run each circuit is that
    is drawn for next; whoever puts circuits together keeps it right (`Executor`).
    """

    def __init__(self, generators: Sequence[Generator]):
        self.generators = list(generators)
        self.device = self.generators[0].device
        self.rows = torch.empty(0, dtype=torch.int64, device="cpu")

    def runs(self, batch: int) -> Tensor:
        """The run of every sample of a whole batch."""
        each = batch // len(self.generators)
        return torch.arange(len(self.generators), dtype=torch.int64, device="cpu").repeat_interleave(each)

    def members(self) -> Iterator[tuple[Generator, Tensor]]:
        """Of every run its generator, and which circuits of ``rows`` it has."""
        for run, generator in enumerate(self.generators):
            yield generator, (self.rows == run).nonzero()[:, 0].to(self.device)

    def draw(self, function: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype, rows: Tensor) -> Tensor:
        """Numbers of a shape whose first axis goes over the circuits of ``rows``, or over equal shares of each."""
        each = shape[0] // len(rows)
        counts = each * torch.bincount(rows, minlength=len(self.generators))
        parts = [
            function((count, *shape[1:]), generator=generator, dtype=dtype, device=self.device)
            for count, generator in zip(counts.tolist(), self.generators, strict=True)
        ]
        numbers = torch.cat(parts)  # sorted by run
        rank = rows.argsort(stable=True).argsort()
        return numbers.unflatten(0, (len(rows), each))[rank.to(self.device)].flatten(0, 1)


def count_runs(generator: Generator | Streams) -> int:
    """How many runs share a batch: one, unless the generator is one for each of several."""
    return len(generator.generators) if isinstance(generator, Streams) else 1


def drawn(
    function: Callable[..., Tensor],
    shape: tuple[int, ...],
    generator: Generator | Streams,
    dtype: torch.dtype = torch.float64,
    batch: int | None = None,
) -> Tensor:
    """``function``, such as torch.rand, of a shape whose first axis counts circuits, or shots circuit by circuit.

    The circuits are copies of a batch of so many samples, or, without ``batch``, the streams' ``rows``.
    """
    if not isinstance(generator, Streams):
        return function(shape, generator=generator, dtype=dtype, device=generator.device)
    rows = generator.rows if batch is None else generator.runs(batch).repeat(shape[0] // batch)
    return generator.draw(function, shape, dtype, rows)
