"""What all callers of one dependency share while the process runs: its budget, its breaker, its limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from poet.calls.breaker import Circuit
from poet.calls.budget import Bucket
from poet.errors import Overloaded
from poet.model.dependency import Dependency
from poet.model.event import Event
from poet.model.execution import Outcome


class Brakes:
    """One dependency at work. An attempt that has entered leaves by ``answered`` or ``ended``, once."""

    __slots__ = ("bucket", "circuit", "guarded", "slots", "spec")

    def __init__(self, spec: Dependency, now: float, tell: Callable[[Event], None]) -> None:
        self.spec = spec
        self.bucket = Bucket(spec.budget, now)
        self.circuit = None if spec.breaker is None else Circuit(spec.name, spec.breaker, tell)
        # Free places as things in a deque: taking and giving one back is atomic without a lock.
        self.slots = None if spec.concurrency is None else deque([None] * spec.concurrency, spec.concurrency)
        self.guarded = self.circuit is not None or self.slots is not None  # whether attempts need to enter

    def renew(self, now: float) -> None:
        """Begin anew, with nothing counted: after a fork, or between users' tests.

        In place, as every wrapper holds parts of it; a lock that another thread held at the fork is left behind.
        """
        self.bucket.renew(now)
        if self.circuit is not None:
            self.circuit.renew()
        if self.slots is not None:
            self.slots.clear()
            self.slots.extend([None] * (self.spec.concurrency or 0))

    @property
    def running(self) -> int:
        """Attempts that run now; 0 where there is no limit to count for."""
        limit = self.spec.concurrency
        return 0 if self.slots is None or limit is None else limit - len(self.slots)

    def enter(self, function: str, now: float) -> None:
        """An attempt is about to start. Raises CircuitOpen or Overloaded; then it has not entered."""
        slots, circuit = self.slots, self.circuit
        if slots is not None:
            try:
                slots.pop()
            except IndexError:
                raise Overloaded(function, f"attempts at {self.spec.name} run", self.spec.concurrency or 0) from None
        if circuit is not None and circuit.shut:
            try:
                circuit.admit(function, now)
            except BaseException:
                if slots is not None:
                    slots.append(None)
                raise

    def answered(self, start: float, end: float, took: float | None = None) -> None:
        """It got an answer. took: how long that needed [s], where it went on afterwards."""
        if self.slots is not None:
            self.slots.append(None)
        if self.circuit is not None:
            self.circuit.answered(start, end, took)

    def ended(self, start: float, end: float, outcome: Outcome, took: float | None = None) -> None:
        """It ended as ``outcome`` says. took: as in ``answered``."""
        if outcome.good or outcome is Outcome.REFUSED:  # the dependency did answer, if only to refuse
            self.answered(start, end, took)
            return
        if self.slots is not None:
            self.slots.append(None)
        if self.circuit is None:
            return
        if outcome is Outcome.ERROR or outcome is Outcome.TIMEOUT:
            self.circuit.failed(start, end)
        else:
            self.circuit.released(start)
