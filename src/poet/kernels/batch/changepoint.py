"""Lasting changes: since when is a level another, by how much, and does it drift?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.season import Array, Period, numbers, profiles, running_median, spread

LEAST_VALUES = 12  # fewer tell of no change
MOST_VALUES = 2000  # beyond, neighbours are taken together to look for changes
WIDE = 2.5  # standard deviations about the running median beyond which a value is drawn in
LEVEL = 0.9  # of the intervals


class Change(NamedTuple):
    """One level gives way to another."""

    at: int  # the first value of the new level, counted from 0
    low: int  # … is not before this one
    high: int  # … nor after this one; each side errs in 5 % of cases
    magnitude: float  # new level less old [unit of the values]
    magnitude_low: float  # 90 % interval
    magnitude_high: float
    z: float  # magnitude over its standard deviation, with the autocorrelation in it; signed


class Slope(NamedTuple):
    """A steady drift."""

    per_step: float  # [unit of the values per step]
    low: float  # interval of the level that was asked for
    high: float


class _Noise(NamedTuple):
    """What the values do about their levels."""

    follow: float  # of a value's deviation that the next one shares on average, in [0, 0.97]
    sd: float  # of what is new in each value
    n: int  # values that it was learnt from

    @property
    def long(self) -> float:
        """Square root of the long-run variance: a mean over n values errs by this over sqrt(n)."""
        return self.sd / (1 - self.follow)


def changes(
    values: npt.ArrayLike,
    periods: Sequence[Period | int] = (),
    *,
    least: float = 0.0,
    z: float = 4.0,
    apart: int = 8,
) -> tuple[Change, ...]:
    """Where the level of a series changed for good, in order.

    values: (n,) of equal steps, NaN for a gap; logarithms, where shares are meant. periods: its seasons, as found, or
    lengths [steps]; they are taken out first. least: of a magnitude that is worth telling [unit of the values]. z: by
    how many of its standard deviations a change must stand out, at least; by default fewer than one in
    300 series that have no change show one. apart: values of a level, at least.

    Values are drawn in to what is usual about a running median, so that single odd ones move nothing. The best cut into
    levels is searched for exactly (Jackson et al., IEEE Signal Processing Letters 2005), at a price per change of
    3 log n long-run variances and not of plain ones: autocorrelation is what false regressions come from. Then the
    weakest are put together again as long as one is not clear, or a slope tells as much as a step does. Where each is
    is weighed by likelihood, under autocorrelation of the first order (Bai, Review of Economics and Statistics 1997):
    ``at`` is about where most of that is near, and its interval the middle 90 %. Of changes that are hardly seen those
    are told that look large by chance: the interval of a magnitude near ``z`` deviations holds the truth less often.

    >>> rng = np.random.default_rng(0)
    >>> [found] = changes(np.r_[rng.normal(5, 1, 100), rng.normal(8, 1, 60)])
    >>> found.low <= 100 <= found.high, 2 < found.magnitude_low < 3 < found.magnitude_high < 4
    (True, True)
    """
    x = numbers(values)
    seen = np.isfinite(x)
    places = np.flatnonzero(seen)
    if len(places) < max(LEAST_VALUES, 2 * apart):
        return ()
    top = float(np.abs(x[seen]).max())
    if np.ptp(x[seen]) <= 1e-12 * top:
        return ()
    lengths = [each.length if isinstance(each, Period) else int(each) for each in periods]
    lengths = [each for each in lengths if 2 <= each <= len(x) // 2]
    y = _calm(x, lengths)[seen]
    cuts = _cut(y, apart, z)
    if lengths and cuts:  # seasons once more, without the steps between
        steps = np.zeros(len(x))
        edges = [0, *cuts, len(y)]
        for start, end in pairwise(edges):
            first = places[start] if start else 0
            steps[first:] = np.median(y[start:end])
        y = (_calm(x - steps, lengths) + steps)[seen]
        cuts = _cut(y, apart, z)
    found = []
    edges = [0, *cuts, len(y)]
    noise = _noise(y, edges)
    for place in range(1, len(edges) - 1):
        part = y[edges[place - 1] : edges[place + 1]]
        cut, low, high = (edges[place - 1] + each for each in _where(part, edges[place] - edges[place - 1], noise))
        step, error = _step(y, edges[place - 1], cut, edges[place + 1], noise)
        wide = _quantile(noise) * error
        if abs(step) >= least and error > 0 and abs(step) >= z * error:
            at, first, last = (int(places[min(each, len(places) - 1)]) for each in (cut, low, high))
            found.append(Change(at, first, last, step, step - wide, step + wide, step / error))
    return tuple(found)


def trend(values: npt.ArrayLike, periods: Sequence[Period | int] = (), *, level: float = LEVEL) -> Slope:
    """The drift of a series, and an interval that holds under autocorrelation; NaN where fewer than 3 values are there.

    values: (n,) of equal steps, NaN for a gap. periods: seasons to take out first. level: of the interval, in (0, 1).
    The median of the slopes of all pairs (Theil 1950; Sen 1968) over at most 400 stretches. The interval has the width
    of least squares with values drawn in, the variance of what is new in each value raised by the autocorrelation of
    the first order, and the quantile of Student's distribution for as many values as would be worth as much without.

    >>> found = trend(0.5 * np.arange(60) + np.random.default_rng(0).normal(size=60))
    >>> bool(found.low < 0.5 < found.high)
    True
    """
    x = numbers(values)
    lengths = [each.length if isinstance(each, Period) else int(each) for each in periods]
    lengths = [each for each in lengths if 2 <= each <= len(x) // 2]
    if lengths and np.isfinite(x).any():
        x = x - sum(profiles(_flat(x), lengths)[0], np.zeros(len(x)))
    t = np.flatnonzero(np.isfinite(x)).astype(np.float64)
    x = x[np.isfinite(x)]
    n = len(x)
    if n < 3:
        return Slope(np.nan, np.nan, np.nan)
    slope = _theil_sen(t, x)
    rest = x - slope * t
    rest -= np.median(rest)
    bound = WIDE * spread(rest)
    noise = _noise(np.clip(rest, -bound, bound), [0, n], spent=2)
    about = t - t.mean()
    error = noise.long / np.sqrt(float(about @ about))
    wide = _student(level, max(1.0, _worth(noise) - 2)) * error
    return Slope(slope, slope - wide, slope + wide)


def _flat(x: Array) -> Array:
    """Less the line through the medians of its thirds; gaps stay."""
    t = np.arange(len(x), dtype=np.float64)
    seen = np.isfinite(x)
    return np.asarray(x - _theil_sen(t[seen], x[seen]) * t) if seen.sum() > 2 else x


def _theil_sen(t: Array, x: Array) -> float:
    """Median slope of all pairs."""
    if len(x) > 400:
        edges = np.linspace(0, len(x), 401).astype(int)[:-1]
        sizes = np.diff(np.append(edges, len(x)))
        t, x = np.add.reduceat(t, edges) / sizes, _medians(x, edges)
    i, j = np.triu_indices(len(x), 1)
    return float(np.median((x[j] - x[i]) / (t[j] - t[i])))


def _medians(x: Array, edges: npt.NDArray[np.int_]) -> Array:
    """Of each stretch that begins at an edge."""
    return np.array([np.median(part) for part in np.split(x, edges[1:])])


def _calm(x: Array, lengths: Sequence[int]) -> Array:
    """Without seasons, and without what is far from the running median: (n,), gaps filled by the level."""
    seasons, _ = profiles(x, lengths) if lengths else ([], x)
    left = x - sum(seasons, np.zeros(len(x)))
    level = running_median(left, 25)
    off = np.where(np.isfinite(left), left - level, 0.0)
    bound = WIDE * spread(off[np.isfinite(left)])
    return np.asarray(level + (np.clip(off, -bound, bound) if bound > 0 else off), dtype=np.float64)


def _noise(y: Array, edges: Sequence[int], *, spent: int = 1) -> _Noise:
    """Autocorrelation about the levels between the edges, and what is new in each value.

    spent: parameters of each level. The share that the next value has of a deviation is estimated too low from few
    values, by (1 + 3 r) / n for each level (Kendall 1954), and is raised by that. What the first order leaves
    unsaid is told by the autocorrelation of what is new (Andrews & Monahan, Econometrica 1992), where it adds.
    """
    left = np.concatenate([y[a:b] - y[a:b].mean() for a, b in pairwise(edges)] or [np.zeros(0)])
    n, levels = len(left), max(1, len(edges) - 1)
    total = float(left @ left)
    if n < 3 or total <= 0:
        return _Noise(0.0, 0.0, n)
    r = float(left[1:] @ left[:-1]) / total
    follow = float(np.clip(r + spent * levels * (1 + 3 * max(r, 0.0)) / n, 0.0, 0.97))
    fresh = left[1:] - follow * left[:-1]
    sd = float(np.sqrt(fresh @ fresh / max(1, n - 1 - spent * levels)))
    size = int(max(4, min(n // 8, round(2 * n ** (1 / 3)))))
    if n >= 8 * size:
        # what is new has an autocorrelation of its own where the first order does not say all
        window = 1 - np.arange(1, size + 1) / (size + 1)
        more = float(
            sum(w * float(fresh[k:] @ fresh[:-k]) for k, w in enumerate(window, start=1)) * 2 / float(fresh @ fresh)
        )
        sd *= float(np.sqrt(np.clip(1 + more, 1.0, 9.0)))
    return _Noise(follow, sd, n)


def _worth(noise: _Noise) -> float:
    """As many values without autocorrelation tell as much of a level."""
    return noise.n * (1 - noise.follow) / (1 + noise.follow)


def _student(level: float, freedom: float) -> float:
    """Two-sided quantile of Student's distribution, by expansion about the normal one (Abramowitz & Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    v = max(freedom, 1.0)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / v ** (k + 1) for k, term in enumerate(terms))


def _quantile(noise: _Noise) -> float:
    return _student(LEVEL, max(2.0, _worth(noise) / 2))


def _step(y: Array, start: int, cut: int, end: int, noise: _Noise) -> tuple[float, float]:
    """New level less old, and its standard deviation."""
    before, after = cut - start, end - cut
    if min(before, after) < 1:
        return 0.0, np.inf
    step = float(y[cut:end].mean() - y[start:cut].mean())
    return step, float(np.sqrt(_mean_variance(before, noise) + _mean_variance(after, noise)))


def _mean_variance(n: int, noise: _Noise) -> float:
    """Of a mean over n values in a row."""
    r = noise.follow
    short = 1 - 2 * r * (1 - r**n) / (n * (1 - r * r)) if r > 0 else 1.0
    return noise.long**2 / n * max(short, 0.05)


def _cut(y: Array, apart: int, z: float) -> list[int]:
    """Where to cut so that levels differ clearly, in order."""
    n = len(y)
    if float(np.ptp(y)) <= 1e-12 * float(np.abs(y).max()):
        return []
    group = -(-n // MOST_VALUES)
    size = n // group
    means = y[: size * group].reshape(size, group).mean(axis=1)
    noise = _rough(y, apart)
    price = 3 * np.log(n) * noise / group
    cuts = [each * group for each in _best_cuts(means, price, max(2, -(-apart // group)))]
    while cuts:
        edges = [0, *cuts, n]
        about = _noise(y, edges)
        scores = []
        for place in range(1, len(edges) - 1):
            start, cut, end = edges[place - 1], edges[place], edges[place + 1]
            step, error = _step(y, start, cut, end, about)
            score = abs(step) / error if error > 0 else np.inf
            scores.append(0.0 if _slopes(y[start:end], cut - start) else score)
        weakest = int(np.argmin(scores))
        if scores[weakest] >= z:
            break
        del cuts[weakest]
    return cuts


def _rough(y: Array, apart: int) -> float:
    """Long-run variance without knowing the levels: from differences of neighbouring means, the largest left out."""
    n = len(y)
    best = 0.0
    for size in (1, 4, 12, 24):
        if n < 6 * size:
            break
        sums = np.cumsum(np.insert(y, 0, 0.0))
        means = (sums[size:] - sums[:-size]) / size
        off = np.sort((means[size:] - means[:-size]) ** 2)
        kept = off[: max(1, int(0.8 * len(off)))]
        best = max(best, float(kept.mean()) / 0.4376 * size / 2)  # the lowest 80 % of squares of a normal distribution
    return best or float(np.var(y)) * 1e-6


def _best_cuts(means: Array, price: float, apart: int) -> list[int]:
    """The cuts that make squares about the levels plus ``price`` per cut least; exact, O(n^2) in vectors."""
    n = len(means)
    s1 = np.insert(np.cumsum(means - means.mean()), 0, 0.0)
    s2 = np.insert(np.cumsum((means - means.mean()) ** 2), 0, 0.0)
    best = np.full(n + 1, np.inf)
    best[0] = -price
    came = np.zeros(n + 1, dtype=np.int64)
    sizes = np.arange(n + 1, dtype=np.float64)
    for end in range(apart, n + 1):
        last = end - apart + 1
        costs = best[:last] + (s2[end] - s2[:last]) - (s1[end] - s1[:last]) ** 2 / (end - sizes[:last])
        at = int(np.argmin(costs))
        best[end], came[end] = costs[at] + price, at
    cuts = []
    end = int(came[n])
    while end > 0:
        cuts.append(end)
        end = int(came[end])
    return cuts[::-1]


def _slopes(y: Array, cut: int) -> bool:
    """Whether a straight line says as much as a step does."""
    t = np.arange(len(y)) - (len(y) - 1) / 2
    x = y - y.mean()
    line = float(t @ x) ** 2 / float(t @ t)
    step = float(x[:cut].sum()) ** 2 * len(y) / (cut * (len(y) - cut))
    return line >= step


def _where(part: Array, cut: int, noise: _Noise) -> tuple[int, int, int]:
    """Where in a part the step is: median, and the middle 90 %, by likelihood under autocorrelation of first order."""
    n = len(part)
    if noise.sd <= 0 or n < 5:
        return cut, cut, cut
    r = noise.follow
    scale = noise.sd
    white = np.append(part[0] * np.sqrt(1 - r * r), part[1:] - r * part[:-1]) / scale
    ones = np.append(np.sqrt(1 - r * r), np.full(n - 1, 1 - r)) / scale
    k = np.arange(2, n - 1)
    # regressors: all ones, and a step at k: 1 at k, then 1 - r
    steps_y = (white[k] / scale) + np.append(_tails(white) * (1 - r) / scale, 0.0)[k + 1]
    steps_1 = (ones[k] / scale) + np.append(_tails(ones) * (1 - r) / scale, 0.0)[k + 1]
    steps_s = (1 + (n - 1 - k) * (1 - r) ** 2) / scale**2
    ones_y, ones_1 = float(ones @ white), float(ones @ ones)
    left = steps_s - steps_1**2 / ones_1
    gain = (steps_y - steps_1 * ones_y / ones_1) ** 2 / np.maximum(left, 1e-12)
    weight = np.exp(0.5 * (gain - gain.max()))
    total = np.cumsum(weight) / weight.sum()
    middle, low, high = (int(k[min(len(k) - 1, int(np.searchsorted(total, each)))]) for each in (0.5, 0.05, 0.95))
    step = abs(float(part[middle:].mean() - part[:middle].mean()))
    near = int(min(n / 10, 6 * (noise.long / step) ** 2)) if step > 0 else n // 10
    about = np.convolve(weight, np.ones(2 * near + 1), mode="full")[near : near + len(weight)]
    good = k[about >= 0.98 * about.max()]
    return int(good[int(np.argmin(np.abs(good - middle)))]), low, high


def _tails(values: Array) -> Array:
    """By place, the sum from there on."""
    return np.asarray(np.cumsum(values[::-1])[::-1], dtype=np.float64)
