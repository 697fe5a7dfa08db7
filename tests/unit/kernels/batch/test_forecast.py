"""Forecasts. Statistical tests draw with fixed seeds; each says how often it would fail for others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odd_series import ODD
from poet.kernels.batch.forecast import forecast

HOURS = np.arange(768)


def test_a_season_goes_on_and_beats_the_last_day() -> None:
    ours, naive, inside = [], [], []
    for seed in range(12):
        x = np.sin(2 * np.pi * HOURS / 24) + 0.5 * np.random.default_rng(seed).normal(size=768)
        told = forecast(x[:720], (24,), 48)
        ours.append(np.abs(told.mean - x[720:]).mean())
        naive.append(np.abs(np.tile(x[696:720], 2) - x[720:]).mean())
        inside.append(np.mean((told.low <= x[720:]) & (x[720:] <= told.high)))
    assert np.mean(ours) < 0.78 * np.mean(naive)  # 0.71 is what knowing the sine reaches
    assert 0.84 < np.mean(inside) < 0.96  # 576 values, nearly independent: beyond in less than 1 in 1000


def test_a_walk_stays_where_it_is_and_its_interval_opens() -> None:
    x = np.cumsum(np.random.default_rng(1).normal(size=720))
    told = forecast(x, (), 48)
    width = told.high - told.low
    assert abs(told.mean[0] - x[-1]) < 3
    assert width[-1] > 3 * width[0]


def test_a_few_spikes_do_not_move_it() -> None:
    rng = np.random.default_rng(2)
    x = 5 + 0.1 * rng.normal(size=720)
    x[rng.integers(0, 720, 15)] = 1e4
    told = forecast(x, (), 48)
    assert np.abs(told.mean - 5).max() < 0.5


def test_day_and_week_both_count() -> None:
    week = np.where(HOURS // 24 % 7 >= 5, -1.0, 0.0)
    x = np.sin(2 * np.pi * HOURS / 24) + week + 0.1 * np.random.default_rng(3).normal(size=768)
    told = forecast(x[:648], (24, 168), 48)
    assert np.abs(told.mean - x[648:696]).mean() < 0.35


@pytest.mark.parametrize("values", ODD)
@pytest.mark.parametrize("lengths", [(), (24,), (7, 24)])
def test_odd_series_have_a_forecast_if_they_have_a_value(values: list[float], lengths: tuple[int, ...]) -> None:
    told = forecast(values, lengths, 30)
    assert len(told.mean) == len(told.low) == len(told.high) == 30
    if np.isfinite(values).any():
        assert ((told.low <= told.mean) & (told.mean <= told.high)).all()
    else:
        assert np.isnan(told.mean).all()


def test_nothing_ahead_and_no_level_are_refused() -> None:
    with pytest.raises(ValueError, match="ahead must be 1 or more, got 0"):
        forecast([1.0], (), 0)
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 1"):
        forecast([1.0], (), 3, level=1)


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=120),
    st.integers(1, 60),
    st.sampled_from([(), (5,), (3, 21)]),
)
@settings(max_examples=60, deadline=None)
def test_the_middle_is_in_its_interval(values: list[float], ahead: int, lengths: tuple[int, ...]) -> None:
    told = forecast(values, lengths, ahead)
    assert len(told.mean) == ahead
    if np.isfinite(values).any():
        assert ((told.low <= told.mean) & (told.mean <= told.high)).all()
