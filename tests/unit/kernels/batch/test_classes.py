from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from poet.kernels.batch.classes import risen

NAMES = ("OSError", "ReadTimeout", "KeyError")


def calls(rng: np.random.Generator, n: int, *shares: float) -> np.ndarray:
    edges = np.cumsum(shares)
    kinds = (rng.random(n)[:, None] >= edges).sum(axis=1)
    return np.where(kinds < len(shares), kinds, -1)


def worse(was: np.ndarray, now: np.ndarray) -> float:
    return float((now >= 0).sum() - len(now) * (was >= 0).mean())


def test_the_kind_that_came_more_often_is_named_and_the_usual_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    was, now = calls(rng, 5000, 0.02, 0.01, 0.005), calls(rng, 1000, 0.02, 0.10, 0.005)
    (found,) = risen(NAMES, was, now, worse(was, now))
    assert found.name == "ReadTimeout"
    assert found.low < 0.09 < found.high
    assert 0.8 < found.share <= 1.0


def test_what_explains_the_most_comes_first() -> None:
    rng = np.random.default_rng(2)
    was, now = calls(rng, 5000, 0.01, 0.0, 0.0), calls(rng, 1000, 0.01, 0.05, 0.15)
    assert [each.name for each in risen(NAMES, was, now, worse(was, now))] == ["KeyError", "ReadTimeout"]


def test_the_chance_is_the_binomial_ones() -> None:
    was, now = np.full(4000, -1), np.full(1000, -1)
    was[:30], now[:20] = 0, 0
    (found,) = risen(NAMES, was, now, 10.0)
    assert found.p == pytest.approx(stats.binom.sf(19, 50, 0.2))


def test_what_comes_in_bursts_is_not_taken_for_news() -> None:
    """At 3 % false discoveries, of 100 histories in which a kind comes in bursts at most 5 name it."""
    named = blind = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        hour = np.sort(rng.integers(0, 48, 6000))
        was = np.where(rng.random(6000) < 0.02 * rng.gamma(0.5, 2.0, 48)[hour], 0, -1)
        now = np.where(rng.random(1000) < 0.02 * rng.gamma(0.5, 2.0, 8)[np.sort(rng.integers(0, 8, 1000))], 0, -1)
        more = max(worse(was, now), 1.0)
        named += bool(risen(NAMES, was, now, more, blocks=hour))
        blind += bool(risen(NAMES, was, now, more))
    assert named <= 5 < blind


def test_nothing_and_few_name_nothing() -> None:
    none = np.full(0, -1)
    assert risen(NAMES, none, none, 1.0) == ()
    assert risen(NAMES, np.full(100, -1), np.r_[np.zeros(9, int), np.full(91, -1)], 9.0) == ()
    assert risen(NAMES, np.full(100, -1), np.zeros(50, int), 0.0) == ()


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 400))
def test_whatever_comes_shares_are_shares(seed: int, n0: int, n1: int) -> None:
    rng = np.random.default_rng(seed)
    was, now = rng.integers(-1, 3, n0), rng.integers(-1, 3, n1)
    for each in risen(NAMES, was, now, max(worse(was, now), 1e-9), blocks=rng.integers(0, 5, n0)):
        assert 0 < each.share <= 1
        assert each.before <= each.during
        assert 0 <= each.p <= 0.03
