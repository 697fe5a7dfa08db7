"""A real job, off-policy: which of nine models answers a question, from logs of eleven other bandits.

    python -m benchmarks.offpolicy [a table of the same kind]

``llm_api_latency``'s ``llm_calls``: bandits of another project routed questions among nine models, run after run, each
from nothing; quality is 0 or 1, and a dollar counts as ``PRICE`` right answers. Propensities were not logged. But every
question was put to many models, by many policies, in several runs: a table of questions and models of which most cells
were seen, most of them more than once.

Assumed: what a model answers to a question does not depend on the policy that asked, nor on the run, nor on what was
asked before; whether a cell was seen does not depend on what would have come of it, given model and question. The first
is how the service works; the second would fail for a policy that knows how hard a question is, and none was told.

Three estimators of the value of a policy that chooses m(q) for question q:

* the table: mean of what was seen in each cell, and in cells that were not seen what an additive model of questions and
  models says (the direct method);
* self-normalised inverse propensities, these estimated as the model's share of all decisions in all runs: no model of
  scores, but few decisions that agree;
* doubly robust: what a model of scores says that was fitted to other questions only (cross-fitted: the model's mean),
  corrected by the inverse propensities where the decision agrees: right where one of the two is.

Intervals, 90 %: bootstrap over the questions, of the difference to a logged policy; what was chosen is kept. Three
logged policies are compared with: the one that is best over all runs that it was in; in each run the one that was best
in the other runs; and in each run the one that got most, which has luck on its side: the best of eleven by 22 answers.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.table import Row, show
from benchmarks.tunable_problems import folder
from poet.learning.tuners.mixture import MixtureTuner
from poet.model.trial import Trial
from poet.model.tunable import Choice, Space

Array = npt.NDArray[np.float64]

PRICE = 10.0  # right answers that a dollar is worth
FOLDS = 11  # groups of questions, each of which is judged by what was learned from all others
REPEATS = 20  # lives of a learner
RESAMPLES = 2000
LEAST = 15  # questions of a run that is compared


class Decision(NamedTuple):
    """One logged call."""

    run: str
    policy: str
    step: int
    query: int
    model: int
    score: float


class Log(NamedTuple):
    """All logged calls, by number."""

    decisions: list[Decision]
    queries: list[str]
    models: list[str]


def load(path: Path, price: float = PRICE) -> Log:
    """The logged calls. Raises FileNotFoundError where the table is not there."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    queries, models = (sorted({row[key] for row in rows}) for key in ("query_id", "model"))
    decisions = [
        Decision(
            row["run"],
            row["policy"],
            int(row["step"]),
            queries.index(row["query_id"]),
            models.index(row["model"]),
            float(row["quality"]) - price * float(row["cost_usd"]),
        )
        for row in rows
    ]
    return Log(decisions, queries, models)


class Table(NamedTuple):
    """What is known of every question and model."""

    seen: Array  # (queries, models) decisions
    mean: Array  # of what was seen; where nothing was, what the additive model says

    @classmethod
    def of(cls, log: Log) -> Table:
        """From all decisions of all runs."""
        seen, total = np.zeros((2, len(log.queries), len(log.models)))
        for decision in log.decisions:
            seen[decision.query, decision.model] += 1.0
            total[decision.query, decision.model] += decision.score
        mean = np.divide(total, seen, out=np.zeros_like(total), where=seen > 0)
        return cls(seen, np.where(seen > 0, mean, additive(seen > 0, mean)))


def additive(known: npt.NDArray[np.bool_], score: Array) -> Array:
    """Ridge estimates of a mean, and of what each question and each model adds: two cells are worth the prior."""
    centre = float(score[known].mean())
    rows, columns = np.zeros(known.shape[0]), np.zeros(known.shape[1])
    for _ in range(50):
        left = np.where(known, score - centre - columns, 0.0)
        rows = left.sum(axis=1) / (known.sum(axis=1) + 2.0)
        left = np.where(known, score - centre - rows[:, None], 0.0)
        columns = left.sum(axis=0) / (known.sum(axis=0) + 2.0)
    return np.asarray(centre + rows[:, None] + columns)


def tuner(log: Log, seed: int) -> MixtureTuner:
    """One that knows nothing yet; there are no features of the questions."""
    return MixtureTuner(Space(model=Choice(*log.models)), {"model": log.models[0]}, seed=seed, contextual=False)


def learned(log: Log, seed: int = 0) -> list[int]:
    """The model for each question, by what was logged of the questions of other folds."""
    folds = np.random.default_rng(seed).permutation(len(log.queries)) % FOLDS
    chosen = [0] * len(log.queries)
    for fold in range(FOLDS):
        made = tuner(log, seed)
        made.update([Trial({"model": log.models[d.model]}, d.score) for d in log.decisions if folds[d.query] != fold])
        best = log.models.index(str(made.recommend().values["model"]))
        for query in np.flatnonzero(folds == fold).tolist():
            chosen[query] = best
    return chosen


def lived(log: Log, table: Table, order: Sequence[int], seed: int) -> tuple[Array, float]:
    """Scores of a learner from nothing that is asked these questions, and the share of cells that were never seen."""
    made, dice = tuner(log, seed), np.random.default_rng(seed)
    cells: dict[tuple[int, int], list[float]] = {}
    for decision in log.decisions:
        cells.setdefault((decision.query, decision.model), []).append(decision.score)
    got, unseen = np.zeros(len(order)), 0
    for number, query in enumerate(order):
        model = log.models.index(str(made.suggest()["model"]))
        known = cells.get((query, model))
        unseen += known is None
        score = float(dice.choice(known)) if known else float(table.mean[query, model])
        got[number] = float(table.mean[query, model])
        made.update([Trial({"model": log.models[model]}, score)])
    return got, unseen / len(order)


class Values(NamedTuple):
    """Of one policy, by question, so that questions can be drawn again."""

    table: Array  # (queries,)
    ips: Array  # (queries, 2) sums of weighted scores and of weights
    dr: Array  # (queries,)


def valued(log: Log, table: Table, chosen: Sequence[int]) -> Values:
    """All three estimators of the policy that chooses so, from all runs."""
    n = len(log.queries)
    share = table.seen.sum(axis=0) / table.seen.sum()
    ips, corrected, asked = np.zeros((n, 2)), np.zeros(n), np.zeros(n)
    guess = np.zeros((n, len(log.models)))
    centre = float((table.seen * table.mean).sum() / table.seen.sum())
    for query in range(n):  # cross-fitted: by other questions only, shrunk to the mean of all
        others = np.arange(n) != query
        weight = table.seen[others].sum(axis=0)
        guess[query] = ((table.seen * table.mean)[others].sum(axis=0) + 2.0 * centre) / (weight + 2.0)
    for decision in log.decisions:
        query, wanted = decision.query, chosen[decision.query]
        asked[query] += 1.0
        corrected[query] += guess[query, wanted]
        if decision.model == wanted:
            ips[query] += decision.score / share[wanted], 1.0 / share[wanted]
            corrected[query] += (decision.score - guess[query, wanted]) / share[wanted]
    return Values(table.mean[np.arange(n), list(chosen)], ips, corrected / np.maximum(asked, 1.0))


class Logged(NamedTuple):
    """A policy's own life in a run."""

    policy: str
    scores: Array  # by question; nan where it was not asked


def logged(log: Log, run: str) -> list[Logged]:
    """All policies of a run that were asked enough, the best one first."""
    found: dict[str, Array] = {}
    for decision in log.decisions:
        if decision.run == run:
            scores = found.setdefault(decision.policy, np.full(len(log.queries), np.nan))
            scores[decision.query] = decision.score
    lives = [Logged(policy, s) for policy, s in found.items() if np.isfinite(s).sum() >= LEAST]
    return sorted(lives, key=lambda each: -float(np.nanmean(each.scores)))


def interval(differences: Array) -> tuple[float, float, float]:
    """Mean and 90 % interval of a mean over questions, by bootstrap."""
    n = len(differences)
    drawn = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    means = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.05, 0.95))
    return float(differences.mean()), float(low), float(high)


def ratio_interval(ips: Array, other: Array) -> tuple[float, float, float]:
    """The same of a self-normalised mean less that of ``other``."""
    n = len(ips)
    drawn = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    sums = ips[drawn].sum(axis=1)
    means = sums[:, 0] / np.maximum(sums[:, 1], 1e-12) - other[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.05, 0.95))
    return float(ips[:, 0].sum() / ips[:, 1].sum() - other.mean()), float(low), float(high)


def _said(difference: tuple[float, float, float]) -> str:
    mean, low, high = difference
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


class Judged(NamedTuple):
    """What was learned from other questions, less a logged policy: all three estimators with their intervals."""

    table: tuple[float, float, float]
    ips: tuple[float, float, float]
    dr: tuple[float, float, float]

    @property
    def said(self) -> str:
        """In words."""
        return f"{_said(self.table)} table; {_said(self.ips)} inverse propensities; {_said(self.dr)} doubly robust"

    @property
    def above(self) -> bool:
        """Whether all three are above."""
        return min(self.table[0], self.ips[0], self.dr[0]) > 0


def judged(values: Values, scores: Array) -> Judged:
    """By the questions that the logged policy was asked."""
    there = np.isfinite(scores)
    own = scores[there]
    return Judged(
        interval(values.table[there] - own), ratio_interval(values.ips[there], own), interval(values.dr[there] - own)
    )


def best_of_all(runs: Mapping[str, Sequence[Logged]]) -> Logged:
    """The policy that is best over all runs that it was in, by question the mean of these."""
    lives: dict[str, list[Array]] = {}
    for several in runs.values():
        for life in several:
            lives.setdefault(life.policy, []).append(life.scores)
    means = [Logged(policy, _mean(scores)) for policy, scores in lives.items()]
    return max(means, key=lambda each: float(np.nanmean(each.scores)))


def _mean(scores: Sequence[Array]) -> Array:
    known = np.isfinite(scores).sum(axis=0)
    total = np.nansum(scores, axis=0)
    return np.asarray(np.where(known > 0, total / np.maximum(known, 1), np.nan))


def run(path: Path | None = None, prices: Sequence[float] = (PRICE, 1.0, 50.0)) -> Iterator[Row]:
    """Rows of figures, as they are ready; all of them by the first price, what matters most by the others."""
    place = folder()
    if path is None and place is not None:
        path = place / "llm_api_latency" / "dev_llm_calls.csv.gz"
    if path is None or not path.exists():
        yield Row("logged runs", "", "the data are not there")
        return
    for price in prices:
        log = load(path, price)
        table = Table.of(log)
        seen = table.seen > 0
        if price == prices[0]:
            said = f"{len(log.decisions)} decisions, {len(log.queries)} questions, {len(log.models)} models; "
            cells = f"{seen.sum()} of {seen.size} cells seen, {(table.seen > 1).sum()} more than once"
            yield Row("the log", "", said + cells)
        chosen = learned(log)
        values = valued(log, table, chosen)
        models = sorted(set(chosen), key=chosen.count, reverse=True)
        names = ", ".join(f"{log.models[m]} ({chosen.count(m)})" for m in models)
        covered = float(np.mean([seen[q, m] for q, m in enumerate(chosen)]))
        worth = f"a dollar worth {price:g} right answers: "
        yield Row(worth + "chosen from the logs of other questions", "", f"{names}; {covered:.0%} of these cells seen")
        runs = {name: logged(log, name) for name in sorted({decision.run for decision in log.decisions})}
        runs = {name: lives for name, lives in runs.items() if len(lives) > 1}
        best = best_of_all(runs)
        found = judged(values, best.scores)
        what = f"{worth}all runs, less the best logged, {best.policy} ({np.nanmean(best.scores):.3f})"
        yield Row(what, "> 0" if price == PRICE else "", found.said, found.above if price == PRICE else None)
        if price == prices[0]:
            for name in runs:
                yield from _of_run(log, table, values, runs, name)


def _of_run(log: Log, table: Table, values: Values, runs: Mapping[str, Sequence[Logged]], name: str) -> Iterator[Row]:
    lives = runs[name]
    here = {life.policy for life in lives}
    others = {
        other: [life for life in several if life.policy in here] for other, several in runs.items() if other != name
    }
    elsewhere = {life.policy for several in others.values() for life in several}
    luckiest = lives[0]
    if elsewhere:
        policy = best_of_all(others).policy
        usual = next(life for life in lives if life.policy == policy)
        found = judged(values, usual.scores)
        what = f"{name}: less the one best in other runs, {policy} ({np.nanmean(usual.scores):.3f})"
        yield Row(what, "> 0", found.said, found.above)
    found = judged(values, luckiest.scores)
    what = f"{name}: less the luckiest of {len(lives)}, {luckiest.policy} ({np.nanmean(luckiest.scores):.3f})"
    yield Row(what, "> 0", found.said, found.above)
    order = [query for query in _asked(log, name) if np.isfinite(luckiest.scores[query])]
    several = [lived(log, table, order, seed) for seed in range(REPEATS)]
    scores = np.mean([got for got, _ in several], axis=0)
    unseen = float(np.mean([share for _, share in several]))
    mean = float(np.mean([np.nanmean(life.scores) for life in lives]))
    yield Row(
        f"{name}: from nothing within the run",
        "",
        f"{scores.mean():.3f}, mean of {REPEATS} lives ({unseen:.0%} of their cells never seen); all logged policies "
        f"{mean:.3f}; less the luckiest {_said(interval(scores - luckiest.scores[order]))}",
    )


def _asked(log: Log, run: str) -> list[int]:
    """The questions of a run, in its order."""
    steps = {d.query: d.step for d in log.decisions if d.run == run}
    return sorted(steps, key=steps.__getitem__)


if __name__ == "__main__":
    sys.exit(0 if show("A real job, off-policy", run(Path(sys.argv[1]) if len(sys.argv) > 1 else None)) else 1)
