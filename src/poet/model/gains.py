"""What learning has gained: words for recorded calls beside what they would have been under the declared values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from poet.model.estimate import Estimate
from poet.model.objective import Objective
from poet.model.tunable import Value

Estimator = Literal["replay", "contrast", ""]
"""How the declared values were compared: ``replay``: on the very same calls, walked through again; ``contrast``: calls
that used them beside calls that did not, where a lot decided which; empty: not at all."""


class Compared(NamedTuple):
    """One figure of the calls."""

    lived: float  # as they went
    declared: Estimate | None  # as it would have been under the declared values; None: it cannot be told
    difference: Estimate | None  # lived less declared


class Saved(NamedTuple):
    """What the declared values would have cost beyond what was spent, per 1000 calls; negative: they cost less."""

    seconds: Estimate  # that callers would have waited [s]
    failures: Estimate
    requests: Estimate


class Moment(NamedTuple):
    """One moment of the running effect."""

    until: float  # Unix time [s]
    calls: int  # up to then
    lived: float  # utility per call since the moment before
    declared: float  # what it would have been
    gain: float  # per call, of all calls up to then [utility]
    low: float  # a band that holds at all moments together; NaN: too early to say
    high: float


class ChangeGain(NamedTuple):
    """What one version gained over the one that it was made from."""

    version: int
    parent: int
    at: float  # when it was made, Unix time [s]
    origin: str
    predicted: Estimate | None  # gain per call as its maker believed [utility]; None: nothing was said
    measured: Estimate | None  # by replay of the calls before and after it; None: it cannot be told
    improved: bool | None  # None: it cannot be told
    agreed: bool | None  # whether prediction and measurement agree within both intervals; None: one is missing
    why: str = ""  # it cannot be told


class Contrast(NamedTuple):
    """Calls that used the declared values beside others at the same time, where a lot decided which."""

    gain: Estimate  # of a call that did not use them [``unit``]
    declared: int  # calls that used them
    others: int
    unit: str  # "utility" or "score"


class Hindsight(NamedTuple):
    """The best values that all recorded calls could have used, and what it cost not to have known them."""

    values: Mapping[str, Value]
    tried: int  # sets of values that were compared
    regret: Estimate  # utility per call that was missed, judged by calls that did not choose the values
    near: float  # share of the calls whose values were within ``NEAR`` of the best
    since: float | None  # from when on live values stayed as near, Unix time [s]; None: they do not yet
    calls: int | None  # calls on record before that


NEAR = 0.05
"""Share of the best values' utility within which others count as converged."""


class Overhead(NamedTuple):
    """What being tuned cost, measured in one process."""

    training: float  # CPU of training since the process began, of all functions [s]
    executions: int  # that it has taken in
    call: float  # what a decorated call takes beyond the function itself, median [s]

    @property
    def per_execution(self) -> float:
        """CPU of training per execution [s]; 0 before the first."""
        return self.training / self.executions if self.executions else 0.0


class Gains(NamedTuple):
    """What learning has gained for one function."""

    function: str  # its full name
    declared: Mapping[str, Value]
    live: Mapping[str, Value]
    calls: int  # that were compared
    older: bool  # whether there are older calls: only the newest are compared
    first: float  # start of the oldest of them, Unix time [s]; 0: there are none
    last: float
    left_out: Mapping[str, int]  # calls that no parameter decides, by reason
    estimator: Estimator
    objective: Objective | None  # with its latency cost; None: there is no scale of latency
    figures: Mapping[str, Compared]  # by ``poet.model.replay.FIGURES``
    gain: Estimate | None  # per call [utility, or score of a contrast]; None: it cannot be told
    unit: str  # of the gain
    worse: float  # how likely learning has not made it better; NaN: it cannot be told
    saved: Saved | None
    running: tuple[Moment, ...]
    block: float  # time whose calls are taken for one [s]
    blocks: int
    decided: float  # share of calls that the record decides
    untold: float  # share of calls of which it cannot tell, nor can comparable attempts
    contrast: Contrast | None
    changes: tuple[ChangeGain, ...]  # oldest first
    improved: Estimate | None  # share of changes that improved, of those that can be told; None: none can
    agreed: Estimate | None  # share of predictions that agree with what was measured; None: there is none of both
    hindsight: Hindsight | None  # None: not asked for, or not to be told
    overhead: Overhead | None  # None: not measured here
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)


class AllGains(NamedTuple):
    """What learning has gained over all functions."""

    functions: tuple[Gains, ...]  # the greatest gain in all first, those that cannot be told last
    calls: int  # of functions that can be told
    gain: Estimate | None  # per call of these [utility]
    saved: Saved | None  # per 1000 calls of these
    improved: Estimate | None  # share of all changes that improved, of those that can be told
    agreed: Estimate | None
    worse: tuple[str, ...]  # functions that learning has made worse, at a false-discovery rate of ``RATE``
    sentences: tuple[str, ...]


RATE = 0.05
