from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from poet.learning.online_learner import ParameterHistory


def history(*rows: tuple[float, float]) -> ParameterHistory:
    kept = ParameterHistory()
    for value, score in rows:
        kept.add_observation(value, score)
    return kept


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=30))
def test_a_gradient_and_its_interval_are_those_of_a_linear_regression(rows: list[tuple[int, int]]) -> None:
    found = history(*((float(x), float(y)) for x, y in rows)).gradient()
    x, y = np.array(rows[-10:], dtype=float).T
    if np.ptp(x) == 0:
        assert (found.value, found.low, found.high) == (0.0, -math.inf, math.inf)
        return
    design = np.column_stack([x, np.ones(len(x))])
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    variance = ((y - design @ best) ** 2).sum() / (len(x) - 2) * np.linalg.inv(design.T @ design)[0, 0]
    assert found.value == pytest.approx(best[0], abs=1e-9)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.95, len(x) - 2) * variance**0.5, rel=1e-5, abs=1e-6)


def test_a_trend_is_that_of_the_newest_scores() -> None:
    kept = history(*((1.0, score) for score in (9.0, 8.0, 0.1, 0.2, 0.3)))
    assert kept.get_recent_trend(3) == pytest.approx(0.1)
    assert kept.get_recent_trend() < 0
    assert history((1.0, 0.5)).get_recent_trend() == 0.0


def test_only_the_newest_hundred_are_kept() -> None:
    kept = history(*((float(k), 0.0) for k in range(250)))
    assert (len(kept.values), kept.values[0], len(kept.timestamps)) == (100, 150.0, 100)


@pytest.mark.parametrize("odd", [math.nan, math.inf, None, "3", True])
def test_what_is_no_number_is_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="performance must be a finite number"):
        history((1.0, odd))
