from __future__ import annotations

import pytest

from poet.learning.basic_rule import ROUND, BasicRule
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.tunable import Integer, Real, Space, Value

LIVE: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}


def executions(outcome: Outcome, seconds: float, n: int = ROUND) -> list[Execution]:
    return [Execution("w", i, 0.0, seconds, outcome, 1, (Attempt(outcome, seconds),)) for i in range(n)]


@pytest.mark.parametrize(
    ("outcome", "seconds", "expected"),
    [
        (Outcome.ERROR, 1.0, {"retries": 4}),
        (Outcome.TIMEOUT, 30.0, {"retries": 4}),
        (Outcome.SUCCESS, 25.0, {"timeout": 36.0}),
        (Outcome.SUCCESS, 1.0, {"timeout": 27.0}),
        (Outcome.SUCCESS, 15.0, None),
        (Outcome.REFUSED, 0.1, None),
        (Outcome.CANCELLED, 0.1, None),
    ],
)
def test_ten_alike_bring_one_nudge(outcome: Outcome, seconds: float, expected: dict[str, Value] | None) -> None:
    rule = BasicRule()
    rule.update(executions(outcome, seconds))
    suggestion = rule.suggest(LIVE)
    assert (suggestion and dict(suggestion.values)) == (expected and {**LIVE, **expected})
    assert rule.suggest(LIVE) is None  # the round is over


def test_nine_are_too_few_and_a_tie_is_no_majority() -> None:
    rule = BasicRule()
    rule.update(executions(Outcome.ERROR, 1.0, 9))
    assert rule.suggest(LIVE) is None
    mixed = BasicRule()
    mixed.update(executions(Outcome.ERROR, 1.0, 5) + executions(Outcome.SUCCESS, 1.0, 5))
    assert mixed.suggest(LIVE) is None


def test_nudges_compound_from_the_live_values_down_to_five_seconds() -> None:
    rule, live = BasicRule(), dict(LIVE)
    seen = []
    for _ in range(40):
        rule.update(executions(Outcome.SUCCESS, 0.1))
        suggestion = rule.suggest(live)
        live = dict(suggestion.values) if suggestion else live
        seen.append(live["timeout"])
    assert seen[:3] == [27.0, pytest.approx(24.3), pytest.approx(21.87)]
    assert seen[-1] == 5.0


def test_nudges_stop_at_their_ends_and_at_the_bounds() -> None:
    rule = BasicRule()
    rule.update(executions(Outcome.ERROR, 1.0))
    assert rule.suggest({**LIVE, "retries": 5}) is None
    rule.update(executions(Outcome.SUCCESS, 115.0))
    assert rule.suggest({**LIVE, "timeout": 120.0}) is None
    rule.update(executions(Outcome.SUCCESS, 0.1))
    assert rule.suggest({**LIVE, "timeout": 2.0}) is None  # never up to 5 from below
    bounded = BasicRule(space=Space(timeout=Real(0.1, 31.0), retries=Integer(0, 3)))
    bounded.update(executions(Outcome.SUCCESS, 29.0))
    suggestion = bounded.suggest(LIVE)
    assert suggestion is not None
    assert suggestion.values["timeout"] == 31.0
    bounded.update(executions(Outcome.ERROR, 1.0))
    assert bounded.suggest(LIVE) is None


def test_it_says_why() -> None:
    rule = BasicRule()
    rule.update(executions(Outcome.ERROR, 1.0))
    suggestion = rule.suggest(LIVE)
    assert suggestion is not None
    assert suggestion.reason == "retries 3 -> 4: 10 of the last 10 calls failed"
    assert suggestion.evidence == 10
    assert "no forecast" in rule.explain(LIVE).sentences[0]
