"""When a call has failed: nothing of it stays in memory or in the brakes, and its error is the function's own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from asyncio import SelectorEventLoop
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from houses import House
from poet import Breaker, Budget, Dependency, Integer, PoetTimeout, Real
from poet.calls.watch import Watches, watch_on
from poet.calls.workers import CREW, Job
from poet.model.execution import Outcome
from poet.seams import SYSTEM_CLOCK
from poet.testing.clock import VirtualClock, run

SOON = 0.01


class Request:
    """Something that is large in earnest."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def outlives(call: Callable[[Request], object]) -> bool:
    """Whether the argument of a call that has failed is still there when nobody wants it any more."""
    request = Request()
    reference = weakref.ref(request)
    with contextlib.suppress(ConnectionResetError, PoetTimeout):
        call(request)
    del request
    return reference() is not None


async def failing(call: Callable[[Request], Awaitable[object]], request: Request) -> None:
    """What is raised stays within: the task that bears it, and the loop's frames, would keep each other."""
    with contextlib.suppress(ConnectionResetError, PoetTimeout):
        await call(request)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "options",
    [
        {"retries": 0},
        {"retries": 2, "backoff": 0.0},
        {"retries": 1, "backoff": 0.0, "enforce_timeout": "thread"},
        {"retries": 1, "backoff": 0.0, "enforce_timeout": "thread", "hedge_delay": 5.0},
    ],
)
def test_the_arguments_of_a_failed_call_do_not_wait_for_the_garbage_collector(options: dict[str, Any]) -> None:
    @House(clock=SYSTEM_CLOCK).poet(**options)
    def send(request: Request) -> None:
        raise ConnectionResetError

    assert not outlives(send)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("hangs", [False, True])
def test_the_arguments_of_a_failed_async_call_do_not_either(retries: int, hangs: bool) -> None:
    @House(clock=SYSTEM_CLOCK).poet(retries=retries, backoff=0, timeout=SOON)
    async def send(request: Request) -> None:
        if hangs:
            await asyncio.Event().wait()
        raise ConnectionResetError

    with asyncio.Runner() as runner:
        assert not outlives(lambda request: runner.run(failing(send, request)))


@pytest.mark.usefixtures("no_collector")
def test_the_arguments_of_a_copy_that_failed_do_not_either() -> None:
    house = House()
    turns = iter(range(2))

    @house.poet(retries=0, hedge_delay=1.0, timeout=10.0)
    async def send(request: Request) -> None:
        if next(turns) == 0:
            await asyncio.sleep(3.0)
        raise ConnectionResetError

    assert not outlives(lambda request: run(failing(send, request), house.clock))


class Odd(Exception):
    """As one that looks its attributes up in an answer which has none."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name) if name.startswith("__") else KeyError(name)


def test_an_error_whose_attributes_cannot_be_read_comes_out_and_gives_its_place_back() -> None:
    @House().poet(retries=0, dependency=Dependency("odd", concurrency=1))
    def fail() -> None:
        raise Odd

    for _ in range(2):
        with pytest.raises(Odd):
            fail()
    assert fail.poet.status()["dependency"]["running"] == 0
    assert fail.poet.last.outcome is Outcome.REFUSED


def test_an_error_keeps_its_cause_where_the_brakes_refuse_its_retry() -> None:
    class Tripping(VirtualClock):
        """Another caller opens the breaker during the pause."""

        def sleep(self, seconds: float) -> None:
            with pytest.raises(ConnectionResetError):
                down()
            super().sleep(seconds)

    house = House(clock=Tripping(100.0))
    bank = Dependency("bank", breaker=Breaker(min_calls=2))

    @house.poet(retries=0, dependency=bank)
    def down() -> None:
        raise ConnectionResetError

    @house.poet(retries=1, backoff=1.0, dependency=bank)
    def ask() -> None:
        raise ConnectionResetError("lost") from OSError("the reason")

    with pytest.raises(ConnectionResetError, match="lost") as caught:
        ask()
    assert isinstance(caught.value.__cause__, OSError)


def test_an_attempt_is_not_begun_where_the_pause_took_longer_than_the_deadline() -> None:
    class Suspended(VirtualClock):
        """The machine sleeps along."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds + 100.0)

    begun = []

    @House(clock=Suspended(100.0)).poet(retries=3, deadline=60.0)
    def ask() -> None:
        begun.append(True)
        raise ConnectionResetError("lost")

    with pytest.raises(ConnectionResetError, match="lost"):
        ask()
    assert len(begun) == 1
    assert ask.poet.status()["dependency"]["extra_requests"] == 0


def test_no_copy_is_waited_for_behind_the_limit() -> None:
    house = House()
    turns = iter(range(2))

    @house.poet(retries=0, hedge_delay=1.0, timeout=3.0)
    async def ask() -> None:
        if next(turns):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionResetError("as some clients say it") from None

    with pytest.raises(ConnectionResetError):
        run(asyncio.wait_for(ask(), 60.0), house.clock)
    assert house.clock.now() == pytest.approx(103.0, abs=1e-3)


def test_who_is_cancelled_at_the_limit_cleans_up_undisturbed_though_a_copy_answers_meanwhile() -> None:
    house = House()
    turns, cleaned = iter(range(2)), []

    @house.poet(retries=0, hedge_delay=1.0, timeout=3.0)
    async def ask() -> str:
        if next(turns):
            await asyncio.sleep(2.5)
            return "copy"
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1.0)
            cleaned.append(True)
        return "never"

    async def main() -> int:
        assert await ask() == "copy"
        assert ask.poet.last.outcome is Outcome.LATE
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run(main(), house.clock) == 0
    assert cleaned == [True]


def test_a_copy_for_which_there_is_no_thread_is_not_paid_for() -> None:
    release, never = threading.Event(), threading.Event()
    jobs: list[Job] = []

    def leave_behind(number: int) -> None:
        begun = [CREW.submit(release.wait, "left behind") for _ in range(number)]
        jobs.extend(begun)
        for job in begun:
            job.abandon()

    @House(clock=SYSTEM_CLOCK).poet(enforce_timeout="thread", hedge_delay=5 * SOON, timeout=10.0, retries=0)
    def ask() -> int:
        leave_behind(1)
        never.wait(10 * SOON)  # until the copy is due
        return 1

    try:
        leave_behind(CREW.most_abandoned - CREW.abandoned - 1)
        assert ask() == 1
    finally:
        release.set()
        for job in jobs:
            job.wait()
    assert len(ask.poet.last.attempts) == 1
    assert ask.poet.status()["dependency"]["extra_requests"] == 0


def test_two_event_loops_that_begin_at_once_get_their_watches() -> None:
    class Slow(SelectorEventLoop):
        """Another thread's loop comes in between."""

        def is_closed(self) -> bool:
            if others:
                watch_on(others.pop(), watches)
            return super().is_closed()

    loops = [Slow(), SelectorEventLoop(), SelectorEventLoop()]
    others: list[Any] = []
    watches = Watches(SYSTEM_CLOCK.now)
    watch_on(loops[0], watches)
    others.append(loops[1])
    assert watch_on(loops[2], watches) is watch_on(loops[2], watches)
    for loop in loops:
        loop.close()


def test_the_brakes_of_every_dependency_begin_anew_after_the_tests_of_a_user() -> None:
    house = House()

    def ask() -> None:
        raise ConnectionResetError

    house.poet(dependency=Dependency("first"))(ask)
    second = house.poet(dependency=Dependency("second", budget=Budget(floor=1)), backoff=0)(ask)
    with pytest.raises(ConnectionResetError):
        second()
    bucket = house.agent.dependencies["second"].bucket
    assert bucket.recent(house.clock.now())[1] == 1
    house.agent.set_testing(1)
    assert bucket.recent(house.clock.now())[1] == 0


def test_the_first_call_of_a_function_takes_no_lock_that_a_fork_holds() -> None:
    # A fork takes the agent's lock, then the trainer's turn; who enrols has the turn and must not want the lock.
    house = House()

    @house.poet()
    def ask() -> int:
        return 1

    trainer = house.agent.open()
    enrolled = threading.Event()

    def enrol() -> None:
        with trainer.turn:
            house.agent._enrol(trainer, house.agent.enrolments[next(iter(house.agent.enrolments))])
        enrolled.set()

    with house.agent._lock:
        thread = threading.Thread(target=enrol, daemon=True)
        thread.start()
        assert enrolled.wait(5.0)
    thread.join()


def test_bounds_of_hedges_without_a_value_begin_as_near_to_the_usual_one_as_they_allow() -> None:
    house = House()

    async def ask() -> None: ...

    near = house.poet(enable_training=True, tunables={"hedge_delay": Real(0.01, 1.0), "hedges": Integer(1, 2)})(ask)
    assert (near.poet.parameters["hedge_delay"], near.poet.parameters["hedges"]) == (1.0, 1)


def test_a_variant_knows_its_values_before_its_first_call() -> None:
    @House().poet()
    def ask() -> None: ...

    assert ask.poet.using(timeout=1.0).poet.parameters["timeout"] == 1.0
    assert ask.poet.parameters["timeout"] == 30.0


def test_the_timer_of_a_limit_keeps_nothing_of_its_caller_alive() -> None:
    class Request:
        """What a caller's context holds."""

    house, request = House(), ContextVar[Request | None]("request", default=None)

    @house.poet(timeout=30.0)
    async def ask() -> None:
        await asyncio.sleep(0.1)

    async def handle() -> weakref.ref[Request]:
        held = Request()
        request.set(held)
        await ask()
        return weakref.ref(held)

    async def main() -> None:
        dead = await asyncio.create_task(handle())
        await asyncio.sleep(0)  # the loop lets go of what it did last
        assert house.clock.now() < 130.0  # the timer is armed
        assert dead() is None

    run(main(), house.clock)


def test_only_the_first_wrapper_of_a_function_outlives_it() -> None:
    house = House()

    def make() -> Any:
        @house.poet(name="ask")
        def ask() -> None: ...

        ask()
        return ask

    kept = make()
    (enrolment,) = house.agent.enrolments.values()
    others = [make() for _ in range(3)]
    assert len(enrolment.cells) == 4
    del others
    assert enrolment.cells == [kept.poet._cell]
