"""Groups of alike contexts, and whether they matter.

``clusters`` is k-means on mixed features with the number of groups justified: against reference data of the same spread
but without groups (so that no structure gives one group), by how well groups are apart, and by what resampling leaves
of them. ``differ`` asks whether outcomes differ between groups beyond chance, ``tailored`` whether a parameter has
another best value in each, and what that is worth on rows that it was not chosen by.

k-means is our own (``kmeans``): it runs many starts or references in one go, which for a thousand rows is what costs,
and loads nothing. Sampled rows choose; all rows then move the centres a few times, in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.correlation import held_fixed
from poet.kernels.batch.dependence import fit, less, orthogonal
from poet.kernels.batch.findings import LARGEST, UNKNOWN, Array, Figure, adjusted
from poet.kernels.batch.kmeans import Codes, best_of, lloyd, seeded, silhouette, squares
from poet.kernels.batch.ranks import Flags, shares, thinned

MOST = 8  # groups
RATE = 0.02  # of false discoveries among what a call tells
SAMPLE = 2000  # rows that choose
LEVELS = 12  # of a category that stand for themselves; the rest are pooled
RARE = 0.01  # share of rows below which a level is pooled
STABLE = 0.75  # Jaccard similarity to a resampled group from which a group is stable (Hennig 2007)

_LEAST_ROWS = 40
_LEAST_SHARE = 0.02  # of rows in a group
_REFERENCES = 16
_REFERENCE_ROWS = 500
_CANDIDATES = 2  # numbers of groups that are held against references, the largest silhouettes first
_FIRST = 4  # of them, which tell whether more are worth while
_HARDLY = 0.1  # of a feature's deviation, below which it does not vary within a group
_VALLEY = 2.0  # standard deviations by which fewer rows lie between two groups than at them
_MOST_PARTS = 3  # that a group is split into at a time
_RESAMPLES = 12
_STARTS = 4
_FEW_STEPS = 12
_FEW = 10  # distinct numbers up to which a column is drawn from its own values in a reference
_WIDE = 4.0  # standard deviations to which numbers are held, that one odd value is no group
_BLOCK = 65_536
_PASSES = 4  # of all rows, after the sample has chosen


class Clusters(NamedTuple):
    """Groups of rows; ``k`` 1 where there are none. Groups are numbered by size, the largest is 0."""

    labels: Codes  # (n,) the group of each row; -1 where all features are unknown
    k: int
    sizes: tuple[int, ...]  # rows of each
    centres: Array  # (k, numbers) median of each number in each group [unit of the number]
    typical: tuple[tuple[int, ...], ...]  # by group, the most frequent code of each category; -1: unknown
    share: tuple[tuple[float, ...], ...]  # how frequent that is in the group, in [0, 1] [1]
    stability: tuple[float, ...]  # mean Jaccard similarity to the nearest group of a resample, in [0, 1] [1]
    stable: tuple[bool, ...]  # only these are told
    silhouette: float  # mean, by distances to centres (see ``kmeans``), in [-1, 1]; NaN for one group
    gap: (
        Figure  # log of the references' spread within groups over the data's, and +- 2 standard deviations; > 0: groups
    )
    separating: tuple[float, ...]  # by feature, numbers then categories: share of its variance between groups [1]
    pooled: tuple[int, ...]  # by category: how many rare levels were taken together
    rows: int  # that chose the number
    note: str  # why there is one group only; "" otherwise


class Difference(NamedTuple):
    """One outcome, between groups."""

    outcome: str
    n: int
    effective: float  # independent rows that would say as much
    p: float
    q: float
    strength: float  # share of the ranks' variance between groups, as a correlation, less chance, in [0, 1] [1]
    groups: tuple[int, ...]
    rows: tuple[int, ...]
    above: tuple[
        Figure, ...
    ]  # chance that a row of the group lies above one of the other groups, in [0, 1]; 0.5: alike
    median: tuple[float, ...]  # of each group, by Kaplan and Meier where censored [unit of the outcome]; inf: beyond
    mean: tuple[Figure, ...]  # of each group, censored values as they stand [unit of the outcome]
    found: bool


class Tailored(NamedTuple):
    """One parameter, chosen for each group by itself or for all at once."""

    parameter: str
    n: int
    p: float  # of an interaction of the parameter with the groups: that its effect is the same in all
    q: float
    gain: Figure  # utility per row of a value for each group, less that of one for all, on held-out rows [utility]
    common: float  # the best value for all [unit of the parameter]
    best: tuple[float, ...]  # the best for each group
    groups: tuple[int, ...]
    pays: bool
    note: str


def clusters(
    numbers: npt.ArrayLike | None = None,
    categories: Sequence[npt.ArrayLike] = (),
    *,
    seed: int = 0,
    most: int = MOST,
    sample: int = SAMPLE,
) -> Clusters:
    """Group rows by their features.

    numbers: (n, k), NaN where unknown. categories: each (n,) of whole numbers, below 0 where unknown; as many as may be
    distinct. A number of two values is a category. Give no angles (an hour as sine and cosine has no groups).
    most: groups at the most, in [1, 64]. sample: rows that choose the number, >= 40. The same seed, the same groups.

    Numbers are standardised by their quartiles (positive ones as logarithms where these are less skewed) and held
    within 4 deviations; unknown ones count as the median. A category is one-hot, scaled so that it has the variance of
    one number. The number of groups is that with the largest silhouette of those which leave a smaller share of the
    spread within groups than in reference data, by over two standard deviations (after Tibshirani, Walther & Hastie
    2001, "gap statistic"). In a reference numbers are uniform, of the same variance, over a box along their principal
    axes or their own, which is harder to tell from groups than any single hump; categories and numbers of few values
    are dealt out anew: what each column shows for itself is no group. Then each group is looked at on its own scale and
    split further by the same rule, groups with no valley between them are taken together, and what is left is fitted to
    halves of the rows (after Hennig 2007): a group that is not found again is not stable, and where no two are there is
    one group.

    Raises ValueError where lengths differ, or ``most`` or ``sample`` is out of range.
    """
    if not 1 <= most <= 64:
        raise ValueError(f"most must be in [1, 64], got {most!r}")
    if sample < _LEAST_ROWS:
        raise ValueError(f"sample must be >= {_LEAST_ROWS}, got {sample!r}")
    features = _Features(numbers, categories)
    n = features.n
    if n == 0 or features.width == 0:
        return _single(features, "no rows" if n == 0 else "no feature varies", 0)
    rng = np.random.default_rng(seed)
    usable = np.flatnonzero(features.known)
    if len(usable) < _LEAST_ROWS:
        return _single(features, f"only {len(usable)} rows", len(usable))
    rows = usable if len(usable) <= sample else np.sort(rng.choice(usable, sample, replace=False))
    x = features.of(rows)
    most = min(most, len(rows) // 20, len(np.unique(x.round(9), axis=0)))
    if most < 2:
        return _single(features, "rows are all alike", len(rows))
    chosen, gap, why = _chosen(x, features, most, _LEAST_SHARE * len(x), rng)
    if chosen is None:
        return _single(features, why, len(rows))._replace(gap=gap)
    chosen = _merged(x, _split(x, features, chosen, most, rng))
    if len(chosen) < 2:
        return _single(features, "groups run into each other", len(rows))._replace(gap=gap)
    apart = silhouette(x, chosen, np.argmin(squares(x, chosen), axis=-1))
    stability = _stability(x, chosen, rng, chosen)
    stable = stability >= STABLE
    if stable.sum() < 2:
        note = f"no two groups of {len(chosen)} are found again in resamples"
        return _single(features, note, len(rows))._replace(gap=gap)
    centres, labels = _all(features, chosen)
    sizes = np.bincount(labels[labels >= 0], minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    place = np.argsort(order)
    labels = np.where(labels >= 0, place[labels], -1)
    return features.described(
        labels,
        tuple(float(stability[k]) for k in order),
        apart,
        gap,
        len(rows),
    )


class _Features:
    """Columns as k-means takes them, made for the rows that are asked for."""

    def __init__(self, numbers: npt.ArrayLike | None, categories: Sequence[npt.ArrayLike]) -> None:
        given = [np.asarray(each) for each in categories]
        raw = np.zeros((len(given[0]) if given else 0, 0)) if numbers is None else np.asarray(numbers, float)
        if raw.ndim == 1:
            raw = raw[:, None]
        lengths = [len(raw), *(len(each) for each in given)]
        if len(set(lengths)) > 1:
            raise ValueError(f"all columns must be of one length, got {lengths}")
        self.n = len(raw)
        self.raw, self.given = raw, given
        self.known = np.zeros(self.n, bool)
        self.scales: list[tuple[int, bool, float, float]] = []  # column, log, middle, spread
        self.codes: list[tuple[int, Codes, Array, float]] = []  # feature, levels, their shares, scale
        self.pooled = [0] * len(given)
        self.discrete: list[bool] = []
        for k in range(raw.shape[1]):
            self._number(k)
        for k, codes in enumerate(given):
            self.known |= np.asarray(codes >= 0)
            self._category(raw.shape[1] + k, codes)
        self.width = len(self.scales) + sum(len(levels) + 1 for _, levels, _, _ in self.codes)

    def _number(self, k: int) -> None:
        column = self.raw[:, k]
        finite = np.isfinite(column)
        self.known |= finite
        values = column[finite]
        kept = thinned(len(values), 20_000)
        values = np.clip(values if kept is None else values[kept], -LARGEST, LARGEST)
        if len(values) == 0 or values.min() == values.max():
            return
        several = np.unique(values)
        if len(several) == 2:
            self._category(k, np.where(finite, (column > several[0]).astype(np.int64), -1))
            return
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        logged = False
        if values.min() > 0:
            ends = np.quantile(values, (0.05, 0.5, 0.95))
            logged = _skew(np.log(ends)) < _skew(ends)
            if logged:
                values = np.log(values)
                low, middle, high = np.log((low, middle, high))
        whole = float(np.std(np.clip(values, *np.quantile(values, (0.01, 0.99))))) or float(np.std(values))
        usual = float(high - low) / 1.349
        spread = usual if 0.1 * whole < usual < whole else whole  # two humps make quartiles wide
        if not spread > 0:  # too small for squares
            return
        self.scales.append((k, logged, float(middle), spread))
        self.discrete.append(
            len(several) <= _FEW or float(np.max(np.unique(values, return_counts=True)[1])) > 0.1 * len(values)
        )

    def _category(self, feature: int, codes: npt.NDArray[np.generic]) -> None:
        whole = codes.astype(np.int64)
        levels, counts = np.unique(whole[whole >= 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        keep = order[:LEVELS]
        keep = keep[counts[keep] >= RARE * self.n]
        if feature >= self.raw.shape[1]:
            self.pooled[feature - self.raw.shape[1]] = len(levels) - len(keep)
        if len(keep) == 0:
            return
        parts = counts[keep] / self.n
        rest = max(0.0, 1.0 - float(parts.sum()))
        variance = float((parts * (1 - parts)).sum()) + rest * (1 - rest)
        if variance < RARE:
            return
        by_code = np.sort(levels[keep])
        self.codes.append((feature, by_code, parts, 1.0 / math.sqrt(variance)))

    def of(self, rows: Codes | slice) -> Array:
        """The features of these rows: (rows, width)."""
        blocks = []
        for k, logged, middle, spread in self.scales:
            column = self.raw[rows, k]
            with np.errstate(divide="ignore", invalid="ignore"):
                column = np.log(column) if logged else column
            column = np.clip(column, -LARGEST, LARGEST) if not logged else column
            scaled = np.where(np.isfinite(column), (column - middle) / spread, 0.0)
            blocks.append(np.clip(scaled, -_WIDE, _WIDE)[:, None])
        blocks.extend(self._one_hot(each, rows) for each in self.codes)
        return np.concatenate(blocks, axis=1)

    def _one_hot(self, category: tuple[int, Codes, Array, float], rows: Codes | slice) -> Array:
        """A column for each level, and one for all others and unknown ones."""
        feature, levels, _, scale = category
        columns = self.raw.shape[1]
        if feature < columns:
            values = self.raw[rows, feature]
            known = np.isfinite(values)
            codes = np.where(known, (values > np.nanmin(self.raw[:, feature])).astype(np.int64), -1)
        else:
            codes = self.given[feature - columns][rows].astype(np.int64)
        place = np.searchsorted(levels, codes)
        place[place == len(levels)] = 0
        hit = levels[place] == codes
        found = np.zeros((len(codes), len(levels) + 1))
        found[np.arange(len(codes)), np.where(hit, place, len(levels))] = scale
        return found

    def rescaled(self, x: Array) -> Array:
        """Features of some rows, each of unit variance among these; what hardly varies among them stays as it is."""
        blocks = [slice(k, k + 1) for k in range(len(self.scales))]
        start = len(self.scales)
        for _, levels, _, _ in self.codes:
            blocks.append(slice(start, start + len(levels) + 1))
            start += len(levels) + 1
        found = x.copy()
        for block in blocks:
            spread = math.sqrt(float(x[:, block].var(axis=0).sum()))
            if spread > _HARDLY:
                found[:, block] /= spread
        return found

    def reference(self, x: Array, rng: np.random.Generator, count: int) -> Array:
        """Data of the same spread without groups: (count, rows, width)."""
        n, numbers = len(x), len(self.scales)
        made = np.empty((count, n, self.width))
        free = [k for k in range(numbers) if not self.discrete[k]]
        if free:
            part = x[:, free]
            centre = part.mean(axis=0)
            _, _, turned = np.linalg.svd(part - centre, full_matrices=False)
            for axes, those in ((turned, slice(0, None, 2)), (np.eye(len(free)), slice(1, None, 2))):
                wide = math.sqrt(3.0) * ((part - centre) @ axes.T).std(axis=0)
                shape = (len(made[those]), n, len(wide))
                made[those][:, :, free] = rng.uniform(-wide, wide, shape) @ axes + centre
        blocks = [[k] for k in range(numbers) if self.discrete[k]]
        start = numbers
        for _, levels, _, _ in self.codes:
            blocks.append(list(range(start, start + len(levels) + 1)))
            start += len(levels) + 1
        for block in blocks:
            for each in made:
                each[:, block] = x[rng.permutation(n)][:, block]
        return made

    def described(
        self, labels: Codes, stability: tuple[float, ...], silhouette: float, gap: Figure, rows: int
    ) -> Clusters:
        """All that is told of these groups."""
        count = len(stability)
        k = self.raw.shape[1]
        centres = np.full((count, k), np.nan)
        members = [np.flatnonzero(labels == each) for each in range(count)]
        typical, parts = [], []
        for group, mine in enumerate(members):
            kept = thinned(len(mine), 50_000)
            mine = mine if kept is None else mine[kept]
            for column in range(k):
                values = self.raw[mine, column]
                values = values[np.isfinite(values)]
                if len(values):
                    centres[group, column] = np.median(values)
            pairs = [_most_frequent(codes[mine].astype(np.int64)) for codes in self.given]
            typical.append(tuple(code for code, _ in pairs))
            parts.append(tuple(part for _, part in pairs))
        return Clusters(
            labels,
            count,
            tuple(len(each) for each in members),
            centres,
            tuple(typical),
            tuple(parts),
            stability,
            tuple(each >= STABLE for each in stability),
            silhouette,
            gap,
            self._separating(labels, count),
            tuple(self.pooled),
            rows,
            "",
        )

    def _separating(self, labels: Codes, count: int) -> tuple[float, ...]:
        found = [0.0] * (self.raw.shape[1] + len(self.given))
        rows = np.flatnonzero(labels >= 0)
        kept = thinned(len(rows), 20_000)
        rows = rows if kept is None else rows[kept]
        x, mine = self.of(rows), labels[rows]
        sizes = np.maximum(np.bincount(mine, minlength=count), 1)
        features = [scale[0] for scale in self.scales]
        for feature, levels, _, _ in self.codes:
            features.extend([feature] * (len(levels) + 1))
        owner = np.array(features)
        for feature in set(features):
            part = x[:, owner == feature]
            total = float(((part - part.mean(axis=0)) ** 2).sum())
            means = np.stack([np.bincount(mine, column, minlength=count) / sizes for column in part.T], axis=1)
            inner = float(((part - means[mine]) ** 2).sum())
            found[feature] = 1.0 - inner / total if total > 0 else 0.0
        return tuple(found)


def _skew(ends: Array) -> float:
    """Of three quantiles, how far the middle one is from the middle, in [0, 1]."""
    width = float(ends[2] - ends[0])
    return abs(float(ends[2] + ends[0] - 2 * ends[1])) / width if width > 0 else 0.0


def _most_frequent(codes: Codes) -> tuple[int, float]:
    if len(codes) == 0:
        return -1, math.nan
    levels, counts = np.unique(codes, return_counts=True)
    top = int(np.argmax(counts))
    return int(max(levels[top], -1)), float(counts[top] / len(codes))


def _single(features: _Features, note: str, rows: int) -> Clusters:
    labels = np.where(features.known, 0, -1).astype(np.int64)
    found = Clusters(
        labels,
        1,
        (int((labels == 0).sum()),),
        np.full((1, features.raw.shape[1]), np.nan),
        ((),),
        ((),),
        (math.nan,),
        (False,),
        math.nan,
        UNKNOWN,
        (0.0,) * (features.raw.shape[1] + len(features.given)),
        tuple(features.pooled),
        rows,
        note,
    )
    if len(labels) == 0 or features.width == 0:
        return found
    full = features.described(labels, (math.nan,), math.nan, UNKNOWN, rows)
    return full._replace(note=note)


def _chosen(
    x: Array, features: _Features, most: int, least: float, rng: np.random.Generator
) -> tuple[Array | None, Figure, str]:
    """Centres of the best number of groups of at least so many rows, or None; the gap; and why there is one."""
    found = []
    for k in range(2, most + 1):
        centres, labels, spread = best_of(x, k, rng, _STARTS)
        if np.bincount(labels, minlength=k).min() >= least:
            found.append((silhouette(x, centres, labels), centres, spread))
    if not found:
        return None, UNKNOWN, "no groups of a size that matters"
    found.sort(key=lambda each: -each[0])
    part = x if len(x) <= _REFERENCE_ROWS else x[rng.choice(len(x), _REFERENCE_ROWS, replace=False)]
    references = features.reference(part, rng, _REFERENCES)
    whole = float(((x - x.mean(axis=0)) ** 2).sum())
    first = UNKNOWN
    for _, centres, spread in found[:_CANDIDATES]:
        data = math.log(max(spread, 1e-12) / max(whole, 1e-12))
        gap = UNKNOWN
        for some in (references[:_FIRST], references):  # a few tell where there is nothing to be seen
            logs = _left(some, len(centres), rng)
            gap = min((_gap(logs[kind::2], data) for kind in (0, 1)), key=lambda each: each.low)
            if gap.value <= 0:
                break
        if gap.low > 0:
            return centres, gap, ""
        if math.isnan(first.value):
            first = gap
    return None, first, "no more spread between groups than data without groups would have"


def _split(x: Array, features: _Features, centres: Array, most: int, rng: np.random.Generator) -> Array:
    """Split groups further that have groups in themselves. Centres (k, d) -> (k', d).

    A large gap hides small ones, so features are standardised anew within each group.
    """
    waiting: list[Array] = list(centres)
    done: list[Array] = []
    labels = np.argmin(squares(x, centres), axis=-1)
    parts = [x[labels == k] for k in range(len(centres))]
    while waiting:
        centre, part = waiting.pop(), parts.pop()
        room = min(most - len(waiting) - len(done), len(part) // 20)
        inner = None
        if room >= 2 and len(part) >= _LEAST_ROWS:
            near = features.rescaled(part)
            inner, _, _ = _chosen(near, features, min(room, _MOST_PARTS), _LEAST_SHARE * len(x), rng)
            if inner is not None and (_stability(near, inner, rng) < STABLE).any():
                inner = None
        if inner is None:
            done.append(centre)
            continue
        labels = np.argmin(squares(near, inner), axis=-1)
        for k in range(len(inner)):
            parts.append(part[labels == k])
            waiting.append(parts[-1].mean(axis=0))
    if len(done) == len(centres):
        return centres
    return np.asarray(lloyd(x[None], np.array(done)[None])[0][0])


def _merged(x: Array, centres: Array) -> Array:
    """Take together groups with no valley between them, the least apart first. Centres (k, d) -> (k', d).

    Along the line that joins two centres a single hump is nowhere lower between them than at the lower of both. So rows
    near the middle are counted against those near either centre, within spans of one width.
    """
    while len(centres) > 1:
        labels = np.argmin(squares(x, centres), axis=-1)
        counts = np.bincount(labels, minlength=len(centres))
        least, pair = _VALLEY, (-1, -1)
        for a in range(len(centres)):
            for b in range(a):
                line = centres[a] - centres[b]
                along = (x[(labels == a) | (labels == b)] - 0.5 * (centres[a] + centres[b])) @ line
                along = along / max(0.5 * float(line @ line), 1e-300)  # the centres lie at -1 and 1
                near_b, middle, near_a = (int((np.abs(along - at) < 0.25).sum()) for at in (-1.0, 0.0, 1.0))
                top = min(near_a, near_b)
                deep = (top - middle) / math.sqrt(max(top + middle, 1))
                if deep < least:
                    least, pair = deep, (a, b)
        if pair[0] < 0:
            break
        a, b = pair
        both = np.average(centres[[a, b]], axis=0, weights=np.maximum(counts[[a, b]], 1))
        centres = np.vstack((np.delete(centres, [a, b], axis=0), both))
        centres = lloyd(x[None], centres[None])[0][0]
    return centres


def _left(references: Array, k: int, rng: np.random.Generator) -> Array:
    """The logarithm of the share of spread that k groups leave within, of each reference; the best of two starts."""
    centred = references - references.mean(axis=1, keepdims=True)
    wholes = np.maximum((centred**2).sum(axis=(1, 2)), 1e-12)
    twice = [lloyd(references, seeded(references, k, rng), _FEW_STEPS)[2] for _ in range(2)]
    return np.asarray(np.log(np.maximum(np.minimum(*twice), 1e-12) / wholes))


def _gap(references: Array, data: float) -> Figure:
    """Of the logarithms of what is left of the spread."""
    middle = float(references.mean()) - data
    wide = 2.0 * float(references.std(ddof=1)) * math.sqrt(1.0 + 1.0 / len(references))
    return Figure(middle, middle - wide, middle + wide)


def _stability(x: Array, centres: Array, rng: np.random.Generator, start: Array | None = None) -> Array:
    """Mean Jaccard similarity of each group to the nearest one of a fit to half of the rows.

    start: where fits begin; without it at random, the best of three.
    """
    n, k = len(x), len(centres)
    labels = np.argmin(squares(x, centres), axis=-1)
    half = max(n // 2, 2)
    drawn = np.stack([rng.choice(n, half, replace=False) for _ in range(_RESAMPLES)])
    data = x[drawn]
    best, _, spread = lloyd(data, seeded(data, k, rng) if start is None else np.stack([start] * _RESAMPLES))
    for _ in range(2 if start is None else 0):
        other, _, less_spread = lloyd(data, seeded(data, k, rng))
        better = less_spread < spread
        best, spread = np.where(better[:, None, None], other, best), np.minimum(spread, less_spread)
    found = np.zeros((_RESAMPLES, k))
    for number, each in enumerate(best):
        again = np.argmin(squares(x, each), axis=-1)
        both = np.bincount(labels * k + again, minlength=k * k).reshape(k, k)
        either = both.sum(axis=1)[:, None] + both.sum(axis=0)[None, :] - both
        found[number] = (both / np.maximum(either, 1)).max(axis=1)
    return np.asarray(found.mean(axis=0))


def _all(features: _Features, centres: Array) -> tuple[Array, Codes]:
    """All rows: a few steps of Lloyd's algorithm in blocks, and each row's group."""
    n, k = features.n, len(centres)
    labels = np.full(n, -1, np.int64)
    for _ in range(_PASSES + 1):
        sums, counts = np.zeros_like(centres), np.zeros(k)
        changed = 0
        for start in range(0, n, _BLOCK):
            block = slice(start, min(n, start + _BLOCK))
            x = features.of(block)
            mine = np.argmin(squares(x, centres), axis=-1)
            known = features.known[block]
            mine[~known] = -1
            changed += int((mine != labels[block]).sum())
            labels[block] = mine
            member = (mine[:, None] == np.arange(k)).astype(float)
            counts += member.sum(axis=0)
            sums += member.T @ x
        if changed <= 1e-4 * n:
            break
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1.0)[:, None], centres)
    return centres, labels


def differ(
    labels: npt.ArrayLike,
    outcomes: Mapping[str, npt.ArrayLike],
    *,
    censored: Mapping[str, npt.ArrayLike] | None = None,
    confounders: Mapping[str, npt.ArrayLike] | None = None,
    rate: float = RATE,
    least: float = 0.1,
    level: float = 0.9,
    most_rows: int = 50_000,
) -> tuple[Difference, ...]:
    """Where outcomes differ between groups, in the order given; what is told has ``found``.

    labels: (n,) groups, below 0: none; rows in order of time. outcomes: (n,) each, NaN where unknown; latencies as
    logarithms, failures as 0 and 1. censored: by outcome, (n,) whether the truth lies above the value only (a timeout).
    confounders: (n,) each, held fixed by piecewise linear terms in their ranks. rate: of false discoveries over all
    outcomes, in (0, 1). least: ``strength`` below which nothing is told. Rows beyond ``most_rows`` are thinned.

    Ranks by the group (Kruskal & Wallis 1952), with a covariance that minds that rows resemble their neighbours
    (``dependence``). Raises ValueError where lengths differ.
    """
    groups = np.asarray(labels, np.int64)
    found = []
    for name, given in outcomes.items():
        values = np.clip(np.asarray(given, float), -LARGEST, LARGEST)
        cut = None if censored is None or name not in censored else np.asarray(censored[name], bool)
        others = {key: np.asarray(column, float) for key, column in (confounders or {}).items()}
        lengths = {"labels": len(groups), name: len(values), **{key: len(column) for key, column in others.items()}}
        if cut is not None:
            lengths["censored"] = len(cut)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all arrays must be of one length, got {lengths}")
        rows = np.flatnonzero((groups >= 0) & np.isfinite(values))
        kept = thinned(len(rows), most_rows)
        rows = rows if kept is None else rows[kept]
        basis = held_fixed({key: column[rows] for key, column in others.items()}, len(rows))
        found.append(_difference(name, groups[rows], values[rows], None if cut is None else cut[rows], basis, level))
    rates = adjusted([each.p for each in found])
    return tuple(
        each._replace(q=float(q), found=bool(q <= rate and each.strength >= least))
        for each, q in zip(found, rates, strict=True)
    )


def _difference(
    name: str, groups: Codes, values: Array, censored: Flags | None, basis: Array, level: float
) -> Difference:
    n = len(values)
    present = np.unique(groups)
    counts = np.array([int((groups == each).sum()) for each in present])
    nothing = Difference(
        name, n, 0.0, math.nan, math.nan, math.nan, tuple(present.tolist()), tuple(counts.tolist()), (), (), (), False
    )
    if len(present) < 2 or n < 30 or counts.min() < 5 or values.min() == values.max():
        return nothing
    ranked = shares(values, censored)
    y = less(ranked - ranked.mean(), basis)
    hot = (groups[:, None] == present[None, :]).astype(float)
    z = orthogonal(less(hot[:, 1:], basis))
    tested = fit(z, y, spent=basis.shape[1])
    total = float(y @ y)
    b = tested.coefficients
    gained = max(float(b @ b) - float(np.trace(tested.covariance)), 0.0)
    above, means, medians = [], [], []
    for each in range(len(present)):
        column = less(hot[:, [each]], basis)
        alone = fit(column, y, spent=basis.shape[1])
        # The mean rank of a group less that of the others is the chance to lie above them, less one half.
        value, low, high = alone.interval([1.0], level)
        above.append(Figure(*(float(np.clip(0.5 + end, 0.0, 1.0)) for end in (value, low, high))))
        own = hot[:, [each]]
        level_fit = fit(own, np.where(own[:, 0] > 0, values, 0.0), spent=0)
        means.append(Figure(*level_fit.interval([1.0], level)))
        mine = groups == present[each]
        medians.append(_median(values[mine], None if censored is None else censored[mine]))
    return nothing._replace(
        effective=tested.effective,
        p=tested.p(),
        strength=math.sqrt(gained / total) if total > 0 else 0.0,
        above=tuple(above),
        median=tuple(medians),
        mean=tuple(means),
    )


def _median(values: Array, censored: Flags | None) -> float:
    """By Kaplan and Meier; infinite where over half are censored before it."""
    if censored is None or not censored.any():
        return float(np.median(values))
    order = np.lexsort((censored, values))
    left = np.cumprod(1.0 - (~censored[order]) / np.arange(len(values), 0, -1))
    below = np.flatnonzero(left <= 0.5)
    return float(values[order][below[0]]) if len(below) else math.inf


def tailored(
    labels: npt.ArrayLike,
    parameters: Mapping[str, npt.ArrayLike],
    utility: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    settings: int = 6,
    rate: float = RATE,
    level: float = 0.9,
) -> tuple[Tailored, ...]:
    """Whether a parameter should have a value of its own in each group, in the order given; where so, ``pays``.

    labels: (n,) groups, below 0: none; rows in order of time. parameters: (n,) each, the value in force; values beyond
    ``settings`` distinct ones are taken together by quantiles. utility: (n,), the larger the better. weights: (n,)
    inverse propensities of the values in force, where these were drawn by lot; without them what is told of a parameter
    is what else went with its values, too.

    Best values are chosen on four fifths of the rows and judged on the last, in turn, fifths being spans of time: what
    is gained is not what luck chose. A mean of few rows is drawn to that of its group. Rows of a fifth are summed in
    spans, whose spread gives the interval. Raises ValueError where lengths differ.
    """
    groups, got = np.asarray(labels, np.int64), np.clip(np.asarray(utility, float), -LARGEST, LARGEST)
    w = np.ones(len(got)) if weights is None else np.asarray(weights, float)
    found = []
    for name, given in parameters.items():
        values = np.asarray(given, float)
        if len({len(groups), len(got), len(w), len(values)}) > 1:
            raise ValueError(
                f"all arrays must be of one length, got {len(groups)}, {len(got)}, {len(w)} and {name} {len(values)}"
            )
        rows = (groups >= 0) & np.isfinite(values) & np.isfinite(got) & np.isfinite(w) & (w > 0)
        found.append(_tailored(name, groups[rows], values[rows], got[rows], w[rows], settings, level))
    rates = adjusted([each.p for each in found])
    return tuple(
        each._replace(q=float(q), pays=bool(q <= rate and each.gain.low > 0))
        for each, q in zip(found, rates, strict=True)
    )


_PARTS = 5  # spans that are judged by the others
_SPANS = 6  # of each, whose spread tells the doubt
_SHRINK = 10.0  # rows of a cell that its group's mean is worth


def _tailored(name: str, groups: Codes, values: Array, got: Array, w: Array, settings: int, level: float) -> Tailored:
    n = len(got)
    present, group = np.unique(groups, return_inverse=True)
    nothing = Tailored(name, n, math.nan, math.nan, UNKNOWN, math.nan, (), tuple(present.tolist()), False, "")
    if len(present) < 2:
        return nothing._replace(note="one group")
    cell, middles = _settings(values, settings)
    g, s = len(present), len(middles)
    if s < 2:
        return nothing._replace(note="the parameter never changes")
    if n < 20 * g * s:
        return nothing._replace(note=f"only {n} rows for {g * s} cells")
    w = w / w.max()
    got = got - np.average(got, weights=w)
    place = group * s + cell
    spans = _PARTS * _SPANS
    span = np.arange(n) * spans // n
    gains = np.zeros(spans)
    weight = np.bincount(span * g * s + place, w, minlength=spans * g * s).reshape(spans, g, s)
    total = np.bincount(span * g * s + place, w * got, minlength=spans * g * s).reshape(spans, g, s)
    rows = np.bincount(span * g + group, minlength=spans * g).reshape(spans, g)
    for fold in range(_PARTS):
        here = np.arange(spans) // _SPANS == fold
        best, common, _ = _best(weight[~here].sum(axis=0), total[~here].sum(axis=0), rows[~here].sum(axis=0))
        for each in range(g):
            if best[each] == common:
                continue
            share = rows[here, each]
            for setting, sign in ((best[each], 1.0), (common, -1.0)):
                there = weight[here, each, setting]
                whole = float(there.sum())
                if whole <= 0:
                    continue
                mean = float(total[here, each, setting].sum()) / whole
                size = float(share.sum())
                # A ratio's influence by span: its own sum less what the mean would give, and the mean by its rows.
                gains[here] += sign * (size * (total[here, each, setting] - mean * there) / whole + mean * share)
    best, common, _ = _best(weight.sum(axis=0), total.sum(axis=0), rows.sum(axis=0))
    per_row = gains / (n / spans)
    lost = spans - _PARTS * 2  # of each part two means were taken
    mean, error = float(per_row.mean()), float(per_row.std(ddof=1)) / math.sqrt(lost)
    from scipy.special import stdtrit

    half = error * float(stdtrit(lost - 1, 0.5 + 0.5 * level))
    return nothing._replace(
        p=_interaction(group, cell, got, w, g, s),
        gain=Figure(mean, mean - half, mean + half),
        common=float(middles[common]),
        best=tuple(float(middles[each]) for each in best),
    )


def _interaction(group: Codes, cell: Codes, got: Array, w: Array, g: int, s: int) -> float:
    """p of all products of group and setting, beside both."""
    kept = thinned(len(got), 50_000)
    if kept is not None:
        group, cell, got, w = group[kept], cell[kept], got[kept], w[kept]
    root = np.sqrt(w / w.mean())[:, None]
    ours, theirs = (group[:, None] == np.arange(g)) * root, (cell[:, None] == np.arange(s)) * root
    basis = orthogonal(np.column_stack((ours, theirs)))
    products = [ours[:, k : k + 1] * (theirs[:, 1:] > 0) for k in range(1, g)]
    z = orthogonal(less(np.column_stack(products), basis))
    ranked = shares(got) - 0.5
    return fit(z, less(ranked * root[:, 0], basis), spent=basis.shape[1]).p()


def _settings(values: Array, settings: int) -> tuple[Codes, Array]:
    """The cell of each value, and the value that a cell stands for: its median."""
    several = np.unique(values)
    if len(several) <= settings:
        return np.searchsorted(several, values), several
    edges = np.unique(np.quantile(values, np.linspace(0, 1, settings + 1)[1:-1]))
    cell = np.searchsorted(edges, values, side="left")
    _, cell = np.unique(cell, return_inverse=True)
    return cell, np.array([np.median(values[cell == each]) for each in range(int(cell.max()) + 1)])


def _best(weight: Array, total: Array, rows: npt.NDArray[np.intp]) -> tuple[Codes, int, Array]:
    """By group and for all: the setting of the highest mean, shrunk to the group's."""
    of_group = total.sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-300)
    unit = weight.sum() / max(float(rows.sum()), 1.0)  # weight of a row
    means = (total + _SHRINK * unit * of_group[:, None]) / (weight + _SHRINK * unit)
    means = np.where(weight > 0, means, -np.inf)
    every = np.where(np.isfinite(means).all(axis=0), 0.0, -np.inf)
    overall = (np.where(np.isfinite(means), means, 0.0) * rows[:, None]).sum(axis=0) + every
    return np.argmax(means, axis=1), int(np.argmax(overall)), means
