from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poet.domains.building_management import FAHRENHEIT
from poet.domains.semiconductor import CELSIUS, TORR
from poet.domains.units import LONGEST, dollars, measure, per_cent, years

BARE = {"": float}
READERS: tuple[Callable[[str], float | None], ...] = (
    dollars,
    years,
    per_cent,
    lambda text: measure(text, FAHRENHEIT),
    lambda text: measure(text, TORR),
)


@given(st.integers(0, 10_000_000))
def test_an_amount_with_grouped_thousands_is_the_amount(amount: int) -> None:
    for text in (f"${amount:,}", f"{amount:,} USD", f"USD {amount}", f" {amount:,}.00 dollars", str(amount)):
        assert dollars(text) == amount


@given(st.integers(0, 9_999))
def test_thousands_and_millions_are_that_much_more(amount: int) -> None:
    assert dollars(f"{amount}K") == dollars(f"${amount} thousand") == amount * 1e3
    assert dollars(f"{amount}m") == dollars(f"{amount} million") == amount * 1e6


@given(st.floats(0, 1e7, allow_nan=False))
def test_the_text_of_a_number_is_that_number(number: float) -> None:
    assert measure(repr(number), BARE) == number
    assert measure(repr(-number), BARE) == -number


@given(st.integers(-100, 1000))
def test_celsius_and_fahrenheit_lead_back_to_each_other(celsius: int) -> None:
    fahrenheit = measure(f"{celsius}C", FAHRENHEIT)
    assert measure(f"{fahrenheit!r} °F", CELSIUS) == pytest.approx(celsius, abs=1e-9)


@given(st.integers(0, 50), st.integers(0, 11))
def test_years_and_months_add_up(whole: int, months: int) -> None:
    span = pytest.approx(whole + months / 12)
    for text in (f"{whole} years {months} months", f"{whole} yrs, {months} mos", f"{whole} year and {months} month"):
        assert years(text) == span
    assert years(f"{12 * whole + months} months") == span


@given(st.integers(0, 100))
def test_per_cent_is_a_hundredth(number: int) -> None:
    assert per_cent(f"{number}%") == per_cent(f"{number} percent") == per_cent(f"{number} per cent") == number / 100


@given(st.one_of(st.text(), st.from_regex(r"[$+-]?[0-9.,eE ]{1,12}[ a-zA-Z%/°$]{0,8}", fullmatch=True)))
@example("1e999")
@example("-")
@example("%")
@example("٣")
@example("9" * (LONGEST + 1))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    for reader in READERS:
        try:
            found = reader(text)
        except ValueError:
            continue
        assert found is None or isinstance(found, float)


@pytest.mark.parametrize(
    "text", ["", " ", "$", "K", "1,23", "1,2345", "12,34,567", "1.2.3", "7 5", "€75,000", "5 apples"]
)
def test_what_is_not_an_english_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        dollars(text)


def test_an_amount_that_may_be_grouped_by_a_dot_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two readings, 75.000 and 75,000"):
        dollars("$75.000")
    assert dollars("1.125M") == 1_125_000  # no thousands are grouped here


@pytest.mark.parametrize("text", ["10+ years", "5 years and", "about 5", "-", "years", "6 decades"])
def test_a_vague_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        years(text)


def test_a_text_too_long_for_a_number_is_refused_unread() -> None:
    assert measure("9" * LONGEST, BARE) > 0
    with pytest.raises(ValueError, match="not understood"):
        measure("9" * (LONGEST + 1), BARE)


def test_a_unit_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="'furlong'"):
        measure("2 furlong", TORR)


@pytest.mark.parametrize(
    "text", ["68", "68F", "68 °F", "68°", "68 degrees F", "68 deg f", "20C", "20 ° C", "20 Celsius"]
)
def test_a_temperature_is_read_however_it_is_spelled(text: str) -> None:
    assert measure(text, FAHRENHEIT) == 68.0


def test_a_typographic_minus_is_a_minus() -> None:
    assert measure("−20 C", CELSIUS) == -20.0
