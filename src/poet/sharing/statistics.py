"""What may be told of a function: counts and sums of its executions; checked, made coarse, made noisy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from poet.kernels.noise import Dice, discrete_laplace
from poet.model.execution import Execution, Outcome
from poet.model.tunable import Value
from poet.sharing.packing import Poisoned

SHORTEST, LONGEST, PER_DECADE = 1e-3, 1e3, 4  # of durations that are told apart [s]; those beyond are taken for these
BINS = round(math.log10(LONGEST / SHORTEST)) * PER_DECADE
FAILURES = ("error", "timeout", "refused")
LEVELS = 8  # that a declared range is told in
CLEAR = 10.0  # times the deviation of its noise: below, a noisy number of executions says too little to be told
STEP = 5  # that counts are rounded to where no noise is added
GRAIN = 256  # steps of a score's range, for means and sums
MOST_CONTRIBUTORS = 10**6
MOST_CELLS = 400  # of all tunables together, in one release
WIDE = 100.0  # ratio of the ends of a range from which its levels are equal in the logarithm

Context = Mapping[str, Value]
NO_CONTEXT: Context = MappingProxyType({})


class Calls(NamedTuple):
    """Executions, each counted once: by how long its first attempt took, or how that failed."""

    durations: tuple[tuple[float, int], ...]  # of those that answered: seconds, and how many
    failures: Mapping[str, int]  # by ``FAILURES``
    contributors: int  # hosts, or functions where it is of several; must not depend on any one execution
    context: Context = NO_CONTEXT  # features that all of them share

    @property
    def n(self) -> int:
        """Executions; with noise it may be below zero."""
        return sum(count for _, count in self.durations) + sum(self.failures.values())


class Cell(NamedTuple):
    """Executions that used one value of a tunable, and their scores."""

    value: Value
    n: int
    mean: float
    variance: float  # >= 0, over n


class Tunables(NamedTuple):
    """Of each tunable what its values were worth; an execution counts in one cell of each."""

    cells: Mapping[str, tuple[Cell, ...]]
    low: float  # each score was clipped to [low, high] before it was added up: bounds that are declared, not found
    high: float
    contributors: int
    context: Context = NO_CONTEXT

    @property
    def n(self) -> int:
        """Executions, of the tunable that has most; with noise it may be below zero."""
        return max((sum(cell.n for cell in cells) for cells in self.cells.values()), default=0)


Statistics = Calls | Tunables


class Space(NamedTuple):
    """What a function declares of its tunables."""

    bounds: Mapping[str, Sequence[float]]  # lowest, highest
    choices: Mapping[str, Sequence[Value]]


def calls_of(executions: Iterable[Execution], *, contributors: int, context: Context = NO_CONTEXT) -> Calls:
    """Counts of executions, by their first attempts. Those that say nothing of the service count nowhere."""
    durations: Counter[float] = Counter()
    failures: Counter[str] = Counter()
    for each in executions:
        first = each.attempts[0]
        if first.outcome.good:
            durations[first.seconds] += 1
        elif first.outcome not in (Outcome.CANCELLED, Outcome.SHED):
            failures[first.outcome.name.lower()] += 1
    return Calls(tuple(sorted(durations.items())), dict(failures), contributors, context)


def checked(statistics: Statistics, counted: int, space: Space) -> None:
    """Raises Poisoned, with the reason, where they cannot be true.

    counted: executions that the store has counted; statistics may be ahead of it by a few that are on their way.
    """
    if isinstance(statistics, Calls):
        _check_calls(statistics)
    else:
        _check_tunables(statistics, space)
    _whole("contributors", statistics.contributors, MOST_CONTRIBUTORS)
    if statistics.n > counted + max(1000, counted // 10):
        raise Poisoned(f"{statistics.n} executions are claimed, and the store has counted {counted}")


def _whole(what: str, count: object, most: int | None = None) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0 or (most is not None and count > most):
        limit = "" if most is None else f" and <= {most}"
        raise Poisoned(f"{what} must be a whole number >= 0{limit}, got {count!r}")


def _check_calls(calls: Calls) -> None:
    for seconds, count in calls.durations:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise Poisoned(f"a duration must be a number of seconds >= 0, got {seconds!r}")
        _whole("a count", count)
    for kind, count in calls.failures.items():
        if kind not in FAILURES:
            raise Poisoned(f"failures are told by {', '.join(FAILURES)}, got {kind!r}")
        _whole("a count", count)


def _check_tunables(tunables: Tunables, space: Space) -> None:
    low, high = tunables.low, tunables.high
    if not -math.inf < low < high < math.inf:
        raise Poisoned(f"scores must have finite bounds, the lower one first, got {low!r} and {high!r}")
    slack = 1e-6 * (high - low)
    for name in tunables.cells:
        if name not in space.bounds and name not in space.choices:
            raise Poisoned(f"no tunable {name!r} is declared")
    grid = sum(len(_grid(name, space)) for name in tunables.cells)
    if not 0 < grid <= MOST_CELLS:
        raise Poisoned(f"a release has 1 to {MOST_CELLS} cells, and these tunables have {grid}")
    for name, cells in tunables.cells.items():
        for cell in cells:
            _whole("a count", cell.n)
            if _level(name, cell.value, space) is None:
                raise Poisoned(f"{name} cannot be {cell.value!r}, by what is declared")
            if not low - slack <= cell.mean <= high + slack:  # so written, a NaN fails too
                raise Poisoned(f"a mean of scores in [{low:g}, {high:g}] cannot be {cell.mean!r}")
            most = max(0.0, (high - cell.mean) * (cell.mean - low)) + slack * (high - low)  # Bhatia & Davis 2000
            if not 0 <= cell.variance <= most:
                raise Poisoned(f"a variance of scores with this mean must be in [0, {most:g}], got {cell.variance!r}")


# --- grids that are known beforehand ------------------------------------------------------------------------------


def _bin(seconds: float) -> int:
    inside = min(max(seconds, SHORTEST), LONGEST)
    return min(BINS - 1, int(math.log10(inside / SHORTEST) * PER_DECADE + 1e-9))


def _middle(place: int) -> float:
    return SHORTEST * math.pow(10.0, (place + 0.5) / PER_DECADE)


def _level(name: str, value: Value, space: Space) -> int | None:
    """Which option, or which level of the range; None: it is none."""
    if name in space.choices:
        options = list(space.choices[name])
        same = [k for k, each in enumerate(options) if each == value and type(each) is type(value)]
        return same[0] if same else None
    low, high = space.bounds[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    if low == high:
        return 0
    wide = _wide(low, high)
    share = math.log(value / low) / math.log(high / low) if wide else (value - low) / (high - low)
    return min(LEVELS - 1, int(share * LEVELS + 1e-9))


def _wide(low: float, high: float) -> bool:
    return low > 0 and high / low >= WIDE


def _grid(name: str, space: Space) -> list[Value]:
    """All values that are told: each option, or the middle of each level."""
    if name in space.choices:
        return list(space.choices[name])
    low, high = space.bounds[name]
    if low == high:
        return [low]
    shares = [(k + 0.5) / LEVELS for k in range(LEVELS)]
    if _wide(low, high):
        return [low * (high / low) ** share for share in shares]
    return [low + (high - low) * share for share in shares]


class _Sums(NamedTuple):
    """Of a cell: executions, and their scores and squares, scaled to [-1, 1] and [0, 1]."""

    n: int = 0
    scores: float = 0.0
    squares: float = 0.0


def _summed(tunables: Tunables, space: Space) -> dict[str, list[_Sums]]:
    middle, half = (tunables.low + tunables.high) / 2, (tunables.high - tunables.low) / 2
    found: dict[str, list[_Sums]] = {}
    for name, cells in tunables.cells.items():
        sums = found[name] = [_Sums()] * len(_grid(name, space))
        for cell in cells:
            k = _level(name, cell.value, space)
            assert k is not None  # checked before
            mean = min(1.0, max(-1.0, (cell.mean - middle) / half))
            square = min(1.0, cell.variance / half**2 + mean * mean)
            old = sums[k]
            sums[k] = _Sums(old.n + cell.n, old.scores + cell.n * mean, old.squares + cell.n * square)
    return found


def _cell(value: Value, sums: _Sums, low: float, high: float) -> Cell:
    """The mean and the variance that sums make, within what can be, in ``GRAIN`` steps."""
    middle, half = (low + high) / 2, (high - low) / 2
    mean = min(1.0, max(-1.0, sums.scores / sums.n))
    variance = min(max(0.0, sums.squares / sums.n - mean * mean), 1 - mean * mean)
    steps = GRAIN // 2
    mean = round(mean * steps) / steps
    return Cell(value, sums.n, middle + half * mean, half**2 * min(round(variance * GRAIN) / GRAIN, 1 - mean * mean))


def _stepped(count: int) -> int:
    return STEP * ((2 * count + STEP) // (2 * STEP))


# --- coarse, and noisy --------------------------------------------------------------------------------------------


def coarse(statistics: Statistics, least: int, space: Space) -> Statistics:
    """Without noise: durations by bins, counts in steps of ``STEP``; of tunables only cells of ``least`` or more."""
    if isinstance(statistics, Calls):
        counts: Counter[int] = Counter()
        for seconds, count in statistics.durations:
            counts[_bin(seconds)] += count
        told = tuple((_middle(k), _stepped(n)) for k, n in sorted(counts.items()) if _stepped(n))
        failures = {kind: _stepped(statistics.failures.get(kind, 0)) for kind in FAILURES}
        return statistics._replace(durations=told, failures=failures)
    cells = {}
    for name, sums in _summed(statistics, space).items():
        whole = ((value, each) for value, each in zip(_grid(name, space), sums, strict=True) if each.n >= least)
        made = (_cell(value, each, statistics.low, statistics.high) for value, each in whole)
        cells[name] = tuple(cell._replace(n=_stepped(cell.n)) for cell in made)
    return statistics._replace(cells=cells)


def noisy(statistics: Statistics, epsilon: Fraction, least: int, space: Space, dice: Dice) -> Statistics:
    """With noise, so that it is epsilon-differentially private: one execution more or less is meant.

    Each bin and each kind of failure gets discrete Laplace noise of scale 1 / epsilon, those without any execution,
    too: an execution is in exactly one of them. Of tunables each of n, the sum of scores and that of their squares, in
    steps of the range over ``GRAIN``, has a third of the epsilon of that tunable, and each tunable an equal part. An
    execution moves such a sum by at most ``GRAIN`` steps, and one more for rounding. A cell is dropped where noise
    leaves it with fewer executions than ``least``, or than ``CLEAR`` deviations of that noise. No context is told:
    which there are may hang on one execution.
    """
    if isinstance(statistics, Calls):
        counts: Counter[int] = Counter()
        for seconds, count in statistics.durations:
            counts[_bin(seconds)] += count
        scale = 1 / epsilon
        told = tuple((_middle(k), counts[k] + discrete_laplace(scale, dice)) for k in range(BINS))
        failures = {kind: statistics.failures.get(kind, 0) + discrete_laplace(scale, dice) for kind in FAILURES}
        return Calls(told, failures, statistics.contributors)
    cells: dict[str, tuple[Cell, ...]] = {}
    scale = 3 * len(statistics.cells) / epsilon
    least = max(least, math.ceil(CLEAR * math.sqrt(2) * scale))
    for name, sums in _summed(statistics, space).items():
        made = []
        for value, each in zip(_grid(name, space), sums, strict=True):
            n = each.n + discrete_laplace(scale, dice)
            scores, squares = (
                (round(x * GRAIN) + discrete_laplace(scale * (GRAIN + 1), dice)) / GRAIN
                for x in (each.scores, each.squares)
            )
            if n >= least:
                made.append(_cell(value, _Sums(n, scores, squares), statistics.low, statistics.high))
        cells[name] = tuple(made)
    return Tunables(cells, statistics.low, statistics.high, statistics.contributors)


def needed(statistics: Statistics, epsilon: Fraction, least: int) -> int:
    """Executions that noise must leave, so that it is no more than a tenth of them; by what is declared alone."""
    if isinstance(statistics, Calls):
        return max(least, math.ceil(CLEAR * math.sqrt(2 * (BINS + len(FAILURES))) / epsilon))
    return least  # each cell is looked at by itself


# --- for those who receive ----------------------------------------------------------------------------------------


def failure_rate(calls: Calls) -> float:
    """The share of executions whose first attempt failed, in [0, 1], whatever noise made of the counts."""
    return min(1.0, max(0.0, sum(calls.failures.values()) / max(1, calls.n)))


def quantile(calls: Calls, q: float) -> float:
    """The duration below which a share q, in (0, 1), of those that answered stays [s].

    The running sum of noisy counts is made to rise by isotonic regression (Barlow et al. 1972), then read off within
    the bin in the logarithm. Raises ValueError where nothing answered.
    """
    counts = [0] * BINS
    for seconds, count in calls.durations:
        counts[_bin(seconds)] += count
    total = sum(counts)
    if total <= 0 or not 0 < q < 1:
        raise ValueError(f"no quantile {q!r} of {total} durations")
    blocks: list[tuple[float, int]] = []  # mean, and how many bins
    running = 0.0
    for count in counts:
        running += count
        mean, size = min(max(running, 0.0), float(total)), 1
        while blocks and blocks[-1][0] > mean:
            old, width = blocks.pop()
            mean, size = (old * width + mean * size) / (width + size), width + size
        blocks.append((mean, size))
    rising = [mean for mean, size in blocks for _ in range(size)]
    wanted, before = q * total, 0.0
    for k, upto in enumerate(rising):
        if upto >= wanted:
            return SHORTEST * math.pow(10.0, (k + (wanted - before) / (upto - before)) / PER_DECADE)
        before = upto
    return LONGEST
