"""Counts the extra requests that go to a dependency, and says when there are too many."""

from __future__ import annotations

import threading
from typing import Protocol

from poet.model.dependency import Budget


class Counted(Protocol):
    """Knows how many calls there were."""

    @property
    def number(self) -> int:
        """Calls so far; it may lag behind a little."""


class Bucket:
    """The budget of one dependency, shared by all that call it; its size follows the traffic that is measured.

    Kept over two windows, the older one weighed by how much of it still lies within the last ``window`` seconds (the
    "sliding window counter"). A call that succeeds pays nothing for it: the traffic is read off the numbers that calls
    bear anyway, where an attempt has failed.

    The ideas of a share of measured traffic with a floor below it are Finagle's and Envoy's; to give back what
    succeeded is botocore's.
    """

    __slots__ = ("_before", "_lock", "_mark", "_since", "_sources", "_spec", "_spent")

    def __init__(self, spec: Budget, now: float) -> None:
        self._spec = spec
        self._sources: tuple[Counted, ...] = ()
        self.renew(now)

    def measure(self, source: Counted) -> None:
        """Count the calls of ``source``, too."""
        if source not in self._sources:
            with self._lock:
                self._mark += source.number
                self._sources = (*self._sources, source)

    def renew(self, now: float) -> None:
        """Begin anew, with nothing counted."""
        self._lock = threading.RLock()
        self._since, self._spent = now, 0.0  # of the window that runs
        self._mark = self._total()  # calls when it began
        self._before = (0.0, 0.0)  # calls and spent of the window before

    def take(self, now: float) -> bool:
        """Whether one extra request may be sent now; it is then spent."""
        spec = self._spec
        with self._lock:
            calls, spent = self._recent(now)
            if spent + 1 > max(spec.floor, spec.share * calls):
                return False
            self._spent += 1
            return True

    def give_back(self) -> None:
        """The extra request was not in vain."""
        with self._lock:
            if self._spent >= 1:
                self._spent -= 1
            else:  # spent before this window began
                calls, spent = self._before
                self._before = (calls, max(0.0, spent - 1))

    def recent(self, now: float) -> tuple[float, float]:
        """Calls made, and extra requests spent, within the last ``window`` seconds, about."""
        with self._lock:
            return self._recent(now)

    def _total(self) -> int:
        return sum(source.number for source in self._sources)

    def _recent(self, now: float) -> tuple[float, float]:
        total = self._total()
        window, elapsed = self._spec.window, now - self._since
        calls = total - self._mark
        if elapsed >= window:
            in_one = calls * window / elapsed  # nobody has looked for longer than a window: as if evenly spread
            self._before = (in_one, self._spent if elapsed < 2 * window else 0.0)
            self._since, self._mark, self._spent, elapsed, calls = now, total, 0.0, 0.0, 0
        left = 1 - max(0.0, elapsed) / window
        return self._before[0] * left + calls, self._before[1] * left + self._spent
