"""P, O, E: a call under one plan. What a function needs of it is decided once, at decoration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from poet.calls.cell import Cell
from poet.calls.deadline import DEADLINE, TIME
from poet.calls.enforce import Enforcer, Unsatisfying
from poet.calls.hedge import Raced, sent_before
from poet.calls.keys import keyed, keying
from poet.calls.operate import Operation, expired
from poet.calls.perceive import FEATURES, Perceiver
from poet.calls.plan import Plan
from poet.errors import ConfigurationError, Shed
from poet.model.execution import LATE, Detail
from poet.seams import SYSTEM_CLOCK

Body = Callable[..., Any]
Mode = Literal["cooperative", "thread", "signal", "process"]
Kind = Literal["sync", "async", "generator", "async generator"]

_publish, _around = DEADLINE.set, DEADLINE.get


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What a function's call is made of beside the function."""

    mode: Mode = "cooperative"  # how a sync function's limit is enforced
    timeout_arg: Any = None  # the argument that is told the remaining seconds
    key_arg: str | None = None  # the argument that is told the call's idempotency key
    perceiver: Perceiver | None = None
    normal: Perceiver | None = None  # looks at what each attempt gets, tuned arguments included
    enforcer: Enforcer | None = None
    repeats: bool = False  # whether the enforcer asks for repetition of results
    between: float | None = None  # longest wait for an item after the first, of a generator [s]


def kind_of(function: Body) -> Kind:
    """Which of the four it is."""
    if inspect.isasyncgenfunction(function):
        return "async generator"
    if inspect.isgeneratorfunction(function):
        return "generator"
    return "async" if inspect.iscoroutinefunction(function) else "sync"


def wrap(function: Body, cell: Cell, stages: Stages) -> Body:
    """``function``, one that may be wrapped, under ``cell``'s plan and with the same signature."""
    kind, clock = kind_of(function), cell.clock
    is_async = kind == "async"
    plain = body = function if clock is SYSTEM_CLOCK else _in_time(function, cell.now, kind)
    warm: Callable[[float], None] | None = None
    if stages.mode == "thread":
        from poet.calls.workers import threaded

        body = threaded(plain, cell.name, now=clock.now, tell=cell.tell)
    elif stages.mode == "signal":
        from poet.calls.alarm import under_alarm

        body = under_alarm(plain, cell.name, now=clock.now)
    elif stages.mode == "process":
        from poet.calls.process import in_process

        body = in_process(function, cell.name, now=clock.now, tell=cell.tell)
        warm = body.warm  # starts its process, which is no part of an attempt
    if stages.timeout_arg is not None:
        from poet.calls.inject import injected

        plain, body = (
            injected(function, each, stages.timeout_arg, name=cell.name, now=clock.now) for each in (plain, body)
        )
    if stages.normal is not None:
        plain, body = (_normal(each, stages.normal) for each in (plain, body))
    put_key = None if stages.key_arg is None else keying(function, stages.key_arg)
    if kind == "generator" or kind == "async generator":
        from poet.calls.streams import async_stream, stream

        make = stream if kind == "generator" else async_stream
        call: Body = make(body, cell, clock, stages.between, perceiver=stages.perceiver, keyed=put_key)
        return functools.wraps(function)(call)
    if stages.enforcer is not None:
        plain, body = (_enforced(each, stages.enforcer, is_async) for each in (plain, body))
    if is_async:
        from poet.calls.async_call import async_call  # the import of asyncio costs tens of milliseconds

        call = async_call(body, cell)
    else:
        call = _sync_call(body, plain, cell, warm)
    if stages.repeats:
        call = _giving(call, is_async)
    if put_key is not None:
        call = keyed(call, put_key, is_async)
    if stages.perceiver is not None:
        call = _perceived(call, stages.perceiver, is_async)
    return functools.wraps(function)(call)


def refuse_what_cannot_be_wrapped(function: Body) -> None:
    """Raises ConfigurationError, with what to do, where ``function`` is no function."""
    if isinstance(function, staticmethod | classmethod):
        raise ConfigurationError(f"put @poet below @{type(function).__name__}, next to the function")
    if inspect.isclass(function) or not inspect.isroutine(function):
        raise ConfigurationError(f"@poet decorates functions and methods, got {function!r}")


def _sync_call(body: Body, plain: Body, cell: Cell, warm: Callable[[float], None] | None = None) -> Body:
    """warm: called before an attempt is begun, with the moment that it must not wait beyond."""
    # What ``call`` takes from here takes 48 bytes for each of thousands of functions; so it reads what it can off the
    # cell.
    race: Callable[[Plan, Any, Any], Any] | None = None
    if cell.hedges:
        from poet.calls.hedge_threads import racing

        race = racing(plain, cell, cell.now)

    def call(*args: Any, **kwargs: Any) -> Any:
        plan = cell.plan
        if plan is None and (cell.off or (plan := cell.start(cell)) is None):
            return plain(*args, **kwargs)
        told = None
        if (chooser := cell.chooser) is not None:
            told = chooser.choose(plan, args, kwargs)
            if told is not None:
                plan = told[0]
        if warm is not None:
            warm(_around())
        now = cell.now
        start = now()
        limit = start + plan.first
        if plan.probe_limit and cell.flip() < plan.probe_limit:
            limit = start + plan.stretched
        outer = _around()
        if limit > outer:
            if outer <= start:
                raise expired(cell, plan, start, told)
            limit = outer
        brakes = cell.guard
        if brakes is not None and (brakes.slots is not None or (brakes.circuit is not None and brakes.circuit.shut)):
            try:
                brakes.enter(cell.name, start)
            except Shed as error:
                Operation(cell, plan, start, limit, outer, told).shed(error, start)
                raise
        _publish(limit)
        try:
            result = body(*args, **kwargs) if race is None or not plan.hedges else race(plan, args, kwargs)
        except BaseException as error:
            end = now()
            _publish(outer)
            operation = Operation(cell, plan, start, limit, outer, told)
            pause = operation.failed(error, end, sent=sent_before(error))
            if pause is None:
                raise
        else:
            end = now()
            _publish(outer)
            if race is not None and type(result) is Raced:
                Operation(cell, plan, start, limit, outer, told).answered(end, limit, result.result, result.sent)
                return result.result
            if brakes is not None:
                if brakes.slots is not None:
                    brakes.slots.append(None)
                circuit = brakes.circuit
                if circuit is not None:
                    if circuit.shut or circuit.minds_slowness:
                        circuit.answered(start, end)
                    else:
                        circuit.ended.append(end)
            detail: Detail | None = None if end <= limit else LATE
            if told is not None and chooser is not None:
                detail = chooser.detail(None if end <= limit else LATE, told, result, end - start)
            channel = cell.channel
            number = next(channel.sequence)
            channel.number = number + 1
            record = (number, start, end, plan.version, detail)
            channel.records.append(record)
            channel.last.set(record)
            if number >= channel.full:
                channel.trim(number)
            return result
        return _again(body, race, warm, operation, pause, args, kwargs)

    return call


def _again(
    body: Body,
    race: Callable[[Plan, Any, Any], Any] | None,
    warm: Callable[[float], None] | None,
    operation: Operation,
    pause: float,
    args: Any,
    kwargs: Any,
) -> Any:
    """The attempts after the first."""
    cell, plan, outer = operation.cell, operation.plan, operation.outer
    now = cell.now
    while True:
        try:
            cell.clock.sleep(pause)
            if warm is not None:
                warm(operation.end)
        except BaseException as error:
            operation.disturbed(error, now())
            raise
        limit = operation.begin(now())
        _publish(limit)
        try:
            result = body(*args, **kwargs) if race is None or not plan.hedges else race(plan, args, kwargs)
        except BaseException as error:
            end = now()
            _publish(outer)
            wait = operation.failed(error, end, sent=sent_before(error))
            if wait is None:
                raise
            pause = wait
        else:
            end = now()
            _publish(outer)
            if race is not None and type(result) is Raced:
                operation.answered(end, limit, result.result, result.sent)
                return result.result
            operation.answered(end, limit, result)
            return result


def _in_time(body: Body, now: Callable[[], float], kind: Kind) -> Body:
    """``body`` with ``remaining()`` read from ``now``: needed for virtual clocks only."""
    if kind == "async":
        return functools.partial(_in_time_async, body, now)
    # a generator's items are timed one by one, by the stream itself
    return functools.partial(_in_time_sync, body, now) if kind == "sync" else body


async def _in_time_async(body: Body, now: Callable[[], float], /, *args: Any, **kwargs: Any) -> Any:
    token = TIME.set(now)
    try:
        return await body(*args, **kwargs)
    finally:
        TIME.reset(token)


def _in_time_sync(body: Body, now: Callable[[], float], /, *args: Any, **kwargs: Any) -> Any:
    token = TIME.set(now)
    try:
        return body(*args, **kwargs)
    finally:
        TIME.reset(token)


def _normal(body: Body, perceiver: Perceiver) -> Body:
    """``body`` whose arguments are looked at inside the attempt. What it gives is awaited or iterated by others."""

    def normal(*args: Any, **kwargs: Any) -> Any:
        args, kwargs, _ = perceiver.look(args, kwargs)
        return body(*args, **kwargs)

    return normal


def _enforced(body: Body, enforcer: Enforcer, is_async: bool) -> Body:
    """``body`` whose result is checked inside the attempt."""
    check = enforcer.check
    if is_async:
        check_async = enforcer.check_async
        if enforcer.may_await:

            async def enforced_later(*args: Any, **kwargs: Any) -> Any:
                return await check_async(await body(*args, **kwargs))

            return enforced_later

        async def enforced_async(*args: Any, **kwargs: Any) -> Any:
            return check(await body(*args, **kwargs))

        return enforced_async

    def enforced(*args: Any, **kwargs: Any) -> Any:
        return check(body(*args, **kwargs))

    return enforced


def _giving(call: Body, is_async: bool) -> Body:
    """``call`` that gives the last result where none was to ``retry_on``'s liking."""
    if is_async:

        async def giving_async(*args: Any, **kwargs: Any) -> Any:
            try:
                return await call(*args, **kwargs)
            except Unsatisfying as last:
                return last.result

        return giving_async

    def giving(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Unsatisfying as last:
            return last.result

    return giving


def _perceived(call: Body, perceiver: Perceiver, is_async: bool) -> Body:
    """``call`` whose input is perceived once, before the first attempt."""
    if is_async:

        async def perceived_async(*args: Any, **kwargs: Any) -> Any:
            args, kwargs, context = await perceiver.look_async(args, kwargs)
            token = FEATURES.set(context)
            try:
                return await call(*args, **kwargs)
            finally:
                FEATURES.reset(token)

        return perceived_async

    def perceived(*args: Any, **kwargs: Any) -> Any:
        args, kwargs, context = perceiver.look(args, kwargs)
        token = FEATURES.set(context)
        try:
            return call(*args, **kwargs)
        finally:
            FEATURES.reset(token)

    return perceived
