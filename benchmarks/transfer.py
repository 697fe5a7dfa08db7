"""What a new function gains from its relatives, and what it loses to wrong ones.

    POET_TRACES=folder python -m benchmarks.transfer [seeds] [services] [lives]

*Families*: a service drawn at random, every second one with many errors and hangs; five relatives and a new member
vary its durations by a factor of e, each as a whole, its modes, spreads and failures by a tenth to a fifth. Relatives
lend after 500 calls. *Wrong sources*: five services drawn independently; and three adversaries made from the service
itself: one that never fails and is never slow, one that fails at random half of the time, one whose errors and slowness
belong to the call. All are said to help with 90 %, as those of *recorded services* are: of each data set two thirds may
lend, the others are new, and twelve of those that may are drawn at random for each. "Best" is the best of a grid in
hindsight, on the very calls that are compared, which are few: nobody could reach it.

With and without relatives all meet the same dice. Expected utilities of simulated services are exact.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import traces
from benchmarks.ours import Ours
from benchmarks.rivals import calls_to_near
from benchmarks.table import Row, show
from poet.learning.borrowed import Lent
from poet.model.objective import Objective
from poet.sim.evaluate import oracle
from poet.sim.play import play
from poet.sim.scenarios import Scenario, random_service
from poet.sim.services import Mode, Service

Floats = NDArray[np.float64]

# The bars: what must hold for the benchmark to pass.
MOST_CALLS = 1 / 3  # of learning alone, until within 5 % of the oracle
MOST_LOST, MOST_LOST_WORST = 0.01, 0.03  # of utility, to wrong sources: on average, in the worst family
LEAST_CLOSED, LEAST_FUNCTIONS = 0.15, 0.8  # of the gap to the best; in so many of the functions

RELATIVES = 5
SERVICES = 12  # recorded ones that lend
KNOWN = 500  # calls of each relative
CALLS = 600  # of a new function that are looked at
WINDOW = 10  # calls over which "within 5 %" is averaged
FIRST = 100  # calls of recorded services that are compared
SETS = ("wsdream2", "llm_api_latency")
OPEN = 0.002  # gap to the best, per call, below which there is nothing to close


class Family(NamedTuple):
    """A new function and what others can lend it."""

    scenario: Scenario
    lent: Sequence[Lent]


def _scenario(name: str, service: Service, costs: tuple[float, float]) -> Scenario:
    """costs: of the typical latency, and of a request."""
    typical = sum(mode.share * mode.median for mode in service.latency)
    objective = Objective(latency_cost=costs[0] / typical, attempt_cost=costs[1])
    return Scenario(name, lambda _: service, objective, calls=CALLS)


def _costs(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(0.03, 0.15)), float(rng.uniform(0.01, 0.08))


def _service(rng: np.random.Generator) -> Service:
    return random_service(2 * int(rng.integers(1 << 20))).at(0)


def _varied(service: Service, rng: np.random.Generator) -> Service:
    """A relative."""

    def about(spread: float) -> float:
        return float(np.exp(rng.normal(0.0, spread)))

    level = about(1.0)
    modes = tuple(
        mode._replace(median=mode.median * level * about(0.1), sigma=mode.sigma * about(0.1))
        for mode in service.latency
    )
    return replace(
        service,
        latency=modes,
        hang=min(0.3, service.hang * about(0.2)),
        error=min(0.5, service.error * about(0.2)),
        error_latency=service.error_latency._replace(median=service.error_latency.median * level),
        permanent=min(0.3, service.permanent * about(0.2)),
    )


def _lent(name: str, service: Service, costs: tuple[float, float], seed: int, helps: float = 0.9) -> Lent:
    """What a service's function lends after ``KNOWN`` calls."""
    scenario = _scenario(name, service, costs)
    policy = Ours(scenario.objective, seed)
    play(scenario, policy, seed, KNOWN)
    lent = policy.learner.lent(name, helps)
    assert lent is not None
    return lent


def family(seed: int) -> Family:
    """One, planted."""
    rng = np.random.default_rng([seed, 0x7A])
    base, costs = _service(rng), _costs(rng)
    if seed % 2:
        base = replace(base, error=float(rng.uniform(0.1, 0.35)), hang=float(rng.uniform(0.01, 0.06)))
    lent = [_lent(f"relative {k}", _varied(base, rng), costs, 100 * seed + k) for k in range(RELATIVES)]
    return Family(_scenario(f"family {seed}", _varied(base, rng), costs), lent)


def _strangers(service: Service, costs: tuple[float, float], seed: int) -> list[Lent]:
    rng = np.random.default_rng([seed, 0x7B])
    return [_lent(f"stranger {k}", _service(rng), costs, 100 * seed + k) for k in range(RELATIVES)]


def _adversary(kind: str, service: Service, costs: tuple[float, float], seed: int) -> list[Lent]:
    """Its durations are those of the service itself, and what it says of the rest is wrong."""
    changed = {
        "never slow, never fails": replace(
            service,
            latency=(Mode(1.0, service.latency[0].median, 0.15),),
            hang=0.0,
            error=0.0,
            permanent=0.0,
            work=0.0,
            persistence=0.0,
        ),
        "half fails at random": replace(service, error=0.5, hang=0.15, permanent=0.0, persistence=0.0, work=0.0),
        "all lies in the call": replace(service, error=0.02, permanent=0.3, work=1.0),
    }[kind]
    return [_lent(kind, changed, costs, 100 * seed + 50)]


Sources = Callable[[Service, tuple[float, float], int], list[Lent]]
WRONG: dict[str, Sources] = {
    "strangers": _strangers,
    **{
        kind: partial(_adversary, kind)
        for kind in ("never slow, never fails", "half fails at random", "all lies in the call")
    },
}


def life(scenario: Scenario, lent: Sequence[Lent], seed: int) -> Floats:
    """Expected utility of each call of a new function."""
    policy = Ours(scenario.objective, seed)
    if lent:
        policy.learner.borrow(lent)
    return play(scenario, policy, seed, CALLS).expected


def _near(expected: Floats, best: float) -> float:
    """The first call from which ``WINDOW`` calls are worth 95 % of the oracle's on average; ``CALLS``: none."""
    means = np.convolve(expected, np.full(WINDOW, 1 / WINDOW), "valid")
    found = np.flatnonzero(means >= 0.95 * best)
    return float(found[0]) if len(found) else float(CALLS)


def _settled(expected: Floats, best: float) -> float:
    """The same, where it mostly stays so, as other benchmarks count it: what learning comes to in the end is in it."""
    return min(calls_to_near(expected, np.full(len(expected), best)), float(CALLS))


class Start(NamedTuple):
    """How one new function fared, alone and with relatives."""

    near: tuple[float, float]  # calls until within 5 % of the oracle
    settled: tuple[float, float]  # and to stay there
    missed: tuple[float, float]  # of the oracle's utility over the first 100 calls, per call


def started(seed: int, lives: int = 3) -> Start:
    """Of one family; mean over ``lives``."""
    planted = family(seed)
    best = oracle(planted.scenario, 0).utility
    alone, helped = (
        [life(planted.scenario, lent, 1000 * seed + k) for k in range(lives)] for lent in ((), planted.lent)
    )
    return Start(
        (_mean(_near(each, best) for each in alone), _mean(_near(each, best) for each in helped)),
        (_mean(_settled(each, best) for each in alone), _mean(_settled(each, best) for each in helped)),
        (_mean(best - each[:FIRST].mean() for each in alone), _mean(best - each[:FIRST].mean() for each in helped)),
    )


def _mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))


def of_families(seeds: int) -> Iterator[Row]:
    """How many calls relatives save."""
    starts = [started(seed) for seed in range(seeds)]
    for which in ("near", "settled"):
        pairs = np.array([getattr(start, which) for start in starts])
        open_ = pairs[pairs[:, 0] > 0]  # in the others the defaults are good enough from the first call on
        share = float(open_[:, 1].sum() / max(open_[:, 0].sum(), 1e-9))
        shown = f"{share:.2f}; {open_[:, 0].mean():.1f} -> {open_[:, 1].mean():.1f} on average, median "
        shown += f"{np.median(open_[:, 0]):.1f} -> {np.median(open_[:, 1]):.1f}; "
        shown += f"fewer in {np.mean(open_[:, 1] < open_[:, 0]):.0%}"
        if which == "near":
            what = (
                f"calls until within 5 % of the oracle, the {len(open_)} of {seeds} families in which learning alone "
            )
            what += "needs any: share of them with relatives"
            yield Row(what, f"<= {MOST_CALLS:.2f}", shown, share <= MOST_CALLS)
        else:
            yield Row(f"… until it mostly stays so, {len(open_)} families", "for comparison", shown)
    missed = np.array([start.missed for start in starts])
    shown = (
        f"{missed[:, 0].mean():.4f} -> {missed[:, 1].mean():.4f}; less in {np.mean(missed[:, 1] < missed[:, 0]):.0%}"
    )
    yield Row(f"… utility missed per call, first {FIRST} calls", "for comparison", shown)


def of_wrong_sources(seeds: int, lives: int = 3) -> Iterator[Row]:
    """What is lost to those that do not help."""
    lost: dict[str, list[float]] = {kind: [] for kind in WRONG}
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 0x7C])
        service, costs = _service(rng), _costs(rng)
        scenario = _scenario(f"new {seed}", service, costs)
        alone = np.stack([life(scenario, (), 1000 * seed + k)[:FIRST] for k in range(lives)])
        for kind, sources in WRONG.items():
            lent = sources(service, costs, seed)
            other = np.stack([life(scenario, lent, 1000 * seed + k)[:FIRST] for k in range(lives)])
            lost[kind].append(float(alone.mean() - other.mean()) / max(abs(float(alone.mean())), 0.1))
    for kind, shares in lost.items():
        mean, worst = float(np.mean(shares)), max(shares)
        shown = (
            f"{mean:+.2%} on average; {worst:+.2%} in the worst service; gains in {np.mean(np.array(shares) < 0):.0%}"
        )
        yield Row(f"lost to {kind}, of utility over the first {FIRST} calls, {seeds} services", "for comparison", shown)
    means = {kind: float(np.mean(shares)) for kind, shares in lost.items()}
    mean, worst_kind = float(np.mean(list(means.values()))), max(means, key=lambda kind: means[kind])
    holds = mean <= MOST_LOST and means[worst_kind] <= MOST_LOST_WORST
    bar = f"<= {MOST_LOST:.0%}; <= {MOST_LOST_WORST:.0%}"
    yield Row("lost to wrong sources: on average; worst kind", bar, f"{mean:+.2%}; {means[worst_kind]:+.2%}", holds)


# --- recorded ---------------------------------------------------------------------------------------------------------


def _of_record(trace: traces.Trace, seed: int) -> Lent | None:
    """What a recorded service's function lends."""
    policy = Ours(trace.objective(), seed)
    calls = traces.replay(trace)
    known = traces.Replay(calls.seconds[:KNOWN], calls.failed[:KNOWN], calls.at[:KNOWN])
    traces.lived(known, policy, trace.objective(), seed)
    return policy.learner.lent(trace.name, 0.9)


def _closed(trace: traces.Trace, known: Sequence[Lent], lives: int) -> float:
    """Share of the gap to the best that relatives close beyond learning alone; nan: there is none."""
    calls, objective = traces.replay(trace), trace.objective()
    first = traces.Replay(calls.seconds[:FIRST], calls.failed[:FIRST], calls.at[:FIRST])
    best = float(traces.worths(first, traces.Grid.of(trace.answers), objective).max())
    alone, helped = list[float](), list[float]()
    for seed in range(lives):
        dice = random.Random(f"{trace.name} {seed}")
        for lent, found in (((), alone), (dice.sample(list(known), min(SERVICES, len(known))), helped)):
            policy = Ours(objective, seed)
            policy.learner.borrow(lent)
            found.append(float(traces.lived(first, policy, objective, seed).mean()))
    gap = best - float(np.mean(alone))
    return float(np.mean(helped) - np.mean(alone)) / gap if gap > OPEN else math.nan


def of_records(services: int, lives: int = 2) -> Iterator[Row]:
    """Known services, and unseen ones."""
    place = traces.folder()
    if place is None:
        yield Row("recorded services", "for comparison", "not here: name their folder in POET_TRACES")
        return
    for name in SETS:
        if not (place / name).is_dir():
            continue
        pool = list(traces.load(name, place))
        random.Random(name).shuffle(pool)
        parted = len(pool) * 2 // 3
        lending = pool[:parted][: 2 * services]
        known = [lent for k, trace in enumerate(lending) if (lent := _of_record(trace, k)) is not None]
        new = pool[parted:][:services]
        closed = np.array([_closed(trace, known, lives) for trace in new])
        closed = closed[~np.isnan(closed)]
        share = float(np.mean(closed >= LEAST_CLOSED))
        shown = f"{share:.0%} of {len(closed)}; median {np.median(closed):.0%}, a tenth below "
        shown += f"{np.quantile(closed, 0.1):.0%}; worse than alone in {np.mean(closed < 0):.0%}"
        what = f"{name}: functions in which >= {LEAST_CLOSED:.0%} of the gap to the best is closed, first {FIRST} calls"
        yield Row(what, f">= {LEAST_FUNCTIONS:.0%}", shown, share >= LEAST_FUNCTIONS)


def run(seeds: int = 20, services: int = 30, lives: int = 2) -> Iterator[Row]:
    """Measure everything; the figures against their bars."""
    yield from of_families(seeds)
    yield from of_wrong_sources(seeds)
    yield from of_records(services, lives)


if __name__ == "__main__":
    sys.exit(not show("What relatives are worth", run(*(int(argument) for argument in sys.argv[1:]))))
