"""The race between a request and its copies, in worker threads: for plain functions.

A thread cannot be stopped: the loser runs on, counted as abandoned, and its answer is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from poet.calls.cell import Cell
from poet.calls.deadline import DEADLINE
from poet.calls.hedge import Copy, Raced, Sent, give_up, mark, may_hedge, outcome_of, tell
from poet.calls.operate import WORTH_RETRYING
from poet.calls.plan import Plan
from poet.calls.workers import CREW, Crew, Job
from poet.errors import PoetTimeout, Shed
from poet.model.execution import Outcome

LONGEST_WAIT = 3600.0  # of one look at the queue, whose own limit is not endless [s]


def racing(
    body: Callable[..., Any], cell: Cell, now: Callable[[], float], crew: Crew = CREW
) -> Callable[[Plan, Any, Any], Any]:
    """``body`` as one attempt that may be hedged; it gives ``Raced`` where it was, else the result itself."""

    def raced(plan: Plan, args: Any, kwargs: Any) -> Any:
        race = _Race(partial(body, *args, **kwargs), cell, plan, now, crew)
        try:
            return race.run()
        except BaseException as error:
            mark(error, race.sent())
            raise

    return raced


class _Race:
    """One attempt and its copies."""

    def __init__(self, task: Callable[[], Any], cell: Cell, plan: Plan, now: Callable[[], float], crew: Crew) -> None:
        self._task, self._cell, self._plan, self._now, self._crew = task, cell, plan, now, crew
        self._ended: SimpleQueue[Job] = SimpleQueue()
        self._start, self._limit = now(), DEADLINE.get()
        self._primary: Job | None = self._begin()
        self._failure: BaseException | None = None  # of the first request
        self._own: tuple[Outcome, float] | None = None  # how it ended, and after how long [s]
        self._copies: list[Copy] = []
        self._due = 1  # number of the copy that is due next

    def run(self) -> Any:
        """Wait for the first answer. Raises what the first request does, or PoetTimeout."""
        while True:
            now = self._now()
            if now >= self._limit:
                raise PoetTimeout(self._cell.name, self._limit - self._start)
            wake = self._limit
            if self._due <= self._plan.hedges:
                wake = min(wake, self._start + self._due * self._plan.hedge_delay)
            try:
                job = self._ended.get(timeout=min(max(0.0, wake - now), LONGEST_WAIT))
            except Empty:
                if wake < self._limit and wake - now <= LONGEST_WAIT:
                    self._hedge()
                continue
            copy = next((copy for copy in self._copies if copy.work is job), None)
            try:
                result = job.result()
            except BaseException as error:  # noqa: BLE001 - raised again where no copy can mend it
                del job  # else error -> traceback -> this frame -> job -> error waits for the garbage collector
                self._fail(copy, error)
                continue
            if copy is None:
                sent = self.sent()
                return Raced(result, sent) if sent.copies else result
            copy.end(Outcome.SUCCESS, self._now(), self._cell)
            tell(self._cell, "hedge_won")
            if self._own is None:
                self._own = Outcome.CANCELLED, self._now() - self._start
            return Raced(result, self.sent())

    def sent(self) -> Sent:
        """The attempt is over: leave behind what still runs. What became of all."""
        now = self._now()
        fate = "cancelled" if now < self._limit else "timeout"
        if self._primary is not None:
            self._primary.abandon(fate)
        self._primary = self._failure = None  # the frames of an error's traceback know this race
        return Sent(give_up(self._copies, now, self._cell, lambda job: job.abandon(fate)), self._own)

    def _begin(self) -> Job:
        return self._crew.submit(self._task, self._cell.name, now=self._now, tell=self._cell.tell, ended=self._ended)

    def _hedge(self) -> None:
        """A copy is due."""
        self._due += 1
        now = self._now()
        if not may_hedge(self._cell, now):
            return
        copy = Copy(now, now - self._start)
        try:
            copy.work = self._begin()
        except Shed:  # too many are left behind: go on without
            self._cell.brakes.bucket.give_back(1.0)
            if self._cell.brakes.guarded:
                self._cell.brakes.ended(now, now, Outcome.CANCELLED)
            return
        self._copies.append(copy)

    def _fail(self, copy: Copy | None, error: BaseException) -> None:
        """Go on while another may answer. Raises the first request's error where none can."""
        outcome = outcome_of(self._cell, error)
        if copy is None:
            self._failure, self._own = error, (outcome, self._now() - self._start)
        else:
            copy.end(outcome, self._now(), self._cell)
        if self._failure is None or self._own is None:
            return
        if self._own[0] not in WORTH_RETRYING or all(copy.attempt is not None for copy in self._copies):
            try:
                raise self._failure
            finally:
                del error  # as in ``run``
