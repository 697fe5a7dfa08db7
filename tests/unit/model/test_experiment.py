from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model.document import Document
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.experiment import MOST_NOTES, MOST_VERSIONS, Experiment, Rules, Strategy, strategy, with_control
from poet.model.function import FunctionKey

KEY = FunctionKey("shop.quote", "quote", "0" * 16)


def made(**changes: Any) -> Experiment:
    arms = with_control([strategy("quick", {"timeout": 2.0})])
    scale = {"value": 1.0, "latency_cost": 0.5, "attempt_cost": 0.1}
    return Experiment(**{"name": "quote-1", "arms": arms, "scale": scale, "begun": 1e9, **changes})


def call(outcome: Outcome = Outcome.SUCCESS, seconds: float = 0.5, attempts: int = 1, **more: Any) -> Execution:
    return Execution("w", 0, 1e9, seconds, outcome, 2, (Attempt(outcome, seconds / attempts),) * attempts, **more)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0.02, 0.15), min_size=2, max_size=6),
    st.sampled_from(["call", "block", "host"]),
    st.sampled_from(["utility", "success", "latency", "score", "cost"]),
    st.text(max_size=50),
)
def test_what_is_kept_comes_back_as_it_was(shares: dict[str, float], assignment: Any, metric: Any, text: str) -> None:
    first, *rest = shares
    arms = [strategy(first, "live")]
    arms += [strategy(name, {"timeout": 1.0 + place}, shares[name]) for place, name in enumerate(rest)]
    before = made(arms=tuple(arms), rules=Rules(assignment=assignment, metric=metric), reason=text)
    before = before.with_arm(1, versions=(7, 8)).noted(1e9, "begun", text)
    kept = before.document(KEY)
    assert (kept.kind, kept.name, kept.function, kept.open) == ("experiment", "quote-1", KEY, True)
    assert Experiment.of(kept) == before
    assert math.isclose(sum(before.shares), 1.0)


def test_a_version_that_is_published_beside_it_gets_its_number_then() -> None:
    body = made().with_arm(1, versions=(4, 0)).document(KEY).body
    assert Experiment.of(Document("experiment", "quote-1", body.replace('"$version"', "9"), KEY)).arms[1].versions == (
        4,
        9,
    )


@pytest.mark.parametrize("body", ["{}", "[]", '{"arms": 3}', '"text"', "not json"])
def test_what_cannot_be_read_is_said_to_be_so(body: str) -> None:
    with pytest.raises(ValueError, match="the experiment quote-1 cannot be read"):
        Experiment.of(Document("experiment", "quote-1", body, KEY))


def test_one_arm_gets_what_is_live_beside_it_and_silent_arms_share_the_rest() -> None:
    control, quick = with_control([strategy("quick", {"timeout": 2.0}, 0.2)])
    assert (control.name, control.kind, control.share, quick.share) == ("live", "live", 0.8, 0.2)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([], "2 to 6 arms, got 0"),
        ([Strategy(name=f"a{n}", values={"timeout": 1.0 + n}) for n in range(7)], "2 to 6 arms, got 7"),
        ([strategy("a", {"timeout": 1.0}), strategy("a", {"timeout": 2.0})], "two arms have one name"),
        ([strategy("a", {"timeout": 1.0}), strategy("b", {"timeout": 1.0})], "the same values"),
        ([strategy("a", "live"), strategy("b", "live")], "only one arm can be what is live"),
        (
            [strategy("a", "live", 0.7), strategy("b", {"timeout": 1.0}, 0.7)],
            "add up to 1, got 1.4; the nearest are a=0.5",
        ),
        ([strategy("a", "live", 1 - 1e-9), strategy("b", {"timeout": 1.0})], "nothing is left for the others"),
        ([strategy("a", "live", 0.995), strategy("b", {"timeout": 1.0}, 0.005)], "at least 0.01, got 0.005"),
    ],
)
def test_arms_that_cannot_be_are_refused(arms: list[Strategy], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        with_control(arms)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("a b", "live", "must be 1 to 40 characters"),
        ("", "live", "must be 1 to 40 characters"),
        ("a", "alive", "an arm is values by name, a learner or 'live', got 'alive'"),
        ("a", {}, "say values, for instance timeout=2"),
        ("a", {"learner": "statisticl"}, "no learner 'statisticl': did you mean 'statistical'"),
        ("a", {"learner": "basic", "learning_rat": 0.1}, "no option 'learning_rat': did you mean 'learning_rate'"),
        ("a", {"learner": "basic", "learning_rate": 2.0}, r"learning_rate must be in \(0, 1\], got 2.0"),
    ],
)
def test_an_arm_that_cannot_be_is_refused(name: str, given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        strategy(name, given)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"metric": "utilty"}, "got 'utilty': did you mean 'utility'"),
        ({"assignment": "calls"}, "did you mean 'call'"),
        ({"on_harm": "stop"}, "on_harm must be one of 'end', 'hold', 'observe', got 'stop'"),
        ({"promote": "winer"}, "did you mean 'winner'"),
        ({"block": 0.5}, r"block must be in \[1, 86400\] seconds, got 0.5"),
        ({"block": math.nan}, "block must be"),
        ({"alpha": 0.5}, r"alpha must be in \(0, 0.5\), got 0.5"),
        ({"guard_alpha": True}, "guard_alpha must be"),
        ({"minimum_effect": 0.0}, "minimum_effect must be > 0 and finite, got 0.0"),
        ({"margin": -0.1}, "margin must be >= 0"),
        ({"most_calls": 0}, "most_calls must be a whole number >= 1"),
        ({"longest": math.inf}, "longest must be > 0 seconds"),
    ],
)
def test_rules_that_cannot_be_are_refused(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Rules(**rules)


@pytest.mark.parametrize(
    ("metric", "execution", "outcome"),
    [
        ("success", call(), 1.0),
        ("success", call(Outcome.LATE), 1.0),
        ("success", call(Outcome.TIMEOUT), 0.0),
        ("success", call(Outcome.SHED), None),
        ("success", call(Outcome.CANCELLED), None),
        ("latency", call(seconds=math.e), 1.0),
        ("latency", call(seconds=0.0), None),
        ("score", call(), None),
        ("score", call(score=0.25), 0.25),
        ("cost", call(attempts=3), 3.0),
        ("utility", call(seconds=0.5), 0.75),
        ("utility", call(Outcome.ERROR, seconds=0.5, attempts=2), -0.35),
    ],
)
def test_what_a_call_says_by_each_metric(metric: Any, execution: Execution, outcome: float | None) -> None:
    told = made(rules=Rules(metric=metric)).outcome(execution)
    assert told is outcome or told == pytest.approx(outcome)


def test_an_arm_that_ended_leaves_its_share_to_the_others_by_theirs() -> None:
    arms = (strategy("a", "live", 0.5), strategy("b", {"timeout": 1.0}, 0.3), strategy("c", {"timeout": 2.0}, 0.2))
    after = made(arms=arms).with_arm(2, ended="harm")
    assert after.running == (0, 1)
    assert after.shares == pytest.approx((0.625, 0.375))


def test_its_log_and_its_versions_stay_short() -> None:
    long = made()
    for n in range(200):
        long = long.noted(float(n), "what", "why").with_arm(1, versions=(*long.arms[1].versions, n + 1))
    assert (len(long.log), len(long.arms[1].versions)) == (MOST_NOTES, MOST_VERSIONS)
    assert long.arms[1].version == 200


def test_strategies_that_say_the_same_are_the_same_whatever_their_names() -> None:
    one, other = strategy("a", {"timeout": 1.0, "retries": 2}), strategy("b", {"retries": 2, "timeout": 1.0})
    assert one.told == other.told == "retries=2,timeout=1.0"
    assert strategy("x", {"learner": "basic"}).told == "learner=basic"
