"""Recorded calls walked through under other parameters, all at once, attempt by attempt.

What was seen is used as it was: an attempt that answered within the new limit answers, one that ran longer is cut off.
What nobody saw is asked of an ``Oracle``: a bound, or a guess drawn from comparable attempts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from poet.kernels.online.product_limit import CUT_OFF, Array, Limit, Sample, Whole, drawn, product_limit
from poet.learning.replay_record import (
    ANSWER,
    ERROR,
    LATE,
    REFUSED,
    SUPPORT,
    Bools,
    Pools,
    Table,
    longest_pause,
    octaves,
)

SAME = 0.01  # relative difference of two pauses' bounds that does not count
ROUNDING = 1e-9  # of sums of seconds [s]


class Candidate(NamedTuple):
    """Parameters of a call."""

    timeout: float  # limit of each attempt, > 0 [s]
    retries: int  # >= 0
    backoff: float  # bound of the first pause, >= 0 [s]
    hedges: int = 0  # copies of an attempt, at most
    hedge_delay: float = 0.0  # the k-th is sent after k times this [s]


class Requests(NamedTuple):
    """How requests end: one entry each."""

    kinds: Whole
    ends: Array  # after how long, from the request's own start [s]; inf where it does not end by itself

    def part(self, where: Bools) -> Requests:
        """Some of them."""
        return Requests(self.kinds[where], self.ends[where])


class Missed(NamedTuple):
    """Requests of which it is not known, or not yet, how they go on: what is known of each."""

    rows: Whole  # (m,) the calls
    number: int  # of the attempt, from 0
    copy: int  # 0: its first request; else which copy of it
    causes: Whole  # (m,) how the attempt before ended
    before: Array  # (m,) after how long it did [s]
    pauses: Array  # (m,) between the two [s]
    limits: Array  # (m,) of this request, from its own start [s]
    answered: Bools  # (m,) whether the call got an answer as it was recorded, so that it can
    epochs: Whole  # (m,) in which part of the record the call is
    lost: Bools  # (m,) whether nobody saw all that the call had come to before, and the oracle forgets

    def part(self, where: Bools) -> Missed:
        """Some of them."""
        columns: list[Any] = [column[where] for column in self[3:]]
        return Missed(self.rows[where], self.number, self.copy, *columns)


class Oracle(Protocol):
    """Says what nobody saw."""

    @property
    def forgets(self) -> bool:
        """Whether nothing on record counts any more behind what nobody saw: that may have ended in any way."""

    def goes_on(self, missed: Missed, after: Array, outrun: Bools) -> Requests:
        """First requests that were given up ``after`` (m,) seconds, sooner than they would be now.

        outrun: (m,) whether that was as a copy of it had answered, and not at its limit.
        """

    def copy_goes_on(self, missed: Missed, after: Array, original: Requests) -> Requests:
        """Copies that were given up ``after`` (m,) seconds, as the ``original`` had answered, or another copy."""

    def retry(self, missed: Missed) -> Requests:
        """Attempts that nobody made."""

    def paused(self, missed: Missed, recorded: Requests, longer: Bools) -> Requests:
        """Attempts after an error that were made after a ``longer`` (m,) or a shorter pause than now: ``recorded``."""

    def copied(self, missed: Missed, original: Requests) -> Requests:
        """Copies that nobody sent, of ``original``."""

    def pause(self, rows: Whole, number: int, bound: float, room: Array) -> Array:
        """Pauses that nobody made: (m,) [s]. room: what is left until the call ends in any case, (m,) [s]."""


class Walked(NamedTuple):
    """What becomes of each call; (n,) each."""

    success: Bools
    seconds: Array  # [s]
    requests: Whole

    def with_rows(self, rows: Whole, other: Walked) -> Walked:
        """These calls, but for those of ``rows``, which are as in ``other``, (m,)."""
        found = Walked(self.success.copy(), self.seconds.copy(), self.requests.copy())
        found.success[rows], found.seconds[rows], found.requests[rows] = other
        return found


def walk(table: Table, plan: Candidate, oracle: Oracle) -> Walked:
    """The calls under ``plan``."""
    n = len(table.made)
    success, seconds, requests = np.zeros(n, np.bool_), np.zeros(n), np.zeros(n, np.intp)
    causes, before = np.full(n, CUT_OFF, dtype=np.intp), np.zeros(n)
    rows: Whole = np.arange(n)
    pauses, lost = np.zeros(n), np.zeros(n, np.bool_)
    for k in range(plan.retries + 1):
        if k:
            rows = rows[~(table.held[rows] & (table.made[rows] == k))]
            room = table.horizon[rows] - seconds[rows]
            pauses = _pauses(table, rows, k, plan, oracle, room)
            in_time = pauses < room
            rows, pauses = rows[in_time], pauses[in_time]
            seconds[rows] += pauses
        if not len(rows):
            break
        limits = np.minimum(plan.timeout, table.horizon[rows] - seconds[rows])
        missed = Missed(
            rows, k, 0, causes[rows], before[rows], pauses, limits, table.success[rows], table.epochs[rows], lost[rows]
        )
        first, known, seen = _first(table, missed, plan, oracle)
        kinds, took, sent = _raced(table, missed, plan, oracle, first, known, seen)
        lost[rows] |= ~seen & oracle.forgets
        seconds[rows] += took
        requests[rows] += 1 + sent
        causes[rows], before[rows] = kinds, took
        success[rows] = (kinds == ANSWER) | (kinds == LATE)
        rows = rows[(kinds == CUT_OFF) | (kinds == ERROR)]
    seconds += np.where(success == table.success, table.rest, 0.0)
    return Walked(success, seconds, requests)


def _pauses(table: Table, rows: Whole, k: int, plan: Candidate, oracle: Oracle, room: Array) -> Array:
    """Before attempt ``k`` of these calls: as it was recorded, as far as jitter goes to the scale of the new bound."""
    bound = longest_pause(plan.backoff, k)
    if k >= table.pauses.shape[1]:
        return oracle.pause(rows, k, bound, room)
    recorded, bounds = table.pauses[rows, k], table.pause_bounds[rows, k]
    there = table.made[rows] > k
    known = there & ((bounds != 0) | (bound == 0))
    jittered = bounds > 0  # never true of a nan
    jitter = np.minimum(recorded, bounds)  # what is longer was asked for by the service
    pauses: Array = np.array(recorded)
    pauses[jittered] += jitter[jittered] * (bound / bounds[jittered] - 1)
    if not known.all():
        pauses[~known] = oracle.pause(rows[~known], k, bound, room[~known])
    return pauses


def _first(table: Table, asked: Missed, plan: Candidate, oracle: Oracle) -> tuple[Requests, Bools, Bools]:
    """The first requests of an attempt; of which calls the record has it, so that its copies count; and its end."""
    rows, k, n_attempts = asked.rows, asked.number, table.kinds.shape[1]
    kinds, ends = _never(len(rows))
    known = moved = np.zeros(len(rows), np.bool_)
    if k < n_attempts:
        kinds, ends = table.kinds[rows, k, 0], table.ends[rows, k, 0]
        known = (table.made[rows] > k) & ~asked.lost
        if k:
            known = known & (table.causes[rows, k] == asked.causes)
    cut = known & (kinds == CUT_OFF)
    on = cut & (ends < asked.limits - ROUNDING)
    after = ends[on]
    ends[cut] = np.inf
    if on.any():
        outrun = table.success[rows] & (table.made[rows] == k + 1)
        kinds[on], ends[on] = oracle.goes_on(asked.part(on), after, outrun[on])
    if k and k < n_attempts:
        bound, bounds = longest_pause(plan.backoff, k), table.pause_bounds[rows, k]
        alike = np.abs(bounds - bound) <= SAME * np.maximum(bounds, bound)  # never true of a nan
        moved = known & (asked.causes == ERROR) & ~alike
        if moved.any():
            recorded, longer = Requests(kinds[moved], ends[moved]), ~(bounds[moved] > bound)
            kinds[moved], ends[moved] = oracle.paused(asked.part(moved), recorded, longer)
    if not known.all():
        kinds[~known], ends[~known] = oracle.retry(asked.part(~known))
    return Requests(kinds, ends), known & ~moved, known & ~moved & ~on


def _raced(
    table: Table, asked: Missed, plan: Candidate, oracle: Oracle, first: Requests, known: Bools, seen: Bools
) -> tuple[Whole, Array, Whole]:
    """How the attempt ends, after how long [s], and how many copies were sent.

    seen: of which calls the record has all that has come so far; those are taken out whose copies it does not have.
    """
    (kinds, ends), limits = first, asked.limits
    answer = np.where((kinds == ANSWER) | (kinds == LATE), ends, np.inf)
    refusal = np.where(kinds == REFUSED, ends, np.inf)
    failure = np.where(kinds == ERROR, ends, np.inf)  # of all that were sent
    sent = np.zeros(len(ends), np.intp)
    for copy in range(1, plan.hedges + 1):
        start = copy * plan.hedge_delay
        due = (start < limits) & (np.minimum(np.minimum(answer, failure), refusal) > start)
        if not due.any():
            break
        its = asked.part(due)._replace(copy=copy, limits=limits[due] - start)
        (copy_kinds, copy_ends), there = _copy(table, its, known[due], Requests(kinds[due], ends[due]), oracle)
        seen[due] &= there
        good = (copy_kinds == ANSWER) | (copy_kinds == LATE)
        answer[due] = np.minimum(answer[due], np.where(good, start + copy_ends, np.inf))
        failed = (copy_kinds == ERROR) | (copy_kinds == REFUSED)
        failure[due] = np.where(failed, np.maximum(failure[due], start + copy_ends), np.inf)
        sent[due] += 1
    late = (kinds == LATE) & (answer == ends)
    failure = np.minimum(failure, refusal)
    end = np.minimum(answer, failure)
    in_time = (end <= limits) | (late & (answer <= failure))
    result = np.where(answer <= failure, ANSWER, np.where(refusal <= failure, REFUSED, ERROR))
    return np.where(in_time, result, CUT_OFF), np.where(in_time, end, limits), sent


def _copy(table: Table, its: Missed, known: Bools, original: Requests, oracle: Oracle) -> tuple[Requests, Bools]:
    """Copies: as they were recorded where they were sent; and of which the record has the end."""
    kinds, ends = _never(len(its.rows))
    there = np.zeros(len(its.rows), np.bool_)
    if its.number < table.kinds.shape[1] and its.copy < table.kinds.shape[2]:
        there = known & (table.copies[its.rows, its.number] >= its.copy)
        where = its.rows[there], its.number, its.copy
        kinds[there], ends[there] = table.kinds[where], table.ends[where]
    cut = there & (kinds == CUT_OFF)
    on = cut & (ends < its.limits - ROUNDING)
    after = ends[on]
    ends[cut] = np.inf
    if on.any():
        kinds[on], ends[on] = oracle.copy_goes_on(its.part(on), after, original.part(on))
    if not there.all():
        kinds[~there], ends[~there] = oracle.copied(its.part(~there), original.part(~there))
    return Requests(kinds, ends), there & ~on


def _never(n: int) -> Requests:
    return Requests(np.full(n, CUT_OFF, dtype=np.intp), np.full(n, np.inf))


class Worst:
    """Nothing that nobody saw ever answers, nor what came after it."""

    forgets = True

    def goes_on(self, missed: Missed, after: Array, outrun: Bools) -> Requests:
        """Without end."""
        return _never(len(after))

    def copy_goes_on(self, missed: Missed, after: Array, original: Requests) -> Requests:
        """Without end."""
        return _never(len(after))

    def retry(self, missed: Missed) -> Requests:
        """Without an answer, to its limit."""
        return _never(len(missed.rows))

    def paused(self, missed: Missed, recorded: Requests, longer: Bools) -> Requests:
        """Without an answer, to its limit."""
        return _never(len(missed.rows))

    def copied(self, missed: Missed, original: Requests) -> Requests:
        """Without an answer."""
        return _never(len(missed.rows))

    def pause(self, rows: Whole, number: int, bound: float, room: Array) -> Array:
        """As long as it can be; none where that would spare the call its last attempt."""
        return np.where(bound < room, bound, 0.0)


class Best:
    """All that nobody saw answers at once."""

    forgets = False

    def __init__(self, quickest: float) -> None:
        """quickest: end of a new attempt, >= 0 [s]; that of an error counts, as it may be the last of a call."""
        self._quickest = quickest

    def goes_on(self, missed: Missed, after: Array, outrun: Bools) -> Requests:
        """It was just about to answer."""
        return Requests(np.full(len(after), ANSWER, dtype=np.intp), after)

    def copy_goes_on(self, missed: Missed, after: Array, original: Requests) -> Requests:
        """It was just about to answer."""
        return Requests(np.full(len(after), ANSWER, dtype=np.intp), after)

    def retry(self, missed: Missed) -> Requests:
        """As quick as the quickest."""
        return self._at_once(len(missed.rows))

    def paused(self, missed: Missed, recorded: Requests, longer: Bools) -> Requests:
        """As quick as the quickest."""
        return self._at_once(len(missed.rows))

    def copied(self, missed: Missed, original: Requests) -> Requests:
        """As quick as the quickest."""
        return self._at_once(len(missed.rows))

    def pause(self, rows: Whole, number: int, bound: float, room: Array) -> Array:
        """None."""
        return np.zeros(len(rows))

    def _at_once(self, n: int) -> Requests:
        return Requests(np.full(n, ANSWER, dtype=np.intp), np.full(n, self._quickest))


class Dice:
    """The luck of attempts that nobody saw: the same whatever one believes of them."""

    def __init__(self, rng: np.random.Generator, n: int, n_attempts: int, n_requests: int) -> None:
        """n: calls; n_attempts, n_requests: of each that may be asked for."""
        self._requests = rng.random((n_attempts, n_requests, n))
        self._pauses = rng.random((n_attempts, n))

    def part(self, rows: Whole) -> Dice:
        """The luck of some of the calls."""
        found = object.__new__(Dice)
        found._requests, found._pauses = self._requests[:, :, rows], self._pauses[:, rows]
        return found

    def of(self, missed: Missed) -> Array:
        """In [0, 1): (m,)."""
        found: Array = self._requests[missed.number, missed.copy, missed.rows]
        return found

    def pause(self, rows: Whole, number: int) -> Array:
        """In [0, 1): (m,)."""
        found: Array = self._pauses[number, rows]
        return found


class Guess:
    """Attempts that nobody saw are drawn from comparable ones, by their product limit, with weights of the calls.

    Where there are none that compare, an attempt lies between more of the same – as slow, or as wrong, as the one
    beside it – and a fresh one. ``hopeful`` says which end is taken: both, with the same dice, tell what is open. A
    copy is never estimated otherwise: what it gains hangs on whether slowness lies in the call.
    """

    forgets = False

    def __init__(self, pools: Pools, weights: Array, dice: Dice, plan: Candidate, *, hopeful: bool) -> None:
        """weights: (n_calls,) of all calls of the record."""
        self._pools, self._weights, self._dice, self._plan, self._hopeful = pools, weights, dice, plan, hopeful
        self._limits: dict[int, Limit] = {}

    def goes_on(self, missed: Missed, after: Array, outrun: Bools) -> Requests:
        """As comparable attempts went on that were given longer; one that was outrun is as quick as its copy, or fresh.

        As quick as its copy means here: just about to answer.
        """
        found = _never(len(after))
        if self._hopeful:
            found.kinds[outrun], found.ends[outrun] = ANSWER, after[outrun]
        elif outrun.any():
            found.kinds[outrun], found.ends[outrun] = self._fresh(missed, outrun, after)
        for sample, where in self._samples(missed):
            self._watched(sample, missed, where & ~outrun, after, found)
        return found

    def copy_goes_on(self, missed: Missed, after: Array, original: Requests) -> Requests:
        """As slow as what it copies, or fresh."""
        if self._hopeful:
            return self._fresh(missed, np.ones(len(after), np.bool_), after)
        return Requests(original.kinds, np.maximum(original.ends, after))

    def retry(self, missed: Missed) -> Requests:
        """As comparable retries went."""
        kinds, ends = _never(len(missed.rows))
        # of whom a copy was answered, those do not compare of whom none was
        odd = missed.answered & (missed.causes == ERROR)
        for sample, where in self._samples(missed):
            told = where & ~odd if sample is not None else np.zeros(len(where), np.bool_)
            open_ = where & ~told
            if sample is not None:
                kinds[told], ends[told] = self._drawn(sample, missed, told)
            if self._hopeful:
                kinds[open_], ends[open_] = self._fresh(missed, open_)
            else:
                wrong = open_ & (missed.causes == ERROR)
                kinds[wrong], ends[wrong] = self._wrong(missed, wrong, missed.before[wrong])
        return Requests(kinds, ends)

    def paused(self, missed: Missed, recorded: Requests, longer: Bools) -> Requests:
        """As retries went that made such pauses. Else: a longer pause does no harm, a shorter one no good."""
        kinds, ends = recorded.kinds.copy(), recorded.ends.copy()
        failed = recorded.kinds == ERROR
        for sample, where in self._samples(missed):
            if sample is not None:
                kinds[where], ends[where] = self._drawn(sample, missed, where)
            elif self._hopeful:
                mended = where & failed & longer
                kinds[mended], ends[mended] = self._fresh(missed, mended)
            else:
                spoilt = where & ~failed & ~longer
                kinds[spoilt], ends[spoilt] = self._wrong(missed, spoilt, missed.before[spoilt])
        return Requests(kinds, ends)

    def copied(self, missed: Missed, original: Requests) -> Requests:
        """As slow, or as wrong, as what it copies, or fresh."""
        if self._hopeful:
            return self._fresh(missed, np.ones(len(missed.rows), np.bool_))
        kinds, ends, wrong = original.kinds.copy(), original.ends.copy(), original.kinds == ERROR
        kinds[wrong], ends[wrong] = self._wrong(missed, wrong, original.ends[wrong])
        return Requests(kinds, ends)

    def pause(self, rows: Whole, number: int, bound: float, room: Array) -> Array:
        """Uniform below its bound."""
        return bound * self._dice.pause(rows, number)

    def _samples(self, missed: Missed) -> Iterator[tuple[Sample | None, Bools]]:
        """What the attempts may be compared with, and which of them; None: there is too little of it."""
        pools, number = self._pools, missed.number
        for epoch, now in _by(missed.epochs):
            if number == 0:
                yield pools.first(epoch), now
                continue
            late = missed.causes == CUT_OFF
            if (late & now).any():
                yield pools.after_limit(number, self._plan.timeout, epoch), late & now
            which = np.where(now & ~late, octaves(missed.pauses), -1)
            for octave, then in _by(which):
                if octave >= 0:
                    yield pools.after_error(number, octave, epoch), then

    def _fresh(self, missed: Missed, where: Bools, after: Array | None = None) -> Requests:
        """As a first attempt; ``after`` it ran for so long, where it did [s]."""
        found = _never(len(where))
        for epoch, now in _by(missed.epochs):
            mine, sample = where & now, self._pools.sound(epoch) or self._pools.first(epoch)
            if after is not None:
                self._watched(sample, missed, mine, after, found)
            elif sample is not None:
                found.kinds[mine], found.ends[mine] = self._drawn(sample, missed, mine)
        return found.part(where)

    def _wrong(self, missed: Missed, where: Bools, otherwise: Array) -> Requests:
        """An error again: after how long is a matter of luck all the same. otherwise: where no error compares [s]."""
        found = Requests(np.full(len(where), ERROR, dtype=np.intp), np.zeros(len(where)))
        found.ends[where] = otherwise
        for epoch, now in _by(missed.epochs):
            sample = self._pools.wrong(epoch)
            if sample is not None:
                found.kinds[where & now], found.ends[where & now] = self._drawn(sample, missed, where & now)
        return found.part(where)

    def _watched(self, sample: Sample | None, missed: Missed, where: Bools, after: Array, found: Requests) -> None:
        """Fill ``found`` for requests that had run for ``after`` [s], as far as enough others were watched longer."""
        told = where & (beyond(sample, after) >= SUPPORT) if sample is not None else np.zeros(len(where), np.bool_)
        if sample is not None:
            found.kinds[told], found.ends[told] = self._drawn(sample, missed, told, after)
        if self._hopeful:
            unknown = where & ~told
            found.kinds[unknown], found.ends[unknown] = ANSWER, after[unknown]

    def _drawn(self, sample: Sample, missed: Missed, where: Bools, after: Array | None = None) -> Requests:
        if id(sample) not in self._limits:  # the pools keep it, so that no other gets its place
            self._limits[id(sample)] = product_limit(sample, self._weights[sample.owners])
        began = None if after is None else after[where]
        ends, kinds = drawn(self._limits[id(sample)], self._dice.of(missed.part(where)), began)
        if self._hopeful:
            watched = float(sample.seconds[-1])
            unknown = (kinds == CUT_OFF) & (watched < missed.limits[where])
            kinds[unknown] = ANSWER
            ends[unknown] = watched if began is None else np.maximum(watched, began[unknown])
        return Requests(kinds, ends)


def _by(groups: Whole) -> Iterator[tuple[int, Bools]]:
    """Each of the groups, and who is in it."""
    for group in sorted({*groups.tolist()}):
        yield group, groups == group


def beyond(sample: Sample, after: Array) -> Whole:
    """How many of a sample were watched for longer than each of ``after`` [s]."""
    found: Whole = len(sample.seconds) - np.searchsorted(sample.seconds, after, side="right")
    return found
