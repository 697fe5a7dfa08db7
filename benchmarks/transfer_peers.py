"""Transfer between tuning tasks as published: RGPE, and two warm-started Gaussian processes; written anew.

``Rgpe``: Feurer, Letham & Bakshy 2018. A process per source, fitted once, and one for the target; the prediction is
their weighted mean, sum w m, with variance sum w^2 v. The weight of each is the share of draws in which it misranks the
fewest pairs of the target's observations: a source by draws of its posterior there, the target by draws of its
leave-one-out posterior. A source whose median loss is above the 95 % quantile of the target's is left out, so that many
sources do not dilute the target's own weight. With fewer than three observations all sources weigh the same. Expected
improvement, over the best predicted mean, since scores are noisy.

``WarmStart``: the best configuration of each source is tried first (Feurer, Springenberg & Hutter 2015), then an
ordinary process with expected improvement goes on.

``Stacked``: the mean of the sources' processes is the prior mean of the target's, which models what is left (after
Golovin et al. 2017, Vizier, with one level below and all sources in it alike).

All use this project's kernel, hyper-parameters by MAP, and the same candidates; scores are standardised by task. Each
is shown what POET's relatives are made of: the very trials of each source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from poet.kernels.online import surrogate
from poet.kernels.online.surrogate import Array, Process
from poet.learning.axes import Cube
from poet.model.trial import Trial
from poet.model.tunable import Space, Value

DRAWS = 256  # of rankings
CANDIDATES = 512
FITTED = 3  # trials between two fits of hyper-parameters


def standardised(y: Sequence[float]) -> Array:
    """Mean 0, deviation 1."""
    values = np.asarray(y, dtype=float)
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


class Peer:
    """A tuner that knows sources: trials of other tasks of the same space."""

    def __init__(
        self, space: Space, start: Mapping[str, Value], sources: Sequence[Sequence[Trial]], *, seed: int = 0
    ) -> None:
        self._cube, self._start = Cube(space, start), dict(start)
        self._rng = np.random.default_rng(seed)
        self._x: list[list[float]] = []
        self._y: list[float] = []
        self._sources = [self._fitted(*self._rows(trials)) for trials in sources]
        self._hyper = surrogate.usual(self._cube.levels)
        best = [
            trials[int(np.argmax(surrogate.mean(p, p.x)))] for p, trials in zip(self._sources, sources, strict=True)
        ]
        self._tops = np.array([self._cube.row(trial.values) for trial in best])

    def _rows(self, trials: Sequence[Trial]) -> tuple[Array, Array]:
        return np.array([self._cube.row(t.values) for t in trials]), standardised([t.score for t in trials])

    def _fitted(self, x: Array, y: Array) -> Process:
        return surrogate.fit(x, y, self._cube.levels)

    def update(self, trials: Sequence[Trial]) -> None:
        """Take them in."""
        for trial in trials:
            row = self._cube.row(trial.values)
            assert row is not None
            self._x.append(row)
            self._y.append(trial.score)

    def _own(self, y: Array) -> Process:
        """The target's process through own trials; hyper-parameters now and then."""
        learn = len(y) % FITTED == 0
        process = surrogate.fit(np.array(self._x), y, self._cube.levels, self._hyper, learn=learn)
        self._hyper = process.hyper
        return process

    def _candidates(self) -> Array:
        levels = self._cube.levels
        centres = [self._tops] + ([np.array(self._x)] if self._x else [])
        near = surrogate.around(np.vstack(centres), levels, self._rng, CANDIDATES // 2, (0.15, 0.05, 0.02))
        points = np.vstack([surrogate.anywhere(CANDIDATES // 2, levels, self._rng), near, *centres])
        return np.array([self._cube.rounded(point) for point in points.tolist()])

    def _predicted(self, points: Array) -> tuple[Array, Array]:
        raise NotImplementedError

    def suggest(self) -> dict[str, Value]:
        """The greatest expected improvement over the best predicted mean of what was tried."""
        points = self._candidates()
        middle, deviation = self._predicted(points)
        best = float(self._predicted(np.array(self._x))[0].max()) if self._x else float(middle.max())
        hope = surrogate.expected_improvement(middle, np.maximum(deviation, 1e-9), best)
        return self._cube.values(points[int(np.argmax(hope))].tolist())

    def recommend(self) -> dict[str, Value]:
        """The best predicted mean among what was tried."""
        tried = np.array(self._x)
        return self._cube.values(tried[int(np.argmax(self._predicted(tried)[0]))].tolist())


class WarmStart(Peer):
    """The best of each source first, then a process of its own."""

    def suggest(self) -> dict[str, Value]:
        """The sources' best in turn, then by expected improvement."""
        if len(self._x) < len(self._tops):
            return self._cube.values(self._tops[len(self._x)].tolist())
        return super().suggest()

    def _predicted(self, points: Array) -> tuple[Array, Array]:
        return surrogate.predict(self._own(standardised(self._y)), points)


class Stacked(Peer):
    """The sources' mean is the prior mean."""

    def _predicted(self, points: Array) -> tuple[Array, Array]:
        lift = self._lift(points)
        if len(self._x) < 2:
            return lift, np.full(len(points), 0.5)
        process = self._own(standardised(self._y) - self._lift(np.array(self._x)))
        middle, deviation = surrogate.predict(process, points)
        return middle + lift, deviation

    def _lift(self, points: Array) -> Array:
        return np.asarray(np.mean([surrogate.mean(source, points) for source in self._sources], axis=0))


class Rgpe(Peer):
    """The ranking-weighted ensemble."""

    def __init__(
        self, space: Space, start: Mapping[str, Value], sources: Sequence[Sequence[Trial]], *, seed: int = 0
    ) -> None:
        super().__init__(space, start, sources, seed=seed)
        self._known: tuple[int, Array, Process | None] | None = None

    def _weights(self) -> tuple[Array, Process | None]:
        """Of the sources, then of the target, which is None while there are too few trials."""
        n, k = len(self._x), len(self._sources)
        if self._known is None or self._known[0] != n:
            if n < 3:
                self._known = (n, np.append(np.full(k, 1.0 / k), 0.0), None)
            else:
                own = self._own(standardised(self._y))
                self._known = (n, self._ranked(own), own)
        return self._known[1:]

    def _ranked(self, own: Process) -> Array:
        x, y = np.array(self._x), standardised(self._y)
        better = y[:, None] > y[None, :]
        losses = []
        for source in self._sources:
            draws = surrogate.drawn(*surrogate.joint(source, x), self._rng, DRAWS)
            losses.append(((draws[:, :, None] > draws[:, None, :]) != better).sum(axis=(1, 2)))
        # Leave one out in closed form (Rasmussen & Williams 2006, 5.4.2), each drawn by itself.
        spread = own.inverse.diagonal()
        left = y - own.solved * own.scale / spread
        deviation = own.scale / np.sqrt(spread)
        draws = left + deviation * self._rng.standard_normal((DRAWS, len(y)))
        # The pair (i, j): the prediction of i, without it, against what j truly scored.
        wrong = (draws[:, :, None] > y[None, None, :]) != better[None]
        wrong[:, np.arange(len(y)), np.arange(len(y))] = False
        losses.append(wrong.sum(axis=(1, 2)))
        told = np.array(losses, dtype=float)
        out = np.median(told[:-1], axis=1) > np.quantile(told[-1], 0.95)
        told[:-1][out] = np.inf
        least = told == told.min(axis=0)
        return np.asarray((least / least.sum(axis=0)).mean(axis=1))

    def _predicted(self, points: Array) -> tuple[Array, Array]:
        weights, own = self._weights()
        parts = [*self._sources, *([own] if own is not None else [])]
        middle, variance = np.zeros(len(points)), np.zeros(len(points))
        for weight, process in zip(weights.tolist(), parts, strict=False):
            if weight > 0:
                mean, deviation = surrogate.predict(process, points)
                middle += weight * mean
                variance += weight**2 * deviation**2
        return middle, np.sqrt(variance)


PEERS: Mapping[str, type[Peer]] = {
    "RGPE": Rgpe,
    "GP, warm start by configurations": WarmStart,
    "GP, sources as prior mean": Stacked,
}
