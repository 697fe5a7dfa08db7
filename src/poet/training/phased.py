"""Which functions have values for some hours only, and when the next of them begin to hold."""

from __future__ import annotations

from typing import NamedTuple

from poet.model import phases
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet


class _Kept(NamedTuple):
    names: tuple[str, ...]  # of the live values, those for some times only
    holding: tuple[str, ...]  # of them, those that were handed down


class Phased:
    """What was handed down of values that change with the clock; nothing of functions that have none.

    A moment says by itself what holds then: a clock that is set, or a machine that slept, needs no further care.
    """

    def __init__(self) -> None:
        self._kept: dict[FunctionKey, _Kept] = {}

    def handed_down(self, key: FunctionKey, live: ParameterSet, wall: float) -> None:
        """``live`` is the call path's from ``wall`` on, Unix time [s], with what holds of it then."""
        names = tuple(name for name in live if phases.timed(name))
        if names:
            self._kept[key] = _Kept(names, phases.holding(names, wall))
        else:
            self._kept.pop(key, None)

    def turned(self, wall: float) -> list[FunctionKey]:
        """The functions of which something else holds at ``wall``, Unix time [s], than was handed down."""
        if not self._kept:
            return []
        return [key for key, kept in list(self._kept.items()) if phases.holding(kept.names, wall) != kept.holding]
