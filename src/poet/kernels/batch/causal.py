"""What a choice does to an outcome, where the choice was drawn by lot and the lot's odds were logged.

A canary, an exploration or an A/B test draws an arm (a version, a value of a parameter) with a known probability, the
propensity, which may depend on the context and the moment. Rows of an arm, weighted by the inverse of it, stand for all
rows: what comes of it is an effect, not a correlation, and no confounder needs to be known.

Three estimators of the mean outcome had every row got arm ``a``, with weights ``w = [arm = a] / propensity``:

* inverse propensities: the mean of ``w r`` (Horvitz & Thompson 1952). Unbiased, noisy.
* self-normalised: ``sum(w r) / sum(w)`` (Swaminathan & Joachims 2015). Invariant to a shift of outcomes, less noisy.
* doubly robust: the mean of ``m(x) + w (r - m(x))``, ``m`` a regression of outcomes of that arm on the context, fitted
  to other rows (Robins, Rotnitzky & Zhao 1994; cross-fitted as in Chernozhukov et al. 2018): no worse where the context
  says nothing, and far better where it says much.

Each of an effect's intervals is Student's, by the rows' (or groups') influence on it, which is differenced row by row:
as odds are drawn anew for each row, drifts of the outcome do no harm. Where a draw holds for a session, a user or an
hour, name that as ``groups``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.findings import LARGEST, UNKNOWN, Array, Figure, adjusted

Codes = npt.NDArray[np.int64]

LEVEL = 0.9
RATE = 0.02  # of false discoveries among the effects of a call that are told
FOLDS = 5
LEAST_ROWS = 10  # of an arm, and independent rows that its weights leave
_RIDGE = 1.0  # rows that the prior of a regression is worth


class Effect(NamedTuple):
    """What one arm does, compared with another."""

    arm: int
    reference: int
    n: int  # rows of the arm
    n_reference: int
    ips: Figure  # outcome had all rows got the arm less had all got the reference [unit of the outcome]
    snips: Figure
    dr: Figure
    p: float  # of the doubly robust estimate
    q: float  # false-discovery rate over all arms of the call
    effective: float  # the fewer of both arms' independent rows, (sum w)^2 / sum w^2 (Kish 1965)
    heaviest: float  # the largest weight, before clipping
    clipped: float  # share of both arms' rows whose weight was clipped, in [0, 1] [1]; the estimate is biased where > 0
    balance: Figure  # mean weight of the arm, 1 where the logged propensities are true
    found: bool  # credible, and told at the rate asked for
    credible: bool  # enough rows, weights that agree with the odds logged, and few clipped
    note: str  # why it is not; "" otherwise


class Value(NamedTuple):
    """What a policy would have got."""

    n: int
    ips: Figure
    snips: Figure
    dr: Figure
    effective: float
    heaviest: float
    clipped: float
    balance: Figure


def effects(
    arms: npt.ArrayLike,
    propensities: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    reference: int,
    features: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    most_weight: float | None = None,
    rate: float = RATE,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[Effect, ...]:
    """The effect of each arm but the reference, in the order of their codes.

    arms: (n,) codes, whole numbers; below 0: unknown. propensities: (n,) logged probability of the arm that was drawn,
    in (0, 1]; rows where it, the arm or the outcome is unknown (NaN) are left out, and so are rows where nothing was
    drawn, with propensity 1, unless all are so: no lot says anything there. outcome: (n,). features: (n, d) of the
    context, known before the draw; NaN where unknown. groups: (n,) codes of what was drawn together.
    most_weight: weights are clipped there; by default the square root of n times the mean weight (Ionides 2008).
    Rows beyond the arms in question count as draws of neither. rate: of false discoveries over the arms of this call
    (Benjamini & Hochberg 1995). level: of intervals. Both in (0, 1).

    Raises ValueError where lengths differ or a propensity is beyond (0, 1].
    """
    a, p, r, x, g = _checked(arms, propensities, outcome, features, groups)
    drawn = p < 1.0
    if drawn.any():
        a, p, r, x = a[drawn], p[drawn], r[drawn], x[drawn]
        g = None if g is None else g[drawn]
    names = [int(each) for each in np.unique(a) if each != reference]
    if not names:
        return ()
    rng = np.random.default_rng(seed)
    folds = _folds(g, len(r), rng)
    base = _arm(a == reference, p, r, x, folds, most_weight)
    found = []
    for name in names:
        mine = _arm(a == name, p, r, x, folds, most_weight)
        found.append(_effect(name, reference, mine, base, r, g, level))
    rates = adjusted([each.p if each.credible else math.nan for each in found])
    return tuple(each._replace(q=float(q), found=bool(q <= rate)) for each, q in zip(found, rates, strict=True))


def value(
    weights: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    predicted: npt.ArrayLike | None = None,
    predicted_taken: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    most_weight: float | None = None,
    level: float = LEVEL,
) -> Value:
    """What another policy would have got on the rows of a log.

    weights: (n,) the policy's probability of what was done over its logged one, >= 0. outcome: (n,). predicted: (n,)
    what a model that was not fitted to the row expects under the policy, predicted_taken: (n,) under what was done;
    without them the doubly robust estimate uses the mean outcome for both. groups: (n,) codes of rows drawn together.

    Raises ValueError where lengths differ or a weight is below 0.
    """
    w, r = np.asarray(weights, float), np.asarray(outcome, float)
    if w.shape != r.shape or w.ndim != 1:
        raise ValueError(f"weights and outcome must be of one length, got shapes {w.shape} and {r.shape}")
    if (w < 0).any():
        raise ValueError(f"weights must be >= 0, got {float(w[w < 0][0])!r}")
    known = np.isfinite(w) & np.isfinite(r)
    w, r = w[known], np.clip(r[known], -LARGEST, LARGEST)
    g = None if groups is None else np.asarray(groups)[known].astype(np.int64)
    n = len(r)
    if n == 0:
        return Value(0, UNKNOWN, UNKNOWN, UNKNOWN, 0.0, math.nan, 0.0, UNKNOWN)
    cap = math.sqrt(n) * float(w.mean()) if most_weight is None else most_weight
    held = np.minimum(w, cap)
    size = _effective(held)
    plain = float(np.mean(held * r))
    total = max(float(held.mean()), 1e-300)
    normal = plain / total
    there = np.full(n, normal) if predicted is None else np.asarray(predicted, float)[known]
    taken = there if predicted_taken is None else np.asarray(predicted_taken, float)[known]
    corrected = there + held * (r - taken)
    return Value(
        n,
        _figure(plain, held * r - plain, g, size, level),
        _figure(normal, held * (r - normal) / total, g, size, level),
        _figure(float(corrected.mean()), corrected - corrected.mean(), g, size, level),
        size,
        float(w.max()),
        float(np.mean(w > cap)),
        _figure(float(w.mean()), w - w.mean(), g, size, level),
    )


class _Arm(NamedTuple):
    n: int
    weights: Array  # (n,), 0 for rows of other arms; clipped
    predicted: Array  # (n,) what a model expects of the arm
    raw: Array  # weights before clipping
    clipped: int


def _checked(
    arms: npt.ArrayLike,
    propensities: npt.ArrayLike,
    outcome: npt.ArrayLike,
    features: npt.ArrayLike | None,
    groups: npt.ArrayLike | None,
) -> tuple[Codes, Array, Array, Array, Codes | None]:
    a, p, r = np.asarray(arms), np.asarray(propensities, float), np.asarray(outcome, float)
    n = len(r)
    x = np.zeros((n, 0)) if features is None else np.asarray(features, float)
    x = x[:, None] if x.ndim == 1 else x
    g = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    lengths = {
        "arms": len(a), "propensities": len(p), "outcome": n, "features": len(x), "groups": n if g is None else len(g)
    }  # fmt: skip
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all arrays must be of one length, got {lengths}")
    wrong = p[np.isfinite(p) & ~((p > 0) & (p <= 1))]
    if len(wrong):
        raise ValueError(f"propensities must be in (0, 1], got {float(wrong[0])!r}")
    known = np.isfinite(p) & np.isfinite(r) & np.isfinite(a.astype(float)) & (a.astype(float) >= 0)
    together = None if g is None else g[known].astype(np.int64)
    held = np.clip(r[known], -LARGEST, LARGEST)
    return a[known].astype(np.int64), p[known], held, np.clip(x[known], -LARGEST, LARGEST), together


def _folds(groups: Codes | None, n: int, rng: np.random.Generator) -> Codes:
    """The fold of each row; whole groups in each."""
    if groups is None:
        return np.asarray(rng.integers(0, FOLDS, n), np.int64)
    _, place = np.unique(groups, return_inverse=True)
    return np.asarray((rng.permutation(int(place.max(initial=-1)) + 1) % FOLDS)[place], np.int64)


def _arm(
    mine: npt.NDArray[np.bool_],
    p: Array,
    r: Array,
    x: Array,
    folds: Codes,
    most_weight: float | None,
) -> _Arm:
    n = len(r)
    raw = np.where(mine, 1.0 / p, 0.0)
    cap = math.sqrt(n) * max(float(raw.mean()), 1e-300) if most_weight is None else most_weight
    weights = np.minimum(raw, cap)
    predicted = np.zeros(n)
    design = _design(x, n)
    for fold in range(FOLDS):
        here, others = folds == fold, mine & (folds != fold)
        predicted[here] = design[here] @ _ridge(design[others], r[others], weights[others])
    return _Arm(int(mine.sum()), weights, predicted, raw, int((raw > cap).sum()))


def _design(x: Array, n: int) -> Array:
    """A constant, each feature standardised and held within 4, its square, and whether it is unknown."""
    columns = [np.ones(n)]
    for k in range(x.shape[1]):
        column = x[:, k]
        known = np.isfinite(column)
        if not known.any():
            continue
        middle = float(np.median(column[known]))
        spread = float(np.std(column[known]))
        if spread > 0 and math.isfinite(spread):
            scaled = np.clip(np.where(known, (column - middle) / spread, 0.0), -4.0, 4.0)
            columns.append(scaled)
            if len(np.unique(column[known][:1000])) > 2:
                columns.append(scaled * scaled)
        if not known.all():
            columns.append((~known).astype(float))
    return np.column_stack(columns)


def _ridge(design: Array, r: Array, weights: Array) -> Array:
    """Weighted least squares, shrunk to the weighted mean."""
    q = design.shape[1]
    if len(r) == 0:
        return np.zeros(q)
    w = weights / weights.mean()
    mean = float(np.average(r, weights=w))
    weighted = design * w[:, None]
    gram = weighted.T @ design + np.diag([1e-9, *([_RIDGE] * (q - 1))])
    b = np.linalg.solve(gram, weighted.T @ (r - mean))
    b[0] += mean
    return np.asarray(b)


def _effective(weights: Array) -> float:
    squares = float((weights * weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _figure(middle: float, influence: Array, groups: Codes | None, size: float, level: float) -> Figure:
    half = _error(influence, groups) * _student(size, level)
    return Figure(middle, middle - half, middle + half)


def _error(influence: Array, groups: Codes | None) -> float:
    """Standard error of a mean, by the sums of groups."""
    n = len(influence)
    if groups is None:
        return math.sqrt(float(influence @ influence) / max(n - 1, 1) / max(n, 1))
    place = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(place, influence)
    count = len(sums)
    return math.sqrt(float((sums * sums).sum()) * count / max(count - 1, 1)) / n


def _student(size: float, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(size - 1.0, 1.0), 0.5 + 0.5 * level))


def _effect(name: int, reference: int, mine: _Arm, base: _Arm, r: Array, groups: Codes | None, level: float) -> Effect:
    from scipy.special import stdtr

    size = min(_effective(mine.weights), _effective(base.weights))
    plain = (mine.weights - base.weights) * r
    means, normalised = [], []
    for each in (mine, base):
        total = max(float(each.weights.mean()), 1e-300)
        mean = float((each.weights * r).mean()) / total
        means.append(mean)
        normalised.append(each.weights * (r - mean) / total)
    robust = [each.predicted + each.weights * (r - each.predicted) for each in (mine, base)]
    corrected = robust[0] - robust[1]
    dr = _figure(float(corrected.mean()), corrected - corrected.mean(), groups, size, level)
    error = _error(corrected - corrected.mean(), groups)
    p = 2.0 * float(stdtr(max(size - 1.0, 1.0), -abs(dr.value) / error)) if error > 0 else math.nan
    heaviest = float(max(mine.raw.max(initial=0.0), base.raw.max(initial=0.0)))
    rows = mine.n + base.n
    clipped = (mine.clipped + base.clipped) / max(rows, 1)
    strict = 1.0 - (1.0 - level) / 50.0  # a check that is made of every arm must not cry wolf
    off = [_figure(float(each.raw.mean()), each.raw - each.raw.mean(), groups, size, strict) for each in (mine, base)]
    note = ""
    if min(mine.n, base.n, size) < LEAST_ROWS:
        note = f"only {min(mine.n, base.n)} rows of an arm, worth {size:.0f} even ones"
    elif any(not each.low <= 1.0 <= each.high for each in off):
        note = f"arms were drawn more or less often than the odds logged say (mean weights {off[0].value:.3g}, " + (
            f"{off[1].value:.3g} for 1)"
        )
    elif clipped > 0.01:
        note = f"{clipped:.0%} of weights clipped"
    balance = _figure(off[0].value, mine.raw - off[0].value, groups, size, level)
    return Effect(
        name,
        reference,
        mine.n,
        base.n,
        _figure(float(plain.mean()), plain - plain.mean(), groups, size, level),
        _figure(means[0] - means[1], normalised[0] - normalised[1], groups, size, level),
        dr,
        p,
        math.nan,
        size,
        heaviest,
        clipped,
        balance,
        False,
        not note,
        note,
    )
