"""Values that come from elsewhere, brought to what a function has and allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard

from poet.errors import nearest
from poet.model.tunable import Integer, Real, Value

SHORTEST = 1e-9  # least value of a span that may not be 0, where no bounds are declared [s]
LARGEST = 1e300  # what is larger is no float any more when it is multiplied
SHOWN = 60  # characters of a foreign value in a sentence
SHOWN_OPTIONS = 10  # of a choice, in a sentence
_ABOVE_ZERO = ("timeout", "hedge_delay")  # spans [s]


class Fitted(NamedTuple):
    """What may be used of foreign values."""

    values: dict[str, Value]
    notes: tuple[str, ...]  # one sentence for each value that was changed or left out


def fit(
    foreign: Mapping[str, object],
    declared: Mapping[str, Value],
    space: Mapping[str, Sequence[float]] | None = None,
    choices: Mapping[str, Sequence[Value]] | None = None,
) -> Fitted:
    """Those of the ``foreign`` values that the function has, each of its kind and within its bounds.

    declared: all parameters that the function has; a value takes the kind of the declared one. space: lowest and
    highest by name; without bounds, what a parameter can be at all. choices: the options of those that have some.
    What is for one context only, ``timeout@region=eu``, must be what its parent, ``timeout``, may be.

    >>> fitted = fit({"timeout": 500, "retries": 2.0}, {"timeout": 30.0, "retries": 3}, {"timeout": (0.001, 120)})
    >>> fitted.values, fitted.notes
    ({'timeout': 120.0, 'retries': 2}, ('timeout 500 is outside of [0.001, 120]: 120 is taken',))
    """
    values: dict[str, Value] = {}
    notes: list[str] = []
    for name, value in foreign.items():
        parent = name.partition("@")[0]
        if parent not in declared:
            notes.append(
                f"{shown(name, plain=True)} is left out: no such parameter ({nearest(parent[:SHOWN], declared)})"
            )
            continue
        like = declared[parent]
        options = (choices or {}).get(parent)
        if options is not None:
            if any(type(value) is type(option) and value == option for option in options):
                values[name] = value  # type: ignore[assignment]  # as one of them is
            else:
                listed = ", ".join(map(shown, options[:SHOWN_OPTIONS])) + (", …" if options[SHOWN_OPTIONS:] else "")
                notes.append(f"{name} is left out: it must be one of {listed}, got {shown(value)}")
            continue
        if isinstance(like, bool | str):
            if isinstance(value, bool | str) and type(value) is type(like):
                values[name] = value
            else:
                notes.append(f"{name} is left out: it must be a {type(like).__name__}, got {shown(value)}")
            continue
        if not is_number(value):
            notes.append(f"{name} is left out: it must be a finite number, got {shown(value)}")
            continue
        bounds = _bounds(parent, like, space or {})
        near = bounds.clip(value)
        if near != value:
            range_ = f"outside of [{bounds.low:g}, {bounds.high:g}]"
            why = range_ if not bounds.low <= value <= bounds.high else "no whole number"
            notes.append(f"{name} {value:g} is {why}: {near:g} is taken")
        values[name] = near
    return Fitted(values, tuple(notes))


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a finite number, and not so large that arithmetic would fail."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def shown(value: object, *, plain: bool = False) -> str:
    """A foreign value as a sentence may hold it: never longer than ``SHOWN`` characters, and no more work than that.

    plain: a text without its quotes.
    """
    if isinstance(value, str):
        cut = value[:SHOWN] + ("…" if len(value) > SHOWN else "")
        return cut if plain else repr(cut)
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of many digits"
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    return repr(value)[:SHOWN]


def _bounds(name: str, like: float, space: Mapping[str, Sequence[float]]) -> Real | Integer:
    """The hard bounds of a number; of the kind of the declared one, ``like``."""
    low, high = space.get(name, (SHORTEST if name in _ABOVE_ZERO else 0.0, LARGEST))
    if isinstance(like, int) and name not in _ABOVE_ZERO:  # a timeout declared as 30 is a span all the same
        return Integer(math.ceil(low), math.floor(min(high, 2**53)))
    return Real(float(low), float(high))
