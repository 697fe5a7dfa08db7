from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from poet.kernels.batch.phasing import SHORTEST, choices, parts


def brute(day: np.ndarray) -> float:
    """The most that any cut of a day into up to three arcs is worth, (n_choices, 24)."""
    best = float(day.sum(axis=1).max())
    for number in (2, 3):
        for cuts in combinations(range(24), number):
            ends = [*cuts[1:], cuts[0] + 24]
            if any(end - start < SHORTEST for start, end in zip(cuts, ends, strict=True)):
                continue
            arcs = [np.arange(start, end) % 24 for start, end in zip(cuts, ends, strict=True)]
            best = max(best, sum(float(day[:, arc].sum(axis=1).max()) for arc in arcs))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_no_cut_of_a_day_is_worth_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    totals = rng.normal(size=(4, 7, 24))
    found = parts(totals)
    days, hours = np.divmod(np.arange(168), 24)
    chosen = choices(found, days, hours)
    assert totals[chosen, days, hours].sum() == pytest.approx(brute(totals.sum(axis=1)))


def test_days_that_differ_are_found_and_no_part_reaches_over_midnight_then() -> None:
    totals = np.zeros((3, 7, 24))
    totals[0] = 0.1
    totals[1, 5:, :] = 1.0
    totals[2, :5, 22:] = totals[2, :5, :6] = 1.0
    found = parts(totals, weekly=True)
    assert all(part.until > part.since for part in found)
    days, hours = np.divmod(np.arange(168), 24)
    chosen = choices(found, days, hours).reshape(7, 24)
    assert (chosen[5:] == 1).all()
    assert (chosen[:5, np.r_[22:24, :6]] == 2).all()
    assert (chosen[:5, 6:22] == 0).all()
    assert len(parts(totals)) < len(found), "without the week all days are alike"


def test_a_part_must_add_what_was_asked() -> None:
    totals = np.zeros((2, 7, 24))
    totals[0, :, 8:20] = totals[1, :, :8] = totals[1, :, 20:] = 1.0
    assert len(parts(totals, least=83.0)) == 2, "a cut adds 84: 7 days of 12 hours"
    assert len(parts(totals, least=85.0)) == 1
