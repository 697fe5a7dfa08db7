"""False discoveries: the rule against its definition, and ranks that tell ties."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.discoveries import Band, e_bh, rank_bands

LOGS = st.lists(st.floats(-5.0, 12.0), max_size=12)


@settings(max_examples=50, deadline=None)
@given(LOGS, st.sampled_from([0.01, 0.05, 0.3]))
def test_the_rule_is_its_definition(log_e: list[float], level: float) -> None:
    k, stands = len(log_e), e_bh(log_e, level)
    best = max(
        (j for j in range(k + 1) if j == 0 or sum(x >= math.log(k / (level * j)) for x in log_e) >= j), default=0
    )
    assert sum(stands) == best
    assert all(
        x >= y for x, a in zip(log_e, stands, strict=True) if a for y, b in zip(log_e, stands, strict=True) if not b
    )


def test_few_of_what_is_told_are_false_though_the_tests_depend_on_each_other() -> None:
    """2,000 families of 10, 7 of them null, all driven by one draw; the mean share of false ones is 5 % at most."""
    rng, share = Random(1), 0.0
    for _ in range(2000):
        common = rng.gauss(0.0, 1.0)
        evidence = [2.0 * common - 2.0] * 7 + [2.0 * (rng.gauss(0.0, 1.0) + 4.0) - 2.0 for _ in range(3)]
        stands = e_bh(evidence, 0.05)
        share += sum(stands[:7]) / max(1, sum(stands))
    assert share / 2000 <= 0.05 + 3 * 0.05 / math.sqrt(2000)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="number"):
        e_bh([math.nan], 0.05)
    with pytest.raises(ValueError, match="level"):
        e_bh([1.0], 1.0)
    assert e_bh([], 0.05) == []
    assert e_bh([math.inf, -math.inf], 0.05) == [True, False]


def test_strategies_that_are_not_told_apart_are_tied() -> None:
    nothing = rank_bands({("a", "b"): 0.0, ("b", "c"): 0.0}, 0.05)
    assert nothing == {name: Band(1, 3) for name in "abc"}
    assert all(band.tied for band in nothing.values())
    clear = rank_bands(dict.fromkeys((("a", "b"), ("a", "c"), ("b", "c")), 9.0), 0.05)
    assert [clear[name] for name in "abc"] == [Band(1, 1), Band(2, 2), Band(3, 3)]
    assert not clear["a"].tied
