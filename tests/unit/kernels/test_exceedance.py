"""A limit that learns from the live version: in force before it is learned from, and never from the canary."""

from __future__ import annotations

import math
from random import Random

import pytest

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.exceedance import DEVIATIONS, FIRST, Limit


def test_there_is_no_limit_before_enough_was_seen() -> None:
    limit = Limit()
    for _ in range(FIRST - 1):
        limit = limit.add(0.1)
    assert limit.seconds == math.inf
    assert not limit.breached(1e9)
    assert limit.add(0.1).seconds == pytest.approx(0.1)


def test_the_limit_follows_the_live_version() -> None:
    rng, limit = Random(1), Limit()
    for _ in range(5000):
        limit = limit.add(0.1 * math.exp(0.5 * rng.gauss(0.0, 1.0)))
    assert math.log(limit.seconds / 0.1) == pytest.approx(0.5 * DEVIATIONS, rel=0.1)
    for _ in range(8000):
        limit = limit.add(1.0 * math.exp(0.5 * rng.gauss(0.0, 1.0)))
    assert math.log(limit.seconds / 1.0) == pytest.approx(0.5 * DEVIATIONS, rel=0.1)


def test_two_hanging_calls_in_a_hundred_are_found() -> None:
    rng, limit, test = Random(2), Limit(), CoinTest()
    for _ in range(10_000):
        canary = rng.random() < 0.1
        seconds = 0.1 * math.exp(0.8 * rng.gauss(0.0, 1.0)) * (30.0 if canary and rng.random() < 0.02 else 1.0)
        if limit.breached(seconds):
            test = test.add(0.1, int(canary), 1)
        if not canary:
            limit = limit.add(seconds)
    assert test.harm(0.001)


def test_impossible_latencies_are_refused() -> None:
    for seconds in -1e-12, -1.0, math.nan, math.inf:
        with pytest.raises(ValueError, match="latency"):
            Limit().add(seconds)
