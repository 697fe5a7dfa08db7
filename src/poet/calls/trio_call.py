"""Async calls under trio: the same operation as under asyncio, with trio's cancel scopes and nurseries.

Loaded by the first call that runs under no asyncio; trio itself is looked up only where it runs, and is never needed.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

from poet.calls.cell import Cell
from poet.calls.choosing import Told
from poet.calls.deadline import DEADLINE, NEVER
from poet.calls.hedge import NONE_SENT, Copy, Sent, give_up, may_hedge, outcome_of, tell
from poet.calls.operate import WORTH_RETRYING, Operation, admit
from poet.calls.plan import Plan
from poet.errors import ConfigurationError, PoetTimeout
from poet.model.execution import LATE, Attempt, Detail, Outcome

if TYPE_CHECKING:
    from trio import CancelScope, Event, Nursery
    from trio.lowlevel import RunVar

Body = Callable[..., Awaitable[Any]]
SPARE = 256  # ended attempts that a timer may hold, before it is swept


async def call_under_trio(
    body: Body,
    cell: Cell,
    now: Callable[[], float],
    plan: Plan,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    told: Told | None = None,
) -> Any:
    """The answer of one call of ``body`` under ``plan``. told: what it uses beside that.

    now: the clock that limits and deadlines are moments of; it may be another than trio's, so scopes get spans.
    Raises what the last attempt raised, or PoetTimeout where that was cut off; CircuitOpen, Overloaded; trio.Cancelled
    where the caller is cancelled; ConfigurationError where trio does not run.
    """
    if "trio" not in sys.modules:  # so it cannot be running, and is not to be loaded just to learn that
        raise _homeless(cell)
    import trio

    try:
        moment = trio.current_time()
    except RuntimeError:
        raise _homeless(cell) from None
    start, limit, outer = admit(cell, plan, now, told)
    began = start
    operation: Operation | None = None
    while True:
        DEADLINE.set(limit)
        scope = trio.CancelScope(deadline=moment + (limit - began))
        race: Race | None = None
        try:
            if plan.hedges and plan.hedge_delay < limit - began:
                race = Race(body, args, kwargs, cell, plan, now, began, moment, scope)
                result = await race.run()
            else:
                with scope:
                    result = await body(*args, **kwargs)
        except BaseException as error:
            end = now()
            DEADLINE.set(outer)
            operation = operation or Operation(cell, plan, start, limit, outer, told)
            pause = operation.failed(error, end, sent=NONE_SENT if race is None else race.sent)
            if pause is None:
                raise
        else:
            end = now()
            DEADLINE.set(outer)
            sent = NONE_SENT if race is None else race.sent
            if scope.cancelled_caught and (race is None or not race.won):
                operation = operation or Operation(cell, plan, start, limit, outer, told)
                timeout = PoetTimeout(cell.name, limit - began)
                pause = operation.failed(timeout, end, cut_off=True, sent=sent)
                if pause is None:
                    raise timeout
            elif operation is None and sent is NONE_SENT:
                _first_success(cell, plan, start, end, limit, told, result)
                return result
            else:
                operation = operation or Operation(cell, plan, start, limit, outer, told)
                operation.answered(end, limit, result, sent)
                return result
        try:
            await trio.sleep(pause)
        except BaseException as error:
            operation.disturbed(error, now())
            raise
        began = now()
        limit = operation.begin(began)
        moment = trio.current_time()


def _homeless(cell: Cell) -> ConfigurationError:
    return ConfigurationError(f"{cell.name} must run inside a task of asyncio or trio")


def _first_success(
    cell: Cell, plan: Plan, start: float, end: float, limit: float, told: Told | None, result: Any
) -> None:
    """Hand over a call whose only attempt was answered: most calls, so without an ``Operation``."""
    if cell.brakes.guarded:
        cell.brakes.answered(start, end)
    detail: Detail | None = None if end <= limit else LATE
    if told is not None and cell.chooser is not None:
        detail = cell.chooser.detail(None if end <= limit else LATE, told, result, end - start)
    channel = cell.channel
    channel.keep((channel.count(), start, end, plan.version, detail))


class Race:
    """One attempt that may be hedged: its request and, later, copies of it.

    The first request runs in the caller's own task, and copies in a nursery around it, which stays empty in a call that
    answers in time. As every nursery does it waits for what it has cancelled: a copy that takes long to clean up holds
    the answer back, unlike under asyncio. All errors are kept inside, and the one that counts is raised after the
    nursery is closed: so it comes out as itself and in no group.
    """

    __slots__ = (
        "_args",
        "_body",
        "_cell",
        "_context",
        "_copies",
        "_due",
        "_ends",
        "_kwargs",
        "_news",
        "_now",
        "_nursery",
        "_origin",
        "_own",
        "_plan",
        "_result",
        "_scope",
        "_start",
        "_winner",
        "over",
        "won",
    )

    def __init__(
        self,
        body: Body,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cell: Cell,
        plan: Plan,
        now: Callable[[], float],
        start: float,
        origin: float,
        scope: CancelScope,
    ) -> None:
        """To be made where the attempt's deadline is published, in the context that copies are to run in.

        start, origin: of the first request, on the clock ``now`` and on trio's [s]. scope: ends at the attempt's limit.
        """
        self._body, self._args, self._kwargs, self._cell, self._plan, self._now = body, args, kwargs, cell, plan, now
        self._start, self._origin, self._scope = start, origin, scope
        self._context = copy_context()
        self._due = 1  # number of the copy that is due next
        self._copies: list[Copy] = []
        self._ends: tuple[Attempt, ...] = ()  # what became of them
        self._winner: Copy | None = None
        self._result: Any = None  # the winner's
        self._nursery: Nursery | None = None
        self._news: Event | None = None  # set when a copy ends; there while somebody waits for that
        self._own: tuple[Outcome, float] | None = None  # how the first request ended, where not as the attempt
        self.over = False  # no copy will be sent any more
        self.won = False  # the answer is a copy's

    @property
    def sent(self) -> Sent:
        """What became of its requests, once ``run`` is over."""
        return Sent(self._ends, self._own) if self._ends else NONE_SENT

    async def run(self) -> Any:
        """The first answer to come; None where the limit comes before: then the scope is cancelled and nothing ``won``.

        Raises what the first request raised where no answer can come any more.
        """
        import trio

        result: Any = None
        answered = False  # by the first request
        failure: BaseException | None = None
        timer = _timer()
        try:
            async with trio.open_nursery() as self._nursery:
                timer.add(self._origin + self._plan.hedge_delay, self)
                try:
                    with self._scope:
                        try:
                            result = await self._body(*self._args, **self._kwargs)
                            answered = True
                        except Exception as error:  # noqa: BLE001 - raised below, unless a copy answers
                            failure = error
                            if self._failed(outcome_of(self._cell, error)) in WORTH_RETRYING:
                                await self._others()
                    if self._scope.cancelled_caught:  # by a copy's answer, or at the limit
                        failure = None
                        if self._winner is not None and self._own is None:
                            self._failed(Outcome.CANCELLED)
                except BaseException as error:  # noqa: BLE001 - likewise
                    failure = error
                    if isinstance(error, Exception):  # raised while it was cancelled
                        self._failed(outcome_of(self._cell, error))
                finally:
                    self._close()
        except BaseExceptionGroup as group:  # a copy asked to exit, or was interrupted
            failure = group if len(group.exceptions) > 1 else group.exceptions[0]
        if failure is not None and (self._winner is None or not isinstance(failure, Exception)):
            context = failure.__context__
            try:
                raise failure
            finally:
                failure.__context__ = context  # what the caller is handling just now is not what led to it
                del failure, context  # else it would hold the frame that holds it
        failure = None
        if answered or self._winner is None:
            return result
        self.won = True
        return self._result

    def expire(self) -> None:
        """A copy is due."""
        if self.over or self._winner is not None:
            return
        now = self._now()
        if may_hedge(self._cell, now):
            copy = Copy(now, now - self._start)
            self._copies.append(copy)
            assert self._nursery is not None
            self._context.run(self._nursery.start_soon, self._request, copy)  # which copies that context
        self._due += 1
        if self._due <= self._plan.hedges:
            _timer().add(self._origin + self._due * self._plan.hedge_delay, self)

    def _failed(self, outcome: Outcome) -> Outcome:
        """Note how the first request ended."""
        self._own = outcome, self._now() - self._start
        return outcome

    async def _others(self) -> None:
        """The first request has failed: wait until a copy has answered, or none of those sent can."""
        import trio

        while self._winner is None and any(copy.attempt is None for copy in self._copies):
            self._news = trio.Event()
            await self._news.wait()

    async def _request(self, copy: Copy) -> None:
        """Make ``copy``'s request. Only what nobody may catch comes out.

        A cancellation from further out does not: the first request learns of it, too, and may answer all the same.
        """
        if copy.attempt is not None:  # given up before it has begun
            return
        try:
            result = await self._body(*self._args, **self._kwargs)
        except BaseException as error:
            self._ended(copy, outcome_of(self._cell, error))
            if _is_for_nobody(error):
                raise
        else:
            self._ended(copy, Outcome.SUCCESS, result)

    def _ended(self, copy: Copy, outcome: Outcome, result: Any = None) -> None:
        if copy.attempt is not None:  # given up before
            return
        copy.end(outcome, self._now(), self._cell)
        if outcome is Outcome.SUCCESS and self._winner is None:
            self._winner, self._result = copy, result
            tell(self._cell, "hedge_won")
            self._scope.cancel()
        if self._news is not None:
            self._news.set()

    def _close(self) -> None:
        """The attempt is over: give up the copies that still run. The time they take to clean up is not counted."""
        self.over = True
        if self._copies:
            self._ends = give_up(self._copies, self._now(), self._cell)
            assert self._nursery is not None
            self._nursery.cancel_scope.cancel()


class Timer:
    """Rings when copies are due, for all races of one run of trio: one task that sleeps, and not one for each call."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Race]] = []  # a heap, by moments on trio's clock [s]
        self._number = count().__next__
        self._sleep: CancelScope | None = None
        self._rings = NEVER  # when it next does: never after the first moment in the heap
        self._sweep_at = SPARE

    def add(self, due: float, race: Race) -> None:
        """``race`` expires at ``due`` unless it is over before."""
        if len(self._due) >= self._sweep_at:
            self._due = [entry for entry in self._due if not entry[2].over]
            heapq.heapify(self._due)
            self._sweep_at = 2 * len(self._due) + SPARE
        heapq.heappush(self._due, (due, self._number(), race))
        if due < self._rings:
            self._rings = due
            if self._sleep is not None:
                self._sleep.deadline = due

    async def run(self) -> None:
        """Ring, until trio's run is over."""
        import trio

        while True:
            with trio.CancelScope(deadline=self._rings) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            self._rings = NEVER  # while it rings nobody needs to wake it
            while self._due and (self._due[0][0] <= now or self._due[0][2].over):
                heapq.heappop(self._due)[2].expire()
            self._rings = self._due[0][0] if self._due else NEVER


@cache
def _timers() -> RunVar[Timer]:
    from trio.lowlevel import RunVar

    return RunVar("poet_timer")


def _timer() -> Timer:
    """The timer of this run of trio."""
    timers = _timers()
    try:
        timer: Timer = timers.get()
    except LookupError:
        from trio.lowlevel import spawn_system_task

        timer = Timer()
        timers.set(timer)
        spawn_system_task(timer.run)
    return timer


def _is_for_nobody(error: BaseException) -> bool:
    """Whether ``error`` holds more than mere errors and trio's cancelling, which come in one group from a nursery."""
    from trio import Cancelled

    rest = error.split(Cancelled)[1] if isinstance(error, BaseExceptionGroup) else error
    return rest is not None and not isinstance(rest, Exception | Cancelled)
