"""Quantiles by tables, beside SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from poet.kernels.batch.laws import beta_quantile, student_below, student_quantiles


@given(st.floats(2.0, 1e4), st.floats(-30.0, 30.0))
def test_students_law_is_scipys(df: float, x: float) -> None:
    assert student_below(np.array([x]), df)[0] == pytest.approx(special.stdtr(round(df, 2), x), abs=1e-5)


@pytest.mark.parametrize("df", [2.0, 3.0, 9.5, 99.0, 5000.0])
def test_students_quantiles_are_scipys(df: float) -> None:
    shares = (np.arange(200) + 0.5) / 200
    assert student_quantiles(shares, df) == pytest.approx(special.stdtrit(df, shares), rel=2e-4, abs=1e-6)


@given(st.integers(0, 20_000), st.integers(0, 20_000), st.floats(0.01, 0.99))
def test_quantiles_of_a_beta_law_are_scipys(good: int, bad: int, share: float) -> None:
    a, b = good + 0.5, bad + 0.5
    assert special.betainc(a, b, beta_quantile(share, a, b)) == pytest.approx(share, abs=2e-4)
