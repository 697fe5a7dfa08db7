"""What a learner makes of hedges, and when it sends them."""

from __future__ import annotations

import json
import math
import random
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import pytest

from poet.errors import ConfigurationError
from poet.kernels.online.survival import KNOTS
from poet.learning import online_learner
from poet.learning.basic_rule import BasicRule
from poet.learning.evidence import Evidence
from poet.learning.hedge_survey import settled
from poet.learning.notes import BLOCK, HALF_LIVES, RECENT, mark, marked
from poet.learning.online_learner import ExecutionFeedback, OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.hedging import Life, Workload, live
from poet.testing.learners import MOST_BYTES, Learned

WORTH = Objective(latency_cost=20.0)
LIVE: Mapping[str, Value] = MappingProxyType(
    {"timeout": 30.0, "retries": 3, "backoff": 0.1, "hedges": 0, "hedge_delay": 30.0}
)
PLAIN = {name: value for name, value in LIVE.items() if not name.startswith("hedge")}
BOUNDS = {"timeout": Real(0.001, 120.0, log=True), "retries": Integer(0, 5)}
DELAY = Real(0.001, 120.0, log=True)
SPACE = Space(**BOUNDS, hedges=Integer(0, 2), hedge_delay=DELAY)
SERVICE = Workload(calls=1500)  # 5 ms, and one request in twenty takes 50


def call(number: int, *attempts: Attempt) -> Execution:
    outcome = Outcome.SUCCESS if any(a.outcome.good for a in attempts) else attempts[-1].outcome
    return Execution("test", number, 0.0, sum(a.seconds for a in attempts if not a.hedge), outcome, 1, attempts)


def hedged(number: int, seconds: float, delay: float, copy: float) -> Execution:
    """A call whose request takes ``seconds``, and the copy that is sent after ``delay`` takes ``copy``."""
    if seconds <= delay:
        return call(number, Attempt(Outcome.SUCCESS, seconds))
    end = min(seconds, delay + copy)
    own, other = Outcome.SUCCESS, Outcome.CANCELLED
    if delay + copy < seconds:
        own, other = other, own
    return call(number, Attempt(own, end), Attempt(other, end - delay, delay, True))


def make(**more: object) -> OnlineLearner:
    return OnlineLearner(**{"space": SPACE, "declared": LIVE, **more})  # type: ignore[arg-type]


def lived(learner: OnlineLearner, service: Workload = SERVICE, seed: int = 0) -> tuple[Learned, Life]:
    policy = Learned(learner, LIVE, seed=seed)
    return policy, live(service, policy, seed)


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_a_copy_is_no_retry() -> None:
    learner, other = make(objective=WORTH), make(objective=WORTH)
    for number in range(200):
        learner.update([call(number, Attempt(Outcome.TIMEOUT, 1.0), Attempt(Outcome.CANCELLED, 0.5, 0.5, True))])
        other.update([call(number, Attempt(Outcome.TIMEOUT, 1.0))])
    assert learner._evidence.retried == other._evidence.retried == (0.0, 0.0)
    mine, plain = learner._evidence.picture(), other._evidence.picture()
    assert np.array_equal(mine.errors, plain.errors)


def test_a_retry_after_a_hedged_attempt_is_one() -> None:
    learner = make(objective=WORTH)
    copy = Attempt(Outcome.CANCELLED, 0.5, 0.5, True)
    for number in range(200):
        learner.update(
            [call(number, Attempt(Outcome.TIMEOUT, 1.0), copy, Attempt(Outcome.SUCCESS, 0.2, 0.1), copy._replace())]
        )
    learner._evidence.fold()
    assert learner._evidence.retried == (0.0, 200.0)


@pytest.mark.parametrize("hedging", [True, False], ids=["tuned", "not tuned"])
def test_a_request_that_lost_is_cut_off_where_its_copy_won(hedging: bool) -> None:
    """The quantiles of all requests, though a third of the slow ones were never seen to end: 5 % of error, by bins."""
    dice = random.Random(1)

    def seconds() -> float:
        return 0.1 * math.exp(0.6 * dice.gauss(0, 1))

    learner = make(objective=WORTH) if hedging else OnlineLearner(objective=WORTH)
    for number in range(4000):
        learner.update([hedged(number, seconds(), 0.12, seconds())])
    latency = learner.explain(LIVE if hedging else PLAIN).latency
    for share, z in ((0.5, 0.0), (0.9, 1.2816), (0.99, 2.3263)):
        assert latency[share] == pytest.approx(0.1 * math.exp(0.6 * z), rel=0.1)


@pytest.mark.parametrize("repeating", [True, False])
def test_the_end_of_a_copy_tells_whether_slowness_lies_in_the_call(repeating: bool) -> None:
    dice = random.Random(2)
    learner = make(objective=WORTH)
    before = learner.explain(LIVE).failures
    for number in range(400):
        slow = dice.random() < 0.2
        again = slow if repeating else dice.random() < 0.2
        learner.update([hedged(number, 1.0 if slow else 0.1, 0.15, 1.0 if again else 0.1)])
    found = learner.explain(LIVE).failures["repeats"]
    assert not before
    assert found > 0.9 if repeating else found < 0.05


def test_a_copy_that_was_given_up_at_once_tells_nothing() -> None:
    learner = make(objective=WORTH)
    for number in range(50):
        learner.update([call(number, Attempt(Outcome.SUCCESS, 0.1))])
    believed = learner.explain(LIVE).failures["repeats"]
    for number in range(50):
        learner.update([call(number, Attempt(Outcome.SUCCESS, 0.1), Attempt(Outcome.CANCELLED, 1e-5, 0.0999, True))])
    assert learner.explain(LIVE).failures["repeats"] == pytest.approx(believed, abs=0.05)


@pytest.mark.parametrize("kind", [lambda: make(objective=WORTH), BasicRule], ids=["online", "basic"])
def test_a_call_that_was_shed_is_no_call(kind: Callable[[], OnlineLearner | BasicRule]) -> None:
    learner, other = kind(), kind()
    for number in range(300):
        execution = call(number, Attempt(Outcome.SUCCESS, 0.1 + number % 7 / 100))
        learner.update([execution, call(number, Attempt(Outcome.SHED, 0.0))])
        other.update([execution])
    assert learner.dump() == other.dump()
    assert learner.explain(LIVE) == other.explain(LIVE)


def test_an_attempt_that_was_shed_is_no_attempt() -> None:
    learner, other = make(objective=WORTH), make(objective=WORTH)
    shed = Attempt(Outcome.SHED, 0.0, 0.05)
    for number in range(300):
        learner.update([call(number, Attempt(Outcome.ERROR, 0.1), shed, shed._replace(hedge=True))])
        other.update([call(number, Attempt(Outcome.ERROR, 0.1))])
    assert learner.dump() == other.dump()


def test_the_basic_rule_takes_the_time_of_the_request_and_not_of_its_copy() -> None:
    rule = BasicRule()
    rule.update([hedged(number, 30.0, 20.0, 5.0) for number in range(10)])
    suggestion = rule.suggest(LIVE)
    assert suggestion is not None  # 25 s of 30 s; the copies took 5 s
    assert suggestion.values["timeout"] == pytest.approx(36.0)


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.0103, 29.9999, 30.0, 1e5])
@pytest.mark.parametrize("cut_off", [True, False])
def test_a_mark_keeps_a_duration_to_a_thousandth(seconds: float, cut_off: bool) -> None:
    code = mark(seconds, cut_off)
    assert 0 <= code < 2**16
    assert marked(code)[1] is cut_off
    if seconds < KNOTS[-1]:
        assert marked(code)[0] == pytest.approx(seconds, rel=1e-3, abs=1e-7)


def test_single_durations_are_kept_only_where_they_are_long_enough_and_not_too_many() -> None:
    evidence = Evidence(hedging=True)
    evidence.near = 0.05
    for number in range(3000):
        evidence.observe([call(number, Attempt(Outcome.SUCCESS, 0.01 if number % 2 else 0.1))])
    seen = evidence.durations()
    assert len(seen.seconds) == RECENT
    assert seen.seconds == pytest.approx(0.1, rel=1e-3)


def test_after_a_change_hardly_any_old_duration_is_left() -> None:
    evidence = Evidence(hedging=True)
    for number in range(1000):
        evidence.observe([call(number, Attempt(Outcome.SUCCESS, 0.1))])
    for number in range(60):
        evidence.observe([call(number, Attempt(Outcome.SUCCESS, 2.0))])
    assert float(np.mean(evidence.durations().seconds < 1.0)) < 0.5


# --- which memory is trusted ------------------------------------------------------------------------------------------


def test_while_nothing_changes_the_longest_memory_is_trusted() -> None:
    dice, evidence = random.Random(3), Evidence(hedging=True)
    trusted = []
    for number in range(4000):
        evidence.observe([call(number, Attempt(Outcome.SUCCESS, 0.1 * math.exp(0.5 * dice.gauss(0, 1))))])
        if number >= 400 and number % 50 == 0:
            trusted.append(settled(evidence.picture(), 0.1))
    assert sum(memory == len(HALF_LIVES) - 1 for memory in trusted) > 0.8 * len(trusted)


def test_a_memory_that_the_newest_calls_contradict_is_not() -> None:
    """Twice as many slow calls of late, too slow a change for the alarm: 200 of them say so, 4000 old ones do not."""
    dice, evidence = random.Random(4), Evidence(hedging=True)
    for number in range(4200):
        slow = dice.random() < (0.1 if number < 4000 else 0.35)
        evidence.observe([call(number, Attempt(Outcome.SUCCESS, dice.uniform(0.1, 0.2) * (4.0 if slow else 1.0)))])
    memory = settled(evidence.picture(), 0.15)
    share = 1 - float(evidence.picture().answered[memory, np.searchsorted(KNOTS, 0.3)])
    assert share > 0.2


# --- what it decides --------------------------------------------------------------------------------------------------


def test_stragglers_are_hedged_within_the_budget() -> None:
    policy, life = lived(make(hedge_budget=0.08))
    assert policy.live["hedges"] in (1, 2)
    assert 0.008 < float(policy.live["hedge_delay"]) < 0.013
    assert float(life.copies.mean()) < 0.08
    first = next(said for _, said in policy.said if said.values["hedges"])
    assert first.evidence < 600
    assert "it pays" in first.reason
    assert "copies per 100 calls" in first.reason
    estimate = first.estimates["hedge_delay"]
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.value == first.values["hedge_delay"]
    for _, said in policy.said:  # also where nothing but the hedges changes
        assert said.estimates["gain"].low <= said.estimates["gain"].value <= said.estimates["gain"].high


def test_where_slowness_lies_in_the_call_hedging_ends_soon() -> None:
    policy, life = lived(make(), Workload(calls=4000, by_call=True))
    assert policy.live["hedges"] == 0
    assert not life.hedges[2000:].any()
    assert float(life.copies.mean()) < 0.02
    assert any("slowness lies in the call" in sentence for sentence in policy.learner.explain(policy.live).sentences)


def test_a_service_without_stragglers_is_not_hedged() -> None:
    policy, life = lived(make(), Workload(calls=3000, stragglers=0.0))
    assert not life.hedges.any()
    assert any("No copies of slow attempts" in said for said in policy.learner.explain(policy.live).sentences)


def test_a_budget_of_nothing_sends_nothing() -> None:
    policy, life = lived(make(hedge_budget=0.0))
    assert not life.copies.any()
    assert any("none are allowed" in said for said in policy.learner.explain(policy.live).sentences)


def test_without_hedges_in_the_space_none_are_proposed() -> None:
    policy = Learned(OnlineLearner(space=Space(**BOUNDS), declared=PLAIN), PLAIN)
    live(SERVICE, policy, 0)
    assert all(set(said.values) == set(PLAIN) for _, said in policy.said)


@pytest.mark.parametrize(
    "space",
    [
        Space(**BOUNDS, hedges=Integer(0, 2), hedge_delay=Real(0.02, 0.03)),
        Space(**BOUNDS, hedges=Integer(0, 1), hedge_delay=DELAY),
        Space(**BOUNDS, hedges=Integer(1, 2), hedge_delay=DELAY),
        Space(**BOUNDS, hedges=Integer(0, 0), hedge_delay=DELAY),
        Space(**BOUNDS, hedges=Integer(0, 8), hedge_delay=DELAY),
        Space(hedges=Integer(0, 2), hedge_delay=DELAY),
        Space(**BOUNDS, hedges=Integer(0, 2)),
        Space(**BOUNDS, hedge_delay=DELAY),
    ],
    ids=["late", "one at most", "one at least", "none", "many", "hedges only", "fixed delay", "delay only"],
)
@pytest.mark.parametrize("by_call", [True, False])
def test_bounds_are_hard_whatever_it_believes(space: Space, by_call: bool) -> None:
    start = {**LIVE, "hedge_delay": 0.025, "hedges": max(0, space["hedges"].low) if "hedges" in space else 0}
    policy = Learned(OnlineLearner(space=space, declared=start), start)
    live(Workload(calls=700, by_call=by_call), policy, 1)
    for _, said in policy.said:
        assert set(said.values) == set(start)
        for name, value in said.values.items():
            if name in space:
                space[name].check(name, value)
            else:
                assert value == start[name]
    policy.learner.explain(policy.live)


def test_a_delay_that_is_not_tuned_is_used_as_it_is() -> None:
    start = {**LIVE, "hedge_delay": 0.0123456}
    policy = Learned(OnlineLearner(space=Space(**BOUNDS, hedges=Integer(0, 2)), declared=start), start)
    live(SERVICE, policy, 0)
    assert policy.live["hedges"] in (1, 2)
    assert policy.live["hedge_delay"] == 0.0123456


def test_live_values_of_an_old_version_are_without_hedges() -> None:
    learner = make()
    policy = Learned(learner, PLAIN)
    live(SERVICE, policy, 0)
    assert policy.live["hedges"] in (1, 2)  # named now, as the function may hedge
    assert 0.008 < float(policy.live["hedge_delay"]) < 0.02
    assert make().explain(PLAIN).live is None


@pytest.mark.parametrize("value", ["many", None, math.nan, -1, 0])
def test_odd_live_values_are_no_hedges(value: object) -> None:
    learner = make(objective=WORTH)
    learner.update([call(number, Attempt(Outcome.SUCCESS, 0.005)) for number in range(50)])
    learner.suggest({**LIVE, "hedges": value, "hedge_delay": 0.01})  # type: ignore[dict-item]
    learner.suggest({**LIVE, "hedges": 1, "hedge_delay": value})  # type: ignore[dict-item]
    assert learner._hedges_of({**LIVE, "hedges": value, "hedge_delay": 0.01}) == (0, 0.0)  # type: ignore[dict-item]


def test_a_live_delay_that_sends_too_many_copies_is_lengthened() -> None:
    start = {**LIVE, "hedges": 1, "hedge_delay": 0.004}  # two calls in three outlive it
    policy = Learned(make(declared=start, hedge_budget=0.1), start)
    life = live(SERVICE, policy, 0)
    reasons = [said.reason for _, said in policy.said]
    assert any("too many copies are sent" in reason for reason in reasons)
    assert float(policy.live["hedge_delay"]) > 0.008
    assert float(life.copies[-500:].mean()) < 0.14


def test_the_timeout_is_judged_with_the_hedges_that_are_live() -> None:
    """Where copies take care of slow attempts there is no gain in cutting these off and waiting for a retry."""
    policy, _ = lived(make(hedge_budget=0.08), Workload(calls=3000))
    assert float(policy.live["timeout"]) > 2.5 * float(policy.live["hedge_delay"])


@pytest.mark.parametrize("budget", [-0.1, 1.1, math.nan])
def test_a_budget_out_of_range_is_refused(budget: float) -> None:
    with pytest.raises(ConfigurationError, match="hedge_budget"):
        OnlineLearner(hedge_budget=budget)


def test_hedges_may_be_learned_without_a_decorated_function() -> None:
    learner = make(hedge_budget=0.08)
    dice, current = random.Random(5), dict(LIVE)

    def seconds() -> float:
        return dice.uniform(0.003, 0.007) * (10.0 if dice.random() < 0.05 else 1.0)

    for number in range(800):
        delay = float(current["hedge_delay"]) if current["hedges"] else math.inf
        execution = hedged(number, seconds(), delay, seconds())
        told = learner.update_parameters(
            ExecutionFeedback("f", str(number), True, execution.seconds, attempts=execution.attempts), current
        )
        assert set(told) == set(LIVE)
        current = told
        if number % 200 == 0:
            restored = make(hedge_budget=0.08)
            restored.load(learner.dump())
            assert restored.dump() == learner.dump()
    assert current["hedges"] in (1, 2)


# --- keeping and telling ----------------------------------------------------------------------------------------------


def test_twins_agree_and_a_dump_forgets_nothing() -> None:
    one, other = make(seed=5), make(seed=5)
    first, second = lived(one)[0], lived(other)[0]
    assert first.said == second.said
    assert one.dump() == other.dump()
    restored = make(seed=5)
    restored.load(one.dump())
    assert restored.dump() == one.dump()
    assert restored.explain(first.live) == one.explain(first.live)
    followers = [Learned(learner, first.live, seed=9) for learner in (one, restored)]
    for follower in followers:
        live(Workload(calls=400, slower=3.0), follower, 8)
    assert followers[0].said == followers[1].said
    assert one.dump() == restored.dump()


def test_explaining_changes_nothing() -> None:
    policy, _ = lived(make())
    state = policy.learner.dump()
    assert policy.learner.explain(policy.live) == policy.learner.explain(policy.live)
    assert policy.learner.dump() == state


def test_its_state_is_small_whatever_comes() -> None:
    learner, dice = make(objective=WORTH), random.Random(0)
    outcomes = list(Outcome)
    for number in range(3000):
        seconds = 10 ** dice.uniform(-5, 3.2)
        copy = Attempt(dice.choice(outcomes), seconds, seconds, True)
        learner.update(
            [call(number, Attempt(dice.choice(outcomes), seconds), copy, Attempt(outcomes[1], seconds, 0.1))]
        )
        if number % 100 == 0:
            learner.suggest(LIVE)
    assert len(learner.dump()) <= MOST_BYTES


def test_odd_copies_do_no_harm() -> None:
    odd = (0.0, -1.0, math.nan, math.inf, -math.inf, 1e300, 1e-300)
    for outcome in Outcome:
        learner = make()
        for number in range(70):
            copies = [Attempt(outcome, odd[(number + k) % 7], odd[-k], True) for k in range(number % 4)]
            learner.update([call(number, Attempt(Outcome.SUCCESS, 0.1), *copies)])
            learner.suggest({**LIVE, "hedges": 1, "hedge_delay": 0.05})
        learner.explain(LIVE)
        make().load(learner.dump())


@pytest.mark.parametrize(
    "change",
    [
        {"recent": 10**6},
        {"recent": -1},
        {"recent": 700},
        {"spent": [1.0]},
        {"spent": "much"},
        {"near": -1.0},
        {"copies": 1},
        {"copies": 10**6},
    ],
    ids=str,
)
def test_a_forged_dump_is_refused(change: dict[str, object]) -> None:
    learner = make(objective=WORTH)
    learner.update([hedged(number, 0.1, 0.05, 0.02) for number in range(BLOCK + 40)])
    [(_, facts, blob)] = online_learner._sections(learner.dump())
    assert facts["folded"]
    assert facts["copies"] > 1
    text = json.dumps({**facts, **change}).encode()
    body = online_learner._LENGTHS.pack(0, len(text), len(blob)) + text + blob
    with pytest.raises(ValueError, match="no state of an online learner"):
        make().load(online_learner._MAGIC + zlib.compress(body))


def test_who_does_not_hedge_reads_the_state_of_one_who_did_and_the_other_way_round() -> None:
    policy, _ = lived(make())
    plain = OnlineLearner(space=Space(**BOUNDS), declared=PLAIN)
    plain.load(policy.learner.dump())
    assert plain.explain(PLAIN).latency == policy.learner.explain(policy.live).latency
    again = make()
    again.load(plain.dump())
    assert again.explain(LIVE).latency == plain.explain(PLAIN).latency


def test_it_says_why_it_hedges_and_what_else_there_is() -> None:
    policy, _ = lived(make(hedge_budget=0.08))
    told = policy.learner.explain(policy.live)
    said = " ".join(told.sentences)
    assert "Of a slow attempt up to" in said
    assert "99 % of the answers come within" in said
    assert "Why not without hedges? That would cost" in said
    assert "Why not a shorter hedge delay?" in said
    assert told.live is not None
    assert told.live.values == policy.live
    without = next(each for each in told.neighbours if each.values["hedges"] == 0)
    assert without.seconds > told.live.seconds
    assert 1.05 < told.live.requests < 1.11  # 0.08 copies, and 4 standard errors of the 118 that 1480 calls send


def test_it_says_what_hedging_would_give_where_it_does_not() -> None:
    policy, _ = lived(make(), Workload(calls=900, by_call=True))
    said = " ".join(policy.learner.explain({**policy.live, "hedges": 0}).sentences)
    assert "Why not hedge?" in said


def test_its_forecast_of_a_hedged_call_comes_true() -> None:
    """1000 further calls under the live values: 6 standard errors, and the doubt of 1500 calls' evidence."""
    policy, _ = lived(make(hedge_budget=0.08))
    forecast = policy.learner.explain(policy.live).live
    assert forecast is not None

    class Stays:
        def parameters(self, t: int) -> Mapping[str, object]:
            return policy.live

        def observe(self, execution: Execution) -> None:
            pass

    life = live(Workload(calls=20_000), Stays(), 77)
    assert forecast.seconds == pytest.approx(float(life.seconds.mean()), rel=0.05)
    assert forecast.requests - 1 == pytest.approx(float(life.requests.mean()) - 1, rel=0.25)
