"""A call of an async function under one plan, in a task of asyncio; loaded with the first such function.

Thousands of functions have a call of their own, so it holds the body and the cell, and nothing else: each name that an
inner function takes from an outer one takes 48 bytes. The rest is the module's, or the cell's.
"""

from __future__ import annotations

from asyncio import Task, current_task, get_running_loop
from asyncio import sleep as pause_for
from collections.abc import Awaitable, Callable
from typing import Any

from poet.calls.cell import Cell
from poet.calls.choosing import Told
from poet.calls.deadline import DEADLINE
from poet.calls.hedge import Raced, sent_before
from poet.calls.hedge_tasks import Race
from poet.calls.operate import Operation, expired
from poet.calls.plan import Plan
from poet.calls.watch import Guarded, was_cut_off, watch_on
from poet.errors import PoetTimeout, Shed
from poet.model.execution import LATE, Detail

AsyncBody = Callable[..., Awaitable[Any]]

_publish, _around = DEADLINE.set, DEADLINE.get


def async_call(body: AsyncBody, cell: Cell) -> Callable[..., Any]:
    """``body`` under ``cell``'s plan."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        plan = cell.plan
        if plan is None and (cell.off or (plan := cell.start(cell)) is None):
            return await body(*args, **kwargs)
        told = None
        if (chooser := cell.chooser) is not None:
            told = chooser.choose(plan, args, kwargs)
            if told is not None:
                plan = told[0]
        try:
            loop = get_running_loop()
            task = current_task(loop)
        except RuntimeError:  # not asyncio's
            task = None
        if task is None:  # outside of the handler: else what the body raises would seem to come of that error
            return await _elsewhere(body, cell, plan, args, kwargs, told)
        cancelling = task.cancelling()
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
        watch = cell.watch
        if watch is None or watch.loop is not loop:
            watch = watch_on(loop, cell)
        _publish(limit)
        race: Race | None = None
        if not (plan.hedges and cell.hedges):
            attempt = Guarded(limit, task)
        else:
            attempt = race = Race(body, cell, plan, start, limit, loop, task, cancelling, args, kwargs)
        watch.enter(attempt, start)
        try:
            result = await body(*args, **kwargs) if race is None else await race.run()
        except BaseException as error:
            end = now()
            watch.leave(attempt)
            _publish(outer)
            sent = sent_before(error)
            operation = Operation(cell, plan, start, limit, outer, told)
            if was_cut_off(attempt, task, cancelling, error):
                timeout = PoetTimeout(cell.name, limit - start)  # also what a refused retry raises: not our cancelling
                pause = operation.failed(timeout, end, cut_off=True, sent=sent)
                if pause is None:
                    try:
                        raise timeout from error
                    finally:
                        del timeout  # else its traceback and this frame, with the arguments, keep each other
            else:
                pause = operation.failed(error, end, sent=sent)
                if pause is None:
                    raise
        else:
            end = now()
            watch.leave(attempt)
            _publish(outer)
            if attempt.fired:  # the body swallowed our cancellation and answered all the same
                task.uncancel()
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
        return await _again(body, operation, pause, task, args, kwargs)

    return call


async def _again(
    body: AsyncBody,
    operation: Operation,
    pause: float,
    task: Task[Any],
    args: Any,
    kwargs: Any,
) -> Any:
    """The attempts after the first."""
    loop, cell, plan, outer = get_running_loop(), operation.cell, operation.plan, operation.outer
    now, watch = cell.now, watch_on(loop, cell)
    while True:
        try:
            await pause_for(pause)
        except BaseException as error:
            operation.disturbed(error, now())
            raise
        cancelling = task.cancelling()
        began = now()
        limit = operation.begin(began)
        _publish(limit)
        race: Race | None = None
        if not (plan.hedges and cell.hedges):
            attempt = Guarded(limit, task)
        else:
            attempt = race = Race(body, cell, plan, began, limit, loop, task, cancelling, args, kwargs)
        watch.enter(attempt, began)
        try:
            result = await body(*args, **kwargs) if race is None else await race.run()
        except BaseException as error:
            end = now()
            watch.leave(attempt)
            _publish(outer)
            sent = sent_before(error)
            if was_cut_off(attempt, task, cancelling, error):
                timeout = PoetTimeout(cell.name, limit - began)
                wait = operation.failed(timeout, end, cut_off=True, sent=sent)
                if wait is None:
                    try:
                        raise timeout from error
                    finally:
                        del timeout  # likewise
            else:
                wait = operation.failed(error, end, sent=sent)
                if wait is None:
                    raise
            pause = wait
        else:
            end = now()
            watch.leave(attempt)
            _publish(outer)
            if attempt.fired:
                task.uncancel()
            if race is not None and type(result) is Raced:
                operation.answered(end, limit, result.result, result.sent)
                return result.result
            operation.answered(end, limit, result)
            return result


def _elsewhere(body: AsyncBody, cell: Cell, plan: Plan, args: Any, kwargs: Any, told: Told | None) -> Awaitable[Any]:
    """Under trio; anything else cannot be served."""
    from poet.calls.trio_call import call_under_trio

    return call_under_trio(body, cell, cell.now, plan, args, kwargs, told)
