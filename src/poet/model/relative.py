"""What a tuner may begin with: what the tuners of related functions, or of other environments, have learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Relative(NamedTuple):
    """One related function, as it is handed to a new one's tuner."""

    name: str  # as it is told of in words
    state: bytes  # its tuner's ``dump``
    helps: float = 0.7  # probability that what it learned helps, in [0, 1]; what cannot help is better left out


class Refused(NamedTuple):
    """A relative that is not learned from."""

    name: str
    why: str


Relatives = Sequence[Relative]
