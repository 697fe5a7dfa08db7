"""The product limit of attempts that end in one of several ways, or were cut off: how long a comparable one would take.

Kaplan & Meier 1958, "Nonparametric estimation from incomplete observations", with weights per observation, so that it
can be bootstrapped (Efron 1981, "Censored data and the bootstrap"). The ways to end compete: an attempt drawn from the
curve ends as the observed one did at whose time it ends. Nothing is said behind the last observation: who is drawn
from there is told apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.intp]

CUT_OFF = 0  # the kind of an observation that had not ended yet; every other number is a way to end


class Sample(NamedTuple):
    """Attempts that were watched, the shortest first; of several that are as long, those that ended go first."""

    seconds: Array  # (n,) until it ended or was cut off, rising, >= 0 [s]
    kinds: Whole  # (n,)
    owners: Whole  # (n,) which call each belongs to; calls are drawn as a whole

    @classmethod
    def of(cls, seconds: Array, kinds: Whole, owners: Whole) -> Sample:
        """Of attempts in any order."""
        order = np.lexsort((kinds == CUT_OFF, seconds))
        return cls(seconds[order], kinds[order], owners[order])


class Limit(NamedTuple):
    """The product limit of a sample."""

    seconds: Array  # (n,) as in the sample
    kinds: Whole  # (n,)
    alive: Array  # (n + 1,) chance to outlast as many of them, falling from 1


def product_limit(sample: Sample, weights: Array | None = None) -> Limit:
    """The curve of a sample. weights: (n,) of each observation, >= 0 [1]; None: 1 each.

    >>> sample = Sample.of(np.array([1.0, 2.0, 3.0]), np.array([1, CUT_OFF, 1]), np.arange(3))
    >>> product_limit(sample).alive.round(3).tolist()
    [1.0, 0.667, 0.667, 0.0]
    """
    weight = np.ones(len(sample.seconds)) if weights is None else weights
    at_risk = np.cumsum(weight[::-1])[::-1]
    ended = np.where(sample.kinds == CUT_OFF, 0.0, weight)
    stays = 1 - np.divide(ended, at_risk, out=np.zeros(len(weight)), where=at_risk > 0)
    return Limit(sample.seconds, sample.kinds, np.append(1.0, np.cumprod(stays)))


def drawn(limit: Limit, uniform: Array, after: Array | None = None) -> tuple[Array, Whole]:
    """How long attempts take, and how they end, by inversion: (m,) each.

    uniform: (m,) in [0, 1). after: (m,) each is known to have outlasted this [s]; None: 0 each.
    Who outlasts all that was watched, or is asked of where nobody was watched, is CUT_OFF, after infinite seconds.
    """
    share = uniform if after is None else uniform * limit.alive[np.searchsorted(limit.seconds, after, side="right")]
    # the first observation behind which no more than the share is left; the curve falls, so that its negative rises
    place = np.searchsorted(-limit.alive[1:], -share, side="left")
    first = 0 if after is None else np.searchsorted(limit.seconds, after, side="right")
    place = np.maximum(place, first)
    behind = place >= len(limit.seconds)
    if behind.all():
        return np.full(len(uniform), np.inf), np.full(len(uniform), CUT_OFF, dtype=np.intp)
    there = np.where(behind, 0, place)
    kinds = np.where(behind, CUT_OFF, limit.kinds[there])
    return np.where(kinds == CUT_OFF, np.inf, limit.seconds[there]), kinds
