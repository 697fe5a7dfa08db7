"""How do other tuners fare where ours learns? The twelve scenarios and random services, the same dice for all.

    python -m benchmarks.rivals [seeds] [random services]

Expected utilities are exact (``poet.sim.evaluate``), of what was used, probes and trials included: chance enters by
what a policy saw, not by how it is scored. The peers are those of ``benchmarks.tuners``. Optuna comes with the
benchmarks' own lock (``make bench`` installs it); where it is missing its row says so.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.ours import Ours
from benchmarks.table import Row, show
from benchmarks.tuners import AncestorBasic, AncestorStatistical, HedgingRule, Oppertune, Thompson, Tpe
from poet.model.execution import Execution
from poet.model.objective import Objective
from poet.sim.evaluate import expected_utility, oracle_series
from poet.sim.play import Fixed, PercentileRule, Policy, Record, play, regret, share
from poet.sim.scenarios import SCENARIOS, Scenario, random_service

Floats = NDArray[np.float64]

OURS = "POET"
ELEVEN = tuple(name for name in SCENARIOS if name != "overload")
FIRST_RANDOM = 400  # seed of the first random service; nothing was tuned on any
MARKS = (50, 200, 1000, 5000)  # calls at which regret is summed
JUDGED = 300  # changes of one life that are judged, at most: some change with every call

RIVALS: Mapping[str, Callable[[Objective, int], Policy]] = {
    OURS: lambda objective, seed: Ours(objective, seed),
    "fixed": lambda objective, seed: Fixed(),
    "ancestor, basic": lambda objective, seed: AncestorBasic(),
    "ancestor, statistical": lambda objective, seed: AncestorStatistical(),
    "1.5 p99": lambda objective, seed: PercentileRule(),
    "1.5 p99 + hedge at p95": lambda objective, seed: HedgingRule(0.99, 1.5, 200, timeouts=False),
    "Restate + hedge at p95": lambda objective, seed: HedgingRule(0.9999, 2.0, 1000, timeouts=True),
    "Thompson grid": lambda objective, seed: Thompson(objective, seed),
    "OPPerTune, 2": lambda objective, seed: Oppertune(objective, seed, four=False),
    "OPPerTune, 4": lambda objective, seed: Oppertune(objective, seed, four=True),
    "Optuna TPE": lambda objective, seed: Tpe(objective, seed),
}


class Clocked:
    """A policy, and the CPU time that it takes."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self.cpu = policy, 0.0

    def parameters(self, t: int) -> Mapping[str, object]:
        started = time.thread_time()
        found = self._policy.parameters(t)
        self.cpu += time.thread_time() - started
        return found

    def observe(self, execution: Execution) -> None:
        started = time.thread_time()
        self._policy.observe(execution)
        self.cpu += time.thread_time() - started


class Life(NamedTuple):
    """One policy's life in one scenario."""

    scenario: str
    rival: str
    seed: int
    share: float  # of the oracle's utility; nan where that is not above 0
    mean: float  # expected utility per call [1]
    regrets: tuple[float, ...]  # at the marks, as far as they were reached
    missed: float  # regret in all
    near: float  # calls until within 5 % of the oracle; infinite: never
    changes: int
    improving: float  # share of them; nan: there were none
    cpu: float  # per call [s]


def life(scenario: Scenario, rival: str, seed: int, oracle: Floats, calls: int | None = None) -> Life:
    """Let ``rival`` live through ``scenario``."""
    policy = Clocked(RIVALS[rival](scenario.objective, seed))
    record = play(scenario, policy, seed, calls)
    n = len(record.expected)
    missed = regret(record, oracle)
    moves, better = improving(scenario, record)
    at_marks = tuple(float(missed[mark - 1]) for mark in MARKS if mark <= n)
    part = share(record, oracle) if oracle[:n].mean() > 0 else math.nan
    mean, near = float(record.expected.mean()), calls_to_near(record.expected, oracle[:n])
    return Life(
        scenario.name, rival, seed, part, mean, at_marks, float(missed[-1]), near, moves, better, policy.cpu / n
    )


def calls_to_near(
    expected: Floats, oracle: Floats, *, window: int = 100, after: int = 1000, short: float = 0.05
) -> float:
    """The first call from which the mean of ``window`` calls is within ``short`` of the oracle's, and mostly stays so.

    Mostly: in at least 90 % of the following ``after`` windows, or of those that are left, at least ``window``.
    Infinite: never.
    """
    kernel = np.full(window, 1.0 / window)
    got, best = np.convolve(expected, kernel, "valid"), np.convolve(oracle, kernel, "valid")
    near = got >= best - short * np.abs(best)
    total = np.concatenate([[0], np.cumsum(near)])
    for n in np.flatnonzero(near).tolist():
        last = min(n + 1 + after, len(near))
        if last - n - 1 >= window and total[last] - total[n + 1] >= 0.9 * (last - n - 1):
            return float(n)
    return math.inf


def improving(scenario: Scenario, record: Record) -> tuple[int, float]:
    """How many changes there were, and the share of them that improve, judged on up to ``JUDGED`` of them."""
    moves = np.flatnonzero(np.diff(record.version)) + 1
    if not len(moves):
        return 0, math.nan
    judged = moves[np.linspace(0, len(moves) - 1, min(JUDGED, len(moves))).astype(int)].tolist()
    better = 0
    for t in judged:
        new, old = (expected_utility(scenario, t, record.plan(i), float(record.load[t])) for i in (t, t - 1))
        better += new > old
    return len(moves), better / len(judged)


def there(rival: str) -> bool:
    """Whether what it needs is installed."""
    return rival != "Optuna TPE" or find_spec("optuna") is not None


def lives(name: str, seed: int, rivals: Sequence[str]) -> list[Life]:
    """All through one scenario; ``random_7`` is the seventh random service."""
    scenario = SCENARIOS[name] if name in SCENARIOS else random_service(int(name.removeprefix("random_")))
    oracle = oracle_series(scenario)
    return [life(scenario, rival, seed, oracle) for rival in rivals]


def measured(
    seeds: int,
    names: Iterable[str] = tuple(SCENARIOS),
    rivals: Sequence[str] = tuple(RIVALS),
    *,
    processes: int = 2,
) -> list[Life]:
    """Everything, in parallel."""
    found = [rival for rival in rivals if there(rival)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(lives, name, seed, found) for name in names for seed in range(seeds)]
        return [each for job in jobs for each in job.result()]


# --- telling ----------------------------------------------------------------------------------------------------------


def of(lives: Iterable[Life], rival: str, names: Iterable[str]) -> list[Life]:
    """The lives of one in these scenarios."""
    kept = set(names)
    return [each for each in lives if each.rival == rival and each.scenario in kept]


def summed(lives: Sequence[Life], rival: str, names: Iterable[str] = ELEVEN) -> tuple[float, ...]:
    """Regret at the marks, summed over scenarios, mean over seeds."""
    own = of(lives, rival, names)
    seeds = len({each.seed for each in own})
    return tuple(float(sum(column)) / seeds for column in zip(*(each.regrets for each in own), strict=True))


def spread(lives: Sequence[Life], rival: str) -> tuple[float, float]:
    """Half the 90 % interval of the last sum of regret, by seeds' standard error; with its mean."""
    seeds = sorted({each.seed for each in lives})
    sums = [summed([each for each in lives if each.seed == seed], rival)[-1] for seed in seeds]
    half = 1.645 * float(np.std(sums, ddof=1)) / math.sqrt(len(sums)) if len(sums) > 1 else math.nan
    return float(np.mean(sums)), half


def scenarios_table(lives: Sequence[Life], rivals: Sequence[str]) -> Iterator[str]:
    """Shares of the oracle by scenario, as a Markdown table."""
    yield "| share of the oracle, 5000 calls | " + " | ".join(rivals) + " |"
    yield "|---" * (len(rivals) + 1) + "|"
    for name in SCENARIOS:
        cells = (float(np.mean([each.share for each in of(lives, rival, [name])])) for rival in rivals)
        yield f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"


def quantiles(values: Iterable[float], *parts: float) -> str:
    """Quantiles of numbers that may be infinite."""
    ordered = sorted(values)
    found = (ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)] for part in parts)
    return " / ".join("never" if math.isinf(value) else f"{value:.0f}" for value in found)


def rows(lives: Sequence[Life]) -> Iterator[Row]:
    """One row for each, then whether ours is ahead of all."""
    rivals = [rival for rival in RIVALS if of(lives, rival, SCENARIOS)]
    for rival in RIVALS:
        if rival not in rivals:
            yield Row(rival, "for comparison", "not installed: `make bench` does it")
            continue
        all_, eleven = of(lives, rival, SCENARIOS), of(lives, rival, ELEVEN)
        by_scenario = {n: float(np.mean([each.share for each in of(all_, rival, [n])])) for n in SCENARIOS}
        worst = min(ELEVEN, key=lambda name: by_scenario[name])
        moved = [each for each in eleven if each.changes]
        total = sum(each.changes for each in moved)
        good = f", {sum(each.improving * each.changes for each in moved) / total:.0%} improve" if moved else ""
        sums, (_, half) = "/".join(f"{value:.0f}" for value in summed(lives, rival)), spread(lives, rival)
        mean = float(np.mean([by_scenario[name] for name in ELEVEN]))
        shown = (
            f"mean of eleven {mean:.3f}, worst {by_scenario[worst]:.3f} ({worst}); "
            f"overload {by_scenario['overload']:.2f}; regret {sums}{'' if math.isnan(half) else f' ± {half:.0f}'}; "
            f"calls to 5 % {quantiles((each.near for each in all_), 0.5, 0.9)}; "
            f"changes {np.mean([each.changes for each in eleven]):.0f}{good}; "
            f"{1e6 * np.mean([each.cpu for each in eleven]):.0f} µs per call"
        )
        yield Row(rival, "for comparison", shown)
    if OURS in rivals and len(rivals) > 1:
        yield from _ahead(lives, [rival for rival in rivals if rival != OURS])


def _ahead(lives: Sequence[Life], others: Sequence[str]) -> Iterator[Row]:
    own = summed(lives, OURS)
    for mark, figure, column in zip(
        MARKS, own, zip(*(summed(lives, other) for other in others), strict=True), strict=True
    ):
        best = min(column)
        what = f"regret of the eleven at {mark} calls, beside the best peer"
        yield Row(what, "below it", f"{figure:.0f}; {others[column.index(best)]} {best:.0f}", figure < best)
    ours, *theirs = (
        float(np.mean([each.share for each in of(lives, rival, ["overload"])])) for rival in (OURS, *others)
    )
    best = max(theirs)
    yield Row(
        "share of the oracle in overload, beside the best peer",
        "above it",
        f"{ours:.2f}; {others[theirs.index(best)]} {best:.2f}",
        ours > best,
    )


def random_rows(lives: Sequence[Life]) -> Iterator[Row]:
    """How each fares in random services, beside the values that all start from."""
    names = sorted({each.scenario for each in lives})
    kept = {name: of(lives, "fixed", [name])[0] for name in names}
    for rival in RIVALS:
        own = of(lives, rival, names)
        if not own or rival == "fixed":
            continue
        parts = [each.missed / kept[each.scenario].missed for each in own]
        worse = sum(each.mean < kept[each.scenario].mean - 0.01 for each in own)
        shown = (
            f"{np.median(parts):.3f}; sum {sum(each.missed for each in own):.0f} of "
            f"{sum(each.missed for each in kept.values()):.0f}; worse than fixed by over 0.01 a call in {worse}"
        )
        yield Row(
            f"{rival}: regret in {len(own)} random services, 2000 calls, over fixed, median", "for comparison", shown
        )


def run(seeds: int = 1, services: int = 2) -> list[Row]:
    """Measure everything; rows for each peer. services: random ones."""
    names = [f"random_{FIRST_RANDOM + number}" for number in range(services)]
    found = measured(seeds)
    return [*rows(found), *random_rows(measured(1, names))]


def main(arguments: list[str]) -> int:
    """Measure, tell all, and fail where a peer is ahead."""
    seeds, services = (int(x) for x in (*arguments[:2], *("1", "2")[len(arguments[:2]) :]))
    found = measured(seeds)
    print("\n".join(scenarios_table(found, [rival for rival in RIVALS if of(found, rival, SCENARIOS)])))
    names = [f"random_{FIRST_RANDOM + number}" for number in range(services)]
    return 0 if show("Beside other tuners", [*rows(found), *random_rows(measured(1, names))]) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
