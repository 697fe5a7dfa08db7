"""What a function is like, in a few numbers; and which others are like it, with the reasons."""

from __future__ import annotations

from typing import NamedTuple

from poet.model.estimate import Estimate
from poet.model.function import FunctionKey

Features = tuple[tuple[int, int], ...]
"""Hashed features, rising: a digest of 32 bits, and its weight in 1 .. 255."""

MEASURED = (
    "level",  # ln of the median duration of an attempt [ln s]
    "p05",  # ln of this quantile's ratio to the median, and so on: the shape, whatever the unit of time
    "p25",
    "p75",
    "p90",
    "p95",
    "p99",
    "failures",  # logit of the share of attempts without an answer
    "timeouts",  # logit of the share of attempts that were cut off
    "refused",  # logit of the share of attempts that no repetition can mend
    "rate",  # ln of calls per hour, in hours with calls
    "day_cos",  # first harmonic of calls over the hours of the day, relative to their mean, in [-1, 1]
    "day_sin",
    "timeout",  # ln of the learned timeout's ratio to the median; not where it is as declared
    "retries",  # ln of 1 + the learned retries
    "backoff",  # ln of the learned bound of the first pause, 1 ms at least, relative to the median
)
"""The names of what is measured of a function's behaviour."""


class Declared(NamedTuple):
    """One tunable of a function's own."""

    name: int  # digest
    kind: int  # 0 real, 1 whole, 2 one of several
    low: float  # of its range; options: how many
    high: float
    options: tuple[int, ...] = ()  # digests


class Behaviour(NamedTuple):
    """What its calls were like. A number that is not known is None."""

    executions: int  # that it was measured from
    numbers: tuple[float | None, ...]  # as in ``MEASURED``
    errors: tuple[float | None, ...]  # their standard errors
    kinds: tuple[tuple[int, float], ...] = ()  # failures: digest of the error's type -> share of them, in (0, 1]


class Fingerprint(NamedTuple):
    """What is known of a function: who it is, what it declares, how it behaves. No text, no argument, no result."""

    words: Features = ()  # of its names and its docstring
    types: Features = ()  # of its parameters and their annotations
    meaning: bytes = b""  # of its names and its docstring, by an embedding: a signed byte for each dimension
    domain: int = 0  # digest; 0: none
    tunables: tuple[Declared, ...] = ()
    behaviour: Behaviour | None = None


class Told(NamedTuple):
    """What one source says of two functions."""

    source: str  # "names", "meaning", "types", "declared" or "behaviour"
    likeness: float | None  # in [-1, 1], 0: it speaks neither for nor against; None: it has nothing to say
    doubt: float  # standard deviation of it
    weight: float  # by which it moves the log odds, per unit, as past transfers taught
    words: str  # the reason, for people

    @property
    def pull(self) -> float:
        """What it adds to the log odds that a transfer helps."""
        return 0.0 if self.likeness is None else self.weight * self.likeness


class SimilarFunction(NamedTuple):
    """A function that is like another one."""

    function: FunctionKey
    helps: Estimate  # probability that what it learned helps the other one; n: outcomes of transfers that it rests on
    told: tuple[Told, ...]  # by source

    @property
    def similarity(self) -> float:
        """The probability alone, in [0, 1]."""
        return self.helps.value

    @property
    def sentences(self) -> tuple[str, ...]:
        """The reasons in words, the weightiest first; what has nothing to say stands last."""
        order = sorted(self.told, key=lambda each: (each.likeness is None, -abs(each.pull)))
        return tuple(each.words for each in order)
