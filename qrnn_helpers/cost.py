"""What a device would have to run, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["CostLedger"]


class CostLedger:
    """Circuits, shots, jobs and seconds spent so far.

    ``circuits`` counts what a device would have to run, also when the numbers come from an exact
    simulation; ``shots`` is then 0.  ``jobs`` counts submissions, ``seconds`` wall time on this machine.
    Inside ``with ledger.scope(name)`` everything is booked on ``ledger.scopes[name]`` instead, so that
    validation stays outside any budget.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set every figure to zero and forget all scopes."""
        self.circuits, self.shots, self.jobs, self.seconds = 0, 0, 0, 0.0
        self.scopes: dict[str, CostLedger] = {}
        self._open: CostLedger | None = None

    def record(self, circuits: int, shots: int, jobs: int, seconds: float) -> None:
        """Book one run."""
        if self._open is not None:
            return self._open.record(circuits, shots, jobs, seconds)
        self.circuits += circuits
        self.shots += shots
        self.jobs += jobs
        self.seconds += seconds

    @contextmanager
    def scope(self, name: str) -> Iterator[CostLedger]:
        """Book all runs inside the block on a ledger of their own, ``scopes[name]``."""
        outer, self._open = self._open, self.scopes.setdefault(name, CostLedger())
        try:
            yield self._open
        finally:
            self._open = outer

    def __repr__(self) -> str:
        figures = f"circuits={self.circuits}, shots={self.shots}, jobs={self.jobs}, seconds={self.seconds:.2f}"
        scopes = "".join(f", {name}={ledger!r}" for name, ledger in self.scopes.items())
        return f"CostLedger({figures}{scopes})"
