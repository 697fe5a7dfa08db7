"""Thompson sampling: try a candidate as often as it is likely to be the best (Thompson 1933). Standard library only.

Scores of any scale have a Normal-Gamma posterior, scores of 0 and 1 a Beta one. What was seen fades, and with it the
certainty, so that a candidate that was bad once is tried again some day (discounted: Raj & Kalyani 2017).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

FAITH = 0.5  # observations that the prior of a mean is worth [1]
SHAPE = 1.0  # of the prior of a precision: two observations' worth of belief in the scatter of all scores [1]


class Arm(NamedTuple):
    """What one candidate's scores were, fading."""

    weight: float = 0.0  # sum of weights, >= 0 [1]
    mean: float = 0.0  # [score]
    scatter: float = 0.0  # sum of weight (score - mean)^2 [score squared]


def faded(arm: Arm, keep: float) -> Arm:
    """The arm when all that it knows weighs ``keep`` in [0, 1] of what it did."""
    return Arm(keep * arm.weight, arm.mean, keep * arm.scatter)


def rewarded(arm: Arm, score: float) -> Arm:
    """The arm when ``score`` is folded in, with weight 1."""
    weight = arm.weight + 1.0
    delta = score - arm.mean
    mean = arm.mean + delta / weight
    return Arm(weight, mean, arm.scatter + delta * (score - mean))


def pooled(arms: Sequence[Arm]) -> Arm:
    """All that is known of all of them, as of one arm."""
    weight = sum(arm.weight for arm in arms)
    if not weight > 0:
        return Arm()
    mean = sum(arm.weight * arm.mean for arm in arms) / weight
    return Arm(weight, mean, sum(arm.scatter + arm.weight * (arm.mean - mean) ** 2 for arm in arms))


class Belief(NamedTuple):
    """A Normal-Gamma law of a candidate's mean score and of its scores' precision (Murphy 2007, section 3)."""

    mean: float  # mu [score]
    weight: float  # kappa, > 0 [1]
    shape: float  # alpha, > 0 [1]
    rate: float  # beta, >= 0 [score squared]

    @property
    def scale(self) -> float:
        """Scale of the t law, with ``2 shape`` degrees of freedom, that the mean score has [score]."""
        return math.sqrt(self.rate / (self.shape * self.weight))


def belief(arm: Arm, prior: Belief) -> Belief:
    """The posterior after what ``arm`` has seen (Murphy 2007, eqs. 85-89)."""
    weight = prior.weight + arm.weight
    shift = (arm.mean - prior.mean) ** 2 * prior.weight * arm.weight / weight
    return Belief(
        (prior.weight * prior.mean + arm.weight * arm.mean) / weight,
        weight,
        prior.shape + 0.5 * arm.weight,
        prior.rate + 0.5 * (arm.scatter + shift),
    )


def prior_of(arms: Sequence[Arm]) -> Belief:
    """A weak prior taken from all arms together: each is believed to be like the others until it is known itself.

    While fewer than two scores were seen: mean as seen, or 0, and a standard deviation of 1.
    """
    pool = pooled(arms)
    variance = pool.scatter / (pool.weight - 1.0) if pool.weight > 1.5 else 1.0
    return Belief(pool.mean, FAITH, SHAPE, SHAPE * max(variance, 1e-12))


def drawn(belief_: Belief, dice: random.Random) -> float:
    """A draw of the mean score."""
    precision = dice.gammavariate(belief_.shape, 1.0)  # times the rate: so that a rate of 0 needs no division
    return belief_.mean + dice.gauss(0.0, 1.0) * math.sqrt(belief_.rate / (belief_.weight * max(precision, 1e-300)))


def choose(arms: Sequence[Arm], dice: random.Random) -> int:
    """The number of the arm to try next. Raises ValueError where there is none."""
    prior = prior_of(arms)
    return _best([drawn(belief(arm, prior), dice) for arm in arms])


class Coin(NamedTuple):
    """What one candidate's scores of 0 and 1 were, fading; both grow by fractions where a score lies in between."""

    ones: float = 0.0
    zeros: float = 0.0


def coin_faded(coin: Coin, keep: float) -> Coin:
    """The coin when all that it knows weighs ``keep`` in [0, 1] of what it did."""
    return Coin(keep * coin.ones, keep * coin.zeros)


def coin_rewarded(coin: Coin, score: float) -> Coin:
    """The coin when ``score``, clipped to [0, 1], is folded in."""
    score = min(max(score, 0.0), 1.0)
    return Coin(coin.ones + score, coin.zeros + 1.0 - score)


def choose_coin(coins: Sequence[Coin], dice: random.Random) -> int:
    """The number of the coin to try next, each with a Beta posterior over a uniform prior. Raises ValueError: none."""
    return _best([dice.betavariate(1.0 + coin.ones, 1.0 + coin.zeros) for coin in coins])


def _best(draws: Sequence[float]) -> int:
    if not draws:
        raise ValueError("there is no candidate to choose from")
    return max(range(len(draws)), key=draws.__getitem__)
