"""What may be tried where values are few: every combination that differs in what matters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

from poet.model.tunable import Choice, Integer, Real, Space, Tunable, Value

MOST = 64  # combinations that are still few


def combinations(space: Space, start: Mapping[str, Value], most: int = MOST) -> list[dict[str, Value]] | None:
    """All combinations of values that differ where it matters, ``start``'s first; None: more than ``most``.

    Tunables that do not matter have their start's values.
    """
    many: dict[str, tuple[Value, ...]] = {}
    for name, tunable in space.items():
        values = levels(tunable, most)
        if values is None:
            return None
        own = start[name]
        many[name] = values if any(same_option(own, each) for each in values) else (own, *values)
    if math.prod(len(values) for values in many.values()) > 64 * most:
        return None
    found: dict[Key, dict[str, Value]] = {}
    first = plain(space, start, start)
    for values in (tuple(first[name] for name in many), *itertools.product(*many.values())):
        arm = plain(space, dict(zip(many, values, strict=True)), start)
        found.setdefault(key(arm.values()), arm)
        if len(found) > most:
            return None
    return list(found.values())


def plain(space: Space, values: Mapping[str, Value], start: Mapping[str, Value]) -> dict[str, Value]:
    """``values``, with the start's where a tunable does not matter."""
    active = space.active(values)
    return {name: values[name] if name in active else start[name] for name in space}


Key = tuple[tuple[bool, Value], ...]


def key(values: Iterable[Value]) -> Key:
    """Tells combinations apart: 1 and True are equal, and not the same option; 1 and 1.0 are the same number."""
    return tuple((isinstance(value, bool), value) for value in values)


def same_option(one: Value, other: Value) -> bool:
    """Whether two options are the same one: 1, 1.0 and True are three."""
    return one == other and type(one) is type(other)


def levels(tunable: Tunable, most: int) -> tuple[Value, ...] | None:
    """All values of a tunable; None where they are more than ``most``, or not to be counted."""
    if isinstance(tunable, Choice):
        return tunable.options if len(tunable.options) <= most else None
    if isinstance(tunable, Integer):
        count = (tunable.high - tunable.low) // tunable.step + 1
        return tuple(tunable.low + k * tunable.step for k in range(count)) if count <= most else None
    assert isinstance(tunable, Real)
    if tunable.low == tunable.high:
        return (float(tunable.low),)
    if tunable.step is None:
        return None
    count = math.floor((tunable.high - tunable.low) / tunable.step + 1e-9) + 1
    if count > most:
        return None
    return tuple(dict.fromkeys(tunable.clip(tunable.low + k * tunable.step) for k in range(count)))
