"""Who listens hears what happens, in order, in the thread of the call; and can break nothing."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House, Script
from poet.model.event import KINDS, Event
from poet.testing.clock import run


def heard(house: House) -> list[Event]:
    events: list[Event] = []
    house.agent.listeners.add(events.append)
    return events


def scripted(house: House, *steps: float | BaseException, **options: Any) -> Any:
    script = Script(house.clock, *steps)
    return house.poet(**{"backoff": 0, "name": "f", **options})(lambda: script())


def test_a_first_success_is_no_event() -> None:
    house = House()
    events = heard(house)
    scripted(house, 0.1)()
    assert events == []


def test_a_call_that_recovers_tells_of_each_failure_and_each_retry() -> None:
    house = House()
    events = heard(house)

    class Slow(ConnectionError):
        pass

    def body(tries: list[int] = []) -> str:  # noqa: B006 - it counts
        tries.append(1)
        house.clock.sleep(0.25 * len(tries))
        if len(tries) < 3:
            raise Slow("secret")
        return "answer"

    assert house.poet(backoff=0, name="f", dependency="x")(body)() == "answer"
    assert events == [
        Event("attempt_failed", "f", "x", 1, 0.25, outcome="error", error="Slow"),
        Event("retry", "f", "x", 1, error="Slow"),
        Event("attempt_failed", "f", "x", 2, 0.5, outcome="error", error="Slow"),
        Event("retry", "f", "x", 2, error="Slow"),
    ]


def test_a_call_that_gives_up_says_so_last() -> None:
    house = House()
    events = heard(house)
    with pytest.raises(TimeoutError):
        scripted(house, TimeoutError(), retries=1)()
    assert [(e.kind, e.attempt, e.outcome, e.error) for e in events] == [
        ("attempt_failed", 1, "timeout", "TimeoutError"),
        ("retry", 1, "", "TimeoutError"),
        ("attempt_failed", 2, "timeout", "TimeoutError"),
        ("gave_up", 2, "timeout", "TimeoutError"),
    ]


def test_an_error_that_no_attempt_can_mend_is_told_once() -> None:
    house = House()
    events = heard(house)
    with pytest.raises(KeyError):
        scripted(house, KeyError("secret"))()
    assert [(e.kind, e.outcome, e.error) for e in events] == [("attempt_failed", "refused", "KeyError")]


def test_a_spent_budget_is_told_before_the_end() -> None:
    house = House()
    events = heard(house)
    with pytest.raises(ConnectionError):
        scripted(house, ConnectionError(), dependency=poet.Dependency("x", budget=poet.Budget(floor=0)))()
    assert [e.kind for e in events] == ["attempt_failed", "budget_spent", "gave_up"]
    assert {e.dependency for e in events} == {"x"}


def test_a_call_that_was_not_made_is_told_with_what_refused_it() -> None:
    house = House()
    call = scripted(
        house, ConnectionError(), retries=0, dependency=poet.Dependency("x", breaker=poet.Breaker(min_calls=1))
    )
    with pytest.raises(ConnectionError):
        call()
    events = heard(house)
    with pytest.raises(poet.CircuitOpen):
        call()
    assert events == [Event("shed", "f", "x", error="CircuitOpen")]


def test_hedges_are_told_as_they_are_sent_and_won() -> None:
    house = House()
    events = heard(house)
    lengths = iter([9.0, 1.0])

    @house.poet(hedge_delay=2.0, name="f", timeout=20.0)
    async def ask() -> None:
        await asyncio.sleep(next(lengths))

    run(ask(), house.clock)
    assert events == [Event("hedge", "f", "f"), Event("hedge_won", "f", "f")]


def test_a_cut_off_attempt_is_told_with_its_length() -> None:
    house = House()
    events = heard(house)

    @house.poet(timeout=1.5, retries=0, name="f")
    async def ask() -> None:
        await asyncio.sleep(60)

    with pytest.raises(poet.PoetTimeout):
        run(ask(), house.clock)
    assert [(e.kind, e.outcome, e.seconds) for e in events] == [
        ("attempt_failed", "timeout", pytest.approx(1.5)),
        ("gave_up", "timeout", 0.0),
    ]


@given(
    st.lists(st.sampled_from(["ok", "error", "timeout", "refused", "odd"]), min_size=1, max_size=6),
    st.integers(0, 4),
    st.integers(0, 3),
)
def test_whatever_happens_events_tell_the_story_of_the_record(kinds: list[str], retries: int, floor: int) -> None:
    house = House()
    events = heard(house)
    errors: dict[str, BaseException] = {
        "error": ConnectionError("secret"),
        "timeout": TimeoutError("secret"),
        "refused": ValueError("secret"),
        "odd": KeyboardInterrupt("secret"),
    }
    dependency = poet.Dependency("x", budget=poet.Budget(share=0.0, floor=floor))
    call = scripted(house, *[errors.get(k, 0.125) for k in kinds], retries=retries, dependency=dependency)
    with suppress(BaseException):
        call()
    attempts = call.poet.last.attempts
    failed = [e for e in events if e.kind == "attempt_failed"]
    assert [e.outcome for e in failed] == [a.outcome.name.lower() for a in attempts if not a.outcome.good]
    assert [e.attempt for e in failed] == list(range(1, len(failed) + 1))
    assert sum(e.kind == "retry" for e in events) == len(attempts) - 1
    assert all(e.kind in KINDS and e.function == "f" and e.dependency == "x" for e in events)
    assert "secret" not in repr(events)


def test_it_is_called_in_the_thread_of_the_call() -> None:
    house = House()
    threads: list[threading.Thread] = []
    house.agent.listeners.add(lambda event: threads.append(threading.current_thread()))
    call = scripted(house, ValueError())

    def work() -> None:
        with suppress(ValueError):
            call()

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert threads == [worker]


def test_a_listener_that_raises_is_counted_each_time_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House()

    def broken(event: Event) -> None:
        raise RuntimeError("on fire")

    house.agent.listeners.add(broken)
    events = heard(house)
    call = scripted(house, ConnectionError(), ConnectionError(), 0.1)
    with caplog.at_level(logging.ERROR, logger="poet"):
        assert call() == 3
    assert [e.kind for e in events] == ["attempt_failed", "retry"] * 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "broken" in caplog.text
    assert "on fire" in caplog.text
    status = call.poet.status()
    assert status["faults"] == 4
    assert "RuntimeError: on fire" in status["last_fault"]


def test_two_listeners_that_raise_are_each_logged(caplog: pytest.LogCaptureFixture) -> None:
    house = House()

    def one(event: Event) -> None:
        raise RuntimeError("one")

    class Two:
        def __call__(self, event: Event) -> None:
            raise RuntimeError("two")

    house.agent.listeners.add(one)
    house.agent.listeners.add(Two())
    with caplog.at_level(logging.ERROR, logger="poet"), pytest.raises(ValueError):
        scripted(house, ValueError())()
    assert len(caplog.records) == 2


@pytest.mark.parametrize("make", ["sync", "async", "hedged"])
def test_it_breaks_no_call_of_any_kind(make: str, caplog: pytest.LogCaptureFixture) -> None:
    house = House()

    def broken(event: Event) -> None:
        raise ValueError(event.kind)

    house.agent.listeners.add(broken)
    dependency = poet.Dependency("x", breaker=poet.Breaker(min_calls=50), concurrency=3)
    if make == "sync":
        assert scripted(house, ConnectionError(), 0.1, dependency=dependency)() == 2
    else:
        lengths = iter([5.0, 0.5])

        @house.poet(
            dependency=dependency, timeout=10.0, retries=1, backoff=0, hedge_delay=1.0 if make == "hedged" else None
        )
        async def ask() -> str:
            await asyncio.sleep(next(lengths))
            if make == "async":
                raise ConnectionError
            return "answer"

        async def main() -> Any:
            if make == "hedged":
                return await ask()
            with pytest.raises(ConnectionError):
                await ask()
            return "answer"

        assert run(main(), house.clock) == "answer"
    assert house.agent.dependencies["x"].running == 0


def test_a_listener_may_end_itself_and_others_while_it_hears() -> None:
    house = House()
    seen: list[str] = []
    ends: list[Callable[[], None]] = []

    def once(event: Event) -> None:
        seen.append("once")
        for end in ends:
            end()

    ends.append(house.agent.listeners.add(once))
    ends.append(house.agent.listeners.add(lambda event: seen.append("other")))
    with pytest.raises(ConnectionError):
        scripted(house, ConnectionError(), retries=0)()
    assert seen == ["once", "other"]


def test_ending_twice_is_ending_once() -> None:
    house = House()
    events: list[Event] = []
    end = house.agent.listeners.add(events.append)
    other = heard(house)
    end()
    end()
    with pytest.raises(ValueError):
        scripted(house, ValueError())()
    assert (len(events), len(other)) == (0, 1)


def test_one_that_was_added_twice_and_ended_once_still_hears() -> None:
    house = House()
    seen: list[Event] = []

    def note(event: Event) -> None:
        seen.append(event)

    end = house.agent.listeners.add(note)
    house.agent.listeners.add(note)
    end()
    with pytest.raises(ValueError):
        scripted(house, ValueError())()
    assert len(seen) == 1


def test_a_listener_may_call_a_function_of_ours() -> None:
    house = House()
    notes: list[str] = []

    @house.poet(name="note")
    def note(kind: str) -> None:
        notes.append(kind)

    house.agent.listeners.add(lambda event: note(event.kind) if event.function == "f" else None)
    assert scripted(house, ConnectionError(), 0.1)() == 2
    assert notes == ["attempt_failed", "retry"]


def test_what_stops_the_program_passes_through_a_listener() -> None:
    house = House()

    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    house.agent.listeners.add(stop)
    with pytest.raises(KeyboardInterrupt):
        scripted(house, ConnectionError(), 0.1)()


PROGRAM = """
import poet

events = []
end = poet.listen(events.append)

@poet.poet(name="f", backoff=0)
def ask(tries=[]):
    tries.append(1)
    if len(tries) % 2:
        raise ConnectionResetError
    return "answer"

assert ask() == "answer"
assert [event.kind for event in events] == ["attempt_failed", "retry"], events
end()
assert ask() == "answer"
assert len(events) == 2
print("done")
"""


def test_poet_listen_hears_the_functions_of_the_process(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=tmp_path,
        env={"POET_STORE": "memory:", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (answer.stdout, answer.stderr, answer.returncode) == ("done\n", "", 0)


def test_who_asks_for_it_hears_of_every_call_that_is_over() -> None:
    house = House()
    every: list[poet.Event] = []
    rare: list[poet.Event] = []
    end = house.agent.listeners.add(every.append, finished=True)
    house.agent.listeners.add(rare.append)
    script = Script(house.clock, 0.5, ConnectionResetError(), 0.25, ValueError())

    @house.poet(retries=1, backoff=0, dependency="files")
    def fetch() -> int:
        return script()

    fetch()
    fetch()
    with pytest.raises(ValueError):
        fetch()
    assert [event.kind for event in every] == ["attempt_failed", "retry", "attempt_failed"]
    house.agent.flush()
    told = [event for event in every if event.kind == "finished"]
    assert [(event.outcome, event.attempt, event.error) for event in told] == [
        ("success", 1, ""),
        ("success", 2, ""),
        ("refused", 1, "ValueError"),
    ]
    assert told[0].seconds == 0.5
    assert told[0].dependency == "files"
    assert all(event.kind != "finished" for event in rare)
    end()
    script.steps.append(0.1)
    fetch()
    house.agent.flush()
    assert len(every) == 6
