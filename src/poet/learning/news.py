"""What one learner tells all others of the calls that it has seen, as scalars and bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from poet.learning import gains
from poet.learning.checks import count, number, numbers
from poet.learning.gains import Gain
from poet.learning.notes import FIRST_ANSWERS, RECENT, marked


class News(NamedTuple):
    """What a memory has seen since it last told, for others to take in."""

    gain: Gain
    answers: tuple[float, ...]  # of the first few [s]
    longest: float  # that any attempt was waited for [s]
    limit: float  # in force [s]
    near: float  # single durations from this on are kept [s]
    urgent: int  # see ``Evidence.urgent``
    alarm: int  # call of the alarm before, which all knew of
    quiet: int  # calls since the last alarm
    marks: tuple[int, ...]  # of first attempts, oldest first
    old_marks: int  # newest ones that are kept of those before, at most RECENT


def written(news: News) -> tuple[dict[str, Any], bytes]:
    """``news``, to be sent."""
    facts, blob = gains.written(news.gain)
    facts |= {
        "answers": news.answers,
        "longest": news.longest,
        "limit": news.limit if news.limit < math.inf else None,
        "near": news.near,
        "urgent": news.urgent,
        "alarm": news.alarm,
        "quiet": news.quiet,
        "recent": len(news.marks),
        "old": news.old_marks,
    }
    return facts, struct.pack(f"<{len(news.marks)}H", *news.marks) + blob


def read(facts: Mapping[str, Any], blob: bytes) -> News:
    """The inverse of ``written``. Raises ValueError, KeyError, TypeError or struct.error where it is none."""
    marks = struct.unpack_from(f"<{count(facts['recent'], RECENT)}H", blob)
    for each in marks:
        marked(each)
    return News(
        gains.read(facts, blob[2 * len(marks) :]),
        tuple(numbers(facts["answers"], range(FIRST_ANSWERS + 1))),
        number(facts["longest"]),
        math.inf if facts["limit"] is None else number(facts["limit"]),
        number(facts["near"]),
        count(facts["urgent"], 2),
        count(facts["alarm"]),
        count(facts["quiet"]),
        marks,
        count(facts["old"], RECENT),
    )
