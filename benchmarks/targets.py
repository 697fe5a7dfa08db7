"""Targets: how soon 99 % have succeeded where 99.9 % must, and how many succeed where 99 % must end in time.

    python -m benchmarks.targets [seeds]

What the learner came to after 5000 calls is judged by ``JUDGED`` calls of each seed, the same for all plans; the best
fixed plan is the best of a grid by the same calls, and knows the service.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row, show
from poet.learning.online_learner import OnlineLearner
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.play import Record, play
from poet.sim.scenarios import SCENARIOS
from poet.sim.services import Dice, Mode, Plan, Service
from poet.testing.learners import Learned

Floats = NDArray[np.float64]
SPACE = Space(
    timeout=Real(0.001, 120.0, log=True),
    retries=Integer(0, 5),
    backoff=Real(0.0, 8.0),
    hedges=Integer(0, 1),
    hedge_delay=Real(0.001, 60.0, log=True),
)
DECLARED: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 1.0, "hedges": 0, "hedge_delay": 0.0}
CALLS, WINDOW, JUDGED, SURVEYED = 5000, 1000, 20_000, 5000
TARGET = 0.999  # share of the calls that can succeed
SOONEST = {"fast_api": 0.19, "heavy_tail": 0.75, "flaky20": 0.67}  # bars of the time by which 99 % have succeeded [s]
WINDOWS_KEPT = 0.99  # least share of the windows after the first in which the target is met
LATENCIES = {"fast_api": 0.25, "heavy_tail": 1.0}  # targets of the 99 % quantile of a call's time [s]
LEAST_SHARE = 0.99  # of the utility of the best plan that keeps the latency target


class Played(NamedTuple):
    """Calls of one plan; (n,) each."""

    able: NDArray[np.bool_]  # can succeed
    succeeded: Floats  # when [s]; inf: never
    ended: Floats  # [s]
    requests: Floats


def played(service: Service, plan: Plan, seed: int, calls: int = JUDGED) -> Played:
    """Calls under ``plan``, as ``poet.sim.play.perform`` makes them, all at once; the same dice for all plans."""
    rng = np.random.default_rng([seed, 99])
    doomed = rng.random(calls) < service.permanent
    factor = np.array([service.factor(z) for z in rng.standard_normal(calls)]) if service.work else np.ones(calls)

    def request(chance: Floats) -> tuple[NDArray[np.bool_], Floats]:
        """Whether a request errs, and when it ends [s]."""
        errs = doomed | (rng.random(calls) < chance)
        answer = factor * _drawn(service.latency, rng, calls)
        answer[rng.random(calls) < service.hang] = np.inf
        return errs, np.where(errs, _drawn((service.error_latency,), rng, calls), answer)

    def chance_after(pause: Floats) -> Floats:
        left = np.exp(-pause / service.persistence) if service.persistence else np.zeros(calls)
        return service.error + (1 - service.error) * left

    clock, succeeded, requests = np.zeros(calls), np.full(calls, np.inf), np.zeros(calls)
    going, erred = np.ones(calls, dtype=bool), np.zeros(calls, dtype=bool)
    usual = np.full(calls, service.error)
    for attempt in range(plan.retries + 1):
        pause = rng.random(calls) * (plan.longest_pause(attempt) if attempt else 0.0)
        clock += going * pause
        errs, end = request(np.where(erred, chance_after(pause), usual))
        copy_errs, took = request(np.where(errs, chance_after(np.full(calls, plan.hedge_delay)), usual))
        copied = going & plan.hedged & (end > plan.hedge_delay)
        copy_end = np.where(copied, plan.hedge_delay + took, np.inf)
        requests += going.astype(float) + copied
        answered = np.minimum(np.where(errs, np.inf, end), np.where(copy_errs, np.inf, copy_end))
        failed = np.where(errs & (copy_errs | ~copied), np.where(copied, np.maximum(end, copy_end), end), np.inf)
        won = going & (answered <= plan.timeout)
        clock += going * np.minimum(np.minimum(answered, failed), plan.timeout)
        succeeded[won] = clock[won]
        erred, going = going & ~won & (failed <= plan.timeout), going & ~won
    return Played(~doomed, succeeded, clock, requests)


def _drawn(modes: tuple[Mode, ...], rng: np.random.Generator, n: int) -> Floats:
    which = np.minimum(np.searchsorted(np.cumsum([mode.share for mode in modes]), rng.random(n)), len(modes) - 1)
    median, sigma = (np.array([getattr(mode, part) for mode in modes])[which] for part in ("median", "sigma"))
    seconds: Floats = median * np.exp(sigma * rng.standard_normal(n))
    return seconds


class Figures(NamedTuple):
    """What a plan gives."""

    success: float  # share of the calls that can succeed
    soon: float  # by then 99 % of these have succeeded [s]
    late: float  # by then 99 % of all calls have ended [s]
    extra: float  # requests beyond the first
    plan: Plan

    @classmethod
    def of(cls, service: Service, plan: Plan, seed: int, calls: int = JUDGED) -> Figures:
        """From calls played."""
        each = played(service, plan, seed, calls)
        times = np.sort(each.succeeded[each.able])
        soon = float(times[int(np.ceil(0.99 * len(times))) - 1])
        success = float(np.isfinite(times).mean())
        return cls(success, soon, float(np.quantile(each.ended, 0.99)), float(each.requests.mean()) - 1, plan)


def grid(scale: float) -> Iterator[Plan]:
    """Fixed plans around latencies of ``scale`` [s]."""
    limits = [scale * 1.15**k for k in range(-6, 24)]
    delays = [0.0, *(scale * 1.25**k for k in range(-15, 12, 2))]
    for limit, delay, retries, backoff in product(limits, delays, range(6), (0.01, 0.1)):
        if delay < limit:
            yield Plan(limit, retries, backoff, delay)


@cache
def best_soon(name: str, attempt_cost: float) -> Figures:
    """The best fixed plan under the success target, by its costs."""
    scenario = SCENARIOS[name]
    service, cost = scenario.at(0), scenario.objective.latency_cost or 0.0
    each = [Figures.of(service, plan, 101, SURVEYED) for plan in grid(_typical(service)) if plan.retries in (3, 5)]
    fit = [figures for figures in each if figures.success >= 1 - 2 / SURVEYED]
    best = min(fit, key=lambda figures: cost * figures.soon + attempt_cost * figures.extra)
    return Figures.of(service, best.plan, 102)


@cache
def best_within(name: str, latency: float) -> Figures:
    """The best fixed plan that keeps the latency target."""
    scenario = SCENARIOS[name]
    service, price = scenario.at(0), scenario.objective.attempt_cost
    each = [Figures.of(service, plan, 101, SURVEYED) for plan in grid(_typical(service))]
    fit = [figures for figures in each if figures.late <= latency]
    best = max(fit, key=lambda figures: figures.success - price * figures.extra)
    return Figures.of(service, best.plan, 102)


def _typical(service: Service) -> float:
    return max(service.latency, key=lambda mode: mode.share).median


class Life(NamedTuple):
    """A learner's life under a target."""

    name: str
    seed: int
    figures: Figures
    kept: float  # share of the windows after the first, one beginning at each call, in which the target is met
    apart: float  # the same of windows that do not overlap
    cpu: float  # of learning, per execution [s]
    soon: Mapping[int, float]  # by call: ``Figures.soon`` of the plan in force then [s]


def life(name: str, objective: Objective, seed: int, calls: int = CALLS) -> Life:
    """Live through a scenario."""
    scenario = SCENARIOS[name]
    learner = OnlineLearner(
        objective=objective, space=SPACE, declared=DECLARED, seed=seed, hedge_budget=1.0, mind_load=False
    )
    policy = _Plans(learner, DECLARED, seed=seed)
    record = play(scenario, policy, seed, calls)
    service = scenario.at(0)
    judged = Figures.of(service, record.plan(calls - 1), seed)
    marks = {n: Figures.of(service, record.plan(min(n, calls) - 1), seed, 4000).soon for n in (100, 200, 500, 1000)}
    dice = Dice(seed, name, calls)
    able = np.array([dice.call(t).permanent >= service.permanent for t in range(calls)])
    each, apart = windows(record, able, objective)
    return Life(name, seed, judged, each, apart, policy.cpu / policy.executions, marks)


class _Plans(Learned):
    """A plan without hedges has no hedge delay either."""

    def parameters(self, t: int) -> Mapping[str, object]:
        values = dict(super().parameters(t))
        return values if values.get("hedges") else {**values, "hedge_delay": 0.0}


def windows(record: Record, able: NDArray[np.bool_], objective: Objective) -> tuple[float, float]:
    """Share of the windows after the first in which the target is met: all of them, and those that do not overlap.

    able: the calls that can succeed; of these a success target speaks.
    """
    if objective.latency_target is not None:
        missed = record.seconds > objective.latency_target
        most = 0.01 * WINDOW
    else:
        missed = ~record.success & able
        most = (1 - TARGET) * WINDOW
    sums = np.concatenate([[0], np.cumsum(missed)])
    counts = sums[WINDOW:] - sums[:-WINDOW]
    after = counts[WINDOW:]
    return float((after <= most).mean()), float((after[::WINDOW] <= most).mean())


# --- telling ----------------------------------------------------------------------------------------------------------


def objective(name: str, latency: float | None = None) -> Objective:
    """The scenario's costs with a target: of success, or of latency [s]."""
    costs = SCENARIOS[name].objective
    if latency is not None:
        return Objective(latency_cost=costs.latency_cost, attempt_cost=costs.attempt_cost, latency_target=latency)
    return Objective(latency_cost=costs.latency_cost, attempt_cost=costs.attempt_cost, success_target=TARGET)


def rows(seeds: int, processes: int = 2) -> Iterator[Row]:
    """The figures against their bars."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        successes = {
            name: [pool.submit(life, name, objective(name), seed) for seed in range(seeds)] for name in SOONEST
        }
        fixed = {name: pool.submit(best_soon, name, SCENARIOS[name].objective.attempt_cost) for name in SOONEST}
        latencies = {
            name: [pool.submit(life, name, objective(name, latency), seed) for seed in range(seeds)]
            for name, latency in LATENCIES.items()
        }
        within = {name: pool.submit(best_within, name, latency) for name, latency in LATENCIES.items()}
        for name, jobs in successes.items():
            yield from _soon_rows(name, [job.result() for job in jobs], fixed[name].result())
        for name, jobs in latencies.items():
            yield from _within_rows(name, [job.result() for job in jobs], within[name].result())


def _soon_rows(name: str, lives: list[Life], best: Figures) -> Iterator[Row]:
    what = f"{name}, {100 * TARGET:g} % must succeed: "
    soon = [life.figures.soon for life in lives]
    yield Row(
        what + f"99 % have within, after {CALLS} calls",
        f"<= {SOONEST[name]} s in every seed",
        f"{np.mean(soon):.3f} s, worst {max(soon):.3f} s",
        max(soon) <= SOONEST[name],
    )
    kept, apart = (float(np.mean([getattr(life, part) for life in lives])) for part in ("kept", "apart"))
    yield Row(
        what + f"windows of {WINDOW} calls after the first that keep it",
        f">= {WINDOWS_KEPT}",
        f"{kept:.4f}; of {len(lives) * (CALLS // WINDOW - 1)} apart {apart:.4f}",
        kept >= WINDOWS_KEPT,
    )
    extra = float(np.mean([life.figures.extra for life in lives]))
    success = min(life.figures.success for life in lives)
    marks = ", ".join(f"{np.mean([life.soon[n] for life in lives]):.2f}" for n in lives[0].soon)
    cpu = 1e6 * float(np.mean([life.cpu for life in lives]))
    yield Row(
        what + f"least success; extra requests; within at {', '.join(map(str, lives[0].soon))} calls; CPU",
        "",
        f"{success:.5f}; {extra:.2f}; {marks} s; {cpu:.0f} µs",
    )
    yield Row(what + "the best plan of a grid", "for comparison", f"{best.soon:.3f} s, {best.extra:.2f} extra requests")


def _within_rows(name: str, lives: list[Life], best: Figures) -> Iterator[Row]:
    latency, price = LATENCIES[name], SCENARIOS[name].objective.attempt_cost
    what = f"{name}, 99 % must end within {latency:g} s: "
    late = [life.figures.late for life in lives]
    yield Row(
        what + f"they have within, after {CALLS} calls",
        f"<= {latency:g} s in every seed",
        f"{np.mean(late):.3f} s, worst {max(late):.3f} s",
        max(late) <= latency,
    )
    able = 1 - SCENARIOS[name].at(0).permanent
    success, extra = (float(np.mean([getattr(life.figures, part) for life in lives])) for part in ("success", "extra"))
    share = (success * able - price * extra) / (best.success * able - price * best.extra)
    yield Row(
        what + "success, less the price of requests, as a share of the best plan of a grid",
        f">= {LEAST_SHARE}",
        f"{share:.4f} ({success:.5f} of those that can, {extra:.2f} extra; {best.success:.5f}, {best.extra:.2f})",
        share >= LEAST_SHARE,
    )
    kept = float(np.mean([life.kept for life in lives]))
    yield Row(what + f"windows of {WINDOW} calls after the first that keep it", "for comparison", f"{kept:.4f}")


def run(seeds: int = 5) -> Iterator[Row]:
    """Measure everything."""
    return rows(seeds)


def main(arguments: list[str]) -> int:
    """Measure, and fail where a bar is missed."""
    return 0 if show("Targets", run(int(arguments[0]) if arguments else 5)) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
