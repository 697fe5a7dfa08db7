"""Why these values: what a learner believes, in words and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from poet.model.estimate import Estimate
from poet.model.objective import Objective
from poet.model.tunable import Value


class Forecast(NamedTuple):
    """What a candidate would give, per call."""

    values: Mapping[str, Value]
    utility: Estimate
    success: float  # probability that the call succeeds
    seconds: float  # expected duration of the call [s]
    requests: float  # expected number of requests


class Explanation(NamedTuple):
    """The picture that a learner's choice rests on."""

    executions: int  # seen in all
    objective: Objective | None  # with its derived scales; None while too little was seen
    latency: Mapping[float, float]  # share of answers -> seconds within which they come; missing: never seen to come
    unanswered: float  # share of attempts not answered by the longest limit tried
    longest: float  # that limit [s]
    failures: Mapping[str, float]  # "transient", "permanent", "refused", "repeats" ... -> share in [0, 1]
    live: Forecast | None
    neighbours: tuple[Forecast, ...]  # best first
    sentences: tuple[str, ...]
