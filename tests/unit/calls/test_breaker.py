from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House, Script
from poet.calls.brakes import Brakes
from poet.calls.breaker import Circuit
from poet.errors import CircuitOpen, ConfigurationError, Overloaded
from poet.model.dependency import Breaker, Dependency
from poet.model.event import Event
from poet.model.execution import Outcome
from poet.testing.clock import run


def circuit(**spec: Any) -> tuple[Circuit, list[str]]:
    states: list[str] = []
    return Circuit("x", Breaker(**spec), lambda event: states.append(event.detail)), states


def opened(**spec: Any) -> tuple[Circuit, list[str]]:
    """One that has just opened, at 10 s."""
    breaker, states = circuit(min_calls=2, **spec)
    breaker.failed(9.0, 10.0)
    breaker.failed(9.0, 10.0)
    assert breaker.state == "open"
    return breaker, states


def test_it_opens_at_the_rate_and_not_before_there_were_enough() -> None:
    breaker, states = circuit(failure_rate=0.5, min_calls=4)
    breaker.failed(0.0, 1.0)
    breaker.failed(0.0, 1.0)
    breaker.answered(0.0, 1.0)
    assert not breaker.shut
    breaker.failed(0.0, 1.0)
    assert breaker.shut
    assert states == ["open"]


def test_failures_between_successes_count_too_and_not_only_consecutive_ones() -> None:
    breaker, _ = circuit(failure_rate=0.5, min_calls=10)
    for step in range(10):
        (breaker.answered if step % 2 else breaker.failed)(0.0, 1.0)
    assert not breaker.shut  # five of ten, but the last was an answer: judged at the next failure
    breaker.failed(0.0, 1.0)
    assert breaker.shut


def test_slow_answers_open_it_too() -> None:
    breaker, _ = circuit(slow_after=1.0, slow_rate=0.5, min_calls=4)
    for end in (0.5, 0.5, 2.0, 2.0):
        breaker.answered(0.0, end)
    assert breaker.shut


def test_what_is_too_old_does_not_count() -> None:
    breaker, _ = circuit(failure_rate=0.5, min_calls=2, max_age=10.0)
    breaker.failed(0.0, 1.0)
    breaker.answered(0.0, 20.0)
    breaker.answered(0.0, 20.0)
    breaker.failed(0.0, 20.0)
    assert not breaker.shut


def test_half_open_lets_exactly_one_probe_through() -> None:
    breaker, states = opened(open_for=5.0)
    with pytest.raises(CircuitOpen) as caught:
        breaker.admit("f", 12.0)
    assert caught.value.retry_after == pytest.approx(3.0)
    breaker.admit("f", 15.0)
    assert breaker.state == "half_open"
    for now in (15.0, 16.0):
        with pytest.raises(CircuitOpen):
            breaker.admit("f", now)
    breaker.answered(15.0, 16.0)
    assert (breaker.state, states) == ("closed", ["open", "half_open", "closed"])


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    breaker, states = opened(open_for=5.0)
    breaker.admit("f", 15.0)
    breaker.failed(15.0, 16.0)
    with pytest.raises(CircuitOpen) as caught:
        breaker.admit("f", 16.0)
    assert caught.value.retry_after == pytest.approx(5.0)
    assert states == ["open", "half_open", "open"]


def test_what_began_before_it_opened_decides_nothing() -> None:
    breaker, _ = opened(open_for=5.0)
    breaker.answered(9.0, 11.0)
    assert breaker.state == "open"
    breaker.admit("f", 15.0)
    breaker.answered(9.5, 15.5)
    breaker.failed(9.5, 15.5)
    assert breaker.state == "half_open"


def test_a_probe_that_was_given_up_makes_room_for_the_next() -> None:
    breaker, _ = opened(open_for=5.0)
    breaker.admit("f", 15.0)
    breaker.released(15.0)
    breaker.admit("f", 15.1)


def test_a_probe_that_never_comes_back_does_not_shut_it_for_ever() -> None:
    breaker, _ = opened(open_for=5.0)
    breaker.admit("f", 15.0)
    with pytest.raises(CircuitOpen):
        breaker.admit("f", 19.9)
    breaker.admit("f", 20.1)


def test_many_threads_get_one_probe_through() -> None:
    breaker, _ = opened(open_for=5.0)
    admitted: list[int] = []
    barrier = threading.Barrier(8)

    def ask(number: int) -> None:
        barrier.wait()
        try:
            breaker.admit("f", 15.0 + number / 1000)
        except CircuitOpen:
            return
        admitted.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 1


@given(st.lists(st.tuples(st.sampled_from(["good", "slow", "bad", "given up"]), st.floats(0.0, 8.0)), max_size=80))
def test_whatever_happens_its_changes_are_those_of_a_breaker(steps: list[tuple[str, float]]) -> None:
    breaker, states = circuit(min_calls=3, window=10, slow_after=1.0, open_for=5.0)
    now, waits = 0.0, []
    for what, pause in steps:
        now += pause
        if breaker.shut:
            try:
                breaker.admit("f", now)
            except CircuitOpen as error:
                waits.append(error.retry_after)
                continue
        start, now = now, now + (2.0 if what == "slow" else 0.1)
        if what == "bad":
            breaker.failed(start, now)
        elif what == "given up":
            breaker.released(start)
        else:
            breaker.answered(start, now)
        assert breaker.shut == (breaker.state != "closed")
    allowed = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
    assert all(0 < wait < 5.001 for wait in waits)
    assert all(pair in allowed for pair in zip(["closed", *states], states, strict=False))


def brakes_of(house: House, **spec: Any) -> Dependency:
    return Dependency("x", **spec)


def test_an_open_breaker_fails_at_once_and_is_no_sample_of_latency() -> None:
    house = House()
    body = Script(house.clock, ConnectionResetError(), ConnectionResetError(), 0.1)
    call = house.poet(retries=0, dependency=Dependency("x", breaker=Breaker(min_calls=2, open_for=5.0)), name="f")(
        body_of(body)
    )
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            call()
    with pytest.raises(poet.CircuitOpen, match="the circuit of x is open for 5 s more"):
        call()
    assert body.calls == 2
    last = call.poet.last
    assert (last.outcome, [a.outcome for a in last.attempts], last.error) == (
        Outcome.SHED,
        [Outcome.SHED],
        "CircuitOpen",
    )
    house.clock.sleep(5.0)
    assert call() == 3
    assert call.poet.status()["dependency"]["breaker"] == "closed"


def body_of(script: Script) -> Any:
    def body() -> int:
        return script()

    return body


def test_retries_stop_where_the_breaker_opens_and_the_error_is_the_functions_own() -> None:
    house = House()
    body = Script(house.clock, ConnectionResetError())
    call = house.poet(retries=5, backoff=0, dependency=Dependency("x", breaker=Breaker(min_calls=3)), name="f")(
        body_of(body)
    )
    with pytest.raises(ConnectionResetError):
        call()
    assert body.calls == 3


def test_a_breaker_that_opens_during_a_pause_ends_the_call_with_the_functions_own_error() -> None:
    house = House()
    shared = Dependency("x", breaker=Breaker(min_calls=2, failure_rate=1.0))
    other = house.poet(retries=0, dependency=shared, name="other")(body_of(Script(house.clock, ConnectionResetError())))
    asked = 0

    class Meddling(type(house.clock)):  # type: ignore[misc]  # the pause is when the other caller fails
        def sleep(self, seconds: float) -> None:
            with pytest.raises(ConnectionResetError):
                other()

    house.clock.__class__ = Meddling

    @house.poet(retries=3, dependency=shared, name="f")
    def call() -> None:
        nonlocal asked
        asked += 1
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        call()
    assert asked == 1
    assert call.poet.last.outcome is Outcome.ERROR


def test_an_answer_that_refuses_is_an_answer() -> None:
    house = House()
    body = Script(house.clock, ValueError("no such thing"))
    call = house.poet(retries=0, dependency=Dependency("x", breaker=Breaker(min_calls=2)), name="f")(body_of(body))
    for _ in range(10):
        with pytest.raises(ValueError, match="no such thing"):
            call()
    assert call.poet.status()["dependency"]["breaker"] == "closed"


def test_the_limit_sheds_what_is_too_much_at_once_and_leaks_no_place() -> None:
    house = House()

    @house.poet(retries=0, dependency=Dependency("x", concurrency=2))
    async def call(length: float) -> float:
        await asyncio.sleep(length)
        if length > 1:
            raise ConnectionResetError
        return length

    async def main() -> list[Any]:
        results = await asyncio.gather(*(call(length) for length in (0.5, 2.0, 0.1)), return_exceptions=True)
        running = asyncio.create_task(call(0.7))
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])
        return results

    first, second, third = run(main(), house.clock)
    assert first == 0.5
    assert isinstance(second, ConnectionResetError)
    assert isinstance(third, Overloaded)
    assert "2 attempts at x run already" in str(third)
    assert house.agent.dependencies["x"].running == 0


@given(st.lists(st.sampled_from(list(Outcome)), max_size=40), st.integers(1, 3))
def test_places_and_attempts_always_reconcile(outcomes: list[Outcome], limit: int) -> None:
    brakes = Brakes(Dependency("x", concurrency=limit, breaker=Breaker(min_calls=3)), 0.0, lambda event: None)
    inside, now = [], 0.0
    for outcome in outcomes:
        now += 1.0
        try:
            brakes.enter("f", now)
        except Overloaded:
            assert len(inside) == limit
        except CircuitOpen:
            assert brakes.circuit is not None
            assert brakes.circuit.shut
        else:
            inside.append((now, outcome))
        assert brakes.running == len(inside)
        if len(inside) == limit:
            start, ended = inside.pop(0)
            brakes.ended(start, now, ended)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_rate": 0},
        {"failure_rate": 1.1},
        {"min_calls": 200},
        {"open_for": 0},
        {"window": 0},
        {"slow_after": -1},
    ],
)
def test_what_cannot_be_a_breaker_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Breaker(**wrong)


@pytest.mark.parametrize("name", ["", "  ", None, 3])
def test_brakes_without_a_name_to_share_are_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        Dependency(name, breaker=Breaker())


def test_listeners_hear_of_every_change() -> None:
    house = House()
    events: list[Event] = []
    house.agent.listeners.add(events.append)
    body = Script(house.clock, ConnectionResetError(), ConnectionResetError(), 0.1)
    call = house.poet(retries=0, dependency=Dependency("x", breaker=Breaker(min_calls=2, open_for=5.0)), name="f")(
        body_of(body)
    )
    for pause in (0.0, 0.0, 0.0, 5.0):
        house.clock.sleep(pause)
        with suppress(ConnectionResetError, CircuitOpen):
            call()
    assert [event.detail for event in events if event.kind == "breaker"] == ["open", "half_open", "closed"]
    assert [event.kind for event in events if event.kind != "breaker"] == ["attempt_failed", "gave_up"] * 2 + ["shed"]
