"""Student's t: how far a mean of few values may lie from the truth. Standard library only."""

from __future__ import annotations

import math
from functools import lru_cache

_TINY = 1e-300
_LARGE = 1e6  # degrees of freedom from which the normal law is as good to six digits


def below(t: float, df: float) -> float:
    """Probability that a t variable of ``df`` > 0 degrees of freedom is at most ``t``.

    By the incomplete beta function as a continued fraction (Lentz's method; Press et al. 1992, 6.4).

    >>> round(below(6.314, 1.0), 3)
    0.95
    """
    if df >= _LARGE:
        return 0.5 * math.erfc(-t / math.sqrt(2.0))
    tail = 0.5 * _beta_share(df / (df + t * t), t * t / (df + t * t), 0.5 * df, 0.5)
    return 1.0 - tail if t > 0 else tail


@lru_cache(maxsize=4096)
def quantile(level: float, df: float) -> float:
    """The value that a t variable of ``df`` > 0 degrees of freedom stays below with probability ``level`` in (0, 1).

    Raises ValueError where ``level`` or ``df`` is out of range.

    >>> round(quantile(0.95, 1.0), 3), round(quantile(0.95, 1e9), 3)
    (6.314, 1.645)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level!r}")
    if not df > 0:
        raise ValueError(f"degrees of freedom must be > 0, got {df!r}")
    if level == 0.5:
        return 0.0
    if level < 0.5:
        return -quantile(1.0 - level, df)
    low, high = 0.0, 1.0
    while below(high, df) < level and high < 1e30:
        low, high = high, 2.0 * high
    for _ in range(100):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if below(middle, df) < level else (low, middle)
    return 0.5 * (low + high)


def half_width(level: float, df: float) -> float:
    """Standard errors on either side that hold the truth with probability ``level``; infinite where df is not > 0."""
    return quantile(0.5 + 0.5 * level, round(df, 2)) if round(df, 2) > 0 else math.inf


def _beta_share(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function at ``x`` in [0, 1]; ``rest`` is ``1 - x``, to all its digits."""
    if x <= 0.0 or rest <= 0.0:
        return float(rest <= 0.0)
    whole = math.log(x) if x < 0.5 else math.log1p(-rest)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * whole + b * math.log(rest))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(rest, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _kept(1.0 - (a + b) * x / (a + 1.0))
    h = d
    for m in range(1, 5000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1.0 / _kept(1.0 + even * d), _kept(1.0 + even / c)
        h *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1.0 / _kept(1.0 + odd * d), _kept(1.0 + odd / c)
        h *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return h


def _kept(x: float) -> float:
    return x if abs(x) > _TINY else _TINY
