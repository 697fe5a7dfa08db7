from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.gradient import (
    Gains,
    Pace,
    Sketch,
    Spsa,
    limit_slope,
    observe,
    one_point,
    paced,
    retry_slope,
    signs,
    slope,
    told,
    told_once,
    tried,
    tried_once,
    two_point,
)

# --- by regression ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(8, 40), st.floats(2, 500), st.floats(1e-3, 5.0), st.integers(0, 2**32))
def test_a_slope_is_that_of_a_direct_weighted_ridge_solve(
    d: int, n: int, half_life: float, ridge: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(3.0, 2.0, (n, d)), rng.normal(size=n)
    y = x @ rng.normal(size=d) + noise
    state = Sketch.empty(d)
    for row, score in zip(x, y, strict=True):
        state = observe(state, row, float(score), half_life=half_life)
    w = 0.5 ** (np.arange(n)[::-1] / half_life)
    design = np.column_stack([np.ones(n), x])
    penalty = ridge * np.diag([0.0, *[1.0] * d])  # the level is not shrunk
    direct = np.linalg.solve(design.T @ (w[:, None] * design) + penalty, design.T @ (w * y))
    assert slope(state, ridge=ridge).values == pytest.approx(direct[1:], rel=1e-6, abs=1e-8)
    assert state.size == pytest.approx(w.sum() ** 2 / (w @ w))


def test_a_slope_is_as_wrong_as_its_error_says() -> None:
    """90 % intervals of 1500 regressions with fading weights: 4 standard errors of their share are 3 %."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(1500):
        state = Sketch.empty(2)
        for row in rng.uniform(0, 1, (60, 2)):
            state = observe(state, row, float(row @ (0.3, 0.0) + rng.normal(0, 0.5)), half_life=40.0)
        found = slope(state, ridge=1e-3)
        held += abs(found.values[0] - 0.3) < 1.68 * found.errors[0]  # t of about 45 degrees of freedom
    assert 0.87 < held / 1500 < 0.93


def test_what_was_never_varied_has_no_slope_and_a_large_error() -> None:
    state, dice = Sketch.empty(2), random.Random(1)
    for _ in range(100):
        x = dice.uniform(0, 1)
        state = observe(state, (x, 0.5), x + dice.gauss(0, 0.1), half_life=50.0)
    found = slope(state)
    assert found.values[0] == pytest.approx(1.0, abs=0.1)
    assert found.values[1] == 0.0
    assert found.errors[1] > 3 * found.errors[0]


def test_too_few_pairs_have_an_infinite_error() -> None:
    state = observe(Sketch.empty(2), (0.1, 0.2), 1.0, half_life=10.0)
    assert slope(state).errors == pytest.approx([math.inf, math.inf])


def test_nothing_given_is_changed() -> None:
    state = Sketch.empty(1)
    observe(state, np.array([2.0]), 1.0, half_life=10.0)
    assert not state.scatter.any()
    assert not state.mean.any()


# --- by simultaneous perturbation -------------------------------------------------------------------------------------


def quadratic(x: tuple[float, ...]) -> float:
    """A bowl with cross terms; its gradient is ``-A (x - top)`` with A = ((2, 1), (1, 3)), top = (0.6, 0.3)."""
    u, v = x[0] - 0.6, x[1] - 0.3
    return -(u * u + u * v + 1.5 * v * v)


def test_two_points_are_unbiased_on_a_quadratic() -> None:
    """Mean of 20 000 noisy estimates against the true gradient, each within 4.5 of its own standard errors.

    The chance that one of four is beyond by luck is below 3e-5.
    """
    dice = random.Random(2)
    x, width = (0.2, 0.7), 0.1
    true = np.array([-(2 * -0.4 + 0.4), -(-0.4 + 3 * 0.4)])
    for one in (False, True):
        found = []
        for _ in range(20_000):
            s = signs(2, dice)
            plus = quadratic(tuple(a + width * b for a, b in zip(x, s, strict=True))) + dice.gauss(0, 0.02)
            minus = quadratic(tuple(a - width * b for a, b in zip(x, s, strict=True))) + dice.gauss(0, 0.02)
            found.append(one_point(plus, s, width, baseline=quadratic(x)) if one else two_point(plus, minus, s, width))
        values = np.array(found)
        errors = values.std(axis=0) / math.sqrt(len(values))
        assert (np.abs(values.mean(axis=0) - true) < 4.5 * errors).all()


def test_a_search_climbs_to_the_top_of_a_noisy_bowl() -> None:
    """From 20 starts, 400 evaluations each; the noise, 0.02, is a tenth of what there is to win."""
    gains = Gains(a=0.3, c=0.08)
    ends = []
    for seed in range(20):
        dice = random.Random(seed)
        state = Spsa.start((dice.random(), dice.random()), dice)
        for _ in range(400):
            state = told(state, quadratic(tried(state, gains)) + dice.gauss(0, 0.02), gains, dice)
        ends.append(quadratic(state.centre))
    assert min(ends) > -0.01
    assert state.k == 200


def test_a_search_by_single_points_climbs_as_well_and_more_slowly() -> None:
    """From 20 starts, 800 evaluations each: in the mean within a tenth of the way, where two points need 400."""
    gains = Gains(a=0.1, c=0.15, least_c=0.1)
    left = begun = 0.0
    for seed in range(20):
        dice = random.Random(seed)
        state = Spsa.start((dice.random(), dice.random()), dice)
        begun -= quadratic(state.centre)
        for _ in range(800):
            state = told_once(state, quadratic(tried_once(state, gains)) + dice.gauss(0, 0.02), gains, dice)
        assert state.k == 800
        left -= quadratic(state.centre)
    assert left < 0.1 * begun


@given(
    st.lists(st.floats(-1, 2), min_size=1, max_size=5),
    st.lists(st.floats(-1e6, 1e6), max_size=40),
    st.floats(1e-3, 100),
    st.floats(0.01, 0.5),
)
def test_a_search_never_leaves_the_cube_nor_takes_long_steps(
    start: list[float], scores: list[float], a: float, c: float
) -> None:
    dice, gains = random.Random(0), Gains(a=a, c=c)
    state = Spsa.start(start, dice)
    for score in scores:
        before = state
        point = tried(state, gains)
        assert all(0 <= x <= 1 for x in point)
        state = told(state, score, gains, dice)
        assert all(0 <= x <= 1 for x in state.centre)
        assert all(abs(x - y) <= gains.longest + 1e-12 for x, y in zip(state.centre, before.centre, strict=True))


def test_gains_fall_as_the_source_has_them() -> None:
    gains = Gains(a=1.0, c=1.0, stability=0.0)
    assert gains.step(0) == 1.0
    assert gains.step(99) == pytest.approx(100**-0.602)
    assert gains.width(99) == pytest.approx(100**-0.101)
    assert Gains(c=1.0, least_c=0.9).width(10**6) == 0.9


# --- by what a call tells of its own limit ----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.5, 1.5, 4.0])
def test_a_limits_slope_is_the_derivative_of_its_utility(limit: float) -> None:
    """Pareto latencies above 0.3 s of index 1.2, for which all is known; 40 000 calls, within 4 standard errors."""
    index, least, cost, value, window = 1.2, 0.3, 0.25, 1.0, 0.25
    rng = np.random.default_rng(3)
    seconds = least * rng.random(40_000) ** (-1 / index)
    over, start = float((seconds > limit).sum()), limit * math.exp(-window)
    near = float(((seconds > start) & (seconds <= limit)).sum())
    found, error = limit_slope(
        near=near, reached=near + over, over=over, n=len(seconds), window=window, value=value, cost=cost * limit
    )
    share = (limit / least) ** -index
    true = share * (value * index - cost * limit)
    assert abs(found - true) < 4 * error + 0.01 * abs(true)  # the window is not infinitely short


def test_a_limit_that_just_sufficed_should_be_longer_and_one_that_is_never_reached_shorter() -> None:
    just, _ = limit_slope(near=1, reached=1, over=0, n=1, window=0.1, value=1.0, cost=0.1)
    never, _ = limit_slope(near=0, reached=0, over=0, n=1, window=0.1, value=1.0, cost=30.0)
    assert just > 0 > never


def test_retries_that_mend_are_worth_another_and_those_that_never_do_are_not() -> None:
    mending, _ = retry_slope(failed=5, n=20, mended=10, retried=15, value=1.0, cost=0.05)
    unknown, doubt = retry_slope(failed=6, n=6, mended=0, retried=0, value=1.0, cost=0.05)
    hopeless, _ = retry_slope(failed=20, n=20, mended=0, retried=60, value=1.0, cost=0.05)
    assert mending > 0
    assert unknown > 0
    assert doubt > 0.1
    assert hopeless < 0


@given(
    st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0.01, 2), st.floats(0.01, 10), st.floats(0, 1e4)
)
def test_slopes_are_finite_whatever_was_seen(
    near: float, over: float, more: float, window: float, value: float, cost: float
) -> None:
    n = near + over + more
    for found, error in (
        limit_slope(near=near, reached=near + over, over=over, n=n, window=window, value=value, cost=cost),
        retry_slope(failed=over, n=n, mended=near, retried=near + more, value=value, cost=cost),
    ):
        assert math.isfinite(found)
        assert math.isfinite(error)
        assert error >= 0


# --- steps of bounded length ------------------------------------------------------------------------------------------

ODD = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(ODD, ODD), max_size=200), st.floats(0, 0.99))
def test_rates_and_steps_keep_their_bounds_whatever_comes(rows: list[tuple[float, float]], momentum: float) -> None:
    state = Pace(0.05)
    for gradient, error in rows:
        state, step = paced(state, gradient, error, slowest=0.001, fastest=0.2, momentum=momentum)
        assert 0.001 <= state.rate <= 0.2
        assert abs(step) <= state.rate


def test_a_rate_that_nothing_contradicts_ends_at_its_bound() -> None:
    """What made the ancestor's rate grow to 1e104: 5000 steps of a gradient of nothing, and of one that stays."""
    for gradient in (0.0, 1e-9, 1.0):
        state = Pace(0.05)
        for _ in range(5000):
            state, _ = paced(state, gradient, 0.0, slowest=0.001, fastest=0.2)
        assert state.rate <= 0.2


def test_agreement_quickens_and_a_turn_brakes_and_drops_the_momentum() -> None:
    state = Pace(0.05)
    rates = []
    for _ in range(10):
        state, step = paced(state, 1.0, 0.1, slowest=0.001, fastest=0.2)
        rates.append(state.rate)
        assert step > 0
    assert rates == sorted(rates)
    turned, step = paced(state, -1.0, 0.1, slowest=0.001, fastest=0.2)
    assert turned.rate == state.rate * 0.5
    assert step < 0  # at once, where momentum would have gone on for several steps


def test_a_gradient_in_doubt_moves_little_and_changes_no_rate() -> None:
    sure = doubtful = Pace(0.05)
    for _ in range(20):
        sure, long = paced(sure, 0.1, 0.01, slowest=0.001, fastest=0.2)
        doubtful, short = paced(doubtful, 0.1, 1.0, slowest=0.001, fastest=0.2)
    assert doubtful.rate == 0.05
    assert short < 0.1 * long


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_steps_climb_a_parabola_of_any_scale(start: float, scale: float) -> None:
    x, state = start, Pace(0.05)
    for _ in range(300):
        state, step = paced(state, -2 * scale * (x - 1.0), 1e-3 * scale, slowest=0.001, fastest=0.3)
        x += step
    assert abs(x - 1.0) < 0.05
