"""Objects in one piece of bytes, for the same process: a pickle without names and without what is shared."""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any

from poet.model.objective import Objective
from poet.model.tunable import Space

# Told apart by identity, and kept once for all: what never changes, and of which thousands of learners share a few.
_SHARED = frozenset({type, FunctionType, BuiltinFunctionType, Space, Objective})


def pack(thing: object, number: Callable[[object], int]) -> bytes:
    """``thing`` in one piece. number: of a shared object, the same for the same one.

    Raises what pickling raises where a part of it cannot be packed.
    """
    file = io.BytesIO()
    _Packer(file, number).dump(thing)
    return file.getvalue()


def unpack(packed: bytes, shared: Sequence[object]) -> Any:
    """It again. shared: the objects by their numbers."""
    return _Unpacker(io.BytesIO(packed), shared).load()


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
    def __init__(self, file: io.BytesIO, shared: Sequence[object]) -> None:
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
