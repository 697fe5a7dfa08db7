"""What a function's latency, failures and load do over time: changes, trends, seasons, and what is to come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from poet.kernels.batch import changepoint, forecast, season
from poet.kernels.batch.changepoint import Change, Slope
from poet.kernels.batch.season import Period
from poet.learning.batch.asked import LEVEL, Asked
from poet.learning.batch.calls import Array, Calls, Codes
from poet.learning.batch.points import DAY, FEWEST_POINTS, Points
from poet.learning.batch.saying import by, chart, line, moment, share, span
from poet.model.estimate import Estimate
from poet.model.figures import figures
from poet.model.insight import Insight

SHORTEST = 60.0  # points from which on seasons and forecasts are told: nobody plans by the second [s]
AHEAD = 48.0 * 3600.0  # how far forecasts reach at most [s]
USUAL = 0.95  # quantile of what was; a forecast that is not above it is no news
AHEAD_SHARE = 0.25  # of what is known
LEAST = {"latency": 0.02, "load": 0.04, "failures": 0.03}  # change that is told, on the scale of a course: log10; angle
LEAST_SHARE = 0.005  # of failures, drift that is told
LEAST_STRENGTH = 0.1  # of a season, as a share of the variance
SURE = 1.9  # half widths of its interval that a trend must be away from zero, to be told: 2 in 1000 are by chance
NEAR_TIMEOUT = 2.0  # times that a usual answer is from the timeout, within which it is asked what is to come
LEAST_TREND = 1.05  # ratio over the whole history
NEAR = 3  # points around a change within which another version counts as its company


class Course(NamedTuple):
    """One quantity over time, on the scale on which it is looked at."""

    subject: str  # "latency", "failures", "load"
    values: Array  # (k,) log10 of seconds or of calls; of failures the arc sine of the root of their share
    periods: tuple[Period, ...]

    def level(self, mean: float) -> float:
        """What a mean of ``values`` is in its own units: seconds, share of calls, calls per step."""
        if self.subject == "failures":
            return math.sin(min(max(mean, 0.0), math.pi / 2)) ** 2
        return float(10.0**mean) - (1.0 if self.subject == "load" else 0.0)

    def levels(self, values: Array) -> list[float]:
        """Such values in their own units; NaN where there is none."""
        return [self.level(x) if math.isfinite(x) else math.nan for x in values.tolist()]

    def said(self, level: float, step: float) -> str:
        """A level in words; ``step`` of the points [s]."""
        if self.subject == "failures":
            return share(max(level, 0.0))
        return span(level) if self.subject == "latency" else f"{figures(level)} calls per {span(step)}"


def courses(points: Points) -> tuple[Course, ...]:
    """Those that can be told: enough points that are known, and not all the same."""
    found = []
    with np.errstate(invalid="ignore"):
        scaled = {
            "latency": points.latency,
            "failures": np.arcsin(np.sqrt(points.failed)),
            "load": np.log10(1.0 + points.calls),
        }
    likely = tuple(round(span_ / points.step) for span_ in (DAY, 7 * DAY) if span_ >= 2 * points.step)
    inner = slice(1, -1)  # the first and the last point are not whole
    for subject, values in scaled.items():
        known = values[inner][np.isfinite(values[inner])]
        if len(known) < FEWEST_POINTS // 2 or float(np.ptp(known)) <= 1e-12:
            continue
        whole = values.copy()
        whole[0] = whole[-1] = np.nan
        found.append(Course(subject, whole, season.periods(whole, likely=likely)))
    return tuple(found)


def findings(function: str, calls: Calls, points: Points, found: Sequence[Course], asked: Asked) -> Iterable[Insight]:
    """All of one function, of each course."""
    for course in found:
        shifts = changepoint.changes(course.values, course.periods, least=LEAST[course.subject])
        yield from (_change(function, calls, points, course, shifts, i, asked) for i in range(len(shifts)))
        drift = None if shifts else _drift(course)
        if drift is not None:
            yield from _trend(function, points, course, drift)
        if points.step < SHORTEST:
            continue
        yield from _seasons(function, points, course)
        if drift is not None or _near(course, asked):  # else what is to come was there before
            yield from _to_come(function, points, course, shifts, asked)


# --- changes ---------------------------------------------------------------------------------------------------------


def _change(
    function: str, calls: Calls, points: Points, course: Course, shifts: Sequence[Change], i: int, asked: Asked
) -> Insight:
    shift = shifts[i]
    start = shifts[i - 1].at if i else 0
    end = shifts[i + 1].at if i + 1 < len(shifts) else len(points)
    before = _mean(course, start, shift.at)
    old, new = course.level(before), course.level(before + shift.magnitude)
    ends = course.level(before + shift.magnitude_low), course.level(before + shift.magnitude_high)
    at = points.at(shift.at)
    n = int(points.calls[start:end].sum())
    edges = [moment(points.at(edge), points.step) for edge in (shift.low, shift.high)]
    when = moment(at, points.step) + (f" (between {edges[0]} and {edges[1]})" if edges[0] != edges[1] else "")
    said = [course.said(x, points.step) for x in (old, new)]
    lost = {"failures": asked.value, "latency": asked.latency_cost, "load": 0.0}[course.subject] * (new - old)
    if course.subject == "failures":
        effect, unit = Estimate(new - old, ends[0] - old, ends[1] - old, n, LEVEL), "share of calls"
        sentence = f"failures went from {said[0]} to {said[1]} of the calls on {when}"
    else:
        less = max(old, 1e-12)
        effect, unit = Estimate(new / less - 1, ends[0] / less - 1, ends[1] / less - 1, n, LEVEL), "ratio - 1"
        took = course.subject == "latency"
        sentence = f"{'answers took' if took else 'load was'} {said[0]} before {when} and {said[1]} from then on"
        sentence = f"{sentence}: {by(new / less)}"
    lasts = i + 1 == len(shifts)
    held = float(points.calls[shift.at : end].sum()) / max(1.0, float(points.calls[start:].sum()))
    company = _company(calls, points, shift.at)
    return Insight(
        function,
        "change",
        course.subject,
        f"{sentence}{'' if lasts else '; it did not last'}{company.sentence}",
        _action(course.subject, new > old, lasts, company),
        effect,
        unit,
        n,
        at,
        points.at(end),
        worth=1000.0 * max(lost, 0.0) * (1.0 if lasts else held),
        picture=_drawn(points, course, at=shift.at / len(points)),
        facts={"before": old, "after": new, "z": shift.z},
    )


def _drawn(points: Points, course: Course, at: float = -1.0) -> tuple[str, ...]:
    """The whole course; a mark at the share ``at`` of it, if in [0, 1]."""
    known = course.values[np.isfinite(course.values)]
    ends = [course.said(course.level(float(x)), points.step) for x in (known.min(), known.max())]
    return tuple(chart(course.levels(course.values), points.start, points.at(len(points)), ends, at))


def _mean(course: Course, start: int, end: int) -> float:
    part = course.values[start:end]
    known = part[np.isfinite(part)]
    return float(np.median(known)) if len(known) else math.nan


class _Company(NamedTuple):
    """What else changed at the time of a change."""

    sentence: str
    before: int  # version that most calls used; -1: not known
    after: int


def _company(calls: Calls, points: Points, index: int) -> _Company:
    """Whether another version of the parameters went live at that time."""
    span_ = (NEAR + 1) * points.step
    at = points.at(index)
    old = _usual(calls.version[(calls.started >= at - 2 * span_) & (calls.started < at - span_ / 2)])
    new = _usual(calls.version[(calls.started >= at + span_ / 2) & (calls.started < at + 2 * span_)])
    if old < 0 or new < 0 or old == new:
        return _Company("", old, old)
    return _Company(f"; version {new} of the parameters went live about then, after version {old}", old, new)


def _usual(versions: Codes) -> int:
    """The version that most calls used; -1: not known."""
    known = versions[versions >= 0]
    if not len(known):
        return -1
    found, counts = np.unique(known, return_counts=True)
    return int(found[int(np.argmax(counts))])


def _action(subject: str, up: bool, lasts: bool, company: _Company) -> str:
    if subject == "load":
        return "Look whether limits and pools that depend on the load still fit." if up else "Nothing has to be done."
    if not up:
        return "Nothing has to be done: it is better than before."
    if company.before != company.after:
        return (
            f"Compare the two versions (poet history), and go back with 'poet rollback --to {company.before}' if "
            "nothing else changed then."
        )
    if not lasts:
        return "It is over; look at what happened then if it may come again."
    same = "The parameters stayed the same then: l" if company.before >= 0 else "L"
    return f"{same}ook at what was deployed, and at the service behind the function."


# --- trends and seasons ----------------------------------------------------------------------------------------------


def _drift(course: Course) -> Slope | None:
    """The course's drift, with an interval of ``LEVEL``; None where it is none beyond chance."""
    slope = changepoint.trend(course.values, course.periods, level=LEVEL)
    doubt = (slope.high - slope.low) / 2
    return slope if math.isfinite(doubt) and abs(slope.per_step) > SURE * doubt else None


def _near(course: Course, asked: Asked) -> bool:
    """Whether usual answers are long enough for the timeout to matter."""
    if course.subject != "latency" or asked.timeout is None:
        return False
    return course.level(float(np.nanquantile(course.values, USUAL))) > asked.timeout / NEAR_TIMEOUT


def _trend(function: str, points: Points, course: Course, slope: Slope) -> Iterable[Insight]:
    known = np.flatnonzero(np.isfinite(course.values))
    length = float(known[-1] - known[0])
    middle = _mean(course, 0, len(points))
    ends = course.level(middle - slope.per_step * length / 2), course.level(middle + slope.per_step * length / 2)
    per_day = DAY / points.step
    n = int(points.calls.sum())
    slopes = (slope.per_step, slope.low, slope.high)
    said = [course.said(x, points.step) for x in ends]
    if course.subject == "failures":
        if abs(ends[1] - ends[0]) < LEAST_SHARE:
            return
        scale = (ends[1] - ends[0]) / (slope.per_step * length)
        rates, unit = [x * scale * per_day for x in slopes], "share of calls per day"
    else:
        if 10.0 ** (abs(slope.per_step) * length) < LEAST_TREND or ends[0] <= 0:
            return
        rates, unit = [math.expm1(math.log(10.0) * x * per_day) for x in slopes], "ratio - 1 per day"
    effect = Estimate(rates[0], rates[1], rates[2], n, LEVEL)
    what = {"latency": "answers drift", "failures": "failures drift", "load": "load drifts"}[course.subject]
    worse = effect.value > 0 and course.subject != "load"
    yield Insight(
        function,
        "trend",
        course.subject,
        f"{what} from {said[0]} to {said[1]} between {moment(points.start)} and "
        f"{moment(points.at(len(points)))}, a little at a time",
        "No single change explains it: look for what grows (data, tables, queues, a cache that fills)."
        if worse
        else "Nothing has to be done.",
        effect,
        unit,
        n,
        points.start,
        points.at(len(points)),
        picture=_drawn(points, course),
    )


def _seasons(function: str, points: Points, course: Course) -> Iterable[Insight]:
    for period in course.periods:
        if period.strength < LEAST_STRENGTH:
            continue
        profile = _profile(course, period)
        known = np.flatnonzero(np.isfinite(profile))
        if len(known) < 2:
            continue
        high, low = (int(known[int(pick(profile[known]))]) for pick in (np.argmax, np.argmin))
        levels = course.level(float(profile[low])), course.level(float(profile[high]))
        length = period.length * points.step
        n = int(points.calls.sum())
        said = [course.said(x, points.step) for x in levels]
        if course.subject == "failures":
            value, unit = levels[1] - levels[0], "share of calls"
        else:
            value, unit = levels[1] / max(levels[0], 1e-12) - 1, "ratio - 1"
        what = {"latency": "answers take", "failures": "failures are", "load": "load is"}[course.subject]
        wide = value * math.sqrt(max(1.0 - period.strength, 0.0))
        yield Insight(
            function,
            "season",
            course.subject,
            f"{what} between {said[0]} and {said[1]}, again every {span(length)}{_peak(points, high, length)}",
            "Judge it against the same time of the period, not against the hour before."
            if course.subject != "load"
            else "Plan capacity for the peaks, and work that can wait for the time between them.",
            Estimate(value, value - wide, value + wide, n, LEVEL),
            unit,
            n,
            points.start,
            points.at(len(points)),
            picture=(f"{line(course.levels(profile))}  one period",),
            facts={"period": length, "strength": period.strength},
        )


def _profile(course: Course, period: Period) -> Array:
    """Median by place within the period."""
    k = max(round(period.length), 2)
    places = np.floor(np.arange(len(course.values)) % period.length * k / period.length).astype(np.int64)
    found = np.full(k, np.nan)
    for place in range(k):
        part = course.values[places == place]
        part = part[np.isfinite(part)]
        if len(part):
            found[place] = np.median(part)
    return found


def _peak(points: Points, place: int, length: float) -> str:
    """When the highest point comes, where the period is a day or a week."""
    at = points.at(place)
    if abs(length - DAY) < points.step:
        return f", most at {moment(at)[-5:]} UTC"
    if abs(length - 7 * DAY) < points.step:
        weekday = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
        return f", most on {weekday[int((at // DAY + 3) % 7)]}"
    return ""


# --- what is to come -------------------------------------------------------------------------------------------------


def _to_come(
    function: str, points: Points, course: Course, shifts: Sequence[Change], asked: Asked
) -> Iterable[Insight]:
    start = shifts[-1].at if shifts else 0
    values = course.values[start:-1]
    ahead = int(min(AHEAD / points.step, AHEAD_SHARE * len(values)))
    if ahead < 1 or len(values) < FEWEST_POINTS:
        return
    told = forecast.forecast(values, course.periods, ahead, level=LEVEL)
    if not np.isfinite(told.mean).all():
        return
    worst = int(np.argmax(told.mean))
    now = course.level(_mean(course, max(len(course.values) - 25, start), len(course.values)))
    levels = tuple(course.level(float(x[worst])) for x in (told.mean, told.low, told.high))
    near = course.subject == "latency" and asked.timeout is not None and levels[2] > asked.timeout
    if not near and float(told.low[worst]) <= float(np.nanquantile(values, USUAL)):
        return  # nothing that was not there before
    at = points.at(len(points) - 1 + worst)
    n = int(points.calls[start:].sum())
    hint = ""
    action = {
        "latency": "Look at what makes answers slower before callers do.",
        "failures": "Look at what fails before it fails more often.",
        "load": "See to limits, pools and capacity before then.",
    }[course.subject]
    if near and asked.timeout is not None:
        hint = f"; the timeout is {span(asked.timeout)}"
        action = "The usual answer may come near the timeout then: do not pin the timeout where it is."
    unit = {"latency": "s", "failures": "share of calls", "load": f"calls per {span(points.step)}"}[course.subject]
    said = [course.said(x, points.step) for x in (levels[0], levels[1], levels[2], now)]
    yield Insight(
        function,
        "forecast",
        course.subject,
        f"{course.subject} in the next {span(ahead * points.step)}: at most {said[0]} expected, on {moment(at)} "
        f"({said[1]} to {said[2]} with {LEVEL:.0%}); lately {said[3]}{hint}",
        action,
        Estimate(levels[0], levels[1], levels[2], n, LEVEL),
        unit,
        n,
        points.at(len(points) - 1),
        points.at(len(points) - 1 + ahead),
        picture=(f"{line(course.levels(told.mean))}  the next {span(ahead * points.step)}",),
    )
