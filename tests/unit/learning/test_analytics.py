"""What learning has gained, on records whose answer is known by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.learning.analytics import against, changes, contrast
from poet.learning.analytics.report import gains, over_all
from poet.model.aggregate import Hour
from poet.model.estimate import Estimate
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.gains import Gains
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value

OK, WRONG, LIMIT = Outcome.SUCCESS, Outcome.ERROR, Outcome.TIMEOUT
OBJECTIVE = Objective(latency_cost=0.1)
DECLARED: dict[str, Value] = {"timeout": 5.0, "retries": 2, "backoff": 0.0}
START = 1_700_000_000.0


def version(number: int, origin: Any = "learned", gain: Estimate | None = None, **values: Value) -> ParameterSet:
    return ParameterSet(
        values_={**DECLARED, **values},
        version=number,
        parent=number - 1 or None,
        origin=origin if number > 1 else "declared",
        estimates={} if gain is None else {"gain": gain},
        created=START + number,
    )


def calls(n: int, *attempts: Attempt, used: int = 1, first: int = 0, **more: Any) -> list[Execution]:
    """``n`` calls alike, one every 10 s."""
    seconds = sum(attempt.seconds + attempt.waited for attempt in attempts)
    return [
        Execution("w", i, START + 10.0 * i, seconds, attempts[-1].outcome, used, attempts, **more)
        for i in range(first, first + n)
    ]


def told(
    executions: Sequence[Execution],
    *versions: ParameterSet,
    objective: Objective = OBJECTIVE,
    declared: Mapping[str, Value] = DECLARED,
    **more: Any,
) -> Gains:
    known = {each.version: each for each in (versions or (version(1),))}
    return gains("shop.f", executions, known, declared, known[max(known)], objective, **more)


QUICK, WRONG_QUICK, SLOW = Attempt(OK, 0.5), Attempt(WRONG, 0.1), Attempt(OK, 4.0)


def test_without_a_call_it_says_so() -> None:
    found = told([])
    assert (found.calls, found.gain, found.estimator, found.figures) == (0, None, "", {})
    assert found.sentences[0] == "There is no call to compare."


def test_declared_values_all_along_gain_nothing() -> None:
    found = told(calls(300, QUICK))
    assert found.gain == Estimate(0.0, 0.0, 0.0, 300)
    assert found.decided == 1
    assert "Nothing was gained" in found.sentences[0]
    assert any("one version only" in sentence for sentence in found.sentences)
    assert math.isnan(found.worse)


def test_calls_that_a_retry_saved_are_compared_exactly() -> None:
    """Under the declared 0 retries a call that errs fails: worth -0.01 instead of 1 - 0.06 - 0.03 = 0.91."""
    made = []
    for i in range(300):
        made += calls(1, *((WRONG_QUICK, QUICK) if i % 3 == 0 else (QUICK,)), used=2, first=i)
    old, new = version(1, retries=0), version(2, retries=2)
    found = told(made, old, new, declared={**DECLARED, "retries": 0})
    assert found.estimator == "replay"
    assert found.decided == 1
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.92 / 3, abs=0.002)
    assert found.gain.low > 0
    assert found.figures["success"].difference is not None
    assert found.figures["success"].difference.value == pytest.approx(1 / 3, abs=0.002)
    assert found.figures["requests"].declared is not None
    assert found.figures["requests"].declared.value == pytest.approx(1.0)
    assert found.saved is not None
    assert found.saved.failures.value == pytest.approx(1000 / 3, abs=2)
    assert found.saved.requests.value == pytest.approx(-1000 / 3, abs=2)
    assert found.saved.seconds.value == pytest.approx(-500 / 3, abs=2)
    last = found.running[-1]
    assert last.calls == 300
    assert last.gain == pytest.approx(found.gain.value, abs=0.01)
    assert last.low <= found.gain.low <= found.gain.high <= last.high
    assert any("Learning has gained 0.30" in sentence for sentence in found.sentences)


def worse() -> Gains:
    """A version without retries, where declared values retry and comparable retries are on record."""
    made = calls(200, WRONG_QUICK, QUICK) + calls(200, WRONG_QUICK, used=2, first=200)
    return told(made, version(1), version(2, retries=0))


def test_what_learning_has_made_worse_is_named() -> None:
    bad, good = worse(), told(calls(300, QUICK))
    assert bad.gain is not None
    assert bad.gain.high < 0
    assert bad.sentences[0].startswith("Learning has lost")
    (change,) = bad.changes
    assert (change.improved, change.version, change.parent) == (False, 2, 1)
    assert bad.improved == Estimate(0.0, 0.0, bad.improved.high if bad.improved else 0.0, 1)
    every = over_all([good, bad._replace(function="shop.bad"), told([])])
    assert every.worse == ("shop.bad",)
    assert [each.function for each in every.functions][-1] == "shop.f"
    assert every.calls == 700
    assert every.gain is not None
    assert every.gain.value == pytest.approx(bad.gain.value * 400 / 700)
    assert any("Made worse" in sentence for sentence in every.sentences)


def test_over_no_function_it_says_so() -> None:
    assert over_all([]).sentences == ("No function yet.",)
    assert over_all([told([])]).gain is None


def test_predictions_are_held_against_what_was_measured() -> None:
    made = calls(200, WRONG_QUICK, QUICK) + calls(200, WRONG_QUICK, used=2, first=200)
    right, wrong = Estimate(-0.9, -1.0, -0.8, 50), Estimate(0.5, 0.4, 0.6, 50)
    for prediction, agreed in ((right, True), (wrong, False), (None, None)):
        (change,) = told(made, version(1), version(2, gain=prediction, retries=0)).changes
        assert (change.predicted, change.agreed) == (prediction, agreed)
    assert changes.agree(Estimate(1, 0, 2, 9), Estimate(2, 1, 3, 9))
    assert not changes.agree(Estimate(1, 0.9, 1.1, 9), Estimate(2, 1.9, 2.1, 9))


@pytest.mark.parametrize(
    ("born", "why"),
    [
        (version(2), "changes nothing that a replay knows of"),
        (version(3, retries=0), "version 2, which it was made from, is gone"),
        (version(2, retries=1), "its interval holds zero"),
        (version(2, hedges=1), "none that calls can use"),
    ],
)
def test_why_a_change_cannot_be_told(born: ParameterSet, why: str) -> None:
    found = told(calls(200, QUICK) + calls(200, QUICK, used=born.version, first=200), version(1), born)
    (change,) = found.changes
    assert change.improved is None
    assert why in change.why
    assert found.improved is None


def test_a_change_with_too_few_calls_cannot_be_told() -> None:
    found = told(calls(10, QUICK), version(1), version(2, retries=1))
    assert "only 10 calls" in found.changes[0].why


def test_what_nobody_saw_makes_the_interval_wide_and_is_said() -> None:
    """All calls were cut off at 1 s: what 5 s would have met is not on record."""
    cut_off = Attempt(LIMIT, 1.0)
    made = calls(400, QUICK, used=2) + calls(200, cut_off, QUICK, used=2, first=400)
    found = told(made, version(1), version(2, timeout=1.0))
    assert found.untold > 0.2
    assert found.gain is not None
    assert found.gain.low < 0.02
    assert found.gain.high > 0.05
    assert any("nobody was watched as long" in sentence for sentence in found.sentences)
    assert any("may overload it" in sentence for sentence in found.sentences)


def test_calls_that_nothing_decides_are_left_out() -> None:
    shed = calls(5, Attempt(Outcome.SHED, 0.0), first=300)
    odd = [each._replace(started=math.nan) for each in calls(3, QUICK, first=400)]
    found = told(calls(300, QUICK) + shed + odd)
    assert (found.calls, found.left_out) == (300, {"shed": 5})
    assert any("5 not made" in sentence for sentence in found.sentences)


def test_without_an_answer_there_is_no_scale() -> None:
    zero = Attempt(WRONG, 0.0)
    found = told(calls(50, zero), objective=Objective())
    assert (found.gain, found.objective) == (None, None)
    assert any("a second has no worth" in sentence for sentence in found.sentences)


def test_few_calls_have_a_figure_and_no_interval() -> None:
    found = told(calls(6, QUICK))
    assert found.gain is None
    assert any("too few of them for an interval" in sentence for sentence in found.sentences)


def test_deleted_calls_are_told_by_their_hours() -> None:
    hour = Hour(START - 7200, 1, 50, (45, 5, 0, 0, 0, 0, 0), 50, 0, 100.0, 0, 0.0, {})
    found = told(calls(300, QUICK), hours=[hour])
    assert any("Of 50 older calls only sums by the hour are kept: 90 % got an answer" in s for s in found.sentences)
    assert any("Of 50 older calls" in s for s in told([], hours=[hour]).sentences)


def test_other_declared_values_than_version_1_had_are_said() -> None:
    found = told(calls(300, QUICK), declared={**DECLARED, "retries": 1})
    assert any("version 1 had others" in sentence for sentence in found.sentences)


def test_a_function_that_does_not_learn_is_told_how() -> None:
    assert any("enable_training" in sentence for sentence in told(calls(300, QUICK), learns=False).sentences)


def test_late_answers_are_said() -> None:
    late = Attempt(Outcome.LATE, 9.0)
    found = told(calls(300, late))
    assert any("answered behind their limit" in sentence for sentence in found.sentences)


def scored(n: int, *, lot: bool) -> list[Execution]:
    """Half of the calls use a larger model, by lot or one after the other; they score 0.8 instead of 0.5."""
    made = []
    for i in range(n):
        large = (i * 7919) % 13 < 6 if lot else i >= n // 2
        values = (("model", "large"),) if large else ()
        made += calls(1, QUICK, first=i, draw=int(large), values=values, score=0.8 + 0.01 * (i % 3) if large else 0.5)
    return made


def test_own_parameters_are_compared_by_lot() -> None:
    declared: dict[str, Value] = {**DECLARED, "model": "small"}
    live = ParameterSet(values_=declared, version=1)
    found = told(scored(600, lot=True), live, declared=declared)
    assert (found.estimator, found.unit) == ("contrast", "score")
    assert found.contrast is not None
    assert found.contrast.gain.value == pytest.approx(0.31, abs=0.01)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.31 * 6 / 13, abs=0.01)
    assert found.worse < 0.01
    assert any("as a lot decided" in sentence for sentence in found.sentences)


def test_own_parameters_without_a_lot_cannot_be_told() -> None:
    declared: dict[str, Value] = {**DECLARED, "model": "small"}
    found = told(scored(600, lot=False), ParameterSet(values_=declared, version=1), declared=declared)
    assert (found.estimator, found.gain, found.contrast) == ("", None, None)
    assert any("model otherwise than declared" in sentence for sentence in found.sentences)


def test_failed_calls_make_no_score() -> None:
    lots = contrast.worths(calls(300, WRONG_QUICK), {1: version(1)}, DECLARED, OBJECTIVE)
    assert lots.unit == "utility"


def test_a_canary_by_lot_stands_beside_the_replay() -> None:
    made = []
    for i in range(800):
        lot = (i * 7919) % 13 < 4
        made += calls(1, *((WRONG_QUICK, QUICK) if lot else (QUICK,)), used=1 if lot else 2, first=i)
    found = told(made, version(1), version(2, timeout=4.0))
    assert found.contrast is not None
    assert found.contrast.gain.value == pytest.approx(0.04)
    assert any("at the same time as" in sentence for sentence in found.sentences)


def test_hindsight_finds_what_was_missed() -> None:
    """Half of the calls err at once and would have been saved by a retry that no version makes."""
    made = calls(300, WRONG_QUICK, QUICK) + calls(300, WRONG_QUICK, used=2, first=300)
    found = told(made, version(1), version(2, retries=0), thorough=True)
    best = found.hindsight
    assert best is not None
    assert int(best.values["retries"]) >= 1
    assert best.regret.value == pytest.approx(0.46, abs=0.05)
    assert best.calls is None
    assert any("not within 5 %" in sentence for sentence in found.sentences)
    kept = told(calls(600, QUICK), thorough=True).hindsight
    assert kept is not None
    assert (kept.calls, kept.near) == (0, 1.0)
    assert kept.regret.value == pytest.approx(0.0, abs=1e-9)


def test_it_says_the_same_again_and_changes_nothing() -> None:
    made = calls(200, WRONG_QUICK, QUICK) + calls(200, WRONG_QUICK, used=2, first=200)
    before = copy.deepcopy(made)
    versions = version(1), version(2, retries=0)
    assert told(made, *versions, thorough=True) == told(made, *versions, thorough=True)
    assert made == before


def test_the_figure_lies_between_what_cannot_be_beaten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is believed of what nobody saw, the mixture keeps within the bounds of a replay."""
    from poet.learning.replay import replay, wanted

    made = calls(300, QUICK, used=2) + calls(100, Attempt(LIMIT, 1.0), QUICK, used=2, first=300)
    new = version(2, timeout=1.0)
    found = told(made, version(1), new)
    bounds = replay(made, wanted({}, DECLARED, {}), OBJECTIVE, used=lambda execution: new).bounds["utility"]
    declared = found.figures["utility"].declared
    assert declared is not None
    noise = 0.2  # of other calls than these, which bounds do not hold
    assert bounds[0] - noise <= declared.low <= declared.high <= bounds[1] + noise
    assert declared.level == against.LEVEL


SPANS = st.sampled_from([0.0, 1e-9, 0.3, 1.0, 5.0, 1e6, math.inf, math.nan, -1.0])
ATTEMPTS = st.builds(Attempt, st.sampled_from(list(Outcome)), SPANS, SPANS, st.booleans())


@st.composite
def odd_calls(draw: st.DrawFn) -> list[Execution]:
    n = draw(st.integers(0, 60))
    moments = st.sampled_from([START, START + 60.0, START + 1e6, 0.0, -1e9, math.inf, math.nan])
    return [
        Execution(
            "w",
            i,
            draw(moments),
            draw(SPANS),
            draw(st.sampled_from(list(Outcome))),
            draw(st.integers(0, 4)),
            tuple(draw(st.lists(ATTEMPTS, max_size=4))),
            score=draw(st.sampled_from([None, 0.0, 1.0])),
        )
        for i in range(n)
    ]


@settings(max_examples=60, deadline=None)
@given(odd_calls())
def test_odd_calls_do_no_harm(made: list[Execution]) -> None:
    found = told(made, version(1), version(2, timeout=0.5), version(3, retries=0), thorough=True)
    if found.gain is not None:
        assert found.gain.low <= found.gain.value <= found.gain.high
    assert found.sentences
    assert over_all([found, found]).sentences
