"""What a plan is worth in a service: exact expectations, and the best plan of all.

Given the call's work factor the attempts of a call depend on each other through errors only, so that a call is a short
Markov chain: a forward recursion over its attempts gives success, seconds and requests. What one attempt does follows
in closed form from the log-normals, and for a hedged attempt by Gauss-Legendre integration of the time that neither
copy has ended. Full-jitter pauses enter linearly, hence exactly: by half their bound, and by the mean of what is left
of an error's cause. Nothing is sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from poet.model.objective import Objective
from poet.sim.scenarios import LOAD_STEP, Scenario, loaded
from poet.sim.services import ATTEMPTS, Mode, Plan, Service

Floats = NDArray[np.float64]

TIMEOUTS: tuple[float, ...] = tuple(np.geomspace(0.05, 120.0, 44).tolist())  # [s]
HEDGE_DELAYS: tuple[float, ...] = (0.0, *np.geomspace(0.03, 30.0, 16).tolist())  # [s]; 0: none
BACKOFFS: tuple[float, ...] = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)  # [s]
RETRIES = 5  # most retries that the oracle considers

_GRAIN = {"timeout": 0.001, "backoff": 0.01, "hedge_delay": 0.005}  # of the kept evaluations, in log units
_SATURATED = 1.03  # utilisation from which neither latency nor refusals of an overload grow any more [1]
_erfc = np.frompyfunc(math.erfc, 1, 1)


class Outlook(NamedTuple):
    """What to expect of one call."""

    success: float  # probability that it is answered [1]
    seconds: float  # its duration, pauses included [s]
    extra: float  # requests beyond the first [1]

    def utility(self, objective: Objective) -> float:
        """Expected utility of the call [1]. Raises ConfigurationError while the latency cost is unknown."""
        return float(_utilities(Outlooks(*map(np.asarray, self)), objective))


class Outlooks(NamedTuple):
    """The same for many plans at once, as arrays of one shape."""

    success: Floats
    seconds: Floats
    extra: Floats


class Best(NamedTuple):
    """The best plan and its expected utility."""

    utility: float
    plan: Plan


def _utilities(outlooks: Outlooks, objective: Objective) -> Floats:
    # A call of no seconds and one request is worth exactly the value of its success: so an unknown cost raises here.
    objective.utility(True, 0.0, 1)
    cost = objective.latency_cost or 0.0
    return objective.value * outlooks.success - cost * outlooks.seconds - objective.attempt_cost * outlooks.extra


# --- one request ------------------------------------------------------------------------------------------------------


def _normal_cdf(x: Floats) -> Floats:
    # By the standard library: its erfc is exact to the last digits, and this room then needs numpy only.
    return 0.5 * np.asarray(_erfc(-x / math.sqrt(2.0)), dtype=np.float64)


def _score(mode: Mode, x: Floats) -> Floats:
    """Standard normal score of ``x`` >= 0 [s]; minus infinity at 0, and at what rounding has left a hair below."""
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(np.maximum(x, 0.0)) - math.log(mode.median)) / mode.sigma)


def _ended_by(modes: Sequence[Mode], x: Floats) -> Floats:
    """Probability that a latency is at most ``x`` >= 0 [s]."""
    return np.asarray(sum(mode.share * _normal_cdf(_score(mode, x)) for mode in modes))


def _mean_up_to(modes: Sequence[Mode], x: Floats) -> Floats:
    """Expectation of a latency cut off at ``x`` >= 0 [s]; for a log-normal in closed form."""
    total = np.zeros_like(x)
    for mode in modes:
        score = _score(mode, x)
        mean = mode.median * math.exp(0.5 * mode.sigma**2)
        total += mode.share * (mean * _normal_cdf(score - mode.sigma) + x * _normal_cdf(-score))
    return total


# --- one attempt ------------------------------------------------------------------------------------------------------


class _Attempt(NamedTuple):
    """How an attempt ends, each (n_factors, n_timeouts); what is neither success nor error times out."""

    success: Floats
    error: Floats
    seconds: Floats
    hedged: Floats  # probability that the copy is sent


def _plain(service: Service, timeouts: Floats, factors: Floats) -> tuple[_Attempt, _Attempt]:
    """One request, if it is to succeed and if it is to err. factors: (n_factors, 1)."""
    nothing = np.zeros((len(factors), len(timeouts)))
    scaled = timeouts / factors
    good = (1.0 - service.hang) * _ended_by(service.latency, scaled)
    pending = service.hang * timeouts + (1.0 - service.hang) * factors * _mean_up_to(service.latency, scaled)
    bad = nothing + _ended_by((service.error_latency,), timeouts)
    failing = nothing + _mean_up_to((service.error_latency,), timeouts)
    return _Attempt(good, nothing, pending, nothing), _Attempt(nothing, bad, failing, nothing)


_GL_X, _GL_W = np.polynomial.legendre.leggauss(6)


def _integrals(f_at: Floats, edges: Floats) -> Floats:
    """Integrals from the first edge to each edge; f_at: (..., n_edges - 1, 6) at the nodes of ``_nodes(edges)``."""
    panels = (f_at * _GL_W).sum(-1) * np.diff(edges) / 2.0
    return np.concatenate([np.zeros((*panels.shape[:-1], 1)), np.cumsum(panels, axis=-1)], axis=-1)


def _nodes(edges: Floats) -> Floats:
    """Gauss-Legendre nodes, (n_edges - 1, 6)."""
    middle, half = (edges[1:] + edges[:-1]) / 2.0, np.diff(edges) / 2.0
    return np.asarray(middle[:, None] + half[:, None] * _GL_X)


def _doubled(
    service: Service, timeouts: Floats, factors: Floats, delay: float, *, permanent: bool
) -> tuple[_Attempt, _Attempt]:
    """The same with a copy sent after ``delay`` < all timeouts.

    The first success ends the attempt. An error of the first request ends it while no copy is out; later on both must
    have erred. The copy of a request that is bound to err suffers from the same cause, faded over the delay.
    """
    hang, error_mode, at_delay = service.hang, (service.error_latency,), np.asarray([delay])
    last = float(timeouts.max())
    # Panels grow in proportion to the time since the copy's start: there its latency bends the sharpest.
    fine = delay + np.geomspace(min(1e-4, (last - delay) / 2.0), last - delay, 80)
    edges = np.unique(np.concatenate([at_delay, timeouts, fine[fine < last]]))
    x = _nodes(edges)
    at = np.searchsorted(edges, timeouts)

    def by(where: Floats, share: float) -> Floats:
        """Success by ``where``, per factor; (n_factors, ...)."""
        scaled = where / factors.reshape(-1, *[1] * where.ndim)
        return share * (1.0 - hang) * _ended_by(service.latency, scaled)

    after_good = 1.0 if permanent else service.error
    after_bad = 1.0 if permanent else service.error_after(delay)

    # A first request that is to succeed: pending until it or a good copy answers.
    open_x = (1.0 - by(x, 1.0)) * (1.0 - by(x - delay, 1.0 - after_good))
    open_end = (1.0 - by(timeouts, 1.0)) * (1.0 - by(timeouts - delay, 1.0 - after_good))
    until_delay = hang * delay + (1.0 - hang) * factors * _mean_up_to(service.latency, at_delay / factors)
    nothing = np.zeros_like(open_end)
    good = _Attempt(
        1.0 - open_end, nothing, until_delay + _integrals(open_x, edges)[..., at], nothing + (1.0 - by(at_delay, 1.0))
    )

    # One that is to err.
    erred_early = _ended_by(error_mode, at_delay)
    survives = 1.0 - erred_early
    saved_x, saved_end = by(x - delay, 1.0 - after_bad), by(timeouts - delay, 1.0 - after_bad)

    def both_erred(where: Floats) -> Floats:
        return (_ended_by(error_mode, where) - erred_early) * after_bad * _ended_by(error_mode, where - delay)

    failing_x = survives * (1.0 - saved_x) - both_erred(x)
    bad = _Attempt(
        survives * saved_end,
        nothing + erred_early + both_erred(timeouts),
        _mean_up_to(error_mode, at_delay) + _integrals(failing_x, edges)[..., at],
        nothing + survives,
    )
    return good, bad


# --- one call ---------------------------------------------------------------------------------------------------------


def _work(service: Service) -> tuple[Floats, Floats]:
    """(weights, factors) of the call's work, each (n,).

    A log-normal is integrated by the trapezium rule, whose error for smooth integrands on the whole line falls faster
    than any power of the step; the step is half of the sharpest bend that an attempt's latency can make.
    """
    if isinstance(service.work, tuple):
        return np.asarray([share for share, _ in service.work]), np.asarray([factor for _, factor in service.work])
    if service.work == 0.0:
        return np.ones(1), np.ones(1)
    step = min(0.25, 0.5 * min(mode.sigma for mode in service.latency) / service.work)
    reach = math.ceil(5.5 / step)
    z = np.arange(-reach, reach + 1) * step
    weights = np.exp(-0.5 * z * z)
    return weights / weights.sum(), np.exp(service.work * z)


def _recursion(good: _Attempt, bad: _Attempt, first: float, again: Floats, pauses: Floats, weights: Floats) -> Outlooks:
    """Fold attempts to calls.

    first: probability that an attempt is to err, at first and after a timeout.
    again: (n_retries, n_backoffs) the same after an error; pauses: (n_retries, n_backoffs) mean pause [s].
    weights: (n_factors,). Returns arrays (n_timeouts, n_backoffs, n_retries + 1), summed over the factors.
    """
    n_retries, n_backoffs = again.shape
    ends = [(g[..., None], b[..., None]) for g, b in zip(good, bad, strict=True)]
    shape = (*good.success.shape, n_backoffs)
    after_error, fresh = np.zeros(shape), np.ones(shape)  # probability that attempt k is made, by what came before
    success, seconds, extra = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    rows = []
    for k in range(n_retries + 1):
        if k:
            reached = after_error + fresh
            extra, seconds = extra + reached, seconds + reached * pauses[k - 1]
        to_err = after_error * (again[k - 1] if k else first) + fresh * first
        to_succeed = after_error + fresh - to_err
        won, erred, lasted, copied = (to_succeed * g + to_err * b for g, b in ends)
        success, seconds, extra = success + won, seconds + lasted, extra + copied
        after_error, fresh = erred, np.maximum(to_succeed + to_err - won - erred, 0.0)
        rows.append([np.tensordot(weights, x, axes=1) for x in (success, seconds, extra)])
    return Outlooks(*(np.stack(column, axis=-1) for column in zip(*rows, strict=True)))


def outlooks(
    service: Service,
    timeouts: Sequence[float],
    backoffs: Sequence[float],
    retries: int,
    hedge_delay: float = 0.0,
) -> Outlooks:
    """What to expect of every plan of these timeouts, backoffs and 0 to ``retries`` retries.

    timeouts: > 0 [s]; backoffs: >= 0 [s]; hedge_delay: >= 0 [s], 0 for none; it counts where it is below the timeout.
    Returns arrays (n_timeouts, n_backoffs, retries + 1).
    """
    limits = np.asarray(timeouts, dtype=np.float64)
    hedged = (limits > hedge_delay) & (hedge_delay > 0.0)
    if hedged.any() and not hedged.all():
        parts = (
            outlooks(service, limits[~hedged].tolist(), backoffs, retries),
            outlooks(service, limits[hedged].tolist(), backoffs, retries, hedge_delay),
        )
        order = np.argsort(np.concatenate([np.flatnonzero(~hedged), np.flatnonzero(hedged)]))
        return Outlooks(*(np.concatenate(pair)[order] for pair in zip(*parts, strict=True)))
    delay = hedge_delay if hedged.any() else 0.0
    bounds = [[Plan(1.0, 0, b).longest_pause(k) for b in backoffs] for k in range(1, retries + 1)]
    pauses = np.asarray(bounds).reshape(retries, len(backoffs)) / 2.0
    again = np.vectorize(service.error_after_pause_up_to, otypes=[np.float64])(2.0 * pauses)
    weights, factors = _work(service)
    usual = _recursion(
        *_attempts(service, limits, factors, delay, permanent=False), service.error, again, pauses, weights
    )
    if service.permanent == 0.0:
        return usual
    one = np.ones(1)
    doomed = _recursion(*_attempts(service, limits, one, delay, permanent=True), 1.0, np.ones_like(again), pauses, one)
    return Outlooks(
        *((1.0 - service.permanent) * u + service.permanent * d for u, d in zip(usual, doomed, strict=True))
    )


def _attempts(
    service: Service, limits: Floats, factors: Floats, delay: float, *, permanent: bool
) -> tuple[_Attempt, _Attempt]:
    if delay == 0.0:
        return _plain(service, limits, factors[:, None])
    return _doubled(service, limits, factors[:, None], delay, permanent=permanent)


def evaluate(service: Service, plan: Plan) -> Outlook:
    """What to expect of one call under ``plan``. Raises ValueError where the plan is out of range.

    >>> from poet.sim.services import Mode
    >>> coin = Service((Mode(1.0, 1.0, 0.5),))       # half of its answers take more than a second
    >>> evaluate(coin, Plan(timeout=1.0, retries=1)).success
    0.75
    """
    plan.check()
    everything = outlooks(service, (plan.timeout,), (plan.backoff,), plan.retries, plan.hedge_delay)
    return Outlook(*(float(x[0, 0, plan.retries]) for x in everything))


# --- kept evaluations -------------------------------------------------------------------------------------------------


def _grained(name: str, x: float) -> float:
    grain = _GRAIN[name]
    return math.exp(round(math.log(x) / grain) * grain) if x > 0.0 else 0.0


@lru_cache(maxsize=200_000)
def _kept(service: Service, objective: Objective, timeout: float, backoff: float, delay: float) -> list[float]:
    values = _utilities(outlooks(service, (timeout,), (backoff,), ATTEMPTS - 1, delay), objective)
    return [float(u) for u in values[0, 0]]


def expected_utility(scenario: Scenario, t: int, plan: Plan, load: float = 1.0) -> float:
    """Expected utility of call ``t`` under ``plan``, at our own ``load`` [requests per call].

    Kept, and therefore rounded: timeout within 0.05 %, hedge delay 0.25 %, backoff 0.5 %. ``evaluate`` does not round.
    """
    return _kept(
        scenario.service(t, load),
        scenario.objective,
        _grained("timeout", plan.timeout),
        _grained("backoff", plan.backoff),
        _grained("hedge_delay", plan.hedge_delay if plan.hedged else 0.0),
    )[plan.retries]


# --- the oracle -------------------------------------------------------------------------------------------------------


def _delays(hedging: bool) -> tuple[float, ...]:
    return HEDGE_DELAYS if hedging else (0.0,)


def _table(service: Service, delays: Sequence[float], backoffs: Sequence[float]) -> Outlooks:
    """Everything on the grid: arrays (n_delays, n_timeouts, n_backoffs, retries + 1)."""
    each = [outlooks(service, TIMEOUTS, backoffs, RETRIES, delay) for delay in delays]
    return Outlooks(*(np.stack(column) for column in zip(*each, strict=True)))


def _plan_at(index: int, delays: Sequence[float], backoffs: Sequence[float]) -> Plan:
    """The plan of a flat index into a table."""
    shape = (len(delays), len(TIMEOUTS), len(backoffs), RETRIES + 1)
    d, i, b, r = (int(place) for place in np.unravel_index(index, shape))
    delay = delays[d] if delays[d] < TIMEOUTS[i] else 0.0
    return Plan(TIMEOUTS[i], r, backoffs[b], delay)


@lru_cache(maxsize=1024)
def _best(service: Service, objective: Objective, delays: tuple[float, ...], backoffs: tuple[float, ...]) -> Best:
    values = _utilities(_table(service, delays, backoffs), objective)
    index = int(values.argmax())
    return Best(float(values.flat[index]), _plan_at(index, delays, backoffs))


def oracle(scenario: Scenario, t: int, *, hedging: bool = True, backoff: float | None = None) -> Best:
    """The best plan of the grid for call ``t``, which knows the service, not the dice.

    hedging: whether it may send copies: 44 timeouts x 17 delays x 8 backoffs x 0 to 5 retries; else without the delays.
    backoff: the only one that it may use, >= 0 [s]; None leaves it the choice.
    In an overload the service depends on what was done before: there it is the plan that is best *kept throughout*.
    """
    backoffs = BACKOFFS if backoff is None else (backoff,)
    if scenario.overload is not None:
        plan, series = _best_kept(scenario, _delays(hedging), backoffs)
        return Best(float(series[t]), plan)
    return _best(scenario.at(t), scenario.objective, _delays(hedging), backoffs)


def oracle_series(
    scenario: Scenario, *, hedging: bool = True, backoff: float | None = None, calls: int | None = None
) -> Floats:
    """The oracle's expected utility at each of the first ``calls`` calls; None: at all of the scenario's."""
    n = scenario.calls if calls is None else calls
    return np.asarray([oracle(scenario, t, hedging=hedging, backoff=backoff).utility for t in range(n)])


# --- overload ---------------------------------------------------------------------------------------------------------


def mean_field(scenario: Scenario, plan: Plan) -> Floats:
    """Expected utility at each call where ``plan`` is kept throughout, the load following its expectation.

    The load's own randomness is left out: it averages over ``half_life`` calls, so that it moves little. Raises
    ValueError where the scenario has no overload.
    """
    plan.check()

    def alone(service: Service) -> Outlooks:
        row = outlooks(service, (plan.timeout,), (plan.backoff,), plan.retries, plan.hedge_delay)
        return Outlooks(*(x[..., -1].ravel() for x in row))

    return np.concatenate(list(_loaded_utilities(scenario, alone)))


def _loaded_utilities(scenario: Scenario, table: Callable[[Service], Outlooks]) -> Iterator[Floats]:
    """For each call the expected utilities of the plans of ``table``, (n_plans,), each under the load that it makes."""
    overload, objective = scenario.overload, scenario.objective
    if overload is None:
        raise ValueError(f"{scenario.name} has no overload: use oracle() or expected_utility()")
    # Beyond this load every service is as bad as it gets, so that a table of loads has an end.
    steps = math.ceil((_SATURATED / overload.utilisation - 1.0) / LOAD_STEP) + 1

    @cache
    def tables(burst: float, service: Service) -> tuple[Floats, Floats]:
        at_loads = [kept(loaded(service, overload, step, burst)) for step in range(steps)]
        return np.stack([_utilities(o, objective) for o in at_loads]), np.stack([o.extra for o in at_loads])

    kept = cache(table)  # a burst and a load together give few distinct services
    load: Floats = np.ones(1)
    for t in range(scenario.calls):
        utilities, extra = tables(overload.burst(t), scenario.at(t))
        if t == 0:
            load = np.ones(utilities.shape[1])
            columns = np.arange(len(load))
        row = np.minimum(np.rint((load - 1.0) / LOAD_STEP).astype(np.intp), steps - 1)
        yield utilities[row, columns]
        load = overload.folded(load, 1.0 + extra[row, columns])


@lru_cache(maxsize=32)
def _best_kept(scenario: Scenario, delays: tuple[float, ...], backoffs: tuple[float, ...]) -> tuple[Plan, Floats]:
    """The plan of the grid with the greatest mean utility when kept throughout an overload, and its utilities."""

    def grid(service: Service) -> Outlooks:
        return Outlooks(*(x.ravel() for x in _table(service, delays, backoffs)))

    total = np.zeros(1)
    for utilities in _loaded_utilities(scenario, grid):
        total = total + utilities
    plan = _plan_at(int(total.argmax()), delays, backoffs)
    return plan, mean_field(scenario, plan)
