"""Cuts off the async attempts of one function at their limits, with one timer for all of them.

A timer of one's own costs a call more than everything else POET does for it. But the limits of one function come in
rising order, nearly always, and nearly always the attempt has ended long before: so a queue and one armed timer serve.
"""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop, CancelledError, Task, TimerHandle
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol


class Guarded:
    """One attempt under a limit."""

    __slots__ = ("fired", "limit", "task", "timer")

    def __init__(self, limit: float, task: Task[Any]) -> None:
        self.limit = limit  # when ``expire`` is due
        self.task: Task[Any] | None = task  # None: has ended
        self.fired = False  # whether it was cancelled at its limit
        self.timer: TimerHandle | None = None  # its own, or the one that took it from the queue; None: it is queued

    def expire(self) -> None:
        """The limit has come."""
        if self.task is not None:
            self.fired = True
            self.task.cancel()


def was_cut_off(attempt: Guarded, task: Task[Any], cancelling: int, error: BaseException) -> bool:
    """Whether ``error`` is the cancellation that we asked for at the limit, and nobody else asked for one.

    As asyncio.timeout does it: our own request is taken back in any case; what is left is the caller's.
    cancelling: cancellations of ``task`` that were asked for before the attempt.
    """
    return attempt.fired and task.uncancel() <= cancelling and isinstance(error, CancelledError)


class Watch:
    """The attempts of one function that run on one event loop."""

    __slots__ = ("_ended", "_latest", "_now", "_queue", "_rings", "_timer", "loop", "others")

    def __init__(self, loop: AbstractEventLoop, now: Callable[[], float], others: tuple[Watch, ...] = ()) -> None:
        """others: the function's watches on other loops."""
        self.loop, self._now, self.others = loop, now, others
        # No deque: an empty one takes 0.8 kB, and most of thousands of functions are idle most of the time.
        self._queue: list[Guarded] = []
        self._ended = 0  # attempts in the queue that have ended: less than half of them, so that one at least runs
        self._latest = 0.0  # limit of the newest attempt in the queue
        self._timer: TimerHandle | None = None
        self._rings = math.inf  # moment of the armed timer: never after the limit of an attempt in the queue

    def enter(self, attempt: Guarded, start: float) -> None:
        """From ``start`` on: ``attempt`` expires at its limit unless it leaves before."""
        limit = attempt.limit
        if self._queue:
            if limit < self._latest:  # shorter than that of one before which still runs
                attempt.timer = self.loop.call_later(limit - start, attempt.expire, context=Context())
                return
        elif limit < self._rings:  # none armed, or one that was for longer limits
            if self._timer is not None:
                self._timer.cancel()
            self._arm(limit, start)
        self._latest = limit
        self._queue.append(attempt)

    def leave(self, attempt: Guarded) -> None:
        """The attempt has ended."""
        attempt.task = None
        if attempt.timer is not None:
            attempt.timer.cancel()
            return
        queue = self._queue
        if len(queue) == 1:  # it alone
            queue.clear()
            return
        self._ended += 1
        if 2 * self._ended >= len(queue):
            self._sweep()

    def _ring(self) -> None:
        """The timer: cut off what is due, and set it for the next."""
        queue, now, timer = self._queue, self._now(), self._timer
        due = next((at for at, each in enumerate(queue) if each.task is not None and each.limit > now), len(queue))
        expired = queue[:due]
        del queue[:due]
        for attempt in expired:
            if attempt.task is None:
                self._ended -= 1
            else:
                attempt.timer = timer
                attempt.expire()
        if queue:
            self._arm(queue[0].limit, now)
        else:
            self._timer, self._rings = None, math.inf

    def _arm(self, limit: float, now: float) -> None:
        """In a context of its own: a timer outlives the attempt, and would keep all that the caller's context holds."""
        self._rings = limit
        self._timer = self.loop.call_later(limit - now, self._ring, context=Context())

    def _sweep(self) -> None:
        """Drop the ended ones: memory follows what runs, not what ran. O(1) per attempt, over many of them."""
        self._queue[:] = [attempt for attempt in self._queue if attempt.task is not None]
        self._ended = 0


class Holder(Protocol):
    """Who keeps the watches of its attempts: the newest one, which knows the others."""

    watch: Watch | None

    @property
    def now(self) -> Callable[[], float]:
        """The clock that limits are moments of [s]."""


class Watches:
    """A holder that is nothing else."""

    __slots__ = ("now", "watch")

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.watch: Watch | None = None


def watch_on(loop: AbstractEventLoop, holder: Holder) -> Watch:
    """The watch of a loop that runs: there is hardly ever more than one, and then one per thread."""
    newest = holder.watch
    known = () if newest is None else (newest, *newest.others)
    for watch in known:
        if watch.loop is loop:
            return watch
    # Where two threads meet here, one watch is forgotten: what it guards still ends by its timer.
    watch = holder.watch = Watch(loop, holder.now, tuple(other for other in known if not other.loop.is_closed()))
    for other in known:
        other.others = ()
    return watch
