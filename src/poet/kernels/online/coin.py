"""Whose were the events? A test of a canary on failures, timeouts and breaches that may be looked at after every call.

If a canary takes a share ``q`` of the calls, by a coin that nobody can foresee, and is no worse than what is live, then
each event is the canary's with probability ``q`` at most: whatever the rate of events is, and however it drifts, as
both meet the same world. So the events alone are a game of coins. For a canary whose rate is ``r`` times as high,
each event is the canary's with probability ``q r / (1 - q + q r)``, and the likelihood ratio of the two, averaged over
a fixed grid of ``r``, is a nonnegative supermartingale of mean 1 at most where the canary is no worse: an e-process
(Ramdas, Grunwald, Vovk & Shafer 2023, section 4). By Ville's inequality it passes ``1 / alpha`` at any time, ever, with
probability ``alpha`` at most. This holds exactly, from the first event, for any share, and for shares that change, as
long as each is fixed before the coin is flipped.

The usual mixture is a Beta law of the canary's share of the events, cut to above ``q``. A mixture over ``r`` is as
exact, needs no incomplete beta function, learns across the steps of a roll-out in which ``q`` changes (harm has one
``r`` and many shares), and finds a canary that always fails after 3 calls instead of 5 (benchmarks/guards.py). It is
blind to harm below a ratio of 1.12, the root of the least.

An event must be known as soon of one side as of the other. Where it is not, as timeouts are where the limits differ,
the first ones known are all of one side: ``waiting.Waiting`` holds them back for as long. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

RATIOS = (1.25, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)  # of the rates, among which harm is looked for [1]
# small harm is common, and needs each nat; the least counts as little as 4
_PARTS = (4.0**-0.6, *(r**-0.6 for r in RATIOS[1:]))
_WEIGHTS = tuple(part / sum(_PARTS) for part in _PARTS)
MOST_SHARES = 200  # different ones that a test keeps apart


class Counts(NamedTuple):
    """What was seen while the canary had one share of the calls."""

    share: float  # of the calls that were the canary's, in (0, 1) [1]
    canary: int  # events of the canary
    events: int  # events of either


class CoinTest(NamedTuple):
    """Counts of events by the canary's share of the calls; all that the test needs.

    Counts add up: ``merged`` of several processes' tests is the test of all their calls together, in any order. What is
    valid at any time is ``log_e`` of *one* sequence of looks: of one process's test, or of the merged one, however old
    each part of it is. Several processes that each decide by their own test raise ``alpha`` once each; let them decide
    by the merged one, or give each its part of ``alpha``. Once passed, ``1 / alpha`` is passed for good: keep that a
    verdict has fallen, the evidence itself may go down again.

    >>> test = CoinTest().add(0.1, canary_events=3, events=3)
    >>> round(test.e_value), test.harm(0.01)
    (113, True)
    """

    segments: tuple[Counts, ...] = ()  # by share, ascending

    def add(self, share: float, canary_events: int, events: int) -> CoinTest:
        """With ``events`` more, of which ``canary_events`` were the canary's, while it took ``share`` of the calls.

        share: the logged probability that a call is the canary's, fixed before the call, in (0, 1) [1]. It takes the
        steps of a plan; for shares that change with each call, round them upwards, to two digits, which only lessens
        the evidence of harm.
        O(number of different shares). Raises ValueError where a number is not possible, or there are too many shares.
        """
        _check(share, canary_events, events)
        if events == 0:
            return self
        for place, old in enumerate(self.segments):
            if old.share == share:
                new = Counts(share, old.canary + canary_events, old.events + events)
                return CoinTest((*self.segments[:place], new, *self.segments[place + 1 :]))
        if len(self.segments) >= MOST_SHARES:
            raise ValueError(f"no more than {MOST_SHARES} different shares, got {share!r} too: round them upwards")
        return CoinTest(tuple(sorted((*self.segments, Counts(share, canary_events, events)))))

    def merged(self, other: CoinTest) -> CoinTest:
        """The test of the calls of both."""
        result = self
        for counts in other.segments:
            result = result.add(*counts)
        return result

    @property
    def events(self) -> int:
        """Events of either side."""
        return sum(counts.events for counts in self.segments)

    @property
    def canary_events(self) -> int:
        """Events of the canary."""
        return sum(counts.canary for counts in self.segments)

    @property
    def expected(self) -> float:
        """Events of the canary to be expected where it is exactly as good."""
        return sum(counts.share * counts.events for counts in self.segments)

    def log_e(self, tolerated: float = 1.0) -> float:
        """Evidence that the canary's rate of events is more than ``tolerated`` times as high [nats].

        tolerated: > 0, and fixed before the first look [1]. A sum over the different shares: O(8) each.
        """
        return _log_mean(_exponents(self.segments, RATIOS, tolerated), _WEIGHTS)

    @property
    def e_value(self) -> float:
        """The same as a factor, >= 0: above ``1 / alpha`` at any look with probability ``alpha`` where no harm is."""
        return math.exp(min(self.log_e(), 700.0))

    def harm(self, alpha: float, tolerated: float = 1.0) -> bool:
        """Whether the canary is worse, at a rate ``alpha`` of false alarms over all looks."""
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {alpha!r}")
        return self.log_e(tolerated) >= -math.log(alpha)

    def lower(self, alpha: float) -> float:
        """The canary's rate of events, over that of the live version, is above this, at every look; >= 0 [1].

        The largest ``tolerated`` at which there is ``harm``: one that is no harm at a ratio is none above it.
        """
        return self._bound(alpha, RATIOS, 1.0)

    def upper(self, alpha: float) -> float:
        """It is below this; infinite where the live version had no event. By the same test, turned round."""
        return self._bound(alpha, _BELOW, -1.0)

    def ratio(self, alpha: float) -> tuple[float, float]:
        """Both bounds, each at ``alpha / 2``."""
        return self.lower(alpha / 2), self.upper(alpha / 2)

    def _bound(self, alpha: float, ratios: tuple[float, ...], side: float) -> float:
        """Where the evidence, which falls (side 1) or rises (-1) as the hypothesis does, passes its level."""
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {alpha!r}")
        level = -math.log(alpha)
        shifts = [math.log(r) for r in ratios]

        def passed(at: float) -> bool:
            start = _log_likelihood(self.segments, at)
            exponents = [_log_likelihood(self.segments, at + shift) - start for shift in shifts]
            return _log_mean(exponents, _WEIGHTS) >= level

        near, far = -side * _FAR, side * _FAR
        if not passed(near):
            return 0.0 if side > 0 else math.inf
        for _ in range(50):
            middle = 0.5 * (near + far)
            near, far = (middle, far) if passed(middle) else (near, middle)
        return math.exp(near)

    def state(self) -> list[list[float]]:
        """As plain numbers, for a store: [share, canary events, events] each."""
        return [list(counts) for counts in self.segments]

    @classmethod
    def from_state(cls, state: Iterable[Iterable[float]]) -> CoinTest:
        """What ``state`` gave. Raises ValueError where the numbers are not possible."""
        result = cls()
        for share, canary, events in state:
            result = result.add(share, _whole(canary), _whole(events))
        return result


def canary_calls_needed(share: float, rate: float, ratio: float, alpha: float) -> float:
    """About how many calls of the canary show that its rate of events is ``ratio`` times as high [1].

    share: of the canary, in (0, 1); rate: of events of the live version, in (0, 1]; ratio: > 1. Wald's approximation,
    the level over the mean evidence of an event, with what the grid costs; infinite where there is nothing to see.
    """
    theirs = min(ratio * rate, 1.0)
    events = share * theirs + (1 - share) * rate  # per call
    if not events > 0 or not ratio > 1:
        return math.inf
    theta = share * theirs / events
    nats = theta * math.log(theta / share)
    if theta < 1:
        nats += (1 - theta) * math.log((1 - theta) / (1 - share))
    return (_GRID_COST - math.log(alpha)) / nats / events * share if nats > 0 else math.inf


_GRID_COST = 1.5  # what not knowing the ratio costs, measured [nats]
_BELOW = tuple(1.0 / r for r in RATIOS)
_FAR = 40.0  # a ratio of e^40 is as good as infinite [nats]


def _check(share: float, canary: int, events: int) -> None:
    if not 0 < share < 1:
        raise ValueError(f"share must be in (0, 1), got {share!r}")
    if not 0 <= canary <= events < math.inf or canary != int(canary) or events != int(events):
        raise ValueError(f"events must be whole, and 0 <= the canary's <= all, got {canary!r} of {events!r}")


def _whole(value: float) -> int:
    if value != value or value in (math.inf, -math.inf) or value != int(value):
        raise ValueError(f"a count must be whole, got {value!r}")
    return int(value)


@lru_cache(maxsize=1024)
def _nats(share: float, tolerated: float, ratios: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """By ratio: evidence in an event of the canary, and of the live version [nats]."""
    start = 1 - share + share * tolerated
    return tuple(
        (
            math.log(r * start / (1 - share + share * r * tolerated)),
            math.log(start / (1 - share + share * r * tolerated)),
        )
        for r in ratios
    )


def _exponents(segments: tuple[Counts, ...], ratios: tuple[float, ...], tolerated: float) -> list[float]:
    if not tolerated > 0:
        raise ValueError(f"tolerated must be > 0, got {tolerated!r}")
    sums = [0.0] * len(ratios)
    for share, canary, events in segments:
        live = events - canary
        for place, (ours, theirs) in enumerate(_nats(share, tolerated, ratios)):
            sums[place] += canary * ours + live * theirs
    return sums


def _log_mean(exponents: list[float], weights: tuple[float, ...]) -> float:
    most = max(exponents)
    return most + math.log(sum(w * math.exp(x - most) for x, w in zip(exponents, weights, strict=True)))


def _log_likelihood(segments: tuple[Counts, ...], log_ratio: float) -> float:
    """Of one ratio throughout, against a ratio of 1: concave in the logarithm of the ratio."""
    total = 0.0
    ratio = math.exp(log_ratio)
    for share, canary, events in segments:
        total += canary * log_ratio - events * math.log1p(share * (ratio - 1))
    return total
