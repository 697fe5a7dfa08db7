"""Effects of what was drawn by lot: right where correlation is not, with intervals that hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.batch.causal import Effect, effects, value

EFFECT = 0.3


def drawn(seed: int, n: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Arms 0, 1 (an effect of 0.3) and 2 (none); the odds of 1 grow with what makes the outcome large."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    odds = 0.05 + 0.6 / (1 + np.exp(1.0 - x[:, 0]))
    p = np.column_stack((0.9 - odds, odds, np.full(n, 0.1)))
    arm = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(max=2)
    outcome = 3 + x[:, 0] + EFFECT * (arm == 1) + rng.normal(size=n)
    return arm, p[np.arange(n), arm], outcome, x


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """90 % of 250 within 4 standard deviations, 82 to 98 %; a 5 % test of nothing, at most 25 of 250."""
    held = dict.fromkeys(("ips", "snips", "dr"), 0)
    false, widths = 0, dict.fromkeys(held, 0.0)
    for seed in range(250):
        arm, p, outcome, x = drawn(seed)
        one, two = effects(arm, p, outcome, reference=0, features=x, seed=seed)
        false += two.p < 0.05
        for name in held:
            figure = getattr(one, name)
            held[name] += figure.low <= EFFECT <= figure.high
            widths[name] += figure.high - figure.low
    assert all(206 <= count <= 244 for count in held.values()), held
    assert false <= 25
    assert widths["dr"] < widths["snips"] < widths["ips"]


def test_the_plain_difference_would_have_been_wrong() -> None:
    arm, p, outcome, x = drawn(1, 4000)
    plain = outcome[arm == 1].mean() - outcome[arm == 0].mean()
    one = effects(arm, p, outcome, reference=0, features=x)[0]
    assert plain > EFFECT + 0.3
    assert one.dr.low <= EFFECT <= one.dr.high
    assert one.credible
    assert one.balance.low <= 1 <= one.balance.high


def test_wrong_odds_are_noticed() -> None:
    arm, p, outcome, _ = drawn(2, 4000)
    found = effects(arm, np.where(arm == 1, p / 2, p), outcome, reference=0)[0]
    assert not found.credible
    assert "more or less often" in found.note


def test_clipped_weights_are_said() -> None:
    arm, p, outcome, _ = drawn(3)
    found = effects(arm, p, outcome, reference=0, most_weight=3.0)[0]
    assert found.clipped > 0.1
    assert not found.credible
    assert found.heaviest > 3.0


def test_rows_drawn_together_count_once() -> None:
    rng = np.random.default_rng(5)
    arm = np.repeat(rng.integers(0, 2, 40), 50)
    outcome = np.repeat(rng.normal(size=40), 50) + 0.1 * rng.normal(size=2000)
    half = np.full(2000, 0.5)
    alone = effects(arm, half, outcome, reference=0)[0]
    together = effects(arm, half, outcome, reference=0, groups=np.repeat(np.arange(40), 50))[0]
    assert together.dr.high - together.dr.low > 4 * (alone.dr.high - alone.dr.low)


def test_rows_where_nothing_was_drawn_are_left_out() -> None:
    arm, p, outcome, _ = drawn(6)
    more = effects(np.append(arm, [0] * 99), np.append(p, [1.0] * 99), np.append(outcome, [1e6] * 99), reference=0)
    assert more[0].dr == effects(arm, p, outcome, reference=0)[0].dr


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_little_is_not_credible(n: int) -> None:
    found = effects(np.arange(n) % 2, np.full(n, 0.5), np.ones(n), reference=0)
    assert not any(each.credible for each in found)


def test_all_alike_is_no_effect() -> None:
    found = effects(np.arange(100) % 2, np.full(100, 0.5), np.zeros(100), reference=0)[0]
    assert found.dr.value == 0.0
    assert not found.q <= 0.05


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.floats(0.01, 1.0), st.floats(-1e6, 1e6) | st.just(math.nan)), max_size=60)
)
def test_any_log_gives_figures_in_order(rows: list[tuple[int, float, float]]) -> None:
    arm, p, outcome = (np.array([row[k] for row in rows], float) for k in range(3))
    for found in effects(arm, p, outcome, reference=0):
        assert isinstance(found, Effect)
        for figure in (found.ips, found.snips, found.dr):
            assert math.isnan(figure.value) or figure.low <= figure.value <= figure.high
        assert 0 <= found.clipped <= 1


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"propensities must be in \(0, 1\], got 1.5"):
        effects([0, 1], [0.5, 1.5], [1.0, 2.0], reference=0)
    with pytest.raises(ValueError, match="one length"):
        effects([0, 1], [0.5], [1.0, 2.0], reference=0)
    with pytest.raises(ValueError, match=r"weights must be >= 0, got -1\.0"):
        value([-1.0], [1.0])


def test_the_value_of_a_policy_agrees_with_its_truth() -> None:
    """One that always takes arm 1; 90 % intervals of 60 logs hold the truth in all but 14 (1 in 1000)."""
    missed = 0
    for seed in range(60):
        arm, p, outcome, x = drawn(seed)
        found = value((arm == 1) / p, outcome, predicted=3 + x[:, 0])
        missed += not found.dr.low <= 3 + EFFECT <= found.dr.high
        assert found.snips.low < found.snips.high
    assert missed <= 14
    assert value([], []).n == 0
