"""What roll-outs cost where learning is right, and what they save where it is wrong.

    python -m benchmarks.rollouts [seeds] [random services] [incidents]

The online learner under the real trainer, store and roll-outs, on a virtual clock; calls get their version by lot as
decorated functions do. Beside it the same learner with ``rollout="direct"``. An incident is a learner that turns bad:
it proposes, of a function that serves well, values that cut off a part of the calls or make them slower.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmarks.ours import DECLARED, SPACE, ours
from benchmarks.table import Row, show
from poet.model.execution import Dealt, Execution, Record
from poet.model.function import FunctionKey
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.model.rollout import KIND, STEPS, Rollout, RolloutPolicy
from poet.model.tunable import Integer, Real, Value
from poet.seams import FunctionRecord, Learner, Lot, Probe, ProcessReport, Suggestion
from poet.settings import Settings
from poet.sim.evaluate import oracle_series
from poet.sim.play import play, regret, share
from poet.sim.scenarios import SCENARIOS, Scenario, random_service
from poet.sim.services import Mode, Service
from poet.stores.memory import MemoryStore
from poet.testing.believer import Believer
from poet.testing.clock import VirtualClock
from poet.training.rest import Rest
from poet.training.trainee import Trainee
from poet.training.trainer import Trainer
from poet.training.trials import Trials

EVERY = 5  # calls between two rounds of training
Way = RolloutPolicy | Literal["direct"]


class Function:
    """A function that is trained, without a body: what a decorated one is to the trainer."""

    dependency, rate, tracked, kept = "service", 0.05, True, False

    def __init__(self, objective: Objective, rollout: Way) -> None:
        self.key = FunctionKey("benchmarks", "service", "")
        self.rollout = rollout
        bounds = {name: (t.low, t.high) for name, t in SPACE.items() if isinstance(t, Real | Integer)}
        costs = {"latency_cost": objective.latency_cost or 0.0, "attempt_cost": objective.attempt_cost}
        self.record = FunctionRecord(
            self.key, None, "statistical", DECLARED, {"value": objective.value, **costs}, 0, 0, 0.0, 0.0, bounds
        )
        self.parameters: ParameterSet
        self.probe, self.lot = Probe(), None

    def deliver(self, parameters: ParameterSet, probe: Probe, lot: Lot | None = None) -> None:
        """From now on calls use these."""
        self.parameters, self.probe, self.lot = parameters, probe, lot  # type: ignore[assignment]


def _no_arms(trainee: Trainee, given: Mapping[str, Value]) -> Learner:
    raise ValueError("no experiment is run here")


class Trained:
    """The learner under a real trainer, as a policy of simulated calls."""

    def __init__(self, scenario: Scenario, learner: Learner, seed: int, way: Way, clock: VirtualClock) -> None:
        self.coin, self.clock = random.Random(seed), clock
        self.store = MemoryStore(clock=clock)
        self.function = Function(scenario.objective, way)
        report = ProcessReport("sim", "", 0, 0.0, 0.0, 0, 0, "")
        self.trainer = Trainer(
            self.store,
            Settings(store="memory:", seed=seed),
            clock,
            lambda: report,
            trials=Trials(_no_arms, lambda: report),
        )
        self.records: list[Record] = []
        standing = self.store.register(self.function.record)
        self.trainee = Trainee(self.function, learner, standing, Rest(), self.records)
        self.trainer.enroll(self.trainee)
        self.version: int = 1
        self.versions: list[int] = []

    def parameters(self, t: int) -> Mapping[str, object]:
        """Of this call, drawn as the call path draws them."""
        lot, parameters, probe = self.function.lot, self.function.parameters, self.function.probe
        self.version = parameters.version
        if lot is not None:
            first = self.coin.random() < lot.arms[0].share
            arm = lot.arms[0] if first else lot.arms[1]
            parameters, probe = arm.parameters, arm.probe
            self.version = Dealt(parameters.version, arm.share)
        self.versions.append(int(self.version))
        values: dict[str, object] = dict(parameters)
        if values.get("hedges", 1) == 0:
            values["hedge_delay"] = 0.0
        if probe.limit and self.coin.random() < probe.limit:
            values["limit_stretch"] = min(probe.stretch, 120.0 / parameters.number("timeout"))
        if probe.retry and self.coin.random() < probe.retry and parameters.number("retries") < 5:
            values["extra_retry"] = 1
        if probe.calm:
            values["calm"] = True
        return values

    def observe(self, execution: Execution) -> None:
        """It has ended."""
        end = self.clock.now()
        detail = (execution.outcome, execution.attempts, execution.error, ())
        self.records.append((execution.sequence, end - execution.seconds, end, self.version, detail))
        if execution.sequence % EVERY == EVERY - 1:
            self.trainer.round(last=True)

    def rollouts(self) -> list[Rollout]:
        """All there were."""
        return [Rollout.of(document) for document in self.store.documents(KIND, self.function.key)]


class Life(NamedTuple):
    """What came of one scenario."""

    share: float  # of the oracle's utility
    missed: Sequence[float]  # regret at ``AT``
    ends: Mapping[str, int]  # how its roll-outs ended


AT = (50, 200, 1000)


def lived(scenario: Scenario, seed: int, way: Way, calls: int) -> Life:
    """One life."""
    clock = VirtualClock()
    policy = Trained(scenario, ours(scenario.objective, seed), seed, way, clock)
    record = play(scenario, policy, seed, calls, clock=clock)
    best = oracle_series(scenario)
    lost = regret(record, best)
    ends: dict[str, int] = {}
    for rollout in policy.rollouts():
        ends[rollout.phase] = ends.get(rollout.phase, 0) + 1
    return Life(share(record, best), [float(lost[at - 1]) for at in AT], ends)


SERVICE = Service((Mode(1.0, 0.1, 0.5),), error=0.01)
STEADY = Scenario("steady", lambda t: SERVICE, Objective(latency_cost=1.0, attempt_cost=0.03), calls=4000)
INCIDENTS: Mapping[str, Mapping[str, Value]] = {
    "cuts off all calls": {"timeout": 0.001, "retries": 0},
    "cuts off half of the calls": {"timeout": 0.1, "retries": 0},
    "cuts off one call in ten": {"timeout": 0.19, "retries": 0},
}


BARS = {
    ("later", "cuts off all calls"): 8.0,
    ("later", "cuts off half of the calls"): 20.0,
    ("first, replacing the declared values", "cuts off all calls"): 12.0,
}


def contained(
    values: Mapping[str, Value], seed: int, way: RolloutPolicy, calls: int = 1500
) -> tuple[float, float, float]:
    """Calls that the bad version got until it was first taken back, calls in all with it, share that ended in harm."""
    clock = VirtualClock()
    policy = Trained(STEADY, Believer(values, after=100), seed, way, clock)
    play(STEADY, policy, seed, calls, clock=clock)
    ends = policy.rollouts()
    exposed = sum(version != 1 for version in policy.versions)
    first = next((rollout for rollout in ends if rollout.phase == "rolled back"), None)
    until = first.figures["after"]["calls"] if first is not None else float("inf")
    return until, exposed / calls, float(ends[0].phase == "rolled back")


class Neutral(Believer):
    """Proposes what changes nothing for the calls: each roll-out that ends in harm is a false one."""

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        """Another limit that no call comes near."""
        timeout = 40.0 if live["timeout"] == 30.0 else 30.0
        return Suggestion({"timeout": timeout}, "it believes so", {}, self.seen)


def wrongly(seed: int, calls: int = 4000) -> tuple[int, int]:
    """Roll-outs that were taken back though nothing had changed, and all."""
    clock = VirtualClock()
    policy = Trained(STEADY, Neutral({}), seed, RolloutPolicy(), clock)
    play(STEADY, policy, seed, calls, clock=clock)
    ends = policy.rollouts()
    return sum(rollout.phase == "rolled back" for rollout in ends), len(ends)


def run(seeds: int = 2, services: int = 6, incidents: int = 20) -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    jobs: list[tuple[str, list[Scenario]]] = [
        ("twelve scenarios", list(SCENARIOS.values())),
        ("random services", [random_service(500 + i) for i in range(services)]),
    ]
    for name, scenarios in jobs:
        lives = {
            way: [lived(each, seed, policy, 1000) for each in scenarios for seed in range(seeds)]
            for way, policy in (("steps", RolloutPolicy()), ("direct", "direct"))
        }
        steps, direct = lives["steps"], lives["direct"]
        ends: dict[str, int] = {}
        for life in steps:
            for phase, n in life.ends.items():
                ends[phase] = ends.get(phase, 0) + n
        missed = [[fmean(life.missed[i] for life in each) for i in range(len(AT))] for each in (steps, direct)]
        rows.append(
            Row(
                f"{name}, {len(steps)} lives: mean regret at {' / '.join(map(str, AT))} calls, step by step; at once",
                "",
                f"{' / '.join(f'{x:.1f}' for x in missed[0])}; {' / '.join(f'{x:.1f}' for x in missed[1])}",
            )
        )
        price = fmean(d.share - s.share for s, d in zip(steps, direct, strict=True))
        rows.append(
            Row(
                f"{name}: share of the oracle over 1000 calls, step by step; at once",
                "at most .02 less",
                f"{fmean(life.share for life in steps):.4f}; {fmean(life.share for life in direct):.4f}",
                price <= 0.02,
            )
        )
        rows.append(Row(f"{name}: how roll-outs ended", "", ", ".join(f"{n} {p}" for p, n in sorted(ends.items()))))
    for how, policy in (
        ("later", RolloutPolicy(first=STEPS)),
        ("first, replacing the declared values", RolloutPolicy()),
    ):
        for what, values in INCIDENTS.items():
            told = np.array([contained(values, seed, policy) for seed in range(incidents)])
            until = told[:, 0]
            bar = BARS.get((how, what))
            rows.append(
                Row(
                    f"{how}: a bad learner {what}, {incidents} times: calls that met it until it was taken back, "
                    "median / worst; share of all calls that ever met it",
                    "" if bar is None else f"≤ {bar:g}",
                    f"{median(until):g} / {max(until):g}; {100 * fmean(told[:, 1]):.2f} %",
                    None if bar is None else median(until) <= bar,
                )
            )
    false, all_ = (sum(each) for each in zip(*(wrongly(seed) for seed in range(incidents)), strict=True))
    rows.append(
        Row(
            f"roll-outs of what changes nothing that were taken back, of {all_}",
            "≤ 1 %",
            f"{false} ({100 * false / all_:.2f} %)",
            false <= 0.01 * all_ + 3 * (0.01 * all_) ** 0.5,
        )
    )
    return rows


def main(arguments: list[str]) -> int:
    numbers: list[Any] = [int(argument) for argument in arguments]
    return 0 if show("Roll-outs", run(*numbers)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
