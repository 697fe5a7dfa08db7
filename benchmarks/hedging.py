"""Does the learner find when to send a copy? The public workload of bhope/hedge, with the figures published for it.

    python -m benchmarks.hedging [seeds]

50 000 requests by 20 workers, one in twenty ten times as slow. All rules meet the same dice. The learner begins as any
function does, with a timeout of 30 s, three retries and no copies; the calls from which it learns are in its figures.
Its budget is the load that the published static delay takes: ``Dependency("x", budget=Budget(share=.074))``.
"""

from __future__ import annotations

import sys
from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import mean
from typing import NamedTuple

from benchmarks.table import Row, show
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Execution
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.hedging import PUBLISHED, Figures, Workload, live, standing
from poet.sim.play import Policy
from poet.testing.learners import Learned

SEEDS = 5
BUDGET = 0.074  # copies per call
DECLARED: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1, "hedges": 0, "hedge_delay": 30.0}
TIMES = {"timeout": Real(0.001, 120.0, log=True), "retries": Integer(0, 5)}
SPACE = Space(**TIMES, hedges=Integer(0, 2), hedge_delay=Real(0.001, 120.0, log=True))

# The bars: what must hold for the benchmark to pass, in the mean over seeds.
MOST_P99, MOST_P999 = 0.0174, 0.035  # [s]
MOST_EXTRA = 0.074  # requests beyond one per call
MOST_BEHIND = 1.05  # p99 over that of the best fixed delay with as many requests
MOST_CPU = 15e-6  # per execution, more than without hedging [s]
MOST_IN_VAIN = 0.01  # copies per call where slowness lies in the call


class Standing:
    """Values that stay as they are, as in the published benchmark: no limit, no retries."""

    def __init__(self, hedges: int, hedge_delay: float) -> None:
        self.values = {"timeout": 1e6, "retries": 0, "hedges": hedges, "hedge_delay": hedge_delay}

    def parameters(self, t: int) -> Mapping[str, object]:
        return self.values

    def observe(self, execution: Execution) -> None:
        """Nothing is learned."""


class LearnedP90:
    """A copy after the 90 % quantile of the calls' durations, as hedging libraries learn it.

    It sees what its own copies made of a call, and takes it for what the service does: so it sends ever more. 20 calls
    at 10 ms come first, and all of a run is within its window of 30 s.
    """

    def __init__(self) -> None:
        self._seen: list[float] = []

    def parameters(self, t: int) -> Mapping[str, object]:
        delay = self._seen[int(0.9 * (len(self._seen) - 1))] if len(self._seen) >= 20 else 0.010
        return {"timeout": 1e6, "retries": 0, "hedges": 1, "hedge_delay": delay}

    def observe(self, execution: Execution) -> None:
        insort(self._seen, execution.seconds)


RULES: dict[str, Callable[[], Policy]] = {
    "no hedging": lambda: Standing(0, 0.0),
    "static 10 ms": lambda: Standing(1, 0.010),
    "static 50 ms": lambda: Standing(1, 0.050),
    "learned p90": LearnedP90,
}


class Life(NamedTuple):
    """One seed: how the rules fared."""

    rules: dict[str, Figures]
    learner: Figures
    steady: Figures  # of the learner, without its first 1000 calls
    best: Figures  # of the fixed delay with two copies that sends as many extra requests as the learner
    versions: int
    cpu: float  # of learning, per execution [s]
    cpu_without: float  # the same where hedges are not tuned [s]
    in_vain: float  # copies per call where slowness lies in the call


def learner(seed: int, space: Space = SPACE) -> Learned:
    """A learner that may hedge, unless ``space`` says otherwise."""
    declared = {name: value for name, value in DECLARED.items() if name in space or name == "backoff"}
    return Learned(OnlineLearner(space=space, declared=declared, hedge_budget=BUDGET, seed=seed), declared, seed=seed)


def hindsight(workload: Workload, seed: int, extra: float) -> Figures:
    """The best fixed delay with two copies that sends at most ``extra`` requests: the shortest, found by halving."""
    latencies = workload.latencies(seed)
    low, high = 0.001, 1.0
    while high / low > 1.0005:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if standing(latencies, middle, 2).extra <= extra else (middle, high)
    return standing(latencies, high, 2)


def lived(seed: int, calls: int = 50_000) -> Life:
    """All rules through one run of the dice."""
    workload = Workload(calls=calls)
    rules = {name: live(workload, make(), seed).figures() for name, make in RULES.items()}
    ours, without = learner(seed), learner(seed, Space(**TIMES))
    life = live(workload, ours, seed)
    live(workload, without, seed)
    alike = live(workload._replace(by_call=True), learner(seed), seed)
    figures = life.figures()
    return Life(
        rules,
        figures,
        life.figures(1000),
        hindsight(workload, seed, figures.extra),
        len(ours.said),
        ours.cpu / ours.executions,
        without.cpu / without.executions,
        float(alike.copies.mean()),
    )


def measured(seeds: int, processes: int = 2) -> list[Life]:
    """All seeds, in parallel."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(lived, range(seeds)))


def told(figures: list[Figures]) -> str:
    """Means over seeds."""
    p99, p999, extra = (mean(part) for part in zip(*figures, strict=True))
    return f"{1e3 * p99:.1f} / {1e3 * p999:.1f} ms at {100 * extra:.1f} %"


def bars(lives: list[Life]) -> Iterator[Row]:
    """The figures against their bars."""
    for name, published in PUBLISHED.items():
        rule = [life.rules[name] for life in lives]
        yield Row(f"p99 / p99.9 at extra requests: {name}", f"published: {told([published])}", told(rule))
    ours = [life.learner for life in lives]
    yield Row("… the learner", "for comparison", told(ours))
    yield Row("… the learner, from call 1000 on", "for comparison", told([life.steady for life in lives]))
    yield Row("… the best fixed delay with as many requests", "for comparison", told([life.best for life in lives]))
    for what, bar, part, unit, scale in (
        ("p99", MOST_P99, "p99", "ms", 1e3),
        ("p99.9", MOST_P999, "p999", "ms", 1e3),
        ("extra requests", MOST_EXTRA, "extra", "%", 1e2),
    ):
        values = [scale * getattr(figures, part) for figures in ours]
        shown = f"{mean(values):.2f} {unit}; worst {max(values):.2f}"
        yield Row(f"the learner, {what}, whole run", f"<= {scale * bar:.3g} {unit}", shown, mean(values) <= scale * bar)
    behind = [life.learner.p99 / life.best.p99 for life in lives]
    what = "its p99 over that of the best fixed delay with as many requests"
    yield Row(what, f"<= {MOST_BEHIND}", f"{mean(behind):.3f}; worst {max(behind):.3f}", max(behind) <= MOST_BEHIND)
    vain = [life.in_vain for life in lives]
    what = "copies per call where slowness lies in the call, so that they gain nothing"
    shown = f"{100 * mean(vain):.2f} %; worst {100 * max(vain):.2f} %"
    yield Row(what, f"<= {100 * MOST_IN_VAIN:g} %", shown, max(vain) <= MOST_IN_VAIN)
    cpu, without = mean(life.cpu for life in lives), mean(life.cpu_without for life in lives)
    shown = f"{1e6 * (cpu - without):.1f} µs; {1e6 * cpu:.1f} instead of {1e6 * without:.1f}"
    yield Row(
        "CPU per execution, more than without hedging", f"<= {1e6 * MOST_CPU:g} µs", shown, cpu - without <= MOST_CPU
    )
    yield Row("versions that it made of the function", "for comparison", f"{mean(life.versions for life in lives):.0f}")


def run(seeds: int = SEEDS) -> list[Row]:
    """Measure everything; the figures against their bars."""
    return list(bars(measured(seeds)))


def main(arguments: list[str]) -> int:
    """Measure, tell all, and fail where a bar is missed."""
    seeds = int(arguments[0]) if arguments else SEEDS
    return 0 if show(f"Hedging, {seeds} seeds", run(seeds)) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
