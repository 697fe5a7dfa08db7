"""Whether learning has come to its end: declared, told, kept, and taken back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from poet.errors import ConfigurationError
from poet.learning.online_learner import SETTLED, OnlineLearner, headline
from poet.model.objective import Objective
from poet.model.tunable import Value
from poet.sim.evaluate import oracle_series
from poet.sim.play import play
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned

LIVE: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}


class Watched(Learned):
    """Notes after each call whether learning has converged."""

    def __init__(self, learner: OnlineLearner, seed: int = 0) -> None:
        super().__init__(learner, LIVE, seed=seed)
        self.online = learner
        self.converged: list[bool | None] = []

    def observe(self, execution: object) -> None:
        super().observe(execution)  # type: ignore[arg-type]
        self.converged.append(self.online.converged)
        told = headline(self.online.dump()) if len(self.converged) % 50 == 0 else None
        assert told is None or told == (self.online.converged, self.online.listening)


@pytest.mark.parametrize("name", ["fast_api", "heavy_tail", "perm_heavy"])
def test_it_is_declared_where_next_to_nothing_is_left_to_win(name: str) -> None:
    """What is missed of the oracle while it holds is on average below twice what is not worth caring for."""
    scenario = SCENARIOS[name]
    policy = Watched(OnlineLearner(objective=scenario.objective, mind_load=False))
    record = play(scenario, policy, 0, 1500)
    assert policy.converged[: SETTLED - 1] == [None] * (SETTLED - 1)
    assert policy.converged[-1] is True
    declared = np.array([each is True for each in policy.converged])
    missed = (oracle_series(scenario, calls=1500) - record.expected)[declared & ~record.probed]
    assert missed.mean() < 0.02


def test_a_change_takes_it_back_and_it_comes_again() -> None:
    scenario = SCENARIOS["regime_shift"]
    policy = Watched(OnlineLearner(objective=scenario.objective))
    play(scenario, policy, 0)
    assert policy.converged[1499] is True
    assert False in policy.converged[1500:1700]
    assert True in policy.converged[1700:3499]
    assert False in policy.converged[3500:3700]


def test_a_low_threshold_is_reached_no_sooner_than_a_high_one() -> None:
    scenario = SCENARIOS["bimodal"]
    told = []
    for threshold in (0.0, 0.3):
        policy = Watched(OnlineLearner(objective=scenario.objective, convergence_threshold=threshold, mind_load=False))
        play(scenario, policy, 0, 500)
        told.append(sum(each is True for each in policy.converged))
    assert told[0] <= told[1]
    assert told[1] > 0
    with pytest.raises(ConfigurationError, match="convergence_threshold"):
        OnlineLearner(convergence_threshold=1.5)


def test_it_is_said_in_words_and_stays_with_the_state() -> None:
    scenario = SCENARIOS["fast_api"]
    policy = Watched(OnlineLearner(objective=scenario.objective))
    play(scenario, policy, 0, 1000)
    explanation = policy.online.explain(policy.live)
    assert explanation.converged is policy.online.converged is True
    assert any(line.startswith("Learning has converged") for line in explanation.sentences)
    heir = OnlineLearner(objective=scenario.objective)
    heir.load(policy.online.dump())
    assert heir.converged is True
    told = policy.online.contribution()
    assert told is not None
    pool = OnlineLearner(objective=scenario.objective)
    pool.load(pool.merged(None, told))
    assert pool.converged is True


def test_under_a_latency_target_and_of_other_states_it_is_not_known() -> None:
    learner = OnlineLearner(objective=Objective(latency_target=1.0))
    play(SCENARIOS["fast_api"], Learned(learner), 0, 300)
    assert learner.converged is None
    assert headline(learner.dump()) == (None, 0)
    assert headline(b"something else") is None
