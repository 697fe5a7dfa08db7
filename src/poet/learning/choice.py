"""Which timeout, retries, backoff and hedge: all scored on the picture, changes only where a gain is credible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import survival
from poet.kernels.online.bins import BINS, EDGES, RATIO, bin_of, readable
from poet.kernels.online.hedging import Ways, hedged
from poet.kernels.online.restart import Outlook, World, pauses
from poet.kernels.online.survival import KNOTS, Array, Grid
from poet.kernels.pieces import between
from poet.learning.folding import Picture
from poet.learning.guesses import Plan, drawn_worlds, foreseen, mean_world, rising, scored
from poet.model.estimate import Estimate
from poet.model.objective import Objective

GATE = 0.9  # least posterior probability that a change does no harm
SHORT_GATE = 0.7  # the same, where success is short: to wait for certainty costs answers
LEVEL = 0.9  # of the intervals we report
LEAST_GAIN = 0.002  # mean gain of a change, as a share of a success's value: the optimum is flat, small steps are noise
# Share of its width by which a gain's interval is longer at both ends than draws say: what the model leaves out they do
# not know. Set so that on simulated services it holds as often as it says.
UNMODELLED = 0.08
FURTHER = 2  # retries beyond the live ones that are looked at
SCREEN = 40  # paired draws for the best few
ALIKE = 1e-4  # of a success's value: by so little less a pause or a delay is as good as the best
# Share of the draws one of whose best values the interval of a parameter holds. Set so that on simulated services it
# holds the truth as often as it says: draws know too little of what retries meet, and doubt too much how long errors
# last.
HOLDING: Mapping[str, float] = {"retries": 0.95, "backoff": 0.6}
OPTIMA = 24  # draws whose own optima make the interval of each parameter
CONFIRM = 128  # fresh draws for the chosen one: the best of many looks better than it is
FEW = 6  # candidates that are worth drawing for
PROBED = 1e-6  # of what a plan without retries is worth with one: decides between those that are alike
BACKOFFS_ALIKE = 4  # as many candidates may differ in nothing else
MOST_CAUTION = 10  # bins by which the best timeout is lengthened to look whether that is safer
LONGING = 5.0  # least gains that a longer timeout must promise, for the probes to look there more often
KEEN = 2.0  # the same of more retries
LATELY = (
    0.1  # share of the attempts of late whose answers came late, from which on a longer timeout is more than a hope
)
SURE = 0.15  # timeouts by which less than this share of the answers has come are not worth scoring
COARSE = 2  # bins from one timeout to the next in a first survey
MOST_DELAYS = 30  # bins before the timeout within which the posterior's own optimum of a hedge delay is sought
AROUND = 8  # bins around the chosen timeout within which the posterior's own optima are sought
NEAR = 3  # bins around the best of these that are surveyed then
EARLY, FEW_EARLY = 5, 4  # step, in bins, and number of the hedge delays by which hardly any answer has come
SLOW_SEEN = 3.0  # attempts that must have been seen to outlive a hedge delay
TESTED = 8  # retried calls that must have been seen before retries may be given up
HARM = (
    0.25  # loss, in least gains, that counts as none: who insures against a hang loses next to nothing where none comes
)
RISK = 0.3  # share of what its mean gain is above ``LARGE`` that a change may lose: to wait for certainty costs more
LARGE = 1.5  # least gains
YOUNG = 60  # calls since the start, or a change, during which half of a least gain is worth a closer look
# Least gains more that the last retry must be worth giving up for: such plans turn out worse than foreseen, as what was
# seen in a cluster of failures says too little of the calls in between, and they blind whoever follows them.
GIVING_UP = 10.0
# Least share of the best reachable success that a plan must have. A latency cost of our own making buys no failures, a
# declared one few: latencies come in bursts, so that giving up pays less than the picture says.
LEAST_SUCCESS_DERIVED = 0.99
LEAST_SUCCESS_DECLARED = 0.9
# A service that fails most of the time whatever one does is not to be chased. But neither may it be given up: who fails
# nearly always sees nothing any more, and would never learn that it pays again to wait.
SOUND = 0.9  # best reachable success below which a service counts as failing
LEAST_SUCCESS_FAILING = 0.5
# By a declared cost none of these is a floor: a success that is missing below it costs so many values of its own more.
MISSED = 0.5


class Hedging(NamedTuple):
    """The hard bounds of hedges that may be chosen freely."""

    low: float  # delay, > 0 [s]
    high: float  # delay [s]
    fewest: int  # copies per attempt
    most: int


class Limits(NamedTuple):
    """The hard bounds."""

    low: float  # timeout [s]
    high: float  # timeout [s]
    fewest: int  # retries
    most: int  # retries
    backoffs: tuple[float, ...]  # bounds of the first pause that may be chosen, rising [s]; the live one may be besides
    cap: float  # of all pauses [s]
    hedging: Hedging | None = None  # None: the hedges stay as they are
    extra: float = math.inf  # requests per call beyond the first that a plan may send
    vouched: Plan | None = None  # a plan as many as which it may send in any case; None: none, not even the live one

    def extra_beside(self, spent: float) -> float:
        """Requests per call beyond the first that a plan may send where the live one sends ``spent``."""
        return self.extra if self.vouched is None else max(self.extra, spent)


class Wish(NamedTuple):
    """What is aimed for: ``objective`` with a latency cost, and the success that may not be given away."""

    objective: Objective
    target: float | None  # share of calls that must succeed, as declared
    derived: bool  # whether the latency cost is our own guess

    @property
    def aimed(self) -> bool:
        """Whether there is a target: then ``targets`` decides."""
        return self.target is not None or self.objective.latency_target is not None

    def utility(self, outlook: Outlook) -> Array:
        """Expected utility; under a success target only time and requests count."""
        objective = self.objective
        cost = (objective.latency_cost or 0.0) * outlook.seconds + objective.attempt_cost * (outlook.requests - 1)
        return -cost if self.target is not None else objective.value * outlook.success - cost

    @property
    def hard(self) -> bool:
        """Whether success below the floor is out of the question; else each that is missing costs ``MISSED`` more."""
        return self.derived or self.target is not None

    def floor(self, best: float) -> float:
        """Least success that a candidate must have where ``best`` is the most that any has."""
        if self.target is not None:
            return min(self.target, best)
        if best < SOUND:
            return LEAST_SUCCESS_FAILING * best
        return (LEAST_SUCCESS_DERIVED if self.derived else LEAST_SUCCESS_DECLARED) * best


class Decision(NamedTuple):
    """A change that is worth making."""

    plan: Plan
    gain: Estimate  # of utility per call; of success where success was short of what is asked
    of_success: bool
    optima: Mapping[str, Estimate]  # by parameter: where the posterior's own optima lie, the others being as planned
    answered: float  # share of attempts' answers that come within the new timeout


class Verdict(NamedTuple):
    """What a look came to."""

    decision: Decision | None  # None: what is live stays
    longing: bool = False  # a longer timeout seems better, and too little was seen of what comes behind the live one
    bound: bool = False  # something better would send more requests than are allowed
    keen: bool = False  # more retries seem better, and too little was seen of what they meet


class Case(NamedTuple):
    """What a look is about."""

    picture: Picture
    live: Plan
    limits: Limits
    wish: Wish
    gate: float
    retried: float  # calls that were seen to retry
    young: bool  # whether little is known
    floor: float = 0.0  # success below which each that is missing costs more than its value

    @property
    def least(self) -> float:
        """Gain below which a change is not worth its while."""
        return LEAST_GAIN * self.wish.objective.value

    @property
    def most(self) -> int:
        """Retries that are looked at: up to ``FURTHER`` more than the live ones; what pays there is looked at next."""
        return max(min(self.limits.most, self.live.retries + FURTHER), self.live.retries, self.limits.fewest)

    def judged(self, outlook: Outlook, *, by_success: bool) -> Array:
        """Worth of each candidate per call; a refused call ends at once, whatever the plan."""
        worth = outlook.success if by_success else self.wish.utility(outlook)
        if self.floor and not by_success:
            worth = worth - MISSED * self.wish.objective.value * np.maximum(self.floor - outlook.success, 0.0)
        return worth * (1 - self.picture.refused)

    def reluctance(self, retries: int) -> float:
        """What a plan with so many ``retries`` must gain beyond what any other must."""
        return GIVING_UP * self.least if self.live.retries and not retries else 0.0

    def credible(self, gains: Array, *, short: bool) -> npt.NDArray[np.bool_]:
        """Which gains are real and large enough: (..., n_draws) -> (...). short: they mend a lack of success."""
        means = gains.mean(axis=-1)
        loss = HARM * self.least + RISK * np.maximum(means - LARGE * self.least, 0.0)
        harmless = (gains > -loss[..., None]).mean(axis=-1) >= (min(SHORT_GATE, self.gate) if short else self.gate)
        result: npt.NDArray[np.bool_] = harmless & (means > self.least)
        return result


class Table(NamedTuple):
    """Candidates that were scored together on the mean picture."""

    timeouts: Array  # (n_timeouts,) [s]
    others: Sequence[tuple[float, tuple[int, float]]]  # (n,) backoff [s] and way to hedge
    outlook: Outlook  # each part (n_retries + 1, n, n_timeouts)

    def plan(self, place: int) -> Plan:
        """The candidate at a flat index."""
        _, n_others, n_timeouts = self.outlook.success.shape
        row, column = divmod(place, n_timeouts)
        retries, row = divmod(row, n_others)
        backoff, way = self.others[row]
        return Plan(float(self.timeouts[column]), retries, backoff, *way)

    def place(self, plan: Plan) -> tuple[int, int, int]:
        """Where ``plan`` stands. Raises ValueError where it does not."""
        row = self.others.index((plan.backoff, plan.way))
        return plan.retries, row, int(np.searchsorted(self.timeouts, plan.timeout))


class _Survey(NamedTuple):
    """What the mean picture shows."""

    plans: Sequence[Plan]  # the few most promising candidates, best first; none: nothing is better by more than noise
    short: bool  # what is live gives too little success: that is mended first
    floor: float  # least success that is asked for ...
    asked: float  # ... as a share of the best reachable one
    timeouts: Array  # that were scored, within the bounds [s]
    curve: Array  # (BINS,) chance of an answer by each knot
    bound: bool = False  # something better would send more requests than are allowed
    forced: bool = False  # the live plan sends more, and must go


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
    """A better plan than ``live`` where the evidence is good enough.

    gate: least probability that a change does no harm, in (0.5, 1); retried: calls that were seen to retry; reach:
    longest timeout by which reachable success is judged [s]; seen: executions, of them ``fresh`` since the last change.
    thorough: whether to look at all there is, or only where what is next to the live plan promises something.
    """
    case = Case(picture, live, limits, wish, gate, retried, fresh < YOUNG)
    survey = _surveyed(case, reach, thorough=thorough)
    if not survey.plans:
        return Verdict(None, bound=survey.bound)
    rng = dice()
    case = case._replace(floor=0.0 if wish.hard else survey.floor)
    plan, longing, keen = _screened(case, survey, rng)
    if plan is None:
        return Verdict(None, longing, survey.bound, keen)
    before, after = _scores(case, (live, plan), CONFIRM, rng, by_success=survey.short)
    gains = (survey.asked if survey.short else 1.0) * after - before
    if not survey.forced and not case.credible(gains - case.reluctance(plan.retries), short=survey.short):
        return Verdict(None, longing, survey.bound, keen)
    within = Grid.of(np.array([plan.timeout]))
    return Verdict(
        Decision(
            plan,
            _doubted(estimate(after - before, seen)),
            survey.short,
            _optima(case, survey.timeouts, plan, seen, rng),
            float(survival.read(survey.curve, within)[0][0] / max(survey.curve[-1], 1e-9)),
        ),
        bound=survey.bound,
    )


def _surveyed(case: Case, reach: float, *, thorough: bool) -> _Survey:
    """Score candidates on the mean picture: all backoffs at the live way to hedge, then all ways at the best one."""
    world, live, limits = mean_world(case.picture), case.live, case.limits
    if limits.vouched is not None and math.isfinite(limits.extra):
        vouched = float(scored(world, [limits.vouched], limits.cap).requests[0, 0]) - 1.0
        case = case._replace(limits=limits._replace(extra=max(limits.extra, vouched)))
    curve = world.answered[0]
    times = timeouts(case.limits, live.timeout, curve, hard=case.wish.hard)
    within = times[(times >= limits.low) & (times <= limits.high)]  # the live one may be beyond
    coarse = rising([*within[::-COARSE].tolist(), live.timeout])
    backoffs = rising([*case.limits.backoffs, live.backoff]).tolist()
    ways = [live.way] if case.limits.hedging is None else free_ways(case, curve, times)
    if not thorough:
        place = backoffs.index(live.backoff)
        beside = [(backoff, live.way) for backoff in backoffs[max(0, place - 1) : place + 2]]
        tables = [scored_table(case, world, coarse, beside)]
        if len(ways) > 1:
            tables.append(scored_table(case, world, np.array([live.timeout]), [(live.backoff, way) for way in ways]))
        if not _promising(case, tables, reach):
            return _Survey((), False, 0.0, 1.0, times, curve)
    tables = [scored_table(case, world, coarse, [(backoff, live.way) for backoff in backoffs])]
    if len(ways) > 1:
        best = _ranked(case, tables, reach, 1).plans[0]
        tables.append(scored_table(case, world, coarse, [(best.backoff, way) for way in ways]))
    best = _ranked(case, tables, reach, 1).plans[0]
    place = int(np.searchsorted(times, best.timeout))
    near = times[max(0, place - NEAR) : place + NEAR + 1]
    tables.append(scored_table(case, world, near, [(backoff, best.way) for backoff in backoffs]))
    ranking = _promising(case, tables, reach)
    if ranking is None:
        return _Survey((), False, 0.0, 1.0, times, curve, _ranked(case, tables, reach, 1).bound)
    plans = dict.fromkeys([*ranking.plans, *_cautious(ranking.plans[0], live, within)])
    found = ranking.floor, ranking.asked
    return _Survey(list(plans), ranking.short, *found, within, curve, ranking.bound, ranking.forced)


def _promising(case: Case, tables: Sequence[Table], reach: float) -> _Ranking | None:
    """The best candidates where one is better than the live one, which is in the first table, by more than noise."""
    ranking = _ranked(case, tables, reach, FEW)
    now = tables[0].place(case.live)
    if not case.wish.hard:
        case = case._replace(floor=ranking.floor)
    utility, success = float(_utility(case, tables[0])[now]), float(tables[0].outlook.success[now])
    # while little is known, draws may find more than the mean picture shows
    least = (0.5 if case.young else 1.0) * case.least
    ranking = ranking._replace(short=case.wish.hard and success < ranking.floor)
    wanted = ranking.worth - utility > least or ranking.short or ranking.forced
    return ranking if wanted and ranking.worth > -math.inf else None


def _cautious(best: Plan, live: Plan, times: Array) -> Iterator[Plan]:
    """``best`` with longer timeouts, still shorter than the live one: little is lost where answers come late."""
    for step in range(2, MOST_CAUTION + 1, 2):
        timeout = best.timeout * RATIO**step
        if timeout >= live.timeout:
            return
        yield best._replace(timeout=float(times[int(np.argmin(np.abs(times - timeout)))]))


def scored_table(case: Case, world: World, times: Array, others: Sequence[tuple[float, tuple[int, float]]]) -> Table:
    """Score all of them: others that differ in backoff, or in their way to hedge, but not in both."""
    between()
    grid = Grid.of(times)
    backoffs, ways = zip(*others, strict=True)
    if len(set(ways)) == 1:
        bounds = np.stack([pauses(backoff, case.limits.cap, case.most) for backoff in backoffs], axis=1)
        return Table(times, others, foreseen(world, ways[0], grid, bounds))
    bounds = pauses(backoffs[0], case.limits.cap, case.most)
    whole = hedged(world, grid, bounds, Ways.of(*ways))
    return Table(times, others, Outlook(*(part[:, 0] for part in whole)))


class _Ranking(NamedTuple):
    """The best candidates of some tables."""

    plans: Sequence[Plan]  # best first, without the live one
    worth: float  # of the first [1]; -inf: there is none
    floor: float  # least success that a candidate must have
    asked: float  # the same as a share of the best reachable one
    short: bool = False  # whether the live one has less
    bound: bool = False  # something better would send more requests than are allowed
    forced: bool = False  # the live one sends more, and must go


def _ranked(case: Case, tables: Sequence[Table], reach: float, few: int) -> _Ranking:
    """The best ``few`` of all candidates. The live one is in the first table."""
    between()
    possible = [candidates_of(case, table) for table in tables]
    if not any(fits.any() for fits in possible):  # within the bounds no copy is ever due, and they cannot be tuned
        possible = [_bounded(case, table) for table in tables]
    spent = float(tables[0].outlook.requests[tables[0].place(case.live)]) - 1.0
    extra = case.limits.extra_beside(spent)
    allowed = [
        fits & (table.outlook.requests - 1.0 <= extra + 1e-9) for table, fits in zip(tables, possible, strict=True)
    ]
    if not any(fits.any() for fits in allowed):  # not even without retries: then that is all that can be done
        allowed = possible
    # not by the longest waits that there are: in an outage, a tail that nobody saw promises everything
    shortest = min(
        float(table.timeouts[fits.any(axis=(0, 1))][0])
        for table, fits in zip(tables, allowed, strict=True)
        if fits.any()
    )
    within = [fits & (table.timeouts <= max(reach, shortest)) for table, fits in zip(tables, allowed, strict=True)]
    reachable = max(
        float(table.outlook.success[fits].max(initial=0.0)) for table, fits in zip(tables, within, strict=True)
    )
    floor = case.wish.floor(reachable)
    asked = floor / max(reachable, 1e-9)
    floor -= 1e-3 * floor + 1e-9  # less than that is not worth a change
    if not case.wish.hard:
        case = case._replace(floor=floor)
    dreamt = -math.inf
    found: dict[tuple[object, ...], tuple[float, Plan]] = {}  # one backoff each: what differs in that alone is alike
    for table, fits, could in zip(tables, allowed, possible, strict=True):
        utility = _utility(case, table)
        if case.wish.hard:
            utility = np.where(table.outlook.success >= floor, utility, -np.inf)
        if math.isfinite(extra):
            dreamt = max(dreamt, float(np.where(could, utility, -np.inf).max()))
        worth = np.where(fits, utility, -np.inf).ravel()
        for place in _greatest(worth, BACKOFFS_ALIKE * few):
            plan, score = table.plan(place), float(worth[place])
            kind = (plan.timeout, plan.retries, plan.way)
            if math.isfinite(score) and plan != case.live and score > found.get(kind, (-math.inf,))[0]:
                found[kind] = (score, plan)
    best = sorted(found.values(), key=lambda each: -each[0])[:few]
    forced = spent > extra + 1e-9
    if not best:
        return _Ranking([case.live], -math.inf, floor, asked, bound=math.isfinite(dreamt))
    bound = dreamt - best[0][0] > case.least
    return _Ranking([plan for _, plan in best], best[0][0], floor, asked, bound=bound, forced=forced)


def _greatest(worth: Array, few: int) -> list[int]:
    """Where the ``few`` greatest are, the greatest first; of those that are alike the first."""
    if few < len(worth):
        places = np.flatnonzero(worth >= np.partition(worth, -few)[-few])
        if len(places) > 4 * few:  # most cannot be had
            places = places[worth[places] > -np.inf]
    else:
        places = np.arange(len(worth))
    chosen: list[int] = places[np.argsort(-worth[places], kind="stable")[:few]].tolist()
    return chosen


def _utility(case: Case, table: Table) -> Array:
    worth = case.judged(table.outlook, by_success=False)
    if len(worth) > 1:  # of pauses that are never made, the one that a probe's retry would want
        worth[0] += PROBED * worth[1] - case.reluctance(0)
    return worth


def _screened(case: Case, survey: _Survey, rng: np.random.Generator) -> tuple[Plan | None, bool, bool]:
    """The best of the few most promising candidates, by paired draws.

    Also whether a longer timeout seems worth having, and whether more retries do.
    """
    now, *scores = _scores(case, (case.live, *survey.plans), SCREEN, rng, by_success=survey.short)
    gains = np.array(scores) - now
    gains -= np.array([[case.reluctance(plan.retries)] for plan in survey.plans])
    means = gains.mean(axis=1)
    if survey.short:  # to be short must be credible itself; more retries give more success in every draw
        gains = survey.asked * np.array(scores) - now
    longer = np.array([plan.timeout > case.live.timeout for plan in survey.plans])
    longing = bool((means[longer] > LONGING * case.least).any())
    more = np.array([plan.retries > case.live.retries for plan in survey.plans])
    keen = bool((means[more] > KEEN * case.least).any())
    credible = case.credible(gains, short=survey.short)
    if survey.forced:
        return survey.plans[int(np.argmax(means))], longing, keen
    if not credible.any():
        return None, longing, keen
    # where success is short, all of these mend it: then the most useful one, and it comes first
    chosen = int(np.argmax(credible)) if survey.short else int(np.argmax(np.where(credible, means, -np.inf)))
    return survey.plans[chosen], longing, keen


def _scores(case: Case, plans: Sequence[Plan], n: int, rng: np.random.Generator, *, by_success: bool) -> Array:
    """Worth of each of ``plans`` by ``n`` fresh draws, the same for all: (n_plans, n).

    The best of many looks better than it is; fresh draws know nothing of the many.
    """
    between()
    world = drawn_worlds(case.picture, n, max(plan.timeout for plan in plans), rng)
    between()
    return case.judged(scored(world, plans, case.limits.cap), by_success=by_success)


def _optima(case: Case, times: Array, plan: Plan, seen: int, rng: np.random.Generator) -> dict[str, Estimate]:
    """For each parameter the values that each of some draws would choose for it, the others being as in ``plan``."""
    limits = case.limits
    between()
    place = int(np.searchsorted(times, plan.timeout))
    times = times[max(0, place - AROUND) : place + AROUND + 1]
    world = drawn_worlds(case.picture, OPTIMA, float(times[-1]), rng)
    bounds = pauses(plan.backoff, limits.cap, case.most)
    whole = case.judged(foreseen(world, plan.way, Grid.of(times), bounds), by_success=False)
    fewest = _fewest(case)
    at_timeout = whole[fewest : min(limits.most, case.most) + 1, :, int(np.searchsorted(times, plan.timeout))]
    number = np.arange(fewest, fewest + len(at_timeout), dtype=float)
    spans = {"retries": (number, at_timeout.T)}
    found = {"timeout": times[whole[plan.retries].argmax(axis=-1)]}
    between()
    if len(limits.backoffs) > 1 and plan.retries:
        choices = [plan._replace(backoff=backoff) for backoff in limits.backoffs]
        spans["backoff"] = (
            np.array(limits.backoffs),
            case.judged(scored(world, choices, limits.cap), by_success=False).T,
        )
    between()
    if limits.hedging is not None and plan.hedges:
        delays = [each for each in KNOTS[1:].tolist() if limits.hedging.low <= each <= limits.hedging.high]
        delays = [each for each in delays if plan.hedges * each < plan.timeout][-MOST_DELAYS:] or [plan.hedge_delay]
        ways = Ways.of(*((plan.hedges, delay) for delay in delays))
        part = hedged(world, Grid.of(np.array([plan.timeout])), bounds, ways)
        scores = case.judged(Outlook(*(table[plan.retries, :, :, 0] for table in part)), by_success=False)
        spans["hedge_delay"] = np.array(delays), scores
    between()
    told = {name: estimate(draws, seen)._replace(value=getattr(plan, name)) for name, draws in found.items()}
    alike = ALIKE * case.wish.objective.value
    for name, (values, scores) in spans.items():
        good = scores >= scores.max(axis=1, keepdims=True) - alike
        value = float(getattr(plan, name))
        if name == "hedge_delay":
            told[name] = _spanned(value, values, good, seen)
            continue
        low, high = _holding(value, values, good, HOLDING[name])
        if name == "backoff" and low == values[0]:
            low = 0.0  # shorter ones were not tried
        if name == "retries" and high == values[-1]:
            high = max(high, float(limits.most))  # nor were more
        told[name] = Estimate(value, min(low, value), max(high, value), seen, LEVEL)
    return told


def _spanned(value: float, values: Array, good: npt.NDArray[np.bool_], seen: int) -> Estimate:
    """``value``, with the span of those that are the best, or about as good, by draws: ``good``, (n_draws, n_values).

    values: that were tried, rising. Such optima are flat: which of several alike is the best in a draw says little, and
    the best may lie between two that were tried, or before the first.
    """
    lows, highs = values[good.argmax(axis=1)], values[::-1][good[:, ::-1].argmax(axis=1)]
    low = quantile(sorted(lows.tolist()), (1 - LEVEL) / 2)
    high = quantile(sorted(highs.tolist()), (1 + LEVEL) / 2)
    low = max((each for each in values.tolist() if each < low), default=0.0)
    high = min((each for each in values.tolist() if each > high), default=high)
    return Estimate(value, min(low, value), max(high, value), seen, LEVEL)


def _holding(value: float, values: Array, good: npt.NDArray[np.bool_], share: float) -> tuple[float, float]:
    """The shortest run of values about ``value`` that holds a good one of enough draws: its first and its last.

    values: that were tried, rising; good: (n_draws, n_values), at least one in each draw; share: of the draws, in
    (0, 1]. Of several as short ones the one that holds most.
    """
    before = np.pad(good.cumsum(axis=1), ((0, 0), (1, 0)))  # how many of the good ones are smaller
    held = (before[:, None, 1:] > before[:, :-1, None]).mean(axis=0)  # (n_first, n_last)
    first, last = np.indices(held.shape)
    place = min(int(np.searchsorted(values, value)), len(values) - 1)
    fits = (first <= place) & (last >= place) & (held >= share - 1e-9)
    length = np.where(fits, last - first - held, math.inf)
    low, high = np.unravel_index(int(length.argmin()), held.shape)
    return float(values[low]), float(values[high])


def _doubted(gain: Estimate) -> Estimate:
    """The estimate with what is not modelled."""
    more = UNMODELLED * (gain.high - gain.low)
    return gain._replace(low=gain.low - more, high=gain.high + more)


# ---------------------------------------------------------------------------------------------------- candidates


def timeouts(limits: Limits, live: float, curve: Array, *, hard: bool = True) -> Array:
    """Candidate timeouts: edges within the bounds by which answers have come, the bounds, and the live one; sorted [s].

    curve: (BINS,) chance of an answer by each knot. hard: whether giving up is out of the question; else shorter ones
    are candidates, too, where few answers come within the live one.
    """
    if limits.low == limits.high:
        return rising([limits.low, live])
    come = curve[-1] if hard else curve[min(bin_of(live), BINS - 1)]
    first = int(np.searchsorted(curve, SURE * come))
    edges = [edge for edge in EDGES[max(0, first - 1) :] if limits.low < edge < limits.high]
    return rising([*edges, limits.low, limits.high, live])


def free_ways(case: Case, curve: Array, times: Array) -> list[tuple[int, float]]:
    """Ways to hedge: none, and copies after each edge behind which enough attempts were seen to be left."""
    hedging, live = case.limits.hedging, case.live
    assert hedging is not None
    ways = [(0, 0.0)] if not hedging.fewest else []
    first = max(int(np.searchsorted(curve, SURE * curve[-1])), 1)
    at_risk = case.picture.weights @ case.picture.hazards.at_risk
    knots = [*range(first % EARLY, first, EARLY)[-FEW_EARLY:], *range(first, len(KNOTS))]
    delays = [
        float(KNOTS[knot])
        for knot in knots
        if hedging.low <= KNOTS[knot] <= hedging.high and at_risk[knot] >= SLOW_SEEN and knot
    ]
    for copies in range(max(hedging.fewest, 1), hedging.most + 1):
        ways += [(copies, delay) for delay in delays if copies * delay < times[-1]]
    if live.way not in ways:
        ways.append(live.way)
    return ways


def _fewest(case: Case) -> int:
    """Least retries that may be chosen."""
    if case.retried < TESTED and case.live.retries >= 1:
        # whoever gives up retries unseen never learns what they are worth
        return min(max(case.limits.fewest, 1), case.limits.most)
    return case.limits.fewest


def candidates_of(case: Case, table: Table) -> npt.NDArray[np.bool_]:
    """Candidates within the hard bounds, each once: as the table's outlook."""
    # a copy that is never due is none
    due = np.array([copies * delay for _, (copies, delay) in table.others])[:, None] < table.timeouts
    return _bounded(case, table) & due


def _bounded(case: Case, table: Table) -> npt.NDArray[np.bool_]:
    """Candidates within the hard bounds of timeout and retries: as the table's outlook."""
    limits, number = case.limits, np.arange(case.most + 1)
    rows = (number >= _fewest(case)) & (number <= limits.most)
    columns = (table.timeouts >= limits.low) & (table.timeouts <= limits.high)
    return np.broadcast_to(rows[:, None, None] & columns, table.outlook.success.shape)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``ordered`` lies, linear between two; to the bit what ``np.quantile`` gives.

    That one asks ``np.unique``. Hyndman & Fan 1996, definition 7. ordered: rising, at least one; share: in [0, 1].
    """
    place = (len(ordered) - 1) * share
    before = min(int(place), len(ordered) - 1)
    low, high = ordered[before], ordered[min(before + 1, len(ordered) - 1)]
    part = place - before
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


def estimate(draws: Array | npt.NDArray[np.intp], seen: int) -> Estimate:
    """Mean and central interval of posterior draws: (n,)."""
    ordered = np.sort(draws).tolist()
    low, high = quantile(ordered, (1 - LEVEL) / 2), quantile(ordered, (1 + LEVEL) / 2)
    return Estimate(float(np.mean(draws)), low, high, seen, LEVEL)


def slowed(picture: Picture, usual: float) -> bool:
    """Whether attempts of late were seen to be answered after ``usual`` [s]; else to wait longer is a mere hope."""
    seen, answers = picture.hazards.at_risk[0, 0], picture.hazards.answers[0]
    return float(answers[bin_of(usual) + 1 :].sum()) >= LATELY * float(seen)


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
    picture: Picture, plans: Sequence[Plan], cap: float, wish: Wish, seen: int, rng: np.random.Generator
) -> list[Prospect]:
    """What each of ``plans`` would give, by the same posterior draws. cap: of all pauses [s]."""
    world = drawn_worlds(picture, CONFIRM, max(plan.timeout for plan in plans), rng)
    whole = scored(world, plans, cap)
    going = 1 - picture.refused  # a refused call ends at once, whatever the plan
    objective = wish.objective
    worth = objective.value * whole.success - (objective.latency_cost or 0.0) * whole.seconds
    worth = going * (worth - objective.attempt_cost * (whole.requests - 1))
    return [
        Prospect(
            plan,
            estimate(worth[place], seen),
            estimate(worth[place] - worth[0], seen),
            float((worth[place] > worth[0]).mean()),
            going * float(whole.success[place].mean()),
            going * float(whole.seconds[place].mean()),
            1 + going * (float(whole.requests[place].mean()) - 1),
        )
        for place, plan in enumerate(plans)
    ]


def rounded(timeout: float, limits: Limits) -> float:
    """A readable timeout within the bounds [s]."""
    near = readable(timeout)
    return near if limits.low <= near <= limits.high and math.isfinite(near) else timeout
