"""What a service was like before it changed: kept, known again, taken up, unlearned, stored and shared."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from poet.learning import regimes
from poet.learning.online_learner import OnlineLearner
from poet.learning.states import CELLS, empty
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Value
from poet.testing.learners import MOST_BYTES, Learned

OBJECTIVE = Objective(latency_cost=0.08, attempt_cost=0.04)
Service = Mapping[str, float]
QUICK: Service = {"median": 0.2, "error": 0.01, "tail": 0.0}
SLOW: Service = {"median": 3.0, "error": 0.01, "tail": 0.0}
ERRING: Service = {"median": 0.2, "error": 0.25, "tail": 0.0}
TAILED: Service = {"median": 0.2, "error": 0.01, "tail": 0.2}  # as quick as QUICK but for a fifth of the answers


def call(live: Mapping[str, object], service: Service, number: int, seed: int) -> Execution:
    dice = random.Random(seed * 1_000_003 + number)
    timeout, retries = float(str(live["timeout"])), int(str(live["retries"])) + int(str(live.get("extra_retry", 0)))
    timeout *= float(str(live.get("limit_stretch", 1.0)))
    attempts = []
    for _ in range(retries + 1):
        seconds = service["median"] * math.exp(0.5 * dice.gauss(0, 1)) * (30 if dice.random() < service["tail"] else 1)
        if dice.random() < service["error"]:
            attempts.append(Attempt(Outcome.ERROR, 0.05))
        elif seconds > timeout or dice.random() < service.get("hang", 0.0):
            attempts.append(Attempt(Outcome.TIMEOUT, timeout))
        else:
            attempts.append(Attempt(Outcome.SUCCESS, seconds))
            break
    total = sum(attempt.seconds for attempt in attempts)
    return Execution("regimes", number, 1e9 + number, total, attempts[-1].outcome, 1, tuple(attempts))


def learner(seed: int = 0, *, recall: bool = True, objective: Objective = OBJECTIVE) -> OnlineLearner:
    return OnlineLearner(objective=objective, mind_load=False, recall=recall, seed=seed)


def through(policy: Learned, legs: Sequence[Service], calls: int = 400, *, seed: int = 0) -> Iterator[int]:
    """Let it live through them; gives the number of each call made."""
    for place, service in enumerate(legs):
        for number in range(place * calls, (place + 1) * calls):
            policy.observe(call(policy.parameters(number), service, number, seed))
            yield number


def lived(legs: Sequence[Service], calls: int = 400, *, seed: int = 0) -> Learned:
    policy = Learned(learner(seed), seed=seed)
    for _ in through(policy, legs, calls, seed=seed):
        pass
    return policy


def kept(policy: Learned) -> tuple[regimes.Regime, ...]:
    found = policy.learner._evidence._regimes  # type: ignore[attr-defined]
    return () if found is None else found.kept


@given(arrays.arrays(float, CELLS, elements=st.floats(0, 250)))
def test_a_table_comes_back_to_two_per_cent_and_within_its_room(
    table: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    stored = regimes.packed(table)
    back = regimes.table_of(stored)
    assert len(stored) <= 3 * regimes.CELLS_KEPT
    assert regimes.packed(back) == stored
    some = back > 0
    assert back[some] == pytest.approx(table[some], rel=0.025, abs=0.025)


def test_beliefs_come_back_to_a_tenth_of_a_nat() -> None:
    state = empty()
    assert regimes.Beliefs.of(state) == regimes.Beliefs()
    moved = state._replace(errors=state.errors + np.linspace(0, 9, state.errors.size).reshape(state.errors.shape))
    back = regimes.Beliefs.of(moved).into(state)
    assert back.errors == pytest.approx(moved.errors - moved.errors.max(), abs=0.051)
    assert back.repeats is state.repeats


@pytest.mark.parametrize("other", [SLOW, ERRING], ids=["slow", "erring"])
@pytest.mark.parametrize("seed", range(3))
def test_a_service_that_goes_back_and_forth_is_known_again(other: Service, seed: int) -> None:
    policy = Learned(learner(seed), seed=seed)
    known: dict[int, int] = {}
    for number in through(policy, [QUICK, other, QUICK, other], 600, seed=seed):
        found = policy.learner.recalled  # type: ignore[attr-defined]
        if found is not None:
            known[found.call] = found.last
        assert len(kept(policy)) <= regimes.MOST, number
    back = [last for at, last in known.items() if 1200 < at <= 1800]
    again = [last for at, last in known.items() if 1800 < at <= 2400]
    assert back
    assert again or other is ERRING  # to more errors it may also get used without an alarm
    legs = [(last - 40) // 600 % 2 for last in (*back[-1:], *again[-1:])]
    # which errors are meant is told by a few calls only: one in five is mistaken at first, see the benchmark
    assert legs == [0, 1][: len(legs)] or other is ERRING


def test_the_reason_and_the_explanation_say_so() -> None:
    policy = Learned(learner())
    for _ in through(policy, [{**QUICK, "hang": 0.05}, {**SLOW, "hang": 0.05}] * 3, 400):
        pass
    reasons = [said.reason for _, said in policy.said]
    assert any("it is as it was before, up to call" in reason for reason in reasons), reasons
    assert any("is as it was before, up to call" in line for line in policy.learner.explain(policy.live).sentences)


def test_regimes_that_are_alike_are_one() -> None:
    """Eight switches between two leave two; a slow drift over a factor of 30 leaves no more than there is room for."""
    assert 1 <= len(kept(lived([QUICK, SLOW] * 4, 350))) <= 3
    drifting = [{**QUICK, "median": 0.2 * 1.05**step} for step in range(70)]
    assert len(kept(lived(drifting, 40))) <= regimes.MOST


def test_what_only_resembles_a_regime_is_unlearned() -> None:
    """After 400 calls the tail that sets it apart is seen, whether it was mistaken for the other or not."""
    for seed in range(3):
        policy = lived([QUICK, SLOW, TAILED], 400, seed=seed)
        latency = policy.learner.explain(policy.live).latency
        quick = lived([QUICK], 400, seed=seed)
        assert latency.get(0.9, math.inf) > 2 * quick.learner.explain(quick.live).latency[0.9]


def test_it_stays_small_and_survives_being_stored_at_any_time() -> None:
    policy = Learned(learner(), seed=0)
    for number in through(policy, [QUICK, SLOW, ERRING, {**SLOW, "error": 0.2}, TAILED, QUICK], 200):
        if number % 50 == 49:
            state = policy.learner.dump()
            assert len(state) <= MOST_BYTES
            heir = learner()
            heir.load(state)
            assert heir.dump() == state
            assert heir.recalled == policy.learner.recalled  # type: ignore[attr-defined]
    assert len(pickle.dumps(policy.learner)) <= MOST_BYTES


def test_who_does_without_reads_the_state_and_leaves_them() -> None:
    state = lived([QUICK, SLOW], 300).learner.dump()
    without = learner(recall=False)
    without.load(state)
    assert without.recalled is None
    assert without._evidence._regimes is None
    assert without.explain({"timeout": 30.0, "retries": 3}).executions == 600


@pytest.mark.parametrize(
    "wrong", [{"cells": [999, 0]}, {"cells": [1, 1]}, {"last": [3]}, {"beliefs": []}, {"calm": -1}, {"recalled": [1]}]
)
def test_what_is_no_regime_is_refused(wrong: Mapping[str, object]) -> None:
    facts, blob = regimes.Regimes().dump()
    assert regimes.Regimes.of(facts, blob) == (regimes.Regimes(), 0)
    with pytest.raises((ValueError, TypeError, KeyError)):
        regimes.Regimes.of({**facts, **wrong}, blob)


def test_a_fleet_knows_a_regime_again_by_what_all_have_seen() -> None:
    """Four processes that exchange every ten calls; one of them joins when the first regime is long gone."""
    live: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
    members, state, number = [learner(seed) for seed in range(4)], None, 0
    seen: dict[int, int] = {}
    for place, service in enumerate([QUICK, SLOW, QUICK]):
        if place == 2:
            members[0] = learner(9)
            assert state is not None
            members[0].load(state)
        for _ in range(12):
            for member in members:
                for _ in range(10):
                    member.update([call(live, service, number, 0)])
                    member.suggest(live)
                    number += 1
                told = member.contribution()
                assert told is not None
                state = member.merged(state, told)
                member.load(state)
                if member.recalled is not None:
                    seen[member.recalled.call] = member.recalled.last
    assert any(at > 960 and last <= 500 for at, last in seen.items()), seen
