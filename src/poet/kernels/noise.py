"""Noise for what is told to others: the discrete Laplace law, drawn exactly from random bits by whole numbers alone."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class Dice(Protocol):
    """Draws whole numbers, such as ``secrets.SystemRandom()``; a seeded ``random.Random`` in tests only."""

    def randrange(self, stop: int, /) -> int:
        """One of 0 .. stop - 1, each as likely as the others."""


def discrete_laplace(scale: Fraction, dice: Dice) -> int:
    """A whole number x with probability tanh(1 / (2 scale)) exp(-|x| / scale).

    scale: > 0 [1]. To a sum of whole numbers, that one contribution moves by at most d, it gives epsilon-differential
    privacy where scale = d / epsilon (Ghosh, Roughgarden & Sundararajan 2009). Canonne, Kamath & Steinke 2020,
    Algorithm 2: no floating-point number takes part, so that its gaps tell nothing (Mironov 2012). How long a draw
    takes depends on its size. Raises ValueError.

    >>> import random
    >>> dice = random.Random(1)
    >>> [discrete_laplace(Fraction(2), dice) for _ in range(8)]
    [-2, 4, 2, 10, 1, 1, 1, 3]
    """
    if not isinstance(scale, Fraction) or scale <= 0:
        raise ValueError(f"scale must be a fraction > 0, got {scale!r}")
    t, s = scale.numerator, scale.denominator
    while True:
        rest = dice.randrange(t)
        if not _exponential(rest, t, dice):
            continue
        whole = 0
        while _exponential(1, 1, dice):
            whole += 1
        size = (rest + t * whole) // s
        minus = dice.randrange(2)
        if minus and not size:  # else zero would be drawn twice as often
            continue
        return -size if minus else size


def _exponential(part: int, whole: int, dice: Dice) -> bool:
    """True with probability exp(-part / whole), 0 <= part <= whole: Algorithm 1, after von Neumann."""
    k = 1
    while dice.randrange(whole * k) < part:
        k += 1
    return k % 2 == 1
