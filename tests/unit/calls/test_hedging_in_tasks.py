"""Races between a request and its copies under asyncio, on a virtual clock, against a reference of their own.

The reference walks through a schedule on paper, as sorted moments, and knows nothing of tasks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.deadline import DEADLINE, NEVER
from poet.errors import ConfigurationError
from poet.model.event import Event
from poet.model.execution import Attempt, Execution, Outcome
from poet.testing.clock import run

NEAR = 1e-3  # moments that are closer than this are a tie, which the reference does not decide [s]
How = Literal["answer", "error", "refuse"]


class Refused(Exception):
    """No attempt can mend it."""


class Step(NamedTuple):
    """What one request does, if nobody cancels it; and how long it cleans up when somebody does."""

    length: float
    how: How = "answer"
    cleanup: float = 0.0


@dataclass
class Play:
    """A call of a hedged function whose requests follow a schedule, and all that can be seen of it from outside."""

    steps: Sequence[Step]  # of the first request, then of the copies; the last one for ever
    timeout: float = 10.0
    delay: float = 1.0
    hedges: int = 2
    concurrency: int | None = None
    cancel_at: float | None = None
    budget: int = 100
    retries: int = 0

    def __post_init__(self) -> None:
        self.house = House()
        self.events: list[Event] = []
        self.house.agent.listeners.add(self.events.append)
        self.requests: list[list[float]] = []  # start and end of each [s]
        self.result: Any = None
        self.seconds = math.nan
        self.cancelling = 0
        self.timers = 0
        self.tasks = 0

    async def body(self) -> int:
        number = len(self.requests)
        now = self.house.clock.now
        self.requests.append([now() - 100.0, math.nan])
        step = self.steps[min(number, len(self.steps) - 1)]
        try:
            await asyncio.sleep(step.length)
        except asyncio.CancelledError:
            if step.cleanup:
                await asyncio.sleep(step.cleanup)
            raise
        finally:
            self.requests[number][1] = now() - 100.0
        if step.how == "error":
            raise ConnectionResetError(number)
        if step.how == "refuse":
            raise Refused(number)
        return number

    async def call(self) -> None:
        start = self.house.clock.now()
        try:
            self.result = await self.function()
        except (ConnectionResetError, Refused, poet.PoetTimeout, poet.Overloaded) as error:
            self.result = error
        finally:
            self.seconds = self.house.clock.now() - start
            task = asyncio.current_task()
            assert task is not None
            self.cancelling = task.cancelling()
            self.last = self.function.poet.last
            self.deadline_after = DEADLINE.get()

    async def main(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(self.call())
        if self.cancel_at is not None:
            loop.call_later(self.cancel_at, task.cancel)
        (self.end,) = await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(100)  # what was given up cleans up
        self.tasks = len(asyncio.all_tasks())
        self.timers = sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]

    def run(self) -> Play:
        self.function = self.house.poet(
            timeout=self.timeout,
            hedge_delay=self.delay,
            hedges=self.hedges,
            retries=self.retries,
            backoff=0,
            name="f",
            dependency=poet.Dependency(
                "x", concurrency=self.concurrency, budget=poet.Budget(share=0.0, floor=self.budget)
            ),
            tunables={"hedges": poet.Integer(0, 8)},
        )(self._function())
        run(self.main(), self.house.clock)
        return self

    def _function(self) -> Any:
        async def function() -> int:
            return await self.body()

        return function

    @property
    def said(self) -> str:
        """What the caller saw."""
        if isinstance(self.end, asyncio.CancelledError):
            return "cancelled"
        assert self.end is None
        if isinstance(self.result, BaseException):
            return type(self.result).__name__
        return f"answer of {self.result}"

    @property
    def execution(self) -> Execution:
        assert isinstance(self.last, Execution)
        return self.last


class Expected(NamedTuple):
    """What the reference says."""

    said: str
    seconds: float
    attempts: tuple[Attempt, ...]
    outcome: Outcome


def reference(play: Play) -> Expected:
    """The race on paper. Only for schedules without ties, retries, and cleaning up."""
    limit = play.timeout if play.cancel_at is None else min(play.timeout, play.cancel_at)
    assume(play.cancel_at is None or abs(play.timeout - play.cancel_at) > NEAR)
    started = {0: 0.0}  # requests by number: when they were sent
    ended: dict[int, tuple[float, Outcome]] = {}
    ends = {"answer": Outcome.SUCCESS, "error": Outcome.ERROR, "refuse": Outcome.REFUSED}
    step_of = lambda number: play.steps[min(number, len(play.steps) - 1)]  # noqa: E731 - a word for it
    due, spent = 1, 0

    def record(own: tuple[float, Outcome], now: float) -> tuple[Attempt, ...]:
        copies = tuple(
            Attempt(
                ended[n][1] if n in ended else Outcome.CANCELLED,
                (ended[n][0] if n in ended else now) - start,
                start,
                True,
            )
            for n, start in started.items()
            if n
        )
        return (Attempt(own[1], own[0]), *copies)

    while True:
        running = {n: start + step_of(n).length for n, start in started.items() if n not in ended}
        moments = [(moment, "end", n) for n, moment in running.items()] + [(limit, "limit", 0)]
        if due <= play.hedges:
            moments.append((due * play.delay, "due", 0))
        now, what, number = min(moments)
        others = sorted(moment for moment, *_ in moments)
        assume(all(b - a > NEAR for a, b in pairwise(others)))
        if what == "limit":
            cancelled = limit == play.cancel_at
            own = ended.get(0, (now, Outcome.CANCELLED if cancelled else Outcome.TIMEOUT))
            outcome = Outcome.CANCELLED if cancelled else Outcome.TIMEOUT
            return Expected("cancelled" if cancelled else "PoetTimeout", now, record(own, now), outcome)
        if what == "due":
            due += 1
            places = len(running) + (0 in ended)  # the attempt keeps its own until it is over
            if spent < play.budget and (play.concurrency is None or places < play.concurrency):
                started[len(started)] = now
                spent += 1  # where there is no place, the request goes back to the budget
            continue
        ended[number] = now, ends[step_of(number).how]
        if ended[number][1] is Outcome.SUCCESS:
            own = ended.get(0, (now, Outcome.CANCELLED))
            return Expected(f"answer of {number}", now, record(own, now), Outcome.SUCCESS)
        if number == 0 and ended[0][1] is Outcome.REFUSED:
            return Expected("Refused", now, record(ended[0], now), Outcome.REFUSED)
        if 0 in ended and len(running) == 1:  # it was the last one
            return Expected("ConnectionResetError", now, record(ended[0], now), Outcome.ERROR)


def tidy(play: Play) -> None:
    """Whatever has happened, nothing is left behind."""
    assert play.tasks == 1  # the one that looks
    assert play.timers <= 1  # of the watch, which keeps one armed
    assert play.house.agent.dependencies["x"].running == 0
    assert play.cancelling == (1 if play.said == "cancelled" else 0)
    assert play.deadline_after == NEVER
    assert all(not math.isnan(end) for _, end in play.requests)
    sent = sum(event.kind == "hedge" for event in play.events)
    assert sent == sum(attempt.hedge for attempt in play.execution.attempts)
    assert len(play.requests) == len(play.execution.attempts)


Steps = st.lists(
    st.builds(Step, st.floats(0.05, 14.0), st.sampled_from(["answer", "answer", "error", "refuse"]), st.just(0.0)),
    min_size=1,
    max_size=5,
)
Schedules = st.builds(
    Play,
    Steps,
    timeout=st.floats(0.5, 12.0),
    delay=st.floats(0.1, 6.0),
    hedges=st.integers(1, 4),
    concurrency=st.none() | st.integers(1, 4),
    cancel_at=st.none() | st.floats(0.1, 12.0),
    budget=st.integers(0, 5),
)
many = settings(max_examples=300, deadline=None)


@many
@given(Schedules)
@example(Play([Step(5.0, "error"), Step(2.0, "error"), Step(3.0)], delay=4.0))
def test_the_caller_sees_what_the_reference_says_when_it_says(play: Play) -> None:
    expected = reference(play)
    play.run()
    assert play.said == expected.said
    assert play.seconds == pytest.approx(expected.seconds, abs=1e-6)
    assert play.execution.outcome is expected.outcome
    tidy(play)


@many
@given(Schedules)
def test_the_record_tells_of_every_request_with_its_own_end_and_length(play: Play) -> None:
    expected = reference(play)
    play.run()
    attempts = play.execution.attempts
    assert [(a.outcome, a.hedge) for a in attempts] == [(a.outcome, a.hedge) for a in expected.attempts]
    assert [a.seconds for a in attempts] == pytest.approx([a.seconds for a in expected.attempts], abs=1e-6)
    assert [a.waited for a in attempts] == pytest.approx([a.waited for a in expected.attempts], abs=1e-6)


@many
@given(Schedules)
def test_the_record_tells_of_every_copy_with_its_own_end_and_length(play: Play) -> None:
    expected = [a for a in reference(play).attempts if a.hedge]
    play.run()
    copies = [a for a in play.execution.attempts if a.hedge]
    assert [a.outcome for a in copies] == [a.outcome for a in expected]
    assert [a.seconds for a in copies] == pytest.approx([a.seconds for a in expected], abs=1e-6)
    assert [a.waited for a in copies] == pytest.approx([a.waited for a in expected], abs=1e-6)


@many
@given(
    st.lists(
        st.builds(
            Step, st.floats(0.0, 8.0), st.sampled_from(["answer", "error", "refuse"]), st.sampled_from([0.0, 0.3, 4.0])
        ),
        min_size=1,
        max_size=6,
    ),
    st.floats(0.5, 6.0),
    st.floats(0.05, 3.0),
    st.integers(1, 3),
    st.none() | st.integers(1, 3),
    st.none() | st.floats(0.0, 14.0),
    st.integers(0, 2),
)
def test_whatever_is_cancelled_and_cleans_up_nothing_is_left_behind(
    steps: list[Step],
    timeout: float,
    delay: float,
    hedges: int,
    concurrency: int | None,
    cancel_at: float | None,
    retries: int,
) -> None:
    play = Play(steps, timeout, delay, hedges, concurrency, cancel_at, retries=retries).run()
    assert play.tasks == 1
    assert play.timers <= 1
    assert play.house.agent.dependencies["x"].running == 0
    assert play.cancelling <= 1
    assert play.deadline_after == NEVER
    if play.said == "cancelled":
        assert cancel_at is not None
    play.house.agent.flush()
    (execution,) = play.house.store.executions(play.function.poet._trainee.key)
    # A copy that is given up in the very instant in which it was sent has not begun; it was told of all the same.
    begun = [a for a in execution.attempts if not (a.hedge and a.outcome is Outcome.CANCELLED and a.seconds < NEAR)]
    assert len(begun) <= len(play.requests) <= len(execution.attempts)
    assert all(a.seconds >= 0 for a in execution.attempts)
    assert not execution.attempts[0].hedge
    assert execution.outcome.good == play.said.startswith("answer")


def test_a_first_request_that_failed_keeps_its_own_end_where_a_copy_wins() -> None:
    play = Play([Step(1.5, "error"), Step(4.0)], delay=1.0, hedges=1).run()
    assert play.said == "answer of 1"
    first, copy = play.execution.attempts
    assert (first.outcome, first.seconds) == (Outcome.ERROR, pytest.approx(1.5))
    assert (copy.outcome, copy.seconds, copy.waited) == (Outcome.SUCCESS, pytest.approx(4.0), pytest.approx(1.0))


def test_a_first_request_that_failed_keeps_its_own_end_where_the_limit_comes() -> None:
    play = Play([Step(1.5, "error"), Step(60.0)], delay=1.0, hedges=1, timeout=5.0).run()
    assert play.said == "PoetTimeout"
    first, copy = play.execution.attempts
    assert (first.outcome, first.seconds) == (Outcome.ERROR, pytest.approx(1.5))
    assert (copy.outcome, copy.seconds) == (Outcome.CANCELLED, pytest.approx(4.0))


def test_a_call_that_answers_in_time_makes_no_task_and_no_copy() -> None:
    play = Play([Step(0.5)], delay=1.0).run()
    assert play.said == "answer of 0"
    assert len(play.requests) == 1
    assert play.events == []
    assert play.execution.attempts == (Attempt(Outcome.SUCCESS, pytest.approx(0.5)),)


def test_losers_are_cancelled_at_once_and_their_length_is_true() -> None:
    play = Play([Step(60.0), Step(60.0), Step(0.5)], delay=1.0, hedges=2).run()
    assert play.said == "answer of 2"
    assert [start for start, _ in play.requests] == pytest.approx([0.0, 1.0, 2.0])
    assert [end for _, end in play.requests] == pytest.approx([2.5, 2.5, 2.5])
    assert [(a.outcome, a.seconds) for a in play.execution.attempts] == [
        (Outcome.CANCELLED, pytest.approx(2.5)),
        (Outcome.CANCELLED, pytest.approx(1.5)),
        (Outcome.SUCCESS, pytest.approx(0.5)),
    ]


def test_an_answer_that_has_come_is_not_lost_while_the_first_request_cleans_up_beyond_the_limit() -> None:
    # The copy answered at 1.5 s of 3. That the loser takes until 6 s to clean up is no reason for a timeout.
    play = Play([Step(60.0, cleanup=4.5), Step(0.5)], delay=1.0, hedges=1, timeout=3.0).run()
    assert play.said == "answer of 1"
    assert play.seconds <= 3.0 + 1e-6


def test_a_caller_that_is_cancelled_while_the_loser_cleans_up_stays_cancelled() -> None:
    play = Play([Step(60.0, cleanup=2.0), Step(0.5)], delay=1.0, hedges=1, cancel_at=2.0).run()
    assert play.said == "cancelled"
    assert play.cancelling == 1
    assert [a.outcome for a in play.execution.attempts] == [Outcome.CANCELLED, Outcome.SUCCESS]


@pytest.mark.parametrize("moment", [k / 8 for k in range(1, 40)])
def test_a_caller_that_is_cancelled_at_any_moment_is_cancelled_then_or_had_its_answer(moment: float) -> None:
    # Ties included: the copies are sent at 1 s and 2 s, and the answer comes at 3 s.
    play = Play([Step(60.0), Step(60.0), Step(1.0)], cancel_at=moment).run()
    assert play.said == ("cancelled" if moment < 3.0 else "answer of 2") or (moment == 3.0 and play.said == "cancelled")
    assert play.seconds == pytest.approx(min(moment, 3.0))
    tidy_where_equal = play.cancelling == (1 if play.said == "cancelled" else 0)
    assert tidy_where_equal or moment == 3.0
    assert play.tasks == 1


def custom(house: House, body: Any, **options: Any) -> Any:
    return house.poet(**{"timeout": 10.0, "hedge_delay": 1.0, "retries": 0, "name": "f", **options})(body)


async def settled() -> None:
    await asyncio.sleep(50)
    assert len(asyncio.all_tasks()) == 1


def test_a_first_request_that_swallows_its_cancellation_and_answers_has_answered() -> None:
    house, number = House(), 0

    async def body() -> str:
        nonlocal number
        number += 1
        if number == 2:
            return "copy"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        return "first"

    ask = custom(house, body)

    async def main() -> Any:
        assert await ask() in ("first", "copy")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        last = ask.poet.last
        await settled()
        return last

    last = run(main(), house.clock)
    assert last.outcome is Outcome.SUCCESS
    assert [a.outcome for a in last.attempts] == [Outcome.SUCCESS, Outcome.SUCCESS]
    assert [a.seconds for a in last.attempts] == pytest.approx([1.5, 0.0])


def test_a_first_request_that_fails_over_its_cancellation_has_lost() -> None:
    house, number = House(), 0

    async def body() -> str:
        nonlocal number
        number += 1
        if number == 2:
            return "copy"
        try:
            await asyncio.sleep(60)
        finally:
            raise KeyError("closing failed")

    ask = custom(house, body)

    async def main() -> None:
        assert await ask() == "copy"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await settled()

    run(main(), house.clock)


def test_copies_that_swallow_their_cancellation_change_nothing_any_more() -> None:
    house, number, ended = House(), 0, []

    async def body() -> int:
        nonlocal number
        number += 1
        mine = number
        if mine == 1:
            await asyncio.sleep(2.5)
            return 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
            ended.append(mine)
        if mine == 2:
            raise KeyError("nobody hears this")
        return mine

    ask = custom(house, body, hedges=2, dependency=poet.Dependency("x", concurrency=3))

    async def main() -> None:
        assert await ask() == 1
        assert [a.outcome for a in ask.poet.last.attempts] == [
            Outcome.SUCCESS,
            Outcome.CANCELLED,
            Outcome.CANCELLED,
        ]
        assert [a.seconds for a in ask.poet.last.attempts] == pytest.approx([2.5, 1.5, 0.5])
        await settled()

    run(main(), house.clock)
    assert ended == [2, 3]
    assert house.agent.dependencies["x"].running == 0


MINE: ContextVar[str] = ContextVar("mine", default="nobody's")


def test_copies_see_the_callers_context_and_change_none_but_their_own() -> None:
    house = House()
    seen: list[tuple[str, float | None]] = []

    async def body() -> str:
        seen.append((MINE.get(), poet.remaining()))
        MINE.set(f"changed by {len(seen)}")
        await asyncio.sleep(60 if len(seen) < 3 else 0.5)
        return MINE.get()

    ask = custom(house, body, hedges=2)

    async def main() -> None:
        MINE.set("the caller's")
        assert await ask() == "changed by 3"

    run(main(), house.clock)
    assert seen == [("the caller's", 10.0), ("the caller's", 9.0), ("the caller's", 8.0)]


def test_each_copys_result_is_checked() -> None:
    house, number = House(), 0

    async def body() -> int:
        nonlocal number
        number += 1
        mine = number
        await asyncio.sleep({1: 60, 2: 0.5}.get(mine, 1.0))
        return mine

    ask = custom(house, body, hedges=2, enforce=lambda n: n != 2)

    async def main() -> Any:
        return await ask(), ask.poet.last

    result, last = run(main(), house.clock)
    assert result == 3
    assert [a.outcome for a in last.attempts] == [Outcome.CANCELLED, Outcome.ERROR, Outcome.SUCCESS]


def test_the_first_requests_error_comes_out_unchanged_where_no_copy_can_mend_it() -> None:
    house, number = House(), 0
    errors = [ConnectionResetError("first"), ConnectionResetError("copy")]

    async def body() -> None:
        nonlocal number
        number += 1
        mine = number
        await asyncio.sleep(1.5 if mine == 1 else 2.0)
        raise errors[mine - 1]

    async def main() -> None:
        with pytest.raises(ConnectionResetError) as caught:
            await custom(house, body)()
        assert caught.value is errors[0]
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        assert vars(caught.value) == {}

    run(main(), house.clock)


def test_one_error_for_all_requests_makes_no_difference() -> None:
    house = House()
    error = ConnectionResetError("the only one")

    async def body() -> None:
        await asyncio.sleep(1.5)
        raise error

    ask = custom(house, body, retries=1, backoff=0)

    async def main() -> Any:
        async def one() -> Any:
            with pytest.raises(ConnectionResetError):
                await ask()
            return ask.poet.last

        return await asyncio.gather(one(), one())

    for last in run(main(), house.clock):
        assert [a.hedge for a in last.attempts] == [False, True, False, True]
        assert [a.outcome for a in last.attempts] == [Outcome.ERROR] * 4
    assert vars(error) == {}


def test_retries_are_counted_without_the_copies() -> None:
    play = Play([Step(1.5, "error")] * 6 + [Step(0.5)], delay=1.0, hedges=1, retries=3).run()
    assert play.said == "answer of 6"
    assert [a.hedge for a in play.execution.attempts] == [False, True] * 3 + [False]


def test_an_open_breaker_sends_no_copies() -> None:
    house = House()
    dependency = poet.Dependency("x", breaker=poet.Breaker(min_calls=1, open_for=60))
    asked = 0

    async def body(length: float) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(length)
        if length < 1:
            raise ConnectionResetError

    ask = custom(house, body, dependency=dependency)

    async def main() -> None:
        slow = asyncio.create_task(ask(5.0))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionResetError):
            await ask(0.5)
        await slow
        assert [a.hedge for a in ask.poet.last.attempts] == [False] if ask.poet.last else True

    run(main(), house.clock)
    assert asked == 2


def test_the_copies_of_all_callers_stay_within_the_budget_and_get_nothing_back() -> None:
    house = House()
    sent = 0

    async def body() -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(1.2)

    dependency = poet.Dependency("x", budget=poet.Budget(share=0.1, floor=3, window=1000.0))
    ask = custom(house, body, dependency=dependency, hedges=1)

    async def main() -> None:
        for _ in range(5):
            await asyncio.gather(*(ask() for _ in range(20)))

    run(main(), house.clock)
    assert 100 + 3 <= sent <= 100 + 10


def test_a_nested_call_within_a_copy_has_the_attempts_deadline() -> None:
    house = House()
    left: list[float | None] = []

    @house.poet(timeout=100.0, name="inner")
    async def inner() -> None:
        left.append(poet.remaining())
        await asyncio.sleep(60 if len(left) == 1 else 0.1)

    async def body() -> None:
        await inner()

    run(custom(house, body)(), house.clock)
    assert left == [10.0, 9.0]


def test_a_copy_is_not_sent_at_or_behind_the_limit() -> None:
    for delay in (3.0, 3.5, 9.0):
        play = Play([Step(60.0)], timeout=3.0, delay=delay).run()
        assert (play.said, len(play.requests)) == ("PoetTimeout", 1)


def test_asyncio_timeout_around_a_race_still_works() -> None:
    house = House()

    async def body() -> None:
        await asyncio.sleep(60)

    ask = custom(house, body, hedges=3)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await ask()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await settled()

    run(main(), house.clock)
    assert house.clock.now() == pytest.approx(152.5)


def test_a_task_group_that_breaks_up_takes_races_with_it() -> None:
    house = House()

    async def body() -> None:
        await asyncio.sleep(60)

    ask = custom(house, body, hedges=2, dependency=poet.Dependency("x", concurrency=9))

    async def fail() -> None:
        await asyncio.sleep(1.5)
        raise KeyError

    async def main() -> None:
        async def several() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(ask())
                group.create_task(fail())

        with pytest.raises(ExceptionGroup):
            await several()
        await settled()

    run(main(), house.clock)
    assert house.agent.dependencies["x"].running == 0
    house.agent.flush()
    stored = list(house.store.executions(ask.poet._trainee.key))
    assert [[a.outcome for a in e.attempts] for e in stored] == [[Outcome.CANCELLED, Outcome.CANCELLED]] * 3


def test_a_loop_that_ends_in_the_midst_of_a_race_leaves_no_warning() -> None:
    house = House()

    async def body() -> None:
        await asyncio.sleep(60)

    ask = custom(house, body)

    async def main() -> asyncio.Task[Any]:
        task = asyncio.create_task(ask())
        await asyncio.sleep(1.5)
        return task  # and the runner cancels what is left

    assert run(main(), house.clock).cancelled()


def test_a_number_of_copies_below_none_is_refused() -> None:
    # A plan with -1 of them would cut every attempt off at its hedge's delay.
    async def body() -> None: ...

    with pytest.raises(ConfigurationError, match="hedges"):
        custom(House(), body, tunables={"hedges": poet.Integer(-1, 2)})


def test_a_hedged_call_that_is_switched_off_by_hand_goes_on_without() -> None:
    house = House()
    sent = 0

    async def body() -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(5)

    ask = custom(house, body)

    async def main() -> None:
        ask.poet.pin(hedges=0)
        await ask()

    run(main(), house.clock)
    assert sent == 1


def test_listeners_hear_of_a_hedge_in_the_context_of_its_call() -> None:
    house, request = House(), ContextVar("request", default="none")
    heard: list[tuple[str, str]] = []
    house.agent.listeners.add(lambda event: heard.append((event.kind, request.get())))
    lengths = iter((9.0, 1.0, 9.0, 1.0))

    async def body() -> None:
        await asyncio.sleep(next(lengths))

    ask = custom(house, body)

    async def main(name: str) -> None:
        request.set(name)
        await ask()

    async def both() -> None:
        await asyncio.gather(main("first"))
        await asyncio.gather(main("second"))

    run(both(), house.clock)
    assert heard == [("hedge", "first"), ("hedge_won", "first"), ("hedge", "second"), ("hedge_won", "second")]
