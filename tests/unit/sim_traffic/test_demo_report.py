from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.demo.report import (
    Difference,
    Learned,
    difference,
    learned_sentence,
    quantile,
    score,
    span,
    verdict_sentence,
)
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.sim.traffic import Result, load_recordings

OBJECTIVE = Objective(latency_cost=0.1)


@given(st.lists(st.floats(0.0, 1e3), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_others_do_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_failed_calls_count_in_every_figure() -> None:
    row = score([Result(True, 1.0, 1), Result(False, 9.0, 3)], OBJECTIVE, best_utility=0.5)
    assert (row.success, row.mean, row.p99, row.extra) == (0.5, 5.0, 9.0, 1.0)
    assert row.utility == pytest.approx((0.9 + (-0.9 - 0.06)) / 2)
    assert row.share == pytest.approx(row.utility / 0.5)


def test_a_difference_is_paired_by_call() -> None:
    slow = [Result(True, 2.0 + call % 7, 1) for call in range(100)]
    quick = [Result(True, 1.0 + call % 7, 1) for call in range(100)]
    gain = difference(quick, slow, OBJECTIVE)
    assert gain.value == pytest.approx(0.1)
    assert gain.error == pytest.approx(0.0)
    assert gain.verdict == "better"
    assert difference(slow, quick, OBJECTIVE).verdict == "worse"


def test_two_arms_of_equal_worth_are_seldom_told_apart() -> None:
    # 95 % intervals over 23 blocks: normal quantiles cover a little less, about 94 %; 200 runs, 6 standard errors wide.
    told_apart = 0
    for seed in range(200):
        coin = random.Random(seed)
        ours, theirs = ([Result(True, coin.uniform(0, 5), 1) for _ in range(450)] for _ in range(2))
        told_apart += difference(ours, theirs, OBJECTIVE).verdict != "even"
    assert told_apart / 200 < 0.06 + 6 * math.sqrt(0.06 * 0.94 / 200)


def test_a_single_block_tells_nothing_apart() -> None:
    assert difference([Result(True, 1.0, 1)], [Result(True, 9.0, 1)], OBJECTIVE).verdict == "even"


def test_the_verdict_says_where_poet_is_not_better() -> None:
    told = verdict_sentence({"fixed": Difference(0.2, 0.1), "rule": Difference(-0.2, 0.1)})
    assert "better than fixed (+0.200 ± 0.100)" in told
    assert "WORSE than usual rule (-0.200 ± 0.100)" in told


def test_what_was_learned_is_told_in_recorded_seconds() -> None:
    recording = load_recordings(["chat"])["chat"]
    before = ParameterSet(
        values_={"timeout": 30 / recording.speed_up, "retries": 3, "backoff": 0.2 / recording.speed_up}
    )
    after = ParameterSet(
        values_={
            "timeout": 60 / recording.speed_up,
            "retries": 1,
            "backoff": 2 / recording.speed_up,
            "hedges": 1,
            "hedge_delay": 5 / recording.speed_up,
        }
    )
    assert learned_sentence(Learned(before, after, 2, "why"), recording) == (
        "POET learned, in 2 changes: timeout 30 s, 3 retries, backoff 200 ms → "
        "timeout 60 s, 1 retry, backoff 2 s, 1 hedge after 5 s."
    )
    assert "nothing that pays" in learned_sentence(Learned(before, before, 0, ""), recording)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0049, "4.9 ms"), (0.9994, "999 ms"), (0.9996, "1 s"), (82.19, "82.2 s")]
)
def test_durations_are_told_in_their_unit(seconds: float, told: str) -> None:
    assert span(seconds) == told
