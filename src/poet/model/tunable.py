"""What may be tuned, and within which hard bounds.

All kinds may be told more, by keyword. ``step``: the distance of neighbouring values, counted from ``low``; on a log
scale too. ``when``: the tunable matters only while other tunables of the function have certain values: ``when={"model":
"large"}``, or one of several, ``when={"model": ("large", "huge")}``; otherwise its value is handed over, but not judged
by what comes of it. ``change_cost``: what one change of the live value costs, in units of utility, >= 0 (a cache that
grows cold, say): learning changes it only where the gain over its horizon pays for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from poet.errors import ConfigurationError, nearest
from poet.model.fixed import base_of, spelt

Value = bool | int | float | str


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{name} must be a finite number, got {value!r}")
    return float(value)


Condition = tuple[tuple[str, tuple[Value, ...]], ...]
"""What must hold of other tunables: by name, the values of which each has one."""


def _condition(when: object) -> Condition:
    """``when`` as it is kept. Raises ConfigurationError."""
    if isinstance(when, tuple):  # as it is kept already
        return when
    if not isinstance(when, Mapping):
        raise ConfigurationError(f"when must be a mapping from a tunable's name to its values, got {when!r}")
    wanted: list[tuple[str, tuple[Value, ...]]] = []
    for name, values in when.items():
        several = isinstance(values, Sequence) and not isinstance(values, str | bytes)
        options = tuple(values) if several else (values,)
        if (
            not isinstance(name, str)
            or not options
            or not all(isinstance(v, bool | int | float | str) for v in options)
        ):
            raise ConfigurationError(f"when must name a tunable and its values, got {name!r}: {values!r}")
        wanted.append((name, options))
    return tuple(wanted)


def _cost(value: object) -> float:
    cost = _finite("change_cost", value)
    if cost < 0:
        raise ConfigurationError(f"change_cost must be >= 0, got {cost:g}")
    return cost


@dataclass(frozen=True, slots=True)
class Real:
    """A real number in ``[low, high]``; ``log`` says that ratios matter, not differences (then low > 0).

    step: distance of neighbouring values, > 0; None: any value.

    >>> Real(0.1, 10.0, log=True).clip(30)
    10.0
    >>> Real(0.0, 1.0, step=0.05).clip(0.324)
    0.3
    """

    low: float
    high: float
    log: bool = False
    step: float | None = field(default=None, kw_only=True)
    when: Condition | Mapping[str, object] = field(default=(), kw_only=True)
    change_cost: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", _condition(self.when))
        _cost(self.change_cost)
        if self.step is not None and not _finite("step", self.step) > 0:
            raise ConfigurationError(f"step must be > 0, got {self.step!r}; leave it out where any value will do")
        low, high = _finite("low", self.low), _finite("high", self.high)
        if low > high:
            raise ConfigurationError(f"bounds upside down: low {low:g} is above high {high:g}; swap them")
        if self.log and not low > 0:
            raise ConfigurationError(f"a log scale needs low > 0, got {low:g}")

    @property
    def condition(self) -> Condition:
        """When it matters; empty: always."""
        return self.when  # type: ignore[return-value]  # as __post_init__ left it

    def check(self, name: str, value: object) -> float:
        """``value`` as a float. Raises ConfigurationError where it is no finite number within the bounds.

        One between two steps is taken as it is: whoever says a value means it.
        """
        number = _finite(name, value)
        if not self.low <= number <= self.high:
            raise ConfigurationError(
                f"{name} must be in [{self.low:g}, {self.high:g}], got {number:g}; the nearest is {self.clip(number):g}"
            )
        return number

    def clip(self, value: float) -> float:
        """The nearest value within the bounds, on a step where there are any."""
        low, high = float(self.low), float(self.high)
        value = min(max(float(value), low), high)
        if self.step is None:
            return value
        steps = min(round((value - low) / self.step), math.floor((high - low) / self.step + 1e-9))
        return min(float(f"{low + steps * self.step:.12g}"), high)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number in ``[low, high]``; ``log`` says that ratios matter, not differences (then low > 0).

    step: distance of neighbouring values, >= 1.

    >>> Integer(0, 5).clip(7)
    5
    >>> Integer(8, 64, step=8).clip(30)
    32
    """

    low: int
    high: int
    log: bool = False
    step: int = field(default=1, kw_only=True)
    when: Condition | Mapping[str, object] = field(default=(), kw_only=True)
    change_cost: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", _condition(self.when))
        _cost(self.change_cost)
        for name, bound in (("low", self.low), ("high", self.high), ("step", self.step)):
            if isinstance(bound, bool) or not isinstance(bound, int):
                raise ConfigurationError(f"{name} must be a whole number, got {bound!r}")
        if self.low > self.high:
            raise ConfigurationError(f"bounds upside down: low {self.low} is above high {self.high}; swap them")
        if self.log and not self.low > 0:
            raise ConfigurationError(f"a log scale needs low > 0, got {self.low}")
        if self.step < 1:
            raise ConfigurationError(f"step must be a whole number >= 1, got {self.step}")

    @property
    def condition(self) -> Condition:
        """When it matters; empty: always."""
        return self.when  # type: ignore[return-value]  # as __post_init__ left it

    def check(self, name: str, value: object) -> int:
        """``value`` as an int. Raises ConfigurationError where it is not a whole number within the bounds.

        One between two steps is taken as it is: whoever says a value means it.
        """
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigurationError(f"{name} must be a whole number in [{self.low}, {self.high}], got {value!r}")
        if not self.low <= value <= self.high:
            raise ConfigurationError(
                f"{name} must be in [{self.low}, {self.high}], got {value}; the nearest is {self.clip(value)}"
            )
        return value

    def clip(self, value: float) -> int:
        """The nearest whole number within the bounds, on a step."""
        value = min(max(value, self.low), self.high)
        if self.step == 1:
            return round(value)
        steps = min(round((value - self.low) / self.step), (self.high - self.low) // self.step)
        return self.low + steps * self.step


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """One of several named options, without an order.

    >>> Choice("small", "large").check("model", "large")
    'large'
    """

    options: tuple[Value, ...]
    when: Condition
    change_cost: float

    def __init__(self, *options: Value, when: Condition | Mapping[str, object] = (), change_cost: float = 0.0) -> None:
        if not options:
            raise ConfigurationError("a Choice needs at least one option")
        if len(set(options)) != len(options):
            raise ConfigurationError(f"a Choice needs distinct options, got {options!r}")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "when", _condition(when))
        object.__setattr__(self, "change_cost", _cost(change_cost))

    @property
    def condition(self) -> Condition:
        """When it matters; empty: always."""
        return self.when

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
        for name, tunable in tunables.items():
            _check_condition(name, tunable.condition, tunables)

    def active(self, values: Mapping[str, Value]) -> frozenset[str]:
        """The names of those that matter while ``values`` hold: whose conditions are met, all the way up.

        >>> space = Space(model=Choice("a", "b"), top_k=Integer(1, 9, when={"model": "b"}))
        >>> sorted(space.active({"model": "a", "top_k": 3})), sorted(space.active({"model": "b", "top_k": 3}))
        (['model'], ['model', 'top_k'])
        """
        matter = set(self._tunables)
        while True:
            idle = {
                name
                for name in matter
                if any(
                    other not in matter or values.get(other) not in options
                    for other, options in self._tunables[name].condition
                )
            }
            if not idle:
                return frozenset(matter)
            matter -= idle

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
        """``values`` of known names within their bounds. Raises ConfigurationError otherwise.

        One for some contexts only, ``timeout@region=eu``, has the bounds of its parent, ``timeout``, and is spelt as
        learning would.
        """
        checked: dict[str, Value] = {}
        for name, value in values.items():
            base = base_of(name)
            if base not in self._tunables:
                raise ConfigurationError(f"no tunable {base!r}: {nearest(base, self._tunables)}")
            checked[spelt(name)] = self._tunables[base].check(name, value)
        return checked

    def clip(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """``values`` brought to the nearest that the bounds allow; a foreign option is left out, unknown names kept."""
        clipped: dict[str, Value] = {}
        for name, value in values.items():
            tunable = self._tunables.get(base_of(name))
            if isinstance(tunable, Real | Integer) and isinstance(value, int | float):
                clipped[name] = tunable.clip(value)
            elif not isinstance(tunable, Choice) or value in tunable.options:
                clipped[name] = value
        return clipped


def _check_condition(name: str, condition: Condition, tunables: Mapping[str, Tunable]) -> None:
    """Raises ConfigurationError where ``when`` of ``name`` can never hold."""
    seen, ahead = {name}, [condition]
    for other, options in condition:
        if other not in tunables:
            raise ConfigurationError(f"when of {name}: no tunable {other!r}: {nearest(other, tunables)}")
        for option in options:
            tunables[other].check(other, option)
    while ahead:
        for other, _ in ahead.pop():
            if other == name:
                raise ConfigurationError(f"when of {name} comes back to {name} itself: no circles, please")
            if other in tunables and other not in seen:
                seen.add(other)
                ahead.append(tunables[other].condition)


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
