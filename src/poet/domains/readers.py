"""Readers of one value each: what they give is in range, or they raise.

A text becomes a number; a number that is in range stays the object it is, whatever its type, so that reading a value
twice changes nothing.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Hashable
from numbers import Complex, Number, Real
from typing import Any

Read = Callable[[Any], Any]
"""A value as the caller passed it → as the function gets it. Raises ValueError with a reason to be read after it."""


def is_number(value: object) -> bool:
    """Whether ``value`` is a real number; True and False are none, though Python counts them among the integers."""
    kind = type(value)
    if kind is float or kind is int:  # nearly always; the questions below take ten times as long
        return True
    if kind is bool:
        return False
    # a Decimal calls itself a Number and no more, lest it be mixed with floats
    return isinstance(value, Real) or (isinstance(value, Number) and not isinstance(value, Complex))


def is_flag(value: object) -> bool:
    """Whether ``value`` is True or False, Python's or numpy's."""
    return isinstance(value, bool) or (not is_number(value) and isinstance(value, Hashable) and value in (True, False))


def within(value: Any, low: float, high: float) -> bool:
    """Whether the number ``value`` is in [low, high]; a NaN is not, of whatever type."""
    try:
        return bool(low <= value <= high)
    except (ArithmeticError, TypeError):  # a decimal's NaN does not compare
        return False


def number(low: float, high: float, from_text: Callable[[str], float]) -> Read:
    """A reader of numbers in [low, high], or of text that ``from_text`` turns into one."""

    def read(value: Any) -> Any:
        found = from_text(value) if isinstance(value, str) else value
        if not is_number(found):
            raise ValueError("is no number")
        if not within(found, low, high):
            raise ValueError("is out of range")
        return found

    return read


def shown(value: object) -> str:
    """``value`` for a message: short, and never a failure of its own.

    >>> shown("abc"), shown(10**9999)
    ("'abc'", 'a value of type int')
    """
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001 - a repr that fails must not hide why the value was rejected
        return f"a value of type {type(value).__name__}"
