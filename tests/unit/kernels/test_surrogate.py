from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from poet.kernels.online.surrogate import (
    Hyper,
    anywhere,
    correlation,
    expected_improvement,
    factored,
    fit,
    log_posterior,
    newest,
    predict,
    propose,
    recommended,
    scattered,
    solved,
    usual,
)

LEVELS = (0, 0, 3)
NORMAL = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)


def sampled(n: int, seed: int, levels: tuple[int, ...] = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = anywhere(n, levels, rng)
    return x, np.sin(3 * x[:, 0]) - x[:, 1] ** 2 + 0.3 * (x[:, -1] == 1) + 0.1 * rng.normal(size=n)


def matern(a: np.ndarray, b: np.ndarray, lengths: tuple[float, ...]) -> float:
    """One pair, as Rasmussen & Williams (4.17) write it; the third column is a choice."""
    r2 = sum(((a[j] - b[j]) / math.exp(lengths[j])) ** 2 for j in (0, 1))
    r2 += (a[2] != b[2]) / math.exp(2 * lengths[2])
    r = math.sqrt(r2)
    return (1 + math.sqrt(5) * r + 5 * r2 / 3) * math.exp(-math.sqrt(5) * r)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 25), st.integers(0, 2**32), st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.floats(-4, 3))
def test_a_posterior_is_that_of_a_direct_solve(n: int, seed: int, lengths: list[float], noise: float) -> None:
    x, y = sampled(n, seed)
    hyper = Hyper(tuple(lengths), noise)
    process = fit(x, y, LEVELS, hyper, learn=False)
    points = anywhere(7, LEVELS, np.random.default_rng(1))
    share = 1 / (1 + math.exp(-noise))

    def table(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([[(1 - share) * matern(p, q, hyper.lengths) for q in b] for p in a])

    matrix = table(x, x) + (share + 1e-8) * np.eye(n)
    cross = table(x, points)
    inverse = np.linalg.inv(matrix)
    centre = inverse.sum(axis=0) @ y / inverse.sum()  # generalised least squares
    centred = y - centre
    spread = y.std() or 1.0
    variance = (centred @ inverse @ centred / spread**2 + 1) / (n + 1) * spread**2
    mean, deviation = predict(process, points)
    assert mean == pytest.approx(centre + cross.T @ inverse @ centred, rel=1e-6, abs=1e-6)
    slow = np.diag(table(points, points) - cross.T @ inverse @ cross) * variance
    assert deviation**2 == pytest.approx(np.maximum(slow, 1e-12 * variance), rel=1e-5, abs=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.integers(1, 150), st.integers(0, 2**32))
def test_tiles_give_what_the_whole_gives(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    matrix = root @ root.T + n * np.eye(n)
    right = rng.normal(size=(n, m))
    factor = factored(matrix)
    assert np.allclose(factor, np.linalg.cholesky(matrix))
    assert np.allclose(solved(factor, right), np.linalg.solve(factor, right))


@given(st.integers(2, 20), st.integers(0, 2**32))
def test_a_correlation_is_symmetric_positive_and_one_on_itself(n: int, seed: int) -> None:
    x, _ = sampled(n, seed)
    matrix = correlation(x, x, LEVELS, (0.1, -1.0, 0.5))
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1.0)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_the_mode_is_higher_than_where_it_began_and_than_its_neighbours() -> None:
    x, y = sampled(60, 3)
    hyper = fit(x, y, LEVELS).hyper
    standard = (y - y.mean()) / y.std()
    top = log_posterior(x, standard, LEVELS, hyper)
    assert top >= log_posterior(x, standard, LEVELS, usual(LEVELS))
    for j in range(3):
        for way in (-0.3, 0.3):
            lengths = list(hyper.lengths)
            lengths[j] += way
            assert log_posterior(x, standard, LEVELS, Hyper(tuple(lengths), hyper.noise)) < top + 0.02


def test_a_column_without_influence_gets_a_longer_length() -> None:
    rng = np.random.default_rng(4)
    x = rng.random((80, 2))
    y = np.sin(6 * x[:, 0]) + 0.05 * rng.normal(size=80)
    lengths = fit(x, y, (0, 0)).hyper.lengths
    assert lengths[1] > lengths[0] + 1.0


def test_intervals_of_untried_points_cover() -> None:
    """90 % intervals, 40 draws of a known process, 25 points each: a share within 4 % (points of one draw agree)."""
    rng = np.random.default_rng(5)
    held: list[bool] = []
    for _ in range(40):
        x = rng.random((75, 2))
        prior = correlation(x, x, (0, 0), (math.log(0.5),) * 2) + 1e-9 * np.eye(75)
        truth = np.linalg.cholesky(prior) @ rng.normal(size=75)
        process = fit(x[:50], truth[:50] + 0.3 * rng.normal(size=50), (0, 0))
        mean, deviation = predict(process, x[50:])
        held += (np.abs(mean - truth[50:]) < 1.645 * deviation).tolist()
    assert 0.86 < float(np.mean(held)) < 0.94


@given(st.floats(-3, 3), st.floats(0.01, 3), st.floats(-3, 3))
def test_expected_improvement_is_that_of_a_sample(mean: float, deviation: float, best: float) -> None:
    """Against 20 000 normal draws at equal shares of probability: a sum instead of a formula."""
    draws = mean + deviation * NORMAL
    slow = float(np.maximum(draws - best, 0).mean())
    assert float(expected_improvement(np.array([mean]), np.array([deviation]), best)[0]) == pytest.approx(
        slow, abs=2e-3 * deviation
    )


def test_it_finds_the_top_of_a_noisy_mixed_bowl_in_fifty_evaluations() -> None:
    """Regret of the recommendation at most a tenth of the middle's, in the mean of 10 seeds; the noise is 0.1."""

    def truth(p: np.ndarray) -> float:
        return float(1 - 2 * (p[0] - 0.2) ** 2 - 2 * (p[1] - 0.7) ** 2 - 0.3 * (p[2] != 2))

    lost = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = np.vstack([[0.5, 0.5, 0.0], anywhere(5, LEVELS, rng)])
        y = np.array([truth(p) + 0.1 * rng.normal() for p in x])
        hyper = None
        while len(y) < 50:
            process = fit(x, y, LEVELS, hyper, learn=len(y) % 5 == 1)
            hyper = process.hyper
            point = propose(process, rng).point
            x, y = np.vstack([x, point]), np.append(y, truth(point) + 0.1 * rng.normal())
        lost.append(1 - truth(recommended(fit(x, y, LEVELS, hyper))))
    assert np.mean(lost) < 0.1 * (1 - truth(np.array([0.5, 0.5, 0.0])))


def test_a_recommendation_is_better_than_the_luckiest_trial() -> None:
    """A bowl with a noise of 0.3, 30 random points, 40 seeds: the regret of either choice."""
    ours, lucky = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.random((30, 1))
        truth = 1 - 2 * (x[:, 0] - 0.4) ** 2
        y = truth + 0.3 * rng.normal(size=30)
        chosen = recommended(fit(x, y, (0,)))
        ours.append(2 * (float(chosen[0]) - 0.4) ** 2)
        lucky.append(1 - float(truth[int(np.argmax(y))]))
    assert np.mean(ours) < 0.7 * np.mean(lucky)


def test_candidates_keep_the_cube_and_the_codes() -> None:
    x, y = sampled(30, 6)
    points = scattered(fit(x, y, LEVELS), np.random.default_rng(0))
    assert points.shape == (256, 3)
    assert points[:, :2].min() >= 0
    assert points[:, :2].max() <= 1
    assert set(points[:, 2]) <= {0.0, 1.0, 2.0}


@pytest.mark.parametrize("scores", [[0.0], [1.0, 1.0, 1.0, 1.0], [1e9, -1e9, 1e9], [1e-12, 2e-12, 3e-12]])
def test_odd_scores_still_give_a_proposal(scores: list[float]) -> None:
    x = np.full((len(scores), 2), 0.5)
    process = fit(x, scores, (0, 0))
    proposal = propose(process, np.random.default_rng(0))
    assert np.isfinite(proposal.point).all()
    assert proposal.improvement >= 0
    assert len(newest(x, np.array(scores), 2)[0]) <= 2
