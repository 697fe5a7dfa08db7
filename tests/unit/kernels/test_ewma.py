from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.ewma import (
    Ewma,
    Praised,
    Weighted,
    interval,
    mean,
    observe,
    observe_all,
    praise,
    weigh,
)

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(values, st.floats(0.5, 1e3))
def test_a_mean_stays_within_what_was_seen(xs: list[float], half_life: float) -> None:
    state = Ewma()
    for x in xs:
        state = observe(state, x, half_life=half_life)
    assert min(xs) - 1e-6 <= mean(state) <= max(xs) + 1e-6


@given(values, st.floats(0.5, 1e3))
def test_the_mean_is_the_weighted_mean_of_all_values(xs: list[float], half_life: float) -> None:
    state = Ewma()
    for x in xs:
        state = observe(state, x, half_life=half_life)
    weights = [0.5 ** (age / half_life) for age in reversed(range(len(xs)))]
    slow = sum(w * x for w, x in zip(weights, xs, strict=True)) / sum(weights)
    assert mean(state) == pytest.approx(slow, rel=1e-6, abs=1e-3)


@given(st.floats(-1e3, 1e3), st.integers(1, 100), st.floats(0.5, 1e3))
def test_equal_values_may_be_folded_in_at_once(x: float, n: int, half_life: float) -> None:
    one_by_one = Ewma(1.0, 0.5)
    for _ in range(n):
        one_by_one = observe(one_by_one, x, half_life=half_life)
    at_once = observe_all(Ewma(1.0, 0.5), n * x, n, half_life=half_life)
    assert at_once == pytest.approx(one_by_one, rel=1e-9, abs=1e-9)


def test_of_nothing_there_is_no_mean() -> None:
    with pytest.raises(ZeroDivisionError):
        mean(Ewma())
    assert observe_all(Ewma(), 0.0, 0, half_life=1) == Ewma()


# --- weighted ---------------------------------------------------------------------------------------------------------

weighted = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(0.05, 20.0)), min_size=2, max_size=40)


@given(weighted, st.floats(0.5, 1e3))
def test_weighted_sums_are_those_of_explicit_weights(rows: list[tuple[float, float]], half_life: float) -> None:
    state = Weighted()
    for x, weight in rows:
        state = weigh(state, x, weight, half_life=half_life)
    w = np.array([weight * 0.5 ** (age / half_life) for age, (_, weight) in enumerate(reversed(rows))])[::-1]
    x = np.array([x for x, _ in rows])
    m = float(w @ x / w.sum())
    scale = 1e-9 * float(np.abs(x).max() + 1.0) ** 2
    assert state.mean == pytest.approx(m, rel=1e-9, abs=1e-9 * float(np.abs(x).max() + 1))
    assert state.size == pytest.approx(w.sum() ** 2 / (w @ w), rel=1e-9)
    assert state.scatter == pytest.approx(float(w @ (x - m) ** 2), rel=1e-6, abs=scale * w.sum())
    assert state.spread == pytest.approx(float((w * w) @ (x - m) ** 2), rel=1e-6, abs=scale * float(w @ w))
    assert 0 < state.size <= len(rows) + 1e-9


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.floats(0.5, 1e3))
def test_scores_that_are_all_alike_give_the_plain_mean(xs: list[float], half_life: float) -> None:
    plain, praised = Ewma(), Praised()
    for x in xs:
        plain = observe(plain, x, half_life=half_life)
        praised = praise(praised, x, 0.7, half_life=half_life)
    assert praised.values.mean == pytest.approx(mean(plain), rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(-10, 10)), min_size=1, max_size=40), st.floats(0, 3))
def test_weights_are_those_of_the_scores_standing(rows: list[tuple[float, int]], steepness: float) -> None:
    state = Praised()
    for x, score in rows:
        state = praise(state, x, score, half_life=30.0, steepness=steepness)
    weights = []
    for i, (_, score) in enumerate(rows):
        seen = np.array([s for _, s in rows[: i + 1]])
        fade = 0.5 ** (np.arange(i, -1, -1) / 30.0)
        m = fade @ seen / fade.sum()
        rest = fade.sum() - (fade @ fade) / fade.sum()
        sd = math.sqrt(fade @ (seen - m) ** 2 / rest) if i else 0.0
        z = min(max((score - m) / sd, -3.0), 3.0) if sd > 1e-9 else 0.0
        weights.append(math.exp(steepness * z) * 0.5 ** ((len(rows) - 1 - i) / 30.0))
    slow = sum(w * x for w, (x, _) in zip(weights, rows, strict=True)) / sum(weights)
    assert state.values.mean == pytest.approx(slow, rel=1e-5, abs=1e-4)
    assert min(x for x, _ in rows) - 1e-6 <= state.values.mean <= max(x for x, _ in rows) + 1e-6


def test_better_scores_pull_the_mean_to_their_values() -> None:
    dice = random.Random(0)
    state = Praised()
    for _ in range(400):
        x = dice.uniform(0.0, 10.0)
        state = praise(state, x, -((x - 7.0) ** 2) + dice.gauss(0, 1), half_life=100.0)
    low, high = interval(state.values)
    assert 5.5 < low < state.values.mean < high < 7.5  # the plain mean is 5


@pytest.mark.parametrize("steepness", [0.0, 1.0])
def test_an_interval_covers_as_often_as_it_says(steepness: float) -> None:
    """90 % of 2000: 3.5 standard errors of a share are 2.3 %; some 2 % more are the price of a skewed weight."""
    dice = random.Random(1)
    held = 0
    for _ in range(2000):
        state = Praised()
        for _ in range(60):
            state = praise(state, dice.gauss(5.0, 2.0), dice.gauss(0, 1), half_life=40.0, steepness=steepness)
        low, high = interval(state.values, 0.9)
        held += low <= 5.0 <= high
    assert 0.857 < held / 2000 < 0.923


def test_one_value_has_no_interval_and_no_variance() -> None:
    one = weigh(Weighted(), 3.0, 1.0, half_life=10.0)
    assert interval(one) == (-math.inf, math.inf)
    assert math.isnan(one.variance)
    assert weigh(Weighted(), 3.0, 0.0, half_life=10.0).weight == 0.0
