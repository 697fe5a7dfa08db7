"""Ranks, of censored values too, and which rows to keep of too many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def shares(values: npt.ArrayLike, censored: npt.ArrayLike | None = None) -> Array:
    """The expected share of all values that lie below each, ties half: (n,) -> (n,) in (0, 1) [1].

    Without censoring these are mid-ranks over n. ``censored``: (n,) whether the truth is known to lie above the value
    only, as for an attempt that was given up at its timeout. Then the share is that by Kaplan and Meier's estimate, and
    a censored value counts as the middle of all that is left above it: the scores of Peto & Peto's and Prentice's
    generalised Wilcoxon test (Prentice 1978, "Linear rank tests with right censored data").
    A value that is not finite is unknown: NaN. +inf counts as such, too.

    >>> shares([3.0, 1.0, 3.0, 8.0]).tolist()
    [0.5, 0.125, 0.5, 0.875]
    >>> shares([1.0, 2.0, 9.0], [False, True, False]).round(3).tolist()
    [0.167, 0.667, 0.667]
    """
    x = np.asarray(values, float)
    found = np.full(len(x), np.nan)
    known = np.isfinite(x)
    x = x[known]
    n = len(x)
    if n == 0:
        return found
    cut = None if censored is None else np.asarray(censored, bool)[known]
    if cut is not None and not cut.any():
        cut = None
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    size = np.diff(np.append(first, n))
    if cut is None:
        middle = (first + 0.5 * size) / n
        ranked = np.repeat(middle, size)
    else:
        ended = np.add.reduceat((~cut[order]).astype(float), first)
        left = np.cumprod(1.0 - ended / (n - first))  # share above each distinct value
        before = np.concatenate(([1.0], left[:-1]))
        ranked = np.where(cut[order], np.repeat(1.0 - 0.5 * left, size), np.repeat(1.0 - 0.5 * (before + left), size))
    unsorted = np.empty(n)
    unsorted[order] = ranked
    found[known] = unsorted
    return found


def thinned(n: int, most: int) -> npt.NDArray[np.intp] | None:
    """Rows to keep of ``n`` so that at most ``most`` are: one at random of each of equal spans, in order; None for all.

    Random within a span, so that no period of the rows can line up with the spans; the same rows at each call.
    """
    if n <= most:
        return None
    edges = (np.arange(most + 1) * n) // most
    within = np.random.default_rng(n).random(most)
    return np.asarray(edges[:-1] + (within * np.diff(edges)).astype(np.intp), np.intp)
