"""What is there still to be learned, and what does learning cost?

The value is that of perfect information (Raiffa & Schlaifer 1961): by each draw from the posterior, how much better
than the live plan is the plan that is best in that draw? Were all known, that could be had, on average; no evidence can
bring more. What a change gains below ``LEAST_GAIN`` is not counted, as no such change is made. We depart from it in
that only plans around the live one are compared: the looks have just found none farther away that is better.
"""

from __future__ import annotations

import numpy as np

from poet.kernels.online.bins import RATIO
from poet.kernels.pieces import between
from poet.learning.choice import Case
from poet.learning.guesses import Plan, drawn_worlds, mean_world, scored
from poet.seams import Probe

HORIZON = 1000.0  # calls that learning is to pay for itself within
CPU = 15e-6  # of learning, per call [s]: as dear as a second of waiting
DRAWS = 24
STEPS = (-8, -4, -2, 2, 4, 8)  # bins from the live timeout to others: up to 6 times as long, or as short
APART, SHARE = 100, 8  # calls from one reckoning to the next, at least; and the share of those seen, inverted


def value(case: Case, rng: np.random.Generator) -> float:
    """Expected gain per call over the live plan, if all were known [utility], >= 0."""
    between()
    live = case.live
    plans = [live, *around(case)]
    world = drawn_worlds(case.picture, DRAWS, max(plan.timeout for plan in plans), rng)
    between()
    outlook = scored(world, plans, case.limits.cap)
    between()
    worth = case.judged(outlook, by_success=False)  # (n_plans, n_draws)
    success, extra = outlook.success.mean(axis=1), outlook.requests.mean(axis=1) - 1.0
    allowed = extra <= case.limits.extra_beside(float(extra[0])) + 1e-9
    if case.wish.hard:
        allowed &= success >= case.wish.floor(float(success.max())) * (1 - 1e-3)
    gain = np.where(allowed[:, None], worth - worth[0], 0.0).max(axis=0)
    return float(np.maximum(gain - case.least, 0.0).mean())


def cost(case: Case, probe: Probe) -> float:
    """What learning costs per call: what its probes wait and send, and computing [utility], >= 0."""
    between()
    objective, live = case.wish.objective, case.live
    plans = [live, live._replace(retries=live.retries + 1), live._replace(timeout=live.timeout * probe.stretch)]
    outlook = scored(mean_world(case.picture), plans, case.limits.cap)
    second = objective.latency_cost or 0.0
    dearer = second * outlook.seconds[:, 0] + objective.attempt_cost * outlook.requests[:, 0]
    more = np.maximum(dearer[1:] - dearer[0], 0.0)
    return float(probe.retry * more[0] + probe.limit * more[1] + CPU * second)


def around(case: Case) -> list[Plan]:
    """Plans that differ from the live one in timeout, in retries or in how they hedge, within the bounds."""
    live, limits = case.live, case.limits
    near = [live._replace(timeout=live.timeout * RATIO**step) for step in STEPS]
    near = [plan for plan in near if limits.low <= plan.timeout <= limits.high]
    retries = [live._replace(retries=live.retries + step) for step in (-1, 1)]
    near += [plan for plan in retries if limits.fewest <= plan.retries <= limits.most]
    if live.hedges and limits.hedging is not None:
        hedging = limits.hedging
        delays = [live._replace(hedge_delay=live.hedge_delay * RATIO**step) for step in (-2, 2)]
        near += [plan for plan in delays if hedging.low <= plan.hedge_delay <= hedging.high]
        near += [] if hedging.fewest else [live._replace(hedges=0, hedge_delay=0.0)]
    return near
