"""Where batches come from: pairs and datasets of windows, shuffled epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Dataset, default_collate

from ..checks import check_bytes, check_instance, check_parts
from ..tasks import Pair


def shuffled(x: torch.Tensor, y: torch.Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Pair]:
    """Batches (x, y) without replacement: one shuffled epoch after another, without end, joined without a gap."""
    for rows in _rows(len(x), batch_size, generator):
        yield x[rows.to(x.device)], y[rows.to(y.device)]


def _rows(count: int, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    waiting = torch.empty(0, dtype=torch.int64, device=generator.device)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator, device=generator.device)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def check_pair(name: str, data: Dataset | Pair) -> Pair:
    """The tensors x and y of a pair or a dataset, checked."""
    check_instance(name, data, Dataset | tuple | list, "a pair (x, y) or a torch Dataset of such pairs")
    parts = _collated(name, data) if isinstance(data, Dataset) else data
    return check_parts(name, parts, ("windows", "time", "features"), "features")


def _collated(name: str, data: Dataset) -> list:
    """All items of a dataset, together."""
    try:
        first = sum(part.nbytes for part in map(torch.as_tensor, data[0]))
        check_bytes("length", 2 * len(data) * (8 + first), f"{len(data)} items of {first} bytes")  # alone and together
        return default_collate([data[i] for i in range(len(data))])
    except Exception as error:  # no length, no items, items of unlike shapes, or whatever the dataset raises
        wanted = f"{name} must be a torch Dataset with a length, of pairs (x, y) of one shape"
        raise ValueError(f"{wanted}; got a {type(data).__name__} that gives {type(error).__name__}: {error}") from error
