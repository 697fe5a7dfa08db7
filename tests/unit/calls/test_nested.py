"""Calls within calls: one deadline for all, and retries that do not multiply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.deadline import DEADLINE, NEVER
from poet.model.execution import Outcome
from poet.testing.clock import run

WIDE = poet.Budget(floor=10_000)


class Tower:
    """Functions each of which calls the one below; the lowest asks a dependency that does not answer."""

    def __init__(
        self, house: House, retries: list[int], fail: Callable[[], None], *, through: Callable[[Any], Any] | None = None
    ) -> None:
        """retries: of the outermost first. through: how a floor calls the one below, default: plainly."""
        self.requests = 0
        self._fail = fail
        below: Any = self._ask
        for depth in reversed(range(len(retries))):
            below = self._floor(house, below, retries[depth], f"floor {depth}", through)
        self.call: Any = below

    def _ask(self) -> None:
        self.requests += 1
        self._fail()

    def _floor(self, house: House, below: Any, retries: int, name: str, through: Any) -> Any:
        @house.poet(
            retries=retries, backoff=0, timeout=1000.0, name=name, dependency=poet.Dependency(name, budget=WIDE)
        )
        def floor() -> Any:
            return below() if through is None or below == self._ask else through(below)

        return floor


def reset() -> None:
    raise ConnectionResetError


def expected(retries: list[int]) -> int:
    """The innermost that retries does; who stands around it gives up."""
    innermost = next((count for count in reversed(retries) if count), 0)
    return 1 + innermost


@given(st.lists(st.integers(0, 3), min_size=1, max_size=2))
def test_a_call_around_one_that_has_retried_does_not_multiply_its_requests(retries: list[int]) -> None:
    tower = Tower(House(), retries, reset)
    with pytest.raises(ConnectionResetError):
        tower.call()
    assert tower.requests == expected(retries)


@given(st.lists(st.integers(0, 3), min_size=3, max_size=5))
def test_nor_does_one_around_that_however_many_there_are(retries: list[int]) -> None:
    tower = Tower(House(), retries, reset)
    with pytest.raises(ConnectionResetError):
        tower.call()
    assert tower.requests == expected(retries)


def test_one_error_for_all_failures_makes_no_difference() -> None:
    error = ConnectionResetError("the only one")

    def fail() -> None:
        raise error

    for _ in range(3):
        tower = Tower(House(), [3, 2], fail)
        with pytest.raises(ConnectionResetError) as caught:
            tower.call()
        assert caught.value is error
        assert tower.requests == 3


def test_an_error_that_a_floor_has_wrapped_still_tells_of_the_retries_below() -> None:
    class ServiceError(ConnectionError):
        pass

    def through(below: Any) -> Any:
        try:
            return below()
        except ConnectionError as error:
            raise ServiceError("below") from error

    tower = Tower(House(), [3, 2], reset, through=through)
    with pytest.raises(ConnectionError):
        tower.call()
    assert tower.requests == 3


def hanging(house: House, log: list[float], **options: Any) -> Any:
    @house.poet(**{"timeout": 1.0, "backoff": 0, "name": "inner", **options})
    async def inner() -> None:
        log.append(house.clock.now())
        await asyncio.sleep(1000)

    return inner


def test_attempts_that_were_cut_off_are_not_multiplied_either() -> None:
    # What is raised is a new PoetTimeout then, and not the error that the attempt ended with.
    house = House()
    log: list[float] = []
    inner = hanging(house, log, retries=2)

    @house.poet(timeout=100.0, retries=3, backoff=0)
    async def outer() -> None:
        await inner()

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await outer()

    run(main(), house.clock)
    assert len(log) == 3


def test_under_threads_that_are_left_behind_likewise() -> None:
    from poet.seams import SYSTEM_CLOCK

    house = House(clock=SYSTEM_CLOCK)
    asked, go_on = 0, threading.Event()

    @house.poet(timeout=0.01, retries=1, backoff=0, enforce_timeout="thread", name="inner")
    def inner() -> None:
        nonlocal asked
        asked += 1
        go_on.wait(10)

    @house.poet(timeout=10.0, retries=3, backoff=0)
    def outer() -> None:
        inner()

    try:
        with pytest.raises(poet.PoetTimeout):
            outer()
        assert asked == 2
    finally:
        go_on.set()


def test_what_the_call_around_can_mend_by_itself_it_repeats() -> None:
    house = House()
    tower = Tower(house, [3], reset)
    tries = 0

    @house.poet(retries=3, backoff=0)
    def outer() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionAbortedError("its own")
        with suppress(ConnectionResetError):
            tower.call()
        return "done"

    assert outer() == "done"
    assert tries == 3
    assert tower.requests == 4


def test_a_call_within_that_has_not_retried_is_repeated_by_the_one_around() -> None:
    tower = Tower(House(), [2, 0], reset)
    with pytest.raises(ConnectionResetError):
        tower.call()
    assert tower.requests == 3


def test_an_error_that_was_dealt_with_and_comes_again_later_is_not_mistaken() -> None:
    # A client may keep its error, or have but one: what an earlier call did with it is long past.
    house = House()
    error = ConnectionResetError("the only one")

    def fail() -> None:
        raise error

    tower = Tower(house, [2], fail)

    @house.poet(retries=0)
    def careful() -> None:
        with suppress(ConnectionResetError):
            tower.call()

    careful()
    house.clock.sleep(1.0)
    tries = 0

    @house.poet(retries=2, backoff=0)
    def other() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise error
        return "done"

    assert other() == "done"


def test_an_error_that_reached_the_user_and_comes_again_later_is_not_mistaken() -> None:
    house = House()
    error = ConnectionResetError("the only one")

    def fail() -> None:
        raise error

    with pytest.raises(ConnectionResetError):
        Tower(house, [0, 2], fail).call()
    tries = 0

    @house.poet(retries=1, backoff=0)
    def other() -> str:
        nonlocal tries
        tries += 1
        if tries < 2:
            raise error
        return "done"

    assert other() == "done"


def test_the_users_error_bears_nothing_of_ours_in_the_end() -> None:
    error = ConnectionResetError("mine")

    def fail() -> None:
        raise error

    for retries in ([2], [0, 2], [2, 2], [0, 0, 2]):
        with pytest.raises(ConnectionResetError):
            Tower(House(), retries, fail).call()
        assert vars(error) == {}


class Frozen(ConnectionError):
    """It takes no attributes."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("frozen")


def test_an_error_that_takes_no_marks_comes_out_all_the_same() -> None:
    def fail() -> None:
        raise Frozen("mine")

    with pytest.raises(Frozen, match="mine"):
        Tower(House(), [1, 1], fail).call()


@given(st.lists(st.floats(0.5, 20.0), min_size=1, max_size=5), st.floats(0.0, 3.0))
def test_what_remains_within_is_the_smallest_of_all_that_stand_around(limits: list[float], passed: float) -> None:
    house = House()
    seen: list[tuple[float | None, float]] = []

    def floor(depth: int) -> Any:
        @house.poet(timeout=limits[depth], retries=0, name=f"floor {depth}")
        def call() -> None:
            left = min(limit - passed * (depth - outer) for outer, limit in enumerate(limits[: depth + 1]))
            seen.append((poet.remaining(), left))
            house.clock.sleep(passed)
            if depth + 1 < len(limits):
                floor(depth + 1)()

        return call

    with suppress(poet.PoetTimeout):
        floor(0)()
    assert DEADLINE.get() == NEVER
    for remaining, left in seen:
        assert remaining == pytest.approx(max(0.0, left))


def test_a_deadline_of_the_whole_call_ends_the_calls_within_and_their_retries() -> None:
    house = House()
    log: list[float] = []
    inner = hanging(house, log, retries=9)

    @house.poet(timeout=50.0, deadline=3.5, retries=9, backoff=0)
    async def outer() -> None:
        await inner()

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await outer()

    run(main(), house.clock)
    assert log == pytest.approx([100.0, 101.0, 102.0, 103.0])
    assert house.clock.now() == pytest.approx(103.5)


def test_a_pause_within_is_never_longer_than_what_remains_around() -> None:
    house = House()

    @house.poet(retries=5, backoff=8.0, timeout=50.0)
    def inner() -> None:
        house.clock.sleep(0.1)
        raise ConnectionResetError

    @house.poet(timeout=2.0, retries=0)
    def outer() -> None:
        inner()

    with pytest.raises(ConnectionResetError):
        outer()
    assert house.clock.now() <= 102.0 + 1e-9


def test_a_call_that_came_too_late_was_not_made_and_is_recorded_as_that() -> None:
    house = House()
    called = False

    @house.poet(name="inner")
    def inner() -> None:
        nonlocal called
        called = True

    @house.poet(timeout=1.0, retries=0)
    def outer() -> None:
        house.clock.sleep(1.0)
        inner()

    with pytest.raises(poet.PoetTimeout):
        outer()
    assert not called
    assert inner.poet.last.outcome is Outcome.SHED
    assert inner.poet.last.error == "PoetTimeout"
    assert outer.poet.last.outcome is Outcome.TIMEOUT


def test_the_deadline_around_is_back_after_a_call_within_however_it_ended() -> None:
    house = House()
    ends: list[Any] = [None, ConnectionResetError(), ValueError(), KeyboardInterrupt()]

    @house.poet(timeout=1.0, retries=0)
    def inner(end: Any) -> None:
        if end is not None:
            raise end

    @house.poet(timeout=10.0, retries=0)
    def outer() -> list[float | None]:
        left: list[float | None] = []
        for end in ends:
            with suppress(BaseException):
                inner(end)
            left.append(poet.remaining())
        return left

    assert outer() == [10.0] * len(ends)


def test_a_shed_call_within_is_not_repeated_by_the_one_around() -> None:
    house = House()
    dependency = poet.Dependency("x", breaker=poet.Breaker(min_calls=1))

    @house.poet(dependency=dependency, retries=0)
    def inner() -> None:
        raise ConnectionResetError

    @house.poet(retries=3, backoff=0)
    def outer() -> None:
        inner()

    with pytest.raises(poet.CircuitOpen):
        outer()  # its second attempt finds the circuit open
    assert [attempt.outcome for attempt in outer.poet.last.attempts] == [Outcome.ERROR, Outcome.SHED]


def test_an_argument_that_is_told_the_limit_is_told_what_remains_around() -> None:
    house = House()

    @house.poet(timeout=30.0, timeout_arg="timeout")
    def inner(timeout: float | None = None) -> float | None:
        return timeout

    @house.poet(timeout=3.0)
    def outer() -> float | None:
        house.clock.sleep(1.0)
        return inner()

    assert inner() == 30.0
    assert outer() == 2.0


def test_tasks_within_keep_the_deadline_and_what_they_retry_to_themselves() -> None:
    house = House()
    asked: list[int] = []

    @house.poet(timeout=5.0, retries=1, backoff=0, name="inner")
    async def inner(n: int) -> float | None:
        asked.append(n)
        await asyncio.sleep(n)
        if n == 2:
            raise ConnectionResetError
        return poet.remaining()

    left: dict[int, float | None] = {}

    @house.poet(timeout=3.5, retries=0)
    async def outer() -> None:
        async def one(n: int) -> None:
            left[n] = await inner(n)

        await asyncio.gather(*(one(n) for n in (1, 2, 3)))

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):  # the second attempt of one would have ended at 4 s
            await outer()

    run(main(), house.clock)
    assert house.clock.now() == pytest.approx(103.5)
    assert left == {1: pytest.approx(2.5), 3: pytest.approx(0.5)}
    assert sorted(asked) == [1, 2, 2, 3]
