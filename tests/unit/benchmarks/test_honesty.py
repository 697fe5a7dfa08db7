from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.honesty import alarms, binomial, moved, profile, t99
from benchmarks.ours import ours

from poet.sim.evaluate import oracle
from poet.sim.scenarios import SCENARIOS
from poet.sim.services import Mode, Plan, Service


def test_the_best_of_a_profile_is_the_oracles() -> None:
    scenario, plan = SCENARIOS["bimodal"], Plan(1.0, 2, 0.1)
    best = oracle(scenario, 0, hedging=False, backoff=0.1)
    for parameter in ("timeout", "retries"):
        values, worth = profile(scenario.at(0), scenario.objective, ("retries", "timeout"), parameter, plan)
        assert worth.max() == pytest.approx(best.utility)
        assert values[worth.argmax()] == pytest.approx(getattr(best.plan, parameter))


def test_what_is_not_tuned_stays_as_it_is() -> None:
    scenario = SCENARIOS["bimodal"]
    _, free = profile(scenario.at(0), scenario.objective, ("retries", "timeout"), "timeout", Plan(1.0, 0, 0.1))
    _, bound = profile(scenario.at(0), scenario.objective, ("timeout",), "timeout", Plan(1.0, 0, 0.1))
    assert np.all(bound <= free + 1e-12)
    assert bound.max() < free.max()


def test_t99_of_a_log_normal_is_its_quantile() -> None:
    service = Service((Mode(1.0, 0.2, 0.5),))
    assert t99(service, Plan(30.0, 0)) == pytest.approx(0.2 * math.exp(2.326 * 0.5), rel=0.05)
    assert math.isinf(t99(service, Plan(0.3, 0)))


def test_the_binomial_interval_holds_the_share() -> None:
    low, high = binomial(90, 100)
    assert 0.83 < low < 0.9 < high < 0.95
    assert binomial(10, 10)[1] == pytest.approx(1.0)


def test_a_new_learner_has_sounded_no_alarm_and_a_great_change_is_heard() -> None:
    scenario = SCENARIOS["fast_api"]
    assert alarms(ours(scenario.objective, 0)) == 0
    assert moved(304, 10.0, 0, calls=200).delay < 200
