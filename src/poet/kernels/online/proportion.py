"""Bounds of a probability by counts, valid at every look: exact, from the first call on.

The Beta mixture of Bernoulli likelihoods over the true one is a martingale of mean 1 (Robbins 1970, section 3; Ville's
inequality): where it passes ``1 / alpha``, the probability is not that one. Standard library only.
"""

from __future__ import annotations

import math

PRIOR = 0.5, 0.5  # of the mixture: Jeffreys'


def upper(events: float, calls: float, alpha: float) -> float:
    """The probability of an event is at most this, at all looks, with probability ``1 - alpha`` at least.

    events: 0 <= events <= calls. alpha: in (0, 1). Raises ValueError.

    >>> round(upper(0, 1000, 0.01), 4), upper(0, 0, 0.01)
    (0.0086, 1.0)
    """
    if not 0 <= events <= calls or not 0 < alpha < 1:
        raise ValueError(f"events must be in [0, calls], alpha in (0, 1), got {events!r} of {calls!r} and {alpha!r}")
    if events == calls:
        return 1.0
    a, b = PRIOR
    mixture = _log_beta(a + events, b + calls - events) - _log_beta(a, b)
    least = mixture + math.log(alpha)  # log likelihoods from here on are possible
    low, high = events / calls, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        likelihood = (events * math.log(middle) if events else 0.0) + (calls - events) * math.log1p(-middle)
        low, high = (middle, high) if likelihood >= least else (low, middle)
    return high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
