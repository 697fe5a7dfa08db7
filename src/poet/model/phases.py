"""Phases: values for some hours of the day or days of the week only, as text in their names, ``timeout@08:00-20:00``.

A phase is days, or a time of day, or both, and the time zone they are told in unless that is UTC: ``Sat-Sun``,
``08:00-20:00``, ``Mon-Fri 22:00-06:00 Europe/Berlin``. A time of day holds from its first minute up to its last, over
midnight where that is the earlier one; the day is the one that it began on. It stands in a name where a condition on a
feature may stand, and beside such ones, ``timeout@region=eu,08:00-20:00``; as it has none of their marks, no feature
can be taken for it. Where the clock is set forward a phase is shorter on that day, where it is set back longer.

Which phases hold is a matter of the moment alone. Of several that hold, the shortest stands above the others.
Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from poet.errors import ConfigurationError
from poet.model.contexts import MARK, named, parts

if TYPE_CHECKING:
    from datetime import tzinfo

V = TypeVar("V")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = 1440  # [min]
WEEK = 7 * DAY  # [min]
_DAY_OF_ZERO = 3  # 1 January 1970 was a Thursday
_FORM = re.compile(
    r"(?P<days>[A-Z][a-z]{2}(?:-[A-Z][a-z]{2})?)?"
    r"(?:(?:^|\s)(?P<since>\d{1,2}:\d\d)-(?P<until>\d{1,2}:\d\d))?"
    r"(?:\s(?P<zone>[A-Za-z][A-Za-z0-9_+/\-]*))?"
)


class Phase(NamedTuple):
    """Some hours of the day, on some days of the week."""

    days: tuple[int, int] = (0, 6)  # the first and the last, Monday is 0; over Sunday where the last is the smaller one
    since: int = 0  # first minute of the day, in [0, 1440)
    until: int = DAY  # minute that it ends at, in (0, 1440]; not above ``since``: of the next day
    zone: str = ""  # as the IANA's data base names it; empty: UTC

    @property
    def length(self) -> int:
        """Of one time [min]."""
        return (self.until - self.since) % DAY or DAY

    @property
    def share(self) -> float:
        """Of the week, in (0, 1]."""
        return self.length * ((self.days[1] - self.days[0]) % 7 + 1) / WEEK

    def __str__(self) -> str:
        """As it stands in a name.

        >>> str(Phase((5, 6))), str(Phase(since=480, until=1200)), str(Phase((0, 4), 1320, 360, "Europe/Berlin"))
        ('Sat-Sun', '08:00-20:00', 'Mon-Fri 22:00-06:00 Europe/Berlin')
        """
        first, last = self.days
        told = []
        if (last - first) % 7 < 6:
            told.append(DAYS[first] if first == last else f"{DAYS[first]}-{DAYS[last]}")
        if self.length < DAY or not told:
            told.append(f"{_clock(self.since)}-{_clock(self.until)}")
        return " ".join([*told, self.zone] if self.zone else told)

    def holds(self, moment: float) -> bool:
        """Whether it does at ``moment``, Unix time [s]. Where nobody knows the zone it never does."""
        now = minute_of_week(moment, self.zone)
        if now is None:
            return False
        day, minute = divmod(now, DAY)
        if self.length < DAY and (minute - self.since) % DAY >= self.length:
            return False
        if minute < self.since:  # it began yesterday
            day = (day - 1) % 7
        return (day - self.days[0]) % 7 <= (self.days[1] - self.days[0]) % 7


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def minute_of_week(moment: float, zone: str = "") -> int | None:
    """Minutes since Monday began, by the clocks of ``zone``, in [0, 10080). None: no such zone, or no such moment.

    >>> minute_of_week(1_700_000_000.0)  # Tuesday, 22:13
    2773
    """
    if not zone:
        try:
            whole = int(moment // 60)
        except (ValueError, OverflowError):
            return None
        return (whole + _DAY_OF_ZERO * DAY) % WEEK
    from datetime import datetime  # here, as UTC does without

    known = zone_of(zone)
    try:
        when = None if known is None else datetime.fromtimestamp(moment, known)
    except (ValueError, OverflowError, OSError):
        return None
    return None if when is None else when.weekday() * DAY + when.hour * 60 + when.minute


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo | None:
    """The time zone of that name; empty: UTC. None: this machine knows none."""
    from datetime import UTC

    if name in ("", "UTC"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


@lru_cache(maxsize=4096)
def phase_of(text: str) -> Phase | None:
    """The phase that ``text`` stands for; None: it is none.

    >>> phase_of("08:00-20:00"), phase_of("region=eu")
    (Phase(days=(0, 6), since=480, until=1200, zone=''), None)
    """
    found = _FORM.fullmatch(text)
    if found is None or not (found["days"] or found["since"]):
        return None
    days = (0, 6)
    if found["days"]:
        ends = found["days"].split("-")
        if not all(end in DAYS for end in ends):
            return None
        days = DAYS.index(ends[0]), DAYS.index(ends[-1])
    since, until = (0, DAY) if found["since"] is None else (_minute(found[end]) for end in ("since", "until"))
    zone = found["zone"] or ""
    if since is None or until is None or since == DAY:
        return None
    return Phase(days, since, until or DAY, "" if zone == "UTC" else zone)


def _minute(text: str) -> int | None:
    hour, _, minute = text.partition(":")
    found = 60 * int(hour) + int(minute)
    return found if int(minute) < 60 and found <= DAY else None


@lru_cache(maxsize=4096)
def parted(name: str) -> tuple[str, tuple[Phase, ...]]:
    """A name without its phases, and these.

    >>> parted("timeout@08:00-20:00,region=eu")
    ('timeout@region=eu', (Phase(days=(0, 6), since=480, until=1200, zone=''),))
    """
    base, cell = parts(name)
    if not cell:
        return name, ()
    told = [(part, phase_of(part)) for part in cell.split(",")]
    rest = ",".join(part for part, phase in told if phase is None)
    return named(base, rest) if rest else base, tuple(phase for _, phase in told if phase is not None)


def timed(name: str) -> bool:
    """Whether a value of this name is for some times only."""
    return MARK in name and bool(parted(name)[1])


def checked(name: str) -> None:
    """Raises ConfigurationError where this machine does not know the zone of one of the name's phases."""
    for phase in parted(name)[1]:
        if zone_of(phase.zone) is None:
            raise ConfigurationError(f"{name!r}: no time zone {phase.zone!r}; say it as 'Europe/Berlin', or 'UTC'")


def holding(names: Iterable[str], moment: float) -> tuple[str, ...]:
    """Which of the names are for some times only, and hold at ``moment``, Unix time [s]; the shortest last."""
    told = [(name, parted(name)[1]) for name in names if MARK in name]
    held = [(name, phases) for name, phases in told if phases and all(phase.holds(moment) for phase in phases)]
    return tuple(name for name, _ in sorted(held, key=lambda each: (-min(p.share for p in each[1]), each[0])))


def at(values: Mapping[str, V], moment: float) -> dict[str, V]:
    """What holds at ``moment``, Unix time [s], under plain names.

    >>> values = {"timeout": 1.0, "timeout@08:00-20:00": 3.0, "retries": 2}
    >>> at(values, 1_700_000_000.0), at(values, 1_699_963_200.0)  # 22:13 and 12:00
    ({'timeout': 1.0, 'retries': 2}, {'timeout': 3.0, 'retries': 2})
    """
    found = {name: value for name, value in values.items() if not timed(name)}
    for name in holding(values, moment):
        found[parted(name)[0]] = values[name]
    return found


def replaced(live: Mapping[str, V], values: Mapping[str, V]) -> dict[str, V]:
    """``live`` with ``values``, and without what it had for some times only of these parameters.

    >>> replaced({"timeout": 1.0, "timeout@08:00-20:00": 3.0}, {"timeout": 2.0, "timeout@Sat-Sun": 4.0})
    {'timeout': 2.0, 'timeout@Sat-Sun': 4.0}
    """
    bases = {parts(name)[0] for name in values}
    return {n: value for n, value in live.items() if not (timed(n) and parts(n)[0] in bases)} | dict(values)


WIDER = 1.5  # times beyond what phases span, where a value for all times says that they are of another time


def going_on(live: Mapping[str, V], values: Mapping[str, V]) -> dict[str, V]:
    """What ``live`` has for some times only and still holds where learning finds ``values`` for all times.

    Learning hears of all hours together and knows no time of day, so what it finds for all of them lies within what the
    hours want. Where it has gone far beyond, the service is another one: then that parameter's phases go.

    >>> live = {"timeout": 2.0, "timeout@08:00-20:00": 3.0, "timeout@20:00-08:00": 1.0}
    >>> sorted(going_on(live, {"timeout": 2.5})), going_on(live, {"timeout": 30.0})
    (['timeout@08:00-20:00', 'timeout@20:00-08:00'], {})
    """
    found = {name: value for name, value in live.items() if timed(name)}
    for base in {parts(name)[0] for name in found}:
        value = values.get(base, live.get(base))
        told = [found[name] for name in found if parts(name)[0] == base] + ([live[base]] if base in live else [])
        numbers = [float(x) for x in told if isinstance(x, int | float) and not isinstance(x, bool)]
        if not isinstance(value, int | float) or isinstance(value, bool) or len(numbers) < len(told):
            continue
        low, high = min(numbers), max(numbers)
        slack = 1.0 if all(isinstance(x, int) for x in told) else 0.0
        if not low / WIDER - slack <= value <= high * WIDER + slack:
            found = {name: each for name, each in found.items() if parts(name)[0] != base}
    return found


def by_hours(live: Mapping[str, object], now: float) -> Iterator[str]:
    """What follows the hours, for people: a sentence for each parameter. now: Unix time [s].

    >>> list(by_hours({"timeout": 1.0, "timeout@08:00-20:00": 3.0}, 1_700_000_000.0))
    ['timeout follows the hours: 3.0 from 08:00-20:00 UTC; 1.0 at all others, and now']
    """
    for base in sorted({parts(name)[0] for name in live if timed(name)}):
        told = [(name, parted(name)) for name in live if parts(name)[0] == base and timed(name)]
        holds = holding([name for name, _ in told], now)
        said = []
        for name, (rest, phases) in told:
            when = " and ".join(str(phase) if phase.zone else f"{phase} UTC" for phase in phases)
            only = f" where {parts(rest)[1]}" if parts(rest)[1] else ""
            said.append(f"{live[name]} from {when}{only}{', and now' if name in holds[-1:] else ''}")
        others = f"; {live[base]} at all others{'' if holds else ', and now'}" if base in live else ""
        yield f"{base} follows the hours: {', '.join(said)}{others}"
