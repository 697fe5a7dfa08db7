"""The race between a request and its copies, in asyncio's tasks.

Lazy: the first request runs in the caller's own task, under the timer that guards its limit anyway; only when that
rings for a copy a second task is made. So a call that answers in time pays for no task, and cancelling it is what it
would be without hedges.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Future, Task
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from poet.calls.cell import Cell
from poet.calls.hedge import Copy, Raced, Sent, give_up, mark, may_hedge, outcome_of, tell
from poet.calls.operate import WORTH_RETRYING
from poet.calls.plan import Plan
from poet.calls.watch import Guarded
from poet.model.execution import Attempt, Outcome


class Race(Guarded):
    """One attempt and its copies. It expires first when a copy is due, and last at the attempt's limit."""

    __slots__ = (
        "_args",
        "_asked",
        "_body",
        "_cancelling",
        "_cell",
        "_context",
        "_copies",
        "_cutoff",
        "_due",
        "_kwargs",
        "_loop",
        "_plan",
        "_start",
        "_waiter",
        "_winner",
    )

    def __init__(
        self,
        body: Callable[..., Awaitable[Any]],
        cell: Cell,
        plan: Plan,
        start: float,
        cutoff: float,
        loop: AbstractEventLoop,
        task: Task[Any],
        cancelling: int,
        args: Any,
        kwargs: Any,
    ) -> None:
        """To be made where the deadline of the attempt is published, in the context that copies are to run in.

        cutoff: the limit of all of it; cancelling: cancellations of ``task`` that were asked for before.
        """
        due = start + plan.hedge_delay
        self.limit = due if due < cutoff else cutoff
        self.task: Task[Any] | None = task
        self.fired = False
        self.timer = None
        self._body, self._cell = body, cell
        self._plan, self._start, self._cutoff = plan, start, cutoff
        self._loop, self._cancelling, self._args, self._kwargs = loop, cancelling, args, kwargs
        self._context = copy_context()
        self._asked = 0  # cancellations of the task that were ours, as far as not taken back
        self._due = 1  # number of the copy that is due next
        self._copies: list[Copy] | None = None
        self._winner: Copy | None = None
        self._waiter: Future[None] | None = None

    async def run(self) -> Any:
        """The attempt: ``Raced`` where copies were sent, else the result itself. Raises what the first request does."""
        cell = self._cell
        try:
            result = await self._body(*self._args, **self._kwargs)
        except CancelledError as error:
            if not self._take():  # the caller's, or the limit: not only ours
                mark(error, Sent(self._over()))
                raise
            own = Outcome.CANCELLED, cell.now() - self._start
        except BaseException as error:
            own = outcome_of(cell, error), cell.now() - self._start
            # Not behind the limit, where nothing rings any more: a copy that hangs would be waited for without end.
            if self._winner is None and not self.fired and own[0] in WORTH_RETRYING and self._running:
                try:
                    await self._others()
                except BaseException as disturbance:
                    mark(disturbance, Sent(self._over(), own))
                    raise
                if self._winner is None:
                    mark(error, Sent(self._over(), own))
                    raise
            elif not self._take():
                mark(error, Sent(self._over(), own))
                raise
        else:
            if self._copies is None:
                return result
            self._take()  # where it swallowed our cancelling and answered
            return Raced(result, Sent(self._over()))
        assert self._winner is not None
        answer: Task[Any] = self._winner.work
        return Raced(answer.result(), Sent(self._over(), own))

    def expire(self) -> None:
        """A copy is due, or the limit has come."""
        if self.task is None:
            return
        now = self._cell.now()
        if self._due > self._plan.hedges or now >= self._cutoff:
            self.fired = True
            self._cancel()
            return
        # Listeners are told where the call is: a timer has a context of its own.
        if self._winner is None and self._context.run(may_hedge, self._cell, now):
            self._send(now)
        self._due += 1
        next_one = self._cutoff
        if self._due <= self._plan.hedges:
            next_one = min(next_one, self._start + self._due * self._plan.hedge_delay)
        self.timer = self._loop.call_later(max(0.0, next_one - now), self.expire)

    def _take(self) -> bool:
        """Whether a copy has answered, and nobody but us has cancelled the task; what we did is taken back."""
        if self._winner is None or self.task is None:
            return False
        left = self.task.cancelling()
        while self._asked:  # twice where the limit came while the first request cleaned up
            self._asked -= 1
            left = self.task.uncancel()
        self.fired = False
        return left <= self._cancelling

    def _cancel(self) -> None:
        if self.task is not None:
            self._asked += 1
            self.task.cancel()

    @property
    def _running(self) -> bool:
        """Whether a copy may still answer."""
        return self._copies is not None and any(copy.attempt is None for copy in self._copies)

    async def _others(self) -> None:
        """The first request has failed: wait until a copy has answered, or none can."""
        while self._winner is None and self._running:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _send(self, now: float) -> None:
        copy = Copy(now, now - self._start)
        copy.work = self._loop.create_task(self._copy(), context=self._context.copy())
        copy.work.add_done_callback(lambda task: self._ended(copy, task), context=self._context)
        if self._copies is None:
            self._copies = []
        self._copies.append(copy)

    async def _copy(self) -> Any:
        return await self._body(*self._args, **self._kwargs)

    def _ended(self, copy: Copy, task: Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()  # asked for in any case: else asyncio complains
        if copy.attempt is not None:  # given up before
            return
        cell, now = self._cell, self._cell.now()
        if task.cancelled():
            outcome = Outcome.CANCELLED
        else:
            outcome = Outcome.SUCCESS if error is None else outcome_of(cell, error)
        copy.end(outcome, now, cell)
        if self.task is None:
            return
        if outcome is Outcome.SUCCESS and self._winner is None:
            self._winner = copy
            tell(cell, "hedge_won")
            if self._waiter is None and not self.fired:  # whom the limit has cancelled cleans up undisturbed
                self._cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _over(self) -> tuple[Attempt, ...]:
        """The attempt is over: give up the copies that still run. What became of all."""
        if self._copies is None:
            return ()
        return give_up(self._copies, self._cell.now(), self._cell, Task.cancel)
