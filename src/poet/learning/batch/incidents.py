"""Spells in which a function was out of the ordinary, and the part of its calls that explains each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch import anomaly, classes, incident, season
from poet.kernels.batch.classes import Rise
from poet.kernels.batch.incident import Incident, Signal, Slice
from poet.learning.batch.asked import LEVEL, Asked
from poet.learning.batch.calls import Array, Bools, Calls, Coded, Codes
from poet.learning.batch.over_time import Course
from poet.learning.batch.points import Points
from poet.learning.batch.saying import chart, moment, share, span
from poet.model.estimate import Estimate
from poet.model.execution import Outcome
from poet.model.figures import figures
from poet.model.insight import Insight

WATCHED = ("latency", "failures")
HOLD = 6  # points for which one alarm stands
GAP = 3.0  # points without a sign, after which an incident is over
BEFORE = 48  # points that an incident is compared with, those right before it
ODD = 4.5  # deviations of a point, or of the mean of a few, from which on a series is looked at closely
FEW = 6  # points of that mean
SURE = 3.0  # deviations from what is usual, for a point that is part of an incident which is known already
NEARLY_ALL = 0.98  # share of the usual points that are below that in any case
FEWEST = 10  # bad calls of an incident

KINDS = 2  # of failure, that a sentence names
MOST_OF_IT = 0.5  # share of what got worse from which on a kind of failure is what to look at

Texts = npt.NDArray[np.str_]
PARTS = 4  # that a number's values are cut into, to say which calls suffered


def findings(function: str, calls: Calls, points: Points, courses: Sequence[Course], asked: Asked) -> Iterable[Insight]:
    """All of one function. False alarms: ``asked.alarms`` per day and series, or as many as ``asked.costs`` pay for."""
    signals: dict[str, Signal] = {}
    times = points.start + points.step * np.arange(len(points))
    for course in courses:
        if course.subject not in WATCHED or not _odd(course):
            continue
        wanted = None if asked.costs is not None else asked.alarms
        hold = HOLD * points.step
        surprise = anomaly.surprises(times, course.values)
        sounded = anomaly.sounded(times, surprise, per_day=wanted, costs=asked.costs, hold=hold)
        if sounded:
            signals[course.subject] = Signal(times, surprise, min(each.threshold for each in sounded))
    if not signals:
        return
    known, features = {course.subject: course for course in courses}, _features(calls)
    for told in incident.group(signals, gap=GAP * points.step):
        course = known[told.voices[0].series]
        found = told._replace(start=_start(course, points, told), end=_end(course, points, told))
        spell = _spell(calls, features, points, found)
        if spell is not None:
            yield from _told(function, points, known, found, spell, asked)


def _odd(course: Course) -> bool:
    """Whether anything in a series is out of the ordinary at first sight: most series are spared a closer look."""
    rest = course.values
    if course.periods:
        rest = season.split(course.values, course.periods).rest
    known = rest[np.isfinite(rest)]
    if len(known) < 2 * FEW:
        return False
    for values in (known, np.convolve(known, np.full(FEW, 1 / FEW), "valid")):
        middle = float(np.median(values))
        usual = 1.4826 * float(np.median(np.abs(values - middle))) or float(values.std())
        if usual > 0 and float(np.abs(values - middle).max()) > ODD * usual:
            return True
    return False


def _limit(usual: Array) -> float:
    """Beyond which a point is part of an incident that is known already: of rare failures most usual points are 0."""
    middle = float(np.median(usual))
    return max(middle + SURE * 1.4826 * float(np.median(np.abs(usual - middle))), float(np.quantile(usual, NEARLY_ALL)))


def _start(course: Course, points: Points, found: Incident) -> float:
    """The first of the points right before that were above what was usual: a detector waits until it is sure."""
    first = round((found.start - points.start) / points.step)
    usual = course.values[max(first - HOLD - BEFORE, 0) : max(first - HOLD, 0)]
    usual = usual[np.isfinite(usual)]
    if len(usual) < FEW:
        return found.start
    limit = _limit(usual)
    while first > 0 and round((found.start - points.start) / points.step) - first < HOLD:
        before = course.values[first - 1]
        if not (before > limit):  # a point without a value ends it, too
            break
        first -= 1
    return points.at(first)


def _end(course: Course, points: Points, found: Incident) -> float:
    """The last point that is above what was usual before: a detector that looks at means says so for longer."""
    first, last = (round((at - points.start) / points.step) for at in (found.start, found.end))
    usual = course.values[max(first - BEFORE, 0) : first]
    usual = usual[np.isfinite(usual)]
    if len(usual) < FEW:
        return found.end
    limit = _limit(usual)
    above = np.flatnonzero(course.values[first : last + 1] > limit)
    return points.at(first + int(above[-1])) if len(above) else found.end


class _Spell(NamedTuple):
    """How the calls of an incident fared, and those right before it."""

    bad_before: Bools  # of the calls before
    bad: Bools  # of those during it
    subject: str
    features: bool  # whether anything is known that may tell calls apart
    slices: tuple[Slice, ...]
    rises: tuple[Rise, ...]  # kinds of failure that came more often


def _spell(calls: Calls, features: dict[str, Texts], points: Points, found: Incident) -> _Spell | None:
    start, end = found.start, found.end + points.step
    before = (calls.started >= start - BEFORE * points.step) & (calls.started < start)
    during = (calls.started >= start) & (calls.started < end)
    if before.sum() < FEWEST or during.sum() < FEWEST:
        return None
    subject = found.voices[0].series
    if subject == "failures":
        bad_before, bad = ~calls.good[before], ~calls.good[during]
    else:
        bad_before, bad = incident.slow(_seconds(calls, before), _seconds(calls, during))
    if bad.sum() < FEWEST or bad.mean() <= bad_before.mean():
        return None  # fewer failures than usual, or quicker answers: no incident
    was, now = ({name: column[rows] for name, column in features.items()} for rows in (before, during))
    slices = incident.explain(was, now, bad_before, bad)
    return _Spell(
        bad_before, bad, subject, bool(features), slices, _rises(calls, points, before, during, bad_before, bad)
    )


def _rises(
    calls: Calls, points: Points, before: Bools, during: Bools, bad_before: Bools, bad: Bools
) -> tuple[Rise, ...]:
    """Kinds of failure by their type's name, or where it has none by their outcome."""
    names, codes = kinds_of(calls)
    blocks = np.floor((calls.started[before] - points.start) / points.step).astype(np.int64)
    worse = float(bad.sum() - len(bad) * bad_before.mean())
    return classes.risen(names, codes[before], codes[during], worse, blocks=blocks)


def kinds_of(calls: Calls) -> tuple[list[str], Codes]:
    """Names of the kinds of failure, and (n,) the place of each call's among them; -1: it did not fail."""
    names = [str(name) for name in calls.error.names]
    codes = np.where(calls.good, -1, calls.error.codes)
    untyped = ~calls.good & (codes < 0)
    outcomes = np.where(calls.censored, int(Outcome.TIMEOUT), int(Outcome.ERROR))
    if calls.attempts is not None:
        outcomes = calls.attempts.ended
    for outcome in np.unique(outcomes[untyped]).tolist():
        names.append(Outcome(outcome).name.lower())
        codes = np.where(untyped & (outcomes == outcome), len(names) - 1, codes)
    return names, codes


def _seconds(calls: Calls, rows: Bools) -> Array:
    """Latencies; a call without an answer has none."""
    return np.where(calls.good[rows], calls.seconds[rows], np.nan)


def _features(calls: Calls) -> dict[str, Texts]:
    """What may tell calls apart, a text for each call."""
    found: dict[str, Texts] = {}
    for name, column in calls.context.items():
        if isinstance(column, Coded):
            found[name] = np.array([*map(str, column.names), "unknown"])[column.codes]
        else:
            known = column[np.isfinite(column)]
            edges = np.unique(np.quantile(known, np.linspace(0, 1, PARTS + 1)[1:-1])) if len(known) else known
            if len(edges):
                part = np.searchsorted(edges, column, side="right")
                ends = ["…", *(figures(float(edge)) for edge in edges), "…"]
                labels = np.array([f"{low} to {high}" for low, high in pairwise(ends)])
                found[name] = np.where(np.isfinite(column), labels[part], "unknown")
    if len(np.unique(calls.version)) > 1:
        found["version"] = calls.version.astype(str)
    return found


def _told(
    function: str,
    points: Points,
    courses: dict[str, Course],
    found: Incident,
    spell: _Spell,
    asked: Asked,
) -> Iterable[Insight]:
    was, now, n = float(spell.bad_before.mean()), float(spell.bad.mean()), len(spell.bad)
    doubt = 1.645 * math.sqrt(now * (1 - now) / n + was * (1 - was) / max(len(spell.bad_before), 1))
    end = found.end + points.step
    what = "failed" if spell.subject == "failures" else "were slow"
    where = ""
    if spell.slices:
        part = spell.slices[0]
        named = " and ".join(f"{name} {value}" for name, value in part.where)
        where = (
            f"; {share(min(max(part.share, 0.0), 1.0))} of it came from calls with {named} "
            f"({share(part.before)} before, {share(part.during)} then)"
        )
    if spell.rises:
        kinds = [f"{share(each.share)} of it was {each.name}" for each in spell.rises[:KINDS]]
        where += f"; {', '.join(kinds)} ({share(spell.rises[0].before)} of the calls before)"
    longer = 0.0 if spell.subject == "failures" else _longer(courses["latency"], points, found)
    loss = asked.value if spell.subject == "failures" else asked.latency_cost * longer
    course = courses[spell.subject]
    first, last = (round((at - points.start) / points.step) for at in (found.start, end))
    low, high = max(first - BEFORE, 0), min(last + BEFORE // 2, len(points))
    values = course.levels(course.values[low:high])
    finite = [x for x in values if math.isfinite(x)]
    ends = [course.said(pick(finite, default=0.0), points.step) for pick in (min, max)]
    drawn = chart(values, points.at(low), points.at(high), ends, (first - low) / max(high - low, 1))
    yield Insight(
        function,
        "incident",
        spell.subject,
        f"{share(now)} of the calls {what} from {moment(found.start)} to {moment(end)} ({span(end - found.start)}), "
        f"{share(was)} before{where}",
        _action(spell),
        Estimate(now - was, now - was - doubt, now - was + doubt, n, LEVEL),
        "share of calls",
        n,
        found.start,
        end,
        worth=1000.0 * max(now - was, 0.0) * loss * n / max(float(points.calls.sum()), 1.0),
        picture=tuple(drawn),
        facts={
            "severity": found.severity,
            **{f"surprise of {voice.series}": voice.peak for voice in found.voices},
            **{f"slice {i}": ", ".join(f"{k}={v}" for k, v in each.where) for i, each in enumerate(spell.slices, 1)},
            **{f"failure {i}": each.name for i, each in enumerate(spell.rises, 1)},
            **({"failure q": spell.rises[0].p} if spell.rises else {}),
        },
    )


def _longer(course: Course, points: Points, found: Incident) -> float:
    """How much longer the usual answer took [s]."""
    first = round((found.start - points.start) / points.step)
    last = round((found.end - points.start) / points.step) + 1
    before, during = course.values[max(first - BEFORE, 0) : first], course.values[first:last]
    known = [part[np.isfinite(part)] for part in (before, during)]
    if not all(len(part) for part in known):
        return 0.0
    levels = [course.level(float(np.median(part))) for part in known]
    return max(levels[1] - levels[0], 0.0)


def _action(spell: _Spell) -> str:
    if not spell.slices:
        if spell.rises and spell.rises[0].share >= MOST_OF_IT:
            return f"Look at what raises {spell.rises[0].name}: all kinds of calls may meet it."
        same = "All kinds of calls suffered alike: l" if spell.features else "L"
        return f"{same}ook at the service behind the function, and at the network."
    features = {name for name, _ in spell.slices[0].where}
    if "version" in features:
        return "Compare the versions (poet history), and go back to the one before if it happens again (poet rollback)."
    named = " and ".join(f"{name} {value}" for name, value in spell.slices[0].where)
    return f"Look at what calls with {named} depend on that others do not."
