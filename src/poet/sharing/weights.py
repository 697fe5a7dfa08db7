"""How much each source of likeness is worth: a logistic model of whether a transfer helped, with its doubt.

P(helps) = sigmoid(b + sum of w_k times the likeness by source k). The weights are normal: a prior that was fitted once,
and after each outcome of a transfer the Laplace approximation of the posterior (Spiegelhalter & Lauritzen 1990,
"Sequential updating of conditional probabilities on directed graphical structures"). One outcome moves the mode along
the covariance's image of its likenesses only, so the step is the root of one equation and no matrix is inverted.
Predictions allow for the doubt in weights and in likenesses as in MacKay 1992, "The evidence framework applied to
classification networks".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from poet.errors import PoetError
from poet.model.estimate import Estimate

SOURCES = ("names", "meaning", "types", "declared", "behaviour")
SIZE = 1 + len(SOURCES)
Z = 1.6448536269514722  # of the normal distribution's middle 90 %
MOST_WEIGHT = 1.0  # of one outcome
LARGEST = 1e3  # of a mean or a covariance that is believed


class Weights(NamedTuple):
    """Normal beliefs about the intercept and the weight of each source."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    n: int = 0  # outcomes of transfers


def prior(mean: Mapping[str, float], spread: Mapping[str, float]) -> Weights:
    """Independent beliefs; mean and standard deviation of the ``base`` and of each source."""
    names = ("base", *SOURCES)
    return Weights(
        tuple(mean[name] for name in names),
        tuple(tuple(spread[a] ** 2 if a == b else 0.0 for b in names) for a in names),
    )


PRIOR = prior(
    {"base": -2.7, "names": 22.0, "meaning": 6.0, "types": 1.6, "declared": 2.0, "behaviour": 2.0},
    {"base": 0.7, "names": 4.0, "meaning": 2.0, "types": 1.0, "declared": 1.0, "behaviour": 0.5},
)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), for any x."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def helps(weights: Weights, likeness: Sequence[float], doubt: Sequence[float]) -> Estimate:
    """The probability that a transfer helps, with its 90 % interval.

    likeness: by source; 0 where one has nothing to say. doubt: standard deviation of each, then that of the source
    among functions at large: so what is missing widens the interval.
    """
    x = (1.0, *likeness)
    eta = sum(m * each for m, each in zip(weights.mean, x, strict=True))
    variance = _along(weights.covariance, x)
    for k, sd in enumerate(doubt, 1):
        variance += (weights.mean[k] ** 2 + weights.covariance[k][k]) * sd * sd
    width = Z * math.sqrt(variance)
    value = sigmoid(eta / math.sqrt(1 + math.pi * variance / 8))
    return Estimate(value, sigmoid(eta - width), sigmoid(eta + width), weights.n)


def _image(covariance: tuple[tuple[float, ...], ...], x: Sequence[float]) -> list[float]:
    return [sum(c * each for c, each in zip(row, x, strict=True)) for row in covariance]


def _along(covariance: tuple[tuple[float, ...], ...], x: Sequence[float]) -> float:
    return max(0.0, sum(each * image for each, image in zip(x, _image(covariance, x), strict=True)))


def updated(weights: Weights, likeness: Sequence[float], helped: float, *, weight: float = 1.0) -> Weights:
    """The beliefs after one transfer.

    likeness: by source, as it was when the transfer was made; 0 where one had nothing to say. helped: 1 it did, 0 it
    did not, or how probable that is, in [0, 1]. weight: in (0, 1], of an outcome that is not quite sure.
    Raises ValueError where a number is out of its range.
    """
    if len(likeness) != len(SOURCES) or not all(-1 <= each <= 1 for each in likeness):
        raise ValueError(f"likeness must be {len(SOURCES)} numbers in [-1, 1], got {tuple(likeness)!r}")
    if not 0 <= helped <= 1:
        raise ValueError(f"helped must be in [0, 1], got {helped!r}")
    if not 0 < weight <= MOST_WEIGHT:
        raise ValueError(f"weight must be in (0, 1], got {weight!r}")
    x = (1.0, *likeness)
    image = _image(weights.covariance, x)
    size = max(sum(a * b for a, b in zip(x, image, strict=True)), 1e-12)
    start = sum(m * each for m, each in zip(weights.mean, x, strict=True))
    # The mode is mean + step * image, with step = weight (helped - sigmoid(start + step * size)), which has one root.
    low, high = weight * (helped - 1), weight * helped
    for _ in range(60):
        step = 0.5 * (low + high)
        if weight * (helped - sigmoid(start + step * size)) > step:
            low = step
        else:
            high = step
    p = sigmoid(start + step * size)
    shrink = weight * p * (1 - p)
    shrink /= 1 + shrink * size
    return Weights(
        tuple(m + step * each for m, each in zip(weights.mean, image, strict=True)),
        tuple(
            tuple(c - shrink * image[i] * image[j] for j, c in enumerate(row))
            for i, row in enumerate(weights.covariance)
        ),
        weights.n + 1,
    )


class OddWeights(PoetError, ValueError):
    """Kept weights that cannot be; those of the prior hold. Look at who wrote them."""


def as_text(weights: Weights) -> str:
    """As JSON, for a store."""
    return json.dumps(
        {"version": 1, "sources": SOURCES, "mean": weights.mean, "covariance": weights.covariance, "n": weights.n}
    )


def from_text(text: str) -> Weights:
    """The weights that ``as_text`` wrote. Raises OddWeights with the reason.

    >>> from_text(as_text(PRIOR)) == PRIOR
    True
    """
    try:
        told = json.loads(text)
        version, sources = told["version"], tuple(told["sources"])
        mean = tuple(float(x) for x in told["mean"])
        covariance = tuple(tuple(float(x) for x in row) for row in told["covariance"])
        n = told["n"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise OddWeights(f"no weights: {type(error).__name__}: {error}") from None
    if (version, sources) != (1, SOURCES):
        raise OddWeights(f"weights of version {version!r} for {sources!r}; version 1 is for {SOURCES!r}")
    if len(mean) != SIZE or len(covariance) != SIZE or any(len(row) != SIZE for row in covariance):
        raise OddWeights(f"weights of another size than {SIZE}")
    numbers = (*mean, *(x for row in covariance for x in row))
    if not all(abs(x) <= LARGEST for x in numbers):
        raise OddWeights(f"a weight must be a number in [-{LARGEST:g}, {LARGEST:g}]")
    even = all(abs(covariance[i][j] - covariance[j][i]) < 1e-6 for i in range(SIZE) for j in range(i))
    if not even or not _positive(covariance):
        raise OddWeights("the weights' covariance is none: not symmetric, or with a variance that is not above 0")
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 10**12:
        raise OddWeights(f"weights from {n!r} outcomes")
    return Weights(mean, covariance, n)


def _positive(matrix: tuple[tuple[float, ...], ...]) -> bool:
    """Whether it has a Cholesky factor."""
    factor = [[0.0] * SIZE for _ in range(SIZE)]
    for i in range(SIZE):
        for j in range(i + 1):
            rest = matrix[i][j] - sum(factor[i][k] * factor[j][k] for k in range(j))
            if i == j:
                if not rest > 0:
                    return False
                factor[i][i] = math.sqrt(rest)
            else:
                factor[i][j] = rest / factor[j][j]
    return True
