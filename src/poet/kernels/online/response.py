"""A response surface: what scores are like about one place, by regression on (place, score) pairs as they come.

A quadratic without cross terms in numbers and an effect of each option of a choice (Box & Wilson 1951), in several
memories that fade at different paces and are trusted by how well each foretold the newest scores (fixed share: Herbster
& Warmuth 1998). The sums keep their size however many pairs come, pairs may come late and in any order, and several
scores of one place (a score, and what constrains it) share them. Where the numbers' part alone is used this is the
second-order simultaneous perturbation of Spall 2000 in regression form: gradient and curvature are read from the sums
and not from one pair of calls, so that calls that end late or never do no harm.

Columns: 1, then one per option, then one per number ``x - centre``, then one per number ``(x - centre)^2 / 2``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FREEDOM = 5.0  # of the t law by which memories are compared: single wild scores convince nobody [1]


class Surface(NamedTuple):
    """Fading sums of one regression with ``p`` columns and ``k`` scores in ``m`` memories. Frozen."""

    information: Array  # (m, p, p) sums of weight column column' [1]
    moment: Array  # (m, p, k) sums of weight column score [score]
    squares: Array  # (m, k) sums of weight score^2 [score squared]
    weight: Array  # (m,) sums of weights [1]

    @classmethod
    def empty(cls, memories: int, columns: int, scores: int) -> Surface:
        """Nothing seen."""
        return cls(
            np.zeros((memories, columns, columns)),
            np.zeros((memories, columns, scores)),
            np.zeros((memories, scores)),
            np.zeros(memories),
        )


def observe(state: Surface, columns: Array, scores: Array, keep: Array, weights: Array) -> Surface:
    """The surface when the places ``columns``, (n, p), oldest first, had ``scores``, (n, k).

    keep: (m,), what is left of each memory when one more pair comes, in (0, 1]. weights: (n,) of the pairs, in [0, 1].
    """
    n = len(columns)
    weight = weights * keep[:, None] ** np.arange(n - 1, -1, -1)
    left = keep**n
    seen = columns.T * weight[:, None, :]
    information = left[:, None, None] * state.information + seen @ columns
    return Surface(
        0.5 * (information + information.transpose(0, 2, 1)),  # symmetric to the last bit
        left[:, None, None] * state.moment + seen @ scores,
        left[:, None] * state.squares + weight @ (scores * scores),
        left * state.weight + weight.sum(axis=1),
    )


def faded(state: Surface, keep: float) -> Surface:
    """The surface when all that it has seen weighs ``keep`` in [0, 1] of what it did."""
    return Surface(*(keep * sums for sums in state))


def recentred(state: Surface, shift: Array, first: int) -> Surface:
    """The same sums about a centre that lies ``shift``, (d,), further on; exact.

    first: the first of the ``d`` columns of slopes, which are the last of all but for ``d`` of curvatures, if any.
    """
    p, d = state.information.shape[1], len(shift)
    change = np.eye(p)
    slopes = np.arange(first, first + d)
    change[slopes, 0] = -shift
    if p > first + d:
        change[slopes + d, 0] = 0.5 * shift * shift
        change[slopes + d, slopes] = -shift
    information = change @ state.information @ change.T
    information = 0.5 * (information + information.transpose(0, 2, 1))
    return state._replace(information=information, moment=change @ state.moment)


class Posterior(NamedTuple):
    """What a surface says of each memory's coefficients: normal, with the noise's variance as a factor."""

    mean: Array  # (m, p, k) [score]
    covariance: Array  # (m, p, p) in units of the noise's variance [1]
    root: Array  # (m, p, p) a factor R of it: R R' = covariance
    noise: Array  # (m, k) standard deviation of one score, > 0 [score]


def posterior(
    state: Surface,
    precision: Array,
    least_noise: Array,
    *,
    middle: Array | None = None,
    usual_noise: Array | None = None,
) -> Posterior:
    """Coefficients under independent normal priors (a Normal-Gamma law: Bishop 2006, section 3.3).

    precision: (p,) of the priors, > 0, in units of the inverse noise variance: how many pairs each is worth.
    least_noise: (k,) > 0, below which no noise is believed to lie [score].
    middle: (p, k), what the priors lie about [score]; None: 0.
    usual_noise: (k,) > 0, what is believed of the noise until there are scores [score]; None: the least.
    """
    usual = least_noise if usual_noise is None else usual_noise
    matrix = state.information + np.diag(precision)
    lower = np.linalg.inv(np.linalg.cholesky(matrix))  # of order 48 at most: too small for BLAS to spread over threads
    root = lower.transpose(0, 2, 1)
    covariance = root @ lower
    moment, squares = _with_prior(state.moment, state.squares, precision, middle)
    mean = covariance @ moment
    rest = np.maximum(squares - np.einsum("mpk,mpk->mk", mean, moment), 0.0)
    # two pairs' worth of the usual noise keep the scale from collapsing on the first few scores
    noise = np.sqrt((rest + 2.0 * usual**2) / (state.weight[:, None] + 1.0))
    return Posterior(mean, covariance, root, np.maximum(noise, least_noise))


def _with_prior(moment: Array, squares: Array, precision: Array, middle: Array | None) -> tuple[Array, Array]:
    """The sums when what the prior lies about, (p, k), was seen as often as it is worth."""
    if middle is None:
        return moment, squares
    worth = precision[:, None] * middle
    return moment + worth, squares + (worth * middle).sum(axis=0)


def log_likelihood(post: Posterior, columns: Array, scores: Array) -> Array:
    """How well each memory foretells the first scores, (n,), at ``columns``, (n, p): (m,), but for a constant."""
    mean = post.mean[:, :, 0] @ columns.T
    doubt = ((columns @ post.covariance) * columns).sum(axis=2)
    spread = post.noise[:, :1] * np.sqrt(1.0 + doubt)
    z = (scores - mean) / spread
    return np.asarray((-np.log(spread) - 0.5 * (FREEDOM + 1.0) * np.log1p(z * z / FREEDOM)).sum(axis=1))


def trusted(trust: Array, log_likelihoods: Array, share: float, prior: Array, n: int = 1) -> Array:
    """The memories' weights, (m,), after each foretold ``n`` scores that well.

    share: of the weights that is dealt out anew with each score, in [0, 1], as ``prior``, (m,) with a sum of 1, has it.
    """
    weights = trust * np.exp(log_likelihoods - log_likelihoods.max())
    kept = (1.0 - share) ** n
    return np.asarray(kept * weights / weights.sum() + (1.0 - kept) * prior)


def without(state: Surface, columns: npt.NDArray[np.bool_], precision: Array, middle: Array | None = None) -> Surface:
    """The surface without knowledge of the columns where ``columns``, (p,) of bool, is set: as if averaged over.

    precision: (p,) of the priors, and middle: (p, k), as in ``posterior``.
    """
    gone = columns
    if not gone.any():
        return state
    kept = ~gone
    corner = state.information[:, gone][:, :, gone] + np.diag(precision[gone])
    across = state.information[:, kept][:, :, gone]
    part = None if middle is None else middle[gone]
    pulled, squares = _with_prior(state.moment[:, gone], state.squares, precision[gone], part)
    inner = np.linalg.solve(corner, pulled)
    moment = state.moment[:, kept] - across @ inner
    squares = squares - np.einsum("mpk,mpk->mk", pulled, inner)
    information = state.information[:, kept][:, :, kept] - across @ np.linalg.solve(corner, across.transpose(0, 2, 1))
    return Surface(information, moment, np.maximum(squares, 0.0), state.weight)
