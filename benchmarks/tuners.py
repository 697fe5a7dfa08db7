"""The peers: rules and tuners that are in use or published, as policies of ``poet.sim.play``.

Each is written anew from what its source says, and starts from ``START``, as every learner does. All but the rules
are told the utility of each call, cut off at -2: single calls of 30 s would drown everything else that they hear.

Sources. Percentile rules: common practice. ``Restate``: the crate adaptive-timeout, after LogDevice (twice the 99.99
% quantile of attempts, timeouts recorded among them); its doubling with each attempt is left out, as a plan has one
timeout. ``Thompson``: Thompson 1933, normal rewards. ``Tpe``: Bergstra et al. 2011, in Optuna. ``Oppertune``:
Somashekar et al., OPPerTune, NSDI 2024: two-point bandit gradients (Flaxman et al. 2005; Agarwal et al. 2010) for
numbers, exponential weights (Auer et al. 2002) for choices, RMSprop steps and rates as in the authors' release 0.2.
``AncestorBasic``, ``AncestorStatistical``: the learning rules of the first POET, with what they choose enforced
(there it was not).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poet.model.execution import Execution, Outcome
from poet.model.objective import Objective
from poet.sim.scenarios import START
from poet.sim.services import ATTEMPTS, Plan

LEAST_REWARD = -2.0
# What tuners may choose: timeouts [s], pauses before a retry [s], a copy's delay as a share of the timeout; 0: none.
SHORTEST, LONGEST = 0.05, 120.0
BACKOFFS, HEDGES = (0.0, 0.1, 1.0), (0.0, 0.1, 0.3)


def reward(objective: Objective, execution: Execution) -> float:
    """The utility of a call, cut off below."""
    utility = objective.utility(execution.outcome.good, execution.seconds, len(execution.attempts))
    return max(LEAST_REWARD, utility)


# --- rules of thumb ---------------------------------------------------------------------------------------------------


class Window:
    """The latest values, and their quantiles."""

    def __init__(self, size: int) -> None:
        self._size, self._latest, self._sorted = size, deque[float](), list[float]()

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: float) -> None:
        self._latest.append(value)
        insort(self._sorted, value)
        if len(self._latest) > self._size:
            self._sorted.pop(bisect_left(self._sorted, self._latest.popleft()))

    def quantile(self, q: float) -> float:
        return self._sorted[max(0, math.ceil(q * len(self._sorted)) - 1)]


class HedgingRule:
    """A limit that follows a high quantile, and a copy at another one; until ten answers were seen, as at the start."""

    def __init__(self, quantile: float, factor: float, window: int, *, timeouts: bool, backoff: float = 0.1) -> None:
        """timeouts: whether those are recorded, too, as if they had been answers."""
        self._quantile, self._factor, self._timeouts, self._backoff = quantile, factor, timeouts, backoff
        self._seen, self._answers = Window(window), Window(window)

    def parameters(self, t: int) -> Mapping[str, object]:
        if len(self._answers) < 10:
            return START._replace(backoff=self._backoff)._asdict()
        limit = min(LONGEST, self._factor * self._seen.quantile(self._quantile))
        return Plan(limit, 3, self._backoff, self._answers.quantile(0.95))._asdict()

    def observe(self, execution: Execution) -> None:
        for attempt in execution.attempts:
            if attempt.outcome is Outcome.SUCCESS:
                self._answers.add(attempt.seconds)
            if attempt.outcome is Outcome.SUCCESS or (self._timeouts and attempt.outcome is Outcome.TIMEOUT):
                self._seen.add(attempt.seconds)


# --- the first POET ---------------------------------------------------------------------------------------------------


class AncestorBasic:
    """One retry more after each failure, a timeout that follows each answer; both start from the values before."""

    def __init__(self) -> None:
        self._timeout, self._retries = START.timeout, START.retries

    def parameters(self, t: int) -> Mapping[str, object]:
        return START._replace(timeout=self._timeout, retries=self._retries)._asdict()

    def observe(self, execution: Execution) -> None:
        seconds = execution.seconds
        if not execution.outcome.good:
            self._retries = min(5, self._retries + 1)
        elif seconds > 0.8 * self._timeout:
            self._timeout = min(1.2 * self._timeout, 120.0)
        elif seconds < 0.3 * self._timeout:
            self._timeout = max(0.9 * self._timeout, 5.0)


class AncestorStatistical:
    """Its "statistical" learner: steps by thumb, a regression slope of a score on the timeout, and momentum.

    Its learning rate grows by 5 % with each call whose slope is near 0, for ever: that is no slip here. Retries, which
    it would take to 8, end where a plan's do.
    """

    def __init__(self) -> None:
        self._timeout, self._retries = START.timeout, START.retries
        self._rate, self._push = 0.05, 0.0
        self._history: deque[tuple[float, float]] = deque(maxlen=10)  # timeout, score

    def parameters(self, t: int) -> Mapping[str, object]:
        return START._replace(timeout=self._timeout, retries=self._retries)._asdict()

    def observe(self, execution: Execution) -> None:
        good, seconds, timeout = execution.outcome.good, execution.seconds, self._timeout
        self._history.append((timeout, self._score(execution)))
        step = 0.2 if not good else 0.1 if seconds > 0.9 * timeout else -0.1 if seconds < 0.3 * timeout else 0.0
        if len(self._history) > 2:
            slope = self._slope()
            faster = 0.5 if abs(slope) > 0.1 else 1.5 if abs(slope) < 0.01 else 1.0
            self._rate *= 0.9 + 0.1 * faster
            if abs(slope) > 0.01:
                step += self._rate * slope
        first = len(self._history) == 1
        self._push = step * timeout if first else 0.9 * self._push + 0.1 * step * timeout
        self._timeout = max(1.0, min(300.0, timeout + self._push))
        if len(self._history) >= 5:
            fine = sum(score > 0.5 for _, score in self._history) / len(self._history)
            if fine < 0.7:
                self._retries = min(ATTEMPTS - 1, self._retries + 1)
            elif fine > 0.95:
                self._retries = max(1, self._retries - 1)

    def _score(self, execution: Execution) -> float:
        good, seconds, attempts = execution.outcome.good, execution.seconds, len(execution.attempts)
        quality = 0.0
        if good:
            quality = 0.7 + min(0.3, 3.0 / max(seconds, 0.1)) + (0.1 if attempts == 1 else -0.1 * (attempts > 3))
        return (0.32 * good + 0.3 * min(1.0, quality) + 0.2 * min(1.0, 10.0 / max(seconds, 0.1))) / 0.9

    def _slope(self) -> float:
        n = len(self._history)
        x, y = (sum(column) / n for column in zip(*self._history, strict=True))
        spread = sum((a - x) ** 2 for a, _ in self._history)
        return sum((a - x) * (b - y) for a, b in self._history) / spread if spread > 1e-12 else 0.0


# --- bandits and optimisers -------------------------------------------------------------------------------------------


class Thompson:
    """Thompson sampling on 32 plans, each a normal of unknown mean and spread; of five grids tried the best."""

    ARMS = tuple(
        Plan(timeout, retries, 0.1, share * timeout)
        for timeout, retries, share in product((0.1, 0.25, 0.5, 1.0, 2.5, 6.0, 15.0, 30.0), (1, 3), (0.0, 0.3))
    )

    def __init__(self, objective: Objective, seed: int) -> None:
        self._objective, self._rng, self._arm = objective, np.random.default_rng(seed), 0
        n = len(self.ARMS)
        self._n, self._sum, self._squares = np.ones(n), np.full(n, 0.5), np.full(n, 0.5)  # one call of 0.5 +- 0.5

    def parameters(self, t: int) -> Mapping[str, object]:
        mean = self._sum / self._n
        spread = np.sqrt(np.maximum(self._squares / self._n - mean**2, 1e-4) / self._n)
        self._arm = int(np.argmax(mean + spread * self._rng.standard_normal(len(mean))))
        return self.ARMS[self._arm]._asdict()

    def observe(self, execution: Execution) -> None:
        got, arm = reward(self._objective, execution), self._arm
        self._n[arm] += 1
        self._sum[arm] += got
        self._squares[arm] += got * got


class Tpe:
    """Optuna's tree of Parzen estimators: every ten calls are a trial, whose value is their mean utility."""

    BATCH = 10

    def __init__(self, objective: Objective, seed: int) -> None:
        """Raises ImportError where Optuna is not installed."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._objective = objective
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._study.enqueue_trial({"timeout": START.timeout, "retries": START.retries, "backoff": 1.0, "hedge": 0.0})
        self._got: list[float] = []
        self._ask()

    def _ask(self) -> None:
        self._trial: Any = self._study.ask()
        timeout = self._trial.suggest_float("timeout", SHORTEST, LONGEST, log=True)
        retries = self._trial.suggest_int("retries", 0, 5)
        backoff = self._trial.suggest_categorical("backoff", BACKOFFS)
        delay = timeout * self._trial.suggest_categorical("hedge", HEDGES)
        self._plan = Plan(timeout, retries, backoff, delay)

    def parameters(self, t: int) -> Mapping[str, object]:
        return self._plan._asdict()

    def observe(self, execution: Execution) -> None:
        self._got.append(reward(self._objective, execution))
        if len(self._got) == self.BATCH:
            self._study.tell(self._trial, sum(self._got) / self.BATCH)
            self._got = []
            self._ask()


class TwoPoint:
    """Ascent on a function that is only ever evaluated: numbers in [0, 1], a pair of evaluations for each step.

    The estimate of the gradient from ``f(w + delta u) - f(w - delta u)`` along a random direction u of length 1 is that
    of Agarwal et al. 2010; the difference is divided by the larger of the two values' sizes, the step is RMSprop's.
    """

    def __init__(self, start: NDArray[np.float64], rng: np.random.Generator, eta: float, delta: float) -> None:
        """eta: length of a step; delta: of a look aside, in (0, 0.5)."""
        self._rng, self._eta, self.delta = rng, eta, delta
        self.centre = np.clip(start, delta, 1.0 - delta)
        self._squares = np.zeros_like(self.centre)
        self._first: float | None = None
        self._direction = self._drawn()

    def _drawn(self) -> NDArray[np.float64]:
        direction = self._rng.standard_normal(len(self.centre))
        return np.asarray(direction / np.linalg.norm(direction))

    def point(self) -> NDArray[np.float64]:
        """Where to evaluate next."""
        side = 1.0 if self._first is None else -1.0
        return np.asarray(self.centre + side * self.delta * self._direction)

    def gradient(self, ahead: float, behind: float) -> NDArray[np.float64]:
        """The estimate from the values at both points."""
        scale = max(abs(ahead), abs(behind)) or 1.0
        return np.asarray(len(self.centre) / (2.0 * self.delta) * (ahead - behind) / scale * self._direction)

    def tell(self, value: float) -> None:
        """What the evaluation at ``point`` gave."""
        if self._first is None:
            self._first = value
            return
        gradient = self.gradient(self._first, value)
        self._squares = 0.99 * self._squares + 0.01 * gradient**2
        step = self._eta * gradient / (np.sqrt(self._squares) + 1e-8)
        self.centre = np.clip(self.centre + step, self.delta, 1.0 - self.delta)
        self._first, self._direction = None, self._drawn()


class ExponentialWeights:
    """A choice among ``n`` by Exp3 with falling rates of learning and of exploring."""

    def __init__(self, n: int, rng: random.Random) -> None:
        self._logs, self._rng, self._told, self._least = [0.0] * n, rng, 0, 0.0
        self._chosen, self._chance = 0, 1.0

    def choose(self) -> int:
        n, top = len(self._logs), max(self._logs)
        weights = [math.exp(each - top) for each in self._logs]
        exploring = min(1.0, math.sqrt(n / (self._told + 1)))
        total = sum(weights)
        chances = [(1.0 - exploring) * weight / total + exploring / n for weight in weights]
        self._chosen = self._rng.choices(range(n), chances)[0]
        self._chance = chances[self._chosen]
        return self._chosen

    def likeliest(self) -> int:
        """What it would choose most often."""
        return max(range(len(self._logs)), key=self._logs.__getitem__)

    def tell(self, value: float) -> None:
        n = len(self._logs)
        rate = math.sqrt(math.log(n) / (n * (self._told + 1))) / max(1.0, abs(self._least))
        self._logs[self._chosen] += rate * value / self._chance
        self._told, self._least = self._told + 1, min(self._least, value)


class Oppertune:
    """OPPerTune's hybrid solver: timeout (on a log scale) and retries by ``TwoPoint``; backoff and hedging by Exp3."""

    WAYS = tuple(product(BACKOFFS, HEDGES))

    def __init__(self, objective: Objective, seed: int, *, four: bool, eta: float = 0.01, delta: float = 0.1) -> None:
        """four: whether it chooses backoff and hedging, too; else they stay as at the start."""
        self._objective, self._span = objective, math.log(LONGEST / SHORTEST)
        start = np.asarray([math.log(START.timeout / SHORTEST) / self._span, START.retries / 5])
        self._numbers = TwoPoint(start, np.random.default_rng(seed), eta, delta)
        self._ways = ExponentialWeights(len(self.WAYS), random.Random(seed)) if four else None

    def parameters(self, t: int) -> Mapping[str, object]:
        timeout, retries = self._numbers.point().tolist()
        backoff, share = (START.backoff, 0.0) if self._ways is None else self.WAYS[self._ways.choose()]
        # In steps of 5 %, far finer than it looks aside, so that fewer plans need to be evaluated.
        seconds = SHORTEST * math.exp(round(self._span * timeout / 0.05) * 0.05)
        return Plan(seconds, round(5 * retries), backoff, share * seconds)._asdict()

    def observe(self, execution: Execution) -> None:
        got = reward(self._objective, execution)
        self._numbers.tell(got)
        if self._ways is not None:
            self._ways.tell(got)
