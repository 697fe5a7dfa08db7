"""Generators under POET: a limit for the first item, one for each later item and one for the whole stream.

Until its first item a stream is an attempt like any other, and is repeated like one. From then on the consumer has part
of the answer: nothing is repeated or replayed, and an error comes out as it is. No item is held back.

What is learned from is the time to the first item, as later ones wait for the consumer, too: it is the duration of the
attempt. The call is handed up when the stream ends, with the outcome that the consumer saw; the call's duration holds
whatever time the consumer took between items.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import cache
from typing import Any, NamedTuple

from poet.calls.cell import Cell
from poet.calls.choosing import NO_SCORE, Told
from poet.calls.deadline import DEADLINE, NEVER, TIME
from poet.calls.hedge import outcome_of
from poet.calls.keys import Keying
from poet.calls.operate import WORTH_RETRYING, Operation, admit
from poet.calls.perceive import FEATURES, Perceiver
from poet.calls.plan import Plan
from poet.errors import ConfigurationError, PoetTimeout
from poet.model.event import Event
from poet.model.execution import Attempt, Context, Detail, Outcome, detailed
from poet.seams import SYSTEM_CLOCK, Clock

Body = Callable[..., Any]
SUCCESS, LATE = Outcome.SUCCESS, Outcome.LATE  # an enum's members take time to look up
Within = Callable[[Awaitable[Any], float, float], Awaitable[Any]]  # a step, its limit, its start: an item or a Cut


def stream(
    body: Body,
    cell: Cell,
    clock: Clock,
    between: float | None,
    *,
    perceiver: Perceiver | None = None,
    keyed: Keying | None = None,
) -> Body:
    """``body``, a generator function, under ``cell``'s plan. Nothing interrupts it: it is told its deadline.

    ``poet.remaining()`` inside of it is what is left for the item that was asked for; while the consumer has control,
    it is the consumer's own. What is sent or thrown in, and the result, pass through as in ``yield from`` (PEP 380).

    between: limit of each item after the first, from when it is asked for, > 0 [s]; None: only the whole is limited.
    perceiver: looks at the input, and keyed: puts a key into it, once, when the first item is asked for.
    """
    now, sleep = clock.now, clock.sleep
    publish, around = DEADLINE.set, DEADLINE.get
    gap = NEVER if between is None else between
    plain, body = body, body if clock is SYSTEM_CLOCK else _in_time(body, clock, _Items)

    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        features: Context = ()
        if perceiver is not None:
            args, kwargs, features = perceiver.look(args, kwargs)
        if keyed is not None:
            args, kwargs = keyed(args, kwargs)
        plan = cell.plan
        if plan is None and (cell.off or (plan := cell.start(cell)) is None):
            return (yield from plain(*args, **kwargs))
        told = _told(cell, plan, args, kwargs, features)
        course, items, item = first(plan if told is None else told[0], args, kwargs, told)
        if items is None:
            course.finished()
            return item
        send, end, came = items.send, course.end, course.came
        thrown: BaseException | None = None
        try:
            while True:
                try:
                    value = yield item
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the body
                    thrown = error  # not in the handler: else what the body raises would seem to come of it
                if thrown is not None and isinstance(thrown, GeneratorExit):
                    items.close()
                    course.finished()
                    raise thrown  # noqa: TRY301 - leaves like any other
                asked, outer = now(), around()
                total = end if end < outer else outer
                limit = asked + gap
                if limit > total:
                    if total <= asked and thrown is None:
                        items.close()
                        raise course.expired(total, came)  # noqa: TRY301 - likewise
                    limit = total
                try:
                    publish(limit)
                    if thrown is None:
                        item = send(value)
                    else:
                        item = items.throw(thrown)
                        thrown = None
                finally:
                    publish(outer)
                came = now()
                if came > limit:
                    course.late = True
        except StopIteration as stop:
            course.finished()
            return stop.value
        except BaseException as error:
            course.failed(error, thrown=error is thrown)
            thrown = None  # else the error and this frame would keep each other alive
            raise

    def first(plan: Plan, args: Any, kwargs: Any, told: Told | None) -> tuple[Course, Any, Any]:
        """The generator and its first item; None and the result where there is none. Raises what a call raises."""
        start, limit, outer = admit(cell, plan, now, told)
        operation: Operation | None = None
        while True:
            publish(limit)
            try:
                items = body(*args, **kwargs)
                item = items.send(None)
            except StopIteration as stop:
                items, item = None, stop.value
                break
            except BaseException as error:
                end = now()
                publish(outer)
                if operation is None:
                    operation = Operation(cell, plan, start, limit, outer, told)
                pause = operation.failed(error, end)
                if pause is None:
                    raise
            else:
                break
            try:
                sleep(pause)
            except BaseException as error:
                operation.disturbed(error, now())
                raise
            limit = operation.begin(now())
        end = now()
        publish(outer)
        return Course(cell, plan, now, start, operation, end, limit, told), items, item

    return call


def async_stream(
    body: Body,
    cell: Cell,
    clock: Clock,
    between: float | None,
    *,
    perceiver: Perceiver | None = None,
    keyed: Keying | None = None,
) -> Body:
    """The same for an async generator function, whose steps are cancelled at their limits. For asyncio and trio.

    A limit cancels the task that asks for the item, whichever that is, and only while it waits for the body. Closing
    has no limit: what the body does to clean up is waited for, as it is without POET.
    """
    now = clock.now
    publish, around = DEADLINE.set, DEADLINE.get
    gap = NEVER if between is None else between
    plain, body = body, body if clock is SYSTEM_CLOCK else _in_time(body, clock, _AsyncItems)
    on_asyncio = _asyncio_driver(now, cell.name)

    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        features: Context = ()
        if perceiver is not None:
            args, kwargs, features = await perceiver.look_async(args, kwargs)
        if keyed is not None:
            args, kwargs = keyed(args, kwargs)
        thrown: BaseException | None = None
        step: Any
        plan = cell.plan
        if plan is None and (cell.off or (plan := cell.start(cell)) is None):
            items = plain(*args, **kwargs)
            step = items.__anext__()
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                try:
                    value = yield item
                except BaseException as error:  # noqa: BLE001 - likewise
                    thrown = error
                if thrown is not None and isinstance(thrown, GeneratorExit):
                    await items.aclose()
                    raise thrown
                step = items.asend(value) if thrown is None else items.athrow(thrown)
                thrown = None
        driver = on_asyncio() or _trio_driver()
        if driver is None:
            raise _homeless(cell.name)
        told = _told(cell, plan, args, kwargs, features)
        course, items, item = await first(driver, plan if told is None else told[0], args, kwargs, told)
        if items is None:
            course.finished()
            return
        within, end, came = driver.later, course.end, course.came
        try:
            while True:
                try:
                    value = yield item
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the body
                    thrown = error  # not in the handler: else what the body raises would seem to come of it
                if thrown is not None and isinstance(thrown, GeneratorExit):
                    await items.aclose()
                    course.finished()
                    raise thrown  # noqa: TRY301 - leaves like any other
                asked, outer = now(), around()
                total = end if end < outer else outer
                limit = asked + gap
                if limit > total:
                    if total <= asked and thrown is None:
                        await items.aclose()
                        raise course.expired(total, came)  # noqa: TRY301 - likewise
                    limit = total
                try:
                    publish(limit)
                    step = items.asend(value) if thrown is None else items.athrow(thrown)
                    if asked < limit < NEVER:
                        item = await within(step, limit, asked)
                    else:  # no limit; or it has passed, and what was thrown in is not to be lost
                        item = await step
                    thrown = None
                finally:
                    publish(outer)
                if type(item) is Cut:
                    raise course.cut_off(total, gap if limit < total else None) from item.error  # noqa: TRY301 - likewise
                came = now()
                if came > limit:
                    course.late = True
        except StopAsyncIteration:
            course.finished()
        except BaseException as error:
            course.failed(error, thrown=error is thrown)
            thrown = step = None  # likewise; the step knows what it was to throw
            raise

    async def first(driver: Driver, plan: Plan, args: Any, kwargs: Any, told: Told | None) -> tuple[Course, Any, Any]:
        start, limit, outer = admit(cell, plan, now, told)
        began = start
        operation: Operation | None = None
        while True:
            publish(limit)
            try:
                items = body(*args, **kwargs)
                item = await driver.first(items.__anext__(), limit, began)
            except StopAsyncIteration:
                items = item = None
                break
            except BaseException as error:
                end = now()
                publish(outer)
                if operation is None:
                    operation = Operation(cell, plan, start, limit, outer, told)
                pause = operation.failed(error, end)
                if pause is None:
                    raise
            else:
                if type(item) is not Cut:
                    break
                end = now()
                publish(outer)
                if operation is None:
                    operation = Operation(cell, plan, start, limit, outer, told)
                pause = operation.failed(item.error, end, cut_off=True)
                if pause is None:
                    raise PoetTimeout(cell.name, limit - began) from item.error
            try:
                await driver.pause(pause)
            except BaseException as error:
                operation.disturbed(error, now())
                raise
            began = now()
            limit = operation.begin(began)
        end = now()
        publish(outer)
        return Course(cell, plan, now, start, operation, end, limit, told), items, item

    return call


class Course:
    """One stream from its first item on, or from its end where it had none. When it is over, the call is handed up.

    Until then it keeps its place in the brakes, as it keeps its connection.
    """

    __slots__ = (
        "_cell",
        "_now",
        "_operation",
        "_ours",
        "_over",
        "_punctual",
        "_start",
        "_told",
        "_version",
        "came",
        "end",
        "late",
    )

    def __init__(
        self,
        cell: Cell,
        plan: Plan,
        now: Callable[[], float],
        start: float,
        operation: Operation | None,
        came: float,
        limit: float,
        told: Told | None = None,
    ) -> None:
        """start: of the call; operation: of the attempts before this one; came, limit: of the first item [s].

        told: what the call uses beside its plan.
        """
        self._over = False
        self._cell, self._now, self._start, self._version = cell, now, start, plan.version
        self._operation = operation
        self._punctual = came <= limit
        self._told = told
        self._ours: tuple[PoetTimeout, Outcome] | None = None  # our own error, and what it says of the dependency
        self.came = came
        self.end = start + plan.deadline  # by when the stream must have ended [s]
        self.late = came > limit  # whether any item came after its limit
        if operation is not None:
            operation.error = None  # it would keep alive what failed, for as long as the stream lasts
            operation.served()

    def __del__(self) -> None:
        if not self._over:  # nobody has closed the generator: an async one whose loop is gone, say
            self.finished()

    def finished(self) -> None:
        """It is over and all is well: no more items, or the consumer wants no more, as it has what it wanted."""
        good = LATE if self.late else SUCCESS
        self._close(self._now(), good, good)

    def expired(self, total: float, came: float) -> PoetTimeout:
        """The error where ``total``, its end at the latest, has passed before an item is asked for.

        came: when the last item did [s]. If that was in time, it was the consumer who took too long.
        """
        return self._cut(total - self._start, "not finished", Outcome.TIMEOUT if came > total else Outcome.CANCELLED)

    def cut_off(self, total: float, gap: float | None) -> PoetTimeout:
        """The error of the item that did not come within ``gap`` seconds; None: not by ``total``."""
        if gap is None:
            return self._cut(total - self._start, "not finished", Outcome.TIMEOUT)
        return self._cut(gap, "no further item", Outcome.TIMEOUT)

    def failed(self, error: BaseException, *, thrown: bool) -> None:
        """It has broken off with ``error``; where it is over already, that is no news. thrown: in, by the consumer."""
        if self._over:
            return
        cell, now, name = self._cell, self._now(), type(error).__name__
        if self._ours is not None and error is self._ours[0]:
            outcome, verdict = Outcome.TIMEOUT, self._ours[1]
        else:
            outcome = verdict = Outcome.CANCELLED if thrown else outcome_of(cell, error)
        self._ours = None  # the error's traceback knows our frame: they would keep each other alive
        self._close(now, outcome, verdict, name)
        event = Event(
            "attempt_failed",
            cell.name,
            cell.brakes.name,
            1 if self._operation is None else self._operation.number,
            now - self._began,
            outcome=outcome.name.lower(),
            error=name,
            detail="after the first item",
        )
        cell.tell(event)
        if outcome in WORTH_RETRYING:
            cell.tell(event._replace(kind="gave_up", seconds=0.0))

    @property
    def _began(self) -> float:
        """Start of the attempt that gave the first item [s]."""
        return self._start if self._operation is None else self._operation.began

    def _cut(self, span: float, what: str, verdict: Outcome) -> PoetTimeout:
        error = PoetTimeout(self._cell.name, max(0.0, span))
        error.reason = f"{what} within {error.limit:.6g} s"
        self._ours = error, verdict
        return error

    def _close(self, now: float, outcome: Outcome, verdict: Outcome, error: str = "") -> None:
        self._over = True
        cell, operation, start = self._cell, self._operation, self._start
        brakes, channel = cell.brakes, cell.channel
        first = SUCCESS if self._punctual else LATE
        if operation is None:
            attempts: tuple[Attempt, ...] = (Attempt(first, self.came - start),)
        else:
            attempts = (*operation.attempts, Attempt(first, self.came - operation.began, operation.waited))
        if brakes.guarded:
            # How fast the dependency answers, the first item tells.
            brakes.ended(self._began, now, verdict, took=self.came - self._began)
        detail: Detail | None
        detail = plainly = (outcome, attempts, error, ())
        if self._told is not None:
            _, context, draw, values = self._told
            detail = detailed(plainly, context, draw, values, NO_SCORE)
        channel.keep((channel.count(), start, now, self._version, detail))


def _told(cell: Cell, plan: Plan, args: Any, kwargs: Any, features: Context) -> Told | None:
    """What a call uses beside its plan; writes into ``kwargs``. features: that ``perceive`` has told of its input."""
    chooser = cell.chooser
    if chooser is None:
        return None
    token = FEATURES.set(features)
    try:
        return chooser.choose(plan, args, kwargs)
    finally:
        FEATURES.reset(token)


class Cut(NamedTuple):
    """In place of an item: the step was cancelled at its limit, and by nobody else."""

    error: BaseException


class Driver(NamedTuple):
    """What it takes to limit steps, and to pause, in one async library."""

    first: Within
    later: Within
    pause: Callable[[float], Awaitable[Any]]


def _homeless(name: str) -> ConfigurationError:
    return ConfigurationError(f"{name} must be iterated inside a task of asyncio or trio")


def _asyncio_driver(now: Callable[[], float], name: str) -> Callable[[], Driver | None]:
    """What gives the driver inside a task of asyncio, and None elsewhere. name: of the function."""
    # Loaded only for those who have async functions: the import costs tens of milliseconds.
    from asyncio import current_task, get_running_loop
    from asyncio import sleep as pause_for

    from poet.calls.watch import Guarded, Watches, was_cut_off, watch_on

    def limited() -> Within:
        watches = Watches(now)

        async def within(step: Awaitable[Any], limit: float, start: float) -> Any:
            loop = get_running_loop()
            task = current_task(loop)
            if task is None:
                raise _homeless(name)
            cancelling = task.cancelling()
            watch = watch_on(loop, watches)
            attempt = Guarded(limit, task)
            watch.enter(attempt, start)
            try:
                item = await step
            except BaseException as error:
                watch.leave(attempt)
                if was_cut_off(attempt, task, cancelling, error):
                    return Cut(error)
                raise
            watch.leave(attempt)
            if attempt.fired:  # the body swallowed our cancellation and went on all the same
                task.uncancel()
            return item

        return within

    # Apart, as the limits in one watch should come in rising order, and those of first items are others.
    driver = Driver(limited(), limited(), pause_for)

    def here() -> Driver | None:
        try:
            return driver if current_task() is not None else None
        except RuntimeError:  # no loop of asyncio runs
            return None

    return here


def _trio_driver() -> Driver | None:
    """The driver inside a task of trio, None elsewhere."""
    trio = sys.modules.get("trio")  # who runs under it has loaded it
    if trio is None:
        return None
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return None
    return _make_trio_driver()


@cache
def _make_trio_driver() -> Driver:
    import trio

    async def within(step: Awaitable[Any], limit: float, start: float) -> Any:
        with trio.move_on_after(limit - start):
            return await step
        return Cut(trio.TooSlowError())

    return Driver(within, within, trio.sleep)


def _in_time(body: Body, clock: Clock, steps: Callable[[Any, Callable[[], float]], Any]) -> Body:
    """``body`` with ``remaining()`` read from ``clock`` in each of its steps: needed for virtual clocks only."""

    def in_time(*args: Any, **kwargs: Any) -> Any:
        token = TIME.set(clock.now)
        try:
            return steps(body(*args, **kwargs), clock.now)
        finally:
            TIME.reset(token)

    return in_time


class _Items:
    """A generator in the time of another clock."""

    __slots__ = ("_items", "_now")

    def __init__(self, items: Any, now: Callable[[], float]) -> None:
        self._items, self._now = items, now

    def send(self, value: Any) -> Any:
        return self._step(self._items.send, value)

    def throw(self, error: BaseException) -> Any:
        return self._step(self._items.throw, error)

    def close(self) -> None:
        self._step(self._items.close)

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        token = TIME.set(self._now)
        try:
            return step(*args)
        finally:
            TIME.reset(token)


class _AsyncItems:
    """An async generator in the time of another clock."""

    __slots__ = ("_items", "_now")

    def __init__(self, items: Any, now: Callable[[], float]) -> None:
        self._items, self._now = items, now

    async def __anext__(self) -> Any:
        return await self._step(self._items.__anext__())

    async def asend(self, value: Any) -> Any:
        return await self._step(self._items.asend(value))

    async def athrow(self, error: BaseException) -> Any:
        return await self._step(self._items.athrow(error))

    async def aclose(self) -> None:
        await self._step(self._items.aclose())

    async def _step(self, step: Awaitable[Any]) -> Any:
        token = TIME.set(self._now)
        try:
            return await step
        finally:
            TIME.reset(token)
