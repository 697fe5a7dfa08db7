"""Financial services: what a credit decision is made from, and what it must say.

An income that was not understood and is taken for 0, or a score that is out of range and moved into it, is a wrong
decision with nobody to notice it: such input is rejected.
"""

from __future__ import annotations

import re
from typing import Any, Final

from poet.domains.readers import is_number, number, shown, within
from poet.domains.results import field
from poet.domains.table import Quantity, TableDomain
from poet.domains.units import dollars, measure, per_cent, years

SCORES: Final = {"excellent": 780, "very good": 780, "good": 720, "fair": 650, "poor": 580, "bad": 580}
"""What a word stands for, by the habit of the trade."""

_SCORE: Final = re.compile(r"(?:(?:credit |fico )?score|fico)?\s*[:=]?\s*([0-9]{1,9})", re.IGNORECASE)
LOWEST_RATE, HIGHEST_RATE = 0.01, 50.0  # of interest, per year [%]


def credit_score(text: str) -> int:
    """The score that a word, ``"712"`` or ``"score 712"`` means. Raises ValueError.

    >>> credit_score("Very good"), credit_score("score: 712")
    (780, 712)
    """
    tidy = " ".join(text.split())
    rated = SCORES.get(tidy.lower())
    if rated is not None:
        return rated
    match = _SCORE.fullmatch(tidy)
    if match is None:
        raise ValueError("is not understood")
    return int(match[1])


def debt_to_income(value: Any) -> Any:
    """The ratio, in [0, 1]; a number from 10 to 100 is per cent, as no ratio is that large.

    Between 1 and 10 it could be either: 1.2 is read as 120 % by one, as 1.2 % by another. Raises ValueError.

    >>> debt_to_income("25%"), debt_to_income(0.35), debt_to_income(45)
    (0.25, 0.35, 0.45)
    """
    found = value
    if isinstance(value, str):
        share = per_cent(value)
        if share is not None:
            return _RATIO(share)
        found = measure(value, {"": float})
    if is_number(found) and not within(found, 0, 1):
        if within(found, 10, 100):
            return found / 100
        if within(found, 1, 10):
            raise ValueError("may be a ratio or per cent: add a '%', or divide it by 100")
    return _RATIO(found)


def approved_with_a_rate(decision: Any) -> Any:
    """``decision``, the same object. Raises ValueError where it is approved and bears no usable interest rate [%]."""
    approved = field(decision, "approved")
    if approved is None or not approved.value:
        return decision
    rate = field(decision, "interest_rate")
    if rate is None or rate.value is None:
        raise ValueError("approved without an interest_rate")
    if not (is_number(rate.value) and within(rate.value, LOWEST_RATE, HIGHEST_RATE)):
        raise ValueError(
            f"approved with an interest_rate of {shown(rate.value)}; accepted: {LOWEST_RATE:g} to {HIGHEST_RATE:g} %"
        )
    return decision


_RATIO = number(0, 1, lambda text: measure(text, {"": float}))

DOMAIN: Final = TableDomain(
    name="financial_services",
    quantities=(
        Quantity(
            "credit_score",
            number(300, 850, credit_score),
            "300 to 850, also as 'score 712'; excellent, very good, good, fair, poor, bad",
            aliases=("fico_score",),
        ),
        Quantity(
            "annual_income",
            number(0, 10_000_000, dollars),
            "0 to 10000000 dollars a year, also as '$75,000', '45K', '2.5M'",
            aliases=("yearly_income",),
        ),
        Quantity(
            "debt_to_income",
            debt_to_income,
            "a ratio from 0 to 1, or per cent, as '25%' or as a number from 10 to 100",
            aliases=("debt_to_income_ratio", "dti"),
        ),
        Quantity(
            "employment_years",
            number(0, 50, years),
            "0 to 50 years, also as '5 years', '30 months', '2 years 6 months'",
            aliases=("years_employed",),
        ),
    ),
    enforce=approved_with_a_rate,
)
