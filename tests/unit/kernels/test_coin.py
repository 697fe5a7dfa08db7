"""The test of whose the events were: exact on enumerated cases, additive, and closed to impossible counts."""

from __future__ import annotations

import json
import math
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.coin import MOST_SHARES, CoinTest, canary_calls_needed

SHARES = st.sampled_from([0.01, 0.05, 0.1, 0.5, 0.9])
BATCHES = st.lists(st.tuples(SHARES, st.integers(0, 40), st.integers(0, 40)), max_size=6)


def of(batches: list[tuple[float, int, int]]) -> CoinTest:
    test = CoinTest()
    for share, canary, live in batches:
        test = test.add(share, canary, canary + live)
    return test


def test_three_failures_of_three_in_a_tenth_of_the_calls_are_harm() -> None:
    assert not of([(0.1, 2, 0)]).harm(0.01)
    assert of([(0.1, 3, 0)]).harm(0.01)


def test_no_event_is_no_evidence() -> None:
    assert CoinTest().add(0.1, 0, 0) == CoinTest()
    assert CoinTest().log_e() == pytest.approx(0.0, abs=1e-12)
    assert CoinTest().ratio(0.05) == (0.0, math.inf)


@pytest.mark.parametrize("tolerated", [1.0, 2.0])
@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_where_there_is_no_harm_the_mean_of_the_evidence_never_rises(tolerated: float, ratio: float) -> None:
    """Every sequence of 8 events, with shares that change: enumerated, so without any error of chance."""
    shares = [0.1, 0.1, 0.5, 0.3, 0.1, 0.9, 0.5, 0.5]
    before = 1.0
    for length in range(1, len(shares) + 1):
        mean = 0.0
        for owners in product((0, 1), repeat=length):
            test, chance = CoinTest(), 1.0
            for share, owner in zip(shares, owners, strict=False):
                r = ratio * tolerated
                theta = share * r / (1 - share + share * r)
                chance *= theta if owner else 1 - theta
                test = test.add(share, owner, 1)
            mean += chance * math.exp(test.log_e(tolerated))
        assert mean <= before + 1e-12
        if ratio == 1.0:  # at the edge of the hypothesis it is a martingale
            assert mean == pytest.approx(1.0, abs=1e-12)
        before = mean


@settings(max_examples=50, deadline=None)
@given(BATCHES, BATCHES, BATCHES)
def test_counts_add_up_in_any_order(
    a: list[tuple[float, int, int]], b: list[tuple[float, int, int]], c: list[tuple[float, int, int]]
) -> None:
    x, y, z = of(a), of(b), of(c)
    assert x.merged(y) == y.merged(x) == of([*b, *a])
    assert x.merged(y).merged(z) == x.merged(y.merged(z))
    assert x.merged(CoinTest()) == x


@settings(max_examples=50, deadline=None)
@given(BATCHES)
def test_a_state_survives_a_store(batches: list[tuple[float, int, int]]) -> None:
    test = of(batches)
    assert CoinTest.from_state(json.loads(json.dumps(test.state()))) == test


@settings(max_examples=50, deadline=None)
@given(BATCHES, st.sampled_from([0.001, 0.01, 0.2]), st.sampled_from([0.5, 1.0, 3.0]))
def test_a_bound_and_the_evidence_say_the_same(
    batches: list[tuple[float, int, int]], alpha: float, tolerated: float
) -> None:
    test = of(batches)
    lower, upper = test.lower(alpha), test.upper(alpha)
    assert 0.0 <= lower <= upper
    if abs(test.log_e(tolerated) + math.log(alpha)) > 1e-6:
        assert test.harm(alpha, tolerated) == (lower > tolerated)


@settings(max_examples=50, deadline=None)
@given(BATCHES, SHARES)
def test_one_more_event_of_the_canary_is_evidence_and_one_of_the_live_version_is_none(
    batches: list[tuple[float, int, int]], share: float
) -> None:
    test = of(batches)
    assert test.add(share, 1, 1).log_e() >= test.log_e() >= test.add(share, 0, 1).log_e()


def test_the_bounds_hold_the_true_ratio_at_every_look() -> None:
    """Over 100 roll-outs of 400 events, 10 looks each; alpha 20 %: 33 misses or more come by chance in 1 of 500."""
    rng, misses = Random(1), 0
    for _ in range(100):
        test, ratio = CoinTest(), 2.0
        for i in range(10):
            share = 0.1 if i < 4 else 0.5
            canary = sum(rng.random() < share * ratio / (1 - share + share * ratio) for _ in range(40))
            test = test.add(share, canary, 40)
            low, high = test.ratio(0.2)
            if not low <= ratio <= high:
                misses += 1
                break
    assert misses < 33


@pytest.mark.parametrize(
    ("share", "canary", "events"),
    [
        (0.0, 0, 1),
        (1.0, 0, 1),
        (math.nan, 0, 1),
        (0.1, 2, 1),
        (0.1, -1, 1),
        (0.1, 0.5, 1),
        (0.1, math.nan, 1),
        (0.1, 1, math.inf),
    ],
)
def test_impossible_counts_are_refused(share: float, canary: int, events: int) -> None:
    with pytest.raises(ValueError, match="got"):
        CoinTest().add(share, canary, events)


def test_impossible_rates_of_alarms_and_states_are_refused() -> None:
    for alpha in 0.0, 1.0, math.nan:
        with pytest.raises(ValueError, match="alpha"):
            CoinTest().harm(alpha)
        with pytest.raises(ValueError, match="alpha"):
            CoinTest().lower(alpha)
    with pytest.raises(ValueError, match="tolerated"):
        of([(0.1, 1, 1)]).log_e(math.nan)
    for bad in [0.1, math.nan, 1], [0.1, 0.5, 1], [0.1, 3, 1]:
        with pytest.raises(ValueError, match="got"):
            CoinTest.from_state([bad])


def test_a_share_of_its_own_for_each_call_is_refused_before_the_state_grows() -> None:
    test = CoinTest()
    for i in range(MOST_SHARES):
        test = test.add((i + 1) / 1000, 0, 1)
    with pytest.raises(ValueError, match="round them upwards"):
        test.add(0.999, 0, 1)
    assert test.add(0.001, 1, 1).events == MOST_SHARES + 1


def test_what_is_still_needed_is_about_what_it_takes() -> None:
    """1 % to 5 % at a tenth of the calls takes a median of some 160 calls (benchmarks); half or twice it is no lie."""
    assert 80 < canary_calls_needed(0.1, 0.01, 5.0, 0.01) < 320
    assert canary_calls_needed(0.1, 0.01, 1.0, 0.01) == math.inf
    assert canary_calls_needed(0.1, 0.0, 2.0, 0.01) == math.inf
