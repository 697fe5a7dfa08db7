"""The discrete Laplace law: drawn as stated, from whole numbers alone, private as promised."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from poet.kernels.noise import discrete_laplace

DRAWS = 20_000
RATE = 1e-4  # of a false alarm, of each test of the law; the seeds are fixed


def mass(x: int, scale: float) -> float:
    return math.tanh(1 / (2 * scale)) * math.exp(-abs(x) / scale)


@pytest.mark.parametrize(
    "scale", [Fraction(1, 3), Fraction(1), Fraction(7, 3), Fraction(5), Fraction(1_000_000, 199_999)]
)
def test_draws_follow_the_law(scale: Fraction) -> None:
    dice = Random(f"law {scale}")
    seen = Counter(discrete_laplace(scale, dice) for _ in range(DRAWS))
    edge = 0  # cells of 5 draws or more, and the two tails
    while DRAWS * mass(edge + 1, float(scale)) >= 5:
        edge += 1
    middle = [mass(x, float(scale)) for x in range(-edge, edge + 1)]
    tail = (1 - sum(middle)) / 2
    expected = [DRAWS * p for p in (tail, *middle, tail)]
    below, above = (sum(n for x, n in seen.items() if s * x > edge) for s in (-1, 1))
    observed = [below, *(seen[x] for x in range(-edge, edge + 1)), above]
    assert chisquare(observed, expected, sum_check=False).pvalue > RATE


def test_a_wide_law_is_a_laplace_law() -> None:
    scale, dice = Fraction(3855 * 7, 2), Random(5)
    draws = [discrete_laplace(scale, dice) / float(scale) for _ in range(DRAWS)]
    assert kstest(draws, "laplace").pvalue > RATE  # its steps are 1/13492: far below what so many draws can see


def test_one_more_or_less_changes_no_chance_by_more_than_a_factor_of_e_to_epsilon() -> None:
    epsilon = 0.7
    for x in range(-60, 60):
        ratio = mass(x - 1, 1 / epsilon) / mass(x, 1 / epsilon)
        assert math.exp(-epsilon) - 1e-12 <= ratio <= math.exp(epsilon) + 1e-12


class Whole:
    """Dice that can throw whole numbers and nothing else."""

    def __init__(self, seed: int) -> None:
        self._bits = Random(seed).getrandbits

    def randrange(self, stop: int, /) -> int:
        assert type(stop) is int
        while (drawn := self._bits(stop.bit_length())) >= stop:
            pass
        return drawn


def test_no_floating_point_number_takes_part() -> None:
    dice = Whole(1)
    assert all(type(discrete_laplace(Fraction(9, 4), dice)) is int for _ in range(200))


@given(st.fractions(Fraction(1, 1000), Fraction(10**6)), st.integers())
def test_any_scale_gives_whole_numbers_that_its_size_allows(scale: Fraction, seed: int) -> None:
    drawn = discrete_laplace(scale, Random(seed))
    assert abs(drawn) <= 60 * scale + 1  # beyond with probability exp(-60)


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-1), 1.0, float("nan"), None])
def test_a_scale_is_a_fraction_above_zero(scale: object) -> None:
    with pytest.raises(ValueError, match="scale must be a fraction > 0"):
        discrete_laplace(scale, Random(1))  # type: ignore[arg-type]
