"""While a learner listens whether trouble is of our own making, calls are made without retries and copies."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from houses import House, Script
from poet.model.execution import Outcome
from poet.model.tunable import Integer, Real
from poet.seams import SYSTEM_CLOCK, Probe

CALM = Probe(calm=True)


def decorated(house: House, *steps: float | BaseException, probe: Probe = CALM, **options: Any) -> tuple[Any, Script]:
    """A function that is called under ``probe``."""
    script = Script(house.clock, *steps)

    @house.poet(**options)
    def fetch() -> int:
        return script()

    cell = fetch.poet._cell
    cell.plan = cell.compile(fetch.poet.parameters, probe)
    return fetch, script


def test_a_calm_call_is_not_retried() -> None:
    fetch, script = decorated(House(), ConnectionError("gone"), retries=3)
    for calls in range(1, 4):
        with pytest.raises(ConnectionError):
            fetch()
        assert script.calls == calls
        assert [attempt.outcome for attempt in fetch.poet.last.attempts] == [Outcome.ERROR]


def test_a_calm_call_that_succeeds_is_as_any_other() -> None:
    fetch, script = decorated(House(), 0.25, retries=3)
    assert fetch() == 1
    assert fetch.poet.last.outcome is Outcome.SUCCESS
    assert script.calls == 1


@pytest.mark.parametrize(("fewest", "made"), [(0, 1), (1, 2), (2, 3)])
def test_as_many_attempts_are_made_as_the_bounds_ask_for(fewest: int, made: int) -> None:
    fetch, script = decorated(House(), ConnectionError("gone"), retries=3, tunables={"retries": Integer(fewest, 5)})
    with pytest.raises(ConnectionError):
        fetch()
    assert script.calls == made


@pytest.mark.parametrize("fewest", [0, 1])
def test_as_many_copies_are_sent_as_the_bounds_ask_for(fewest: int) -> None:
    tunables = {"hedges": Integer(fewest, 2)}
    fetch, _ = decorated(House(), 0.1, enforce_timeout="thread", hedge_delay=0.5, hedges=2, tunables=tunables)
    assert fetch.poet._cell.plan.hedges == fewest


def test_a_slow_calm_request_is_not_copied() -> None:
    house, asked = House(clock=SYSTEM_CLOCK), []

    @house.poet(enforce_timeout="thread", hedge_delay=0.01, hedges=2, timeout=10.0)
    def fetch() -> int:
        asked.append(1)
        threading.Event().wait(0.05)
        return len(asked)

    cell = fetch.poet._cell
    cell.plan = cell.compile(fetch.poet.parameters, CALM)
    assert fetch() == 1
    assert [attempt.outcome for attempt in fetch.poet.last.attempts] == [Outcome.SUCCESS]


def test_what_is_live_stays_as_it_is_and_comes_back_with_the_next_plan() -> None:
    fetch, script = decorated(House(), ConnectionError("gone"), retries=2)
    before = dict(fetch.poet.parameters)
    with pytest.raises(ConnectionError):
        fetch()
    assert dict(fetch.poet.parameters) == before
    cell = fetch.poet._cell
    cell.plan = cell.compile(fetch.poet.parameters, Probe())
    with pytest.raises(ConnectionError):
        fetch()
    assert script.calls == 1 + 3


def test_a_calm_call_may_be_waited_for_longer_within_the_bounds() -> None:
    probe = Probe(limit=1.0, stretch=2.44, calm=True)
    for high, limit in ((100.0, 2.44), (2.0, 2.0)):
        fetch, _ = decorated(House(), 0.1, probe=probe, timeout=1.0, tunables={"timeout": Real(0.1, high)})
        plan = fetch.poet._cell.plan
        assert plan.stretched == pytest.approx(limit)
        assert plan.retries == 0
        assert plan.probe_limit == 1.0
