"""The values that calls use: immutable, versioned, with their reason."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

from poet.model.estimate import Estimate
from poet.model.tunable import Value

Origin = Literal["declared", "learned", "manual", "rollback", "transfer", "import"]


class Estimates(Mapping[str, Estimate]):
    """Estimates by name, in a third of the room that a dictionary of them takes; nobody can change them."""

    __slots__ = ("_names", "_numbers")

    def __init__(self, estimates: Mapping[str, Estimate]) -> None:
        self._names = tuple(estimates)
        self._numbers = b"".join(_NUMBERS.pack(*estimate) for estimate in estimates.values())

    def __getitem__(self, name: str) -> Estimate:
        try:
            place = self._names.index(name)
        except ValueError:
            raise KeyError(name) from None
        value, low, high, n, level = _NUMBERS.unpack_from(self._numbers, place * _NUMBERS.size)
        return Estimate(value, low, high, n, level)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


_NUMBERS = struct.Struct("=dddqd")  # of an estimate
_NONE = Estimates({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSet(Mapping[str, Value]):
    """One version of a function's parameters; a mapping from name to value that nobody can change."""

    values_: Mapping[str, Value]
    version: int = 0  # 0: not stored yet; the store counts from 1
    parent: int | None = None
    origin: Origin = "declared"
    reason: str = ""
    author: str = "poet"
    estimates: Mapping[str, Estimate] = field(default_factory=lambda: _NONE)
    evidence: int = 0  # executions that it rests on
    span: tuple[float, float] = (0.0, 0.0)  # starts of the oldest and the newest of them, Unix time [s]; 0: not known
    created: float = 0.0  # Unix time [s]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values_", MappingProxyType(dict(self.values_)))
        if not isinstance(self.estimates, Estimates):
            object.__setattr__(self, "estimates", Estimates(self.estimates) if self.estimates else _NONE)

    def __getitem__(self, name: str) -> Value:
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def number(self, name: str, default: float = 0.0) -> float:
        """The value of a numeric parameter; ``default`` where it has none."""
        value = self.values_.get(name, default)
        return float(value) if isinstance(value, int | float) else default


class Standing(NamedTuple):
    """What holds for a function now."""

    live: ParameterSet
    generation: int  # grows with every change below, by whomever
    paused: str = ""  # why learning may publish nothing; empty: it may
    pinned: Mapping[str, Value] = MappingProxyType({})  # values that learning must not change


AliasName = Literal["live", "canary", "last_good", "pinned"]
"""Names that move from version to version.

``live``: calls use it. ``canary``: on trial beside it. ``last_good``: was live until another came that seemed better,
or somebody vouched for it. ``pinned``: made to hold what a person fixed; there as long as a pin is.
"""


class Alias(NamedTuple):
    """Where a name stands."""

    version: int
    generation: int  # of the function, when the name moved here


class Change(NamedTuple):
    """One entry of a function's history: who did what, when and why."""

    at: float  # Unix time [s]
    action: Literal[
        "publish",  # a new version went live
        "rollback",  # an older version went live again, and learning was paused
        "pin",
        "unpin",
        "pause",
        "resume",
        "propose",  # a new version became the canary
        "promote",  # a version that was there before went live
        "withdraw",  # the canary was taken back
        "vouch",  # a version became the last good one
        "import",  # a version came from elsewhere and went live
    ]
    version: int  # that it is about: live afterwards, but for a canary's and a last good one's own changes
    author: str
    reason: str
