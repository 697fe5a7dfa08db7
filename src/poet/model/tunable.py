"""What may be tuned, and within which hard bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from poet.errors import ConfigurationError, nearest

Value = bool | int | float | str


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{name} must be a finite number, got {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Real:
    """A real number in ``[low, high]``; ``log`` says that ratios matter, not differences (then low > 0).

    >>> Real(0.1, 10.0, log=True).clip(30)
    10.0
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        low, high = _finite("low", self.low), _finite("high", self.high)
        if low > high:
            raise ConfigurationError(f"bounds upside down: low {low:g} is above high {high:g}; swap them")
        if self.log and not low > 0:
            raise ConfigurationError(f"a log scale needs low > 0, got {low:g}")

    def check(self, name: str, value: object) -> float:
        """``value`` as a float. Raises ConfigurationError where it is no finite number within the bounds."""
        number = _finite(name, value)
        if not self.low <= number <= self.high:
            raise ConfigurationError(
                f"{name} must be in [{self.low:g}, {self.high:g}], got {number:g}; the nearest is {self.clip(number):g}"
            )
        return number

    def clip(self, value: float) -> float:
        """The nearest value within the bounds."""
        return min(max(float(value), float(self.low)), float(self.high))


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number in ``[low, high]``; ``log`` says that ratios matter, not differences (then low > 0).

    >>> Integer(0, 5).clip(7)
    5
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        for name, bound in (("low", self.low), ("high", self.high)):
            if isinstance(bound, bool) or not isinstance(bound, int):
                raise ConfigurationError(f"{name} must be a whole number, got {bound!r}")
        if self.low > self.high:
            raise ConfigurationError(f"bounds upside down: low {self.low} is above high {self.high}; swap them")
        if self.log and not self.low > 0:
            raise ConfigurationError(f"a log scale needs low > 0, got {self.low}")

    def check(self, name: str, value: object) -> int:
        """``value`` as an int. Raises ConfigurationError where it is not a whole number within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigurationError(f"{name} must be a whole number in [{self.low}, {self.high}], got {value!r}")
        if not self.low <= value <= self.high:
            raise ConfigurationError(
                f"{name} must be in [{self.low}, {self.high}], got {value}; the nearest is {self.clip(value)}"
            )
        return value

    def clip(self, value: float) -> int:
        """The nearest whole number within the bounds."""
        return min(max(round(value), self.low), self.high)


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """One of several named options, without an order.

    >>> Choice("small", "large").check("model", "large")
    'large'
    """

    options: tuple[Value, ...]

    def __init__(self, *options: Value) -> None:
        if not options:
            raise ConfigurationError("a Choice needs at least one option")
        if len(set(options)) != len(options):
            raise ConfigurationError(f"a Choice needs distinct options, got {options!r}")
        object.__setattr__(self, "options", options)

    def check(self, name: str, value: object) -> Value:
        """``value`` if it is an option. Raises ConfigurationError otherwise."""
        for option in self.options:
            if option == value and type(option) is type(value):
                return option
        raise ConfigurationError(f"{name} must be one of {', '.join(map(repr, self.options))}, got {value!r}")


Tunable = Real | Integer | Choice


class Space(Mapping[str, Tunable]):
    """The tunables of one function, by name; immutable.

    >>> Space(retries=Integer(0, 5)).check({"retries": 2})
    {'retries': 2}
    """

    __slots__ = ("_tunables",)

    def __init__(self, **tunables: Tunable) -> None:
        for name, tunable in tunables.items():
            if not isinstance(tunable, Real | Integer | Choice):
                raise ConfigurationError(f"{name} must be a Real, an Integer or a Choice, got {tunable!r}")
        self._tunables = dict(tunables)

    def __getitem__(self, name: str) -> Tunable:
        return self._tunables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tunables)

    def __len__(self) -> int:
        return len(self._tunables)

    def __hash__(self) -> int:
        return hash(frozenset(self._tunables.items()))

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{k}={v!r}' for k, v in self._tunables.items())})"

    @staticmethod
    def shared(**tunables: Tunable) -> Space:
        """A space of these, the same object for the same ones: thousands of functions are declared alike."""
        return _space(tuple(tunables.items()))

    def check(self, values: Mapping[str, object]) -> dict[str, Value]:
        """``values`` of known names within their bounds. Raises ConfigurationError otherwise."""
        checked: dict[str, Value] = {}
        for name, value in values.items():
            if name not in self._tunables:
                raise ConfigurationError(f"no tunable {name!r}: {nearest(name, self._tunables)}")
            checked[name] = self._tunables[name].check(name, value)
        return checked

    def clip(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """``values`` brought to the nearest that the bounds allow; a foreign option is left out, unknown names kept."""
        clipped: dict[str, Value] = {}
        for name, value in values.items():
            tunable = self._tunables.get(name)
            if isinstance(tunable, Real | Integer) and isinstance(value, int | float):
                clipped[name] = tunable.clip(value)
            elif not isinstance(tunable, Choice) or value in tunable.options:
                clipped[name] = value
        return clipped


@lru_cache
def _space(tunables: tuple[tuple[str, Tunable], ...]) -> Space:
    return Space(**dict(tunables))


def shared(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """A copy that nobody can change, the same object for the same values: thousands of functions begin with the same.

    >>> shared({"retries": 3}) is shared({"retries": 3}), shared({"retries": 3}) is shared({"retries": True})
    (True, False)
    """
    return _shared(tuple((name, type(value), value) for name, value in values.items()))


@lru_cache
def _shared(typed: tuple[tuple[str, type, Value], ...]) -> Mapping[str, Value]:
    return MappingProxyType({name: value for name, _, value in typed})
