"""A limit that holds for sync functions: the body runs in a thread of ours, and its caller leaves at the limit.

Nothing can stop a thread, so an abandoned body runs on, with what it holds. Three things make that bearable: abandoned
bodies are counted and may not become many, they never delay the end of the process (daemon threads, joined by nobody),
and nobody waits for their threads, as another one takes the next call.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import Any

from poet.calls.deadline import DEADLINE
from poet.errors import ConfigurationError, Overloaded, PoetTimeout, Shed
from poet.model.event import Event, Kind

Body = Callable[..., Any]
Tell = Callable[[Event], object]

MOST_ABANDONED = 64
SPARE = 4  # idle workers that are kept for ever
IDLE = 30.0  # after which a worker beyond these ends [s]


class Job:
    """One body that a worker runs. Made by ``Crew.submit``; safe to use from several threads."""

    __slots__ = (
        "_answer",
        "_context",
        "_crew",
        "_ended",
        "_error",
        "_fate",
        "_listener",
        "_now",
        "_running",
        "_task",
        "began",
        "name",
    )

    def __init__(
        self,
        crew: Crew,
        task: Callable[[], Any],
        name: str,
        now: Callable[[], float],
        tell: Tell | None,
        ended: SimpleQueue[Job] | None,
    ) -> None:
        self._crew, self._task, self._now, self._listener, self._ended = crew, task, now, tell, ended
        self.name = name
        self._answer: Any = None
        self._error: BaseException | None = None
        self._context = copy_context()
        self._running = threading.Lock()  # held until the body has ended
        self._running.acquire()
        self._fate = threading.Lock()  # taken once and for all, by who comes first: the body's end or its abandonment
        self.began = now()  # on the clock's scale [s]

    def wait(self, timeout: float = inf) -> bool:
        """Wait up to ``timeout`` seconds, >= 0, for the end; whether it has ended. Interrupted by signals' errors."""
        if not self._running.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            return False
        self._running.release()
        return True

    def result(self) -> Any:
        """Wait for the end; what the body returned or, unchanged, raised. None where the job was abandoned."""
        self.wait()
        if self._error is None:
            return self._answer
        try:
            raise self._error
        finally:
            del self  # else error -> traceback -> this frame -> job -> error waits for the garbage collector

    def abandon(self, outcome: str = "cancelled") -> bool:
        """Wait for it no longer: from now on it counts as abandoned, until it ends, and its result is dropped.

        outcome: of the attempt, for the event. False: it has ended or was abandoned before; then nothing changes.
        """
        if not self._crew._leave(self._fate):
            return False
        self._tell("abandoned", outcome)
        return True

    def _run(self) -> bool:
        """In the worker: whether it ended before it was abandoned."""
        fate = self._fate
        try:
            self._answer = self._context.run(self._task)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next  # this frame tells the caller nothing
            self._error = error
        del self  # as in result: the frames of the body still know this one
        return fate.acquire(blocking=False)

    def _drop(self) -> None:
        error, self._error, self._answer = self._error, None, None
        self._tell("late", "success" if error is None else "error", "" if error is None else type(error).__name__)

    def _close(self) -> None:
        self._running.release()
        if self._ended is not None:
            self._ended.put(self)

    def _tell(self, kind: Kind, outcome: str, error: str = "") -> None:
        if self._listener is not None:
            seconds = max(0.0, self._now() - self.began)
            self._listener(Event(kind, self.name, seconds=seconds, outcome=outcome, error=error))


class Crew:
    """Daemon threads that run bodies: as many as run at once, reused, the one that was busy last first.

    After a fork the child begins with an empty crew.
    """

    def __init__(self, most_abandoned: int = MOST_ABANDONED, *, spare: int = SPARE, idle: float = IDLE) -> None:
        """most_abandoned: abandoned bodies that may still run when another one is begun, >= 1. A hard cap on what is
            begun: bodies that were under way when it was reached may still be abandoned.
        spare: idle workers that are kept, >= 0; idle: how long the others wait for work, > 0 [s].
        """
        if most_abandoned < 1 or spare < 0 or not idle > 0:
            raise ConfigurationError(
                "a crew needs most_abandoned >= 1, spare >= 0 and idle > 0, "
                f"got {most_abandoned!r}, {spare!r} and {idle!r}"
            )
        self.most_abandoned = most_abandoned
        self._spare, self._patience = spare, idle
        self._begin_afresh()
        _crews.add(self)

    @property
    def abandoned(self) -> int:
        """Abandoned bodies that still run, >= 0."""
        return self._abandoned

    @property
    def late(self) -> int:
        """Abandoned bodies that have ended after all, ever, >= 0."""
        return self._late

    @property
    def size(self) -> int:
        """Threads alive, busy or idle, >= 0."""
        return len(self._threads)

    def threads(self) -> list[threading.Thread]:
        """The threads alive, to see where abandoned bodies stand."""
        with self._lock:
            return list(self._threads)

    def submit(
        self,
        task: Callable[[], Any],
        name: str,
        *,
        now: Callable[[], float] = time.monotonic,
        tell: Tell | None = None,
        ended: SimpleQueue[Job] | None = None,
    ) -> Job:
        """Run ``task`` at once, in a copy of the caller's context: what it sets there, the caller does not see.

        name: of the function, for errors and events. now: the clock for ``Job.began`` and events [s].
        tell: gets "abandoned" and "late" events, the latter in the worker's thread; must not raise.
        ended: gets the job when it has ended, abandoned or not; one queue for several jobs tells which was first.

        Raises Overloaded where too many abandoned bodies still run, Shed where the system has no thread left; then
        nothing was begun.
        """
        if self._abandoned >= self.most_abandoned:
            raise Overloaded(name, "abandoned attempts run", self.most_abandoned)
        job = Job(self, task, name, now, tell, ended)
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = self._hire(name)
        inbox.put(job)
        return job

    def _begin_afresh(self) -> None:
        self._lock = threading.Lock()  # for what is rare; handing over work takes none
        self._threads: set[threading.Thread] = set()
        self._idle: list[SimpleQueue[Job]] = []  # inboxes of idle workers, the last one was busy last
        self._abandoned = 0
        self._late = 0

    def _hire(self, name: str) -> SimpleQueue[Job]:
        inbox: SimpleQueue[Job] = SimpleQueue()
        thread = threading.Thread(target=self._work, args=(inbox, self._idle), daemon=True, name="poet-worker")
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            with self._lock:
                self._threads.discard(thread)
            raise Shed(name, f"no thread can be started: {error}") from error
        return inbox

    def _work(self, inbox: SimpleQueue[Job], idle: list[SimpleQueue[Job]]) -> None:
        try:
            while job := self._next(inbox, idle):
                in_time = job._run()
                if idle is not self._idle:  # the body has forked, and this is the child: its crew is another one
                    return
                if not in_time:
                    with self._lock:  # _leave takes it first, so that the count never falls below 0
                        self._abandoned -= 1
                        self._late += 1
                    job._drop()
                idle.append(inbox)  # before the caller can know of the end: its next call then finds this worker
                job._close()
                del job  # an idle worker holds nobody's result
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self, inbox: SimpleQueue[Job], idle: list[SimpleQueue[Job]]) -> Job | None:
        """The next job, or None: the worker is to end."""
        while True:
            try:
                return inbox.get(timeout=self._patience)
            except Empty:
                with self._lock:
                    if len(idle) <= self._spare:
                        continue
                    try:
                        idle.remove(inbox)
                    except ValueError:  # just taken: a job is on its way
                        continue
                    return None

    def _leave(self, fate: threading.Lock) -> bool:
        with self._lock:
            if not fate.acquire(blocking=False):
                return False
            self._abandoned += 1
            return True


_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for crew in list(_crews):
        crew._begin_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

CREW = Crew()
"""The process's own; functions share it, and its cap."""


def threaded(
    body: Body,
    name: str,
    *,
    now: Callable[[], float] = time.monotonic,
    crew: Crew = CREW,
    tell: Tell | None = None,
) -> Body:
    """``body`` in a thread of ``crew``, left behind at the limit of the attempt (``DEADLINE``) that calls it.

    The body sees a copy of the caller's context variables; what it sets in them the caller does not see. Thread-local
    state is the worker's, with a limit or without. An answer that comes in the very instant of the limit is returned.

    The caller gets what the body returns or raises, PoetTimeout at the limit, Overloaded or Shed as ``Crew.submit``.
    Where the waiting is interrupted (KeyboardInterrupt), the body is abandoned too, and the interruption goes on.
    """

    def in_thread(*args: Any, **kwargs: Any) -> Any:
        began = now()
        left = DEADLINE.get() - began
        if left <= 0:
            raise PoetTimeout(name, 0.0)
        job = crew.submit(partial(body, *args, **kwargs), name, now=now, tell=tell)
        try:
            ended = job.wait(left) or not job.abandon("timeout")
        except BaseException:
            job.abandon()
            raise
        if not ended:
            raise PoetTimeout(name, left)
        try:
            return job.result()
        finally:
            del job  # as in result

    return in_thread
