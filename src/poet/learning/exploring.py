"""The budget that trying things out may spend."""

from __future__ import annotations

import math
from typing import NamedTuple

AHEAD = 5.0  # of a success's value, that may be spent before any call has earned it [1]
MOST_TRYING = 0.5  # share of calls
LEAST_LOSS = 0.02  # of a success's value, that a try is believed to cost at least, as much is unknown of it [1]


class Ledger(NamedTuple):
    """What trying things out has cost so far, against what it may [utility].

    Its cost is the larger of two sums: what the tries were expected to lose when they were handed out, which has no
    noise but the model's errors; and by how much they scored below what was best then, which is noisy and unbiased.

    A budget b lets calls lose b of a success's value each, on average, and ``AHEAD`` values more at the beginning:
    whoever never risks anything does not find out, and what is found out early pays for longest.
    """

    calls: float = 0.0  # that could have tried something
    tries: float = 0.0  # of these, that did
    expected: float = 0.0  # what the tries were expected to lose against the best known then
    seen: float = 0.0  # by how much they scored below its expected score

    @property
    def spent(self) -> float:
        """What they have cost."""
        return max(self.expected, self.seen, 0.0)

    def after(self, calls: int, tries: int, expected: float) -> Ledger:
        """So many calls more, so many of them tries that were expected to lose so much together."""
        return Ledger(self.calls + calls, self.tries + tries, self.expected + max(0.0, expected), self.seen)

    def plus(self, other: Ledger) -> Ledger:
        """Of both together."""
        return Ledger(*(one + more for one, more in zip(self, other, strict=True)))

    def scored(self, lost: float) -> Ledger:
        """Tries have scored so far below what was best."""
        return self._replace(seen=self.seen + lost)

    def left(self, budget: float, worth: float) -> float:
        """What may be spent now [utility]. budget: share of ``worth``, a success's value, that a call may lose."""
        return worth * (AHEAD + budget * self.calls) - self.spent if budget > 0 else 0.0

    def share(self, budget: float, worth: float, loss: float) -> float:
        """Of calls that may try something now, in [0, MOST_TRYING]. loss: expected of one try [utility].

        What is left is given out over as many calls as have been made so far, ten at least: so a new function tries
        much at once, and an old one what its calls earn.
        """
        if not budget > 0 or not math.isfinite(loss):
            return 0.0
        per_call = self.left(budget, worth) / max(10.0, self.calls)
        cost = max(loss, LEAST_LOSS * worth)
        return min(max(per_call / cost, 0.0), MOST_TRYING)
