"""k-means on several data sets of one shape at a time: starts, references and resamples in one go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.findings import Array

Codes = npt.NDArray[np.int64]
Single = npt.NDArray[np.float32]
Few = npt.NDArray[np.uint8]

STEPS = 25
_SETTLED = 1e-3  # share of rows that may still move when a fit has settled


def squares(x: Array, centres: Array) -> Array:
    """Squared distances: (..., n, d) and (..., k, d) -> (..., n, k)."""
    cross = x @ np.swapaxes(centres, -1, -2)
    own = np.einsum("...nd,...nd->...n", x, x)[..., None]
    theirs = np.einsum("...kd,...kd->...k", centres, centres)[..., None, :]
    return np.asarray(np.maximum(own - 2.0 * cross + theirs, 0.0))


def seeded(x: Array, k: int, rng: np.random.Generator) -> Array:
    """Starting centres by k-means++ (Arthur & Vassilvitskii 2007), of several data sets: (b, n, d) -> (b, k, d)."""
    b, n, d = x.shape
    lines = np.arange(b)
    centres: Array = np.empty((b, k, d))
    centres[:, 0] = x[lines, rng.integers(0, n, b)]
    own = np.einsum("bnd,bnd->bn", x, x)
    nearest = np.full((b, n), np.inf)
    for number in range(1, k):
        last = centres[:, number - 1]
        away = own - 2.0 * (x @ last[..., None])[..., 0] + (last * last).sum(axis=-1)[:, None]
        np.minimum(nearest, np.maximum(away, 0.0), out=nearest)
        sums = np.cumsum(nearest, axis=1)
        drawn = rng.random(b) * sums[:, -1]
        picks = np.minimum((sums < drawn[:, None]).sum(axis=1), n - 1)
        centres[:, number] = x[lines, picks]
    return centres


def _nearest(flat: Single, centres: Single) -> tuple[Few, Single]:
    """The nearest centre, (b, n), and its squared distance less the row's own square.

    flat: (b, d, n) rows, turned; centres: (b, k, d). For few groups a pass over each is faster than ``argmin``.
    """
    scores: Single = np.asarray((-2.0 * centres) @ flat, np.float32)
    scores += np.einsum("bkd,bkd->bk", centres, centres)[..., None]
    least: Single = scores[:, 0].copy()
    labels: Few = np.zeros(least.shape, np.uint8)
    for k in range(1, centres.shape[1]):
        np.copyto(labels, k, where=scores[:, k] < least)
        np.minimum(least, scores[:, k], out=least)
    return labels, least


def lloyd(x: npt.ArrayLike, centres: npt.ArrayLike, steps: int = STEPS) -> tuple[Array, Codes, Array]:
    """Lloyd's algorithm on several data sets: centres (b, k, d), labels (b, n) and the spread within groups (b,).

    Within it numbers are of single precision, which for features of a few deviations is ample.
    """
    rows, at = np.asarray(x, np.float32), np.asarray(centres, np.float32)
    groups = np.arange(at.shape[1], dtype=np.uint8)[:, None]
    flat = np.ascontiguousarray(np.swapaxes(rows, -1, -2))
    labels, _ = _nearest(flat, at)
    for _ in range(steps):
        member = (labels[:, None, :] == groups).astype(np.float32)
        counts = member.sum(axis=-1)[..., None]
        at = np.where(counts > 0, (member @ rows) / np.maximum(counts, 1.0), at)
        moved, _ = _nearest(flat, at)
        same = np.count_nonzero(moved != labels) <= _SETTLED * labels.size
        labels = moved
        if same:
            break
    labels, least = _nearest(flat, at)
    own = np.einsum("bdn,bdn->bn", flat, flat)
    spread = np.maximum(least + own, 0.0).sum(axis=-1, dtype=float)
    return at.astype(float), labels.astype(np.int64), spread


def best_of(x: Array, k: int, rng: np.random.Generator, starts: int) -> tuple[Array, Codes, float]:
    """The best of several starts on one data set."""
    several = np.broadcast_to(x, (starts, *x.shape))
    centres, labels, spread = lloyd(several, seeded(several, k, rng))
    best = int(np.argmin(spread))
    return centres[best], labels[best], float(spread[best])


def silhouette(x: Array, centres: Array, labels: Codes) -> float:
    """How far apart groups are, by distances to centres in place of all pairs, in [-1, 1] [1]; two groups or more.

    Hruschka, de Castro & Campello 2004, "Evolutionary algorithms for clustering gene-expression data" (simplified).
    """
    distances = np.sqrt(squares(x, centres))
    rows = np.arange(len(x))
    own = distances[rows, labels]
    distances[rows, labels] = np.inf
    other = distances.min(axis=1)
    return float(np.mean((other - own) / np.maximum(np.maximum(other, own), 1e-300)))
