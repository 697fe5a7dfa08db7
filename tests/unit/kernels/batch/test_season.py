"""Seasons. Statistical tests draw with fixed seeds; each says how often it would fail for others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odd_series import HOURS, ODD
from poet.kernels.batch.season import Period, periods, split


def test_a_day_and_a_week_are_found_and_nothing_else() -> None:
    # fails in some 5 % of other seeds: four weeks are few
    noise = np.random.default_rng(0).normal(size=720)
    week = np.where(HOURS // 24 % 7 >= 5, -1.0, 0.0)
    found = periods(np.sin(2 * np.pi * HOURS / 24) + week + 0.5 * noise, likely=(24, 168))
    assert sorted(each.length for each in found) == [24, 168]
    assert 0.3 < sum(each.strength for each in found) < 1


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_any_profile_is_one_season(missing: float) -> None:
    # ten draws each; a draw fails in some 2 %, so three or more of ten in less than 1 in 1000
    right = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=24)[HOURS % 24] + rng.normal(size=720)
        x[rng.random(720) < missing] = np.nan
        right += [each.length for each in periods(x)] == [24]
    assert right >= 8


@pytest.mark.parametrize("kind", ["white", "walk", "step", "drift", "heavy", "autocorrelated"])
def test_what_does_not_repeat_has_no_season(kind: str) -> None:
    # 20 series; some 1 in 100 shows one, so more than two in less than 1 in 1000
    false = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=720)
        x = {
            "white": noise,
            "walk": np.cumsum(noise),
            "step": noise + 5 * (HOURS > 300),
            "drift": noise + 0.02 * HOURS,
            "heavy": rng.standard_t(2, size=720),
            "autocorrelated": np.convolve(noise, 0.8 ** np.arange(30))[:720],
        }[kind]
        false += bool(periods(x))
    assert false <= 2


@pytest.mark.parametrize("values", ODD)
@pytest.mark.parametrize("lengths", [(), (24,), (7, 24)])
def test_odd_series_have_parts_that_sum_up(values: list[float], lengths: tuple[int, ...]) -> None:
    periods(values)
    parts = split(values, lengths)
    x = np.array(values, dtype=np.float64)
    x[~np.isfinite(x)] = np.nan
    whole = parts.trend + sum(parts.seasons, np.zeros(len(x))) + parts.rest
    assert np.allclose(whole, x, equal_nan=True)
    assert all(np.isfinite(each).all() for each in (parts.trend, *parts.seasons))


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=120), st.integers(2, 30))
@settings(max_examples=60, deadline=None)
def test_whatever_comes_strengths_are_shares_and_parts_sum_up(values: list[float], length: int) -> None:
    for each in periods(values):
        assert 2 <= each.length <= len(values) // 3
        assert 0 < each.strength <= 1
        assert 0 <= each.p <= 0.01
    parts = split(values, [Period(length, 0.5, 0.0)])
    whole = parts.trend + parts.seasons[0] + parts.rest
    assert np.allclose(whole, np.array(values, dtype=np.float64), equal_nan=True, atol=1e-6)


def test_scale_and_level_do_not_matter() -> None:
    x = np.sin(2 * np.pi * HOURS / 37) + np.random.default_rng(1).normal(size=720)
    for y in (x, 1e-9 * x, 1e9 * x, x + 1e3):
        assert [each.length for each in periods(y)] == [37]


@pytest.mark.parametrize("lengths", [(24,), (24, 168)])
def test_a_season_is_told_from_trend_and_outliers(lengths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    truth = [np.sin(2 * np.pi * HOURS / length) for length in lengths]
    x = 0.005 * HOURS + sum(truth) + 0.1 * rng.normal(size=720)
    x[rng.integers(0, 720, 15)] += 20
    parts = split(x, lengths)
    for season, true in zip(parts.seasons, truth, strict=True):
        assert np.sqrt(np.mean((season - true) ** 2)) < 0.15
    assert np.sqrt(np.mean((parts.trend - 0.005 * HOURS) ** 2)) < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_a_very_clear_season_is_not_taken_for_a_part_of_a_longer_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hours = np.arange(21 * 24)
    series = np.where(hours % 24 < 12, 0.0, -1.0) + rng.normal(0, 0.05, len(hours))
    assert [each.length for each in periods(series, likely=(24, 168))] == [24]
