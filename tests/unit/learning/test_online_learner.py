from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.learning.notes import BLOCK, LEVELS
from poet.learning.online_learner import ExecutionFeedback, OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.seams import Probe, Suggestion

LIVE: Mapping[str, Value] = MappingProxyType({"timeout": 30.0, "retries": 3, "backoff": 0.1})
WORTH = Objective(latency_cost=0.2)


def call(number: int, *attempts: Attempt) -> Execution:
    seconds = sum(attempt.seconds + attempt.waited for attempt in attempts)
    outcome = attempts[-1].outcome if attempts else Outcome.ERROR
    return Execution("test", number, 0.0, seconds, outcome, 1, attempts)


def answered(number: int, seconds: float) -> Execution:
    return call(number, Attempt(Outcome.SUCCESS, seconds))


def hanging(
    dice: random.Random, number: int, timeout: float, retries: int = 3, *, hang: float = 0.05, median: float = 0.2
) -> Execution:
    """A call of a service whose attempts hang now and then, each on its own."""
    attempts = []
    for _ in range(retries + 1):
        seconds = math.inf if dice.random() < hang else median * math.exp(0.4 * dice.gauss(0, 1))
        attempts.append(Attempt(Outcome.SUCCESS, seconds) if seconds < timeout else Attempt(Outcome.TIMEOUT, timeout))
        if seconds < timeout:
            break
    return call(number, *attempts)


def taught(
    learner: OnlineLearner, calls: int, seed: int = 0, **service: float
) -> tuple[dict[str, Value], list[Suggestion]]:
    dice, live, said = random.Random(seed), dict(LIVE), []
    for number in range(calls):
        learner.update([hanging(dice, number, float(live["timeout"]), int(live["retries"]), **service)])
        suggestion = learner.suggest(live)
        if suggestion:
            said.append(suggestion)
            live = dict(suggestion.values)
    return live, said


# --- what it proposes -------------------------------------------------------------------------------------------------


def test_hangs_bring_the_timeout_down_to_where_the_answers_end() -> None:
    live, said = taught(OnlineLearner(objective=WORTH), 400)
    assert 0.4 < live["timeout"] < 3.0  # 99.9 % of the answers come within 0.69 s
    assert live["retries"] >= 1
    first = said[0]
    assert first.evidence < 100
    assert first.reason.startswith("timeout 30 -> ")
    assert f"from {first.evidence} calls" in first.reason
    estimate = first.estimates["timeout"]
    assert estimate.low <= estimate.high
    assert estimate.n == first.evidence


def test_a_service_that_always_answers_at_once_is_insured_against_hangs_and_else_left_alone() -> None:
    """Some attempts never end anywhere, it believes before any was seen; the limit stays far from what answers take."""
    learner, live = OnlineLearner(objective=WORTH), dict(LIVE)
    for number in range(500):
        learner.update([answered(number, 0.1)])
        suggestion = learner.suggest(live)
        if suggestion is not None:
            assert number < 100
            live = dict(suggestion.values)
        assert float(live["timeout"]) >= 1.0
        assert int(live["retries"]) >= 1


def test_suggestions_keep_what_else_is_live_and_are_readable() -> None:
    live, _ = taught(OnlineLearner(objective=WORTH), 300)
    assert live["backoff"] == 0.1
    assert live["timeout"] == float(f"{live['timeout']:.3g}")
    assert type(live["retries"]) is int


@pytest.mark.parametrize(
    "space",
    [
        Space(timeout=Real(5.0, 10.0), retries=Integer(0, 5)),
        Space(timeout=Real(0.001, 120.0), retries=Integer(2, 2)),
        Space(timeout=Real(7.0, 7.0), retries=Integer(0, 1)),
        Space(retries=Integer(0, 5)),
        Space(timeout=Real(0.123456, 0.23456)),
        Space(timeout=Integer(2, 50), retries=Integer(0, 5)),
        Space(),
    ],
    ids=["high", "fixed retries", "fixed timeout", "retries only", "unreadable bounds", "whole seconds", "nothing"],
)
def test_bounds_are_hard_whatever_it_believes(space: Space) -> None:
    _, said = taught(OnlineLearner(objective=WORTH, space=space), 200)
    for suggestion in said:
        for name, value in suggestion.values.items():
            if name in space:
                space[name].check(name, value)
            else:
                assert value == LIVE[name]


def test_with_a_target_the_success_is_kept_while_time_is_saved() -> None:
    live, _ = taught(OnlineLearner(objective=Objective(latency_cost=0.2, success_target=0.999)), 1500, hang=0.05)
    assert live["timeout"] < 5.0
    assert 1 - 0.06 ** (int(live["retries"]) + 1) > 0.999


def test_a_derived_cost_never_makes_giving_up_worthwhile() -> None:
    """Thirty times slower than at first: ten times the usual latency would cost an answer, and still it waits."""
    learner = OnlineLearner()
    live, _ = taught(learner, 200)
    dice = random.Random(1)
    run = 0
    for number in range(60):
        execution = hanging(dice, number, float(live["timeout"]), int(live["retries"]), hang=0.0, median=6.0)
        run = run + 1 if execution.outcome.good else 0
        learner.update([execution])
        suggestion = learner.suggest(live)
        live = dict(suggestion.values) if suggestion else live
    assert run >= 20


@pytest.mark.parametrize("slower", [3.0, 10.0, 30.0])
def test_whoever_listens_does_not_stay_locked_out(slower: float) -> None:
    """20 answers in a row within 50 calls; to wait for what listening tells alone would take a hundred. Seven seeds."""
    for seed in (0, 2, 5, 7, 8, 9, 11):
        learner = OnlineLearner(seed=seed)
        live, _ = taught(learner, 200, seed)
        dice, run, needed = random.Random(seed + 1), 0, 0
        while run < 20:
            probe = learner.probe()
            timeout = float(live["timeout"]) * (probe.stretch if dice.random() < probe.limit else 1.0)
            retries = 0 if probe.calm else int(live["retries"])
            execution = hanging(dice, needed, timeout, retries, hang=0.0, median=0.2 * slower)
            run = run + 1 if execution.outcome.good else 0
            learner.update([execution])
            suggestion = learner.suggest(live)
            live = dict(suggestion.values) if suggestion else live
            needed += 1
            assert needed <= 50


def test_nothing_is_proposed_before_there_is_evidence() -> None:
    learner = OnlineLearner(objective=WORTH)
    assert learner.suggest(LIVE) is None
    learner.update([answered(0, 0.1)])
    assert learner.suggest(LIVE) is None


def test_a_service_that_only_refuses_is_left_alone() -> None:
    learner = OnlineLearner(objective=WORTH)
    for number in range(200):
        learner.update([call(number, Attempt(Outcome.REFUSED, 0.01))])
        assert learner.suggest(LIVE) is None
    assert learner.explain(LIVE).failures["refused"] == pytest.approx(1.0)


def test_cancelled_calls_are_no_verdict_on_retries() -> None:
    learner = OnlineLearner(objective=WORTH)
    for number in range(100):
        learner.update([call(number, Attempt(Outcome.TIMEOUT, 1.0), Attempt(Outcome.CANCELLED, 0.5))])
    other = OnlineLearner(objective=WORTH)
    other.update([call(number, Attempt(Outcome.TIMEOUT, 1.0)) for number in range(100)])
    assert learner.explain(LIVE).failures["repeats"] == other.explain(LIVE).failures["repeats"]


def test_a_late_answer_counts_with_its_true_time() -> None:
    learner = OnlineLearner(objective=WORTH)
    for number in range(200):
        learner.update([call(number, Attempt(Outcome.LATE, 4.0))])
    assert learner.explain({**LIVE, "timeout": 1.0}).latency[0.5] == pytest.approx(4.0, rel=0.25)


# --- when it looks ----------------------------------------------------------------------------------------------------


def test_it_looks_ever_more_rarely_while_nothing_changes() -> None:
    learner = OnlineLearner(objective=WORTH)
    looks = []
    for number in range(1500):
        learner.update([answered(number, 0.1 * (1 + number % 7 / 7))])
        before = learner._looks
        learner.suggest(LIVE)
        looks.append(learner._looks > before)
    assert sum(looks[:100]) <= 20
    assert sum(looks[500:1500]) <= 30


def test_it_looks_at_once_when_answers_stop() -> None:
    learner = OnlineLearner(objective=Objective(latency_cost=0.05))
    live, _ = taught(learner, 600, hang=0.02)
    looks, said = learner._looks, []
    for number in range(25):
        learner.update([call(number, *[Attempt(Outcome.TIMEOUT, float(live["timeout"]))] * 2)])
        suggestion = learner.suggest(live)
        said += [suggestion] if suggestion else []
        assert learner._looks > looks or number < 6  # fewer than seven timeouts may be chance
        if said:
            break
    assert said[0].values["timeout"] > live["timeout"]


# --- probes -----------------------------------------------------------------------------------------------------------


def test_the_declared_values_are_not_probed() -> None:
    assert OnlineLearner().probe() == Probe()


def test_learned_values_are_probed_within_the_bounds() -> None:
    learner = OnlineLearner(objective=WORTH)
    live, _ = taught(learner, 300)
    probe = learner.probe()
    assert 0 < probe.limit <= 0.5
    assert 0 < probe.retry <= 0.5
    assert 1 < probe.stretch * float(live["timeout"]) <= 120.0
    tight = OnlineLearner(
        objective=WORTH, space=Space(timeout=Real(0.1, 0.5), retries=Integer(0, 2)), declared={"timeout": 0.5}
    )
    tight.update([answered(n, 0.1) for n in range(5)])
    tight.suggest({"timeout": 0.5, "retries": 2})
    assert tight.probe() == Probe(0.0, 0.0, 1.0)


def test_without_exploration_there_are_no_probes() -> None:
    learner = OnlineLearner(exploration_rate=0.0, objective=WORTH)
    taught(learner, 300)
    assert (learner.probe().retry, learner.probe().limit) == (0.0, 0.0)


# --- its arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("base_learning_rate", 0.0),
        ("base_learning_rate", 1.5),
        ("momentum", 1.0),
        ("momentum", math.nan),
        ("confidence_threshold", 1.0),
        ("exploration_rate", -0.1),
        ("backoff_cap", math.inf),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=argument):
        OnlineLearner(**{argument: value})  # type: ignore[arg-type]


def test_a_higher_learning_rate_forgets_sooner() -> None:
    medians = []
    for rate in (0.05, 0.5):
        learner = OnlineLearner(rate, objective=WORTH)
        learner.update([answered(n, 1.0) for n in range(400)])
        learner.update([answered(n, 1.3) for n in range(100)])
        medians.append(learner.explain(LIVE).latency[0.5])
    assert medians[1] >= medians[0]


def test_a_higher_confidence_threshold_changes_less() -> None:
    few = sum(len(taught(OnlineLearner(0.05, 0.9, 0.999, objective=WORTH), 300, seed)[1]) for seed in range(3))
    more = sum(len(taught(OnlineLearner(objective=WORTH), 300, seed)[1]) for seed in range(3))
    assert few <= more


# --- keeping ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.integers(0, 10_000), st.integers(0, 255))
@example(b"", 9, 1)
@settings(max_examples=60, deadline=None)
def test_a_damaged_dump_is_refused_or_harmless(garbage: bytes, place: int, byte: int) -> None:
    learner = OnlineLearner(objective=WORTH)
    learner.update([answered(n, 0.1) for n in range(100)])
    state = learner.dump()
    fresh = OnlineLearner(objective=WORTH)
    before = fresh.dump()
    damaged = bytearray(state)
    damaged[place % len(damaged)] = byte
    for wrong in (garbage, bytes(damaged)):
        if wrong == state:
            continue
        try:
            fresh.load(wrong)
        except ValueError:
            assert fresh.dump() == before
        else:  # zlib's header says how hard it tried to compress, which changes nothing of what it holds
            assert fresh.dump() == state


@pytest.mark.parametrize(
    "change",
    [
        {"calls": -1},
        {"calls": "many"},
        {"calls": True},
        {"typical": 0.0},
        {"typical": [1]},
        {"levels": [0.0]},
        {"levels": None},
        {"answers": [1.0] * 99},
        {"notes": 7},
        {"block": 10**6},
        {"refused": [1.0]},
        {"live": [1.0]},
        {"step": -1.0},
        {"folded": False},
        {"alert": -1.0},
        {"levels": [0.0] * (LEVELS + 1)},
        {"levels": [0.0] * LEVELS, "watch": 0.0},
        {"strain": {}},
        {"strain": None},
    ],
    ids=str,
)
def test_a_forged_dump_is_refused(change: dict[str, object]) -> None:
    import json
    import zlib

    from poet.learning import online_learner

    learner = OnlineLearner(objective=WORTH)
    learner.update([answered(n, 0.1) for n in range(BLOCK + 36)])
    [(_, facts, blob)] = online_learner._sections(learner.dump())
    text = json.dumps({**facts, **change}).encode()
    body = online_learner._LENGTHS.pack(0, len(text), len(blob)) + text + blob
    with pytest.raises(ValueError, match="no state of an online learner"):
        OnlineLearner().load(online_learner._MAGIC + zlib.compress(body))


def test_its_state_is_small() -> None:
    learner = OnlineLearner(objective=WORTH)
    dice = random.Random(0)
    for number in range(3000):  # latencies over the whole range, all outcomes: the worst case for the dump
        seconds = 10 ** dice.uniform(-5, 3.2)
        outcome = dice.choice(list(Outcome))
        learner.update([call(number, Attempt(outcome, seconds), Attempt(dice.choice(list(Outcome)), seconds, 0.1))])
    assert len(learner.dump()) <= 8192


def test_numpy_is_not_loaded_before_it_is_needed() -> None:
    script = (
        "import sys; from poet.learning.online_learner import OnlineLearner; learner = OnlineLearner(); "
        "learner.suggest({'timeout': 30.0, 'retries': 3}); learner.probe(); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# --- explaining -------------------------------------------------------------------------------------------------------


def test_it_explains_in_figures_and_words() -> None:
    learner = OnlineLearner(objective=WORTH)
    live, _ = taught(learner, 800)
    explanation = learner.explain(live)
    assert explanation.executions == 800
    assert explanation.objective == WORTH
    assert list(explanation.latency) == sorted(explanation.latency)
    assert list(explanation.latency.values()) == sorted(explanation.latency.values())
    assert explanation.latency[0.5] == pytest.approx(0.2, rel=0.15)
    assert 0.999 not in explanation.latency  # 5 % hang
    assert explanation.unanswered == pytest.approx(0.05, abs=0.06)  # few waited that long: it left 30 s early on
    assert explanation.live is not None
    assert explanation.live.values == live
    assert explanation.live.utility.low <= explanation.live.utility.value <= explanation.live.utility.high
    values = [forecast.utility.value for forecast in explanation.neighbours]
    assert values == sorted(values, reverse=True)
    assert len(values) >= 5
    assert any("Why not a lower timeout?" in sentence for sentence in explanation.sentences)
    asked = "as declared" if live["retries"] != 3 else "a higher timeout? 30 s"
    assert any(f"Why not {asked}" in sentence for sentence in explanation.sentences)


def test_its_forecast_comes_true() -> None:
    """4000 further calls under the live values: within 6 standard errors and the doubt of 2000 calls' evidence."""
    learner = OnlineLearner(objective=WORTH)
    live, _ = taught(learner, 2000)
    forecast = learner.explain(live).live
    assert forecast is not None
    dice = random.Random(99)
    calls = [hanging(dice, n, float(live["timeout"]), int(live["retries"])) for n in range(4000)]
    assert forecast.success == pytest.approx(sum(c.outcome.good for c in calls) / 4000, abs=0.01)
    assert forecast.requests == pytest.approx(sum(len(c.attempts) for c in calls) / 4000, abs=0.03)
    assert forecast.seconds == pytest.approx(sum(c.seconds for c in calls) / 4000, rel=0.1)


def test_with_too_little_seen_it_says_so() -> None:
    explanation = OnlineLearner().explain(LIVE)
    assert explanation.live is None
    assert explanation.neighbours == ()
    assert "too few" in explanation.sentences[0]


# --- without a decorated function -------------------------------------------------------------------------------------


def feedback(name: str, number: int, seconds: float, *, success: bool = True, **more: object) -> ExecutionFeedback:
    return ExecutionFeedback(name, str(number), success, seconds, **more)  # type: ignore[arg-type]


def test_update_parameters_learns_and_keeps_every_key() -> None:
    learner = OnlineLearner(objective=WORTH, exploration_rate=0.0)
    current: dict[str, object] = {"timeout": 30.0, "retries": 3, "temperature": 0.2, "model": "small"}
    dice = random.Random(0)
    for number in range(300):
        before = dict(current)
        execution = hanging(dice, number, float(current["timeout"]))  # type: ignore[arg-type]
        told = feedback("f", number, execution.seconds, success=execution.outcome.good, attempts=execution.attempts)
        after = learner.update_parameters(told, current)
        assert current == before
        assert after is not current
        assert list(after) == list(current)
        assert (after["temperature"], after["model"]) == (0.2, "small")
        current = after
    assert current["timeout"] < 5.0  # type: ignore[operator]


def test_what_one_function_teaches_does_not_touch_another() -> None:
    learner = OnlineLearner(objective=WORTH)
    alone = OnlineLearner(objective=WORTH)
    dice = random.Random(0)
    slow: dict[str, object] = {"timeout": 30.0, "retries": 3}
    for number in range(200):
        execution = hanging(dice, number, float(slow["timeout"]))  # type: ignore[arg-type]
        learner_told = feedback("noisy", number, execution.seconds, attempts=execution.attempts)
        slow = learner.update_parameters(learner_told, slow)
        quiet = feedback("quiet", number, 0.1)
        live = {"timeout": 30.0, "retries": 3}
        assert learner.update_parameters(quiet, live) == alone.update_parameters(quiet, live)
    assert slow["timeout"] < 30.0  # type: ignore[operator]


def test_a_probe_is_for_one_call_and_is_not_built_upon() -> None:
    learner = OnlineLearner(objective=WORTH, exploration_rate=1.0)
    current: dict[str, object] = {"timeout": 30.0, "retries": 3}
    dice = random.Random(0)
    longest = 0.0
    for number in range(600):
        execution = hanging(dice, number, float(current["timeout"]))  # type: ignore[arg-type]
        told = feedback("f", number, execution.seconds, success=execution.outcome.good, attempts=execution.attempts)
        current = learner.update_parameters(told, current)
        if number > 100:
            longest = max(longest, float(current["timeout"]))  # type: ignore[arg-type]
        assert current["retries"] <= 5  # type: ignore[operator]
    assert longest < 20.0


def test_a_function_of_update_parameters_that_listens_is_told_to_do_without_retries() -> None:
    space = Space(timeout=Real(0.1, 60.0), retries=Integer(1, 5))
    learner = OnlineLearner(objective=WORTH, space=space, exploration_rate=0.0)
    live: dict[str, object] = {"timeout": 30.0, "retries": 3}
    for number in range(60):
        live = learner.update_parameters(feedback("f", number, 0.2 + number / 1000), live)
    named = learner._functions["f"]
    strain = named.learner._evidence.strain
    assert strain is not None
    before = dict(named.kept)
    strain.listening, strain._until = True, 10_000
    live = learner.update_parameters(feedback("f", 60, 0.2), live)
    assert live["retries"] == 1  # no fewer than the bounds allow
    assert dict(named.kept) == before
    strain.listening = False
    assert learner.update_parameters(feedback("f", 61, 0.2), live)["retries"] == before["retries"]


def test_functions_of_update_parameters_survive_a_dump() -> None:
    learner, twin = OnlineLearner(objective=WORTH), OnlineLearner(objective=WORTH)
    current: dict[str, object] = {"timeout": 30.0, "retries": 3}
    dice = random.Random(0)
    for number in range(150):
        execution = hanging(dice, number, 1.0)
        told = feedback("f", number, execution.seconds, attempts=execution.attempts)
        if number == 80:
            twin.load(learner.dump())
        after = learner.update_parameters(told, current)
        if number >= 80:
            assert twin.update_parameters(told, current) == after
        current = after
    assert twin.dump() == learner.dump()


def test_feedback_of_a_failure_without_attempts_teaches_nothing_of_latency() -> None:
    learner = OnlineLearner(objective=WORTH)
    live: dict[str, object] = {"timeout": 30.0, "retries": 3}
    for number in range(50):
        live = learner.update_parameters(feedback("f", number, 12.0, success=False, error_type="E"), live)
        assert live["timeout"] in (30.0, 30.0 * 2.44)  # or it probes
        assert live["retries"] in range(2, 6)


def test_before_much_is_known_two_hints_are_followed() -> None:
    """An answer just in time lengthens the limit; three failures, of whose attempts nobody says anything, add a retry.

    Bounds hold, and once there is evidence it alone counts.
    """
    learner = OnlineLearner(objective=WORTH, exploration_rate=0.0)
    after = learner.update_parameters(feedback("just", 0, 28.0), {"timeout": 30.0, "retries": 3})
    assert after == {"timeout": pytest.approx(33.0), "retries": 3}
    assert learner.update_parameters(feedback("bound", 0, 119.0), {"timeout": 120.0}) == {"timeout": 120.0}
    assert learner.update_parameters(feedback("quick", 0, 2.0), {"timeout": 30.0}) == {"timeout": 30.0}
    live: dict[str, object] = {"timeout": 30.0, "retries": 3}
    path = []
    for number in range(12):
        live = learner.update_parameters(feedback("lost", number, 1.0, success=False, error_type="E"), live)
        path.append(live["retries"])
    assert path == [3, 3, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5]
    seen: dict[str, object] = {"timeout": 30.0, "retries": 3}
    for number in range(6):
        failed = feedback("seen", number, 1.0, success=False, attempts=(Attempt(Outcome.ERROR, 0.1),) * 4)
        seen = learner.update_parameters(failed, seen)
    assert seen["retries"] <= 3  # type: ignore[operator]  # of these attempts it is known that retries did not mend them


def test_a_probe_keeps_the_bounds_of_values_that_somebody_else_has_set() -> None:
    learner = OnlineLearner(objective=WORTH, exploration_rate=1.0)
    dice = random.Random(0)
    for number in range(200):
        set_by_us = {"timeout": 100.0, "retries": 5} if number > 60 else {"timeout": 1.0, "retries": 2}
        execution = hanging(dice, number, float(set_by_us["timeout"]))
        told = feedback("f", number, execution.seconds, success=execution.outcome.good, attempts=execution.attempts)
        after = learner.update_parameters(told, set_by_us)
        assert 0.001 <= after["timeout"] <= 120.0
        assert after["retries"] in range(6)


def test_it_counts_what_it_was_told_and_says_when_it_has_settled() -> None:
    learner = OnlineLearner(0.1, 0.9, 0.8, 0.2)
    assert (learner.base_learning_rate, learner.momentum) == (0.1, 0.9)
    assert (learner.confidence_threshold, learner.exploration_rate) == (0.8, 0.2)
    assert learner.get_learning_stats()["update_count"] == 0
    dice = random.Random(0)
    for number in range(25):
        assert number > 19 or learner.detect_convergence("timeout") is False
        learner.update_parameters(feedback("f", number, 15.0), {"timeout": 30.0 + dice.gauss(0, 0.01)})
    assert learner.detect_convergence("timeout") is True
    assert learner.detect_convergence("time") is False
    told = learner.get_learning_stats()
    assert (told["update_count"], told["parameters_tracked"]) == (25, 1)
    assert 0 <= told["success_rate"] <= 1


def test_without_any_answer_it_does_not_give_up_sooner_than_declared() -> None:
    """A service that is down when we begin: 70 calls of which none is answered, then it is back at once."""
    learner = OnlineLearner()
    live: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
    for number in range(150):
        attempts = (Attempt(Outcome.TIMEOUT, float(live["timeout"])),) * (int(live["retries"]) + 1)
        seconds = sum(each.seconds for each in attempts)
        learner.update([Execution("w", number, 1e9, seconds, Outcome.TIMEOUT, 1, attempts)])
        suggestion = learner.suggest(live)
        live = dict(live if suggestion is None else suggestion.values)
        assert float(live["timeout"]) >= 30.0


@pytest.mark.parametrize("odd", [None, True, "3", math.nan, math.inf, -1.0, 0.0, 10**400])
def test_odd_live_values_do_no_harm(odd: object) -> None:
    learner = OnlineLearner(objective=WORTH)
    live = {"timeout": odd, "retries": odd}
    for number in range(60):
        after = learner.update_parameters(feedback("f", number, 0.1), live)
        assert list(after) == ["timeout", "retries"]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(Outcome),
                st.floats(allow_nan=True, allow_infinity=True),
                st.floats(allow_nan=True, allow_infinity=True),
            ),
            max_size=20,
        ),
        max_size=60,
    )
)
@settings(max_examples=25, deadline=None)
def test_whatever_it_is_told_it_keeps_within_bounds(calls: list[list[tuple[Outcome, float, float]]]) -> None:
    learner = OnlineLearner()
    for number, attempts in enumerate(calls):
        learner.update([call(number, *(Attempt(*attempt) for attempt in attempts))])
        suggestion = learner.suggest(LIVE)
        if suggestion:
            assert 0.001 <= suggestion.values["timeout"] <= 120.0
            assert 0 <= suggestion.values["retries"] <= 5
    learner.explain(LIVE)
    OnlineLearner().load(learner.dump())


def test_retries_are_probed_less_the_more_of_them_were_seen() -> None:
    """As many as are seen of the kind that is met: timeouts that hardly ever come keep nobody curious."""
    learner = OnlineLearner(objective=Objective(latency_cost=0.1, attempt_cost=0.02))
    learner._live = (2.0, 1, 0.1)
    told = []
    for calls in (0, 10, 400):
        made = (Attempt(Outcome.ERROR, 0.01), Attempt(Outcome.SUCCESS, 0.1, 0.05))
        learner.update([Execution("w", n, 0.0, 0.2, Outcome.SUCCESS, 1, made) for n in range(calls)])
        learner._evidence.fold()
        told.append(learner.probe().retry)
    assert told == sorted(told, reverse=True)
    assert told[0] > 0.3
    assert told[-1] < 0.05
