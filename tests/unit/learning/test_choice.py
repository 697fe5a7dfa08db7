"""What is chosen of all four parameters: the backoff by how long errors last, all within bounds and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.restart import Outlook
from poet.learning import choice
from poet.learning.choice import Hedging, Limits, Wish, decide
from poet.learning.evidence import Evidence
from poet.learning.folding import Picture
from poet.learning.guesses import Plan, mean_world, scored
from poet.learning.online_learner import BACKOFFS, SPACE, OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Real, Space, Value
from poet.sim.play import play
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned

WORTH = Objective(latency_cost=0.1, attempt_cost=0.02)
WISH = Wish(WORTH, None, derived=False)
LIVE = Plan(30.0, 3, 0.1)
WIDE = Limits(0.001, 120.0, 0, 5, BACKOFFS, 8.0)


def picture(
    seed: int = 0, *, hang: float = 0.03, error: float = 0.1, lasting: float = 0.0, calls: int = 500
) -> Picture:
    """Of a service whose attempts take about 0.3 s, hang, or err; an error lasts ``lasting`` seconds, exponentially."""
    evidence, dice = Evidence(), np.random.default_rng(seed)

    def attempts() -> Iterator[Attempt]:
        waited, left = 0.0, 0.0
        for retry in range(5):
            left -= waited
            if left > 0 or dice.random() < error:
                left = left if left > 0 else float(dice.exponential(lasting)) if lasting else 0.0
                yield Attempt(Outcome.ERROR, 0.01, waited)
            elif dice.random() < hang:
                yield Attempt(Outcome.TIMEOUT, 10.0, waited)
            else:
                yield Attempt(Outcome.SUCCESS, float(dice.lognormal(-1.2, 0.4)), waited)
                return
            waited = float(dice.uniform(0, 0.2 * 2**retry))

    for number in range(calls):
        made = tuple(attempts())
        evidence.observe([Execution("w", number, 0.0, 1.0, made[-1].outcome, 1, made)])
    return evidence.picture()


def chosen(seen: Picture, live: Plan = LIVE, limits: Limits = WIDE, wish: Wish = WISH, seed: int = 1) -> Plan:
    """What is live in the end, where nothing more is learned."""
    for turn in range(6):
        verdict = decide(
            seen,
            live,
            limits,
            wish,
            gate=0.9,
            retried=100.0,
            reach=30.0,
            seen=500,
            fresh=500,
            dice=lambda turn=turn: np.random.default_rng((seed, turn)),  # type: ignore[misc]
        )
        if verdict.decision is None:
            break
        live = verdict.decision.plan
    return live


# --- the backoff ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_errors_last_the_pauses_get_long(seed: int) -> None:
    """Two seconds. (By seed 0 all is left as declared: its pauses, 0.7 s in sum, cannot tell two seconds from ever.)"""
    scenario = SCENARIOS["sticky_err"]
    policy = Learned(OnlineLearner(objective=scenario.objective, space=_with(Real(0.01, 8.0, log=True)), seed=seed))
    play(scenario, policy, seed, 1500)
    assert 0.5 <= float(policy.live["backoff"]) <= 4.0
    reasons = [said.estimates["backoff"] for _, said in policy.said if "backoff" in said.estimates]
    assert reasons
    assert all(each.low <= each.high for each in reasons)


@pytest.mark.parametrize("seed", [0, 1])
def test_where_errors_pass_at_once_nobody_pauses(seed: int) -> None:
    scenario = SCENARIOS["flaky20"]
    policy = Learned(OnlineLearner(objective=scenario.objective, space=_with(Real(0.01, 8.0, log=True)), seed=seed))
    play(scenario, policy, seed, 800)
    assert policy.live["backoff"] == BACKOFFS[0]


def _with(backoff: Real) -> Space:
    return Space(**SPACE, backoff=backoff)


def test_the_longer_errors_last_the_longer_is_paused() -> None:
    found = [chosen(picture(lasting=lasting, calls=1500)).backoff for lasting in (0.0, 0.15, 1.5)]
    assert found == sorted(found)
    assert found[0] == BACKOFFS[0]
    assert found[-1] >= 0.5


@pytest.mark.parametrize("bounds", [(0.2, 0.6), (0.3, 0.4), (0.01, 0.02), (2.0, 8.0), (9.0, 20.0)])
@pytest.mark.parametrize("name", ["sticky_err", "flaky20"])
def test_the_bounds_of_the_backoff_are_hard(bounds: tuple[float, float], name: str) -> None:
    """Where none of the usual values lies within, the live one stays."""
    scenario, space = SCENARIOS[name], _with(Real(*bounds))
    live: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": bounds[0]}
    policy = Learned(OnlineLearner(objective=scenario.objective, space=space, declared=live), live)
    play(scenario, policy, 0, 400)
    for _, said in policy.said:
        assert bounds[0] <= float(said.values["backoff"]) <= bounds[1]
        assert float(said.values["backoff"]) in (*BACKOFFS, bounds[0])


def test_a_backoff_that_is_not_tuned_stays() -> None:
    scenario = SCENARIOS["heavy_tail"]  # where a timeout of 30 s never holds for long
    policy = Learned(OnlineLearner(objective=scenario.objective))
    play(scenario, policy, 1, 600)
    assert policy.said
    assert {said.values["backoff"] for _, said in policy.said} == {0.1}


# --- bounds -----------------------------------------------------------------------------------------------------------


@given(
    st.floats(0.001, 100.0),
    st.floats(1.0, 50.0),
    st.integers(0, 5),
    st.integers(0, 3),
    st.builds(
        Plan,
        st.floats(0.002, 200.0),
        st.integers(0, 8),
        st.sampled_from([0.0, 0.1, 0.3, 20.0]),
        st.just(0),
        st.just(0.0),
    ),
    st.sampled_from([None, (0, 0.0), (1, 0.05), (2, 3.0)]),
    st.sampled_from([None, Hedging(0.01, 5.0, 0, 2), Hedging(0.5, 0.6, 1, 1)]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_live_what_is_chosen_lies_within_the_bounds(
    low: float, ratio: float, fewest: int, more: int, live: Plan, way: tuple[int, float] | None, hedging: Hedging | None
) -> None:
    """``ratio`` 1 fixes the timeout, and ``more`` 0 the retries; the live plan may lie anywhere."""
    live = live if way is None else live._replace(hedges=way[0], hedge_delay=way[1])
    limits = Limits(low, low * ratio, fewest, fewest + more, (0.05, 0.5), 8.0, hedging)
    seen = _SEEN[0]
    verdict = decide(
        seen,
        live,
        limits,
        WISH,
        gate=0.9,
        retried=100.0,
        reach=30.0,
        seen=500,
        fresh=500,
        dice=lambda: np.random.default_rng(3),
    )
    if verdict.decision is None:
        return
    plan = verdict.decision.plan
    assert limits.low <= plan.timeout <= limits.high
    assert limits.fewest <= plan.retries <= limits.most
    assert plan.backoff in (*limits.backoffs, live.backoff)
    if hedging is None:
        assert plan.way == live.way
    elif plan.way != live.way:
        assert hedging.fewest <= plan.hedges <= hedging.most
        assert plan.hedges == 0 or hedging.low <= plan.hedge_delay <= hedging.high
        assert plan.hedges * plan.hedge_delay < plan.timeout


_SEEN = [picture(), picture(1, error=0.0, hang=0.0)]


@pytest.mark.parametrize("fixed", [1.0, 7.0, 60.0])
def test_a_timeout_that_is_fixed_elsewhere_than_it_is_live_is_no_candidate_itself(fixed: float) -> None:
    plan = chosen(_SEEN[0], limits=WIDE._replace(low=fixed, high=fixed))
    assert plan.timeout in (fixed, LIVE.timeout)  # it moves where that is a gain, or all stays as it is
    assert chosen(_SEEN[0], limits=WIDE._replace(low=1.0, high=1.0)).timeout == 1.0


def test_live_hedges_that_are_not_tuned_stay_and_are_counted_with() -> None:
    live = LIVE._replace(hedges=1, hedge_delay=0.6)
    plan = chosen(_SEEN[0], live)
    assert plan.way == live.way
    assert plan.timeout > live.hedge_delay
    assert plan != chosen(_SEEN[0])._replace(hedges=1, hedge_delay=0.6) or plan.timeout >= 1.2


# --- what is allowed --------------------------------------------------------------------------------------------------


def extra(seen: Picture, plan: Plan) -> float:
    return float(scored(mean_world(seen), [plan], 8.0).requests[0, 0]) - 1.0


@pytest.mark.parametrize("allowed", [0.05, 0.1, 0.2])
def test_no_more_extra_requests_are_chosen_than_allowed(allowed: float) -> None:
    seen = picture(error=0.3)
    plan = chosen(seen, Plan(30.0, 0, 0.1), WIDE._replace(extra=allowed))
    assert extra(seen, plan) <= allowed + 1e-9
    free = chosen(seen, Plan(30.0, 0, 0.1))
    assert extra(seen, free) > 0.3  # as many would pay


def test_a_live_plan_that_sends_more_than_allowed_must_go_unless_it_is_vouched_for() -> None:
    seen = picture(error=0.3)
    assert extra(seen, LIVE) > 0.3
    plan = chosen(seen, LIVE, WIDE._replace(extra=0.1))
    assert extra(seen, plan) <= 0.1 + 1e-9
    vouched = chosen(seen, LIVE, WIDE._replace(extra=0.1, vouched=LIVE))
    assert extra(seen, vouched) > 0.3


def test_it_says_where_more_than_is_allowed_would_be_better() -> None:
    def bound(allowed: float) -> bool:
        return decide(
            picture(error=0.3),
            Plan(1.0, 0, 0.01),
            WIDE._replace(extra=allowed),
            WISH,
            gate=0.9,
            retried=100.0,
            reach=30.0,
            seen=500,
            fresh=500,
            dice=lambda: np.random.default_rng(3),
        ).bound

    assert bound(0.05)
    assert not bound(math.inf)
    assert not bound(3.0)


# --- what success is worth --------------------------------------------------------------------------------------------


def test_by_a_declared_cost_missing_success_has_a_price_and_no_floor() -> None:
    """Answers take 0.3 s, a second costs as much as 100 of them: to give up is right. Under a target it is not."""
    dear = Objective(latency_cost=100.0, attempt_cost=0.02)
    seen = picture(1, error=0.0, hang=0.02)
    assert chosen(seen, wish=Wish(dear, None, derived=False)).timeout < 0.1
    assert chosen(seen, wish=Wish(dear, 0.99, derived=False)).timeout > 0.3
    assert chosen(seen, wish=Wish(dear, None, derived=True)).timeout > 0.3


def test_the_price_of_missing_success_is_half_a_value_more() -> None:
    """Three attempts in ten hang. A retry is made in 0.3 of the calls and mends 0.21 of them: worth 0.7 a request by
    the answers alone, and 1.03 as 0.2 of these were missing of the nine in ten that are asked for.
    """
    seen = picture(2, error=0.0, hang=0.3)
    for cost, retries in ((0.85, True), (1.4, False)):
        objective = Objective(latency_cost=0.0, attempt_cost=cost)
        plan = chosen(seen, LIVE._replace(retries=0 if retries else 3), wish=Wish(objective, None, derived=False))
        assert (plan.retries > 0) is retries
    assert choice.MISSED == 0.5


# --- retries that are given up ----------------------------------------------------------------------------------------


def test_without_retries_the_pause_is_the_one_that_a_probe_wants() -> None:
    """Errors that pass at once, and a price at which no retry pays: a probe's retry is not to wait in vain either."""
    dear = WISH._replace(objective=Objective(latency_cost=0.1, attempt_cost=2.0))
    plan = chosen(picture(hang=0.0, error=0.2, calls=800), wish=dear)
    assert plan.retries == 0
    assert plan.backoff == BACKOFFS[0]


def test_the_last_retry_is_not_given_up_for_next_to_nothing() -> None:
    seen = picture(hang=0.0, error=0.02, calls=3000)
    live = Plan(2.0, 1, 0.01)
    worth = Wish.utility(WISH._replace(objective=Objective(latency_cost=0.1, attempt_cost=1.3)), _given(seen, live))
    without = Wish.utility(
        WISH._replace(objective=Objective(latency_cost=0.1, attempt_cost=1.3)), _given(seen, live._replace(retries=0))
    )
    assert choice.LEAST_GAIN < without.item() - worth.item() < choice.GIVING_UP * choice.LEAST_GAIN
    dear = WISH._replace(objective=Objective(latency_cost=0.1, attempt_cost=1.3))
    assert chosen(seen, live, wish=dear).retries == 1


def _given(seen: Picture, plan: Plan) -> Outlook:
    return scored(mean_world(seen), [plan], 8.0)


# --- intervals -------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n).filter(any), min_size=1, max_size=12)
    ),
    st.floats(0.05, 1.0),
    st.data(),
)
def test_an_interval_is_the_shortest_run_that_holds_a_good_value_of_enough_draws(
    good: list[list[bool]], share: float, data: st.DataObject
) -> None:
    table, n = np.array(good), len(good[0])
    values = np.arange(n, dtype=float)
    value = data.draw(st.integers(0, n - 1))
    low, high = choice._holding(float(value), values, table, share)

    def holds(first: int, last: int) -> bool:
        return bool(table[:, first : last + 1].any(axis=1).mean() >= share - 1e-9)

    assert low <= value <= high
    assert holds(int(low), int(high))
    shorter = [(i, i + int(high - low) - 1) for i in range(n) if i <= value <= i + int(high - low) - 1 < n]
    assert not any(holds(first, last) for first, last in shorter)
