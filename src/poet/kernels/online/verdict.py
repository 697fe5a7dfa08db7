"""What several guards say together: harm, safe, or undecided. Missing data is never safe. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.effect import Effect, Side


class Verdict(Enum):
    """Of a guard, or of all."""

    HARM = "harm"  # worse by more than is tolerated, at the rate of false alarms that was agreed
    SAFE = "safe"  # not worse by more than is tolerated, at the same rate
    UNDECIDED = "undecided"  # neither, or nothing was seen


class Finding(NamedTuple):
    """What one guard says, with its figures."""

    guard: str
    verdict: Verdict
    log_e: float = 0.0  # evidence of harm [nats]; harm from -log(alpha) on
    value: float = math.nan  # canary against live: ratio of the rates of events, or effect
    low: float = -math.inf
    high: float = math.inf
    margin: float = math.nan  # what is tolerated, in the unit of value
    alpha: float = math.nan  # this guard's part
    n: int = 0  # events, or calls, that it rests on


def split(alpha: float, weights: Mapping[str, float]) -> dict[str, float]:
    """Each guard's part of the rate of false alarms. weights: > 0 each.

    >>> split(0.01, {"failures": 2.0, "latency": 1.0, "cost": 1.0})
    {'failures': 0.005, 'latency': 0.0025, 'cost': 0.0025}
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha!r}")
    if not weights or not all(0 < weight < math.inf for weight in weights.values()):
        raise ValueError(f"weights must be > 0 and finite, got {dict(weights)!r}")
    whole = sum(weights.values())
    return {guard: alpha * weight / whole for guard, weight in weights.items()}


def of_events(guard: str, test: CoinTest | None, alpha: float, tolerated: float = 1.0, safe: float = 1.5) -> Finding:
    """What a count of events says.

    tolerated: ratio of the rates above which there is harm, > 0; safe: below which a canary is called safe, at least as
    high. Without an event, or without data, it is undecided.
    """
    if not safe >= tolerated:
        raise ValueError(f"the ratio that is safe must be {tolerated!r} at least, got {safe!r}")
    if test is None or not test.events:
        return Finding(guard, Verdict.UNDECIDED, margin=tolerated, alpha=alpha)
    low, high = test.lower(alpha), test.upper(alpha)
    harm, live = test.harm(alpha, tolerated), test.events - test.canary_events
    verdict = Verdict.HARM if harm else Verdict.SAFE if high < safe else Verdict.UNDECIDED
    expected = test.expected
    value = test.canary_events * (test.events - expected) / (live * expected) if live else math.inf
    return Finding(guard, verdict, test.log_e(tolerated), value, low, high, tolerated, alpha, test.events)


def of_effect(guard: str, effect: Effect | None, alpha: float, margin: float = 0.0) -> Finding:
    """What a mean says, of which more is worse: log latency, or cost.

    margin: the rise that is tolerated, in the unit of an outcome, >= 0. Harm where the whole effect lies above it, safe
    where it lies below, each bound at ``alpha``.
    """
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin must be >= 0 and finite, got {margin!r}")
    if effect is None or not effect.ready:
        return Finding(guard, Verdict.UNDECIDED, margin=margin, alpha=alpha, n=0 if effect is None else effect.n)
    low, high = effect.lower(alpha), effect.upper(alpha)
    verdict = Verdict.HARM if low > margin else Verdict.SAFE if high < margin else Verdict.UNDECIDED
    log_e = effect.log_e(margin, Side.ABOVE)
    return Finding(guard, verdict, log_e, effect.value, low, high, margin, alpha, effect.n)


def together(findings: Iterable[Finding]) -> Verdict:
    """Harm where any guard says so; safe where all do, and there is one; else undecided.

    Give one finding for each guard that was agreed, also where it saw nothing: what is missing would pass for safe.
    """
    said = [finding.verdict for finding in findings]
    if Verdict.HARM in said:
        return Verdict.HARM
    return Verdict.SAFE if said and all(verdict is Verdict.SAFE for verdict in said) else Verdict.UNDECIDED
