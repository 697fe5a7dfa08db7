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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from benchmarks import traces
from benchmarks.ours import DECLARED, SPACE
from benchmarks.table import Row, show
from poet.kernels.online.bins import bin_of
from poet.learning.context_watch import ContextWatch
from poet.learning.contexts import ContextLearner
from poet.learning.online_learner import OnlineLearner
from poet.model.contexts import Matcher, cells, named
from poet.model.execution import Context, Execution
from poet.model.objective import Objective
from poet.model.tunable import Value
from poet.seams import Probe, Suggestion
from poet.sim.evaluate import expected_utility, oracle
from poet.sim.play import perform
from poet.sim.scenarios import LOAD_STEP, SCENARIOS, Scenario, loaded
from poet.sim.services import ATTEMPTS, Dice, Mode, Plan, Service

CALLS = 4000
RECORDED_CALLS = 4000
LONGEST = 120.0  # timeout [s]
MISSED = 0.5  # share of what one learner misses that may be missed by context, where contexts matter
LOST = 0.002  # share of utility that may be lost where they do not
REQUESTS = 1.1  # times as many requests as one learner sends in an overload
TIMES = 2.5  # as much time as one learner takes


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


def _tenants(dice: random.Random, t: int) -> Context:
    return (("tenant", f"t{dice.randrange(12)}"),)


def _three(t: int, context: Context) -> Service:
    return {"eu": EU, "us": US, "ap": _service(0.7)}[str(dict(context)["region"])]


SITUATIONS = (
    Situation("two regions", _regions, lambda t, c: EU if c[0][1] == "eu" else US, PRICED, ("region=eu",)),
    Situation(
        "two regions, derived cost", _regions, lambda t, c: EU if c[0][1] == "eu" else US, PRICED, ("region=eu",)
    ),
    Situation(
        "large inputs are slow", _sized, lambda t, c: LARGE if c[0][1] >= 1000 else SMALL, PRICED, ("size>=1000",)
    ),  # type: ignore[operator]
    Situation("a rare region hangs", _rare, lambda t, c: STUCK if c[0][1] == "sa" else EU, PRICED, ("region=sa",)),
    Situation(
        "errors in one region", _regions, lambda t, c: FLAKY if c[0][1] == "us" else FIRM, PRICED, ("region=us",)
    ),
    Situation("three features, one matters", _several, _three, PRICED, ("region=eu", "region=us")),
    Situation("100 000 users, two regions", _ids, lambda t, c: EU if c[1][1] == "eu" else US, PRICED, ("region=eu",)),
    Situation(
        "the split disappears halfway",
        _regions,
        lambda t, c: EU if c[0][1] == "eu" or t >= CALLS // 2 else US,
        PRICED,
        ("region=eu",),
    ),
    Situation(
        "12 tenants, each of its own speed",
        _tenants,
        lambda t, c: _service(0.05 * 1.5 ** int(str(c[0][1])[1:])),
        PRICED,
        tuple(f"tenant=t{number}" for number in range(12)),
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
        plan = probing(plan, probe, coin)
        got += expected_utility(scenario, 0, plan)
        best += oracle(scenario, 0).utility
        done = perform(service, plan, dice.call(t))
        started = time.thread_time()
        learner.update([Execution("sim", t, float(t), done.seconds, done.outcome, 1, done.attempts, "", context)])
        suggestion = learner.suggest(values)
        spent += time.thread_time() - started
        if suggestion is not None:
            before = set(find.cells)
            values = dict(suggestion.values)
            find = cells(values)
            splits += [t + 1] * len(set(find.cells) - before)
            withdrawn += [t + 1] * len(before - set(find.cells))
    return Life(got / best, tuple(splits), tuple(withdrawn), frozenset(find.cells), 1e6 * spent / situation.calls)


def probing(plan: Plan, probe: Probe, coin: random.Random) -> Plan:
    """The plan with a call's probe."""
    longer, more = coin.random() < probe.limit, coin.random() < probe.retry
    if longer:
        plan = plan._replace(timeout=min(plan.timeout * probe.stretch, LONGEST))
    if probe.calm:
        return plan._replace(retries=0, hedge_delay=0.0)
    return plan._replace(retries=plan.retries + more)


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


def by_context(objective: Objective, seed: int) -> ContextLearner:
    return ContextLearner(alone(objective, seed))


class Lives(NamedTuple):
    """One situation under one seed."""

    situation: str
    seed: int
    alone: Life
    contexts: Life
    apart: Life | None


def lived(place: int, seed: int) -> Lives:
    """All policies in one situation."""
    situation = SITUATIONS[place]
    told = Objective() if "derived" in situation.name else situation.objective
    apart = live(situation, Apart(told, seed, situation.truth), seed) if situation.truth else None
    one, several = (live(situation, make(told, seed), seed) for make in (alone, by_context))
    return Lives(situation.name, seed, one, several, apart)


class Strained(NamedTuple):
    """Utility and requests per call, of a policy in an overload that our own requests make worse."""

    utility: float
    requests: float


def strained(seed: int) -> tuple[Strained, Strained]:
    """One learner for all, and by context: two regions of one service, of which one is three times as slow."""
    overload = SCENARIOS["overload"]
    return (
        _strained(alone(overload.objective, seed), overload, seed),
        _strained(by_context(overload.objective, seed), overload, seed),
    )


def _strained(learner: Policy, scenario: Scenario, seed: int) -> Strained:
    dice, coin, contexts = Dice(seed, "strained", scenario.calls), random.Random(seed), random.Random(seed + 99)
    values: Mapping[str, Value] = dict(DECLARED)
    find, load, requests, utility = cells(values), 1.0, 0, 0.0
    assert scenario.overload is not None
    for t in range(scenario.calls):
        context: Context = (("region", contexts.choice(("eu", "us"))),)
        service = scenario.at(t).slowed(3.0 if context[0][1] == "us" else 1.0)
        service = loaded(service, scenario.overload, round((load - 1) / LOAD_STEP), scenario.overload.burst(t))
        plan = probing(planned(values, find(context) if find else None), learner.probe(), coin)
        done = perform(service, plan, dice.call(t))
        requests += done.requests
        utility += scenario.objective.utility(done.outcome.good, done.seconds, done.requests)
        load = scenario.overload.folded(load, float(done.requests))
        learner.update([Execution("sim", t, float(t), done.seconds, done.outcome, 1, done.attempts, "", context)])
        suggestion = learner.suggest(values)
        if suggestion is not None:
            values = dict(suggestion.values)
            find = cells(values)
    return Strained(utility / scenario.calls, requests / scenario.calls)


# --- recorded services, several of them behind one function -----------------------------------------------------------


class Pool(NamedTuple):
    """Recorded services that one function calls, each call one of them."""

    name: str
    services: Sequence[traces.Trace]
    features: Sequence[Mapping[int, Context]]  # of each service's calls, by client


def pools(place: Path) -> list[Pool]:
    """Those that there are data for."""
    found = []
    models = traces.load("llm_api_latency", place)
    fastest = [each for each in models if "thefastest" in each.name]
    found.append(_pooled("models, by model and region", fastest, "model", "region"))
    found.append(_pooled("models under load, by provider", [e for e in models if "llmperf" in e.name], "model", ""))
    dice = random.Random(3)
    for name, called in (("wsdream2", "web services, by service and user"), ("upptime", "addresses, by address")):
        every = traces.load(name, place)
        several = [every[i] for i in sorted(dice.sample(range(len(every)), 8))]
        found.append(_pooled(called, several, "service", "user" if name == "wsdream2" else ""))
    return found


def _pooled(name: str, services: Sequence[traces.Trace], feature: str, client: str) -> Pool:
    def context(service: traces.Trace, number: int) -> Context:
        own: Context = ((feature, service.name.split(" ", 1)[1]),)
        return (*own, (client, f"c{number}")) if client else own

    told = [{int(number): context(each, number) for number in np.unique(each.client)} for each in services]
    return Pool(name, services, told)


class Replayed(NamedTuple):
    """Mean utility per call, as a share of the best that each service allows."""

    pool: str
    seed: int
    fixed: float  # the best parameters for all of them in hindsight
    alone: float
    contexts: float
    splits: tuple[int, ...]
    last: int  # cells in the end
    best: float  # mean utility per call of the best of each service in hindsight


def replayed(place: Path, number: int, seed: int) -> Replayed:
    """A pool, lived through by all policies."""
    pool = pools(place)[number]
    answers = np.concatenate([service.answers for service in pool.services])
    objective = Objective(latency_cost=0.05 / float(np.median(answers)), attempt_cost=0.03)
    dice = random.Random(seed)
    order = [dice.randrange(len(pool.services)) for _ in range(RECORDED_CALLS)]
    made = Counter(order)
    replays = [traces.replay(service) for service in pool.services]
    grid = traces.Grid.of(answers)
    # of the calls that are made, each service's first ones; where its record is shorter it begins anew
    values = []
    for service, replay in enumerate(replays):
        turns = np.arange(made[service]) % len(replay.at)
        part = traces.Replay(replay.seconds[turns], replay.failed[turns], replay.at[turns])
        values.append(made[service] * traces.worths(part, grid, objective))
    best = sum(float(each.max()) for each in values)
    fixed = float(np.sum(values, axis=0).max())
    one, _, _ = _lived(pool, replays, order, alone(objective, seed), objective, seed)
    several, splits, last = _lived(pool, replays, order, by_context(objective, seed), objective, seed)
    return Replayed(pool.name, seed, fixed / best, one / best, several / best, splits, last, best / len(order))


def _lived(
    pool: Pool,
    replays: Sequence[traces.Replay],
    order: Sequence[int],
    learner: Policy,
    objective: Objective,
    seed: int,
) -> tuple[float, tuple[int, ...], int]:
    """Utility in all, when cells came, and how many there are in the end."""
    jitter, coin = np.random.default_rng(seed).random((len(order), ATTEMPTS)).tolist(), random.Random(seed)
    values: Mapping[str, Value] = dict(DECLARED)
    find, turns, total = cells(values), Counter[int](), 0.0
    splits: list[int] = []
    for t, service in enumerate(order):
        replay = replays[service]
        turn = turns[service] % len(replay.at)
        turns[service] += 1
        context = pool.features[service][int(pool.services[service].client[turn % len(pool.services[service].client)])]
        plan = probing(planned(values, find(context) if find else None), learner.probe(), coin)
        outcome, took, attempts = traces.perform(
            replay.seconds[turn].tolist(), replay.failed[turn].tolist(), plan, int(plan.hedged), jitter[t]
        )
        total += objective.utility(outcome.good, took, len(attempts))
        learner.update([Execution("trace", t, float(t), took, outcome, 1, attempts, "", context)])
        suggestion = learner.suggest(values)
        if suggestion is not None:
            before, values = set(find.cells), dict(suggestion.values)
            find = cells(values)
            splits += [t + 1] * len(set(find.cells) - before)
    return total, tuple(splits), len(find.cells)


# --- how often the watch is wrong -------------------------------------------------------------------------------------


def false_alarms(seed: int, calls: int, *, runs: int = 1) -> tuple[int, int]:
    """Cells that are taken to fare otherwise where none does, and those watched.

    Three features; the service becomes ten times slower and recovers, every 50 calls or ``runs`` on average. runs:
    calls in a row of one context.
    """
    dice, watch, slow, alarms, context = random.Random(seed), ContextWatch(), 1.0, 0, ()
    for t in range(calls):
        if t % runs == 0:
            context = _several(dice, t)
        if dice.random() < 1 / (runs if runs > 1 else 50):
            slow = 11.0 - slow
        seconds = 0.2 * slow * math.exp(0.5 * dice.gauss(0, 1))
        if watch.observe("", bin_of(seconds) // 2, context):
            watch.test()
            for cell in watch.cells.values():
                alarms += cell.alarmed
                cell.alarmed, cell.level = False, -math.inf if cell.alarmed else cell.level
    return alarms, len(watch.cells)


# --- figures ----------------------------------------------------------------------------------------------------------


def run(seeds: int = 2) -> Iterator[Row]:
    """All figures, over so many seeds."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [[pool.submit(lived, place, seed) for seed in range(seeds)] for place in range(len(SITUATIONS))]
        place = traces.folder()
        there = [] if place is None else [[pool.submit(replayed, place, n, s) for s in range(seeds)] for n in range(4)]
        loads = [pool.submit(strained, seed) for seed in range(seeds)]
        watched = [pool.submit(false_alarms, seed, 50_000, runs=runs) for runs in (1, 20) for seed in range(2)]
        every = []
        for job in jobs:
            found = [each.result() for each in job]
            every += found
            yield _told(found)
        yield from _bars(every)
        for job in there:
            yield _retold([each.result() for each in job])
        yield _load([each.result() for each in loads])
        alarms = sum(each.result()[0] for each in watched)
        yield Row(
            "cells taken to fare otherwise in 200 000 calls where none does, half of them in runs of 20 calls of one "
            "context in a service whose bursts are as long",
            "≤ 1 in 100 000 calls",
            f"{alarms}, of some {watched[0].result()[1]} that are watched",
            alarms <= 2,
        )


def _told(lives: Sequence[Lives]) -> Row:
    several, one = [each.contexts.share for each in lives], [each.alone.share for each in lives]
    splits = [each.contexts.splits[0] for each in lives if each.contexts.splits]
    measured = f"by context {_spanned(several)}; alone {_spanned(one)}"
    if lives[0].apart is not None:
        measured += f"; apart from the first call {_spanned([each.apart.share for each in lives if each.apart])}"
        first = f"{statistics.median(splits):.0f}" if splits else "–"
        measured += f"; split after {first} calls in {len(splits)} of {len(lives)}"
    else:
        measured += f"; {sum(len(each.contexts.splits) for each in lives)} splits"
    return Row(lives[0].situation, "", measured)


def _bars(every: Sequence[Lives]) -> Iterator[Row]:
    telling = [each for each in every if each.apart is not None]
    controls = [each for each in every if each.apart is None]
    missed = [statistics.fmean(1 - getattr(each, name).share for each in telling) for name in ("contexts", "alone")]
    yield Row(
        "utility missed by context, as a share of what one learner for all misses; mean where contexts matter",
        f"≤ {MISSED}",
        f"{missed[0] / missed[1]:.2f} ({missed[0]:.4f} of {missed[1]:.4f})",
        missed[0] <= MISSED * missed[1],
    )
    lost = [1 - each.contexts.share / each.alone.share for each in controls]
    yield Row(
        "utility lost by context where contexts do not matter",
        f"≤ {100 * LOST:.1f} %",
        f"{100 * statistics.fmean(lost):.3f} %, worst {100 * max(lost):.3f} %",
        max(lost) <= LOST,
    )
    calls, false = CALLS * len(controls), sum(len(each.contexts.splits) for each in controls)
    yield Row("splits there, per 100 000 calls", "≤ 1", f"{1e5 * false / calls:.2f} ({false} in {calls})", false <= 1)
    sooner = [1 - each.contexts.share <= 1 - each.alone.share + 0.001 for each in telling]
    yield Row(
        "lives that are no worse by context, to .001",
        "≥ 95 %",
        f"{100 * statistics.fmean(sooner):.0f} %",
        statistics.fmean(sooner) >= 0.95,
    )
    micros = [statistics.fmean(getattr(each, name).micros for each in every) for name in ("contexts", "alone")]
    yield Row(
        "time spent on learning per call, told one by one",
        f"≤ {TIMES:g} × that of one learner",
        f"{micros[0]:.0f} µs, {micros[0] / micros[1]:.2f} ×",
        micros[0] <= TIMES * micros[1],
    )


def _load(lives: Sequence[tuple[Strained, Strained]]) -> Row:
    requests, utility = (
        [statistics.fmean(getattr(each[number], name) for each in lives) for number in range(2)]
        for name in ("requests", "utility")
    )
    return Row(
        "requests per call of a service in two regions that our own requests overload, by context",
        f"≤ {REQUESTS:g} × those of one learner",
        f"{requests[1]:.3f}, {requests[1] / requests[0]:.2f} ×; utility {utility[1]:.3f}, alone {utility[0]:.3f}",
        requests[1] <= REQUESTS * requests[0],
    )


def _retold(lives: Sequence[Replayed]) -> Row:
    one, several = ([getattr(each, name) for each in lives] for name in ("alone", "contexts"))
    splits = [each.splits[0] for each in lives if each.splits]
    first = f"{statistics.median(splits):.0f} calls" if splits else "–"
    return Row(
        f"recorded: {lives[0].pool}",
        "by context ≥ alone",
        f"by context {_spanned(several)}; alone {_spanned(one)}; best fixed for all "
        f"{statistics.fmean(each.fixed for each in lives):.3f}; first split after {first}, "
        f"{statistics.fmean(each.last for each in lives):.1f} cells in the end",
        statistics.fmean(several) >= statistics.fmean(one),
    )


def _spanned(values: Sequence[float]) -> str:
    """Mean, and the half-width of its 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {1.96 * statistics.stdev(values) / math.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    sys.exit(not show("Values per context", run(int(sys.argv[1]) if len(sys.argv) > 1 else 2)))
