"""Events that one side tells sooner than the other: each is held back until both sides would have told.

A canary with a limit of 1 s tells its timeouts after 1 s, a live version with one of 30 s after 30 s. Counted as they
come, the first events are all the canary's, and a good canary is rolled back (benchmarks/guards.py). So a call counts
once the longest limit of either side has passed since it *began*: by then either version would have told. It costs that
delay; what both sides tell equally soon, as errors that a service answers at once, needs no waiting, and is better
counted by a ``coin.CoinTest`` of its own. Standard library only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from poet.kernels.online.coin import Counts

_PARTS = 8  # of the horizon, in which calls that began together wait


class Held(NamedTuple):
    """Events of calls that began in the same part."""

    part: int  # number of the part of the clock
    share: float  # of the canary
    canary: int  # its events
    events: int  # of either side


class Waiting(NamedTuple):
    """Events that are not due yet. Local to a process; at most ten parts for each share of a plan.

    >>> waiting = Waiting(30.0).add(100.0, 0.1, canary=True).add(125.0, 0.1, canary=False)
    >>> waiting, due = waiting.due(140.0)
    >>> due, len(waiting.held)
    ((Counts(share=0.1, canary=1, events=1),), 1)
    """

    horizon: float  # the longest limit of a whole call of either version, > 0 [s]
    held: tuple[Held, ...] = ()  # by part, ascending

    def add(self, began: float, share: float, canary: bool) -> Waiting:
        """With one event. began: when its call did, by any clock that only goes forwards [s]; share: as for the test.

        Raises ValueError where a number is not possible.
        """
        if not math.isfinite(began) or not 0 < share < 1:
            raise ValueError(f"need a finite beginning and a share in (0, 1), got {began!r} and {share!r}")
        if not 0 < self.horizon < math.inf:
            raise ValueError(f"horizon must be > 0 and finite, got {self.horizon!r}")
        part = math.floor(began * _PARTS / self.horizon)
        for place, old in enumerate(self.held):
            if old.part == part and old.share == share:
                new = Held(part, share, old.canary + canary, old.events + 1)
                return self._replace(held=(*self.held[:place], new, *self.held[place + 1 :]))
        return self._replace(held=tuple(sorted((*self.held, Held(part, share, int(canary), 1)))))

    def due(self, now: float) -> tuple[Waiting, tuple[Counts, ...]]:
        """What is still waiting at ``now``, and what counts from now on, for ``CoinTest.add``."""
        last = math.floor((now - self.horizon) * _PARTS / self.horizon)  # which is not over
        counted = tuple(Counts(*held[1:]) for held in self.held if held.part < last)
        return self._replace(held=tuple(held for held in self.held if held.part >= last)), counted
