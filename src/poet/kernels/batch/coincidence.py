"""Which of many incidents came together: more of them within a short time than chance would bring.

Each owner of incidents has them at a rate of its own. What begins within ``near`` of another's beginning, and while
that lasts, may belong to it; how many would by chance follows from the rates. Incidents come at some hours more than at
others as a rule: the rates are raised at such hours by as much as all owners together say.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.findings import adjusted

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

DAY = 86_400.0  # [s]
HOUR_OF_DAY = 3 * 3600.0  # width of what counts as the same hour [s]
SUPPOSED = 0.5  # incidents of an owner that are supposed beside those that it had, so that none has a rate of zero


class Company(NamedTuple):
    """Incidents that came together."""

    members: tuple[int, ...]  # their places, the first one first; of each owner one
    p: float  # chance that as many came within as short a time
    q: float  # the rate of false discoveries at which it is told (Benjamini-Hochberg over all that stand alone, too)


def together(
    start: Array, end: Array, owner: Codes, first: Array, last: Array, *, near: Array, grain: Array
) -> tuple[Company, ...]:
    """All groups of incidents of two owners or more, in order of time, whatever their chance.

    start, end: (n,) of each incident, Unix times [s]. owner: (n,) in [0, m). first, last: (m,) since when and until
    when each owner was watched, Unix times [s]. near: (n,) how far behind the first one another may begin [s]. grain:
    (n,) to what the beginning of each is told [s].
    An incident belongs to one group at most, the least likely ones are taken first. The chance of a group is the least
    of those of its first two, three, ... members within as short a time as these took, times their number.
    """
    order = np.argsort(start, kind="stable")
    rank = np.argsort(order, kind="stable")
    counts = np.bincount(owner, minlength=len(first)).astype(np.float64)
    watched = np.maximum(last - first, DAY)
    rates = (counts + SUPPOSED) / watched
    taken = np.zeros(len(start), np.bool_)
    furthest = float(near.max(initial=0.0))

    def group_of(lead: int) -> tuple[int, ...]:
        group, reach = [lead], float(end[lead])
        for other in order[rank[lead] + 1 :].tolist():
            if start[other] > min(start[lead] + furthest, reach):
                break
            within = start[other] <= start[lead] + max(near[lead], near[other])
            if within and not taken[other] and owner[other] not in owner[group]:
                group.append(other)
                reach = max(reach, float(end[other]))
        return tuple(group)

    def chance_of(group: tuple[int, ...]) -> float:
        if len(group) < 2:
            return 1.0
        at = float(start[group[0]])
        there = (first <= at) & (last >= at)
        there[owner[group[0]]] = False
        others = np.array(group[1:])
        own = float((1.0 / watched[owner[others]]).sum())  # what is asked about says nothing of what is usual
        rate = max(float(rates[there].sum()) - own, 0.0) * _busier(start, at)
        windows = start[others] - at + np.maximum(grain[group[0]], grain[others])
        by_number = [_poisson_tail(rate * float(window), k) for k, window in enumerate(windows.tolist(), 1)]
        return min(1.0, min(by_number) * len(by_number))

    waiting = [(chance_of(group), lead, group) for lead in order.tolist() for group in (group_of(lead),)]
    heapq.heapify(waiting)
    found: list[tuple[float, tuple[int, ...]]] = []
    while waiting:
        chance, lead, group = heapq.heappop(waiting)
        if taken[lead]:
            continue
        if taken[list(group)].any():  # another has taken some of it
            group = group_of(lead)
            heapq.heappush(waiting, (chance_of(group), lead, group))
            continue
        taken[list(group)] = True
        found.append((chance, group))
    rated = adjusted([chance for chance, _ in found]).tolist()
    several = [Company(group, p, q) for (p, group), q in zip(found, rated, strict=True) if len(group) > 1]
    return tuple(sorted(several, key=lambda each: rank[each.members[0]]))


def _poisson_tail(mean: float, least: int) -> float:
    """Chance of ``least`` or more, >= 1."""
    term = total = math.exp(-mean)
    for k in range(1, least):
        term *= mean / k
        total += term
    return max(1.0 - total, 0.0) if total < 0.999 else _series(mean, least)


def _series(mean: float, least: int) -> float:
    """The same where it is small, summed from its own end."""
    term = math.exp(-mean + least * math.log(mean) - math.lgamma(least + 1)) if mean > 0 else 0.0
    total, k = 0.0, least
    while term > 1e-17 * total and term > 0:
        total += term
        k += 1
        term *= mean / k
    return total


def _busier(start: Array, at: float) -> float:
    """How many times as many begin about that hour of the day as by chance, >= 1; but for those of the same time."""
    apart = start[np.abs(start - at) > DAY / 2]
    others = len(apart)
    away = np.abs((apart - at + DAY / 2) % DAY - DAY / 2)
    about = int((away <= HOUR_OF_DAY / 2).sum())
    usual = others * HOUR_OF_DAY / DAY
    return max(1.0, (about + 1.0) / (usual + 1.0))
