"""Is that what a learner wrote? Numbers of a dump or a contribution, checked before they are believed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from poet.model.execution import Context


def count(value: object, most: int = 2**53, least: int = 0) -> int:
    """A whole number in ``[least, most]``. Raises ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"expected a whole number in [{least}, {most}], got {value!r}")
    return value


def number(value: object) -> float:
    """A finite number >= 0. Raises ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"expected a finite number >= 0, got {value!r}")
    return float(value) or 0.0  # one 0.0 for all: many are 0, and each would take 24 bytes


def finite(value: object) -> float:
    """A finite number of either sign. Raises ValueError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def numbers(values: Iterable[object], length: range) -> list[float]:
    """So many finite numbers >= 0. Raises ValueError where they are none, TypeError where it is no sequence."""
    checked = [number(value) for value in values]
    if len(checked) not in length:
        raise ValueError(f"expected {length.start} to {length.stop - 1} numbers, got {len(checked)}")
    return checked


def features(pairs: Iterable[Any]) -> Context:
    """Features of a call. Raises TypeError or ValueError where they are none."""
    told = tuple((name, value) for name, value in pairs)
    for name, value in told:
        if not isinstance(name, str) or not isinstance(value, bool | int | float | str):
            raise TypeError(f"no feature: {name!r}: {value!r}")
    return told
