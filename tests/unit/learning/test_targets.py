"""Least time subject to success, and most success subject to time."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np
import pytest

from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value

LIVE: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}


def performed(dice: random.Random, number: int, live: Mapping[str, Value], hang: float, error: float) -> Execution:
    """A call whose attempts are independent: a median of 0.2 s, some hang, some err after 0.05 s."""
    timeout, attempts = float(live["timeout"]), []
    for retry in range(int(live["retries"]) + 1):
        pause = dice.random() * min(8.0, float(live["backoff"]) * 2 ** (retry - 1)) if retry else 0.0
        draw = dice.random()
        if draw < error:
            attempts.append(Attempt(Outcome.ERROR, min(0.05, timeout), pause))
            continue
        seconds = math.inf if draw < error + hang else 0.2 * math.exp(0.4 * dice.gauss(0, 1))
        attempts.append(
            Attempt(Outcome.SUCCESS if seconds < timeout else Outcome.TIMEOUT, min(seconds, timeout), pause)
        )
        if seconds < timeout:
            break
    total = sum(attempt.seconds + attempt.waited for attempt in attempts)
    return Execution("test", number, 1e9 + number, total, attempts[-1].outcome, 1, tuple(attempts))


def taught(
    learner: OnlineLearner, calls: int, hang: float = 0.02, error: float = 0.02
) -> tuple[dict[str, Value], list[Execution]]:
    dice, live, made = random.Random(1), dict(LIVE), []
    for number in range(calls):
        made.append(performed(dice, number, live, hang, error))
        learner.update(made[-1:])
        suggestion = learner.suggest(live)
        if suggestion is not None:
            assert suggestion.reason
            live = dict(suggestion.values)
    return live, made


def test_a_success_target_is_kept_in_far_less_time() -> None:
    """99 % have succeeded by some 0.7 s where a hang is cut off after 0.5 s; the declared 30 s make that 30 s."""
    live, made = taught(OnlineLearner(objective=Objective(latency_cost=0.5, success_target=0.999)), 2000)
    late = made[1000:]
    assert sum(execution.outcome is not Outcome.SUCCESS for execution in late) <= 1
    assert np.quantile([execution.seconds for execution in late], 0.99) < 1.2
    assert 0.3 < float(live["timeout"]) < 1.5
    assert 1 - 0.05 ** (int(live["retries"]) + 1) > 0.999


@pytest.mark.parametrize("latency", [0.6, 2.0])
def test_a_latency_target_is_kept_with_as_much_success_as_there_is(latency: float) -> None:
    """Within 0.6 s a second attempt is worth it for few; within 2 s all that is needed."""
    _, made = taught(OnlineLearner(objective=Objective(latency_cost=0.5, latency_target=latency)), 2500)
    late = made[1000:]
    assert np.mean([execution.seconds > latency for execution in late]) <= 0.01 + 3 * 0.1 / math.sqrt(len(late))
    assert np.mean([execution.outcome is Outcome.SUCCESS for execution in late]) > (0.93 if latency < 1 else 0.995)


def test_what_costs_nothing_in_time_is_not_given_away_for_speed() -> None:
    """Under a latency target a second costs nothing: nothing is cut off that ends in time."""
    dear, _ = taught(OnlineLearner(objective=Objective(latency_cost=5.0, latency_target=3.0)), 1500)
    cheap, _ = taught(OnlineLearner(objective=Objective(latency_cost=0.0, latency_target=3.0)), 1500)
    assert dear == cheap


@pytest.mark.parametrize(
    "objective", [Objective(latency_target=1e-5), Objective(success_target=0.999999)], ids=["latency", "success"]
)
def test_a_target_out_of_reach_is_neared(objective: Objective) -> None:
    space = Space(timeout=Real(0.1, 60.0), retries=Integer(0, 5))
    live, _ = taught(OnlineLearner(objective=objective, space=space), 600, error=0.3)
    assert 0.1 <= float(live["timeout"]) <= 60.0
    if objective.latency_target is not None:
        assert float(live["timeout"]) < 0.5
        assert live["retries"] == 0
    else:
        assert live["retries"] == 5


@pytest.mark.parametrize(
    "objective", [Objective(latency_target=0.5), Objective(success_target=0.999)], ids=["latency", "success"]
)
def test_where_every_call_fails_nothing_breaks(objective: Objective) -> None:
    for hang, error in ((1.0, 0.0), (0.0, 1.0)):
        live, _ = taught(OnlineLearner(objective=objective), 300, hang, error)
        assert 0.001 <= float(live["timeout"]) <= 120.0


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (Objective(latency_cost=0.5, latency_target=0.8), "99 % of the calls must have ended within 0.8 s"),
        (Objective(latency_cost=0.5, success_target=0.99), "at least 99 % of the calls must succeed"),
    ],
    ids=["latency", "success"],
)
def test_the_target_is_named_in_what_is_told(objective: Objective, said: str) -> None:
    learner = OnlineLearner(objective=objective)
    live, _ = taught(learner, 200)
    assert any(said in sentence for sentence in learner.explain(live).sentences)


@pytest.mark.parametrize(
    "objective", [Objective(latency_target=0.5), Objective(success_target=0.999)], ids=["latency", "success"]
)
@pytest.mark.parametrize(
    "space",
    [
        Space(timeout=Real(5.0, 10.0), retries=Integer(0, 5)),
        Space(timeout=Real(0.001, 120.0), retries=Integer(2, 2)),
        Space(timeout=Real(7.0, 7.0), retries=Integer(0, 1)),
        Space(retries=Integer(0, 5)),
        Space(timeout=Real(0.123456, 0.23456)),
        Space(timeout=Integer(2, 50), retries=Integer(0, 5), backoff=Real(0.0, 2.0)),
        Space(timeout=Real(0.1, 60.0), retries=Integer(0, 3), hedges=Integer(0, 2), hedge_delay=Real(0.01, 10.0)),
        Space(),
    ],
    ids=[
        "high",
        "fixed retries",
        "fixed timeout",
        "retries only",
        "unreadable bounds",
        "whole seconds",
        "hedges",
        "nothing",
    ],
)
@pytest.mark.parametrize("hedge_budget", [0.1, 1.0])
def test_bounds_are_hard_whatever_the_target(objective: Objective, space: Space, hedge_budget: float) -> None:
    learner = OnlineLearner(objective=objective, space=space, hedge_budget=hedge_budget)
    live, _ = taught(learner, 250)
    for name, value in live.items():
        if name in space and value != LIVE.get(name):
            space[name].check(name, value)
        elif name not in space:
            assert value == LIVE[name]
