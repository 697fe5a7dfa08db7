"""Time that passes only when somebody waits: for tests and simulations of hours that take milliseconds."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 5.0  # [s]
RESOLUTION = 1e-6  # [s]; a float tells this apart for a hundred years


class VirtualClock:
    """A Clock whose ``sleep`` returns at once, having moved the time on. Safe to use from several threads.

    Threads that sleep on one clock add up their sleeps, as if they took turns.

    >>> clock = VirtualClock()
    >>> clock.sleep(3600)
    >>> clock.now()
    3600.0
    """

    def __init__(self, now: float = 0.0, wall: float = 1_700_000_000.0) -> None:
        """now: first reading [s]; wall: Unix time at it [s]."""
        self._lock = threading.Lock()
        self._now = float(now)
        self._offset = float(wall) - self._now

    def now(self) -> float:
        """Seconds that never go back."""
        return self._now

    def wall(self) -> float:
        """Unix time [s]."""
        return self._now + self._offset

    def sleep(self, seconds: float) -> None:
        """Move the time on by ``seconds``. Raises ValueError unless >= 0 and finite."""
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"sleep must be >= 0 seconds and finite, got {seconds!r}")
        with self._lock:
            self._now += seconds

    def set_wall(self, wall: float) -> None:
        """Set the Unix time [s], as an administrator or a time server does; ``now`` is not touched."""
        with self._lock:
            self._offset = float(wall) - self._now


class _Jump(selectors.DefaultSelector):
    """Looks for real events without waiting; where there are none, the clock jumps to the next timer."""

    def __init__(self, clock: VirtualClock, patience: float) -> None:
        super().__init__()
        self._clock, self._patience = clock, patience

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return self._wait_for_others()
        events = super().select(0)
        if not events and timeout > 0:
            self._clock.sleep(timeout)
        return events

    def _wait_for_others(self) -> list[tuple[selectors.SelectorKey, int]]:
        # No timer is set: only a thread, a signal or a socket can go on, and these live in real time.
        events = super().select(self._patience)
        if not events:
            raise RuntimeError(
                f"the virtual loop has no timer and nothing came within {self._patience:g} real seconds: "
                "some task waits for what nobody will do"
            )
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock: a timer is due as soon as nothing else can run.

    Time does not wait for threads: a ``to_thread`` beside a timer is overtaken by the timer.
    """

    def __init__(self, clock: VirtualClock | None = None, patience: float = PATIENCE) -> None:
        """clock: shared with the code under test; None makes one.

        patience: real seconds to wait for a thread or a socket where no timer is set, >= 0. After them the loop raises
        RuntimeError, since a test that waits for ever tells nobody why.
        """
        self.clock = VirtualClock() if clock is None else clock
        super().__init__(_Jump(self.clock, patience))
        # A timer is due from this much before its moment. The machine's own nanosecond drowns in the rounding of a
        # clock that reads years, and a timer would then be for ever about to be due.
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        """The clock's reading [s]."""
        return self.clock.now()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the executor's threads: in real time, however long ``timeout`` is in virtual time."""
        await super().shutdown_default_executor()


@contextmanager
def virtual_loop(clock: VirtualClock | None = None) -> Iterator[VirtualLoop]:
    """A virtual loop, closed at the end."""
    loop = VirtualLoop(clock)
    try:
        yield loop
    finally:
        loop.close()


def run(coro: Coroutine[Any, Any, T], clock: VirtualClock | None = None) -> T:
    """``asyncio.run`` on a virtual clock.

    >>> clock = VirtualClock()
    >>> run(asyncio.sleep(60, "slept"), clock), clock.now()
    ('slept', 60.0)
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(coro)
