from __future__ import annotations

import asyncio
import threading

import pytest

from poet.seams import Clock
from poet.testing.clock import VirtualClock, VirtualLoop, run, virtual_loop


def test_sleeping_moves_both_readings_on() -> None:
    clock: Clock = VirtualClock(now=5.0, wall=100.0)
    clock.sleep(2.5)
    assert (clock.now(), clock.wall()) == (7.5, 102.5)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_sleep_that_is_no_span_is_refused_with_its_value(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"got {seconds}"):
        VirtualClock().sleep(seconds)


def test_setting_the_wall_back_leaves_now_alone() -> None:
    clock = VirtualClock(wall=1000.0)
    clock.sleep(10.0)
    clock.set_wall(500.0)
    assert (clock.now(), clock.wall()) == (10.0, 500.0)


def test_no_sleep_of_many_threads_is_lost() -> None:
    clock = VirtualClock()

    def work() -> None:
        for _ in range(2000):
            clock.sleep(1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now() == 8000.0


def test_a_year_of_waiting_takes_no_time() -> None:
    clock = VirtualClock()
    assert run(asyncio.sleep(365 * 86_400.0, "done"), clock) == "done"
    assert clock.now() == pytest.approx(365 * 86_400.0)


def test_a_timeout_fires_at_its_virtual_moment() -> None:
    clock = VirtualClock()

    async def body() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.sleep(3600)
        return clock.now()

    assert run(body(), clock) == pytest.approx(0.25)


def test_timers_go_off_in_the_order_of_their_moments() -> None:
    clock = VirtualClock(now=1e6)
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, clock.now() - 1e6))

    async def body() -> None:
        await asyncio.gather(wait("late", 0.3), wait("early", 0.1), wait("middle", 0.2))

    run(body(), clock)
    assert [name for name, _ in seen] == ["early", "middle", "late"]
    assert [at for _, at in seen] == pytest.approx([0.1, 0.2, 0.3], abs=1e-6)


def test_a_ready_task_runs_before_time_moves_on() -> None:
    clock = VirtualClock()

    async def busy() -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    async def body() -> float:
        timer = asyncio.create_task(asyncio.sleep(1.0))
        await busy()
        at = clock.now()
        await timer
        return at

    assert run(body(), clock) == 0.0
    assert clock.now() == 1.0


def test_a_blocking_sleep_inside_the_loop_makes_timers_due() -> None:
    clock = VirtualClock()

    async def body() -> bool:
        task = asyncio.create_task(asyncio.sleep(1.0))
        await asyncio.sleep(0)
        clock.sleep(5.0)
        await task
        return clock.now() == 5.0

    assert run(body(), clock)


def test_a_thread_can_still_wake_the_loop() -> None:
    assert run(asyncio.to_thread(lambda: 42)) == 42


def test_waiting_for_what_nobody_will_do_is_an_error_and_no_endless_test() -> None:
    loop = VirtualLoop(patience=0.0)
    try:
        with pytest.raises(RuntimeError, match="what nobody will do"):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()


def test_a_virtual_loop_is_closed_at_the_end_and_agrees_with_its_clock() -> None:
    clock = VirtualClock(now=7.0)
    with virtual_loop(clock) as loop:
        assert loop.time() == clock.now() == 7.0
        loop.run_until_complete(asyncio.sleep(1.0))
    assert loop.is_closed()
    assert clock.now() == 8.0
