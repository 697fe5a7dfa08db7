from __future__ import annotations

import asyncio
import gc
import math
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import poet
from houses import House
from poet.calls.trio_call import SPARE, Race, Timer
from poet.model.execution import Execution, Outcome
from poet.seams import SYSTEM_CLOCK
from poet.testing.clock import VirtualClock, run

CALLS = poet.Budget(floor=1000)


class TrioTime:
    """The time of a run of trio on a clock that jumps; it may be read outside of the run, too."""

    def __init__(self) -> None:
        self.mock = MockClock(autojump_threshold=0)

    def now(self) -> float:
        return self.mock.current_time()

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now()

    def sleep(self, seconds: float) -> None:
        self.mock.jump(seconds)


def a_house(**settings: Any) -> House:
    return House(clock=TrioTime(), **settings)


def play(house: House, main: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    assert isinstance(house.clock, TrioTime)
    return trio.run(main, *args, clock=house.clock.mock)


def recorded(house: House, function: Any) -> list[Execution]:
    house.agent.flush()
    return list(house.store.executions(function.poet._trainee.key))


def outcomes(execution: Execution) -> list[tuple[Outcome, bool]]:
    return [(attempt.outcome, attempt.hedge) for attempt in execution.attempts]


# --- one attempt


def test_an_attempt_is_cancelled_at_its_limit_and_comes_out_as_a_timeout() -> None:
    house = a_house()
    cancelled: list[float] = []

    @house.poet(timeout=1.5, retries=0)
    async def fetch() -> None:
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            cancelled.append(house.clock.now())
            raise

    async def main() -> Any:
        with pytest.raises(poet.PoetTimeout, match=r"no answer within 1\.5 s"):
            await fetch()
        return fetch.poet.last

    execution = play(house, main)
    assert cancelled == [1.5]
    assert execution.outcome is Outcome.TIMEOUT
    assert execution.error == "PoetTimeout"


def test_an_answer_in_time_leaves_a_plain_record() -> None:
    house = a_house()

    @house.poet(timeout=1.0)
    async def fetch() -> str:
        await trio.sleep(0.5)
        return "done"

    assert play(house, fetch) == "done"
    ((sequence, start, end, version, detail),) = fetch.poet._cell.channel.records
    assert (sequence, end - start, version, detail) == (0, 0.5, 1, None)


def test_a_timeout_is_retried_under_a_fresh_limit() -> None:
    house = a_house()
    lengths = iter([60.0, 60.0, 0.5])

    @house.poet(timeout=1.0, retries=2)
    async def fetch() -> str:
        await trio.sleep(next(lengths))
        return "done"

    async def main() -> Any:
        assert await fetch() == "done"
        return fetch.poet.last

    execution = play(house, main)
    assert [a.outcome for a in execution.attempts] == [Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.SUCCESS]
    assert [a.seconds for a in execution.attempts] == pytest.approx([1.0, 1.0, 0.5])
    assert execution.seconds == pytest.approx(2.5 + sum(a.waited for a in execution.attempts))


def test_an_answer_from_behind_a_shield_is_late_and_used() -> None:
    house = a_house()

    @house.poet(timeout=1.0)
    async def fetch() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)
        return "late"

    async def main() -> Any:
        assert await fetch() == "late"
        await trio.sleep(5)
        return fetch.poet.last

    execution = play(house, main)
    assert execution.outcome is Outcome.LATE
    assert execution.seconds == pytest.approx(1.5)


def test_an_error_raised_while_being_cut_off_comes_out_as_it_is() -> None:
    house = a_house()

    @house.poet(timeout=1.0, retries=3)
    async def fetch() -> None:
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            raise KeyError("closing failed") from None

    async def main() -> None:
        with pytest.raises(KeyError, match="closing failed"):
            await fetch()
        assert fetch.poet.last.outcome is Outcome.REFUSED

    play(house, main)


def test_the_traceback_of_an_error_has_few_lines_of_ours() -> None:
    house = House(clock=SYSTEM_CLOCK)

    @house.poet(retries=0)
    async def plain() -> None:
        raise KeyError

    @house.poet(retries=0, hedge_delay=1.0)
    async def hedged() -> None:
        raise KeyError

    async def main() -> None:
        for fetch, most in ((plain, 3), (hedged, 5)):
            with pytest.raises(KeyError) as caught:
                await fetch()
            ours = [f for f in traceback.extract_tb(caught.value.__traceback__) if "poet/calls/" in f.filename]
            assert len(ours) <= most

    trio.run(main)


# --- deadlines


def test_a_body_reads_what_remains_and_nested_calls_end_with_the_call_around_them() -> None:
    house = a_house()
    read: list[float | None] = []

    @house.poet(timeout=10.0, retries=0)
    async def inner() -> None:
        read.append(poet.remaining())
        await trio.sleep(60)

    @house.poet(timeout=2.0, retries=0)
    async def outer() -> None:
        await trio.sleep(0.5)
        await inner()

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await outer()
        assert house.clock.now() == pytest.approx(2.0)
        assert poet.deadline() is None

    play(house, main)
    assert read == [1.5]


def test_the_deadline_of_the_whole_call_shortens_its_last_attempt() -> None:
    house = a_house()

    @house.poet(timeout=2.0, retries=5, deadline=5.0, backoff=0)
    async def fetch() -> None:
        await trio.sleep(60)

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await fetch()
        assert house.clock.now() == pytest.approx(5.0)

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert [a.seconds for a in execution.attempts] == pytest.approx([2.0, 2.0, 1.0])


def test_a_call_whose_deadline_has_passed_is_not_made() -> None:
    house = a_house()

    @house.poet(timeout=1.0, retries=0)
    async def inner() -> None:
        raise AssertionError

    @house.poet(timeout=1.0, retries=0)
    async def outer() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2.0)
            await inner()

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout, match="inner"):
            await outer()

    play(house, main)
    (execution,) = recorded(house, inner)
    assert outcomes(execution) == [(Outcome.SHED, False)]


def test_tasks_of_a_body_inherit_its_deadline() -> None:
    house = a_house()
    read: list[float | None] = []

    async def child() -> None:
        read.append(poet.remaining())

    @house.poet(timeout=4.0)
    async def fetch() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    play(house, fetch)
    assert read == [4.0]


# --- cancellation from outside


@pytest.mark.parametrize("hedging", [{}, {"hedge_delay": 0.25, "hedges": 2}])
def test_an_outer_cancellation_is_never_swallowed(hedging: dict[str, Any]) -> None:
    house = a_house()

    @house.poet(timeout=10.0, retries=5, **hedging)
    async def fetch() -> None:
        await trio.sleep(60)

    async def main() -> None:
        with trio.move_on_after(1.0) as around:
            await fetch()
        assert around.cancelled_caught
        assert house.clock.now() == 1.0

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert {a.outcome for a in execution.attempts} == {Outcome.CANCELLED}
    assert execution.outcome is Outcome.CANCELLED
    assert execution.attempts[0].seconds == pytest.approx(1.0)


@pytest.mark.parametrize("hedging", [{}, {"hedge_delay": 0.25, "hedges": 2}])
def test_an_outer_cancellation_at_the_very_moment_of_our_limit_wins(hedging: dict[str, Any]) -> None:
    house = a_house()

    @house.poet(timeout=2.0, retries=5, **hedging)
    async def fetch() -> None:
        await trio.sleep(60)

    async def main() -> None:
        with trio.move_on_after(2.0) as around:
            await fetch()
        assert around.cancelled_caught
        assert house.clock.now() == 2.0

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert execution.outcome is Outcome.CANCELLED


def test_a_cancellation_during_a_pause_ends_the_call() -> None:
    house = a_house()

    @house.poet(timeout=1.0, retries=3, backoff=50.0)
    async def fetch() -> None:
        raise ConnectionError

    async def main() -> None:
        with trio.move_on_after(0.001) as around:
            await fetch()
        assert around.cancelled_caught

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert execution.outcome is Outcome.CANCELLED
    assert outcomes(execution) == [(Outcome.ERROR, False)]


def test_an_error_that_hides_a_cancellation_is_not_retried() -> None:
    house = a_house()
    calls = 0

    @house.poet(timeout=10.0, retries=3, backoff=0)
    async def fetch() -> None:
        nonlocal calls
        calls += 1
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            raise ConnectionError from None

    async def main() -> None:
        with trio.move_on_after(1.0) as around:
            await fetch()
        assert around.cancelled_caught

    play(house, main)
    assert calls == 1


def test_a_cancelled_group_of_a_bodys_own_nursery_passes() -> None:
    house = a_house()

    @house.poet(timeout=10.0, retries=3)
    async def fetch() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 60)
            nursery.start_soon(trio.sleep, 60)
            await trio.sleep(60)

    async def main() -> None:
        with trio.move_on_after(1.0) as around:
            await fetch()
        assert around.cancelled_caught
        with pytest.raises(poet.PoetTimeout):
            await fetch()

    play(house, main)
    assert [e.outcome for e in recorded(house, fetch)] == [Outcome.CANCELLED, Outcome.TIMEOUT]


# --- budget, breaker, limit, features


def test_attempts_beyond_the_limit_are_turned_away_and_their_places_come_free_again() -> None:
    house = a_house()
    dependency = poet.Dependency("db", concurrency=2, budget=CALLS)

    @house.poet(timeout=1.0, retries=0, dependency=dependency)
    async def fetch() -> None:
        await trio.sleep(60)

    async def one() -> None:
        with pytest.raises(poet.PoetTimeout):
            await fetch()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(one)
            await trio.sleep(0.5)
            assert fetch.poet._cell.brakes.running == 2
            with pytest.raises(poet.Overloaded):
                await fetch()
        assert fetch.poet._cell.brakes.running == 0

    play(house, main)
    assert sorted(e.outcome for e in recorded(house, fetch)) == [Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.SHED]


def test_a_breaker_opens_lets_one_probe_through_and_closes() -> None:
    house = a_house()
    breaker = poet.Breaker(min_calls=2, window=4, open_for=5.0)
    answers: list[BaseException | None] = [ConnectionError(), ConnectionError(), None]

    @house.poet(timeout=1.0, retries=0, dependency=poet.Dependency("db", breaker=breaker))
    async def fetch() -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "back"

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await fetch()
        with pytest.raises(poet.CircuitOpen):
            await fetch()
        await trio.sleep(5.0)
        assert await fetch() == "back"
        assert fetch.poet._cell.brakes.circuit.state == "closed"

    play(house, main)


def test_a_retry_that_a_breaker_refuses_gives_the_timeout_before_it() -> None:
    house = a_house()
    breaker = poet.Breaker(min_calls=2, window=4, open_for=50.0)

    @house.poet(timeout=1.0, retries=3, backoff=8.0, dependency=poet.Dependency("db", breaker=breaker, budget=CALLS))
    async def slow() -> None:
        await trio.sleep(60)

    @house.poet(timeout=1.0, retries=0, dependency="db")
    async def other() -> None:
        raise ConnectionError

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def first() -> None:
                with pytest.raises(poet.PoetTimeout):
                    await slow()

            await trio.sleep(1.0 + 1e-6)  # the first is pausing: its attempt has failed, this is the second
            with pytest.raises(ConnectionError):
                await other()

    play(house, main)
    (execution,) = recorded(house, slow)
    assert execution.outcome is Outcome.TIMEOUT
    assert execution.error == "PoetTimeout"


def test_features_of_the_input_are_recorded_with_the_first_success_and_with_a_late_one() -> None:
    house = a_house()

    async def look(length: float) -> Any:
        await trio.lowlevel.checkpoint()
        return (length,), {}, {"length": length}

    @house.poet(timeout=1.0, perceive=look)
    async def fetch(length: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(length)

    async def main() -> None:
        await fetch(0.5)
        await fetch(1.5)

    play(house, main)
    assert [(e.outcome, e.context) for e in recorded(house, fetch)] == [
        (Outcome.SUCCESS, (("length", 0.5),)),
        (Outcome.LATE, (("length", 1.5),)),
    ]


# --- hedges


def racer(house: House, *steps: float | BaseException | tuple[float, Any], **options: Any) -> Any:
    """A hedged function whose n-th request takes ``steps[n]`` seconds; of a pair, the second is then raised."""
    number = count()
    options = {"timeout": 10.0, "retries": 0, "hedge_delay": 1.0, "hedges": 1, **options}

    @house.poet(name="racer", **options)
    async def fetch() -> int:
        n = next(number)
        step = steps[n]
        seconds, error = step if isinstance(step, tuple) else (step, None)
        await trio.sleep(seconds)
        if error is not None:
            raise error
        return n

    return fetch


def test_a_copy_that_answers_first_wins_and_the_first_request_is_cancelled() -> None:
    house = a_house()
    fetch = racer(house, 60.0, 0.5)
    events: list[str] = []
    house.agent.listeners.add(lambda event: events.append(event.kind))

    async def main() -> Any:
        assert await fetch() == 1
        assert house.clock.now() == 1.5
        return fetch.poet.last

    execution = play(house, main)
    assert execution.outcome is Outcome.SUCCESS
    first, copy = execution.attempts
    assert (first.outcome, first.seconds, first.hedge) == (Outcome.CANCELLED, 1.5, False)
    assert (copy.outcome, copy.seconds, copy.waited, copy.hedge) == (Outcome.SUCCESS, 0.5, 1.0, True)
    assert events == ["hedge", "hedge_won"]


def test_a_first_request_that_answers_first_wins_and_the_copy_is_cancelled() -> None:
    house = a_house()
    fetch = racer(house, 1.25, 60.0)

    async def main() -> Any:
        assert await fetch() == 0
        assert house.clock.now() == 1.25
        return fetch.poet.last

    execution = play(house, main)
    assert outcomes(execution) == [(Outcome.SUCCESS, False), (Outcome.CANCELLED, True)]
    assert execution.attempts[1].seconds == 0.25


def test_an_answer_before_the_delay_sends_no_copy_and_leaves_a_plain_record() -> None:
    house = a_house()
    fetch = racer(house, 0.5, 0.5)

    async def main() -> None:
        assert await fetch() == 0
        await trio.sleep(10)
        assert await fetch() == 1

    play(house, main)
    assert [record[-1] for record in fetch.poet._cell.channel.records] == [None, None]


def test_a_failed_first_request_waits_for_the_copies_and_one_of_them_wins() -> None:
    house = a_house()
    fetch = racer(house, (1.5, ConnectionError()), (1.0, ConnectionError()), 2.0, hedges=2)

    async def main() -> Any:
        assert await fetch() == 2
        assert house.clock.now() == 4.0
        return fetch.poet.last

    execution = play(house, main)
    assert execution.outcome is Outcome.SUCCESS
    assert outcomes(execution) == [(Outcome.ERROR, False), (Outcome.ERROR, True), (Outcome.SUCCESS, True)]


def test_where_all_fail_the_error_of_the_first_request_comes_out_as_itself() -> None:
    house = a_house()
    mine = ConnectionError("first")
    fetch = racer(house, (1.5, mine), (2.0, ConnectionError("copy")))

    async def main() -> None:
        with pytest.raises(ConnectionError, match="first") as caught:
            await fetch()
        assert caught.value is mine
        assert mine.__cause__ is None
        assert house.clock.now() == 3.0

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert outcomes(execution) == [(Outcome.ERROR, False), (Outcome.ERROR, True)]


def test_what_the_caller_handles_is_not_made_the_context_of_an_error() -> None:
    house = a_house()
    cause = OSError("what led to it")

    @house.poet(retries=0, hedge_delay=1.0)
    async def fetch() -> None:
        try:
            raise cause
        except OSError:
            raise KeyError from None

    async def main() -> None:
        try:
            {}["missing"]
        except KeyError:
            with pytest.raises(KeyError) as caught:
                await fetch()
        assert caught.value.__context__ is cause

    play(house, main)


def test_an_error_that_no_attempt_can_mend_does_not_wait_for_copies() -> None:
    house = a_house()
    fetch = racer(house, (1.5, KeyError()), 60.0)

    async def main() -> None:
        with pytest.raises(KeyError):
            await fetch()
        assert house.clock.now() == 1.5

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert outcomes(execution) == [(Outcome.REFUSED, False), (Outcome.CANCELLED, True)]


def test_two_copies_that_answer_at_once_are_one_winner_and_one_answer() -> None:
    house = a_house()
    fetch = racer(house, 60.0, 2.0, 1.0, hedges=2)
    events: list[str] = []
    house.agent.listeners.add(lambda event: events.append(event.kind))

    async def main() -> Any:
        assert await fetch() in (1, 2)
        assert house.clock.now() == 3.0
        return fetch.poet.last

    execution = play(house, main)
    assert execution.outcome is Outcome.SUCCESS
    assert execution.attempts[0].outcome is Outcome.CANCELLED
    assert events.count("hedge_won") == 1


def test_a_limit_cuts_off_the_first_request_and_its_copies() -> None:
    house = a_house()
    fetch = racer(house, 60.0, 60.0, 60.0, 0.5, hedges=2, timeout=4.0, retries=1)

    async def main() -> Any:
        assert await fetch() == 3
        return fetch.poet.last

    execution = play(house, main)
    cut = [(Outcome.TIMEOUT, False), (Outcome.CANCELLED, True), (Outcome.CANCELLED, True)]
    assert outcomes(execution) == [*cut, (Outcome.SUCCESS, False)]
    assert [a.seconds for a in execution.attempts] == pytest.approx([4.0, 3.0, 2.0, 0.5])


def test_a_limit_that_comes_while_a_failed_request_waits_for_copies_is_a_timeout() -> None:
    house = a_house()
    fetch = racer(house, (1.5, ConnectionError()), 60.0, timeout=4.0)

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await fetch()
        assert house.clock.now() == 4.0

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert execution.outcome is Outcome.TIMEOUT
    assert outcomes(execution) == [(Outcome.ERROR, False), (Outcome.CANCELLED, True)]
    assert [a.seconds for a in execution.attempts] == pytest.approx([1.5, 3.0])


def test_a_late_answer_from_behind_a_shield_is_used_and_its_copy_given_up_with_it() -> None:
    house = a_house()
    number = count()

    @house.poet(timeout=2.0, hedge_delay=1.0)
    async def fetch() -> str:
        with trio.CancelScope(shield=next(number) == 0):
            await trio.sleep(3.0)
        return "late"

    async def main() -> Any:
        assert await fetch() == "late"
        return fetch.poet.last

    execution = play(house, main)
    assert execution.outcome is Outcome.LATE
    assert outcomes(execution) == [(Outcome.LATE, False), (Outcome.CANCELLED, True)]
    assert [a.seconds for a in execution.attempts] == pytest.approx([3.0, 2.0])


def test_a_loser_that_cleans_up_for_long_is_waited_for_but_recorded_as_it_was_given_up() -> None:
    house = a_house()
    number = count()
    running = 0

    @house.poet(timeout=10.0, hedge_delay=1.0)
    async def fetch() -> int:
        nonlocal running
        n, running = next(number), running + 1
        try:
            await trio.sleep(1.5 if n == 0 else 60.0)
        finally:
            if n == 1:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2.0)
            running -= 1
        return n

    async def main() -> Any:
        assert await fetch() == 0
        assert running == 0
        assert house.clock.now() == 3.5
        return fetch.poet.last

    execution = play(house, main)
    assert execution.attempts[1].outcome is Outcome.CANCELLED
    assert execution.attempts[1].seconds == 0.5


async def spoil() -> None:
    """Wait, and fail when cancelled."""
    try:
        await trio.sleep(60)
    except trio.Cancelled:
        raise KeyError("closing failed") from None


async def spoil_in_a_group() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spoil)
        nursery.start_soon(trio.sleep, 60)


@pytest.mark.parametrize("fail", [spoil, spoil_in_a_group])
def test_a_loser_that_fails_when_cancelled_does_not_spoil_the_answer(
    fail: Callable[[], Awaitable[None]],
) -> None:
    house = a_house()
    number = count()

    @house.poet(timeout=10.0, hedge_delay=1.0)
    async def fetch() -> int:
        n = next(number)
        if n == 1:
            await fail()
        await trio.sleep(1.5)
        return n

    assert play(house, fetch) == 0


@pytest.mark.parametrize("fail", [spoil, spoil_in_a_group])
def test_nor_does_a_first_request_that_fails_because_a_copy_has_won(fail: Callable[[], Awaitable[None]]) -> None:
    house = a_house()
    number = count()

    @house.poet(timeout=10.0, retries=0, hedge_delay=1.0)
    async def fetch() -> int:
        n = next(number)
        if n == 0:
            await fail()
        await trio.sleep(0.5)
        return n

    async def main() -> Any:
        assert await fetch() == 1
        return fetch.poet.last

    execution = play(house, main)
    assert outcomes(execution) == [(Outcome.REFUSED, False), (Outcome.SUCCESS, True)]


@pytest.mark.parametrize("answers", [True, False])
def test_no_further_copy_is_sent_while_the_first_request_takes_its_time_to_give_way(answers: bool) -> None:
    house = a_house()
    number = count()

    @house.poet(timeout=10.0, retries=0, hedge_delay=1.0, hedges=2)
    async def fetch() -> int:
        n = next(number)
        if n == 0:
            with trio.CancelScope(shield=True):
                await trio.sleep(3.0)
            if not answers:
                await trio.sleep(60)
        else:
            await trio.sleep(0.5)
        return n

    async def main() -> Any:
        assert await fetch() == (0 if answers else 1)
        return fetch.poet.last

    execution = play(house, main)
    own = Outcome.SUCCESS if answers else Outcome.CANCELLED
    assert outcomes(execution) == [(own, False), (Outcome.SUCCESS, True)]
    assert execution.attempts[0].seconds == 3.0


def test_an_outer_cancellation_counts_more_than_a_copys_answer() -> None:
    house = a_house()
    number = count()

    @house.poet(timeout=10.0, retries=0, hedge_delay=1.0)
    async def fetch() -> None:
        if next(number) > 0:
            return
        with trio.CancelScope(shield=True):
            await trio.sleep(2.0)
        await trio.sleep(60)

    async def main() -> None:
        with trio.move_on_after(1.5) as around:
            await fetch()
        assert around.cancelled_caught

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert execution.outcome is Outcome.CANCELLED
    assert outcomes(execution) == [(Outcome.CANCELLED, False), (Outcome.SUCCESS, True)]


def test_a_copy_that_is_given_up_before_it_has_begun_makes_no_request() -> None:
    house = a_house()
    answered = False
    behind: list[bool] = []  # of each request: whether the call had its answer when it began

    @house.poet(timeout=10.0, hedge_delay=1.0)
    async def fetch() -> None:
        nonlocal answered
        behind.append(answered)
        await trio.sleep(1.0)  # ends at the moment when the copy is due: trio shuffles which goes first
        answered = True

    async def main() -> None:
        nonlocal answered
        for _ in range(20):
            answered = False
            await fetch()

    play(house, main)
    assert not any(behind)


@pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt])
def test_a_copys_exit_ends_the_call_and_comes_out_as_itself(exit_: type[BaseException]) -> None:
    house = a_house()
    fetch = racer(house, 60.0, (0.5, exit_()))

    async def main() -> None:
        with pytest.raises(exit_):
            await fetch()
        assert house.clock.now() == 1.5

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert execution.outcome is Outcome.CANCELLED
    assert fetch.poet._cell.brakes.running == 0


def test_an_interrupt_that_finds_the_call_waiting_for_a_copy_comes_out_as_itself() -> None:
    house = a_house()
    number = count()

    @trio.lowlevel.enable_ki_protection
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)  # protected, so trio hands it to the main task, which waits

    @house.poet(timeout=10.0, retries=0, hedge_delay=1.0)
    async def fetch() -> None:
        if next(number) == 0:
            await trio.sleep(1.5)
            raise ConnectionError
        await trio.sleep(1.0)
        interrupt()
        await trio.sleep(60)

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            await fetch()
        assert house.clock.now() == 2.0

    play(house, main)
    (execution,) = recorded(house, fetch)
    assert execution.outcome is Outcome.CANCELLED
    assert outcomes(execution) == [(Outcome.ERROR, False), (Outcome.CANCELLED, True)]


def test_copies_have_the_deadline_and_the_context_of_the_attempt_and_leave_no_trace_in_it() -> None:
    house = a_house()
    seen: list[tuple[float | None, str]] = []
    word: ContextVar[str] = ContextVar("word")

    @house.poet(timeout=5.0, hedge_delay=1.0)
    async def fetch() -> None:
        seen.append((poet.remaining(), word.get()))
        first = len(seen) == 1
        if not first:
            word.set("copy's")
        await trio.sleep(60 if first else 0.5)

    async def main() -> str:
        word.set("mine")
        await fetch()
        return word.get()

    assert play(house, main) == "mine"
    assert seen == [(5.0, "mine"), (4.0, "mine")]


def test_a_copy_that_the_brakes_refuse_is_not_sent() -> None:
    house = a_house()
    fetch = racer(house, 2.0, 0.1, dependency=poet.Dependency("db", concurrency=1, budget=CALLS))

    async def main() -> Any:
        assert await fetch() == 0
        return fetch.poet.last

    assert outcomes(play(house, main)) == [(Outcome.SUCCESS, False)]


def test_hedging_again_in_another_run_of_trio_works() -> None:
    for _ in range(2):
        house = a_house()
        fetch = racer(house, 60.0, 0.5)
        assert play(house, fetch) == 1


# --- the timer of the copies


class Runner:
    """Stands in the timer as a race does."""

    def __init__(self) -> None:
        self.over = False
        self.rang: float | None = None

    def expire(self) -> None:
        self.rang = trio.current_time()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.001, 5), st.booleans()), min_size=1, max_size=30))
def test_whatever_the_order_each_copy_is_due_at_its_moment(cases: list[tuple[float, float, bool]]) -> None:
    async def main() -> None:
        timer = Timer()
        trio.lowlevel.spawn_system_task(timer.run)
        left = []

        async def one(wait: float, delay: float, leaves: bool) -> None:
            await trio.sleep(wait)
            runner: Any = Runner()
            due = trio.current_time() + delay
            timer.add(due, runner)
            if leaves:
                runner.over = True
                return
            left.append((due, runner))

        async with trio.open_nursery() as nursery:
            for case in cases:
                nursery.start_soon(one, *case)
        await trio.sleep(10)
        assert [runner.rang for _, runner in left] == pytest.approx([due for due, _ in left], abs=1e-6)
        assert not timer._due

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_the_timer_does_not_wake_for_races_that_are_over() -> None:
    async def main() -> None:
        timer = Timer()
        trio.lowlevel.spawn_system_task(timer.run)
        start = trio.current_time()
        runners: Any = [Runner(), Runner(), Runner()]
        for runner, due in zip(runners, (1.0, 2.0, 50.0), strict=True):
            timer.add(start + due, runner)
        runners[1].over = True
        await trio.sleep(1.5)
        assert timer._rings == start + 50.0

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_memory_of_the_timer_follows_what_runs_not_what_ran() -> None:
    timer = Timer()
    running: Any = Runner()
    timer.add(1e6, running)
    for step in range(10 * SPARE):
        ended: Any = Runner()
        timer.add(1e6 + step, ended)
        ended.over = True
        assert len(timer._due) <= SPARE + 2
    assert running in [entry[2] for entry in timer._due]


def test_many_hedged_calls_sleep_in_one_task() -> None:
    house = a_house()

    @house.poet(timeout=10.0, hedge_delay=5.0)
    async def fetch() -> None:
        await trio.sleep(1.0)

    async def main() -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(fetch)
            await trio.sleep(0.5)
            assert trio.lowlevel.current_statistics().tasks_living == before + 20 + 1
        gc.collect()
        races = sum(isinstance(thing, Race) and not thing.over for thing in gc.get_objects())
        assert races == 0

    play(house, main)


# --- where trio is not


def test_a_call_outside_of_any_loop_says_what_it_needs() -> None:
    house = a_house()

    @house.poet
    async def fetch() -> None: ...

    with pytest.raises(poet.ConfigurationError, match="fetch must run inside a task of asyncio or trio"):
        fetch().send(None)


WITHOUT_TRIO = """
import asyncio, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "trio":
            raise AssertionError("looked for trio")
sys.meta_path.insert(0, Missing())
import poet
poet.configure(store="memory:")
@poet.poet(hedge_delay=0.5)
async def fetch():
    return "done"
assert asyncio.run(fetch()) == "done"
try:
    fetch().send(None)
except poet.ConfigurationError as error:
    print(error)
"""


def test_without_trio_nothing_looks_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TRIO], check=False, capture_output=True, text=True)
    assert "must run inside a task of asyncio or trio" in done.stdout, done.stderr


# --- all of it together

# No sum of some of these and of the delays and limits below is another: at one moment two loops may choose differently.
LENGTHS = st.sampled_from([0.0, 0.1171, 0.3719, 0.7307, 1.1303, 2.9017, 60.0])
PATIENCES = st.sampled_from([None, 0.6511, 1.7093])
ERRORS = st.sampled_from([None, None, None, ConnectionError, KeyError])
Steps = list[tuple[float, type[Exception] | None]]


@settings(max_examples=150, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.lists(st.tuples(LENGTHS, ERRORS), min_size=12, max_size=12), st.sampled_from([None, 0.6511, 1.7093])
        ),
        min_size=1,
        max_size=3,
    ),
    retries=st.integers(0, 2),
    hedges=st.integers(0, 2),
    hedge_delay=st.sampled_from([0.3137, 0.5291]),
    deadline=st.sampled_from([None, 2.6]),
)
def test_the_records_are_those_that_asyncio_leaves(
    calls: list[tuple[Steps, float | None]], retries: int, hedges: int, hedge_delay: float, deadline: float | None
) -> None:
    options: dict[str, Any] = {"timeout": 1.0, "retries": retries, "deadline": deadline}
    if hedges:
        options |= {"hedges": hedges, "hedge_delay": hedge_delay}

    def records(house: House, sleep: Callable[[float], Awaitable[Any]], around: Any, play: Any) -> list[Execution]:
        @house.poet(name="fetch", dependency=poet.Dependency("d", concurrency=3, budget=CALLS), **options)
        async def fetch(steps: Any) -> None:
            seconds, error = next(steps)
            await sleep(seconds)
            if error is not None:
                raise error

        async def main() -> None:
            for steps, patience in calls:
                try:
                    async with nullcontext() if patience is None else around(patience):
                        await fetch(iter(steps))
                except (ConnectionError, KeyError, TimeoutError):
                    pass
                await sleep(100.0)

        play(main)
        assert fetch.poet._cell.brakes.running == 0
        return recorded(house, fetch)

    @asynccontextmanager
    async def patience_of_trio(seconds: float) -> AsyncIterator[None]:
        with trio.move_on_after(seconds):
            yield

    on_asyncio, on_trio = House(clock=VirtualClock(0.0)), a_house()
    theirs = records(on_asyncio, asyncio.sleep, asyncio.timeout, lambda main: run(main(), on_asyncio.clock))  # type: ignore[arg-type]
    ours = records(on_trio, trio.sleep, patience_of_trio, partial(play, on_trio))
    assert [e.outcome for e in ours] == [e.outcome for e in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert outcomes(our) == outcomes(their)
        assert our.seconds == pytest.approx(their.seconds, abs=1e-5)
        assert our.version == their.version
        assert our.error == their.error.replace("CancelledError", "Cancelled")
        for a, b in zip(our.attempts, their.attempts, strict=True):
            assert (a.seconds, a.waited) == pytest.approx((b.seconds, b.waited), abs=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.floats(0, 3),
            st.lists(st.tuples(st.floats(0, 3), ERRORS, st.booleans()), min_size=1, max_size=4),
            st.none() | st.floats(0, 4),
        ),
        min_size=1,
        max_size=12,
    ),
    hedges=st.integers(0, 2),
    concurrency=st.integers(1, 6),
    breaks=st.booleans(),
)
def test_whatever_happens_each_call_ends_in_one_record_and_nothing_is_left_behind(
    calls: list[tuple[float, list[tuple[float, type[Exception] | None, bool]], float | None]],
    hedges: int,
    concurrency: int,
    breaks: bool,
) -> None:
    house = a_house()
    breaker = poet.Breaker(min_calls=3, window=6, open_for=1.0) if breaks else None
    dependency = poet.Dependency("d", concurrency=concurrency, breaker=breaker, budget=CALLS)
    requests: Counter[int] = Counter()
    running: Counter[int] = Counter()
    hedging = {"hedge_delay": 0.3, "hedges": hedges} if hedges else {}

    @house.poet(timeout=1.0, retries=2, backoff=0.5, dependency=dependency, **hedging)
    async def fetch(call: int, steps: list[tuple[float, type[Exception] | None, bool]]) -> str:
        seconds, error, shielded = steps[requests[call] % len(steps)]
        requests[call] += 1
        running[call] += 1
        try:
            with trio.CancelScope(shield=shielded):
                await trio.sleep(seconds)
        finally:
            running[call] -= 1
        if error is not None:
            raise error
        return "answer"

    async def one(call: int, wait: float, steps: Any, patience: float | None) -> None:
        await trio.sleep(wait)
        with trio.move_on_after(math.inf if patience is None else patience) as around:
            seen: object = "cancelled"
            try:
                seen = await fetch(call, steps)
            except (ConnectionError, KeyError, poet.PoetTimeout, poet.Shed) as error:
                seen = type(error)
            except trio.Cancelled:
                assert around.cancel_called
                raise
            finally:
                assert running[call] == 0
                execution = fetch.poet.last
                expected: dict[object, tuple[Outcome, ...]] = {
                    "answer": (Outcome.SUCCESS, Outcome.LATE),
                    "cancelled": (Outcome.CANCELLED,),
                    ConnectionError: (Outcome.ERROR,),
                    KeyError: (Outcome.REFUSED,),
                    poet.PoetTimeout: (Outcome.TIMEOUT,),
                    poet.Overloaded: (Outcome.SHED,),
                    poet.CircuitOpen: (Outcome.SHED,),
                }
                assert execution.outcome in expected[seen]
                made = [a for a in execution.attempts if a.outcome is not Outcome.SHED]
                assert len(made) >= requests[call]
                assert execution.seconds == pytest.approx(trio.current_time() - wait, abs=1e-6)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for call, (wait, steps, patience) in enumerate(calls):
                nursery.start_soon(one, call, wait, steps, patience)

    play(house, main)
    executions = recorded(house, fetch)
    assert len(executions) == len(calls)
    assert {e.sequence for e in executions} == set(range(len(calls)))
    assert fetch.poet._cell.brakes.running == 0


def test_on_the_real_clock_a_timeout_a_retry_and_a_hedge_take_about_their_time() -> None:
    house = House(clock=SYSTEM_CLOCK)
    requests = count()

    @house.poet(timeout=0.02, retries=1, backoff=0.001, hedge_delay=0.005)
    async def fetch() -> int:
        n = next(requests)
        await trio.sleep(60 if n < 3 else 0)
        return n

    async def main() -> Any:
        assert await fetch() == 3
        return fetch.poet.last

    execution = trio.run(main)
    assert outcomes(execution) == [
        (Outcome.TIMEOUT, False),
        (Outcome.CANCELLED, True),
        (Outcome.CANCELLED, False),
        (Outcome.SUCCESS, True),
    ]
    assert 0.025 <= execution.seconds < 5.0
    assert execution.attempts[0].seconds >= 0.02
    assert execution.attempts[1].waited >= 0.005


def test_what_a_body_raises_has_no_error_of_ours_for_a_context() -> None:
    house = a_house()

    @house.poet(retries=0)
    async def fetch() -> None:
        raise KeyError

    async def main() -> None:
        with pytest.raises(KeyError) as caught:
            await fetch()
        assert caught.value.__context__ is None

    play(house, main)


def test_a_call_under_trio_that_is_a_guest_of_asyncio_works() -> None:
    house = House(clock=SYSTEM_CLOCK)

    @house.poet(timeout=0.02, retries=0)
    async def fetch(length: float) -> str:
        await trio.sleep(length)
        return "done"

    async def guest() -> str:
        with pytest.raises(poet.PoetTimeout):
            await fetch(60)
        return await fetch(0.0)

    async def host() -> Any:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
        )
        return (await done).unwrap()

    assert asyncio.run(host()) == "done"
