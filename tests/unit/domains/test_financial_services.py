from __future__ import annotations

import inspect
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.domains.financial_services import DOMAIN, SCORES, credit_score


def assess(credit_score: int, annual_income: float, debt_to_income: float, employment_years: float) -> None: ...


PERCEIVE, ENFORCE = DOMAIN.for_function(inspect.signature(assess))
assert PERCEIVE is not None
assert ENFORCE is not None


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        (("excellent", "$75,000", "25%", "5 years"), (780, 75000.0, 0.25, 5.0)),
        ((650, "45K", 0.35, 2.5), (650, 45000.0, 0.35, 2.5)),
        (("very good", "2.5M", "0.25", "30 months"), (780, 2500000.0, 0.25, 2.5)),
        (("score 712", 1, 45, 50), (712, 1, 0.45, 50)),
        (("712", "0", "100%", 0), (712, 0.0, 1.0, 0)),
        (("FICO: 300", 0, "10", "50 years"), (300, 0, 0.1, 50.0)),
    ],
)
def test_what_people_write_is_read(given_: tuple[Any, ...], read: tuple[Any, ...]) -> None:
    assert PERCEIVE(*given_) == (read, {})


def test_a_text_becomes_an_integer_score_and_floats() -> None:
    (score, *others), _ = PERCEIVE("good", "45K", "25%", "5")
    assert type(score) is int
    assert all(type(each) is float for each in others)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("credit_score", "999"),
        ("credit_score", 900),
        ("credit_score", 299),
        ("credit_score", "not good"),
        ("credit_score", "good to excellent"),
        ("credit_score", "7120"),
        ("credit_score", "up 712 from 650"),
        ("annual_income", "abc"),
        ("annual_income", -5),
        ("annual_income", "75.000"),
        ("annual_income", "€75,000"),
        ("annual_income", "5K a month"),
        ("annual_income", 10_000_001),
        ("debt_to_income", "120%"),
        ("debt_to_income", 150),
        ("debt_to_income", -0.1),
        ("employment_years", 99),
        ("employment_years", "10+ years"),
        ("employment_years", None),
    ],
)
def test_what_would_be_a_guess_is_rejected(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*accepted: "):
        PERCEIVE(**{name: value})


@pytest.mark.parametrize("value", [1.2, 2, 5, 9.99, "5", "1.2", Decimal("1.2")])
def test_a_share_that_may_be_either_is_rejected_with_what_to_write(value: object) -> None:
    with pytest.raises(ValueError, match="may be a ratio or per cent"):
        PERCEIVE(debt_to_income=value)


def test_a_small_share_in_per_cent_is_not_a_large_ratio() -> None:
    assert PERCEIVE(debt_to_income="1%") == ((), {"debt_to_income": 0.01})
    assert PERCEIVE(debt_to_income="0.5%") == ((), {"debt_to_income": 0.005})


SCORE = st.one_of(st.integers(300, 850), st.sampled_from(sorted(SCORES)), st.integers(300, 850).map("score {}".format))
INCOME = st.one_of(st.floats(0, 1e7), st.integers(0, 10_000).map("${}K".format), st.decimals(0, 10_000_000, places=2))
RATIO = st.one_of(st.floats(0, 1), st.integers(10, 100), st.integers(0, 100).map("{}%".format))
YEARS = st.one_of(st.floats(0, 50), st.integers(0, 600).map("{} months".format))


@given(st.tuples(SCORE, INCOME, RATIO, YEARS))
def test_what_was_read_is_in_its_limits_and_reading_it_again_changes_nothing(values: tuple[Any, ...]) -> None:
    read, none = PERCEIVE(*values)
    score, income, ratio, years = read
    assert 300 <= score <= 850
    assert 0 <= income <= 10_000_000
    assert 0 <= ratio <= 1
    assert 0 <= years <= 50
    again, _ = PERCEIVE(*read)
    assert none == {}
    assert all(new is old for new, old in zip(again, read, strict=True))


ANYTHING = st.one_of(
    st.text(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.fractions(),
    st.none(),
    st.binary(),
    st.lists(st.integers()),
)


@given(st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING))
def test_anything_is_read_or_rejected(values: tuple[Any, ...]) -> None:
    try:
        read, _ = PERCEIVE(*values)
    except ValueError:
        return
    assert PERCEIVE(*read) == (read, {})


@given(st.text())
def test_a_score_is_found_only_where_the_whole_text_is_one(text: str) -> None:
    try:
        score = credit_score(text)
    except ValueError:
        return
    words = text.lower().split()
    assert " ".join(words) in SCORES or str(score) in text or int(words[-1]) == score


@dataclass
class Decision:
    approved: object
    interest_rate: object = None


@pytest.mark.parametrize("rate", [0.01, 4, 50.0, Decimal("4.25")])
def test_an_approval_with_a_rate_passes_as_it_is(rate: object) -> None:
    for decision in (Decision(True, rate), {"approved": True, "interest_rate": rate}):
        assert ENFORCE(decision) is decision


@pytest.mark.parametrize("rate", [None, 0, 0.005, 50.1, -3, float("nan"), "4 %", True])
def test_an_approval_without_a_usable_rate_is_rejected(rate: object) -> None:
    for decision in (Decision(True, rate), {"approved": True, "interest_rate": rate}):
        with pytest.raises(ValueError, match="approved with"):
            ENFORCE(decision)
    with pytest.raises(ValueError, match="approved without"):
        ENFORCE({"approved": True})


@pytest.mark.parametrize(
    "decision", [Decision(False), {"approved": False}, {"approved": None}, 712, None, "approved", {}]
)
def test_what_is_no_approval_passes_as_it_is(decision: object) -> None:
    assert ENFORCE(decision) is decision
