"""What a function's declared tunables were tried at, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from poet.model.execution import Context
from poet.model.tunable import Value


class Trial(NamedTuple):
    """One call, or several alike, as a tuner sees it."""

    values: Mapping[str, Value]  # of all tunables, as they were used; whoever used another one may lie out of bounds
    score: float  # finite; more is better, on the same scale always [utility]
    context: Context = ()  # features of the call, by name
    slack: tuple[float, ...] = ()  # of each constraint: by how much it was kept, >= 0, or broken, < 0 [its goal's unit]


class Recommendation(NamedTuple):
    """What a tuner holds to be best, by its posterior mean and not by its luckiest trial."""

    values: Mapping[str, Value]
    mean: float  # expected score [utility]
    low: float  # ends of the 90 % interval of that mean
    high: float
    evidence: int  # trials that it rests on
    feasible: bool = True  # whether it is believed to keep every constraint
