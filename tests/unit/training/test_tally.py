from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.model.execution import Attempt, Execution, Outcome
from poet.training.trainee import Tally


def call(outcome: Outcome, seconds: float, *attempts: Attempt, started: float = 1000.0) -> Execution:
    return Execution("w", 0, started, seconds, outcome, 1, attempts or (Attempt(outcome, seconds),))


RETRIED = call(Outcome.SUCCESS, 0.75, Attempt(Outcome.ERROR, 0.25), Attempt(Outcome.SUCCESS, 0.25, 0.25))
HEDGED = call(Outcome.SUCCESS, 0.5, Attempt(Outcome.CANCELLED, 0.5), Attempt(Outcome.SUCCESS, 0.25, 0.25, hedge=True))
SHED = call(Outcome.SHED, 1e-6, Attempt(Outcome.SHED, 0.0), started=2000.0)


def test_requests_are_the_attempts_that_were_made_and_hedges_are_among_them() -> None:
    tally = Tally(0.5)
    for execution in (call(Outcome.SUCCESS, 0.5), RETRIED, HEDGED, SHED, call(Outcome.TIMEOUT, 1.0)):
        tally.add(execution)
    assert (tally.calls, tally.failures, tally.requests, tally.hedges, tally.shed) == (5, 2, 6, 1, 1)
    assert {outcome: n for outcome, n in zip(Outcome, tally.outcomes, strict=True) if n} == {
        Outcome.SUCCESS: 3,
        Outcome.TIMEOUT: 1,
        Outcome.SHED: 1,
    }


def test_a_shed_call_is_a_failure_that_says_nothing_of_how_long_calls_take() -> None:
    tally = Tally(0.5)
    tally.add(SHED)
    assert (tally.success, tally.seconds, tally.last) == (0.0, None, 2000.0)
    tally.add(call(Outcome.SUCCESS, 0.5))
    tally.add(SHED)
    assert tally.success == pytest.approx(0.25)
    assert tally.seconds == 0.5


def test_averages_follow_the_newest_calls() -> None:
    tally = Tally(0.25)
    tally.add(call(Outcome.SUCCESS, 1.0))
    tally.add(call(Outcome.ERROR, 2.0))
    assert (tally.success, tally.seconds) == (0.75, 1.25)


OUTCOMES = st.lists(st.tuples(st.sampled_from(Outcome), st.floats(0, 1e6)), max_size=20)


@given(OUTCOMES, OUTCOMES)
def test_a_tally_in_one_piece_goes_on_as_if_it_never_was(
    before: list[tuple[Outcome, float]], after: list[tuple[Outcome, float]]
) -> None:
    whole, packed = Tally(0.3), Tally(0.3).packed()
    for outcome, seconds in before:
        whole.add(call(outcome, seconds))
        tally = Tally.unpacked(packed, 0.3)
        tally.add(call(outcome, seconds))
        packed = tally.packed()
    tally = Tally.unpacked(packed, 0.3)
    for outcome, seconds in after:
        whole.add(call(outcome, seconds))
        tally.add(call(outcome, seconds))
    assert {name: getattr(tally, name) for name in Tally.__slots__} == {
        name: getattr(whole, name) for name in Tally.__slots__
    }
