"""Seasons: which periods does a series repeat itself with, and what is left without them?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAST_VALUES = 16  # fewer tell of no season
CYCLES = 3  # of a period that must be in the series, or it is not told from a trend and a step
HARMONICS = (1, 2, 3, 5, 8)  # how many of them are taken together
NEAR = 6  # frequencies to either side, at least, that the floor of the spectrum is taken from
OCTAVE = 2.2  # the same as a ratio of frequencies
MOST_WITHIN = 6  # a season of that many of another is one with it; one of more (a week of days) is of its own
SURE = 0.001  # chance below which a harmonic is there
DOUBT = 0.05  # chance above which it is not
MOST = 1e100  # of a value, that its square may be told
TO_SD = 1.4826  # a normal distribution's standard deviation over its median absolute deviation


class Period(NamedTuple):
    """A season."""

    length: int  # [steps], 2 or more
    strength: float  # share of the variance about the trend that repeats with it, in (0, 1]
    p: float  # chance to find one as clear anywhere in a series that has none, in [0, 1]


class Parts(NamedTuple):
    """What a series is the sum of; each (n,) in the series' unit, and of no gaps but for the rest's."""

    trend: Array
    seasons: tuple[Array, ...]  # one by one as their periods were given
    rest: Array  # NaN where the series has none


def periods(
    values: npt.ArrayLike,
    *,
    most: int | None = None,
    likely: Sequence[int] = (),
    false: float = 0.01,
    least: float = 0.02,
) -> tuple[Period, ...]:
    """The lengths with which a series of equal steps repeats itself, the clearest first.

    values: (n,) NaN for a gap. most: the longest that is looked for [steps]; at least ``CYCLES`` of each must be there.
    likely: lengths that are taken in the place of others that the series cannot tell from them (a day, a week).
    false: chance to find any in a series without seasons, about, in (0, 1). least: strength below which one is not
    worth telling, in [0, 1].

    A peak of the periodogram counts by how far it stands above the spectrum around it, so that what is smooth there
    (autocorrelation, a trend, a step, a random walk) is no season; the powers of a peak and its harmonics are combined
    as p-values (Fisher 1925), as a season need not be a sine. What it explains is taken out before the next is looked
    for: harmonics and side lobes are not told again. At last the autocorrelation at the length must be higher than
    half a length off (Vlachos, Yu & Castelli, SDM 2005).

    >>> hours = np.arange(30 * 24)
    >>> [each.length for each in periods(np.sin(2 * np.pi * hours / 24) + np.sin(hours**2))]
    [24]
    """
    x = numbers(values)
    n = len(x)
    seen = np.isfinite(x)
    longest = n // CYCLES if most is None else min(most, n // CYCLES)
    if seen.sum() < max(LEAST_VALUES, n // 3) or longest < 2:
        return ()
    top = float(np.abs(x[seen]).max())
    x = _straight(_clipped(filled(x)))
    total = float(x @ x)
    if total <= 1e-20 * n * top**2:
        return ()
    found: list[Period] = []
    taken: list[float] = []  # frequencies [1/step]
    for _ in range(4):
        best = _clearest(x, longest, taken)
        if best is None or best[1] > false:
            break
        others = [p.length for p in found]
        tried: list[Array] = []  # what is left by each
        for frequency in dict.fromkeys((best[0], best[3])):  # of a very clear peak even what leaks may seem a harmonic
            length = _length(x, frequency, best[2], longest, [*likely, *_related(found, longest)], others)
            taken += [frequency, 1 / length]
            rest = x - fold(x, length)
            spare = n - length
            gain = float(x @ x) - float(rest @ rest) * (n - 1) / spare if spare > 0 else 0.0
            tried.append(rest)
            if _repeats(x, length) and gain >= least * total and length not in others:
                found.append(Period(length, min(1.0, gain / total), float(best[1])))
                tried = [rest]
                break
        x = tried[0]
        if float(x @ x) <= 1e-9 * total:
            break
    return tuple(found)


def split(values: npt.ArrayLike, periods: Sequence[Period | int] = ()) -> Parts:
    """A series as trend, seasons and rest.

    values: (n,) NaN for a gap. periods: as found, or lengths [steps]; those of which there are not two in the series
    have a season of zeros. Odd values are kept out of trend and seasons and stay in the rest.
    One season by locally weighted regression (STL, Cleveland et al., J. Official Statistics 1990), several by turns,
    the shortest first (MSTL, Bandara, Hyndman & Bergmeir 2021); a profile that does not change where there are fewer
    than five of a period, as regression would follow each. Departure: outliers are drawn in once before, beside a
    profile of medians, instead of weighing each anew in every round (some 7 times as fast).
    """
    x = numbers(values)
    n = len(x)
    lengths = [each.length if isinstance(each, Period) else int(each) for each in periods]
    seasons = [np.zeros(n) for _ in lengths]
    usable = sorted((k for k, length in enumerate(lengths) if 2 <= length <= n // 2), key=lambda k: lengths[k])
    if not np.isfinite(x).any():
        return Parts(np.zeros(n), tuple(seasons), x.copy())
    rough, level = profiles(x, [lengths[k] for k in usable])
    known = level + sum(rough, np.zeros(n))
    gap = ~np.isfinite(x)
    off = np.where(gap, 0.0, x - known)
    scale = spread(off[~gap])
    calm = known + (np.clip(off, -4 * scale, 4 * scale) if scale > 0 else off)
    trend = level
    for place, k in enumerate(usable):
        seasons[k] = rough[place]
    for _ in range(1 if len(usable) == 1 else 2):
        for k in usable:
            others = sum((seasons[j] for j in usable if j != k), np.zeros(n))
            seasons[k], trend = _stl(calm - others, lengths[k])
    if not usable:
        trend = _running(calm, max(5, n // 8))
    return Parts(trend, tuple(seasons), x - trend - sum(seasons, np.zeros(n)))


def numbers(values: npt.ArrayLike) -> Array:
    """A copy in one row; what is not finite, or beyond 1e100, is NaN."""
    x = np.array(values, dtype=np.float64).ravel()
    x[~(np.abs(x) <= MOST)] = np.nan
    return x


def profiles(values: Array, lengths: Sequence[int]) -> tuple[list[Array], Array]:
    """Seasons that do not change, by medians, and the level that runs below them: (n,) each, of no gaps.

    lengths: [steps], each at most half of the series. The level is a running median over the longest, and so keeps a
    step as it is. Twice by turns, the shortest first.
    """
    n = len(values)
    x = np.array(values, dtype=np.float64)
    seasons = [np.zeros(n) for _ in lengths]
    width = min(n, 2 * max(lengths) + 1) if lengths else min(n, 2 * max(3, n // 16) + 1)
    level = running_median(x, width)
    for _ in range(2 if lengths else 0):
        for place, length in enumerate(lengths):
            others = sum((each for other, each in enumerate(seasons) if other != place), np.zeros(n))
            left = x - level - others
            cycles = -(-n // length)
            row = np.full(cycles * length, np.nan)
            row[:n] = left
            table = row.reshape(cycles, length)
            middle = _mean_of_middle(table)
            seasons[place] = np.tile(middle - middle.mean(), cycles)[:n]
        level = running_median(x - sum(seasons, np.zeros(n)), width)
    return seasons, level


def filled(values: Array) -> Array:
    """Gaps bridged by straight lines; as given where there are none."""
    gap = ~np.isfinite(values)
    if not gap.any() or gap.all():
        return values
    places = np.arange(len(values))
    out = values.copy()
    out[gap] = np.interp(places[gap], places[~gap], values[~gap])
    return out


def spread(values: Array) -> float:
    """Standard deviation by the median absolute deviation, or where that is 0 by the mean one; 0 of nothing."""
    if len(values) == 0:
        return 0.0
    off = np.abs(values - np.median(values))
    return float(np.median(off)) * TO_SD or float(off.mean()) * 1.2533


def fold(values: Array, length: int) -> Array:
    """The mean of each phase, about the mean of all, laid out along the series; of no gaps."""
    phase = np.arange(len(values)) % length
    counts = np.bincount(phase, minlength=length)
    means = np.bincount(phase, values, minlength=length) / np.maximum(counts, 1)
    return np.asarray((means - values.mean())[phase], dtype=np.float64)


def running_median(values: Array, width: int) -> Array:
    """The median over ``width`` values about each, NaN left out; at the ends of as many as there are on the longer
    side. Over wide windows by steps of a part of the width, with straight lines between.
    """
    n = len(values)
    half = max(1, width // 2)
    if n <= 2 * half:
        middle = np.nanmedian(values) if np.isfinite(values).any() else 0.0
        return np.full(n, middle)
    hop = max(1, half // 6)
    centres = np.unique(np.append(np.arange(half, n - half, hop), n - half - 1))
    windows = np.lib.stride_tricks.sliding_window_view(values, 2 * half + 1)[centres - half]
    if np.isfinite(values).all():
        middles = np.median(windows, axis=1)
    else:
        some = np.isfinite(windows).any(axis=1)
        middles = np.full(len(centres), np.nan)
        middles[some] = np.nanmedian(windows[some], axis=1)
        middles = filled(middles)
    return np.asarray(np.interp(np.arange(n), centres, middles), dtype=np.float64)


def _mean_of_middle(table: Array) -> Array:
    """By column the mean without what lies beyond 2 standard deviations (by medians) of the column's median."""
    seen = np.isfinite(table)
    some = seen.any(axis=0)
    middle = np.zeros(table.shape[1])
    middle[some] = np.nanmedian(table[:, some], axis=0)
    off = np.where(seen, table - middle, 0.0)
    bound = 2 * spread(off[seen])
    drawn = np.clip(off, -bound, bound).sum(axis=0)
    return np.asarray(middle + drawn / np.maximum(seen.sum(axis=0), 1), dtype=np.float64)


def _running(values: Array, width: int) -> Array:
    """Running mean, mirrored at the ends."""
    half = min(width // 2, len(values) - 1)
    if half < 1:
        return values.copy()
    wide = np.pad(values, half, mode="reflect")
    sums = np.cumsum(np.insert(wide, 0, 0.0))
    return np.asarray((sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1), dtype=np.float64)


def _stl(values: Array, length: int) -> tuple[Array, Array]:
    """Season and trend."""
    n = len(values)
    if n < 5 * length:
        season = fold(values - _running(values, length), length)
        return season, _running(values - season, 3 * length // 2)
    from statsmodels.tsa.seasonal import STL

    window = 13
    wide = int(np.ceil(1.5 * length / (1 - 1.5 / window))) | 1
    low = length + 1 if length % 2 == 0 else length + 2
    fit = STL(
        values,
        period=length,
        seasonal=window,
        trend=wide,
        low_pass=low,
        seasonal_deg=0,
        seasonal_jump=2,
        trend_jump=max(1, wide // 10),
        low_pass_jump=max(1, low // 10),
    ).fit(inner_iter=2, outer_iter=0)
    return np.asarray(fit.seasonal, dtype=np.float64), np.asarray(fit.trend, dtype=np.float64)


def _clipped(values: Array) -> Array:
    """Drawn in to 5 standard deviations (by medians) of the median."""
    scale = spread(values)
    middle = np.median(values)
    return np.asarray(np.clip(values, middle - 5 * scale, middle + 5 * scale), dtype=np.float64)


def _straight(values: Array) -> Array:
    """Less the line of least squares."""
    t = np.arange(len(values)) - (len(values) - 1) / 2
    x = values - values.mean()
    return np.asarray(x - t * float(t @ x / (t @ t)), dtype=np.float64)


def _spectrum(x: Array) -> Array:
    """Power at every half of a frequency: (n + 1,). The ends fade out, so that a trend does not leak everywhere."""
    return np.asarray(np.abs(np.fft.rfft(x * _taper(len(x)), 2 * len(x))) ** 2, dtype=np.float64)


def _taper(n: int) -> Array:
    """1, and to either side a cosine over a sixth."""
    ramp = np.minimum(1.0, np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) / (n / 6 + 1))
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * ramp), dtype=np.float64)


def _clearest(x: Array, longest: int, taken: Sequence[float]) -> tuple[float, float, int, float] | None:
    """Frequency [1/step], chance in a series without seasons, how many harmonics show it, and the frequency of the peak
    itself, of which the first may be a part; None: nothing to try."""
    n = len(x)
    logs = _log_tail(_spectrum(x), n)
    frequency = np.arange(n + 1) / (2 * n)
    open_ = np.ones(n + 1, dtype=bool)
    for each in taken:
        for multiple in range(1, max(1, round(0.5 / each)) + 1):
            open_ &= np.abs(frequency - multiple * each) > 1.6 / n
    logs = np.where(open_, logs, 0.0)
    k = np.arange(int(np.ceil(2 * n / longest)), n + 1)  # periods of longest … 2 steps
    k = k[open_[k]]
    if not len(k):
        return None
    tried = 0.5 * k * np.log(max(2.0, n / 2))  # as many to each octave
    sums = np.zeros(len(k))
    best: tuple[float, float, int] | None = None
    for h in range(1, HARMONICS[-1] + 1):
        inside = h * k <= n
        sums = sums + np.where(inside, logs[np.minimum(h * k, n)], 0.0)
        if h not in HARMONICS or not inside.any():
            continue
        chance = np.where(inside, _gamma_tail(sums, h) * tried * (1 if h == 1 else 2), np.inf)
        top = int(np.argmin(chance))
        if best is None or chance[top] < 0.1 * best[1]:
            best = (float(frequency[k[top]]), float(chance[top]), h)
    if best is None or best[1] > 1:
        return None if best is None else (*best, best[0])
    return _fundamental(logs, best, n, longest)


def _fundamental(logs: Array, best: tuple[float, float, int], n: int, longest: int) -> tuple[float, float, int, float]:
    """What the peak is a harmonic of, if of anything: where others than its own multiples stand out, too. And the
    other way round, where only every second, third … of its multiples does.
    """

    def beside(base: float, m: int) -> float:
        """Chance of such multiples of ``base`` as are none of ``m * base``: of the clearest or of all."""
        others = [h for h in range(1, int(0.5 / base) + 1) if h % m][: 2 * HARMONICS[-1]]
        if not others:
            return 1.0
        tails = np.array([logs[round(2 * n * h * base)] for h in others])
        clearest = len(others) * float(np.exp(-tails.max()))
        return 2 * min(clearest, float(_gamma_tail(float(tails.sum()), len(tails))))

    base, chance, harmonics = best
    for m in range(MOST_WITHIN, 1, -1):
        if m * base <= 0.5 and beside(base, m) > DOUBT:
            base = m * base
            break
    chosen, least = base, SURE
    for m in range(2, MOST_WITHIN + 1):
        if base / m * longest < 1 - 0.5 * longest / n:
            break
        told = beside(base / m, m)
        if told < least:
            chosen, least = base / m, told
    return chosen, chance, harmonics, base


def _log_tail(power: Array, n: int) -> Array:
    """By frequency, how unlikely so much power is beside that of its surroundings [nats]."""
    logs = np.log(power + 1e-300 + 1e-12 * power.max())
    place = np.log(np.maximum(np.arange(n + 1), 0.5))
    at, floors, counts = [], [], []
    centre = 4.0
    while centre < n:
        low = max(1, int(min(centre / OCTAVE, centre - 2 * NEAR)))
        high = min(n + 1, int(max(centre * OCTAVE, centre + 4 * NEAR)) + 1)
        y, t = logs[low:high], place[low:high] - np.log(centre)
        y = np.minimum(y, np.median(y) + 2.5)
        about = t - t.mean()
        slope = float(np.clip(about @ y / max(about @ about, 1e-12), -4.0, 0.5))
        at.append(np.log(centre))
        floors.append(float(np.median(y - slope * t)))
        counts.append((high - low) / 2)
        centre *= 1.2
    if not at:
        return np.zeros(n + 1)
    floor = np.interp(place, at, floors) + 2 * np.maximum(at[0] - place, 0.0)  # before the first: as a random walk's
    freedom = np.interp(place, at, counts) * 0.4  # a median tells half of what the values do, faded ends take of it
    ratio = np.exp(logs - floor) * np.log(2.0)
    return np.asarray(freedom * np.log1p(ratio / freedom), dtype=np.float64)


def _gamma_tail(total: Array | float, count: int) -> Array:
    """Chance that ``count`` values of an exponential distribution of mean 1 sum up to more."""
    sums = np.asarray(total, dtype=np.float64)
    term, kept = np.ones_like(sums), np.ones_like(sums)
    for j in range(1, count):
        term = term * sums / j
        kept = kept + term
    return np.asarray(np.exp(-sums) * kept)


def _related(found: Sequence[Period], longest: int) -> list[int]:
    """Multiples of what was found."""
    return [m * each.length for each in found for m in range(2, longest // each.length + 1)]


def _length(
    x: Array, frequency: float, harmonics: int, longest: int, likely: Sequence[int], found: Sequence[int]
) -> int:
    """The whole number of steps that a peak stands for."""
    n = len(x)
    low = max(2, int(np.floor(1 / (frequency + 0.7 / n))))
    high = min(longest, int(np.ceil(1 / max(frequency - 0.7 / n, 1 / (2 * n)))))
    lengths = np.arange(low, max(low, high) + 1)
    if len(lengths) > 60:
        lengths = np.unique(np.round(np.geomspace(low, high, 60)).astype(int))
        lengths = np.union1d(lengths, [each for each in likely if low <= each <= high]).astype(int)
    t = np.arange(n)
    power = np.zeros(len(lengths))
    tapered = x * _taper(n)
    for h in range(1, min(harmonics, 3) + 1):
        waves = np.exp(-2j * np.pi * np.outer(h / lengths, t))
        power += np.abs(waves @ tapered) ** 2
    top = float(power.max())
    for each in likely:
        place = np.flatnonzero(lengths == each)
        if len(place) and each not in found and power[place[0]] >= 0.8 * top:
            return int(each)
    return int(lengths[int(np.argmax(power))])


def _repeats(x: Array, length: int) -> bool:
    """Whether the series resembles itself more a length later than half a length later."""
    n = len(x)
    if length < 4:
        return True

    def alike(lag: int) -> float:
        return float(x[lag:] @ x[:-lag]) / (n - lag)

    off = (alike(length // 2) + alike(min(n - 2, length + length // 2))) / 2
    return alike(length) > max(0.0, off)
