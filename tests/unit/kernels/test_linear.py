"""Bayesian regression by arms, against a dense derivation and the laws that hold of any."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online import linear
from poet.kernels.online.linear import Posterior, Prior, Sums
from poet.kernels.online.student import below

Array = npt.NDArray[np.float64]

PRIOR = Prior(np.array([1.0, 0.2, 0.3]), np.array([0.3, 0.1, 0.05]), np.array([0.5, -1.0]), 2.0, np.array([0.15, 0.3]))


def seen(seed: int, n: int, arms: int = 3, targets: int = 2) -> tuple[Sums, Array, Array, list[int]]:
    rng = np.random.default_rng(seed)
    sums = Sums.none(arms, 3, targets)
    x = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    y = rng.standard_normal((n, targets))
    chosen = rng.integers(0, arms, n).tolist()
    for k in range(n):
        sums.add(chosen[k], x[k], y[k])
    return sums, x, y, chosen


def at_place(belief: Posterior, x: Array) -> tuple[Array, Array]:
    """Mean and variance of every arm's mean at ``x``: (arms, targets) each."""
    means, covariances = linear.together([belief], np.ones((1, len(belief.noise))), len(x))
    return np.tensordot(means, x, (1, 0)), ((covariances @ x) @ x).T


def dense(x: Array, arms: list[int], count: int) -> tuple[Array, Array]:
    """The design of w and all u_a as one long vector, and the precision of its prior."""
    n, d = x.shape
    design = np.zeros((n, d * (1 + count)))
    design[:, :d] = x
    for row, arm in enumerate(arms):
        design[row, d * (1 + arm) : d * (2 + arm)] = x[row]
    return design, np.diag(1.0 / np.concatenate([PRIOR.shared, *[PRIOR.own] * count]))


@pytest.mark.parametrize("n", [0, 1, 30])
def test_the_posterior_is_that_of_one_large_regression(n: int) -> None:
    sums, x, y, arms = seen(1, n)
    belief = linear.posterior(sums, PRIOR)
    design, precision = dense(x, arms, 3)
    covariance = np.linalg.inv(precision + design.T @ design)
    at = np.array([1.0, 0.4, -2.0])
    means, variances = at_place(belief, at)
    for target in range(2):
        centre = np.zeros(len(precision))
        centre[0] = PRIOR.centre[target]
        mean = covariance @ (precision @ centre + design.T @ y[:, target])
        left = y[:, target] @ y[:, target] + centre @ precision @ centre - mean @ np.linalg.inv(covariance) @ mean
        noise = (PRIOR.rate[target] + 0.5 * left) / (PRIOR.shape + 0.5 * n)
        assert belief.noise[target] == pytest.approx(noise)
        for arm in range(3):
            place = np.zeros(len(precision))
            place[:3] = place[3 * (1 + arm) : 3 * (2 + arm)] = at
            assert means[arm, target] == pytest.approx(place @ mean)
            assert variances[arm, target] == pytest.approx(noise * place @ covariance @ place)
            assert belief.means[arm, :, target] @ at == pytest.approx(means[arm, target])


def test_the_evidence_is_the_product_of_what_was_foretold() -> None:
    """Chain rule: the density of all is that of each score under what was known before it, a t law."""
    sums, x, y, arms = seen(3, 12)
    told, known = np.zeros(2), Sums.none(3, 3, 2)
    for k in range(12):
        belief = linear.posterior(known, PRIOR)
        mean, variance = (each[arms[k]] for each in at_place(belief, x[k]))
        scale, df, step = np.sqrt(variance + belief.noise), belief.degrees, 1e-5
        for target in range(2):
            z = (y[k, target] - mean[target]) / scale[target]
            told[target] += math.log((below(z + step, df) - below(z - step, df)) / (2 * step) / scale[target])
        known.add(arms[k], x[k], y[k])
    assert linear.posterior(sums, PRIOR).evidence == pytest.approx(told, abs=1e-3)


def test_beliefs_together_have_the_moments_of_their_mixture() -> None:
    """The law of total variance, at any place; the one that has fewer features says nothing of the others."""
    sums, _, _, _ = seen(5, 15)
    full = linear.posterior(sums, PRIOR)
    bare = linear.posterior(sums, Prior(PRIOR.shared[:1], PRIOR.own[:1], PRIOR.centre, PRIOR.shape, PRIOR.rate))
    at = np.array([1.0, 0.4, -2.0])
    one, other = at_place(full, at), at_place(bare, at[:1])
    shares = np.array([[0.3, 0.6], [0.7, 0.4]])
    means, covariances = linear.together([full, bare], shares, 3)
    mean = shares[0] * one[0] + shares[1] * other[0]
    squares = shares[0] * (one[1] + one[0] ** 2) + shares[1] * (other[1] + other[0] ** 2)
    assert np.allclose(np.tensordot(means, at, (1, 0)), mean)
    assert np.allclose(((covariances @ at) @ at).T, squares - mean**2)


def test_what_fades_comes_back_to_the_prior() -> None:
    sums, _, _, _ = seen(7, 40)
    start = linear.posterior(Sums.none(3, 3, 2), PRIOR)
    for _ in range(400):  # one arm only, at half of a half-life each
        sums.add(0, np.array([1.0, 0.0, 0.0]), np.zeros(2), keep=0.9)
    belief = linear.posterior(sums, PRIOR)
    assert np.abs(belief.means[1, 1:]).max() < 1e-6
    assert np.allclose(np.abs(belief.factor[1]), np.abs(start.factor[1]), atol=1e-6)
    assert sums.weight / sums.unit == pytest.approx(10.0)


def test_sums_stay_sound_over_many_half_lives() -> None:
    """Against the same sums made at once, 1400 half-lives on; the weights are made lighter 45 times on the way."""
    rng = np.random.default_rng(2)
    n, keep = 100_000, 0.99
    x, y = rng.standard_normal((1000, 3)), rng.standard_normal((1000, 1))
    sums = Sums.none(1, 3, 1)
    for k in range(n):
        sums.add(0, x[k % 1000], y[k % 1000], keep)
    ages = keep ** np.arange(999, -1, -1.0)
    cycles = (1.0 - keep**n) / (1.0 - keep**1000)
    gram = cycles * (ages[:, None] * x).T @ x
    assert np.allclose(sums.gram[0] / sums.unit, gram, rtol=1e-9)
    assert sums.weight / sums.unit == pytest.approx((1.0 - keep**n) / (1.0 - keep), rel=1e-9)
    assert np.isfinite(linear.posterior(sums, PRIOR._replace(centre=np.zeros(1), rate=np.ones(1))).evidence).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
@settings(max_examples=30, deadline=None)
def test_sums_in_another_basis_are_those_of_the_vectors_in_it(seed: int, scale: float, shift: float) -> None:
    sums, x, y, arms = seen(seed, 8)
    basis = np.array([[1.0, 0.0, 0.0], [shift, scale, 0.0], [0.0, 0.0, 1.0]])
    sums.change_basis(basis)
    again = Sums.none(3, 3, 2)
    for k in range(8):
        again.add(arms[k], basis @ x[k], y[k])
    assert np.allclose(sums.gram, again.gram, atol=1e-9)
    assert np.allclose(sums.cross, again.cross, atol=1e-9)


def test_models_are_weighed_by_their_evidence() -> None:
    assert linear.weights(np.array([[0.0], [math.log(3.0)], [-math.inf]])).ravel() == pytest.approx([0.25, 0.75, 0.0])
    assert linear.weights(np.array([[-9000.0], [-9000.0]])).ravel() == pytest.approx([0.5, 0.5])
