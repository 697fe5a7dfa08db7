"""Means over blocks of time: what they hold, and how often their intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.batch import blocks
from poet.kernels.batch.blocks import Cut, cut, mean, running, share, spells


def summed(values: np.ndarray, found: Cut) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums, counts and one spell."""
    counts = np.bincount(found.codes, minlength=found.blocks).astype(float)
    return np.bincount(found.codes, values, found.blocks)[None, :], counts, np.zeros(found.blocks, np.int64)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_every_row_is_in_one_block_in_order_of_time(started: list[float]) -> None:
    moments = np.array(started)
    found = cut(moments)
    assert set(found.codes.tolist()) == set(range(found.blocks))
    assert found.blocks <= blocks.MOST
    order = np.argsort(moments, kind="stable")
    assert (np.diff(found.codes[order]) >= 0).all()


def test_nothing_has_no_blocks() -> None:
    assert cut(np.zeros(0)).blocks == 0
    assert len(spells(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)) == 0


def test_all_at_once_is_one_block_without_an_interval() -> None:
    found = cut(np.full(50, 7.0))
    told = mean(*summed(np.arange(50.0), found))
    assert (found.blocks, told.df) == (1, 0)
    assert told.figure.value == pytest.approx(24.5)
    assert math.isnan(told.figure.low)
    assert math.isnan(told.p_above())


@given(st.lists(st.floats(-1e3, 1e3), min_size=60, max_size=120))
def test_the_mean_is_that_of_all_rows_and_lies_in_its_interval(values: list[float]) -> None:
    found = cut(np.arange(len(values)) * 60.0)
    told = mean(*summed(np.array(values), found))
    assert told.figure.low - 1e-9 <= told.figure.value <= told.figure.high + 1e-9
    assert told.centres[0] == pytest.approx(np.mean(values), abs=1e-9)


def test_rows_of_a_block_count_for_one() -> None:
    """Of values that a whole block shares, no more is known than of one row of each block."""
    rng = np.random.default_rng(5)
    level = rng.normal(size=40)
    few, many = cut(np.arange(40) * 60.0), cut(np.repeat(np.arange(40) * 60.0, 50) + np.tile(np.arange(50), 40))
    one, other = mean(*summed(level, few)).figure, mean(*summed(np.repeat(level, 50), many)).figure
    assert few.blocks == pytest.approx(8)  # five rows of each, at least
    assert many.blocks == 39
    plain = 1.6449 * np.std(np.repeat(level, 50)) / math.sqrt(2000)
    assert (other.high - other.low) / 2 > 4 * plain
    assert one.low < 0.5 * (other.low + other.high) < one.high


def test_the_level_of_each_spell_is_no_noise() -> None:
    values = np.repeat([0.0, 10.0], 500) + np.random.default_rng(6).normal(size=1000)
    found = cut(np.arange(1000) * 6.0)
    sums, counts, _ = summed(values, found)
    apart = mean(sums, counts, spells(found.codes, np.repeat([1, 2], 500), found.blocks)).figure
    mixed = mean(sums, counts, np.zeros(found.blocks, np.int64)).figure
    assert apart.low <= 5.0 <= apart.high
    assert (mixed.high - mixed.low) > 10 * (apart.high - apart.low)


def test_what_imputations_differ_by_is_in_the_interval() -> None:
    sums = np.outer(np.linspace(-1, 1, 21), np.full(20, 5.0))
    told = mean(sums, np.full(20, 5.0), np.zeros(20, np.int64)).figure
    assert told == (pytest.approx(0.0), pytest.approx(-0.9), pytest.approx(0.9))


def drift(rng: np.random.Generator, n: int, keep: float) -> np.ndarray:
    """AR(1) of variance 1."""
    noise, found = rng.normal(size=n) * math.sqrt(1 - keep**2), np.empty(n)
    found[0] = rng.normal()
    for i in range(1, n):
        found[i] = keep * found[i - 1] + noise[i]
    return found


@pytest.mark.parametrize("keep", [0.0, 0.8])
def test_intervals_hold_the_truth_where_neighbours_resemble_each_other(keep: float) -> None:
    """300 runs of 2000 rows, 20 in a minute; of 90 % intervals fewer than 84.8 % hold in less than 0.3 % of tests."""
    rng = np.random.default_rng(7)
    found = cut(np.arange(2000) * 3.0)
    held = 0
    for _ in range(300):
        low, high = mean(*summed(drift(rng, 2000, keep) + 0.3, found)).figure[1:]
        held += low <= 0.3 <= high
    assert held >= 0.848 * 300


def test_a_running_band_holds_at_all_moments() -> None:
    """200 runs of 100 blocks; of 90 % bands fewer than 84 % hold throughout in less than 0.3 % of tests."""
    rng, held = np.random.default_rng(8), 0
    for _ in range(200):
        told = running(rng.exponential(size=(1, 100)) * 20, np.full(100, 20.0), np.zeros(100, np.int64), range(1, 101))
        held += all(not figure.low > 1 and not figure.high < 1 for figure in told)
    assert held >= 168


def test_a_band_is_not_told_before_anything_has_happened() -> None:
    sums = np.zeros((1, 30))
    sums[0, 20:] = 1.0
    told = running(sums, np.ones(30), np.zeros(30, np.int64), range(1, 31))
    assert [math.isnan(figure.low) for figure in told] == [True] * 29 + [False]


def test_a_share_reaches_its_ends() -> None:
    assert share(0, 5).low == 0
    assert share(5, 5).high == 1
    assert all(math.isnan(x) for x in share(0, 0))
