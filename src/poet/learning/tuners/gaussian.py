"""Tuning by a Gaussian process: few trials, noisy scores, any mixture of numbers and choices, contexts, drift.

What is tried next is a draw of the posterior (Thompson 1933), made jointly for many candidates and tempered, so that it
explores less than a full draw would: calls are real, and what they lose counts. What is recommended is the best
posterior mean, never the luckiest trial. Time is a trial's number, a context is an input that is given, not chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from poet.errors import ConfigurationError, nearest
from poet.kernels.online import surrogate
from poet.kernels.online.surrogate import Array, Hyper, Process, Seen
from poet.learning.axes import Cube
from poet.learning.tuners.columns import Columns
from poet.learning.tuners.dumps import rng_state, spelled
from poet.learning.tuners.gaussian_state import FARTHEST, Kept, Points, hyper_facts, short, written
from poet.learning.tuners.outputs import outputs_of
from poet.learning.tuners.prior import Blend, Prior, View, Weight, alone, words
from poet.model.execution import Context
from poet.model.policy import Policy, Tries
from poet.model.policy_cells import Cell, Cells
from poet.model.trial import Recommendation, Trial
from poet.model.tunable import Space, Value

MOST_POINTS = 140  # distinct ones that are kept; their inverse is most of the memory
ROOM = 16  # that are made free at once, so that it is rarely done
MOST_DUMPED, MOST_HELD = 48_000, 170_000  # bytes of points in a dump, and of points and inverse in memory
FITTED = 120  # points, the newest, by which hyper-parameters are learned
PATCHED = 16  # trials at once that are worked into the inverse; more: it is made anew

TEMPER = 0.6  # of draws: 1 were Thompson sampling, 0 greed
SAME = 2  # trials at equal values, while few others are known
APART = 0.5  # share of suggestions as if there were no relatives, where they are not believed at all
GREED = 0.1  # the same where relatives are believed
FIRST = 5  # trials, at most, before the process chooses
NEARBY, OTHER = 0.15, 0.5  # the first trials about the start: deviation of numbers [1], probability of another option
UNTRIED_UNTIL, UNTRIED_MOST, UNTRIED_SHARE = 100, 16, 0.25  # trials, options, suggestions: of options never tried ...
UNTRIED_NEAR = 0.25  # ... within this, in every number
ANYWHERE, NEAR = 160, 160  # candidates anywhere, and near the best
CLIMBERS, STEPS_UP = 3, 12  # climbs to tops of the mean, and how many steps each at most
MOVES = (-0.25, -0.08, -0.02, 0.02, 0.08, 0.25)  # of a number in a step up [1]
WIDTHS = (0.15, 0.05, 0.02)  # of those near the best [1]
DRAWN = 128  # candidates of which a joint draw is made
CAUTION = 0.3  # deviations that a recommendation must be better by: a little known is worth a little
SPELL = 50.0  # equal trials within so small a part of the memory are one point
ALIKE = 0.9  # correlation from which on two points may be merged

SITUATIONS = 12  # contexts that stand for all that were seen
RANGES = 3  # that a number in the context is cut into, for those and for cells
CELLS = 16  # of a policy

_SAME = 1e-6  # places less apart are one
_EDGE = 1.645  # deviations that hold 90 %


class GaussianTuner:
    """Implements ``poet.seams.Tuner``; meant for up to some thousand distinct trials of up to some 20 tunables.

    Costs some milliseconds a trial, whatever the number; more trials at equal values cost microseconds. Keeps at most
    ``MOST_POINTS`` distinct points (those that say the same are merged, then the old and bad ones go), at most
    ``MOST_COLUMNS`` features, and of a category ``columns.MOST_CODES`` values.

    space: what may be tuned. start: the declared values; trials begin there and near it.
    constraints: how many slacks each trial tells. contextual: whether contexts are looked at.
    prior: what related tuners know of the score, for this very space; of slacks they tell nothing.
    Raises ConfigurationError where the space is empty or ``start`` is not in it.
    """

    def __init__(
        self,
        space: Space,
        start: Mapping[str, Value],
        *,
        seed: int = 0,
        constraints: int = 0,
        contextual: bool = True,
        prior: Prior | None = None,
    ) -> None:
        self._space, self._cube = space, Cube(space, start)
        self._given = prior  # what relatives know
        self._weighed: tuple[int, list[Weight], dict[int, View]] | None = None  # at a trial's number
        missing = [name for name in space if name not in start]
        if missing:
            raise ConfigurationError(f"start names no {missing[0]!r}: {nearest(missing[0], start)}")
        space.check({name: start[name] for name in space})
        self._start = {name: start[name] for name in space}
        self._home = short(self._cube.home)
        self._steps = [None if steps is None else short(steps) for steps in self._cube.steps()]
        changes = [
            (float(j), float(move), float(bool(levels)))
            for j, levels in enumerate(self._cube.levels)
            for move in (range(levels) if levels else MOVES)
        ]
        columns, moves, anew = np.array(changes).T
        self._changes = columns.astype(int), moves, anew > 0  # of one tunable each: which, by how much or to what
        self._conditions = self._cube.conditions()
        self._costs = np.array([tunable.change_cost for tunable in space.values()])
        self._seed, self._rng = seed, np.random.default_rng(seed)
        self._outputs, self._contextual = 1 + constraints, contextual
        self._columns = Columns()
        self._points = Points.none(len(space), self._outputs)
        self._told = 0
        self._hypers: list[Hyper | None] = [None] * self._outputs
        self._process: Process | None = None  # of the score; None: to be made
        self._fitted = (0, 0)  # trials and new points when hyper-parameters were learned last
        self._fresh = 0  # points since then
        self._held = self._home.copy()  # what was best last, where changes cost something

    # --- taking in ----------------------------------------------------------------------------------------------------

    def update(self, trials: Sequence[Trial]) -> None:
        """Fold them in, oldest first. Those whose score or slacks are not finite, or whose values are not of their
        tunables' kind, are passed over.
        """
        if len(trials) > PATCHED:
            self._process = None
        before = self._told
        for trial in trials:
            outputs, row = outputs_of(trial, self._outputs - 1), self._cube.row(trial.values)
            if outputs is None or row is None:
                continue
            self._take(np.clip(short(row), -FARTHEST, self._far), trial.context, outputs)
            if len(self._points.x) > self._most:
                self._thin()
        if self._told > before:
            self._learn()

    @property
    def _far(self) -> Array:
        return np.where(np.array(self._cube.levels) > 0, np.inf, 1.0 + FARTHEST)

    @property
    def _most(self) -> int:
        """Points that may be kept: by their number, their bytes in a dump, and theirs and the inverse's in memory."""
        width, other = len(self._cube.levels) + len(self._columns), 16 * self._outputs + 16
        each = 16 * width + 2 * other
        held = (math.sqrt(each * each + 32 * MOST_HELD) - each) / 16  # 8 n^2 + each n = MOST_HELD
        return max(ROOM + 4, min(MOST_POINTS, MOST_DUMPED // (4 * width + other), int(held)))

    def _take(self, point: Array, context: Context, outputs: Sequence[float]) -> None:
        codes = short(self._columns.learn(context)) if self._contextual else np.empty(0)
        points, at, y = self._points, float(self._told), np.array(outputs)
        self._told += 1
        if len(codes) > points.codes.shape[1]:
            unknown = self._columns.unknown()[points.codes.shape[1] :]
            points = points._replace(codes=np.hstack([points.codes, np.tile(unknown, (len(points.x), 1))]))
            self._process, self._hypers = None, [None if h is None else self._wider(h) for h in self._hypers]
        same = (points.x == point).all(axis=1) & (at - points.at <= self._spell())
        same &= ((points.codes == codes) | (np.isnan(points.codes) & np.isnan(codes))).all(axis=1)
        if same.any():
            i = int(np.flatnonzero(same)[-1])
            n, away = float(points.counts[i]) + 1.0, y - points.y[i]
            points.y[i] += away / n
            points.scatter[i] += away * (y - points.y[i])
            points.counts[i] = n
            if self._process is not None:
                self._process = surrogate.with_count(
                    self._process, i, float(points.y[i, 0]), n, float(points.scatter[i, 0])
                )
            self._points = points
            return
        self._points = Points(
            np.vstack([points.x, point]),
            np.vstack([points.codes, codes]),
            np.vstack([points.y, y]),
            np.vstack([points.scatter, np.zeros(self._outputs)]),
            np.append(points.counts, 1.0),
            np.append(points.at, at),
        )
        self._fresh += 1
        if self._process is not None:
            self._process = surrogate.with_point(self._process, self._rows(point[None], codes)[0], float(y[0]), at)

    def _wider(self, hyper: Hyper) -> Hyper:
        """With the usual lengths for columns that are new."""
        return hyper._replace(lengths=hyper.lengths + surrogate.usual(self._levels).lengths[len(hyper.lengths) :])

    def _spell(self) -> float:
        """Trials within which equal ones are one point."""
        hyper = self._hypers[0]
        return 8.0 if hyper is None else math.exp(hyper.memory) / SPELL

    def _thin(self) -> None:
        """Merge points that say the same, then drop those that are old and bad, until there is room."""
        process, points = self._model(), self._points
        seen = process.seen
        assert seen.at is not None
        kernel = surrogate.correlation(seen.x, seen.x, self._levels, process.hyper.lengths)
        kernel *= np.exp(-np.abs(np.subtract.outer(seen.at, seen.at)) * math.exp(-process.hyper.memory))
        np.fill_diagonal(kernel, 0.0)
        alive = np.ones(len(points.x), dtype=bool)
        mean = surrogate.mean(process, seen.x, float(self._told))
        age = (self._told - points.at) * math.exp(-process.hyper.memory)
        worth = (mean - mean.max()) / process.scale - age
        for _ in range(len(points.x) - (self._most - ROOM)):
            i, j = divmod(int(np.argmax(kernel)), len(kernel))
            if kernel[i, j] > ALIKE:
                i, j = (i, j) if points.counts[i] >= points.counts[j] else (j, i)
                a, b = float(points.counts[i]), float(points.counts[j])
                away = points.y[j] - points.y[i]
                points.y[i] += away * (b / (a + b))
                points.scatter[i] += points.scatter[j] + away * away * (a * b / (a + b))
                points.at[i] = (a * points.at[i] + b * points.at[j]) / (a + b)
                points.counts[i] = a + b
            else:
                j = int(np.argmin(np.where(alive, worth, np.inf)))
            alive[j] = False
            kernel[j] = kernel[:, j] = 0.0
        left = np.flatnonzero(alive)
        self._points = points.of(left[np.argsort(points.at[left], kind="stable")])
        self._process = None

    def _learn(self) -> None:
        """Learn the hyper-parameters anew, rarely."""
        trials, n = self._fitted
        if self._fresh < max(3, n // 5) and self._told < 1.5 * trials + 8:
            return
        for k in range(self._outputs):
            seen = self._seen(k)
            newest = Seen(*(part[-FITTED:] for part in seen if part is not None))
            prior = self._prior()
            self._hypers[k] = surrogate.fit(newest, levels=self._levels, hyper=self._hypers[k], prior=prior).hyper
        self._fitted, self._fresh, self._process = (self._told, len(self._points.x)), 0, None

    # --- the model ----------------------------------------------------------------------------------------------------

    @property
    def _levels(self) -> tuple[int, ...]:
        return self._cube.levels + self._columns.levels

    def _prior(self) -> Hyper:
        return surrogate.usual(self._levels, trend=True)

    def _rows(self, points: Array, codes: Array | Sequence[float]) -> Array:
        """Points beside the place of one context: (m, d + f)."""
        if not len(self._columns):
            return points
        return np.hstack([points, np.tile(self._columns.places([float(code) for code in codes]), (len(points), 1))])

    def _seen(self, k: int) -> Seen:
        points, x = self._points, self._points.x
        if len(self._columns):
            x = np.hstack([x, [self._columns.places(codes) for codes in points.codes.tolist()]])
        return Seen(x, points.y[:, k].copy(), points.counts.copy(), points.scatter[:, k].copy(), points.at.copy())

    def _model(self, k: int = 0) -> Process:
        """Of the score, which is kept, or of a slack, which is made anew."""
        if k == 0 and self._process is not None:
            return self._process
        hyper = self._hypers[k] or self._prior()
        process = surrogate.fit(self._seen(k), levels=self._levels, hyper=hyper, learn=False)
        if k == 0:
            self._process = process
        return process

    def _weights(self) -> list[Weight]:
        """What own trials say of the relatives, likeliest first."""
        if self._given is None:
            return [Weight(-1, 1.0, 0.0)]
        if self._weighed is None or self._weighed[0] != self._told:
            weights = self._given.weighed(self._seen(0), self._levels, self._hypers[0] or self._prior())
            self._weighed = (self._told, weights, {})
        return self._weighed[1]

    def _view(self, weight: Weight) -> View:
        """The score under one hypothesis."""
        if weight.source < 0 or self._given is None:
            return alone(self._model())
        assert self._weighed is not None
        views = self._weighed[2]
        if weight.source not in views:
            hyper = self._hypers[0] or self._prior()
            views[weight.source] = self._given.view(weight, self._seen(0), self._levels, hyper)
        return views[weight.source]

    def _blend(self) -> Blend:
        """The score under all hypotheses; there must have been a trial."""
        told = self._weights()
        return Blend(tuple(each.share for each in told), tuple(self._view(each) for each in told))

    def _situations(self) -> list[tuple[Array, float]]:
        """Codes of contexts that stand for all that were seen, and their shares of the trials; most frequent first."""
        codes, count_ = self._points.codes, self._points.counts
        if not codes.shape[1] or not len(codes):
            return [(np.array(self._columns.unknown()), 1.0)]
        limits, groups = self._limits(), dict[tuple[float, ...], list[int]]()
        for i, row in enumerate(codes.tolist()):
            groups.setdefault(tuple(_range(c, edges) for c, edges in zip(row, limits, strict=True)), []).append(i)
        found = []
        for rows in groups.values():
            weights = count_[rows]
            middle = [
                float(codes[rows[-1], j]) if edges is None else _mean(codes[rows, j], weights)
                for j, edges in enumerate(limits)
            ]
            found.append((np.array(middle), float(weights.sum())))
        found.sort(key=lambda pair: -pair[1])
        total = sum(weight for _, weight in found[:SITUATIONS])
        return [(codes, weight / total) for codes, weight in found[:SITUATIONS]]

    def _limits(self) -> list[tuple[float, ...] | None]:
        """By column: where a number's ranges end; None: a category."""
        limits: list[tuple[float, ...] | None] = []
        for j, levels in enumerate(self._columns.levels):
            told = self._points.codes[:, j]
            told = told[~np.isnan(told)]
            parts = np.linspace(0.0, 1.0, RANGES + 1)[1:-1]
            edges = tuple(dict.fromkeys(np.quantile(told, parts).tolist())) if len(told) else ()
            limits.append(None if levels else edges)
        return limits

    # --- choosing -----------------------------------------------------------------------------------------------------

    def suggest(self, context: Context = ()) -> dict[str, Value]:
        """What to try next in such a call: at first the start and near it, then a draw of the posterior.

        In a call of a context that was never seen: as in one that was, by the frequency of those.
        """
        self._hold()
        return self._cube.values(self._tries(self._codes_for(context), 1)[0].tolist())

    def _codes_for(self, context: Context) -> Array:
        if self._columns.known(context):
            return np.array(self._columns.codes(context))
        codes, weights = zip(*self._situations(), strict=True)
        return np.asarray(codes[int(self._rng.choice(len(codes), p=np.array(weights)))])

    def _tries(self, codes: Array, n: int) -> Array:
        """Points to try in one context: (n, d).

        The start comes first, also where relatives are believed: one point that they praise, and nothing beside it,
        would never tell that they are wrong. For the same reason no point is all that is known for long.
        """
        weights = self._weights()
        if not len(self._points.x) or (weights[0].source < 0 and len(weights) == 1):
            return self._own_tries(codes, n)
        if len(self._points.x) < min(FIRST, self._told / SAME):
            return np.array([self._settled(self._nearby()[None])[0] for _ in range(n)])
        own = sum(each.share for each in weights if each.source < 0)
        if self._rng.random() < APART * own:
            return self._own_tries(codes, n)
        return self._drawn(self._blend(), codes, n, own * TEMPER + (1.0 - own) * GREED)

    def _own_tries(self, codes: Array, n: int) -> Array:
        """Points to try where relatives say nothing: (n, d)."""
        if not len(self._points.x):
            first = [self._home] + [self._settled(self._nearby()[None])[0] for _ in range(n - 1)]
            return np.array(first)
        if self._told < min(2 + len(self._cube.levels), FIRST):
            return np.array([self._settled(self._nearby()[None])[0] for _ in range(n)])
        return self._with_untried(self._drawn(alone(self._model()), codes, n))

    def _drawn(self, view: View | Blend, codes: Array, n: int, temper: float = TEMPER) -> Array:
        """The best of each of ``n`` draws of the posterior: (n, d)."""
        process, now = view.process, float(self._told)
        points = self._candidates(view, [codes], self._rng)
        rows = self._rows(points, codes)
        middle, deviation = view.predict(rows, now)
        hope = middle + deviation - self._change(points, 2.0)
        slacks = [self._model(k) for k in range(1, self._outputs)] if len(self._points.x) else []
        for slack in slacks:
            kept, unsure = surrogate.predict(slack, rows, now)
            hope += np.minimum(kept + unsure, 0.0) * (10.0 * process.scale / slack.scale)
        chosen = np.argsort(-hope, kind="stable")[:DRAWN]
        points, rows = points[chosen], rows[chosen]
        draws = surrogate.drawn(*view.joint(rows, now), self._rng, n, temper) - self._change(points, 2.0)
        if slacks:
            broken = np.zeros_like(draws)
            for slack in slacks:
                kept = surrogate.drawn(*surrogate.joint(slack, rows, now), self._rng, n, TEMPER)
                broken += np.minimum(kept, 0.0) / slack.scale
            draws = np.where(broken.max(axis=1)[:, None] < 0, broken, np.where(broken < 0, -np.inf, draws))
        return np.asarray(points[np.argmax(draws, axis=1)])

    def _with_untried(self, found: Array) -> Array:
        """These points, but now and then one has an option that no trial near it has had yet, all else as it is.

        The process takes options to be alike until it is told otherwise. Where scores have hardly any noise it is soon
        so sure of that, wrongly, or of one bad trial far away, that draws alone would never come to them.
        """
        if self._told > UNTRIED_UNTIL or (len(found) == 1 and self._rng.random() > UNTRIED_SHARE):
            return found
        numbers = np.array(self._cube.levels) == 0
        near = (np.abs(self._points.x[:, numbers] - found[-1, numbers]) <= UNTRIED_NEAR).all(axis=1)
        untried = [
            (j, code)
            for j, k in enumerate(self._cube.levels)
            if 1 < k <= UNTRIED_MOST
            for code in sorted(set(range(k)) - set(self._points.x[near, j].astype(int).tolist()))
        ]
        if untried:
            j, code = untried[int(self._rng.integers(len(untried)))]
            found = found.copy()
            found[-1, j] = code
            found[-1] = self._settled(found[-1][None])[0]
        return found

    def _nearby(self) -> Array:
        """A point near the start."""
        levels, d = np.array(self._cube.levels), len(self._cube.levels)
        other = surrogate.anywhere(1, self._cube.levels, self._rng)[0]
        flipped = np.where(self._rng.random(d) < OTHER, other, self._home)
        moved = np.clip(self._home + NEARBY * self._rng.standard_normal(d), 0.0, 1.0)
        return np.where(levels > 0, flipped, moved)

    def _change(self, points: Array, times: float) -> Array:
        """What it costs to change from what is held to each of the points, so many times: (m,)."""
        return np.asarray(times * ((points != self._held) @ self._costs))

    def _known(self) -> Array:
        """What was tried, and the start, within bounds, each once."""
        inside = np.where(np.array(self._cube.levels) > 0, self._points.x, np.clip(self._points.x, 0.0, 1.0))
        return np.unique(self._settled(np.vstack([inside, self._home, self._held])), axis=0)

    def _candidates(self, view: View | Blend, codes: Sequence[Array], rng: np.random.Generator) -> Array:
        """The best that are known in these contexts, many near them, and many anywhere: (m, d)."""
        known, levels = self._known(), self._cube.levels
        if self._given is not None:
            tops = self._given.tops()
            tops = np.where(np.isnan(tops), self._home, tops)
            inside = np.where(np.array(levels) > 0, tops, np.clip(tops, 0.0, 1.0))
            known = np.unique(np.vstack([known, self._settled(short(inside))]), axis=0)
        mean = np.mean([view.mean(self._rows(known, each), float(self._told)) for each in codes], axis=0)
        centres = known[np.argsort(-mean, kind="stable")[:5]]
        climbed = self._climbed(view, codes[0], centres, rng) if CLIMBERS else centres
        if CLIMBERS:
            centres = np.vstack([centres, climbed])
        points = [
            surrogate.anywhere(ANYWHERE, levels, rng),
            surrogate.around(centres, levels, rng, NEAR, WIDTHS),
        ]
        return np.unique(np.vstack([self._settled(short(np.vstack(points))), centres, self._home, self._held]), axis=0)

    def _climbed(self, view: View | Blend, codes: Array, centres: Array, rng: np.random.Generator) -> Array:
        """Tops of the mean, and of means through perturbed scores, that single changes lead to: (``CLIMBERS``, d).

        (Perturbed history: Kveton et al. 2019.) Combinations of what is good by itself are never met by chance where
        there are many tunables.
        """
        process = view.process
        share = 1.0 / (1.0 + math.exp(-process.hyper.noise))
        dice = rng.standard_normal((len(process.solved), CLIMBERS)) * np.sqrt(share / process.seen.counts)[:, None]
        dice[:, 0] = 0.0
        weights = process.solved[:, None] + surrogate.product(process.inverse, dice)
        points, now = centres[np.arange(CLIMBERS) % len(centres)].copy(), float(self._told)
        value = np.full(CLIMBERS, -np.inf)
        for _ in range(STEPS_UP):
            near = self._neighbours(points)
            m = near.shape[1]
            rows = self._rows(self._settled(near.reshape(CLIMBERS * m, -1)), codes)
            cross = surrogate.crossed(process, rows, now).reshape(-1, CLIMBERS, m)
            height = np.einsum("nk,nkm->km", weights, cross)
            if self._given is not None:
                height += view.lift(rows).reshape(CLIMBERS, m) / process.scale
            best = height.argmax(axis=1)
            reached = height[np.arange(CLIMBERS), best]
            if not (reached > value + 1e-9).any():
                break
            points = rows.reshape(CLIMBERS, m, -1)[np.arange(CLIMBERS), best][:, : points.shape[1]]
            value = reached
        return points

    def _neighbours(self, points: Array) -> Array:
        """Each point, and those that differ in one tunable: (k, m, d)."""
        columns, moves, anew = self._changes
        near = np.repeat(points[:, None, :], len(columns) + 1, axis=1)
        place = np.arange(1, len(columns) + 1)
        near[:, place, columns] = np.where(anew, moves, np.clip(points[:, columns] + moves, 0.0, 1.0))
        return near

    def _settled(self, points: Array) -> Array:
        """On their steps, and those that play no part at home; in place."""
        for j, steps in enumerate(self._steps):
            if steps is not None:
                points[:, j] = steps[np.searchsorted((steps[1:] + steps[:-1]) / 2.0, points[:, j])]
        if self._cube.conditional:
            active = np.ones(points.shape, dtype=bool)
            for _ in self._conditions:  # as deep as conditions of conditions may go
                for j, needs in enumerate(self._conditions):
                    for other, places in needs:
                        met = (np.abs(np.subtract.outer(points[:, other], places)) < _SAME).any(axis=1)
                        active[:, j] &= active[:, other] & met
            points[:] = np.where(active, points, self._home)
        return points

    # --- telling ------------------------------------------------------------------------------------------------------

    def recommend(self, context: Context = ()) -> Recommendation:
        """The best posterior mean, among what was tried and much else, less a little where little is known.

        In a context that was never seen, or none: in the mean of all that were seen. A change of a tunable that costs
        something must pay: in the mean of all over the trials seen so far or remembered, in a context at once.
        """
        if not len(self._points.x):
            return Recommendation(dict(self._start), 0.0, -math.inf, math.inf, 0)
        known = len(self._columns) > 0 and self._columns.known(context)
        situations = [(np.array(self._columns.codes(context)), 1.0)] if known else self._situations()
        point, mean, half, feasible = self._best(situations, lasting=not known)
        if not known and self._costs.any():
            self._held = point
        return Recommendation(self._cube.values(point.tolist()), mean, mean - half, mean + half, self._told, feasible)

    def _best(self, situations: Sequence[tuple[Array, float]], *, lasting: bool) -> tuple[Array, float, float, bool]:
        """The point, its mean, half the interval, and whether it keeps the constraints. Draws nothing from the seed."""
        process, blend, now = self._model(), self._blend(), float(self._told)
        rng = np.random.default_rng((self._seed & 0xFFFFFFFF, self._told))
        points = self._candidates(blend, [codes for codes, _ in situations[:4]], rng)
        if len(situations) > 1:  # the mean of many contexts is dear
            rough = sum(weight * blend.mean(self._rows(points, codes), now) for codes, weight in situations)
            points = points[np.argsort(-np.asarray(rough), kind="stable")[:64]]
        middle, deviation = np.zeros(len(points)), np.zeros(len(points))
        for codes, weight in situations:
            each, unsure = blend.predict(self._rows(points, codes), now)
            middle += weight * each
            deviation += weight * unsure  # as if they were in doubt together: at most too wide
        horizon = min(math.exp(process.hyper.memory), max(50.0, now)) if lasting else 1.0
        worth = middle - CAUTION * deviation - self._change(points, 1.0 / horizon)
        if self._given is None and not surrogate.spread(
            process.seen
        ):  # scores that are all alike are no reason to move
            worth = -np.abs(points - self._held).sum(axis=1)
        broken = np.zeros(len(points))
        for k in range(1, self._outputs):
            slack = self._model(k)
            kept = sum(weight * surrogate.mean(slack, self._rows(points, codes), now) for codes, weight in situations)
            broken += np.minimum(np.asarray(kept), 0.0) / slack.scale
        feasible = bool((broken >= 0).any())
        i = int(np.argmax(np.where(broken < 0, -np.inf, worth) if feasible else broken))
        return points[i], float(middle[i]), _EDGE * float(deviation[i]), feasible

    def expected(self, values: Mapping[str, Value], context: Context = ()) -> float:
        """Posterior mean score of ``values``; of odd ones that of anything untried; 0.0 while nothing was tried."""
        if not len(self._points.x):
            return 0.0
        row, process = self._cube.row(values), self._model()
        if row is None:
            return process.centre
        known = len(self._columns) > 0 and self._columns.known(context)
        situations = [(np.array(self._columns.codes(context)), 1.0)] if known else self._situations()
        point, blend, now = np.clip([row], -FARTHEST, self._far), self._blend(), float(self._told)
        return sum(w * float(blend.mean(self._rows(point, c), now)[0]) for c, w in situations)

    def policy(self, share: float, tries: int, own: Mapping[str, Value] | None = None) -> Policy:
        """How calls pick values until the next one is made: with contexts, by cells; see ``Cells``.

        share: of calls that may try something out, in [0, 1]. tries: most sets of values to try, >= 1, in each cell.
        own: what calls use anyway, to which a cell's best is compared; None: what ``recommend()`` says.
        Raises ConfigurationError where they are out of range.
        """
        if not 0 <= share <= 1:
            raise ConfigurationError(f"share must be in [0, 1], got {share!r}")
        if tries < 1:
            raise ConfigurationError(f"tries must be a whole number >= 1, got {tries!r}")
        self._hold()
        if not len(self._columns) or not len(self._points.x):
            return self._some(np.empty(0), share, tries)[0]
        if own is None:
            own = self._cube.values(self._best(self._situations(), lasting=True)[0].tolist())
        limits = self._limits()
        lost: list[float] = []  # by tries, in expectation
        cells: dict[tuple[Any, ...], Cell] = {}
        for codes, _ in self._situations()[:CELLS]:
            key = self._columns.parts(codes.tolist(), limits)
            if key is None:
                continue
            point, mean = self._best([(codes, 1.0)], lasting=False)[:2]
            best = self._cube.values(point.tolist())
            other, scores = self._some(codes, share, tries)
            cells[key] = Cell({n: v for n, v in best.items() if own.get(n) != v}, other)
            lost += [max(0.0, mean - score) for score in scores]
        features = tuple(zip(self._columns.names, limits, strict=True))
        common = self._situations()[0][0]
        return Cells(features, cells, self._some(common, share, tries)[0], sum(lost) / max(1, len(lost)))

    def _hold(self) -> None:
        """Take what is best by now for what holds, where changes cost something: the next one must pay against it."""
        if self._costs.any() and len(self._points.x):
            self._held = self._best(self._situations(), lasting=True)[0]

    def _some(self, codes: Array, share: float, tries: int) -> tuple[Tries, list[float]]:
        """Distinct sets of values to try in one context, and what each is expected to score."""
        if share == 0:
            return Tries(0.0, ()), []
        found = np.unique(self._tries(codes, tries), axis=0)
        scores: list[float] = []
        if len(self._points.x):
            scores = self._blend().mean(self._rows(found, codes), float(self._told)).tolist()
        return Tries(share, tuple(self._cube.values(point.tolist()) for point in found)), scores

    def tried(self) -> list[dict[str, Value]]:
        """Values that it has tried and still knows of, and its start, within bounds, the most promising first."""
        if not len(self._points.x):
            return []
        points = self._known()
        rows = self._rows(points, self._situations()[0][0])
        order = np.argsort(-self._blend().mean(rows, float(self._told)), kind="stable")
        return [self._cube.values(point.tolist()) for point in points[order]]

    def shape(self) -> dict[str, float]:
        """Log lengths of its kernel by tunable, and under "" the logit of the trend's share; empty: not known yet."""
        hyper = self._hypers[0]
        if hyper is None or hyper.trend is None or self._given is not None:
            return {}
        return {**dict(zip(self._space, hyper.lengths, strict=False)), "": hyper.trend}

    def notes(self) -> tuple[str, ...]:
        """What of the relatives it began with still counts, in words."""
        return () if self._given is None else words(self._given, self._weights())

    # --- keeping ------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """All it knows, the state of its dice included; at most some 50 KB, and 70 more of what relatives know."""
        self._process = None  # whoever loads it makes it anew, too: so both go on alike to the last bit
        facts = {
            "space": spelled(self._space),
            "home": self._home.tolist(),
            "columns": self._columns.dump(),
            "told": self._told,
            "fitted": list(self._fitted),
            "fresh": self._fresh,
            "hypers": [hyper_facts(hyper) for hyper in self._hypers],
            "held": self._held.tolist(),
            "dice": rng_state(self._rng),
        }
        if self._given is not None:
            facts["prior"] = self._given.facts()
        return written(self._points, facts)

    def load(self, state: bytes) -> tuple[str, ...]:
        """Take up where ``dump`` left off; in words, what of it means nothing in this space.

        Values are read as what they were: tried points keep what still has a meaning, a tunable that is new was at its
        start then. Raises ValueError, unchanged, where ``state`` is not of this kind.
        """
        kept = Kept.of(state)
        lost = kept.with_outputs(self._outputs)
        lost += [] if self._contextual else kept.without_contexts()
        lost += kept.within(self._space, self._cube, self._start)
        self._columns = kept.columns
        self._points, self._told, self._fitted, self._fresh = kept.points, kept.told, kept.fitted, kept.fresh
        self._hypers, self._held, self._process = kept.hypers, kept.held, None
        self._rng, self._weighed = kept.rng, None
        self._given = self._given or kept.prior
        if len(self._points.x) > self._most:
            self._thin()
        return tuple(lost)


def _range(code: float, edges: tuple[float, ...] | None) -> float:
    """A category's code, or which range a number lies in; -1: it is missing."""
    if edges is None:
        return code
    return -1.0 if math.isnan(code) else float(np.searchsorted(edges, code, side="right"))


def _mean(values: Array, weights: Array) -> float:
    there = ~np.isnan(values)
    return float(np.average(values[there], weights=weights[there])) if there.any() else math.nan
