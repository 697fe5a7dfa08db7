"""Calls that used the declared values beside calls that did not, at the same time, by lot: a canary, a try.

A lot is seen by its traces: within one block of time both kinds come in any order, as often as coins would have it, and
not first the one and then the other. Blocks where that is so are compared within themselves, so that no drift of the
service enters. What a call used because of its context, or because its caller said so, is no lot's: it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.student import half_width
from poet.model.estimate import Estimate
from poet.model.execution import Execution, Outcome
from poet.model.gains import Contrast
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value

LEVEL = 0.9
BLOCK = 200  # calls, one after the other, within which a lot's odds are taken for the same
EACH = 5  # calls of either kind in a block, at least
MIXED = 0.6  # of the runs that coins would give, at least, in a block that is taken for a lot's
FEWEST = 30  # calls of either kind in all, at least
SCORED = 0.5  # share of the answers from which on their scores are what counts

Array = npt.NDArray[np.float64]


class Worth(NamedTuple):
    """What calls were worth, and whether they used the declared values."""

    started: Array  # (n,) Unix time [s]
    worth: Array  # (n,)
    declared: npt.NDArray[np.bool_]  # (n,)
    unit: str
    share: float  # of all calls, those left out included, that did not use the declared values


def worths(
    executions: Iterable[Execution],
    versions: Mapping[int, ParameterSet],
    declared: Mapping[str, Value],
    objective: Objective,
) -> Worth:
    """objective: with its latency cost. A failed call that nobody has scored has the score 0."""
    rows: list[tuple[float, float, float, bool]] = []
    other = made = answered = told = 0
    for each in executions:
        version = versions.get(each.version)
        if each.outcome in (Outcome.SHED, Outcome.CANCELLED) or version is None or not 0 <= each.seconds < math.inf:
            continue
        used = {**version, **dict(each.values)}
        same = all(used.get(name) == value for name, value in declared.items())
        made, other = made + 1, other + (not same)
        if each.values and not each.draw:
            continue
        good = each.outcome.good
        answered, told = answered + good, told + (good and each.score is not None)
        score = each.score if each.score is not None else math.nan if good else 0.0
        utility = objective.utility(good, each.seconds, max(1, len(each.attempts)))
        rows.append((each.started, utility, score, same))
    columns = np.array(rows, np.float64).reshape(-1, 4)
    columns = columns[np.argsort(columns[:, 0], kind="stable")]
    scored = answered > 0 and told >= SCORED * answered
    worth = columns[:, 2] if scored else columns[:, 1]
    known = np.isfinite(worth)
    rest = columns[known]
    return Worth(
        rest[:, 0], worth[known], rest[:, 3] > 0, "score" if scored else "utility", other / made if made else 0.0
    )


def contrast(of: Worth) -> Contrast | None:
    """What a call gained that did not use the declared values; None: no lot has decided of enough calls."""
    total = variance = 0.0
    weight, ours, theirs = 0.0, 0, 0
    n = len(of.worth)
    for start in range(0, n - n % BLOCK if n >= BLOCK else n, BLOCK):
        end = n if start + 2 * BLOCK > n else start + BLOCK
        mine, worth = of.declared[start:end], of.worth[start:end]
        a, b = int(mine.sum()), int((~mine).sum())
        if min(a, b) < EACH or not _by_lot(mine, a, b):
            continue
        one, other = worth[mine], worth[~mine]
        size = float(a + b)
        total += size * float(other.mean() - one.mean())
        variance += size**2 * (float(one.var(ddof=1)) / a + float(other.var(ddof=1)) / b)
        weight, ours, theirs = weight + size, ours + a, theirs + b
    if min(ours, theirs) < FEWEST:
        return None
    value = total / weight
    half = half_width(LEVEL, min(ours, theirs) - 1) * math.sqrt(variance) / weight
    return Contrast(Estimate(value, value - half, value + half, ours + theirs, LEVEL), ours, theirs, of.unit)


def _by_lot(kinds: npt.NDArray[np.bool_], a: int, b: int) -> bool:
    """Whether two kinds are mixed as by coins (runs: Wald & Wolfowitz 1940)."""
    runs = 1 + int((kinds[1:] != kinds[:-1]).sum())
    return runs >= MIXED * (1 + 2 * a * b / (a + b))
