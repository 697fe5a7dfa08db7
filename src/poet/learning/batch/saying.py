"""Moments, spans and shares as findings say them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from poet.model.drawing import blocks
from poet.model.figures import figures

WIDTH = 60  # columns of a picture


def moment(at: float, step: float = 60.0) -> str:
    """A Unix time [s] in UTC, to the minute; to the day where points are days.

    >>> moment(1_700_000_000.0), moment(1_700_000_000.0, 86400.0)
    ('14 Nov 2023 22:13', '14 Nov 2023')
    """
    try:
        when = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at:.6g} s"
    day = f"{when.day} {when:%b %Y}"
    if step >= 86400.0:
        return day
    return f"{day} {when:%H:%M}" if step >= 60.0 else f"{day} {when:%H:%M:%S}"


def span(seconds: float) -> str:
    """A duration [s] in the unit that people would say.

    >>> span(0.0123), span(2.0), span(90.0), span(7200.0), span(86400.0), span(604800.0)
    ('12.3 ms', '2 s', '90 s', '2 h', '1 day', '7 days')
    """
    if seconds < 1.0:
        return f"{figures(1000 * seconds)} ms"
    if seconds < 180.0:
        return f"{figures(seconds)} s"
    if seconds < 7200.0:
        return f"{figures(seconds / 60)} min"
    if seconds < 86400.0:
        return f"{figures(seconds / 3600)} h"
    days = figures(seconds / 86400)
    return f"{days} day" if days == "1" else f"{days} days"


def share(x: float) -> str:
    """A share in [0, 1] as per cent.

    >>> share(0.1234), share(0.001234)
    ('12.3 %', '0.123 %')
    """
    return f"{figures(100 * x)} %"


def by(ratio: float) -> str:
    """A ratio > 0 as people say it.

    >>> by(1.25), by(0.8), by(3.0)
    ('25 % higher', '20 % lower', '3 times as high')
    """
    if ratio >= 2.0:
        return f"{figures(ratio)} times as high"
    return f"{figures(100 * (ratio - 1))} % higher" if ratio >= 1.0 else f"{figures(100 * (1 - ratio))} % lower"


def line(values: Sequence[float], width: int = WIDTH) -> str:
    """A series as a line of blocks, NaN as blanks; several share a column beyond ``width`` points."""
    n = len(values)
    if not n:
        return ""
    columns = min(width, n)
    means: list[float | None] = []
    for column in range(columns):
        part = [x for x in values[column * n // columns : (column + 1) * n // columns] if math.isfinite(x)]
        means.append(sum(part) / len(part) if part else None)
    known = [x for x in means if x is not None]
    return blocks(means, min(known, default=0.0), max(known, default=0.0)).rstrip()


def chart(values: Sequence[float], since: float, until: float, ends: Sequence[str], at: float = -1.0) -> list[str]:
    """A series with its span of time and its ``ends`` in words; a mark below at the share ``at``, if in [0, 1]."""
    drawn = line(values)
    columns = min(WIDTH, len(values))
    mark = [" " * min(int(at * columns), columns - 1) + "▲"] if 0 <= at <= 1 and columns else []
    return [drawn, *mark, f"{moment(since)} to {moment(until)}: {ends[0]} to {ends[1]}"]
