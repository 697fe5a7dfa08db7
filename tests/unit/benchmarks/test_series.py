"""The scores of change points are TCPDBench's."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.series import autocorrelated, binned, covering, f_one


def test_what_all_saw_is_full_marks() -> None:
    assert f_one([50, 103], [[50, 100], [52, 101]]) == 1
    assert covering([50], [[50], [50]], 100) == 1


def test_nothing_told_is_right_where_nobody_saw_anything() -> None:
    assert f_one([], [[], []]) == 1
    assert covering([], [[], []], 100) == 1


def test_false_ones_cost_precision_and_missed_ones_recall() -> None:
    # told 0, 20, 50; seen 0, 50 and 0, 50, 80: precision 2/3, recall (1 + 2/3) / 2
    assert f_one([20, 50], [[50], [50, 80]]) == pytest.approx(2 * (2 / 3) * (5 / 6) / (2 / 3 + 5 / 6))
    assert covering([], [[50]], 100) == pytest.approx(0.5)
    assert covering([25], [[50]], 100) == pytest.approx(0.5 * 0.5 + 0.5 * 50 / 75)


def test_steps_without_a_record_are_gaps() -> None:
    assert np.array_equal(binned([(0, 1.0), (1, 3.0), (25, 7.0)], 10), [2.0, np.nan, 7.0], equal_nan=True)


def test_the_noise_is_as_it_says() -> None:
    # standard errors are some 0.01
    x = autocorrelated(np.random.default_rng(0), 20_000)
    assert np.std(x) == pytest.approx(1, abs=0.05)
    assert np.corrcoef(x[1:], x[:-1])[0, 1] == pytest.approx(0.6, abs=0.04)
