"""What a device would have to run, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from threading import RLock
from types import MappingProxyType
from typing import Any

from ..checks import check_instance, check_integer, check_real, shown

OPEN: ContextVar[MappingProxyType] = ContextVar("OPEN", default=MappingProxyType({}))
"""The open scope of every ledger that has one, in this thread and task."""

BOOKING = RLock()
"""Held while figures are added up: no thread's are lost."""


class CostLedger:
    """Circuits, shots, jobs and seconds spent so far; depth and two-qubit gates of what was run.

    ``circuits`` counts what a device would have to run, also when the numbers come from an exact
    simulation; ``shots`` is then 0.  ``jobs`` counts submissions, ``seconds`` wall time on this machine.
    ``depth`` is that of the deepest circuit, ``two_qubit_gates`` the most in any one circuit (0 before
    anything ran).  Both are of the circuit as transpiled for the device: the very one that a sampler ran; for
    other backends they are worked out when read, which may transpile.  Measurements, resets and delays are one in
    the depth each, barriers hold back what follows and are none; gates on three qubits and more, which only a
    pass manager of your own can leave, are in the depth alone.

    Inside ``with ledger.scope(name)`` everything is booked on ``ledger.scopes[name]`` instead, so that
    validation stays outside any budget.  Scopes nest: a scope opened inside another is one of its
    ``scopes``.  A scope is open for the thread or task that opened it (and for tasks begun in it); other
    threads book past it.  ``total()`` adds everything up.  A copy of a ledger stands outside all scopes.
    """

    seconds: float

    def __init__(self) -> None:
        self.scopes: dict[str, CostLedger] = {}
        self._blocks = 0  # in which it is an open scope, in all threads
        self.reset()

    def reset(self) -> None:
        """Set every figure to zero and forget all scopes; open ones stay open, themselves at zero."""
        with BOOKING:
            self.circuits = self.shots = self.jobs = 0
            self.seconds = 0.0
            self._depth = self._two_qubit_gates = 0
            self._unread: list[Any] = []
            self.scopes = {name: scope for name, scope in self.scopes.items() if scope._blocks}
            for scope in self.scopes.values():
                scope.reset()

    def record(self, circuits: int, shots: int, jobs: int, seconds: float, ran: Any = None) -> None:
        """Book one run.

        ``ran``: the circuit, equal for the same one at other angles; its ``figures()``, depth and number of two-qubit
        gates, are asked for when someone reads them.
        """
        if (inner := self.innermost()) is not self:
            return inner.record(circuits, shots, jobs, seconds, ran)
        spent = {
            "circuits": check_integer("circuits", circuits, minimum=0),
            "shots": check_integer("shots", shots, minimum=0),
            "jobs": check_integer("jobs", jobs, minimum=0),
            "seconds": check_real("seconds", seconds, minimum=0.0),
        }
        if ran is not None and not callable(getattr(ran, "figures", None)):
            raise TypeError(f"ran must have a method figures() or be None; got {shown(ran)} ({type(ran).__name__})")
        with BOOKING:
            if ran is not None and ran not in self._unread:
                self._unread.append(ran)
            # One call, so that an interrupt finds all figures booked or none.
            vars(self).update({name: getattr(self, name) + value for name, value in spent.items()})

    @property
    def depth(self) -> int:
        """Depth of the deepest circuit that was run."""
        self._read()
        return self._depth

    @property
    def two_qubit_gates(self) -> int:
        """Most two-qubit gates in any one circuit that was run."""
        self._read()
        return self._two_qubit_gates

    def _read(self) -> None:
        for ran in list(self._unread):
            depth, two_qubit_gates = ran.figures()
            with BOOKING:
                if ran in self._unread:  # not reset meanwhile
                    self._deepen(depth, two_qubit_gates)
                    self._unread.remove(ran)  # only now: what could not be read is asked again

    def _deepen(self, depth: int, two_qubit_gates: int) -> None:
        self._depth = max(self._depth, depth)
        self._two_qubit_gates = max(self._two_qubit_gates, two_qubit_gates)

    def innermost(self) -> CostLedger:
        """Where a run of this thread or task is booked: the innermost open scope, or the ledger itself."""
        scope = OPEN.get().get(self)
        return self if scope is None else scope.innermost()

    def scope(self, name: str) -> AbstractContextManager[CostLedger]:
        """Book all runs inside the block on a ledger of their own, ``scopes[name]`` of the innermost open scope."""
        check_instance("name", name, str, "a string")
        return self._scope(name)

    @contextmanager
    def _scope(self, name: str) -> Iterator[CostLedger]:
        outer = self.innermost()
        with BOOKING:
            scope = outer.scopes.setdefault(name, CostLedger())
            scope._blocks += 1
        OPEN.set(MappingProxyType({**OPEN.get(), outer: scope}))
        try:
            yield scope
        finally:
            OPEN.set(MappingProxyType({ledger: open for ledger, open in OPEN.get().items() if ledger is not outer}))
            with BOOKING:
                scope._blocks -= 1

    def total(self) -> CostLedger:
        """A new ledger: the sum over this one and all its scopes, depth and two-qubit gates the largest."""
        total = CostLedger()
        for part in (self, *(scope.total() for scope in list(self.scopes.values()))):
            total.record(part.circuits, part.shots, part.jobs, part.seconds)
            total._deepen(part._depth, part._two_qubit_gates)
            total._unread += [ran for ran in part._unread if ran not in total._unread]
        return total

    def __getstate__(self) -> dict:
        # The blocks that would close an open scope belong to the original.
        with BOOKING:
            return {**vars(self), "scopes": dict(self.scopes), "_unread": list(self._unread), "_blocks": 0}

    def __repr__(self) -> str:
        figures = f"circuits={self.circuits}, shots={self.shots}, jobs={self.jobs}, seconds={self.seconds:.2f}"
        scopes = "".join(f", {name}={ledger!r}" for name, ledger in list(self.scopes.items()))
        return f"CostLedger({figures}{scopes})"
