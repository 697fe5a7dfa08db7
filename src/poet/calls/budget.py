"""Counts the extra requests that go to a dependency, and says when there are too many."""

from __future__ import annotations

import threading
from itertools import count

from poet.model.dependency import Budget


class Bucket:
    """The budget of one dependency, shared by all that call it; its size follows the traffic that is measured.

    Kept over two windows, the older one weighed by how much of it still lies within the last ``window`` seconds (the
    "sliding window counter"). What a call pays is one step of a counter; all else happens where an attempt has failed.
    The ideas of a share of measured traffic with a floor below it are Finagle's and Envoy's; to give back what
    succeeded is botocore's.
    """

    __slots__ = ("_before", "_lock", "_looks", "_mark", "_since", "_spec", "_spent", "arrive")

    def __init__(self, spec: Budget, now: float) -> None:
        self._spec = spec
        self.arrive = count().__next__  # one call; atomic, and cheaper than any lock
        self._looks = 0  # how often the counter was moved only to read it
        self._mark = 0  # calls when the window that runs began
        self.renew(now)

    def renew(self, now: float) -> None:
        """Begin anew, with nothing counted."""
        self._lock = threading.Lock()
        self._since, self._spent = now, 0.0  # of the window that runs
        self._mark = self.arrive() - self._looks
        self._looks += 1
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

    def _recent(self, now: float) -> tuple[float, float]:
        total = self.arrive() - self._looks
        self._looks += 1
        window, elapsed = self._spec.window, now - self._since
        calls = total - self._mark
        if elapsed >= window:
            in_one = calls * window / elapsed  # nobody has looked for longer than a window: as if evenly spread
            self._before = (in_one, self._spent if elapsed < 2 * window else 0.0)
            self._since, self._mark, self._spent, elapsed, calls = now, total, 0.0, 0.0, 0
        left = 1 - max(0.0, elapsed) / window
        return self._before[0] * left + calls, self._before[1] * left + self._spent
