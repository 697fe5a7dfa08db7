"""A small Gaussian process: what untried parameters would score, and how sure that is.

Matern-5/2 with a length per column (ARD), noise, and hyper-parameters at their posterior mode (MAP). Rows are points of
the unit cube; a column of ``levels`` k > 0 is a choice among codes 0 .. k - 1, whose distance is 0 or 1 (Hamming): the
same as that of one-hot corners, so that the kernel stays positive definite. Scales (log, whole numbers) are the
caller's. O(n^3) once per fit, O(n^2) per prediction: meant for up to some 200 points. (Rasmussen & Williams 2006.)

Three extensions. *Time*: where moments are given, the kernel is multiplied by exp(-|dt| / memory), so that what was
seen long ago says little of now; the memory is learned (Bogunovic et al. 2016, with a rate that need not be known).
*Counts*: a point stands for so many observations, their mean and their scatter; the likelihood is that of all of them
(so folding loses nothing), the noise of a point is the noise over its count. *Growth*: a point, or another observation
of one, is taken in with O(n^2) work, by the inverse's block and rank-one formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_ROOT5 = math.sqrt(5.0)
_JITTER = 1e-8  # share of the variance that is added to the diagonal, so that twins of a point can be told apart
_LENGTH, _CHOICE_LENGTH, _LENGTH_SPREAD = math.log(0.5), math.log(1.4), 1.0  # prior of the log lengths
_NOISE, _NOISE_SPREAD = 0.0, 1.5  # prior of the logit of the noise's share of the variance: one half
_MEMORY, _MEMORY_SPREAD = math.log(400.0), 1.5  # prior of the log memory [log observations]
_TREND, _TREND_SPREAD = -0.5, 1.5  # prior of the logit of the trend's share of what is not noise
_BOUND, _SHORTEST_MEMORY, _LONGEST_MEMORY = 5.0, math.log(20.0), math.log(1e6)
_MOST_NOISE = 12.0  # of the logit
_CLIMBS = 16  # steps of a search for the mode

_TILE = 64  # rows and columns that are worked on at once: see ``factored``

CANDIDATES = 256  # points that ``propose`` looks at, half of them near the best
MOST = 200  # points that are kept by ``newest``


class Hyper(NamedTuple):
    """Hyper-parameters of standardised scores; the variance of all is profiled out."""

    lengths: tuple[float, ...]  # log, one per column [log unit of x]
    noise: float  # logit of the noise's share of the variance
    memory: float = _MEMORY  # log of the observations after which the past says 1/e as much; used where time is given
    trend: float | None = None  # logit of the trend's share of what is not noise; None: no trend


def usual(levels: Sequence[int], *, trend: bool = False) -> Hyper:
    """The prior's mode. trend: whether there may be one."""
    lengths = tuple(_CHOICE_LENGTH if k else _LENGTH for k in levels)
    return Hyper(lengths, _NOISE, trend=_TREND if trend else None)


class Seen(NamedTuple):
    """What was observed: n points."""

    x: Array  # (n, d)
    y: Array  # (n,) mean score at each
    counts: Array  # (n,) observations, > 0
    scatter: Array  # (n,) sum of their squared deviations from the mean, >= 0 [score^2]
    at: Array | None = None  # (n,) when, in observations; None: time plays no part


class Process(NamedTuple):
    """A fitted process; frozen."""

    seen: Seen
    levels: tuple[int, ...]  # (d,) 0: a number in [0, 1]; k > 0: a choice among k
    hyper: Hyper
    centre: float  # what is expected where nothing is known [score]
    scale: float  # standard deviation of score that the kernel's 1 stands for [score]
    inverse: Array  # (n, n) of the correlation, noise included
    solved: Array  # (n,) inverse (y - centre) / scale

    @property
    def x(self) -> Array:
        """The points."""
        return self.seen.x


def _squares(a: Array, b: Array, levels: Sequence[int]) -> Array:
    """Squared distances by column: (d, n, m)."""
    found = np.empty((len(levels), len(a), len(b)))
    for j, k in enumerate(levels):
        if k:
            np.not_equal.outer(a[:, j], b[:, j], out=found[j])
        else:
            np.subtract.outer(a[:, j], b[:, j], out=found[j])
            found[j] *= found[j]
    return found


def correlation(a: Array, b: Array, levels: Sequence[int], lengths: Sequence[float]) -> Array:
    """Matern-5/2 between rows of ``a``, (n, d), and ``b``, (m, d): (n, m), 1 where they are equal."""
    inverse = np.exp(-np.asarray(lengths, dtype=float))
    left, right = _corners(a, levels, inverse), _corners(b, levels, inverse)
    squared = product(left, right.T)
    squared *= -2.0
    squared += np.square(left).sum(axis=1)[:, None]
    squared += np.square(right).sum(axis=1)
    distance = np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)
    distance *= _ROOT5
    found = distance * distance
    found /= 3.0
    found += distance
    found += 1.0
    np.negative(distance, out=distance)
    found *= np.exp(distance, out=distance)
    return found


def _corners(x: Array, levels: Sequence[int], inverse: Array) -> Array:
    """Points, (n, d), where plain distances are those over the lengths; a choice is a corner of a simplex: (n, r)."""
    parts = []
    for j, k in enumerate(levels):
        if k:
            parts.append(np.equal.outer(x[:, j], np.arange(k)) * (inverse[j] * math.sqrt(0.5)))
        else:
            parts.append((x[:, j : j + 1] - 0.5) * inverse[j])
    return np.hstack(parts)


def trend(a: Array, b: Array, levels: Sequence[int]) -> Array:
    """The kernel of main effects alone: a parabola in each number, a level for each option of a choice: (n, m).

    That of a Bayesian regression on Legendre's first two polynomials and on indicators; on itself 1 in the mean.
    """
    return product(_effects(a, levels), _effects(b, levels).T)


def _effects(x: Array, levels: Sequence[int]) -> Array:
    """The regressors of ``trend``: (n, r)."""
    parts = []
    for j, k in enumerate(levels):
        if k:
            parts.append(np.equal.outer(x[:, j], np.arange(k)).astype(float))
        else:
            u = 2.0 * x[:, j : j + 1] - 1.0
            parts += [math.sqrt(1.5) * u, math.sqrt(0.625) * (3.0 * u * u - 1.0)]
    return np.asarray(np.hstack(parts) / math.sqrt(max(1, len(levels))))


def kernel(a: Array, b: Array, levels: Sequence[int], hyper: Hyper) -> Array:
    """Covariance of the noiseless score where that of all is 1: (n, m)."""
    found = correlation(a, b, levels, hyper.lengths)
    if hyper.trend is not None:
        part = _share(hyper.trend)
        found *= 1.0 - part
        found += part * trend(a, b, levels)
    found *= 1.0 - _share(hyper.noise)
    return found


def _own(points: Array, levels: Sequence[int], hyper: Hyper) -> Array:
    """The diagonal of ``kernel`` of points with themselves: (m,)."""
    own = np.ones(len(points))
    if hyper.trend is not None:
        own += _share(hyper.trend) * (np.square(_effects(points, levels)).sum(axis=1) - 1.0)
    return own * (1.0 - _share(hyper.noise))


def _faded(a: Array | None, b: Array | float, memory: float) -> Array | float:
    """What passing time leaves of a correlation: (n, m) or (n, 1); 1 where time plays no part."""
    if a is None:
        return 1.0
    return np.asarray(np.exp(-np.abs(np.subtract.outer(a, np.atleast_1d(b))) * math.exp(-memory)))


def seen(
    x: Array,
    y: Sequence[float] | Array,
    *,
    count: Array | None = None,
    scatter: Array | None = None,
    at: Array | None = None,
) -> Seen:
    """Points of which each was observed once where nothing else is said."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return Seen(x, y, np.ones(len(y)) if count is None else count, np.zeros(len(y)) if scatter is None else scatter, at)


def fit(
    x: Array | Seen,
    y: Sequence[float] | Array = (),
    levels: Sequence[int] = (),
    hyper: Hyper | None = None,
    *,
    learn: bool = True,
    prior: Hyper | None = None,
) -> Process:
    """A process through points ``x``, (n, d), that scored ``y``, (n,), n >= 1, all finite; or through a ``Seen``.

    hyper: where to begin, best those of the last fit. learn: whether to move them to the posterior mode, by BFGS from
    there or from the prior's mode, whichever fits better; some 20 decompositions; else they are taken as they are.
    prior: modes of the hyper-parameters' priors, where they are not the usual ones.
    """
    data = x if isinstance(x, Seen) else seen(x, y)
    levels = tuple(levels)
    prior = usual(levels) if prior is None else prior
    hyper = prior if hyper is None else hyper
    unit = spread(data)
    if learn and len(data.y) > 2 and unit > 0:
        hyper = _mode(data, levels, hyper, prior)
    _, inverse = _inverse(data, levels, hyper)
    return _solved(data, levels, hyper, inverse)


def spread(data: Seen) -> float:
    """Standard deviation of all observations about their mean [score]; 0: they are alike."""
    total = float(data.counts.sum())
    mean = float((data.counts * data.y).sum()) / total
    squared = float((data.counts * (data.y - mean) ** 2 + data.scatter).sum()) / total
    return math.sqrt(squared) if squared > 1e-24 * max(1.0, mean * mean) else 0.0


def _matrix(data: Seen, levels: Sequence[int], hyper: Hyper) -> Array:
    share = _share(hyper.noise)
    matrix = kernel(data.x, data.x, levels, hyper)
    if data.at is not None:
        matrix *= _faded(data.at, data.at, hyper.memory)
    matrix[np.diag_indices(len(matrix))] += share / data.counts + _JITTER
    return matrix


def _inverse(data: Seen, levels: Sequence[int], hyper: Hyper) -> tuple[Array, Array]:
    """The factor and the inverse of the correlation, noise included."""
    factor = factored(_matrix(data, levels, hyper))
    half = solved(factor, np.eye(len(factor)))
    return factor, product(half.T, half)


def _solved(data: Seen, levels: tuple[int, ...], hyper: Hyper, inverse: Array) -> Process:
    """The process of a known inverse: centre by generalised least squares, variance profiled out."""
    unit = spread(data) or 1.0
    weights = inverse.sum(axis=0)
    centre = float(weights @ data.y / weights.sum())
    solved_ = _times(inverse, data.y - centre) / unit
    scale = unit * math.sqrt(_variance(data, hyper, unit, float((data.y - centre) @ solved_) / unit))
    return Process(data, levels, hyper, centre, scale, inverse, solved_ * (unit / scale))


def _variance(data: Seen, hyper: Hyper, unit: float, square: float) -> float:
    """Of standardised scores. One more observation of a variance of 1 keeps it from collapsing where all are alike."""
    inner = float(data.scatter.sum()) / (unit * unit) / _share(hyper.noise)
    return (max(square, 0.0) + inner + 1.0) / (float(data.counts.sum()) + 1.0)


def with_point(process: Process, x: Array, y: float, at: float | None = None) -> Process:
    """With one more point, (d,), that was observed once: the inverse grows by a block; O(n^2)."""
    old, hyper = process.seen, process.hyper
    cross = kernel(old.x, x[None], process.levels, hyper)
    if old.at is not None and at is not None:
        cross *= _faded(old.at, at, hyper.memory)
    column = _times(process.inverse, cross[:, 0])
    own = float(_own(x[None], process.levels, hyper)[0]) + _share(hyper.noise) + _JITTER
    rest = max(own - float(cross[:, 0] @ column), _JITTER)
    n = len(column)
    inverse = np.empty((n + 1, n + 1))
    inverse[:n, :n] = process.inverse + np.multiply.outer(column / rest, column)
    inverse[n, :n] = inverse[:n, n] = -column / rest
    inverse[n, n] = 1.0 / rest
    data = Seen(
        np.vstack([old.x, x]),
        np.append(old.y, y),
        np.append(old.counts, 1.0),
        np.append(old.scatter, 0.0),
        None if old.at is None or at is None else np.append(old.at, at),
    )
    return _solved(data, process.levels, hyper, inverse)


def with_count(process: Process, i: int, y: float, count: float, scatter: float) -> Process:
    """With other figures of point ``i``: the inverse changes by a matrix of rank one; O(n^2)."""
    old = process.seen
    change = _share(process.hyper.noise) * (1.0 / count - 1.0 / float(old.counts[i]))
    column = process.inverse[:, i]
    inverse = process.inverse - np.multiply.outer(column * (change / (1.0 + change * column[i])), column)
    ys, counts, scatters = old.y.copy(), old.counts.copy(), old.scatter.copy()
    ys[i], counts[i], scatters[i] = y, count, scatter
    return _solved(old._replace(y=ys, counts=counts, scatter=scatters), process.levels, process.hyper, inverse)


# --- linear algebra in tiles ------------------------------------------------------------------------------------------


def factored(matrix: Array) -> Array:
    """The lower Cholesky factor of a symmetric positive definite ``matrix``, (n, n). Raises LinAlgError: it is none.

    In tiles, so small that BLAS does not spread them over threads: beside a busy program these wait for each other
    hundreds of times longer than they work, and learning has no claim to the other cores anyway.
    """
    factor = matrix.copy()
    n = len(factor)
    for k in range(0, n, _TILE):
        here = slice(k, min(k + _TILE, n))
        factor[here, here] = np.linalg.cholesky(factor[here, here])
        rows = [slice(i, min(i + _TILE, n)) for i in range(here.stop, n, _TILE)]
        for below in rows:
            factor[below, here] = np.linalg.solve(factor[here, here], factor[below, here].T).T
        for i, below in enumerate(rows):
            for right in rows[: i + 1]:
                factor[below, right] -= factor[below, here] @ factor[right, here].T
    return np.tril(factor)


def solved(factor: Array, right: Array) -> Array:
    """``factor^-1 right``: (n, m), for a lower triangular ``factor``, (n, n), and ``right``, (n, m); in tiles."""
    found = np.array(right, dtype=float)
    n, m = found.shape
    for k in range(0, n, _TILE):
        here = slice(k, min(k + _TILE, n))
        for c in range(0, m, _TILE):
            columns = slice(c, min(c + _TILE, m))
            found[here, columns] = np.linalg.solve(factor[here, here], found[here, columns])
            for i in range(here.stop, n, _TILE):
                below = slice(i, min(i + _TILE, n))
                found[below, columns] -= factor[below, here] @ found[here, columns]
    return found


def product(a: Array, b: Array) -> Array:
    """``a b``, (n, k) by (k, m), in tiles."""
    n, m, middle = len(a), b.shape[1], len(b)
    found = np.zeros((n, m))
    for i in range(0, n, _TILE):
        for j in range(0, m, _TILE):
            for k in range(0, middle, _TILE):
                found[i : i + _TILE, j : j + _TILE] += a[i : i + _TILE, k : k + _TILE] @ b[k : k + _TILE, j : j + _TILE]
    return found


def _times(matrix: Array, vector: Array) -> Array:
    """A product with a vector; so small a one is not spread over threads."""
    return np.asarray(matrix @ vector)


# --- hyper-parameters -------------------------------------------------------------------------------------------------


def log_posterior(x: Array, standard: Array, levels: Sequence[int], hyper: Hyper) -> float:
    """Log evidence of standardised scores plus the log prior of ``hyper``, but for a constant."""
    return _posterior(seen(x, standard), tuple(levels), hyper, usual(levels))


def _posterior(data: Seen, levels: tuple[int, ...], hyper: Hyper, prior: Hyper) -> float:
    return -_Cost(data, levels, prior)(_packed(hyper, data.at is not None))[0]


def _packed(hyper: Hyper, timed: bool) -> Array:
    more = ([hyper.memory] if timed else []) + ([hyper.trend] if hyper.trend is not None else [])
    return np.array([*hyper.lengths, hyper.noise, *more])


class _Cost:
    """Minus the log posterior of hyper-parameters, and its gradient. Points are prepared once."""

    def __init__(self, data: Seen, levels: tuple[int, ...], prior: Hyper) -> None:
        self._data, self._unit, self._levels = data, spread(data) or 1.0, levels
        self._timed = data.at is not None
        self._squares = _squares(data.x, data.x, levels)
        self._ages = np.abs(np.subtract.outer(data.at, data.at)) if data.at is not None else None
        self._modes = _packed(prior, self._timed)
        self._trend = trend(data.x, data.x, levels) if prior.trend is not None else None
        d, timed, bent = len(levels), int(self._timed), int(prior.trend is not None)
        self._spreads = np.array(
            [_LENGTH_SPREAD] * d + [_NOISE_SPREAD] + [_MEMORY_SPREAD] * timed + [_TREND_SPREAD] * bent
        )
        self.low = np.array([-_BOUND] * d + [-_MOST_NOISE] + [_SHORTEST_MEMORY] * timed + [-_BOUND] * bent)
        self.high = np.array([_BOUND] * d + [_MOST_NOISE] + [_LONGEST_MEMORY] * timed + [_BOUND] * bent)

    def __call__(self, point: Array) -> tuple[float, Array]:
        data, d = self._data, len(self._levels)
        n, total = len(data.y), float(data.counts.sum())
        inner = float(data.scatter.sum()) / self._unit**2
        weights, share = np.exp(-2.0 * point[:d]), _share(float(point[d]))
        squared = np.zeros((n, n))
        for weight, square in zip(weights.tolist(), self._squares, strict=True):
            squared += weight * square
        distance = _ROOT5 * np.sqrt(squared)
        fall = np.exp(-distance) * (1.0 - share)
        left: Array | float = 1.0 - share
        if self._ages is not None:
            forgotten = self._ages * math.exp(-float(point[d + 1]))
            faded = np.exp(-forgotten)
            fall *= faded
            left = left * faded
        rough = (1.0 + distance + distance * distance / 3.0) * fall
        whole = rough
        if self._trend is not None:
            part = _share(float(point[-1]))
            fall *= 1.0 - part
            smooth = self._trend * left
            whole = (1.0 - part) * rough + part * smooth
        matrix = whole.copy()
        matrix[np.diag_indices(n)] += share / data.counts + _JITTER
        factor = factored(matrix)
        half = solved(factor, np.eye(n))
        inverse = product(half.T, half)
        mass = inverse.sum(axis=0)
        centred = (data.y - float(mass @ data.y / mass.sum())) / self._unit
        alpha = _times(inverse, centred)
        square = max(float(centred @ alpha), 0.0) + inner / share + 1.0
        away = (point - self._modes) / self._spreads
        cost = (
            0.5 * (total + 1.0) * math.log(square / (total + 1.0))
            + float(np.log(np.diag(factor)).sum())
            + 0.5 * (total - n) * math.log(share)
            + 0.5 * float(away @ away)
        )
        # d cost / d matrix, then the chain rule for each hyper-parameter
        pull = 0.5 * (inverse - np.multiply.outer(alpha * ((total + 1.0) / square), alpha))
        gradient = away / self._spreads
        slope = pull * (1.0 + distance) * fall * (-5.0 / 3.0)
        for j, each in enumerate(self._squares):
            gradient[j] -= weights[j] * float((slope * each).sum())
        turned = share * (1.0 - share)
        gradient[d] += turned * (
            float((pull.diagonal() / data.counts).sum())
            - float((pull * whole).sum()) / (1.0 - share)
            - 0.5 * (total + 1.0) * inner / (square * share * share)
            + 0.5 * (total - n) / share
        )
        if self._ages is not None:
            gradient[d + 1] += float((pull * whole * forgotten).sum())
        if self._trend is not None:
            gradient[-1] += part * (1.0 - part) * float((pull * (smooth - rough)).sum())
        return cost, gradient


def _mode(data: Seen, levels: tuple[int, ...], start: Hyper, prior: Hyper) -> Hyper:
    """A local posterior mode, from ``start`` or the prior's, whichever is the higher one."""
    cost = _Cost(data, levels, prior)
    timed = data.at is not None
    begins = [_packed(hyper, timed) for hyper in dict.fromkeys((start, prior))]
    found = _descended(cost, min(begins, key=lambda point: cost(point)[0]), cost.low, cost.high)
    lengths = tuple(found[: len(levels)].tolist())
    noise, *more = found[len(levels) :].tolist()
    bent = more.pop() if prior.trend is not None else None
    return Hyper(lengths, noise, more[0] if more else start.memory, bent)


def _descended(cost: Callable[[Array], tuple[float, Array]], point: Array, low: Array, high: Array) -> Array:
    """A local minimum within a box, by BFGS with a step of at most 1.5 and halvings (Nocedal & Wright 2006, 6.1)."""
    point = np.clip(point, low, high)
    value, gradient = cost(point)
    shape = np.eye(len(point))
    fresh = True
    for _ in range(_CLIMBS):
        free = ~(((point <= low) & (gradient > 0)) | ((point >= high) & (gradient < 0)))
        way = -(shape @ (gradient * free)) * free
        if float(way @ gradient) >= 0:
            way, fresh = -gradient * free, True
            shape = np.eye(len(point))
        far = float(np.abs(way).max(initial=0.0))
        if far < 1e-3:
            break
        step = min(1.0, (0.5 if fresh else 1.5) / far)
        for _ in range(6):
            moved = np.clip(point + step * way, low, high)
            reached, slope = cost(moved)
            if reached <= value + 1e-4 * float(gradient @ (moved - point)):
                break
            step *= 0.4
        else:
            break
        gone, turned = moved - point, slope - gradient
        curve = float(gone @ turned)
        if curve > 1e-10:
            if fresh:
                shape = np.eye(len(point)) * (curve / float(turned @ turned))
                fresh = False
            left = np.eye(len(point)) - np.multiply.outer(gone, turned) / curve
            shape = left @ shape @ left.T + np.multiply.outer(gone, gone) / curve
        gained = value - reached
        point, value, gradient = moved, reached, slope
        if gained < 1e-3:
            break
    return point


def _share(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


# --- what follows from it ---------------------------------------------------------------------------------------------


def crossed(process: Process, points: Array, at: float | None = None) -> Array:
    """Covariance of the process's points with ``points``, (m, d), where the scale is 1: (n, m)."""
    cross = kernel(process.x, points, process.levels, process.hyper)
    if process.seen.at is not None and at is not None:
        cross *= _faded(process.seen.at, at, process.hyper.memory)
    return cross


def mean(process: Process, points: Array, at: float | None = None) -> Array:
    """Mean score at ``points``, (m, d), at the moment ``at``: (m,)."""
    return np.asarray(process.centre + process.scale * _times(process.solved, crossed(process, points, at)))


def predict(process: Process, points: Array, at: float | None = None) -> tuple[Array, Array]:
    """Mean and standard deviation of the *noiseless* score at ``points``, (m, d), at one moment: (m,) each."""
    cross = crossed(process, points, at)
    known = np.einsum("ij,ij->j", cross, product(process.inverse, cross))
    variance = _own(points, process.levels, process.hyper) - known
    middle = process.centre + process.scale * _times(process.solved, cross)
    return middle, process.scale * np.sqrt(np.maximum(variance, 1e-12))


def joint(process: Process, points: Array, at: float | None = None) -> tuple[Array, Array]:
    """Mean, (m,), and covariance, (m, m), of the noiseless score at ``points``, (m, d), at one moment."""
    cross = crossed(process, points, at)
    own = kernel(points, points, process.levels, process.hyper)
    covariance = own - product(cross.T, product(process.inverse, cross))
    return process.centre + process.scale * _times(process.solved, cross), process.scale**2 * covariance


def drawn(middle: Array, covariance: Array, rng: np.random.Generator, n: int = 1, temper: float = 1.0) -> Array:
    """Draws of a joint posterior, (n, m), their deviation from the mean multiplied by ``temper``."""
    m = len(middle)
    level = max(float(covariance.trace()) / m, 1e-18)
    factor = factored(covariance + 1e-6 * level * np.eye(m))
    return np.asarray(middle + temper * product(rng.standard_normal((n, m)), factor.T))


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """How much a normal score is expected to exceed ``best``, counting nothing where it does not (Mockus 1975).

    >>> [round(float(v), 4) for v in expected_improvement(np.array([0.0, 2.0]), np.array([1.0, 1e-9]), 0.0)]
    [0.3989, 2.0]
    """
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    below = 0.5 * np.asarray([math.erfc(-v / math.sqrt(2.0)) for v in z])
    return np.asarray(np.maximum((mean - best) * below + deviation * density, 0.0))


class Proposal(NamedTuple):
    """What to try next."""

    point: Array  # (d,)
    improvement: float  # expected, over the best of what was tried [score]


def recommended(process: Process) -> Array:
    """The tried point of the highest posterior mean, (d,); that of the best score would be the luckiest one."""
    return np.array(process.x[int(np.argmax(mean(process, process.x)))])


def propose(process: Process, rng: np.random.Generator, *, candidates: Array | None = None) -> Proposal:
    """The candidate of the highest expected improvement over the best posterior mean of what was tried.

    (Mean instead of best score: Picheny et al. 2013 on noisy improvement.) candidates: (m, d), m > 0; None: half of
    ``CANDIDATES`` anywhere, half near the five best, at three distances.
    """
    best = float(mean(process, process.x).max())
    points = scattered(process, rng) if candidates is None else candidates
    improvement = expected_improvement(*predict(process, points), best)
    k = int(np.argmax(improvement))
    return Proposal(points[k].copy(), float(improvement[k]))


def anywhere(n: int, levels: Sequence[int], rng: np.random.Generator) -> Array:
    """``n`` points at random: (n, d)."""
    points = rng.random((n, len(levels)))
    for j, k in enumerate(levels):
        if k:
            points[:, j] = rng.integers(0, k, n)
    return points


def scattered(process: Process, rng: np.random.Generator, n: int = CANDIDATES) -> Array:
    """Candidates, half of them anywhere, half near the best points tried: (n, d)."""
    best = process.x[np.argsort(-mean(process, process.x))[:5]]
    near = around(best, process.levels, rng, n // 2, (0.15, 0.05, 0.02))
    return np.concatenate([anywhere(n - n // 2, process.levels, rng), near])


def around(
    centres: Array, levels: Sequence[int], rng: np.random.Generator, n: int, widths: Sequence[float], other: float = 0.2
) -> Array:
    """``n`` points near ``centres``, (k, d): some columns moved by a normal of one of ``widths``: (n, d).

    other: probability that a choice is another one.
    """
    near = centres[rng.integers(0, len(centres), n)]
    width = np.asarray(widths)[rng.integers(0, len(widths), n)]
    moved = rng.random(near.shape) < max(0.4, 1.5 / max(1, len(levels)))
    steps = rng.standard_normal(near.shape)
    for j, k in enumerate(levels):
        if k:
            near[:, j] = np.where(rng.random(n) < other, rng.integers(0, k, n), near[:, j])
        else:
            near[:, j] = np.clip(near[:, j] + moved[:, j] * width * steps[:, j], 0.0, 1.0)
    return near


def newest(x: Array, y: Array, most: int = MOST) -> tuple[Array, Array]:
    """The newest ``most`` points, so that the cost stays flat."""
    return x[-most:], y[-most:]
