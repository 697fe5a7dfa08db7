"""Simulated services with a day, and fleets with outages, of which it is known what is in them."""

from __future__ import annotations

from benchmarks import daily, together


def test_a_seed_is_a_world() -> None:
    one, two = (daily.world(10, daily=True) for _ in range(2))
    assert one == two
    assert daily.recorded(one, 50) == daily.recorded(two, 50)
    assert daily.world(10, daily=False).strength == 1.0


def test_what_is_proposed_gains_on_days_to_come() -> None:
    told = daily.judged(10, True)
    assert told.proposed
    assert 0.0 < told.gain <= told.ceiling
    assert told.said[0] > 0


def test_an_outage_of_a_known_dependency_is_told_as_one() -> None:
    told = [together.judged(seed, known=True) for seed in range(20)]
    assert sum(each.found for each in told) >= 0.8 * sum(each.planted for each in told)
    assert sum(each.false for each in told) <= 1
