"""The bounds and options that a function declared, as the store tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from poet.model.fixed import base_of
from poet.model.tunable import Choice, Real, Value


def check_bounds(
    values: Mapping[str, Value],
    space: Mapping[str, Sequence[float]],
    choices: Mapping[str, Sequence[Value]] = MappingProxyType({}),
) -> None:
    """Raises ConfigurationError, with the nearest right value, where a value is outside its declared bounds."""
    for name, value in values.items():
        base = base_of(name)
        if base in choices:
            Choice(*choices[base]).check(name, value)
        elif base in space and isinstance(value, int | float):
            low, high = space[base]
            Real(low, high).check(name, value)
