from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from poet.kernels.online.surrogate import (
    Hyper,
    Process,
    Seen,
    _Cost,
    _packed,
    anywhere,
    around,
    correlation,
    drawn,
    expected_improvement,
    factored,
    fit,
    joint,
    kernel,
    log_posterior,
    mean,
    newest,
    predict,
    product,
    propose,
    recommended,
    scattered,
    seen,
    solved,
    trend,
    usual,
    with_count,
    with_point,
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

    matrix = table(x, x) + (share + 1e-7) * np.eye(n)
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
    assert np.allclose(product(matrix, right), matrix @ right)


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


def observed(n: int, seed: int, *, timed: bool = True) -> Seen:
    """Points with counts, scatters and moments."""
    rng = np.random.default_rng(seed)
    x, y = sampled(n, seed)
    counts = rng.integers(1, 6, n).astype(float)
    scatter = np.where(counts > 1, rng.random(n) * counts, 0.0)
    return Seen(x, y, counts, scatter, np.arange(n) * 3.0 if timed else None)


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 30), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_a_gradient_is_that_of_differences(n: int, seed: int, timed: bool, bent: bool) -> None:
    prior = usual(LEVELS, trend=bent)
    cost = _Cost(observed(n, seed, timed=timed), LEVELS, prior)
    point = _packed(prior, timed)
    point = point + 0.3 * np.random.default_rng(seed).standard_normal(len(point))
    _, gradient = cost(point)
    slow = [(cost(point + 1e-5 * e)[0] - cost(point - 1e-5 * e)[0]) / 2e-5 for e in np.eye(len(point))]
    assert gradient == pytest.approx(slow, rel=1e-4, abs=1e-5)


def unfolded(data: Seen, rng: np.random.Generator) -> Seen:
    """The same with each observation by itself."""
    x, y, at = [], [], []
    for i, count in enumerate(data.counts.astype(int).tolist()):
        spread = rng.standard_normal(count)
        spread -= spread.mean()
        size = math.sqrt((spread @ spread) or 1.0)
        x += [data.x[i]] * count
        y += (data.y[i] + spread / size * math.sqrt(data.scatter[i])).tolist()
        at += [0.0 if data.at is None else data.at[i]] * count
    return seen(np.array(x), y, at=None if data.at is None else np.array(at))


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 20), st.integers(0, 2**32), st.booleans())
def test_folding_equal_points_loses_nothing(n: int, seed: int, bent: bool) -> None:
    data = observed(n, seed)
    whole = unfolded(data, np.random.default_rng(seed))
    hyper = usual(LEVELS, trend=bent)._replace(noise=-0.5)
    points = anywhere(9, LEVELS, np.random.default_rng(1))
    folded, slow = (fit(each, levels=LEVELS, hyper=hyper, learn=False) for each in (data, whole))
    for a, b in zip(predict(folded, points, 100.0), predict(slow, points, 100.0), strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-6)
    here, there = (_Cost(each, LEVELS, hyper) for each in (data, whole))
    a, b = _packed(hyper, True), _packed(hyper, True) + 0.2
    assert here(a)[0] - here(b)[0] == pytest.approx(there(a)[0] - there(b)[0], rel=1e-4, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 70), st.integers(0, 2**32), st.booleans())
def test_growing_gives_what_a_new_fit_gives(n: int, seed: int, bent: bool) -> None:
    data = observed(n, seed)
    assert data.at is not None
    hyper = usual(LEVELS, trend=bent)._replace(noise=-1.0)
    first = Seen(*(part[:-1] for part in data if part is not None))
    grown = fit(first, levels=LEVELS, hyper=hyper, learn=False)
    grown = with_point(grown, data.x[-1], float(data.y[-1]), float(data.at[-1]))
    grown = with_count(grown, n - 1, float(data.y[-1]), float(data.counts[-1]), float(data.scatter[-1]))
    anew = fit(data, levels=LEVELS, hyper=hyper, learn=False)
    points = anywhere(9, LEVELS, np.random.default_rng(1))
    for a, b in zip(predict(grown, points, 50.0), predict(anew, points, 50.0), strict=True):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-8)


@given(st.integers(2, 20), st.integers(0, 2**32))
def test_trends_are_kernels_and_one_in_the_mean(n: int, seed: int) -> None:
    x = anywhere(n, LEVELS, np.random.default_rng(seed))
    matrix = trend(x, x, LEVELS)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
    many = anywhere(20_000, LEVELS, np.random.default_rng(0))[:400]
    assert np.diag(trend(many, many, LEVELS)).mean() == pytest.approx(1.0, abs=0.1)
    whole = kernel(x, x, LEVELS, usual(LEVELS, trend=True))
    assert np.allclose(whole, whole.T)
    assert np.linalg.eigvalsh(whole).min() > -1e-9


def test_main_effects_foretell_combinations_that_were_never_tried() -> None:
    """Ten switches whose effects add up, 40 random trials, noise 0.1, 5 seeds: the best of all 1024 is found.

    With the trend the point of the best mean loses less than half of what it loses without.
    """
    levels = (2,) * 10
    every = np.array([[float(k >> j & 1) for j in range(10)] for k in range(1024)])
    lost: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        effects = rng.normal(size=10) * 0.2
        x = anywhere(40, levels, rng)
        y = x @ effects + 0.1 * rng.normal(size=40)
        for bent in (True, False):
            process = fit(x, y, levels, prior=usual(levels, trend=bent))
            best = every[int(np.argmax(mean(process, every)))]
            lost[bent].append(float(np.maximum(effects, 0).sum() - best @ effects))
    assert np.mean(lost[True]) < 0.5 * np.mean(lost[False])


def test_a_joint_posterior_agrees_with_single_ones_and_its_draws_with_it() -> None:
    process = fit(observed(40, 2), levels=LEVELS, prior=usual(LEVELS, trend=True))
    points = anywhere(6, LEVELS, np.random.default_rng(3))
    middle, covariance = joint(process, points, 120.0)
    alone, deviation = predict(process, points, 120.0)
    assert middle == pytest.approx(alone)
    assert np.sqrt(np.diag(covariance)) == pytest.approx(deviation, rel=1e-6)
    draws = drawn(middle, covariance, np.random.default_rng(0), 20_000, temper=0.5)
    assert draws.mean(axis=0) == pytest.approx(middle, abs=5 * 0.5 * deviation.max() / math.sqrt(20_000))
    assert draws.std(axis=0) == pytest.approx(0.5 * deviation, rel=0.03)  # 6 standard errors of a deviation


def remembered(process: Process) -> float:
    """How far the past is worth something [observations]."""
    return math.exp(process.hyper.memory)


def test_memory_is_longer_where_nothing_changes() -> None:
    """Two lives of 120 observations of one number: a constant bowl, and one that turns over in the middle."""
    rng = np.random.default_rng(0)
    x = rng.random((120, 1))
    at = np.arange(120.0)
    still = 1 - 4 * (x[:, 0] - 0.4) ** 2 + 0.1 * rng.normal(size=120)
    turned = np.where(at < 60, still, 1 - still)
    long, short = (fit(seen(x, y, at=at), levels=(0,)) for y in (still, turned))
    assert remembered(long) > 3 * remembered(short)
    assert predict(short, x[:1], 5000.0)[1] > predict(short, x[:1], 120.0)[1]


def test_steps_about_a_centre_keep_the_cube() -> None:
    near = around(np.array([[0.02, 0.5, 1.0]]), LEVELS, np.random.default_rng(0), 300, (0.1,))
    assert near[:, :2].min() >= 0
    assert near[:, :2].max() <= 1
    assert set(near[:, 2]) == {0.0, 1.0, 2.0}
