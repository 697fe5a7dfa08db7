"""Many learners of one function, each of which sees a part of the calls, know together what one would that sees all."""

from __future__ import annotations

import json
import math
import pickle
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.learning import online_learner
from poet.learning.basic_rule import BasicRule
from poet.learning.notes import RECENT
from poet.learning.online_learner import ExecutionFeedback, OnlineLearner
from poet.learning.strain import Strain
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.seams import Learner

LIVE: Mapping[str, Value] = MappingProxyType({"timeout": 30.0, "retries": 3, "backoff": 0.1})
DELAY = Real(0.001, 120.0, log=True)
HEDGING = Space(timeout=DELAY, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=DELAY)
WORTH = Objective(latency_cost=0.2)

Calls = Sequence[Execution]


def call(number: int, *attempts: Attempt) -> Execution:
    seconds = sum(attempt.seconds + attempt.waited for attempt in attempts if not attempt.hedge)
    return Execution("test", number, 0.0, seconds, attempts[-1].outcome, 1, attempts)


def steady(seed: int, n: int, *, median: float = 0.2, failing: float = 0.1, hanging: float = 0.0) -> list[Execution]:
    """Calls of a service that does not change: some err, some hang, and each failure is retried once."""
    dice = random.Random(seed)
    calls = []
    for number in range(n):
        fate, answer = dice.random(), Attempt(Outcome.SUCCESS, median * math.exp(0.5 * dice.gauss(0, 1)))
        if fate < failing:
            calls.append(call(number, Attempt(Outcome.ERROR, 0.01), answer._replace(waited=0.05 * dice.random())))
        elif fate < failing + hanging:
            calls.append(call(number, Attempt(Outcome.TIMEOUT, 3.0), answer))
        else:
            calls.append(call(number, answer))
    return calls


class Pool:
    """What a store keeps for all of them."""

    def __init__(self) -> None:
        self.state: bytes | None = None

    def exchange(self, learner: Learner) -> None:
        told = learner.contribution()
        if told is not None:
            self.state = learner.merged(self.state, told)
            learner.load(self.state)


def spread(make: Callable[[], OnlineLearner], calls: Calls, hosts: int, every: float, seed: int) -> tuple[Pool, int]:
    """Each call goes to one of ``hosts``, each of which exchanges about every ``every`` calls of its own.

    Gives what all know in the end, and how often they looked.
    """
    dice, pool, looks = random.Random(seed), Pool(), 0
    learners = [make() for _ in range(hosts)]
    for execution in calls:
        learner = dice.choice(learners)
        before = learner._looks
        learner.update([execution])
        learner.suggest(LIVE)
        looks += learner._looks - before
        if dice.random() < 1 / every:
            pool.exchange(learner)
    for learner in learners:
        pool.exchange(learner)
    return pool, looks


def read(state: bytes | None, make: Callable[[], OnlineLearner] = OnlineLearner) -> OnlineLearner:
    assert state is not None
    learner = make()
    learner.load(state)
    return learner


def counts(learner: OnlineLearner) -> np.ndarray:
    return np.asarray(learner._evidence._opened().counts)


# --- as one ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 90)), min_size=1, max_size=12), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_the_counts_of_all_are_those_of_one_who_sees_the_calls_in_the_order_they_were_told(
    turns: list[tuple[int, int]], seed: int
) -> None:
    """Without timeouts each attempt counts in full, whatever is believed: so the counts add up to rounding."""
    learners, pool, one = [OnlineLearner(objective=WORTH) for _ in range(4)], Pool(), OnlineLearner(objective=WORTH)
    calls = iter(steady(seed, sum(n for _, n in turns)))
    for who, n in turns:
        part = [next(calls) for _ in range(n)]
        learners[who].update(part)
        one.update(part)
        pool.exchange(learners[who])
    one._evidence.fold()
    together = read(pool.state)
    if together._evidence._last_alarm == one._evidence._last_alarm == 0:
        assert np.allclose(counts(together), counts(one), rtol=1e-4, atol=1e-4)
    assert together._evidence.calls == one._evidence.calls
    assert together._evidence.answers == one._evidence.answers
    assert together._evidence.longest == one._evidence.longest
    assert together._evidence.retried == one._evidence.retried


@pytest.mark.parametrize("every", [3.0, 60.0])
@pytest.mark.parametrize("hosts", [2, 8])
def test_estimates_are_those_of_one_who_sees_all(hosts: int, every: float) -> None:
    """To 4 standard errors of what some 500 calls, a long memory's worth, can tell: both have seen the same calls."""
    calls = steady(hosts, 1200, hanging=0.03)
    pool, _ = spread(lambda: OnlineLearner(objective=WORTH), calls, hosts, every, seed=1)
    one = OnlineLearner(objective=WORTH)
    for execution in calls:
        one.update([execution])
        one.suggest(LIVE)
    mine, theirs = read(pool.state, lambda: OnlineLearner(objective=WORTH)).explain(LIVE), one.explain(LIVE)
    assert mine.executions == theirs.executions == 1200
    for share in (0.5, 0.9):
        assert mine.latency[share] == pytest.approx(theirs.latency[share], rel=0.08)
    for kind in ("transient", "permanent"):
        assert mine.failures[kind] == pytest.approx(theirs.failures[kind], abs=0.054)  # 4 sqrt(0.1 * 0.9 / 500)
    assert mine.failures["repeats"] == pytest.approx(theirs.failures["repeats"], abs=0.05)
    assert mine.live is not None
    assert theirs.live is not None
    assert mine.live.success == pytest.approx(theirs.live.success, abs=0.01)
    doubt = theirs.live.utility.high - theirs.live.utility.low  # mostly of what comes after 3 s, which nobody has seen
    assert mine.live.utility.value == pytest.approx(theirs.live.utility.value, abs=doubt)


@given(st.permutations(range(5)), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_the_order_of_contributions_hardly_matters(order: list[int], seed: int) -> None:
    told = []
    for host in range(5):
        learner = OnlineLearner(objective=WORTH)
        learner.update(steady(seed + host, 60))
        told.append(learner.contribution())
    judge, states = OnlineLearner(objective=WORTH), []
    for sequence in (range(5), order):
        state: bytes | None = None
        for which in sequence:
            contribution = told[which]
            assert contribution is not None
            state = judge.merged(state, contribution)
        states.append(read(state))
    one, other = states
    assert one._evidence.calls == other._evidence.calls == 300
    # the longest memory halves in 8000 calls: what came first weighs 0.97 of what came last
    assert np.allclose(counts(one)[4].sum(axis=1), counts(other)[4].sum(axis=1), rtol=0.03, atol=0.5)
    medians = [learner.explain(LIVE).latency[0.5] for learner in states]
    assert medians[0] == pytest.approx(medians[1], rel=0.25)  # the shortest memories hold who came last


# --- told once -------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["call", "tell", "pickle", "dump"]), max_size=60), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_whatever_happens_each_call_is_told_exactly_once(steps: list[str], seed: int) -> None:
    """A dump holds what was not told yet, but whoever loads it tells only of what comes after."""
    learner, judge, made, told = OnlineLearner(), OnlineLearner(), 0, 0
    calls = iter(steady(seed, len(steps) * 9 + 1))
    state: bytes | None = None
    for step in steps:
        if step == "call":
            learner.update([next(calls) for _ in range(9)])
            made += 9
        elif step == "pickle":
            learner = pickle.loads(pickle.dumps(learner))
        elif step == "dump":
            if learner.contribution() is not None:
                made = told  # it was not handed on
            fresh = OnlineLearner()
            fresh.load(learner.dump())
            learner = fresh
        else:
            contribution = learner.contribution()
            if contribution is not None:
                state = judge.merged(state, contribution)
                told = made
        assert (0 if state is None else read(state)._evidence.calls) == told
    assert learner.contribution() is None or made > told


def test_calls_that_wait_in_a_loaded_dump_are_not_told_again() -> None:
    """A state that was stored by an agent that stood alone holds calls that are not folded in yet."""
    alone = OnlineLearner()
    alone.update(steady(0, 100))
    state = alone.dump()
    heir = OnlineLearner()
    heir.load(state)
    assert heir.contribution() is None
    heir.update(steady(1, 10))
    told = heir.contribution()
    assert told is not None
    together = read(heir.merged(state, told))
    assert together._evidence.calls == 110
    assert counts(together)[4].sum() == pytest.approx(counts(heir)[4].sum(), rel=1e-4)
    assert together.dump() == read(together.dump()).dump()


def test_contributions_that_stay_behind_while_a_store_is_away_come_in_later() -> None:
    pool, learner, calls = Pool(), OnlineLearner(), steady(0, 300)
    learner.update(calls[:100])
    lost = learner.contribution()
    learner.update(calls[100:])
    assert lost is not None
    pool.state = learner.merged(None, lost)
    pool.exchange(learner)
    one = OnlineLearner()
    one.update(calls)
    one._evidence.fold()
    assert np.allclose(counts(read(pool.state)), counts(one), rtol=1e-4, atol=1e-4)


# --- what is fixed once, and what is watched -------------------------------------------------------------------------


def test_the_scale_of_latency_is_whose_fixed_it_first() -> None:
    quick, slow, pool = OnlineLearner(), OnlineLearner(), Pool()
    for learner, median in ((quick, 0.1), (slow, 4.0)):
        learner.update(steady(0, 40, median=median))
        learner.suggest(LIVE)
    first = quick._typical
    assert first is not None
    assert slow._typical is not None
    assert slow._typical > 10 * first
    for learner in (quick, slow):
        pool.exchange(learner)
    assert slow._typical == quick._typical == first
    assert len(slow._evidence.answers) == 20


def test_a_change_that_all_of_them_find_empties_the_memories_once() -> None:
    """Each finds it by itself, at the same time; the last to tell must not undo what the others have learned since."""
    pool, learners = Pool(), [OnlineLearner(objective=WORTH) for _ in range(4)]
    for n, learner in enumerate(learners):
        learner.update(steady(n, 150))
        pool.exchange(learner)
    for learner in learners:  # now all know the same
        assert pool.state is not None
        learner.load(pool.state)
    for n, learner in enumerate(learners):
        learner.update(steady(n, 100, median=3.0))
        assert learner._evidence._last_alarm > 0
    for learner in learners:
        pool.exchange(learner)
    together = read(pool.state)
    assert together._evidence._last_alarm > 600
    assert counts(together)[4].sum() > 150  # more than any of them has seen, and all of it is new
    assert together.explain(LIVE).latency[0.5] == pytest.approx(3.0, rel=0.25)


def test_a_change_that_each_saw_too_little_of_is_found_together() -> None:
    pool, learners = Pool(), [OnlineLearner(objective=WORTH) for _ in range(8)]
    for n, learner in enumerate(learners):
        learner.update(steady(n, 100))
        pool.exchange(learner)
    dice, found = random.Random(1), 0
    for number, execution in enumerate(steady(9, 160, median=2.0)):
        learner = learners[number % 8]
        learner.update([execution])
        if dice.random() < 0.5:
            pool.exchange(learner)
            if learner._evidence._last_alarm:
                found = number + 1
                break
    assert 0 < found <= 80  # ten calls of each


def test_together_they_sound_hardly_more_false_alarms_than_one() -> None:
    """15 000 calls of services that do not change."""

    def alarms(hosts: int, seed: int) -> int:
        dice, pool, sounded = random.Random(seed), Pool(), set()
        learners = [OnlineLearner(objective=WORTH) for _ in range(hosts)]
        for execution in steady(seed, 2500, hanging=0.01):
            learner = dice.choice(learners)
            learner.update([execution])
            if hosts == 1:
                sounded.add(learner._evidence._last_alarm)
            elif dice.random() < 0.2:
                pool.exchange(learner)
                sounded.add(learner._evidence._last_alarm)
        return len(sounded - {0})

    seeds = range(6)
    alone, together = (sum(alarms(hosts, seed) for seed in seeds) for hosts in (1, 8))
    assert together <= alone + 4 * math.sqrt(
        alone + 1
    )  # 4 standard deviations of a count; 8 hosts apart have 8 chances


def test_together_they_look_about_as_often_as_one() -> None:
    calls = steady(3, 3000)
    alone, _, looks = OnlineLearner(objective=WORTH), Pool(), 0
    for execution in calls:
        before = alone._looks
        alone.update([execution])
        alone.suggest(LIVE)
        looks += alone._looks - before
    pool, together = spread(lambda: OnlineLearner(objective=WORTH), calls, 8, 3.0, seed=1)
    assert looks / 2 <= together <= 2.5 * looks  # together they look between exchanges, too, while little is known
    assert read(pool.state)._looks == together


def test_what_another_has_made_live_is_probed() -> None:
    one, other, pool = OnlineLearner(objective=WORTH), OnlineLearner(objective=WORTH), Pool()
    live = {**LIVE, "timeout": 2.0, "retries": 1}
    one.update(steady(0, 50))
    one.suggest(live)
    pool.exchange(one)
    other.update(steady(1, 1))
    pool.exchange(other)
    assert other.probe() == one.probe()
    assert other.probe().limit > 0


# --- hedges ----------------------------------------------------------------------------------------------------------


def hedged(seed: int, n: int) -> list[Execution]:
    dice = random.Random(seed)
    calls = []
    for number in range(n):
        seconds = 0.005 * math.exp(0.3 * dice.gauss(0, 1)) * (10 if dice.random() < 0.05 else 1)
        if seconds <= 0.02:
            calls.append(call(number, Attempt(Outcome.SUCCESS, seconds)))
        else:
            copy = Attempt(Outcome.SUCCESS, 0.005, 0.02, hedge=True)
            calls.append(call(number, Attempt(Outcome.CANCELLED, 0.025), copy))
    return calls


def test_those_who_hedge_pool_single_durations_and_what_was_spent() -> None:
    def make() -> OnlineLearner:
        return OnlineLearner(space=HEDGING, objective=WORTH)

    calls = hedged(0, 1500)
    pool, one, learners = Pool(), make(), [make() for _ in range(3)]
    for start in range(0, 1500, 50):
        part = calls[start : start + 50]
        one.update(part)
        learners[start // 50 % 3].update(part)
        pool.exchange(learners[start // 50 % 3])
    one._evidence.fold()
    together = read(pool.state, make)
    assert together._evidence._recent is not None
    assert one._evidence._recent is not None
    assert list(together._evidence._recent)[-RECENT:] == list(one._evidence._recent)[-RECENT:]
    assert tuple(together._evidence._spent) == pytest.approx(tuple(one._evidence._spent), rel=0.01)
    repeats = [
        learner.explain({**LIVE, "hedges": 1, "hedge_delay": 0.02}).failures["repeats"] for learner in (together, one)
    ]
    assert repeats[0] == pytest.approx(repeats[1], abs=0.02)


def test_however_much_was_seen_since_it_told_the_newest_durations_are_told() -> None:
    learner = OnlineLearner(space=HEDGING, objective=WORTH)
    learner.update(hedged(0, 2 * RECENT + 10))
    told = learner.contribution()
    assert told is not None
    assert len(told) < 4096
    together = read(learner.merged(None, told), lambda: OnlineLearner(space=HEDGING, objective=WORTH))
    assert together._evidence._recent is not None
    assert learner._evidence._recent is not None
    assert together._evidence._recent == learner._evidence._recent[-RECENT:]


def test_who_hedges_and_who_does_not_understand_each_other() -> None:
    plain, hedging = OnlineLearner(objective=WORTH), OnlineLearner(space=HEDGING, objective=WORTH)
    plain.update(steady(0, 90))
    hedging.update(hedged(0, 90))
    of_plain, of_hedging = plain.contribution(), hedging.contribution()
    assert of_plain is not None
    assert of_hedging is not None
    for judge in (plain, hedging):
        judge.load(judge.merged(judge.merged(None, of_plain), of_hedging))
        assert judge._evidence.calls == 180


def test_a_contribution_at_another_pace_counts_and_fades_at_ours() -> None:
    hasty, steady_one = OnlineLearner(0.5, objective=WORTH), OnlineLearner(0.05, objective=WORTH)
    hasty.update(steady(0, 200))
    told = hasty.contribution()
    assert told is not None
    steady_one.load(steady_one.merged(None, told))
    assert steady_one._evidence.calls == 200
    held = counts(steady_one)[4].sum()
    steady_one.update(steady(1, 400))
    steady_one._evidence.fold()
    assert counts(steady_one)[4].sum() > 0.95 * held + 380


# --- functions of update_parameters ----------------------------------------------------------------------------------


def test_functions_that_are_told_apart_by_name_are_pooled_by_name() -> None:
    pool, learners = Pool(), [OnlineLearner(objective=WORTH) for _ in range(2)]
    told: dict[str, dict[str, object]] = {}
    for number in range(120):
        name = "often" if number % 3 else "seldom"
        feedback = ExecutionFeedback(name, str(number), success=True, execution_time=0.1 + number / 1000)
        told[name] = learners[number % 2].update_parameters(feedback, {"timeout": 30.0, "retries": 3})
        if number % 10 == 0:
            pool.exchange(learners[number % 2])
    for learner in learners:
        pool.exchange(learner)
    together = read(pool.state)
    assert {name: named.learner._evidence.calls for name, named in together._functions.items()} == {
        "often": 80,
        "seldom": 40,
    }
    assert together.update_parameters(ExecutionFeedback("often", "x", True, 0.1), told["often"])


# --- what is none ----------------------------------------------------------------------------------------------------


def _told() -> tuple[bytes, bytes]:
    learner = OnlineLearner(objective=WORTH)
    learner.update(steady(0, 90, hanging=0.1))
    state, told = learner.dump(), learner.contribution()
    assert told is not None
    return state, told


STATE, TOLD = _told()


@given(st.binary(max_size=300), st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=80, deadline=None)
def test_damaged_contributions_are_refused(garbage: bytes, place: int, byte: int) -> None:
    learner = OnlineLearner(objective=WORTH)
    before = learner.dump()
    damaged = bytearray(TOLD)
    damaged[place % len(damaged)] = byte
    for wrong in (garbage, TOLD[:8] + garbage, bytes(damaged)):
        if wrong != TOLD:
            with pytest.raises(ValueError, match="no contribution"):
                learner.merged(STATE, wrong)
    with pytest.raises(ValueError, match="no state"):
        learner.merged(TOLD, TOLD)
    assert learner.dump() == before


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_what_was_forged_within_is_refused_or_gives_a_state(place: int, bytes_: bytes) -> None:
    """The checksum fits, the contents do not."""
    inside = bytearray(zlib.decompress(TOLD[8:]))
    place %= len(inside)
    inside[place : place + len(bytes_)] = bytes_
    learner = OnlineLearner(objective=WORTH)
    try:
        state = learner.merged(STATE, TOLD[:8] + zlib.compress(bytes(inside)))
    except ValueError:
        return
    heir = read(state)
    heir.update(steady(1, 70))
    heir.suggest(LIVE)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FACTS = online_learner._sections(TOLD, online_learner._NEWS_MAGIC)[0][1]


@given(st.sampled_from(sorted(FACTS)), junk)
@settings(max_examples=200, deadline=None)
def test_forged_facts_are_refused_or_give_a_state(name: str, value: object) -> None:
    [(_, facts, blob)] = online_learner._sections(TOLD, online_learner._NEWS_MAGIC)
    text = json.dumps({**facts, name: value}).encode()
    body = online_learner._LENGTHS.pack(0, len(text), len(blob)) + text + blob
    learner = OnlineLearner(objective=WORTH)
    try:
        state = learner.merged(STATE, TOLD[:8] + zlib.compress(body))
    except ValueError:
        return
    heir = read(state)
    heir.update(steady(1, 70))
    heir.suggest(LIVE)


# --- the basic rule --------------------------------------------------------------------------------------------------


def failing(number: int) -> Execution:
    return call(number, Attempt(Outcome.ERROR, 0.1))


def test_rules_judge_ten_executions_of_all_once() -> None:
    pool, rules = Pool(), [BasicRule() for _ in range(5)]
    nudges = 0
    for number in range(100):
        rule = rules[number % 5]
        rule.update([failing(number)])
        pool.exchange(rule)
        nudges += rule.suggest({"timeout": 30.0, "retries": 0}) is not None
        pool.exchange(rule)
    assert nudges == 10


@given(st.binary(max_size=60), junk)
def test_what_is_no_contribution_to_a_rule_is_refused(garbage: bytes, value: object) -> None:
    rule = BasicRule()
    for wrong in (garbage, b"POETbac1" + garbage, b"POETbac1" + json.dumps([1, value, False]).encode()):
        try:
            state = rule.merged(None, wrong)
        except ValueError:
            continue
        rule.load(state)


# --- whether trouble is of our own making ----------------------------------------------------------------------------


def strained(learner: OnlineLearner) -> Strain:
    strain = learner._evidence.strain
    assert strain is not None
    return strain


def trouble(seed: int, n: int) -> list[Execution]:
    """Nearly all first attempts err, and so do most of the many retries."""
    dice = random.Random(seed)
    error = Attempt(Outcome.ERROR, 0.01)
    return [call(number, *[error] * 4) if dice.random() < 0.9 else steady(number, 1)[0] for number in range(n)]


def listening() -> OnlineLearner:
    """A learner that has begun to listen."""
    learner = OnlineLearner(objective=WORTH)
    learner.update(steady(0, 150))
    for execution in trouble(1, 100):
        learner.update([execution])
        if strained(learner).listening:
            return learner
    raise AssertionError("it does not listen")


def test_what_one_has_found_is_told_to_whoever_starts_later() -> None:
    finder, pool = OnlineLearner(objective=WORTH), Pool()
    finder.update(steady(0, 150))
    strained(finder).feared, strained(finder).allowed = True, 0.2
    pool.exchange(finder)
    late = read(pool.state, lambda: OnlineLearner(objective=WORTH))
    assert strained(late).feared
    assert strained(late).allowed == 0.2
    assert strained(late).quick == strained(finder).quick


def test_what_one_has_found_is_not_forgotten_when_others_tell_that_have_not() -> None:
    finder, other, pool = OnlineLearner(objective=WORTH), OnlineLearner(objective=WORTH), Pool()
    finder.update(steady(0, 150))
    strained(finder).feared = True
    other.update(steady(1, 150))
    strained(other).allowed = 0.8
    pool.exchange(finder)
    pool.exchange(other)
    assert strained(read(pool.state)).feared
    assert strained(read(pool.state)).allowed == strained(finder).allowed
    assert not strained(other).feared  # who has made experiments of its own goes on with these


def test_an_exchange_does_not_end_a_running_listening() -> None:
    """Others make a thousand calls meanwhile: it listens for as many calls of its own as it would alone."""
    alone, learner, other, pool = listening(), listening(), OnlineLearner(objective=WORTH), Pool()
    other.update(steady(5, 1000))
    pool.exchange(other)
    left = strained(learner).ends - learner._evidence.calls
    pool.exchange(learner)
    assert learner._evidence.calls > 1100
    assert strained(learner).listening
    assert learner.probe().calm
    assert strained(learner).ends - learner._evidence.calls == left
    still = {id(alone): 0, id(learner): 0}
    for each in (alone, learner):
        for execution in trouble(2, 400):
            if not strained(each).listening:
                break
            each.update([execution._replace(attempts=execution.attempts[:1])])
            still[id(each)] += 1
    assert still[id(alone)] == still[id(learner)] <= 400
    assert not strained(learner).listening


def test_a_listening_of_others_is_not_ours() -> None:
    listener, other, pool = listening(), OnlineLearner(objective=WORTH), Pool()
    other.update(steady(3, 100))
    pool.exchange(listener)
    pool.exchange(other)
    assert not strained(other).listening
    assert not other.probe().calm


def test_who_does_not_mind_load_understands_those_who_do_and_the_other_way_round() -> None:
    minding, careless = OnlineLearner(objective=WORTH), OnlineLearner(objective=WORTH, mind_load=False)
    for learner in (minding, careless):
        learner.update(steady(0, 90))
    told = [learner.contribution() for learner in (minding, careless)]
    for judge in (minding, careless):
        state: bytes | None = None
        for each in told:
            assert each is not None
            state = judge.merged(state, each)
        assert state is not None
        judge.load(state)
        assert judge._evidence.calls == 180
    assert careless._evidence.strain is None
    assert minding._evidence.strain is not None
