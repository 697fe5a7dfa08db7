"""Simultaneous perturbation for many calls, 0/1 scores and worlds that change; Thompson sampling on choices.

All numbers are varied at once, by at most ``WIDTH`` of their ranges about a centre, and all choices by Thompson sampling
(Spall 1992 and 1998 vary by coins; Thompson 1933). Gradient and curvature come from a regression on the (values, score)
pairs themselves, as they arrive, in several memories (``kernels.online.response``): so scores may be late, repeated, out
of order or missing, calls may overlap, and a caller's own values count as what they are. A draw of the coefficients says
where to try next; their mean says what is best. That is Spall's adaptive (second-order) form of 2000 with averaging by
regression instead of by averaging iterates, and its gains are the posterior's: long steps while little is known, none
where nothing is to be won.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import response
from poet.kernels.online.response import Posterior, Surface
from poet.learning.axes import Cube
from poet.learning.tuners.dumps import packed, rng_of, rng_state, same_option, scales, scales_of, unpacked
from poet.model.execution import Context
from poet.model.policy import Tries
from poet.model.trial import Recommendation, Trial
from poet.model.tunable import Choice, Integer, Space, Value

Array = npt.NDArray[np.float64]

HALF_LIVES = (80.0, 400.0, 2000.0)  # of the memories [trials]
SHARE = 0.01  # of trust that is dealt out anew with each trial [1]
WIDTH = 0.15  # how far numbers are varied about the centre [share of the range]
TEMPER = 0.6  # of the draws' spread: of what Thompson sampling asks for [1]
INTERCEPT, OPTION, SLOPE, BEND = 100.0, 1.0, 3.0, 10.0  # priors' standard deviations [noise per unit]
LEAST_BEND = 4.0  # curvature that is believed in at least [noise per squared unit]
REACH = 0.45  # distance at which a trial counts for half [share of the range]
LARGEST = 1e100  # scores beyond are no scores


class SpsaTuner:
    """See above. Arguments as all tuners have them.

    start: the declared values, within ``space``. constraints: how many slacks each trial has.
    """

    def __init__(self, space: Space, start: Mapping[str, Value], *, seed: int = 0, constraints: int = 0) -> None:
        self._space, self._start = space, dict(start)
        self._cube = Cube(space)
        self._names = tuple(space)
        self._constraints = constraints
        self._rng = np.random.default_rng(seed)
        levels = self._cube.levels
        row = self._cube.row(self._start)
        assert row is not None
        self._numbers = np.array([j for j, k in enumerate(levels) if not k], dtype=int)
        self._choices = [j for j, k in enumerate(levels) if k]
        first, self._blocks = 1, {}
        for j in self._choices:
            self._blocks[j] = slice(first, first + levels[j])
            first += levels[j]
        self._first, d = first, len(self._numbers)
        self._columns = first + 2 * d
        self._codes = [int(row[j]) for j in self._choices]
        self._centre = np.array([row[j] for j in self._numbers])
        self._conditional = np.array([bool(space[self._names[j]].condition) for j in self._numbers], dtype=bool)
        self._conditions = any(tunable.condition for tunable in space.values())
        deviations = [INTERCEPT, *[OPTION] * (first - 1), *[SLOPE] * d, *[BEND] * d]
        self._precision = 1.0 / np.square(np.array(deviations))
        self._keep = np.array([0.5 ** (1.0 / half_life) for half_life in HALF_LIVES])
        self._surface = Surface.empty(len(HALF_LIVES), self._columns, 1 + constraints)
        self._trust = np.full(len(HALF_LIVES), 1.0 / len(HALF_LIVES))
        self._offset: Array | None = None
        self._trials = 0
        self._known: Posterior | None = None
        self._widths = self._reach()

    # ------------------------------------------------------------ places

    def _reach(self) -> Array:
        """How far each number is varied: at least to its next value."""
        widths = np.full(len(self._numbers), WIDTH)
        for i, j in enumerate(self._numbers.tolist()):
            tunable = self._space[self._names[j]]
            if isinstance(tunable, Choice) or (not isinstance(tunable, Integer) and tunable.step is None):
                continue
            point = [0.0] * len(self._names)
            point[j] = float(self._centre[i])
            name = self._names[j]
            value = self._cube.values(point)[name]
            assert isinstance(value, int | float)
            step = tunable.step or 1
            row = {**self._start}
            near = []
            for other in (tunable.clip(value - step), tunable.clip(value + step)):
                if other != value:
                    place = self._cube.row({**row, name: other})
                    assert place is not None
                    near.append(abs(place[j] - float(self._centre[i])))
            if near:
                widths[i] = max(WIDTH, min(near) * 1.01)
        return widths

    def _column(self, codes: Sequence[int], numbers: Array, active: Sequence[bool] | None) -> Array:
        column = np.zeros(self._columns)
        column[0] = 1.0
        for j, code in zip(self._choices, codes, strict=True):
            if active is None or active[j]:
                column[self._blocks[j].start + code] = 1.0
        delta = numbers - self._centre
        if active is not None:
            delta = np.where([active[j] for j in self._numbers], delta, 0.0)
        d = len(delta)
        column[self._first : self._first + d] = delta
        column[self._first + d :] = 0.5 * delta * delta
        return column

    def _active(self, values: Mapping[str, Value]) -> list[bool] | None:
        if not self._conditions:
            return None
        active = self._space.active(values)
        return [name in active for name in self._names]

    def _values(self, codes: Sequence[int], numbers: Array) -> dict[str, Value]:
        point = [0.0] * len(self._names)
        for j, code in zip(self._choices, codes, strict=True):
            point[j] = float(code)
        for j, x in zip(self._numbers.tolist(), numbers.tolist(), strict=True):
            point[j] = x
        return self._cube.values(point)

    def _placed(self, values: Mapping[str, Value]) -> Array | None:
        """The column of ``values``; None where they are nowhere near the space."""
        row = self._cube.row(values)
        if row is None:
            return None
        numbers = np.array([row[j] for j in self._numbers])
        if len(numbers) and not bool((np.abs(numbers - 0.5) <= 1.5).all()):
            return None
        return self._column([int(row[j]) for j in self._choices], numbers, self._active(values))

    # ------------------------------------------------------------ learning

    def update(self, trials: Sequence[Trial]) -> None:
        """Fold them in; those whose score or slack is not finite, or whose values are nowhere near, are passed over."""
        for trial in trials:
            scores = (trial.score, *trial.slack[: self._constraints])
            if len(scores) != 1 + self._constraints or not all(
                isinstance(y, int | float) and abs(y) < LARGEST for y in scores
            ):
                continue
            column = self._placed(trial.values)
            if column is None:
                continue
            self._fold(column, np.array(scores, dtype=float))

    def _fold(self, column: Array, scores: Array) -> None:
        if self._offset is None:
            self._offset = scores
        relative = scores - self._offset
        if self._trials > 10:
            likelihood = response.log_likelihood(self._posterior(), column, float(relative[0]))
            self._trust = response.trusted(self._trust, likelihood, SHARE)
        d = len(self._numbers)
        far = float(np.abs(column[self._first : self._first + d]).max()) if d else 0.0
        weight = 1.0 / (1.0 + (far / REACH) ** 4)
        self._surface = response.observe(self._surface, column, relative, self._keep, weight)
        self._trials += 1
        self._known = None
        self._move()

    def _posterior(self) -> Posterior:
        if self._known is None:
            offset = np.ones(1 + self._constraints) if self._offset is None else self._offset
            self._known = response.posterior(self._surface, self._precision, 1e-9 * np.maximum(1.0, np.abs(offset)))
        return self._known

    def _peak(self, coefficients: Array, noise: float) -> Array:
        """Where the numbers are best by ``coefficients``, (p,), within reach of the centre: steps (d,)."""
        d = len(self._numbers)
        slopes, bends = coefficients[self._first : self._first + d], coefficients[self._first + d :]
        steps = np.clip(slopes / np.maximum(-bends, LEAST_BEND * noise), -self._widths, self._widths)
        return np.clip(self._centre + steps, 0.0, 1.0) - self._centre

    def _best(self, coefficients: Array) -> list[int]:
        """The best option of each choice; in a tie the one that is held for the best now."""
        best = []
        for j, now in zip(self._choices, self._codes, strict=True):
            effects = coefficients[self._blocks[j]]
            code = int(np.argmax(effects))
            best.append(code if effects[code] > effects[now] else now)
        return best

    def _move(self) -> None:
        """What is best is looked at anew, and the centre moved there where it has gone far enough."""
        post = self._posterior()
        mean = np.einsum("m,mpk->pk", self._trust, post.mean)
        noise = float(self._trust @ post.noise[:, 0])
        self._codes = self._best(mean[:, 0])
        shift = self._peak(mean[:, 0], noise)
        shift[self._conditional] = 0.0
        if len(shift) and float(np.abs(shift / self._widths).max()) >= 0.5:
            self._surface = response.recentred(self._surface, shift, self._first)
            self._centre = self._centre + shift
            self._widths = self._reach()
            self._known = None

    # ------------------------------------------------------------ telling

    def suggest(self, context: Context = ()) -> dict[str, Value]:
        """What to try next, the best known included."""
        if not self._trials:
            return self._values(self._codes, self._centre)
        post = self._posterior()
        memory = int(np.searchsorted(np.cumsum(self._trust)[:-1], self._rng.random()))
        spread = TEMPER * post.noise[memory, 0]
        draw = post.mean[memory, :, 0] + spread * (post.root[memory] @ self._rng.standard_normal(self._columns))
        step = self._peak(draw, float(post.noise[memory, 0]))
        return self._values(self._best(draw), self._centre + step)

    def recommend(self, context: Context = ()) -> Recommendation:
        """The mode of the posterior mean near the centre."""
        post = self._posterior()
        mean = np.einsum("m,mpk->pk", self._trust, post.mean)
        noise = float(self._trust @ post.noise[:, 0])
        numbers = self._centre + self._peak(mean[:, 0], noise)
        values = self._values(self._codes, numbers)
        column = self._placed(values)
        assert column is not None
        offset = 0.0 if self._offset is None else float(self._offset[0])
        score = offset + float(mean[:, 0] @ column)
        half = 1.645 * float(self._trust @ (post.noise[:, 0] * np.sqrt(np.einsum("p,mpq,q->m", column, post.covariance, column))))
        return Recommendation(values, score, score - half, score + half, self._trials)

    def expected(self, values: Mapping[str, Value], context: Context = ()) -> float:
        """Posterior mean score [utility]."""
        column = self._placed(values)
        offset = 0.0 if self._offset is None else float(self._offset[0])
        if column is None:
            return offset
        mean = np.einsum("m,mp->p", self._trust, self._posterior().mean[:, :, 0])
        return offset + float(mean @ column)
