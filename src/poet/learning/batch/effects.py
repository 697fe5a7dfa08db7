"""What values do to calls where they were dealt out by lot: tries of a learner, canaries, experiments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from poet.kernels.batch import causal
from poet.kernels.batch.causal import Effect
from poet.kernels.batch.findings import adjusted
from poet.learning.batch.asked import LEVEL, Asked
from poet.learning.batch.calls import Array, Calls, Coded, Codes, Column
from poet.learning.batch.outcomes import worths
from poet.learning.batch.saying import share
from poet.model.estimate import Estimate
from poet.model.figures import figures
from poet.model.insight import Insight, Proposal
from poet.model.tunable import Value

RATE = 0.05  # of false discoveries among the effects that are told
FEWEST = 30  # calls that were dealt out by lot
BLOCK = 500  # calls, one after the other, within which the lot's odds are taken for the same where they were not logged
MOST_LEVELS = 6  # values of a number that are arms of their own; more are put together
BINS = 4  # into so many arms


class Arms(NamedTuple):
    """What a lot can have drawn of one parameter."""

    codes: Codes  # of each call; -1: not known
    values: tuple[Value, ...]  # of each arm; of a number that was put together its median


def findings(function: str, calls: Calls, asked: Asked) -> Iterable[Insight]:
    """All of one function: for each parameter the best value against the usual one, where they differ."""
    if int(calls.tried.sum()) < FEWEST:
        return
    told = calls.take(by_lot(calls))
    outcome, unit = worths(told, asked)
    found: list[tuple[str, Arms, int, Effect]] = []
    for name, column in told.parameters.items():
        arms = arms_of(column)
        counts = np.bincount(arms.codes[arms.codes >= 0], minlength=len(arms.values))
        if (counts >= causal.LEAST_ROWS).sum() < 2:
            continue
        usual = int(np.argmax(counts))
        odds = odds_of(arms.codes, told)
        told_ = causal.effects(arms.codes, odds, outcome, reference=usual, level=LEVEL, seed=asked.seed)
        found += [(name, arms, usual, effect) for effect in told_]
    rates = adjusted([each.p if each.credible else math.nan for *_, each in found])
    best: dict[str, tuple[float, Insight]] = {}
    for (name, arms, usual, effect), rate in zip(found, rates, strict=True):
        if not (effect.credible and rate <= RATE and (effect.dr.low > 0 or effect.dr.high < 0)):
            continue
        insight = _told(function, told, name, arms, usual, effect, unit, asked)
        if name not in best or effect.dr.value > best[name][0]:
            best[name] = effect.dr.value, insight
    yield from (insight for _, insight in best.values())


def by_lot(calls: Calls) -> Codes:
    """Calls whose values were drawn: those of versions under which values were tried, with those that kept theirs."""
    versions = np.unique(calls.version[calls.tried & (calls.version >= 0)])
    drawn = calls.tried | np.isin(calls.version, versions)
    return np.flatnonzero(drawn)


def arms_of(column: Column) -> Arms:
    """The values of a column, or ranges of them, as arms."""
    if isinstance(column, Coded):
        return Arms(column.codes, column.names)
    known = np.isfinite(column)
    levels = np.unique(column[known])
    codes = np.full(len(column), -1, np.int64)
    if len(levels) <= MOST_LEVELS:
        codes[known] = np.searchsorted(levels, column[known])
        return Arms(codes, tuple(levels.tolist()))
    edges = np.unique(np.quantile(column[known], np.linspace(0, 1, BINS + 1)[1:-1]))
    _, codes[known] = np.unique(np.searchsorted(edges, column[known], side="right"), return_inverse=True)
    middles = (np.median(column[codes == code]) for code in range(int(codes.max()) + 1))
    return Arms(codes, tuple(float(middle) for middle in middles))


def odds_of(codes: Codes, calls: Calls) -> Array:
    """Of what was drawn: as logged, else its share among the calls of its version nearby."""
    block = np.zeros(len(codes), np.int64)
    for version in np.unique(calls.version):
        rows = np.flatnonzero(calls.version == version)
        block[rows] = np.arange(len(rows)) // BLOCK
        if len(rows) > BLOCK:  # the last one is whole
            block[rows] = np.minimum(block[rows], len(rows) // BLOCK - 1)
    _, cell = np.unique(np.stack((calls.version, block)), axis=1, return_inverse=True)
    arms = int(codes.max(initial=0)) + 1
    known = codes >= 0
    table = np.zeros((int(cell.max(initial=0)) + 1, arms))
    np.add.at(table, (cell.ravel()[known], codes[known]), 1.0)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    odds = np.full(len(codes), np.nan)
    odds[known] = shares[cell.ravel()[known], codes[known]]
    return np.where(np.isfinite(calls.odds), calls.odds, odds)


def _told(
    function: str, calls: Calls, name: str, arms: Arms, usual: int, effect: Effect, unit: str, asked: Asked
) -> Insight:
    new, old = arms.values[effect.arm], arms.values[usual]
    gain = Estimate(effect.dr.value, effect.dr.low, effect.dr.high, effect.n + effect.n_reference, LEVEL)
    better = gain.value > 0
    taken = float((arms.codes == effect.arm).mean())
    return Insight(
        function,
        "effect",
        name,
        f"{name} {_said(new)} instead of {_said(old)} {'gains' if better else 'costs'} "
        f"{figures(abs(gain.value))} {unit} [{figures(gain.low)} to {figures(gain.high)}]; it was dealt out by lot "
        f"({share(taken)} of these calls), so that it is the cause",
        f"Make it live: poet analyze --apply, or poet pin {name}={_said(new)}." if better else f"Keep {_said(old)}.",
        gain,
        unit,
        gain.n,
        float(calls.started[0]),
        float(calls.started[-1]),
        worth=1000.0 * abs(gain.value) * (1.0 if better else taken),
        proposal=Proposal({name: _plain(new, asked.live.get(name))}, {}, gain) if better else None,
        facts={
            "ips": effect.ips.value,
            "snips": effect.snips.value,
            "doubly robust": effect.dr.value,
            "q": effect.q,
            "effective": effect.effective,
            "clipped": effect.clipped,
        },
    )


def _said(value: Value) -> str:
    return figures(value) if isinstance(value, float) else str(value)


def _plain(value: Value, live: Value | None) -> Value:
    """A number of the kind that is live."""
    if isinstance(value, float) and isinstance(live, int) and not isinstance(live, bool):
        return round(value)
    return value
