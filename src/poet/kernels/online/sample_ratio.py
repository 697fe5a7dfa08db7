"""Did the coin do what it says? A test of the numbers of calls per arm that may be looked at after every call.

A sample-ratio mismatch says that calls were lost, doubled or sent elsewhere on their way, and no effect can be believed
then. The Bayes factor of a Dirichlet law of the shares, about the expected ones, against these themselves (Lindon &
Malek 2022, "Anytime-valid inference for multinomial count data") is a martingale where they are right, and exact.
Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

CONCENTRATIONS = (2.0, 100.0, 10_000.0)  # of the Dirichlet laws mixed: gross, middling and small mismatches
ALPHA = 0.001  # at which the field calls a mismatch
MOST_SHARES = 200  # different ones that a test keeps apart


class Seen(NamedTuple):
    """Calls per arm while the shares were the same."""

    shares: tuple[float, ...]  # expected, in (0, 1), sum 1
    counts: tuple[int, ...]


class SampleRatio(NamedTuple):
    """Calls per arm by the expected shares. Counts add up over processes, as in ``coin.CoinTest``.

    >>> SampleRatio().add((0.5, 0.5), (5000, 5000)).mismatch(), SampleRatio().add((0.5, 0.5), (5300, 4700)).mismatch()
    (False, True)
    """

    segments: tuple[Seen, ...] = ()

    def add(self, shares: Sequence[float], counts: Sequence[int]) -> SampleRatio:
        """With more calls. shares: as logged, before the calls; counts: by arm, whole, >= 0.
        Raises ValueError where a number is not possible, or there are too many different shares."""
        key = tuple(float(share) for share in shares)
        if len(key) < 2 or not all(0 < share < 1 for share in key) or not abs(sum(key) - 1) < 1e-9:
            raise ValueError(f"shares must be in (0, 1) and sum to 1, got {shares!r}")
        if len(counts) != len(key) or not all(count >= 0 and count == int(count) for count in counts):
            raise ValueError(f"counts must be whole and >= 0, one per share, got {counts!r}")
        more = tuple(int(count) for count in counts)
        for place, old in enumerate(self.segments):
            if old.shares == key:
                new = Seen(key, tuple(a + b for a, b in zip(old.counts, more, strict=True)))
                return SampleRatio((*self.segments[:place], new, *self.segments[place + 1 :]))
        if len(self.segments) >= MOST_SHARES:
            raise ValueError(f"no more than {MOST_SHARES} different shares, got {key!r} too: round what was drawn from")
        return SampleRatio(tuple(sorted((*self.segments, Seen(key, more)))))

    def merged(self, other: SampleRatio) -> SampleRatio:
        """By the calls of both."""
        result = self
        for seen in other.segments:
            result = result.add(*seen)
        return result

    @property
    def log_e(self) -> float:
        """Evidence that the shares are not as expected [nats]."""
        sums = [0.0] * len(CONCENTRATIONS)
        for shares, counts in self.segments:
            n = sum(counts)
            null = sum(count * math.log(share) for share, count in zip(shares, counts, strict=True))
            for place, concentration in enumerate(CONCENTRATIONS):
                start, bounds = _start(shares, concentration)
                sums[place] += start - math.lgamma(concentration + n) - null
                sums[place] += sum(math.lgamma(a + count) for a, count in zip(bounds, counts, strict=True))
        most = max(sums)
        return most + math.log(sum(math.exp(x - most) for x in sums) / len(sums))

    def mismatch(self, alpha: float = ALPHA) -> bool:
        """Whether calls went astray, at a rate ``alpha`` of false alarms over all looks."""
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {alpha!r}")
        return self.log_e >= -math.log(alpha)

    def state(self) -> list[list[list[float]]]:
        """As plain numbers, for a store: [shares, counts] each."""
        return [[list(seen.shares), list(seen.counts)] for seen in self.segments]

    @classmethod
    def from_state(cls, state: Iterable[Sequence[Sequence[float]]]) -> SampleRatio:
        """What ``state`` gave. Raises ValueError where the numbers are not possible."""
        result = cls()
        for shares, counts in state:
            if not all(math.isfinite(count) for count in counts):
                raise ValueError(f"counts must be whole and >= 0, got {counts!r}")
            result = result.add(shares, counts)  # type: ignore[arg-type]  # whole, or refused there
        return result


@lru_cache(maxsize=256)
def _start(shares: tuple[float, ...], concentration: float) -> tuple[float, tuple[float, ...]]:
    parts = tuple(concentration * share for share in shares)
    return math.lgamma(concentration) - sum(math.lgamma(part) for part in parts), parts
