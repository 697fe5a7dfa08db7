from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.likeness import MEASURED, Behaviour, Declared, Fingerprint
from poet.sharing.packing import (
    BOUNDS,
    LARGEST,
    MOST_EXECUTIONS,
    USUAL_BOUNDS,
    Poisoned,
    checked,
    packed,
    unpacked,
    words_of,
)

digests = st.integers(1, 2**32 - 1)
features = st.dictionaries(digests, st.integers(1, 255), max_size=120).map(lambda d: tuple(sorted(d.items())))
single = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


@st.composite
def declared(draw: Any) -> Declared:
    low, high = sorted((draw(single), draw(single)))
    options = tuple(draw(st.lists(digests, max_size=6)))
    return Declared(draw(digests), draw(st.integers(0, 2)), low, high, options)


@st.composite
def behaviours(draw: Any) -> Behaviour:
    numbers: list[float | None] = []
    errors: list[float | None] = []
    for name in MEASURED:
        low, high = BOUNDS.get(name, USUAL_BOUNDS)
        there = draw(st.booleans())
        numbers.append(draw(st.floats(low, high, width=32)) if there else None)
        errors.append(draw(st.floats(0.0009765625, 10, width=32)) if there else None)
    kinds = draw(st.lists(digests, max_size=4, unique=True))
    shares = tuple((kind, 0.25) for kind in sorted(kinds))
    return Behaviour(draw(st.integers(1, MOST_EXECUTIONS)), tuple(numbers), tuple(errors), shares)


fingerprints = st.builds(
    Fingerprint,
    features,
    features.map(lambda each: each[:48]),
    st.binary(max_size=384),
    st.integers(0, 2**32 - 1),
    st.lists(declared(), max_size=5).map(tuple),
    st.none() | behaviours(),
)


@settings(deadline=None)
@given(fingerprints)
def test_what_is_packed_comes_back(fingerprint: Fingerprint) -> None:
    data = packed(fingerprint)
    assert len(data) <= LARGEST
    assert unpacked(data) == unpacked(data, trusted=True) == fingerprint
    numbers, weights = words_of(data)
    assert tuple(zip(struct.unpack(f"<{len(weights)}I", numbers), weights, strict=True)) == fingerprint.words


@settings(deadline=None)
@given(fingerprints, st.data())
def test_a_damaged_byte_is_noticed(fingerprint: Fingerprint, data: Any) -> None:
    whole = bytearray(packed(fingerprint._replace(tunables=(), meaning=b"")))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Poisoned):
        unpacked(bytes(whole))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(Poisoned, match=r"fingerprint"):
        unpacked(data)
    body = b"PF\x01" + data
    with pytest.raises(Poisoned):
        # as one who knows the format would write it
        unpacked(body + struct.pack("<I", zlib.crc32(body)) if len(data) > 5 else data)


def poisoned(**changes: Any) -> Behaviour:
    nothing: tuple[None, ...] = (None,) * len(MEASURED)
    return Behaviour(100, nothing, nothing)._replace(**changes)


def with_number(name: str, number: float, error: float = 0.1) -> Behaviour:
    numbers = tuple(number if each == name else None for each in MEASURED)
    errors = tuple(error if each == name else None for each in MEASURED)
    return poisoned(numbers=numbers, errors=errors)


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (with_number("level", math.nan), "level must be in"),
        (with_number("level", math.inf), "level must be in"),
        (with_number("level", 1e9), "level must be in"),
        (with_number("day_cos", 7.0), "day_cos must be in"),
        (with_number("level", 0.0, math.nan), "the error of level"),
        (with_number("level", 0.0, 0.0), "the error of level"),
        (with_number("level", 0.0, -1.0), "the error of level"),
        (poisoned(executions=0), "a behaviour of 0 executions"),
        (poisoned(executions=-5), "a behaviour of -5 executions"),
        (poisoned(executions=True), "a behaviour of True executions"),
        (poisoned(executions=10**15), "more than any function makes"),
        (poisoned(kinds=((1, 0.9), (2, 0.9))), "no more than 1 in all"),
        (poisoned(kinds=((1, math.nan),)), "must be in"),
        (poisoned(numbers=(1.0,), errors=(1.0,)), "where 16 are measured"),
    ],
)
def test_impossible_statistics_are_refused_with_the_reason(behaviour: Behaviour, why: str) -> None:
    with pytest.raises(Poisoned, match=why):
        checked(Fingerprint(behaviour=behaviour))


def test_a_thousand_million_calls_are_taken_for_as_many_as_are_believed() -> None:
    told = unpacked(packed(Fingerprint(behaviour=poisoned(executions=10**9))))
    assert told.behaviour is not None
    assert told.behaviour.executions == MOST_EXECUTIONS


@pytest.mark.parametrize(
    ("fingerprint", "why"),
    [
        (Fingerprint(words=((5, 1), (5, 2))), "not in their order"),
        (Fingerprint(words=((9, 1), (5, 2))), "not in their order"),
        (Fingerprint(words=((0, 1),)), "no digest"),
        (Fingerprint(words=((5, 0),)), "no digest"),
        (Fingerprint(words=tuple((k, 1) for k in range(1, 400))), "255 at most"),
        (Fingerprint(domain=-1), "domain"),
        (Fingerprint(meaning=bytes(1000)), "at most"),
        (Fingerprint(tunables=(Declared(1, 7, 0.0, 1.0),)), "no kind of tunable"),
        (Fingerprint(tunables=(Declared(1, 0, 2.0, 1.0),)), "range"),
        (Fingerprint(tunables=(Declared(1, 0, math.nan, 1.0),)), "range"),
    ],
)
def test_impossible_fingerprints_are_refused_with_the_reason(fingerprint: Fingerprint, why: str) -> None:
    with pytest.raises(Poisoned, match=why):
        packed(fingerprint)


def test_another_version_is_named() -> None:
    data = bytearray(packed(Fingerprint()))
    data[2] = 9
    with pytest.raises(Poisoned, match="version 9"):
        unpacked(bytes(data))
