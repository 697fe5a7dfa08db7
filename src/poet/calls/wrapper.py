"""P, O, E: a call under one plan. Sync or async, checked or not, is decided once, at decoration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from poet.calls.cell import Cell
from poet.calls.deadline import DEADLINE, TIME
from poet.calls.operate import Operation
from poet.errors import ConfigurationError, PoetTimeout, ResultRejected
from poet.model.execution import LATE
from poet.seams import SYSTEM_CLOCK, Clock

Body = Callable[..., Any]
Perceive = Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]
Enforce = Callable[[Any], object]


def wrap(
    function: Body,
    cell: Cell,
    *,
    clock: Clock = SYSTEM_CLOCK,
    perceive: Perceive | None = None,
    enforce: Enforce | None = None,
) -> Body:
    """``function``, one that may be wrapped, under ``cell``'s plan and with the same signature."""
    is_async = inspect.iscoroutinefunction(function)
    body = function if clock is SYSTEM_CLOCK else _in_time(function, clock, is_async)
    if enforce is not None:
        body = _enforced(body, enforce, cell.name, is_async)
    call = _async_call(body, cell, clock) if is_async else _sync_call(body, cell, clock)
    if perceive is not None:
        call = _perceived(call, perceive, is_async)
    return functools.wraps(function)(call)


def refuse_what_cannot_be_wrapped(function: Body) -> None:
    """Raises ConfigurationError, with what to do, where ``function`` is not a plain or an async function."""
    if isinstance(function, staticmethod | classmethod):
        raise ConfigurationError(f"put @poet below @{type(function).__name__}, next to the function")
    if inspect.isclass(function) or not inspect.isroutine(function):
        raise ConfigurationError(f"@poet decorates functions and methods, got {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"{function.__qualname__} is a generator; @poet does not run generators yet: decorate the call inside it"
        )


def _sync_call(body: Body, cell: Cell, clock: Clock) -> Body:
    now, sleep, flip = clock.now, clock.sleep, cell.flip
    publish, around = DEADLINE.set, DEADLINE.get
    channel = cell.channel
    sequence, append, note = channel.count, channel.records.append, channel.last.set

    def call(*args: Any, **kwargs: Any) -> Any:
        plan = cell.plan
        if plan is None and (cell.off or (plan := cell.start(cell)) is None):
            return body(*args, **kwargs)
        start = now()
        limit = start + plan.first
        if plan.probe_limit and flip() < plan.probe_limit:
            limit = start + plan.stretched
        outer = around()
        if limit > outer:
            if outer <= start:
                raise PoetTimeout(cell.name, 0.0)
            limit = outer
        publish(limit)
        try:
            result = body(*args, **kwargs)
        except BaseException as error:
            end = now()
            publish(outer)
            operation = Operation(cell, plan, start, limit, outer)
            pause = operation.failed(error, end)
            if pause is None:
                raise
        else:
            end = now()
            publish(outer)
            record = (sequence(), start, end, plan.version, None if end <= limit else LATE)
            append(record)
            note(record)
            return result
        return again(operation, pause, outer, args, kwargs)

    def again(operation: Operation, pause: float, outer: float, args: Any, kwargs: Any) -> Any:
        while True:
            try:
                sleep(pause)
                limit = operation.begin(now())
                publish(limit)
                result = body(*args, **kwargs)
            except BaseException as error:
                end = now()
                publish(outer)
                wait = operation.failed(error, end)
                if wait is None:
                    raise
                pause = wait
            else:
                end = now()
                publish(outer)
                operation.answered(end, limit)
                return result

    return call


def _async_call(body: Callable[..., Awaitable[Any]], cell: Cell, clock: Clock) -> Body:
    # Loaded only for those who have async functions: the import costs tens of milliseconds.
    from asyncio import CancelledError, Task, current_task, get_running_loop
    from asyncio import sleep as pause_for

    from poet.calls.watch import Guarded, Watches

    now, flip = clock.now, cell.flip
    publish, around = DEADLINE.set, DEADLINE.get
    channel = cell.channel
    sequence, append, note = channel.count, channel.records.append, channel.last.set
    watch_on = Watches(now).on

    def is_ours(error: BaseException, attempt: Guarded, task: Task[Any], cancelling: int) -> bool:
        """Whether ``error`` is the cancellation that we asked for at the limit, and nobody else asked for one.

        As asyncio.timeout does it: our own request is taken back in any case; what is left is the caller's.
        """
        return attempt.fired and task.uncancel() <= cancelling and isinstance(error, CancelledError)

    async def call(*args: Any, **kwargs: Any) -> Any:
        plan = cell.plan
        if plan is None and (cell.off or (plan := cell.start(cell)) is None):
            return await body(*args, **kwargs)
        loop = get_running_loop()
        task = current_task(loop)
        if task is None:
            raise ConfigurationError(f"{cell.name} must run inside an asyncio task")
        cancelling = task.cancelling()
        start = now()
        limit = start + plan.first
        if plan.probe_limit and flip() < plan.probe_limit:
            limit = start + plan.stretched
        outer = around()
        if limit > outer:
            if outer <= start:
                raise PoetTimeout(cell.name, 0.0)
            limit = outer
        watch = watch_on(loop)
        attempt = watch.enter(limit, start, task)
        publish(limit)
        try:
            result = await body(*args, **kwargs)
        except BaseException as error:
            end = now()
            watch.leave(attempt)
            publish(outer)
            cut_off = is_ours(error, attempt, task, cancelling)
            operation = Operation(cell, plan, start, limit, outer)
            pause = operation.failed(error, end, cut_off=cut_off)
            if pause is None:
                if cut_off:
                    raise PoetTimeout(cell.name, limit - start) from error
                raise
        else:
            end = now()
            watch.leave(attempt)
            publish(outer)
            if attempt.fired:  # the body swallowed our cancellation and answered all the same
                task.uncancel()
            record = (sequence(), start, end, plan.version, None if end <= limit else LATE)
            append(record)
            note(record)
            return result
        return await again(operation, pause, outer, task, args, kwargs)

    async def again(operation: Operation, pause: float, outer: float, task: Task[Any], args: Any, kwargs: Any) -> Any:
        watch = watch_on(get_running_loop())
        while True:
            attempt: Guarded | None = None
            cancelling = task.cancelling()
            limit = began = now()
            try:
                await pause_for(pause)
                began = now()
                limit = operation.begin(began)
                attempt = watch.enter(limit, began, task)
                publish(limit)
                result = await body(*args, **kwargs)
            except BaseException as error:
                end = now()
                publish(outer)
                cut_off = False
                if attempt is not None:
                    watch.leave(attempt)
                    cut_off = is_ours(error, attempt, task, cancelling)
                wait = operation.failed(error, end, cut_off=cut_off)
                if wait is None:
                    if cut_off:
                        raise PoetTimeout(cell.name, limit - began) from error
                    raise
                pause = wait
            else:
                end = now()
                watch.leave(attempt)
                publish(outer)
                if attempt.fired:
                    task.uncancel()
                operation.answered(end, limit)
                return result

    return call


def _in_time(body: Body, clock: Clock, is_async: bool) -> Body:
    """``body`` with ``remaining()`` read from ``clock``: needed for virtual clocks only."""
    if is_async:

        async def in_time_async(*args: Any, **kwargs: Any) -> Any:
            token = TIME.set(clock.now)
            try:
                return await body(*args, **kwargs)
            finally:
                TIME.reset(token)

        return in_time_async

    def in_time(*args: Any, **kwargs: Any) -> Any:
        token = TIME.set(clock.now)
        try:
            return body(*args, **kwargs)
        finally:
            TIME.reset(token)

    return in_time


def _enforced(body: Body, enforce: Enforce, name: str, is_async: bool) -> Body:
    """``body`` whose result is checked inside the attempt: a rejected result is an attempt that failed."""

    def check(result: Any) -> Any:
        if enforce(result) is False:
            raise ResultRejected(name)
        return result

    if is_async:

        async def enforced_async(*args: Any, **kwargs: Any) -> Any:
            return check(await body(*args, **kwargs))

        return enforced_async

    def enforced(*args: Any, **kwargs: Any) -> Any:
        return check(body(*args, **kwargs))

    return enforced


def _perceived(call: Body, perceive: Perceive, is_async: bool) -> Body:
    """``call`` whose input passes through ``perceive`` once, before the first attempt."""
    if is_async:

        async def perceived_async(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = perceive(*args, **kwargs)
            return await call(*args, **kwargs)

        return perceived_async

    def perceived(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = perceive(*args, **kwargs)
        return call(*args, **kwargs)

    return perceived
