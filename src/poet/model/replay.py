"""What other parameters would have made of recorded calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from poet.model.estimate import Estimate
from poet.model.objective import Objective
from poet.model.tunable import Value

FIGURES = ("success", "seconds", "p50", "p99", "requests", "utility")
"""What is told of calls: the share that got an answer, mean, median and 99 % quantile of their durations [s], requests
per call, and the mean utility by the objective."""


class Replay(NamedTuple):
    """Recorded calls, and what they would have been under other parameters."""

    values: Mapping[str, Value]  # the other parameters
    calls: int  # that were replayed
    older: bool  # whether there are older calls that were asked for: only the newest are replayed
    first: float  # start of the oldest of them, Unix time [s]; 0: there are none
    last: float  # and of the newest
    left_out: Mapping[str, int]  # calls that no parameter decides, by reason: "shed", "cancelled", "unknown"
    held: int  # failed calls that something else than their retries ended: a deadline, a budget, a breaker …
    late: int  # calls whose answer came behind its limit and was used all the same
    objective: Objective | None  # with its latency cost; None: there is no scale of latency
    recorded: Mapping[str, float]  # by ``FIGURES``
    replayed: Mapping[str, Estimate]  # by ``FIGURES``; the interval holds what the record leaves open, too
    bounds: Mapping[str, tuple[float, float]]  # lowest and highest, whatever the attempts that nobody saw had done
    gain: Estimate | None  # of utility per call over the record, and would be over as many other calls
    decided: float  # share of calls that the record decides exactly
    untold: float  # share of calls of which neither the record nor comparable attempts can tell
    longest: float  # longest that an attempt was waited for [s]
    sentences: tuple[str, ...]
