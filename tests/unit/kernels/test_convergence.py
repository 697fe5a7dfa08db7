from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.convergence import (
    MOST_SURPRISE,
    SHIFT,
    SLACK,
    Convergence,
    Watch,
    improvement,
    looked,
    watched,
)


@given(st.floats(-5, 5), st.floats(0, 5))
def test_an_improvement_is_the_mean_of_what_a_normal_gain_wins(gain: float, error: float) -> None:
    law = NormalDist()
    slow = sum(max(0.0, gain + error * law.inv_cdf((i + 0.5) / 4000)) for i in range(4000)) / 4000
    assert improvement(gain, error) == pytest.approx(slow, abs=2e-3 * error + 1e-9)


def test_doubt_is_worth_something_and_endless_doubt_is_worth_finding_out() -> None:
    assert improvement(-0.1, 0.2) > improvement(-0.1, 0.1) > 0
    assert improvement(-0.1, math.inf) == math.inf


def test_it_is_declared_after_some_calm_looks_and_withdrawn_on_drift() -> None:
    state = Convergence()
    for number in range(1, 4):
        state = looked(state, per_call=0.001, horizon=1000, cost=2.0)
        assert state.converged == (number == 3)
    assert (state.since, state.withdrawn) == (3, 0)
    state = looked(state, per_call=0.001, horizon=1000, cost=2.0, drift=True)
    assert (state.converged, state.since, state.withdrawn) == (False, 4, 1)


def test_a_value_about_its_cost_does_not_make_it_flicker() -> None:
    state = Convergence()
    dice = random.Random(0)
    for _ in range(1000):
        state = looked(state, per_call=dice.uniform(0.8, 1.5), horizon=1.0, cost=1.0)
    assert state.withdrawn == 0
    state = looked(Convergence(True, 3), per_call=2.5, horizon=1.0, cost=1.0)
    assert not state.converged


def test_what_is_unknown_neither_declares_nor_withdraws() -> None:
    assert not looked(Convergence(calm=2), per_call=math.nan, horizon=1.0, cost=1.0).converged
    assert looked(Convergence(True, 3), per_call=math.nan, horizon=1.0, cost=1.0).converged
    assert not looked(Convergence(calm=2), per_call=math.inf, horizon=1.0, cost=1.0).converged


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=60))
def test_it_agrees_with_the_rule_told_over_the_whole_record(rows: list[tuple[float, bool]]) -> None:
    state = Convergence()
    for value, drift in rows:
        state = looked(state, per_call=value, horizon=1.0, cost=5.0, drift=drift)
    # the slow way: find the last look that speaks against it, and whether three spoke for it since
    converged = False
    calm = 0
    for value, drift in rows:
        against = drift or value > 10.0 or (not converged and value >= 5.0)
        calm = 0 if against else calm + (value < 5.0)
        converged = not against and (converged or calm >= 3)
    assert state.converged == converged
    assert state.looks == len(rows)


# --- what withdraws it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.5, 0.7, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999])
@pytest.mark.parametrize("way", [1, -1])
def test_evidence_for_no_change_is_no_evidence(p: float, way: int) -> None:
    """E[exp(evidence)] <= 1 under no change, for scores of 0 and 1 with any p: what the alarm's rate rests on."""
    total = 0.0
    for score, chance in ((1.0, p), (0.0, 1 - p)):
        z = min(max((score - p) / math.sqrt(p * (1 - p)), -MOST_SURPRISE), MOST_SURPRISE)
        total += chance * math.exp(way * SHIFT * z - 0.5 * SHIFT**2 - SLACK)
    assert total <= 1.0


def test_false_alarms_are_rare_and_a_change_is_found() -> None:
    """100 000 unchanged normal scores: the bound is 2 x 1 alarms. A fall by one deviation: some 42 scores."""
    dice = random.Random(1)
    state, alarms = Watch(), 0
    for _ in range(100_000):
        state = watched(state, dice.gauss(0, 1))
        if state.alarm:
            alarms, state = alarms + 1, Watch()
    assert alarms <= 1
    delays = []
    for _ in range(50):
        state, steps = Watch(), 0
        while not state.alarm:
            state, steps = watched(state, dice.gauss(-1, 1)), steps + 1
        delays.append(steps)
    assert sorted(delays)[25] < 60
    assert watched(Watch(1.0, 2.0), math.nan) == Watch(1.0, 2.0)
