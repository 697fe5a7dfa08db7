"""A limit that holds for sync functions in the main thread: a signal interrupts the body where it stands.

It stops what waits (sleep, sockets, locks) and what computes in Python, and nothing runs on. It does not stop a C call
that never looks for signals. The body may be interrupted anywhere, in the midst of a ``finally`` too.

There is one SIGALRM and one real-time timer per process. Each limit borrows both, and what it finds in place, the
application's own alarm or an outer limit of ours alike, keeps its moment and its say.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from math import inf
from types import FrameType
from typing import Any

from poet.calls.deadline import DEADLINE, NEVER
from poet.errors import ConfigurationError, PoetTimeout

Body = Callable[..., Any]

EARLY = 1e-4  # a timer may ring this much before its moment, as two clocks round differently [s]
AGAIN = 0.05  # a body that swallows its interruption is interrupted again after this long [s]
AT_ONCE = 1e-6  # the shortest span of a timer; 0 would stop it [s]
LONGEST = 1e8  # the longest [s]
DEEPEST = 100  # links of a chain of exceptions that are looked at


class _Cut(BaseException):
    """Interrupts a body at its limit. Not an Exception, so that the body does not take it for an error of its own.

    The built-in TimeoutError would be swallowed by all who expect one from a socket.
    """

    def __init__(self, alarm: _Alarm) -> None:
        super().__init__()
        self.alarm = alarm


class _Alarm:
    """One limit: set before the body, ended after it, and in between it may ring."""

    __slots__ = ("_due", "_found", "_found_due", "_found_interval", "_frame", "_open", "limit")

    def __init__(self, limit: float, frame: FrameType) -> None:
        """limit: as published. frame: of the caller; nothing is interrupted but that frame and what it calls."""
        self.limit = limit
        self._frame: FrameType | None = frame
        self._open = False
        self._due = inf  # when to ring next, on the monotonic clock [s]
        # the alarm that was in place before: who handles it, when it is due, and how often then [s]
        self._found: Any = None
        self._found_due, self._found_interval = inf, 0.0

    def set(self, span: float, found: Any) -> None:
        """Ring after ``span`` seconds, > 0. found: who handles SIGALRM now.

        Raises ConfigurationError where it cannot be.
        """
        if found is None:
            raise ConfigurationError(
                "enforce_timeout='signal' cannot share SIGALRM with a handler that is not written in Python: "
                "use enforce_timeout='thread' or 'process'"
            )
        span = min(max(span, AT_ONCE), LONGEST)
        self._found, self._open = found, True
        try:
            signal.signal(signal.SIGALRM, self.ring)
        except ValueError as error:
            self._found, self._open = None, False
            raise ConfigurationError(
                "enforce_timeout='signal' works in the main interpreter only: use enforce_timeout='thread' or 'process'"
            ) from error
        self._due = time.monotonic() + span
        left, self._found_interval = signal.setitimer(signal.ITIMER_REAL, span)
        if left:
            self._found_due = time.monotonic() + left
            self._arm()

    def ring(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler. The alarm that was due first is heard first."""
        if not self._open:  # ended in this very instant
            return
        if not self.covers(frame):  # its end was itself interrupted, by a KeyboardInterrupt say
            self.end()
            return
        now = time.monotonic() + EARLY
        if self._due > now or self._found_due <= now:  # the one before us; or somebody has sent the signal by hand
            self._hand_on(number, frame)
        else:
            self._due = now + AGAIN
            self._arm()
            if not self._led_to(sys.exception()):  # else the body still unwinds, and cleans up
                raise _Cut(self)

    def end(self) -> None:
        """Ring no more, and put back what was found, with the time that it has left. To be repeated if interrupted."""
        found = self._found
        if found is None:
            return
        self._open, self._frame = False, None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, found)  # first lets us handle what has arrived: nothing of it comes later
        if self._found_due < inf:
            left = max(self._found_due - time.monotonic(), AT_ONCE)
            signal.setitimer(signal.ITIMER_REAL, left, self._found_interval)
        self._found = None

    def accounts_for(self, error: BaseException) -> bool:
        """Whether ``error`` is our interruption, or one that the body raised while that passed through it.

        What stops more than the body (KeyboardInterrupt, the limit around ours) stands for itself.
        """
        if isinstance(error, _Cut):
            return error.alarm is self
        return isinstance(error, Exception) and self._led_to(error)

    def _led_to(self, error: BaseException | None) -> bool:
        """Whether it is our interruption, or was raised while that was on its way."""
        for _ in range(DEEPEST):
            if error is None:
                return False
            if isinstance(error, _Cut) and error.alarm is self:
                return True
            error = error.__context__
        return False

    def _arm(self) -> None:
        left = min(self._due, self._found_due) - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, AT_ONCE))

    def covers(self, frame: FrameType | None) -> bool:
        """Whether what runs in ``frame`` is under this limit."""
        while frame is not None:
            if frame is self._frame:
                return True
            frame = frame.f_back
        return False

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        """Let the alarm that was in place before us ring: it finds timer and handler as if we were not there."""
        left = self._found_due - time.monotonic()
        if left <= EARLY:
            left = self._found_interval
        signal.setitimer(signal.ITIMER_REAL, 0 if left == inf else left, self._found_interval)
        try:
            if callable(self._found):
                self._found(number, frame)
            elif self._found == signal.SIG_DFL:  # which ends the process
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.raise_signal(signal.SIGALRM)
        finally:
            handler = signal.getsignal(signal.SIGALRM)
            if handler != self.ring:  # it has handed over to another
                self._found = handler
                signal.signal(signal.SIGALRM, self.ring)
            left, self._found_interval = signal.getitimer(signal.ITIMER_REAL)
            self._found_due = time.monotonic() + left if left else inf
            self._arm()


def under_alarm(body: Body, name: str, *, now: Callable[[], float] = time.monotonic) -> Body:
    """``body``, interrupted by a signal at the limit of the attempt (``DEADLINE``) that calls it.

    POSIX and the main thread only: elsewhere a call with a limit raises ConfigurationError, as a limit that silently
    does not hold is worse. What the body itself does to SIGALRM is undone at its end; while it lasts, it holds.

    The caller gets what the body returns or raises, or PoetTimeout at the limit, with the place where the body stood as
    its cause. An error that the body raises while the interruption passes through it becomes such a cause too. A body
    that swallows the interruption with a bare ``except:`` is interrupted again every 50 ms.
    """

    def alarmed(*args: Any, **kwargs: Any) -> Any:
        limit = DEADLINE.get()
        if limit == NEVER:
            return body(*args, **kwargs)
        _refuse_elsewhere(name)
        span = limit - now()
        if span <= 0:
            raise PoetTimeout(name, 0.0)
        frame = sys._getframe()
        found = signal.getsignal(signal.SIGALRM)
        around = getattr(found, "__self__", None)
        if isinstance(around, _Alarm) and around.limit <= limit and around.covers(frame):
            return body(*args, **kwargs)  # an outer function's limit, which ours inherited: its alarm does for both
        alarm = _Alarm(limit, frame)
        del frame  # which would hold itself
        answer = _NOTHING
        try:
            try:
                alarm.set(span, found)
                answer = body(*args, **kwargs)
            finally:
                alarm.end()
        except BaseException as error:
            alarm.end()  # once more, where the first was interrupted
            if not alarm.accounts_for(error):
                raise
            if answer is _NOTHING:
                raise PoetTimeout(name, span) from error
        return answer

    return alarmed


_NOTHING: Any = object()


def _refuse_elsewhere(name: str) -> None:
    if not hasattr(signal, "setitimer"):
        raise ConfigurationError(
            f"{name}: enforce_timeout='signal' needs POSIX signals, which this system has not: "
            "use enforce_timeout='thread' or 'process'"
        )
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError(
            f"{name}: enforce_timeout='signal' works in the main thread only, and this is "
            f"{threading.current_thread().name}: use enforce_timeout='thread' or 'process'"
        )
