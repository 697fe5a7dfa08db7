"""Experiments end to end: real learners and values, dealt, watched and decided by the real agent, against the truth.

    python -m benchmarks.experiments [services] [seeds of an A/A test]

Services are drawn at random (``sim.scenarios.random_service``, without change of regime, errors independent). What a
version is worth is known exactly (``sim.evaluate``): so the truth of an experiment is the mean, over its calls, of what
the versions of both arms were worth then, while they learned. Calls are one after the other, on a virtual clock.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.table import Row, show
from poet.app import build
from poet.calls.deadline import remaining
from poet.decorator import bind
from poet.model.execution import Execution
from poet.model.experiment import Experiment, Rules, strategy
from poet.model.objective import Objective
from poet.settings import Settings
from poet.sim.evaluate import evaluate, oracle
from poet.sim.scenarios import START, Scenario, random_service
from poet.sim.services import Plan, Service
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock
from poet.training.comparing import read
from poet.training.evidence import Call, Evidence, pooled

MOST = 4000  # calls of an experiment
BEFORE = 60  # calls before it, by which its scale is known
EVERY = 10  # calls between two rounds of training
LEAST = 0.02  # effect that is worth finding, of a success's value
AA_CALLS = 800


class Bench:
    """A simulated service behind a decorated function."""

    def __init__(self, service: Service, objective: Objective, seed: int, *, training: bool, store: Any = None):
        self.clock, self.rng = VirtualClock(100.0), np.random.default_rng([seed, 0xAB])
        self.store = MemoryStore() if store is None else store
        settings = Settings(store="memory:", seed=seed, rollout="direct")
        self.agent = build(settings, store=self.store, clock=self.clock, thread=False)
        self.service, self.objective = service, objective
        modes = service.latency
        shares = [mode.share for mode in modes]

        def draw(place: int) -> float:
            mode = modes[place]
            return float(mode.median * math.exp(mode.sigma * self.rng.standard_normal()))

        def ask() -> None:
            limit = remaining() or math.inf
            if self.rng.random() < service.error:
                failing = service.error_latency
                seconds = float(failing.median * math.exp(failing.sigma * self.rng.standard_normal()))
                failed = True
            else:
                hangs = self.rng.random() < service.hang
                seconds = math.inf if hangs else draw(int(self.rng.choice(len(modes), p=shares)))
                failed = False
            self.clock.sleep(min(seconds, limit))
            if seconds > limit:
                raise TimeoutError
            if failed:
                raise ConnectionError("no")

        plan = {"timeout": START.timeout, "retries": START.retries, "backoff": START.backoff}
        self.ask: Any = bind(self.agent)(
            name="service", enable_training=training, objective=objective, dependency=None, **plan
        )(ask)

    def run(self, calls: int, *, until_over: bool = False) -> int:
        """Make calls; how many."""
        for n in range(1, calls + 1):
            with suppress(ConnectionError, TimeoutError):
                self.ask()
            if n % EVERY == 0:
                self.agent.flush()
                if until_over and self.found().over:
                    return n
        return calls

    def found(self) -> Experiment:
        """The experiment, as it stands."""
        last: Experiment = self.ask.poet.experiments()[-1]
        return last

    def truth(self, experiment: Experiment) -> float:
        """Effect of the second arm over the first, in the mean over the calls: what their versions were worth then."""
        versions = {version.version: version for version in self.ask.poet.versions()}
        worth: dict[int, float] = {}
        calls = [each for each in self._calls() if each.propensity < 1.0]
        sums, counts = [0.0, 0.0], [0, 0]
        for each in calls:
            if each.version not in worth:
                worth[each.version] = self.worth(Plan.of({**versions[each.version], "hedge_delay": 0.0}))
            arm = int(each.version in experiment.arms[1].versions)
            sums[arm] += worth[each.version]
            counts[arm] += 1
        return sums[1] / counts[1] - sums[0] / counts[0]

    def worth(self, plan: Plan) -> float:
        """Expected utility of a call."""
        return evaluate(self.service, plan).utility(self.objective)

    def _calls(self) -> list[Execution]:
        key = self.store.functions()[0].key
        return list(self.store.executions(key))


class Result(NamedTuple):
    """Of one experiment."""

    calls: int
    verdict: str
    better: bool | None  # whether the second arm was called better; None: undecided or the same
    value: float
    low: float
    high: float
    truth: float


def services(n: int) -> Iterator[tuple[Service, Scenario]]:
    """Services that nothing was tuned on, without a change of regime."""
    for seed in range(0, 2 * n, 2):
        scenario = random_service(1000 + seed)
        yield replace(scenario.at(0), permanent=0.0, persistence=0.0, work=0.0), scenario


def compare(
    service: Service, objective: Objective, arms: Mapping[str, Any], seed: int, calls: int = MOST, **rules: Any
) -> tuple[Result, Bench]:
    """One experiment, to its end or its last call."""
    bench = Bench(service, objective, seed, training=False)
    bench.run(BEFORE)
    bench.ask.poet.experiment(arms, minimum_effect=LEAST * objective.value, **rules)
    bench.run(calls, until_over=True)
    found = bench.found()
    effect = found.figures["effects"][0]
    known = {name: math.nan if effect[name] is None else effect[name] for name in ("value", "low", "high")}
    better = {found.arms[0].name: False, found.arms[1].name: True}.get(found.winner)
    truth = bench.truth(found)
    return Result(found.figures["calls"], found.verdict, better, **known, truth=truth), bench


def run(n: int = 4, alike: int = 12) -> Iterator[Row]:
    """The rows. n: services; alike: A/A tests."""
    kinds = {
        "declared values against the best ones": [],
        "basic against statistical learner": [],
        "statistical learner, slow against fast": [],
    }
    all_of_them: list[Result] = []
    for place, (service, scenario) in enumerate(services(n)):
        best = oracle(replace(scenario, at=lambda t, s=service: s), 0, hedging=False).plan
        quick = {"timeout": best.timeout, "retries": best.retries, "backoff": best.backoff}
        pairs: dict[str, dict[str, Any]] = {
            "declared values against the best ones": {"live": "live", "best": quick},
            "basic against statistical learner": {"basic": {"learner": "basic"}, "stat": {"learner": "statistical"}},
            "statistical learner, slow against fast": {
                "slow": {"learner": "statistical", "learning_rate": 0.01},
                "fast": {"learner": "statistical", "learning_rate": 0.3},
            },
        }
        for kind, arms in pairs.items():
            result, _ = compare(service, scenario.objective, arms, place)
            kinds[kind].append(result)
            all_of_them.append(result)
    for kind, results in kinds.items():
        yield Row(f"{kind}: decided", "", _decided(results))
    told = [each for each in all_of_them if each.better is not None and abs(each.truth) > LEAST / 4]
    right = [(each.truth > 0) == each.better for each in told]
    share = sum(right) / len(right) if right else math.nan
    yield Row("… told better or worse: right", "≥ 95 %", f"{100 * share:.0f} % of {len(right)}", share >= 0.95)
    bounds = [each for each in all_of_them if math.isfinite(each.low)]
    held = [each.low <= each.truth <= each.high for each in bounds]
    yield Row(
        "… bounds at the end that hold the truth, as it ran",
        "≥ 95 %, less 3 SE",
        f"{100 * sum(held) / len(held):.0f} % of {len(held)}",
        sum(held) / len(held) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / len(held)),
    )
    yield from _alike(alike)
    yield from _hosts(alike)
    yield from _broken(2 * n)
    yield _cost()


def _decided(results: list[Result]) -> str:
    calls = [each.calls for each in results if each.verdict != "undecided"]
    kinds = {name: sum(each.verdict == name for each in results) for name in ("decided", "harm", "same", "undecided")}
    said = ", ".join(f"{count} {name}" for name, count in kinds.items() if count)
    return f"{said}; median {median(calls):.0f} calls" if calls else said


def _alike(runs: int) -> Iterator[Row]:
    """Two learners of one kind: neither is better but by the luck of their own calls, which is no error."""
    service, scenario = next(services(1))
    wrong = 0
    for seed in range(runs):
        arms = {"one": {"timeout": 20.0}, "two": {"timeout": 20.001}}
        result, _ = compare(service, scenario.objective, arms, 100 + seed, AA_CALLS)
        wrong += result.better is not None
    limit = 0.06 + 3 * math.sqrt(0.06 * 0.94 / runs)
    yield Row(
        f"{runs} tests of values that are the same, {AA_CALLS} calls, looked at every {EVERY}: told apart",
        "≤ 5 % + 1 % + 3 SE",
        f"{100 * wrong / runs:.1f} %",
        wrong / runs <= limit,
    )


def _hosts(runs: int) -> Iterator[Row]:
    """Hosts that keep an arm, and differ by themselves by .3 of an outcome's deviation; arms that are the same."""
    arms = (strategy("one", {"k": 1}), strategy("two", {"k": 2}))
    experiment = Experiment(name="x", arms=arms, rules=Rules(metric="score", assignment="host", minimum_effect=1e-6))
    for n in (24, 60):
        wrong = 0
        for seed in range(runs):
            rng, seen, apart = random.Random(seed), Evidence.of(experiment), False
            hosts = [(f"host{place}", rng.gauss(0, 0.3), rng.randrange(2)) for place in range(n)]
            for _ in range(30):
                for host, own, arm in hosts:
                    for _ in range(5):
                        seen.add_to(host, Call(0.0, arm, (0.5, 0.5), own + rng.gauss(0, 1), False, False, None))
                said = read(experiment, pooled(experiment, [seen])).against[0].verdict
                apart = apart or said in ("better", "worse")
            wrong += apart
        yield Row(
            f"{n} hosts that keep an arm and differ, {runs} runs of 150 calls each, looked at every 5: told apart",
            "≤ 7 %",
            f"{100 * wrong / runs:.1f} %",
            wrong / runs <= 0.07,
        )


def _broken(runs: int) -> Iterator[Row]:
    """An arm whose limit lets nothing through, at a tenth of the calls."""
    taken = []
    for seed in range(runs):
        service, scenario = next(services(1))
        arms = {"live": "live", "broken": {"timeout": 0.001, "retries": 0}}
        _, bench = compare(service, scenario.objective, arms, 200 + seed, 1000, shares={"broken": 0.1})
        found = bench.found()
        taken.append(found.figures["arms"][1]["calls"] if found.verdict == "harm" else math.inf)
    yield Row(
        "an arm of 10 % of the calls whose calls all fail: ended after so many of its calls, median and most",
        "≤ 10",
        f"{median(taken):g}, {max(taken):g}",
        median(taken) <= 10,
    )


def _cost() -> Row:
    """CPU of training per call, with an experiment and without."""
    service, scenario = next(services(1))
    spent = []
    for on in (False, True):
        times = []
        for seed in range(3):
            bench = Bench(service, scenario.objective, seed, training=False)
            bench.run(BEFORE)
            if on:
                bench.ask.poet.experiment(
                    {"one": {"backoff": 0.9}, "two": {"backoff": 0.8}}, alpha=1e-9, guard_alpha=1e-9
                )
            begun = time.process_time()
            for n in range(1, 1001):
                with suppress(ConnectionError, TimeoutError):
                    bench.ask()
                if n % 100 == 0:
                    bench.agent.flush()
            times.append((time.process_time() - begun) / 1000)
        spent.append(min(times))
    return Row(
        "CPU per call, off the call path, that an experiment of two arms adds (rounds of 100 calls)",
        "≤ 200 µs",
        f"{1e6 * (spent[1] - spent[0]):.0f} µs",
        spent[1] - spent[0] <= 200e-6,
    )


if __name__ == "__main__":
    wanted = [int(word) for word in sys.argv[1:]]
    sys.exit(0 if show("Experiments, end to end", run(*wanted)) else 1)
