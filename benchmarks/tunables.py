"""How soon do tuners find good values of declared tunables, and what does the search cost?

    POET_TRACES=folder python -m benchmarks.tunables [seeds] [--study]

Fifteen problems (``tunable_problems``), each tuner one evaluation at a time: suggest, one noisy score, update. Regret
is exact: the best expected score at that moment, in that context, less the expected score of what was tried. Figures
are means over problems and seeds, in brackets 90 % intervals by bootstrap over the seeds.

*Mean regret* is that per evaluation over the first 20, 50, 100 and 300: what users would have felt. *Simple regret* is
that of the recommendation after 50, 100 and 300. *Worse*: the share of evaluations whose expected score was below the
default's by over 0.05. Milliseconds are CPU time of one suggestion and one update, over the last 50 evaluations.

Tables need the data sets, which are not part of the project: see ``benchmarks.traces``. All tuners are treated alike:
what they suggest is snapped to the nearest row, and none is shown the rows.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from benchmarks.table import Row, show
from benchmarks.tunable_peers import OURS, PEERS, lacks, rival, serves
from benchmarks.tunable_problems import (
    CONTEXTUAL,
    DRIFTING,
    FRESH,
    FRESH_COINS,
    SYNTHETIC,
    TABLES,
    files,
    folder,
    problem,
    systems,
)

EVALUATIONS = 300
MARKS = (20, 50, 100, 300)
RECOMMENDED = (50, 100, 300)
HARM = 0.05  # below the default
LAST = 50  # evaluations over which the time is taken

GAUSSIAN, CHOSEN, TPE = "POET Gaussian process", "POET chosen", "Optuna TPE"
ZERO_ONE = "bern_mixed"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "synthetic": tuple(SYNTHETIC),
    "tables": tuple(f"cfg_{name}" for name in TABLES),
    "0/1 score": (ZERO_ONE,),
    "contextual": tuple(CONTEXTUAL),
    "drifting": tuple(DRIFTING),
    "fresh": tuple(FRESH),
    "0/1 score, fresh": tuple(FRESH_COINS),
}
# Most mean regret at 50, 100 and 300; nan: no bar.
BARS: Mapping[str, tuple[float, float, float]] = {
    "synthetic": (0.22, 0.18, 0.12),
    "tables": (0.15, 0.10, 0.06),
    "0/1 score": (math.nan, math.nan, 0.10),
    "contextual": (math.nan, math.nan, 0.09),
    "drifting": (math.nan, math.nan, 0.11),
}
MOST_WORSE, MOST_MS, LEAST_AHEAD = 0.08, 10.0, 0.8
DUEL = 100  # evaluations of the duels on all tables
FILES = 8  # of the pairs of file and machine in a short run


class Life(NamedTuple):
    """One tuner's life with one problem."""

    problem: str
    tuner: str
    seed: int
    regret: tuple[float, ...]  # mean per evaluation, at the marks that were reached
    simple: tuple[float, ...]  # of the recommendation
    worse: float  # share of evaluations
    ms: float  # CPU time of a suggestion and an update [ms]


def life(name: str, tuner: str, seed: int, evaluations: int = EVALUATIONS) -> Life:
    """Let one live through it."""
    task = problem(name, seed)
    own = rival(tuner, task, seed)
    lost, simple, worse, cpu = [], [], 0, []
    for t in range(evaluations):
        context = task.context(t)
        begun = time.thread_time()
        values = own.suggest(context)
        taken = time.thread_time() - begun
        expected, best = task.truth(values, t, context), task.best(t, context)
        lost.append(best - expected)
        worse += expected < task.truth(task.start, t, context) - HARM
        score = task.draw(values, t, context)
        begun = time.thread_time()
        own.tell(values, score, context)
        cpu.append(taken + time.thread_time() - begun)
        if t + 1 in RECOMMENDED:
            simple.append(best - task.truth(own.recommend(context), t, context))
    means = tuple(float(np.mean(lost[:mark])) for mark in MARKS if mark <= evaluations)
    return Life(name, tuner, seed, means, tuple(simple), worse / evaluations, 1e3 * float(np.mean(cpu[-LAST:])))


def measured(jobs: Iterable[tuple[str, str, int, int]], processes: int = 2) -> list[Life]:
    """Everything, in parallel; one core each."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return [each.result() for each in [pool.submit(life, *job) for job in jobs]]


# --- telling ----------------------------------------------------------------------------------------------------------


class Figures(NamedTuple):
    """Of one tuner in one group: means over problems and seeds."""

    regret: tuple[float, ...]
    low: tuple[float, ...]  # ends of the 90 % intervals
    high: tuple[float, ...]
    simple: tuple[float, ...]
    worse: float
    ms: float


def figures(found: Sequence[Life], tuner: str, names: Sequence[str]) -> Figures | None:
    """Means, and intervals by bootstrap over seeds; None: it did not take part."""
    mine = [each for each in found if each.tuner == tuner and each.problem in names]
    if not mine:
        return None
    seeds = sorted({each.seed for each in mine})
    by_seed = np.array([np.mean([each.regret for each in mine if each.seed == seed], axis=0) for seed in seeds])
    drawn = by_seed[np.random.default_rng(0).integers(0, len(seeds), (2000, len(seeds)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
    return Figures(
        *(tuple(map(float, row)) for row in (by_seed.mean(axis=0), low, high)),
        tuple(map(float, np.mean([each.simple for each in mine], axis=0))),
        float(np.mean([each.worse for each in mine])),
        float(np.mean([each.ms for each in mine])),
    )


def told(own: Figures) -> str:
    """In one line."""
    regrets = " / ".join(f"{value:.3f}" for value in own.regret)
    simple = " / ".join(f"{value:.3f}" for value in own.simple)
    interval = f"[{own.low[-1]:.3f}, {own.high[-1]:.3f}]"
    return f"{regrets} {interval}; simple {simple}; worse {own.worse:.1%}; {own.ms:.2f} ms"


def rows(found: Sequence[Life]) -> Iterator[Row]:
    """Each tuner in each group; bars for ours."""
    played = list(dict.fromkeys(each.tuner for each in found))
    for group, names in GROUPS.items():
        here = [name for name in names if any(each.problem == name for each in found)]
        if not here:
            yield Row(group, "", "its data is not here: name its folder in POET_TRACES")
            continue
        for tuner in (*OURS, *PEERS):
            own = figures(found, tuner, here)
            if own is None:
                yield Row(f"{group}: {tuner}", "for comparison", lacks(tuner) or "does not serve such spaces")
                continue
            yield Row(f"{group}: {tuner}", "for comparison", told(own))
        bars = BARS.get(group)
        if bars is not None:
            best = _ours(found, played, here)
            yield from _held(group, bars, best, figures(found, best, here))
    yield from _harm(found, played)


def _ours(found: Sequence[Life], played: Sequence[str], names: Sequence[str]) -> str:
    """What a user gets: the chosen tuner where there is one, else the Gaussian process."""
    return CHOSEN if CHOSEN in played and figures(found, CHOSEN, names) else GAUSSIAN


def _held(group: str, bars: Sequence[float], tuner: str, own: Figures | None) -> Iterator[Row]:
    assert own is not None
    for mark, bar, value, low, high in zip(MARKS[1:], bars, own.regret[1:], own.low[1:], own.high[1:], strict=True):
        if not math.isnan(bar):
            what = f"{group}: mean regret of {tuner} over the first {mark}"
            yield Row(what, f"<= {bar:.2f}", f"{value:.3f} [{low:.3f}, {high:.3f}]", value <= bar)


def _harm(found: Sequence[Life], played: Sequence[str]) -> Iterator[Row]:
    names = [name for group in ("synthetic", "tables") for name in GROUPS[group]]
    tuner = _ours(found, played, names)
    for group in ("synthetic", "tables"):
        own = figures(found, tuner, [name for name in GROUPS[group] if any(each.problem == name for each in found)])
        if own is not None:
            what = f"{group}: evaluations of {tuner} worse than the default by > {HARM}"
            yield Row(what, f"<= {MOST_WORSE:.0%}", f"{own.worse:.1%}", own.worse <= MOST_WORSE)
    slow = max(each.ms for each in found if each.tuner == GAUSSIAN)
    own = [each.ms for each in found if each.tuner == GAUSSIAN]
    yield Row(
        f"CPU time of a suggestion and an update at {EVALUATIONS} evaluations, {GAUSSIAN}",
        f"<= {MOST_MS:.0f} ms",
        f"{np.mean(own):.1f} ms, worst problem {slow:.1f} ms",
        float(np.mean(own)) <= MOST_MS,
    )


def duels(found: Sequence[Life]) -> Iterator[Row]:
    """On how many tables ours loses less than TPE, by the mean over seeds."""
    tuner = CHOSEN if any(each.tuner == CHOSEN for each in found) else GAUSSIAN
    if not any(each.tuner == TPE for each in found):
        yield Row("all tables, beside TPE", "for comparison", lacks(TPE))
        return
    for kind, here in (("config_single", True), ("compression", False)):
        names = sorted({each.problem for each in found if each.problem.startswith("cfg_") is here})
        if not names:
            continue
        for k, mark in enumerate(mark for mark in MARKS if mark <= DUEL):
            own, theirs = (
                {n: np.mean([e.regret[k] for e in found if e.problem == n and e.tuner == who]) for n in names}
                for who in (tuner, TPE)
            )
            ahead = sum(own[name] < theirs[name] for name in names)
            mean = f"{np.mean(list(own.values())):.3f} beside {np.mean(list(theirs.values())):.3f}"
            lost = ", ".join(name for name in names if own[name] >= theirs[name])
            last = mark == DUEL
            yield Row(
                f"{len(names)} tables of {kind}: {tuner} ahead of TPE over the first {mark}",
                f">= {LEAST_AHEAD:.0%}" if last else "for comparison",
                f"{ahead / len(names):.0%}; mean regret {mean}" + (f"; behind in {lost}" if lost and last else ""),
                ahead >= LEAST_AHEAD * len(names) if last else None,
            )


def run(seeds: int = 4, *, study: bool = False) -> list[Row]:
    """Measure everything. study: all pairs of file and machine, not a few."""
    place = folder()
    tuners = [name for name in (*OURS, *PEERS) if not lacks(name)]
    names = [name for group, all_ in GROUPS.items() if group != "tables" or place is not None for name in all_]
    pairs = [(name, tuner) for name in dict.fromkeys(names) for tuner in tuners if serves(tuner, name)]
    found = list(rows(measured((name, tuner, seed, EVALUATIONS) for name, tuner in pairs for seed in range(seeds))))
    if place is None:
        return found
    shipped = files(place)
    shipped = shipped if study else shipped[:: max(1, len(shipped) // FILES)]
    tables = [f"cfg_{name}" for name in systems(place)] + shipped
    best = CHOSEN if CHOSEN in tuners else GAUSSIAN
    both = [tuner for tuner in (best, TPE) if tuner in tuners]
    jobs = [(name, tuner, seed, DUEL) for name in tables for tuner in both for seed in range(seeds)]
    return [*found, *duels(measured(jobs))]


def main(arguments: list[str]) -> int:
    """Measure and tell; fails where a bar is missed."""
    study = "--study" in arguments
    numbers = [int(each) for each in arguments if not each.startswith("-")]
    return 0 if show("Declared tunables", run(numbers[0] if numbers else 10 if study else 4, study=study)) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
