from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from poet.sharing.weights import PRIOR, SIZE, SOURCES, OddWeights, Weights, as_text, from_text, helps, sigmoid, updated

NONE = (0.0,) * len(SOURCES)
likenesses = st.tuples(*[st.floats(-1, 1)] * len(SOURCES))


@settings(deadline=None)
@given(likenesses, st.floats(0, 1), st.floats(0.01, 1))
def test_an_update_is_the_laplace_approximation(likeness: tuple[float, ...], helped: float, weight: float) -> None:
    after = updated(PRIOR, likeness, helped, weight=weight)
    mean, covariance = np.asarray(PRIOR.mean), np.asarray(PRIOR.covariance)
    x, precision = np.asarray((1.0, *likeness)), np.linalg.inv(covariance)

    def gradient(w: Any) -> Any:
        return weight * (sigmoid(float(w @ x)) - helped) * x + precision @ (w - mean)

    def hessian(w: Any) -> Any:
        p = sigmoid(float(w @ x))
        return weight * p * (1 - p) * np.outer(x, x) + precision

    mode = optimize.root(gradient, mean, jac=hessian, tol=1e-12).x
    assert np.allclose(after.mean, mode, atol=1e-5)
    assert np.allclose(after.covariance, np.linalg.inv(hessian(mode)), atol=1e-5)
    assert after.n == PRIOR.n + 1


@settings(deadline=None)
@given(st.lists(st.tuples(likenesses, st.booleans()), max_size=30))
def test_weights_stay_weights(outcomes: list[tuple[tuple[float, ...], bool]]) -> None:
    weights = PRIOR
    for likeness, helped in outcomes:
        weights = updated(weights, likeness, float(helped))
    assert from_text(as_text(weights)) == weights


@settings(deadline=None)
@given(likenesses, st.tuples(*[st.floats(0, 2)] * len(SOURCES)))
def test_an_estimate_lies_within_its_interval_and_doubt_widens_it(
    likeness: tuple[float, ...], doubt: tuple[float, ...]
) -> None:
    sure, unsure = helps(PRIOR, likeness, NONE), helps(PRIOR, likeness, doubt)
    for told in (sure, unsure):
        assert 0 <= told.low <= told.high <= 1
        assert 0 <= told.value <= 1
    assert unsure.low <= sure.low + 1e-12
    assert unsure.high >= sure.high - 1e-12


def test_what_helped_is_believed_more_and_what_did_not_less() -> None:
    likeness = (0.3, 0.0, 0.0, 0.0, 0.5)
    before = helps(PRIOR, likeness, NONE).value
    assert helps(updated(PRIOR, likeness, 1.0), likeness, NONE).value > before
    assert helps(updated(PRIOR, likeness, 0.0), likeness, NONE).value < before


def test_where_names_mislead_their_weight_falls() -> None:
    dice, weights = random.Random(1), PRIOR
    for _ in range(300):
        likeness = (dice.uniform(-0.1, 0.5), 0.0, 0.0, 0.0, dice.uniform(-1, 1))
        weights = updated(weights, likeness, float(dice.random() < sigmoid(3 * likeness[4])))
    assert weights.mean[1] < 0.25 * PRIOR.mean[1]
    assert weights.mean[5] == pytest.approx(3.0, abs=4 * math.sqrt(weights.covariance[5][5]))  # 1 in 15 000


@pytest.mark.parametrize(
    ("likeness", "helped", "weight", "why"),
    [
        ((0.0,) * 4, 1.0, 1.0, "likeness must be"),
        ((0.0, math.nan, 0.0, 0.0, 0.0), 1.0, 1.0, "likeness must be"),
        ((0.0, 2.0, 0.0, 0.0, 0.0), 1.0, 1.0, "likeness must be"),
        (NONE, math.nan, 1.0, "helped must be"),
        (NONE, 2.0, 1.0, "helped must be"),
        (NONE, 1.0, 0.0, "weight must be"),
        (NONE, 1.0, 1e9, "weight must be"),
    ],
)
def test_impossible_outcomes_are_refused(likeness: Any, helped: float, weight: float, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        updated(PRIOR, likeness, helped, weight=weight)


def changed(**parts: Any) -> str:
    return json.dumps({**json.loads(as_text(PRIOR)), **parts})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no weights"),
        ("[]", "no weights"),
        ("{}", "no weights"),
        ("[" * 100_000, "no weights"),
        (changed(version=2), "version 2"),
        (changed(sources=["names"]), "version 1"),
        (changed(mean=[0.0]), "another size"),
        (changed(mean=[1e9] * SIZE), "must be a number"),
        (changed(mean=[float("nan")] * SIZE), "must be a number"),
        (changed(covariance=[[0.0] * SIZE] * SIZE), "covariance"),
        (changed(covariance=[[-1.0 if a == b else 0.0 for a in range(SIZE)] for b in range(SIZE)]), "covariance"),
        (changed(n=-1), "outcomes"),
        (changed(n=1.5), "outcomes"),
        (changed(n=True), "outcomes"),
    ],
)
def test_weights_that_cannot_be_are_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(OddWeights, match=why):
        from_text(text)


def test_the_prior_is_sure_of_nothing() -> None:
    told = helps(Weights(PRIOR.mean, PRIOR.covariance), NONE, NONE)
    assert told.high - told.low > 0.05
