"""POET: Python functions that tune their own timeouts and retries.

>>> from poet import poet, remaining
>>> @poet(enable_training=True, timeout=2.0)
... def answer(question: str) -> str:
...     return f"{question} within {remaining():.0f} s"
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poet.calls.deadline import deadline, remaining
    from poet.decorator import Handle, configure, flush, poet
    from poet.errors import (
        ConfigurationError,
        PoetError,
        PoetTimeout,
        ResultRejected,
        StaleParameters,
        StoreCorrupt,
        StoreError,
        StoreTooNew,
        StoreUnavailable,
        UnknownArgument,
        UnknownFunction,
        UnknownVersion,
    )
    from poet.model.estimate import Estimate
    from poet.model.execution import Attempt, Execution, Outcome
    from poet.model.objective import Objective
    from poet.model.tunable import Choice, Integer, Real, Space

# Loaded when first asked for, so that `import poet` costs next to nothing and never loads numpy.
_HOMES = {
    "poet.calls.deadline": ("deadline", "remaining"),
    "poet.decorator": ("Handle", "configure", "flush", "poet"),
    "poet.errors": (
        "ConfigurationError",
        "PoetError",
        "PoetTimeout",
        "ResultRejected",
        "StaleParameters",
        "StoreCorrupt",
        "StoreError",
        "StoreTooNew",
        "StoreUnavailable",
        "UnknownArgument",
        "UnknownFunction",
        "UnknownVersion",
    ),
    "poet.model.estimate": ("Estimate",),
    "poet.model.execution": ("Attempt", "Execution", "Outcome"),
    "poet.model.objective": ("Objective",),
    "poet.model.tunable": ("Choice", "Integer", "Real", "Space"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Attempt",
    "Choice",
    "ConfigurationError",
    "Estimate",
    "Execution",
    "Handle",
    "Integer",
    "Objective",
    "Outcome",
    "PoetError",
    "PoetTimeout",
    "Real",
    "ResultRejected",
    "Space",
    "StaleParameters",
    "StoreCorrupt",
    "StoreError",
    "StoreTooNew",
    "StoreUnavailable",
    "UnknownArgument",
    "UnknownFunction",
    "UnknownVersion",
    "configure",
    "deadline",
    "flush",
    "poet",
    "remaining",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'poet' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
