"""A small Gaussian process: what untried parameters would score, and how sure that is.

Matern-5/2 with a length per column (ARD), noise, and hyper-parameters at their posterior mode (MAP). Rows are points of
the unit cube; a column of ``levels`` k > 0 is a choice among codes 0 .. k - 1, whose distance is 0 or 1 (Hamming): the
same as that of one-hot corners, so that the kernel stays positive definite. Scales (log, whole numbers) are the
caller's. O(n^3) once per fit, O(n^2) per prediction: meant for up to some 200 points. (Rasmussen & Williams 2006.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_ROOT5 = math.sqrt(5.0)
_JITTER = 1e-8  # share of the variance that is added to the diagonal, so that twins of a point can be told apart
_LENGTH, _CHOICE_LENGTH, _LENGTH_SPREAD = math.log(0.5), math.log(1.4), 1.0  # prior of the log lengths
_NOISE, _NOISE_SPREAD = 0.0, 1.5  # prior of the logit of the noise's share of the variance: one half
_PASSES = 8  # over the hyper-parameters while they are fitted
_SHORTEST_STEP = 0.05  # of a log length [1]

_TILE = 64  # rows and columns that are worked on at once: see ``factored``

CANDIDATES = 256  # points that ``propose`` looks at, half of them near the best
MOST = 200  # points that are kept by ``newest``


class Hyper(NamedTuple):
    """Hyper-parameters of standardised scores; the variance of all is profiled out."""

    lengths: tuple[float, ...]  # log, one per column [log unit of x]
    noise: float  # logit of the noise's share of the variance


def usual(levels: Sequence[int]) -> Hyper:
    """The prior's mode."""
    return Hyper(tuple(_CHOICE_LENGTH if k else _LENGTH for k in levels), _NOISE)


class Process(NamedTuple):
    """A fitted process; frozen."""

    x: Array  # (n, d)
    levels: tuple[int, ...]  # (d,) 0: a number in [0, 1]; k > 0: a choice among k
    hyper: Hyper
    centre: float  # mean of the scores [score]
    scale: float  # standard deviation of score that the kernel's 1 stands for [score]
    factor: Array  # (n, n) lower Cholesky factor of the correlation, noise included
    solved: Array  # (n,) correlation^-1 (y - centre) / scale


def correlation(a: Array, b: Array, levels: Sequence[int], lengths: Sequence[float]) -> Array:
    """Matern-5/2 between rows of ``a``, (n, d), and ``b``, (m, d): (n, m), 1 where they are equal."""
    inverse = np.exp(-np.asarray(lengths))
    numbers = np.asarray(levels) == 0
    left, right = a[:, numbers] * inverse[numbers], b[:, numbers] * inverse[numbers]
    squared = np.zeros((len(a), len(b)))
    for j in range(left.shape[1]):
        squared += np.subtract.outer(left[:, j], right[:, j]) ** 2
    for j in np.flatnonzero(~numbers).tolist():
        squared += np.not_equal.outer(a[:, j], b[:, j]) * inverse[j] ** 2
    distance = _ROOT5 * np.sqrt(squared)
    return (1.0 + distance + distance * distance / 3.0) * np.exp(-distance)


def fit(
    x: Array, y: Sequence[float] | Array, levels: Sequence[int], hyper: Hyper | None = None, *, learn: bool = True
) -> Process:
    """A process through points ``x``, (n, d), that scored ``y``, (n,), n >= 1, all finite.

    hyper: where to begin, best those of the last fit. learn: whether to move them to the posterior mode, by a pattern
    search (Hooke & Jeeves 1961): some ``12 (d + 1)`` decompositions; else they are taken as they are.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    levels = tuple(levels)
    centre, spread = float(y.mean()), float(y.std())
    standard = (y - centre) / (spread or 1.0)
    hyper = usual(levels) if hyper is None else hyper
    if learn and len(y) > 2 and spread > 0:
        hyper = _mode(x, standard, levels, hyper)
    _, factor, variance = _evidence(x, standard, levels, hyper)
    scale = (spread or 1.0) * math.sqrt(variance)
    half = solved(factor, (standard * (spread or 1.0) / scale)[:, None])
    flipped = factor[::-1, ::-1].T  # of the transposed system, read backwards: lower triangular again
    return Process(x, levels, hyper, centre, scale, factor, solved(flipped, half[::-1])[::-1, 0].copy())


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


def log_posterior(x: Array, standard: Array, levels: Sequence[int], hyper: Hyper) -> float:
    """Log evidence of standardised scores plus the log prior of ``hyper``, but for a constant."""
    return _evidence(x, standard, levels, hyper)[0]


def _evidence(x: Array, y: Array, levels: Sequence[int], hyper: Hyper) -> tuple[float, Array, float]:
    noise = _share(hyper.noise)
    n = len(y)
    matrix = (1.0 - noise) * correlation(x, x, levels, hyper.lengths)
    matrix[np.diag_indices(n)] += noise + _JITTER
    factor = factored(matrix)
    half = solved(factor, y[:, None])
    # one more observation of a variance of 1 keeps it from collapsing where all scores are alike
    variance = (float(np.square(half).sum()) + 1.0) / (n + 1.0)
    modes = usual(levels)
    prior = sum(((a - b) / _LENGTH_SPREAD) ** 2 for a, b in zip(hyper.lengths, modes.lengths, strict=True))
    prior += ((hyper.noise - modes.noise) / _NOISE_SPREAD) ** 2
    return -0.5 * (n + 1) * math.log(variance) - float(np.log(np.diag(factor)).sum()) - 0.5 * prior, factor, variance


def _mode(x: Array, y: Array, levels: Sequence[int], start: Hyper) -> Hyper:
    """A local posterior mode, the better one of those near ``start`` and near the prior's."""
    point, value = min(
        ((hyper, -log_posterior(x, y, levels, hyper)) for hyper in (start, usual(levels))), key=lambda pair: pair[1]
    )
    steps = [0.8] * (len(levels) + 1)
    for _ in range(_PASSES):
        for j, step in enumerate(steps):
            for way in (step, -step):
                moved = _moved(point, j, way)
                cost = -log_posterior(x, y, levels, moved)
                if cost < value:
                    point, value = moved, cost
                    steps[j] *= 1.5
                    break
            else:
                steps[j] *= 0.5
        if max(steps) < _SHORTEST_STEP:
            break
    return point


def _moved(hyper: Hyper, j: int, step: float) -> Hyper:
    if j == len(hyper.lengths):
        return hyper._replace(noise=min(max(hyper.noise + step, -12.0), 12.0))
    lengths = list(hyper.lengths)
    lengths[j] = min(max(lengths[j] + step, -5.0), 5.0)
    return hyper._replace(lengths=tuple(lengths))


def _share(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


def predict(process: Process, points: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of the *noiseless* score at ``points``, (m, d): (m,) each."""
    share = 1.0 - _share(process.hyper.noise)
    cross = share * correlation(process.x, points, process.levels, process.hyper.lengths)
    half = solved(process.factor, cross)
    variance = np.maximum(share - np.einsum("ij,ij->j", half, half), 1e-12)
    mean = np.einsum("i,ij->j", process.solved, cross)
    return process.centre + process.scale * mean, process.scale * np.sqrt(variance)


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
    mean, _ = predict(process, process.x)
    return np.array(process.x[int(np.argmax(mean))])


def propose(process: Process, rng: np.random.Generator, *, candidates: Array | None = None) -> Proposal:
    """The candidate of the highest expected improvement over the best posterior mean of what was tried.

    (Mean instead of best score: Picheny et al. 2013 on noisy improvement.) candidates: (m, d), m > 0; None: half of
    ``CANDIDATES`` anywhere, half near the five best, at three distances.
    """
    mean, _ = predict(process, process.x)
    best = float(mean.max())
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
    levels = process.levels
    mean, _ = predict(process, process.x)
    best = process.x[np.argsort(-mean)[:5]]
    near = best[rng.integers(0, len(best), n // 2)]
    width = np.asarray([0.15, 0.05, 0.02])[rng.integers(0, 3, n // 2)][:, None]
    moved = rng.random(near.shape) < max(0.4, 1.5 / max(1, len(levels)))
    other = anywhere(n // 2, levels, rng)
    for j, k in enumerate(levels):
        if k:
            near[:, j] = np.where(rng.random(n // 2) < 0.2, other[:, j], near[:, j])
        else:
            near[:, j] += moved[:, j] * width[:, 0] * rng.standard_normal(n // 2)
            near[:, j] = np.clip(near[:, j], 0.0, 1.0)
    return np.concatenate([anywhere(n - n // 2, levels, rng), near])


def newest(x: Array, y: Array, most: int = MOST) -> tuple[Array, Array]:
    """The newest ``most`` points, so that the cost stays flat."""
    return x[-most:], y[-most:]
