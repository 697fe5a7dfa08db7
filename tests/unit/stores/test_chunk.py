from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from array import array
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.execution import Attempt, Execution, Outcome
from poet.stores import chunk

DURATIONS = st.floats(0, 1e30)
ATTEMPTS = st.builds(Attempt, st.sampled_from(Outcome), DURATIONS, DURATIONS)
NAMES = st.sampled_from(["", "ValueError", "KeyError"]) | st.text(max_size=4) | st.just("\ud800")
ROWS = st.builds(
    Execution,
    st.just("w"),
    st.integers(0, 2**61),
    st.floats(-1e12, 1e12),
    DURATIONS,
    st.sampled_from(Outcome),
    st.integers(0, 2**64 - 1),
    st.lists(ATTEMPTS, max_size=4).map(tuple),
    NAMES,
)
CHUNKS = st.lists(ROWS, min_size=1, max_size=30, unique_by=lambda row: row.sequence).map(
    lambda rows: sorted(rows, key=lambda row: row.sequence)
)


def single(number: float) -> float:
    return array("f", [number])[0]


def rounded(row: Execution) -> Execution:
    """What the module promises to keep, worked out another way."""
    attempts = tuple(Attempt(a.outcome, single(a.seconds), single(a.waited)) for a in row.attempts)
    return row._replace(started=round(row.started * 1000) / 1000, seconds=single(row.seconds), attempts=attempts)


def plain(sequence: int, **changes: object) -> Execution:
    row = Execution("w", sequence, 0.0, 0.5, Outcome.SUCCESS, 1, (Attempt(Outcome.SUCCESS, 0.5),))
    return row._replace(**changes)  # type: ignore[arg-type]


@given(CHUNKS)
def test_what_is_decoded_is_what_was_encoded_up_to_the_stated_precision(rows: list[Execution]) -> None:
    blob = chunk.encode(rows)
    kept = chunk.decode(blob, "w")
    assert kept == [rounded(row) for row in rows]
    assert all(type(row.outcome) is Outcome for row in kept)
    assert chunk.encode(kept) == blob


@given(st.lists(st.floats(0, 3e38), min_size=1, max_size=20))
def test_durations_keep_24_bits(durations: list[float]) -> None:
    kept = chunk.decode(chunk.encode([plain(i, seconds=d) for i, d in enumerate(durations)]), "w")
    for duration, row in zip(durations, kept, strict=True):
        assert abs(row.seconds - duration) <= max(duration * 2**-24, 1e-45)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(blob: bytes) -> None:
    with pytest.raises(ValueError):
        chunk.decode(blob, "w")


@given(CHUNKS, st.data())
def test_a_flipped_bit_is_found_or_without_effect(rows: list[Execution], data: st.DataObject) -> None:
    """Without effect are the few bits that only fill up deflate's last byte."""
    blob = bytearray(chunk.encode(rows))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(ValueError):
        assert chunk.decode(bytes(blob), "w") == [rounded(row) for row in rows]


@given(CHUNKS, st.data())
def test_a_missing_end_or_a_byte_too_many_is_found(rows: list[Execution], data: st.DataObject) -> None:
    blob = chunk.encode(rows)
    end = data.draw(st.integers(0, len(blob) - 1))
    for wrong in (blob[:end], blob + b"\0"):
        with pytest.raises(ValueError):
            chunk.decode(wrong, "w")


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_a_well_packed_body_of_nonsense_is_refused_or_read_but_never_anything_else(tail: bytes) -> None:
    """Past the checksum: every length and number inside is checked before it is believed."""
    for head in (b"", struct.pack("<IQq", 3, 0, 0), struct.pack("<IQq", 2**32 - 1, 2**64 - 1, -(2**63))):
        body = head + tail
        blob = struct.pack("<4sI", b"PXc1", len(body)) + zlib.compress(body)
        with suppress(ValueError):
            assert len(chunk.decode(blob, "w")) <= chunk.ROWS


@given(CHUNKS, st.data())
def test_a_body_with_one_byte_changed_is_refused_or_read_but_never_anything_else(
    rows: list[Execution], data: st.DataObject
) -> None:
    body = bytearray(zlib.decompress(chunk.encode(rows)[8:]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    blob = struct.pack("<4sI", b"PXc1", len(body)) + zlib.compress(bytes(body))
    with suppress(ValueError):
        assert len(chunk.decode(blob, "w")) <= chunk.ROWS


@pytest.mark.parametrize("announced", [1 << 23, 1 << 24, 1 << 31])
def test_a_small_blob_cannot_ask_for_much_memory(announced: int) -> None:
    bomb = struct.pack("<4sI", b"PXc1", announced) + zlib.compress(bytes(1 << 24), 9)
    tracemalloc.start()
    with pytest.raises(ValueError):
        chunk.decode(bomb[:4000], "w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1032 * 4000 * 2 + 100_000  # deflate's best, once more for the copy, and the odds and ends


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "1 to 1000"),
        ([plain(i) for i in range(1001)], "1 to 1000"),
        ([plain(1), plain(1)], "ascend"),
        ([plain(2), plain(1)], "ascend"),
        ([plain(-1)], "sequence must"),
        ([plain(2**62)], "sequence must"),
        ([plain(0), plain(2**62)], "below 2\\*\\*62"),
        ([plain(0, seconds=-0.1)], "duration must be >= 0"),
        ([plain(0, seconds=float("nan"))], "duration must be >= 0"),
        ([plain(0, seconds=1e39)], "duration must be >= 0 and finite"),
        ([plain(0, attempts=(Attempt(Outcome.ERROR, 1.0, float("inf")),))], "duration"),
        ([plain(0, started=float("nan"))], "started must"),
        ([plain(0, started=1e30)], "started must"),
        ([plain(0, version=-1)], "numbers must be in"),
        ([plain(0, version=2**64)], "numbers must be in"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(rows: list[Execution], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        chunk.encode(rows)


def test_a_chunk_of_an_earlier_day_can_still_be_read() -> None:
    """Drawn with ``encode(...).hex()`` of the first release: the layout is for good, as stores are full of it."""
    blob = bytes.fromhex(
        "5058633157000000789c6366606060678080dab8b0770b191918981894191899ae3d6763864a3034d83bd83170323332"
        "b3b000e5191839bc532b5d8b8af28b18198090898911acc8c1de1ea29ac10e00ebee0b50"
    )
    assert chunk.decode(blob, "w") == [
        plain(7, started=1795000000.125, version=3),
        Execution(
            "w",
            8,
            1795000001.0,
            2.0,
            Outcome.ERROR,
            4,
            (Attempt(Outcome.TIMEOUT, 1.0), Attempt(Outcome.ERROR, 0.75, 0.25)),
            "KeyError",
        ),
        Execution("w", 300, 1795000000.5, 0.25, Outcome.LATE, 4, (Attempt(Outcome.LATE, 0.25),)),
    ]


def test_a_thousand_executions_of_a_realistic_mix_stay_below_ten_kilobytes() -> None:
    rng = random.Random(7)
    rows, now = [], 1.8e9
    for i in range(1000):
        now += rng.expovariate(10)
        first, second, pause = rng.lognormvariate(-2, 0.6), rng.lognormvariate(-2, 0.6), rng.uniform(0, 0.2)
        row = plain(i, started=now, seconds=first, attempts=(Attempt(Outcome.SUCCESS, first),))
        if rng.random() < 0.05:
            attempts = (Attempt(Outcome.ERROR, first), Attempt(Outcome.SUCCESS, second, pause))
            row = row._replace(seconds=first + pause + second, attempts=attempts)
        rows.append(row)
    assert len(chunk.encode(rows)) < 6_000  # seconds alone are 4,000, of which deflate can save little
