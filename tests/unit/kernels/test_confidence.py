"""Bounds at every look: the mixtures against numerical integrals, and the exact bounds on enumerated cases."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from poet.kernels.online import confidence
from poet.kernels.online.confidence import Arm, Bounded

ALPHAS = st.sampled_from([0.5, 0.05, 0.01, 1e-4])


@pytest.mark.parametrize("n", [1.0, 30.0, 4000.0])
@pytest.mark.parametrize("side", ["both", "one"])
def test_the_evidence_about_a_normal_mean_is_1_on_average_where_it_is_right(n: float, side: str) -> None:
    rho = confidence.tuning(100.0, 0.05)
    log_e = confidence.log_e if side == "both" else confidence.one_sided_log_e
    # an integral over the mean of n outcomes of deviation 2, in logarithms, as the evidence grows like the square
    error = 2.0 / math.sqrt(n)

    def part(z: float) -> float:
        return math.exp(log_e(n, z * error, 2.0, rho) + stats.norm.logpdf(z))

    most = 12.0 * math.sqrt(n * rho * rho + 1.0)
    whole = integrate.quad(part, -most, most, limit=500, points=[0.0])[0]
    assert whole == pytest.approx(1.0, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(1.0, 1e7), st.floats(1e-3, 1e3), ALPHAS, st.floats(1.0, 1e5))
def test_a_bound_is_where_the_evidence_reaches_its_level(
    n: float, deviation: float, alpha: float, planned: float
) -> None:
    rho = confidence.tuning(planned, alpha)
    two, one = confidence.half_width(n, deviation, rho, alpha), confidence.one_sided_width(n, deviation, rho, alpha)
    assert confidence.log_e(n, two, deviation, rho) == pytest.approx(-math.log(alpha), rel=1e-9)
    assert confidence.one_sided_log_e(n, one, deviation, rho) == pytest.approx(-math.log(alpha), rel=1e-9)
    assert 0 < one < two


def test_evidence_far_on_the_other_side_is_continued_where_the_tail_underflows() -> None:
    rho, n = confidence.tuning(100.0, 0.05), 1000.0
    shifts = [-x / 100 for x in range(1, 2000)]
    evidence = [confidence.one_sided_log_e(n, shift, 1.0, rho) for shift in shifts]
    assert all(a > b for a, b in pairwise(evidence))
    jumps = np.diff(evidence, 2)
    assert np.abs(jumps[200:]).max() < 1e-3


def test_the_bounds_are_about_narrowest_where_they_were_planned_to_be() -> None:
    width = {p: confidence.half_width(1000.0, 1.0, confidence.tuning(p, 0.05), 0.05) for p in (100.0, 1000.0, 1e4)}
    assert width[1000.0] < min(width[100.0], width[1e4])


@pytest.mark.parametrize(
    ("planned", "alpha"), [(0.0, 0.05), (math.nan, 0.05), (math.inf, 0.05), (10.0, 0.0), (10.0, math.nan)]
)
def test_impossible_plans_are_refused(planned: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="got"):
        confidence.tuning(planned, alpha)


def test_a_single_look_of_a_known_size_is_the_textbook_one() -> None:
    assert confidence.planned_calls(0.5) == pytest.approx(4 * (1.959964 + 0.841621) ** 2 / 0.25, rel=1e-5)
    with pytest.raises(ValueError, match="effect"):
        confidence.planned_calls(math.nan)


@pytest.mark.parametrize("arm", [Arm(1, 0.0, 1.0), Arm(10, math.nan, 1.0), Arm(10, 0.0, -1.0), Arm(math.inf, 0.0, 1.0)])
def test_impossible_arms_are_refused(arm: Arm) -> None:
    with pytest.raises(ValueError, match="arm"):
        confidence.difference(Arm(10, 0.0, 1.0), arm, 0.1, 0.05)


def test_arms_that_never_vary_give_no_evidence() -> None:
    assert confidence.difference_log_e(Arm(10, 0.0, 0.0), Arm(10, 1.0, 0.0), 0.1) == -math.inf


# --- bounded ----------------------------------------------------------------------------------------------------------

BITS = st.lists(st.floats(0.0, 1.0), max_size=30)


def bounded(xs: list[float]) -> Bounded:
    seen = Bounded()
    for x in xs:
        seen = seen.add(x)
    return seen


@pytest.mark.parametrize("mean", [0.03, 0.5, 0.8])
def test_the_evidence_against_the_true_mean_never_rises_on_average(mean: float) -> None:
    """Every sequence of 10 outcomes of 0 and 1, enumerated."""
    total = 0.0
    for xs in product((0.0, 1.0), repeat=10):
        chance = math.prod(mean if x else 1 - mean for x in xs)
        total += chance * math.exp(bounded(list(xs)).log_e(mean))
    assert total <= 1.0 + 1e-12


@settings(max_examples=50, deadline=None)
@given(BITS, BITS, BITS)
def test_bounded_outcomes_add_up_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = bounded(a), bounded(b), bounded(c)
    assert tuple(x.merged(y)) == pytest.approx(tuple(y.merged(x)))
    assert tuple(x.merged(y).merged(z)) == pytest.approx(tuple(x.merged(y.merged(z))))


@settings(max_examples=50, deadline=None)
@given(BITS, ALPHAS)
def test_exact_bounds_stay_within_the_limits_and_in_order(xs: list[float], alpha: float) -> None:
    low, high = bounded(xs).interval(alpha)
    assert low >= 0.0
    assert high <= 1.0
    assert low <= high or math.exp(bounded(xs).log_e((low + high) / 2)) >= 0.4 / alpha


def test_what_is_out_of_bounds_is_refused() -> None:
    for x in -0.1, 1.1, math.nan:
        with pytest.raises(ValueError, match="outcome"):
            Bounded().add(x)
    with pytest.raises(ValueError, match="alike"):
        Bounded().merged(Bounded(0.0, 2.0))
    assert Bounded(2.0, 5.0).interval(0.05) == (2.0, 5.0)
