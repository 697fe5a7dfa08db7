"""What all callers of one dependency share while the process runs: its budget, its breaker, its limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import RLock

from poet.calls.breaker import Circuit
from poet.calls.budget import Bucket
from poet.errors import Overloaded
from poet.model.dependency import Budget, Dependency
from poet.model.event import Event
from poet.model.execution import Outcome

USUAL = Budget()  # where none is declared


class Brakes:
    """One dependency at work. An attempt that has entered leaves by ``answered`` or ``ended``, once."""

    __slots__ = ("_spec", "bucket", "circuit", "slots")

    def __init__(
        self, spec: Dependency | str, now: float, tell: Callable[[Event], None], lock: RLock | None = None
    ) -> None:
        """spec: only a name where nothing is declared, as for most of thousands of functions. lock: of the bucket."""
        self._spec = spec
        self.circuit: Circuit | None = None
        self.slots: deque[None] | None = None
        if isinstance(spec, str):
            self.bucket = Bucket(USUAL, now, lock)
            return
        self.bucket = Bucket(spec.budget, now, lock)
        if spec.breaker is not None:
            self.circuit = Circuit(spec.name, spec.breaker, tell)
        if spec.concurrency is not None:
            # Free places as things in a deque: taking and giving one back is atomic without a lock.
            self.slots = deque([None] * spec.concurrency, spec.concurrency)

    @property
    def spec(self) -> Dependency:
        """What was declared of the dependency."""
        return Dependency(self._spec) if isinstance(self._spec, str) else self._spec

    @property
    def name(self) -> str:
        """The dependency's."""
        return self._spec if isinstance(self._spec, str) else self._spec.name

    @property
    def guarded(self) -> bool:
        """Whether attempts need to enter."""
        return self.circuit is not None or self.slots is not None

    def renew(self, now: float, lock: RLock | None = None) -> None:
        """Begin anew, with nothing counted: after a fork, or between users' tests.

        In place, as every wrapper holds parts of it; a lock that another thread held at the fork is left behind.
        """
        self.bucket.renew(now, lock)
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
                raise Overloaded(function, f"attempts at {self.name} run", self.spec.concurrency or 0) from None
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
