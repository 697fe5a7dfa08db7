from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.ewma import Ewma, mean, observe, observe_all

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
