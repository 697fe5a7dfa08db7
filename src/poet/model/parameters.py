"""The values that calls use: immutable, versioned, with their reason."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NoReturn

from poet.model.document import Document
from poet.model.estimate import Estimate
from poet.model.tunable import Value

Origin = Literal["declared", "learned", "manual", "rollback", "transfer", "import"]


_NUMBERS = struct.Struct("=dddqd")  # of an estimate
_NONE: Mapping[str, Estimate] = MappingProxyType({})
_FACTS = struct.Struct("=?qqdddI")  # is there a parent, parent, evidence, span, created; bytes of the reason


class ParameterSet(Mapping[str, Value]):
    """One version of a function's parameters; a mapping from name to value that nobody can change.

    values_: the mapping again, of which this takes a copy.
    version: 0: not stored yet; the store counts from 1. parent: the version that it was made from.
    evidence: executions that it rests on. span: starts of the oldest and the newest of them, Unix time [s]; 0: not
    known. created: Unix time [s].

    Thousands of functions have one each, of which hardly anything is read but the values: the rest is in one piece.
    """

    __slots__ = ("_estimated", "_facts", "_names", "_values", "author", "origin", "version")

    origin: Origin
    author: str
    version: int
    _names: tuple[str, ...]
    _values: tuple[Value, ...]
    _estimated: tuple[str, ...]
    _facts: bytes

    def __init__(
        self,
        *,
        values_: Mapping[str, Value],
        version: int = 0,
        parent: int | None = None,
        origin: Origin = "declared",
        reason: str = "",
        author: str = "poet",
        estimates: Mapping[str, Estimate] = _NONE,
        evidence: int = 0,
        span: tuple[float, float] = (0.0, 0.0),
        created: float = 0.0,
    ) -> None:
        said = reason.encode("utf-8", "surrogatepass")
        facts = _FACTS.pack(parent is not None, parent or 0, evidence, *span, created, len(said))
        numbers = [_NUMBERS.pack(*estimate) for estimate in estimates.values()]
        for name, value in (
            ("_names", _same_names(tuple(values_))),
            ("_values", tuple([_same(value) if value else value for value in values_.values()])),
            ("_estimated", _same_names(tuple(estimates))),
            ("_facts", b"".join([facts, said, *numbers])),
            ("version", version),
            ("origin", origin),
            ("author", author),
        ):
            object.__setattr__(self, name, value)

    @property
    def values_(self) -> Mapping[str, Value]:
        """All values by their names."""
        return MappingProxyType(dict(zip(self._names, self._values, strict=True)))

    @property
    def parent(self) -> int | None:
        """The version that it was made from."""
        there, parent, *_ = _FACTS.unpack_from(self._facts)
        return parent if there else None

    @property
    def reason(self) -> str:
        """Why it was made."""
        length: int = _FACTS.unpack_from(self._facts)[-1]
        return self._facts[_FACTS.size : _FACTS.size + length].decode("utf-8", "surrogatepass")

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """What is believed of the values, where that is known."""
        place: int = _FACTS.size + _FACTS.unpack_from(self._facts)[-1]
        found = {}
        for name in self._estimated:
            value, low, high, n, level = _NUMBERS.unpack_from(self._facts, place)
            found[name] = Estimate(value, low, high, n, level)
            place += _NUMBERS.size
        return MappingProxyType(found)

    @property
    def evidence(self) -> int:
        """Executions that it rests on."""
        evidence: int = _FACTS.unpack_from(self._facts)[2]
        return evidence

    @property
    def span(self) -> tuple[float, float]:
        """Starts of the oldest and the newest of these, Unix time [s]; 0: not known."""
        oldest, newest = _FACTS.unpack_from(self._facts)[3:5]
        return oldest, newest

    @property
    def created(self) -> float:
        """When it was made, Unix time [s]."""
        created: float = _FACTS.unpack_from(self._facts)[5]
        return created

    def __getitem__(self, name: str) -> Value:
        try:
            return self._values[self._names.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def number(self, name: str, default: float = 0.0) -> float:
        """The value of a numeric parameter; ``default`` where it has none."""
        value = self[name] if name in self._names else default
        return float(value) if isinstance(value, int | float) else default

    def changed(self, **changes: Any) -> ParameterSet:
        """The same but for these arguments."""
        return ParameterSet(**(self._arguments() | changes))

    def __eq__(self, other: object) -> bool:
        return self._arguments() == other._arguments() if isinstance(other, ParameterSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as that of any mapping

    def __repr__(self) -> str:
        return f"ParameterSet({', '.join(f'{name}={value!r}' for name, value in self._arguments().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._arguments() | {"values_": dict(self), "estimates": dict(self.estimates)},)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a ParameterSet never changes: cannot assign to {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a ParameterSet never changes: cannot delete {name!r}")

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _ARGUMENTS}


_ARGUMENTS = (
    "values_",
    "version",
    "parent",
    "origin",
    "reason",
    "author",
    "estimates",
    "evidence",
    "span",
    "created",
)


def _made(arguments: Mapping[str, Any]) -> ParameterSet:
    return ParameterSet(**arguments)


@lru_cache
def _same_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same object for the same names, as thousands of functions have the same parameters."""
    return names


@lru_cache(maxsize=256, typed=True)
def _same(value: Value) -> Value:
    """The same object for values that come again and again, as declared ones do."""
    return value


class Standing(NamedTuple):
    """What holds for a function now."""

    live: ParameterSet
    generation: int  # grows with every change below, by whomever
    paused: str = ""  # why learning may publish nothing; empty: it may
    pinned: Mapping[str, Value] = MappingProxyType({})  # values that learning must not change
    canary: ParameterSet | None = None  # on trial beside the live one
    steering: tuple[Document, ...] = ()  # roll-outs and experiments of the function that are open, by kind and name


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
        "arm",  # a version was made for an experiment
    ]
    version: int  # that it is about: live afterwards, but for a canary's and a last good one's own changes
    author: str
    reason: str
