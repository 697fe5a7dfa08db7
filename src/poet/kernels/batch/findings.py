"""What a finding is told with: a value, its interval, and how many such findings would be chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LARGEST = 1e100  # what is larger counts as this: squares must stay finite


class Figure(NamedTuple):
    """A value with its interval; NaN where unknown."""

    value: float
    low: float
    high: float


UNKNOWN = Figure(math.nan, math.nan, math.nan)


def adjusted(p: npt.ArrayLike) -> Array:
    """The false-discovery rate at which each would be told: any shape, p-values in [0, 1] -> the same shape [1].

    Benjamini & Hochberg 1995, step-up. What was not tested (NaN) stays NaN and does not count.

    >>> adjusted([0.01, 0.04, 0.03, float("nan")]).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    given = np.asarray(p, float)
    found = np.full(given.shape, np.nan)
    known = np.isfinite(given)
    tested = given[known]
    m = len(tested)
    if m:
        order = np.argsort(tested)
        scaled = tested[order] * m / np.arange(1, m + 1)
        q = np.empty(m)
        q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
        found[known] = q
    return found
