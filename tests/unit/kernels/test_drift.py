"""Alarms against their definition, their rate where nothing changes, and their delay where something does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.drift import odds, shifted

MOST = 2.5
SHIFTS = (-5, -2, 2, 5)


def latencies(bins: int = 60, centre: float = 30.0, spread: float = 2.0) -> np.ndarray:
    places = np.arange(bins)
    chance = np.exp(-0.5 * ((places - centre) / spread) ** 2)
    return chance / chance.sum()


def levels(answers: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The level of every shift after each draw."""
    alive = np.append(1.0, 1 - answers.cumsum())[:-1]
    told, _ = shifted(answers, np.maximum(alive, 0.0), SHIFTS, most=MOST)
    level, found = np.zeros(len(SHIFTS)), []
    for bin_ in drawn:
        level = np.maximum(0.0, level + told[:, bin_])
        found.append(level)
    return np.array(found)


def test_where_nothing_changes_a_level_is_passed_no_more_often_than_it_may() -> None:
    """Of 40 000 draws none may end an excursion above 5 nats more often than once in exp(5) per shift, on average.

    Excursions are rare and nearly independent, so their number is about Poisson: 5 standard deviations above the mean
    that is allowed would be a false alarm once in a million runs.
    """
    answers = latencies()
    drawn = np.random.default_rng(3).choice(len(answers), 40_000, p=answers)
    above = levels(answers, drawn) > 5.0
    begun = (above[1:] & ~above[:-1]).sum(axis=0)
    allowed = len(drawn) / math.exp(5.0)
    assert (begun < allowed + 5 * math.sqrt(allowed)).all()


@pytest.mark.parametrize(("shift", "calls"), [(5, 20), (2, 100), (-2, 100), (-5, 20)])
def test_a_shift_is_found_within_some_calls(shift: int, calls: int) -> None:
    answers = latencies()
    drawn = np.random.default_rng(4).choice(len(answers), calls, p=np.roll(answers, shift))
    assert levels(answers, drawn)[-1, SHIFTS.index(shift)] > 12.0


@given(st.integers(0, 59), st.floats(0.3, 6.0), st.floats(5, 55))
def test_no_single_answer_says_more_than_it_may(bin_: int, spread: float, centre: float) -> None:
    answers = latencies(centre=centre, spread=spread)
    alive = np.maximum(np.append(1.0, 1 - answers.cumsum())[:-1], 0.0)
    for told in shifted(answers, alive, SHIFTS, most=MOST):
        assert (np.abs(told[:, bin_]) <= MOST).all()


@given(st.floats(0.001, 0.999), st.floats(0.05, 20.0))
def test_odds_are_a_likelihood_ratio(share: float, ratio: float) -> None:
    absent, present = odds(share, ratio)
    mean = (1 - share) * math.exp(absent) + share * math.exp(present)
    assert mean == pytest.approx(1.0)  # of what may be expected where nothing has changed
    after = share * math.exp(present)
    assert after / (1 - after) == pytest.approx(ratio * share / (1 - share))
