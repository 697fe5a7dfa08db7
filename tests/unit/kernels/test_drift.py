from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.drift import cusum, lags

ratios = st.lists(st.floats(-20, 20), min_size=1, max_size=60)


@given(ratios, st.floats(0, 1))
def test_a_cusum_is_the_best_sum_over_all_ends(evidence: list[float], allowance: float) -> None:
    level = 0.0
    for value in evidence:
        level = cusum(level, value, allowance=allowance)
    sums = [sum(evidence[start:]) - allowance * (len(evidence) - start) for start in range(len(evidence) + 1)]
    assert math.isclose(level, max(0.0, *sums), abs_tol=1e-9)


@given(st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0), st.floats(-20, 0)), max_size=40), st.floats(0, 1))
def test_lags_are_the_cusums_against_the_first_predictor(rows: list[tuple[float, ...]], allowance: float) -> None:
    levels = [0.0] * 3
    one_by_one = [0.0] * 3
    for row in rows:
        levels = lags(levels, row, allowance=allowance)
        one_by_one = [cusum(old, row[0] - x, allowance=allowance) for old, x in zip(one_by_one, row, strict=True)]
    assert all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(levels, one_by_one, strict=True))
    assert levels[0] == 0.0


def test_false_alarms_keep_their_rate_and_changes_are_found() -> None:
    """Bernoulli 0.1 against 0.5 at 9 nats.

    Unchanged, the chance that a cusum of likelihood ratios exceeds h within n steps is below n exp(-h) (Page 1954;
    Wald's identity): 20 000 exp(-9) = 2.5 expected. The seed makes the count a fixed figure.
    """
    dice = random.Random(1)
    ratio = {True: math.log(0.5 / 0.1), False: math.log(0.5 / 0.9)}
    level, alarms = 0.0, 0
    for _ in range(20_000):
        level = cusum(level, ratio[dice.random() < 0.1], allowance=0.02)
        if level > 9:
            alarms, level = alarms + 1, 0.0
    assert alarms <= 2
    steps, level = 0, 0.0
    while level <= 9:
        level = cusum(level, ratio[dice.random() < 0.5], allowance=0.02)
        steps += 1
    assert steps < 60  # 9 nats at 0.49 nats a step: 18 on average
