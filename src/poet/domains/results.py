"""Results that bear names: mappings by key, other objects by attribute."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

_MISSING = object()


class Field(NamedTuple):
    """One named value of a result."""

    name: str
    value: Any


def field(result: Any, *names: str) -> Field | None:
    """The first of ``names`` that ``result`` has, as a key of a mapping, as an attribute of anything else."""
    by_key = isinstance(result, Mapping)
    for name in names:
        if by_key:
            if name in result:
                return Field(name, result[name])
        else:
            value = getattr(result, name, _MISSING)
            if value is not _MISSING:
                return Field(name, value)
    return None


def changed(result: Any, **fields: Any) -> Any:
    """A shallow copy of ``result`` with these values; ``result`` itself stays as it is.

    A mapping that cannot be changed becomes a dict. Raises TypeError where no copy can be made.

    >>> command = {"fan_speed": 50.0}
    >>> changed(command, fan_speed=40.0), command
    ({'fan_speed': 40.0}, {'fan_speed': 50.0})
    """
    if isinstance(result, Mapping) and not isinstance(result, MutableMapping):
        return {**result, **fields}
    if isinstance(result, tuple) and hasattr(result, "_replace"):
        return result._replace(**fields)
    try:
        twin = copy.copy(result)
        if twin is not result:
            _set(twin, fields)
    except (AttributeError, TypeError, copy.Error) as error:
        raise TypeError(f"no changed copy can be made of a {type(result).__name__}: {error}") from error
    if twin is result:
        raise TypeError(f"no changed copy can be made of a {type(result).__name__}: its copy is itself")
    return twin


def _set(twin: Any, fields: Mapping[str, Any]) -> None:
    if isinstance(twin, MutableMapping):
        twin.update(fields)
        return
    for name, value in fields.items():
        object.__setattr__(twin, name, value)  # a frozen dataclass refuses the usual way, for its users' sake
