"""Whether to hedge, how often and after which delay: the gain of a copy against what it costs, within a budget.

What a copy gains hangs on what makes a call slow. Where slowness lies in the call, a copy is as slow; so the outcome of
every copy moves the belief in that, and hedging ends when it no longer pays. To begin, a gain must be credible. To stay
within the budget is no question of gain: a delay that sends more copies than it may is corrected at once, one that
sends fewer when that is worth a change. What is left of an error is repaid: copies sent beyond the budget lessen what
may be sent from then on, and those not sent add a little to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from poet.kernels.online import repetition
from poet.kernels.online.hedging import Ways
from poet.kernels.online.survival import Array, Grid
from poet.learning.choice import CONFIRM, HARM, LEAST_GAIN, SLOW_SEEN, Wish, estimate
from poet.learning.guesses import Plan, drawn_worlds, scored
from poet.learning.hedge_survey import Scope, Setting, Survey, surveyed, tail, unhedged
from poet.learning.notes import ACCOUNT
from poet.model.estimate import Estimate

KEEP = 0.5  # least gains that hedging must be worth to go on; a whole one is asked to begin
OPEN = 0.3  # mean chance that latency repeats, from which on every look asks whether hedging pays
STAY = 0.7  # chance that it pays at all, to go on; to begin, the gate is asked for
TOLERANCE = 0.04  # of the allowed copies: a live delay that is nearer to them stays
TUNING = 0.05  # least gains that a better delay must be worth
APART = 1.2  # ratio of two delays that differ, where it is not the budget that tells them apart
LEAST_AIM, MOST_AIM = 0.5, 1.05  # of the budget that may be sent, however many more or fewer copies were sent before
ENOUGH = 50.0  # attempts that must rest on the same picture for a live delay to be tuned by it
FRESH = 4.0  # times the allowed copies that are too many even where the picture is fresh


class Choice(NamedTuple):
    """A change of the hedges that is worth making."""

    plan: Plan
    why: str  # what asks for it
    gain: Estimate  # of utility per call, over what is live
    copies: float  # expected per call
    aim: float  # of them, what may be sent
    repeats: float  # chance that latency repeats
    delay: Estimate
    tail: tuple[float | None, float | None]  # seconds by which ``TAIL`` of the answers come, without and with copies


class Verdict(NamedTuple):
    """What a look came to."""

    choice: Choice | None  # None: what is live stays
    near: float  # durations from which on single ones are worth keeping [s]


def aim(budget: float, overdrawn: float) -> float:
    """Copies per call to be sent from now on, for as many as the budget allows to have been sent within memory.

    budget: copies per call, in [0, 1]; overdrawn: copies sent beyond it, below 0 where fewer were.

    >>> [round(aim(0.1, overdrawn), 3) for overdrawn in (0.0, 80.0, 5000.0, -5000.0)]
    [0.1, 0.09, 0.05, 0.105]
    """
    return min(max(budget - overdrawn / ACCOUNT, LEAST_AIM * budget), MOST_AIM * budget)


BEGIN, BETTER, SPARE, STOP = "it pays", "it pays more", "too many copies are sent", "it no longer pays"


def choose(
    setting: Setting, live: Plan, wish: Wish, *, gate: float, seen: int, dice: Callable[[], np.random.Generator]
) -> Verdict:
    """Other hedges than the live ones where the evidence is good enough, maybe with a longer timeout.

    gate: least probability that a change does no harm, in (0.5, 1); seen: executions.
    """
    found = surveyed(setting, live, wish)
    least = LEAST_GAIN * wish.objective.value
    plan, why = _wanted(found, live, setting.scope, least)
    if plan is None:
        return Verdict(None, found.near)
    gains = _gains(setting, live, plan, wish, dice())
    harmless = {BEGIN: gains > -HARM * least, BETTER: gains > 0}.get(why)
    floor = least if why == BEGIN else TUNING * least
    if harmless is not None and not (harmless.mean() >= gate and gains.mean() > floor):
        return Verdict(None, found.near)
    choice = Choice(
        plan,
        why,
        estimate(gains, seen),
        found.best.copies if found.best is not None and found.best.plan == plan else 0.0,
        setting.scope.aim,
        float(found.world.repeats[0]),
        _delay(setting, plan, seen),
        (tail(found.world, unhedged(live)), tail(found.world, plan)),
    )
    return Verdict(choice, found.near)


def pressing(setting: Setting, live: Plan) -> bool:
    """Whether the live hedges send more copies than they may, or it is open whether these gain anything.

    That is all that must not wait for the next thorough look.
    """
    if not live.hedges:
        return False
    if setting.picture.repeats @ repetition.REPEATS > OPEN:
        return True
    spent = setting.spent(live)
    return spent > setting.scope.aim * (1 + _slack(float(setting.at_risk[0]), spent))


def _wanted(found: Survey, live: Plan, scope: Scope, least: float) -> tuple[Plan | None, str]:
    """What to change to, and why, by the mean picture; None: nothing."""
    best, spent = found.best, found.live.copies
    if not live.hedges:
        if best is None or min(found.slow, scope.aim * found.attempts) < SLOW_SEEN:
            return None, ""  # what little is known speaks of the prior
        if best.worth <= 0.5 * least:
            return None, ""  # the draws would not find more than twice what the mean picture shows
        return best.plan, BEGIN
    if best is None or best.worth < KEEP * least or best.pays < STAY:
        why = SPARE if best is None else STOP
        return (None, "") if scope.fewest else (unhedged(live), why)
    if found.attempts < ENOUGH:  # it has just changed, and the alarm goes off where slow calls come in a cluster
        return (best.plan, SPARE) if spent > FRESH * scope.aim else (None, "")
    slack = _slack(found.attempts, spent)
    if spent > scope.aim * (1 + slack):
        return best.plan, SPARE
    apart = abs(math.log(best.plan.hedge_delay / live.hedge_delay)) > math.log(APART)
    if best.plan.hedges != live.hedges or apart or spent < scope.aim * (1 - slack):
        return (best.plan, BETTER) if best.worth > found.live.worth + 0.5 * TUNING * least else (None, "")
    return None, ""


def _slack(attempts: float, copies: float) -> float:
    """How far from the allowed copies, as a share of them, the expected ones may be."""
    return max(TOLERANCE, _doubt(attempts, copies))


def _doubt(attempts: float, copies: float) -> float:
    """Relative standard error of an expected number of copies that rests on so many attempts."""
    return math.sqrt(max(1 - copies, 0.0) / max(copies * attempts, 1e-9))


def _delay(setting: Setting, plan: Plan, seen: int) -> Estimate:
    """The delay, with those between which as many copies would be sent, given the doubt of their share."""
    if not plan.hedges:
        return Estimate(plan.hedge_delay, plan.hedge_delay, plan.hedge_delay, seen)
    places = plan.hedge_delay * np.geomspace(1 / 3, 3.0, 221)  # the delay itself is in the middle
    ways = Ways(Grid.of(places), np.full(len(places), plan.hedges))
    sent = setting.copies(ways, Grid.of(np.array([math.inf])))[:, 0]
    copies = float(sent[len(places) // 2])
    error = 1.645 * _doubt(float(setting.at_risk[0]), copies)
    low = float(places[np.argmax(sent <= copies * (1 + error))])
    high = float(places[np.argmax(np.append(sent[:-1], 0.0) <= copies * max(1 - error, 0.0))])
    scope = setting.scope
    low, high = max(min(low, plan.hedge_delay), scope.low), min(max(high, plan.hedge_delay), scope.high)
    return Estimate(plan.hedge_delay, low, high, seen)


def _gains(setting: Setting, live: Plan, other: Plan, wish: Wish, rng: np.random.Generator) -> Array:
    """Utility per call that ``other`` has over ``live``, by posterior draws: (CONFIRM,)."""
    world = drawn_worlds(setting.picture, CONFIRM, max(live.timeout, other.timeout), rng)
    before, after = wish.utility(scored(world, (live, other), setting.limits.cap))
    result: Array = (after - before) * (1 - setting.picture.refused)
    return result
