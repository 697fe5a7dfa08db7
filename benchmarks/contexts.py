"""Values per context: what they are worth, how soon they come, and how often they come for nothing.

    python -m benchmarks.contexts [seeds]

Simulated services that depend on a feature of the call, and controls on which it has no effect. The oracle knows the
service of each call; it may choose per context. Every policy meets the same calls with the same luck.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from benchmarks.ours import DECLARED, SPACE
from benchmarks.table import Row, show
from poet.learning.contexts import ContextLearner
from poet.learning.online_learner import OnlineLearner
from poet.model.contexts import Matcher, cells, named
from poet.model.execution import Context, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Value
from poet.seams import Probe, Suggestion
from poet.sim.evaluate import expected_utility, oracle
from poet.sim.play import perform
from poet.sim.scenarios import Scenario
from poet.sim.services import Dice, Mode, Plan, Service

CALLS = 4000


class Situation(NamedTuple):
    """Calls with a context, and the service that each meets."""

    name: str
    context: Callable[[random.Random, int], Context]
    service: Callable[[int, Context], Service]
    objective: Objective
    truth: tuple[str, ...]  # cells that fare otherwise than the rest; none: values by context do not pay
    calls: int = CALLS


def _service(median: float, *, sigma: float = 0.5, hang: float = 0.01, error: float = 0.02) -> Service:
    return Service((Mode(1.0, median, sigma),), hang=hang, error=error)


EU, US, SMALL, LARGE = _service(0.2), _service(2.0), _service(0.15), _service(3.0)
STUCK = Service((Mode(1.0, 0.3, 0.5),), hang=0.7, error=0.02)
FLAKY, FIRM = _service(0.3, error=0.35), Service((Mode(1.0, 0.3, 0.5),), hang=0.002, error=0.002)
PRICED = Objective(latency_cost=0.1, attempt_cost=0.03)


def _regions(dice: random.Random, t: int) -> Context:
    return (("region", "eu" if dice.random() < 0.6 else "us"),)


def _sized(dice: random.Random, t: int) -> Context:
    return (("size", round(math.exp(dice.gauss(6.0, 1.5)))),)


def _rare(dice: random.Random, t: int) -> Context:
    draw = dice.random()
    return (("region", "sa" if draw < 0.04 else "eu" if draw < 0.6 else "us"),)


def _ids(dice: random.Random, t: int) -> Context:
    return (("user", f"u{dice.randrange(100_000)}"), ("region", "eu" if dice.random() < 0.6 else "us"))


def _several(dice: random.Random, t: int) -> Context:
    return (
        ("tier", dice.choice(("free", "paid", "trial"))),
        ("region", dice.choice(("eu", "us", "ap"))),
        ("size", round(math.exp(dice.gauss(6.0, 1.5)))),
    )


def _three(t: int, context: Context) -> Service:
    return {"eu": EU, "us": US, "ap": _service(0.7)}[str(dict(context)["region"])]


SITUATIONS = (
    Situation("two regions", _regions, lambda t, c: EU if c[0][1] == "eu" else US, PRICED, ("region=eu",)),
    Situation("two regions, derived cost", _regions, lambda t, c: EU if c[0][1] == "eu" else US, PRICED, ("region=eu",)),
    Situation("large inputs are slow", _sized, lambda t, c: LARGE if c[0][1] >= 1000 else SMALL, PRICED, ("size>=1000",)),  # type: ignore[operator]
    Situation("a rare region hangs", _rare, lambda t, c: STUCK if c[0][1] == "sa" else EU, PRICED, ("region=sa",)),
    Situation("errors in one region", _regions, lambda t, c: FLAKY if c[0][1] == "us" else FIRM, PRICED, ("region=us",)),
    Situation("three features, one matters", _several, _three, PRICED, ("region=eu", "region=us")),
    Situation("100 000 users, two regions", _ids, lambda t, c: EU if c[1][1] == "eu" else US, PRICED, ("region=eu",)),
    Situation(
        "the split disappears halfway",
        _regions,
        lambda t, c: EU if c[0][1] == "eu" or t >= CALLS // 2 else US,
        PRICED,
        ("region=eu",),
    ),
    Situation("control: two regions alike", _regions, lambda t, c: EU, PRICED, ()),
    Situation("control: three features, none matters", _several, lambda t, c: US, PRICED, ()),
    Situation("control: 100 000 users alike", _ids, lambda t, c: EU, PRICED, ()),
    Situation(
        "control: alike, and ten times slower halfway",
        _several,
        lambda t, c: US if t >= CALLS // 2 else EU,
        PRICED,
        (),
    ),
)


class Policy(Protocol):
    """What is asked of a learner here."""

    def update(self, executions: Sequence[Execution]) -> None: ...

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None: ...

    def probe(self) -> Probe: ...


class Life(NamedTuple):
    """What came of one policy."""

    share: float  # of the oracle's utility
    splits: tuple[int, ...]  # calls after which cells came
    withdrawn: tuple[int, ...]
    last: frozenset[str]  # cells in the end
    micros: float  # spent on learning, per call [µs]


@cache
def _scenario(service: Service, objective: Objective) -> Scenario:
    return Scenario("context", lambda t: service, objective)


def live(situation: Situation, learner: Policy, seed: int) -> Life:
    """Let a learner live through the calls of a situation."""
    dice, coin = Dice(seed, situation.name, situation.calls), random.Random(seed)
    contexts = random.Random(seed * 7919 + 1)
    values: Mapping[str, Value] = dict(DECLARED)
    find = cells(values)
    got = best = spent = 0.0
    splits: list[int] = []
    withdrawn: list[int] = []
    for t in range(situation.calls):
        context = situation.context(contexts, t)
        service = situation.service(t, context)
        scenario = _scenario(service, situation.objective)
        probe = learner.probe()
        plan = planned(values, find(context) if find else None)
        if probe.calm:
            plan = plan._replace(retries=0, hedge_delay=0.0)
        if coin.random() < probe.limit:
            plan = plan._replace(timeout=min(plan.timeout * probe.stretch, 120.0))
        if coin.random() < probe.retry and not probe.calm:
            plan = plan._replace(retries=min(plan.retries + 1, 5))
        got += expected_utility(scenario, 0, plan)
        best += oracle(scenario, 0).utility
        done = perform(service, plan, dice.call(t))
        started = time.thread_time()
        learner.update(
            [Execution("sim", t, float(t), done.seconds, done.outcome, 1, done.attempts, "", context)]
        )
        suggestion = learner.suggest(values)
        spent += time.thread_time() - started
        if suggestion is not None:
            before = set(find.cells)
            values = dict(suggestion.values)
            find = cells(values)
            splits += [t + 1] * len(set(find.cells) - before)
            withdrawn += [t + 1] * len(before - set(find.cells))
    return Life(got / best, tuple(splits), tuple(withdrawn), frozenset(find.cells), 1e6 * spent / situation.calls)


def planned(values: Mapping[str, Value], cell: str | None) -> Plan:
    """The plan of a call in this cell."""

    def value(name: str) -> float:
        return float(values.get(f"{name}@{cell}", values[name]))

    delay = value("hedge_delay") if value("hedges") else 0.0
    return Plan(value("timeout"), int(value("retries")), value("backoff"), delay)


class Apart:
    """Learners of given cells, each on its own from the first call: what whoever knows the cells would do."""

    def __init__(self, objective: Objective, seed: int, known: Sequence[str]) -> None:
        self._find = Matcher(known)
        self._learners = {cell: alone(objective, seed + place) for place, cell in enumerate(("", *known))}

    def update(self, executions: Sequence[Execution]) -> None:
        for execution in executions:
            self._learners[self._find(execution.context) or ""].update([execution])

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        values: dict[str, Value] = dict(live)
        for cell, learner in self._learners.items():
            own = {name: values.get(named(name, cell) if cell else name, values[name]) for name in DECLARED}
            said = learner.suggest(own)
            if said is not None:
                values.update({named(name, cell) if cell else name: value for name, value in said.values.items()})
        return None if values == dict(live) else Suggestion(values, "apart", {}, 0)

    def probe(self) -> Probe:
        probes = [learner.probe() for learner in self._learners.values()]
        return Probe(
            max(each.retry for each in probes),
            max(each.limit for each in probes),
            max(each.stretch for each in probes),
            any(each.calm for each in probes),
        )


def alone(objective: Objective, seed: int) -> OnlineLearner:
    return OnlineLearner(objective=objective, space=SPACE, declared=DECLARED, hedge_budget=1.0, seed=seed)


if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    for situation in SITUATIONS:
        if only not in situation.name:
            continue
        obj = Objective() if "derived" in situation.name else situation.objective
        for seed in range(seeds):
            a = live(situation, alone(obj, seed), seed)
            c = live(situation, ContextLearner(alone(obj, seed)), seed)
            k = live(situation, Apart(obj, seed, situation.truth), seed) if situation.truth else a
            print(f"{situation.name:45s} {seed} alone {a.share:.4f} {a.micros:.0f}us  ctx {c.share:.4f} {c.micros:.0f}us apart {k.share:.4f}", c.splits, c.withdrawn, sorted(c.last), flush=True)
