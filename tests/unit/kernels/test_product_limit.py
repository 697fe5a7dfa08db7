"""The product limit, against the textbook by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.product_limit import CUT_OFF, Limit, Sample, drawn, product_limit

# attempts: (seconds, kind, weight); few distinct times, so that there are ties
attempts = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=40)


def limit_of(found: list[tuple[int, int, int]]) -> Limit:
    seconds, kinds, weights = (np.array(column) for column in zip(*found, strict=True))
    sample = Sample.of(seconds.astype(float), kinds, np.arange(len(found)))
    return product_limit(sample, weights[sample.owners].astype(float))


def by_hand(found: list[tuple[int, int, int]], until: float) -> float:
    """Kaplan & Meier 1958 on the attempts themselves, each as often as it weighs; both kinds of end are ends."""
    repeated = [(seconds, kind) for seconds, kind, weight in found for _ in range(weight)]
    alive = 1.0
    for moment in sorted({seconds for seconds, kind in repeated if kind != CUT_OFF and seconds <= until}):
        at_risk = sum(seconds >= moment for seconds, _ in repeated)
        alive *= 1 - sum(seconds == moment and kind != CUT_OFF for seconds, kind in repeated) / at_risk
    return alive


@given(attempts)
def test_weights_are_repetitions_and_ties_end_before_they_are_cut_off(found: list[tuple[int, int, int]]) -> None:
    limit = limit_of(found)
    for until in range(10):
        alive = limit.alive[np.searchsorted(limit.seconds, until, side="right")]
        assert alive == pytest.approx(by_hand(found, until), abs=1e-9)


@given(attempts, st.integers(0, 9))
def test_drawing_at_evenly_spread_luck_gives_the_curve_back(found: list[tuple[int, int, int]], after: int) -> None:
    limit, luck = limit_of(found), (np.arange(4000) + 0.5) / 4000
    seconds, kinds = drawn(limit, luck, np.full(4000, float(after)))
    left = by_hand(found, after)
    assert (seconds > after).all()
    assert ((kinds == CUT_OFF) == np.isinf(seconds)).all()
    if left > 0:
        for until in range(after, 10):
            assert (seconds > until).mean() == pytest.approx(by_hand(found, until) / left, abs=1e-3)


@given(attempts)
def test_who_is_drawn_ends_as_somebody_did_at_that_time(found: list[tuple[int, int, int]]) -> None:
    seconds, kinds = drawn(limit_of(found), np.linspace(0, 1, 50, endpoint=False))
    seen = {(float(seconds), kind) for seconds, kind, weight in found if weight}
    assert all(pair in seen for pair in zip(seconds.tolist(), kinds.tolist(), strict=True) if pair[1] != CUT_OFF)


def test_nothing_is_said_behind_the_last_observation() -> None:
    limit = limit_of([(1, 1, 1), (2, CUT_OFF, 1)])
    seconds, kinds = drawn(limit, np.array([0.2, 0.8]))
    assert seconds.tolist() == [np.inf, 1.0]
    assert kinds.tolist() == [CUT_OFF, 1]
    assert drawn(limit, np.array([0.5]), np.array([3.0]))[1].tolist() == [CUT_OFF]
