"""What is noted of an attempt until it is folded into the counts, and the constants of the memories.

Standard library only: it is loaded with the learner, long before numpy is.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from poet.kernels.online.bins import seconds_at
from poet.model.execution import Outcome

HALF_LIVES = (8.0, 60.0, 300.0, 1500.0, 8000.0)  # of the competing memories [calls]
MEMORIES = len(HALF_LIVES)
REFUSED_HALF_LIFE = 300.0  # of the share of refused calls [calls]
RECORD_KEEP = 0.98  # of a memory's record per call: what counts is how well it predicted the last 50 or so

ANSWER, ERROR, CENSORED = range(3)
KIND: dict[int, int] = {
    Outcome.SUCCESS: ANSWER,
    Outcome.LATE: ANSWER,
    Outcome.ERROR: ERROR,
    Outcome.TIMEOUT: CENSORED,
    Outcome.REFUSED: CENSORED,  # whatever it answered, it was no sample of how long an answer takes
    Outcome.CANCELLED: CENSORED,
}


class Note(NamedTuple):
    """One attempt; small whole numbers, so that a dump keeps it exactly."""

    call: int  # number within the block, from 0
    outcome: int
    bin: int
    position: int  # within the bin [1/FINE]
    pause: int  # before it [ms]


FORMAT = struct.Struct("<BBBBH")


def duration(note: Note) -> float:
    """Seconds of a noted attempt that was cut off, to 1/FINE of its bin."""
    return seconds_at(note.bin, note.position)
