"""Cuts off the async attempts of one function at their limits, with one timer for all of them.

A timer of one's own costs a call more than everything else POET does for it. But the limits of one function come in
rising order, nearly always, and nearly always the attempt has ended long before: so a queue and one armed timer serve.
"""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop, CancelledError, Task, TimerHandle
from collections import deque
from collections.abc import Callable
from typing import Any

SPARE = 256  # ended attempts that may stand behind one that runs on, before the queue is swept


class Guarded:
    """One attempt under a limit."""

    __slots__ = ("fired", "limit", "task", "timer")

    def __init__(self, limit: float, task: Task[Any]) -> None:
        self.limit = limit  # when ``expire`` is due
        self.task: Task[Any] | None = task  # None: has ended
        self.fired = False  # whether it was cancelled at its limit
        self.timer: TimerHandle | None = None  # its own, where it does not fit into the queue

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

    __slots__ = ("_latest", "_loop", "_now", "_queue", "_rings", "_sweep_at", "_timer")

    def __init__(self, loop: AbstractEventLoop, now: Callable[[], float]) -> None:
        self._loop, self._now = loop, now
        self._queue: deque[Guarded] = deque()
        self._latest = 0.0  # limit of the newest attempt in the queue
        self._timer: TimerHandle | None = None
        self._rings = math.inf  # moment of the armed timer: never after the limit of an attempt in the queue
        self._sweep_at = SPARE

    def enter(self, attempt: Guarded, start: float) -> None:
        """From ``start`` on: ``attempt`` expires at its limit unless it leaves before."""
        limit = attempt.limit
        if self._queue:
            if limit < self._latest:  # shorter than that of one before which still runs
                attempt.timer = self._loop.call_later(limit - start, attempt.expire)
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
        while queue and queue[0].task is None:
            queue.popleft()
        if len(queue) > self._sweep_at:
            self._sweep()

    def _ring(self) -> None:
        """The timer: cut off what is due, and set it for the next."""
        queue, now = self._queue, self._now()
        while queue and (queue[0].task is None or queue[0].limit <= now):
            queue.popleft().expire()
        if queue:
            self._arm(queue[0].limit, now)
        else:
            self._timer, self._rings = None, math.inf

    def _arm(self, limit: float, now: float) -> None:
        self._rings = limit
        self._timer = self._loop.call_later(limit - now, self._ring)

    def _sweep(self) -> None:
        """Drop the ended ones that stand behind one that runs on: memory follows what runs, not what ran."""
        self._queue = deque(attempt for attempt in self._queue if attempt.task is not None)
        self._sweep_at = 2 * len(self._queue) + SPARE


class Watches:
    """One watch per event loop."""

    __slots__ = ("_by_loop", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._by_loop: dict[AbstractEventLoop, Watch] = {}

    def on(self, loop: AbstractEventLoop) -> Watch:
        """The watch of a loop that runs."""
        watch = self._by_loop.get(loop)
        if watch is None:
            for other in [other for other in list(self._by_loop) if other.is_closed()]:
                self._by_loop.pop(other, None)
            watch = self._by_loop[loop] = Watch(loop, self._now)
        return watch
