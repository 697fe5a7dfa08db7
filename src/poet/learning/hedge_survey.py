"""What ways to hedge there are within a budget, and what each is worth: on the mean picture, for a look to choose from.

A hedge delay has one knob, the extra load (as in Finagle: the delay is the (1 - load) quantile of latency). Where
hedging pays at all, the best delay is nearly always the shortest that the budget allows. So what has to be exact is the
share of attempts that outlive a delay. The share at the edges of the bins is that of the longest memory which the
shorter ones do not contradict (Lepski 1991): as many calls as the service has stood still for. The place within the bin
is read from the newest attempts that took about as long or longer, kept one by one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from poet.kernels.online import repetition
from poet.kernels.online.bins import RATIO, bin_of, readable
from poet.kernels.online.hedging import Durations, Ways, copies_sent, hedged, magnified, race
from poet.kernels.online.restart import Outlook, World, outlook, pauses
from poet.kernels.online.survival import KNOTS, Array, Grid, quantile
from poet.learning.choice import Limits, Wish, rounded
from poet.learning.folding import Picture
from poet.learning.guesses import Plan, mean_world, rising

TAIL = 0.99  # share of the answers by which a gain in the tail is told
LONGER = RATIO**6  # a longer timeout, in live ones, with which hedges are tried where none are sent

_FINE, _COARSE = 1.01, 1.1  # ratios of neighbouring delays where the budget may bind, and beyond
_WIDER, _FURTHER = 1.5, 6  # ratio and number of the delays that are scored, from the shortest allowed on
_CONTRADICTION = 2.5  # standard errors of a shorter memory's share


class Scope(NamedTuple):
    """The hard bounds, and what may be spent."""

    low: float  # delay, > 0 [s]
    high: float  # delay [s]
    fewest: int  # copies per attempt
    most: int
    aim: float  # copies per call, in [0, 1]


class Option(NamedTuple):
    """A way to hedge, on the mean picture."""

    plan: Plan
    worth: float  # utility per call, over that of sending no copies
    copies: float  # expected per call
    pays: float  # chance that latency repeats so little that they cost less than they gain


class Survey(NamedTuple):
    """What there is to choose from."""

    best: Option | None  # None: nothing keeps within the budget
    live: Option
    world: World  # that they were judged in
    attempts: float  # first attempts that this picture rests on
    slow: float  # of them, those that were seen to take longer than the best delay, by its bin
    near: float  # durations from which on single ones are worth keeping [s]


class Setting(NamedTuple):
    """What hedges are judged in."""

    picture: Picture
    limits: Limits
    scope: Scope
    recent: Durations
    world: World  # of the memory that is to be trusted, under the pauses
    bounds: Array  # (n_retries,) of the pauses before each retry [s]
    at_risk: Array  # (BINS,) attempts that this memory has seen in each bin

    @classmethod
    def of(cls, picture: Picture, live: Plan, limits: Limits, scope: Scope, recent: Durations) -> Setting:
        """The setting of a look at ``live``."""
        memory = settled(picture, scope.aim)
        bounds = pauses(live.backoff, limits.cap, max(limits.most, live.retries))
        world = mean_world(picture, memory)
        return cls(picture, limits, scope, recent, world, bounds, picture.hazards.at_risk[memory])

    def copies(self, ways: Ways, timeouts: Grid) -> Array:
        """Expected copies of one attempt: (n_ways, n_timeouts)."""
        exact = ways._replace(delays=magnified(ways.delays.times, self.recent))
        result: Array = copies_sent(self.world, exact, timeouts)[0]
        return result

    def spent(self, plan: Plan) -> float:
        """Expected copies per call."""
        timeout = Grid.of(np.array([plan.timeout]))
        attempts = outlook(self.world, timeout, self.bounds).requests[plan.retries, 0, 0]
        return float(attempts * self.copies(Ways.of((plan.hedges, plan.hedge_delay)), timeout)[0, 0])


def unhedged(plan: Plan) -> Plan:
    """``plan`` without copies."""
    return plan._replace(hedges=0, hedge_delay=0.0)


def tail(world: World, plan: Plan) -> float | None:
    """Seconds by which ``TAIL`` of the answers to one attempt come; None where they were never seen to."""
    answered = world.answered[0]
    if plan.hedges:
        raced = race(world, Ways.of((plan.hedges, plan.hedge_delay))).answered[0, 0]
        share = float(world.repeats[0])
        answered = (1 - share) * raced + share * answered
    return quantile(answered / max(float(answered[-1]), 1e-9), TAIL)


def settled(picture: Picture, share: float) -> int:
    """The longest memory that no shorter one contradicts on where ``share`` of the attempts is left.

    Lepski 1991, "On a problem of adaptive estimation in Gaussian white noise": of estimates with falling variance and
    rising bias, the last one that agrees with all before. The shortest memory is too short to be asked.
    """
    alive = 1 - picture.answered - picture.failed
    weight = picture.hazards.at_risk[:, 0]
    for memory in range(len(alive) - 1, 1, -1):
        knot = min(max(int(np.argmax(alive[memory] <= share)), 1), alive.shape[1] - 1)
        places = slice(knot - 1, knot + 1)
        own, others = alive[memory, places], alive[1:memory, places]
        n = np.maximum(weight[1:memory, None], 1.0)
        doubt = _CONTRADICTION * np.sqrt(own * (1 - own) / n) + 1 / n
        if (np.abs(others - own) <= doubt).all():
            return memory
    return 1


def surveyed(setting: Setting, live: Plan, wish: Wish) -> Survey:
    """Score the ways to hedge that keep within the budget; where there are none, with a longer timeout, too.

    A timeout that was chosen without hedges stands in their way: it ends slow attempts before a copy could answer.
    """
    longer = rounded(min(live.timeout * LONGER, setting.limits.high), setting.limits)
    both = [live.timeout, longer] if longer > live.timeout else [live.timeout]
    if live.hedges:
        found = _surveyed(setting, live, wish, [live.timeout])
        if found.best is not None:
            return found
    return _surveyed(setting, live, wish, both)


def _surveyed(setting: Setting, live: Plan, wish: Wish, limits: list[float]) -> Survey:
    """Score the ways to hedge under each of ``limits``, rising, the first being the live one."""
    world, scope, timeouts = setting.world, setting.scope, Grid.of(np.array(limits))
    attempts = outlook(world, timeouts, setting.bounds).requests[live.retries, 0]
    pairs = [(0, 0.0), *_affordable(setting, float(attempts[-1]), limits[-1])]
    if live.hedges:
        pairs.append((live.hedges, live.hedge_delay))
    ways = Ways.of(*pairs)
    whole = Outlook(*hedged(world, timeouts, setting.bounds, ways))
    going = 1 - setting.picture.refused
    utility = (wish.utility(whole) * going)[live.retries, 0]
    worths = utility - np.maximum(utility[0, 0], utility[0])  # not what another timeout would gain by itself
    spent = attempts * setting.copies(ways, timeouts)
    alike = copies_sent(world._replace(repeats=np.ones(1)), ways, timeouts)[0]
    in_vain = going * wish.objective.attempt_cost * attempts * alike

    def option(way: int, timeout: int) -> Option:
        pays = _pays(setting.picture, float(worths[way, timeout]), float(in_vain[way, timeout]))
        plan = Plan(limits[timeout], live.retries, live.backoff, *pairs[way])
        return Option(plan, float(worths[way, timeout]), float(spent[way, timeout]), pays)

    allowed = (ways.copies * ways.delays.times)[:, None] < timeouts.times  # else the last copy is never sent
    allowed &= (spent <= _FINE * scope.aim) & (ways.copies > 0)[:, None]  # delays are rounded
    if live.hedges:
        allowed[-1] = False
    best, slow = None, 0.0
    if allowed.any():
        way, timeout = np.unravel_index(np.argmax(np.where(allowed, worths, -np.inf)), worths.shape)
        best = option(int(way), int(timeout))
        slow = float(setting.at_risk[min(bin_of(best.plan.hedge_delay) + 1, len(setting.at_risk) - 1)])
    near = float(KNOTS[max(_crossing(world, scope.aim) - 1, 0)])
    return Survey(best, option(-1 if live.hedges else 0, 0), world, float(setting.at_risk[0]), slow, near)


def _pays(picture: Picture, worth: float, in_vain: float) -> float:
    """Chance that a way to hedge is worth more than nothing, by what is believed of repeating latency.

    What a way is worth falls in a straight line from where latency never repeats to where it does and copies are
    ``in_vain``, which is then lost; ``worth`` is what it is at the mean of the belief.
    """
    repeats = float(picture.repeats @ repetition.REPEATS)
    at_best = (worth + repeats * in_vain) / max(1 - repeats, 1e-9)
    possible = (1 - repetition.REPEATS) * at_best - repetition.REPEATS * in_vain
    return float(picture.repeats[possible > 0].sum())


def _affordable(setting: Setting, attempts: float, limit: float) -> list[tuple[int, float]]:
    """Copies and delays within the budget: with each number of them the shortest delay, and some longer ones [s]."""
    scope, timeout = setting.scope, Grid.of(np.array([limit]))
    places, found = _places(setting.world, scope, limit), []
    for number in range(max(scope.fewest, 1), scope.most + 1):
        within = number * places < limit
        ways = Ways(Grid.of(places), np.full(len(places), number))
        within &= attempts * setting.copies(ways, timeout)[:, 0] <= scope.aim
        if within.any():
            shortest = float(places[np.argmax(within)])
            further = (readable(shortest * _WIDER**k) for k in range(_FURTHER))
            inside = dict.fromkeys(min(max(delay, scope.low), scope.high) for delay in further)
            found += [(number, delay) for delay in inside if number * delay < limit]
    return found


def _places(world: World, scope: Scope, limit: float) -> Array:
    """Delays among which the shortest allowed is sought, rising [s]: close by where the budget is likely to bind."""
    knot = _crossing(world, scope.aim)
    low = min(max(float(KNOTS[knot]), scope.low), scope.high)
    near = min(max(float(KNOTS[min(knot + 2, len(KNOTS) - 1)]), low), scope.high)
    high = min(max(limit, near), scope.high)
    return rising([*_geometric(low, near, _FINE).tolist(), *_geometric(near, high, _COARSE).tolist()])


def _crossing(world: World, share: float) -> int:
    """The knot behind which no more than ``share`` of the attempts are left."""
    alive = 1 - world.answered[0] - world.failed[0]
    return max(int(np.argmax(alive <= share)) - 1, 0) if alive[-1] <= share else len(alive) - 1


def _geometric(low: float, high: float, ratio: float) -> Array:
    """From ``low`` to ``high``, both > 0 and among them, in steps of at most ``ratio``."""
    return np.geomspace(low, high, 2 + int(math.log(high / low) / math.log(ratio))) if high > low else np.array([low])
