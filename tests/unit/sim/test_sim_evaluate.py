from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model.objective import Objective
from poet.sim.evaluate import (
    BACKOFFS,
    HEDGE_DELAYS,
    RETRIES,
    TIMEOUTS,
    evaluate,
    expected_utility,
    mean_field,
    oracle,
    oracle_series,
    outlooks,
)
from poet.sim.scenarios import SCENARIOS, START, Scenario, random_service
from poet.sim.services import Mode, Plan, Service

scenarios = st.integers(0, 199).map(random_service)
services = scenarios.map(lambda scenario: scenario.service(0))
times = st.floats(math.log(0.01), math.log(60.0)).map(math.exp)
plans = st.builds(Plan, times, st.integers(0, 6), st.sampled_from((0.0, 0.1, 1.0, 4.0)), st.one_of(st.just(0.0), times))


@settings(max_examples=60, deadline=None)
@given(services, plans)
def test_an_outlook_stays_within_what_a_plan_allows(service: Service, plan: Plan) -> None:
    outlook = evaluate(service, plan)
    pauses = sum(plan.longest_pause(k) for k in range(1, plan.retries + 1))
    assert -1e-12 <= outlook.success <= 1.0 + 1e-12
    assert 0.0 < outlook.seconds <= (plan.retries + 1) * plan.timeout + pauses / 2.0 + 1e-9
    assert -1e-12 <= outlook.extra <= plan.retries + plan.hedged * (plan.retries + 1) + 1e-9


@settings(max_examples=40, deadline=None)
@given(services, plans)
def test_a_further_retry_never_lowers_success_and_always_costs(service: Service, plan: Plan) -> None:
    everything = outlooks(service, (plan.timeout,), (plan.backoff,), 6, plan.hedge_delay)
    assert all((np.diff(figure[0, 0]) >= -1e-12).all() for figure in everything)


@settings(max_examples=40, deadline=None)
@given(scenarios, plans, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_utility_falls_with_each_cost(scenario: Scenario, plan: Plan, more_attempt: float, more_latency: float) -> None:
    outlook, objective = evaluate(scenario.service(0), plan), scenario.objective
    usual = outlook.utility(objective)
    assert outlook.utility(replace(objective, attempt_cost=objective.attempt_cost + more_attempt)) <= usual + 1e-12
    dearer = replace(objective, latency_cost=(objective.latency_cost or 0.0) + more_latency)
    assert outlook.utility(dearer) <= usual + 1e-12


@settings(max_examples=40, deadline=None)
@given(services, plans, st.floats(0.1, 10.0))
def test_the_unit_of_time_does_not_matter(service: Service, plan: Plan, unit: float) -> None:
    plan = plan._replace(backoff=0.0)  # a backoff has a cap in seconds
    scaled = replace(
        service.slowed(unit),
        error_latency=service.error_latency._replace(median=unit * service.error_latency.median),
        persistence=unit * service.persistence,
    )
    one = evaluate(service, plan)
    other = evaluate(scaled, plan._replace(timeout=unit * plan.timeout, hedge_delay=unit * plan.hedge_delay))
    assert other == pytest.approx((one.success, unit * one.seconds, one.extra), rel=1e-4, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(services, times, st.integers(0, 3))
def test_a_copy_sent_at_the_last_moment_changes_nothing(service: Service, timeout: float, retries: int) -> None:
    late = evaluate(service, Plan(timeout, retries, 0.1, timeout * (1 - 1e-7)))
    none = evaluate(service, Plan(timeout, retries, 0.1))
    assert late[:2] == pytest.approx(none[:2], rel=1e-4, abs=1e-4)
    assert late.extra >= none.extra - 1e-9


@settings(max_examples=30, deadline=None)
@given(services, times, times)
def test_where_nothing_errs_a_copy_only_helps(service: Service, timeout: float, delay: float) -> None:
    service = replace(service, error=0.0, permanent=0.0)
    hedged, plain = evaluate(service, Plan(timeout, 0, 0.0, delay)), evaluate(service, Plan(timeout, 0))
    assert hedged.success >= plain.success - 1e-9
    assert hedged.seconds <= plain.seconds * (1 + 1e-6)


def test_one_attempt_follows_the_textbook() -> None:
    service = Service((Mode(1.0, 2.0, 0.5),), hang=0.1, error=0.2, error_latency=Mode(1.0, 1.0, 0.5))
    seconds = np.arange(0.5, 300_000) * 1e-5  # a midpoint sum, 10 microseconds wide
    z = lambda x: np.asarray([0.5 * math.erfc(-y / math.sqrt(2)) for y in np.log(x) / 0.5])  # noqa: E731
    pending = 0.8 * (1 - 0.9 * z(seconds / 2.0)) + 0.2 * (1 - z(seconds))
    outlook = evaluate(service, Plan(3.0, 0))
    assert outlook.success == pytest.approx(0.8 * 0.9 * float(z(np.asarray([1.5]))[0]), rel=1e-12)
    assert outlook.seconds == pytest.approx(pending.sum() * 1e-5, rel=1e-8)
    assert outlook.extra == 0.0


def test_independent_retries_multiply_failures() -> None:
    service = Service((Mode(1.0, 1.0, 0.5),), error=0.3)
    once = evaluate(service, Plan(1.5, 0)).success
    assert evaluate(service, Plan(1.5, 4, 1.0)).success == pytest.approx(1 - (1 - once) ** 5)


def test_no_retry_mends_a_permanent_error() -> None:
    service = Service((Mode(1.0, 0.1, 0.3),), permanent=0.4)
    assert evaluate(service, Plan(30.0, 6)).success == pytest.approx(0.6)
    assert evaluate(service, Plan(30.0, 6, 0.0, 0.01)).success == pytest.approx(0.6)


def test_a_slow_input_is_slow_again() -> None:
    service = Service((Mode(1.0, 0.05, 0.3),), work=((0.7, 1.0), (0.3, 30.0)))
    assert evaluate(service, Plan(0.3, 6, 0.0, 0.1)).success == pytest.approx(0.7, abs=1e-3)


def test_waiting_pays_where_errors_persist() -> None:
    service = SCENARIOS["sticky_err"].service(0)
    hasty, patient = (evaluate(service, Plan(30.0, 3, backoff)).success for backoff in (0.05, 4.0))
    assert hasty < 0.95 < 0.98 < patient


def test_a_grid_says_the_same_as_each_of_its_plans() -> None:
    service = SCENARIOS["fast_api"].service(0)
    timeouts, backoffs = (2.0, 0.1, 0.3), (0.0, 0.5)
    grid = outlooks(service, timeouts, backoffs, 3, 0.2)
    for i, timeout in enumerate(timeouts):
        for b, backoff in enumerate(backoffs):
            for r in range(4):
                alone = evaluate(service, Plan(timeout, r, backoff, 0.2))
                assert [float(x[i, b, r]) for x in grid] == pytest.approx(list(alone), abs=1e-7)


def test_a_kept_evaluation_is_off_by_its_rounding_only() -> None:
    for scenario in (SCENARIOS["bimodal"], SCENARIOS["corr_input"]):
        for plan in (Plan(0.1234, 5, 0.321), Plan(1.7, 2, 0.05, 0.77)):
            exact = evaluate(scenario.service(0), plan).utility(scenario.objective)
            assert expected_utility(scenario, 0, plan) == pytest.approx(exact, abs=1e-3)


def test_the_oracle_leaves_no_plan_of_its_grid_better() -> None:
    scenario = SCENARIOS["heavy_tail"]
    best = oracle(scenario, 0)
    rng = np.random.default_rng(5)
    assert evaluate(scenario.service(0), best.plan).utility(scenario.objective) == pytest.approx(best.utility, abs=1e-7)
    for _ in range(300):
        plan = Plan(
            float(rng.choice(TIMEOUTS)), int(rng.integers(RETRIES + 1)), float(rng.choice(BACKOFFS)),
            float(rng.choice(HEDGE_DELAYS)),
        )  # fmt: skip
        assert evaluate(scenario.service(0), plan).utility(scenario.objective) <= best.utility + 1e-7


def test_an_oracle_with_less_freedom_is_no_better() -> None:
    for name in ("fast_api", "sticky_err", "perm_heavy"):
        full, plain, bound = (
            oracle(SCENARIOS[name], 0),
            oracle(SCENARIOS[name], 0, hedging=False),
            oracle(SCENARIOS[name], 0, hedging=False, backoff=0.1),
        )
        assert full.utility >= plain.utility >= bound.utility
        assert plain.plan.hedge_delay == 0.0
        assert bound.plan.backoff == 0.1


def test_the_oracle_follows_a_change() -> None:
    scenario = SCENARIOS["regime_shift"]
    series = oracle_series(scenario, hedging=False)
    assert len(series) == 5000
    assert len(set(series.tolist())) == 2
    assert oracle(scenario, 0, hedging=False).plan.timeout < oracle(scenario, 2000, hedging=False).plan.timeout


def test_in_an_overload_a_plan_pays_for_the_load_that_it_makes() -> None:
    overload = SCENARIOS["overload"]
    eager, modest = mean_field(overload, Plan(0.5, 5, 0.0)), mean_field(overload, Plan(10.0, 0, 0.0))
    assert eager[0] > eager[1000]
    assert modest.mean() > 0.8 > eager.mean()
    best = oracle(overload, 0, hedging=False)
    assert oracle_series(overload, hedging=False).mean() >= mean_field(overload, START).mean()
    assert mean_field(overload, best.plan).mean() >= modest.mean()


def test_a_mean_field_needs_an_overload() -> None:
    with pytest.raises(ValueError, match="fast_api has no overload"):
        mean_field(SCENARIOS["fast_api"], START)


def test_a_utility_needs_a_known_latency_cost() -> None:
    with pytest.raises(ConfigurationError, match="latency_cost is not known yet"):
        evaluate(SCENARIOS["bimodal"].service(0), START).utility(Objective())


def test_a_plan_out_of_range_is_not_evaluated() -> None:
    with pytest.raises(ValueError, match="timeout must be > 0"):
        evaluate(SCENARIOS["bimodal"].service(0), Plan(-1.0, 0))
