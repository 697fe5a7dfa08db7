"""One odd value after another: how surprising is what a series shows now, given only what it showed before?

A detector looks at each value three times, each time at something that an incident changes:

- **level**: how far it is from what is usual at this hour of a working day or of a weekend;
- **pattern**: whether it follows upon the last values in a way that was seen before (a variable-order Markov model of
  the rounded residuals, at three roundings; what is new is unlikely). This finds what stays within the usual range;
- **mean**: how far the mean of the last ``SLOW`` residuals is from nought. This finds what is small and stays.

The surprise of a value is that of level and pattern together, or that of the mean, whichever is greater.

Each look gives a deviation; its surprise is ``-log10`` of the chance of so great a deviation, read off a tail that is
fitted to the deviations of the past. Tails are fitted and not assumed, so that a series with many spikes is not
surprised by one more. Nothing looks ahead: scale, range and spacing are taken from a first part, the *probation*, in
which nothing is said; everything else is learned as it comes, and older values fade.

Sources: tails as in Siffer et al. 2017 (SPOT), with the moment estimator of Dekkers, Einmahl & de Haan 1989 instead of
maximum likelihood, as its sums need no values kept; the pattern is blended over orders as in Cleary & Witten 1984
(PPM), without escapes; alarms that must be a new maximum, and a level that grows with the number of looks, as in
Foster & Stine 2008 (alpha spending).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

PROBATION = 200  # observations that set scale, range and spacing
LEAST_PROBATION, MOST_PROBATION = 30, 750
HALF_LIFE = 4000.0  # observations until one of the past weighs a half in a tail
DAYS = 7.0  # days until a usual value of an hour is forgotten to 1/e
SHRINK = (
    0.5  # hours of an hour's values that its parent counts for: an hour leans on the level, a weekend hour on the hour
)
SLOW = 100  # observations of the slow mean
ROUNDINGS = (8, 16, 32)  # levels that the range of the probation is cut into, for the pattern
ORDERS = (0, 1, 2, 3, 5)  # values before that the pattern looks back
TRUST = 0.5  # what a shorter context weighs, in observations of the longer one
PATTERN = 6  # observations over which the novelty of the pattern is averaged
MOST_CONTEXTS = 15_000  # entries of the pattern's memory; beyond them, all counts are halved
MOST = 20.0  # surprise of one look: beyond it no difference is of use [log10]
_LARGEST = 1e100  # beyond it, a value counts as this
GAP = 10.0  # spacings without a value after which the last values are no context any more

# A tail: counts on a logarithmic axis, of deviations in units of a scale.
_PER_DOUBLING, _BINS, _ZERO = 4, 200, 60
_STEP = math.log(2) / _PER_DOUBLING
_TAIL = 0.15  # share of the deviations that the tail is fitted to
_FEWEST = 10.0  # deviations that it is fitted to at least
_PRIOR = 10.0  # deviations that the shape supposed before counts for: mean log excess 0.25, as of an exponential tail
_REFIT = 10  # observations between two fits
_FIRST = 30  # deviations before a tail says anything
_CENTRES = (np.arange(_BINS) - _ZERO + 0.5) * _STEP
_SYMBOL = 7  # bits of a rounded value
_LOG10 = math.log(10)


class Alarm(NamedTuple):
    """A value that is out of the ordinary."""

    place: int  # of the value in the series as given
    time: float  # Unix time [s]
    surprise: float  # [log10]
    threshold: float  # that it passed [log10]


class Tail:
    """The chance of so great a deviation, from the deviations of the past, which fade. O(1) memory."""

    __slots__ = (
        "_beyond",
        "_fitted",
        "_from",
        "_share",
        "_since",
        "_width",
        "_xi",
        "counts",
        "grown",
        "keep",
        "scale",
        "total",
    )

    def __init__(self, scale: float, half_life: float = HALF_LIFE) -> None:
        """scale: a usual deviation, > 0 [unit of the deviation]; half_life: in observations, > 0."""
        self.scale = scale
        self.keep = 0.5 ** (1.0 / half_life)
        self.counts = np.zeros(_BINS)
        self.total = 0.0
        self.grown = 1.0  # weight of the next deviation: weights grow instead of old ones shrinking
        self._fitted = False
        self._since = 0
        self._beyond: list[float] = []
        self._from = self._share = self._xi = self._width = 0.0

    def _fit(self) -> None:
        beyond = np.cumsum(self.counts[::-1])[::-1]
        want = max(_TAIL * self.total, _FEWEST * self.grown)
        first = max(int(np.count_nonzero(beyond > want)) - 1, 0)  # counts beyond a bin fall: the last above the wanted
        start = (first - _ZERO) * _STEP
        weights = self.counts[first:] / self.grown
        excess = _CENTRES[first:] - start
        number = float(weights.sum()) + _PRIOR
        one = (float(weights @ excess) + _PRIOR * 0.25) / number
        two = (float(weights @ (excess * excess)) + _PRIOR * 2 * 0.25**2 * 0.75) / number
        negative = 1 - 0.5 / max(1 - one * one / two, 1e-3)  # Dekkers et al. 1989, eq. 2.6
        self._xi = min(max(one + negative, 0.0), 1.0)  # never an end of all deviations, never without a mean
        self._width = max(one * (1 - min(negative, 0.0)), 1e-3)
        self._share = float(beyond[first]) / self.total
        self._from = start
        self._beyond = (beyond / self.total).tolist()
        self._fitted = True
        self._since = 0

    def update(self, deviation: float) -> float:
        """The surprise of a deviation >= 0 in [0, ``MOST``] [log10]; then takes it in."""
        place = math.log(max(deviation / self.scale, 1e-6))
        cell = min(max(math.floor(place / _STEP) + _ZERO, 0), _BINS - 1)
        said = 0.0
        if self.total >= _FIRST * self.grown * 0.5:
            if not self._fitted or self._since >= _REFIT:
                self._fit()
            if place <= self._from:
                said = -math.log10(max(self._beyond[cell], self._share, 1e-9))
            else:
                over = math.expm1(min(place - self._from, 50.0)) / self._width
                said = math.log1p(self._xi * over) / self._xi if self._xi > 1e-3 else over
                said = said / _LOG10 - math.log10(self._share)
        self._since += 1
        self.grown /= self.keep
        self.counts[cell] += self.grown
        self.total += self.grown
        if self.grown > 1e100:
            self.counts /= self.grown
            self.total /= self.grown
            self.grown = 1.0
        return min(max(said, 0.0), MOST)

    def dump(self) -> dict[str, Any]:
        """Plain values."""
        plain = {name.lstrip("_"): getattr(self, name) for name in self.__slots__ if name != "counts"}
        return {**plain, "counts": self.counts.tolist()}

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> Tail:
        """From what ``dump`` gave."""
        tail = cls(kept["scale"])
        for name in cls.__slots__:
            value = kept[name.lstrip("_")]
            setattr(tail, name, np.array(value) if name == "counts" else list(value) if name == "_beyond" else value)
        return tail


class Profile:
    """What is usual at an hour of the day, on working days and at weekends (UTC). O(1) memory.

    An hour that has seen little leans on the level of all, an hour of the weekend on the same hour of all days.
    """

    __slots__ = ("all", "cells", "hours", "keep", "keep_all", "per_hour")

    def __init__(self, spacing: float) -> None:
        """spacing: usual time between two values, > 0 [s]."""
        self.per_hour = max(3600.0 / spacing, 1.0)
        self.keep = 1 - 1 / (self.per_hour * max(DAYS, 1.0 + 1e-9))
        self.keep_all = 1 - 1 / (24 * self.per_hour * DAYS)
        self.all = [0.0, 0.0]
        self.hours = [[0.0, 0.0] for _ in range(24)]
        self.cells = [[0.0, 0.0] for _ in range(48)]

    def residual(self, time: float, value: float) -> float:
        """The value less what is usual then; then takes it in."""
        day, second = divmod(time, 86400.0)
        hour = int(second // 3600) % 24
        of_hour = self.hours[hour]
        cell = self.cells[hour + 24 * (int(day + 3) % 7 >= 5)]
        total, weight = self.all
        level = total / weight if weight else value
        lean = SHRINK * self.per_hour
        usual = (of_hour[0] + lean * level) / (of_hour[1] + lean)
        usual = (cell[0] + lean * usual) / (cell[1] + lean)
        for sums, keep in ((cell, self.keep), (of_hour, self.keep), (self.all, self.keep_all)):
            sums[0] = keep * sums[0] + value
            sums[1] = keep * sums[1] + 1
        return value - usual

    def dump(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> Profile:
        """From what ``dump`` gave."""
        profile = cls(3600.0)
        for name in cls.__slots__:
            value = kept[name]
            setattr(
                profile,
                name,
                [list(each) if isinstance(each, list) else each for each in value]
                if isinstance(value, list)
                else value,
            )
        return profile


class Pattern:
    """How unlikely a value is after the last ones, by what followed upon the like before. Bounded memory."""

    __slots__ = ("counts", "levels", "low", "recent", "size", "step", "totals")

    def __init__(self, low: float, high: float, levels: int) -> None:
        """low, high: usual range of the values; levels: it is cut into, 1 to 40."""
        self.low = low
        self.step = (high - low) / levels
        self.levels = levels
        self.recent = 0  # the last values, rounded, ``_SYMBOL`` bits each
        self.size = 0  # of them that are known
        self.totals: dict[int, int] = {}
        self.counts: dict[int, int] = {}

    def forget_recent(self) -> None:
        """What comes next follows upon nothing."""
        self.recent = self.size = 0

    def update(self, value: float) -> float:
        """``-log10`` of the chance of the value; then takes it in. A value far out counts as the level at the end."""
        levels = self.levels
        place = (value - self.low) / self.step
        symbol = 0 if place < -levels else 3 * levels if place >= 2 * levels else math.floor(place) + levels
        chance = 1.0 / (3 * levels)
        totals, counts, recent, size = self.totals, self.counts, self.recent, self.size
        for order in ORDERS:
            if order > size:
                break
            key = (recent & ((1 << (_SYMBOL * order)) - 1)) << 3 | order
            total = totals.get(key)
            follower = key << _SYMBOL | symbol
            if total is None:
                totals[key] = counts[follower] = 1
                chance *= 1.0
            else:
                seen = counts.get(follower, 0)
                chance = (seen + TRUST * chance) / (total + TRUST)
                totals[key] = total + 1
                counts[follower] = seen + 1
        self.recent = (recent << _SYMBOL | symbol) & ((1 << (_SYMBOL * ORDERS[-1])) - 1)
        self.size = min(size + 1, ORDERS[-1])
        if len(counts) > MOST_CONTEXTS:
            self._fade()
        return -math.log10(chance)

    def _fade(self) -> None:
        self.counts = {key: count >> 1 for key, count in self.counts.items() if count > 1}
        totals: dict[int, int] = {}
        for key, count in self.counts.items():
            context = key >> _SYMBOL
            totals[context] = totals.get(context, 0) + count
        self.totals = totals

    def dump(self) -> dict[str, Any]:
        """Plain values."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "totals": list(self.totals.items()), "counts": list(self.counts.items())}

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> Pattern:
        """From what ``dump`` gave."""
        pattern = cls(0.0, 1.0, 1)
        for name in cls.__slots__:
            setattr(pattern, name, dict(kept[name]) if name in ("totals", "counts") else kept[name])
        return pattern


class Detector:
    """The surprise of each value of a series, as it comes. Memory is bounded; nothing looks ahead.

    In the probation (the first values) the surprise is 0.0. A value that is no finite number says and teaches nothing
    (0.0; counted in ``skipped``), and so does a time that is none. Values count in the order in which they come: a time
    that goes back (clocks that disagree) tells only the hour; one that is seen twice is a further observation. After a
    gap of more than ``GAP`` spacings, what follows is not held against what was before the gap, but for its level.
    """

    __slots__ = (
        "_first",
        "_last",
        "_level",
        "_mean",
        "_novel",
        "_novelty",
        "_patterns",
        "_profile",
        "_slow",
        "_sum",
        "probation",
        "skipped",
        "spacing",
    )

    def __init__(self, *, probation: int = PROBATION) -> None:
        """probation: values that set scale, range and spacing, at least ``LEAST_PROBATION``.

        Raises ValueError for fewer.
        """
        if probation < LEAST_PROBATION:
            raise ValueError(f"probation must be at least {LEAST_PROBATION} observations, got {probation!r}")
        self.probation = probation
        self.spacing = 0.0  # usual time between two values [s]; 0.0 in the probation
        self.skipped = 0
        self._first: list[tuple[float, float]] | None = []
        self._last = -math.inf
        self._profile = Profile(3600.0)
        self._level = self._mean = self._novel = Tail(1.0)
        self._patterns: list[Pattern] = []
        self._slow: deque[float] = deque(maxlen=SLOW)
        self._novelty: deque[float] = deque(maxlen=PATTERN)
        self._sum = 0.0

    def update(self, time: float, value: float) -> float:
        """The surprise of a value >= 0 [log10]; then takes it in. time: Unix time [s].

        Values beyond ``1e100`` count as ``1e100``, with their sign.
        """
        if not (math.isfinite(value) and math.isfinite(time)):
            self.skipped += 1
            return 0.0
        value = min(max(value, -_LARGEST), _LARGEST)
        if self._first is None:
            return self._step(time, value)
        self._first.append((time, value))
        if len(self._first) >= self.probation:
            first, self._first = self._first, None
            self._begin(first)
        return 0.0

    def _begin(self, first: Sequence[tuple[float, float]]) -> None:
        """Scale, range and spacing from the probation; then its values, as if they came now."""
        times = np.array([time for time, _ in first])
        values = np.array([value for _, value in first])
        steps = np.diff(times)
        steps = steps[steps > 0]
        self.spacing = max(float(np.median(steps)), 1e-6) if len(steps) else 1.0
        self._profile = Profile(self.spacing)
        residuals = np.array([self._profile.residual(time, value) for time, value in first])
        sizes = np.abs(residuals)
        least = max(1e-4 * float(np.mean(np.abs(values))), 1e-9)  # what is below is no deviation
        spread = float(np.std(residuals))
        low, high = float(residuals.min()), float(residuals.max())
        if high - low < least:
            low, high = low - least, high + least
        self._level = Tail(max(float(np.median(sizes)), 1e-2 * spread, least))
        self._patterns = [Pattern(low, high, levels) for levels in ROUNDINGS]
        slow = [abs(float(np.sum(residuals[max(end - SLOW, 0) : end])) / SLOW) for end in range(1, len(first) + 1)]
        self._mean = Tail(max(float(np.median(slow)), 1e-2 * float(np.std(slow)), 0.1 * least))
        self._novel = Tail(1.0)
        self._profile = Profile(self.spacing)
        for time, value in first:
            self._step(time, value)

    def _step(self, time: float, value: float) -> float:
        if time - self._last > GAP * self.spacing:
            self._slow.clear()
            self._novelty.clear()
            self._sum = 0.0
            for pattern in self._patterns:
                pattern.forget_recent()
        self._last = max(self._last, time)
        residual = self._profile.residual(time, value)
        level = self._level.update(abs(residual))
        new = 0.0
        for pattern in self._patterns:
            new += pattern.update(residual)
        self._novelty.append(new)
        novel = self._novel.update(sum(self._novelty) / (PATTERN * len(ROUNDINGS)))
        if len(self._slow) == SLOW:
            self._sum -= self._slow[0]
        self._slow.append(residual)
        self._sum += residual
        mean = self._mean.update(abs(self._sum) / SLOW)
        return max(level + novel, mean)

    def dump(self) -> dict[str, Any]:
        """All that it knows, as plain values (JSON)."""
        return {
            "probation": self.probation,
            "spacing": self.spacing,
            "skipped": self.skipped,
            "first": self._first,
            "last": self._last if math.isfinite(self._last) else None,
            "profile": self._profile.dump(),
            "tails": [tail.dump() for tail in (self._level, self._mean, self._novel)],
            "patterns": [pattern.dump() for pattern in self._patterns],
            "slow": list(self._slow),
            "novelty": list(self._novelty),
            "sum": self._sum,
        }

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> Detector:
        """From what ``dump`` gave: goes on as if nothing had been."""
        detector = cls(probation=kept["probation"])
        detector.spacing = kept["spacing"]
        detector.skipped = kept["skipped"]
        detector._first = None if kept["first"] is None else [(time, value) for time, value in kept["first"]]
        detector._last = -math.inf if kept["last"] is None else kept["last"]
        detector._profile = Profile.load(kept["profile"])
        detector._level, detector._mean, detector._novel = (Tail.load(tail) for tail in kept["tails"])
        detector._patterns = [Pattern.load(pattern) for pattern in kept["patterns"]]
        detector._slow.extend(kept["slow"])
        detector._novelty.extend(kept["novelty"])
        detector._sum = kept["sum"]
        return detector


def probation_of(number: int) -> int:
    """A probation for a whole series of so many values: 15 % of it, in [30, 750], as the NAB has it.

    >>> probation_of(1000), probation_of(10), probation_of(10**6)
    (150, 30, 750)
    """
    return min(max(int(0.15 * number), LEAST_PROBATION), MOST_PROBATION)


def surprises(times: npt.ArrayLike, values: npt.ArrayLike, *, probation: int | None = None) -> Array:
    """The surprise of each value of a whole series: what a ``Detector`` says, in the order of the times [log10].

    times: (n,) Unix times [s], in any order: taken in time's order, equal times in the order given; values: (n,);
    probation: ``probation_of(n)`` where not given. Returns (n,), beside the values given; 0.0 in the probation and for
    values that are no finite number; empty for empty. Raises ValueError where shapes differ.
    """
    at, seen = _series(times, values)
    detector = Detector(probation=probation_of(len(at)) if probation is None else probation)
    order = np.argsort(at, kind="stable")
    out = np.empty(len(at))
    update = detector.update
    out[order] = [update(time, value) for time, value in zip(at[order].tolist(), seen[order].tolist(), strict=True)]
    return out


def _series(times: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Array, Array]:
    at, seen = np.asarray(times, float), np.asarray(values, float)
    if at.ndim != 1 or at.shape != seen.shape:
        raise ValueError(f"times and values must be of one length, got shapes {at.shape} and {seen.shape}")
    return at, seen


def held(surprise: npt.ArrayLike, hold: int) -> Array:
    """Each surprise that is above all of the ``hold`` before it; 0.0 for the others: one alarm per incident, not many.

    hold: >= 0 observations. O(n).

    >>> held([0, 1, 3, 2, 3, 4], 2).tolist()
    [0.0, 1.0, 3.0, 0.0, 0.0, 4.0]
    """
    out = []
    recent: deque[tuple[int, float]] = deque()
    for place, value in enumerate(np.asarray(surprise, float).tolist()):
        while recent and recent[0][0] < place - hold:
            recent.popleft()
        out.append(value if not recent or value > recent[0][1] else 0.0)
        while recent and recent[-1][1] <= value:
            recent.pop()
        recent.append((place, value))
    return np.array(out, dtype=float)


def spent(surprise: npt.ArrayLike) -> Array:
    """The surprise less ``log10`` of the number of looks so far: a threshold on it spends ever less per look.

    With it the number of false alarms of a series grows as the logarithm of its length only (alpha spending). At
    the thousandth look nothing changes but for the constant 1 that keeps small ones above 0.
    """
    value = np.asarray(surprise, float)
    looks = np.maximum(np.arange(len(value)), 1)
    return np.asarray(np.maximum(value - np.log10(looks / 1000) + 1, 0.0))


# Against a past that holds incidents.

_KEPT = 600  # values of a baseline
_UPPER = 0.1  # share of them that its tail is fitted to
_CUT = 8.0  # upper quartile's distances from the median beyond which a value of the history is no usual one
_SPACES = 10.0  # and at least so many of ``least``
_SUPPOSED = 5.0  # values that a tail as wide as the middle counts for
_LEARN = 3.0  # surprise from which a value is not learned from [log10]
_PATIENCE = 30  # values in a row after which what is surprising is the new usual
_USUAL = 15  # values before it says anything


_LOOKED_OVER = (15, 30, 60, 120, 240, 480)  # numbers of values at which what stands out among them is dropped


def _usual(ranked: Array, least: float) -> Array:
    """Ranked values without those that stand out above."""
    while len(ranked) >= _USUAL:
        median, upper = ranked[len(ranked) // 2], ranked[3 * len(ranked) // 4]
        fewer = ranked[ranked <= median + max(_CUT * (upper - median), _SPACES * least)]
        if len(fewer) == len(ranked):
            break
        ranked = fewer
    return ranked


class Baseline:
    """How far above the usual a value is, where the past may hold incidents: in up to a fifth of it, or so.

    For series of one service that are watched for getting worse, as logarithms of latencies or shares of failures; a
    ``Detector`` in its stead learns from all, and takes an incident that comes again and again for usual. The usual is
    the median of up to ``_KEPT`` values; above their upper tenth an exponential tail is fitted, in which the distance
    of that tenth from the median counts for a few values. What is surprising is not learned from, but for
    ``_PATIENCE`` of it in a row. Small values are never a surprise: where a fall is bad, give the negative.
    """

    __slots__ = ("_new", "_order", "_row", "least", "values")

    def __init__(self, history: npt.ArrayLike = (), *, least: float) -> None:
        """history: values from before, in any order; what stands out among them is dropped, and of many a regular
        choice by rank is kept; least: difference that is none, > 0 [unit of the values].

        Raises ValueError for a ``least`` that is not > 0.
        """
        if not least > 0:
            raise ValueError(f"least must be > 0, got {least!r}")
        self.least = least
        seen = np.asarray(history, float)
        kept = _usual(np.sort(seen[np.isfinite(seen)]), least)
        self.values: list[float] = kept[:: max(1, math.ceil(len(kept) / _KEPT))].tolist()  # ranked
        self._order = deque(np.random.default_rng(0).permutation(self.values).tolist())  # which goes next
        self._row = 0
        self._new = not self.values  # whether what stands out is still dropped: not once something has come to stay

    def surprise(self, value: float) -> float:
        """How surprising a value is, >= 0 [log10]; 0.0 where it is no number, or where too little was seen."""
        number = len(self.values)
        if number < _USUAL or math.isnan(value):
            return 0.0
        start = int(number * (1 - _UPPER))
        median, edge = self.values[number // 2], self.values[start]
        share = 1 - start / number
        if value <= edge:
            return max(-math.log10((number - bisect_left(self.values, value) + 0.5) / (number + 1)), 0.0)
        middle = (edge - median) / math.log(0.5 / share)
        beyond = sum(self.values[start:]) - edge * (number - start)
        width = max((beyond + _SUPPOSED * middle) / (number - start + _SUPPOSED), self.least)
        return min((value - edge) / width / _LOG10 - math.log10(share), MOST)

    def update(self, value: float) -> float:
        """The same; then learns from the value where it is no surprise, or has come to stay."""
        said = self.surprise(value)
        if not math.isfinite(value):
            return said
        self._row = self._row + 1 if said >= _LEARN else 0
        if said < _LEARN or self._row > _PATIENCE:
            self._new = self._new and self._row <= _PATIENCE
            insort(self.values, value)
            self._order.append(value)
            if len(self._order) > _KEPT:
                self.values.pop(bisect_left(self.values, self._order.popleft()))
            elif self._new and len(self._order) in _LOOKED_OVER:
                self.values = _usual(np.array(self.values), self.least).tolist()
                most = self.values[-1]
                self._order = deque(each for each in self._order if each <= most)
        return said


def level_for(per_day: float, looks_per_day: float) -> float:
    """The surprise that so many of a day's looks pass by chance, over all series that are looked at [log10].

    per_day: false alarms wanted, > 0; looks_per_day: values a day, of all series together, > 0. Each look is taken at
    its word (``10 ** -surprise``); looks that depend on one another make fewer alarms than that, not more.

    >>> level_for(1.0, 10_000)
    4.0
    """
    if not (per_day > 0 and looks_per_day > 0):
        raise ValueError(f"per_day and looks_per_day must be > 0, got {per_day!r} and {looks_per_day!r}")
    return max(math.log10(looks_per_day / per_day), 1e-9)


# Alarms at a stated rate, or at the least cost.

_PEAKS = 1000  # peaks kept
_TOP = 0.25  # share of the peaks that the law of their tail is fitted to
_ENOUGH = 20  # peaks before it is fitted at all
_SPREAD = 2 / _LOG10  # mean excess of a peak supposed before: two looks that agree
_SPREAD_WEIGHT = 5.0  # peaks that it counts for
INCIDENT_MEAN = 8.0  # mean surprise of an incident where none are known [log10]


class PeakLaw(NamedTuple):
    """How often a peak of the surprise passes a level where nothing happens: exponential beyond a level."""

    level: float  # from which it holds [log10]
    per_day: float  # peaks beyond the level
    spread: float  # mean excess over it [log10]

    def rate(self, threshold: float) -> float:
        """Peaks per day beyond a threshold; below ``level`` the law is prolonged."""
        return self.per_day * math.exp(min((self.level - threshold) / self.spread, 50.0))

    def threshold(self, per_day: float) -> float:
        """Which threshold so many peaks per day pass, > 0 [log10]. per_day: > 0."""
        return max(self.level + self.spread * math.log(self.per_day / per_day), 1e-9)


def peak_law(peaks: Sequence[float], days: float) -> PeakLaw:
    """The law of the peaks seen, which incidents among them bend little: the spread is taken from the median excess.

    peaks: surprises that were new maxima, at least ``_ENOUGH`` [log10]; days: in which they came, > 0.
    Raises ValueError for fewer.
    """
    if len(peaks) < _ENOUGH:
        raise ValueError(f"{_ENOUGH} peaks are the least to fit a law to, got {len(peaks)}")
    return _law(np.sort(np.asarray(peaks, float)).tolist(), days)


def _law(ranked: Sequence[float], days: float) -> PeakLaw:
    """The same of ranked peaks, in O(1)."""
    top = max(int(_TOP * len(ranked)), _ENOUGH // 2)
    level = ranked[-top - 1] if top < len(ranked) else ranked[0]
    middle = 0.5 * (ranked[-((top + 1) // 2)] + ranked[-((top + 2) // 2)])
    excess = (middle - level) / math.log(2)
    spread = (top * excess + _SPREAD_WEIGHT * _SPREAD) / (top + _SPREAD_WEIGHT)
    return PeakLaw(level, top / max(days, 1e-9), max(spread, 0.05))


class Choice(NamedTuple):
    """A threshold, and what it is expected to cost."""

    threshold: float  # [log10]
    false_per_day: float
    missed: float  # share of the incidents that stay below it
    cost_per_day: float  # in the unit of the costs given


def least_cost(
    law: PeakLaw,
    *,
    alert_cost: float,
    missed_cost: float,
    incidents_per_day: float = 1 / 30,
    incidents: Sequence[float] = (),
) -> Choice:
    """The threshold with the least expected cost per day.

    The rule: ``alert_cost * false alarms per day + missed_cost * incidents per day * share missed``, at its least over
    thresholds in [0, 2 * ``MOST``]. An alert for a true incident is wanted, so that only the false ones are charged.
    law: of the peaks; alert_cost: of looking at one alert in vain, >= 0; missed_cost: of an incident that nobody is
    told of, > 0, in the same unit; incidents_per_day: as far as known, > 0; incidents: the peak surprises of known
    incidents [log10]; where there are none, they are taken for exponential with mean ``INCIDENT_MEAN``, and where
    there are few, the two are blended (5 supposed ones). Raises ValueError for what is out of range.
    """
    if not (alert_cost >= 0 and missed_cost > 0 and incidents_per_day > 0):
        raise ValueError(
            "alert_cost must be >= 0, missed_cost and incidents_per_day > 0, "
            f"got {alert_cost!r}, {missed_cost!r} and {incidents_per_day!r}"
        )
    grid = np.linspace(0.0, 2 * MOST, 801)
    supposed = 1 - np.exp(-grid / INCIDENT_MEAN)
    known = np.sort(np.asarray(incidents, float))
    missed = (np.searchsorted(known, grid, side="left") + 5 * supposed) / (len(known) + 5)
    false = law.per_day * np.exp(np.minimum((law.level - grid) / law.spread, 50.0))
    cost = alert_cost * false + missed_cost * incidents_per_day * missed
    best = int(np.argmin(cost))
    return Choice(float(grid[best]), float(false[best]), float(missed[best]), float(cost[best]))


class Gate:
    """Lets an alarm through: a new maximum of the surprise that passes a threshold for a wanted rate of false ones.

    The threshold comes from the peaks of the past, all but the present one. Until ``_ENOUGH`` peaks were
    seen it is what looks would need that all say the same: ``2 * log10(looks per day / wanted)``.
    Where costs are given, the rate follows from them (``least_cost``) and the peaks.
    """

    def __init__(
        self,
        *,
        per_day: float | None = None,
        costs: tuple[float, float, float] | None = None,
        hold: float = 3600.0,
    ) -> None:
        """per_day: false alarms wanted per day, > 0; or costs: of a false alert, of a missed incident, and incidents
        per day (see ``least_cost``); hold: time for which a maximum must be new, >= 0 [s].

        Raises ValueError where not one of the two is given, or a value is out of range.
        """
        if (per_day is None) == (costs is None):
            raise ValueError(f"give either per_day or costs, got per_day={per_day!r} and costs={costs!r}")
        if per_day is not None and not per_day > 0:
            raise ValueError(f"per_day must be > 0, got {per_day!r}")
        if not hold >= 0:
            raise ValueError(f"hold must be >= 0 seconds, got {hold!r}")
        if costs is not None:
            least_cost(PeakLaw(1.0, 1.0, 1.0), alert_cost=costs[0], missed_cost=costs[1], incidents_per_day=costs[2])
        self.per_day, self.costs, self.hold = per_day, costs, hold
        self.threshold = MOST * 2  # the last one in force [log10]
        self._recent: deque[tuple[float, float]] = deque()
        self._peaks: list[float] = []  # ranked
        self._order: deque[float] = deque()  # as they came
        self._looks = 0
        self._began = self._last = math.nan
        self._seen = 0.0  # time under watch [s]
        self._when: deque[float] = deque()  # time under watch at each peak kept [s]

    def _threshold(self) -> float:
        if len(self._peaks) >= _ENOUGH:
            law = _law(self._peaks, (self._seen - self._when[0]) / 86400.0)
        else:
            looks = 86400.0 * self._looks / self._seen if self._seen > 0 else 1440.0
            law = PeakLaw(0.0, looks, _SPREAD)
        if self.per_day is not None:
            return law.threshold(self.per_day)
        assert self.costs is not None
        alert, missed, incidents = self.costs
        return least_cost(law, alert_cost=alert, missed_cost=missed, incidents_per_day=incidents).threshold

    def update(self, time: float, surprise: float) -> bool:
        """Whether this is an alarm. time: of the value, not before the last (else taken for the last) [s]."""
        if math.isnan(self._last):
            self._last = time
        step = max(time - self._last, 0.0)
        self._last += step
        self._looks += 1
        self._seen += min(step, max(10 * self._seen / self._looks, 60.0))  # a long gap is no time under watch
        recent = self._recent
        while recent and recent[0][0] < self._last - self.hold:
            recent.popleft()
        peak = surprise > 0 and (not recent or surprise > recent[0][1])
        while recent and recent[-1][1] <= surprise:
            recent.pop()
        recent.append((self._last, surprise))
        if not peak:
            return False
        self.threshold = self._threshold()
        insort(self._peaks, surprise)
        self._order.append(surprise)
        self._when.append(self._seen)
        if len(self._order) > _PEAKS:
            self._peaks.remove(self._order.popleft())
            self._when.popleft()
        return surprise >= self.threshold


def alarms(
    times: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    per_day: float | None = None,
    costs: tuple[float, float, float] | None = None,
    hold: float = 3600.0,
    probation: int | None = None,
) -> tuple[Alarm, ...]:
    """The alarms of a whole series, none of which looks ahead: a ``Detector`` and a ``Gate``, see there.

    times, values, probation: as for ``surprises``; per_day, costs, hold: as for ``Gate``. Empty where
    nothing is out of the ordinary, or too little was seen.
    """
    return sounded(times, surprises(times, values, probation=probation), per_day=per_day, costs=costs, hold=hold)


def sounded(
    times: npt.ArrayLike,
    surprise: npt.ArrayLike,
    *,
    per_day: float | None = None,
    costs: tuple[float, float, float] | None = None,
    hold: float = 3600.0,
) -> tuple[Alarm, ...]:
    """The same where surprises are at hand, as ``surprises`` gives them."""
    at, said = _series(times, surprise)
    gate = Gate(per_day=per_day, costs=costs, hold=hold)
    return tuple(
        Alarm(place, float(at[place]), float(said[place]), gate.threshold)
        for place in np.argsort(at, kind="stable").tolist()
        if math.isfinite(at[place]) and gate.update(float(at[place]), float(said[place]))
    )
