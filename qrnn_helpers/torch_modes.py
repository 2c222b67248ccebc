"""torch's modes, which a caller may have switched on anywhere, and the tensors that they would change.

Default dtype and device reach a tensor whose makers do not name both: here all do.  Autocast rounds products to
bfloat16, and inference mode makes tensors that no later backward pass may keep: a layer works with both switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def settled(device: torch.device) -> Iterator[None]:
    """Autocast and inference mode switched off, whatever the caller's; gradients are recorded as before."""
    graph = torch.is_grad_enabled()
    kinds = [kind for kind in {"cpu", device.type} if torch.amp.is_autocast_available(kind)]
    casting = [torch.autocast(kind, enabled=False) for kind in kinds if torch.is_autocast_enabled(kind)]
    # Leaving inference mode starts recording, so that what was asked for comes after it.
    with torch.inference_mode(False), torch.set_grad_enabled(graph), ExitStack() as stack:
        for each in casting:
            stack.enter_context(each)
        yield


def indices_of(x: torch.Tensor) -> torch.Tensor:
    """0, 1, 2, ... for the first axis of ``x``, on its device."""
    return torch.arange(len(x), dtype=torch.int64, device=x.device)


def constant(values: np.ndarray | list, dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """A tensor that outlives the call that makes it: the same in whatever modes that is."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
