"""Student's t for many values at once, and quantiles of a beta distribution: by tables of an angle, numpy only.

Both densities are smooth in an angle: of t that is ``atan(t / sqrt(df))`` with the density ``cos ** (df - 1)``, of a
share ``asin(sqrt(x))`` with ``sin ** (2a - 1) cos ** (2b - 1)``. So the trapezium rule on a fine grid does.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from poet.kernels.batch.findings import Array

_POINTS = 4097


def student_quantiles(shares: Array, df: float) -> Array:
    """Below which a t variable of ``df`` >= 2 degrees of freedom stays with each of ``shares`` in (0, 1).

    >>> student_quantiles(np.array([0.05, 0.5, 0.95]), 4.0).round(3).tolist()
    [-2.132, 0.0, 2.132]
    """
    df = round(df, 2)  # as tables are kept
    angles, reached = _student(df)
    found: Array = math.sqrt(df) * np.tan(np.interp(shares, reached, angles))
    return found


def student_below(x: Array, df: float) -> Array:
    """The probability that a t variable of ``df`` >= 2 degrees of freedom is at most each of ``x``.

    >>> student_below(np.array([0.0, 2.132]), 4.0).round(3).tolist()
    [0.5, 0.95]
    """
    df = round(df, 2)  # as tables are kept
    angles, reached = _student(df)
    found: Array = np.interp(np.arctan(x / math.sqrt(df)), angles, reached)
    return found


def beta_quantile(share: float, a: float, b: float) -> float:
    """Below which a share of the beta distribution lies with probability ``share`` in (0, 1).

    a, b: >= 1/2; the best where twice of them is a whole number, as after counting under Jeffreys' prior.

    >>> round(beta_quantile(0.5, 0.5, 0.5), 6), round(beta_quantile(0.05, 9.5, 1.5), 3)
    (0.5, 0.669)
    """
    middle = math.asin(math.sqrt(a / (a + b)))
    width = 12 / math.sqrt(a + b)  # standard deviations of the angle are at most half the root of 1 / (a + b)
    angles = np.linspace(max(0.0, middle - width), min(0.5 * math.pi, middle + width), _POINTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = (2 * a - 1) * np.log(np.sin(angles)) if a > 0.5 else np.zeros(_POINTS)
        fall = (2 * b - 1) * np.log(np.maximum(np.cos(angles), 0.0)) if b > 0.5 else np.zeros(_POINTS)
    height = rise + fall
    return float(np.sin(np.interp(share, _reached(np.exp(height - height.max())), angles)) ** 2)


@lru_cache(maxsize=64)
def _student(df: float) -> tuple[Array, Array]:
    most = min(0.5 * math.pi, 14 / math.sqrt(df))
    angles = np.linspace(-most, most, _POINTS)
    return angles, _reached(np.maximum(np.cos(angles), 0.0) ** (df - 1))


def _reached(density: Array) -> Array:
    """The share up to each point of a grid."""
    steps = np.cumsum(density[1:] + density[:-1])
    return np.concatenate([[0.0], steps / steps[-1]])
