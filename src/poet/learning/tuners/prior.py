"""A prior of what related tuners know, outweighed by own evidence at the rate that the evidence says.

Hypotheses: what is right here is the mean of all sources, or one of them, or none. Under one of a source the score is a
multiple of its surface, plus a process of one's own for what differs; under none it is that process alone. Each weighs
its prior times its marginal likelihood of the own trials (Bayesian model averaging, Hoeting et al. 1999), with the
centre and the scale integrated out, so that neither unit nor level of a source matters. A source that predicts worse
than the target alone thus loses its weight exponentially in the trials, one whose surface must be turned upside down
has none at once, and what is below ``LEAST`` is none.

Beside it in the literature: RGPE (Feurer et al. 2018) weighs by how often a source ranks own pairs best. Ranks of few
noisy trials say little; likelihoods use how far apart they are, too. ``benchmarks.tables`` sets them side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poet.kernels.online import surrogate
from poet.kernels.online.surrogate import Array, Hyper, Process, Seen
from poet.learning.tuners.sources import Source, source_from

RIGHT, DOUBT = 0.8, 0.3  # multiple of a source's surface that is expected, and its deviation [own spread]
LEAST = 0.02  # weight below which a hypothesis is dropped
WEIGHED = 60  # points, the newest, by which hypotheses are weighed
OWN_TRIALS = 2.0  # that the sources' own spread of scores counts as, for the target's
FREEDOM = 2.0  # degrees of freedom of the prior of the scale
JOINT = 0.5  # prior of the mean of all, of what all sources have together

_PROBES = 256  # places over which surfaces are standardised


class View(NamedTuple):
    """The score under one hypothesis: a surface that is known, and a process for the rest."""

    process: Process
    lift: Callable[[Array], Array]  # of points, (m, >= d): (m,) [score]

    def mean(self, rows: Array, now: float) -> Array:
        """Mean score: (m,)."""
        return surrogate.mean(self.process, rows, now) + self.lift(rows)

    def predict(self, rows: Array, now: float) -> tuple[Array, Array]:
        """Mean and standard deviation of the noiseless score: (m,) each."""
        middle, deviation = surrogate.predict(self.process, rows, now)
        return middle + self.lift(rows), deviation

    def joint(self, rows: Array, now: float) -> tuple[Array, Array]:
        """Mean, (m,), and covariance, (m, m), of the noiseless score."""
        middle, covariance = surrogate.joint(self.process, rows, now)
        return middle + self.lift(rows), covariance


class Blend(NamedTuple):
    """The score under several hypotheses, the likeliest first."""

    shares: tuple[float, ...]
    views: tuple[View, ...]

    @property
    def process(self) -> Process:
        """The likeliest one's."""
        return self.views[0].process

    @property
    def lift(self) -> Callable[[Array], Array]:
        """The likeliest one's."""
        return self.views[0].lift

    def mean(self, rows: Array, now: float) -> Array:
        """Mean score: (m,)."""
        told = zip(self.shares, self.views, strict=True)
        return np.asarray(sum(share * view.mean(rows, now) for share, view in told))

    def predict(self, rows: Array, now: float) -> tuple[Array, Array]:
        """Mean and standard deviation of the noiseless score: (m,) each."""
        if len(self.views) == 1:
            return self.views[0].predict(rows, now)
        told = [(share, *view.predict(rows, now)) for share, view in zip(self.shares, self.views, strict=True)]
        middle = np.sum([share * mean for share, mean, _ in told], axis=0)
        squares = np.sum([share * (unsure**2 + (mean - middle) ** 2) for share, mean, unsure in told], axis=0)
        return middle, np.sqrt(squares)

    def joint(self, rows: Array, now: float) -> tuple[Array, Array]:
        """The mean of all, (m,), and the likeliest one's covariance, (m, m)."""
        middle, covariance = self.views[0].joint(rows, now)
        return (middle if len(self.views) == 1 else self.mean(rows, now)), covariance


def alone(process: Process) -> View:
    """The process as it is."""
    return View(process, lambda rows: np.zeros(len(rows)))


class Weight(NamedTuple):
    """One hypothesis."""

    source: int  # which surface; -1: none
    share: float  # posterior probability, in (0, 1]
    multiple: float  # of the surface [score]


class Prior:
    """Several sources, for a target whose cube has ``levels``."""

    def __init__(self, sources: Sequence[Source], levels: Sequence[int]) -> None:
        """sources: at least one."""
        self.sources, self._levels = tuple(sources), tuple(levels)
        odds = np.array([source.helps for source in sources])
        together = float(odds.mean())
        each = together * odds / odds.sum()
        joint = JOINT if len(sources) > 1 else 0.0
        self._odds = np.array([1.0 - together, together * joint, *(each * (1.0 - joint))])
        self._shares = odds / odds.sum()
        self._scale = float(self._shares @ [source.scale for source in sources])
        probes = surrogate.anywhere(_PROBES, self._levels, np.random.default_rng(0))
        mixed = self._shares @ [source.mean(probes) for source in sources]
        self._centre, self._unit = float(mixed.mean()), float(mixed.std()) or 1.0

    def surface(self, k: int, points: Array) -> Array:
        """Of the mean of all, 0, or of a source, 1 ...; standardised: (m,)."""
        if k:
            return self.sources[k - 1].mean(points)
        mixed = self._shares @ [source.mean(points) for source in self.sources]
        return np.asarray((mixed - self._centre) / self._unit)

    def tops(self) -> Array:
        """Where each source is best: columns that it says nothing of are NaN: (k, d)."""
        found = np.full((len(self.sources), len(self._levels)), np.nan)
        for row, source in zip(found, self.sources, strict=True):
            row[list(source.columns)] = source.x[int(np.argmax(source.y))]
        return found

    def weighed(self, seen: Seen, levels: Sequence[int], hyper: Hyper) -> list[Weight]:
        """The hypotheses after own trials, likeliest first; shares add up to 1. seen, levels: contexts included."""
        data = Seen(*(part[-WEIGHED:] for part in seen if part is not None))
        n = float(data.counts.sum()) if len(data.y) else 0.0
        own = surrogate.spread(data) ** 2 if n else 0.0
        unit = math.sqrt((n * own + OWN_TRIALS * self._scale**2) / (n + OWN_TRIALS))
        if len(data.y) < 2:
            told = [Weight(k - 1, float(odds), RIGHT * unit) for k, odds in enumerate(self._odds) if odds > 0]
            return sorted(told, key=lambda each: -each.share)
        y = data.y / unit
        matrix = surrogate.kernel(data.x, data.x, levels, hyper)
        noise = np.diag(_share(hyper.noise) / data.counts + 1e-6)
        logs = [math.log(max(self._odds[0], 1e-12)) + _evidence(matrix + noise, y)[0]]
        multiples = [0.0]
        for k in range(len(self.sources) + 1):
            found, multiple = -math.inf, 0.0
            if self._odds[k + 1] > 0:
                m = self.surface(k, data.x)
                found, slope = _evidence(_rest(matrix) + noise, y, m)
                multiple = slope * unit
                found = found + math.log(self._odds[k + 1]) if slope > 0 else -math.inf
            logs.append(found)
            multiples.append(multiple)
        shares = np.exp(np.array(logs) - max(logs))
        shares /= shares.sum()
        shares[shares < LEAST] = 0.0
        shares /= shares.sum()
        told = [Weight(k - 1, float(s), m) for k, (s, m) in enumerate(zip(shares, multiples, strict=True))]
        return sorted((each for each in told if each.share > 0), key=lambda each: -each.share)

    def view(self, weight: Weight, seen: Seen, levels: tuple[int, ...], hyper: Hyper) -> View:
        """The score under one hypothesis of a source."""

        def lift(rows: Array) -> Array:
            return weight.multiple * self.surface(weight.source, rows)

        share = _share(hyper.noise)
        rest = share / (share + (1.0 - share) * (1.0 - RIGHT * RIGHT))
        quieter = hyper._replace(noise=min(math.log(rest / (1.0 - rest)), 12.0)) if rest < 1 else hyper
        scale = abs(weight.multiple) / RIGHT * math.sqrt(1.0 - RIGHT * RIGHT)
        data = seen._replace(y=seen.y - lift(seen.x))
        process = surrogate.fit(data, levels=levels, hyper=quieter, learn=False)
        return View(process._replace(scale=scale) if not surrogate.spread(data) else process, lift)

    def facts(self) -> list[Any]:
        """For JSON."""
        return [source.facts() for source in self.sources]


def prior_from(facts: Any, levels: Sequence[int]) -> Prior | None:
    """From ``Prior.facts``; None: there was none. Raises ValueError, TypeError or IndexError: it cannot be read."""
    sources = [source_from(each, levels) for each in facts or ()]
    return Prior(sources, levels) if sources else None


def _rest(matrix: Array) -> Array:
    return matrix * (1.0 - RIGHT * RIGHT)


def _evidence(matrix: Array, y: Array, surface: Array | None = None) -> tuple[float, float]:
    """Log marginal likelihood of standardised scores, centre and scale integrated out, and the surface's multiple."""
    if surface is not None:
        matrix = matrix + DOUBT * DOUBT * np.multiply.outer(surface, surface)
        y = y - RIGHT * surface
    factor = surrogate.factored(matrix)
    columns = [np.ones(len(y)), y] + ([surface] if surface is not None else [])
    half = surrogate.solved(factor, np.stack(columns, axis=1))
    ones, left = half[:, 0], half[:, 1]
    mass = float(ones @ ones)
    away = left - ones * (float(ones @ left) / mass)
    square = float(away @ away)
    logs = -float(np.log(np.diag(factor)).sum()) - 0.5 * math.log(mass)
    logs -= 0.5 * (len(y) - 1 + FREEDOM) * math.log(FREEDOM + square)
    slope = RIGHT + DOUBT * DOUBT * float(half[:, 2] @ away) if surface is not None else 0.0
    return logs, slope


def _share(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


def words(prior: Prior, weights: Sequence[Weight]) -> tuple[str, ...]:
    """What of the relatives still counts."""
    of: Mapping[int, str] = {-1: "own trials alone", 0: "the mean of all related"} | {
        k: source.name for k, source in enumerate(prior.sources, 1)
    }
    told = ", ".join(f"{of[each.source]} {each.share:.0%}" for each in weights)
    return (f"It began with what {len(prior.sources)} related functions know; by own trials now: {told}",)
