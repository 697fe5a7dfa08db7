from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.model.drawing import BLOCKS, MARGIN, Axis, Bin, Mark, blocks, curve, over_seconds, scale, spread, window
from poet.model.estimate import Estimate
from poet.model.explanation import Explanation, Forecast
from poet.model.objective import Objective

SECONDS = st.floats(1e-6, 1e4)
BINS = st.lists(
    st.tuples(SECONDS, st.floats(1.01, 20), st.floats(0, 1)).map(lambda t: Bin(t[0], t[0] * t[1], t[2])), max_size=20
)
MARKS = st.lists(st.builds(Mark, SECONDS, st.text("abc ", min_size=1, max_size=14)), max_size=6)


@given(BINS, st.integers(1, 120))
def test_all_that_falls_on_the_axis_is_in_one_of_its_columns(bins: list[Bin], width: int) -> None:
    axis = Axis.over([x for part in bins for x in (part.low, part.high)], width)
    columns = spread(bins, axis)
    assert len(columns) == axis.width
    assert sum(columns) == pytest.approx(sum(part.share for part in bins))


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=30), st.floats(-10, 10), st.floats(-10, 10))
def test_more_is_never_drawn_lower(values: list[float | None], lowest: float, highest: float) -> None:
    drawn = blocks(values, lowest, highest)
    assert len(drawn) == len(values)
    pairs = sorted((x, BLOCKS.index(c)) for x, c in zip(values, drawn, strict=True) if x is not None)
    assert [level for _, level in pairs] == sorted(level for _, level in pairs)


@given(BINS, MARKS, st.lists(st.tuples(SECONDS, st.floats(-1e3, 1.0)), max_size=8), st.integers(28, 130))
def test_a_picture_keeps_within_its_width_and_names_every_mark(
    bins: list[Bin], marks: list[Mark], points: list[tuple[float, float]], width: int
) -> None:
    points.sort()
    lines = over_seconds(bins, marks, points, window([worth for _, worth in points], None, 1.0), width)
    assert max(map(len, lines)) <= width
    said = " ".join(lines)
    assert all(mark.label.strip() in said for mark in marks)
    ticks = next(line for line in lines if "─" in line or "┴" in line)
    assert ticks.count("┴") <= len(marks)
    assert bool(marks) == ("┴" in ticks)


def test_labels_that_would_meet_stand_below_each_other() -> None:
    lines = scale([Mark(1.0, "p50 1 s"), Mark(1.5, "p90 1.5 s"), Mark(90.0, "timeout 90 s")], Axis(0.5, 100.0, 40))
    assert [line.strip() for line in lines[1:]] == ["p50 1 s                timeout 90 s", "p90 1.5 s"]
    assert max(map(len, lines)) == 40


def test_a_curve_is_drawn_from_its_first_point_to_its_last() -> None:
    assert curve([(1.0, 0.0), (10.0, 1.0)], Axis(0.1, 100.0, 21), 0.0, 1.0) == "       ▁▁▁▁████       "[:21]
    assert curve([], Axis(0.1, 100.0, 20), 0.0, 1.0) == " " * 20


def explained() -> Explanation:
    def at(timeout: float, worth: float) -> Forecast:
        values = {"timeout": timeout, "retries": 1, "hedges": 1, "hedge_delay": 0.3}
        return Forecast(values, Estimate(worth, worth - 0.1, worth + 0.1, 100), 0.99, 0.2, 1.1)

    timeouts = tuple(at(0.1 * 2**k, 0.9 - abs(k - 3) / 10) for k in range(7))
    bins = (Bin(0.1, 0.125, 0.3), Bin(0.125, 0.2, 0.6), Bin(1.0, 1.25, 0.05))
    latency = {0.5: 0.15, 0.9: 0.2, 0.95: 1.2}
    return Explanation(
        100, Objective().for_latency(0.2), latency, 0.05, 5.0, {}, timeouts[3], timeouts, ("So it is.",), bins, timeouts
    )


def test_an_explanation_can_be_printed() -> None:
    lines = str(explained()).splitlines()
    assert lines[-1] == "So it is."
    assert lines[0].startswith("answers ")
    assert lines[1].lstrip().startswith("worth ")
    said = " ".join(lines)
    for label in ("p50 0.15 s", "p90 0.2 s", "timeout 0.8 s", "hedge 0.3 s"):
        assert label in said
    assert max(map(len, lines)) <= 72
    worth = lines[1].ljust(72)
    axis = next(line for line in lines if "─" in line)
    assert worth[MARGIN + axis[MARGIN:].rindex("┴")] == "█"  # the live timeout is the best


def test_without_a_picture_only_the_sentences_are_printed() -> None:
    bare = explained()._replace(spread=())
    assert (bare.picture(), str(bare)) == ([], "So it is.")
