"""The histories of which it is known what is in them."""

from __future__ import annotations

import numpy as np
from benchmarks.planted import KINDS, history, judged


def test_a_seed_is_a_history() -> None:
    one, two = history(3, 300), history(3, 300)
    assert one.planted == two.planted
    assert np.array_equal(one.outcomes["latency"], two.outcomes["latency"])
    assert len(one.arm) == len(one.group) == len(one.numbers) == 300


def test_every_kind_is_planted_and_some_histories_hold_nothing() -> None:
    several = [history(seed, 60).planted for seed in range(60)]
    assert set().union(*several) == set(KINDS)
    assert 5 <= sum(not each for each in several) <= 30


def test_what_is_found_was_planted() -> None:
    told = judged(1, 1500)
    assert told.found <= told.planted
    assert told.told >= len(told.found)
    assert told.rows == 1500
