from __future__ import annotations

from datetime import UTC, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from poet.cli import words
from poet.cli.pages import bar_lengths

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text())
def test_nothing_printable_can_steer_a_terminal_or_break_a_line(text: str) -> None:
    assert words.printable(text).isprintable()


@given(st.text(), st.integers(2, 60))
def test_first_words_fit_their_room(text: str, limit: int) -> None:
    assert len(words.first_words(text, limit)) <= limit


@given(st.floats(0, 1))
def test_only_a_whole_is_called_a_hundred_per_cent_and_only_nothing_zero(x: float) -> None:
    assert (words.share(x) == "100 %") == (x == 1)
    assert (words.share(x) == "0 %") == (x == 0)


@given(st.floats(1e-6, 1e4))
def test_a_span_is_right_to_three_figures(x: float) -> None:
    figure, unit = words.span(x).split()
    assert abs(float(figure) * {"ms": 1e-3, "s": 1.0}[unit] - x) <= 0.0051 * x


@given(st.floats() | st.integers(-(10**18), 10**18) | st.text() | st.booleans(), st.sampled_from(["timeout", "x"]))
def test_every_value_has_a_text(x: float | int | str | bool, name: str) -> None:
    assert words.value(name, x).isprintable()
    assert words.value(name, x, exact=True).isprintable()


@given(finite)
def test_an_exact_value_can_be_given_back(x: float) -> None:
    assert float(words.value("timeout", x, exact=True).removesuffix(" s")) == x


@given(finite, finite)
def test_every_moment_has_a_text(at: float, now: float) -> None:
    assert words.ago(at, now)
    assert words.moment(at, UTC)


def test_a_moment_is_told_in_the_zone_asked_for() -> None:
    assert words.moment(1_700_000_000, timezone(timedelta(hours=2))) == "2023-11-15 00:13:20"


def test_long_gone_is_told_in_days_and_years() -> None:
    now = 1_700_000_000.0
    said = [words.ago(now - hours * 3600, now) for hours in (0, 36, 49, 24 * 400, 24 * 800)]
    assert said == ["now", "36 h ago", "2 d ago", "400 d ago", "2 y ago"]


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_bars_keep_the_order_of_their_spans_and_their_room(spans: list[float]) -> None:
    lengths = bar_lengths(spans, 30)
    ordered = [length for _, length in sorted(zip(spans, lengths, strict=True))]
    assert ordered == sorted(ordered)
    assert all(0 <= length <= 30 for length in lengths)
    assert all((length > 0) == (x > 0) for x, length in zip(spans, lengths, strict=True))
