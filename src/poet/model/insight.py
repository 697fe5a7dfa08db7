"""What a history shows that a single call cannot: findings with their evidence, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from poet.model.estimate import Estimate
from poet.model.tunable import Value

Kind = Literal["change", "trend", "season", "forecast", "incident", "cluster", "relation", "effect", "daily"]
KINDS: tuple[Kind, ...] = (
    "incident",
    "change",
    "effect",
    "daily",
    "cluster",
    "relation",
    "trend",
    "forecast",
    "season",
)
"""What findings are of. ``relation``: parameters and results go together, which need not be cause and effect;
``effect``: they do where values were dealt out by lot; ``daily``: values pay that follow the day."""


class Proposal(NamedTuple):
    """Values that the history speaks for: of all calls, or of those of one context."""

    values: Mapping[str, Value]
    context: Mapping[str, Value]  # features that calls must have; empty: all calls
    gain: Estimate | None  # of utility per call, by a replay of the record; None: the record cannot tell


@dataclass(frozen=True, slots=True)
class Insight:
    """One finding about one function.

    function: its full name. subject: what it is about: "latency", "failures", "load", "score", a parameter, a feature.
    effect: its size in ``unit`` with an interval. calls: executions that it rests on. since, until: the span of time
    that it is about, Unix times [s]. sentence: the finding, for people; action: what to do about it. worth: what is at
    stake [utility per 1000 calls], >= 0; findings are ranked by it. picture: lines of text. facts: further figures, by
    name. also: the other functions that it is about, by their full names, where there are several.
    """

    function: str
    kind: Kind
    subject: str
    sentence: str
    action: str
    effect: Estimate
    unit: str
    calls: int
    since: float
    until: float
    worth: float = 0.0
    picture: tuple[str, ...] = ()
    proposal: Proposal | None = None
    facts: Mapping[str, float | str] = field(default_factory=dict)
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((f"{self.function}: {self.sentence}", *self.picture, self.action))


class Analysed(NamedTuple):
    """What was looked at of one function."""

    function: str
    calls: int  # whose history was taken in
    first: float  # start of the oldest, Unix time [s]; 0: there are none
    last: float  # and of the newest
    step: float  # width of the points of time that it was told by [s]; 0: too few calls for any
    left_out: Mapping[str, int]  # rows that could not be used, by reason
    untold: tuple[str, ...]  # what could not be found out, and why


@dataclass(frozen=True, slots=True)
class OptimizationInsights:
    """All that a history shows, most at stake first.

    functions: what was looked at. left_out: rows that belong to no function, by reason.
    """

    insights: tuple[Insight, ...] = ()
    functions: tuple[Analysed, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Insight]:
        return iter(self.insights)

    def __len__(self) -> int:
        return len(self.insights)

    def of(self, function: str) -> tuple[Insight, ...]:
        """Those about one function, by its full name."""
        return tuple(each for each in self.insights if each.function == function or function in each.also)


def ranked(insights: Iterator[Insight] | tuple[Insight, ...] | list[Insight]) -> tuple[Insight, ...]:
    """Most at stake first; where that is the same by kind, function and time: always in the same order."""
    return tuple(
        sorted(insights, key=lambda x: (-x.worth, KINDS.index(x.kind), x.function, x.since, x.subject, x.sentence))
    )


class ContextCluster(NamedTuple):
    """Contexts that are alike."""

    label: int
    size: int  # executions
    share: float  # of all, in (0, 1]
    centre: Mapping[str, Value]  # mean of each number, the most frequent of each category
    stability: float  # mean Jaccard similarity to the cluster that it becomes when contexts are drawn anew, in [0, 1]


class Season(NamedTuple):
    """Something that repeats."""

    seconds: float  # length of the period [s]
    strength: float  # share of the variance that it explains, in [0, 1]


class Shift(NamedTuple):
    """A moment from which on the level is another one."""

    at: float  # Unix time [s]
    earliest: float  # interval of the moment, Unix times [s]
    latest: float
    effect: Estimate  # difference of the levels, in the units of the series


class TemporalPatterns(NamedTuple):
    """What a series does over time."""

    points: int
    step: float  # between two points [s]
    trend: Estimate | None  # per day, in the units of the series; None: too few points
    seasons: tuple[Season, ...]
    shifts: tuple[Shift, ...]
    forecast: tuple[Estimate, ...]  # the points to come
    untold: tuple[str, ...]  # what could not be found out, and why
