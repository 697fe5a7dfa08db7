"""What calls would have met that nobody saw, over a long record: guesses that know the values have changed meanwhile.

A replay compares attempts of the same part of the record only. Once a limit has been learned, nobody is watched longer
than that any more, so that the part itself says nothing of what declared values, mostly far more patient, would have
met behind it. What says something are the calls from before, and those that a learner lets run longer now and then.
Here they stand in where the part itself is silent, as far as first attempts of their part were as quick as those of
this one up to where both were watched: that assumes that what outlasts a limit then goes on as it did there.

Where hardly anybody was watched longer at all, what they do there is a matter of belief: some hang for ever, the others
go on with a Pareto tail. How many hang, and how heavy that tail is, is drawn anew with each guess from what the few
tell who were watched longer, by Bayes' rule. Before that, hangs are taken to be one in ten of all attempts at the most
and one in ten thousand at the least, each order of magnitude as likely. So not to know it makes the interval wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from poet.kernels.batch.laws import beta_quantile
from poet.kernels.online.product_limit import CUT_OFF, Array, Sample, product_limit
from poet.learning.replay_record import ANSWER, ERROR, LATE, SUPPORT, Bools, Pools, Table
from poet.learning.replay_walk import Candidate, Dice, Guess, Missed, Requests, beyond

DIFFER = 1.63  # Kolmogorov & Smirnov's statistic beyond which two parts are not alike: 1 % of those that are
_SCATTER = 65537.0  # turns a uniform number into another that has next to nothing to do with it
_HANGS = np.geomspace(1e-4, 0.1, 24)  # shares of all attempts that may hang, each as likely before anything is seen
_ALL = 0.98  # of those that outlast a limit, that may hang, at the most
_INDICES = np.array([0.5, 1.0, 2.0, 4.0, 8.0])  # of the tail of those that do not, likewise
_END = 0.1  # how likely it is that all causes of errors fade within a call, and that none does
_ALIKE = 0.05  # relative difference of two limits that does not count


class Tail:
    """How attempts go on behind what hardly anybody was watched longer than."""

    def __init__(self, sample: Sample | None) -> None:
        """sample: all that is known of such attempts."""
        self._seconds = np.zeros(0) if sample is None else sample.seconds
        self._ended = np.zeros(0, np.bool_) if sample is None else sample.kinds != CUT_OFF
        self._alive = np.ones(1) if sample is None else product_limit(sample).alive
        self._hangs, self._index = (each.ravel() for each in np.meshgrid(_HANGS, _INDICES, indexing="ij"))
        self._known: dict[int, tuple[Array, Array]] = {}

    def ends(self, begun: Array, luck: float, uniform: Array) -> Array:
        """When attempts end that have run for ``begun`` (m,), > 0 [s]; inf: never.

        luck: which of all that may be is the case, a quantile in (0, 1); uniform: (m,) in (0, 1), of each attempt.
        """
        cells = np.round(np.log(np.maximum(begun, 1e-9)) / _ALIKE).astype(np.int64)
        found = np.empty(len(begun))
        for cell in np.unique(cells).tolist():
            mine = cells == cell
            chance, shares = self._posterior(cell)
            which = min(int(np.searchsorted(chance, luck)), len(chance) - 1)
            share, index = float(shares[which]), float(self._index[which])
            left = np.maximum((1 - uniform[mine]) / (1 - share), 1e-12)
            found[mine] = np.where(uniform[mine] < share, np.inf, begun[mine] * left ** (-1 / index))
        return found

    def _posterior(self, cell: int) -> tuple[Array, Array]:
        """What may be behind a limit: its cumulative chance, the fewest that hang first, and the share that hangs."""
        if cell not in self._known:
            after = float(np.exp(cell * _ALIKE))
            outlast = max(float(self._alive[np.searchsorted(self._seconds, after, side="right")]), 1e-6)
            shares = np.minimum(self._hangs / outlast, _ALL)
            place = int(np.searchsorted(self._seconds, after * (1 + _ALIKE), side="right"))
            ratios, ended = np.log(self._seconds[place:] / after), self._ended[place:]
            hangs, index = shares[:, None], self._index[:, None]
            went = np.log((1 - hangs) * index) - index * ratios[ended]
            goes_on = np.log(hangs + (1 - hangs) * np.exp(-index * ratios[~ended]))
            told = went.sum(axis=1) + goes_on.sum(axis=1)
            weights = np.exp(told - told.max())
            self._known[cell] = np.cumsum(weights / weights.sum()), shares
        return self._known[cell]


class Kin:
    """For each part of a record, the first attempts of all parts that are like it."""

    def __init__(self, table: Table) -> None:
        """table: of all calls."""
        self._seconds = table.ends[:, 0, 0]
        kinds = table.kinds[:, 0, 0]
        self._kinds, self._epochs = np.where(kinds == LATE, ANSWER, kinds), table.epochs
        self._parts = {part: self._sample(self._epochs == part) for part in np.unique(table.epochs).tolist()}
        self._limits = {part: product_limit(sample) for part, sample in self._parts.items()}
        self._known: dict[int, tuple[Sample, Tail]] = {}

    def of(self, part: int) -> tuple[Sample, Tail]:
        """They, and how they go on behind what was watched."""
        if part not in self._known:
            like = [other for other in self._parts if other == part or self._alike(part, other)]
            sample = self._sample(np.isin(self._epochs, like))
            self._known[part] = sample, Tail(sample)
        return self._known[part]

    def share(self, kind: int) -> float:
        """Of all first attempts, how many end so, in [0, 1)."""
        return min(float((self._kinds == kind).mean()), 0.99)

    def _sample(self, mine: Bools) -> Sample:
        rows = np.flatnonzero(mine)
        return Sample.of(self._seconds[rows], self._kinds[rows], rows)

    def _alike(self, part: int, other: int) -> bool:
        limits = [self._limits[each] for each in (part, other)]
        watched = min(float(limit.seconds[-1]) for limit in limits)
        points = np.concatenate([limit.seconds[limit.seconds < watched] for limit in limits])
        if not len(points):
            return False
        one, two = (limit.alive[np.searchsorted(limit.seconds, points, side="right")] for limit in limits)
        n, m = (len(limit.seconds) for limit in limits)
        return bool(np.abs(one - two).max() <= DIFFER * np.sqrt(1 / n + 1 / m))


class Recalled(Guess):
    """A guess that falls back to attempts of other times; ``hopeful`` as there: which end of what is open is taken."""

    def __init__(self, pools: Pools, kin: Kin, weights: Array, dice: Dice, plan: Candidate, *, hopeful: bool) -> None:
        """weights: (n_calls,) of all calls of the record."""
        super().__init__(pools, weights, dice, plan, hopeful=hopeful)
        self._kin = kin

    def _watched(self, sample: Sample | None, missed: Missed, where: Bools, after: Array, found: Requests) -> None:
        near = where & _enough(sample, after)
        super()._watched(sample, missed, near, after, found)
        far = where & ~near
        for part in np.unique(missed.epochs[far]).tolist():
            super()._watched(self._kin.of(part)[0], missed, far & (missed.epochs == part), after, found)


class Luck(NamedTuple):
    """Which of all that may be is the case: a quantile of each belief, in (0, 1)."""

    tail: float  # of how attempts go on that nobody watched longer
    errors: float  # of how many calls err again that have erred once
    fades: float  # of how much of that is over after a while, and not bound to the call
    limits: float  # of how many are as slow again that have come to a limit once


class Repeats(NamedTuple):
    """How a kind of failure repeats within a call."""

    bound: float  # share of the calls that have failed so once which are bound to, at every retry
    chance: float  # for the others to fail so again
    lasts: float = 0.0  # time in which a cause that fades has faded to 1/e [s]

    def after(self, failures: int) -> float:
        """Share of those that have failed so ``failures`` times, >= 1, which are bound to."""
        luckless = (1 - self.bound) * self.chance ** (failures - 1)
        return self.bound / (self.bound + luckless) if self.bound > 0 else 0.0

    def still(self, pauses: Array) -> Array:
        """The chance that a cause that fades is still there after pauses, (m,) [s]."""
        return np.exp(-pauses / self.lasts) if self.lasts > 0 else np.zeros(len(pauses))


_LUCK: Mapping[int, str] = {ERROR: "errors", CUT_OFF: "limits"}


class Likely(Recalled):
    """Neither end, but what is likely: the figure in the middle.

    Retries that nothing compares with, by the limit or the pause before them, are taken to fare as those on record
    after any limit, or any pause; where these are few, a share of the calls is bound to fail as before, at every retry,
    and the others meet what fresh attempts meet. That share is drawn from what the few tell, Jeffreys' prior included.
    A copy that nothing compares with meets what a fresh attempt does.
    """

    def __init__(self, pools: Pools, kin: Kin, weights: Array, dice: Dice, plan: Candidate, luck: Luck) -> None:
        """weights: (n_calls,) of all calls of the record."""
        super().__init__(pools, kin, weights, dice, plan, hopeful=False)
        self._luck = luck
        self._bound = {
            cause: self._repeats(cause, getattr(luck, name), kin.share(cause)) for cause, name in _LUCK.items()
        }

    def goes_on(self, missed: Missed, after: Array, outrun: Bools) -> Requests:
        """As comparable attempts that were watched longer; that a copy was quicker says nothing of it."""
        return super().goes_on(missed, after, np.zeros(len(outrun), np.bool_))

    def copy_goes_on(self, missed: Missed, after: Array, original: Requests) -> Requests:
        """As a fresh attempt that has run for so long."""
        return self._fresh(missed, np.ones(len(after), np.bool_), after)

    def retry(self, missed: Missed) -> Requests:
        """As comparable retries went, else as retries after anything alike, else as a fresh attempt, or as before."""
        found = super().retry(missed)
        wrong = missed.causes == ERROR
        sure = np.zeros(len(wrong), np.bool_)
        for sample, where in self._samples(missed):
            sure |= where & (sample is not None)
        open_ = ~sure | (missed.answered & wrong)  # of whom a copy was answered, those do not compare of whom none was
        for cause, mine in ((ERROR, open_ & wrong), (CUT_OFF, open_ & ~wrong)):
            if not mine.any():
                continue
            sample = self._pools.after_any(cause, missed.number)
            outage = self._luck.fades < 0.5 and missed.number > 1
            if sample is not None and len(sample.seconds) >= SUPPORT and cause == CUT_OFF and not outage:
                found.kinds[mine], found.ends[mine] = self._drawn(sample, missed, mine)
                continue
            lots = self._other(missed._replace(number=0, copy=0))  # the same for all retries of a call
            repeats = self._bound[cause]
            doomed = mine & (lots < repeats.after(missed.number))
            if cause == ERROR:
                doomed |= mine & ((self._other(missed) * _SCATTER) % 1.0 < repeats.still(missed.pauses))
            found.kinds[mine & ~doomed], found.ends[mine & ~doomed] = self._fresh(missed, mine & ~doomed)
            if cause == ERROR:
                found.kinds[doomed], found.ends[doomed] = self._wrong(missed, doomed, missed.before[doomed])
            else:
                found.kinds[doomed], found.ends[doomed] = CUT_OFF, np.inf
        return found

    def _repeats(self, cause: int, luck: float, bad: float) -> Repeats:
        """How failures of a kind repeat. bad: share of first attempts that fail so."""
        sample = self._pools.after_any(cause, 1)
        kinds = np.zeros(0) if sample is None else sample.kinds
        again = float((kinds == cause).sum())
        # again = bound + (1 - bound) * chance, and the chance to fail without being bound to is (1 - bound) * bad
        wanted = beta_quantile(luck, 0.5 + again, 0.5 + len(kinds) - again)
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if middle + (1 - middle) ** 2 * bad < wanted else (low, middle)
        if cause == CUT_OFF:
            # Who comes to a limit again and again may do so by an outage that holds for any limit, or as the call is
            # slow, which tells next to nothing of a far longer one: in half of the guesses either.
            return Repeats(low, (1 - low) * bad if self._luck.fades < 0.5 else 1.0)
        # that all of it fades, or nothing, is more likely than that half of it does
        fades = min(max((self._luck.fades - _END) / (1 - 2 * _END), 0.0), 1.0)
        bound, chance = math.cos(0.5 * math.pi * fades) ** 2 * low, (1 - low) * bad
        lot = (wanted - bound) / (1 - bound)
        there, pause = (lot - chance) / (1 - chance), self._pools.usual_pause(1)
        lasts = -pause / math.log(min(there, 1 - 1e-9)) if there > 0 and pause > 0 else 0.0
        return Repeats(bound, max(lot, chance), lasts)

    def paused(self, missed: Missed, recorded: Requests, longer: Bools) -> Requests:
        """As retries went that made such pauses, else as it was."""
        kinds, ends = recorded.kinds.copy(), recorded.ends.copy()
        for sample, where in self._samples(missed):
            if sample is not None:
                kinds[where], ends[where] = self._drawn(sample, missed, where)
        return Requests(kinds, ends)

    def copied(self, missed: Missed, original: Requests) -> Requests:
        """As a fresh attempt."""
        return self._fresh(missed, np.ones(len(missed.rows), np.bool_))

    def _watched(self, sample: Sample | None, missed: Missed, where: Bools, after: Array, found: Requests) -> None:
        super()._watched(sample, missed, where, after, found)
        alone = where & ~_enough(sample, after)
        for part in np.unique(missed.epochs[alone]).tolist():
            alone &= (missed.epochs != part) | ~_enough(self._kin.of(part)[0], after)
        if alone.any():
            found.kinds[alone] = ANSWER
            found.ends[alone] = self._on(missed, alone, after[alone])

    def _drawn(self, sample: Sample, missed: Missed, where: Bools, after: Array | None = None) -> Requests:
        found = super()._drawn(sample, missed, where, after)
        behind = found.kinds == CUT_OFF
        if behind.any():
            begun = np.full(len(behind), float(sample.seconds[-1]))
            if after is not None:
                begun = np.maximum(begun, after[where])
            found.kinds[behind] = ANSWER
            found.ends[behind] = self._on(missed, where, begun)[behind]
        return found

    def _on(self, missed: Missed, where: Bools, begun: Array) -> Array:
        """When attempts end that have run for so long, ``begun`` (m,), by the tail [s]."""
        uniform, parts = self._other(missed)[where], missed.epochs[where]
        found = np.empty(len(begun))
        for part in np.unique(parts).tolist():
            mine = parts == part
            found[mine] = self._kin.of(part)[1].ends(begun[mine], self._luck.tail, uniform[mine])
        return found

    def _other(self, missed: Missed) -> Array:
        """Uniform numbers beside those of the dice: (m,)."""
        found: Array = (self._dice.of(missed) * _SCATTER) % 1.0
        return found


def _enough(sample: Sample | None, after: Array) -> Bools:
    """Of which attempts enough others were watched longer than ``after`` (m,) [s]."""
    if sample is None:
        return np.zeros(len(after), np.bool_)
    found: Bools = beyond(sample, after) >= SUPPORT
    return found
