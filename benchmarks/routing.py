"""Which option by context: what choosing costs until it is known which is best.

    python -m benchmarks.routing [seeds] [seeds of the rivals]

Seven environments. Five are made up: five options whose scores are linear in four features; four whose order is turned
round where a feature passes a threshold; four options and six features that say nothing; the first with scores of 0 and
1; the first, whose options change places at half-time. Two are recorded: which of two models answers an MMLU question
(``llm_routing``, after RouteLLM; the large one costs 0.3 of a right answer), and which of nine open models answers a
question of many kinds (after LLMRouter; the size costs 0.06 by doubling). A context are the features as they come, by
name: the subject's name, the number of characters.

The recorded tables are looked for as ``benchmarks.tunables`` looks for its own (``POET_TRACES``).

Regret per call: of the made-up ones against the best option of each call, by true means; of the recorded ones against
the one option that is best over all 1000 calls, by what was recorded. So it may be negative. Each seed shuffles the
recorded rows anew, or draws a new environment. Seeds below 1000 were looked at while the learner was made; those from
1000 on were not, and the bars are held against these.

What could be reached at all: of the recorded ones also what ours loses where it is told after each call what *every*
option would have scored, and need explore nothing; and of two models what any learner loses that knows nothing of the
call and does not prefer one of the two beforehand, even where it is told both means (``least_regret``: of scores of 0
and 1 with these means, which is near what was recorded and not the same).
"""

from __future__ import annotations

import csv
import gzip
import math
import random
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.table import Row, show
from benchmarks.tunable_problems import folder
from benchmarks.tuners import ExponentialWeights
from poet.learning.tuners.mixture import MixtureTuner
from poet.model.execution import Context
from poet.model.trial import Trial
from poet.model.tunable import Choice, Space
from poet.testing.tuners import memory_of

Array = npt.NDArray[np.float64]

CALLS = 1000
MARKS = (50, 300, 1000)
FRESH = 1000  # first seed that nothing was tuned on


class Call(NamedTuple):
    """One call of an environment."""

    context: Context
    vector: Array  # the same as numbers, for those who need them
    means: Array  # expected score of each option


class World(NamedTuple):
    """An environment."""

    name: str
    arms: int
    calls: Sequence[Call]
    noise: float  # standard deviation of a score; 0: what is expected comes; nan: 0 or 1 comes
    recorded: bool

    def regret(self, chosen: Sequence[int]) -> tuple[float, ...]:
        """Per call, after each of ``MARKS``."""
        means = np.array([call.means for call in self.calls])
        got = means[np.arange(len(chosen)), list(chosen)]
        best = means[:, int(np.argmax(means.mean(axis=0)))] if self.recorded else means.max(axis=1)
        return tuple(float((best[:mark] - got[:mark]).mean()) for mark in MARKS)

    def score(self, arm: int, call: Call, dice: np.random.Generator) -> float:
        """What one call gives."""
        mean = float(call.means[arm])
        draw = dice.standard_normal(), dice.random()
        return float(draw[1] < mean) if math.isnan(self.noise) else mean + self.noise * draw[0]


def _named(x: Array) -> Context:
    return tuple((f"x{k}", float(value)) for k, value in enumerate(x))


def linear(seed: int, *, bits: bool = False) -> World:
    """Five options, linear in four features."""
    rng = np.random.default_rng(seed)
    slopes, means = rng.standard_normal((5, 4)) * 0.12, rng.uniform(0.35, 0.6, 5)
    calls = []
    for _ in range(CALLS):
        x = rng.standard_normal(4)
        expected = 1.0 / (1.0 + np.exp(-(3.0 * means - 1.0 + 6.0 * slopes @ x))) if bits else means + slopes @ x
        calls.append(Call(_named(x), x, expected))
    return World("0/1 linear" if bits else "linear, 5 of 4", 5, calls, math.nan if bits else 0.3, False)


def threshold(seed: int) -> World:
    """Four options whose order is turned round where the first of three features passes a threshold."""
    rng = np.random.default_rng(seed)
    cut = rng.uniform(-0.4, 0.4)
    below, above = rng.permutation([0.8, 0.6, 0.5, 0.4]), rng.permutation([0.4, 0.5, 0.6, 0.8])
    points = rng.standard_normal((CALLS, 3))
    return World("threshold", 4, [Call(_named(x), x, above if x[0] > cut else below) for x in points], 0.3, False)


def irrelevant(seed: int) -> World:
    """Four options, six features that say nothing."""
    rng = np.random.default_rng(seed)
    means = rng.permutation([0.65, 0.55, 0.5, 0.4])
    return World("irrelevant", 4, [Call(_named(x), x, means) for x in rng.standard_normal((CALLS, 6))], 0.3, False)


def swapped(seed: int) -> World:
    """The first, in which at half-time every option becomes what the next one was."""
    world = linear(seed)
    calls = [
        call if number < CALLS // 2 else call._replace(means=np.roll(call.means, 1))
        for number, call in enumerate(world.calls)
    ]
    return world._replace(name="swapped", calls=calls)


@lru_cache(maxsize=4)
def rows(name: str) -> list[dict[str, str]]:
    """A recorded table. Raises FileNotFoundError where it is not there."""
    place = folder()
    if place is None:
        raise FileNotFoundError(f"{name}: POET_TRACES does not name the folder that it is in")
    with gzip.open(place / name, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@lru_cache(maxsize=4)
def _two(name: str) -> list[Call]:
    table, calls = rows(name), []
    benches = sorted({row["bench"] for row in table})
    for row in table:
        chars = int(float(row["prompt_chars"]))
        x = np.zeros(len(benches) + 9)
        x[benches.index(row["bench"])] = x[len(benches) + zlib.crc32(row["subject"].encode()) % 8] = 1.0
        x[-1] = math.log1p(chars) - 5.5
        context = (("bench", row["bench"]), ("subject", row["subject"]), ("prompt_chars", chars))
        scores = np.array([float(row["mixtral_8x7b_ok"]), float(row["gpt4_1106_ok"]) - 0.3])
        calls.append(Call(context, x, scores))
    return calls


SIZES = (8, 7, 70, 51, 7, 9, 8, 7, 49)  # of the nine models [10^9 parameters]


@lru_cache(maxsize=4)
def _nine(name: str) -> list[Call]:
    table, calls = rows(name), []
    models = list(table[0])[7:]
    for row in table:
        chars, lines = int(float(row["prompt_chars"])), int(float(row["n_lines"]))
        flags = [float(row[flag]) for flag in ("is_code", "is_mcq", "ends_q")]
        x = np.zeros(13)
        x[int(row["cluster"]) % 8] = 1.0
        x[8:] = math.log1p(chars) - 5.5, math.log1p(lines) - 1.0, *flags
        context = (
            ("cluster", row["cluster"]),
            ("prompt_chars", chars),
            ("n_lines", lines),
            *((flag, bool(value)) for flag, value in zip(("is_code", "is_mcq", "ends_q"), flags, strict=True)),
        )
        scores = [float(row[model]) - 0.06 * math.log2(size / 7) for model, size in zip(models, SIZES, strict=True)]
        calls.append(Call(context, x, np.array(scores)))
    return calls


TWO = "llm_routing/dev_routellm.csv.gz"


def two_models(seed: int, name: str = TWO) -> World:
    """Which of two models answers a question."""
    calls = _two(name)
    order = np.random.default_rng(seed).permutation(len(calls))[:CALLS]
    return World("two models", 2, [calls[k] for k in order], 0.0, True)


def nine_models(seed: int, name: str = "llm_routing/dev_multi.csv.gz") -> World:
    """Which of nine models answers a question."""
    calls = _nine(name)
    order = np.random.default_rng(seed).permutation(len(calls))[:CALLS]
    return World("nine models", len(SIZES), [calls[k] for k in order], 0.0, True)


WORLDS: Mapping[str, Callable[[int], World]] = {
    "linear": linear,
    "threshold": threshold,
    "irrelevant": irrelevant,
    "0/1 linear": lambda seed: linear(seed, bits=True),
    "swapped at half-time": swapped,
    "two models": two_models,
    "nine models": nine_models,
}
BARS = {"two models": (0.032, 0.015, 0.005), "nine models": (0.047, 0.025, 0.011)}


# --- who chooses ------------------------------------------------------------------------------------------------------


class Chooser(Protocol):
    """Chooses an option for each call, and is told what came of it."""

    def choose(self, call: Call) -> int:
        """The option's number."""

    def learn(self, call: Call, arm: int, score: float) -> None:
        """What it scored."""


class Ours:
    """The mixture, told of each call before the next one."""

    def __init__(self, arms: int, seed: int, **options: object) -> None:
        self._names = [f"m{k}" for k in range(arms)]
        space = Space(model=Choice(*self._names))
        self.tuner = MixtureTuner(space, {"model": "m0"}, seed=seed, **options)  # type: ignore[arg-type]

    def choose(self, call: Call) -> int:
        return self._names.index(str(self.tuner.suggest(call.context)["model"]))

    def learn(self, call: Call, arm: int, score: float) -> None:
        self.tuner.update([Trial({"model": self._names[arm]}, score, call.context)])


class Delayed(Ours):
    """The mixture as calls use it: by a policy that is made anew every ``every`` calls, when it is told of them."""

    def __init__(self, arms: int, seed: int, every: int = 50, tries: int = 16, **options: object) -> None:
        super().__init__(arms, seed, **options)
        self._every, self._tries, self._dice = every, tries, random.Random(seed)
        self._waiting: list[Trial] = []
        self._renew()

    def _renew(self) -> None:
        self._own = self.tuner.recommend().values
        self._policy = self.tuner.policy(1.0, self._tries)

    def choose(self, call: Call) -> int:
        values = {**self._own, **self._policy.pick(call.context, self._dice.random()).values}
        return self._names.index(str(values["model"]))

    def learn(self, call: Call, arm: int, score: float) -> None:
        self._waiting.append(Trial({"model": self._names[arm]}, score, call.context))
        if len(self._waiting) == self._every:
            self.tuner.update(self._waiting)
            self._waiting = []
            self._renew()


class Told(Ours):
    """The mixture, told after each call what every option would have scored; so it chooses what seems best."""

    def __init__(self, arms: int, seed: int) -> None:
        super().__init__(arms, seed, temper=1e-9)

    def learn(self, call: Call, arm: int, score: float) -> None:
        told = zip(self._names, call.means, strict=True)
        self.tuner.update([Trial({"model": name}, float(mean), call.context) for name, mean in told])


def least_regret(high: float, low: float, calls: int) -> float:
    """The least regret per call with two options whose scores are 0 or 1, of means ``high`` and ``low``, in (0, 1).

    Of any learner that is told both means, not which option has which, and nothing of the call: on average over both
    cases, each as likely beforehand. Then all that was seen comes down to how many more successes, and how many more
    failures, the first had than the second, and what is best follows backwards from the last call (Bellman 1957).
    """
    lost = np.zeros((2 * calls + 1, 2 * calls + 1))  # till the end, by surplus of successes and of failures
    for done in range(calls - 1, -1, -1):
        surplus = np.arange(-done, done + 1)
        odds = surplus[:, None] * math.log(high / low) + surplus[None, :] * math.log((1 - high) / (1 - low))
        first = 0.5 * (1.0 + np.tanh(0.5 * odds))  # probability that the first is the better one
        one, two = low + first * (high - low), high - first * (high - low)  # what they succeed with
        lost = np.minimum(
            (1.0 - first) * (high - low) + one * lost[2:, 1:-1] + (1.0 - one) * lost[1:-1, 2:],
            first * (high - low) + two * lost[:-2, 1:-1] + (1.0 - two) * lost[1:-1, :-2],
        )
    return float(lost[0, 0]) / calls


class Thompson:
    """Thompson sampling of normal means without a context (Thompson 1933)."""

    def __init__(self, arms: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._n, self._mean = np.zeros(arms), np.zeros(arms)

    def choose(self, call: Call) -> int:
        known = self._n + 0.5
        centre = (self._mean * self._n + 0.5 * 0.5) / known
        return int(np.argmax(centre + np.sqrt(0.1 / known) * self._rng.standard_normal(len(known))))

    def learn(self, call: Call, arm: int, score: float) -> None:
        self._n[arm] += 1.0
        self._mean[arm] += (score - self._mean[arm]) / self._n[arm]


class Disjoint:
    """A ridge regression of its own for every option, with an intercept (Li et al. 2010, Alg. 1)."""

    def __init__(self, arms: int, seed: int) -> None:
        self._rng, self._arms = np.random.default_rng(seed), arms
        self._inverse: Array | None = None

    def _x(self, call: Call) -> Array:
        x = np.append(call.vector, 1.0)
        if self._inverse is None:
            self._inverse = np.tile(np.eye(len(x)), (self._arms, 1, 1))
            self._cross = np.zeros((self._arms, len(x)))
        return x

    def _means(self, x: Array) -> tuple[Array, Array]:
        assert self._inverse is not None
        reach = self._inverse @ x
        return np.einsum("ad,ad->a", reach, self._cross), np.sqrt(np.maximum(reach @ x, 0.0))

    def learn(self, call: Call, arm: int, score: float) -> None:
        x = self._x(call)
        assert self._inverse is not None
        reach = self._inverse[arm] @ x
        self._inverse[arm] -= np.outer(reach, reach) / (1.0 + x @ reach)
        self._cross[arm] += score * x


class LinUcb(Disjoint):
    """The option with the highest upper bound (Li et al. 2010)."""

    def choose(self, call: Call) -> int:
        means, deviations = self._means(self._x(call))
        top = means + 0.5 * deviations
        return int(self._rng.choice(np.flatnonzero(top >= top.max() - 1e-12)))


class LinTs(Disjoint):
    """The option with the highest draw (Agrawal & Goyal 2013)."""

    def choose(self, call: Call) -> int:
        means, deviations = self._means(self._x(call))
        return int(np.argmax(means + 0.3 * deviations * self._rng.standard_normal(len(means))))


class Oppertune:
    """OPPerTune's choice: Exp3 without a context (Auer et al. 2002; Somashekar et al. 2024)."""

    def __init__(self, arms: int, seed: int) -> None:
        self._weights = ExponentialWeights(arms, random.Random(seed))

    def choose(self, call: Call) -> int:
        return self._weights.choose()

    def learn(self, call: Call, arm: int, score: float) -> None:
        self._weights.tell(score)


OURS, DELAYED = "POET, mixture", "POET, policy renewed every 50 calls"
CHOOSERS: Mapping[str, Callable[[int, int], Chooser]] = {
    OURS: Ours,
    DELAYED: Delayed,
    "Thompson, no context": Thompson,
    "LinTS": LinTs,
    "LinUCB": LinUcb,
    "OPPerTune (Exp3)": Oppertune,
}


def play(world: World, chooser: Chooser, seed: int, calls: Iterable[Call] | None = None) -> tuple[list[int], float]:
    """What was chosen for each of ``calls``, None: the world's, and the CPU time that it took per call [s]."""
    dice, chosen, spent = np.random.default_rng(seed + 77), [], 0.0
    for call in world.calls if calls is None else calls:
        began = time.thread_time()
        arm = chooser.choose(call)
        spent += time.thread_time() - began
        score = world.score(arm, call, dice)
        began = time.thread_time()
        chooser.learn(call, arm, score)
        spent += time.thread_time() - began
        chosen.append(arm)
    return chosen, spent / len(chosen)


def life(make: Callable[[int], World], choose: Callable[[int, int], Chooser], seed: int) -> tuple[float, ...]:
    """Regret per call after each of ``MARKS``."""
    world = make(seed)
    return world.regret(play(world, choose(world.arms, seed), seed)[0])


def half(values: Sequence[float]) -> float:
    """Half width of the 90 % interval of a mean, by the normal law."""
    return 1.645 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf


# --- what it costs ----------------------------------------------------------------------------------------------------


def call_cost(features: int = 3, arms: int = 2, calls: int = 200_000, *, useful: bool = True) -> float:
    """CPU time of one pick [s]; where the context is useful it is read, and every option scored."""
    names = [f"m{k}" for k in range(arms)]
    tuner, dice = MixtureTuner(Space(model=Choice(*names)), {"model": "m0"}), random.Random(1)
    contexts: list[Context] = [
        (*((f"x{k}", dice.gauss(0, 1)) for k in range(features - 1)), ("kind", dice.choice("abc"))) for _ in range(1000)
    ]
    for k in range(2000):
        context = contexts[k % 1000]
        x, arm = float(context[0][1]) if useful else 0.1 * dice.gauss(0, 1), k % arms
        tuner.update([Trial({"model": names[arm]}, x * (1 if arm else -1), context)])
    policy, draws = tuner.policy(1.0, 16), [dice.random() for _ in range(1000)]
    assert not useful or all(drawn.scores for drawn in policy.tries)
    began = time.thread_time()
    for k in range(calls):
        policy.pick(contexts[k % 1000], draws[k % 1000])
    return (time.thread_time() - began) / calls


def trial_cost(world: World, calls: int) -> tuple[float, int, int]:
    """CPU time of a suggestion and an update [s], bytes in memory, and of the dump, after so many calls."""
    ours = Ours(world.arms, 0)
    _, spent = play(world, ours, 0, (world.calls[k % CALLS] for k in range(calls)))
    return spent, memory_of(ours.tuner), len(ours.tuner.dump())


def _there() -> bool:
    place = folder()
    return place is not None and (place / "llm_routing").is_dir()


# --- rows -------------------------------------------------------------------------------------------------------------


def _said(lives: Sequence[tuple[float, ...]]) -> tuple[list[float], str]:
    columns = list(zip(*lives, strict=True))
    means = [statistics.fmean(column) for column in columns]
    return means, " / ".join(f"{m:.3f} ± {half(c):.3f}" for m, c in zip(means, columns, strict=True))


def _bar(bars: Sequence[float]) -> str:
    return "≤ " + " / ".join(f"{bar:.3f}" for bar in bars)


def run(seeds: int = 5, rivals: int | None = None, calls: int = 20_000) -> Iterator[Row]:
    """Rows of figures, as they are ready.

    seeds: of our own lives; rivals: of each rival's, as many where None; calls: that the cost is measured over.
    """
    rivals = rivals or seeds
    for name, make in WORLDS.items():
        if name in BARS and not _there():
            yield Row(f"{name}: recorded", "", "the data are not there")
            continue
        for rival, choose in CHOOSERS.items():
            mine = rival in (OURS, DELAYED)
            first = FRESH if name in BARS else 0
            lives = [life(make, choose, first + seed) for seed in range(seeds if mine else rivals)]
            means, said = _said(lives)
            bars = BARS[name] if name in BARS and rival == OURS else None
            holds = None if bars is None else all(m <= bar for m, bar in zip(means, bars, strict=True))
            yield Row(f"{name}: {rival}", _bar(bars) if bars else "", said, holds)
    for name in BARS:
        if _there():
            _, said = _said([life(WORLDS[name], Told, FRESH + seed) for seed in range(seeds)])
            yield Row(f"{name}: {OURS}, told what every option would have scored", "", said)
    if _there():
        low, high = sorted(np.mean([call.means for call in _two(TWO)], axis=0))
        bounds = " / ".join(f"{least_regret(high, low, mark):.4f}" for mark in MARKS[:2])
        yield Row("0/1 scores of two models' means, 50 / 300: least of all told both, not whose", "", bounds)
    for name, bars in BARS.items():
        if _there():
            means, said = _said([life(WORLDS[name], CHOOSERS[OURS], seed) for seed in range(5)])
            holds = all(m <= bar for m, bar in zip(means, bars, strict=True))
            yield Row(f"{name}: {OURS}, the five shuffles that the bar was measured on", _bar(bars), said, holds)
    for arms, features in ((2, 3), (9, 6)):
        costs = " / ".join(f"{1e6 * call_cost(features, arms, useful=useful):.2f}" for useful in (True, False))
        what = f"a pick, {arms} options, {features} features; where the context says nothing"
        yield Row(what, "", f"{costs} µs")
    for world in (linear(0), *((nine_models(0),) if _there() else ())):
        cost, memory, dump = trial_cost(world, calls)
        holds = cost <= 100e-6 and memory <= 200_000 and dump <= 64_000
        said = f"{1e6 * cost:.0f} µs, {memory / 1000:.0f} kB, {dump / 1000:.1f} kB"
        what = f"suggest + update, {world.arms} options, mean of {calls} calls; memory; dump"
        yield Row(what, "≤ 100 µs, 200 kB, 64 kB", said, holds)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(0 if show("Choice by context", run(*arguments)) else 1)
