"""What sounds an alarm, and how much it takes while little is known."""

from __future__ import annotations

import pytest

from poet.learning.evidence import Evidence
from poet.learning.notes import LEVELS, MEMORIES


def levels(nats: float) -> list[float]:
    """Evidence for one of the shifts."""
    found = [0.0] * LEVELS
    found[MEMORIES] = nats
    return found


@pytest.mark.parametrize(
    ("calls", "nats", "heard"),
    [
        (50, 24.0, False),
        (50, 26.0, True),
        (500, 13.5, False),
        (500, 14.0, True),
        (50_000, 12.4, False),
        (50_000, 12.6, True),
    ],
)
def test_the_fewer_calls_a_picture_rests_on_the_more_an_alarm_asks_for(calls: int, nats: float, heard: bool) -> None:
    seen = Evidence()
    seen.calls = calls
    assert seen._alarmed(levels(nats)) is heard
