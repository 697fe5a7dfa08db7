"""Which timeout and how many retries: all candidates scored on the picture, changes only where a gain is credible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import EDGES, readable
from poet.kernels.online.hedging import Ways, hedged
from poet.kernels.online.restart import Outlook, World, outlook, pauses
from poet.kernels.online.survival import Array, Grid
from poet.learning.folding import Picture
from poet.model.estimate import Estimate
from poet.model.objective import Objective

T = TypeVar("T", bound=np.generic)

GATE = 0.9  # least posterior probability that a change does no harm
SHORT_GATE = 0.7  # the same, where success is short: to wait for certainty costs answers
LEVEL = 0.9  # of the intervals we report
LEAST_GAIN = 0.002  # mean gain of a change, as a share of a success's value: the optimum is flat, small steps are noise
SCREEN = 48  # paired draws for the best few
CONFIRM = 128  # fresh draws for the chosen one: the best of many looks better than it is
FEW = 10  # candidates that are worth drawing for
LONGING = 5.0  # least gains that a longer timeout must promise, for the probes to look there more often
SURE = 0.15  # timeouts by which less than this share of the answers has come are not worth scoring
TESTED = 8  # retried calls that must have been seen before retries may be given up
HARM = (
    0.25  # loss, in least gains, that counts as none: who insures against a hang loses next to nothing where none comes
)
# Least share of the best reachable success that a plan must have. A latency cost of our own making buys no failures, a
# declared one few: latencies come in bursts, so that giving up pays less than the picture says.
LEAST_SUCCESS_DERIVED = 0.99
LEAST_SUCCESS_DECLARED = 0.9
# A service that fails most of the time whatever one does is not to be chased. But neither may it be given up: who fails
# nearly always sees nothing any more, and would never learn that it pays again to wait.
SOUND = 0.9  # best reachable success below which a service counts as failing
LEAST_SUCCESS_FAILING = 0.5


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
        if best < SOUND:
            return LEAST_SUCCESS_FAILING * best
        return (LEAST_SUCCESS_DERIVED if self.derived else LEAST_SUCCESS_DECLARED) * best


class Plan(NamedTuple):
    """A candidate."""

    timeout: float  # [s]
    retries: int
    hedges: int = 0
    hedge_delay: float = 0.0  # [s]; 0 where there are no hedges


class Decision(NamedTuple):
    """A change that is worth making."""

    plan: Plan
    gain: Estimate  # of utility per call; of success where success was short of what is asked
    of_success: bool
    timeout: Estimate  # where the posterior's own optima lie
    retries: Estimate
    answered: float  # share of attempts' answers that come within the new timeout


def mean_world(picture: Picture, limits: Limits, memory: int | None = None) -> World:
    """The picture's mean, or that of one of its memories, as one guess."""
    fading = repetition.jittered_fading(pauses(limits.backoff, limits.cap, limits.most))
    weights = picture.weights if memory is None else np.eye(len(picture.weights))[memory]
    return World(
        (weights @ picture.answered)[None],
        (weights @ picture.failed)[None],
        np.array([picture.errors.sum(axis=1) @ repetition.PERMANENT]),
        (fading @ picture.errors.sum(axis=0))[None],
        np.array([picture.repeats @ repetition.REPEATS]),
    )


def foreseen(world: World, plan: Plan, grid: Grid, bounds: Array) -> Outlook:
    """The outlook of all timeouts of ``grid`` and all retries, with the hedges of ``plan``."""
    if not plan.hedges:
        return outlook(world, grid, bounds)
    return Outlook(*(part[:, :, 0] for part in hedged(world, grid, bounds, Ways.of((plan.hedges, plan.hedge_delay)))))


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
        return rising([limits.low, live])
    first = int(np.searchsorted(curve, SURE * curve[-1]))
    edges = [edge for edge in EDGES[max(0, first - 1) :] if limits.low < edge < limits.high]
    return rising([*edges, limits.low, limits.high, live])


def rising(times: Iterable[float]) -> Array:
    """``times`` in order, each once. Like ``np.unique``, which loads 1 MB of code for masked arrays."""
    return np.array(sorted(set(times)))


def distinct(values: npt.NDArray[T]) -> tuple[npt.NDArray[T], npt.NDArray[np.intp]]:
    """``values``, (n,), in order, each once, and where in them each is: (n,). As ``np.unique`` does it, likewise."""
    ordered = np.sort(values)
    once = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    place: npt.NDArray[np.intp] = np.searchsorted(once, values)
    return once, place


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``ordered`` lies, linear between two; to the bit what ``np.quantile`` gives.

    That one asks ``np.unique``. Hyndman & Fan 1996, definition 7. ordered: rising, at least one; share: in [0, 1].
    """
    place = (len(ordered) - 1) * share
    before = min(int(place), len(ordered) - 1)
    low, high = ordered[before], ordered[min(before + 1, len(ordered) - 1)]
    part = place - before
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


class Verdict(NamedTuple):
    """What a look came to."""

    decision: Decision | None  # None: what is live stays
    longing: bool = False  # a longer timeout seems better, and too little was seen of what comes behind the live one


class _Case(NamedTuple):
    """What a look is about."""

    picture: Picture
    live: Plan
    limits: Limits  # with as many retries as the live plan has, if that is more
    wish: Wish
    gate: float

    @property
    def bounds(self) -> Array:
        """Of the pauses before each retry [s]."""
        return pauses(self.limits.backoff, self.limits.cap, self.limits.most)

    @property
    def least(self) -> float:
        """Gain below which a change is not worth its while."""
        return LEAST_GAIN * self.wish.objective.value

    def foreseen(self, world: World, grid: Grid) -> Outlook:
        """The outlook of all timeouts of ``grid`` and all retries; the hedges stay as they are."""
        return foreseen(world, self.live, grid, self.bounds)

    def judged(self, outlook: Outlook, *, by_success: bool) -> Array:
        """Worth of each candidate per call; a refused call ends at once, whatever the plan."""
        return (outlook.success if by_success else self.wish.utility(outlook)) * (1 - self.picture.refused)

    def credible(self, gains: Array, *, short: bool) -> npt.NDArray[np.bool_]:
        """Which gains are real and large enough: (..., n_draws) -> (...). short: they mend a lack of success."""
        harmless = (gains > -HARM * self.least).mean(axis=-1) >= (min(SHORT_GATE, self.gate) if short else self.gate)
        result: npt.NDArray[np.bool_] = harmless & (gains.mean(axis=-1) > self.least)
        return result


class _Survey(NamedTuple):
    """All candidates on the mean picture: each table (n_retries + 1, n_timeouts)."""

    timeouts: Array  # [s]
    allowed: npt.NDArray[np.bool_]
    worth: Array  # -inf: not to be chosen
    now: tuple[int, int]  # where the live plan is
    short: bool  # what is live gives too little success: that is mended first
    asked: float  # share of the best reachable success that is asked for
    promising: bool  # whether anything is better by more than noise
    curve: Array  # (BINS,) chance of an answer by each knot


def decide(
    picture: Picture,
    live: Plan,
    limits: Limits,
    wish: Wish,
    *,
    gate: float,
    retried: float,
    reach: float,
    seen: int,
    dice: Callable[[], np.random.Generator],
) -> Verdict:
    """A better plan than ``live`` where the evidence is good enough.

    gate: least probability that a change does no harm, in (0.5, 1); retried: calls that were seen to retry; reach:
    longest timeout by which reachable success is judged [s]; seen: executions.
    """
    case = _Case(picture, live, limits._replace(most=max(limits.most, live.retries)), wish, gate)
    survey = _surveyed(case, limits, retried, reach)
    if not survey.promising:
        return Verdict(None)
    rng = dice()
    plan, longing = _screened(case, survey, rng)
    if plan is None:
        return Verdict(None, longing)
    before, after = _confirmed(case, plan, survey.short, rng)
    if not case.credible((survey.asked if survey.short else 1.0) * after - before, short=survey.short):
        return Verdict(None, longing)
    timeout, retries = _optima(case, survey, rng)
    within = Grid.of(np.array([plan.timeout]))
    return Verdict(
        Decision(
            plan,
            estimate(after - before, seen),
            survey.short,
            estimate(timeout, seen)._replace(value=plan.timeout),
            estimate(retries, seen)._replace(value=plan.retries),
            float(survival.read(survey.curve, within)[0][0] / max(survey.curve[-1], 1e-9)),
        )
    )


def _surveyed(case: _Case, limits: Limits, retried: float, reach: float) -> _Survey:
    """Score every candidate once, on the mean picture."""
    mean = mean_world(case.picture, case.limits)
    candidates = timeouts(limits, case.live.timeout, mean.answered[0])
    whole = case.foreseen(mean, Grid.of(candidates))
    utility = case.judged(whole, by_success=False)[:, 0]
    success = whole.success[:, 0]
    allowed = _allowed(candidates, case.live, limits, case.limits.most, retried)
    now = (case.live.retries, int(np.searchsorted(candidates, case.live.timeout)))
    # not by the longest waits that there are: in an outage, a tail that nobody saw promises everything
    near = allowed & (candidates <= max(reach, candidates[allowed.any(axis=0)][0]))
    reachable = float(success[near].max())
    floor = case.wish.floor(reachable)
    asked = floor / max(reachable, 1e-9)
    floor -= 1e-3 * floor + 1e-9  # less than that is not worth a change
    short = bool(success[now] < floor)
    worth = np.where(allowed & (success >= floor), utility, -np.inf)
    worth[now] = -np.inf
    best = float(worth.max())
    # the draws would not find more than twice what the mean picture shows
    promising = math.isfinite(best) and (short or best - float(utility[now]) > 0.5 * case.least)
    return _Survey(candidates, allowed, worth, now, short, asked, promising, mean.answered[0])


def _screened(case: _Case, survey: _Survey, rng: np.random.Generator) -> tuple[Plan | None, bool]:
    """The best of the few most promising candidates, by paired draws, and whether a longer timeout is longed for."""
    order = np.argsort(-survey.worth, axis=None)[:FEW]
    order = order[np.isfinite(survey.worth.ravel()[order])]
    retries, columns = np.unravel_index(order, survey.worth.shape)
    used, place = distinct(np.append(columns, survey.now[1]))
    reach = survey.timeouts[used]
    worlds = drawn_worlds(case.picture, case.limits, SCREEN, float(reach[-1]), rng)
    scores = case.judged(case.foreseen(worlds, Grid.of(reach)), by_success=survey.short)
    gains = scores[retries, :, place[:-1]] - scores[survey.now[0], :, place[-1]]
    means = gains.mean(axis=1)
    if survey.short:  # to be short must be credible itself; more retries give more success in every draw
        gains = survey.asked * scores[retries, :, place[:-1]] - scores[survey.now[0], :, place[-1]]
    longing = bool((means[survey.timeouts[columns] > case.live.timeout] > LONGING * case.least).any())
    credible = case.credible(gains, short=survey.short)
    if not credible.any():
        return None, longing
    # where success is short, all of these mend it: then the most useful one, and it comes first
    chosen = int(np.argmax(credible)) if survey.short else int(np.argmax(np.where(credible, means, -np.inf)))
    return case.live._replace(timeout=float(survey.timeouts[columns[chosen]]), retries=int(retries[chosen])), longing


def _confirmed(case: _Case, plan: Plan, by_success: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    """Worth of what is live and of ``plan`` by fresh draws: (CONFIRM,) each.

    The best of many looks better than it is; these draws know nothing of the many.
    """
    worlds = drawn_worlds(case.picture, case.limits, CONFIRM, max(plan.timeout, case.live.timeout), rng)
    both = case.foreseen(worlds, Grid.of(np.array([case.live.timeout, plan.timeout])))
    scores = case.judged(both, by_success=by_success)
    return scores[case.live.retries, :, 0], scores[plan.retries, :, 1]


def _optima(case: _Case, survey: _Survey, rng: np.random.Generator) -> tuple[Array, npt.NDArray[np.intp]]:
    """Timeout [s] and retries that each of some draws would choose for itself: (SCREEN,) each."""
    worlds = drawn_worlds(case.picture, case.limits, SCREEN, float(survey.timeouts[-1]), rng)
    scores = case.judged(case.foreseen(worlds, Grid.of(survey.timeouts)), by_success=False)
    scores = np.where(survey.allowed[:, None, :], scores, -np.inf)
    flat = scores.transpose(1, 0, 2).reshape(SCREEN, -1)
    retries, columns = np.unravel_index(np.argmax(flat, axis=1), survey.allowed.shape)
    return survey.timeouts[columns], retries


def _allowed(candidates: Array, live: Plan, limits: Limits, most: int, retried: float) -> npt.NDArray[np.bool_]:
    """Candidates within the hard bounds: (most + 1, n_timeouts)."""
    number = np.arange(most + 1)
    fewest = limits.fewest
    if retried < TESTED and live.retries >= 1:
        fewest = min(max(fewest, 1), limits.most)  # whoever gives up retries unseen never learns what they are worth
    rows = (number >= fewest) & (number <= limits.most)
    columns = (candidates >= limits.low) & (candidates <= limits.high)
    return rows[:, None] & columns[None, :]


def estimate(draws: Array | npt.NDArray[np.intp], seen: int) -> Estimate:
    """Mean and central interval of posterior draws: (n,)."""
    ordered = np.sort(draws).tolist()
    low, high = quantile(ordered, (1 - LEVEL) / 2), quantile(ordered, (1 + LEVEL) / 2)
    return Estimate(float(np.mean(draws)), low, high, seen, LEVEL)


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
    times, column = distinct(np.array([plan.timeout for plan in plans]))
    drawn = drawn_worlds(picture, wide, CONFIRM, float(times[-1]), rng)
    bounds = pauses(limits.backoff, limits.cap, most)
    wholes = {}
    going = 1 - picture.refused  # a refused call ends at once, whatever the plan
    objective = wish.objective
    found: list[Prospect] = []
    first = np.zeros(0)
    for plan, place in zip(plans, column, strict=True):
        way = (plan.hedges, plan.hedge_delay)
        if way not in wholes:
            wholes[way] = foreseen(drawn, plan, Grid.of(times), bounds)
        mine = Outlook(*(part[plan.retries, :, place] for part in wholes[way]))
        worth = objective.value * mine.success - (objective.latency_cost or 0.0) * mine.seconds
        worth = going * (worth - objective.attempt_cost * (mine.requests - 1))
        if not found:
            first = worth
        success, seconds, requests = (float(part.mean()) for part in mine)
        found.append(
            Prospect(
                plan,
                estimate(worth, seen),
                estimate(worth - first, seen),
                float((worth > first).mean()),
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
