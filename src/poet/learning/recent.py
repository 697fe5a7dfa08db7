"""A memo for the few objects that were asked about last, so that many learners at rest share a little room."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """What follows from objects that never change, told apart by identity; forgets those that were unused for longest.

    Safe to use from several threads: at worst, something is forgotten too early.
    """

    __slots__ = ("_entries", "_last", "_places")

    def __init__(self, places: int) -> None:
        """places: objects that are remembered at most, >= 1."""
        self._places = places
        self._entries: OrderedDict[int, tuple[K, V]] = OrderedDict()  # each holds its key, so that no id is used again
        self._last: tuple[K, V] | None = None  # as mostly the same is asked again

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """What was put for ``key``, or None."""
        found = self._last
        if found is not None and found[0] is key:
            return found[1]
        found = self._entries.get(id(key))
        if found is None or found[0] is not key:
            return None
        self._last = found
        with contextlib.suppress(KeyError):  # another thread has just pushed it out
            self._entries.move_to_end(id(key))
        return found[1]

    def put(self, key: K, value: V) -> V:
        """Remember ``value``, and give it."""
        self._last = self._entries[id(key)] = key, value
        while len(self._entries) > self._places:
            with contextlib.suppress(KeyError):  # another thread has just made room
                self._entries.popitem(last=False)
        return value

    def drop(self, key: K) -> None:
        """``key`` is out of date: make room."""
        self._entries.pop(id(key), None)
        if self._last is not None and self._last[0] is key:
            self._last = None
