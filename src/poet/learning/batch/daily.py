"""Values that follow the day: whether some hours want others than the rest, by what each would have been worth.

Asked only of functions whose latency or failures repeat with the day or the week, as ``kernels.batch.season`` finds.
What every choice would have been worth in every recorded call is told by a replay, or by what a lot drew. The hours are
cut where that is worth most; what the cut is worth is measured against the best values for all hours, on days that
neither was chosen on, day by day: days are what varies by chance, not calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from poet.kernels.batch import phasing
from poet.kernels.batch.findings import adjusted
from poet.kernels.batch.phasing import Part
from poet.learning.batch.asked import LEVEL, Asked
from poet.learning.batch.calls import Array, Bools, Calls, Codes
from poet.learning.batch.day_choices import USUAL, Choices, of_lot, of_replay
from poet.learning.batch.effects import arms_of, by_lot, odds_of
from poet.learning.batch.over_time import Course
from poet.learning.batch.points import DAY, Points
from poet.learning.batch.saying import line, span
from poet.model.estimate import Estimate
from poet.model.figures import figures
from poet.model.insight import Insight, Proposal
from poet.model.phases import Phase, minute_of_week
from poet.model.tunable import Value

RATE = 0.05  # of false discoveries among what is told
FEWEST_CALLS, FEWEST_DAYS = 2000, 8
FEWEST_DRAWN = 1000  # calls of a lot
LEAST_STRENGTH = 0.05  # of a season, as a share of the variance
LEAST_GAIN = 0.005  # that is told [1/value of an answer]
A_PART = 0.4  # of that gain, which one more part of the day must add
FOLDS = 2  # days go to them by turns
LATELY = 1 / 3  # of the days, in which values must have been better, too
HELD = 4  # days of the newest version, after which it is asked what it has reached


class When(NamedTuple):
    """The clock's reading at each call, in the zone that hours are told in; (n,) each."""

    dates: Codes  # days since the first
    weekdays: Codes  # Monday is 0
    hours: Codes


class Judged(NamedTuple):
    """What a cut is worth."""

    parts: tuple[Part, ...]  # chosen on all days
    constant: int  # the best choice for all hours
    gain: Estimate  # against that, of days that neither was chosen on [utility per call]
    p: float  # chance of that where nothing follows the day
    lately: float  # the same of the newest days


def findings(
    function: str,
    calls: Calls,
    courses: Sequence[Course],
    points: Points,
    asked: Asked,
    untold: list[str],
) -> Iterable[Insight]:
    """All of one function: at most one of timeout, retries, backoff and copies together, and one of each tunable."""
    daily, weekly = _repeats(courses, points)
    if not (daily or weekly):
        return
    when = clock(calls.started, asked.zone)
    days = int(when.dates.max()) + 1
    if len(calls) < FEWEST_CALLS or days < FEWEST_DAYS:
        untold.append(
            f"no values by the hour: {len(calls)} calls on {days} days are too few, it takes {FEWEST_CALLS} on "
            f"{FEWEST_DAYS}"
        )
        return
    judged = []
    for calls_, when_, choices in _asked_about(calls, when, asked):
        found = judge(choices, when_, weekly=weekly, value=asked.value)
        if found is not None:
            judged.append((calls_, when_, choices, found))
    rates = adjusted([each.p for *_, each in judged])
    told: dict[tuple[str, ...], Insight] = {}  # by what was chosen: operational values all at once, tunables one by one
    for (calls_, when_, choices, found), rate in zip(judged, rates.tolist(), strict=True):
        about = tuple(choices.values[0])
        enough = found.gain.value >= LEAST_GAIN * asked.value and found.gain.low > 0 and found.lately > 0
        if enough and rate <= RATE and (about not in told or told[about].effect.value < found.gain.value):
            told[about] = _told(function, calls_, when_, choices, found, rate, asked)
    yield from told.values()


def _repeats(courses: Sequence[Course], points: Points) -> tuple[bool, bool]:
    """Whether latency or failures repeat with the day, and with the week."""
    lengths = [
        period.length * points.step
        for course in courses
        if course.subject != "load"
        for period in course.periods
        if period.strength >= LEAST_STRENGTH
    ]
    daily = any(2 * points.step < length <= 1.05 * DAY and _whole(DAY / length) for length in lengths)
    return daily, any(_whole(length / (7 * DAY)) for length in lengths)


def _whole(ratio: float) -> bool:
    return ratio > 0.5 and abs(ratio - round(ratio)) < 0.05


def clock(moments: Array, zone: str) -> When:
    """What the clocks of ``zone`` say at moments, Unix times [s], rising."""
    quarters = np.floor(moments / 900.0).astype(np.int64)  # all zones of today are off by whole quarters of an hour
    if not zone:
        minutes = (quarters * 15 + 3 * 1440) % 10080
        dates = quarters // 96
    else:
        told, place = np.unique(quarters, return_inverse=True)
        week = [minute_of_week(quarter * 900.0, zone) for quarter in told.tolist()]
        minutes = np.array([0 if minute is None else minute for minute in week], np.int64)[place]
        local = quarters * 15 - (quarters * 15 + 3 * 1440 - minutes + 5040) % 10080 + 5040  # within half a week
        dates = local // 1440
    return When(dates - dates.min(initial=dates[0] if len(dates) else 0), minutes // 1440, minutes % 1440 // 60)


def _asked_about(calls: Calls, when: When, asked: Asked) -> Iterator[tuple[Calls, When, Choices]]:
    """What there is to choose, each with its calls."""
    replayed = of_replay(calls, when.hours, when.dates % FOLDS, asked)
    if replayed is not None:
        yield calls, when, replayed
        # What retries nobody made would have met is open as a rule, what another timeout would have cut off is not.
        yield calls, when, replayed.only("timeout")
    if int(calls.tried.sum()) < FEWEST_DRAWN // 10:
        return
    rows = by_lot(calls)
    if len(rows) < FEWEST_DRAWN:
        return
    drawn = calls.take(rows)
    then = When(*(column[rows] for column in when))
    for name, column in drawn.parameters.items():
        if name in USUAL or "@" in name:
            continue
        arms = arms_of(column)
        if len(arms.values) > 1:
            odds = odds_of(arms.codes, drawn)
            yield drawn, then, of_lot(drawn, name, arms, odds, then.hours, then.dates % FOLDS, asked)


def judge(choices: Choices, when: When, *, weekly: bool, value: float) -> Judged | None:
    """What the best cut of the hours is worth. value: of an answer [utility]. None: one choice is best at all hours."""
    at = When(*(column[choices.rows] for column in when))
    whole = np.ones(len(choices.rows), np.bool_)
    parts, constant = _best(choices, at, whole, weekly=weekly, value=value)
    if len({part.choice for part in parts}) < 2:
        return None
    n = len(choices.rows)
    ends = np.zeros((2, n))  # gain of each call, by either end of what is plausible of all that nobody saw
    for fold in range(FOLDS):
        unseen = at.dates % FOLDS == fold
        if unseen.all() or not unseen.any():
            return None
        mine, usual = _best(choices, at, ~unseen, weekly=weekly, value=value)
        rows = np.flatnonzero(unseen)
        chosen = phasing.choices(mine, at.weekdays[rows], at.hours[rows])
        for end, worth in zip(ends, (choices.low, choices.high), strict=True):
            end[rows] = worth[chosen, rows] - worth[usual, rows]
    middle = ends.mean(axis=0)
    one, other = (_by_days(end, at.dates) for end in ends)
    late = at.dates >= (1 - LATELY) * (int(at.dates.max()) + 1)
    return Judged(
        parts,
        constant,
        Estimate(
            float(middle.mean()),
            min(one.mean - one.half, other.mean - other.half),
            max(one.mean + one.half, other.mean + other.half),
            n,
            LEVEL,
        ),
        max(one.p, other.p),
        float(middle[late].mean()) if late.any() else 0.0,
    )


def _best(choices: Choices, at: When, rows: Bools, *, weekly: bool, value: float) -> tuple[tuple[Part, ...], int]:
    """The best parts by some of the calls, and the best choice for all hours."""
    where = np.flatnonzero(rows)
    cell = at.weekdays[where] * phasing.HOURS + at.hours[where]
    size = phasing.DAYS * phasing.HOURS
    totals = np.stack(
        [
            np.bincount(cell, weights=(low[where] + high[where]) / 2 - cost, minlength=size)
            for low, high, cost in zip(choices.low, choices.high, choices.cost, strict=True)
        ]
    ).reshape(-1, phasing.DAYS, phasing.HOURS)
    least = A_PART * LEAST_GAIN * value * len(where)
    return phasing.parts(totals, weekly=weekly, least=least), int(totals.sum(axis=(1, 2)).argmax())


class _Mean(NamedTuple):
    mean: float
    half: float  # of its interval
    p: float  # chance of as much by luck


def _by_days(gains: Array, dates: Codes) -> _Mean:
    """The mean gain of a call: days are drawn, with all their calls.

    The ratio of two sums over days (Cochran 1977, Sampling Techniques, section 6.4), Student's t with as many degrees
    of freedom as there are days less one.
    """
    from scipy import stats

    sums, counts = np.bincount(dates, weights=gains), np.bincount(dates).astype(np.float64)
    sums, counts = sums[counts > 0], counts[counts > 0]
    days = len(counts)
    mean = float(sums.sum() / counts.sum())
    left = sums - mean * counts
    error = math.sqrt(float(left @ left) * days / max(days - 1, 1)) / float(counts.sum())
    if error <= 0:
        return _Mean(mean, 0.0, 0.0 if mean > 0 else 1.0)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, days - 1))
    return _Mean(mean, error * reach, float(stats.t.sf(mean / error, days - 1)))


# --- what is told ----------------------------------------------------------------------------------------------------


def _told(
    function: str, calls: Calls, when: When, choices: Choices, found: Judged, rate: float, asked: Asked
) -> Insight:
    phases = [(_phase(part, asked.zone), choices.values[part.choice]) for part in found.parts]
    usual = choices.values[found.constant]
    names = [name for name in usual if len({each[name] for _, each in phases}) > 1]
    values = _values(phases, usual, choices.values[int(choices.cost.argmin())], names, asked)
    best = found.gain
    said = ", ".join(f"{_shown(name, usual[name])}" for name in names)
    hours = "; ".join(
        f"{phase}: {', '.join(_shown(name, each[name]) for name in names)}" for phase, each in _merged(phases, names)
    )
    zone = asked.zone or "UTC"
    days = int(when.dates.max()) + 1
    holds = _holds_already(calls, when, choices, found, asked)
    what = " and ".join(names)
    return Insight(
        function,
        "daily",
        ", ".join(names),
        f"{what} {'follows' if len(names) == 1 else 'follow'} the day: {hours} ({zone}). That gains "
        f"{figures(best.value)} utility per call [{figures(best.low)} to {figures(best.high)}] over the best for all "
        f"hours ({said}), on {days} days each of which the choice did not see",
        "It holds already: nothing has to be done."
        if holds
        else "Make it live: poet analyze --apply; the values change with the clock then.",
        best,
        "utility per call",
        best.n,
        float(calls.started[0]),
        float(calls.started[-1]),
        worth=1000.0 * best.value,
        picture=_drawn(calls, when, found, zone),
        proposal=None if holds else Proposal(values, {}, best),
        facts={"q": rate, "phases": float(len(phases)), "days": float(days), "lately": found.lately},
    )


def _phase(part: Part, zone: str) -> Phase:
    return Phase((part.first, part.last), 60 * part.since, 60 * part.until, zone)


def _merged(
    phases: Sequence[tuple[Phase, Mapping[str, Value]]], names: Sequence[str]
) -> list[tuple[str, Mapping[str, Value]]]:
    """Phases of the same values together."""
    found: dict[tuple[Value, ...], list[str]] = {}
    kept: dict[tuple[Value, ...], Mapping[str, Value]] = {}
    for phase, values in phases:
        key = tuple(values[name] for name in names)
        found.setdefault(key, []).append(str(phase._replace(zone="")))
        kept[key] = values
    return [(" and ".join(found[key]), kept[key]) for key in found]


def _values(
    phases: Sequence[tuple[Phase, Mapping[str, Value]]],
    usual: Mapping[str, Value],
    used: Mapping[str, Value],
    names: Sequence[str],
    asked: Asked,
) -> dict[str, Value]:
    """All values that change, of each first the one for all hours, which stands where no phase holds."""
    agreed = {name: value for name, value in phases[0][1].items() if name not in names and value != used[name]}
    found = {name: _kind(value, asked.live.get(name)) for name, value in agreed.items()}
    for name in names:
        found[name] = _kind(usual[name], asked.live.get(name))
        found |= {f"{name}@{phase}": _kind(values[name], asked.live.get(name)) for phase, values in phases}
    return found


def _kind(value: Value, live: Value | None) -> Value:
    """A number of the kind that is live."""
    whole = isinstance(live, int) and not isinstance(live, bool)
    return round(value) if isinstance(value, float) and whole and value == round(value) else value


def _shown(name: str, value: Value) -> str:
    if name in ("timeout", "backoff", "hedge_delay") and isinstance(value, int | float):
        return f"{name} {span(float(value))}"
    return f"{name} {figures(value) if isinstance(value, float) else value}"


def _holds_already(calls: Calls, when: When, choices: Choices, found: Judged, asked: Asked) -> bool:
    """Whether the newest version reaches what the parts promise: then another would gain nothing."""
    mine = calls.version[choices.rows] == calls.version[-1]
    at = When(*(column[choices.rows] for column in when))
    if calls.version[-1] < 0 or len(np.unique(at.dates[mine])) < HELD:
        return False
    rows = np.flatnonzero(mine)
    chosen = phasing.choices(found.parts, at.weekdays[rows], at.hours[rows])
    promised = (choices.low[chosen, rows] + choices.high[chosen, rows]) / 2
    gain = float((promised - choices.got[rows]).mean())
    return gain < LEAST_GAIN * asked.value / 2


def _drawn(calls: Calls, when: When, found: Judged, zone: str) -> tuple[str, ...]:
    """Usual latency by the hour, and which part each hour is in."""
    weekly = any((part.last - part.first) % 7 < 6 for part in found.parts)
    places, width = (when.weekdays * 24 + when.hours) // 4 if weekly else when.hours, 42 if weekly else 24
    answered = calls.good & (calls.seconds > 0)
    logs = np.log10(np.maximum(calls.seconds, 1e-9))
    levels = [math.nan] * width
    for place in range(width):
        mine = logs[answered & (places == place)]
        if len(mine):
            levels[place] = float(10.0 ** np.median(mine))
    at = np.arange(width) * 4 if weekly else np.arange(width)
    chosen = phasing.choices(found.parts, at // 24, at % 24).tolist()
    order = {choice: str(i) for i, choice in enumerate(dict.fromkeys(chosen), 1)}
    known = [x for x in levels if math.isfinite(x)]
    ends = f"answers usually take {span(min(known))} to {span(max(known))}" if known else "no answers"
    return (
        line(levels, width),
        "".join(order[choice] for choice in chosen),
        f"{'Monday to Sunday' if weekly else '0 to 24 h'} {zone}: {ends}; the digits tell which values hold",
    )
