"""Which kinds of failure an incident is made of: those whose rate has risen, and how much of what got worse they are.

A kind of failure is no slice of the calls: who has one has failed by that. So its rate per call is compared with its
own rate before, not with that of other calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.findings import adjusted

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

LEVEL = 0.03  # false discoveries among the kinds named; how bursty failures come is known roughly only
SHARE = 0.1  # of what got worse, which a kind must be to be named
FEWEST = 10  # calls of a kind during


class Rise(NamedTuple):
    """A kind of failure that came more often."""

    name: str
    share: float  # of all that got worse, in (0, 1]
    before: float  # of the calls before
    during: float
    low: float  # 95 % interval of (during - before)
    high: float
    p: float  # corrected for the number of kinds looked at (Benjamini-Hochberg)
    number: int  # calls during


def risen(
    names: Sequence[str],
    before: Codes,
    during: Codes,
    worse: float,
    *,
    blocks: Codes | None = None,
) -> tuple[Rise, ...]:
    """The kinds that came more often, those that explain the most first; empty where none did.

    names: of the kinds. before, during: each call's kind, its place in ``names``; -1: it did not fail. worse: calls
    that got worse in all, > 0: bad ones during, less as many as would have been by the share before. blocks: (n,) of
    the calls before, stretches of time, by which it is seen how evenly failures of a kind come; None: as by chance.

    Given that a kind came k times before and during together, by chance it came during with the binomial distribution
    of k and the share of the calls (Przyborowski & Wilenski 1940), told by the incomplete beta function. Where it comes
    in bursts of b at a time, as its variance says, k is taken for k / b that come by chance.

    >>> was, now = np.full(1000, -1), np.r_[np.zeros(90, int), np.full(10, 1), np.full(400, -1)]
    >>> was[:20] = 1
    >>> [(each.name, round(each.share, 2)) for each in risen(["OSError", "KeyError"], was, now, 90.0)]
    [('OSError', 1.0)]
    """
    from scipy import stats  # only where there is an incident

    n0, n1 = len(before), len(during)
    if not n0 or not n1 or worse <= 0:
        return ()
    counts0, counts1 = (np.bincount(codes[codes >= 0], minlength=len(names)) for codes in (before, during))
    looked = [code for code in range(len(names)) if counts1[code] >= FEWEST]
    chances, spreads = [], []
    for code in looked:
        k0, k1 = int(counts0[code]), int(counts1[code])
        spread = 1.0 if blocks is None else _spread(before == code, blocks)
        chances.append(float(stats.beta.cdf(n1 / (n0 + n1), k1 / spread, k0 / spread + 1)))
        spreads.append(spread)
    found = []
    for code, p, spread in zip(looked, adjusted(chances).tolist(), spreads, strict=True):
        was, now = counts0[code] / n0, counts1[code] / n1
        share = float((now - was) * n1 / worse)
        if p > LEVEL or share < SHARE:
            continue
        half = 1.96 * math.sqrt(spread * (was * (1 - was) / n0 + now * (1 - now) / n1))
        found.append(
            Rise(
                names[code],
                min(share, 1.0),
                float(was),
                float(now),
                float(now - was - half),
                float(now - was + half),
                p,
                int(counts1[code]),
            )
        )
    return tuple(sorted(found, key=lambda each: (-each.share, each.name)))


def _spread(hits: npt.NDArray[np.bool_], blocks: Codes) -> float:
    """How many times as much as by chance the hits of blocks differ, >= 1."""
    _, place = np.unique(blocks, return_inverse=True)
    n = np.bincount(place).astype(np.float64)
    mean = float(hits.mean())
    if len(n) < 3 or not 0 < mean < 1:
        return 1.0
    off = np.bincount(place, weights=hits.astype(np.float64)) - n * mean
    return max(1.0, float((off**2 / (n * mean * (1 - mean))).sum() / (len(n) - 1)))
