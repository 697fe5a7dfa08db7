"""The best values that all calls of a record could have used, what not to know them cost, and since when they are near.

A grid of values is replayed. Whoever picks the best of many by the very calls that they are judged by takes luck for
worth: so each half of the blocks of time is judged by what the other half has chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from poet.learning.analytics.against import (
    Array,
    Lived,
    compare,
    estimate,
    joined,
    likely,
    part,
)
from poet.learning.replay_hours import plan_of
from poet.learning.replay_walk import Candidate
from poet.model.gains import NEAR, Hindsight
from poet.model.tunable import Value

MOST = 4000  # calls that the grid is compared on, evenly over the record
TIMEOUTS = 10  # of the grid
RETRIES = (0, 1, 2, 3, 5)  # of the grid
VERSIONS = 12  # of which the grid has the values, too: the newest
DRAWS = 2  # of what nobody saw, for the grid
FEWEST = 100  # calls


def hindsight(
    lived: Lived,
    versions: Mapping[int, Mapping[str, Value]],
    declared: Mapping[str, Value],
    space: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
) -> Hindsight | None:
    """None: too few calls, or too little time.

    versions: values of those that a call may have used, see ``replay.wanted``. space: hard bounds, lowest and highest.
    """
    if lived.n < FEWEST or lived.cut.blocks < 6:
        return None
    few = part(lived, np.unique(np.linspace(0, lived.n - 1, min(MOST, lived.n)).astype(np.intp)))
    grid = _grid(lived, versions, declared, space)
    worths = np.stack([likely(few, plan_of(values), seed, DRAWS) for values in grid])  # (grid, calls)
    fold = few.cut.codes // max(1, few.cut.blocks // 10) % 2
    chosen = [int(np.argmax(worths[:, fold == half].mean(axis=1))) for half in (0, 1)]
    best = int(np.argmax(worths.mean(axis=1)))
    folds = lived.cut.codes // max(1, lived.cut.blocks // 10) % 2
    missed = []
    for half in (0, 1):
        rows = np.flatnonzero(folds == half)
        if len(rows):
            missed.append((-1, compare(part(lived, rows), grid[chosen[1 - half]], seed=seed)))
    regret = joined(missed)
    near = _near(few, versions, worths, grid, best)
    share, since, calls = _settled(lived, near)
    return Hindsight(grid[best], len(grid), estimate(regret, lived.n), share, since, calls)


def _grid(
    lived: Lived,
    versions: Mapping[int, Mapping[str, Value]],
    declared: Mapping[str, Value],
    space: Mapping[str, Sequence[float]],
) -> list[dict[str, Value]]:
    """Values that could have held all the time: each once, those that did first."""
    used = [dict(versions[number]) for number in sorted(versions)[-VERSIONS:]]
    base = used[-1] if used else dict(declared)
    table = lived.record.table
    ends = table.ends[:, 0, 0]
    quick = float(np.quantile(ends[ends > 0], 0.25)) if (ends > 0).any() else 0.01
    low, high = space.get("timeout", (0.001, 86_400.0))
    longest = max(lived.record.longest, quick, float(declared["timeout"]) if "timeout" in declared else 0.0)
    timeouts = np.clip(np.geomspace(max(quick, 1e-3), max(longest, 2e-3), TIMEOUTS), low, high)
    fewest, most = space.get("retries", (0, 20))
    found = [*used, dict(declared)]
    for timeout in timeouts.tolist():
        found += [
            {**base, "timeout": timeout, "retries": retries, "hedges": 0, "hedge_delay": 0.0}
            for retries in RETRIES
            if fewest <= retries <= most
        ]
    plans: dict[Candidate, dict[str, Value]] = {}
    for values in found:
        plans.setdefault(plan_of(values), values)
    return list(plans.values())


def _near(
    few: Lived,
    versions: Mapping[int, Mapping[str, Value]],
    worths: Array,
    grid: Sequence[Mapping[str, Value]],
    best: int,
) -> frozenset[int]:
    """Versions whose values would have been within ``NEAR`` of the best, on all calls."""
    means = worths.mean(axis=1)
    top = float(means[best])
    least = top - NEAR * max(abs(top), NEAR * few.objective.value)
    place = {plan_of(values): i for i, values in enumerate(grid)}
    found = set()
    for number, values in versions.items():
        plan = plan_of(values)
        worth = float(means[place[plan]]) if plan in place else float(likely(few, plan, 0, DRAWS).mean())
        if worth >= least:
            found.add(number)
    return frozenset(found)


def _settled(lived: Lived, near: Iterable[int]) -> tuple[float, float | None, int | None]:
    """Share of the calls whose version is near, since when nearly all of them were, and after how many calls.

    In a block of time a version speaks for it that most of its calls used: a fleet changes over one by one.
    """
    good = np.isin(lived.record.versions, sorted(near))
    share = float(good.mean())
    held = np.bincount(lived.cut.codes, good.astype(np.float64)) >= lived.counts / 2
    if not held[-1]:
        return share, None, None
    away = np.flatnonzero(~held)
    start = int(away[-1]) + 1 if len(away) else 0
    rows = lived.cut.codes >= start
    return share, float(lived.record.starts[rows].min()), int((~rows).sum())
