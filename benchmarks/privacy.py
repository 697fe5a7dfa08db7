"""What leaves a tenant: what an attacker learns of one execution, and what is left for those who receive it.

    python -m benchmarks.privacy [trials of an attack] [draws of a utility]

Membership inference: an execution is among those counted, or not, by a fair coin; the attacker sees what left and says
which. AUC: how often an execution that is in scores above one that is not. Epsilon is that of a month, which by default
eight releases share.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.table import Row, show
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.flag import Rule
from poet.model.function import FunctionKey
from poet.seams import FunctionRecord
from poet.sharing import releases
from poet.sharing.privacy import Gate, Party, Policy, Released
from poet.sharing.statistics import (
    GRAIN,
    STEP,
    Calls,
    Cell,
    Space,
    Statistics,
    Tunables,
    coarse,
    failure_rate,
    quantile,
)
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock

BAR = 0.55
OTHERS = 1000  # executions beside the one that is looked for
EPSILONS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
COUNTS = (20, 100, 1000, 10_000)
MEDIAN, SPREAD, FAILING = 0.12, 0.8, 0.05  # of the service whose executions are told [s, 1, 1]
P95 = MEDIAN * math.exp(1.6448536 * SPREAD)
SOURCE = FunctionKey("shop.net", "fetch", "00000001")
TARGET = Party(FunctionKey("acme.net", "get", "00000002"), "acme")
CHOICES = {"model": ("small", "large")}
NEVER = Space({}, {})
IN = 5.0  # the execution that is looked for took so long, unlike nearly all others: the easiest to find [s]


def run(trials: int = 20_000, draws: int = 200) -> Iterator[Row]:
    yield from attacked(trials)
    yield from useful(draws)
    yield cost()


@functools.cache
def filled() -> MemoryStore:
    """A store that has counted as many executions as are ever told here."""
    store = MemoryStore()
    store.register(FunctionRecord(SOURCE, None, "adaptive", {}, {}, 0, 0, 0.0, 0.0, choices=CHOICES))
    attempts = (Attempt(Outcome.SUCCESS, MEDIAN),)
    made = [Execution("w", k, float(k), MEDIAN, Outcome.SUCCESS, 1, attempts) for k in range(max(COUNTS))]
    store.append(SOURCE, made)
    return store


def door(dice: random.Random, **policy: Any) -> Gate:
    """A gate at the start of a month."""
    store = filled()
    for kind in (releases.LEDGER, releases.RECORD):
        store.discard(store.documents(kind))
    return Gate(store, Policy(rules=(Rule("allow"),), **policy), clock=VirtualClock(), dice=dice)


def left(gate: Gate, state: Statistics) -> Statistics | None:
    told = gate.release(SOURCE, TARGET, state)
    return told.statistics if isinstance(told, Released) else None


def executions(n: int, dice: random.Random) -> tuple[list[float], int]:
    """Durations of those that answered [s], and how many failed."""
    failed = sum(dice.random() < FAILING for _ in range(n))
    return [MEDIAN * math.exp(dice.gauss(0, SPREAD)) for _ in range(n - failed)], failed


def counted(durations: Sequence[float], failed: int) -> Calls:
    return Calls(tuple((seconds, 1) for seconds in durations), {"error": failed}, 3)


# --- attacks ---------------------------------------------------------------------------------------------------------


def auc(inside: Sequence[float], outside: Sequence[float]) -> tuple[float, float, float]:
    """With its 95 % interval: placements of each score among those of the other world (DeLong et al. 1988)."""
    a, b = np.sort(np.asarray(inside, float)), np.sort(np.asarray(outside, float))

    def placed(x: Any, among: Any) -> Any:
        return (np.searchsorted(among, x, "left") + np.searchsorted(among, x, "right")) / (2 * len(among))

    up, down = placed(a, b), 1 - placed(b, a)
    value = float(up.mean())
    half = 1.96 * math.sqrt(float(up.var(ddof=1)) / len(a) + float(down.var(ddof=1)) / len(b))
    return value, value - half, value + half


def strong(scale: float, before: int) -> Callable[[float], float]:
    """The log likelihood ratio of a noisy count, for who knows that it is ``before``, or one more."""
    return lambda seen: (abs(seen - before) - abs(seen - before - 1)) / scale


def attack(trials: int, seed: int, score: Callable[[random.Random, bool], float]) -> tuple[float, float, float]:
    dice = random.Random(seed)
    return auc([score(dice, True) for _ in range(trials)], [score(dice, False) for _ in range(trials)])


def attacked(trials: int) -> Iterator[Row]:
    durations, failed = executions(OTHERS, random.Random(0))
    binned = coarse(Calls(tuple((seconds, STEP) for seconds in durations), {}, 3), 20, NEVER)
    assert isinstance(binned, Calls)
    others = Calls(tuple((seconds, count // STEP) for seconds, count in binned.durations), {"error": failed}, 3)
    more = others._replace(durations=(*others.durations, (IN, 1)))
    probe = coarse(Calls(((IN, 100),), {}, 3), 20, NEVER)
    assert isinstance(probe, Calls)
    place = probe.durations[0][0]
    before = dict(others.durations).get(place, 0)

    def seen(told: Statistics | None) -> int:
        assert isinstance(told, Calls)
        return dict(told.durations).get(place, 0)

    def noisy(times: int, **policy: Any) -> Callable[[random.Random, bool], float]:
        ratio = strong(1 / float(Policy(**policy).cost), before)

        def score(dice: random.Random, is_in: bool) -> float:
            gate = door(dice, **policy)
            return sum(ratio(seen(left(gate, more if is_in else others))) for _ in range(times))

        return score

    one = attack(trials, 1, noisy(1, epsilon=1.0))
    bound = _bound(1 / 8)
    yield Row(
        f"durations, ε = 1 a month, one of 8 releases: attacker knows all {OTHERS} others; AUC (bound {bound:.3f})",
        f"≤ {BAR}, with its interval",
        _shown(one),
        one[2] <= BAR,
    )
    both = attack(trials, 2, _tunables_attack())
    yield Row(
        "a tunable's cells, ε = 1 a month, one of 8 releases: the same attacker; AUC",
        f"≤ {BAR}, with its interval",
        _shown(both),
        both[2] <= BAR,
    )
    few = max(200, trials // 4)
    yield Row(
        "durations: all 8 releases of the month, put together; the same attacker",
        "",
        _shown(attack(few, 3, noisy(8, epsilon=1.0))),
    )
    whole = attack(trials, 4, noisy(1, epsilon=1.0, releases=1))
    holds = whole[1] <= _bound(1.0)
    yield Row(
        "durations: all of ε = 1 in one release; the same attacker",
        f"≤ e / (1 + e) = {_bound(1.0):.3f}",
        _shown(whole),
        holds,
    )
    yield Row(
        f"durations: all of ε = 1 in one release; attacker knows the law of the {OTHERS} others, not their counts",
        f"≤ {BAR}, with its interval",
        _shown(law := attack(few, 5, _by_law(place))),
        law[2] <= BAR,
    )
    stepped = attack(trials, 6, _coarse_attack(place))
    yield Row(f"durations without noise, counts in steps of {STEP}: attacker knows all others", "", _shown(stepped))
    exact = auc([float(before + 1)] * few, [float(before)] * few)
    yield Row(
        "durations without noise, exact counts, which never leave the tenant: the same attacker", "", _shown(exact)
    )


def _bound(epsilon: float) -> float:
    """No attacker has a higher AUC: the region of Kairouz, Oh & Viswanath 2015, whose corner is 1 / (1 + e^epsilon)."""
    return math.exp(epsilon) / (1 + math.exp(epsilon))


def _shown(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]"


def _by_law(place: float) -> Callable[[random.Random, bool], float]:
    """The execution took as long as most: its bin's count alone, which the likelihood ratio rises with."""

    def score(dice: random.Random, is_in: bool) -> float:
        durations, failed = executions(OTHERS, dice)
        told = left(
            door(dice, epsilon=1.0, releases=1),
            counted([*durations, MEDIAN] if is_in else durations, failed),
        )
        assert isinstance(told, Calls)
        return min(told.durations, key=lambda pair: abs(math.log(pair[0] / MEDIAN)))[1]

    return score


def _coarse_attack(place: float) -> Callable[[random.Random, bool], float]:
    """Likelihoods are 0 or 1: in, out, or no telling, by what either world would have told."""

    def score(dice: random.Random, is_in: bool) -> float:
        count = dice.randrange(40, 60)
        told, with_it, without = (
            coarse(Calls(((IN, n), (0.01, 50)), {}, 3), 20, NEVER) for n in (count + is_in, count + 1, count)
        )
        return float(told == with_it) - float(told == without)

    return score


def _tunables_attack() -> Callable[[random.Random, bool], float]:
    """Of n, the sum of scores and that of squares, as far as what left tells them; the score looked for is the highest.

    What left is rounded and clipped after noise: that can only help to hide.
    """
    n, mean, variance = OTHERS // 2, 0.6, 0.05
    larger = n + 1
    moved = mean + (1 - mean) / larger
    spread = (n * (variance + mean**2) + 1) / larger - moved**2
    states = [
        Tunables({"model": (Cell("small", count, m, v), Cell("large", n, mean, variance))}, 0.0, 1.0, 3)
        for count, m, v in ((n, mean, variance), (larger, moved, spread))
    ]
    scale = 3 / float(Policy(epsilon=1.0).cost)

    def sums(count: float, m: float, v: float) -> tuple[float, float, float]:
        scaled = 2 * m - 1
        return count, count * scaled * GRAIN, count * (4 * v + scaled**2) * GRAIN

    out, into = (sums(*state.cells["model"][0][1:]) for state in states)
    scales = (scale, scale * (GRAIN + 1), scale * (GRAIN + 1))

    def score(dice: random.Random, is_in: bool) -> float:
        told = left(door(dice, epsilon=1.0), states[is_in])
        assert isinstance(told, Tunables)
        cell = next((cell for cell in told.cells["model"] if cell.value == "small"), None)
        if cell is None:
            return 0.0
        found = sums(*cell[1:])
        return sum((abs(x - a) - abs(x - b)) / s for x, a, b, s in zip(found, out, into, scales, strict=True))

    return score


# --- what is left ----------------------------------------------------------------------------------------------------


def useful(draws: int) -> Iterator[Row]:
    yield Row("what is off, half of the time by less, when n calls are told: p50, p95, failure rate", "", "released")
    for epsilon in (None, *EPSILONS):
        parts = []
        for n in COUNTS:
            dice = random.Random(f"{n} {epsilon}")
            repeats = draws if n < 10_000 else max(20, draws // 10)
            middle, tail, rate, gone = [], [], [], 0
            for _ in range(repeats):
                state = counted(*executions(n, dice))
                told = left(door(dice, epsilon=epsilon), state)
                try:
                    assert told is None or isinstance(told, Calls)
                    found = None if told is None else (quantile(told, 0.5), quantile(told, 0.95), failure_rate(told))
                except ValueError:  # noise left nothing that answered
                    found = None
                if found is None:
                    gone += 1
                    continue
                middle.append(abs(found[0] / MEDIAN - 1))
                tail.append(abs(found[1] / P95 - 1))
                rate.append(abs(found[2] - FAILING))
            if gone < 0.9 * repeats:
                off = f"{_percent(middle)}, {_percent(tail)}, {100 * statistics.median(rate):.1f} points"
                parts.append(f"n = {n}: {off}" + (f" ({gone / repeats:.0%} refused)" if gone else ""))
            else:
                parts.append(f"n = {n}: {gone / repeats:.0%} refused")
        each = "" if epsilon is None else f" ({epsilon / 8:.3g} a release)"
        yield Row("no noise" if epsilon is None else f"ε = {epsilon:g} a month{each}", "", "; ".join(parts))


def _percent(errors: list[float]) -> str:
    return f"{statistics.median(errors):.0%}"


def cost() -> Row:
    dice = random.Random(9)
    gate, state = door(dice, epsilon=1.0, releases=50), counted(*executions(OTHERS, dice))
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        gate.release(SOURCE, TARGET, state)
        took.append(1e3 * (time.perf_counter() - begun))
    return Row(
        "one release of 1000 durations with noise, checked and recorded in memory",
        "",
        f"{statistics.median(took):.1f} ms",
    )


if __name__ == "__main__":
    sys.exit(0 if show("What leaves a tenant", run(*map(int, sys.argv[1:]))) else 1)
