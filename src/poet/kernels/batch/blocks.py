"""Means of what neighbours in time share: blocks of time, their sums, and intervals that take no call for independent.

Calls of one minute meet the same incident, so that a thousand of them may know no more than ten. Whole blocks of time
are the unit here. Where what is measured has a level for each of several spells, one set of parameters each, say, the
levels are no noise: the sums' variance is taken about the level of their spell. What blocks still share with the next
ones adds to it (Newey & West 1987, "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
covariance matrix", Bartlett's weights), and never takes from it.

What was imputed several times, by draws from what is believed of it, is told by the mixture of all imputations' own
distributions (multiple imputation: Rubin 1987; as a mixture and not by a normal one, since little is known of where
what nobody saw would have ended: there the draws are anything but normal).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.findings import UNKNOWN, Array, Figure
from poet.kernels.batch.laws import beta_quantile, student_below, student_quantiles

Codes = npt.NDArray[np.int64]

LEVEL = 0.9
LEAST_SPAN = 60.0  # of a block [s]
MOST = 100  # blocks
FEWEST = 10  # blocks that a record is cut into although they get shorter
ROWS = 5  # that a block has on average, at least
SPELL = 4  # blocks of a spell, at least: it has a level of its own
BEGIN = 10  # blocks in which anything was gained or lost, before a running interval is told
_POINTS = 200  # of each distribution of a mixture
_MANY = 1e6  # degrees of freedom
_NOTHING = 1e-12  # a sum that is none
TUNED = 50.0  # blocks at which a running interval is the narrowest


class Cut(NamedTuple):
    """Rows cut into blocks of time."""

    codes: Codes  # (n,) of each row, from 0, in order of time; no block is empty
    span: float  # of a block [s]
    blocks: int


class Mean(NamedTuple):
    """A mean with its doubt: a mixture of Student's distributions, one for each imputation."""

    figure: Figure  # its median, and its quantiles; NaN ends where there are too few blocks
    weights: Array  # (m,) of the imputations, summing to 1
    centres: Array  # (m,) their means
    errors: Array  # (m,) their standard errors
    df: float  # degrees of freedom; 0: there are too few blocks

    def p_above(self, bound: float = 0.0) -> float:
        """How likely the mean is at ``bound`` or above; NaN where it cannot be told."""
        if not self.df > 0:
            return math.nan
        sure = self.errors <= 0
        score = (self.centres - bound) / np.where(sure, 1.0, self.errors)
        return float(self.weights @ np.where(sure, self.centres >= bound, student_below(score, self.df)))


def cut(started: Array, *, span: float = LEAST_SPAN, most: int = MOST) -> Cut:
    """Blocks of equal time. started: (n,) in any order, finite [s]. span: of a block, at least, > 0 [s].

    A record that is shorter than ``FEWEST`` of them is cut into that many all the same, as far as rows suffice.

    >>> cut(np.arange(0.0, 1200.0, 2.0)).blocks, cut(np.arange(0.0, 1200.0, 2.0), most=5).span
    (19, 239.6)
    """
    n = len(started)
    if n == 0:
        return Cut(np.zeros(0, np.int64), span, 0)
    low, high = float(started.min()), float(started.max())
    whole = max(high - low, 0.0)
    count = max(1, min(max(int(whole / span), FEWEST), most, n // ROWS))
    width = whole / count if whole > 0 else span
    place = np.minimum((started - low) / max(width, 1e-300), count - 1).astype(np.int64)
    names, codes = np.unique(place, return_inverse=True)
    return Cut(codes.astype(np.int64).ravel(), width, len(names))


def spells(codes: Codes, kinds: Codes, blocks: int) -> Codes:
    """The spell of each block, (blocks,), from 0: a run of blocks most of whose rows are of one kind.

    kinds: (n,) of each row. A run of fewer than ``SPELL`` blocks belongs to the one before, at the start to the next.

    >>> spells(np.arange(12), np.array([7] * 5 + [3] + [9] * 6), 12).tolist()
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    """
    found = np.zeros(blocks, np.int64)
    if not blocks:
        return found
    names, kinds = np.unique(kinds, return_inverse=True)
    counts = np.zeros((blocks, len(names)), np.int64)
    np.add.at(counts, (codes, kinds.ravel()), 1)
    leading = counts.argmax(axis=1)
    edges = [0, *(np.flatnonzero(np.diff(leading)) + 1).tolist(), blocks]
    starts = [0]
    for start, end in pairwise(edges[1:]):
        if end - start >= SPELL and start - starts[-1] >= SPELL:
            starts.append(start)
    for number, start in enumerate(starts):
        found[start:] = number
    return found


def mean(sums: Array, counts: Array, spell: Codes, *, weights: Array | None = None, level: float = LEVEL) -> Mean:
    """The mean of all rows from the blocks' sums.

    sums: (m, blocks) of m imputations, in order of time; counts: (blocks,) rows, > 0; spell: (blocks,), see ``spells``.
    weights: (m,) of the imputations, > 0; None: all alike.
    """
    total = float(counts.sum())
    m, blocks = sums.shape
    shares = np.full(m, 1.0 / max(m, 1)) if weights is None else weights / weights.sum()
    df = float(blocks - int(spell.max(initial=-1)) - 1)
    if total == 0 or sums.size == 0:
        return Mean(UNKNOWN, np.zeros(0), np.zeros(0), np.zeros(0), 0.0)
    centres = sums.sum(axis=1) / total
    if df < 2:
        (value,) = quantiles(centres[:, None], shares, (0.5,))
        return Mean(Figure(value, math.nan, math.nan), shares, centres, np.zeros(m), 0.0)
    errors = np.sqrt(_variances(sums, counts, spell)) / total
    scores = student_quantiles((np.arange(_POINTS) + 0.5) / _POINTS, df)
    points = centres[:, None] + errors[:, None] * scores
    low, value, high = quantiles(points, shares, ((1 - level) / 2, 0.5, (1 + level) / 2))
    return Mean(Figure(value, low, high), shares, centres, errors, df)


def quantiles(points: Array, weights: Array, shares: tuple[float, ...]) -> list[float]:
    """Quantiles of points (m, k), each row of which has its weight, (m,)."""
    flat, weight = points.ravel(), np.repeat(weights / points.shape[1], points.shape[1])
    order = np.argsort(flat, kind="stable")
    reached = np.cumsum(weight[order])
    places = np.searchsorted(reached, np.array(shares) * reached[-1])
    return [float(flat[order[min(int(place), len(order) - 1)]]) for place in places]


def running(
    sums: Array, counts: Array, spell: Codes, ends: Sequence[int], *, weights: Array | None = None, level: float = LEVEL
) -> list[Figure]:
    """The mean of the first blocks, with a band that holds at all ``ends`` together, whatever their number.

    An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, "Time-uniform central limit
    theory and asymptotic confidence sequences", eq. 9) over the blocks' sums, the narrowest at ``TUNED`` of them; NaN
    ends before ``BEGIN`` of them are not zero: where next to nothing has happened, its spread says nothing. What
    imputations differ by is added on both sides, at the same level.

    ends: how many blocks each, in [1, blocks], rising. The other arguments are as for ``mean``.
    """
    alpha = 1 - level
    usual = float(student_quantiles(np.array([1 - alpha / 2]), _MANY)[0])
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / TUNED
    told = []
    touched = np.cumsum((np.abs(sums) > _NOTHING).any(axis=0))
    for k in ends:
        found = mean(sums[:, :k], counts[:k], spell[:k], weights=weights, level=level)
        if touched[k - 1] < BEGIN or not found.df > 0:
            told.append(Figure(found.figure.value, math.nan, math.nan))
            continue
        factor = math.sqrt(2 * (k * rho2 + 1) / (k * rho2) * math.log(math.sqrt(k * rho2 + 1) / alpha))
        half = factor * math.sqrt(float(found.weights @ found.errors**2))
        half *= float(student_quantiles(np.array([1 - alpha / 2]), found.df)[0]) / usual  # spread of few is not known
        low, value, high = quantiles(found.centres[:, None], found.weights, (alpha / 2, 0.5, 1 - alpha / 2))
        told.append(Figure(value, low - half, high + half))
    return told


def share(k: int, n: int, *, level: float = LEVEL) -> Figure:
    """A share of ``k`` in ``n`` that are independent, with Jeffreys' interval; the ends reach 0 and 1 where it does.

    Brown, Cai & DasGupta 2001, "Interval estimation for a binomial proportion", §4.3. NaN where there are none.

    >>> [round(x, 3) for x in share(9, 10)]
    [0.9, 0.669, 0.982]
    """
    if n <= 0:
        return UNKNOWN
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else beta_quantile(tail, k + 0.5, n - k + 0.5)
    high = 1.0 if k == n else beta_quantile(1 - tail, k + 0.5, n - k + 0.5)
    return Figure(k / n, low, high)


def _variances(sums: Array, counts: Array, spell: Codes) -> Array:
    """Of the totals of the sums, (m, blocks) -> (m,), about the level of each spell."""
    blocks, groups = len(counts), int(spell.max()) + 1
    of_spell = (spell[:, None] == np.arange(groups)).astype(np.float64)
    left = sums - counts * ((sums @ of_spell) / (counts @ of_spell))[:, spell]
    own = (left * left).sum(axis=1)
    lags = max(1, int(4 * (blocks / 100) ** (2 / 9)))
    shared = np.zeros(len(sums))
    for lag in range(1, lags + 1):
        shared += 2 * (1 - lag / (lags + 1)) * (left[:, lag:] * left[:, :-lag]).sum(axis=1)
    found: Array = (own + np.maximum(shared, 0.0)) * blocks / (blocks - groups)
    return found
