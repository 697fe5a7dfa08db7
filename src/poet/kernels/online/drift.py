"""Alarms: has what comes stopped looking like what came?

A cumulative sum of log-likelihood ratios (Page 1954) passes a level of ``a`` nats, where nothing has changed, about
once in ``exp(a)`` observations or more seldom (Lorden 1971), and after a change within about ``a`` over the divergence
of what is from what was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FLOOR = 0.01  # share of the answers that may come at any time: no single one proves anything


def shifted(answers: Array, alive: Array, shifts: Sequence[int], *, most: float) -> tuple[Array, Array]:
    """Evidence that all latencies have become longer by so many bins of a logarithmic axis, or shorter [nats].

    answers: (n_bins,) chance of an answer in each bin; alive: (n_bins,) chance of none before it; most: that any single
    observation says. Returns the evidence in an answer, by its bin, and in an attempt that was cut off at the bin's
    lower edge: (n_shifts, n_bins) each.
    Neighbouring bins are pooled, as few answers were seen in some: 1/4, 1/2, 1/4.
    """
    size = len(answers)
    smooth = 0.5 * answers
    smooth[1:] += 0.25 * answers[:-1]
    smooth[:-1] += 0.25 * answers[1:]
    before = np.log(smooth + FLOOR / size), np.log(alive + FLOOR)
    places = np.arange(size) - np.array(shifts)[:, None]
    within = np.minimum(np.maximum(places, 0), size - 1)
    moved = np.where(places == within, smooth[within], 0.0) + FLOOR / size
    told = np.empty((2, len(shifts), size))
    np.subtract(np.log(moved), before[0], out=told[0])
    np.subtract(before[1][within], before[1], out=told[1])
    np.minimum(np.maximum(told, -most, out=told), most, out=told)
    return told[0], told[1]


def odds(share: float, ratio: float) -> tuple[float, float]:
    """Evidence that the odds of an event have become ``ratio`` times as great, in its absence and in it [nats].

    share: of the observations in which it came before, in (0, 1).

    >>> [round(each, 2) for each in odds(0.5, 3.0)]
    [-0.69, 0.41]
    """
    after = ratio * share / (1 - share + ratio * share)
    return float(np.log((1 - after) / (1 - share))), float(np.log(after / share))
