"""``StatisticalOnlineLearner`` lives through services: a short form of ``benchmarks/methods.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from poet.learning.online_learner import ExecutionFeedback, StatisticalOnlineLearner
from poet.model.execution import Execution
from poet.model.objective import Objective
from poet.sim.evaluate import oracle_series
from poet.sim.play import Fixed, play, regret
from poet.sim.scenarios import SCENARIOS

CALLS = 600


class Told:
    """The learner as a policy: it is told the attempts of every call."""

    def __init__(self, objective: Objective, seed: int) -> None:
        self.learner = StatisticalOnlineLearner(objective=objective, seed=seed)
        self.values: dict[str, Any] = {"timeout": 30.0, "retries": 3}

    def parameters(self, t: int) -> Mapping[str, object]:
        return {**self.values, "backoff": 0.1}

    def observe(self, execution: Execution) -> None:
        told = ExecutionFeedback(
            "f", "", execution.outcome.good, execution.seconds, output_quality=1.0, attempts=execution.attempts
        )
        self.values = self.learner.update_parameters(told, self.values)


@pytest.mark.parametrize(
    ("name", "share"), [("fast_api", 0.3), ("heavy_tail", 0.2), ("flaky20", 0.6), ("slow_llm", 1.0)]
)
def test_it_regrets_less_than_whoever_keeps_the_defaults(name: str, share: float) -> None:
    """Mean of 3 seeds; the benchmark's figures at 20 seeds lie at two thirds of these bars or below."""
    scenario = SCENARIOS[name]
    oracle = oracle_series(scenario, hedging=False, backoff=0.1, calls=CALLS)
    ours = fixed = 0.0
    for seed in range(3):
        ours += float(regret(play(scenario, Told(scenario.objective, seed), seed, CALLS), oracle)[-1])
        fixed += float(regret(play(scenario, Fixed(30.0, 3, 0.1), seed, CALLS), oracle)[-1])
    assert ours < share * fixed
