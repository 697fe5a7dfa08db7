"""Replaying single calls: what is certain, what is bounded, what is left out."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.learning.replay import MOST, replay, wanted
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.replay import FIGURES, Replay
from poet.model.tunable import Value

OBJECTIVE = Objective(latency_cost=0.1)
LIVE: dict[str, Value] = {"timeout": 5.0, "retries": 2, "backoff": 0.0}
OK, WRONG, LIMIT, LATE, NO = Outcome.SUCCESS, Outcome.ERROR, Outcome.TIMEOUT, Outcome.LATE, Outcome.REFUSED


def call(*attempts: Attempt, outcome: Outcome | None = None, rest: float = 0.0, sequence: int = 0) -> Execution:
    """A call of these attempts, without copies."""
    seconds = sum(attempt.seconds + attempt.waited for attempt in attempts) + rest
    return Execution("w", sequence, 1000.0 + sequence, seconds, outcome or attempts[-1].outcome, 1, attempts)


def replayed(
    executions: Sequence[Execution], used: Mapping[str, Value] = LIVE, objective: Objective = OBJECTIVE, **given: Any
) -> Replay:
    return replay(executions, wanted(given, used, {}), objective, used=lambda execution: used)


def figures(told: Replay) -> dict[str, float]:
    """Of a replay that the record decides."""
    assert told.decided == 1
    assert all(low == high for low, high in told.bounds.values())
    return {name: estimate.value for name, estimate in told.replayed.items()}


# ------------------------------------------------------------ what is certain


def test_an_answer_within_the_new_limit_stays_and_a_longer_attempt_is_cut_off() -> None:
    told = figures(replayed([call(Attempt(OK, 0.5)), call(Attempt(OK, 3.0))], timeout=1.0, retries=0))
    assert told["success"] == 0.5
    assert told["seconds"] == pytest.approx(0.75)
    assert told["requests"] == 1


def test_a_recorded_retry_follows_an_attempt_that_is_cut_off_sooner() -> None:
    told = figures(replayed([call(Attempt(LIMIT, 5.0), Attempt(OK, 0.2, 0.3))], timeout=1.0, retries=1))
    assert told["seconds"] == pytest.approx(1.5)
    assert (told["success"], told["requests"]) == (1, 2)


def test_fewer_retries_end_a_call_where_it_stood_then() -> None:
    made = call(Attempt(WRONG, 0.1), Attempt(WRONG, 0.2), Attempt(OK, 0.3))
    assert figures(replayed([made], retries=1))["seconds"] == pytest.approx(0.3)
    assert figures(replayed([made], retries=1))["success"] == 0
    assert figures(replayed([made], retries=2))["success"] == 1
    assert figures(replayed([made], retries=5))["success"] == 1


def test_what_no_attempt_can_mend_ends_the_call() -> None:
    told = figures(replayed([call(Attempt(NO, 0.1))], retries=5))
    assert (told["success"], told["requests"], told["seconds"]) == (0, 1, pytest.approx(0.1))


def test_a_pause_shrinks_with_its_bound_and_what_the_service_asked_for_stays() -> None:
    used = {**LIVE, "backoff": 1.0}
    made = call(Attempt(LIMIT, 5.0), Attempt(OK, 0.2, 0.6))
    asked = call(Attempt(LIMIT, 5.0), Attempt(OK, 0.2, 3.0))
    assert figures(replayed([made], used, backoff=0.5))["seconds"] == pytest.approx(5.5)
    assert figures(replayed([asked], used, backoff=0.5))["seconds"] == pytest.approx(7.7)


def test_a_late_answer_that_was_used_is_not_interrupted_by_a_shorter_limit_either() -> None:
    told = replayed([call(Attempt(LATE, 6.0))], timeout=1.0)
    assert figures(told)["seconds"] == pytest.approx(6.0)
    assert told.late == 1
    assert any("behind their limit" in sentence for sentence in told.sentences)


def test_who_failed_with_retries_left_was_ended_by_something_else() -> None:
    told = replayed([call(Attempt(WRONG, 0.1))], retries=5)
    assert (told.held, figures(told)["requests"]) == (1, 1)
    assert any("a deadline, a budget, a breaker" in sentence for sentence in told.sentences)


def test_a_deadline_that_cut_a_call_short_cuts_it_again() -> None:
    made = call(Attempt(LIMIT, 5.0), Attempt(LIMIT, 2.0))  # the second was given less than its timeout
    assert figures(replayed([made], timeout=5.0, retries=2))["seconds"] == pytest.approx(7.0)
    assert replayed([made], timeout=60.0).bounds["seconds"][1] == pytest.approx(7.0)


def test_time_beside_the_attempts_counts_as_it_was() -> None:
    assert figures(replayed([call(Attempt(OK, 0.5), rest=0.25)]))["seconds"] == pytest.approx(0.75)


def test_a_copy_is_sent_later_and_takes_what_it_took() -> None:
    made = Execution("w", 0, 0.0, 0.9, OK, 1, (Attempt(Outcome.CANCELLED, 0.9), Attempt(OK, 0.4, 0.5, hedge=True)))
    told = replayed([made], hedges=1, hedge_delay=0.3)
    assert figures(told)["seconds"] == pytest.approx(0.7)
    assert figures(told)["requests"] == 2
    later = replayed([made], hedges=1, hedge_delay=0.8)  # then the first request may answer before
    assert later.bounds["seconds"] == pytest.approx((0.9, 1.2))
    without = replayed([made], timeout=2.0, retries=0)
    assert without.bounds["seconds"] == pytest.approx((0.9, 2.0))
    assert without.bounds["requests"] == (1, 1)


def test_an_error_waits_for_the_copies_that_were_sent() -> None:
    made = Execution("w", 0, 0.0, 0.8, OK, 1, (Attempt(WRONG, 0.6), Attempt(OK, 0.3, 0.5, hedge=True)))
    assert figures(replayed([made], hedges=1, hedge_delay=0.4))["seconds"] == pytest.approx(0.7)
    assert replayed([made], hedges=1, hedge_delay=0.7, retries=0).replayed["success"].value == 0


# ------------------------------------------------------------ what is not


def test_a_longer_timeout_than_ever_is_bounded_and_said_to_be_unknown() -> None:
    made = [call(Attempt(OK, 0.1 + i / 100), sequence=i) for i in range(50)]
    made += [call(Attempt(LIMIT, 5.0), Attempt(LIMIT, 5.0), Attempt(LIMIT, 5.0), sequence=i) for i in range(50, 60)]
    told = replayed(made, timeout=20.0, retries=0)
    assert told.bounds["success"] == pytest.approx((50 / 60, 1.0))
    assert told.replayed["success"].low == pytest.approx(50 / 60)
    assert told.replayed["success"].high == 1.0
    assert told.untold == pytest.approx(10 / 60)
    assert any("No attempt was ever given longer than 5 s" in sentence for sentence in told.sentences)


def test_a_longer_timeout_is_estimated_where_others_were_given_longer() -> None:
    """30 attempts were cut off at 1 s; of those 40 that were watched for 5 s, a quarter answers between 1 and 5 s."""
    short, long = {**LIVE, "timeout": 1.0, "retries": 0}, {**LIVE, "retries": 0}
    made = [call(Attempt(LIMIT, 1.0), sequence=i) for i in range(30)]
    made += [call(Attempt(OK, 2.0 + i / 10) if i < 10 else Attempt(LIMIT, 5.0), sequence=30 + i) for i in range(40)]
    told = replay(
        made,
        wanted({}, long, {}),
        OBJECTIVE,
        used=lambda execution: short if execution.sequence < 30 else long,
    )
    assert told.untold == 0
    assert told.decided == pytest.approx(40 / 70)
    success = told.replayed["success"]
    assert success.value == pytest.approx((10 + 30 / 4) / 70, abs=0.03)
    assert 10 / 70 < success.low < success.value < success.high < 40 / 70
    assert told.bounds["success"] == pytest.approx((10 / 70, 40 / 70))


def test_a_retry_that_was_never_made_lies_between_more_of_the_same_and_a_fresh_attempt() -> None:
    used = {**LIVE, "retries": 0}
    made = [call(Attempt(OK, 0.2), sequence=i) for i in range(90)]
    made += [call(Attempt(WRONG, 0.1), sequence=90 + i) for i in range(10)]
    told = replayed(made, used, retries=1)
    assert (told.replayed["success"].low, told.replayed["success"].high) == pytest.approx((0.9, 1.0))
    assert told.untold == pytest.approx(0.1)
    assert told.decided == pytest.approx(0.9)
    assert told.replayed["requests"].low == told.replayed["requests"].high == pytest.approx(1.1)


def test_a_retry_after_an_error_is_estimated_from_those_that_were_made() -> None:
    """Of the calls that err, those of the second version are retried once: three in four with success."""
    few, more = {**LIVE, "retries": 0}, {**LIVE, "retries": 1}
    made = [call(Attempt(WRONG, 0.1), sequence=i) for i in range(40)]
    made += [call(Attempt(WRONG, 0.1), Attempt(OK if i % 4 else WRONG, 0.2), sequence=40 + i) for i in range(80)]
    told = replay(
        made, wanted({}, more, {}), OBJECTIVE, used=lambda execution: few if execution.sequence < 40 else more
    )
    assert told.untold == 0
    assert told.replayed["success"].value == pytest.approx(0.75, abs=0.03)
    assert told.bounds["success"] == pytest.approx((0.5, 100 / 120))


def test_calls_that_no_parameter_decides_are_left_out_and_counted() -> None:
    made = [
        call(Attempt(OK, 0.2)),
        call(Attempt(Outcome.SHED, 0.0)),
        call(Attempt(Outcome.CANCELLED, 1.0)),
        call(Attempt(OK, 1.0))._replace(attempts=()),
        call(Attempt(OK, math.nan)),
        call(Attempt(OK, -1.0)),
    ]
    told = replayed(made)
    assert (told.calls, dict(told.left_out)) == (1, {"shed": 1, "cancelled": 1, "unknown": 3})
    assert told.sentences[-1].startswith("Calls left out: 1 not made")


def test_nothing_on_record_is_no_fault() -> None:
    told = replayed([])
    assert (told.calls, dict(told.replayed), told.gain) == (0, {}, None)
    assert told.sentences == ("There is no call to replay.",)


def test_only_the_newest_are_replayed() -> None:
    made = [call(Attempt(OK, 1.0 if i == 0 else 0.2), sequence=i) for i in range(MOST + 1)]
    told = replayed(made)
    assert (told.calls, told.older, told.first) == (MOST, True, 1001.0)
    assert told.recorded["seconds"] == pytest.approx(0.2)


# ------------------------------------------------------------ worth


def test_the_scale_of_latency_comes_from_the_first_answers_where_none_is_declared() -> None:
    told = replayed([call(Attempt(OK, 0.2)), call(Attempt(OK, 0.4))], objective=Objective())
    assert told.objective is not None
    assert told.objective.latency_cost == pytest.approx(1 / (10 * 0.4))
    assert told.recorded["utility"] == pytest.approx(1 - 0.3 / 4)
    assert tuple(told.replayed) == FIGURES


def test_without_any_scale_everything_but_worth_is_told() -> None:
    told = replayed([call(Attempt(WRONG, 0.0))], {**LIVE, "retries": 0}, objective=Objective())
    assert told.objective is None
    assert tuple(told.replayed) == FIGURES[:-1]
    assert told.gain is None


@pytest.mark.parametrize(("retries", "said"), [(2, "it would have been"), (0, "it would not")], ids=["met", "missed"])
def test_a_target_of_success_is_judged(retries: int, said: str) -> None:
    made = [call(Attempt(WRONG, 0.1), Attempt(OK, 0.1))]
    told = replayed(made, objective=Objective(latency_cost=0.1, success_target=0.99), retries=retries)
    assert any(sentence.endswith(f"99 % of the calls: {said}.") for sentence in told.sentences)


def test_the_verdict_says_better_worse_or_the_same() -> None:
    made = [call(Attempt(WRONG, 0.1), Attempt(OK, 0.1), sequence=i) for i in range(50)]
    assert "; worse by" in replayed(made, retries=0).sentences[0]
    assert "; worth the same" in replayed(made).sentences[0]
    slow = [call(Attempt(LIMIT, 5.0), sequence=i) for i in range(50)]
    assert "; better by" in replayed(slow, {**LIVE, "retries": 0}, timeout=0.5).sentences[0]


# ------------------------------------------------------------ the door


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"timout": 2.0}, "no parameter 'timout': did you mean 'timeout'"),
        ({"temperature": 0.2}, "a replay has no parameter 'temperature': "),
        ({"timeout": 0.0}, r"timeout must be in \[0.001, 86400\], got 0; the nearest is 0.001"),
        ({"timeout": math.nan}, "timeout must be a finite number"),
        ({"timeout": "2"}, "timeout must be a finite number"),
        ({"timeout": 9.0}, r"timeout must be in \[0.1, 8\], got 9; the nearest is 8"),
        ({"retries": -1}, r"retries must be in \[0, 20\], got -1; the nearest is 0"),
        ({"retries": 1.5}, "retries must be a whole number"),
        ({"retries": 6}, r"retries must be in \[0, 5\], got 6; the nearest is 5"),
        ({"backoff": 61}, "the nearest is 60"),
        ({"hedges": 9, "hedge_delay": 1.0}, "the nearest is 8"),
        ({"hedges": 1}, "hedges needs hedge_delay"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        wanted(given, LIVE, {"timeout": (0.1, 8.0), "retries": (0, 5)})


def test_what_is_not_given_is_live_and_a_delay_means_a_copy() -> None:
    assert wanted({"retries": 1.0}, LIVE, {}) == {**LIVE, "retries": 1, "hedges": 0, "hedge_delay": 0.0}
    assert wanted({"hedge_delay": 0.3}, LIVE, {}) == {**LIVE, "hedges": 1, "hedge_delay": 0.3}
    hedged: dict[str, Value] = {**LIVE, "hedges": 2, "hedge_delay": 0.4}
    assert wanted({}, hedged, {}) == hedged
    assert wanted({"hedges": 0}, hedged, {}) == {**hedged, "hedges": 0, "hedge_delay": 0.0}


# ------------------------------------------------------------ of any record

SECONDS = st.integers(1, 1000).map(lambda n: n / 100)


@st.composite
def calls(draw: st.DrawFn) -> Execution:
    """Any call that the live parameters could make: up to three attempts within 5 s, some of them with a copy."""
    attempts: list[Attempt] = []
    for number in range(3):
        outcome = draw(st.sampled_from([OK, OK, WRONG, LIMIT, NO]))
        seconds = 5.0 if outcome is LIMIT else min(draw(SECONDS), 4.99)
        attempts.append(Attempt(outcome, seconds))
        if outcome in (OK, NO) or number == 2:
            break
    return call(*attempts)


@st.composite
def hedged_calls(draw: st.DrawFn) -> Execution:
    """The same, with a copy of each attempt that takes longer than a second."""
    seconds, attempts = 0.0, []
    for number in range(3):
        ends = [draw(SECONDS), 1.0 + draw(SECONDS)]
        good = [draw(st.booleans()), draw(st.booleans())]
        if ends[0] <= 1.0:
            outcome, took = (OK if good[0] else WRONG), ends[0]
            attempts.append(Attempt(outcome, took))
        else:
            answered = min((end for end, fine in zip(ends, good, strict=True) if fine), default=math.inf)
            took = min(answered if answered < math.inf else max(ends), 5.0)
            outcome = OK if answered <= 5.0 else WRONG if max(ends) <= 5.0 and not any(good) else LIMIT
            cut = LIMIT if outcome is LIMIT else Outcome.CANCELLED
            kinds = [
                cut if end > took else (OK if end == answered else Outcome.CANCELLED) if fine else WRONG
                for end, fine in zip(ends, good, strict=True)
            ]
            if kinds == [OK, OK]:
                kinds[1] = Outcome.CANCELLED
            first = Attempt(kinds[0], min(ends[0], took))
            copy = Outcome.CANCELLED if kinds[1] is LIMIT else kinds[1]
            attempts += [first, Attempt(copy, min(ends[1], took) - 1.0, 1.0, hedge=True)]
        seconds += took
        if outcome is OK or number == 2:
            break
    return Execution("w", 0, 1000.0, seconds, outcome, 1, tuple(attempts))


@given(st.lists(hedged_calls(), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_hedged_record_is_what_it_was_under_its_own_parameters(made: list[Execution]) -> None:
    told = replayed(made, hedges=1, hedge_delay=1.0)
    assert {name: pytest.approx(figure) for name, figure in told.recorded.items()} == figures(told)


@given(st.lists(calls(), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_under_its_own_parameters_a_record_is_what_it_was(made: list[Execution]) -> None:
    told = replayed(made)
    assert {name: pytest.approx(figure) for name, figure in told.recorded.items()} == figures(told)


@given(
    st.lists(calls() | hedged_calls(), min_size=1, max_size=30),
    st.sampled_from([0.5, 2.0, 5.0, 9.0]),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([(0, 0.0), (1, 0.2), (2, 1.0)]),
)
@settings(deadline=None, max_examples=25)
def test_what_is_told_lies_within_the_bounds_and_inputs_stay_untouched(
    made: list[Execution], timeout: float, retries: int, backoff: float, hedging: tuple[int, float]
) -> None:
    before = copy.deepcopy(made)
    values = {"timeout": timeout, "retries": retries, "backoff": backoff}
    given = {**values, "hedges": hedging[0], **({"hedge_delay": hedging[1]} if hedging[0] else {})}
    told = replayed(made, **given)
    assert made == before
    assert told == replayed(made, **given)
    for name, estimate in told.replayed.items():
        low, high = told.bounds[name]
        assert low - 1e-9 <= estimate.low <= estimate.value <= estimate.high <= high + 1e-9, name
    assert 0 <= told.untold <= 1 - told.decided + 1e-9
    assert len(told.sentences) >= 2


ODD_SECONDS = st.floats(0, 1e6) | st.sampled_from([0.0, math.nan, -1.0, math.inf, 1e-12, 5e-324, 2.3e-309])
ODD = st.builds(
    Execution,
    st.just("w"),
    st.integers(0, 40),
    st.floats(0, 1e10),
    ODD_SECONDS,
    st.sampled_from(Outcome),
    st.integers(0, 2),
    st.lists(st.builds(Attempt, st.sampled_from(Outcome), ODD_SECONDS, st.floats(0, 100), st.booleans())).map(tuple),
)


@given(st.lists(ODD, max_size=20), st.sampled_from([0, 1, 3]), st.sampled_from([{}, {"hedges": 2, "hedge_delay": 0.5}]))
@settings(deadline=None, max_examples=50)
def test_a_damaged_record_is_no_fault(made: list[Execution], retries: int, hedges: dict[str, Any]) -> None:
    """Whatever a store may hold: every call is replayed or left out, and figures are numbers."""
    told = replay(
        made,
        wanted({"timeout": 1.0, "retries": retries, "backoff": 0.5, **hedges}, LIVE, {}),
        Objective(),
        used=lambda execution: [LIVE, {**LIVE, "backoff": "soon"}, None][execution.version],
    )
    assert told.calls + sum(told.left_out.values()) == len(made)
    assert all(map(math.isfinite, [*told.recorded.values(), *(x for pair in told.bounds.values() for x in pair)]))
    assert all(math.isfinite(estimate.value) for estimate in told.replayed.values())
