"""The features of many executions as columns: one for each name and kind of value; their values and goals likewise.

Kept exactly: names, values with their kind (``1``, ``1.0`` and ``True`` differ, ``-0.0`` and ``0.0`` too), the order in
which an execution names them, and which it lacks.

Few executions of a function differ in *which* features they have, so the distinct sequences of columns are written
once, as shapes, and each execution names its shape. Of most features only few values are seen, so a column is a
dictionary of its distinct values, in order of appearance, and a place in it for each execution that has the feature.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from math import copysign, isfinite
from typing import Any

from poet.model.execution import LONGEST_TEXT as LONGEST
from poet.model.execution import MOST_FEATURES as FEATURES
from poet.model.execution import WIDEST_WHOLE as WIDEST
from poet.model.execution import Context, Execution
from poet.model.tunable import Value
from poet.stores.columns import Reader, count, numbers, texts, unzigzag, zigzag

_DOUBLE, _BITS = struct.Struct("<d"), struct.Struct("<Q")
_BOOL, _WHOLE, _REAL, _TEXT, _WIDE = range(5)  # the numbers are stored: never renumber
FEATURE, VALUE, GOAL = "feature", "value", "goal"  # what is kept so; errors say which
Goals = tuple[tuple[str, float], ...]


def check(context: Context, what: str = FEATURE) -> None:
    """Raises ValueError, with the name of the feature, where a store cannot keep ``context``.

    At most 32 features, each once; names and texts of up to 200 characters; whole numbers of up to 512 bits; finite
    floats. A value of a subclass (an enum's member, say) is kept as the bool, int, float or str that it is. The error
    tells no value: it may end in a log, and values may be private.
    """
    _kinds(context, what)


def check_goals(goals: Goals) -> Goals:
    """The goals, all floats. Raises ValueError as ``check`` does, and where one is no number."""
    if not goals:
        return ()
    numbers_: Goals = tuple([(name, _number(name, value)) for name, value in goals])
    check(numbers_, GOAL)
    return numbers_


def check_execution(execution: Execution) -> None:
    """Raises ValueError where a store cannot keep the features, values, goals or propensity of ``execution``."""
    check(execution.context)
    check(execution.values, VALUE)
    check_goals(execution.goals)
    check_propensity(execution.propensity)


def check_propensity(propensity: float) -> None:
    """Raises ValueError where it is no probability of what has happened."""
    if not 0.0 < propensity <= 1.0:  # so written, a NaN fails too
        raise ValueError(f"a propensity must be in (0, 1], got {propensity!r}")


def goals(given: Sequence[Any]) -> list[Goals]:
    """The goals of many executions, all floats. Raises ValueError where one is no number."""
    if {type(value) for one in given for _, value in one} <= {float}:
        return list(given)
    return [check_goals(one) for one in given]


def pack(contexts: Sequence[Context], what: str = FEATURE) -> bytes:
    """The columns of ``contexts``; some five bytes where none has a feature. Raises ValueError as ``check`` does.

    Names of the columns [texts]; where there are any: their kinds [a byte each], the number of shapes, the length of
    each, their columns one after another; for each execution its shape's number, from 1, or 0 for no feature; and for
    each column its values (whole numbers in zigzag, floats as their 64 bits, longer whole numbers in decimal), behind
    their number, and for each execution that has the feature the value's place among them.
    """
    if not any(contexts):
        return texts([])
    distinct, rows = _distinct(contexts)
    columns: dict[tuple[str, int], _Column] = {}
    shapes: dict[tuple[int, ...], int] = {(): 0}
    shape_of = []
    for number, context in enumerate(distinct):
        shape = []
        for (name, value), kind in zip(context, _kinds(context, what), strict=True):
            column = columns.get((name, kind))
            if column is None:
                column = columns[name, kind] = _Column(len(columns))
            column.place(number, _CODES[kind](value))
            shape.append(column.number)
        shape_of.append(shapes.setdefault(tuple(shape), len(shapes)))
    parts = [texts([name for name, _ in columns])]
    if columns:
        written = [shape for shape in shapes if shape]
        parts += (
            bytes(kind for _, kind in columns),
            count(len(written)),
            numbers(map(len, written)),
            numbers(column for shape in written for column in shape),
            numbers([shape_of[row] for row in rows]),
        )
        for (_, kind), column in columns.items():
            values: list[Any] = list(column.values)
            parts.append(texts(values) if kind in _SPELT else count(len(values)) + numbers(values))
            places = column.places
            parts.append(numbers([places[row] for row in rows if row in places]))
    return b"".join(parts)


def unpack(reader: Reader, rows: int, what: str = FEATURE) -> list[Context]:
    """The contexts of ``rows`` executions. Raises ValueError where they are damaged, or none that ``check`` lets in."""
    names = reader.texts(rows * FEATURES)
    if not names:
        return [()] * rows
    for name in names:
        _check_name(name, what)
    kinds = reader.take(len(names))
    if max(kinds) > _WIDE:
        raise ValueError(f"no kind of {what} has the number {max(kinds)}")
    shapes = _shapes(reader, rows, names, what)
    chosen = reader.numbers(rows)
    if max(chosen) >= len(shapes):
        raise ValueError(f"a shape that is not there: {max(chosen)} of {len(shapes)}")
    holders = [0] * len(names)
    for shape, times in Counter(chosen).items():
        for column in shapes[shape]:
            holders[column] += times
    cells = []
    for name, kind, held in zip(names, kinds, holders, strict=True):
        values = _values(reader, held, name, kind, what)
        places = reader.numbers(held)
        if max(places, default=-1) >= len(values):
            raise ValueError(f"a value of {_named(name, what)} that is not there: {max(places)} of {len(values)}")
        pairs = [(name, value) for value in values]  # made once: executions of equal features share them
        cells.append(map(pairs.__getitem__, places))
    return [tuple([next(cells[column]) for column in shapes[shape]]) for shape in chosen]


def _distinct(contexts: Sequence[Context]) -> tuple[list[Context], list[int]]:
    """The different ones in order of appearance, and of each its place among them."""
    kinds = {(name, type(value)) for context in contexts for name, value in context}
    numbers_ = [name for name, kind in kinds if kind is not str]
    keys: Sequence[object] = contexts
    if len(set(numbers_)) < len(numbers_):  # 1 and True are equal
        keys = [(context, *[type(value) for _, value in context]) for context in contexts]
    if any(not value and _is_negative_zero(value) for context in contexts for _, value in context):  # 0.0 and -0.0 are
        keys = [(key, repr(context)) for key, context in zip(keys, contexts, strict=True)]
    places: dict[object, int] = {}
    rows = [places.setdefault(key, len(places)) for key in keys]
    if keys is contexts:
        return list(dict.fromkeys(contexts)), rows
    first: dict[int, Context] = {}
    for row, context in zip(rows, contexts, strict=True):
        first.setdefault(row, context)
    return list(first.values()), rows


def _is_negative_zero(value: Value) -> bool:
    return isinstance(value, float) and not value and copysign(1, value) < 0


class _Column:
    """One feature's values of one kind, while they are gathered."""

    __slots__ = ("number", "places", "values")

    def __init__(self, number: int) -> None:
        self.number = number
        self.values: dict[int | str, int] = {}  # code of a value -> its place
        self.places: dict[int, int] = {}  # number of a distinct context -> place of its value

    def place(self, context: int, code: int | str) -> None:
        self.places[context] = self.values.setdefault(code, len(self.values))


def _shapes(reader: Reader, rows: int, names: Sequence[str], what: str) -> list[tuple[int, ...]]:
    lengths = reader.numbers(reader.count(rows))
    if max(lengths, default=0) > FEATURES:
        raise ValueError(f"at most {FEATURES} {what}s are kept, a shape has {max(lengths)}")
    columns = reader.numbers(sum(lengths))
    if max(columns, default=-1) >= len(names):
        raise ValueError(f"a {what} that is not there: {max(columns)} of {len(names)}")
    shapes: list[tuple[int, ...]] = [()]
    at = 0
    for length in lengths:
        shape = tuple(columns[at : at + length])
        at += length
        if len({names[column] for column in shape}) < length:
            raise ValueError(f"a shape that names a {what} twice")
        shapes.append(shape)
    return shapes


def _values(reader: Reader, most: int, name: str, kind: int, what: str) -> list[Value]:
    codes: Sequence[int | str] = reader.texts(most) if kind in _SPELT else reader.numbers(reader.count(most))
    values = [_VALUES[kind](code) for code in codes]
    for value in values:
        _kind(name, value, what)
    return values


def _named(name: str, what: str) -> str:
    return f"{what} {name[:LONGEST]!r}"


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str):
        raise ValueError(f"a {what}'s name must be a str, got {type(name).__name__}")  # noqa: TRY004 - as for all else
    if len(name) > LONGEST:
        raise ValueError(f"{_named(name, what)}: names of up to {LONGEST} characters are kept, got one of {len(name)}")


def _kinds(context: Context, what: str) -> list[int]:
    """The kind of each value. Raises ValueError as ``check`` does."""
    kinds: list[int] = []
    names: set[str] = set()
    for name, value in context:
        _check_name(name, what)
        if name in names:
            raise ValueError(f"{_named(name, what)} is there twice")
        if len(names) == FEATURES:
            raise ValueError(f"{_named(name, what)} is one too many: {FEATURES} are kept, got {len(context)}")
        names.add(name)
        kinds.append(_kind(name, value, what))
    return kinds


def _kind(name: str, value: object, what: str) -> int:
    """The kind of ``value``. Raises ValueError where it is of none that is kept."""
    if isinstance(value, bool):
        return _BOOL
    if isinstance(value, int):
        bits = value.bit_length()
        if bits > WIDEST:
            raise ValueError(f"{_named(name, what)}: whole numbers of up to {WIDEST} bits are kept, got one of {bits}")
        return _WHOLE if -(1 << 63) <= value < 1 << 63 else _WIDE
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"{_named(name, what)} must be finite")
        return _REAL
    if isinstance(value, str):
        if len(value) > LONGEST:
            raise ValueError(
                f"{_named(name, what)}: texts of up to {LONGEST} characters are kept, got one of {len(value)}"
            )
        return _TEXT
    raise ValueError(f"{_named(name, what)} must be a bool, int, float or str, got {type(value).__name__}")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_named(name, GOAL)} must be a number, got {type(value).__name__}")  # noqa: TRY004
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{_named(name, GOAL)} must be finite") from None


def _bits(value: float) -> int:
    """A float as the number that its 64 bits make, so that no two of them are taken for one."""
    (bits,) = _BITS.unpack(_DOUBLE.pack(value))
    return int(bits)


def _float(bits: int) -> float:
    (value,) = _DOUBLE.unpack(_BITS.pack(bits))
    return float(value)


def _bool(code: int) -> bool:
    if code > 1:
        raise ValueError(f"no truth has the number {code}")
    return code == 1


_SPELT = (_TEXT, _WIDE)  # kinds whose values are written as texts
# By kind: a value as a number or text, and back. By the bases' own methods, as an enum's member prints its name.
_CODES: tuple[Callable[[Any], int | str], ...] = (int, zigzag, _bits, str.__str__, int.__repr__)
_VALUES: tuple[Callable[[Any], Value], ...] = (_bool, unzigzag, _float, str, int)
