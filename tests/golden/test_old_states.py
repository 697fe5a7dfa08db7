"""States that earlier releases stored are read by this one, and mean the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from poet.learning.notes import RECENT
from poet.learning.online_learner import OnlineLearner
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.hedging import Workload, live
from poet.sim.play import play
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned


def kept(name: str) -> dict[str, dict[str, Any]]:
    states: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))["states"]
    return states


BEFORE_HEDGING = kept("states_before_hedging.json")
BEFORE_STRAIN = kept("states_before_strain.json")
WORKLOADS = {"stragglers": Workload(calls=1500), "slow by call": Workload(calls=600, by_call=True)}
DELAY = Real(0.001, 120.0, log=True)
SPACE = Space(timeout=DELAY, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=DELAY)
LIVE: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1, "hedges": 0, "hedge_delay": 30.0}


def hedging() -> OnlineLearner:
    return OnlineLearner(space=SPACE, declared=LIVE, hedge_budget=0.074, seed=0)


def learner_of(name: str) -> OnlineLearner:
    return hedging() if name in WORKLOADS else OnlineLearner(objective=SCENARIOS[name].objective, seed=0)


def says_the_same(learner: OnlineLearner, facts: Mapping[str, Any]) -> None:
    """As when it was stored, and so does whoever reads what it stores itself.

    To 0.5 %: the calls that waited there to be folded in, at most a block, are folded in by the rules of today.
    """
    for _ in range(2):
        explanation = learner.explain(facts["live"])
        assert explanation.executions == facts["calls"]
        assert {str(share): seconds for share, seconds in explanation.latency.items()} == pytest.approx(
            facts["latency"], rel=0.005
        )
        state = learner.dump()
        learner.load(state)
        assert learner.dump() == state


@pytest.mark.parametrize("name", BEFORE_HEDGING)
def test_a_state_from_before_hedges_is_read_and_says_the_same(name: str) -> None:
    learner = learner_of(name)
    learner.load(base64.b64decode(BEFORE_HEDGING[name]["state"]))
    says_the_same(learner, BEFORE_HEDGING[name])


@pytest.mark.parametrize("name", BEFORE_HEDGING)
def test_a_function_that_may_hedge_since_goes_on_from_there(name: str) -> None:
    facts = BEFORE_HEDGING[name]
    learner = OnlineLearner(objective=SCENARIOS[name].objective, space=SPACE, seed=0)
    learner.load(base64.b64decode(facts["state"]))
    assert learner.explain(facts["live"]).executions == facts["calls"]
    policy = Learned(learner, {**facts["live"], "hedges": 0, "hedge_delay": 30.0}, seed=0)
    play(SCENARIOS[name], policy, 0, 100)
    assert learner.explain(policy.live).executions == facts["calls"] + 100


@pytest.mark.parametrize("name", BEFORE_STRAIN)
def test_a_state_from_before_extra_requests_were_minded_is_read_and_says_the_same(name: str) -> None:
    facts = BEFORE_STRAIN[name]
    learner = learner_of(name)
    learner.load(base64.b64decode(facts["state"]))
    says_the_same(learner, facts)
    assert learner.explain(facts["live"]).failures == pytest.approx(facts["failures"], abs=0.01)
    if name in WORKLOADS:
        assert len(learner._evidence.durations().seconds) == min(facts["marks"], RECENT)
        assert list(learner._evidence._spent) == pytest.approx(facts["spent"])


@pytest.mark.parametrize("name", BEFORE_STRAIN)
def test_it_goes_on_from_there_within_bounds_and_keeps_what_it_knew(name: str) -> None:
    """A hundred further calls of the same service, and the values stay near those that were learned before."""
    facts = BEFORE_STRAIN[name]
    learner = learner_of(name)
    learner.load(base64.b64decode(facts["state"]))
    policy = Learned(learner, facts["live"], seed=0)
    if name in WORKLOADS:
        live(WORKLOADS[name]._replace(calls=100), policy, 1)
        assert bool(policy.live["hedges"]) == bool(facts["live"]["hedges"])
    else:
        play(SCENARIOS[name], policy, 1, 100)
    explanation = learner.explain(policy.live)
    assert explanation.executions > facts["calls"] + 50
    assert explanation.latency[0.5] == pytest.approx(facts["latency"]["0.5"], rel=0.25)
    for _, said in policy.said:
        SPACE.check({key: value for key, value in said.values.items() if key in SPACE})
