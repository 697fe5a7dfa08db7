"""Bayesian linear regression of scores on features, one line per arm, all of them alike until they are known to differ.

The score of arm a at features x is ``theta_a . x`` and noise of variance ``s2``; ``theta_a = w + u_a`` with ``w ~
N(centre, s2 W)`` shared by all arms and ``u_a ~ N(0, s2 U)`` its own, both diagonal: what all arms share is learned
from all of them, and an arm differs only as far as its own scores say so. ``s2`` has an inverse gamma law: all in all a
Normal-inverse-Gamma model (Murphy 2007, section 3) in two stages (Lindley & Smith 1972).

What was seen is kept as sums, of ``x x'`` by arm and of ``x y``: a new score adds to them and nothing is ever taken
away, so they stay sound over any number of updates, where rank-one steps of a covariance drift. What fades is the sums,
never the prior: what is forgotten comes back to it. Given w the arms are independent, so that a posterior costs
O(arms d^3) and not O((arms d)^3). The sums do not depend on the prior: several priors, also those that leave features
out, share them, and are weighed by their evidence. Several targets (a score, and how well each constraint is kept)
share all but ``x y``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_HEAVIEST = 1e9  # weight of the newest observation from which on all are made lighter


@dataclass(slots=True)
class Sums:
    """What was seen, by arm; changed in place by ``add`` and ``change_basis``.

    To fade all of them with each observation would cost more than to add one: so the newest weighs ever more instead,
    and ``unit`` says how much.
    """

    gram: Array  # (arms, d, d) sum of weights times x x'
    cross: Array  # (arms, d, targets) sum of weights times x y
    squares: Array  # (targets,) sum of weights times y^2
    weight: float = 0.0  # sum of weights
    unit: float = 1.0  # weight of the newest observation, > 0

    @classmethod
    def none(cls, arms: int, d: int, targets: int = 1) -> Sums:
        """Nothing seen yet."""
        return cls(np.zeros((arms, d, d)), np.zeros((arms, d, targets)), np.zeros(targets))

    def add(self, arm: int, x: Array, y: Array, keep: float = 1.0) -> None:
        """Fold in that ``arm`` got ``y``, (targets,), at ``x``, (d,), all finite.

        keep: what all that was seen before weighs afterwards, of what it did, in (0, 1].
        """
        unit = self.unit = self.unit / keep
        d = len(x)
        lifted = unit * x
        self.gram[arm, :d, :d] += lifted[:, None] * x
        self.cross[arm, :d] += lifted[:, None] * y
        self.squares += unit * (y * y)
        self.weight += unit
        if unit > _HEAVIEST:
            self._lighten()

    def _lighten(self) -> None:
        for sums in (self.gram, self.cross, self.squares):
            sums /= self.unit
        self.weight /= self.unit
        self.unit = 1.0

    def change_basis(self, basis: Array) -> None:
        """Say the same in other features, those that are ``basis``, (d, d), times the old ones."""
        d = len(basis)
        self.gram[:, :d, :d] = basis @ self.gram[:, :d, :d] @ basis.T
        self.cross[:, :d] = basis @ self.cross[:, :d]

    def copy(self) -> Sums:
        """The same, to be changed without changing this one."""
        return Sums(self.gram.copy(), self.cross.copy(), self.squares.copy(), self.weight, self.unit)


class Prior(NamedTuple):
    """What is believed of d features before anything was seen; variances are multiples of the noise's."""

    shared: Array  # (d,) variance of w, > 0 [1]
    own: Array  # (d,) variance of u_a, > 0 [1]
    centre: Array  # (targets,) mean of w's first component, the intercept [score]; that of the others is 0
    shape: float  # of the noise's variance, > 0 [1]
    rate: Array  # (targets,) of the noise's variance, > 0 [score squared]


class Posterior(NamedTuple):
    """What is believed then; frozen."""

    factor: Array  # (arms, d, d) F with F'F s2 = covariance of theta_a where w is known
    own: Array  # (d,) precision of u_a before anything was seen, as a multiple of the noise's
    start: Array  # (arms, d, targets) theta_a where w is 0; F'F own w is added to it where w is not
    shared: Array  # (d, targets) mean of w
    spread: Array  # (d, d) S with S S' s2 = covariance of w
    noise: Array  # (targets,) s2, as the t laws have it: rate over shape [score squared]
    degrees: float  # of freedom of the t laws, > 0
    evidence: Array  # (targets,) log density of all that was seen, under the prior

    @property
    def means(self) -> Array:
        """Mean of every theta_a: (arms, d, targets)."""
        return np.asarray(
            self.start + self.factor.transpose(0, 2, 1) @ (self.factor @ (self.own[:, None] * self.shared))
        )


def posterior(sums: Sums, prior: Prior) -> Posterior:
    """What is believed after what was seen, by the first d features, of which the prior says something.

    Of faded sums the evidence is that of as many observations as their weights add up to.
    """
    d, arms = len(prior.shared), len(sums.gram)
    gram = sums.gram[:, :d, :d] / sums.unit
    cross = sums.cross[:, :d] / sums.unit
    n = sums.weight / sums.unit
    own, shared = 1.0 / prior.own, 1.0 / prior.shared
    root = np.linalg.cholesky(gram + np.diag(own))
    factor = np.linalg.inv(root)
    whole = factor.transpose(0, 2, 1) @ factor  # covariance of u_a where w is known
    start = whole @ cross
    pull = whole * own
    # what the arms together say of w: each of them the less, the more it may differ
    precision = np.diag(shared) + np.diag(arms * own) - (own[:, None] * pull).sum(axis=0)
    precision = 0.5 * (precision + precision.T)
    said = (own[:, None] * start).sum(axis=0)
    said[0] += shared[0] * prior.centre
    top = np.linalg.cholesky(precision)
    spread = np.linalg.inv(top).T
    mean = spread @ (spread.T @ said)
    explained = (cross * start).sum(axis=(0, 1)) + (said * mean).sum(axis=0)
    left = np.maximum(sums.squares / sums.unit + shared[0] * prior.centre**2 - explained, 0.0)
    shape, rate = prior.shape + 0.5 * n, prior.rate + 0.5 * left
    volumes = (
        2.0 * float(np.log(np.diagonal(root, axis1=1, axis2=2)).sum() + np.log(np.diagonal(top)).sum())
        - arms * float(np.log(own).sum())
        - float(np.log(shared).sum())
    )
    evidence = (
        prior.shape * np.log(prior.rate)
        - shape * np.log(rate)
        + (math.lgamma(shape) - math.lgamma(prior.shape) - 0.5 * n * math.log(2.0 * math.pi) - 0.5 * volumes)
    )
    return Posterior(factor, own, start, mean, spread, rate / shape, 2.0 * shape, evidence)


def together(beliefs: Sequence[Posterior], shares: Array, d: int) -> tuple[Array, Array]:
    """Means, (arms, d, targets), and covariances, (targets, arms, d, d), of every theta_a, of all beliefs together.

    shares: probability of each, (beliefs, targets). d: features; a belief that has fewer says that the others' are 0.
    """
    arms, targets = len(beliefs[0].factor), shares.shape[1]
    each = np.zeros((len(beliefs), arms, d, targets))
    for number, belief in enumerate(beliefs):
        each[number, :, : belief.factor.shape[1]] = belief.means
    means = (shares[:, None, None] * each).sum(axis=0)
    whole = np.zeros((targets, arms, d, d))
    for share, belief in zip(shares * np.array([belief.noise for belief in beliefs]), beliefs, strict=True):
        own = belief.factor.shape[1]
        alone = belief.factor.transpose(0, 2, 1) @ belief.factor
        swung = (alone * belief.own) @ belief.spread
        whole[:, :, :own, :own] += share[:, None, None, None] * (alone + swung @ swung.transpose(0, 2, 1))
    apart = (np.sqrt(shares)[:, None, None] * (each - means)).transpose(3, 1, 2, 0)
    return means, np.asarray(whole + apart @ apart.transpose(0, 1, 3, 2))


def weights(evidence: Array) -> Array:
    """Posterior probabilities of models, all as likely before, by their log evidence: (models, ...) likewise."""
    odds = np.exp(evidence - evidence.max(axis=0))
    return np.asarray(odds / odds.sum(axis=0))
