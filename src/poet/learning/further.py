"""What is there still to be learned, and what does learning cost?

The value is that of perfect information (Raiffa & Schlaifer 1961): by each draw from the posterior, how much better
than the live plan is the plan that is best in that draw? Were all known, that could be had, on average; no evidence can
bring more. What a change gains below ``LEAST_GAIN`` is not counted, as no such change is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poet.kernels.online.bins import RATIO
from poet.kernels.online.restart import pauses
from poet.kernels.online.survival import Grid
from poet.learning.choice import Case, timeouts
from poet.learning.guesses import Plan, drawn_worlds, foreseen, mean_world, rising, scored
from poet.seams import Probe

HORIZON = 1000.0  # calls that learning is to pay for itself within
CPU = 15e-6  # of learning, per call [s]: as dear as a second of waiting
DRAWS = 24
REACH = 8  # bins around the live timeout that are looked at, each second one


def value(case: Case, rng: np.random.Generator) -> float:
    """Expected gain per call over the live plan, if all were known [utility], >= 0.

    Of other timeouts, retries and ways to hedge: none, the live one, and a delay half as long again or shorter.
    """
    live, limits = case.live, case.limits
    curve = mean_world(case.picture).answered[0]
    span = [live.timeout * RATIO**step for step in (-REACH, REACH)]
    near = [each for each in timeouts(limits, live.timeout, curve).tolist() if span[0] <= each <= span[1]]
    times = rising([*near[::2], live.timeout])
    world = drawn_worlds(case.picture, DRAWS, float(times[-1]), rng)
    bounds = pauses(live.backoff, limits.cap, case.most)
    spent = float(scored(mean_world(case.picture), [live], limits.cap).requests[0, 0]) - 1.0
    here = None
    tables = []
    rows = slice(min(limits.fewest, case.most), min(limits.most, case.most) + 1)
    for way in _ways(live, case):
        outlook = foreseen(world, way, Grid.of(times), bounds)
        worth = case.judged(outlook, by_success=False)  # (n_retries + 1, n_draws, n_timeouts)
        if here is None:  # the live way comes first
            here = worth[live.retries, :, int(np.searchsorted(times, live.timeout))]
            success = outlook.success.mean(axis=1)
            floor = 0.0 if not case.wish.hard else case.wish.floor(float(success.max())) * (1 - 1e-3)
        allowed = outlook.requests.mean(axis=1) - 1.0 <= limits.extra_beside(spent) + 1e-9
        allowed &= outlook.success.mean(axis=1) >= floor
        tables.append(np.where(allowed[:, None, :], worth, -np.inf)[rows])
    best = np.max([table.max(axis=(0, 2), initial=-np.inf) for table in tables], axis=0)
    assert here is not None
    return float(np.maximum(best - here - case.least, 0.0).mean())


def cost(case: Case, probe: Probe) -> float:
    """What learning costs per call: what its probes wait and send, and computing [utility], >= 0."""
    objective, live = case.wish.objective, case.live
    plans = [live, live._replace(retries=live.retries + 1), live._replace(timeout=live.timeout * probe.stretch)]
    outlook = scored(mean_world(case.picture), plans, case.limits.cap)
    second = objective.latency_cost or 0.0
    dearer = second * outlook.seconds[:, 0] + objective.attempt_cost * outlook.requests[:, 0]
    more = np.maximum(dearer[1:] - dearer[0], 0.0)
    return float(probe.retry * more[0] + probe.limit * more[1] + CPU * second)


def _ways(live: Plan, case: Case) -> Sequence[tuple[int, float]]:
    if not live.hedges:
        return [live.way]
    hedging = case.limits.hedging
    if hedging is None:
        return [live.way]
    delays = [live.hedge_delay / RATIO**2, live.hedge_delay * RATIO**2]
    ways = [live.way, *((live.hedges, each) for each in delays if hedging.low <= each <= hedging.high)]
    return ways if hedging.fewest else [*ways, (0, 0.0)]
