from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import pickle
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.perceive import FEATURES, Perceiver
from poet.calls.streams import async_stream, stream
from poet.learning.evidence import Evidence
from poet.model.dependency import Breaker, Dependency
from poet.model.event import Event
from poet.model.execution import Execution, Outcome
from poet.seams import SYSTEM_CLOCK, Probe
from poet.stores import chunk
from poet.testing.clock import VirtualClock, VirtualLoop, run


class Planned(Exception):
    """What bodies and consumers raise here."""


def last(function: Any) -> Execution:
    execution = function.poet.last
    assert isinstance(execution, Execution)
    return execution


def stored(house: House, function: Any) -> list[Execution]:
    house.agent.flush()
    return list(house.store.executions(function.poet._trainee.key))


def play(house: House, coroutine: Coroutine[Any, Any, Any]) -> Any:
    assert isinstance(house.clock, VirtualClock)
    return run(coroutine, house.clock)


def brakes_of(function: Any) -> Any:
    return function.poet._cell.brakes


# ------------------------------------------------------------ sync


def counting(house: House, *waits: float, **options: Any) -> Any:
    """A stream of 1, 2, … whose items take these seconds to make."""

    @house.poet(**options)
    def count() -> Iterator[int]:
        for number, wait in enumerate(waits, 1):
            house.clock.sleep(wait)
            yield number

    return count


def test_a_decorated_generator_is_a_generator_function_with_its_own_signature() -> None:
    house = House()

    @house.poet
    def items(n: int, *, step: int = 1) -> Iterator[int]:
        """Counts."""
        yield from range(0, n, step)

    assert inspect.isgeneratorfunction(items)
    assert str(inspect.signature(items)) == "(n: 'int', *, step: 'int' = 1) -> 'Iterator[int]'"
    assert items.__doc__ == "Counts."
    assert list(items(5, step=2)) == [0, 2, 4]


def test_nothing_happens_before_the_first_item_is_asked_for() -> None:
    house = House()
    count = counting(house, 1.0, deadline=2.0)
    items = count()
    house.clock.sleep(100.0)
    assert last_or_none(count) is None
    assert next(items) == 1
    unused = count()
    unused.close()
    items.close()
    assert len(stored(house, count)) == 1


def last_or_none(function: Any) -> Any:
    return function.poet.last


def test_the_attempt_is_as_long_as_the_first_item_takes_and_the_call_as_long_as_the_stream() -> None:
    house = House()
    count = counting(house, 0.5, 0.25, 0.25)
    for _ in count():
        house.clock.sleep(10.0)
    execution = last(count)
    assert execution.outcome is Outcome.SUCCESS
    assert [a.seconds for a in execution.attempts] == pytest.approx([0.5])
    assert execution.seconds == pytest.approx(31.0)


def test_items_are_given_one_by_one_as_they_are_made() -> None:
    house = House()
    made: list[int] = []

    @house.poet
    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    seen = [(item, len(made)) for item in items()]
    assert seen == [(0, 1), (1, 2), (2, 3)]


def test_an_empty_stream_is_an_answer() -> None:
    house = House()
    count = counting(house)
    assert list(count()) == []
    assert last(count).outcome is Outcome.SUCCESS
    assert len(last(count).attempts) == 1


def failing(house: House, script: list[list[Any]], **options: Any) -> Any:
    """Each attempt takes the next list: items to yield, seconds (floats) to take, errors to raise."""
    attempts = iter(script)

    @house.poet(**options)
    def items() -> Iterator[Any]:
        for step in next(attempts):
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                house.clock.sleep(step)
            else:
                yield step

    return items


def test_before_its_first_item_a_stream_is_retried() -> None:
    house = House()
    items = failing(house, [[0.5, ConnectionError()], [ConnectionError()], [0.25, 1, 2]], retries=2)
    assert list(items()) == [1, 2]
    execution = last(items)
    assert [a.outcome for a in execution.attempts] == [Outcome.ERROR, Outcome.ERROR, Outcome.SUCCESS]
    assert [a.seconds for a in execution.attempts] == pytest.approx([0.5, 0.0, 0.25])
    assert execution.outcome is Outcome.SUCCESS
    assert execution.error == ""
    assert execution.seconds == pytest.approx(sum(a.seconds + a.waited for a in execution.attempts))


def test_after_its_first_item_it_is_not_retried_and_the_error_comes_out_as_it_is() -> None:
    house = House()
    error = ConnectionError("gone")
    items = failing(house, [[0.5, 1, 1.0, error], [2]], retries=3)
    stream_ = items()
    assert next(stream_) == 1
    with pytest.raises(ConnectionError) as caught:
        next(stream_)
    assert caught.value is error
    assert error.__context__ is None
    assert list(stream_) == []
    execution = last(items)
    assert execution.outcome is Outcome.ERROR
    assert execution.error == "ConnectionError"
    assert [(a.outcome, a.seconds) for a in execution.attempts] == [(Outcome.SUCCESS, 0.5)]
    assert execution.seconds == pytest.approx(1.5)


def test_when_all_attempts_fail_the_last_error_comes_out_without_the_ones_before() -> None:
    house = House()
    errors = [ConnectionError("first"), ConnectionError("second")]
    items = failing(house, [[error] for error in errors], retries=1)
    with pytest.raises(ConnectionError) as caught:
        next(items())
    assert caught.value is errors[1]
    assert caught.value.__context__ is None
    assert len(stored(house, items)) == 1


def test_an_error_that_no_attempt_can_mend_is_not_retried() -> None:
    house = House()
    items = failing(house, [[TypeError()], [1]])
    with pytest.raises(TypeError):
        next(items())
    assert last(items).outcome is Outcome.REFUSED


def test_a_retry_that_gives_an_item_gives_its_request_back_to_the_budget() -> None:
    house = House()
    items = failing(house, [[ConnectionError()], [1]])
    waiting = items()
    next(waiting)
    assert brakes_of(items).bucket.recent(house.clock.now())[1] == 0


def test_listeners_hear_of_a_stream_that_breaks_off() -> None:
    house = House()
    events: list[Event] = []
    house.agent.listeners.add(events.append)
    items = failing(house, [[ConnectionError()], [0.5, 1, 0.25, TimeoutError()]], retries=3)
    with suppress(TimeoutError):
        list(items())
    assert [(e.kind, e.attempt, e.outcome, e.detail) for e in events] == [
        ("attempt_failed", 1, "error", ""),
        ("retry", 1, "", ""),
        ("attempt_failed", 2, "timeout", "after the first item"),
        ("gave_up", 2, "timeout", "after the first item"),
    ]
    assert events[2].seconds == pytest.approx(0.75)
    assert events[2].error == "TimeoutError"


def test_who_stops_early_has_what_he_wanted() -> None:
    house = House()
    cleaned: list[float] = []

    @house.poet
    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            cleaned.append(house.clock.now())

    for _ in items():
        house.clock.sleep(5.0)
        break
    assert cleaned == [105.0]
    assert last(items).outcome is Outcome.SUCCESS
    assert last(items).error == ""


def test_a_body_that_fails_while_it_is_closed_has_failed() -> None:
    house = House()

    @house.poet
    def items() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise ConnectionError

    waiting = items()
    next(waiting)
    with pytest.raises(ConnectionError):
        waiting.close()
    assert last(items).outcome is Outcome.ERROR


def test_a_body_that_will_not_close_is_told_so_as_without_us() -> None:
    house = House()

    @house.poet
    def items() -> Iterator[int]:
        with suppress(GeneratorExit):
            yield 1
        yield 2

    waiting = items()
    next(waiting)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        waiting.close()


def test_what_the_consumer_throws_in_is_no_verdict_on_the_service() -> None:
    house = House()
    count = counting(house, 0.0, 0.0, dependency=Dependency("svc", breaker=Breaker(min_calls=1)))
    items = count()
    next(items)
    error = ConnectionError()
    with pytest.raises(ConnectionError) as caught:
        items.throw(error)
    assert caught.value is error
    assert last(count).outcome is Outcome.CANCELLED
    assert brakes_of(count).circuit.state == "closed"


def test_an_error_after_one_that_the_body_has_handled_does_not_seem_to_come_of_it() -> None:
    house = House()

    @house.poet
    def items() -> Iterator[int]:
        with suppress(Planned):
            yield 1
        raise KeyError

    waiting = items()
    next(waiting)
    with pytest.raises(KeyError) as caught:
        waiting.throw(Planned())
    assert caught.value.__context__ is None


def test_the_result_of_a_generator_reaches_who_delegates_to_it() -> None:
    house = House()

    @house.poet
    def inner() -> Generator[int, str, str]:
        answer = yield 1
        return answer.upper()

    def outer() -> Generator[int, str, str]:
        return "got " + (yield from inner())

    items = outer()
    assert next(items) == 1
    with pytest.raises(StopIteration) as stop:
        items.send("it")
    assert stop.value.value == "got IT"


def test_methods_stream_too() -> None:
    house = House()

    class Client:
        def __init__(self, base: int) -> None:
            self.base = base

        @house.poet
        def items(self, n: int) -> Iterator[int]:
            yield from range(self.base, self.base + n)

    assert list(Client(10).items(2)) == [10, 11]


def test_switched_off_it_is_the_bare_generator() -> None:
    house = House(learning="off")

    @house.poet(timeout=1.0, item_timeout=1.0, deadline=1.0)
    def items() -> Generator[float | None, str, str]:
        house.clock.sleep(10.0)
        answer = yield poet.remaining()
        house.clock.sleep(10.0)
        yield poet.remaining()
        return answer

    waiting = items()
    assert next(waiting) is None
    assert waiting.send("sent") is None
    with pytest.raises(StopIteration) as stop:
        next(waiting)
    assert stop.value.value == "sent"
    assert last_or_none(items) is None


# ------------------------------------------------------------ deadlines of sync streams


def seeing(house: House, **options: Any) -> Any:
    """Each item is what remained when it was asked for, and what remains half a second later."""

    @house.poet(**options)
    def items() -> Iterator[Any]:
        while True:
            before = poet.remaining()
            house.clock.sleep(0.5)
            yield before, poet.remaining()

    return items


def test_the_body_sees_the_limit_of_the_item_it_was_asked_for() -> None:
    house = House()
    items = seeing(house, timeout=4.0, item_timeout=2.0, deadline=10.0)()
    assert next(items) == (4.0, 3.5)
    house.clock.sleep(5.0)
    assert next(items) == (2.0, 1.5)
    house.clock.sleep(2.5)
    assert next(items) == (1.5, 1.0)


def test_without_an_item_timeout_the_body_has_until_the_deadline_and_without_that_for_ever() -> None:
    house = House()
    items = seeing(house, timeout=1.0, deadline=10.0)()
    assert next(items) == (1.0, 0.5)
    assert next(items) == (9.5, 9.0)
    items = seeing(house, timeout=1.0)()
    assert next(items) == (1.0, 0.5)
    assert next(items) == (None, None)


def test_a_probe_of_a_longer_limit_is_for_the_first_item() -> None:
    house = House()
    items = seeing(house, timeout=1.0, item_timeout=2.0, deadline=10.0)
    next(items())
    cell = items.poet._cell
    cell.plan = cell.compile(items.poet.parameters, Probe(limit=1.0, stretch=4.0))
    waiting = items()
    assert next(waiting) == (4.0, 3.5)
    assert next(waiting) == (2.0, 1.5)


def test_the_consumer_never_sees_the_deadline_of_the_body() -> None:
    house = House()
    items = seeing(house, timeout=4.0, item_timeout=2.0)()
    for _ in range(3):
        next(items)
        assert poet.deadline() is None
    items.close()
    assert poet.deadline() is None

    @house.poet(timeout=50.0)
    def consumer() -> list[float | None]:
        seen = [poet.deadline()]
        for _, _item in zip(range(3), seeing(house, timeout=4.0, item_timeout=2.0)(), strict=False):
            seen.append(poet.deadline())
        return seen

    assert len(set(consumer())) == 1


def test_the_deadline_around_the_consumer_bounds_each_item_it_asks_for() -> None:
    house = House()
    items = seeing(house, timeout=4.0, item_timeout=2.0)()
    next(items)

    @house.poet(timeout=1.0, retries=0)
    def consumer() -> Any:
        return next(items)

    assert consumer() == (1.0, 0.5)
    assert next(items) == (2.0, 1.5)


def test_a_body_closed_or_thrown_into_sees_no_limit_of_ours_after_the_stream() -> None:
    house = House()
    seen: list[float | None] = []

    @house.poet(timeout=4.0, item_timeout=2.0)
    def items() -> Iterator[int]:
        try:
            yield 1
        finally:
            seen.append(poet.remaining())

    waiting = items()
    next(waiting)
    waiting.close()
    assert seen == [None]


def test_a_stream_is_not_begun_after_the_deadline_around_it() -> None:
    house = House()
    count = counting(house, 0.0)

    @house.poet(timeout=1.0, retries=0)
    def consumer() -> int:
        house.clock.sleep(2.0)
        return next(count())

    with pytest.raises(poet.PoetTimeout):
        consumer()
    assert stored(house, count)[0].outcome is Outcome.SHED


def test_late_items_are_given_all_the_same_and_recorded_as_late() -> None:
    house = House()
    count = counting(house, 3.0, 0.5, timeout=1.0)
    assert list(count()) == [1, 2]
    assert last(count).outcome is Outcome.LATE
    assert [(a.outcome, a.seconds) for a in last(count).attempts] == [(Outcome.LATE, 3.0)]
    count = counting(house, 0.5, 3.0, timeout=1.0, item_timeout=1.0)
    assert list(count()) == [1, 2]
    assert last(count).outcome is Outcome.LATE
    assert [a.outcome for a in last(count).attempts] == [Outcome.SUCCESS]


def test_the_consumers_time_does_not_count_against_the_limit_between_items() -> None:
    house = House()
    count = counting(house, 0.5, 0.5, 0.5, item_timeout=1.0)
    for _ in count():
        house.clock.sleep(60.0)
    assert last(count).outcome is Outcome.SUCCESS


def test_after_the_deadline_of_the_whole_the_next_item_is_refused_and_the_body_closed() -> None:
    house = House()
    closed: list[float] = []

    @house.poet(timeout=1.0, deadline=3.0, retries=5)
    def items() -> Iterator[int]:
        try:
            while True:
                house.clock.sleep(1.0)
                yield 1
        finally:
            closed.append(house.clock.now() - 100.0)

    waiting = items()
    for _ in range(2):
        assert next(waiting) == 1
        house.clock.sleep(0.5)
    with pytest.raises(poet.PoetTimeout, match=r"items: not finished within 3 s") as caught:
        next(waiting)
    assert closed == [3.0]
    assert caught.value.__context__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert last(items).outcome is Outcome.TIMEOUT
    assert last(items).error == "PoetTimeout"


def test_a_consumer_who_takes_too_long_is_no_verdict_on_the_service() -> None:
    house = House()
    dependency = Dependency("svc", breaker=Breaker(min_calls=1))
    count = counting(house, 0.5, 0.5, deadline=3.0, dependency=dependency)
    items = count()
    next(items)
    house.clock.sleep(5.0)
    with pytest.raises(poet.PoetTimeout):
        next(items)
    assert brakes_of(count).circuit.state == "closed"
    slow = counting(house, 0.5, 5.0, 0.5, deadline=3.0, dependency=dependency)
    items = slow()
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(poet.PoetTimeout):
        next(items)
    assert brakes_of(count).circuit.state == "open"


def test_what_is_thrown_in_after_the_deadline_reaches_the_body() -> None:
    house = House()
    caught: list[BaseException] = []

    @house.poet(deadline=3.0)
    def items() -> Iterator[int]:
        try:
            yield 1
        except Planned as error:
            caught.append(error)
            raise

    waiting = items()
    next(waiting)
    house.clock.sleep(5.0)
    error = Planned()
    with pytest.raises(Planned):
        waiting.throw(error)
    assert caught == [error]


# ------------------------------------------------------------ brakes, learning, input


def test_a_stream_holds_its_place_until_it_ends_however_that_is() -> None:
    house = House()
    count = counting(house, 0.0, 0.0, dependency=Dependency("svc", concurrency=1))
    brakes = brakes_of(count)

    def first_of() -> Any:
        items = count()
        assert next(items) == 1
        assert brakes.running == 1
        return items

    items = first_of()
    with pytest.raises(poet.Overloaded):
        next(count())
    items.close()
    assert brakes.running == 0
    assert list(first_of()) == [2]
    assert brakes.running == 0
    items = first_of()
    with suppress(Planned):
        items.throw(Planned())
    assert brakes.running == 0
    items = first_of()
    del items
    gc.collect()
    assert brakes.running == 0
    outcomes = [e.outcome for e in stored(house, count)]
    assert sorted(outcomes) == [Outcome.SUCCESS] * 3 + [Outcome.CANCELLED, Outcome.SHED]


def test_the_breaker_counts_a_stream_once_and_one_that_breaks_off_as_failed() -> None:
    house = House()
    breaker = Breaker(min_calls=4, failure_rate=0.5)
    script: list[list[Any]] = [[1, 2], [1], [1, ConnectionError()], [1, ConnectionError()], [1]]
    items = failing(house, script, dependency=Dependency("svc", breaker=breaker), retries=0)
    circuit = brakes_of(items).circuit
    for _ in range(3):
        with suppress(ConnectionError):
            list(items())
    assert circuit.state == "closed"
    with suppress(ConnectionError):
        list(items())
    assert circuit.state == "open"
    with pytest.raises(poet.CircuitOpen):
        next(items())


def test_to_a_breaker_an_answer_is_as_slow_as_its_first_item() -> None:
    house = House()
    breaker = Breaker(min_calls=2, slow_after=1.0, slow_rate=1.0, open_for=10.0)
    dependency = Dependency("svc", breaker=breaker)
    quick = counting(house, 0.5, 5.0, dependency=dependency)
    circuit = brakes_of(quick).circuit
    for _ in range(4):
        list(quick())
    assert circuit.state == "closed"
    slow = counting(house, 2.0, dependency=dependency)
    for _ in range(200):
        if circuit.state == "closed":
            list(slow())
    assert circuit.state == "open"
    house.clock.sleep(10.0)
    assert list(quick()) == [1, 2]
    assert circuit.state == "closed"


@pytest.mark.parametrize(("script", "state"), [([1, 2], "closed"), ([1, ConnectionError()], "open")])
def test_a_stream_that_is_the_probe_decides_when_it_ends(script: list[Any], state: str) -> None:
    house = House()
    breaker = Breaker(min_calls=1, open_for=10.0)
    items = failing(house, [[ConnectionError()], script], dependency=Dependency("svc", breaker=breaker), retries=0)
    circuit = brakes_of(items).circuit
    with suppress(ConnectionError):
        list(items())
    house.clock.sleep(10.0)
    probe = items()
    next(probe)
    assert circuit.state == "half_open"
    with suppress(ConnectionError):
        list(probe)
    assert circuit.state == state


def test_a_call_that_failed_after_an_answer_teaches_how_long_answers_take_and_survives_the_store() -> None:
    house = House()
    items = failing(house, [[0.5, 1, 20.0, ConnectionError()]])
    with suppress(ConnectionError):
        list(items())
    (execution,) = stored(house, items)
    (kept,) = chunk.decode(chunk.encode([execution]), execution.writer)
    assert (kept.outcome, kept.error, kept.attempts) == (execution.outcome, execution.error, execution.attempts)
    evidence = Evidence()
    evidence.observe([kept])
    assert evidence.answers == pytest.approx((0.5,))
    assert evidence.longest == pytest.approx(0.5)


def test_a_stream_learns_its_timeout_from_first_items_alone() -> None:
    house = House(learning="on")
    coin = house.agent.coin

    @house.poet(enable_training=True, timeout=30.0, learning_algorithm="statistical")
    def items() -> Iterator[int]:
        house.clock.sleep(coin.lognormvariate(-2, 0.3))
        for number in range(3):
            yield number
            house.clock.sleep(20.0)
            if coin.random() < 0.1:
                raise ConnectionError

    for _ in range(300):
        with suppress(ConnectionError):
            list(items())
        house.agent.flush()
    assert items.poet.parameters["timeout"] < 5.0


def test_perceive_sees_the_input_once_and_its_features_are_those_of_the_stream() -> None:
    house = House()
    looked: list[int] = []

    def look(n: int) -> Any:
        looked.append(n)
        return (n + 1,), {}, {"n": n}

    @house.poet(perceive=look)
    def cell_of(n: int) -> int:
        return n

    tries = iter([ConnectionError(), None])

    def body(n: int) -> Iterator[int]:
        if error := next(tries, None):
            raise error
        yield n
        yield n

    cell = cell_of.poet._cell
    items = stream(body, cell, house.clock, None, perceiver=Perceiver("items", look, None))
    one, other = items(1), items(5)
    assert [next(one), next(other), next(one), next(other)] == [2, 6, 2, 6]
    assert looked == [1, 5]
    assert FEATURES.get() == ()
    one.close()
    assert last(cell_of).context == (("n", 1),)
    other.close()
    assert last(cell_of).context == (("n", 5),)

    async def abody(n: int) -> Any:
        yield n

    async def main() -> None:
        items = async_stream(abody, cell, house.clock, None, perceiver=Perceiver("items", look, None))
        assert [item async for item in items(3)] == [4]
        assert FEATURES.get() == ()
        assert last(cell_of).context == (("n", 3),)

    play(house, main())


def test_all_attempts_of_a_stream_bear_one_key() -> None:
    house = House()
    count = counting(house)
    keys: list[str | None] = []

    def body(key: str | None = None) -> Iterator[int]:
        keys.append(key)
        if len(keys) == 1:
            raise ConnectionError
        yield 1

    async def abody(key: str | None = None) -> AsyncGenerator[int, None]:
        keys.append(key)
        yield 1

    numbers = itertools.count()

    def keyed(args: Any, kwargs: Any) -> Any:
        return args, {"key": f"key {next(numbers)}", **kwargs}

    items = stream(body, count.poet._cell, house.clock, None, keyed=keyed)
    count.poet.pin(backoff=0.0)
    assert list(items()) == [1]
    assert list(items(key="mine")) == [1]
    assert keys == ["key 0", "key 0", "mine"]

    async def main() -> None:
        aitems = async_stream(abody, count.poet._cell, house.clock, None, keyed=keyed)
        assert [item async for item in aitems()] == [1]

    play(house, main())
    assert keys[3] == "key 2"


# ------------------------------------------------------------ any bare generator and its decorated twin

ERRORS = {"connection": ConnectionError, "key": KeyError, "planned": Planned, "timeout": TimeoutError}
STEP = st.one_of(
    st.tuples(st.sampled_from(["yield", "forgive"]), st.integers(0, 9)),
    st.tuples(st.just("raise"), st.sampled_from(sorted(ERRORS))),
    st.tuples(st.just("wait"), st.integers(0, 5)),
    st.tuples(st.just("return"), st.integers(0, 9)),
)
BODY = st.lists(STEP, max_size=8)
STUBBORN_BODY = st.lists(STEP | st.tuples(st.just("insist"), st.integers(0, 9)), max_size=8)
CONSUMER = st.lists(
    st.one_of(
        st.tuples(st.just("next"), st.none()),
        st.tuples(st.just("send"), st.integers(0, 9)),
        st.tuples(st.just("throw"), st.sampled_from(sorted(ERRORS))),
        st.tuples(st.just("wait"), st.integers(0, 5)),
        st.tuples(st.just("close"), st.none()),
    ),
    max_size=10,
)


def bare(program: list[tuple[str, Any]], clock: VirtualClock, seen: list[Any]) -> Generator[Any, Any, Any]:
    """Does what ``program`` says; notes what reaches it."""
    try:
        for kind, argument in program:
            if kind == "yield":
                seen.append((yield argument))
            elif kind == "forgive":
                try:
                    seen.append((yield argument))
                except Exception as error:
                    seen.append(repr(error))
            elif kind == "insist":
                try:
                    yield argument
                except GeneratorExit:
                    yield "still here"
            elif kind == "raise":
                raise ERRORS[argument]
            elif kind == "wait":
                clock.sleep(float(argument))
            else:
                return argument
    finally:
        seen.append("left")
    return None


async def async_bare(program: list[tuple[str, Any]], clock: VirtualClock, seen: list[Any]) -> AsyncGenerator[Any, Any]:
    try:
        for kind, argument in program:
            if kind == "yield":
                seen.append((yield argument))
            elif kind == "forgive":
                try:
                    seen.append((yield argument))
                except Exception as error:
                    seen.append(repr(error))
            elif kind == "raise":
                raise ERRORS[argument]
            elif kind == "wait":
                await asyncio.sleep(float(argument))
            else:
                return
    finally:
        seen.append("left")


def delegated(program: list[tuple[str, Any]], clock: VirtualClock, seen: list[Any]) -> Generator[Any, Any, Any]:
    """The bare generator behind a ``yield from``."""
    return (yield from bare(program, clock, seen))


def consumed(items: Generator[Any, Any, Any], script: list[tuple[str, Any]], clock: VirtualClock) -> list[Any]:
    """What the consumer gets, step by step."""
    seen: list[Any] = []
    steps: dict[str, Callable[[Any], Any]] = {
        "next": lambda _: next(items),
        "send": items.send,
        "throw": lambda kind: items.throw(ERRORS[kind]("thrown")),
        "wait": lambda seconds: clock.sleep(float(seconds)),
        "close": lambda _: items.close(),
    }
    for kind, argument in script:
        assert poet.deadline() is None
        try:
            seen.append(steps[kind](argument))
        except StopIteration as stop:
            seen.append(("stopped", stop.value))
        except Exception as error:
            seen.append((repr(error), repr(error.__cause__), repr(error.__context__)))
    with suppress(RuntimeError):  # one that insists
        items.close()
    return seen


async def async_consumed(items: AsyncGenerator[Any, Any], script: list[tuple[str, Any]]) -> list[Any]:
    seen: list[Any] = []
    steps: dict[str, Callable[[Any], Any]] = {
        "next": lambda _: items.__anext__(),
        "send": items.asend,
        "throw": lambda kind: items.athrow(ERRORS[kind]("thrown")),
        "wait": lambda seconds: asyncio.sleep(float(seconds)),
        "close": lambda _: items.aclose(),
    }
    for kind, argument in script:
        assert poet.deadline() is None
        try:
            seen.append(await steps[kind](argument))
        except StopAsyncIteration:
            seen.append("stopped")
        except Exception as error:
            seen.append((repr(error), repr(error.__cause__), repr(error.__context__)))
    await items.aclose()
    return seen


def check_record(house: House, function: Any, asked: bool) -> None:
    """One stream that was asked for an item is one execution that adds up; its place is given back."""
    executions = stored(house, function)
    assert len(executions) == asked
    assert brakes_of(function).running == 0
    for execution in executions:
        (attempt,) = execution.attempts
        assert 0 <= attempt.seconds <= execution.seconds
        assert execution.outcome.good == (execution.error == "")
        assert not execution.outcome.good or attempt.outcome is execution.outcome


OPTIONS = st.sampled_from([{}, {"item_timeout": 1000.0}, {"deadline": 1000.0}])


@settings(max_examples=300, deadline=None)
@given(STUBBORN_BODY, CONSUMER, OPTIONS)
def test_within_its_limits_a_stream_does_what_a_generator_does_behind_a_yield_from(
    program: list[tuple[str, Any]], script: list[tuple[str, Any]], options: dict[str, Any]
) -> None:
    clock, twin_clock = VirtualClock(), VirtualClock(100.0)
    inside: list[Any] = []
    expected = consumed(delegated(program, clock, inside), script, clock)
    house, twin_inside = House(clock=twin_clock), []
    options = {"timeout": 100.0, "retries": 0, "dependency": Dependency("svc", concurrency=1), **options}
    decorated = house.poet(**options)(bare)
    assert consumed(decorated(program, twin_clock, twin_inside), script, twin_clock) == expected
    assert twin_inside == inside
    check_record(house, decorated, started(script))


def started(script: list[tuple[str, Any]]) -> bool:
    """Whether any item was asked for: sending a value or throwing before that does not start a generator."""
    for kind, argument in script:
        if kind == "next" or (kind == "send" and argument is None):
            return True
        if kind in ("throw", "close"):
            return False
    return False


@settings(max_examples=300, deadline=None)
@given(BODY, CONSUMER, OPTIONS)
def test_within_its_limits_an_async_stream_does_what_the_bare_one_does(
    program: list[tuple[str, Any]], script: list[tuple[str, Any]], options: dict[str, Any]
) -> None:
    clock, twin_clock = VirtualClock(), VirtualClock(100.0)
    inside: list[Any] = []
    expected = run(async_consumed(async_bare(program, clock, inside), script), clock)
    house, twin_inside = House(clock=twin_clock), []
    options = {"timeout": 100.0, "retries": 0, "dependency": Dependency("svc", concurrency=1), **options}
    decorated = house.poet(**options)(async_bare)
    assert run(async_consumed(decorated(program, twin_clock, twin_inside), script), twin_clock) == expected
    assert twin_inside == inside
    check_record(house, decorated, started(script))


@settings(max_examples=100, deadline=None)
@given(BODY, CONSUMER)
def test_switched_off_both_kinds_are_their_bare_twins(
    program: list[tuple[str, Any]], script: list[tuple[str, Any]]
) -> None:
    clock, twin_clock = VirtualClock(), VirtualClock()
    house = House(clock=twin_clock, learning="off")
    inside: list[Any] = []
    twin_inside: list[Any] = []
    expected = consumed(delegated(program, clock, inside), script, clock)
    assert consumed(house.poet(bare)(program, twin_clock, twin_inside), script, twin_clock) == expected
    assert twin_inside == inside
    expected = run(async_consumed(async_bare(program, clock, inside), script), clock)
    decorated = house.poet(async_bare)
    assert run(async_consumed(decorated(program, twin_clock, twin_inside), script), twin_clock) == expected
    assert twin_inside == inside


# ------------------------------------------------------------ async


def acounting(house: House, *waits: float, **options: Any) -> Any:
    """An async stream of 1, 2, … whose items take these seconds to make."""

    @house.poet(**options)
    async def count() -> AsyncGenerator[int, None]:
        for number, wait in enumerate(waits, 1):
            await asyncio.sleep(wait)
            yield number

    return count


async def listed(items: AsyncGenerator[Any, Any]) -> list[Any]:
    return [item async for item in items]


def test_a_decorated_async_generator_is_an_async_generator_function() -> None:
    house = House()
    count = acounting(house, 0.5, 0.25)
    assert inspect.isasyncgenfunction(count)

    async def main() -> None:
        assert await listed(count()) == [1, 2]
        execution = last(count)
        assert execution.outcome is Outcome.SUCCESS
        assert [a.seconds for a in execution.attempts] == pytest.approx([0.5])
        assert execution.seconds == pytest.approx(0.75)

    play(house, main())


def test_a_first_item_that_does_not_come_is_cut_off_and_asked_for_again() -> None:
    house = House()
    waits = iter([60.0, 60.0, 0.5])
    cancelled: list[float] = []

    @house.poet(timeout=1.0, retries=2)
    async def items() -> AsyncGenerator[int, None]:
        try:
            await asyncio.sleep(next(waits))
        except asyncio.CancelledError:
            cancelled.append(house.clock.now())
            raise
        yield 1
        await asyncio.sleep(60.0)
        yield 2

    async def main() -> None:
        assert await listed(items()) == [1, 2]
        execution = last(items)
        assert [a.outcome for a in execution.attempts] == [Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.SUCCESS]
        assert [a.seconds for a in execution.attempts] == pytest.approx([1.0, 1.0, 0.5])

    play(house, main())
    assert len(cancelled) == 2


def test_when_no_first_item_ever_comes_it_is_a_timeout() -> None:
    house = House()
    count = acounting(house, 60.0, timeout=1.0, retries=1, backoff=0.0)

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout, match=r"no answer within 1 s") as caught:
            await listed(count())
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert house.clock.now() == pytest.approx(102.0)
        assert poet.deadline() is None
        assert last(count).outcome is Outcome.TIMEOUT
        assert len(last(count).attempts) == 2

    play(house, main())


def test_a_later_item_that_does_not_come_closes_the_body_and_is_not_asked_for_again() -> None:
    house = House()
    closed: list[float] = []
    begun: list[float] = []

    @house.poet(timeout=1.0, item_timeout=0.5, retries=3, deadline=30.0)
    async def items() -> AsyncGenerator[int, None]:
        begun.append(house.clock.now())
        try:
            yield 1
            await asyncio.sleep(60.0)
            yield 2
        finally:
            closed.append(house.clock.now())

    async def main() -> None:
        waiting = items()
        assert await anext(waiting) == 1
        await asyncio.sleep(5.0)
        with pytest.raises(poet.PoetTimeout, match=r"items: no further item within 0\.5 s") as caught:
            await anext(waiting)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert caught.value.limit == 0.5
        assert await listed(waiting) == []
        execution = last(items)
        assert execution.outcome is Outcome.TIMEOUT
        assert execution.error == "PoetTimeout"
        assert [(a.outcome, a.seconds) for a in execution.attempts] == [(Outcome.SUCCESS, 0.0)]
        assert execution.seconds == pytest.approx(5.5)

    play(house, main())
    assert begun == [100.0]
    assert closed == [105.5]


def test_the_deadline_of_the_whole_cuts_off_the_item_that_is_waited_for() -> None:
    house = House()
    count = acounting(house, 0.5, 60.0, deadline=3.0, item_timeout=10.0)

    async def main() -> None:
        waiting = count()
        await anext(waiting)
        with pytest.raises(poet.PoetTimeout, match=r"count: not finished within 3 s"):
            await anext(waiting)
        assert house.clock.now() == pytest.approx(103.0)

    play(house, main())


def test_a_breaker_hears_of_a_stream_that_stalls_but_not_of_a_consumer_who_does() -> None:
    house = House()
    dependency = Dependency("svc", breaker=Breaker(min_calls=1))
    idle = acounting(house, 0.0, 0.0, deadline=3.0, dependency=dependency)
    stalled = acounting(house, 0.0, 60.0, item_timeout=1.0, dependency=dependency)

    async def main() -> None:
        waiting = idle()
        await anext(waiting)
        await asyncio.sleep(5.0)
        with pytest.raises(poet.PoetTimeout, match="not finished within 3 s"):
            await anext(waiting)
        assert brakes_of(idle).circuit.state == "closed"
        with pytest.raises(poet.PoetTimeout):
            await listed(stalled())
        assert brakes_of(idle).circuit.state == "open"

    play(house, main())


def test_a_breaker_hears_of_an_item_that_came_after_the_deadline_of_the_whole() -> None:
    house = House()

    @house.poet(deadline=3.0, dependency=Dependency("svc", breaker=Breaker(min_calls=1)))
    async def items() -> AsyncGenerator[int, None]:
        yield 1
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60.0)
        await asyncio.sleep(1.0)
        yield 2
        yield 3

    async def main() -> None:
        waiting = items()
        assert [await anext(waiting), await anext(waiting)] == [1, 2]
        with pytest.raises(poet.PoetTimeout):
            await anext(waiting)
        assert brakes_of(items).circuit.state == "open"

    play(house, main())


def test_an_error_raised_while_an_item_is_cut_off_comes_out_as_it_is() -> None:
    house = House()

    @house.poet(item_timeout=1.0)
    async def items() -> AsyncGenerator[int, None]:
        yield 1
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            raise KeyError("closing failed") from None

    async def main() -> None:
        with pytest.raises(KeyError, match="closing failed"):
            await listed(items())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert last(items).outcome is Outcome.REFUSED

    play(house, main())


@pytest.mark.parametrize("waits", [(60.0, 0.5), (0.5, 60.0)])
def test_an_item_from_a_body_that_swallows_the_cancellation_is_late_and_leaves_nothing_pending(
    waits: tuple[float, float],
) -> None:
    house = House()

    @house.poet(timeout=1.0, item_timeout=1.0)
    async def items() -> AsyncGenerator[int, None]:
        for number, wait in enumerate(waits):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(wait)
            await asyncio.sleep(0.25)
            yield number

    async def main() -> None:
        assert await listed(items()) == [0, 1]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(1.0)
        assert last(items).outcome is Outcome.LATE

    play(house, main())


def test_what_the_consumer_throws_into_an_async_stream_is_no_verdict_either() -> None:
    house = House()
    count = acounting(house, 0.0, 0.0, dependency=Dependency("svc", breaker=Breaker(min_calls=1)))

    async def main() -> None:
        items = count()
        await anext(items)
        with pytest.raises(ConnectionError):
            await items.athrow(ConnectionError())
        assert last(count).outcome is Outcome.CANCELLED
        assert brakes_of(count).circuit.state == "closed"

    play(house, main())


def test_a_body_that_ends_instead_of_the_item_it_was_cut_off_at_has_ended() -> None:
    house = House()

    @house.poet(item_timeout=1.0)
    async def items() -> AsyncGenerator[int, None]:
        yield 1
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60.0)

    async def main() -> None:
        assert await listed(items()) == [1]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert last(items).outcome is Outcome.SUCCESS

    play(house, main())


@pytest.mark.parametrize("at", [0.5, 1.5, 2.0, 3.5])
def test_an_outer_cancellation_is_never_lost(at: float) -> None:
    """During the first item, a later one, at the very moment of its limit, and while the consumer works."""
    house = House()
    seen: list[int] = []
    closed: list[float] = []

    @house.poet(timeout=5.0, item_timeout=1.0, retries=5)
    async def items() -> AsyncGenerator[int, None]:
        try:
            await asyncio.sleep(1.0)
            yield 1
            await asyncio.sleep(60.0 if at <= 2.0 else 0.5)
            yield 2
        finally:
            closed.append(house.clock.now())

    async def consumer() -> None:
        async with aclosing(items()) as waiting:
            async for item in waiting:
                seen.append(item)
                if item == 2:
                    await asyncio.sleep(60.0)

    async def main() -> None:
        task = asyncio.ensure_future(consumer())
        asyncio.get_running_loop().call_later(at, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert closed == [pytest.approx(100.0 + at)]
        assert len(asyncio.all_tasks()) == 1

    play(house, main())
    (execution,) = stored(house, items)
    assert execution.outcome is (Outcome.SUCCESS if at == 3.5 else Outcome.CANCELLED)
    assert len(execution.attempts) == 1


def test_a_cancellation_during_the_pause_before_a_retry_ends_the_call() -> None:
    house = House()

    @house.poet(timeout=1.0, retries=3, backoff=50.0)
    async def items() -> AsyncGenerator[int, None]:
        raise ConnectionError
        yield 1

    async def main() -> None:
        task = asyncio.ensure_future(listed(items()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(house, main())
    (execution,) = stored(house, items)
    assert execution.outcome is Outcome.CANCELLED
    assert len(execution.attempts) == 1


def test_a_limit_cancels_the_task_that_asks_for_the_item_and_no_other() -> None:
    house = House()
    count = acounting(house, 0.5, 0.5, 60.0, timeout=1.0, item_timeout=1.0)

    async def ask(items: AsyncGenerator[int, None]) -> int:
        return await anext(items)

    async def main() -> None:
        items = count()
        first = asyncio.create_task(ask(items))
        assert await first == 1
        second = asyncio.create_task(ask(items))
        bystander = asyncio.create_task(asyncio.sleep(2.0, "slept"))
        assert await second == 2
        with pytest.raises(poet.PoetTimeout):
            await asyncio.create_task(ask(items))
        assert await bystander == "slept"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    play(house, main())
    assert stored(house, count)[0].outcome is Outcome.TIMEOUT


def test_asyncio_timeout_and_wait_for_around_items_still_work() -> None:
    house = House()
    count = acounting(house, 0.5, 60.0, timeout=10.0, item_timeout=10.0)

    async def main() -> None:
        items = count()
        assert await asyncio.wait_for(anext(items), 1.0) == 1
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1.0):
                await anext(items)
        assert not isinstance(caught.value, poet.PoetTimeout)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    play(house, main())
    assert stored(house, count)[0].outcome is Outcome.CANCELLED


def test_the_consumer_of_an_async_stream_never_sees_the_deadline_of_the_body() -> None:
    house = House()

    @house.poet(timeout=4.0, item_timeout=2.0)
    async def items() -> AsyncGenerator[Any, None]:
        while True:
            before = poet.remaining()
            await asyncio.sleep(0.5)
            yield before, poet.remaining()

    @house.poet(timeout=1.0, retries=0)
    async def consumer(waiting: AsyncGenerator[Any, None]) -> Any:
        item = await anext(waiting)
        return item, poet.remaining()

    async def main() -> None:
        waiting = items()
        assert await anext(waiting) == (4.0, 3.5)
        assert poet.remaining() is None
        await asyncio.sleep(10.0)
        assert await consumer(waiting) == ((1.0, 0.5), 0.5)
        assert poet.remaining() is None
        assert await asyncio.create_task(consumer(waiting)) == ((1.0, 0.5), 0.5)
        await waiting.aclose()

    play(house, main())


def test_a_deadline_around_the_consumer_cuts_off_the_item_and_is_one_timeout() -> None:
    house = House()
    count = acounting(house, 0.5, 60.0, item_timeout=10.0)

    @house.poet(timeout=2.0, retries=0)
    async def consumer() -> list[int]:
        return await listed(count())

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await consumer()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert house.clock.now() == pytest.approx(102.0)

    play(house, main())


def test_closing_has_no_limit_of_ours() -> None:
    house = House()
    cleaned: list[float] = []

    @house.poet(timeout=1.0, item_timeout=1.0, deadline=2.0)
    async def items() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(30.0)
            cleaned.append(house.clock.now())

    async def main() -> None:
        async with aclosing(items()) as waiting:
            assert await anext(waiting) == 1
        assert cleaned == [130.0]
        assert last(items).outcome is Outcome.SUCCESS
        waiting = items()
        await anext(waiting)
        await asyncio.sleep(5.0)
        with pytest.raises(poet.PoetTimeout):
            await anext(waiting)
        assert cleaned == [130.0, 165.0]

    play(house, main())


def test_what_is_thrown_into_an_async_stream_after_its_deadline_reaches_the_body() -> None:
    house = House()

    @house.poet(deadline=3.0)
    async def items() -> AsyncGenerator[Any, None]:
        try:
            yield 1
        except Planned:
            await asyncio.sleep(1.0)
            yield "forgiven"

    async def main() -> None:
        waiting = items()
        await anext(waiting)
        await asyncio.sleep(5.0)
        assert await waiting.athrow(Planned()) == "forgiven"
        await waiting.aclose()

    play(house, main())


def test_an_async_stream_that_is_dropped_gives_its_place_back() -> None:
    house = House()
    count = acounting(house, 0.0, 0.0, dependency=Dependency("svc", concurrency=1))
    brakes = brakes_of(count)

    async def main() -> None:
        async for _ in count():
            assert brakes.running == 1
            break
        await asyncio.sleep(1.0)  # asyncio closes it in a task of its own
        assert brakes.running == 0
        async for _ in count():
            break

    play(house, main())
    assert brakes.running == 0
    first, second = stored(house, count)
    assert first.outcome is Outcome.SUCCESS
    assert second.attempts[0].outcome is Outcome.SUCCESS  # asyncio cancels that task where it ends before


def test_an_async_stream_whose_loop_is_gone_gives_its_place_back() -> None:
    house = House()
    count = acounting(house, 0.0, 0.0, dependency=Dependency("svc", concurrency=1))
    assert isinstance(house.clock, VirtualClock)
    waiting: list[AsyncGenerator[int, None]] = []

    async def main() -> None:
        waiting.append(count())
        assert await anext(waiting[0]) == 1

    loop = VirtualLoop(house.clock)
    loop.run_until_complete(main())
    loop.close()
    assert brakes_of(count).running == 1
    waiting.clear()
    gc.collect()
    assert brakes_of(count).running == 0
    assert [e.outcome for e in stored(house, count)] == [Outcome.SUCCESS]


def test_streams_leave_no_task_and_one_armed_timer_for_first_and_one_for_later_items() -> None:
    house = House()
    count = acounting(house, 0.1, 0.1, 0.1, timeout=50.0, item_timeout=20.0)

    async def main() -> None:
        for _ in range(20):
            await listed(count())
        assert len(asyncio.all_tasks()) == 1
        loop = asyncio.get_running_loop()
        armed = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        assert len(armed) <= 2

    play(house, main())


def test_items_need_no_timers_of_their_own_while_others_wait_for_their_first() -> None:
    house = House()
    assert isinstance(house.clock, VirtualClock)
    timers: list[float] = []

    class Counting(VirtualLoop):
        def call_at(self, when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            timers.append(when)
            return super().call_at(when, *args, **kwargs)

    @house.poet(timeout=50.0, item_timeout=20.0)
    async def items(wait: float) -> AsyncGenerator[int, None]:
        await asyncio.sleep(wait)
        for number in range(100):
            await asyncio.sleep(0)
            yield number

    async def main() -> None:
        waiting = asyncio.create_task(anext_of(items(10.0)))
        await asyncio.sleep(1.0)
        before = len(timers)
        assert len(await listed(items(0.0))) == 100
        assert len(timers) - before <= 2
        assert await waiting == 0

    loop = Counting(house.clock)
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def anext_of(items: AsyncGenerator[Any, Any]) -> Any:
    async with aclosing(items):
        return await anext(items)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed now has no cycle in it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_errors_that_end_a_stream_are_freed_with_it() -> None:
    house = House()
    freed: list[weakref.ref[BaseException]] = []

    def expire() -> None:
        items = counting(house, 0.0, 0.0, deadline=1.0)()
        next(items)
        house.clock.sleep(2.0)
        next(items)

    def break_off() -> None:
        @house.poet
        def items() -> Iterator[int]:
            yield 1
            raise Planned

        list(items())

    def throw_in() -> None:
        items = counting(House(clock=SYSTEM_CLOCK), 0.0, 0.0)()
        next(items)
        items.throw(Planned())

    for end in (expire, break_off, throw_in):
        try:
            end()
        except (poet.PoetTimeout, Planned) as error:
            freed.append(weakref.ref(error))
    assert [reference() for reference in freed] == [None] * 3


@pytest.mark.usefixtures("no_collector")
def test_errors_that_end_an_async_stream_are_freed_with_it() -> None:
    house = House()
    freed: list[weakref.ref[BaseException]] = []

    async def expire() -> None:
        items = acounting(house, 0.0, 0.0, deadline=1.0)()
        await anext(items)
        await asyncio.sleep(2.0)
        await anext(items)

    async def stall() -> None:
        await listed(acounting(house, 0.0, 60.0, item_timeout=1.0)())

    async def throw_in() -> None:
        items = acounting(House(clock=SYSTEM_CLOCK), 0.0, 0.0)()
        await anext(items)
        await items.athrow(Planned())

    async def main() -> None:
        for end in (expire, stall, throw_in):
            try:
                await end()
            except (poet.PoetTimeout, Planned) as error:
                freed.append(weakref.ref(error))
        assert [reference() for reference in freed] == [None] * 3

    play(house, main())


def test_what_has_failed_before_the_first_item_is_not_kept_alive_by_the_stream() -> None:
    class Lost(ConnectionError):
        pass

    house = House()
    kept: list[weakref.ref[BaseException]] = []

    def attempts() -> Iterator[int]:
        if not kept:
            error = Lost()
            kept.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error
        yield 1

    items = house.poet(attempts)()
    assert next(items) == 1
    gc.collect()
    assert kept[0]() is None


def test_an_async_stream_outside_of_any_task_is_refused_with_what_to_do() -> None:
    house = House()
    count = acounting(house, 0.0)
    with pytest.raises(poet.ConfigurationError, match="inside a task of asyncio or trio"):
        anext(count()).send(None)


def test_many_streams_cancelled_closed_and_stalled_at_random_each_end_in_exactly_one_outcome() -> None:
    house = House()
    streams = 300
    coin = house.agent.coin

    @house.poet(timeout=1.0, item_timeout=1.0, deadline=4.0, retries=1, dependency=Dependency("svc", concurrency=1000))
    async def items() -> AsyncGenerator[int, None]:
        for number in range(4):
            await asyncio.sleep(coin.uniform(0, 1.1))
            if coin.random() < 0.1:
                raise ConnectionError
            yield number

    async def consumer() -> None:
        async with aclosing(items()) as waiting:
            async for _ in waiting:
                await asyncio.sleep(coin.uniform(0, 1))
                if coin.random() < 0.1:
                    break

    async def main() -> None:
        tasks = [asyncio.create_task(consumer()) for _ in range(streams)]
        for task in tasks[::3]:
            asyncio.get_running_loop().call_later(coin.uniform(0, 3), task.cancel)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} == {
            type(None),
            ConnectionError,
            poet.PoetTimeout,
            asyncio.CancelledError,
        }
        assert len(asyncio.all_tasks()) == 1
        assert brakes_of(items).running == 0

    play(house, main())
    executions = stored(house, items)
    assert len({e.sequence for e in executions}) == len(executions) == streams
    for execution in executions:
        assert sum(a.seconds + a.waited for a in execution.attempts) <= execution.seconds + 1e-9


# ------------------------------------------------------------ limits, against a second derivation

WAITS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6)
LIMITS = st.tuples(st.integers(0, 4), st.none() | st.integers(0, 4), st.none() | st.integers(0, 12))


def foretold(
    waits: list[tuple[int, int]], timeout: float, gap: float, deadline: float, *, cuts: bool
) -> tuple[int, float, bool, bool]:
    """Items given, when it is over, whether by a timeout, and whether an item was late.

    waits: what the body and what the consumer takes, item by item [s]. cuts: whether limits are enforced.
    """
    now, late = 0.0, False
    for number, (body, consumer) in enumerate(waits):
        if number and now >= deadline:
            return number, now, True, late
        limit = min(now + (gap if number else timeout), deadline)
        if cuts and now + body > limit:
            return number, limit, True, late
        now += body
        late = late or now > limit
        now += consumer
    return len(waits), now, len(waits) > 0 and now >= deadline, late


@settings(max_examples=300, deadline=None)
@given(WAITS, LIMITS)
def test_each_limit_holds_for_what_it_is_meant_for(
    waits: list[tuple[int, int]], limits: tuple[int, int | None, int | None]
) -> None:
    """Waits are whole seconds and limits are not, so that nothing happens at the moment of a limit."""
    timeout, gap, deadline = limits[0] + 0.5, limits[1], limits[2]
    options: dict[str, Any] = {"timeout": timeout, "retries": 0}
    if gap is not None:
        options["item_timeout"] = gap + 0.5
    if deadline is not None:
        options["deadline"] = deadline + 0.25
    ends = (timeout, options.get("item_timeout", 1e9), options.get("deadline", 1e9))

    house = House()
    count = counting(house, *(float(body) for body, _ in waits), **options)
    given_, over, cut_off, late = foretold(waits, *ends, cuts=False)
    seen, failed = 0, False
    try:
        for _ in count():
            seen += 1
            house.clock.sleep(float(waits[seen - 1][1]))
    except poet.PoetTimeout:
        failed = True
    assert (seen, house.clock.now() - 100.0, failed) == (given_, over, cut_off)
    (execution,) = stored(house, count)
    assert execution.outcome is (Outcome.TIMEOUT if failed else Outcome.LATE if late else Outcome.SUCCESS)

    house = House()
    acount = acounting(house, *(float(body) for body, _ in waits), **options)
    given_, over, cut_off, late = foretold(waits, *ends, cuts=True)

    async def main() -> tuple[int, float, bool]:
        seen = 0
        try:
            async for _ in acount():
                seen += 1
                await asyncio.sleep(float(waits[seen - 1][1]))
        except poet.PoetTimeout:
            return seen, house.clock.now() - 100.0, True
        return seen, house.clock.now() - 100.0, False

    assert play(house, main()) == (given_, pytest.approx(over, abs=1e-5), cut_off)
    (execution,) = stored(house, acount)
    assert execution.outcome is (Outcome.TIMEOUT if cut_off else Outcome.SUCCESS)
    assert not late


# ------------------------------------------------------------ trio


class TrioTime:
    """The clock of a trio run, for a house."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self.now = clock.current_time

    def wall(self) -> float:
        return 1.7e9 + self.now()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("an async call never blocks")


def under_trio(main: Callable[[House], Coroutine[Any, Any, Any]]) -> House:
    """``main`` in a trio whose time passes only where all wait."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    house = House(clock=TrioTime(clock))
    trio.run(main, house, clock=clock)
    return house


def test_under_trio_first_items_are_cut_off_and_asked_for_again_and_later_ones_cut_off() -> None:
    waits = iter([60.0, 0.5, 0.5, 60.0])

    async def main(house: House) -> None:
        @house.poet(timeout=1.0, item_timeout=1.0, retries=2)
        async def items() -> AsyncGenerator[Any, None]:
            for wait in waits:
                before = poet.remaining()
                await trio.sleep(wait)
                yield before

        start = trio.current_time()
        async with aclosing(items()) as waiting:
            assert await anext(waiting) == pytest.approx(1.0)
            assert poet.remaining() is None
            await trio.sleep(10.0)
            assert await anext(waiting) == pytest.approx(1.0)
            asked = trio.current_time()
            with pytest.raises(poet.PoetTimeout, match="no further item within 1 s"):
                await anext(waiting)
            assert trio.current_time() - asked == pytest.approx(1.0)
        execution = last(items)
        assert [a.outcome for a in execution.attempts] == [Outcome.TIMEOUT, Outcome.SUCCESS]
        assert [a.seconds for a in execution.attempts] == pytest.approx([1.0, 0.5])
        assert execution.outcome is Outcome.TIMEOUT
        assert execution.seconds == pytest.approx(trio.current_time() - start)

    under_trio(main)


def test_under_trio_a_first_item_that_never_comes_is_a_timeout() -> None:
    async def main(house: House) -> None:
        @house.poet(timeout=1.0, retries=0)
        async def items() -> AsyncGenerator[int, None]:
            await trio.sleep(60.0)
            yield 1

        with pytest.raises(poet.PoetTimeout, match="no answer within 1 s"):
            await anext(items())

    under_trio(main)


def test_under_trio_a_cancellation_from_outside_stays_one() -> None:
    async def main(house: House) -> None:
        closed: list[float] = []

        @house.poet(timeout=5.0, item_timeout=5.0, retries=3)
        async def items() -> AsyncGenerator[int, None]:
            try:
                yield 1
                await trio.sleep(60.0)
            finally:
                closed.append(trio.current_time())

        start = trio.current_time()
        with trio.move_on_after(2.0) as scope:
            async with aclosing(items()) as waiting:
                async for _ in waiting:
                    pass
        assert scope.cancelled_caught
        assert closed == [pytest.approx(start + 2.0)]
        house.agent.flush()
        assert last(items).outcome is Outcome.CANCELLED

    under_trio(main)


def test_under_trio_an_item_may_be_asked_for_by_another_task() -> None:
    async def main(house: House) -> None:
        @house.poet(timeout=1.0, item_timeout=1.0)
        async def items() -> AsyncGenerator[int, None]:
            yield 1
            await trio.sleep(60.0)

        waiting = items()
        ended: list[str] = []

        async def first() -> None:
            ended.append(f"item {await anext(waiting)}")

        async def second() -> None:
            with pytest.raises(poet.PoetTimeout):
                await anext(waiting)
            ended.append("cut off")

        for ask in (first, second):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
        assert ended == ["item 1", "cut off"]

    under_trio(main)
