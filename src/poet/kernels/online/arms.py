"""Many candidates at once, in several memories: ``kernels.online.bandit`` on arrays.

Normal-Gamma posteriors of scores on any scale, Beta ones of scores that were only ever 0 and 1 (Murphy 2007; Thompson
1933). Each memory fades at its own pace (Raj & Kalyani 2017) and is trusted by how well it foretold the newest scores.
Where candidates are combinations of several choices, each is believed to be the sum of its options' effects until it
is known itself, so that a good option is found without trying it with everything else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.bandit import SHAPE

Array = npt.NDArray[np.float64]

FAITH = 2.0  # trials that the belief in sums of effects is worth [1]
EFFECT = 1.0  # trials that the belief in no effect is worth, per option [1]


class Arms(NamedTuple):
    """What ``n`` candidates' ``k`` scores were, in ``m`` fading memories. Frozen."""

    weight: Array  # (m, n) sums of weights [1]
    mean: Array  # (m, n, k) [score]
    scatter: Array  # (m, n, k) sums of weight (score - mean)^2 [score squared]

    @classmethod
    def empty(cls, memories: int, candidates: int, scores: int) -> Arms:
        """Nothing seen."""
        shape = (memories, candidates, scores)
        return cls(np.zeros(shape[:2]), np.zeros(shape), np.zeros(shape))


def rewarded(state: Arms, arm: int, scores: Array, keep: Array) -> Arms:
    """The arms when one more trial, of number ``arm``, had ``scores``, (k,). keep: (m,), in (0, 1]."""
    weight, scatter, mean = state.weight * keep[:, None], state.scatter * keep[:, None, None], state.mean.copy()
    weight[:, arm] += 1.0
    delta = scores - mean[:, arm]
    mean[:, arm] += delta / weight[:, arm, None]
    scatter[:, arm] += delta * (scores - mean[:, arm])
    return Arms(weight, mean, scatter)


def pooled(state: Arms) -> tuple[Array, Array]:
    """Mean and variance of all scores together: (m, k) each; 0 and 1 where fewer than two trials weigh anything."""
    total = state.weight.sum(axis=1)[:, None]
    mean = np.einsum("mn,mnk->mk", state.weight, state.mean) / np.maximum(total, 1e-300)
    within = state.scatter.sum(axis=1)
    between = np.einsum("mn,mnk->mk", state.weight, (state.mean - mean[:, None]) ** 2)
    variance = np.where(total > 1.5, (within + between) / np.maximum(total - 1.0, 0.5), 1.0)
    return mean, variance


def additive(state: Arms, design: Array | None, centre: Array) -> Array:
    """What each candidate would score if options' effects added up: (m, n, k), by ridge regression.

    design: (n, q) of 0 and 1, which options each candidate has; None: candidates have nothing in common.
    centre: (m, k), the mean of all.
    """
    if design is None:
        return np.broadcast_to(centre[:, None], state.mean.shape)
    weighted = design.T[None] * state.weight[:, None, :]
    matrix = weighted @ design + EFFECT * np.eye(design.shape[1])
    return np.asarray(centre[:, None] + design @ np.linalg.solve(matrix, weighted @ (state.mean - centre[:, None])))


class Beliefs(NamedTuple):
    """Laws of the candidates' mean scores."""

    mean: Array  # (m, n, k) [score]
    weight: Array  # (m, n) trials that they rest on, belief included, > 0 [1]
    freedom: Array  # (m, n) degrees of freedom of the t law, > 0 [1]
    spread: Array  # (m, n, k) scale of the t law of the mean [score]
    noise: Array  # (m, n, k) standard deviation of one score [score]


def beliefs(state: Arms, design: Array | None = None) -> Beliefs:
    """The posteriors (Murphy 2007, eqs. 85-89), about sums of effects."""
    centre, variance = pooled(state)
    prior = additive(state, design, centre)
    weight = FAITH + state.weight
    shift = (state.mean - prior) ** 2 * (FAITH * state.weight / weight)[:, :, None]
    mean = (FAITH * prior + state.weight[:, :, None] * state.mean) / weight[:, :, None]
    shape = SHAPE + 0.5 * state.weight
    rate = SHAPE * np.maximum(variance, 1e-24)[:, None] + 0.5 * (state.scatter + shift)
    noise = np.sqrt(rate / shape[:, :, None])
    return Beliefs(mean, weight, 2.0 * shape, noise / np.sqrt(weight)[:, :, None], noise)


def drawn(found: Beliefs, memory: int, temper: float, rng: np.random.Generator, *, coins: bool) -> Array:
    """A draw of all candidates' mean scores: (n, k).

    temper: share of the law's spread, in (0, 1]. coins: the first score is 0 or 1: its mean has a Beta law.
    """
    mean, spread = found.mean[memory], found.spread[memory]
    draws = mean + temper * spread * rng.standard_t(found.freedom[memory][:, None], mean.shape)
    if coins:
        size = found.weight[memory] / temper**2  # as Beta laws have it: a uniform one is worth two trials
        chance = np.clip(mean[:, 0], 0.02, 0.98)
        draws[:, 0] = rng.beta(size * chance, size * (1.0 - chance))
    return np.asarray(draws)


def log_likelihood(found: Beliefs, tried: npt.NDArray[np.int_], scores: Array, *, coins: bool) -> Array:
    """How well each memory foretells the first scores, (n,), of candidates ``tried``: (m,), but for a constant."""
    mean = found.mean[:, tried, 0]
    if coins:
        return np.asarray(np.log(np.clip(np.where(scores > 0.5, mean, 1.0 - mean), 0.02, 0.98)).sum(axis=1))
    freedom = found.freedom[:, tried]
    spread = found.noise[:, tried, 0] * np.sqrt(1.0 + 1.0 / found.weight[:, tried])
    z = (scores - mean) / spread
    return np.asarray((-np.log(spread) - 0.5 * (freedom + 1.0) * np.log1p(z * z / freedom)).sum(axis=1))
