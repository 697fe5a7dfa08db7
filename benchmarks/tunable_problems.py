"""What tuners are set to: fifteen problems with known truths, recorded tables, and a few that nothing was tuned on.

Scores lie mostly in [0, 1] and carry noise; regrets are computed from the truth without noise. Two generators each:
one draws the problem, one the noise and the contexts, so that all tuners meet the same problem under one seed.

*Synthetic*: a bowl in 2 and 6 dimensions, Rosenbrock's valley (in log terms) in 4, Rastrigin's egg box in 3; ``mixed``,
a call of a language model (model x prompt style x temperature x batch size; quality less cost); all begin in the middle
or at the first option, noise 0.1 or 0.15. ``bern_mixed`` tells 0 or 1 only. *Contextual*: ``ctx_mixed``, where each of
three kinds of task has a best of its own, and ``ctx_cont``, where the best moves with a number. *Drifting*:
``drift_mixed``, whose models change places at evaluation 150, ``drift_sphere2``, whose top goes round in 600.

*Tables*: every row is a measured configuration, its score the logarithm of the first objective between the 2 %
quantile and the best; the start is the median row; noise 0.1. Columns of two values are choices, others are real
numbers, on a log scale where they span more than a factor of 20. Whatever a tuner suggests is snapped to the nearest
row, and it is told the row's score for what *it* suggested: no tuner sees the rows.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from poet.model.execution import Context
from poet.model.tunable import Choice, Integer, Real, Space, Value

Floats = NDArray[np.float64]
Values = Mapping[str, Value]


class Problem(Protocol):
    """Something to tune."""

    name: str
    space: Space
    start: Values

    def context(self, t: int) -> Context:
        """Features of evaluation ``t``; to be asked once for each, in order."""

    def truth(self, values: Values, t: int, context: Context) -> float:
        """The expected score."""

    def best(self, t: int, context: Context) -> float:
        """The highest expected score there is."""

    def draw(self, values: Values, t: int, context: Context) -> float:
        """One noisy score."""


class Synthetic:
    """A function on numbers; the middle is the start."""

    def __init__(self, name: str, numbers: int, seed: int, noise: float = 0.1) -> None:
        self.name, self._noise = f"{name}{numbers}", noise
        self.rng, self._dice = np.random.default_rng(seed), np.random.default_rng(seed + 999)
        self.space = Space(**{f"x{i}": Real(0.0, 1.0) for i in range(numbers)})
        self.start: Values = dict.fromkeys(self.space, 0.5)
        self.top = self.rng.uniform(0.15, 0.85, numbers)

    def context(self, t: int) -> Context:
        """None."""
        return ()

    def point(self, values: Values) -> Floats:
        """The numbers alone."""
        return np.array([float(values[name]) for name in self.space])

    def truth(self, values: Values, t: int, context: Context) -> float:
        """The bowl; others override it."""
        return 1.0 - 4.0 * float(np.mean((self.point(values) - self.top) ** 2))

    def best(self, t: int, context: Context) -> float:
        """At the top."""
        return 1.0

    def draw(self, values: Values, t: int, context: Context) -> float:
        """With normal noise."""
        return self.truth(values, t, context) + self._noise * float(self._dice.standard_normal())


class Rosenbrock(Synthetic):
    """A bent valley whose floor is nearly level."""

    def __init__(self, numbers: int, seed: int) -> None:
        super().__init__("rosen", numbers, seed)

    def truth(self, values: Values, t: int, context: Context) -> float:
        """In log terms, so that the floor matters."""
        z = (self.point(values) - 0.5) * 3.0 + 0.7
        height = float(np.sum(100.0 * (z[1:] - z[:-1] ** 2) ** 2 + (1.0 - z[:-1]) ** 2))
        return 1.0 - math.log1p(height) / math.log1p(4000.0 * (len(z) - 1))


class Rastrigin(Synthetic):
    """A bowl with an egg box on it."""

    def __init__(self, numbers: int, seed: int) -> None:
        super().__init__("rastr", numbers, seed)

    def truth(self, values: Values, t: int, context: Context) -> float:
        """Many local tops."""
        z = (self.point(values) - self.top) * 4.0
        return 1.0 - float(np.sum(z**2 + 2.0 * (1.0 - np.cos(2.0 * np.pi * z)))) / (10.0 * len(z))


class Ackley(Synthetic):
    """Flat far away, steep near the top. Nothing was tuned on it."""

    def __init__(self, numbers: int, seed: int) -> None:
        super().__init__("ackley", numbers, seed)

    def truth(self, values: Values, t: int, context: Context) -> float:
        """Ackley 1987, over twice the unit cube."""
        z = 4.0 * (self.point(values) - self.top)
        far = 20.0 * (1.0 - math.exp(-0.2 * math.sqrt(float(np.mean(z**2)))))
        return 1.0 - (far + math.e - math.exp(float(np.mean(np.cos(2.0 * np.pi * z))))) / 12.0


class Ridge(Synthetic):
    """Two of its numbers matter, and together; the others do not. Nothing was tuned on it."""

    def __init__(self, numbers: int, seed: int) -> None:
        super().__init__("ridge", numbers, seed)
        self._pair = self.rng.permutation(numbers)[:2]

    def truth(self, values: Values, t: int, context: Context) -> float:
        """Along the diagonal it hardly falls, across it does."""
        a, b = (self.point(values) - self.top)[self._pair]
        return float(1.0 - min(1.0, abs(a - b)) - 0.5 * (a + b) ** 2)


class Peaks(Synthetic):
    """Five bumps of different heights and widths. Nothing was tuned on it."""

    def __init__(self, numbers: int, seed: int) -> None:
        super().__init__("peaks", numbers, seed)
        self._centres = np.vstack([self.top, self.rng.uniform(0.05, 0.95, (4, numbers))])
        self._heights = np.array([1.0, *self.rng.uniform(0.4, 0.8, 4)])
        self._widths = self.rng.uniform(0.15, 0.35, 5) * math.sqrt(numbers)

    def truth(self, values: Values, t: int, context: Context) -> float:
        """The highest bump at that point."""
        squared = np.sum((self.point(values) - self._centres) ** 2, axis=1)
        return float(np.max(self._heights * np.exp(-squared / (2.0 * self._widths**2))))


class Circling(Synthetic):
    """A bowl whose top goes round: once in 600 evaluations."""

    def __init__(self, seed: int) -> None:
        super().__init__("drift_sphere", 2, seed)
        self._phase = float(self.rng.random()) * 6.28

    def truth(self, values: Values, t: int, context: Context) -> float:
        """A circle of radius 0.35 about the middle."""
        angle = self._phase + 2.0 * math.pi * t / 600.0
        top = 0.5 + 0.35 * np.array([math.cos(angle), math.sin(angle)])
        return 1.0 - 4.0 * float(np.mean((self.point(values) - top) ** 2))


class Following(Synthetic):
    """A number in the context moves the top of the first tunable."""

    def __init__(self, seed: int) -> None:
        super().__init__("ctx_cont", 2, seed)
        self.name = "ctx_cont"
        self.rng = np.random.default_rng(seed)
        self._slope, self._second = float(self.rng.uniform(-0.6, 0.6)), float(self.rng.uniform(0.3, 0.7))

    def context(self, t: int) -> Context:
        """Uniform."""
        return (("z", float(self._dice.random())),)

    def truth(self, values: Values, t: int, context: Context) -> float:
        """A bowl about where the context says."""
        z = float(dict(context)["z"])
        first, second = self.point(values)
        return float(1.0 - 2.0 * ((first - 0.5 - 1.4 * self._slope * (z - 0.5)) ** 2 + (second - self._second) ** 2))


MODELS, STYLES = ("a", "b", "c", "d"), ("p", "q", "r")
TASKS = ("t0", "t1", "t2")


class Mixed:
    """A call of a language model: quality less cost, by model, prompt style, temperature and batch size."""

    def __init__(
        self, seed: int, *, noise: float = 0.15, zero_one: bool = False, contextual: bool = False, moves: int = 0
    ) -> None:
        """moves: the evaluation at which the models change places; 0: never."""
        rng, self._dice = np.random.default_rng(seed), np.random.default_rng(seed + 999)
        self.space = Space(
            model=Choice(*MODELS), style=Choice(*STYLES), temperature=Real(0.0, 1.5), batch=Integer(1, 64, log=True)
        )
        self.start: Values = {"model": "a", "style": "p", "temperature": 0.7, "batch": 1}
        self._noise, self._zero_one, self._contextual, self._moves = noise, zero_one, contextual, moves
        self.name = "bern_" * zero_one + "ctx_" * contextual + "drift_" * bool(moves) + "mixed"
        kinds = 3 if contextual else 1
        self._quality, self._style = rng.uniform(0.35, 0.8, (kinds, 4)), rng.uniform(-0.1, 0.1, (kinds, 3))
        self._warmth, self._batch = rng.uniform(0.1, 1.2, (kinds, 4)), rng.uniform(0.2, 3.8, kinds)
        self._best: dict[tuple[bool, int], float] = {}

    def context(self, t: int) -> Context:
        """One of three kinds of task, where there are any."""
        return (("task", TASKS[int(self._dice.integers(3))]),) if self._contextual else ()

    def _moved(self, t: int) -> bool:
        return 0 < self._moves <= t

    def truth(self, values: Values, t: int, context: Context) -> float:
        """In [0, 1]."""
        kind = TASKS.index(str(context[0][1])) if context else 0
        moved = self._moved(t)
        model = (MODELS.index(str(values["model"])) + 2 * moved) % 4
        cold = min(1.0, abs(float(values["temperature"]) - self._warmth[kind, model]) / 0.8) ** 1.5
        size = math.log2(float(values["batch"]) * 1.4142) - self._batch[kind] - 0.5 - 1.5 * moved
        style = self._style[kind, STYLES.index(str(values["style"]))]
        score = self._quality[kind, model] + style - 0.35 * cold - 0.03 * size**2 + 0.12
        return float(min(1.0, max(0.0, score)))

    def best(self, t: int, context: Context) -> float:
        """By a grid."""
        kind = TASKS.index(str(context[0][1])) if context else 0
        key = self._moved(t), kind
        if key not in self._best:
            sizes = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
            grid = itertools.product(MODELS, STYLES, np.linspace(0.0, 1.5, 61).tolist(), sizes)
            self._best[key] = max(self.truth(dict(zip(self.space, point, strict=True)), t, context) for point in grid)
        return self._best[key]

    def draw(self, values: Values, t: int, context: Context) -> float:
        """With normal noise, or 0 or 1."""
        expected = self.truth(values, t, context)
        if self._zero_one:
            return float(self._dice.random() < expected)
        return expected + self._noise * float(self._dice.standard_normal())


class Coins:
    """Success or none, by a logistic law: an effect per option, a parabola per number, and some acting together.

    What serves scores of 0 and 1 was tuned on it, on seeds 30 to 89.
    """

    def __init__(self, name: str, seed: int, *, options: Sequence[int], numbers: int, top: float, wide: float) -> None:
        """top: the chance of success at the best, in (0, 1). wide: how much worse the worst is [logit]."""
        rng, self._dice = np.random.default_rng(seed + 5000), np.random.default_rng(seed + 999)
        self.name = name
        choices = {f"c{i}": Choice(*"abcdefgh"[:k]) for i, k in enumerate(options)}
        self.space = Space(**choices, **{f"x{i}": Real(0.0, 1.0) for i in range(numbers)})
        first: dict[str, Value] = dict.fromkeys(choices, "a")
        self.start: Values = {**first, **dict.fromkeys((f"x{i}" for i in range(numbers)), 0.5)}
        share = rng.dirichlet(np.full(len(self.space), 2.0)) * wide
        self._effects = [
            part * (1.0 - np.linspace(0.0, 1.0, k)[rng.permutation(k)])
            for part, k in zip(share[: len(options)], options, strict=True)
        ]
        self._tops, self._parts = rng.uniform(0.1, 0.9, numbers), share[len(options) :]
        self._tilt = float(rng.uniform(-0.2, 0.2))  # of the first number's top, by the first option
        self._high = math.log(top / (1.0 - top))

    def context(self, t: int) -> Context:
        """None."""
        return ()

    def truth(self, values: Values, t: int, context: Context) -> float:
        """The chance of success."""
        codes = ["abcdefgh".index(str(values[f"c{i}"])) for i in range(len(self._effects))]
        lost = sum(float(effects[code]) for effects, code in zip(self._effects, codes, strict=True))
        for i, (top, part) in enumerate(zip(self._tops.tolist(), self._parts.tolist(), strict=True)):
            moved = self._tilt * (codes[0] % 2) if codes and not i else 0.0
            lost += 2.0 * part * (float(values[f"x{i}"]) - top - moved) ** 2
        return 1.0 / (1.0 + math.exp(lost - self._high))

    def best(self, t: int, context: Context) -> float:
        """With the best options, each number at its top."""
        chances = []
        for code in range(len(self._effects[0]) if self._effects else 1):
            lost = float(self._effects[0][code]) if self._effects else 0.0
            top = float(self._tops[0]) + (self._tilt * (code % 2) if self._effects else 0.0)
            lost += 2.0 * float(self._parts[0]) * (top - min(1.0, max(0.0, top))) ** 2
            chances.append(1.0 / (1.0 + math.exp(lost - self._high)))
        return max(chances)

    def draw(self, values: Values, t: int, context: Context) -> float:
        """0 or 1."""
        return float(self._dice.random() < self.truth(values, t, context))


# --- recorded tables --------------------------------------------------------------------------------------------------


class Table:
    """A recorded table of configurations."""

    def __init__(self, name: str, rows: Floats, scores: Floats, seed: int, noise: float = 0.1) -> None:
        self.name, self._noise, self._scores = name, noise, scores
        self._dice = np.random.default_rng(seed + 999)
        tunables: dict[str, Real | Choice] = {}
        for j in range(rows.shape[1]):
            values = np.unique(rows[:, j]).tolist()
            wide = values[0] > 0 and values[-1] / values[0] > 20
            tunables[f"x{j}"] = Choice(*values) if len(values) <= 2 else Real(values[0], values[-1], log=wide)
        self.space = Space(**tunables)
        self._places = np.array([self._place(dict(zip(self.space, row, strict=True))) for row in rows.tolist()])
        default = rows[int(np.argsort(scores)[int(0.5 * len(scores))])].tolist()
        self.start: Values = dict(zip(self.space, default, strict=True))

    def _place(self, values: Values) -> list[float]:
        place = []
        for name, tunable in self.space.items():
            value = values[name]
            if isinstance(tunable, Choice):
                place.append(float(tunable.options.index(value)))
            elif tunable.log:
                place.append(math.log(float(value) / tunable.low) / math.log(tunable.high / tunable.low))
            else:
                place.append((float(value) - tunable.low) / (tunable.high - tunable.low))
        return place

    def context(self, t: int) -> Context:
        """None."""
        return ()

    def truth(self, values: Values, t: int, context: Context) -> float:
        """The score of the nearest row."""
        return float(self._scores[int(np.argmin(((self._places - self._place(values)) ** 2).sum(axis=1)))])

    def best(self, t: int, context: Context) -> float:
        """Of all rows."""
        return float(self._scores.max())

    def draw(self, values: Values, t: int, context: Context) -> float:
        """With normal noise."""
        return self.truth(values, t, context) + self._noise * float(self._dice.standard_normal())


class Codecs:
    """One file on one machine: which codec and which level get it to the other end soonest.

    Seconds to compress, to send over ``LINK`` and to decompress. ``effort`` goes through the levels that the codec has;
    the start is the median of all options.
    """

    LINK = 2e6  # [byte/s]

    def __init__(self, name: str, options: Sequence[tuple[str, int, float]], seed: int, noise: float = 0.1) -> None:
        """options: codec, level, seconds."""
        self.name, self._noise = name, noise
        self._dice = np.random.default_rng(seed + 999)
        scores = scaled(-np.log(np.array([seconds for _, _, seconds in options])))
        self._levels: dict[str, list[tuple[int, float]]] = {}
        for (codec, level, _), score in zip(options, scores.tolist(), strict=True):
            self._levels.setdefault(codec, []).append((level, score))
        for levels in self._levels.values():
            levels.sort()
        self.space = Space(codec=Choice(*self._levels), effort=Real(0.0, 1.0))
        codec, level, _ = options[int(np.argsort(scores)[len(scores) // 2])]
        order = [each for each, _ in self._levels[codec]]
        self.start: Values = {"codec": codec, "effort": order.index(level) / max(1, len(order) - 1)}
        self._best = float(scores.max())

    def context(self, t: int) -> Context:
        """None."""
        return ()

    def truth(self, values: Values, t: int, context: Context) -> float:
        """The score of the nearest level."""
        levels = self._levels[str(values["codec"])]
        return levels[round(float(values["effort"]) * (len(levels) - 1))][1]

    def best(self, t: int, context: Context) -> float:
        """Of all options."""
        return self._best

    def draw(self, values: Values, t: int, context: Context) -> float:
        """With normal noise."""
        return self.truth(values, t, context) + self._noise * float(self._dice.standard_normal())


def scaled(scores: Floats) -> Floats:
    """0 at the 2 % quantile, 1 at the best, not below -0.2."""
    low, high = float(np.quantile(scores, 0.02)), float(scores.max())
    return np.asarray(np.clip((scores - low) / (high - low), -0.2, 1.0))


def folder() -> Path | None:
    """Where the data sets are; None: not here."""
    named = os.environ.get("POET_TRACES")
    places = [Path(named)] if named else [found.parent for found in sorted(Path("..").glob("*/data/config_single"))]
    return next((place for place in places if place.is_dir()), None)


@lru_cache
def _rows(path: Path) -> tuple[Floats, Floats]:
    """Configurations, without columns of one value, and scaled scores."""
    with gzip.open(path, "rt") as lines:
        head, *body = csv.reader(lines)
    table = np.array(body, dtype=float)
    objectives = [name for name in head if name.endswith(("+", "-"))]
    rows, first = table[:, : -len(objectives)], len(head) - len(objectives)
    sign = 1.0 if head[first].endswith("+") else -1.0
    scores = scaled(sign * np.log(np.maximum(table[:, first], 1e-9)))
    return rows[:, [len(np.unique(column)) > 1 for column in rows.T]], scores


def config(place: Path, system: str, seed: int) -> Table:
    """A configuration table of ``config_single``."""
    rows, scores = _rows(place / "config_single" / f"dev_{system}.csv.gz")
    return Table(f"cfg_{system}", rows, scores, seed)


@lru_cache
def _codecs(place: Path) -> dict[str, list[tuple[str, int, float]]]:
    found: dict[str, list[tuple[str, int, float]]] = {}
    with gzip.open(place / "compression" / "dev.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            seconds = float(row["compress_s"]) + float(row["decompress_s"])
            seconds += float(row["compressed_bytes"]) / Codecs.LINK
            option = (f"{row['plugin']}/{row['codec']}", int(row["level"]), seconds)
            found.setdefault(f"{row['dataset']} on {row['machine']}", []).append(option)
    return found


def files(place: Path) -> list[str]:
    """Names of all pairs of a file and a machine."""
    return list(_codecs(place))


def systems(place: Path) -> list[str]:
    """Names of all configuration tables."""
    return [path.name[4:-7] for path in sorted((place / "config_single").glob("dev_*.csv.gz"))]


SYNTHETIC: Mapping[str, Callable[[int], Problem]] = {
    "sphere2": lambda seed: Synthetic("sphere", 2, seed),
    "sphere6": lambda seed: Synthetic("sphere", 6, seed),
    "rosen4": lambda seed: Rosenbrock(4, seed),
    "rastr3": lambda seed: Rastrigin(3, seed),
    "mixed": lambda seed: Mixed(seed),
    "bern_mixed": lambda seed: Mixed(seed, zero_one=True),
}
CONTEXTUAL: Mapping[str, Callable[[int], Problem]] = {
    "ctx_mixed": lambda seed: Mixed(seed, contextual=True),
    "ctx_cont": Following,
}
DRIFTING: Mapping[str, Callable[[int], Problem]] = {
    "drift_mixed": lambda seed: Mixed(seed, moves=150),
    "drift_sphere2": Circling,
}
FRESH: Mapping[str, Callable[[int], Problem]] = {
    "ackley3": lambda seed: Ackley(3, seed),
    "ridge5": lambda seed: Ridge(5, seed),
    "peaks2": lambda seed: Peaks(2, seed),
    "peaks4": lambda seed: Peaks(4, seed),
}
FRESH_COINS: Mapping[str, Callable[[int], Problem]] = {
    "coins5": lambda seed: Coins("coins5", seed, options=(3, 4), numbers=3, top=0.9, wide=6.0),
    "coins3": lambda seed: Coins("coins3", seed, options=(), numbers=3, top=0.8, wide=5.0),
    "rare4": lambda seed: Coins("rare4", seed, options=(5, 2), numbers=2, top=0.3, wide=4.0),
}
TABLES = ("SS-J", "SS-O", "LLVM", "X264_AllMeasurements")


def problem(name: str, seed: int) -> Problem:
    """One by its name. Raises KeyError where there is none, FileNotFoundError where its data is not here."""
    for kind in (SYNTHETIC, CONTEXTUAL, DRIFTING, FRESH, FRESH_COINS):
        if name in kind:
            return kind[name](seed)
    place = folder()
    if place is None:
        raise FileNotFoundError(f"the data of {name} is not here: name its folder in POET_TRACES")
    if name.startswith("cfg_"):
        return config(place, name[4:], seed)
    return Codecs(name, _codecs(place)[name], seed)


def names(kind: Iterable[str]) -> list[str]:
    """As a list."""
    return list(kind)
