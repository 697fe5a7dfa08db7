"""Exponentially weighted means that know how much they have seen: plain, and weighted by performance."""

from __future__ import annotations

import math
from typing import NamedTuple


class Ewma(NamedTuple):
    """The two sums behind an exponentially weighted mean."""

    total: float = 0.0  # [unit of x]
    weight: float = 0.0  # in [0, 1] [1]; 0 says "nothing seen", so that a mean of 0.0 stays an honest mean


def observe(state: Ewma, x: float, *, half_life: float) -> Ewma:
    """Fold ``x`` in; O(1) time and space.

    half_life: observations until an old value weighs one half, > 0 [1].
    Debiased as in Kingma & Ba 2015, Alg. 1, unlike the textbook form: the first value counts in full.

    >>> first = observe(Ewma(), 0.0, half_life=1)
    >>> mean(first), mean(observe(first, 3.0, half_life=1))
    (0.0, 2.0)
    """
    keep = 0.5 ** (1.0 / half_life)
    return Ewma(keep * state.total + (1 - keep) * x, keep * state.weight + (1 - keep))


def observe_all(state: Ewma, total: float, n: int, *, half_life: float) -> Ewma:
    """Fold in ``n`` values that sum to ``total``, as if each were their mean; n >= 0."""
    if n <= 0:
        return state
    keep = 0.5 ** (n / half_life)
    return Ewma(keep * state.total + (1 - keep) * total / n, keep * state.weight + (1 - keep))


def mean(state: Ewma) -> float:
    """The debiased mean. Raises ZeroDivisionError where nothing was seen."""
    return state.total / state.weight


# --- weighted ---------------------------------------------------------------------------------------------------------

STEEPNESS = 1.0  # of the weight, per standard deviation of the scores [1]
MOST_DEVIATIONS = 3.0  # a score further from the mean counts as this far: a weight is in [e^-3, e^3] by default


class Weighted(NamedTuple):
    """A weighted mean whose weights also fade, and what its standard error needs.

    The sums of squared weights are central, about ``mean``, so that a large offset of x costs no digits.
    """

    n: int = 0  # observations
    mean: float = 0.0  # [unit of x]
    weight: float = 0.0  # sum of weights, >= 0 [1]
    scatter: float = 0.0  # sum of weight (x - mean)^2 [unit of x, squared]
    squares: float = 0.0  # sum of weight^2 [1]
    tilt: float = 0.0  # sum of weight^2 (x - mean) [unit of x]
    spread: float = 0.0  # sum of weight^2 (x - mean)^2 [unit of x, squared]

    @property
    def size(self) -> float:
        """Effective sample size, ``(sum w)^2 / sum w^2`` (Kish 1965), in [0, n]."""
        return self.weight**2 / self.squares if self.squares > 0 else 0.0

    @property
    def variance(self) -> float:
        """Variance of x, unbiased for weights that do not depend on it; nan for fewer than two values."""
        rest = self.weight - self.squares / self.weight if self.weight > 0 else 0.0
        return self.scatter / rest if rest > 1e-12 * self.weight else math.nan

    @property
    def error(self) -> float:
        """Standard error of the mean, also where the weights depend on x; nan for fewer than two values.

        ``sqrt(sum w^2 (x - m)^2) / sum w`` (Cochran 1977, 6.3: a ratio of two means), times
        ``sqrt(size / (size - 1))``.
        """
        size = self.size
        if not size > 1.0 + 1e-9:
            return math.nan
        return math.sqrt(max(0.0, self.spread) * size / (size - 1.0)) / self.weight


def weigh(state: Weighted, x: float, weight: float, *, half_life: float) -> Weighted:
    """Fold ``x`` in with ``weight`` >= 0; all that came before weighs ``0.5 ** (1 / half_life)`` of what it did.

    West 1979 with fading weights. O(1) time and space.
    """
    keep = 0.5 ** (1.0 / half_life)
    before = keep * state.weight
    total = before + weight
    if not total > 0:
        return state._replace(n=state.n + 1)
    delta = x - state.mean
    shift = delta * weight / total
    old = keep * keep
    squares, tilt = old * state.squares, old * state.tilt
    spread = old * state.spread - 2 * shift * tilt + shift * shift * squares  # about the new mean
    rest = delta - shift
    return Weighted(
        state.n + 1,
        state.mean + shift,
        total,
        keep * state.scatter + weight * delta * rest,
        squares + weight * weight,
        tilt - shift * squares + weight * weight * rest,
        spread + weight * weight * rest * rest,
    )


def interval(state: Weighted, level: float = 0.9) -> tuple[float, float]:
    """Where the mean truly lies with probability ``level``, by Student's t; all numbers where too little was seen."""
    from poet.kernels.online.student import half_width  # not needed by those who only want a mean

    error = state.error
    if math.isnan(error):
        return -math.inf, math.inf
    width = half_width(level, state.size - 1.0) * error
    return state.mean - width, state.mean + width


class Praised(NamedTuple):
    """Where good values lie: a mean of x in which a value counts by how well it did."""

    values: Weighted = Weighted()
    scores: Weighted = Weighted()


def praise(state: Praised, x: float, score: float, *, half_life: float, steepness: float = STEEPNESS) -> Praised:
    """Fold in that ``x`` scored ``score``: it weighs ``exp(steepness * z)`` where that is z above the mean.

    z is in standard deviations of the scores seen, this one included, within +-``MOST_DEVIATIONS``. So the weight knows
    no unit, and is e^0 = 1 as long as all scores are alike. Reward-weighted averaging (Peters & Schaal 2007), with the
    temperature taken from the scores themselves. steepness: >= 0; 0 gives the plain mean.

    half_life: observations until an old value weighs one half, > 0 [1].
    """
    scores = weigh(state.scores, score, 1.0, half_life=half_life)
    weight = math.exp(steepness * deviations(scores, score))
    return Praised(weigh(state.values, x, weight, half_life=half_life), scores)


def deviations(state: Weighted, x: float, most: float = MOST_DEVIATIONS) -> float:
    """How many standard deviations ``x`` lies above the mean, within +-``most``; 0 where all values were alike."""
    variance = state.variance
    scale = math.sqrt(variance) if variance > 0 else 0.0  # also of nan
    if scale <= 1e-12 * max(1.0, abs(state.mean)):
        return 0.0
    return min(max((x - state.mean) / scale, -most), most)
