"""What goes with what: causes against outcomes, beside what may drive both.

For each cause and outcome: their rank correlation as it is, and what is left of it once confounders (time of day, load)
and the other causes are held fixed; whether the relation bends, and where within the range an optimum lies; whether it
changes with a confounder. All p-values mind that rows resemble their neighbours (``dependence``), and all of them
together are told at a bounded rate of false discoveries, and only where the effect is large enough to matter.

What is held fixed is held fixed flexibly: confounders by piecewise linear terms in their ranks, other causes by
polynomials. What was not recorded cannot be: a relation here is no proof of an effect, see ``causal`` for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.dependence import Array, Fit, Spectrum, fit, less, orthogonal, plain, waves
from poet.kernels.batch.findings import LARGEST, UNKNOWN, Figure, adjusted
from poet.kernels.batch.ranks import Flags, shares, thinned

RATE = 0.02  # of false discoveries among all that is told
LEAST_EFFECT = 0.1  # partial correlation below which nothing is told, however sure
LEVEL = 0.9  # of all intervals
MOST_ROWS = 50_000  # of one pair; more are thinned
LEAST_ROWS = 30

_KNOTS = 12  # of a confounder's term, at most
_DEGREE = 4  # of the curve of a cause
_OTHER_DEGREE = 3  # of what other causes may add
_BENDS_WITH = 4  # degree in a confounder of how a slope changes with it
_TWIN = 0.95  # correlation, confounders held fixed, from which two causes cannot be told apart
_MINOR = 1 / 3  # of the straight part's strength, below which a bend is not worth telling
_ROWS_PER_TERM = 10  # that a test of changes needs
_LEVEL_RANKS = 1e-9  # ranks that differ by less are level
_MOST_KEPT = 3  # sets of rows whose terms are kept at a time
_UNTOLD = 0.2  # p-value, as if rows were independent, from which the dear test is not made
_GRID = 201
_DRAWS = 400
_DRAWN = (0.02, 0.98)  # quantiles of drawn optima that 90 % of intervals need: curves are no polynomials (measured)
_EDGE = 0.05  # share of rows at either end where an optimum is none


class Bend(NamedTuple):
    """A relation that is no straight line in ranks."""

    strength: float  # partial correlation of the outcome with all that is not linear, in [0, 1] [1]
    p: float
    q: float  # false-discovery rate at which it would be told


class Optimum(NamedTuple):
    """Where within its range a cause's outcome is lowest or highest."""

    highest: bool  # else lowest
    where: Figure  # [unit of the cause]
    gain: Figure  # how far the better end of the middle 80 % is from it, >= 0 [unit of the outcome]


class Change(NamedTuple):
    """How the relation changes with a confounder."""

    confounder: str
    strength: float  # partial correlation of the outcome with the interaction, in [0, 1] [1]
    p: float
    q: float
    lowest: Figure  # of the correlations over the confounder's middle 90 % [1]
    highest: Figure
    lowest_at: float  # [unit of the confounder]
    highest_at: float


class Relation(NamedTuple):
    """One cause and one outcome."""

    cause: str
    outcome: str
    n: int  # rows used
    effective: float  # independent rows that would say as much
    raw: Figure  # rank correlation, in [-1, 1] [1]
    partial: Figure  # the same, confounders and other causes held fixed
    p: float  # of the partial correlation
    q: float
    effect: Figure  # outcome at the cause's 90 % quantile less that at its 10 % quantile [unit of the outcome]
    low: float  # the cause's 10 % quantile
    high: float  # its 90 % quantile
    bend: Bend | None  # None: not tested
    optimum: Optimum | None
    changes: tuple[Change, ...]  # one for each confounder that was tested
    linear: bool  # told: more of the cause goes with more (or less) of the outcome, all else the same
    bent: bool  # told: the relation bends
    varies: bool  # told: it changes with a confounder
    explained_by: str  # what, held fixed, takes most of a raw correlation away; "" where none is taken away
    held: Figure  # the correlation with only that held fixed
    twins: tuple[str, ...]  # causes that cannot be told apart from this one
    note: str  # why nothing could be said; "" otherwise

    @property
    def found(self) -> bool:
        """Whether anything is told."""
        return self.linear or self.bent or self.varies


def relations(
    causes: Mapping[str, npt.ArrayLike],
    outcomes: Mapping[str, npt.ArrayLike],
    confounders: Mapping[str, npt.ArrayLike] | None = None,
    *,
    censored: Mapping[str, npt.ArrayLike] | None = None,
    rate: float = RATE,
    least: float = LEAST_EFFECT,
    most_rows: int = MOST_ROWS,
) -> tuple[Relation, ...]:
    """All pairs of causes and outcomes, in the order given; what is told has ``found``.

    causes, outcomes, confounders: (n,) each, rows in order of time; NaN where unknown. A row counts for a pair where
    both are known; unknown confounders are a group of their own. Latencies are best given as their logarithms: ranks do
    not mind, ``effect`` is then a log ratio. A cause of few values, or 0 and 1, is as good as any.
    censored: by outcome, (n,) whether the truth lies above the value only (a timeout).
    rate: of false discoveries over all tests of this call (Benjamini & Hochberg 1995), in (0, 1). least: partial
    correlation below which nothing is told, in [0, 1). Rows beyond ``most_rows`` are thinned, at random and evenly.

    Raises ValueError where lengths differ, or ``rate`` or ``least`` is out of range.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate!r}")
    if not 0 <= least < 1:
        raise ValueError(f"least must be in [0, 1), got {least!r}")
    x, y, c = (_columns(each) for each in (causes, outcomes, confounders or {}))
    cut = {name: np.asarray(flags, bool) for name, flags in (censored or {}).items()}
    lengths = {name: len(column) for part in (x, y, c, cut) for name, column in part.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all arrays must be of one length, got {lengths}")
    unknown = [name for name in cut if name not in y]
    if unknown:
        raise ValueError(f"censored names {unknown[0]!r}, outcomes are {list(y)}")
    found: list[_Pair] = []
    by_rows: dict[bytes, _Rows] = {}
    for name in x:
        mine: dict[bytes, _Cause] = {}
        for outcome, values in y.items():
            known = np.isfinite(x[name]) & np.isfinite(values)
            key = np.packbits(known).tobytes()
            if key not in by_rows:
                if len(by_rows) >= _MOST_KEPT:
                    by_rows.pop(next(iter(by_rows)))
                by_rows[key] = _Rows(x, c, known, most_rows)
            if key not in mine:
                mine[key] = _Cause(name, x[name], by_rows[key])
            found.append(mine[key].pair(outcome, values, cut.get(outcome)))
    return _told(found, rate, least)


class _Test(NamedTuple):
    p: float
    strength: float


class _Pair(NamedTuple):
    relation: Relation
    tests: tuple[_Test, ...]  # linear, bend, one per change


def held_fixed(confounders: Mapping[str, npt.ArrayLike], n: int) -> Array:
    """An orthonormal basis of the mean and of piecewise linear terms in each confounder's ranks: (n, r).

    confounders: (n,) each; an unknown value (NaN) is a group of its own.
    """
    mean = np.full((n, 1), 1.0 / math.sqrt(max(n, 1)))
    terms = [_hats(shares(np.asarray(each, float)), n) for each in confounders.values() if _varies(np.asarray(each))]
    return orthogonal(np.column_stack((mean, *terms))) if terms else mean


def _columns(given: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    found = {}
    for name, values in given.items():
        column = np.asarray(values, float)
        if column.ndim != 1:
            raise ValueError(f"{name} must be of one dimension, got shape {column.shape}")
        found[name] = np.where(np.isfinite(column), np.clip(column, -LARGEST, LARGEST), np.nan)
    return found


def _told(pairs: list[_Pair], rate: float, least: float) -> tuple[Relation, ...]:
    """With false-discovery rates over all tests of all pairs."""
    q = iter(adjusted([test.p for pair in pairs for test in pair.tests]).tolist())
    told = []
    for relation, tests in pairs:
        rates = [next(q) for _ in tests]
        good = [bool(each <= rate and abs(test.strength) >= least) for each, test in zip(rates, tests, strict=True)]
        good[1] = good[1] and tests[1].strength >= _MINOR * abs(tests[0].strength)
        changes = tuple(each._replace(q=r) for each, r in zip(relation.changes, rates[2:], strict=True))
        told.append(
            relation._replace(
                q=rates[0],
                linear=good[0],
                bent=good[1],
                varies=any(good[2:]),
                bend=relation.bend and relation.bend._replace(q=rates[1]),
                optimum=relation.optimum if good[1] else None,
                changes=changes,
            )
        )
    return tuple(told)


def _hats(u: Array, n: int) -> Array:
    """Piecewise linear terms in ``u``, a share in (0, 1) or NaN, and one for where it is NaN: (n, knots or fewer)."""
    known = np.isfinite(u)
    values = np.where(known, u, 0.5)
    several = np.unique(values[:: max(1, n // 2000)])
    knots = int(np.clip(n // 40, 3, _KNOTS))
    if len(several) <= knots:
        columns = (values[:, None] == several[None, 1:]).astype(float)
    else:
        at = np.linspace(0.0, 1.0, knots)
        columns = np.maximum(1.0 - np.abs(values[:, None] - at[None, 1:]) * (knots - 1), 0.0)
    if not known.all():
        columns = np.column_stack((columns * known[:, None], ~known))
    return np.asarray(columns, float)


def _powers(u: Array, degree: int) -> Array:
    """Legendre polynomials of degree 1 to ``degree`` on (0, 1): (n, degree). NaN counts as the middle."""
    v = np.where(np.isfinite(u), 2.0 * u - 1.0, 0.0)
    return np.asarray(np.polynomial.legendre.legvander(v, degree)[:, 1:])


class _Rows:
    """The rows where a cause and an outcome are known, and what all pairs on these rows share."""

    def __init__(self, causes: Mapping[str, Array], confounders: Mapping[str, Array], known: Flags, most: int) -> None:
        self.rows = np.flatnonzero(known)
        kept = thinned(len(self.rows), most)
        if kept is not None:
            self.rows = self.rows[kept]
        self.n = n = len(self.rows)
        self.enough = n >= LEAST_ROWS
        if not self.enough:
            return
        self.confounders = {key: column[self.rows] for key, column in confounders.items() if _varies(column[self.rows])}
        self.placed = {key: shares(column) for key, column in self.confounders.items()}
        self.hats = {key: _hats(u, n) for key, u in self.placed.items()}
        self.mean = np.full((n, 1), 1.0 / math.sqrt(n))
        self.given = orthogonal(np.column_stack([self.mean, *self.hats.values()])) if self.hats else self.mean
        self.u: dict[str, Array] = {}
        for key, column in causes.items():
            values = column[self.rows]
            if _varies(values):
                self.u[key] = shares(values)
        self.powers = {key: _powers(u, _DEGREE) for key, u in self.u.items()}
        self.degree = _OTHER_DEGREE if n > 40 * max(len(self.u) - 1, 1) else 1
        self.left = {key: less(columns[:, : self.degree], self.given) for key, columns in self.powers.items()}
        self.outcomes: dict[str, Array] = {}

    def ranked(self, outcome: str, got: Array, censored: Flags | None) -> Array:
        """An outcome's ranks, computed once."""
        if outcome not in self.outcomes:
            self.outcomes[outcome] = shares(got, None if censored is None else censored[self.rows])
        return self.outcomes[outcome]


class _Cause:
    """One cause on the rows where it and an outcome are known; what all such outcomes share."""

    def __init__(self, name: str, values: Array, shared: _Rows) -> None:
        self.name, self.shared = name, shared
        self.rows, self.n = shared.rows, shared.n
        self.values = values[self.rows]
        self.note = ""
        if not shared.enough:
            self.note = f"only {self.n} rows"
            return
        if self.values.min() == self.values.max():
            self.note = "the cause never changes"
            return
        self.u = shared.u[name]
        self.levels = np.unique(self.values)[: _DEGREE + 2]
        self.ends = [float(each) for each in np.quantile(self.values, (0.1, 0.9))]
        self.mean = shared.mean
        mine = shared.left[name][:, 0]
        extra: list[str] = []
        twins: list[str] = []
        for key, columns in shared.left.items():
            other = columns[:, 0]
            size = math.sqrt(float(mine @ mine) * float(other @ other))
            if key == name:
                continue
            if size > 0 and abs(float(mine @ other)) > _TWIN * size:
                twins.append(key)
            elif (shared.given.shape[1] + shared.degree * (len(extra) + 1)) * 5 < self.n:
                extra.append(key)
        self.twins, self.beside = tuple(twins), extra
        self.basis = shared.given
        if extra:
            own = orthogonal(np.column_stack([shared.left[key] for key in extra]))
            self.basis = np.column_stack((self.basis, own))
        self.spent = self.basis.shape[1]
        centred = self.u - 0.5
        self.raw_z = less(centred, self.mean)[:, None]
        self.z = less(centred, self.basis)[:, None]
        if float((self.z**2).sum()) < 1e-4 * float((self.raw_z**2).sum()):
            self.note = "fixed by the confounders and the other causes"
            return
        self.raw_waves, self.waves = waves(self.raw_z), waves(self.z)
        self.confounders = shared.placed
        self._curved()

    def _curved(self) -> None:
        """The terms of a curve and of changes with confounders, each free of what stands before it."""
        n = self.n
        degree = min(_DEGREE, len(self.levels) - 1)
        self.degree = degree if n >= 20 * degree else 1
        powers = self.shared.powers[self.name][:, : self.degree]
        bends = powers[:, 1:]
        blocks, names = [less(bends, self.basis)], []
        for key, v in self.confounders.items():
            product = powers[:, :1] * _powers(v, min(_BENDS_WITH, len(np.unique(v[:2000])) - 1))
            terms = self.spent + self.degree + product.shape[1]
            if product.shape[1] == 0 or _ROWS_PER_TERM * terms > n:
                continue
            names.append(key)
            blocks.append(less(product, self.basis))
        self.changing = names
        whole = np.column_stack((self.z, *blocks))
        sizes = np.sqrt(np.einsum("ij,ij->j", whole, whole))
        sizes[sizes < 1e-6 * math.sqrt(n)] = 0.0
        self.sizes, self.whole = sizes, np.where(sizes > 0, whole / np.where(sizes > 0, sizes, 1.0), 0.0)
        starts = np.cumsum([1, *(each.shape[1] for each in blocks)])
        self.slices = [np.arange(a, b) for a, b in pairwise(starts.tolist())]
        self.kept = _independent(self.whole)
        self.whole = np.ascontiguousarray(self.whole[:, self.kept])
        self.sizes = self.sizes[self.kept]
        self.gram = self.whole.T @ self.whole
        self._whole_waves: Spectrum | None = None

    @property
    def whole_waves(self) -> Spectrum:
        """Made when first needed: most pairs have nothing to tell."""
        if self._whole_waves is None:
            self._whole_waves = waves(self.whole)
        return self._whole_waves

    def pair(self, outcome: str, values: Array, censored: Flags | None) -> _Pair:
        """What is to be said of one outcome."""
        relation = Relation(
            self.name, outcome, self.n, math.nan, UNKNOWN, UNKNOWN, math.nan, math.nan, UNKNOWN,
            math.nan, math.nan, None, None, (), False, False, False, "", UNKNOWN, (), self.note,
        )  # fmt: skip
        none = _Test(math.nan, math.nan)
        if self.note:
            return _Pair(relation, (none, none))
        got = values[self.rows]
        if got.min() == got.max():
            return _Pair(relation._replace(note="the outcome never changes"), (none, none))
        ranked = self.shared.ranked(outcome, got, censored)
        if ranked.max() - ranked.min() < _LEVEL_RANKS:
            return _Pair(relation._replace(note="the outcome is censored throughout"), (none, none))
        y = less(ranked - 0.5, self.basis)
        if float(y @ y) < 1e-6 * float(((ranked - ranked.mean()) ** 2).sum()):
            return _Pair(relation._replace(note="fixed by the confounders and the other causes"), (none, none))
        whole = ranked - ranked.mean()
        raw = fit(self.raw_z, whole, z_waves=self.raw_waves)
        partial = fit(self.z, y, spent=self.spent, z_waves=self.waves)
        p = partial.p()
        raw_r, partial_r = _correlation(raw, self.raw_z, whole), _correlation(partial, self.z, y)
        bend, changes = self._shape(y)
        low, high = self.ends
        bent = bend is not None and bend.p < _UNTOLD
        effect, optimum = self._curve(got, bent, told=bent or p < _UNTOLD)
        explained, held = self._explained(raw_r, partial_r, whole)
        relation = relation._replace(
            effective=partial.effective,
            raw=raw_r,
            partial=partial_r,
            p=p,
            effect=effect,
            low=low,
            high=high,
            bend=bend,
            optimum=optimum,
            changes=changes,
            explained_by=explained,
            held=held,
            twins=self.twins,
        )
        curved = none if bend is None else _Test(bend.p, bend.strength)
        return _Pair(relation, (_Test(p, partial_r.value), curved, *(_Test(each.p, each.strength) for each in changes)))

    def _shape(self, y: Array) -> tuple[Bend | None, tuple[Change, ...]]:
        """Whether it bends, and with what it changes: each beside the other."""
        if len(self.kept) < 2:
            return None, ()
        place = {int(column): k for k, column in enumerate(self.kept)}
        unit = math.sqrt(float(self.z[:, 0] @ self.z[:, 0]) / float(y @ y))
        parts = [
            np.array([place[int(each)] for each in columns if int(each) in place], np.intp) for columns in self.slices
        ]
        base = np.append(0, parts[0]).astype(np.intp)
        everything = np.arange(self.whole.shape[1], dtype=np.intp)
        found = []  # the bend beside all changes; each change beside the bend, for confounders go together
        for which, columns in zip(parts, (everything, *(np.append(base, part) for part in parts[1:])), strict=True):
            own = np.searchsorted(columns, which)
            z, inverse = self.whole[:, columns], np.asarray(np.linalg.inv(self.gram[columns][:, columns]), float)
            together = plain(z, y, inverse, spent=self.spent)
            if len(own) and together.p(own) < _UNTOLD:
                together = fit(z, y, spent=self.spent, z_waves=self.whole_waves[:, columns])
            left = float(((y - z @ together.coefficients) ** 2).sum())
            found.append((together.p(own), _strength(together, own, inverse, left), which, together, columns))
        bend = Bend(found[0][1], found[0][0], math.nan) if len(found[0][2]) else None
        changes = []
        for key, (p, strength, which, together, used), columns in zip(
            self.changing, found[1:], self.slices[1:], strict=True
        ):
            if len(which) == 0:
                continue
            at = np.linspace(0.05, 0.95, 19)
            slopes = np.zeros((len(at), len(used)))  # of the outcome along u, by where in the confounder
            slopes[:, 0] = 1.0 / self.sizes[0]
            shape = 2.0 * _powers(at, _BENDS_WITH)  # a product holds 2 u - 1
            for k, column in enumerate(columns):
                if int(column) in place:
                    slopes[:, np.searchsorted(used, place[int(column)])] = shape[:, k] / self.sizes[place[int(column)]]
            values = slopes @ together.coefficients
            least, most = int(np.argmin(values)), int(np.argmax(values))
            where = np.nanquantile(self.shared.confounders[key], at[[least, most]])
            lowest, highest = (Figure(*together.interval(slopes[k] * unit, LEVEL)) for k in (least, most))
            changes.append(Change(key, strength, p, math.nan, lowest, highest, float(where[0]), float(where[1])))
        return bend, tuple(changes)

    def _curve(self, got: Array, bent: bool, told: bool) -> tuple[Figure, Optimum | None]:
        """From the cause's 10 % to its 90 % quantile, in units of the outcome; and the optimum, where it bends."""
        held = np.clip(got, *np.quantile(got, (0.01, 0.99))) if len(np.unique(got[:2000])) > 2 else got
        degree = self.degree if bent else 1
        used = [k for k, column in enumerate(self.kept) if column < degree]
        z, y = self.whole[:, used], less(held - held.mean(), self.basis)
        if told:
            curve = fit(z, y, spent=self.spent, z_waves=self.whole_waves[:, used])
        else:
            curve = plain(z, y, np.asarray(np.linalg.inv(self.gram[used][:, used]), float), spent=self.spent)

        def shape(u: Array) -> Array:
            columns = _powers(u, max(degree, 1))
            columns[:, 0] /= 2.0
            return np.asarray(columns[:, self.kept[used]] / self.sizes[used])

        ends = shape(np.array([self.u[np.argmin(np.abs(self.values - end))] for end in self.ends]))
        effect = Figure(*curve.interval(ends[1] - ends[0], LEVEL))
        if not bent or self.degree < 2 or not np.isfinite(curve.covariance).all():
            return effect, None
        at = np.linspace(0.0, 1.0, _GRID) if len(self.levels) > _DEGREE + 1 else np.unique(self.u)
        grid = shape(at)
        rng = np.random.default_rng(0)
        drawn = rng.multivariate_normal(curve.coefficients, curve.covariance, _DRAWS, check_valid="ignore")
        best: Optimum | None = None
        sure = 0.5 + 0.5 * LEVEL
        for sign in (1.0, -1.0):
            heights = sign * (drawn @ grid.T)
            peaks = np.argmax(heights, axis=1)
            inside = (at[peaks] > max(_EDGE, at[0])) & (at[peaks] < min(1.0 - _EDGE, at[-1]))
            gains = heights.max(axis=1) - np.max(sign * (drawn @ ends.T), axis=1)
            if inside.mean() < sure or np.quantile(gains, 1.0 - sure) <= 0:
                continue
            sure = float(inside.mean())
            known = sign * (curve.coefficients @ grid.T)
            middle = float(known.max() - np.max(sign * (curve.coefficients @ ends.T)))
            where = np.quantile(self.values, [at[int(np.argmax(known))], *np.quantile(at[peaks], _DRAWN)])
            low, high = np.quantile(gains, (0.5 - 0.5 * LEVEL, 0.5 + 0.5 * LEVEL))
            best = Optimum(sign > 0, Figure(*map(float, where)), Figure(middle, float(low), float(high)))
        return effect, best

    def _explained(self, raw: Figure, partial: Figure, whole: Array) -> tuple[str, Figure]:
        """What takes most of a raw correlation away, and what is left beside that alone."""
        if not abs(raw.value) >= LEAST_EFFECT or partial.value / raw.value > 0.5:
            return "", UNKNOWN
        found = []
        beside = {key: self.shared.powers[key][:, : self.shared.degree] for key in self.beside}
        for key, columns in (*self.shared.hats.items(), *beside.items()):
            basis = orthogonal(np.column_stack((self.mean, columns)))
            z, y = less(self.raw_z, basis), less(whole, basis)
            size = math.sqrt(float(z[:, 0] @ z[:, 0]) * float(y @ y))
            found.append((abs(float(z[:, 0] @ y) / size - partial.value) if size > 0 else math.inf, key, basis))
        if not found:
            return "", UNKNOWN
        left, key, basis = min(found, key=lambda each: each[0])
        if left > 0.5 * abs(raw.value - partial.value):
            return "several together", partial
        z, y = less(self.raw_z, basis), less(whole, basis)
        return key, _correlation(fit(z, y, spent=basis.shape[1]), z, y)


def _varies(column: Array) -> bool:
    known = column[np.isfinite(column)]
    return len(known) > 0 and bool(known.min() < known.max() or len(known) < len(column))


def _correlation(found: Fit, z: Array, y: Array) -> Figure:
    """Of one input, as a correlation with its interval."""
    unit = math.sqrt(float(z[:, 0] @ z[:, 0]) / max(float(y @ y), 1e-300))
    value, low, high = (float(np.clip(each * unit, -1.0, 1.0)) for each in found.interval([1.0], LEVEL))
    return Figure(value, low, high)


def _strength(found: Fit, which: npt.NDArray[np.intp], inverse: Array, left: float) -> float:
    """Partial correlation of the outcome with several inputs beside the others, less what chance would give.

    inverse: of all inputs' products; left: what the fit leaves of the outcome's squares.
    """
    if len(which) == 0 or not np.isfinite(found.covariance).all():
        return math.nan
    b = found.coefficients[which]
    own = np.linalg.inv(inverse[which][:, which])
    gained = float(b @ own @ b) - float(np.trace(own @ found.covariance[which][:, which]))
    return math.sqrt(max(gained, 0.0) / max(left + max(gained, 0.0), 1e-300))


def _independent(columns: Array) -> npt.NDArray[np.intp]:
    """Columns to keep, from the left, so that none is nearly made up of those before it."""
    gram = columns.T @ columns
    kept: list[int] = []
    for k in range(columns.shape[1]):
        if gram[k, k] <= 0.0:
            continue
        left = gram[k, k]
        if kept:
            cross = gram[kept, k]
            left -= float(cross @ np.linalg.solve(gram[kept][:, kept], cross))
        if left > 1e-3 * gram[k, k]:
            kept.append(k)
    return np.array(kept, np.intp)
