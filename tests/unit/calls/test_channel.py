"""The way up from calls to learning: what waits there, and that it never grows beyond its buffer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poet.calls.cell import Channel
from poet.model.execution import Record
from poet.training.trainee import Inbox


def finished(channel: Channel, calls: int) -> None:
    for _ in range(calls):
        number = channel.count()
        record: Record = (number, float(number), number + 0.5, 1, None)
        channel.keep(record)


@given(st.integers(0, 100), st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=8))
def test_an_inbox_gets_the_newest_that_the_buffer_holds_and_counts_the_rest(
    buffer: int, rounds: list[tuple[int, bool]]
) -> None:
    channel = Channel(buffer)
    inbox = Inbox(channel.records, most=channel.buffer)
    made = since = taken = 0
    for calls, drained in rounds:
        finished(channel, calls)
        made, since = made + calls, since + calls
        if drained:
            got = [execution.sequence for execution in inbox.take("w", 0.0, all_of_it=True)]
            assert got == list(range(made - min(since, buffer), made))
            taken, since = taken + len(got), 0
            if got:
                assert inbox.dropped == made - taken


@given(st.integers(0, 100))
def test_a_buffer_that_nobody_empties_grows_by_little_more_than_it_holds(buffer: int) -> None:
    channel = Channel(buffer)
    for _ in range(1000):
        finished(channel, 1)
        assert len(channel.records) <= buffer + buffer // 8 + 64


def test_a_buffer_that_was_emptied_before_it_was_full_has_its_whole_room_again() -> None:
    channel = Channel(80)
    for _ in range(20):
        finished(channel, 100)
        assert len(channel.records) == 100
        channel.records.clear()
    assert channel.number == 2000
