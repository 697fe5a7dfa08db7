from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from poet.model.execution import LATE, PLAIN, Attempt, Context, Detail, Execution, Outcome, detailed, from_record


def test_the_numbers_of_outcomes_stay_as_stores_are_full_of_them() -> None:
    assert {outcome.name: int(outcome) for outcome in Outcome} == {
        "SUCCESS": 0,
        "ERROR": 1,
        "TIMEOUT": 2,
        "LATE": 3,
        "REFUSED": 4,
        "CANCELLED": 5,
        "SHED": 6,
    }


def test_the_caller_got_an_answer_where_it_came_in_time_or_late_and_nowhere_else() -> None:
    assert [outcome for outcome in Outcome if outcome.good] == [Outcome.SUCCESS, Outcome.LATE]


def test_an_attempt_is_no_hedge_unless_it_says_so() -> None:
    assert not Attempt(Outcome.SUCCESS, 1.0).hedge
    assert not Attempt(Outcome.SUCCESS, 1.0, 0.5).hedge


def test_a_record_without_detail_is_a_first_attempt_that_succeeded() -> None:
    execution = from_record((7, 2.0, 2.5, 3, None), "w", 1000.0)
    assert execution == Execution(
        "w", 7, 1002.0, 0.5, Outcome.SUCCESS, 3, (Attempt(Outcome.SUCCESS, 0.5),), error="", context=()
    )
    assert execution == from_record((7, 2.0, 2.5, 3, PLAIN), "w", 1000.0)
    assert execution.id == "w-7"


def test_a_late_record_is_one_attempt_as_long_as_the_call() -> None:
    execution = from_record((0, 1.0, 4.0, 1, LATE), "w", 0.0)
    assert (execution.outcome, execution.attempts) == (Outcome.LATE, (Attempt(Outcome.LATE, 3.0),))


def test_a_record_with_features_and_no_attempts_is_a_first_attempt_that_succeeded() -> None:
    context: Context = (("region", "eu"), ("size", 3))
    execution = from_record((0, 1.0, 4.0, 1, (Outcome.SUCCESS, (), "", context)), "w", 0.0)
    assert (execution.attempts, execution.context) == ((Attempt(Outcome.SUCCESS, 3.0),), context)


OUTCOMES = st.sampled_from(Outcome)
ATTEMPTS = st.lists(st.builds(Attempt, OUTCOMES, st.floats(0, 9), st.floats(0, 9), st.booleans()), min_size=1)
CONTEXTS = st.dictionaries(st.text(), st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()).map(
    lambda found: tuple(found.items())
)


@given(st.tuples(OUTCOMES, ATTEMPTS.map(tuple), st.text(), CONTEXTS), st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_execution_says_what_its_record_says(detail: Detail, start: float, took: float) -> None:
    execution = from_record((1, start, start + took, 2, detail), "w", 5.0)
    assert (execution.outcome, execution.attempts, execution.error, execution.context) == detail
    assert (execution.started, execution.seconds) == (5.0 + start, start + took - start)
    assert pickle.loads(pickle.dumps(execution)) == execution


def test_a_record_tells_what_was_tried_and_what_it_was_worth() -> None:
    plainly = (Outcome.SUCCESS, (), "", ())
    context, values, goals = (("region", "eu"),), (("k", 3),), (("quality", 0.9),)
    told = detailed(None, context, 5, values, (0.9, goals))
    execution = from_record((0, 1.0, 4.0, 1, told), "w", 0.0)
    assert execution[8:] == (context, 5, 0.9, values, goals, 1.0)
    assert execution[:8] == from_record((0, 1.0, 4.0, 1, plainly), "w", 0.0)[:8]
    late = from_record((0, 1.0, 4.0, 1, detailed(LATE, (), 0, values, (None, ()))), "w", 0.0)
    assert (late.outcome, late.values, late.score) == (Outcome.LATE, values, None)
    assert detailed(None, (), 0, (), (None, ())) is None
    assert detailed(LATE, (), 0, (), (None, ())) is LATE
    assert detailed(LATE, context, 0, (), (None, ())) == (Outcome.LATE, (), "", context)
