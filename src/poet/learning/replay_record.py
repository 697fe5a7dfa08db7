"""Recorded calls as arrays, attempt by attempt: what was seen and what was cut off; and which attempts compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.product_limit import CUT_OFF, Array, Sample, Whole
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.tunable import Value
from poet.settings import BACKOFF_CAP

ANSWER, ERROR, REFUSED, LATE = range(1, 5)  # ways to end, beside ``CUT_OFF``; LATE: an answer that no limit stopped
KIND: Mapping[Outcome, int] = {
    Outcome.SUCCESS: ANSWER,
    Outcome.LATE: LATE,
    Outcome.ERROR: ERROR,
    Outcome.REFUSED: REFUSED,
    Outcome.TIMEOUT: CUT_OFF,
    Outcome.CANCELLED: CUT_OFF,
}
NEAR = 1.25  # ratio within which two limits are comparable
INSTANT = 0.01  # pauses up to this are all alike [s]
SUPPORT = 20  # comparable attempts that must have been seen for an estimate
EPOCHS = 8  # parts of a record, at most; attempts of the same part compare, as far as there are enough
EPOCH = 500  # calls of a part, at least
ANY = (-math.inf, math.inf)  # of the contexts
SHORT = 0.98  # of its limit: an attempt that was cut off before met another limit

Bools = npt.NDArray[np.bool_]
Used = Callable[[Execution], "Mapping[str, Value] | None"]  # the parameters that a call used; None: not known


class Group(NamedTuple):
    """One attempt: its first request and the copies of it."""

    first: Attempt
    copies: tuple[Attempt, ...]

    @property
    def cause(self) -> int:
        """How it ended, as a kind."""
        kinds = [KIND[each.outcome] for each in (self.first, *self.copies)]
        if ANSWER in kinds or LATE in kinds:
            return ANSWER
        if kinds[0] == REFUSED:
            return REFUSED
        return CUT_OFF if CUT_OFF in kinds else ERROR  # an error waits for the copies, at most to the limit

    @property
    def seconds(self) -> float:
        """From the start of its first request to its end [s]."""
        ends = [(self.first, self.first.seconds), *((copy, copy.waited + copy.seconds) for copy in self.copies)]
        good = [end for each, end in ends if each.outcome.good]
        if good:
            return min(good)
        return self.first.seconds if self.first.outcome is Outcome.REFUSED else max(end for _, end in ends)


def groups(attempts: Sequence[Attempt]) -> list[Group]:
    """The attempts of a call, each with its copies; those that were not made are left out.

    >>> made = (Attempt(Outcome.CANCELLED, 0.9), Attempt(Outcome.SUCCESS, 0.4, 0.5, hedge=True))
    >>> [(group.cause == ANSWER, group.seconds) for group in groups(made)]
    [(True, 0.9)]
    """
    found: list[Group] = []
    for attempt in attempts:
        if attempt.outcome is Outcome.SHED:
            continue
        if attempt.hedge and found:
            found[-1] = Group(found[-1].first, (*found[-1].copies, attempt))
        else:
            found.append(Group(attempt, ()))
    return found


def longest_pause(backoff: float, retry: int) -> float:
    """Bound of the pause before ``retry``, >= 1 [s]."""
    return min(BACKOFF_CAP, backoff * 2.0 ** min(retry - 1, 30))


class Table(NamedTuple):
    """Recorded calls; attempts are counted from 0, request 0 of an attempt is its first, the others are its copies."""

    kinds: Whole  # (n, n_attempts, n_requests) how each request ended
    ends: Array  # (n, n_attempts, n_requests) after how long, from its own start [s]
    copies: Whole  # (n, n_attempts) how many copies were sent
    made: Whole  # (n,) how many attempts were made, those behind the table included
    causes: Whole  # (n, n_attempts) how the attempt before ended
    pauses: Array  # (n, n_attempts) before the attempt [s]
    pause_bounds: Array  # (n, n_attempts) what the pause was drawn below [s]; nan: not known
    horizon: Array  # (n,) when something else than its parameters ended the call, from its start [s]; inf: nothing did
    held: Bools  # (n,) whether it failed with fewer retries than it had
    rest: Array  # (n,) of the call's duration, beside its attempts and pauses [s]
    success: Bools  # (n,)
    seconds: Array  # (n,) [s]
    requests: Whole  # (n,)
    epochs: Whole  # (n,) in which part of the record it is

    @classmethod
    def of(cls, rows: Sequence[Row], n_attempts: int, n_requests: int) -> Table:
        """Of calls, each as it comes."""
        columns: list[Any] = list(zip(*rows, strict=True)) if rows else [[]] * len(cls._fields)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("kinds", "ends"), (n_attempts, n_requests))
        shapes |= dict.fromkeys(("copies", "causes", "pauses", "pause_bounds"), (n_attempts,))
        return cls(
            *(
                np.array(column, dtype=_KINDS.get(name, np.float64)).reshape(len(rows), *shapes.get(name, ()))
                for name, column in zip(cls._fields, columns, strict=True)
            )
        )

    def rows(self, chosen: Whole) -> Table:
        """Some of the calls."""
        columns: list[Any] = [column[chosen] for column in self]
        return Table(*columns)


Row = tuple[object, ...]  # a call, in the order of the table's columns
_WHOLE = ("kinds", "copies", "made", "causes", "requests", "epochs")
_TRUE_OR_NOT = ("held", "success")
_KINDS: Mapping[str, Any] = {**dict.fromkeys(_WHOLE, np.intp), **dict.fromkeys(_TRUE_OR_NOT, np.bool_)}  # else numbers


class _Pools:
    """Attempts that may be compared, as they come."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, int], list[tuple[float, int, int, float]]] = {}

    def add(self, what: str, number: int, request: Attempt, owner: int, context: float) -> None:
        kind = KIND[request.outcome]
        seen = (request.seconds, ANSWER if kind == LATE else kind, owner, context)
        self.found.setdefault((what, number), []).append(seen)


class Pools:
    """What comparable attempts did. ``Sample`` s are kept, as they are asked for again and again."""

    def __init__(self, found: Mapping[tuple[str, int], Sequence[tuple[float, int, int, float]]], epochs: Whole) -> None:
        """found: by kind of attempt its seconds, kind, owner and context; epochs: of all calls, (n,)."""
        self._epochs = epochs
        self._columns = {which: tuple(map(np.array, zip(*rows, strict=True))) for which, rows in found.items()}
        self._kept: dict[tuple[str, int, tuple[float, float], int], Sample | None] = {}

    def first(self, epoch: int) -> Sample | None:
        """First attempts; None: there is none."""
        return self._sample("first", 0, ANY, epoch)

    def sound(self, epoch: int) -> Sample | None:
        """First attempts of calls that did not fail by an error in the end; None: there is none."""
        return self._sample("sound", 0, ANY, epoch)

    def wrong(self, epoch: int) -> Sample | None:
        """First attempts that ended in an error; None: there is none."""
        return self._sample("wrong", 0, ANY, epoch)

    def after_limit(self, number: int, limit: float, epoch: int) -> Sample | None:
        """Attempts of this number, >= 1, after one that was cut off at about this ``limit`` [s]; None: too few."""
        return self._sample("cut off", number, (limit / NEAR, limit * NEAR), epoch)

    def after_error(self, number: int, octave: int, epoch: int) -> Sample | None:
        """Attempts of this number, >= 1, after an error and a pause of this ``octave``; None: too few.

        Pauses are drawn at random, so that the record knows what shorter ones than the longest are worth.
        """
        low, high = (0.0 if octave == 0 else INSTANT * 2.0 ** (octave - 1)), INSTANT * 2.0**octave
        found = self._sample("error", number, (low, high), epoch)
        return found or self._sample("error", number, (0.0 if octave <= 1 else low / 2, high * 2), epoch)

    def _sample(self, what: str, number: int, within: tuple[float, float], epoch: int) -> Sample | None:
        """within: of which contexts, the bounds included."""
        asked = (what, number, within, epoch)
        if asked not in self._kept:
            self._kept[asked] = self._made(what, number, within, epoch) or self._made(what, number, within, None)
        return self._kept[asked]

    def _made(self, what: str, number: int, within: tuple[float, float], epoch: int | None) -> Sample | None:
        columns = self._columns.get((what, number))
        if columns is None:
            return None
        seconds, kinds, owners, contexts = columns
        chosen = (contexts >= within[0]) & (contexts <= within[1])
        if epoch is not None:
            chosen &= self._epochs[owners.astype(np.intp)] == epoch
        if chosen.sum() < (1 if within == ANY and epoch is None else SUPPORT):
            return None
        return Sample.of(seconds[chosen], kinds[chosen].astype(np.intp), owners[chosen].astype(np.intp))


def octaves(pauses: Array) -> Whole:
    """Which pauses are comparable: up to ``INSTANT`` 0, up to twice that 1, and so on."""
    found: Whole = np.ceil(np.log2(np.maximum(pauses, INSTANT) / INSTANT) - 1e-9).astype(np.intp)
    return found


class Record(NamedTuple):
    """All that is known of some calls."""

    table: Table
    pools: Pools
    left_out: Mapping[str, int]
    late: int
    quickest: float  # end of an attempt, good or bad [s]; 0: there is none
    longest: float  # that an attempt was waited for [s]
    answers: tuple[float, ...]  # the first ones [s]
    first: float  # start of the oldest call, Unix time [s]; 0: there is none
    last: float  # and of the newest
    started: Array  # (n,) of each call, Unix time [s]


FIRST_ANSWERS = 20  # that a scale of latency is taken from


def read(
    executions: Iterable[Execution],
    used: Used,
    n_attempts: int,
    n_requests: int,
    epoch: Callable[[Execution], int] | None = None,
) -> Record:
    """The record of calls, oldest first. n_attempts, n_requests: of them that a replay may need, >= 1.

    epoch: in which part of the record a call is, >= 0; None: as many calls in each, one after the other.
    """
    found: list[Execution] = []
    kept: list[list[Group]] = []
    pools = _Pools()
    left_out = {"shed": 0, "cancelled": 0, "unknown": 0}
    for execution in executions:
        made = groups(execution.attempts)
        why = unusable(execution, made)
        if why:
            left_out[why] += 1
            continue
        _compare(pools, execution, made, len(found))
        found.append(execution)
        kept.append(made)
    n_attempts = min(n_attempts, max(map(len, kept), default=1))
    n_requests = min(n_requests, 1 + max((len(group.copies) for made in kept for group in made), default=0))
    epochs = min(max(len(found) // EPOCH, 1), EPOCHS)
    rows = [
        (
            *_row(each, made, used(each), n_attempts, n_requests),
            epochs * i // len(found) if epoch is None else epoch(each),
        )
        for i, (each, made) in enumerate(zip(found, kept, strict=True))
    ]
    table = Table.of(rows, n_attempts, n_requests)
    answers = [a.seconds for execution in found for a in execution.attempts if a.outcome.good and not a.hedge]
    waits = [a.seconds for execution in found for a in execution.attempts]
    return Record(
        table,
        Pools(pools.found, table.epochs),
        {why: n for why, n in left_out.items() if n},
        sum(execution.outcome is Outcome.LATE for execution in found),
        min((a.seconds for execution in found for a in execution.attempts if KIND.get(a.outcome)), default=0.0),
        max(waits, default=0.0),
        tuple(answers[:FIRST_ANSWERS]),
        min((execution.started for execution in found), default=0.0),
        max((execution.started for execution in found), default=0.0),
        np.array([execution.started for execution in found], np.float64),
    )


def unusable(execution: Execution, made: Sequence[Group]) -> str:
    """Why a call of these attempts tells a replay nothing; empty: it does."""
    if execution.outcome is Outcome.SHED:
        return "shed"
    if execution.outcome is Outcome.CANCELLED:
        return "cancelled"
    odd = not made or not all(0 <= x < math.inf for a in execution.attempts for x in (a.seconds, a.waited))
    return "unknown" if odd or not 0 <= execution.seconds < math.inf else ""


def _number(parameters: Mapping[str, Value] | None, name: str, unknown: float) -> float:
    value = None if parameters is None else parameters.get(name)
    return float(value) if isinstance(value, int | float) else unknown


def _compare(pools: _Pools, execution: Execution, made: Sequence[Group], owner: int) -> None:
    """Add the requests of a call to those that others may be compared with."""
    pools.add("first", 0, made[0].first, owner, 0.0)
    if execution.outcome not in (Outcome.ERROR, Outcome.REFUSED):
        pools.add("sound", 0, made[0].first, owner, 0.0)
    if made[0].first.outcome is Outcome.ERROR:
        pools.add("wrong", 0, made[0].first, owner, 0.0)
    for number, (before, group) in enumerate(pairwise(made), 1):
        if before.cause == ERROR:
            pools.add("error", number, group.first, owner, group.first.waited)
        elif before.cause == CUT_OFF:
            pools.add("cut off", number, group.first, owner, before.seconds)


def _row(
    execution: Execution,
    made: Sequence[Group],
    parameters: Mapping[str, Value] | None,
    n_attempts: int,
    n_requests: int,
) -> Row:
    """One call."""
    kinds = [[CUT_OFF] * n_requests for _ in range(n_attempts)]
    ends = [[0.0] * n_requests for _ in range(n_attempts)]
    copies, causes = [0] * n_attempts, [CUT_OFF] * n_attempts
    pauses, pause_bounds = [0.0] * n_attempts, [math.nan] * n_attempts
    backoff = _number(parameters, "backoff", math.nan)
    for k, group in enumerate(made[:n_attempts]):
        for c, request in enumerate((group.first, *group.copies)[:n_requests]):
            kinds[k][c], ends[k][c] = KIND[request.outcome], request.seconds
        copies[k] = len(group.copies)
        if k:
            causes[k], pauses[k] = made[k - 1].cause, group.first.waited
            pause_bounds[k] = longest_pause(backoff, k)
    spent = sum(group.seconds for group in made) + sum(group.first.waited for group in made[1:])
    good, last = execution.outcome.good, made[-1]
    retries, timeout = _number(parameters, "retries", 0.0), _number(parameters, "timeout", 0.0)
    held = not good and last.cause in (ERROR, CUT_OFF) and len(made) <= retries
    cut_short = not good and last.cause == CUT_OFF and last.seconds < SHORT * timeout
    return (
        kinds,
        ends,
        copies,
        len(made),
        causes,
        pauses,
        pause_bounds,
        spent if cut_short else math.inf,
        held,
        max(0.0, execution.seconds - spent),
        good,
        execution.seconds,
        sum(1 + len(group.copies) for group in made),
    )
