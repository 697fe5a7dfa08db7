"""A replay against the truth: recorded calls under other parameters, beside the same calls truly made under them.

    python -m benchmarks.replay [seeds]

Eight simulated services, ten changes of parameters; and the record that a learner leaves, which changes its parameters
and probes, of these and of two services that change. The truth meets the same dice as the record did. The naive replay
beside ours takes every attempt for a fresh draw from the first attempts on record, and a cut-off for a failure.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from benchmarks.table import Row, show
from poet.learning.online_learner import OnlineLearner
from poet.learning.replay import replay, wanted
from poet.model.execution import Execution, Outcome
from poet.model.objective import Objective
from poet.model.replay import FIGURES, Replay
from poet.model.tunable import Value
from poet.sim.play import Fixed, Policy, play
from poet.sim.scenarios import SCENARIOS
from poet.sim.services import Plan
from poet.testing.learners import Learned

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
AFTER_LEARNING: dict[str, Callable[[Plan], Plan]] = {
    "as it ended": lambda plan: plan,
    "twice the timeout that it ended with": lambda plan: plan._replace(timeout=2.0 * plan.timeout),
    "0.7 of the timeout that it ended with": lambda plan: plan._replace(timeout=0.7 * plan.timeout),
    "one retry more than it ended with": lambda plan: plan._replace(retries=min(plan.retries + 1, 5)),
    "as it began": lambda plan: GENEROUS._replace(backoff=plan.backoff),
}


class Recorded(NamedTuple):
    """What a service's calls left behind."""

    calls: Sequence[Execution]
    plans: Sequence[Plan]  # that each used

    def used(self, execution: Execution) -> dict[str, Value]:
        """As parameters."""
        return values(self.plans[execution.sequence])


class Recorder:
    """Lets a policy choose, and writes down what it is told."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.seen: list[Execution] = []

    def parameters(self, t: int) -> Mapping[str, object]:
        """The policy's."""
        return self._policy.parameters(t)

    def observe(self, execution: Execution) -> None:
        """Write it down, and tell the policy."""
        self.seen.append(execution)
        self._policy.observe(execution)


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


@lru_cache(maxsize=64)
def recorded(name: str, plan: Plan | None, seed: int) -> Recorded:
    """Calls under a fixed plan, or under a learner's: None."""
    scenario = SCENARIOS[name]
    # who listens for its own load makes calls without retries, which a record does not tell from ones that were ended
    learner = Learned(OnlineLearner(objective=scenario.objective, mind_load=False, seed=seed), seed=seed)
    recorder = Recorder(learner if plan is None else Fixed(*plan))
    record = play(scenario, recorder, seed, CALLS)
    return Recorded(recorder.seen, [record.plan(t) for t in range(CALLS)])


def case(name: str, made: Recorded, after: Plan, seed: int) -> Case:
    """One service, one change, one set of dice."""
    objective = SCENARIOS[name].objective
    began = time.process_time()
    told = replay(made.calls, wanted(values(after), {}, {}), objective, used=made.used)
    spent = time.process_time() - began
    true = play(SCENARIOS[name], Fixed(*after), seed, CALLS)
    truth = figures(true.success, true.seconds, true.requests, objective)
    return Case(told, truth, naive(made.calls, after, objective, seed), spent)


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
        cases = [case(name, recorded(name, before, seed), after, seed) for name in SERVICES for seed in range(seeds)]
        every += cases
        yield row(what, cases, exact=what in EXACT, copies=before.hedged or after.hedged)
    for what, changed in AFTER_LEARNING.items():
        cases = []
        for name in (*SERVICES, "regime_shift", "diurnal"):
            for seed in range(seeds):
                made = recorded(name, None, seed)
                cases.append(case(name, made, changed(made.plans[-1]), seed))
        every += cases
        yield row(f"a learner's record: {what}", cases)
    out = sum(not within(each.truth[name], *each.told.bounds[name]) for each in every for name in FIGURES)
    yield Row("figures outside their bounds", "none", f"{out} of {len(every) * len(FIGURES)}", out == 0)
    spent = float(np.median([each.seconds for each in every])) / CALLS
    yield Row("CPU of a replay, per recorded call, median", "≤ 500 µs", f"{spent * 1e6:.0f} µs", spent <= 500e-6)


def row(what: str, cases: Sequence[Case], *, exact: bool = False, copies: bool = False) -> Row:
    """How often the intervals miss the truth; the naive replay knows no ``copies``."""
    missed, naively = misses(cases)
    n = len(cases) * len(FIGURES)
    decided, untold = (float(np.mean([getattr(each.told, share) for each in cases])) for share in ("decided", "untold"))
    return Row(
        f"{what}: figures outside their 90 % interval",
        "exact" if exact else "≤ 10 %",
        f"{missed} of {n}{'' if copies else f'; naive {naively}'};"
        f" {decided:.1%} of the calls decided, {untold:.1%} untold",
        missed == 0 and decided == 1 if exact else missed <= 0.1 * n,
    )


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
