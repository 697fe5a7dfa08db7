"""Parameters as points of the unit cube, and back: log scales, whole numbers, choices. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from poet.errors import ConfigurationError, nearest
from poet.kernels.online.bins import readable
from poet.model.tunable import Choice, Integer, Real, Space, Tunable, Value

_RANGE_NAMES = ("low", "high", "min", "max", "range", "log", "options")


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def tunable_of(name: str, given: object) -> Tunable:
    """What ``given`` says about the parameter ``name``.

    A ``Real``, ``Integer`` or ``Choice``; two different numbers: a range, of whole numbers where both are; a mapping
    with ``low`` and ``high`` (or ``min`` and ``max``, or ``range``) and perhaps ``log``, or with ``options``; any other
    sequence: options. Raises ConfigurationError where it is none of these.
    """
    if isinstance(given, Real | Integer | Choice):
        return given
    if isinstance(given, Mapping):
        for key in given:
            if key not in _RANGE_NAMES and key not in ("type", "current_value", "impact"):
                raise ConfigurationError(f"{name}: unknown key {key!r} in its range: {nearest(str(key), _RANGE_NAMES)}")
        if "options" in given:
            return tunable_of(name, Choice(*given["options"]))
        pair = given.get("range", (given.get("low", given.get("min")), given.get("high", given.get("max"))))
        return _ranged(name, tuple(pair), log=bool(given.get("log", False)))
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        if len(given) == 2 and all(map(is_number, given)) and given[0] != given[1]:
            return _ranged(name, tuple(given))
        return Choice(*given)
    raise ConfigurationError(f"{name} needs a range (low, high), a list of options, or a Real, got {given!r}")


def _ranged(name: str, pair: tuple[object, ...], *, log: bool = False) -> Tunable:
    if len(pair) != 2 or not all(map(is_number, pair)):
        raise ConfigurationError(f"{name} needs two numbers as its range, got {pair!r}")
    low, high = pair
    if isinstance(low, int) and isinstance(high, int):
        return Integer(low, high, log=log)
    return Real(float(low), float(high), log=log)  # type: ignore[arg-type]  # numbers, as was just checked


class Axis(NamedTuple):
    """One parameter's place in a space of floats, on which a difference of 1 is a large step."""

    low: float  # hard bounds, in the parameter's own unit
    high: float
    log: bool  # ratios matter
    whole: bool
    unit: float  # what 1 on the axis stands for: of the parameter, or, where ``log``, of its logarithm; > 0

    def place(self, value: float) -> float:
        """Where ``value`` lies; what is out of bounds lies at the bound."""
        value = min(max(float(value), self.low), self.high)
        return (math.log(value) if self.log else value) / self.unit

    @property
    def ends(self) -> tuple[float, float]:
        """The places of the bounds."""
        return self.place(self.low), self.place(self.high)

    def value(self, place: float, coin: float = 0.5) -> int | float:
        """The value at ``place``: rounded where it is a whole number, the bounds last.

        coin: in [0, 1): a whole number is rounded up where its fraction exceeds it; 0.5 rounds to the nearest, a
            uniform draw in proportion, so that the mean of many is what was meant.
        """
        low, high = self.ends
        place = min(max(place, low), high) * self.unit
        value = math.exp(place) if self.log else place
        if self.whole:
            return min(max(math.floor(value) + (value - math.floor(value) > coin), math.ceil(self.low)), int(self.high))
        return min(max(readable(value, 6), self.low), self.high)


TENFOLD = math.log(10.0)


def declared_axis(tunable: Real | Integer) -> Axis:
    """The axis of a declared range: all of it, or, on a log scale, at most a factor of 10, is a step of 1."""
    low, high = float(tunable.low), float(tunable.high)
    width = math.log(high / low) if tunable.log else high - low
    unit = (min(width, TENFOLD) if tunable.log else width) or 1.0
    return Axis(low, high, tunable.log, isinstance(tunable, Integer), unit)


def guessed_axis(value: int | float) -> Axis:
    """An axis for a parameter of which nothing is known but a value that somebody chose.

    Positive numbers keep within a tenth and ten times of it, on a log scale unless they are small whole numbers; one
    that is below 1, a share maybe, stays at most 1. 0 may go up to 1. Negative numbers may double or vanish.
    """
    whole = isinstance(value, int)
    number = float(value)
    if number > 0:
        high = 1.0 if not whole and number <= 1.0 else 10.0 * number
        low = max(1.0, number / 10.0) if whole else number / 10.0
        if whole and number < 16:
            return Axis(1.0, max(high, 2.0), False, whole, max(1.0, number))
        return Axis(low, high, True, whole, TENFOLD)
    if number == 0:
        return Axis(0.0, 1.0, False, whole, 1.0)
    return Axis(2.0 * number, 0.0, False, whole, -number)


# --- whole spaces as unit cubes, for a surrogate ----------------------------------------------------------------------


MOST_STEPS = 4096  # that a column is rounded to; finer ones are as good as any number


class Cube:
    """A space of tunables as columns: numbers in [0, 1], choices as codes from 0.

    A tunable whose condition is not met lies at one fixed place, that of ``home``: what it was says nothing.
    """

    def __init__(self, space: Mapping[str, object], home: Mapping[str, object] | None = None) -> None:
        """home: values of tunables that play no part; missing: the middle, or the first option.

        Raises ConfigurationError where ``space`` is empty or one of its ranges is none.
        """
        if not space:
            raise ConfigurationError("param_space is empty: name at least one parameter and its range")
        self.tunables = {name: tunable_of(name, given) for name, given in space.items()}
        self.levels = tuple(len(t.options) if isinstance(t, Choice) else 0 for t in self.tunables.values())
        self._conditional = any(tunable.condition for tunable in self.tunables.values())
        self._space = Space.shared(**self.tunables) if self._conditional else None
        self._home = [
            0.5 if (place := self._place(tunable, (home or {}).get(name))) is None and not levels else place or 0.0
            for (name, tunable), levels in zip(self.tunables.items(), self.levels, strict=True)
        ]

    @property
    def conditional(self) -> bool:
        """Whether some matter only while others have certain values."""
        return self._conditional

    @property
    def home(self) -> list[float]:
        """The point of those values that were given as home, or of the middle."""
        return list(self._home)

    def row(self, values: Mapping[str, object]) -> list[float] | None:
        """The point of ``values``; None where one is missing or no value of its tunable's kind.

        A number beyond its range was tried all the same: it lies beyond the cube.
        """
        active = self._active(values)
        point = []
        for j, (name, tunable) in enumerate(self.tunables.items()):
            place = self._place(tunable, values.get(name)) if name in active else self._home[j]
            if place is None:
                return None
            point.append(place)
        return point

    def _active(self, values: Mapping[str, object]) -> Collection[str]:
        if self._space is None:
            return self.tunables
        return self._space.active(values)  # type: ignore[arg-type]  # odd ones meet no condition

    @staticmethod
    def _place(tunable: Tunable, value: object) -> float | None:
        if isinstance(tunable, Choice):
            codes = [k for k, option in enumerate(tunable.options) if option == value and type(option) is type(value)]
            codes = codes or [k for k, option in enumerate(tunable.options) if option == value]
            return float(codes[0]) if codes else None
        if not is_number(value) or (tunable.log and not float(value) > 0):  # type: ignore[arg-type]
            return None
        return _share(tunable, float(value))  # type: ignore[arg-type]

    def values(self, point: Sequence[float]) -> dict[str, Value]:
        """The values at ``point``, within bounds, whole numbers rounded, on their steps."""
        values: dict[str, Value] = {}
        for (name, tunable), x in zip(self.tunables.items(), point, strict=True):
            if isinstance(tunable, Choice):
                values[name] = tunable.options[min(max(round(x), 0), len(tunable.options) - 1)]
                continue
            low, high, x = float(tunable.low), float(tunable.high), min(max(x, 0.0), 1.0)
            value = low * math.pow(high / low, x) if tunable.log else low + (high - low) * x
            values[name] = tunable.clip(value if isinstance(tunable, Integer) else readable(value, 6))
        return values

    def rounded(self, point: Sequence[float]) -> list[float]:
        """The point that ``values`` of ``point`` truly lie at: whole numbers leave gaps, idle ones are at home."""
        row = self.row(self.values(point))
        assert row is not None
        return row

    def conditions(self) -> list[list[tuple[int, list[float]]]]:
        """By column, which other columns must be at one of which places for it to matter."""
        names = list(self.tunables)
        return [
            [
                (names.index(other), [p for v in options if (p := self._place(self.tunables[other], v)) is not None])
                for other, options in tunable.condition
            ]
            for tunable in self.tunables.values()
        ]

    def steps(self) -> list[list[float] | None]:
        """By column, the places of all its values in order; None: a choice, or any number in [0, 1]."""
        return [_steps(tunable) for tunable in self.tunables.values()]


def _steps(tunable: Tunable) -> list[float] | None:
    if isinstance(tunable, Choice) or tunable.step is None:
        return None
    count = math.floor((tunable.high - tunable.low) / tunable.step + 1e-9) + 1
    if count > MOST_STEPS:
        return None
    return [_share(tunable, float(tunable.clip(tunable.low + k * tunable.step))) for k in range(count)]


def _share(tunable: Real | Integer, value: float) -> float:
    low, high = float(tunable.low), float(tunable.high)
    if high == low:
        return 0.5
    if tunable.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
