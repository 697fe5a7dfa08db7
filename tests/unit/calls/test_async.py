from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.watch import Guarded, Watch
from poet.model.execution import Outcome
from poet.testing.clock import VirtualClock, run


def play(house: House, coroutine: Coroutine[Any, Any, Any]) -> Any:
    assert isinstance(house.clock, VirtualClock)
    return run(coroutine, house.clock)


def test_an_attempt_is_cancelled_at_its_limit_and_comes_out_as_a_timeout() -> None:
    house = House()
    cancelled: list[float] = []

    @house.poet(timeout=1.5, retries=0)
    async def fetch() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(house.clock.now())
            raise

    with pytest.raises(poet.PoetTimeout, match=r"no answer within 1\.5 s") as caught:
        play(house, fetch())
    assert cancelled == [101.5]
    assert isinstance(caught.value, TimeoutError)
    assert fetch.poet.last is None  # its context ended with the loop's task


def test_a_timeout_is_retried_under_a_fresh_limit() -> None:
    house = House()
    lengths = iter([60.0, 60.0, 0.5])

    @house.poet(timeout=1.0, retries=2)
    async def fetch() -> str:
        await asyncio.sleep(next(lengths))
        return "done"

    async def main() -> Any:
        assert await fetch() == "done"
        return fetch.poet.last

    execution = play(house, main())
    assert [a.outcome for a in execution.attempts] == [Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.SUCCESS]
    assert [a.seconds for a in execution.attempts] == pytest.approx([1.0, 1.0, 0.5])


def test_an_outer_cancellation_is_never_swallowed() -> None:
    house = House()

    @house.poet(timeout=10.0, retries=5)
    async def fetch() -> None:
        await asyncio.sleep(60)

    async def main() -> Any:
        task = asyncio.ensure_future(fetch())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    play(house, main())
    house.agent.flush()
    (execution,) = house.store.executions(fetch.poet._trainee.key)
    assert execution.outcome is Outcome.CANCELLED
    assert execution.attempts[0].seconds == pytest.approx(1.0)


def test_an_outer_cancellation_at_the_very_moment_of_our_limit_wins() -> None:
    house = House()

    @house.poet(timeout=2.0, retries=5)
    async def fetch() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(fetch())
        asyncio.get_running_loop().call_later(2.0, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    play(house, main())


def test_a_cancellation_during_a_pause_ends_the_call() -> None:
    house = House()
    calls = 0

    @house.poet(timeout=1.0, retries=3, tunables=None)
    async def fetch() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    async def main() -> None:
        fetch.poet.pin(backoff=50.0)
        task = asyncio.ensure_future(fetch())
        await asyncio.sleep(0.0)
        await asyncio.sleep(0.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(house, main())
    assert calls == 1
    house.agent.flush()
    (execution,) = house.store.executions(fetch.poet._trainee.key)
    assert execution.outcome is Outcome.CANCELLED
    assert len(execution.attempts) == 1


def test_asyncio_timeout_around_a_call_still_works() -> None:
    house = House()

    @house.poet(timeout=10.0)
    async def fetch() -> None:
        await asyncio.sleep(60)

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await fetch()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return house.clock.now()

    assert play(house, main()) == pytest.approx(101.0)


def test_a_body_that_swallows_the_cancellation_and_answers_is_late_and_leaves_nothing_pending() -> None:
    house = House()

    @house.poet(timeout=1.0)
    async def fetch() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        return "late"

    async def main() -> Any:
        assert await fetch() == "late"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(1)
        return fetch.poet.last

    execution = play(house, main())
    assert execution.outcome is Outcome.LATE
    assert execution.seconds == pytest.approx(1.5)


def test_an_error_raised_while_being_cut_off_comes_out_as_it_is() -> None:
    house = House()

    @house.poet(timeout=1.0, retries=0)
    async def fetch() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("closing failed") from None

    async def main() -> None:
        with pytest.raises(KeyError, match="closing failed"):
            await fetch()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    play(house, main())


def test_nested_calls_with_one_deadline_end_in_one_timeout() -> None:
    house = House()

    @house.poet(timeout=10.0, retries=0)
    async def inner() -> None:
        await asyncio.sleep(60)

    @house.poet(timeout=2.0, retries=0)
    async def outer() -> None:
        await inner()

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await outer()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert house.clock.now() == pytest.approx(102.0)

    play(house, main())


def test_tasks_started_inside_a_body_inherit_its_deadline() -> None:
    house = House()

    async def child() -> float | None:
        return poet.remaining()

    @house.poet(timeout=4.0)
    async def fetch() -> float | None:
        return await asyncio.create_task(child())

    assert play(house, fetch()) == 4.0


def test_shorter_limits_after_longer_ones_are_kept_to() -> None:
    house = House()

    @house.poet(timeout=30.0, retries=0)
    async def fetch() -> None:
        await asyncio.sleep(60)

    async def main() -> list[float]:
        ends: list[float] = []

        async def one() -> None:
            with pytest.raises(poet.PoetTimeout):
                await fetch()
            ends.append(house.clock.now() - 100.0)

        first = asyncio.create_task(one())
        await asyncio.sleep(1)
        fetch.poet.pin(timeout=2.0)
        await asyncio.gather(one(), first)
        return ends

    assert play(house, main()) == pytest.approx([3.0, 30.0])


def test_a_shorter_limit_is_kept_to_after_the_queue_ran_empty() -> None:
    house = House()
    lengths = iter([0.5, 60.0])

    @house.poet(timeout=30.0, retries=0)
    async def fetch() -> None:
        await asyncio.sleep(next(lengths))

    async def main() -> float:
        await fetch()
        fetch.poet.pin(timeout=2.0)
        start = house.clock.now()
        with pytest.raises(poet.PoetTimeout):
            await fetch()
        return house.clock.now() - start

    assert play(house, main()) == pytest.approx(2.0)


def enter(watch: Watch, limit: float, start: float, task: asyncio.Task[Any]) -> Guarded:
    attempt = Guarded(limit, task)
    watch.enter(attempt, start)
    return attempt


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 5), st.floats(0.01, 8)), min_size=1, max_size=30))
def test_whatever_the_limits_each_attempt_ends_by_its_own(cases: list[tuple[float, float, float]]) -> None:
    clock = VirtualClock()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        watch = Watch(loop, clock.now)

        async def one(wait: float, limit: float, length: float) -> None:
            await asyncio.sleep(wait)
            task, start = asyncio.current_task(), clock.now()
            assert task is not None
            attempt = enter(watch, start + limit, start, task)
            try:
                await asyncio.sleep(length)
            except asyncio.CancelledError:
                assert attempt.fired
                task.uncancel()
            finally:
                watch.leave(attempt)
            assert clock.now() - start == pytest.approx(min(limit, length), abs=1e-6)

        await asyncio.gather(*(one(*case) for case in cases))
        assert not watch._queue

    run(main(), clock)


def test_a_shortened_limit_costs_one_timer_not_one_a_call() -> None:
    clock = VirtualClock()

    async def main() -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        watch = Watch(loop, clock.now)
        watch.leave(enter(watch, clock.now() + 30.0, clock.now(), task))
        attempts = []
        for _ in range(20):
            attempts.append(enter(watch, clock.now() + 0.5, clock.now(), task))
            watch.leave(attempts[-1])
            clock.sleep(0.001)
        assert all(attempt.timer is None for attempt in attempts)

    run(main(), clock)


def test_memory_of_the_watch_follows_what_runs_not_what_ran() -> None:
    clock = VirtualClock()

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        watch = Watch(asyncio.get_running_loop(), clock.now)
        slow = enter(watch, clock.now() + 1e6, clock.now(), task)
        for step in range(1000):
            watch.leave(enter(watch, clock.now() + 1e6 + step, clock.now(), task))
            assert len(watch._queue) <= 2
        watch.leave(slow)
        assert not watch._queue

    run(main(), clock)


def test_many_calls_cancelled_at_random_each_end_in_exactly_one_outcome() -> None:
    house = House()
    calls = 400

    @house.poet(timeout=1.0, retries=1)
    async def fetch(length: float) -> None:
        await asyncio.sleep(length)

    async def main() -> None:
        coin = house.agent.coin
        tasks = [asyncio.create_task(fetch(coin.uniform(0, 2))) for _ in range(calls)]
        for task in tasks[::3]:
            asyncio.get_running_loop().call_later(coin.uniform(0, 2), task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1

    play(house, main())
    house.agent.flush()
    executions = list(house.store.executions(fetch.poet._trainee.key))
    assert len(executions) == calls
    assert len({e.sequence for e in executions}) == calls


def test_a_retry_that_a_breaker_refuses_gives_the_timeout_before_it_and_not_our_cancelling() -> None:
    house = House()
    breaker = poet.Breaker(min_calls=2, window=4, open_for=50.0)
    dependency = poet.Dependency("db", breaker=breaker, budget=poet.Budget(floor=1000))

    @house.poet(timeout=1.0, retries=3, backoff=8.0, dependency=dependency)
    async def slow() -> None:
        await asyncio.sleep(60)

    @house.poet(timeout=1.0, retries=0, dependency="db")
    async def other() -> None:
        raise ConnectionError

    async def main() -> None:
        task = asyncio.ensure_future(slow())
        await asyncio.sleep(1.0 + 1e-4)  # it is pausing before its second attempt
        with pytest.raises(ConnectionError):
            await other()
        with pytest.raises(poet.PoetTimeout):
            await task

    run(main(), house.clock)
