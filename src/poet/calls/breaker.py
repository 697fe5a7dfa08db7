"""The circuit breaker of one dependency."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from poet.errors import CircuitOpen
from poet.model.dependency import Breaker
from poet.model.event import Event

State = Literal["closed", "open", "half_open"]


class Circuit:
    """Opens where too many of the last attempts failed or were slow; lets one probe through to see whether to close.

    While it is closed an attempt pays one look at ``shut`` and one ``append``. What is counted is attempts, so that a
    call that retries cannot hide how its dependency fares. After Nygard 2007, "Release It!", with the rates and the
    state names of resilience4j.
    """

    __slots__ = (
        "_lock",
        "_probe",
        "_slow",
        "_spec",
        "_tell",
        "_until",
        "ended",
        "minds_slowness",
        "name",
        "shut",
        "state",
    )

    def __init__(self, name: str, spec: Breaker, tell: Callable[[Event], None]) -> None:
        self.name, self._spec, self._tell = name, spec, tell
        self.minds_slowness = spec.slow_after is not None
        self.ended: deque[float] = deque(maxlen=spec.window)  # when attempts ended: of failed ones with a minus sign
        self._slow: deque[float] = deque(maxlen=spec.window)  # when slow answers came
        self.renew()

    def renew(self) -> None:
        """Begin anew: closed, with nothing counted."""
        self._lock = threading.RLock()  # a stream may be closed by the garbage collector, wherever that runs
        self.state: State = "closed"
        self.shut = False  # whether the state is another than closed
        self.ended.clear()
        self._slow.clear()
        self._until = 0.0  # when the next probe may go
        self._probe: float | None = None  # start of the probe that is out

    def admit(self, function: str, now: float) -> None:
        """Let an attempt that starts ``now`` through as the probe. Raises CircuitOpen where it is none."""
        event = None
        with self._lock:
            if self.state == "closed":
                return
            if now < self._until:
                raise CircuitOpen(function, self.name, self._until - now)
            if self.state == "open":
                event = self._turn("half_open")
            # One that never comes back must not shut the circuit for ever: the next may go after a whole span.
            self._probe, self._until = now, now + self._spec.open_for
        if event is not None:
            self._tell(event)

    def answered(self, start: float, end: float, took: float | None = None) -> None:
        """An attempt has got an answer, whatever it said. took: seconds until it came; None: it ended with it."""
        took = end - start if took is None else took
        slow_after = self._spec.slow_after
        slow = slow_after is not None and took > slow_after
        if self.shut:
            self._settle(start, start + took, good=not slow)
            return
        self.ended.append(end)
        if slow:
            self._slow.append(end)
            self._judge(end)

    def failed(self, start: float, end: float) -> None:
        """An attempt has failed: the dependency gave no answer that counts."""
        if self.shut:
            self._settle(start, end, good=False)
            return
        self.ended.append(-end)
        self._judge(end)

    def released(self, start: float) -> None:
        """An attempt was given up: no verdict on the dependency. If it was the probe, another may go at once."""
        with self._lock:
            if self._probe == start and self.state == "half_open":
                self._probe, self._until = None, -math.inf

    def _settle(self, start: float, end: float, *, good: bool) -> None:
        """Only the probe decides; what began before the circuit opened is no news."""
        with self._lock:
            if self._probe != start or self.state != "half_open":
                return
            self._probe = None
            if good:
                self.ended.clear()
                self._slow.clear()
                event = self._turn("closed")
            else:
                self._until = end + self._spec.open_for
                event = self._turn("open")
        self._tell(event)

    def _judge(self, now: float) -> None:
        spec = self._spec
        recent = [end for end in tuple(self.ended) if abs(end) >= now - spec.max_age]
        if len(recent) < spec.min_calls:
            return
        oldest = abs(recent[0])
        failed = sum(math.copysign(1.0, end) < 0 for end in recent)
        slow = failed + sum(end >= oldest for end in tuple(self._slow))
        if failed < spec.failure_rate * len(recent) and (
            spec.slow_after is None or slow < spec.slow_rate * len(recent)
        ):
            return
        with self._lock:
            if self.state != "closed":
                return
            self._until, self._probe = now + spec.open_for, None
            event = self._turn("open")
        self._tell(event)

    def _turn(self, state: State) -> Event:
        self.state = state
        self.shut = state != "closed"
        return Event("breaker", "", self.name, detail=state)
