"""The time axis that latencies are counted on: bins of equal ratio between readable edges. Standard library only."""

from __future__ import annotations

from bisect import bisect_right

RATIO = 1.25  # one bin to the next; a timeout misplaced by half a bin costs at most some 10 % of itself


def readable(value: float, digits: int = 3) -> float:
    """``value`` to ``digits`` significant digits, as people write it.

    >>> readable(0.123456)
    0.123
    """
    return float(f"{value:.{digits}g}")


# 30 s, the usual timeout, is an edge; from about 10 microseconds to half an hour. The edges are rounded once and for
# all, so that a timeout chosen from them is a readable number and an attempt cut off there falls exactly on an edge.
EDGES: tuple[float, ...] = tuple(readable(30.0 * RATIO**k) for k in range(-67, 19))
BINS = len(EDGES) + 1  # bin j spans [EDGES[j - 1], EDGES[j]), the first from 0, the last without end
FINE = 255  # steps of the position within a bin


def bin_of(seconds: float) -> int:
    """The bin that holds ``seconds``, >= 0 [s].

    >>> bin_of(0.0), bin_of(30.0) == bin_of(29.9) + 1
    (0, True)
    """
    return bisect_right(EDGES, seconds)


def position(seconds: float, bin_: int) -> int:
    """How far into its bin ``seconds`` lies, in [0, FINE] [1/FINE]; 0 in the endless last bin."""
    if bin_ >= len(EDGES):
        return 0
    low = EDGES[bin_ - 1] if bin_ else 0.0
    return min(FINE, max(0, int((seconds - low) / (EDGES[bin_] - low) * FINE + 0.5)))


def seconds_at(bin_: int, position_: int) -> float:
    """The inverse of ``bin_of`` and ``position``, to 1/FINE of a bin [s]."""
    low = EDGES[bin_ - 1] if bin_ else 0.0
    if bin_ >= len(EDGES):
        return low
    return low + (EDGES[bin_] - low) * position_ / FINE
