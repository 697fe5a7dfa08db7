"""Exponentially weighted mean that knows how much it has seen."""

from __future__ import annotations

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
