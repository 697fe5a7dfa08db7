from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import poet
from houses import House
from poet.model.dependency import Budget, Dependency
from poet.model.event import Event
from poet.model.execution import Outcome
from poet.seams import SYSTEM_CLOCK

SOON = 0.02


@pytest.fixture
def house() -> House:
    return House(clock=SYSTEM_CLOCK)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Set at the end, so that no body is left behind for good."""
    event = threading.Event()
    yield event
    event.set()


def test_a_copy_answers_where_the_first_request_hangs(house: House, release: threading.Event) -> None:
    turns = iter(range(10))
    events: list[Event] = []
    house.agent.listeners.add(events.append)

    @house.poet(enforce_timeout="thread", hedge_delay=SOON, timeout=10.0, retries=0)
    def fetch() -> int:
        turn = next(turns)
        if turn == 0:
            release.wait(10.0)
        return turn

    assert fetch() == 1
    first, copy = fetch.poet.last.attempts
    assert (first.outcome, first.hedge) == (Outcome.CANCELLED, False)
    assert (copy.outcome, copy.hedge) == (Outcome.SUCCESS, True)
    assert copy.waited >= SOON
    assert [event.kind for event in events] == ["hedge", "hedge_won", "abandoned"]


def test_the_first_request_wins_where_the_copy_hangs(house: House, release: threading.Event) -> None:
    turns = iter(range(10))
    copied = threading.Event()

    @house.poet(enforce_timeout="thread", hedge_delay=SOON, timeout=10.0, retries=0)
    def fetch() -> int:
        turn = next(turns)
        if turn == 0:
            copied.wait(10.0)
        else:
            copied.set()
            release.wait(10.0)
        return turn

    assert fetch() == 0
    assert [attempt.outcome for attempt in fetch.poet.last.attempts] == [Outcome.SUCCESS, Outcome.CANCELLED]


def test_an_error_of_the_first_request_waits_for_the_copy(house: House) -> None:
    turns = iter(range(10))
    copied = threading.Event()

    @house.poet(enforce_timeout="thread", hedge_delay=SOON, timeout=10.0, retries=0)
    def fetch() -> int:
        turn = next(turns)
        if turn == 0:
            copied.wait(10.0)
            raise ConnectionResetError
        copied.set()
        threading.Event().wait(SOON)
        return turn

    assert fetch() == 1
    assert [attempt.outcome for attempt in fetch.poet.last.attempts] == [Outcome.ERROR, Outcome.SUCCESS]


def test_where_all_fail_the_error_is_the_first_requests(house: House) -> None:
    turns = iter(range(10))
    copied = threading.Event()

    @house.poet(enforce_timeout="thread", hedge_delay=SOON, timeout=10.0, retries=0)
    def fetch() -> int:
        if next(turns) == 0:
            copied.wait(10.0)
            raise ConnectionResetError("first")
        copied.set()
        raise ConnectionResetError("copy")

    with pytest.raises(ConnectionResetError, match="first"):
        fetch()


def test_the_limit_ends_all_of_them(house: House, release: threading.Event) -> None:
    @house.poet(enforce_timeout="thread", hedge_delay=SOON, hedges=2, timeout=5 * SOON, retries=0)
    def fetch() -> None:
        release.wait(10.0)

    with pytest.raises(poet.PoetTimeout):
        fetch()
    assert [attempt.outcome for attempt in fetch.poet.last.attempts] == [
        Outcome.TIMEOUT,
        Outcome.CANCELLED,
        Outcome.CANCELLED,
    ]


def test_without_budget_no_copy_is_sent(house: House) -> None:
    asked = 0

    @house.poet(
        enforce_timeout="thread",
        hedge_delay=SOON / 4,
        timeout=10.0,
        dependency=Dependency("x", budget=Budget(share=0.0, floor=0), concurrency=1),
    )
    def fetch() -> None:
        nonlocal asked
        asked += 1
        threading.Event().wait(SOON)

    fetch()
    assert asked == 1
    assert house.agent.dependencies["x"].running == 0
