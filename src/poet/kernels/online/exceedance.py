"""Which calls are slow? A limit that learns from the live version's calls, so that breaches of it are events to count.

A mean of log latency hardly moves where two calls in a hundred hang. Breaches of a limit far out in the tail do, and
are tested by ``coin.CoinTest`` exactly: a canary that is no slower passes *any* limit that was fixed before its call no
more often than the live version. The limit lies ``DEVIATIONS`` standard deviations above the mean of the log latency of
the live version's calls; it need not be any quantile of it. Standard library only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from poet.kernels.online.ewma import Weighted, weigh

HALF_LIFE = 1000.0  # of the live calls from which it learns [calls]
DEVIATIONS = 3.0
FIRST = 50  # live calls before there is a limit


class Limit(NamedTuple):
    """A limit of the latency, by the live version's calls so far. Local to a process: limits need not be alike.

    >>> limit = Limit()
    >>> for i in range(100):
    ...     limit = limit.add(1.0 + 0.1 * (i % 2))
    >>> limit.breached(1.15), limit.breached(3.0)
    (False, True)
    """

    seen: Weighted = Weighted()  # log seconds

    @property
    def seconds(self) -> float:
        """The limit [s]; infinite before enough was seen."""
        if self.seen.n < FIRST:
            return math.inf
        return math.exp(min(self.seen.mean + DEVIATIONS * math.sqrt(max(self.seen.variance, 0.0)), 700.0))

    def breached(self, seconds: float) -> bool:
        """Whether a call that took so long is an event, by the limit *before* it is learned from."""
        return seconds > self.seconds

    def add(self, seconds: float) -> Limit:
        """With one more call of the live version, timed out or not, after it was judged.

        seconds: >= 0 and finite, else ValueError; less than a nanosecond counts as one.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a latency must be >= 0 and finite, got {seconds!r}")
        return Limit(weigh(self.seen, math.log(max(seconds, 1e-9)), 1.0, half_life=HALF_LIFE))
