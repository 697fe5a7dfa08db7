"""Curves from counts, against the textbook on raw data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.bins import BINS, EDGES, bin_of
from poet.kernels.online.survival import (
    ANSWER,
    CENSORED,
    ERROR,
    KNOTS,
    Array,
    Grid,
    areas,
    hazards,
    incidence,
    kaplan_meier,
    posterior_draws,
    posterior_mean,
    quantile,
    read,
)

# attempts: (bin, kind); censored ones end at the lower edge of their bin, as those cut off by a candidate timeout do
attempts = st.lists(st.tuples(st.integers(30, 60), st.integers(0, 2)), min_size=1, max_size=60)


def table(sample: list[tuple[int, int]], n_memories: int = 1) -> Array:
    counts = np.zeros((n_memories, 3, BINS))
    for bin_, kind in sample:
        counts[:, kind, bin_] += 1
    return counts


def product_limit(sample: list[tuple[int, int]], knot: int) -> float:
    """Kaplan & Meier 1958 by hand, on events grouped by bin, errors taken as censored in the middle of their bin."""
    alive = 1.0
    for bin_ in range(knot):
        answered = sum(1 for b, kind in sample if b == bin_ and kind == ANSWER)
        erred = sum(1 for b, kind in sample if b == bin_ and kind == ERROR)
        at_risk = sum(1 for b, kind in sample if b > bin_ or (b == bin_ and kind != CENSORED))
        if answered:
            alive *= 1 - answered / max(at_risk - 0.5 * erred, answered)
    return 1 - alive


@given(attempts)
def test_kaplan_meier_agrees_with_the_product_limit_on_raw_data(sample: list[tuple[int, int]]) -> None:
    curve = kaplan_meier(*(part[0] for part in hazards(table(sample))[:3]))
    last = max(bin_ for bin_, _ in sample)
    for knot in range(25, last + 1):
        assert curve[knot] == pytest.approx(product_limit(sample, knot))


@given(attempts)
def test_where_nobody_looked_the_curve_is_unknown(sample: list[tuple[int, int]]) -> None:
    curve = kaplan_meier(*(part[0] for part in hazards(table(sample))[:3]))
    last = max(bin_ if kind == CENSORED else bin_ + 1 for bin_, kind in sample)
    assert not np.isnan(curve[: last + 1]).any()
    assert np.isnan(curve[last + 1 :]).all()
    assert quantile(curve, 1.0 + 1e-9) is None


@given(attempts)
def test_answer_error_and_neither_make_one(sample: list[tuple[int, int]]) -> None:
    answered, failed, alive = incidence(*posterior_mean(hazards(table(sample))))
    assert np.allclose(answered + failed + alive, 1.0)
    assert (np.diff(answered) >= 0).all()
    assert (np.diff(failed) >= 0).all()


def test_the_prior_fades_as_the_evidence_grows() -> None:
    """10 000 uncensored log-normal attempts: the curve is the empirical one to 6 standard errors of a share."""
    rng = np.random.default_rng(3)
    seconds = 0.2 * np.exp(0.5 * rng.standard_normal(10_000))
    counts = table([(bin_of(x), ANSWER) for x in seconds])
    answered, _, _ = incidence(*posterior_mean(hazards(counts)))
    empirical = (seconds[:, None] < KNOTS[None, :]).mean(axis=0)
    assert np.abs(answered[0] - empirical).max() < 6 * 0.5 / 100 + 0.002


def test_an_unseen_tail_is_neither_hopeless_nor_sure() -> None:
    """All attempts cut off at 1 s: what comes after is the prior's, and that is wide open."""
    counts = table([(bin_of(0.1), ANSWER)] * 50 + [(bin_of(1.0), CENSORED)] * 50)
    answered, _, alive = incidence(*posterior_mean(hazards(counts)))
    at_limit, later = bin_of(1.0), bin_of(30.0)
    assert alive[0, at_limit] == pytest.approx(0.5, abs=0.03)
    assert 0.5 < (answered[0, later] - answered[0, at_limit]) / alive[0, at_limit] < 0.999


@given(st.floats(1e-3, 1e3))
@settings(max_examples=30)
def test_the_prior_says_the_same_of_a_microsecond_and_a_minute(median: float) -> None:
    """What is believed of the tail does not depend on the scale, but for the rounding to bins."""
    bin_ = bin_of(median)
    answered, _, _ = incidence(*posterior_mean(hazards(table([(bin_, ANSWER)] * 200))))
    reference, _, _ = incidence(*posterior_mean(hazards(table([(50, ANSWER)] * 200))))
    ahead = min(10, BINS - 1 - bin_)
    assert answered[0, bin_ + ahead] == pytest.approx(reference[0, 50 + ahead], abs=0.02)


def test_draws_have_the_posterior_mean() -> None:
    """4000 draws: each mean hazard within 6 standard errors of the exact mean of its Beta posterior."""
    sample = [(bin_of(x), ANSWER) for x in (0.1, 0.12, 0.2, 0.3, 0.3, 0.9)] * 3
    sample += [(bin_of(0.05), ERROR)] * 4 + [(bin_of(1.0), CENSORED)] * 2
    evidence = hazards(table(sample))
    rng = np.random.default_rng(0)
    n = 4000
    drawn = posterior_draws(evidence, np.zeros(n, dtype=np.intp), BINS - 1, rng)
    for draws, exact in zip(drawn, posterior_mean(evidence), strict=True):
        error = draws.std(axis=0) / np.sqrt(n)
        seen = slice(bin_of(0.05), bin_of(2.0))
        assert (np.abs(draws.mean(axis=0) - exact[0])[seen] <= 6 * error[seen] + 1e-3).all()


@given(attempts, st.floats(1e-4, 1e3))
def test_reading_a_curve_integrates_it(sample: list[tuple[int, int]], timeout: float) -> None:
    answered, _, _ = incidence(*posterior_mean(hazards(table(sample))))
    value, waited = read(answered[0], Grid.of(np.array([timeout])))
    fine = np.unique([*np.linspace(0, timeout, 2001), *KNOTS[timeout > KNOTS], timeout])
    curve = np.interp(fine, KNOTS, answered[0])
    assert value[0] == pytest.approx(np.interp(timeout, KNOTS, answered[0]))
    assert waited[0] == pytest.approx(np.trapezoid(1 - curve, fine), rel=1e-9)


def test_behind_the_last_edge_a_curve_is_flat() -> None:
    curve = np.linspace(0, 0.8, BINS)
    value, waited = read(curve, Grid.of(np.array([EDGES[-1], EDGES[-1] + 100])))
    assert value[0] == value[1] == pytest.approx(0.8)
    assert waited[1] - waited[0] == pytest.approx(100 * 0.2)


def test_a_quantile_lies_between_its_knots() -> None:
    curve = kaplan_meier(*(part[0] for part in hazards(table([(40, ANSWER), (45, ANSWER)]))[:3]))
    middle = quantile(curve, 0.5)
    assert middle is not None
    assert KNOTS[40] < middle <= KNOTS[41]


@given(attempts, st.lists(st.floats(0.0, 5000.0), min_size=1, max_size=4))
def test_areas_give_the_integral_that_reading_a_curve_does(sample: list[tuple[int, int]], times: list[float]) -> None:
    answered = incidence(*posterior_mean(hazards(table(sample))))[0]
    grid = Grid.of(np.array(times))
    weights = areas(grid)
    area = answered[:, : len(weights)] @ weights
    assert grid.times - area == pytest.approx(read(answered, grid)[1], rel=1e-9, abs=1e-12)
