"""Learners at rest: one piece of bytes each, as of thousands of functions few are busy at a time.

A learner is some sixty objects, each of which takes 16 to 60 bytes beside what it says. At rest it is a third of that,
exact to the bit, and woken within some ten microseconds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

from poet.seams import Learner

AWAKE = 32  # learners that are; as many as have their tables at hand, see ``learning.evidence``


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
        from poet.training.packing import pack  # it takes many functions before there is anything to pack

        try:
            return pack(learner, self._number)
        except Exception:  # noqa: BLE001 - whatever keeps it from being packed, it can be used as it is
            return None

    def unpacked(self, packed: bytes) -> Learner:
        """The learner again."""
        from poet.training.packing import unpack

        learner: Learner = unpack(packed, self._shared)
        return learner

    def _number(self, shared: object) -> int:
        number = self._numbers.get(id(shared))
        if number is None:
            number = self._numbers[id(shared)] = len(self._shared)
            self._shared.append(shared)  # kept, so that its identity is not used again
        return number
