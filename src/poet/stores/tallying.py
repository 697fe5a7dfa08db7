"""Hours: what executions add up to, and the bytes that an hour's sums are kept in.

The bytes are a format's number, then whole numbers of seven bits a byte, low ones first, the highest bit saying that
more follow (the base 128 varints of protocol buffers): how many outcomes there are and how often each came, requests,
hedges, scored executions, how many bins there are, and by bin its distance from the one before and its count; last the
summed seconds and scores as 64-bit floats. That is some 50 bytes for an hour of ten calls, 150 for one of a million.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from poet.kernels.online.bins import BINS, EDGES, bin_of
from poet.model.aggregate import HOUR, Hour
from poet.model.execution import Execution, Outcome

_FORMAT = 1
_SUMS = struct.Struct("<dd")
_MOST = 1 << 63  # of anything that is counted
_OUTCOMES = len(Outcome)


def hour_of(started: float) -> int:
    """The number of the hour since 1970 in which an execution ``started`` [Unix s]."""
    return int(started // HOUR)


def tallied(executions: Sequence[Execution]) -> dict[tuple[int, int], Hour]:
    """Hours by number and version."""
    if not executions:
        return {}
    _, _, starts, _, _, versions, *_ = zip(*executions, strict=True)
    hour = hour_of(min(starts))
    if hour == hour_of(max(starts)) and len(set(versions)) == 1:  # as it nearly always is
        return {(hour, versions[0]): _summed((hour, versions[0]), executions)}
    groups: dict[tuple[int, int], list[Execution]] = {}
    for execution in executions:
        groups.setdefault((hour_of(execution.started), execution.version), []).append(execution)
    return {place: _summed(place, group) for place, group in groups.items()}


def _summed(place: tuple[int, int], group: Sequence[Execution]) -> Hour:
    hour, version = place
    _, _, _, seconds, ends, _, tried, _, _, _, scores, *_ = zip(*group, strict=True)
    outcomes = Counter(ends)
    shed = Outcome.SHED
    made = seconds if not outcomes[shed] else [s for s, end in zip(seconds, ends, strict=True) if end is not shed]
    attempts = [attempt for attempts in tried for attempt in attempts if attempt[0] is not shed]
    given = [score for score in scores if score is not None]
    return Hour(
        start=hour * HOUR,
        version=version,
        calls=len(group),
        outcomes=tuple([outcomes[outcome] for outcome in Outcome]),
        requests=len(attempts),
        hedges=sum([attempt[3] for attempt in attempts]),
        seconds=sum(seconds),
        scored=len(given),
        score=sum(given),
        latency=_binned(sorted(made)),
    )


def _binned(seconds: Sequence[float]) -> dict[int, int]:
    """How many of ``seconds``, rising, lie in each bin; one search for each bin that is not empty."""
    counts: dict[int, int] = {}
    at, bin_ = 0, 0
    while at < len(seconds):
        bin_ = bin_of(seconds[at])
        end = len(seconds) if bin_ == len(EDGES) else bisect_left(seconds, EDGES[bin_], at)
        counts[bin_] = end - at
        at = end
    return counts


def added(one: Hour, other: Hour) -> Hour:
    """Both together; they are of one hour and version."""
    latency = Counter(one.latency)
    latency.update(other.latency)
    return Hour(
        start=one.start,
        version=one.version,
        calls=one.calls + other.calls,
        outcomes=tuple([a + b for a, b in zip(one.outcomes, other.outcomes, strict=True)]),
        requests=one.requests + other.requests,
        hedges=one.hedges + other.hedges,
        seconds=one.seconds + other.seconds,
        scored=one.scored + other.scored,
        score=one.score + other.score,
        latency=dict(sorted(latency.items())),
    )


def rescored(before: Sequence[Execution], after: Sequence[Execution]) -> dict[tuple[int, int], tuple[int, float]]:
    """By hour and version, how many more executions have a score and what it adds to their sum."""
    changes: dict[tuple[int, int], tuple[int, float]] = {}
    for old, new in zip(before, after, strict=True):
        if old.score != new.score:
            place = (hour_of(old.started), old.version)
            count, total = changes.get(place, (0, 0.0))
            count += (new.score is not None) - (old.score is not None)
            changes[place] = (count, total + (new.score or 0.0) - (old.score or 0.0))
    return changes


def pack(hour: Hour) -> bytes:
    """All but its place and its calls."""
    numbers = [len(hour.outcomes), *hour.outcomes, hour.requests, hour.hedges, hour.scored, len(hour.latency)]
    last = 0
    for bin_, count in sorted(hour.latency.items()):
        numbers += (bin_ - last, count)
        last = bin_
    body = bytearray((_FORMAT,))
    for number in numbers:
        while number > 0x7F:
            body.append(number & 0x7F | 0x80)
            number >>= 7
        body.append(number)
    return bytes(body) + _SUMS.pack(hour.seconds, hour.score)


def unpack(hour: int, version: int, calls: int, body: bytes) -> Hour:
    """The inverse of ``pack``. Raises ValueError where ``body`` is none."""
    if not body or body[0] != _FORMAT or len(body) < 1 + _SUMS.size:
        raise ValueError(f"no sums of an hour: {body[:8]!r}")
    numbers = iter(_numbers(body[1 : -_SUMS.size]))
    try:
        outcomes = tuple([next(numbers) for _ in range(_few(next(numbers), _OUTCOMES))])
        requests, hedges, scored = next(numbers), next(numbers), next(numbers)
        latency: dict[int, int] = {}
        bin_ = 0
        for _ in range(_few(next(numbers), BINS)):
            bin_ += next(numbers)
            latency[_few(bin_, BINS - 1)] = next(numbers)
    except StopIteration:
        raise ValueError("the sums of an hour end too early") from None
    if next(numbers, None) is not None:
        raise ValueError("the sums of an hour are too long")
    if sum(outcomes) != calls:
        raise ValueError(f"{calls} calls, but {sum(outcomes)} outcomes")
    seconds, score = _SUMS.unpack(body[-_SUMS.size :])
    outcomes += (0,) * (_OUTCOMES - len(outcomes))
    return Hour(hour * HOUR, version, calls, outcomes, requests, hedges, seconds, scored, score, latency)


def total(hours: Iterable[Hour]) -> Mapping[tuple[float, int], Hour]:
    """Those of one hour and version put together, in order."""
    found: dict[tuple[float, int], list[Hour]] = {}
    for hour in hours:
        found.setdefault((hour.start, hour.version), []).append(hour)
    return {place: reduce(added, found[place]) for place in sorted(found)}


def _numbers(body: bytes) -> list[int]:
    numbers = []
    number = shift = 0
    for byte in body:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
        elif shift > 63:
            raise ValueError("a number of an hour is too large")
    if shift or max(numbers, default=0) >= _MOST:
        raise ValueError("the sums of an hour are cut off")
    return numbers


def _few(number: int, most: int) -> int:
    if number > most:
        raise ValueError(f"at most {most} can be there, not {number}")
    return number
