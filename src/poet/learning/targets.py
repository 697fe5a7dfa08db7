"""Plans under a target: least time subject to success, or most success subject to time.

The same picture as for utility, but quantiles of the whole call (``kernels.online.finish``) in place of means. Both
targets say which share of the calls may *miss*: fail under a success target, last longer under a latency target.

What makes this hard is that a share like one in a thousand cannot be observed: it follows from the picture as a product
over attempts. So the picture's doubts are asked by draws, and the one doubt that decides all, whether a retry after a
timeout is as slow again, at its most likely value: nothing but timeouts can tell, and a plan that waits for certainty
never sees any. Where calls do repeat, a few failed ones show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from poet.kernels.online import survival
from poet.kernels.online.finish import Calls
from poet.kernels.online.hedging import Ways
from poet.kernels.online.repetition import REPEATS
from poet.kernels.online.restart import World, pauses
from poet.kernels.online.survival import Array, Grid
from poet.kernels.pieces import between
from poet.learning import choice
from poet.learning.choice import Case, Decision, Limits, Table, Verdict, Wish
from poet.learning.folding import Picture
from poet.learning.guesses import Plan, drawn_worlds, mean_world, rising, scored
from poet.model.estimate import Estimate

T = TypeVar("T")

FIRST = 40  # calls before which nothing is decided: less says nothing of one call in a hundred
SHARE = 0.99  # of the calls that can succeed by whose success time is judged, and of the calls that a latency holds for
# Share of the misses allowed that a plan may promise. Where a thousand calls may miss once, 0.15 expected misses keep
# 99 % of the windows (Poisson); a latency's hundredth needs room only for the picture's own errors.
MARGIN_SUCCESS, MARGIN_LATENCY = 0.15, 0.85
LENIENT = 1.5  # times the least misses that can be had, where these are more than allowed
TOLERATED = 1.1  # times the misses allowed, or to be had, up to which the live plan is taken to keep the target
BROKEN = 0.5  # chance that the live plan keeps the target, below which it is to be mended
DRAWS, TIMED = 40, 16  # of success, and of them of times as well
CONFIRM = 24  # fresh draws of what was chosen
COARSE = 3  # bins from one timeout to the next in a first survey
FEW = 4  # candidates that are worth drawing for
ALIKE = 0.01  # of the cost under a success target: what differs by less, or by less than counts, is alike
FRACTIONS = 6  # parts of a latency target that are tried as limits


class _Target(NamedTuple):
    """What may miss, and by how much."""

    latency: float | None  # [s]; None: it is success that is to be kept
    allowed: float  # share of the calls that may miss
    margin: float  # share of it that a plan may promise
    share: float  # of the calls that can succeed, by whose success the time is judged

    @classmethod
    def of(cls, case: Case) -> _Target:
        latency = case.wish.objective.latency_target
        if latency is not None:
            return cls(latency, 1 - SHARE, MARGIN_LATENCY, SHARE)
        assert case.wish.target is not None
        return cls(None, 1 - case.wish.target, MARGIN_SUCCESS, min(SHARE, case.wish.target))


class _Judged(NamedTuple):
    """A table with what the target makes of it; each (n_retries + 1, n, n_timeouts)."""

    table: Table
    possible: npt.NDArray[np.bool_]  # within the hard bounds
    missed: Array  # share of the calls that miss
    worth: Array  # of those whose time was looked at; nan: not yet


class _Standard(NamedTuple):
    """What is asked of a candidate."""

    planned: float  # misses that a new plan may promise
    kept: float  # misses by which the target counts as kept: as allowed, or what can be had
    tolerated: float  # misses of the live plan that are no reason to leave it
    extra: float  # requests beyond the first that it may send
    reachable: bool  # whether anything keeps the target


class _Best(NamedTuple):
    """The best candidates of some tables."""

    plans: Sequence[Plan]  # best first, without the live one
    worth: float  # of the first
    now: float  # of the live one
    short: bool  # the live one misses too often
    forced: bool  # the live one sends too much
    bound: bool  # something better would send more
    standard: _Standard

    def wanted(self, least: float) -> bool:
        """Whether the live plan is to be left: it must be, or there is more than ``least`` to gain."""
        return self.short or self.forced or self.worth - self.now > least


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
    fresh: int,
    thorough: bool = True,
    dice: Callable[[], np.random.Generator],
) -> Verdict:
    """A better plan than ``live`` where the evidence is good enough; ``wish`` has a target.

    Arguments as for ``choice.decide``.
    """
    if seen < FIRST:
        return Verdict(None)
    case = Case(picture, live, limits, wish, gate, retried, fresh < choice.YOUNG)
    target = _Target.of(case)
    world = _presumed(mean_world(case.picture), case)
    curve = world.answered[0]
    times = choice.timeouts(case.limits, case.live.timeout, curve)
    times = times[: max(1, int(np.searchsorted(times, max(reach, case.live.timeout), side="right")))]
    if target.latency is not None:
        low, high = case.limits.low, case.limits.high
        parts = [target.latency / n for n in range(1, FRACTIONS + 1)]
        times = rising([*times.tolist(), *(part for part in parts if low <= part <= high and part >= times[0])])
    best = _surveyed(case, target, world, times, reach, thorough=thorough)
    if best is None:
        return Verdict(None)
    if not best.plans or not best.wanted(case.least):
        return Verdict(None, best.short, best.bound)
    rng = dice()
    plan, gain = _screened(case, target, best, rng, DRAWS, TIMED)
    if plan is None:
        return Verdict(None, best.short, best.bound)
    sure, gain = _screened(case, target, best._replace(plans=[plan]), rng, DRAWS, CONFIRM)
    if sure is None and not best.forced:
        return Verdict(None, best.short, best.bound)
    within = Grid.of(np.array([plan.timeout]))
    answered = float(survival.read(curve, within)[0][0] / max(curve[-1], 1e-9))
    optima = _optima(case, target, times, plan, best.standard, seen, rng)
    mended = best.short and target.latency is None
    return Verdict(Decision(plan, choice.estimate(gain, seen), mended, optima, answered), bound=best.bound)


def _presumed(world: World, case: Case) -> World:
    """``world``, a retry after a timeout being as slow again with the most likely chance."""
    likely = REPEATS[int(case.picture.repeats.argmax())]
    return world._replace(repeats=np.full(len(world.repeats), likely))


# ---------------------------------------------------------------------------------------------------- the mean picture


def _surveyed(case: Case, target: _Target, world: World, times: Array, reach: float, *, thorough: bool) -> _Best | None:
    """The best candidates on the mean picture; None where nothing promises more than the live plan."""
    live = case.live
    coarse = rising([*times[::-COARSE].tolist(), live.timeout])
    backoffs = rising([*case.limits.backoffs, live.backoff]).tolist()
    ways = [live.way] if case.limits.hedging is None else choice.free_ways(case, world.answered[0], times)

    def judged(at: Array, others: Sequence[tuple[float, tuple[int, float]]]) -> _Judged:
        return _judged(case, target, world, choice.scored_table(case, world, at, others))

    def beside(values: list[T], chosen: T, step: int) -> list[T]:
        place = values.index(chosen)
        return values[max(0, place - step) : place + step + 1]

    tried = rising([*backoffs[::3], live.backoff]).tolist() if thorough else beside(backoffs, live.backoff, 1)
    few_ways = list(dict.fromkeys([*ways[::2], live.way]))
    tables = [judged(coarse, [(backoff, live.way) for backoff in tried])]
    if len(ways) > 1 and not thorough:
        tables.append(judged(rising([live.timeout]), [(live.backoff, way) for way in few_ways]))
    best = _ranked(case, target, world, tables, reach)
    if not (thorough or best.bound or best.wanted(case.least)):
        return None
    first = (best.plans or [live])[0]
    if len(ways) > 1:
        tables.append(judged(coarse, [(first.backoff, way) for way in few_ways]))
        first = (_ranked(case, target, world, tables, reach).plans or [live])[0]
    near = times[max(0, int(np.searchsorted(times, first.timeout)) - 2) :][:5]
    tables.append(judged(near, [(backoff, first.way) for backoff in beside(backoffs, first.backoff, 2)]))
    if len(ways) > 1:
        first = (_ranked(case, target, world, tables, reach).plans or [live])[0]
        tables.append(judged(near, [(first.backoff, way) for way in beside(ways, first.way, 2)]))
    return _ranked(case, target, world, tables, reach)


def _judged(case: Case, target: _Target, world: World, table: Table) -> _Judged:
    """Which share of the calls misses, for each candidate of ``table``."""
    between()
    possible, unknown = choice.candidates_of(case, table), np.full(table.outlook.success.shape, np.nan)
    if target.latency is None:
        doomed = float(world.permanent[0] * min(world.failed[0, -1], 0.98))
        return _Judged(table, possible, np.maximum(1 - table.outlook.success / (1 - doomed), 0.0), unknown)
    calls = _calls(case, world, table)
    missed = (1 - calls.ended_by(target.latency * (1 + 1e-6))).reshape(table.outlook.success.shape)
    return _Judged(table, possible, missed, unknown)


def _calls(case: Case, world: World, table: Table, columns: npt.NDArray[np.intp] | None = None) -> Calls:
    """The calls of a table's candidates, or of those at the flat ``columns`` of its last two axes."""
    rows, place = (part.ravel() for part in np.indices(table.outlook.success.shape[1:]))
    if columns is not None:
        rows, place = rows[columns], place[columns]
    plans = []
    for row, column in zip(rows.tolist(), place.tolist(), strict=True):
        backoff, way = table.others[row]
        plans.append(Plan(float(table.timeouts[column]), 0, backoff, *way))
    return _followed(case, world, np.zeros(len(plans), dtype=np.intp), plans, case.most)


def _followed(case: Case, world: World, guess: npt.NDArray[np.intp], plans: Sequence[Plan], most: int) -> Calls:
    """The calls of one plan each in one guess each, with 0 .. ``most`` retries."""
    between()
    ways = list(dict.fromkeys(plan.way for plan in plans))
    backoffs = dict.fromkeys(plan.backoff for plan in plans)
    each = {backoff: pauses(backoff, case.limits.cap, most) for backoff in backoffs}
    bounds = np.stack([each[plan.backoff] for plan in plans], axis=1)
    limits = np.array([plan.timeout for plan in plans])
    if not any(copies for copies, _ in ways):
        return Calls.of(world, guess, limits, bounds)
    way = np.array([ways.index(plan.way) for plan in plans])
    return Calls.of(world, guess, limits, bounds, Ways.of(*ways), way)


def _ranked(case: Case, target: _Target, world: World, tables: Sequence[_Judged], reach: float) -> _Best:
    """The best of all candidates. The live one is in the first table."""
    between()
    first = tables[0]
    now = first.table.place(case.live)
    spent = float(first.table.outlook.requests[now]) - 1.0
    extra = case.limits.extra_beside(spent)
    least = 1.0
    for each in tables:
        fits = each.possible & (each.table.outlook.requests - 1.0 <= extra + 1e-9)
        within = fits & (each.table.timeouts <= max(reach, float(each.table.timeouts[0])))
        least = min(least, float(each.missed[within].min(initial=1.0)))
    allowed = target.allowed
    standard = _Standard(
        max(target.margin * allowed, min(allowed, 3 * least), 1.1 * least) + 1e-12,
        max(allowed, LENIENT * least),
        TOLERATED * max(allowed, LENIENT * least),
        extra,
        least <= allowed,
    )
    found: dict[tuple[object, ...], tuple[float, Plan]] = {}  # one backoff each: what differs in that alone is alike
    slight = 0.1 * case.least
    dreamt, mine = -np.inf, -np.inf
    for each in tables:
        keeps = each.possible & (each.missed <= standard.planned)
        if each is first:
            keeps[now] = True
        worth = _utility(case, target, world, each, keeps, least)
        if each is first:
            mine = float(worth[now])
            keeps[now] = False
        fits = keeps & (each.table.outlook.requests - 1.0 <= extra + 1e-9)
        dreamt = max(dreamt, float(worth[keeps].max(initial=-np.inf)))
        score = np.where(fits, worth, -np.inf).ravel()
        for flat in np.argsort(-score)[: 4 * FEW].tolist():
            plan, value = each.table.plan(flat), float(score[flat])
            kind = (plan.timeout, plan.retries, plan.way)
            before = found.get(kind, (-np.inf, plan))
            ahead = value - before[0]
            if (
                np.isfinite(value)
                and plan != case.live
                and (ahead > slight or (ahead > -slight and plan.backoff < before[1].backoff))
            ):
                found[kind] = (value, plan)
    best = sorted(found.values(), key=lambda pair: -pair[0])
    top = best[0][0] if best else -np.inf
    # of what is as good, the smallest timeout: what lies far out in the tail, nobody has seen
    alike = top - max(case.least, 0.0 if target.latency is not None else ALIKE * -top) if best else top
    best.sort(key=lambda pair: (pair[0] < alike, pair[1].timeout if pair[0] >= alike else -pair[0], -pair[0]))
    short = float(first.missed[now]) > standard.tolerated
    bound = bool(dreamt - top > case.least) if best else bool(np.isfinite(dreamt))
    return _Best([plan for _, plan in best[:FEW]], top, mine, short, spent > extra + 1e-9, bound, standard)


def _utility(
    case: Case, target: _Target, world: World, judged: _Judged, wanted: npt.NDArray[np.bool_], least: float
) -> Array:
    """Worth of the candidates that are ``wanted``, -inf of the others; as the table's outlook."""
    outlook = judged.table.outlook
    price = case.wish.objective.attempt_cost * (outlook.requests - 1)
    going = 1 - case.picture.refused
    if target.latency is not None and least <= target.allowed:
        return np.where(wanted, (case.wish.objective.value * outlook.success - price) * going, -np.inf)
    columns = np.flatnonzero((wanted & np.isnan(judged.worth)).any(axis=0).ravel())
    if not len(columns):
        return np.where(wanted, judged.worth * going, -np.inf)
    flat, prices = (part.reshape(len(part), -1) for part in (judged.worth, price))
    calls = _calls(case, world, judged.table, columns)
    if target.latency is not None:  # nothing keeps it: then as near to it as can be
        late = calls.ended(np.full(len(columns), SHARE)) / target.latency
        flat[:, columns] = -case.wish.objective.value * late - prices[:, columns]
    else:
        flat[:, columns] = (
            _timed(case, target, world, calls, np.zeros(len(columns), dtype=np.intp)) - prices[:, columns]
        )
    return np.where(wanted, judged.worth * going, -np.inf)


def _timed(case: Case, target: _Target, world: World, calls: Calls, guess: npt.NDArray[np.intp]) -> Array:
    """What the time until most calls have succeeded is worth: (n_retries + 1, n)."""
    able = 1 - world.permanent * np.minimum(world.failed[:, -1], 0.98)
    by = calls.succeeded((target.share * able)[guess])
    cost = case.wish.objective.latency_cost or 0.0
    result: Array = -cost * np.minimum(by, calls.longest)  # never: as long as a call can last
    return result


# ------------------------------------------------------------------------------------------------------------- draws


class _Draws(NamedTuple):
    missed: Array  # (n_plans, n)
    worth: Array  # (n_plans, n_timed)


def _drawn(
    case: Case,
    target: _Target,
    standard: _Standard,
    plans: Sequence[Plan],
    n: int,
    timed: int,
    rng: np.random.Generator,
) -> _Draws:
    """The share of misses and the worth of each plan by ``n`` draws, of the times by the first ``timed`` of them."""
    between()
    world = _presumed(drawn_worlds(case.picture, n, max(plan.timeout for plan in plans), rng), case)
    outlook = scored(world, plans, case.limits.cap)
    few = World(*(part[:timed] for part in world))
    guess, plan = (part.ravel() for part in np.indices((timed, len(plans))))
    if target.latency is not None:
        few, guess, plan = world, *(part.ravel() for part in np.indices((n, len(plans))))
    calls = _followed(case, few, guess, [plans[each] for each in plan.tolist()], max(each.retries for each in plans))
    own = np.array([each.retries for each in plans])[plan], np.arange(len(plan))
    price = case.wish.objective.attempt_cost * (outlook.requests - 1)
    if target.latency is not None:
        missed = (1 - calls.ended_by(target.latency * (1 + 1e-6)))[own].reshape(n, -1).T
        worth = case.wish.objective.value * outlook.success - price
        if not standard.reachable:
            late = calls.ended(np.full(len(plan), SHARE))[own].reshape(n, -1).T
            worth = -case.wish.objective.value * late / target.latency - price
    else:
        able = 1 - world.permanent * np.minimum(world.failed[:, -1], 0.98)
        missed = np.maximum(1 - outlook.success / able, 0.0)
        worth = _timed(case, target, few, calls, guess)[own].reshape(timed, -1).T - price[:, :timed]
    return _Draws(missed, worth * (1 - case.picture.refused))


def _screened(
    case: Case, target: _Target, best: _Best, rng: np.random.Generator, n: int, timed: int
) -> tuple[Plan | None, Array]:
    """The best of the few by paired draws, and its gain in each: of worth, or of calls that do not miss."""
    draws = _drawn(case, target, best.standard, (case.live, *best.plans), n, timed, rng)
    missed, gains = draws.missed, draws.worth[1:] - draws.worth[0]
    keeping = (missed <= best.standard.kept).mean(axis=1)
    saved = missed[0] - missed[1:]
    broken = best.short and keeping[0] < BROKEN
    if best.short and not (broken or best.forced):
        return None, saved[0]
    if broken or best.forced:
        safe = keeping[1:] >= choice.SHORT_GATE
        better = ((saved > 0).mean(axis=1) >= choice.SHORT_GATE) & (saved.mean(axis=1) > 0.25 * target.allowed)
        if best.forced or (safe & better).any():
            fit = safe & better if (safe & better).any() else safe if safe.any() else np.ones_like(safe)
            chosen = int(np.argmax(fit))  # they come best first
            return best.plans[chosen], saved[chosen] if target.latency is None else gains[chosen]
        chosen = int(np.argmin(missed[1:].mean(axis=1)))
        if better[chosen]:
            return best.plans[chosen], saved[chosen] if target.latency is None else gains[chosen]
        return None, saved[chosen]
    credible = case.credible(gains, short=True) & (keeping[1:] >= min(choice.SHORT_GATE, keeping[0]))
    if not credible.any():
        return None, gains[0]
    chosen = int(np.argmax(np.where(credible, gains.mean(axis=1), -np.inf)))
    return best.plans[chosen], gains[chosen]


def _optima(
    case: Case, target: _Target, times: Array, plan: Plan, standard: _Standard, seen: int, rng: np.random.Generator
) -> dict[str, Estimate]:
    """The timeouts and retries that each of some draws would choose, the rest being as in ``plan``."""
    place = int(np.searchsorted(times, plan.timeout))
    times = times[max(0, place - 2) : place + 3]
    fewest, most = max(case.limits.fewest, plan.retries - 1), min(case.limits.most, plan.retries + 1)
    kinds = {
        "timeout": [plan._replace(timeout=float(each)) for each in times],
        "retries": [plan._replace(retries=each) for each in range(fewest, most + 1)],
    }
    draws = _drawn(case, target, standard, [each for plans in kinds.values() for each in plans], TIMED, TIMED, rng)
    worth = np.where(draws.missed <= standard.kept, draws.worth, -np.inf)
    found, first = {}, 0
    for name, plans in kinds.items():
        if plans:
            best = worth[first : first + len(plans)].argmax(axis=0)
            values = np.array([float(getattr(each, name)) for each in plans])[best]
            found[name] = choice.estimate(values, seen)._replace(value=getattr(plan, name))
        first += len(plans)
    return found
