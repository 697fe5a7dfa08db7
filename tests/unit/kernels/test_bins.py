from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.bins import BINS, EDGES, FINE, RATIO, bin_of, position, readable, seconds_at


def test_the_edges_are_readable_and_nearly_evenly_spaced() -> None:
    assert all(readable(edge) == edge for edge in EDGES)
    ratios = [high / low for low, high in itertools.pairwise(EDGES)]
    assert max(abs(ratio / RATIO - 1) for ratio in ratios) < 0.01  # three digits round by half a percent each
    assert EDGES[0] < 1e-5
    assert EDGES[-1] > 1600
    assert 30.0 in EDGES


@given(st.floats(0, 1e6))
def test_a_bin_holds_what_is_put_into_it(seconds: float) -> None:
    bin_ = bin_of(seconds)
    assert 0 <= bin_ < BINS
    assert (EDGES[bin_ - 1] if bin_ else 0.0) <= seconds
    assert seconds < (EDGES[bin_] if bin_ < len(EDGES) else math.inf)


@given(st.floats(0, EDGES[-1]))
def test_bin_and_position_give_the_seconds_back_to_a_fraction_of_a_bin(seconds: float) -> None:
    bin_ = bin_of(seconds)
    back = seconds_at(bin_, position(seconds, bin_))
    width = (EDGES[bin_] if bin_ < len(EDGES) else EDGES[-1]) - (EDGES[bin_ - 1] if bin_ else 0.0)
    assert abs(back - seconds) <= width / FINE + 1e-12


def test_the_last_bin_has_no_end() -> None:
    assert bin_of(math.inf) == BINS - 1
    assert position(1e9, BINS - 1) == 0
    assert seconds_at(BINS - 1, 17) == EDGES[-1]
