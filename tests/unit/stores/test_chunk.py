from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from array import array
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.execution import Attempt, Context, Execution, Outcome
from poet.stores import chunk, features
from poet.stores.columns import numbers, planes, texts, zigzag
from unit.stores.strategies import CONTEXTS, GOALS

DURATIONS = st.floats(0, 1e30)
ATTEMPTS = st.builds(Attempt, st.sampled_from(Outcome), DURATIONS, DURATIONS, st.booleans())
NAMES = st.sampled_from(["", "ValueError", "KeyError"]) | st.text(max_size=4) | st.just("\ud800")
ROWS = st.builds(
    Execution,
    st.sampled_from(["w", "w", "w", "\ud800", ""]),
    st.integers(0, 2**61),
    st.floats(-1e12, 1e12),
    DURATIONS,
    st.sampled_from(Outcome),
    st.integers(0, 2**64 - 1),
    st.lists(ATTEMPTS, max_size=4).map(tuple),
    NAMES,
    CONTEXTS,
    st.just(0) | st.integers(0, 2**62 - 1),
    st.none() | st.floats(-1e30, 1e30),
    st.just(()) | CONTEXTS,
    st.just(()) | GOALS,
    st.just(1.0) | st.sampled_from([0.5, 0.05]) | st.floats(0, 1, exclude_min=True),
)
MAGICS = (b"PXc1", b"PXc2", b"PXc3", b"PXc4", b"PXc5")
CHUNKS = st.lists(ROWS, min_size=1, max_size=30, unique_by=lambda row: row[:2]).map(
    lambda rows: sorted(rows, key=place)
)


def place(row: Execution) -> tuple[str, int]:
    return row.writer, row.sequence


def single(number: float) -> float:
    return array("f", [number])[0]


def rounded(row: Execution) -> Execution:
    """What the module promises to keep, worked out another way."""
    attempts = tuple(Attempt(a.outcome, single(a.seconds), single(a.waited), a.hedge) for a in row.attempts)
    return row._replace(
        started=round(row.started * 1000) / 1000,
        seconds=single(row.seconds),
        attempts=attempts,
        score=None if row.score is None else single(row.score),
    )


def plain(sequence: int, **changes: object) -> Execution:
    row = Execution("w", sequence, 0.0, 0.5, Outcome.SUCCESS, 1, (Attempt(Outcome.SUCCESS, 0.5),))
    return row._replace(**changes)  # type: ignore[arg-type]


@given(CHUNKS)
def test_what_is_decoded_is_what_was_encoded_up_to_the_stated_precision(rows: list[Execution]) -> None:
    blob = chunk.encode(rows)
    kept = chunk.decode(blob, rows[0].writer)
    assert kept == [rounded(row) for row in rows]
    assert repr(kept) == repr([rounded(row) for row in rows])  # 1, 1.0 and True are equal, and not the same
    assert all(type(row.outcome) is Outcome for row in kept)
    assert chunk.encode(kept) == blob


def test_a_pause_too_short_to_be_kept_is_none() -> None:
    row = plain(0, attempts=(Attempt(Outcome.SUCCESS, 0.5, 1e-60),))
    assert chunk.encode([row]) == chunk.encode([plain(0)])


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
        assert chunk.decode(bytes(blob), rows[0].writer) == [rounded(row) for row in rows]


@given(CHUNKS, st.data())
def test_a_missing_end_or_a_byte_too_many_is_found(rows: list[Execution], data: st.DataObject) -> None:
    blob = chunk.encode(rows)
    end = data.draw(st.integers(0, len(blob) - 1))
    for wrong in (blob[:end], blob + b"\0"):
        with pytest.raises(ValueError):
            chunk.decode(wrong, "w")


def packed(body: bytes, magic: bytes) -> bytes:
    return struct.pack("<4sI", magic, len(body)) + zlib.compress(body)


@pytest.mark.parametrize("magic", MAGICS)
@settings(max_examples=300)
@given(tail=st.binary(max_size=400))
def test_a_well_packed_body_of_nonsense_is_refused_or_read_but_never_anything_else(magic: bytes, tail: bytes) -> None:
    """Past the checksum: every length and number inside is checked before it is believed."""
    for head in (b"", struct.pack("<IQq", 3, 0, 0), struct.pack("<IQq", 2**32 - 1, 2**64 - 1, -(2**63))):
        with suppress(ValueError):
            assert len(chunk.decode(packed(head + tail, magic), "w")) <= chunk.ROWS


@pytest.mark.parametrize("magic", MAGICS)
@given(rows=CHUNKS, data=st.data())
def test_a_body_with_one_byte_changed_is_refused_or_read_but_never_anything_else(
    magic: bytes, rows: list[Execution], data: st.DataObject
) -> None:
    body = bytearray(zlib.decompress(chunk.encode(rows)[8:]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        assert len(chunk.decode(packed(bytes(body), magic), "w")) <= chunk.ROWS


@pytest.mark.parametrize("form", [1, 2])
@given(CHUNKS)
def test_what_older_releases_could_say_is_read_from_their_formats_to_the_bit(form: int, rows: list[Execution]) -> None:
    before = [_as_before(row, form) for row in {row.sequence: row for row in rows}.values()]
    before.sort(key=place)
    assert chunk.decode(packed(_body_of(before, form), b"PXc%d" % form), "w") == [rounded(row) for row in before]


def _as_before(row: Execution, form: int) -> Execution:
    row = row._replace(writer="w", draw=0, score=None, values=(), goals=(), propensity=1.0)
    if form == 2:
        return row

    def known(outcome: Outcome) -> Outcome:
        return Outcome.ERROR if outcome is Outcome.SHED else outcome

    attempts = tuple(Attempt(known(a.outcome), a.seconds, a.waited) for a in row.attempts)
    return row._replace(outcome=known(row.outcome), attempts=attempts, context=())


def _body_of(rows: list[Execution], form: int) -> bytes:
    """As the older releases wrote it: one writer's steps as they are, every attempt written out, nothing after them."""
    starts = [round(row.started * 1000) for row in rows]
    names = ["", *sorted({row.error for row in rows} - {""})]
    attempts = [attempt for row in rows for attempt in row.attempts]
    return b"".join(
        (
            struct.pack("<IQq", len(rows), rows[0].sequence, starts[0]),
            numbers(b.sequence - a.sequence - 1 for a, b in pairwise(rows)),
            numbers(zigzag(b - a) for a, b in pairwise(starts)),
            planes(array("f", [row.seconds for row in rows])),
            bytes(row.outcome | 0x08 for row in rows),
            numbers(row.version for row in rows),
            texts(names[1:]),
            numbers(names.index(row.error) for row in rows),
            numbers(len(row.attempts) for row in rows),
            bytes(a.outcome | (0x08 if a.hedge else 0) for a in attempts),
            planes(array("f", [a.seconds for a in attempts])),
            planes(array("f", [a.waited for a in attempts])),
            features.pack([row.context for row in rows]) if form == 2 else b"",
        )
    )


def test_the_first_release_knew_no_hedges_and_shed_nothing() -> None:
    hedged = plain(0, attempts=(Attempt(Outcome.SUCCESS, 0.5), Attempt(Outcome.CANCELLED, 0.25, 0.25, hedge=True)))
    shed = plain(0, outcome=Outcome.SHED, attempts=(Attempt(Outcome.SHED, 0.5),))
    for row, number in ((hedged, Outcome.CANCELLED | 0x08), (shed, Outcome.SHED)):
        with pytest.raises(ValueError, match=f"no outcome has the number {number}"):
            chunk.decode(packed(_body_of([row], 1), b"PXc1"), "w")


@pytest.mark.parametrize("magic", [b"PXc6", b"PXc9"])
def test_a_chunk_of_a_newer_release_is_told_from_a_damaged_one(magic: bytes) -> None:
    with pytest.raises(chunk.NewerChunk, match=f"a newer POET wrote it: its format is {magic.decode()}"):
        chunk.decode(packed(bytes(100), magic), "w")


@pytest.mark.parametrize("magic", [b"PXc0", b"PXcA", b"PXd2"])
def test_what_has_no_magic_number_of_ours_is_no_chunk(magic: bytes) -> None:
    with pytest.raises(ValueError, match="not a chunk") as caught:
        chunk.decode(packed(bytes(100), magic), "w")
    assert type(caught.value) is ValueError


def test_an_outcome_leaves_room_for_the_flag_beside_it() -> None:
    assert max(Outcome) < 0x08


@pytest.mark.parametrize("announced", [1 << 23, 1 << 24, 1 << 31])
def test_a_small_blob_cannot_ask_for_much_memory(announced: int) -> None:
    bomb = struct.pack("<4sI", b"PXc3", announced) + zlib.compress(bytes(1 << 24), 9)
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
        ([plain(1), plain(2, writer="v"), plain(3)], "ascend"),
        ([plain(1, writer="v"), plain(3), plain(2)], "ascend"),
        ([plain(0, score=float("nan"))], "score must be finite"),
        ([plain(0, score=1e39)], "score must be finite"),
        ([plain(0, draw=-1)], "draw must be in"),
        ([plain(0, draw=2**62)], "draw must be in"),
        ([plain(0), plain(1, propensity=0.0)], "propensity must be in"),
        ([plain(0, propensity=1.0000001)], "propensity must be in"),
        ([plain(0, propensity=float("nan"))], "propensity must be in"),
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
        ([plain(0), plain(1, context=(("size", float("nan")),))], "feature 'size' must be finite"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(rows: list[Execution], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        chunk.encode(rows)


def test_a_chunk_of_the_first_release_can_still_be_read() -> None:
    """Drawn with its ``encode(...).hex()``: the layout is for good, as stores are full of it."""
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


def test_a_chunk_of_the_second_format_can_still_be_read() -> None:
    """Drawn with ``encode(...).hex()`` when it came: hedges, shed calls and features of every kind."""
    blob = bytes.fromhex(
        "5058633222010000789c4d8e314ec3401045ff8cd766a3f41c801378134392c66b0951a5a0a3448aec555809c5681d17"
        "8984e46b241dc7e02234dc21550e905d1b10ff3733a33f4f5f00b8c2a0f7e7a7d307010cdc00c45fe7ef8462fc932e34"
        "3092094542081f038de5bd75656bb78f6f66b334bb07e76a471e41c4cc14cbdfd7ae40a7b5ceff589d778e3c09944404"
        "3bb3b6f5a6b17b53aeca1753bdd6abaab26bd36cc32df254c15188c74ce4fb458210f7435f85d9b46d13f61e192214a6"
        "de803c1e823ef5b0d2b552f3f476a1ee26e94ccd32a5a6e9349b643fe1a1a32c0817a1812a13"
    )
    lost = (Attempt(Outcome.CANCELLED, 0.5), Attempt(Outcome.SUCCESS, 0.25, 0.25, hedge=True))
    rows = [
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
            (("region", "eu"), ("size", 3), ("cached", False), ("load", 0.1), ("digest", 2**70)),
        ),
        plain(9, started=1795000001.25, version=4, attempts=lost, context=(("size", -1), ("region", "us"))),
        Execution(
            "w",
            300,
            1795000000.5,
            0.0,
            Outcome.SHED,
            4,
            (Attempt(Outcome.SHED, 0.0),),
            "CircuitOpen",
            (("size", 3.0),),
        ),
    ]
    assert repr(chunk.decode(blob, "w")) == repr(rows)


def test_a_chunk_of_the_third_format_can_still_be_read() -> None:
    """Drawn with ``encode(...).hex()`` when it came: several writers, draws and scores."""
    blob = bytes.fromhex(
        "5058633389000000789c63666060e0648080dab8b0770b19191898806c4646c6c4244610c5cbc4f43380c18d0106eced"
        "ed41f2cc8c8c0c60757082a538b32a15ca07ea0443209b8d91818387011530c26908abc17e3f0004d40966"
    )
    rows = [
        plain(9, writer="a", started=1795000000.125, version=3, draw=12, score=0.5),
        plain(3, writer="b", started=1795000000.0, draw=2**40, context=(("size", 3),)),
        plain(5, writer="b", started=1795000009.0, score=-1.0),
    ]
    assert repr(chunk.decode(blob, "w")) == repr(rows)


def test_a_chunk_of_the_fourth_format_can_still_be_read() -> None:
    """Drawn with ``encode(...).hex()`` when it came: values of every kind, and goals."""
    blob = bytes.fromhex(
        "505863346b010000789c4d50314ec43010dcb573e1103d2d1f00c95e274e5c1ce11548344851ce3aa2cb5d2024050512"
        "3c033a0a1e41cb2378432a1a1a4a62fb746256f28ec6ab9db12300388480c7ebcbef370c1c1118b0af718c39877f2826"
        "f87b8e88bb417706caf61c8a99578e8f625c6fdaa56d2e3abbaadbedc20ea77d6dbb85ecede6d676653f74b62aab1bbb"
        "5c23671031bf9d2320e311f339dc468c31f45953762beb6480f92bbceceb038a270c795c36dfcfcfa416daa85c2409a5"
        "b93182b2344da4d1240ca9444a4d5a504a44828c51594e99a15ca54a4895e9e08207d1dd503675ff50b5f73d635e73c9"
        "261bf764e7340fdf3316bb6057f003bff00927b08577789e66f00f4e39362a"
    )
    assert repr(chunk.decode(blob, "w")) == repr(FOURTH)


def test_a_chunk_of_the_fifth_format_can_still_be_read() -> None:
    """Drawn with ``encode(...).hex()`` when it came: propensities."""
    blob = bytes.fromhex(
        "5058633594010000789c6d50bd4ec33010beb3d352c4ceca0b80e49fc48987125e022416a42835256ada404806062478"
        "8c766360e011587987f20c992a24164662bbaa1838cbbe4f9fcff77dbe0000f6c1c7e3d5c5e6053d460402e4b3eb8694"
        "c29f48fb70f71411b785f6f490ec30a403c71c1e0c7136af26a63cabcdb4a81663d31e3785a9c7bc31f35b53674d5b9b"
        "3ccb6fcc64869440405c778a808406c4f9b01d71883e0fcaac9e1a4b038c56b0dcad77489fd0fbb1de5c3e3de18a292d"
        "131686224ab466228ea2906b25981632e45c09c544248460426b192722d6229191645cc6caabe05e70d76665d13ce4d5"
        "7d4388e3acb35ec67ed92a8dfc78ba746bec12bee1073ee00816f00acf7d0d063dbf3abf86e53ffb6dbdf9b2a3ed5f53"
        "fc05fa444286"
    )
    assert repr(chunk.decode(blob, "w")) == repr(dealt())


def dealt() -> list[Execution]:
    """As ``FOURTH``, given their versions by a coin."""
    return [row._replace(propensity=chance) for row, chance in zip(FOURTH, (0.05, 0.95, 1.0, 1 / 3), strict=True)]


def test_without_values_goals_and_coins_a_chunk_is_as_it_was() -> None:
    """So the release before reads it, and it costs nothing."""
    assert chunk.encode(dealt())[:4] == b"PXc5"
    assert chunk.encode(FOURTH)[:4] == b"PXc4"
    assert chunk.encode([row._replace(values=(), goals=()) for row in FOURTH])[:4] == b"PXc3"


def test_values_that_repeat_and_goals_cost_what_they_tell() -> None:
    rng = random.Random(7)
    rows = realistic(rng)
    bare = len(chunk.encode(rows))
    tries: list[Context] = [(("temperature", rng.random()), ("model", rng.choice("abc"))) for _ in range(8)]
    tried = [row._replace(values=rng.choice(tries), draw=1) if rng.random() < 0.3 else row for row in rows]
    assert len(chunk.encode(tried)) < bare + 700
    own = [row._replace(values=(("k", rng.randrange(64)),)) for row in rows]  # each caller's own: six bits
    assert len(chunk.encode(own)) < bare + 1_100
    scored = [
        row._replace(goals=(("quality", rng.random()), ("cost", rng.random()))) for row in rows
    ]  # all bits random
    assert len(chunk.encode(scored)) < bare + 16_000 + 3_500


def test_a_coin_costs_hardly_more_than_the_version_that_it_gave() -> None:
    rng = random.Random(7)
    rows = [row._replace(version=1 + (rng.random() < 0.05)) for row in realistic(rng)]
    given = [row._replace(propensity=0.05 if row.version == 2 else 0.95) for row in rows]
    assert len(chunk.encode(given)) < len(chunk.encode(rows)) + 150


def test_the_first_sequence_is_told_by_the_first_bytes() -> None:
    for rows in ([plain(7)], [plain(i) for i in range(2**40, 2**40 + 1000)], FOURTH):
        blob = chunk.encode(rows)
        assert chunk.first_sequence(blob[: chunk.PEEK]) == rows[0].sequence
    assert chunk.first_sequence(b"") is chunk.first_sequence(b"PXc40000nonsense") is None


FOURTH = [
    plain(
        9,
        started=1795000000.125,
        version=3,
        draw=2,
        values=(("k", 3), ("model@region=eu,tier=1", "large"), ("temperature", 0.1)),
        goals=(("quality", 0.75), ("cost", -1e-300)),
    ),
    plain(10, started=1795000001.0, score=0.5, goals=(("cost", 0.0),)),
    plain(12, started=1795000001.5, values=(("cached", True), ("k", -(2**200)), ("temperature", -0.0))),
    plain(13, started=1795000002.0),
]


def test_chunks_of_many_writers_pack_like_those_of_one() -> None:
    rows = realistic(random.Random(7))
    many = sorted((row._replace(writer=f"{i % 250:08x}") for i, row in enumerate(rows)), key=place)
    alone = sum(len(chunk.encode([row for row in many if row.writer == f"{i:08x}"])) for i in range(250))
    assert len(chunk.encode(many)) < 9_500 < alone / 2


def test_scores_and_draws_cost_what_they_tell() -> None:
    rng = random.Random(7)
    rows = realistic(rng)
    bare = len(chunk.encode(rows))
    verdicts = [row._replace(score=float(rng.random() < 0.9)) for row in rows]
    assert len(chunk.encode(verdicts)) < bare + 400
    drawn = [row._replace(draw=i) for i, row in enumerate(rows)]  # the values themselves would take 4 bytes each
    assert len(chunk.encode(drawn)) < bare + 700


def realistic(rng: random.Random, features: Callable[[], Context] = tuple) -> list[Execution]:
    """A thousand calls, 5 % of them retried."""
    rows, now = [], 1.8e9
    for i in range(1000):
        now += rng.expovariate(10)
        first, second, pause = rng.lognormvariate(-2, 0.6), rng.lognormvariate(-2, 0.6), rng.uniform(0, 0.2)
        row = plain(i, started=now, seconds=first, attempts=(Attempt(Outcome.SUCCESS, first),), context=features())
        if rng.random() < 0.05:
            attempts = (Attempt(Outcome.ERROR, first), Attempt(Outcome.SUCCESS, second, pause))
            row = row._replace(seconds=first + pause + second, attempts=attempts)
        rows.append(row)
    return rows


def test_a_thousand_executions_of_a_realistic_mix_stay_below_six_kilobytes() -> None:
    assert (
        len(chunk.encode(realistic(random.Random(7)))) < 6_000
    )  # seconds alone are 4,000, of which little can be saved


def test_hedges_and_shed_calls_cost_next_to_nothing() -> None:
    rng = random.Random(7)
    rows = realistic(rng)
    for i in range(0, 1000, 20):
        took = rows[i].seconds
        hedged = (Attempt(Outcome.CANCELLED, took), Attempt(Outcome.SUCCESS, took / 2, took / 2, hedge=True))
        rows[i] = rows[i]._replace(attempts=hedged)
        shed = (Attempt(Outcome.SHED, 0.0),)
        rows[i + 1] = rows[i + 1]._replace(outcome=Outcome.SHED, seconds=2e-6, attempts=shed, error="CircuitOpen")
    assert len(chunk.encode(rows)) < 7_000


def test_a_thousand_executions_with_features_stay_below_twenty_kilobytes() -> None:
    rng = random.Random(7)

    def features() -> Context:
        return (
            ("region", rng.choice(("eu-west-1", "us-east-1", "ap-south-1"))),
            ("cached", rng.random() < 0.3),
            ("characters", int(rng.lognormvariate(6, 1))),
            ("load", rng.random()),  # all bits of it random: 8,000 bytes that nothing can save
        )

    assert len(chunk.encode(realistic(rng, features))) < 20_000
    rng = random.Random(7)
    assert len(chunk.encode(realistic(rng, lambda: features()[:3]))) < 9_000


def test_chunks_of_twenty_leave_no_hoard_of_tuples_behind() -> None:
    # CPython 3.11 keeps 2000 tuples of that length once they were freed, and never uses them again.
    rows = [plain(i) for i in range(20)]
    chunk.encode(rows)
    tracemalloc.start()
    try:
        for _ in range(200):
            chunk.encode(rows)
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 50_000
