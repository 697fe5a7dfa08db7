"""What every choice of parameters would have been worth in each recorded call: by a replay, or by what a lot drew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from poet.learning.batch.asked import Asked
from poet.learning.batch.calls import Array, Calls, Coded, Codes
from poet.learning.batch.effects import Arms
from poet.learning.batch.outcomes import worths
from poet.learning.replay_hours import plan_of
from poet.learning.replay_record import Record, groups, read, unusable
from poet.learning.replay_walk import Candidate, Dice, Guess, Walked, walk
from poet.model.tunable import Value

MOST_CALLS = 8_000  # that are replayed, evenly spread over all
TIMEOUTS = 10  # that are tried
MOST_RETRIES = 3
MARKS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995)  # quantiles of the answers, to begin with, as timeouts to try
ABOVE = 1.15  # times a quantile, so that answers about there come in time
FURTHER = 8  # choices of timeout and retries whose backoff is looked at, too
BLOCK = 4  # hours, whose attempts compare
USUAL: Mapping[str, Value] = {"timeout": 30.0, "retries": 0, "backoff": 0.1, "hedges": 0, "hedge_delay": 0.0}
DEAR = 0.001  # what another value than the usual one must add, for each parameter [1/value of an answer]


class Choices(NamedTuple):
    """c choices in n calls."""

    rows: Codes  # (n,) the calls
    values: tuple[Mapping[str, Value], ...]  # of each choice
    low: Array  # (c, n) what it would have been worth where nothing that nobody saw answers; as far as is plausible
    high: Array  # (c, n) and where it does
    cost: Array  # (c,) what it must be better by, for each call
    got: Array  # (n,) what the calls were worth as they were

    def only(self, name: str) -> Choices:
        """Those that differ from the usual one, which comes for nothing, in this parameter alone."""
        usual = self.values[int(self.cost.argmin())]
        rows = [
            i
            for i, each in enumerate(self.values)
            if all(value == usual[other] for other, value in each.items() if other != name)
        ]
        values = tuple(self.values[i] for i in rows)
        return self._replace(values=values, low=self.low[rows], high=self.high[rows], cost=self.cost[rows])


def of_replay(calls: Calls, hours: Codes, folds: Codes, asked: Asked) -> Choices | None:
    """Timeouts, retries, backoffs and copies. hours: (n,) of the day; folds: (n,) calls that may compare.

    None: the record cannot tell. Attempts that nobody made are guessed from those of the same hours and the same fold,
    so that days that a choice is judged by know nothing of others.
    """
    told = calls.attempts
    if told is None:
        return None
    n = len(calls)
    rows = np.arange(n) if n <= MOST_CALLS else np.linspace(0, n - 1, MOST_CALLS).astype(np.int64)
    columns = {name: _numbers(calls, name, n) for name in USUAL}
    started, seconds = calls.started.tolist(), calls.seconds.tolist()
    found = [told.execution(i, started[i], seconds[i], 0) for i in rows.tolist()]
    found = [each for each in found if not unusable(each, groups(each.attempts))]
    rows = np.array([each.sequence for each in found], np.int64)
    if not len(rows):
        return None
    used = [_plain({name: columns[name][i] for name in USUAL}) for i in rows.tolist()]
    known = dict(zip(rows.tolist(), used, strict=True))
    usual = _most_frequent(used[-max(len(used) // 3, 1) :])
    if usual is None:
        return None
    part = (hours // BLOCK + (24 // BLOCK) * folds).tolist()
    most = 1 + max(MOST_RETRIES, usual.retries)
    record = read(
        found,
        lambda each: known[each.sequence],
        most,
        1 + usual.hedges,
        epoch=lambda each: part[each.sequence],
    )
    answers = [a.seconds for each in found for a in each.attempts if a.outcome.good and not a.hedge]
    plans = _plans(answers, record.longest, usual, asked)
    replayed = _Replayed(record, asked, most, 1 + usual.hedges)
    low, high = replayed.worths(plans)
    more = _further(plans, low, hours[rows], usual, asked)
    if more:
        ends = replayed.worths(more)
        plans, low, high = [*plans, *more], np.concatenate((low, ends[0])), np.concatenate((high, ends[1]))
    table = record.table
    return Choices(
        rows,
        tuple(_values(plan) for plan in plans),
        low,
        high,
        np.array([DEAR * asked.value * _departures(plan, usual) for plan in plans]),
        _worth(Walked(table.success, table.seconds, table.requests), asked),
    )


class _Replayed:
    """Walks of one record."""

    def __init__(self, record: Record, asked: Asked, n_attempts: int, n_requests: int) -> None:
        self._record, self._asked = record, asked
        n = len(record.table.made)
        self._weights = np.ones(n)
        self._dice = Dice(np.random.default_rng([asked.seed, n]), n, n_attempts, n_requests)

    def worths(self, plans: Sequence[Candidate]) -> tuple[Array, Array]:
        """(c, n) by both ends of what is plausible."""
        both: list[list[Array]] = [[], []]
        for plan in plans:
            for end, hopeful in zip(both, (False, True), strict=True):
                guess = Guess(self._record.pools, self._weights, self._dice, plan, hopeful=hopeful)
                end.append(_worth(walk(self._record.table, plan, guess), self._asked))
        return np.stack(both[0]), np.stack(both[1])


def _worth(walked: Walked, asked: Asked) -> Array:
    spent = asked.latency_cost * walked.seconds + asked.objective.attempt_cost * (walked.requests - 1)
    return np.asarray(asked.value * walked.success - spent, np.float64)


def _numbers(calls: Calls, name: str, n: int) -> list[float]:
    column = calls.parameters.get(name)
    return [math.nan] * n if column is None or isinstance(column, Coded) else column.tolist()


def _plain(values: Mapping[str, float]) -> dict[str, Value]:
    return {name: USUAL[name] if math.isnan(value) else value for name, value in values.items()}


def _most_frequent(used: Iterable[Mapping[str, Value]]) -> Candidate | None:
    counts: dict[Candidate, int] = {}
    for each in used:
        plan = plan_of(each)
        counts[plan] = counts.get(plan, 0) + 1
    return max(counts, key=lambda plan: counts[plan], default=None)


def _plans(answers: Sequence[float], longest: float, usual: Candidate, asked: Asked) -> list[Candidate]:
    """Timeouts and retries to try, the usual ones among them; none above the ``longest`` wait on record [s]."""
    low, high = _bounds(asked, "timeout", 0.001, longest)
    marks = [float(x) * ABOVE for x in np.quantile(answers, MARKS)] if len(answers) else []
    last = max(marks, default=usual.timeout)
    while len(marks) < TIMEOUTS and last < min(high, longest):
        last *= 1.6
        marks.append(last)
    timeouts = sorted({usual.timeout, *(_rounded(min(max(mark, low), high)) for mark in marks)})
    fewest, most = _bounds(asked, "retries", 0, MOST_RETRIES)
    retries = sorted({usual.retries, *range(max(int(fewest), 0), min(int(most), MOST_RETRIES) + 1)})
    copies = {(usual.hedges, usual.hedge_delay), (0, 0.0)}
    return [
        Candidate(timeout, number, usual.backoff, *copy)
        for copy in sorted(copies)
        for timeout in timeouts
        for number in retries
    ]


def _further(plans: Sequence[Candidate], low: Array, hours: Codes, usual: Candidate, asked: Asked) -> list[Candidate]:
    """Other backoffs of the plans that are best at some hours."""
    best = [int(low.mean(axis=1).argmax())]
    for block in range(24 // BLOCK):
        mine = hours // BLOCK == block
        if mine.any():
            best.append(int(low[:, mine].mean(axis=1).argmax()))
    least, most = _bounds(asked, "backoff", 0.0, 60.0)
    near = {min(max(usual.backoff * factor, least), most) for factor in (0.25, 4.0)} - {usual.backoff}
    chosen = [plans[i] for i in dict.fromkeys(best)][:FURTHER]
    return [plan._replace(backoff=backoff) for plan in chosen if plan.retries for backoff in sorted(near)]


def _bounds(asked: Asked, name: str, low: float, high: float) -> tuple[float, float]:
    if name not in asked.space:
        return low, high
    least, most = asked.space[name]
    return max(low, float(least)), max(min(high, float(most)), float(least))


def _rounded(x: float) -> float:
    """To two digits, as nobody knows more.

    >>> _rounded(0.01234), _rounded(5.67)
    (0.012, 5.7)
    """
    return round(x, 1 - math.floor(math.log10(x))) if x > 0 else x


def _departures(plan: Candidate, usual: Candidate) -> int:
    return sum(one != other for one, other in zip(plan, usual, strict=True))


def _values(plan: Candidate) -> dict[str, Value]:
    return dict(plan._asdict())


# --- own tunables ----------------------------------------------------------------------------------------------------

MOST_WEIGHT = 100.0  # of a call that was drawn against the odds


def of_lot(calls: Calls, name: str, arms: Arms, odds: Array, hours: Codes, folds: Codes, asked: Asked) -> Choices:
    """Values of one tunable where they were dealt out by lot, by the odds they were drawn with.

    What a value would have been worth in a call is what its hours are worth on other days, and where the call drew it
    the difference weighed by one over its odds: doubly robust, so that the mean over calls is right (Dudik, Langford &
    Li, ICML 2011) if one of the two is.
    """
    outcome, _ = worths(calls, asked)
    fine = np.isfinite(outcome) & (arms.codes >= 0) & (odds > 0)
    rows = np.flatnonzero(fine)
    got, codes = outcome[rows], arms.codes[rows]
    weight = np.minimum(1.0 / odds[rows], MOST_WEIGHT)
    block = hours[rows] // BLOCK
    base = np.full(len(rows), float(got.mean()) if len(rows) else 0.0)
    for fold in np.unique(folds[rows]).tolist():
        others, mine = folds[rows] != fold, folds[rows] == fold
        sums = np.bincount(block[others], weights=got[others], minlength=24 // BLOCK)
        counts = np.bincount(block[others], minlength=24 // BLOCK)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), base[0] if len(base) else 0.0)
        base[mine] = means[block[mine]]
    drawn = codes[None, :] == np.arange(len(arms.values))[:, None]
    told = base + drawn * (weight * (got - base))
    usual = int(np.bincount(codes, minlength=len(arms.values)).argmax())
    cost = np.where(np.arange(len(arms.values)) == usual, 0.0, DEAR * asked.value)
    return Choices(rows, tuple({name: value} for value in arms.values), told, told, cost, got)
