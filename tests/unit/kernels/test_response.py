from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online import response
from poet.kernels.online.response import Surface

KEEP = np.array([0.9, 0.999])
PRECISION = np.array([0.01, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01])  # 1, two options, two slopes, two curvatures
FIRST = 3


def columns(places: np.ndarray, codes: np.ndarray, centre: np.ndarray) -> np.ndarray:
    steps = places - centre
    options = np.eye(2)[codes]
    return np.hstack([np.ones((len(places), 1)), options, steps, 0.5 * steps**2])


def drawn(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    places, codes = rng.random((n, 2)), rng.integers(0, 2, n)
    score = 3.0 + 0.5 * codes - (places[:, 0] - 0.3) ** 2 + 0.4 * places[:, 1] + 0.1 * rng.standard_normal(n)
    return places, codes, np.stack([score, score - 2.9], axis=1), rng.random(n)


def seen(found: np.ndarray, scores: np.ndarray, weights: np.ndarray, batch: int) -> Surface:
    state = Surface.empty(2, found.shape[1], scores.shape[1])
    for k in range(0, len(found), batch):
        part = slice(k, k + batch)
        state = response.observe(state, found[part], scores[part], KEEP, weights[part])
    return state


@pytest.mark.parametrize("memory", [0, 1])
def test_the_posterior_is_that_of_weighted_ridge_regression(memory: int) -> None:
    places, codes, scores, weights = drawn(1)
    found = columns(places, codes, np.array([0.5, 0.5]))
    post = response.posterior(seen(found, scores, weights, 1), PRECISION, np.full(2, 1e-9))
    fading = weights * KEEP[memory] ** np.arange(len(found) - 1, -1, -1)
    root = np.sqrt(fading)[:, None]
    # as more rows of a least-squares problem: another way to the same
    rows = np.vstack([root * found, np.diag(np.sqrt(PRECISION))])
    dense = np.linalg.lstsq(rows, np.vstack([root * scores, np.zeros((7, 2))]), rcond=None)[0]
    assert np.allclose(post.mean[memory], dense, atol=1e-8)
    covariance = np.linalg.inv(rows.T @ rows)
    assert np.allclose(post.covariance[memory], covariance, atol=1e-9)
    assert np.allclose(post.root[memory] @ post.root[memory].T, covariance, atol=1e-9)


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_pairs_may_come_one_by_one_or_together(seed: int, batch: int) -> None:
    places, codes, scores, weights = drawn(seed, 30)
    found = columns(places, codes, np.array([0.5, 0.5]))
    for one, other in zip(
        seen(found, scores, weights, 1),
        seen(found, scores, weights, batch),
        strict=True,
    ):
        assert np.allclose(one, other, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 2**32), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_another_centre_loses_nothing(seed: int, right: float, up: float) -> None:
    places, codes, scores, weights = drawn(seed, 20)
    here, shift = np.array([0.5, 0.5]), np.array([right, up])
    moved = response.recentred(seen(columns(places, codes, here), scores, weights, 5), shift, FIRST)
    anew = seen(columns(places, codes, here + shift), scores, weights, 5)
    for one, other in zip(moved, anew, strict=True):
        assert np.allclose(one, other, atol=1e-8)
    assert (moved.information == moved.information.transpose(0, 2, 1)).all()


def test_another_centre_of_slopes_alone_loses_nothing() -> None:
    places, codes, scores, weights = drawn(3)
    here, shift = np.array([0.5, 0.5]), np.array([0.2, -0.1])
    plain = [columns(places, codes, centre)[:, :5] for centre in (here, here + shift)]
    moved = response.recentred(seen(plain[0], scores, weights, 7), shift, FIRST)
    for one, other in zip(moved, seen(plain[1], scores, weights, 7), strict=True):
        assert np.allclose(one, other, atol=1e-9)


def test_what_is_averaged_over_changes_no_other_belief() -> None:
    places, codes, scores, weights = drawn(4)
    state = seen(columns(places, codes, np.array([0.5, 0.5])), scores, weights, 10)
    gone = np.array([False, False, True, True, False, True, False])
    less = response.without(state, gone, PRECISION)
    least = np.full(2, 1e-9)
    whole = response.posterior(state, PRECISION, least)
    rest = response.posterior(less, PRECISION[~gone], least)
    assert np.allclose(rest.mean, whole.mean[:, ~gone], atol=1e-8)
    assert np.allclose(rest.covariance, whole.covariance[:, ~gone][:, :, ~gone], atol=1e-8)
    assert np.allclose(rest.noise, whole.noise, atol=1e-8)
    assert response.without(state, np.zeros(7, dtype=bool), PRECISION) is state


def test_a_prior_about_other_coefficients_is_one_about_0_of_what_scores_differ_by() -> None:
    places, codes, scores, weights = drawn(8)
    found = columns(places, codes, np.array([0.5, 0.5]))
    middle = np.random.default_rng(9).standard_normal((7, 2))
    least = np.full(2, 1e-9)
    state = seen(found, scores, weights, 10)
    post = response.posterior(state, PRECISION, least, middle=middle)
    differ = response.posterior(seen(found, scores - found @ middle, weights, 10), PRECISION, least)
    assert np.allclose(post.mean, middle + differ.mean, atol=1e-8)
    assert np.allclose(post.noise, differ.noise, atol=1e-8)
    gone = np.array([False, False, True, True, False, True, False])
    rest = response.posterior(
        response.without(state, gone, PRECISION, middle), PRECISION[~gone], least, middle=middle[~gone]
    )
    assert np.allclose(rest.mean, post.mean[:, ~gone], atol=1e-8)
    assert np.allclose(rest.noise, post.noise, atol=1e-8)


def test_until_there_are_scores_the_noise_is_the_usual_one() -> None:
    post = response.posterior(Surface.empty(1, 1, 1), np.ones(1), np.array([0.1]), usual_noise=np.array([0.5]))
    assert post.noise[0, 0] == pytest.approx(0.5 * np.sqrt(2.0))
    assert response.posterior(Surface.empty(1, 1, 1), np.ones(1), np.array([0.9])).noise[0, 0] >= 0.9


def test_the_noise_is_what_scores_scatter_by() -> None:
    rng = np.random.default_rng(5)
    found = columns(rng.random((4000, 2)), rng.integers(0, 2, 4000), np.array([0.5, 0.5]))
    scores = (found @ np.array([1.0, 0.2, -0.2, 0.5, 0.1, -2.0, 0.3]) + 0.25 * rng.standard_normal(4000))[:, None]
    state = response.observe(Surface.empty(1, 7, 1), found, scores, np.array([0.9999]), np.ones(4000))
    post = response.posterior(state, PRECISION, np.array([1e-9]))
    # the standard error of a standard deviation of n scores is 1 / sqrt(2 n) of it; 5 of them: wrong once in 1e6
    assert abs(post.noise[0, 0] / 0.25 - 1.0) < 5.0 / np.sqrt(2 * 4000) + 7 / 4000


def test_constant_scores_have_next_to_no_noise_and_no_slopes() -> None:
    places, codes, _, weights = drawn(6)
    state = seen(columns(places, codes, np.array([0.5, 0.5])), np.zeros((60, 1)), weights, 6)
    post = response.posterior(state, PRECISION, np.array([1e-9]))
    assert (post.mean == 0).all()
    assert (post.noise <= 2e-9).all()


def test_trust_goes_to_the_memory_that_foretells_and_never_dries_up() -> None:
    even = trust = np.full(2, 0.5)
    for _ in range(100):
        trust = response.trusted(trust, np.array([0.0, -1.0]), 0.01, even)
        assert trust.sum() == pytest.approx(1.0)
    assert trust[0] > 0.95
    assert trust[1] >= 0.005
    assert response.trusted(trust, np.zeros(2), 1.0, np.array([0.2, 0.8])) == pytest.approx([0.2, 0.8])
    assert response.trusted(trust, np.array([-1e6, 0.0]), 0.01, even, 20)[1] > 0.9


def test_a_long_memory_foretells_better_while_nothing_changes_and_a_short_one_after_a_change() -> None:
    rng = np.random.default_rng(7)
    found = np.ones((400, 1))
    scores = np.where(np.arange(400) < 200, 0.0, 3.0) + rng.standard_normal(400)
    state, sums = Surface.empty(2, 1, 1), np.zeros((2, 2))
    for k in range(400):
        if k > 20:
            post = response.posterior(state, np.array([0.01]), np.array([1e-9]))
            sums[k // 200] += response.log_likelihood(post, found[k : k + 1], scores[k : k + 1])
        state = response.observe(state, found[k : k + 1], scores[k : k + 1, None], KEEP, np.ones(1))
    assert sums[0, 1] > sums[0, 0]
    assert sums[1, 0] > sums[1, 1]
