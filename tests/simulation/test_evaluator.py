"""The exact evaluator against two witnesses that share no arithmetic with it: played calls, and plain enumeration."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from poet.sim.evaluate import Outlook, evaluate, mean_field, oracle, oracle_series
from poet.sim.play import Fixed, PercentileRule, perform, play
from poet.sim.scenarios import SCENARIOS, START, random_service
from poet.sim.services import Dice, Mode, Plan, Service

# --- played calls -----------------------------------------------------------------------------------------------------

PLAYED = 6000
FALSE_ALARM = 1e-6  # per comparison; 3 figures x (48 + 40) plans: 3 false alarms in 10 000 seeds


def tolerance(sample: NDArray[np.float64], span: float) -> float:
    """Maurer & Pontil 2009, theorem 4, both sides: a mean of values in an interval of ``span`` strays no further.

    Unlike multiples of the standard error this holds for rare events too.
    """
    n, log = len(sample), math.log(4.0 / FALSE_ALARM)
    return math.sqrt(2.0 * float(sample.var(ddof=1)) * log / n) + 7.0 * span * log / (3.0 * (n - 1))


def played(service: Service, plan: Plan, seed: int = 20) -> NDArray[np.float64]:
    """(success, seconds, extra requests) of each call."""
    dice = Dice(seed, repr(plan), PLAYED)
    done = [perform(service, plan, dice.call(t)) for t in range(PLAYED)]
    return np.asarray([(d.outcome.good, d.seconds, d.requests - 1) for d in done], dtype=np.float64)


def spans(plan: Plan) -> tuple[float, float, float]:
    """How far success, seconds and extra requests can range."""
    pauses = sum(plan.longest_pause(k) for k in range(1, plan.retries + 1))
    return 1.0, (plan.retries + 1) * plan.timeout + pauses, plan.retries + plan.hedged * (plan.retries + 1)


def agrees(outlook: Outlook, sample: NDArray[np.float64], plan: Plan) -> bool:
    bounds = [tolerance(column, span) for column, span in zip(sample.T, spans(plan), strict=True)]
    return all(abs(x - y) <= b for x, y, b in zip(outlook, sample.mean(axis=0), bounds, strict=True))


@pytest.mark.parametrize("plan", [START, Plan(1.0, 2, 0.25, 0.3), Plan(0.5, 6, 2.0, 0.1), Plan(0.4, 5, 0.0)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_played_calls_agree_with_the_evaluator(name: str, plan: Plan) -> None:
    service = SCENARIOS[name].service(1600, load=1.1)
    assert agrees(evaluate(service, plan), played(service, plan), plan)


@pytest.mark.parametrize("seed", range(40))
def test_played_calls_of_random_services_agree_with_the_evaluator(seed: int) -> None:
    scenario, rng = random_service(seed), np.random.default_rng(seed)
    service = scenario.service(scenario.calls - 1)
    timeout = service.latency[0].median * float(rng.uniform(0.5, 5.0))
    plan = Plan(timeout, int(rng.integers(7)), float(rng.choice((0.0, 0.2, 2.0))), timeout * float(rng.uniform(-1, 1)))
    plan = plan._replace(hedge_delay=max(0.0, plan.hedge_delay))
    assert agrees(evaluate(service, plan), played(service, plan), plan)


@pytest.mark.parametrize(
    ("name", "wrong", "plan"),
    [
        ("flaky20", {"permanent": 0.0}, START),  # as if every error could be mended
        ("sticky_err", {"persistence": 0.0}, Plan(1.0, 2, 0.25, 0.3)),  # as if errors came independently
        ("bimodal_key", {"work": 0.0}, Plan(0.4, 5, 0.0)),  # as if latency belonged to the attempt
        ("slow_llm", {"hang": 0.0}, Plan(30.0, 1)),  # as if every request were answered
    ],
)
def test_the_comparison_notices_a_wrong_belief(name: str, wrong: dict[str, float], plan: Plan) -> None:
    service = SCENARIOS[name].service(0)
    fields = {field: getattr(service, field) for field in service.__dataclass_fields__}
    assert not agrees(evaluate(Service(**{**fields, **wrong}), plan), played(service, plan), plan)


def test_the_comparison_notices_pauses_without_jitter() -> None:
    service = SCENARIOS["flaky20"].service(0)
    sample = played(service, Plan(1.0, 3, 1.0))
    # Twice the bound has the mean of a pause that always takes its bound.
    assert not agrees(evaluate(service, Plan(1.0, 3, 2.0)), sample, Plan(1.0, 3, 1.0))


# --- plain enumeration ------------------------------------------------------------------------------------------------

POINTS = 800  # per log-normal: each stands for 1/800 of its mass
PAUSES = 64


def enumerated(service: Service, plan: Plan) -> Outlook:
    """The outlook by listing all that can happen, at ``POINTS`` quantiles of each log-normal and ``PAUSES`` pauses."""
    works = service.work if isinstance(service.work, tuple) else ((1.0, 1.0),)
    parts = [((1.0 - service.permanent) * share, factor, False) for share, factor in works]
    parts.append((service.permanent, 1.0, True))
    total = np.zeros(3)
    for weight, factor, doomed in parts:
        if weight:
            ends = {errs: attempt(service, plan, factor, errs, doomed) for errs in (False, True)}
            total += weight * rest(service, plan, ends, 0, False, doomed)
    return Outlook(*total.tolist())


def quantiles(mode: Mode) -> NDArray[np.float64]:
    normal = NormalDist()
    z = [normal.inv_cdf((i + 0.5) / POINTS) for i in range(POINTS)]
    return np.asarray(mode.median * np.exp(mode.sigma * np.asarray(z)))


def answers(service: Service, factor: float, errs: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(seconds, weights) of one request."""
    if errs:
        return quantiles(service.error_latency), np.full(POINTS, 1.0 / POINTS)
    seconds = np.concatenate([*(factor * quantiles(mode) for mode in service.latency), [np.inf]])
    shares = [np.full(POINTS, (1.0 - service.hang) * mode.share / POINTS) for mode in service.latency]
    return seconds, np.concatenate([*shares, [service.hang]])


def attempt(service: Service, plan: Plan, factor: float, errs: bool, doomed: bool) -> tuple[float, float, float, float]:
    """(success, error, seconds, copies) of an attempt whose first request errs or not."""
    first, weights = answers(service, factor, errs)
    if not plan.hedged:
        in_time = float(weights[first <= plan.timeout].sum())
        lasted = float((weights * np.minimum(first, plan.timeout)).sum())
        return (0.0, in_time, lasted, 0.0) if errs else (in_time, 0.0, lasted, 0.0)
    delay, figures = plan.hedge_delay, np.zeros(4)
    likely = 1.0 if doomed else service.error_after(delay) if errs else service.error
    for copy_errs, chance in ((False, 1.0 - likely), (True, likely)):
        if not chance:
            continue
        copy, copy_weights = answers(service, factor, copy_errs)
        a, b = np.broadcast_arrays(first[:, None], delay + copy[None, :])
        alone = a <= delay  # the first request ended before the copy was sent
        answered = np.minimum(math.inf if errs else a, np.where(alone | copy_errs, math.inf, b))
        failed = np.where(alone & errs, a, np.maximum(a, b) if errs and copy_errs else math.inf)
        won = (answered <= plan.timeout) & (answered <= failed)
        end = np.minimum(np.minimum(answered, failed), plan.timeout)
        mass = chance * weights[:, None] * copy_weights[None, :]
        figures += [
            float(mass[won].sum()),
            float(mass[~won & (failed <= plan.timeout)].sum()),
            float((mass * end).sum()),
            float(mass[~alone].sum()),
        ]
    success, error, seconds, copies = figures.tolist()
    return success, error, seconds, copies


def rest(
    service: Service,
    plan: Plan,
    ends: dict[bool, tuple[float, float, float, float]],
    k: int,
    after_error: bool,
    doomed: bool,
) -> NDArray[np.float64]:
    """(success, seconds, extra requests) from attempt ``k`` on, its pause included."""
    bound = plan.longest_pause(k) if k else 0.0
    pauses = [bound * (i + 0.5) / PAUSES for i in range(PAUSES)] if bound else [0.0]
    chances = [1.0 if doomed else service.error_after(w) if after_error else service.error for w in pauses]
    total = np.asarray([0.0, sum(pauses) / len(pauses), float(k > 0)])
    mean = sum(chances) / len(chances)
    for errs, weight in ((False, 1.0 - mean), (True, mean)):
        success, error, seconds, copies = ends[errs]
        total += weight * np.asarray([success, seconds, copies])
        if k < plan.retries:
            total += weight * error * rest(service, plan, ends, k + 1, True, doomed)
            total += weight * (1.0 - success - error) * rest(service, plan, ends, k + 1, False, doomed)
    return total


# The full oracle at call 0, drawn on 2026-11-22 by ``oracle(SCENARIOS[name], 0)``: its utility and its plan.
GOLDEN = {
    "fast_api": (0.8998951, 0.3661636, 1, 0.0, 0.1892872),
    "slow_llm": (0.7380900, 23.5339687, 1, 0.0, 0.0300000),
    "bimodal": (0.9488624, 0.1775158, 5, 0.0, 0.0753566),
    "bimodal_key": (0.8563094, 3.8512307, 5, 0.0, 0.0753566),
    "heavy_tail": (0.9237429, 1.5579435, 5, 0.0, 0.7535659),
    "flaky20": (0.8747409, 1.2999964, 3, 0.0, 0.7535659),
    "regime_shift": (0.9797779, 1.5579435, 5, 0.0, 0.7535659),
    "diurnal": (0.8917975, 1.5579435, 5, 0.0, 0.7535659),
    "sticky_err": (0.9620638, 2.2375402, 5, 2.0, 1.1943215),
    "perm_heavy": (0.7469672, 3.2135863, 1, 0.0, 1.8928720),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_oracle_stands_where_it_stood_and_enumeration_confirms_it(name: str) -> None:
    scenario, (utility, timeout, retries, backoff, delay) = SCENARIOS[name], GOLDEN[name]
    best = oracle(scenario, 0)
    assert best.utility == pytest.approx(utility, abs=1e-6)
    assert tuple(best.plan) == pytest.approx((timeout, retries, backoff, delay), rel=1e-6)
    witness = enumerated(scenario.service(0), best.plan)
    # A request's quantiles misplace at most half a point's mass, and that at most loses the worth of the whole call.
    objective, sent = scenario.objective, 1.0 + witness.extra
    worth = objective.value + (objective.latency_cost or 0.0) * timeout
    assert witness.utility(objective) == pytest.approx(best.utility, abs=2.0 * sent * worth / (2 * POINTS))


# --- overload ---------------------------------------------------------------------------------------------------------


def test_a_mean_field_is_what_a_kept_plan_gets() -> None:
    # No retries: the load stays at one, and nothing but the rounding of kept evaluations parts the two.
    # The default: its load soon saturates the service, so that the load's noise, of which the mean field knows nothing,
    # does not matter either, but for the moment of saturation: 25 of 5000 calls early or late are 0.005.
    scenario = SCENARIOS["overload"]
    for plan, allowed in ((Plan(8.0, 0), 1e-4), (START, 5e-3)):
        record = play(scenario, Fixed(*plan), 0)
        assert record.expected.mean() == pytest.approx(mean_field(scenario, plan).mean(), abs=allowed)
        missed = record.utility - record.expected  # a martingale: no call's expectation knows the call's luck
        assert abs(missed.mean()) < 5.0 * missed.std() / math.sqrt(len(missed))  # false alarm: 6 in 10 million seeds


@pytest.mark.parametrize("name", ["fast_api", "corr_input", "diurnal", "regime_shift", "sticky_err"])
def test_a_policy_that_learns_gets_what_was_expected_of_it(name: str) -> None:
    record = play(SCENARIOS[name], PercentileRule(), 11)
    missed = record.utility - record.expected
    assert abs(missed.mean()) < 5.0 * missed.std() / math.sqrt(len(missed))  # false alarm: 3 in a million seeds, of all


def test_no_policy_without_hedges_beats_the_oracle_without_hedges() -> None:
    for name in ("fast_api", "diurnal", "perm_heavy"):
        scenario = SCENARIOS[name]
        record = play(scenario, PercentileRule(), 0, 1500)
        best = oracle_series(scenario, hedging=False, calls=1500)
        assert (record.expected <= best + 0.004).all()  # between two timeouts of its grid there may be a better one
