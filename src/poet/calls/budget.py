"""Counts the extra requests that go to a dependency, and says when there are too many."""

from __future__ import annotations

import threading
from typing import Protocol

from poet.model.dependency import Budget

KEEP = 1 - 1 / 32  # of the share of failing attempts, per attempt: the last 32 or so speak
LEAST = 0.02  # held for a repetition, however well all goes [1]


class Counted(Protocol):
    """Knows how many calls there were."""

    @property
    def number(self) -> int:
        """Calls so far; it may lag behind a little."""


class Bucket:
    """The budget of one dependency, shared by all that call it; its size follows the traffic that is measured.

    What counts is repetitions *in vain*: those of calls that failed in the end. While a call goes on, each of its
    repetitions is held at the chance that it will be in vain: that all attempts which are left fail, at the share of
    attempts that fail right now. At the call's end it is let go, or counted in full. So a service that fails by
    chance is retried as it needs, and one that is down, where hardly any attempt succeeds, gets its share and no more.

    Kept over two windows, the older one weighed by how much of it still lies within the last ``window`` seconds (the
    "sliding window counter"). A call that succeeds at once pays nothing for it: the traffic is read off the numbers
    that calls bear anyway, where an attempt has failed.

    The ideas of a share of measured traffic with a floor below it are Finagle's and Envoy's; to give back what
    succeeded is botocore's. They charge each retry in full until then, which starves slow and flaky services.
    """

    __slots__ = (
        "_calls_before",
        "_failing",
        "_lock",
        "_mark",
        "_seen",
        "_since",
        "_sources",
        "_spec",
        "_spent",
        "_spent_before",
    )

    def __init__(self, spec: Budget, now: float, lock: threading.RLock | None = None) -> None:
        """lock: shared with other buckets, as each takes a tenth of a kilobyte and is hardly ever held; None: its own.

        It can be taken again by whoever holds it, as a stream may be closed by the garbage collector, wherever that
        runs.
        """
        self._spec = spec
        self._sources: Counted | tuple[Counted, ...] = ()  # one for each of thousands of functions is not worth a tuple
        self.renew(now, lock)

    def measure(self, source: Counted) -> None:
        """Count the calls of ``source``, too."""
        with self._lock:
            known = self._all
            if source not in known:
                self._mark += source.number
                self._seen += source.number
                self._sources = (*known, source) if known else source

    def renew(self, now: float, lock: threading.RLock | None = None) -> None:
        """Begin anew, with nothing counted, and with this ``lock``; None: one of its own."""
        self._lock = lock or threading.RLock()
        self._since, self._spent = now, 0.0  # of the window that runs
        self._mark = self._seen = self._total()  # calls when it began, and when an attempt last failed
        self._calls_before = self._spent_before = 0.0  # of the window before
        self._failing = 1.0  # share of the last attempts that failed; nothing known counts as the worst

    def failed(self) -> None:
        """An attempt has failed."""
        with self._lock:
            total = self._total()
            succeeded = max(0, total - self._seen)
            self._seen = max(self._seen, total)
            self._failing = 1 - KEEP + KEEP ** (1 + succeeded) * self._failing

    def ended(self) -> None:
        """A call has failed, which is about to be counted among the traffic: that is no success."""
        with self._lock:
            self._seen += 1

    def take(self, now: float, left: int = 1) -> float | None:
        """What is held for one repetition that is sent now, in (0, 1]; None: it may not be sent.

        left: attempts that the call may still make, this one included, >= 1: it is in vain if all of them fail.
        """
        return self._take(now, max(LEAST, self._failing**left))

    def take_whole(self, now: float) -> bool:
        """Whether a copy may be sent now. It counts in full: the load it brings is what it costs."""
        return self._take(now, 1.0) is not None

    def give_back(self, held: float) -> None:
        """It was not in vain, or not sent."""
        with self._lock:
            if self._spent >= held:
                self._spent -= held
            else:  # spent before this window began
                self._spent_before = max(0.0, self._spent_before + self._spent - held)
                self._spent = 0.0

    def spend(self, more: float) -> None:
        """Repetitions were in vain: ``more`` than was held for them."""
        with self._lock:
            self._spent += more

    def recent(self, now: float) -> tuple[float, float]:
        """Calls made, and extra requests spent, within the last ``window`` seconds, about."""
        with self._lock:
            return self._recent(now)

    def _take(self, now: float, held: float) -> float | None:
        spec = self._spec
        with self._lock:
            calls, spent = self._recent(now)
            if spent + held > max(spec.floor, spec.share * calls):
                return None
            self._spent += held
            return held

    @property
    def _all(self) -> tuple[Counted, ...]:
        sources = self._sources
        return sources if isinstance(sources, tuple) else (sources,)

    def _total(self) -> int:
        sources = self._sources
        return sum(source.number for source in sources) if isinstance(sources, tuple) else sources.number

    def _recent(self, now: float) -> tuple[float, float]:
        total = self._total()
        window, elapsed = self._spec.window, now - self._since
        calls = total - self._mark
        if elapsed >= window:
            in_one = calls * window / elapsed  # nobody has looked for longer than a window: as if evenly spread
            self._calls_before = in_one
            self._spent_before = self._spent if elapsed < 2 * window else 0.0
            self._since, self._mark, self._spent, elapsed, calls = now, total, 0.0, 0.0, 0
        left = 1 - max(0.0, elapsed) / window
        return self._calls_before * left + calls, self._spent_before * left + self._spent
