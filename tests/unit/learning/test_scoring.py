from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.learning.scoring import FIRST_ANSWERS, Scoring
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Goal, Objective

VALUES = {"x": 1}
GOALS = {"right": Goal(weight=2.0, at_least=0.75), "dollars": Goal(high=0.5, weight=-4.0, at_most=0.25)}


def call(
    *,
    outcome: Outcome = Outcome.SUCCESS,
    seconds: float = 0.5,
    score: float | None = None,
    goals: tuple[tuple[str, float], ...] = (),
    context: tuple[tuple[str, str], ...] = (),
    attempts: int = 1,
) -> Execution:
    tries = tuple(Attempt(outcome, seconds) for _ in range(attempts))
    return Execution("w", 0, 1e9, seconds, outcome, 1, tries, context=context, score=score, goals=goals)


def scoring(goals: dict[str, Goal] | None = None, objective: Objective | None = None, scored: bool = True) -> Scoring:
    return Scoring(("x",), goals=goals or {}, objective=objective, scored=scored)


def test_a_plain_score_is_taken_as_it_is_and_awaited_where_it_is_missing() -> None:
    own = scoring()
    told = own.trial(call(score=0.25), VALUES, contextual=False)
    assert told is not None
    assert (told.score, told.slack, dict(told.values)) == (0.25, (), VALUES)
    assert own.trial(call(), VALUES, contextual=False) is None


def test_a_call_that_failed_has_the_worst_score_at_once() -> None:
    assert scoring().trial(call(outcome=Outcome.ERROR), VALUES, contextual=False).score == 0.0  # type: ignore[union-attr]
    told = scoring(GOALS).trial(call(outcome=Outcome.TIMEOUT), VALUES, contextual=False)
    assert told is not None
    assert told.score == 2.0 * 0.0 - 4.0 * 0.5
    assert told.slack == (0.0 - 0.75, 0.25 - 0.5)


@pytest.mark.parametrize("outcome", [Outcome.SHED, Outcome.CANCELLED])
def test_what_was_not_made_or_was_given_up_tells_nothing(outcome: Outcome) -> None:
    assert scoring().trial(call(outcome=outcome, score=1.0), VALUES, contextual=False) is None


def test_goals_are_weighed_once_all_of_them_are_there() -> None:
    own = scoring(GOALS)
    assert own.constraints == 2
    assert own.trial(call(goals=(("dollars", 0.125),)), VALUES, contextual=False) is None
    told = own.trial(call(goals=(("dollars", 0.125), ("right", 1.0))), VALUES, contextual=False)
    assert told is not None
    assert told.score == 2.0 - 0.5
    assert told.slack == (0.25, 0.125)


def test_a_declared_objective_is_added_and_a_derived_cost_waits_for_the_first_answers() -> None:
    priced = scoring(objective=Objective(latency_cost=0.5, attempt_cost=0.25))
    told = priced.trial(call(score=0.5, seconds=1.0, attempts=3), VALUES, contextual=False)
    assert told is not None
    assert told.score == 0.5 + 1.0 - 0.5 - 0.25 * 2
    unscored = scoring(scored=False)
    trials = [unscored.trial(call(seconds=0.5), VALUES, contextual=False) for _ in range(FIRST_ANSWERS)]
    assert trials[:-1] == [None] * (FIRST_ANSWERS - 1)
    assert trials[-1] is not None
    assert trials[-1].score == 1.0 - 0.1  # an answer in the usual time costs a tenth of its value
    again = scoring(scored=False)
    again.restore(unscored.facts())
    assert again.trial(call(seconds=0.5), VALUES, contextual=False) == trials[-1]


def test_a_caller_whose_own_value_cannot_be_told_teaches_nothing() -> None:
    assert scoring().trial(call(score=1.0), {}, contextual=False) is None


def test_features_are_told_where_they_count() -> None:
    told = call(score=1.0, context=(("topic", "code"),))
    assert scoring().trial(told, VALUES, contextual=True).context == (("topic", "code"),)  # type: ignore[union-attr]
    assert scoring().trial(told, VALUES, contextual=False).context == ()  # type: ignore[union-attr]


@given(
    st.floats(),
    st.floats(allow_nan=True),
    st.sampled_from(list(Outcome)),
    st.one_of(st.none(), st.floats()),
    st.booleans(),
)
def test_trials_are_finite_whatever_is_told(
    seconds: float, value: float, outcome: Outcome, score: float | None, scored: bool
) -> None:
    for own in (scoring(scored=scored), scoring(GOALS), scoring(objective=Objective(latency_cost=1.0), scored=scored)):
        told = own.trial(
            call(outcome=outcome, seconds=seconds, score=score, goals=(("right", value), ("dollars", value))),
            VALUES,
            contextual=True,
        )
        assert told is None or math.isfinite(told.score)


@pytest.mark.parametrize("facts", [None, [], [1, [], None], [True, [0.1] * 21, None], [True, [math.nan], None], "no"])
def test_what_are_no_facts_is_refused(facts: object) -> None:
    own = scoring(scored=False)
    before = own.facts()
    with pytest.raises((ValueError, TypeError)):
        own.restore(facts)
    assert own.facts() == before


def test_the_worth_of_a_call_spans_its_scales() -> None:
    assert scoring().worth == 1.0
    assert scoring(GOALS).worth == 2.0 + 4.0 * 0.5
    assert scoring(objective=Objective(value=3.0)).worth == 4.0
    assert scoring(objective=Objective(value=3.0), scored=False).worth == 3.0
