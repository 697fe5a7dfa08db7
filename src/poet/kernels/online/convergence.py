"""Has learning come to its end? When what it may still win is worth less than what it costs. Standard library only.

Not "the values have stopped moving": they also stop at a bound, and under a learner that does not see.
"""

from __future__ import annotations

import math
from typing import NamedTuple

CALM_LOOKS = 3  # looks in a row at which learning must not pay, so that one lucky look declares nothing
REOPEN = 2.0  # value over cost at which it pays again: above 1, so that it does not flicker


class Convergence(NamedTuple):
    """Whether learning has ended, and for how long it has not paid."""

    converged: bool = False
    calm: int = 0  # looks in a row at which it did not pay
    looks: int = 0
    since: int = 0  # look at which the present answer was given first
    withdrawn: int = 0  # times that it was taken back


def improvement(gain: float, error: float) -> float:
    """Expected gain of a change that is made only where it turns out to be one: ``E[max(0, N(gain, error))]``.

    error: >= 0. It is what finding out would be worth; 0 < it also where ``gain`` is below 0 but in doubt.

    >>> improvement(0.0, 0.0), round(improvement(0.0, 1.0), 4), round(improvement(-2.0, 1.0), 4)
    (0.0, 0.3989, 0.0085)
    """
    if not error > 0:
        return max(0.0, gain)
    if math.isinf(error):
        return math.inf
    z = gain / error
    return max(0.0, gain * 0.5 * math.erfc(-z / math.sqrt(2)) + error * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi))


def looked(
    state: Convergence, *, per_call: float, horizon: float, cost: float, drift: bool = False, patience: int = CALM_LOOKS
) -> Convergence:
    """The state after one look.

    per_call: expected improvement that is left, per call, >= 0 [score]. horizon: calls that would enjoy it, >= 0.
    cost: of finding it: what its trials lose, and the computing, >= 0 [score]. drift: what was known is out of date.
    Declared when ``per_call * horizon < cost`` at ``patience`` looks in a row; withdrawn at once on drift, or where the
    value exceeds ``REOPEN * cost``. A value of nan counts as unknown: it neither declares nor withdraws.
    """
    value = per_call * horizon
    looks = state.looks + 1
    calm = state.calm
    if drift:
        calm = 0
    elif value < cost:
        calm += 1
    elif not (state.converged and value <= REOPEN * cost) and not math.isnan(value):
        calm = 0
    converged = calm >= patience or (state.converged and calm > 0)
    return Convergence(
        converged,
        calm,
        looks,
        looks if converged != state.converged else state.since,
        state.withdrawn + (state.converged and not converged),
    )


# --- what withdraws it ------------------------------------------------------------------------------------------------

SHIFT = 0.5  # change of the mean score that is looked for, in its standard deviations [1]
MOST_SURPRISE = 4.0  # deviations that one score counts for at most
SLACK = 0.1  # allowance per score [nats]: it keeps E[exp(evidence)] <= 1 also for a score of 0 and 1, see the tests
ALARM = 11.5  # level at which it alarms [nats]: by Ville, e^-11.5 = 1e-5 per score and side where mean and sd are known


class Watch(NamedTuple):
    """Two one-sided sums over standardised scores: have they risen, have they fallen? (Page 1954)"""

    risen: float = 0.0  # [nats]
    fallen: float = 0.0  # [nats]

    @property
    def alarm(self) -> bool:
        """Whether the mean has changed."""
        return max(self.risen, self.fallen) > ALARM


def watched(state: Watch, z: float) -> Watch:
    """The state after a score that is ``z`` standard deviations above the mean that is believed in."""
    if math.isnan(z):
        return state
    z = min(max(z, -MOST_SURPRISE), MOST_SURPRISE)
    base = -0.5 * SHIFT * SHIFT - SLACK
    return Watch(max(0.0, state.risen + SHIFT * z + base), max(0.0, state.fallen - SHIFT * z + base))
