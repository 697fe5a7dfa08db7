"""Forecasts: what comes next, and how far off that may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.season import Array, Period, numbers, spread

PACES = (0.0, 0.15, 0.4)  # of a profile: what each new cycle weighs; 0: all cycles alike
MEMORIES = (0.06, 0.3, 1.0)  # of the level: what each new value weighs
DRIFTS = (0.0, 0.03, 0.15)  # the same of the long mean of a series without seasons
SHARPNESS = 10  # a candidate that errs by a tenth more counts for a third
MOST_ORIGINS = 100
MOST_VALUES = 6000  # older ones are left out
FAR = 3.0  # standard deviations beyond which a value is drawn in before it is learnt from


class Forecast(NamedTuple):
    """The values to come: (ahead,) each, in the unit of the values; NaN where nothing was there to learn from."""

    mean: Array  # the middle of what is likely
    low: Array  # an interval that each value is in with the chance that was asked for
    high: Array


def forecast(
    values: npt.ArrayLike, periods: Sequence[Period | int] = (), ahead: int = 48, *, level: float = 0.9
) -> Forecast:
    """The next ``ahead`` values of a series of equal steps.

    values: (n,) NaN for a gap. periods: its seasons, as found, or lengths [steps]. level: of the intervals, in (0, 1).

    A profile of each season, learnt cycle by cycle with odd values drawn in (Gelper, Fried & Croux, J. Forecasting
    2010), and a level about it that is believed the less the further ahead (Gardner & McKenzie, Management Science
    1985). How fast the profile follows and how long the level remembers is weighed by the mean absolute error from
    origins within the history – all are mixed, the better ones more (Bates & Granger, Operational Research Quarterly
    1969). By how much the level is believed at each horizon is a regression over the same.
    The intervals are quantiles of those errors by horizon, of each side for itself, with the rank that makes them
    conformal (Vovk, Gammerman & Shafer 2005). Departure: as errors of neighbouring origins go together, the rank is
    that of half as many errors as there are origins; and errors of neighbouring horizons are pooled.
    """
    if ahead < 1:
        raise ValueError(f"ahead must be 1 or more, got {ahead!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level!r}")
    x = numbers(values)[-MOST_VALUES:]
    seen = np.isfinite(x)
    if not seen.any():
        nothing = np.full(ahead, np.nan)
        return Forecast(nothing, nothing.copy(), nothing.copy())
    n = len(x)
    lengths = sorted(
        {
            length
            for length in (each.length if isinstance(each, Period) else int(each) for each in periods)
            if 2 <= length <= n // 2
        }
    )
    candidates = []
    origins = _origins(n, lengths)
    reach = np.arange(1, ahead + 1)
    target = origins[:, None] + reach
    truth = np.where(target < n, x[np.minimum(target, n - 1)], np.nan)  # (origins, ahead)
    for pace in PACES if lengths else DRIFTS:
        base = _profiled(x, lengths, pace, ahead)
        for memory in MEMORIES:
            level_now = _level(x - base[:n], memory)
            at = np.append(origins, n - 1)
            shape = _ahead(base, at, reach, lengths, n)  # (origins + 1, ahead)
            off = level_now[at]
            trust = _trust(truth - shape[:-1], off[:-1])
            mean = shape + off[:, None] * trust
            errors = truth - mean[:-1]
            known = np.isfinite(errors)
            cost = float(np.abs(errors[known]).mean()) if known.any() else np.inf
            candidates.append((cost, mean[-1], errors))
    costs = np.array([each[0] for each in candidates])
    mean, errors = candidates[int(np.argmin(costs))][1:]
    if np.isfinite(costs).all() and costs.min() > 0:
        weights = (costs.min() / costs) ** SHARPNESS
        weights /= weights.sum()
        mean = sum((w * each[1] for w, each in zip(weights, candidates, strict=True)), np.zeros(ahead))
        errors = sum((w * each[2] for w, each in zip(weights, candidates, strict=True)), np.zeros_like(errors))
    low, high = _bounds(errors, x[seen], level)
    return Forecast(mean, mean + low, mean + high)


def _origins(n: int, lengths: Sequence[int]) -> npt.NDArray[np.int_]:
    """Values from which forecasts within the history are made: past the first cycles, at all phases alike."""
    first = min(n - 2, max(2, n // 4, 2 * lengths[0] if lengths else 0))
    if n < 4 or first < 1:
        return np.zeros(0, dtype=np.int_)
    count = min(MOST_ORIGINS, n - 1 - first)
    return np.unique(np.linspace(first, n - 2, count).astype(np.int_))


def _profiled(x: Array, lengths: Sequence[int], pace: float, ahead: int) -> Array:
    """For each value what earlier cycles let expect of it, and so for one cycle more: (n + longest,).

    One profile after the other, the shortest first, each of what those before it leave; a profile of few cycles is
    drawn towards zero. Without seasons: the mean of what was before.
    """
    n = len(x)
    longest = max(lengths, default=1)
    left = np.append(x, np.full(longest, np.nan))
    base = np.zeros(n + longest)
    first = _running_mean(left) if lengths or not pace else _following(left, pace)
    base += first
    left = left - first
    for place, length in enumerate(lengths):
        each = _cyclic(left, length, pace, shrink=0.0 if place == 0 else 2.0)
        base += each
        left = left - each
    return base


def _running_mean(x: Array) -> Array:
    """Before each value the mean of all so far, odd ones drawn in; of the first itself."""
    seen = np.isfinite(x)
    scale = spread(x[seen])
    middle = float(np.median(x[seen]))
    drawn = np.where(seen, np.clip(x, middle - 4 * scale, middle + 4 * scale) if scale > 0 else x, 0.0)
    counts = np.cumsum(seen)
    means = np.cumsum(drawn) / np.maximum(counts, 1)
    first = float(drawn[int(np.argmax(seen))])
    means = np.where(counts > 0, means, first)
    return np.append(first, means[:-1])


def _following(x: Array, pace: float) -> Array:
    """Before each value the mean of those so far, older ones counting less."""
    first = _running_mean(x)
    return np.append(first[0], first[:-1] + _level(x - first, pace)[:-1])


def _cyclic(x: Array, length: int, pace: float, *, shrink: float) -> Array:
    """The profile of that length that was known before each value."""
    cycles = -(-len(x) // length)
    row = np.full(cycles * length, np.nan)
    row[: len(x)] = x
    table = row.reshape(cycles, length)
    seen = np.isfinite(table)
    known = np.zeros((cycles, length))
    profile, weight = np.zeros(length), np.zeros(length)
    scale = 0.0
    for cycle in range(cycles):
        known[cycle] = profile * (weight / (weight + shrink) if shrink else 1.0)
        if cycle + 1 == cycles:
            break
        new = seen[cycle]
        off = np.where(new, table[cycle] - profile, 0.0)
        if cycle and new.any():
            usual = spread(off[new])
            scale = usual if scale == 0 else 0.7 * scale + 0.3 * usual
            if scale > 0:
                old = weight > 0
                off = np.where(old, np.clip(off, -FAR * scale, FAR * scale), off)
        weight = weight + new
        gain = np.maximum(pace, 1 / np.maximum(weight, 1))
        profile = profile + np.where(new, gain, 0.0) * off
    return known.ravel()[: len(x)]


def _level(off: Array, memory: float) -> Array:
    """After each value the weighted mean of deviations so far, odd ones drawn in: (n,)."""
    n = len(off)
    seen = np.isfinite(off)
    scale = spread(off[seen])
    drawn = np.where(seen, np.clip(off, -FAR * scale, FAR * scale), 0.0)
    if memory < 1:
        size = min(n, int(np.ceil(4 / memory)))
        weights = (1 - memory) ** np.arange(size)
        total = np.convolve(drawn, weights)[:n]
        share = np.convolve(seen.astype(np.float64), weights)[:n]
        return np.where(share > 0, total / np.maximum(share, 1 / weights.sum()), 0.0)
    last = np.maximum.accumulate(np.where(seen, np.arange(n), -1))
    return np.where(last >= 0, drawn[np.maximum(last, 0)], 0.0)


def _ahead(base: Array, at: npt.NDArray[np.int_], reach: npt.NDArray[np.int_], lengths: Sequence[int], n: int) -> Array:
    """What the profiles that are known after ``at`` say of the values ``reach`` further on."""
    if not lengths:
        return np.repeat(base[np.minimum(at + 1, n)][:, None], len(reach), axis=1)
    longest = lengths[-1]
    place = at[:, None] + 1 + (reach - 1) % longest
    return np.asarray(base[np.minimum(place, len(base) - 1)])


def _trust(left: Array, off: Array) -> Array:
    """By horizon, the share of today's deviation that is still there, in [0, 1]: (ahead,)."""
    ahead = left.shape[1]
    known = np.isfinite(left)
    scale = spread(left[known])
    drawn = np.where(known, np.clip(left, -FAR * scale, FAR * scale), 0.0)
    both = off @ drawn
    own = (off**2) @ known
    window = np.ones(1 + 2 * min(3, ahead // 8))
    both, own = (np.convolve(each, window, mode="same") for each in (both, own))
    prior = 0.05 * float(own.max()) + 1e-300 if len(off) else 1.0
    return np.asarray(np.clip(both / (own + prior), 0.0, 1.0))


def _bounds(errors: Array, seen: Array, level: float) -> tuple[Array, Array]:
    """By horizon, how far below and above the forecast a value may be: two of (ahead,)."""
    ahead = errors.shape[1]
    if np.isfinite(errors).sum() < 8:
        wide = 2.0 * float(np.ptp(seen))
        return np.full(ahead, -wide), np.full(ahead, wide)
    tail = (1 - level) / 2
    known = np.asarray(np.isfinite(errors))
    places = np.unique(np.round(np.geomspace(1, ahead, min(ahead, 16))).astype(np.int_)) - 1
    low, high = np.zeros(len(places)), np.zeros(len(places))
    for place, h in enumerate(places):
        near = max(1, int(h) // 4)
        inside = slice(max(0, int(h) - near), int(h) + near + 1)
        pool = errors[:, inside][known[:, inside]]
        if len(pool) < 8:
            pool = errors[known]
        count = max(4.0, len(pool) / (2 * near + 1) / 2)
        share = max(0.0, tail - (1 - 2 * tail) / (count + 1) / 2)
        low[place], high[place] = np.quantile(pool, [share, 1 - share])
    reach = np.arange(ahead)
    low, high = (np.asarray(np.interp(reach, places, each)) for each in (low, high))
    return np.minimum(low, 0.0), np.maximum(high, 0.0)
