"""Numbers as people write them. English usage: a comma groups thousands, a dot begins the decimals.

Each reader takes a text and gives a float, or raises ValueError with the reason, to be read after the text itself
("'abc' is not understood"). None of them guesses: what has two readings is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

NUMBER: Final = (
    r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|[+-]?\.[0-9]+(?:[eE][+-]?[0-9]+)?"
)
LONGEST: Final = 80  # a text longer than this is no number; keeps a pattern from toiling over one [characters]

_MANY: Final = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6}
_YEARS, _MONTHS = "(?:years?|yrs?|y)", "(?:months?|mos?)"
_MEASURE: Final = re.compile(rf"({NUMBER})\s*([^0-9.,]*)")
_DOLLARS: Final = re.compile(
    rf"(?:us\$|\$|usd)?\s*({NUMBER})\s*(k|thousand|m|million)?\s*(?:usd|dollars?)?", re.IGNORECASE
)
_TENURE: Final = re.compile(
    rf"({NUMBER})\s*{_YEARS}(?:(?:\s*,\s*|\s+and\s+|\s*)({NUMBER})\s*{_MONTHS})?|({NUMBER})\s*{_MONTHS}", re.IGNORECASE
)
_MAY_BE_GROUPED: Final = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")

Scale = Callable[[float], float]


def measure(text: str, units: Mapping[str, Scale]) -> float:
    """A number with its unit, brought to the scale that ``units`` holds.

    units: from a unit, in lower case, to what turns a number in it into the common one; the unit ``""`` is a bare
    number. Raises ValueError.

    >>> measure("500 mTorr", {"": float, "torr": float, "mtorr": lambda x: x / 1000})
    0.5
    """
    tidy = _tidy(text)
    match = _MEASURE.fullmatch(tidy)
    if match is None:
        raise ValueError("is not understood")
    scale = units.get(match[2].lower())
    if scale is None:
        raise ValueError(f"has a unit that is not known, {match[2]!r}")
    return scale(_number(match[1]))


def dollars(text: str) -> float:
    """An amount of US dollars; other currencies are refused, as no rate is known here. Raises ValueError.

    >>> dollars("$75,000"), dollars("45K"), dollars("2.5M")
    (75000.0, 45000.0, 2500000.0)
    """
    match = _DOLLARS.fullmatch(_tidy(text))
    if match is None:
        raise ValueError("is not understood")
    if match[2] is None and _MAY_BE_GROUPED.fullmatch(match[1]):
        raise ValueError(f"has two readings, {match[1]} and {match[1].replace('.', ',')}")
    return _number(match[1]) * _MANY[(match[2] or "").lower()]


def years(text: str) -> float:
    """A span in years, from years, months or both; a bare number is years. Raises ValueError.

    >>> years("5 years"), years("30 months"), years("1 year 6 months"), years("2.5")
    (5.0, 2.5, 1.5, 2.5)
    """
    tidy = _tidy(text)
    match = _TENURE.fullmatch(tidy)
    if match is None:
        return measure(tidy, {"": float})
    whole, rest = match[1] or "0", match[2] or match[3] or "0"
    return _number(whole) + _number(rest) / 12


def per_cent(text: str) -> float | None:
    """The share that a text with a per cent sign means; None where it has no such sign. Raises ValueError.

    >>> per_cent("25%"), per_cent("0.25")
    (0.25, None)
    """
    tidy = _tidy(text)
    for sign in ("%", "percent", "per cent"):
        if tidy.lower().endswith(sign):
            return measure(tidy[: -len(sign)], {"": float}) / 100
    return None


def _tidy(text: str) -> str:
    """Without blanks at the ends, each run of blanks as one, and with a minus sign that float() knows."""
    if len(text) > LONGEST:
        raise ValueError("is not understood")
    return " ".join(text.split()).replace("\N{MINUS SIGN}", "-")


def _number(text: str) -> float:
    return float(text.replace(",", ""))
