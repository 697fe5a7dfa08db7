"""What is noted of an attempt until it is folded into the counts, and the constants of the memories.

Standard library only: it is loaded with the learner, long before numpy is.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from poet.kernels.online.bins import BINS, bin_of, position, seconds_at
from poet.model.execution import Execution, Outcome

HALF_LIVES = (8.0, 60.0, 300.0, 1500.0, 8000.0)  # of the competing memories [calls]
MEMORIES = len(HALF_LIVES)
REFUSED_HALF_LIFE = 300.0  # of the share of refused calls [calls]
BLOCK = 128  # attempts, or calls, that wait at most until they are folded in
ALLOWANCE = 0.02  # of the change alarm [nats per call]
SHIFTS = (-5, -2, 2, 5)  # that the watch looks for: all latencies so many bins longer, so 3.05 or 1.56 times as long
# Of what is watched: how much better the shortest memory did of late than each; each of the shifts; far more
# attempts without an answer, and far fewer errors; and the first of these once more, for what must not wait.
FAR_MORE, FAR_FEWER, WORSE = (MEMORIES + len(SHIFTS) + each for each in range(3))
LEVELS = WORSE + 1
FIRST_ANSWERS = 20  # answers from which the scale of latency is taken
RECORD_KEEP = 0.99  # of a memory's record per call: what counts is how well it predicted the last 50 or so

# A function that hedges:
ACCOUNT = 8000.0  # half-life of the memory of how many copies were sent [calls]
DOUBT = 32_000.0  # half-life of what is believed of repeating latency [calls]: without hedges nothing else tests it


class Pace(NamedTuple):
    """How fast the old is forgotten."""

    keeps: tuple[float, ...]  # share of a count that is kept per call, one per memory, in (0, 1) [1]
    record_keep: float  # of the memories' record, in [0, 1) [1]
    doubt: float | None  # half-life of what is believed of repeating latency [calls]; None: only new evidence moves it


@lru_cache
def pace_of(pace: float, record_keep: float, *, hedging: bool) -> Pace:
    """The same object for the same arguments, as many learners share it. pace: divides all half-lives, > 0 [1]."""
    keeps = tuple(0.5 ** (pace / half_life) for half_life in HALF_LIVES)
    return Pace(keeps, record_keep, DOUBT if hedging else None)


ANSWER, ERROR, CENSORED = range(3)
KIND: dict[int, int] = {
    Outcome.SUCCESS: ANSWER,
    Outcome.LATE: ANSWER,
    Outcome.ERROR: ERROR,
    Outcome.TIMEOUT: CENSORED,
    Outcome.REFUSED: CENSORED,  # whatever it answered, it was no sample of how long an answer takes
    Outcome.CANCELLED: CENSORED,
}  # SHED is missing: an attempt that was not made is no sample of anything


class Note(NamedTuple):
    """One attempt; small whole numbers, so that a dump keeps it exactly."""

    call: int  # number within the block, from 0
    outcome: int
    bin: int
    position: int  # within the bin [1/FINE]
    pause: int  # before it [ms]


class Copy(NamedTuple):
    """A hedge: a copy of an attempt that was slow. Like a note, and kept apart, as it is neither first nor a retry."""

    call: int
    outcome: int
    bin: int
    position: int
    slow: int  # how long the request that it copies had run by then, as a ``mark``


FORMAT = struct.Struct("<BBBBH")  # of both

RECENT = 768  # newest first attempts that are kept one by one, of those that took long enough to be hedged


def was_shed(execution: Execution) -> bool:
    """Whether the call was not made, so that there is nothing to learn from it: every attempt of it was shed."""
    attempts = execution.attempts
    # the first is asked by itself, as that is enough for nearly all
    return bool(attempts) and attempts[0][0] == Outcome.SHED and all(a[0] == Outcome.SHED for a in attempts)


def duration(note: Note | Copy) -> float:
    """Seconds of a noted attempt that was cut off, to 1/FINE of its bin."""
    return seconds_at(note.bin, note.position)


def mark(seconds: float, cut_off: bool = False) -> int:
    """A duration, >= 0 [s], to 1/FINE of its bin, and whether the attempt was cut off then: in [0, 65535]."""
    bin_ = bin_of(seconds)
    return (bin_ << 1 | cut_off) << 8 | position(seconds, bin_)  # FINE fills one byte


def marked(mark_: int) -> tuple[float, bool]:
    """The inverse of ``mark``. Raises ValueError where ``mark_`` is none.

    >>> marked(mark(30.0, cut_off=True))
    (30.0, True)
    """
    bin_, place = mark_ >> 9, mark_ & 0xFF
    if not 0 <= bin_ < BINS or (bin_ == BINS - 1 and place):
        raise ValueError(f"no mark of a duration: {mark_!r}")
    return seconds_at(bin_, place), bool(mark_ >> 8 & 1)
