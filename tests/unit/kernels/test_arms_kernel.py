from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online import arms, bandit
from poet.kernels.online.arms import Arms

KEEP = np.array([0.8, 1.0])


def told(pairs: list[tuple[int, float]]) -> Arms:
    state = Arms.empty(2, 3, 1)
    for arm, score in pairs:
        state = arms.rewarded(state, arm, np.array([score]), KEEP)
    return state


PAIRS = st.lists(st.tuples(st.integers(0, 2), st.floats(-100, 100)), min_size=1, max_size=30)


@given(PAIRS)
def test_sums_are_weighted_means_and_scatters(pairs: list[tuple[int, float]]) -> None:
    state = told(pairs)
    for memory, keep in enumerate(KEEP):
        for arm in range(3):
            mine = [(keep ** (len(pairs) - 1 - k), score) for k, (which, score) in enumerate(pairs) if which == arm]
            weight = sum(w for w, _ in mine)
            assert state.weight[memory, arm] == pytest.approx(weight)
            if mine:
                mean = sum(w * y for w, y in mine) / weight
                assert state.mean[memory, arm, 0] == pytest.approx(mean, abs=1e-9)
                scatter = sum(w * (y - mean) ** 2 for w, y in mine)
                assert state.scatter[memory, arm, 0] == pytest.approx(scatter, rel=1e-6, abs=1e-6)


@given(PAIRS)
def test_beliefs_are_those_of_the_bandit(pairs: list[tuple[int, float]]) -> None:
    state = told(pairs)
    found = arms.beliefs(state)
    mean, variance = arms.pooled(state)
    prior = bandit.Belief(float(mean[1, 0]), arms.FAITH, bandit.SHAPE, bandit.SHAPE * max(float(variance[1, 0]), 1e-24))
    for arm in range(3):
        own = bandit.Arm(float(state.weight[1, arm]), float(state.mean[1, arm, 0]), float(state.scatter[1, arm, 0]))
        law = bandit.belief(own, prior)
        assert found.mean[1, arm, 0] == pytest.approx(law.mean, abs=1e-9)
        assert found.weight[1, arm] == pytest.approx(law.weight)
        assert found.freedom[1, arm] == pytest.approx(2 * law.shape)
        assert found.spread[1, arm, 0] == pytest.approx(law.scale, rel=1e-6)


def test_an_option_that_helps_in_one_combination_is_expected_to_help_in_another() -> None:
    design = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]], dtype=float)  # a x, a y, b x, b y
    state = Arms.empty(1, 4, 1)
    for _ in range(20):
        for arm, score in ((0, 0.0), (1, 1.0), (2, 0.0)):
            state = arms.rewarded(state, arm, np.array([score]), np.ones(1))
    alike, shared = (arms.beliefs(state, each).mean[0, 3, 0] for each in (None, design))
    assert alike == pytest.approx(1 / 3, abs=1e-6)  # of b y nothing was seen: as all together
    assert shared > 0.7


def test_draws_of_coins_are_chances_and_those_of_scores_are_about_the_mean() -> None:
    rng = np.random.default_rng(0)
    state = told([(0, 1.0), (0, 1.0), (1, 0.0), (1, 1.0), (2, 0.0)] * 4)
    found = arms.beliefs(state)
    draws = np.array([arms.drawn(found, 1, 1.0, rng, coins=True)[:, 0] for _ in range(4000)])
    assert ((draws >= 0) & (draws <= 1)).all()
    # standard error of a mean of 4000 draws whose deviation is at most 0.25; 5 of them: wrong once in 1e6
    assert np.allclose(draws.mean(axis=0), np.clip(found.mean[1, :, 0], 0.02, 0.98), atol=5 * 0.25 / np.sqrt(4000))
    draws = np.array([arms.drawn(found, 1, 0.5, rng, coins=False)[:, 0] for _ in range(4000)])
    assert np.allclose(draws.mean(axis=0), found.mean[1, :, 0], atol=5 * draws.std(axis=0).max() / np.sqrt(4000))
    freedom = found.freedom[1]
    spread = 0.5 * found.spread[1, :, 0] * np.sqrt(freedom / (freedom - 2))
    assert np.allclose(draws.std(axis=0), spread, rtol=0.15)


@pytest.mark.parametrize("coins", [True, False])
def test_the_memory_that_knows_the_newest_foretells_better(coins: bool) -> None:
    state = told([(0, 0.0)] * 40 + [(0, 1.0)] * 10)
    found = arms.beliefs(state)
    fresh, old = arms.log_likelihood(found, np.array([0, 0]), np.array([1.0, 1.0]), coins=coins)
    assert fresh > old
