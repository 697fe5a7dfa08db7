"""Events wait until either side would have told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.waiting import Waiting

EVENTS = st.lists(st.tuples(st.floats(0.0, 1000.0), st.sampled_from([0.1, 0.5]), st.booleans()), max_size=30)


@settings(max_examples=50, deadline=None)
@given(EVENTS, st.floats(0.0, 1200.0), st.floats(0.5, 100.0))
def test_nothing_counts_too_soon_and_nothing_is_lost(
    events: list[tuple[float, float, bool]], now: float, horizon: float
) -> None:
    waiting, whole = Waiting(horizon), CoinTest()
    for began, share, canary in events:
        waiting = waiting.add(began, share, canary)
        whole = whole.add(share, int(canary), 1)
    waiting, due = waiting.due(now)
    counted = CoinTest()
    for counts in due:
        counted = counted.add(*counts)
    surely = sum(began <= now - 1.3 * horizon for began, _, _ in events)
    possibly = sum(began <= now - horizon * (1 - 1e-9) for began, _, _ in events)
    assert surely <= counted.events <= possibly
    for counts in waiting.due(now + 3000.0)[1]:
        counted = counted.add(*counts)
    assert counted == whole


def test_what_waits_stays_small() -> None:
    waiting = Waiting(30.0)
    for i in range(10_000):
        waiting, _ = waiting.add(0.1 * i, 0.1, i % 10 == 0).due(0.1 * i)
        assert len(waiting.held) <= 10


def test_impossible_numbers_are_refused() -> None:
    for began, share, horizon in (math.nan, 0.1, 1.0), (1.0, 0.0, 1.0), (1.0, math.nan, 1.0), (1.0, 0.1, 0.0):
        with pytest.raises(ValueError, match="got"):
            Waiting(horizon).add(began, share, canary=True)
