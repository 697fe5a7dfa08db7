"""The running effect: unbiased whatever was predicted, additive, silent where it cannot know."""

from __future__ import annotations

import json
import math
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.confidence import planned_calls
from poet.kernels.online.effect import BURN_IN, FIRST, MOST, Blocks, BoundedEffect, Effect, Side

PLAN = Effect.planned()
VALUES = st.floats(-1e3, 1e3)
CALLS = st.lists(st.tuples(st.integers(0, 1), st.floats(0.01, 0.99), VALUES), max_size=40)


def of(calls: list[tuple[int, float, float]], plan: Effect = PLAN) -> Effect:
    for call in calls:
        plan = plan.add(*call)
    return plan


def lived(seed: int, n: int, shift: float = 0.0, share: float = 0.5, plan: Effect = PLAN) -> Effect:
    rng = Random(seed)
    for _ in range(n):
        arm = int(rng.random() < share)
        plan = plan.add(arm, share, rng.gauss(10.0, 1.0) + shift * arm)
    return plan


@settings(max_examples=50, deadline=None)
@given(CALLS, st.floats(0.01, 0.99), VALUES, VALUES)
def test_over_the_coin_a_call_counts_for_its_true_effect_whatever_came_before(
    calls: list[tuple[int, float, float]], p: float, y0: float, y1: float
) -> None:
    before = of(calls)
    if before.n < FIRST:
        return
    means = [
        p * one + (1 - p) * zero for one, zero in zip(before.add(1, p, y1).sums, before.add(0, p, y0).sums, strict=True)
    ]
    w = 4 * p * (1 - p)
    assert means[0] - before.sums.weight == pytest.approx(w, abs=1e-9)
    assert means[1] - before.sums.total == pytest.approx(w * (y1 - y0), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(CALLS, CALLS, CALLS)
def test_effects_add_up_in_any_order(
    a: list[tuple[int, float, float]], b: list[tuple[int, float, float]], c: list[tuple[int, float, float]]
) -> None:
    x, y, z = of(a), of(b), of(c)
    assert x.merged(y).state() == pytest.approx(y.merged(x).state())
    assert x.merged(y).merged(z).state() == pytest.approx(x.merged(y.merged(z)).state(), rel=1e-9, abs=1e-9)
    assert x.merged(PLAN).state() == x.state()


@settings(max_examples=50, deadline=None)
@given(CALLS)
def test_a_state_survives_a_store(calls: list[tuple[int, float, float]]) -> None:
    effect = of(calls)
    assert Effect.from_state(json.loads(json.dumps(effect.state()))) == effect


def test_two_processes_know_about_as_much_as_one() -> None:
    one, two = lived(1, 2000, 0.3), lived(2, 1000, 0.3).merged(lived(3, 1000, 0.3))
    assert two.n == one.n
    assert two.deviation == pytest.approx(one.deviation, rel=0.1)
    low, high = two.interval(0.05)
    assert low < 0.3 < high
    assert low > 0


def test_bounds_and_evidence_say_the_same_on_each_side() -> None:
    effect = lived(4, 500, 0.2)
    for null in -0.5, 0.0, 0.1, 0.2, 0.6:
        low, high = effect.interval(0.05)
        level = -math.log(0.05)
        assert (effect.log_e(null) >= level) == (not low < null < high)
        assert (effect.log_e(null, Side.ABOVE) >= level) == (null <= effect.lower(0.05))
        assert (effect.log_e(null, Side.BELOW) >= level) == (null >= effect.upper(0.05))
    assert effect.e_value(5.0) > 1e10


def test_nothing_is_told_before_both_arms_are_known() -> None:
    rng, effect = Random(5), PLAN
    for _ in range(5000):
        effect = effect.add(0, 0.01, rng.random())
    for i in range(BURN_IN - 1):
        effect = effect.add(1, 0.01, 5.0 + 0.01 * i)
    assert effect.interval(0.05) == (-math.inf, math.inf)
    assert effect.lower(0.05) == -math.inf
    assert effect.upper(0.05) == math.inf
    assert effect.e_value() == 1.0
    assert effect.samples_still_needed(0.1) is None
    assert effect.recent() is None


def test_an_arm_without_failures_is_not_taken_for_one_that_cannot_fail() -> None:
    """Live fails in 3 %, the canary's first 60 calls happen not to: no bound may call it better."""
    rng, effect = Random(6), PLAN
    for i in range(600):
        arm = int(i % 10 == 0)
        effect = effect.add(arm, 0.1, 0.0 if arm else float(rng.random() < 0.03))
    assert effect.upper(0.05) > 0


def test_outcomes_that_never_vary_are_no_evidence_of_safety() -> None:
    effect = of([(i % 2, 0.5, 0.0) for i in range(2000)])
    assert not effect.ready
    assert effect.interval(0.05) == (-math.inf, math.inf)


def test_a_shift_of_all_outcomes_changes_nothing() -> None:
    rng, here, there = Random(7), PLAN, PLAN
    for _ in range(500):
        arm, y = int(rng.random() < 0.3), rng.gauss(0.0, 1.0)
        here, there = here.add(arm, 0.3, y), there.add(arm, 0.3, y + 1e6)
    assert there.interval(0.05) == pytest.approx(here.interval(0.05), abs=1e-6)


def test_outcomes_as_large_as_allowed_overflow_nothing() -> None:
    effect = of([(i % 2, 1e-9 if i % 3 else 1 - 1e-9, MOST if i % 5 else -MOST) for i in range(1000)])
    assert all(math.isfinite(x) for x in effect.state())
    low, high = effect.interval(0.05)
    assert low < high


def test_what_was_expected_is_taken_off() -> None:
    rng, blind, told = Random(8), PLAN, PLAN
    for i in range(1000):
        arm, cell = int(rng.random() < 0.5), 10.0 * (i * 7 % 3)
        y = cell + rng.gauss(0.0, 1.0) + 0.5 * arm
        blind, told = blind.add(arm, 0.5, y), told.add(arm, 0.5, y, cell)
    assert told.deviation < 0.3 * blind.deviation
    assert told.lower(0.05) > 0


@pytest.mark.parametrize("shift", [0.2, 0.5])
def test_what_is_still_needed_is_about_what_it_takes(shift: float) -> None:
    """Of ten runs with that effect, 8 are expected to be found by then; fewer than 4 come by chance in 1 of 1,000."""
    plan, found = Effect.planned(minimum_effect=shift), 0
    for seed in range(10):
        effect = lived(20 + seed, 100, 0.0, plan=plan)
        needed = effect.samples_still_needed(shift)
        assert needed is not None
        assert 0.5 * planned_calls(shift) < needed < 4 * planned_calls(shift)
        found += lived(40 + seed, 100 + needed, shift, plan=plan).log_e() > -math.log(0.05)
    assert found >= 4
    assert lived(60, 20_000, 1.0).samples_still_needed(1.0) == 0


def test_the_last_calls_show_where_an_effect_goes() -> None:
    rng, effect = Random(9), Effect.planned(window=200.0)
    for i in range(4000):
        arm = i % 2
        effect = effect.add(arm, 0.5, rng.gauss(0.0, 1.0) + (2.0 * arm if i >= 2000 else 0.0))
    recent = effect.recent()
    assert recent is not None
    assert recent.low < 2.0 < recent.high
    assert effect.value == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("arm", "p", "y"),
    [
        (2, 0.5, 0.0),
        (0, 0.0, 0.0),
        (0, 1.0, 0.0),
        (0, math.nan, 0.0),
        (0, 0.5, math.nan),
        (1, 0.5, math.inf),
        (1, 0.5, 1e71),
    ],
)
def test_impossible_calls_are_refused(arm: int, p: float, y: float) -> None:
    with pytest.raises(ValueError, match="got"):
        PLAN.add(arm, p, y)
    with pytest.raises(ValueError, match="got"):
        PLAN.add(arm, p, 0.0, y if y else math.nan)


def test_impossible_plans_and_states_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        Effect.planned(minimum_effect=0.1, calls=100)
    with pytest.raises(ValueError, match="burn_in"):
        Effect.planned(burn_in=1)
    with pytest.raises(ValueError, match="alike"):
        PLAN.merged(Effect.planned(calls=10.0))
    with pytest.raises(ValueError, match="finite"):
        Effect.from_state([*PLAN.state()[:-1], math.nan])
    with pytest.raises(ValueError, match="kept as"):
        Effect.from_state([1.0])
    with pytest.raises(ValueError, match="planned"):
        Effect.from_state([-1.0, *PLAN.state()[1:]])
    with pytest.raises(ValueError, match="alpha"):
        PLAN.interval(math.nan)


# --- blocks -----------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.lists(VALUES, min_size=1, max_size=5)), max_size=8), st.integers(0, 2))
def test_a_block_is_one_outcome(blocks: list[tuple[int, list[float]]], washout: int) -> None:
    state = Blocks(PLAN, washout)
    for block, (arm, ys) in enumerate(blocks):
        for y in ys:
            state = state.add(block, arm, 0.5, y)
    means = [(arm, 0.5, sum(ys[washout:]) / len(ys[washout:])) for arm, ys in blocks if len(ys) > washout]
    assert state.ended().effect.state() == pytest.approx(of(means).state(), rel=1e-9, abs=1e-9)


def test_a_block_has_one_arm() -> None:
    state = Blocks(PLAN).add(1, 0, 0.5, 1.0)
    with pytest.raises(ValueError, match="block 1 has arm 0"):
        state.add(1, 1, 0.5, 1.0)
    with pytest.raises(ValueError, match="at most"):
        state.add(1, 0, 0.5, math.nan)


# --- bounded ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "p"), [(0.03, 0.5), (0.5, 0.2), (0.9, 0.7)])
def test_of_bounded_outcomes_the_evidence_never_rises_where_there_is_no_effect(rate: float, p: float) -> None:
    """Every sequence of 5 calls, their arms and outcomes of 0 or 1, enumerated."""
    total = 0.0
    for calls in product(product((0, 1), (0.0, 1.0)), repeat=5):
        effect, chance = BoundedEffect.planned(0.0, 1.0, least=0.2), 1.0
        for arm, y in calls:
            chance *= (p if arm else 1 - p) * (rate if y else 1 - rate)
            effect = effect.add(arm, p, y)
        total += chance * math.exp(effect.log_e())
    assert total <= 1 + 1e-12


def test_few_scores_are_enough_where_the_effect_is_large() -> None:
    rng, effects = Random(11), [BoundedEffect.planned(0.0, 1.0)] * 2
    for i in range(200):
        arm = int(rng.random() < 0.5)
        effects[i % 2] = effects[i % 2].add(arm, 0.5, min(1.0, 0.2 * rng.random() + 0.8 * arm))
    whole = effects[0].merged(effects[1])
    low, high = whole.interval(0.05)
    assert 0.3 < low < 0.8 < high <= 1.0
    assert whole.log_e() > -math.log(0.05)


def test_what_is_out_of_the_limits_is_refused() -> None:
    effect = BoundedEffect.planned(0.0, 1.0, least=0.2)
    for arm, p, y in (2, 0.5, 0.5), (0, 0.1, 0.5), (0, math.nan, 0.5), (0, 0.5, 1.5), (1, 0.5, math.nan):
        with pytest.raises(ValueError, match="got"):
            effect.add(arm, p, y)
    for low, high, least in (0.0, 0.0, 0.5), (0.0, math.inf, 0.5), (0.0, 1.0, 0.0), (math.nan, 1.0, 0.5):
        with pytest.raises(ValueError, match="need low < high"):
            BoundedEffect.planned(low, high, least=least)
    with pytest.raises(ValueError, match="alike"):
        effect.merged(BoundedEffect.planned(0.0, 2.0))


@pytest.mark.parametrize("outcome", [1.0, 0.1, -7.3, 1e6])
@pytest.mark.parametrize("share", [0.5, 1 / 3, 0.1])
def test_outcomes_that_never_vary_tell_nothing_whatever_is_rounded(outcome: float, share: float) -> None:
    effect = Effect.planned()
    for i in range(1000):
        effect = effect.add(int(i % 10 < 10 * share), share, outcome)
    assert not effect.ready
    assert effect.interval(0.05) == (-math.inf, math.inf)
