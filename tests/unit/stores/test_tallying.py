"""Hours add up whatever way executions come, and their bytes say what they were."""

from __future__ import annotations

from contextlib import suppress
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.bins import BINS, bin_of
from poet.model.aggregate import HOUR, Hour
from poet.model.execution import Attempt, Execution, Outcome
from poet.stores import tallying

ATTEMPTS = st.builds(Attempt, st.sampled_from(Outcome), st.floats(0, 1e3), st.floats(0, 9), st.booleans())
ROWS = st.builds(
    Execution,
    st.just("w"),
    st.integers(0, 9),
    st.floats(0, 4 * HOUR),
    st.floats(0, 1e4),
    st.sampled_from(Outcome),
    st.integers(1, 2),
    st.lists(ATTEMPTS, max_size=3).map(tuple),
    score=st.none() | st.floats(-1, 1),
)
HOURS = st.builds(
    Hour,
    st.just(0.0),
    st.just(1),
    st.just(0),
    st.tuples(*[st.integers(0, 2**40)] * len(Outcome)),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.floats(allow_nan=False),
    st.integers(0, 2**40),
    st.floats(allow_nan=False),
    st.dictionaries(st.integers(0, BINS - 1), st.integers(0, 2**62)),
).map(lambda hour: hour._replace(calls=sum(hour.outcomes), latency=dict(sorted(hour.latency.items()))))


@given(st.lists(ROWS, max_size=30))
def test_an_hour_is_what_counting_one_by_one_gives(rows: list[Execution]) -> None:
    hours = tallying.tallied(rows)
    assert sum(hour.calls for hour in hours.values()) == len(rows)
    for (number, version), hour in hours.items():
        mine = [row for row in rows if row.version == version and number * HOUR <= row.started < (number + 1) * HOUR]
        made = [a for row in mine for a in row.attempts if a.outcome is not Outcome.SHED]
        assert (hour.start, hour.version, hour.calls) == (number * HOUR, version, len(mine))
        assert hour.outcomes == tuple(sum(row.outcome is outcome for row in mine) for outcome in Outcome)
        assert (hour.requests, hour.hedges) == (len(made), sum(a.hedge for a in made))
        assert hour.seconds == pytest.approx(sum(row.seconds for row in mine))
        scores = [row.score for row in mine if row.score is not None]
        assert (hour.scored, hour.score) == (len(scores), pytest.approx(sum(scores)))
        assert hour.failures == sum(not row.outcome.good for row in mine)
        took = [bin_of(row.seconds) for row in mine if row.outcome is not Outcome.SHED]
        assert hour.latency == {bin_: took.count(bin_) for bin_ in sorted(set(took))}


@given(st.lists(ROWS, min_size=1, max_size=30), st.data())
def test_it_does_not_matter_how_executions_are_dealt_out(rows: list[Execution], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    parts = [*tallying.tallied(rows[:cut]).values(), *tallying.tallied(rows[cut:]).values()]
    together = tallying.total(parts)
    whole = tallying.tallied(rows)
    assert [(hour.start, hour.version) for hour in together.values()] == sorted((n * HOUR, v) for n, v in whole)
    for (start, version), hour in together.items():
        other = whole[int(start // HOUR), version]
        assert hour._replace(seconds=0, score=0) == other._replace(seconds=0, score=0)
        assert hour.seconds == pytest.approx(other.seconds)
        assert hour.score == pytest.approx(other.score)


@given(HOURS, st.integers(0, 2**31), st.integers(0, 2**31))
def test_the_bytes_of_an_hour_say_what_it_was(hour: Hour, number: int, version: int) -> None:
    kept = tallying.unpack(number, version, hour.calls, tallying.pack(hour))
    assert kept == hour._replace(start=number * HOUR, version=version)


@given(st.binary(max_size=120))
def test_bytes_that_are_no_hour_are_refused_or_read_and_nothing_else(body: bytes) -> None:
    for calls in (0, 3):
        try:
            hour = tallying.unpack(0, 1, calls, body)
        except ValueError:
            continue
        assert sum(hour.outcomes) == calls


@given(HOURS, st.data())
def test_a_byte_changed_in_an_hour_is_refused_or_read_and_nothing_else(hour: Hour, data: st.DataObject) -> None:
    body = bytearray(tallying.pack(hour))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        assert sum(tallying.unpack(0, 1, hour.calls, bytes(body)).outcomes) == hour.calls


def test_hours_of_releases_that_knew_fewer_outcomes_can_be_read() -> None:
    old = Hour(0.0, 1, 6, (1, 2, 3), 6, 0, 1.5, 0, 0.0, {3: 6})
    kept = tallying.unpack(0, 1, 6, tallying.pack(old))
    assert kept.outcomes == (1, 2, 3, *(0,) * (len(Outcome) - 3))


def test_an_hour_takes_little() -> None:
    rows = [
        Execution("w", i, 0.0, 0.1 * 1.02**i, Outcome.SUCCESS, 1, (Attempt(Outcome.SUCCESS, 0.1),)) for i in range(99)
    ]
    small, large = (reduce(tallying.added, tallying.tallied(rows[:n]).values()) for n in (10, 99))
    assert len(tallying.pack(small)) < 40
    assert len(tallying.pack(large)) < 70
