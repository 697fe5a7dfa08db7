from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from poet.kernels.batch.coincidence import Company, _poisson_tail, together

DAY, HOUR = 86_400.0, 3_600.0


def found(incidents: list[tuple[int, float, float]], owners: int = 10, days: float = 30.0) -> tuple[Company, ...]:
    """incidents: owner, beginning and length [h]."""
    owner, start, lasts = (np.array(column) for column in zip(*incidents, strict=True))
    return together(
        start * HOUR,
        (start + lasts) * HOUR,
        owner.astype(np.int64),
        np.zeros(owners),
        np.full(owners, days * DAY),
        near=np.full(len(owner), 3 * HOUR),
        grain=np.full(len(owner), HOUR),
    )


def test_what_begins_together_is_one_and_the_first_comes_first() -> None:
    told = found([(3, 101.0, 4.0), (1, 100.0, 5.0), (7, 102.0, 2.0), (5, 400.0, 1.0)])
    assert [company.members for company in told] == [(1, 0, 2)]
    # Two others of nine that had half an incident each in 30 days, and one more of each, within three hours.
    rate = 9 * 0.5 / (30 * DAY) + 1 / (30 * DAY)
    assert told[0].p <= 2 * stats.poisson.sf(1, rate * 3 * HOUR) + 1e-12


def test_what_is_over_before_another_begins_does_not_belong_to_it() -> None:
    assert found([(1, 100.0, 0.5), (2, 101.0, 0.5), (3, 102.0, 0.5)]) == ()


def test_of_each_owner_one() -> None:
    (company,) = found([(1, 100.0, 5.0), (1, 101.0, 5.0), (2, 101.0, 5.0)])
    assert len(company.members) == 2
    assert 2 in company.members


def test_the_least_likely_is_taken_first() -> None:
    """What begins two hours before three that begin at once belongs to none, or to all: not to one of them."""
    told = found([(0, 98.0, 9.0), *((i, 100.5, 3.0) for i in range(1, 5)), (5, 97.0, 1.5)])
    assert max(len(company.members) for company in told) >= 4


def test_at_hours_at_which_all_have_incidents_more_is_asked() -> None:
    day = [(i % 10, 24.0 * i + 14.0, 1.0) for i in range(28)]
    spread = [(i % 10, 24.0 * i + 24 * (i % 7) / 7, 1.0) for i in range(28)]
    pair = [(1, 24.0 * 28 + 14.0, 2.0), (2, 24.0 * 28 + 14.0, 2.0)]
    by_day, any_time = (found([*usual, *pair])[-1].p for usual in (day, spread))
    assert by_day > 2 * any_time


def test_of_independent_incidents_hardly_any_are_told_as_one() -> None:
    """False-discovery control at 5 %: of 200 fleets of which none has anything in common, at most 10 tell of any."""
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        owners = np.repeat(np.arange(20), rng.poisson(3, 20))
        incidents = [(int(i), float(rng.uniform(0, 720) // 1), float(rng.exponential(3) + 1)) for i in owners]
        wrong += any(company.q <= 0.05 for company in found(incidents, owners=20))
    assert wrong <= 10


@pytest.mark.parametrize("mean", [1e-6, 0.01, 0.5, 3.0, 50.0])
@pytest.mark.parametrize("least", [1, 2, 5, 40])
def test_the_tail_is_the_poisson_one(mean: float, least: int) -> None:
    assert _poisson_tail(mean, least) == pytest.approx(stats.poisson.sf(least - 1, mean), rel=1e-9, abs=1e-300)
