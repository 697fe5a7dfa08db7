"""How calls pick values of declared tunables: made off the call path, run on it. Standard library only, immutable."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from poet.model.execution import Context
from poet.model.tunable import Value

NOTHING: Mapping[str, Value] = MappingProxyType({})


class Pick(NamedTuple):
    """What one call uses in place of its version's own values."""

    draw: int  # 0: not to try something out, but as it is believed to be best; else which of the tries, from 1
    values: Mapping[str, Value]  # that differ; empty: none


OWN = Pick(0, NOTHING)


class Policy(Protocol):
    """Which values a call uses, by its context and a random number."""

    def pick(self, context: Context, uniform: float) -> Pick:
        """The values for a call. uniform: in [0, 1); the same context and number give the same pick. Never raises."""


class Tries(NamedTuple):
    """Some calls, ``share`` of them, try one of several sets of values, each as often; the others use their own.

    >>> Tries(0.5, ({"k": 3}, {"k": 5})).pick((), 0.3)
    Pick(draw=2, values={'k': 5})
    >>> Tries(0.5, ({"k": 3}, {"k": 5})).pick((), 0.7) is OWN
    True
    """

    share: float  # of calls, in [0, 1]
    values: tuple[Mapping[str, Value], ...]

    def pick(self, context: Context, uniform: float) -> Pick:
        """The values for a call."""
        if uniform >= self.share or not self.values:
            return OWN
        number = min(int(uniform / self.share * len(self.values)), len(self.values) - 1)
        return Pick(number + 1, self.values[number])
