"""Which timeout and how many retries: all candidates scored on the picture, changes only where a gain is credible."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import EDGES, readable
from poet.kernels.online.restart import Outlook, World, outlook, pauses
from poet.kernels.online.survival import Array, Grid
from poet.learning.folding import Picture
from poet.model.estimate import Estimate
from poet.model.objective import Objective

GATE = 0.9  # least posterior probability that a change is a gain
LEVEL = 0.9  # of the intervals we report
LEAST_GAIN = 0.002  # mean gain of a change, as a share of a success's value: the optimum is flat, small steps are noise
SCREEN = 48  # paired draws for the best few
CONFIRM = 128  # fresh draws for the chosen one: the best of many looks better than it is
FEW = 10  # candidates that are worth drawing for
SURE = 0.15  # timeouts by which less than this share of the answers has come are not worth scoring
TESTED = 8  # retried calls that must have been seen before retries may be given up
# Least share of the best reachable success that a plan must have. A latency cost of our own making buys no failures; one
# that was declared may, but who fails nearly always sees nothing any more, and would never learn that it pays to wait.
LEAST_SUCCESS_DERIVED = 0.99
LEAST_SUCCESS_DECLARED = 0.5


class Limits(NamedTuple):
    """The hard bounds, and the pauses that go with retries."""

    low: float  # timeout [s]
    high: float  # timeout [s]
    fewest: int  # retries
    most: int  # retries
    backoff: float  # bound of the first pause [s]
    cap: float  # of all pauses [s]


class Wish(NamedTuple):
    """What is aimed for: ``objective`` with a latency cost, and the success that may not be given away."""

    objective: Objective
    target: float | None  # share of calls that must succeed, as declared
    derived: bool  # whether the latency cost is our own guess

    def utility(self, outlook: Outlook) -> Array:
        """Expected utility; under a target only time and requests count."""
        objective = self.objective
        cost = (objective.latency_cost or 0.0) * outlook.seconds + objective.attempt_cost * (outlook.requests - 1)
        return -cost if self.target is not None else objective.value * outlook.success - cost

    def floor(self, best: float) -> float:
        """Least success that a candidate must have where ``best`` is the most that any has."""
        if self.target is not None:
            return min(self.target, best)
        return (LEAST_SUCCESS_DERIVED if self.derived else LEAST_SUCCESS_DECLARED) * best


class Plan(NamedTuple):
    """A candidate."""

    timeout: float  # [s]
    retries: int


class Decision(NamedTuple):
    """A change that is worth making."""

    plan: Plan
    gain: Estimate  # of utility per call; of success where success was short of what is asked
    of_success: bool
    timeout: Estimate  # where the posterior's own optima lie
    retries: Estimate
    answered: float  # share of attempts' answers that come within the new timeout


def mean_world(picture: Picture, limits: Limits) -> World:
    """The picture's mean, as one guess."""
    fading = repetition.jittered_fading(pauses(limits.backoff, limits.cap, limits.most))
    return World(
        (picture.weights @ picture.answered)[None],
        (picture.weights @ picture.failed)[None],
        np.array([picture.errors.sum(axis=1) @ repetition.PERMANENT]),
        (fading @ picture.errors.sum(axis=0))[None],
        np.array([picture.repeats @ repetition.REPEATS]),
    )


def drawn_worlds(picture: Picture, limits: Limits, n: int, last: float, rng: np.random.Generator) -> World:
    """``n`` draws from the posterior; ``last``: the longest timeout of interest [s]."""
    memory = _drawn(picture.weights, n, rng)
    answer, error = survival.posterior_draws(picture.hazards, memory, int(np.searchsorted(EDGES, last)) + 2, rng)
    answered, failed, _ = survival.incidence(answer, error)
    fading = repetition.jittered_fading(pauses(limits.backoff, limits.cap, limits.most))
    cell = _drawn(picture.errors.ravel(), n, rng)
    return World(
        answered,
        failed,
        repetition.PERMANENT[cell // len(repetition.PERSISTENCE)],
        fading[:, cell % len(repetition.PERSISTENCE)].T,
        repetition.REPEATS[_drawn(picture.repeats, n, rng)],
    )


def _drawn(probabilities: Array, n: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    cumulative = probabilities.cumsum()
    place: npt.NDArray[np.intp] = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return place.clip(max=len(probabilities) - 1)


def timeouts(limits: Limits, live: float, curve: Array) -> Array:
    """Candidate timeouts: edges within the bounds by which answers have come, the bounds, and the live one; sorted [s].

    curve: (BINS,) chance of an answer by each knot.
    """
    if limits.low == limits.high:
        return np.unique([limits.low, live])
    first = int(np.searchsorted(curve, SURE * curve[-1]))
    edges = [edge for edge in EDGES[max(0, first - 1) :] if limits.low < edge < limits.high]
    return np.unique([*edges, limits.low, limits.high, live])


def decide(
    picture: Picture,
    live: Plan,
    limits: Limits,
    wish: Wish,
    *,
    gate: float,
    retried: float,
    seen: int,
    dice: Callable[[], np.random.Generator],
) -> Decision | None:
    """A better plan than ``live`` where the evidence is good enough, else None.

    gate: least probability of a gain, in (0.5, 1); retried: calls that were seen to retry; seen: executions.
    """
    most = max(limits.most, live.retries)
    wide = limits._replace(most=most)
    bounds = pauses(limits.backoff, limits.cap, most)
    mean = mean_world(picture, wide)
    candidates = timeouts(limits, live.timeout, mean.answered[0])
    grid = Grid.of(candidates)
    whole = outlook(mean, grid, bounds)
    utility, success = wish.utility(whole)[:, 0], whole.success[:, 0]
    allowed = _allowed(candidates, live, limits, most, retried)
    now = (live.retries, int(np.searchsorted(candidates, live.timeout)))

    least = wish.floor(float(success[allowed].max()))
    slack = 1e-9 + 1e-3 * least
    short = success[now] < least - slack  # what is live gives too little success: that is mended first
    worth = np.where(allowed & (success >= least - slack), utility, -np.inf)
    worth[now] = -np.inf
    if not np.isfinite(worth).any():
        return None
    if not short and (worth.max() - utility[now]) * (1 - picture.refused) <= 0.5 * LEAST_GAIN * wish.objective.value:
        return None  # the draws below would not find more

    rng = dice()
    order = np.argsort(-worth, axis=None)[:FEW]
    order = order[np.isfinite(worth.ravel()[order])]
    retries, columns = np.unravel_index(order, worth.shape)
    used, place = np.unique(np.append(columns, now[1]), return_inverse=True)
    screened = outlook(
        drawn_worlds(picture, wide, SCREEN, float(candidates[used[-1]]), rng), Grid.of(candidates[used]), bounds
    )
    score = (screened.success if short else wish.utility(screened)) * (1 - picture.refused)
    gains = score[retries, :, place[:-1]] - score[now[0], :, place[-1]]
    credible = ((gains > 0).mean(axis=1) >= gate) & (gains.mean(axis=1) > LEAST_GAIN * wish.objective.value)
    if not credible.any():
        return None
    if short:  # they all give enough; the best of them is the most useful one
        chosen = int(np.flatnonzero(credible)[0])
    else:
        chosen = int(np.argmax(np.where(credible, gains.mean(axis=1), -np.inf)))
    plan = Plan(float(candidates[columns[chosen]]), int(retries[chosen]))

    # fresh draws for the chosen one alone: the best of many looks better than it is
    fresh = drawn_worlds(picture, wide, CONFIRM, max(plan.timeout, live.timeout), rng)
    both = outlook(fresh, Grid.of(np.array([live.timeout, plan.timeout])), bounds)
    judged = (both.success if short else wish.utility(both)) * (1 - picture.refused)
    gain = judged[plan.retries, :, 1] - judged[live.retries, :, 0]
    if (gain > 0).mean() < gate or gain.mean() <= LEAST_GAIN * wish.objective.value:
        return None
    optima = _optima(
        np.where(
            allowed[:, None, :],
            wish.utility(outlook(drawn_worlds(picture, wide, SCREEN, float(candidates[-1]), rng), grid, bounds)),
            -np.inf,
        )
    )
    curve = mean.answered[0]
    within = float(survival.read(curve, Grid.of(np.array([plan.timeout])))[0][0] / max(curve[-1], 1e-9))
    return Decision(
        plan,
        estimate(gain, seen),
        short,
        estimate(candidates[optima[1]], seen)._replace(value=plan.timeout),
        estimate(optima[0], seen)._replace(value=plan.retries),
        within,
    )


def _allowed(candidates: Array, live: Plan, limits: Limits, most: int, retried: float) -> npt.NDArray[np.bool_]:
    """Candidates within the hard bounds: (most + 1, n_timeouts)."""
    number = np.arange(most + 1)
    fewest = limits.fewest
    if retried < TESTED and live.retries >= 1:
        fewest = min(max(fewest, 1), limits.most)  # whoever gives up retries unseen never learns what they are worth
    rows = (number >= fewest) & (number <= limits.most)
    columns = (candidates >= limits.low) & (candidates <= limits.high)
    return rows[:, None] & columns[None, :]


def _optima(scores: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where each draw has its best score: retries and column, (n,) each; scores: (n_retries + 1, n, n_timeouts)."""
    flat = scores.transpose(1, 0, 2).reshape(scores.shape[1], -1)
    retries, columns = np.unravel_index(np.argmax(flat, axis=1), (scores.shape[0], scores.shape[2]))
    return retries, columns


def estimate(draws: npt.NDArray[np.floating] | npt.NDArray[np.intp], seen: int) -> Estimate:
    """Mean and central interval of posterior draws: (n,)."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(np.mean(draws)), float(low), float(high), seen, LEVEL)


class Prospect(NamedTuple):
    """What a plan would give, per call."""

    plan: Plan
    utility: Estimate
    gain: Estimate  # of utility over the first plan's
    better: float  # probability that it beats the first plan
    success: float
    seconds: float  # [s]
    requests: float


def prospects(
    picture: Picture, plans: Sequence[Plan], limits: Limits, wish: Wish, seen: int, rng: np.random.Generator
) -> list[Prospect]:
    """What each of ``plans`` would give, by the same posterior draws."""
    most = max(plan.retries for plan in plans)
    wide = limits._replace(most=most)
    times, column = np.unique([plan.timeout for plan in plans], return_inverse=True)
    drawn = drawn_worlds(picture, wide, CONFIRM, float(times[-1]), rng)
    whole = outlook(drawn, Grid.of(times), pauses(limits.backoff, limits.cap, most))
    going = 1 - picture.refused  # a refused call ends at once, whatever the plan
    objective = wish.objective
    worth = objective.value * whole.success - (objective.latency_cost or 0.0) * whole.seconds
    worth = going * (worth - objective.attempt_cost * (whole.requests - 1))
    first = worth[plans[0].retries, :, column[0]]
    found = []
    for plan, place in zip(plans, column, strict=True):
        success, seconds, requests = (float(part[plan.retries, :, place].mean()) for part in whole)
        mine = worth[plan.retries, :, place]
        found.append(
            Prospect(
                plan,
                estimate(mine, seen),
                estimate(mine - first, seen),
                float((mine > first).mean()),
                going * success,
                going * seconds,
                1 + going * (requests - 1),
            )
        )
    return found


def rounded(timeout: float, limits: Limits) -> float:
    """A readable timeout within the bounds [s]."""
    near = readable(timeout)
    return near if limits.low <= near <= limits.high and math.isfinite(near) else timeout
