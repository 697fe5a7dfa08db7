"""A replay against the truth: recorded calls under other parameters, beside the same calls truly made under them.

    python -m benchmarks.replay [seeds]

Eight simulated services, ten changes of parameters. The truth meets the same dice as the record did. The naive replay
that stands beside ours takes every attempt for a fresh draw from the first attempts on record, a cut-off for a failure.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from benchmarks.table import Row, show
from poet.learning.replay import replay, wanted
from poet.model.execution import Execution, Outcome
from poet.model.objective import Objective
from poet.model.replay import FIGURES, Replay
from poet.model.tunable import Value
from poet.sim.play import Fixed, play
from poet.sim.scenarios import SCENARIOS
from poet.sim.services import Plan

CALLS = 2000
SERVICES = ("fast_api", "bimodal", "bimodal_key", "heavy_tail", "flaky20", "corr_input", "sticky_err", "perm_heavy")
GENEROUS, STRICT, HEDGED = Plan(30.0, 3, 1.0), Plan(2.0, 1, 1.0), Plan(8.0, 2, 1.0, 0.4)
CHANGES: dict[str, tuple[Plan, Plan]] = {
    "one retry instead of three": (GENEROUS, GENEROUS._replace(retries=1)),
    "1 s instead of 30 s, no retries": (GENEROUS, Plan(1.0, 0)),
    "2 s instead of 30 s": (GENEROUS, GENEROUS._replace(timeout=2.0)),
    "0.8 s and one retry instead of 30 s and three": (GENEROUS, Plan(0.8, 1, 1.0)),
    "6 s instead of 2 s": (STRICT, STRICT._replace(timeout=6.0)),
    "three retries instead of one": (STRICT, STRICT._replace(retries=3)),
    "pauses a fifth as long": (GENEROUS, GENEROUS._replace(backoff=0.2)),
    "a copy after 0.5 s instead of none": (GENEROUS, GENEROUS._replace(hedge_delay=0.5)),
    "a copy after 0.7 s instead of 0.4 s": (HEDGED, HEDGED._replace(hedge_delay=0.7)),
    "no copies instead of one after 0.4 s": (HEDGED, HEDGED._replace(hedge_delay=0.0)),
}
EXACT = tuple(CHANGES)[:2]


class Recorder(Fixed):
    """Keeps its parameters, and what it was told."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(*plan)
        self.seen: list[Execution] = []

    def observe(self, execution: Execution) -> None:
        """Write it down."""
        self.seen.append(execution)


class Case(NamedTuple):
    """A replay, and what truly happens."""

    told: Replay
    truth: dict[str, float]
    naive: dict[str, tuple[float, float]]
    seconds: float  # that the replay took [s]


def values(plan: Plan) -> dict[str, Value]:
    """A plan as parameters."""
    hedges: dict[str, Value] = {"hedges": 1, "hedge_delay": plan.hedge_delay} if plan.hedged else {"hedges": 0}
    return {"timeout": plan.timeout, "retries": plan.retries, "backoff": plan.backoff, **hedges}


@lru_cache(maxsize=4)
def recorded(name: str, plan: Plan, seed: int) -> Sequence[Execution]:
    """What a service's calls left behind."""
    recorder = Recorder(plan)
    play(SCENARIOS[name], recorder, seed, CALLS)
    return recorder.seen


def case(name: str, before: Plan, after: Plan, seed: int) -> Case:
    """One service, one change, one set of dice."""
    made, objective, used = recorded(name, before, seed), SCENARIOS[name].objective, values(before)
    began = time.process_time()
    told = replay(made, wanted(values(after), used, {}), objective, used=lambda execution: used)
    spent = time.process_time() - began
    true = play(SCENARIOS[name], Fixed(*after), seed, CALLS)
    truth = figures(true.success, true.seconds, true.requests, objective)
    return Case(told, truth, naive(made, after, objective, seed), spent)


def figures(success: np.ndarray, seconds: np.ndarray, requests: np.ndarray, objective: Objective) -> dict[str, float]:
    """By ``FIGURES``."""
    cost = objective.latency_cost or 0.0
    utility = objective.value * success - cost * seconds - objective.attempt_cost * (requests - 1)
    p50, p99 = np.quantile(seconds, (0.5, 0.99)).tolist()
    found = (success.mean(), seconds.mean(), p50, p99, requests.mean(), utility.mean())
    return dict(zip(FIGURES, map(float, found), strict=True))


def naive(made: Sequence[Execution], plan: Plan, objective: Objective, seed: int) -> dict[str, tuple[float, float]]:
    """90 % intervals of a replay that takes every attempt for a fresh one, and a cut-off for its limit; no copies."""
    firsts = [execution.attempts[0] for execution in made]
    took = np.array([attempt.seconds for attempt in firsts])
    good = np.array([attempt.outcome is Outcome.SUCCESS for attempt in firsts])
    rng, n = np.random.default_rng([seed, 7]), len(made)
    draws = []
    for _ in range(100):
        success, seconds, requests, going = np.zeros(n, bool), np.zeros(n), np.zeros(n), np.ones(n, bool)
        for k in range(plan.retries + 1):
            place = rng.integers(n, size=n)
            pause = rng.random(n) * plan.longest_pause(k) if k else 0.0
            seconds += np.where(going, pause + np.minimum(took[place], plan.timeout), 0.0)
            requests += going
            success |= going & good[place] & (took[place] <= plan.timeout)
            going &= ~success
        draws.append(figures(success, seconds, requests, objective))
    return {
        name: tuple(np.quantile([draw[name] for draw in draws], (0.05, 0.95)).tolist())  # type: ignore[misc]
        for name in FIGURES
    }


def within(x: float, low: float, high: float) -> bool:
    """Up to rounding."""
    slack = 1e-9 * (1 + abs(x))
    return low - slack <= x <= high + slack


def run(seeds: int = 2) -> Iterator[Row]:
    """Rows for ``table.show``."""
    every: list[Case] = []
    for what, (before, after) in CHANGES.items():
        cases = [case(name, before, after, seed) for name in SERVICES for seed in range(seeds)]
        every += cases
        missed, naively = misses(cases)
        n = len(cases) * len(FIGURES)
        shares = [float(np.mean([getattr(each.told, share) for each in cases])) for share in ("decided", "untold")]
        bar, holds = ("exact", missed == 0 and shares[0] == 1) if what in EXACT else ("≤ 10 %", missed <= 0.1 * n)
        hedged = before.hedged or after.hedged
        yield Row(
            f"{what}: figures outside their 90 % interval",
            bar,
            f"{missed} of {n}{'' if hedged else f'; naive {naively}'}; {shares[0]:.1%} of the calls decided,"
            f" {shares[1]:.1%} untold",
            holds,
        )
    out = sum(not within(each.truth[name], *each.told.bounds[name]) for each in every for name in FIGURES)
    yield Row("figures outside their bounds", "none", f"{out} of {len(every) * len(FIGURES)}", out == 0)
    spent = float(np.median([each.seconds for each in every])) / CALLS
    yield Row("CPU of a replay, per recorded call, median", "≤ 500 µs", f"{spent * 1e6:.0f} µs", spent <= 500e-6)


def misses(cases: Sequence[Case]) -> tuple[int, int]:
    """Figures that lie outside of their interval: ours, the naive one's."""
    ours = naively = 0
    for each in cases:
        for name, truth in each.truth.items():
            estimate = each.told.replayed[name]
            ours += not within(truth, estimate.low, estimate.high)
            naively += not within(truth, *each.naive[name])
    return ours, naively


if __name__ == "__main__":
    sys.exit(0 if show("A replay against the truth", run(int(sys.argv[1]) if len(sys.argv) > 1 else 2)) else 1)
