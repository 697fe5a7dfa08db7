"""Sample ratios: exact on enumerated cases, additive, and closed to impossible counts."""

from __future__ import annotations

import json
import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.sample_ratio import MOST_SHARES, SampleRatio

SHARES = st.sampled_from([(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5)])
PARTS = st.lists(st.tuples(SHARES, st.lists(st.integers(0, 50), min_size=3, max_size=3)), max_size=5)


def of(parts: list[tuple[tuple[float, ...], list[int]]]) -> SampleRatio:
    test = SampleRatio()
    for shares, counts in parts:
        test = test.add(shares, counts[: len(shares)])
    return test


def test_where_the_shares_are_right_the_evidence_is_1_on_average() -> None:
    plan = [(0.2, 0.3, 0.5), (0.2, 0.3, 0.5), (0.6, 0.2, 0.2), (0.6, 0.2, 0.2), (0.2, 0.3, 0.5), (0.6, 0.2, 0.2)]
    mean = 0.0
    for arms in product(range(3), repeat=len(plan)):
        test = of([(shares, [int(arm == i) for i in range(3)]) for shares, arm in zip(plan, arms, strict=True)])
        mean += math.prod(shares[arm] for shares, arm in zip(plan, arms, strict=True)) * math.exp(test.log_e)
    assert mean == pytest.approx(1.0, abs=1e-9)  # logarithms of the gamma function of 10,000 cost some digits


@settings(max_examples=50, deadline=None)
@given(PARTS, PARTS, PARTS)
def test_counts_add_up_in_any_order(a: list, b: list, c: list) -> None:  # type: ignore[type-arg]
    x, y, z = of(a), of(b), of(c)
    assert x.merged(y) == y.merged(x) == of([*b, *a])
    assert x.merged(y).merged(z) == x.merged(y.merged(z))
    assert SampleRatio.from_state(json.loads(json.dumps(x.state()))) == x


def test_small_mismatches_of_many_calls_and_gross_ones_of_few_are_found() -> None:
    assert SampleRatio().add((0.5, 0.5), (503_000, 497_000)).mismatch()
    assert SampleRatio().add((0.9, 0.1), (0, 10)).mismatch()
    assert SampleRatio().add((0.5, 0.5), (20, 0)).mismatch()
    assert not SampleRatio().add((0.5, 0.5), (500_500, 499_500)).mismatch()
    assert not SampleRatio().mismatch()


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ((0.5, 0.6), (1, 1)),
        ((1.0, 0.0), (1, 1)),
        ((math.nan, 0.5), (1, 1)),
        ((1.0,), (1,)),
        ((0.5, 0.5), (1,)),
        ((0.5, 0.5), (1, -1)),
        ((0.5, 0.5), (1, 0.5)),
        ((0.5, 0.5), (1, math.nan)),
    ],
)
def test_impossible_counts_are_refused(shares: tuple[float, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="got"):
        SampleRatio().add(shares, counts)


def test_shares_of_their_own_for_each_call_are_refused_before_the_state_grows() -> None:
    test = SampleRatio()
    for i in range(MOST_SHARES):
        test = test.add(((i + 1) / 1000, 1 - (i + 1) / 1000), (0, 1))
    with pytest.raises(ValueError, match="different shares"):
        test.add((0.5, 0.5), (0, 1))


def test_impossible_states_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="got"):
        SampleRatio.from_state([[[0.5, 0.5], [1.0, math.inf]]])
    with pytest.raises(ValueError, match="alpha"):
        SampleRatio().mismatch(0.0)
