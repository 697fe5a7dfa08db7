"""Cells: which calls a value for some contexts only is for, as text in its name, ``timeout@region=eu,size>=1000``.

A cell is one condition or several, joined by ``,``, all of which must hold: ``feature=value``, ``feature<number`` or
``feature>=number``. Of texts the marks ``% , = @ < >`` are written as in addresses (``%2C``); numbers are written so
that they come back exactly. A feature that is missing, or of another kind, meets no condition.

Where several cells hold for a call, those of fewer conditions come first, among these those that are first by name, and
of one number the wider ones. Values of later cells stand above those of earlier ones, and the last is the call's own.
Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from poet.errors import ConfigurationError
from poet.model.execution import Context

V = TypeVar("V")
MARK = "@"
_ESCAPED = {"%": "%25", ",": "%2C", "=": "%3D", "@": "%40", "<": "%3C", ">": "%3E"}


class Condition(NamedTuple):
    """What one feature must be."""

    feature: str
    how: str  # "=", "<" or ">="
    value: str | float  # the text of a value after "=", as it stands in names; a finite number after the others

    def __str__(self) -> str:
        """As it stands in a name."""
        return f"{escaped(self.feature)}{self.how}{self.value if isinstance(self.value, str) else written(self.value)}"

    def holds(self, value: object) -> bool:
        """Whether a feature of this value meets it."""
        if isinstance(self.value, str):
            return text_of(value) == self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value < self.value if self.how == "<" else value >= self.value


def escaped(text: str) -> str:
    """``text`` without marks that mean something in a name."""
    for mark, code in _ESCAPED.items():
        text = text.replace(mark, code)
    return text


def text_of(value: object) -> str:
    """What stands for a feature's value in a name.

    >>> text_of("eu"), text_of(True), text_of(0.5), text_of("a=b")
    ('eu', 'True', '0.5', 'a%3Db')
    """
    return escaped(value) if isinstance(value, str) else repr(value)


def written(number: float) -> str:
    """A finite number, as short as comes back exactly.

    >>> written(1000.0), written(0.25), written(1e22)
    ('1000', '0.25', '1e+22')
    """
    return f"{number:.0f}" if number == round(number) and abs(number) < 1e15 else repr(float(number))


def condition_of(text: str) -> Condition:
    """The inverse of ``str(condition)``. Raises ConfigurationError where ``text`` is none.

    >>> condition_of("size>=1000")
    Condition(feature='size', how='>=', value=1000.0)
    """
    places = [(text.find(how), -len(how), how) for how in ("=", "<", ">=") if how in text]
    if places:
        place, _, how = min(places)
        feature, value = text[:place], text[place + len(how) :]
        if feature and how == "=":
            return Condition(_plain(feature), how, value)
        number = _number(value)
        if feature and number is not None:
            return Condition(_plain(feature), how, number)
    raise ConfigurationError(f"no condition on a feature: {text!r}; write it as 'region=eu', 'size<1000', 'size>=1000'")


def _plain(text: str) -> str:
    for mark, code in reversed(_ESCAPED.items()):
        text = text.replace(code, mark)
    return text


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def conditions(cell: str) -> tuple[Condition, ...]:
    """The conditions of a cell. Raises ConfigurationError where ``cell`` is none."""
    return tuple(condition_of(part) for part in cell.split(","))


def named(base: str, cell: str) -> str:
    """The name of ``base`` for the calls of a cell.

    >>> named("timeout", "region=eu")
    'timeout@region=eu'
    """
    return f"{base}{MARK}{cell}"


def parts(name: str) -> tuple[str, str]:
    """The base and the cell of a name; the cell is empty where it has none.

    >>> parts("timeout@region=eu"), parts("timeout")
    (('timeout', 'region=eu'), ('timeout', ''))
    """
    base, _, cell = name.partition(MARK)
    return base, cell


def cell_of(context: Context, cuts: Mapping[str, Sequence[float]]) -> str:
    """The finest cell of ``context``: texts as they are, numbers between the ``cuts`` of their feature, rising.

    A number without cuts counts as a text would. Empty where there are no features.

    >>> cell_of((("region", "eu"), ("size", 400)), {"size": (100.0, 1000.0)})
    'region=eu,size>=100,size<1000'
    """
    return ",".join(str(condition) for name, value in context for condition in _finest(name, value, cuts.get(name, ())))


def _finest(name: str, value: object, cuts: Sequence[float]) -> Iterator[Condition]:
    if isinstance(value, bool) or not isinstance(value, int | float) or not cuts:
        yield Condition(name, "=", text_of(value))
        return
    below, above = [cut for cut in cuts if cut <= value], [cut for cut in cuts if cut > value]
    if below:
        yield Condition(name, ">=", below[-1])
    if above:
        yield Condition(name, "<", above[0])


class Matcher:
    """Which of some cells a call is in. Immutable; safe to use from several threads."""

    __slots__ = ("_rules", "_single", "cells")

    def __init__(self, cells: Iterable[str]) -> None:
        """cells: in any order; those that are none are passed over, as what a store holds must not break a call."""
        found: dict[str, tuple[Condition, ...]] = {}
        for cell in cells:
            try:
                found[cell] = conditions(cell)
            except ConfigurationError:
                continue
        self.cells: tuple[str, ...] = tuple(sorted(found, key=lambda cell: _order(found[cell])))
        rules = tuple((cell, found[cell]) for cell in self.cells)
        plain = all(len(each) == 1 and each[0].how == "=" for _, each in rules)
        # the usual case: values of one feature or several, none of them joined; then a look or two into a table will do
        self._single: dict[tuple[str, object], int] | None = (
            {(each[0].feature, _plain(str(each[0].value))): place for place, (_, each) in enumerate(rules)}
            if plain
            else None
        )
        self._rules = rules

    def __bool__(self) -> bool:
        return bool(self.cells)

    def __call__(self, context: Context) -> str | None:
        """The cell of a call with these features, the last that holds; None: none does."""
        single = self._single
        if single is not None:
            best = -1
            for name, value in context:
                place = single.get((name, value if isinstance(value, str) else repr(value)), -1)
                if place > best:
                    best = place
            return self.cells[best] if best >= 0 else None
        features = dict(context)
        for cell, rule in reversed(self._rules):
            if _all_hold(rule, features):
                return cell
        return None

    def all(self, context: Context) -> tuple[str, ...]:
        """All cells that hold for a call with these features, the more general ones first."""
        features = dict(context)
        return tuple(cell for cell, rule in self._rules if _all_hold(rule, features))


def _order(rule: Sequence[Condition]) -> tuple[int, list[tuple[str, str, float, str]]]:
    """Rules of fewer conditions first, and of numbers the wider ones."""
    return len(rule), [
        (each.feature, each.how, 0.0, each.value)
        if isinstance(each.value, str)
        else (each.feature, each.how, -each.value if each.how == "<" else each.value, "")
        for each in rule
    ]


def _all_hold(rule: Iterable[Condition], features: Mapping[str, object]) -> bool:
    for condition in rule:
        there = features.get(condition.feature)
        if there is None or not condition.holds(there):
            return False
    return True


def by_cell(values: Mapping[str, V]) -> dict[str, dict[str, V]]:
    """The values for some contexts only, by cell and then by the plain names; the more general cells first.

    What is after an ``@`` and is no cell is passed over.

    >>> by_cell({"timeout": 1.0, "timeout@size>=1000": 3.0, "retries@size>=1000": 2})
    {'size>=1000': {'timeout': 3.0, 'retries': 2}}
    """
    told: dict[str, dict[str, V]] = {cell: {} for cell in cells(values).cells}
    for name, value in values.items():
        base, cell = parts(name)
        if cell in told:
            told[cell][base] = value
    return told


def cells(names: Iterable[str]) -> Matcher:
    """The matcher of the cells that occur in parameter names.

    >>> find = cells(["timeout", "timeout@region=eu", "retries@region=eu", "timeout@region=eu,size>=1000"])
    >>> find((("region", "eu"), ("size", 5000))), find((("region", "eu"),)), find((("region", "us"),))
    ('region=eu,size>=1000', 'region=eu', None)
    """
    return Matcher({cell for _, cell in map(parts, names) if cell})
