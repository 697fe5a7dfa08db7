"""A number that knows its doubt."""

from __future__ import annotations

from typing import NamedTuple


class Estimate(NamedTuple):
    """``value`` with an interval that holds the truth with probability ``level``, from ``n`` executions."""

    value: float
    low: float
    high: float
    n: int
    level: float = 0.9
