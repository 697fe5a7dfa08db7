"""Small pictures in text: a line of blocks over a logarithmic axis of seconds, with marks below."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

BLOCKS = "▁▂▃▄▅▆▇█"
NARROWEST = 20  # columns
MARGIN = 8  # columns left of the axis
FINEST = 0.05  # of a success's value: least height of the picture of worth
LEAST = 0.0005  # share of the answers below which a bin does not widen the axis


class Bin(NamedTuple):
    """A span of time, and what falls into it."""

    low: float  # [s]
    high: float  # > low [s]
    share: float  # >= 0


class Mark(NamedTuple):
    """A moment that has a name."""

    seconds: float  # > 0 [s]
    label: str


class Axis(NamedTuple):
    """Seconds on a logarithmic scale."""

    low: float  # at the left edge of the first column, > 0 [s]
    high: float  # at the right edge of the last one, > low [s]
    width: int  # columns, >= 1

    @classmethod
    def over(cls, moments: Iterable[float], width: int) -> Axis:
        """All ``moments``, > 0 [s], and a little more; at least a factor of two."""
        found = [x for x in moments if 0 < x < math.inf] or [1.0]
        low, high = min(found) / 1.1, max(found) * 1.1
        return cls(low, max(high, 2 * low), max(width, NARROWEST))

    def place(self, seconds: float) -> float:
        """Where ``seconds``, > 0, lies: 0 at the left edge, ``width`` at the right one [columns]."""
        place: float = self.width * math.log(seconds / self.low) / math.log(self.high / self.low)
        return place

    def column(self, seconds: float) -> int:
        """The column of ``seconds``, > 0; of what lies outside the nearest."""
        return min(max(int(self.place(seconds)), 0), self.width - 1)

    def middle(self, column: int) -> float:
        """The moment in the middle of a column [s]."""
        return float(self.low * (self.high / self.low) ** ((column + 0.5) / self.width))


def spread(bins: Sequence[Bin], axis: Axis) -> list[float]:
    """What falls into each column, each bin being spread evenly over its columns."""
    columns = [0.0] * axis.width
    for low, high, share in bins:
        if share <= 0:
            continue
        start = axis.place(low or high / 10)  # 0 s has no place
        end = max(axis.place(high), start + 1e-9)
        for column in range(max(int(start), 0), min(int(end), axis.width - 1) + 1):
            covered = min(end, column + 1) - max(start, column)
            columns[column] += share * max(covered, 0.0) / (end - start)
    return columns


def blocks(values: Sequence[float | None], lowest: float, highest: float) -> str:
    """One block each, the higher the more; what is at or below ``lowest`` gets the smallest, None a blank.

    >>> blocks([0.0, 0.5, 1.0, None], 0.0, 1.0)
    '▁▅█ '
    """
    span = highest - lowest
    drawn = []
    for value in values:
        if value is None:
            drawn.append(" ")
        else:
            # cut off first: by the smallest spans that there are a quotient has no end
            part = min(max(value - lowest, 0.0), span) / span if span > 0 else 1.0
            level = int(len(BLOCKS) * part)
            drawn.append(BLOCKS[min(max(level, 0), len(BLOCKS) - 1)])
    return "".join(drawn)


def density(bins: Sequence[Bin], axis: Axis) -> str:
    """How much falls where; nothing is a blank, and next to nothing the smallest block.

    >>> density([Bin(0.1, 0.2, 0.9), Bin(0.2, 10.0, 0.1)], Axis(0.01, 100.0, 20))
    '     █▅▁▁▁▁▁▁▁▁     '
    """
    columns = spread(bins, axis)
    return blocks([x if x > 0 else None for x in columns], 0.0, max(columns, default=0.0))


def curve(points: Sequence[tuple[float, float]], axis: Axis, lowest: float, highest: float) -> str:
    """The value of the nearest point in each column, from the first point to the last.

    points: seconds, rising, > 0 [s], and the value there.
    """
    if not points:
        return " " * axis.width
    first, last = axis.column(points[0][0]), axis.column(points[-1][0])
    values: list[float | None] = [None] * axis.width
    for column in range(first, last + 1):
        moment = math.log(axis.middle(column))
        values[column] = min(points, key=lambda point: abs(math.log(point[0]) - moment))[1]
    return blocks(values, lowest, highest)


def scale(marks: Sequence[Mark], axis: Axis) -> list[str]:
    """The axis with a tick at each mark, and the labels below, as many lines as they need.

    >>> marks = [Mark(0.1, "half 100 ms"), Mark(0.2, "most 200 ms"), Mark(50.0, "end")]
    >>> print("\\n".join(scale(marks, Axis(0.01, 100.0, 30))))
    ───────┴─┴─────────────────┴──
           half 100 ms         end
             most 200 ms
    """
    line, rows = ["─"] * axis.width, list[str]()
    for mark in sorted(marks):
        column = axis.column(mark.seconds)
        line[column] = "┴"
        start = max(min(column, axis.width - len(mark.label)), 0)
        for i, row in enumerate(rows):
            if not row or len(row) + 1 < start:
                rows[i] = row.ljust(start) + mark.label
                break
        else:
            rows.append(" " * start + mark.label)
    return ["".join(line), *rows]


def window(worths: Sequence[float], live: float | None, value: float) -> tuple[float, float]:
    """Between which utilities to draw, so that the distance from what is live to the best is seen.

    value: of a success, > 0 [1].

    >>> window([-3.0, 0.7, 0.8], 0.7, 1.0), window([0.79, 0.8], 0.8, 1.0)
    ((0.4, 0.8), (0.79, 0.8))
    """
    best = max(worths, default=0.0)
    below = max(4 * (best - live) if live is not None else 0.0, FINEST * value)
    return max(min(worths, default=0.0), round(best - below, 12)), best


def over_seconds(
    bins: Sequence[Bin],
    marks: Sequence[Mark],
    points: Sequence[tuple[float, float]],
    between: tuple[float, float],
    width: int,
) -> list[str]:
    """When answers come, and below it what a timeout there would be worth; lines of at most ``width`` columns.

    points: timeouts, rising, > 0 [s], and their utility; between: utilities, see ``window``.
    """
    moments = [mark.seconds for mark in marks] + [part.high for part in bins if part.share > LEAST]
    axis = Axis.over(moments, width - MARGIN)
    lines = ["answers ".rjust(MARGIN) + density(bins, axis)]
    there = [point for point in points if axis.low <= point[0] <= axis.high]
    if there:
        lines.append("worth ".rjust(MARGIN) + curve(there, axis, *between))
    lines += [" " * MARGIN + line for line in scale(marks, axis)]
    return [line.rstrip() for line in lines]
