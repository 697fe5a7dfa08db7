"""Recorded calls against other parameters on the same calls: what each gains, block of time by block of time.

The other parameters are replayed (``learning.replay_walk``), several times, with other guesses of what nobody saw;
three views of each: a likely one, and both ends of what is plausible where nothing compares. All make one mixture, in
which an end weighs one in twenty: so its 90 % interval holds nearly all of what is likely, and not the ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch import blocks
from poet.kernels.batch.blocks import Codes, Cut, Mean
from poet.kernels.batch.findings import Figure
from poet.learning.analytics.recalled import Kin, Likely, Luck, Recalled
from poet.learning.replay import apart, utilities
from poet.learning.replay_hours import plan_of
from poet.learning.replay_record import Record
from poet.learning.replay_walk import Best, Candidate, Dice, Walked, Worst, walk
from poet.model.estimate import Estimate
from poet.model.objective import Objective
from poet.model.tunable import Value

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

MEANS = ("utility", "success", "seconds", "requests")  # figures that are means over calls
VIEWS = 3  # likely, and both ends
WEIGHTS = np.array([0.9, 0.05, 0.05])  # of the views: that one of the ends is the case is not out of the question
DRAWS = 30  # of all that nobody saw, in each view
LEVEL = 0.9


class Lived(NamedTuple):
    """The calls of a record, cut into blocks of time."""

    record: Record
    objective: Objective  # with its latency cost
    cut: Cut
    counts: Array  # (blocks,) calls
    spell: Codes  # (blocks,) runs of the same parameters
    kin: Kin
    whole: int  # calls of the whole record, of which these may be a part

    @property
    def calls(self) -> Walked:
        """As they went."""
        table = self.record.table
        return Walked(table.success, table.seconds, table.requests)

    @property
    def n(self) -> int:
        """Calls."""
        return len(self.record.starts)


def lived(record: Record, objective: Objective) -> Lived:
    """A record that is to be compared; at least one call."""
    return _cut(record, objective, Kin(record.table), len(record.starts))


def part(of: Lived, rows: Rows) -> Lived:
    """Some of the calls; what compares is looked for in all of the record."""
    record = of.record
    chosen = record._replace(table=record.table.rows(rows), starts=record.starts[rows], versions=record.versions[rows])
    return _cut(chosen, of.objective, of.kin, of.whole)


def _cut(record: Record, objective: Objective, kin: Kin, whole: int) -> Lived:
    cut = blocks.cut(record.starts)
    counts = np.bincount(cut.codes, minlength=cut.blocks).astype(np.float64)
    spell = blocks.spells(cut.codes, record.versions, cut.blocks)
    return Lived(record, objective, cut, counts, spell, kin, whole)


def columns(walked: Walked, objective: Objective) -> Array:
    """By ``MEANS``: (4, n)."""
    return np.stack(
        (
            utilities(walked, objective),
            walked.success.astype(np.float64),
            walked.seconds,
            walked.requests.astype(np.float64),
        )
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """Calls as they went, less what they would have been."""

    lived: Lived
    own: Array  # (4, blocks) sums of the calls as they went, by ``MEANS``
    other: Array  # (VIEWS, DRAWS, 4, blocks) sums of what they would have been
    quantiles: Array  # (VIEWS, DRAWS, 2) median and 99 % quantile of the durations then [s]
    decided: float  # share of calls that the record decides
    untold: float  # share of calls of which the two ends tell different things
    per_call: Array  # (n,) utility gained by each call in the likely view, averaged over its draws

    def gain(self, name: str, level: float = LEVEL) -> Mean:
        """What was gained per call. name: of ``MEANS``."""
        i = MEANS.index(name)
        return blocks.mean(self.gained(i), self.lived.counts, self.lived.spell, weights=self.weights, level=level)

    def running(self, ends: Sequence[int], level: float = LEVEL) -> list[Figure]:
        """The utility gained per call in the first ``ends`` blocks each; the band holds at all of them together."""
        gained = self.gained(MEANS.index("utility"))
        return blocks.running(gained, self.lived.counts, self.lived.spell, ends, weights=self.weights, level=level)

    def gained(self, i: int) -> Array:
        """Sums by draw of all views of what was gained, (VIEWS * draws, blocks). i: place in ``MEANS``."""
        found: Array = self.own[i] - self.other[:, :, i].reshape(-1, self.other.shape[-1])
        return found

    @property
    def weights(self) -> Array:
        """Of the draws of all views."""
        return np.repeat(WEIGHTS, self.other.shape[1])


def estimate(mean: Mean, n: int, level: float = LEVEL) -> Estimate:
    """A mean over ``n`` calls as an estimate."""
    return Estimate(*mean.figure, n, level)


def joined(sides: Sequence[tuple[int, Compared]], level: float = LEVEL) -> Mean:
    """What was gained per call over several parts of a record, each with its sign: 1, or -1 for what was missed."""
    i, most = MEANS.index("utility"), max(len(side.weights) for _, side in sides)
    spells, first = [], 0
    for _, side in sides:
        spells.append(side.lived.spell + first)
        first = int(spells[-1].max()) + 1
    return blocks.mean(
        # a part that the record decides has one draw of each view, which stands for as many as the others have
        np.concatenate(
            [sign * np.repeat(side.gained(i), most // len(side.weights), axis=0) for sign, side in sides], axis=1
        ),
        np.concatenate([side.lived.counts for _, side in sides]),
        np.concatenate(spells),
        weights=max((side.weights for _, side in sides), key=len),
        level=level,
    )


def compare(lived: Lived, values: Mapping[str, Value], *, seed: int = 0, draws: int = DRAWS) -> Compared:
    """The calls against ``values``, see ``replay.wanted``. The same for the same arguments."""
    plan, table, objective, cut = plan_of(values), lived.record.table, lived.objective, lived.cut
    worst, best = walk(table, plan, Worst()), walk(table, plan, Best(lived.record.quickest))
    open_ = np.flatnonzero(apart(worst, best))
    draws = draws if len(open_) else 1  # where all is decided they are alike
    sure = columns(worst, objective)
    own = columns(lived.calls, objective)
    settled = sure.copy()
    settled[:, open_] = 0.0
    base = _sums(settled, cut.codes, cut.blocks)
    other = np.empty((VIEWS, draws, len(MEANS), cut.blocks))
    quantiles = np.empty((VIEWS, draws, 2))
    worth = np.zeros((len(open_),))
    untold = 0.0
    for draw, views in enumerate(guesses(lived, plan, open_, seed, draws)):
        for view, walked in enumerate(views):
            told = columns(walked, objective)
            other[view, draw] = base + _sums(told, cut.codes[open_], cut.blocks)
            seconds = worst.seconds.copy()
            seconds[open_] = walked.seconds
            quantiles[view, draw] = np.quantile(seconds, (0.5, 0.99))
            if view == 0:
                worth += told[0] / draws
        untold += float(apart(views[1], views[2]).sum()) / lived.n / draws
    theirs = sure[0]
    theirs[open_] = worth
    decided = 1 - len(open_) / lived.n
    sums = _sums(own, cut.codes, cut.blocks)
    return Compared(lived, sums, other, quantiles, decided, untold, own[0] - theirs)


def likely(lived: Lived, plan: Candidate, seed: int, draws: int) -> Array:
    """The utility of each call under ``plan`` in the likely view, averaged over its draws: (n,)."""
    worth = np.zeros(lived.n)
    for walked in guesses(lived, plan, np.arange(lived.n), seed, draws, views=1):
        worth += utilities(walked[0], lived.objective) / draws
    return worth


def guesses(
    lived: Lived, plan: Candidate, rows: Rows, seed: int, draws: int, views: int = VIEWS
) -> Iterator[tuple[Walked, ...]]:
    """What becomes of the calls in ``rows``, by draw and view; nothing of the others is asked for."""
    n, record, kin = lived.whole, lived.record, lived.kin
    chosen = record.table.rows(rows)
    rng = np.random.default_rng([seed, n])
    for _ in range(draws):
        weights: Array = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        dice = Dice(rng, len(rows), plan.retries + 1, plan.hedges + 1)
        oracles = (
            Likely(record.pools, kin, weights, dice, plan, Luck(*rng.random(len(Luck._fields)).tolist())),
            Recalled(record.pools, kin, weights, dice, plan, hopeful=False),
            Recalled(record.pools, kin, weights, dice, plan, hopeful=True),
        )
        yield tuple(walk(chosen, plan, oracle) for oracle in oracles[:views])


def _sums(columns: Array, codes: Codes, count: int) -> Array:
    """By block: (4, n) -> (4, count)."""
    return np.stack([np.bincount(codes, column, count) for column in columns])
