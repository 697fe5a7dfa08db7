"""Groups: found where planted, not where there are none, and told apart only beyond chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.batch.cluster import Clusters, clusters, differ, tailored
from poet.kernels.batch.kmeans import best_of


def planted(seed: int, k: int, n: int = 800) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Numbers (one log-normal, one that says nothing), a category that mostly goes with the group, and the group."""
    rng = np.random.default_rng(seed)
    group = rng.choice(k, n, p=np.arange(k, 0, -1) / (k * (k + 1) / 2))
    corners = np.array([[0, 0], [6, 0], [0, 6], [6, 6], [12, 0]])[group]
    numbers = np.column_stack((corners + rng.normal(size=(n, 2)), rng.normal(size=n)))
    numbers[:, 0] = np.exp(0.5 * numbers[:, 0])
    category = np.where(rng.random(n) < 0.8, group, rng.integers(0, k, n))
    return numbers, [category], group


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of rows of the groups that fit best."""
    both = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(both, (a, b), 1)
    return float(both.max(axis=0).sum() / len(a))


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_planted_groups_are_found_with_their_number(k: int) -> None:
    numbers, categories, group = planted(k, k, n=400 * k)
    found = clusters(numbers, categories, seed=1)
    assert found.k == k
    assert agreement(group, found.labels) > 0.9
    assert all(found.stable)
    assert found.gap.low > 0
    assert found.separating[0] > 0.4 > 0.1 > found.separating[2]
    assert sum(found.sizes) == len(group)
    assert list(found.sizes) == sorted(found.sizes, reverse=True)


NULLS = ["gauss", "correlated", "heavy", "uniform", "counts", "categories", "inflated"]


def nothing(kind: str, seed: int, n: int = 600) -> tuple[np.ndarray | None, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 3))
    categories = [rng.integers(0, 4, n), rng.choice(3, n, p=[0.7, 0.2, 0.1])]
    if kind == "correlated":
        return numbers @ rng.normal(size=(3, 3)), categories
    if kind == "heavy":
        return np.exp(1.5 * rng.standard_t(3, size=(n, 3))), categories
    if kind == "uniform":
        return rng.random((n, 3)), []
    if kind == "counts":
        return np.column_stack((rng.poisson(2, n), rng.integers(0, 5, n), numbers[:, 0])), categories
    if kind == "categories":
        return None, [*categories, rng.integers(0, 2, n)]
    if kind == "inflated":
        return np.where(rng.random((n, 2)) < 0.4, 0.0, rng.exponential(size=(n, 2))), categories
    return numbers, categories


def test_where_there_are_no_groups_there_is_one() -> None:
    """28 histories of seven kinds; more than 2 with groups would be a rate above 5 % with over nine chances in ten."""
    told = [kind for kind in NULLS for seed in range(4) if clusters(*nothing(kind, seed), seed=seed).k > 1]
    assert len(told) <= 2, told


def test_the_same_seed_gives_the_same_groups_and_inputs_stay_as_they_are() -> None:
    numbers, categories, _ = planted(1, 3)
    before = numbers.copy(), categories[0].copy()
    one, two = clusters(numbers, categories, seed=5), clusters(numbers, categories, seed=5)
    assert np.array_equal(one.labels, two.labels)
    assert one.gap == two.gap
    assert np.array_equal(numbers, before[0])
    assert np.array_equal(categories[0], before[1])


def test_an_odd_value_and_missing_ones_make_no_group() -> None:
    numbers, categories, group = planted(3, 3)
    numbers[0] = 1e12
    numbers[1::50, 1] = math.nan
    numbers[5] = math.nan
    categories[0][5] = -1
    found = clusters(numbers, categories)
    assert found.k == 3
    assert found.labels[5] == -1
    assert agreement(np.delete(group, 5), np.delete(found.labels, 5)) > 0.9


def test_a_million_levels_are_pooled() -> None:
    numbers, categories, _ = planted(2, 2)
    n = len(numbers)
    found = clusters(numbers, [*categories, np.arange(n) * 1_000_003])
    assert found.pooled == (0, n)
    assert found.k == 2


BAD = {
    "empty": (np.empty((0, 2)), "no rows"),
    "one row": (np.ones((1, 2)), "no feature varies"),
    "constant": (np.ones((300, 2)), "no feature varies"),
    "unknown": (np.full((300, 2), math.nan), "no feature varies"),
    "few": (np.arange(20.0)[:, None], "only 20 rows"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_grouped_says_so(kind: str) -> None:
    numbers, why = BAD[kind]
    found = clusters(numbers)
    assert found.k == 1
    assert found.note == why
    assert len(found.labels) == len(numbers)


def test_duplicates_are_groups_and_do_no_harm() -> None:
    found = clusters(np.repeat(np.random.default_rng(0).normal(size=(3, 2)), 100, axis=0))
    assert isinstance(found, Clusters)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(allow_nan=True, allow_infinity=True, width=32), st.integers(-1, 5)), min_size=0, max_size=90
    ),
    st.integers(0, 3),
)
def test_any_input_gives_groups_that_add_up(rows: list[tuple[float, int]], seed: int) -> None:
    numbers = np.array([row[0] for row in rows], float)
    codes = np.array([row[1] for row in rows], np.int64)
    found = clusters(numbers[:, None], [codes], seed=seed)
    assert found.labels.shape == (len(rows),)
    assert sum(found.sizes) == int((found.labels >= 0).sum())
    assert set(found.labels.tolist()) <= set(range(-1, found.k))


def test_k_means_is_as_good_as_scikit_learns() -> None:
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    for k in (2, 4, 7):
        _, labels, spread = best_of(x, k, rng, 10)
        theirs = KMeans(k, n_init=10, random_state=0).fit(x).inertia_
        assert spread < 1.01 * theirs
        means = np.array([x[labels == each].mean(axis=0) for each in range(k)])
        assert spread == pytest.approx(((x - means[labels]) ** 2).sum(), rel=0.01)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="one length"):
        clusters(np.ones((3, 1)), [np.ones(2, int)])
    with pytest.raises(ValueError, match=r"most must be in \[1, 64\], got 0"):
        clusters(np.ones((3, 1)), most=0)
    with pytest.raises(ValueError, match="sample must be >= 40, got 3"):
        clusters(np.ones((3, 1)), sample=3)


def test_a_difference_is_found_and_measured_under_censoring() -> None:
    rng = np.random.default_rng(4)
    n = 3000
    group = rng.integers(0, 2, n)
    truth = rng.normal(size=n) + 0.5 * (group == 1)
    cut = truth > 1.0
    found = differ(group, {"latency": np.minimum(truth, 1.0)}, censored={"latency": cut})[0]
    assert found.found
    expected = 0.5 * (1 + math.erf(0.5 / 2.0))  # of normals half a deviation apart
    assert found.above[1].low - 0.02 < expected < found.above[1].high + 0.02
    assert abs(found.median[1] - 0.5) < 0.1


def test_slow_drifts_are_not_told_as_differences() -> None:
    """Groups that come in runs and an outcome that drifts: 5 % of 60 at the most, 7 with a chance of 1 in 30."""
    told = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        group = np.repeat(rng.integers(0, 3, 40), 20)
        drift = np.cumsum(rng.normal(size=800))
        told += differ(group, {"drift": drift})[0].found
    assert told <= 7


def test_a_parameter_is_tailored_where_it_pays_and_only_there() -> None:
    """30 lives each: at power .9 under 21 would be 1 in 1000, and 5 of 30 at a false rate of .05 is 1 in 60."""
    pays = {"matters": 0, "same for all": 0, "inert": 0}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n = 1200
        group = rng.integers(0, 2, n)
        parameters = {name: rng.choice([1.0, 2.0, 4.0, 8.0], n) for name in pays}
        best = np.where(group == 1, 3.0, 0.0)
        utility = -0.3 * abs(np.log2(parameters["matters"]) - best) + 0.3 * parameters["same for all"] / 8
        for each in tailored(group, parameters, utility + rng.normal(size=n)):
            pays[each.parameter] += each.pays
            if each.parameter == "matters" and each.pays:
                assert each.best[0] < each.best[1]
    assert pays["matters"] >= 21
    assert pays["same for all"] <= 5
    assert pays["inert"] <= 5


@pytest.mark.parametrize("n", [0, 1, 50])
def test_nothing_to_compare_is_no_difference(n: int) -> None:
    outcome = np.ones(n)
    assert not differ(np.arange(n) % 2, {"y": outcome})[0].found
    assert not differ(np.zeros(n, int), {"y": np.arange(n, dtype=float)})[0].found
    assert not tailored(np.arange(n) % 2, {"x": outcome}, outcome)[0].pays
