"""Learners at rest: one piece of bytes each, as of thousands of functions few are busy at a time.

A learner is some sixty objects, each of which takes 16 to 60 bytes beside what it says. At rest it is a third of that,
exact to the bit, and woken within some ten microseconds.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol

from poet.model.objective import Objective
from poet.model.tunable import Space
from poet.seams import Learner

AWAKE = 32  # learners that are; as many as have their tables at hand, see ``learning.evidence``

# Told apart by identity, and kept once for all: what never changes, and of which thousands of learners share a few.
_SHARED = frozenset({type, FunctionType, BuiltinFunctionType, Space, Objective})


class Sleeper(Protocol):
    """Who has a learner that may be put to rest."""

    def sleep(self) -> None:
        """Put it to rest now."""


class Rest:
    """Puts learners to rest, and wakes them. Used by one thread at a time."""

    def __init__(self, awake: int = AWAKE) -> None:
        """awake: learners that are not at rest, at most, >= 2; the one that was woken first goes to rest first."""
        self._most = awake
        self._awake: OrderedDict[int, Sleeper] = OrderedDict()
        self._numbers: dict[int, int] = {}  # of shared objects, by identity
        self._shared: list[Any] = []

    def woken(self, sleeper: Sleeper) -> None:
        """``sleeper`` has an awake learner."""
        self._awake[id(sleeper)] = sleeper
        self._awake.move_to_end(id(sleeper))
        while len(self._awake) > self._most:
            _, oldest = self._awake.popitem(last=False)
            oldest.sleep()

    def packed(self, learner: Learner) -> bytes | None:
        """``learner`` in one piece, for this object's ``unpacked``; None: it is of a kind that must stay awake."""
        file = io.BytesIO()
        try:
            _Packer(file, self._number).dump(learner)
        except Exception:  # noqa: BLE001 - whatever keeps it from being packed, it can be used as it is
            return None
        return file.getvalue()

    def unpacked(self, packed: bytes) -> Learner:
        """The learner again."""
        learner: Learner = _Unpacker(io.BytesIO(packed), self._shared).load()
        return learner

    def _number(self, shared: object) -> int:
        number = self._numbers.get(id(shared))
        if number is None:
            number = self._numbers[id(shared)] = len(self._shared)
            self._shared.append(shared)  # kept, so that its identity is not used again
        return number


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, number: Callable[[object], int]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._number = number

    def persistent_id(self, thing: Any) -> int | None:
        return self._number(thing) if type(thing) in _SHARED else None

    def reducer_override(self, thing: Any) -> Any:
        """A plain object with slots as its type and the values, without the names."""
        kind: Any = type(thing)
        own_way = kind.__reduce_ex__ is not _AS_ALL[0] or kind.__reduce__ is not _AS_ALL[1]
        if own_way or isinstance(thing, tuple) or hasattr(thing, "__dict__") or not hasattr(kind, "__slots__"):
            return NotImplemented
        return _revived, (kind, [getattr(thing, name, _unset) for name in _slots(kind)])


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, shared: list[Any]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, number: int) -> Any:
        return self._shared[number]


_AS_ALL: Any = object.__reduce_ex__, object.__reduce__


def _slots(kind: type) -> list[str]:
    """Names of what its objects hold, of all its bases, too."""
    names: list[str] = copyreg._slotnames(kind)  # type: ignore[attr-defined]
    return names


def _revived(kind: type, values: list[Any]) -> Any:
    thing: Any = object.__new__(kind)
    for name, value in zip(_slots(kind), values, strict=True):
        if value is not _unset:
            object.__setattr__(thing, name, value)
    return thing


def _unset() -> None:
    """Stands for the value of a slot that has none."""
