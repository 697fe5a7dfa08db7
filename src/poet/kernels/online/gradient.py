"""Performance gradients: which way does the score rise, how steeply, and how sure is that?

By regression on what was tried (``Sketch``), by simultaneous perturbation (``Spsa``), and, for a limit on time and for
retries, by what each call tells of its own limit (``limit_slope``, ``retry_slope``). And steps of bounded length along
them (``Pace``). Everything is maximised. Parameters are on scales of their owner's choice, best the unit cube.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# --- by regression ----------------------------------------------------------------------------------------------------

RIDGE = 0.05  # weight of the belief that there is no slope: this much of weight times variance of a parameter


class Sketch(NamedTuple):
    """Fading sums over (parameters, score) pairs: all that a least-squares plane needs."""

    weight: float  # sum of weights [1]
    squares: float  # sum of squared weights [1]
    mean: Array  # (d + 1,) of the parameters and, last, the score
    scatter: Array  # (d + 1, d + 1) weighted, central

    @classmethod
    def empty(cls, d: int) -> Sketch:
        """Nothing seen of ``d`` parameters."""
        return cls(0.0, 0.0, np.zeros(d + 1), np.zeros((d + 1, d + 1)))

    @property
    def size(self) -> float:
        """Effective number of pairs [1]."""
        return self.weight**2 / self.squares if self.squares > 0 else 0.0


def observe(state: Sketch, x: Sequence[float] | Array, score: float, *, half_life: float) -> Sketch:
    """Fold in that the parameters ``x``, (d,), scored ``score``; O(d^2), and the same however many came before."""
    keep = 0.5 ** (1.0 / half_life)
    weight = keep * state.weight + 1.0
    delta = np.append(np.asarray(x, dtype=float), score) - state.mean
    mean = state.mean + delta / weight
    scatter = keep * state.scatter + np.multiply.outer(delta, delta) * (1.0 - 1.0 / weight)
    return Sketch(weight, keep * keep * state.squares + 1.0, mean, scatter)


def faded(state: Sketch, keep: float) -> Sketch:
    """The sketch when all that it has seen weighs ``keep`` in (0, 1] of what it did: because it was seen elsewhere."""
    return Sketch(keep * state.weight, keep * keep * state.squares, state.mean, keep * state.scatter)


class Slope(NamedTuple):
    """A gradient that knows its doubt."""

    values: Array  # (d,) [score per unit of x]
    errors: Array  # (d,) standard errors, > 0; infinite while there are too few pairs
    df: float  # degrees of freedom behind the errors; <= 0: too few pairs


def slope(state: Sketch, *, ridge: float = RIDGE, least_noise: float = 1e-6) -> Slope:
    """The gradient by ridge regression (Hoerl & Kennard 1970), with posterior standard errors.

    ridge: > 0, in weights times squared units of x; a parameter that was never varied so gets a slope of 0 with a large
        error, and not, as least squares would have it, no answer at all.
    least_noise: > 0, standard deviation of a score that not even a perfect plane is believed to explain.
    """
    d = len(state.mean) - 1
    sxx, sxy, syy = state.scatter[:d, :d], state.scatter[:d, d], float(state.scatter[d, d])
    inverse = np.linalg.inv(sxx + ridge * np.eye(d))
    values = inverse @ sxy
    lost = float(np.trace(inverse @ sxx))  # degrees of freedom that the plane takes
    df = state.size - 1.0 - lost
    if not df > 0:
        return Slope(values, np.full(d, math.inf), df)
    residual = max(0.0, syy - float(2 * values @ sxy - values @ sxx @ values))
    # weights fade, so that sums hold more weight than pairs: each pair's noise enters with its squared weight
    noise = max(residual / state.weight * state.size / df, least_noise**2)
    errors = np.sqrt(noise * np.diag(inverse) * (state.squares / state.weight))
    return Slope(values, errors, df)


# --- by simultaneous perturbation -------------------------------------------------------------------------------------

_NEWS = 0.1  # weight of a score in the mean of late ones
ALPHA, GAMMA = 0.602, 0.101  # how the gains fall, lowest that are still sure to converge (Spall 1998, III.B)


class Gains(NamedTuple):
    """Gain sequences of SPSA: steps ``a / (A + k + 1)^ALPHA``, perturbations ``c / (k + 1)^GAMMA``."""

    a: float = 0.2  # > 0 [unit of x squared per score]
    c: float = 0.1  # > 0 [unit of x]; about the noise of a score over the slope that matters
    stability: float = 10.0  # A, >= 0 [steps]; about a tenth of the steps that are planned
    longest: float = 0.1  # most that one step moves one parameter, > 0 [unit of x]; Spall 1998, III.B.4: "blocking"
    least_c: float = 0.0  # floor of the perturbation, where the optimum may move [unit of x]

    def step(self, k: int) -> float:
        """Gain of step ``k`` >= 0."""
        return self.a / math.pow(self.stability + k + 1.0, ALPHA)

    def width(self, k: int) -> float:
        """Perturbation of step ``k`` >= 0."""
        return max(self.least_c, self.c / math.pow(k + 1.0, GAMMA))


class Spsa(NamedTuple):
    """Where an SPSA search over the unit cube stands. Frozen: ``tried`` and ``told`` give the next."""

    centre: tuple[float, ...]  # the estimate, in [0, 1] each
    signs: tuple[int, ...]  # of the perturbation, -1 or 1 each
    k: int = 0  # steps taken
    first: float | None = None  # score of the first of the two points; of a search by single points: their mean of late

    @classmethod
    def start(cls, centre: Sequence[float], dice: random.Random) -> Spsa:
        """A search that begins at ``centre``, in [0, 1] each."""
        return cls(tuple(min(max(float(x), 0.0), 1.0) for x in centre), signs(len(centre), dice))


def signs(d: int, dice: random.Random) -> tuple[int, ...]:
    """A Bernoulli +-1 perturbation: its inverse moments are bounded, which a normal one's are not (Spall 1992)."""
    return tuple(dice.choice((-1, 1)) for _ in range(d))


def two_point(plus: float, minus: float, signs_: Sequence[int], width: float) -> tuple[float, ...]:
    """The gradient from scores at ``x + width * signs`` and ``x - width * signs`` (Spall 1992, eq. 2.2).

    Unbiased on a quadratic, whatever its cross terms.

    >>> two_point(1.2, 1.0, (1, -1), 0.1)
    (0.9999999999999998, -0.9999999999999998)
    """
    return tuple((plus - minus) / (2.0 * width * sign) for sign in signs_)


def one_point(score: float, signs_: Sequence[int], width: float, baseline: float = 0.0) -> tuple[float, ...]:
    """The gradient from one score at ``x + width * signs`` (Spall 1997). Unbiased, and far noisier than two points.

    baseline: anything that does not depend on this perturbation, best the mean of earlier scores; it leaves the mean
        as it is and takes most of the variance away, which Spall's form, with 0, does not.
    """
    return tuple((score - baseline) / (width * sign) for sign in signs_)


def tried(state: Spsa, gains: Gains) -> tuple[float, ...]:
    """The point whose score is wanted next; within the unit cube.

    At a bound the perturbation is moved inwards as a whole, so that both points are in and their distance is kept.
    """
    width = gains.width(state.k)
    way = 1 if state.first is None else -1
    return tuple(
        min(max(min(max(x, width), 1.0 - width) + way * width * sign, 0.0), 1.0)
        for x, sign in zip(state.centre, state.signs, strict=True)
    )


def told(state: Spsa, score: float, gains: Gains, dice: random.Random) -> Spsa:
    """The state after ``score`` was had at ``tried``; every second one makes a step."""
    if state.first is None:
        return state._replace(first=score)
    return _stepped(state, two_point(state.first, score, state.signs, gains.width(state.k)), gains, dice)


def tried_once(state: Spsa, gains: Gains) -> tuple[float, ...]:
    """The point whose score is wanted next, for a search by single points: always the first of the two."""
    return tried(state._replace(first=None), gains)


def told_once(state: Spsa, score: float, gains: Gains, dice: random.Random) -> Spsa:
    """The state after ``score`` was had at ``tried_once``: every one makes a step (Spall 1997).

    For where no two calls meet the same conditions, or each call must be learned from at once. The mean of late scores
    serves as the baseline. Each step knows far less than one of two points; it needs a smaller gain ``a``.
    """
    usual = score if state.first is None else state.first
    after = _stepped(state, one_point(score, state.signs, gains.width(state.k), usual), gains, dice)
    return after._replace(first=usual + _NEWS * (score - usual))


def _stepped(state: Spsa, gradient: Sequence[float], gains: Gains, dice: random.Random) -> Spsa:
    gain = gains.step(state.k)
    centre = tuple(
        min(max(x + min(max(gain * g, -gains.longest), gains.longest), 0.0), 1.0)
        for x, g in zip(state.centre, gradient, strict=True)
    )
    return Spsa(centre, signs(len(centre), dice), state.k + 1)


# --- by what a call tells of its own limit ----------------------------------------------------------------------------

TAIL = 1.0  # answers per e-fold of waiting that a tail is believed to hold where nobody has looked: like 1 / t
BELIEF = 0.5  # calls that this belief is worth


def limit_slope(
    *, near: float, reached: float, over: float, n: float, window: float, value: float, cost: float
) -> tuple[float, float]:
    """Slope of a call's utility in the logarithm of its time limit, and its standard error [1].

    A longer limit wins the answers that come just behind it, and costs the waiting of calls that would have ended at
    it: ``over * (value * hazard - cost)``. All of that is seen under the present limit, without trying another
    (perturbation analysis: Glasserman 1991), but for one belief: the hazard just behind a limit is that just before it.

    near: answers in the last ``window`` > 0 [e-folds] before the limit. reached: calls that were still open where that
    window begins. over: calls open at the limit. n: calls in all. value: worth of an answer. cost: of the limit's own
    length in waiting, ``latency_cost * limit``.
    Hazard (a Gamma posterior) and open share (Beta) each begin with ``BELIEF`` calls' worth of a tail like 1 / t. The
    error is the hazard's, as the share is above 0 anyway: it says how sure the sign is.
    """
    exposure = window * max(0.0, 0.5 * (reached + over))
    rate = (near + BELIEF * TAIL) / (exposure + BELIEF)
    share = (over + 0.5 * BELIEF) / (n + BELIEF)
    gain = value * rate - cost
    rate_error = math.sqrt(near + BELIEF * TAIL) / (exposure + BELIEF)
    return share * gain, share * value * rate_error


def retry_slope(
    *, failed: float, n: float, mended: float, retried: float, value: float, cost: float
) -> tuple[float, float]:
    """What one attempt more is worth to a call, and its standard error [1].

    failed: calls of ``n`` that failed though all their retries were used. mended, retried: retries that were answered,
    and that were made. value: worth of an answer. cost: of an attempt, its waiting included.
    The chance that a retry mends is a Beta posterior, ``BELIEF`` retries' worth of one half at first. The error is
    that chance's: it says how sure the sign is. Without failures there is nothing to mend: the slope is 0.
    """
    share = failed / (n + BELIEF)
    chance = (mended + 0.5 * BELIEF) / (retried + BELIEF)
    gain = value * chance - cost
    chance_error = math.sqrt(chance * (1.0 - chance) / (retried + BELIEF + 1.0))
    return share * gain, share * value * chance_error


# --- steps of bounded length ------------------------------------------------------------------------------------------

FASTER, SLOWER = 1.2, 0.5  # Riedmiller & Braun 1993
MEMORY = 0.9  # of the squares, per step; with 0.999, as Kingma & Ba 2015 have it, the doubt of the start lasts for ever
_HUGE = 1e150


class Pace(NamedTuple):
    """Momentum, scale and rate of one parameter's steps."""

    rate: float  # longest step that it takes now [unit of x]
    mean: float = 0.0  # fading sum of gradients
    square: float = 0.0  # fading sum of their squares
    keep_mean: float = 1.0  # what the sums have not seen yet, in [0, 1]
    keep_square: float = 1.0


def paced(
    state: Pace, gradient: float, error: float, *, slowest: float, fastest: float, momentum: float = 0.9
) -> tuple[Pace, float]:
    """The next state, and the step to take: never longer than ``state.rate``, which never leaves [slowest, fastest].

    The step is Adam's (Kingma & Ba 2015, Alg. 1: mean over root mean square, both debiased), with the error in the
    root, and a gradient shrunk by ``g^2 / (g^2 + error^2)`` (Wiener's filter): one that may be nothing makes next to no
    step, so that noise does not walk. Its rate grows by ``FASTER`` while the gradient credibly, by
    more than one error, points where the last ones did, and shrinks by ``SLOWER`` where it credibly points against them
    (Rprop). At a turn the momentum is dropped (iRprop+, Igel & Huesken 2000), so that nothing overshoots by it.
    momentum: in [0, 1). A gradient that is no finite number, or not known at all, makes no step.
    """
    if not (math.isfinite(gradient) and 0 <= error < math.inf):
        return state, 0.0
    gradient, error = min(max(gradient, -_HUGE), _HUGE), min(error, _HUGE)  # so that squares stay finite
    before = state.mean
    shrunk = gradient * (gradient / math.hypot(gradient, error)) ** 2 if gradient else 0.0
    mean, keep_mean = momentum * before + (1 - momentum) * shrunk, momentum * state.keep_mean
    square = MEMORY * state.square + (1 - MEMORY) * (gradient**2 + error**2)
    keep_square = MEMORY * state.keep_square
    rate = state.rate
    if abs(gradient) > error and before:
        if gradient * before > 0:
            rate *= FASTER
        else:
            rate *= SLOWER
            mean, keep_mean = (1 - momentum) * shrunk, momentum
    rate = min(max(rate, slowest), fastest)
    state = Pace(rate, mean, square, keep_mean, keep_square)
    scale = math.sqrt(square / (1 - keep_square))
    step = rate * mean / (1 - keep_mean) / scale if scale > 0 else 0.0
    return state, min(max(step, -rate), rate)
