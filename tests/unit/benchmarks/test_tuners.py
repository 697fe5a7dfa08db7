from __future__ import annotations

import math
import random

import numpy as np
import pytest
from benchmarks.rivals import RIVALS, calls_to_near, life, quantiles
from benchmarks.tuners import AncestorBasic, AncestorStatistical, ExponentialWeights, HedgingRule, TwoPoint

from poet.model.execution import Attempt, Execution, Outcome
from poet.sim.evaluate import oracle_series
from poet.sim.scenarios import SCENARIOS


def test_two_points_estimate_the_gradient_of_a_quadratic() -> None:
    """Its mean over directions is the gradient times how it is scaled: exact for a quadratic, whatever delta is."""
    rng, peak = np.random.default_rng(0), np.asarray([0.3, 0.7, 0.5])
    centre = np.asarray([0.6, 0.4, 0.5])

    def value(w: np.ndarray) -> float:
        return 5.0 - float(((w - peak) ** 2).sum())

    estimates = []
    for _ in range(4000):
        solver = TwoPoint(centre, rng, eta=0.01, delta=0.1)
        ahead, behind = solver.point(), 2 * solver.centre - solver.point()
        # what it divides the difference by is taken out again
        estimates.append(max(value(ahead), value(behind)) * solver.gradient(value(ahead), value(behind)))
    found, error = np.mean(estimates, axis=0), np.std(estimates, axis=0) / math.sqrt(len(estimates))
    assert np.all(np.abs(found - 2.0 * (peak - centre)) < 5 * error)


def test_two_points_climb_to_the_peak_and_stay_inside() -> None:
    peak = np.asarray([0.25, 0.8])
    solver = TwoPoint(np.asarray([0.9, 0.1]), np.random.default_rng(1), eta=0.01, delta=0.1)
    for _ in range(4000):
        point = solver.point()
        assert np.all((point >= 0) & (point <= 1))
        solver.tell(1.0 - float(((point - peak) ** 2).sum()))
    assert solver.centre == pytest.approx(peak, abs=0.05)


def test_exponential_weights_come_to_choose_the_best() -> None:
    dice, weights = random.Random(0), ExponentialWeights(4, random.Random(1))
    last = []
    for t in range(20_000):
        chosen = weights.choose()
        weights.tell(float(dice.random() < (0.2, 0.3, 0.8, 0.1)[chosen]))
        if t >= 15_000:
            last.append(chosen)
    assert last.count(2) > 0.8 * len(last)


def call(seconds: float, outcome: Outcome = Outcome.SUCCESS, attempts: int = 1) -> Execution:
    return Execution("test", 0, 0.0, seconds, outcome, 1, (Attempt(outcome, seconds / attempts),) * attempts)


def test_the_hedging_rule_follows_the_quantiles() -> None:
    rule = HedgingRule(0.99, 1.5, 200, timeouts=False)
    for ms in range(1, 101):
        rule.observe(call(ms / 1000))
    rule.observe(call(9.0, Outcome.TIMEOUT))
    found = rule.parameters(0)
    assert found["timeout"] == pytest.approx(1.5 * 0.099)
    assert found["hedge_delay"] == pytest.approx(0.095)
    counting = HedgingRule(0.9999, 2.0, 200, timeouts=True)
    for ms in range(1, 101):
        counting.observe(call(ms / 1000))
    counting.observe(call(9.0, Outcome.TIMEOUT))
    assert counting.parameters(0)["timeout"] == 18.0


def test_the_first_poets_rules_do_what_was_measured_of_them() -> None:
    basic = AncestorBasic()
    for _ in range(40):
        basic.observe(call(1.0))
    assert basic.parameters(0)["timeout"] == 5.0
    basic.observe(call(90.0, Outcome.TIMEOUT, 4))
    assert basic.parameters(0)["retries"] == 4
    statistical, timeouts = AncestorStatistical(), []
    for _ in range(20):
        statistical.observe(call(2.0))
        timeouts.append(statistical.parameters(0)["timeout"])
    # a constant 2 s: momentum drives the timeout below it within 20 calls
    assert timeouts[4] == pytest.approx(15.6, abs=1.5)
    assert timeouts[19] == pytest.approx(1.0, abs=0.5)


def test_calls_to_near_asks_for_more_than_one_good_window() -> None:
    oracle = np.ones(5000)
    assert calls_to_near(np.full(5000, 0.96), oracle) == 0
    assert math.isinf(calls_to_near(np.full(5000, 0.9), oracle))
    late = np.where(np.arange(5000) < 2000, 0.5, 1.0)
    assert calls_to_near(late, oracle) == 1990
    lapse = np.where((np.arange(5000) > 300) & (np.arange(5000) < 800), 0.5, 1.0)
    assert calls_to_near(lapse, oracle) == 790


def test_quantiles_may_be_never() -> None:
    assert quantiles([0.0, 5.0, math.inf, math.inf], 0.5, 0.9) == "5 / never"


@pytest.mark.parametrize("rival", [name for name in RIVALS if name != "Optuna TPE"])
def test_every_peer_lives_through_a_scenario_twice_alike(rival: str) -> None:
    scenario = SCENARIOS["flaky20"]
    oracle = oracle_series(scenario, calls=120)
    one, other = (life(scenario, rival, 3, oracle, 120) for _ in range(2))
    assert one._replace(cpu=0.0) == other._replace(cpu=0.0) or math.isnan(one.improving)
    assert one.share == other.share
    assert 0.0 < one.share <= 1.0
