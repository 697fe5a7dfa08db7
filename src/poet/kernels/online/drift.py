"""Alarms: has what comes stopped looking like what came?"""

from __future__ import annotations

from collections.abc import Sequence


def cusum(level: float, evidence: float, *, allowance: float) -> float:
    """The next level of a one-sided cumulative sum (Page 1954), >= 0 [nats].

    evidence: log-likelihood ratio of "changed" against "as before" for the newest observation [nats].
    allowance: taken off each time, >= 0 [nats]; it keeps a ratio that hovers around 0 from adding up.

    >>> cusum(1.0, 2.0, allowance=0.5), cusum(1.0, -5.0, allowance=0.5)
    (2.5, 0.0)
    """
    return max(0.0, level + evidence - allowance)


def lags(levels: Sequence[float], log_likelihoods: Sequence[float], *, allowance: float) -> list[float]:
    """Levels of several cumulative sums: how much better the first predictor did of late than each of the others.

    levels, log_likelihoods: one per predictor; the first level stays 0.
    """
    gain = log_likelihoods[0] - allowance
    # spelled out, as it runs for every execution
    return [max(0.0, level + gain - mine) for level, mine in zip(levels, log_likelihoods, strict=True)]
