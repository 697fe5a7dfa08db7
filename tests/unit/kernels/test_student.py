from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from poet.kernels.online.student import below, half_width, quantile


@given(st.floats(-50, 50), st.floats(0.2, 1e4))
def test_the_distribution_is_that_of_a_second_derivation(t: float, df: float) -> None:
    assert below(t, df) == pytest.approx(stats.t.cdf(t, df), rel=1e-7, abs=1e-9)


@given(st.floats(0.01, 0.995), st.floats(0.5, 1e7))
def test_a_quantile_inverts_it(level: float, df: float) -> None:
    assert quantile(level, df) == pytest.approx(stats.t.ppf(level, df), rel=1e-5, abs=1e-6)


def test_an_interval_without_degrees_of_freedom_holds_all_numbers() -> None:
    assert half_width(0.9, 0.0) == math.inf
    assert half_width(0.9, math.inf) == pytest.approx(1.6449, rel=1e-4)


@pytest.mark.parametrize(("level", "df"), [(0.0, 1.0), (1.0, 1.0), (math.nan, 1.0), (0.5, 0.0), (0.5, math.nan)])
def test_what_is_out_of_range_is_refused(level: float, df: float) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        quantile(level, df)
