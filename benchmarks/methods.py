"""What each of the online methods is worth by itself: its regret beside that of staying with the default.

    python -m benchmarks.methods [seeds]

Two kinds of tasks. *Tables of scores*: noisy bowls, one with 0 and 1 as its only scores, one with a choice among
three, one whose top moves; a method sees the score of each evaluation and nothing else. *Services* of ``poet.sim``:
timeout and retries from their usual defaults; a method sees the utility of each call (or of five calls, where its
computing costs milliseconds), the two learners see the attempts as well. Regret is exact, chance enters by what was
seen only.

Every figure is a method's regret, summed over evaluations and seeds, as a share of the default's; brackets hold its
90 % interval (bootstrap over seeds). Below 1: better than leaving everything as it is.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple, Protocol

from benchmarks.table import Row, show

Values = dict[str, Any]

EVALUATIONS = 200  # of a table of scores
CALLS = 600  # of a service
BATCH = 5  # calls of a service that a slow method tries one setting for
NOISE = 0.1  # standard deviation of a score; a table spans about 1


# --- tables of scores -------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """Something to tune."""

    name: str
    numbers: int  # of them, each in [0, 1], 0.5 by default
    choice: bool = False  # among a, b, c as well; a by default
    zero_one: bool = False  # scores are 0 or 1
    moving: bool = False  # the top is elsewhere in the second half

    def truth(self, seed: int, t: int) -> Callable[[Values], float]:
        """The expected score of values at evaluation ``t``."""
        dice = random.Random(f"{self.name}/{seed}/{self.moving and t >= EVALUATIONS // 2}")
        top = [dice.uniform(0.15, 0.85) for _ in range(self.numbers)]
        best = random.Random(f"{self.name}/{seed}").choice("abc") if self.choice else ""

        def score(values: Values) -> float:
            far = sum((values[f"x{i}"] - x) ** 2 for i, x in enumerate(top)) / self.numbers
            lost = 2.0 * far + (0.3 if self.choice and values["mode"] != best else 0.0)
            return 0.95 - min(lost, 0.9)

        return score

    @property
    def default(self) -> Values:
        """Where everybody begins."""
        values: Values = {f"x{i}": 0.5 for i in range(self.numbers)}
        return {**values, "mode": "a"} if self.choice else values

    @property
    def space(self) -> dict[str, object]:
        """Ranges and options."""
        ranges: dict[str, object] = {f"x{i}": (0.0, 1.0) for i in range(self.numbers)}
        return {**ranges, "mode": ["a", "b", "c"]} if self.choice else ranges


TABLES = (
    Table("bowl of 2", 2),
    Table("bowl of 4", 4),
    Table("bowl of 2, scores 0 and 1", 2, zero_one=True),
    Table("bowl of 2 and a choice of 3", 2, choice=True),
    Table("bowl of 2, its top moves half way", 2, moving=True),
)


class Method(Protocol):
    """Something that tunes."""

    def ask(self) -> Values:
        """The values to try next."""

    def tell(self, score: float) -> None:
        """What they scored."""


class Stay:
    """Leaves everything as it is."""

    def __init__(self, default: Values, space: Mapping[str, object], seed: int) -> None:
        self.default = default

    def ask(self) -> Values:
        return dict(self.default)

    def tell(self, score: float) -> None:
        pass


class Anything(Stay):
    """Random values, the measure of how much there is to lose."""

    def __init__(self, default: Values, space: Mapping[str, object], seed: int) -> None:
        super().__init__(default, space, seed)
        self.space, self.dice = space, random.Random(seed)

    def ask(self) -> Values:
        return {
            name: self.dice.choice(given) if isinstance(given, list) else placed(given, self.dice.random())
            for name, given in self.space.items()
        }


def placed(given: Any, share: float) -> float | int:
    """The value at ``share`` of a range: log where it spans more than a factor of 100, whole where its ends are."""
    low, high = given
    if low > 0 and high > 100 * low:
        return float(low * (high / low) ** share)
    return round(low + (high - low) * share) if isinstance(low, int) else float(low + (high - low) * share)


class _Ours:
    """What the methods of ``StatisticalOnlineLearner`` have in common: choices by Thompson sampling."""

    def __init__(self, default: Values, space: Mapping[str, object], seed: int) -> None:
        from poet.learning.axes import tunable_of
        from poet.learning.statistical import StatisticalOnlineLearner
        from poet.model.objective import Objective
        from poet.model.tunable import Integer, Real

        self.space, self.values, self.dice = space, dict(default), random.Random(seed)
        self.ranges = {name: given for name, given in space.items() if not isinstance(given, list)}
        bounds = {}
        for name, given in self.ranges.items():
            tunable = tunable_of(name, given)
            assert isinstance(tunable, Real | Integer)
            log = tunable.low > 0 and tunable.high > 100 * tunable.low
            bounds[name] = type(tunable)(tunable.low, tunable.high, log=log)
        self.bounds = bounds
        self.learner = StatisticalOnlineLearner(objective=Objective(latency_cost=0.0), space=bounds, seed=seed)

    def choose(self) -> None:
        for name, given in self.space.items():
            if isinstance(given, list):
                self.values[name] = self.learner.thompson_sampling(name, given, function_name="f")

    def ask(self) -> Values:
        self.choose()
        return dict(self.values)


class Gradient(_Ours):
    """Performance gradients by regression: ``update_parameters``; choices by Thompson sampling."""

    def tell(self, score: float) -> None:
        from poet.model.feedback import ExecutionFeedback

        told = ExecutionFeedback("f", "", True, 0.1, output_quality=score, parameters_used=dict(self.values))
        self.values = self.learner.update_parameters(told, self.values)


class Perturbation(_Ours):
    """SPSA of two points; choices by Thompson sampling."""

    def __init__(self, default: Values, space: Mapping[str, object], seed: int) -> None:
        from poet.kernels.online.gradient import Gains, Spsa
        from poet.learning.axes import Cube

        super().__init__(default, space, seed)
        self.cube = Cube(self.bounds)
        start = self.cube.row(default)
        assert start is not None
        self.gains = Gains(a=0.3, c=0.1, least_c=0.05)
        self.state = Spsa.start(start, self.dice)

    def ask(self) -> Values:
        from poet.kernels.online.gradient import tried

        self.choose()
        self.values |= self.cube.values(tried(self.state, self.gains))
        return dict(self.values)

    def tell(self, score: float) -> None:
        from poet.kernels.online.gradient import told

        self.state = told(self.state, score, self.gains, self.dice)
        for name, given in self.space.items():
            if isinstance(given, list):
                self.learner.record(name, self.values[name], score, function_name="f")


class Sampling(_Ours):
    """Thompson sampling of each parameter by itself, over five values of its range."""

    def ask(self) -> Values:
        for name, given in self.space.items():
            options = given if isinstance(given, list) else list(dict.fromkeys(placed(given, k / 4) for k in range(5)))
            self.values[name] = self.learner.thompson_sampling(name, options, function_name="f")
        return dict(self.values)

    def tell(self, score: float) -> None:
        for name, value in self.values.items():
            self.learner.record(name, value, score, function_name="f")


class Averaging(_Ours):
    """Tries about the performance-weighted moving average; choices by Thompson sampling."""

    def __init__(self, default: Values, space: Mapping[str, object], seed: int) -> None:
        from poet.learning.axes import Cube

        super().__init__(default, space, seed)
        self.cube = Cube(self.bounds)
        start = self.cube.row(default)
        assert start is not None
        self.centre, self.point = list(start), list(start)

    def ask(self) -> Values:
        self.choose()
        self.point = [min(max(x + 0.1 * self.dice.gauss(0, 1), 0.0), 1.0) for x in self.centre]
        self.values |= self.cube.values(self.point)
        return dict(self.values)

    def tell(self, score: float) -> None:
        for i, x in enumerate(self.point):
            self.centre[i] = self.learner.exponential_weighted_moving_average(f"place {i}", x, score)
        for name, given in self.space.items():
            if isinstance(given, list):
                self.learner.record(name, self.values[name], score, function_name="f")


class Surrogate(_Ours):
    """A Gaussian process and expected improvement: ``bayesian_optimization``."""

    def __init__(self, default: Values, space: Mapping[str, object], seed: int) -> None:
        super().__init__(default, space, seed)
        self.history: list[tuple[Values, float]] = []
        self.whole = {**space, **self.bounds}

    def ask(self) -> Values:
        if self.history:
            self.values = self.learner.bayesian_optimization(self.whole, self.history)
        return dict(self.values)

    def tell(self, score: float) -> None:
        self.history.append((dict(self.values), score))


METHODS: dict[str, type[Any]] = {
    "stay": Stay,
    "anything": Anything,
    "gradient by regression": Gradient,
    "SPSA": Perturbation,
    "Thompson sampling, 5 values each": Sampling,
    "performance-weighted EWMA": Averaging,
    "Bayesian optimisation": Surrogate,
}


class Life(NamedTuple):
    """One method's life with one task."""

    task: str
    method: str
    seed: int
    regret: float  # summed over all
    late: float  # summed over the last fifth
    cpu: float  # per evaluation [s]


def tuned(table: Table, method: str, seed: int) -> Life:
    """A method's life with a table."""
    tuner: Method = METHODS[method](table.default, table.space, seed)
    dice = random.Random(seed * 1009 + 1)
    lost, cpu = [], 0.0
    truth = table.truth(seed, 0)
    for t in range(EVALUATIONS):
        if table.moving and t == EVALUATIONS // 2:
            truth = table.truth(seed, t)
        begun = time.process_time()
        values = tuner.ask()
        cpu += time.process_time() - begun
        expected = truth(values)
        lost.append(0.95 - expected)
        uniform, normal = dice.random(), dice.gauss(0, 1)
        score = float(uniform < expected) if table.zero_one else min(max(expected + NOISE * normal, 0.0), 1.0)
        begun = time.process_time()
        tuner.tell(score)
        cpu += time.process_time() - begun
    return Life(table.name, method, seed, sum(lost), sum(lost[-EVALUATIONS // 5 :]), cpu / EVALUATIONS)


# --- services ---------------------------------------------------------------------------------------------------------

SERVICES = ("fast_api", "heavy_tail", "flaky20", "slow_llm", "corr_input")
LEARNERS = ("StatisticalOnlineLearner", "basic rule", "OnlineLearner")
START: Values = {"timeout": 30.0, "retries": 3}
LIMIT, AGAIN = "limit", "again"  # what methods that see scores only know timeout and retries by: as any two numbers
RANGES: dict[str, object] = {LIMIT: (0.05, 120.0), AGAIN: (0, 5)}
PAUSE = 0.1  # backoff [s]
WORST = -2.0  # utility that a call counts for at least, as one hang would drown all else; told as a score of 0


class Tuner:
    """A method as a policy of ``poet.sim.play``: it is told utilities, each the mean of some calls'."""

    def __init__(self, method: Method, utility: Callable[[Any], float], batch: int) -> None:
        """utility: of an execution; batch: calls whose mean is told."""
        self.method, self.utility, self.batch = method, utility, batch
        self.values: Values = {}
        self.told: list[float] = []
        self.cpu = 0.0
        self._ask()

    def _ask(self) -> None:
        begun = time.process_time()
        self.values = {**self.method.ask()}
        self.cpu += time.process_time() - begun

    def parameters(self, t: int) -> Values:
        return {"timeout": self.values[LIMIT], "retries": self.values[AGAIN], "backoff": PAUSE}

    def observe(self, execution: Any) -> None:
        self.told.append(self.utility(execution))
        if len(self.told) < self.batch:
            return
        mean, self.told = sum(self.told) / len(self.told), []
        begun = time.process_time()
        self.method.tell(mean)
        self.cpu += time.process_time() - begun
        self._ask()


class Attempts:
    """``StatisticalOnlineLearner.update_parameters`` as a policy: it is told the attempts of every call."""

    def __init__(self, objective: Any, seed: int) -> None:
        from poet.learning.statistical import StatisticalOnlineLearner

        self.learner = StatisticalOnlineLearner(objective=objective, seed=seed)
        self.values, self.cpu = {**START}, 0.0

    def parameters(self, t: int) -> Values:
        return {**self.values, "backoff": PAUSE}

    def observe(self, execution: Any) -> None:
        from poet.model.feedback import ExecutionFeedback

        good = execution.outcome.good
        told = ExecutionFeedback("f", "", good, execution.seconds, output_quality=1.0, attempts=execution.attempts)
        begun = time.process_time()
        self.values = self.learner.update_parameters(told, self.values)
        self.cpu += time.process_time() - begun


def served(service: str, method: str, seed: int) -> Life:
    """A method's life with a simulated service."""
    from poet.learning.basic_rule import BasicRule
    from poet.learning.online_learner import OnlineLearner
    from poet.sim.evaluate import oracle_series
    from poet.sim.play import play, regret
    from poet.sim.scenarios import SCENARIOS
    from poet.testing.learners import Learned

    scenario = SCENARIOS[service]
    objective = scenario.objective
    declared = {**START, "backoff": PAUSE}
    policy: Any
    if method == "StatisticalOnlineLearner":
        policy = Attempts(objective, seed)
    elif method == "basic rule":
        policy = Learned(BasicRule(declared=declared), declared, seed=seed)
    elif method == "OnlineLearner":
        policy = Learned(OnlineLearner(objective=objective, declared=declared, seed=seed), declared, seed=seed)
    else:
        batch = BATCH if METHODS[method] is Surrogate else 1
        policy = Tuner(
            METHODS[method]({LIMIT: START["timeout"], AGAIN: START["retries"]}, RANGES, seed),
            lambda e: (max(WORST, objective.utility(e.outcome.good, e.seconds, len(e.attempts))) - WORST) / (1 - WORST),
            batch,
        )
    record = play(scenario, policy, seed, CALLS)
    lost = regret(record, oracle_series(scenario, hedging=False, backoff=PAUSE, calls=CALLS))
    return Life(
        service,
        method,
        seed,
        float(lost[-1]),
        float(lost[-1] - lost[-CALLS // 5]),
        policy.cpu / CALLS if hasattr(policy, "cpu") else 0.0,
    )


# --- telling ----------------------------------------------------------------------------------------------------------


def lives(task: str, seed: int) -> list[Life]:
    """All methods' lives with one task under one seed."""
    table = next((each for each in TABLES if each.name == task), None)
    if table is not None:
        return [tuned(table, method, seed) for method in METHODS]
    return [served(task, method, seed) for method in (*METHODS, *LEARNERS)]


def measured(seeds: int, processes: int = 2) -> list[Life]:
    """Everything, in parallel."""
    tasks = [*(table.name for table in TABLES), *SERVICES]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes begun here: one core each
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(lives, task, seed) for task in tasks for seed in range(seeds)]
        return [life for job in jobs for life in job.result()]


def ratio(found: list[Life], task: str, method: str, *, late: bool = False) -> tuple[float, float, float]:
    """A method's regret over all seeds as a share of staying's, and its 90 % interval by bootstrap over seeds.

    A ratio of sums: where the default happens to be the optimum, a ratio of single seeds would know no bounds.
    """
    import numpy as np

    def of(name: str) -> dict[int, float]:
        mine = [life for life in found if (life.task, life.method) == (task, name)]
        return {life.seed: life.late if late else life.regret for life in mine}

    stay, mine = of("stay"), of(method)
    both = np.array([(mine[seed], stay[seed]) for seed in sorted(mine)])
    drawn = both[np.random.default_rng(0).integers(0, len(both), (2000, len(both)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.05, 0.95))
    return float(both[:, 0].sum() / both[:, 1].sum()), float(low), float(high)


def rows(found: list[Life]) -> list[Row]:
    """The figures."""
    told = []
    for task in dict.fromkeys(life.task for life in found):
        for method in dict.fromkeys(life.method for life in found if life.task == task):
            if method == "stay":
                continue
            mean, low, high = ratio(found, task, method)
            late = ratio(found, task, method, late=True)[0]
            cpu = [life.cpu for life in found if (life.task, life.method) == (task, method)]
            word = "better" if high < 1 else "worse" if low > 1 else "no clear difference"
            figure = (
                f"{mean:.2f} [{low:.2f}, {high:.2f}], {word}; last fifth {late:.2f}; {1e6 * sum(cpu) / len(cpu):.0f} µs"
            )
            told.append(Row(f"{task}: {method}", "1: the default", figure))
    return told


def run(seeds: int = 10) -> list[Row]:
    """Measure everything."""
    return rows(measured(seeds))


def main(arguments: list[str]) -> int:
    """Measure and tell."""
    return 0 if show("What each method is worth", run(int(arguments[0]) if arguments else 10)) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
