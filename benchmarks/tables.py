"""What do tuners of related tables spare a new one, and what do misleading ones cost?

    POET_TRACES=folder python -m benchmarks.tables [seeds] [targets]

Tables of several environments (``environments``). A target's relatives are ``RELATIVES`` other environments of its
family *by lot*, without a look at how alike they are, each tuned for ``LEARNED`` trials. *Mean regret* is that per
evaluation over the first 20, *simple regret* that of the recommendation after them; both exact, of 1 (the best row).
Ratios are of means over the tables of a group, each family weighing the same; in brackets 90 % intervals by bootstrap
over tables and seeds together. Rivals are re-implemented (``transfer_peers``) and see the very trials of the same
relatives.

The tables of ``LOOKED`` were looked at while the prior was made; on ``FRESH`` ones nothing was tuned.

*Misleading* relatives: only environments whose scores correlate negatively with the target's, the worst first. The loss
is of the mean expected utility of all evaluations, tries included, in shares of that without relatives.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.environments import Environment, environments, opposed, relatives, task
from benchmarks.table import Row, show
from benchmarks.transfer_peers import PEERS
from benchmarks.tunable_problems import folder
from poet.learning.tuners.chosen import ChosenTuner
from poet.model.relative import Relative
from poet.model.trial import Trial

RELATIVES, LEARNED = 6, 100
EVALUATIONS, LONG = 20, 100
HELPS = 0.7  # that relatives are told to help with, all of them
ALONE, WITH = "POET alone", "POET with relatives"
LOOKED: Mapping[str, int | None] = {"x264_inputs": None, "compression": 0, "sqlite": 0}  # all, or those of even number
FRESH: Mapping[str, int | None] = {
    "nginx": None,
    "storm": None,
    "x264": None,
    "retry_grpc": None,
    "compression": 1,
    "sqlite": 1,
}
MOST_REGRET, MOST_LOSS, MOST_WORST = 0.6, 0.01, 0.03


class Life(NamedTuple):
    """One tuner's life with one table."""

    target: Environment
    tuner: str
    seed: int
    regret: float  # mean over the evaluations
    simple: float  # of the recommendation after them
    utility: float  # mean expected score over the evaluations


@lru_cache(maxsize=512)
def learned(place: Path, source: Environment) -> tuple[bytes, tuple[Trial, ...]]:
    """What a tuner knows of an environment after ``LEARNED`` trials, and these."""
    problem = task(place, source, 77)
    tuner, trials = ChosenTuner(problem.space, problem.start, seed=0), list[Trial]()
    for t in range(LEARNED):
        values = tuner.suggest()
        trials.append(Trial(values, problem.draw(values, t, ())))
        tuner.update(trials[-1:])
    return tuner.dump(), tuple(trials)


def life(
    place: Path,
    target: Environment,
    tuner: str,
    seed: int,
    sources: Sequence[Environment],
    evaluations: int = EVALUATIONS,
) -> Life:
    """Let one live through it."""
    problem = task(place, target, seed)
    known = [learned(place, source) for source in sources]
    space, start = problem.space, problem.start
    own: ChosenTuner | None = None
    if tuner in PEERS:
        rival = PEERS[tuner](space, start, [trials for _, trials in known], seed=seed)
    else:
        prior = [Relative(source.name, state, HELPS) for source, (state, _) in zip(sources, known, strict=True)]
        own = ChosenTuner(space, start, seed=seed, prior=prior if tuner == WITH else ())
    gained = []
    for t in range(evaluations):
        values = rival.suggest() if own is None else own.suggest()
        gained.append(problem.truth(values, t, ()))
        (rival if own is None else own).update([Trial(values, problem.draw(values, t, ()))])
    best = rival.recommend() if own is None else own.recommend().values
    top, got = problem.best(0, ()), float(np.mean(gained))
    return Life(target, tuner, seed, top - got, top - problem.truth(best, evaluations, ()), got)


def targets(place: Path, group: Mapping[str, int | None], most: int) -> list[Environment]:
    """Some of each family, evenly."""
    found = []
    for family, half in group.items():
        here = environments(place, family)
        here = here if half is None else here[half::2]
        found += here[:: max(1, len(here) // most)][:most]
    return found


class Ratio(NamedTuple):
    """Of two means."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(found: Sequence[Life], one: str, other: str, what: str) -> Ratio:
    """Of ``one``'s mean to ``other``'s, each family weighing the same; interval by bootstrap over pairs of lives."""
    both: dict[str, list[tuple[float, float]]] = {}
    theirs = {(each.target, each.seed): getattr(each, what) for each in found if each.tuner == other}
    for each in found:
        if each.tuner == one:
            pair = getattr(each, what), theirs[each.target, each.seed]
            both.setdefault(each.target.family, []).append(pair)
    parts = [np.array(pairs) for pairs in both.values()]
    rng = np.random.default_rng(0)
    drawn = np.mean([part[rng.integers(0, len(part), (2000, len(part)))].mean(axis=1) for part in parts], axis=0)
    low, high = np.quantile(drawn[:, 0] / np.maximum(drawn[:, 1], 1e-9), (0.05, 0.95)).tolist()
    mean = np.mean([part.mean(axis=0) for part in parts], axis=0)
    return Ratio(float(mean[0] / max(mean[1], 1e-9)), low, high)


def mean(found: Iterable[Life], tuner: str, what: str) -> float:
    """Over families, of means over their tables and seeds."""
    by: dict[str, list[float]] = {}
    for each in found:
        if each.tuner == tuner:
            by.setdefault(each.target.family, []).append(getattr(each, what))
    return float(np.mean([np.mean(values) for values in by.values()]))


def compared(found: Sequence[Life], group: str) -> Iterator[Row]:
    """All tuners of one group, and the bars."""
    for tuner in (ALONE, WITH, *PEERS):
        figures = f"{mean(found, tuner, 'regret'):.3f}; simple {mean(found, tuner, 'simple'):.3f}"
        if tuner != ALONE:
            figures += (
                f"; of alone {ratio(found, tuner, ALONE, 'regret')}; simple {ratio(found, tuner, ALONE, 'simple')}"
            )
        yield Row(f"{group}: mean regret over {EVALUATIONS}, {tuner}", "for comparison", figures)
    for what, told in (("regret", "mean regret over 20"), ("simple", "simple regret at 20")):
        spared = ratio(found, WITH, ALONE, what)
        yield Row(f"{group}: {told}, with of without", f"<= {MOST_REGRET}", str(spared), spared.value <= MOST_REGRET)
        for peer in PEERS:
            beside = ratio(found, WITH, peer, what)
            yield Row(f"{group}: {told}, of that of {peer}", "<= 1", str(beside), beside.value <= 1.0)
    for family in dict.fromkeys(each.target.family for each in found):
        here = [each for each in found if each.target.family == family]
        own = " / ".join(f"{mean(here, tuner, 'regret'):.3f}" for tuner in (ALONE, WITH, *PEERS))
        simple = " / ".join(f"{mean(here, tuner, 'simple'):.3f}" for tuner in (ALONE, WITH, *PEERS))
        yield Row(f"{group}: {family}, all in this order", "for comparison", f"{own}; simple {simple}")


def misled(place: Path, seeds: int, most: int) -> Iterator[Row]:
    """What relatives cost that are opposed to the target."""
    chosen = [
        (target, found)
        for family in ("sqlite", "x264", "storm", "nginx")
        for target in targets(place, {family: None}, most)
        if (found := opposed(place, target, RELATIVES))
    ]
    for evaluations in (EVALUATIONS, LONG):
        lost: dict[Environment, list[float]] = {}
        for target, found in chosen:
            sources = [source for source, _ in found]
            for seed in range(seeds):
                own, other = (life(place, target, who, seed, sources, evaluations) for who in (WITH, ALONE))
                lost.setdefault(target, []).append((other.utility - own.utility) / max(other.utility, 1e-9))
        losses = np.array([np.mean(each) for each in lost.values()])
        drawn = np.random.default_rng(0).choice(losses, (2000, len(losses))).mean(axis=1)
        low, high = np.quantile(drawn, (0.05, 0.95))
        worst = max(lost, key=lambda target: float(np.mean(lost[target])))
        bars = evaluations == LONG
        what = f"{len(losses)} tables with relatives of negative correlation: loss of utility over {evaluations}"
        yield Row(
            what,
            f"<= {MOST_LOSS:.0%}" if bars else "for comparison",
            f"{losses.mean():.1%} [{low:.1%}, {high:.1%}]",
            bool(losses.mean() <= MOST_LOSS) if bars else None,
        )
        yield Row(
            f"the worst of them, {worst.family}: {worst.name}, over {evaluations}",
            f"<= {MOST_WORST:.0%}" if bars else "for comparison",
            f"{losses.max():.1%}",
            bool(losses.max() <= MOST_WORST) if bars else None,
        )


def run(seeds: int = 1, most: int = 2) -> Iterator[Row]:
    """Measure everything. seeds: of each table. most: tables of each family."""
    place = folder()
    if place is None:
        yield Row("tables of several environments", "", "their data is not here: name its folder in POET_TRACES")
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for group, families in (("looked at", LOOKED), ("fresh", FRESH)):
        found = [
            life(place, target, tuner, seed, relatives(place, target, RELATIVES, seed))
            for target in targets(place, families, most)
            for seed in range(seeds)
            for tuner in (ALONE, WITH, *PEERS)
        ]
        yield from compared(found, group)
    yield from misled(place, 2 * seeds, 2 * most)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:3]]
    sys.exit(0 if show("Tables of several environments", run(*numbers)) else 1)
