"""Values that follow the day: what they gain on days to come, and how often they are proposed for nothing.

    python -m benchmarks.daily [services] [first seed]

A simulated service has a day: at some hours it is slower, errs and hangs more, by a smooth curve or in a step, over
midnight or not, some only from Monday to Friday. Four weeks of calls are recorded under values that do not change; then
it is analysed, as ``poet analyze`` does. What is proposed is judged by exact expectations in the service itself, on the
days to come, against the best values for all hours in hindsight, which no learner can have. Services without a day are
the same without it; half of them drift or change once, and their load has a day all the same.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from benchmarks.table import Row, show
from poet.learning.batch.analysis import analyse
from poet.learning.batch.asked import Asked
from poet.learning.batch.calls import of_executions
from poet.model import phases
from poet.model.execution import Execution, Outcome
from poet.model.insight import Insight
from poet.model.objective import Objective
from poet.model.tunable import Value
from poet.sim.evaluate import evaluate
from poet.sim.play import perform
from poet.sim.services import Dice, Mode, Plan, Service

DAY, HOUR = 86_400.0, 3_600.0
START = 1_700_438_400.0  # a Monday's midnight, Unix time [s]
DAYS = 28
CALLS = 8_000
MOST_FALSE = 0.05
TIMEOUTS = tuple(np.geomspace(0.02, 60.0, 32).tolist())  # of the best in hindsight [s]
LEVELS = 8  # that a smooth day is told in


class World(NamedTuple):
    """A service and its days."""

    seed: int
    base: Service
    objective: Objective
    used: Mapping[str, Value]
    strength: float  # times as slow at the worst hour; 1.0: it has no day
    middle: float  # hour of the worst
    width: float  # of the worst hours, where the day comes in steps; 0: it is a smooth curve
    weekdays: bool  # whether weekends are spared
    drift: float  # times as slow at the end of the record as at its beginning
    step: float  # times as slow after a change in the third week

    def busy(self, moment: float) -> float:
        """How far from the best hour to the worst, in [0, 1]."""
        day, hour = (moment - START) // DAY, (moment - START) % DAY / HOUR
        if self.weekdays and day % 7 >= 5:
            return 0.0
        away = abs((hour - self.middle + 12) % 24 - 12)
        if self.width:
            return float(away <= self.width / 2)
        return round(LEVELS * (0.5 + 0.5 * math.cos(math.pi * away / 12))) / LEVELS

    def service(self, moment: float) -> Service:
        """At a moment."""
        through = min((moment - START) / (DAYS * DAY), 1.0)
        factor = self.drift ** round(through, 1) * (self.step if through > 0.6 else 1.0)
        return _at(self.base, self.busy(moment) if self.strength > 1 else 0.0, self.strength, factor)


@lru_cache(maxsize=4096)
def _at(base: Service, busy: float, strength: float, factor: float) -> Service:
    hung = min(base.hang + 0.02 * busy, 0.2)
    return replace(base.slowed(factor * strength**busy, errors=0.1 * busy), hang=hung)


def world(seed: int, *, daily: bool) -> World:
    """The world of a seed."""
    rng = np.random.default_rng([seed, 0xDA11])
    median = float(np.exp(rng.uniform(math.log(0.05), math.log(2.0))))
    tail = float(rng.uniform(0.03, 0.3))
    modes = (
        Mode(1 - tail, median, float(rng.uniform(0.2, 0.5))),
        Mode(tail, median * float(rng.uniform(4, 20)), float(rng.uniform(0.3, 0.7))),
    )
    base = Service(
        modes,
        hang=float(rng.uniform(0.002, 0.02)),
        error=float(rng.uniform(0.01, 0.08)),
        error_latency=Mode(1.0, median / 2, 0.4),
        persistence=float(rng.choice([0.0, 1.0])),
    )
    objective = Objective(
        latency_cost=round(float(rng.uniform(0.05, 0.25)) / median, 4), attempt_cost=float(rng.uniform(0.01, 0.06))
    )
    changes = not daily and bool(rng.integers(2))
    made = World(
        seed,
        base,
        objective,
        {"timeout": 1.0, "retries": 0, "backoff": 0.1},
        float(np.exp(rng.uniform(math.log(3.0), math.log(8.0)))) if daily else 1.0,
        float(rng.uniform(0, 24)),
        float(rng.uniform(6, 14)) if rng.random() < 0.5 else 0.0,
        bool(rng.random() < 0.25),
        float(rng.choice([0.6, 1.6])) if changes and rng.random() < 0.5 else 1.0,
        float(rng.choice([0.5, 2.0])) if changes else 1.0,
    )
    best, _ = constant(made, _shares(made, range(DAYS)))
    timeout = round(best.timeout * float(np.exp(rng.uniform(-0.1, 1.0))), 3)
    return made._replace(used={"timeout": timeout, "retries": best.retries, "backoff": 0.1})


def _hours(days: range) -> list[tuple[float, float]]:
    """The middle of each hour, and its share of the calls."""
    hours = [(START + (day + (h + 0.5) / 24) * DAY, _load(h)) for day in days for h in range(24)]
    whole = sum(load for _, load in hours)
    return [(moment, load / whole) for moment, load in hours]


def _load(hour: int) -> float:
    return 0.5 + 0.25 * math.sin(2 * math.pi * ((hour + 0.5) / 24 - 0.3))


def _shares(made: World, days: range) -> dict[Service, float]:
    """How often calls meet which service."""
    found: dict[Service, float] = {}
    for moment, share in _hours(days):
        service = made.service(moment)
        found[service] = found.get(service, 0.0) + share
    return found


@lru_cache(maxsize=100_000)
def worth(service: Service, plan: Plan, objective: Objective) -> float:
    """What a call is worth [utility]."""
    return evaluate(service, plan).utility(objective)


def constant(made: World, shares: Mapping[Service, float], every: bool = False) -> tuple[Plan, float]:
    """The best plan for all hours, and its worth; every: of the best plan of each hour."""
    plans = [Plan(timeout, retries, 0.1) for timeout in TIMEOUTS for retries in range(4)]
    table = np.array([[worth(service, plan, made.objective) for plan in plans] for service in shares])
    weights = np.array(list(shares.values()))
    if every:
        return plans[0], float(weights @ table.max(axis=1))
    values = weights @ table
    return plans[int(values.argmax())], float(values.max())


def recorded(made: World, calls: int = CALLS, days: int = DAYS) -> list[Execution]:
    """Calls of these days; twice as many by day as by night."""
    rng = np.random.default_rng([made.seed, 1])
    at = np.sort(START + rng.uniform(0, days * DAY, 2 * calls))
    at = at[rng.random(len(at)) < 0.5 + 0.25 * np.sin(2 * np.pi * (at / DAY - 0.3))]
    dice = Dice(made.seed, "daily", len(at))
    plan = Plan.of(made.used)
    found = []
    for i, moment in enumerate(at.tolist()):
        told = perform(made.service(moment), plan, dice.call(i))
        error = "" if told.outcome is Outcome.SUCCESS else told.outcome.name.title()
        found.append(Execution("w", i, moment, told.seconds, told.outcome, 1, told.attempts, error))
    return found


def analysed(made: World, executions: Sequence[Execution]) -> list[Insight]:
    """What is told that follows the day."""
    asked = Asked(made.objective, live=made.used, seed=made.seed)
    found = analyse("f", of_executions(executions, {1: made.used}), asked)
    assert not any("fault" in said for said in found.looked_at.untold), found.looked_at.untold
    return [each for each in found.insights if each.kind == "daily"]


class Told(NamedTuple):
    """What became of one service."""

    proposed: bool
    gain: float  # true, on days to come, against the best for all hours in hindsight [utility per call]
    against_used: float  # and against the values that were used
    ceiling: float  # of the first, by the best values of every hour
    said: tuple[float, float]  # the interval that was told, of the gain against the constant that was told
    true: float  # the gain against that constant
    seconds: float  # of CPU for the analysis


def judged(seed: int, daily: bool) -> Told:
    """One service, its analysis, and the truth."""
    made = world(seed, daily=daily)
    executions = recorded(made)
    start = time.process_time()
    found = [each for each in analysed(made, executions) if each.proposal is not None]
    seconds = time.process_time() - start
    if not (found or daily):
        return Told(False, 0.0, 0.0, 0.0, (0.0, 0.0), 0.0, seconds)
    shares = _shares(made, range(DAYS, DAYS + 7))
    best = constant(made, shares)[1]
    ceiling = constant(made, shares, every=True)[1] - best
    used = sum(share * worth(service, Plan.of(made.used), made.objective) for service, share in shares.items())
    if not found:
        return Told(False, 0.0, 0.0, ceiling, (0.0, 0.0), 0.0, seconds)
    (insight,) = found
    assert insight.proposal is not None
    values = {**made.used, **insight.proposal.values}

    def mean(which: Mapping[str, Value], by_hour: bool) -> float:
        return sum(
            share * worth(made.service(at), Plan.of(phases.at(which, at) if by_hour else which), made.objective)
            for at, share in _hours(range(DAYS, DAYS + 7))
        )

    got = mean(values, True)
    told = {name: value for name, value in values.items() if not phases.timed(name)}
    return Told(
        True,
        got - best,
        got - used,
        ceiling,
        (insight.effect.low, insight.effect.high),
        got - mean(told, False),
        seconds,
    )


def measured(services: int, first: int, daily: bool, *, processes: int = 2) -> list[Told]:
    """All services."""
    if processes == 1:
        return [judged(seed, daily) for seed in range(first, first + services)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(judged, range(first, first + services), [daily] * services, chunksize=2))


def _interval(values: Sequence[float]) -> str:
    x = np.array(values)
    drawn = x[np.random.default_rng(0).integers(0, len(x), (2000, len(x)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.05, 0.95))
    return f"{x.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def run(services: int = 40, first: int = 0, *, processes: int = 2) -> list[Row]:
    """The figures against their bars."""
    told = measured(services, first, True, processes=processes)
    null = measured(max(2 * services, 100), first + 100_000, False, processes=processes)
    proposed = [each for each in told if each.proposed]
    ceiling = float(np.mean([each.ceiling for each in told]))
    gain = float(np.mean([each.gain for each in told]))
    low = float(np.mean([each.gain for each in proposed])) if proposed else 0.0
    false = sum(each.proposed for each in null)
    within = sum(each.said[0] <= each.true <= each.said[1] for each in proposed)
    return [
        Row(f"{len(told)} services with a day: proposed", "shown", f"{len(proposed) / len(told):.0%}"),
        Row(
            "… gain against the best for all hours in hindsight, days to come [utility per call]",
            "> 0",
            _interval([each.gain for each in told]),
            gain > 0,
        ),
        Row("… where it was proposed", "> 0", _interval([each.gain for each in proposed] or [0.0]), low > 0),
        Row("… of what the best values of every hour would gain", "shown", f"{gain / ceiling:.0%} of {ceiling:.4f}"),
        Row("… proposed and worse than the best for all hours", "shown", f"{sum(x.gain < 0 for x in proposed)}"),
        Row("… gain against the values in use", "> 0", _interval([each.against_used for each in told]), True),
        Row(
            "… the true gain against the constant that is told, in the 90 % interval",
            "shown",
            f"{within} of {len(proposed)}",
        ),
        Row(
            f"{len(null)} services without a day: proposed for nothing",
            f"<= {MOST_FALSE:.0%}",
            f"{false} ({false / len(null):.1%})",
            false <= MOST_FALSE * len(null),
        ),
        Row("CPU of an analysis", "shown", f"{np.mean([each.seconds for each in told]):.2f} s for {CALLS} calls"),
    ]


if __name__ == "__main__":
    sys.exit(not show("Values that follow the day", run(*map(int, sys.argv[1:3]))))
