"""All findings about one function: pure, the same for the same calls wherever it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from poet.learning.batch import across, daily, effects, groups, incidents, over_time, relations
from poet.learning.batch.asked import Asked
from poet.learning.batch.calls import Calls, Read
from poet.learning.batch.points import FEWEST_POINTS, points, step_for
from poet.model.insight import Analysed, Insight, OptimizationInsights, ranked

FEWEST_CALLS = 20
SAMPLE = 20_000  # calls that are looked at one by one, evenly spread over all


class Found(NamedTuple):
    """What came of one function."""

    insights: tuple[Insight, ...]
    looked_at: Analysed


def analyse(function: str, read: Read, asked: Asked) -> Found:
    """function: its full name. Never raises: a fault of ours is told as what could not be found out."""
    calls = read.calls
    n = len(calls)
    first, last = (float(calls.started[0]), float(calls.started[-1])) if n else (0.0, 0.0)
    looked_at = Analysed(function, n, first, last, 0.0, read.left_out, ())
    if n < FEWEST_CALLS:
        return Found((), looked_at._replace(untold=(f"{n} calls are too few: it takes {FEWEST_CALLS}",)))
    try:
        return _analysed(function, calls, asked.scaled(calls), looked_at)
    except Exception as error:  # noqa: BLE001 - one function's fault must not end the analysis of a thousand
        said = f"a fault of the analysis, please report it: {type(error).__name__}: {error}"
        return Found((), looked_at._replace(untold=(said,)))


def _analysed(function: str, calls: Calls, asked: Asked, looked_at: Analysed) -> Found:
    untold: list[str] = []
    found: list[Insight] = []
    step = step_for(calls)
    series = points(calls, step) if step else None
    if series is None:
        untold.append(_too_short(calls))
    else:
        courses = over_time.courses(series)
        found += over_time.findings(function, calls, series, courses, asked)
        found += incidents.findings(function, calls, series, courses, asked)
        found += daily.findings(function, calls, courses, series, asked, untold)
    some = _sample(calls, asked.seed)
    found += effects.findings(function, some, asked)
    found += relations.findings(function, some, series, asked, untold)
    found += groups.findings(function, some, asked, untold)
    return Found(ranked(found), looked_at._replace(step=step, untold=tuple(untold)))


def _too_short(calls: Calls) -> str:
    span = float(calls.started[-1] - calls.started[0])
    if len(calls) < FEWEST_POINTS:
        return f"nothing over time: {len(calls)} calls make no {FEWEST_POINTS} points of time"
    return (
        f"nothing over time: {len(calls)} calls within {span:.3g} s lie too thin, or too unevenly, for points of time"
    )


def _sample(calls: Calls, seed: int) -> Calls:
    """At most SAMPLE of them, each as likely as the other, in order."""
    n = len(calls)
    if n <= SAMPLE:
        return calls
    chosen = np.random.default_rng([seed, n]).choice(n, SAMPLE, replace=False)
    return calls.take(np.sort(chosen))


def together(
    found: Iterable[Found],
    left_out: Mapping[str, int] | None = None,
    dependencies: Mapping[str, str] = MappingProxyType({}),
) -> OptimizationInsights:
    """What came of all functions, and of several at once; left_out: rows that belong to none, by reason.

    dependencies: what each function calls, by its full name, as far as known.
    """
    told = sorted(found, key=lambda each: each.looked_at.function)
    functions = tuple(each.looked_at for each in told)
    return OptimizationInsights(
        ranked(across.put_together([insight for each in told for insight in each.insights], functions, dependencies)),
        functions,
        left_out or {},
    )
