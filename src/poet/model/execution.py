"""What one call used, took and gave."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple


class Outcome(IntEnum):
    """How an attempt, or the call as a whole, ended. The numbers are stored: never renumber."""

    SUCCESS = 0
    ERROR = 1  # failed in a way that another attempt might mend
    TIMEOUT = 2  # had not answered by its limit: a censored sample of latency
    LATE = 3  # answered after its limit, and the answer was used: not censored
    REFUSED = 4  # failed in a way that no attempt can mend (a TypeError, say)
    CANCELLED = 5  # given up, by the caller or because another copy won: censored, and no verdict on the service
    SHED = 6  # not made: a breaker was open or a limit reached; no sample of anything

    @property
    def good(self) -> bool:
        """Whether the caller got an answer."""
        return self is Outcome.SUCCESS or self is Outcome.LATE


Context = tuple[tuple[str, bool | int | float | str], ...]  # features by name, within these limits:
MOST_FEATURES = 32  # of one execution
LONGEST_TEXT = 200  # characters of a name or of a text
WIDEST_WHOLE = 512  # bits of a whole number: a digest's


class Attempt(NamedTuple):
    """One attempt of a call."""

    outcome: Outcome
    seconds: float  # from its start to its end or its being given up, >= 0 [s]
    waited: float = 0.0  # pause before it, >= 0 [s]; of a hedge: from the start of the attempt that it copies
    hedge: bool = False  # a copy of the last attempt that is none, sent while that one was still running


class Execution(NamedTuple):
    """One call, with all its attempts. Neither arguments nor results are in it."""

    writer: str  # the process that made it
    sequence: int  # its number within function and writer, from 0
    started: float  # Unix time [s]
    seconds: float  # from the call's start to its end, pauses included, >= 0 [s]
    outcome: Outcome
    version: int  # of the parameters that it used
    attempts: tuple[Attempt, ...]  # at least one
    error: str = ""  # the type's name where it failed
    context: Context = ()  # features that ``perceive`` declared, by name
    draw: int = 0  # which of the policy's tries it was, in [0, 2**62); 0: none
    score: float | None = None  # what the answer was worth, 0 worst .. 1 best; None: nobody has said
    values: Context = ()  # of tunables that it used otherwise than its version says: tried, its context's, the caller's
    goals: tuple[tuple[str, float], ...] = ()  # what it was scored by, by name, where there are several
    propensity: float = 1.0  # probability, in (0, 1], with which a coin gave the call its version; 1: there was none

    @property
    def id(self) -> str:
        """Names this execution among all of its function."""
        return f"{self.writer}-{self.sequence}"


def rescored(execution: Execution, score: float | None, goals: tuple[tuple[str, float], ...]) -> Execution:
    """``execution`` with what was said later: of its goals those that are named; no more than can be kept.

    score: None: it stays.
    """
    together = tuple({**dict(execution.goals), **dict(goals)}.items())[:MOST_FEATURES] if goals else execution.goals
    return execution._replace(score=execution.score if score is None else score, goals=together)


class Dealt(int):
    """The number of a version that a coin gave to a call, with the probability of that.

    A plan bears it in place of the plain number, so that calls tell of it at no cost.

    >>> Dealt(7, 0.25) == 7, Dealt(7, 0.25).propensity
    (True, 0.25)
    """

    propensity: float

    def __new__(cls, version: int, propensity: float) -> Dealt:
        """propensity: in (0, 1]."""
        dealt = super().__new__(cls, version)
        dealt.propensity = propensity
        return dealt


class Feedback(NamedTuple):
    """What an execution was worth, said after it ended; of several about one execution the newest counts."""

    writer: str
    sequence: int
    score: float  # finite; 0 worst .. 1 best
    at: float  # when it was said, Unix time [s]
    goals: tuple[tuple[str, float], ...] = ()  # what it was scored by, by name; of several about one name the newest


Goals = tuple[tuple[str, float], ...]  # what a call was scored by, by name
Plainly = tuple[Outcome, tuple[Attempt, ...], str, Context]
Fully = tuple[
    Outcome, tuple[Attempt, ...], str, Context, int, float | None, Context, Goals
]  # draw, score, values, goals
Detail = Plainly | Fully
Record = tuple[int, float, float, int, Detail | None]
"""What a call leaves behind: sequence, start and end on the monotonic clock, version, and how it went.

No detail says: the first attempt succeeded. An empty tuple of attempts says: there was one, as long as the call.
"""

PLAIN: Plainly = (Outcome.SUCCESS, (), "", ())
LATE: Plainly = (Outcome.LATE, (), "", ())
UNTOLD = ""  # in ``Execution.values``: a value that cannot be kept, as None; such a call teaches nothing of tunables


def kept(value: object) -> bool | int | float | str | None:
    """``value`` as the plain bool, int, float or text that it is; None where it is none, or beyond the limits.

    >>> kept("eu"), kept(0.5), kept(None), kept(float("nan"))
    ('eu', 0.5, None, None)
    """
    if isinstance(value, str):
        return str.__str__(value) if len(value) <= LONGEST_TEXT else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= WIDEST_WHOLE else None
    return float(value) if isinstance(value, float) and math.isfinite(value) else None


def detailed(
    plainly: Plainly | None, context: Context, draw: int, values: Context, scored: tuple[float | None, Goals]
) -> Detail | None:
    """How it went, with what is to be told beside that: features of the input, values tried, a score."""
    score, goals = scored
    if draw or values or score is not None:
        outcome, attempts, error, _ = plainly or PLAIN
        return outcome, attempts, error, context, draw, score, values, goals
    if context:
        outcome, attempts, error, _ = plainly or PLAIN
        return outcome, attempts, error, context
    return plainly


def from_record(record: Record, writer: str, epoch: float) -> Execution:
    """The execution that ``record`` tells of.

    epoch: Unix time at the monotonic clock's zero [s].

    >>> from_record((7, 2.0, 2.5, 1, None), "w", 1000.0).attempts
    (Attempt(outcome=<Outcome.SUCCESS: 0>, seconds=0.5, waited=0.0, hedge=False),)
    """
    sequence, start, end, version, detail = record
    seconds = end - start
    if type(version) is Dealt:
        plain = from_record((sequence, start, end, int(version), detail), writer, epoch)
        return plain._replace(propensity=version.propensity)
    if detail is None or len(detail) == 4:
        outcome, attempts, error, context = detail or PLAIN
        attempts = attempts or (Attempt(outcome, seconds),)
        return Execution(writer, sequence, epoch + start, seconds, outcome, version, attempts, error, context)
    outcome, attempts, error, context, draw, score, values, goals = detail
    attempts = attempts or (Attempt(outcome, seconds),)
    return Execution(
        writer,
        sequence,
        epoch + start,
        seconds,
        outcome,
        version,
        attempts,
        error,
        context,
        draw,
        score,
        values,
        goals,
    )
