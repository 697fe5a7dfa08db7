"""Which hours of the day, and days of the week, want another choice than the others: exact search over all cuts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

HOURS, DAYS = 24, 7
SHORTEST = 2  # hours of a phase
MOST_PHASES = 3  # of a day


class Part(NamedTuple):
    """Some hours of some days, and what is best then."""

    first: int  # day, Monday is 0
    last: int  # day; over Sunday where it is the smaller one
    since: int  # hour, in [0, 24)
    until: int  # hour, in (0, 24]; not above ``since``: over midnight, of parts that hold on all days
    choice: int


def parts(totals: npt.ArrayLike, *, weekly: bool = False, least: float = 0.0) -> tuple[Part, ...]:
    """The cut of the week into parts that is worth most, each with its best choice; one part where no cut pays.

    totals: (n_choices, 7, 24) what each choice is worth in all, by day and hour. weekly: whether days may differ, in
    two runs of days; else all days are alike. least: what a further part of the day, or a further run of days, must add
    to the total.
    A day has up to ``MOST_PHASES`` phases of ``SHORTEST`` hours or more; it is a circle, so midnight is no boundary.
    All cuts are looked at: 276 pairs of boundaries, 2 024 triples.

    >>> night = np.arange(24) < 8
    >>> parts(np.stack([np.tile(night, (7, 1)), np.tile(~night, (7, 1))]).astype(float))
    (Part(first=0, last=6, since=0, until=8, choice=0), Part(first=0, last=6, since=8, until=24, choice=1))
    """
    worth = np.asarray(totals, np.float64)
    value, day = _cut(worth.sum(axis=1), least)
    found = [Part(0, DAYS - 1, *arc) for arc in day]
    if not weekly:
        return tuple(found)
    best = value + least
    for run in range(1, DAYS // 2 + 1):
        for first in range(DAYS):
            mine = np.isin(np.arange(DAYS), (first + np.arange(run)) % DAYS)
            (one, ours), (other, theirs) = (_cut(worth[:, days].sum(axis=1), least) for days in (mine, ~mine))
            if one + other <= best:
                continue
            best = one + other
            end = (first + run) % DAYS
            runs = ((first, (end - 1) % DAYS, ours), (end, (first - 1) % DAYS, theirs))
            found = [Part(start, last, *arc) for start, last, arcs in runs for arc in _unwrapped(arcs)]
    return tuple(found)


def choices(found: Sequence[Part], days: Codes, hours: Codes) -> Codes:
    """What is chosen at each of some moments. days: (n,) Monday is 0; hours: (n,) -> (n,)."""
    table = np.zeros((DAYS, HOURS), np.int64)
    for part in found:
        for day in range((part.last - part.first) % DAYS + 1):
            for hour in range((part.until - part.since) % HOURS or HOURS):
                table[(part.first + day) % DAYS, (part.since + hour) % HOURS] = part.choice
    return np.asarray(table[days, hours], np.int64)


def _unwrapped(arcs: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Without arcs over midnight, as these would go on into the next day."""
    found = []
    for since, until, choice in arcs:
        if until > since:
            found.append((since, until, choice))
        else:
            found += [(0, until, choice), (since, HOURS, choice)]
    return sorted(found)


def _cut(day: Array, least: float) -> tuple[float, list[tuple[int, int, int]]]:
    """The best arcs of one day, (n_choices, 24): since, until, choice; and their total."""
    whole = np.concatenate((np.zeros((len(day), 1)), np.cumsum(np.tile(day, 2), axis=1)), axis=1)
    starts, lengths = np.arange(HOURS)[:, None], np.arange(HOURS + 1)[None, :]
    arcs = whole[:, starts + lengths] - whole[:, starts]  # (n_choices, start, length)
    choice = arcs.argmax(axis=0)
    best = np.take_along_axis(arcs, choice[None], axis=0)[0]
    value, cuts = float(best[0, HOURS]), np.zeros(1, np.int64)
    for number in range(2, MOST_PHASES + 1):
        edges = _edges(number)
        spans = np.diff(edges, axis=1, append=edges[:, :1] + HOURS)
        total = best[edges, spans].sum(axis=1)
        place = int(total.argmax())
        if total[place] > value + least:
            value, cuts = float(total[place]), edges[place]
    if len(cuts) == 1:
        return value, [(0, HOURS, int(choice[0, HOURS]))]
    spans = np.diff(cuts, append=cuts[:1] + HOURS)
    found = [
        (start, (start + span) % HOURS or HOURS, int(choice[start, span]))
        for start, span in zip(cuts.tolist(), spans.tolist(), strict=True)
    ]
    return value, found


@lru_cache
def _edges(number: int) -> Codes:
    """All sets of so many boundaries, (n, number), rising, no two of them too near."""
    table = np.stack(np.meshgrid(*[np.arange(HOURS)] * number, indexing="ij"), axis=-1).reshape(-1, number)
    spans = np.diff(table, axis=1, append=table[:, :1] + HOURS)
    return np.asarray(table[(np.diff(table, axis=1) >= SHORTEST).all(axis=1) & (spans[:, -1] >= SHORTEST)], np.int64)
