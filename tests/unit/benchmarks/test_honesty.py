from __future__ import annotations

import math

import pytest
from benchmarks.honesty import alarms, binomial, moved, profile, t99
from benchmarks.ours import ours

from poet.sim.evaluate import evaluate
from poet.sim.scenarios import SCENARIOS
from poet.sim.services import Mode, Plan, Service


@pytest.mark.parametrize("parameter", ["timeout", "retries", "backoff", "hedge_delay"])
def test_a_profile_is_what_each_value_is_worth(parameter: str) -> None:
    scenario, plan = SCENARIOS["sticky_err"], Plan(1.3, 2, 0.4, 0.7)
    values, worth = profile(scenario.at(0), scenario.objective, parameter, plan)
    for value, each in list(zip(values.tolist(), worth.tolist(), strict=True))[::7]:
        changed = plan._replace(**{parameter: int(value) if parameter == "retries" else value})
        assert each == pytest.approx(evaluate(scenario.at(0), changed).utility(scenario.objective))


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
