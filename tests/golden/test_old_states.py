"""States that earlier releases stored are read by this one, and mean the same."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from poet.learning.online_learner import OnlineLearner
from poet.model.tunable import Integer, Real, Space
from poet.sim.play import play
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned

KEPT: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("states_before_hedging.json").read_text(encoding="utf-8")
)["states"]
DELAY = Real(0.001, 120.0, log=True)
SPACE = Space(timeout=DELAY, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=DELAY)


@pytest.mark.parametrize("name", KEPT)
def test_a_state_from_before_hedges_is_read_and_written_as_it_was(name: str) -> None:
    kept = KEPT[name]
    state = base64.b64decode(kept["state"])
    learner = OnlineLearner(objective=SCENARIOS[name].objective, seed=0)
    learner.load(state)
    assert learner.dump() == state
    explanation = learner.explain(kept["live"])
    assert explanation.executions == kept["calls"]
    assert {str(share): seconds for share, seconds in explanation.latency.items()} == pytest.approx(kept["latency"])


@pytest.mark.parametrize("name", KEPT)
def test_a_function_that_may_hedge_since_goes_on_from_there(name: str) -> None:
    kept = KEPT[name]
    learner = OnlineLearner(objective=SCENARIOS[name].objective, space=SPACE, seed=0)
    learner.load(base64.b64decode(kept["state"]))
    assert learner.explain(kept["live"]).executions == kept["calls"]
    policy = Learned(learner, {**kept["live"], "hedges": 0, "hedge_delay": 30.0}, seed=0)
    play(SCENARIOS[name], policy, 0, 100)
    assert learner.explain(policy.live).executions == kept["calls"] + 100
